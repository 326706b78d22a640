//! What somebody who listens in is shown: messages as they come and go, and what is decided about them. Derived from the
//! events and actions of the agent, so that it costs nothing while nobody listens.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::agent::{Action, Event};
use crate::ids::{LinkId, RequestId};
use crate::link::protocol::{Heard, LinkOrder, LinkReport};
use crate::message::{Body, Entry, Format};
use crate::outlet::store_protocol::StoreOrder;
use crate::source::intake::{Answer, Draft, Refused};
use crate::topic_filter::TopicFilter;

/// Batches whose answers are waited for; an answer that is older is not shown.
const BATCHES_MAX: usize = 1024;
/// Bytes of a payload that are shown.
const PAYLOAD_MAX: usize = 4096;

/// One listener. Topics are chosen by the filters that subscribers use: `+` is one level, `#` all that follow.
#[derive(Debug, Clone)]
pub struct Tap {
    filter: TopicFilter,
    /// Batches with messages that were shown.
    batches: BTreeSet<RequestId>,
    /// Last confirmed number of each lane.
    confirmed: Vec<u64>,
}

impl Tap {
    /// Listens to these topics. The error says what is wrong with the filter.
    pub fn new(filter: &str) -> Result<Tap, String> {
        let filter = TopicFilter::parse(filter)?;
        Ok(Tap { filter, batches: BTreeSet::new(), confirmed: Vec::new() })
    }

    /// What comes in.
    pub fn event(&mut self, event: &Event, show: &mut impl FnMut(Value)) {
        match event {
            Event::Offer { request, drafts, .. } => {
                let meant: Vec<&Draft> =
                    drafts.iter().filter(|draft| self.filter.matches(&draft.topic)).collect();
                if !meant.is_empty() {
                    self.remember(*request);
                }
                meant.into_iter().for_each(|draft| show(message(Some(*request), draft)));
            }
            Event::Connected(device) => show(json!({ "device": device, "connection": "open" })),
            Event::Departed(device) => show(json!({ "device": device, "will": "published" })),
            Event::Disconnected(device) => show(json!({ "device": device, "connection": "closed" })),
            Event::Link { report: LinkReport::Inbound(Heard::Message(draft)), .. }
                if self.filter.matches(&draft.topic) =>
            {
                show(message(None, draft));
            }
            Event::Reimport { .. }
            | Event::Link { .. }
            | Event::Disk(..)
            | Event::StoreMoves
            | Event::Host(_)
            | Event::Command { .. }
            | Event::Reload { .. }
            | Event::Prepared { .. }
            | Event::Rejected(_)
            | Event::Servers(_)
            | Event::Stop
            | Event::Tick => {}
        }
    }

    /// What is decided. `name` gives the id of a link.
    pub fn action(&mut self, action: &Action, name: impl Fn(LinkId) -> String, show: &mut impl FnMut(Value)) {
        match action {
            Action::Answer(request, answer) if self.batches.remove(request) => show(match answer {
                Answer::Stored { first, last } => json!({ "batch": request, "stored": [first, last] }),
                Answer::Refused(refused) => json!({ "batch": request, "refused": refused.to_string() }),
            }),
            Action::GiveBack(request, _) if self.batches.remove(request) => {
                show(json!({ "batch": request, "refused": Refused::Busy.to_string() }));
            }
            Action::Tell { link, order: LinkOrder::Send { entries, .. } } => {
                if let Some(sent) = self.sent(entries) {
                    show(json!({ "link": name(*link), "sent": sent }));
                }
            }
            Action::Disk(StoreOrder::Append { parts }) => {
                let messages: usize = parts.iter().map(|(_, entries)| entries.len()).sum();
                show(json!({ "commit": messages }));
            }
            Action::Note(log_event) => show(json!({ "notice": log_event.to_string() })),
            Action::StartAnew
            | Action::Prepare { .. }
            | Action::TakeOver { .. }
            | Action::Succeed { .. }
            | Action::DropSuccessor
            | Action::ReplyToCommand { .. }
            | Action::ReplyToReload { .. }
            | Action::Dial { .. }
            | Action::HangUp { .. }
            | Action::Tell { .. }
            | Action::Disk(_)
            | Action::LookAtHost
            | Action::Look { .. }
            | Action::Answer(..)
            | Action::GiveBack(..)
            | Action::CloseSources
            | Action::Exit => {}
        }
    }

    /// How far each lane is confirmed: its link, its priority, its last confirmed number.
    pub fn confirmed(
        &mut self,
        now: &[(LinkId, u8, u64)],
        name: impl Fn(LinkId) -> String,
        show: &mut impl FnMut(Value),
    ) {
        for (lane, (link, priority, seq)) in now.iter().enumerate() {
            if self.confirmed.get(lane).is_none_or(|before| before == seq) {
                continue;
            }
            let mut line = json!({ "link": name(*link), "confirmed": seq });
            if *priority > 0 {
                line["priority"] = (*priority).into();
            }
            show(line);
        }
        self.confirmed = now.iter().map(|(.., seq)| *seq).collect();
    }

    /// First and last number and count of the messages that are meant.
    fn sent(&self, entries: &[Entry]) -> Option<Value> {
        let meant = |entry: &&Entry| match &entry.body {
            Body::Message(message) => self.filter.matches(&message.topic),
            Body::Gap { .. } => true,
        };
        let meant: Vec<&Entry> = entries.iter().filter(meant).collect();
        let (first, last) = (meant.first()?, meant.last()?);
        Some(json!({ "from": first.seq, "to": last.last(), "messages": meant.len() }))
    }

    fn remember(&mut self, request: RequestId) {
        self.batches.insert(request);
        if self.batches.len() > BATCHES_MAX {
            self.batches.pop_first();
        }
    }
}

/// What a peer of ours sent is in no batch.
fn message(request: Option<RequestId>, draft: &Draft) -> Value {
    let shown = &draft.payload[..draft.payload.len().min(PAYLOAD_MAX)];
    let (kind, payload) = match draft.format {
        Format::Binary => ("base64", STANDARD.encode(shown).into()),
        Format::Text => ("text", String::from_utf8_lossy(shown).into_owned().into()),
        Format::Json => match serde_json::from_slice(shown) {
            Ok(value) => ("json", value),
            Err(_) => ("text", Value::from(String::from_utf8_lossy(shown).into_owned())),
        },
    };
    json!({
        "batch": request, "topic": draft.topic, "device": draft.device, "source": &*draft.source,
        "bytes": draft.payload.len(), kind: payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(topic: &str, format: Format, payload: &[u8]) -> Draft {
        Draft {
            topic: topic.to_owned(),
            device: None,
            source: "server:s".into(),
            format,
            payload: payload.to_owned(),
            attributes: Vec::new(),
            priority: 0,
            ttl_s: None,
        }
    }

    fn shown(tap: &mut Tap, event: &Event) -> Vec<Value> {
        let mut lines = Vec::new();
        tap.event(event, &mut |line| lines.push(line));
        lines
    }

    fn decided(tap: &mut Tap, action: &Action) -> Vec<Value> {
        let mut lines = Vec::new();
        tap.action(action, |link| format!("l{link}"), &mut |line| lines.push(line));
        lines
    }

    #[test]
    fn only_messages_of_the_topics_asked_for_are_shown_and_only_their_answers() {
        let mut tap = Tap::new("a/+").unwrap();
        let drafts = vec![draft("a/b", Format::Json, b"{\"t\":1}"), draft("x", Format::Text, b"x")];
        let lines = shown(&mut tap, &Event::Offer { request: RequestId(7), drafts, from: None });
        let expected = json!({ "batch": 7, "topic": "a/b", "device": null, "source": "server:s", "bytes": 7, "json": { "t": 1 } });
        assert_eq!(lines, [expected]);
        assert_eq!(
            shown(
                &mut tap,
                &Event::Offer {
                    request: RequestId(8),
                    drafts: vec![draft("x", Format::Text, b"x")],
                    from: None
                }
            ),
            [] as [Value; 0]
        );
        let stored = |request| Action::Answer(request, Answer::Stored { first: 1, last: 2 });
        assert_eq!(decided(&mut tap, &stored(RequestId(7))), [json!({ "batch": 7, "stored": [1, 2] })]);
        assert_eq!(decided(&mut tap, &stored(RequestId(8))), [] as [Value; 0]);
    }

    #[test]
    fn a_payload_is_shown_as_what_it_is_and_no_longer_than_a_screen() {
        let mut tap = Tap::new("#").unwrap();
        let long = vec![b'x'; PAYLOAD_MAX + 1];
        let drafts = vec![draft("a", Format::Binary, &[0, 255]), draft("a", Format::Text, &long)];
        let lines = shown(&mut tap, &Event::Offer { request: RequestId(1), drafts, from: None });
        assert_eq!(lines[0]["base64"], "AP8=");
        assert_eq!(
            (lines[1]["text"].as_str().unwrap().len(), &lines[1]["bytes"]),
            (PAYLOAD_MAX, &json!(PAYLOAD_MAX + 1))
        );
    }

    #[test]
    fn a_confirmation_is_shown_when_it_moves() {
        let mut tap = Tap::new("#").unwrap();
        let mut lines = Vec::new();
        for seq in [5, 5, 9] {
            let now = [(LinkId(0), 0, seq), (LinkId(0), 7, seq / 9), (LinkId(1), 0, 0)];
            tap.confirmed(&now, |link| format!("l{link}"), &mut |line| lines.push(line));
        }
        let alarm = json!({ "link": "l0", "priority": 7, "confirmed": 1 });
        assert_eq!(lines, [json!({ "link": "l0", "confirmed": 9 }), alarm]);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert!(Tap::new("a/#/b").unwrap_err().contains("is no topic filter"));
    }
}
