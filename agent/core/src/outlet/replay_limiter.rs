//! How a backlog is sent: how fast, and how much of the link is left to what is fresh. Pure.

use crate::config::replay::{Rate, Replay, Share};

use crate::source::bucket::Bucket;
use crate::time::Time;

/// The pace of one link's backlog.
#[derive(Debug, Clone)]
pub struct ReplayLimiter {
    share: Share,
    messages: Bucket,
    bytes: Bucket,
    /// How far the fresh ones are ahead of their share, in thousandths of a message.
    lead: i64,
    at: Time,
}

impl ReplayLimiter {
    /// A pace that begins with what a short pause allows.
    pub fn new(replay: Replay, now: Time) -> ReplayLimiter {
        let Rate { messages, bytes } = replay.max_rate;
        ReplayLimiter {
            share: replay.live_share,
            messages: Bucket::of_pace(messages),
            bytes: Bucket::of_pace(bytes),
            lead: 0,
            at: now,
        }
    }

    /// Time has passed.
    pub fn advance(&mut self, now: Time) {
        let nanos = i128::try_from(now.since(self.at).as_nanos()).unwrap_or(i128::MAX);
        self.at = self.at.max(now);
        self.messages.fill(nanos);
        self.bytes.fill(nanos);
    }

    /// Whether one more message of the backlog may be sent.
    pub fn is_open(&self) -> bool {
        self.messages.is_open() && self.bytes.is_open()
    }

    /// When [`ReplayLimiter::is_open`] becomes true again, with some room so that not every message costs a wake-up.
    pub fn opens_at(&self) -> Option<Time> {
        let wait_ns = self.messages.lazy_wait_ns().max(self.bytes.lazy_wait_ns());
        let wait_ns = u64::try_from(wait_ns).unwrap_or(u64::MAX);
        (!self.is_open()).then(|| Time(self.at.0.saturating_add(wait_ns.max(1))))
    }

    /// A message of the backlog was sent.
    pub fn spend(&mut self, bytes: usize) {
        self.messages.spend(1);
        self.bytes.spend(i128::try_from(bytes).unwrap_or(i128::MAX));
    }

    /// Whether a fresh message goes next, when one of the backlog could as well.
    pub fn picks_fresh(&mut self) -> bool {
        let fresh = self.lead <= 0 && self.share != Share(0);
        let share = i64::from(self.share.0);
        self.lead += if fresh { 1000 - share } else { -share };
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::replay::Order;

    fn pace(messages: u64, bytes: u64, share: u16) -> ReplayLimiter {
        let max_rate = Rate { messages, bytes };
        ReplayLimiter::new(Replay { max_rate, live_share: Share(share), order: Order::Fifo }, Time::default())
    }

    /// Messages of 100 bytes that are sent in so many seconds by someone who sleeps as long as he is told.
    fn sent_in(pace: &mut ReplayLimiter, seconds: u64) -> (u64, u64) {
        let (mut sent, mut wakes) = (0, 0);
        let end = Time::default() + Duration::from_secs(seconds);
        let mut now = Time::default();
        while now <= end {
            pace.advance(now);
            wakes += 1;
            while pace.is_open() {
                pace.spend(100);
                sent += 1;
            }
            now = pace.opens_at().expect("it is closed");
        }
        (sent, wakes)
    }

    #[test]
    fn without_a_bound_it_is_always_open() {
        let mut pace = pace(0, 0, 0);
        (0..1_000_000).for_each(|_| pace.spend(1 << 20));
        assert!(pace.is_open());
        assert_eq!(pace.opens_at(), None);
    }

    #[test]
    fn a_bound_on_messages_or_bytes_holds_over_time_and_wakes_seldom() {
        let (sent, wakes) = sent_in(&mut pace(200, 0, 0), 10);
        assert!((2000..=2022).contains(&sent), "{sent}");
        assert!(wakes < 250, "{wakes}");
        let (sent, _) = sent_in(&mut pace(0, 5_000, 0), 10);
        assert!((500..=507).contains(&sent), "{sent}");
        let (sent, _) = sent_in(&mut pace(1, 0, 0), 10);
        assert!((10..=12).contains(&sent), "{sent}");
    }

    #[test]
    fn a_long_pause_does_not_allow_a_flood() {
        let mut pace = pace(100, 0, 0);
        pace.advance(Time::default() + Duration::from_secs(3600));
        let mut sent = 0;
        while pace.is_open() {
            pace.spend(1);
            sent += 1;
        }
        assert_eq!(sent, 10);
    }

    #[test]
    fn the_share_of_fresh_messages_is_kept() {
        for (share, expected) in [(0, 0), (250, 250), (500, 500), (1000, 1000)] {
            let mut pace = pace(0, 0, share);
            let fresh = (0..1000).filter(|_| pace.picks_fresh()).count();
            assert!(fresh.abs_diff(expected) <= 1, "{share}: {fresh}");
        }
    }
}
