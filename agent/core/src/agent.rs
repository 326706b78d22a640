//! The whole agent as one state machine: events in, actions out. It composes the links, the buffer and the presence, and
//! adds what lies between them: who is sent what, who is told what, and how a stop goes.

mod command;
mod connection;
mod event;
mod inbound;
mod leaving;
mod left_behind;
mod link_context;
mod loss;
mod machine;
mod news;
mod offer;
mod poison;
mod query;
mod reconfigure;
mod reply;
mod send;
mod stop;
mod store;
mod topology;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

pub use self::command::{CommandError, LinkCommand};
pub use self::event::{Action, Event};
use self::leaving::Leaving;
pub(crate) use self::link_context::{Fetched, LinkContext};
pub use self::query::{Query, Reply};
use self::stop::Stop;
use crate::clocks::Clocks;
use crate::device::presence::Presence;
use crate::ids::{LinkId, RequestId, Table};
use crate::observe::host::Host;
use crate::observe::status::{ServerStatus, StatusPace};
use crate::outlet::buffer::{Buffer, BufferEffect};
use crate::outlet::lane::Routes;
use crate::outlet::order_queue::OrderQueue;
use crate::outlet::store_protocol::{Opened, StoreOrder};
use crate::seed::Seed;
pub use crate::setup::{LinkSetup, MqttSetup, Setup, SourceSetup};
use crate::time::{Now, Time};

/// The agent.
#[derive(Debug)]
pub struct Agent {
    pub(crate) setup: Setup,
    pub(crate) links: Table<LinkId, LinkContext>,
    pub(crate) buffer: Buffer,
    pub(crate) presence: Presence,
    pub(crate) host: Host,
    pub(crate) clocks: Clocks,
    queue: OrderQueue,
    pub(crate) started: Now,
    pub(crate) repairs: Vec<String>,
    left_behind: left_behind::LeftBehind,
    pub(crate) rejected: Option<String>,
    /// The reload that goes on.
    reloading: Option<RequestId>,
    /// Whether another life begins when this one has ended.
    succeeded: bool,
    pub(crate) servers: BTreeMap<String, ServerStatus>,
    routes: Routes,
    /// Messages on their way to the dead letters.
    leaving: Leaving,
    status: StatusPace,
    /// Last device that was announced to the broker on this connection; none when all are.
    announced: Option<String>,
    /// How often news of devices had become too old before it was sent, when that was last looked at.
    news_expired: u64,
    /// Applications of which the broker was told.
    applications: BTreeSet<String>,
    seed: Seed,
    stop: Stop,
}

impl Agent {
    /// An agent that goes on after its last run.
    pub fn new(mut setup: Setup, opened: &Opened, now: Now) -> Self {
        let clients = std::mem::take(&mut setup.links);
        let links = topology::lines(&clients, setup.mqtt.as_ref(), &setup.sources, now);
        let owners = topology::owners(&links, &setup, &opened.outlets);
        let mut agent = Agent {
            buffer: Buffer::new(setup.buffer, owners, &setup.new_epochs, opened, setup.run, now.wall_ns),
            routes: Routes::default(),
            links,
            presence: Presence::new(setup.presence.clone(), opened.presence.as_deref(), now.mono),
            host: Host::new(setup.host.interval, now.mono),
            clocks: Clocks::new(opened.clocks.as_deref(), now.mono),
            queue: OrderQueue::default(),
            started: now,
            repairs: opened.repairs.clone(),
            left_behind: left_behind::LeftBehind::new(&opened.left_behind),
            rejected: None,
            reloading: None,
            succeeded: false,
            servers: BTreeMap::new(),
            leaving: Leaving::default(),
            status: StatusPace::default(),
            announced: None,
            news_expired: 0,
            applications: BTreeSet::new(),
            seed: Seed::new(setup.seed),
            stop: Stop::Running,
            setup,
        };
        agent.take_lanes();
        agent.route();
        agent.links.ids().for_each(|link| agent.recall_frame_limit(link));
        for before in std::mem::take(&mut agent.setup.proven) {
            agent.try_against(before);
        }
        agent.rebind();
        agent
    }

    /// Takes in one event and adds what is to be done.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Offer { request, drafts, from } => self.offered(now, request, drafts, from, out),
            Event::Reimport { request, outlet, messages } => {
                self.offered_again(now, request, outlet, messages, out);
            }
            Event::Connected(device) => {
                if self.presence.connected(now, &device) {
                    self.notify(now, &device, out);
                }
            }
            Event::Disconnected(device) => self.presence.disconnected(now, &device),
            Event::Departed(device) => {
                if self.presence.departed(now, &device) {
                    self.notify(now, &device, out);
                }
            }
            Event::Link { link, conn, report } => self.reported(now, link, conn, report, out),
            Event::Disk(report, facts) => self.disk(now, report, facts, out),
            Event::StoreMoves => self.buffer.heard(now.mono),
            Event::Host(facts) => self.saw_host(now, facts, out),
            Event::Command { request, client, command } => {
                let outcome = self.command(now, &client, command, out);
                out.push(Action::ReplyToCommand { request, outcome });
            }
            Event::Reload { request } => self.begin_reload(request, out),
            Event::Prepared { request, outcome } => self.end_reload(now, request, outcome, out),
            Event::Rejected(why) => self.rejected = why,
            Event::Servers(facts) => self.servers = facts,
            Event::Stop => {
                self.end_for_good(out);
                self.begin_stop(now, out);
            }
            Event::Tick => {}
        }
    }

    /// Does what the events before made due. To be called once after each batch of [`Agent::step`], with what they added to `out`
    /// and nothing else: the orders to the disk among it wait for their turn.
    pub fn advance(&mut self, now: Now, out: &mut Vec<Action>) {
        self.do_what_is_due(now, out);
        for action in out.extract_if(.., |action| matches!(action, Action::Disk(_))) {
            if let Action::Disk(order) = action {
                self.queue.push(order);
            }
        }
        out.extend(std::iter::from_fn(|| self.queue.give()).map(Action::Disk));
    }

    fn do_what_is_due(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.is_ending().is_some() {
            self.buffer.end_news();
            return self.go_on_stopping(now, out);
        }
        if let Some(bytes) = self.clocks.look(now) {
            out.push(Action::Disk(StoreOrder::SaveClocks(bytes)));
        }
        self.tell_at_start(out);
        // A link that goes back to its old settings dials in the same step.
        self.judge_trials(now, out);
        self.look_after_volatile(now, out);
        for link in self.links.ids() {
            if self.waits_for_store(&self.links[link]) {
                continue;
            }
            let mut effects = Vec::new();
            self.links[link].link.advance(now.mono, &mut self.seed, &mut effects);
            self.apply(now, link, effects, out);
        }
        self.take_in(now, out);
        for device in self.presence.advance(now) {
            self.notify(now, &device, out);
        }
        if let Some(bytes) = self.presence.save(now.mono) {
            out.push(Action::Disk(StoreOrder::SavePresence(bytes)));
        }
        self.announce(now, out);
        self.set_aside_again(out);
        for link in self.links.ids() {
            self.send(now, link, out);
        }
        let mut effects = Vec::new();
        self.buffer.expire(now, &self.clocks, &mut effects);
        self.buffer.advance(now.mono, &mut effects);
        act(effects, out);
        if self.publish_status(now, out) || self.host.is_due(now.mono) {
            out.push(Action::LookAtHost);
        }
        self.go_on_stopping(now, out);
    }

    /// When [`Agent::advance`] has something to do that no event announces.
    pub fn deadline(&self) -> Option<Time> {
        if let Some(until) = self.is_ending() {
            return until;
        }
        let links = self.links.iter().filter(|line| !self.waits_for_store(line));
        let links = links.filter_map(LinkContext::deadline).min();
        let stop = match self.stop {
            Stop::Running | Stop::Done => None,
            Stop::Flushing { until } | Stop::Closing { until } | Stop::Saving { until } => Some(until),
        };
        let status = self.status.deadline().filter(|_| self.mqtt_is_up());
        let paced =
            self.links.iter().filter(|line| line.link.may_send()).filter_map(|line| self.paced(line)).min();
        let own = [
            self.buffer.deadline(),
            self.presence.deadline(),
            self.host.deadline(),
            self.clocks.deadline(),
            paced,
            self.trial_deadline(),
        ];
        [links, stop, status].into_iter().chain(own).flatten().min()
    }
}

fn act(effects: Vec<BufferEffect>, out: &mut Vec<Action>) {
    out.extend(effects.into_iter().map(|effect| match effect {
        BufferEffect::Disk(order) => Action::Disk(order),
        BufferEffect::Answer(request, answer) => Action::Answer(request, answer),
        BufferEffect::GiveBack(request, drafts) => Action::GiveBack(request, drafts),
        BufferEffect::Note(log_event) => Action::Note(log_event),
    }));
}

#[cfg(test)]
mod tests;
