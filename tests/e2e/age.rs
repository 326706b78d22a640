//! The clock and the time to live: what a message says of its time, and when it is too old to be delivered.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Agent, Peer, free_port, numbered, scratch, uplink, wait_until};

const ENVELOPE: &str = "confirm = \"ack\"\nframing = \"envelope\"\n";

/// The frames that the peer got, each message a line of its own.
fn got(peer: &Peer) -> Vec<Value> {
    peer.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An agent whose clock is right as long as this file is there.
fn believing(directory: &Path, file: &Path, tables: &str) -> Agent {
    let agent = format!("id = \"gw\"\nclock_file = {file:?}\n");
    Agent::start_of(directory, &agent, tables)
}

#[test]
fn messages_that_came_before_the_time_did_are_delivered_with_the_time() {
    let directory = scratch();
    let (port, vouched) = (free_port(), directory.path().join("clock-is-right"));
    let tables = uplink(&format!("ws://127.0.0.1:{port}/"), ENVELOPE);
    let mut agent = believing(directory.path(), &vouched, &tables);
    agent.post("/a", "before");
    assert_eq!((agent.fact("/clock"), agent.fact("/clock_since")), ("unsynced".into(), Value::Null));
    std::fs::write(&vouched, "").unwrap();
    agent.wait_for_fact("/clock", "synced");
    wait_until("the status says since when", || agent.fact("/clock_since").is_string());
    wait_until("it is remembered", || agent.data().join("clocks").exists());
    std::fs::remove_file(&vouched).unwrap();
    agent.kill();
    agent.start_again();
    assert_eq!(agent.fact("/clock"), "unsynced", "nothing vouches for it any more");
    let peer = Peer::python("ack_server", &directory.path().join("got"), &["--port", &port.to_string()]);
    agent.wait_until_delivered();
    let clocks: Vec<Value> = got(&peer).iter().filter_map(|line| line.get("clock").cloned()).collect();
    assert_eq!(clocks, ["synced"], "the machine has not started anew since");
}

#[test]
fn what_is_too_old_for_a_link_is_given_up_counted_and_announced() {
    let directory = scratch();
    let port = free_port();
    let more = format!("{ENVELOPE}buffer = {{ ttl = \"1s\" }}");
    let agent = Agent::start(directory.path(), &uplink(&format!("ws://127.0.0.1:{port}/"), &more));
    agent.post_all("/a", &numbered(20));
    agent.wait_for_fact("/buffer/expired", 20);
    agent.wait_for_fact("/buffer/messages", 0);
    let peer = Peer::python("ack_server", &directory.path().join("got"), &["--port", &port.to_string()]);
    agent.wait_until_up();
    agent.post("/a", "in time");
    agent.wait_until_delivered();
    let lines = got(&peer);
    let gaps: Vec<&Value> = lines.iter().filter_map(|line| line.get("gap")).collect();
    let missing: u64 =
        gaps.iter().map(|gap| gap["to"].as_u64().unwrap() - gap["from"].as_u64().unwrap() + 1).sum();
    assert!(missing == 20 && gaps.iter().all(|gap| gap["reason"] == "expired"), "{gaps:?}");
    assert_eq!(lines.iter().filter(|line| line.get("data").is_some()).count(), 1);
    let (_, metrics) = agent.http().request("GET", "/metrics", &[], b"").expect("the agent answers");
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(metrics.contains("holdfast_expired_messages_total{} 20"), "{metrics}");
}
