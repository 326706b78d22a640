//! Groups of one outlet, in memory: where to look, never the entries themselves. Pure.

use std::collections::VecDeque;

use holdfast_core::message::Stamp;
use holdfast_core::outlet::store_protocol::Held;

use super::group::{self, Group, Head};

/// One group in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupMeta {
    /// First number that it covers.
    pub first: u64,
    /// Last number that it covers.
    pub last: u64,
    /// Arrival time of its oldest message, 0 without one.
    pub oldest_ns: u64,
    /// When its newest message came, none without one.
    pub newest: Option<Stamp>,
    /// Messages, gaps not counted.
    pub messages: u32,
    /// Bytes of its values.
    pub bytes: u32,
    /// Number of its values.
    pub parts: u16,
}

/// The groups of one outlet, in the order of their numbers, none overlapping another.
#[derive(Debug, Default)]
pub struct GroupIndex {
    slots: VecDeque<GroupMeta>,
    messages: u64,
    bytes: u64,
    last_id: u64,
}

impl GroupMeta {
    /// The slot of a group with this header, whose values take so many bytes.
    pub fn new(head: &Head, bytes: usize) -> GroupMeta {
        let Head { first, last, oldest_ns, messages, parts, .. } = *head;
        let (newest, bytes) = (head.newest(), u32::try_from(bytes).unwrap_or(u32::MAX));
        GroupMeta { first, last, oldest_ns, newest, messages, bytes, parts }
    }
}

impl From<&Group> for GroupMeta {
    fn from(group: &Group) -> GroupMeta {
        GroupMeta::new(&group.head, group.bytes())
    }
}

impl GroupIndex {
    /// Adds a group behind all others.
    pub fn push(&mut self, slot: GroupMeta, last_id: u64) {
        debug_assert!(self.last().is_none_or(|last| last < slot.first));
        self.messages += u64::from(slot.messages);
        self.bytes += u64::from(slot.bytes);
        self.last_id = self.last_id.max(last_id);
        self.slots.push_back(slot);
    }

    /// Adds a group in front of all others.
    pub fn push_front(&mut self, slot: GroupMeta) {
        self.messages += u64::from(slot.messages);
        self.bytes += u64::from(slot.bytes);
        self.slots.push_front(slot);
    }

    /// Takes the oldest group out.
    pub fn pop_front(&mut self) -> Option<GroupMeta> {
        let slot = self.slots.pop_front()?;
        self.messages -= u64::from(slot.messages);
        self.bytes -= u64::from(slot.bytes);
        if self.messages == 0 {
            self.last_id = 0;
        }
        Some(slot)
    }

    /// Takes the newest group out.
    pub fn pop_back(&mut self) -> Option<GroupMeta> {
        let slot = self.slots.pop_back()?;
        self.messages -= u64::from(slot.messages);
        self.bytes -= u64::from(slot.bytes);
        Some(slot)
    }

    /// The newest groups, in the order of their numbers, if there are so many, each is below so many bytes, and their messages
    /// can share a group.
    pub fn small_tail(&self, count: usize, bytes_max: u32) -> Option<Vec<GroupMeta>> {
        let start = self.slots.len().checked_sub(count)?;
        let tail: Vec<GroupMeta> = self.slots.range(start..).copied().collect();
        let origin = |slot: &GroupMeta| slot.newest.as_ref().map(group::origin);
        let mut origins = tail.iter().filter_map(origin);
        let first = origins.next();
        let alike = origins.all(|origin| Some(origin) == first);
        (alike && tail.iter().all(|slot| slot.bytes < bytes_max)).then_some(tail)
    }

    /// Puts another group in the place of one that covers the same numbers.
    pub fn replace(&mut self, old: &GroupMeta, new: GroupMeta) {
        let Ok(place) = self.slots.binary_search_by_key(&old.first, |slot| slot.first) else { return };
        self.messages = self.messages - u64::from(old.messages) + u64::from(new.messages);
        self.bytes = self.bytes - u64::from(old.bytes) + u64::from(new.bytes);
        self.slots[place] = new;
    }

    /// How many groups at the front hold nothing but what is too old, up to the last one that has a message.
    pub fn old_front(&self, is_old: impl Fn(&Stamp) -> bool) -> usize {
        let old = self.slots.iter().take_while(|slot| slot.newest.as_ref().is_none_or(&is_old));
        old.enumerate().filter(|(_, slot)| slot.newest.is_some()).last().map_or(0, |(place, _)| place + 1)
    }

    /// The oldest group.
    pub fn front(&self) -> Option<&GroupMeta> {
        self.slots.front()
    }

    /// The group that holds this number or, if none does, the next higher one.
    pub fn at_or_after(&self, seq: u64) -> Option<GroupMeta> {
        self.slots.get(self.slots.partition_point(|slot| slot.last < seq)).copied()
    }

    /// The group that holds this number or, if none does, the next lower one.
    pub fn at_or_before(&self, seq: u64) -> Option<GroupMeta> {
        let behind = self.slots.partition_point(|slot| slot.first <= seq);
        self.slots.get(behind.checked_sub(1)?).copied()
    }

    /// The first of these ranges that no group covers.
    pub fn find_missing(&self, ranges: &[(u64, u64)]) -> Option<(u64, u64)> {
        let is_covered = |first: u64| self.at_or_after(first).is_some_and(|slot| slot.first <= first);
        ranges.iter().find(|(first, _)| !is_covered(*first)).copied()
    }

    /// Takes the groups out that lie within these numbers.
    pub fn take_within(&mut self, from: u64, to: u64) -> Vec<GroupMeta> {
        let start = self.slots.partition_point(|slot| slot.first < from);
        let end = self.slots.partition_point(|slot| slot.last <= to);
        let taken: Vec<GroupMeta> = self.slots.drain(start..end.max(start)).collect();
        self.messages -= taken.iter().map(|slot| u64::from(slot.messages)).sum::<u64>();
        self.bytes -= taken.iter().map(|slot| u64::from(slot.bytes)).sum::<u64>();
        if self.messages == 0 {
            self.last_id = 0;
        }
        taken
    }

    /// Last number held.
    pub fn last(&self) -> Option<u64> {
        self.slots.back().map(|slot| slot.last)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The sums.
    pub fn held(&self) -> Held {
        let oldest = self.slots.iter().find(|slot| slot.messages > 0);
        Held {
            range: self.slots.front().map(|slot| slot.first).zip(self.last()),
            messages: self.messages,
            bytes: self.bytes,
            oldest_ns: oldest.map_or(0, |slot| slot.oldest_ns),
            oldest_group: oldest.and_then(|slot| slot.newest),
            last_id: self.last_id,
        }
    }
}
