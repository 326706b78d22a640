//! What a peer says of what it was sent: it has it, it has it from before, it refuses it, or it hangs up because of it.

use super::{Action, Agent, Line};
use crate::logic::caution::Suspect;
use crate::logic::disk::DiskOrder;
use crate::logic::notice::Notice;
use crate::logic::outbox::Outbox;
use crate::logic::time::Now;

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
        self.confirmed_by_number(now, link, outlet, seq, self.buffer.outbox(outlet).sent(), out);
    }

    /// `{"resume":N}`. A peer can't have what it was not sent on any connection.
    pub(super) fn resumed(&mut self, now: Now, link: usize, lane: usize, from: u64, out: &mut Vec<Action>) {
        let Some(outlet) = self.outlet_in_order(link, lane) else { return };
        let seq = from.saturating_sub(1);
        self.confirmed_by_number(now, link, outlet, seq, self.buffer.outbox(outlet).ever_sent(), out);
    }

    /// `{"nack":N}`: the message goes to the dead letters.
    pub(super) fn nacked(
        &mut self,
        link: usize,
        lane: usize,
        seq: u64,
        reason: String,
        out: &mut Vec<Action>,
    ) {
        let Some((_, outlet)) = self.links[link].lanes.get(lane).copied() else { return };
        if self.buffer.outbox(outlet).is_refusable(seq) {
            self.set_aside(link, Suspect { outlet, seq }, reason, out);
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

    /// The link was lost: if one message makes the peer close it again and again, that one goes to the dead letters.
    pub(super) fn look_for_poison(
        &mut self,
        link: usize,
        code: Option<u16>,
        error: &str,
        out: &mut Vec<Action>,
    ) {
        let line = &self.links[link];
        let in_flight: usize = self.outboxes(link).map(Outbox::flying).sum();
        let firsts = line.lanes.iter().filter_map(|(_, outlet)| {
            let (seq, ordinal) = self.buffer.outbox(*outlet).first_in_flight()?;
            Some((ordinal, Suspect { outlet: *outlet, seq }))
        });
        let first = firsts.min_by_key(|(ordinal, _)| *ordinal).map(|(_, suspect)| suspect);
        let guilty = self.links[link].caution.lost(code, in_flight, first);
        if let Some(suspect) = guilty {
            self.set_aside(link, suspect, error.to_owned(), out);
        }
    }

    fn set_aside(&mut self, link: usize, message: Suspect, reason: String, out: &mut Vec<Action>) {
        if !self.leaving.insert(message) {
            return;
        }
        let Suspect { outlet, seq } = message;
        let message = self.buffer.outbox(outlet).in_memory(seq);
        let id = self.links[link].id.clone();
        out.push(Action::Note(Notice::Refused { link: id, seq, reason: reason.clone() }));
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
