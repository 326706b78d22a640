//! What the store's thread does with an order: carries it out, opens the store anew when it has died, says how it stands.

mod names;
mod read_only;
mod waiting;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ids::OutletId;
use holdfast_core::message::{Body, Entry, Message};
use holdfast_core::observe::meter::{Count, Meter};
use holdfast_core::outlet::inspect::{Change, DeadLetter, StoreAnswer, StoreQuery};
use holdfast_core::outlet::lane;
use holdfast_core::outlet::sequence::{Span, spans};
use holdfast_core::outlet::store_protocol::{Held, Opened, Sequences, StoreFacts, StoreOrder, StoreReport};
use holdfast_core::time::Time;

use self::names::Files;
use self::read_only::ReadOnly;
use super::backend::Fault;
use super::file_queue::FileQueue;
use super::group::{self, Head};
use super::group_index::GroupIndex;
use super::look::{self, InspectError, Inspector};
use super::open_store::{Groups, Lost, OpenStore, Trouble};
use super::progress::{Progress, Tell};
use super::recovery::{Recovery, STORE};
use super::space::Free;
use super::syncs::Syncs;
use super::{Lock, Settings, numbers, space};
use crate::os::clock;

/// How long a removal may be flushed and not synced.
const SYNC_WITHIN: Duration = Duration::from_secs(1);
/// An empty store that takes more than this is replaced by a new one: its files never shrink.
const RENEW_ABOVE: u64 = 4 << 20;
/// Bounds of what is kept to be looked at.
const DEAD_BYTES_MAX: u64 = 2 << 20;
const DAMAGED_BYTES_MAX: u64 = 1 << 20;
const DEAD_MAGIC: [u8; 4] = *b"HFL\x01";
const DAMAGED_MAGIC: [u8; 4] = *b"HFD\x01";

/// The store, as its thread owns it.
pub struct Worker {
    dir: PathBuf,
    outlets: Vec<String>,
    /// Outlets that had numbers and have no place in this run.
    others: Vec<String>,
    /// What the store may hold, by outlet, while it is not open.
    spans: BTreeMap<String, Span>,
    progress: Progress,
    hold: Option<OpenStore>,
    dead: FileQueue,
    damaged: FileQueue,
    held: Vec<Held>,
    /// As they lay on the disk at the opening.
    numbers: Option<Sequences>,
    repairs: Vec<String>,
    disk_bytes: u64,
    free: Free,
    syncs: u64,
    wrote: Written,
    meter: Meter,
    sync_by: Option<Time>,
    /// When the names of the files are looked at next.
    look_at: Time,
    /// The log of a store that was closed because of a fault, as long as it is not open again.
    orphan: Option<File>,
    files: Files,
    waits: Syncs,
    reports: Vec<StoreReport>,
    /// Why the store is not open, if it cannot be written.
    read_only: Option<ReadOnly>,
    /// Keeps other agents out.
    lock: Lock,
}

/// Bytes written: what the kernel counts, or else our own sum.
struct Written {
    before: Option<u64>,
    own: u64,
}

impl Worker {
    /// Opens everything; on a full disk gives the ballast up first. Where the world does not let us, it goes on with what can be
    /// read. `waits` is what syncs for it, `progress` hears of what was done.
    pub fn open(settings: Settings, lock: Lock, waits: Syncs, progress: Progress) -> Result<Worker, Fault> {
        let Settings { dir, mut outlets } = settings;
        let mut repairs = Vec::new();
        let mut cause = lock.cause.clone();
        let numbers = readable(numbers::load(&dir, &mut repairs), &numbers::numbers_path(&dir), &mut cause);
        add_lanes(&mut outlets, numbers.as_ref());
        let spans = numbers.as_ref().map(spans).unwrap_or_default();
        let others = spans.keys().filter(|name| !outlets.contains(name)).cloned().collect();
        let (dead, damaged) = trays(&dir).unwrap_or_else(|fault| {
            cause.get_or_insert(fault.to_string());
            unseen_trays(&dir)
        });
        let meter = readable(numbers::load_meter(&dir, &mut repairs), &dir.join("meter"), &mut cause);
        let mut worker = Worker {
            held: vec![Held::default(); outlets.len()],
            wrote: Written { before: space::written(), own: 0 },
            meter: Meter::new(meter.as_deref(), clock::now().mono),
            hold: None,
            repairs,
            numbers,
            disk_bytes: 0,
            free: Free::default(),
            syncs: 0,
            sync_by: None,
            look_at: Time::default(),
            orphan: None,
            files: Files::default(),
            waits,
            reports: Vec::new(),
            read_only: None,
            lock,
            dir,
            outlets,
            others,
            spans,
            progress,
            dead,
            damaged,
        };
        let cause = match cause {
            Some(cause) => Some(cause),
            None => match worker.hold() {
                Ok(_) => None,
                Err(Fault::World(cause)) => Some(cause),
                Err(fault) => return Err(fault),
            },
        };
        if let Some(cause) = cause {
            worker.start_read_only(cause);
            worker.measure();
        }
        Ok(worker)
    }

    /// What the store knows after its opening, the small files included.
    pub fn opened(&mut self) -> io::Result<Opened> {
        let outlets = self.outlets.clone();
        let numbers = self.numbers.take();
        let known = |loaded: io::Result<Option<Vec<u8>>>| match loaded {
            Err(error) if self.read_only.is_some() => {
                log::warn!("cannot read the small files in {}: {error}", self.dir.display());
                Ok(None)
            }
            loaded => loaded,
        };
        let presence = known(numbers::load_presence(&self.dir, &mut self.repairs))?;
        let clocks = known(numbers::load_clocks(&self.dir, &mut self.repairs))?;
        let payload = numbers.as_ref().map(numbers::numbers_payload).transpose()?;
        self.files = Files { numbers: payload, presence: presence.clone(), clocks: clocks.clone() };
        let (facts, repairs) = (self.facts(), self.take_repairs());
        let left_behind = self.left_behind();
        Ok(Opened { outlets, numbers, given: None, presence, clocks, facts, repairs, left_behind })
    }

    /// Names of the outlets without a place that hold messages, as far as that can be seen.
    fn left_behind(&self) -> Vec<String> {
        let Some(database) = self.hold.as_ref().map(OpenStore::database) else { return Vec::new() };
        let is_group = |key: &[u8], value: &[u8]| {
            key != group::FLOOR_KEY && Head::check(value).is_ok_and(|head| head.messages > 0)
        };
        let holds = |name: &&String| database.has_unused(name, &is_group).unwrap_or_default();
        self.others.iter().filter(holds).cloned().collect()
    }

    /// The sentences about repairs since this was asked last.
    pub fn take_repairs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.repairs)
    }

    /// Tells another one of progress from here on.
    pub fn tell(&mut self, tell: Tell) {
        self.progress = Progress::to(tell);
    }

    /// Lets somebody look.
    pub fn look(&mut self, look: &StoreQuery) -> Result<StoreAnswer, String> {
        self.groups()?;
        let facts = self.facts();
        let Worker { dir, outlets, hold, dead, damaged, .. } = &*self;
        let open = hold.as_ref().map(|hold| hold as &dyn Groups);
        let open = open.or(self.view().map(|view| view as &dyn Groups));
        let hold = open.ok_or_else(|| "the store is closed".to_owned());
        let seen = Inspector { dir, outlets, hold, dead, damaged, facts }.look(look);
        seen.map_err(|blind| {
            if let InspectError::Fault(_) = blind {
                self.lose_for(&blind.to_string());
            }
            blind.to_string()
        })
    }

    /// Gives up what somebody wants to be given up. Tells how many messages, and what the agent must know.
    pub fn change(&mut self, change: &Change) -> Result<(u64, StoreReport), String> {
        let done = match change {
            Change::Purge { outlet } => {
                let outlet = look::place(&self.outlets, outlet)?;
                let (messages, gap): Lost = self.with(|hold| hold.purge(outlet))?;
                self.is_synced();
                (messages, StoreReport::Purged { outlet, messages, gap })
            }
            Change::DropLetter { number } => {
                let dropped = self.dead.remove(*number).map_err(|error| self.about("dead", &error))?;
                (u64::from(dropped), StoreReport::LetterDropped)
            }
        };
        self.measure();
        Ok(done)
    }

    /// Syncs and closes the database.
    pub fn close(&mut self) {
        if let Err(error) = self.keep_names() {
            log::warn!("{error}");
        }
        self.settle();
        for file in self.waits.end() {
            if let Err(error) = (file.write)(&self.dir, &file.payload) {
                log::warn!("{}", self.about(file.name, &error));
            }
        }
        self.save_meter_last();
        self.lose();
    }

    /// How the store stands.
    pub fn facts(&mut self) -> StoreFacts {
        // What is not safe yet is still in the agent's memory and must not count twice.
        if let Some(hold) = self.hold.as_ref().filter(|_| !self.waits.owes()) {
            self.held = held(hold);
        } else if let Some(view) = self.view() {
            self.held = held(view);
        }
        let written = self.count();
        StoreFacts {
            disk_bytes: self.disk_bytes,
            free_bytes: self.free.bytes,
            free_files: self.free.files,
            written_bytes: written.bytes,
            syncs: written.syncs,
            today: self.meter.today(),
            total: self.meter.total(),
            dead: self.dead.len(),
            damaged: self.damaged.added(),
            held: self.held.clone(),
            read_only: self.read_only.as_ref().map(|own| own.cause.clone()),
        }
    }

    /// What was written since the start, with the meter told of it.
    fn count(&mut self) -> Count {
        let syncs = self.syncs + self.hold.as_ref().map_or(0, OpenStore::syncs);
        let written = Count { bytes: self.wrote.bytes(), syncs };
        self.meter.count(clock::now(), written);
        written
    }

    /// Gives the report, unless it has to wait for the disk.
    fn attempt(&mut self, order: StoreOrder) -> Result<Option<StoreReport>, String> {
        let report = match order {
            StoreOrder::Append { parts } => {
                self.append(&parts)?;
                self.after_log(StoreReport::Appended)
            }
            StoreOrder::Read { outlet, from, falling, max_bytes, token } => {
                let batch = self.read(outlet, from, falling, max_bytes)?;
                self.keep_damaged(&batch.damaged);
                Some(StoreReport::Read { outlet, token, entries: batch.entries })
            }
            StoreOrder::Forget { parts } => Some(self.forget(&parts)?),
            StoreOrder::DropOldest { outlet, bytes } => {
                self.known(outlet)?;
                let (messages, gap) = self.with(|hold| hold.drop_oldest(outlet, bytes))?;
                self.after_log(StoreReport::Dropped { outlet, messages, gap })
            }
            StoreOrder::Expire { outlet, limit } => {
                self.known(outlet)?;
                let (messages, gap) = self.with(|hold| hold.expire(outlet, &limit))?;
                self.after_log(StoreReport::Expired { outlet, messages, gap })
            }
            StoreOrder::SetAside { outlet, seq, reason, message } => {
                let found = self.set_aside(outlet, seq, &reason, message)?;
                Some(StoreReport::SetAside { outlet, seq, found })
            }
            StoreOrder::SaveNumbers(numbers) => {
                let payload = numbers::numbers_payload(&numbers);
                let payload = payload.map_err(|error| self.about("numbers", &error))?;
                self.save("numbers", numbers::save, payload, Some(StoreReport::NumbersSaved))
            }
            StoreOrder::SavePresence(bytes) => {
                self.save("presence", numbers::save_presence, bytes, Some(StoreReport::PresenceSaved))
            }
            StoreOrder::SaveClocks(bytes) => {
                self.save("clocks", numbers::save_clocks, bytes, Some(StoreReport::ClocksSaved))
            }
            StoreOrder::Widen { outlets } => Some(self.widen(outlets)?),
            StoreOrder::Reopen => Some(self.reopen()?),
            StoreOrder::Measure => Some(StoreReport::Measured),
            StoreOrder::Close => Some(StoreReport::Closed),
        };
        self.measure();
        Ok(report)
    }

    fn append(&mut self, parts: &[(OutletId, Vec<Entry>)]) -> Result<(), String> {
        for (outlet, entries) in parts {
            self.known(*outlet)?;
            self.wrote.own += entries.iter().map(|entry| entry.weight() as u64).sum::<u64>();
        }
        // The held facts stay as they are until all of it is safe.
        self.facts();
        self.with(|hold| hold.append(parts))
    }

    fn forget(&mut self, parts: &[(OutletId, Vec<(u64, u64)>)]) -> Result<StoreReport, String> {
        for (outlet, _) in parts {
            self.known(*outlet)?;
        }
        if self.remember(parts) {
            return Ok(StoreReport::Forgot);
        }
        let renew = self.with(|hold| {
            hold.forget(parts)?;
            let empty = hold.shelves().iter().all(GroupIndex::is_empty);
            Ok(empty && !hold.database().others_hold_anything_but(&group::FLOOR_KEY)?)
        })?;
        if self.hold.as_ref().is_some_and(OpenStore::unsynced) && self.sync_by.is_none() {
            self.sync_by = Some(clock::now().mono + SYNC_WITHIN);
        }
        if renew && space::used(&self.dir.join(STORE)) > RENEW_ABOVE {
            self.renew();
        }
        Ok(StoreReport::Forgot)
    }

    /// Opens the store anew with more outlets: what lies on the disk of theirs is looked for as at the start of the agent.
    fn widen(&mut self, mut more: Vec<String>) -> Result<StoreReport, String> {
        more.retain(|name| !self.outlets.contains(name));
        let (before, had_view) = (self.outlets.len(), self.view().is_some());
        self.settle();
        self.lose();
        let (mut returning, others) =
            std::mem::take(&mut self.others).into_iter().partition::<Vec<_>, _>(|name| more.contains(name));
        self.others = others;
        self.outlets.append(&mut more);
        let opened = self.hold().map(|_| ()).map_err(|fault| fault.to_string());
        if opened.is_err() {
            self.outlets.truncate(before);
            self.others.append(&mut returning);
            if !had_view {
                // The view has a place for each of those that did not come.
                self.read_only = None;
                self.held.truncate(before);
            }
        }
        opened.map(|()| StoreReport::Widened)
    }

    fn renew(&mut self) {
        // Nothing is held, so nothing of it has to become safe.
        self.is_synced();
        self.lose();
        match self.recovery().renew() {
            Ok(hold) => self.hold = Some(hold),
            Err(fault) => log::warn!("{fault}"),
        }
        self.sync_by = None;
    }

    fn set_aside(
        &mut self,
        outlet: OutletId,
        seq: u64,
        reason: &str,
        message: Option<Arc<Message>>,
    ) -> Result<bool, String> {
        self.known(outlet)?;
        let is_in_store = message.is_none();
        let message = match message {
            Some(message) => message,
            None => match self.find(outlet, seq)? {
                Some(message) => message,
                None => return Ok(false),
            },
        };
        let set_aside_ns = clock::now().wall_ns;
        let (outlet, reason) = (self.outlets[outlet.0].clone(), reason.to_owned());
        let letter = DeadLetter { outlet, seq, reason, set_aside_ns, message };
        let payload = serde_cbor::to_vec(&letter).map_err(|error| error.to_string())?;
        self.wrote.own += payload.len() as u64;
        self.syncs += 1;
        match self.dead.add(&payload) {
            Err(_) if is_in_store && self.keep_letter(&payload) => Ok(true),
            added => added.map(|()| true).map_err(|error| self.about("dead", &error)),
        }
    }

    fn find(&mut self, outlet: OutletId, seq: u64) -> Result<Option<Arc<Message>>, String> {
        let batch = self.read(outlet, seq, false, 1)?;
        self.keep_damaged(&batch.damaged);
        let entry = batch.entries.into_iter().find(|entry| entry.seq == seq);
        Ok(entry.and_then(|entry| match entry.body {
            Body::Message(message) => Some(message),
            Body::Gap { .. } => None,
        }))
    }

    fn with<T>(&mut self, action: impl FnOnce(&mut OpenStore) -> Result<T, Trouble>) -> Result<T, String> {
        let hold = self.hold().map_err(|fault| fault.to_string())?;
        action(hold).map_err(|trouble| {
            if let Trouble::Fault(_) = trouble {
                self.lose_for(&trouble.to_string());
                space::drop_ballast(&self.dir);
                // The log is looked into at once, so that reads go on.
                let _ = self.hold();
            }
            trouble.to_string()
        })
    }

    /// The open store; opens it if it is not.
    fn hold(&mut self) -> Result<&mut OpenStore, Fault> {
        if self.hold.is_none() {
            self.keep_names().map_err(Fault::World)?;
        }
        if self.hold.is_none() {
            self.open_database()?;
        }
        Ok(self.hold.as_mut().expect("it was opened just before"))
    }

    fn open_database(&mut self) -> Result<(), Fault> {
        if let Some(cause) = self.is_closed() {
            return Err(Fault::World(cause));
        }
        let opened = self.recover().and_then(|mut hold| self.catch_up(&mut hold).map(|()| hold));
        if let Err(Fault::World(cause)) = &opened {
            self.turn_read_only(cause.clone());
        }
        self.hold = Some(opened?);
        self.read_only = None;
        self.orphan = None;
        self.repairs.iter().for_each(|repair| log::warn!("{repair}"));
        self.measure();
        Ok(())
    }

    /// Opens the database; on a full disk gives the ballast up for it.
    fn recover(&mut self) -> Result<OpenStore, Fault> {
        match self.recovery().open() {
            Err(Fault::World(_)) if space::drop_ballast(&self.dir) => self.recovery().open(),
            opened => opened,
        }
    }

    fn recovery(&mut self) -> Recovery<'_> {
        let Worker { dir, outlets, others, spans, damaged, repairs, progress, .. } = self;
        Recovery { dir, outlets, others, spans, damaged, repairs, progress }
    }

    /// Closes a store that is dead; its log may be all that is left of it.
    fn lose_to_fault(&mut self) {
        if let Some(log) = self.hold.as_ref().and_then(|hold| hold.database().log()) {
            self.orphan = log.try_clone().ok();
        }
        self.lose();
    }

    fn lose(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.syncs += hold.syncs();
            let held = held(&hold);
            self.spans.extend(self.outlets.iter().cloned().zip(held.iter().map(span)));
            if !self.waits.owes() {
                self.held = held;
            }
        }
    }

    fn keep_damaged(&mut self, values: &[Vec<u8>]) {
        if let Err(error) = self.damaged.add_all(values) {
            log::warn!("{}", self.about("damaged", &error));
        }
    }

    fn measure(&mut self) {
        // What was given up on a full disk must be there again before the next one.
        if self.is_ours() {
            space::make_ballast(&self.dir);
        }
        self.free = space::free(&self.dir);
        self.disk_bytes = space::used(&self.dir.join(STORE)) + self.dead.bytes() + self.damaged.bytes();
    }

    fn known(&self, outlet: OutletId) -> Result<(), String> {
        if outlet.0 < self.outlets.len() { Ok(()) } else { Err(format!("there is no outlet {outlet}")) }
    }

    fn about(&self, name: &str, error: &io::Error) -> String {
        format!("cannot write {}: {error}", self.dir.join(name).display())
    }
}

impl Written {
    fn bytes(&self) -> u64 {
        let kernel = self.before.and_then(|before| Some(space::written()?.saturating_sub(before)));
        kernel.unwrap_or(self.own)
    }
}

/// Adds the lanes of these outlets that were used before.
fn add_lanes(outlets: &mut Vec<String>, numbers: Option<&Sequences>) {
    for name in numbers.into_iter().flat_map(|numbers| numbers.outlets.keys()) {
        let (link, _) = lane::parse(name);
        if !outlets.contains(name) && outlets.iter().any(|known| known == link) {
            outlets.push(name.clone());
        }
    }
}

/// The dead letters and the damaged values.
pub fn trays(dir: &Path) -> Result<(FileQueue, FileQueue), Fault> {
    let tray = |name, magic, bytes_max| {
        let path = dir.join(name);
        let opened = FileQueue::open(path.clone(), magic, bytes_max);
        opened.map_err(|error| Fault::World(error.to_string()).context("read", &path))
    };
    let dead = tray("dead", DEAD_MAGIC, DEAD_BYTES_MAX)?;
    Ok((dead, tray("damaged", DAMAGED_MAGIC, DAMAGED_BYTES_MAX)?))
}

/// Exactly what an outlet held when the store was open.
fn span(held: &Held) -> Span {
    let (from, through) = held.range.unwrap_or((1, 0));
    Span { from, given: through, through }
}

/// The same where they cannot be looked at.
fn unseen_trays(dir: &Path) -> (FileQueue, FileQueue) {
    let dead = FileQueue::unseen(dir.join("dead"), DEAD_MAGIC, DEAD_BYTES_MAX);
    (dead, FileQueue::unseen(dir.join("damaged"), DAMAGED_MAGIC, DAMAGED_BYTES_MAX))
}

/// What was read, none if the world does not let us: then this is the first cause of what cannot be done.
fn readable<T>(read: io::Result<Option<T>>, path: &Path, cause: &mut Option<String>) -> Option<T> {
    read.unwrap_or_else(|error| {
        cause.get_or_insert(format!("cannot read {}: {error}", path.display()));
        None
    })
}

/// What each outlet holds.
pub fn held(groups: &dyn Groups) -> Vec<Held> {
    groups.shelves().iter().map(GroupIndex::held).collect()
}
