//! The whole agent as one state machine: events in, actions out. It composes the links, the buffer and the presence, and
//! adds what lies between them: who is sent what, who is told what, and how a stop goes.

mod again;
mod reconfigure;
mod stop;

use std::time::Duration;

use self::stop::Stop;
use super::buffer::{Buffer, BufferEffect, BufferState};
use super::disk::{DiskFacts, DiskOrder, DiskReport, Opened};
use super::health::Health;
use super::host::{Host, HostFacts};
use super::intake::{Answer, Draft, Refused};
use super::link::{Link, LinkEffect, LinkRule};
use super::notice::Notice;
use super::outbox::Room;
use super::port::{LinkOrder, LinkReport, Publication};
use super::presence::Presence;
use super::seed::Seed;
pub use super::setup::{LinkSetup, MqttSetup, Setup};
use super::status::{self, StatusPace};
use super::time::{Now, Time};
use crate::message::Message;

/// Different ways to refuse a connection that are told until it is up again.
const REFUSALS_TOLD: usize = 4;
/// A fact from the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A source hands over a batch and waits for the answer under this ticket.
    Offer {
        /// Names the answer.
        ticket: u64,
        /// At least one.
        drafts: Vec<Draft>,
    },
    /// Messages that were taken once come in again, with the time that they have.
    Again {
        /// Names the answer.
        ticket: u64,
        /// Name of the one outlet that they are for.
        outlet: String,
        /// At least one.
        messages: Vec<Message>,
    },
    /// A connection for a device opened.
    Connected(String),
    /// A connection for a device closed.
    Disconnected(String),
    /// A connection's task reports.
    Link {
        /// Which link.
        link: usize,
        /// Which connection of it.
        conn: u64,
        /// What it reports.
        report: LinkReport,
    },
    /// The store's thread reports.
    Disk(DiskReport, DiskFacts),
    /// A look at the machine found this.
    Host(HostFacts),
    /// Another configuration with the same outlets is in force.
    Reconfigure {
        /// What the agent is made of.
        setup: Box<Setup>,
        /// For each link, whether it must connect anew.
        links: Vec<bool>,
    },
    /// Someone asked the agent to stop.
    Stop,
    /// A deadline has passed.
    Tick,
}

/// An order to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a connection; the one before is gone.
    Dial {
        /// Which link.
        link: usize,
        /// Number of the new connection.
        conn: u64,
    },
    /// Drop the connection.
    HangUp {
        /// Which link.
        link: usize,
    },
    /// Tell the connection's task.
    Tell {
        /// Which link.
        link: usize,
        /// What.
        order: LinkOrder,
    },
    /// Tell the store's thread.
    Disk(DiskOrder),
    /// Look at the machine, and tell as `Event::Host` before anything else.
    LookAtHost,
    /// Answer a batch.
    Answer(u64, Answer),
    /// Write a line to the log.
    Note(Notice),
    /// Close the listeners and their connections.
    CloseSources,
    /// End.
    Exit,
}

/// The agent.
#[derive(Debug)]
pub struct Agent {
    pub(super) setup: Setup,
    pub(super) links: Vec<Line>,
    pub(super) buffer: Buffer,
    pub(super) presence: Presence,
    pub(super) host: Host,
    pub(super) started: Now,
    pub(super) repairs: Vec<String>,
    status: StatusPace,
    /// Last device that was announced to the broker on this connection; none when all are.
    announced: Option<String>,
    seed: Seed,
    stop: Stop,
}

/// A link and what belongs to its connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) link: Link,
    pub(super) last_confirmed_ns: Option<u64>,
    pub(super) certificate_days_left: Option<i64>,
    pub(super) received: u64,
    /// Numbers confirmed since the start, gaps included.
    pub(super) confirmed: u64,
    window: usize,
    hello: bool,
    conn: u64,
    /// Refused numbers that are not confirmed yet.
    nacked: std::collections::BTreeSet<u64>,
    /// The words of the failed dials since it was up last.
    refused_as: Vec<String>,
}

impl Agent {
    /// An agent that goes on after its last run.
    pub fn new(setup: Setup, opened: &Opened, now: Now) -> Self {
        let names = setup.outlets();
        let buffer = Buffer::new(setup.buffer, &names, &setup.births, opened, now.wall_ns);
        let clients = setup.links.iter().map(|own| Line::new(&own.id, &own.rule, own.window, own.hello, now));
        let mqtt = setup.mqtt.iter().map(|own| Line::new("mqtt", &own.rule, own.window, false, now));
        Agent {
            links: clients.chain(mqtt).collect(),
            buffer,
            presence: Presence::new(setup.presence.clone(), opened.presence.as_deref(), now.mono),
            host: Host::new(setup.host.interval, now.mono),
            started: now,
            repairs: opened.repairs.clone(),
            status: StatusPace::default(),
            announced: None,
            seed: Seed::new(setup.seed),
            stop: Stop::Running,
            setup,
        }
    }

    /// Takes in one event and adds what is to be done.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Offer { ticket, drafts } => self.offered(now, ticket, drafts, out),
            Event::Again { ticket, outlet, messages } => {
                self.offered_again(now, ticket, outlet, messages, out);
            }
            Event::Connected(device) => {
                if self.presence.connected(now, &device) {
                    self.notify(now, &device, out);
                }
            }
            Event::Disconnected(device) => self.presence.disconnected(now, &device),
            Event::Link { link, conn, report } => self.reported(now, link, conn, report, out),
            Event::Disk(report, facts) => self.disk(now, report, facts, out),
            Event::Host(facts) => self.saw_host(now, facts, out),
            Event::Reconfigure { setup, links } => self.reconfigure(now, *setup, &links, out),
            Event::Stop => self.begin_stop(now, out),
            Event::Tick => {}
        }
    }

    /// Does what the events before made due. To be called once after each batch of [`Agent::step`].
    pub fn advance(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.is_ending().is_some() {
            return self.go_on_stopping(now, out);
        }
        for link in 0..self.links.len() {
            let mut effects = Vec::new();
            self.links[link].link.advance(now.mono, &mut self.seed, &mut effects);
            self.apply(now, link, effects, out);
        }
        for device in self.presence.advance(now) {
            self.notify(now, &device, out);
        }
        if let Some(bytes) = self.presence.save(now.mono) {
            out.push(Action::Disk(DiskOrder::SavePresence(bytes)));
        }
        self.announce(now, out);
        for link in 0..self.links.len() {
            self.send(now, link, out);
        }
        let mut effects = Vec::new();
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
        let links = self.links.iter().filter_map(|line| line.link.deadline()).min();
        let stop = match self.stop {
            Stop::Running | Stop::Done => None,
            Stop::Flushing { until } | Stop::Closing { until } | Stop::Saving { until } => Some(until),
        };
        let status = self.status.deadline().filter(|_| self.mqtt_is_up());
        let own = [self.buffer.deadline(), self.presence.deadline(), self.host.deadline()];
        [links, stop, status].into_iter().chain(own).flatten().min()
    }

    /// Whether messages can be taken, or the sources should be told why they can't.
    pub fn may_listen(&self) -> bool {
        !self.buffer.is_starting() || self.buffer.failure().is_some()
    }

    /// How often the agent has started.
    pub fn session(&self) -> u64 {
        self.buffer.session()
    }

    /// The epoch of a link's numbers.
    pub fn epoch(&self, link: usize) -> &str {
        &self.buffer.outbox(link).epoch
    }

    /// What the broker publishes when the agent is gone without a word.
    pub fn will(&self) -> Option<Publication> {
        let payload = status::last_words(self, "lost");
        Some(Publication { topic: format!("{}/status", self.setup.mqtt.as_ref()?.prefix), payload })
    }

    /// How the agent and everything around it is, with the devices.
    pub fn status(&self, now: Now) -> serde_json::Value {
        status::whole(self, now)
    }

    /// The id of a link, `mqtt` for the broker's.
    pub fn name(&self, link: usize) -> &str {
        &self.links[link].id
    }

    /// Last confirmed number of each link.
    pub fn confirmed(&self) -> Vec<u64> {
        (0..self.links.len()).map(|link| self.buffer.outbox(link).confirmed()).collect()
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

    fn mqtt_line(&self) -> Option<usize> {
        self.setup.mqtt.as_ref().map(|_| self.setup.links.len())
    }

    fn mqtt_is_up(&self) -> bool {
        self.mqtt_line().is_some_and(|line| self.links[line].link.is_up())
    }

    fn offered(&mut self, now: Now, ticket: u64, drafts: Vec<Draft>, out: &mut Vec<Action>) {
        if self.stop != Stop::Running {
            out.push(Action::Answer(ticket, Answer::Refused(Refused::Stopping)));
            return;
        }
        let mut changed = Vec::new();
        for device in drafts.iter().filter_map(|draft| draft.device.as_ref()) {
            if self.presence.heard(now, device) {
                changed.push(device.clone());
            }
        }
        let outlets: Vec<usize> = (0..self.setup.links.len()).collect();
        let mut effects = Vec::new();
        self.buffer.offer(now, Some(ticket), drafts, &outlets, &mut effects);
        act(effects, out);
        changed.iter().for_each(|device| self.notify(now, device, out));
    }

    fn reported(&mut self, now: Now, link: usize, conn: u64, report: LinkReport, out: &mut Vec<Action>) {
        if self.links[link].conn != conn {
            return;
        }
        let report = match report {
            LinkReport::Nack { seq, reason } => return self.nacked(now, link, seq, reason, out),
            LinkReport::Inbound { .. } => {
                self.links[link].received += 1;
                return;
            }
            report => self.believable(link, report, out),
        };
        let mut effects = Vec::new();
        self.links[link].link.handle(now.mono, &report, &mut self.seed, &mut effects);
        self.apply(now, link, effects, out);
    }

    /// A peer can't have what it was not sent, on this connection or, when it resumes, on any.
    fn believable(&self, link: usize, report: LinkReport, out: &mut Vec<Action>) -> LinkReport {
        let outbox = self.buffer.outbox(link);
        let (seq, sent) = match report {
            LinkReport::Ack(seq) => (seq, outbox.sent()),
            LinkReport::Resume(seq) => (seq.saturating_sub(1), outbox.ever_sent()),
            other => return other,
        };
        if seq > sent {
            let what = format!("acknowledged {seq}, sent was up to {sent}");
            out.push(Action::Note(Notice::PeerOdd { link: self.links[link].id.clone(), what }));
        }
        LinkReport::Ack(seq.min(sent))
    }

    fn nacked(&mut self, now: Now, link: usize, seq: u64, reason: String, out: &mut Vec<Action>) {
        let outbox = self.buffer.outbox(link);
        let known = seq > outbox.confirmed() && seq <= outbox.sent();
        if !known || !self.links[link].nacked.insert(seq) {
            return;
        }
        let message = outbox.in_memory(seq);
        let id = self.links[link].id.clone();
        out.push(Action::Note(Notice::Refused { link: id, seq, reason: reason.clone() }));
        out.push(Action::Disk(DiskOrder::SetAside { outlet: link, seq, reason, message }));
        self.take_confirmation(now, link, None, out);
    }

    fn disk(&mut self, now: Now, report: DiskReport, facts: DiskFacts, out: &mut Vec<Action>) {
        if report == DiskReport::Closed {
            self.stop = Stop::Done;
            out.push(Action::Exit);
            return;
        }
        if matches!(report, DiskReport::Failed { order: "save presence", .. }) {
            self.presence.save_failed();
        }
        let mut effects = Vec::new();
        self.buffer.handle(now.mono, report, facts, &mut effects);
        act(effects, out);
    }

    fn apply(&mut self, now: Now, link: usize, effects: Vec<LinkEffect>, out: &mut Vec<Action>) {
        for effect in effects {
            match effect {
                LinkEffect::Dial => {
                    self.links[link].conn += 1;
                    out.push(Action::Dial { link, conn: self.links[link].conn });
                }
                LinkEffect::HangUp => {
                    self.links[link].conn += 1;
                    out.push(Action::HangUp { link });
                }
                LinkEffect::Tell(order) => out.push(Action::Tell { link, order }),
                LinkEffect::Opened(peer) => self.opened(link, &peer, out),
                LinkEffect::Confirmed(seq) => self.take_confirmation(now, link, Some(seq), out),
                LinkEffect::Lost { error, retry_in, was_up, .. } => {
                    self.lost(link, error, retry_in, was_up, out);
                }
            }
        }
    }

    fn opened(&mut self, link: usize, peer: &super::port::Peer, out: &mut Vec<Action>) {
        self.buffer.link_changed(link, true);
        let outbox = self.buffer.outbox(link);
        let ((first, next), held) = (outbox.horizon(), outbox.unconfirmed());
        let line = &mut self.links[link];
        line.refused_as.clear();
        line.certificate_days_left = peer.certificate_days_left;
        out.push(Action::Note(Notice::LinkUp { link: line.id.clone(), peer: peer.address.clone(), held }));
        if line.hello {
            out.push(Action::Tell { link, order: LinkOrder::Hello { first, next } });
        }
        if self.mqtt_line() == Some(link) {
            self.status.hurry();
            self.announced = Some(String::new());
        }
    }

    fn lost(&mut self, link: usize, error: String, retry_in: Duration, was_up: bool, out: &mut Vec<Action>) {
        self.buffer.link_changed(link, false);
        let line = &mut self.links[link];
        line.nacked.clear();
        let name = line.id.clone();
        if was_up {
            out.push(Action::Note(Notice::LinkLost { link: name, error, retry_in }));
            return;
        }
        // A peer that finds a new way to refuse each time must not fill the log.
        let again = line.refused_as.contains(&error) || line.refused_as.len() >= REFUSALS_TOLD;
        if !again {
            line.refused_as.push(error.clone());
        }
        out.push(Action::Note(Notice::LinkRefused { link: name, error, retry_in, again }));
    }

    /// Takes in a confirmation, and the refused numbers that follow right behind it.
    fn take_confirmation(&mut self, now: Now, link: usize, seq: Option<u64>, out: &mut Vec<Action>) {
        let before = self.buffer.outbox(link).confirmed();
        let mut effects = Vec::new();
        let mut changed = seq.is_some_and(|seq| self.buffer.confirm(link, seq, &mut effects));
        while self.links[link].nacked.remove(&(self.buffer.outbox(link).confirmed() + 1)) {
            changed |= self.buffer.confirm(link, self.buffer.outbox(link).confirmed() + 1, &mut effects);
        }
        act(effects, out);
        if changed {
            let confirmed = self.buffer.outbox(link).confirmed();
            let in_flight = self.buffer.outbox(link).in_flight();
            let line = &mut self.links[link];
            line.confirmed += confirmed - before;
            line.nacked.retain(|seq| *seq > confirmed);
            line.last_confirmed_ns = Some(now.wall_ns);
            line.link.progressed(now.mono, in_flight);
        }
    }

    fn send(&mut self, now: Now, link: usize, out: &mut Vec<Action>) {
        let line = &mut self.links[link];
        if !line.link.is_up() {
            return;
        }
        let room = Room { window: line.window, bytes: line.link.flight_bytes_max() };
        let outbox = self.buffer.outbox_mut(link);
        let entries = outbox.take(room);
        if entries.is_empty() {
            return;
        }
        let mut effects = Vec::new();
        line.link.sent(now.mono, outbox.sent(), &mut effects);
        out.push(Action::Tell { link, order: LinkOrder::Send(entries) });
        self.apply(now, link, effects, out);
    }

    /// Queues the news of a device for the broker.
    fn notify(&mut self, now: Now, device: &str, out: &mut Vec<Action>) {
        let online = self.presence.devices().get(device).is_some_and(|known| known.online);
        out.push(Action::Note(Notice::Device { device: device.to_owned(), online }));
        self.queue_state(now, device, out);
    }

    fn queue_state(&mut self, now: Now, device: &str, out: &mut Vec<Action>) {
        let (Some(line), Some(mqtt)) = (self.mqtt_line(), self.setup.mqtt.as_ref()) else { return };
        let Some(draft) = status::device_news(&mqtt.prefix, device, &self.presence) else { return };
        let mut effects = Vec::new();
        if !self.buffer.offer(now, None, vec![draft], &[line], &mut effects) {
            self.announced = Some(String::new());
        }
        act(effects, out);
    }

    /// On a new connection to the broker, which may have forgotten everything, and after news that could not be queued, tells the state of every device; after
    /// what was held for it, so that the last word is the newest.
    fn announce(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(line) = self.mqtt_line().filter(|_| self.mqtt_is_up()) else { return };
        let has_room = matches!(self.buffer.state(), BufferState::Empty | BufferState::Holding);
        if self.announced.is_none()
            || !self.buffer.outbox(line).is_drained()
            || self.buffer.is_starting()
            || !has_room
        {
            return;
        }
        let after = self.announced.take().unwrap_or_default();
        let rest = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let window = self.links[line].window;
        let next: Vec<String> =
            self.presence.devices().range(rest).take(window).map(|(id, _)| id.clone()).collect();
        self.announced = next.last().cloned();
        next.iter().for_each(|device| self.queue_state(now, device, out));
    }

    fn saw_host(&mut self, now: Now, facts: HostFacts, out: &mut Vec<Action>) {
        let due = self.host.saw(now.mono, facts);
        out.push(Action::Disk(DiskOrder::Measure));
        if !due || self.stop != Stop::Running {
            return;
        }
        let draft = self.host.draft(self.buffer.facts().free_bytes);
        let outlets: Vec<usize> = (0..self.setup.links.len()).collect();
        let mut effects = Vec::new();
        self.buffer.offer(now, None, vec![draft], &outlets, &mut effects);
        act(effects, out);
    }

    /// Publishes the status if it is due. Returns whether the machine must be looked at first.
    fn publish_status(&mut self, now: Now, out: &mut Vec<Action>) -> bool {
        let (Some(link), Some(mqtt)) = (self.mqtt_line(), self.setup.mqtt.as_ref()) else { return false };
        let digest = status::digest(self);
        if !self.mqtt_is_up() || !self.status.is_due(now.mono, digest) {
            return false;
        }
        if self.host.is_stale(now.mono) {
            return true;
        }
        self.status.published(now.mono, digest, mqtt.status_interval);
        let topic = format!("{}/status", mqtt.prefix);
        let payload = status::message(self, now);
        out.push(Action::Tell { link, order: LinkOrder::Publish(Publication { topic, payload }) });
        false
    }
}

impl Line {
    fn new(id: &str, rule: &LinkRule, window: usize, hello: bool, now: Now) -> Self {
        Line {
            id: id.to_owned(),
            link: Link::new(rule.clone(), now.mono),
            last_confirmed_ns: None,
            certificate_days_left: None,
            received: 0,
            confirmed: 0,
            window,
            hello,
            conn: 0,
            nacked: std::collections::BTreeSet::new(),
            refused_as: Vec::new(),
        }
    }
}

fn act(effects: Vec<BufferEffect>, out: &mut Vec<Action>) {
    out.extend(effects.into_iter().map(|effect| match effect {
        BufferEffect::Disk(order) => Action::Disk(order),
        BufferEffect::Answer(ticket, answer) => Action::Answer(ticket, answer),
        BufferEffect::Note(notice) => Action::Note(notice),
    }));
}

#[cfg(test)]
mod tests;
