//! The thread that waits for the disk, so that the store's own goes on reading meanwhile: it syncs the log and writes the small
//! files, one after the other. It gets one at a time and decides nothing.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Its task.
pub enum Job {
    /// Syncs what was written to the log.
    Log(Arc<File>),
    /// Writes a small file.
    File(Box<dyn FnOnce() -> io::Result<()> + Send>),
}

/// The thread, seen from the store's.
pub struct Syncer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts it. `done` is called there with the outcome of each job.
    pub fn start(done: impl Fn(io::Result<()>) + Send + 'static) -> io::Result<Syncer> {
        let (jobs, received) = sync_channel(1);
        let thread = std::thread::Builder::new().name("sync".to_owned()).spawn(move || {
            while let Ok(job) = received.recv() {
                done(match job {
                    Job::Log(log) => log.sync_data(),
                    Job::File(write) => write(),
                });
            }
        })?;
        Ok(Syncer { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Gives it a job. It has none: the outcome of the one before has come.
    pub fn give(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends with this.
            let _ = jobs.send(job);
        }
    }

    /// Ends it, after its last job.
    pub fn end(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
