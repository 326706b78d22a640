use super::*;
use crate::message::{Boot, Clock, Format};

fn at(s: u64) -> Time {
    Time::default() + Duration::from_secs(s)
}

fn message(topic: &str, bytes: usize) -> Arc<Message> {
    Arc::new(Message {
        id: 1,
        time_ns: 0,
        clock: Clock::Synced,
        boot: Boot(0),
        up_ns: 0,
        topic: topic.to_owned(),
        device: None,
        source: "client:cloud".into(),
        format: Format::Text,
        payload: vec![b'x'; bytes],
        attributes: Vec::new(),
        ttl_s: None,
    })
}

fn subscribe(filters: &[(&str, QoS)], number: Option<u32>) -> Subscribe {
    let filters = filters.iter().map(|(filter, qos)| ((*filter).to_owned(), *qos)).collect();
    Subscribe { id: 1, filters, number }
}

fn grant() -> Grant {
    Grant::of(&["{client}/#".to_owned()], "pump", None)
}

/// A client of 5.0 that reads these.
fn client(filters: &[(&str, QoS)]) -> Downlink {
    let mut downlink = Downlink::new(Version::V5);
    downlink.resume(Version::V5, 3, u32::MAX);
    let codes = downlink.subscribe(&grant(), &subscribe(filters, None));
    assert!(codes.iter().all(|code| *code < 0x80), "{codes:?}");
    downlink
}

/// Identifiers of what is sent next, and whether each is sent again.
fn sent(downlink: &mut Downlink, s: u64) -> Vec<(u16, bool)> {
    std::iter::from_fn(|| downlink.next(at(s))).map(|packet| (packet.id, packet.dup)).collect()
}

#[test]
fn each_filter_is_answered_by_its_qos_or_by_the_reason_why_it_is_refused() {
    let filters = [
        ("pump/a", QoS::AtMostOnce),
        ("pump/#", QoS::ExactlyOnce),
        ("valve/a", QoS::AtMostOnce),
        ("pump/#/a", QoS::AtMostOnce),
        ("$share/g/pump/a", QoS::AtMostOnce),
    ];
    for (version, expected) in
        [(Version::V5, [0, 1, 0x87, 0x8f, 0x9e]), (Version::V311, [0, 1, 0x80, 0x80, 0x80])]
    {
        let mut downlink = Downlink::new(version);
        assert_eq!(downlink.subscribe(&grant(), &subscribe(&filters, None)), expected);
    }
    let mut downlink = Downlink::new(Version::V5);
    let many: Vec<String> = (0..=SUBSCRIPTIONS_MAX).map(|n| format!("pump/{n}")).collect();
    let many: Vec<(&str, QoS)> = many.iter().map(|filter| (filter.as_str(), QoS::AtMostOnce)).collect();
    assert_eq!(downlink.subscribe(&grant(), &subscribe(&many, None)).last(), Some(&0x97));
}

#[test]
fn a_message_comes_once_with_the_highest_qos_and_all_numbers_of_what_matches() {
    let mut downlink = client(&[("pump/x", QoS::AtMostOnce)]);
    let codes = downlink.subscribe(&grant(), &subscribe(&[("pump/+", QoS::AtLeastOnce)], Some(7)));
    assert_eq!(codes, [1]);
    assert!(downlink.offer(at(0), &message("pump/x", 1), true));
    assert!(!downlink.offer(at(0), &message("pump/x/y", 1), true));
    let packet = downlink.next(at(0)).unwrap();
    assert_eq!((packet.qos, packet.id, packet.dup, packet.numbers), (QoS::AtLeastOnce, 1, false, vec![7]));
    assert_eq!(downlink.next(at(0)), None);
}

#[test]
fn a_subscription_that_is_made_again_takes_the_place_of_the_one_before() {
    let mut downlink = client(&[("pump/x", QoS::AtLeastOnce)]);
    let weight = downlink.weight();
    downlink.subscribe(&grant(), &subscribe(&[("pump/x", QoS::AtMostOnce)], None));
    assert_eq!(downlink.weight(), weight);
    downlink.offer(at(0), &message("pump/x", 1), true);
    assert_eq!(downlink.next(at(0)).unwrap().qos, QoS::AtMostOnce);
    let unsubscribed = downlink.unsubscribe(&["pump/x".to_owned(), "pump/x".to_owned()]);
    assert_eq!((unsubscribed, downlink.weight()), (vec![0, 0x11], 0));
    assert!(!downlink.offer(at(0), &message("pump/x", 1), true));
}

#[test]
fn no_more_is_in_flight_than_the_client_takes_and_an_acknowledgement_makes_room() {
    let mut downlink = client(&[("pump/#", QoS::AtLeastOnce)]);
    assert!((0..5).all(|_| downlink.offer(at(0), &message("pump/x", 1), true)));
    assert_eq!(sent(&mut downlink, 0), [(1, false), (2, false), (3, false)]);
    downlink.acknowledged(2);
    downlink.acknowledged(2);
    downlink.acknowledged(9);
    assert_eq!(sent(&mut downlink, 0), [(4, false)]);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_over_the_next_connection_with_its_identifier() {
    let mut downlink = client(&[("pump/#", QoS::AtLeastOnce)]);
    assert!((0..4).all(|_| downlink.offer(at(0), &message("pump/x", 1), true)));
    assert_eq!(sent(&mut downlink, 0).len(), 3);
    downlink.acknowledged(1);
    downlink.disconnected();
    assert!(downlink.offer(at(1), &message("pump/y", 1), false), "what comes meanwhile waits");
    downlink.resume(Version::V5, 10, u32::MAX);
    assert_eq!(sent(&mut downlink, 2), [(2, true), (3, true), (4, false), (5, false)]);
    [2, 3, 4, 5].iter().for_each(|id| downlink.acknowledged(*id));
    downlink.unsubscribe(&["pump/#".to_owned()]);
    assert_eq!(downlink.weight(), 0);
}

#[test]
fn what_nobody_acknowledges_does_not_outlive_the_connection() {
    let mut downlink = client(&[("pump/#", QoS::AtMostOnce)]);
    assert!(!downlink.offer(at(0), &message("pump/x", 1), false));
    assert!(downlink.offer(at(0), &message("pump/x", 1), true));
    downlink.disconnected();
    assert_eq!(downlink.next(at(0)), None);
    downlink.unsubscribe(&["pump/#".to_owned()]);
    assert_eq!(downlink.weight(), 0);
}

#[test]
fn the_oldest_gives_way_at_each_bound_and_is_counted() {
    let mut downlink = client(&[("pump/#", QoS::AtLeastOnce)]);
    let bare = downlink.weight();
    assert!((0..MESSAGES_MAX + 3).all(|_| downlink.offer(at(0), &message("pump/x", 1), false)));
    assert_eq!((downlink.waiting.len(), downlink.take_lost()), (MESSAGES_MAX, 3));
    downlink.offer(at(0), &message("pump/large", BYTES_MAX), false);
    assert_eq!((downlink.waiting.len(), downlink.take_lost()), (1, MESSAGES_MAX as u64));
    assert!(downlink.drop_oldest() && !downlink.drop_oldest());
    assert_eq!(downlink.weight(), bare);
}

#[test]
fn what_has_waited_too_long_or_is_too_large_for_the_client_is_not_sent() {
    let mut downlink = client(&[("pump/#", QoS::AtLeastOnce)]);
    downlink.resume(Version::V5, 10, 1000);
    let short = Arc::new(Message { ttl_s: Some(60), ..(*message("pump/x", 1)).clone() });
    downlink.offer(at(0), &short, true);
    downlink.offer(at(0), &message("pump/x", 1), true);
    downlink.offer(at(30), &short, true);
    downlink.offer(at(30), &message("pump/x", 1000), true);
    assert_eq!(downlink.next(at(61)).map(|packet| packet.expiry_s), Some(None));
    assert_eq!(downlink.next(at(61)).map(|packet| packet.expiry_s), Some(Some(29)));
    assert_eq!((downlink.next(at(61)), downlink.take_lost()), (None, 2));
    downlink.offer(at(100), &message("pump/x", 1), true);
    assert_eq!(downlink.next(at(3700)), None, "an hour at most");
}
