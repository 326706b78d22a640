//! What flows: the [`Message`] that a sensor handed over, and the numbered [`Entry`] that an outlet holds of it.
//!
//! Pure data. Nothing here touches a socket, a file or a clock.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One message, as it was taken from a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Number given by this agent, from 1, never used again.
    pub id: u64,
    /// When it arrived: nanoseconds since 1970-01-01T00:00:00Z.
    pub time_ns: u64,
    /// Whether the wall clock was known to be right at that moment.
    pub clock: Clock,
    /// The start of the machine in which it arrived.
    pub boot: Boot,
    /// How long that start was ago: nanoseconds of a clock that nobody sets and that does not stop in sleep.
    pub up_ns: u64,
    /// Slash-separated name of what it is about, without a leading slash.
    pub topic: String,
    /// The device that it speaks for, if one is known.
    pub device: Option<String>,
    /// Id of what took it: `server:sensors`, `client:cloud`, `control`.
    pub source: Arc<str>,
    /// How the payload is to be read.
    pub format: Format,
    /// The bytes as they came.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// Path, query and header parameters, in the order in which they came.
    pub attributes: Vec<(String, String)>,
    /// How many seconds after its arrival it is of no use any more, if it says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
}

/// One start of the machine, by a part of the random id that the kernel gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Boot(pub u64);

/// A moment on all the clocks that there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The start of the machine in which it was.
    pub boot: Boot,
    /// Nanoseconds since that start.
    pub up_ns: u64,
    /// Nanoseconds since 1970-01-01T00:00:00Z, as the wall clock said.
    pub time_ns: u64,
    /// Whether the wall clock was known to be right.
    pub clock: Clock,
}

/// Trust in a message's wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The system said that its clock was synchronized.
    Synced,
    /// Nothing vouches for the time.
    Unsynced,
}

/// How a payload is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Valid UTF-8.
    Text,
    /// Valid JSON, hence also valid UTF-8.
    Json,
    /// Any bytes.
    Binary,
}

/// What an outlet holds under one of its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The outlet's own number, from 1; for a gap the first number that it covers.
    pub seq: u64,
    /// The message, or the reason why there is none.
    pub body: Body,
    /// True once it is sent later than it came: read back from the store or sent again after a reconnect.
    pub replayed: bool,
}

/// The content of an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// A message to deliver.
    Message(Arc<Message>),
    /// Nothing more comes for the numbers from the entry's `seq` up to and including `to`.
    Gap {
        /// Last number covered.
        to: u64,
        /// Why they are missing.
        reason: GapReason,
    },
}

/// Why numbers of an outlet carry no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The buffer was full and gave up its oldest messages.
    DroppedOldest,
    /// The buffer was full and gave up the newest message.
    DroppedNewest,
    /// The messages became older than the outlet's time to live.
    Expired,
    /// A run ended without order, and these numbers may have been given to messages that were in its memory.
    Restart,
    /// The store could not be read back.
    Damaged,
    /// The peer refused it; it is among the dead letters.
    Refused,
    /// People gave up what was held.
    Purged,
}

impl Entry {
    /// Last number that this entry covers.
    pub fn last(&self) -> u64 {
        match self.body {
            Body::Message(_) => self.seq,
            Body::Gap { to, .. } => to,
        }
    }

    /// Approximate cost in bytes, of memory and on the wire before framing.
    pub fn weight(&self) -> usize {
        match &self.body {
            Body::Message(message) => message.weight(),
            Body::Gap { .. } => 64,
        }
    }
}

impl Stamp {
    /// What the wall clock was ahead of the time since the start, modulo 2^64. It changes only when the wall clock is set.
    pub fn offset(&self) -> u64 {
        self.time_ns.wrapping_sub(self.up_ns)
    }
}

impl Message {
    /// When it arrived.
    pub fn stamp(&self) -> Stamp {
        Stamp { boot: self.boot, up_ns: self.up_ns, time_ns: self.time_ns, clock: self.clock }
    }

    /// Approximate cost in bytes: payload, names and a fixed part for the rest.
    pub fn weight(&self) -> usize {
        weight(self.payload.len(), &self.topic, self.device.as_deref(), &self.attributes)
    }
}

/// Approximate cost of a message in bytes: payload, names and a fixed part for the rest.
pub(crate) fn weight(
    payload: usize,
    topic: &str,
    device: Option<&str>,
    attributes: &[(String, String)],
) -> usize {
    let attributes: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    payload + topic.len() + device.map_or(0, str::len) + attributes + 64
}
