//! Memory while very many messages are buffered and drained, and how long a full store takes to open.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::Scale;
use super::load::{self, Way};
use super::process::{Process, wait_until};
use super::scene::{Scene, binary, bytes_below, scratch};

const MESSAGES: u64 = 2_000_000;
const MESSAGES_QUICK: u64 = 100_000;
const RSS_MAX: u64 = 24_000_000;
/// A store of the default size.
const FULL_BYTES: u64 = 256_000_000;
const FULL_BYTES_QUICK: u64 = 16_000_000;
const OPENINGS: usize = 5;
const OPEN_WITHIN: Duration = Duration::from_secs(1);

/// Proves it.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let buffered = buffer_and_drain(scale.count(MESSAGES, MESSAGES_QUICK))?;
    let opened = open_a_full_store(scale.count(FULL_BYTES, FULL_BYTES_QUICK))?;
    Ok(format!("{buffered}; {opened}"))
}

fn buffer_and_drain(count: u64) -> anyhow::Result<String> {
    let directory = scratch()?;
    let scene = Scene::new(directory.path(), "", "[buffer]\nmax_bytes = \"1GB\"")?;
    let agent = scene.start()?;
    load::send(Way::WebSocket, &scene.address, count, None)?;
    let buffering = agent.peak_bytes()?;
    let on_disk = bytes_below(&scene.data().join("store"));
    let _receiver = receiver(scene.peer)?;
    wait_until("all is drained", || scene.is_drained())?;
    let draining = agent.peak_bytes()?;
    if scene.fact("/links/cloud/confirmed") < count {
        bail!("only {} of {count} were confirmed", scene.fact("/links/cloud/confirmed"));
    }
    let figures = format!(
        "{count} messages, {} MB on the disk: at most {:.1} MB resident while they are buffered, {:.1} MB with the drain",
        on_disk / 1_000_000,
        buffering as f64 / 1e6,
        draining as f64 / 1e6
    );
    if draining > RSS_MAX {
        bail!("{figures}: more than {} MB", RSS_MAX / 1_000_000);
    }
    Ok(figures)
}

fn open_a_full_store(max_bytes: u64) -> anyhow::Result<String> {
    let directory = scratch()?;
    let scene =
        Scene::new(directory.path(), "", &format!("[buffer]\nmax_bytes = \"{}MB\"", max_bytes / 1_000_000))?;
    let agent = scene.start()?;
    while scene.fact("/buffer/dropped") == 0 {
        load::send(Way::WebSocket, &scene.address, 100_000, None)?;
    }
    let written = bytes_below(&scene.data().join("store"));
    drop(agent);
    let mut slowest = Duration::ZERO;
    for _ in 0..OPENINGS {
        let started = Instant::now();
        let agent = scene.start()?;
        slowest = slowest.max(started.elapsed());
        drop(agent);
    }
    let figures = format!(
        "a full store of {} MB ({} MB in files) opens within {} ms, the slowest of {OPENINGS}",
        max_bytes / 1_000_000,
        written / 1_000_000,
        slowest.as_millis()
    );
    if slowest > OPEN_WITHIN {
        bail!("{figures}");
    }
    Ok(figures)
}

/// The reference receiver.
pub fn receiver(port: u16) -> anyhow::Result<Process> {
    let mut command = binary();
    command.args(["receive", "--quiet", "--ack-every", "100", "--listen", &format!("127.0.0.1:{port}")]);
    Process::start(&mut command)
}
