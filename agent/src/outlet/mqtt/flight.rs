//! Which numbers the broker has, when its PUBACKs come in any order. Pure.

use std::collections::VecDeque;

/// What was handed out and is not settled, in the order in which it went.
#[derive(Debug, Default)]
pub struct Flights {
    flights: VecDeque<Flight>,
}

#[derive(Debug)]
struct Flight {
    /// Packet id whose PUBACK is awaited; none when nothing is.
    awaits: Option<u16>,
    /// Last number that it covers; none for a publication without one.
    through: Option<u64>,
}

impl Flights {
    /// A packet with this id is on its way.
    pub fn sent(&mut self, packet_id: u16, through: Option<u64>) {
        self.flights.push_back(Flight { awaits: Some(packet_id), through });
    }

    /// Nothing is sent for the numbers through this one.
    pub fn skipped(&mut self, through: Option<u64>) {
        self.flights.push_back(Flight { awaits: None, through });
    }

    /// The broker has acknowledged this packet id: the oldest packet that bears it, since an id may be given again while
    /// the packet that bore it before still waits.
    pub fn acknowledged(&mut self, packet_id: u16) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.awaits == Some(packet_id)) {
            flight.awaits = None;
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_not_settled_before_all_that_went_ahead_of_it() {
        let mut flights = Flights::default();
        (1..=3).for_each(|id| flights.sent(id, Some(u64::from(id) + 100)));
        flights.acknowledged(2);
        flights.acknowledged(3);
        assert_eq!(flights.settle(), None);
        flights.acknowledged(1);
        assert_eq!(flights.settle(), Some(103));
        assert!(flights.is_empty());
    }

    #[test]
    fn what_is_skipped_settles_with_its_neighbours() {
        let mut flights = Flights::default();
        flights.skipped(Some(1));
        assert_eq!(flights.settle(), Some(1));
        flights.sent(1, Some(2));
        flights.skipped(Some(9));
        assert_eq!(flights.settle(), None);
        flights.acknowledged(1);
        assert_eq!(flights.settle(), Some(9));
    }

    #[test]
    fn a_publication_without_a_number_holds_back_those_behind_it_and_reports_none() {
        let mut flights = Flights::default();
        flights.sent(1, None);
        flights.sent(2, Some(7));
        flights.acknowledged(2);
        assert_eq!(flights.settle(), None);
        flights.acknowledged(1);
        assert_eq!(flights.settle(), Some(7));
        flights.sent(3, None);
        flights.acknowledged(3);
        assert_eq!(flights.settle(), None);
        assert!(flights.is_empty());
    }

    #[test]
    fn an_id_that_is_given_twice_is_acknowledged_in_the_order_of_the_packets() {
        let mut flights = Flights::default();
        flights.sent(5, None);
        flights.sent(5, Some(1));
        flights.acknowledged(5);
        assert_eq!(flights.settle(), None);
        assert!(!flights.is_empty());
        flights.acknowledged(5);
        assert_eq!(flights.settle(), Some(1));
    }
}
