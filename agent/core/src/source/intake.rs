//! What the decisions and the sources say to each other: drafts come in, one answer a batch goes back.

use std::sync::Arc;
use std::time::Duration;

use crate::message::{self, Format};

/// A message before it has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Slash-separated, without a leading slash, not empty.
    pub topic: String,
    /// The device that it speaks for, if one is known.
    pub device: Option<String>,
    /// Id of what took it: `server:sensors`, `client:cloud`, `control`.
    pub source: Arc<str>,
    /// How the payload is to be read; already checked.
    pub format: Format,
    /// The bytes as they came.
    pub payload: Vec<u8>,
    /// Path, query and header parameters.
    pub attributes: Vec<(String, String)>,
    /// From 0 to 9; higher ones go first.
    pub priority: u8,
    /// How many seconds it may live, if its source says so.
    pub ttl_s: Option<u32>,
}

impl Draft {
    /// Approximate cost in bytes, that of its message.
    pub fn weight(&self) -> usize {
        message::weight(self.payload.len(), &self.topic, self.device.as_deref(), &self.attributes)
    }
}

/// What became of a batch of drafts. All of it, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Every outlet has every message safe; the ids from `first` to `last`.
    Stored {
        /// Id of the first message.
        first: u64,
        /// Id of the last message.
        last: u64,
    },
    /// Nothing was taken.
    Refused(Refused),
}

/// Why nothing was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Too much is waiting for the disk at this moment; try again in a moment (HTTP 429).
    Busy,
    /// The sender is over its rate; how long until it may send again (HTTP 429).
    TooFast(Duration),
    /// The buffer is full and the configuration says to refuse or to drop the newest (HTTP 503).
    Full,
    /// The store does not take anything, with the cause (HTTP 503).
    Failing(String),
    /// The agent is stopping (HTTP 503).
    Stopping,
    /// There is no outlet of this name (HTTP 404).
    NoOutlet(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Busy => f.write_str("too many messages wait for the disk"),
            Refused::TooFast(wait) => {
                write!(f, "too many messages: send more slowly, and again in {:.3} s", wait.as_secs_f64())
            }
            Refused::Full => f.write_str("the buffer is full"),
            Refused::Failing(cause) => write!(f, "cannot write the store: {cause}"),
            Refused::Stopping => f.write_str("the agent is stopping"),
            Refused::NoOutlet(name) => write!(f, "there is no outlet {name}"),
        }
    }
}
