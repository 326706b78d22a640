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

/// A timer that fires at this moment of [`now`]'s monotonic clock.
pub async fn sleep_until(time: Time) {
    smol::Timer::after(time.since(now().mono)).await;
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
