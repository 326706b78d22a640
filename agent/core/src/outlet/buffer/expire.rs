//! Messages that have become too old: they leave the store at its front, group by group and unread, and none is sent.

use std::time::Duration;

use super::{Buffer, BufferEffect, Start};
use crate::clocks::Clocks;
use crate::ids::OutletId;
use crate::message::{Body, Entry, Message};
use crate::observe::log_event::LogEvent;
use crate::outlet::age::{self, Limit};
use crate::outlet::range_set::RangeSet;
use crate::outlet::store_protocol::StoreOrder;
use crate::time::{Now, Time};

/// Groups become too old one after the other, as they came. They wait for so much of their time to live for others, so that one
/// write removes many; what waits is not sent any more.
const WAIT_SHARE: u32 = 20;
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(600);

/// How far the messages of the outlets are given up.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    messages: u64,
    look_at: Option<Time>,
}

/// How far the messages of one outlet are given up.
#[derive(Debug, Default)]
pub(super) struct OutletExpiry {
    /// The numbers that were counted: what was given up when it was to be sent is not counted again when the disk gives it up.
    counted: RangeSet,
    /// How often some were given up before they were sent.
    unsent: u64,
    /// When the disk may be asked at the earliest.
    not_before: Time,
}

impl OutletExpiry {
    /// The numbers of the outlet begin again.
    pub(super) fn forget(&mut self) {
        self.counted = RangeSet::default();
    }
}

impl Expiry {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.look_at
    }
}

impl Buffer {
    /// Messages given up since the start because they became too old.
    pub fn expired(&self) -> u64 {
        self.expiry.messages
    }

    /// How often messages of an outlet became too old before they were sent.
    pub fn expired_unsent(&self, outlet: OutletId) -> u64 {
        self.outlets[outlet].expiry.unsent
    }

    /// Looks once more at what is about to be sent: what is too old is announced as a gap, the rest gets its true time.
    pub fn fresh(
        &mut self,
        outlet: OutletId,
        now: Now,
        clocks: &Clocks,
        mut entries: Vec<Entry>,
    ) -> Vec<Entry> {
        let own = &mut self.outlets[outlet];
        let ttl = own.owner.bounds.ttl;
        if entries.iter().any(|entry| lives(ttl, entry).is_some()) {
            let looked = age::look_over(entries, |message| is_old(ttl, now, clocks, message));
            let counted = &mut own.expiry.counted;
            counted.remove_through(own.queue.confirmed());
            own.expiry.unsent += u64::from(!looked.expired.is_empty());
            let expired = looked.expired.iter().map(|seq| counted.insert(*seq, *seq)).sum::<u64>();
            self.count_expired(outlet, expired);
            entries = looked.entries;
        }
        clocks.restamp(&mut entries);
        entries
    }

    /// The same entries with their true time, to be sent out of their turn; none if one of them is too old.
    pub fn still_fresh(
        &self,
        outlet: OutletId,
        now: Now,
        clocks: &Clocks,
        mut entries: Vec<Entry>,
    ) -> Option<Vec<Entry>> {
        let ttl = self.outlets[outlet].owner.bounds.ttl;
        if entries.iter().any(|entry| lives(ttl, entry).is_some()) {
            let looked = age::look_over(entries, |message| is_old(ttl, now, clocks, message));
            entries = Some(looked.entries).filter(|_| looked.expired.is_empty())?;
        }
        clocks.restamp(&mut entries);
        Some(entries)
    }

    /// Tells the disk to give up the groups that became too old, if there are any.
    pub fn expire(&mut self, now: Now, clocks: &Clocks, out: &mut Vec<BufferEffect>) {
        self.expiry.look_at = None;
        if self.start != Start::Done || self.dropping || self.failure.is_some() || self.is_volatile() {
            return;
        }
        for outlet in self.outlets.ids() {
            let oldest = self.outlets[outlet].queue.held().oldest_group;
            let Some((ttl, oldest)) = self.outlets[outlet].owner.bounds.ttl.zip(oldest) else { continue };
            let wait = (ttl / WAIT_SHARE).clamp(WAIT_MIN, WAIT_MAX);
            let left = (ttl + wait).saturating_sub(clocks.age(&now, &oldest));
            let due = (now.mono + left).max(self.outlets[outlet].expiry.not_before);
            if due > now.mono {
                self.expiry.look_at = self.expiry.look_at.into_iter().chain([due]).min();
            } else if !self.dropping {
                self.dropping = true;
                self.outlets[outlet].expiry.not_before = now.mono + wait;
                let limit = Limit { ttl, clocks: clocks.clone(), now };
                self.order(now.mono, StoreOrder::Expire { outlet, limit }, out);
            }
        }
    }

    /// The disk has given up what was too old.
    pub(super) fn has_expired(
        &mut self,
        outlet: OutletId,
        messages: u64,
        gap: Option<(u64, u64)>,
        out: &mut Vec<BufferEffect>,
    ) {
        self.dropping = false;
        let own = &mut self.outlets[outlet];
        own.queue.reread();
        let Some((from, to)) = gap else { return };
        own.expiry.unsent += u64::from(to > own.queue.sent());
        let expired = messages.min(own.expiry.counted.insert(from, to));
        let name = own.queue.name.clone();
        self.count_expired(outlet, expired);
        out.push(BufferEffect::Note(LogEvent::Expired { outlet: name, messages, from, to }));
    }

    fn count_expired(&mut self, outlet: OutletId, messages: u64) {
        self.expiry.messages += messages;
        self.outlets[outlet].queue.given_up.expired += messages;
    }
}

/// How long an entry may live in an outlet: as long as that allows, and as it says itself.
fn lives(ttl: Option<Duration>, entry: &Entry) -> Option<Duration> {
    match &entry.body {
        Body::Message(message) => ttl_of(ttl, message),
        Body::Gap { .. } => None,
    }
}

/// How long a message may live: the smaller counts of what its outlet allows and what it says itself.
fn ttl_of(ttl: Option<Duration>, message: &Message) -> Option<Duration> {
    let own = message.ttl_s.map(|seconds| Duration::from_secs(seconds.into()));
    ttl.into_iter().chain(own).min()
}

fn is_old(ttl: Option<Duration>, now: Now, clocks: &Clocks, message: &Message) -> bool {
    ttl_of(ttl, message).is_some_and(|ttl| clocks.age(&now, &message.stamp()) >= ttl)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::buffer::{Buffer as Rule, BufferLimits};
    use crate::ids::LinkId;
    use crate::message::{Boot, Clock, Format, GapReason};
    use crate::outlet::buffer::OutletOwner;
    use crate::outlet::store_protocol::{Held, Opened, StoreFacts, StoreOrderKind, StoreReport};

    const TTL: Duration = Duration::from_secs(60);
    /// A twentieth of it.
    const WAIT: u64 = 3;

    /// A buffer whose store holds ten messages, all in one group.
    struct Bench {
        buffer: Buffer,
        facts: StoreFacts,
        clocks: Clocks,
    }

    fn at(up_s: u64) -> Now {
        let up_ns = up_s * 1_000_000_000;
        Now { mono: Time(up_ns), wall_ns: 7, clock: Clock::Unsynced, boot: Boot(1), up_ns }
    }

    fn entry(seq: u64, came_s: u64) -> Entry {
        let (came, source) = (at(came_s), "test".into());
        let message = Message {
            id: seq,
            time_ns: came.wall_ns,
            clock: came.clock,
            boot: came.boot,
            up_ns: came.up_ns,
            topic: String::new(),
            device: None,
            source,
            format: Format::Text,
            payload: Vec::new(),
            attributes: Vec::new(),
            ttl_s: None,
        };
        Entry { seq, body: Body::Message(Arc::new(message)), replayed: true }
    }

    impl Bench {
        /// The newest message came at this second.
        fn holding(newest_s: u64) -> Bench {
            let range = Some((1, 10));
            let held =
                Held { range, messages: 10, oldest_group: Some(at(newest_s).stamp()), ..Held::default() };
            let facts = StoreFacts { held: vec![held], ..StoreFacts::default() };
            let opened =
                Opened { outlets: vec!["client:a".to_owned()], facts: facts.clone(), ..Opened::default() };
            let rule = Rule { ttl: TTL, ..Rule::default() };
            let owner = OutletOwner {
                link: LinkId(0),
                priority: 0,
                bounds: rule.bounds(BufferLimits::default()),
                gone: false,
            };
            let buffer = Buffer::new(rule, vec![owner], &["E".to_owned()], &opened, 0, 0);
            let mut bench = Bench { buffer, facts, clocks: Clocks::new(None, Time::default()) };
            bench.buffer.advance(at(0).mono, &mut Vec::new());
            bench.hear(0, StoreReport::NumbersSaved);
            bench
        }

        fn hear(&mut self, up_s: u64, report: StoreReport) -> Vec<BufferEffect> {
            let mut out = Vec::new();
            self.buffer.handle(at(up_s).mono, report, self.facts.clone(), &mut out);
            out
        }

        /// Whether the disk is told at this second.
        fn tells(&mut self, up_s: u64) -> bool {
            let mut out = Vec::new();
            self.buffer.expire(at(up_s), &self.clocks, &mut out);
            match &out[..] {
                [] => false,
                [BufferEffect::Disk(StoreOrder::Expire { outlet: OutletId(0), limit })]
                    if limit.ttl == TTL =>
                {
                    true
                }
                other => panic!("{other:?}"),
            }
        }

        fn sends(&mut self, up_s: u64, entries: Vec<Entry>) -> Vec<Entry> {
            self.buffer.fresh(OutletId(0), at(up_s), &self.clocks, entries)
        }
    }

    #[test]
    fn groups_that_are_too_old_wait_for_others_and_are_given_up_by_a_deadline() {
        let mut bench = Bench::holding(10);
        assert!(!bench.tells(70));
        assert_eq!(bench.buffer.deadline(), Some(at(70 + WAIT).mono));
        assert!(bench.tells(70 + WAIT));
        assert!(!bench.tells(70 + WAIT), "one order at a time");
        bench.facts.held[0] = Held { range: Some((1, 10)), ..Held::default() };
        let told =
            bench.hear(74, StoreReport::Expired { outlet: OutletId(0), messages: 10, gap: Some((1, 10)) });
        assert!(
            matches!(&told[..], [BufferEffect::Note(LogEvent::Expired { messages: 10, .. })]),
            "{told:?}"
        );
        assert_eq!(bench.buffer.expired(), 10);
        assert!(!bench.tells(500));
        assert_eq!(bench.buffer.expiry.deadline(), None, "nothing is left to become old");
    }

    #[test]
    fn a_disk_that_finds_nothing_too_old_or_fails_is_not_asked_without_a_pause() {
        let mut bench = Bench::holding(10);
        assert!(bench.tells(80));
        bench.hear(80, StoreReport::Expired { outlet: OutletId(0), messages: 0, gap: None });
        assert!(!bench.tells(80 + WAIT - 1));
        assert!(bench.tells(80 + WAIT));
        let error = "no space".to_owned();
        bench.hear(
            83,
            StoreReport::Failed { order: StoreOrderKind::Expire, outlet: Some(OutletId(0)), error },
        );
        assert!(!bench.tells(84), "the disk rests");
    }

    #[test]
    fn the_smaller_counts_of_what_a_message_and_its_outlet_allow() {
        let mut bench = Bench::holding(50);
        let living = |seq, ttl_s| {
            let entry = entry(seq, 10);
            let Body::Message(message) = &entry.body else { panic!("it is a message") };
            let message = Message { ttl_s: Some(ttl_s), ..(**message).clone() };
            Entry { body: Body::Message(Arc::new(message)), ..entry }
        };
        let entries = || vec![living(1, 5), living(2, 1000)];
        let gone = |to| Entry { seq: 1, body: Body::Gap { to, reason: GapReason::Expired }, replayed: false };
        assert_eq!(bench.sends(14, entries()), entries());
        assert_eq!(bench.sends(15, entries()), [gone(1), living(2, 1000)]);
        assert_eq!(bench.buffer.still_fresh(OutletId(0), at(15), &bench.clocks, entries()), None);
        assert_eq!(bench.sends(70, entries()), [gone(2)]);
        assert_eq!(bench.buffer.expired(), 2);
    }

    #[test]
    fn what_is_too_old_is_not_sent_and_is_counted_once_however_often_it_comes_up() {
        let mut bench = Bench::holding(50);
        let entries = || vec![entry(1, 10), entry(2, 10), entry(3, 50)];
        for _ in 0..2 {
            let sent = bench.sends(80, entries());
            let gap = Body::Gap { to: 2, reason: GapReason::Expired };
            assert_eq!(sent, [Entry { seq: 1, body: gap, replayed: false }, entry(3, 50)]);
            assert_eq!(bench.buffer.expired(), 2);
        }
        assert!(bench.tells(120));
        bench.hear(120, StoreReport::Expired { outlet: OutletId(0), messages: 10, gap: Some((1, 10)) });
        assert_eq!(bench.buffer.expired(), 10, "two of them were counted before");
        assert_eq!(bench.buffer.queue(OutletId(0)).given_up.expired, 10);
    }
}
