//! A store that can be read and not written: sled writes to open a database, so the groups are found in its log without it.
//! Confirmed groups are remembered until the database can be opened again.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use holdfast_core::ids::{OutletId, Table};
use holdfast_core::message::{Body, Entry, GapReason};
use holdfast_core::outlet::sequence::Span;

use super::backend::Fault;
use super::group;
use super::group_index::{GroupIndex, GroupMeta};
use super::log_check::{self, Log};
use super::open_store::{Groups, OpenStore};
use super::progress::Progress;
use super::salvage::{LogPosition, Plan, Range};

/// The groups of a log and where they lie in it.
pub struct View {
    log: Option<File>,
    shelves: Table<OutletId, GroupIndex>,
    /// By outlet, the parts of each group; none of a gap that stands for what is lost.
    places: Table<OutletId, BTreeMap<Range, Vec<LogPosition>>>,
    confirmed: Vec<(OutletId, Vec<Range>)>,
}

impl View {
    /// Looks into the log of a database. `spans` are what it may hold, by outlet.
    pub fn open(
        log: &Path,
        outlets: &[String],
        spans: &BTreeMap<String, Span>,
        progress: &Progress,
    ) -> Result<View, Fault> {
        let plan = match log_check::look(log, progress) {
            Ok(Log::DamagedAt(_)) => Plan::rest(log, outlets, spans, progress)?,
            Ok(Log::Sound(_)) | Err(_) => Plan::whole(log, outlets, progress)?,
        };
        let (log, shares) = plan.into_parts();
        let (mut shelves, mut places) = (Table::default(), Table::default());
        for (groups, gaps) in shares {
            let gaps = gaps.into_iter().map(|range| (range, Vec::new()));
            let groups: BTreeMap<Range, Vec<LogPosition>> = groups.into_iter().chain(gaps).collect();
            let mut shelf = GroupIndex::default();
            groups.iter().for_each(|(range, parts)| shelve(&mut shelf, *range, parts));
            shelves.push(shelf);
            places.push(groups);
        }
        Ok(View { log, shelves, places, confirmed: Vec::new() })
    }

    /// Reads from a number on, until so many bytes of entries are found.
    pub fn read(&self, outlet: OutletId, from: u64, bytes_max: usize) -> Result<Vec<Entry>, Fault> {
        let (mut found, mut weight, mut next) = (Vec::new(), 0, Some(from));
        while let Some(slot) = next.and_then(|next| self.shelves[outlet].at_or_after(next)) {
            let entries = self.entries(outlet, &slot)?.into_iter().filter(|entry| entry.last() >= from);
            found.extend(entries.inspect(|entry| weight += entry.weight()));
            next = slot.last.checked_add(1).filter(|_| weight < bytes_max);
        }
        Ok(found)
    }

    /// Reads from a number downwards.
    pub fn read_down(&self, outlet: OutletId, from: u64, bytes_max: usize) -> Result<Vec<Entry>, Fault> {
        let (mut found, mut weight, mut next) = (Vec::new(), 0, Some(from));
        while let Some(slot) = next.and_then(|next| self.shelves[outlet].at_or_before(next)) {
            let entries = self.entries(outlet, &slot)?.into_iter().filter(|entry| entry.seq <= from);
            found.extend(entries.rev().inspect(|entry| weight += entry.weight()));
            next = slot.first.checked_sub(1).filter(|_| weight < bytes_max);
        }
        Ok(found)
    }

    /// Gives the groups within these ranges out no more.
    pub fn forget(&mut self, outlet: OutletId, ranges: &[Range]) {
        for (from, to) in ranges {
            self.shelves[outlet].take_within(*from, *to);
        }
        self.confirmed.push((outlet, ranges.to_vec()));
    }

    /// Removes what was confirmed meanwhile from the database, for good.
    pub fn catch_up(&self, hold: &mut OpenStore) -> Result<(), Fault> {
        // One after the other: the ranges of an outlet rise only within one order.
        for part in &self.confirmed {
            hold.forget(std::slice::from_ref(part))?;
        }
        if self.confirmed.is_empty() { Ok(()) } else { hold.commit() }
    }

    fn entries(&self, outlet: OutletId, slot: &GroupMeta) -> Result<Vec<Entry>, Fault> {
        let values = self.values(outlet, slot)?;
        let lost = || {
            let body = Body::Gap { to: slot.last, reason: GapReason::Damaged };
            vec![Entry { seq: slot.first, body, replayed: true }]
        };
        Ok(group::unpack(&values).unwrap_or_else(|_| lost()))
    }
}

impl Groups for View {
    fn shelves(&self) -> &Table<OutletId, GroupIndex> {
        &self.shelves
    }

    fn values(&self, outlet: OutletId, slot: &GroupMeta) -> Result<Vec<Vec<u8>>, Fault> {
        let (Some(log), Some(parts)) = (&self.log, self.places[outlet].get(&(slot.first, slot.last))) else {
            return Ok(Vec::new());
        };
        let value = |place: &LogPosition| {
            let mut value = vec![0; place.head.value_len()];
            log.read_exact_at(&mut value, place.offset).map(|()| value)
        };
        let values: std::io::Result<Vec<Vec<u8>>> = parts.iter().map(value).collect();
        values.map_err(|error| Fault::World(format!("cannot read the log of the store: {error}")))
    }
}

fn shelve(shelf: &mut GroupIndex, (first, last): Range, parts: &[LogPosition]) {
    match parts.first() {
        Some(place) => {
            let bytes = parts.iter().map(|place| place.head.value_len()).sum();
            shelf.push(GroupMeta::new(&place.head, bytes), place.head.last_id);
        }
        None => {
            let gap = GroupMeta { first, last, oldest_ns: 0, newest: None, messages: 0, bytes: 0, parts: 0 };
            shelf.push(gap, 0);
        }
    }
}
