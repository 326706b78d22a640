//! Where in sled's log the groups of the store lie: each value bears a magic, its range of numbers, its length and a CRC.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::Range;

use flate2::read::DeflateDecoder;

use super::peer::number_of;

const MAGIC: [u8; 4] = *b"HFG\x01";
const HEADER: usize = 66;

/// A group and all copies of it in the log.
#[derive(Debug, Default)]
pub struct Group {
    /// First and last number in the outlet.
    pub range: (u64, u64),
    /// Number of its messages.
    pub messages: u32,
    /// Bytes in the log of every copy of every part.
    pub copies: BTreeMap<u16, Vec<Range<usize>>>,
    /// Numbers of the readings in it.
    pub readings: BTreeSet<u64>,
    parts: u16,
}

impl Group {
    /// Whether one copy of each part does not meet any of these bytes.
    pub fn survives(&self, touched: &[Range<usize>]) -> bool {
        let free = |copy: &Range<usize>| {
            !touched.iter().any(|bytes| bytes.start < copy.end && copy.start < bytes.end)
        };
        self.copies.values().all(|copies| copies.iter().any(free))
    }

    fn is_whole(&self) -> bool {
        self.copies.len() == usize::from(self.parts)
    }

    fn read(&mut self, log: &[u8]) {
        let bodies = self.copies.values().map(|copies| &log[copies[0].start + HEADER..copies[0].end]);
        let packed: Vec<u8> = bodies.flatten().copied().collect();
        let mut raw = Vec::new();
        if DeflateDecoder::new(&packed[..]).read_to_end(&mut raw).is_ok() {
            let text = String::from_utf8_lossy(&raw);
            self.readings =
                text.match_indices("\"seq\":").filter_map(|(at, _)| number_of(&text[at..])).collect();
        }
    }
}

/// All whole groups in a log.
pub fn groups(log: &[u8]) -> Vec<Group> {
    let mut groups: BTreeMap<[u8; 16], Group> = BTreeMap::new();
    let places = log.windows(MAGIC.len()).enumerate().filter(|(_, bytes)| *bytes == MAGIC);
    for (at, _) in places {
        let Some((header, bytes)) = value_at(log, at) else { continue };
        let range = header[8..24].try_into().expect("it is sixteen bytes");
        let group = groups.entry(range).or_default();
        group.range = (long(header, 8), long(header, 16));
        group.messages = u32::from_be_bytes(header[48..52].try_into().expect("it is four bytes"));
        group.parts = short(header, 58);
        group.copies.entry(short(header, 56)).or_default().push(bytes);
    }
    let mut groups: Vec<Group> = groups.into_values().filter(Group::is_whole).collect();
    groups.iter_mut().for_each(|group| group.read(log));
    groups
}

/// The header of a sound value, and where it lies.
fn value_at(log: &[u8], at: usize) -> Option<(&[u8], Range<usize>)> {
    let header = log.get(at..at + HEADER)?;
    let end = at + HEADER + usize::from(short(header, 60));
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..HEADER - 4]);
    crc.update(log.get(at + HEADER..end)?);
    (crc.finalize().to_be_bytes() == header[HEADER - 4..]).then_some((header, at..end))
}

fn long(header: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(header[at..at + 8].try_into().expect("it is eight bytes"))
}

fn short(header: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}
