//! The servers and the control socket: bound before anything changes, opened once messages can be taken, and each replaced by
//! itself while the others go on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::rc::Rc;

use holdfast_core::config::Config;
use holdfast_core::config::server::Server;
use holdfast_core::observe::status::ServerStatus;
use smol::LocalExecutor;
use smol::channel::Sender;

use crate::os::descriptors;
use crate::source::intake::Intake;
use crate::source::server::{self, Facts, FileRead, KeptSocket, Listeners, Room, has_changed};

/// Servers with their listeners; none for one that is open already and stays as it is.
pub type BoundServers = Vec<(Rc<Server>, Option<Listeners>)>;

/// All servers, open or not yet.
pub struct Servers {
    executor: Rc<LocalExecutor<'static>>,
    /// Gone when no more sources are let in.
    sources: Option<Intake>,
    /// Taken when the control socket is opened.
    control: Option<PathBuf>,
    servers: Vec<Entry>,
    room: Rc<Room>,
}

struct Entry {
    table: Rc<Server>,
    kept: Vec<KeptSocket>,
    /// What it has read beside the configuration.
    files: Vec<FileRead>,
    facts: Facts,
    state: State,
}

enum State {
    Bound(Box<Listeners>),
    Open { _alive: Sender<Infallible> },
}

impl Servers {
    /// Servers that do not listen yet.
    pub fn new(
        servers: BoundServers,
        control: PathBuf,
        sources: Intake,
        executor: &Rc<LocalExecutor<'static>>,
    ) -> Servers {
        let servers =
            servers.into_iter().filter_map(|(table, listeners)| Some(Entry::bound(table, listeners?)));
        let (sources, control) = (Some(sources), Some(control));
        let (executor, servers) = (executor.clone(), servers.collect());
        Servers { executor, sources, control, servers, room: Rc::default() }
    }

    /// Sees to it that there are descriptors for a configuration: callers get those that nothing else needs.
    pub fn provide(&self, config: &Config) {
        self.room.set(descriptors::provide(config), config.limits);
    }

    /// Whether they are open.
    pub fn are_open(&self) -> bool {
        self.control.is_none()
    }

    /// Opens all that are shut.
    pub fn open(&mut self) {
        let Some(sources) = &self.sources else { return };
        for server in &mut self.servers {
            server.open(sources, &self.executor, &self.room);
        }
        if let Some(control) = self.control.take() {
            let (executor, room) = (self.executor.clone(), self.room.clone());
            let serving = server::keep_control(control, sources.clone(), executor, room);
            self.executor.spawn(serving).detach();
        }
    }

    /// Lets no more sources in. Those that are in are told by the agent's end of the intake.
    pub fn close(&mut self) {
        self.sources = None;
    }

    /// Opens these servers in the place of those that are open. Whoever is connected to one that is replaced or gone has to
    /// connect anew.
    pub fn replace(&mut self, servers: BoundServers) {
        let were_open = self.are_open();
        let mut old = std::mem::take(&mut self.servers);
        for (table, listeners) in servers {
            let known = old.iter().position(|server| server.table == table);
            let server = match listeners {
                Some(listeners) => Some(Entry::bound(table, listeners)),
                None => known.map(|known| old.swap_remove(known)),
            };
            self.servers.extend(server);
        }
        if were_open {
            self.open();
        }
        for server in old {
            log::info!(event = "server_closes", server = server.table.id.as_str(); "server {} closes", server.table.id);
        }
    }

    /// How each server is, with its id.
    pub fn status(&self) -> BTreeMap<String, ServerStatus> {
        self.servers.iter().map(|server| (server.table.id.clone(), (server.facts)())).collect()
    }

    /// Those whose schemas are not what they have read.
    pub fn stale(&self) -> Vec<Rc<Server>> {
        let stale = self.servers.iter().filter(|server| has_changed(&server.files));
        stale.map(|server| server.table.clone()).collect()
    }

    /// The sockets of all, to be kept open for whoever comes after them.
    pub fn kept(&self) -> Vec<KeptSocket> {
        self.servers.iter().flat_map(|server| server.kept.iter().cloned()).collect()
    }
}

impl Entry {
    fn bound(table: Rc<Server>, listeners: Listeners) -> Entry {
        let (kept, facts) = (listeners.kept().collect(), listeners.facts(&table.application));
        let files = listeners.files().collect();
        Entry { table, kept, files, facts, state: State::Bound(Box::new(listeners)) }
    }

    fn open(&mut self, sources: &Intake, executor: &Rc<LocalExecutor<'static>>, room: &Rc<Room>) {
        if matches!(self.state, State::Open { .. }) {
            return;
        }
        let (sources, alive) = sources.branch();
        let State::Bound(listeners) = std::mem::replace(&mut self.state, State::Open { _alive: alive })
        else {
            return;
        };
        for url in listeners.urls() {
            log::info!(event = "listening", server = self.table.id.as_str(), url:%; "listening server={} url={url}", self.table.id);
        }
        let table = self.table.clone();
        let serving = server::serve(*listeners, table, sources, executor.clone(), room.clone());
        executor.spawn(serving).detach();
    }
}

/// Binds all listeners of active servers, or takes the kept ones; the error names the one that cannot be bound.
pub async fn bind(config: &Config, kept: &[KeptSocket]) -> anyhow::Result<BoundServers> {
    bind_but(config, &[], kept).await
}

/// The same, but for the servers that are `open` already.
pub async fn bind_but(config: &Config, open: &[Server], kept: &[KeptSocket]) -> anyhow::Result<BoundServers> {
    let kept: Vec<KeptSocket> = kept.iter().map(|own| own.clone().among(&config.servers)).collect();
    let mut servers = Vec::new();
    for table in config.servers.iter().filter(|table| table.active) {
        let listeners = match open.contains(table) {
            true => None,
            false => Some(server::bind(table, &kept).await.map_err(anyhow::Error::msg)?),
        };
        servers.push((Rc::new(table.clone()), listeners));
    }
    Ok(servers)
}
