//! The body of an HTTP request: the elements of a batch, as lines, as a JSON array or as a CBOR array.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{
    CBOR_ARRAY_START, CBOR_BREAK, CborItem, Content, GapFrame, INFALLIBLE, View, gap_of, join_lines,
    write_json_fields, write_string,
};
use crate::config::client::{BodyEncoding, Elements};
use crate::message::{Body as EntryBody, Entry, Message};

/// A body under construction.
#[derive(Debug)]
pub struct RequestBody {
    encoding: BodyEncoding,
    elements: Elements,
    bytes: Vec<u8>,
    count: usize,
}

impl RequestBody {
    /// A body without elements.
    pub fn new(encoding: BodyEncoding, elements: Elements) -> RequestBody {
        let bytes = match encoding {
            BodyEncoding::Json => b"[".to_vec(),
            BodyEncoding::Cbor => vec![CBOR_ARRAY_START],
            BodyEncoding::Ndjson => Vec::new(),
        };
        RequestBody { encoding, elements, bytes, count: 0 }
    }

    /// Its `Content-Type`.
    pub fn media_type(encoding: BodyEncoding) -> &'static str {
        match encoding {
            BodyEncoding::Json => "application/json",
            BodyEncoding::Cbor => "application/cbor",
            BodyEncoding::Ndjson => "application/x-ndjson",
        }
    }

    /// Whether there is an element for this entry.
    pub fn has_element(elements: Elements, entry: &Entry) -> bool {
        match elements {
            Elements::Messages => true,
            Elements::Payloads => matches!(entry.body, EntryBody::Message(_)),
        }
    }

    /// Adds an entry of this epoch. One that would be the second or a later one and make it larger than `bytes_max` is left out, and
    /// false returned.
    pub fn push(&mut self, epoch: &str, entry: &Entry, bytes_max: usize) -> bool {
        if !RequestBody::has_element(self.elements, entry) {
            return true;
        }
        let before = self.bytes.len();
        if self.count > 0 && self.encoding == BodyEncoding::Json {
            self.bytes.push(b',');
        }
        self.write(epoch, entry);
        if self.count > 0 && self.bytes.len() >= bytes_max {
            self.bytes.truncate(before);
            return false;
        }
        self.count += 1;
        true
    }

    /// Its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        match self.encoding {
            BodyEncoding::Json => self.bytes.push(b']'),
            BodyEncoding::Cbor => self.bytes.push(CBOR_BREAK),
            BodyEncoding::Ndjson => {}
        }
        self.bytes
    }

    fn write(&mut self, epoch: &str, entry: &Entry) {
        let start = self.bytes.len();
        let is_cbor = self.encoding == BodyEncoding::Cbor;
        match (&entry.body, self.elements) {
            (EntryBody::Message(message), Elements::Messages) if is_cbor => {
                let view = View::of_message(entry.seq, entry.replayed, message);
                let item = CborItem { epoch: Some(epoch), ..CborItem::of(&view) };
                serde_cbor::to_writer(&mut self.bytes, &item).expect(INFALLIBLE);
            }
            (EntryBody::Message(message), Elements::Messages) => {
                self.bytes.extend_from_slice(b"{\"epoch\":");
                write_string(&mut self.bytes, epoch);
                self.bytes.push(b',');
                write_json_fields(&mut self.bytes, &View::of_message(entry.seq, entry.replayed, message));
                self.bytes.push(b'}');
            }
            (EntryBody::Message(message), Elements::Payloads) => self.write_payload(message),
            (EntryBody::Gap { to, reason }, _) => {
                let gap = gap_of(epoch, entry.seq, *to, *reason);
                let frame = GapFrame { gap: &gap };
                if is_cbor {
                    serde_cbor::to_writer(&mut self.bytes, &frame).expect(INFALLIBLE);
                } else {
                    serde_json::to_writer(&mut self.bytes, &frame).expect(INFALLIBLE);
                }
            }
        }
        if self.encoding == BodyEncoding::Ndjson {
            join_lines(&mut self.bytes[start..]);
            self.bytes.push(b'\n');
        }
    }

    fn write_payload(&mut self, message: &Message) {
        let content = Content::of(message.format, &message.payload);
        match (self.encoding, content) {
            (BodyEncoding::Cbor, Content::Json(text) | Content::Text(text)) => {
                serde_cbor::to_writer(&mut self.bytes, &text).expect(INFALLIBLE);
            }
            (BodyEncoding::Cbor, Content::Binary(bytes)) => {
                serde_cbor::to_writer(&mut self.bytes, &serde_bytes::Bytes::new(bytes)).expect(INFALLIBLE);
            }
            (BodyEncoding::Json | BodyEncoding::Ndjson, Content::Json(text)) => {
                self.bytes.extend_from_slice(text.as_bytes());
            }
            (BodyEncoding::Json | BodyEncoding::Ndjson, Content::Text(text)) => {
                write_string(&mut self.bytes, text);
            }
            (BodyEncoding::Json | BodyEncoding::Ndjson, Content::Binary(bytes)) => {
                write_string(&mut self.bytes, &STANDARD.encode(bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::{Boot, Clock, Format, GapReason};

    fn entry(seq: u64, format: Format, payload: &[u8]) -> Entry {
        let message = Message {
            id: seq,
            time_ns: 0,
            clock: Clock::Synced,
            boot: Boot(0),
            up_ns: 0,
            topic: "t".to_owned(),
            device: None,
            source: "s".into(),
            format,
            payload: payload.to_vec(),
            attributes: Vec::new(),
            ttl_s: None,
        };
        Entry { seq, body: EntryBody::Message(Arc::new(message)), replayed: false }
    }

    fn gap() -> Entry {
        Entry { seq: 2, body: EntryBody::Gap { to: 3, reason: GapReason::Expired }, replayed: false }
    }

    fn body(encoding: BodyEncoding, elements: Elements, entries: &[Entry]) -> Vec<u8> {
        let mut body = RequestBody::new(encoding, elements);
        entries.iter().for_each(|entry| assert!(body.push("E", entry, 10_000)));
        body.finish()
    }

    fn text(encoding: BodyEncoding, elements: Elements, entries: &[Entry]) -> String {
        String::from_utf8(body(encoding, elements, entries)).unwrap()
    }

    #[test]
    fn lines_hold_all_that_a_receiver_needs_to_leave_out_what_comes_twice() {
        let entries = [entry(1, Format::Json, b"{\n\"t\":21.50}"), gap(), entry(4, Format::Binary, &[255])];
        assert_eq!(
            text(BodyEncoding::Ndjson, Elements::Messages, &entries),
            "{\"epoch\":\"E\",\"seq\":1,\"time\":\"1970-01-01T00:00:00.000000000Z\",\"clock\":\"synced\",\"topic\":\"t\",\"data\":{ \"t\":21.50}}\n\
             {\"gap\":{\"from\":2,\"to\":3,\"reason\":\"expired\",\"epoch\":\"E\"}}\n\
             {\"epoch\":\"E\",\"seq\":4,\"time\":\"1970-01-01T00:00:00.000000000Z\",\"clock\":\"synced\",\"topic\":\"t\",\"format\":\"binary\",\"data_base64\":\"/w==\"}\n"
        );
    }

    #[test]
    fn payloads_stand_alone_and_gaps_are_not_told() {
        let entries = [
            entry(1, Format::Json, b"{\"t\":1}"),
            gap(),
            entry(4, Format::Text, b"a\"b"),
            entry(5, Format::Binary, &[255]),
        ];
        assert_eq!(text(BodyEncoding::Json, Elements::Payloads, &entries), r#"[{"t":1},"a\"b","/w=="]"#);
        assert_eq!(
            text(BodyEncoding::Ndjson, Elements::Payloads, &entries),
            "{\"t\":1}\n\"a\\\"b\"\n\"/w==\"\n"
        );
        let cbor = body(BodyEncoding::Cbor, Elements::Payloads, &entries);
        let expected = serde_cbor::Value::Array(vec![
            serde_cbor::Value::Text("{\"t\":1}".to_owned()),
            serde_cbor::Value::Text("a\"b".to_owned()),
            serde_cbor::Value::Bytes(vec![255]),
        ]);
        assert_eq!(serde_cbor::from_slice::<serde_cbor::Value>(&cbor).unwrap(), expected);
    }

    #[test]
    fn an_array_without_messages_is_still_one() {
        assert_eq!(text(BodyEncoding::Json, Elements::Messages, &[]), "[]");
        assert_eq!(text(BodyEncoding::Ndjson, Elements::Messages, &[]), "");
        assert_eq!(body(BodyEncoding::Cbor, Elements::Messages, &[]), [0x9f, 0xff]);
    }

    #[test]
    fn cbor_has_the_same_keys_as_an_envelope_and_the_epoch() {
        let cbor = body(BodyEncoding::Cbor, Elements::Messages, &[entry(7, Format::Json, b"{}"), gap()]);
        let serde_cbor::Value::Array(found) = serde_cbor::from_slice(&cbor).unwrap() else {
            panic!("no array")
        };
        let serde_cbor::Value::Map(message) = &found[0] else { panic!("no map") };
        let of = |key: &str| message.get(&serde_cbor::Value::Text(key.to_owned())).cloned();
        assert_eq!(of("epoch"), Some(serde_cbor::Value::Text("E".to_owned())));
        assert_eq!(of("seq"), Some(serde_cbor::Value::Integer(7)));
        assert_eq!((message.len(), found.len()), (6, 2));
    }

    #[test]
    fn a_large_element_goes_alone_and_others_share_a_body_up_to_its_bound() {
        for encoding in [BodyEncoding::Json, BodyEncoding::Ndjson, BodyEncoding::Cbor] {
            let mut body = RequestBody::new(encoding, Elements::Payloads);
            let large = entry(1, Format::Text, &[b'x'; 300]);
            assert!(body.push("E", &large, 200));
            assert!(!body.push("E", &entry(2, Format::Text, b"y"), 200));
            let mut body = RequestBody::new(encoding, Elements::Payloads);
            let taken =
                (0..99).take_while(|seq| body.push("E", &entry(*seq, Format::Text, b"0123456"), 200)).count();
            assert!(body.finish().len() <= 200 && taken > 15, "{encoding:?}: {taken}");
        }
    }
}
