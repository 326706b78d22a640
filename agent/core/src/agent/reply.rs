//! What a peer says of what it was sent: it has it, it has it from before, or it refuses it.

use super::{Action, Agent};
use crate::ids::{LinkId, OutletId};
use crate::link::poison::MessageRef;
use crate::observe::log_event::LogEvent;
use crate::time::Now;

impl Agent {
    /// `{"ack":N}`. A peer can't have what it was not sent on this connection.
    pub(crate) fn acknowledged(
        &mut self,
        now: Now,
        link: LinkId,
        lane: usize,
        seq: u64,
        out: &mut Vec<Action>,
    ) {
        let Some(outlet) = self.outlet_in_order(link, lane) else { return };
        // What it says of a message that stands ahead of its turn says nothing of those before it.
        if self.control_acknowledged(now, link, MessageRef { outlet, seq }, out) {
            return;
        }
        self.confirmed_by_number(now, link, outlet, seq, self.buffer.queue(outlet).sent(), out);
    }

    /// `{"resume":N}`. A peer can't have what it was not sent on any connection.
    pub(crate) fn resumed(&mut self, now: Now, link: LinkId, lane: usize, from: u64, out: &mut Vec<Action>) {
        let Some(outlet) = self.outlet_in_order(link, lane) else { return };
        let seq = from.saturating_sub(1);
        if let Some(guilty) = self.links[link].caution.resumed(outlet, seq) {
            self.convict(now, link, guilty, out);
        }
        // An earlier life may have sent it what was behind them.
        let skipped = self.buffer.queue(outlet).skipped_before(seq);
        let skipped: Vec<MessageRef> = skipped.into_iter().map(|seq| MessageRef { outlet, seq }).collect();
        self.convict(now, link, (skipped, "the peer closed after it".to_owned()), out);
        self.confirmed_by_number(now, link, outlet, seq, self.buffer.queue(outlet).ever_sent(), out);
    }

    /// `{"nack":N}`: the message goes to the dead letters, also when it comes on a connection that is being left.
    pub(crate) fn nacked(
        &mut self,
        now: Now,
        link: LinkId,
        lane: usize,
        seq: u64,
        reason: String,
        out: &mut Vec<Action>,
    ) {
        let Some(outlet) = self.links[link].introduced.get(lane).copied() else { return };
        if self.buffer.queue(outlet).is_refusable(seq) {
            self.set_aside(now, link, MessageRef { outlet, seq }, reason, out);
        }
    }

    /// The outlet of a lane, if a number stands for all numbers before it there.
    fn outlet_in_order(&self, link: LinkId, lane: usize) -> Option<OutletId> {
        let line = &self.links[link];
        line.lanes.get(lane).map(|(_, outlet)| *outlet).filter(|_| line.replay.keeps_order())
    }

    fn confirmed_by_number(
        &mut self,
        now: Now,
        link: LinkId,
        outlet: OutletId,
        seq: u64,
        believed: u64,
        out: &mut Vec<Action>,
    ) {
        if seq > believed {
            let what = format!("acknowledged {seq}, sent was up to {believed}");
            out.push(Action::Note(LogEvent::PeerOdd { link: self.links[link].id.clone(), what }));
        }
        self.take_confirmation(now, link, out, |agent, effects| {
            agent.buffer.confirm(outlet, seq.min(believed), effects)
        });
    }
}
