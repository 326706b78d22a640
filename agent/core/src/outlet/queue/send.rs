//! Order of sending: fresh messages, and beside them the backlog, if the link does not keep the order.

use super::reader::{Reader, Taken, Want};
use super::{Backlog, InFlight, OutletQueue, Room};
use crate::config::replay::{Order, Replay};
use crate::message::{Body, Entry, GapReason};
use crate::outlet::replay_limiter::ReplayLimiter;

/// Where the next fresh entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Store,
    Memory,
}

impl Room {
    fn is_left(&self) -> bool {
        self.messages > 0 && (self.idle || self.bytes > 0)
    }

    fn use_up(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.idle = false;
    }
}

impl OutletQueue {
    /// The link is up: what is held is sent as its replay says.
    pub fn connected(&mut self, replay: &Replay) {
        let Some((first, last)) = self.held.range.filter(|(_, last)| *last > self.confirmed) else { return };
        if replay.keeps_order() {
            return;
        }
        self.fresh.reset(self.done.last().unwrap_or(0).max(last));
        let (reader, end) = match replay.order {
            Order::Fifo => (Reader::behind(self.confirmed), last),
            Order::NewestFirst => (Reader::down_from(last), first.max(self.confirmed + 1)),
        };
        self.backlog = Some(Backlog { reader, end });
    }

    /// Takes the next entries to send, as far as there is room and the pace lets them. `sent` counts what was sent on this
    /// connection.
    pub fn take(&mut self, room: &mut Room, pace: &mut ReplayLimiter, sent: &mut u64) -> Vec<Entry> {
        let mut taken = Vec::new();
        while room.is_left() {
            let Some(Taken { entry, from, to }) = self.next_entry(pace) else { break };
            let weight = entry.weight();
            self.ever_sent = self.ever_sent.max(to);
            *sent += 1;
            self.flight.push_back(InFlight { ordinal: *sent, seq: entry.seq, from, to, weight });
            self.flight_bytes += weight;
            room.use_up(weight);
            taken.push(entry);
        }
        taken
    }

    fn next_entry(&mut self, pace: &mut ReplayLimiter) -> Option<Taken> {
        loop {
            let fresh = self.next_fresh_at().filter(|at| *at == Origin::Memory || pace.is_open());
            let backlog = self.backlog.as_mut().filter(|backlog| backlog.reader.is_ready() && pace.is_open());
            let taken = match (fresh, backlog) {
                (None, None) => return None,
                (None, Some(backlog)) => backlog.reader.next()?,
                (Some(_), Some(backlog)) if !pace.picks_fresh() => backlog.reader.next()?,
                (Some(Origin::Store), _) => self.fresh.next()?,
                (Some(Origin::Memory), _) => self.next_in_memory()?,
            };
            if taken.entry.replayed {
                pace.spend(taken.entry.weight());
            }
            self.end_backlog();
            if let Some(taken) = self.unless_done(taken) {
                return Some(taken);
            }
        }
    }

    fn next_fresh_at(&mut self) -> Option<Origin> {
        if self.fresh.is_ready() {
            return Some(Origin::Store);
        }
        if self.held.range.is_some_and(|(_, last)| last > self.fresh.sent()) {
            return None;
        }
        // A commit that failed may have left its entries in the store, from where they were sent already.
        let sent = self.fresh.sent();
        while self.memory.get(self.memory_sent).is_some_and(|waiting| waiting.entry.last() <= sent) {
            self.memory_sent += 1;
        }
        (self.memory_sent < self.memory.len()).then_some(Origin::Memory)
    }

    fn next_in_memory(&mut self) -> Option<Taken> {
        let entry = self.memory.get(self.memory_sent)?.entry.clone();
        self.memory_sent += 1;
        Some(self.fresh.take(entry))
    }

    /// Leaves out messages that the peer has; of those that it refused only a gap is sent.
    fn unless_done(&self, mut taken: Taken) -> Option<Taken> {
        let (seq, last) = (taken.entry.seq, taken.entry.last());
        if last < self.first_open() || self.done.holds(seq, last) {
            return None;
        }
        // A gap keeps its reason: it stands for others, too.
        if self.refused.contains(&seq) && matches!(taken.entry.body, Body::Message(_)) {
            taken.entry.body = Body::Gap { to: last, reason: GapReason::Refused };
        }
        Some(taken)
    }

    /// Once all of the backlog is taken, numbers in it that nothing stands for are as good as confirmed.
    fn end_backlog(&mut self) {
        let Some(Backlog { reader, end }) = &self.backlog else { return };
        let at_end = if reader.is_falling() { reader.sent() <= *end } else { reader.sent() >= *end };
        if at_end && !reader.is_ready() {
            self.leave_backlog();
        }
    }

    fn leave_backlog(&mut self) {
        let Some(Backlog { reader, end }) = self.backlog.take() else { return };
        let end = if reader.is_falling() { self.confirmed + 1 } else { end };
        let (from, to) = reader.unaccounted(end);
        if from <= to {
            self.account(from, to);
        }
    }

    /// Entries at hand to be sent next, backlog first.
    pub fn waiting(&self) -> impl Iterator<Item = &Entry> {
        let backlog = self.backlog.iter().flat_map(|backlog| backlog.reader.ready());
        let memory = self.memory.iter().skip(self.memory_sent).map(|waiting| &waiting.entry);
        backlog.chain(self.fresh.ready()).chain(memory)
    }

    /// The next read of about this many bytes that is needed to go on sending.
    pub fn want(&mut self, max_bytes: usize) -> Option<Want> {
        let tokens = &mut self.tokens;
        let backlog = self.backlog.as_mut().and_then(|own| own.reader.want(own.end, max_bytes, tokens));
        backlog.or_else(|| self.fresh.want(self.held.range?.1, max_bytes, tokens))
    }

    /// Takes in what was read.
    pub fn read(&mut self, token: u64, mut entries: Vec<Entry>) {
        if let Some(Backlog { reader, end }) = &mut self.backlog
            && let Some(found) = reader.read(token, &mut entries, *end)
        {
            if !found {
                self.leave_backlog();
            }
            return;
        }
        if self.fresh.read(token, &mut entries, u64::MAX) == Some(false) {
            // The store believed in more than it has: those numbers can't come any more.
            let (_, last) = self.held.range.unwrap_or_default();
            self.fresh.skip_to(last.min(self.first_unsafe().saturating_sub(1)));
        }
    }

    /// Gives failed reads another chance.
    pub fn read_failed(&mut self) {
        self.fresh.read_failed();
        if let Some(backlog) = &mut self.backlog {
            backlog.reader.read_failed();
        }
    }
}
