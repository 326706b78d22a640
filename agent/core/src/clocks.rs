//! How far the wall clock can be trusted, in this run of the machine and in those before, and what follows for the time of a
//! message.
//!
//! A gateway without a battery starts with a wrong wall clock, and learns the time later or never. The time since the start is
//! right from the beginning, but ends with it. So what is kept is what the one is ahead of the other in each run of the machine
//! in which the time arrived: with it every message of that run gets its true time, also those that came before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::cbor;
use crate::message::{Body, Boot, Clock, Entry, Stamp};
use crate::time::{Now, Time};

/// Runs of the machine that are remembered.
const BOOTS_MAX: usize = 64;
/// How often a clock that nothing vouches for is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// A clock that is set by less is not worth a write.
const MOVED_NS: u64 = 1_000_000_000;

/// A time before which this program did not exist: 2026-11-01, UTC ns.
pub const PROGRAM_EXISTS_NS: u64 = 1_793_491_200_000_000_000;

/// What is known of the clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clocks {
    /// For each run of the machine in which the time arrived, what the wall clock was ahead of the time since its start,
    /// modulo 2^64; the oldest first.
    known: VecDeque<(Boot, u64)>,
    /// Since when the system vouches for the wall clock, UTC ns.
    since_ns: Option<u64>,
    look_at: Option<Time>,
    save: bool,
}

impl Clocks {
    /// Goes on with what the last run of the agent saved.
    pub fn new(saved: Option<&[u8]>, now: Time) -> Self {
        let known: Vec<(u64, u64)> = saved.and_then(|bytes| cbor::read(bytes).ok()).unwrap_or_default();
        let known = known.into_iter().map(|(boot, offset)| (Boot(boot), offset)).collect();
        Clocks { known, since_ns: None, look_at: Some(now), save: false }
    }

    /// Learns how the wall clock is. Returns the file to write, if it has to be written.
    pub fn look(&mut self, now: Now) -> Option<Vec<u8>> {
        if now.clock == Clock::Synced {
            self.since_ns.get_or_insert(now.wall_ns);
            self.learn(now.boot, now.stamp().offset());
        } else {
            self.since_ns = None;
        }
        if self.look_at.is_some_and(|at| now.mono < at) {
            return None;
        }
        let waits = self.offset(now.boot).is_none();
        let file = std::mem::take(&mut self.save).then(|| self.file());
        self.look_at = (waits || file.is_some()).then(|| now.mono + LOOK_INTERVAL);
        file
    }

    /// The file could not be written: it is due again.
    pub fn save_failed(&mut self, now: Time) {
        self.save = true;
        self.look_at = Some(now + LOOK_INTERVAL);
    }

    /// When [`Clocks::look`] has something to do that no event announces.
    pub fn deadline(&self) -> Option<Time> {
        self.look_at
    }

    /// Since when the system vouches for the wall clock, UTC ns.
    pub fn since_ns(&self) -> Option<u64> {
        self.since_ns
    }

    /// When it was, UTC ns, as far as anything vouches for that.
    pub fn true_ns(&self, stamp: &Stamp) -> Option<u64> {
        match stamp.clock {
            Clock::Synced => Some(stamp.time_ns),
            Clock::Unsynced => Some(stamp.up_ns.wrapping_add(self.offset(stamp.boot)?)),
        }
    }

    /// How long ago it was at the least. Nobody can set this by setting the wall clock: in one run of the machine the time since
    /// its start counts, and of an earlier one the wall clock is believed only where something vouches for both ends.
    pub fn age(&self, now: &Now, stamp: &Stamp) -> Duration {
        if stamp.boot == now.boot {
            return Duration::from_nanos(now.up_ns.saturating_sub(stamp.up_ns));
        }
        let by_wall = self.true_ns(&now.stamp()).zip(self.true_ns(stamp));
        let by_wall = by_wall.map_or(0, |(now_ns, then_ns)| now_ns.saturating_sub(then_ns));
        Duration::from_nanos(by_wall.max(now.up_ns))
    }

    /// Gives the messages among them their true time, as far as it is known.
    pub fn restamp(&self, entries: &mut [Entry]) {
        for entry in entries {
            let Body::Message(message) = &mut entry.body else { continue };
            if message.clock == Clock::Unsynced
                && let Some(time_ns) = self.true_ns(&message.stamp())
            {
                let message = Arc::make_mut(message);
                (message.time_ns, message.clock) = (time_ns, Clock::Synced);
            }
        }
    }

    fn offset(&self, boot: Boot) -> Option<u64> {
        self.known.iter().rev().find(|(other, _)| *other == boot).map(|(_, offset)| *offset)
    }

    fn learn(&mut self, boot: Boot, offset: u64) {
        let Some((_, known)) = self.known.iter_mut().rev().find(|(other, _)| *other == boot) else {
            self.known.push_back((boot, offset));
            if self.known.len() > BOOTS_MAX {
                self.known.pop_front();
            }
            (self.save, self.look_at) = (true, Some(Time::default()));
            return;
        };
        if known.wrapping_sub(offset).min(offset.wrapping_sub(*known)) > MOVED_NS {
            self.save = true;
            self.look_at.get_or_insert_default();
        }
        *known = offset;
    }

    fn file(&self) -> Vec<u8> {
        let known: Vec<(u64, u64)> = self.known.iter().map(|(boot, offset)| (boot.0, *offset)).collect();
        serde_cbor::to_vec(&known).expect("pairs of numbers are always CBOR")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Format, Message};

    const SECOND: u64 = 1_000_000_000;
    const DAY: u64 = 86_400;
    /// 2026-01-01, in seconds.
    const NEW_YEAR: u64 = 1_767_225_600;

    /// So many seconds after a start; the wall clock is ahead of that by `offset_s`.
    fn at(boot: u64, up_s: u64, offset_s: u64, clock: Clock) -> Now {
        let (up_ns, mono) = (up_s * SECOND, Time(up_s * SECOND));
        Now { mono, wall_ns: up_ns + offset_s * SECOND, clock, boot: Boot(boot), up_ns }
    }

    fn unsynced(boot: u64, up_s: u64) -> Now {
        at(boot, up_s, 1000, Clock::Unsynced)
    }

    fn synced(boot: u64, up_s: u64) -> Now {
        at(boot, up_s, NEW_YEAR, Clock::Synced)
    }

    fn fresh() -> Clocks {
        Clocks::new(None, Time::default())
    }

    fn times(clocks: &Clocks, moments: &[Now]) -> Vec<(u64, Clock)> {
        let entry = |now: &Now| Entry {
            seq: 1,
            body: Body::Message(Arc::new(Message {
                id: 1,
                time_ns: now.wall_ns,
                clock: now.clock,
                boot: now.boot,
                up_ns: now.up_ns,
                topic: String::new(),
                device: None,
                source: "test".into(),
                format: Format::Text,
                payload: Vec::new(),
                attributes: Vec::new(),
                ttl_s: None,
            })),
            replayed: false,
        };
        let mut entries: Vec<Entry> = moments.iter().map(entry).collect();
        clocks.restamp(&mut entries);
        let time = |entry: &Entry| match &entry.body {
            Body::Message(message) => (message.time_ns / SECOND, message.clock),
            Body::Gap { .. } => panic!("a message became a gap"),
        };
        entries.iter().map(time).collect()
    }

    #[test]
    fn a_message_gets_its_true_time_once_the_time_has_arrived() {
        let mut clocks = fresh();
        assert_eq!(clocks.look(unsynced(1, 10)), None);
        assert_eq!(times(&clocks, &[unsynced(1, 5)]), [(1005, Clock::Unsynced)]);
        clocks.look(synced(1, 20));
        let shown = times(&clocks, &[unsynced(1, 5), synced(1, 20)]);
        assert_eq!(shown, [(NEW_YEAR + 5, Clock::Synced), (NEW_YEAR + 20, Clock::Synced)]);
    }

    #[test]
    fn what_an_earlier_run_learned_serves_its_messages_and_the_others_stay_marked() {
        let mut clocks = fresh();
        let file = clocks.look(synced(1, 20)).expect("the time has arrived");
        clocks = Clocks::new(Some(&file), Time::default());
        clocks.look(unsynced(3, 1));
        let shown = times(&clocks, &[unsynced(1, 5), unsynced(2, 5), unsynced(3, 1)]);
        assert_eq!(shown, [(NEW_YEAR + 5, Clock::Synced), (1005, Clock::Unsynced), (1001, Clock::Unsynced)]);
    }

    #[test]
    fn it_is_written_once_for_each_run_of_the_machine_and_when_the_clock_is_set() {
        let mut clocks = fresh();
        assert!(clocks.look(synced(1, 20)).is_some());
        assert_eq!(clocks.look(synced(1, 30)), None);
        assert_eq!(clocks.look(synced(1, 90)), None);
        assert_eq!(clocks.deadline(), None, "nothing is left to do");
        assert!(clocks.look(at(1, 95, NEW_YEAR + 2, Clock::Synced)).is_some());
        clocks.save_failed(Time(95 * SECOND));
        assert_eq!(clocks.look(at(1, 96, NEW_YEAR + 2, Clock::Synced)), None);
        assert!(clocks.look(at(1, 156, NEW_YEAR + 2, Clock::Synced)).is_some());
    }

    #[test]
    fn a_clock_that_nothing_vouches_for_is_looked_at_each_minute() {
        let mut clocks = fresh();
        clocks.look(unsynced(1, 10));
        assert_eq!(clocks.deadline(), Some(Time(70 * SECOND)));
        clocks.look(unsynced(1, 70));
        assert_eq!(clocks.deadline(), Some(Time(130 * SECOND)));
        assert!(clocks.look(synced(1, 80)).is_some(), "the time arrived before the next look was due");
        clocks.look(synced(1, 140));
        assert_eq!(clocks.deadline(), None);
    }

    #[test]
    fn only_the_last_runs_of_the_machine_are_remembered() {
        let mut clocks = fresh();
        for boot in 1..=BOOTS_MAX as u64 + 1 {
            clocks.look(synced(boot, 20));
        }
        let shown = times(&clocks, &[unsynced(1, 5), unsynced(2, 5)]);
        assert_eq!(
            shown.into_iter().map(|(_, clock)| clock).collect::<Vec<_>>(),
            [Clock::Unsynced, Clock::Synced]
        );
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        assert_eq!(Clocks::new(Some(b"\xffnonsense"), Time::default()), fresh());
    }

    #[test]
    fn the_age_within_a_run_of_the_machine_is_not_moved_by_the_wall_clock() {
        let clocks = fresh();
        for offset_s in [0, 1000, NEW_YEAR, 50 * NEW_YEAR / 10] {
            let age = clocks.age(&at(1, 30, offset_s, Clock::Unsynced), &synced(1, 10).stamp());
            assert_eq!(age, Duration::from_secs(20));
        }
    }

    #[test]
    fn the_age_of_what_came_before_is_the_time_since_the_start_until_both_ends_are_vouched_for() {
        let mut clocks = fresh();
        let day = |boot, up_s, day: u64| at(boot, up_s, NEW_YEAR + day * DAY, Clock::Synced);
        let (marked, vouched) = (unsynced(1, 10).stamp(), day(2, 10, 0).stamp());
        for now in [unsynced(3, 5), at(3, 5, 2 * NEW_YEAR, Clock::Unsynced)] {
            assert_eq!(clocks.age(&now, &marked), Duration::from_secs(5));
            assert_eq!(clocks.age(&now, &vouched), Duration::from_secs(5));
        }
        let now = day(3, 15, 7);
        clocks.look(now);
        assert_eq!(clocks.age(&now, &marked), Duration::from_secs(15), "nobody knows when that was");
        assert_eq!(clocks.age(&now, &vouched), Duration::from_secs(7 * DAY + 5));
        let set_back = at(3, 20, 0, Clock::Unsynced);
        assert_eq!(
            clocks.age(&set_back, &vouched),
            Duration::from_secs(7 * DAY + 10),
            "the time had arrived"
        );
    }
}
