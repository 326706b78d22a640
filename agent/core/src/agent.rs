//! The whole agent as one state machine: events in, actions out. It composes the links, the buffer and the presence, and
//! adds what lies between them: who is sent what, who is told what, and how a stop goes.

mod again;
mod command;
mod event;
mod inbound;
mod leaving;
mod left_behind;
mod link_context;
mod loss;
mod machine;
mod news;
mod poison;
mod reconfigure;
mod reply;
mod stop;
mod topology;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use self::command::{CommandError, LinkCommand};
pub use self::event::{Action, Event};
use self::leaving::Leaving;
pub(crate) use self::link_context::LinkContext;
use self::poison::Turn;
use self::stop::Stop;
use crate::clocks::Clocks;
use crate::config::mqtt::Mqtt;
use crate::config::network::Remote;
use crate::device::presence::Presence;
use crate::ids::{ConnectionId, LinkId, OutletId, RequestId, Table};
use crate::link::LinkEffect;
use crate::link::poison::MessageRef;
use crate::link::protocol::{LinkOrder, LinkReport, Publication};
use crate::observe::health::Health;
use crate::observe::host::Host;
use crate::observe::log_event::LogEvent;
use crate::observe::status::{self, ServerStatus, Status, StatusPace};
use crate::outlet::buffer::{Buffer, BufferEffect};
use crate::outlet::given::Given;
use crate::outlet::lane::{self, Routes};
use crate::outlet::order_queue::OrderQueue;
use crate::outlet::queue::{OutletQueue, Room};
use crate::outlet::store_protocol::{Opened, StoreFacts, StoreOrder, StoreOrderKind, StoreReport};
use crate::seed::Seed;
pub use crate::setup::{LinkSetup, MqttSetup, Setup};
use crate::source::intake::{Answer, Draft, Refused};
use crate::source::mqtt::packet::Version;
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
        let links = topology::lines(&clients, setup.mqtt.as_ref(), now);
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
        let links = self.links.iter().filter_map(LinkContext::deadline).min();
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

    /// Whether messages can be taken, or the sources should be told why they can't.
    pub fn may_listen(&self) -> bool {
        !self.buffer.is_starting() || self.buffer.failure().is_some()
    }

    /// What was given of the numbers until now. It must be safe from the agent's end before any of its actions is carried out.
    pub fn given(&self) -> Given {
        self.buffer.given()
    }

    /// Whether no number may be given yet.
    pub fn is_starting(&self) -> bool {
        self.buffer.is_starting()
    }

    /// How often the agent has started.
    pub fn session(&self) -> u64 {
        self.buffer.session()
    }

    /// The lanes of a link in rising priority, the first of priority 0: priority and epoch of each.
    pub fn lanes(&self, link: LinkId) -> impl Iterator<Item = (u8, &str)> {
        let lanes = self.links[link].lanes.iter();
        lanes.map(|(priority, outlet)| (*priority, self.buffer.queue(*outlet).epoch.as_str()))
    }

    /// The settings of a client's link that are in force.
    pub fn settings(&self, link: LinkId) -> Option<&LinkSetup> {
        self.links.find(link)?.own()
    }

    /// The table of the broker, if this is its link.
    pub fn broker(&self, link: LinkId) -> Option<&Arc<Mqtt>> {
        let mqtt = self.setup.mqtt.as_ref()?;
        (self.mqtt_line() == Some(link)).then_some(&mqtt.table)
    }

    /// The version of MQTT in which the last connection of a link was made.
    pub fn spoken_version(&self, link: LinkId) -> Option<Version> {
        self.links.find(link)?.terms.map(|terms| terms.version)
    }

    /// How long messages of a link live, if not for ever.
    pub fn ttl(&self, link: LinkId) -> Option<Duration> {
        self.links.find(link)?.bounds(&self.setup).ttl
    }

    /// What the broker publishes when the agent is gone without a word.
    pub fn will(&self) -> Option<Publication> {
        let payload = status::last_words(self, "lost");
        let setup = self.setup.mqtt.as_ref().filter(|setup| setup.table.will)?;
        Some(Publication { topic: format!("{}/status", setup.prefix), payload })
    }

    /// How the agent and everything around it is, with the devices.
    pub fn status(&self, now: Now) -> Status {
        status::whole(self, now)
    }

    /// The id of a link, `mqtt` for the broker's.
    pub fn name(&self, link: LinkId) -> &str {
        &self.links[link].id
    }

    /// The name of a link's outlet in the store; none for a number that no link has.
    pub fn outlet(&self, link: LinkId) -> Option<&str> {
        self.links.find(link).map(|line| line.outlet.as_str())
    }

    /// Last confirmed number of each lane of each link, with its priority.
    pub fn confirmed(&self) -> Vec<(LinkId, u8, u64)> {
        let lanes = self.links.pairs().flat_map(|(link, line)| {
            line.lanes.iter().map(move |(priority, outlet)| (link, *priority, *outlet))
        });
        lanes
            .map(|(link, priority, outlet)| (link, priority, self.buffer.queue(outlet).confirmed()))
            .collect()
    }

    /// Whether a number of an outlet, named as in the store, is confirmed.
    pub fn has_confirmed(&self, outlet: &str, seq: u64) -> bool {
        let own = self.buffer.queues().find(|own| own.name == outlet);
        own.is_some_and(|own| own.has_confirmed(seq))
    }

    fn queues(&self, link: LinkId) -> impl Iterator<Item = &OutletQueue> {
        self.links[link].lanes.iter().map(|(_, outlet)| self.buffer.queue(*outlet))
    }

    /// When a backlog that waits for its pace may go on.
    fn paced(&self, line: &LinkContext) -> Option<Time> {
        let waits = |outlet: OutletId| self.buffer.queue(outlet).is_behind(true);
        line.pace.opens_at().filter(|_| line.lanes.iter().any(|(_, outlet)| waits(*outlet)))
    }

    /// How it is, in a line.
    pub fn headline(&self) -> String {
        status::headline(self)
    }

    /// Whether the agent makes progress.
    pub fn health(&self, now: Now) -> Health {
        Health::of(self, now.mono)
    }

    /// Whether a status should not be shown before the machine was looked at again.
    pub fn wants_host(&self, now: Now) -> bool {
        self.host.is_stale(now.mono)
    }

    pub(crate) fn mqtt_line(&self) -> Option<LinkId> {
        self.link_of(lane::MQTT)
    }

    fn mqtt_is_up(&self) -> bool {
        self.mqtt_line().is_some_and(|line| self.links[line].link.is_up())
    }

    fn offered(
        &mut self,
        now: Now,
        request: RequestId,
        drafts: Vec<Draft>,
        from: Option<Remote>,
        out: &mut Vec<Action>,
    ) {
        if self.stop != Stop::Running {
            out.push(Action::Answer(request, Answer::Refused(Refused::Stopping)));
            return;
        }
        let mut changed = Vec::new();
        for device in drafts.iter().filter_map(|draft| draft.device.as_ref()) {
            if self.presence.heard(now, device, from) {
                changed.push(device.clone());
            }
        }
        let mut effects = Vec::new();
        self.buffer.offer(now, Some(request), drafts, from, &self.routes, &mut effects);
        act(effects, out);
        changed.iter().for_each(|device| self.notify(now, device, out));
    }

    fn reported(
        &mut self,
        now: Now,
        link: LinkId,
        conn: ConnectionId,
        report: LinkReport,
        out: &mut Vec<Action>,
    ) {
        if self.links[link].conn != conn {
            return;
        }
        // The connection that is left knows other settings: what a number stands for may not be the same any more.
        let confirms = matches!(report, LinkReport::Ack { .. } | LinkReport::Resume { .. });
        if confirms && self.links[link].link.is_leaving() {
            return;
        }
        match report {
            LinkReport::Nack { lane, seq, reason } => self.nacked(now, link, lane, seq, reason, out),
            LinkReport::Ack { lane, seq } => self.acknowledged(now, link, lane, seq, out),
            LinkReport::Resume { lane, from } => self.resumed(now, link, lane, from, out),
            LinkReport::Inbound(heard) => self.heard(link, heard, out),
            LinkReport::StateRefused(reason) => self.state_refused(link, reason, out),
            LinkReport::Up(_)
            | LinkReport::DialFailed(_)
            | LinkReport::Pong(_)
            | LinkReport::OtherPong
            | LinkReport::Written(_)
            | LinkReport::Confirmed(_)
            | LinkReport::Probed(_)
            | LinkReport::Traffic(_)
            | LinkReport::Closed { .. } => {
                let mut effects = Vec::new();
                self.links[link].link.handle(now.mono, &report, &mut self.seed, &mut effects);
                self.apply(now, link, effects, out);
            }
        }
    }

    fn disk(&mut self, now: Now, report: StoreReport, facts: StoreFacts, out: &mut Vec<Action>) {
        self.queue.reported(&report);
        if report == StoreReport::Closed {
            self.stop = Stop::Done;
            out.push(Action::Exit);
            return;
        }
        if let StoreReport::Failed { order, outlet, .. } = &report {
            match (order, outlet) {
                (StoreOrderKind::SavePresence, _) => self.presence.save_failed(),
                (StoreOrderKind::SaveClocks, _) => self.clocks.save_failed(now.mono),
                (StoreOrderKind::SetAside, Some(outlet)) => self.leaving.failed(*outlet),
                // The buffer's.
                (
                    StoreOrderKind::Append
                    | StoreOrderKind::Read
                    | StoreOrderKind::Forget
                    | StoreOrderKind::DropOldest
                    | StoreOrderKind::Expire
                    | StoreOrderKind::SetAside
                    | StoreOrderKind::SaveNumbers
                    | StoreOrderKind::Widen
                    | StoreOrderKind::Reopen
                    | StoreOrderKind::Measure
                    | StoreOrderKind::Close,
                    _,
                ) => {}
            }
        }
        if let StoreReport::Repaired { repairs } = &report {
            self.repairs.extend_from_slice(repairs);
        }
        let may_seat = report == StoreReport::NumbersSaved && self.stop == Stop::Running;
        let left = if let StoreReport::SetAside { outlet, seq, .. } = &report {
            Some(MessageRef { outlet: *outlet, seq: *seq })
        } else {
            None
        };
        let mut effects = Vec::new();
        self.buffer.handle(now.mono, report, facts, &mut effects);
        act(effects, out);
        if let Some(message) = left {
            self.left(now, message, out);
        }
        if may_seat {
            self.seat_new(now, out);
        }
    }

    fn apply(&mut self, now: Now, link: LinkId, effects: Vec<LinkEffect>, out: &mut Vec<Action>) {
        for effect in effects {
            match effect {
                LinkEffect::Dial(endpoint) => {
                    self.links[link].conn = self.links[link].conn.next();
                    out.push(Action::Dial { link, conn: self.links[link].conn, endpoint });
                }
                LinkEffect::Left => self.moves(link, out),
                LinkEffect::HangUp => {
                    self.links[link].conn = self.links[link].conn.next();
                    out.push(Action::HangUp { link });
                }
                LinkEffect::Tell(order) => out.push(Action::Tell { link, order }),
                LinkEffect::Look => out.push(Action::Look { link, conn: self.links[link].conn }),
                LinkEffect::Opened(peer) => self.opened(link, &peer, out),
                LinkEffect::Unechoed => self.note_unechoed(link, out),
                LinkEffect::Confirmed(ordinal) => {
                    self.control_read(now, link, ordinal, out);
                    self.take_confirmation(now, link, out, |agent, effects| {
                        let lanes = agent.links[link].lanes.clone();
                        lanes.iter().fold(false, |changed, (_, outlet)| {
                            agent.buffer.confirm_sent(*outlet, ordinal, effects) || changed
                        })
                    });
                }
                LinkEffect::Lost { error, retry_in, because, was_up, closing } => {
                    if !was_up {
                        // The peer may speak another version by now.
                        self.links[link].terms = None;
                    }
                    self.look_for_poison(now, link, closing, &error, out);
                    self.note_taken_over(now, link, closing, &error);
                    self.lost(link, loss::Loss { error, retry_in, because }, was_up, out);
                }
            }
        }
    }

    fn opened(&mut self, link: LinkId, peer: &crate::link::protocol::Peer, out: &mut Vec<Action>) {
        let held = self.unconfirmed(link);
        self.start_of_trial(link);
        let line = &mut self.links[link];
        line.refused_as.clear();
        line.sent = 0;
        line.caution.came_up();
        line.offered = None;
        line.introduced = line.lanes.iter().map(|(_, outlet)| *outlet).collect();
        line.certificate_days_left = peer.certificate_days_left;
        line.terms = peer.terms;
        line.state_refused = None;
        out.push(Action::Note(LogEvent::LinkUp {
            link: line.id.clone(),
            peer: peer.address.clone(),
            held,
            terms: peer.terms,
        }));
        if let Some(bytes) = line.frames.learned() {
            out.push(Action::Tell { link, order: LinkOrder::FrameBytes(bytes) });
        }
        for (lane, (_, outlet)) in line.lanes.iter().enumerate() {
            self.buffer.came_up(*outlet, &line.replay);
            if line.hello {
                let (first, next) = self.buffer.queue(*outlet).horizon();
                out.push(Action::Tell { link, order: LinkOrder::Hello { lane, first, next } });
            }
        }
        if self.mqtt_line() == Some(link) {
            self.status.flush_now();
            self.announced = Some(String::new());
        }
    }

    pub(crate) fn go_down(&mut self, link: LinkId) {
        self.links[link].lanes.iter().for_each(|(_, outlet)| self.buffer.went_down(*outlet));
    }

    /// How many entries of a link are in flight, with how many bytes.
    fn in_flight(&self, link: LinkId) -> (usize, usize) {
        let of = |outbox: &OutletQueue| (outbox.flying(), outbox.load().1);
        self.queues(link).map(of).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// Takes in a confirmation: `confirm` tells whether anything changed by it.
    fn take_confirmation(
        &mut self,
        now: Now,
        link: LinkId,
        out: &mut Vec<Action>,
        confirm: impl FnOnce(&mut Agent, &mut Vec<BufferEffect>) -> bool,
    ) {
        let before: u64 = self.queues(link).map(OutletQueue::accounted).sum();
        let mut effects = Vec::new();
        let changed = confirm(self, &mut effects);
        act(effects, out);
        if changed {
            let confirmed = self.queues(link).map(OutletQueue::accounted).sum::<u64>() - before;
            let (entries, bytes) = self.in_flight(link);
            let line = &mut self.links[link];
            line.confirmed += confirmed;
            line.last_confirmed_ns = Some(now.wall_ns);
            line.link.progressed(now.mono, entries, bytes);
            self.note_confirmed(link, confirmed);
        }
    }

    fn send(&mut self, now: Now, link: LinkId, out: &mut Vec<Action>) {
        if !self.links[link].link.may_send() {
            return;
        }
        self.links[link].pace.advance(now.mono);
        let turn = self.turn(now, link, out);
        if turn == Turn::Nothing {
            return;
        }
        let line = &mut self.links[link];
        let load = |outlet: &(u8, OutletId)| self.buffer.queue(outlet.1).load();
        let (messages, bytes) = line.lanes.iter().map(load).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let flying = line.lanes.iter().map(|(_, outlet)| self.buffer.queue(*outlet).flying()).sum();
        let mut room = Room {
            messages: line.window.saturating_sub(messages).min(line.caution.room(flying)),
            bytes: line.link.flight_bytes_max().saturating_sub(bytes),
            idle: bytes == 0,
        };
        let before = line.sent;
        let mut sample = None;
        for (lane, (_, outlet)) in line.lanes.iter().enumerate().rev() {
            if !turn.admits(*outlet) {
                continue;
            }
            let outbox = self.buffer.queue_mut(*outlet);
            let entries = outbox.take(&mut room, &mut line.pace, &mut line.sent);
            if !entries.is_empty() {
                let entries = self.buffer.fresh(*outlet, now, &self.clocks, entries);
                sample = sample.or_else(|| poison::sample(*outlet, &entries));
                let order = LinkOrder::Send { lane, through: line.sent, entries };
                out.push(Action::Tell { link, order });
            }
            // Lower ones wait for what is being read, unless the disk cannot give it.
            let more = self.buffer.queue(*outlet).is_behind(true) && line.pace.is_open();
            if more && self.buffer.failure().is_none() {
                break;
            }
        }
        if line.sent > before {
            line.offered = line.offered.take().or(sample);
            let mut effects = Vec::new();
            let sent = line.sent;
            let (_, bytes) = self.in_flight(link);
            self.links[link].link.sent(now.mono, sent, bytes, &mut effects);
            self.apply(now, link, effects, out);
        }
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
