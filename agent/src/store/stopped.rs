//! A data directory that no agent uses: for tools, which either only read it, or open it as the agent does and change it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_core::outlet::inspect::{Change, Damage, StoreAnswer, StoreQuery};
use holdfast_core::outlet::sequence::spans;
use holdfast_core::outlet::store_protocol::{Held, StoreFacts};

use super::backend::{Database, Fault, LOG_FILE};
use super::file_queue::FileQueue;
use super::log_check::{self, Log, TornTail};
use super::look::Inspector;
use super::open_store::{Groups, OpenStore};
use super::progress::silent;
use super::recovery::STORE;
use super::syncs::Syncs;
use super::view::View;
use super::worker::{self, Worker};
use super::{Lock, OpenError, Settings, lock_unless_newer, numbers, salvage, scan, space};

/// The directory, kept from agents.
pub struct Stopped {
    dir: PathBuf,
    outlets: Vec<String>,
    lock: Lock,
}

/// The directory, open to be read: nothing in it is repaired, renamed or removed.
pub struct Reading {
    dir: PathBuf,
    outlets: Vec<String>,
    hold: Result<Box<dyn Groups>, String>,
    dead: FileQueue,
    damaged: FileQueue,
    damage: Vec<Damage>,
    _lock: Lock,
}

/// The directory, open as the agent opens it. Dropping it closes it.
pub struct Mended {
    worker: Worker,
    repairs: Vec<String>,
}

impl Stopped {
    /// Locks a directory. Its outlets are those that have numbers there and those that are configured.
    pub fn lock(dir: &Path, configured: &[String]) -> Result<Stopped, OpenError> {
        check_owner(dir).map_err(OpenError::Disk)?;
        if ![STORE, "numbers"].iter().any(|name| dir.join(name).exists()) {
            return Err(OpenError::Disk(format!("there is no store in {}", dir.display())));
        }
        let lock = lock_unless_newer(dir, configured, &silent())?;
        let known = numbers::peek(dir).ok().flatten().unwrap_or_default();
        let mut outlets: Vec<String> = known.outlets.into_keys().collect();
        outlets.extend(configured.iter().filter(|name| !outlets.contains(name)).cloned().collect::<Vec<_>>());
        Ok(Stopped { dir: dir.to_owned(), outlets, lock })
    }

    /// Opens it to be read.
    pub fn read(self) -> Result<Reading, String> {
        let Stopped { dir, outlets, lock } = self;
        let (dead, damaged) = worker::trays(&dir).map_err(|fault| fault.to_string())?;
        let mut damage = Vec::new();
        let hold = match open(&dir, &outlets, &mut damage) {
            Ok(hold) => Ok(Box::new(hold) as Box<dyn Groups>),
            Err(Fault::World(cause)) => {
                let spans = numbers::peek(&dir).ok().flatten().as_ref().map(spans).unwrap_or_default();
                let log = dir.join(STORE).join(LOG_FILE);
                let view = View::open(&log, &outlets, &spans, &silent());
                view.map(|view| Box::new(view) as Box<dyn Groups>).map_err(|_| cause)
            }
            Err(Fault::Damage(cause)) => {
                let place = dir.join(STORE).display().to_string();
                damage.push(Damage { place, cause: cause.clone() });
                Err(format!("{cause}; `holdfast buffer repair` repairs it, and so does a start of the agent"))
            }
        };
        Ok(Reading { dir, outlets, hold, dead, damaged, damage, _lock: lock })
    }

    /// Opens it as the agent does: what is damaged is repaired or set aside.
    pub fn mend(self) -> Result<Mended, String> {
        let Stopped { dir, outlets, lock } = self;
        let settings = Settings { dir: dir.clone(), outlets };
        let waits = Syncs::start(|_| ()).map_err(|error| error.to_string())?;
        let worker = Worker::open(settings, lock, waits, silent());
        let mut worker = worker.map_err(|fault| fault.to_string())?;
        let cannot = |error| format!("cannot read the small files in {}: {error}", dir.display());
        let repairs = worker.opened().map_err(cannot)?.repairs;
        Ok(Mended { worker, repairs })
    }
}

impl Reading {
    /// One look.
    pub fn look(&self, look: &StoreQuery) -> Result<StoreAnswer, String> {
        let hold = self.hold.as_deref().map_err(Clone::clone);
        let sight = Inspector {
            dir: &self.dir,
            outlets: &self.outlets,
            hold,
            dead: &self.dead,
            damaged: &self.damaged,
            facts: self.facts(),
        };
        sight.look(look).map_err(|blind| blind.to_string())
    }

    /// Damages that were found while it was opened.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Whether the groups can be looked at.
    pub fn is_readable(&self) -> bool {
        self.hold.is_ok()
    }

    fn facts(&self) -> StoreFacts {
        let held = match &self.hold {
            Ok(hold) => worker::held(hold.as_ref()),
            Err(_) => vec![Held::default(); self.outlets.len()],
        };
        let free = space::free(&self.dir);
        StoreFacts {
            disk_bytes: space::used(&self.dir.join(STORE)) + self.dead.bytes() + self.damaged.bytes(),
            free_bytes: free.bytes,
            free_files: free.files,
            dead: self.dead.len(),
            damaged: self.damaged.added(),
            held,
            ..StoreFacts::default()
        }
    }
}

impl Mended {
    /// Repairs, one sentence each; empty if nothing was damaged.
    pub fn repairs(&self) -> &[String] {
        &self.repairs
    }

    /// One look.
    pub fn look(&mut self, look: &StoreQuery) -> Result<StoreAnswer, String> {
        self.worker.look(look)
    }

    /// Gives something up. Tells how many messages.
    pub fn change(&mut self, change: &Change) -> Result<u64, String> {
        self.worker.change(change).map(|(messages, _)| messages)
    }
}

impl Drop for Mended {
    fn drop(&mut self) {
        self.worker.close();
    }
}

/// Opens the database if that changes nothing but sled's own notes: sled would wipe what follows a torn record.
fn open(dir: &Path, outlets: &[String], damage: &mut Vec<Damage>) -> Result<OpenStore, Fault> {
    let (store, log) = (dir.join(STORE), dir.join(STORE).join(LOG_FILE));
    // Whoever looks waits as long as it takes.
    let progress = silent();
    let tail =
        match log_check::look(&log, &progress).map_err(|error| Fault::from(error).context("read", &log))? {
            Log::Sound(tail) => tail,
            Log::DamagedAt(offset) => return Err(log_check::damage(&log, offset)),
        };
    let find_homeless = |log: &Path, outlets: &[&String]| salvage::find_homeless(log, outlets, &progress);
    let database = Database::open(&store, outlets, &[], &find_homeless);
    let mut hold = OpenStore::new(TornTail::restore_unless(tail.as_ref(), &log, database)?, outlets);
    damage.extend(scan::look(&mut hold, outlets)?);
    Ok(hold)
}

/// Files that another user makes here, the agent could not write.
fn check_owner(dir: &Path) -> Result<(), String> {
    let facts = fs::metadata(dir).map_err(|error| format!("cannot read {}: {error}", dir.display()))?;
    let (owner, user) = (facts.uid(), rustix::process::geteuid().as_raw());
    match owner == user {
        true => Ok(()),
        false => Err(format!(
            "{} belongs to user {owner}: run this as that user, as with sudo -u '#{owner}'",
            dir.display()
        )),
    }
}
