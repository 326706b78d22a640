//! What the disk reports, and what follows from it.

use super::stop::Stop;
use super::{Action, Agent, act};
use crate::link::poison::MessageRef;
use crate::outlet::store_protocol::{StoreFacts, StoreOrderKind, StoreReport};
use crate::time::Now;

impl Agent {
    pub(crate) fn disk(&mut self, now: Now, report: StoreReport, facts: StoreFacts, out: &mut Vec<Action>) {
        self.queue.reported(&report);
        if report == StoreReport::Closed {
            self.stop = Stop::Done;
            out.push(Action::Exit);
            return;
        }
        if let StoreReport::Failed { order, outlet, .. } = &report {
            match (order, outlet) {
                (StoreOrderKind::SavePresence, _) => self.presence.save_failed(),
                (StoreOrderKind::SaveClocks, _) => self.clocks.save_failed(now.mono),
                (StoreOrderKind::SetAside, Some(outlet)) => self.leaving.failed(*outlet),
                // The buffer's.
                (
                    StoreOrderKind::Append
                    | StoreOrderKind::Read
                    | StoreOrderKind::Forget
                    | StoreOrderKind::DropOldest
                    | StoreOrderKind::Expire
                    | StoreOrderKind::SetAside
                    | StoreOrderKind::SaveNumbers
                    | StoreOrderKind::Widen
                    | StoreOrderKind::Reopen
                    | StoreOrderKind::Measure
                    | StoreOrderKind::Close,
                    _,
                ) => {}
            }
        }
        if let StoreReport::Repaired { repairs } = &report {
            self.repairs.extend_from_slice(repairs);
        }
        let may_seat = report == StoreReport::NumbersSaved && self.stop == Stop::Running;
        let left = if let StoreReport::SetAside { outlet, seq, .. } = &report {
            Some(MessageRef { outlet: *outlet, seq: *seq })
        } else {
            None
        };
        let mut effects = Vec::new();
        self.buffer.handle(now.mono, report, facts, &mut effects);
        act(effects, out);
        if let Some(message) = left {
            self.left(now, message, out);
        }
        if may_seat {
            self.seat_new(now, out);
        }
    }
}
