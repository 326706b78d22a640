//! The machine that the agent runs on: what is known of it, and when it is looked at. Nobody who asks, no look.

use std::time::Duration;

use serde::Serialize;

use crate::message::Format;
use crate::source::intake::Draft;
use crate::time::Time;

/// A look that is not older than this is shown again.
const FRESH: Duration = Duration::from_secs(5);
/// Topic of the messages.
const TOPIC: &str = "host/metrics";

/// What a look at the machine finds; none where the machine does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct HostFacts {
    /// Time in which the processors were busy since the look before, all of them together, 0 to 100.
    pub cpu_percent: Option<f64>,
    /// Memory that is neither free nor given back when it is needed.
    pub memory_used_bytes: Option<u64>,
    /// Memory of the machine.
    pub memory_total_bytes: Option<u64>,
    /// The hottest sensor of the processor, or of the board where it has none.
    pub temperature_c: Option<f64>,
    /// Load average over a minute.
    pub load_1m: Option<f64>,
    /// Time since the machine started.
    pub uptime_s: Option<u64>,
    /// Bytes received by all network interfaces but loopback since the machine started.
    pub network_received_bytes: Option<u64>,
    /// Bytes sent by them.
    pub network_sent_bytes: Option<u64>,
}

/// How the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct HostStatus {
    /// What was seen last.
    #[serde(flatten)]
    pub facts: HostFacts,
    /// Bytes that are left on the store's file system.
    pub disk_free_bytes: Option<u64>,
}

/// When the machine is looked at, and what was seen last.
#[derive(Debug)]
pub struct Host {
    interval: Option<Duration>,
    next_at: Option<Time>,
    seen: Option<(Time, HostFacts)>,
}

impl Host {
    /// `interval`: of the messages, if there are any.
    pub fn new(interval: Option<Duration>, now: Time) -> Self {
        Host { interval, next_at: interval.map(|interval| now + interval), seen: None }
    }

    /// Whether what was seen last is too old to be shown.
    pub fn is_stale(&self, now: Time) -> bool {
        self.seen.is_none_or(|(at, _)| now.since(at) >= FRESH)
    }

    /// Whether the next message is due.
    pub fn is_due(&self, now: Time) -> bool {
        self.next_at.is_some_and(|at| at <= now)
    }

    /// Takes in a look. Returns whether a message of it is due, which is then taken as sent.
    pub fn saw(&mut self, now: Time, facts: HostFacts) -> bool {
        self.seen = Some((now, facts));
        let due = self.is_due(now);
        if due {
            self.next_at = self.interval.map(|interval| now + interval);
        }
        due
    }

    /// When the next message is due.
    pub fn deadline(&self) -> Option<Time> {
        self.next_at
    }

    /// What was seen last, with the room that the store's thread found on its file system.
    pub fn status(&self, disk_free_bytes: Option<u64>) -> HostStatus {
        let facts = self.seen.map(|(_, facts)| facts).unwrap_or_default();
        let facts = HostFacts {
            cpu_percent: facts.cpu_percent.map(tenths),
            temperature_c: facts.temperature_c.map(tenths),
            ..facts
        };
        HostStatus { facts, disk_free_bytes }
    }

    /// The same as a message.
    pub fn draft(&self, disk_free_bytes: Option<u64>) -> Draft {
        Draft {
            topic: TOPIC.to_owned(),
            device: None,
            source: "host".into(),
            format: Format::Json,
            payload: serde_json::to_vec(&self.status(disk_free_bytes)).expect("its keys are strings"),
            attributes: Vec::new(),
            priority: 0,
            ttl_s: None,
        }
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(s: u64) -> Time {
        Time::default() + Duration::from_secs(s)
    }

    #[test]
    fn a_machine_that_was_not_looked_at_has_no_facts() {
        let host = Host::new(None, at(0));
        assert!(host.is_stale(at(0)));
        assert_eq!(host.status(Some(7)).facts.cpu_percent, None);
        assert_eq!(host.status(Some(7)).disk_free_bytes, Some(7));
    }

    #[test]
    fn a_look_is_shown_again_for_five_seconds() {
        let mut host = Host::new(None, at(0));
        assert!(!host.saw(at(10), HostFacts { cpu_percent: Some(12.34), ..HostFacts::default() }));
        assert!(!host.is_stale(at(14)));
        assert!(host.is_stale(at(15)));
        assert_eq!(host.status(None).facts.cpu_percent, Some(12.3));
    }

    #[test]
    fn with_an_interval_a_look_becomes_a_message_each_time_it_has_passed() {
        let mut host = Host::new(Some(MINUTE), at(0));
        assert_eq!(host.deadline(), Some(at(60)));
        assert!(!host.saw(at(30), HostFacts::default()), "somebody asked for the status");
        assert!(host.saw(at(60), HostFacts::default()));
        assert_eq!(host.deadline(), Some(at(120)));
        assert!(!host.saw(at(61), HostFacts::default()));
    }

    #[test]
    fn without_an_interval_nothing_is_due() {
        assert_eq!(Host::new(None, at(0)).deadline(), None);
    }
}
