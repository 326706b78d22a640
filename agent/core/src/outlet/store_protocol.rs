//! What the decisions and the store's thread say to each other. The disk is a peer like any other: an order goes out,
//! a report comes back, and only then is anything believed.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::OutletId;
use crate::link::frame_limit::KeptLimit;
use crate::message::{Entry, Message, Stamp};
use crate::observe::meter::Count;
use crate::outlet::age::Limit;
use crate::outlet::given::Given;

/// An order to the store's thread. Orders are carried out, and reported, in the order in which they are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreOrder {
    /// Writes entries behind what the outlets hold already, then flushes and syncs once. Reported as `Appended`.
    Append {
        /// Outlet and its entries, in rising `seq`.
        parts: Vec<(OutletId, Vec<Entry>)>,
    },
    /// Reads entries with `seq >= from`, or those with `seq <= from` from the highest downwards. Reported as `Read`.
    Read {
        /// Outlet to read.
        outlet: OutletId,
        /// First number wanted.
        from: u64,
        /// Whether they are wanted from there downwards.
        falling: bool,
        /// About how many bytes of entries to return; at least one entry if there is one.
        max_bytes: usize,
        /// Comes back in the report, so that a stale one can be told.
        token: u64,
    },
    /// Removes every group that lies within one of these ranges; flushed at once, synced within a second. Reported as
    /// `Forgot`.
    Forget {
        /// Each outlet that needs some no more, with the first and last of confirmed numbers, rising; its first range begins
        /// below all others.
        parts: Vec<(OutletId, Vec<(u64, u64)>)>,
    },
    /// Replaces the oldest groups, at least `bytes` of them, by one gap entry. Reported as `Dropped`.
    DropOldest {
        /// Outlet that loses them.
        outlet: OutletId,
        /// Least number of stored bytes to free.
        bytes: u64,
    },
    /// Replaces the groups at the front whose messages are all too old by one gap entry. Reported as `Expired`.
    Expire {
        /// Outlet that loses them.
        outlet: OutletId,
        /// What is too old.
        limit: Limit,
    },
    /// Copies a refused message to the dead letters, synced. Reported as `SetAside`.
    SetAside {
        /// Outlet whose peer refused it.
        outlet: OutletId,
        /// Its number there.
        seq: u64,
        /// The peer's words.
        reason: String,
        /// The message if it is still in memory, else it is looked up in the store.
        message: Option<Arc<Message>>,
    },
    /// Replaces the numbers file, synced. Reported as `NumbersSaved`.
    SaveNumbers(Sequences),
    /// Replaces the presence file, synced. Reported as `PresenceSaved`.
    SavePresence(Vec<u8>),
    /// Replaces the file about the clocks, synced. Reported as `ClocksSaved`.
    SaveClocks(Vec<u8>),
    /// Opens places for more outlets, which come behind those that it has. Reported as `Widened`.
    Widen {
        /// Their names.
        outlets: Vec<String>,
    },
    /// Looks whether an agent that was started without a writable store could have one. Reported as `Reopened`.
    Reopen,
    /// Looks how the store and its file system stand. Reported as `Measured`.
    Measure,
    /// Syncs, closes and ends the thread. Reported as `Closed`.
    Close,
}

/// Which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOrderKind {
    /// [`StoreOrder::Append`].
    Append,
    /// [`StoreOrder::Read`].
    Read,
    /// [`StoreOrder::Forget`].
    Forget,
    /// [`StoreOrder::DropOldest`].
    DropOldest,
    /// [`StoreOrder::Expire`].
    Expire,
    /// [`StoreOrder::SetAside`].
    SetAside,
    /// [`StoreOrder::SaveNumbers`].
    SaveNumbers,
    /// [`StoreOrder::SavePresence`].
    SavePresence,
    /// [`StoreOrder::SaveClocks`].
    SaveClocks,
    /// [`StoreOrder::Widen`].
    Widen,
    /// [`StoreOrder::Reopen`].
    Reopen,
    /// [`StoreOrder::Measure`].
    Measure,
    /// [`StoreOrder::Close`].
    Close,
}

impl StoreOrder {
    /// Which order it is, and the outlet of one that concerns a single outlet.
    pub fn kind(&self) -> (StoreOrderKind, Option<OutletId>) {
        match self {
            StoreOrder::Append { .. } => (StoreOrderKind::Append, None),
            StoreOrder::Read { outlet, .. } => (StoreOrderKind::Read, Some(*outlet)),
            StoreOrder::Forget { .. } => (StoreOrderKind::Forget, None),
            StoreOrder::DropOldest { outlet, .. } => (StoreOrderKind::DropOldest, Some(*outlet)),
            StoreOrder::Expire { outlet, .. } => (StoreOrderKind::Expire, Some(*outlet)),
            StoreOrder::SetAside { outlet, .. } => (StoreOrderKind::SetAside, Some(*outlet)),
            StoreOrder::SaveNumbers(_) => (StoreOrderKind::SaveNumbers, None),
            StoreOrder::SavePresence(_) => (StoreOrderKind::SavePresence, None),
            StoreOrder::SaveClocks(_) => (StoreOrderKind::SaveClocks, None),
            StoreOrder::Widen { .. } => (StoreOrderKind::Widen, None),
            StoreOrder::Reopen => (StoreOrderKind::Reopen, None),
            StoreOrder::Measure => (StoreOrderKind::Measure, None),
            StoreOrder::Close => (StoreOrderKind::Close, None),
        }
    }
}

impl Display for StoreOrderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreOrderKind::Append => "append",
            StoreOrderKind::Read => "read",
            StoreOrderKind::Forget => "forget",
            StoreOrderKind::DropOldest => "drop",
            StoreOrderKind::Expire => "expire",
            StoreOrderKind::SetAside => "set aside",
            StoreOrderKind::SaveNumbers => "save numbers",
            StoreOrderKind::SavePresence => "save presence",
            StoreOrderKind::SaveClocks => "save clocks",
            StoreOrderKind::Widen => "widen",
            StoreOrderKind::Reopen => "reopen",
            StoreOrderKind::Measure => "measure",
            StoreOrderKind::Close => "close",
        })
    }
}

/// What the store's thread answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreReport {
    /// All entries of the order are on the disk for good.
    Appended,
    /// Entries read, in the order that was wanted; fewer than asked for only at the end of what is held.
    Read {
        /// Outlet that was read.
        outlet: OutletId,
        /// The order's token.
        token: u64,
        /// What was found.
        entries: Vec<Entry>,
    },
    /// Confirmed groups are removed.
    Forgot,
    /// The oldest groups made room.
    Dropped {
        /// Outlet that lost them.
        outlet: OutletId,
        /// How many messages were lost (gaps that were merged do not count again).
        messages: u64,
        /// The gap that stands in their place: first and last number, none when nothing was left to drop.
        gap: Option<(u64, u64)>,
    },
    /// The groups that were too old are gone.
    Expired {
        /// Outlet that lost them.
        outlet: OutletId,
        /// How many messages they had.
        messages: u64,
        /// The gap that stands in their place: first and last number, none when nothing was too old.
        gap: Option<(u64, u64)>,
    },
    /// People gave up everything that an outlet had in the store; no order of the agent's.
    Purged {
        /// Outlet that lost it.
        outlet: OutletId,
        /// How many messages were lost.
        messages: u64,
        /// The gap that stands in their place: first and last number, none when there was nothing.
        gap: Option<(u64, u64)>,
    },
    /// People dropped a dead letter; no order of the agent's.
    LetterDropped,
    /// The message is among the dead letters (`found` tells whether there was one).
    SetAside {
        /// Outlet whose peer refused it.
        outlet: OutletId,
        /// Its number there.
        seq: u64,
        /// Whether the message could be found.
        found: bool,
    },
    /// The numbers file is on the disk.
    NumbersSaved,
    /// The presence file is on the disk.
    PresenceSaved,
    /// The file about the clocks is on the disk.
    ClocksSaved,
    /// There is a place for each of the outlets, and the facts tell what they hold.
    Widened,
    /// The store was opened anew and had to be repaired; no order of the agent's.
    Repaired {
        /// What was done, one sentence each.
        repairs: Vec<String>,
    },
    /// The store can be written, by another life of the agent.
    Reopened,
    /// The facts are fresh.
    Measured,
    /// The order could not be carried out; nothing of it counts. The store opens itself anew at the next order.
    Failed {
        /// What was asked.
        order: StoreOrderKind,
        /// Outlet of what concerns one.
        outlet: Option<OutletId>,
        /// The cause, with the path.
        error: String,
    },
    /// The thread has ended.
    Closed,
}

/// How the store stands; comes with every report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreFacts {
    /// Bytes of all files of the store.
    pub disk_bytes: u64,
    /// Bytes that are free on its file system, as far as that is known.
    pub free_bytes: Option<u64>,
    /// Files that can still be made there, as far as that is known and bounded.
    pub free_files: Option<u64>,
    /// Bytes written since the agent started (groups and files, as handed to the kernel; what sled adds is estimated
    /// from its files only when the kernel does not tell).
    pub written_bytes: u64,
    /// Syncs since the agent started.
    pub syncs: u64,
    /// What was written today.
    pub today: Count,
    /// What was ever written.
    pub total: Count,
    /// Messages among the dead letters.
    pub dead: u64,
    /// Groups that were found damaged and set aside since the store was born.
    pub damaged: u64,
    /// Per outlet, what it holds.
    pub held: Vec<Held>,
    /// Why the store can only be read, if so; what is confirmed is then remembered until it can be written.
    pub read_only: Option<String>,
}

/// What one outlet holds in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// First and last number, none when it holds nothing.
    pub range: Option<(u64, u64)>,
    /// Messages in it, gaps not counted.
    pub messages: u64,
    /// Bytes of the stored values.
    pub bytes: u64,
    /// Arrival time of the oldest message, UTC ns, 0 when there is none.
    pub oldest_ns: u64,
    /// When the newest message of its oldest group came, none when there is none.
    pub oldest_group: Option<Stamp>,
    /// Largest message id in it, 0 when there is none.
    pub last_id: u64,
}

/// What the store knew when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Names of the outlets, in the order of their numbers: those that were asked for, then lanes that an earlier
    /// configuration had and that may still hold something.
    pub outlets: Vec<String>,
    /// The numbers file, if there was a sound one.
    pub numbers: Option<Sequences>,
    /// What the run before had given, as far as the machine has not been started since.
    pub given: Option<Given>,
    /// The presence file, if there was a sound one.
    pub presence: Option<Vec<u8>>,
    /// The file about the clocks, if there was a sound one.
    pub clocks: Option<Vec<u8>>,
    /// How the store stands.
    pub facts: StoreFacts,
    /// What recovery had to do, one sentence each; empty after a normal start.
    pub repairs: Vec<String>,
    /// Names of other outlets that hold messages.
    pub left_behind: Vec<String>,
}

/// The numbers that must never be used twice, as they stand in the numbers file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequences {
    /// How often the agent has started.
    pub session: u64,
    /// Names the run that wrote this, by chance; 0 if it left nothing else of its numbers.
    #[serde(default)]
    pub run: u64,
    /// Message ids.
    pub ids: SequenceRange,
    /// Per outlet, by its name.
    pub outlets: BTreeMap<String, OutletSequence>,
    /// Per link, by the name of its outlet without a priority, what its peer has shown of its largest frame.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub frame_limits: BTreeMap<String, KeptLimit>,
    /// True when the run that wrote this ended in order, so that `next` is exact everywhere.
    pub clean: bool,
}

/// Numbers reserved ahead of use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRange {
    /// First number that had not been used when this was written.
    pub next: u64,
    /// First number that must not be used before another block is reserved.
    pub end: u64,
}

/// The numbers of one outlet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutletSequence {
    /// Names the life of these numbers (a ULID).
    pub epoch: String,
    /// Its block.
    pub block: SequenceRange,
    /// Everything up to this number was confirmed when this was written; none where that was not written down.
    #[serde(default)]
    pub confirmed: Option<u64>,
    /// Whether a run that had a place for it ended without an order, so that all of the block may be used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub torn: bool,
    /// Messages in whose place one behind them was sent, because the peer closes after them, each with that one: a peer that has
    /// the one behind says that it has both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<(u64, u64)>,
}

impl OutletSequence {
    /// The run ended without an order. Where nothing was reserved it had no place for the outlet and used no number.
    pub fn tear(&mut self) {
        self.torn |= self.block.next < self.block.end;
    }
}
