//! A connection is gone, or given up for another one: what was in flight on it is sent again. Or it is of little use.

use std::time::Duration;

use super::{Action, Agent};
use crate::ids::LinkId;
use crate::link::backoff::WaitReason;
use crate::observe::log_event::LogEvent;

/// Different ways to refuse a connection that are told until it is up again.
const REFUSALS_TOLD: usize = 4;

/// The end of a connection, or of the try to make one.
pub(crate) struct Loss {
    /// Cause of it, in words.
    pub(crate) error: String,
    /// Time until the next try; none if there is none.
    pub(crate) retry_in: Option<Duration>,
    /// Why it is as long as it is.
    pub(crate) because: WaitReason,
}

impl Agent {
    pub(crate) fn lost(&mut self, link: LinkId, loss: Loss, was_up: bool, out: &mut Vec<Action>) {
        self.go_down(link);
        let Loss { error, retry_in, because } = loss;
        let line = &mut self.links[link];
        let name = line.id.clone();
        if was_up {
            out.push(Action::Note(LogEvent::LinkLost { link: name, error, retry_in, because }));
            return;
        }
        // A peer that finds a new way to refuse each time must not fill the log.
        let again = line.refused_as.contains(&error) || line.refused_as.len() >= REFUSALS_TOLD;
        if !again {
            line.refused_as.push(error.clone());
        }
        out.push(Action::Note(LogEvent::LinkRefused { link: name, error, retry_in, because, again }));
    }

    /// The pongs of its peer confirm nothing.
    pub(crate) fn note_unechoed(&mut self, link: LinkId, out: &mut Vec<Action>) {
        let line = &mut self.links[link];
        let again = std::mem::replace(&mut line.told_unechoed, true);
        out.push(Action::Note(LogEvent::Unechoed { link: line.id.clone(), again }));
    }

    /// A link leaves an endpoint for one that it prefers.
    pub(crate) fn moves(&mut self, link: LinkId, out: &mut Vec<Action>) {
        self.go_down(link);
        out.push(Action::Note(LogEvent::LinkMoves { link: self.links[link].id.clone() }));
    }
}
