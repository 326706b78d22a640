//! One connection of the reference receiver: upgrade, frames in, answers out.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::state::{Act, Conduct, Verdict};
use async_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use async_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{Error as WsError, Message};
use async_tungstenite::{WebSocketStream, accept_hdr_async_with_config};
use holdfast_core::wire::{self, Answer, Encoding, Frame, Gap, Hello, Item, Payload, PayloadRef};
use smol::Timer;
use smol::future::{or, pending, poll_once, yield_now};
use smol::net::TcpStream;
use smol::stream::StreamExt;

use super::stream::Stream;
use super::{Finish, Refusal, Shared, pause, tell};

const OPEN_LIMIT: Duration = Duration::from_secs(15);
const WRITE_LIMIT: Duration = Duration::from_secs(15);
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Silence after which a ping goes out, and after which, once more, the peer is taken for gone.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Silence after which an ack does not wait for more messages.
const ACK_DELAY_MAX: Duration = Duration::from_millis(200);
const MESSAGE_BYTES_MAX: usize = 16 << 20;
const BUFFER_BYTES: usize = 32 << 10;
/// Frames that are taken before the other connections get their turn.
const TURNS: u32 = 64;
/// Status that a shell shows of a process that was killed.
const KILLED: i32 = 137;

/// A connection that is up.
pub(super) struct Session {
    shared: Rc<Shared>,
    ws: WebSocketStream<Stream>,
    tcp: TcpStream,
    address: SocketAddr,
    conduct: Conduct,
    /// Whether the subprotocol was agreed, so that answers are understood.
    agreed: bool,
    encoding: Encoding,
    epoch: String,
    messages: u64,
    unacknowledged: u64,
    /// Epochs of what is not acknowledged.
    owed: BTreeSet<String>,
    pinged: bool,
    turn: u32,
}

/// End of a session.
enum End {
    Closed,
    Broken(WsError),
    Late(&'static str),
    Stopping,
    Act(Act),
    Full,
    Unwritable(io::Error),
}

/// Brings a connection up: TLS, then the upgrade.
pub(super) async fn open(shared: &Rc<Shared>, tcp: TcpStream) -> Result<Session, String> {
    let address = tcp.peer_addr().map_err(|error| error.to_string())?;
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let late = async {
        Timer::after(OPEN_LIMIT).await;
        Err(format!("timed out after {} s", OPEN_LIMIT.as_secs()))
    };
    let result = or(upgrade(shared, tcp, address), late).await;
    result.map_err(|error| format!("{address}: {error}"))
}

async fn upgrade(shared: &Rc<Shared>, tcp: TcpStream, address: SocketAddr) -> Result<Session, String> {
    let stream = match &shared.options.tls {
        None => Stream::new(tcp.clone()),
        Some(acceptor) => {
            let tls = acceptor.accept(tcp.clone()).await.map_err(|error| error.to_string())?;
            Stream::new(tls)
        }
    };
    let agreed = Rc::new(Cell::new(false));
    let greeter = Greeter { refusal: shared.next_refusal(), agreed: Rc::clone(&agreed) };
    let mut ws = accept_hdr_async_with_config(stream, greeter, Some(limits()))
        .await
        .map_err(|error| error.to_string())?;
    let conduct = shared.options.conduct.of_connection(shared.count_connection());
    ws.get_mut().misbehave(&conduct);
    Ok(Session {
        shared: Rc::clone(shared),
        ws,
        tcp,
        address,
        conduct,
        agreed: agreed.get(),
        encoding: Encoding::Json,
        epoch: String::new(),
        messages: 0,
        unacknowledged: 0,
        owed: BTreeSet::new(),
        pinged: false,
        turn: 0,
    })
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(BUFFER_BYTES * 8)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// Answers the upgrade request.
struct Greeter {
    refusal: Option<Refusal>,
    agreed: Rc<Cell<bool>>,
}

impl Callback for Greeter {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        if let Some(refusal) = self.refusal {
            return Err(refuse(refusal));
        }
        if offers_subprotocol(request) {
            let name = HeaderValue::from_static(wire::SUBPROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
            self.agreed.set(true);
        }
        Ok(response)
    }
}

fn offers_subprotocol(request: &Request) -> bool {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut names = offers.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.any(|name| name.trim() == wire::SUBPROTOCOL)
}

fn refuse(refusal: Refusal) -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

impl Session {
    /// Takes frames until the connection is over.
    pub(super) async fn run(mut self) {
        let stopping = self.shared.stopping.clone();
        let stopped = async {
            let _ = stopping.recv().await;
            End::Stopping
        };
        let end = or(stopped, self.take_frames()).await;
        self.end(end).await;
    }

    async fn take_frames(&mut self) -> End {
        if let Some(act) = self.conduct.act(self.messages) {
            return End::Act(act);
        }
        loop {
            if let Err(end) = self.take_turn().await {
                return end;
            }
        }
    }

    async fn take_turn(&mut self) -> Result<(), End> {
        self.turn = (self.turn + 1) % TURNS;
        if self.turn == 0 {
            yield_now().await;
        }
        match self.next().await? {
            Message::Text(text) => self.take(PayloadRef::Text(&text)).await?,
            Message::Binary(bytes) => self.take(PayloadRef::Binary(&bytes)).await?,
            // The pong leaves with the next read, and what came before it must be safe by then.
            Message::Ping(_) => self.shared.sink.borrow_mut().settle().map_err(End::Unwritable)?,
            Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
        if self.shared.has_enough() {
            self.acknowledge().await?;
            self.shared.finish(Finish::Enough);
            pending().await
        }
        Ok(())
    }

    /// The next frame. Lines and acks that are due go out before it is waited for.
    async fn next(&mut self) -> Result<Message, End> {
        let mut arrived = poll_once(self.ws.next()).await;
        while arrived.is_none() {
            self.shared.sink.borrow_mut().flush().map_err(End::Unwritable)?;
            let patience = if self.unacknowledged > 0 { ACK_DELAY_MAX } else { IDLE_LIMIT };
            arrived = or(async { Some(self.ws.next().await) }, nothing_for(patience)).await;
            if arrived.is_none() {
                self.after_silence().await?;
            }
        }
        self.pinged = false;
        match arrived.flatten() {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(End::Broken(error)),
            None => Err(End::Closed),
        }
    }

    async fn after_silence(&mut self) -> Result<(), End> {
        if self.unacknowledged > 0 {
            return self.acknowledge().await;
        }
        if self.pinged {
            return Err(End::Late("nothing came, not even a pong"));
        }
        self.pinged = true;
        self.send(Message::Ping(Vec::new().into())).await
    }

    async fn take(&mut self, payload: PayloadRef<'_>) -> Result<(), End> {
        match wire::parse_frame(payload) {
            None => self.take_raw(payload),
            Some(frame) => {
                self.encoding = payload.encoding();
                match frame {
                    Frame::Hello(hello) => self.take_hello(hello).await,
                    Frame::Messages { epoch, messages } => self.take_batch(epoch, &messages).await,
                    Frame::Gap(gap) => self.take_gap(&gap).await,
                }
            }
        }
    }

    fn take_raw(&mut self, payload: PayloadRef<'_>) -> Result<(), End> {
        self.shared.receiver.borrow_mut().raw_message();
        self.shared.sink.borrow_mut().write_raw(payload).map_err(End::Unwritable)?;
        self.count_message()
    }

    async fn take_hello(&mut self, hello: Hello) -> Result<(), End> {
        let resume = self.shared.receiver.borrow_mut().hello(&hello.epoch, hello.first);
        self.epoch = hello.epoch;
        match resume.map_err(|_| End::Full)? {
            Some(seq) if self.agreed => self.answer(&Answer::Resume(seq), &self.epoch.clone()).await,
            Some(_) | None => Ok(()),
        }
    }

    async fn take_batch(&mut self, epoch: String, messages: &[Item]) -> Result<(), End> {
        self.epoch = epoch;
        for item in messages {
            self.take_item(item).await?;
        }
        self.owe(messages.len() as u64).await
    }

    async fn take_item(&mut self, item: &Item) -> Result<(), End> {
        let verdict = self.shared.receiver.borrow_mut().message(&self.epoch, item.seq);
        match verdict.map_err(|_| End::Full)? {
            Verdict::New { hole } => {
                if let Some((from, to)) = hole {
                    let (address, epoch) = (self.address, &self.epoch);
                    tell(format_args!(
                        "warning: {address}: {from} to {to} of epoch {epoch:?} did not come and no gap was announced"
                    ));
                }
                self.write_item(item)?;
            }
            Verdict::Duplicate if self.shared.options.show_duplicates => self.write_item(item)?,
            Verdict::Duplicate => {}
            Verdict::Refused => self.refuse_item(item.seq).await?,
        }
        self.count_message()
    }

    async fn refuse_item(&mut self, seq: u64) -> Result<(), End> {
        self.shared.sink.borrow_mut().note_nack(&self.epoch, seq).map_err(End::Unwritable)?;
        if !self.agreed {
            return Ok(());
        }
        let nack = Answer::Nack { seq, reason: "refused by --nack".to_owned() };
        self.answer(&nack, &self.epoch.clone()).await
    }

    async fn take_gap(&mut self, gap: &Gap) -> Result<(), End> {
        if let Some(epoch) = &gap.epoch {
            self.epoch.clone_from(epoch);
        }
        let new = self.shared.receiver.borrow_mut().gap(&self.epoch, gap.from, gap.to);
        if new.map_err(|_| End::Full)? {
            let Gap { from, to, reason, .. } = gap;
            tell(format_args!("gap: {}: {from} to {to} of epoch {:?}: {reason:?}", self.address, self.epoch));
            self.shared.sink.borrow_mut().note_gap(&self.epoch, gap).map_err(End::Unwritable)?;
        }
        self.owe(1).await
    }

    fn write_item(&self, item: &Item) -> Result<(), End> {
        self.shared.sink.borrow_mut().write_item(&self.epoch, item).map_err(End::Unwritable)
    }

    fn count_message(&mut self) -> Result<(), End> {
        self.messages += 1;
        self.conduct.act(self.messages).map_or(Ok(()), |act| Err(End::Act(act)))
    }

    async fn owe(&mut self, count: u64) -> Result<(), End> {
        self.unacknowledged += count;
        if !self.owed.contains(&self.epoch) {
            self.owed.insert(self.epoch.clone());
        }
        if self.unacknowledged >= self.shared.options.ack_every { self.acknowledge().await } else { Ok(()) }
    }

    async fn acknowledge(&mut self) -> Result<(), End> {
        self.unacknowledged = 0;
        let owed = std::mem::take(&mut self.owed);
        if !self.agreed || self.conduct.no_ack {
            return Ok(());
        }
        self.shared.sink.borrow_mut().settle().map_err(End::Unwritable)?;
        for epoch in owed {
            let ack = self.shared.receiver.borrow().ack(&epoch);
            if let Some(seq) = ack {
                self.answer(&Answer::Ack(seq), &epoch).await?;
            }
        }
        Ok(())
    }

    async fn answer(&mut self, answer: &Answer, epoch: &str) -> Result<(), End> {
        self.send(match wire::encode_answer(answer, Some(epoch), self.encoding) {
            Payload::Text(text) => Message::text(text),
            Payload::Binary(bytes) => Message::binary(bytes),
        })
        .await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        let late = async {
            Timer::after(WRITE_LIMIT).await;
            Err(End::Late("it takes no more bytes"))
        };
        or(async { self.ws.send(message).await.map_err(End::Broken) }, late).await
    }

    async fn end(mut self, end: End) {
        let address = self.address;
        match end {
            End::Closed => {}
            End::Broken(error) => tell(format_args!("warning: {address}: {error}")),
            End::Late(what) => tell(format_args!("warning: {address}: {what}")),
            End::Stopping => self.say_goodbye(CloseCode::Away).await,
            End::Act(act) => self.act(act).await,
            End::Full => self.say_goodbye(CloseCode::Policy).await,
            End::Unwritable(error) => self.shared.finish(Finish::Unwritable(error)),
        }
    }

    async fn act(&mut self, act: Act) {
        if act != Act::Die
            && let Err(error) = self.shared.sink.borrow_mut().flush()
        {
            self.shared.finish(Finish::Unwritable(error));
        }
        match act {
            Act::Die => std::process::exit(KILLED),
            Act::Drop => self.reset(),
            Act::Close(code) => self.say_goodbye(CloseCode::from(code)).await,
            Act::Silence => {
                let _ = self.shared.stopping.recv().await;
            }
        }
    }

    /// A socket that lingers for no time is reset when it is closed (socket(7)).
    fn reset(&self) {
        if let Err(error) = rustix::net::sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO)) {
            tell(format_args!("warning: {}: cannot reset the connection: {error}", self.address));
        }
    }

    /// Sends a close frame and waits a moment for the answer.
    async fn say_goodbye(&mut self, code: CloseCode) {
        let goodbye = async {
            let frame = CloseFrame { code, reason: "".into() };
            let mut open = self.ws.close(Some(frame)).await.is_ok();
            while open {
                open = matches!(self.ws.next().await, Some(Ok(_)));
            }
        };
        or(goodbye, pause(CLOSE_LIMIT)).await;
    }
}

async fn nothing_for<T>(patience: Duration) -> Option<T> {
    Timer::after(patience).await;
    None
}
