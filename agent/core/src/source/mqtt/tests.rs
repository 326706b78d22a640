use proptest::prelude::*;

use super::greeting;
use super::packet::{
    Acknowledgement, ConnAck, Connect, Outgoing, Packet, QoS, Reply, Subscribe, Terms, Version,
};
use super::reason::Reason;
use super::write::Style;
use super::{read, write};
use crate::message::{Boot, Clock, Format, Message};

const V311: Option<Version> = Some(Version::V311);
const V5: Option<Version> = Some(Version::V5);

/// A packet with this first byte and this body.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    [&[first, body.len() as u8], body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn parsed(bytes: &[u8], version: Option<Version>) -> Result<Packet, Reason> {
    match read::packet(bytes, version, 1000) {
        Ok(Some((packet, length))) => {
            assert_eq!(length, bytes.len());
            Ok(packet)
        }
        Ok(None) => panic!("{bytes:x?} is not complete"),
        Err(closing) => Err(closing.reason),
    }
}

fn connect_bytes(level: u8, flags: u8, rest: &[Vec<u8>]) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    framed(0x10, &[&text("MQTT")[..], &[level, flags, 0, 60], properties, &rest.concat()].concat())
}

fn connected(bytes: &[u8]) -> Connect {
    match parsed(bytes, None) {
        Ok(Packet::Connect(connect)) => *connect,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connect_of_each_version_says_who_comes_and_what_it_wants() {
    let all = [text("id"), text("will/t"), text("gone"), text("pump"), text("pw")];
    let connect = connected(&connect_bytes(4, 0b1110_1110, &all));
    let will = connect.will.clone().unwrap();
    assert_eq!((connect.version, connect.clean, connect.keep_alive_s), (Version::V311, true, 60));
    assert_eq!((connect.client_id.as_str(), connect.username.as_deref()), ("id", Some("pump")));
    assert_eq!(connect.password.as_deref(), Some(&b"pw"[..]));
    assert_eq!((will.publish.topic.as_str(), will.publish.qos), ("will/t", QoS::AtLeastOnce));
    assert!(will.publish.retain && will.publish.payload == b"gone");
    // Session expiry 5 s, receive maximum 3; the will comes after 2 s.
    let body = [
        &text("MQTT")[..],
        &[5, 0b0000_0100, 0, 0, 8, 17, 0, 0, 0, 5, 33, 0, 3],
        &text("id"),
        &[5, 24, 0, 0, 0, 2],
        &text("w"),
        &text(""),
    ];
    let connect = connected(&framed(0x10, &body.concat()));
    assert_eq!((connect.version, connect.clean, connect.expiry_s), (Version::V5, false, 5));
    assert_eq!((connect.receive_max, connect.will.unwrap().delay_s), (3, 2));
    assert_eq!((connect.username, connect.password), (None, None));
}

#[test]
fn a_connect_that_breaks_the_standard_is_refused_with_its_reason() {
    let id = || vec![text("id")];
    let cases = [
        (connect_bytes(3, 2, &id()), Reason::Version),
        (connect_bytes(6, 2, &id()), Reason::Version),
        (framed(0x10, &[&text("MQIsdp")[..], &[3, 2, 0, 60], &text("id")].concat()), Reason::Version),
        (connect_bytes(4, 3, &id()), Reason::Malformed),
        (connect_bytes(4, 0b0000_1010, &id()), Reason::Malformed),
        (connect_bytes(4, 0b0010_0010, &id()), Reason::Malformed),
        (connect_bytes(4, 0b0001_1110, &[text("id"), text("w"), text("")]), Reason::Malformed),
        (connect_bytes(4, 0b0100_0010, &[text("id"), text("pw")]), Reason::Malformed),
        (connect_bytes(4, 0b1000_0010, &id()), Reason::Malformed),
        (connect_bytes(4, 2, &[text("id"), text("more")]), Reason::Malformed),
        (connect_bytes(4, 2, &[text("i\0d")]), Reason::Malformed),
        (connect_bytes(4, 0b0000_0110, &[text("id"), text("w/+"), text("")]), Reason::TopicName),
        (
            framed(0x10, &[&text("MQTT")[..], &[5, 2, 0, 60, 3, 33, 0, 0], &text("id")].concat()),
            Reason::Protocol,
        ),
        (
            framed(0x10, &[&text("MQTT")[..], &[5, 2, 0, 60, 2, 1, 0], &text("id")].concat()),
            Reason::Malformed,
        ),
        (
            framed(0x10, &[&text("MQTT")[..], &[5, 2, 0, 60, 6, 33, 0, 1, 33, 0, 2], &text("id")].concat()),
            Reason::Protocol,
        ),
        (framed(0x11, &connect_bytes(4, 2, &id())[2..]), Reason::Protocol),
        (vec![0xc0, 0], Reason::Protocol),
    ];
    for (bytes, expected) in cases {
        assert_eq!(parsed(&bytes, None).unwrap_err(), expected, "{bytes:x?}");
    }
    let mut odd = connect_bytes(4, 2, &id());
    assert_eq!(parsed(&odd, V311).unwrap_err(), Reason::Protocol, "a second one");
    odd[1] = 200;
    odd.insert(2, 0x10);
    assert_eq!(read::packet(&odd, None, 1000).unwrap_err().reason, Reason::TooLarge);
}

#[test]
fn publish_has_its_topic_identifier_and_payload() {
    let body = [&text("a/b")[..], &[0, 9], b"hi"].concat();
    let Ok(Packet::Publish(publish)) = parsed(&framed(0x3d, &body), V311) else { panic!("no PUBLISH") };
    assert_eq!((publish.topic.as_str(), publish.qos, publish.id), ("a/b", QoS::ExactlyOnce, 9));
    assert!(publish.dup && publish.retain && publish.payload == b"hi");
    let user = [&[38][..], &text("k"), &text("v")].concat();
    let body = [&text("a")[..], &[user.len() as u8 + 2, 1, 1], &user, b"x"].concat();
    let Ok(Packet::Publish(publish)) = parsed(&framed(0x30, &body), V5) else { panic!("no PUBLISH") };
    assert!(publish.is_text && publish.payload == b"x" && publish.expiry_s.is_none());
    assert_eq!(publish.user_properties, [("k".to_owned(), "v".to_owned())]);
}

#[test]
fn a_message_of_5_says_how_long_it_is_of_use_and_a_will_too() {
    for (seconds, expected) in [(0, 1), (7, 7), (u32::MAX, u32::MAX)] {
        let body = [&text("a")[..], &[5, 2], &seconds.to_be_bytes(), b"x"].concat();
        let Ok(Packet::Publish(publish)) = parsed(&framed(0x30, &body), V5) else { panic!("no PUBLISH") };
        assert_eq!(publish.expiry_s, Some(expected));
    }
}

#[test]
fn packets_that_break_the_standard_end_the_connection_with_their_reason() {
    let with = |first, parts: &[&[u8]]| framed(first, &parts.concat());
    let (a, wild) = (text("a"), text("a/#"));
    let cases = [
        (with(0x36, &[&a, &[0, 1]]), V311, Reason::Malformed),
        (with(0x38, &[&a]), V311, Reason::Malformed),
        (with(0x32, &[&a, &[0, 0]]), V311, Reason::Protocol),
        (with(0x32, &[&a]), V311, Reason::Malformed),
        (with(0x30, &[&text("")]), V311, Reason::Malformed),
        (with(0x30, &[&wild]), V311, Reason::TopicName),
        (with(0x30, &[&a, &[3, 35, 0, 1]]), V5, Reason::TopicAlias),
        (with(0x30, &[&text(""), &[3, 35, 0, 1]]), V5, Reason::TopicAlias),
        (with(0x30, &[&a, &[2, 11, 1]]), V5, Reason::Malformed),
        (with(0x30, &[&a, &[9, 1]]), V5, Reason::Malformed),
        (with(0x30, &[&[0, 1, 0xff]]), V311, Reason::Malformed),
        (with(0x60, &[&[0, 1]]), V311, Reason::Malformed),
        (with(0x62, &[&[0, 1, 0]]), V311, Reason::Malformed),
        (with(0x62, &[&[0, 0]]), V5, Reason::Protocol),
        (with(0x80, &[&[0, 1], &a, &[0]]), V311, Reason::Malformed),
        (with(0x82, &[&[0, 1]]), V311, Reason::Protocol),
        (with(0x82, &[&[0, 1], &a, &[3]]), V311, Reason::Malformed),
        (with(0x82, &[&[0, 1], &a, &[4]]), V311, Reason::Malformed),
        (with(0x82, &[&[0, 1, 0], &a, &[0x30]]), V5, Reason::Malformed),
        (with(0x82, &[&[0, 1, 0], &a, &[0xc0]]), V5, Reason::Malformed),
        (with(0xa2, &[&[0, 1]]), V311, Reason::Protocol),
        (with(0xc0, &[&[0]]), V311, Reason::Malformed),
        (with(0xe0, &[&[0]]), V311, Reason::Malformed),
        (with(0xe1, &[]), V311, Reason::Malformed),
        (with(0xf0, &[]), V311, Reason::Malformed),
        (with(0xf0, &[]), V5, Reason::Protocol),
        (with(0x00, &[]), V5, Reason::Malformed),
        (with(0x20, &[&[0, 0]]), V311, Reason::Protocol),
        (with(0x50, &[&[0, 1]]), V311, Reason::Protocol),
        (vec![0x30, 0xff, 0xff, 0xff, 0xff, 1], V311, Reason::Malformed),
        (vec![0x30, 0xff, 0xff, 0xff, 0x7f], V311, Reason::TooLarge),
    ];
    for (bytes, version, expected) in cases {
        assert_eq!(parsed(&bytes, version).unwrap_err(), expected, "{version:?} {bytes:x?}");
    }
}

#[test]
fn what_follows_in_version_5_may_be_left_out() {
    let short: [(&[u8], Packet); 6] = [
        (&[0x40, 2, 0, 1], Packet::PubAck(1)),
        (&[0x62, 3, 0, 1, 0x92], Packet::PubRel(1)),
        (&[0x62, 4, 0, 1, 0, 0], Packet::PubRel(1)),
        (&[0xe0, 0], Packet::Disconnect { with_will: false, expiry_s: None }),
        (&[0xe0, 1, 4], Packet::Disconnect { with_will: true, expiry_s: None }),
        (&[0xe0, 7, 0, 5, 17, 0, 0, 0, 9], Packet::Disconnect { with_will: false, expiry_s: Some(9) }),
    ];
    for (bytes, expected) in short {
        assert_eq!(parsed(bytes, V5), Ok(expected), "{bytes:x?}");
    }
    let bytes = framed(0x82, &[&[0, 7, 0][..], &text("a/+"), &[1 | 4]].concat());
    let expected = Subscribe { id: 7, filters: vec![("a/+".to_owned(), QoS::AtLeastOnce)], number: None };
    assert_eq!(parsed(&bytes, V5), Ok(Packet::Subscribe(expected)));
    let bytes = framed(0x82, &[&[0, 7, 3, 11, 0x80, 1][..], &text("a"), &[2]].concat());
    let expected = Subscribe { id: 7, filters: vec![("a".to_owned(), QoS::ExactlyOnce)], number: Some(128) };
    assert_eq!(parsed(&bytes, V5), Ok(Packet::Subscribe(expected)));
    let zero = framed(0x82, &[&[0, 7, 2, 11, 0][..], &text("a"), &[2]].concat());
    assert_eq!(parsed(&zero, V5), Err(Reason::Protocol));
}

#[test]
fn a_packet_that_is_not_complete_is_waited_for() {
    let bytes = [connect_bytes(4, 2, &[text("id")]), vec![0x30, 0x85, 1], vec![0; 133]].concat();
    let first = bytes.iter().position(|byte| *byte == 0x30).unwrap();
    for length in 0..first {
        assert_eq!(read::packet(&bytes[..length], None, 1000), Ok(None));
    }
    for length in first..bytes.len() {
        assert_eq!(read::packet(&bytes[first..length], V311, 1000), Ok(None));
    }
}

const STYLE: Style = Style { version: Version::V5, wants_words: true, packet_max: u32::MAX };

fn written(reply: &Reply, style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    write::reply(&mut out, reply, style);
    out
}

#[test]
fn acknowledgements_are_as_short_as_their_version_allows() {
    let refused = Acknowledgement { id: 258, reason: Reason::PayloadFormat, words: "no".to_owned() };
    let v311 = Style { version: Version::V311, ..STYLE };
    let silent = Style { wants_words: false, ..STYLE };
    let small = Style { packet_max: 8, ..STYLE };
    let cases: [(Reply, Style, &[u8]); 9] = [
        (Reply::PubAck(Acknowledgement::of(258)), STYLE, &[0x40, 2, 1, 2]),
        (Reply::PubAck(refused.clone()), STYLE, &[0x40, 9, 1, 2, 0x99, 5, 31, 0, 2, b'n', b'o']),
        (Reply::PubRec(refused.clone()), silent, &[0x50, 4, 1, 2, 0x99, 0]),
        (Reply::PubRec(refused.clone()), small, &[0x50, 4, 1, 2, 0x99, 0]),
        (Reply::PubComp(refused), v311, &[0x70, 2, 1, 2]),
        (Reply::SubAck(1, vec![0x87]), STYLE, &[0x90, 4, 0, 1, 0, 0x87]),
        (Reply::UnsubAck(1, vec![0x11]), v311, &[0xb0, 2, 0, 1]),
        (Reply::PingResp, v311, &[0xd0, 0]),
        (Reply::Disconnect { reason: Reason::TakenOver, words: String::new() }, STYLE, &[0xe0, 2, 0x8e, 0]),
    ];
    for (reply, style, expected) in cases {
        assert_eq!(written(&reply, style), expected, "{reply:?}");
    }
    let end = Reply::Disconnect { reason: Reason::KeepAlive, words: "silent".to_owned() };
    assert_eq!(written(&end, v311), [0_u8; 0], "3.1.1 has no such packet");
}

#[test]
fn a_message_for_a_client_says_in_5_what_it_is_and_which_subscriptions_it_comes_of() {
    let message = Message {
        id: 1,
        time_ns: 0,
        clock: Clock::Synced,
        boot: Boot(0),
        up_ns: 0,
        topic: "a/b".to_owned(),
        device: None,
        source: "client:cloud".into(),
        format: Format::Json,
        payload: b"1".to_vec(),
        attributes: vec![("k".to_owned(), "v".to_owned())],
        ttl_s: Some(9),
    };
    let of = |qos, id, dup| {
        let (numbers, expiry_s) = (vec![128, 2], Some(7));
        Reply::Publish(Outgoing { message: message.clone().into(), qos, id, dup, numbers, expiry_s })
    };
    let v311 = Style { version: Version::V311, ..STYLE };
    let short = [0x30, 6, 0, 3, b'a', b'/', b'b', b'1'];
    assert_eq!(written(&of(QoS::AtMostOnce, 0, false), v311), short);
    let again = [0x3a, 8, 0, 3, b'a', b'/', b'b', 1, 2, b'1'];
    assert_eq!(written(&of(QoS::AtLeastOnce, 258, true), v311), again);
    let properties = [1, 1, 2, 0, 0, 0, 7, 11, 0x80, 1, 11, 2, 38, 0, 1, b'k', 0, 1, b'v'];
    let long = [&[0x32, 28, 0, 3, b'a', b'/', b'b', 1, 2, 19][..], &properties, b"1"].concat();
    assert_eq!(written(&of(QoS::AtLeastOnce, 258, false), STYLE), long);
}

#[test]
fn connack_tells_a_client_of_5_the_terms_and_one_of_3_1_1_a_return_code() {
    let terms = Terms {
        expiry_s: None,
        receive_max: 100,
        packet_max: 9,
        client_id: Some("x".to_owned()),
        keep_alive_s: Some(120),
    };
    let ack =
        ConnAck { session_present: true, reason: Reason::Success, words: String::new(), terms: Some(terms) };
    let expected = [0x20, 20, 1, 0, 17, 33, 0, 100, 39, 0, 0, 0, 9, 18, 0, 1, b'x', 19, 0, 120, 42, 0];
    assert_eq!(written(&Reply::ConnAck(ack.clone()), STYLE), expected);
    let v311 = Style { version: Version::V311, ..STYLE };
    assert_eq!(written(&Reply::ConnAck(ack.clone()), v311), [0x20, 2, 1, 0]);
    for (reason, code) in [
        (Reason::Version, 1),
        (Reason::ClientId, 2),
        (Reason::Unavailable, 3),
        (Reason::Quota, 3),
        (Reason::BadLogin, 4),
        (Reason::NotAuthorized, 5),
    ] {
        let ack = ConnAck { session_present: false, reason, terms: None, ..ack.clone() };
        assert_eq!(written(&Reply::ConnAck(ack), v311), [0x20, 2, 0, code]);
    }
}

#[test]
fn a_session_without_an_identifier_must_be_clean_in_3_1_1_only() {
    let without = |level, flags| greeting::check(&connected(&connect_bytes(level, flags, &[text("")])));
    assert_eq!(without(4, 0).unwrap_err().reason, Reason::ClientId);
    assert_eq!((without(4, 2), without(5, 0)), (Ok(()), Ok(())));
}

#[test]
fn a_client_is_gone_after_one_and_a_half_of_its_keep_alive() {
    use crate::time::Time;
    use std::time::Duration;

    let start = Time::default() + Duration::from_secs(7);
    let mut watch = greeting::KeepAlive::new(3, Time::default());
    watch.heard(start);
    assert_eq!(watch.deadline(), Some(start + Duration::from_millis(4500)));
    assert_eq!(greeting::KeepAlive::new(0, start).deadline(), None);
    let mut connect = connected(&connect_bytes(5, 2, &[text("id")]));
    connect.keep_alive_s = 0;
    assert_eq!(greeting::keep_alive_s(&connect, Duration::from_secs(120)), 120);
    connect.version = Version::V311;
    assert_eq!(greeting::keep_alive_s(&connect, Duration::from_secs(120)), 0);
}

proptest! {
    #[test]
    fn whatever_comes_is_a_packet_or_a_fault_and_never_reads_past_its_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
        kind in 0u8..16,
        version in proptest::option::of(prop_oneof![Just(Version::V311), Just(Version::V5)]),
    ) {
        for bytes in [bytes.clone(), framed(kind << 4, &bytes), framed(kind << 4 | 2, &bytes)] {
            if let Ok(Some((_, length))) = read::packet(&bytes, version, 1000) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
