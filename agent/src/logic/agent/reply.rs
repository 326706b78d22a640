//! What a peer says of what it was sent: it has it, it has it from before, or it refuses it.

use std::time::Duration;

use super::{Action, Agent, Line};
use crate::logic::caution::Suspect;
use crate::logic::disk::DiskOrder;
use crate::logic::notice::Notice;
use crate::logic::time::Now;

/// A peer that refuses messages at will must not fill the log: of each link so often one is a warning.
const WARN_EACH: Duration = Duration::from_secs(60);

impl Agent {
    /// `{"ack":N}`. A peer can't have what it was not sent on this connection.
    pub(super) fn acknowledged(
        &mut self,
        now: Now,
        link: usize,
        lane: usize,
        seq: u64,
        out: &mut Vec<Action>,
    ) {
        let Some(outlet) = self.outlet_in_order(link, lane) else { return };
        // What it says of a message that stands ahead of its turn says nothing of those before it.
        if self.control_acknowledged(now, link, Suspect { outlet, seq }, out) {
            return;
        }
        self.confirmed_by_number(now, link, outlet, seq, self.buffer.outbox(outlet).sent(), out);
    }

    /// `{"resume":N}`. A peer can't have what it was not sent on any connection.
    pub(super) fn resumed(&mut self, now: Now, link: usize, lane: usize, from: u64, out: &mut Vec<Action>) {
        let Some(outlet) = self.outlet_in_order(link, lane) else { return };
        let seq = from.saturating_sub(1);
        if let Some(guilty) = self.links[link].caution.resumed(outlet, seq) {
            return self.convict(now, link, guilty, out);
        }
        self.confirmed_by_number(now, link, outlet, seq, self.buffer.outbox(outlet).ever_sent(), out);
    }

    /// `{"nack":N}`: the message goes to the dead letters.
    pub(super) fn nacked(
        &mut self,
        now: Now,
        link: usize,
        lane: usize,
        seq: u64,
        reason: String,
        out: &mut Vec<Action>,
    ) {
        let Some((_, outlet)) = self.links[link].lanes.get(lane).copied() else { return };
        if self.buffer.outbox(outlet).is_refusable(seq) {
            self.set_aside(now, link, Suspect { outlet, seq }, reason, out);
        }
    }

    /// A message is among the dead letters: only a gap is sent for it from here on.
    pub(super) fn left(&mut self, now: Now, message: Suspect, out: &mut Vec<Action>) {
        self.leaving.remove(&message);
        let Suspect { outlet, seq } = message;
        let of = |line: &Line| line.lanes.iter().any(|(_, own)| *own == outlet);
        let Some(link) = self.links.iter().position(of) else { return };
        let outbox = self.buffer.outbox_mut(outlet);
        if !outbox.is_refusable(seq) {
            return;
        }
        outbox.refuse(seq);
        // Who has not got it on this connection is told of the gap first.
        if outbox.was_sent(seq) {
            self.take_confirmation(now, link, out, |agent, effects| {
                let before = agent.buffer.outbox(outlet).accounted();
                agent.buffer.settle(outlet, effects);
                agent.buffer.outbox(outlet).accounted() > before
            });
        }
    }

    pub(super) fn set_aside(
        &mut self,
        now: Now,
        link: usize,
        message: Suspect,
        reason: String,
        out: &mut Vec<Action>,
    ) {
        if !self.leaving.insert(message) {
            return;
        }
        let Suspect { outlet, seq } = message;
        let message = self.buffer.outbox(outlet).in_memory(seq);
        let line = &mut self.links[link];
        let again = line.warned_at.is_some_and(|at| now.mono.since(at) < WARN_EACH);
        if !again {
            line.warned_at = Some(now.mono);
        }
        let dead = self.buffer.refused() + self.leaving.len() as u64;
        let refused = Notice::Refused { link: line.id.clone(), seq, reason: reason.clone(), dead, again };
        out.push(Action::Note(refused));
        out.push(Action::Disk(DiskOrder::SetAside { outlet, seq, reason, message }));
    }

    /// The outlet of a lane, if a number stands for all numbers before it there.
    fn outlet_in_order(&self, link: usize, lane: usize) -> Option<usize> {
        let line = &self.links[link];
        line.lanes.get(lane).map(|(_, outlet)| *outlet).filter(|_| line.replay.keeps_order())
    }

    fn confirmed_by_number(
        &mut self,
        now: Now,
        link: usize,
        outlet: usize,
        seq: u64,
        believed: u64,
        out: &mut Vec<Action>,
    ) {
        if seq > believed {
            let what = format!("acknowledged {seq}, sent was up to {believed}");
            out.push(Action::Note(Notice::PeerOdd { link: self.links[link].id.clone(), what }));
        }
        self.take_confirmation(now, link, out, |agent, effects| {
            agent.buffer.confirm(outlet, seq.min(believed), effects)
        });
    }
}
