//! How the loop takes over another configuration: it is read and checked, and what it needs is bound, before anything changes.

use std::rc::Rc;

use smol::channel::Sender;

use super::doors::bind_but;
use super::{Bound, Load, Shell, bind, setup};
use crate::config::Config;
use crate::config::server::Server;
use crate::io::clock;
use crate::io::server::Kept;
use crate::logic::agent::{Action, Event};
use crate::logic::lane;
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
        let (prepared, stale) = (self.prepared.0.clone(), self.doors.stale());
        let preparing = async move {
            let outcome = prepare(&load, &config, &kept, &stale).await;
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
        let mut clients = config.clients.iter_mut();
        if let Some(client) = clients.find(|client| client.id.eq_ignore_ascii_case(&old.id)) {
            *client = old;
        }
        self.overdue.push(Event::WentBack { link, setup: Box::new(setup::setup(&config)) });
        self.config = Rc::new(config);
    }

    /// Settings that were on trial themselves are nothing to go back to.
    fn keep_fallback(&mut self, changed: &[String]) {
        for old in &self.config.clients {
            let outlet = lane::of_client(&old.id);
            let Some(link) = self.agent.link_of(&outlet).filter(|_| changed.contains(&outlet)) else {
                continue;
            };
            if !self.agent.is_on_trial(link) || !self.fallback.contains_key(&link) {
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
                self.agent.step(clock::now(), Event::Reconfigure { setup, changed: links }, actions);
                self.config = Rc::new(next.config);
                self.supervisor.ready();
            }
            Plan::Unchanged => self.supervisor.ready(),
        }
    }
}

async fn prepare(load: &Load, old: &Config, kept: &[Kept], stale: &[Rc<Server>]) -> Result<Next, String> {
    let config = load().map_err(|error| format!("{error:#}"))?;
    let mut plan = reload::plan(old, &config);
    for table in stale.iter().filter(|table| config.servers.contains(table)) {
        plan = plan.with(&format!("server.{}", table.id));
    }
    let is_fresh = |table: &&Server| !stale.iter().any(|other| **other == **table);
    let open: Vec<Server> = old.servers.iter().filter(is_fresh).cloned().collect();
    let bound = match plan {
        Plan::Restart { .. } => bind(&config, kept).await,
        Plan::Unchanged | Plan::Apply { .. } => bind_but(&config, &open, kept).await,
    };
    let bound = bound.map_err(|error| format!("{error:#}"))?;
    Ok(Next { config, plan, bound })
}

fn answer(reply: Option<Reply>, answer: Result<Reloaded, String>) {
    if let Some(reply) = reply {
        let _ = reply.try_send(answer);
    }
}
