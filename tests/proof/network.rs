//! Bad networks. Each scene has an agent, a network namespace with a peer in it, and a line between them that goes wrong in one
//! way. All of them run at once. What was stored has to come, in order, and a slow line must not pay twice.

mod far;
mod line;

use std::io::BufReader;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use self::far::{Far, Seen};
use self::line::Line;
use super::Scale;
use super::load::answer;
use super::scene::{Scene, scratch};
use super::sensor::request;

/// Once the line is sound again, or as sound as it gets, all has come within this.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes that the agent may send at most for each that has to arrive, counted where the peer reads them.
const SENT_MAX: f64 = 1.1;
/// Bytes that a slow line may carry for each of them. TCP's slow start overruns the queue of the line and sends the rest again, more
/// or less by chance; with this everything went twice.
const CARRIED_MAX: f64 = 2.0;
const SIZE: usize = 200;
/// The deadlines of the scenes that wait for them.
const QUICK_PINGS: &str = "ping = { interval = \"2s\", timeout = \"2s\" }\nconfirm_timeout = \"6s\"";

/// One way to go wrong.
struct Case {
    name: &'static str,
    /// More lines of the client.
    client: &'static str,
    messages: u64,
    /// Bytes of each.
    size: usize,
    /// The peer's rest after each frame.
    rest: Duration,
    /// Bytes that the peer's kernel takes before they are read, where that is little.
    room: Option<usize>,
    /// Trouble of the line, while messages come in.
    trouble: Trouble,
    /// Whether each message comes once, on one connection, without many more bytes than there are.
    is_thrifty: bool,
}

enum Trouble {
    /// It is like this for as long as the scene goes on.
    Lasting(Value),
    /// It is like this for a while.
    Passing(Value, Duration),
    /// It comes and goes, for so many times.
    Flapping(Duration, u64),
    /// The address of this end changes, this often.
    Readdressing(u64),
    /// The peer reads a byte a second for a while.
    Trickling(Duration),
}

/// Outcome of a scene.
struct Outcome {
    twice: usize,
    connections: usize,
    /// Bytes that the peer has read.
    read: u64,
    /// Bytes that the line has carried.
    carried: u64,
    needed: u64,
}

impl Outcome {
    /// Bytes for each that had to go: those that were read, and those that were carried.
    fn ratios(&self) -> (f64, f64) {
        let needed = self.needed as f64;
        (self.read as f64 / needed, self.carried as f64 / needed)
    }
}

/// Shows the figures of all scenes, or says which one broke the promise.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    if let Some(lacking) = line::lacking() {
        return Ok(format!("SKIPPED, no line can be laid here: {lacking}"));
    }
    let cases = cases(scale);
    let outcomes: Vec<anyhow::Result<Outcome>> = std::thread::scope(|scope| {
        let scenes: Vec<_> = cases
            .iter()
            .flat_map(|case| [(case, "pong"), (case, "ack")])
            .enumerate()
            // One of the two will do for a quick look, in turn.
            .filter(|(number, _)| !scale.quick || number % 4 == 0 || number % 4 == 3)
            .map(|(number, (case, confirm))| {
                let name = move || format!("{} ({confirm})", case.name);
                scope.spawn(move || play(case, confirm, number).with_context(name))
            })
            .collect();
        scenes.into_iter().map(|scene| scene.join().expect("a scene ends by itself")).collect()
    });
    let (mut scenes, mut twice, mut connections) = (0, 0, 0);
    let (mut sent, mut carried) = (0.0_f64, 0.0_f64);
    for outcome in outcomes {
        let outcome = outcome?;
        scenes += 1;
        twice += outcome.twice;
        connections += outcome.connections;
        let ratios = outcome.ratios();
        (sent, carried) = (sent.max(ratios.0), carried.max(ratios.1));
    }
    let messages: u64 = cases.iter().map(|case| case.messages).sum();
    Ok(format!(
        "{scenes} scenes over {} kinds of bad lines, {messages} messages in each way to confirm: 0 lost, 0 out of order, {twice} \
         twice over {connections} connections; for each byte that had to go over a slow line at most {sent:.2} were sent, and \
         {carried:.2} with what TCP repeats",
        cases.len()
    ))
}

fn cases(scale: Scale) -> Vec<Case> {
    let seconds = |full, quick| Duration::from_secs(scale.count(full, quick));
    let small = |name, client, trouble| Case {
        name,
        client,
        messages: scale.count(2_000, 200),
        size: SIZE,
        rest: Duration::ZERO,
        room: None,
        trouble,
        is_thrifty: false,
    };
    let slow = |name, rate: u64, messages| Case {
        messages,
        size: 60_000,
        is_thrifty: true,
        ..small(name, "", Trouble::Lasting(json!({ "rate": rate, "delay": 0.05 })))
    };
    let mut cases = vec![
        slow("4 KB/s", 4_000, scale.count(4, 1)),
        slow("24 KB/s", 24_000, scale.count(20, 4)),
        small("half open", QUICK_PINGS, Trouble::Passing(json!({ "down": true }), seconds(30, 6))),
        small("30 % lost", "", Trouble::Passing(json!({ "loss": 0.3, "delay": 0.02 }), seconds(60, 6))),
        Case {
            messages: scale.count(400, 200),
            ..small("2 s each way", "", Trouble::Lasting(json!({ "delay": 2.0 })))
        },
        small("MTU black hole", QUICK_PINGS, Trouble::Passing(json!({ "max_packet": 600 }), seconds(30, 6))),
        small("flapping", QUICK_PINGS, Trouble::Flapping(Duration::from_millis(700), scale.count(150, 5))),
        small("another address", QUICK_PINGS, Trouble::Readdressing(scale.count(5, 1))),
        Case {
            room: Some(8 * 1024),
            ..small("a byte a second", QUICK_PINGS, Trouble::Trickling(seconds(30, 6)))
        },
        Case {
            rest: Duration::from_millis(20),
            ..small("a peer that is always late", QUICK_PINGS, Trouble::Lasting(json!({})))
        },
    ];
    if !scale.quick {
        cases.push(slow("2 KB/s", 2_000, 2));
    }
    cases
}

fn play(case: &Case, confirm: &str, number: usize) -> anyhow::Result<Outcome> {
    let mut line = Line::lay(number)?;
    let directory = scratch()?;
    let framing = if confirm == "ack" { "framing = \"envelope\"" } else { "" };
    let client = format!("confirm = \"{confirm}\"\n{framing}\n{}", case.client);
    let scene = Scene::towards(directory.path(), &line.far, &client, "")?;
    let far = Far::listen(&line, scene.peer, case.rest, case.room)?;
    let _agent = scene.start()?;
    scene.wait_until("the link is up", || scene.fact("/links/cloud/reconnects") == 0 && is_up(&scene))?;
    let before = line.bytes_sent()?;
    let lasts = lasts(&case.trouble);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let sensor = scope.spawn(|| send(&scene, case, lasts));
        happen(&case.trouble, &mut line, &far.seen)?;
        sensor.join().expect("a sensor ends by itself")
    })?;
    wait(case, &far.seen, &scene)?;
    let outcome = Outcome {
        twice: far.seen.twice(),
        connections: far.seen.connections(),
        read: if case.is_thrifty { far.seen.bytes() } else { 0 },
        carried: if case.is_thrifty { line.bytes_sent()? - before } else { 0 },
        needed: case.messages * case.size as u64,
    };
    judge(case, &far.seen, &outcome).with_context(|| scene.log_with(&["link"]).join(" | "))?;
    Ok(outcome)
}

fn is_up(scene: &Scene) -> bool {
    scene.status().is_ok_and(|status| status["links"]["cloud"]["state"] == "up")
}

fn lasts(trouble: &Trouble) -> Duration {
    match trouble {
        Trouble::Lasting(_) => Duration::ZERO,
        Trouble::Passing(_, lasts) | Trouble::Trickling(lasts) => *lasts,
        Trouble::Flapping(each, times) => *each * 2 * u32::try_from(*times).unwrap_or(u32::MAX),
        Trouble::Readdressing(times) => Duration::from_secs(5 * times),
    }
}

/// Sends all messages, one after the other, spread over this time. Ends when all are stored.
fn send(scene: &Scene, case: &Case, over: Duration) -> anyhow::Result<()> {
    let stream = TcpStream::connect(&scene.address)?;
    let mut answers = BufReader::new(&stream);
    let started = Instant::now();
    for number in 0..case.messages {
        let due = over.mul_f64(number as f64 / case.messages as f64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let fill = "x".repeat(case.size.saturating_sub(40));
        request(&stream, format!("{{\"seq\":{number},\"fill\":\"{fill}\"}}").as_bytes())?;
        let (status, body) = answer(&mut answers)?;
        if status != 200 {
            bail!("message {number} was not stored: {status} {body}");
        }
    }
    Ok(())
}

fn happen(trouble: &Trouble, line: &mut Line, seen: &Seen) -> anyhow::Result<()> {
    match trouble {
        Trouble::Lasting(change) => line.is(change),
        Trouble::Passing(change, lasts) => {
            line.is(change)?;
            std::thread::sleep(*lasts);
            line.heal()
        }
        Trouble::Flapping(each, times) => {
            for _ in 0..*times {
                line.is(&json!({ "down": true }))?;
                std::thread::sleep(*each);
                line.heal()?;
                std::thread::sleep(*each);
            }
            Ok(())
        }
        Trouble::Readdressing(times) => {
            for _ in 0..*times {
                std::thread::sleep(Duration::from_secs(2));
                line.readdress()?;
                std::thread::sleep(Duration::from_secs(3));
            }
            Ok(())
        }
        Trouble::Trickling(lasts) => {
            seen.trickle(true);
            std::thread::sleep(*lasts);
            seen.trickle(false);
            Ok(())
        }
    }
}

fn wait(case: &Case, seen: &Seen, scene: &Scene) -> anyhow::Result<()> {
    let started = Instant::now();
    while seen.distinct() < case.messages as usize || !scene.is_drained() {
        if started.elapsed() > PATIENCE {
            let status = scene.status().unwrap_or_default();
            let link = &status["links"]["cloud"];
            bail!(
                "{} of {} came on {} connections, {} twice; the link says {link}; log: {}",
                seen.distinct(),
                case.messages,
                seen.connections(),
                seen.twice(),
                scene.log_with(&["link"]).join(" | ")
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn judge(case: &Case, seen: &Seen, outcome: &Outcome) -> anyhow::Result<()> {
    if seen.out_of_order() > 0 {
        bail!("{} messages came out of order", seen.out_of_order());
    }
    if !case.is_thrifty {
        return Ok(());
    }
    let Outcome { twice, connections, read, carried, needed } = *outcome;
    let ratios = outcome.ratios();
    if twice > 0 || connections > 1 || ratios.0 > SENT_MAX || ratios.1 > CARRIED_MAX {
        bail!(
            "{twice} came twice on {connections} connections; for {needed} bytes {read} were read and {carried} carried"
        );
    }
    Ok(())
}
