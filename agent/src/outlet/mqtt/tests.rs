use std::time::Duration;

use bytes::BytesMut;
use holdfast_core::config::mqtt::MqttVersion;
use holdfast_core::link::closing::Closing;
use holdfast_core::link::protocol::{Peer, RefusalKind};
use holdfast_core::message::{Body, Boot, Clock, Entry, Format, GapReason, Message};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, LastWill, Login, Packet, PubAck, Publish};
use rumqttc::v5::mqttbytes::v5;
use smol::channel::bounded;
use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{LocalExecutor, Timer};

use holdfast_core::link::mqtt::terms::Terms;

use super::*;
use crate::net::tls::authority::Authority;
use crate::outlet::uplink::Lane;

const PATIENCE: Duration = Duration::from_secs(20);

/// Speaks 3.1.1, unless a test says otherwise.
fn broker(url: &str) -> Broker {
    let mqtt = Mqtt { version: MqttVersion::ThreeOneOne, ..Mqtt::of_url(url, "gw-17") };
    let will = Publication { topic: "holdfast/gw-17/status".to_owned(), payload: b"offline".to_vec() };
    Broker { mqtt, will: Some(will), spoken: None }
}

fn send(entries: Vec<Entry>) -> LinkOrder {
    let through = entries.last().expect("a batch is never empty").last();
    LinkOrder::Send { lane: 0, through, entries }
}

fn entry(seq: u64, topic: &str, attributes: &[(&str, &str)]) -> Entry {
    let attributes = attributes.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let message = Message {
        id: seq,
        time_ns: 0,
        clock: Clock::Synced,
        boot: Boot(1),
        up_ns: 0,
        topic: topic.to_owned(),
        device: None,
        source: "test".into(),
        format: Format::Text,
        payload: seq.to_string().into_bytes(),
        attributes: attributes.collect(),
        ttl_s: None,
    };
    Entry { seq, body: Body::Message(message.into()), replayed: false }
}

fn gap(seq: u64, to: u64) -> Entry {
    Entry { seq, body: Body::Gap { to, reason: GapReason::DroppedOldest }, replayed: false }
}

/// The loop's end of a connection.
struct Link {
    orders: Sender<LinkOrder>,
    reports: Receiver<LinkReport>,
}

impl Link {
    async fn order(&self, order: LinkOrder) {
        self.orders.send(order).await.unwrap();
    }

    async fn report(&self) -> LinkReport {
        self.reports.recv().await.unwrap()
    }

    async fn up(&self) -> Peer {
        let report = self.report().await;
        let LinkReport::Up(peer) = report else { panic!("not up but {report:?}") };
        peer
    }

    async fn last(&self) -> LinkReport {
        let report = self.report().await;
        assert!(self.reports.recv().await.is_err(), "the task goes on after its last report");
        report
    }

    async fn close(&self) {
        self.order(LinkOrder::Close(0)).await;
        assert_eq!(
            self.last().await,
            LinkReport::Closed { closing: Closing::Plain, error: "closed by this side".to_owned() }
        );
    }
}

/// A broker that does what its test says, by rumqttc's codec.
struct FakeBroker<S> {
    stream: S,
    received: BytesMut,
}

impl<S: smol::io::AsyncRead + smol::io::AsyncWrite + Unpin> FakeBroker<S> {
    fn new(stream: S) -> FakeBroker<S> {
        FakeBroker { stream, received: BytesMut::new() }
    }

    /// Reads more. Returns whether something came.
    async fn fill(&mut self) -> bool {
        let mut chunk = [0; 4096];
        let length = self.stream.read(&mut chunk).await.unwrap();
        self.received.extend_from_slice(&chunk[..length]);
        length > 0
    }

    async fn packet(&mut self) -> Packet {
        loop {
            match Packet::read(&mut self.received, usize::MAX) {
                Ok(packet) => return packet,
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => assert!(self.fill().await),
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn packet_of_5(&mut self) -> v5::Packet {
        loop {
            match v5::Packet::read(&mut self.received, None) {
                Ok(packet) => return packet,
                Err(rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)) => assert!(self.fill().await),
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn publish_of_5(&mut self) -> v5::Publish {
        let packet = self.packet_of_5().await;
        let v5::Packet::Publish(publish) = packet else { panic!("not a PUBLISH but {packet:?}") };
        publish
    }

    /// PUBACK of version 5 with a code.
    async fn answer(&mut self, id: u16, code: u8) {
        let [high, low] = id.to_be_bytes();
        self.write(&[0x40, 3, high, low, code]).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn publish(&mut self) -> Publish {
        let packet = self.packet().await;
        let Packet::Publish(publish) = packet else { panic!("not a PUBLISH but {packet:?}") };
        publish
    }

    async fn say(&mut self, packets: &[Packet]) {
        let mut bytes = BytesMut::new();
        for packet in packets {
            packet.write(&mut bytes, usize::MAX).unwrap();
        }
        self.write(&bytes).await;
    }

    async fn acknowledge(&mut self, packet_ids: &[u16]) {
        let acks: Vec<Packet> = packet_ids.iter().map(|&id| Packet::PubAck(PubAck::new(id))).collect();
        self.say(&acks).await;
    }

    async fn accept(&mut self) -> Connect {
        let packet = self.packet().await;
        let Packet::Connect(connect) = packet else { panic!("not a CONNECT but {packet:?}") };
        self.say(&[Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))]).await;
        connect
    }

    async fn goodbye(&mut self) {
        assert_eq!(self.packet().await, Packet::Disconnect);
        assert!(!self.fill().await, "the connection is not closed");
    }
}

/// Runs a peer and what is done on the link to it; the test ends when both have.
fn with_peer(
    change: impl FnOnce(&mut Broker),
    peer: impl AsyncFnOnce(TcpStream),
    test: impl AsyncFnOnce(Link),
) {
    with_listener(change, async |listener| peer(listener.accept().await.unwrap().0).await, test);
}

/// The same with a peer that takes as many connections as it likes.
fn with_listener(
    change: impl FnOnce(&mut Broker),
    peer: impl AsyncFnOnce(TcpListener),
    test: impl AsyncFnOnce(Link),
) {
    play(
        |url, taken, given| {
            let mut broker = broker(url);
            change(&mut broker);
            run(Rc::new(broker), taken, given, Gauge::default())
        },
        peer,
        test,
    );
}

/// The same with a link that publishes messages, in version 5.
fn with_link(
    change: impl FnOnce(&mut Uplink),
    peer: impl AsyncFnOnce(TcpStream),
    test: impl AsyncFnOnce(Link),
) {
    play(
        |url, taken, given| {
            let mut uplink = Uplink {
                client: Client { url: Some(url.to_owned()), ..Client::of_index(0) },
                agent: "gw-17".to_owned(),
                inbound: None,
                lanes: vec![Lane { priority: 0, epoch: "E1".to_owned() }],
                ttl: None,
                spoken: Some(Version::V5),
            };
            change(&mut uplink);
            run_link(Rc::new(uplink), EndpointId(0), taken, given, Gauge::default())
        },
        async |listener| peer(listener.accept().await.unwrap().0).await,
        test,
    );
}

fn play<F: Future<Output = ()> + 'static>(
    make: impl FnOnce(&str, Receiver<LinkOrder>, Sender<LinkReport>) -> F,
    peer: impl AsyncFnOnce(TcpListener),
    test: impl AsyncFnOnce(Link),
) {
    let executor = LocalExecutor::new();
    let both = async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        let (orders, taken) = bounded(16);
        let (given, reports) = bounded(16);
        let task = executor.spawn(make(&url, taken, given));
        smol::future::zip(peer(listener), test(Link { orders, reports })).await;
        drop(task);
    };
    let late = async {
        Timer::after(PATIENCE).await;
        panic!("the test does not come to its end");
    };
    smol::block_on(executor.run(or(both, late)));
}

#[test]
fn the_request_carries_the_will_the_credentials_and_more_patience_than_ours() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        let connect = peer.accept().await;
        let will = LastWill::new("holdfast/gw-17/status", "offline", QoS::AtLeastOnce, true);
        assert_eq!(connect.last_will, Some(will));
        assert_eq!(connect.login, Some(Login::new("gw", "s3cret")));
        assert_eq!(connect.client_id, "holdfast-gw-17");
        assert_eq!(connect.keep_alive, 60);
        assert!(connect.clean_session);
        peer.goodbye().await;
    };
    let change = |broker: &mut Broker| {
        broker.mqtt.username = Some("gw".to_owned());
        broker.mqtt.password = Some(Secret::Plain("s3cret".to_owned()));
    };
    with_peer(change, peer, async |link| {
        link.up().await;
        link.close().await;
    });
}

#[test]
fn a_refusal_tells_bad_credentials_from_a_broker_that_is_unavailable() {
    let cases = [
        (ConnectReturnCode::BadUserNamePassword, RefusalKind::Unauthorized),
        (ConnectReturnCode::NotAuthorized, RefusalKind::Unauthorized),
        (ConnectReturnCode::ServiceUnavailable, RefusalKind::Retry),
    ];
    for (code, kind) in cases {
        let peer = async |tcp| {
            let mut peer = FakeBroker::new(tcp);
            assert!(matches!(peer.packet().await, Packet::Connect(_)));
            peer.say(&[Packet::ConnAck(ConnAck::new(code, false))]).await;
        };
        with_peer(
            |_| {},
            peer,
            async |link| {
                let LinkReport::DialFailed(refusal) = link.last().await else { panic!("it was not refused") };
                assert_eq!(refusal.cause.kind(), kind);
                assert!(refusal.to_string().starts_with("cannot dial mqtt://127.0.0.1:"), "{refusal}");
            },
        );
    }
}

#[test]
fn a_connection_that_ends_before_the_connack_is_a_dial_that_failed() {
    with_peer(
        |_| {},
        async |tcp| drop(tcp),
        async |link| {
            let LinkReport::DialFailed(refusal) = link.last().await else { panic!("it did not fail") };
            assert_eq!(refusal.cause.kind(), RefusalKind::Retry);
            assert!(refusal.error.ends_with("before it answered"), "{}", refusal.error);
        },
    );
}

#[test]
fn pubacks_in_any_order_become_acks_without_a_hole() {
    let (told, tell) = bounded::<()>(1);
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        peer.accept().await;
        let mut ids = Vec::new();
        for expected in ["1", "2", "6"] {
            let publish = peer.publish().await;
            assert_eq!((publish.topic.as_str(), &publish.payload[..]), ("a/b", expected.as_bytes()));
            assert_eq!((publish.qos, publish.retain), (QoS::AtLeastOnce, true));
            ids.push(publish.pkid);
        }
        peer.acknowledge(&[ids[1]]).await;
        peer.acknowledge(&[ids[0]]).await;
        tell.recv().await.unwrap();
        peer.acknowledge(&[ids[2]]).await;
        peer.goodbye().await;
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            let entries = vec![entry(1, "a/b", &[]), entry(2, "a/b", &[]), gap(3, 5), entry(6, "a/b", &[])];
            link.order(send(entries)).await;
            assert_eq!(link.report().await, LinkReport::Ack { lane: 0, seq: 5 });
            told.send(()).await.unwrap();
            assert_eq!(link.report().await, LinkReport::Ack { lane: 0, seq: 6 });
            link.close().await;
        },
    );
}

#[test]
fn what_mqtt_cannot_carry_is_never_published_and_counts_as_acknowledged() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        peer.accept().await;
        peer.goodbye().await;
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            let entries =
                vec![entry(1, "a/+/b", &[]), entry(2, "a/#", &[]), entry(3, "a\0b", &[]), gap(4, 9)];
            link.order(send(entries)).await;
            for _ in 0..3 {
                let LinkReport::StateRefused(Some(why)) = link.report().await else { panic!("not told") };
                assert!(why.contains("MQTT does not allow the topic"), "{why}");
            }
            assert_eq!(link.report().await, LinkReport::Ack { lane: 0, seq: 9 });
            link.close().await;
        },
    );
}

#[test]
fn a_state_is_retained_and_a_message_that_says_otherwise_is_not() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        peer.accept().await;
        let message = peer.publish().await;
        assert!(!message.retain);
        let state = peer.publish().await;
        assert_eq!((state.topic.as_str(), state.retain, state.qos), ("s", true, QoS::AtLeastOnce));
        peer.acknowledge(&[state.pkid, message.pkid]).await;
        peer.goodbye().await;
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            link.order(send(vec![entry(1, "a", &[("retain", "false")])])).await;
            let state = Publication { topic: "s".to_owned(), payload: b"on".to_vec() };
            link.order(LinkOrder::Publish(state)).await;
            assert_eq!(link.report().await, LinkReport::Ack { lane: 0, seq: 1 });
            link.close().await;
        },
    );
}

#[test]
fn no_more_than_a_hundred_publications_are_in_flight_and_all_arrive_in_order() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        peer.accept().await;
        let mut expected = 1..=250_u32;
        for batch in [100, 100, 50] {
            let mut ids = Vec::new();
            for _ in 0..batch {
                let publish = peer.publish().await;
                assert_eq!(publish.payload, expected.next().unwrap().to_string());
                ids.push(publish.pkid);
            }
            assert!(peer.received.is_empty());
            ids.reverse();
            peer.acknowledge(&ids).await;
        }
        peer.goodbye().await;
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            link.order(send((1..=250).map(|seq| entry(seq, "a", &[])).collect())).await;
            let mut reached = 0;
            while reached < 250 {
                let LinkReport::Ack { seq: through, .. } = link.report().await else { panic!("not an ack") };
                assert!(through > reached);
                reached = through;
            }
            link.close().await;
        },
    );
}

#[test]
fn an_id_that_the_broker_passed_over_delays_its_next_bearer_and_loses_nothing() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        peer.accept().await;
        let mut ids = Vec::new();
        for _ in 0..100 {
            ids.push(peer.publish().await.pkid);
        }
        // All but the first: the next publication gets the id of the first and must wait for it.
        peer.acknowledge(&ids[1..]).await;
        peer.acknowledge(&ids[..1]).await;
        for expected in ["101", "102"] {
            let publish = peer.publish().await;
            assert_eq!(publish.payload, expected);
            peer.acknowledge(&[publish.pkid]).await;
        }
        peer.goodbye().await;
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            link.order(send((1..=102).map(|seq| entry(seq, "a", &[])).collect())).await;
            while link.report().await != (LinkReport::Ack { lane: 0, seq: 102 }) {}
            link.close().await;
        },
    );
}

#[test]
fn each_pingresp_answers_the_oldest_ping() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        peer.accept().await;
        assert_eq!(peer.packet().await, Packet::PingReq);
        assert_eq!(peer.packet().await, Packet::PingReq);
        peer.say(&[Packet::PingResp]).await;
        peer.say(&[Packet::PingResp]).await;
        peer.goodbye().await;
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            link.order(LinkOrder::Ping(7)).await;
            link.order(LinkOrder::Ping(8)).await;
            assert_eq!(link.report().await, LinkReport::Pong(7));
            assert_eq!(link.report().await, LinkReport::Pong(8));
            link.close().await;
        },
    );
}

#[test]
fn a_goodbye_waits_for_the_pubacks_that_are_due() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        peer.accept().await;
        let publish = peer.publish().await;
        peer.acknowledge(&[publish.pkid]).await;
        peer.goodbye().await;
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            link.order(send(vec![entry(4, "a", &[])])).await;
            link.order(LinkOrder::Close(0)).await;
            assert_eq!(link.report().await, LinkReport::Ack { lane: 0, seq: 4 });
            assert!(matches!(link.last().await, LinkReport::Closed { .. }));
        },
    );
}

#[test]
fn a_broker_that_goes_or_talks_nonsense_ends_the_connection_with_its_cause() {
    let unsolicited = Packet::PubAck(PubAck::new(9));
    let cases = [
        (None, Closing::Unexplained, "the broker closed the connection"),
        (
            Some(unsolicited),
            Closing::Plain,
            "the broker breaks the MQTT protocol: a PUBACK for 9, which is not in flight",
        ),
    ];
    for (packet, closing, words) in cases {
        let peer = async |tcp| {
            let mut peer = FakeBroker::new(tcp);
            peer.accept().await;
            if let Some(packet) = packet {
                peer.say(&[packet]).await;
                assert!(!peer.fill().await);
            }
        };
        with_peer(
            |_| {},
            peer,
            async |link| {
                link.up().await;
                assert_eq!(link.last().await, LinkReport::Closed { closing, error: words.to_owned() });
            },
        );
    }
}

/// CONNACK of version 5 without properties.
const WELCOME: [u8; 5] = [0x20, 3, 0, 0, 0];

fn auto(broker: &mut Broker) {
    broker.mqtt.version = MqttVersion::Auto;
}

#[test]
fn version_5_is_spoken_first_and_what_the_broker_takes_is_kept_to() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        let v5::Packet::Connect(connect, will, login) = peer.packet_of_5().await else {
            panic!("no CONNECT")
        };
        assert_eq!((connect.client_id.as_str(), connect.clean_start), ("holdfast-gw-17", true));
        assert_eq!(login, Some(v5::Login::new("gw", "s3cret")));
        let will = will.unwrap();
        assert!(will.retain && will.message == "offline" && will.topic == "holdfast/gw-17/status");
        // Receive maximum 2, no retained messages, packets of 40 bytes.
        peer.write(&[0x20, 13, 0, 0, 10, 33, 0, 2, 37, 0, 39, 0, 0, 0, 40]).await;
        let ids = [peer.publish_of_5().await, peer.publish_of_5().await].map(|publish| {
            assert!(!publish.retain);
            publish.pkid
        });
        smol::future::yield_now().await;
        assert!(peer.received.is_empty());
        peer.answer(ids[0], 0x10).await;
        let third = peer.publish_of_5().await;
        assert_eq!(third.payload, "4");
        peer.acknowledge(&[ids[1], third.pkid]).await;
        peer.goodbye().await;
    };
    let change = |broker: &mut Broker| {
        auto(broker);
        broker.mqtt.username = Some("gw".to_owned());
        broker.mqtt.password = Some(Secret::Plain("s3cret".to_owned()));
    };
    with_peer(change, peer, async |link| {
        let terms = link.up().await.terms.unwrap();
        assert_eq!(
            terms.to_string(),
            "MQTT 5, packets of 40 bytes at most, 2 unacknowledged at most, no retained messages"
        );
        let large = entry(2, &"long".repeat(20), &[]);
        link.order(send(vec![entry(1, "a", &[]), large, entry(3, "a", &[]), entry(4, "a", &[])])).await;
        let LinkReport::StateRefused(Some(why)) = link.report().await else { panic!("it is not told") };
        assert!(why.contains("the broker takes 40 at most"), "{why}");
        while link.report().await != (LinkReport::Ack { lane: 0, seq: 4 }) {}
        link.close().await;
    });
}

#[test]
fn a_broker_that_does_not_understand_version_5_is_spoken_to_in_3_1_1() {
    let answers: [&[u8]; 4] = [&[], &[0x20, 2, 0, 1], &[0x20, 3, 0, 0x84, 0], b"HTTP/1.1 400 Bad Request"];
    for answer in answers {
        let peer = async |listener: TcpListener| {
            let mut first = FakeBroker::new(listener.accept().await.unwrap().0);
            assert!(matches!(first.packet_of_5().await, v5::Packet::Connect(..)));
            first.write(answer).await;
            drop(first);
            let mut second = FakeBroker::new(listener.accept().await.unwrap().0);
            assert!(second.accept().await.last_will.is_some());
            second.goodbye().await;
        };
        with_listener(auto, peer, async |link| {
            assert_eq!(link.up().await.terms, Some(Terms::of(Version::V311)));
            link.close().await;
        });
    }
}

#[test]
fn a_login_that_is_refused_in_version_5_is_not_tried_in_another() {
    let peer = async |listener: TcpListener| {
        let mut first = FakeBroker::new(listener.accept().await.unwrap().0);
        assert!(matches!(first.packet_of_5().await, v5::Packet::Connect(..)));
        first.write(&[0x20, 8, 0, 0x86, 5, 31, 0, 2, b'n', b'o']).await;
        assert!(!first.fill().await);
    };
    with_listener(auto, peer, async |link| {
        let LinkReport::DialFailed(refusal) = link.last().await else { panic!("it was not refused") };
        assert_eq!(refusal.cause.kind(), RefusalKind::Unauthorized);
        let words = "the broker refuses user name or password (no)";
        assert!(refusal.error.ends_with(words), "{}", refusal.error);
    });
}

#[test]
fn a_state_that_the_broker_refuses_is_told_until_it_is_taken() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        peer.packet_of_5().await;
        peer.write(&WELCOME).await;
        for code in [0x87, 0x00] {
            let id = peer.publish_of_5().await.pkid;
            peer.answer(id, code).await;
        }
        peer.goodbye().await;
    };
    with_peer(auto, peer, async |link| {
        link.up().await;
        let state = || LinkOrder::Publish(Publication { topic: "s".to_owned(), payload: b"on".to_vec() });
        link.order(state()).await;
        let why = "s: the broker refuses it: not authorized (0x87)".to_owned();
        assert_eq!(link.report().await, LinkReport::StateRefused(Some(why)));
        link.order(state()).await;
        assert_eq!(link.report().await, LinkReport::StateRefused(None));
        link.close().await;
    });
}

#[test]
fn the_reason_of_a_broker_that_ends_the_connection_is_told() {
    let cases = [
        (0x8e, Closing::TakenOver, "another client uses the id holdfast-gw-17: is this card a clone?"),
        (0x8b, Closing::Restarting, "the broker ends the connection: the broker stops (0x8b)"),
        (0x95, Closing::TooLarge, "the broker ends the connection: packet too large (0x95)"),
        (0x00, Closing::Plain, "the broker ends the connection: no reason was given (0x00)"),
    ];
    for (code, closing, words) in cases {
        let peer = async |tcp| {
            let mut peer = FakeBroker::new(tcp);
            peer.packet_of_5().await;
            peer.write(&WELCOME).await;
            // Both forms of it, the empty one for success.
            peer.write(if code == 0 { vec![0xe0, 0] } else { vec![0xe0, 1, code] }.as_slice()).await;
            assert!(!peer.fill().await);
        };
        with_peer(auto, peer, async |link| {
            link.up().await;
            let LinkReport::Closed { closing: means, error } = link.last().await else {
                panic!("not closed")
            };
            assert!(means == closing && error.starts_with(words), "{means:?} {error}");
        });
    }
}

#[test]
fn a_message_has_its_number_its_time_and_its_life_with_it() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        peer.packet_of_5().await;
        peer.write(&WELCOME).await;
        let publish = peer.publish_of_5().await;
        let properties = publish.properties.unwrap();
        // It came at the beginning of time.
        assert_eq!(properties.message_expiry_interval, Some(1));
        let told: Vec<String> =
            properties.user_properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(told, ["epoch=E1", "seq=7", "time=1970-01-01T00:00:00.000000000Z"]);
        peer.answer(publish.pkid, 0).await;
        peer.goodbye().await;
    };
    let change = |uplink: &mut Uplink| uplink.ttl = Some(Duration::from_secs(60));
    with_link(change, peer, async |link| {
        link.up().await;
        let order = LinkOrder::Send { lane: 0, through: 1, entries: vec![entry(7, "a", &[])] };
        link.order(order).await;
        assert_eq!(link.report().await, LinkReport::Confirmed(1));
        link.close().await;
    });
}

#[test]
fn a_message_that_the_broker_refuses_twice_while_it_takes_others_is_refused() {
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(tcp);
        peer.packet_of_5().await;
        peer.write(&WELCOME).await;
        let (bad, good) = (peer.publish_of_5().await, peer.publish_of_5().await);
        peer.answer(bad.pkid, 0x99).await;
        let again = peer.publish_of_5().await;
        assert_eq!((again.payload, again.properties), (bad.payload, bad.properties));
        peer.answer(good.pkid, 0).await;
        peer.answer(again.pkid, 0x99).await;
        peer.goodbye().await;
    };
    with_link(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            let entries = vec![entry(1, "a", &[]), entry(2, "a", &[])];
            link.order(LinkOrder::Send { lane: 0, through: 2, entries }).await;
            let reason = "the broker refuses it: payload format not valid (0x99)".to_owned();
            assert_eq!(link.report().await, LinkReport::Nack { lane: 0, seq: 1, reason });
            assert_eq!(link.report().await, LinkReport::Confirmed(2));
            link.close().await;
        },
    );
}

#[test]
fn a_puback_that_is_a_failure_confirms_nothing_and_ends_the_connection_for_its_reason() {
    let cases = [
        (0x87, Closing::Unauthorized, "not authorized (0x87)"),
        (0x97, Closing::Busy { retry_after: None }, "quota exceeded (0x97)"),
        (0x80, Closing::Message, "unspecified error (0x80)"),
    ];
    for (code, closing, words) in cases {
        let peer = async |tcp| {
            let mut peer = FakeBroker::new(tcp);
            peer.packet_of_5().await;
            peer.write(&WELCOME).await;
            let (first, second) = (peer.publish_of_5().await, peer.publish_of_5().await);
            peer.answer(first.pkid, 0).await;
            peer.answer(second.pkid, code).await;
            assert!(!peer.fill().await);
        };
        with_link(
            |_| {},
            peer,
            async |link| {
                link.up().await;
                let entries = vec![entry(1, "a", &[]), entry(2, "b/c", &[])];
                link.order(LinkOrder::Send { lane: 0, through: 2, entries }).await;
                assert_eq!(link.report().await, LinkReport::Confirmed(1));
                let error = format!("the broker refuses message 2 on \"b/c\": {words}");
                assert_eq!(link.last().await, LinkReport::Closed { closing, error });
            },
        );
    }
}

#[test]
fn a_link_whose_broker_acknowledges_nothing_is_not_used_unless_it_may_lose_messages() {
    for qos in [1, 0] {
        let peer = async |tcp| {
            let mut peer = FakeBroker::new(tcp);
            peer.packet_of_5().await;
            // Maximum QoS 0.
            peer.write(&[0x20, 5, 0, 0, 2, 36, 0]).await;
            if qos == 0 {
                peer.goodbye().await;
            }
        };
        let change = |uplink: &mut Uplink| uplink.client.publish.qos = qos;
        with_link(change, peer, async |link| {
            if qos == 0 {
                link.up().await;
                return link.close().await;
            }
            let LinkReport::DialFailed(refusal) = link.last().await else { panic!("it is used") };
            assert!(refusal.error.contains("set `qos = 0`"), "{}", refusal.error);
        });
    }
}

#[test]
fn tls_carries_the_connection() {
    let authority = Authority::new();
    let leaf = authority.issue("127.0.0.1", |_| {});
    let acceptor = crate::net::tls::acceptor(&leaf.cert, &leaf.key, None).unwrap();
    let ca = vec![authority.ca.clone()];
    let peer = async |tcp| {
        let mut peer = FakeBroker::new(acceptor.accept(tcp).await.unwrap());
        peer.accept().await;
        peer.goodbye().await;
    };
    let change = |broker: &mut Broker| {
        broker.mqtt.url = broker.mqtt.url.replace("mqtt://", "mqtts://");
        broker.mqtt.tls.ca = ca;
    };
    with_peer(change, peer, async |link| {
        assert!(link.up().await.certificate_days_left.is_some());
        link.close().await;
    });
}
