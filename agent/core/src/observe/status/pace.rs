//! When the status is published.

use std::time::Duration;

use crate::time::Time;

/// A status that changes faster than this is published once for several changes.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// When the status was published and what it said.
#[derive(Debug, Default)]
pub struct StatusPace {
    last: Option<Published>,
    flush_now: bool,
}

#[derive(Debug)]
struct Published {
    at: Time,
    digest: u64,
    next_at: Time,
}

impl StatusPace {
    /// Makes the next one due at once: a new connection to the broker.
    pub fn flush_now(&mut self) {
        self.flush_now = true;
    }

    /// Whether it is to be published.
    pub fn is_due(&mut self, now: Time, digest: u64) -> bool {
        if let Some(last) = &mut self.last
            && !self.flush_now
        {
            if last.digest != digest {
                last.next_at = last.next_at.min(last.at + LEAST_INTERVAL);
            }
            return last.next_at <= now;
        }
        true
    }

    /// It was published.
    pub fn published(&mut self, now: Time, digest: u64, interval: Duration) {
        self.flush_now = false;
        self.last = Some(Published { at: now, digest, next_at: now + interval });
    }

    /// When it is due if nothing changes.
    pub fn deadline(&self) -> Option<Time> {
        self.last.as_ref().map(|last| last.next_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn at(ms: u64) -> Time {
        Time::default() + Duration::from_millis(ms)
    }

    fn pace() -> StatusPace {
        let mut pace = StatusPace::default();
        assert!(publishes(&mut pace, at(0), 1), "the first one is due at once");
        pace
    }

    fn publishes(pace: &mut StatusPace, now: Time, digest: u64) -> bool {
        let due = pace.is_due(now, digest);
        if due {
            pace.published(now, digest, INTERVAL);
        }
        due
    }

    #[test]
    fn a_change_is_due_at_once_unless_one_went_out_less_than_a_second_ago() {
        let mut pace = pace();
        assert!(!publishes(&mut pace, at(400), 2));
        assert_eq!(pace.deadline(), Some(at(1000)));
        assert!(publishes(&mut pace, at(1000), 2));
        assert!(publishes(&mut pace, at(5000), 3));
    }

    #[test]
    fn without_a_change_it_is_due_each_interval() {
        let mut pace = pace();
        assert!(!publishes(&mut pace, at(29_999), 1));
        assert_eq!(pace.deadline(), Some(at(30_000)));
        assert!(publishes(&mut pace, at(30_000), 1));
        assert!(!publishes(&mut pace, at(30_001), 1));
    }

    #[test]
    fn a_new_connection_to_the_broker_makes_it_due_once() {
        let mut pace = pace();
        pace.flush_now();
        assert!(publishes(&mut pace, at(1), 1));
        assert!(!publishes(&mut pace, at(2), 1));
    }
}
