//! How a new configuration is taken over while everything runs: what it does not change goes on as it was.

use super::stop::Stop;
use super::{Action, Agent, Setup};
use crate::ids::RequestId;
use crate::observe::host::Host;
use crate::observe::log_event::LogEvent;
use crate::reload::{Proposal, ReloadError, Reloaded, Takeover};
use crate::time::Now;

impl Agent {
    /// Somebody wants the configuration taken over as it is on the disk. One reload goes on at a time.
    pub(crate) fn begin_reload(&mut self, request: RequestId, out: &mut Vec<Action>) {
        let refused = match self.reloading {
            _ if self.stop != Stop::Running => ReloadError::Stopping,
            Some(_) => ReloadError::UnderWay,
            None => {
                self.reloading = Some(request);
                return out.push(Action::Prepare { request });
            }
        };
        out.push(Action::Note(LogEvent::ReloadFailed(refused.to_string())));
        out.push(Action::ReplyToReload { request, outcome: Err(refused) });
    }

    /// The configuration was read for this request. It is compared with what is in force at this moment: links may have gone
    /// back to other settings since it was asked for.
    pub(crate) fn end_reload(
        &mut self,
        now: Now,
        request: RequestId,
        outcome: Result<Box<Proposal>, String>,
        out: &mut Vec<Action>,
    ) {
        // One that a stop has answered is not taken over any more.
        if self.reloading.take_if(|own| *own == request).is_none() {
            return;
        }
        let proposal = match outcome {
            Ok(proposal) => *proposal,
            Err(error) => {
                out.push(Action::Note(LogEvent::ReloadFailed(error.clone())));
                self.rejected = Some(error.clone());
                let outcome = Err(ReloadError::Invalid(error));
                return out.push(Action::ReplyToReload { request, outcome });
            }
        };
        self.rejected = None;
        let reloaded = self.compare(&proposal);
        let how = reloaded.how;
        out.push(Action::Note(LogEvent::Reloaded(reloaded.clone())));
        if how == Takeover::Applied {
            out.push(Action::TakeOver { request });
        }
        if how == Takeover::Restarting {
            self.succeeded = true;
            out.push(Action::Succeed { request });
        }
        out.push(Action::ReplyToReload { request, outcome: Ok(reloaded) });
        match how {
            Takeover::Unchanged => self.forget_rollbacks(&proposal.setup),
            Takeover::Applied => self.reconfigure(now, proposal.setup, out),
            Takeover::Restarting => self.begin_stop(now, out),
        }
    }

    /// Where nothing could be written, outlets go on under other epochs, of which a link learns only with another connection. When
    /// the disk can be written again, another life has its numbers there.
    pub(crate) fn look_after_volatile(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.stop != Stop::Running {
            return;
        }
        for link in self.buffer.renumber() {
            self.links[link].forget_messages();
            self.connect_anew(now, link, out);
        }
        if self.buffer.is_over() && self.reloading.is_none() {
            self.succeeded = true;
            out.push(Action::Note(LogEvent::StartsAnew));
            out.push(Action::StartAnew);
            self.begin_stop(now, out);
        }
    }

    /// Somebody stops the agent, also when it was about to start again.
    pub(crate) fn end_for_good(&mut self, out: &mut Vec<Action>) {
        if std::mem::take(&mut self.succeeded) {
            out.push(Action::DropSuccessor);
        }
    }

    /// The agent stops, and takes nothing over any more.
    pub(crate) fn give_up_reload(&mut self, out: &mut Vec<Action>) {
        if let Some(request) = self.reloading.take() {
            out.push(Action::Note(LogEvent::ReloadFailed(ReloadError::Stopping.to_string())));
            out.push(Action::ReplyToReload { request, outcome: Err(ReloadError::Stopping) });
        }
    }

    /// Takes over another setup of the same agent.
    fn reconfigure(&mut self, now: Now, mut setup: Setup, out: &mut Vec<Action>) {
        self.leave_prefix(&setup, out);
        self.presence.reconfigure(now.mono, setup.presence.clone());
        if setup.host != self.setup.host {
            self.host = Host::new(setup.host.interval, now.mono);
        }
        self.forget_rollbacks(&setup);
        let links = std::mem::take(&mut setup.links);
        let broker_changed = setup.mqtt != self.setup.mqtt;
        self.setup = setup;
        self.take_lines(now, &links, broker_changed, out);
        self.buffer.reconfigure(now.mono, self.setup.buffer);
        self.rebind();
    }

    /// Puts the bounds in force that the links have.
    pub(crate) fn rebind(&mut self) {
        let Agent { buffer, setup, links, .. } = self;
        buffer.rebind(|link| {
            let line = &links[link];
            (!line.is_gone()).then(|| line.bounds(setup))
        });
    }

    /// What a proposal changes: the tables of clients against those in force, the rest as it says itself.
    fn compare(&self, proposal: &Proposal) -> Reloaded {
        let mut changed: Vec<String> =
            proposal.changes.restart.then(|| "agent".to_owned()).into_iter().collect();
        let in_force = || self.links.iter().filter_map(super::LinkContext::own);
        let name = |id: &str| format!("client.{id}");
        for own in &proposal.setup.links {
            let before = in_force().find(|before| before.id == own.id);
            changed.extend((before != Some(own)).then(|| name(&own.table.id)));
        }
        let gone = in_force().filter(|own| !proposal.setup.links.iter().any(|new| new.id == own.id));
        changed.extend(gone.map(|own| name(&own.table.id)));
        changed.extend(proposal.changes.tables.iter().cloned());
        // The same tables in another order.
        changed.extend((changed.is_empty() && proposal.changes.reordered).then(|| "order".to_owned()));
        let how = match changed.is_empty() {
            _ if proposal.changes.restart => Takeover::Restarting,
            true => Takeover::Unchanged,
            false => Takeover::Applied,
        };
        Reloaded { how, changed }
    }

    /// Settings that went back are told of until the configuration says again what is in force.
    fn forget_rollbacks(&mut self, setup: &Setup) {
        for line in self.links.iter_mut() {
            let agrees = line.own().is_some_and(|own| setup.links.contains(own));
            if agrees && line.trial.is_none() {
                line.rollback = None;
            }
        }
    }

    /// Under another prefix nobody would take the old retained status back.
    fn leave_prefix(&mut self, setup: &Setup, out: &mut Vec<Action>) {
        let prefix = |setup: &Setup| setup.mqtt.as_ref().map(|mqtt| mqtt.prefix.clone());
        if prefix(setup) != prefix(&self.setup) {
            self.publish_farewell(out);
            self.applications.clear();
        }
    }
}
