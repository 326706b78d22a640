//! Time as the decisions see it: an argument, never something to look up.

use std::time::Duration;

use crate::message::{Boot, Clock, Stamp};

/// Monotonic time since the agent started, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

/// The clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: orders everything that is decided.
    pub mono: Time,
    /// UTC in nanoseconds since 1970: only shown, never compared.
    pub wall_ns: u64,
    /// Whether the system says that its wall clock is synchronized.
    pub clock: Clock,
    /// The start of the machine that all this is after.
    pub boot: Boot,
    /// Nanoseconds since that start, time asleep included: nobody sets this clock, and it outlives the agent.
    pub up_ns: u64,
}

impl Now {
    /// This moment, to be kept.
    pub fn stamp(&self) -> Stamp {
        Stamp { boot: self.boot, up_ns: self.up_ns, time_ns: self.wall_ns, clock: self.clock }
    }
}

impl Time {
    /// The time between `earlier` and this one, zero if `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;

    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}
