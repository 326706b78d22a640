//! The worst that strangers without a login can do to memory, while honest sensors are served beside them.

mod bound;
mod stranger;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Scale;
use super::peer::{Peer, Received};
use super::scene::{Scene, free_port, scratch};
use super::sensor::Sensors;
use bound::Bound;
use stranger::{Flood, floods};

/// What may be resident under every flood.
const RSS_MAX: u64 = 64 << 20;
/// What may be when all that a flood left is delivered, which strangers cannot hurry.
const DRAIN_MAX: u64 = 80 << 20;
const SECONDS: u64 = 5;
const SECONDS_QUICK: u64 = 1;
/// Those that take most.
const QUICK: usize = 5;
/// Requests of each honest sensor that must be stored while a flood goes on.
const HONEST: u64 = 3;

/// Proves it.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let seconds = scale.count(SECONDS, SECONDS_QUICK);
    let (mut figures, mut worst, mut drain, mut broken) = (Vec::new(), 0, 0, Vec::new());
    let mut bounded = String::new();
    let floods = floods()?;
    let count = if scale.quick { QUICK } else { floods.len() };
    for flood in floods.iter().take(count) {
        let lasting = Duration::from_secs(if scale.quick { seconds } else { seconds * flood.times });
        match endure(flood, lasting) {
            Ok(seen) => {
                if seen.peak > worst {
                    bounded = seen.bounded;
                }
                worst = worst.max(seen.peak);
                drain = drain.max(seen.whole);
                figures.push(format!("{} {:.1}", flood.name, seen.peak as f64 / 1e6));
            }
            Err(error) => broken.push(format!("{}: {error:#}", flood.name)),
        }
    }
    let figures = format!(
        "{:.1} MB resident at most, {:.1} MB with the drain, {bounded}: {}",
        worst as f64 / 1e6,
        drain as f64 / 1e6,
        figures.join(", ")
    );
    if !broken.is_empty() {
        bail!("{}; {figures}", broken.join("; "));
    }
    Ok(figures)
}

/// What a flood did.
struct Seen {
    peak: u64,
    /// With the drain of all that it left.
    whole: u64,
    /// How much memory was charged to it with that of the kernel, or what took the place of a cgroup.
    bounded: String,
}

/// Honest sensors, which had connected before, must be told `stored` meanwhile, each of them.
fn endure(flood: &Flood, lasting: Duration) -> anyhow::Result<Seen> {
    let directory = scratch()?;
    let encrypted = free_port()?;
    let tables = format!("[buffer]\nmax_bytes = \"4GB\"\n{}", secure(directory.path(), encrypted)?);
    let scene = Scene::new(directory.path(), "", &tables)?;
    let bound = Bound::of_the_unit()?;
    let mut agent = scene.start_through(&mut bound.command())?;
    let sensors = Sensors::start(&scene.address, Duration::from_millis(20), 0);
    scene.wait_until("both sensors are served", || sensors.count() > 60)?;
    let port =
        if flood.is_tls { encrypted } else { scene.address.rsplit_once(':').context("a port")?.1.parse()? };
    let (begun, before) = (Instant::now(), sensors.served());
    let served = || sensors.served().iter().zip(before).map(|(now, before)| now - before).min().unwrap_or(0);
    stranger::run(flood, port, lasting, || served() >= HONEST)?;
    let (peak, honest) = (agent.peak_bytes()?, served());
    scene.wait_until("sensors are served afterwards", || served() > honest)?;
    let (stored, _) = sensors.end();
    let received = Received::default();
    let _peer = Peer::listen(scene.peer, &received)?;
    scene.wait_until("all is drained", || scene.is_drained())?;
    // A store that is full gives up its oldest, and counts them.
    if scene.status()?["buffer"]["dropped"] == 0 {
        received.require(&stored)?;
    }
    let whole = agent.peak_bytes()?;
    let seen = format!(
        "{:.1} MB resident at most, {:.1} MB with the drain, {honest} requests of each honest sensor stored in {:.1} s",
        peak as f64 / 1e6,
        whole as f64 / 1e6,
        begun.elapsed().as_secs_f64()
    );
    let panics = scene.log_with(&["panicked"]);
    let has_ended = agent.ended()?.is_some() || bound.kills()? > 0;
    if peak > RSS_MAX || whole > DRAIN_MAX || honest < HONEST || has_ended || !panics.is_empty() {
        bail!("{seen}, {} {}", bound.told()?, panics.join(" | "));
    }
    Ok(Seen { peak, whole, bounded: bound.told()? })
}

/// A second server, with TLS.
fn secure(directory: &std::path::Path, port: u16) -> anyhow::Result<String> {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&cert, issued.cert.pem())?;
    std::fs::write(&key, issued.signing_key.serialize_pem())?;
    Ok(format!(
        "[[server]]\nid = \"secure\"\nbind = [\"127.0.0.1:{port}\"]\ntls = {{ cert = {cert:?}, key = {key:?} }}\n"
    ))
}
