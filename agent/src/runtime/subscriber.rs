//! Those who subscribed to what is accepted.

use std::sync::Arc;

use holdfast_core::message::Message;
use holdfast_core::observe::status::Consumers;
use holdfast_core::topic_filter::TopicFilter;

use crate::source::intake::{Publisher, Subscription, downlink, feed};

/// How many may read at a time.
const SUBSCRIBERS_MAX: usize = 64;

/// Everybody who reads.
#[derive(Debug, Default)]
pub struct Subscribers {
    publishers: Vec<Publisher>,
    dropped: u64,
}

impl Subscribers {
    /// Takes in another one. The error says that there are too many.
    pub fn add(&mut self, filters: Vec<TopicFilter>) -> Result<Subscription, String> {
        if self.readers() >= SUBSCRIBERS_MAX {
            return Err(format!("{SUBSCRIBERS_MAX} others read already"));
        }
        let (publisher, feed) = feed(filters);
        self.publishers.push(publisher);
        Ok(feed)
    }

    /// Takes in a server that hands on what may go to sensors. There is one for each server, whatever others read.
    pub fn add_downlink(&mut self) -> Subscription {
        let (publisher, feed) = downlink();
        self.publishers.push(publisher);
        feed
    }

    /// How many read topics.
    fn readers(&mut self) -> usize {
        self.publishers.retain(|publisher| !publisher.is_over());
        self.publishers.iter().filter(|publisher| publisher.is_for_topics()).count()
    }

    /// Shows what was accepted.
    pub fn show(&mut self, messages: &[Arc<Message>]) {
        if messages.is_empty() || self.publishers.is_empty() {
            return;
        }
        self.publishers.retain(|publisher| !publisher.is_over());
        for publisher in &mut self.publishers {
            let lost = messages.iter().filter(|message| publisher.show(message)).count();
            self.dropped += u64::try_from(lost).unwrap_or(u64::MAX);
        }
    }

    /// How many there are, and what they lost.
    pub fn status(&mut self) -> Consumers {
        Consumers { subscribers: self.readers(), dropped: self.dropped }
    }

    /// Sends all of them away.
    pub fn clear(&mut self) {
        self.publishers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_may_read_and_a_place_that_is_left_is_free_again() {
        let mut subscribers = Subscribers::default();
        let mut reading: Vec<_> =
            (0..SUBSCRIBERS_MAX).map(|_| subscribers.add(Vec::new()).unwrap()).collect();
        assert!(subscribers.add(Vec::new()).unwrap_err().contains("others read already"));
        reading.pop();
        assert!(subscribers.add(Vec::new()).is_ok());
        drop(reading);
        assert_eq!(subscribers.status(), Consumers { subscribers: 0, dropped: 0 });
    }
}
