//! What a failed login costs: the answer comes late, later each time, and after some failures an address has to wait before
//! it may try again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::network::Remote;
use crate::time::Time;

/// How late the answer to the first failure comes; each one doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// So many failures are answered late.
const LATE_ANSWERS: u32 = 5;
/// How long an address waits after one failure more; each one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// A failure is forgotten after this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// How many addresses are remembered.
const REMEMBERED: usize = 1024;

/// Who has failed, and how often.
#[derive(Debug, Default)]
pub struct Penalties(BTreeMap<Remote, Failures>);

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Time,
    wait_until: Time,
}

/// What a failure costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Penalty {
    /// The failures of this address.
    pub count: u32,
    /// The answer is this late.
    pub delay: Duration,
    /// Another try is not looked at before this has passed.
    pub wait: Duration,
}

impl Penalties {
    /// How long an address has to wait before it may try, if it has to.
    pub fn wait(&self, now: Time, who: Remote) -> Option<Duration> {
        let wait = self.0.get(&who)?.wait_until.since(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// A login failed.
    pub fn failed(&mut self, now: Time, who: Remote) -> Penalty {
        self.forget(now, who);
        let failures = self.0.entry(who).or_insert(Failures { count: 0, last: now, wait_until: now });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        let count = failures.count;
        let delay = doubled(FIRST_DELAY, (count - 1).min(LATE_ANSWERS - 1));
        let wait = match count.checked_sub(LATE_ANSWERS + 1) {
            Some(more) => doubled(FIRST_WAIT, more).min(WAIT_MAX),
            None => Duration::ZERO,
        };
        failures.wait_until = now + wait;
        Penalty { count, delay: if wait.is_zero() { delay } else { Duration::ZERO }, wait }
    }

    /// A login succeeded: what was before is forgiven.
    pub fn succeeded(&mut self, who: Remote) {
        self.0.remove(&who);
    }

    fn forget(&mut self, now: Time, who: Remote) {
        if self.0.get(&who).is_some_and(|failures| now.since(failures.last) >= FORGOTTEN_AFTER) {
            self.0.remove(&who);
        }
        if self.0.len() < REMEMBERED || self.0.contains_key(&who) {
            return;
        }
        self.0.retain(|_, failures| now.since(failures.last) < FORGOTTEN_AFTER);
        let quiet = self.0.iter().min_by_key(|(_, failures)| failures.last).map(|(who, _)| *who);
        if let Some(quiet) = quiet.filter(|_| self.0.len() >= REMEMBERED) {
            self.0.remove(&quiet);
        }
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Time {
        Time::default() + Duration::from_secs(s)
    }

    fn remote(number: u32) -> Remote {
        Remote::of(core::net::Ipv4Addr::from(number).into())
    }

    fn fail_often(penalties: &mut Penalties, now: Time) {
        for _ in 0..9 {
            penalties.failed(now, remote(1));
        }
    }

    #[test]
    fn answers_come_later_each_time_and_then_the_address_has_to_wait() {
        let mut penalties = Penalties::default();
        let costs: Vec<(u128, u64)> = (0..12)
            .map(|_| penalties.failed(at(0), remote(1)))
            .map(|penalty| (penalty.delay.as_millis(), penalty.wait.as_secs()))
            .collect();
        let late = [(250, 0), (500, 0), (1000, 0), (2000, 0), (4000, 0)];
        let waits = [(0, 10), (0, 20), (0, 40), (0, 80), (0, 160), (0, 300), (0, 300)];
        assert_eq!(costs, [&late[..], &waits[..]].concat());
        assert_eq!(penalties.wait(at(299), remote(1)), Some(Duration::from_secs(1)));
        assert_eq!((penalties.wait(at(300), remote(1)), penalties.wait(at(0), remote(2))), (None, None));
    }

    #[test]
    fn a_success_or_a_quarter_of_an_hour_forgives_everything() {
        let mut penalties = Penalties::default();
        fail_often(&mut penalties, at(0));
        assert_eq!(penalties.failed(at(900), remote(1)).count, 1);
        fail_often(&mut penalties, at(901));
        penalties.succeeded(remote(1));
        assert_eq!(
            (penalties.wait(at(901), remote(1)), penalties.failed(at(901), remote(1)).count),
            (None, 1)
        );
    }

    #[test]
    fn many_addresses_are_bounded_and_the_newest_are_remembered() {
        let mut penalties = Penalties::default();
        for number in 0..5000 {
            penalties.failed(at(u64::from(number) / 10), remote(number));
            assert!(penalties.0.len() <= REMEMBERED);
        }
        assert_eq!(penalties.failed(at(500), remote(4999)).count, 2);
    }
}
