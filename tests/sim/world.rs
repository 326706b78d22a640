//! One seed's world: an agent, its disk, its peers and everything that can happen to them. After every step the promises
//! are checked; when nothing can move while work remains, the run fails at once.

mod age;
mod judge;
mod roster;
mod whim;

use std::collections::{BTreeMap, BTreeSet};

use holdfast::config::client::Confirm;
use holdfast::logic::agent::{Action, Agent, Event, LinkSetup, MqttSetup, Setup};
use holdfast::logic::disk::DiskOrder;
use holdfast::logic::host::HostFacts;
use holdfast::logic::intake::{Answer, Draft};
use holdfast::logic::notice::Notice;
use holdfast::logic::port::{LinkOrder, LinkReport};
use holdfast::logic::seed::Seed;
use holdfast::message::Format;

use self::age::Clocks;
use super::disk::Disk;
use super::peer::Peer;
use super::setup::{MQTT_WINDOW, setup};
use super::tally::Tally;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// A group of the simulated disk holds this many messages at most.
const GROUP: u64 = 20;

enum Pending {
    Offer,
    Connect,
    Reconfigure,
    /// A peer sends something of its own.
    Speak,
    Crash {
        power_cut: bool,
    },
    Stop,
    Start,
    Disk,
    ToPeer {
        link: usize,
        conn: u64,
        order: LinkOrder,
    },
    ToAgent {
        link: usize,
        conn: u64,
        report: LinkReport,
    },
    Cut {
        link: usize,
        conn: u64,
    },
    HalfOpen {
        link: usize,
        conn: u64,
    },
    WallJump,
    /// The time comes from the network.
    TimeArrives,
    /// People give up what is stored for an outlet.
    Purge,
    /// Somebody else fills the file system, or gives room back.
    Space,
    Heal,
}

/// A connection as the network sees it.
struct Conn {
    conn: u64,
    /// Nothing passes any more, and nobody is told.
    half_open: bool,
    up: bool,
    /// Frames arrive in order.
    up_at: u64,
    down_at: u64,
}

pub struct World {
    seed: Seed,
    now: u64,
    clocks: Clocks,
    queue: BTreeMap<(u64, u64), (u64, Pending)>,
    queued: u64,
    /// All links that there could be, the broker's not; a link's number here is its place among them, the broker's is the next.
    links: Vec<LinkSetup>,
    broker: Option<MqttSetup>,
    /// What is configured of them, and the rest.
    setup: Setup,
    agent: Option<Agent>,
    /// Counts the agent's lives; what belongs to an earlier one is gone.
    life: u64,
    disk: Disk,
    conns: Vec<Option<Conn>>,
    peers: Vec<Peer>,
    offers: BTreeMap<u64, Vec<Vec<u8>>>,
    ids: BTreeSet<u64>,
    stored: Vec<Vec<u8>>,
    /// When each message was offered.
    came: BTreeMap<Vec<u8>, u64>,
    /// For which links.
    takers: BTreeMap<Vec<u8>, Vec<usize>>,
    births: u64,
    /// Which message an outlet has under which number, as far as it showed.
    numbers: BTreeMap<(String, u64), Vec<u8>>,
    /// What each outlet gave up for its age, at its time.
    expired: BTreeSet<(usize, Vec<u8>)>,
    offered: u64,
    /// From here on nothing goes wrong any more.
    healed: bool,
    stopping_since: Option<u64>,
    /// Whether there was a power cut, so that what was not synced may come again.
    power_cut: bool,
    bounded: bool,
    bad_disk: bool,
    pub tally: Tally,
    /// Prints every event and action.
    pub trace: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut seed = Seed::new(seed);
        let bounded = seed.below(4) == 0;
        let setup = setup(&mut seed, bounded);
        let links = setup.links.len() + usize::from(setup.mqtt.is_some());
        let peer = |link: &LinkSetup| Peer::new(link.rule.confirm, link.hello, 0);
        let mut peers: Vec<Peer> = setup.links.iter().map(peer).collect();
        for (peer, link) in peers.iter_mut().zip(&setup.links) {
            peer.loose = !link.replay.keeps_order();
            peer.choking = if peer.confirm != Confirm::None && seed.below(8) == 0 { 50 } else { 0 };
        }
        for peer in peers.iter_mut().filter(|peer| peer.confirm == Confirm::Ack) {
            peer.nacking = if seed.below(4) == 0 { 20 } else { 0 };
        }
        peers.extend(setup.mqtt.iter().map(|_| Peer::new(Confirm::Ack, false, 0)));
        let mut disk = Disk::new();
        let bad_disk = seed.below(4) == 0;
        disk.failing = if bad_disk { 30 } else { 0 };
        let mut world = World {
            seed,
            now: 0,
            clocks: Clocks::default(),
            queue: BTreeMap::new(),
            queued: 0,
            links: setup.links.clone(),
            broker: setup.mqtt.clone(),
            setup,
            agent: None,
            life: 0,
            disk,
            conns: (0..links).map(|_| None).collect(),
            peers,
            offers: BTreeMap::new(),
            ids: BTreeSet::new(),
            stored: Vec::new(),
            came: BTreeMap::new(),
            takers: BTreeMap::new(),
            births: 0,
            numbers: BTreeMap::new(),
            expired: BTreeSet::new(),
            offered: 0,
            healed: false,
            stopping_since: None,
            power_cut: false,
            bounded,
            bad_disk,
            tally: Tally::default(),
            trace: false,
        };
        world.plan();
        world
    }

    /// Runs to the end: trouble for a while, then peace until everything is delivered.
    pub fn run(&mut self) -> Result<(), String> {
        loop {
            self.tally.steps += 1;
            let at = self.queue.keys().next().map(|(at, _)| *at);
            let deadline = self.agent.as_ref().and_then(Agent::deadline).map(|time| time.0.max(self.now));
            let Some(next) = at.into_iter().chain(deadline).min() else {
                return Err(format!("nothing can move at {}, {}", self.now, self.rest()));
            };
            self.now = next;
            if at == Some(next) {
                let (_, (life, pending)) = self.queue.pop_first().expect("has a key");
                self.happen(life, pending)?;
            } else {
                self.feed(Event::Tick)?;
            }
            if self.healed && self.is_quiet() {
                return self.judge();
            }
            if self.tally.steps > 400_000 {
                return Err(format!("no end in sight at {}, {}", self.now, self.rest()));
            }
        }
    }

    fn plan(&mut self) {
        self.at(0, Pending::Start);
        let trouble = SECOND * (20 + self.seed.below(100));
        let offers = 20 + self.seed.below(60);
        for _ in 0..offers {
            let at = self.seed.below(trouble);
            let pending = if self.seed.below(8) == 0 { Pending::Connect } else { Pending::Offer };
            self.at(at, pending);
        }
        for _ in 0..self.seed.below(5) {
            let (at, power_cut) = (self.seed.below(trouble), self.seed.below(2) == 0);
            let pending = if self.seed.below(4) == 0 { Pending::Stop } else { Pending::Crash { power_cut } };
            self.at(at, pending);
        }
        for _ in 0..self.seed.below(4) {
            let at = self.seed.below(trouble);
            self.at(at, Pending::Reconfigure);
        }
        for _ in 0..self.seed.below(10) {
            let at = self.seed.below(trouble);
            self.at(at, Pending::Speak);
        }
        for _ in 0..if self.bounded { self.seed.below(4) } else { 0 } {
            let at = self.seed.below(trouble);
            self.at(at, Pending::Purge);
        }
        for _ in 0..self.seed.below(3) {
            let at = self.seed.below(trouble);
            self.at(at, Pending::WallJump);
        }
        for _ in 0..self.seed.below(3) {
            let at = self.seed.below(trouble);
            self.at(at, Pending::TimeArrives);
        }
        for _ in 0..self.seed.below(3) {
            let at = self.seed.below(trouble);
            self.at(at, Pending::Space);
        }
        self.at(trouble, Pending::Heal);
    }

    fn at(&mut self, at: u64, pending: Pending) {
        self.queued += 1;
        self.queue.insert((at, self.queued), (self.life, pending));
    }

    fn after(&mut self, longest: u64, pending: Pending) {
        let at = self.now + 1 + self.seed.below(longest);
        self.at(at, pending);
    }

    fn happen(&mut self, life: u64, pending: Pending) -> Result<(), String> {
        let current = life == self.life;
        match pending {
            Pending::Offer => self.offer(),
            Pending::Connect => self.connect(),
            Pending::Reconfigure => self.reconfigure(),
            Pending::Speak => self.speak(),
            Pending::Crash { power_cut } => {
                self.crash(power_cut);
                Ok(())
            }
            Pending::Stop => self.stop(),
            Pending::Start => {
                if self.agent.is_none() {
                    self.start();
                }
                self.feed(Event::Tick)
            }
            Pending::Disk if current => {
                let Some((report, facts)) = self.disk.work(&mut self.seed) else { return Ok(()) };
                self.check_expired_on_disk()?;
                self.feed(Event::Disk(report, facts))
            }
            Pending::ToPeer { link, conn, order } if current => self.reach_peer(link, conn, order),
            Pending::ToAgent { link, conn, report } if current => self.reach_agent(link, conn, report),
            Pending::Cut { link, conn } if current => {
                let report = LinkReport::Closed { code: self.close_code(), error: "cut".to_owned() };
                self.tally.cuts += 1;
                if let Some(at) = self.conns[link].as_mut().filter(|at| at.conn == conn && at.up) {
                    at.up = false;
                    self.after(5 * MS, Pending::ToAgent { link, conn, report });
                }
                Ok(())
            }
            Pending::HalfOpen { link, conn } if current => {
                if let Some(at) = self.conns[link].as_mut().filter(|at| at.conn == conn) {
                    at.half_open = true;
                    self.tally.cuts += 1;
                }
                Ok(())
            }
            Pending::WallJump => {
                self.set_the_clock();
                Ok(())
            }
            Pending::TimeArrives => {
                self.time_arrives();
                Ok(())
            }
            Pending::Purge => self.purge(),
            Pending::Space => {
                self.disk.short = !self.disk.short && !self.healed;
                Ok(())
            }
            Pending::Heal => self.heal(),
            Pending::Disk
            | Pending::ToPeer { .. }
            | Pending::ToAgent { .. }
            | Pending::Cut { .. }
            | Pending::HalfOpen { .. } => Ok(()),
        }
    }

    fn start(&mut self) {
        let now = self.clock();
        // Routes come and go with the configuration, and what they left in a lane is delivered all the same.
        self.setup.priorities = if self.seed.below(2) == 0 { vec![0] } else { vec![0, 7] };
        // What is configured may have changed while nobody ran.
        if !self.healed && self.seed.below(4) == 0 {
            self.shuffle();
        }
        self.setup.births = self.births();
        let setup = Setup { seed: self.seed.draw(), ..self.setup.clone() };
        let opened = self.disk.opened(setup.outlets());
        self.agent = Some(Agent::new(setup, &opened, now));
    }

    fn heal(&mut self) -> Result<(), String> {
        self.healed = true;
        self.disk.failing = 0;
        self.disk.short = false;
        if self.agent.is_none() {
            self.after(SECOND, Pending::Start);
        }
        self.call_all()
    }

    fn crash(&mut self, power_cut: bool) {
        if self.healed || self.agent.take().is_none() {
            return;
        }
        self.tally.crashes += 1;
        self.disk.crash(power_cut, &mut self.seed);
        if power_cut {
            self.reboot();
        }
        self.power_cut |= power_cut;
        self.gone();
    }

    fn gone(&mut self) {
        self.agent = None;
        self.life += 1;
        self.offers.clear();
        self.stopping_since = None;
        self.conns.iter_mut().for_each(|conn| *conn = None);
        self.after(3 * SECOND, Pending::Start);
    }

    fn stop(&mut self) -> Result<(), String> {
        if self.agent.is_none() || self.healed {
            return Ok(());
        }
        self.stopping_since.get_or_insert(self.now);
        self.feed(Event::Stop)
    }

    fn offer(&mut self) -> Result<(), String> {
        if self.agent.is_none() {
            return Ok(());
        }
        let drafts: Vec<Draft> = (0..=self.seed.below(12)).map(|_| self.draft()).collect();
        let ticket = self.offered;
        self.offers.insert(ticket, drafts.iter().map(|draft| draft.payload.clone()).collect());
        self.came.extend(drafts.iter().map(|draft| (draft.payload.clone(), self.now)));
        let takers = self.seated();
        self.takers.extend(drafts.iter().map(|draft| (draft.payload.clone(), takers.clone())));
        self.feed(Event::Offer { ticket, drafts })
    }

    fn draft(&mut self) -> Draft {
        self.offered += 1;
        let device = (self.seed.below(3) == 0).then(|| format!("d{}", self.seed.below(4)));
        Draft {
            topic: "t".to_owned(),
            device,
            source: "server:sim".into(),
            format: Format::Text,
            payload: self.offered.to_string().into_bytes(),
            attributes: Vec::new(),
            priority: if self.seed.below(4) == 0 { 8 } else { 0 },
        }
    }

    fn connect(&mut self) -> Result<(), String> {
        let device = format!("d{}", self.seed.below(4));
        let event =
            if self.seed.below(2) == 0 { Event::Connected(device) } else { Event::Disconnected(device) };
        if self.agent.is_some() { self.feed(event) } else { Ok(()) }
    }

    fn feed(&mut self, event: Event) -> Result<(), String> {
        let now = self.clock();
        let Some(agent) = &mut self.agent else { return Ok(()) };
        if self.trace {
            println!("{:>12} life {} {event:?}", self.now / 1000, self.life);
        }
        let mut actions = Vec::new();
        agent.step(now, event, &mut actions);
        agent.advance(now, &mut actions);
        for action in actions {
            if self.trace {
                println!("{:>12}     {action:?}", "");
            }
            self.act(action)?;
        }
        let deadline = self.agent.as_ref().and_then(Agent::deadline);
        if deadline.is_some_and(|at| at <= now.mono) {
            return Err(format!("the loop spins: {deadline:?} at {:?}", now.mono));
        }
        let late = |since: &u64| self.now - since > 5 * SECOND;
        match self.stopping_since.as_ref().is_some_and(late) {
            true => Err("a stop took more than 5 s".to_owned()),
            false => Ok(()),
        }
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Dial { link, conn, .. } => self.dial(self.number(link), conn),
            Action::HangUp { link } => {
                let link = self.number(link);
                self.conns[link] = None;
            }
            Action::Tell { link, order } => {
                let link = self.number(link);
                self.check_reserved(link, &order)?;
                self.check_sent(link, &order)?;
                self.tell(link, order);
            }
            Action::Disk(order) => {
                if let DiskOrder::Append { parts } = &order {
                    for (outlet, entries) in parts {
                        let name = self.disk.name(*outlet).to_owned();
                        self.note_numbers(&name, entries);
                    }
                }
                self.disk.queue(order);
                let slow = if self.seed.below(20) == 0 { SECOND } else { 5 * MS };
                self.after(slow, Pending::Disk);
            }
            Action::Answer(ticket, answer) => return self.answered(ticket, &answer),
            Action::LookAtHost => return self.feed(Event::Host(HostFacts::default())),
            Action::GoBack { link } => return Err(format!("link {link} goes back, but nothing is on trial")),
            Action::Note(Notice::LinkMoves { .. }) => self.tally.moves += 1,
            Action::Note(_) | Action::CloseSources => {}
            Action::Exit => {
                self.gone();
            }
        }
        Ok(())
    }

    fn answered(&mut self, ticket: u64, answer: &Answer) -> Result<(), String> {
        let payloads = self.offers.remove(&ticket).ok_or(format!("ticket {ticket} was answered twice"))?;
        let Answer::Stored { first, last } = answer else { return Ok(()) };
        if last - first + 1 != payloads.len() as u64 {
            return Err(format!("{} messages were stored as {first} to {last}", payloads.len()));
        }
        if let Some(id) = (*first..=*last).find(|id| !self.ids.insert(*id)) {
            return Err(format!("id {id} was used twice"));
        }
        self.check_safe(*last, &payloads)?;
        self.tally.stored += payloads.len() as u64;
        self.stored.extend(payloads);
        Ok(())
    }

    fn dial(&mut self, link: usize, conn: u64) {
        self.conns[link] =
            Some(Conn { conn, half_open: false, up: false, up_at: self.now, down_at: self.now });
        let (agent, own) =
            (self.agent.as_ref().expect("it has dialed"), self.of_agent(link).expect("it dials"));
        self.peers[link].epochs = agent.lanes(own).map(|(_, epoch)| epoch.to_owned()).collect();
        self.peers[link].connect();
        let luck = if self.healed { 9 } else { self.seed.below(10) };
        let report = match luck {
            0 => LinkReport::DialFailed(self.refusal()),
            1 => return,
            _ => LinkReport::Up(Default::default()),
        };
        if let (LinkReport::Up(_), Some(at)) = (&report, &mut self.conns[link]) {
            at.up = true;
        }
        self.after(200 * MS, Pending::ToAgent { link, conn, report });
        if !self.healed && luck < 7 {
            let trouble = match self.seed.below(2) {
                0 => Pending::Cut { link, conn },
                _ => Pending::HalfOpen { link, conn },
            };
            self.after(20 * SECOND, trouble);
        }
    }

    fn tell(&mut self, link: usize, order: LinkOrder) {
        let longest = if self.seed.below(10) == 0 { 2 * SECOND } else { 40 * MS };
        let latency = 1 + self.seed.below(longest);
        let Some(at) = &mut self.conns[link] else { return };
        let conn = at.conn;
        at.up_at = at.up_at.max(self.now + latency);
        let arrives_at = at.up_at;
        if let (LinkOrder::Send { through, .. }, Confirm::None) = (&order, self.peers[link].confirm) {
            let report = LinkReport::Written(*through);
            self.after(MS, Pending::ToAgent { link, conn, report });
        }
        self.at(arrives_at, Pending::ToPeer { link, conn, order });
    }

    fn reach_agent(&mut self, link: usize, conn: u64, report: LinkReport) -> Result<(), String> {
        if self.conns[link].as_ref().is_none_or(|at| at.conn != conn || at.half_open) {
            return Ok(());
        }
        if matches!(report, LinkReport::Closed { .. } | LinkReport::DialFailed(_)) {
            self.conns[link] = None;
        }
        match self.of_agent(link) {
            Some(link) => self.feed(Event::Link { link, conn, report }),
            None => Ok(()),
        }
    }

    fn reach_peer(&mut self, link: usize, conn: u64, order: LinkOrder) -> Result<(), String> {
        let passes = |at: &Conn| at.conn == conn && at.up && !at.half_open;
        if !self.conns[link].as_ref().is_some_and(passes) {
            return Ok(());
        }
        let (order, choked) = match (self.peers[link].chokes_at(&order), order) {
            (Some(at), LinkOrder::Send { lane, through, mut entries }) => {
                entries.truncate(at);
                (LinkOrder::Send { lane, through, entries }, true)
            }
            (_, order) => (order, false),
        };
        let reports =
            self.peers[link].arrive(order, &mut self.seed).map_err(|e| format!("link {link}: {e}"))?;
        self.check_twice(link)?;
        if choked {
            return self.hang_up(link, conn);
        }
        for report in reports {
            let latency = 1 + self.seed.below(40 * MS);
            let Some(at) = &mut self.conns[link] else { return Ok(()) };
            at.down_at = at.down_at.max(self.now + latency);
            let arrives_at = at.down_at;
            self.at(arrives_at, Pending::ToAgent { link, conn, report });
        }
        Ok(())
    }

    /// On one connection at most a window and one group can come again. (A power cut may add what was confirmed within
    /// the last second, and a disk that refuses removals what it refused, so those are not counted here.)
    fn check_twice(&self, link: usize) -> Result<(), String> {
        let window = self.links.get(link).map_or(MQTT_WINDOW, |link| link.window) as u64;
        let twice = self.peers[link].twice();
        // Out of order a lane has two places where it may stop in the middle of a group.
        let groups = self.peers[link].epochs.len() as u64 * if self.peers[link].loose { 2 } else { 1 };
        if twice > window + groups * GROUP && !self.power_cut && !self.bad_disk {
            return Err(format!("link {link}: {twice} came twice on one connection, the window is {window}"));
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        let Some(agent) = &self.agent else { return false };
        let status = agent.status(self.clock());
        let messages = status["buffer"]["messages"].as_u64();
        let up =
            |links: &serde_json::Map<_, serde_json::Value>| links.values().all(|link| link["state"] == "up");
        let in_transit = self.queue.values().any(|(life, pending)| {
            *life == self.life && !matches!(pending, Pending::Cut { .. } | Pending::HalfOpen { .. })
        });
        messages == Some(0)
            && status["buffer"]["error"].is_null()
            && (status["mqtt"].is_null() || status["mqtt"]["state"] == "up")
            && status["links"].as_object().is_some_and(up)
            && self.offers.is_empty()
            && !in_transit
    }

    fn rest(&self) -> String {
        let status = self.agent.as_ref().map(|agent| agent.status(self.clock()).to_string());
        format!("queued {}, offers {:?}, status {status:?}", self.queue.len(), self.offers.keys())
    }
}
