//! Order on a link, and the fate of a message that the peer cannot bear.

use serde_json::{Value, json};

use crate::harness::{Agent, Peer, free_port, scratch, uplink, wait_until};

const ALARMS: &str = "[[server.route]]\npath = \"/alarms/{name}\"\npriority = 7\n";

/// Messages with a number each.
fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn url(port: u16) -> String {
    format!("ws://127.0.0.1:{port}/")
}

/// A peer that comes up at this port, with what else it is told.
fn peer_at(directory: &std::path::Path, port: u16, more: &[&str]) -> Peer {
    let port = port.to_string();
    Peer::python("echo_store", &directory.join("got"), &[&["--port", &port], more].concat())
}

#[test]
fn an_alarm_passes_the_telemetry_that_was_held_before_it_also_when_its_route_is_gone() {
    let directory = scratch();
    let port = free_port();
    let mut agent = Agent::start_with(directory.path(), &uplink(&url(port), ""), ALARMS);
    agent.post_lines("/telemetry", &numbered(200));
    agent.post("/alarms/fire", "fire");
    assert_eq!(agent.fact("/links/cloud/unconfirmed_by_priority"), json!({ "0": 200, "7": 1 }));
    agent.kill();
    agent.configure(&uplink(&url(port), ""));
    agent.start_again();
    let peer = peer_at(directory.path(), port, &[]);
    agent.wait_until_delivered();
    wait_until("the last one is written", || peer.lines().len() == 201);
    assert_eq!(peer.lines(), [vec!["fire".to_owned()], numbered(200)].concat());
}

#[test]
fn each_priority_has_numbers_of_its_own_that_the_receiver_acknowledges() {
    let directory = scratch();
    let port = free_port();
    let tables = uplink(&url(port), "confirm = \"ack\"\nframing = \"envelope\"");
    let agent = Agent::start_with(directory.path(), &tables, ALARMS);
    agent.post_lines("/telemetry", &numbered(30));
    for _ in 0..3 {
        agent.post("/alarms/fire", "fire");
    }
    let peer = Peer::receiver_at(port, &directory.path().join("got"), &["--ack-every", "10"]);
    agent.wait_until_delivered();
    wait_until("all are written", || peer.lines().len() == 33);
    let lines: Vec<Value> = peer.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |lines: &[Value]| lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(of(&lines[..3]), [1, 2, 3]);
    assert_eq!(of(&lines[3..]), (1..=30).collect::<Vec<_>>());
    assert_ne!(lines[0]["epoch"], lines[3]["epoch"]);
}

#[test]
fn newest_first_turns_the_backlog_around() {
    let directory = scratch();
    let port = free_port();
    let tables = uplink(&url(port), "replay = { order = \"newest-first\" }");
    let agent = Agent::start(directory.path(), &tables);
    agent.post_lines("/a", &numbered(150));
    let peer = peer_at(directory.path(), port, &[]);
    agent.wait_until_delivered();
    wait_until("the last one is written", || peer.lines().len() == 150);
    let mut expected = numbered(150);
    expected.reverse();
    assert_eq!(peer.lines(), expected);
}

#[test]
fn a_backlog_that_is_held_back_lets_fresh_messages_pass_and_arrives_whole() {
    let directory = scratch();
    let port = free_port();
    let replay = "replay = { max_rate = \"60/s\", live_share = 0.5 }";
    let agent = Agent::start(directory.path(), &uplink(&url(port), replay));
    agent.post_lines("/a", &numbered(120));
    let peer = peer_at(directory.path(), port, &[]);
    agent.wait_until_up();
    agent.post("/a", "fresh");
    wait_until("the fresh one has passed", || peer.lines().contains(&"fresh".to_owned()));
    agent.wait_until_delivered();
    wait_until("the last one is written", || peer.lines().len() == 121);
    let (mut lines, fresh) = (peer.lines(), "fresh".to_owned());
    let place = lines.iter().position(|line| *line == fresh).expect("it has come");
    assert!(place < 120, "it came last");
    lines.remove(place);
    assert_eq!(lines, numbered(120));
}

#[test]
fn a_message_that_is_too_big_for_the_peer_is_set_aside_and_the_rest_flows_on() {
    let directory = scratch();
    let port = free_port();
    let peer = peer_at(directory.path(), port, &["--max-size", "2000"]);
    let agent = Agent::start(directory.path(), &uplink(&url(port), ""));
    agent.wait_until_up();
    agent.post("/a", "before");
    let big = "x".repeat(5_000);
    std::thread::scope(|scope| {
        scope.spawn(|| agent.post("/a", &big));
        scope.spawn(|| agent.post_lines("/a", &numbered(20)));
    });
    agent.wait_for_fact("/buffer/dead", 1);
    agent.wait_until_delivered();
    wait_until("the rest is written", || {
        let lines = peer.lines();
        numbered(20).iter().all(|line| lines.contains(line))
    });
    let mut list = Agent::command();
    list.args(["buffer", "dead", "list", "--config"]).arg(directory.path().join("holdfast.toml"));
    let listed = String::from_utf8(list.output().expect("the binary runs").stdout).expect("it prints text");
    assert!(listed.contains("1009"), "{listed}");
}

#[test]
fn a_link_that_drops_what_is_new_does_not_hold_up_another() {
    let directory = scratch();
    let (away, port) = (free_port(), free_port());
    let peer = peer_at(directory.path(), port, &[]);
    let bounded = "buffer = { max_messages = 5, when_full = \"drop-newest\" }";
    let other = format!("[[client]]\nid = \"other\"\nurl = \"{}\"\n{bounded}\n", url(away));
    let agent = Agent::start(directory.path(), &format!("{}{other}", uplink(&url(port), "")));
    agent.wait_until_up();
    agent.post_all("/a", &numbered(20));
    wait_until("all are written", || peer.lines() == numbered(20));
    assert_eq!(
        (agent.fact("/links/other/unconfirmed"), agent.fact("/buffer/dropped")),
        (5.into(), 15.into())
    );
    assert_eq!(agent.fact("/buffer/state"), "full");
}
