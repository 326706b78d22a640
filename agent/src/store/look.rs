//! What people see of the store. It only reads: what is damaged is told, and left as it is.

use std::fs;
use std::io;
use std::path::Path;

use holdfast_core::cbor;
use holdfast_core::ids::OutletId;
use holdfast_core::message::{Body, Entry, GapReason};
use holdfast_core::outlet::inspect::{Checked, Damage, DeadLetter, Outlet, StoreAnswer, StoreQuery, Survey};
use holdfast_core::outlet::store_protocol::StoreFacts;

use super::atomic_file;
use super::backend::Fault;
use super::file_queue::FileQueue;
use super::group;
use super::group_index::GroupMeta;
use super::leftovers;
use super::open_store::Groups;
use super::{numbers, space};

/// An answer is complete once it has so many bytes, of entries or of groups: a commit waits for no more than one of them.
const PAGE_BYTES: usize = 64 << 10;

/// Everything that can be looked at.
pub struct Inspector<'a> {
    /// The data directory.
    pub dir: &'a Path,
    /// Names of the outlets.
    pub outlets: &'a [String],
    /// The store, or why it cannot be looked into.
    pub hold: Result<&'a dyn Groups, String>,
    /// The dead letters.
    pub dead: &'a FileQueue,
    /// Damaged values.
    pub damaged: &'a FileQueue,
    /// What every report tells.
    pub facts: StoreFacts,
}

/// Why nothing can be seen.
#[derive(Debug)]
pub enum InspectError {
    /// The database is dead.
    Fault(Fault),
    /// There is no such thing, or it cannot be read.
    Cause(String),
}

impl From<Fault> for InspectError {
    fn from(fault: Fault) -> InspectError {
        InspectError::Fault(fault)
    }
}

impl std::fmt::Display for InspectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InspectError::Fault(fault) => fault.fmt(f),
            InspectError::Cause(cause) => f.write_str(cause),
        }
    }
}

/// The place of an outlet among these.
pub fn place(outlets: &[String], name: &str) -> Result<OutletId, String> {
    let unknown = || match outlets {
        [] => format!("there is no outlet {name}; there is none at all"),
        outlets => format!("there is no outlet {name}, only {}", outlets.join(", ")),
    };
    outlets.iter().position(|outlet| outlet == name).map(OutletId).ok_or_else(unknown)
}

impl Inspector<'_> {
    /// One look.
    pub fn look(&self, look: &StoreQuery) -> Result<StoreAnswer, InspectError> {
        match look {
            StoreQuery::Survey => Ok(StoreAnswer::Survey(self.survey())),
            StoreQuery::Entries { outlet, from } => self.entries(outlet, *from),
            StoreQuery::Groups { outlet, from } => self.groups(outlet, *from).map(StoreAnswer::Checked),
            StoreQuery::Files => Ok(StoreAnswer::Checked(self.files())),
            StoreQuery::Letters { from } => self.letters(*from),
        }
    }

    fn survey(&self) -> Survey {
        let numbers = numbers::peek(self.dir).ok().flatten().unwrap_or_default();
        let outlet = |name: &String| {
            let epoch = numbers.outlets.get(name).map(|own| own.epoch.clone()).unwrap_or_default();
            Outlet { name: name.clone(), epoch }
        };
        Survey {
            dir: self.dir.display().to_string(),
            sessions: numbers.session,
            outlets: self.outlets.iter().map(outlet).collect(),
            facts: self.facts.clone(),
            dead_bytes: self.dead.bytes(),
            damaged_kept: (self.damaged.len(), self.damaged.bytes()),
            set_aside: set_aside(self.dir),
        }
    }

    fn entries(&self, outlet: &str, from: u64) -> Result<StoreAnswer, InspectError> {
        let mut page = Pages::open(self, outlet, from)?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut weight = 0;
        while weight < PAGE_BYTES
            && let Some((slot, values)) = page.turn()?
        {
            let found = group::unpack(&values).unwrap_or_else(|_| {
                let body = Body::Gap { to: slot.last, reason: GapReason::Damaged };
                vec![Entry { seq: slot.first, body, replayed: true }]
            });
            let wanted = found.into_iter().filter(|entry| entry.last() >= from);
            entries.extend(wanted.inspect(|entry| weight += entry.weight()));
        }
        Ok(StoreAnswer::Entries { entries, next: page.next() })
    }

    fn groups(&self, outlet: &str, from: u64) -> Result<Checked, InspectError> {
        let mut page = Pages::open(self, outlet, from)?;
        let mut checked = Checked::default();
        let mut bytes = 0;
        while bytes < PAGE_BYTES
            && let Some((slot, values)) = page.turn()?
        {
            bytes += values.iter().map(Vec::len).sum::<usize>();
            checked.count += 1;
            match unsound(&slot, &values) {
                None => checked.messages += u64::from(slot.messages),
                Some(cause) => {
                    let place = format!("{outlet}, numbers {} to {}", slot.first, slot.last);
                    checked.damage.push(Damage { place, cause });
                }
            }
        }
        checked.next = page.next();
        Ok(checked)
    }

    fn files(&self) -> Checked {
        let mut checked = Checked::default();
        let mut judge = |place: String, found: io::Result<bool>| {
            checked.count += 1;
            let cause = match found {
                Ok(true) => return,
                Ok(false) => "its checksum or its content is wrong".to_owned(),
                Err(error) => error.to_string(),
            };
            checked.damage.push(Damage { place, cause });
        };
        let path = |name: &str| self.dir.join(name).display().to_string();
        judge(path("numbers"), sound_or_none(numbers::peek(self.dir)));
        judge(path("presence"), sound_or_none(numbers::peek_presence(self.dir)));
        for number in self.dead.numbers() {
            judge(format!("dead letter {number}"), letter(self.dead, number).map(|letter| letter.is_some()));
        }
        checked
    }

    fn letters(&self, from: u64) -> Result<StoreAnswer, InspectError> {
        let mut letters = Vec::new();
        let mut bytes = 0;
        for number in self.dead.numbers().filter(|number| *number >= from) {
            if bytes >= PAGE_BYTES {
                return Ok(StoreAnswer::Letters { letters, next: Some(number) });
            }
            let letter = letter(self.dead, number);
            let letter =
                letter.map_err(|error| InspectError::Cause(format!("dead letter {number}: {error}")))?;
            bytes += letter.as_ref().map_or(0, |letter| letter.message.weight());
            letters.push((number, letter));
        }
        Ok(StoreAnswer::Letters { letters, next: None })
    }
}

/// The values of a group.
type Values = Vec<Vec<u8>>;

/// The groups of an outlet, one after the other.
struct Pages<'a> {
    hold: &'a dyn Groups,
    outlet: OutletId,
    next: u64,
}

impl<'a> Pages<'a> {
    fn open(sight: &Inspector<'a>, outlet: &str, from: u64) -> Result<Pages<'a>, InspectError> {
        let hold = sight.hold.clone().map_err(InspectError::Cause)?;
        let outlet = place(sight.outlets, outlet).map_err(InspectError::Cause)?;
        Ok(Pages { hold, outlet, next: from })
    }

    fn turn(&mut self) -> Result<Option<(GroupMeta, Values)>, Fault> {
        let Some(slot) = self.hold.shelves()[self.outlet].at_or_after(self.next) else { return Ok(None) };
        self.next = slot.last.saturating_add(1);
        Ok(Some((slot, self.hold.values(self.outlet, &slot)?)))
    }

    fn next(&self) -> Option<u64> {
        self.hold.shelves()[self.outlet].at_or_after(self.next).map(|slot| slot.first.max(self.next))
    }
}

/// Why a group is not what the index says, none if it is.
fn unsound(slot: &GroupMeta, values: &[Vec<u8>]) -> Option<String> {
    let entries = match group::unpack(values) {
        Ok(entries) => entries,
        Err(cause) => return Some(cause.to_string()),
    };
    let ends = entries.first().map(|entry| entry.seq).zip(entries.last().map(Entry::last));
    let messages = entries.iter().filter(|entry| matches!(entry.body, Body::Message(_))).count();
    let same = ends == Some((slot.first, slot.last)) && messages == slot.messages as usize;
    (!same).then(|| "its entries are not those of the index".to_owned())
}

fn letter(dead: &FileQueue, number: u64) -> io::Result<Option<DeadLetter>> {
    Ok(match dead.read(number)? {
        atomic_file::Found::Payload(payload) => cbor::read(&payload).ok(),
        atomic_file::Found::Nothing | atomic_file::Found::Damaged => None,
    })
}

/// A file that is missing is as good as a sound one: it is made when it is first needed.
fn sound_or_none<T>(read: io::Result<Option<T>>) -> io::Result<bool> {
    match read {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
        Err(error) => Err(error),
    }
}

fn set_aside(dir: &Path) -> Vec<(String, u64)> {
    let listing = fs::read_dir(dir).into_iter().flatten().flatten();
    let damaged = |name: &str| name.starts_with(leftovers::DAMAGED) || name.contains(".damaged-");
    let mut found: Vec<(String, u64)> = listing
        .map(|file| (file.file_name().to_string_lossy().into_owned(), file))
        .filter(|(name, _)| damaged(name))
        .map(|(name, file)| {
            let bytes = match file.metadata() {
                Ok(facts) if facts.is_file() => facts.len(),
                Ok(_) | Err(_) => space::used(&file.path()),
            };
            (name, bytes)
        })
        .collect();
    found.sort_unstable();
    found
}
