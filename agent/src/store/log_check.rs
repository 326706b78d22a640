//! Looks for damage in the middle of sled's log before sled does.
//!
//! sled 0.34 takes the first bad record that it meets since its last snapshot for the torn end of the log, and wipes
//! everything behind it, without a word. So the log's records are verified here first, reading only. A bad record is the
//! end of the log, as a power cut leaves it, only if nothing sound of the same segment follows and no segment does.
//!
//! It also gives up a batch whose last record is not there, which may be the split of a leaf behind values that are whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::backend::{Fault, SEGMENT};
use super::progress::Progress;

/// CRC32, number and stable number of a segment, the latter two XORed with `i64::MAX`, little-endian.
const SEGMENT_HEADER: usize = 20;
/// No record starts in the last bytes of a segment.
const RED_ZONE: usize = 32;
/// Kinds of records: unused space; the rest of the segment is padding; the highest one.
const KIND_UNUSED: u8 = 0;
const KIND_CAP: u8 = 2;
/// Begin of a batch, with the log sequence number in which it ends, little-endian.
const KIND_BATCH: u8 = 3;
const KIND_LAST: u8 = 11;

struct Record {
    kind: u8,
    len: usize,
}

/// State of a log before sled has touched it.
#[derive(Debug, PartialEq, Eq)]
pub enum Log {
    /// sled can open it, and will wipe this end of it.
    Sound(Option<TornTail>),
    /// The place of the first record that is damaged and not the end of the log.
    DamagedAt(u64),
}

/// The last segment of a log, behind whose last whole record something is that is none, or in which a batch ends too early.
#[derive(Debug, PartialEq, Eq)]
pub struct TornTail {
    offset: u64,
    bytes: Vec<u8>,
    /// The records of a batch that does not come to its end, and what no whole record is in.
    given_up: Vec<u8>,
}

/// The records of a batch, as long as no later one shows that it came to its end.
struct Batch {
    /// Where it ends, as sled counts.
    end: u64,
    records: Vec<u8>,
}

impl TornTail {
    /// Passes on how the opening went. One that failed has wiped the tail, in which there may be whole values even so, or, where an
    /// older segment is missing, all of this one: it is written back.
    pub fn restore_unless<T>(
        tail: Option<&TornTail>,
        log: &Path,
        opened: Result<T, Fault>,
    ) -> Result<T, Fault> {
        if let (Err(_), Some(TornTail { offset, bytes, .. })) = (&opened, tail) {
            let restored =
                File::options().write(true).open(log).and_then(|log| log.write_all_at(bytes, *offset));
            restored.map_err(|error| Fault::World(error.to_string()).context("restore the end of", log))?;
        }
        opened
    }

    /// Bytes that sled gives up; there may be whole values in them even so.
    pub fn given_up(&self) -> &[u8] {
        &self.given_up
    }
}

/// The fault of a log that is damaged here.
pub fn damage(path: &Path, offset: u64) -> Fault {
    Fault::Damage(format!("{} is damaged at byte {offset}", path.display()))
}

/// Looks through a log, reading only.
pub fn look(path: &Path, progress: &Progress) -> io::Result<Log> {
    let mut log = File::open(path)?;
    let mut segments = BTreeMap::new();
    let len = log.metadata()?.len();
    for offset in (0..len).step_by(SEGMENT) {
        match number_at(&mut log, offset)? {
            Header::Sound(number) => drop(segments.insert(number, offset)),
            // A header may also have been wiped; sled would take the segment for a free one.
            Header::Unused if is_blank(&mut log, offset)? => {}
            Header::Unused => return Ok(Log::DamagedAt(offset)),
            Header::Bad => return Ok(Log::DamagedAt(offset)),
        }
    }
    let newest = segments.last_key_value().map(|(number, _)| *number);
    let mut segment = Vec::with_capacity(SEGMENT);
    let mut batch: Option<Batch> = None;
    for (number, offset) in segments {
        read(&mut log, offset, &mut segment)?;
        progress.made();
        let at = end(&segment, number, &mut batch);
        if Some(number) == newest {
            return Ok(tail(offset, segment, number, at, batch));
        }
        if let Some(at) = at {
            return Ok(Log::DamagedAt(offset + at as u64));
        }
    }
    Ok(Log::Sound(None))
}

/// How the log ends, whose newest segment this is.
fn tail(offset: u64, segment: Vec<u8>, number: u64, at: Option<usize>, batch: Option<Batch>) -> Log {
    let at = at.unwrap_or(segment.len());
    let is_blank = segment.iter().skip(at).all(|byte| *byte == KIND_UNUSED);
    if !is_blank && (at + 1..segment.len()).any(|at| Record::at(&segment, at, number).is_some()) {
        return Log::DamagedAt(offset + at as u64);
    }
    let reached = number * SEGMENT as u64 + at as u64;
    let mut given_up =
        batch.filter(|batch| batch.end >= reached).map_or_else(Vec::new, |batch| batch.records);
    if is_blank && given_up.is_empty() {
        return Log::Sound(None);
    }
    given_up.extend(segment.iter().skip(at));
    Log::Sound(Some(TornTail { offset, bytes: segment, given_up }))
}

fn read(log: &mut File, offset: u64, segment: &mut Vec<u8>) -> io::Result<()> {
    segment.clear();
    log.seek(SeekFrom::Start(offset))?;
    log.by_ref().take(SEGMENT as u64).read_to_end(segment).map(drop)
}

fn is_blank(log: &mut File, offset: u64) -> io::Result<bool> {
    let mut segment = Vec::with_capacity(SEGMENT);
    read(log, offset, &mut segment)?;
    Ok(segment.iter().all(|byte| *byte == 0))
}

enum Header {
    Sound(u64),
    Unused,
    Bad,
}

fn number_at(log: &mut File, offset: u64) -> io::Result<Header> {
    let mut header = Vec::with_capacity(SEGMENT_HEADER);
    log.seek(SeekFrom::Start(offset))?;
    log.by_ref().take(SEGMENT_HEADER as u64).read_to_end(&mut header)?;
    if header.iter().all(|byte| *byte == 0) {
        return Ok(Header::Unused);
    }
    let Some((crc, rest)) = header.split_first_chunk::<4>() else { return Ok(Header::Bad) };
    let start = rest.first_chunk().map(|bytes| i64::from_le_bytes(*bytes) ^ i64::MAX);
    let start = start.and_then(|start| usize::try_from(start).ok()).filter(|start| start % SEGMENT == 0);
    let sound = rest.len() == 16 && u32::from_le_bytes(*crc) == !crc32fast::hash(rest);
    Ok(start.filter(|_| sound).map_or(Header::Bad, |start| Header::Sound((start / SEGMENT) as u64)))
}

/// Where the whole records of a segment end before it does and something else follows, or before it should. Goes on with the
/// batch that it begins in.
fn end(segment: &[u8], number: u64, batch: &mut Option<Batch>) -> Option<usize> {
    let mut at = SEGMENT_HEADER;
    while at + RED_ZONE <= SEGMENT {
        let Some(record) = Record::at(segment, at, number) else { return Some(at) };
        let bytes = &segment[at..at + record.len];
        if record.kind == KIND_BATCH
            && let Some(end) = bytes.last_chunk()
        {
            *batch = Some(Batch { end: u64::from_le_bytes(*end), records: Vec::new() });
        }
        if let Some(Batch { end, records }) = batch {
            let is_over = *end < number * SEGMENT as u64 + at as u64;
            if is_over { *batch = None } else { records.extend(bytes) }
        }
        if record.kind == KIND_CAP {
            return None;
        }
        at += record.len;
    }
    // sled fills a segment up before it begins another.
    None
}

impl Record {
    fn at(segment: &[u8], at: usize, number: u64) -> Option<Record> {
        let mut rest = segment.get(at + 5..)?;
        let kind = segment[at + 4];
        let len = usize::try_from(varint(&mut rest)?).ok()?;
        let sane = kind != KIND_UNUSED && kind <= KIND_LAST && varint(&mut rest)? == number;
        let _page = varint(&mut rest).filter(|_| sane)?;
        let body = rest.get(..len)?;
        let header = &segment[at..segment.len() - rest.len()];
        let mut crc = crc32fast::Hasher::new();
        crc.update(body);
        crc.update(&header[4..]);
        (header[..4] == (!crc.finalize()).to_le_bytes()).then_some(Record { kind, len: header.len() + len })
    }
}

/// sled's own numbers of one to nine bytes.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let (first, tail) = rest.split_first()?;
    let first = u64::from(*first);
    let width = if first <= 240 { 0 } else { usize::try_from(first).ok()?.saturating_sub(247).max(1) };
    let (bytes, tail) = tail.split_at_checked(width)?;
    *rest = tail;
    let little = bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some(match first {
        0..=240 => first,
        241..=248 => 240 + 256 * (first - 241) + little,
        249 => 2288 + 256 * u64::from(bytes[0]) + u64::from(bytes[1]),
        _ => little,
    })
}
