//! What the store's thread does with an order: carries it out, opens the store anew when it has died, says how it stands.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::backend::Fault;
use super::group;
use super::hold::{Hold, Lost, Trouble};
use super::look::{self, Blind, Sight};
use super::progress::{Progress, Tell};
use super::recovery::{Recovery, STORE};
use super::shelf::Shelf;
use super::space::Free;
use super::tray::Tray;
use super::{Settings, numbers, space};
use crate::io::clock;
use crate::logic::disk::{DiskFacts, DiskOrder, DiskReport, Held, Numbers, Opened};
use crate::logic::lane;
use crate::logic::look::{Change, Letter, Look, Seen};
use crate::logic::meter::{Count, Meter};
use crate::logic::numbers::{Span, spans};
use crate::logic::time::Time;
use crate::message::{Body, Entry, Message};

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
    hold: Option<Hold>,
    dead: Tray,
    damaged: Tray,
    held: Vec<Held>,
    /// As they lay on the disk at the opening.
    numbers: Option<Numbers>,
    repairs: Vec<String>,
    disk_bytes: u64,
    free: Free,
    syncs: u64,
    wrote: Written,
    meter: Meter,
    sync_by: Option<Time>,
    /// Keeps other agents out as long as it is open.
    _lock: File,
}

/// Bytes written: what the kernel counts, or else our own sum.
struct Written {
    before: Option<u64>,
    own: u64,
}

impl Worker {
    /// Opens everything; on a full disk gives the ballast up first. `tell` hears of progress.
    pub fn open(settings: Settings, lock: File, tell: Tell) -> Result<Worker, Fault> {
        let Settings { dir, mut outlets } = settings;
        let mut repairs = Vec::new();
        let cannot_read =
            |error: io::Error, path: &Path| Fault::World(error.to_string()).context("read", path);
        let numbers = numbers::load(&dir, &mut repairs);
        let numbers = numbers.map_err(|error| cannot_read(error, &numbers::numbers_path(&dir)))?;
        add_lanes(&mut outlets, numbers.as_ref());
        let spans = numbers.as_ref().map(spans).unwrap_or_default();
        let others = spans.keys().filter(|name| !outlets.contains(name)).cloned().collect();
        let (dead, damaged) = trays(&dir)?;
        let meter = numbers::load_meter(&dir, &mut repairs);
        let meter = meter.map_err(|error| cannot_read(error, &dir.join("meter")))?;
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
            _lock: lock,
            dir,
            outlets,
            others,
            spans,
            progress: Progress::to(tell),
            dead,
            damaged,
        };
        worker.hold()?;
        Ok(worker)
    }

    /// What the store knows after its opening, the small files included.
    pub fn opened(&mut self) -> io::Result<Opened> {
        let outlets = self.outlets.clone();
        let numbers = self.numbers.take();
        let presence = numbers::load_presence(&self.dir, &mut self.repairs)?;
        let clocks = numbers::load_clocks(&self.dir, &mut self.repairs)?;
        Ok(Opened { outlets, numbers, presence, clocks, facts: self.facts(), repairs: self.take_repairs() })
    }

    /// The sentences about repairs since this was asked last.
    pub fn take_repairs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.repairs)
    }

    /// Tells another one of progress from here on.
    pub fn tell(&mut self, tell: Tell) {
        self.progress = Progress::to(tell);
    }

    /// Carries an order out. `Close` is the thread's own.
    pub fn carry_out(&mut self, order: DiskOrder) -> DiskReport {
        let (name, outlet) = label(&order);
        let report = self.attempt(order);
        self.save_meter(false);
        report.unwrap_or_else(|error| {
            self.measure();
            DiskReport::Failed { order: name, outlet, error }
        })
    }

    /// Lets somebody look.
    pub fn look(&mut self, look: &Look) -> Result<Seen, String> {
        self.hold().map_err(|fault| fault.to_string())?;
        let facts = self.facts();
        let Worker { dir, outlets, hold, dead, damaged, .. } = &*self;
        let hold = hold.as_ref().ok_or_else(|| "the store is closed".to_owned());
        let seen = Sight { dir, outlets, hold, dead, damaged, facts }.look(look);
        seen.map_err(|blind| {
            if let Blind::Fault(_) = blind {
                self.lose();
            }
            blind.to_string()
        })
    }

    /// Gives up what somebody wants to be given up. Tells how many messages, and what the agent must know.
    pub fn change(&mut self, change: &Change) -> Result<(u64, DiskReport), String> {
        let done = match change {
            Change::Purge { outlet } => {
                let outlet = look::place(&self.outlets, outlet)?;
                let (messages, gap): Lost = self.with(|hold| hold.purge(outlet))?;
                (messages, DiskReport::Purged { outlet, messages, gap })
            }
            Change::DropLetter { number } => {
                let dropped = self.dead.remove(*number).map_err(|error| self.about("dead", &error))?;
                (u64::from(dropped), DiskReport::Measured)
            }
        };
        self.measure();
        Ok(done)
    }

    /// When something flushed must be synced.
    pub fn sync_by(&self) -> Option<Time> {
        self.sync_by
    }

    /// Syncs what was only flushed.
    pub fn settle(&mut self) {
        if self.hold.as_ref().is_some_and(Hold::unsynced)
            && let Err(error) = self.with(|hold| Ok(hold.commit()?))
        {
            log::warn!("{error}");
        }
        self.sync_by = None;
    }

    /// Syncs what was only flushed if it is time, for a thread that looks keep awake.
    pub fn settle_in_time(&mut self) {
        if self.sync_by.is_some_and(|time| time <= clock::now().mono) {
            self.settle();
        }
    }

    /// Syncs and closes the database.
    pub fn close(&mut self) {
        self.settle();
        self.save_meter(true);
        self.lose();
    }

    /// How the store stands.
    pub fn facts(&mut self) -> DiskFacts {
        if let Some(hold) = &self.hold {
            self.held = held(hold);
        }
        let written = self.count();
        DiskFacts {
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
        }
    }

    /// What was written since the start, with the meter told of it.
    fn count(&mut self) -> Count {
        let syncs = self.syncs + self.hold.as_ref().map_or(0, Hold::syncs);
        let written = Count { bytes: self.wrote.bytes(), syncs };
        self.meter.count(clock::now(), written);
        written
    }

    /// Writes the meter's file if it is due.
    fn save_meter(&mut self, is_end: bool) {
        self.count();
        let now = clock::now().mono;
        if !self.meter.is_due(now, is_end) {
            return;
        }
        let file = self.meter.file(now);
        match self.save(|dir| numbers::save_meter(dir, &file)) {
            Ok(()) => {
                self.count();
                self.meter.saved();
            }
            Err(error) => log::warn!("{}", self.about("meter", &error)),
        }
    }

    fn attempt(&mut self, order: DiskOrder) -> Result<DiskReport, String> {
        let report = match order {
            DiskOrder::Append { parts } => self.append(&parts)?,
            DiskOrder::Read { outlet, from, falling, max_bytes, token } => {
                self.known(outlet)?;
                let batch = self.with(|hold| match falling {
                    false => hold.read(outlet, from, max_bytes),
                    true => hold.read_down(outlet, from, max_bytes),
                })?;
                self.keep_damaged(&batch.damaged);
                DiskReport::Read { outlet, token, entries: batch.entries }
            }
            DiskOrder::Forget { outlet, ranges } => self.forget(outlet, &ranges)?,
            DiskOrder::DropOldest { outlet, bytes } => {
                self.known(outlet)?;
                let (messages, gap) = self.with(|hold| hold.drop_oldest(outlet, bytes))?;
                DiskReport::Dropped { outlet, messages, gap }
            }
            DiskOrder::Expire { outlet, limit } => {
                self.known(outlet)?;
                let (messages, gap) = self.with(|hold| hold.expire(outlet, &limit))?;
                DiskReport::Expired { outlet, messages, gap }
            }
            DiskOrder::SetAside { outlet, seq, reason, message } => {
                DiskReport::SetAside { outlet, seq, found: self.set_aside(outlet, seq, &reason, message)? }
            }
            DiskOrder::SaveNumbers(numbers) => {
                self.save(|dir| numbers::save(dir, &numbers))
                    .map_err(|error| self.about("numbers", &error))?;
                DiskReport::NumbersSaved
            }
            DiskOrder::SavePresence(bytes) => {
                let saved = self.save(|dir| numbers::save_presence(dir, &bytes));
                saved.map_err(|error| self.about("presence", &error))?;
                DiskReport::PresenceSaved
            }
            DiskOrder::SaveClocks(bytes) => {
                let saved = self.save(|dir| numbers::save_clocks(dir, &bytes));
                saved.map_err(|error| self.about("clocks", &error))?;
                DiskReport::ClocksSaved
            }
            DiskOrder::Widen { outlets } => self.widen(outlets)?,
            DiskOrder::Measure => DiskReport::Measured,
            DiskOrder::Close => DiskReport::Closed,
        };
        self.measure();
        Ok(report)
    }

    fn append(&mut self, parts: &[(usize, Vec<Entry>)]) -> Result<DiskReport, String> {
        for (outlet, entries) in parts {
            self.known(*outlet)?;
            self.wrote.own += entries.iter().map(|entry| entry.weight() as u64).sum::<u64>();
        }
        self.with(|hold| hold.append(parts))?;
        self.sync_by = None;
        Ok(DiskReport::Appended)
    }

    fn forget(&mut self, outlet: usize, ranges: &[(u64, u64)]) -> Result<DiskReport, String> {
        self.known(outlet)?;
        let renew = self.with(|hold| {
            hold.forget(outlet, ranges)?;
            let empty = hold.shelves().iter().all(Shelf::is_empty);
            Ok(empty && !hold.database().others_hold_anything_but(&group::FLOOR_KEY)?)
        })?;
        if self.hold.as_ref().is_some_and(Hold::unsynced) && self.sync_by.is_none() {
            self.sync_by = Some(clock::now().mono + SYNC_WITHIN);
        }
        if renew && space::used(&self.dir.join(STORE)) > RENEW_ABOVE {
            self.renew();
        }
        Ok(DiskReport::Forgot { outlet })
    }

    /// Opens the store anew with more outlets: what lies on the disk of theirs is looked for as at the start of the agent.
    fn widen(&mut self, mut more: Vec<String>) -> Result<DiskReport, String> {
        more.retain(|name| !self.outlets.contains(name));
        let before = self.outlets.len();
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
        }
        opened.map(|()| DiskReport::Widened)
    }

    fn renew(&mut self) {
        self.lose();
        match self.recovery().renew() {
            Ok(hold) => self.hold = Some(hold),
            Err(fault) => log::warn!("{fault}"),
        }
        self.sync_by = None;
    }

    fn set_aside(
        &mut self,
        outlet: usize,
        seq: u64,
        reason: &str,
        message: Option<Arc<Message>>,
    ) -> Result<bool, String> {
        self.known(outlet)?;
        let message = match message {
            Some(message) => message,
            None => match self.find(outlet, seq)? {
                Some(message) => message,
                None => return Ok(false),
            },
        };
        let set_aside_ns = clock::now().wall_ns;
        let (outlet, reason) = (self.outlets[outlet].clone(), reason.to_owned());
        let letter = Letter { outlet, seq, reason, set_aside_ns, message };
        let payload = serde_cbor::to_vec(&letter).map_err(|error| error.to_string())?;
        self.wrote.own += payload.len() as u64;
        self.syncs += 1;
        self.dead.add(&payload).map_err(|error| self.about("dead", &error))?;
        Ok(true)
    }

    fn find(&mut self, outlet: usize, seq: u64) -> Result<Option<Arc<Message>>, String> {
        let batch = self.with(|hold| hold.read(outlet, seq, 1))?;
        self.keep_damaged(&batch.damaged);
        let entry = batch.entries.into_iter().find(|entry| entry.seq == seq);
        Ok(entry.and_then(|entry| match entry.body {
            Body::Message(message) => Some(message),
            Body::Gap { .. } => None,
        }))
    }

    /// Writes a small file; a full disk gives the ballast up for it.
    fn save(&mut self, write: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        self.syncs += 1;
        write(&self.dir).or_else(|error| match space::drop_ballast(&self.dir) {
            true => write(&self.dir),
            false => Err(error),
        })
    }

    fn with<T>(&mut self, action: impl FnOnce(&mut Hold) -> Result<T, Trouble>) -> Result<T, String> {
        let hold = self.hold().map_err(|fault| fault.to_string())?;
        action(hold).map_err(|trouble| {
            if let Trouble::Fault(_) = trouble {
                self.lose();
                space::drop_ballast(&self.dir);
            }
            trouble.to_string()
        })
    }

    /// The open store; opens it if it is not.
    fn hold(&mut self) -> Result<&mut Hold, Fault> {
        if self.hold.is_none() {
            let opened = self.recovery().open();
            let opened = match opened {
                Err(Fault::World(_)) if space::drop_ballast(&self.dir) => self.recovery().open(),
                other => other,
            };
            self.hold = Some(opened?);
            self.repairs.iter().for_each(|repair| log::warn!("{repair}"));
            self.measure();
        }
        Ok(self.hold.as_mut().expect("it was opened just before"))
    }

    fn recovery(&mut self) -> Recovery<'_> {
        let Worker { dir, outlets, others, spans, damaged, repairs, progress, .. } = self;
        Recovery { dir, outlets, others, spans, damaged, repairs, progress }
    }

    fn lose(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.syncs += hold.syncs();
            self.held = held(&hold);
            self.spans.extend(self.outlets.iter().cloned().zip(self.held.iter().map(span)));
        }
    }

    fn keep_damaged(&mut self, values: &[Vec<u8>]) {
        if let Err(error) = self.damaged.add_all(values) {
            log::warn!("{}", self.about("damaged", &error));
        }
    }

    fn measure(&mut self) {
        // What was given up on a full disk must be there again before the next one.
        space::make_ballast(&self.dir);
        self.free = space::free(&self.dir);
        self.disk_bytes = space::used(&self.dir.join(STORE)) + self.dead.bytes() + self.damaged.bytes();
    }

    fn known(&self, outlet: usize) -> Result<(), String> {
        if outlet < self.outlets.len() { Ok(()) } else { Err(format!("there is no outlet {outlet}")) }
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
fn add_lanes(outlets: &mut Vec<String>, numbers: Option<&Numbers>) {
    for name in numbers.into_iter().flat_map(|numbers| numbers.outlets.keys()) {
        let (link, _) = lane::parse(name);
        if !outlets.contains(name) && outlets.iter().any(|known| known == link) {
            outlets.push(name.clone());
        }
    }
}

/// The dead letters and the damaged values.
pub fn trays(dir: &Path) -> Result<(Tray, Tray), Fault> {
    let tray = |name, magic, bytes_max| {
        let path = dir.join(name);
        let opened = Tray::open(path.clone(), magic, bytes_max);
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

/// What each outlet holds.
pub fn held(hold: &Hold) -> Vec<Held> {
    hold.shelves().iter().map(Shelf::held).collect()
}

/// The order's name and outlet for a report of its failure.
pub fn label(order: &DiskOrder) -> (&'static str, Option<usize>) {
    match order {
        DiskOrder::Append { .. } => ("append", None),
        DiskOrder::Read { outlet, .. } => ("read", Some(*outlet)),
        DiskOrder::Forget { outlet, .. } => ("forget", Some(*outlet)),
        DiskOrder::DropOldest { outlet, .. } => ("drop", Some(*outlet)),
        DiskOrder::Expire { outlet, .. } => ("expire", Some(*outlet)),
        DiskOrder::SetAside { .. } => ("set aside", None),
        DiskOrder::SaveNumbers(_) => ("save numbers", None),
        DiskOrder::SavePresence(_) => ("save presence", None),
        DiskOrder::SaveClocks(_) => ("save clocks", None),
        DiskOrder::Widen { .. } => ("widen", None),
        DiskOrder::Measure => ("measure", None),
        DiskOrder::Close => ("close", None),
    }
}
