//! The way to an open store, whatever lies on the disk: open it; else without sled's snapshot, if that shows all that is in
//! the log; else with what can be read from its log, and gaps for the rest. What costs anything is told in a sentence.
//!
//! An opening that was cut off is no sign of damage, however often: after some of them every other one takes a way that needs
//! less of sled, and loses nothing. A full or failing disk is no damage either: then nothing is changed and the opening fails.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use holdfast_core::outlet::sequence::Span;

use super::atomic_file;
use super::backend::{Database, Fault, LOG_FILE};
use super::file_queue::FileQueue;
use super::leftovers::{self, Marker};
use super::log_check::{self, Log, TornTail};
use super::open_store::OpenStore;
use super::progress::Progress;
use super::salvage::{self, Plan};
use super::scan;
use super::space;
use crate::os::private;

/// The database's directory, below the data directory.
pub const STORE: &str = "store";

/// A database that is whole and takes the place of the store.
pub(super) const NEW: &str = "store.new";
/// A database that has given its place up and is needed no more once there is another.
pub(super) const OLD: &str = "store.old";
/// A copy of the store without its snapshots, never used again after an interruption.
pub(super) const COPY: &str = "store.copy";
/// A database that is made of what a log holds; an interruption is gone on from.
pub(super) const REBUILD: &str = "store.rebuild";
/// Bytes that are copied between two signs of progress.
const CHUNK: u64 = 1 << 20;
/// A rebuild that was cut off is gone on from, but for one in so many openings: it may be what ends the process.
const BEGIN_AGAIN_EACH: u32 = 32;
/// With less than this free, a repair that fails may have failed for want of room.
const ROOM: u64 = 8 << 20;
/// Lost ranges in a sentence about a repair.
const GAPS_SHOWN: usize = 8;

/// The ways to open a store that openings before this one did not get open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Plain,
    WithoutSnapshot,
    /// Made anew of everything that its log holds.
    Remake,
}

/// Needs and news of a recovery.
pub struct Recovery<'a> {
    /// The data directory.
    pub dir: &'a Path,
    /// Names of the outlets.
    pub outlets: &'a [String],
    /// Names of outlets that are not used and may have values in the store.
    pub others: &'a [String],
    /// Numbers that the store may hold, by outlet.
    pub spans: &'a BTreeMap<String, Span>,
    /// Takes damaged values.
    pub damaged: &'a mut FileQueue,
    /// Takes a sentence for each repair.
    pub repairs: &'a mut Vec<String>,
    /// Hears of progress.
    pub progress: &'a Progress,
}

impl Recovery<'_> {
    /// Opens the store.
    pub fn open(&mut self) -> Result<OpenStore, Fault> {
        leftovers::settle(self.dir).map_err(|error| self.world("settle", &error))?;
        let marked = Marker::begin(self.dir);
        let mut marker = marked.map_err(|error| self.world("mark the opening of", &error))?;
        let untold: Vec<String> =
            marker.repairs().filter(|told| !self.repairs.contains(told)).cloned().collect();
        self.repairs.extend(untold);
        let opened = match Step::after(marker.interrupted()) {
            _ if self.is_gone() => self.salvage(&mut marker),
            Step::Plain => self.climb_down(&mut marker),
            _ if !self.log().exists() => self.climb_down(&mut marker),
            careful => self.careful(careful, &mut marker),
        };
        match &opened {
            Ok(_) => self.clear_up().unwrap_or_else(|fault| log::warn!("{fault}")),
            // Another opening tells what this one did.
            Err(_) if marker.repairs().next().is_some() => return opened,
            Err(_) => {}
        }
        let unmarked = marker.end(self.dir);
        unmarked.map_err(|error| self.world("unmark the opening of", &error))?;
        opened
    }

    /// Puts a new, empty database in the place of one that holds nothing. The old one must be closed.
    pub fn renew(&mut self) -> Result<OpenStore, Fault> {
        let moved = fs::rename(self.path(STORE), self.path(OLD));
        moved.map_err(|error| self.world("renew", &error))?;
        let hold = self.plain(STORE)?;
        let synced = atomic_file::sync_dir(self.dir).and_then(|()| fs::remove_dir_all(self.path(OLD)));
        synced.map_err(|error| self.world("renew", &error))?;
        Ok(hold)
    }

    /// Makes a store of what a log holds whose file was removed while it was open. What is left beside it is no store.
    pub fn rescue(&mut self, log: &Path) -> Result<OpenStore, Fault> {
        let marked = leftovers::settle(self.dir).and_then(|()| Marker::begin(self.dir));
        let marker = marked.map_err(|error| self.world("mark the opening of", &error))?;
        let mut plan = Plan::whole(log, &self.names(), self.progress)?;
        self.build(&mut plan, &marker)?;
        let moved =
            leftovers::remove(&self.path(STORE)).and_then(|()| fs::rename(self.path(NEW), self.path(STORE)));
        let moved = moved.and_then(|()| atomic_file::sync_dir(self.dir)).and_then(|()| marker.end(self.dir));
        moved.map_err(|error| self.world("put in its place", &error))?;
        self.plain(STORE)
    }

    /// Gives up as much as must be, for what was seen on the way.
    fn climb_down(&mut self, marker: &mut Marker) -> Result<OpenStore, Fault> {
        let cause = match self.verified() {
            Err(Fault::Damage(cause)) => cause,
            other => return other,
        };
        log::warn!("the store does not open: {cause}");
        let cause = match self.without_snapshot() {
            Err(Fault::Damage(cause)) => cause,
            Ok(None) => "its log holds more than it shows".to_owned(),
            Ok(Some(hold)) => return Ok(hold),
            Err(fault) => return Err(fault),
        };
        log::warn!("the store does not open without its snapshot: {cause}");
        self.salvage(marker)
    }

    /// Openings before this one were cut off: takes a way that needs less of what sled has left, and nothing is given up for it
    /// unless the log itself is damaged. Where there is no room for it the plain way is tried all the same.
    fn careful(&mut self, step: Step, marker: &mut Marker) -> Result<OpenStore, Fault> {
        let count = marker.interrupted();
        log::warn!("{count} openings of the store were cut off; it is opened with care ({step:?})");
        let opened = match self.look_for_tears() {
            Err(fault) => Err(fault),
            Ok(_) if step == Step::WithoutSnapshot => match self.without_snapshot() {
                Ok(None) => self.remake(marker),
                Ok(Some(hold)) => Ok(hold),
                Err(fault) => Err(fault),
            },
            Ok(_) => self.remake(marker),
        };
        match opened {
            Ok(hold) => Ok(hold),
            Err(Fault::Damage(cause)) => {
                log::warn!("the store does not open: {cause}");
                self.salvage(marker)
            }
            Err(Fault::World(cause)) => {
                log::warn!("the store cannot be opened with care: {cause}");
                self.clear_up()?;
                self.climb_down(marker)
            }
        }
    }

    /// Opens it if its log is sound.
    fn verified(&mut self) -> Result<OpenStore, Fault> {
        let tail = self.look_for_tears()?;
        let opened = self.plain(STORE);
        let opened = TornTail::restore_unless(tail.as_ref(), &self.log(), opened)?;
        match tail {
            Some(tail) => self.with_end(opened, tail.given_up()),
            None => Ok(opened),
        }
    }

    /// Puts back what lies whole in the end of the log that sled has given up.
    fn with_end(&mut self, mut hold: OpenStore, given_up: &[u8]) -> Result<OpenStore, Fault> {
        let count = salvage::put_back(given_up, &mut hold, self.outlets, self.spans)?;
        if count == 0 {
            return Ok(hold);
        }
        drop(hold);
        log::info!("{count} groups at the end of the log of the store were put back");
        self.plain(STORE)
    }

    fn plain(&mut self, name: &str) -> Result<OpenStore, Fault> {
        self.open_for(name, self.outlets, self.others)
    }

    fn open_for(&mut self, name: &str, outlets: &[String], others: &[String]) -> Result<OpenStore, Fault> {
        let (path, progress) = (self.path(name), self.progress);
        // sled gives no sign while it reads its log.
        progress.ahead(path.join(LOG_FILE).metadata().map_or(0, |facts| facts.len()));
        let find_homeless = |log: &Path, outlets: &[&String]| salvage::find_homeless(log, outlets, progress);
        let database = Database::open(&path, outlets, others, &find_homeless)?;
        atomic_file::sync_dir(self.dir).map_err(|error| self.world("sync", &error))?;
        let mut hold = OpenStore::new(database, outlets);
        let values = scan::scan(&mut hold, outlets, progress)?;
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
    /// lost its end that looks the same, but then sled shows less than the log holds, and wipes the rest: it gets a copy. None
    /// if it does show less.
    fn without_snapshot(&mut self) -> Result<Option<OpenStore>, Fault> {
        self.look_for_tears()?;
        if !self.log().exists() {
            return self.plain(STORE).map(Some);
        }
        let names = self.names();
        let plan = Plan::whole(&self.log(), &names, self.progress)?;
        self.copy_log().map_err(|error| self.world("copy", &error))?;
        let hold = self.open_for(COPY, &names, &[])?;
        if let Some((first, last)) = plan.find_missing(&hold) {
            log::warn!("numbers {first} to {last} are in the log of the store and nowhere else");
            return Ok(None);
        }
        drop(hold);
        self.rename(COPY, NEW)?;
        self.replace()?;
        log::info!("the store was opened without its snapshot; all of it is there");
        self.plain(STORE).map(Some)
    }

    /// Makes a new store of everything but the snapshots.
    fn copy_log(&self) -> io::Result<()> {
        leftovers::remove(&self.path(COPY))?;
        private::create_dir_all(&self.path(COPY))?;
        for file in fs::read_dir(self.path(STORE))? {
            let file = file?;
            if file.file_type()?.is_file() && !file.file_name().to_string_lossy().starts_with("snap.") {
                let (mut from, to) = (File::open(file.path())?, self.path(COPY).join(file.file_name()));
                let mut to = private::create(&to)?;
                while io::copy(&mut from.by_ref().take(CHUNK), &mut to)? > 0 {
                    self.progress.made();
                }
                to.sync_all()?;
            }
        }
        Ok(())
    }

    /// Makes the store anew of what its log holds, which is sound.
    fn remake(&mut self, marker: &mut Marker) -> Result<OpenStore, Fault> {
        let mut plan = Plan::whole(&self.log(), &self.names(), self.progress)?;
        self.build(&mut plan, marker)?;
        if plan.strangers() > 0 {
            self.set_aside(&plan, "the store was made anew of its log", marker)?;
        } else {
            self.replace()?;
        }
        log::info!("the store was made anew of its log; all of it is there");
        self.plain(STORE)
    }

    /// Makes the store anew of what is left in its log, with gaps for the rest of what it may have held.
    fn salvage(&mut self, marker: &mut Marker) -> Result<OpenStore, Fault> {
        self.give_up(COPY)?;
        let what = if self.path(STORE).exists() { "the store was damaged" } else { "the store is gone" };
        let mut plan = Plan::rest(&self.log(), &self.names(), self.spans, self.progress)?;
        self.build(&mut plan, marker)?;
        let gaps: Vec<String> = plan.gaps().map(told).collect();
        let records: Vec<Vec<u8>> = gaps.iter().map(|gap| gap.clone().into_bytes()).collect();
        let counted = self.damaged.add_all(&records);
        counted.map_err(|error| self.world("count what is lost of", &error))?;
        self.set_aside(&plan, what, marker)?;
        self.plain(STORE)
    }

    /// Makes the database that takes the place of the store. Whatever goes wrong with it is no fault of what it is made of.
    fn build(&mut self, plan: &mut Plan, marker: &Marker) -> Result<(), Fault> {
        if marker.interrupted() % BEGIN_AGAIN_EACH == BEGIN_AGAIN_EACH - 1 {
            self.give_up(REBUILD)?;
        }
        loop {
            let built = self.try_to_build(plan);
            let Err(fault) = built else { return Ok(()) };
            match self.make_room()? {
                Some(gone) => self.repairs.push(format!("{gone} was removed to make room for a repair")),
                None => return Err(Fault::World(fault.to_string())),
            }
        }
    }

    fn try_to_build(&mut self, plan: &mut Plan) -> Result<(), Fault> {
        let (path, names) = (self.path(REBUILD), self.names());
        // A rest of an interruption may be torn itself.
        if !matches!(log_check::look(&path.join(LOG_FILE), self.progress), Ok(Log::Sound(None))) {
            self.give_up(REBUILD)?;
        }
        match plan.write(&path, self.progress) {
            Err(Fault::Damage(cause)) => {
                log::warn!("a repair of the store begins again: {cause}");
                self.give_up(REBUILD)?;
                plan.write(&path, self.progress)?;
            }
            written => written?,
        }
        let hold = self.open_for(REBUILD, &names, &[])?;
        if let Some((first, last)) = plan.find_missing(&hold) {
            drop(hold);
            self.give_up(REBUILD)?;
            return Err(Fault::World(format!("numbers {first} to {last} are not in a repaired store")));
        }
        drop(hold);
        self.rename(REBUILD, NEW)
    }

    /// Removes what did not become the store.
    fn clear_up(&self) -> Result<(), Fault> {
        self.give_up(COPY)?;
        self.give_up(REBUILD)
    }

    fn give_up(&self, name: &str) -> Result<(), Fault> {
        let removed = leftovers::remove(&self.path(name));
        removed.map_err(|error| self.world("clear up beside", &error))
    }

    /// On a full disk gives up the oldest of what was set aside: what it holds was told to be lost.
    fn make_room(&self) -> Result<Option<String>, Fault> {
        if space::free(self.dir).bytes.is_none_or(|free| free >= ROOM) {
            return Ok(None);
        }
        leftovers::remove_oldest(self.dir).map_err(|error| self.world("make room for", &error))
    }

    /// Puts the new database in the place of a store of which it has everything.
    fn replace(&self) -> Result<(), Fault> {
        let moved = fs::rename(self.path(STORE), self.path(OLD));
        let moved = moved.and_then(|()| fs::rename(self.path(NEW), self.path(STORE)));
        let moved = moved.and_then(|()| atomic_file::sync_dir(self.dir));
        let moved = moved.and_then(|()| leftovers::remove(&self.path(OLD)));
        moved.map_err(|error| self.world("replace", &error))
    }

    /// Puts the new database in the place of a store that may still be looked at, and tells what that was for.
    fn set_aside(&mut self, plan: &Plan, what: &str, marker: &mut Marker) -> Result<(), Fault> {
        let was_there = self.path(STORE).exists();
        let aside = leftovers::free_name(self.dir);
        let repair = tale(plan, what, was_there.then_some(&*aside));
        let is_salvaged = plan.gaps().next().is_none() && plan.strangers() == 0;
        let promised = marker.promise(self.dir, if was_there { &aside } else { STORE }, &repair);
        promised.map_err(|error| self.world("mark the opening of", &error))?;
        let moved = leftovers::set_aside(self.dir, &aside, is_salvaged);
        let moved = moved.and_then(|()| fs::rename(self.path(NEW), self.path(STORE)));
        let moved = moved.and_then(|()| atomic_file::sync_dir(self.dir));
        moved.map_err(|error| self.world("set aside", &error))?;
        self.repairs.push(repair);
        Ok(())
    }

    /// Whether there is no log where one may have held something: sled would make an empty one without a word.
    fn is_gone(&self) -> bool {
        let may_hold = |name| self.spans.get(name).is_some_and(|span| span.from <= span.through);
        !self.log().exists() && self.outlets.iter().chain(self.others).any(may_hold)
    }

    /// sled takes the first bad record of its log for the end of it and wipes what follows; so it must not see one.
    fn look_for_tears(&self) -> Result<Option<TornTail>, Fault> {
        let path = self.log();
        match log_check::look(&path, self.progress) {
            Ok(Log::Sound(tail)) => Ok(tail),
            Ok(Log::DamagedAt(offset)) => Err(log_check::damage(&path, offset)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Fault::from(error).context("read", &path)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        let moved = fs::rename(self.path(from), self.path(to)).and_then(|()| atomic_file::sync_dir(self.dir));
        moved.map_err(|error| self.world("replace", &error))
    }

    /// Every outlet that is known.
    fn names(&self) -> Vec<String> {
        self.outlets.iter().chain(self.others).cloned().collect()
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
    /// The way after so many openings that were cut off. What ends the process may be sled itself, or something that gives an
    /// opening little time: then the plain way, which is the shortest, must have its turn as well.
    fn after(interrupted: u32) -> Step {
        match interrupted {
            0..=2 => Step::Plain,
            3 => Step::WithoutSnapshot,
            more if more % 2 == 0 => Step::Plain,
            _ => Step::Remake,
        }
    }
}

/// Sentence about a repair.
fn tale(plan: &Plan, what: &str, aside: Option<&str>) -> String {
    let mut gaps = plan.gaps().map(told);
    let shown: Vec<String> = gaps.by_ref().take(GAPS_SHOWN).collect();
    let lost = match gaps.count() {
        _ if shown.is_empty() => "nothing is lost".to_owned(),
        0 => format!("lost are {}", shown.join(", ")),
        more => format!("lost are {}, and {more} more ranges", shown.join(", ")),
    };
    let strangers = match plan.strangers() {
        0 => String::new(),
        values => format!("; {values} values of outlets that are not known stay behind"),
    };
    let place = aside.map_or_else(String::new, |aside| format!("; it lies in {aside} now"));
    format!("{what}; {} values were read from its log, {lost}{strangers}{place}", plan.values())
}

fn told((outlet, (first, last)): (&str, (u64, u64))) -> String {
    format!("numbers {first} to {last} of {outlet}")
}
