//! Ten thousand agents and the one server that all of them lose at the same moment: how hard do they come back, and how
//! soon? The agents are the real state machines, each with its own seed. Beside them stand as many with the same back-off
//! and no chance in it, as a contrast.

mod plain;
mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use holdfast_core::config::client::{Confirm, Ping, Reconnect};
use holdfast_core::config::link_kind::LinkKind;
use holdfast_core::link::endpoint::EndpointRule;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Peer};
use holdfast_core::link::{Link, LinkEffect, LinkRule};
use holdfast_core::seed::Seed;
use holdfast_core::time::Time;
use plain::Plain;
use server::{Beyond, Restart, Server};

const AGENTS: usize = 10_000;
const SEED: u64 = 42;
/// Length of a slot in which attempts are counted.
const SLOT: Duration = Duration::from_millis(100);
const SLOTS_PER_SECOND: usize = 10;
/// Whoever is not back by then never comes back.
const END: Duration = Duration::from_secs(24 * 3600);

/// How an agent decides when to dial again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `link.rs` and `link/backoff.rs` of the core.
    Real,
    /// The same ceilings, the same respect for what the server asks, and no chance.
    Plain,
}

/// One agent: the state machine and the chance that belongs to it.
enum Dialler {
    Real { link: Box<Link>, seed: Seed },
    Plain(Plain),
}

/// What an agent wants of the world.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Dial,
    Ping(u64),
}

impl Dialler {
    fn new(kind: Kind, number: usize) -> Dialler {
        match kind {
            Kind::Real => {
                let seed = Seed::new(SEED ^ (number as u64).wrapping_mul(0x0001_0000_0001_B3D5));
                Dialler::Real { link: Box::new(Link::new(rule(), Time::default())), seed }
            }
            Kind::Plain => Dialler::Plain(Plain::new(rule().reconnect)),
        }
    }

    fn hear(&mut self, now: Time, report: &LinkReport) -> Vec<Wish> {
        match self {
            Dialler::Real { link, seed } => {
                let mut out = Vec::new();
                link.handle(now, report, seed, &mut out);
                wishes(&out)
            }
            Dialler::Plain(plain) => {
                plain.hear(now, report);
                Vec::new()
            }
        }
    }

    fn wake(&mut self, now: Time) -> Vec<Wish> {
        match self {
            Dialler::Real { link, seed } => {
                let mut out = Vec::new();
                link.advance(now, seed, &mut out);
                wishes(&out)
            }
            Dialler::Plain(plain) => plain.wake(now).then_some(Wish::Dial).into_iter().collect(),
        }
    }

    fn deadline(&self) -> Option<Time> {
        match self {
            Dialler::Real { link, .. } => link.deadline(),
            Dialler::Plain(plain) => plain.deadline(),
        }
    }
}

fn wishes(effects: &[LinkEffect]) -> Vec<Wish> {
    let wish = |effect: &LinkEffect| match effect {
        LinkEffect::Dial(_) => Some(Wish::Dial),
        LinkEffect::Tell(LinkOrder::Ping(number)) => Some(Wish::Ping(*number)),
        _ => None,
    };
    effects.iter().filter_map(wish).collect()
}

/// The defaults of the configuration.
fn rule() -> LinkRule {
    LinkRule {
        kind: LinkKind::WebSocket,
        active: true,
        confirm: Confirm::Pong,
        ping: Ping::default(),
        reconnect: Reconnect::default(),
        endpoints: EndpointRule::single(),
        connect_timeout: Duration::from_secs(15),
        confirm_timeout: Duration::from_secs(30),
        client_id: None,
    }
}

enum Event {
    Wake,
    /// The attempt reaches the server.
    Arrives,
    Reports(LinkReport),
}

/// The whole of it.
struct Fleet {
    agents: Vec<Dialler>,
    /// One way to the server, for each agent.
    latency: Vec<Duration>,
    server: Server,
    /// In the order of their time, and of their making.
    queue: BTreeMap<(Time, u64), (usize, Event)>,
    queued: u64,
    now: Time,
}

/// How the fleet came back.
#[derive(Debug, PartialEq, Eq)]
struct Return {
    /// Attempts that reached the server's address, in slots of 100 ms since the restart.
    slots: Vec<usize>,
    /// When the last agent was up again, since the restart.
    all_back: Option<Duration>,
    /// When 99 of 100 were.
    most_back: Option<Duration>,
}

impl Return {
    fn attempts(&self) -> usize {
        self.slots.iter().sum()
    }

    fn peak_in_a_slot(&self) -> usize {
        self.slots.iter().copied().max().unwrap_or_default()
    }

    /// The most in any second, wherever it starts.
    fn peak_in_a_second(&self) -> usize {
        self.slots
            .windows(SLOTS_PER_SECOND)
            .map(|second| second.iter().sum())
            .max()
            .unwrap_or(self.attempts())
    }

    /// In the second that starts so many seconds after the restart.
    fn in_second(&self, second: usize) -> usize {
        self.slots.iter().skip(second * SLOTS_PER_SECOND).take(SLOTS_PER_SECOND).sum()
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds =
            |at: Option<Duration>| at.map_or("never".to_owned(), |at| format!("{:.0} s", at.as_secs_f64()));
        let (second, slot, all) = (self.peak_in_a_second(), self.peak_in_a_slot(), self.attempts());
        let (most_back, all_back) = (seconds(self.most_back), seconds(self.all_back));
        write!(f, "{second:7} {slot:7} {all:7} {most_back:>7} {all_back:>7}")
    }
}

impl Fleet {
    /// All agents are up, and have been for long; now their server restarts.
    fn at(restart: Restart, kind: Kind) -> Fleet {
        let mut chance = Seed::new(SEED);
        let way = |_| Duration::from_millis(10) + chance.up_to(Duration::from_millis(40));
        let mut fleet = Fleet {
            latency: (0..AGENTS).map(way).collect(),
            agents: (0..AGENTS).map(|number| Dialler::new(kind, number)).collect(),
            server: Server::new(restart),
            queue: BTreeMap::new(),
            queued: 0,
            now: Time::default(),
        };
        for agent in 0..AGENTS {
            assert_eq!(fleet.agents[agent].wake(fleet.now), [Wish::Dial]);
            assert_eq!(fleet.agents[agent].hear(fleet.now, &LinkReport::Up(Peer::default())), []);
        }
        // Longer than `stable_after`: everybody has forgotten that there ever was a failure.
        fleet.now = fleet.now + Duration::from_secs(600);
        fleet.server.opened_at = fleet.now;
        let close = fleet.server.close();
        for agent in 0..AGENTS {
            let at = fleet.now + fleet.latency[agent];
            fleet.schedule(at, agent, Event::Reports(close.clone()));
        }
        fleet
    }

    fn run(mut self) -> Return {
        let start = self.now;
        let mut slots = Vec::new();
        let mut up = 0;
        let mut most_back = None;
        while let Some(((at, _), (agent, event))) = self.queue.pop_first() {
            self.now = at;
            if at.since(start) > END {
                break;
            }
            let wishes = match event {
                Event::Wake => self.agents[agent].wake(at),
                Event::Reports(report) => {
                    up += usize::from(matches!(report, LinkReport::Up(_)));
                    self.agents[agent].hear(at, &report)
                }
                Event::Arrives => {
                    count(&mut slots, at.since(start));
                    let report = self.server.answer(at);
                    self.schedule(at + self.latency[agent], agent, Event::Reports(report));
                    Vec::new()
                }
            };
            if up == AGENTS / 100 * 99 {
                most_back.get_or_insert(at.since(start));
            }
            if up == AGENTS {
                return Return { slots, all_back: Some(at.since(start)), most_back };
            }
            self.grant(agent, wishes);
        }
        Return { slots, all_back: None, most_back }
    }

    fn grant(&mut self, agent: usize, wishes: Vec<Wish>) {
        for wish in wishes {
            let way = self.latency[agent];
            match wish {
                Wish::Dial => self.schedule(self.now + way, agent, Event::Arrives),
                Wish::Ping(number) => {
                    self.schedule(self.now + 2 * way, agent, Event::Reports(LinkReport::Pong(number)));
                }
            }
        }
        if let Some(deadline) = self.agents[agent].deadline() {
            self.schedule(deadline, agent, Event::Wake);
        }
    }

    fn schedule(&mut self, at: Time, agent: usize, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), (agent, event));
    }
}

fn count(slots: &mut Vec<usize>, since: Duration) {
    let slot = usize::try_from(since.as_millis() / SLOT.as_millis()).expect("the end is near");
    slots.resize(slots.len().max(slot + 1), 0);
    slots[slot] += 1;
}

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// Goes with a reset, is away for 5 s, then takes 500 a second and resets the rest.
const RESTART: Restart =
    Restart { code: None, away: secs(5), meanwhile: Beyond::Reset, rate: 500, beyond: Beyond::Reset };
const RESTARTING: Option<u16> = Some(1012);

const fn busy(seconds: u64) -> Beyond {
    Beyond::Busy(Some(secs(seconds)))
}

const RESTARTS: [(&str, Restart); 8] = [
    ("reset, back at once", Restart { away: secs(0), ..RESTART }),
    ("reset, 5 s away", RESTART),
    ("reset, 5 s away, then 503", Restart { beyond: Beyond::Busy(None), ..RESTART }),
    ("reset, 5 s away, then 503 after 5 s", Restart { beyond: busy(5), ..RESTART }),
    ("reset, 60 s away, then 503 after 5 s", Restart { away: secs(60), beyond: busy(5), ..RESTART }),
    (
        "reset, 20 s of 503 after 10 s",
        Restart { away: secs(20), meanwhile: busy(10), beyond: busy(10), ..RESTART },
    ),
    ("1012, 5 s away", Restart { code: RESTARTING, ..RESTART }),
    ("1012, 5 s away, then 503 after 5 s", Restart { code: RESTARTING, beyond: busy(5), ..RESTART }),
];

#[test]
fn ten_thousand_agents_do_not_come_back_at_one_moment_and_all_of_them_come_back() {
    println!("{AGENTS} agents lose their server, which then takes {} connections a second.", RESTART.rate);
    println!(
        "Attempts: in the worst second, in the worst 100 ms, in all; and when 99 of 100 and all were back.\n"
    );
    println!(
        "{:37} {:8} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "", "jitter", "1 s", "100 ms", "in all", "99 %", "all"
    );
    for (name, restart) in RESTARTS {
        let real = Fleet::at(restart, Kind::Real).run();
        let plain = Fleet::at(restart, Kind::Plain).run();
        println!("{name:37} full     {real}\n{:37} none     {plain}", "");
        assert!(real.all_back.is_some(), "{name}: somebody stays away");
        assert!(real.all_back < Some(secs(600)), "{name}: {real}");
        assert!(real.peak_in_a_second() * 5 <= plain.peak_in_a_second(), "{name}: {real} against {plain}");
        assert!(real.peak_in_a_slot() * 40 <= plain.peak_in_a_slot(), "{name}: {real} against {plain}");
        assert!(real.attempts() * 2 <= plain.attempts(), "{name}: {real} against {plain}");
    }
}

#[test]
fn the_attempts_of_a_fleet_are_spread_over_time() {
    let (real, plain) = (Fleet::at(RESTART, Kind::Real).run(), Fleet::at(RESTART, Kind::Plain).run());
    println!(
        "Attempts a second of {AGENTS} agents whose server is away for 5 s:\n\n   s    full jitter    none"
    );
    for second in 0..40 {
        let (full, none) = (real.in_second(second), plain.in_second(second));
        println!("{second:4} {full:14} {none:7}  {}", "#".repeat(full.div_ceil(50)));
    }
    assert!((0..8).all(|second| real.in_second(second) > AGENTS / 20), "they come in waves");
    assert_eq!(real, Fleet::at(RESTART, Kind::Real).run(), "one seed gives one life");
}

#[test]
fn agents_that_were_told_to_restart_stay_away_for_five_seconds_and_come_at_the_rate_of_their_number() {
    let restart = Restart { code: RESTARTING, ..RESTART };
    let fleet = Fleet::at(restart, Kind::Real).run();
    assert!((0..5).all(|second| fleet.in_second(second) == 0));
    assert_eq!(fleet.attempts(), AGENTS, "nobody has to come twice");
}
