use holdfast_core::config::Secret;
use holdfast_core::config::client::Reconnect;
use holdfast_core::config::tls::ClientTls;
use holdfast_core::message::{Body, Boot, Clock, Entry, Format, GapReason, Message};
use rumqttc::mqttbytes::v4::{ConnAck, PubAck, Publish};
use smol::LocalExecutor;
use smol::channel::bounded;
use smol::net::{TcpListener, TcpStream};

use super::*;
use crate::net::tls::authority::Authority;

const PATIENCE: Duration = Duration::from_secs(20);

fn broker(url: String) -> Broker {
    let mqtt = Mqtt {
        url,
        client_id: "holdfast-gw-17".to_owned(),
        username: None,
        password: None,
        tls: ClientTls::default(),
        prefix: "holdfast/gw-17".to_owned(),
        status_interval: Duration::from_secs(30),
        keep_alive: Duration::from_secs(20),
        reconnect: Reconnect {
            min: Duration::from_secs(1),
            max: Duration::from_secs(300),
            stable_after: Duration::from_secs(60),
            ..Reconnect::default()
        },
    };
    let will = Publication { topic: "holdfast/gw-17/status".to_owned(), payload: b"offline".to_vec() };
    Broker { mqtt, will }
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

/// A broker that does what its test says.
struct FakeBroker<S>(PacketStream<S>);

impl<S: smol::io::AsyncRead + smol::io::AsyncWrite + Unpin> FakeBroker<S> {
    async fn packet(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.0.packet().unwrap() {
                return packet;
            }
            self.0.read().await.unwrap();
        }
    }

    async fn publish(&mut self) -> Publish {
        let packet = self.packet().await;
        let Packet::Publish(publish) = packet else { panic!("not a PUBLISH but {packet:?}") };
        publish
    }

    async fn say(&mut self, packets: &[Packet]) {
        packets.iter().for_each(|packet| self.0.queue(packet).unwrap());
        self.0.flush().await.unwrap();
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
        assert!(self.0.read().await.is_err(), "the connection is not closed");
    }
}

/// Runs a peer and what is done on the link to it; the test ends when both have.
fn with_peer(
    change: impl FnOnce(&mut Broker),
    peer: impl AsyncFnOnce(TcpStream),
    test: impl AsyncFnOnce(Link),
) {
    let executor = LocalExecutor::new();
    let both = async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut broker = broker(format!("mqtt://{}", listener.local_addr().unwrap()));
        change(&mut broker);
        let (orders, taken) = bounded(16);
        let (given, reports) = bounded(16);
        let task = executor.spawn(run(Rc::new(broker), taken, given, Gauge::default()));
        let peer = async { peer(listener.accept().await.unwrap().0).await };
        smol::future::zip(peer, test(Link { orders, reports })).await;
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
        let mut peer = FakeBroker(PacketStream::new(tcp));
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
            let mut peer = FakeBroker(PacketStream::new(tcp));
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
        let mut peer = FakeBroker(PacketStream::new(tcp));
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
        let mut peer = FakeBroker(PacketStream::new(tcp));
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
            assert_eq!(link.report().await, LinkReport::Ack { lane: 0, seq: 9 });
            link.close().await;
        },
    );
}

#[test]
fn a_state_is_retained_and_a_message_that_says_otherwise_is_not() {
    let peer = async |tcp| {
        let mut peer = FakeBroker(PacketStream::new(tcp));
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
        let mut peer = FakeBroker(PacketStream::new(tcp));
        peer.accept().await;
        let mut expected = 1..=250_u32;
        for batch in [100, 100, 50] {
            let mut ids = Vec::new();
            for _ in 0..batch {
                let publish = peer.publish().await;
                assert_eq!(publish.payload, expected.next().unwrap().to_string());
                ids.push(publish.pkid);
            }
            assert!(matches!(peer.0.packet(), Ok(None)));
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
        let mut peer = FakeBroker(PacketStream::new(tcp));
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
        let mut peer = FakeBroker(PacketStream::new(tcp));
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
        let mut peer = FakeBroker(PacketStream::new(tcp));
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
        (None, "the broker closed the connection"),
        (Some(unsolicited), "the broker breaks the MQTT protocol: Received unsolicited ack pkid: 9"),
    ];
    for (packet, words) in cases {
        let peer = async |tcp| {
            let mut peer = FakeBroker(PacketStream::new(tcp));
            peer.accept().await;
            if let Some(packet) = packet {
                peer.say(&[packet]).await;
                assert!(peer.0.read().await.is_err());
            }
        };
        with_peer(
            |_| {},
            peer,
            async |link| {
                link.up().await;
                assert_eq!(
                    link.last().await,
                    LinkReport::Closed { closing: Closing::Plain, error: words.to_owned() }
                );
            },
        );
    }
}

#[test]
fn tls_carries_the_connection() {
    let authority = Authority::new();
    let leaf = authority.issue("127.0.0.1", |_| {});
    let acceptor = crate::net::tls::acceptor(&leaf.cert, &leaf.key, None).unwrap();
    let ca = vec![authority.ca.clone()];
    let peer = async |tcp| {
        let mut peer = FakeBroker(PacketStream::new(acceptor.accept(tcp).await.unwrap()));
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
