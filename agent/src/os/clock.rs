//! The one clock: everything that is decided gets its time from here, as an argument.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use holdfast_core::message::{Boot, Clock};
use holdfast_core::time::{Now, Time};
use rustix::time::{ClockId, clock_gettime};

const SYNC_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// A new one at each start of the machine (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Two clocks are read one after the other, with so much in between at the usual worst.
const READING_NS: u64 = 100_000;

/// What vouches for the wall clock. The kernel's own word, STA_UNSYNC of adjtimex(2), is out of reach: `ProtectClock=yes` of the
/// service refuses the call even to those who only read, and no crate of good standing has a safe one.
static EVIDENCE: RwLock<Option<PathBuf>> = RwLock::new(None);

thread_local! {
    static SYNC: Cell<(Option<Time>, Clock)> = const { Cell::new((None, Clock::Unsynced)) };
    static OFFSET: Cell<u64> = const { Cell::new(0) };
}

/// From now on the wall clock counts as synchronized as long as this file is there; before this was called it does not.
pub fn believe(file: PathBuf) {
    *EVIDENCE.write().unwrap_or_else(PoisonError::into_inner) = Some(file);
}

/// All clocks at this moment. Monotonic time starts at the first call.
#[allow(clippy::disallowed_methods, reason = "this is the one clock")]
pub fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    let since_start = START.get_or_init(Instant::now).elapsed();
    let mono = Time(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX));
    let (boot, up_ns) = match boot() {
        Some(boot) => (boot, up_ns()),
        None => (chance(), mono.0),
    };
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let read_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
    let wall_ns = up_ns.wrapping_add(offset(read_ns.wrapping_sub(up_ns)));
    Now { mono, wall_ns, clock: trust(mono), boot, up_ns }
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

/// What the wall clock is ahead. Both clocks run at the same rate, so it changes only when one of them is set; what it seems to
/// change otherwise is the time between the two readings, with which no two messages would share an offset.
fn offset(read: u64) -> u64 {
    let kept = OFFSET.get();
    if read.wrapping_sub(kept).min(kept.wrapping_sub(read)) > READING_NS {
        OFFSET.set(read);
    }
    OFFSET.get()
}

fn up_ns() -> u64 {
    let up = clock_gettime(ClockId::Boottime);
    u64::try_from(up.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(up.tv_nsec).unwrap_or(0)
}

fn boot() -> Option<Boot> {
    static BOOT: OnceLock<Option<Boot>> = OnceLock::new();
    *BOOT.get_or_init(|| boot_of(&fs::read_to_string(BOOT_ID).ok()?))
}

/// The first 16 digits of a UUID.
fn boot_of(id: &str) -> Option<Boot> {
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 16).map(Boot)
}

/// Where the kernel gives no id, each run counts as a start of its own.
fn chance() -> Boot {
    static CHANCE: OnceLock<Boot> = OnceLock::new();
    *CHANCE.get_or_init(|| Boot(fastrand::u64(..)))
}

fn trust(mono: Time) -> Clock {
    let (checked_at, clock) = SYNC.get();
    if checked_at.is_some_and(|at| mono.since(at) < SYNC_CHECK_INTERVAL) {
        return clock;
    }
    let evidence = EVIDENCE.read().unwrap_or_else(PoisonError::into_inner);
    let Some(file) = evidence.as_ref() else { return Clock::Unsynced };
    let clock = if file.exists() { Clock::Synced } else { Clock::Unsynced };
    SYNC.set((Some(mono), clock));
    clock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_the_first_half_of_its_id_and_nothing_else_is_one() {
        let boot = boot_of("3f0b5c1e-9a77-4d2c-8f10-0a1b2c3d4e5f\n");
        assert_eq!(boot, Some(Boot(0x3f0b_5c1e_9a77_4d2c)));
        assert_eq!(boot_of("3f0b5c1e"), None);
        assert_eq!(boot_of(""), None);
    }

    #[test]
    fn the_wall_clock_stays_the_same_ahead_of_the_time_since_the_start() {
        let offsets: Vec<u64> =
            (0..1000).map(|_| now()).map(|now| now.wall_ns.wrapping_sub(now.up_ns)).collect();
        let changes = offsets.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes < 100, "{changes} changes in a thousand readings");
    }

    #[test]
    fn the_wall_clock_is_followed_when_it_is_set() {
        let kept = offset(1_000_000_000_000);
        assert_eq!(offset(kept + READING_NS), kept);
        assert_eq!(offset(kept + 1_000_000_000), kept + 1_000_000_000);
        assert_eq!(offset(kept - 1_000_000_000), kept - 1_000_000_000);
    }
}
