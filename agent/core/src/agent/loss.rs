//! A connection is gone, or given up for another one: what was in flight on it is sent again. Or it is of little use.

use std::time::Duration;

use super::link_context::TakenOver;
use super::{Action, Agent};
use crate::ids::LinkId;
use crate::link::backoff::WaitReason;
use crate::link::closing::Closing;
use crate::observe::log_event::LogEvent;
use crate::time::Now;

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
        self.links[link].fetched.holds = None;
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

    /// Counts sessions that were taken over: the link is up again, and its last error forgotten, long before a person looks.
    pub(crate) fn note_taken_over(&mut self, now: Now, link: LinkId, closing: Closing, words: &str) {
        if matches!(closing, Closing::TakenOver | Closing::Unexplained) {
            let times = self.links[link].taken_over.as_ref().map_or(0, |before| before.times);
            let words = words.to_owned();
            self.links[link].taken_over = Some(TakenOver { times: times + 1, last_ns: now.wall_ns, words });
        }
    }

    /// The broker refuses a state, or takes again the one that it refused.
    pub(crate) fn state_refused(&mut self, link: LinkId, reason: Option<String>, out: &mut Vec<Action>) {
        let line = &mut self.links[link];
        if let Some(reason) = reason.clone().filter(|_| line.state_refused != reason) {
            let again = line.states_told.contains(&reason) || line.states_told.len() >= REFUSALS_TOLD;
            if !again {
                line.states_told.push(reason.clone());
            }
            out.push(Action::Note(LogEvent::StateRefused { link: line.id.clone(), reason, again }));
        }
        line.state_refused = reason;
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
