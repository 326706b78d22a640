//! Who waits for which messages to be safe: a batch is answered once every outlet has every message of it safe.

use std::collections::VecDeque;

use crate::ids::RequestId;
use crate::source::intake::Answer;
use crate::time::Time;

/// Batches that were taken and not answered yet, in the order of their ids.
#[derive(Debug, Clone, Default)]
pub struct PendingAcks {
    waiting: VecDeque<Accept>,
}

#[derive(Debug, Clone)]
struct Accept {
    request: RequestId,
    at: Time,
    first: u64,
    last: u64,
    /// How many times one of its messages must still become safe in an outlet.
    remaining: u64,
}

impl PendingAcks {
    /// Notes a batch that came at this time with the ids from `first` to `last`, which takes so many places in outlets.
    pub fn add(&mut self, at: Time, request: RequestId, (first, last): (u64, u64), places: u64) {
        self.waiting.push_back(Accept { request, at, first, last, remaining: places });
    }

    /// When the oldest batch came that is not answered yet.
    pub fn oldest(&self) -> Option<Time> {
        self.waiting.front().map(|accept| accept.at)
    }

    /// Gives up waiting for the oldest batch: what becomes of its messages is not answered any more. Returns its request.
    pub fn give_up(&mut self) -> Option<RequestId> {
        self.waiting.pop_front().map(|accept| accept.request)
    }

    /// A message became safe in one outlet. Returns the answer that is due by it. Ids without a batch are ignored.
    pub fn release(&mut self, id: u64) -> Option<(RequestId, Answer)> {
        let at = self.waiting.partition_point(|accept| accept.last < id);
        let accept = self.waiting.get_mut(at).filter(|accept| accept.first <= id)?;
        accept.remaining = accept.remaining.saturating_sub(1);
        if accept.remaining > 0 {
            return None;
        }
        let answer = Answer::Stored { first: accept.first, last: accept.last };
        let accept = self.waiting.remove(at)?;
        Some((accept.request, answer))
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_answered_only_when_every_outlet_has_every_message_of_it() {
        let mut accepts = PendingAcks::default();
        accepts.add(Time::default(), RequestId(7), (10, 11), 4);
        assert_eq!(accepts.release(10), None);
        assert_eq!(accepts.release(11), None);
        assert_eq!(accepts.release(10), None);
        assert_eq!(accepts.release(11), Some((RequestId(7), Answer::Stored { first: 10, last: 11 })));
        assert!(accepts.is_empty());
    }

    #[test]
    fn a_later_batch_does_not_wait_for_an_earlier_one() {
        let mut accepts = PendingAcks::default();
        accepts.add(Time::default(), RequestId(1), (1, 1), 1);
        accepts.add(Time::default(), RequestId(2), (2, 2), 1);
        assert_eq!(accepts.release(2), Some((RequestId(2), Answer::Stored { first: 2, last: 2 })));
        assert_eq!(accepts.release(1), Some((RequestId(1), Answer::Stored { first: 1, last: 1 })));
    }

    #[test]
    fn ids_that_nobody_waits_for_are_ignored() {
        let mut accepts = PendingAcks::default();
        accepts.add(Time::default(), RequestId(1), (5, 5), 1);
        assert_eq!(accepts.release(4), None);
        assert_eq!(accepts.release(6), None);
        assert!(!accepts.is_empty());
    }

    #[test]
    fn a_batch_that_is_given_up_is_not_answered_a_second_time() {
        let mut accepts = PendingAcks::default();
        accepts.add(Time(5), RequestId(1), (1, 1), 1);
        accepts.add(Time(7), RequestId(2), (2, 2), 1);
        assert_eq!((accepts.oldest(), accepts.give_up()), (Some(Time(5)), Some(RequestId(1))));
        assert_eq!(accepts.release(1), None);
        assert_eq!(
            (accepts.oldest(), accepts.release(2).map(|(request, _)| request)),
            (Some(Time(7)), Some(RequestId(2)))
        );
        assert_eq!((accepts.oldest(), accepts.give_up()), (None, None));
    }
}
