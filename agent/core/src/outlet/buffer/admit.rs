//! What is taken into the buffer, for which outlets, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use super::memory::{Holder, cost};
use super::{Buffer, BufferEffect, Start, count};
use crate::config::network::Remote;
use crate::ids::{OutletId, RequestId};
use crate::message::Message;
use crate::observe::status::NEWS;
use crate::outlet::lane::Routes;
use crate::source::intake::{Answer, Draft, Refused};
use crate::time::{Now, Time};

/// A batch that is refused as busy comes again later than this, and must not be overtaken by what its sender sent behind it.
pub(super) const BUSY_AT_LEAST: Duration = Duration::from_millis(20);

impl Buffer {
    /// Takes a batch for the outlets that the routes name, or refuses all of it; `from` is the machine that sent it, if one did.
    /// With a request it is answered, now or later. Returns why it was not taken.
    pub fn offer(
        &mut self,
        now: Now,
        request: Option<RequestId>,
        drafts: Vec<Draft>,
        from: Option<Remote>,
        routes: &Routes,
        out: &mut Vec<BufferEffect>,
    ) -> Option<Refused> {
        let holder = Holder::of(from, &drafts.first()?.source);
        let outlets = targets(&drafts, routes);
        let admitted = match request {
            // While the only link gives way to another one.
            Some(_) if outlets.is_empty() => Err(self.not_now(now.mono, &holder)),
            _ => {
                let costs = drafts.iter().map(|draft| cost(draft.weight(), routes.of(draft.priority).len()));
                self.admit(now, &holder, (drafts.len(), costs.sum()), &outlets)
            }
        };
        let closed = match admitted {
            Ok(closed) => closed,
            Err(Refused::Busy) => {
                if let Some(request) = request {
                    self.refused += count(drafts.len());
                    out.push(BufferEffect::GiveBack(request, drafts));
                }
                return Some(Refused::Busy);
            }
            Err(refused) => {
                self.refuse(request, drafts.len(), refused.clone(), out);
                return Some(refused);
            }
        };
        if !closed.is_empty() && closed == outlets {
            for outlet in drafts.iter().flat_map(|draft| routes.of(draft.priority)) {
                self.drop_newest(now.mono, *outlet);
            }
            self.refuse(request, drafts.len(), Refused::Full, out);
            return Some(Refused::Full);
        }
        if !closed.is_empty() {
            self.became_full(out);
        }
        let (first, mut places) = (self.ids.next, 0);
        for draft in drafts {
            self.accepted.bytes += count(draft.payload.len());
            let outlets = routes.of(draft.priority);
            let message = Arc::new(stamp(now, self.ids.next, draft));
            self.ids.next += 1;
            if *message.source != *NEWS {
                self.last.took(&message);
                self.fresh_news.push(Arc::clone(&message));
            }
            let mut own = 0;
            for outlet in outlets {
                if closed.contains(outlet) {
                    self.drop_newest(now.mono, *outlet);
                } else {
                    self.outlets[*outlet].queue.push(now.mono, Arc::clone(&message));
                    own += 1;
                }
            }
            self.memory.add(message.id, &holder, message.weight(), own);
            places += count(own);
        }
        self.accepted.messages += self.ids.next - first;
        if let Some(request) = request {
            self.pace.arrived(now.mono);
            self.accepts.add(now.mono, request, (first, self.ids.next - 1), places);
        }
        None
    }

    pub(super) fn refuse(
        &mut self,
        request: Option<RequestId>,
        drafts: usize,
        refused: Refused,
        out: &mut Vec<BufferEffect>,
    ) {
        if refused == Refused::Full {
            self.became_full(out);
        }
        // Without a request it is the agent's own news, which comes again.
        if let Some(request) = request {
            self.refused += count(drafts);
            out.push(BufferEffect::Answer(request, Answer::Refused(refused)));
        }
    }

    /// Whether a batch of so many messages and bytes can be taken, and which of its outlets give their messages up at once.
    pub(super) fn admit(
        &mut self,
        now: Now,
        holder: &Holder,
        (messages, bytes): (usize, usize),
        outlets: &[OutletId],
    ) -> Result<Vec<OutletId>, Refused> {
        self.extend_ids(now.wall_ns);
        let left = outlets.iter().map(|outlet| self.outlets[*outlet].queue.numbers_left());
        let left = left.min().unwrap_or(u64::MAX).min(self.ids.end.saturating_sub(self.ids.next));
        if let Some(error) = self.failure()
            && !outlets.iter().all(|outlet| self.confirms(*outlet, now))
        {
            return Err(Refused::Failing(error.to_owned()));
        }
        let has_room = left >= count(messages) && self.memory.has_room(holder, bytes);
        if !has_room || self.start != Start::Done || self.memory.has_to_wait(holder, now.mono) {
            return Err(self.busy(now.mono, holder));
        }
        self.closed(outlets)
    }

    /// Why nothing can be taken while no outlet is there to take it.
    fn not_now(&mut self, now: Time, holder: &Holder) -> Refused {
        match self.failure() {
            Some(error) => Refused::Failing(error.to_owned()),
            None => self.busy(now, holder),
        }
    }

    fn busy(&mut self, now: Time, holder: &Holder) -> Refused {
        self.memory.refused(holder, now, now + BUSY_AT_LEAST);
        Refused::Busy
    }

    fn drop_newest(&mut self, now: Time, outlet: OutletId) {
        self.outlets[outlet].queue.push_dropped(now);
        self.outlets[outlet].queue.given_up.dropped += 1;
        self.dropped += 1;
    }
}

pub(super) fn stamp(now: Now, id: u64, draft: Draft) -> Message {
    Message {
        id,
        time_ns: now.wall_ns,
        clock: now.clock,
        boot: now.boot,
        up_ns: now.up_ns,
        topic: draft.topic,
        device: draft.device,
        source: draft.source,
        format: draft.format,
        payload: draft.payload,
        attributes: draft.attributes,
        ttl_s: draft.ttl_s,
    }
}

/// The outlets of all of these, each once.
fn targets(drafts: &[Draft], routes: &Routes) -> Vec<OutletId> {
    let mut outlets = Vec::new();
    let mut known = None;
    for draft in drafts.iter().filter(|draft| known.replace(draft.priority) != Some(draft.priority)) {
        outlets.extend(routes.of(draft.priority));
    }
    outlets.sort_unstable();
    outlets.dedup();
    outlets
}
