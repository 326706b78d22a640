//! What the connections report, and what follows from it for their links.

use super::{Action, Agent, act, loss};
use crate::ids::{ConnectionId, LinkId};
use crate::link::LinkEffect;
use crate::link::protocol::{LinkOrder, LinkReport, Peer};
use crate::observe::log_event::LogEvent;
use crate::outlet::buffer::BufferEffect;
use crate::outlet::queue::OutletQueue;
use crate::time::Now;

impl Agent {
    pub(crate) fn reported(
        &mut self,
        now: Now,
        link: LinkId,
        conn: ConnectionId,
        report: LinkReport,
        out: &mut Vec<Action>,
    ) {
        if self.links[link].conn != conn {
            return;
        }
        // The connection that is left knows other settings: what a number stands for may not be the same any more.
        let confirms = matches!(report, LinkReport::Ack { .. } | LinkReport::Resume { .. });
        if confirms && self.links[link].link.is_leaving() {
            return;
        }
        match report {
            LinkReport::Nack { lane, seq, reason } => self.nacked(now, link, lane, seq, reason, out),
            LinkReport::Ack { lane, seq } => self.acknowledged(now, link, lane, seq, out),
            LinkReport::Resume { lane, from } => self.resumed(now, link, lane, from, out),
            LinkReport::Inbound(heard) => self.heard(link, heard, out),
            LinkReport::Subscribed(faults) => self.links[link].fetched.faults = faults,
            LinkReport::Took(took) => self.took(now, link, took),
            LinkReport::Holds(why) => self.links[link].fetched.holds = why,
            LinkReport::StateRefused(reason) => self.state_refused(link, reason, out),
            LinkReport::Up(_)
            | LinkReport::DialFailed(_)
            | LinkReport::Pong(_)
            | LinkReport::OtherPong
            | LinkReport::Written(_)
            | LinkReport::Confirmed(_)
            | LinkReport::Probed(_)
            | LinkReport::Traffic(_)
            | LinkReport::Closed { .. } => {
                let mut effects = Vec::new();
                self.links[link].link.handle(now.mono, &report, &mut self.seed, &mut effects);
                self.apply(now, link, effects, out);
            }
        }
    }

    pub(crate) fn apply(&mut self, now: Now, link: LinkId, effects: Vec<LinkEffect>, out: &mut Vec<Action>) {
        for effect in effects {
            match effect {
                LinkEffect::Dial(endpoint) => {
                    self.links[link].conn = self.links[link].conn.next();
                    out.push(Action::Dial { link, conn: self.links[link].conn, endpoint });
                }
                LinkEffect::Left => self.moves(link, out),
                LinkEffect::HangUp => {
                    self.links[link].conn = self.links[link].conn.next();
                    out.push(Action::HangUp { link });
                }
                LinkEffect::Tell(order) => out.push(Action::Tell { link, order }),
                LinkEffect::Look => out.push(Action::Look { link, conn: self.links[link].conn }),
                LinkEffect::Opened(peer) => self.opened(link, &peer, out),
                LinkEffect::Unechoed => self.note_unechoed(link, out),
                LinkEffect::Confirmed(ordinal) => {
                    self.control_read(now, link, ordinal, out);
                    self.take_confirmation(now, link, out, |agent, effects| {
                        let lanes = agent.links[link].lanes.clone();
                        lanes.iter().fold(false, |changed, (_, outlet)| {
                            agent.buffer.confirm_sent(*outlet, ordinal, effects) || changed
                        })
                    });
                }
                LinkEffect::Lost { error, retry_in, because, was_up, closing } => {
                    if !was_up {
                        // The peer may speak another version by now.
                        self.links[link].terms = None;
                    }
                    self.look_for_poison(now, link, closing, &error, out);
                    self.note_taken_over(now, link, closing, &error);
                    self.lost(link, loss::Loss { error, retry_in, because }, was_up, out);
                }
            }
        }
    }

    fn opened(&mut self, link: LinkId, peer: &Peer, out: &mut Vec<Action>) {
        let held = self.unconfirmed(link);
        self.start_of_trial(link);
        let line = &mut self.links[link];
        line.refused_as.clear();
        line.sent = 0;
        line.caution.came_up();
        line.offered = None;
        line.introduced = line.lanes.iter().map(|(_, outlet)| *outlet).collect();
        line.certificate_days_left = peer.certificate_days_left;
        line.terms = peer.terms;
        line.state_refused = None;
        out.push(Action::Note(LogEvent::LinkUp {
            link: line.id.clone(),
            peer: peer.address.clone(),
            held,
            terms: peer.terms,
        }));
        if let Some(bytes) = line.frames.learned() {
            out.push(Action::Tell { link, order: LinkOrder::FrameBytes(bytes) });
        }
        for (lane, (_, outlet)) in line.lanes.iter().enumerate() {
            self.buffer.came_up(*outlet, &line.replay);
            if line.hello {
                let (first, next) = self.buffer.queue(*outlet).horizon();
                out.push(Action::Tell { link, order: LinkOrder::Hello { lane, first, next } });
            }
        }
        if self.mqtt_line() == Some(link) {
            self.status.flush_now();
            self.announced = Some(String::new());
        }
    }

    pub(crate) fn go_down(&mut self, link: LinkId) {
        self.links[link].lanes.iter().for_each(|(_, outlet)| self.buffer.went_down(*outlet));
    }

    /// How many entries of a link are in flight, with how many bytes.
    pub(crate) fn in_flight(&self, link: LinkId) -> (usize, usize) {
        let of = |outbox: &OutletQueue| (outbox.flying(), outbox.load().1);
        self.queues(link).map(of).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// Takes in a confirmation: `confirm` tells whether anything changed by it.
    pub(crate) fn take_confirmation(
        &mut self,
        now: Now,
        link: LinkId,
        out: &mut Vec<Action>,
        confirm: impl FnOnce(&mut Agent, &mut Vec<BufferEffect>) -> bool,
    ) {
        let before: u64 = self.queues(link).map(OutletQueue::accounted).sum();
        let mut effects = Vec::new();
        let changed = confirm(self, &mut effects);
        act(effects, out);
        if changed {
            let confirmed = self.queues(link).map(OutletQueue::accounted).sum::<u64>() - before;
            let (entries, bytes) = self.in_flight(link);
            let line = &mut self.links[link];
            line.confirmed += confirmed;
            line.last_confirmed_ns = Some(now.wall_ns);
            line.link.progressed(now.mono, entries, bytes);
            self.note_confirmed(link, confirmed);
        }
    }
}
