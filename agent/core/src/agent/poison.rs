//! A message that makes the peer hang up is looked for as [`PoisonDetector`](crate::link::poison) says.

use super::{Action, Agent};
use crate::ids::{LinkId, OutletId};
use crate::link::closing::Closing;
use crate::link::frame_limit::FrameLimit;
use crate::link::poison::{Control, MessageRef, Next};
use crate::link::protocol::LinkOrder;
use crate::message::{Body, Entry, GapReason};
use crate::observe::log_event::LogEvent;
use crate::outlet::queue::OutletQueue;
use crate::time::Now;

/// A larger message is not kept to be sent a second time.
const TAKEN_MAX: usize = 64 * 1024;

/// A message that was sent, with its outlet.
pub type Sample = (OutletId, Entry);

/// What may be sent on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Whatever there is room for.
    Everything,
    /// What other outlets than this one hold.
    AllBut(OutletId),
    /// What this outlet holds.
    Only(OutletId),
    /// A control is under way, or a message that is to blame is on its way to the dead letters.
    Nothing,
}

impl Turn {
    /// Whether an outlet may send.
    pub(crate) fn admits(self, outlet: OutletId) -> bool {
        match self {
            Turn::Everything => true,
            Turn::AllBut(one) => one != outlet,
            Turn::Only(one) => one == outlet,
            Turn::Nothing => false,
        }
    }
}

impl Agent {
    /// The link was lost: if one message makes the peer close it again and again, that one goes to the dead letters.
    pub(crate) fn look_for_poison(
        &mut self,
        now: Now,
        link: LinkId,
        closing: Closing,
        error: &str,
        out: &mut Vec<Action>,
    ) {
        if closing == Closing::TooLarge && self.learn_frame_limit(link, out) {
            return;
        }
        // Settings that may lead to somebody else's door say nothing about a message.
        if self.is_on_trial(link) {
            self.links[link].offered = None;
            return;
        }
        let line = &self.links[link];
        let in_flight: usize = self.queues(link).map(OutletQueue::flying).sum();
        let firsts = line.lanes.iter().filter_map(|(_, outlet)| {
            let (seq, ordinal) = self.buffer.queue(*outlet).first_in_flight()?;
            Some((ordinal, MessageRef { outlet: *outlet, seq }))
        });
        let first = firsts.min_by_key(|(ordinal, _)| *ordinal).map(|(_, suspect)| suspect);
        let line = &mut self.links[link];
        line.offered = None;
        let was_blocked = line.caution.blocked_by();
        let guilty = line.caution.lost(closing, error, in_flight, first);
        if let Some(MessageRef { seq, .. }) =
            line.caution.blocked_by().filter(|now| was_blocked != Some(*now))
        {
            let (link, reason) = (line.id.clone(), error.to_owned());
            out.push(Action::Note(LogEvent::Blocked { link, seq, reason }));
        }
        if let Some(suspect) = guilty {
            self.convict(now, link, (vec![suspect], error.to_owned()), out);
        }
    }

    /// The peer closed because something was too large for it. Returns whether envelopes are smaller from here on, so that no single
    /// message is to blame.
    fn learn_frame_limit(&mut self, link: LinkId, out: &mut Vec<Action>) -> bool {
        let (messages, bytes) = self.in_flight(link);
        let largest = self.queues(link).map(OutletQueue::largest_in_flight).max().unwrap_or(0);
        let line = &mut self.links[link];
        let is_smaller = line.hello && line.frames.refused(messages, bytes, largest);
        if is_smaller {
            line.offered = None;
            let (outlet, bytes) = (line.outlet.clone(), line.frames.bytes());
            let places = line.own().map(|own| own.places.clone()).unwrap_or_default();
            let link = line.id.clone();
            self.buffer.keep_frame_limit(&outlet, places, bytes);
            out.push(Action::Note(LogEvent::FrameLimit { link, bytes }));
        }
        is_smaller
    }

    /// Goes on with the limit that an earlier run, or the link with other settings, has learnt from the same peer.
    pub(crate) fn recall_frame_limit(&mut self, link: LinkId) {
        let line = &mut self.links[link];
        let Some((places, configured)) = line.own().map(|own| (own.places.clone(), own.frame_bytes)) else {
            return;
        };
        let kept = self.buffer.frame_limit(&line.outlet);
        line.frames = FrameLimit::resumed(configured, kept, &places, self.buffer.session());
    }

    pub(crate) fn convict(
        &mut self,
        now: Now,
        link: LinkId,
        (guilty, reason): (Vec<MessageRef>, String),
        out: &mut Vec<Action>,
    ) {
        for suspect in guilty {
            self.set_aside(now, link, suspect, reason.clone(), out);
            self.links[link].convicted.push(suspect);
        }
    }

    /// What may be sent at this moment. A control that is due is sent by this.
    pub(crate) fn turn(&mut self, now: Now, link: LinkId, out: &mut Vec<Action>) -> Turn {
        let suspect = self.links[link].caution.suspect();
        let others_wait = suspect.is_some_and(|suspect| {
            let mut others = self.links[link].lanes.iter().filter(|(_, outlet)| *outlet != suspect.outlet);
            others.any(|(_, outlet)| self.buffer.queue(*outlet).waiting().next().is_some())
        });
        let line = &mut self.links[link];
        let next = line.caution.next(now.mono, line.taken.is_some(), others_wait);
        line.convicted.retain(|suspect| self.leaving.contains(*suspect));
        if !line.convicted.is_empty() {
            return Turn::Nothing;
        }
        let Some(suspect) = suspect else { return Turn::Everything };
        let waits = match next {
            Next::Usual => return Turn::Everything,
            Next::Nothing => true,
            Next::Others => return Turn::AllBut(suspect.outlet),
            Next::Taken => self.try_taken(now, link, out),
            // If others went first while it is read, the peer could close after those for ever.
            Next::Behind(_) | Next::Suspect if self.is_read(suspect) => return Turn::Only(suspect.outlet),
            // Nothing is left of it.
            Next::Behind(_) | Next::Suspect if !self.is_at_hand(suspect) => return Turn::Everything,
            Next::Behind(number) => self.try_behind(now, link, suspect, number, out),
            Next::Suspect => !self.reads(now, link, out),
        };
        let suspect = self.links[link].caution.suspect().unwrap_or(suspect);
        if waits { Turn::Nothing } else { Turn::Only(suspect.outlet) }
    }

    /// Whether its outlet waits for the disk, with nothing at hand.
    fn is_read(&self, suspect: MessageRef) -> bool {
        let outbox = self.buffer.queue(suspect.outlet);
        outbox.is_behind(true) && outbox.waiting().next().is_none()
    }

    fn is_at_hand(&self, suspect: MessageRef) -> bool {
        self.buffer.queue(suspect.outlet).waiting().any(|entry| entry.seq == suspect.seq)
    }

    fn try_taken(&mut self, now: Now, link: LinkId, out: &mut Vec<Action>) -> bool {
        let Some((outlet, mut entry)) = self.links[link].taken.clone() else { return false };
        entry.replayed = true;
        match self.buffer.still_fresh(outlet, now, &self.clocks, vec![entry]) {
            Some(entries) => self.send_control(now, link, outlet, entries, false, out),
            None => {
                self.links[link].taken = None;
                self.turn(now, link, out) == Turn::Nothing
            }
        }
    }

    fn try_behind(
        &mut self,
        now: Now,
        link: LinkId,
        suspect: MessageRef,
        number: usize,
        out: &mut Vec<Action>,
    ) -> bool {
        if !self.reads(now, link, out) {
            return true;
        }
        match self.behind(now, link, suspect, number) {
            Some(entries) if !self.is_known_to_the_disk(link, suspect.outlet, &entries) => true,
            Some(entries) => self.send_control(now, link, suspect.outlet, entries, true, out),
            None => {
                self.links[link].caution.start_over();
                false
            }
        }
    }

    /// A peer with numbers that takes the one behind says on any later connection that it has those before it. That it has not is
    /// to be on the disk first, so that a life which knows nothing of it sets them aside and does not take them for delivered.
    fn is_known_to_the_disk(&mut self, link: LinkId, outlet: OutletId, entries: &[Entry]) -> bool {
        let (Some(control), true) = (entries.last(), entries.len() > 1) else { return true };
        if self.buffer.is_volatile() {
            // Nothing can be written down, and under an epoch that ends with this run nothing needs to be.
            return self.buffer.is_reborn(outlet);
        }
        let skipped: Vec<MessageRef> = self.links[link].caution.skipped().collect();
        let outbox = self.buffer.queue_mut(outlet);
        skipped.iter().for_each(|suspect| outbox.skip(suspect.seq, control.seq));
        outbox.skips_are_saved()
    }

    /// Whether the peer has answered a ping on this connection; if not, it is sent one.
    fn reads(&mut self, now: Now, link: LinkId, out: &mut Vec<Action>) -> bool {
        let mut effects = Vec::new();
        let own = &mut self.links[link].link;
        own.ask(now.mono, &mut effects);
        let reads = own.rtt().is_some() || own.is_unpinged();
        self.apply(now, link, effects, out);
        reads
    }

    /// The message that waits so far behind another one, with nothing between them that is not at hand. A peer with
    /// numbers is told of the gap before it.
    fn behind(&self, now: Now, link: LinkId, suspect: MessageRef, number: usize) -> Option<Vec<Entry>> {
        let line = &self.links[link];
        let waiting = self.buffer.queue(suspect.outlet).waiting();
        let mut next = suspect.seq;
        let at_hand = waiting.skip_while(|entry| entry.seq != suspect.seq).take_while(|entry| {
            let follows = entry.seq <= next || !line.replay.keeps_order();
            next = entry.last() + 1;
            follows
        });
        let mut messages = at_hand.skip(1).filter(|entry| matches!(entry.body, Body::Message(_)));
        let entry = messages.nth(number)?;
        let gap = Body::Gap { to: entry.seq.saturating_sub(1), reason: GapReason::Refused };
        let gap = Entry { seq: suspect.seq, body: gap, replayed: false };
        let is_told = line.hello && entry.seq > suspect.seq;
        let entries = is_told.then_some(gap).into_iter().chain([entry.clone()]).collect();
        self.buffer.still_fresh(suspect.outlet, now, &self.clocks, entries)
    }

    fn send_control(
        &mut self,
        now: Now,
        link: LinkId,
        outlet: OutletId,
        entries: Vec<Entry>,
        is_behind: bool,
        out: &mut Vec<Action>,
    ) -> bool {
        let line = &mut self.links[link];
        let lane = line.lanes.iter().position(|(_, own)| *own == outlet);
        let (Some(lane), Some(last)) = (lane, entries.last()) else {
            line.taken = None;
            return false;
        };
        if is_behind {
            line.offered = Some((outlet, last.clone()));
        }
        line.sent += entries.len() as u64;
        let weight = entries.iter().map(Entry::weight).sum();
        let message = MessageRef { outlet, seq: last.seq };
        line.caution.sent(Control { message, ordinal: line.sent, is_behind });
        let order = LinkOrder::Send { lane, through: line.sent, entries };
        out.push(Action::Tell { link, order });
        let mut effects = Vec::new();
        line.link.sent(now.mono, line.sent, weight, &mut effects);
        self.apply(now, link, effects, out);
        true
    }

    /// Everything that was sent with or before this one was read.
    pub(crate) fn control_read(&mut self, now: Now, link: LinkId, ordinal: u64, out: &mut Vec<Action>) {
        if self.links[link].caution.control().is_some_and(|control| control.ordinal <= ordinal) {
            self.control_passed(now, link, out);
        }
    }

    /// Returns whether a peer that acknowledges this number speaks of a control that stands ahead of its turn.
    pub(crate) fn control_acknowledged(
        &mut self,
        now: Now,
        link: LinkId,
        acknowledged: MessageRef,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(control) = self.links[link].caution.control() else { return false };
        if control.message.outlet != acknowledged.outlet || control.message.seq > acknowledged.seq {
            return false;
        }
        self.control_passed(now, link, out);
        control.is_behind
    }

    fn control_passed(&mut self, now: Now, link: LinkId, out: &mut Vec<Action>) {
        let (entries, bytes) = self.in_flight(link);
        let line = &mut self.links[link];
        line.link.progressed(now.mono, entries, bytes);
        if let Some(guilty) = line.caution.control_passed(now.mono) {
            line.taken = line.offered.take();
            self.convict(now, link, guilty, out);
            // It was out of its turn: on another connection all goes in order again.
            let mut effects = Vec::new();
            self.links[link].link.renew(now.mono, &mut effects);
            self.go_down(link);
            self.apply(now, link, effects, out);
        }
    }

    /// Takes note of what a confirmation says of the suspect and of the message that is kept.
    pub(crate) fn note_confirmed(&mut self, link: LinkId, confirmed: u64) {
        let line = &mut self.links[link];
        for (_, outlet) in &line.lanes {
            line.frames.took(self.buffer.queue_mut(*outlet).take_largest_confirmed());
        }
        let has = |outlet: OutletId, seq: u64| self.buffer.queue(outlet).has_confirmed(seq);
        let acquitted = line.caution.suspect().is_some_and(|suspect| has(suspect.outlet, suspect.seq));
        line.caution.confirmed(confirmed, acquitted);
        if line.offered.as_ref().is_some_and(|(outlet, entry)| has(*outlet, entry.seq)) {
            line.taken = line.offered.take();
        }
    }
}

/// One of the messages that are sent, to be kept until it is known whether the peer took it.
pub(crate) fn sample(outlet: OutletId, entries: &[Entry]) -> Option<Sample> {
    let fits = |entry: &&Entry| matches!(entry.body, Body::Message(_)) && entry.weight() <= TAKEN_MAX;
    entries.iter().rev().find(fits).map(|entry| (outlet, entry.clone()))
}
