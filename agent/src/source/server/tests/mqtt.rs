//! MQTT, spoken by a codec that is not ours.

use async_tungstenite::tungstenite::Bytes;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use bytes::BytesMut;
use holdfast_core::config::Secret;
use holdfast_core::config::access::{LoginBy, User};
use holdfast_core::config::throttle::{Per, Throttle};
use hyper::header::HeaderValue;
use rumqttc::mqttbytes::v4::{self, Packet};
use rumqttc::mqttbytes::{Error, QoS};
use rumqttc::v5::mqttbytes::v5;

use super::*;

const MOST: usize = 1 << 20;

pub(super) fn mqtt() -> Server {
    Server { protocol: Protocol::Mqtt, ..config() }
}

/// A connection of a client.
struct Client {
    stream: TcpStream,
    received: BytesMut,
}

impl Client {
    async fn connect(bench: &Bench) -> Client {
        Client { stream: bench.connect().await, received: BytesMut::new() }
    }

    /// One that has sent CONNECT, with the answer to it.
    async fn greeted(bench: &Bench, connect: v4::Connect) -> (Client, v4::ConnAck) {
        let mut client = Client::connect(bench).await;
        client.send(&[Packet::Connect(connect)]).await;
        match client.next().await {
            Some(Packet::ConnAck(ack)) => (client, ack),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    async fn welcome(bench: &Bench, id: &str) -> Client {
        let (client, ack) = Client::greeted(bench, v4::Connect::new(id)).await;
        assert_eq!(ack, v4::ConnAck::new(v4::ConnectReturnCode::Success, false));
        client
    }

    async fn welcome_5(bench: &Bench, id: &str) -> (Client, v5::ConnAck) {
        let mut client = Client::connect(bench).await;
        let connect =
            v5::Connect { keep_alive: 10, client_id: id.to_owned(), clean_start: true, properties: None };
        client.send_5(&[v5::Packet::Connect(connect, None, None)]).await;
        match client.next_5().await {
            Some(v5::Packet::ConnAck(ack)) => (client, ack),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    async fn send(&mut self, packets: &[Packet]) {
        let mut bytes = BytesMut::new();
        for packet in packets {
            packet.write(&mut bytes, MOST).unwrap();
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn send_5(&mut self, packets: &[v5::Packet]) {
        let mut bytes = BytesMut::new();
        for packet in packets {
            packet.write(&mut bytes, None).unwrap();
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next packet; none when the server has hung up.
    async fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.received, MOST) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("{error}"),
            }
            if !self.read().await {
                return None;
            }
        }
    }

    async fn next_5(&mut self) -> Option<v5::Packet> {
        loop {
            match v5::Packet::read(&mut self.received, None) {
                Ok(packet) => return Some(packet),
                Err(rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("{error}"),
            }
            if !self.read().await {
                return None;
            }
        }
    }

    async fn read(&mut self) -> bool {
        let mut chunk = [0; 1024];
        let length = self.stream.read(&mut chunk).await.unwrap_or(0);
        self.received.extend_from_slice(&chunk[..length]);
        length > 0
    }
}

fn publish(qos: QoS, id: u16, payload: &str) -> Packet {
    let mut publish = v4::Publish::new("kitchen/t", qos, payload);
    publish.pkid = id;
    Packet::Publish(publish)
}

fn publish_5(id: u16, payload: &str) -> v5::Packet {
    let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
    let publish = v5::Publish::new("kitchen/t", qos, payload.to_owned(), None);
    v5::Packet::Publish(v5::Publish { pkid: id, ..publish })
}

fn ack(id: u16) -> Option<Packet> {
    Some(Packet::PubAck(v4::PubAck::new(id)))
}

fn rec(id: u16) -> Option<Packet> {
    Some(Packet::PubRec(v4::PubRec::new(id)))
}

#[test]
fn a_message_is_acknowledged_when_it_is_stored_and_the_client_is_answered_meanwhile() {
    with(mqtt(), async |bench| {
        let (open, gate) = unbounded();
        bench.gate.replace(Some(gate));
        let mut client = Client::welcome(&bench, "").await;
        client.send(&[publish(QoS::AtLeastOnce, 7, "1")]).await;
        let draft = bench.draft().await;
        assert_eq!((draft.topic.as_str(), draft.device.as_deref()), ("kitchen/t", Some("kitchen")));
        assert_eq!((&*draft.source, draft.format), ("server:sensors", Format::Json));
        client.send(&[Packet::PingReq]).await;
        assert_eq!(client.next().await, Some(Packet::PingResp), "it is not stored yet");
        open.send(()).await.unwrap();
        assert_eq!(client.next().await, ack(7));
    });
}

#[test]
fn messages_of_all_qualities_are_stored_and_acknowledged_in_their_order() {
    with(mqtt(), async |bench| {
        let mut client = Client::welcome(&bench, "c").await;
        let all = [
            publish(QoS::AtMostOnce, 0, "a"),
            publish(QoS::AtLeastOnce, 9, "b"),
            publish(QoS::ExactlyOnce, 9, "c"),
            publish(QoS::AtLeastOnce, 8, "d"),
        ];
        client.send(&all).await;
        assert_eq!([client.next().await, client.next().await, client.next().await], [ack(9), rec(9), ack(8)]);
        assert_eq!(bench.seen.recv().await, Ok(Seen::Connected("c".to_owned())));
        for expected in ["a", "b", "c", "d"] {
            assert_eq!(bench.draft().await.payload, expected.as_bytes());
        }
        client.send(&[Packet::PubRel(v4::PubRel::new(9))]).await;
        assert_eq!(client.next().await, Some(Packet::PubComp(v4::PubComp::new(9))));
    });
}

#[test]
fn what_a_kept_session_has_of_qos_2_is_not_stored_again_when_it_comes_again() {
    with(mqtt(), async |bench| {
        let kept = || v4::Connect { clean_session: false, ..v4::Connect::new("pump") };
        let (mut client, _) = Client::greeted(&bench, kept()).await;
        client.send(&[publish(QoS::ExactlyOnce, 1, "once")]).await;
        assert_eq!(client.next().await, rec(1));
        drop(client);
        let (mut client, ack) = Client::greeted(&bench, kept()).await;
        assert!(ack.session_present);
        client.send(&[publish(QoS::ExactlyOnce, 1, "once"), publish(QoS::ExactlyOnce, 2, "next")]).await;
        assert_eq!([client.next().await, client.next().await], [rec(1), rec(2)]);
        drop(client);
        let (_client, ack) = Client::greeted(&bench, v4::Connect::new("pump")).await;
        assert!(!ack.session_present, "a clean one forgets it");
        let drafts = std::iter::from_fn(|| bench.seen.try_recv().ok());
        let payloads: Vec<Vec<u8>> = drafts
            .filter_map(|seen| match seen {
                Seen::Draft(draft) => Some(draft.payload),
                _ => None,
            })
            .collect();
        assert_eq!(payloads, [b"once", b"next"]);
    });
}

#[test]
fn a_client_that_connects_again_ends_its_connection_before_and_is_told_so_in_5() {
    with(mqtt(), async |bench| {
        let mut first = Client::welcome(&bench, "pump").await;
        let (mut second, _) = Client::welcome_5(&bench, "pump").await;
        assert_eq!(first.next().await, None);
        let _third = Client::welcome(&bench, "pump").await;
        match second.next_5().await {
            Some(v5::Packet::Disconnect(end)) => {
                assert_eq!(end.reason_code, v5::DisconnectReasonCode::SessionTakenOver);
            }
            other => panic!("no DISCONNECT but {other:?}"),
        }
    });
}

#[test]
fn the_will_of_a_client_is_a_message_and_its_device_is_gone_unless_it_says_goodbye() {
    with(mqtt(), async |bench| {
        let will = v4::LastWill::new("pump/LWT", "Offline", QoS::AtLeastOnce, true);
        for goodbye in [true, false] {
            let connect = v4::Connect { last_will: Some(will.clone()), ..v4::Connect::new("") };
            let (mut client, _) = Client::greeted(&bench, connect).await;
            assert_eq!(bench.seen.recv().await, Ok(Seen::Connected("pump".to_owned())));
            if goodbye {
                client.send(&[Packet::Disconnect]).await;
            }
            drop(client);
            assert_eq!(bench.seen.recv().await, Ok(Seen::Disconnected("pump".to_owned())));
        }
        let draft = bench.draft().await;
        assert_eq!((draft.topic.as_str(), &draft.payload[..]), ("pump/LWT", &b"Offline"[..]));
        assert_eq!(draft.attributes, [("retain".to_owned(), "true".to_owned())]);
        assert_eq!(bench.seen.recv().await, Ok(Seen::Departed("pump".to_owned())));
    });
}

#[test]
fn a_client_that_is_silent_for_one_and_a_half_of_its_keep_alive_is_gone_with_its_will() {
    with(mqtt(), async |bench| {
        let last_will = Some(v4::LastWill::new("w", "gone", QoS::AtMostOnce, false));
        let connect = v4::Connect { keep_alive: 1, last_will, ..v4::Connect::new("") };
        let (mut client, _) = Client::greeted(&bench, connect).await;
        client.send(&[Packet::PingReq]).await;
        assert_eq!([client.next().await, client.next().await], [Some(Packet::PingResp), None]);
        assert_eq!(bench.seen.recv().await, Ok(Seen::Connected("w".to_owned())));
        assert_eq!(bench.seen.recv().await, Ok(Seen::Disconnected("w".to_owned())));
        assert_eq!(bench.draft().await.payload, b"gone");
    });
}

#[test]
fn when_the_agent_stops_no_will_is_published_and_5_is_told() {
    with(mqtt(), async |bench| {
        let (mut client, _) = Client::welcome_5(&bench, "pump").await;
        bench.stop();
        match client.next_5().await {
            Some(v5::Packet::Disconnect(end)) => {
                assert_eq!(end.reason_code, v5::DisconnectReasonCode::ServerShuttingDown);
            }
            other => panic!("no DISCONNECT but {other:?}"),
        }
        assert_eq!(client.next_5().await, None);
    });
}

#[test]
fn a_message_that_is_not_stored_is_not_acknowledged_and_the_connection_ends() {
    with(mqtt(), async |bench| {
        bench.refuse(&[Refused::Full, Refused::Full]);
        let mut old = Client::welcome(&bench, "").await;
        old.send(&[publish(QoS::AtLeastOnce, 1, "1")]).await;
        assert_eq!(old.next().await, None);
        let (mut client, _) = Client::welcome_5(&bench, "").await;
        client.send_5(&[publish_5(1, "1")]).await;
        match client.next_5().await {
            Some(v5::Packet::Disconnect(end)) => {
                assert_eq!(end.reason_code, v5::DisconnectReasonCode::QuotaExceeded);
            }
            other => panic!("no DISCONNECT but {other:?}"),
        }
    });
}

#[test]
fn a_busy_loop_holds_a_client_back_and_nothing_is_lost_or_swapped() {
    with(mqtt(), async |bench| {
        bench.refuse(&[Refused::Busy, Refused::Busy]);
        let mut client = Client::welcome(&bench, "").await;
        for id in 1..=3 {
            client.send(&[publish(QoS::AtLeastOnce, id, &id.to_string())]).await;
        }
        for id in 1..=3 {
            assert_eq!(bench.draft().await.payload, id.to_string().as_bytes());
            assert_eq!(client.next().await, ack(id));
        }
    });
}

#[test]
fn name_and_password_are_asked_for_and_failed_logins_cost() {
    let user = User {
        name: "pump".to_owned(),
        password_hash: None,
        password: Some(Secret::Plain("right".to_owned())),
        may_subscribe: None,
    };
    let access = Access { auth: LoginBy::Basic, users: vec![user], ..Access::default() };
    with(Server { access, ..mqtt() }, async |bench| {
        let greet = async |name: &str, password: &str| {
            let mut connect = v4::Connect::new("");
            if !name.is_empty() {
                connect.set_login(name, password);
            }
            Client::greeted(&bench, connect).await.1.code
        };
        assert_eq!(greet("pump", "right").await, v4::ConnectReturnCode::Success);
        for (name, password) in [("", ""), ("pump", "wrong"), ("fan", "right")] {
            let code = greet(name, password).await;
            assert_eq!(code, v4::ConnectReturnCode::BadUserNamePassword, "{name}");
        }
        let mut codes = Vec::new();
        while codes.last() != Some(&v4::ConnectReturnCode::ServiceUnavailable) {
            codes.push(greet("pump", "wrong").await);
        }
        assert!(codes.len() < 20, "{codes:?}");
    });
}

#[test]
fn who_sends_too_fast_is_read_more_slowly_and_loses_nothing() {
    let rule = Throttle { amount: 40, per: Per::Second, burst: 40 };
    let limits = Limits { rate_per_client: Some(rule), ..mqtt().limits };
    with(Server { limits, ..mqtt() }, async |bench| {
        let mut client = Client::welcome(&bench, "").await;
        let all: Vec<Packet> = (1..=80).map(|id| publish(QoS::AtLeastOnce, id, "x")).collect();
        client.send(&all).await;
        for id in 1..=80 {
            assert_eq!(client.next().await, ack(id));
        }
    });
}

#[test]
fn what_breaks_the_standard_or_a_limit_ends_the_connection_of_5_with_its_reason() {
    with(mqtt(), async |bench| {
        let connect =
            v5::Connect { keep_alive: 10, client_id: "x".to_owned(), clean_start: true, properties: None };
        let mut second = BytesMut::new();
        v5::Packet::Connect(connect, None, None).write(&mut second, None).unwrap();
        let cases = [
            (second.to_vec(), v5::DisconnectReasonCode::ProtocolError),
            (vec![0x32, 5, 0, 1, b'a', 0, 0], v5::DisconnectReasonCode::ProtocolError),
            (vec![0x30, 0xff, 0xff, 0x7f], v5::DisconnectReasonCode::PacketTooLarge),
            (vec![0x30, 4, 0, 1, b'#', 0], v5::DisconnectReasonCode::TopicNameInvalid),
            (vec![0x36, 4, 0, 1, b'a', 0], v5::DisconnectReasonCode::MalformedPacket),
        ];
        for (bytes, expected) in cases {
            let (mut client, _) = Client::welcome_5(&bench, "").await;
            client.stream.write_all(&bytes).await.unwrap();
            match client.next_5().await {
                Some(v5::Packet::Disconnect(end)) => assert_eq!(end.reason_code, expected, "{bytes:x?}"),
                other => panic!("no DISCONNECT but {other:?}"),
            }
        }
        let mut old = Client::connect(&bench).await;
        old.stream.write_all(b"\x10\x0c\0\x06MQIsdp\x03\x02\0\x3c\0\0").await.unwrap();
        let refused = v4::ConnAck::new(v4::ConnectReturnCode::RefusedProtocolVersion, false);
        assert_eq!(old.next().await, Some(Packet::ConnAck(refused)));
        let mut silent = Client::connect(&bench).await;
        assert_eq!(silent.next().await, None, "no CONNECT came within handshake_timeout");
    });
}

#[test]
fn a_client_of_5_is_told_the_terms_and_one_of_each_version_that_others_topics_are_not_for_it() {
    with(mqtt(), async |bench| {
        let (mut client, ack) = Client::welcome_5(&bench, "").await;
        let terms = ack.properties.unwrap();
        assert_eq!((terms.receive_max, terms.max_packet_size), (Some(100), Some(1000 + 8192)));
        assert!(terms.assigned_client_identifier.is_some());
        assert_eq!(terms.shared_subscription_available, Some(0));
        let filter = v5::Filter::new("a/#".to_owned(), rumqttc::v5::mqttbytes::QoS::AtLeastOnce);
        let mut subscribe = v5::Subscribe::new(filter, None);
        subscribe.pkid = 1;
        client.send_5(&[v5::Packet::Subscribe(subscribe)]).await;
        assert!(matches!(client.next_5().await, Some(v5::Packet::SubAck(ack))
            if ack.return_codes == [v5::SubscribeReasonCode::NotAuthorized]));
        let mut client = Client::welcome(&bench, "").await;
        let mut subscribe = v4::Subscribe::new("a/#", QoS::AtMostOnce);
        subscribe.pkid = 1;
        client.send(&[Packet::Subscribe(subscribe)]).await;
        let failure = v4::SubAck::new(1, vec![v4::SubscribeReasonCode::Failure]);
        assert_eq!(client.next().await, Some(Packet::SubAck(failure)));
    });
}

#[test]
fn the_smaller_counts_of_what_a_route_and_a_message_say_of_its_time_to_live() {
    let ttl = Some(Duration::from_secs(60));
    let routes = vec![Route { ttl, ..Route::of_path("kitchen/#") }];
    with(Server { routes, ..mqtt() }, async |bench| {
        let (mut client, _) = Client::welcome_5(&bench, "").await;
        for (topic, own, expected) in [
            ("kitchen/t", None, Some(60)),
            ("kitchen/t", Some(7), Some(7)),
            ("kitchen/t", Some(100), Some(60)),
            ("hall/t", Some(100), Some(100)),
            ("hall/t", None, None),
        ] {
            let properties =
                v5::PublishProperties { message_expiry_interval: own, ..v5::PublishProperties::default() };
            let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
            let publish = v5::Publish::new(topic, qos, "1", Some(properties));
            client.send_5(&[v5::Packet::Publish(v5::Publish { pkid: 1, ..publish })]).await;
            assert_eq!(bench.draft().await.ttl_s, expected, "{topic} {own:?}");
            assert!(matches!(client.next_5().await, Some(v5::Packet::PubAck(_))));
        }
    });
}

/// A peer sends this.
async fn says(bench: &Bench, topic: &str, payload: &str) {
    while bench.publishers.borrow().is_empty() {
        Timer::after(Duration::from_millis(1)).await;
    }
    let message = Arc::unwrap_or_clone(last("kitchen/t").unwrap());
    let payload = payload.as_bytes().to_vec();
    let message =
        message::Message { topic: topic.to_owned(), source: "client:cloud".into(), payload, ..message };
    assert!(!bench.publishers.borrow_mut()[0].show(&Arc::new(message)));
}

fn subscribe(filter: &str, qos: QoS) -> Packet {
    Packet::Subscribe(v4::Subscribe { pkid: 1, ..v4::Subscribe::new(filter, qos) })
}

/// A client with a session that is kept, and whether there was one.
async fn persistent(bench: &Bench, id: &str) -> (Client, bool) {
    let connect = v4::Connect { clean_session: false, ..v4::Connect::new(id) };
    let (client, ack) = Client::greeted(bench, connect).await;
    (client, ack.session_present)
}

async fn given(client: &mut Client) -> (String, QoS, u16, bool, bool) {
    match client.next().await {
        Some(Packet::Publish(v4::Publish { payload, qos, pkid, dup, retain, .. })) => {
            (String::from_utf8(payload.to_vec()).unwrap(), qos, pkid, dup, retain)
        }
        other => panic!("no PUBLISH but {other:?}"),
    }
}

#[test]
fn what_a_peer_sends_comes_to_the_sensor_that_subscribed_and_again_until_it_is_acknowledged() {
    with(mqtt(), async |bench| {
        let (mut client, _) = persistent(&bench, "pump").await;
        client.send(&[subscribe("cmnd/pump/#", QoS::ExactlyOnce)]).await;
        let granted = v4::SubscribeReasonCode::Success(QoS::AtLeastOnce);
        assert_eq!(client.next().await, Some(Packet::SubAck(v4::SubAck::new(1, vec![granted]))));
        says(&bench, "cmnd/valve/POWER", "not this").await;
        says(&bench, "cmnd/pump/POWER", "on").await;
        let of = |payload: &str, id, dup| (payload.to_owned(), QoS::AtLeastOnce, id, dup, false);
        assert_eq!(given(&mut client).await, of("on", 1, false));
        drop(client);
        let (mut client, is_kept) = persistent(&bench, "pump").await;
        assert!(is_kept);
        assert_eq!(given(&mut client).await, of("on", 1, true));
        client.send(&[Packet::PubAck(v4::PubAck::new(1)), Packet::PingReq]).await;
        assert_eq!(client.next().await, Some(Packet::PingResp));
        client.send(&[Packet::Disconnect]).await;
        assert_eq!(client.next().await, None);
        says(&bench, "cmnd/pump/POWER", "off").await;
        let (mut client, _) = persistent(&bench, "pump").await;
        assert_eq!(given(&mut client).await, of("off", 2, false));
        client.send(&[Packet::PubAck(v4::PubAck::new(2))]).await;
        let unsubscribe = v4::Unsubscribe { pkid: 5, topics: vec!["cmnd/pump/#".to_owned()] };
        client.send(&[Packet::Unsubscribe(unsubscribe)]).await;
        assert_eq!(client.next().await, Some(Packet::UnsubAck(v4::UnsubAck::new(5))));
        says(&bench, "cmnd/pump/POWER", "not this").await;
        client.send(&[Packet::PingReq]).await;
        assert_eq!(client.next().await, Some(Packet::PingResp));
    });
}

#[test]
fn a_sensor_that_takes_nothing_is_sent_no_more_than_it_has_room_for() {
    with(mqtt(), async |bench| {
        let (mut client, _) = persistent(&bench, "pump").await;
        client.send(&[subscribe("pump/#", QoS::AtLeastOnce)]).await;
        client.next().await;
        for number in 0..30 {
            says(&bench, "pump/x", &number.to_string()).await;
        }
        for id in 1..=20 {
            assert_eq!(given(&mut client).await.2, id);
        }
        client.send(&[Packet::PingReq]).await;
        assert_eq!(client.next().await, Some(Packet::PingResp), "20 are in flight");
        client.send(&[Packet::PubAck(v4::PubAck::new(1))]).await;
        assert_eq!(given(&mut client).await.2, 21);
    });
}

#[test]
fn sessions_without_a_connection_take_their_part_of_the_memory() {
    with(mqtt(), async |bench| {
        let taken = || bench.room.memory.taken();
        let bare = taken();
        let (mut client, _) = persistent(&bench, "pump").await;
        client.send(&[subscribe("pump/#", QoS::AtLeastOnce)]).await;
        client.next().await;
        drop(client);
        says(&bench, "pump/x", &"x".repeat(5000)).await;
        while taken() < bare + 5000 {
            Timer::after(Duration::from_millis(1)).await;
        }
        let mut client = Client::welcome(&bench, "pump").await;
        client.send(&[Packet::Disconnect]).await;
        assert_eq!(client.next().await, None);
        while taken() > bare {
            Timer::after(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn what_a_client_sends_is_given_back_to_the_memory_once_it_is_stored() {
    with(mqtt(), async |bench| {
        let mut client = Client::welcome(&bench, "").await;
        let before = bench.room.memory.taken();
        for id in 1..=50 {
            client.send(&[publish(QoS::AtLeastOnce, id, &"x".repeat(900))]).await;
        }
        for id in 1..=50 {
            assert_eq!(client.next().await, ack(id));
        }
        client.send(&[Packet::PingReq]).await;
        assert_eq!(client.next().await, Some(Packet::PingResp));
        assert_eq!(bench.room.memory.taken(), before);
        drop(client);
    });
}

/// A WebSocket to the server, with this subprotocol.
async fn web_socket(bench: &Bench, subprotocol: &str) -> Result<WebSocketStream<TcpStream>, String> {
    let url = format!("ws://{}/mqtt", bench.address);
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(subprotocol).unwrap());
    let connected = async_tungstenite::client_async(request, bench.connect().await).await;
    connected.map(|(socket, _)| socket).map_err(|error| error.to_string())
}

fn bytes_of(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for packet in packets {
        packet.write(&mut bytes, MOST).unwrap();
    }
    bytes.to_vec()
}

#[test]
fn packets_come_in_the_frames_of_a_web_socket_wherever_these_end() {
    with(mqtt(), async |bench| {
        let mut socket = web_socket(&bench, "mqtt").await.unwrap();
        let before = bench.room.memory.taken();
        let payload = "x".repeat(900);
        let all = [
            Packet::Connect(v4::Connect::new("")),
            publish(QoS::AtLeastOnce, 1, &payload),
            publish(QoS::AtLeastOnce, 2, &payload),
            Packet::PingReq,
        ];
        for part in bytes_of(&all).chunks(700) {
            socket.send(Message::binary(part.to_vec())).await.unwrap();
            socket.send(Message::Ping(Bytes::new())).await.unwrap();
        }
        let mut received = BytesMut::new();
        let mut packets = Vec::new();
        while packets.len() < 4 {
            match Packet::read(&mut received, MOST) {
                Ok(packet) => packets.push(packet),
                Err(_) => {
                    if let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() {
                        received.extend_from_slice(&bytes);
                    }
                }
            }
        }
        assert!(matches!(packets[0], Packet::ConnAck(_)));
        assert!(packets.contains(&ack(1).unwrap()) && packets.contains(&ack(2).unwrap()), "{packets:?}");
        assert_eq!(bench.draft().await.payload, payload.as_bytes());
        // Of a frame it is not known how long its head was.
        assert!(bench.room.memory.taken() <= before + 200, "{} {before}", bench.room.memory.taken());
        socket.send(Message::text("no")).await.unwrap();
        while let Some(Ok(frame)) = socket.next().await {
            assert!(frame.is_close() || frame.is_pong(), "a text ends it: {frame:?}");
        }
    });
}

#[test]
fn what_is_no_web_socket_for_mqtt_is_told_what_is_spoken() {
    with(mqtt(), async |bench| {
        assert!(web_socket(&bench, "ocpp1.6").await.unwrap_err().contains("400"));
        let (status, body) = bench.ask("GET", "/", "", "").await;
        assert_eq!(status, 426, "{body}");
        assert!(body.contains("this port speaks MQTT"), "{body}");
        let foreign = "origin: https://evil.example\r\n";
        assert_eq!(bench.ask("GET", "/mqtt", foreign, "").await.0, 403);
    });
}
