//! Knowledge of a reference receiver: which numbers it has, which were announced as missing, which are lost; and when it
//! is to misbehave. Pure.
//!
//! A number is *covered* when its message came or a gap announced that it never will. What is uncovered between the
//! first number of an epoch and the last one heard of is lost, unless it still comes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use holdfast_core::outlet::range_set::RangeSet;
use serde::Serialize;

/// Epochs that are remembered; a peer that names more is refused.
const EPOCHS_MAX: usize = 1000;
/// Separate runs of numbers that are remembered of one epoch.
const RUNS_MAX: usize = 100_000;

/// Remembers what came, over all connections.
#[derive(Debug, Default)]
pub struct Receiver {
    epochs: BTreeMap<String, Epoch>,
    refused: BTreeSet<u64>,
    received: u64,
    duplicates: u64,
    nacked: u64,
    gaps: u64,
}

/// Verdict on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is new.
    New {
        /// The first and last number that should have come before it and did not.
        hole: Option<(u64, u64)>,
    },
    /// It came before.
    Duplicate,
    /// It is one of those to refuse.
    Refused,
}

/// There is no room to remember more epochs or more runs of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The sums, as the last line shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Messages, each counted once.
    pub received: u64,
    /// Messages that came again.
    pub duplicates: u64,
    /// Messages that were refused.
    pub nacked: u64,
    /// Announcements of missing numbers.
    pub gaps: u64,
    /// Numbers that were announced as missing and never came.
    pub missing: u64,
    /// Numbers that neither came nor were announced as missing.
    pub lost: u64,
}

impl Receiver {
    /// Starts with nothing; messages with the `refused` numbers are to be answered with a nack.
    pub fn new(refused: impl IntoIterator<Item = u64>) -> Receiver {
        Receiver { refused: refused.into_iter().collect(), ..Receiver::default() }
    }

    /// Takes note of a hello: nothing before `first` can come any more. Returns the number to resume from, if anything
    /// of this epoch was here before.
    pub fn hello(&mut self, epoch: &str, first: u64) -> Result<Option<u64>, Full> {
        let known = self.epochs.get(epoch).is_some_and(|epoch| epoch.covered.total() > 0);
        let epoch = self.epoch(epoch, first)?;
        epoch.skip_to(first);
        Ok(known.then_some(epoch.next))
    }

    /// Takes note of a message of an envelope.
    pub fn message(&mut self, epoch: &str, seq: u64) -> Result<Verdict, Full> {
        let refused = self.refused.contains(&seq);
        let entry = self.epoch(epoch, seq)?;
        let hole = entry.hole_before(seq);
        let new = entry.take(seq);
        Ok(match (refused, new) {
            (true, _) => {
                self.nacked += u64::from(new);
                Verdict::Refused
            }
            (false, true) => {
                self.received += 1;
                Verdict::New { hole }
            }
            (false, false) => {
                self.duplicates += 1;
                Verdict::Duplicate
            }
        })
    }

    /// Takes note of an announcement that nothing more comes for these numbers. Tells whether it says anything new.
    pub fn gap(&mut self, epoch: &str, from: u64, to: u64) -> Result<bool, Full> {
        if to < from {
            return Ok(false);
        }
        let new = self.epoch(epoch, from)?.announce(from, to);
        self.gaps += u64::from(new);
        Ok(new)
    }

    /// Takes note of a message that came during an earlier run.
    pub fn recover_message(&mut self, epoch: &str, seq: u64) -> Result<(), Full> {
        self.epoch(epoch, seq)?.take(seq);
        Ok(())
    }

    /// Takes note of a gap that was announced during an earlier run.
    pub fn recover_gap(&mut self, epoch: &str, from: u64, to: u64) -> Result<(), Full> {
        if from <= to {
            self.epoch(epoch, from)?.announce(from, to);
        }
        Ok(())
    }

    /// Counts a message without a number.
    pub fn raw_message(&mut self) {
        self.received += 1;
    }

    /// The last number that may be acknowledged: everything up to it is covered, or is gone for good.
    pub fn ack(&self, epoch: &str) -> Option<u64> {
        let epoch = self.epochs.get(epoch)?;
        (epoch.next > epoch.base).then(|| epoch.next - 1)
    }

    /// New messages so far, during this run.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The sums at this moment.
    pub fn summary(&self) -> Summary {
        Summary {
            received: self.received,
            duplicates: self.duplicates,
            nacked: self.nacked,
            gaps: self.gaps,
            missing: self.sum(Epoch::missing),
            lost: self.sum(Epoch::lost),
        }
    }

    fn sum(&self, of_epoch: fn(&Epoch) -> u64) -> u64 {
        self.epochs.values().map(of_epoch).fold(0, u64::saturating_add)
    }

    fn epoch(&mut self, name: &str, first: u64) -> Result<&mut Epoch, Full> {
        if !self.epochs.contains_key(name) {
            if self.epochs.len() >= EPOCHS_MAX {
                return Err(Full);
            }
            self.epochs.insert(name.to_owned(), Epoch::starting_at(first));
        }
        let epoch = self.epochs.get_mut(name).ok_or(Full)?;
        if epoch.covered.len() >= RUNS_MAX { Err(Full) } else { Ok(epoch) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { received, duplicates, nacked, gaps, missing, lost } = self;
        write!(f, "received={received} duplicates={duplicates} nacked={nacked} ")?;
        write!(f, "gaps={gaps} missing={missing} lost={lost}")
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no room to remember more epochs or holes")
    }
}

/// The numbers of one epoch.
#[derive(Debug)]
struct Epoch {
    /// First number that counts.
    base: u64,
    /// First number that is neither covered nor gone for good.
    next: u64,
    /// First number that nothing was heard of.
    end: u64,
    came: RangeSet,
    covered: RangeSet,
}

impl Epoch {
    fn starting_at(first: u64) -> Epoch {
        Epoch {
            base: first,
            next: first,
            end: first,
            came: RangeSet::default(),
            covered: RangeSet::default(),
        }
    }

    fn hole_before(&self, seq: u64) -> Option<(u64, u64)> {
        let from = self.covered.first_missing_from(self.end.max(self.next));
        (from < seq).then(|| (from, seq - 1))
    }

    fn take(&mut self, seq: u64) -> bool {
        self.cover(seq, seq);
        self.came.insert(seq, seq) > 0
    }

    fn announce(&mut self, from: u64, to: u64) -> bool {
        self.cover(from, to) > 0
    }

    fn cover(&mut self, from: u64, to: u64) -> u64 {
        let new = self.covered.insert(from, to);
        self.base = self.base.min(from);
        self.end = self.end.max(to.saturating_add(1));
        self.next = self.covered.first_missing_from(self.next);
        new
    }

    fn skip_to(&mut self, first: u64) {
        self.end = self.end.max(first);
        self.next = self.covered.first_missing_from(self.next.max(first));
    }

    fn missing(&self) -> u64 {
        self.covered.total().saturating_sub(self.came.total())
    }

    fn lost(&self) -> u64 {
        (self.end - self.base).saturating_sub(self.covered.total())
    }
}

/// How a receiver is to misbehave, so that a sender can be tested.
#[derive(Debug, Clone, Default)]
pub struct Conduct {
    /// Number of messages of a connection, and the act that follows.
    pub after: Option<(u64, Act)>,
    /// Never answers a ping.
    pub no_pong: bool,
    /// Never acknowledges.
    pub no_ack: bool,
    /// Reads no more than this many bytes each second.
    pub bytes_per_second: Option<u32>,
    /// Only so many connections, from the first, see any of it; without a number all do.
    pub connections: Option<u64>,
}

/// End of the good conduct of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Resets the connection (TCP RST).
    Drop,
    /// Says goodbye with this close code.
    Close(u16),
    /// Leaves the connection open, reads nothing, says nothing.
    Silence,
    /// Ends the whole process at once.
    Die,
}

impl Conduct {
    /// Conduct on the connection with this number, counted from 0.
    pub fn of_connection(&self, index: u64) -> Conduct {
        if self.connections.is_none_or(|limit| index < limit) { self.clone() } else { Conduct::default() }
    }

    /// Act that is due after this number of messages of a connection.
    pub fn act(&self, messages: u64) -> Option<Act> {
        self.after.and_then(|(limit, act)| (messages >= limit).then_some(act))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEW: Result<Verdict, Full> = Ok(Verdict::New { hole: None });

    fn with_messages(seqs: impl IntoIterator<Item = u64>) -> Receiver {
        let mut receiver = Receiver::new([]);
        for seq in seqs {
            receiver.message("E", seq).unwrap();
        }
        receiver
    }

    #[test]
    fn a_message_that_comes_again_is_a_duplicate_and_counts_once() {
        let mut receiver = with_messages(1..=3);
        assert_eq!(receiver.message("E", 2), Ok(Verdict::Duplicate));
        assert_eq!(receiver.message("E", 4), NEW);
        let summary = receiver.summary();
        assert_eq!((summary.received, summary.duplicates, summary.lost), (4, 1, 0));
    }

    #[test]
    fn the_same_number_of_another_epoch_is_new() {
        let mut receiver = with_messages(1..=3);
        assert_eq!(receiver.message("F", 2), NEW);
        assert_eq!((receiver.ack("E"), receiver.ack("F")), (Some(3), Some(2)));
    }

    #[test]
    fn an_unannounced_hole_is_lost_and_is_never_acknowledged_over() {
        let mut receiver = with_messages([1, 2]);
        assert_eq!(receiver.message("E", 5), Ok(Verdict::New { hole: Some((3, 4)) }));
        assert_eq!(receiver.message("E", 6), NEW);
        assert_eq!(receiver.ack("E"), Some(2));
        assert_eq!(receiver.summary().lost, 2);
    }

    #[test]
    fn a_hole_that_is_filled_later_is_not_lost() {
        let mut receiver = with_messages([1, 2, 5, 4]);
        assert_eq!((receiver.ack("E"), receiver.summary().lost), (Some(2), 1));
        receiver.message("E", 3).unwrap();
        assert_eq!((receiver.ack("E"), receiver.summary().lost), (Some(5), 0));
    }

    #[test]
    fn an_announced_gap_is_missing_and_not_lost_and_is_acknowledged() {
        let mut receiver = with_messages(1..=189);
        assert_eq!(receiver.gap("E", 190, 240), Ok(true));
        assert_eq!(receiver.ack("E"), Some(240));
        let summary = receiver.summary();
        assert_eq!((summary.gaps, summary.missing, summary.lost), (1, 51, 0));
    }

    #[test]
    fn a_gap_over_numbers_that_came_already_misses_only_the_others() {
        let mut receiver = with_messages([1, 2, 3, 5]);
        assert_eq!(receiver.gap("E", 2, 6), Ok(true));
        assert_eq!((receiver.summary().missing, receiver.summary().lost, receiver.ack("E")), (2, 0, Some(6)));
    }

    #[test]
    fn a_gap_that_is_announced_again_counts_once() {
        let mut receiver = with_messages([1]);
        assert_eq!(receiver.gap("E", 2, 4), Ok(true));
        assert_eq!(receiver.gap("E", 2, 4), Ok(false));
        assert_eq!(receiver.gap("E", 4, 2), Ok(false));
        assert_eq!(receiver.summary().gaps, 1);
    }

    #[test]
    fn a_message_that_comes_in_spite_of_its_gap_is_new_and_misses_no_more() {
        let mut receiver = with_messages([1]);
        receiver.gap("E", 2, 3).unwrap();
        assert_eq!(receiver.message("E", 2), NEW);
        assert_eq!(receiver.message("E", 2), Ok(Verdict::Duplicate));
        assert_eq!(receiver.summary().missing, 1);
    }

    #[test]
    fn an_unknown_epoch_has_nothing_to_resume_and_starts_at_the_first_number_of_the_hello() {
        let mut receiver = Receiver::new([]);
        assert_eq!(receiver.hello("E", 101), Ok(None));
        assert_eq!(receiver.ack("E"), None);
        assert_eq!(receiver.message("E", 103), Ok(Verdict::New { hole: Some((101, 102)) }));
        assert_eq!(receiver.summary().lost, 2);
    }

    #[test]
    fn a_known_epoch_resumes_behind_what_came() {
        let mut receiver = with_messages(101..=149);
        assert_eq!(receiver.hello("E", 101), Ok(Some(150)));
        assert_eq!(receiver.hello("F", 1), Ok(None));
    }

    #[test]
    fn what_the_sender_no_longer_holds_is_lost_for_good_and_the_acks_go_on() {
        let mut receiver = with_messages(1..=10);
        assert_eq!(receiver.hello("E", 21), Ok(Some(21)));
        assert_eq!(receiver.message("E", 21), NEW);
        assert_eq!(receiver.ack("E"), Some(21));
        assert_eq!(receiver.summary().lost, 10);
    }

    #[test]
    fn a_hole_that_the_sender_no_longer_holds_does_not_hold_up_what_came_behind_it() {
        let mut receiver = with_messages([1, 5, 6]);
        assert_eq!(receiver.hello("E", 4), Ok(Some(4)));
        assert_eq!(receiver.hello("E", 5), Ok(Some(7)));
        assert_eq!(receiver.ack("E"), Some(6));
        assert_eq!(receiver.summary().lost, 3);
    }

    #[test]
    fn a_hole_below_the_first_number_that_came_counts_too() {
        assert_eq!(with_messages([5, 3]).summary().lost, 1);
    }

    #[test]
    fn what_an_earlier_run_stored_is_a_duplicate_and_is_resumed_behind() {
        let mut receiver = Receiver::new([]);
        receiver.recover_message("E", 1).unwrap();
        receiver.recover_gap("E", 2, 4).unwrap();
        assert_eq!(receiver.summary().received, 0);
        assert_eq!(receiver.hello("E", 1), Ok(Some(5)));
        assert_eq!(receiver.message("E", 1), Ok(Verdict::Duplicate));
    }

    #[test]
    fn a_refused_number_is_refused_each_time_and_holds_up_nothing() {
        let mut receiver = Receiver::new([2]);
        assert_eq!(receiver.message("E", 1), NEW);
        assert_eq!(receiver.message("E", 2), Ok(Verdict::Refused));
        assert_eq!(receiver.message("E", 2), Ok(Verdict::Refused));
        assert_eq!(receiver.message("E", 3), NEW);
        assert_eq!(receiver.ack("E"), Some(3));
        let summary = receiver.summary();
        assert_eq!((summary.received, summary.nacked, summary.lost), (2, 1, 0));
    }

    #[test]
    fn a_peer_that_names_epochs_without_end_is_refused() {
        let mut receiver = Receiver::new([]);
        for epoch in 0..EPOCHS_MAX {
            receiver.hello(&epoch.to_string(), 1).unwrap();
        }
        assert_eq!(receiver.hello("one more", 1), Err(Full));
        assert_eq!(receiver.hello("0", 1), Ok(None));
    }

    #[test]
    fn the_largest_numbers_do_no_harm() {
        let mut receiver = with_messages([0, u64::MAX]);
        receiver.gap("E", 0, u64::MAX).unwrap();
        receiver.gap("E", 0, u64::MAX).unwrap();
        receiver.hello("E", u64::MAX).unwrap();
        receiver.message("E", u64::MAX).unwrap();
        assert_eq!(receiver.summary().lost, 0);
    }

    #[test]
    fn only_the_first_connections_are_treated_badly() {
        let conduct =
            Conduct { after: Some((2, Act::Drop)), no_ack: true, connections: Some(1), ..Conduct::default() };
        assert_eq!(conduct.of_connection(0).act(1), None);
        assert_eq!(conduct.of_connection(0).act(2), Some(Act::Drop));
        assert_eq!(conduct.of_connection(1).act(2), None);
        assert!(!conduct.of_connection(1).no_ack);
    }

    proptest! {
        #[test]
        fn an_ack_never_covers_a_number_that_did_not_come(seqs in prop::collection::vec(1u64..40, 1..60)) {
            let mut receiver = Receiver::new([]);
            receiver.hello("E", 1).unwrap();
            let mut came = BTreeSet::new();
            for seq in seqs {
                let new = receiver.message("E", seq).unwrap() != Verdict::Duplicate;
                prop_assert_eq!(new, came.insert(seq));
                let ack = receiver.ack("E").unwrap_or(0);
                prop_assert!((1..=ack).all(|n| came.contains(&n)) && !came.contains(&(ack + 1)));
                let last = *came.last().unwrap();
                prop_assert_eq!(receiver.summary().lost, last - came.len() as u64);
            }
        }
    }
}
