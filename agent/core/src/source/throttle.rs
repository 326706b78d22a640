//! How fast someone may send: one bucket for each connection, user or address, and the patience with those who go on.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config;
use crate::source::bucket::Bucket;
use crate::time::Time;

/// How many addresses or users are remembered at a time.
const REMEMBERED: usize = 4096;
/// Warnings are this far apart, so that whoever reads them can do something about it.
const WARNING_INTERVAL: Duration = Duration::from_millis(500);
/// Warnings before a peer that goes on is closed.
const WARNINGS: u32 = 10;
/// After so long without one everything is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// The throttle of one connection, user or address.
#[derive(Debug, Clone)]
pub struct Throttle {
    bucket: Option<Bucket>,
    at: Time,
}

impl Throttle {
    /// A full one, or one that is always open.
    pub fn new(rule: Option<config::throttle::Throttle>, now: Time) -> Throttle {
        let bucket = rule.map(|rule| Bucket::new(rule.amount, rule.per.seconds(), rule.burst));
        Throttle { bucket, at: now }
    }

    /// How many messages may pass at this moment.
    pub fn room(&mut self, now: Time) -> u64 {
        self.advance(now);
        self.bucket.as_ref().map_or(u64::MAX, Bucket::room)
    }

    /// How long until one may pass.
    pub fn wait(&self) -> Duration {
        let wait_ns = self.bucket.as_ref().map_or(0, Bucket::wait_ns);
        Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(u64::MAX))
    }

    /// Takes note of messages that have passed. More than there was room for are owed.
    pub fn spend(&mut self, messages: u64) {
        if let Some(bucket) = &mut self.bucket {
            bucket.spend(i128::from(messages));
        }
    }

    fn advance(&mut self, now: Time) {
        let nanos = i128::try_from(now.since(self.at).as_nanos()).unwrap_or(i128::MAX);
        self.at = self.at.max(now);
        if let Some(bucket) = &mut self.bucket {
            bucket.fill(nanos);
        }
    }

    fn is_full(&mut self, now: Time) -> bool {
        self.advance(now);
        self.bucket.as_ref().is_none_or(Bucket::is_full)
    }
}

/// The throttles of many, of whom the ones that matter are remembered.
#[derive(Debug)]
pub struct Throttles<K> {
    rule: Option<config::throttle::Throttle>,
    known: BTreeMap<K, Throttle>,
}

impl<K: Ord + Clone> Throttles<K> {
    /// Nobody has sent anything.
    pub fn new(rule: Option<config::throttle::Throttle>) -> Throttles<K> {
        Throttles { rule, known: BTreeMap::new() }
    }

    /// The throttle of this one, if there is a rule.
    pub fn of(&mut self, who: &K, now: Time) -> Option<&mut Throttle> {
        let rule = Some(self.rule?);
        if self.known.len() >= REMEMBERED && !self.known.contains_key(who) {
            self.forget(now);
        }
        Some(self.known.entry(who.clone()).or_insert_with(|| Throttle::new(rule, now)))
    }

    /// Forgets all who have a full bucket, which is as good as never seen; if nobody has one, who was quiet for the longest time.
    fn forget(&mut self, now: Time) {
        let quiet = self.known.iter().min_by_key(|(_, throttle)| throttle.at).map(|(who, _)| who.clone());
        self.known.retain(|_, throttle| !throttle.is_full(now));
        if self.known.len() >= REMEMBERED
            && let Some(quiet) = quiet
        {
            self.known.remove(&quiet);
        }
    }
}

/// The patience with a connection that sends too fast.
#[derive(Debug, Default, Clone)]
pub struct Patience {
    warnings: u32,
    last: Option<Time>,
}

/// Answer to messages that are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reproof {
    /// They are refused.
    Refuse,
    /// They are refused, and that is worth a word.
    Warn,
    /// There were enough words.
    Close,
}

impl Patience {
    /// Messages were refused because they were too many.
    pub fn refused(&mut self, now: Time) -> Reproof {
        let since = self.last.map(|last| now.since(last));
        match since {
            Some(since) if since < WARNING_INTERVAL => return Reproof::Refuse,
            Some(since) if since >= FORGIVEN_AFTER => self.warnings = 0,
            Some(_) | None => {}
        }
        self.last = Some(now);
        self.warnings += 1;
        if self.warnings > WARNINGS { Reproof::Close } else { Reproof::Warn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::throttle::Per;

    fn rule(amount: u64, burst: u64) -> Option<config::throttle::Throttle> {
        Some(config::throttle::Throttle { amount, per: Per::Second, burst })
    }

    fn at(ms: u64) -> Time {
        Time::default() + Duration::from_millis(ms)
    }

    #[test]
    fn a_throttle_lets_the_burst_pass_and_then_the_rate() {
        let mut throttle = Throttle::new(rule(2, 5), at(0));
        let passed: u64 = (0..=10_000)
            .map(|ms| {
                let room = throttle.room(at(ms));
                throttle.spend(room);
                room
            })
            .sum();
        assert_eq!(passed, 25);
    }

    #[test]
    fn a_batch_that_was_larger_than_its_room_is_waited_for() {
        let mut throttle = Throttle::new(rule(10, 10), at(0));
        throttle.spend(30);
        assert_eq!((throttle.room(at(0)), throttle.wait().as_millis()), (0, 2100));
        assert_eq!((throttle.room(at(2099)), throttle.room(at(2100))), (0, 1));
    }

    #[test]
    fn without_a_rule_everything_passes() {
        let mut throttle = Throttle::new(None, at(0));
        throttle.spend(u64::MAX);
        assert_eq!((throttle.room(at(0)), throttle.wait()), (u64::MAX, Duration::ZERO));
    }

    #[test]
    fn each_has_a_throttle_of_its_own_and_there_is_a_bound_on_their_number() {
        let mut throttles = Throttles::new(rule(1, 2));
        let of = |throttles: &mut Throttles<usize>, who, ms, spent| {
            let throttle = throttles.of(&who, at(ms)).unwrap();
            throttle.spend(spent);
            throttle.room(at(ms))
        };
        assert_eq!((of(&mut throttles, 0, 0, 2), of(&mut throttles, 1, 0, 0)), (0, 2));
        for who in 1..REMEMBERED + 500 {
            of(&mut throttles, who, 1, 0);
            assert!(throttles.known.len() <= REMEMBERED);
        }
        assert_eq!(
            of(&mut throttles, 0, 1, 0),
            0,
            "who owes something is not forgotten for those who do not"
        );
        for who in 0..REMEMBERED + 500 {
            of(&mut throttles, who, 10, 2);
            assert!(throttles.known.len() <= REMEMBERED);
        }
    }

    #[test]
    fn without_a_rule_nobody_is_remembered() {
        let mut throttles = Throttles::new(None);
        assert!(throttles.of(&1, at(0)).is_none() && throttles.known.is_empty());
    }

    #[test]
    fn whoever_goes_on_for_five_seconds_is_closed_after_ten_warnings() {
        let mut patience = Patience::default();
        let reproofs: Vec<(u64, Reproof)> =
            (0..=60).map(|tenth| tenth * 100).map(|ms| (ms, patience.refused(at(ms)))).collect();
        let warned: Vec<u64> =
            reproofs.iter().filter(|(_, reproof)| *reproof == Reproof::Warn).map(|(ms, _)| *ms).collect();
        assert_eq!(warned, (0..10).map(|number| number * 500).collect::<Vec<_>>());
        assert_eq!(
            reproofs.iter().find(|(_, reproof)| *reproof == Reproof::Close),
            Some(&(5000, Reproof::Close))
        );
    }

    #[test]
    fn who_is_too_fast_now_and_then_is_warned_and_never_closed() {
        let mut patience = Patience::default();
        for minute in 0..100 {
            assert_eq!(patience.refused(at(minute * 60_000)), Reproof::Warn);
        }
    }
}
