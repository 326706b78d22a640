//! The one clock: everything that is decided gets its time from here, as an argument.

use std::cell::Cell;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::logic::time::{Now, Time};
use crate::message::Clock;

/// systemd-timesyncd makes this file once the time came from the network (systemd-timesyncd.service(8)).
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
const SYNC_CHECK_INTERVAL: Duration = Duration::from_secs(10);

thread_local! {
    static SYNC: Cell<(Option<Time>, Clock)> = const { Cell::new((None, Clock::Unsynced)) };
}

/// Both clocks at this moment. Monotonic time starts at the first call.
#[allow(clippy::disallowed_methods, reason = "this is the one clock")]
pub fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    let since_start = START.get_or_init(Instant::now).elapsed();
    let mono = Time(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX));
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let wall_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
    Now { mono, wall_ns, clock: trust(mono) }
}

/// Rings at a moment of [`now`]'s monotonic clock, or before it: to set a timer costs a wake-up, and a deadline that is put
/// off again and again must not cost one each time.
#[derive(Debug, Default)]
pub struct Alarm(Option<(Time, smol::Timer)>);

impl Alarm {
    /// Sees to it that it rings no later than this.
    pub fn set(&mut self, time: Time) {
        if self.0.as_ref().is_none_or(|(at, _)| *at > time) {
            self.0 = Some((time, smol::Timer::after(time.since(now().mono))));
        }
    }

    /// Waits until it rings; for ever when it is not set.
    pub async fn ring(&mut self) {
        match &mut self.0 {
            Some((_, timer)) => drop(timer.await),
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}

fn trust(mono: Time) -> Clock {
    let (checked_at, clock) = SYNC.get();
    if checked_at.is_some_and(|at| mono.since(at) < SYNC_CHECK_INTERVAL) {
        return clock;
    }
    let clock = if Path::new(SYNCHRONIZED).exists() { Clock::Synced } else { Clock::Unsynced };
    SYNC.set((Some(mono), clock));
    clock
}
