//! What is sent on a link, and how much of it.

use super::poison::{self, Turn};
use super::{Action, Agent, LinkContext};
use crate::ids::{LinkId, OutletId};
use crate::link::protocol::LinkOrder;
use crate::outlet::queue::Room;
use crate::time::{Now, Time};

impl Agent {
    pub(crate) fn send(&mut self, now: Now, link: LinkId, out: &mut Vec<Action>) {
        if !self.links[link].link.may_send() {
            return;
        }
        self.links[link].pace.advance(now.mono);
        let turn = self.turn(now, link, out);
        if turn == Turn::Nothing {
            return;
        }
        let line = &mut self.links[link];
        let load = |outlet: &(u8, OutletId)| self.buffer.queue(outlet.1).load();
        let (messages, bytes) = line.lanes.iter().map(load).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let flying = line.lanes.iter().map(|(_, outlet)| self.buffer.queue(*outlet).flying()).sum();
        let mut room = Room {
            messages: line.window.saturating_sub(messages).min(line.caution.room(flying)),
            bytes: line.link.flight_bytes_max().saturating_sub(bytes),
            idle: bytes == 0,
        };
        let before = line.sent;
        let mut sample = None;
        for (lane, (_, outlet)) in line.lanes.iter().enumerate().rev() {
            if !turn.admits(*outlet) {
                continue;
            }
            let outbox = self.buffer.queue_mut(*outlet);
            let entries = outbox.take(&mut room, &mut line.pace, &mut line.sent);
            if !entries.is_empty() {
                let entries = self.buffer.fresh(*outlet, now, &self.clocks, entries);
                sample = sample.or_else(|| poison::sample(*outlet, &entries));
                let order = LinkOrder::Send { lane, through: line.sent, entries };
                out.push(Action::Tell { link, order });
            }
            // Lower ones wait for what is being read, unless the disk cannot give it.
            let more = self.buffer.queue(*outlet).is_behind(true) && line.pace.is_open();
            if more && self.buffer.failure().is_none() {
                break;
            }
        }
        if line.sent > before {
            line.offered = line.offered.take().or(sample);
            let mut effects = Vec::new();
            let sent = line.sent;
            let (_, bytes) = self.in_flight(link);
            self.links[link].link.sent(now.mono, sent, bytes, &mut effects);
            self.apply(now, link, effects, out);
        }
    }

    /// When a backlog that waits for its pace may go on.
    pub(crate) fn paced(&self, line: &LinkContext) -> Option<Time> {
        let waits = |outlet: OutletId| self.buffer.queue(outlet).is_behind(true);
        line.pace.opens_at().filter(|_| line.lanes.iter().any(|(_, outlet)| waits(*outlet)))
    }
}
