//! Parameters of a client: how it names itself, where it connects, and when it does not, each at a peer that knows nothing of it.

use serde_json::{Value, json};

use crate::harness::{Agent, Peer, free_port, numbered, scratch, uplink, wait_for, wait_until};

/// Lines that the gate has written, from the first one on that has this key.
fn kept(peer: &Peer, key: &str) -> Vec<Value> {
    let lines = peer.lines();
    let values = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("it is JSON"));
    values.filter(|value| value.get(key).is_some()).collect()
}

fn first_request(peer: &Peer) -> Value {
    wait_for("somebody comes in", || kept(peer, "path").into_iter().next())
}

/// The table of [`uplink`] with another address.
fn at(address: &str, more: &str) -> String {
    uplink("URL", more).replace("url = \"URL\"", address)
}

#[test]
fn parameters_headers_origin_and_subprotocols_reach_the_server() {
    let directory = scratch();
    let peer = Peer::python("gate", &directory.path().join("got"), &["--subprotocol", "v2.plant"]);
    let more = "params = { line = { value = \"3 & 4\", description = \"the line\" } }\n\
                headers = { \"x-site\" = { value = \"north\", description = \"where\" } }\n\
                origin = \"https://panel.example\"\nsubprotocols = [\"v3.plant\", \"v2.plant\"]";
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), more));
    agent.wait_until_up();
    let request = first_request(&peer);
    assert_eq!(request["path"], "/ingest?line=3+%26+4");
    assert_eq!(request["headers"]["x-site"], "north");
    assert_eq!(request["headers"]["origin"], "https://panel.example");
    assert_eq!(request["headers"]["sec-websocket-protocol"], "v3.plant, v2.plant");
    let config = directory.path().join("holdfast.toml");
    let tested = Agent::command().args(["test", "--config"]).arg(config).output().unwrap();
    let page = String::from_utf8(tested.stdout).unwrap();
    assert!(tested.status.success() && page.contains("HTTP 101, subprotocol v2.plant"), "{page}");
}

#[test]
fn a_user_in_the_path_is_encoded_and_in_no_log() {
    let directory = scratch();
    let right = directory.path().join("right");
    std::fs::write(&right, "/auth/gw%2D17/s3%2Fcret/ingest\n").unwrap();
    let peer = Peer::python("gate", &directory.path().join("got"), &["--expect", right.to_str().unwrap()]);
    let more = "auth = { url = { username = \"gw-17\", password = \"s3/cret\" } }";
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), more));
    agent.wait_until_up();
    let log = agent.process.lines().join("\n") + &agent.status().to_string();
    assert!(!log.contains("s3/cret") && !log.contains("s3%2Fcret"), "{log}");
}

#[test]
fn several_first_messages_come_in_their_order_and_one_may_be_read_from_a_file() {
    let directory = scratch();
    let peer = Peer::python("gate", &directory.path().join("got"), &[]);
    std::fs::write(directory.path().join("login"), "{\"token\":\"t-1\"}\n").unwrap();
    let more = "message = [\"hello\", { file = \"login\" }]";
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), more));
    agent.post("/a", "one");
    agent.wait_until_delivered();
    wait_until("all three have come", || kept(&peer, "frame").len() == 3);
    let frames: Vec<Value> = kept(&peer, "frame").iter().map(|line| line["frame"].clone()).collect();
    assert_eq!(frames, [json!("hello"), json!("{\"token\":\"t-1\"}"), json!("one")]);
}

#[test]
fn a_host_with_port_and_parameters_is_an_address_and_so_is_one_of_ipv6() {
    let directory = scratch();
    let peer = Peer::python("gate", &directory.path().join("got"), &["--host", "::1"]);
    let address =
        format!("host = \"::1\"\nport = {}\npath = \"/in/gest?x=1\"\nparams = {{ y = \"2\" }}", peer.port);
    let agent = Agent::start(directory.path(), &at(&address, ""));
    agent.wait_until_up();
    let request = first_request(&peer);
    assert_eq!(request["path"], "/in/gest?x=1&y=2");
    assert_eq!(request["headers"]["host"], json!(format!("[::1]:{}", peer.port)));
    assert_eq!(agent.fact("/links/cloud/url"), json!(format!("ws://[::1]:{}", peer.port)));
}

#[test]
fn a_link_that_shall_not_reconnect_stays_down_and_says_so() {
    let directory = scratch();
    let close = ["--mode", "close", "--after", "1", "--times", "1"];
    let peer = Peer::python("bad_server", &directory.path().join("got"), &close);
    let table = uplink(&peer.url(), "").replace("reconnect = { ", "reconnect = { active = false, ");
    let agent = Agent::start(directory.path(), &table);
    agent.post("/a", "one");
    agent.wait_until_down("the peer closed");
    agent.process.said(&["link lost cloud", "retry_in=never"]);
    assert_eq!(agent.fact("/links/cloud/retry_in_s"), Value::Null);
    assert_eq!(agent.fact("/links/cloud/state"), "down");
}

#[test]
fn a_fixed_interval_takes_the_place_of_the_back_off() {
    let directory = scratch();
    let port = free_port();
    let table = uplink(&format!("ws://127.0.0.1:{port}/"), "").replace(
        "reconnect = { min = \"20ms\", max = \"200ms\"",
        "reconnect = { interval = \"50ms\", min = \"1h\", max = \"2h\"",
    );
    let agent = Agent::start(directory.path(), &table);
    agent.post("/a", "m-0");
    agent.wait_until_down("connection refused");
    let peer = Peer::python("echo_store", &directory.path().join("got"), &["--port", &port.to_string()]);
    agent.wait_until_delivered();
    assert_eq!(peer.lines(), numbered(1));
}

#[test]
fn pings_keep_a_link_alive_unless_they_are_turned_off() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let often = "confirm = \"none\"\nping = { interval = \"10ms\", timeout = \"10s\" }";
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), often));
    wait_until("a ping has come back", || agent.fact("/links/cloud/rtt_ms").is_number());
    drop(agent);
    let second = scratch();
    let never = "confirm = \"none\"\nping = { interval = \"0s\" }";
    let agent = Agent::start(second.path(), &uplink(&peer.url(), never));
    agent.post_all("/a", &numbered(50));
    agent.wait_until_delivered();
    wait_until("all have come", || peer.lines().len() == 50);
    assert_eq!(agent.fact("/links/cloud/rtt_ms"), Value::Null);
}

#[test]
fn the_status_can_be_that_of_one_application() {
    let directory = scratch();
    let peer = Peer::receiver(&directory.path().join("got"), &["--sync"]);
    let of = "application = \"plant-a\"\nconfirm = \"ack\"\nframing = \"envelope\"";
    let dead = format!("ws://127.0.0.1:{}/", free_port());
    let other = uplink(&dead, "application = \"plant-b\"").replace("\"cloud\"", "\"other\"");
    let server =
        "application = \"plant-a\"\n[[server.route]]\npath = \"/x/{what}\"\ntopic = \"{application}/{what}\"";
    let agent = Agent::start_with(directory.path(), &(uplink(&peer.url(), of) + &other), server);
    agent.wait_until_up();
    let shown = |name: &str| agent.ask(&["status", "--json", "--application", name]);
    let status: Value = serde_json::from_slice(&shown("plant-a").stdout).unwrap();
    assert_eq!(status["links"]["cloud"]["application"], "plant-a");
    assert_eq!(status["links"].as_object().unwrap().len(), 1, "{status}");
    assert_eq!(status["servers"]["sensors"]["application"], "plant-a");
    let status: Value = serde_json::from_slice(&shown("plant-b").stdout).unwrap();
    assert_eq!(status["servers"], serde_json::json!({}));
    let nobody = shown("plant-c");
    let words = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(!nobody.status.success() && words.contains("plant-a, plant-b"), "{words}");
    agent.post("/x/temperature", "21.5");
    agent.wait_until_delivered();
    assert!(peer.lines()[0].contains("\"topic\":\"plant-a/temperature\""), "{:?}", peer.lines());
}
