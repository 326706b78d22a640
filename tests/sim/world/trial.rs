//! The reference model of which settings of each link are in force: the last ones that proved themselves, unless newer ones are
//! on trial.

use holdfast_core::agent::{LinkSetup, Setup};
use holdfast_core::config::client::Confirm;
use holdfast_core::config::link_kind::LinkKind;
use holdfast_core::ids::ConnectionId;
use holdfast_core::link::protocol::LinkReport;
use holdfast_core::outlet::lane;

use super::reload::NOWHERE;
use super::{MS, Pending, World};

/// The settings of a link that is configured.
pub(super) struct Standing {
    in_force: LinkSetup,
    /// What comes back if those are on trial and fail.
    proven: Option<LinkSetup>,
    since: u64,
}

impl Standing {
    /// Whether its link ends up with settings under which it delivers, whatever comes of a trial.
    pub(super) fn has_a_way_back(&self) -> bool {
        delivers(self.proven.as_ref().unwrap_or(&self.in_force))
    }

    /// Whether its link may dial.
    pub(super) fn is_active(&self) -> bool {
        self.in_force.rule.active
    }

    fn of(in_force: LinkSetup, before: Option<LinkSetup>, since: u64) -> Standing {
        let proven = before.filter(|before| !in_force.trial.is_zero() && *before != in_force);
        Standing { in_force, proven, since }
    }
}

impl World {
    pub(super) fn is_dead(&self, link: usize) -> bool {
        let standing = self.standing.get(link).and_then(Option::as_ref);
        standing.is_some_and(|standing| leads_nowhere(&standing.in_force))
    }

    /// Refused, never answered, or connected to somebody who never says a word.
    pub(super) fn dial_nobody(&mut self, link: usize, conn: ConnectionId) {
        let refused = LinkReport::DialFailed(self.refusal());
        // Where nothing is pinged, a connection is all that there is to prove itself.
        let rule = &self.links[link].rule;
        let silent = if rule.confirm == Confirm::None || rule.kind == LinkKind::Http { 2 } else { 3 };
        let at = self.now + 1 + self.seed.below(200 * MS);
        match self.seed.below(silent) {
            0 => self.at(at, Pending::ToAgent { link, conn, report: refused }),
            1 => {}
            _ => {
                self.conns[link].as_mut().expect("it was just made").up = true;
                self.at(at, Pending::ToAgent { link, conn, report: LinkReport::Up(Default::default()) });
                self.at(at + 1, Pending::HalfOpen { link, conn });
            }
        }
    }

    /// A life begins with these settings.
    pub(super) fn begin_life(&mut self, setup: &Setup) {
        self.taken = setup.clone();
        for link in 0..self.links.len() {
            let own =
                |settings: &[LinkSetup]| settings.iter().find(|own| own.id == self.links[link].id).cloned();
            let before = own(&setup.proven);
            self.standing[link] = own(&setup.links).map(|own| Standing::of(own, before, self.now));
        }
    }

    /// Somebody mends what leads nowhere and has nothing to go back to.
    pub(super) fn mend(&mut self, proven: &[LinkSetup]) {
        for said in &mut self.setup.links {
            let safe = proven.iter().any(|before| before.id == said.id && delivers(before));
            if leads_nowhere(said) && !safe {
                said.clone_from(self.links.iter().find(|own| own.id == said.id).expect("it is one of them"));
            }
        }
    }

    /// The agent takes over what was proposed.
    pub(super) fn take_over(&mut self) -> Result<(), String> {
        let (setup, seated) = self.proposed.take().ok_or("nothing was prepared")?;
        for (link, seated) in seated.into_iter().enumerate() {
            let said = setup.links.iter().find(|own| own.id == self.links[link].id);
            let before = self.standing[link].take();
            self.tally.came += u64::from(said.is_some() && before.is_none());
            self.tally.went += u64::from(said.is_none() && before.is_some());
            self.standing[link] = match (said, before) {
                (None, _) => None,
                (Some(said), Some(before)) if *said == before.in_force => Some(before),
                (Some(said), Some(before)) if seated => {
                    let proven = before.proven.unwrap_or(before.in_force);
                    Some(Standing::of(said.clone(), Some(proven), self.now))
                }
                (Some(said), _) => Some(Standing::of(said.clone(), None, self.now)),
            };
        }
        self.taken = setup;
        self.unechoed.clear();
        Ok(())
    }

    pub(super) fn rolled_back(&mut self, id: &str) -> Result<(), String> {
        let link = self.links.iter().position(|own| own.id == id).ok_or("it is none of the links")?;
        let standing = self.standing[link].as_mut().ok_or(format!("{id} went back, and is not there"))?;
        let proven = standing.proven.take().ok_or(format!("{id} went back, and was not on trial"))?;
        let within = u64::try_from(standing.in_force.trial.as_nanos()).expect("short");
        if self.now < standing.since + within {
            return Err(format!("{id} went back before the time of its trial was over"));
        }
        standing.in_force = proven;
        self.unechoed.remove(&link);
        self.tally.rolled_back += 1;
        Ok(())
    }

    /// The settings in force are those of the model, and what has led nowhere has not proved itself.
    pub(super) fn check_settings(&mut self) -> Result<(), String> {
        let Some(agent) = &self.agent else { return Ok(()) };
        for (own, standing) in self.links.iter().zip(&mut self.standing) {
            let link = agent.link_of(&lane::of_client(&own.id));
            let in_force = link.and_then(|link| agent.settings(link));
            if in_force != standing.as_ref().map(|standing| &standing.in_force) {
                return Err(format!("{} has other settings in force: {in_force:?}", own.id));
            }
            let Some((standing, link)) = standing.as_mut().zip(link) else { continue };
            match (agent.is_on_trial(link), &standing.proven) {
                (true, None) => return Err(format!("{} is on trial without need", own.id)),
                (false, Some(_)) if leads_nowhere(&standing.in_force) => {
                    return Err(format!("{} proved itself, and led nowhere", own.id));
                }
                (false, Some(_)) => {
                    standing.proven = None;
                    self.tally.passed += 1;
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        Ok(())
    }
}

fn delivers(settings: &LinkSetup) -> bool {
    settings.rule.active && !leads_nowhere(settings)
}

fn leads_nowhere(settings: &LinkSetup) -> bool {
    settings.places.iter().any(|place| place == NOWHERE)
}
