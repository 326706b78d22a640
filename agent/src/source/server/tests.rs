//! The whole server over real sockets, in front of a loop that answers as it is told.

mod body;
mod buffer;
mod call;
mod conformance;
mod consumer;
mod files;
mod forwarded;
mod host;
mod http;
mod length;
mod malformed;
mod mqtt;
mod schema;
pub(super) mod status;
mod web_socket;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt;
use holdfast_core::agent::{Query, Reply};
use holdfast_core::config::server::{Route, ServerTls};
use holdfast_core::message::{self, Boot, Clock};
use holdfast_core::observe::health::Health;
use holdfast_core::source::intake::{Answer, Refused};
use smol::Timer;
use smol::channel::{Receiver, Sender, unbounded};
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smol::net::TcpStream;
use smol::net::unix::UnixListener;

use super::*;
use crate::net::tls;
use crate::net::tls::authority::Authority;
use crate::source::intake::{Input, Publisher, channel, downlink, feed};

/// What the loop saw.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Draft(Draft),
    Connected(String),
    Disconnected(String),
    Departed(String),
}

struct Bench {
    health: Rc<RefCell<Health>>,
    address: SocketAddr,
    seen: Receiver<Seen>,
    /// Refusals that come before anything is stored.
    refusals: Rc<RefCell<VecDeque<Refused>>>,
    /// Taken once the loop may answer what it has stored.
    gate: Rc<RefCell<Option<Receiver<()>>>>,
    alive: RefCell<Option<Sender<std::convert::Infallible>>>,
    intake: Intake,
    executor: Rc<LocalExecutor<'static>>,
    publishers: Rc<RefCell<Vec<Publisher>>>,
    room: Rc<Room>,
}

fn config() -> Server {
    let limits = Limits {
        connections: 8,
        message_bytes: 1000,
        handshake_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
    let bind = vec!["127.0.0.1:0".to_owned()];
    let access = Access {
        origins: vec!["https://good.example".to_owned()],
        hostnames: vec!["x".to_owned()],
        ..Access::default()
    };
    Server { id: "sensors".to_owned(), bind, access, limits, ..Server::of_index(0) }
}

/// Runs a test against a server; it fails after two minutes instead of hanging.
fn with(server: Server, test: impl AsyncFnOnce(Bench)) {
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.run(async {
        let (intake, outtake) = channel();
        let (sender, seen) = unbounded();
        let refusals = Rc::new(RefCell::new(VecDeque::new()));
        let gate = Rc::default();
        let publishers: Rc<RefCell<Vec<Publisher>>> = Rc::default();
        let health: Rc<RefCell<Health>> = Rc::default();
        let slow = Answers {
            health: health.clone(),
            refusals: refusals.clone(),
            gate: Rc::clone(&gate),
            executor: executor.clone(),
            publishers: publishers.clone(),
        };
        executor.spawn(fake_loop(outtake.inputs, sender, slow)).detach();
        let listeners = bind(&server, &[]).await.unwrap();
        let address = listeners.addresses()[0];
        let room = Rc::<Room>::default();
        let serving = serve(listeners, Rc::new(server), intake.clone(), executor.clone(), room.clone());
        executor.spawn(serving).detach();
        let alive = RefCell::new(outtake.alive);
        let executor = executor.clone();
        let bench =
            Bench { health, address, seen, refusals, gate, alive, intake, executor, publishers, room };
        or(test(bench), async {
            Timer::after(Duration::from_secs(120)).await;
            panic!("the test hangs");
        })
        .await;
    }));
}

struct Answers {
    health: Rc<RefCell<Health>>,
    refusals: Rc<RefCell<VecDeque<Refused>>>,
    gate: Rc<RefCell<Option<Receiver<()>>>>,
    executor: Rc<LocalExecutor<'static>>,
    /// Of those who subscribed.
    publishers: Rc<RefCell<Vec<Publisher>>>,
}

async fn fake_loop(inputs: Receiver<Input>, seen: Sender<Seen>, answers: Answers) {
    let mut next = 1;
    while let Ok(input) = inputs.recv().await {
        let note = |what| seen.try_send(what).unwrap_or_default();
        match input {
            Input::Offer { drafts, reply, .. } => {
                let refusal = answers.refusals.borrow_mut().pop_front();
                let gate = answers.gate.take().filter(|_| refusal.is_none());
                let answer = match refusal {
                    Some(Refused::Busy) => Err(drafts),
                    Some(refused) => Ok(Answer::Refused(refused)),
                    None => {
                        let first = next;
                        next += drafts.len() as u64;
                        drafts.into_iter().for_each(|draft| note(Seen::Draft(draft)));
                        Ok(Answer::Stored { first, last: next - 1 })
                    }
                };
                let answered = async move {
                    if let Some(gate) = gate {
                        let _ = gate.recv().await;
                    }
                    let _ = reply.send(answer).await;
                };
                answers.executor.spawn(answered).detach();
            }
            Input::Connected(device) => note(Seen::Connected(device)),
            Input::Disconnected(device) => note(Seen::Disconnected(device)),
            Input::Departed(device) => note(Seen::Departed(device)),
            Input::Query(query, reply) => {
                reply.try_send(told(query, &answers)).unwrap();
            }
            Input::Tap { filter, reply } => {
                let (lines, read) = unbounded();
                lines.try_send(format!("{{\"filter\":{filter:?}}}")).unwrap();
                reply.try_send(Ok(read)).unwrap();
            }
            Input::Reimport { outlet, messages, reply } => {
                let stored = Answer::Stored { first: 1, last: messages.len() as u64 };
                let unknown = Answer::Refused(Refused::NoOutlet(outlet.clone()));
                reply.try_send(Ok(if outlet == "client:cloud" { stored } else { unknown })).unwrap();
            }
            Input::StoreQuery(look, reply) => reply.try_send(Err(format!("cannot see {look:?}"))).unwrap(),
            Input::Change(_, reply) => reply.try_send(Ok(7)).unwrap(),
            Input::Subscribe(filters, reply) => {
                let (mut publisher, feed) = feed(filters);
                publisher.show(&last("kitchen/t").unwrap());
                // The first one is told a message; who asks for others only is one too many.
                let fed = feed.waiting().ok_or("64 others read already").map(|_| feed);
                publisher.show(&last("kitchen/t").unwrap());
                reply.try_send(fed.map_err(str::to_owned)).unwrap();
                answers.publishers.borrow_mut().push(publisher);
            }
            Input::Downlink(reply) => {
                let (publisher, feed) = downlink();
                answers.publishers.borrow_mut().push(publisher);
                reply.try_send(feed).unwrap();
            }
            Input::Reload(reply) => reply.try_send(Err("holdfast.toml:1:1: unknown key".to_owned())).unwrap(),
            Input::Command { client, command, reply } => {
                let told =
                    if client == "cloud" { Ok(()) } else { Err(format!("cannot {command:?} {client}")) };
                reply.try_send(told).unwrap();
            }
        }
    }
}

fn told(query: Query, answers: &Answers) -> Reply {
    match query {
        Query::Status => Reply::Status(Box::new(status::status())),
        Query::Health => Reply::Health(answers.health.borrow().clone()),
        Query::Topics(filter) => {
            Reply::Topics(serde_json::json!({ "topics": [], "known": filter.matches("kitchen/t") }))
        }
        Query::Last(topic) => Reply::Last(last(&topic)),
    }
}

/// The last message of `kitchen/t`, which is binary; nothing was heard of others.
fn last(topic: &str) -> Option<Arc<message::Message>> {
    (topic == "kitchen/t").then(|| {
        Arc::new(message::Message {
            id: 7,
            time_ns: 1_000_000_000,
            clock: Clock::Unsynced,
            boot: Boot(0),
            up_ns: 0,
            topic: topic.to_owned(),
            device: Some("kitchen".to_owned()),
            source: "server:sensors".into(),
            format: Format::Binary,
            payload: vec![0, 255],
            attributes: Vec::new(),
            ttl_s: None,
        })
    })
}

impl Bench {
    fn refuse(&self, refused: &[Refused]) {
        self.refusals.borrow_mut().extend(refused.iter().cloned());
    }

    fn stop(&self) {
        self.alive.take();
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes and reads until the server hangs up.
    async fn raw(&self, request: &str) -> String {
        talk(self.connect().await, request).await
    }

    /// One request on a connection of its own. Returns status and body.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        split(&self.raw(&request(method, path, headers, body)).await)
    }

    async fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.ask("POST", path, "", body).await
    }

    async fn web_socket(&self, path: &str) -> WebSocketStream<TcpStream> {
        let url = format!("ws://{}{path}", self.address);
        async_tungstenite::client_async(url, self.connect().await).await.unwrap().0
    }

    async fn draft(&self) -> Draft {
        match self.seen.recv().await.unwrap() {
            Seen::Draft(draft) => draft,
            other => panic!("no draft but {other:?}"),
        }
    }
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn split(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Code and reason with which the server closes, and the texts that came before.
async fn farewell(
    socket: &mut WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>,
) -> (u16, String, Vec<String>) {
    let mut texts = Vec::new();
    loop {
        match socket.next().await.expect("a close frame").expect("a close frame") {
            Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string(), texts),
            Message::Text(text) => texts.push(text.to_string()),
            _ => {}
        }
    }
}

async fn text(socket: &mut WebSocketStream<TcpStream>) -> String {
    socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
}
