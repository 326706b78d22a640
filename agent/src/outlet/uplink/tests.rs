use async_tungstenite::accept_async;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::{Bytes, Error, Message};
use futures_util::{SinkExt, StreamExt};
use holdfast_core::config::Secret;
use holdfast_core::config::client::{Auth, Confirm, Framing};
use holdfast_core::link::closing::Closing;
use holdfast_core::link::protocol::Heard;
use holdfast_core::message::{Body, Boot, Clock, Entry, Format, GapReason};
use smol::LocalExecutor;
use smol::channel::bounded;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

use super::*;
use crate::net::tls::authority::Authority;

/// Orders that the writer takes at once.
const ORDERS: usize = session::ORDERS_PER_FLUSH;
const PATIENCE: Duration = Duration::from_secs(20);

/// A client with the defaults of the configuration.
pub fn client(url: &str) -> Client {
    Client { id: "cloud".to_owned(), url: Some(url.to_owned()), ..Client::of_index(0) }
}

fn send(entries: Vec<Entry>) -> LinkOrder {
    let through = entries.last().expect("a batch is never empty").last();
    LinkOrder::Send { lane: 0, through, entries }
}

fn entry(seq: u64, format: Format, payload: &str) -> Entry {
    let message = holdfast_core::message::Message {
        id: seq,
        time_ns: 0,
        clock: Clock::Synced,
        boot: Boot(1),
        up_ns: 0,
        topic: "a/b".to_owned(),
        device: None,
        source: "test".into(),
        format,
        payload: payload.as_bytes().to_owned(),
        attributes: Vec::new(),
        ttl_s: None,
    };
    Entry { seq, body: Body::Message(message.into()), replayed: false }
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

    async fn refusal(&self) -> Refusal {
        let LinkReport::DialFailed(refusal) = self.report().await else { panic!("it was not refused") };
        assert!(self.reports.recv().await.is_err(), "the task goes on after its last report");
        refusal
    }

    async fn up(&self) -> Peer {
        let report = self.report().await;
        let LinkReport::Up(peer) = report else { panic!("not up but {report:?}") };
        peer
    }

    async fn closed(&self) -> (Closing, String) {
        let report = self.report().await;
        let LinkReport::Closed { closing, error } = report else { panic!("not closed but {report:?}") };
        assert!(self.reports.recv().await.is_err(), "the task goes on after its last report");
        (closing, error)
    }
}

/// Runs a peer and what is done on the link to it; the test ends when both have.
fn with_peer(
    change: impl FnOnce(&mut Client),
    peer: impl AsyncFnOnce(TcpStream),
    test: impl AsyncFnOnce(Link),
) {
    let executor = LocalExecutor::new();
    let both = async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut client = client(&format!("ws://127.0.0.1:{}/in", listener.local_addr().unwrap().port()));
        change(&mut client);
        let uplink = Uplink {
            inbound: Inbound::of(&client, "gw-17"),
            client,
            agent: "gw-17".to_owned(),
            lanes: vec![Lane { priority: 0, epoch: "E1".to_owned() }],
            ttl: None,
            spoken: None,
        };
        let (orders, orders_taken) = bounded(16);
        let (reports_given, reports) = bounded(16);
        let task = executor.spawn(run(
            Rc::new(uplink),
            EndpointId(0),
            orders_taken,
            reports_given,
            Gauge::default(),
        ));
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

/// The head of the request, which stays there to be read.
async fn head(tcp: &TcpStream) -> String {
    let mut head = vec![0; 4096];
    let length = tcp.peek(&mut head).await.unwrap();
    String::from_utf8_lossy(&head[..length]).into_owned()
}

/// A peer that answers the upgrade with these bytes.
async fn answers(mut tcp: TcpStream, answer: &str) {
    let mut request = vec![0; 4096];
    let _ = tcp.read(&mut request).await.unwrap();
    tcp.write_all(answer.as_bytes()).await.unwrap();
}

#[test]
fn payloads_go_out_as_they_came_and_a_gap_leaves_no_trace_on_a_raw_link() {
    let peer = async |tcp| {
        let mut socket = accept_async(tcp).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("{\"t\":1}"));
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary("raw"));
        while let Some(Ok(message)) = socket.next().await {
            assert!(message.is_ping() || message.is_close(), "{message:?}");
        }
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            let gap = Body::Gap { to: 7, reason: GapReason::DroppedOldest };
            let entries = vec![
                entry(1, Format::Json, "{\"t\":1}"),
                Entry { seq: 2, body: gap, replayed: false },
                entry(8, Format::Binary, "raw"),
            ];
            link.order(LinkOrder::Hello { lane: 0, first: 1, next: 9 }).await;
            link.order(send(entries)).await;
            link.order(LinkOrder::Ping(0x0102_0304_0506_0708)).await;
            assert_eq!(link.report().await, LinkReport::Pong(0x0102_0304_0506_0708));
            link.order(LinkOrder::Close(1000)).await;
            assert_eq!(link.closed().await.1, "closed by this side with 1000");
        },
    );
}

#[test]
fn only_confirm_none_reports_what_is_written_and_counts_a_gap_to_its_end() {
    let peer = async |tcp| {
        let mut socket = accept_async(tcp).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    with_peer(
        |client| client.confirm = Confirm::None,
        peer,
        async |link| {
            let gap = Body::Gap { to: 9, reason: GapReason::Restart };
            let entries = vec![entry(1, Format::Text, "x"), Entry { seq: 2, body: gap, replayed: false }];
            link.order(send(entries)).await;
            link.order(LinkOrder::Close(1000)).await;
            link.up().await;
            assert_eq!(link.report().await, LinkReport::Written(9));
            link.closed().await;
        },
    );
}

#[test]
fn the_configured_message_comes_before_everything_else() {
    let peer = async |tcp| {
        let mut socket = accept_async(tcp).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hi"));
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("x"));
        while let Some(Ok(_)) = socket.next().await {}
    };
    with_peer(
        |client| client.message = vec![Secret::Plain("hi".to_owned())],
        peer,
        async |link| {
            link.order(send(vec![entry(1, Format::Text, "x")])).await;
            link.up().await;
            link.order(LinkOrder::Close(1000)).await;
            link.closed().await;
        },
    );
}

#[test]
fn acks_that_arrive_together_fold_into_one() {
    let peer = async |tcp| {
        let mut socket = accept_async(tcp).await.unwrap();
        socket.next().await.unwrap().unwrap();
        for text in ["{\"ack\":1}", "{\"ack\":2}", "{\"nack\":3,\"reason\":\"no\"}", "{\"ack\":4}", "hello"] {
            socket.feed(Message::text(text)).await.unwrap();
        }
        socket.flush().await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let change = |client: &mut Client| (client.framing, client.confirm) = (Framing::Envelope, Confirm::Ack);
    with_peer(change, peer, async |link| {
        link.up().await;
        link.order(LinkOrder::Hello { lane: 0, first: 1, next: 5 }).await;
        let expected = [
            LinkReport::Ack { lane: 0, seq: 2 },
            LinkReport::Nack { lane: 0, seq: 3, reason: "no".to_owned() },
            LinkReport::Ack { lane: 0, seq: 4 },
            LinkReport::Inbound(Heard::Counted),
        ];
        for report in expected {
            assert_eq!(link.reports.recv().await.unwrap(), report);
        }
        link.order(LinkOrder::Close(1000)).await;
        link.closed().await;
    });
}

#[test]
fn an_envelope_link_offers_the_subprotocol_introduces_itself_and_bears_a_server_that_picks_none() {
    let peer = async |tcp: TcpStream| {
        assert!(head(&tcp).await.contains("\r\nSec-WebSocket-Protocol: holdfast.v1\r\n"));
        let mut socket = accept_async(tcp).await.unwrap();
        let hello = socket.next().await.unwrap().unwrap().into_text().unwrap();
        let hello: serde_json::Value = serde_json::from_str(&hello).unwrap();
        assert_eq!(hello["hello"]["agent"], "gw-17");
        assert_eq!(hello["hello"]["epoch"], "E1");
        assert_eq!(hello["hello"]["first"], 3);
        let batch = socket.next().await.unwrap().unwrap().into_text().unwrap();
        let batch: serde_json::Value = serde_json::from_str(&batch).unwrap();
        assert_eq!(batch["messages"][0]["seq"], 3);
        socket.send(Message::text("{\"resume\":3}")).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let change = |client: &mut Client| (client.framing, client.confirm) = (Framing::Envelope, Confirm::Ack);
    with_peer(change, peer, async |link| {
        link.up().await;
        link.order(LinkOrder::Hello { lane: 0, first: 3, next: 5 }).await;
        link.order(send(vec![entry(3, Format::Text, "x")])).await;
        assert_eq!(link.report().await, LinkReport::Resume { lane: 0, from: 3 });
        link.order(LinkOrder::Close(1000)).await;
        link.closed().await;
    });
}

#[test]
fn answers_on_a_raw_link_are_messages_of_the_peer() {
    let peer = async |tcp| {
        let mut socket = accept_async(tcp).await.unwrap();
        socket.send(Message::text("{\"ack\":1}")).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            assert_eq!(link.report().await, LinkReport::Inbound(Heard::Counted));
            link.order(LinkOrder::Close(1000)).await;
            link.closed().await;
        },
    );
}

#[test]
fn the_close_code_of_the_peer_is_reported_and_its_frame_is_answered() {
    let peer = async |tcp| {
        let mut socket = accept_async(tcp).await.unwrap();
        let frame = CloseFrame { code: 1013.into(), reason: "later".into() };
        socket.send(Message::Close(Some(frame))).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        assert!(matches!(answer, Message::Close(Some(frame)) if u16::from(frame.code) == 1013));
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            assert_eq!(
                link.closed().await,
                (Closing::Restarting, "the peer closed with 1013: later".to_owned())
            );
        },
    );
}

#[test]
fn a_peer_that_breaks_the_protocol_is_told_what_it_did() {
    async fn told(tcp: TcpStream, frame: Vec<u8>) -> u16 {
        let mut socket = accept_async(tcp).await.unwrap();
        socket.get_mut().write_all(&frame).await.unwrap();
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
            other => panic!("{other:?}"),
        }
    }
    let endless = vec![0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0];
    let cases = [
        (vec![0xf1, 0], 1002, "the peer breaks the WebSocket protocol: Reserved bits are non-zero"),
        (endless, 1002, "the peer breaks the WebSocket protocol: a frame has a length that none may have"),
        (vec![0x88, 3, 3, 0xe8, 0xff], 1007, "the peer closed with 1000: \u{fffd}"),
    ];
    for (frame, code, words) in cases {
        let peer = async |tcp| assert_eq!(told(tcp, frame).await, code);
        with_peer(
            |_| {},
            peer,
            async |link| {
                link.up().await;
                assert_eq!(link.closed().await, (Closing::Plain, words.to_owned()));
            },
        );
    }
}

#[test]
fn what_nobody_wants_is_thrown_away_and_counted_and_the_connection_stays() {
    let peer = async |tcp: TcpStream| {
        let mut socket = accept_async(tcp).await.unwrap();
        socket.send(Message::binary(vec![0; 3 << 20])).await.unwrap();
        let broken_text = [0x01, 1, 0xc3, 0x89, 1, b'p', 0x80, 1, 0x28];
        socket.get_mut().write_all(&broken_text).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("p".into()));
        socket.send(Message::text("{\"ack\":1}")).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let wanted = |client: &mut Client| {
        client.inbound = Some(holdfast_core::config::inbound::Inbound {
            topic: "in".to_owned(),
            device: None,
            format: None,
            encoding: None,
            priority: 0,
            message_bytes: 16,
        });
    };
    let refused = |why: &str| LinkReport::Inbound(Heard::Refused(why.to_owned()));
    let counted = || LinkReport::Inbound(Heard::Counted);
    let too_large = refused("a message of 3145728 bytes; message_bytes is 16");
    let no_text = refused("a text message that is not UTF-8");
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            for _ in 0..3 {
                assert_eq!(link.report().await, counted());
            }
            link.order(LinkOrder::Close(1000)).await;
            link.closed().await;
        },
    );
    with_peer(wanted, peer, async |link| {
        link.up().await;
        assert_eq!((link.report().await, link.report().await), (too_large, no_text));
        assert!(matches!(link.report().await, LinkReport::Inbound(Heard::Message(_))));
        link.order(LinkOrder::Close(1000)).await;
        link.closed().await;
    });
    let envelopes =
        |client: &mut Client| (client.framing, client.confirm) = (Framing::Envelope, Confirm::Ack);
    with_peer(envelopes, peer, async |link| {
        link.up().await;
        assert_eq!((link.report().await, link.report().await), (counted(), counted()));
        assert_eq!(link.report().await, LinkReport::Ack { lane: 0, seq: 1 });
        link.order(LinkOrder::Close(1000)).await;
        link.closed().await;
    });
}

#[test]
fn only_a_pong_with_the_payload_of_a_ping_is_its_echo() {
    let peer = async |tcp: TcpStream| {
        let mut socket = accept_async(tcp).await.unwrap();
        socket.next().await.unwrap().unwrap();
        // Unsolicited ones, one that counts as our pings do, and a late echo of them.
        for payload in [&[][..], &[0, 0, 0, 0, 0, 0, 0, 7], b"holdfast\0\0\0\0\0\0\0\x07"] {
            socket.send(Message::Pong(payload.to_vec().into())).await.unwrap();
            socket.send(Message::text("between")).await.unwrap();
        }
        while let Some(Ok(_)) = socket.next().await {}
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            link.order(LinkOrder::Ping(7)).await;
            for pong in [LinkReport::OtherPong, LinkReport::OtherPong, LinkReport::Pong(7)] {
                assert_eq!(link.report().await, pong);
                assert_eq!(link.report().await, LinkReport::Inbound(Heard::Counted));
            }
            link.order(LinkOrder::Close(1000)).await;
            link.closed().await;
        },
    );
}

#[test]
fn a_close_frame_is_reported_before_the_peer_has_hung_up() {
    let (told, hang_up) = bounded::<()>(1);
    let peer = async |tcp| {
        let mut socket = accept_async(tcp).await.unwrap();
        let frame = CloseFrame { code: 1009.into(), reason: "too big".into() };
        socket.send(Message::Close(Some(frame))).await.unwrap();
        hang_up.recv().await.unwrap();
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            let report = link.report().await;
            let error = "the peer closed with 1009: too big".to_owned();
            assert_eq!(report, LinkReport::Closed { closing: Closing::TooLarge, error });
            told.send(()).await.unwrap();
        },
    );
}

#[test]
fn a_close_frame_that_came_before_the_line_broke_is_read_all_the_same() {
    let (told, broken) = bounded::<()>(1);
    let peer = async |tcp: TcpStream| {
        let mut socket = accept_async(tcp).await.unwrap();
        // The answer to the ping cannot be written, and the close frame stands far behind it.
        let message = [&[0x82, 126, 0x9c, 0x40][..], &[0; 40_000]].concat();
        let frames = [&b"\x89\x01p"[..], &message, b"\x88\x09\x03\xf1too big"].concat();
        socket.get_mut().write_all(&frames).await.unwrap();
        let tcp = socket.get_mut().clone();
        rustix::net::sockopt::set_socket_linger(&tcp, Some(Duration::ZERO)).unwrap();
        drop((socket, tcp));
        told.send(()).await.unwrap();
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            broken.recv().await.unwrap();
            link.order(send(vec![entry(1, Format::Text, "x")])).await;
            link.up().await;
            assert_eq!(
                link.closed().await,
                (Closing::TooLarge, "the peer closed with 1009: too big".to_owned())
            );
        },
    );
}

#[test]
fn envelopes_are_as_large_as_the_order_before_says() {
    let peer = async |tcp| {
        let mut socket = accept_async(tcp).await.unwrap();
        for messages in [2, 1, 1] {
            let batch = socket.next().await.unwrap().unwrap().into_text().unwrap();
            let batch: serde_json::Value = serde_json::from_str(&batch).unwrap();
            assert_eq!(batch["messages"].as_array().unwrap().len(), messages);
        }
        while let Some(Ok(_)) = socket.next().await {}
    };
    let change = |client: &mut Client| client.framing = Framing::Envelope;
    with_peer(change, peer, async |link| {
        let both = || vec![entry(1, Format::Text, "x"), entry(2, Format::Text, "y")];
        link.order(send(both())).await;
        link.order(LinkOrder::FrameBytes(200)).await;
        link.order(send(both())).await;
        link.up().await;
        link.order(LinkOrder::Close(1000)).await;
        link.closed().await;
    });
}

#[test]
fn a_cut_without_a_close_frame_is_reported_without_a_code() {
    let peer = async |tcp| drop(accept_async(tcp).await.unwrap());
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            assert_eq!(
                link.closed().await,
                (Closing::Plain, "the peer cut the connection without a close frame".to_owned())
            );
        },
    );
}

#[test]
fn a_peer_that_cuts_the_line_at_our_goodbye_does_not_take_the_blame() {
    let peer = async |tcp: TcpStream| {
        let mut socket = accept_async(tcp).await.unwrap();
        // A raw read, so that the close frame is not answered.
        socket.get_mut().read_exact(&mut [0; 8]).await.unwrap();
    };
    with_peer(
        |_| {},
        peer,
        async |link| {
            link.up().await;
            link.order(LinkOrder::Close(1000)).await;
            assert_eq!(link.closed().await, (Closing::Plain, "closed by this side with 1000".to_owned()));
        },
    );
}

#[test]
fn a_peer_that_takes_nothing_is_still_heard() {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = client(&format!("ws://{}/", listener.local_addr().unwrap()));
        let uplink = Uplink {
            client,
            agent: String::new(),
            inbound: None,
            lanes: vec![Lane { priority: 0, epoch: String::new() }],
            ttl: None,
            spoken: None,
        };
        let (orders, taken) = bounded(2 * ORDERS);
        let (given, reports) = bounded(16);
        let blob = "x".repeat(1 << 20);
        for seq in 1..=32 {
            orders.try_send(send(vec![entry(seq, Format::Text, &blob)])).unwrap();
        }
        let _task = executor.spawn(run(Rc::new(uplink), EndpointId(0), taken, given, Gauge::default()));
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        let link = Link { orders, reports };
        link.up().await;
        // One thread: when the writer has taken orders and others run, its write is blocked.
        while link.orders.len() > ORDERS {
            smol::future::yield_now().await;
        }
        socket.send(Message::Pong(Bytes::from_static(b"holdfast\0\0\0\0\0\0\0\x05"))).await.unwrap();
        assert_eq!(link.report().await, LinkReport::Pong(5));
        assert_eq!(link.orders.len(), ORDERS, "the writer was not blocked");
    }));
}

#[test]
fn hanging_up_closes_the_socket_in_the_middle_of_everything() {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = client(&format!("ws://{}/", listener.local_addr().unwrap()));
        let uplink = Uplink {
            client,
            agent: String::new(),
            inbound: None,
            lanes: vec![Lane { priority: 0, epoch: String::new() }],
            ttl: None,
            spoken: None,
        };
        let (orders, taken) = bounded(16);
        let (given, reports) = bounded(16);
        let task = executor.spawn(run(Rc::new(uplink), EndpointId(0), taken, given, Gauge::default()));
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        Link { orders, reports }.up().await;
        drop(task);
        assert!(matches!(socket.next().await, Some(Err(Error::Protocol(_)))));
    }));
}

#[test]
fn refused_credentials_and_a_busy_server_are_reported_as_such() {
    let unauthorized =
        async |tcp| answers(tcp, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    with_peer(
        |_| {},
        unauthorized,
        async |link| {
            let refusal = link.refusal().await;
            assert_eq!(refusal.cause.kind(), RefusalKind::Unauthorized);
            assert!(refusal.to_string().starts_with("cannot dial ws://127.0.0.1:"), "{refusal}");
            assert!(
                refusal.to_string().ends_with(": the server answers HTTP 401 Unauthorized"),
                "{}",
                refusal.error
            );
        },
    );
    let busy = async |tcp| answers(tcp, "HTTP/1.1 503 Busy\r\nRetry-After: 30\r\n\r\n").await;
    with_peer(
        |_| {},
        busy,
        async |link| {
            let kind = RefusalKind::Busy { retry_after: Some(Duration::from_secs(30)) };
            assert_eq!(link.refusal().await.cause.kind(), kind);
        },
    );
}

#[test]
fn an_answer_that_is_no_http_or_none_at_all_is_a_reason_to_try_again() {
    let cases = [
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not HTTP"),
        ("", "the server closed the connection instead of an answer"),
        ("\u{15}\u{3}\u{1}", "the server speaks TLS on this port: use wss://"),
    ];
    for (bytes, words) in cases {
        with_peer(
            |_| {},
            async |tcp| answers(tcp, bytes).await,
            async |link| {
                let refusal = link.refusal().await;
                assert_eq!(refusal.cause.kind(), RefusalKind::Retry);
                assert!(refusal.error.contains(words), "{}", refusal.error);
            },
        );
    }
}

#[test]
fn a_server_that_never_answers_runs_into_the_deadline_and_its_stage_is_named() {
    let silent =
        async |mut tcp: TcpStream| while tcp.read(&mut [0; 512]).await.is_ok_and(|length| length > 0) {};
    with_peer(
        |client| client.connect_timeout = Duration::from_millis(50),
        silent,
        async |link| {
            let error = link.refusal().await.error;
            assert!(
                error.ends_with("timed out after 0.05 s while waiting for the answer to the upgrade"),
                "{error}"
            );
        },
    );
}

#[test]
fn basic_credentials_are_read_at_the_dial_and_sent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    std::fs::write(&path, "s3cret\n").unwrap();
    let peer = async |tcp: TcpStream| {
        let head = head(&tcp).await;
        assert!(head.starts_with("GET /in HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nAuthorization: Basic Z3ctMTc6czNjcmV0\r\n"), "{head}");
        let agent = concat!("\r\nUser-Agent: holdfast/", env!("CARGO_PKG_VERSION"), "\r\n");
        assert!(head.contains(agent), "{head}");
        let mut socket = accept_async(tcp).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let password = Secret::File(path);
    let auth = Auth::Basic { username: "gw-17".to_owned(), password };
    with_peer(
        |client| client.auth = auth,
        peer,
        async |link| {
            link.up().await;
            link.order(LinkOrder::Close(1000)).await;
            link.closed().await;
        },
    );
}

#[test]
fn tls_carries_the_link_and_shows_how_long_the_certificate_lasts() {
    let authority = Authority::new();
    let leaf = authority.issue("127.0.0.1", |_| {});
    let acceptor = crate::net::tls::acceptor(&leaf.cert, &leaf.key, None).unwrap();
    let ca = vec![authority.ca.clone()];
    let peer = async |tcp| {
        let mut socket = accept_async(acceptor.accept(tcp).await.unwrap()).await.unwrap();
        socket.send(Message::binary("hi")).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let change = |client: &mut Client| {
        client.url = client.url.take().map(|url| url.replace("ws://", "wss://"));
        client.tls.ca = ca;
    };
    with_peer(change, peer, async |link| {
        assert!(link.up().await.certificate_days_left.is_some());
        assert_eq!(link.report().await, LinkReport::Inbound(Heard::Counted));
        link.order(LinkOrder::Close(1000)).await;
        assert_eq!(link.closed().await, (Closing::Plain, "closed by this side with 1000".to_owned()));
    });
}

#[test]
fn a_server_of_an_unknown_issuer_is_refused_and_the_words_say_so() {
    let (trusted, other) = (Authority::new(), Authority::named("other"));
    let leaf = other.issue("127.0.0.1", |_| {});
    let acceptor = crate::net::tls::acceptor(&leaf.cert, &leaf.key, None).unwrap();
    let ca = vec![trusted.ca.clone()];
    let change = |client: &mut Client| {
        client.url = client.url.take().map(|url| url.replace("ws://", "wss://"));
        client.tls.ca = ca;
    };
    let peer = async |tcp| assert!(acceptor.accept(tcp).await.is_err());
    with_peer(change, peer, async |link| {
        let refusal = link.refusal().await;
        assert!(refusal.error.ends_with("comes from an unknown issuer"), "{}", refusal.error);
    });
}
