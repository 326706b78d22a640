//! The look at everything that the database holds, at its opening: every value's CRC is verified, the index is made,
//! what is damaged is replaced by a gap.

use holdfast_core::ids::OutletId;
use holdfast_core::message::GapReason;
use holdfast_core::outlet::inspect::Damage;

use super::backend::Fault;
use super::group::{self, Head};
use super::group_index::GroupMeta;
use super::open_store::OpenStore;
use super::progress::Progress;

/// Damaged values kept in memory to be looked at later; of more only the number is.
const BAD_VALUES_KEPT: usize = 128;

/// What the scan of one outlet found.
#[derive(Default)]
struct Findings {
    /// Sound groups, none overlapping, with the largest message id of each.
    sound: Vec<(GroupMeta, u64)>,
    /// Groups that a gap or a better group covers, left behind by an interrupted change.
    stale: Vec<GroupMeta>,
    /// Keys of values that cannot be used.
    bad_keys: Vec<Vec<u8>>,
    /// Those values.
    bad_values: Vec<Vec<u8>>,
    /// The numbers that were lost with them, where their keys make sense.
    bad_ranges: Vec<(u64, u64)>,
    open: Option<Unfinished>,
}

/// A group of which not all parts were seen yet.
struct Unfinished {
    slot: GroupMeta,
    last_id: u64,
    values: Vec<Vec<u8>>,
}

/// Fills the shelves of a fresh hold. Returns the damaged values.
pub fn scan(hold: &mut OpenStore, outlets: &[String], progress: &Progress) -> Result<Vec<Vec<u8>>, Fault> {
    let mut damaged = Vec::new();
    for (outlet, name) in outlets.iter().enumerate() {
        let outlet = OutletId(outlet);
        let tag = group::tag(name);
        let mut findings = Findings::default();
        hold.database().each(outlet, &mut |key, value| {
            progress.value();
            findings.take(tag, key, value);
        })?;
        findings.close();
        damaged.append(&mut findings.bad_values);
        settle(hold, outlet, findings)?;
    }
    Ok(damaged)
}

/// Like [`scan`], for somebody who only looks: nothing is written, and what is damaged is told.
pub fn look(hold: &mut OpenStore, outlets: &[String]) -> Result<Vec<Damage>, Fault> {
    let mut damage = Vec::new();
    for (outlet, name) in outlets.iter().enumerate() {
        let outlet = OutletId(outlet);
        let tag = group::tag(name);
        let mut findings = Findings::default();
        hold.database().each(outlet, &mut |key, value| findings.take(tag, key, value))?;
        findings.close();
        damage.extend(findings.bad_keys.iter().map(|key| told(name, key)));
        for (slot, last_id) in findings.sound {
            hold.shelf(outlet).push(slot, last_id);
        }
    }
    damage.dedup();
    Ok(damage)
}

fn told(outlet: &str, key: &[u8]) -> Damage {
    let place = match group::parse_key(key) {
        Some((first, last, _)) => format!("{outlet}, numbers {first} to {last}"),
        None => format!("{outlet}, a key of {} bytes", key.len()),
    };
    Damage { place, cause: "a value of the group is damaged".to_owned() }
}

/// Writes down what the findings ask for and puts the sound groups into the index.
fn settle(hold: &mut OpenStore, outlet: OutletId, mut findings: Findings) -> Result<(), Fault> {
    let changed = !findings.stale.is_empty() || !findings.bad_keys.is_empty();
    for slot in &findings.stale {
        hold.remove(outlet, slot)?;
    }
    for key in &findings.bad_keys {
        hold.database().remove(outlet, key)?;
    }
    for range in std::mem::take(&mut findings.bad_ranges) {
        if let Some(range) = clipped(&findings.sound, range) {
            let gap = GroupMeta::from(&hold.put_gap(outlet, range, GapReason::Damaged)?);
            let place = findings.sound.partition_point(|(slot, _)| slot.first < gap.first);
            findings.sound.insert(place, (gap, 0));
        }
    }
    if changed {
        hold.commit()?;
    }
    for (slot, last_id) in findings.sound {
        hold.shelf(outlet).push(slot, last_id);
    }
    Ok(())
}

/// The part of a range that lies between sound groups, around its first number.
fn clipped(sound: &[(GroupMeta, u64)], (first, last): (u64, u64)) -> Option<(u64, u64)> {
    let place = sound.partition_point(|(slot, _)| slot.first <= first);
    let before = place.checked_sub(1).map_or(0, |before| sound[before].0.last);
    let after = sound.get(place).map_or(u64::MAX, |(slot, _)| slot.first);
    let (first, last) = (first.max(before.saturating_add(1)), last.min(after - 1));
    Head::span_is_sane(first, last).then_some((first, last))
}

impl Findings {
    fn take(&mut self, tag: u32, key: &[u8], value: &[u8]) {
        if key == group::FLOOR_KEY {
            return;
        }
        let head = Head::check(value).ok().filter(|head| {
            head.outlet == tag && group::parse_key(key) == Some((head.first, head.last, head.part))
        });
        let Some(head) = head else {
            self.close();
            return self.reject(key, value.to_vec());
        };
        if head.part == 0 {
            self.close();
            let slot = GroupMeta::new(&head, 0);
            self.open = Some(Unfinished { slot, last_id: head.last_id, values: Vec::new() });
        }
        match &mut self.open {
            Some(open) if open.continues(&head) => {
                open.slot.bytes += u32::try_from(value.len()).unwrap_or(0);
                open.values.push(if head.parts > 1 { value.to_vec() } else { Vec::new() });
            }
            Some(_) | None => self.reject(key, value.to_vec()),
        }
    }

    /// Decides about the group whose parts were collected.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.values.len() == usize::from(open.slot.parts) {
            return self.accept(open.slot, open.last_id);
        }
        for (part, value) in (0..).zip(open.values) {
            self.reject(&group::key(open.slot.first, open.slot.last, part), value);
        }
    }

    fn accept(&mut self, slot: GroupMeta, last_id: u64) {
        while let Some((before, _)) = self.sound.last().copied() {
            if before.last < slot.first {
                break;
            }
            if slot.messages > 0 || slot.first > before.first || slot.last < before.last {
                return self.stale.push(slot);
            }
            self.stale.push(before);
            self.sound.pop();
        }
        self.sound.push((slot, last_id));
    }

    fn reject(&mut self, key: &[u8], value: Vec<u8>) {
        self.bad_keys.push(key.to_vec());
        self.bad_values.push(if self.bad_values.len() < BAD_VALUES_KEPT { value } else { Vec::new() });
        let range = group::parse_key(key).map(|(first, last, _)| (first, last));
        let range = range.filter(|(first, last)| Head::span_is_sane(*first, *last));
        if range != self.bad_ranges.last().copied() {
            self.bad_ranges.extend(range);
        }
    }
}

impl Unfinished {
    fn continues(&self, head: &Head) -> bool {
        let same = (self.slot.first, self.slot.last, self.slot.parts) == (head.first, head.last, head.parts);
        same && self.values.len() == usize::from(head.part)
    }
}
