//! Whether the files still have their names: what is synced to a file that was removed, or to a directory that was replaced,
//! is not safe. What memory and the open files hold is then written into a store made anew.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_core::time::Time;

use super::super::backend::LOG_FILE;
use super::super::open_store::Groups;
use super::super::recovery::STORE;
use super::super::{lock_to_write, numbers};
use super::{GroupIndex, Worker, trays};
use crate::os::clock;

/// How often a store that holds something is looked at while it has nothing to do.
const LOOK_EACH: Duration = Duration::from_secs(10);

/// The small files as they lie on the disk, to be written again if they are removed.
#[derive(Default)]
pub(super) struct Files {
    pub(super) numbers: Option<Vec<u8>>,
    pub(super) presence: Option<Vec<u8>>,
    pub(super) clocks: Option<Vec<u8>>,
}

/// What has lost its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lost {
    lock: bool,
    store: bool,
    files: bool,
}

/// Whether a path leads to an open file. What cannot be told is taken for a yes.
fn has_name(file: &File, path: &Path) -> bool {
    let Ok(own) = file.metadata() else { return true };
    match fs::metadata(path) {
        Ok(there) => (there.dev(), there.ino()) == (own.dev(), own.ino()),
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

impl Worker {
    /// Sees to it that everything has its name. The error says why it has not.
    pub(super) fn keep_names(&mut self) -> Result<(), String> {
        self.look_at = clock::now().mono + LOOK_EACH;
        let lost = self.lost();
        if !lost.any() {
            return Ok(());
        }
        self.make_anew(lost)?;
        match self.lost().any() {
            true => Err(format!("files of the agent are being removed from {}", self.dir.display())),
            false => Ok(()),
        }
    }

    /// Makes anew what has lost its name. Tells whether there was something, and it could be made.
    pub(super) fn has_made_anew(&mut self) -> bool {
        self.lost().any() && self.keep_names().is_ok()
    }

    /// Whether the directory is kept from other agents.
    pub(super) fn is_ours(&self) -> bool {
        self.lock.file.as_ref().is_none_or(|file| has_name(file, &self.lock.path))
    }

    /// When the thread must look at something although it has no order.
    pub fn wake_at(&self) -> Option<Time> {
        let holds = self.hold.as_ref().is_some_and(|hold| !hold.shelves().iter().all(GroupIndex::is_empty));
        self.sync_by().into_iter().chain(holds.then_some(self.look_at)).min()
    }

    /// Looks at what is due.
    pub fn wake(&mut self) {
        self.settle_in_time();
        if self.look_at <= clock::now().mono
            && let Err(error) = self.keep_names()
        {
            log::debug!("{error}");
        }
    }

    fn lost(&self) -> Lost {
        let log = self.hold.as_ref().and_then(|hold| hold.database().log());
        let log = log.map(|log| &**log).or(self.orphan.as_ref());
        let Files { numbers, presence, clocks } = &self.files;
        let kept =
            [("numbers", numbers.is_some()), ("presence", presence.is_some()), ("clocks", clocks.is_some())];
        let is_missing = |name: &str| {
            fs::symlink_metadata(self.dir.join(name)).is_err_and(|error| error.kind() == ErrorKind::NotFound)
        };
        Lost {
            lock: !self.is_ours(),
            store: log.is_some_and(|log| !has_name(log, &self.log_path())),
            files: kept.iter().any(|(name, is_kept)| *is_kept && is_missing(name)),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join(STORE).join(LOG_FILE)
    }

    fn make_anew(&mut self, lost: Lost) -> Result<(), String> {
        let place = self.dir.display().to_string();
        if self.waits.is_writing() {
            // Another thread writes one of them at this moment.
            return Err(format!("files of the agent are being removed from {place}"));
        }
        if lost.store && (self.log_path().exists() || (lost.lock && self.dir.join("numbers").exists())) {
            return Err(format!("{place} holds another store than at the start: start the agent again"));
        }
        if lost.lock {
            self.lock = lock_to_write(&self.dir).map_err(|error| error.to_string())?;
            (self.dead, self.damaged) = trays(&self.dir).map_err(|fault| fault.to_string())?;
        }
        self.write_files().map_err(|error| format!("cannot make the files in {place} anew: {error}"))?;
        if lost.store {
            self.rescue()?;
        }
        let repair = format!(
            "files of the agent were removed from {place}; they were made anew with all that was held"
        );
        log::warn!("{repair}");
        self.repairs.push(repair);
        Ok(())
    }

    /// Writes the small files of the running agent.
    fn write_files(&mut self) -> io::Result<()> {
        let meter = self.meter.file(clock::now().mono);
        let Files { numbers, presence, clocks } = &self.files;
        numbers.as_ref().map_or(Ok(()), |bytes| numbers::save(&self.dir, bytes))?;
        presence.as_ref().map_or(Ok(()), |bytes| numbers::save_presence(&self.dir, bytes))?;
        clocks.as_ref().map_or(Ok(()), |bytes| numbers::save_clocks(&self.dir, bytes))?;
        numbers::save_meter(&self.dir, &meter)
    }

    /// Makes the store anew of what its open log holds.
    fn rescue(&mut self) -> Result<(), String> {
        self.settle();
        self.lose_to_fault();
        let Some(log) = self.orphan.take() else { return Ok(()) };
        let path = PathBuf::from(format!("/proc/self/fd/{}", log.as_raw_fd()));
        match self.recovery().rescue(&path) {
            Ok(hold) => {
                self.hold = Some(hold);
                Ok(())
            }
            Err(fault) => {
                self.orphan = Some(log);
                Err(fault.to_string())
            }
        }
    }
}

impl Lost {
    fn any(self) -> bool {
        self.lock || self.store || self.files
    }
}
