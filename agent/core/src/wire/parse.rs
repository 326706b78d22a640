//! Values of frames. What arrives was written by someone else: everything is checked and nothing panics.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Answer, Frame, Gap, Hello, Item, PayloadRef};
use crate::cbor;
use crate::date;
use crate::message::{Clock, Format};

/// Reads what a peer sent as an answer, and the epoch that it names, if it does. Only a map with exactly the keys of one
/// answer is one; anything else is a message of the peer's own.
pub fn parse_answer(payload: PayloadRef<'_>) -> Option<(Answer, Option<String>)> {
    let AnswerMap(answer, epoch) = parse_map(payload)?;
    Some((answer, epoch))
}

/// Reads what an agent sent as an envelope frame; none when it is anything else. Unknown keys are borne inside a
/// message, a gap and a hello, but not beside them.
pub fn parse_frame(payload: PayloadRef<'_>) -> Option<Frame> {
    match payload {
        PayloadRef::Text(text) if is_json_map(text) => {
            serde_json::from_str::<Top<JsonItem<'_>>>(text).ok()?.into_frame(JsonItem::into_item)
        }
        PayloadRef::Binary(bytes) if is_cbor_map(bytes) => {
            cbor::read::<Top<CborItem>>(bytes).ok()?.into_frame(CborItem::into_item)
        }
        PayloadRef::Text(_) | PayloadRef::Binary(_) => None,
    }
}

fn parse_map<T: DeserializeOwned>(payload: PayloadRef<'_>) -> Option<T> {
    match payload {
        PayloadRef::Text(text) => serde_json::from_str(text).ok(),
        PayloadRef::Binary(bytes) => cbor::read(bytes).ok(),
    }
}

/// Whether a text is JSON: one that claims to be is written as JSON later.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Derived code would also read an array as a map without keys.
fn is_json_map(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{')
}

/// Major type 5 (RFC 8949 §3.1).
fn is_cbor_map(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|head| head >> 5 == 5)
}

struct AnswerMap(Answer, Option<String>);

impl<'de> Deserialize<'de> for AnswerMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnswerVisitor)
    }
}

struct AnswerVisitor;

impl<'de> Visitor<'de> for AnswerVisitor {
    type Value = AnswerMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with resume, ack or nack")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnswerMap, A::Error> {
        let (mut answer, mut reason, mut epoch) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "resume" if answer.is_none() => answer = Some(Answer::Resume(map.next_value()?)),
                "ack" if answer.is_none() => answer = Some(Answer::Ack(map.next_value()?)),
                "nack" if answer.is_none() => {
                    answer = Some(Answer::Nack { seq: map.next_value()?, reason: String::new() });
                }
                "reason" if reason.is_none() => reason = Some(map.next_value()?),
                "epoch" if epoch.is_none() => epoch = Some(map.next_value()?),
                _ => return Err(A::Error::custom("not an answer")),
            }
        }
        match (answer, reason) {
            (Some(Answer::Nack { seq, .. }), Some(reason)) => {
                Ok(AnswerMap(Answer::Nack { seq, reason }, epoch))
            }
            (Some(answer), None) => Ok(AnswerMap(answer, epoch)),
            _ => Err(A::Error::custom("not an answer")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Top<M> {
    hello: Option<Hello>,
    epoch: Option<String>,
    messages: Option<Vec<M>>,
    gap: Option<Gap>,
}

impl<M> Top<M> {
    fn into_frame(self, into_item: fn(M) -> Option<Item>) -> Option<Frame> {
        match (self.hello, self.epoch, self.messages, self.gap) {
            (Some(hello), None, None, None) => Some(Frame::Hello(hello)),
            (None, None, None, Some(gap)) => Some(Frame::Gap(gap)),
            (None, Some(epoch), Some(messages), None) => {
                let messages = messages.into_iter().map(into_item).collect::<Option<_>>()?;
                Some(Frame::Messages { epoch, messages })
            }
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct JsonItem<'a> {
    seq: u64,
    time: String,
    clock: Clock,
    topic: String,
    device: Option<String>,
    format: Option<Format>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, Values>,
    #[serde(default)]
    replayed: bool,
}

/// Keeps a payload `null` apart from no payload.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl JsonItem<'_> {
    fn into_item(self) -> Option<Item> {
        let format = self.format.unwrap_or(Format::Json);
        let payload = match (format, self.data, self.data_base64) {
            (Format::Json, Some(data), None) => data.get().as_bytes().to_owned(),
            (Format::Text, Some(data), None) => serde_json::from_str::<String>(data.get()).ok()?.into_bytes(),
            (Format::Binary, None, Some(base64)) => STANDARD.decode(base64).ok()?,
            _ => return None,
        };
        Some(Item {
            seq: self.seq,
            time_ns: date::read(&self.time)?,
            clock: self.clock,
            topic: self.topic,
            device: self.device,
            format,
            payload,
            attributes: flattened(self.attributes),
            replayed: self.replayed,
        })
    }
}

#[derive(Deserialize)]
struct CborItem {
    seq: u64,
    time: String,
    clock: Clock,
    topic: String,
    device: Option<String>,
    format: Option<Format>,
    data: serde_cbor::Value,
    #[serde(default)]
    attributes: BTreeMap<String, Values>,
    #[serde(default)]
    replayed: bool,
}

impl CborItem {
    fn into_item(self) -> Option<Item> {
        let format = self.format.unwrap_or(Format::Json);
        let payload = match (format, self.data) {
            (Format::Text, serde_cbor::Value::Text(text)) => text.into_bytes(),
            (Format::Json, serde_cbor::Value::Text(text)) if is_json(&text) => text.into_bytes(),
            (Format::Binary, serde_cbor::Value::Bytes(bytes)) => bytes,
            _ => return None,
        };
        Some(Item {
            seq: self.seq,
            time_ns: date::read(&self.time)?,
            clock: self.clock,
            topic: self.topic,
            device: self.device,
            format,
            payload,
            attributes: flattened(self.attributes),
            replayed: self.replayed,
        })
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

fn flattened(groups: BTreeMap<String, Values>) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    for (name, values) in groups {
        match values {
            Values::One(value) => attributes.push((name, value)),
            Values::Many(values) => attributes.extend(values.into_iter().map(|value| (name.clone(), value))),
        }
    }
    attributes
}
