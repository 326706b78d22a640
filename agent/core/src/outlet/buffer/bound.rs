//! The bounds of the buffer: when it is full, and who gives way.

use std::cmp::Reverse;

use super::{Buffer, BufferEffect, COMMIT_BYTES_ALL, COMMIT_BYTES_MAX, Outlet, count};
use crate::config::buffer::WhenFull;
use crate::ids::{LinkId, OutletId, Table};
use crate::observe::log_event::LogEvent;
use crate::outlet::store_protocol::StoreOrder;
use crate::source::intake::Refused;

/// Dropping less at once costs more writes than it keeps messages.
const DROP_BYTES_MIN: u64 = 64 * 1024;
/// Room that is left to others, and to the store for its next opening; on a small file system a share of what there is.
const RESERVE_BYTES: u64 = 8 << 20;
const RESERVE_SHARE: u64 = 4;

impl Buffer {
    /// Which of these outlets give up what is new, because they are full. The error says that one of them refuses it.
    pub(super) fn closed(&self, outlets: &[OutletId]) -> Result<Vec<OutletId>, Refused> {
        let short = self.excess(count(self.waiting_bytes())) > 0;
        let full = |outlet: &OutletId| short || self.crowd(self.outlets[*outlet].owner.link) > 0;
        let mut closed = Vec::new();
        for outlet in outlets.iter().filter(|outlet| self.policy(**outlet) != WhenFull::DropOldest) {
            match (full(outlet), self.policy(*outlet)) {
                (true, WhenFull::Reject) => return Err(Refused::Full),
                (true, _) => closed.push(*outlet),
                (false, _) => {}
            }
        }
        // Others hold all there is, and give none of it up.
        if short && self.kept_bytes() >= self.live_bytes_max() {
            return Err(Refused::Full);
        }
        Ok(closed)
    }

    fn policy(&self, outlet: OutletId) -> WhenFull {
        self.outlets[outlet].owner.bounds.when_full
    }

    /// Bytes held by outlets that never give up what is old.
    fn kept_bytes(&self) -> u64 {
        let kept = self.outlets.ids().filter(|outlet| self.policy(*outlet) != WhenFull::DropOldest);
        kept.map(|outlet| self.outlets[outlet].queue.held().bytes).sum()
    }

    /// By how many messages a link would be above its bound with one more; 0 without a bound.
    fn crowd(&self, link: LinkId) -> u64 {
        let own = || self.outlets.iter().filter(|outlet| outlet.owner.link == link);
        let max = own().map(|outlet| outlet.owner.bounds.max_messages).next().unwrap_or(0);
        if max == 0 {
            return 0;
        }
        let messages: u64 = own().map(|outlet| outlet.queue.unconfirmed()).sum();
        (messages + 1).saturating_sub(max)
    }

    /// Notes that something had to give way, or was refused.
    pub(super) fn became_full(&mut self, out: &mut Vec<BufferEffect>) {
        if !std::mem::replace(&mut self.full, true) {
            out.push(BufferEffect::Note(LogEvent::BufferFull(true)));
        }
    }

    /// Notes that there is room again, once a quarter is free: at its bound a buffer is full all the time, although each
    /// drop makes some room.
    pub(super) fn look_for_room(&mut self, out: &mut Vec<BufferEffect>) {
        if !self.full {
            return;
        }
        let roomy = |outlet: &Outlet| {
            let max = outlet.owner.bounds.max_messages;
            if max == 0 {
                return true;
            }
            let own = self.outlets.iter().filter(|other| other.owner.link == outlet.owner.link);
            let messages: u64 = own.map(|outlet| outlet.queue.unconfirmed()).sum();
            messages < max - max / 4
        };
        let quarter = self.live_bytes_max() / 4;
        if self.excess(count(self.waiting_bytes()) + quarter) == 0 && self.outlets.iter().all(roomy) {
            self.full = false;
            out.push(BufferEffect::Note(LogEvent::BufferFull(false)));
        }
    }

    /// Bytes of entries that each outlet gives to the next commit. Those with little give all of it, the others share what is
    /// left; and a small store must not give up most of what it has for them.
    pub(super) fn commit_shares(&self) -> Table<OutletId, usize> {
        let all = usize::try_from(self.live_bytes_max() / 4);
        let mut left = all.map_or(COMMIT_BYTES_ALL, |bytes| bytes.min(COMMIT_BYTES_ALL));
        let mut by_bytes: Vec<OutletId> = self.outlets.ids().collect();
        by_bytes.sort_unstable_by_key(|outlet| self.outlets[*outlet].queue.memory_bytes());
        let mut shares = Table::from(vec![0; by_bytes.len()]);
        for (place, outlet) in by_bytes.iter().enumerate() {
            let share = (left / (by_bytes.len() - place)).min(COMMIT_BYTES_MAX);
            left -= share.min(self.outlets[*outlet].queue.memory_bytes());
            shares[*outlet] = share;
        }
        shares
    }

    /// Bytes of entries in the next commit.
    fn commit_bytes(&self) -> usize {
        let each = self.queues().zip(self.commit_shares());
        each.map(|(outbox, share)| outbox.memory_bytes().min(share)).sum()
    }

    /// Bytes by which the store would be above its bound with so many bytes more.
    fn excess(&self, more: u64) -> u64 {
        let live: u64 = self.queues().map(|outbox| outbox.held().bytes).sum();
        (live + more).saturating_sub(self.live_bytes_max())
    }

    /// Bytes that must give way to the next commit. What others write never drives out what is held: where the file system sets
    /// the bound, only what comes in does, and where others have left nothing, nothing is taken in.
    fn displaced(&self) -> u64 {
        let comes = count(self.commit_bytes());
        let excess = self.excess(comes);
        if self.shortage.is_some() {
            0
        } else if self.max_bytes() < self.rule.max_bytes {
            excess.min(comes)
        } else {
            excess
        }
    }

    /// Bytes of values that fit below the bound on the files. Measured over many rounds of filling and dropping: sled's log
    /// takes at most 2.5 times the values and 5 MB. It never shrinks, so its size does not tell what is free; but where it
    /// comes close to the bound all the same, that much less is held, and what is free in it is used.
    fn live_bytes_max(&self) -> u64 {
        let max = self.max_bytes();
        // A file system that has hardly anything to give still gives that.
        let least = if max < self.rule.max_bytes { max / 16 } else { 0 };
        let usual = (max.saturating_sub(5_000_000) / 25 * 10).max(least);
        let too_close = self.facts.disk_bytes.saturating_sub(max - max / 8);
        usual.saturating_sub(too_close).max(usual / 8)
    }

    /// The bound in force on the bytes of all files of the store: that of the configuration, or what the file system can give
    /// beside a reserve. The files never shrink, so dropping would give nothing back to others who fill the disk: what the
    /// store has it keeps.
    pub fn max_bytes(&self) -> u64 {
        let Some(free) = self.facts.free_bytes else { return self.rule.max_bytes };
        let own = self.facts.disk_bytes;
        let reserve = RESERVE_BYTES.min(own.saturating_add(free) / RESERVE_SHARE);
        own.saturating_add(free.saturating_sub(reserve)).min(self.rule.max_bytes)
    }

    /// Notes that the file system cannot give what the configuration allows, or that it can again.
    pub(super) fn note_bound(&mut self, out: &mut Vec<BufferEffect>) {
        let (bytes, configured) = (self.max_bytes(), self.rule.max_bytes);
        // What others write and remove must not fill the log.
        let is_short =
            if self.bounded_by_disk { bytes < configured } else { bytes < configured - configured / 16 };
        if std::mem::replace(&mut self.bounded_by_disk, is_short) != is_short {
            out.push(BufferEffect::Note(LogEvent::Bound { bytes, configured }));
        }
    }

    /// Drops the oldest messages if what waits would not fit. True while that is under way.
    pub(super) fn make_room(&mut self, out: &mut Vec<BufferEffect>) -> bool {
        let Some((outlet, bytes)) = self.surplus() else { return false };
        self.became_full(out);
        self.dropping = true;
        out.push(BufferEffect::Disk(StoreOrder::DropOldest { outlet, bytes }));
        true
    }

    /// The outlet that has to give way and by how many bytes: those of links that are gone first, then the lowest priority, then
    /// the largest; when bytes are short any, else one of a link that is above its count.
    fn surplus(&self) -> Option<(OutletId, u64)> {
        let excess = self.displaced();
        let gives = |outlet: &OutletId| {
            self.policy(*outlet) == WhenFull::DropOldest && self.outlets[*outlet].queue.held().messages > 0
        };
        let rank = |outlet: &OutletId| {
            let owner = self.outlets[*outlet].owner;
            (owner.gone, Reverse(owner.priority), self.outlets[*outlet].queue.held().bytes)
        };
        let giving = || self.outlets.ids().filter(gives);
        let (outlet, bytes) = if excess > 0 {
            (giving().max_by_key(rank)?, excess)
        } else {
            // One more than the bound is no surplus yet.
            let above = |outlet: &OutletId| self.crowd(self.outlets[*outlet].owner.link) > 1;
            let outlet = giving().filter(above).max_by_key(rank)?;
            let held = self.outlets[outlet].queue.held();
            (outlet, (self.crowd(self.outlets[outlet].owner.link) - 1) * (held.bytes / held.messages).max(1))
        };
        // Some more than needed, so that not every commit has to drop; but never most of what is held.
        let held = self.outlets[outlet].queue.held().bytes;
        Some((outlet, bytes + DROP_BYTES_MIN.max(held / 64).min(held / 8)))
    }
}
