//! New settings of a link on trial: without a confirmation in time its old ones come back.

use super::{Action, Agent, Setup};
use crate::config::client::Confirm;
use crate::logic::time::{Now, Time};

/// A trial that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    until: Time,
    /// What its link had confirmed when it came up.
    confirmed: u64,
}

impl Agent {
    /// Whether the settings of this link have yet to prove themselves.
    pub fn is_on_trial(&self, link: usize) -> bool {
        self.links[link].trial.is_some()
    }

    /// Takes the old settings of a link, because the new ones did not prove themselves.
    pub(super) fn go_back(&mut self, now: Now, link: usize, setup: Setup, out: &mut Vec<Action>) {
        let Some(failed) = self.links[link].own() else { return };
        let within_s = failed.trial.as_secs_f32();
        let last = self.links[link].link.last_error().map(|error| format!(" ({error})"));
        let outlet = self.links[link].outlet.clone();
        self.reconfigure(now, setup, &[outlet], out);
        let line = &mut self.links[link];
        line.trial = None;
        line.went_back = Some(format!(
            "new settings got no confirmation within {within_s} s{}, the old ones are in force",
            last.unwrap_or_default()
        ));
    }

    pub(super) fn begin_trial(&mut self, now: Now, link: usize) {
        let line = &mut self.links[link];
        let trial = line.own().filter(|own| own.rule.active && !own.trial.is_zero()).map(|own| own.trial);
        line.trial = trial.map(|within| Trial { until: now.mono + within, confirmed: line.confirmed });
        line.went_back = None;
    }

    /// What was confirmed before the connection that is on trial proves nothing.
    pub(super) fn start_of_trial(&mut self, link: usize) {
        let line = &mut self.links[link];
        if let Some(trial) = &mut line.trial {
            trial.confirmed = line.confirmed;
        }
    }

    /// Ends trials: those that are passed, and those whose time is over.
    pub(super) fn judge_trials(&mut self, now: Now, out: &mut Vec<Action>) {
        for link in 0..self.links.len() {
            let Some(trial) = self.links[link].trial else { continue };
            if self.is_proven(link, trial) {
                self.links[link].trial = None;
                continue;
            }
            if trial.until <= now.mono {
                self.links[link].trial = None;
                out.push(Action::GoBack { link });
                continue;
            }
            let mut effects = Vec::new();
            self.links[link].link.ask(now.mono, &mut effects);
            self.apply(now, link, effects, out);
        }
    }

    /// When a trial is over.
    pub(super) fn trial_deadline(&self) -> Option<Time> {
        self.links.iter().filter_map(|line| line.trial).map(|trial| trial.until).min()
    }

    /// A message that is confirmed proves the settings; when there is none to confirm, a pong does.
    fn is_proven(&self, link: usize, trial: Trial) -> bool {
        let line = &self.links[link];
        let answers = line.link.rtt().is_some() || line.link.confirms_by() == Confirm::None;
        line.link.is_up() && (line.confirmed > trial.confirmed || (self.unconfirmed(link) == 0 && answers))
    }
}
