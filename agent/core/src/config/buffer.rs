//! `[buffer]`

use std::ops::RangeInclusive;
use std::time::Duration;

use super::render::{self, Lines};
use super::table::{Reading, Table};
use super::tree::Node;
use super::value;

const WHEN_FULL: [(&str, WhenFull); 3] = [
    ("drop-oldest", WhenFull::DropOldest),
    ("drop-newest", WhenFull::DropNewest),
    ("reject", WhenFull::Reject),
];

const MESSAGES: RangeInclusive<u64> = 0..=1_000_000_000_000;

/// `[buffer]`: what is held while a link is down, and what gives way when it is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Bytes on disk, all files of the store together; less where the file system cannot give them and leave 8 MB free. A
    /// reserve of 4 MB lies beside them where there is room, and is given up when the disk is full.
    pub max_bytes: u64,
    /// Messages per outlet; 0 is no bound.
    pub max_messages: u64,
    /// A message that is older is given up, counted and announced as a gap; zero holds it for ever.
    pub ttl: Duration,
    /// What gives way when it is full.
    pub when_full: WhenFull,
    /// Age at which an unconfirmed message goes to the disk while its link is up, and the time between two commits on average. What
    /// was not used of that is saved up, 40 commits or 10 s of it at most: while no link is up and that lasts, a sender that
    /// waits for its answer gets it at once. A commit of 512 KB or more does not wait.
    pub commit_after: Duration,
    /// Bytes that may be written a day (UTC). From half of it on `commit_after` grows, to a minute when it is used up; nothing is
    /// dropped for it. While no link confirms, a sender that asks for `stored` waits so much longer. Without it there is no budget.
    pub daily_budget: Option<u64>,
    /// Topics whose last message is kept in memory for `/api/topics` and for replies; those that were silent for longest give way, also
    /// when all of them have more than 1 MB. 0 keeps none.
    pub last_values: usize,
}

/// What one outlet says of its own place in the buffer; what it does not say is as in `[buffer]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BufferLimits {
    /// Messages; 0 is no bound.
    pub max_messages: Option<u64>,
    /// A message that is older is given up, counted and announced as a gap; zero holds it for ever.
    pub ttl: Option<Duration>,
    /// What gives way when it is full.
    pub when_full: Option<WhenFull>,
}

/// What bounds one outlet's place in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Messages; 0 is no bound.
    pub max_messages: u64,
    /// A message that is older is given up; none holds it for ever.
    pub ttl: Option<Duration>,
    /// What gives way when it is full.
    pub when_full: WhenFull,
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
            ttl: Duration::ZERO,
            when_full: WhenFull::DropOldest,
            commit_after: Duration::from_millis(250),
            daily_budget: None,
            last_values: 1000,
        }
    }
}

impl Buffer {
    pub(super) fn read(table: &mut Table) -> Buffer {
        let default = Buffer::default();
        Buffer {
            max_bytes: table.value(
                "max_bytes",
                default.max_bytes,
                value::bytes(8_000_000..=1_000_000_000_000),
            ),
            max_messages: table.value("max_messages", default.max_messages, value::number(MESSAGES)),
            ttl: table.value("ttl", default.ttl, ttl()),
            when_full: table.value("when_full", default.when_full, value::word(WHEN_FULL)),
            commit_after: table.value("commit_after", default.commit_after, value::duration(10..=60_000)),
            daily_budget: table.optional("daily_budget", value::bytes(1_000_000..=1_000_000_000_000)),
            last_values: table.value("last_values", default.last_values, value::number(0..=10_000)),
        }
    }

    /// The bounds of an outlet that says this of its place.
    pub fn bounds(&self, place: BufferLimits) -> Bounds {
        let ttl = place.ttl.unwrap_or(self.ttl);
        Bounds {
            max_messages: place.max_messages.unwrap_or(self.max_messages),
            ttl: (!ttl.is_zero()).then_some(ttl),
            when_full: place.when_full.unwrap_or(self.when_full),
        }
    }

    pub(super) fn lines(&self) -> Lines {
        vec![
            ("max_bytes", Some(render::string(&render::bytes(self.max_bytes)))),
            ("max_messages", Some(self.max_messages.to_string())),
            ("ttl", Some(render::string(&render::duration(self.ttl)))),
            ("when_full", Some(render::word(WHEN_FULL, self.when_full))),
            ("commit_after", Some(render::string(&render::duration(self.commit_after)))),
            ("daily_budget", self.daily_budget.map(|bytes| render::string(&render::bytes(bytes)))),
            ("last_values", Some(self.last_values.to_string())),
        ]
    }
}

impl BufferLimits {
    pub(super) fn read(table: &mut Table) -> BufferLimits {
        BufferLimits {
            max_messages: table.optional("max_messages", value::number(MESSAGES)),
            ttl: table.optional("ttl", ttl()),
            when_full: table.optional("when_full", value::word(WHEN_FULL)),
        }
    }

    pub(super) fn rendered(&self) -> String {
        render::inline(&[
            ("max_messages", self.max_messages.map(|messages| messages.to_string())),
            ("ttl", self.ttl.map(|ttl| render::string(&render::duration(ttl)))),
            ("when_full", self.when_full.map(|when_full| render::word(WHEN_FULL, when_full))),
        ])
    }
}

/// How long a message may be held: a second to a hundred years, or for ever.
fn ttl() -> impl Fn(&Node, &Reading) -> Result<Duration, String> {
    value::duration_or_zero(1000..=36_525 * value::DAY)
}
