//! Numbers that the peer refused. The message is to be found among the dead letters before its number counts as confirmed,
//! whatever the peer says of those behind it.

use super::{InFlight, OutletQueue};

impl OutletQueue {
    /// The peer refused this number: only a gap is sent for it from here on.
    pub fn refuse(&mut self, seq: u64) {
        self.refused.insert(seq);
        self.leaving.insert(seq);
    }

    /// The refused message is among the dead letters, or nothing is left of it.
    pub fn left(&mut self, seq: u64) {
        self.leaving.remove(&seq);
    }

    /// One behind this message is sent in its place.
    pub fn skip(&mut self, seq: u64, sent: u64) {
        if !self.skipped.contains(&(seq, sent)) {
            self.skipped.push((seq, sent));
            self.skips_saved = false;
        }
    }

    /// Messages in whose place one behind them was sent, each with that one.
    pub fn skipped(&self) -> &[(u64, u64)] {
        &self.skipped
    }

    /// Whether the disk knows of all of them.
    pub fn skips_are_saved(&self) -> bool {
        self.skips_saved
    }

    /// The disk knows of these.
    pub fn skips_on_disk(&mut self, skipped: &[(u64, u64)]) {
        self.skips_saved = self.skipped.iter().all(|skip| skipped.contains(skip));
    }

    /// The same, with what an earlier run has skipped.
    pub fn skipping(self, skipped: Vec<(u64, u64)>) -> OutletQueue {
        OutletQueue { skipped, ..self }
    }

    /// Those of them that a peer which has everything up to this number cannot have.
    pub fn skipped_before(&self, seq: u64) -> Vec<u64> {
        let passed = self.skipped.iter().filter(|(own, sent)| *sent <= seq && self.is_refusable(*own));
        passed.map(|(own, _)| *own).collect()
    }

    /// Whether a peer can refuse it: it may have got it, has not confirmed it and did not refuse it before.
    pub fn is_refusable(&self, seq: u64) -> bool {
        let open = seq > self.confirmed && !self.done.holds(seq, seq);
        open && seq <= self.ever_sent && !self.refused.contains(&seq)
    }

    /// Whether this number was refused and need not be sent any more.
    pub(super) fn has_left(&self, seq: u64) -> bool {
        self.refused.contains(&seq) && !self.leaving.contains(&seq)
    }

    /// Notes that these numbers need not be sent any more, as far as they are not still leaving.
    pub(super) fn account_all_but_leaving(&mut self, from: u64, to: u64) {
        let mut next = from;
        for leaving in self.leaving.range(from..=to).copied().collect::<Vec<_>>() {
            if next < leaving {
                self.account(next, leaving - 1);
            }
            next = leaving + 1;
        }
        if next <= to {
            self.account(next, to);
        }
    }

    /// First number of which the peer may still have to hear: behind a refused one it may have confirmed others already.
    pub(super) fn first_open(&self) -> u64 {
        let mut first = self.confirmed + 1;
        let mut behind = first;
        while self.leaving.contains(&behind) {
            behind += 1;
            let next = self.done.first_missing_from(behind);
            if next > behind {
                (first, behind) = (next, next);
            }
        }
        first
    }

    /// Whether the peer has said all that it will say of what was sent.
    pub(super) fn is_answered(&self, flying: &InFlight) -> bool {
        let mut open = flying.from.max(self.confirmed + 1);
        while open <= flying.to {
            let next =
                if self.leaving.contains(&open) { open + 1 } else { self.done.first_missing_from(open) };
            if next == open {
                return false;
            }
            open = next;
        }
        true
    }
}
