//! Bytes of frames. Messages are written straight into one buffer, because every message of an uplink passes here.

mod body;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};

pub use self::body::RequestBody;
use super::{Answer, ENVELOPE_BYTES_MAX, Encoding, Frame, Gap, Hello, Item, Outgoing, Payload, PayloadRef};
use crate::message::{Body, Clock, Entry, Format, GapReason, Message};

const INFALLIBLE: &str = "a Vec takes every write and our types always serialize";

/// Encodes one envelope frame of an agent.
pub fn encode(frame: &Frame, encoding: Encoding) -> Payload {
    match frame {
        Frame::Hello(hello) => encode_map(&HelloFrame { hello }, encoding),
        Frame::Gap(gap) => encode_map(&GapFrame { gap }, encoding),
        Frame::Messages { epoch, messages } => {
            let mut batch = Batch::start(epoch, encoding);
            for item in messages {
                batch.push(&View::of_item(item));
            }
            batch.finish()
        }
    }
}

/// Encodes one answer of a peer, about the numbers of this epoch; of the first one that was introduced if it names none.
pub fn encode_answer(answer: &Answer, epoch: Option<&str>, encoding: Encoding) -> Payload {
    let frame = AnswerFrame { epoch, ..AnswerFrame::default() };
    let frame = match answer {
        Answer::Resume(seq) => AnswerFrame { resume: Some(*seq), ..frame },
        Answer::Ack(seq) => AnswerFrame { ack: Some(*seq), ..frame },
        Answer::Nack { seq, reason } => AnswerFrame { nack: Some(*seq), reason: Some(reason), ..frame },
    };
    encode_map(&frame, encoding)
}

/// Turns entries into envelope frames, in their order: consecutive messages share a frame up to
/// [`ENVELOPE_BYTES_MAX`], a gap is a frame of its own.
pub fn envelopes<'a>(epoch: &'a str, entries: &'a [Entry], encoding: Encoding) -> Envelopes<'a> {
    Envelopes { epoch, rest: entries, encoding, bytes_max: ENVELOPE_BYTES_MAX }
}

/// The payload of an entry as it came, for a raw frame: text when it is text or JSON, else binary. None for a gap.
pub fn raw(entry: &Entry) -> Option<Payload> {
    let Body::Message(message) = &entry.body else { return None };
    Some(match Content::of(message.format, &message.payload) {
        Content::Json(text) | Content::Text(text) => Payload::Text(text.to_owned()),
        Content::Binary(bytes) => Payload::Binary(bytes.to_owned()),
    })
}

/// Appends a message as one line of JSON with its epoch in front, without a newline.
pub fn write_line(out: &mut Vec<u8>, epoch: &str, item: &Item) {
    let start = out.len();
    out.extend_from_slice(b"{\"epoch\":");
    write_string(out, epoch);
    out.push(b',');
    write_json_fields(out, &View::of_item(item));
    out.push(b'}');
    join_lines(&mut out[start..]);
}

/// A message that has no number of a link, as JSON in one line: like that of an envelope, with its `id` and `source` in place of
/// `seq`, and always with its `format`.
pub fn message_line(message: &Message) -> String {
    let view = View::of_message(0, false, message);
    let mut out = format!("{{\"id\":{},\"source\":", message.id).into_bytes();
    write_string(&mut out, &message.source);
    out.push(b',');
    if view.content.format().is_none() {
        out.extend_from_slice(b"\"format\":\"json\",");
    }
    write_json_facts(&mut out, &view);
    out.push(b'}');
    join_lines(&mut out);
    String::from_utf8(out).expect("it is written from text")
}

/// Appends a raw frame as one line of JSON, without a newline: `{"raw":true,"data":…}`.
pub fn write_raw_line(out: &mut Vec<u8>, payload: PayloadRef<'_>) {
    let start = out.len();
    let content = match payload {
        PayloadRef::Text(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Content::Json(text),
        PayloadRef::Text(text) => Content::Text(text),
        PayloadRef::Binary(bytes) => Content::Binary(bytes),
    };
    out.extend_from_slice(b"{\"raw\":true");
    write_json_content(out, content);
    out.push(b'}');
    join_lines(&mut out[start..]);
}

/// Iterator over the envelope frames of a run of entries; made by [`envelopes`].
#[derive(Debug)]
pub struct Envelopes<'a> {
    epoch: &'a str,
    rest: &'a [Entry],
    encoding: Encoding,
    pub(super) bytes_max: usize,
}

impl Iterator for Envelopes<'_> {
    type Item = Outgoing;

    fn next(&mut self) -> Option<Outgoing> {
        let (first, behind) = self.rest.split_first()?;
        match &first.body {
            Body::Gap { to, reason } => {
                self.rest = behind;
                let gap = gap_of(self.epoch, first.seq, *to, *reason);
                Some(Outgoing { payload: encode_map(&GapFrame { gap: &gap }, self.encoding), last: *to })
            }
            Body::Message(_) => Some(self.next_batch(first.seq)),
        }
    }
}

impl Envelopes<'_> {
    /// The same with another bound for consecutive messages that share a frame.
    pub fn up_to(self, bytes_max: usize) -> Self {
        Envelopes { bytes_max, ..self }
    }

    fn next_batch(&mut self, first: u64) -> Outgoing {
        let mut batch = Batch::start(self.epoch, self.encoding);
        let mut last = first;
        for entry in self.rest {
            let Body::Message(message) = &entry.body else { break };
            let length_before = batch.bytes.len();
            batch.push(&View::of_message(entry.seq, entry.replayed, message));
            if batch.count > 1 && batch.bytes.len() > self.bytes_max {
                batch.take_back(length_before);
                break;
            }
            last = entry.seq;
        }
        self.rest = &self.rest[batch.count..];
        Outgoing { payload: batch.finish(), last }
    }
}

fn gap_of(epoch: &str, from: u64, to: u64, reason: GapReason) -> Gap {
    Gap { from, to, reason: gap_reason(reason).to_owned(), epoch: Some(epoch.to_owned()) }
}

/// The words of a gap's reason on the wire.
fn gap_reason(reason: GapReason) -> &'static str {
    match reason {
        GapReason::DroppedOldest => "dropped-oldest",
        GapReason::DroppedNewest => "dropped-newest",
        GapReason::Expired => "expired",
        GapReason::Restart => "restart",
        GapReason::Damaged => "damaged",
        GapReason::Refused => "refused",
        GapReason::Purged => "purged",
    }
}

fn encode_map(map: &impl Serialize, encoding: Encoding) -> Payload {
    match encoding {
        Encoding::Json => Payload::Text(serde_json::to_string(map).expect(INFALLIBLE)),
        Encoding::Cbor => Payload::Binary(serde_cbor::to_vec(map).expect(INFALLIBLE)),
    }
}

#[derive(Serialize)]
struct HelloFrame<'a> {
    hello: &'a Hello,
}

#[derive(Serialize)]
struct GapFrame<'a> {
    gap: &'a Gap,
}

#[derive(Serialize, Default)]
struct AnswerFrame<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nack: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a str>,
}

/// A frame of messages under construction.
struct Batch {
    encoding: Encoding,
    bytes: Vec<u8>,
    count: usize,
}

/// CBOR head of a map of two pairs (RFC 8949 §3.1).
const CBOR_MAP_OF_TWO: u8 = 0xa2;
/// CBOR head of an array whose end is marked (RFC 8949 §3.2.2), so that its length need not be known here.
const CBOR_ARRAY_START: u8 = 0x9f;
const CBOR_BREAK: u8 = 0xff;

impl Batch {
    fn start(epoch: &str, encoding: Encoding) -> Batch {
        let mut bytes = Vec::with_capacity(1024);
        match encoding {
            Encoding::Json => {
                bytes.extend_from_slice(b"{\"epoch\":");
                write_string(&mut bytes, epoch);
                bytes.extend_from_slice(b",\"messages\":[");
            }
            Encoding::Cbor => {
                bytes.push(CBOR_MAP_OF_TWO);
                for text in ["epoch", epoch, "messages"] {
                    serde_cbor::to_writer(&mut bytes, &text).expect(INFALLIBLE);
                }
                bytes.push(CBOR_ARRAY_START);
            }
        }
        Batch { encoding, bytes, count: 0 }
    }

    fn push(&mut self, view: &View<'_>) {
        match self.encoding {
            Encoding::Json => {
                self.bytes.extend_from_slice(if self.count == 0 { b"{" } else { b",{" });
                write_json_fields(&mut self.bytes, view);
                self.bytes.push(b'}');
            }
            Encoding::Cbor => serde_cbor::to_writer(&mut self.bytes, &CborItem::of(view)).expect(INFALLIBLE),
        }
        self.count += 1;
    }

    fn take_back(&mut self, length_before: usize) {
        self.bytes.truncate(length_before);
        self.count -= 1;
    }

    fn finish(mut self) -> Payload {
        match self.encoding {
            Encoding::Json => {
                self.bytes.extend_from_slice(b"]}");
                Payload::Text(String::from_utf8(self.bytes).expect("every part of it is UTF-8"))
            }
            Encoding::Cbor => {
                self.bytes.push(CBOR_BREAK);
                Payload::Binary(self.bytes)
            }
        }
    }
}

/// What is written of a message.
struct View<'a> {
    seq: u64,
    time_ns: u64,
    clock: Clock,
    topic: &'a str,
    device: Option<&'a str>,
    content: Content<'a>,
    attributes: &'a [(String, String)],
    replayed: bool,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Json(&'a str),
    Text(&'a str),
    Binary(&'a [u8]),
}

impl<'a> View<'a> {
    fn of_message(seq: u64, replayed: bool, message: &'a Message) -> View<'a> {
        View {
            seq,
            time_ns: message.time_ns,
            clock: message.clock,
            topic: &message.topic,
            device: message.device.as_deref(),
            content: Content::of(message.format, &message.payload),
            attributes: &message.attributes,
            replayed,
        }
    }

    fn of_item(item: &'a Item) -> View<'a> {
        View {
            seq: item.seq,
            time_ns: item.time_ns,
            clock: item.clock,
            topic: &item.topic,
            device: item.device.as_deref(),
            content: Content::of(item.format, &item.payload),
            attributes: &item.attributes,
            replayed: item.replayed,
        }
    }
}

impl<'a> Content<'a> {
    /// A payload that breaks its word to be UTF-8 travels as binary, so that it cannot spoil its neighbours.
    fn of(format: Format, payload: &'a [u8]) -> Content<'a> {
        match (format, std::str::from_utf8(payload)) {
            (Format::Json, Ok(text)) => Content::Json(text),
            (Format::Text, Ok(text)) => Content::Text(text),
            (Format::Binary, _) | (_, Err(_)) => Content::Binary(payload),
        }
    }

    /// Value of the key `format`.
    fn format(self) -> Option<&'static str> {
        match self {
            Content::Json(_) => None,
            Content::Text(_) => Some("text"),
            Content::Binary(_) => Some("binary"),
        }
    }
}

fn write_json_fields(out: &mut Vec<u8>, view: &View<'_>) {
    write!(out, r#""seq":{},"#, view.seq).expect(INFALLIBLE);
    write_json_facts(out, view);
}

fn write_json_facts(out: &mut Vec<u8>, view: &View<'_>) {
    let (time, clock) = (rfc3339(view.time_ns), clock_word(view.clock));
    write!(out, r#""time":"{time}","clock":"{clock}","topic":"#).expect(INFALLIBLE);
    write_string(out, view.topic);
    if let Some(device) = view.device {
        out.extend_from_slice(b",\"device\":");
        write_string(out, device);
    }
    write_json_content(out, view.content);
    if !view.attributes.is_empty() {
        out.extend_from_slice(b",\"attributes\":");
        serde_json::to_writer(&mut *out, &grouped(view.attributes)).expect(INFALLIBLE);
    }
    if view.replayed {
        out.extend_from_slice(b",\"replayed\":true");
    }
}

fn write_json_content(out: &mut Vec<u8>, content: Content<'_>) {
    if let Some(format) = content.format() {
        write!(out, r#","format":"{format}""#).expect(INFALLIBLE);
    }
    match content {
        Content::Json(text) => {
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(text.as_bytes());
        }
        Content::Text(text) => {
            out.extend_from_slice(b",\"data\":");
            write_string(out, text);
        }
        Content::Binary(bytes) => {
            out.extend_from_slice(b",\"data_base64\":\"");
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        }
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect(INFALLIBLE);
}

/// JSON has line breaks only between its tokens (RFC 8259 §7), where a space means the same.
fn join_lines(json: &mut [u8]) {
    for byte in json {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// A time as envelopes tell it.
pub(crate) fn rfc3339(time_ns: u64) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_nanos(SystemTime::UNIX_EPOCH + Duration::from_nanos(time_ns))
}

fn clock_word(clock: Clock) -> &'static str {
    match clock {
        Clock::Synced => "synced",
        Clock::Unsynced => "unsynced",
    }
}

#[derive(Serialize)]
struct CborItem<'a> {
    /// Where nothing around it names the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a str>,
    seq: u64,
    time: String,
    clock: Clock,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(serialize_with = "serialize_content")]
    data: Content<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, Values<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

impl<'a> CborItem<'a> {
    fn of(view: &View<'a>) -> CborItem<'a> {
        CborItem {
            epoch: None,
            seq: view.seq,
            time: rfc3339(view.time_ns).to_string(),
            clock: view.clock,
            topic: view.topic,
            device: view.device,
            format: view.content.format(),
            data: view.content,
            attributes: grouped(view.attributes),
            replayed: view.replayed,
        }
    }
}

fn serialize_content<S: Serializer>(content: &Content<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    match content {
        Content::Json(text) | Content::Text(text) => serializer.serialize_str(text),
        Content::Binary(bytes) => serializer.serialize_bytes(bytes),
    }
}

/// The values of an attribute: most have one.
#[derive(Serialize)]
#[serde(untagged)]
enum Values<'a> {
    One(&'a str),
    Many(Vec<&'a str>),
}

impl<'a> Values<'a> {
    fn push(&mut self, value: &'a str) {
        match self {
            Values::One(first) => *self = Values::Many(vec![first, value]),
            Values::Many(values) => values.push(value),
        }
    }
}

fn grouped(attributes: &[(String, String)]) -> BTreeMap<&str, Values<'_>> {
    let mut groups: BTreeMap<&str, Values<'_>> = BTreeMap::new();
    for (name, value) in attributes {
        groups.entry(name).and_modify(|values| values.push(value)).or_insert(Values::One(value));
    }
    groups
}
