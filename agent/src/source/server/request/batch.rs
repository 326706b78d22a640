//! The frames of a WebSocket that are there together.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::error::{Error, ProtocolError};
use async_tungstenite::tungstenite::{Bytes, Message};
use futures_util::StreamExt;
use holdfast_core::config::server::Limits;
use holdfast_core::message::Format;
use holdfast_core::source::intake::Draft;
use holdfast_schema::Violation;

use super::path::Target;
use crate::source::server::ServerState;
use crate::source::server::memory::{Metered, Share};
use crate::source::server::payload;

/// Most messages of a batch.
const MESSAGES: usize = 64;
/// Weight at which a batch is full.
const WEIGHT: usize = 256 * 1024;
/// Work of the checks by a schema after which a batch is full: the loop has its turn in between.
const WORK: u64 = 2_000_000;
/// Frames of all kinds after which other tasks have their turn.
const FRAMES: usize = 256;

/// Messages in the order in which they came, and the count and weight of them once they were taken out.
#[derive(Debug, Default)]
pub struct Batch {
    frames: Vec<(Bytes, Format)>,
    count: usize,
    weight: usize,
    /// Cost of the checks by a schema.
    work: u64,
    /// Weight of each message beside its payload, so that empty ones weigh too.
    each: usize,
    /// Its part of the memory for callers.
    held: usize,
    /// Fault of the message behind the last one, if it has one. The sender is told of it in its place.
    refused: Option<Violation>,
}

/// How a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// We close, with this code (RFC 6455 §7.4.1) and reason.
    Close(u16, String),
    /// The peer has closed, or the connection broke.
    Gone,
}

impl Batch {
    /// Number of messages.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Fault of the message behind the last one.
    pub fn refused(&self) -> Option<&Violation> {
        self.refused.as_ref()
    }

    /// Bytes that go back to the share of its connection once it is stored or refused.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Approximate cost in memory.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Takes the messages out as they are offered: they do not hold on to the memory that they were read into.
    pub fn take_drafts(&mut self, site: &ServerState, target: &Target) -> Vec<Draft> {
        let frames = std::mem::take(&mut self.frames).into_iter();
        frames.map(|(payload, format)| site.draft(target, format, payload.to_vec())).collect()
    }

    /// Takes all messages but the first ones off, with what is behind the last one if any are taken.
    pub fn split_off(&mut self, at: usize) -> Batch {
        let frames = self.frames.split_off(at);
        let weight = frames.iter().map(|(payload, _)| payload.len() + self.each).sum();
        self.weight -= weight;
        self.count -= frames.len();
        // An empty first part is dropped.
        let held = if at == 0 && !frames.is_empty() { std::mem::take(&mut self.held) } else { 0 };
        let refused = if frames.is_empty() { None } else { self.refused.take() };
        Batch { count: frames.len(), frames, weight, work: 0, each: self.each, held, refused }
    }

    fn is_full(&self) -> bool {
        self.refused.is_some() || self.count >= MESSAGES || self.weight >= WEIGHT || self.work >= WORK
    }

    fn push(&mut self, payload: Bytes, format: Format) {
        self.weight += payload.len() + self.each;
        self.count += 1;
        self.frames.push((payload, format));
    }
}

/// Rules of reading from a connection.
pub struct Reading<'a> {
    /// Where the messages go.
    pub target: &'a Target,
    /// Weight of each message beside its payload.
    pub each: usize,
    /// Of the server.
    pub limits: &'a Limits,
    /// Share of the connection in the memory for callers.
    pub share: &'a Share,
    /// Nothing is taken while it is above zero.
    pub busy: &'a Cell<u32>,
}

/// Waits for something to come and takes what is there, up to a bound. With an end nothing more can be read.
pub async fn read(socket: &mut WebSocketStream<Metered>, reading: &Reading<'_>) -> (Batch, Option<End>) {
    let mut batch = Batch { each: reading.each, ..Batch::default() };
    let end = poll_fn(|context| match reading.busy.get() {
        0 => poll_read(socket, reading, &mut batch, context),
        _ => Poll::Pending,
    })
    .await;
    let held = reading.share.complete(batch.weight);
    match batch.is_empty() && batch.refused.is_none() {
        true => reading.share.stored(held),
        false => batch.held = held,
    }
    (batch, end)
}

/// Ready as soon as anything came, be it only a pong. The batch is empty whenever it is pending.
fn poll_read(
    socket: &mut WebSocketStream<Metered>,
    reading: &Reading<'_>,
    batch: &mut Batch,
    context: &mut Context<'_>,
) -> Poll<Option<End>> {
    for count in 0..FRAMES {
        if batch.is_full() {
            break;
        }
        let frame = match socket.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(end_of(&error, reading.limits))),
            Poll::Ready(None) => return Poll::Ready(Some(End::Gone)),
            Poll::Pending if count == 0 => return Poll::Pending,
            Poll::Pending => break,
        };
        if let Some(end) = take(frame, reading, batch) {
            return Poll::Ready(Some(end));
        }
    }
    Poll::Ready(None)
}

fn take(frame: Message, reading: &Reading<'_>, batch: &mut Batch) -> Option<End> {
    reading.share.frame(frame.len(), frame.is_text() || frame.is_binary());
    let target = reading.target;
    let required = target.format;
    let (payload, found) = match frame {
        Message::Text(text) => {
            let found = required.is_none().then(|| payload::sniff_text(&text));
            (Bytes::from(text), found)
        }
        Message::Binary(payload) => (payload, required.is_none().then_some(Format::Binary)),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return None,
        Message::Close(_) => return Some(End::Gone),
    };
    let format = found.or(required).unwrap_or(Format::Binary);
    if found.is_none()
        && let Err(error) = payload::check(format, &payload)
    {
        return Some(End::Close(1007, format!("the message is {error}")));
    }
    let checked = target.judge.as_ref().map(|judge| judge.check(&payload));
    batch.work += checked.as_ref().map_or(0, |checked| checked.work);
    match checked.map_or(Ok(()), |checked| checked.result) {
        Ok(()) => batch.push(payload, format),
        Err(violation) => batch.refused = Some(violation),
    }
    None
}

fn end_of(error: &Error, limits: &Limits) -> End {
    match error {
        Error::Capacity(_) => {
            End::Close(1009, format!("a message may have {} bytes at most", limits.message_bytes))
        }
        Error::Io(error) if error.kind() == io::ErrorKind::OutOfMemory => End::Close(1013, error.to_string()),
        Error::Utf8(_) => End::Close(1007, "a text frame is not valid UTF-8".to_owned()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        Error::Protocol(error) => End::Close(1002, error.to_string()),
        _ => End::Gone,
    }
}
