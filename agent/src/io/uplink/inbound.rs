//! What the peer sends of its own becomes a message, as `inbound` of the client says.

use std::sync::Arc;

use crate::config::client::Client;
use crate::config::inbound::{Inbound as Rule, TextEncoding};
use crate::config::route::expand;
use crate::logic::intake::Draft;
use crate::logic::payload;
use crate::logic::port::Heard;
use crate::message::Format;

/// The letters of windows-1252 for the bytes from 0x80 to 0x9f (WHATWG Encoding, index-windows-1252).
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// How the messages of one peer are made.
#[derive(Debug, Clone)]
pub struct Inbound {
    rule: Rule,
    topic: String,
    device: Option<String>,
    source: Arc<str>,
}

impl Inbound {
    /// None when the client's configuration makes no messages.
    pub fn of(client: &Client, agent: &str) -> Option<Inbound> {
        let rule = client.inbound.clone()?;
        let id = client.id.to_lowercase();
        let source = format!("client:{id}").into();
        let values = [("client", id.as_str()), ("agent", agent), ("application", &client.application)];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let topic = expand(&rule.topic, &values);
        let device = rule.device.as_ref().map(|device| expand(device, &values));
        Some(Inbound { rule, topic, device, source })
    }

    /// What a text frame or a binary frame becomes.
    pub fn hear(&self, is_text: bool, bytes: &[u8]) -> Heard {
        if bytes.len() > self.rule.message_bytes {
            let (bytes, most) = (bytes.len(), self.rule.message_bytes);
            return Heard::Refused(format!("a message of {bytes} bytes; message_bytes is {most}"));
        }
        let (is_text, payload) = match self.rule.encoding {
            Some(encoding) if !is_text => (true, decode(encoding, bytes).into_bytes()),
            _ => (is_text, bytes.to_owned()),
        };
        let format = match self.rule.format {
            Some(format) => match payload::check(format, &payload) {
                Ok(()) => format,
                Err(error) => return Heard::Refused(error),
            },
            None if is_text => payload::sniff(&payload),
            None => Format::Binary,
        };
        Heard::Message(Draft {
            topic: self.topic.clone(),
            device: self.device.clone(),
            source: self.source.clone(),
            format,
            payload,
            attributes: Vec::new(),
            priority: self.rule.priority,
        })
    }
}

/// What is no text becomes U+FFFD, and a byte order mark goes (WHATWG Encoding §6, "decode").
fn decode(encoding: TextEncoding, bytes: &[u8]) -> String {
    let text = match encoding {
        TextEncoding::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
        TextEncoding::Utf16Le => utf_16(bytes, u16::from_le_bytes),
        TextEncoding::Utf16Be => utf_16(bytes, u16::from_be_bytes),
        TextEncoding::Windows1252 => return bytes.iter().map(|byte| windows_1252(*byte)).collect(),
    };
    text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned)
}

fn utf_16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> String {
    let (pairs, rest) = bytes.as_chunks();
    let mut text: String = char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .map(|letter| letter.unwrap_or('\u{fffd}'))
        .collect();
    text.extend(rest.first().map(|_| '\u{fffd}'));
    text
}

fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::client;
    use super::*;

    fn inbound(change: impl FnOnce(&mut Rule)) -> Inbound {
        let mut rule = Rule {
            topic: "from/{client}/{agent}".to_owned(),
            device: Some("{client}".to_owned()),
            format: None,
            encoding: None,
            priority: 3,
            message_bytes: 16,
        };
        change(&mut rule);
        let client = Client { id: "Cloud".to_owned(), inbound: Some(rule), ..client("ws://hub") };
        Inbound::of(&client, "gw-17").unwrap()
    }

    fn format(heard: Heard) -> Format {
        match heard {
            Heard::Message(draft) => draft.format,
            other => panic!("{other:?} is no message"),
        }
    }

    #[test]
    fn topic_device_and_source_name_the_client() {
        let Heard::Message(draft) = inbound(|_| {}).hear(true, b"on") else { panic!("it is a message") };
        assert_eq!((draft.topic.as_str(), draft.device.as_deref()), ("from/cloud/gw-17", Some("cloud")));
        assert_eq!((&*draft.source, draft.priority), ("client:cloud", 3));
    }

    #[test]
    fn a_text_frame_is_json_or_text_and_a_binary_frame_binary() {
        let inbound = inbound(|_| {});
        assert_eq!(format(inbound.hear(true, b"{\"t\":1}")), Format::Json);
        assert_eq!(format(inbound.hear(true, b"on")), Format::Text);
        assert_eq!(format(inbound.hear(false, b"{\"t\":1}")), Format::Binary);
    }

    #[test]
    fn what_is_too_large_or_of_another_format_is_refused_with_the_reason() {
        let inbound = inbound(|rule| rule.format = Some(Format::Json));
        assert_eq!(
            inbound.hear(false, &[b' '; 17]),
            Heard::Refused("a message of 17 bytes; message_bytes is 16".to_owned())
        );
        assert!(
            matches!(inbound.hear(true, b"on"), Heard::Refused(error) if error.contains("not valid JSON"))
        );
        assert_eq!(format(inbound.hear(false, b"[1]")), Format::Json);
    }

    #[test]
    fn binary_frames_are_decoded_when_they_are_text_in_an_encoding() {
        let cases: [(TextEncoding, &[u8], &str); 6] = [
            (TextEncoding::Utf8, b"\xef\xbb\xbf21 \xc2\xb0C", "21 °C"),
            (TextEncoding::Utf8, b"a\xff", "a\u{fffd}"),
            (TextEncoding::Utf16Le, b"\xff\xfe2\x001\x00\xb0\x00", "21°"),
            (TextEncoding::Utf16Be, b"\x002\xd8\x3d\xde\x00!", "2😀\u{fffd}"),
            (TextEncoding::Utf16Be, b"\xd8\x00\x00a", "\u{fffd}a"),
            (TextEncoding::Windows1252, b"21 \xb0C \x80", "21 °C €"),
        ];
        for (encoding, bytes, expected) in cases {
            let inbound = inbound(|rule| rule.encoding = Some(encoding));
            let Heard::Message(draft) = inbound.hear(false, bytes) else { panic!("it is a message") };
            assert_eq!(String::from_utf8(draft.payload).unwrap(), expected, "{encoding:?}");
            assert_eq!(draft.format, Format::Text);
        }
    }
}
