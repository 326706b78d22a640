//! Ten thousand agents whose one server restarts: how many of them knock in the same second, and when all are back. The
//! links are the real ones; only the server and the network are simulated.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast::config::client::{Confirm, Ping, Reconnect};
use holdfast::logic::link::{Link, LinkEffect, LinkRule};
use holdfast::logic::port::{LinkReport, Peer, Refusal, RefusalKind};
use holdfast::logic::seed::Seed;
use holdfast::logic::time::Time;

const AGENTS: u64 = 10_000;
/// The server is gone for so long.
const AWAY: Duration = Duration::from_secs(10);
/// Then it lets so many in each second, and sends the others away with 503.
const LETS_IN: u64 = 500;
const RETRY_AFTER: Duration = Duration::from_secs(5);
const LATENCY: Duration = Duration::from_millis(20);
const SECOND_NS: u64 = 1_000_000_000;
/// Whoever is not back by then never will be.
const PATIENCE_S: u64 = 3600;

/// How the server ends, and what it says when it is busy.
#[derive(Clone, Copy)]
struct Restart {
    close_code: Option<u16>,
    retry_after: Option<Duration>,
}

struct Fleet {
    restart: Restart,
    links: Vec<(Link, Seed)>,
    /// Who has something to do at this moment.
    queue: BTreeMap<(Time, usize), Option<LinkReport>>,
    /// Tries to connect, by the second.
    knocks: BTreeMap<u64, u64>,
    let_in: BTreeMap<u64, u64>,
    up: usize,
    all_up_at: Option<Time>,
}

impl Fleet {
    /// All are up when the server goes. `seed` gives each agent its chance.
    fn new(restart: Restart, seed: impl Fn(u64) -> u64) -> Fleet {
        let links = (0..AGENTS).map(|agent| (up(), Seed::new(seed(agent)))).collect();
        let gone = LinkReport::Closed { code: restart.close_code, error: "gone".to_owned() };
        let queue =
            (0..AGENTS as usize).map(|agent| ((Time::default(), agent), Some(gone.clone()))).collect();
        let (knocks, let_in) = (BTreeMap::new(), BTreeMap::new());
        Fleet { restart, links, queue, knocks, let_in, up: 0, all_up_at: None }
    }

    fn run(mut self) -> Fleet {
        while let Some(((now, agent), report)) = self.queue.pop_first() {
            if self.up == AGENTS as usize || now.0 > PATIENCE_S * SECOND_NS {
                break;
            }
            let (link, seed) = &mut self.links[agent];
            let mut effects = Vec::new();
            if let Some(report) = &report {
                link.handle(now, report, seed, &mut effects);
            }
            link.advance(now, seed, &mut effects);
            if effects.iter().any(|effect| matches!(effect, LinkEffect::Opened(_))) {
                self.up += 1;
                self.all_up_at = Some(now);
                continue;
            }
            if effects.contains(&LinkEffect::Dial) {
                let answer = self.knock(now);
                self.queue.insert((now + LATENCY, agent), Some(answer));
            } else if let Some(at) = self.links[agent].0.deadline() {
                self.queue.insert((at, agent), None);
            }
        }
        self
    }

    fn knock(&mut self, now: Time) -> LinkReport {
        let second = now.0 / SECOND_NS;
        *self.knocks.entry(second).or_default() += 1;
        if now < Time::default() + AWAY {
            return refused(RefusalKind::Retry);
        }
        let let_in = self.let_in.entry(second).or_default();
        if *let_in == LETS_IN {
            return refused(RefusalKind::Busy { retry_after: self.restart.retry_after });
        }
        *let_in += 1;
        LinkReport::Up(Peer::default())
    }

    /// Most tries in one second while the server is away, where they cost it nothing, and once it is back.
    fn peaks(&self) -> (u64, u64) {
        let back = AWAY.as_secs();
        let peak =
            |knocks: std::collections::btree_map::Range<u64, u64>| knocks.map(|(_, tries)| *tries).max();
        let (away, open) = (peak(self.knocks.range(..back)), peak(self.knocks.range(back..)));
        (away.unwrap_or_default(), open.unwrap_or_default())
    }

    fn told(&self, name: &str) -> String {
        let tries: u64 = self.knocks.values().sum();
        let back_s = self.all_up_at.map_or(0, |at| at.0 / SECOND_NS);
        let (away, open) = self.peaks();
        format!("{name:<46} {away:>9} {open:>9} {tries:>8} {:>7} {back_s:>8}", self.up)
    }
}

fn refused(kind: RefusalKind) -> LinkReport {
    LinkReport::DialFailed(Refusal { kind, error: "refused".to_owned() })
}

/// A link with the default back-off that has been up for longer than `stable_after`.
fn up() -> Link {
    let rule = LinkRule {
        active: true,
        confirm: Confirm::Pong,
        ping: Ping { interval: Duration::ZERO, timeout: Duration::from_secs(10) },
        reconnect: Reconnect::default(),
        connect_timeout: Duration::from_secs(15),
        confirm_timeout: Duration::from_secs(30),
    };
    let mut link = Link::new(rule, Time::default());
    let (mut seed, mut effects) = (Seed::new(0), Vec::new());
    link.advance(Time::default(), &mut seed, &mut effects);
    link.handle(Time::default(), &LinkReport::Up(Peer::default()), &mut seed, &mut effects);
    link
}

#[test]
fn a_fleet_whose_server_restarts_does_not_come_back_in_one_second() {
    let kinds = [
        ("the connections are reset", None, None),
        ("closed with 1012, then 503", Some(1012), None),
        ("closed with 1012, then 503 with Retry-After", Some(1012), Some(RETRY_AFTER)),
        ("reset, then 503 with Retry-After", None, Some(RETRY_AFTER)),
    ];
    println!("{AGENTS} agents, server away for {AWAY:?}, then lets {LETS_IN}/s in");
    println!(
        "{:<46} {:>9} {:>9} {:>8} {:>7} {:>8}",
        "", "peak away", "peak open", "tries", "back", "after s"
    );
    for (name, close_code, retry_after) in kinds {
        let restart = Restart { close_code, retry_after };
        let spread = Fleet::new(restart, |agent| agent).run();
        let together = Fleet::new(restart, |_| 7).run();
        println!("{}", spread.told(name));
        println!("{}", together.told("  the same without jitter"));
        assert_eq!(spread.up, AGENTS as usize, "{name}: all are back");
        let (open, herd) = (spread.peaks().1, together.peaks().1);
        assert!(herd >= AGENTS, "{name}: without jitter all come together, not {herd}");
        assert!(open * 5 <= herd, "{name}: {open} in one second");
    }
}
