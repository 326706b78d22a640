//! How the agent ends when it is asked to.

use rustix::process::Signal;

use crate::harness::{Agent, Peer, WebSocketSender, numbered, scratch, uplink, wait_until};

const ENVELOPE: &str = "confirm = \"ack\"\nframing = \"envelope\"";

#[test]
fn asked_to_stop_it_says_goodbye_to_both_sides_and_ends_with_success() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let mut agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    let sender = WebSocketSender::start(directory.path(), "m-", 5);
    sender.aim(&format!("ws://{}/pump?confirm=1", agent.address));
    wait_until("messages flow", || peer.lines().len() > 20);
    assert!(agent.terminate().success());
    peer.process.said(&["closed 1001"]);
    sender.said(&["closed 1001"]);
}

#[test]
fn a_peer_that_has_stopped_cannot_hold_up_the_end() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let mut agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.wait_until_up();
    peer.process.signal(Signal::STOP);
    agent.post_lines("/a", &(0..2_000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(agent.terminate().success());
    peer.process.signal(Signal::CONT);
    agent.start_again();
    agent.wait_until_delivered();
    let got = || {
        peer.lines().iter().filter_map(|line| line.parse().ok()).collect::<std::collections::BTreeSet<u32>>()
    };
    wait_until("all have come", || got().len() == 2_000);
}

#[test]
fn after_a_clean_stop_everything_held_arrives_once_and_no_number_is_missing() {
    let directory = scratch();
    let file = directory.path().join("got");
    let mut peer = Peer::python("ack_server", &file, &[]);
    let port = peer.port.to_string();
    let mut agent = Agent::start(directory.path(), &uplink(&peer.url(), ENVELOPE));
    agent.post_all("/a", &numbered(3));
    agent.wait_until_delivered();
    peer.process.kill();
    agent.wait_until_down("");
    agent.post_all("/a", &numbered(40));
    assert!(agent.terminate().success());
    let peer = Peer::python("ack_server", &file, &["--port", &port]);
    agent.start_again();
    agent.post("/a", "after");
    agent.wait_until_delivered();
    let lines = peer.lines();
    assert_eq!(lines.len(), 3 + 40 + 1, "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("\"gap\"")), "{lines:#?}");
}

#[test]
fn the_second_request_to_stop_changes_nothing() {
    let directory = scratch();
    let mut agent = Agent::start(directory.path(), "");
    agent.post("/a", "1");
    agent.process.signal(Signal::INT);
    agent.process.signal(Signal::TERM);
    assert!(agent.process.exit().success());
}
