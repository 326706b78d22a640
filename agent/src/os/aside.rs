//! Work that may wait for a disk or a mount is done aside: on one thread for each kind of work, which lives as long as there
//! is some. Whoever waits for it does so for a bounded time, so that a mount that hangs holds up that thread and no more.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smol::Timer;
use smol::channel::{Sender, bounded};
use smol::future::or;

const STACK_BYTES: usize = 256 * 1024;

/// A kind of work, done by one thread in the order of asking.
pub struct Aside {
    name: &'static str,
    /// Jobs that may wait.
    most: usize,
    queue: Mutex<Queue>,
}

struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    is_running: bool,
}

trait Job: Send {
    /// Whether somebody waits for it.
    fn is_wanted(&self) -> bool;
    fn run(self: Box<Self>);
}

struct Asked<T, F> {
    work: F,
    done: Sender<T>,
}

impl<T: Send, F: FnOnce() -> T + Send> Job for Asked<T, F> {
    fn is_wanted(&self) -> bool {
        !self.done.is_closed()
    }

    fn run(self: Box<Self>) {
        // Whoever asked may have gone.
        let _ = self.done.try_send((self.work)());
    }
}

impl Aside {
    /// Names the thread, and says how many jobs may wait for it.
    pub const fn new(name: &'static str, most: usize) -> Aside {
        Aside { name, most, queue: Mutex::new(Queue { jobs: VecDeque::new(), is_running: false }) }
    }

    /// Has it done. The error says that too many wait, that it took too long, or that there is no thread.
    pub async fn run<T: Send + 'static>(
        &'static self,
        within: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = bounded(1);
        self.ask(Box::new(Asked { work, done }))?;
        let late = async {
            Timer::after(within).await;
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it took longer than {} s", within.as_secs()),
            ))
        };
        or(async { result.recv().await.map_err(|_| io::Error::other("it broke off")) }, late).await
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&'static self, job: Box<dyn Job>) -> io::Result<()> {
        let mut queue = self.queue();
        queue.jobs.retain(|job| job.is_wanted());
        if queue.jobs.len() >= self.most {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "too many wait for the disk"));
        }
        queue.jobs.push_back(job);
        if queue.is_running {
            return Ok(());
        }
        let thread = std::thread::Builder::new().name(self.name.to_owned()).stack_size(STACK_BYTES);
        match thread.spawn(move || self.work()) {
            Ok(_) => queue.is_running = true,
            Err(error) => {
                queue.jobs.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    /// The thread.
    fn work(&self) {
        while let Some(job) = self.next() {
            if job.is_wanted() {
                job.run();
            }
        }
    }

    fn next(&self) -> Option<Box<dyn Job>> {
        let mut queue = self.queue();
        let job = queue.jobs.pop_front();
        queue.is_running = job.is_some();
        job
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use smol::block_on;
    use smol::future::{poll_once, zip};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn jobs_are_done_one_after_the_other_and_the_thread_may_come_again() {
        static ASIDE: Aside = Aside::new("test", 8);
        let running = Arc::new(AtomicUsize::new(0));
        let job = || {
            let running = running.clone();
            ASIDE.run(LONG, move || {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                running.fetch_sub(1, Ordering::SeqCst);
                7
            })
        };
        for _ in 0..100 {
            let (one, other) = block_on(zip(job(), job()));
            assert_eq!((one.unwrap(), other.unwrap()), (7, 7));
        }
    }

    #[test]
    fn a_job_that_hangs_holds_up_nobody_for_longer_than_they_wait() {
        static ASIDE: Aside = Aside::new("test", 2);
        let (release, gate) = bounded::<()>(1);
        let hung = move || gate.recv_blocking().is_ok();
        let late = block_on(ASIDE.run(Duration::from_millis(20), hung)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        // Those who have gone do not count.
        for _ in 0..5 {
            assert!(block_on(poll_once(ASIDE.run(LONG, || ()))).is_none());
        }
        block_on(async {
            let (first, second) = (ASIDE.run(LONG, || 1), ASIDE.run(LONG, || 2));
            let third = async {
                let many = ASIDE.run(LONG, || 3).await.unwrap_err();
                assert_eq!(many.to_string(), "too many wait for the disk");
                release.close();
            };
            let ((first, second), ()) = zip(zip(first, second), third).await;
            assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
        });
    }
}
