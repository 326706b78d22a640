//! One outlet's place in the buffer: what it holds, in order, from the oldest unconfirmed number to the newest.
//!
//! Numbers rise through three places: the store (`stored`), then memory (`memory`), then what is not given yet (`next`).
//! Confirmation is cumulative and takes from the front of all of them. A message leaves memory when it is safe: confirmed,
//! or committed to the store.

use std::collections::VecDeque;
use std::sync::Arc;

use super::disk::{Block, Held};
use super::time::Time;
use crate::message::{Body, Entry, GapReason, Message};

/// Bytes of entries read back from the store at once.
const READ_BYTES: usize = 256 * 1024;

/// Room for more messages in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Messages at most that are in flight, or confirmed and not yet removed from the disk: what a crash can send twice.
    pub window: usize,
    /// Bytes in flight at most; one message may always be in flight.
    pub bytes: usize,
}

/// A read that the outbox wants from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// First number wanted.
    pub from: u64,
    /// About how many bytes.
    pub max_bytes: usize,
    /// To tell the answer from a stale one.
    pub token: u64,
}

/// One outlet's place in the buffer.
#[derive(Debug, Clone)]
pub struct Outbox {
    /// Name in the store: `client:cloud`, `mqtt`.
    pub name: String,
    /// Names the life of the numbers.
    pub epoch: String,
    block: Block,
    confirmed: u64,
    /// Last number that was sent on this connection, or `confirmed`.
    sent: u64,
    /// Last number that a peer can have, on this or an earlier connection.
    ever_sent: u64,
    flight: VecDeque<(u64, usize)>,
    flight_bytes: usize,
    /// Confirmed numbers that the store may still give out again after a crash.
    limbo: VecDeque<u64>,
    held: Held,
    ready: VecDeque<Entry>,
    reading: Option<u64>,
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
    /// `confirmed` at the last removal: an order that removes nothing is not given again.
    forgot: u64,
}

#[derive(Debug, Clone)]
struct Waiting {
    entry: Entry,
    at: Time,
}

impl Outbox {
    /// An outbox that continues after what the store holds. `block.next` is the next number to give; `gap` are numbers
    /// just below it that an earlier run may have used.
    pub fn new(name: String, epoch: String, block: Block, held: Held, gap: Option<(u64, u64)>) -> Self {
        let unheld = gap.map_or(block.next, |(from, _)| from);
        let first = held.range.map_or(unheld, |(first, _)| first);
        let mut outbox = Outbox {
            name,
            epoch,
            block,
            confirmed: first.saturating_sub(1),
            sent: first.saturating_sub(1),
            ever_sent: block.next.saturating_sub(1),
            flight: VecDeque::new(),
            flight_bytes: 0,
            limbo: VecDeque::new(),
            held,
            ready: VecDeque::new(),
            reading: None,
            tokens: 0,
            memory: VecDeque::new(),
            memory_bytes: 0,
            memory_messages: 0,
            memory_sent: 0,
            committing: 0,
            on_disk: held.range.map_or(0, |(_, last)| last),
            forgetting: false,
            forgot: 0,
        };
        if let Some((from, to)) = gap {
            outbox.push_gap(Time::default(), from, to, GapReason::Restart);
        }
        outbox
    }

    /// The numbers in use.
    pub fn block(&self) -> Block {
        self.block
    }

    /// Allows the numbers below `end`.
    pub fn grant(&mut self, end: u64) {
        self.block.end = self.block.end.max(end);
    }

    /// How many numbers may still be given.
    pub fn numbers_left(&self) -> u64 {
        self.block.end.saturating_sub(self.block.next)
    }

    /// Oldest number that can still be sent, and the next that will be given.
    pub fn horizon(&self) -> (u64, u64) {
        (self.confirmed + 1, self.block.next)
    }

    /// Takes a message in and gives it its number. The caller has checked [`Outbox::numbers_left`].
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

    /// Takes the next entries to send, as far as there is room.
    pub fn take(&mut self, room: Room) -> Vec<Entry> {
        let mut taken = Vec::new();
        let window = room.window.saturating_sub(self.limbo.len());
        while self.flight.len() < window && (self.flight.is_empty() || self.flight_bytes < room.bytes) {
            let Some(entry) = self.next_entry() else { break };
            let weight = entry.weight();
            self.sent = entry.last();
            self.ever_sent = self.ever_sent.max(self.sent);
            self.flight.push_back((self.sent, weight));
            self.flight_bytes += weight;
            taken.push(entry);
        }
        taken
    }

    /// The read that is needed to go on sending, at most one at a time.
    pub fn want(&mut self) -> Option<Want> {
        let behind = self.ready.back().map_or(self.sent, Entry::last);
        let (_, last) = self.held.range?;
        let enough = self.ready.iter().map(Entry::weight).sum::<usize>() > READ_BYTES / 2;
        if self.reading.is_some() || enough || last <= behind {
            return None;
        }
        self.tokens += 1;
        self.reading = Some(self.tokens);
        Some(Want { from: behind + 1, max_bytes: READ_BYTES, token: self.tokens })
    }

    /// Takes in what was read.
    pub fn read(&mut self, token: u64, entries: Vec<Entry>) {
        if self.reading != Some(token) {
            return;
        }
        self.reading = None;
        if entries.is_empty() && self.ready.is_empty() {
            // The store believed in more than it has: those numbers can't come any more.
            let (_, last) = self.held.range.unwrap_or_default();
            self.sent = self.sent.max(last.min(self.first_unsafe().saturating_sub(1)));
        }
        let behind = self.ready.back().map_or(self.sent, Entry::last);
        self.ready.extend(entries.into_iter().filter(|entry| entry.last() > behind));
    }

    /// Gives a failed read another chance.
    pub fn read_failed(&mut self) {
        self.reading = None;
    }

    /// Everything up to `seq` is confirmed. Adds the ids of the messages that became safe by it. Returns whether
    /// anything changed.
    pub fn confirm(&mut self, seq: u64, safe: &mut Vec<u64>) -> bool {
        let seq = seq.min(self.block.next.saturating_sub(1));
        if seq <= self.confirmed {
            return false;
        }
        self.confirmed = seq;
        self.sent = self.sent.max(seq);
        while let Some((last, weight)) = self.flight.pop_front_if(|(last, _)| *last <= seq) {
            self.flight_bytes -= weight;
            if last <= self.on_disk {
                self.limbo.push_back(last);
            }
        }
        while self.ready.pop_front_if(|entry| entry.last() <= seq).is_some() {}
        while self.memory.front().is_some_and(|waiting| waiting.entry.last() <= seq) {
            self.release_front(safe);
        }
        true
    }

    /// The removal that the store should carry out, at most one at a time.
    pub fn forget(&mut self) -> Option<u64> {
        let held = self.held.range.is_some_and(|(first, _)| first <= self.confirmed);
        if !held && self.committing == 0 {
            self.limbo.clear();
        }
        if !held || self.forgetting || self.confirmed <= self.forgot {
            return None;
        }
        self.forgetting = true;
        self.forgot = self.confirmed;
        Some(self.confirmed)
    }

    /// The removal has ended; one that failed is ordered again.
    pub fn forget_ended(&mut self, done: bool) {
        self.forgetting = false;
        let forgot = self.forgot;
        if !done {
            self.forgot = 0;
        }
        // A disk that fails must not hold up the link: better seen twice than not at all.
        while self.limbo.pop_front_if(|last| *last <= forgot).is_some() {}
    }

    /// The connection is gone: all that is not confirmed will be sent again.
    pub fn disconnected(&mut self) {
        for waiting in self.memory.iter_mut().take(self.memory_sent) {
            waiting.entry.replayed = true;
        }
        self.memory_sent = 0;
        self.sent = self.confirmed;
        self.flight.clear();
        self.flight_bytes = 0;
        self.reread();
    }

    /// Forgets what was read ahead, because the store changed under it.
    pub fn reread(&mut self) {
        self.ready.clear();
        self.reading = None;
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

    /// Last number that was sent on this connection.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Last number that a peer can have; what an earlier run sent is not known, so it may be any of its numbers.
    pub fn ever_sent(&self) -> u64 {
        self.ever_sent
    }

    /// Last confirmed number.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
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
        let unsent = self.held.range.is_some_and(|(_, last)| last > self.sent);
        if up { unsent } else { self.unconfirmed() > 0 }
    }

    /// What the store holds of it.
    pub fn held(&self) -> Held {
        self.held
    }

    /// Bytes of entries that wait in memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Messages that wait in memory: nobody was told `stored` for them.
    pub fn memory_messages(&self) -> usize {
        self.memory_messages
    }

    /// When the oldest entry in memory came in.
    pub fn oldest_in_memory(&self) -> Option<Time> {
        self.memory.front().map(|waiting| waiting.at)
    }

    /// Wall time of the oldest message in memory, UTC ns.
    pub fn oldest_message_ns(&self) -> Option<u64> {
        self.memory.iter().find_map(|waiting| match &waiting.entry.body {
            Body::Message(message) => Some(message.time_ns),
            Body::Gap { .. } => None,
        })
    }

    fn remember(&mut self, at: Time, entry: Entry) {
        self.memory_bytes += entry.weight();
        self.memory.push_back(Waiting { entry, at });
    }

    /// First number that a crash could lose: nobody was told `stored` for it.
    pub fn first_unsafe(&self) -> u64 {
        self.memory.front().map_or(self.block.next, |waiting| waiting.entry.seq)
    }

    fn next_entry(&mut self) -> Option<Entry> {
        let mut entry = match self.ready.pop_front() {
            Some(entry) => entry,
            None => self.next_in_memory()?,
        };
        if let Body::Gap { .. } = entry.body {
            // It takes the place of whole groups, and the peer may have a part of the first one.
            entry.seq = entry.seq.max(self.sent + 1);
        }
        Some(entry)
    }

    fn next_in_memory(&mut self) -> Option<Entry> {
        if self.held.range.is_some_and(|(_, last)| last > self.sent) {
            return None;
        }
        // A commit that failed may have left its entries in the store, from where they were sent already.
        while self.memory.get(self.memory_sent).is_some_and(|waiting| waiting.entry.last() <= self.sent) {
            self.memory_sent += 1;
        }
        let entry = self.memory.get(self.memory_sent)?.entry.clone();
        self.memory_sent += 1;
        Some(entry)
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
