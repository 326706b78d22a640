//! A run of numbers that is read back from the store and sent, in one direction.

use std::collections::VecDeque;

use crate::message::{Body, Entry};

/// A read that is wanted from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// First number wanted; the last one when `falling`.
    pub from: u64,
    /// Whether the entries are wanted from there downwards.
    pub falling: bool,
    /// About how many bytes.
    pub max_bytes: usize,
    /// To tell the answer from a stale one.
    pub token: u64,
}

/// Reads upwards from the number behind `sent`, or downwards from the one before it.
#[derive(Debug, Clone)]
pub struct Reader {
    falling: bool,
    /// Last number that was taken.
    sent: u64,
    /// Up to where (downwards: down to where) what was taken accounts for all numbers.
    accounted: u64,
    ready: VecDeque<Entry>,
    /// Token of the read that is under way.
    reading: Option<u64>,
}

/// An entry that was taken, and the numbers that its confirmation accounts for: those before it that nothing stands for
/// belong to them.
pub struct Taken {
    /// Entry to send.
    pub entry: Entry,
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
}

impl Reader {
    /// Upwards, behind this number.
    pub fn behind(number: u64) -> Reader {
        Reader { falling: false, sent: number, accounted: number, ready: VecDeque::new(), reading: None }
    }

    /// Downwards, from this number.
    pub fn down_from(number: u64) -> Reader {
        let above = number.saturating_add(1);
        Reader { falling: true, sent: above, accounted: above, ready: VecDeque::new(), reading: None }
    }

    /// Last number that was taken.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// First and last number that nothing that was taken accounts for, if it ends at `end`.
    pub fn unaccounted(&self, end: u64) -> (u64, u64) {
        if self.falling { (end, self.accounted - 1) } else { (self.accounted + 1, end) }
    }

    /// Whether it reads downwards.
    pub fn is_falling(&self) -> bool {
        self.falling
    }

    /// Whether something is ready to be taken.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Entries that are ready to be taken, in order.
    pub fn ready(&self) -> impl Iterator<Item = &Entry> {
        self.ready.iter()
    }

    /// Goes on from another number.
    pub fn skip_to(&mut self, number: u64) {
        self.sent = if self.falling { self.sent.min(number) } else { self.sent.max(number) };
    }

    /// Starts over behind this number.
    pub fn reset(&mut self, number: u64) {
        *self = Reader::behind(number);
    }

    /// Forgets what was read ahead, because the store changed under it.
    pub fn reread(&mut self) {
        self.ready.clear();
        self.reading = None;
    }

    /// The read of about this many bytes that is needed to go on up (down) to `end`, at most one at a time.
    pub fn want(&mut self, end: u64, max_bytes: usize, tokens: &mut u64) -> Option<Want> {
        let ahead = self.ahead();
        let weight = self.ready.iter().map(Entry::weight).sum::<usize>();
        // However large one is, the one behind it is at hand as well.
        let enough = weight > max_bytes / 2 && self.ready.len() > 1;
        let at_end = if self.falling { ahead <= end } else { ahead >= end };
        if self.reading.is_some() || enough || at_end {
            return None;
        }
        *tokens += 1;
        self.reading = Some(*tokens);
        let from = if self.falling { ahead - 1 } else { ahead + 1 };
        Some(Want { from, falling: self.falling, max_bytes, token: *tokens })
    }

    /// Takes in what was read, but upwards nothing behind `end`. Returns none if it was not asked for, else whether anything
    /// is there.
    pub fn read(&mut self, token: u64, entries: &mut Vec<Entry>, end: u64) -> Option<bool> {
        if self.reading != Some(token) {
            return None;
        }
        self.reading = None;
        let (falling, ahead) = (self.falling, self.ahead());
        let new = |entry: &Entry| match falling {
            true => entry.seq < ahead,
            false => entry.last() > ahead && entry.seq <= end,
        };
        self.ready.extend(entries.drain(..).filter(new));
        if let Some(Entry { body: Body::Gap { to, .. }, .. }) = self.ready.back_mut().filter(|_| !falling) {
            *to = (*to).min(end);
        }
        Some(self.is_ready())
    }

    /// Gives a failed read another chance.
    pub fn read_failed(&mut self) {
        self.reading = None;
    }

    /// Forgets what is ready up to a number.
    pub fn confirmed(&mut self, through: u64) {
        if !self.falling {
            while self.ready.pop_front_if(|entry| entry.last() <= through).is_some() {}
        }
    }

    /// The next entry that is ready.
    pub fn next(&mut self) -> Option<Taken> {
        let entry = self.ready.pop_front()?;
        Some(self.take(entry))
    }

    /// Takes an entry that came from elsewhere, as if it had been read.
    pub fn take(&mut self, mut entry: Entry) -> Taken {
        if self.falling {
            let (from, to) = (entry.seq, self.accounted - 1);
            self.sent = from;
            self.accounted = from;
            return Taken { entry, from, to };
        }
        if let Body::Gap { .. } = entry.body {
            // It takes the place of whole groups, and the peer may have a part of the first one.
            entry.seq = entry.seq.max(self.sent + 1);
        }
        let (from, to) = (self.accounted + 1, entry.last());
        self.sent = to;
        self.accounted = to;
        Taken { entry, from, to }
    }

    /// The number up to (down to) which everything is taken or ready.
    fn ahead(&self) -> u64 {
        let ready = self.ready.back().map(|entry| if self.falling { entry.seq } else { entry.last() });
        ready.unwrap_or(self.sent)
    }
}
