use std::collections::VecDeque;

use super::*;
use crate::message::Format;
use crate::seed::Seed;
use crate::source::mqtt::packet::Acknowledgement;

fn source(version: MqttVersion, retained: Retained) -> MqttSource {
    MqttSource { version, retained, ..MqttSource::default() }
}

fn publish(topic: &str, id: u16, qos: QoS, retain: bool, payload: &str) -> Found {
    Found::Packet(FromBroker::Publish(Publish {
        topic: topic.to_owned(),
        qos,
        id,
        dup: false,
        retain,
        payload: payload.as_bytes().to_vec(),
        is_text: false,
        expiry_s: None,
        user_properties: Vec::new(),
    }))
}

fn draft(publish: &Publish) -> Draft {
    Draft {
        topic: publish.topic.clone(),
        device: None,
        source: "source:s".into(),
        format: Format::Binary,
        payload: publish.payload.clone(),
        attributes: Vec::new(),
        priority: 0,
        ttl_s: None,
    }
}

/// Takes messages into a batch, as an honest source would.
fn batch(subscriber: &mut Subscriber, found: impl IntoIterator<Item = Found>) -> Batch {
    let mut batch = Batch::default();
    for found in found {
        match subscriber.take(found).unwrap() {
            Taken::Message(publish, pending) => batch.store(pending, draft(&publish)),
            Taken::Passed(pending, why) => batch.pass(pending, why),
            other => panic!("{other:?}"),
        }
    }
    batch
}

fn ack(id: u16) -> Reply {
    Reply::PubAck(Acknowledgement::of(id))
}

#[test]
fn messages_are_acknowledged_in_their_order_once_they_are_stored_whatever_became_of_each() {
    let mut subscriber = Subscriber::new(&source(MqttVersion::V311, Retained::None), 10);
    let q1 = QoS::AtLeastOnce;
    let mut batch = batch(
        &mut subscriber,
        [publish("a", 1, q1, false, "1"), publish("a", 2, q1, true, "2"), publish("a", 3, q1, false, "3")],
    );
    let unfit = Closing::new(Reason::PayloadFormat, "not valid JSON");
    let fourth = subscriber.take(publish("a", 4, q1, false, "x"));
    let Ok(Taken::Message(_, pending)) = fourth else { panic!("{fourth:?}") };
    batch.pass(pending, Why::Unfit(unfit));
    assert_eq!(batch.take_drafts().len(), 2);
    let (replies, took) = subscriber.stored(batch);
    assert_eq!(replies, [ack(1), ack(2), ack(3), ack(4)]);
    assert_eq!((took.stored, took.passed_over, took.refused, took.unmatched), (2, 1, 1, 0));
    assert_eq!(took.last_refused.as_deref(), Some("not valid JSON"));
}

#[test]
fn what_is_not_stored_is_not_acknowledged_and_comes_again() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut subscriber = Subscriber::new(&source(MqttVersion::V5, Retained::New), 1);
        let lost = batch(&mut subscriber, [publish("a", 1, qos, false, "1")]);
        assert!(!subscriber.has_room());
        subscriber.failed(&lost);
        subscriber.connected(&source(MqttVersion::V5, Retained::New), 1, true);
        assert!(subscriber.has_room());
        let again = batch(&mut subscriber, [publish("a", 1, qos, false, "1")]);
        assert_eq!(subscriber.stored(again).1.stored, 1);
    }
}

#[test]
fn qos_2_comes_once_over_a_session_that_goes_on_and_is_released() {
    let source = source(MqttVersion::V5, Retained::New);
    let mut subscriber = Subscriber::new(&source, 10);
    let first = batch(&mut subscriber, [publish("a", 1, QoS::ExactlyOnce, false, "1")]);
    let rec = Reply::PubRec(Acknowledgement::of(1));
    assert_eq!(subscriber.stored(first).0, std::slice::from_ref(&rec));
    subscriber.connected(&source, 10, true);
    let again = subscriber.take(publish("a", 1, QoS::ExactlyOnce, false, "1"));
    assert_eq!(again, Ok(Taken::Reply(rec)));
    let release = || Found::Packet(FromBroker::PubRel(1));
    let comp = Taken::Reply(Reply::PubComp(Acknowledgement::of(1)));
    assert_eq!(subscriber.take(release()), Ok(comp));
    // After a kill nothing is known of it, and the broker must get on.
    let mut fresh = Subscriber::new(&source, 10);
    assert!(matches!(fresh.take(release()), Ok(Taken::Reply(Reply::PubComp(_)))));
}

#[test]
fn a_broker_that_sends_more_of_qos_2_than_it_may_is_not_cut_off() {
    for version in [MqttVersion::V5, MqttVersion::V311] {
        let mut subscriber = Subscriber::new(&source(version, Retained::New), 2);
        for id in 1..=9 {
            let one = batch(&mut subscriber, [publish("a", id, QoS::ExactlyOnce, false, "1")]);
            assert_eq!(subscriber.stored(one).1.stored, 1, "{id}");
        }
        assert!(subscriber.has_room());
    }
}

#[test]
fn a_retained_message_that_is_repeated_in_3_1_1_is_passed_over_unless_it_is_another_one() {
    let take = |subscriber: &mut Subscriber, payload| {
        let found = publish("a", 1, QoS::AtLeastOnce, true, payload);
        let batch = batch(subscriber, [found]);
        subscriber.stored(batch).1.stored == 1
    };
    let settings = source(MqttVersion::V311, Retained::New);
    let mut subscriber = Subscriber::new(&settings, 10);
    assert!(take(&mut subscriber, "1"));
    subscriber.connected(&settings, 10, true);
    assert!(!take(&mut subscriber, "1") && take(&mut subscriber, "2") && !take(&mut subscriber, "2"));
    assert!(take(&mut subscriber, "1"), "it changed back while nothing was heard");
    let lost = batch(&mut subscriber, [publish("a", 1, QoS::AtLeastOnce, true, "3")]);
    subscriber.failed(&lost);
    subscriber.connected(&settings, 10, true);
    assert!(take(&mut subscriber, "3"), "what was not stored is no repeat");
    for (version, retained, expected) in [
        (MqttVersion::V311, Retained::All, [true, true]),
        (MqttVersion::V5, Retained::New, [true, true]),
        (MqttVersion::V5, Retained::None, [false, false]),
    ] {
        let mut subscriber = Subscriber::new(&source(version, retained), 10);
        assert_eq!([take(&mut subscriber, "1"), take(&mut subscriber, "1")], expected);
    }
}

#[test]
fn a_message_that_is_not_taken_is_refused_in_5_and_acknowledged_in_3_1_1_so_that_it_does_not_come_for_ever() {
    for version in [MqttVersion::V5, MqttVersion::V311] {
        let mut subscriber = Subscriber::new(&source(version, Retained::New), 10);
        let found = publish("a", 1, QoS::AtLeastOnce, false, "");
        let Found::Packet(FromBroker::Publish(large)) = found else { panic!() };
        let quiet = Publish { qos: QoS::AtMostOnce, id: 0, ..large.clone() };
        let found = [Found::TooLarge(large), Found::TooLarge(quiet)];
        let batch = batch(&mut subscriber, found);
        let (replies, took) = subscriber.stored(batch);
        let [Reply::PubAck(answer)] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!(answer.reason == Reason::TooLarge, version == MqttVersion::V5);
        assert!(took.refused == 2 && took.last_refused.unwrap().contains("limits.message_bytes"));
        assert!(subscriber.has_room());
    }
}

#[test]
fn filters_of_before_are_given_back() {
    let mut subscriber = Subscriber::new(&MqttSource::default(), 1);
    let filters = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert!(subscriber.unwanted(&filters(&["a", "b"])).is_empty());
    assert_eq!(subscriber.unwanted(&filters(&["b", "c"])), ["a"]);
    assert!(subscriber.unwanted(&filters(&["b", "c"])).is_empty());
}

#[test]
fn a_subscription_that_is_refused_or_weaker_is_told() {
    let filters = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let told = faults(&filters, QoS::AtLeastOnce, &[1, 0, 0x87]);
    assert_eq!(told.len(), 2);
    assert!(told[0].contains("b with QoS 0 only") && told[1].contains("c: not authorized"), "{told:?}");
    assert!(is_refused(&[0x80, 0x87]) && !is_refused(&[0x80, 1]));
}

#[test]
fn the_end_by_the_broker_has_its_reason_and_what_no_broker_sends_ends_the_connection() {
    let mut subscriber = Subscriber::new(&MqttSource::default(), 1);
    let end = FromBroker::Disconnect { code: 0x8e, words: "bye".to_owned() };
    let error = subscriber.take(Found::Packet(end)).unwrap_err().words;
    assert_eq!(
        error,
        "the broker ended the connection: another connection came with the same client id (bye)"
    );
    let answer = crate::source::mqtt::from_broker::Answered { id: 1, code: 0, words: String::new() };
    assert!(subscriber.take(Found::Packet(FromBroker::PubAck(answer))).is_err());
}

/// A broker as the standard has it: what is not acknowledged comes again over the next connection, and no more is in flight than may be.
#[derive(Default)]
struct Broker {
    queue: VecDeque<u64>,
    in_flight: Vec<(u16, u64, bool)>,
    next_id: u16,
    released: Vec<u16>,
}

impl Broker {
    const MOST: usize = 5;

    fn deliver(&mut self, qos: QoS) -> Option<Found> {
        if self.in_flight.len() + self.released.len() < Broker::MOST
            && let Some(number) = self.queue.pop_front()
        {
            self.next_id = self.next_id % 50 + 1;
            self.in_flight.push((self.next_id, number, false));
        }
        let (id, number, sent) = self.in_flight.iter_mut().find(|(_, _, sent)| !*sent)?;
        *sent = true;
        Some(publish("a", *id, qos, false, &number.to_string()))
    }

    fn answered(&mut self, reply: &Reply) {
        match reply {
            Reply::PubAck(ack) => self.in_flight.retain(|(id, _, _)| *id != ack.id),
            Reply::PubRec(ack) => {
                self.in_flight.retain(|(id, _, _)| *id != ack.id);
                self.released.push(ack.id);
            }
            Reply::PubComp(ack) => self.released.retain(|id| *id != ack.id),
            other => panic!("{other:?}"),
        }
    }

    fn connected(&mut self) {
        self.in_flight.iter_mut().for_each(|(_, _, sent)| *sent = false);
    }
}

/// One life: messages are stored late or not at all, connections are cut with answers on their way, and the agent is killed.
fn live(seed: u64, version: MqttVersion, qos: QoS) {
    const ALL: u64 = 200;
    let mut seed = Seed::new(seed);
    let settings = source(version, Retained::New);
    let mut subscriber = Subscriber::new(&settings, 5);
    let mut broker = Broker { queue: (0..ALL).collect(), ..Broker::default() };
    let mut offered: VecDeque<Batch> = VecDeque::new();
    let mut stored: Vec<u64> = Vec::new();
    let is_done = |broker: &Broker| broker.queue.is_empty() && broker.in_flight.is_empty();
    for _ in 0..50_000 {
        if is_done(&broker) && broker.released.is_empty() {
            break;
        }
        match seed.below(12) {
            0..6 if subscriber.has_room() => {
                if let Some(found) = broker.deliver(qos) {
                    match subscriber.take(found).unwrap() {
                        Taken::Message(publish, pending) => {
                            let mut batch = Batch::default();
                            batch.store(pending, draft(&publish));
                            offered.push_back(batch);
                        }
                        Taken::Reply(reply) => broker.answered(&reply),
                        Taken::Nothing => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            6..9 => {
                if let Some(mut batch) = offered.pop_front() {
                    let drafts = batch.take_drafts();
                    let number =
                        |draft: &Draft| String::from_utf8_lossy(&draft.payload).parse::<u64>().unwrap();
                    stored.extend(drafts.iter().map(number));
                    let (replies, _) = subscriber.stored(batch);
                    // Some are lost with the connection.
                    if seed.below(10) > 0 {
                        replies.iter().for_each(|reply| broker.answered(reply));
                    } else {
                        offered.clear();
                        broker.connected();
                        subscriber.connected(&settings, 5, true);
                    }
                }
            }
            9 => {
                if let Some(id) = broker.released.first().copied()
                    && let Taken::Reply(reply) =
                        subscriber.take(Found::Packet(FromBroker::PubRel(id))).unwrap()
                {
                    broker.answered(&reply);
                }
            }
            10 if seed.below(20) == 0 => {
                // A kill: nothing is known of what was offered, or of the session.
                offered.clear();
                broker.connected();
                subscriber = Subscriber::new(&settings, 5);
                subscriber.connected(&settings, 5, true);
            }
            _ => {}
        }
    }
    assert!(is_done(&broker), "{version:?} {qos:?}: it hangs at {:?}", broker.in_flight);
    let mut firsts = Vec::new();
    stored.iter().for_each(|number| {
        if !firsts.contains(number) {
            firsts.push(*number);
        }
    });
    assert_eq!(firsts, (0..ALL).collect::<Vec<_>>(), "{version:?} {qos:?}: lost, or out of order");
}

#[test]
fn whatever_is_cut_or_killed_each_message_is_stored_and_in_order() {
    for seed in 0..100 {
        for version in [MqttVersion::V5, MqttVersion::V311] {
            live(seed, version, QoS::AtLeastOnce);
            live(seed, version, QoS::ExactlyOnce);
        }
    }
}
