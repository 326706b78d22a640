//! Messages to the service supervisor: that the agent is alive, and a line on how it is. The watchdog is fed only
//! while there is progress, so that a stuck agent is started anew.

use std::time::Duration;

use crate::observe::health::Health;
use crate::time::Time;

/// The line on how the agent is changes at most so often.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// A long opening of the store asks for patience at most so often.
const PATIENCE_INTERVAL: Duration = Duration::from_secs(1);
/// How long an opening that makes progress may take to its next sign of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that a slow card reads in a second, at least.
const BYTES_PER_SECOND: u64 = 1_000_000;

/// Something to tell the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notify {
    /// The agent makes progress.
    Alive,
    /// How it is, in a line.
    Status(String),
}

/// Last words to the supervisor.
#[derive(Debug)]
pub struct Watchdog {
    feeding: Option<Feeding>,
    line: String,
    look_at: Time,
    /// Whether the watchdog was not fed the last time.
    missed: bool,
}

#[derive(Debug)]
struct Feeding {
    every: Duration,
    at: Time,
}

impl Watchdog {
    /// `watchdog`: the time in which the supervisor must hear from the agent, if it watches.
    pub fn new(watchdog: Option<Duration>, now: Time) -> Self {
        let feeding = watchdog.map(|within| Feeding { every: within / 2, at: now });
        Watchdog { feeding, line: String::new(), look_at: now, missed: false }
    }

    /// Whether [`Watchdog::look`] may have something to tell.
    pub fn is_due(&self, now: Time) -> bool {
        self.look_at <= now || self.deadline().is_some_and(|at| at <= now)
    }

    /// When the watchdog must be fed. The line waits until something happens anyway.
    pub fn deadline(&self) -> Option<Time> {
        self.feeding.as_ref().map(|feeding| feeding.at)
    }

    /// Words that are due.
    pub fn look(&mut self, now: Time, health: &Health, line: String) -> Vec<Notify> {
        let mut words = Vec::new();
        self.look_at = now + LINE_INTERVAL;
        if line != self.line {
            self.line.clone_from(&line);
            words.push(Notify::Status(line));
        }
        let Some(feeding) = self.feeding.as_mut().filter(|feeding| feeding.at <= now) else { return words };
        feeding.at = now + feeding.every;
        self.missed = !health.stuck.is_empty();
        if !self.missed {
            words.push(Notify::Alive);
        }
        words
    }

    /// Whether the watchdog was not fed the last time it should have been.
    pub fn is_hungry(&self) -> bool {
        self.missed
    }
}

/// How whoever waits for the store is kept patient while it is opened: each sign of progress gives it more time, silence
/// gives it none.
#[derive(Debug, Default)]
pub struct Patience {
    told_at: Option<Time>,
}

impl Patience {
    /// Progress was made, and `silent_bytes` are read next without another sign. The time that is to be asked for, none if
    /// it was asked for just before.
    pub fn progress(&mut self, now: Time, silent_bytes: u64) -> Option<Duration> {
        let is_early = self.told_at.is_some_and(|at| now.since(at) < PATIENCE_INTERVAL);
        if is_early && silent_bytes == 0 {
            return None;
        }
        self.told_at = Some(now);
        Some(PATIENCE + Duration::from_secs(silent_bytes / BYTES_PER_SECOND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Time {
        Time::default() + Duration::from_secs(s)
    }

    fn line(text: &str) -> Notify {
        Notify::Status(text.to_owned())
    }

    #[test]
    fn the_watchdog_is_fed_at_once_and_twice_in_its_time() {
        let mut watch = Watchdog::new(Some(Duration::from_secs(30)), at(0));
        let good = Health::default();
        assert_eq!(watch.look(at(0), &good, "up".into()), [line("up"), Notify::Alive]);
        assert_eq!(watch.deadline(), Some(at(15)));
        assert_eq!(watch.look(at(14), &good, "up".into()), []);
        assert_eq!(watch.look(at(15), &good, "up".into()), [Notify::Alive]);
    }

    #[test]
    fn a_stuck_agent_does_not_feed_it_and_a_failing_one_does() {
        let mut watch = Watchdog::new(Some(Duration::from_secs(30)), at(0));
        let stuck = Health { stuck: vec!["late".into()], failing: None };
        let failing = Health { stuck: Vec::new(), failing: Some("the disk is full".into()) };
        assert_eq!(watch.look(at(0), &stuck, String::new()), []);
        assert!(watch.is_hungry());
        assert_eq!(watch.look(at(15), &failing, String::new()), [Notify::Alive]);
        assert!(!watch.is_hungry());
    }

    #[test]
    fn the_line_is_told_when_it_has_changed_and_at_most_once_a_second() {
        let mut watch = Watchdog::new(None, at(0));
        let good = Health::default();
        assert_eq!(watch.look(at(0), &good, "1 held".into()), [line("1 held")]);
        assert!(!watch.is_due(at(0) + Duration::from_millis(999)));
        assert!(watch.is_due(at(1)));
        assert_eq!(watch.look(at(1), &good, "1 held".into()), []);
        assert_eq!(watch.look(at(2), &good, "2 held".into()), [line("2 held")]);
        assert_eq!(watch.deadline(), None, "nobody is woken for a line");
    }

    #[test]
    fn a_long_opening_asks_for_time_once_a_second_and_for_more_before_a_long_silence() {
        let mut patience = Patience::default();
        let minute = Duration::from_secs(60);
        assert_eq!(patience.progress(at(0), 0), Some(minute));
        assert_eq!(patience.progress(at(0), 0), None);
        assert_eq!(patience.progress(at(0), 256_000_000), Some(minute + Duration::from_secs(256)));
        assert_eq!(patience.progress(at(1), 0), Some(minute));
    }
}
