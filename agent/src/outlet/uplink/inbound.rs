//! What the peer sends of its own becomes a message, as `inbound` of the client says.

use std::sync::Arc;

use holdfast_core::config::client::Client;
use holdfast_core::config::inbound::Inbound as Rule;
use holdfast_core::config::route::expand;
use holdfast_core::link::protocol::Heard;
use holdfast_core::message::Format;
use holdfast_core::source::intake::Draft;
use holdfast_core::source::payload;

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

    /// What a message becomes of which nothing but its length is left.
    pub fn too_large(&self, bytes: u64) -> Heard {
        Heard::Refused(format!("a message of {bytes} bytes; message_bytes is {}", self.rule.message_bytes))
    }

    /// What a text frame or a binary frame becomes.
    pub fn hear(&self, is_text: bool, bytes: &[u8]) -> Heard {
        if bytes.len() > self.rule.message_bytes {
            return self.too_large(bytes.len() as u64);
        }
        if is_text && std::str::from_utf8(bytes).is_err() {
            return Heard::Refused("a text message that is not UTF-8".to_owned());
        }
        let (is_text, payload) = match self.rule.encoding {
            // What is no text becomes U+FFFD, and a byte order mark goes (WHATWG Encoding §6, "decode").
            Some(encoding) if !is_text => (true, encoding.decode(bytes).0.into_owned().into_bytes()),
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
            ttl_s: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{Encoding, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

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
        let cases: [(&'static Encoding, &[u8], &str); 7] = [
            (UTF_8, b"\xef\xbb\xbf21 \xc2\xb0C", "21 °C"),
            (UTF_8, b"a\xff", "a\u{fffd}"),
            (UTF_16LE, b"\xff\xfe2\x001\x00\xb0\x00", "21°"),
            (UTF_16BE, b"\x002\xd8\x3d\xde\x00!", "2😀\u{fffd}"),
            (UTF_16BE, b"\xd8\x00\x00a", "\u{fffd}a"),
            (WINDOWS_1252, b"21 \xb0C \x80", "21 °C €"),
            (SHIFT_JIS, b"\x89\xb7\x93x21", "温度21"),
        ];
        for (encoding, bytes, expected) in cases {
            let inbound = inbound(|rule| rule.encoding = Some(encoding));
            let Heard::Message(draft) = inbound.hear(false, bytes) else { panic!("it is a message") };
            assert_eq!(String::from_utf8(draft.payload).unwrap(), expected, "{}", encoding.name());
            assert_eq!(draft.format, Format::Text);
        }
    }
}
