//! A card that turns read-only under load, as ext4 does after an error, an agent that is started on it, and the way back.

use std::io::BufReader;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Scale;
use super::load::answer;
use super::mounted::Image;
use super::peer::{Peer, Received};
use super::scene::{Agent, Scene, binary, scratch};
use super::sensor::{Sensors, request};

const SIZE: u64 = 96 << 20;
const ROUNDS: u64 = 10;
const ROUNDS_QUICK: u64 = 1;
/// A sender is answered within 10 s of a failing store; the rest is for a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Proves it.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let directory = scratch()?;
    let tried = Image::ext4(directory.path(), SIZE);
    if let Err(error) = tried.and_then(|image| image.mount(&directory.path().join("try"), "rw")) {
        return Ok(format!("SKIPPED: no loop device here ({error:#})"));
    }
    let mut sums = Sums::default();
    for round in 0..scale.count(ROUNDS, ROUNDS_QUICK) {
        live(&directory.path().join(format!("round-{round}")), &mut sums)?;
    }
    let Sums { stored, held, confirmed, longest, rounds } = sums;
    Ok(format!(
        "{rounds} times read-only under load, {rounds} starts on it, {rounds} times writable again: 0 of {stored} stored readings lost, {held} \
         held ones delivered and {confirmed} new ones stored by their confirmation meanwhile, every sender answered within {:.1} s; no device \
         that injects errors here (device mapper)",
        longest.as_secs_f64()
    ))
}

#[derive(Default)]
struct Sums {
    rounds: u64,
    stored: u64,
    held: u64,
    confirmed: u64,
    longest: Duration,
}

fn live(directory: &Path, sums: &mut Sums) -> anyhow::Result<()> {
    std::fs::create_dir(directory)?;
    let image = Image::ext4(directory, SIZE)?;
    let scene = Scene::new(directory, "window = 100", "[buffer]\ncommit_after = \"30ms\"")?;
    let mut card = image.mount(&scene.data(), "rw,errors=remount-ro")?;
    let received = Received::default();
    let agent = scene.start()?;
    let sensors = Sensors::start(&scene.address, Duration::from_millis(1), 0);
    let asker = Asker::start(&scene.address);
    scene.wait_until("something is held", || sensors.count() > 500)?;
    // As after an error of the device: nothing is written any more, not even to files that are open.
    card.remount("abort")?;
    scene.wait_until("the status says read-only", || is(&scene, "read-only"))?;
    export(&scene)?;
    let held = sensors.stored();
    let count = deliver(&scene, &received, &sensors, held.len())?;
    sums.held += held.len() as u64;
    sums.confirmed += count;
    let agent = start_again(agent, &scene)?;
    sums.confirmed += deliver(&scene, &received, &sensors, 0)?;
    drop(agent);
    drop(card);
    image.repair()?;
    // Mounted so at once, the loop device itself could not be written any more.
    card = image.mount(&scene.data(), "rw")?;
    card.remount("ro")?;
    let agent = scene.start()?;
    scene.wait_until("the status says read-only", || is(&scene, "read-only"))?;
    card.remount("rw")?;
    scene.wait_until("the store is writable again", || is(&scene, "ok"))?;
    let before = sensors.count();
    scene.wait_until("it stores again without a link", || sensors.count() > before + 10)?;
    let longest = asker.end();
    let (stored, _) = sensors.end();
    let _peer = Peer::listen(scene.peer, &received)?;
    scene.wait_until("all is drained", || scene.is_drained())?;
    received.require(&stored)?;
    if longest > ANSWER_WITHIN {
        bail!("a sender waited {longest:?} for its answer");
    }
    if let Some(panic) = scene.log_with(&["panicked"]).first() {
        bail!("{panic}");
    }
    drop(agent);
    sums.rounds += 1;
    sums.stored += stored.len() as u64;
    sums.longest = sums.longest.max(longest);
    Ok(())
}

fn is(scene: &Scene, store: &str) -> bool {
    scene.status().unwrap_or_default()["buffer"]["store"] == store
}

/// Exports the held messages from the running agent.
fn export(scene: &Scene) -> anyhow::Result<()> {
    let mut command = binary();
    command.args(["buffer", "export", "--config"]).arg(scene.directory.join("holdfast.toml"));
    let output = command.output().context("cannot run the binary")?;
    let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    if !output.status.success() || lines < 500 {
        bail!("the export gives {lines} lines: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Lets the link come: all that was held before goes out, and then new readings are stored by their confirmation. Tells how many.
fn deliver(scene: &Scene, received: &Received, sensors: &Sensors, held: usize) -> anyhow::Result<u64> {
    let peer = Peer::listen(scene.peer, received)?;
    let before = sensors.stored();
    let numbers: Vec<u64> = before.iter().take(held).map(|(number, _)| *number).collect();
    scene.wait_until("what is held is delivered", || received.missing(&numbers).is_empty())?;
    scene.wait_until("new readings are stored by their confirmation", || {
        sensors.count() > before.len() + 200 && is(scene, "read-only")
    })?;
    let confirmed = sensors.count() - before.len();
    drop(peer);
    Ok(confirmed as u64)
}

fn start_again(agent: Agent, scene: &Scene) -> anyhow::Result<Agent> {
    drop(agent);
    let agent = scene.start()?;
    scene.wait_until("the status says read-only", || is(scene, "read-only"))?;
    Ok(agent)
}

/// Asks for one reading after the other to be stored, and keeps the longest time that an answer took.
struct Asker {
    ending: Arc<AtomicBool>,
    longest_us: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Asker {
    fn start(address: &str) -> Asker {
        let (ending, longest_us) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends, longest, address) = (Arc::clone(&ending), Arc::clone(&longest_us), address.to_owned());
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                match TcpStream::connect(&address) {
                    Ok(stream) => drop(ask(&stream, &ends, &longest)),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Asker { ending, longest_us, thread }
    }

    fn end(self) -> Duration {
        self.ending.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }
}

/// Asks until the connection breaks.
fn ask(stream: &TcpStream, ending: &AtomicBool, longest_us: &AtomicU64) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(2 * ANSWER_WITHIN))?;
    let mut answers = BufReader::new(stream);
    while !ending.load(Ordering::Relaxed) {
        let asked = Instant::now();
        request(stream, b"{\"asked\":1}")?;
        let answered = answer(&mut answers);
        // An agent that ends closes the connection, which is no answer that is late.
        if answered.is_ok() || asked.elapsed() > ANSWER_WITHIN {
            let took = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
            longest_us.fetch_max(took, Ordering::Relaxed);
        }
        answered?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
