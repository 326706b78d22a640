//! Replies become bytes.

use super::packet::{Acknowledgement, ConnAck, Outgoing, QoS, Reply, Terms, Version};
use super::properties::id;
use super::reason::Reason;
use crate::message::Format;

/// Longest words for people in a packet, in bytes.
const WORDS_BYTES: usize = 256;

/// How a client wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Spoken by it.
    pub version: Version,
    /// Whether all packets may have words for people; CONNACK and DISCONNECT always may (5.0 §3.1.2.11.7).
    pub wants_words: bool,
    /// Largest packet that it takes.
    pub packet_max: u32,
}

/// Adds the bytes of a reply; nothing for what the version does not have.
pub fn reply(out: &mut Vec<u8>, reply: &Reply, style: Style) {
    let is_v5 = style.version == Version::V5;
    match reply {
        Reply::ConnAck(ack) => connack(out, ack, style),
        Reply::PubAck(ack) => acknowledgement(out, 0x40, ack, style),
        Reply::PubRec(ack) => acknowledgement(out, 0x50, ack, style),
        Reply::PubComp(ack) => acknowledgement(out, 0x70, ack, style),
        Reply::Publish(outgoing) => publish(out, outgoing, is_v5),
        Reply::SubAck(id, codes) => of_filters(out, 0x90, *id, codes, is_v5),
        // 3.1.1 has no codes in it.
        Reply::UnsubAck(id, codes) => of_filters(out, 0xb0, *id, if is_v5 { codes } else { &[] }, is_v5),
        Reply::PingResp => out.extend([0xd0, 0]),
        Reply::Disconnect { reason, words } if is_v5 => {
            let words = text_property(id::REASON_STRING, words);
            framed(out, 0xe0, &[&[reason.code()]], &words, style);
        }
        Reply::Disconnect { .. } => {}
    }
}

fn connack(out: &mut Vec<u8>, ack: &ConnAck, style: Style) {
    let start = [u8::from(ack.session_present), ack.reason.of_connack(style.version)];
    if style.version == Version::V311 {
        out.extend([0x20, 2]);
        out.extend(start);
        return;
    }
    let terms = ack.terms.as_ref().map(of_terms).unwrap_or_default();
    let words = text_property(id::REASON_STRING, &ack.words);
    if words.is_empty() || !fits(start.len() + terms.len() + words.len(), style) {
        framed_with(out, 0x20, &[&start], &terms);
    } else {
        framed_with(out, 0x20, &[&start], &[terms, words].concat());
    }
}

fn of_terms(terms: &Terms) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(seconds) = terms.expiry_s {
        out.push(id::SESSION_EXPIRY);
        out.extend(seconds.to_be_bytes());
    }
    out.push(id::RECEIVE_MAX);
    out.extend(terms.receive_max.to_be_bytes());
    out.push(id::PACKET_MAX);
    out.extend(terms.packet_max.to_be_bytes());
    out.extend(
        terms.client_id.as_deref().map_or(Vec::new(), |name| text_property(id::ASSIGNED_CLIENT_ID, name)),
    );
    if let Some(seconds) = terms.keep_alive_s {
        out.push(id::SERVER_KEEP_ALIVE);
        out.extend(seconds.to_be_bytes());
    }
    out.extend([id::SHARED_AVAILABLE, 0]);
    out
}

fn publish(out: &mut Vec<u8>, outgoing: &Outgoing, is_v5: bool) {
    let Outgoing { message, qos, id, dup, .. } = outgoing;
    let mut body = Vec::with_capacity(message.topic.len() + message.payload.len() + 64);
    text(&mut body, &message.topic);
    if *qos > QoS::AtMostOnce {
        body.extend(id.to_be_bytes());
    }
    if is_v5 {
        let properties = of_publish(outgoing);
        variable(&mut body, properties.len());
        body.extend(properties);
    }
    body.extend(&message.payload);
    out.push(0x30 | u8::from(*dup) << 3 | qos.code() << 1);
    variable(out, body.len());
    out.extend(body);
}

fn of_publish(outgoing: &Outgoing) -> Vec<u8> {
    let mut out = vec![id::PAYLOAD_FORMAT, u8::from(outgoing.message.format != Format::Binary)];
    if let Some(seconds) = outgoing.expiry_s {
        out.push(id::MESSAGE_EXPIRY);
        out.extend(seconds.to_be_bytes());
    }
    for number in &outgoing.numbers {
        out.push(id::SUBSCRIPTION_ID);
        variable(&mut out, usize::try_from(*number).unwrap_or(0));
    }
    for (name, value) in &outgoing.message.attributes {
        out.push(id::USER_PROPERTY);
        text(&mut out, name);
        text(&mut out, value);
    }
    out
}

/// A text behind its length; what is longer than a length can say is cut.
fn text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

/// The shortest form that says it (5.0 §3.4.2.1).
fn acknowledgement(out: &mut Vec<u8>, kind: u8, ack: &Acknowledgement, style: Style) {
    let number = ack.id.to_be_bytes();
    if style.version == Version::V311 || ack.reason == Reason::Success {
        out.extend([kind, 2]);
        out.extend(number);
        return;
    }
    let words = if style.wants_words { text_property(id::REASON_STRING, &ack.words) } else { Vec::new() };
    framed(out, kind, &[&number, &[ack.reason.code()]], &words, style);
}

fn of_filters(out: &mut Vec<u8>, kind: u8, id: u16, codes: &[u8], is_v5: bool) {
    let no_properties: &[u8] = if is_v5 { &[0] } else { &[] };
    out.push(kind);
    variable(out, 2 + no_properties.len() + codes.len());
    out.extend(id.to_be_bytes());
    out.extend(no_properties);
    out.extend(codes);
}

/// A packet of 5.0 with these properties, or without any if it would be too large.
fn framed(out: &mut Vec<u8>, kind: u8, start: &[&[u8]], properties: &[u8], style: Style) {
    let length = start.iter().map(|part| part.len()).sum::<usize>() + properties.len();
    framed_with(out, kind, start, if fits(length, style) { properties } else { &[] });
}

fn framed_with(out: &mut Vec<u8>, kind: u8, start: &[&[u8]], properties: &[u8]) {
    let mut body = start.concat();
    variable(&mut body, properties.len());
    body.extend(properties);
    out.push(kind);
    variable(out, body.len());
    out.extend(body);
}

/// Whether a body of this length and its two lengths fit into a packet for this client.
fn fits(body: usize, style: Style) -> bool {
    u32::try_from(body + 7).is_ok_and(|bytes| bytes <= style.packet_max)
}

fn text_property(property: u8, text: &str) -> Vec<u8> {
    let text = &text[..text.floor_char_boundary(WORDS_BYTES)];
    let Some(length) = u16::try_from(text.len()).ok().filter(|length| *length > 0) else { return Vec::new() };
    [&[property], &length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// A variable byte integer (5.0 §1.5.5).
pub(super) fn variable(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return;
        }
    }
}
