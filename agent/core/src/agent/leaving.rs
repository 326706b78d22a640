//! Messages that a peer refused, on their way to the dead letters.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Action, Agent, LinkContext};
use crate::ids::{LinkId, OutletId};
use crate::link::poison::MessageRef;
use crate::observe::log_event::LogEvent;
use crate::outlet::store_protocol::StoreOrder;
use crate::time::Now;

/// A peer that refuses messages at will must not fill the log: of each link so often one is a warning.
const WARN_EACH: Duration = Duration::from_secs(60);

/// Messages that were refused and are not among the dead letters yet.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    /// The peer's words of each.
    reasons: BTreeMap<MessageRef, String>,
    /// Those that the disk was asked for, in order.
    asked: VecDeque<MessageRef>,
}

impl Leaving {
    /// Whether it is on its way.
    pub(crate) fn contains(&self, message: MessageRef) -> bool {
        self.reasons.contains_key(&message)
    }

    /// The disk could not take the one of this outlet that it was asked for first.
    pub(crate) fn failed(&mut self, outlet: OutletId) {
        if let Some(at) = self.asked.iter().position(|message| message.outlet == outlet) {
            self.asked.remove(at);
        }
    }

    fn arrived(&mut self, message: MessageRef) {
        self.reasons.remove(&message);
        self.asked.retain(|asked| *asked != message);
    }
}

impl Agent {
    /// A message was refused: it goes to the dead letters, and only a gap is sent for it from here on.
    pub(crate) fn set_aside(
        &mut self,
        now: Now,
        link: LinkId,
        message: MessageRef,
        reason: String,
        out: &mut Vec<Action>,
    ) {
        if self.leaving.contains(message) {
            return;
        }
        self.leaving.reasons.insert(message, reason.clone());
        self.buffer.queue_mut(message.outlet).refuse(message.seq);
        let line = &mut self.links[link];
        let again = line.warned_at.is_some_and(|at| now.mono.since(at) < WARN_EACH);
        if !again {
            line.warned_at = Some(now.mono);
        }
        let dead = self.buffer.refused() + self.leaving.reasons.len() as u64;
        let refused = LogEvent::Refused { link: line.id.clone(), seq: message.seq, reason, dead, again };
        out.push(Action::Note(refused));
        self.set_aside_some(vec![message], out);
    }

    /// Asks the disk once more for those that it could not take, when it works again.
    pub(crate) fn set_aside_again(&mut self, out: &mut Vec<Action>) {
        if self.leaving.reasons.len() > self.leaving.asked.len() && self.buffer.failure().is_none() {
            let all = self.leaving.reasons.keys();
            let waiting = all.filter(|message| !self.leaving.asked.contains(message)).copied().collect();
            self.set_aside_some(waiting, out);
        }
    }

    fn set_aside_some(&mut self, messages: Vec<MessageRef>, out: &mut Vec<Action>) {
        for asked in messages {
            let MessageRef { outlet, seq } = asked;
            let reason = self.leaving.reasons.get(&asked).cloned().unwrap_or_default();
            let message = self.buffer.queue(outlet).in_memory(seq);
            self.leaving.asked.push_back(asked);
            out.push(Action::Disk(StoreOrder::SetAside { outlet, seq, reason, message }));
        }
    }

    /// A message is among the dead letters.
    pub(crate) fn left(&mut self, now: Now, message: MessageRef, out: &mut Vec<Action>) {
        self.leaving.arrived(message);
        let MessageRef { outlet, seq } = message;
        let of = |line: &LinkContext| line.lanes.iter().any(|(_, own)| *own == outlet);
        let outbox = self.buffer.queue_mut(outlet);
        outbox.left(seq);
        // Who has not got it on this connection is told of the gap first.
        let was_sent = outbox.was_sent(seq);
        if let Some(link) = self.links.first(of).filter(|_| was_sent) {
            self.take_confirmation(now, link, out, |agent, effects| {
                let before = agent.buffer.queue(outlet).accounted();
                agent.buffer.settle(outlet, effects);
                agent.buffer.queue(outlet).accounted() > before
            });
            // What was refused proves no settings.
            self.start_of_trial(link);
        }
    }
}
