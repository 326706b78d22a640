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
use holdfast_core::link::port::{LinkOrder, LinkReport};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::{or, pending, poll_once};

use super::{INBOUND_MAX, Uplink, codec};
use crate::io::net::{self, Gauge, Stream};

/// How long a last frame may take, ours or the peer's.
const FAREWELL: Duration = Duration::from_secs(2);
/// Orders that are written before one flush.
pub const ORDERS_PER_FLUSH: usize = 16;
/// Cost of frames that are read before their reports go out: their bytes and a fixed part each.
const READ_BUDGET: usize = 64 << 10;
const FRAME_COST: usize = 512;
/// When nobody is left who gives orders (RFC 6455 §7.4.1, going away).
const GOING_AWAY: u16 = 1001;

/// How a connection ended.
#[derive(Debug)]
pub struct End {
    /// What the peer's close frame says.
    pub closing: Closing,
    /// What happened.
    pub error: String,
    rest: Rest,
}

/// What is left to do on a connection that has ended.
#[derive(Debug)]
enum Rest {
    Nothing,
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
        End { rest: blame(error).map_or(Rest::Nothing, Rest::Blame), ..End::because(words(error)) }
    }
}

/// Sends what is to be sent first, then carries out orders and reports what arrives, until the connection is over.
pub async fn run(
    socket: WebSocketStream<Stream>,
    uplink: &Uplink,
    first: Vec<String>,
    orders: &Receiver<LinkOrder>,
    reports: &Sender<LinkReport>,
    gauge: &Gauge,
) -> End {
    let (sink, source) = socket.split();
    let closed_by_us = Cell::new(None);
    let mut reader = Reader { uplink, source, reports, gauge, closed_by_us: &closed_by_us };
    let mut writer = Writer { uplink, first, sink, orders, reports, closed_by_us: &closed_by_us };
    let end = or(reader.run(), writer.run()).await;
    match end.rest {
        Rest::Nothing => {}
        Rest::Reply => {
            within(FAREWELL, async { while let Some(Ok(_)) = reader.source.next().await {} }).await
        }
        Rest::Blame(code) => within(FAREWELL, writer.close(code)).await,
    }
    end
}

struct Reader<'a> {
    uplink: &'a Uplink,
    source: WebSocketReceiver<Stream>,
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
                Message::Close(frame) => return Some(closed_by_peer(frame)),
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
            Message::Text(text) => codec::text(self.uplink, text),
            Message::Binary(payload) => codec::binary(self.uplink, payload),
            Message::Pong(payload) => match <[u8; 8]>::try_from(payload.as_ref()) {
                Ok(number) => LinkReport::Pong(u64::from_be_bytes(number)),
                Err(_) => return,
            },
            Message::Ping(_) | Message::Close(_) | Message::Frame(_) => return,
        };
        match (news.last_mut(), &report) {
            (Some(LinkReport::Ack { lane, seq: last }), LinkReport::Ack { lane: same, seq: new })
                if lane == same =>
            {
                *last = (*last).max(*new);
            }
            (Some(LinkReport::Pong(last)), LinkReport::Pong(new)) => *last = (*last).max(*new),
            _ => news.push(report),
        }
    }
}

struct Writer<'a> {
    uplink: &'a Uplink,
    /// Sent before all else.
    first: Vec<String>,
    sink: WebSocketSender<Stream>,
    orders: &'a Receiver<LinkOrder>,
    reports: &'a Sender<LinkReport>,
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
                // What the peer had to say is better news than our broken write, if it comes.
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
                for frame in codec::frames(self.uplink, lane, &entries) {
                    self.sink.feed(frame).await?;
                }
                *written = Some(through);
            }
            LinkOrder::Ping(number) => {
                self.sink.feed(Message::Ping(number.to_be_bytes().to_vec().into())).await?;
            }
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

fn closed_by_peer(frame: Option<CloseFrame>) -> End {
    let Some(frame) = frame else {
        return End { rest: Rest::Reply, ..End::because("the peer closed without a code") };
    };
    let code = u16::from(frame.code);
    let error = if frame.reason.is_empty() {
        format!("the peer closed with {code}")
    } else {
        format!("the peer closed with {code}: {}", frame.reason.escape_debug())
    };
    End { closing: Closing::of(Some(code), &frame.reason), error, rest: Rest::Reply }
}

fn closed_by_us(code: u16) -> String {
    format!("closed by this side with {code}")
}

/// The close code that a fault of the peer calls for (RFC 6455 §7.4.1, §8.1).
fn blame(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => {
            None
        }
        Error::Protocol(_) => Some(CloseCode::Protocol),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Capacity(_) => Some(CloseCode::Size),
        _ => None,
    }
}

fn words(error: &Error) -> String {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "the peer cut the connection without a close frame".to_owned()
        }
        Error::Protocol(fault) => format!("the peer breaks the WebSocket protocol: {fault}"),
        Error::Utf8(_) => "the peer sent a text frame that is not UTF-8".to_owned(),
        Error::Capacity(_) => format!("the peer sent a message of more than {INBOUND_MAX} bytes"),
        Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the peer cut the connection without a close frame".to_owned()
        }
        Error::Io(error) => format!("the connection broke: {}", net::words(error)),
        other => format!("the connection broke: {other}"),
    }
}
