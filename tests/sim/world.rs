//! One seed's world: an agent, its disk, its peers and everything that can happen to them. After every step the promises
//! are checked; when nothing can move while work remains, the run fails at once.

mod age;
mod answer;
mod http;
mod judge;
mod life;
mod listen;
mod network;
mod pace;
mod reload;
mod roster;
mod trial;
mod twice;
mod whim;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::agent::{Action, Agent, Event, LinkSetup, MqttSetup, Setup};
use holdfast_core::config::client::Confirm;
use holdfast_core::config::link_kind::LinkKind;
use holdfast_core::ids::{ConnectionId, LinkId, RequestId};
use holdfast_core::link::LinkState;
use holdfast_core::link::protocol::{LinkOrder, LinkReport};
use holdfast_core::message::Format;
use holdfast_core::observe::host::HostFacts;
use holdfast_core::observe::log_event::LogEvent;
use holdfast_core::observe::status::LinkStatus;
use holdfast_core::outlet::given::Given;
use holdfast_core::outlet::store_protocol::StoreOrder;
use holdfast_core::reload::Proposal;
use holdfast_core::seed::Seed;
use holdfast_core::source::intake::{Answer, Draft, Refused};

use self::age::Clocks;
use self::http::HttpStep;
use self::network::Conn;
use self::trial::Standing;
use super::disk::Disk;
use super::peer::Peer;
use super::setup::setup;
use super::tally::Tally;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
enum Pending {
    Offer,
    Connect,
    /// People want the configuration taken over as it is.
    Reload,
    Prepared {
        request: RequestId,
        outcome: Result<Box<Proposal>, String>,
    },
    /// People tell a link something by hand.
    Command,
    /// The same, when nothing goes wrong any more: every link is there, and dials.
    CallAll,
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
        conn: ConnectionId,
        order: LinkOrder,
    },
    ToAgent {
        link: usize,
        conn: ConnectionId,
        report: LinkReport,
    },
    Http {
        link: usize,
        conn: ConnectionId,
        step: HttpStep,
    },
    Cut {
        link: usize,
        conn: ConnectionId,
    },
    HalfOpen {
        link: usize,
        conn: ConnectionId,
    },
    WallJump,
    /// The time comes from the network.
    TimeArrives,
    /// People give up what is stored for an outlet.
    Purge,
    /// Somebody else fills the file system, or gives room back.
    Space,
    /// The disk turns read-only or hangs, or is well again.
    Mood,
    Heal,
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
    /// What the configuration says, with those of the links that are in it.
    setup: Setup,
    /// What the agent has taken over of it last.
    taken: Setup,
    /// Which settings of each link are in force.
    standing: Vec<Option<Standing>>,
    /// What the agent owes an answer.
    requests: BTreeSet<RequestId>,
    asked: RequestId,
    /// Of what a reload would take over, and whether each link had a place before.
    proposed: Option<(Setup, Vec<bool>)>,
    /// With what the next life begins, and what proved itself in this one.
    successor: Option<(Setup, Vec<LinkSetup>)>,
    /// Whether all links are configured, since nothing goes wrong any more.
    called: bool,
    agent: Option<Agent>,
    /// Counts the agent's lives; what belongs to an earlier one is gone.
    life: u64,
    disk: Disk,
    conns: Vec<Option<Conn>>,
    peers: Vec<Peer>,
    offers: BTreeMap<RequestId, Vec<Vec<u8>>>,
    ids: BTreeSet<u64>,
    stored: Vec<Vec<u8>>,
    /// When each message was offered.
    came: BTreeMap<Vec<u8>, u64>,
    /// For which links.
    takers: BTreeMap<Vec<u8>, Vec<usize>>,
    new_epochs: u64,
    /// Which message an outlet has under which number, as far as it showed.
    numbers: BTreeMap<(String, u64), Vec<u8>>,
    /// What was confirmed by an outlet's peer in an earlier life, and what the end of that life left on the disk all the same.
    unremoved: BTreeSet<(String, u64)>,
    /// What each life has given of its numbers, which only a power cut takes away.
    given: BTreeMap<u64, Given>,
    /// What each outlet gave up for its age, at its time.
    expired: BTreeSet<(usize, Vec<u8>)>,
    offered: u64,
    /// From here on nothing goes wrong any more.
    healed: bool,
    stopping_since: Option<u64>,
    /// Whether there was a power cut, so that what was not synced may come again.
    power_cut: bool,
    /// Whether an agent ended without its last word on the disk: by a crash, or since the disk took nothing.
    ended_open: bool,
    /// Links that know that their peer does not echo: nothing is sent on them until it does.
    unechoed: BTreeSet<usize>,
    /// Which messages of this life subscribers were shown.
    shown: BTreeSet<u64>,
    bounded: bool,
    bad_disk: bool,
    /// Whether the agent was started where nothing could be written.
    volatile: bool,
    commits: pace::Commits,
    pub tally: Tally,
    /// Prints every event and action.
    pub trace: bool,
}

/// The far end of each link, and the broker.
fn peers(setup: &Setup, seed: &mut Seed) -> Vec<Peer> {
    let peer = |link: &LinkSetup| {
        let posts = link.rule.kind == LinkKind::Http;
        let mut peer = Peer::new(link.rule.confirm, link.hello || posts, 0);
        peer.posts = posts;
        peer
    };
    let mut peers: Vec<Peer> = setup.links.iter().map(peer).collect();
    for (peer, link) in peers.iter_mut().zip(&setup.links) {
        peer.loose = !link.replay.keeps_order();
        peer.choking = if peer.confirm != Confirm::None && seed.below(8) == 0 { 50 } else { 0 };
        // Its answers come after the deadlines, each time.
        peer.late = if seed.below(10) == 0 { SECOND * (5 + seed.below(30)) } else { 0 };
    }
    for peer in &mut peers {
        peer.mute = seed.below(10) == 0;
        peer.frame_max = if seed.below(6) == 0 { 1100 + seed.below(1500) as usize } else { 0 };
    }
    for peer in peers.iter_mut().filter(|peer| peer.confirm == Confirm::Ack && !peer.posts) {
        peer.nacking = if seed.below(4) == 0 { 20 } else { 0 };
    }
    peers.extend(setup.mqtt.iter().map(|_| Peer::new(Confirm::Ack, false, 0)));
    peers
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut seed = Seed::new(seed);
        let bounded = seed.below(4) == 0;
        let setup = setup(&mut seed, bounded);
        let links = setup.links.len() + usize::from(setup.mqtt.is_some());
        let tally = Tally { crowds: u64::from(setup.links.len() >= 8), ..Tally::default() };
        let peers = peers(&setup, &mut seed);
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
            standing: setup.links.iter().map(|_| None).collect(),
            taken: setup.clone(),
            setup,
            requests: BTreeSet::new(),
            asked: RequestId::default(),
            proposed: None,
            successor: None,
            called: false,
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
            new_epochs: 0,
            numbers: BTreeMap::new(),
            unremoved: BTreeSet::new(),
            given: BTreeMap::new(),
            expired: BTreeSet::new(),
            offered: 0,
            healed: false,
            commits: pace::Commits::default(),
            stopping_since: None,
            power_cut: false,
            ended_open: false,
            unechoed: BTreeSet::new(),
            shown: BTreeSet::new(),
            bounded,
            bad_disk,
            volatile: false,
            tally,
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
                // What it has just been told may give it more to do.
                self.feed(Event::Tick)?;
                if self.is_quiet() {
                    return self.judge();
                }
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
        for _ in 0..self.seed.below(6) {
            let at = self.seed.below(trouble);
            self.at(at, Pending::Reload);
        }
        for _ in 0..self.seed.below(6) {
            let at = self.seed.below(trouble);
            self.at(at, Pending::Command);
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
        for _ in 0..if self.bad_disk { self.seed.below(4) } else { 0 } {
            let at = self.seed.below(trouble);
            self.at(at, Pending::Mood);
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
            Pending::Reload => self.reload(),
            Pending::Prepared { request, outcome } if current => self.prepared(request, outcome),
            Pending::Command => self.command_some(),
            Pending::CallAll => self.call_all(),
            Pending::Speak => self.speak(),
            Pending::Crash { power_cut } => {
                self.crash(power_cut);
                Ok(())
            }
            Pending::Stop => self.stop(),
            Pending::Start => {
                if self.agent.is_none() {
                    self.start()?;
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
            Pending::Http { link, conn, step } if current => self.over_http(link, conn, step),
            Pending::Cut { link, conn } if current => {
                self.cut(link, conn);
                Ok(())
            }
            Pending::HalfOpen { link, conn } if current => {
                self.half_open(link, conn);
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
            Pending::Mood => {
                self.change_mood();
                Ok(())
            }
            Pending::Heal => self.heal(),
            Pending::Disk
            | Pending::Prepared { .. }
            | Pending::ToPeer { .. }
            | Pending::ToAgent { .. }
            | Pending::Http { .. }
            | Pending::Cut { .. }
            | Pending::HalfOpen { .. } => Ok(()),
        }
    }

    fn offer(&mut self) -> Result<(), String> {
        if self.agent.is_none() {
            return Ok(());
        }
        let drafts: Vec<Draft> = (0..=self.seed.below(12)).map(|_| self.draft()).collect();
        let request = self.offered;
        self.offers.insert(RequestId(request), drafts.iter().map(|draft| draft.payload.clone()).collect());
        self.came.extend(drafts.iter().map(|draft| (draft.payload.clone(), self.now)));
        let takers = self.seated();
        self.takers.extend(drafts.iter().map(|draft| (draft.payload.clone(), takers.clone())));
        self.feed(Event::Offer { request: RequestId(request), drafts, from: None })
    }

    fn draft(&mut self) -> Draft {
        self.offered += 1;
        let device = (self.seed.below(3) == 0).then(|| format!("d{}", self.seed.below(4)));
        Draft {
            topic: format!("t/{}", self.offered % 3),
            device,
            source: "server:sim".into(),
            format: Format::Text,
            payload: self.offered.to_string().into_bytes(),
            attributes: Vec::new(),
            priority: if self.seed.below(4) == 0 { 8 } else { 0 },
            ttl_s: age::ttl_s_of(self.offered),
        }
    }

    fn connect(&mut self) -> Result<(), String> {
        let device = format!("d{}", self.seed.below(4));
        let event = match self.seed.below(4) {
            0 | 1 => Event::Connected(device),
            2 => Event::Disconnected(device),
            _ => Event::Departed(device),
        };
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
        self.given.insert(agent.given().run, agent.given());
        self.listen()?;
        let looks = actions.contains(&Action::LookAtHost);
        let links = actions.iter().filter_map(|action| match action {
            Action::Look { link, conn } => Some((*link, *conn)),
            _ => None,
        });
        let links: Vec<(LinkId, ConnectionId)> = links.collect();
        for action in actions {
            if self.trace {
                println!("{:>12}     {action:?}", "");
            }
            self.act(action)?;
        }
        for (link, conn) in links {
            self.look(link, conn)?;
        }
        if looks {
            return self.feed(Event::Host(HostFacts::default()));
        }
        self.check_settings()?;
        let deadline = self.agent.as_ref().and_then(Agent::deadline);
        if deadline.is_some_and(|at| at <= now.mono) {
            return Err(format!("the loop spins: {deadline:?} at {:?}", now.mono));
        }
        self.check_answers_in_time()?;
        self.check_removed()?;
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
                self.check_held_back(link, &order)?;
                self.tell(link, order);
            }
            Action::Disk(order) => {
                if let StoreOrder::Append { parts } = &order {
                    for (outlet, entries) in parts {
                        let name = self.disk.name(*outlet).to_owned();
                        self.note_numbers(&name, entries);
                    }
                    self.check_pace()?;
                }
                self.disk.queue(order);
                let slow = if self.seed.below(20) == 0 { SECOND } else { 5 * MS };
                self.after(slow, Pending::Disk);
            }
            Action::Answer(request, answer) => return self.answered(request, &answer),
            Action::GiveBack(request, _) => {
                return self.answered(request, &Answer::Refused(Refused::Busy));
            }
            Action::Note(LogEvent::LinkMoves { .. }) => self.tally.moves += 1,
            Action::Note(LogEvent::Unechoed { link, .. }) => self.note_unechoed(&link),
            Action::Note(LogEvent::RolledBack { link, .. }) => return self.rolled_back(&link),
            Action::ReplyToCommand { request, outcome } => return self.obeyed(request, &outcome),
            Action::StartAnew => {
                self.tally.anew += 1;
                self.stopping_since.get_or_insert(self.now);
            }
            Action::Prepare { request } => self.prepare(request),
            Action::TakeOver { .. } => self.take_over()?,
            Action::Succeed { .. } => self.succeed()?,
            Action::DropSuccessor => self.successor = None,
            Action::ReplyToReload { request, outcome } => return self.reloaded(request, &outcome),
            Action::Note(_) | Action::Look { .. } | Action::LookAtHost | Action::CloseSources => {}
            Action::Exit => return self.exit(),
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        let Some(agent) = &self.agent else { return false };
        // Looked at first, since the status takes long.
        if !self.offers.is_empty()
            || !self.requests.is_empty()
            || !self.called
            || self.is_anything_in_transit()
        {
            return false;
        }
        let status = agent.status(self.clock());
        let is_up = |link: &LinkStatus| link.state == LinkState::Up;
        status.buffer.messages == 0
            && status.buffer.error.is_none()
            && status.mqtt.as_ref().is_none_or(is_up)
            // What it was to be told meanwhile it is told on its next connection.
            && self.conns.get(self.links.len()).and_then(Option::as_ref).is_none_or(|broker| !broker.is_half_open())
            && status.links.values().all(is_up)
    }

    fn is_anything_in_transit(&self) -> bool {
        self.queue.values().any(|(life, pending)| {
            let later = matches!(pending, Pending::Cut { .. } | Pending::HalfOpen { .. } | Pending::Offer);
            // Where answers are late, there is always one on its way.
            let alive = matches!(
                pending,
                Pending::ToPeer { order: LinkOrder::Ping(_), .. }
                    | Pending::ToAgent { report: LinkReport::Pong(_) | LinkReport::OtherPong, .. }
            );
            *life == self.life && !later && !alive
        })
    }

    fn rest(&self) -> String {
        let status = self.agent.as_ref().map(|agent| agent.status(self.clock()));
        format!("queued {}, offers {:?}, status {status:?}", self.queue.len(), self.offers.keys())
    }
}
