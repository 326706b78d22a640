//! The numbers of all outlets: how many are reserved on the disk, and how far they were given.

use super::{Buffer, BufferEffect, Start};
use crate::ids::OutletId;
use crate::link::frame_limit::KeptLimit;
use crate::outlet::given::{self, Given, OutletGiven};
use crate::outlet::queue::OutletQueue;
use crate::outlet::store_protocol::{SequenceRange, Sequences, StoreOrder};
use crate::time::Time;

impl Buffer {
    /// The numbers as a run that ends in order leaves them.
    pub fn last_numbers(&self) -> Sequences {
        Sequences { clean: true, ..self.numbers_in_use() }
    }

    /// What is kept of the largest frame that the peer of this link takes.
    pub fn frame_limit(&self, link: &str) -> Option<&KeptLimit> {
        self.base.frame_limits.get(link)
    }

    /// Keeps what the peer of this link has shown of it.
    pub fn keep_frame_limit(&mut self, link: &str, places: Vec<String>, bytes: usize) {
        let kept = KeptLimit { places, bytes: bytes as u64, session: self.base.session };
        self.base.frame_limits.insert(link.to_owned(), kept);
        self.reserve.note();
    }

    /// Reserves more numbers on the disk if few are left.
    pub(super) fn reserve_numbers(&mut self, now: Time, out: &mut Vec<BufferEffect>) {
        if self.start == Start::Gaps {
            return;
        }
        let left = self.queues().map(OutletQueue::numbers_left).min().unwrap_or(u64::MAX);
        let left = left.min(self.ids.end.saturating_sub(self.ids.next));
        // A disk that failed is tried with the numbers, also when nothing else waits for it.
        let left = if self.failure.is_some() { 0 } else { left };
        let saves_skips = !self.reserve.is_under_way() && !self.queues().all(OutletQueue::skips_are_saved);
        if !saves_skips && !self.reserve.has_news() && !self.reserve.is_due(left) {
            return;
        }
        let size = self.reserve.size(now, self.ids.next);
        let mut numbers = Sequences { clean: false, ..self.numbers_in_use() };
        for outbox in self.queues() {
            let block = SequenceRange { next: outbox.first_unsafe(), end: outbox.block().next + size };
            let confirmed = Some(outbox.confirmed());
            let entry = numbers.outlets.entry(outbox.name.clone());
            entry.and_modify(|outlet| (outlet.block, outlet.confirmed) = (block, confirmed));
        }
        numbers.ids.end += size;
        self.reserve.begin(&numbers);
        out.push(BufferEffect::Disk(StoreOrder::SaveNumbers(numbers)));
    }

    /// The numbers that were reserved are on the disk: they may be used.
    pub(super) fn numbers_saved(&mut self) {
        let Some(numbers) = self.reserve.ended(true) else { return };
        self.start = Start::Done;
        self.ids.end = numbers.ids.end;
        for outbox in self.queues_mut() {
            // One that came since has none yet, or those of its earlier life.
            if let Some(own) = numbers.outlets.get(&outbox.name) {
                outbox.grant(own.block.end);
                outbox.skips_on_disk(&own.skipped);
            }
        }
        self.make_usable();
    }

    /// What was given of the numbers that the disk knows until now.
    pub fn given(&self) -> Given {
        let outlets = self.outlets.ids().map(|outlet| self.given_of(outlet)).collect();
        Given { run: self.run_on_disk, ids: self.ids.next, outlets }
    }

    pub(super) fn given_of(&self, outlet: OutletId) -> OutletGiven {
        let outbox = &self.outlets[outlet].queue;
        self.volatile.left(outlet).unwrap_or_else(|| OutletGiven {
            tag: given::tag(&outbox.name),
            unconfirmed: outbox.confirmed() + 1,
            next: outbox.block().next,
        })
    }

    fn numbers_in_use(&self) -> Sequences {
        let ids = SequenceRange { next: self.ids.next, end: self.ids.next };
        let mut numbers = Sequences { ids, ..self.base.clone() };
        for outbox in self.queues() {
            let next = outbox.block().next;
            let (block, confirmed) = (SequenceRange { next, end: next }, Some(outbox.confirmed()));
            let skipped = outbox.skipped().to_vec();
            let entry = numbers.outlets.entry(outbox.name.clone());
            entry.and_modify(|own| (own.block, own.confirmed, own.skipped) = (block, confirmed, skipped));
        }
        numbers
    }
}
