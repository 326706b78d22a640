//! How many bytes may be in flight: about what the line carries while a ping may wait behind them.

use std::time::Duration;

use crate::time::Time;

/// In flight at first, in bytes.
const START: usize = 16 * 1024;
/// A new connection begins with this at most.
const START_MAX: usize = 64 * 1024;
const MIN: usize = 4 * 1024;
const MAX: usize = 1024 * 1024;

/// Bytes that may be in flight on a link. A larger message goes alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    bytes: usize,
    /// The measurement that goes on.
    mark: Option<Mark>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    /// The last of them, counted on this connection.
    ordinal: u64,
    at: Time,
    /// Bytes that were in flight with it.
    bytes: usize,
}

impl Default for Window {
    fn default() -> Window {
        Window { bytes: START, mark: None }
    }
}

impl Window {
    /// Its size.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A new connection: what was known of the line still holds, but the peer may be another one.
    pub(crate) fn came_up(&mut self) {
        *self = Window { bytes: self.bytes.min(START_MAX), mark: None };
    }

    /// Entries up to this one were sent, and so many bytes are in flight.
    pub(crate) fn sent(&mut self, now: Time, ordinal: u64, bytes: usize) {
        self.mark.get_or_insert(Mark { ordinal, at: now, bytes });
    }

    /// Entries up to this one are confirmed. What is in flight should be confirmed within about this time.
    pub(crate) fn confirmed(&mut self, now: Time, ordinal: u64, aim: Duration) {
        let Some(mark) = self.mark.take_if(|mark| mark.ordinal <= ordinal) else { return };
        let took = now.since(mark.at).max(Duration::from_millis(1));
        let carried = mark.bytes as u128 * aim.as_nanos() / took.as_nanos();
        let carried = usize::try_from(carried).unwrap_or(MAX);
        // A line that had little to carry shows only that it carries at least that.
        let was_full = mark.bytes >= self.bytes / 2;
        let most = if was_full { self.bytes * 2 } else { self.bytes };
        if was_full || took > aim {
            self.bytes = carried.clamp(MIN, most.clamp(MIN, MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIM: Duration = Duration::from_secs(5);

    /// Sends as much as fits over a line of so many bytes a second and this delay, for many rounds.
    fn settle(rate: usize, delay: Duration, message: usize) -> usize {
        let (mut window, mut now) = (Window::default(), Time::default());
        for round in 1..60 {
            let bytes = (window.bytes() / message * message).max(message);
            window.sent(now, round, bytes);
            now = now + delay + Duration::from_secs_f64(bytes as f64 / rate as f64);
            window.confirmed(now, round, AIM);
        }
        window.bytes()
    }

    #[test]
    fn it_follows_what_the_line_carries_in_the_time_aimed_at() {
        for rate in [2_000, 4_000, 24_000] {
            let bytes = settle(rate, Duration::from_millis(50), 200);
            assert!((rate * 4..=rate * 5).contains(&bytes), "{rate}/s: {bytes}");
        }
        assert_eq!(settle(100_000_000, Duration::from_millis(50), 200), MAX);
        assert_eq!(settle(10, Duration::from_millis(50), 200), MIN);
    }

    #[test]
    fn a_long_way_is_not_taken_for_a_narrow_one() {
        assert_eq!(settle(100_000_000, Duration::from_secs(4), 200), MAX);
    }

    #[test]
    fn messages_larger_than_the_line_carries_keep_the_rest_small() {
        assert!(settle(4_000, Duration::from_millis(50), 60_000) <= 5 * 4_000);
    }

    #[test]
    fn what_is_small_and_quick_says_nothing_of_what_is_large() {
        let (mut window, mut now) = (Window::default(), Time::default());
        for round in 1..60 {
            window.sent(now, round, 200);
            now = now + Duration::from_millis(1);
            window.confirmed(now, round, AIM);
        }
        assert_eq!(window.bytes(), START);
    }

    #[test]
    fn a_slow_line_is_remembered_and_a_quick_one_only_in_part() {
        let mut window = Window { bytes: MAX, mark: None };
        window.came_up();
        assert_eq!(window.bytes(), START_MAX);
        window.bytes = MIN;
        window.came_up();
        assert_eq!(window.bytes(), MIN);
    }
}
