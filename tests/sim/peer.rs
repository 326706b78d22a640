//! The far end of a link, and the reference model of what it may see.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::config::client::Confirm;
use holdfast_core::link::closing::Closing;
use holdfast_core::link::protocol::{LinkOrder, LinkReport};
use holdfast_core::message::{Body, Entry, GapReason};
use holdfast_core::seed::Seed;
use holdfast_core::wire::{self, Encoding};

/// Messages of one epoch that the peer has.
#[derive(Debug, Default)]
struct Seen {
    /// Payload by number.
    messages: BTreeMap<u64, Vec<u8>>,
    /// The connection on which each of them came last.
    came_on: BTreeMap<u64, u64>,
    /// Highest number that was delivered or announced as missing.
    highest: u64,
    gaps: Vec<(u64, u64, GapReason)>,
    /// Numbers that it refused alone, so that nothing follows for them.
    passed: BTreeSet<u64>,
}

impl Seen {
    /// After a restart without the time, nobody knows any more that a message was too old.
    fn may_come_late(&self, seq: u64) -> bool {
        let expired = self.gaps.iter().filter(|(_, _, reason)| *reason == GapReason::Expired);
        expired.into_iter().any(|(from, to, _)| (*from..=*to).contains(&seq))
    }
}

/// A peer that outlives its connections.
#[derive(Debug)]
pub struct Peer {
    pub confirm: Confirm,
    /// Whether the framing has numbers and gaps, so that holes can be told.
    pub numbered: bool,
    /// Of a thousand messages so many are refused.
    pub nacking: u64,
    /// A message whose payload is divisible by this makes it hang up; 0 is none.
    pub choking: u64,
    /// Its answers come so much later, in nanoseconds.
    pub late: u64,
    /// Its pongs hold nothing.
    pub mute: bool,
    /// Bytes of the largest frame that it takes; 0 is without a limit.
    pub frame_max: usize,
    /// Whether messages may come in any order.
    pub loose: bool,
    /// The epoch of each lane.
    pub epochs: Vec<String>,
    seen: BTreeMap<String, Seen>,
    pub refused: BTreeSet<Vec<u8>>,
    delivered: BTreeSet<Vec<u8>>,
    /// Last payload by topic: what a retained topic shows.
    pub retained: BTreeMap<String, Vec<u8>>,
    /// How many connections it has had.
    connections: u64,
    /// Deliveries that had been seen before, on this connection. The newest first, what was in flight on several connections
    /// in a row may come once more at a time, so that only what the last one has brought counts.
    twice: u64,
    /// Last number of each epoch that came on this connection.
    last: BTreeMap<String, u64>,
    /// Whether it is an HTTP server.
    pub posts: bool,
    /// How many messages were announced as given up. What is dropped or purged later takes the place of such a gap.
    pub given_up: u64,
}

impl Peer {
    pub fn new(confirm: Confirm, numbered: bool, nacking: u64) -> Self {
        Peer {
            confirm,
            numbered,
            nacking,
            choking: 0,
            late: 0,
            mute: false,
            frame_max: 0,
            loose: false,
            epochs: Vec::new(),
            seen: BTreeMap::new(),
            refused: BTreeSet::new(),
            delivered: BTreeSet::new(),
            retained: BTreeMap::new(),
            connections: 0,
            twice: 0,
            last: BTreeMap::new(),
            posts: false,
            given_up: 0,
        }
    }

    /// A new connection to it.
    pub fn connect(&mut self) {
        self.connections += 1;
        self.twice = 0;
        self.last.clear();
    }

    /// Deliveries that had been seen before, on this connection.
    pub fn twice(&self) -> u64 {
        self.twice
    }

    /// The place of the first entry that it cannot take.
    pub fn chokes_at(&self, order: &LinkOrder) -> Option<usize> {
        let LinkOrder::Send { entries, .. } = order else { return None };
        entries.iter().position(|entry| match &entry.body {
            Body::Message(message) => self.chokes_on(&message.payload),
            Body::Gap { .. } => false,
        })
    }

    /// The place of the first entry in an envelope that is too large for it, where envelopes have at most so many bytes.
    pub fn refuses_at(&self, order: &LinkOrder, frame_bytes: usize) -> Option<usize> {
        let LinkOrder::Send { lane, entries, .. } = order else { return None };
        if self.frame_max == 0 || !self.numbered {
            return None;
        }
        let mut envelopes = wire::envelopes(&self.epochs[*lane], entries, Encoding::Json).up_to(frame_bytes);
        let mut last = 0;
        let refused = envelopes.find(|envelope| {
            let is_too_large = envelope.payload.view().bytes().len() > self.frame_max;
            last = if is_too_large { last } else { envelope.last };
            is_too_large
        });
        refused.map(|_| entries.iter().take_while(|entry| entry.last() <= last).count())
    }

    /// Whether it cannot take this payload.
    pub fn chokes_on(&self, payload: &[u8]) -> bool {
        let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse::<u64>().ok());
        self.choking > 0 && number.is_some_and(|number| number.is_multiple_of(self.choking))
    }

    /// Takes in what arrives; returns what it answers.
    pub fn arrive(&mut self, order: LinkOrder, seed: &mut Seed) -> Result<Vec<LinkReport>, String> {
        match order {
            LinkOrder::Hello { lane, first, next } => self.greet(lane, first, next),
            LinkOrder::Send { lane, entries, .. } => self.take(lane, entries, seed),
            LinkOrder::Ping(_) if self.mute => Ok(vec![LinkReport::OtherPong]),
            LinkOrder::Ping(number) => {
                // Pongs of its own say nothing.
                let unsolicited = (seed.below(4) == 0).then_some(LinkReport::OtherPong);
                Ok(unsolicited.into_iter().chain([LinkReport::Pong(number)]).collect())
            }
            LinkOrder::FrameBytes(_) => Ok(Vec::new()),
            LinkOrder::Probe(_) => {
                let works = seed.below(3) > 0;
                Ok(vec![LinkReport::Probed(if works { Ok(()) } else { Err("refused".to_owned()) })])
            }
            LinkOrder::Publish(publication) => {
                self.retained.insert(publication.topic, publication.payload);
                Ok(Vec::new())
            }
            LinkOrder::Close(code) => Ok(vec![LinkReport::Closed {
                closing: Closing::of(Some(code), ""),
                error: "closed as asked".to_owned(),
            }]),
        }
    }

    /// Takes in a batch.
    pub fn take_batch(&mut self, entries: Vec<(usize, Entry)>, seed: &mut Seed) -> Result<(), String> {
        // One that it has from this connection shows whether it takes anything.
        if let [(lane, entry)] = &entries[..]
            && let Some(seen) = self.seen.get(&self.epochs[*lane])
            && seen.messages.contains_key(&entry.seq)
            && self.last.get(&self.epochs[*lane]).is_some_and(|last| entry.seq <= *last)
        {
            return Ok(());
        }
        for (lane, entry) in entries {
            self.take_one(lane, entry, seed)?;
        }
        Ok(())
    }

    /// Refuses a batch. Where it is one entry, it need not hear of its number again.
    pub fn refuse_batch(&mut self, entries: &[(usize, Entry)]) {
        if let [(lane, entry)] = entries {
            let seen = self.seen.entry(self.epochs[*lane].clone()).or_default();
            seen.passed.extend(entry.seq..=entry.last());
        }
    }

    /// Whether this payload was delivered, or refused by the peer itself.
    pub fn has(&self, payload: &[u8]) -> bool {
        self.refused.contains(payload) || self.delivered.contains(payload)
    }

    /// Whether something with this beginning was delivered.
    pub fn has_one_that_begins_with(&self, word: &[u8]) -> bool {
        self.delivered.range(word.to_vec()..).next().is_some_and(|payload| payload.starts_with(word))
    }

    /// How many messages were delivered.
    pub fn delivered(&self) -> u64 {
        self.delivered.len() as u64
    }

    fn greet(&mut self, lane: usize, first: u64, next: u64) -> Result<Vec<LinkReport>, String> {
        let seen = self.seen.entry(self.epochs[lane].clone()).or_default();
        if next <= seen.highest {
            return Err(format!("next is {next}, but {} was seen", seen.highest));
        }
        if first > seen.highest + 1 {
            return Err(format!("first is {first}, but only {} was seen", seen.highest));
        }
        Ok(if seen.highest > 0 {
            vec![LinkReport::Resume { lane, from: seen.highest + 1 }]
        } else {
            Vec::new()
        })
    }

    fn take(&mut self, lane: usize, entries: Vec<Entry>, seed: &mut Seed) -> Result<Vec<LinkReport>, String> {
        let mut answers = Vec::new();
        let mut last = 0;
        for entry in entries {
            last = entry.last();
            if let Some(seq) = self.take_one(lane, entry, seed)? {
                answers.push(LinkReport::Nack { lane, seq, reason: "schema".to_owned() });
            }
        }
        if self.confirm == Confirm::Ack {
            answers.push(LinkReport::Ack { lane, seq: last });
        }
        Ok(answers)
    }

    /// Returns the number if it is refused.
    fn take_one(&mut self, lane: usize, entry: Entry, seed: &mut Seed) -> Result<Option<u64>, String> {
        let (seq, last) = (entry.seq, entry.last());
        let before = self.last.insert(self.epochs[lane].clone(), last).unwrap_or(0);
        if seq <= before && !self.loose {
            return Err(format!("{seq} follows {before} on one connection"));
        }
        let seen = self.seen.entry(self.epochs[lane].clone()).or_default();
        let hole = (seen.highest + 1..seq).any(|missing| !seen.passed.contains(&missing));
        if hole && self.numbered && !self.loose {
            return Err(format!("{seq} follows {} without a gap", seen.highest));
        }
        match entry.body {
            Body::Gap { to, reason } => {
                let other = matches!(reason, GapReason::Restart | GapReason::Damaged | GapReason::Refused);
                if !other && !seen.gaps.contains(&(seq, to, reason)) {
                    self.given_up += to - seq + 1;
                }
                seen.gaps.push((seq, to, reason));
            }
            Body::Message(message) => {
                self.retained.insert(message.topic.clone(), message.payload.clone());
                let came_on = seen.came_on.insert(seq, self.connections);
                if let Some(before) = seen.messages.get(&seq) {
                    let is_recent = came_on.is_some_and(|connection| connection + 1 >= self.connections);
                    self.twice += u64::from(is_recent || !self.loose);
                    if *before != message.payload {
                        return Err(format!("{seq} was used for two messages"));
                    }
                } else if self.confirm != Confirm::None
                    && !self.loose
                    && seq <= seen.highest
                    && !self.refused.contains(&message.payload)
                    && !seen.may_come_late(seq)
                {
                    let known = seen.gaps.iter().find(|(from, to, _)| (*from..=*to).contains(&seq));
                    return Err(format!("{seq} comes late: {} was seen, gap {known:?}", seen.highest));
                } else if seed.below(1000) < self.nacking || self.refused.contains(&message.payload) {
                    self.refused.insert(message.payload.clone());
                    seen.highest = seen.highest.max(last);
                    return Ok(Some(seq));
                } else {
                    seen.messages.insert(seq, message.payload.clone());
                    self.delivered.insert(message.payload.clone());
                }
            }
        }
        seen.highest = seen.highest.max(last);
        Ok(None)
    }
}
