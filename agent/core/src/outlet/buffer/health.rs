//! How well the disk is: it fails, it is silent, it is nearly full, it works again.

use std::time::Duration;

use super::{Buffer, BufferEffect, Commit};
use crate::ids::OutletId;
use crate::observe::log_event::LogEvent;
use crate::outlet::queue::OutletQueue;
use crate::outlet::store_protocol::{StoreOrder, StoreOrderKind, StoreReport};
use crate::source::intake::{Answer, Refused};
use crate::time::Time;

/// A commit without an answer for so long means that the disk is dead.
pub(super) const DISK_SILENCE: Duration = Duration::from_secs(30);
/// With less free on the file system nothing more is taken for the store: sled takes space by half a megabyte, also to
/// remove something.
const FREE_BYTES_MIN: u64 = 1 << 20;
/// With so much it is taken again.
const FREE_BYTES_ENOUGH: u64 = 2 << 20;
/// How often a file system that is short of space is looked at.
const SPACE_INTERVAL: Duration = Duration::from_secs(5);
/// While the store fails a sender waits for its answer no longer than this: other answers wait behind it, and a program that
/// talks HTTP gives up after half a minute.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// While the store fails, messages are taken for a link that confirms within this.
pub(super) const CONFIRMS_WITHIN: Duration = Duration::from_secs(2);
/// Wait before a failed order is given again.
pub(super) const DISK_RETRY: Duration = Duration::from_secs(2);
/// The same where nothing can be written, which seldom ends by itself.
const READ_ONLY_RETRY: Duration = Duration::from_secs(10);

/// The file system is nearly full.
#[derive(Debug)]
pub(super) struct Shortage {
    pub(super) error: String,
    pub(super) look_at: Time,
}

/// The disk failed, and is left alone for a while.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: String,
    pub(super) retry_at: Time,
    /// Whether orders were given since.
    pub(super) retried: bool,
}

impl Buffer {
    /// The store works again once everything that it was asked since it failed succeeded: one order that fails among
    /// others that don't must not fill the log with good and bad news.
    pub(super) fn note_recovery(&mut self, report: &StoreReport, out: &mut Vec<BufferEffect>) {
        if is_ours(report) {
            self.asked = self.asked.saturating_sub(1);
        }
        let failed = matches!(report, StoreReport::Failed { .. });
        if !failed && self.asked == 0 && self.failure.take_if(|failure| failure.retried).is_some() {
            out.push(BufferEffect::Note(LogEvent::StoreRecovered));
        }
    }

    /// The disk failed: it is told once, and tried again later.
    pub(super) fn note_failure(&mut self, now: Time, error: &str, out: &mut Vec<BufferEffect>) {
        // The kernel has the same words for no space and for no inodes.
        let error = match self.facts.free_files {
            Some(0) => format!("no inodes are left on the file system, which has too many files: {error}"),
            Some(_) | None => error.to_owned(),
        };
        if self.failure.is_none() {
            let error = error.clone();
            let is_readable = self.facts.read_only.is_some();
            let told = if is_readable {
                LogEvent::StoreReadOnly { error }
            } else {
                LogEvent::StoreFailing { error }
            };
            out.push(BufferEffect::Note(told));
        }
        self.failure = Some(Failure { error, retry_at: now + self.retry_after(), retried: false });
    }

    /// A store that could not be written at the start has failed already.
    pub(super) fn note_read_only(&mut self, now: Time, out: &mut Vec<BufferEffect>) {
        if self.is_volatile()
            && !self.is_over()
            && self.failure.is_none()
            && let Some(cause) = self.facts.read_only.clone()
        {
            self.note_failure(now, &cause, out);
        }
    }

    fn retry_after(&self) -> Duration {
        if self.facts.read_only.is_some() { READ_ONLY_RETRY } else { DISK_RETRY }
    }

    /// Whether a disk that failed is left alone at this moment.
    pub(super) fn is_resting(&mut self, now: Time) -> bool {
        let retry_after = self.retry_after();
        let Some(failure) = &mut self.failure else { return false };
        if now < failure.retry_at {
            return true;
        }
        failure.retry_at = now + retry_after;
        failure.retried = true;
        false
    }

    /// The store can neither remove nor even open on a full disk, so nothing is taken for it while there is still some room.
    /// What is held stays: it is not what fills the disk.
    pub(super) fn note_shortage(&mut self, now: Time, out: &mut Vec<BufferEffect>) {
        let least = if self.shortage.is_some() { FREE_BYTES_ENOUGH } else { FREE_BYTES_MIN };
        let free = self.facts.free_bytes.filter(|free| *free < least);
        match (free, self.shortage.is_some()) {
            (Some(free), false) => {
                let error = format!("only {} kB are free on the disk", free / 1000);
                out.push(BufferEffect::Note(LogEvent::StoreFailing { error: error.clone() }));
                self.shortage = Some(Shortage { error, look_at: now + SPACE_INTERVAL });
            }
            (None, true) => {
                self.shortage = None;
                out.push(BufferEffect::Note(LogEvent::StoreRecovered));
            }
            (Some(_), true) | (None, false) => {}
        }
    }

    pub(super) fn look_for_space(&mut self, now: Time, out: &mut Vec<BufferEffect>) {
        if let Some(shortage) = &mut self.shortage
            && shortage.look_at <= now
        {
            shortage.look_at = now + SPACE_INTERVAL;
            out.push(BufferEffect::Disk(StoreOrder::Measure));
        }
    }

    /// A disk that does not even fail must not look like one that works.
    pub(super) fn watch_the_disk(&mut self, now: Time, out: &mut Vec<BufferEffect>) {
        if self.failure.is_none() && self.silent_at().is_some_and(|at| at <= now) {
            self.note_failure(now, &format!("no answer from the disk for {} s", DISK_SILENCE.as_secs()), out);
        }
    }

    /// When the disk has been silent for too long.
    pub(super) fn silent_at(&self) -> Option<Time> {
        let writing = match self.commit {
            Commit::Writing { since } => Some(since),
            Commit::Idle { .. } => None,
        };
        Some(writing.or(self.owed_since())? + DISK_SILENCE)
    }

    /// Answers whoever waits for the store for too long: their messages are not safe. They stay in memory, and may still be
    /// delivered.
    pub(super) fn answer_in_time(&mut self, now: Time, out: &mut Vec<BufferEffect>) {
        while self.answer_at().is_some_and(|at| at <= now) {
            let (Some(error), Some(request)) = (self.failure().map(str::to_owned), self.accepts.give_up())
            else {
                return;
            };
            let error = format!("{error}; the messages wait in memory and may still be delivered");
            out.push(BufferEffect::Answer(request, Answer::Refused(Refused::Failing(error))));
        }
    }

    /// An order was not carried out; what it was about is as before.
    pub(super) fn failed(
        &mut self,
        now: Time,
        order: StoreOrderKind,
        outlet: Option<OutletId>,
        error: &str,
        out: &mut Vec<BufferEffect>,
    ) {
        match (order, outlet) {
            (StoreOrderKind::Append, _) => self.queues_mut().for_each(OutletQueue::commit_failed),
            (StoreOrderKind::Read, Some(outlet)) => {
                self.reads.ended();
                self.outlets[outlet].queue.read_failed();
            }
            (StoreOrderKind::Forget, _) => self.queues_mut().for_each(|outbox| outbox.forget_ended(false)),
            (StoreOrderKind::DropOldest | StoreOrderKind::Expire, _) => self.dropping = false,
            (StoreOrderKind::SaveNumbers, _) => drop(self.reserve.ended(false)),
            (StoreOrderKind::Widen, _) => self.widen_failed(),
            // Others ask for these at their own pace, which says nothing about when to try again.
            (StoreOrderKind::SetAside | StoreOrderKind::SavePresence | StoreOrderKind::SaveClocks, _)
                if self.failure.is_some() =>
            {
                return;
            }
            (
                StoreOrderKind::Read
                | StoreOrderKind::SetAside
                | StoreOrderKind::SavePresence
                | StoreOrderKind::SaveClocks
                | StoreOrderKind::Reopen
                | StoreOrderKind::Measure
                | StoreOrderKind::Close,
                _,
            ) => {}
        }
        if order == StoreOrderKind::Append {
            self.commit = Commit::Idle { not_before: now };
        }
        self.note_failure(now, error, out);
    }

    /// When somebody has waited for too long, while the store fails.
    pub(super) fn answer_at(&self) -> Option<Time> {
        self.failure().and(self.accepts.oldest()).map(|at| at + ANSWER_WITHIN)
    }
}

/// Whether the report belongs to an order of the buffer.
fn is_ours(report: &StoreReport) -> bool {
    match report {
        StoreReport::Failed { order, .. } => !matches!(
            order,
            StoreOrderKind::SetAside
                | StoreOrderKind::SavePresence
                | StoreOrderKind::SaveClocks
                | StoreOrderKind::Measure
                | StoreOrderKind::Close
        ),
        StoreReport::SetAside { .. }
        | StoreReport::Purged { .. }
        | StoreReport::Repaired { .. }
        | StoreReport::LetterDropped
        | StoreReport::PresenceSaved
        | StoreReport::ClocksSaved
        | StoreReport::Measured
        | StoreReport::Closed => false,
        StoreReport::Appended
        | StoreReport::Read { .. }
        | StoreReport::Forgot
        | StoreReport::Dropped { .. }
        | StoreReport::Expired { .. }
        | StoreReport::Widened
        | StoreReport::Reopened
        | StoreReport::NumbersSaved => true,
    }
}
