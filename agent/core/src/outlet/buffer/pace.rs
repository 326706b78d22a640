//! When a commit starts.
//!
//! A sync costs the card about the same whatever it saves, so on average there is at most one each `commit_after`. What was not
//! used of that is saved up for a while: who waits for an answer gets it sooner as long as that lasts. A commit that is large
//! enough need not wait at all, since waiting does not make it cheaper. A daily budget slows all of this down.

use std::time::Duration;

use super::{Buffer, COMMIT_BYTES_MAX, Commit, Outlet, Start};
use crate::observe::meter;
use crate::time::Time;

/// Bytes of entries that are worth a commit of their own: it does not get cheaper by waiting.
const ENOUGH_BYTES: usize = 512 * 1024;
/// Commits that can be saved up, and for how long at most.
const SAVED_COMMITS: u32 = 40;
const SAVED_TIME: Duration = Duration::from_secs(10);
/// Silence after which every sender is taken to wait for its answer. It grows with the pauses that senders make between messages
/// for which they do not wait.
const SILENCE: Duration = Duration::from_millis(4);
/// Longer pauses say nothing about a sender that goes on.
const PAUSE_MAX: Duration = Duration::from_millis(15);

/// What was not used of one commit each `commit_after`, and the rhythm of the senders.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Time that is left of what was saved, and since when more is added to it.
    spent: Duration,
    since: Time,
    /// When the last batch came in, and when the last one was answered by the disk.
    arrived_at: Time,
    answered_at: Time,
    /// The longest pause between the last messages for which nobody waited.
    pause: Duration,
}

impl Pace {
    /// A batch came in whose sender is told when it is safe.
    pub(super) fn arrived(&mut self, now: Time) {
        let pause = now.since(self.arrived_at.max(self.answered_at));
        if pause <= PAUSE_MAX {
            self.pause = pause.max(self.pause - self.pause / 8);
        }
        self.arrived_at = now;
    }

    /// The senders were answered by a commit.
    pub(super) fn answered(&mut self, now: Time) {
        self.answered_at = now;
    }

    /// A commit begins, of which there may be one each `each` on average.
    fn spend(&mut self, now: Time, each: Duration) {
        self.spent = (self.spent.saturating_sub(now.since(self.since)) + each).min(saved_max(each));
        self.since = now;
    }

    /// When enough is saved for a commit beside those that come anyway.
    fn affordable_at(&self, each: Duration) -> Time {
        self.since + self.spent.saturating_sub(saved_max(each).saturating_sub(each))
    }

    /// When the senders are taken to wait, unless another message comes.
    fn silent_at(&self) -> Time {
        self.arrived_at + SILENCE.max(self.pause * 2)
    }
}

fn saved_max(each: Duration) -> Duration {
    (each * SAVED_COMMITS).min(SAVED_TIME).max(each)
}

impl Buffer {
    /// Age at which a message goes to the disk while a link is up, and time between two commits on average. A full commit does not
    /// get cheaper by waiting, and what waits in memory must not keep others out.
    pub fn commit_after(&self) -> Duration {
        let rule = &self.rule;
        if self.waiting_bytes() >= COMMIT_BYTES_MAX {
            return rule.commit_after;
        }
        meter::pace(rule.commit_after, rule.daily_budget, self.facts.today.bytes)
    }

    /// A commit begins.
    pub(super) fn pace_begins(&mut self, now: Time) {
        let each = self.rule.commit_after;
        self.pace.spend(now, each);
    }

    pub(super) fn commit_at(&self) -> Option<Time> {
        let Commit::Idle { not_before } = self.commit else { return None };
        if self.is_volatile() {
            return None;
        }
        let due_at = match self.start {
            Start::Gaps => Some(not_before),
            Start::Sequences => None,
            Start::Done => self.due_at().map(|at| at.max(self.earliest_commit(not_before))),
        };
        due_at.filter(|_| !self.dropping)
    }

    pub(super) fn is_commit_due(&self, now: Time) -> bool {
        let Commit::Idle { not_before } = self.commit else { return false };
        let ripe = match self.start {
            Start::Gaps => true,
            Start::Sequences => false,
            Start::Done => self.due_at().is_some_and(|at| at <= now),
        };
        ripe && self.earliest_commit(not_before) <= now && !self.dropping
    }

    /// When the oldest message in memory should go to the disk.
    fn due_at(&self) -> Option<Time> {
        let commit_after = self.commit_after();
        let ripe = |outlet: &Outlet| {
            let queue = &outlet.queue;
            // A gap alone promises nothing to anybody, so it can wait until the agent stops.
            let worth = self.flush_now || queue.memory_messages() > 0;
            let arrived = queue.oldest_in_memory().filter(|_| worth)?;
            Some(if outlet.is_up { arrived + commit_after } else { arrived })
        };
        self.outlets.iter().filter_map(ripe).min()
    }

    /// When the next commit may be, if one each `commit_after` might be at that time. The first one of a life does not wait.
    fn earliest_commit(&self, not_before: Time) -> Time {
        if self.start != Start::Done || not_before == Time::default() {
            return not_before;
        }
        let stretched = self.commit_after().saturating_sub(self.rule.commit_after);
        if !stretched.is_zero() {
            return not_before + stretched;
        }
        let waiting = self.bytes_without_a_link();
        if waiting >= ENOUGH_BYTES {
            return Time::default();
        }
        // What a link may confirm any moment is not hurried, nor what nobody waits for.
        if waiting == 0 || self.accepts.is_empty() {
            return not_before;
        }
        let affordable_at = self.pace.affordable_at(self.rule.commit_after);
        not_before.min(affordable_at.max(self.pace.silent_at()))
    }

    /// Bytes of what waits in memory and only the disk can make safe.
    fn bytes_without_a_link(&self) -> usize {
        let down = self.outlets.iter().filter(|outlet| !outlet.is_up);
        down.map(|outlet| outlet.queue.memory_bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::buffer::{Buffer as Rule, BufferLimits};
    use crate::ids::{LinkId, OutletId, RequestId};
    use crate::message::{Boot, Clock, Format};
    use crate::observe::meter::Count;
    use crate::outlet::buffer::BufferEffect;
    use crate::outlet::buffer::OutletOwner;
    use crate::outlet::lane::Routes;
    use crate::outlet::store_protocol::{Held, Opened, StoreFacts, StoreOrder, StoreReport};
    use crate::source::intake::Draft;
    use crate::time::Now;

    /// A buffer without a link that has written so much of its budget of 1000 bytes.
    struct Bench {
        buffer: Buffer,
        facts: StoreFacts,
    }

    fn at(ms: u64) -> Time {
        Time::default() + Duration::from_millis(ms)
    }

    impl Bench {
        fn having_written(bytes: u64) -> Bench {
            let today = Count { bytes, syncs: 1 };
            let facts = StoreFacts { held: vec![Held::default()], today, ..StoreFacts::default() };
            let opened =
                Opened { outlets: vec!["client:a".to_owned()], facts: facts.clone(), ..Opened::default() };
            let rule = Rule { daily_budget: Some(1000), ..Rule::default() };
            let owner = OutletOwner {
                link: LinkId(0),
                priority: 0,
                bounds: rule.bounds(BufferLimits::default()),
                gone: false,
            };
            let buffer = Buffer::new(rule, vec![owner], &["E".to_owned()], &opened, 0, 0);
            let mut bench = Bench { buffer, facts };
            bench.commits(0);
            bench.hear(0, StoreReport::NumbersSaved);
            bench
        }

        fn hear(&mut self, ms: u64, report: StoreReport) {
            self.buffer.handle(at(ms), report, self.facts.clone(), &mut Vec::new());
        }

        fn offer(&mut self, ms: u64, bytes: usize) {
            let now = Now { mono: at(ms), wall_ns: 0, clock: Clock::Unsynced, boot: Boot(1), up_ns: ms };
            let (topic, source, format) = ("t".to_owned(), "test".into(), Format::Text);
            let payload = vec![b'x'; bytes];
            let (device, attributes) = (None, Vec::new());
            let draft =
                Draft { topic, device, source, format, payload, attributes, priority: 0, ttl_s: None };
            assert_eq!(
                self.buffer.offer(
                    now,
                    Some(RequestId(ms)),
                    vec![draft],
                    None,
                    &Routes::to(&[OutletId(0)]),
                    &mut Vec::new()
                ),
                None
            );
        }

        fn commits(&mut self, ms: u64) -> bool {
            let mut out = Vec::new();
            self.buffer.advance(at(ms), &mut out);
            let deadline = self.buffer.deadline();
            assert!(deadline.is_none_or(|deadline| deadline > at(ms)), "the loop would spin");
            out.iter().any(|effect| matches!(effect, BufferEffect::Disk(StoreOrder::Append { .. })))
        }

        /// When the second message is committed, without and with a deadline that is waited for.
        fn second_commit(&mut self, bytes: usize) -> u64 {
            self.offer(1, 9);
            assert!(self.commits(1), "the first one after a start does not wait");
            self.hear(1, StoreReport::Appended);
            self.offer(2, bytes);
            let tried = (2..70_000).find(|ms| self.commits(*ms));
            tried.expect("it is bounded")
        }
    }

    #[test]
    fn the_pace_is_the_usual_one_while_the_day_has_room() {
        assert_eq!(Bench::having_written(400).second_commit(9), 6);
    }

    #[test]
    fn a_budget_that_is_used_up_lets_messages_wait_for_a_minute_and_no_longer() {
        assert_eq!(Bench::having_written(5000).second_commit(9), 60_001);
    }

    #[test]
    fn what_fills_a_commit_waits_for_nothing() {
        assert_eq!(Bench::having_written(5000).second_commit(COMMIT_BYTES_MAX), 2);
        assert_eq!(Bench::having_written(400).second_commit(ENOUGH_BYTES), 2);
    }

    #[test]
    fn a_sender_that_waits_for_each_answer_gets_it_at_once_while_saved_commits_last() {
        let (mut bench, mut ms) = (Bench::having_written(0), 20_000);
        let mut waited = Vec::new();
        for _ in 0..60 {
            bench.offer(ms, 9);
            let at = (ms..).find(|ms| bench.commits(*ms)).expect("it is bounded");
            bench.hear(at + 2, StoreReport::Appended);
            waited.push(at - ms);
            ms = at + 3;
        }
        assert!(waited[0] == 0 && waited[1..40].iter().all(|ms| *ms <= 4), "{waited:?}");
        assert!(waited[43..].iter().all(|ms| (240..=250).contains(ms)), "{waited:?}");
    }

    #[test]
    fn a_sender_with_messages_in_flight_gets_them_all_in_one_commit() {
        let mut bench = Bench::having_written(0);
        bench.offer(20_000, 9);
        assert!(bench.commits(20_000));
        for ms in 20_001..20_020 {
            bench.offer(ms, 9);
            assert!(!bench.commits(ms), "one is on its way");
        }
        bench.hear(20_021, StoreReport::Appended);
        assert!(!bench.commits(20_021) && bench.commits(20_023), "four after the last one");
    }

    /// Commits in ten seconds while a message comes each so many milliseconds, whether it is answered or not.
    fn commits_of_a_stream(each_ms: u64) -> usize {
        let (mut bench, mut writing) = (Bench::having_written(0), None);
        let mut commits = 0;
        for ms in 20_000..30_000 {
            if ms % each_ms == 0 {
                bench.offer(ms, 9);
            }
            if writing == Some(ms) {
                bench.hear(ms, StoreReport::Appended);
            }
            if bench.commits(ms) {
                (commits, writing) = (commits + 1, Some(ms + 3));
            }
        }
        commits
    }

    #[test]
    fn a_sender_that_does_not_wait_for_its_answers_uses_up_nothing_of_what_is_saved() {
        for each_ms in [1, 5, 10] {
            let commits = commits_of_a_stream(each_ms);
            assert!((40..=42).contains(&commits), "{commits} with one each {each_ms} ms");
        }
    }

    #[test]
    fn there_is_never_more_than_one_commit_each_commit_after_beside_what_was_saved() {
        for each_ms in [17, 30, 60, 100] {
            let commits = commits_of_a_stream(each_ms);
            assert!((40..=81).contains(&commits), "{commits} with one each {each_ms} ms");
        }
    }

    #[test]
    fn what_is_saved_is_forty_commits_or_ten_seconds() {
        let saved = |ms| saved_max(Duration::from_millis(ms)).as_millis();
        assert_eq!([saved(10), saved(250), saved(1000), saved(60_000)], [400, 10_000, 10_000, 60_000]);
    }

    #[test]
    fn a_stop_does_not_wait_for_the_budget() {
        let mut bench = Bench::having_written(5000);
        bench.offer(1, 9);
        assert!(bench.commits(1));
        bench.hear(1, StoreReport::Appended);
        bench.offer(2, 9);
        bench.buffer.flush_now();
        assert!(bench.commits(3));
    }
}
