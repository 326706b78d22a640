//! The contrast: an agent that backs off just as far, and in which nothing is left to chance.

use std::time::Duration;

use holdfast_core::config::client::Reconnect;
use holdfast_core::link::closing::Closing;
use holdfast_core::link::protocol::{LinkReport, RefusalKind};
use holdfast_core::time::Time;

/// Behaviour of most agents that have an exponential back-off.
pub struct Plain {
    reconnect: Reconnect,
    failures: u32,
    life: Life,
}

enum Life {
    Down { retry_at: Time },
    Dialing,
    Up { since: Time },
}

impl Plain {
    pub fn new(reconnect: Reconnect) -> Plain {
        Plain { reconnect, failures: 0, life: Life::Down { retry_at: Time::default() } }
    }

    pub fn hear(&mut self, now: Time, report: &LinkReport) {
        match report {
            LinkReport::Up(_) => self.life = Life::Up { since: now },
            LinkReport::Closed { .. } | LinkReport::DialFailed(_) => {
                if let Life::Up { since } = self.life
                    && now.since(since) >= self.reconnect.stable_after
                {
                    self.failures = 0;
                }
                self.life = Life::Down { retry_at: now + self.wait(report) };
                self.failures += 1;
            }
            _ => {}
        }
    }

    fn wait(&self, report: &LinkReport) -> Duration {
        let ceiling = self.reconnect.min.saturating_mul(1 << self.failures.min(20)).min(self.reconnect.max);
        match report {
            LinkReport::DialFailed(refusal) => match refusal.cause.kind() {
                RefusalKind::Busy { retry_after: Some(asked) } => asked,
                RefusalKind::Busy { retry_after: None } | RefusalKind::Retry | RefusalKind::Unauthorized => {
                    ceiling
                }
            },
            LinkReport::Closed { closing: Closing::Restarting, .. } => ceiling.max(Duration::from_secs(5)),
            _ => ceiling,
        }
    }

    /// Whether it dials.
    pub fn wake(&mut self, now: Time) -> bool {
        let due = matches!(self.life, Life::Down { retry_at } if retry_at <= now);
        if due {
            self.life = Life::Dialing;
        }
        due
    }

    pub fn deadline(&self) -> Option<Time> {
        match self.life {
            Life::Down { retry_at } => Some(retry_at),
            Life::Dialing | Life::Up { .. } => None,
        }
    }
}
