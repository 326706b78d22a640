//! Whether the card is spared: commits come no faster than their budget allows. They are all small here.

use std::time::Duration;

use super::World;

/// Commits that may be saved up.
const SAVED: u64 = 40;

/// The commits of one life.
#[derive(Debug, Default)]
pub struct Commits {
    life: u64,
    /// The shortest time between two commits that any configuration of this run has.
    each: u64,
    /// Time that they have used beyond what has passed since.
    used: u64,
    at: u64,
}

impl World {
    /// A commit begins.
    pub(super) fn check_pace(&mut self) -> Result<(), String> {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).expect("small");
        let each = [&self.setup, &self.taken].map(|setup| nanos(setup.buffer.commit_after)).into_iter().min();
        let each =
            each.unwrap_or_default().min(if self.commits.each == 0 { u64::MAX } else { self.commits.each });
        if self.commits.life != self.life {
            self.commits = Commits { life: self.life, ..Commits::default() };
        }
        let used = self.commits.used.saturating_sub(self.now - self.commits.at) + each;
        self.commits = Commits { life: self.life, each, used, at: self.now };
        // The one that comes anyway, and the first of a life.
        if self.stopping_since.is_none() && used > (SAVED + 2) * each {
            return Err(format!("{} commits more than one each {} ms", used / each, each / 1_000_000));
        }
        Ok(())
    }
}
