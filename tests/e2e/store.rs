//! Content of the disk: nothing while all is well, never more than allowed, and it may be damaged.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Agent, Peer, free_port, numbered, scratch, uplink, wait_until};

const MESSAGES: usize = 2_000;
const MAX_BYTES: u64 = 8_000_000;
/// Unit of `st_blocks` (stat(2)).
const BLOCK: u64 = 512;
const ENVELOPE: &str = "confirm = \"ack\"\nframing = \"envelope\"";

/// Bytes that the process had written to storage (proc(5), `write_bytes`).
fn bytes_written(agent: &Agent) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", agent.process.id())).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// Bytes that all files below a directory take of the disk.
fn bytes_below(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            // A file may vanish between the listing and the look.
            let facts = entry.metadata().ok()?;
            Some(if facts.is_dir() { bytes_below(&entry.path()) } else { facts.blocks() * BLOCK })
        })
        .sum()
}

#[test]
fn nothing_is_written_while_a_link_confirms() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let tables = uplink(&peer.url(), "") + "[buffer]\ncommit_after = \"10s\"\n";
    let agent = Agent::start(directory.path(), &tables);
    agent.wait_until_up();
    agent.post_all("/pump/pressure", &numbered(100));
    agent.wait_until_delivered();
    wait_until("the device is saved", || directory.path().join("data").join("presence").exists());
    let (before, told_before) = (bytes_written(&agent), agent.fact("/buffer/disk_bytes_written"));
    agent.post_all("/pump/pressure", &numbered(MESSAGES));
    agent.wait_until_delivered();
    assert_eq!(bytes_written(&agent), before);
    assert_eq!(agent.fact("/buffer/disk_bytes_written"), told_before);
    wait_until("all have come", || peer.lines().len() == 100 + MESSAGES);
}

/// Waits for `commits` more of them, one message each, and gives the bytes written meanwhile.
fn written_for_single_messages(agent: &Agent, commits: usize) -> u64 {
    let before = bytes_written(agent);
    agent.post_all("/pump/pressure", &numbered(commits));
    bytes_written(agent) - before
}

#[test]
fn a_killed_agent_writes_no_more_for_a_message_than_before() {
    const COMMITS: usize = 60;
    let directory = scratch();
    let mut agent = Agent::start(
        directory.path(),
        &(uplink("ws://127.0.0.1:9/", "") + "[buffer]\ncommit_after = \"10ms\"\n"),
    );
    let lines: Vec<String> = (0..2_000).map(|_| format!("\"{:x}\"", fastrand::u128(..))).collect();
    agent.post_lines("/pump/pressure", &lines);
    let before = written_for_single_messages(&agent, COMMITS);
    agent.kill();
    agent.start_again();
    let after = written_for_single_messages(&agent, COMMITS);
    assert!(after <= 3 * before, "{before} bytes, and {after} after the kill");
}

#[test]
fn the_files_stay_below_their_bound_and_the_peer_is_told_of_the_gap() {
    let directory = scratch();
    let (port, file) = (free_port(), directory.path().join("got"));
    let url = format!("ws://127.0.0.1:{port}/");
    let tables = uplink(&url, ENVELOPE) + "[buffer]\nmax_bytes = \"8MB\"\ncommit_after = \"50ms\"\n";
    let agent = Agent::start(directory.path(), &tables);
    let offered = offer_too_much(&agent);
    let dropped = agent.fact("/buffer/dropped").as_u64().unwrap();
    assert!(dropped > 0);
    let peer = Peer::python("ack_server", &file, &["--port", &port.to_string()]);
    agent.wait_until_delivered();
    let lines: Vec<Value> = peer.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let gaps: Vec<&Value> = lines.iter().filter_map(|line| line.get("gap")).collect();
    let missing: u64 =
        gaps.iter().map(|gap| gap["to"].as_u64().unwrap() - gap["from"].as_u64().unwrap() + 1).sum();
    assert!(gaps.iter().all(|gap| gap["reason"] == "dropped-oldest"), "{gaps:?}");
    assert_eq!(missing, dropped, "{gaps:?}");
    assert_eq!(lines.iter().filter(|line| line.get("data").is_some()).count() as u64, offered - dropped);
}

/// 40 MB that do not compress well, and a look at the disk after each request. Gives the number of messages.
fn offer_too_much(agent: &Agent) -> u64 {
    const SENDERS: u64 = 1;
    const REQUESTS: u64 = 48;
    const LINES: u64 = 420;
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            scope.spawn(move || {
                let mut chance = fastrand::Rng::with_seed(sender);
                for _ in 0..REQUESTS {
                    let word =
                        |_| format!("\"{}\"", (0..2_000).map(|_| chance.alphanumeric()).collect::<String>());
                    let lines: Vec<String> = (0..LINES).map(word).collect();
                    agent.post_lines("/a", &lines);
                    let bytes = bytes_below(&agent.data().join("store"));
                    assert!(bytes <= MAX_BYTES, "{bytes} bytes are on the disk");
                }
            });
        }
    });
    SENDERS * REQUESTS * LINES
}

#[test]
fn a_full_buffer_that_rejects_says_so_to_the_sender_and_drops_nothing() {
    let directory = scratch();
    let tables = "[buffer]\nmax_messages = 10\nwhen_full = \"reject\"\n";
    let agent = Agent::start(directory.path(), tables);
    agent.post_all("/a", &numbered(10));
    let (status, body) = agent.http().post("/a", &[], b"one more").unwrap();
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&body));
    assert!(String::from_utf8_lossy(&body).contains("full"), "{}", String::from_utf8_lossy(&body));
    assert_eq!((agent.fact("/buffer/dropped"), agent.fact("/buffer/messages")), (0.into(), 10.into()));
}

#[test]
fn a_damaged_store_file_does_not_keep_the_agent_from_starting_and_the_status_tells() {
    for part in [0.1, 0.5, 0.9] {
        let directory = scratch();
        let mut agent = Agent::start(directory.path(), "");
        let lines: Vec<String> =
            (0..3_000).map(|number| format!("\"{number} {:x}\"", fastrand::u128(..))).collect();
        agent.post_lines("/a", &lines);
        agent.kill();
        damage(&agent.data().join("store/db"), part);
        agent.start_again();
        agent.post("/a", "goes on");
        let held = agent.fact("/buffer/messages").as_u64().unwrap();
        let told = agent.fact("/repairs").as_array().map_or(0, Vec::len);
        assert!(held == 3_001 || told > 0, "{held} of 3001 are held and no repair is told");
    }
}

/// Flips bytes at this part of what is used of a file.
fn damage(file: &Path, part: f64) {
    let mut bytes = std::fs::read(file).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let at = (used as f64 * part) as usize;
    bytes[at..(at + 64).min(used)].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_store_of_nonsense_is_set_aside_and_the_agent_starts_empty() {
    let directory = scratch();
    let mut agent = Agent::start(directory.path(), "");
    agent.post_all("/a", &numbered(5));
    agent.kill();
    for entry in std::fs::read_dir(agent.data().join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(path, "nonsense".repeat(1000)).unwrap();
        }
    }
    agent.start_again();
    agent.post("/a", "goes on");
    assert!(agent.fact("/repairs").as_array().is_some_and(|repairs| !repairs.is_empty()));
}
