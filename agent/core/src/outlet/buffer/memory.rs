//! How much waits in memory, and whose. A message counts once, however many outlets it waits in: they share it.
//!
//! The room is shared as switches share theirs: whoever holds little finds room, whoever holds much finds it only while twice as much
//! as that is free. One that is alone gets two thirds of all, many that send all they can get the same each, and some room always
//! stays for the next one (dynamic thresholds, Choudhury and Hahne 1998).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::config::network::Remote;
use crate::time::Time;

/// Bytes that may wait in memory for the disk or a confirmation, all outlets together.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Cost of a message in each outlet where it waits, beside itself.
const PLACE_BYTES: usize = 64;
/// How many times what is left free one may hold.
const SHARE: usize = 2;
/// Room that a batch needs at most, whatever it takes: one that is larger than all there is would never be taken.
const BATCH_BYTES: usize = BYTES_MAX / 4;
/// Those that hold nothing are forgotten where there are more.
const REMEMBERED: usize = 1024;

/// The messages that wait in any outlet's memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// In the order of their ids.
    messages: VecDeque<Shared>,
    bytes: usize,
    /// Those that hold something, and those that were refused a moment ago.
    holders: BTreeMap<Holder, Held>,
}

/// Owner of messages that share one part of the room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// Those of a machine.
    Remote(Remote),
    /// Those of a source, a peer or the agent itself, by its name.
    Source(Arc<str>),
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// Until when it is refused.
    waits_until: Time,
}

#[derive(Debug)]
struct Shared {
    id: u64,
    holder: Holder,
    weight: usize,
    /// In how many outlets it waits.
    places: usize,
}

impl Holder {
    /// The one of a batch that this machine has sent, if one has, or else what took it in.
    pub(super) fn of(from: Option<Remote>, source: &Arc<str>) -> Holder {
        from.map_or_else(|| Holder::Source(Arc::clone(source)), Holder::Remote)
    }
}

/// Cost of a message of this weight that waits in `places` outlets.
pub(super) fn cost(weight: usize, places: usize) -> usize {
    weight + places * PLACE_BYTES
}

impl Memory {
    /// Whether there is room for a batch of this weight.
    pub(super) fn has_room(&self, holder: &Holder, weight: usize) -> bool {
        let weight = weight.min(BATCH_BYTES);
        let own = self.holders.get(holder).map_or(0, |held| held.bytes);
        let free = BYTES_MAX.checked_sub(self.bytes + weight);
        free.is_some_and(|free| own + weight <= SHARE * free)
    }

    /// Whether it was refused a moment ago and what it sent before must come first.
    pub(super) fn has_to_wait(&self, holder: &Holder, now: Time) -> bool {
        self.holders.get(holder).is_some_and(|held| now < held.waits_until)
    }

    /// Notes that it was refused and is to be refused until that time, unless it has to wait already.
    pub(super) fn refused(&mut self, holder: &Holder, now: Time, until: Time) {
        if self.holders.len() >= REMEMBERED && !self.holders.contains_key(holder) {
            self.holders.retain(|_, held| held.bytes > 0 || now < held.waits_until);
        }
        let held = self.holders.entry(holder.clone()).or_default();
        if now >= held.waits_until {
            held.waits_until = until;
        }
    }

    /// Notes a message with the highest id so far, which waits in so many outlets.
    pub(super) fn add(&mut self, id: u64, holder: &Holder, weight: usize, places: usize) {
        if places > 0 {
            let bytes = cost(weight, places);
            self.messages.push_back(Shared { id, holder: holder.clone(), weight, places });
            self.bytes += bytes;
            self.holders.entry(holder.clone()).or_default().bytes += bytes;
        }
    }

    /// Notes that a message has left one outlet's memory.
    pub(super) fn release(&mut self, id: u64) {
        let Ok(at) = self.messages.binary_search_by_key(&id, |shared| shared.id) else { return };
        let Some(shared) = self.messages.get_mut(at).filter(|shared| shared.places > 0) else { return };
        shared.places -= 1;
        let bytes = PLACE_BYTES + if shared.places == 0 { shared.weight } else { 0 };
        self.bytes -= bytes;
        if let Some(held) = self.holders.get_mut(&shared.holder) {
            held.bytes -= bytes;
            if held.bytes == 0 && held.waits_until == Time::default() {
                self.holders.remove(&shared.holder);
            }
        }
        while self.messages.pop_front_if(|shared| shared.places == 0).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;
    use std::time::Duration;

    use super::*;

    const KB: usize = 1024;

    fn machine(last: u8) -> Holder {
        Holder::Remote(Remote::At(IpAddr::from([10, 0, 0, last])))
    }

    /// Offers batches of this size for as long as they are taken. Tells how much was.
    fn fill(memory: &mut Memory, id: &mut u64, holder: &Holder, batch: usize) -> usize {
        let mut taken = 0;
        while memory.has_room(holder, batch) {
            *id += 1;
            memory.add(*id, holder, batch - PLACE_BYTES, 1);
            taken += batch;
        }
        taken
    }

    #[test]
    fn a_message_counts_once_until_the_last_outlet_lets_go_of_it() {
        let mut memory = Memory::default();
        memory.add(7, &machine(1), 1000, 3);
        memory.add(9, &machine(1), 10, 1);
        assert_eq!(memory.bytes, 1010 + 4 * PLACE_BYTES);
        memory.release(7);
        memory.release(9);
        memory.release(7);
        assert_eq!(memory.bytes, 1000 + PLACE_BYTES);
        memory.release(7);
        assert_eq!(memory.bytes, 0);
        assert!(memory.messages.is_empty() && memory.holders.is_empty());
    }

    #[test]
    fn what_is_not_there_releases_nothing() {
        let mut memory = Memory::default();
        memory.add(1, &machine(1), 5, 0);
        memory.add(2, &machine(1), 5, 1);
        memory.release(1);
        memory.release(3);
        assert_eq!(memory.bytes, 5 + PLACE_BYTES);
    }

    #[test]
    fn one_that_is_alone_fills_two_thirds_and_leaves_room_for_everybody_else() {
        let (mut memory, mut id) = (Memory::default(), 0);
        let taken = fill(&mut memory, &mut id, &machine(1), 64 * KB);
        assert!(taken > BYTES_MAX / 5 * 3 && taken <= BYTES_MAX / 3 * 2, "{taken}");
        assert!(memory.has_room(&machine(2), 1024 * KB));
        assert!(memory.has_room(&Holder::Source("source:meter".into()), 1024 * KB));
    }

    #[test]
    fn many_that_send_all_they_can_share_alike_and_one_that_holds_little_finds_room() {
        for batch in [KB, 64 * KB, 256 * KB] {
            let (mut memory, mut id) = (Memory::default(), 0);
            let flooders: Vec<Holder> = (1..=250).map(machine).collect();
            // One after another, a batch each time.
            while flooders.iter().filter(|holder| memory.has_room(holder, batch)).count() > 0 {
                for holder in &flooders {
                    if memory.has_room(holder, batch) {
                        id += 1;
                        memory.add(id, holder, batch - PLACE_BYTES, 1);
                    }
                }
            }
            let holds = |holder| memory.holders.get(holder).map_or(0, |held| held.bytes);
            let (least, most) = (flooders.iter().map(holds).min(), flooders.iter().map(holds).max());
            assert!(most.unwrap() <= least.unwrap() + batch, "{least:?} {most:?}");
            assert!(memory.bytes <= BYTES_MAX);
            assert!(memory.has_room(&machine(251), 2 * KB), "{batch}");
        }
    }

    #[test]
    fn what_is_larger_than_all_there_is_finds_room_while_little_waits() {
        let (mut memory, mut id) = (Memory::default(), 0);
        memory.add(1, &machine(1), BYTES_MAX / 4, 1);
        assert!(memory.has_room(&machine(2), 10 * BYTES_MAX));
        assert!(memory.has_room(&machine(1), 10 * BYTES_MAX));
        id += 1;
        fill(&mut memory, &mut id, &machine(1), 64 * KB);
        assert!(!memory.has_room(&machine(1), 10 * BYTES_MAX));
    }

    #[test]
    fn whoever_was_refused_waits_and_nobody_else_does() {
        let mut memory = Memory::default();
        let at = |ms| Time::default() + Duration::from_millis(ms);
        memory.refused(&machine(1), at(0), at(20));
        memory.refused(&machine(1), at(10), at(30));
        assert!(memory.has_to_wait(&machine(1), at(19)) && !memory.has_to_wait(&machine(2), at(19)));
        assert!(!memory.has_to_wait(&machine(1), at(20)), "a second try does not make it longer");
        memory.add(1, &machine(1), 10, 1);
        memory.release(1);
        assert!(memory.has_to_wait(&machine(1), at(19)));
    }

    #[test]
    fn those_who_were_refused_once_are_forgotten() {
        let mut memory = Memory::default();
        let at = |ms| Time::default() + Duration::from_millis(ms);
        for number in 0..10 * REMEMBERED {
            let holder = Holder::Source(number.to_string().into());
            let now = at(u64::try_from(number).unwrap());
            memory.refused(&holder, now, now + Duration::from_millis(20));
        }
        assert!(memory.holders.len() <= REMEMBERED);
    }
}
