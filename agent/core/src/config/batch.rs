//! `batch` of a `[[client]]` with an HTTP url: how much a request holds.

use std::time::Duration;

use super::render;
use super::table::Table;
use super::value;

/// How much a request holds. One is under way at a time, and what comes meanwhile goes together in the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Messages of a request, at most; 500 by default.
    pub messages: usize,
    /// Bytes of its body, at most, before they are compressed; 256 KB by default. A larger message goes alone. A server that answers 413 has it
    /// lowered by halves until the connection ends.
    pub bytes: usize,
    /// A batch that is not full waits so long for more; not at all by default. What waits longer than `commit_after` of the buffer is written to the disk.
    pub after: Duration,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { messages: 500, bytes: 256_000, after: Duration::ZERO }
    }
}

impl Batch {
    pub(super) fn read(table: &mut Table) -> Batch {
        let default = Batch::default();
        Batch {
            messages: table.value("messages", default.messages, value::number(1..=100_000)),
            bytes: table
                .optional("bytes", value::bytes(1_000..=1_000_000))
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(default.bytes),
            after: table.value("after", default.after, value::duration_or_zero(10..=3_600_000)),
        }
    }

    pub(super) fn rendered(&self) -> String {
        render::inline(&[
            ("messages", Some(self.messages.to_string())),
            ("bytes", Some(render::string(&render::bytes(self.bytes as u64)))),
            ("after", Some(render::string(&render::duration(self.after)))),
        ])
    }
}
