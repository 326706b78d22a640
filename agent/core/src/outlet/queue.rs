//! One outlet's place in the buffer: what it holds, from the oldest unconfirmed number to the newest.
//!
//! Numbers rise through three places: the store (`held`), then memory (`memory`), then what is not given yet (`block`).
//! A message leaves memory when it is safe: confirmed, or committed to the store. As a rule all is sent in order, and a
//! confirmation stands for everything before it. A link may instead send its backlog aside, next to what is fresh; then
//! what is confirmed ahead of the rest is kept in `done`.

mod leaving;
mod reader;
mod send;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use self::reader::Reader;
pub use self::reader::Want;
use crate::message::{Body, Entry, GapReason, Message};
use crate::outlet::range_set::RangeSet;
use crate::outlet::store_protocol::{Held, SequenceRange};
use crate::time::Time;

/// Room for more messages in flight on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Messages that may still be sent.
    pub messages: usize,
    /// Bytes that may still be sent.
    pub bytes: usize,
    /// Whether nothing is in flight: then one message may be sent however large it is.
    pub idle: bool,
}

/// Messages that an outlet gave up since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GivenUp {
    /// At a bound, or because people gave them up.
    pub dropped: u64,
    /// Because they became too old.
    pub expired: u64,
}

/// One outlet's place in the buffer.
#[derive(Debug, Clone)]
pub struct OutletQueue {
    /// Name in the store: `client:cloud`, `client:cloud/7`, `mqtt`.
    pub name: String,
    /// Names the life of the numbers.
    pub epoch: String,
    /// Messages that it gave up.
    pub given_up: GivenUp,
    block: SequenceRange,
    /// Everything up to here is confirmed, and what is in `done`.
    confirmed: u64,
    done: RangeSet,
    /// Numbers that the peer refused: only a gap is sent for them.
    refused: BTreeSet<u64>,
    /// Those of them that are not among the dead letters yet: until then none of them is confirmed.
    leaving: BTreeSet<u64>,
    /// Messages in whose place one behind them was sent, each with that one, and whether all of that is on the disk.
    skipped: Vec<(u64, u64)>,
    skips_saved: bool,
    /// Last number that a peer can have, on this or an earlier connection.
    ever_sent: u64,
    /// Messages that go out in order; behind the backlog, if there is one.
    fresh: Reader,
    backlog: Option<Backlog>,
    flight: VecDeque<InFlight>,
    flight_bytes: usize,
    /// Bytes of the largest entry that was confirmed in flight since it was asked for.
    largest_confirmed: usize,
    held: Held,
    tokens: u64,
    memory: VecDeque<Waiting>,
    memory_bytes: usize,
    memory_messages: usize,
    /// How many of `memory`'s front were sent on this connection, and how many are on their way to the disk.
    memory_sent: usize,
    committing: usize,
    /// Last number that may be on the disk.
    on_disk: u64,
    forgetting: bool,
    /// Whether something that may be on the disk was confirmed since the last removal was ordered.
    stale: bool,
    /// Numbers that were confirmed ahead of the rest since then.
    ahead: RangeSet,
}

/// Messages that were held when the link came up, sent beside fresh ones.
#[derive(Debug, Clone)]
struct Backlog {
    reader: Reader,
    /// Its last number; downwards its first.
    end: u64,
}

/// Something that was sent and is not confirmed.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    /// How many were sent on this connection with it.
    ordinal: u64,
    /// The number of the message itself.
    seq: u64,
    from: u64,
    to: u64,
    weight: usize,
}

#[derive(Debug, Clone)]
struct Waiting {
    entry: Entry,
    at: Time,
}

impl OutletQueue {
    /// An outbox that continues after what the store holds. `block.next` is the next number to give; `gap` are numbers
    /// just below it that an earlier run may have used.
    pub fn new(
        name: String,
        epoch: String,
        block: SequenceRange,
        held: Held,
        gap: Option<(u64, u64)>,
    ) -> Self {
        let unheld = gap.map_or(block.next, |(from, _)| from);
        let first = held.range.map_or(unheld, |(first, _)| first);
        let confirmed = first.saturating_sub(1);
        let mut outbox = OutletQueue {
            name,
            epoch,
            given_up: GivenUp::default(),
            block,
            confirmed,
            done: RangeSet::default(),
            refused: BTreeSet::new(),
            leaving: BTreeSet::new(),
            skipped: Vec::new(),
            skips_saved: true,
            ever_sent: block.next.saturating_sub(1),
            fresh: Reader::behind(confirmed),
            backlog: None,
            flight: VecDeque::new(),
            flight_bytes: 0,
            largest_confirmed: 0,
            held,
            tokens: 0,
            memory: VecDeque::new(),
            memory_bytes: 0,
            memory_messages: 0,
            memory_sent: 0,
            committing: 0,
            on_disk: held.range.map_or(0, |(_, last)| last),
            forgetting: false,
            stale: false,
            ahead: RangeSet::default(),
        };
        if let Some((from, to)) = gap {
            outbox.push_gap(Time::default(), from, to, GapReason::Restart);
        }
        outbox
    }

    /// The numbers in use.
    pub fn block(&self) -> SequenceRange {
        self.block
    }

    /// Allows the numbers below `end`.
    pub fn grant(&mut self, end: u64) {
        self.block.end = self.block.end.max(end);
    }

    /// Begins again under another epoch, whose numbers nobody reserves: it ends with this run. There is nothing left of the one
    /// before.
    pub fn be_reborn(&mut self, epoch: String) {
        let block = SequenceRange { next: 1, end: u64::MAX };
        let (tokens, given_up) = (self.tokens, self.given_up);
        *self = OutletQueue::new(std::mem::take(&mut self.name), epoch, block, Held::default(), None);
        (self.tokens, self.given_up) = (tokens, given_up);
    }

    /// Whether nothing is left of what it had: not even a gap, or a removal that is under way.
    pub fn is_bare(&self) -> bool {
        self.held.range.is_none() && self.memory.is_empty() && self.flight.is_empty() && !self.forgetting
    }

    /// How many numbers may still be given.
    pub fn numbers_left(&self) -> u64 {
        self.block.end.saturating_sub(self.block.next)
    }

    /// Oldest number that can still be sent, and the next that will be given.
    pub fn horizon(&self) -> (u64, u64) {
        (self.first_open(), self.block.next)
    }

    /// Takes a message in and gives it its number. The caller has checked [`OutletQueue::numbers_left`].
    pub fn push(&mut self, now: Time, message: Arc<Message>) -> u64 {
        let seq = self.block.next;
        self.block.next += 1;
        self.memory_messages += 1;
        self.remember(now, Entry { seq, body: Body::Message(message), replayed: false });
        seq
    }

    /// Takes in a message that came before, which it says.
    pub fn push_again(&mut self, now: Time, message: Arc<Message>) {
        self.push(now, message);
        if let Some(waiting) = self.memory.back_mut() {
            waiting.entry.replayed = true;
        }
    }

    /// Uses up a number for a message that was dropped before it came in.
    pub fn push_dropped(&mut self, now: Time) {
        let seq = self.block.next;
        self.block.next += 1;
        let may_grow = self.memory.len() > self.memory_sent.max(self.committing);
        match self.memory.back_mut().filter(|_| may_grow) {
            Some(Waiting {
                entry: Entry { body: Body::Gap { to, reason: GapReason::DroppedNewest }, .. },
                ..
            }) => {
                *to = seq;
            }
            _ => self.push_gap(now, seq, seq, GapReason::DroppedNewest),
        }
    }

    fn push_gap(&mut self, now: Time, from: u64, to: u64, reason: GapReason) {
        self.remember(now, Entry { seq: from, body: Body::Gap { to, reason }, replayed: false });
    }

    /// Everything up to `seq` is confirmed. Adds the ids of the messages that became safe by it. Returns whether
    /// anything changed.
    pub fn confirm(&mut self, seq: u64, safe: &mut Vec<u64>) -> bool {
        let seq = seq.min(self.block.next.saturating_sub(1));
        if seq <= self.confirmed {
            return false;
        }
        self.account_all_but_leaving(self.confirmed + 1, seq);
        self.fresh.skip_to(seq);
        self.settle(safe);
        true
    }

    /// Everything that was sent with or before this one is confirmed. Adds the ids of the messages that became safe by it.
    /// Returns whether anything changed.
    pub fn confirm_sent(&mut self, ordinal: u64, safe: &mut Vec<u64>) -> bool {
        let mut changed = false;
        while let Some(flying) = self.flight.pop_front_if(|flying| flying.ordinal <= ordinal) {
            self.landed(flying);
            self.account_all_but_leaving(flying.from, flying.to);
            changed = true;
        }
        if changed {
            self.settle(safe);
        }
        changed
    }

    /// Whether it need not be sent any more.
    pub fn has_confirmed(&self, seq: u64) -> bool {
        seq <= self.confirmed || self.done.holds(seq, seq)
    }

    /// Notes that these numbers need not be sent any more.
    fn account(&mut self, from: u64, to: u64) {
        self.stale |= from <= self.on_disk;
        if from > self.confirmed + 1 {
            self.done.insert(from, to);
            self.ahead.insert(from, to);
            return;
        }
        self.reach(to);
    }

    fn reach(&mut self, to: u64) {
        self.confirmed = self.done.first_missing_from(self.confirmed.max(to) + 1) - 1;
        self.done.remove_through(self.confirmed);
        self.ahead.remove_through(self.confirmed);
    }

    /// Follows up on what is confirmed: refused numbers right behind it, what was in flight, what waited in memory. Adds the
    /// ids of the messages that became safe by it.
    pub fn settle(&mut self, safe: &mut Vec<u64>) {
        // A peer that got nothing in place of the message gets the gap first.
        while self.was_sent(self.confirmed + 1) && self.has_left(self.confirmed + 1) {
            self.stale |= self.confirmed < self.on_disk;
            self.reach(self.confirmed + 1);
        }
        let confirmed = self.confirmed;
        while self.refused.first().is_some_and(|seq| *seq <= confirmed) {
            self.refused.pop_first();
        }
        self.skipped.retain(|(seq, _)| *seq > confirmed);
        while let Some(flying) = self.flight.front().copied().filter(|flying| self.is_answered(flying)) {
            self.flight.pop_front();
            self.landed(flying);
        }
        self.fresh.confirmed(confirmed);
        while self.memory.front().is_some_and(|waiting| self.is_done(&waiting.entry)) {
            self.release_front(safe);
        }
    }

    fn landed(&mut self, flying: InFlight) {
        self.flight_bytes -= flying.weight;
        self.largest_confirmed = self.largest_confirmed.max(flying.weight);
    }

    fn is_done(&self, entry: &Entry) -> bool {
        entry.last() <= self.confirmed || self.done.holds(entry.seq, entry.last())
    }

    /// The removal that the store should carry out, at most one at a time: what lies within these numbers.
    pub fn forget(&mut self) -> Option<Vec<(u64, u64)>> {
        if !self.stale || self.held.range.is_none() || self.forgetting {
            return None;
        }
        self.stale = false;
        self.forgetting = true;
        let mut ranges = vec![(0, self.confirmed)];
        for (from, _) in std::mem::take(&mut self.ahead).iter() {
            ranges.extend(self.done.around(from));
        }
        Some(ranges)
    }

    /// The removal has ended, if there was one; one that failed is ordered again.
    pub fn forget_ended(&mut self, done: bool) {
        if !std::mem::take(&mut self.forgetting) {
            return;
        }
        if !done {
            self.stale = true;
            self.ahead = self.done.clone();
        }
    }

    /// The connection is gone: all that is not confirmed will be sent again.
    pub fn disconnected(&mut self) {
        for waiting in self.memory.iter_mut().take(self.memory_sent) {
            waiting.entry.replayed = true;
        }
        self.memory_sent = 0;
        self.flight.clear();
        self.flight_bytes = 0;
        self.backlog = None;
        self.fresh.reset(self.confirmed);
    }

    /// Forgets what was read ahead, because the store changed under it.
    pub fn reread(&mut self) {
        self.fresh.reread();
        if let Some(backlog) = &mut self.backlog {
            backlog.reader.reread();
        }
    }

    /// Takes the next entries for the disk, up to about `max_bytes`.
    pub fn begin_commit(&mut self, max_bytes: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut entries = Vec::new();
        for waiting in &self.memory {
            if bytes >= max_bytes && !entries.is_empty() {
                break;
            }
            bytes += waiting.entry.weight();
            entries.push(waiting.entry.clone());
        }
        self.committing = entries.len();
        self.on_disk = entries.last().map_or(self.on_disk, Entry::last);
        entries
    }

    /// The commit is on the disk: its entries leave memory. Adds the ids of the messages that became safe by it.
    pub fn commit_done(&mut self, safe: &mut Vec<u64>) {
        for _ in 0..self.committing {
            self.release_front(safe);
        }
        self.committing = 0;
    }

    /// The commit failed: its entries stay in memory.
    pub fn commit_failed(&mut self) {
        self.committing = 0;
    }

    /// Learns what the store holds.
    pub fn learn(&mut self, held: Held) {
        self.held = held;
    }

    /// A message that is in flight or waits in memory.
    pub fn in_memory(&self, seq: u64) -> Option<Arc<Message>> {
        let at = self.memory.binary_search_by_key(&seq, |waiting| waiting.entry.seq).ok()?;
        match &self.memory.get(at)?.entry.body {
            Body::Message(message) => Some(Arc::clone(message)),
            Body::Gap { .. } => None,
        }
    }

    /// Whether something was sent that is not confirmed.
    pub fn in_flight(&self) -> bool {
        !self.flight.is_empty()
    }

    /// How many were sent and are not confirmed.
    pub fn flying(&self) -> usize {
        self.flight.len()
    }

    /// Messages and bytes that count against the window: those in flight. What is confirmed and not yet removed from the disk
    /// does not, or a slow disk would hold up the link.
    pub fn load(&self) -> (usize, usize) {
        (self.flight.len(), self.flight_bytes)
    }

    /// Bytes of the largest entry in flight.
    pub fn largest_in_flight(&self) -> usize {
        self.flight.iter().map(|flying| flying.weight).max().unwrap_or(0)
    }

    /// Bytes of the largest entry that was confirmed in flight since this was asked for.
    pub fn take_largest_confirmed(&mut self) -> usize {
        std::mem::take(&mut self.largest_confirmed)
    }

    /// The number that was sent first of those in flight, and how many were sent with it.
    pub fn first_in_flight(&self) -> Option<(u64, u64)> {
        self.flight.front().map(|flying| (flying.seq, flying.ordinal))
    }

    /// Last number that was sent in order on this connection.
    pub fn sent(&self) -> u64 {
        self.fresh.sent()
    }

    /// Whether something that stands for this number was sent on this connection.
    pub fn was_sent(&self, seq: u64) -> bool {
        let waits = self.backlog.as_ref().is_some_and(|Backlog { reader, end }| {
            let (from, to) = reader.unaccounted(*end);
            (from..=to).contains(&seq)
        });
        seq <= self.fresh.sent() && !waits
    }

    /// Last number that a peer can have; what an earlier run sent is not known, so it may be any of its numbers.
    pub fn ever_sent(&self) -> u64 {
        self.ever_sent
    }

    /// Last confirmed number.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// How many numbers are confirmed, counted from the first one of the epoch.
    pub fn accounted(&self) -> u64 {
        self.confirmed + self.done.total()
    }

    /// Whether every message is confirmed.
    pub fn is_drained(&self) -> bool {
        self.unconfirmed() == 0 && self.memory.is_empty()
    }

    /// Messages held for this outlet, about: a group counts until all of it is confirmed.
    pub fn unconfirmed(&self) -> u64 {
        self.held.messages + u64::try_from(self.memory_messages).unwrap_or(u64::MAX)
    }

    /// Whether messages wait for the link, or are kept on the disk until those before them are sent.
    pub fn is_behind(&self, up: bool) -> bool {
        let unsent = self.held.range.is_some_and(|(_, last)| last > self.fresh.sent());
        if up { unsent || self.backlog.is_some() } else { self.unconfirmed() > 0 }
    }

    /// Part of it that the store holds.
    pub fn held(&self) -> Held {
        self.held
    }

    /// Bytes of entries that wait in memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Whether a removal is under way.
    pub fn is_forgetting(&self) -> bool {
        self.forgetting
    }

    /// Messages that wait in memory: nobody was told `stored` for them.
    pub fn memory_messages(&self) -> usize {
        self.memory_messages
    }

    /// When the oldest entry in memory came in.
    pub fn oldest_in_memory(&self) -> Option<Time> {
        self.memory.front().map(|waiting| waiting.at)
    }

    fn remember(&mut self, at: Time, entry: Entry) {
        self.memory_bytes += entry.weight();
        self.memory.push_back(Waiting { entry, at });
    }

    /// First number that a crash could lose: nobody was told `stored` for it.
    pub fn first_unsafe(&self) -> u64 {
        self.memory.front().map_or(self.block.next, |waiting| waiting.entry.seq)
    }

    fn release_front(&mut self, safe: &mut Vec<u64>) {
        let Some(waiting) = self.memory.pop_front() else { return };
        self.memory_bytes -= waiting.entry.weight();
        self.memory_sent = self.memory_sent.saturating_sub(1);
        self.committing = self.committing.saturating_sub(1);
        if let Body::Message(message) = waiting.entry.body {
            self.memory_messages -= 1;
            safe.push(message.id);
        }
    }
}

#[cfg(test)]
mod tests;
