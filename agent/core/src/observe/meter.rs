//! How much the card is written: bytes and syncs, today and ever, counted over all runs of the agent; and how a daily budget
//! slows the commits down.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cbor;
use crate::message::{Boot, Clock};
use crate::time::{Now, Time};

const DAY_NS: u64 = 86_400_000_000_000;
/// For its own sake the file is not written more often than this.
const SAVE_INTERVAL: Duration = Duration::from_secs(600);
/// The longest wait that a budget makes: who waits for `stored` has to bear it.
const PACE_MAX: Duration = Duration::from_secs(60);

/// Writes that were counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Bytes.
    pub bytes: u64,
    /// Syncs.
    pub syncs: u64,
}

/// The meter of a card.
#[derive(Debug, Clone)]
pub struct Meter {
    kept: Kept,
    /// Writes of this run of the agent when it was last counted.
    seen: Count,
    saved: Count,
    saved_at: Time,
}

/// Content of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    total: Count,
    today: Count,
    day: Option<Day>,
    /// The last day of which the date was known, if today's is not: they may be the same.
    dated: Option<(u64, Count)>,
}

/// Today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Day {
    /// Days since 1970-01-01, UTC.
    Dated(u64),
    /// Days since this start of the machine: nobody knows the date.
    Running(Boot, u64),
}

impl Count {
    fn plus(self, other: Count) -> Count {
        Count { bytes: self.bytes + other.bytes, syncs: self.syncs + other.syncs }
    }

    fn minus(self, other: Count) -> Count {
        let bytes = self.bytes.saturating_sub(other.bytes);
        Count { bytes, syncs: self.syncs.saturating_sub(other.syncs) }
    }
}

impl Meter {
    /// Goes on with what the last run saved.
    pub fn new(saved: Option<&[u8]>, now: Time) -> Self {
        let kept: Kept = saved.and_then(|bytes| cbor::read(bytes).ok()).unwrap_or_default();
        Meter { kept, seen: Count::default(), saved: kept.total, saved_at: now }
    }

    /// Takes in what this run of the agent has written until now.
    pub fn count(&mut self, now: Now, written: Count) {
        self.turn(Day::of(now));
        let more = written.minus(self.seen);
        self.kept.today = self.kept.today.plus(more);
        self.kept.total = self.kept.total.plus(more);
        self.seen = written;
    }

    /// Writes of today: a day in UTC, or since the machine started as long as nobody knows the date.
    pub fn today(&self) -> Count {
        self.kept.today
    }

    /// Writes of all time.
    pub fn total(&self) -> Count {
        self.kept.total
    }

    /// Whether the file is worth a write: something else was written, and the last time is long ago or this is the end.
    pub fn is_due(&self, now: Time, is_end: bool) -> bool {
        self.kept.total != self.saved && (is_end || now.since(self.saved_at) >= SAVE_INTERVAL)
    }

    /// The file to write.
    pub fn file(&mut self, now: Time) -> Vec<u8> {
        self.saved_at = now;
        serde_cbor::to_vec(&self.kept).expect("plain numbers are always CBOR")
    }

    /// The file was written and its own write is counted, which is no reason to write it again.
    pub fn saved(&mut self) {
        self.saved = self.kept.total;
    }

    fn turn(&mut self, day: Day) {
        let Kept { today, dated, .. } = self.kept;
        (self.kept.today, self.kept.dated) = match (self.kept.day, day) {
            (Some(before), day) if before == day => return,
            (Some(Day::Dated(date)), Day::Running(..)) => (Count::default(), Some((date, today))),
            (Some(Day::Running(before, _)), Day::Running(boot, _)) if before == boot => {
                (Count::default(), None)
            }
            (None | Some(Day::Running(..)), Day::Running(..)) => (Count::default(), dated),
            (None, Day::Dated(_)) | (Some(Day::Dated(_)), Day::Dated(_)) => (Count::default(), None),
            (Some(Day::Running(..)), Day::Dated(date)) => {
                let same = dated.filter(|(before, _)| *before == date);
                (today.plus(same.map_or(Count::default(), |(_, count)| count)), None)
            }
        };
        self.kept.day = Some(day);
    }
}

impl Day {
    fn of(now: Now) -> Day {
        match now.clock {
            Clock::Synced => Day::Dated(now.wall_ns / DAY_NS),
            Clock::Unsynced => Day::Running(now.boot, now.up_ns / DAY_NS),
        }
    }
}

/// The time between two commits. From half of the budget on it grows, evenly by factors, until it is a minute when the budget is
/// used up; nothing is dropped for it.
pub fn pace(commit_after: Duration, budget: Option<u64>, today: u64) -> Duration {
    let Some(budget) = budget.filter(|_| !commit_after.is_zero() && commit_after < PACE_MAX) else {
        return commit_after;
    };
    let half = (budget / 2).max(1);
    let used = (today.saturating_sub(half) as f64 / half as f64).min(1.0);
    let most = PACE_MAX.as_secs_f64() / commit_after.as_secs_f64();
    commit_after.mul_f64(most.powf(used)).min(PACE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3_600;

    fn at(boot: u64, up_h: u64, date: Option<u64>) -> Now {
        let (up_ns, clock) =
            (up_h * HOUR * SECOND, if date.is_some() { Clock::Synced } else { Clock::Unsynced });
        let wall_ns = date.unwrap_or(0) * DAY_NS;
        Now { mono: Time(up_ns), wall_ns, clock, boot: Boot(boot), up_ns }
    }

    fn bytes(bytes: u64) -> Count {
        Count { bytes, syncs: bytes / 10 }
    }

    fn fresh() -> Meter {
        Meter::new(None, Time::default())
    }

    /// The agent is started again.
    fn again(meter: &mut Meter) -> Meter {
        Meter::new(Some(&meter.file(Time::default())), Time::default())
    }

    #[test]
    fn days_and_runs_of_the_agent_add_up() {
        let mut meter = fresh();
        meter.count(at(1, 1, Some(20_000)), bytes(100));
        meter.count(at(1, 2, Some(20_000)), bytes(150));
        meter = again(&mut meter);
        meter.count(at(1, 3, Some(20_000)), bytes(30));
        assert_eq!(
            (meter.today(), meter.total()),
            (Count { bytes: 180, syncs: 18 }, Count { bytes: 180, syncs: 18 })
        );
        meter.count(at(1, 30, Some(20_001)), bytes(50));
        assert_eq!((meter.today().bytes, meter.total().bytes), (20, 200));
    }

    #[test]
    fn without_a_date_a_day_begins_with_the_machine_and_lasts_24_hours() {
        let mut meter = fresh();
        meter.count(at(1, 1, None), bytes(100));
        meter = again(&mut meter);
        meter.count(at(1, 23, None), bytes(10));
        assert_eq!(meter.today().bytes, 110);
        meter.count(at(1, 25, None), bytes(15));
        assert_eq!(meter.today().bytes, 5);
        meter = again(&mut meter);
        meter.count(at(2, 1, None), bytes(7));
        assert_eq!((meter.today().bytes, meter.total().bytes), (7, 122));
    }

    #[test]
    fn when_the_date_arrives_what_was_written_before_on_that_day_comes_back() {
        let mut meter = fresh();
        meter.count(at(1, 1, Some(20_000)), bytes(100));
        for (date, expected) in [(20_000, 140), (20_001, 40)] {
            let mut meter = again(&mut meter);
            meter.count(at(2, 0, None), bytes(30));
            assert_eq!(meter.today().bytes, 30);
            meter.count(at(2, 1, Some(date)), bytes(40));
            assert_eq!(meter.today().bytes, expected);
        }
    }

    #[test]
    fn the_file_is_written_only_after_something_else_was_and_at_most_each_ten_minutes() {
        let after = |s: u64| Time(s * SECOND);
        let mut meter = fresh();
        assert!(!meter.is_due(after(5000), true), "nothing was written");
        meter.count(at(1, 1, None), bytes(10));
        assert!(
            !meter.is_due(after(599), false)
                && meter.is_due(after(600), false)
                && meter.is_due(after(1), true)
        );
        meter.file(after(600));
        meter.count(at(1, 1, None), bytes(20));
        meter.saved();
        assert!(!meter.is_due(after(5000), true), "nothing but the file itself was written");
        meter.count(at(1, 1, None), bytes(30));
        assert!(!meter.is_due(after(1199), false) && meter.is_due(after(1200), false));
    }

    #[test]
    fn a_file_that_cannot_be_read_starts_from_nothing() {
        assert_eq!(Meter::new(Some(b"\xff"), Time::default()).total(), Count::default());
    }

    #[test]
    fn the_pace_slows_down_from_half_of_the_budget_on_and_never_beyond_a_minute() {
        let quarter = Duration::from_millis(250);
        let pace = |today| pace(quarter, Some(1000), today).as_secs_f64();
        assert_eq!([pace(0), pace(500)], [0.25, 0.25]);
        assert!((pace(750) - 3.87).abs() < 0.01, "the middle of 0.25 and 60, by factors: {}", pace(750));
        assert_eq!([pace(1000), pace(1_000_000)], [60.0, 60.0]);
        let rising: Vec<f64> = (500..=1000).map(pace).collect();
        assert!(rising.is_sorted());
    }

    #[test]
    fn no_budget_a_stop_and_a_slow_pace_of_its_own_are_left_alone() {
        let minutes = Duration::from_secs(60);
        assert_eq!(pace(minutes, None, 5), minutes);
        assert_eq!(pace(Duration::ZERO, Some(1), 5), Duration::ZERO);
        assert_eq!(pace(minutes, Some(1), 5), minutes);
    }
}
