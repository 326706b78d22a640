//! Whether a source is left alone for a moment before it is read again, so that messages share what a wake-up costs: three
//! writes, five reads and a step of the agent.
//!
//! A pause pays for a sender that goes on meanwhile, and only slows down one that waits for its answers. Which of the two
//! it is can be measured: with pauses the first sends as much as without them.

use std::time::Duration;

use crate::time::Time;

/// How long the source is left alone: what a message of a dense stream may wait.
pub const PAUSE: Duration = Duration::from_millis(2);
/// For so long at least it is measured, so that a stutter of sender or machine does not decide.
const WINDOW: Duration = Duration::from_millis(20);
/// From so many messages on a read is worth its wake-up.
const ENOUGH: usize = 32;
/// Windows for which a source that pauses slow down is let alone; doubled each time, up to the second.
const REST: u32 = 4;
const REST_MAX: u32 = 64;
/// Windows with pauses after which the source is measured anew without them.
const PAUSED_MAX: u32 = 64;

/// One source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coalesce {
    mode: Mode,
    /// When the window began, and what came in it.
    since: Time,
    reads: u32,
    messages: usize,
    /// Windows to come before pauses are tried again, and how many it will be when they slow the source down.
    resting: u32,
    rest: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Watching,
    Pausing {
        /// Messages a second without pauses.
        before: u64,
        /// Windows since then.
        windows: u32,
    },
}

impl Coalesce {
    /// A source of which nothing is known.
    pub fn new(now: Time) -> Coalesce {
        Coalesce { mode: Mode::Watching, since: now, reads: 0, messages: 0, resting: 0, rest: REST }
    }

    /// Takes in that a read gave so many messages. Returns whether to pause before the next one.
    pub fn read(&mut self, now: Time, messages: usize) -> bool {
        self.reads += 1;
        self.messages += messages;
        if now.since(self.since) >= WINDOW {
            match self.mode {
                Mode::Watching => self.watched(now),
                Mode::Pausing { before, windows } => self.paused(now, before, windows + 1),
            }
            (self.since, self.reads, self.messages) = (now, 0, 0);
        }
        matches!(self.mode, Mode::Pausing { .. }) && messages < ENOUGH
    }

    /// Only reads that follow each other closely are worth a try.
    fn watched(&mut self, now: Time) {
        self.resting = self.resting.saturating_sub(1);
        let dense = now.since(self.since) < PAUSE * self.reads / 2;
        if dense && self.resting == 0 {
            self.mode = Mode::Pausing { before: self.rate(now), windows: 0 };
        }
    }

    fn paused(&mut self, now: Time, before: u64, windows: u32) {
        let slower = self.rate(now) < before / 8 * 5;
        if slower {
            (self.resting, self.rest) = (self.rest, (self.rest * 2).min(REST_MAX));
        } else if windows >= PAUSED_MAX {
            self.rest = REST;
        }
        let again = slower || windows >= PAUSED_MAX;
        self.mode = if again { Mode::Watching } else { Mode::Pausing { before, windows } };
    }

    /// Messages a second in this window.
    fn rate(&self, now: Time) -> u64 {
        let micros = now.since(self.since).as_micros().max(1);
        u64::try_from(self.messages as u128 * 1_000_000 / micros).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// Lets a sender that sends one message each `interval` be read for a second. Returns how often it was.
    fn reads_of_a_stream(interval: Duration) -> u32 {
        let (mut gather, mut now, mut sent) = (Coalesce::new(Time(0)), Time(0), 0);
        let mut reads = 0;
        while now < Time(1_000_000_000) {
            let next = Time(0) + interval * (sent + 1);
            now = now.max(next);
            let there = u32::try_from(now.since(Time(0)).as_nanos() / interval.as_nanos()).unwrap();
            let pause = gather.read(now, usize::try_from(there - sent).unwrap());
            (sent, reads) = (there, reads + 1);
            if pause {
                now = now + PAUSE;
            }
        }
        reads
    }

    /// Lets a sender that waits for the answers of its last `window` messages be read for a second. Returns how many came.
    fn messages_of_a_dialogue(window: usize, round: Duration) -> usize {
        let (mut gather, mut now, mut messages) = (Coalesce::new(Time(0)), Time(0), 0);
        while now < Time(1_000_000_000) {
            now = now + round;
            messages += window;
            if gather.read(now, window) {
                now = now + PAUSE.saturating_sub(round);
            }
        }
        messages
    }

    #[test]
    fn messages_of_a_dense_stream_share_reads() {
        let reads = reads_of_a_stream(200 * MICROSECOND);
        assert!((450..900).contains(&reads), "{reads}");
    }

    #[test]
    fn a_thin_stream_is_never_left_alone() {
        assert_eq!(reads_of_a_stream(5 * PAUSE), 100);
    }

    #[test]
    fn a_sender_that_waits_for_its_answers_is_hardly_slowed_down() {
        for (window, round) in [(1, 100), (10, 300), (20, 1000)] {
            let freely = window * (1_000_000 / round);
            let messages = messages_of_a_dialogue(window, MICROSECOND * u32::try_from(round).unwrap());
            assert!(messages * 10 > freely * 8, "{messages} of {freely}");
        }
    }

    #[test]
    fn a_read_that_gave_much_is_followed_by_the_next_at_once() {
        let mut gather = Coalesce::new(Time(0));
        let paused = (1..10_000u64).any(|read| gather.read(Time(read * 10_000), ENOUGH));
        assert!(!paused);
    }
}
