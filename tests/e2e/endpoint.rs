//! Several urls of one link: a dead one is left, the first one is taken again, and nothing is lost on the way.

use serde_json::json;

use crate::harness::{
    Agent, Peer, free_port, lines_of, numbered, scratch, uplink, wait_for_value, wait_until,
};

/// The table of [`uplink`] with these urls.
fn several(ports: &[u16], more: &str) -> String {
    let urls: Vec<String> = ports.iter().map(|port| format!("\"ws://127.0.0.1:{port}/ingest\"")).collect();
    uplink("URL", more).replace("url = \"URL\"", &format!("urls = [{}]", urls.join(", ")))
}

fn place(port: u16) -> String {
    format!("ws://127.0.0.1:{port}")
}

#[test]
fn a_dead_url_is_left_for_the_next_one_and_the_first_is_taken_again_without_a_loss() {
    let directory = scratch();
    let (first, file) = (free_port(), directory.path().join("got"));
    let second = Peer::python("echo_store", &file, &[]);
    let agent = Agent::start(directory.path(), &several(&[first, second.port], "prefer_after = \"200ms\""));
    agent.wait_until_up();
    assert_eq!(agent.fact("/links/cloud/url"), json!(place(second.port)));
    assert_eq!(agent.fact("/links/cloud/url_number"), 2);
    let page = agent.ask(&["status"]);
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(page.contains(&place(second.port)), "{page}");
    agent.post_all("/a", &numbered(50));
    let first = Peer::python("echo_store", &file, &["--port", &first.to_string()]);
    // The second one stays alive: the link leaves it all the same, after the first has answered a ping.
    let mut sent = 50;
    let mut http = agent.http();
    wait_until("it has moved", || {
        http.store("/a", &format!("m-{sent}"));
        sent += 1;
        agent.fact("/links/cloud/url") == json!(place(first.port))
    });
    second.process.said(&["closed 1000"]);
    agent.process.said(&["INFO", "link moves cloud"]);
    agent.post_all("/a", &numbered(sent + 50)[sent..].to_vec());
    agent.wait_until_delivered();
    // Both write to one file, as one receiver with two addresses.
    wait_for_value(&numbered(sent + 50), || first_of_each(lines_of(&file)));
}

/// Without what came twice; what comes again may come behind what had not come before.
fn first_of_each(lines: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    lines.into_iter().filter(|line| seen.insert(line.clone())).collect()
}

#[test]
fn a_receiver_with_two_addresses_confirms_the_same_position_whichever_is_used() {
    let directory = scratch();
    let file = directory.path().join("got");
    let mut peers =
        [Peer::receiver(&file, &["--sync"]), Peer::receiver(&directory.path().join("other"), &["--sync"])];
    let ports = [peers[0].port, peers[1].port];
    let envelope = "confirm = \"ack\"\nframing = \"envelope\"\nprefer_after = \"0s\"";
    let agent = Agent::start(directory.path(), &several(&ports, envelope));
    agent.post_all("/a", &numbered(10));
    agent.wait_until_delivered();
    peers[0].process.terminate();
    agent.wait_for_fact("/links/cloud/url", place(ports[1]));
    agent.post_all("/a", &numbered(20)[10..].to_vec());
    agent.wait_until_delivered();
    let seqs = |peer: &Peer| -> Vec<u64> {
        let lines = peer.lines();
        let values = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        values.filter_map(|value| value["seq"].as_u64()).collect()
    };
    assert_eq!(seqs(&peers[0]), (1..=10).collect::<Vec<u64>>());
    assert_eq!(
        seqs(&peers[1]),
        (11..=20).collect::<Vec<u64>>(),
        "what the first one confirmed does not come again"
    );
    assert_eq!(agent.fact("/links/cloud/confirmed"), 20);
}

#[test]
fn a_first_url_whose_peer_answers_no_pings_is_taken_again_when_none_are_counted_on() {
    let directory = scratch();
    let (first, file) = (free_port(), directory.path().join("got"));
    let second = Peer::python("echo_store", &file, &[]);
    let more = "confirm = \"none\"\nprefer_after = \"100ms\"";
    let agent = Agent::start(directory.path(), &several(&[first, second.port], more));
    agent.wait_for_fact("/links/cloud/url", place(second.port));
    let first = Peer::python("bad_server", &file, &["--mode", "no-pong", "--port", &first.to_string()]);
    agent.wait_for_fact("/links/cloud/url", place(first.port));
    agent.wait_until_up();
}

#[test]
fn round_robin_goes_to_the_next_url_at_each_connect() {
    let directory = scratch();
    let close = ["--mode", "close", "--after", "1", "--times", "100"];
    let peers: Vec<Peer> = (0..3)
        .map(|number| Peer::python("bad_server", &directory.path().join(number.to_string()), &close))
        .collect();
    let ports: Vec<u16> = peers.iter().map(|peer| peer.port).collect();
    let agent = Agent::start(directory.path(), &several(&ports, "balance = \"round-robin\""));
    agent.post_all("/a", &numbered(9));
    agent.wait_until_delivered();
    wait_until("each has got its part", || peers.iter().all(|peer| peer.lines().len() >= 2));
}

#[test]
fn each_url_is_tested_by_itself() {
    let directory = scratch();
    let dead = free_port();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let config = directory.path().join("holdfast.toml");
    std::fs::write(&config, several(&[dead, peer.port], "")).unwrap();
    let output = Agent::command().args(["test", "--json", "--config"]).arg(&config).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let ok: Vec<_> =
        found["links"].as_array().unwrap().iter().map(|link| (&link["id"], &link["ok"])).collect();
    assert_eq!(ok, [(&json!("cloud"), &json!(false)), (&json!("cloud"), &json!(true))]);
}
