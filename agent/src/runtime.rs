//! The loop: everything that happens becomes an event for the agent, and its actions are carried out. Nothing is decided
//! here; what a source, a connection or the store says is passed on, and what the agent orders is done.

pub mod config_file;
mod given;
mod listener;
mod reload;
mod servers;
mod setup;
mod signals;
mod sources;
mod subscriber;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use async_signal::Signal;
use holdfast_core::agent::{Action, Agent, Event, Query, Reply, Setup};
use holdfast_core::config::Config;
use holdfast_core::ids::{ConnectionId, EndpointId, LinkId, RequestId};
use holdfast_core::link::closing::Closing;
use holdfast_core::link::protocol::{LinkOrder, LinkReport};
use holdfast_core::observe::status::SourceCounts;
use holdfast_core::outlet::store_protocol::{StoreFacts, StoreReport};
use holdfast_core::reload::Reloaded;
use holdfast_core::setup::LinkSetup;
use smol::channel::{Receiver, Sender, TrySendError, bounded};
use smol::future::{or, pending, zip};
use smol::{LocalExecutor, Task};

use self::listener::Listeners as Taps;
use self::reload::{Candidate, Prepared, Successor};
use self::servers::{BoundServers, Servers, bind};
use self::sources::Sources;
use self::subscriber::Subscribers;
use crate::net::Gauge;
use crate::os::clock;
use crate::os::logger;

use crate::os::host::Machine;
use crate::os::supervisor::Supervisor;
use crate::outlet;
use crate::outlet::mqtt::{self, Broker};
use crate::outlet::uplink::Uplink;
use crate::source::broker::{self, BrokerSource};
use crate::source::intake::{self, Input, Outcome, SourceQueue};
use crate::source::server;
use crate::store::{self, Store};
use given::GivenFile;

/// Reports of all connections that may wait for the loop.
const EVENTS: usize = 1024;
/// Reports of one connection that may wait for the loop.
const REPORTS: usize = 64;
/// Orders that may wait for a connection besides one for each message of its window.
const ORDERS: usize = 64;
/// How long connections of sources may take to close after the rest has ended.
const SOURCES_END_WITHIN: Duration = Duration::from_millis(300);
/// What is taken in before the agent's next step, so that the work of a step is shared by many messages.
const BATCH: usize = 256;

/// Reads the configuration in force.
pub type Load = Rc<dyn Fn() -> anyhow::Result<Config>>;

/// Sockets that stay open from one life to the next.
type KeptSockets = Vec<server::KeptSocket>;

/// Runs the agent until it is told to stop. Returns once everything is flushed, or cannot be. The error says why it cannot
/// start; a new configuration with which it cannot start gives way to the one before. `rejected` says why a configuration that
/// is newer than the one in force was rejected before, for the status.
pub fn run(
    load: impl Fn() -> anyhow::Result<Config> + 'static,
    rejected: Option<String>,
) -> anyhow::Result<()> {
    let executor = Rc::new(LocalExecutor::new());
    let tasks = executor.clone();
    let lives = async move {
        let load: Load = Rc::new(load);
        let signals = signals::obeyed(&executor)?;
        let mut runtime = Runtime::start(load()?, None, Vec::new(), &load, &signals, &executor).await?;
        runtime.overdue.push_back(Event::Rejected(rejected));
        loop {
            runtime.turn().await;
            runtime.let_sources_end().await;
            let Some((old, kept, next)) = runtime.leave() else { return Ok(()) };
            let Successor { config, bound, proven } = next;
            let bound = match bound {
                Some(bound) => bound,
                None => bind(&config, &kept).await?,
            };
            let started = Runtime::start(config, Some(bound), proven, &load, &signals, &executor).await;
            runtime = match started {
                Ok(runtime) => runtime,
                Err(error) => {
                    log::error!(
                        "cannot start with the new configuration, going back to the old one: {error:#}"
                    );
                    let bound = bind(&old, &kept).await?;
                    let mut runtime =
                        Runtime::start(old, Some(bound), Vec::new(), &load, &signals, &executor).await?;
                    runtime.overdue.push_back(Event::Rejected(Some(format!("{error:#}"))));
                    runtime
                }
            };
        }
    };
    // As one task among the others it is woken without a look at all sockets in between.
    let lives = tasks.spawn(lives);
    smol::block_on(tasks.run(lives))
}

struct Runtime {
    executor: Rc<LocalExecutor<'static>>,
    config: Rc<Config>,
    load: Load,
    signals: Receiver<Signal>,
    agent: Agent,
    /// What is given of the numbers; gone once the agent has numbers of its own is whatever earlier runs have left.
    given: Option<GivenFile>,
    machine: Machine,
    supervisor: Supervisor,
    store: Store,
    /// By link.
    lines: BTreeMap<LinkId, Connection>,
    /// Not opened before messages can be taken.
    servers: Servers,
    sources: Sources,
    taps: Taps,
    subscribers: Subscribers,
    prepared: (Sender<Prepared>, Receiver<Prepared>),
    /// The reload for which a configuration is read.
    preparing: Option<RequestId>,
    /// What was prepared, until the agent says what becomes of it.
    candidate: Option<Candidate>,
    /// Who comes after this life, when it ends for another configuration.
    successor: Option<Successor>,
    intake: SourceQueue,
    events: (Sender<Event>, Receiver<Event>),
    disk: Receiver<(StoreReport, StoreFacts)>,
    alarm: clock::Alarm,
    /// Events of the loop's own making, in their order, for the next step.
    overdue: VecDeque<Event>,
    offers: HashMap<RequestId, Sender<Outcome>>,
    commands: HashMap<RequestId, Sender<Result<(), String>>>,
    reloads: HashMap<RequestId, Sender<Result<Reloaded, String>>>,
    last_request: RequestId,
    store_closed: bool,
    ended: bool,
}

/// What a link connects to.
enum Peer {
    Client { uplink: Rc<Uplink>, orders: usize },
    Mqtt(Rc<Broker>),
    Source(Rc<BrokerSource>),
}

/// A connection, or the try to make one. Dropping it closes the socket.
struct Connection {
    conn: ConnectionId,
    peer: Peer,
    orders: Sender<LinkOrder>,
    gauge: Gauge,
    _task: Task<()>,
    /// Tries another endpoint beside it.
    _probe: Option<Task<()>>,
}

enum Wake {
    Signal(Signal),
    Prepared(Box<Prepared>),
    Input(Input),
    Event(Event),
}

impl Runtime {
    async fn start(
        config: Config,
        bound: Option<BoundServers>,
        proven: Vec<LinkSetup>,
        load: &Load,
        signals: &Receiver<Signal>,
        executor: &Rc<LocalExecutor<'static>>,
    ) -> anyhow::Result<Runtime> {
        clock::believe(config.agent.clock_file.clone());
        let setup = Setup { proven, ..setup::setup(&config) };
        let (reports, disk) = bounded(EVENTS);
        let settings = store::Settings { dir: config.agent.data_dir.clone(), outlets: setup.outlets() };
        let supervisor = Supervisor::from_environment();
        let (store, mut opened) = store::open(settings, supervisor.patience(), move |report, facts| {
            // The loop is gone only when nobody waits for the report any more.
            let _ = reports.send_blocking((report, facts));
        })?;
        let (sources, intake) = intake::channel();
        let servers = match bound {
            Some(bound) => bound,
            None => bind(&config, &[]).await?,
        };
        let all = Servers::new(servers, config_file::control_socket(&config), sources.clone(), executor);
        let sources = Sources::new(sources::routers(&config)?, sources);
        all.provide(&config);
        let places = given::places(|name| std::env::var(name).ok());
        let run = opened.numbers.as_ref().map_or(0, |numbers| numbers.run);
        opened.given = given::load(&places, &config.agent.data_dir, run);
        let agent = Agent::new(setup, &opened, clock::now());
        let given = GivenFile::create(&places, &config.agent.data_dir, &agent.given());
        logger::configure(config.log);
        log::info!(
            event = "started", agent = config.agent.id.as_str(), data_dir:% = config.agent.data_dir.display(),
            session = agent.session();
            "holdfast {} started agent={} data_dir={} session={}",
            env!("CARGO_PKG_VERSION"),
            config.agent.id,
            config.agent.data_dir.display(),
            agent.session()
        );
        Ok(Runtime {
            lines: BTreeMap::new(),
            servers: all,
            sources,
            executor: executor.clone(),
            config: Rc::new(config),
            load: load.clone(),
            signals: signals.clone(),
            taps: Taps::default(),
            subscribers: Subscribers::default(),
            prepared: bounded(1),
            preparing: None,
            candidate: None,
            successor: None,
            given,
            agent,
            machine: Machine::new(),
            supervisor,
            store,
            intake,
            events: bounded(EVENTS),
            disk,
            alarm: clock::Alarm::default(),
            overdue: VecDeque::new(),
            offers: HashMap::new(),
            commands: HashMap::new(),
            reloads: HashMap::new(),
            last_request: RequestId::default(),
            store_closed: false,
            ended: false,
        })
    }

    async fn turn(&mut self) {
        let mut actions = Vec::new();
        let mut wake = Some(Wake::Event(Event::Tick));
        while !self.ended {
            let mut taken = 0;
            while let Some(next) = wake.take() {
                self.take(next, &mut actions);
                taken += 1;
                wake = if taken < BATCH { self.waiting() } else { None };
            }
            self.agent.advance(clock::now(), &mut actions);
            if !self.taps.is_empty() {
                self.taps.actions(&self.agent, &actions);
            }
            self.subscribers.show(self.agent.news());
            self.note_given();
            actions.drain(..).for_each(|action| self.act(action));
            if !self.servers.are_open() && self.agent.may_listen() {
                // Only here it is sure that what earlier runs have left was taken over.
                self.given.iter().filter(|_| !self.agent.is_starting()).for_each(GivenFile::remove_others);
                self.servers.open();
                self.supervisor.ready();
            }
            if self.store.moves() {
                self.agent.step(clock::now(), Event::StoreMoves, &mut actions);
            }
            self.supervisor.look_at(&self.agent);
            wake = match self.own_event() {
                None if !self.ended => Some(self.wait().await),
                own => own,
            };
        }
    }

    /// What is given is noted before anybody outside can know of it.
    fn note_given(&mut self) {
        let given = self.agent.given();
        if self.given.as_mut().is_some_and(|file| !file.note(&given)) {
            self.given = None;
        }
    }

    /// Sources that say goodbye to their peers get the time for it; nobody is answered any more.
    async fn let_sources_end(&mut self) {
        self.offers.clear();
        self.commands.clear();
        self.reloads.clear();
        // Connections of sources hold ends of the intake.
        self.lines.clear();
        let all_gone = async { while self.intake.inputs.recv().await.is_ok() {} };
        or(all_gone, async {
            smol::Timer::after(SOURCES_END_WITHIN).await;
        })
        .await;
    }

    /// A store that has said goodbye ends at once. One that has not hangs in the disk, and is not waited for: the service
    /// has to stop in time, and nobody was told `stored` for what it has not written.
    /// Returns who comes next, and what there is to go back to.
    fn leave(self) -> Option<(Config, KeptSockets, Successor)> {
        let old = self.proven_config();
        if !self.store_closed {
            log::warn!("the store does not answer and is left behind");
            std::mem::forget(self.store);
        }
        Some((old, self.servers.kept(), self.successor?))
    }

    fn take(&mut self, wake: Wake, actions: &mut Vec<Action>) {
        let event = match wake {
            Wake::Event(event) => {
                self.store_closed |= matches!(event, Event::Disk(StoreReport::Closed, _));
                // A look at the machine comes before a status is told.
                if matches!(event, Event::Host(_)) {
                    self.agent.step(clock::now(), self.look_at_servers(), actions);
                }
                event
            }
            Wake::Signal(signal) => self.obey(signal),
            Wake::Prepared(prepared) => self.prepared(*prepared),
            Wake::Input(Input::Tap { filter, reply }) => {
                let _ = reply.try_send(self.taps.add(&filter));
                return;
            }
            Wake::Input(Input::Reload(reply)) => {
                let request = self.request();
                self.reloads.insert(request, reply);
                Event::Reload { request }
            }
            Wake::Input(Input::Command { client, command, reply }) => {
                let request = self.request();
                self.commands.insert(request, reply);
                Event::Command { request, client, command }
            }
            Wake::Input(Input::Connected(device)) => Event::Connected(device),
            Wake::Input(Input::Disconnected(device)) => Event::Disconnected(device),
            Wake::Input(Input::Departed(device)) => Event::Departed(device),
            Wake::Input(Input::Offer { drafts, from, reply }) => {
                let request = self.request();
                self.offers.insert(request, reply);
                Event::Offer { request, drafts, from }
            }
            Wake::Input(Input::Reimport { outlet, messages, reply }) => {
                let request = self.request();
                self.offers.insert(request, reply);
                Event::Reimport { request, outlet, messages }
            }
            Wake::Input(Input::StoreQuery(look, reply)) => return self.store.look(look, reply),
            Wake::Input(Input::Change(change, reply)) => return self.store.change(change, reply),
            Wake::Input(Input::Query(query, reply)) => {
                let _ = reply.try_send(self.answer(&query, actions));
                return;
            }
            Wake::Input(Input::Subscribe(filters, reply)) => {
                let _ = reply.try_send(self.subscribers.add(filters));
                return;
            }
            Wake::Input(Input::Downlink(reply)) => {
                let _ = reply.try_send(self.subscribers.add_downlink());
                return;
            }
        };
        if !self.taps.is_empty() {
            self.taps.event(&event);
        }
        self.agent.step(clock::now(), event, actions);
    }

    /// Before a status is told, the machine and the servers are looked at; what only the sources know is added.
    fn answer(&mut self, query: &Query, actions: &mut Vec<Action>) -> Reply {
        let now = clock::now();
        if matches!(query, Query::Status) {
            if self.agent.wants_host(now) {
                self.agent.step(now, Event::Host(self.machine.look()), actions);
            }
            self.agent.step(now, self.look_at_servers(), actions);
        }
        let mut reply = self.agent.answer(now, query);
        if let Reply::Status(status) = &mut reply {
            let (violations, consumers) = (self.intake.tally.shown(), self.subscribers.status());
            status.sources = Some(SourceCounts { violations, consumers });
        }
        reply
    }

    fn look_at_servers(&self) -> Event {
        Event::Servers(self.servers.status())
    }

    /// A number for what has to be answered.
    fn request(&mut self) -> RequestId {
        self.last_request = self.last_request.next();
        self.last_request
    }

    fn obey(&mut self, signal: Signal) -> Event {
        if signal == Signal::Hup {
            return Event::Reload { request: self.request() };
        }
        log::info!(event = "stopping", signal:?; "stopping signal={signal:?}");
        Event::Stop
    }

    fn own_event(&mut self) -> Option<Wake> {
        self.overdue.pop_front().map(Wake::Event)
    }

    /// What is there already: the loop's own events, and the disk first of all that flows, since it makes others wait.
    fn waiting(&mut self) -> Option<Wake> {
        if let Some(own) = self.own_event() {
            return Some(own);
        }
        if let Ok(signal) = self.signals.try_recv() {
            return Some(Wake::Signal(signal));
        }
        if let Ok(prepared) = self.prepared.1.try_recv() {
            return Some(Wake::Prepared(Box::new(prepared)));
        }
        if let Ok((report, facts)) = self.disk.try_recv() {
            return Some(Wake::Event(Event::Disk(report, facts)));
        }
        if let Ok(event) = self.events.1.try_recv() {
            return Some(Wake::Event(event));
        }
        self.intake.inputs.try_recv().ok().map(Wake::Input)
    }

    async fn wait(&mut self) -> Wake {
        let deadline = self.agent.deadline().into_iter().chain(self.supervisor.deadline()).min();
        if let Some(time) = deadline {
            self.alarm.set(time);
        }
        let disk = async {
            match self.disk.recv().await {
                Ok((report, facts)) => Wake::Event(Event::Disk(report, facts)),
                Err(_) => pending().await,
            }
        };
        let event = async {
            match self.events.1.recv().await {
                Ok(event) => Wake::Event(event),
                Err(_) => pending().await,
            }
        };
        let input = async {
            match self.intake.inputs.recv().await {
                Ok(input) => Wake::Input(input),
                Err(_) => pending().await,
            }
        };
        let tick = async {
            self.alarm.ring().await;
            Wake::Event(Event::Tick)
        };
        let signal = async {
            match self.signals.recv().await {
                Ok(signal) => Wake::Signal(signal),
                Err(_) => pending().await,
            }
        };
        let prepared = async {
            match self.prepared.1.recv().await {
                Ok(prepared) => Wake::Prepared(Box::new(prepared)),
                Err(_) => pending().await,
            }
        };
        or(signal, or(disk, or(event, or(prepared, or(input, tick))))).await
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial { link, conn, endpoint } => self.dial(link, conn, endpoint),
            Action::HangUp { link } => drop(self.lines.remove(&link)),
            Action::Tell { link, order } => self.tell(link, order),
            Action::Look { link, conn } => self.look(link, conn),
            Action::Disk(order) => self.store.order(order),
            Action::Answer(request, answer) => {
                if let Some(reply) = self.offers.remove(&request) {
                    let _ = reply.try_send(Ok(answer));
                }
            }
            Action::GiveBack(request, drafts) => {
                if let Some(reply) = self.offers.remove(&request) {
                    let _ = reply.try_send(Err(drafts));
                }
            }
            Action::ReplyToCommand { request, outcome } => {
                if let Some(reply) = self.commands.remove(&request) {
                    let _ = reply.try_send(outcome.map_err(|error| error.to_string()));
                }
            }
            Action::Prepare { request } => self.prepare(request),
            Action::TakeOver { request } => self.take_over(request),
            Action::Succeed { request } => self.succeed(request),
            Action::StartAnew => self.start_anew(),
            Action::DropSuccessor => self.drop_successor(),
            Action::ReplyToReload { request, outcome } => self.reply_to_reload(request, outcome),
            Action::Note(log_event) => logger::write_down(&log_event),
            Action::LookAtHost => self.overdue.push_back(Event::Host(self.machine.look())),
            Action::CloseSources => {
                if self.successor.is_none() {
                    self.supervisor.stopping();
                }
                self.taps.clear();
                self.servers.close();
                self.sources.close();
                self.subscribers.clear();
                drop(self.intake.alive.take());
            }
            Action::Exit => self.ended = true,
        }
    }

    fn dial(&mut self, link: LinkId, conn: ConnectionId, endpoint: EndpointId) {
        let peer = match self.agent.source(link) {
            Some(own) => self.sources.feed(own).map(|feed| Peer::Source(Rc::new(feed))),
            None => setup::peer(&self.config.agent.id, &self.agent, link),
        };
        let Some(peer) = peer else { return };
        let (reports, reported) = bounded(REPORTS);
        let (orders, ordered) = bounded(match &peer {
            Peer::Client { orders, .. } => *orders,
            Peer::Mqtt(_) => setup::MQTT_WINDOW + ORDERS,
            Peer::Source(_) => ORDERS,
        });
        let gauge = Gauge::default();
        let counts = gauge.clone();
        let life = match &peer {
            Peer::Client { uplink, .. } => {
                let uplink = Rc::clone(uplink);
                self.executor.spawn(outlet::run(uplink, endpoint, ordered, reports, counts))
            }
            Peer::Mqtt(broker) => self.executor.spawn(mqtt::run(Rc::clone(broker), ordered, reports, counts)),
            Peer::Source(feed) => self.executor.spawn(broker::run(Rc::clone(feed), ordered, reports, counts)),
        };
        let passing_on = pass_on(link, conn, reported, self.events.0.clone());
        let task = self.executor.spawn(async {
            zip(life, passing_on).await;
        });
        self.lines.insert(link, Connection { conn, orders, peer, gauge, _task: task, _probe: None });
    }

    fn look(&mut self, link: LinkId, conn: ConnectionId) {
        let Some(line) = self.lines.get(&link).filter(|line| line.conn == conn) else { return };
        let report = LinkReport::Traffic(line.gauge.read());
        self.overdue.push_back(Event::Link { link, conn, report });
    }

    fn probe(&mut self, link: LinkId, endpoint: EndpointId) {
        let Some(line) = self.lines.get_mut(&link) else { return };
        let Peer::Client { uplink, .. } = &line.peer else { return };
        let (uplink, events, conn) = (Rc::clone(uplink), self.events.0.clone(), line.conn);
        line._probe = Some(self.executor.spawn(async move {
            let report = LinkReport::Probed(outlet::probe(&uplink.client, endpoint).await);
            let _ = events.send(Event::Link { link, conn, report }).await;
        }));
    }

    fn tell(&mut self, link: LinkId, order: LinkOrder) {
        if let LinkOrder::Probe(endpoint) = order {
            return self.probe(link, endpoint);
        }
        let Some(line) = self.lines.get(&link) else { return };
        // A connection that has ended says so by itself. One that takes no orders must end: the agent would count on
        // what was never sent.
        if let Err(TrySendError::Full(_)) = line.orders.try_send(order) {
            let (conn, error) = (line.conn, "it takes no orders".to_owned());
            self.lines.remove(&link);
            self.overdue.push_back(Event::Link {
                link,
                conn,
                report: LinkReport::Closed { closing: Closing::Plain, error },
            });
        }
    }
}

async fn pass_on(link: LinkId, conn: ConnectionId, reports: Receiver<LinkReport>, events: Sender<Event>) {
    while let Ok(report) = reports.recv().await {
        let _ = events.send(Event::Link { link, conn, report }).await;
    }
}
