//! Bytes that the disk has to write for what is sent, and how much of it the store takes.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::Scale;
use super::load::{self, Way, reading};
use super::peer::{Peer, Received};
use super::scene::{Agent, Scene, bytes_below, scratch};

/// Messages a second, and what may be written for a payload byte. The aim is 0.5; PROOF.md says why sled misses it.
const RATES: [(Option<u64>, f64); 3] = [(Some(100), 5.0), (Some(1_000), 1.3), (None, 0.9)];
/// No message touches the disk, only a small file for each block of numbers.
const ONLINE_MAX: f64 = 0.005;
const FLAT_OUT: u64 = 100_000;
const COMMIT_AFTER: Duration = Duration::from_millis(250);

/// Proves it.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let seconds = scale.count(60, 4);
    let figures = [
        offline(seconds)?,
        online(scale.count(100_000, 5_000))?,
        pass_through(scale.count(1_000_000_000, 60_000_000), scale.count(64_000_000, 12_000_000))?,
    ];
    Ok(figures.join("; "))
}

/// At steady rates and flat out, in a first life and after a kill, with the link down.
fn offline(seconds: u64) -> anyhow::Result<String> {
    let directory = scratch()?;
    let scene = Scene::new(directory.path(), "", "")?;
    let mut figures = Vec::new();
    for life in ["first life", "after a kill"] {
        let agent = scene.start()?;
        let mut ratios = Vec::new();
        for (rate, max) in RATES {
            let count = rate.map_or(FLAT_OUT, |rate| rate * seconds);
            let (ratio, syncs) = cost(&scene, &agent, count, rate)?;
            let name = rate.map_or("flat out".to_owned(), |rate| format!("at {rate}/s"));
            ratios.push(format!("{ratio:.2} {name} ({syncs:.1} syncs/s)"));
            if ratio > max {
                bail!("{life}: {}: more than {max} disk bytes a payload byte", ratios.join(", "));
            }
            if syncs > 1.0 / COMMIT_AFTER.as_secs_f64() + 1.0 {
                bail!("{life}: {}: more than one sync each {COMMIT_AFTER:?}", ratios.join(", "));
            }
        }
        figures.push(format!("{life}: disk bytes a payload byte {}", ratios.join(", ")));
    }
    Ok(figures.join("; "))
}

/// Disk bytes a payload byte, and syncs a second.
fn cost(scene: &Scene, agent: &Agent, count: u64, rate: Option<u64>) -> anyhow::Result<(f64, f64)> {
    let (written, syncs, started) = (agent.written_bytes()?, scene.fact("/buffer/syncs"), Instant::now());
    load::send(Way::WebSocket, &scene.address, count, rate)?;
    let payload: u64 = (0..count).map(|number| reading(number).len() as u64).sum();
    let written = agent.written_bytes()? - written;
    let syncs = scene.fact("/buffer/syncs") - syncs;
    Ok((written as f64 / payload as f64, syncs as f64 / started.elapsed().as_secs_f64()))
}

fn online(count: u64) -> anyhow::Result<String> {
    let directory = scratch()?;
    let scene = Scene::new(directory.path(), "", "[buffer]\ncommit_after = \"10s\"")?;
    let received = Received::default();
    let _peer = Peer::listen(scene.peer, &received)?;
    let agent = scene.start()?;
    load::send(Way::WebSocket, &scene.address, 100, None)?;
    scene.wait_until("all is drained", || scene.is_drained())?;
    // The list of devices goes to the disk once.
    scene.wait_until("the device is saved", || scene.data().join("presence").exists())?;
    let written = agent.written_bytes()?;
    load::send(Way::WebSocket, &scene.address, count, Some(5_000))?;
    scene.wait_until("all is drained", || scene.is_drained())?;
    let written = agent.written_bytes()? - written;
    let payload: u64 = (0..count).map(|number| reading(number).len() as u64).sum();
    let ratio = written as f64 / payload as f64;
    let figure = format!(
        "{written} bytes for {count} messages while the link is up, {ratio:.4} a payload byte: the numbers reserved ahead"
    );
    if ratio > ONLINE_MAX {
        bail!("{figure}");
    }
    Ok(figure)
}

/// Sends far more than fits, then drains what is left.
fn pass_through(payload: u64, max_bytes: u64) -> anyhow::Result<String> {
    let directory = scratch()?;
    let scene =
        Scene::new(directory.path(), "", &format!("[buffer]\nmax_bytes = \"{}MB\"", max_bytes / 1_000_000))?;
    let agent = scene.start()?;
    let (mut sent, mut most) = (0, 0);
    while sent < payload {
        const COUNT: u64 = 20_000;
        load::send(Way::WebSocket, &scene.address, COUNT, None)?;
        sent += COUNT * reading(0).len() as u64;
        most = bytes_below(&scene.data()).max(most);
    }
    let received = Received::default();
    let _peer = Peer::listen(scene.peer, &received)?;
    scene.wait_until("all is drained", || scene.is_drained())?;
    // The reserve beside the store stays.
    let store = scene.data().join("store");
    scene.wait_until("space is given back", || bytes_below(&store) < max_bytes / 4)?;
    let left = bytes_below(&store);
    drop(agent);
    let figures = format!(
        "{} MB through a buffer of {} MB: the data directory takes at most {:.1} MB, the store {:.1} MB after the drain",
        sent / 1_000_000,
        max_bytes / 1_000_000,
        most as f64 / 1e6,
        left as f64 / 1e6
    );
    if most > 2 * max_bytes {
        bail!("{figures}");
    }
    Ok(figures)
}
