//! The link is cut in every way, and comes back with everything.

use std::io::Read;
use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Agent, Peer, free_port, numbered, scratch, uplink, wait_for_value, wait_until};

const QUICK_PINGS: &str = "ping = { interval = \"100ms\", timeout = \"500ms\" }";

/// `payloads` are among the lines, in their order; what came twice does not matter.
fn has_in_order(lines: &[String], payloads: &[String]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let first_times: Vec<&String> = lines.iter().filter(|line| seen.insert(*line)).collect();
    first_times == payloads.iter().collect::<Vec<_>>()
}

#[test]
fn a_server_that_dies_and_comes_back_gets_every_stored_message_in_order() {
    let directory = scratch();
    let file = directory.path().join("got");
    let mut peer = Peer::receiver(&file, &["--format", "payload"]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    let all = numbered(300);
    agent.post_all("/a", &all[..100]);
    wait_until("the first ones are there", || peer.lines().len() >= 100);
    peer.process.kill();
    agent.wait_until_down("");
    agent.post_all("/a", &all[100..110]);
    agent.post_lines("/a", &all[110..].iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>());
    let expected: Vec<String> =
        all[..110].iter().cloned().chain(all[110..].iter().map(|text| format!("\"{text}\""))).collect();
    let peer = Peer::receiver_at(peer.port, &file, &["--format", "payload"]);
    agent.wait_until_delivered();
    wait_until("all are there in order", || has_in_order(&peer.lines(), &expected));
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_stream_loses_nothing_that_it_had_not_acknowledged() {
    let directory = scratch();
    let file = directory.path().join("got");
    let envelope = "confirm = \"ack\"\nframing = \"envelope\"";
    let mut peer = Peer::receiver(&file, &["--sync", "--format", "json", "--die-after", "37"]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), envelope));
    let bodies: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    agent.post_lines("/a", &bodies);
    assert_eq!(peer.process.exit().code(), Some(137));
    let peer = Peer::receiver_at(peer.port, &file, &["--sync"]);
    agent.wait_until_delivered();
    let got = peer.lines();
    let got = got.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["data"].as_u64());
    assert_eq!(got.collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_peer_that_never_answers_a_ping_is_hung_up_on() {
    let directory = scratch();
    let peer =
        Peer::python("bad_server", &directory.path().join("got"), &["--mode", "no-pong", "--times", "1"]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), QUICK_PINGS));
    agent.post("/a", "one");
    agent.process.said(&["WARN", "link lost cloud", "no pong within"]);
    agent.wait_until_delivered();
    wait_until("it has come twice", || peer.lines().len() >= 2);
    assert!(peer.lines().iter().all(|line| line == "one"), "{:?}", peer.lines());
}

#[test]
fn a_peer_that_never_acknowledges_is_hung_up_on() {
    let directory = scratch();
    let peer = Peer::python("ack_server", &directory.path().join("got"), &["--no-ack", "--no-resume"]);
    let more = "confirm = \"ack\"\nframing = \"envelope\"\nconfirm_timeout = \"300ms\"";
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), more));
    agent.post("/a", "one");
    agent.process.said(&["WARN", "link lost cloud", "nothing confirmed for"]);
    assert_eq!(agent.fact("/links/cloud/unconfirmed"), 1);
}

#[test]
fn a_peer_that_stops_without_a_word_is_found_out_and_what_it_had_not_confirmed_comes_again() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), QUICK_PINGS));
    agent.post("/a", "m-0");
    wait_until("it is there", || peer.lines().len() == 1);
    peer.process.signal(Signal::STOP);
    agent.post("/a", "m-1");
    agent.process.said(&["WARN", "link lost cloud", "no pong within"]);
    agent.post("/a", "m-2");
    peer.process.signal(Signal::CONT);
    agent.wait_until_delivered();
    wait_until("all are there", || has_in_order(&peer.lines(), &numbered(3)));
}

#[test]
fn a_peer_that_closes_for_a_restart_in_the_middle_of_a_stream_gets_the_rest_afterwards() {
    let directory = scratch();
    let arguments = ["--mode", "close", "--after", "3", "--code", "1012", "--times", "1"];
    let peer = Peer::python("bad_server", &directory.path().join("got"), &arguments);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.post_all("/a", &numbered(20));
    agent.process.said(&["WARN", "link lost cloud", "1012"]);
    agent.wait_until_delivered();
    wait_until("all are there", || has_in_order(&peer.lines(), &numbered(20)));
}

#[test]
fn a_connection_that_is_reset_is_made_again() {
    let directory = scratch();
    let arguments = ["--format", "payload", "--drop-after", "2", "--misbehave-count", "3"];
    let peer = Peer::receiver(&directory.path().join("got"), &arguments);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.post_all("/a", &numbered(20));
    agent.wait_until_delivered();
    wait_until("all are there", || has_in_order(&peer.lines(), &numbered(20)));
    assert_eq!(agent.fact("/links/cloud/reconnects"), 3);
    wait_for_value(&4, || agent.process.count(&["INFO", "link up cloud"]));
    assert_eq!(agent.process.count(&["WARN", "link lost cloud"]), 3);
}

#[test]
fn an_unauthorized_link_says_so_once_and_tries_again_late() {
    let directory = scratch();
    let peer = Peer::receiver(&directory.path().join("got"), &["--refuse", "401", "--refuse-count", "2"]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.post("/a", "one");
    agent.wait_until_delivered();
    agent.process.said(&["INFO", "link up cloud"]);
    assert_eq!(agent.process.count(&["WARN", "link down cloud", "HTTP 401 Unauthorized"]), 1);
}

#[test]
fn a_server_that_is_busy_is_left_alone_for_as_long_as_it_asks_but_no_longer_than_the_configuration_has_it() {
    let max = "reconnect = { max = \"2h\" }";
    for (status, more, least, most) in [("429", max, 3600.0, 5400.0), ("503", "", 300.0, 450.0)] {
        let directory = scratch();
        let arguments = ["--refuse", status, "--retry-after", "3600", "--refuse-count", "1"];
        let peer = Peer::receiver(&directory.path().join("got"), &arguments);
        let agent = Agent::start(
            directory.path(),
            &format!("[[client]]\nid = \"cloud\"\nurl = \"{}\"\n{more}\n", peer.url()),
        );
        agent.wait_until_down(&format!("HTTP {status}"));
        let retry_in_s = agent.fact("/links/cloud/retry_in_s").as_f64().unwrap();
        assert!(retry_in_s > least - 60.0 && retry_in_s <= most, "{retry_in_s}");
    }
}

#[test]
fn a_busy_server_that_asks_for_a_second_is_tried_again_and_gets_everything() {
    let directory = scratch();
    let arguments = ["--format", "payload", "--refuse", "503", "--retry-after", "1", "--refuse-count", "1"];
    let peer = Peer::receiver(&directory.path().join("got"), &arguments);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.post("/a", "m-0");
    wait_for_value(&numbered(1), || peer.lines());
}

#[test]
fn a_name_that_cannot_be_resolved_is_named_in_the_status() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink("ws://no-such-host.invalid/", ""));
    agent.wait_until_down("cannot resolve no-such-host.invalid");
    agent.process.said(&["WARN", "link down cloud", "cannot resolve no-such-host.invalid", "retry_in="]);
}

#[test]
fn a_failure_that_repeats_is_told_once() {
    let directory = scratch();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let agent = Agent::start(directory.path(), &uplink(&url, ""));
    for _ in 0..5 {
        let (mut stream, _) = listener.accept().unwrap();
        // All of the request, so that it is closed and not reset.
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    }
    agent.wait_until_down("the server closed the connection instead of an answer");
    agent.process.said(&["WARN", "link down cloud", "retry_in="]);
    assert_eq!(agent.process.count(&["WARN", "link down cloud", "retry_in="]), 1);
}

#[test]
fn a_port_where_nobody_listens_is_told_as_refused() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink(&format!("ws://127.0.0.1:{}", free_port()), ""));
    agent.wait_until_down("connection refused");
    agent.process.said(&["WARN", "link down cloud", "connection refused", "retry_in="]);
}

#[test]
fn a_server_that_accepts_and_never_answers_is_given_up_by_the_deadline_of_the_dial() {
    let directory = scratch();
    let peer = Peer::python("bad_server", &directory.path().join("got"), &["--mode", "no-upgrade"]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), "connect_timeout = \"300ms\""));
    agent.wait_until_down("timed out after 0.3 s while waiting for the answer to the upgrade");
}
