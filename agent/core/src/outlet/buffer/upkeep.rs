//! What the disk is asked for beside commits: the reads of all outlets, a few at a time and in turn, and the removals of all
//! outlets together.

use super::{Buffer, BufferEffect};
use crate::ids::OutletId;
use crate::outlet::queue::{OutletQueue, Want};
use crate::outlet::store_protocol::StoreOrder;

/// How many reads the disk is asked for at the same time.
const READS: usize = 8;
/// Bytes of entries that all outlets together read ahead.
const AHEAD_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of entries in one read: smaller ones cost more than they carry, larger ones keep the others waiting.
const READ_BYTES_MIN: usize = 16 * 1024;
const READ_BYTES_MAX: usize = 256 * 1024;

/// The reads that are under way, and whose turn is next.
#[derive(Debug, Default)]
pub(super) struct Reads {
    under_way: usize,
    turn: usize,
}

impl Reads {
    /// One of them has ended.
    pub(super) fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }
}

impl Buffer {
    /// Orders the removal of all that is confirmed, one order at a time: what is confirmed meanwhile shares the next.
    pub(super) fn remove_confirmed(&mut self, out: &mut Vec<BufferEffect>) {
        if self.queues().any(OutletQueue::is_forgetting) {
            return;
        }
        let all = self.outlets.pairs_mut();
        let parts: Vec<_> = all.filter_map(|(id, outlet)| Some((id, outlet.queue.forget()?))).collect();
        if !parts.is_empty() {
            out.push(BufferEffect::Disk(StoreOrder::Forget { parts }));
        }
    }

    /// Orders the next reads, each outlet in its turn.
    pub(super) fn read_ahead(&mut self, out: &mut Vec<BufferEffect>) {
        let count = self.outlets.len();
        let readers = self.outlets.iter().filter(|outlet| outlet.is_up && outlet.is_behind());
        let share = AHEAD_BYTES / readers.count().max(1);
        let max_bytes = share.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        let mut passed = 0;
        while passed < count && self.reads.under_way < READS {
            let id = OutletId(self.reads.turn % count);
            self.reads.turn = id.0 + 1;
            let outlet = &mut self.outlets[id];
            let want = if outlet.is_up { outlet.queue.want(max_bytes) } else { None };
            match want {
                Some(want) => {
                    passed = 0;
                    self.reads.under_way += 1;
                    out.push(BufferEffect::Disk(read(id, want)));
                }
                None => passed += 1,
            }
        }
    }
}

fn read(outlet: OutletId, want: Want) -> StoreOrder {
    let Want { from, falling, max_bytes, token } = want;
    StoreOrder::Read { outlet, from, falling, max_bytes, token }
}
