//! Questions and changes of people beside the agent's own orders: to look into the store, and to give something up. The store
//! answers whoever asks, a page at a time; what was given up it reports to the agent as well.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::message::{Entry, Message};
use crate::outlet::store_protocol::StoreFacts;

/// Question about the store. Each is answered within a page, so that a commit never waits long behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreQuery {
    /// How everything stands.
    Survey,
    /// The entries of an outlet, from a number on.
    Entries {
        /// Its name.
        outlet: String,
        /// First number wanted.
        from: u64,
    },
    /// Whether the groups of an outlet, from a number on, are sound.
    Groups {
        /// Its name.
        outlet: String,
        /// First number to be checked.
        from: u64,
    },
    /// Whether the files beside the database are sound.
    Files,
    /// The dead letters, from a number on.
    Letters {
        /// First number wanted.
        from: u64,
    },
}

/// Messages to give up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Everything that is stored for this outlet; a gap stands for it.
    Purge {
        /// Its name.
        outlet: String,
    },
    /// A dead letter.
    DropLetter {
        /// Its number.
        number: u64,
    },
}

/// Messages that come in again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reimport {
    /// Name of the outlet that they are for.
    pub outlet: String,
    /// At least one.
    pub messages: Vec<Message>,
}

/// Answer of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreAnswer {
    /// Answers `Survey`.
    Survey(Survey),
    /// Answers `Entries`.
    Entries {
        /// In rising `seq`. A group that cannot be read is a gap.
        entries: Vec<Entry>,
        /// Where to go on, none at the end.
        next: Option<u64>,
    },
    /// Answers `Groups` and `Files`.
    Checked(Checked),
    /// Answers `Letters`.
    Letters {
        /// With their numbers; none for a letter that cannot be read.
        letters: Vec<(u64, Option<DeadLetter>)>,
        /// Where to go on, none at the end.
        next: Option<u64>,
    },
}

/// How everything stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// The data directory.
    pub dir: String,
    /// How often the agent has started.
    pub sessions: u64,
    /// The outlets, in the order of `facts.held`.
    pub outlets: Vec<Outlet>,
    /// The facts that every report brings.
    pub facts: StoreFacts,
    /// Bytes of the dead letters.
    pub dead_bytes: u64,
    /// Damaged values that are kept to be looked at, and their bytes.
    pub damaged_kept: (u64, u64),
    /// Files that recovery has set aside, and their bytes.
    pub set_aside: Vec<(String, u64)>,
}

/// An outlet's name and the life of its numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlet {
    /// As in `client:cloud`.
    pub name: String,
    /// Empty as long as it has no numbers.
    pub epoch: String,
}

/// Result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Groups or files that were looked at.
    pub count: u64,
    /// Messages in them.
    pub messages: u64,
    /// Damages.
    pub damage: Vec<Damage>,
    /// Where to go on, none at the end.
    pub next: Option<u64>,
}

/// Something that cannot be read as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// An outlet with its numbers, or a file.
    pub place: String,
    /// Its fault.
    pub cause: String,
}

/// A message that a peer refused, as it lies on the disk: CBOR with names, so that any tool can read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The outlet whose peer it was.
    pub outlet: String,
    /// The message's number there.
    pub seq: u64,
    /// The peer's words.
    pub reason: String,
    /// When it was set aside, UTC ns.
    pub set_aside_ns: u64,
    /// The message.
    pub message: Arc<Message>,
}
