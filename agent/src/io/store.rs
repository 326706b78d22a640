//! The disk: one thread that owns the database and the small files beside it, takes orders and answers with reports.
//!
//! It decides nothing but how to get an open store from whatever lies on the disk.

mod backend;
mod frame;
pub mod group;
mod hold;
mod numbers;
mod recovery;
mod salvage;
mod scan;
mod shelf;
mod space;
mod tear;
mod tray;
mod worker;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use self::worker::Worker;
use super::clock;
use crate::logic::disk::{DiskFacts, DiskOrder, DiskReport, Opened};

/// How many orders may wait; more are answered by `Failed`.
const QUEUE: usize = 64;
/// How long dropping the store waits for its thread.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// Where the store is and for whom it holds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory; made if it is missing.
    pub dir: PathBuf,
    /// Names of the outlets; an outlet's number is its place here.
    pub outlets: Vec<String>,
}

/// Why the store cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// Another agent uses the directory; trying again makes no sense.
    Locked(String),
    /// The disk is full, failing or not writable; it may be better later.
    Disk(String),
}

/// The store's thread, seen from the loop. Dropping it syncs, closes and waits for the thread.
#[derive(Debug)]
pub struct Store {
    orders: Option<SyncSender<Queued>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
    ended: Receiver<()>,
}

#[derive(Debug)]
enum Queued {
    Order(DiskOrder),
    /// In the place of an order that found the queue full.
    Refused(&'static str, Option<usize>),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Locked(cause) | OpenError::Disk(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for OpenError {}

/// Opens the store, waiting for it, and starts its thread. Every order is answered by one call of `reports` there.
pub fn open(
    settings: Settings,
    reports: impl Fn(DiskReport, DiskFacts) + Send + 'static,
) -> Result<(Store, Opened), OpenError> {
    let lock = lock(&settings.dir)?;
    let dir = settings.dir.clone();
    let mut worker = Worker::open(settings, lock).map_err(|fault| OpenError::Disk(fault.to_string()))?;
    let files = worker.small_files();
    let (numbers, presence) = files.map_err(|error| disk("read the small files in", &dir, &error))?;
    let opened = Opened { numbers, presence, facts: worker.facts(), repairs: worker.take_repairs() };
    let waiting = Arc::new(AtomicUsize::new(0));
    let (orders, received) = sync_channel(QUEUE * 2);
    let (end, ended) = channel();
    let left = Arc::clone(&waiting);
    let thread = std::thread::Builder::new().name("store".to_owned());
    let thread = thread.spawn(move || run(worker, &received, &left, &reports, end));
    let thread = thread.map_err(|error| disk("start the thread for", &dir, &error))?;
    Ok((Store { orders: Some(orders), waiting, thread: Some(thread), ended }, opened))
}

impl Store {
    /// Gives an order; never waits. What is given after `Close` is not answered.
    pub fn order(&self, order: DiskOrder) {
        let full = self.waiting.fetch_add(1, Ordering::AcqRel) >= QUEUE;
        let (name, outlet) = worker::label(&order);
        let queued = if full { Queued::Refused(name, outlet) } else { Queued::Order(order) };
        let sent = self.orders.as_ref().is_some_and(|orders| orders.try_send(queued).is_ok());
        if !sent {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            log::warn!("the store takes no order to {name}");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.orders = None;
        if self.ended.recv_timeout(CLOSE_WITHIN) == Err(RecvTimeoutError::Timeout) {
            return log::warn!("the store's thread does not end");
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread. `_end` is dropped with it, which tells that it has ended.
fn run(
    mut worker: Worker,
    orders: &Receiver<Queued>,
    waiting: &AtomicUsize,
    reports: &dyn Fn(DiskReport, DiskFacts),
    _end: Sender<()>,
) {
    loop {
        let queued = match worker.sync_by() {
            Some(time) => orders.recv_timeout(time.since(clock::now().mono)),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let report = match queued {
            Err(RecvTimeoutError::Timeout) => {
                worker.settle();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return worker.close(),
            Ok(Queued::Order(DiskOrder::Close)) => {
                worker.close();
                return reports(DiskReport::Closed, worker.facts());
            }
            Ok(Queued::Order(order)) => worker.carry_out(order),
            Ok(Queued::Refused(order, outlet)) => {
                let error = format!("more than {QUEUE} orders wait for the disk");
                DiskReport::Failed { order, outlet, error }
            }
        };
        waiting.fetch_sub(1, Ordering::AcqRel);
        worker.take_repairs();
        let facts = worker.facts();
        reports(report, facts);
    }
}

/// Keeps other agents out of the directory for as long as the file is open.
fn lock(dir: &Path) -> Result<File, OpenError> {
    fs::create_dir_all(dir).map_err(|error| disk("make", dir, &error))?;
    let path = dir.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|error| disk("write", &path, &error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let (path, pid) = (path.display(), pid.trim());
            let cause = format!("cannot lock {path}: another agent uses this directory (pid {pid})");
            return Err(OpenError::Locked(cause));
        }
        Err(errno) => return Err(disk("lock", &path, &errno.into())),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = written {
        log::debug!("cannot write {}: {error}", path.display());
    }
    Ok(file)
}

fn disk(verb: &str, path: &Path, error: &io::Error) -> OpenError {
    OpenError::Disk(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
