//! Requests of an HTTP link: they are made one at a time of the entries that it was handed, and the statuses of the
//! answers become reports. Pure.
//!
//! A status that speaks of the batch (400, 413, 422) is no proof against a message: the server may refuse everything. So the batch is
//! halved until one message is refused alone. Then another one is sent, the *control*: as a rule the last message that the server
//! took, which it can take again. Only when the server takes the control and refuses the suspect once more, the suspect is set aside.
//! Where the server has taken nothing on this connection, the control is an entry that waits behind the suspect: if it is taken, those
//! before it are to blame. Where the server takes neither, nothing is set aside, and all is held until the next connection.

use std::collections::VecDeque;

use crate::config::batch::Batch;
use crate::config::client::{BodyEncoding, Elements};
use crate::link::closing::Closing;
use crate::link::http_status::Meaning;
use crate::link::protocol::{LinkReport, ordinals};
use crate::message::{Body, Entry};
use crate::time::Time;
use crate::wire::RequestBody;

/// Entries behind the suspect that are tried in its place.
const BEHIND_MAX: usize = 8;
/// A larger message is not kept to be sent a second time.
const TAKEN_MAX: usize = 64 * 1024;
/// A server that answers 413 is not believed to want less than this for a batch.
const BYTES_LEAST: usize = 1000;

/// Settings by which requests are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostRule {
    /// The epoch of each lane.
    pub epochs: Vec<String>,
    /// How much one holds.
    pub batch: Batch,
    /// How the body is written.
    pub encoding: BodyEncoding,
    /// Form of a message in it.
    pub elements: Elements,
}

/// A request that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Its body, not compressed.
    pub body: Vec<u8>,
    /// Entries in it.
    pub entries: usize,
}

/// Entries that wait for their request or for its answer, on one connection.
#[derive(Debug)]
pub struct PostQueue {
    rule: PostRule,
    waiting: VecDeque<Waiting>,
    /// Entries that were handed over on this connection.
    handed_over: u64,
    weight: usize,
    /// Content of the request that is under way, and the bytes of its body.
    out: Option<(Out, usize)>,
    /// Entries of a request at most: fewer than usual while a refused one is looked for.
    entries_max: usize,
    /// The refused one is among the entries up to and including this ordinal.
    refused_through: u64,
    bytes_max: usize,
    case: Option<Case>,
    /// The last message that the server took, and its lane.
    taken: Option<(usize, Entry)>,
}

#[derive(Debug)]
struct Waiting {
    lane: usize,
    /// How many entries were handed over on this connection with it, and with those behind it that no request tells.
    ordinal: u64,
    entry: Entry,
    at: Time,
}

/// Content of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    /// N from the front.
    Front(usize),
    /// The last message that the server took.
    Taken,
    /// The one so far behind the front.
    Behind(usize),
}

/// The entry at the front was refused alone.
#[derive(Debug)]
struct Case {
    /// The server's words.
    reason: String,
    /// Whether the server took the control since.
    passed: bool,
    /// Whether the last message that it took is of no use as the control.
    taken_failed: bool,
    /// Entries behind it that were refused as well, from the first on, each with the server's words.
    behind: Vec<String>,
}

impl PostQueue {
    /// Nothing waits.
    pub fn new(rule: PostRule) -> PostQueue {
        PostQueue {
            waiting: VecDeque::new(),
            handed_over: 0,
            weight: 0,
            out: None,
            entries_max: usize::MAX,
            refused_through: 0,
            bytes_max: rule.batch.bytes,
            case: None,
            taken: None,
            rule,
        }
    }

    /// Takes entries of a lane; `through` were handed over on this connection with the last of them. Returns a report where there is
    /// nothing to tell the server.
    pub fn push(&mut self, now: Time, lane: usize, through: u64, entries: Vec<Entry>) -> Option<LinkReport> {
        let places = ordinals(self.handed_over, through, entries.len());
        self.handed_over = through;
        let mut report = None;
        for (ordinal, entry) in places.zip(entries) {
            if RequestBody::has_element(self.rule.elements, &entry) {
                self.weight += entry.weight();
                self.waiting.push_back(Waiting { lane, ordinal, entry, at: now });
            } else if let Some(before) = self.waiting.back_mut() {
                before.ordinal = ordinal;
            } else {
                report = Some(LinkReport::Confirmed(ordinal));
            }
        }
        report
    }

    /// Whether a request is under way.
    pub fn is_busy(&self) -> bool {
        self.out.is_some()
    }

    /// The entries of the request that is under way, each with its lane.
    pub fn under_way(&self) -> Vec<(usize, &Entry)> {
        let own = |own: &'_ Waiting| own.lane;
        match (self.out, &self.taken) {
            (Some((Out::Front(count), _)), _) => {
                self.waiting.iter().take(count).map(|waiting| (own(waiting), &waiting.entry)).collect()
            }
            (Some((Out::Behind(place), _)), _) => {
                self.waiting.get(place).map(|waiting| (own(waiting), &waiting.entry)).into_iter().collect()
            }
            (Some((Out::Taken, _)), Some((lane, entry))) => vec![(*lane, entry)],
            (Some((Out::Taken, _)), None) | (None, _) => Vec::new(),
        }
    }

    /// When [`PostQueue::next`] has a request although nothing more comes.
    pub fn deadline(&self) -> Option<Time> {
        let first = self.waiting.front().filter(|_| self.out.is_none())?;
        Some(first.at + self.rule.batch.after)
    }

    /// The request that is to be sent at this moment.
    pub fn next(&mut self, now: Time) -> Option<Post> {
        if self.out.is_some() || self.waiting.is_empty() || !self.is_due(now) {
            return None;
        }
        let out = match &self.case {
            Some(case) if !case.passed => self.control(case)?,
            Some(_) => Out::Front(1),
            None => Out::Front(self.rule.batch.messages.min(self.entries_max).min(self.waiting.len())),
        };
        let (post, out) = self.write(out);
        self.out = Some((out, post.body.len()));
        Some(post)
    }

    /// The server has answered the request with this status; `words` tell it. Returns what is to be reported. Behind a `Closed` comes
    /// nothing more.
    pub fn answered(&mut self, meaning: Meaning, words: &str) -> Vec<LinkReport> {
        let Some((out, bytes)) = self.out.take() else { return Vec::new() };
        match (meaning, out) {
            (Meaning::Failed(closing), _) => vec![LinkReport::Closed { closing, error: words.to_owned() }],
            (Meaning::Taken, Out::Front(count)) => self.taken(count),
            (Meaning::Taken, Out::Taken) => {
                self.case.iter_mut().for_each(|case| case.passed = true);
                Vec::new()
            }
            (Meaning::Taken, Out::Behind(place)) => self.blame_those_before(place),
            (Meaning::TooLarge, Out::Front(2..)) => {
                let smaller = (bytes.min(self.bytes_max) / 2).max(BYTES_LEAST);
                if smaller < self.bytes_max.min(bytes) {
                    self.bytes_max = smaller;
                } else {
                    self.halve(out);
                }
                Vec::new()
            }
            (Meaning::Refused, Out::Front(2..)) => {
                self.halve(out);
                Vec::new()
            }
            (Meaning::Refused | Meaning::TooLarge, Out::Front(_)) => self.suspect(words),
            (Meaning::Refused | Meaning::TooLarge, Out::Taken) => {
                self.case.iter_mut().for_each(|case| case.taken_failed = true);
                self.unless_hopeless()
            }
            (Meaning::Refused | Meaning::TooLarge, Out::Behind(_)) => {
                self.case.iter_mut().for_each(|case| case.behind.push(words.to_owned()));
                self.unless_hopeless()
            }
        }
    }

    fn is_due(&self, now: Time) -> bool {
        self.case.is_some()
            || self.entries_max != usize::MAX
            || self.waiting.len() >= self.rule.batch.messages
            || self.weight >= self.bytes_max
            || self.deadline().is_some_and(|at| at <= now)
    }

    fn write(&self, out: Out) -> (Post, Out) {
        let mut body = RequestBody::new(self.rule.encoding, self.rule.elements);
        let epoch = |lane: usize| self.rule.epochs.get(lane).map_or("", String::as_str);
        let alone = match (out, &self.taken) {
            (Out::Front(count), _) => {
                let mut front = self.waiting.iter().take(count);
                let fits =
                    front.by_ref().take_while(|own| body.push(epoch(own.lane), &own.entry, self.bytes_max));
                let entries = fits.count();
                return (Post { body: body.finish(), entries }, Out::Front(entries));
            }
            (Out::Taken, Some((lane, entry))) => Some((*lane, entry)),
            (Out::Taken, None) => None,
            (Out::Behind(place), _) => self.waiting.get(place).map(|own| (own.lane, &own.entry)),
        };
        if let Some((lane, entry)) = alone {
            body.push(epoch(lane), entry, self.bytes_max);
        }
        (Post { body: body.finish(), entries: 1 }, out)
    }

    /// Control of whether the server takes anything, if there is something left to try.
    fn control(&self, case: &Case) -> Option<Out> {
        if self.taken.is_some() && !case.taken_failed {
            return Some(Out::Taken);
        }
        let place = case.behind.len() + 1;
        (place <= BEHIND_MAX && place < self.waiting.len()).then_some(Out::Behind(place))
    }

    /// The server took so many from the front.
    fn taken(&mut self, count: usize) -> Vec<LinkReport> {
        let full = self.entries_max;
        let Some(last) = self.leave(count) else { return Vec::new() };
        self.case = None;
        let through = last.ordinal;
        self.keep(last);
        if through < self.refused_through {
            let rest = self.waiting.iter().take_while(|own| own.ordinal <= self.refused_through).count();
            self.entries_max = (rest / 2).max(1);
        } else if full != usize::MAX {
            self.widen();
        }
        vec![LinkReport::Confirmed(through)]
    }

    /// Widens step by step, each batch larger than the one before: the refused message may be one of several.
    fn widen(&mut self) {
        let wider = self.entries_max.saturating_mul(2);
        self.entries_max = if wider >= self.rule.batch.messages { usize::MAX } else { wider };
    }

    fn halve(&mut self, out: Out) {
        let Out::Front(count) = out else { return };
        self.entries_max = (count / 2).max(1);
        self.refused_through = self.waiting.get(count - 1).map_or(0, |last| last.ordinal);
    }

    /// The entry at the front was refused alone.
    fn suspect(&mut self, words: &str) -> Vec<LinkReport> {
        if self.case.as_ref().is_some_and(|case| case.passed) {
            return self.blame(vec![words.to_owned()]);
        }
        self.entries_max = 1;
        self.case =
            Some(Case { reason: words.to_owned(), passed: false, taken_failed: false, behind: Vec::new() });
        self.unless_hopeless()
    }

    /// The end of the connection, if nothing shows that the server takes anything.
    fn unless_hopeless(&self) -> Vec<LinkReport> {
        match &self.case {
            Some(case) if self.control(case).is_none() => {
                let error = format!("{}, and takes no other message either", case.reason);
                vec![LinkReport::Closed { closing: Closing::Plain, error }]
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// The server took the one at this place and refuses all before it.
    fn blame_those_before(&mut self, place: usize) -> Vec<LinkReport> {
        let Some(case) = &self.case else { return Vec::new() };
        let reasons = std::iter::once(case.reason.clone()).chain(case.behind.iter().cloned());
        let reasons = reasons.take(place).collect();
        let mut reports = self.blame(reasons);
        reports.pop();
        reports.extend(self.taken(1));
        reports
    }

    /// Sets entries at the front aside, each for its reason. A gap that the server refuses is not told; it is counted where it arose.
    fn blame(&mut self, reasons: Vec<String>) -> Vec<LinkReport> {
        let mut reports = Vec::new();
        let mut through = 0;
        for reason in reasons {
            let Some(own) = self.leave(1) else { break };
            through = own.ordinal;
            if let Body::Message(_) = own.entry.body {
                reports.push(LinkReport::Nack { lane: own.lane, seq: own.entry.seq, reason });
            }
        }
        self.case = None;
        self.widen();
        reports.push(LinkReport::Confirmed(through));
        reports
    }

    /// Takes so many from the front. Returns the last of them.
    fn leave(&mut self, count: usize) -> Option<Waiting> {
        let leaving = self.waiting.drain(..count.min(self.waiting.len()));
        let mut last = None;
        for own in leaving {
            self.weight -= own.entry.weight();
            last = Some(own);
        }
        last
    }

    fn keep(&mut self, own: Waiting) {
        if matches!(own.entry.body, Body::Message(_)) && own.entry.weight() <= TAKEN_MAX {
            self.taken = Some((own.lane, Entry { replayed: true, ..own.entry }));
        }
    }
}

#[cfg(test)]
mod tests;
