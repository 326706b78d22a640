//! All outlets together: who is told `stored` and when, what goes to the disk and when, and what gives way when it is full.
//!
//! It owns the pace of the disk: on average at most one small commit each `commit_after`, whatever number of senders and outlets
//! there is.

mod admit;
mod again;
mod bound;
mod expire;
mod health;
mod memory;
mod outlet;
mod pace;
mod purge;
mod reserve;
mod upkeep;
mod volatile;
mod widen;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use self::expire::Expiry;
use self::health::{Failure, Shortage};
use self::memory::Memory;
pub use self::outlet::{Outlet, OutletOwner};
use self::pace::Pace;
use self::upkeep::Reads;
use self::volatile::Volatile;
use self::widen::Coming;
use crate::config::buffer::Buffer as Rule;
use crate::config::replay::Replay;
use crate::ids::{OutletId, RequestId, Table};
use crate::message::Message;
use crate::observe::log_event::LogEvent;
use crate::outlet::pending_acks::PendingAcks;
use crate::outlet::queue::OutletQueue;
use crate::outlet::sequence::{self, Reserve};
use crate::outlet::store_protocol::{Opened, SequenceRange, Sequences, StoreFacts, StoreOrder, StoreReport};
use crate::source::intake::{Answer, Draft};
use crate::source::last::Last;
use crate::time::Time;

/// Bytes of entries in one commit of one outlet, and of all outlets together.
const COMMIT_BYTES_MAX: usize = 2 * 1024 * 1024;
const COMMIT_BYTES_ALL: usize = 4 * COMMIT_BYTES_MAX;
/// What follows from a step of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BufferEffect {
    /// An order to the disk.
    Disk(StoreOrder),
    /// The answer to a batch.
    Answer(RequestId, Answer),
    /// Nothing of a batch was taken since too much waits: here it is again, for later.
    GiveBack(RequestId, Vec<Draft>),
    /// Something that people want to know.
    Note(LogEvent),
}

/// How the buffer is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BufferState {
    /// Nothing waits for its turn.
    Empty,
    /// Messages wait for a link, or for those before them.
    Holding,
    /// The bound is reached.
    Full,
    /// The disk does not take anything.
    Failing,
}

/// How the store is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreState {
    /// It takes what it is given.
    Ok,
    /// It gives out what it has, and takes nothing.
    ReadOnly,
    /// It takes nothing, and gives nothing out.
    Failing,
}

/// What was taken, the agent's own news included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Messages.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// The outlets and their disk.
#[derive(Debug)]
pub struct Buffer {
    rule: Rule,
    outlets: Table<OutletId, Outlet>,
    /// How many of them have had numbers, or will have them before anything is taken.
    usable: usize,
    coming: Coming,
    accepts: PendingAcks,
    memory: Memory,
    reads: Reads,
    ids: SequenceRange,
    base: Sequences,
    /// Names the run that the numbers on the disk belong to.
    run_on_disk: u64,
    reserve: Reserve,
    start: Start,
    commit: Commit,
    pace: Pace,
    dropping: bool,
    facts: StoreFacts,
    /// Orders that are not reported yet.
    asked: usize,
    /// When the disk reported last, or was first asked since.
    heard_at: Time,
    failure: Option<Failure>,
    shortage: Option<Shortage>,
    accepted: Accepted,
    last: Last,
    /// Accepted since the last turn.
    fresh_news: Vec<Arc<Message>>,
    /// Accepted in the turn before.
    news: Vec<Arc<Message>>,
    dropped: u64,
    expiry: Expiry,
    refused: u64,
    /// Whether something had to give way or was refused, and no quarter of the room is free since.
    full: bool,
    /// Whether the file system gives less than the configuration allows.
    bounded_by_disk: bool,
    volatile: Volatile,
    /// The agent is stopping: commit at once.
    flush_now: bool,
}

/// What must be on the disk before the first number is used: the gaps of the last run, then the new numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Gaps,
    Sequences,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commit {
    Idle { not_before: Time },
    Writing { since: Time },
}

impl Buffer {
    /// Goes on after the last run. There is a seat for each outlet, and a birth: its epoch if it has none yet.
    /// `run` names this one.
    pub fn new(
        rule: Rule,
        owners: Vec<OutletOwner>,
        new_epochs: &[String],
        opened: &Opened,
        run: u64,
        wall_ns: u64,
    ) -> Self {
        let names = &opened.outlets;
        let held = &opened.facts.held;
        let resumed = sequence::resume(opened, run, new_epochs, wall_ns);
        let mut outlets = Table::default();
        for (((name, owner), gap), held) in names.iter().zip(owners).zip(&resumed.gaps).zip(held) {
            let own = resumed.numbers.outlets[name].clone();
            let start = SequenceRange { next: own.block.next, end: own.block.next };
            let queue = OutletQueue::new(name.clone(), own.epoch, start, *held, *gap);
            outlets.push(Outlet::new(owner, queue.skipping(own.skipped)));
        }
        let gaps = resumed.gaps.iter().any(Option::is_some);
        let mut buffer = Buffer {
            rule,
            usable: outlets.len(),
            outlets,
            accepts: PendingAcks::default(),
            memory: Memory::default(),
            reads: Reads::default(),
            ids: SequenceRange { next: resumed.numbers.ids.next, end: resumed.numbers.ids.next },
            run_on_disk: volatile::run_on_disk(opened, run),
            base: resumed.numbers,
            reserve: Reserve::default(),
            start: if gaps { Start::Gaps } else { Start::Sequences },
            commit: Commit::Idle { not_before: Time::default() },
            pace: Pace::default(),
            dropping: false,
            facts: opened.facts.clone(),
            asked: 0,
            heard_at: Time::default(),
            accepted: Accepted::default(),
            last: Last::new(rule.last_values),
            fresh_news: Vec::new(),
            news: Vec::new(),
            failure: None,
            shortage: None,
            dropped: 0,
            expiry: Expiry::default(),
            refused: 0,
            full: false,
            bounded_by_disk: false,
            volatile: Volatile::new(new_epochs, opened),
            flush_now: false,
            coming: Coming::default(),
        };
        buffer.start_volatile(wall_ns);
        buffer
    }

    /// What an outlet holds.
    pub fn queue(&self, outlet: OutletId) -> &OutletQueue {
        &self.outlets[outlet].queue
    }

    /// What each outlet holds.
    pub fn queues(&self) -> impl Iterator<Item = &OutletQueue> {
        self.outlets.iter().map(|outlet| &outlet.queue)
    }

    fn queues_mut(&mut self) -> impl Iterator<Item = &mut OutletQueue> {
        self.outlets.iter_mut().map(|outlet| &mut outlet.queue)
    }

    /// The outlet with this name in the store.
    pub fn outlet_of(&self, name: &str) -> Option<OutletId> {
        self.outlets.first(|outlet| outlet.queue.name == name)
    }

    /// What an outlet holds, to send from. Confirmations go through [`Buffer::confirm`].
    pub fn queue_mut(&mut self, outlet: OutletId) -> &mut OutletQueue {
        &mut self.outlets[outlet].queue
    }

    /// How often the agent has started.
    pub fn session(&self) -> u64 {
        self.base.session
    }

    /// How the store stands.
    pub fn facts(&self) -> &StoreFacts {
        &self.facts
    }

    /// What was taken since the start.
    pub fn accepted(&self) -> Accepted {
        self.accepted
    }

    /// The last message of each topic.
    pub fn last(&self) -> &Last {
        &self.last
    }

    /// Nothing is accepted any more: what was shown is not shown again.
    pub fn end_news(&mut self) {
        self.news.clear();
    }

    /// What was accepted in the turn before the last [`Buffer::advance`].
    pub fn news(&self) -> &[Arc<Message>] {
        &self.news
    }

    /// Since when the disk owes an answer.
    pub fn owed_since(&self) -> Option<Time> {
        (self.asked > 0).then_some(self.heard_at)
    }

    /// Messages given up at a bound since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Messages refused since the start, without those that were taken and could not be made safe in time.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Why the disk takes nothing, if it does not.
    pub fn failure(&self) -> Option<&str> {
        let failed = self.failure.as_ref().map(|failure| &failure.error);
        failed.or(self.shortage.as_ref().map(|shortage| &shortage.error)).map(String::as_str)
    }

    /// Learns that the outlet's link came up: what is held is sent as its replay says.
    pub fn came_up(&mut self, outlet: OutletId, replay: &Replay) {
        let outlet = &mut self.outlets[outlet];
        outlet.is_up = true;
        outlet.queue.connected(replay);
    }

    /// Learns that the outlet's link was lost: all that is not confirmed will be sent again.
    pub fn went_down(&mut self, outlet: OutletId) {
        let outlet = &mut self.outlets[outlet];
        outlet.is_up = false;
        outlet.queue.disconnected();
    }

    /// How it is, in a word.
    pub fn state(&self) -> BufferState {
        if self.failure().is_some() {
            BufferState::Failing
        } else if self.full {
            BufferState::Full
        } else if self.is_behind() {
            BufferState::Holding
        } else {
            BufferState::Empty
        }
    }

    /// How the store is, in a word.
    pub fn store(&self) -> StoreState {
        match (&self.failure, &self.facts.read_only) {
            (Some(_), Some(_)) => StoreState::ReadOnly,
            (Some(_), None) => StoreState::Failing,
            (None, _) if self.shortage.is_some() => StoreState::Failing,
            (None, _) => StoreState::Ok,
        }
    }

    fn is_behind(&self) -> bool {
        self.live().any(Outlet::is_behind)
    }

    /// Whether no number may be used yet.
    pub fn is_starting(&self) -> bool {
        self.start != Start::Done
    }

    /// Whether every message that was taken is safe and the disk is at rest.
    pub fn is_settled(&self) -> bool {
        let at_rest = self.queues().all(|outbox| outbox.oldest_in_memory().is_none());
        at_rest && self.accepts.is_empty() && matches!(self.commit, Commit::Idle { .. })
    }

    /// Everything up to `seq` is confirmed by the outlet's peer.
    pub fn confirm(&mut self, outlet: OutletId, seq: u64, out: &mut Vec<BufferEffect>) -> bool {
        let mut safe = Vec::new();
        let changed = self.outlets[outlet].queue.confirm(seq, &mut safe);
        self.answer(&safe, out);
        changed
    }

    /// Everything that the outlet's link sent with or before the one with this ordinal is confirmed.
    pub fn confirm_sent(&mut self, outlet: OutletId, ordinal: u64, out: &mut Vec<BufferEffect>) -> bool {
        let mut safe = Vec::new();
        let changed = self.outlets[outlet].queue.confirm_sent(ordinal, &mut safe);
        self.answer(&safe, out);
        changed
    }

    /// Follows up on a number that the outlet's peer refused.
    pub fn settle(&mut self, outlet: OutletId, out: &mut Vec<BufferEffect>) {
        let mut safe = Vec::new();
        self.outlets[outlet].queue.settle(&mut safe);
        self.answer(&safe, out);
    }

    /// The disk has not reported yet, and gets on with it.
    pub fn heard(&mut self, now: Time) {
        self.heard_at = now;
    }

    /// Takes in what the disk reports.
    pub fn handle(&mut self, now: Time, report: StoreReport, facts: StoreFacts, out: &mut Vec<BufferEffect>) {
        for (queue, held) in self.queues_mut().zip(&facts.held) {
            queue.learn(*held);
        }
        self.facts = facts;
        self.heard_at = now;
        self.note_recovery(&report, out);
        match report {
            StoreReport::Appended => self.appended(now, out),
            StoreReport::Read { outlet, token, entries } => {
                self.reads.ended();
                self.outlets[outlet].queue.read(token, entries);
            }
            StoreReport::Forgot => self.queues_mut().for_each(|outbox| outbox.forget_ended(true)),
            StoreReport::Dropped { outlet, messages, gap } => self.gave_way(outlet, messages, gap, out),
            StoreReport::Expired { outlet, messages, gap } => self.has_expired(outlet, messages, gap, out),
            StoreReport::Purged { outlet, messages, gap } => self.purged(outlet, messages, gap, out),
            StoreReport::NumbersSaved => self.numbers_saved(),
            StoreReport::Widened => self.widened(),
            StoreReport::Reopened => self.volatile.reopened(),
            StoreReport::Failed { order, outlet, error } => self.failed(now, order, outlet, &error, out),
            StoreReport::SetAside { .. }
            | StoreReport::PresenceSaved
            | StoreReport::ClocksSaved
            | StoreReport::LetterDropped
            | StoreReport::Measured
            | StoreReport::Repaired { .. }
            | StoreReport::Closed => {}
        }
        self.note_shortage(now, out);
        self.note_bound(out);
    }

    /// Gives the disk what is due.
    pub fn advance(&mut self, now: Time, out: &mut Vec<BufferEffect>) {
        self.news = std::mem::take(&mut self.fresh_news);
        // Also before the first report.
        self.note_shortage(now, out);
        self.look_for_room(out);
        self.watch_the_disk(now, out);
        self.look_for_space(now, out);
        self.note_read_only(now, out);
        self.answer_in_time(now, out);
        let is_resting = self.is_resting(now);
        // What can be read goes out all the same.
        if is_resting && self.facts.read_only.is_none() {
            return;
        }
        let before = out.len();
        if !is_resting {
            self.write(now, out);
        }
        self.read_ahead(out);
        self.remove_confirmed(out);
        if self.asked == 0 {
            self.heard_at = now;
        }
        self.asked += out[before..].iter().filter(|effect| matches!(effect, BufferEffect::Disk(_))).count();
    }

    fn write(&mut self, now: Time, out: &mut Vec<BufferEffect>) {
        if self.is_volatile() {
            return self.reopen(out);
        }
        self.widen(out);
        self.reserve_numbers(now, out);
        if self.is_commit_due(now) {
            self.begin_commit(now, out);
        }
    }

    /// When [`Buffer::advance`] has something to do that no event announces.
    pub fn deadline(&self) -> Option<Time> {
        let look_at = self.shortage.as_ref().map(|shortage| shortage.look_at);
        let answer_at = self.answer_at();
        [self.work_at(), look_at, answer_at, self.expiry.deadline()].into_iter().flatten().min()
    }

    fn work_at(&self) -> Option<Time> {
        if let Some(failure) = &self.failure {
            return Some(failure.retry_at);
        }
        self.commit_at().into_iter().chain(self.silent_at()).min()
    }

    /// Commits what waits without regard to the pace: the agent is stopping.
    pub fn flush_now(&mut self) {
        if let Commit::Idle { not_before } = &mut self.commit {
            *not_before = Time::default();
        }
        self.rule.commit_after = Duration::ZERO;
        self.flush_now = true;
    }

    /// Goes on under another rule. The bounds of each outlet are a matter of [`Buffer::rebind`].
    pub fn reconfigure(&mut self, now: Time, rule: Rule) {
        self.rule = rule;
        self.last.resize(rule.last_values);
        if let Commit::Idle { not_before } = &mut self.commit {
            *not_before = (*not_before).min(now + rule.commit_after);
        }
    }

    /// Bytes that the store would have to take for what waits in memory: each outlet has its own there.
    fn waiting_bytes(&self) -> usize {
        self.queues().map(OutletQueue::memory_bytes).sum()
    }

    fn begin_commit(&mut self, now: Time, out: &mut Vec<BufferEffect>) {
        if self.make_room(out) {
            return;
        }
        self.pace_begins(now);
        let shares = self.commit_shares();
        let mut parts = Vec::new();
        for ((id, outlet), share) in self.outlets.pairs_mut().zip(shares) {
            let entries = outlet.queue.begin_commit(share);
            if !entries.is_empty() {
                parts.push((id, entries));
            }
        }
        self.commit = Commit::Writing { since: now };
        out.push(BufferEffect::Disk(StoreOrder::Append { parts }));
    }

    fn appended(&mut self, now: Time, out: &mut Vec<BufferEffect>) {
        let mut safe = Vec::new();
        self.queues_mut().for_each(|outbox| outbox.commit_done(&mut safe));
        let since = if let Commit::Writing { since } = self.commit { since } else { now };
        self.commit = Commit::Idle { not_before: since + self.rule.commit_after };
        if self.start == Start::Gaps {
            self.start = Start::Sequences;
        }
        self.pace.answered(now);
        self.answer(&safe, out);
    }

    fn gave_way(
        &mut self,
        outlet: OutletId,
        messages: u64,
        gap: Option<(u64, u64)>,
        out: &mut Vec<BufferEffect>,
    ) {
        self.dropping = false;
        self.dropped += messages;
        let queue = &mut self.outlets[outlet].queue;
        queue.given_up.dropped += messages;
        queue.reread();
        if let Some((from, to)) = gap {
            let outlet = queue.name.clone();
            out.push(BufferEffect::Note(LogEvent::DroppedOldest { outlet, messages, from, to }));
        }
    }

    /// Orders something outside of [`Buffer::advance`].
    fn order(&mut self, now: Time, order: StoreOrder, out: &mut Vec<BufferEffect>) {
        if self.asked == 0 {
            self.heard_at = now;
        }
        self.asked += 1;
        out.push(BufferEffect::Disk(order));
    }

    fn answer(&mut self, safe: &[u64], out: &mut Vec<BufferEffect>) {
        for id in safe {
            self.memory.release(*id);
            if let Some((request, answer)) = self.accepts.release(*id) {
                out.push(BufferEffect::Answer(request, answer));
            }
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
