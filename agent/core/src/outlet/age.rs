//! What is too old to be delivered: the limit of one outlet at one moment, and the last look at what is about to be sent.

use std::time::Duration;

use crate::clocks::Clocks;
use crate::message::{Body, Entry, GapReason, Message, Stamp};
use crate::time::Now;

/// The time to live of an outlet's messages, at one moment. The disk gets it with its orders, so it holds all that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// How old a message may be.
    pub ttl: Duration,
    /// What is known of the clocks.
    pub clocks: Clocks,
    /// The moment.
    pub now: Now,
}

/// What a last look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// What is to be sent: gaps in the place of what is too old.
    pub entries: Vec<Entry>,
    /// Numbers whose messages are too old.
    pub expired: Vec<u64>,
}

impl Limit {
    /// Whether it is too long ago.
    pub fn has_passed(&self, stamp: &Stamp) -> bool {
        self.clocks.age(&self.now, stamp) >= self.ttl
    }
}

/// Puts gaps in the place of the messages that are too old; neighbours share one.
pub fn look_over(entries: Vec<Entry>, is_old: impl Fn(&Message) -> bool) -> Looked {
    let mut looked = Looked::default();
    for entry in entries {
        match &entry.body {
            Body::Message(message) if is_old(message) => looked.give_up(entry.seq),
            Body::Message(_) | Body::Gap { .. } => looked.entries.push(entry),
        }
    }
    looked
}

impl Looked {
    fn give_up(&mut self, seq: u64) {
        self.expired.push(seq);
        if let Some(Entry { body: Body::Gap { to, reason: GapReason::Expired }, .. }) =
            self.entries.last_mut()
            && *to + 1 == seq
        {
            *to = seq;
            return;
        }
        let body = Body::Gap { to: seq, reason: GapReason::Expired };
        self.entries.push(Entry { seq, body, replayed: false });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::{Boot, Clock, Format};
    use crate::time::Time;

    const SECOND: u64 = 1_000_000_000;

    fn at(up_s: u64) -> Now {
        let up_ns = up_s * SECOND;
        Now { mono: Time(up_ns), wall_ns: 7, clock: Clock::Unsynced, boot: Boot(1), up_ns }
    }

    fn limit(now: Now) -> Limit {
        Limit { ttl: Duration::from_secs(60), clocks: Clocks::new(None, Time::default()), now }
    }

    fn message(seq: u64, came: Now) -> Entry {
        let message = Message {
            id: seq,
            time_ns: came.wall_ns,
            clock: came.clock,
            boot: came.boot,
            up_ns: came.up_ns,
            topic: String::new(),
            device: None,
            source: "test".into(),
            format: Format::Text,
            payload: Vec::new(),
            attributes: Vec::new(),
            ttl_s: None,
        };
        Entry { seq, body: Body::Message(Arc::new(message)), replayed: false }
    }

    fn gap(seq: u64, to: u64, reason: GapReason) -> Entry {
        Entry { seq, body: Body::Gap { to, reason }, replayed: false }
    }

    #[test]
    fn a_message_is_too_old_when_its_time_to_live_is_over_and_not_before() {
        let came = at(10).stamp();
        assert!(!limit(at(69)).has_passed(&came));
        assert!(limit(at(70)).has_passed(&came));
    }

    #[test]
    fn gaps_take_the_place_of_old_messages_and_everything_else_stays() {
        let restart = gap(4, 6, GapReason::Restart);
        let (old, young) = (at(10), at(90));
        let entries = vec![
            message(1, old),
            message(2, old),
            message(3, young),
            restart.clone(),
            message(7, old),
            message(9, old),
        ];
        let looked = look_over(entries, |message| limit(at(100)).has_passed(&message.stamp()));
        let left = [
            gap(1, 2, GapReason::Expired),
            message(3, young),
            restart,
            gap(7, 7, GapReason::Expired),
            gap(9, 9, GapReason::Expired),
        ];
        assert_eq!(looked.entries, left);
        assert_eq!(looked.expired, [1, 2, 7, 9]);
    }
}
