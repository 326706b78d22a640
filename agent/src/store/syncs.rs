//! What waits for the disk: the syncs of the log and the small files, one at a time, on a thread of their own. The log comes
//! first, since senders wait for it, and whatever was flushed until a sync begins shares it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use holdfast_core::ids::OutletId;
use holdfast_core::outlet::store_protocol::{StoreOrder, StoreReport};

use super::syncer::{Job, Syncer};

/// Writes a small file below the data directory.
pub type Write = fn(&Path, &[u8]) -> io::Result<()>;

/// A small file that is to be replaced.
#[derive(Clone)]
pub struct SmallFile {
    /// Its name.
    pub name: &'static str,
    /// How it is written.
    pub write: Write,
    /// What it is to hold.
    pub payload: Arc<Vec<u8>>,
    /// What is reported then; nothing of the card meter's.
    pub report: Option<StoreReport>,
}

enum Underway {
    Log { log: Arc<File>, reports: Vec<StoreReport> },
    File(SmallFile),
}

/// A job that has ended.
pub enum Ended {
    /// A sync of the log, with the reports that waited for it.
    Log(Arc<File>, Vec<StoreReport>),
    /// A small file.
    File(SmallFile),
}

/// What is under way and what waits.
pub struct Syncs {
    syncer: Syncer,
    underway: Option<Underway>,
    /// Reports that wait for a sync of the log that begins after they came.
    wanted: Vec<StoreReport>,
    files: VecDeque<SmallFile>,
    /// Orders that wait for the end of the sync, so that nothing is written to the log while it runs.
    held_back: VecDeque<StoreOrder>,
}

impl Syncs {
    /// Starts the thread. `done` is called there with the outcome of each job.
    pub fn start(done: impl Fn(io::Result<()>) + Send + 'static) -> io::Result<Syncs> {
        Ok(Syncs {
            syncer: Syncer::start(done)?,
            underway: None,
            wanted: Vec::new(),
            files: VecDeque::new(),
            held_back: VecDeque::new(),
        })
    }

    /// Whether it waits for the disk.
    pub fn is_busy(&self) -> bool {
        self.underway.is_some()
    }

    /// Whether a small file is being written.
    pub fn is_writing(&self) -> bool {
        matches!(self.underway, Some(Underway::File(_)))
    }

    /// Whether something in the log is not safe yet that will be reported.
    pub fn owes(&self) -> bool {
        self.pending().next().is_some()
    }

    /// Keeps an order back that must not meet a sync of the log, and those behind it.
    pub fn keep_back(&mut self, order: StoreOrder) -> Option<StoreOrder> {
        let syncing = matches!(self.underway, Some(Underway::Log { .. }));
        let may_pass = match &order {
            StoreOrder::Read { outlet, .. } => !self.changes(*outlet),
            StoreOrder::Measure => true,
            _ => !syncing && self.held_back.is_empty(),
        };
        if may_pass {
            return Some(order);
        }
        self.held_back.push_back(order);
        None
    }

    /// Orders that need not wait any more.
    pub fn held_back(&mut self) -> VecDeque<StoreOrder> {
        std::mem::take(&mut self.held_back)
    }

    /// Gives a report once the log was synced by a sync that begins later.
    pub fn after_log(&mut self, report: StoreReport) {
        self.wanted.push(report);
    }

    /// Writes a small file. One of the same name that waits and of which nobody hears gives way.
    pub fn save(&mut self, file: SmallFile) {
        self.files.retain(|other| other.report.is_some() || other.name != file.name);
        self.files.push_back(file);
    }

    /// Begins the next job if there is one and none is under way. `log` is asked for only if it is to be synced, also without
    /// a report when that is `due`.
    pub fn begin(&mut self, due: bool, log: impl FnOnce() -> Option<Arc<File>>, dir: &Path) {
        if self.is_busy() {
            return;
        }
        if due || !self.wanted.is_empty() {
            let Some(log) = log() else { return };
            self.syncer.give(Job::Log(Arc::clone(&log)));
            self.underway = Some(Underway::Log { log, reports: std::mem::take(&mut self.wanted) });
        } else if let Some(file) = self.files.pop_front() {
            let (write, payload, dir) = (file.write, Arc::clone(&file.payload), dir.to_owned());
            self.syncer.give(Job::File(Box::new(move || write(&dir, &payload))));
            self.underway = Some(Underway::File(file));
        }
    }

    /// The job that was under way has ended.
    pub fn ended(&mut self) -> Option<Ended> {
        Some(match self.underway.take()? {
            Underway::Log { log, reports } => Ended::Log(log, reports),
            Underway::File(file) => Ended::File(file),
        })
    }

    /// All reports that wait for the log: it was synced by other means, or is lost.
    pub fn take_pending(&mut self) -> Vec<StoreReport> {
        let mut pending = match &mut self.underway {
            Some(Underway::Log { reports, .. }) => std::mem::take(reports),
            Some(Underway::File(_)) | None => Vec::new(),
        };
        pending.append(&mut self.wanted);
        pending
    }

    /// Ends the thread, and gives the files that it has not written.
    pub fn end(&mut self) -> VecDeque<SmallFile> {
        self.syncer.end();
        std::mem::take(&mut self.files)
    }

    fn pending(&self) -> impl Iterator<Item = &StoreReport> {
        let underway = match &self.underway {
            Some(Underway::Log { reports, .. }) => reports.as_slice(),
            Some(Underway::File(_)) | None => &[],
        };
        underway.iter().chain(&self.wanted)
    }

    /// Whether groups of an outlet were given up, which a power cut could still bring back.
    fn changes(&self, outlet: OutletId) -> bool {
        self.pending().any(|report| match report {
            StoreReport::Dropped { outlet: other, .. } | StoreReport::Expired { outlet: other, .. } => {
                *other == outlet
            }
            _ => false,
        })
    }
}
