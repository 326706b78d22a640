//! A run without numbers of its own on the disk: it was started where nothing can be written, or the numbers that it had reserved
//! there are used up. A number that is not reserved must never be given under an epoch that a later run goes on with, so what is
//! new goes out under epochs that end with this run, once all that was held is delivered under the old ones. Nothing of it goes
//! to the disk; when that can be written again, another run takes over.

use std::collections::BTreeMap;

use super::{Buffer, BufferEffect, Start};
use crate::ids::{LinkId, OutletId};
use crate::outlet::given::OutletGiven;
use crate::outlet::queue::OutletQueue;
use crate::outlet::store_protocol::{Opened, SequenceRange, StoreOrder};
use crate::time::{Now, Time};

/// With fewer numbers left an outlet needs others: more than any source hands over at once.
const NUMBERS_LEAST: u64 = 10_000;

/// What such a run has.
#[derive(Debug, Default)]
pub(super) struct Volatile {
    is_on: bool,
    /// Names for epochs that nobody has.
    new_epochs: Vec<String>,
    /// What was given under the epochs that are left, which are those that the disk knows.
    left: BTreeMap<OutletId, OutletGiven>,
    /// Another run may take over.
    is_over: bool,
}

impl Volatile {
    /// `new_epochs` are names for epochs, those of new outlets among them.
    pub(super) fn new(new_epochs: &[String], opened: &Opened) -> Volatile {
        let known =
            |name: &String| opened.numbers.as_ref().is_some_and(|numbers| numbers.outlets.contains_key(name));
        let unused =
            opened.outlets.iter().zip(new_epochs).filter(|(name, _)| known(name)).map(|(_, birth)| birth);
        let new_epochs = unused.chain(new_epochs.iter().skip(opened.outlets.len())).cloned().collect();
        Volatile { is_on: opened.facts.read_only.is_some(), new_epochs, ..Volatile::default() }
    }

    /// What an outlet had given under the epoch that the disk knows, if that is left.
    pub(super) fn left(&self, outlet: OutletId) -> Option<OutletGiven> {
        self.left.get(&outlet).copied()
    }

    pub(super) fn reopened(&mut self) {
        self.is_over = self.is_on;
    }
}

/// Names the run whose numbers are on the disk once this one has begun: none but its own where it can write.
pub(super) fn run_on_disk(opened: &Opened, run: u64) -> u64 {
    match &opened.facts.read_only {
        Some(_) => opened.numbers.as_ref().map_or(0, |numbers| numbers.run),
        None => run,
    }
}

impl Buffer {
    /// Whether nothing of this run goes to the disk.
    pub fn is_volatile(&self) -> bool {
        self.volatile.is_on
    }

    /// Whether an outlet goes on under an epoch that ends with this run.
    pub fn is_reborn(&self, outlet: OutletId) -> bool {
        self.volatile.left(outlet).is_some()
    }

    /// Whether another run should take over, since the disk can be written.
    pub fn is_over(&self) -> bool {
        self.volatile.is_over
    }

    /// Begins such a run, if it is one.
    pub(super) fn start_volatile(&mut self, wall_ns: u64) {
        if self.is_volatile() {
            self.start = Start::Done;
            self.extend_ids(wall_ns);
            // No link has seen an epoch yet.
            self.renumber();
        }
    }

    /// Gives every outlet that needs it another epoch, once there is nothing left of the one before. Tells for
    /// which links.
    pub fn renumber(&mut self) -> Vec<LinkId> {
        let is_used_up = |outbox: &OutletQueue| outbox.numbers_left() < NUMBERS_LEAST;
        if !self.is_volatile() {
            let cannot_reserve = self.facts.read_only.is_some() && self.failure.is_some();
            let left = self.ids.end.saturating_sub(self.ids.next);
            let needs = left < NUMBERS_LEAST || self.queues().take(self.usable).any(is_used_up);
            self.volatile.is_on = cannot_reserve && self.start == Start::Done && needs;
        }
        let mut reborn = Vec::new();
        let renewed = if self.is_volatile() { self.usable } else { 0 };
        for id in self.outlets.ids().take(renewed) {
            let given = self.given_of(id);
            let outlet = &mut self.outlets[id];
            if is_used_up(&outlet.queue)
                && outlet.queue.is_bare()
                && let Some(birth) = self.volatile.new_epochs.pop()
            {
                outlet.queue.be_reborn(birth);
                outlet.expiry.forget();
                self.volatile.left.insert(id, given);
                reborn.push(outlet.owner.link);
            }
        }
        reborn
    }

    /// Sees to it that there are ids which no run gives, as far as the clock can tell.
    pub(super) fn extend_ids(&mut self, wall_ns: u64) {
        if self.is_volatile() && self.ids.end.saturating_sub(self.ids.next) < NUMBERS_LEAST {
            self.ids = SequenceRange { next: self.ids.next.max(wall_ns / 1000), end: u64::MAX };
        }
    }

    /// Asks whether the disk can be written.
    pub(super) fn reopen(&mut self, out: &mut Vec<BufferEffect>) {
        if !self.is_over() {
            out.push(BufferEffect::Disk(StoreOrder::Reopen));
        }
    }

    /// Whether an outlet's link is taken to confirm what the disk does not take: everything before is sent, and what was sent
    /// is confirmed soon.
    pub(super) fn confirms(&self, outlet: OutletId, now: Now) -> bool {
        let outbox = &self.outlets[outlet].queue;
        let soon = |at: Time| now.mono < at + super::health::CONFIRMS_WITHIN;
        self.outlets[outlet].is_up && !outbox.is_behind(true) && outbox.oldest_in_memory().is_none_or(soon)
    }
}
