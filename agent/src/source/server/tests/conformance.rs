//! MQTT byte by byte: what the standard obliges a server to, and how a fault ends a connection.

use super::*;

/// What has to come back behind the CONNACK.
enum Comes {
    /// These packets, and the connection stays.
    Packets(&'static [u8]),
    /// The end: in 5.0 with a DISCONNECT of this reason, in 3.1.1 without a word.
    End(u8),
}

use Comes::{End, Packets};

/// What is sent behind CONNECT, by its name.
type Case = (&'static str, &'static [u8], Comes);

const PING: [u8; 2] = [0xc0, 0];
const PONG: [u8; 2] = [0xd0, 0];

/// In both versions: no packet of these has properties.
const OF_BOTH: [Case; 15] = [
    ("PINGREQ", &[0xc0, 0], Packets(&PONG)),
    ("DISCONNECT", &[0xe0, 0], End(0)),
    ("a second CONNECT", b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c", End(0x82)),
    ("a packet of a server", &[0xd0, 0], End(0x82)),
    ("a CONNACK", &[0x20, 2, 0, 0], End(0x82)),
    ("a type that there is not", &[0x00, 0], End(0x81)),
    ("flags of PINGREQ", &[0xc1, 0], End(0x81)),
    ("flags of PUBREL", &[0x60, 2, 0, 1], End(0x81)),
    ("a length that does not end", &[0x30, 0xff, 0xff, 0xff, 0xff, 1], End(0x81)),
    ("a packet that is too large", &[0x30, 0xff, 0xff, 0x7f], End(0x95)),
    ("QoS 3", &[0x36, 5, 0, 1, b'a', 0, 1], End(0x81)),
    ("QoS 0 that came before", &[0x38, 4, 0, 1, b'a', 0], End(0x81)),
    ("a topic that is longer than its packet", &[0x30, 3, 0, 9, b'a'], End(0x81)),
    ("a PUBACK of what was not sent", &[0x40, 2, 0, 9], Packets(&[])),
    ("a release of what is not known", &[0x62, 2, 0, 1], Packets(&[0x70])),
];

const OF_3_1_1: [Case; 15] = [
    ("QoS 0", b"\x30\x04\0\x01ax", Packets(&[])),
    ("QoS 1", b"\x32\x06\0\x01a\0\x07x", Packets(&[0x40, 2, 0, 7])),
    (
        "QoS 1 again",
        b"\x32\x06\0\x01a\0\x07x\x3a\x06\0\x01a\0\x07x",
        Packets(&[0x40, 2, 0, 7, 0x40, 2, 0, 7]),
    ),
    ("QoS 2", b"\x34\x06\0\x01a\0\x07x", Packets(&[0x50, 2, 0, 7])),
    ("an empty payload", b"\x32\x05\0\x01a\0\x07", Packets(&[0x40, 2, 0, 7])),
    ("a retained message", b"\x33\x06\0\x01a\0\x07x", Packets(&[0x40, 2, 0, 7])),
    ("a wildcard in a topic", b"\x30\x06\0\x03a/#x", End(0)),
    ("another one", b"\x30\x06\0\x03a/+x", End(0)),
    ("an empty topic", b"\x30\x03\0\0x", End(0)),
    ("a topic that is not UTF-8", b"\x30\x04\0\x01\xffx", End(0)),
    ("a topic with NUL", b"\x30\x04\0\x01\0x", End(0)),
    ("identifier 0", b"\x32\x06\0\x01a\0\0x", End(0)),
    ("SUBSCRIBE", b"\x82\x0c\0\x05\0\x03c/a\x01\0\x01b\x00", Packets(&[0x90, 4, 0, 5, 1, 0x80])),
    ("SUBSCRIBE without a filter", &[0x82, 2, 0, 5], End(0)),
    ("UNSUBSCRIBE", b"\xa2\x05\0\x06\0\x01b", Packets(&[0xb0, 2, 0, 6])),
];

const OF_5: [Case; 14] = [
    ("QoS 1", b"\x32\x07\0\x01a\0\x07\0x", Packets(&[0x40, 2, 0, 7])),
    ("QoS 2", b"\x34\x07\0\x01a\0\x07\0x", Packets(&[0x50, 2, 0, 7])),
    ("a wildcard in a topic", b"\x30\x07\0\x03a/#\0x", End(0x90)),
    ("a topic alias", b"\x30\x08\0\x01a\x03\x23\0\x01x", End(0x94)),
    ("a property that there is not", b"\x30\x07\0\x01a\x02\x7e\x01x", End(0x81)),
    ("a property of another packet", b"\x30\x0a\0\x01a\x05\x11\0\0\0\x01x", End(0x81)),
    ("a property twice", b"\x30\x09\0\x01a\x04\x01\x01\x01\x01x", End(0x82)),
    ("properties that are longer than their packet", b"\x30\x05\0\x01a\x7fx", End(0x81)),
    ("AUTH", &[0xf0, 0], End(0x82)),
    ("SUBSCRIBE", b"\x82\x0d\0\x05\0\0\x03c/a\x02\0\x01b\x00", Packets(&[0x90, 5, 0, 5, 0, 1, 0x87])),
    ("a shared subscription", b"\x82\x10\0\x05\0\0\x0a$share/g/c\x00", Packets(&[0x90, 4, 0, 5, 0, 0x9e])),
    ("options that there are not", b"\x82\x07\0\x05\0\0\x01c\xc0", End(0x81)),
    ("subscription identifier 0", b"\x82\x09\0\x05\x02\x0b\0\0\x01c\0", End(0x82)),
    ("UNSUBSCRIBE", b"\xa2\x06\0\x06\0\0\x01b", Packets(&[0xb0, 4, 0, 6, 0, 0x11])),
];

const CONNECT_3_1_1: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c";
const CONNECT_5: &[u8] = b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c";

/// What comes back, without the CONNACK and the answer to a ping behind it: so many bytes at least, or up to the end. What has to be stored
/// first is answered behind the ping.
async fn exchange(bench: &Bench, connect: &[u8], sent: &[u8], least: usize) -> (Vec<u8>, bool) {
    let mut stream = bench.connect().await;
    stream.write_all(&[connect, sent, &PING].concat()).await.unwrap();
    let mut came = Vec::new();
    let mut chunk = [0; 256];
    loop {
        let length = stream.read(&mut chunk).await.unwrap_or(0);
        came.extend_from_slice(&chunk[..length]);
        let behind = came.get(1).map_or(0, |length| usize::from(*length) + 2);
        let answers = came.get(behind..).unwrap_or_default();
        if length == 0 {
            return (answers.to_vec(), false);
        }
        let pong = answers.windows(2).rposition(|two| two == PONG);
        if let Some(at) = pong.filter(|_| answers.len() >= least + 2) {
            return ([&answers[..at], &answers[at + 2..]].concat(), true);
        }
    }
}

async fn check(bench: &Bench, is_5: bool, (name, sent, expected): &Case) {
    let connect = if is_5 { CONNECT_5 } else { CONNECT_3_1_1 };
    let least = match expected {
        Packets(packets) => packets.len(),
        End(_) => 0,
    };
    let (came, stays) = exchange(bench, connect, sent, least).await;
    match expected {
        Packets(packets) => {
            assert!(stays && came.starts_with(packets), "{name} ({is_5}): {came:x?}");
            assert!(!packets.is_empty() || came.is_empty(), "{name} ({is_5}): {came:x?}");
        }
        End(code) => {
            let farewell = if is_5 && *code != 0 { came.get(2) } else { None };
            assert!(!stays && came.first().is_none_or(|first| *first == 0xe0), "{name} ({is_5}): {came:x?}");
            assert_eq!(farewell, Some(code).filter(|code| is_5 && **code != 0), "{name} ({is_5}): {came:x?}");
        }
    }
}

#[test]
fn every_packet_is_answered_or_ends_the_connection_as_the_standard_says() {
    with(super::mqtt::mqtt(), async |bench| {
        for case in &OF_BOTH {
            check(&bench, false, case).await;
            check(&bench, true, case).await;
        }
        for case in &OF_3_1_1 {
            check(&bench, false, case).await;
        }
        for case in &OF_5 {
            check(&bench, true, case).await;
        }
    });
}

#[test]
fn what_is_no_connect_that_can_be_accepted_gets_its_return_code_or_none() {
    let cases: [(&str, &[u8], &[u8]); 8] = [
        ("3.1", b"\x10\x0f\0\x06MQIsdp\x03\x02\0\0\0\x01c", &[0x20, 2, 0, 1]),
        ("level 6", b"\x10\x0d\0\x04MQTT\x06\x02\0\0\0\x01c", &[0x20, 2, 0, 1]),
        ("no CONNECT", &PING, &[]),
        ("a reserved flag", b"\x10\x0d\0\x04MQTT\x04\x03\0\0\0\x01c", &[]),
        ("a password without a name", b"\x10\x10\0\x04MQTT\x04\x42\0\0\0\x01c\0\x01p", &[]),
        ("QoS 3 of a will", b"\x10\x13\0\x04MQTT\x04\x1e\0\0\0\x01c\0\x01w\0\x01x", &[]),
        ("a kept session without an identifier", b"\x10\x0c\0\x04MQTT\x04\x00\0\0\0\0", &[0x20, 2, 0, 2]),
        ("bytes behind its end", b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x01cx", &[]),
    ];
    with(super::mqtt::mqtt(), async |bench| {
        for (name, connect, expected) in cases {
            let mut stream = bench.connect().await;
            stream.write_all(connect).await.unwrap();
            let mut came = Vec::new();
            let _ = stream.read_to_end(&mut came).await;
            assert_eq!(came, expected, "{name}");
        }
    });
}

#[test]
fn a_client_that_connects_again_ends_its_connection_before_which_is_told_in_5() {
    with(super::mqtt::mqtt(), async |bench| {
        for (connect, farewell) in [(CONNECT_3_1_1, None), (CONNECT_5, Some(0x8e))] {
            let mut first = bench.connect().await;
            first.write_all(&[connect, &PING].concat()).await.unwrap();
            let mut answers = Vec::new();
            while !answers.ends_with(&PONG) {
                let mut byte = [0; 1];
                first.read_exact(&mut byte).await.unwrap();
                answers.extend(byte);
            }
            let (_, stays) = exchange(&bench, connect, &[], 0).await;
            assert!(stays);
            let mut rest = Vec::new();
            let _ = first.read_to_end(&mut rest).await;
            assert_eq!(rest.get(2).copied(), farewell, "{rest:x?}");
        }
    });
}
