//! An open WebSocket: one reader and one writer at once, so that a peer that takes nothing is still heard.

use std::cell::Cell;
use std::time::Duration;

use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, WebSocketStream};
use futures_util::{SinkExt, StreamExt};
use holdfast_core::config::client::Confirm;
use holdfast_core::link::closing::Closing;
use holdfast_core::link::protocol::{LinkOrder, LinkReport};
use holdfast_core::wire::{Arrived, CloseFrame as Close};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::{or, pending, poll_once};
use smol::io::AsyncReadExt;

use super::filter::Seen;
use super::{Socket, Uplink, codec};
use crate::net::{self, Gauge, Stream};

/// How long a last frame may take, ours or the peer's.
const FAREWELL: Duration = Duration::from_secs(2);
/// Orders that are written before one flush.
pub const ORDERS_PER_FLUSH: usize = 16;
/// Cost of frames that are read before their reports go out: their bytes and a fixed part each.
const READ_BUDGET: usize = 64 << 10;
const FRAME_COST: usize = 512;
/// When nobody is left who gives orders (RFC 6455 §7.4.1, going away).
const GOING_AWAY: u16 = 1001;
/// Begins the payload of our pings, so that no pong that a peer sends of its own is taken for an echo.
const PING: [u8; 8] = *b"holdfast";

/// How a connection ended.
#[derive(Debug)]
struct End {
    /// Meaning of the peer's close frame.
    closing: Closing,
    /// Words about it.
    error: String,
    rest: Rest,
}

/// Rest to do on a connection that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    /// The connection broke: the peer may have said why before.
    Listen,
    /// Our reply to the peer's close frame is to be sent, then the server closes first (RFC 6455 §7.1.1).
    Reply,
    /// The peer is to be told what it did wrong.
    Blame(CloseCode),
}

impl End {
    fn because(error: impl Into<String>) -> End {
        End { closing: Closing::Plain, error: error.into(), rest: Rest::Nothing }
    }

    fn of(error: &Error) -> End {
        let rest = match error {
            Error::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
            ) => Rest::Nothing,
            // RFC 6455 §7.4.1, §8.1. The filter cuts what is too large, unless its head makes no sense.
            Error::Protocol(_) | Error::Capacity(_) => Rest::Blame(CloseCode::Protocol),
            Error::Utf8(_) => Rest::Blame(CloseCode::Invalid),
            _ => Rest::Listen,
        };
        End { rest, ..End::because(words(error)) }
    }

    /// The same end in the words of the peer.
    fn with(self, close: &Close) -> End {
        End { closing: Closing::of(close.code, &close.reason), error: words_of_close(close), ..self }
    }
}

/// Sends what is to be sent first, then carries out orders and reports what arrives, until the connection is over.
pub async fn run(
    socket: Socket,
    uplink: &Uplink,
    first: Vec<String>,
    orders: &Receiver<LinkOrder>,
    reports: &Sender<LinkReport>,
    gauge: &Gauge,
) {
    let Socket { stream, seen } = socket;
    let (sink, source) = stream.split();
    let closed_by_us = Cell::new(None);
    let frame_bytes = uplink.client.frame_bytes;
    let mut reader = Reader { uplink, source, seen: &seen, reports, gauge, closed_by_us: &closed_by_us };
    let mut writer =
        Writer { uplink, first, sink, orders, reports, frame_bytes, closed_by_us: &closed_by_us };
    let mut end = or(reader.run(), writer.run()).await;
    let mut socket = WebSocketStream::reunite(writer.sink, reader.source);
    if let (Rest::Listen, Ok(socket)) = (end.rest, &mut socket) {
        within(FAREWELL, listen(socket.get_mut(), &seen)).await;
    }
    // Where this side has closed, the peer's frame is but the answer.
    if let Some(close) = seen.close().filter(|_| closed_by_us.get().is_none()) {
        end = end.with(&close);
    }
    // Before what takes its time: a deadline must not have the first word.
    let _ = reports.send(LinkReport::Closed { closing: end.closing, error: end.error }).await;
    if let Ok(mut socket) = socket {
        within(FAREWELL, take_leave(&mut socket, end.rest)).await;
    }
}

async fn take_leave(socket: &mut WebSocketStream<Stream>, rest: Rest) {
    match rest {
        Rest::Nothing | Rest::Listen => {}
        Rest::Reply => while let Some(Ok(_)) = socket.next().await {},
        Rest::Blame(code) => {
            // A connection that cannot take a close frame is as closed as can be.
            let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await;
        }
    }
}

/// Reads past what the WebSocket could not go on from, until the peer's close frame or the end.
async fn listen(stream: &mut Stream, seen: &Seen) {
    let mut bytes = [0; 4096];
    while seen.close().is_none()
        && let Ok(1..) = stream.read(&mut bytes).await
    {}
}

struct Reader<'a> {
    uplink: &'a Uplink,
    source: WebSocketReceiver<Stream>,
    seen: &'a Seen,
    reports: &'a Sender<LinkReport>,
    gauge: &'a Gauge,
    closed_by_us: &'a Cell<Option<u16>>,
}

impl Reader<'_> {
    async fn run(&mut self) -> End {
        loop {
            let mut news = Vec::new();
            let end = self.read_what_is_there(&mut news).await;
            for report in news {
                let _ = self.reports.send(report).await;
            }
            match (end, self.closed_by_us.get()) {
                (None, _) => {}
                (Some(end), None) => return end,
                (Some(_), Some(ours)) => return End::because(closed_by_us(ours)),
            }
        }
    }

    /// Waits for a frame, then takes all others that are there already, so that they cost one wake-up of the loop.
    async fn read_what_is_there(&mut self, news: &mut Vec<LinkReport>) -> Option<End> {
        let mut next = self.source.next().await;
        let mut spent = 0;
        loop {
            let message = match next {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Some(End::of(&error)),
                None => return Some(End::because("the connection is closed")),
            };
            self.gauge.frame();
            spent += message.len() + FRAME_COST;
            match message {
                Message::Close(_) => {
                    return Some(End { rest: Rest::Reply, ..End::because("the peer closed without a code") });
                }
                other => self.understand(&other, news),
            }
            if spent >= READ_BUDGET {
                return None;
            }
            next = poll_once(self.source.next()).await?;
        }
    }

    fn understand(&self, message: &Message, news: &mut Vec<LinkReport>) {
        let report = match message {
            Message::Text(_) | Message::Binary(_) => self.heard(message),
            Message::Pong(payload) => number_of(payload).map_or(LinkReport::OtherPong, LinkReport::Pong),
            Message::Ping(_) | Message::Close(_) | Message::Frame(_) => return,
        };
        match (news.last_mut(), &report) {
            (Some(LinkReport::Ack { lane, seq: last }), LinkReport::Ack { lane: same, seq: new })
                if lane == same =>
            {
                *last = (*last).max(*new);
            }
            (Some(LinkReport::Pong(last)), LinkReport::Pong(new)) => *last = (*last).max(*new),
            (Some(LinkReport::OtherPong), LinkReport::OtherPong) => {}
            _ => news.push(report),
        }
    }

    fn heard(&self, message: &Message) -> LinkReport {
        let as_it_came = Arrived { is_text: message.is_text(), bytes: message.len() as u64, is_whole: true };
        let (arrived, payload) = (self.seen.arrived().unwrap_or(as_it_came), message.clone().into_data());
        codec::heard(self.uplink, arrived, &payload)
    }
}

struct Writer<'a> {
    uplink: &'a Uplink,
    /// Sent before all else.
    first: Vec<String>,
    sink: WebSocketSender<Stream>,
    orders: &'a Receiver<LinkOrder>,
    reports: &'a Sender<LinkReport>,
    /// Bytes of an envelope with several messages at most.
    frame_bytes: usize,
    closed_by_us: &'a Cell<Option<u16>>,
}

impl Writer<'_> {
    async fn run(&mut self) -> End {
        match self.write_until_close().await {
            Ok(code) => {
                self.closed_by_us.set(Some(code));
                let farewell = async {
                    self.close(CloseCode::from(code)).await;
                    pending::<()>().await;
                };
                within(FAREWELL, farewell).await;
                End::because(closed_by_us(code))
            }
            Err(error) => {
                // Last words of the peer are better news than our broken write, if they come.
                Timer::after(FAREWELL).await;
                End::of(&error)
            }
        }
    }

    async fn write_until_close(&mut self) -> Result<u16, Error> {
        for first in std::mem::take(&mut self.first) {
            self.sink.send(Message::text(first)).await?;
        }
        while let Ok(order) = self.orders.recv().await {
            let mut batch = vec![order];
            while batch.len() < ORDERS_PER_FLUSH
                && let Ok(more) = self.orders.try_recv()
            {
                batch.push(more);
            }
            let mut written = None;
            for order in batch {
                if let LinkOrder::Close(code) = order {
                    self.flush(written).await?;
                    return Ok(code);
                }
                self.feed(order, &mut written).await?;
            }
            self.flush(written).await?;
        }
        Ok(GOING_AWAY)
    }

    /// Hands the frames of an order to the write buffer. `written` becomes the count of entries with them.
    async fn feed(&mut self, order: LinkOrder, written: &mut Option<u64>) -> Result<(), Error> {
        match order {
            LinkOrder::Hello { lane, first, next } => {
                if let Some(hello) = codec::hello(self.uplink, lane, first, next) {
                    self.sink.feed(hello).await?;
                }
            }
            LinkOrder::Send { lane, through, entries } => {
                for frame in codec::frames(self.uplink, lane, &entries, self.frame_bytes) {
                    self.sink.feed(frame).await?;
                }
                *written = Some(through);
            }
            LinkOrder::Ping(number) => {
                let payload = [PING, number.to_be_bytes()].concat();
                self.sink.feed(Message::Ping(payload.into())).await?;
            }
            LinkOrder::FrameBytes(bytes) => self.frame_bytes = bytes,
            LinkOrder::Publish(_) | LinkOrder::Probe(_) | LinkOrder::Close(_) => {}
        }
        Ok(())
    }

    async fn flush(&mut self, through: Option<u64>) -> Result<(), Error> {
        self.sink.flush().await?;
        if let (Confirm::None, Some(through)) = (self.uplink.client.confirm, through) {
            let _ = self.reports.send(LinkReport::Written(through)).await;
        }
        Ok(())
    }

    async fn close(&mut self, code: CloseCode) {
        // A connection that cannot take a close frame is as closed as can be.
        let _ = self.sink.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await;
    }
}

async fn within(limit: Duration, work: impl Future<Output = ()>) {
    let deadline = async {
        Timer::after(limit).await;
    };
    or(work, deadline).await;
}

/// Which of our pings a pong echoes.
fn number_of(pong: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(pong.strip_prefix(&PING)?.try_into().ok()?))
}

/// Words of the peer's close frame.
pub fn words_of_close(close: &Close) -> String {
    match close.code {
        None => "the peer closed without a code".to_owned(),
        Some(code) if close.reason.is_empty() => format!("the peer closed with {code}"),
        Some(code) => format!("the peer closed with {code}: {}", close.reason.escape_debug()),
    }
}

fn closed_by_us(code: u16) -> String {
    format!("closed by this side with {code}")
}

fn words(error: &Error) -> String {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "the peer cut the connection without a close frame".to_owned()
        }
        Error::Protocol(fault) => format!("the peer breaks the WebSocket protocol: {fault}"),
        Error::Utf8(_) => "the peer sent a close frame whose reason is not UTF-8".to_owned(),
        Error::Capacity(_) => {
            "the peer breaks the WebSocket protocol: a frame has a length that none may have".to_owned()
        }
        Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the peer cut the connection without a close frame".to_owned()
        }
        Error::Io(error) => format!("the connection broke: {}", net::words(error)),
        other => format!("the connection broke: {other}"),
    }
}
