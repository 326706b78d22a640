//! The disk: one thread that owns the database and the small files beside it, takes orders and answers with reports.
//!
//! It decides nothing but how to get an open store from whatever lies on the disk.

mod atomic_file;
mod backend;
mod file_queue;
pub mod group;
mod group_index;
mod leftovers;
mod log_check;
mod look;
mod numbers;
mod open_store;
mod progress;
mod recovery;
mod salvage;
mod scan;
pub mod space;
pub mod stopped;
mod syncer;
mod syncs;
mod version;
mod view;
mod worker;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use holdfast_core::observe::meter::Meter;
use holdfast_core::outlet::inspect::{Change, StoreAnswer, StoreQuery};
use holdfast_core::outlet::order_queue::AT_ONCE;
use holdfast_core::outlet::store_protocol::{Opened, StoreFacts, StoreOrder, StoreReport};
use holdfast_core::time::Time;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use self::progress::Progress;
use self::syncs::Syncs;
use self::worker::Worker;
use crate::os::{clock, private};

/// How many looks and changes may wait; more are told to come again.
const VISITORS: usize = 4;
/// How long dropping the store waits for its thread.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// Where the store is and for whom it holds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory; made if it is missing.
    pub dir: PathBuf,
    /// Names of the outlets; an outlet's number is its place here. Lanes of theirs that an earlier configuration had come
    /// behind them.
    pub outlets: Vec<String>,
}

/// Takes the answer for somebody who looks at the store or changes it.
pub type Reply<T> = smol::channel::Sender<Result<T, String>>;

/// Why the store cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// Another agent uses the directory; trying again makes no sense.
    Locked(String),
    /// The disk is full, failing or not writable; it may be better later.
    Disk(String),
    /// Another user could lead elsewhere what is written there.
    Unsafe(String),
    /// A newer Holdfast has written there, and its files are left as they are; trying again makes no sense.
    Newer(String),
}

/// The store's thread, seen from the loop. Dropping it syncs, closes and waits for the thread.
#[derive(Debug)]
pub struct Store {
    orders: Option<SyncSender<Queued>>,
    visitors: Arc<AtomicUsize>,
    /// Whether it is being opened anew and gets on with it.
    moving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    ended: Receiver<()>,
}

#[derive(Debug)]
enum Queued {
    Order(StoreOrder),
    StoreQuery(StoreQuery, Reply<StoreAnswer>),
    Change(Change, Reply<u64>),
    /// The sync that was waited for is done.
    Synced(io::Result<()>),
    /// Nobody gives orders any more.
    End,
}

impl Queued {
    /// Tells a visitor to come again.
    fn turn_away(self) {
        let cause = || format!("{VISITORS} others ask the store already; try again");
        // Whoever has gone needs no answer.
        match self {
            Queued::StoreQuery(_, reply) => drop(reply.try_send(Err(cause()))),
            Queued::Change(_, reply) => drop(reply.try_send(Err(cause()))),
            Queued::Order(_) | Queued::Synced(_) | Queued::End => {}
        }
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Locked(cause)
            | OpenError::Disk(cause)
            | OpenError::Unsafe(cause)
            | OpenError::Newer(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for OpenError {}

/// Bytes that agents with this data directory ever wrote, as the last of them has saved it.
pub fn written_ever(dir: &Path) -> Option<u64> {
    let saved = numbers::peek_meter(dir).ok().flatten()?;
    Some(Meter::new(Some(&saved), Time::default()).total().bytes)
}

/// Opens the store, waiting for it, and starts its thread. Every order is answered by one call of `reports` there. `progress`
/// hears, while it is opened, how much more time that asks for.
pub fn open(
    settings: Settings,
    progress: impl Fn(Duration) + Send + 'static,
    reports: impl Fn(StoreReport, StoreFacts) + Send + 'static,
) -> Result<(Store, Opened), OpenError> {
    let progress = Progress::to(Box::new(progress));
    let lock = lock_unless_newer(&settings.dir, &settings.outlets, &progress)?;
    let dir = settings.dir.clone();
    // Beside orders and visitors, one job that has ended and the end.
    let (orders, received) = sync_channel(AT_ONCE + VISITORS + 2);
    let done = orders.clone();
    let waits = Syncs::start(move |outcome| drop(done.send(Queued::Synced(outcome))));
    let waits = waits.map_err(|error| disk("start a thread for", &dir, &error))?;
    let worker = Worker::open(settings, lock, waits, progress);
    let mut worker = worker.map_err(|fault| OpenError::Disk(fault.to_string()))?;
    let opened = worker.opened().map_err(|error| disk("read the small files in", &dir, &error))?;
    let moving = Arc::new(AtomicBool::new(false));
    let moves = Arc::clone(&moving);
    worker.tell(Box::new(move |_| moves.store(true, Ordering::Release)));
    let visitors = Arc::new(AtomicUsize::new(0));
    let (end, ended) = channel();
    let left = Arc::clone(&visitors);
    let thread = std::thread::Builder::new().name("store".to_owned());
    let thread = thread.spawn(move || run(worker, &received, &left, &reports, end));
    let thread = thread.map_err(|error| disk("start the thread for", &dir, &error))?;
    Ok((Store { orders: Some(orders), visitors, thread: Some(thread), moving, ended }, opened))
}

impl Store {
    /// Gives an order; never waits: there is room for as many as [`AT_ONCE`]. What is given after `Close` is not answered.
    pub fn order(&self, order: StoreOrder) {
        let (kind, _) = order.kind();
        let sent = self.orders.as_ref().is_some_and(|orders| orders.try_send(Queued::Order(order)).is_ok());
        if !sent {
            log::warn!("the store takes no order to {kind}");
        }
    }

    /// Lets somebody look into the store, and answers them; never waits.
    pub fn look(&self, look: StoreQuery, reply: Reply<StoreAnswer>) {
        self.visit(Queued::StoreQuery(look, reply));
    }

    /// Gives up what somebody wants to be given up, answers them, and reports it; never waits.
    pub fn change(&self, change: Change, reply: Reply<u64>) {
        self.visit(Queued::Change(change, reply));
    }

    /// Whether an order that is not answered yet has made progress since this was asked last: the database is being opened anew.
    pub fn moves(&self) -> bool {
        self.moving.swap(false, Ordering::AcqRel)
    }

    fn visit(&self, visit: Queued) {
        let full = self.visitors.fetch_add(1, Ordering::AcqRel) >= VISITORS;
        let refused = match (full, self.orders.as_ref()) {
            (false, Some(orders)) => orders.try_send(visit).err().map(|error| match error {
                TrySendError::Full(visit) | TrySendError::Disconnected(visit) => visit,
            }),
            (true, _) | (_, None) => Some(visit),
        };
        if let Some(refused) = refused {
            self.visitors.fetch_sub(1, Ordering::AcqRel);
            refused.turn_away();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // One that has ended needs not be told, and one that hangs is not waited for.
        if let Some(orders) = self.orders.take() {
            let _ = orders.try_send(Queued::End);
        }
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
    visitors: &AtomicUsize,
    reports: &dyn Fn(StoreReport, StoreFacts),
    _end: Sender<()>,
) {
    loop {
        let queued = match worker.wake_at() {
            Some(time) => orders.recv_timeout(time.since(clock::now().mono)),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match queued {
            Err(RecvTimeoutError::Timeout) => worker.wake(),
            Err(RecvTimeoutError::Disconnected) | Ok(Queued::End) => return worker.close(),
            Ok(Queued::Order(StoreOrder::Close)) => {
                worker.close();
                return reports(StoreReport::Closed, worker.facts());
            }
            Ok(Queued::StoreQuery(look, reply)) => {
                visitors.fetch_sub(1, Ordering::AcqRel);
                let _ = reply.try_send(worker.look(&look));
                worker.wake();
            }
            Ok(Queued::Change(change, reply)) => {
                visitors.fetch_sub(1, Ordering::AcqRel);
                let done = worker.change(&change).map(|(messages, report)| {
                    // The agent learns of it before anybody can ask the agent about it.
                    reports(report, worker.facts());
                    messages
                });
                let _ = reply.try_send(done);
            }
            Ok(Queued::Synced(outcome)) => worker.synced(outcome),
            Ok(Queued::Order(order)) => worker.carry_out(order),
        }
        let repairs = worker.take_repairs();
        if !repairs.is_empty() {
            reports(StoreReport::Repaired { repairs }, worker.facts());
        }
        for report in worker.take_reports() {
            let facts = worker.facts();
            reports(report, facts);
        }
    }
}

/// Locks a directory in which no newer Holdfast has written. What it has written keeps every bit, for the day on which it comes back.
fn lock_unless_newer(dir: &Path, outlets: &[String], progress: &Progress) -> Result<Lock, OpenError> {
    let mut names = outlets.to_vec();
    names.extend(numbers::peek(dir).ok().flatten().into_iter().flat_map(|known| known.outlets.into_keys()));
    match version::newer(dir, &names, progress) {
        None => lock(dir),
        Some(name) => Err(OpenError::Newer(format!(
            "{} was written by a newer Holdfast, and nothing was changed: install that version again, or give this one another \
             agent.data_dir",
            dir.join(name).display()
        ))),
    }
}

/// Keeps other agents out of the directory for as long as it lives.
#[derive(Debug)]
struct Lock {
    /// None where there is not even a directory.
    file: Option<File>,
    /// The file or directory that is locked.
    path: PathBuf,
    /// Why the directory cannot be written, if so.
    cause: Option<String>,
}

/// Locks a directory, also one that can only be read. One that is not there and cannot be made may be misspelt, unless nothing at
/// all can be made on its file system.
fn lock(dir: &Path) -> Result<Lock, OpenError> {
    match lock_to_write(dir) {
        Err(OpenError::Disk(cause)) if dir.is_dir() || space::is_read_only(dir) => lock_to_read(dir, cause),
        other => other,
    }
}

fn lock_to_write(dir: &Path) -> Result<Lock, OpenError> {
    private::create_dir_all(dir).map_err(|error| disk("make", dir, &error))?;
    if !space::is_read_only(dir) {
        private::claim(dir).map_err(OpenError::Unsafe)?;
    }
    let path = dir.join("lock");
    let mut file = private::open(&path).map_err(|error| match private::is_foreign(&error) {
        true => OpenError::Unsafe(format!("cannot use {}: {error}", path.display())),
        false => disk("write", &path, &error),
    })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(locked(&path, &mut file)),
        Err(errno) => return Err(disk("lock", &path, &errno.into())),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = written {
        log::debug!("cannot write {}: {error}", path.display());
    }
    Ok(Lock { file: Some(file), path, cause: None })
}

/// Where nothing can be written, the lock is that of a file that is there already, or of the directory itself.
fn lock_to_read(dir: &Path, cause: String) -> Result<Lock, OpenError> {
    let places = [dir.join("lock"), dir.to_owned()];
    for path in places.into_iter().filter(|path| path.is_file() || path == dir) {
        let opened = if path == dir { File::open(&path) } else { private::open_to_read(&path) };
        let Ok(mut file) = opened else { continue };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock { file: Some(file), path, cause: Some(cause) }),
            Err(Errno::WOULDBLOCK) => return Err(locked(&path, &mut file)),
            Err(errno) => log::debug!("cannot lock {}: {errno}", path.display()),
        }
    }
    Ok(Lock { file: None, path: dir.to_owned(), cause: Some(cause) })
}

fn locked(path: &Path, file: &mut File) -> OpenError {
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid);
    let (path, pid) = (path.display(), pid.trim());
    OpenError::Locked(format!("cannot lock {path}: another agent uses this directory (pid {pid})"))
}

fn disk(verb: &str, path: &Path, error: &io::Error) -> OpenError {
    OpenError::Disk(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
