//! Publications that the broker has not acknowledged: their packet identifiers, and what its PUBACKs say of them, in any order. Pure.
//!
//! A code that speaks of the message is no proof against it, since a broker may refuse everything. So a refused message is sent once
//! more, and set aside only when the broker refuses it again and has taken another one on this connection. Where it has taken none
//! the connection ends, and what looks for the message goes on ([`poison`](crate::link::poison)).

use std::collections::{BTreeSet, VecDeque};

use super::outcome::Outcome;
use super::{Verdict, verdict};
use crate::link::closing::Closing;

/// What was handed out and is not settled, in the order in which it went. `T` stands for what was published.
#[derive(Debug)]
pub struct Flights<T> {
    flights: VecDeque<Flight<T>>,
    /// Packet identifiers whose PUBACK is awaited.
    ids: BTreeSet<u16>,
    last_id: u16,
    /// Whether the broker took anything.
    has_taken: bool,
}

#[derive(Debug)]
struct Flight<T> {
    /// What awaits a PUBACK; none when nothing does.
    awaits: Option<Awaited<T>>,
    /// Last number that it covers; none for a publication without one.
    through: Option<u64>,
}

#[derive(Debug)]
struct Awaited<T> {
    id: u16,
    what: T,
    was_refused: bool,
}

/// What follows from a PUBACK.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered<T> {
    /// The broker has it.
    Taken(T),
    /// It is to be sent once more, with this packet identifier.
    Again(T, u16),
    /// The broker does not take it, and takes others: it is settled.
    Refused(T),
    /// The connection is to end.
    Ends(T, Closing),
    /// Nothing was sent with this packet identifier.
    Unknown,
}

impl<T> Default for Flights<T> {
    fn default() -> Flights<T> {
        Flights { flights: VecDeque::new(), ids: BTreeSet::new(), last_id: 0, has_taken: false }
    }
}

impl<T: Clone> Flights<T> {
    /// Something is on its way. Returns its packet identifier.
    pub fn sent(&mut self, what: T, through: Option<u64>) -> u16 {
        let id = self.next_id();
        let awaits = Some(Awaited { id, what, was_refused: false });
        self.flights.push_back(Flight { awaits, through });
        id
    }

    /// Nothing is sent for the numbers through this one, or nothing that is acknowledged.
    pub fn skipped(&mut self, through: Option<u64>) {
        self.flights.push_back(Flight { awaits: None, through });
    }

    /// How many await their PUBACK.
    pub fn awaited(&self) -> usize {
        self.ids.len()
    }

    /// The broker has answered the publication with this packet identifier. `is_numbered` tells whether what was published is a
    /// message that must not be lost.
    pub fn answered(&mut self, id: u16, outcome: &Outcome, is_numbered: impl Fn(&T) -> bool) -> Answered<T> {
        let is_it = |flight: &Flight<T>| flight.awaits.as_ref().is_some_and(|awaited| awaited.id == id);
        let Some(at) = self.flights.iter().position(is_it) else { return Answered::Unknown };
        let Some(awaited) = self.flights[at].awaits.take() else { return Answered::Unknown };
        self.ids.remove(&id);
        let Awaited { what, was_refused, .. } = awaited;
        match verdict(outcome) {
            Verdict::Taken => {
                self.has_taken = true;
                Answered::Taken(what)
            }
            Verdict::Refused | Verdict::Ends(_) if !is_numbered(&what) => Answered::Refused(what),
            Verdict::Refused if was_refused && self.has_taken => Answered::Refused(what),
            Verdict::Refused if was_refused => self.ends(at, id, what, Closing::Message),
            Verdict::Refused => {
                let again = self.next_id();
                self.flights[at].awaits = Some(Awaited { id: again, what: what.clone(), was_refused: true });
                Answered::Again(what, again)
            }
            Verdict::Ends(closing) => self.ends(at, id, what, closing),
        }
    }

    /// Nothing behind it may be confirmed any more.
    fn ends(&mut self, at: usize, id: u16, what: T, closing: Closing) -> Answered<T> {
        self.flights[at].awaits = Some(Awaited { id, what: what.clone(), was_refused: true });
        Answered::Ends(what, closing)
    }

    /// Takes away what is settled without a hole before it. Returns the last number among it.
    pub fn settle(&mut self) -> Option<u64> {
        let mut through = None;
        while self.flights.front().is_some_and(|flight| flight.awaits.is_none()) {
            let flight = self.flights.pop_front();
            through = flight.and_then(|flight| flight.through).or(through);
        }
        through
    }

    /// Whether everything is settled.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// The next packet identifier that no other publication bears. There is always one: no more than half of them are in flight.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.ids.insert(self.last_id) {
                return self.last_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flying(count: u64) -> (Flights<u64>, Vec<u16>) {
        let mut flights = Flights::default();
        let ids = (1..=count).map(|seq| flights.sent(seq, Some(seq))).collect();
        (flights, ids)
    }

    fn answer(flights: &mut Flights<u64>, id: u16, code: u8) -> Answered<u64> {
        flights.answered(id, &Outcome::of(code), |_| true)
    }

    #[test]
    fn a_number_is_not_settled_before_all_that_went_ahead_of_it() {
        let (mut flights, ids) = flying(3);
        assert_eq!(answer(&mut flights, ids[1], 0), Answered::Taken(2));
        assert_eq!(answer(&mut flights, ids[2], 0x10), Answered::Taken(3));
        assert_eq!((flights.settle(), flights.awaited()), (None, 1));
        assert_eq!(answer(&mut flights, ids[0], 0), Answered::Taken(1));
        assert_eq!(flights.settle(), Some(3));
        assert!(flights.is_empty());
        assert_eq!(answer(&mut flights, ids[0], 0), Answered::Unknown, "each is answered once");
    }

    #[test]
    fn what_is_skipped_settles_with_its_neighbours() {
        let mut flights = Flights::default();
        flights.skipped(Some(1));
        assert_eq!(flights.settle(), Some(1));
        let id = flights.sent(2, Some(2));
        flights.skipped(Some(9));
        assert_eq!(flights.settle(), None);
        answer(&mut flights, id, 0);
        assert_eq!(flights.settle(), Some(9));
        let id = flights.sent(0, None);
        answer(&mut flights, id, 0);
        assert_eq!((flights.settle(), flights.is_empty()), (None, true));
    }

    #[test]
    fn an_identifier_is_not_given_again_before_its_answer() {
        let (mut flights, ids) = flying(2);
        answer(&mut flights, ids[1], 0);
        flights.last_id = u16::MAX;
        assert_eq!((flights.sent(3, Some(3)), flights.sent(4, Some(4))), (2, 3));
        assert_eq!(flights.awaited(), 3);
    }

    #[test]
    fn a_refused_message_is_set_aside_after_a_second_time_if_the_broker_takes_another() {
        let (mut flights, ids) = flying(2);
        let Answered::Again(1, again) = answer(&mut flights, ids[0], 0x99) else {
            panic!("it is given up at once")
        };
        assert!(!ids.contains(&again));
        assert_eq!(answer(&mut flights, ids[1], 0), Answered::Taken(2));
        assert_eq!(flights.settle(), None, "nothing is confirmed past it");
        assert_eq!(answer(&mut flights, again, 0x99), Answered::Refused(1));
        assert_eq!((flights.settle(), flights.awaited()), (Some(2), 0));
    }

    #[test]
    fn a_broker_that_takes_nothing_blames_no_message() {
        let (mut flights, ids) = flying(2);
        let Answered::Again(1, first) = answer(&mut flights, ids[0], 0x90) else { panic!("it is given up") };
        let Answered::Again(2, _) = answer(&mut flights, ids[1], 0x90) else { panic!("it is given up") };
        assert_eq!(answer(&mut flights, first, 0x90), Answered::Ends(1, Closing::Message));
        assert_eq!(flights.settle(), None);
    }

    #[test]
    fn what_is_not_about_the_message_ends_the_connection_and_confirms_nothing() {
        let busy = Closing::Busy { retry_after: None };
        for (code, closing) in [(0x87, Closing::Unauthorized), (0x97, busy), (0x80, Closing::Message)] {
            let (mut flights, ids) = flying(2);
            answer(&mut flights, ids[1], 0);
            assert_eq!(answer(&mut flights, ids[0], code), Answered::Ends(1, closing));
            assert_eq!(flights.settle(), None);
        }
    }

    #[test]
    fn a_refused_state_is_settled_for_the_next_one_takes_its_place() {
        let mut flights = Flights::default();
        for code in [0x87, 0x97, 0x99] {
            let id = flights.sent((), None);
            assert_eq!(flights.answered(id, &Outcome::of(code), |()| false), Answered::Refused(()));
            assert!(flights.settle().is_none() && flights.is_empty());
        }
    }
}
