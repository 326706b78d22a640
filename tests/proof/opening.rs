//! Kills in a row while the agent opens a store that is large enough for it to take a while.

use std::io::BufReader;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::Scale;
use super::load::answer;
use super::peer::{Peer, Received};
use super::scene::{Scene, scratch};
use super::sensor::{payload, request};

/// Messages in the store.
const READINGS: u64 = 60_000;
/// Readings of one request.
const LINES: u64 = 1_000;
/// Kills in a row, at most.
const ROW: u64 = 50;
const ROWS: u64 = 12;
const ROWS_QUICK: u64 = 1;
/// An opening that was over before it was killed begins its row again, and the next kills come within this part of the time.
const EARLIER: f64 = 0.8;

/// Sums of the kills.
pub struct Sums {
    /// Kills while the store was being opened.
    pub kills: u64,
    /// Most of them in a row.
    pub row: u64,
    /// Readings that were stored before.
    pub stored: u64,
    /// How long an opening takes that nobody disturbs.
    pub opening: Duration,
}

/// Kills an agent while it opens, again and again, then lets it open and deliver.
pub fn live(scale: Scale) -> anyhow::Result<Sums> {
    let directory = scratch()?;
    let scene = Scene::new(directory.path(), "", "[buffer]\ncommit_after = \"50ms\"")?;
    let agent = scene.start()?;
    fill(&scene)?;
    drop(agent);
    let started = Instant::now();
    drop(scene.start()?);
    let mut sums = Sums { kills: 0, row: 0, stored: READINGS, opening: started.elapsed() };
    let mut chance = fastrand::Rng::with_seed(scale.seed);
    for row in 0..scale.count(ROWS, ROWS_QUICK) {
        let kills = if row == 0 { ROW } else { chance.u64(1..=ROW) };
        kill_in_a_row(&scene, kills, &mut sums, &mut chance)?;
        drop(scene.start()?);
        look_for_harm(&scene)?;
    }
    let received = Received::default();
    let _peer = Peer::listen(scene.peer, &received)?;
    let _agent = scene.start()?;
    look_for_harm(&scene)?;
    scene.wait_until("all is drained", || scene.is_drained())?;
    let lost = received.missing(&(0..READINGS).collect::<Vec<_>>());
    if !lost.is_empty() {
        bail!("{} of {READINGS} stored readings are lost after kills while opening: {lost:?}", lost.len());
    }
    Ok(sums)
}

fn fill(scene: &Scene) -> anyhow::Result<()> {
    let stream = TcpStream::connect(&scene.address)?;
    let mut answers = BufReader::new(&stream);
    for first in (0..READINGS).step_by(usize::try_from(LINES)?) {
        let lines: Vec<String> = (first..first + LINES).map(payload).collect();
        request(&stream, lines.join("\n").as_bytes())?;
        let (status, body) = answer(&mut answers)?;
        if status != 200 {
            bail!("readings were refused: {status} {body}");
        }
    }
    Ok(())
}

/// Kills until so many openings in a row were cut off, as the agent itself counts them.
fn kill_in_a_row(
    scene: &Scene,
    kills: u64,
    sums: &mut Sums,
    chance: &mut fastrand::Rng,
) -> anyhow::Result<()> {
    let (mut done, mut within) = (0, sums.opening);
    while done < kills {
        let agent = scene.launch(&[])?;
        scene.wait_until("the opening begins", || begun(scene) == Some(done + 1))?;
        std::thread::sleep(within.mul_f64(chance.f64()));
        drop(agent);
        sums.kills += 1;
        done = begun(scene).unwrap_or(0);
        if done == 0 {
            within = within.mul_f64(EARLIER);
        }
        sums.row = sums.row.max(done);
    }
    Ok(())
}

/// How many openings in a row were begun.
fn begun(scene: &Scene) -> Option<u64> {
    let marker = std::fs::read_to_string(scene.data().join("store.opening")).ok()?;
    marker.lines().next()?.parse().ok()
}

/// Nothing may be told to be repaired, and nothing may lie beside the store.
fn look_for_harm(scene: &Scene) -> anyhow::Result<()> {
    let names =
        std::fs::read_dir(scene.data())?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let aside: Vec<String> = names.filter(|name| name.starts_with("store.")).collect();
    let said = scene.log_with(&["was damaged", "were replaced by gaps", "are lost"]);
    if !aside.is_empty() || !said.is_empty() {
        bail!("kills while opening left {aside:?} and {said:?}");
    }
    Ok(())
}
