//! Orders and reports between the decisions and the tasks that hold a connection. Links of all kinds speak the same
//! words, so that one state machine watches over them.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::ids::EndpointId;
use crate::link::closing::Closing;
use crate::link::dial_error::DialError;
use crate::link::mqtt::terms::Terms;
use crate::message::Entry;
use crate::source::intake::Draft;
use crate::source::subscriber::Took;

/// An order to the task of a connection that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOrder {
    /// Introduces one lane of the agent on an envelope link: the first number that it can still send and the next one that it
    /// will give.
    Hello {
        /// Which lane of the link: its outlets in rising priority.
        lane: usize,
        /// Oldest number that is held.
        first: u64,
        /// Number that the next new message gets.
        next: u64,
    },
    /// Writes entries, in this order, then flushes.
    Send {
        /// Which lane of the link they belong to.
        lane: usize,
        /// How many entries were sent on this connection with the last of these. There may be fewer here than were counted, since gaps beside
        /// each other become one: see [`ordinals`].
        through: u64,
        /// At least one.
        entries: Vec<Entry>,
    },
    /// Envelopes with several messages are at most this large from here on (WebSocket with envelopes only).
    FrameBytes(usize),
    /// Sends a ping that is answered by `Pong` with the same number. It goes out after everything sent before it.
    Ping(u64),
    /// Tries another endpoint beside this connection, and tells by `Probed` (WebSocket only).
    Probe(EndpointId),
    /// Publishes a retained state that need not be numbered (MQTT only).
    Publish(Publication),
    /// Says goodbye with this close code (WebSocket: RFC 6455 §7.4) or DISCONNECT (MQTT), then closes.
    Close(u16),
}

/// One retained MQTT publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The whole topic.
    pub topic: String,
    /// The payload; empty clears the topic.
    pub payload: Vec<u8>,
}

/// What the task of a connection reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkReport {
    /// The connection is up and may be used.
    Up(Peer),
    /// It could not be made. The task has ended.
    DialFailed(Refusal),
    /// The ping with this number came back.
    Pong(u64),
    /// A pong came whose payload is not that of a ping of ours: an unsolicited one (RFC 6455 §5.5.3), or the answer of a peer that
    /// does not echo.
    OtherPong,
    /// The peer has everything up to and including this number (`{"ack":N}`, or PUBACKs without a hole).
    Ack {
        /// Which lane of the link.
        lane: usize,
        /// Last number that it has.
        seq: u64,
    },
    /// The peer has everything below this number (`{"resume":N}`).
    Resume {
        /// Which lane of the link.
        lane: usize,
        /// First number that it has not.
        from: u64,
    },
    /// Of the entries of this connection, the peer has the first so many (HTTP and MQTT links): it has answered for each of them.
    Confirmed(u64),
    /// The peer refuses this one (`{"nack":N}`; on an HTTP link a status that speaks of the message).
    Nack {
        /// Which lane of the link.
        lane: usize,
        /// The refused number.
        seq: u64,
        /// Its words.
        reason: String,
    },
    /// A state was refused, for this reason; or the last one that was is taken again (MQTT only).
    StateRefused(Option<String>),
    /// So many entries of this connection were handed to the socket.
    Written(u64),
    /// The peer sent something of its own.
    Inbound(Heard),
    /// The topics of a source are subscribed to, with a sentence for each that is not as it was asked for.
    Subscribed(Vec<String>),
    /// What a source has made of messages since it told so last.
    Took(Took),
    /// Why a source waits with what it has fetched; none when it goes on.
    Holds(Option<String>),
    /// The endpoint that was tried beside this connection has answered a ping, or why not.
    Probed(Result<(), String>),
    /// How far the bytes of the connection have come.
    Traffic(Traffic),
    /// The connection is over. The task has ended.
    Closed {
        /// Meaning of the peer's close frame or HTTP status for the next connection.
        closing: Closing,
        /// What happened, for the log and the status.
        error: String,
    },
}

/// How far the bytes of a connection have come, counted from its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that the kernel took from us.
    pub written: u64,
    /// Those of them that the peer's kernel has not acknowledged; none where ours does not tell.
    pub unacknowledged: Option<u64>,
    /// Bytes that came from the peer.
    pub heard: u64,
    /// Whole frames or packets of the peer that were read.
    pub frames: u64,
    /// The peer's kernel has no room for more, and says so whenever it is asked.
    pub peer_is_full: bool,
}

/// The place of each of some entries on a connection on which `before` were handed over before them, and `through` with the last of
/// them. One may stand for several that became one gap, so they are counted from the front: none gets a larger place than it has, and
/// nothing behind it is confirmed with it.
pub fn ordinals(before: u64, through: u64, entries: usize) -> impl Iterator<Item = u64> {
    let entries = u64::try_from(entries).unwrap_or(u64::MAX);
    (1..=entries).map(move |nth| if nth == entries { through } else { before + nth })
}

impl Traffic {
    /// Bytes that are known to be with the peer's kernel; without a better knowledge those that ours took.
    pub fn acknowledged(&self) -> u64 {
        self.written.saturating_sub(self.unacknowledged.unwrap_or(0))
    }

    /// Whether all that was sent is with the peer, or waits for it to make room.
    pub fn has_arrived(&self) -> bool {
        self.unacknowledged == Some(0) || self.peer_is_full
    }

    /// Whether something that was sent is not with the peer, which does not say why.
    pub fn is_cut_off(&self) -> bool {
        self.unacknowledged.is_some_and(|bytes| bytes > 0) && !self.peer_is_full
    }
}

/// What was made of something that a peer sent of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Nothing: the configuration makes no messages of it.
    Counted,
    /// A message.
    Message(Draft),
    /// It can be no message, for this reason.
    Refused(String),
}

/// What is known of a peer once the connection is up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its address, as `203.0.113.7:443`.
    pub address: String,
    /// Days until its certificate ends, on TLS.
    pub certificate_days_left: Option<i64>,
    /// How MQTT is spoken with it (MQTT only).
    pub terms: Option<Terms>,
}

/// Why a connection could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// By which everything is decided.
    pub cause: DialError,
    /// Target of the dial, as `wss://hub.example`; none where only a part of it was tried.
    pub target: Option<String>,
    /// What happened, for people: `timed out after 15 s`.
    pub error: String,
}

impl Refusal {
    /// One whose target is not known yet.
    pub fn new(cause: DialError, error: impl Into<String>) -> Refusal {
        Refusal { cause, target: None, error: error.into() }
    }

    /// The same, with the target of the dial.
    pub fn dialing(self, target: impl Into<String>) -> Refusal {
        Refusal { target: Some(target.into()), ..self }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(target) => write!(f, "cannot dial {target}: {}", self.error),
            None => f.write_str(&self.error),
        }
    }
}

/// What a refusal means for the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Try again after the usual back-off.
    Retry,
    /// HTTP 401 or 403, CONNACK 4 or 5: the credentials are read again, and the wait is long.
    Unauthorized,
    /// HTTP 429 or 503: the peer asks for time.
    Busy {
        /// Its `Retry-After`, if it sent one.
        retry_after: Option<Duration>,
    },
}
