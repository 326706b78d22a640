//! `kill -9` at any moment while the link is down and while a backlog drains, sensors sending all the while.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use super::Scale;
use super::opening;
use super::peer::{Peer, Received};
use super::scene::{Agent, Scene, scratch};
use super::sensor::Sensors;
use super::values;

const KILLS: u64 = 1_000;
const KILLS_QUICK: u64 = 60;
/// Lives that go on at the same time.
const LIVES: u64 = 2;
const WINDOW: u64 = 100;
/// Confirmed messages come again as well if their removal had not reached the kernel: it shares one order, and waits while the log
/// is synced. No sync of the machines that prove this takes so long.
const SYNC: Duration = Duration::from_millis(300);
/// Kills in a row without a link, then with one.
const OFFLINE: u64 = 4;
const ONLINE: u64 = 4;
/// The peer is slow enough to leave the window full while a backlog drains.
const PEER_RESTS: Duration = Duration::from_micros(300);
/// Activity of the agent.
const BUFFERING: usize = 0;
const DRAINING: usize = 1;
const OPENING: usize = 2;

/// Outcome of one life.
#[derive(Default)]
struct Sums {
    /// Kills while the link was down, while a backlog drained, and before the agent was open.
    kills: [u64; 3],
    stored: u64,
    twice: u64,
    /// Most readings that came twice after one kill.
    twice_max: u64,
    /// Most messages that a group had.
    group_max: u64,
}

/// Proves it.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let row = opening::live(scale)?;
    let kills = scale.count(KILLS, KILLS_QUICK) / LIVES;
    let lives: Vec<Sums> = std::thread::scope(|scope| {
        let seeds = (0..LIVES).map(|life| scale.seed + life);
        let lives: Vec<_> = seeds.map(|seed| scope.spawn(move || live(kills, seed))).collect();
        lives
            .into_iter()
            .map(|life| life.join().expect("a life does not panic"))
            .collect::<anyhow::Result<_>>()
    })?;
    let sum = |number: fn(&Sums) -> u64| lives.iter().map(number).sum::<u64>();
    let most = |number: fn(&Sums) -> u64| lives.iter().map(number).max().unwrap_or(0);
    let [offline, draining, opening] =
        [BUFFERING, DRAINING, OPENING].map(|kind| lives.iter().map(|life| life.kills[kind]).sum::<u64>());
    Ok(format!(
        "{} kills ({offline} while buffering, {draining} while draining, {opening} while opening): 0 of {} stored readings lost; \
         {} came twice, {:.0} for each kill while draining and at most {} for one (window {WINDOW}, largest group {}); \
         {} kills while {} readings were opened (which takes {} ms), up to {} in a row: 0 lost, no repair, nothing set aside",
        offline + draining + opening,
        sum(|sums| sums.stored),
        sum(|sums| sums.twice),
        sum(|sums| sums.twice) as f64 / draining as f64,
        most(|sums| sums.twice_max),
        most(|sums| sums.group_max),
        row.kills,
        row.stored,
        row.opening.as_millis(),
        row.row,
    ))
}

fn live(kills: u64, seed: u64) -> anyhow::Result<Sums> {
    let directory = scratch()?;
    let scene =
        Scene::new(directory.path(), &format!("window = {WINDOW}"), "[buffer]\ncommit_after = \"50ms\"")?;
    let mut life = Life {
        received: Received::default(),
        sensors: Sensors::start(&scene.address, Duration::from_millis(1), 0),
        chance: fastrand::Rng::with_seed(seed),
        sums: Sums::default(),
        judged: 0,
        scene,
    };
    while life.sums.kills.iter().sum::<u64>() < kills {
        life.round()?;
    }
    life.end()
}

struct Life {
    scene: Scene,
    received: Received,
    sensors: Sensors,
    chance: fastrand::Rng,
    sums: Sums,
    /// Readings that had come twice when this was judged last.
    judged: u64,
}

impl Life {
    /// Some kills without a link, then some while what has gathered drains.
    fn round(&mut self) -> anyhow::Result<()> {
        for _ in 0..OFFLINE {
            let agent = started(&self.scene)?;
            self.pause(20..350);
            self.kill(agent, BUFFERING);
            self.kill_opening()?;
        }
        self.sums.group_max = self.sums.group_max.max(largest_group(&self.scene.data().join("store/db")));
        let _peer = Peer::listen_slowly(self.scene.peer, &self.received, PEER_RESTS)?;
        let mut agent = started(&self.scene)?;
        for _ in 0..ONLINE {
            self.wait_for_new()?;
            self.judge();
            self.pause(10..200);
            self.kill_draining(agent)?;
            agent = started(&self.scene)?;
        }
        self.wait_for_new()?;
        self.judge();
        self.kill_draining(agent)
    }

    fn pause(&mut self, range_ms: std::ops::Range<u64>) {
        std::thread::sleep(Duration::from_millis(self.chance.u64(range_ms)));
    }

    /// Kills an agent that has hardly begun.
    fn kill_opening(&mut self) -> anyhow::Result<()> {
        let agent = self.scene.launch(&[])?;
        self.pause(0..60);
        self.kill(agent, OPENING);
        Ok(())
    }

    /// Lets the peer read what was sent before the next agent sends: what comes from there on is that one's.
    fn kill_draining(&mut self, agent: Agent) -> anyhow::Result<()> {
        self.kill(agent, DRAINING);
        self.scene.wait_until("the peer has read all", || !self.received.is_hearing())
    }

    fn kill(&mut self, agent: Agent, kind: usize) {
        drop(agent);
        self.sums.kills[kind] += 1;
    }

    /// Waits until a reading comes that has not come before: all that comes twice has come then.
    fn wait_for_new(&self) -> anyhow::Result<()> {
        let before = self.received.distinct();
        self.scene.wait_until("a new reading comes", || self.received.distinct() > before)
    }

    /// Notes what came twice since this was asked last.
    fn judge(&mut self) {
        let twice = self.received.twice() - std::mem::replace(&mut self.judged, self.received.twice());
        self.sums.twice_max = self.sums.twice_max.max(twice);
    }

    /// Lets everything come and counts.
    fn end(mut self) -> anyhow::Result<Sums> {
        let (stored, _) = self.sensors.end();
        let _peer = Peer::listen(self.scene.peer, &self.received)?;
        let _agent = started(&self.scene)?;
        self.scene.wait_until("all is drained", || self.scene.is_drained())?;
        self.received.require(&stored)?;
        self.sums.stored = stored.len() as u64;
        self.sums.twice = self.received.twice();
        if self.sums.group_max == 0 {
            bail!("no group was found in any log, so what may come twice is not known");
        }
        let confirmed = SYNC.as_micros() / PEER_RESTS.as_micros();
        let bound = WINDOW + self.sums.group_max + u64::try_from(confirmed)?;
        if self.sums.twice_max > bound {
            bail!(
                "{} readings came twice after one kill, more than a window, a group and what is confirmed within {SYNC:?}: {bound}",
                self.sums.twice_max
            );
        }
        Ok(self.sums)
    }
}

/// An agent that found its store undamaged.
fn started(scene: &Scene) -> anyhow::Result<Agent> {
    let agent = scene.start()?;
    let repairs = &scene.status()?["repairs"];
    if !repairs.is_null() {
        bail!("a kill has damaged the store: {repairs}: {:?}", scene.log_with(&["does not open"]));
    }
    Ok(agent)
}

fn largest_group(log: &Path) -> u64 {
    let log = std::fs::read(log).unwrap_or_default();
    values::groups(&log).iter().map(|group| u64::from(group.messages)).max().unwrap_or(0)
}
