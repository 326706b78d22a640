//! Where in sled's log the groups of the store lie: each value bears a magic, its range of numbers, its length and a CRC.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::Range;

use flate2::read::DeflateDecoder;
use holdfast::store::group::{Head, MAGIC};

use super::peer::number_of;

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
        let mut packed = Vec::new();
        for copies in self.copies.values() {
            let value = &log[copies[0].clone()];
            let head = Head::check(value).expect("it was sound before");
            packed.extend_from_slice(&value[value.len() - usize::from(head.body_len)..]);
        }
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
    let mut groups: BTreeMap<(u32, u64, u64), Group> = BTreeMap::new();
    let places = log.windows(MAGIC.len()).enumerate().filter(|(_, bytes)| *bytes == MAGIC);
    for (at, _) in places {
        let Ok(head) = Head::check_at(&log[at..]) else { continue };
        let group = groups.entry((head.outlet, head.first, head.last)).or_default();
        group.range = (head.first, head.last);
        group.messages = head.messages;
        group.parts = head.parts;
        group.copies.entry(head.part).or_default().push(at..at + head.value_len());
    }
    let mut groups: Vec<Group> = groups.into_values().filter(Group::is_whole).collect();
    groups.iter_mut().for_each(|group| group.read(log));
    groups
}
