//! The loop's part of a reload: a configuration is read and checked, and what it needs is bound, before anything changes; the
//! agent says what becomes of it.

use std::rc::Rc;

use holdfast_core::agent::Event;
use holdfast_core::config::Config;
use holdfast_core::config::server::Server;
use holdfast_core::ids::RequestId;
use holdfast_core::reload::{self, Changes, Proposal, ReloadError, Reloaded};
use holdfast_core::setup::LinkSetup;

use super::servers::bind_but;
use super::sources::{self, SourceRouters};
use super::{BoundServers, Load, Runtime, bind, setup};
use crate::os::logger;
use crate::source::server::KeptSocket;

/// A configuration that was read, or why not.
pub struct Prepared {
    request: RequestId,
    outcome: Result<Box<Next>, String>,
}

struct Next {
    config: Config,
    changes: Changes,
    bound: BoundServers,
    routers: SourceRouters,
}

/// What has to be read again although the configuration says the same.
struct Stale {
    servers: Vec<Rc<Server>>,
    /// By their ids.
    sources: Vec<String>,
}

/// A configuration that was read, until the agent says what becomes of it.
pub struct Candidate {
    request: RequestId,
    config: Config,
    bound: BoundServers,
    routers: SourceRouters,
}

/// Who comes after this life of the agent.
pub struct Successor {
    /// Its configuration.
    pub config: Config,
    /// Its listeners; none to keep those of this life.
    pub bound: Option<BoundServers>,
    /// Settings that proved themselves in this life.
    pub proven: Vec<LinkSetup>,
}

impl Runtime {
    /// Begins to read the configuration again.
    pub fn prepare(&mut self, request: RequestId) {
        self.preparing = Some(request);
        self.supervisor.reloading();
        let (load, config, kept) = (self.load.clone(), self.config.clone(), self.servers.kept());
        let prepared = self.prepared.0.clone();
        let stale = Stale { servers: self.servers.stale(), sources: self.sources.stale() };
        let preparing = async move {
            let outcome = prepare(&load, &config, &kept, &stale).await.map(Box::new);
            // The loop is gone only when nobody waits for it any more.
            let _ = prepared.send(Prepared { request, outcome }).await;
        };
        self.executor.spawn(preparing).detach();
    }

    /// Keeps what was read, and tells the agent of it.
    pub fn prepared(&mut self, prepared: Prepared) -> Event {
        let Prepared { request, outcome } = prepared;
        let outcome = outcome.map(|next| {
            let Next { config, changes, bound, routers } = *next;
            let proposal = Proposal { setup: setup::setup(&config), changes };
            self.candidate = Some(Candidate { request, config, bound, routers });
            Box::new(proposal)
        });
        Event::Prepared { request, outcome }
    }

    /// Puts in force what was read. The settings of clients are the agent's.
    pub fn take_over(&mut self, request: RequestId) {
        if let Some(candidate) = self.candidate.take_if(|own| own.request == request) {
            let Candidate { config, bound, routers, .. } = candidate;
            self.servers.provide(&config);
            self.servers.replace(bound);
            self.sources.replace(routers);
            logger::configure(config.log);
            self.config = Rc::new(config);
        }
    }

    /// Keeps what was read for the life after this one.
    pub fn succeed(&mut self, request: RequestId) {
        let candidate = self.candidate.take_if(|own| own.request == request);
        self.successor = candidate.map(|Candidate { config, bound, .. }| {
            let proven = self.agent.proven().cloned().collect();
            Successor { config, bound: Some(bound), proven }
        });
    }

    /// Another life comes after this one, with the same configuration.
    pub fn start_anew(&mut self) {
        let proven = self.agent.proven().cloned().collect();
        self.successor = Some(Successor { config: self.proven_config(), bound: None, proven });
    }

    /// Nobody comes after this life.
    pub fn drop_successor(&mut self) {
        self.successor = None;
        self.supervisor.stopping();
    }

    /// Tells whoever asked, and drops what was read for nothing.
    pub fn reply_to_reload(&mut self, request: RequestId, outcome: Result<Reloaded, ReloadError>) {
        self.candidate.take_if(|own| own.request == request);
        if self.preparing.take_if(|own| *own == request).is_some() && self.successor.is_none() {
            self.supervisor.ready();
        }
        if let Some(reply) = self.reloads.remove(&request) {
            let _ = reply.try_send(outcome.map_err(|error| error.to_string()));
        }
    }

    /// The configuration in force, with the settings of clients that proved themselves.
    pub fn proven_config(&self) -> Config {
        let mut config = (*self.config).clone();
        for client in &mut config.clients {
            if let Some(proven) = self.agent.proven().find(|own| own.id.eq_ignore_ascii_case(&client.id)) {
                client.clone_from(&proven.table);
            }
        }
        config
    }
}

async fn prepare(load: &Load, old: &Config, kept: &[KeptSocket], stale: &Stale) -> Result<Next, String> {
    let config = load().map_err(|error| format!("{error:#}"))?;
    let servers = stale.servers.iter().filter(|table| config.servers.contains(table));
    let servers = servers.map(|table| format!("server.{}", table.id));
    let is_stale = |id: &str| stale.sources.iter().any(|stale| stale.eq_ignore_ascii_case(id));
    let sources = config.sources.iter().filter(|source| is_stale(&source.id));
    let sources = sources.map(|source| format!("source.{}", source.id));
    let changes = servers.chain(sources).fold(reload::compare(old, &config), Changes::with);
    let routers = sources::routers(&config).map_err(|error| format!("{error:#}"))?;
    let is_fresh = |table: &&Server| !stale.servers.iter().any(|other| **other == **table);
    let open: Vec<Server> = old.servers.iter().filter(is_fresh).cloned().collect();
    let bound = match changes.restart {
        true => bind(&config, kept).await,
        false => bind_but(&config, &open, kept).await,
    };
    let bound = bound.map_err(|error| format!("{error:#}"))?;
    Ok(Next { config, changes, bound, routers })
}
