//! How a stop goes: flush, goodbye, save; each step has its time, and then the next one comes.

use std::time::Duration;

use super::{Action, Agent};
use crate::outlet::store_protocol::StoreOrder;
use crate::time::{Now, Time};

/// A stop may take so long in each of its three steps: flush, goodbye, save.
pub(crate) const STOP_STEP: Duration = Duration::from_millis(1500);
/// RFC 6455 §7.4.1: the endpoint is going away.
pub(crate) const GOING_AWAY: u16 = 1001;

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Running,
    Flushing { until: Time },
    Closing { until: Time },
    Saving { until: Time },
    Done,
}

impl Agent {
    /// Whether all that is left is to wait for the store; then until when.
    pub(crate) fn is_ending(&self) -> Option<Option<Time>> {
        match self.stop {
            Stop::Running | Stop::Flushing { .. } | Stop::Closing { .. } => None,
            Stop::Saving { until } => Some(Some(until)),
            Stop::Done => Some(None),
        }
    }

    pub(crate) fn begin_stop(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.stop == Stop::Running {
            self.stop = Stop::Flushing { until: now.mono + STOP_STEP };
            self.buffer.flush_now();
            self.close_inboxes(out);
            self.give_up_reload(out);
            out.push(Action::CloseSources);
        }
    }

    pub(crate) fn go_on_stopping(&mut self, now: Now, out: &mut Vec<Action>) {
        match self.stop {
            Stop::Running | Stop::Done => {}
            Stop::Flushing { until } => {
                if self.buffer.is_settled() || until <= now.mono {
                    self.say_goodbye(now, out);
                }
            }
            Stop::Closing { until } => {
                if self.links.iter().all(|line| line.link.is_idle()) || until <= now.mono {
                    self.save_all(now, out);
                }
            }
            Stop::Saving { until } => {
                if until <= now.mono {
                    self.stop = Stop::Done;
                    out.push(Action::Exit);
                }
            }
        }
    }

    fn say_goodbye(&mut self, now: Now, out: &mut Vec<Action>) {
        self.stop = Stop::Closing { until: now.mono + STOP_STEP };
        self.publish_farewell(out);
        for link in self.links.ids() {
            let mut effects = Vec::new();
            self.links[link].link.close(GOING_AWAY, &mut effects);
            self.apply(now, link, effects, out);
        }
        self.go_on_stopping(now, out);
    }

    fn save_all(&mut self, now: Now, out: &mut Vec<Action>) {
        self.stop = Stop::Saving { until: now.mono + STOP_STEP };
        for link in self.links.ids() {
            let mut effects = Vec::new();
            self.links[link].link.abandon(&mut effects);
            self.apply(now, link, effects, out);
        }
        if self.buffer.is_settled() && !self.buffer.is_starting() && !self.buffer.is_volatile() {
            out.push(Action::Disk(StoreOrder::SaveNumbers(self.buffer.last_numbers())));
        }
        out.push(Action::Disk(StoreOrder::SavePresence(self.presence.snapshot(now.mono))));
        out.push(Action::Disk(StoreOrder::Close));
    }
}
