//! How much memory callers may fill with what they send until it is stored: one budget for all servers, whatever they speak.
//!
//! It is shared as switches share theirs: whoever holds little finds room, whoever holds much finds it only while twice as much as that
//! is free (dynamic thresholds, Choudhury and Hahne 1998). So a crowd that sends all it can leaves each newcomer as much as each of its own.
//!
//! Two things keep it from standing still. What is complete is stored or refused within a bounded time, and gives its room back. What
//! is not complete may wait for the room that others hold in the same state: [`Memory::to_end`] says which connection gives way then. Pure.

use std::collections::BTreeMap;

use crate::config::network::Remote;

/// Less than this is no room, or something would be read byte by byte.
const LEAST: usize = 1024;

/// An address finds room for this much in the reserve whatever others hold: a sensor is served while they send all they can.
const SMALL: usize = 8 * 1024;
/// The reserve is the whole by this.
const RESERVE_SHARE: usize = 4;
/// Addresses that the reserve is for: those of all connections that a server takes by default.
const RESERVE_ADDRESSES: usize = 256;
/// How many times what is left free one address may hold.
const SHARE: usize = 2;

/// The budget, and what of it is taken.
#[derive(Debug)]
pub struct Memory {
    max: usize,
    /// What connections take by being open, and what is kept without one.
    open: usize,
    kept: usize,
    all: Held,
    remotes: BTreeMap<Remote, Held>,
    shares: BTreeMap<ShareId, Share>,
    next: u64,
}

/// Names the share of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShareId(u64);

/// Bytes of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    /// Of those that are not complete.
    unfinished: usize,
    /// Of those that are, until they are stored or refused.
    complete: usize,
}

#[derive(Debug)]
struct Share {
    remote: Remote,
    open: usize,
    held: Held,
    /// When the message that is not complete began, in the order of all.
    begun: u64,
    is_ending: bool,
}

/// Whether something finds room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// This much at this moment.
    Now(usize),
    /// None before others have given theirs back.
    Later,
    /// It is larger than what there is, and never will find any.
    Never,
}

impl Memory {
    /// So many bytes, all free.
    pub fn new(max: usize) -> Memory {
        Memory {
            max,
            open: 0,
            kept: 0,
            all: Held::default(),
            remotes: BTreeMap::new(),
            shares: BTreeMap::new(),
            next: 0,
        }
    }

    /// Goes on with another size. What is taken stays taken.
    pub fn resize(&mut self, max: usize) {
        self.max = max;
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        self.open + self.all.total()
    }

    /// A connection comes that takes so much by itself. None when open connections have three quarters: what is left is for messages.
    pub fn open(&mut self, remote: Remote, bytes: usize) -> Option<ShareId> {
        if self.open + bytes > self.max / 4 * 3 {
            return None;
        }
        self.open += bytes;
        let id = ShareId(self.next());
        let share = Share { remote, open: bytes, held: Held::default(), begun: 0, is_ending: false };
        self.shares.insert(id, share);
        Some(id)
    }

    /// What is kept beyond connections, sessions say, takes so much in place of what it took. False when that would be more than a quarter.
    pub fn keep(&mut self, before: usize, bytes: usize) -> bool {
        let kept = self.kept - before.min(self.kept) + bytes;
        if bytes > before && kept > self.max / 4 {
            return false;
        }
        self.open = self.open - self.kept + kept;
        self.kept = kept;
        true
    }

    /// What the connection brings from here on is from this address, and what it holds.
    pub fn belongs_to(&mut self, id: ShareId, remote: Remote) {
        let Some(share) = self.shares.get_mut(&id).filter(|share| share.remote != remote) else { return };
        let (held, before) = (share.held, std::mem::replace(&mut share.remote, remote));
        self.give_back(before, held);
        if held != Held::default() {
            self.remotes.entry(remote).or_default().add(held);
        }
    }

    /// The connection is gone with all that it held.
    pub fn close(&mut self, id: ShareId) {
        let Some(share) = self.shares.remove(&id) else { return };
        self.open -= share.open;
        self.all.subtract(share.held);
        self.give_back(share.remote, share.held);
    }

    /// How much of `wanted` may be read for a connection. One address has half of what there is for messages at most.
    pub fn to_read(&self, id: ShareId, wanted: usize) -> Room {
        match self.free(id) {
            free if free >= wanted.min(LEAST) => Room::Now(free.min(wanted)),
            _ => Room::Later,
        }
    }

    /// Whether all of `wanted` finds room beside what the connection holds.
    pub fn fits(&self, id: ShareId, wanted: usize) -> Room {
        let own = self.shares.get(&id).map_or(0, |share| share.held.total());
        match self.free(id) {
            free if free >= wanted => Room::Now(wanted),
            _ if own + wanted > self.for_messages() => Room::Never,
            _ => Room::Later,
        }
    }

    /// So much came of a message that is not complete.
    pub fn read(&mut self, id: ShareId, bytes: usize) {
        let Some(share) = self.shares.get_mut(&id) else { return };
        if share.held.unfinished < LEAST {
            self.next += 1;
            share.begun = self.next;
        }
        self.change(id, |held| held.unfinished += bytes);
    }

    /// All is complete but the last `rest` bytes at most, and takes `more` from here on. Returns what [`Memory::stored`] gives back.
    pub fn complete(&mut self, id: ShareId, rest: usize, more: usize) -> usize {
        let unfinished = self.shares.get(&id).map_or(0, |share| share.held.unfinished);
        let rest = rest.min(unfinished);
        let weight = unfinished - rest + more;
        if let Some(share) = self.shares.get_mut(&id) {
            self.next += 1;
            share.begun = self.next;
        }
        self.change(id, |held| {
            held.unfinished = rest;
            held.complete += weight;
        });
        weight
    }

    /// The connection keeps so much of what was complete until it is gone.
    pub fn held(&mut self, id: ShareId, bytes: usize) {
        self.change(id, |held| held.complete += bytes);
    }

    /// So much of what was complete is stored or refused.
    pub fn stored(&mut self, id: ShareId, bytes: usize) {
        self.change(id, |held| held.complete -= bytes.min(held.complete));
    }

    /// So much of a message that is not complete is given up, and with it the reason to end the connection.
    pub fn given_up(&mut self, id: ShareId, bytes: usize) {
        if let Some(share) = self.shares.get_mut(&id) {
            share.is_ending = false;
        }
        self.change(id, |held| held.unfinished -= bytes.min(held.unfinished));
    }

    /// So much of what is not complete is, and waits to be stored.
    pub fn finished(&mut self, id: ShareId, bytes: usize) {
        self.change(id, |held| {
            let bytes = bytes.min(held.unfinished);
            held.unfinished -= bytes;
            held.complete += bytes;
        });
    }

    /// The connection that has to end since `waiting` found no room for long: the one whose message takes longest, of the address that
    /// has most of them. None while most of what is held is complete, and so gives its room back by itself.
    pub fn to_end(&mut self, waiting: ShareId) -> Option<ShareId> {
        let own = self.shares.get(&waiting)?.remote;
        let holds = |held: &Held| held.unfinished > held.complete;
        let is_full = |held: &&Held| held.total() + LEAST > self.for_messages() / 2 && holds(held);
        let remote = match self.remotes.get(&own).filter(is_full) {
            Some(_) => own,
            None if holds(&self.all) => *self.remotes.iter().max_by_key(|(_, held)| held.unfinished)?.0,
            None => return None,
        };
        let is_its =
            |share: &Share| share.remote == remote && share.held.unfinished >= LEAST && !share.is_ending;
        let shares = self.shares.iter_mut().filter(|(_, share)| is_its(share));
        let (id, share) = shares.min_by_key(|(_, share)| share.begun)?;
        share.is_ending = true;
        Some(*id)
    }

    fn give_back(&mut self, remote: Remote, held: Held) {
        if let Some(of_remote) = self.remotes.get_mut(&remote) {
            of_remote.subtract(held);
            if *of_remote == Held::default() {
                self.remotes.remove(&remote);
            }
        }
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn for_messages(&self) -> usize {
        self.max.saturating_sub(self.open)
    }

    /// A connection that alone holds something may have everything: what finds no room beside others finds it after them.
    fn free(&self, id: ShareId) -> usize {
        let Some(share) = self.shares.get(&id) else { return 0 };
        let all = self.for_messages().saturating_sub(self.all.total());
        if share.held == self.all {
            return all;
        }
        let of_remote = self.remotes.get(&share.remote).map_or(0, |held| held.total());
        let reserve = self.for_messages() / RESERVE_SHARE;
        let small = all.min((reserve / RESERVE_ADDRESSES).max(SMALL).saturating_sub(of_remote));
        let large = all.saturating_sub(reserve);
        let fair = (SHARE * large).saturating_sub(of_remote) / (SHARE + 1);
        fair.min((self.for_messages() / 2).saturating_sub(of_remote)).max(small)
    }

    fn change(&mut self, id: ShareId, change: impl FnOnce(&mut Held)) {
        let Some(share) = self.shares.get_mut(&id) else { return };
        let before = share.held;
        change(&mut share.held);
        let of_remote = self.remotes.entry(share.remote).or_default();
        for held in [of_remote, &mut self.all] {
            held.add(share.held);
            held.subtract(before);
        }
    }
}

impl Held {
    fn total(self) -> usize {
        self.unfinished + self.complete
    }

    fn add(&mut self, other: Held) {
        self.unfinished += other.unfinished;
        self.complete += other.complete;
    }

    fn subtract(&mut self, other: Held) {
        self.unfinished -= other.unfinished;
        self.complete -= other.complete;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KB: usize = 1024;

    fn remote(last: u8) -> Remote {
        Remote::At(core::net::IpAddr::from([10, 0, 0, last]))
    }

    /// 64 KB for messages, and connections that take nothing by themselves, one for each of these addresses.
    fn memory(remotes: &[u8]) -> (Memory, Vec<ShareId>) {
        let mut memory = Memory::new(64 * KB);
        let shares = remotes.iter().map(|last| memory.open(remote(*last), 0).unwrap()).collect();
        (memory, shares)
    }

    #[test]
    fn what_is_read_takes_room_until_it_is_stored() {
        let (mut memory, ids) = memory(&[1, 2]);
        memory.read(ids[0], 28 * KB);
        memory.read(ids[1], 3 * KB);
        assert_eq!(memory.to_read(ids[0], 8 * KB), Room::Now(2 * KB), "as much must be left for others");
        memory.read(ids[0], 2 * KB);
        assert_eq!(memory.to_read(ids[0], 8 * KB), Room::Later);
        let weight = memory.complete(ids[0], 0, KB);
        assert_eq!((weight, memory.to_read(ids[0], 8 * KB)), (31 * KB, Room::Later));
        memory.stored(ids[0], weight);
        assert_eq!(memory.to_read(ids[0], 8 * KB), Room::Now(8 * KB));
        memory.close(ids[1]);
        assert_eq!((memory.taken(), memory.remotes.get(&remote(2))), (0, None));
    }

    #[test]
    fn an_address_that_holds_little_finds_room_while_others_send_all_they_can() {
        let (mut memory, ids) = memory(&[1, 2, 3, 3]);
        memory.read(ids[0], 28 * KB);
        memory.read(ids[1], 28 * KB);
        assert_eq!([0, 1].map(|index| memory.to_read(ids[index], KB)), [Room::Later; 2]);
        assert_eq!(memory.to_read(ids[2], 64 * KB), Room::Now(8 * KB));
        memory.read(ids[2], 6 * KB);
        assert_eq!(memory.to_read(ids[3], 64 * KB), Room::Now(2 * KB), "the address counts");
        assert_eq!(memory.fits(ids[3], 3 * KB), Room::Later);
    }

    #[test]
    fn a_crowd_that_sends_all_it_can_leaves_room_for_a_newcomer_however_often_it_comes_again() {
        let mut memory = Memory::new(28 * KB * KB);
        let ids: Vec<_> = (0..250).map(|last| memory.open(remote(last), 0).unwrap()).collect();
        let newcomer = memory.open(remote(251), 0).unwrap();
        for round in 0..300 {
            for id in &ids {
                if let Room::Now(bytes) = memory.to_read(*id, 8 * KB) {
                    memory.read(*id, bytes);
                }
            }
            assert_eq!(memory.fits(newcomer, 28 * KB), Room::Now(28 * KB), "{round}");
            let most = memory.remotes.values().map(|held| held.total()).max().unwrap();
            assert!(most < 512 * KB, "{most}");
            // What it had sent is stored, and it takes what that leaves.
            if round > 50 {
                let id = ids[round * 7 % ids.len()];
                memory.given_up(id, usize::MAX);
            }
        }
    }

    #[test]
    fn a_connection_that_brings_the_messages_of_another_address_takes_the_room_of_that_one() {
        let (mut memory, ids) = memory(&[1, 1, 3]);
        memory.read(ids[0], 28 * KB);
        memory.read(ids[2], 3 * KB);
        assert_eq!(memory.to_read(ids[1], 8 * KB), Room::Now(2 * KB));
        memory.belongs_to(ids[1], remote(2));
        assert_eq!(memory.to_read(ids[1], 8 * KB), Room::Now(8 * KB));
        memory.belongs_to(ids[0], remote(2));
        assert_eq!(memory.remotes.get(&remote(1)), None);
        assert_eq!(memory.to_read(ids[1], 8 * KB), Room::Now(2 * KB));
        ids.iter().for_each(|id| memory.close(*id));
        assert!(memory.remotes.is_empty() && memory.taken() == 0);
    }

    #[test]
    fn what_stands_behind_a_complete_message_is_unfinished() {
        let (mut memory, ids) = memory(&[1]);
        memory.read(ids[0], 10 * KB);
        assert_eq!(memory.complete(ids[0], 2 * KB, 0), 8 * KB);
        memory.given_up(ids[0], usize::MAX);
        assert_eq!(memory.taken(), 8 * KB);
    }

    #[test]
    fn an_address_leaves_half_to_others_and_one_that_is_alone_may_have_all() {
        let (mut memory, ids) = memory(&[1, 1, 2]);
        assert_eq!(memory.fits(ids[0], 64 * KB), Room::Now(64 * KB));
        assert_eq!(memory.fits(ids[0], 65 * KB), Room::Never);
        memory.read(ids[0], KB);
        assert_eq!(memory.fits(ids[1], 40 * KB), Room::Later);
        assert_eq!(memory.fits(ids[1], 31 * KB), Room::Now(31 * KB));
        memory.read(ids[1], 31 * KB);
        assert_eq!((memory.to_read(ids[0], 10), memory.to_read(ids[2], 10)), (Room::Later, Room::Now(10)));
    }

    #[test]
    fn two_that_each_hold_half_of_a_message_do_not_wait_for_each_other() {
        let (mut memory, ids) = memory(&[1, 2]);
        memory.read(ids[1], 32 * KB);
        memory.read(ids[0], 32 * KB);
        assert_eq!([memory.fits(ids[0], KB), memory.fits(ids[1], KB)], [Room::Later; 2]);
        let ends = memory.to_end(ids[0]).unwrap();
        memory.close(ends);
        let left = if ends == ids[0] { ids[1] } else { ids[0] };
        assert_eq!(memory.fits(left, 32 * KB), Room::Now(32 * KB));
    }

    #[test]
    fn the_oldest_unfinished_message_of_the_address_that_has_most_gives_way() {
        let (mut memory, ids) = memory(&[2, 1, 1, 3]);
        for (id, bytes) in [(0, 20), (2, 15), (1, 16), (3, 10)] {
            memory.read(ids[id], bytes * KB);
        }
        assert_eq!(memory.to_end(ids[3]), Some(ids[2]));
        assert_eq!(memory.to_end(ids[3]), Some(ids[1]), "no connection is ended twice");
        assert_eq!(memory.to_end(ids[3]), None);
    }

    #[test]
    fn nobody_gives_way_while_what_is_complete_will_make_room() {
        let (mut memory, ids) = memory(&[1, 2, 2]);
        memory.read(ids[0], 31 * KB);
        memory.complete(ids[0], 0, 0);
        memory.read(ids[1], 30 * KB);
        assert_eq!(memory.to_end(ids[0]), None);
        memory.read(ids[2], 2 * KB);
        assert_eq!(memory.to_end(ids[1]), Some(ids[1]), "its address stands in its own way");
    }

    #[test]
    fn open_connections_leave_a_quarter_to_messages() {
        let mut memory = Memory::new(64 * KB);
        let ids: Vec<_> = (0..10).filter_map(|_| memory.open(remote(1), 8 * KB)).collect();
        assert_eq!((ids.len(), memory.taken()), (6, 48 * KB));
        assert_eq!(memory.fits(ids[0], 16 * KB), Room::Now(16 * KB));
        ids.iter().for_each(|id| memory.close(*id));
        assert_eq!(memory.taken(), 0);
        memory.resize(4 * KB);
        assert_eq!(memory.open(remote(1), 8 * KB), None);
    }
}
