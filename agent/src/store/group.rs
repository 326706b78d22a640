//! How entries lie in the store: groups of many, packed into values of at most [`VALUE_MAX`] bytes, and by this version of at most
//! [`PART_MAX`] beside their headers. Pure.
//!
//! A value is a header, which says everything the index needs, and a part of the deflated CBOR sequence of the entries.
//! Its magic, its lengths and its CRC let it be found even in a file that the database itself cannot read any more.

use std::sync::Arc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use holdfast_core::message::{Body, Boot, Clock, Entry, Format, GapReason, Message, Stamp};
use serde::{Deserialize, Serialize};

/// Most bytes of a value. sled writes a leaf of up to 17 values as one record, and what exceeds a quarter of its
/// 512 KB segment goes to a file that nobody syncs: 17 values of 8,192 bytes do, 17 of these do not.
pub const VALUE_MAX: usize = 7_600;
/// Bytes of a key.
pub const KEY_LEN: usize = 18;

/// Key of the mark that says what was removed; no group has it, as numbers start at 1.
pub const FLOOR_KEY: [u8; KEY_LEN] = [0; KEY_LEN];

/// Deflated bytes that a group of several entries aims at. The database keeps at least 256 leaves in memory whatever its
/// cache is set to, so small values keep it small; twice the size would save 5 % of the bytes.
const BODY_AIM: usize = 3_000;
const BODY_AIM_MAX: usize = 4_000;
const BODY_MAX: usize = VALUE_MAX - HEADER_LEN;
/// A large message is cut into parts no larger than the values of small ones: 256 leaves of the largest values are 33 MB.
const PART_MAX: usize = BODY_AIM_MAX;
/// Readings take a fifth less than at level 1, for a microsecond of processor time each; level 6 saves little more.
const LEVEL: u32 = 4;
/// Bounds what is deflated at once, however well it shrinks.
const RAW_AIM_MAX: usize = 128 << 10;
/// How often a group is packed anew because it shrank far more than the one before.
const TRIES: u32 = 3;
const RAW_MAX: usize = 64 << 20;
/// First bytes of a value; the last one is the version of its format.
pub const MAGIC: [u8; 4] = *b"HFG\x02";
const HEADER_LEN: usize = 87;
const SECOND_NS: u64 = 1_000_000_000;
/// No honest group covers more numbers than this unless it is a gap whose CRC is right.
const SPAN_MAX: u64 = 1 << 24;

/// What the header of a value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// CRC32 of the outlet's name.
    pub outlet: u32,
    /// First number that the group covers.
    pub first: u64,
    /// Last number that it covers.
    pub last: u64,
    /// First number that the outlet held when this was written: everything below is confirmed or given up.
    pub floor: u64,
    /// Arrival time of its oldest message by the wall clock, 0 when it has none.
    pub oldest_ns: u64,
    /// How much later its newest message came, in seconds, rounded up.
    pub span_s: u32,
    /// The start of the machine in which all its messages came.
    pub boot: u64,
    /// What the wall clock was ahead of the time since that start for all of them, modulo 2^64.
    pub offset: u64,
    /// 1 when the wall clock was known to be right for all of them, else 0.
    pub synced: u8,
    /// Largest message id, 0 when it has none.
    pub last_id: u64,
    /// Messages, gaps not counted.
    pub messages: u32,
    /// Bytes of the whole group before it was deflated.
    pub raw_len: u32,
    /// Which part of the group this value is, from 0.
    pub part: u16,
    /// Number of its parts.
    pub parts: u16,
    /// Bytes that follow the header.
    pub body_len: u16,
}

/// A packed group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The header of its first part.
    pub head: Head,
    /// Its values, part by part.
    pub values: Vec<Vec<u8>>,
}

/// Why a value or a group is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsound(pub &'static str);

impl std::fmt::Display for Unsound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Names an outlet inside the values.
pub fn tag(outlet: &str) -> u32 {
    crc32fast::hash(outlet.as_bytes())
}

/// The key of one part of a group; keys sort as the numbers do.
pub fn key(first: u64, last: u64, part: u16) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..16].copy_from_slice(&last.to_be_bytes());
    key[16..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The mark that an outlet holds nothing below this number any more. It says so wherever in a log it is found, as the
/// header of every group does, but without a new group.
pub fn floor_mark(outlet: u32, floor: u64) -> Vec<u8> {
    Head { outlet, floor, parts: 1, ..Head::default() }.value(&[])
}

/// First number, last number and part of a key, none when they cannot be one.
pub fn parse_key(key: &[u8]) -> Option<(u64, u64, u16)> {
    let mut rest = key;
    let (first, last, part) = (u64_of(&mut rest)?, u64_of(&mut rest)?, u16_of(&mut rest)?);
    (rest.is_empty() && first <= last).then_some((first, last, part))
}

impl Head {
    /// Reads the header of a whole value and checks the CRC over all of it.
    pub fn check(value: &[u8]) -> Result<Head, Unsound> {
        let head = Head::check_at(value)?;
        if value.len() != head.value_len() {
            return Err(Unsound("its length is wrong"));
        }
        Ok(head)
    }

    /// Like [`Head::check`], for a value that other bytes follow.
    pub fn check_at(bytes: &[u8]) -> Result<Head, Unsound> {
        let head = Head::guess_at(bytes).ok_or(Unsound("it is not a value of a group"))?;
        let value = bytes.get(..head.value_len()).ok_or(Unsound("it is cut short"))?;
        let stated = &value[HEADER_LEN - 4..HEADER_LEN];
        if crc(&value[..HEADER_LEN - 4], &value[HEADER_LEN..]).to_be_bytes() != *stated {
            return Err(Unsound("its checksum is wrong"));
        }
        Ok(head)
    }

    /// Reads a header that looks like one, without any check of the CRC.
    pub fn guess_at(bytes: &[u8]) -> Option<Head> {
        let mut rest = bytes.get(..HEADER_LEN)?.strip_prefix(&MAGIC)?;
        let head = Head {
            outlet: u32_of(&mut rest)?,
            first: u64_of(&mut rest)?,
            last: u64_of(&mut rest)?,
            floor: u64_of(&mut rest)?,
            oldest_ns: u64_of(&mut rest)?,
            last_id: u64_of(&mut rest)?,
            boot: u64_of(&mut rest)?,
            offset: u64_of(&mut rest)?,
            span_s: u32_of(&mut rest)?,
            messages: u32_of(&mut rest)?,
            raw_len: u32_of(&mut rest)?,
            synced: take(&mut rest).map(|[flag]| flag)?,
            part: u16_of(&mut rest)?,
            parts: u16_of(&mut rest)?,
            body_len: u16_of(&mut rest)?,
        };
        let sane = head.first <= head.last && head.part < head.parts && head.raw_len as usize <= RAW_MAX;
        (sane && usize::from(head.body_len) <= BODY_MAX).then_some(head)
    }

    /// Bytes of the value that starts with this header.
    pub fn value_len(&self) -> usize {
        HEADER_LEN + usize::from(self.body_len)
    }

    /// When its newest message came, none when it has no message.
    pub fn newest(&self) -> Option<Stamp> {
        let time_ns = self.oldest_ns.wrapping_add(u64::from(self.span_s) * SECOND_NS);
        let clock = if self.synced == 1 { Clock::Synced } else { Clock::Unsynced };
        let up_ns = time_ns.wrapping_sub(self.offset);
        (self.messages > 0).then_some(Stamp { boot: Boot(self.boot), up_ns, time_ns, clock })
    }

    /// Whether the numbers could be those of a real group; asked only when nothing else vouches for them.
    pub fn span_is_sane(first: u64, last: u64) -> bool {
        first >= 1 && first <= last && last - first < SPAN_MAX
    }

    /// The value that starts with this header, its checksum included.
    pub fn value(&self, body: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEADER_LEN + body.len());
        value.extend_from_slice(&MAGIC);
        value.extend_from_slice(&self.outlet.to_be_bytes());
        let Head { first, last, floor, oldest_ns, last_id, boot, offset, .. } = *self;
        for number in [first, last, floor, oldest_ns, last_id, boot, offset] {
            value.extend_from_slice(&number.to_be_bytes());
        }
        for number in [self.span_s, self.messages, self.raw_len] {
            value.extend_from_slice(&number.to_be_bytes());
        }
        value.push(self.synced);
        for number in [self.part, self.parts, self.body_len] {
            value.extend_from_slice(&number.to_be_bytes());
        }
        let crc = crc(&value, body);
        value.extend_from_slice(&crc.to_be_bytes());
        value.extend_from_slice(body);
        value
    }
}

impl Group {
    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }
}

/// Packs entries; keeps its buffers and what it learned about how far they shrink.
pub struct Packer {
    deflate: Compress,
    raw: Vec<u8>,
    ends: Vec<usize>,
    packed: Vec<u8>,
    ratio: f64,
}

impl Default for Packer {
    fn default() -> Packer {
        let deflate = Compress::new(Compression::new(LEVEL), false);
        Packer { deflate, raw: Vec::new(), ends: Vec::new(), packed: Vec::new(), ratio: 0.3 }
    }
}

impl Packer {
    /// Packs all entries, in as few groups as fit, the messages of each from one [`origin`]. `floor` is the first number that
    /// the outlet holds before them.
    pub fn pack(
        &mut self,
        outlet: u32,
        floor: Option<u64>,
        entries: &[Entry],
    ) -> Result<Vec<Group>, Unsound> {
        let mut groups = Vec::new();
        let mut rest = entries;
        while let Some(first) = rest.first() {
            let floor = floor.unwrap_or(entries[0].seq).min(first.seq);
            let count = self.squeeze(&rest[..alike(rest)])?;
            groups.push(self.group(outlet, floor, &rest[..count])?);
            rest = &rest[count..];
        }
        Ok(groups)
    }

    /// Deflates the first entries into `packed` and tells how many they are.
    fn squeeze(&mut self, entries: &[Entry]) -> Result<usize, Unsound> {
        let mut count = 0;
        for _ in 0..TRIES {
            count = self.encode(entries)?;
            self.deflate()?;
            let more = count < entries.len() && self.raw.len() < RAW_AIM_MAX;
            if !more || self.packed.len() > BODY_AIM / 2 {
                break;
            }
        }
        while self.packed.len() > BODY_AIM_MAX && count > 1 {
            count /= 2;
            self.raw.truncate(self.ends[count - 1]);
            self.deflate()?;
        }
        Ok(count)
    }

    fn encode(&mut self, entries: &[Entry]) -> Result<usize, Unsound> {
        let aim = ((BODY_AIM as f64 / self.ratio) as usize).min(RAW_AIM_MAX);
        self.raw.clear();
        self.ends.clear();
        for entry in entries {
            Row::of(entry).write(&mut self.raw)?;
            self.ends.push(self.raw.len());
            if self.raw.len() >= aim {
                break;
            }
        }
        Ok(self.ends.len())
    }

    fn deflate(&mut self) -> Result<(), Unsound> {
        self.deflate.reset();
        self.packed.clear();
        loop {
            self.packed.reserve(self.raw.len() / 2 + 256);
            let done = usize::try_from(self.deflate.total_in()).unwrap_or(usize::MAX);
            let status =
                self.deflate.compress_vec(&self.raw[done..], &mut self.packed, FlushCompress::Finish);
            match status {
                Ok(Status::StreamEnd) => break,
                Ok(Status::Ok | Status::BufError) => {}
                Err(_) => return Err(Unsound("it cannot be deflated")),
            }
        }
        self.ratio = (self.packed.len() as f64 / self.raw.len() as f64).clamp(0.02, 1.0);
        Ok(())
    }

    fn group(&self, outlet: u32, floor: u64, entries: &[Entry]) -> Result<Group, Unsound> {
        let parts = self.packed.len().div_ceil(PART_MAX).max(1);
        let too_large = Unsound("the message is too large for the store");
        let head = Head {
            outlet,
            first: entries[0].seq,
            last: entries[entries.len() - 1].last(),
            floor,
            last_id: messages(entries).map(|message| message.id).max().unwrap_or(0),
            messages: u32::try_from(messages(entries).count()).map_err(|_| too_large)?,
            raw_len: u32::try_from(self.raw.len()).map_err(|_| too_large)?,
            parts: u16::try_from(parts).map_err(|_| too_large)?,
            ..times(entries)
        };
        let value = |(part, body): (usize, &[u8])| {
            let part = u16::try_from(part).expect("there are no more than `parts`");
            let body_len = u16::try_from(body.len()).expect("a body is below 8 KB");
            Head { part, body_len, ..head }.value(body)
        };
        let values: Vec<_> = self.packed.chunks(PART_MAX).enumerate().map(value).collect();
        Ok(Group { head: Head { body_len: 0, ..head }, values })
    }
}

/// Takes a group apart again. All parts must be there, in their order.
pub fn unpack(values: &[Vec<u8>]) -> Result<Vec<Entry>, Unsound> {
    let mut packed = Vec::new();
    let mut whole = None;
    for (part, value) in values.iter().enumerate() {
        let head = Head::check(value)?;
        let common = Head { part: 0, body_len: 0, ..head };
        if usize::from(head.part) != part || *whole.get_or_insert(common) != common {
            return Err(Unsound("its parts do not belong together"));
        }
        packed.extend_from_slice(&value[HEADER_LEN..]);
    }
    let head = whole.filter(|head| usize::from(head.parts) == values.len());
    let head = head.ok_or(Unsound("a part of it is missing"))?;
    rows(&inflate(&packed, head.raw_len as usize)?, &head)
}

fn inflate(packed: &[u8], raw_len: usize) -> Result<Vec<u8>, Unsound> {
    // With no room behind the last byte the end of the stream would not be seen.
    let mut raw = Vec::with_capacity(raw_len + 1);
    let mut inflate = Decompress::new(false);
    loop {
        let before = (inflate.total_in(), inflate.total_out());
        let rest = packed.get(usize::try_from(before.0).unwrap_or(usize::MAX)..).unwrap_or_default();
        match inflate.decompress_vec(rest, &mut raw, FlushDecompress::Finish) {
            Ok(Status::StreamEnd) if raw.len() == raw_len => return Ok(raw),
            Ok(Status::Ok | Status::BufError) if (inflate.total_in(), inflate.total_out()) != before => {}
            Ok(_) | Err(_) => return Err(Unsound("it cannot be inflated")),
        }
    }
}

fn rows(raw: &[u8], head: &Head) -> Result<Vec<Entry>, Unsound> {
    let mut entries: Vec<Entry> = Vec::new();
    for row in serde_cbor::Deserializer::from_slice(raw).into_iter::<Row>() {
        let entry =
            row.ok().and_then(|row| row.entry(head)).ok_or(Unsound("an entry in it cannot be read"))?;
        let lowest = entries.last().map_or(head.first, |before| before.last().saturating_add(1));
        if entry.seq < lowest || entry.last() < entry.seq {
            return Err(Unsound("its numbers do not rise"));
        }
        entries.push(entry);
    }
    let ends = entries.first().map(|entry| entry.seq).zip(entries.last().map(Entry::last));
    if ends != Some((head.first, head.last)) {
        return Err(Unsound("its numbers are not those of its header"));
    }
    Ok(entries)
}

fn messages(entries: &[Entry]) -> impl Iterator<Item = &Message> {
    entries.iter().filter_map(|entry| match &entry.body {
        Body::Message(message) => Some(&**message),
        Body::Gap { .. } => None,
    })
}

/// What all messages of a group share, so that it stands once in its header: the start of the machine in which they came, and
/// what the wall clock was ahead of the time since.
pub fn origin(stamp: &Stamp) -> (Boot, u64) {
    (stamp.boot, stamp.offset())
}

/// How many of the first entries have one origin.
fn alike(entries: &[Entry]) -> usize {
    let origin_of = |entry: &Entry| match &entry.body {
        Body::Message(message) => Some(origin(&message.stamp())),
        Body::Gap { .. } => None,
    };
    let first = entries.iter().find_map(origin_of);
    let other = |entry: &Entry| origin_of(entry).is_some_and(|origin| Some(origin) != first);
    entries.iter().position(other).unwrap_or(entries.len())
}

/// A header with nothing but the times of these entries, which have one origin.
fn times(entries: &[Entry]) -> Head {
    let Some(first) = messages(entries).next() else { return Head::default() };
    let times = || messages(entries).map(|message| message.time_ns);
    let (oldest_ns, newest_ns) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let span_s = (newest_ns - oldest_ns).div_ceil(SECOND_NS);
    let synced = messages(entries).all(|message| message.clock == Clock::Synced);
    Head {
        oldest_ns,
        span_s: u32::try_from(span_s).unwrap_or(u32::MAX),
        boot: first.boot.0,
        offset: first.stamp().offset(),
        synced: u8::from(synced),
        ..Head::default()
    }
}

/// An entry as a CBOR array: its number, then either a message or a gap.
#[derive(Serialize, Deserialize)]
struct Row(u64, Option<MessageRow>, Option<GapRow>);

#[derive(Serialize, Deserialize)]
struct MessageRow(
    u64,
    u64,
    Clock,
    String,
    Option<String>,
    Arc<str>,
    Format,
    #[serde(with = "serde_bytes")] Vec<u8>,
    Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<u32>,
);

#[derive(Serialize, Deserialize)]
struct GapRow(u64, GapReason);

impl Row {
    fn of(entry: &Entry) -> Row {
        match &entry.body {
            Body::Gap { to, reason } => Row(entry.seq, None, Some(GapRow(*to, *reason))),
            Body::Message(message) => Row(entry.seq, Some(MessageRow::of(message)), None),
        }
    }

    fn write(&self, raw: &mut Vec<u8>) -> Result<(), Unsound> {
        serde_cbor::to_writer(&mut *raw, self).map_err(|_| Unsound("an entry cannot be written as CBOR"))?;
        if raw.len() > RAW_MAX {
            return Err(Unsound("the message is too large for the store"));
        }
        Ok(())
    }

    fn entry(self, head: &Head) -> Option<Entry> {
        let body = match (self.1, self.2) {
            (Some(message), None) => Body::Message(Arc::new(message.message(head))),
            (None, Some(GapRow(to, reason))) => Body::Gap { to, reason },
            (None, None) | (Some(_), Some(_)) => return None,
        };
        Some(Entry { seq: self.0, body, replayed: true })
    }
}

impl MessageRow {
    fn of(message: &Message) -> MessageRow {
        let m = message.clone();
        MessageRow(
            m.id,
            m.time_ns,
            m.clock,
            m.topic,
            m.device,
            m.source,
            m.format,
            m.payload,
            m.attributes,
            m.ttl_s,
        )
    }

    fn message(self, head: &Head) -> Message {
        let MessageRow(id, time_ns, clock, topic, device, source, format, payload, attributes, ttl_s) = self;
        let (boot, up_ns) = (Boot(head.boot), time_ns.wrapping_sub(head.offset));
        Message { id, time_ns, clock, boot, up_ns, topic, device, source, format, payload, attributes, ttl_s }
    }
}

fn crc(header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn u64_of(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}

fn u32_of(rest: &mut &[u8]) -> Option<u32> {
    take(rest).map(u32::from_be_bytes)
}

fn u16_of(rest: &mut &[u8]) -> Option<u16> {
    take(rest).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Body> {
        let payload = prop_oneof![
            3 => proptest::collection::vec(any::<u8>(), 0..300),
            3 => (any::<u8>(), 0usize..3_000).prop_map(|(byte, len)| vec![byte; len]),
            1 => proptest::collection::vec(any::<u8>(), 0..40_000),
        ];
        let message =
            (any::<u64>(), any::<u64>(), "[a-z/]{0,20}", proptest::option::of("[a-zäß]{0,8}"), payload);
        let boots = (prop_oneof![9 => Just(Boot(5)), 1 => any::<u64>().prop_map(Boot)], any::<bool>());
        let message = (message, boots).prop_map(|((id, time_ns, topic, device, payload), (boot, synced))| {
            let attributes = vec![("path".to_owned(), topic.clone())];
            let clock = if synced { Clock::Synced } else { Clock::Unsynced };
            let (format, source) = (Format::Binary, Arc::from("server:x"));
            let up_ns = time_ns.wrapping_sub(boot.0);
            Body::Message(Arc::new(Message {
                id,
                time_ns,
                clock,
                boot,
                up_ns,
                topic,
                device,
                source,
                format,
                payload,
                attributes,
                ttl_s: u32::try_from(id).ok(),
            }))
        });
        let gap = (0u64..50).prop_map(|to| Body::Gap { to, reason: GapReason::Restart });
        prop_oneof![8 => message, 1 => gap]
    }

    /// Numbers the bodies from 10 on with a small hole after each; a gap's `to` is how far it reaches.
    fn numbered(bodies: Vec<Body>) -> Vec<Entry> {
        let mut seq = 10;
        let mut entries = Vec::new();
        for body in bodies {
            let body = match body {
                Body::Gap { to, reason } => Body::Gap { to: seq + to, reason },
                Body::Message(_) => body,
            };
            entries.push(Entry { seq, body, replayed: true });
            seq = entries[entries.len() - 1].last() + 1 + seq % 2;
        }
        entries
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        proptest::collection::vec(entry(), 1..60).prop_map(numbered)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_packed_comes_out_again_from_values_that_are_small_enough(entries in entries()) {
            let groups = Packer::default().pack(7, Some(3), &entries).unwrap();
            let mut back = Vec::new();
            for group in &groups {
                prop_assert!(group.values.iter().all(|value| value.len() <= HEADER_LEN + PART_MAX));
                prop_assert_eq!(group.head.floor, 3);
                back.extend(unpack(&group.values).unwrap());
            }
            prop_assert_eq!(back, entries);
        }

        #[test]
        fn a_flipped_bit_or_a_cut_is_always_refused(
            entries in entries(), which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let groups = Packer::default().pack(7, None, &entries).unwrap();
            let mut values = groups[which.index(groups.len())].values.clone();
            let part = at.index(values.len());
            let place = at.index(values[part].len());
            let mut cut = values.clone();
            cut[part].truncate(place);
            prop_assert!(unpack(&cut).is_err());
            values[part][place] ^= 1 << bit;
            prop_assert!(unpack(&values).is_err());
        }

        #[test]
        fn arbitrary_bytes_behind_a_sound_header_never_panic(body in proptest::collection::vec(any::<u8>(), 0..400), raw_len in 0u32..5000) {
            let body_len = u16::try_from(body.len()).unwrap();
            let head = Head { first: 1, last: 3, parts: 1, raw_len, body_len, ..Head::default() };
            let _ = unpack(&[head.value(&body)]);
        }
    }

    #[test]
    fn many_alike_readings_share_a_value_and_shrink_a_lot() {
        let body = |i: u64| {
            let payload = format!(
                r#"{{"temperature":{}.{},"pressure":2.{},"state":"running"}}"#,
                40 + i % 5,
                i % 10,
                i % 7
            );
            Body::Message(Arc::new(Message {
                id: i,
                time_ns: 1_795_316_400_000_000_000 + i * 97_000_000,
                clock: Clock::Synced,
                boot: Boot(0x3f0b_5c1e_9a77_4d2c),
                up_ns: 86_400_123_456_789 + i * 97_000_000,
                topic: "lines/3/pump".to_owned(),
                device: None,
                source: Arc::from("server:sensors"),
                format: Format::Json,
                payload: payload.into_bytes(),
                attributes: Vec::new(),
                ttl_s: None,
            }))
        };
        let entries = numbered((0..1000).map(body).collect());
        let groups = Packer::default().pack(7, None, &entries).unwrap();
        let stored: usize = groups.iter().map(Group::bytes).sum();
        let given: usize = entries.iter().map(Entry::weight).sum();
        assert!(stored * 3 < given, "{stored} of {given}");
        assert!(groups.len() < 20, "{}", groups.len());
        // Version 1 of the format knew neither boot nor time since it; its header had 66 bytes.
        let origins = groups.iter().flat_map(|group| &group.values).count() * (HEADER_LEN - 66);
        assert!(origins * 100 < stored, "{origins} of {stored} bytes");
    }

    #[test]
    fn a_group_knows_when_its_newest_message_came_and_never_mixes_origins() {
        let message = |(boot, up_s, offset_s, clock)| {
            let up_ns = up_s * SECOND_NS + 1;
            let time_ns = up_ns + offset_s * SECOND_NS;
            Body::Message(Arc::new(Message {
                id: 1,
                time_ns,
                clock,
                boot: Boot(boot),
                up_ns,
                topic: String::new(),
                device: None,
                source: Arc::from("server:x"),
                format: Format::Binary,
                payload: Vec::new(),
                attributes: Vec::new(),
                ttl_s: None,
            }))
        };
        let (synced, unsynced) = (Clock::Synced, Clock::Unsynced);
        let arrivals =
            [(1, 10, 0, unsynced), (1, 13, 0, unsynced), (1, 14, 500, synced), (2, 4, 500, synced)];
        let gap = Body::Gap { to: 0, reason: GapReason::Restart };
        let entries = numbered(std::iter::once(gap).chain(arrivals.map(message)).collect());
        let groups = Packer::default().pack(7, None, &entries).unwrap();
        let newest: Vec<_> = groups.iter().map(|group| group.head.newest().unwrap()).collect();
        let seen: Vec<_> = newest.iter().map(|at| (at.boot.0, at.up_ns / SECOND_NS, at.clock)).collect();
        assert_eq!(seen, [(1, 13, unsynced), (1, 14, synced), (2, 4, synced)]);
        assert_eq!(newest[1].time_ns, 514 * SECOND_NS + 1);
    }

    #[test]
    fn keys_sort_as_their_numbers_do() {
        assert!(key(255, 256, 9) < key(256, 256, 0));
        assert_eq!(parse_key(&key(5, 9, 2)), Some((5, 9, 2)));
        assert_eq!(parse_key(&key(9, 5, 2)), None);
        assert_eq!(parse_key(b"short"), None);
    }
}
