//! `[buffer]`

use std::time::Duration;

use super::render::{self, Lines};
use super::table::Table;
use super::value;

const WHEN_FULL: [(&str, WhenFull); 3] = [
    ("drop-oldest", WhenFull::DropOldest),
    ("drop-newest", WhenFull::DropNewest),
    ("reject", WhenFull::Reject),
];

/// `[buffer]`: what is held while a link is down, and what gives way when it is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Bytes on disk, all files of the store together. A reserve of 4 MB lies beside them where
    /// there is room, and is given up when the disk is full.
    pub max_bytes: u64,
    /// Messages per outlet; 0 is no bound.
    pub max_messages: u64,
    /// What gives way when it is full.
    pub when_full: WhenFull,
    /// Age at which an unconfirmed message goes to the disk, and least time between two commits.
    pub commit_after: Duration,
}

/// What gives way when the buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The oldest messages, counted and announced as a gap.
    #[default]
    DropOldest,
    /// The new message, counted and announced as a gap; its sender is told.
    DropNewest,
    /// Nothing: the sender is refused.
    Reject,
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer {
            max_bytes: 256_000_000,
            max_messages: 0,
            when_full: WhenFull::DropOldest,
            commit_after: Duration::from_millis(250),
        }
    }
}

impl Buffer {
    pub(super) fn read(table: &mut Table) -> Buffer {
        let default = Buffer::default();
        table.planned(&["ttl"]);
        Buffer {
            max_bytes: table.value(
                "max_bytes",
                default.max_bytes,
                value::bytes(8_000_000..=1_000_000_000_000),
            ),
            max_messages: table.value(
                "max_messages",
                default.max_messages,
                value::number(0..=1_000_000_000_000),
            ),
            when_full: table.value("when_full", default.when_full, value::word(WHEN_FULL)),
            commit_after: table.value("commit_after", default.commit_after, value::duration(10..=60_000)),
        }
    }

    pub(super) fn lines(&self) -> Lines {
        vec![
            ("max_bytes", Some(render::string(&render::bytes(self.max_bytes)))),
            ("max_messages", Some(self.max_messages.to_string())),
            ("when_full", Some(render::word(WHEN_FULL, self.when_full))),
            ("commit_after", Some(render::string(&render::duration(self.commit_after)))),
        ]
    }
}
