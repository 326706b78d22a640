//! The last message of each topic, for those who come and ask. It is kept in memory only and bounded in topics and bytes: the
//! topic that has been silent for longest gives way first.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::message::Message;
use crate::observe::status::rfc3339;
use crate::topic_filter::TopicFilter;

/// Bytes of all values together.
const BYTES_MAX: usize = 1_000_000;
/// What a topic costs beside its message.
const TOPIC_BYTES: usize = 128;

/// The last message of each topic.
#[derive(Debug, Default)]
pub struct Last {
    topics_max: usize,
    topics: BTreeMap<String, Turn>,
    /// By their turn, so that the first one has been silent for longest.
    messages: BTreeMap<u64, Arc<Message>>,
    next_turn: u64,
    bytes: usize,
    evicted: u64,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    turn: u64,
    /// Messages of the topic since it came here.
    count: u64,
}

impl Last {
    /// Keeps so many topics.
    pub fn new(topics_max: usize) -> Last {
        Last { topics_max, ..Last::default() }
    }

    /// Keeps another number of topics from here on.
    pub fn resize(&mut self, topics_max: usize) {
        self.topics_max = topics_max;
        self.evict();
    }

    /// A message was accepted.
    pub fn took(&mut self, message: &Arc<Message>) {
        if self.topics_max == 0 {
            return;
        }
        let (turn, mut count) = (self.next_turn, 1);
        self.next_turn += 1;
        if let Some(known) = self.topics.get_mut(&message.topic) {
            count += known.count;
            if let Some(before) = self.messages.remove(&known.turn) {
                self.bytes -= cost(&before);
            }
            *known = Turn { turn, count };
        } else {
            self.topics.insert(message.topic.clone(), Turn { turn, count });
        }
        self.bytes += cost(message);
        self.messages.insert(turn, Arc::clone(message));
        self.evict();
    }

    /// The last message of a topic.
    pub fn of(&self, topic: &str) -> Option<&Arc<Message>> {
        self.messages.get(&self.topics.get(topic)?.turn)
    }

    /// The topics that the filter means, and how many had to give way.
    pub fn shown(&self, filter: &TopicFilter) -> Value {
        let topics = self.topics.iter().filter(|(topic, _)| filter.matches(topic));
        let topics = topics.filter_map(|(topic, known)| {
            let message = self.messages.get(&known.turn)?;
            Some(json!({
                "topic": topic, "time": rfc3339(message.time_ns), "count": known.count, "device": message.device,
                "bytes": message.payload.len(),
            }))
        });
        json!({ "topics": topics.collect::<Vec<_>>(), "evicted": self.evicted })
    }

    fn evict(&mut self) {
        while self.topics.len() > self.topics_max || self.bytes > BYTES_MAX {
            let Some((_, message)) = self.messages.pop_first() else { return };
            self.bytes -= cost(&message);
            self.topics.remove(&message.topic);
            self.evicted += 1;
        }
    }
}

impl Agent {
    /// What was accepted before the last [`Agent::advance`] and after the one before.
    pub fn news(&self) -> &[Arc<Message>] {
        self.buffer.news()
    }
}

fn cost(message: &Message) -> usize {
    message.weight() + TOPIC_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Boot, Clock, Format};

    fn message(topic: &str, payload: &[u8]) -> Arc<Message> {
        Arc::new(Message {
            id: 1,
            time_ns: 1_000_000_000,
            clock: Clock::Synced,
            boot: Boot(0),
            up_ns: 0,
            topic: topic.to_owned(),
            device: None,
            source: "server:s".into(),
            format: Format::Text,
            payload: payload.to_owned(),
            attributes: Vec::new(),
            ttl_s: None,
        })
    }

    fn payload(last: &Last, topic: &str) -> Option<Vec<u8>> {
        last.of(topic).map(|message| message.payload.clone())
    }

    #[test]
    fn the_last_one_of_a_topic_is_kept_and_all_are_counted() {
        let mut last = Last::new(10);
        for (topic, text) in [("a/b", b"1"), ("c", b"2"), ("a/b", b"3")] {
            last.took(&message(topic, text));
        }
        assert_eq!(payload(&last, "a/b"), Some(b"3".to_vec()));
        assert_eq!(payload(&last, "a"), None);
        let shown = last.shown(&TopicFilter::parse("a/*").unwrap());
        let topic = json!({
            "topic": "a/b", "time": "1970-01-01T00:00:01.000Z", "count": 2, "device": null, "bytes": 1,
        });
        assert_eq!(shown, json!({ "topics": [topic], "evicted": 0 }));
    }

    #[test]
    fn the_topic_that_was_silent_for_longest_gives_way() {
        let mut last = Last::new(2);
        for topic in ["a", "b", "a", "c"] {
            last.took(&message(topic, b"x"));
        }
        let here = |last: &Last| ["a", "b", "c"].map(|topic| last.of(topic).is_some());
        assert_eq!(here(&last), [true, false, true]);
        assert_eq!(last.shown(&TopicFilter::parse("#").unwrap())["evicted"], 1);
        last.resize(1);
        assert_eq!(here(&last), [false, false, true]);
        last.resize(0);
        last.took(&message("a", b"x"));
        assert_eq!(here(&last), [false; 3]);
    }

    #[test]
    fn all_values_together_stay_within_their_bytes() {
        let mut last = Last::new(1000);
        let half = vec![0; BYTES_MAX / 2];
        for topic in ["a", "b", "a", "c"] {
            last.took(&message(topic, &half));
        }
        assert!(last.bytes <= BYTES_MAX);
        assert_eq!(payload(&last, "c"), Some(half));
        last.took(&message("d", &vec![0; BYTES_MAX]));
        assert_eq!((last.of("d"), last.bytes, last.topics.len()), (None, 0, 0), "it is too large alone");
    }
}
