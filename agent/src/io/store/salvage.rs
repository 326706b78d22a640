//! What can be read from a log that the database cannot open: every value bears a magic and a CRC, so the values are
//! found by looking at each byte of the file, whatever else is wrong with it.
//!
//! The log also holds values that were removed long ago. The newest `floor` of an outlet tells which.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::backend::{Database, Fault, LOG_FILE};
use super::group::{self, Head, VALUE_MAX};
use super::hold::Hold;
use crate::message::GapReason;

const WINDOW: usize = 1 << 20;
/// Values written between two flushes.
const FLUSH_EACH: usize = 256;

/// What a salvage brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Values copied.
    pub values: usize,
    /// Groups that are lost, as far as their headers could still be read.
    pub lost: usize,
}

/// First and last number of a group.
pub type Range = (u64, u64);

/// A log, and what was found in it by the marks of the outlets.
type Searched = (File, BTreeMap<u32, Finds>);

/// The values of one outlet that were found.
#[derive(Default)]
struct Finds {
    floor: u64,
    /// Parts of a group by their place in the file.
    sound: BTreeMap<Range, BTreeMap<u16, Place>>,
    unsound: Vec<Range>,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    head: Head,
}

/// Copies everything that is sound in the log of `from` to a new database in `to`.
pub fn salvage(from: &Path, to: &Path, outlets: &[String]) -> Result<Salvaged, Fault> {
    let Some((mut log, found)) = look_into(&from.join(LOG_FILE))? else { return Ok(Salvaged::default()) };
    let mut hold = Hold::new(Database::open(to, outlets, &|_, _| Ok(None))?, outlets);
    let mut salvaged = Salvaged::default();
    for outlet in 0..outlets.len() {
        if let Some(finds) = found.get(&hold.tag(outlet)) {
            copy(&mut log, &mut hold, outlet, finds, &mut salvaged)?;
        }
    }
    hold.commit()?;
    Ok(salvaged)
}

/// The first of these outlets of which a log holds groups.
pub fn find_homeless(log: &Path, outlets: &[&String]) -> Result<Option<String>, Fault> {
    let found = look_into(log)?.map_or_else(BTreeMap::new, |(_, found)| found);
    let holds =
        |outlet: &&&String| found.get(&group::tag(outlet)).is_some_and(|finds| !finds.live().is_empty());
    Ok(outlets.iter().find(holds).map(|outlet| (*outlet).clone()))
}

/// The groups of each of these outlets that a log holds and that were not confirmed by what it says.
pub fn live(log: &Path, outlets: &[String]) -> Result<Vec<Vec<Range>>, Fault> {
    let found = look_into(log)?.map_or_else(BTreeMap::new, |(_, found)| found);
    let live = |outlet: &String| found.get(&group::tag(outlet)).map_or_else(Vec::new, Finds::live);
    Ok(outlets.iter().map(live).collect())
}

/// A log and what is in it, none if there is no such file.
fn look_into(path: &Path) -> Result<Option<Searched>, Fault> {
    let searched = File::open(path).and_then(|mut log| search(&mut log).map(|found| (log, found)));
    match searched {
        Ok(searched) => Ok(Some(searched)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::from(error).context("read", path)),
    }
}

/// Finds the values of every outlet, by the outlet's mark.
fn search(log: &mut File) -> io::Result<BTreeMap<u32, Finds>> {
    let mut found: BTreeMap<u32, Finds> = BTreeMap::new();
    let (mut window, mut offset) = (Vec::new(), 0);
    loop {
        let read = log.by_ref().take(WINDOW as u64).read_to_end(&mut window)?;
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

fn note(found: &mut BTreeMap<u32, Finds>, bytes: &[u8], offset: u64) {
    match Head::check_at(bytes) {
        Ok(head) => {
            let finds = found.entry(head.outlet).or_default();
            finds.floor = finds.floor.max(head.floor);
            if head.last == 0 {
                return;
            }
            let parts = finds.sound.entry((head.first, head.last)).or_default();
            parts.insert(head.part, Place { offset, head });
        }
        Err(_) => {
            let head = Head::guess_at(bytes).filter(|head| Head::span_is_sane(head.first, head.last));
            if let Some(head) = head {
                found.entry(head.outlet).or_default().unsound.push((head.first, head.last));
            }
        }
    }
}

fn copy(
    log: &mut File,
    hold: &mut Hold,
    outlet: usize,
    finds: &Finds,
    salvaged: &mut Salvaged,
) -> Result<(), Fault> {
    let ranges = finds.live();
    for range in &ranges {
        for (part, place) in &finds.sound[range] {
            let value = value_at(log, place).map_err(|error| Fault::World(error.to_string()))?;
            hold.database().put(outlet, [(group::key(range.0, range.1, *part), value.as_slice())])?;
            salvaged.values += 1;
            if salvaged.values.is_multiple_of(FLUSH_EACH) {
                hold.commit()?;
            }
        }
    }
    let lost = finds.lost(&ranges);
    for range in lost.iter().copied().chain(holes([ranges, lost.clone()].concat())) {
        hold.put_gap(outlet, range, GapReason::Damaged)?;
        salvaged.lost += 1;
    }
    Ok(())
}

/// The numbers between these ranges that none of them has: an outlet leaves out none, so what had them is gone without a trace.
fn holes(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let between = ranges.windows(2).map(|pair| (pair[0].1.saturating_add(1), pair[1].0.saturating_sub(1)));
    between.filter(|(first, last)| Head::span_is_sane(*first, *last)).collect()
}

fn value_at(log: &mut File, place: &Place) -> io::Result<Vec<u8>> {
    let mut value = vec![0; place.head.value_len()];
    log.seek(SeekFrom::Start(place.offset))?;
    log.read_exact(&mut value)?;
    Ok(value)
}

impl Finds {
    /// The whole groups that were not forgotten, none overlapping: a gap stands for what it covers.
    fn live(&self) -> Vec<Range> {
        let whole = |(range, parts): (&Range, &BTreeMap<u16, Place>)| {
            let whole = parts.values().all(|place| usize::from(place.head.parts) == parts.len());
            (whole && range.1 >= self.floor).then_some(*range)
        };
        let mut ranges: Vec<Range> = self.sound.iter().filter_map(whole).collect();
        ranges.sort_unstable_by_key(|(first, last)| (*first, u64::MAX - last));
        let mut reached = 0;
        ranges.retain(|(first, last)| {
            let free = *first > reached;
            reached = reached.max(if free { *last } else { 0 });
            free
        });
        ranges
    }

    /// The ranges of groups of which no sound copy was found, without those that something sound covers.
    fn lost(&self, live: &[Range]) -> Vec<Range> {
        let mut lost: Vec<Range> =
            self.unsound.iter().copied().filter(|(_, last)| *last >= self.floor).collect();
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
