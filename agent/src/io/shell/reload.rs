//! How the loop takes over another configuration: it is read and checked, and what it needs is bound, before anything changes.

use std::rc::Rc;

use smol::channel::Sender;

use super::doors::bind_but;
use super::{Bound, Load, Shell, bind, setup};
use crate::config::Config;
use crate::io::clock;
use crate::io::server::Kept;
use crate::logic::agent::{Action, Event};
use crate::logic::reload::{self, Plan, Reloaded};

/// Takes one answer.
pub type Reply = Sender<Result<Reloaded, String>>;

/// A configuration that was read, and who asked for it.
pub struct Prepared {
    outcome: Result<Next, String>,
    reply: Option<Reply>,
}

struct Next {
    config: Config,
    plan: Plan,
    bound: Bound,
}

/// Who comes after this life of the agent.
pub struct Successor {
    /// Its configuration.
    pub config: Config,
    /// Its listeners.
    pub bound: Bound,
}

impl Shell {
    /// Begins to read the configuration again.
    pub fn begin_reload(&mut self, reply: Option<Reply>) {
        if self.reloading || self.successor.is_some() {
            return answer(reply, Err("another reload is under way".to_owned()));
        }
        self.reloading = true;
        self.supervisor.reloading();
        let (load, config, kept) = (self.load.clone(), self.config.clone(), self.doors.kept());
        let prepared = self.prepared.0.clone();
        let preparing = async move {
            let outcome = prepare(&load, &config, &kept).await;
            // The loop is gone only when nobody waits for it any more.
            let _ = prepared.send(Prepared { outcome, reply }).await;
        };
        self.executor.spawn(preparing).detach();
    }

    /// Takes over what was read.
    pub fn finish_reload(&mut self, prepared: Prepared, actions: &mut Vec<Action>) {
        self.reloading = false;
        match prepared.outcome {
            Err(error) => {
                log::error!("cannot reload, the configuration in force stays: {error}");
                self.supervisor.ready();
                self.agent.step(clock::now(), Event::Rejected(Some(error.clone())), actions);
                answer(prepared.reply, Err(error));
            }
            Ok(next) => {
                let told = next.plan.told();
                log::info!("reload {} changed={}", told.how, told.changed.join(","));
                answer(prepared.reply, Ok(told));
                self.agent.step(clock::now(), Event::Rejected(None), actions);
                self.take_over(next, actions);
            }
        }
    }

    /// Gives a link its old settings back.
    pub fn go_back(&mut self, link: usize) {
        let Some(old) = self.fallback.remove(&link) else { return };
        log::warn!("client {}: new settings got no confirmation in time, back to the old ones", old.id);
        let mut config = (*self.config).clone();
        if let Some(client) = config.clients.get_mut(link) {
            *client = old;
        }
        self.overdue.push(Event::WentBack { link, setup: Box::new(setup::setup(&config)) });
        self.peers = setup::peers(&config, &self.agent);
        self.config = Rc::new(config);
    }

    /// Settings that were on trial themselves are nothing to go back to.
    fn keep_fallback(&mut self, changed: &[bool]) {
        for (link, old) in self.config.clients.iter().enumerate() {
            let proven = !self.agent.is_on_trial(link);
            if changed.get(link).is_some_and(|changed| *changed)
                && (proven || !self.fallback.contains_key(&link))
            {
                self.fallback.insert(link, old.clone());
            }
        }
    }

    fn take_over(&mut self, next: Next, actions: &mut Vec<Action>) {
        match next.plan {
            Plan::Restart { .. } => {
                self.successor = Some(Successor { config: next.config, bound: next.bound });
                self.agent.step(clock::now(), Event::Stop, actions);
            }
            Plan::Apply { links, .. } => {
                self.doors.replace(next.bound);
                self.keep_fallback(&links);
                let setup = Box::new(setup::setup(&next.config));
                self.agent.step(clock::now(), Event::Reconfigure { setup, links }, actions);
                self.peers = setup::peers(&next.config, &self.agent);
                self.config = Rc::new(next.config);
                self.supervisor.ready();
            }
            Plan::Unchanged => self.supervisor.ready(),
        }
    }
}

async fn prepare(load: &Load, old: &Config, kept: &[Kept]) -> Result<Next, String> {
    let config = load().map_err(|error| format!("{error:#}"))?;
    let plan = reload::plan(old, &config);
    let bound = match plan {
        Plan::Restart { .. } => bind(&config, kept).await,
        Plan::Unchanged | Plan::Apply { .. } => bind_but(&config, &old.servers, kept).await,
    };
    let bound = bound.map_err(|error| format!("{error:#}"))?;
    Ok(Next { config, plan, bound })
}

fn answer(reply: Option<Reply>, answer: Result<Reloaded, String>) {
    if let Some(reply) = reply {
        let _ = reply.try_send(answer);
    }
}
