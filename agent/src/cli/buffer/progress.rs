//! How far long work is: one line on stderr that is written over, if a terminal shows it, and nothing otherwise.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use holdfast_core::time::Time;

use crate::os::clock;

const INTERVAL: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

/// Work that goes on. Dropping it takes the line away.
pub struct Progress {
    what: &'static str,
    total: u64,
    unit: &'static str,
    live: bool,
    shown_at: Option<Time>,
}

impl Progress {
    /// Work on so many of these.
    pub fn new(what: &'static str, total: u64, unit: &'static str) -> Progress {
        Progress { what, total, unit, live: std::io::stderr().is_terminal(), shown_at: None }
    }

    /// Shows that this many are done.
    pub fn at(&mut self, done: u64) {
        let now = clock::now().mono;
        if !self.live || self.shown_at.is_some_and(|at| now < at + INTERVAL) {
            return;
        }
        self.shown_at = Some(now);
        write_over(&line(self.what, done, self.total, self.unit));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown_at.is_some() {
            write_over("");
        }
    }
}

/// CR and EL of ECMA-48. Work goes on whether the terminal takes it or not.
fn write_over(line: &str) {
    let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
}

fn line(what: &str, done: u64, total: u64, unit: &str) -> String {
    // More may be held meanwhile.
    let total = total.max(done).max(1);
    let filled = usize::try_from(done * WIDTH / total).unwrap_or_default();
    let bar = "#".repeat(filled) + &".".repeat(usize::try_from(WIDTH).unwrap_or_default() - filled);
    format!("{what} [{bar}] {:>3} %  {done} of {total} {unit}", done * 100 / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_how_much_of_the_whole_is_done() {
        let half = "exporting [###############...............]  50 %  5 of 10 messages";
        assert_eq!(line("exporting", 5, 10, "messages"), half);
        assert!(line("exporting", 12, 10, "messages").ends_with("100 %  12 of 12 messages"));
        assert!(line("exporting", 0, 0, "messages").contains("  0 %"));
    }
}
