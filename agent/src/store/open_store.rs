//! The open store: the database, what lies in it, and what can be done with it. No panic and no thread of its own.

use std::fs::File;
use std::sync::Arc;

use holdfast_core::ids::{OutletId, Table};
use holdfast_core::message::{Body, Entry, GapReason};
use holdfast_core::outlet::age::Limit;

use super::backend::{Database, Fault};
use super::group::{self, Group, Packer, Unsound};
use super::group_index::{GroupIndex, GroupMeta};

/// So many small groups at the end are made one with what is appended next.
const MERGE: usize = 16;
/// A group of one reading is below this. Merging larger ones saves half of the space and writes twice as much.
const SMALL_BYTES: u32 = 371;

/// The database with its index.
pub struct OpenStore {
    database: Database,
    shelves: Table<OutletId, GroupIndex>,
    tags: Table<OutletId, u32>,
    packer: Packer,
    syncs: u64,
    unsynced: bool,
}

/// Groups that can be read.
pub trait Groups {
    /// The shelf of each outlet.
    fn shelves(&self) -> &Table<OutletId, GroupIndex>;

    /// The values of a group, as far as they are there.
    fn values(&self, outlet: OutletId, slot: &GroupMeta) -> Result<Vec<Vec<u8>>, Fault>;
}

/// How many messages are lost, and the range of the gap in their place.
pub type Lost = (u64, Option<(u64, u64)>);

/// Why an order could not be carried out.
#[derive(Debug)]
pub enum Trouble {
    /// The database is dead.
    Fault(Fault),
    /// The entries cannot be stored; nothing was changed.
    Entries(Unsound),
}

/// What reading found.
#[derive(Debug, Default)]
pub struct Batch {
    /// The entries, in rising `seq`.
    pub entries: Vec<Entry>,
    /// Values of groups that could not be unpacked; a gap stands in their place now.
    pub damaged: Vec<Vec<u8>>,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Trouble {
        Trouble::Fault(fault)
    }
}

impl From<Unsound> for Trouble {
    fn from(unsound: Unsound) -> Trouble {
        Trouble::Entries(unsound)
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Fault(fault) => fault.fmt(f),
            Trouble::Entries(unsound) => write!(f, "cannot pack entries: {unsound}"),
        }
    }
}

impl OpenStore {
    /// A hold over a database whose groups are in no shelf yet.
    pub fn new(database: Database, outlets: &[String]) -> OpenStore {
        let tags = outlets.iter().map(|name| group::tag(name)).collect();
        let shelves = outlets.iter().map(|_| GroupIndex::default()).collect();
        OpenStore { database, shelves, tags, packer: Packer::default(), syncs: 0, unsynced: false }
    }

    /// The database itself.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// What an outlet holds.
    pub fn shelf(&mut self, outlet: OutletId) -> &mut GroupIndex {
        &mut self.shelves[outlet]
    }

    /// The mark of an outlet's groups.
    pub fn tag(&self, outlet: OutletId) -> u32 {
        self.tags[outlet]
    }

    /// Syncs since this was opened.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Whether something was flushed and not synced.
    pub fn unsynced(&self) -> bool {
        self.unsynced
    }

    /// Flushes and syncs.
    pub fn commit(&mut self) -> Result<(), Fault> {
        self.database.flush()?;
        self.database.sync()?;
        self.syncs += 1;
        self.unsynced = false;
        Ok(())
    }

    /// Flushes what was written. It is not safe before it is synced.
    fn flush(&mut self) -> Result<(), Fault> {
        self.database.flush()?;
        self.unsynced = true;
        Ok(())
    }

    /// The log, to sync all that was flushed until here.
    pub fn begin_sync(&mut self) -> Option<Arc<File>> {
        self.unsynced = false;
        self.database.log().map(Arc::clone)
    }

    /// Whether this is its log.
    pub fn is_log(&self, log: &Arc<File>) -> bool {
        self.database.log().is_some_and(|own| Arc::ptr_eq(own, log))
    }

    /// Writes entries behind those that are held; what is held already is not written twice. Flushed, not synced.
    pub fn append(&mut self, parts: &[(OutletId, Vec<Entry>)]) -> Result<(), Trouble> {
        let mut changes: Vec<(OutletId, Vec<GroupMeta>, Vec<Group>)> = Vec::new();
        for (outlet, entries) in parts {
            let shelf = &self.shelves[*outlet];
            let fresh = behind(entries, shelf.last());
            let floor = shelf.front().map(|slot| slot.first);
            let again = changes.iter().any(|(other, ..)| other == outlet);
            let (merged, entries) =
                if fresh.is_empty() || again { (Vec::new(), fresh) } else { self.merge(*outlet, fresh)? };
            changes.push((*outlet, merged, self.packer.pack(self.tags[*outlet], floor, &entries)?));
        }
        for (outlet, merged, groups) in &changes {
            for group in groups {
                self.put(*outlet, group)?;
            }
            for slot in merged {
                self.remove_but(*outlet, slot, groups)?;
            }
        }
        self.flush()?;
        for (outlet, merged, groups) in &changes {
            let shelf = &mut self.shelves[*outlet];
            for _ in merged {
                shelf.pop_back();
            }
            groups.iter().for_each(|group| shelf.push(group.into(), group.head.last_id));
        }
        Ok(())
    }

    /// Puts the entries of many small groups in front of the new ones, so that all of them share a group: messages that
    /// come one by one take five times the space otherwise. Also tells which groups that makes superfluous.
    fn merge(&self, outlet: OutletId, fresh: Vec<Entry>) -> Result<(Vec<GroupMeta>, Vec<Entry>), Fault> {
        let Some(tail) = self.shelves[outlet].small_tail(MERGE, SMALL_BYTES) else {
            return Ok((Vec::new(), fresh));
        };
        let mut entries = Vec::new();
        for slot in &tail {
            match group::unpack(&self.values(outlet, slot)?) {
                Ok(mut unpacked) => entries.append(&mut unpacked),
                // Reading it will find the damage and say so.
                Err(_) => return Ok((Vec::new(), fresh)),
            }
        }
        entries.extend(fresh);
        Ok((tail, entries))
    }

    /// Reads from a number on, until so many bytes of entries are found.
    pub fn read(&mut self, outlet: OutletId, from: u64, bytes_max: usize) -> Result<Batch, Trouble> {
        let mut batch = Batch::default();
        let mut weight = 0;
        let mut next = from;
        while let Some(slot) = self.shelves[outlet].at_or_after(next) {
            for entry in self.entries(outlet, &slot, &mut batch.damaged)? {
                if entry.last() < from {
                    continue;
                }
                weight += entry.weight();
                if weight > bytes_max && !batch.entries.is_empty() {
                    return Ok(batch);
                }
                batch.entries.push(entry);
            }
            match slot.last.checked_add(1) {
                Some(following) if weight < bytes_max => next = following,
                Some(_) | None => break,
            }
        }
        Ok(batch)
    }

    /// Reads from a number downwards.
    pub fn read_down(&mut self, outlet: OutletId, from: u64, bytes_max: usize) -> Result<Batch, Trouble> {
        let mut batch = Batch::default();
        let (mut weight, mut next) = (0, Some(from));
        while let Some(slot) = next.and_then(|next| self.shelves[outlet].at_or_before(next)) {
            let mut entries = self.entries(outlet, &slot, &mut batch.damaged)?;
            entries.retain(|entry| entry.seq <= from);
            weight += entries.iter().map(Entry::weight).sum::<usize>();
            batch.entries.extend(entries.into_iter().rev());
            next = slot.first.checked_sub(1).filter(|_| weight < bytes_max);
        }
        Ok(batch)
    }

    /// Removes of each outlet all groups that lie within one of its ranges. Flushed together, not synced.
    pub fn forget(&mut self, parts: &[(OutletId, Vec<(u64, u64)>)]) -> Result<(), Fault> {
        let mut removed = false;
        for (outlet, ranges) in parts {
            removed |= self.remove_within(*outlet, ranges)?;
        }
        if removed { self.flush() } else { Ok(()) }
    }

    /// Tells whether there was anything to remove.
    fn remove_within(&mut self, outlet: OutletId, ranges: &[(u64, u64)]) -> Result<bool, Fault> {
        let mut removed = 0;
        for (from, to) in ranges {
            for slot in self.shelves[outlet].take_within(*from, *to) {
                self.remove(outlet, &slot)?;
                removed = slot.last.max(removed);
            }
        }
        if removed > 0 {
            let floor = self.shelves[outlet].front().map_or(removed + 1, |slot| slot.first);
            let mark = group::floor_mark(self.tags[outlet], floor);
            self.database.put(outlet, [(group::FLOOR_KEY, mark.as_slice())])?;
        }
        Ok(removed > 0)
    }

    /// Puts one gap in the place of the oldest groups. Flushed, not synced. Tells how many messages are lost, and the gap's range.
    pub fn drop_oldest(&mut self, outlet: OutletId, bytes: u64) -> Result<Lost, Trouble> {
        self.give_up_oldest(outlet, bytes, GapReason::DroppedOldest)
    }

    /// Puts one gap in the place of all groups. Tells how many messages are lost, and the gap's range.
    pub fn purge(&mut self, outlet: OutletId) -> Result<Lost, Trouble> {
        let lost = self.give_up_oldest(outlet, u64::MAX, GapReason::Purged)?;
        self.commit()?;
        Ok(lost)
    }

    fn give_up_oldest(&mut self, outlet: OutletId, bytes: u64, reason: GapReason) -> Result<Lost, Trouble> {
        if self.shelves[outlet].held().messages == 0 {
            return Ok((0, None));
        }
        let (mut freed, mut victims) = (0, Vec::new());
        while freed < bytes.max(1) {
            let Some(slot) = self.shelves[outlet].pop_front() else { break };
            freed += if slot.messages > 0 { u64::from(slot.bytes) } else { 0 };
            victims.push(slot);
        }
        self.give_up(outlet, &victims, reason)
    }

    /// Puts one gap in the place of the groups at the front that are too old; none is read for it. Flushed, not synced. Tells
    /// how many messages are lost, and the gap's range.
    pub fn expire(&mut self, outlet: OutletId, limit: &Limit) -> Result<Lost, Trouble> {
        let shelf = &mut self.shelves[outlet];
        let old = shelf.old_front(|stamp| limit.has_passed(stamp));
        let victims: Vec<GroupMeta> = (0..old).map_while(|_| shelf.pop_front()).collect();
        self.give_up(outlet, &victims, GapReason::Expired)
    }

    /// Puts a gap in the place of groups that were taken from the front.
    fn give_up(
        &mut self,
        outlet: OutletId,
        victims: &[GroupMeta],
        reason: GapReason,
    ) -> Result<Lost, Trouble> {
        let (Some(first), Some(last)) = (victims.first(), victims.last()) else { return Ok((0, None)) };
        let range = (first.first, last.last);
        let gap = self.put_gap(outlet, range, reason)?;
        for slot in victims {
            self.remove_but(outlet, slot, std::slice::from_ref(&gap))?;
        }
        self.flush()?;
        self.shelves[outlet].push_front((&gap).into());
        Ok((victims.iter().map(|slot| u64::from(slot.messages)).sum(), Some(range)))
    }

    /// Writes a gap as a group of its own, which says nothing about what lies before it: a repair puts one where the index is not
    /// there yet. Neither flushed nor in the index.
    pub fn put_gap(
        &mut self,
        outlet: OutletId,
        range: (u64, u64),
        reason: GapReason,
    ) -> Result<Group, Fault> {
        let body = Body::Gap { to: range.1, reason };
        let entry = Entry { seq: range.0, body, replayed: true };
        let groups = self.packer.pack(self.tags[outlet], Some(0), &[entry]);
        let groups = groups.map_err(|cause| Fault::Damage(cause.to_string()))?;
        let group = groups.into_iter().next().expect("an entry packs into a group");
        self.put(outlet, &group)?;
        Ok(group)
    }

    /// Removes the values of a group. Neither flushed nor in the index.
    pub fn remove(&self, outlet: OutletId, slot: &GroupMeta) -> Result<(), Fault> {
        for part in 0..slot.parts {
            self.database.remove(outlet, &group::key(slot.first, slot.last, part))?;
        }
        Ok(())
    }

    /// Like [`OpenStore::remove`], but leaves the values that one of these groups has put under the same keys.
    fn remove_but(&self, outlet: OutletId, slot: &GroupMeta, kept: &[Group]) -> Result<(), Fault> {
        let twin = kept.iter().find(|group| (group.head.first, group.head.last) == (slot.first, slot.last));
        for part in twin.map_or(0, |group| group.head.parts)..slot.parts {
            self.database.remove(outlet, &group::key(slot.first, slot.last, part))?;
        }
        Ok(())
    }

    fn put(&self, outlet: OutletId, group: &Group) -> Result<(), Fault> {
        let key = |part| group::key(group.head.first, group.head.last, part);
        self.database.put(outlet, (0..).map(key).zip(group.values.iter().map(Vec::as_slice)))
    }

    fn entries(
        &mut self,
        outlet: OutletId,
        slot: &GroupMeta,
        damaged: &mut Vec<Vec<u8>>,
    ) -> Result<Vec<Entry>, Trouble> {
        let mut values = self.values(outlet, slot)?;
        match group::unpack(&values) {
            Ok(entries) => Ok(entries),
            Err(cause) => {
                log::warn!("group {} to {} is damaged: {cause}", slot.first, slot.last);
                damaged.append(&mut values);
                let reason = GapReason::Damaged;
                let gap = self.put_gap(outlet, (slot.first, slot.last), reason)?;
                self.remove_but(outlet, slot, std::slice::from_ref(&gap))?;
                self.commit()?;
                self.shelves[outlet].replace(slot, (&gap).into());
                let body = Body::Gap { to: slot.last, reason };
                Ok(vec![Entry { seq: slot.first, body, replayed: true }])
            }
        }
    }
}

impl Groups for OpenStore {
    fn shelves(&self) -> &Table<OutletId, GroupIndex> {
        &self.shelves
    }

    fn values(&self, outlet: OutletId, slot: &GroupMeta) -> Result<Vec<Vec<u8>>, Fault> {
        let mut values = Vec::new();
        for part in 0..slot.parts {
            values.extend(self.database.read(outlet, &group::key(slot.first, slot.last, part))?);
        }
        Ok(values)
    }
}

/// The entries behind a number; a gap that reaches over it starts behind it.
fn behind(entries: &[Entry], last: Option<u64>) -> Vec<Entry> {
    let Some(last) = last else { return entries.to_vec() };
    let fresh = entries.iter().filter(|entry| entry.last() > last);
    fresh.map(|entry| Entry { seq: entry.seq.max(last.saturating_add(1)), ..entry.clone() }).collect()
}
