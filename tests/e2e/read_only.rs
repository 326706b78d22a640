//! A data directory that cannot be written. The tests may run as root, whom no permission stops: a directory in the place of the
//! lock does.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::harness::{Agent, Peer, free_port, numbered, scratch, uplink, wait_until};

const HELD: usize = 300;
const ENVELOPE: &str = "confirm = \"ack\"\nframing = \"envelope\"";

#[test]
fn an_agent_starts_where_nothing_can_be_written_delivers_what_is_held_and_stores_by_confirmation_alone() {
    let directory = scratch();
    let port = free_port();
    let tables = uplink(&format!("ws://127.0.0.1:{port}/"), ENVELOPE);
    let mut agent = Agent::start(directory.path(), &tables);
    agent.post_lines("/a", &(0..HELD).map(|number| format!("\"h-{number}\"")).collect::<Vec<_>>());
    agent.kill();
    let lock = agent.data().join("lock");
    fs::remove_file(&lock).expect("it is there");
    fs::create_dir(&lock).expect("it is free");
    agent.start_again();
    assert_eq!(agent.fact("/buffer/store"), "read-only");
    assert_eq!(agent.fact("/buffer/messages"), HELD);
    let (status, body) = agent.http().post("/a", &[], b"nobody confirms it").unwrap();
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&body));
    wait_until("the control socket is there", || agent.is_asked());
    let export = Agent::command()
        .args(["buffer", "export", "--socket"])
        .arg(agent.data().join("control.sock"))
        .output();
    let export = export.expect("the binary runs");
    assert_eq!(export.stdout.iter().filter(|byte| **byte == b'\n').count(), HELD, "{export:?}");
    let file = directory.path().join("got");
    let peer = Peer::python("ack_server", &file, &["--port", &port.to_string()]);
    agent.wait_until_delivered();
    wait_until("a message is stored by its confirmation", || {
        agent.http().post("/a", &[], b"n-0").is_ok_and(|(status, _)| status == 200)
    });
    agent.post_all("/a", &numbered(20));
    let lines: Vec<Value> = peer.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let epochs = |word: &str| -> BTreeSet<String> {
        let of = |line: &&Value| line["data"].as_str().is_some_and(|data| data.starts_with(word));
        lines.iter().filter(of).map(|line| line["epoch"].to_string()).collect()
    };
    assert!(
        epochs("h-").is_disjoint(&epochs("m-")),
        "numbers that nobody reserved have an epoch of their own"
    );
    fs::remove_dir(&lock).expect("it is empty");
    agent.wait_for_fact("/buffer/store", "ok");
    drop(peer);
    agent.wait_for_fact("/links/cloud/state", "down");
    agent.post("/a", "stored without a link");
}
