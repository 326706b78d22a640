//! The clocks of a seed, and the reference model of what may be given up for its age: nothing before its time, whatever the wall
//! clock says.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use holdfast_core::link::protocol::LinkOrder;
use holdfast_core::message::{Body, Boot, Clock, Entry, GapReason};
use holdfast_core::outlet::lane;
use holdfast_core::time::{Now, Time};

use super::{SECOND, World};

/// The wall clock when the world begins, once the time has arrived.
const TRUE_WALL: i64 = 1_700_000_000_000_000_000;

/// The clocks of the machine.
pub(super) struct Clocks {
    boot: u64,
    boot_at: u64,
    wall: i64,
    clock: Clock,
}

impl Default for Clocks {
    fn default() -> Self {
        Clocks { boot: 1, boot_at: 0, wall: TRUE_WALL, clock: Clock::Unsynced }
    }
}

/// What the message of this number says of its own time to live: seldom something.
pub(super) fn ttl_s_of(number: u64) -> Option<u32> {
    number.is_multiple_of(16).then(|| 1 + u32::try_from(number / 16 % 40).expect("small"))
}

impl World {
    pub(super) fn clock(&self) -> Now {
        let Clocks { boot, boot_at, wall, clock } = self.clocks;
        let wall = wall + i64::try_from(self.now).expect("a short run");
        let wall_ns = u64::try_from(wall).unwrap_or(0);
        Now { mono: Time(self.now), wall_ns, clock, boot: Boot(boot), up_ns: self.now - boot_at }
    }

    /// Somebody sets the clock, to any time within four months.
    pub(super) fn set_the_clock(&mut self) {
        let jump = i64::try_from(self.seed.below(20_000_000)).expect("small") - 10_000_000;
        self.clocks.wall += jump * i64::try_from(SECOND).expect("small");
        self.clocks.clock = Clock::Unsynced;
    }

    /// The time comes from the network.
    pub(super) fn time_arrives(&mut self) {
        self.clocks.wall = TRUE_WALL;
        self.clocks.clock = Clock::Synced;
    }

    /// The machine starts anew, with whatever its clock says.
    pub(super) fn reboot(&mut self) {
        self.set_the_clock();
        self.clocks.boot += 1;
        self.clocks.boot_at = self.now;
    }

    /// Remembers which number is which message.
    pub(super) fn note_numbers(&mut self, outlet: &str, entries: &[Entry]) {
        for entry in entries {
            if let Body::Message(message) = &entry.body {
                self.numbers.insert((outlet.to_owned(), entry.seq), message.payload.clone());
            }
        }
    }

    /// What the disk has given up for its age was old enough.
    pub(super) fn check_expired_on_disk(&mut self) -> Result<(), String> {
        for (outlet, payload, limit) in std::mem::take(&mut self.disk.expired) {
            let link = (0..self.peers.len()).find(|link| self.outlet_of(*link) == lane::parse(&outlet).0);
            let link = link.expect("it is one of a link");
            if self.bounds_of(link).ttl.is_none_or(|ttl| limit.ttl < ttl) {
                return Err(format!("outlet {outlet}: messages were given up after {:?}", limit.ttl));
            }
            if !self.is_older(&payload, limit.now.mono.0, limit.ttl.as_nanos()) {
                let payload = String::from_utf8_lossy(&payload).into_owned();
                return Err(format!("outlet {outlet}: the disk gave {payload} up before its time"));
            }
            self.tally.expired += 1;
            self.expired.insert((link, payload));
        }
        Ok(())
    }

    /// What is too old is not sent; of earlier runs of the machine that may not be known. What is announced as too old is excused
    /// if it is. What is not, and was promised, will be missed.
    pub(super) fn check_sent(&mut self, link: usize, order: &LinkOrder) -> Result<(), String> {
        let LinkOrder::Send { lane, entries, .. } = order else { return Ok(()) };
        let outlet = self.outlet(link, *lane);
        self.note_numbers(&outlet, entries);
        let ttl = self.bounds_of(link).ttl;
        for entry in entries {
            match &entry.body {
                Body::Message(message) => {
                    let known =
                        message.boot.0 == self.clocks.boot && self.came.contains_key(&message.payload);
                    if known && self.is_too_old(&message.payload, ttl) {
                        return Err(format!("link {link}: {} was sent although it is too old", entry.seq));
                    }
                }
                Body::Gap { to, reason: GapReason::Expired } => {
                    self.excuse(link, &outlet, entry.seq..=*to, ttl);
                }
                Body::Gap { .. } => {}
            }
        }
        Ok(())
    }

    fn excuse(&mut self, link: usize, outlet: &str, numbers: RangeInclusive<u64>, ttl: Option<Duration>) {
        let mut unknown = false;
        for seq in numbers {
            match self.numbers.get(&(outlet.to_owned(), seq)).cloned() {
                Some(payload) if self.is_too_old(&payload, ttl) => {
                    self.expired.insert((link, payload));
                }
                Some(_) => {}
                None => unknown = true,
            }
        }
        if unknown {
            self.excuse_unknown(link, ttl);
        }
    }

    /// Of messages that became too old in memory, while the disk hung and the link was away, none of its numbers was ever seen.
    fn excuse_unknown(&mut self, link: usize, ttl: Option<Duration>) {
        let own = self.outlet_of(link);
        let of_it = self.numbers.iter().filter(|((outlet, _), _)| lane::parse(outlet).0 == own);
        let seen: BTreeSet<&Vec<u8>> = of_it.map(|(_, payload)| payload).collect();
        let unknown = |payload: &&Vec<u8>| !seen.contains(*payload) && self.is_too_old(payload, ttl);
        let unknown: Vec<_> =
            self.came.keys().filter(unknown).map(|payload| (link, payload.clone())).collect();
        self.expired.extend(unknown);
    }

    /// Whether a message is too old for a link of this time to live, or for itself.
    fn is_too_old(&self, payload: &[u8], ttl: Option<Duration>) -> bool {
        let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
        let own = number.and_then(ttl_s_of).map(|seconds| Duration::from_secs(seconds.into()));
        let ttl = ttl.into_iter().chain(own).min();
        ttl.is_some_and(|ttl| self.is_older(payload, self.now, ttl.as_nanos()))
    }

    /// Whether a message was that old; the agent's own news, of which no promise speaks, always is.
    fn is_older(&self, payload: &[u8], at: u64, ttl_ns: u128) -> bool {
        let came = self.came.get(payload);
        came.is_none_or(|came| u128::from(at.saturating_sub(*came)) >= ttl_ns)
    }
}
