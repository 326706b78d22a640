//! The ways in and the ways out while nothing goes wrong.

use std::io::Write;

use serde_json::{Value, json};

use crate::harness::{Agent, Peer, curl, numbered, python, scratch, uplink, wait_for_value, wait_until};

const ENVELOPE: &str = "confirm = \"ack\"\nframing = \"envelope\"";

/// The `data` of each line that a receiver of envelopes has kept.
fn data_of(peer: &Peer) -> Vec<Value> {
    let lines = peer.lines();
    lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()?.get("data").cloned()).collect()
}

#[test]
fn a_message_posted_with_curl_is_answered_with_its_id_and_arrives_as_it_was() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    let url = format!("http://{}/kitchen/temperature", agent.address);
    let (status, body) = curl(&["-d", "{\"t\": 21.5}", &url]);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200, "{body}");
    assert!(answer["stored"].as_u64().is_some_and(|id| id > 0), "{body}");
    wait_for_value(&vec!["{\"t\": 21.5}".to_owned()], || peer.lines());
}

#[test]
fn a_message_is_stored_and_kept_while_no_link_is_configured() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), "");
    let first = agent.post("/a", "1");
    assert!(agent.post("/a", "2") > first);
    agent.wait_for_fact("/buffer/messages", 2);
    agent.wait_for_fact("/links/ws_client_1/state", "inactive");
}

#[test]
fn the_lines_of_an_ndjson_request_are_messages_with_ids_in_a_row() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    let url = format!("http://{}/many", agent.address);
    let lines = "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n";
    let (status, body) = curl(&["-H", "content-type: application/x-ndjson", "--data-binary", lines, &url]);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200, "{body}");
    let first = answer["stored"][0].as_u64().unwrap();
    assert_eq!(answer, json!({ "stored": [first, first + 2] }));
    let expected: Vec<String> = lines.lines().map(str::to_owned).collect();
    wait_for_value(&expected, || peer.lines());
}

#[test]
fn a_websocket_sensor_gets_the_id_of_each_message_and_all_arrive_in_order() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    let sender = crate::harness::WebSocketSender::start(directory.path(), "m-", 50);
    sender.aim(&format!("ws://{}/pump/pressure?confirm=1", agent.address));
    wait_until("500 messages have come", || peer.lines().len() >= 500);
    let stored = sender.end();
    agent.wait_until_delivered();
    let got = peer.lines();
    assert_eq!(got, numbered(got.len()));
    assert!(
        stored.len() <= got.len() && stored == numbered(stored.len()),
        "{} of {}",
        stored.len(),
        got.len()
    );
    assert_eq!(agent.fact("/devices/pump/status"), "online");
}

#[test]
fn a_file_sent_line_by_line_arrives_line_by_line() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    let lines = numbered(3_000);
    let file = directory.path().join("lines");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let output = agent.ask(&["send", "logs/boot", "--lines", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("stored 1..3000"), "{output:?}");
    wait_for_value(&lines, || peer.lines());
}

#[test]
fn envelopes_in_json_are_acknowledged_by_the_receiver_and_forgotten() {
    envelopes_reach_the_receiver("json");
}

#[test]
fn envelopes_in_cbor_are_acknowledged_by_the_receiver_and_forgotten() {
    envelopes_reach_the_receiver("cbor");
}

fn envelopes_reach_the_receiver(encoding: &str) {
    let directory = scratch();
    let peer = Peer::receiver(&directory.path().join("got"), &["--sync", "--summary-json"]);
    let tables = uplink(&peer.url(), &format!("{ENVELOPE}\nencoding = \"{encoding}\""));
    let agent = Agent::start(directory.path(), &tables);
    let bodies: Vec<String> = (0..500).map(|number| format!("{{\"n\":{number}}}")).collect();
    agent.post_lines("/line/pump", &bodies);
    agent.post("/line/pump", "plain words");
    agent.wait_until_delivered();
    let mut expected: Vec<Value> = (0..500).map(|number| json!({ "n": number })).collect();
    expected.push(json!("plain words"));
    assert_eq!(data_of(&peer), expected);
    let first: Value = serde_json::from_str(&peer.lines()[0]).unwrap();
    assert_eq!((&first["topic"], &first["device"]), (&json!("line/pump"), &json!("line")));
    let mut peer = peer;
    assert!(peer.process.terminate().success());
    let summary: Value = serde_json::from_str(peer.process.last_words().last().unwrap()).unwrap();
    assert_eq!((&summary["received"], &summary["duplicates"]), (&json!(501), &json!(0)), "{summary}");
}

#[test]
fn envelopes_are_understood_by_a_peer_written_from_the_description_of_the_wire() {
    let directory = scratch();
    let peer = Peer::python("ack_server", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ENVELOPE));
    agent.post_all("/a/b", &numbered(50));
    agent.wait_until_delivered();
    let expected: Vec<Value> = numbered(50).into_iter().map(Value::String).collect();
    assert_eq!(data_of(&peer), expected);
}

#[test]
fn a_message_that_the_peer_refuses_goes_to_the_dead_letters_and_the_rest_flows_on() {
    let directory = scratch();
    let peer = Peer::python("ack_server", &directory.path().join("got"), &["--nack", "2"]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ENVELOPE));
    agent.post_all("/a/b", &numbered(4));
    agent.wait_until_delivered();
    agent.wait_for_fact("/buffer/dead", 1);
    assert_eq!(data_of(&peer), [json!("m-0"), json!("m-2"), json!("m-3")]);
}

#[test]
fn what_the_link_is_told_to_say_first_comes_before_every_message_of_each_connection() {
    let directory = scratch();
    let peer = Peer::python(
        "bad_server",
        &directory.path().join("got"),
        &["--mode", "close", "--after", "2", "--times", "1"],
    );
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), "message = \"it is me\""));
    agent.post("/a", "one");
    wait_until("the second connection", || {
        peer.lines().iter().filter(|line| *line == "it is me").count() == 2
    });
    agent.wait_until_delivered();
    assert_eq!(peer.lines()[..2], ["it is me", "one"]);
}

#[test]
fn the_status_is_a_page_for_people_and_json_for_programs() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.wait_until_up();
    let page = agent.ask(&["status"]);
    let text = String::from_utf8_lossy(&page.stdout);
    assert!(page.status.success() && text.contains("cloud") && text.contains("BUFFER"), "{page:?}");
    let json: Value = serde_json::from_slice(&agent.ask(&["status", "--json"]).stdout).unwrap();
    assert_eq!(json["links"]["cloud"]["state"], "up");
}

#[test]
fn a_status_without_an_agent_says_that_none_runs() {
    let directory = scratch();
    let socket = directory.path().join("control.sock");
    let asked = Agent::command().arg("status").arg("--socket").arg(&socket).output().unwrap();
    let words = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(asked.status.code() == Some(2) && words.contains("no agent is running"), "{words}");
}

#[test]
fn a_peer_that_talks_back_is_heard_and_counted() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &["--echo"]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.post_all("/a", &numbered(5));
    agent.wait_for_fact("/links/cloud/received", 5);
}

#[test]
fn parameters_headers_and_credentials_reach_the_server_and_no_log() {
    let directory = scratch();
    let file = directory.path().join("got");
    let script = Peer::python("request_store", &file, &[]);
    std::fs::File::create(directory.path().join("key")).unwrap().write_all(b"k-123\n").unwrap();
    let more = "params = { line = \"3\" }\nheaders = { \"x-api-key\" = { file = \"key\" } }\n\
                auth = { basic = { username = \"gw\", password = \"pw-456\" } }";
    let agent = Agent::start(directory.path(), &uplink(&script.url(), more));
    agent.wait_until_up();
    let request: Value = serde_json::from_str(&script.lines()[0]).unwrap();
    assert_eq!(request["path"], "/ingest?line=3");
    assert_eq!(request["headers"]["x-api-key"], "k-123");
    assert_eq!(request["headers"]["authorization"], "Basic Z3c6cHctNDU2");
    let log = agent.process.lines().join("\n") + &agent.status().to_string();
    assert!(!log.contains("k-123") && !log.contains("pw-456") && !log.contains("Z3c6cHctNDU2"), "{log}");
}

#[test]
fn the_peers_for_tests_explain_themselves() {
    for script in
        ["echo_store", "ack_server", "bad_server", "request_store", "sender", "scrape", "talker", "gate"]
    {
        let output = python(script).arg("--help").output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
    }
}
