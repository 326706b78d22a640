//! New settings of a client on trial. Without a confirmation in time the last ones that proved themselves come back, and until
//! then nothing is given up for the sake of settings that may not stay.

use std::fmt;
use std::time::Duration;

use super::stop::Stop;
use super::{Action, Agent, LinkContext, LinkSetup};
use crate::config::buffer::{Bounds, Buffer};
use crate::config::client::Confirm;
use crate::ids::LinkId;
use crate::observe::log_event::LogEvent;
use crate::time::{Now, Time};

/// A trial that goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// What comes back when it fails: the last settings that were not on trial.
    proven: Box<LinkSetup>,
    /// When it has failed. None while the link may not dial, which proves nothing either way.
    until: Option<Time>,
    /// What its link had confirmed when it came up.
    confirmed: u64,
}

/// Why settings that were offered are not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// The time that they had.
    pub within: Duration,
    /// What went wrong last on their link.
    pub error: Option<String>,
}

impl Trial {
    /// What would come back.
    pub fn proven(&self) -> &LinkSetup {
        &self.proven
    }

    /// The laxer of both bounds; what gives way there is what gave way before.
    pub fn bounds(&self, buffer: &Buffer, new: Bounds) -> Bounds {
        let proven = buffer.bounds(self.proven.place);
        let max_messages = match (proven.max_messages, new.max_messages) {
            (0, _) | (_, 0) => 0,
            (proven, new) => proven.max(new),
        };
        let ttl = proven.ttl.zip(new.ttl).map(|(proven, new)| proven.max(new));
        Bounds { max_messages, ttl, when_full: proven.when_full }
    }
}

impl fmt::Display for Rollback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "new settings got no confirmation within {} s", self.within.as_secs_f32())?;
        self.error.iter().try_for_each(|error| write!(f, " ({error})"))
    }
}

impl Agent {
    /// Whether the settings of this link have yet to prove themselves.
    pub fn is_on_trial(&self, link: LinkId) -> bool {
        self.links[link].trial.is_some()
    }

    /// The settings of each client that are in force, or on trial: the last ones that were not.
    pub fn proven(&self) -> impl Iterator<Item = &LinkSetup> {
        self.links.iter().filter_map(|line| line.trial.as_ref().map(Trial::proven).or(line.own()))
    }

    /// Tries the settings that a link has got in the place of `before`. Those that were on trial themselves prove nothing.
    pub(crate) fn begin_trial(&mut self, link: LinkId, before: Box<LinkSetup>) {
        let line = &mut self.links[link];
        let proven = line.trial.take().map_or(before, |trial| trial.proven);
        let Some(own) = line.own() else { return };
        if own.trial.is_zero() || *own == *proven {
            line.rollback = None;
        } else {
            line.trial = Some(Trial { proven, until: None, confirmed: line.confirmed });
        }
    }

    /// Tries the settings of a client with which this life began, unless they are those that proved themselves before.
    pub(crate) fn try_against(&mut self, before: LinkSetup) {
        let its = |line: &LinkContext| line.own().is_some_and(|own| own.id == before.id && *own != before);
        if let Some(link) = self.links.first(its) {
            self.begin_trial(link, Box::new(before));
        }
    }

    /// What was confirmed before the connection that is on trial proves nothing.
    pub(crate) fn start_of_trial(&mut self, link: LinkId) {
        let line = &mut self.links[link];
        if let Some(trial) = &mut line.trial {
            trial.confirmed = line.confirmed;
        }
    }

    /// Ends trials: those that are passed, and those whose time is over. A link that may not dial has all of its time again
    /// when it may.
    pub(crate) fn judge_trials(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.stop != Stop::Running {
            return;
        }
        for link in self.links.ids() {
            let Some(within) = self.links[link].own().map(|own| own.trial) else { continue };
            let is_proven = self.is_proven(link);
            let line = &mut self.links[link];
            let may_dial = line.link.may_dial();
            let Some(trial) = &mut line.trial else { continue };
            if is_proven {
                (line.trial, line.rollback) = (None, None);
                self.rebind();
            } else if !may_dial {
                trial.until = None;
            } else if *trial.until.get_or_insert(now.mono + within) <= now.mono {
                self.roll_back(now, link, out);
            } else {
                let mut effects = Vec::new();
                line.link.ask(now.mono, &mut effects);
                self.apply(now, link, effects, out);
            }
        }
    }

    /// When a trial is over.
    pub(crate) fn trial_deadline(&self) -> Option<Time> {
        let running = self.links.iter().filter(|_| self.stop == Stop::Running);
        running.filter_map(|line| line.trial.as_ref()?.until).min()
    }

    /// Gives a link the settings back that proved themselves.
    fn roll_back(&mut self, now: Now, link: LinkId, out: &mut Vec<Action>) {
        let line = &mut self.links[link];
        let Some((trial, within)) = line.trial.take().zip(line.own().map(|own| own.trial)) else { return };
        let rollback = Rollback { within, error: line.link.last_error().map(str::to_owned) };
        out.push(Action::Note(LogEvent::RolledBack { link: line.id.clone(), why: rollback.to_string() }));
        line.rollback = Some(rollback);
        line.adopt(LinkContext::of_client(&trial.proven, now));
        self.recall_frame_limit(link);
        self.rebind();
        self.connect_anew(now, link, out);
    }

    /// A message that is confirmed proves the settings; when there is none to confirm, a pong does, and where nothing is pinged
    /// the connection.
    fn is_proven(&self, link: LinkId) -> bool {
        let line = &self.links[link];
        let Some(trial) = &line.trial else { return false };
        let answers =
            line.link.rtt().is_some() || line.link.confirms_by() == Confirm::None || line.link.is_unpinged();
        line.link.is_up() && (line.confirmed > trial.confirmed || (self.unconfirmed(link) == 0 && answers))
    }
}
