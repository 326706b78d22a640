//! The reference receiver: listens, and gives every connection to a `session` of its own. What a message means is
//! decided by [`crate::state`].

mod session;
mod sink;
mod stream;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::TlsAcceptor;
use holdfast_core::terminal;
use smol::channel::{Receiver as Inbox, Sender as OutletQueue, bounded};
use smol::future::or;
use smol::lock::Semaphore;
use smol::net::{TcpListener, TcpStream};
use smol::{LocalExecutor, Timer};

pub use self::sink::{LineFormat, Sink};
use crate::state::{Conduct, Receiver, Summary};

const CONNECTIONS_MAX: usize = 1024;
/// How long the sessions may take to say goodbye.
const GOODBYE_LIMIT: Duration = Duration::from_secs(3);
/// A pause after accept failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a receiver is to behave.
#[derive(Default)]
pub struct Options {
    /// Speaks TLS when given.
    pub tls: Option<TlsAcceptor>,
    /// Faults to show.
    pub conduct: Conduct,
    /// Answers upgrades with an error.
    pub refusal: Option<Refusal>,
    /// Writes duplicates too.
    pub show_duplicates: bool,
    /// Acknowledges each so many messages, or when nothing more comes for a moment.
    pub ack_every: u64,
    /// Ends after so many new messages.
    pub exit_after: Option<u64>,
}

/// An HTTP error instead of an upgrade.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// HTTP status, 300 to 599.
    pub status: u16,
    /// Value of `Retry-After`, in seconds.
    pub retry_after_s: Option<u64>,
    /// Only so many requests, from the first, are refused; without a number all are.
    pub count: Option<u64>,
}

/// Why a receiver ended.
#[derive(Debug)]
pub enum Finish {
    /// It was asked to.
    Interrupted,
    /// As many messages as were wanted have come.
    Enough,
    /// The lines cannot be written; a broken pipe among others.
    Unwritable(io::Error),
}

/// Last words of a receiver.
#[derive(Debug)]
pub struct Report {
    /// Why it ended.
    pub finish: Finish,
    /// The sums.
    pub summary: Summary,
    /// Connections that were upgraded.
    pub connections: u64,
}

/// Serves until `interrupt` is over, enough has come, or nothing can be written any more.
pub async fn serve<'a>(
    executor: &LocalExecutor<'a>,
    listener: TcpListener,
    options: Options,
    (receiver, sink): (Receiver, Sink),
    interrupt: impl Future<Output = ()>,
) -> Report {
    let (finish, finished) = bounded(1);
    let (stop, stopping) = bounded(1);
    let (alive, all_gone) = bounded(1);
    let shared = Rc::new(Shared {
        options,
        receiver: RefCell::new(receiver),
        sink: RefCell::new(sink),
        finish,
        stopping,
        connections: Cell::new(0),
        refusals: Cell::new(0),
    });
    let interrupted = async {
        interrupt.await;
        Finish::Interrupted
    };
    let ended = async { finished.recv().await.unwrap_or(Finish::Interrupted) };
    let finish = or(ended, or(interrupted, accept(executor, listener, &shared, alive))).await;
    drop::<OutletQueue<Infallible>>(stop);
    or(all_left(all_gone), pause(GOODBYE_LIMIT)).await;
    let flushed = shared.sink.borrow_mut().flush();
    let finish = flushed.err().map_or(finish, Finish::Unwritable);
    let summary = shared.receiver.borrow().summary();
    Report { finish, summary, connections: shared.connections.get() }
}

/// Writes a line to standard error; where it cannot be written nobody reads it.
pub fn tell(line: impl Display) {
    let _ = io::stderr().write_all(format!("{}\n", terminal::escaped(&line.to_string())).as_bytes());
}

/// State that the sessions share.
struct Shared {
    options: Options,
    receiver: RefCell<Receiver>,
    sink: RefCell<Sink>,
    finish: OutletQueue<Finish>,
    stopping: Inbox<Infallible>,
    connections: Cell<u64>,
    refusals: Cell<u64>,
}

impl Shared {
    /// Ends the receiver; the first reason counts.
    fn finish(&self, finish: Finish) {
        let _ = self.finish.try_send(finish);
    }

    fn has_enough(&self) -> bool {
        self.options.exit_after.is_some_and(|limit| self.receiver.borrow().received() >= limit)
    }

    /// The refusal for the next request, if it is to be refused.
    fn next_refusal(&self) -> Option<Refusal> {
        let refusal = self.options.refusal?;
        let refused = self.refusals.get();
        if refusal.count.is_some_and(|limit| refused >= limit) {
            return None;
        }
        self.refusals.set(refused + 1);
        Some(refusal)
    }

    /// The number of a connection that is now up, from 0.
    fn count_connection(&self) -> u64 {
        let index = self.connections.get();
        self.connections.set(index + 1);
        index
    }
}

async fn accept<'a>(
    executor: &LocalExecutor<'a>,
    listener: TcpListener,
    shared: &Rc<Shared>,
    alive: OutletQueue<Infallible>,
) -> Finish {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = places.acquire_arc().await;
        match listener.accept().await {
            Ok((tcp, _)) => {
                let session = attend(Rc::clone(shared), tcp, alive.clone());
                let task = async move {
                    session.await;
                    drop(place);
                };
                executor.spawn(task).detach();
            }
            Err(error) => {
                tell(format_args!("warning: cannot accept a connection: {error}"));
                pause(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection from its first byte to its last; `_alive` tells that it is not over.
async fn attend(shared: Rc<Shared>, tcp: TcpStream, _alive: OutletQueue<Infallible>) {
    let stopped = async {
        let _ = shared.stopping.recv().await;
        Err("the receiver is ending".to_owned())
    };
    match or(session::open(&shared, tcp), stopped).await {
        Ok(session) => session.run().await,
        Err(error) => tell(format_args!("warning: cannot open a connection: {error}")),
    }
}

async fn pause(length: Duration) {
    Timer::after(length).await;
}

/// Waits until the last session has dropped its end.
async fn all_left(all_gone: Inbox<Infallible>) {
    let _ = all_gone.recv().await;
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::{Path, PathBuf};

    use async_tungstenite::tungstenite::client::IntoClientRequest;
    use async_tungstenite::tungstenite::http::HeaderValue;
    use async_tungstenite::tungstenite::{Error as WsError, Message};
    use async_tungstenite::{WebSocketStream, client_async};
    use futures_rustls::TlsConnector;
    use futures_rustls::pki_types::pem::PemObject;
    use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use futures_rustls::rustls::crypto::ring;
    use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
    use futures_util::SinkExt;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustix::net::{RecvFlags, recv};
    use smol::future::poll_once;
    use smol::stream::StreamExt;

    use super::*;
    use crate::state::Act;
    use holdfast_core::wire::{self, Answer, Encoding, Frame, Gap, Hello, Item, Payload, PayloadRef};

    const PATIENCE: Duration = Duration::from_secs(20);

    #[derive(Clone, Default)]
    struct Lines(Rc<RefCell<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs a receiver until the client is done, and returns its report and its lines.
    fn receive(options: Options, client: impl AsyncFnOnce(SocketAddr)) -> (Report, Vec<String>) {
        receive_with(options, Receiver::default(), client)
    }

    fn receive_with(
        options: Options,
        receiver: Receiver,
        client: impl AsyncFnOnce(SocketAddr),
    ) -> (Report, Vec<String>) {
        let lines = Lines::default();
        let report = run(options, (receiver, Sink::lines(lines.clone(), None)), client);
        let text = String::from_utf8(lines.0.take()).unwrap();
        (report, text.lines().map(str::to_owned).collect())
    }

    fn run(options: Options, state: (Receiver, Sink), client: impl AsyncFnOnce(SocketAddr)) -> Report {
        let executor = LocalExecutor::new();
        let served = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            serve(&executor, listener, options, state, client(address)).await
        };
        let late = async {
            pause(PATIENCE).await;
            panic!("the client is not done");
        };
        smol::block_on(executor.run(or(served, late)))
    }

    struct Client(WebSocketStream<TcpStream>);

    impl Client {
        async fn dial(address: SocketAddr, subprotocol: bool) -> Result<Client, WsError> {
            let mut request = format!("ws://{address}/any/path").into_client_request()?;
            if subprotocol {
                let offer = HeaderValue::from_static("other, holdfast.v1");
                request.headers_mut().insert("sec-websocket-protocol", offer);
            }
            let tcp = TcpStream::connect(address).await.unwrap();
            client_async(request, tcp).await.map(|(ws, _)| Client(ws))
        }

        async fn up(address: SocketAddr) -> Client {
            Client::dial(address, true).await.unwrap()
        }

        async fn say(&mut self, frame: Frame, encoding: Encoding) {
            self.send(match wire::encode(&frame, encoding) {
                Payload::Text(text) => Message::text(text),
                Payload::Binary(bytes) => Message::binary(bytes),
            })
            .await;
        }

        async fn send(&mut self, message: Message) {
            self.0.send(message).await.unwrap();
        }

        async fn answer(&mut self) -> Option<Answer> {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => wire::parse_answer(PayloadRef::Text(&text)).map(|(answer, _)| answer),
                Message::Binary(bytes) => {
                    wire::parse_answer(PayloadRef::Binary(&bytes)).map(|(answer, _)| answer)
                }
                other => panic!("not an answer: {other}"),
            }
        }
    }

    fn hello(first: u64) -> Frame {
        let [agent, epoch, version] = ["gw", "E", "0"].map(str::to_owned);
        Frame::Hello(Hello { agent, epoch, first, next: 100, version, priority: 0 })
    }

    fn messages(seqs: impl IntoIterator<Item = u64>) -> Frame {
        let item = |seq: u64| Item {
            seq,
            time_ns: 0,
            clock: holdfast_core::message::Clock::Synced,
            topic: "t".into(),
            device: None,
            format: holdfast_core::message::Format::Json,
            payload: format!("{{\"n\":{seq}}}").into_bytes(),
            attributes: Vec::new(),
            replayed: false,
        };
        Frame::Messages { epoch: "E".into(), messages: seqs.into_iter().map(item).collect() }
    }

    fn misbehaving(conduct: Conduct) -> Options {
        Options { conduct, ..Options::default() }
    }

    #[test]
    fn envelopes_are_acknowledged_resumed_and_written_once() {
        for encoding in [Encoding::Json, Encoding::Cbor] {
            let (report, lines) = receive(Options::default(), async |address| {
                let mut first = Client::up(address).await;
                first.say(hello(1), encoding).await;
                first.say(messages(1..=3), encoding).await;
                assert_eq!(first.answer().await, Some(Answer::Ack(3)));
                drop(first);
                let mut second = Client::up(address).await;
                second.say(hello(1), encoding).await;
                assert_eq!(second.answer().await, Some(Answer::Resume(4)));
                second.say(messages(3..=4), encoding).await;
                assert_eq!(second.answer().await, Some(Answer::Ack(4)));
                second
                    .say(Frame::Gap(Gap { from: 5, to: 9, reason: "restart".into(), epoch: None }), encoding)
                    .await;
                assert_eq!(second.answer().await, Some(Answer::Ack(9)));
            });
            assert_eq!(
                report.summary.to_string(),
                "received=4 duplicates=1 nacked=0 gaps=1 missing=5 lost=0"
            );
            assert_eq!(report.connections, 2);
            assert_eq!(lines.len(), 4);
            assert_eq!(
                lines[3],
                r#"{"epoch":"E","seq":4,"time":"1970-01-01T00:00:00.000000000Z","clock":"synced","topic":"t","data":{"n":4}}"#
            );
        }
    }

    #[test]
    fn raw_frames_are_written_as_they_came() {
        let (report, lines) = receive(Options::default(), async |address| {
            let mut client = Client::dial(address, false).await.unwrap();
            client.send(Message::text("{\"t\": 21.50}")).await;
            client.send(Message::binary(&b"bytes"[..])).await;
            client.send(Message::Ping(b"7"[..].into())).await;
            assert_eq!(client.0.next().await.unwrap().unwrap(), Message::Pong(b"7"[..].into()));
        });
        assert_eq!(lines, ["{\"t\": 21.50}", "bytes"]);
        assert_eq!(report.summary.received, 2);
    }

    /// Notes, when the first line is written, whether the client has been sent anything by then.
    #[derive(Clone, Default)]
    struct Witness {
        client: Rc<RefCell<Option<TcpStream>>>,
        answer_was_first: Rc<Cell<Option<bool>>>,
    }

    impl Write for Witness {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(client) = self.client.take() {
                let peeked = recv(&client, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
                self.answer_was_first.set(Some(peeked.is_ok()));
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_message_is_written_before_the_answer_that_confirms_it_leaves() {
        for (subprotocol, question) in [(false, Message::Ping(b"7"[..].into())), (true, Message::text(""))] {
            let witness = Witness::default();
            let sink = Sink::lines(witness.clone(), None);
            run(Options::default(), (Receiver::default(), sink), async |address| {
                let mut client = Client::dial(address, subprotocol).await.unwrap();
                *witness.client.borrow_mut() = Some(client.0.get_ref().clone());
                let Payload::Text(batch) = wire::encode(&messages([1]), Encoding::Json) else { panic!() };
                client.0.feed(Message::text(batch)).await.unwrap();
                client.0.feed(question).await.unwrap();
                client.0.flush().await.unwrap();
                client.0.next().await.unwrap().unwrap();
            });
            assert_eq!(witness.answer_was_first.get(), Some(false));
        }
    }

    #[test]
    fn envelopes_without_the_subprotocol_are_understood_and_not_answered() {
        let (report, lines) = receive(Options::default(), async |address| {
            let mut client = Client::dial(address, false).await.unwrap();
            client.say(hello(1), Encoding::Json).await;
            client.say(messages([1, 1]), Encoding::Json).await;
            client.send(Message::Ping(b"7"[..].into())).await;
            assert_eq!(client.0.next().await.unwrap().unwrap(), Message::Pong(b"7"[..].into()));
        });
        assert_eq!((report.summary.received, report.summary.duplicates, lines.len()), (1, 1, 1));
    }

    #[test]
    fn an_unannounced_hole_is_reported_as_lost_and_not_acknowledged() {
        let (report, _) = receive(Options::default(), async |address| {
            let mut client = Client::up(address).await;
            client.say(messages([1, 4]), Encoding::Json).await;
            assert_eq!(client.answer().await, Some(Answer::Ack(1)));
        });
        assert_eq!(report.summary.lost, 2);
    }

    #[test]
    fn a_number_to_refuse_gets_a_nack_and_the_rest_an_ack() {
        let (report, lines) = receive_with(Options::default(), Receiver::new([2]), async |address| {
            let mut client = Client::up(address).await;
            client.say(messages(1..=3), Encoding::Json).await;
            let nack = Answer::Nack { seq: 2, reason: "refused by --nack".into() };
            assert_eq!(client.answer().await, Some(nack));
            assert_eq!(client.answer().await, Some(Answer::Ack(3)));
        });
        assert_eq!((report.summary.received, report.summary.nacked, lines.len()), (2, 1, 2));
    }

    #[test]
    fn a_rare_ack_comes_all_the_same_when_nothing_more_is_sent() {
        let (..) = receive(Options { ack_every: 1000, ..Options::default() }, async |address| {
            let mut client = Client::up(address).await;
            client.say(messages(1..=2), Encoding::Json).await;
            client.say(messages(3..=4), Encoding::Json).await;
            assert_eq!(client.answer().await, Some(Answer::Ack(4)));
        });
    }

    #[test]
    fn it_ends_when_enough_has_come_and_the_last_messages_are_acknowledged() {
        let (report, lines) =
            receive(Options { exit_after: Some(3), ..Options::default() }, async |address| {
                let mut client = Client::up(address).await;
                client.say(messages(1..=2), Encoding::Json).await;
                assert_eq!(client.answer().await, Some(Answer::Ack(2)));
                client.say(messages(2..=3), Encoding::Json).await;
                smol::future::pending().await
            });
        assert!(matches!(report.finish, Finish::Enough), "{:?}", report.finish);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn the_first_connection_is_reset_and_the_second_is_served() {
        let conduct = Conduct { after: Some((2, Act::Drop)), connections: Some(1), ..Conduct::default() };
        let (report, lines) = receive(misbehaving(conduct), async |address| {
            let mut first = Client::up(address).await;
            first.say(messages(1..=3), Encoding::Json).await;
            match first.0.next().await {
                Some(Err(WsError::Io(error))) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
                other => panic!("no reset: {other:?}"),
            }
            let mut second = Client::up(address).await;
            second.say(messages(1..=3), Encoding::Json).await;
            assert_eq!(second.answer().await, Some(Answer::Ack(3)));
        });
        assert_eq!((report.summary.received, report.summary.duplicates, lines.len()), (3, 2, 3));
    }

    #[test]
    fn a_connection_is_closed_with_the_code_that_was_asked_for() {
        let conduct = Conduct { after: Some((1, Act::Close(1013))), ..Conduct::default() };
        let (..) = receive(misbehaving(conduct), async |address| {
            let mut client = Client::dial(address, false).await.unwrap();
            client.send(Message::text("x")).await;
            match client.0.next().await {
                Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1013),
                other => panic!("no close frame: {other:?}"),
            }
        });
    }

    #[test]
    fn a_swallowed_pong_holds_up_no_ack() {
        let conduct = Conduct { no_pong: true, ..Conduct::default() };
        let (..) = receive(misbehaving(conduct), async |address| {
            let mut client = Client::up(address).await;
            client.send(Message::Ping(b"7"[..].into())).await;
            client.say(messages([1]), Encoding::Json).await;
            assert_eq!(client.answer().await, Some(Answer::Ack(1)));
        });
    }

    #[test]
    fn a_silent_connection_says_nothing_more_and_stays_open() {
        let conduct = Conduct { after: Some((1, Act::Silence)), connections: Some(1), ..Conduct::default() };
        let (report, _) = receive(misbehaving(conduct), async |address| {
            let mut silent = Client::up(address).await;
            silent.say(messages([1]), Encoding::Json).await;
            silent.send(Message::Ping(b"7"[..].into())).await;
            let mut good = Client::up(address).await;
            good.say(messages([1]), Encoding::Json).await;
            assert_eq!(good.answer().await, Some(Answer::Ack(1)));
            assert!(poll_once(silent.0.next()).await.is_none());
        });
        assert_eq!(report.connections, 2);
    }

    #[test]
    fn no_ack_is_sent_when_none_is_wanted() {
        let (..) = receive(misbehaving(Conduct { no_ack: true, ..Conduct::default() }), async |address| {
            let mut client = Client::up(address).await;
            client.say(messages([1]), Encoding::Json).await;
            client.send(Message::Ping(b"7"[..].into())).await;
            assert_eq!(client.0.next().await.unwrap().unwrap(), Message::Pong(b"7"[..].into()));
        });
    }

    #[test]
    fn a_slow_reader_still_gets_everything() {
        let conduct = Conduct { bytes_per_second: Some(2000), ..Conduct::default() };
        let (report, _) = receive(misbehaving(conduct), async |address| {
            let mut client = Client::up(address).await;
            client.say(messages(1..=3), Encoding::Json).await;
            assert_eq!(client.answer().await, Some(Answer::Ack(3)));
        });
        assert_eq!(report.summary.received, 3);
    }

    #[test]
    fn an_upgrade_is_refused_as_often_as_was_asked_for() {
        let refusal = Refusal { status: 503, retry_after_s: Some(20), count: Some(1) };
        let options = Options { refusal: Some(refusal), ..Options::default() };
        let (report, _) = receive(options, async |address| {
            match Client::dial(address, true).await.map(|_| ()) {
                Err(WsError::Http(response)) => {
                    assert_eq!(response.status(), 503);
                    assert_eq!(response.headers()["retry-after"], "20");
                }
                other => panic!("not refused: {other:?}"),
            }
            Client::up(address).await;
        });
        assert_eq!(report.connections, 1);
    }

    #[test]
    fn what_is_no_websocket_is_refused_and_the_next_connection_is_served() {
        let (report, _) = receive(Options::default(), async |address| {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            smol::io::AsyncWriteExt::write_all(&mut tcp, b"\0\xff nonsense\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            let _ = smol::io::AsyncReadExt::read_to_end(&mut tcp, &mut answer).await;
            Client::up(address).await;
        });
        assert_eq!(report.connections, 1);
    }

    /// Writes a certificate chain and its key; returns their paths and the root to trust.
    fn issue(folder: &Path) -> (PathBuf, PathBuf, CertificateDer<'static>) {
        let (root_key, leaf_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut root = CertificateParams::new([]).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_der = root.self_signed(&root_key).unwrap().der().clone();
        let issuer = Issuer::new(root, root_key);
        let leaf =
            CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&leaf_key, &issuer).unwrap();
        let (cert, key) = (folder.join("chain.pem"), folder.join("key.pem"));
        std::fs::write(&cert, leaf.pem()).unwrap();
        std::fs::write(&key, leaf_key.serialize_pem()).unwrap();
        (cert, key, root_der)
    }

    fn acceptor(cert: &Path, key: &Path) -> TlsAcceptor {
        let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap());
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }

    fn connector(root: CertificateDer<'static>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    #[test]
    fn over_tls_it_receives_just_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key, root) = issue(folder.path());
        let tls = Some(acceptor(&cert, &key));
        let (_, lines) = receive(Options { tls, ..Options::default() }, async |address| {
            let tcp = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let tls = connector(root).connect(name, tcp).await.unwrap();
            let (mut ws, _) = client_async("wss://localhost/", tls).await.unwrap();
            ws.send(Message::text("secret")).await.unwrap();
            ws.send(Message::Ping(b"7"[..].into())).await.unwrap();
            assert_eq!(ws.next().await.unwrap().unwrap(), Message::Pong(b"7"[..].into()));
        });
        assert_eq!(lines, ["secret"]);
    }
}
