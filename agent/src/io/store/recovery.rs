//! The way to an open store, whatever lies on the disk: open it; else without sled's snapshot, if that shows all that is in
//! the log; else with what can be read from its log; else empty. What costs anything is told in a sentence.
//!
//! A full or failing disk is no damage: then nothing is changed and the opening fails.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::backend::{Database, Fault, LOG_FILE};
use super::frame;
use super::hold::Hold;
use super::salvage;
use super::scan;
use super::tear::{self, Log, Tail};
use super::tray::Tray;
use crate::io::clock;

/// The database's directory, below the data directory.
pub const STORE: &str = "store";

const NEW: &str = "store.new";
const OLD: &str = "store.old";
const MARKER: &str = "store.opening";
/// How the names of what was set aside begin.
pub const DAMAGED: &str = "store.damaged-";

/// How much is given up to get the store open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Plain,
    WithoutSnapshot,
    Salvage,
    Empty,
}

/// What recovery needs and what it tells.
pub struct Recovery<'a> {
    /// The data directory.
    pub dir: &'a Path,
    /// Names of the outlets.
    pub outlets: &'a [String],
    /// Takes damaged values.
    pub damaged: &'a mut Tray,
    /// Takes a sentence for each repair.
    pub repairs: &'a mut Vec<String>,
}

impl Recovery<'_> {
    /// Opens the store; climbs down as far as it must.
    pub fn open(&mut self) -> Result<Hold, Fault> {
        self.settle_leftovers().map_err(|error| self.world("settle", &error))?;
        let mut step = self.first_step().map_err(|error| self.world("mark the opening of", &error))?;
        let opened = loop {
            match self.take(step) {
                Err(Fault::Damage(cause)) if step < Step::Empty => {
                    log::warn!("the store does not open ({step:?}): {cause}");
                    step = step.next();
                }
                other => break other,
            }
        };
        let unmarked = fs::remove_file(self.dir.join(MARKER)).and_then(|()| frame::sync_dir(self.dir));
        unmarked.map_err(|error| self.world("unmark the opening of", &error))?;
        opened
    }

    /// Puts a new, empty database in the place of one that holds nothing. The old one must be closed.
    pub fn renew(&mut self) -> Result<Hold, Fault> {
        let moved = fs::rename(self.path(STORE), self.path(OLD));
        moved.map_err(|error| self.world("renew", &error))?;
        let hold = self.plain(STORE)?;
        let synced = frame::sync_dir(self.dir).and_then(|()| fs::remove_dir_all(self.path(OLD)));
        synced.map_err(|error| self.world("renew", &error))?;
        Ok(hold)
    }

    fn take(&mut self, step: Step) -> Result<Hold, Fault> {
        match step {
            Step::Plain => {
                let tail = self.look_for_tears()?;
                let opened = self.plain(STORE);
                Tail::restore_unless(tail, &self.log(), opened)
            }
            Step::WithoutSnapshot => {
                self.look_for_tears()?;
                self.without_snapshot()
            }
            Step::Salvage => self.salvage(),
            Step::Empty => {
                let aside = self.set_aside().map_err(|error| self.world("set aside", &error))?;
                self.repairs.push(format!("nothing could be read from the store; it lies in {aside} now"));
                self.plain(STORE)
            }
        }
    }

    fn plain(&mut self, name: &str) -> Result<Hold, Fault> {
        let database = Database::open(&self.path(name), self.outlets, &salvage::find_homeless)?;
        frame::sync_dir(self.dir).map_err(|error| self.world("sync", &error))?;
        let mut hold = Hold::new(database, self.outlets);
        let values = scan::scan(&mut hold, self.outlets)?;
        if !values.is_empty() {
            let count = values.len();
            let kept = self.damaged.add_all(&values);
            kept.map_err(|error| self.world("set aside values of", &error))?;
            self.repairs.push(format!("{count} damaged values of the store were replaced by gaps"));
        }
        hold.database().uncache();
        Ok(hold)
    }

    /// After a kill sled may find that its snapshot and its log do not fit, which its log alone makes good. Where the log has
    /// lost its end that looks the same, but then sled shows less than the log holds, and wipes the rest: it gets a copy.
    fn without_snapshot(&mut self) -> Result<Hold, Fault> {
        if !self.log().exists() {
            return self.plain(STORE);
        }
        let live = salvage::live(&self.log(), self.outlets)?;
        self.copy_log().map_err(|error| self.world("copy", &error))?;
        let hold = self.plain(NEW)?;
        for (shelf, live) in hold.shelves().iter().zip(live) {
            if let Some((first, last)) = shelf.find_missing(&live) {
                return Err(Fault::Damage(format!(
                    "numbers {first} to {last} are in its log and nowhere else"
                )));
            }
        }
        drop(hold);
        let moved = fs::rename(self.path(STORE), self.path(OLD));
        let moved = moved.and_then(|()| fs::rename(self.path(NEW), self.path(STORE)));
        let moved = moved.and_then(|()| frame::sync_dir(self.dir)).and_then(|()| remove(&self.path(OLD)));
        moved.map_err(|error| self.world("replace", &error))?;
        log::info!("the store was opened from its log alone; all of it is there");
        self.plain(STORE)
    }

    /// Makes a new store of everything but the snapshots.
    fn copy_log(&self) -> io::Result<()> {
        remove(&self.path(NEW))?;
        fs::create_dir(self.path(NEW))?;
        for file in fs::read_dir(self.path(STORE))? {
            let file = file?;
            if file.file_type()?.is_file() && !file.file_name().to_string_lossy().starts_with("snap.") {
                let copy = self.path(NEW).join(file.file_name());
                fs::copy(file.path(), &copy)?;
                fs::File::open(copy)?.sync_all()?;
            }
        }
        Ok(())
    }

    /// sled takes the first bad record of its log for the end of it and wipes what follows; so it must not see one.
    fn look_for_tears(&self) -> Result<Option<Tail>, Fault> {
        let path = self.log();
        match tear::look(&path) {
            Ok(Log::Sound(tail)) => Ok(tail),
            Ok(Log::DamagedAt(offset)) => Err(tear::damage(&path, offset)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Fault::from(error).context("read", &path)),
        }
    }

    fn salvage(&mut self) -> Result<Hold, Fault> {
        remove(&self.path(NEW)).map_err(|error| self.world("salvage", &error))?;
        let salvaged = salvage::salvage(&self.path(STORE), &self.path(NEW), self.outlets)?;
        let aside = self.set_aside().map_err(|error| self.world("set aside", &error))?;
        if self.path(NEW).exists() {
            let moved = fs::rename(self.path(NEW), self.path(STORE)).and_then(|()| frame::sync_dir(self.dir));
            moved.map_err(|error| self.world("salvage", &error))?;
        }
        let hold = self.plain(STORE)?;
        let salvage::Salvaged { values, lost } = salvaged;
        self.repairs.push(format!(
            "the store was damaged; {values} values were read from its log, {lost} groups are lost; it lies in {aside} now"
        ));
        Ok(hold)
    }

    /// Renames the store so that it can be looked at; only the newest such directory is kept.
    fn set_aside(&self) -> io::Result<String> {
        for file in fs::read_dir(self.dir)? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with(DAMAGED) {
                remove(&file.path())?;
            }
        }
        let name = format!("{DAMAGED}{}", clock::now().wall_ns / 1_000_000_000);
        if self.path(STORE).exists() {
            fs::rename(self.path(STORE), self.path(&name))?;
        }
        Ok(name)
    }

    /// Ends what a crash has interrupted, in `renew` or in `salvage`.
    fn settle_leftovers(&self) -> io::Result<()> {
        let (store, old, new) = (self.path(STORE), self.path(OLD), self.path(NEW));
        match store.exists() {
            true => {
                remove(&old)?;
                remove(&new)?;
            }
            false if new.exists() => fs::rename(&new, &store)?,
            false if old.exists() => fs::rename(&old, &store)?,
            false => {}
        }
        frame::sync_dir(self.dir)
    }

    /// Marks the opening on the disk. A marker that was left behind tells that the last opening ended the process.
    fn first_step(&self) -> io::Result<Step> {
        let path = self.dir.join(MARKER);
        let crashes: u32 =
            fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        fs::write(&path, (crashes + 1).to_string())?;
        fs::File::open(&path)?.sync_all()?;
        frame::sync_dir(self.dir)?;
        Ok(match crashes {
            0 | 1 => Step::Plain,
            2 => Step::WithoutSnapshot,
            // A flickering supply also ends openings, and a salvage loses nothing: it may try more than once.
            3..=5 => Step::Salvage,
            _ => Step::Empty,
        })
    }

    fn log(&self) -> PathBuf {
        self.path(STORE).join(LOG_FILE)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn world(&self, verb: &str, error: &io::Error) -> Fault {
        Fault::World(error.to_string()).context(verb, &self.path(STORE))
    }
}

impl Step {
    fn next(self) -> Step {
        match self {
            Step::Plain => Step::WithoutSnapshot,
            Step::WithoutSnapshot => Step::Salvage,
            Step::Salvage | Step::Empty => Step::Empty,
        }
    }
}

/// Removes a file or a directory that may not be there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
