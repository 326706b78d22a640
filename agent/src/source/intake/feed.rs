//! The way from the loop to one who reads: a queue that is bounded in messages and bytes. Who does not keep up loses messages, and
//! is told how many.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use holdfast_core::message::Message;
use holdfast_core::topic_filter::TopicFilter;
use smol::channel::{Receiver, Sender, bounded};

/// Messages that may wait for one reader.
const MESSAGES: usize = 512;
/// Their weight, unless there is only one.
const BYTES: usize = 1 << 20;

/// Messages that may wait for a server that hands them on: what one peer may send at once.
const DOWNLINK_MESSAGES: usize = 2048;
/// Beginning of the sources that are servers: what a sensor has sent goes to no other one.
const SERVERS: &str = "server:";

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A message of the topics that it asked for.
    Message(Arc<Message>),
    /// So many of them had no room at this point.
    Dropped(u64),
}

/// The reader's end.
#[derive(Debug)]
pub struct Subscription {
    news: Receiver<Delivery>,
    load: Rc<Load>,
}

/// The loop's end.
#[derive(Debug)]
pub struct Publisher {
    wanted: Wanted,
    news: Sender<Delivery>,
    load: Rc<Load>,
}

/// What a reader asked for.
#[derive(Debug)]
enum Wanted {
    /// The topics of any of these filters.
    Topics(Vec<TopicFilter>),
    /// All that may go to sensors.
    Downlink,
}

impl Wanted {
    fn matches(&self, message: &Message) -> bool {
        match self {
            Wanted::Topics(filters) => filters.iter().any(|filter| filter.matches(&message.topic)),
            Wanted::Downlink => !message.source.starts_with(SERVERS),
        }
    }
}

/// What both ends know.
#[derive(Debug, Default)]
struct Load {
    /// Weight of the messages that wait.
    bytes: Cell<usize>,
    /// Messages that had no room, and of which the reader was not told yet.
    dropped: Cell<u64>,
}

/// Makes both ends, for the topics that any of these filters means.
pub fn feed(filters: Vec<TopicFilter>) -> (Publisher, Subscription) {
    ends(Wanted::Topics(filters), MESSAGES)
}

/// Makes both ends, for all that did not come from a sensor.
pub fn downlink() -> (Publisher, Subscription) {
    ends(Wanted::Downlink, DOWNLINK_MESSAGES)
}

fn ends(wanted: Wanted, messages: usize) -> (Publisher, Subscription) {
    let (sender, news) = bounded(messages);
    let load = Rc::<Load>::default();
    (Publisher { wanted, news: sender, load: load.clone() }, Subscription { news, load })
}

impl Publisher {
    /// Offers a message. Returns whether it had no room.
    pub fn show(&mut self, message: &Arc<Message>) -> bool {
        if !self.wanted.matches(message) {
            return false;
        }
        let Load { bytes, dropped } = &*self.load;
        let weight = bytes.get() + message.weight();
        let has_room = weight <= BYTES || bytes.get() == 0;
        if has_room && dropped.get() > 0 && self.news.try_send(Delivery::Dropped(dropped.get())).is_ok() {
            dropped.set(0);
        }
        if has_room && dropped.get() == 0 && self.news.try_send(Delivery::Message(message.clone())).is_ok() {
            bytes.set(weight);
            return false;
        }
        dropped.set(dropped.get() + 1);
        true
    }

    /// Whether it is for those who asked for topics.
    pub fn is_for_topics(&self) -> bool {
        matches!(self.wanted, Wanted::Topics(_))
    }

    /// Whether the reader is gone.
    pub fn is_over(&self) -> bool {
        self.news.is_closed()
    }
}

impl Subscription {
    /// The next one; none when there will be no more.
    pub async fn next(&self) -> Option<Delivery> {
        match self.waiting() {
            Some(news) => Some(news),
            None => Some(self.taken(self.news.recv().await.ok()?)),
        }
    }

    /// The next one, if it is there already. A loss is told at the latest when nothing else waits.
    pub fn waiting(&self) -> Option<Delivery> {
        match self.news.try_recv() {
            Ok(news) => Some(self.taken(news)),
            Err(_) => Some(self.load.dropped.take()).filter(|dropped| *dropped > 0).map(Delivery::Dropped),
        }
    }

    fn taken(&self, news: Delivery) -> Delivery {
        if let Delivery::Message(message) = &news {
            self.load.bytes.set(self.load.bytes.get() - message.weight());
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::message::{Boot, Clock, Format};

    fn message(topic: &str, bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            id: 1,
            time_ns: 0,
            clock: Clock::Synced,
            boot: Boot(0),
            up_ns: 0,
            topic: topic.to_owned(),
            device: None,
            source: "server:s".into(),
            format: Format::Binary,
            payload: vec![0; bytes],
            attributes: Vec::new(),
            ttl_s: None,
        })
    }

    fn reader(filters: &[&str]) -> (Publisher, Subscription) {
        feed(filters.iter().map(|filter| TopicFilter::parse(filter).unwrap()).collect())
    }

    #[test]
    fn only_the_topics_asked_for_come_through() {
        let (mut spout, feed) = reader(&["a/+", "b"]);
        let shown: Vec<_> = ["a/x", "c", "b"].map(|topic| message(topic, 1)).into();
        shown.iter().for_each(|message| assert!(!spout.show(message)));
        assert_eq!(feed.waiting(), Some(Delivery::Message(shown[0].clone())));
        assert_eq!(feed.waiting(), Some(Delivery::Message(shown[2].clone())));
        assert_eq!(feed.waiting(), None);
    }

    #[test]
    fn who_does_not_keep_up_is_told_of_the_loss_where_it_was_and_at_once_when_nothing_else_waits() {
        let (mut spout, feed) = reader(&["#"]);
        let one = message("a", 1);
        let lost = (0..MESSAGES + 3).filter(|_| spout.show(&one)).count();
        assert_eq!(lost, 3);
        assert_eq!(feed.waiting(), Some(Delivery::Message(one.clone())));
        assert_eq!(feed.waiting(), Some(Delivery::Message(one.clone())));
        assert!(!spout.show(&one));
        let rest: Vec<_> = std::iter::from_fn(|| feed.waiting()).collect();
        assert_eq!(rest.len(), MESSAGES);
        assert_eq!(rest[MESSAGES - 2..], [Delivery::Dropped(3), Delivery::Message(one.clone())]);
        assert_eq!((0..MESSAGES + 2).filter(|_| spout.show(&one)).count(), 2);
        assert_eq!(std::iter::from_fn(|| feed.waiting()).last(), Some(Delivery::Dropped(2)));
    }

    #[test]
    fn large_ones_are_bounded_by_their_bytes_but_one_always_has_room() {
        let (mut spout, feed) = reader(&["#"]);
        let half = message("a", BYTES / 2);
        assert_eq!((0..4).map(|_| spout.show(&half)).collect::<Vec<_>>(), [false, true, true, true]);
        assert!(matches!(feed.waiting(), Some(Delivery::Message(_))));
        assert_eq!(feed.waiting(), Some(Delivery::Dropped(3)));
        let huge = message("a", 2 * BYTES);
        assert!(!spout.show(&huge));
        assert!(spout.show(&message("a", 1)));
        drop(feed);
        assert!(spout.is_over());
    }

    #[test]
    fn what_a_sensor_has_sent_goes_to_no_other_one() {
        let (mut publisher, feed) = downlink();
        let of = |source: &str| Arc::new(Message { source: source.into(), ..(*message("a", 1)).clone() });
        for (source, expected) in
            [("server:s", false), ("client:cloud", true), ("source:zigbee", true), ("control", true)]
        {
            assert!(!publisher.show(&of(source)));
            assert_eq!(feed.waiting().is_some(), expected, "{source}");
        }
        assert!(!publisher.is_for_topics());
    }
}
