//! Frames on the uplink: what the agent says to a peer, and what a peer may answer. Pure: values in, bytes out.
//!
//! A raw frame is one message, the payload as it came. An envelope frame is one map, JSON in a text frame or CBOR in a
//! binary frame:
//!
//! ```text
//! -> {"hello":{"agent":"gw-17","epoch":"01J…","first":101,"next":1201,"version":"0.1.0"}}
//! -> {"hello":{"agent":"gw-17","epoch":"01K…","first":1,"next":4,"version":"0.1.0","priority":7}}
//! <- {"resume":150}
//! -> {"epoch":"01J…","messages":[{"seq":150,"time":"2026-…Z","clock":"synced","topic":"…","device":"…","data":{…},"replayed":true}]}
//! <- {"ack":180}
//! <- {"nack":181,"reason":"…"}
//! -> {"gap":{"from":190,"to":240,"reason":"dropped-oldest","epoch":"01J…"}}
//! <- {"ack":3,"epoch":"01K…"}
//! ```
//!
//! Each priority has numbers of its own, so an epoch of its own, and a hello of its own. An answer without `epoch` is about
//! the first of them, priority 0; a peer of an agent that has no other priorities needs no `epoch`.
//!
//! A message of an envelope has these keys:
//!
//! | key | value |
//! |---|---|
//! | `seq` | its number, from 1 |
//! | `time` | when it arrived at the agent, RFC 3339, UTC, nanoseconds |
//! | `clock` | `synced` or `unsynced`: whether anything vouches for `time` |
//! | `topic` | slash-separated |
//! | `device` | left out when none is known |
//! | `format` | `text` or `binary`; left out when the payload is JSON |
//! | `data` | JSON encoding: the JSON payload byte for byte, or a text payload as a string. CBOR encoding: a JSON or text payload as a text string with exactly its characters, a binary one as a byte string |
//! | `data_base64` | JSON encoding only, instead of `data`: a binary payload, base64 with padding (RFC 4648 §4) |
//! | `attributes` | map from name to value, or to a list of values where a name came more than once; left out when empty |
//! | `replayed` | `true` when it is sent later than it came; left out otherwise |
//!
//! A JSON payload stays text inside CBOR because a conversion would lose digits of numbers and the order of keys.

mod filter;
mod parse;
pub(crate) mod write;

use serde::{Deserialize, Serialize};

pub use self::filter::{Arrived, CloseFrame, FrameFilter};
pub use self::parse::{parse_answer, parse_frame};
pub use self::write::{
    Envelopes, RequestBody, encode, encode_answer, envelopes, message_line, raw, write_line, write_raw_line,
};
pub use crate::config::client::{ENVELOPE_BYTES_MAX, Encoding};
use crate::message::{Body, Clock, Entry, Format};

/// The subprotocol that a client offers when it wants acknowledgements (RFC 6455 §1.9).
pub const SUBPROTOCOL: &str = "holdfast.v1";

/// The payload of a WebSocket frame that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// For a text frame.
    Text(String),
    /// For a binary frame.
    Binary(Vec<u8>),
}

/// The payload of a WebSocket frame that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadRef<'a> {
    /// From a text frame.
    Text(&'a str),
    /// From a binary frame.
    Binary(&'a [u8]),
}

/// A frame that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What goes into the frame.
    pub payload: Payload,
    /// Last number that it covers.
    pub last: u64,
}

/// What an agent says in an envelope frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Introduces the agent; the first envelope frame of a connection.
    Hello(Hello),
    /// A batch of messages.
    Messages {
        /// Names the life of the numbers.
        epoch: String,
        /// In the order in which they were sent.
        messages: Vec<Item>,
    },
    /// Nothing more comes for these numbers.
    Gap(Gap),
}

/// How an agent introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The agent's id.
    pub agent: String,
    /// Names the life of the numbers.
    pub epoch: String,
    /// Oldest number that it can still send.
    pub first: u64,
    /// Number that its next new message gets.
    pub next: u64,
    /// The agent's version.
    pub version: String,
    /// Priority of the messages with these numbers; left out when it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u8,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(priority: &u8) -> bool {
    *priority == 0
}

/// Numbers without messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
    /// Why, as [`crate::message::GapReason`] is written; a peer must bear words that it does not know.
    pub reason: String,
    /// Names the life of the numbers; of the epoch that the connection spoke of last if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
}

/// A message as a peer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its number in the epoch.
    pub seq: u64,
    /// When it arrived at the agent: nanoseconds since 1970-01-01T00:00:00Z.
    pub time_ns: u64,
    /// Trust in that time.
    pub clock: Clock,
    /// Slash-separated.
    pub topic: String,
    /// The device that it speaks for.
    pub device: Option<String>,
    /// How the payload is to be read.
    pub format: Format,
    /// The bytes as they came to the agent; white space around a JSON value may be missing.
    pub payload: Vec<u8>,
    /// Parameters, sorted by name.
    pub attributes: Vec<(String, String)>,
    /// Whether it was sent later than it came.
    pub replayed: bool,
}

/// What a peer may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has everything below this number.
    Resume(u64),
    /// It has everything up to and including this number.
    Ack(u64),
    /// It refuses this one.
    Nack {
        /// The refused number.
        seq: u64,
        /// Its words, empty when it has none.
        reason: String,
    },
}

impl Payload {
    /// The same payload as it arrives at the other side.
    pub fn view(&self) -> PayloadRef<'_> {
        match self {
            Payload::Text(text) => PayloadRef::Text(text),
            Payload::Binary(bytes) => PayloadRef::Binary(bytes),
        }
    }
}

impl<'a> PayloadRef<'a> {
    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            PayloadRef::Text(text) => text.as_bytes(),
            PayloadRef::Binary(bytes) => bytes,
        }
    }

    /// The encoding that frames of this kind carry.
    pub fn encoding(self) -> Encoding {
        match self {
            PayloadRef::Text(_) => Encoding::Json,
            PayloadRef::Binary(_) => Encoding::Cbor,
        }
    }
}

impl Item {
    /// What a peer sees of this entry; none for a gap.
    pub fn of(entry: &Entry) -> Option<Item> {
        let Body::Message(message) = &entry.body else { return None };
        let mut attributes = message.attributes.clone();
        attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
        Some(Item {
            seq: entry.seq,
            time_ns: message.time_ns,
            clock: message.clock,
            topic: message.topic.clone(),
            device: message.device.clone(),
            format: message.format,
            payload: message.payload.clone(),
            attributes,
            replayed: entry.replayed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::message::{Boot, GapReason, Message};

    fn message(format: Format, payload: &[u8]) -> Message {
        Message {
            id: 7,
            time_ns: 1_700_000_000_000_000_001,
            clock: Clock::Synced,
            boot: Boot(1),
            up_ns: 1,
            topic: "lines/3/pump".into(),
            device: Some("pump".into()),
            source: "server:sensors".into(),
            format,
            payload: payload.to_vec(),
            attributes: Vec::new(),
            ttl_s: None,
        }
    }

    fn entry(seq: u64, message: Message) -> Entry {
        Entry { seq, body: Body::Message(Arc::new(message)), replayed: false }
    }

    fn gap(from: u64, to: u64) -> Entry {
        Entry { seq: from, body: Body::Gap { to, reason: GapReason::DroppedOldest }, replayed: false }
    }

    fn text_of(payload: &Payload) -> &str {
        match payload {
            Payload::Text(text) => text,
            Payload::Binary(_) => panic!("a text frame was expected"),
        }
    }

    fn one_envelope(message: Message) -> String {
        let frames: Vec<_> = envelopes("E", &[entry(150, message)], Encoding::Json).collect();
        assert_eq!(frames.len(), 1);
        text_of(&frames[0].payload).to_owned()
    }

    #[test]
    fn a_json_payload_stands_in_the_envelope_byte_for_byte() {
        assert_eq!(
            one_envelope(message(Format::Json, br#"{"z":1.00, "a":12345678901234567890123}"#)),
            concat!(
                r#"{"epoch":"E","messages":[{"seq":150,"time":"2023-11-14T22:13:20.000000001Z","clock":"synced","#,
                r#""topic":"lines/3/pump","device":"pump","data":{"z":1.00, "a":12345678901234567890123}}]}"#
            )
        );
    }

    #[test]
    fn text_is_a_json_string_and_binary_is_base64() {
        let text = one_envelope(message(Format::Text, b"say \"hi\"\n"));
        assert!(text.contains(r#""format":"text","data":"say \"hi\"\n"}"#), "{text}");
        let binary = one_envelope(message(Format::Binary, &[0xff, 0, 1]));
        assert!(binary.contains(r#""format":"binary","data_base64":"/wAB"}"#), "{binary}");
    }

    #[test]
    fn what_is_absent_or_false_is_left_out() {
        let mut plain = message(Format::Json, b"1");
        plain.device = None;
        let frame = one_envelope(plain);
        for key in ["device", "format", "attributes", "replayed", "data_base64"] {
            assert!(!frame.contains(key), "{key} in {frame}");
        }
    }

    #[test]
    fn a_repeated_attribute_is_a_list_and_a_single_one_a_string() {
        let mut tagged = message(Format::Json, b"1");
        tagged.attributes =
            [("tag", "a"), ("unit", "C"), ("tag", "b")].map(|(n, v)| (n.into(), v.into())).to_vec();
        assert!(one_envelope(tagged).contains(r#""attributes":{"tag":["a","b"],"unit":"C"}"#));
    }

    #[test]
    fn a_gap_is_a_frame_of_its_own_between_the_messages_around_it() {
        let one = || message(Format::Json, b"1");
        let entries = [entry(188, one()), entry(189, one()), gap(190, 240), entry(241, one())];
        let frames: Vec<_> = envelopes("E", &entries, Encoding::Json).collect();
        assert_eq!(frames.iter().map(|frame| frame.last).collect::<Vec<_>>(), [189, 240, 241]);
        assert_eq!(
            text_of(&frames[1].payload),
            r#"{"gap":{"from":190,"to":240,"reason":"dropped-oldest","epoch":"E"}}"#
        );
    }

    #[test]
    fn every_reason_is_written_as_message_rs_names_it() {
        use GapReason::{Damaged, DroppedNewest, DroppedOldest, Expired, Purged, Refused, Restart};
        for reason in [DroppedOldest, DroppedNewest, Expired, Restart, Damaged, Refused, Purged] {
            let entry = Entry { seq: 1, body: Body::Gap { to: 2, reason }, replayed: false };
            let frame = envelopes("E", std::slice::from_ref(&entry), Encoding::Json).next().unwrap();
            let word = serde_json::to_string(&reason).unwrap();
            assert!(text_of(&frame.payload).contains(&word), "{word}");
        }
    }

    #[test]
    fn the_three_frames_of_the_agent_are_written_as_the_design_shows_them() {
        let hello = Hello {
            agent: "gw-17".into(),
            epoch: "01J".into(),
            first: 101,
            next: 1201,
            version: "0.1.0".into(),
            priority: 0,
        };
        assert_eq!(
            text_of(&encode(&Frame::Hello(hello), Encoding::Json)),
            r#"{"hello":{"agent":"gw-17","epoch":"01J","first":101,"next":1201,"version":"0.1.0"}}"#
        );
        let nack = Answer::Nack { seq: 181, reason: "no".into() };
        assert_eq!(text_of(&encode_answer(&nack, None, Encoding::Json)), r#"{"nack":181,"reason":"no"}"#);
        assert_eq!(text_of(&encode_answer(&Answer::Ack(180), None, Encoding::Json)), r#"{"ack":180}"#);
        let resume = encode_answer(&Answer::Resume(150), Some("01K"), Encoding::Json);
        assert_eq!(text_of(&resume), r#"{"resume":150,"epoch":"01K"}"#);
    }

    #[test]
    fn a_frame_of_several_messages_stays_within_the_limit_and_a_large_message_goes_alone() {
        let large = vec![b'7'; ENVELOPE_BYTES_MAX + 1];
        let medium = vec![b'7'; 30_000];
        let payloads = [&medium, &medium, &medium, &large, &medium];
        let entries: Vec<_> =
            (1..).zip(payloads).map(|(seq, payload)| entry(seq, message(Format::Json, payload))).collect();
        for encoding in [Encoding::Json, Encoding::Cbor] {
            let frames: Vec<_> = envelopes("E", &entries, encoding).collect();
            assert_eq!(frames.iter().map(|frame| frame.last).collect::<Vec<_>>(), [2, 3, 4, 5]);
        }
    }

    #[test]
    fn a_raw_frame_is_text_for_text_and_json_and_nothing_for_a_gap() {
        assert_eq!(raw(&entry(1, message(Format::Json, b" {} "))), Some(Payload::Text(" {} ".into())));
        assert_eq!(raw(&entry(1, message(Format::Text, b"x"))), Some(Payload::Text("x".into())));
        assert_eq!(raw(&entry(1, message(Format::Binary, b"x"))), Some(Payload::Binary(b"x".to_vec())));
        assert_eq!(raw(&gap(1, 2)), None);
    }

    #[test]
    fn a_payload_that_is_not_utf8_goes_as_binary_whatever_it_claims() {
        assert!(one_envelope(message(Format::Json, &[b'"', 0xff, b'"'])).contains(r#""format":"binary""#));
        assert_eq!(raw(&entry(1, message(Format::Text, &[0xff]))), Some(Payload::Binary(vec![0xff])));
    }

    #[test]
    fn a_line_has_no_line_break_inside() {
        let mut line = Vec::new();
        let item = Item::of(&entry(3, message(Format::Json, b"{\r\n \"a\": \"b\\nc\"\n}"))).unwrap();
        write_line(&mut line, "E\n", &item);
        let line = String::from_utf8(line).unwrap();
        assert!(!line.contains(['\n', '\r']), "{line}");
        assert!(line.starts_with(r#"{"epoch":"E\n","seq":3,"#), "{line}");
        assert!(line.ends_with(r#""data":{   "a": "b\nc" }}"#), "{line}");
    }

    #[test]
    fn a_raw_line_is_json_whatever_came() {
        let line_of = |payload| {
            let mut line = Vec::new();
            write_raw_line(&mut line, payload);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(line_of(PayloadRef::Text("{\n}")), r#"{"raw":true,"data":{ }}"#);
        assert_eq!(line_of(PayloadRef::Text("a\n")), r#"{"raw":true,"format":"text","data":"a\n"}"#);
        assert_eq!(
            line_of(PayloadRef::Binary(b"a")),
            r#"{"raw":true,"format":"binary","data_base64":"YQ=="}"#
        );
    }

    #[test]
    fn only_an_object_with_exactly_the_keys_of_an_answer_is_one() {
        let parse = |text| parse_answer(PayloadRef::Text(text)).map(|(answer, _)| answer);
        let epoch = |text| parse_answer(PayloadRef::Text(text)).and_then(|(_, epoch)| epoch);
        assert_eq!(epoch(r#"{"ack":180,"epoch":"E"}"#).as_deref(), Some("E"));
        assert_eq!(parse(r#" {"ack": 180} "#), Some(Answer::Ack(180)));
        assert_eq!(parse(r#"{"resume":18446744073709551615}"#), Some(Answer::Resume(u64::MAX)));
        let nack = |reason: &str| Some(Answer::Nack { seq: 1, reason: reason.into() });
        assert_eq!(parse(r#"{"reason":"bad","nack":1}"#), nack("bad"));
        assert_eq!(parse(r#"{"nack":1}"#), nack(""));
        for other in [
            r#"{"ack":180,"more":1}"#,
            r#"{"ack":1,"ack":2}"#,
            r#"{"ack":1,"resume":2}"#,
            r#"{"ack":1,"reason":"x"}"#,
            r#"{"ack":1.0}"#,
            r#"{"ack":-1}"#,
            r#"{"ack":18446744073709551616}"#,
            r#"{"ack":"1"}"#,
            r#"{"ack":null}"#,
            r#"{"reason":"x"}"#,
            r#"{"nack":1,"reason":null}"#,
            r#"{"ack":1}{"ack":2}"#,
            r#"[180]"#,
            r#"180"#,
            r#"{}"#,
            "",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_cbor_answer_with_numbers_for_keys_is_none() {
        assert_eq!(parse_answer(PayloadRef::Binary(&[0xa1, 0x00, 0x05])), None);
        assert_eq!(
            parse_answer(PayloadRef::Binary(&[0xa1, 0x63, b'a', b'c', b'k', 0x05])),
            Some((Answer::Ack(5), None))
        );
    }

    #[test]
    fn what_is_no_envelope_is_no_frame() {
        for other in [
            r#"{"hello":"gw-17"}"#,
            r#"{"epoch":"E"}"#,
            r#"{"messages":[]}"#,
            r#"{"epoch":"E","messages":[],"more":1}"#,
            r#"{"epoch":"E","messages":[{"seq":1}]}"#,
            r#"{"temperature":21.5}"#,
            r#"[null,null,null,{"from":1,"to":2,"reason":"x"}]"#,
            "",
        ] {
            assert_eq!(parse_frame(PayloadRef::Text(other)), None, "{other}");
        }
    }

    #[test]
    fn json_in_cbor_that_is_none_is_refused() {
        let frame = |payload: &[u8]| {
            let items = Item::of(&entry(1, message(Format::Json, payload)));
            let frame = Frame::Messages { epoch: "e".into(), messages: items.into_iter().collect() };
            parse_frame(encode(&frame, Encoding::Cbor).view()).is_some()
        };
        assert!(frame(br#" {"t":1} "#));
        for payload in [&br#"1,"seq":2"#[..], b"{\"t\"", b"", b"1 2"] {
            assert!(!frame(payload), "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn keys_of_a_later_version_inside_a_message_do_no_harm() {
        let frame = concat!(
            r#"{"epoch":"E","messages":[{"seq":1,"time":"2026-01-01T00:00:00Z","clock":"synced","#,
            r#""topic":"t","data":null,"colour":{"r":1}}]}"#
        );
        let Some(Frame::Messages { messages, .. }) = parse_frame(PayloadRef::Text(frame)) else { panic!() };
        assert_eq!(messages[0].payload, b"null");
    }

    #[test]
    fn deeply_nested_input_is_refused_and_does_not_exhaust_the_stack() {
        let json = format!(r#"{{"epoch":"E","messages":[{}"#, "[".repeat(200_000));
        assert_eq!(parse_frame(PayloadRef::Text(&json)), None);
        let mut cbor = vec![0xa1, 0x64];
        cbor.extend_from_slice(b"data");
        cbor.extend(std::iter::repeat_n(0x81, 200_000));
        assert_eq!(parse_frame(PayloadRef::Binary(&cbor)), None);
        assert_eq!(parse_answer(PayloadRef::Binary(&cbor)), None);
    }

    #[test]
    fn a_length_that_lies_is_refused_before_it_costs_memory() {
        let huge_string = [0xa1, 0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let huge_map = [0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        for bytes in [&huge_string[..], &huge_map[..]] {
            assert_eq!(parse_frame(PayloadRef::Binary(bytes)), None);
            assert_eq!(parse_answer(PayloadRef::Binary(bytes)), None);
        }
    }

    fn json_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn content() -> impl Strategy<Value = (Format, Vec<u8>)> {
        prop_oneof![
            any::<String>().prop_map(|text| (Format::Text, text.into_bytes())),
            json_value().prop_map(|value| (Format::Json, serde_json::to_vec_pretty(&value).unwrap())),
            any::<Vec<u8>>().prop_map(|bytes| (Format::Binary, bytes)),
        ]
    }

    prop_compose! {
        fn some_entry()(
            (format, payload) in content(),
            (seq, time_ns, synced, replayed) in any::<(u64, u64, bool, bool)>(),
            (topic, device) in any::<(String, Option<String>)>(),
            attributes in prop::collection::vec(("[a-c]", any::<String>()), 0..4),
        ) -> Entry {
            let clock = if synced { Clock::Synced } else { Clock::Unsynced };
            let (boot, up_ns, source) = (Boot(1), 1, "control".into());
            let message = Message { id: 1, time_ns, clock, boot, up_ns, topic, device, source, format, payload, attributes, ttl_s: None };
            Entry { seq, body: Body::Message(Arc::new(message)), replayed }
        }
    }

    fn some_frame() -> impl Strategy<Value = Frame> {
        let hello = any::<(String, String, u64, u64, String, u8)>().prop_map(
            |(agent, epoch, first, next, version, priority)| {
                Frame::Hello(Hello { agent, epoch, first, next, version, priority })
            },
        );
        let gap = any::<(u64, u64, String, Option<String>)>()
            .prop_map(|(from, to, reason, epoch)| Frame::Gap(Gap { from, to, reason, epoch }));
        let messages =
            (any::<String>(), prop::collection::vec(some_entry(), 0..4)).prop_map(|(epoch, entries)| {
                Frame::Messages { epoch, messages: entries.iter().filter_map(Item::of).collect() }
            });
        prop_oneof![hello, gap, messages]
    }

    fn some_answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            any::<u64>().prop_map(Answer::Resume),
            any::<u64>().prop_map(Answer::Ack),
            any::<(u64, String)>().prop_map(|(seq, reason)| Answer::Nack { seq, reason }),
        ]
    }

    proptest! {
        #[test]
        fn every_frame_comes_back_as_it_went(frame in some_frame()) {
            for encoding in [Encoding::Json, Encoding::Cbor] {
                let payload = encode(&frame, encoding);
                prop_assert_eq!(parse_frame(payload.view()), Some(frame.clone()));
                prop_assert_eq!(parse_answer(payload.view()), None);
            }
        }

        #[test]
        fn every_answer_comes_back_as_it_went(answer in some_answer(), epoch in any::<Option<String>>()) {
            for encoding in [Encoding::Json, Encoding::Cbor] {
                let payload = encode_answer(&answer, epoch.as_deref(), encoding);
                prop_assert_eq!(parse_answer(payload.view()), Some((answer.clone(), epoch.clone())));
                prop_assert_eq!(parse_frame(payload.view()), None);
            }
        }

        #[test]
        fn envelopes_carry_every_message_once_in_order(entries in prop::collection::vec(some_entry(), 0..8)) {
            let sent: Vec<_> = entries.iter().filter_map(Item::of).collect();
            for encoding in [Encoding::Json, Encoding::Cbor] {
                let mut small_frames = envelopes("E", &entries, encoding);
                small_frames.bytes_max = 300;
                let mut arrived = Vec::new();
                for frame in small_frames {
                    match parse_frame(frame.payload.view()) {
                        Some(Frame::Messages { messages, .. }) => {
                            prop_assert_eq!(messages.last().unwrap().seq, frame.last);
                            arrived.extend(messages);
                        }
                        other => prop_assert!(false, "not a frame of messages: {other:?}"),
                    }
                }
                prop_assert_eq!(&arrived, &sent);
            }
        }

        #[test]
        fn bytes_that_are_cut_or_flipped_never_panic(
            frame in some_frame(),
            cut in any::<prop::sample::Index>(),
            (place, byte) in any::<(prop::sample::Index, u8)>(),
        ) {
            for encoding in [Encoding::Json, Encoding::Cbor] {
                let mut bytes = encode(&frame, encoding).view().bytes().to_vec();
                let at = place.index(bytes.len());
                bytes[at] = byte;
                bytes.truncate(cut.index(bytes.len()) + 1);
                let _ = parse_frame(PayloadRef::Binary(&bytes));
                let _ = parse_answer(PayloadRef::Binary(&bytes));
                let text = String::from_utf8_lossy(&bytes);
                let _ = parse_frame(PayloadRef::Text(&text));
                let _ = parse_answer(PayloadRef::Text(&text));
            }
        }
    }
}
