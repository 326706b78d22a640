//! How a payload is to be read. Pure.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::message::Format;

/// The format of a payload that may be anything: JSON if it parses, else text if it is UTF-8, else binary.
pub fn sniff(payload: &[u8]) -> Format {
    match std::str::from_utf8(payload) {
        Ok(text) => sniff_text(text),
        Err(_) => Format::Binary,
    }
}

/// The format of a text: JSON if it parses, else text.
pub fn sniff_text(text: &str) -> Format {
    match parse(text) {
        Ok(()) => Format::Json,
        Err(_) => Format::Text,
    }
}

/// Checks that a payload has this format. The error is meant for the sender, with line and column.
pub fn check(format: Format, payload: &[u8]) -> Result<(), String> {
    match format {
        Format::Binary => Ok(()),
        Format::Text => text(payload).map(drop),
        Format::Json => parse(text(payload)?).map_err(|error| format!("not valid JSON: {error}")),
    }
}

fn text(payload: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(payload)
        .map_err(|error| format!("not valid UTF-8 after byte {}", error.valid_up_to()))
}

fn parse(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<Checked>(text).map(drop)
}

/// JSON that anyone can read: unlike `IgnoredAny` it looks into strings and numbers and has a bounded depth.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Checked, D::Error> {
        deserializer.deserialize_any(Checked)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Checked, E> {
        Ok(self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Checked, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Checked, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Checked, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Checked, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Checked, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Checked, A::Error> {
        while elements.next_element::<Checked>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Checked, A::Error> {
        while members.next_entry::<Checked, Checked>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_if_it_parses_else_text_if_it_is_utf_8_else_binary() {
        let cases: [(&[u8], Format); 7] = [
            (b"{\"t\":1}", Format::Json),
            (b" 23.5 ", Format::Json),
            (b"{\"t\":1", Format::Text),
            (b"", Format::Text),
            ("é".as_bytes(), Format::Text),
            (b"\"\xff\"", Format::Binary),
            (b"\xff\x00", Format::Binary),
        ];
        for (payload, expected) in cases {
            assert_eq!(sniff(payload), expected, "{payload:?}");
        }
    }

    #[test]
    fn a_payload_of_another_format_is_refused_with_the_place() {
        assert_eq!(
            check(Format::Json, b"{\n  \"t\": x}").unwrap_err(),
            "not valid JSON: expected value at line 2 column 8"
        );
        assert_eq!(check(Format::Json, b"\"\xff\"").unwrap_err(), "not valid UTF-8 after byte 1");
        assert_eq!(check(Format::Text, b"ab\xff").unwrap_err(), "not valid UTF-8 after byte 2");
        assert_eq!(check(Format::Binary, b"ab\xff"), Ok(()));
    }

    #[test]
    fn what_passes_as_json_can_be_read_as_json() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let cases = [
            r#"{"a":[1,-2,3.5,null,true,"x\n"],"b":{}}"#,
            "18446744073709551616",
            "1e999",
            r#""\ud800""#,
            r#"{"a":1,}"#,
            "01",
            &deep,
            "1 2",
        ];
        for text in cases {
            let readable = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(check(Format::Json, text.as_bytes()).is_ok(), readable, "{text}");
        }
    }
}
