//! A held message as it is shown to programs: a line of JSON, or a map in a sequence of CBOR (RFC 8742). What a message has
//! is written by its own definition; JSON only spells the time and the payload for people.

use std::io::{BufRead, Read};

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_core::cbor;
use holdfast_core::date;
use holdfast_core::message::{Body, Entry, Format, GapReason, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::clean;

/// No message is as long as this.
const LINE_BYTES: u64 = 64 << 20;
/// Letters of a payload that are shown to people.
const PAYLOAD_SHOWN: usize = 160;

/// A message and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The outlet that holds it.
    pub outlet: String,
    /// The life of the outlet's numbers.
    #[serde(default)]
    pub epoch: String,
    /// Its number there.
    #[serde(default)]
    pub seq: u64,
    /// The message.
    #[serde(flatten)]
    pub message: Message,
}

impl Record {
    /// As JSON: `time` in place of `time_ns`, and the payload as `payload` if it is text, else as `base64`.
    pub fn json(&self) -> anyhow::Result<Value> {
        let message = message_json(&self.message)?;
        let mut json = json!({ "outlet": self.outlet, "epoch": self.epoch, "seq": self.seq });
        if let Value::Object(map) = &mut json {
            map.extend(message);
        }
        Ok(json)
    }

    /// Reads what [`Record::json`] wrote.
    fn of_json(mut map: Map<String, Value>) -> anyhow::Result<Record> {
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) => Some(text),
            Some(_) | None => None,
        };
        let time = text(map.remove("time")).context("there is no time")?;
        map.insert("time_ns".to_owned(), nanoseconds(&time)?.into());
        let payload = match (text(map.remove("payload")), text(map.remove("base64"))) {
            (Some(payload), None) => payload.into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).context("cannot read base64")?,
            (Some(_), Some(_)) | (None, None) => {
                return Err(anyhow!("there must be either payload or base64"));
            }
        };
        map.insert("payload".to_owned(), Value::Array(Vec::new()));
        let mut record: Record = serde_json::from_value(Value::Object(map))?;
        record.message.payload = payload;
        Ok(record)
    }
}

/// The fields of a message as JSON.
pub fn message_json(message: &Message) -> anyhow::Result<Map<String, Value>> {
    let mut bare = message.clone();
    let payload = std::mem::take(&mut bare.payload);
    let Value::Object(mut map) = serde_json::to_value(&bare)? else {
        return Err(anyhow!("a message is not a map"));
    };
    map.remove("time_ns");
    map.insert("time".to_owned(), time(message.time_ns).into());
    map.remove("payload");
    match String::from_utf8(payload) {
        Ok(text) if message.format != Format::Binary => map.insert("payload".to_owned(), text.into()),
        Ok(text) => map.insert("base64".to_owned(), STANDARD.encode(text).into()),
        Err(error) => map.insert("base64".to_owned(), STANDARD.encode(error.as_bytes()).into()),
    };
    Ok(map)
}

/// A time in UTC to the nanosecond (RFC 3339).
pub fn time(wall_ns: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(wall_ns);
    humantime::format_rfc3339_nanos(time).to_string()
}

fn nanoseconds(time: &str) -> anyhow::Result<u64> {
    let read = date::read(time);
    read.with_context(|| {
        format!("cannot read the time {time:?}: it must be like 2026-05-01T12:00:00.5Z, of 1970 to 2554")
    })
}

/// An entry as a line for people.
pub fn line(outlet: &str, entry: &Entry) -> String {
    match &entry.body {
        Body::Gap { to, reason } => {
            format!("{outlet} {} to {to}  no messages: {}\n", entry.seq, reason_words(*reason))
        }
        Body::Message(message) => {
            let device = message.device.as_ref().map(|device| format!("  ({device})")).unwrap_or_default();
            format!(
                "{outlet} {}  {}  {}{}  {}\n",
                entry.seq,
                time(message.time_ns),
                clean(&message.topic),
                clean(&device),
                payload_words(message)
            )
        }
    }
}

/// Why there are no messages, as the peer is told.
pub fn reason_words(reason: GapReason) -> String {
    match serde_json::to_value(reason) {
        Ok(Value::String(words)) => words,
        Ok(_) | Err(_) => format!("{reason:?}"),
    }
}

/// So many of these.
pub fn many(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The beginning of a payload, without what a terminal would obey.
pub fn payload_words(message: &Message) -> String {
    if message.format == Format::Binary {
        return format!("{} bytes", message.payload.len());
    }
    let text = String::from_utf8_lossy(&message.payload);
    let shown: String = text.chars().take(PAYLOAD_SHOWN).collect();
    let more = if shown.len() < text.len() { " …" } else { "" };
    clean(&shown) + more
}

/// Reads the records of an export, whichever of the two forms it has.
pub fn read_all(
    input: &mut impl BufRead,
    take: impl FnMut(Record) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let first = input.fill_buf().context("cannot read it")?.first().copied();
    match first {
        // RFC 8949 §3.1: major type 5 is a map.
        Some(0xa0..=0xbf) => read_cbor(input, take),
        _ => read_lines(input, take),
    }
}

fn read_cbor(input: impl Read, mut take: impl FnMut(Record) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for (number, record) in (1..).zip(serde_cbor::Deserializer::from_reader(input).into_iter()) {
        let record = record.and_then(cbor::of_tree::<Record>);
        take(record.with_context(|| format!("cannot read message {number}"))?)?;
    }
    Ok(())
}

fn read_lines(
    input: &mut impl BufRead,
    mut take: impl FnMut(Record) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line).context("cannot read it")? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let record = serde_json::from_slice(&line).map_err(anyhow::Error::new).and_then(Record::of_json);
        take(record.with_context(|| format!("cannot read line {number}"))?)?;
    }
    Ok(())
}

/// A message for tests.
#[cfg(test)]
pub fn sample(format: Format, payload: &[u8]) -> Message {
    Message {
        id: 7,
        time_ns: 1_700_000_000_123_456_789,
        clock: holdfast_core::message::Clock::Synced,
        boot: holdfast_core::message::Boot(3),
        up_ns: 9,
        topic: "kitchen/temperature".to_owned(),
        device: Some("kitchen".to_owned()),
        source: "server:sensors".into(),
        format,
        payload: payload.to_vec(),
        attributes: vec![("unit".to_owned(), "C".to_owned())],
        ttl_s: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(format: Format, payload: &[u8]) -> Record {
        let message = sample(format, payload);
        Record { outlet: "client:cloud".to_owned(), epoch: "01J".to_owned(), seq: 3, message }
    }

    fn all() -> Vec<Record> {
        vec![
            record(Format::Json, b"{\"t\":21.5}"),
            record(Format::Text, "gr\u{fc}n\n".as_bytes()),
            record(Format::Binary, &[0, 255, 10]),
            record(Format::Binary, b"text"),
        ]
    }

    fn read(bytes: &[u8]) -> anyhow::Result<Vec<Record>> {
        let mut read = Vec::new();
        read_all(&mut std::io::BufReader::new(bytes), |record| {
            read.push(record);
            Ok(())
        })?;
        Ok(read)
    }

    #[test]
    fn what_is_written_as_lines_is_read_again_to_the_nanosecond() {
        let lines: String = all().iter().map(|record| format!("{}\n", record.json().unwrap())).collect();
        assert_eq!(read(lines.as_bytes()).unwrap(), all());
        assert!(
            lines.contains(r#""payload":"{\"t\":21.5}""#) && lines.contains(r#""base64":"AP8K""#),
            "{lines}"
        );
        assert!(lines.contains("2023-11-14T22:13:20.123456789Z"), "{lines}");
    }

    #[test]
    fn what_is_written_as_cbor_is_read_again() {
        let bytes: Vec<u8> = all().iter().flat_map(|record| serde_cbor::to_vec(record).unwrap()).collect();
        assert_eq!(read(&bytes).unwrap(), all());
    }

    #[test]
    fn a_line_that_is_no_message_is_named_by_its_number() {
        let good = all()[0].json().unwrap().to_string();
        let error = format!("{:#}", read(format!("{good}\n\n{{}}\n").as_bytes()).unwrap_err());
        assert_eq!(error, "cannot read line 3: there is no time");
        let cut = &serde_cbor::to_vec(&all()[0]).unwrap()[..40];
        assert!(format!("{:#}", read(cut).unwrap_err()).starts_with("cannot read message 1"));
    }

    #[test]
    fn a_line_for_people_has_nothing_that_a_terminal_obeys() {
        let message = record(Format::Text, b"\x1b[2J").message;
        let entry = Entry { seq: 3, body: Body::Message(message.into()), replayed: true };
        let expected =
            "client:cloud 3  2023-11-14T22:13:20.123456789Z  kitchen/temperature  (kitchen)  \\u001b[2J\n";
        assert_eq!(line("client:cloud", &entry), expected);
        let gap = Entry { seq: 4, body: Body::Gap { to: 9, reason: GapReason::Purged }, replayed: true };
        assert_eq!(line("mqtt", &gap), "mqtt 4 to 9  no messages: purged\n");
    }
}
