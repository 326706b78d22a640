//! The bounds of the buffer: when it is full, and who gives way.

use super::{Buffer, BufferEffect, COMMIT_BYTES_MAX, count};
use crate::config::buffer::WhenFull;
use crate::logic::disk::DiskOrder;
use crate::logic::notice::Notice;
use crate::logic::outbox::Outbox;

/// Dropping less at once costs more writes than it keeps messages.
const DROP_BYTES_MIN: u64 = 64 * 1024;

impl Buffer {
    /// Whether one of these outlets, or the store as a whole, takes nothing more.
    pub(super) fn has_reached_bound(&self, outlets: &[usize]) -> bool {
        let messages = self.rule.max_messages;
        let crowded = |outlet: &usize| messages > 0 && self.outboxes[*outlet].unconfirmed() >= messages;
        outlets.iter().any(crowded) || self.excess(count(self.memory_bytes())) > 0
    }

    /// Notes that something had to give way, or was refused.
    pub(super) fn became_full(&mut self, out: &mut Vec<BufferEffect>) {
        if !std::mem::replace(&mut self.full, true) {
            out.push(BufferEffect::Note(Notice::BufferFull(true)));
        }
    }

    /// Notes that there is room again, once a quarter is free: at its bound a buffer is full all the time, although each
    /// drop makes some room.
    pub(super) fn look_for_room(&mut self, out: &mut Vec<BufferEffect>) {
        let messages = self.rule.max_messages;
        let roomy = |outbox: &Outbox| messages == 0 || outbox.unconfirmed() < messages - messages / 4;
        let quarter = self.live_bytes_max() / 4;
        if self.full
            && self.excess(count(self.memory_bytes()) + quarter) == 0
            && self.outboxes.iter().all(roomy)
        {
            self.full = false;
            out.push(BufferEffect::Note(Notice::BufferFull(false)));
        }
    }

    /// Bytes of entries in one commit of one outlet: a small store must not give up most of what it has for them.
    pub(super) fn commit_bytes_max(&self) -> usize {
        usize::try_from(self.live_bytes_max() / 4)
            .map_or(COMMIT_BYTES_MAX, |bytes| bytes.min(COMMIT_BYTES_MAX))
    }

    /// Bytes by which the store would be above its bound with so many bytes more.
    fn excess(&self, more: u64) -> u64 {
        let live: u64 = self.outboxes.iter().map(|outbox| outbox.held().bytes).sum();
        (live + more).saturating_sub(self.live_bytes_max())
    }

    /// Bytes of values that fit below the bound on the files. Measured over many rounds of filling and dropping: sled's log
    /// takes at most 2.5 times the values and 5 MB. It never shrinks, so its size does not tell what is free; but where it
    /// comes close to the bound all the same, that much less is held, and what is free in it is used.
    fn live_bytes_max(&self) -> u64 {
        let max = self.rule.max_bytes;
        let usual = max.saturating_sub(5_000_000) / 25 * 10;
        let too_close = self.facts.disk_bytes.saturating_sub(max - max / 8);
        usual.saturating_sub(too_close).max(usual / 8)
    }

    /// Drops the oldest messages if what waits would not fit. True while that is under way.
    pub(super) fn make_room(&mut self, out: &mut Vec<BufferEffect>) -> bool {
        if self.rule.when_full != WhenFull::DropOldest {
            return false;
        }
        let Some((outlet, bytes)) = self.surplus() else { return false };
        self.became_full(out);
        self.dropping = true;
        out.push(BufferEffect::Disk(DiskOrder::DropOldest { outlet, bytes }));
        true
    }

    /// The outlet that has to give way and by how many bytes: the largest when bytes are short, else one above its count.
    fn surplus(&self) -> Option<(usize, u64)> {
        let max = self.rule.max_messages;
        let excess = self.excess(count(self.memory_bytes().min(self.commit_bytes_max())));
        let holding = || self.outboxes.iter().enumerate().filter(|(_, outbox)| outbox.held().messages > 0);
        let (outlet, bytes) = if excess > 0 {
            (holding().max_by_key(|(_, outbox)| outbox.held().bytes)?.0, excess)
        } else {
            let (outlet, outbox) = holding().find(|(_, outbox)| max > 0 && outbox.unconfirmed() > max)?;
            let per_message = (outbox.held().bytes / outbox.held().messages).max(1);
            (outlet, (outbox.unconfirmed() - max) * per_message)
        };
        // Some more than needed, so that not every commit has to drop; but never most of what is held.
        let held = self.outboxes[outlet].held().bytes;
        Some((outlet, bytes + DROP_BYTES_MIN.max(held / 64).min(held / 8)))
    }
}
