//! Openings of the store that are cut off, or that the world does not let happen: neither is damage.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Agent, Peer, Running, free_port, scratch, uplink, wait_until};

const ENVELOPE: &str = "confirm = \"ack\"\nframing = \"envelope\"";
const REQUESTS: usize = 12;
const LINES: usize = 1_000;
const KILLS: u32 = 12;

/// Payloads that hardly shrink, so that there is something to open.
fn payloads(request: usize) -> Vec<String> {
    let noise = || (0..200).map(|_| fastrand::alphanumeric()).collect::<String>();
    (0..LINES).map(|line| format!("\"{request}-{line} {}\"", noise())).collect()
}

/// How many openings in a row were begun and have not ended by themselves.
fn begun(data: &Path) -> u32 {
    let marker = std::fs::read_to_string(data.join("store.opening")).unwrap_or_default();
    marker.lines().next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Files beside the store.
fn beside_the_store(data: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("store.")).collect()
}

#[test]
fn a_store_that_was_killed_twelve_times_in_a_row_while_it_was_opened_is_all_there() {
    let directory = scratch();
    let (port, file) = (free_port(), directory.path().join("got"));
    let mut agent = Agent::start(directory.path(), &uplink(&format!("ws://127.0.0.1:{port}/"), ENVELOPE));
    let sent: Vec<String> = (0..REQUESTS).flat_map(payloads).collect();
    sent.chunks(LINES).for_each(|lines| agent.post_lines("/a", lines));
    agent.kill();
    let data = agent.data();
    while begun(&data) < KILLS {
        let before = begun(&data);
        let mut opening = Agent::launch(directory.path());
        wait_until("an opening begins", || begun(&data) > before || opening.count(&["started"]) > 0);
        opening.kill();
    }
    agent.start_again();
    assert_eq!((agent.fact("/repairs"), agent.fact("/buffer/damaged")), (Value::Null, 0.into()));
    assert_eq!(beside_the_store(&data), Vec::<String>::new());
    let peer = Peer::python("ack_server", &file, &["--port", &port.to_string()]);
    agent.wait_until_delivered();
    let lines: Vec<Value> = peer.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let came: Vec<String> = lines.iter().filter_map(|line| line.get("data")).map(Value::to_string).collect();
    assert!(came == sent, "{} of {} came", came.len(), sent.len());
    let gaps: Vec<&Value> = lines.iter().filter_map(|line| line.get("gap")).collect();
    assert!(gaps.iter().all(|gap| gap["reason"] != "damaged"), "{gaps:?}");
}

/// Starts an agent that may have so many descriptors. Tells whether it came to serve with a store that takes what it is given.
fn starts_with_descriptors(directory: &Path, count: u32) -> bool {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {count} && exec \"$0\" run --config \"$1\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_holdfast")]).arg(directory.join("holdfast.toml"));
    command.env("RUST_LOG", "info").stdin(Stdio::null());
    let mut agent = Running::start("agent", &mut command);
    wait_until("it serves or ends", || agent.ended().is_some() || agent.count(&["listening"]) > 0);
    let serves = agent.ended().is_none() && agent.count(&["store read-only"]) == 0;
    agent.kill();
    serves
}

#[test]
fn a_store_that_could_not_be_opened_for_want_of_descriptors_is_all_there() {
    for is_damaged in [false, true] {
        let directory = scratch();
        let mut agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:9/", ""));
        agent.post_lines("/a", &payloads(0));
        agent.kill();
        let (data, log) = (agent.data(), agent.data().join("store/db"));
        if is_damaged {
            let mut bytes = std::fs::read(&log).unwrap();
            let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
            bytes[middle..middle + 64].fill(0xA5);
            std::fs::write(&log, bytes).unwrap();
        }
        let enough = (4..100).find(|count| {
            let serves = starts_with_descriptors(directory.path(), *count);
            let aside = beside_the_store(&data).into_iter().filter(|name| name.starts_with("store.damaged-"));
            assert_eq!(aside.count(), usize::from(serves && is_damaged), "with {count} descriptors");
            serves
        });
        assert!(enough.is_some_and(|count| count > 8), "{enough:?}");
        agent.start_again();
        let held = agent.fact("/buffer/messages").as_u64().unwrap();
        let least = if is_damaged { LINES as u64 * 9 / 10 } else { LINES as u64 };
        assert!((least..=LINES as u64).contains(&held), "{held} are held");
    }
}
