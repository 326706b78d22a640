//! Whether a connection is alive: which silence is borne for how long. The bytes that the kernel counts are looked at only
//! while an answer is owed and does not come.

use std::time::Duration;

use crate::link::protocol::Traffic;
use crate::time::Time;

/// Looks within the time that a pong has.
const LOOKS: u32 = 4;
/// A late peer is given up to so many times the usual time, as a power of two.
const LEVEL_MAX: u32 = 3;
/// After this many answers in a row that come early enough, the time is halved again.
const GOOD_ANSWERS: u32 = 16;

/// The traffic of a connection, as far as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Watch {
    seen: Option<(Time, Traffic)>,
    /// When bytes of ours were last seen to arrive, or a frame of the peer to grow.
    moved_at: Time,
    /// When something else was last seen to come from the peer.
    heard_at: Time,
}

impl Watch {
    /// When it is time to look, for an answer that is owed since then.
    pub(crate) fn look_at(&self, since: Time, timeout: Duration) -> Time {
        let looked_at = self.seen.as_ref().map_or(since, |(at, _)| since.max(*at));
        looked_at + (timeout / LOOKS).max(Duration::from_millis(1))
    }

    /// Takes in a look. What moved before an answer was owed, `since` then, is no sign of life.
    pub(crate) fn saw(&mut self, now: Time, traffic: &Traffic, since: Time) {
        if let Some((_, seen)) = self.seen.as_ref().filter(|(at, _)| *at >= since) {
            let hears = traffic.heard > seen.heard;
            if traffic.acknowledged() > seen.acknowledged() || (hears && traffic.frames == seen.frames) {
                self.moved_at = now;
            } else if hears {
                self.heard_at = now;
            }
        }
        self.seen = Some((now, traffic.clone()));
    }

    /// When bytes were last seen to move.
    pub(crate) fn moved_at(&self) -> Time {
        self.moved_at
    }

    /// Since when there is silence that counts, for an answer that is owed since then. A peer that goes on speaking of other
    /// things is believed to be alive for `at_most`.
    pub(crate) fn silent_since(&self, since: Time, at_most: Duration) -> Time {
        since.max(self.moved_at).max(self.heard_at.min(since + at_most))
    }

    /// Whether what we sent has not arrived, as far as can be seen.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.seen.as_ref().is_some_and(|(_, seen)| seen.is_cut_off())
    }

    /// Whether there was a sign of life since an answer is owed: its bytes or ours moved, or all of ours arrived.
    pub(crate) fn is_alive(&self, since: Time) -> bool {
        let arrived = self.seen.as_ref().is_some_and(|(at, seen)| *at >= since && seen.has_arrived());
        arrived || self.moved_at > since || self.heard_at > since
    }
}

/// How much longer than usual an endpoint may take for its answers. It outlives the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Patience {
    level: u32,
    good: u32,
}

impl Patience {
    /// The time that it has in place of the usual one.
    pub(crate) fn stretch(self, usual: Duration) -> Duration {
        usual.saturating_mul(1 << self.level)
    }

    /// The patience with a peer that was late and alive once more.
    pub(crate) fn after_miss(self) -> Patience {
        Patience { level: (self.level + 1).min(LEVEL_MAX), good: 0 }
    }

    /// It answered within this time.
    pub(crate) fn answered(&mut self, took: Duration, usual: Duration) {
        if took > self.stretch(usual) {
            *self = self.after_miss();
        } else if took > self.stretch(usual) / 4 {
            self.good = 0;
        } else if self.level > 0 {
            self.good += 1;
            if self.good >= GOOD_ANSWERS {
                *self = Patience { level: self.level - 1, good: 0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn at(s: u64) -> Time {
        Time::default() + secs(s)
    }

    fn traffic(written: u64, unacknowledged: u64, heard: u64, frames: u64) -> Traffic {
        Traffic { written, unacknowledged: Some(unacknowledged), heard, frames, peer_is_full: false }
    }

    #[test]
    fn only_what_moves_while_an_answer_is_owed_is_a_sign_of_life() {
        let mut watch = Watch::default();
        watch.saw(at(3), &traffic(100, 0, 50, 1), at(0));
        watch.saw(at(12), &traffic(200, 60, 70, 2), at(10));
        assert_eq!(watch.silent_since(at(10), secs(30)), at(10), "nobody knows when it moved");
        watch.saw(at(14), &traffic(200, 50, 70, 2), at(10));
        assert_eq!(watch.silent_since(at(10), secs(30)), at(14));
        watch.saw(at(16), &traffic(200, 50, 70, 2), at(10));
        assert_eq!((watch.silent_since(at(10), secs(30)), watch.is_alive(at(10))), (at(14), true));
    }

    #[test]
    fn a_frame_that_trickles_in_is_a_sign_of_life_without_an_end_and_others_are_for_a_while() {
        let mut watch = Watch::default();
        for second in 0..100 {
            watch.saw(at(second), &traffic(9, 9, second, 0), at(0));
        }
        assert_eq!(watch.silent_since(at(0), secs(30)), at(99));
        let mut watch = Watch::default();
        for second in 0..100 {
            watch.saw(at(second), &traffic(9, 9, second, second), at(0));
        }
        assert_eq!(watch.silent_since(at(0), secs(30)), at(30));
    }

    #[test]
    fn it_is_looked_at_a_few_times_while_an_answer_is_owed() {
        let mut watch = Watch::default();
        assert_eq!(watch.look_at(at(10), secs(8)), at(12));
        watch.saw(at(12), &traffic(1, 1, 1, 1), at(10));
        assert_eq!((watch.look_at(at(10), secs(8)), watch.look_at(at(100), secs(8))), (at(14), at(102)));
    }

    #[test]
    fn patience_grows_to_a_bound_and_shrinks_slowly() {
        let mut patience = Patience::default();
        (0..9).for_each(|_| patience = patience.after_miss());
        assert_eq!(patience.stretch(secs(10)), secs(80));
        (0..GOOD_ANSWERS - 1).for_each(|_| patience.answered(secs(1), secs(10)));
        assert_eq!(patience.stretch(secs(10)), secs(80));
        patience.answered(secs(1), secs(10));
        assert_eq!(patience.stretch(secs(10)), secs(40));
        (0..99).for_each(|_| patience.answered(secs(12), secs(10)));
        assert_eq!(patience.stretch(secs(10)), secs(40), "it still needs the time");
        patience.answered(secs(41), secs(10));
        assert_eq!(patience.stretch(secs(10)), secs(80));
    }
}
