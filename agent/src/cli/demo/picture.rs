//! What the demo shows: one picture that is drawn again in place on a terminal, or a line a second elsewhere.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

/// Width of the bars.
const BAR: usize = 30;

/// What was measured at one moment.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// Since the beginning.
    pub elapsed: Duration,
    /// Readings sent by the sensor.
    pub sent: u64,
    /// Readings that the sensor was told are stored.
    pub stored: u64,
    /// Messages that the agent holds.
    pub held: u64,
    /// `up`, `down`, or what became of the agent.
    pub link: String,
    /// Messages in the receiver's file.
    pub received: u64,
    /// Bytes of readings that lie on the disk.
    pub kept: u64,
    /// Bytes written to the disk, all lives of the agent together.
    pub written: u64,
    /// Syncs, likewise.
    pub syncs: u64,
}

/// What came of it all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Readings that the sensor was told are stored.
    pub stored: u64,
    /// Of them, those that never came.
    pub lost: u64,
    /// Different readings that came.
    pub received: u64,
    /// Readings that came again.
    pub twice: u64,
    /// Readings whose first coming was behind that of a later one.
    pub out_of_order: u64,
    /// Bytes written to the disk.
    pub written: u64,
    /// Syncs.
    pub syncs: u64,
}

impl Outcome {
    /// Compares what was promised with what came.
    pub fn of(promised: &[u64], came: &[u64], last: &Moment) -> Outcome {
        let mut seen = std::collections::BTreeSet::new();
        let (mut twice, mut out_of_order) = (0, 0);
        for number in came {
            let newest = seen.last().copied();
            if !seen.insert(*number) {
                twice += 1;
            } else if newest.is_some_and(|newest| newest > *number) {
                out_of_order += 1;
            }
        }
        let lost = promised.iter().filter(|number| !seen.contains(number)).count();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let (stored, received) = (count(promised.len()), count(seen.len()));
        Outcome {
            stored,
            lost: count(lost),
            received,
            twice,
            out_of_order,
            written: last.written,
            syncs: last.syncs,
        }
    }

    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.lost == 0 && self.out_of_order == 0 && self.stored > 0
    }

    /// For programs.
    pub fn document(&self) -> Value {
        json!({
            "stored": self.stored, "lost": self.lost, "received": self.received, "twice": self.twice,
            "out_of_order": self.out_of_order, "disk_bytes_written": self.written, "syncs": self.syncs,
        })
    }

    /// For people.
    pub fn page(&self) -> String {
        format!(
            "\n  stored {}   received {}   lost {}   seen twice {}   out of order {}\n  \
             written to the disk: {} in {} syncs\n",
            self.stored,
            self.received,
            self.lost,
            self.twice,
            self.out_of_order,
            size(self.written),
            self.syncs
        )
    }
}

impl Moment {
    /// The picture, some lines of at most 78 columns.
    pub fn picture(&self) -> String {
        // What was sent and not answered when the agent was killed was never promised.
        let most = self.stored.max(self.received).max(1);
        let mut page = String::new();
        let seconds = self.elapsed.as_secs_f64();
        let _ = writeln!(
            page,
            "  sensor --ws--> agent --ws--> receiver        link {:<14} {seconds:>5.1} s",
            self.link
        );
        for (name, value) in [("stored", self.stored), ("held", self.held), ("received", self.received)] {
            let _ = writeln!(page, "  {name:<9} {} {value:>7}", bar(value, most));
        }
        let (kept, written) = (size(self.kept), size(self.written));
        let _ = writeln!(
            page,
            "  disk      readings {kept}, written since the start {written} in {} syncs",
            self.syncs
        );
        page
    }

    /// The same in one line.
    pub fn line(&self) -> String {
        format!(
            " {:>4.1} s  link {:<12} stored {:>5} held {:>5} received {:>5} disk {}\n",
            self.elapsed.as_secs_f64(),
            self.link,
            self.stored,
            self.held,
            self.received,
            size(self.kept)
        )
    }
}

fn bar(value: u64, most: u64) -> String {
    let full = usize::try_from(value.min(most) * BAR as u64 / most).unwrap_or(BAR);
    format!("{}{}", "#".repeat(full), ".".repeat(BAR - full))
}

fn size(bytes: u64) -> String {
    if bytes < 1_000_000 {
        format!("{:.1} kB", bytes as f64 / 1e3)
    } else {
        format!("{:.1} MB", bytes as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(promised: &[u64], came: &[u64]) -> Outcome {
        Outcome::of(promised, came, &Moment::default())
    }

    #[test]
    fn what_was_promised_and_did_not_come_is_lost() {
        let outcome = outcome(&[1, 2, 3], &[1, 3]);
        assert_eq!((outcome.lost, outcome.received), (1, 2));
        assert!(!outcome.is_good());
    }

    #[test]
    fn what_comes_again_is_counted_and_is_no_fault() {
        let outcome = outcome(&[1, 2], &[1, 2, 1, 2, 3]);
        assert_eq!((outcome.twice, outcome.out_of_order, outcome.lost), (2, 0, 0));
        assert!(outcome.is_good());
    }

    #[test]
    fn what_comes_behind_a_later_one_is_out_of_order() {
        let outcome = outcome(&[1, 2, 3], &[1, 3, 2]);
        assert_eq!(outcome.out_of_order, 1);
        assert!(!outcome.is_good());
    }

    #[test]
    fn nothing_promised_is_no_success() {
        assert!(!outcome(&[], &[]).is_good());
    }

    #[test]
    fn no_line_of_the_picture_is_wider_than_a_terminal() {
        let moment = Moment {
            sent: 30_000,
            stored: 20_000,
            held: 5,
            link: "agent killed".into(),
            ..Moment::default()
        };
        let moment = Moment { kept: 99_900_000, written: 99_900_000, syncs: 10_000, ..moment };
        assert!(moment.picture().lines().all(|line| line.len() < 80), "{}", moment.picture());
        assert!(moment.line().len() < 80, "{}", moment.line());
    }

    #[test]
    fn the_bar_of_all_that_was_promised_is_full_and_the_others_are_parts_of_it() {
        let all = "#".repeat(BAR);
        let bars = |received| {
            let moment = Moment { sent: 30, stored: 20, received, ..Moment::default() };
            let bars = moment
                .picture()
                .lines()
                .filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned()))
                .collect::<Vec<_>>();
            bars[1..4].to_vec()
        };
        assert_eq!(bars(20), [all.clone(), ".".repeat(BAR), all.clone()]);
        assert_eq!(bars(10)[2], format!("{}{}", "#".repeat(BAR / 2), ".".repeat(BAR / 2)));
    }
}
