//! A new database made of what the log of another one holds: every value bears a magic and a CRC, so the values are found by
//! looking at each byte of the file, whatever else is wrong with it.
//!
//! The log also holds values that were removed long ago. The newest `floor` of an outlet tells which, and the numbers file what
//! was confirmed. What is lost is known by its numbers: an outlet leaves out none between the first that it may hold and the
//! last that it has given.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use holdfast_core::ids::OutletId;
use holdfast_core::message::GapReason;
use holdfast_core::outlet::sequence::Span;

use super::backend::{Database, Fault};
use super::group::{self, Head, KEY_LEN, VALUE_MAX};
use super::open_store::{Groups, OpenStore};
use super::progress::Progress;

const WINDOW: usize = 1 << 20;
/// Values written between two flushes: what is done again after an interruption.
const FLUSH_EACH: usize = 256;

/// First and last number of a group.
pub type Range = (u64, u64);

/// What was found in a log by the marks of the outlets.
type Found = BTreeMap<u32, Finds>;

/// What goes from a log into a new database.
pub struct Plan {
    /// None if there is no log that can be read.
    log: Option<File>,
    shares: Vec<Share>,
    strangers: usize,
}

/// What one outlet gets of it.
struct Share {
    name: String,
    floor: u64,
    /// Groups, none overlapping, with the place of each part.
    groups: Vec<(Range, Vec<LogPosition>)>,
    /// Numbers that are lost.
    gaps: Vec<Range>,
}

/// The values of one outlet that were found.
#[derive(Default)]
struct Finds {
    floor: u64,
    /// By the numbers that they cover and what else they say of themselves: parts of a group by their numbers.
    sound: BTreeMap<Range, BTreeMap<Copied, BTreeMap<u16, LogPosition>>>,
    unsound: Vec<Range>,
}

/// Tells parts of one group from those of another one that covers the same numbers. A gap comes first: it was put in the place
/// of what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Copied {
    messages: u32,
    parts: u16,
    raw_len: u32,
    last_id: u64,
}

/// Where a value lies in a log.
#[derive(Clone, Copy)]
pub struct LogPosition {
    /// From the begin of the log.
    pub offset: u64,
    /// Its head.
    pub head: Head,
}

/// The groups of an outlet with the places of their parts, and the numbers that are lost.
pub type Parts = (Vec<(Range, Vec<LogPosition>)>, Vec<Range>);

impl Plan {
    /// Everything that a sound log holds of these outlets.
    pub fn whole(log: &Path, outlets: &[String], progress: &Progress) -> Result<Plan, Fault> {
        let (log, mut found) = look_into(log, progress)?;
        let share = |name: &String| {
            let finds = found.remove(&group::tag(name)).unwrap_or_default();
            Share { name: name.clone(), floor: finds.floor, groups: finds.live(0), gaps: Vec::new() }
        };
        let shares = outlets.iter().map(share).collect();
        Ok(Plan { log, shares, strangers: strangers(&found) })
    }

    /// What is left of these outlets in a damaged log, and gaps for the rest of what it may have held.
    pub fn rest(
        log: &Path,
        outlets: &[String],
        spans: &BTreeMap<String, Span>,
        progress: &Progress,
    ) -> Result<Plan, Fault> {
        let (log, mut found) = match look_into(log, progress) {
            // A directory or nothing in the place of the log has nothing to be read.
            Err(Fault::Damage(_)) => (None, Found::new()),
            looked => looked?,
        };
        let share = |name: &String| {
            let finds = found.remove(&group::tag(name)).unwrap_or_default();
            let span = spans.get(name).copied();
            let mut groups = finds.live(span.map_or(0, |span| span.from));
            // A commit that failed is given again, and a hole in it must not look like a loss.
            groups.retain(|((first, _), _)| span.is_none_or(|span| *first <= span.through));
            let gaps = finds.gaps(&groups, span);
            Share { name: name.clone(), floor: finds.floor, groups, gaps }
        };
        let shares = outlets.iter().map(share).collect();
        Ok(Plan { log, shares, strangers: strangers(&found) })
    }

    /// The log, and what it holds of each outlet.
    pub fn into_parts(self) -> (Option<File>, impl Iterator<Item = Parts>) {
        (self.log, self.shares.into_iter().map(|share| (share.groups, share.gaps)))
    }

    /// Values that go over.
    pub fn values(&self) -> usize {
        self.shares.iter().flat_map(|share| &share.groups).map(|(_, parts)| parts.len()).sum()
    }

    /// Values of outlets whose names are not known, which stay behind.
    pub fn strangers(&self) -> usize {
        self.strangers
    }

    /// The numbers that are lost, with their outlets.
    pub fn gaps(&self) -> impl Iterator<Item = (&str, Range)> {
        self.shares.iter().flat_map(|share| share.gaps.iter().map(|range| (share.name.as_str(), *range)))
    }

    /// Copies to a database, which may have a part of it already: then that is not written again.
    pub fn write(&mut self, to: &Path, progress: &Progress) -> Result<(), Fault> {
        let names: Vec<String> = self.shares.iter().map(|share| share.name.clone()).collect();
        let mut hold = OpenStore::new(Database::open(to, &names, &[], &|_, _| Ok(None))?, &names);
        let mut unflushed = 0;
        for (outlet, share) in self.shares.iter().enumerate() {
            let outlet = OutletId(outlet);
            let there = share.keep(&hold, outlet)?;
            let places = share.groups.iter().flat_map(|(_, parts)| parts);
            for place in places.filter(|place| !there.contains(&place.key())) {
                let value = self.log.as_mut().map_or(Ok(Vec::new()), |log| value_at(log, place));
                let value = value.map_err(|error| Fault::World(error.to_string()))?;
                hold.database().put(outlet, [(place.key(), value.as_slice())])?;
                progress.value();
                unflushed += 1;
                if unflushed == FLUSH_EACH {
                    hold.commit()?;
                    unflushed = 0;
                }
            }
            for range in &share.gaps {
                hold.put_gap(outlet, *range, GapReason::Damaged)?;
            }
            if share.floor > 0 {
                let mark = group::floor_mark(hold.tag(outlet), share.floor);
                hold.database().put(outlet, [(group::FLOOR_KEY, mark.as_slice())])?;
            }
        }
        hold.commit()
    }

    /// The first numbers that should be in this hold of the same outlets and are not.
    pub fn find_missing(&self, hold: &OpenStore) -> Option<Range> {
        let missing = |(share, shelf): (&Share, &super::group_index::GroupIndex)| {
            let groups = share.groups.iter().map(|(range, _)| *range);
            shelf.find_missing(&groups.chain(share.gaps.iter().copied()).collect::<Vec<_>>())
        };
        self.shares.iter().zip(hold.shelves().iter()).find_map(missing)
    }
}

impl Share {
    /// Removes what is not of this share and gives the keys of what is.
    fn keep(&self, hold: &OpenStore, outlet: OutletId) -> Result<BTreeSet<[u8; KEY_LEN]>, Fault> {
        let places = self.groups.iter().flat_map(|(_, parts)| parts);
        let due: BTreeMap<_, _> = places.map(|place| (place.key(), place.head)).collect();
        let (mut kept, mut stale) = (BTreeSet::new(), Vec::new());
        hold.database().each(outlet, &mut |key, value| match <[u8; KEY_LEN]>::try_from(key) {
            Ok(own) if Head::check(value).is_ok_and(|head| due.get(&own) == Some(&head)) => {
                kept.insert(own);
            }
            Ok(_) | Err(_) => stale.push(key.to_vec()),
        })?;
        stale.iter().try_for_each(|key| hold.database().remove(outlet, key))?;
        Ok(kept)
    }
}

impl LogPosition {
    fn key(&self) -> [u8; KEY_LEN] {
        group::key(self.head.first, self.head.last, self.head.part)
    }
}

/// Puts those groups into a database that these bytes of its log hold whole and that it does not have. Returns how many.
pub fn put_back(
    mut bytes: &[u8],
    hold: &mut OpenStore,
    outlets: &[String],
    spans: &BTreeMap<String, Span>,
) -> Result<usize, Fault> {
    let all = bytes;
    let unread = |error: io::Error| Fault::World(error.to_string());
    let mut found = search(&mut bytes, &mut || {}).map_err(unread)?;
    let mut count = 0;
    for (outlet, name) in outlets.iter().enumerate() {
        let outlet = OutletId(outlet);
        let finds = found.remove(&group::tag(name)).unwrap_or_default();
        for (range, parts) in finds.live(spans.get(name).map_or(0, |span| span.from)) {
            if hold.shelf(outlet).find_missing(&[range]).is_none() {
                continue;
            }
            let values = parts.iter().map(|place| {
                let start = usize::try_from(place.offset).unwrap_or(all.len());
                (place.key(), &all[start..][..place.head.value_len()])
            });
            hold.database().put(outlet, values)?;
            count += 1;
        }
    }
    hold.commit()?;
    Ok(count)
}

/// The first of these outlets of which a log holds groups.
pub fn find_homeless(log: &Path, outlets: &[&String], progress: &Progress) -> Result<Option<String>, Fault> {
    let (_, found) = look_into(log, progress)?;
    let holds =
        |outlet: &&&String| found.get(&group::tag(outlet)).is_some_and(|finds| !finds.live(0).is_empty());
    Ok(outlets.iter().find(holds).map(|outlet| (*outlet).clone()))
}

/// A log and what is in it, nothing if there is no such file.
fn look_into(path: &Path, progress: &Progress) -> Result<(Option<File>, Found), Fault> {
    let searched = File::open(path)
        .and_then(|mut log| search(&mut log, &mut || progress.made()).map(|found| (log, found)));
    match searched {
        Ok((log, found)) => Ok((Some(log), found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((None, Found::new())),
        Err(error) => Err(Fault::from(error).context("read", path)),
    }
}

/// Finds the values of every outlet, by the outlet's mark.
fn search(log: &mut impl Read, made_progress: &mut dyn FnMut()) -> io::Result<Found> {
    let mut found = Found::new();
    let (mut window, mut offset) = (Vec::new(), 0);
    loop {
        let read = log.by_ref().take(WINDOW as u64).read_to_end(&mut window)?;
        made_progress();
        // What may reach over the end of the window is looked at with the next one.
        let end = if read == 0 { window.len() } else { window.len().saturating_sub(VALUE_MAX) };
        for at in places(&window, end) {
            note(&mut found, &window[at..], offset + at as u64);
        }
        if read == 0 {
            return Ok(found);
        }
        window.drain(..end);
        offset += end as u64;
    }
}

fn places(window: &[u8], end: usize) -> impl Iterator<Item = usize> {
    let magic = group::MAGIC;
    (0..end).filter(move |at| window[*at] == magic[0] && window[*at..].starts_with(&magic))
}

fn note(found: &mut Found, bytes: &[u8], offset: u64) {
    match Head::check_at(bytes) {
        Ok(head) => {
            let finds = found.entry(head.outlet).or_default();
            finds.floor = finds.floor.max(head.floor);
            if head.last == 0 {
                return;
            }
            let Head { messages, parts, raw_len, last_id, .. } = head;
            let copies = finds.sound.entry((head.first, head.last)).or_default();
            let copied = Copied { messages, parts, raw_len, last_id };
            copies.entry(copied).or_default().insert(head.part, LogPosition { offset, head });
        }
        Err(_) => {
            let head = Head::guess_at(bytes).filter(|head| Head::span_is_sane(head.first, head.last));
            if let Some(head) = head {
                found.entry(head.outlet).or_default().unsound.push((head.first, head.last));
            }
        }
    }
}

/// Sound values of outlets that nobody asked for.
fn strangers(found: &Found) -> usize {
    found.values().flat_map(|finds| finds.live(0)).map(|(_, parts)| parts.len()).sum()
}

/// The numbers between these ranges that none of them has.
fn holes(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let between = ranges.windows(2).map(|pair| (pair[0].1.saturating_add(1), pair[1].0.saturating_sub(1)));
    between.filter(|(first, last)| first <= last).collect()
}

fn value_at(log: &mut File, place: &LogPosition) -> io::Result<Vec<u8>> {
    let mut value = vec![0; place.head.value_len()];
    log.seek(SeekFrom::Start(place.offset))?;
    log.read_exact(&mut value)?;
    Ok(value)
}

impl Finds {
    /// The whole groups from this number on that were not forgotten, none overlapping: a gap stands for what it covers.
    fn live(&self, from: u64) -> Vec<(Range, Vec<LogPosition>)> {
        let floor = self.floor.max(from);
        let whole = |(range, copies): (&Range, &BTreeMap<Copied, BTreeMap<u16, LogPosition>>)| {
            let mut copies = copies.iter().filter(|(copied, parts)| usize::from(copied.parts) == parts.len());
            let (_, parts) = copies.next().filter(|_| range.1 >= floor)?;
            Some((*range, parts.values().copied().collect()))
        };
        let mut groups: Vec<(Range, Vec<LogPosition>)> = self.sound.iter().filter_map(whole).collect();
        groups.sort_unstable_by_key(|((first, last), _)| (*first, u64::MAX - last));
        let mut reached = 0;
        groups.retain(|((first, last), _)| {
            let free = *first > reached;
            reached = reached.max(if free { *last } else { 0 });
            free
        });
        groups
    }

    /// The numbers that may have been held and that none of these groups has.
    fn gaps(&self, groups: &[(Range, Vec<LogPosition>)], span: Option<Span>) -> Vec<Range> {
        let Span { from, given, through } = span.unwrap_or_default();
        let from = from.max(self.floor).max(1);
        let live: Vec<Range> = groups.iter().map(|(range, _)| *range).collect();
        let mut gaps = self.lost(&live, from);
        if span.is_some() {
            gaps.retain(|(first, _)| *first <= through);
            gaps.iter_mut().for_each(|(_, last)| *last = (*last).min(through));
        }
        let known = [live, gaps.clone()].concat();
        // Behind what is there, the numbers themselves tell what the last run may have used.
        let end = known.iter().map(|(_, last)| (*last).max(given)).max().unwrap_or(through);
        let ends = [(0, from - 1), (end.saturating_add(1), u64::MAX)];
        gaps.extend(holes([known, ends.to_vec()].concat()));
        gaps
    }

    /// The ranges of groups of which no sound copy was found, without those that something sound covers.
    fn lost(&self, live: &[Range], from: u64) -> Vec<Range> {
        let mut lost: Vec<Range> = self.unsound.iter().copied().filter(|(_, last)| *last >= from).collect();
        lost.sort_unstable();
        let mut reached = 0;
        lost.retain(|(first, last)| {
            let place = live.partition_point(|(_, live_last)| live_last < first);
            let free = *first > reached && live.get(place).is_none_or(|(live_first, _)| last < live_first);
            reached = reached.max(if free { *last } else { 0 });
            free
        });
        lost
    }
}
