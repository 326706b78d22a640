//! The agent is killed at any moment, hundreds of times, while sensors go on sending and the link comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Agent, Http, Peer, WebSocketSender, scratch, uplink, wait_until};

const AGENTS: usize = 4;
const KILLS_PER_AGENT: usize = 55;
const WINDOW: usize = 100;
/// Messages as small as these that one group of the store can hold.
const GROUP: usize = 1_000;
const LINES: u64 = 20;

/// Outcome of one agent's life.
#[derive(Debug, Default)]
struct Sums {
    kills: usize,
    stored: usize,
    received: usize,
    lost: usize,
    twice: usize,
    disturbances: usize,
}

/// The far end of a link, and what is done to it.
enum Far {
    /// Raw frames and pongs; sometimes it is silent for a while.
    Silent(Peer),
    /// Envelopes and acknowledgements in JSON; sometimes it is killed.
    Killed(Peer),
    /// The same in CBOR with the reference receiver.
    KilledReceiver(Peer),
    /// Batches over HTTP; sometimes it is killed.
    KilledHttp(Peer),
}

#[test]
fn nothing_stored_is_lost_or_out_of_order_when_the_agent_is_killed_two_hundred_times() {
    let sums: Vec<Sums> = std::thread::scope(|scope| {
        let lives: Vec<_> = (0..AGENTS).map(|number| scope.spawn(move || live(number))).collect();
        lives.into_iter().map(|life| life.join().expect("the agent lives as it should")).collect()
    });
    let total = |number: fn(&Sums) -> usize| sums.iter().map(number).sum::<usize>();
    println!(
        "{} kills, {} disturbances of the link: {} stored, {} received, {} lost, {} seen twice",
        total(|sums| sums.kills),
        total(|sums| sums.disturbances),
        total(|sums| sums.stored),
        total(|sums| sums.received),
        total(|sums| sums.lost),
        total(|sums| sums.twice),
    );
    assert!(total(|sums| sums.kills) >= 200);
    assert!(total(|sums| sums.stored) > 2_000, "hardly anything was at stake: {sums:?}");
}

fn live(number: usize) -> Sums {
    let directory = scratch();
    let mut far = Far::start(number, directory.path());
    let more = format!("window = {WINDOW}\n{}", far.framing());
    let mut agent = Agent::start(directory.path(), &uplink(&far.url(), &more));
    let sender = WebSocketSender::start(directory.path(), "w-", 30);
    let poster = Poster::default();
    let (kills, disturbances) = std::thread::scope(|scope| {
        scope.spawn(|| poster.run());
        let _end = EndOf(&poster);
        kill_again_and_again(&mut agent, &mut far, &sender, &poster)
    });
    let mut stored = sender.end();
    stored.extend(poster.stored.into_inner().expect("nobody panics with it"));
    agent.wait_until_delivered();
    far.judge(&stored, kills, disturbances)
}

/// Gives how often that was, and how often the far end was disturbed. The agent runs at the end, and so does the far end.
fn kill_again_and_again(
    agent: &mut Agent,
    far: &mut Far,
    sender: &WebSocketSender,
    poster: &Poster,
) -> (usize, usize) {
    let (mut kills, mut disturbances) = (0, 0);
    for round in 0..KILLS_PER_AGENT {
        let disturbed = round % 3 == 2;
        if disturbed {
            disturbances += 1;
            far.fall_silent();
        }
        sender.aim(&format!("ws://{}/ws/pressure?confirm=1", agent.address));
        poster.aim(&agent.address);
        // A link that is away for longer than `commit_after` brings the store into play.
        let chance_ms = if disturbed { fastrand::u64(50..700) } else { fastrand::u64(10..250) };
        std::thread::sleep(Duration::from_millis(chance_ms));
        agent.kill();
        kills += 1;
        if round % 5 == 4 {
            let mut unlucky = Agent::launch(agent.data().parent().expect("it lies in the scratch directory"));
            std::thread::sleep(Duration::from_millis(fastrand::u64(0..60)));
            unlucky.kill();
            kills += 1;
        }
        if disturbed {
            far.come_back();
        }
        agent.start_again();
    }
    (kills, disturbances)
}

/// A sensor that posts, now one message, now lines of many.
#[derive(Default)]
struct Poster {
    address: Mutex<String>,
    stop: AtomicBool,
    stored: Mutex<Vec<String>>,
}

/// Ends the posting when it goes, also when a test fails.
struct EndOf<'a>(&'a Poster);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Poster {
    fn aim(&self, address: &str) {
        *self.address.lock().expect("nobody panics with it") = address.to_owned();
    }

    fn run(&self) {
        let mut next = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let address = self.address.lock().expect("nobody panics with it").clone();
            match Http::connect(&address) {
                Ok(http) => self.post(http, &mut next),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Posts until the connection ends. A number is used once, whatever becomes of it.
    fn post(&self, mut http: Http, next: &mut u64) {
        while !self.stop.load(Ordering::Relaxed) {
            let count = if next.is_multiple_of(4) { LINES } else { 1 };
            let payloads: Vec<String> = (*next..*next + count).map(|number| format!("p-{number}")).collect();
            *next += count;
            let answer = match count {
                1 => http.post("/post/pressure", &[], payloads[0].as_bytes()),
                _ => {
                    let lines: Vec<String> =
                        payloads.iter().map(|payload| format!("\"{payload}\"")).collect();
                    let fields = [("content-type", "application/x-ndjson")];
                    http.post("/post/pressure", &fields, lines.join("\n").as_bytes())
                }
            };
            match answer {
                Ok((200, _)) => self.stored.lock().expect("nobody panics with it").extend(payloads),
                Ok((429 | 503, _)) => {}
                Ok((status, body)) => panic!("{status} {}", String::from_utf8_lossy(&body)),
                Err(_) => return,
            }
        }
    }
}

impl Far {
    fn start(number: usize, directory: &Path) -> Far {
        let file = directory.join("got");
        match number % 4 {
            0 => Far::Silent(Peer::python("echo_store", &file, &[])),
            1 => Far::Killed(Peer::python("ack_server", &file, &[])),
            2 => Far::KilledReceiver(Peer::receiver(&file, &["--show-duplicates"])),
            _ => Far::KilledHttp(Peer::python("http_sink", &file, &[])),
        }
    }

    fn framing(&self) -> String {
        let framing = match self {
            Far::KilledHttp(_) => return "confirm_timeout = \"400ms\"".to_owned(),
            Far::Silent(_) => "",
            Far::Killed(_) => "confirm = \"ack\"\nframing = \"envelope\"",
            Far::KilledReceiver(_) => "confirm = \"ack\"\nframing = \"envelope\"\nencoding = \"cbor\"",
        };
        format!("ping = {{ interval = \"200ms\", timeout = \"400ms\" }}\n{framing}")
    }

    fn peer(&self) -> &Peer {
        let (Far::Silent(peer) | Far::Killed(peer) | Far::KilledReceiver(peer) | Far::KilledHttp(peer)) =
            self;
        peer
    }

    fn url(&self) -> String {
        match self {
            Far::Silent(peer) | Far::Killed(peer) | Far::KilledReceiver(peer) => peer.url(),
            Far::KilledHttp(peer) => format!("http://127.0.0.1:{}/in", peer.port),
        }
    }

    fn fall_silent(&mut self) {
        match self {
            Far::Silent(peer) => peer.process.signal(Signal::STOP),
            Far::Killed(peer) | Far::KilledReceiver(peer) | Far::KilledHttp(peer) => peer.process.kill(),
        }
    }

    fn come_back(&mut self) {
        match self {
            Far::Silent(peer) => peer.process.signal(Signal::CONT),
            Far::Killed(peer) => {
                *peer = Peer::python("ack_server", &peer.file, &["--port", &peer.port.to_string()]);
            }
            Far::KilledReceiver(peer) => {
                *peer = Peer::receiver_at(peer.port, &peer.file, &["--show-duplicates"]);
            }
            Far::KilledHttp(peer) => {
                *peer = Peer::python("http_sink", &peer.file, &["--port", &peer.port.to_string()]);
            }
        }
    }

    fn payloads(&self) -> Vec<String> {
        let lines = self.peer().lines();
        match self {
            Far::Silent(_) => lines.iter().map(|line| line.trim_matches('"').to_owned()).collect(),
            Far::Killed(_) | Far::KilledReceiver(_) | Far::KilledHttp(_) => {
                let values = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                values.filter_map(|value| Some(value.get("data")?.as_str()?.to_owned())).collect()
            }
        }
    }

    /// Holds what was stored against what is here.
    fn judge(&self, stored: &[String], kills: usize, disturbances: usize) -> Sums {
        let all_here = || self.payloads().iter().cloned().collect::<BTreeSet<_>>();
        if let Far::Silent(_) = self {
            // A pong may come before the lines of the frames in front of it are written.
            wait_until("everything is written", || {
                let here = all_here();
                stored.iter().all(|payload| here.contains(payload))
            });
        }
        let (payloads, here) = (self.payloads(), all_here());
        let lost: Vec<&String> = stored.iter().filter(|payload| !here.contains(*payload)).collect();
        assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), stored.len());
        check_order(&payloads, &stored.iter().map(String::as_str).collect());
        let twice = payloads.len() - here.len();
        let cuts = kills + disturbances;
        assert!(twice <= cuts * (WINDOW + GROUP), "{twice} came twice");
        Sums { kills, stored: stored.len(), received: payloads.len(), lost: lost.len(), twice, disturbances }
    }
}

/// Of each sender's stored messages the first copies came in the order in which they were sent.
fn check_order(payloads: &[String], stored: &BTreeSet<&str>) {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for payload in payloads.iter().filter(|payload| stored.contains(payload.as_str())) {
        if !seen.insert(payload) {
            continue;
        }
        let (sender, number) = payload.split_once('-').expect("all payloads are of this form");
        let number = number.parse().expect("all payloads are of this form");
        let before = last.insert(sender, number);
        assert!(before < Some(number), "{payload} came after {sender}-{before:?}");
    }
}

/// How many numbers a line of the receiver says are missing because of a restart.
fn missing_by_restart(line: &str) -> Option<u64> {
    let range = line.strip_suffix("\"restart\"")?.rsplit_once(": ")?.0.rsplit_once(" of epoch")?.0;
    let (from, to) = range.rsplit_once(" to ")?;
    Some(to.parse::<u64>().ok()? + 1 - from.rsplit(' ').next()?.parse::<u64>().ok()?)
}

#[test]
fn a_kill_makes_nothing_missing_but_what_was_in_memory_and_no_number_is_used_twice() {
    const IN_FLIGHT: usize = 50;
    let directory = scratch();
    let peer = Peer::receiver(&directory.path().join("got"), &["--ack-every", "7"]);
    let tables = uplink(&peer.url(), "confirm = \"ack\"\nframing = \"envelope\"");
    let mut agent = Agent::start(directory.path(), &tables);
    let sender = WebSocketSender::start(directory.path(), "m-", IN_FLIGHT);
    let url = |agent: &Agent| format!("ws://{}/a?confirm=1", agent.address);
    sender.aim(&url(&agent));
    for round in 1..=4 {
        wait_until("some more have come", || peer.lines().len() >= round * 300);
        agent.kill();
        agent.start_again();
        sender.aim(&url(&agent));
    }
    let stored = sender.end();
    agent.wait_until_delivered();
    let missing: Vec<u64> = peer.process.lines().iter().filter_map(|line| missing_by_restart(line)).collect();
    assert!(missing.iter().sum::<u64>() <= 4 * IN_FLIGHT as u64, "{missing:?}");
    let lines = peer.lines().join("\n");
    assert!(
        stored.iter().all(|payload| lines.contains(&format!("\"{payload}\""))),
        "something stored is lost"
    );
}
