//! The pace of the disk, as far as a daily budget slows it down.

use std::time::Duration;

use super::{Buffer, COMMIT_BYTES_MAX, Start};
use crate::observe::meter;
use crate::time::Time;

impl Buffer {
    /// Age at which a message goes to the disk, and time between two commits. A full commit does not get cheaper by waiting, and
    /// what waits in memory must not keep others out.
    pub fn commit_after(&self) -> Duration {
        let rule = &self.rule;
        if self.waiting_bytes() >= COMMIT_BYTES_MAX {
            return rule.commit_after;
        }
        meter::pace(rule.commit_after, rule.daily_budget, self.facts.today.bytes)
    }

    /// When the next commit may be, if without a budget it might be at that time. The first one of a life does not wait.
    pub(super) fn earliest_commit(&self, not_before: Time) -> Time {
        if self.start != Start::Done || not_before == Time::default() {
            return not_before;
        }
        not_before + self.commit_after().saturating_sub(self.rule.commit_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::buffer::{Buffer as Rule, BufferLimits};
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
                link: 0,
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
            let draft =
                Draft { topic, device: None, source, format, payload, attributes: Vec::new(), priority: 0 };
            assert_eq!(
                self.buffer.offer(now, None, vec![draft], None, &Routes::to(&[0]), &mut Vec::new()),
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
        assert_eq!(Bench::having_written(400).second_commit(9), 251);
    }

    #[test]
    fn a_budget_that_is_used_up_lets_messages_wait_for_a_minute_and_no_longer() {
        assert_eq!(Bench::having_written(5000).second_commit(9), 60_001);
    }

    #[test]
    fn what_fills_a_commit_does_not_wait_for_the_budget() {
        assert_eq!(Bench::having_written(5000).second_commit(COMMIT_BYTES_MAX), 251);
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
