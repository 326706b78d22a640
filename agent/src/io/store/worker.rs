//! What the store's thread does with an order: carries it out, opens the store anew when it has died, says how it stands.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::backend::Fault;
use super::hold::{Hold, Trouble};
use super::recovery::{Recovery, STORE};
use super::shelf::Shelf;
use super::tray::Tray;
use super::{Settings, numbers, space};
use crate::io::clock;
use crate::logic::disk::{DiskFacts, DiskOrder, DiskReport, Held, Numbers};
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
    hold: Option<Hold>,
    dead: Tray,
    damaged: Tray,
    held: Vec<Held>,
    repairs: Vec<String>,
    disk_bytes: u64,
    free_bytes: Option<u64>,
    syncs: u64,
    wrote: Written,
    sync_by: Option<Time>,
    /// Keeps other agents out as long as it is open.
    _lock: File,
}

/// Bytes written: what the kernel counts, or else our own sum.
struct Written {
    before: Option<u64>,
    own: u64,
}

/// A refused message as it lies in the tray: CBOR with names, so that any tool can read it.
#[derive(Serialize)]
struct Letter<'a> {
    outlet: &'a str,
    seq: u64,
    reason: &'a str,
    set_aside_ns: u64,
    message: &'a Message,
}

impl Worker {
    /// Opens everything; on a full disk gives the ballast up first.
    pub fn open(settings: Settings, lock: File) -> Result<Worker, Fault> {
        let Settings { dir, outlets } = settings;
        let tray = |name, magic, bytes_max| {
            let path = dir.join(name);
            let opened = Tray::open(path.clone(), magic, bytes_max);
            opened.map_err(|error| Fault::World(error.to_string()).context("read", &path))
        };
        let dead = tray("dead", DEAD_MAGIC, DEAD_BYTES_MAX)?;
        let damaged = tray("damaged", DAMAGED_MAGIC, DAMAGED_BYTES_MAX)?;
        let mut worker = Worker {
            held: vec![Held::default(); outlets.len()],
            wrote: Written { before: space::written(), own: 0 },
            hold: None,
            repairs: Vec::new(),
            disk_bytes: 0,
            free_bytes: None,
            syncs: 0,
            sync_by: None,
            _lock: lock,
            dir,
            outlets,
            dead,
            damaged,
        };
        worker.hold()?;
        Ok(worker)
    }

    /// The numbers and the presence as they lie on the disk.
    pub fn small_files(&mut self) -> io::Result<(Option<Numbers>, Option<Vec<u8>>)> {
        let numbers = numbers::load(&self.dir, &mut self.repairs)?;
        Ok((numbers, numbers::load_presence(&self.dir, &mut self.repairs)?))
    }

    /// The sentences about repairs since this was asked last.
    pub fn take_repairs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.repairs)
    }

    /// Carries an order out. `Close` is the thread's own.
    pub fn carry_out(&mut self, order: DiskOrder) -> DiskReport {
        let (name, outlet) = label(&order);
        let report = self.attempt(order);
        report.unwrap_or_else(|error| DiskReport::Failed { order: name, outlet, error })
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

    /// Syncs and closes the database.
    pub fn close(&mut self) {
        self.settle();
        self.lose();
    }

    /// How the store stands.
    pub fn facts(&mut self) -> DiskFacts {
        if let Some(hold) = &self.hold {
            self.held = held(hold);
        }
        DiskFacts {
            disk_bytes: self.disk_bytes,
            free_bytes: self.free_bytes,
            written_bytes: self.wrote.bytes(),
            syncs: self.syncs + self.hold.as_ref().map_or(0, Hold::syncs),
            dead: self.dead.len(),
            damaged: self.damaged.added(),
            held: self.held.clone(),
        }
    }

    fn attempt(&mut self, order: DiskOrder) -> Result<DiskReport, String> {
        let report = match order {
            DiskOrder::Append { parts } => self.append(&parts)?,
            DiskOrder::Read { outlet, from, max_bytes, token } => {
                self.read(outlet, from, max_bytes, token)?
            }
            DiskOrder::Forget { outlet, through } => self.forget(outlet, through)?,
            DiskOrder::DropOldest { outlet, bytes } => {
                self.known(outlet)?;
                let (messages, gap) = self.with(|hold| hold.drop_oldest(outlet, bytes))?;
                DiskReport::Dropped { outlet, messages, gap }
            }
            DiskOrder::SetAside { outlet, seq, reason, message } => {
                DiskReport::SetAside { found: self.set_aside(outlet, seq, &reason, message)? }
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

    fn read(&mut self, outlet: usize, from: u64, max_bytes: usize, token: u64) -> Result<DiskReport, String> {
        self.known(outlet)?;
        let batch = self.with(|hold| hold.read(outlet, from, max_bytes))?;
        self.keep_damaged(&batch.damaged);
        Ok(DiskReport::Read { outlet, token, entries: batch.entries })
    }

    fn forget(&mut self, outlet: usize, through: u64) -> Result<DiskReport, String> {
        self.known(outlet)?;
        let renew = self.with(|hold| {
            hold.forget(outlet, through)?;
            let empty = hold.shelves().iter().all(Shelf::is_empty);
            Ok(empty && !hold.database().others_hold_anything()?)
        })?;
        if self.hold.as_ref().is_some_and(Hold::unsynced) && self.sync_by.is_none() {
            self.sync_by = Some(clock::now().mono + SYNC_WITHIN);
        }
        if renew && space::used(&self.dir.join(STORE)) > RENEW_ABOVE {
            self.renew();
        }
        Ok(DiskReport::Forgot { outlet })
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
        let letter = Letter { outlet: &self.outlets[outlet], seq, reason, set_aside_ns, message: &message };
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
        let Worker { dir, outlets, damaged, repairs, .. } = self;
        Recovery { dir, outlets, damaged, repairs }
    }

    fn lose(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.syncs += hold.syncs();
            self.held = held(&hold);
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
        self.free_bytes = space::free(&self.dir);
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

fn held(hold: &Hold) -> Vec<Held> {
    hold.shelves().iter().map(Shelf::held).collect()
}

/// The order's name and outlet for a report of its failure.
pub fn label(order: &DiskOrder) -> (&'static str, Option<usize>) {
    match order {
        DiskOrder::Append { .. } => ("append", None),
        DiskOrder::Read { outlet, .. } => ("read", Some(*outlet)),
        DiskOrder::Forget { outlet, .. } => ("forget", Some(*outlet)),
        DiskOrder::DropOldest { outlet, .. } => ("drop", Some(*outlet)),
        DiskOrder::SetAside { .. } => ("set aside", None),
        DiskOrder::SaveNumbers(_) => ("save numbers", None),
        DiskOrder::SavePresence(_) => ("save presence", None),
        DiskOrder::Measure => ("measure", None),
        DiskOrder::Close => ("close", None),
    }
}
