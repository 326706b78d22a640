//! Too few descriptors, threads and bytes of memory: the agent may turn callers away, and where there is no memory it may be
//! killed, but nothing that it called stored is lost, links come back, and it says how it is.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fastrand::Rng;
use serde_json::Value;

use super::Scale;
use super::load;
use super::peer::{Peer, Received};
use super::scene::{Agent, Scene, binary, scratch};
use super::sensor::{Sensors, payload, request};

const DESCRIPTORS: u64 = 64;
/// Sensors that want one each.
const CROWD: u64 = 200;
const ROUNDS: u64 = 25;
const ROUNDS_QUICK: u64 = 2;
/// The kernel takes a connection at once, or not before another one is accepted.
const AT_ONCE: Duration = Duration::from_millis(10);
/// How long is looked at how much of a processor it takes.
const WATCHED: Duration = Duration::from_secs(1);
/// The link must not have to wait until the sensors are sent away for their silence, which is after ten seconds.
const LINK_WITHIN: Duration = Duration::from_secs(5);
/// An agent that turns callers away or cannot dial has nothing to do.
const BUSY_MAX: Duration = Duration::from_millis(300);
/// A user that nobody is.
const USER: u32 = 64_321;
const THREADS: u64 = 64;
const DEATHS: u64 = 30;
const DEATHS_QUICK: u64 = 3;
/// Senders of bodies, and the readings in each.
const SENDERS: usize = 16;
const LINES: u64 = 1_000;
/// Bytes beyond those that it has at rest, at most.
const MEMORY_MAX: u64 = 24 << 20;
/// How long a life with too little memory may last.
const LIFE: Duration = Duration::from_secs(1);
const TABLES: &str = "[buffer]\nmax_bytes = \"1GB\"\ncommit_after = \"30ms\"";

/// Proves it.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let descriptors = descriptors(scale.count(ROUNDS, ROUNDS_QUICK))?;
    let threads = threads(scale.count(ROUNDS, ROUNDS_QUICK))?;
    let memory = memory(scale.count(DEATHS, DEATHS_QUICK), scale.seed)?;
    Ok(format!("{descriptors}; {threads}; {memory}"))
}

fn descriptors(rounds: u64) -> anyhow::Result<String> {
    let directory = scratch()?;
    let scene = Scene::new(directory.path(), "", TABLES)?;
    let limit = format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}");
    let agent = scene.start_through(Command::new("prlimit").arg(limit).arg(binary().get_program()))?;
    let received = Received::default();
    let (mut stored, mut busiest, mut slowest) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    for round in 0..rounds {
        let crowd = Crowd::open(&scene.address, round * CROWD)?;
        asked(&scene).context("the control socket does not answer")?;
        let peer = Peer::listen(scene.peer, &received)?;
        let listening = Instant::now();
        scene.wait_until("the link is up among the sensors", || link(&scene)["state"] == "up")?;
        slowest = slowest.max(listening.elapsed());
        busiest = busiest.max(busy(&agent)?);
        stored.extend(crowd.stored()?);
        // Every other time the sensors go before the link does.
        if round % 2 == 0 {
            drop(crowd);
        }
        drop(peer);
        scene.wait_until("the link is down", || link(&scene)["state"] != "up")?;
    }
    let _peer = Peer::listen(scene.peer, &received)?;
    scene.wait_until("all is drained", || scene.is_drained())?;
    let missing = received.missing(&stored).len();
    let figures = format!(
        "{DESCRIPTORS} descriptors for {CROWD} sensors, {rounds} times: {missing} of {} lost, the link up within {} ms, at most {} ms of \
         processor in a second",
        stored.len(),
        slowest.as_millis(),
        busiest.as_millis()
    );
    if missing > 0 || stored.is_empty() || busiest > BUSY_MAX || slowest > LINK_WITHIN {
        bail!("{figures}");
    }
    Ok(figures)
}

/// As a user whose threads are counted, with a peer that has a name: each dial needs a thread.
fn threads(rounds: u64) -> anyhow::Result<String> {
    let directory = tempfile::tempdir()?;
    let scene = Scene::new(directory.path(), "", TABLES)?;
    let Some(mut command) = as_somebody(&scene)? else {
        return Ok("threads: skipped, since no other user can be taken here".to_owned());
    };
    let agent = scene.start_through(&mut command)?;
    let received = Received::default();
    let mut peer = Some(Peer::listen(scene.peer, &received)?);
    let sensors = Sensors::start(&scene.address, Duration::from_millis(20), 0);
    let mut busiest = Duration::ZERO;
    for _ in 0..rounds {
        scene.wait_until("the link is up", || link(&scene)["state"] == "up")?;
        scene.wait_until("the store has its threads", || sensors.count() > 0)?;
        limit(&agent, Some(USER), "nproc", agent.threads()?)?;
        drop(peer.take());
        let fails = || {
            link(&scene)["last_error"].as_str().is_some_and(|error| error.contains("cannot start a thread"))
        };
        scene.wait_until("the link says that there is no thread", fails)?;
        let before = sensors.count();
        peer = Some(Peer::listen(scene.peer, &received)?);
        busiest = busiest.max(busy(&agent)?);
        scene.wait_until("sensors are served meanwhile", || sensors.count() > before)?;
        limit(&agent, Some(USER), "nproc", THREADS)?;
    }
    let (stored, _) = sensors.end();
    scene.wait_until("all is drained", || scene.is_drained())?;
    let numbers: Vec<u64> = stored.iter().map(|(number, _)| *number).collect();
    let missing = received.missing(&numbers).len();
    let figures = format!(
        "no thread to be had, {rounds} times: {missing} of {} lost, the link came back each time, at most {} ms of processor in a second",
        numbers.len(),
        busiest.as_millis()
    );
    if missing > 0 || busiest > BUSY_MAX {
        bail!("{figures}");
    }
    Ok(figures)
}

fn memory(lives: u64, seed: u64) -> anyhow::Result<String> {
    let directory = scratch()?;
    let scene = Scene::new(directory.path(), "", TABLES)?;
    let mut chance = Rng::with_seed(seed);
    let (mut stored, mut killed) = (Vec::new(), 0);
    let next = AtomicU64::new(0);
    for _ in 0..lives {
        let mut agent = scene.start()?;
        let most = agent.address_space()? + chance.u64(..MEMORY_MAX);
        limit(&agent, None, "as", most)?;
        stored.extend(press(&scene.address, &next, || matches!(agent.ended(), Ok(None))));
        killed += u64::from(agent.ended()?.is_some());
    }
    let received = Received::default();
    let _peer = Peer::listen(scene.peer, &received)?;
    let _agent = scene.start()?;
    scene.wait_until("all is drained", || scene.is_drained())?;
    let missing = stored.iter().flat_map(Clone::clone).filter(|number| !received.has(*number)).count();
    let figures = format!(
        "{lives} lives with up to {} MB more than at rest, of which {killed} ended for want of memory: {missing} of {} lost",
        MEMORY_MAX >> 20,
        stored.len() as u64 * LINES
    );
    if missing > 0 {
        bail!("{figures}");
    }
    Ok(figures)
}

/// Sends bodies from all sides while the agent lives, for a while at most. Gives the readings that were told to be stored.
fn press(address: &str, next: &AtomicU64, mut lives: impl FnMut() -> bool) -> Vec<Range<u64>> {
    let (stored, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let send = || {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIFE))?;
        let mut answers = std::io::BufReader::new(&stream);
        while !over.load(Ordering::Relaxed) {
            let first = next.fetch_add(LINES, Ordering::Relaxed);
            let body: Vec<String> = (first..first + LINES).map(load::reading).collect();
            request(&stream, body.join("\n").as_bytes())?;
            if load::answer(&mut answers)?.0 == 200 {
                stored.lock().expect("nobody panics with it").push(first..first + LINES);
            }
        }
        anyhow::Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            // A connection that breaks is what this is about.
            scope.spawn(|| drop(send()));
        }
        let started = Instant::now();
        while lives() && started.elapsed() < LIFE {
            std::thread::sleep(Duration::from_millis(3));
        }
        over.store(true, Ordering::Relaxed);
    });
    stored.into_inner().expect("nobody panicked with it")
}

/// The binary as a user of its own; none where that is not permitted. The configuration names the peer.
fn as_somebody(scene: &Scene) -> anyhow::Result<Option<Command>> {
    let (file, program) = (scene.directory.join("holdfast.toml"), scene.directory.join("holdfast"));
    std::fs::copy(binary().get_program(), &program)?;
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("ws://127.0.0.1:", "ws://localhost:"))?;
    let paths: [&Path; 4] = [&scene.directory, &scene.data(), &file, &program];
    if paths.iter().any(|path| chown(path, Some(USER), Some(USER)).is_err()) {
        return Ok(None);
    }
    let somebody = || {
        let mut command = as_user(USER);
        command.arg("prlimit").arg(format!("--nproc={THREADS}")).arg(&program);
        command
    };
    let tried = somebody().arg("--version").output();
    Ok(tried.is_ok_and(|tried| tried.status.success()).then(somebody))
}

fn as_user(user: u32) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups");
    command
}

/// Sets a limit of a running agent, which the user may do who runs it.
fn limit(agent: &Agent, user: Option<u32>, name: &str, most: u64) -> anyhow::Result<()> {
    let mut command = user.map_or_else(
        || Command::new("prlimit"),
        |user| {
            let mut command = as_user(user);
            command.arg("prlimit");
            command
        },
    );
    command.args(["--pid", &agent.id().to_string(), &format!("--{name}={most}:")]);
    let done = command.output().context("cannot run prlimit")?;
    if !done.status.success() {
        bail!("cannot set the limit {name}: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

/// Time on a processor within a while of doing nothing.
fn busy(agent: &Agent) -> anyhow::Result<Duration> {
    let before = agent.cpu()?;
    std::thread::sleep(WATCHED);
    Ok(agent.cpu()?.saturating_sub(before))
}

/// Its own status over the control socket.
fn asked(scene: &Scene) -> anyhow::Result<Value> {
    let mut command = binary();
    command.args(["status", "--json", "--socket"]).arg(scene.data().join("control.sock"));
    let told = command.output()?;
    // 1: something is not well, as a link that is down.
    if !matches!(told.status.code(), Some(0 | 1)) {
        bail!("{}", String::from_utf8_lossy(&told.stderr));
    }
    Ok(serde_json::from_slice(&told.stdout)?)
}

fn link(scene: &Scene) -> Value {
    asked(scene).unwrap_or_default()["links"]["cloud"].take()
}

/// Sensors that keep their connections, with one reading each.
struct Crowd {
    sensors: Vec<(u64, TcpStream)>,
}

impl Crowd {
    fn open(address: &str, first: u64) -> anyhow::Result<Crowd> {
        let address = address.parse()?;
        let mut sensors = Vec::new();
        for number in first..first + CROWD {
            // The queue of the kernel is full, too.
            let Ok(stream) = TcpStream::connect_timeout(&address, AT_ONCE) else { continue };
            request(&stream, payload(number).as_bytes())?;
            stream.set_nonblocking(true)?;
            sensors.push((number, stream));
        }
        Ok(Crowd { sensors })
    }

    /// The readings that were told to be stored so far.
    fn stored(&self) -> anyhow::Result<Vec<u64>> {
        let mut stored = Vec::new();
        for (number, mut stream) in self.sensors.iter().map(|(number, stream)| (number, stream)) {
            let mut head = [0; 12];
            match stream.read(&mut head) {
                Ok(_) if head.ends_with(b" 200") => stored.push(*number),
                Ok(_) => {}
                // It waits to be accepted, or was turned away.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(stored)
    }
}
