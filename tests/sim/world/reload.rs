//! People change the configuration and give commands, as they please: several things at once, some of them wrong, and urls that
//! lead nowhere.

use std::time::Duration;

use holdfast_core::agent::{CommandError, Event, LinkCommand, LinkSetup, Setup};
use holdfast_core::config::buffer::{BufferLimits, WhenFull};
use holdfast_core::config::client::Confirm;
use holdfast_core::config::link_kind::LinkKind;
use holdfast_core::config::replay::Replay;
use holdfast_core::ids::RequestId;
use holdfast_core::reload::{Changes, Proposal, ReloadError, Reloaded, Takeover};
use holdfast_core::seed::Seed;

use super::trial::Standing;
use super::{Pending, SECOND, World};

/// Where links lead on which nothing is ever confirmed.
pub(super) const NOWHERE: &str = "ws://nowhere";

impl World {
    pub(super) fn reload(&mut self) -> Result<(), String> {
        if self.agent.is_none() {
            return Ok(());
        }
        let request = self.request();
        self.feed(Event::Reload { request })
    }

    /// Reads the configuration, which people may have changed, and which may be wrong.
    pub(super) fn prepare(&mut self, request: RequestId) {
        let outcome = if !self.healed && self.seed.below(8) == 0 {
            Err("line 3".to_owned())
        } else {
            if !self.healed {
                self.edit();
            }
            Ok(Box::new(self.proposal()))
        };
        self.after(2 * SECOND, Pending::Prepared { request, outcome });
    }

    pub(super) fn prepared(
        &mut self,
        request: RequestId,
        outcome: Result<Box<Proposal>, String>,
    ) -> Result<(), String> {
        let seated = self.seated();
        let seated = (0..self.links.len()).map(|link| seated.contains(&link)).collect();
        self.proposed = outcome.as_ref().ok().map(|proposal| (proposal.setup.clone(), seated));
        self.feed(Event::Prepared { request, outcome })?;
        self.proposed = None;
        Ok(())
    }

    pub(super) fn succeed(&mut self) -> Result<(), String> {
        let (setup, _) = self.proposed.take().ok_or("nothing was prepared for another life")?;
        let agent = self.agent.as_ref().ok_or("nobody is there to be succeeded")?;
        self.successor = Some((setup, agent.proven().cloned().collect()));
        self.stopping_since.get_or_insert(self.now);
        Ok(())
    }

    /// Each reload is answered once.
    pub(super) fn reloaded(
        &mut self,
        request: RequestId,
        outcome: &Result<Reloaded, ReloadError>,
    ) -> Result<(), String> {
        if !self.requests.remove(&request) {
            return Err(format!("reload {request} was answered twice"));
        }
        let taken = outcome.as_ref().is_ok_and(|done| done.how != Takeover::Restarting);
        self.tally.reloads += u64::from(taken);
        let several = outcome.as_ref().is_ok_and(|done| taken && done.changed.len() > 1);
        self.tally.reloads_of_several += u64::from(several);
        if self.healed && taken && self.is_all_in_force() {
            self.called = true;
            return (0..self.links.len()).try_for_each(|link| self.command(link, LinkCommand::Connect));
        }
        Ok(())
    }

    /// All links are configured from here on, so that each can get what is held for it. What leads nowhere and has something to go
    /// back to may stay so.
    fn configure_all(&mut self) {
        let file = std::mem::replace(&mut self.setup.links, self.links.clone());
        for (link, own) in self.setup.links.iter_mut().enumerate() {
            let said = file.iter().find(|said| said.id == own.id);
            let safe = self.standing[link].as_ref().is_some_and(Standing::has_a_way_back);
            if let Some(said) = said.filter(|said| safe && said.rule.active && self.seed.below(2) == 0) {
                own.clone_from(said);
            }
            own.rule.active = true;
            // A peer that chokes on the first message proves nothing, and nobody is to go back to what does not deliver.
            if !safe {
                own.trial = Duration::ZERO;
            }
        }
        self.setup.mqtt.clone_from(&self.broker);
    }

    /// Has all links configured, again and again until they are.
    pub(super) fn call_all(&mut self) -> Result<(), String> {
        if self.called {
            return Ok(());
        }
        self.after(5 * SECOND, Pending::CallAll);
        self.configure_all();
        self.reload()
    }

    pub(super) fn command_some(&mut self) -> Result<(), String> {
        if self.agent.is_none() || self.healed {
            return Ok(());
        }
        let link = usize::try_from(self.seed.below(self.links.len() as u64)).expect("small");
        let command = if self.seed.below(2) == 0 { LinkCommand::Connect } else { LinkCommand::Disconnect };
        self.command(link, command)
    }

    /// Each command is answered once, and at once.
    fn command(&mut self, link: usize, command: LinkCommand) -> Result<(), String> {
        let (request, client) = (self.request(), self.links[link].id.to_uppercase());
        self.tally.commands += 1;
        self.feed(Event::Command { request, client, command })?;
        match self.requests.contains(&request) {
            true => Err(format!("command {request} was not answered")),
            false => Ok(()),
        }
    }

    pub(super) fn obeyed(
        &mut self,
        request: RequestId,
        outcome: &Result<(), CommandError>,
    ) -> Result<(), String> {
        if !self.requests.remove(&request) {
            return Err(format!("command {request} was answered twice"));
        }
        if let Err(CommandError::NoClient(id)) = outcome
            && self.taken.links.iter().any(|own| own.id.eq_ignore_ascii_case(id))
        {
            return Err(format!("client {id} is there, and was not found"));
        }
        Ok(())
    }

    fn request(&mut self) -> RequestId {
        self.asked = self.asked.next();
        self.requests.insert(self.asked);
        self.asked
    }

    fn is_all_in_force(&self) -> bool {
        let delivers = |standing: &Standing| standing.is_active() && standing.has_a_way_back();
        self.standing.iter().all(|standing| standing.as_ref().is_some_and(delivers))
            && self.taken.mqtt.is_some() == self.broker.is_some()
    }

    /// The configuration as it is, and what differs from what was taken over last.
    fn proposal(&mut self) -> Proposal {
        self.setup.new_epochs = self.new_epochs();
        let mut tables = Vec::new();
        let shared = |setup: &Setup| (setup.mqtt.clone(), setup.buffer, setup.priorities.clone());
        if shared(&self.setup) != shared(&self.taken) {
            tables.push("shared".to_owned());
        }
        let restart = !self.healed && self.seed.below(12) == 0;
        Proposal { setup: self.setup.clone(), changes: Changes { restart, tables, reordered: false } }
    }

    /// Several things change at once: links come and go, others get other settings, and so do the tables that all share.
    fn edit(&mut self) {
        if self.seed.below(2) == 0 {
            self.shuffle();
        }
        if self.seed.below(2) == 0 {
            self.setup.buffer.commit_after = Duration::from_millis(10 + self.seed.below(1000));
        }
        if self.bounded && self.seed.below(4) == 0 {
            self.setup.buffer.max_messages = 40 + self.seed.below(40);
        }
        if self.seed.below(4) == 0 {
            self.setup.priorities = vec![0, 7];
        }
        // Who has no place yet has nothing to go back to, so that all that it says counts at once.
        let seated = self.seated();
        for said in &mut self.setup.links {
            if self.seed.below(2) == 0 {
                continue;
            }
            let link = self.links.iter().position(|own| own.id == said.id).expect("it is one of them");
            let own = &mut self.links[link];
            // Growing only, so that the bound on what comes twice holds for the new one.
            own.window += usize::try_from(self.seed.below(10)).expect("small");
            let interval = Duration::from_secs(1 + self.seed.below(20));
            if own.rule.kind == LinkKind::WebSocket {
                own.rule.ping.interval = interval;
            }
            own.trial =
                Duration::from_secs([0, 2 + self.seed.below(20)][usize::from(self.seed.below(3) > 0)]);
            said.clone_from(own);
            if self.seed.below(3) == 0 && self.standing[link].is_some() && seated.contains(&link) {
                lead_nowhere(said, &mut self.seed);
            } else if self.seed.below(8) == 0 {
                said.rule.active = false;
            }
        }
        if let (Some(said), Some(own)) = (&mut self.setup.mqtt, &mut self.broker)
            && self.seed.below(2) == 0
        {
            own.status_interval = Duration::from_secs(10 + self.seed.below(30));
            said.clone_from(own);
        }
    }
}

/// Settings under which nothing is ever confirmed, and little is held. Nobody sees the rest of them, so all of it may be other.
fn lead_nowhere(said: &mut LinkSetup, seed: &mut Seed) {
    said.places = vec![NOWHERE.to_owned()];
    said.trial = Duration::from_secs(2 + seed.below(20));
    said.window = 1;
    said.application = "elsewhere".to_owned();
    if said.rule.confirm != Confirm::None && said.rule.kind == LinkKind::WebSocket {
        said.rule.confirm = if seed.below(2) == 0 { Confirm::Ack } else { Confirm::Pong };
        said.hello = true;
        said.replay = Replay::default();
    }
    let when_full = [WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::Reject];
    said.place = BufferLimits {
        max_messages: Some(1 + seed.below(3)),
        ttl: Some(Duration::from_secs(1)),
        when_full: Some(when_full[usize::try_from(seed.below(3)).expect("small")]),
    };
}
