//! Between the words of the port and WebSocket messages: raw payloads or envelopes, as the client's framing says.

use async_tungstenite::tungstenite::Message;
use holdfast_core::config::client::Framing;
use holdfast_core::link::protocol::{Heard, LinkReport};
use holdfast_core::message::Entry;
use holdfast_core::wire::{self, Answer, Arrived, Frame, Hello, Payload, PayloadRef};

use super::Uplink;

/// Introduces a lane of the agent; nothing on a raw link.
pub fn hello(uplink: &Uplink, lane: usize, first: u64, next: u64) -> Option<Message> {
    if uplink.client.framing == Framing::Raw {
        return None;
    }
    let hello = Hello {
        agent: uplink.agent.clone(),
        epoch: uplink.lanes[lane].epoch.clone(),
        first,
        next,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        priority: uplink.lanes[lane].priority,
    };
    Some(message(wire::encode(&Frame::Hello(hello), uplink.client.envelope_encoding())))
}

/// The frames of these entries, made one at a time; several messages share an envelope up to this many bytes.
pub fn frames<'a>(
    uplink: &'a Uplink,
    lane: usize,
    entries: &'a [Entry],
    frame_bytes: usize,
) -> Box<dyn Iterator<Item = Message> + 'a> {
    match uplink.client.framing {
        Framing::Raw => Box::new(entries.iter().filter_map(wire::raw).map(message)),
        Framing::Envelope => {
            let envelopes =
                wire::envelopes(&uplink.lanes[lane].epoch, entries, uplink.client.envelope_encoding());
            Box::new(envelopes.up_to(frame_bytes).map(|outgoing| message(outgoing.payload)))
        }
    }
}

/// Report about a message of the peer, whose payload is there if it is whole.
pub fn heard(uplink: &Uplink, arrived: Arrived, payload: &[u8]) -> LinkReport {
    if !arrived.is_whole {
        let heard = uplink.inbound.as_ref().map(|inbound| inbound.too_large(arrived.bytes));
        return LinkReport::Inbound(heard.unwrap_or(Heard::Counted));
    }
    let answer = match std::str::from_utf8(payload) {
        Ok(text) if arrived.is_text => answer(uplink, PayloadRef::Text(text)),
        Err(_) if arrived.is_text => None,
        Ok(_) | Err(_) => answer(uplink, PayloadRef::Binary(payload)),
    };
    answer.unwrap_or_else(|| inbound(uplink, arrived.is_text, payload))
}

fn answer(uplink: &Uplink, payload: PayloadRef<'_>) -> Option<LinkReport> {
    if uplink.client.framing == Framing::Raw {
        return None;
    }
    let (answer, epoch) = wire::parse_answer(payload)?;
    let lane = match epoch {
        None => 0,
        Some(epoch) => uplink.lanes.iter().position(|lane| lane.epoch == epoch)?,
    };
    Some(match answer {
        Answer::Ack(seq) => LinkReport::Ack { lane, seq },
        Answer::Resume(from) => LinkReport::Resume { lane, from },
        Answer::Nack { seq, reason } => LinkReport::Nack { lane, seq, reason },
    })
}

fn inbound(uplink: &Uplink, is_text: bool, payload: &[u8]) -> LinkReport {
    let heard = uplink.inbound.as_ref().map(|inbound| inbound.hear(is_text, payload));
    LinkReport::Inbound(heard.unwrap_or(Heard::Counted))
}

fn message(payload: Payload) -> Message {
    match payload {
        Payload::Text(text) => Message::text(text),
        Payload::Binary(bytes) => Message::binary(bytes),
    }
}
