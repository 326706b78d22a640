//! Links that post batches to an HTTP server, with nginx in front of it and without.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    Agent, Authority, Peer, Proxy, free_port, lines_of, numbered, scratch, uplink, wait_for_value, wait_until,
};

/// A server with these arguments, which tells of its requests in a file beside what it keeps.
fn sink(directory: &Path, arguments: &[&str]) -> Peer {
    let requests = directory.join("requests");
    let own = ["--requests", requests.to_str().unwrap()];
    Peer::python("http_sink", &directory.join("got"), &[arguments, &own].concat())
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/in")
}

fn parsed(lines: &[String]) -> Vec<Value> {
    lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn requests(directory: &Path) -> Vec<Value> {
    parsed(&lines_of(&directory.join("requests")))
}

/// Data that came, without repeats.
fn data(peer: &Peer) -> Vec<Value> {
    let mut seen = std::collections::BTreeSet::new();
    let lines = parsed(&peer.lines());
    let first = lines.iter().filter(|line| seen.insert((line["epoch"].to_string(), line["seq"].as_u64())));
    first.filter_map(|line| line.get("data").cloned()).collect()
}

fn quoted(payloads: &[String]) -> Vec<String> {
    payloads.iter().map(|payload| format!("\"{payload}\"")).collect()
}

fn values(payloads: &[String]) -> Vec<Value> {
    payloads.iter().map(|payload| json!(payload)).collect()
}

#[test]
fn batches_come_in_order_over_one_connection_with_all_that_a_receiver_needs() {
    let directory = scratch();
    let peer = sink(directory.path(), &[]);
    let more = "params = { line = \"3\" }\nheaders = { x-api-key = \"k3y\" }\nauth = { bearer = \"t0ken\" }";
    let agent = Agent::start(directory.path(), &uplink(&url(peer.port), more));
    agent.post("/kitchen/temperature", "{\"t\": 21.50}");
    wait_for_value(&vec![json!({ "t": 21.5 })], || data(&peer));
    agent.post_lines("/pump/pressure", &quoted(&numbered(3_000)));
    agent.wait_until_delivered();
    let lines = parsed(&peer.lines());
    assert_eq!(data(&peer)[1..], values(&numbered(3_000)));
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=3_001).collect::<Vec<_>>());
    assert_eq!((&lines[0]["topic"], &lines[0]["device"]), (&json!("kitchen/temperature"), &json!("kitchen")));
    let requests = requests(directory.path());
    assert!(requests.len() < 200, "{} requests", requests.len());
    for request in &requests {
        assert_eq!((&request["path"], &request["from"]), (&json!("/in?line=3"), &requests[0]["from"]));
        let headers = &request["headers"];
        assert_eq!(headers["content-type"], "application/x-ndjson");
        assert_eq!(
            (&headers["x-api-key"], &headers["authorization"]),
            (&json!("k3y"), &json!("Bearer t0ken"))
        );
    }
    let link = agent.fact("/links/cloud");
    assert!(link["state"] == "up" && link["reconnects"] == 0, "{link}");
}

#[test]
fn a_message_that_the_server_cannot_take_is_found_set_aside_and_the_rest_flows_on() {
    let directory = scratch();
    let peer = sink(directory.path(), &["--refuse", "m-777\""]);
    let agent = Agent::start(directory.path(), &uplink(&url(peer.port), ""));
    agent.post_lines("/a", &quoted(&numbered(1_000)));
    agent.wait_until_delivered();
    let expected: Vec<String> = numbered(1_000).into_iter().filter(|payload| payload != "m-777").collect();
    wait_for_value(&values(&expected), || data(&peer));
    agent.wait_for_fact("/buffer/dead", 1);
    agent.process.said(&["peer refused a message", "HTTP 422 Unprocessable Entity: there is a m-777"]);
    assert!(requests(directory.path()).len() < 60);
}

#[test]
fn a_server_that_refuses_everything_gets_everything_once_it_is_mended() {
    let directory = scratch();
    let word = directory.path().join("word");
    std::fs::write(&word, "topic").unwrap();
    let peer = sink(directory.path(), &["--refuse", &format!("@{}", word.display())]);
    let agent = Agent::start(directory.path(), &uplink(&url(peer.port), ""));
    agent.post_lines("/a", &quoted(&numbered(30)));
    agent.wait_until_down(
        "HTTP 422 Unprocessable Entity: there is a topic in it, and takes no other message either",
    );
    std::fs::write(&word, "").unwrap();
    agent.wait_until_delivered();
    assert_eq!(data(&peer), values(&numbered(30)));
    assert_eq!(agent.fact("/buffer/dead"), 0);
}

#[test]
fn a_server_that_has_no_time_is_left_alone_as_long_as_it_says_and_nothing_is_lost() {
    let directory = scratch();
    let peer = sink(directory.path(), &["--answers", "503:1,429,408,500,hang"]);
    let more = "confirm_timeout = \"500ms\"";
    let agent = Agent::start(directory.path(), &uplink(&url(peer.port), more));
    agent.post("/a", "\"m-0\"");
    agent.wait_until_down("HTTP 503 Service Unavailable: as it was told");
    let before = requests(directory.path()).len();
    assert_eq!(before, 1, "Retry-After counts");
    agent.post_lines("/a", &quoted(&numbered(5)[1..]));
    agent.wait_until_delivered();
    assert_eq!(data(&peer), values(&numbered(5)));
    assert!(peer.lines().len() > 5, "what was taken without an answer comes again");
    assert_eq!(agent.fact("/buffer/dead"), 0);
}

#[test]
fn credentials_that_are_refused_are_read_again() {
    let directory = scratch();
    let (right, ours) = (directory.path().join("right"), directory.path().join("ours"));
    std::fs::write(&right, "Bearer new\n").unwrap();
    std::fs::write(&ours, "old\n").unwrap();
    let peer = sink(directory.path(), &["--expect", right.to_str().unwrap()]);
    let more = format!("auth = {{ bearer = {{ file = {ours:?} }} }}");
    let agent = Agent::start(directory.path(), &uplink(&url(peer.port), &more));
    agent.post("/a", "1");
    agent.wait_until_down("HTTP 401 Unauthorized");
    std::fs::write(&ours, "new\n").unwrap();
    agent.wait_until_delivered();
    assert_eq!(data(&peer), [json!(1)]);
}

#[test]
fn batches_pass_tls_and_a_redirect_of_nginx_compressed() {
    let directory = scratch();
    let peer = sink(directory.path(), &[]);
    let authority = Authority::new(directory.path(), "ours");
    // Each connection of the agent ends after a few requests, as behind a server that closes idle ones.
    let locations = format!(
        "keepalive_requests 3;\nlocation / {{\nproxy_pass http://127.0.0.1:{};\n}}\nlocation /old {{\nreturn 308 /in;\n}}\n",
        peer.port
    );
    let proxy = Proxy::serving(directory.path(), Some(&authority.issue("localhost")), &locations);
    let more = format!("compression = \"gzip\"\nencoding = \"json\"\ntls = {{ ca = {:?} }}", authority.ca);
    let url = format!("https://gw:s3cret@localhost:{}/old", proxy.port);
    let agent = Agent::start(directory.path(), &uplink(&url, &more));
    for number in 0..10 {
        agent.post("/a", &format!("\"m-{number}\""));
        agent.wait_until_delivered();
    }
    assert_eq!(data(&peer), values(&numbered(10)));
    let request = requests(directory.path()).remove(0);
    assert_eq!(request["headers"]["content-encoding"], "gzip");
    assert!(request["headers"]["authorization"].as_str().unwrap().starts_with("Basic "), "{request}");
    let link = agent.fact("/links/cloud");
    assert!(link["state"] == "up" && link["reconnects"] == 0, "{link}");
}

#[test]
fn a_batch_that_is_too_large_for_nginx_is_made_smaller_and_a_message_that_is_goes_to_the_dead_letters() {
    let directory = scratch();
    let peer = sink(directory.path(), &[]);
    let locations = format!(
        "client_max_body_size 4k;\nlocation / {{\nproxy_pass http://127.0.0.1:{};\nproxy_http_version 1.1;\n}}\n",
        peer.port
    );
    let proxy = Proxy::serving(directory.path(), None, &locations);
    let agent = Agent::start(directory.path(), &uplink(&url(proxy.port), ""));
    let mut payloads = numbered(300);
    payloads[200] = "x".repeat(9_000);
    agent.post_lines("/a", &quoted(&payloads));
    agent.wait_until_delivered();
    payloads.remove(200);
    wait_for_value(&values(&payloads), || data(&peer));
    agent.wait_for_fact("/buffer/dead", 1);
}

#[test]
fn payloads_go_alone_where_the_server_wants_them_so() {
    let directory = scratch();
    let peer = sink(directory.path(), &[]);
    let more = "elements = \"payloads\"\nencoding = \"json\"\nbatch = { messages = 3, after = \"300ms\" }";
    let agent = Agent::start(directory.path(), &uplink(&url(peer.port), more));
    agent.post_lines("/a", &["{\"t\":1}", "[2]", "\"drei\"", "4"].map(str::to_owned));
    agent.wait_until_delivered();
    assert_eq!(peer.lines(), ["{\"t\": 1}", "[2]", "\"drei\"", "4"]);
    assert_eq!(requests(directory.path()).len(), 2, "three go at once, the fourth waits for others");
}

#[test]
fn a_test_posts_an_empty_batch_and_tells_what_is_wrong() {
    let directory = scratch();
    let peer = sink(directory.path(), &["--answers", "200,404,403,415,503"]);
    let file = directory.path().join("test.toml");
    std::fs::write(&file, format!("[[client]]\nurl = \"{}\"\nauth = {{ bearer = \"t\" }}\n", url(peer.port)))
        .unwrap();
    let test = || {
        let tested = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["test", "--json", "--config"])
            .arg(&file)
            .output();
        let document: Value = serde_json::from_slice(&tested.unwrap().stdout).unwrap();
        document["links"][0].clone()
    };
    let link = test();
    assert_eq!(link["ok"], true, "{link}");
    let steps: Vec<&str> =
        link["steps"].as_array().unwrap().iter().filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(steps, ["settings", "name", "tcp", "request", "authentication"]);
    for (step, error, hint) in [
        ("request", "HTTP 404", "check the path"),
        ("authentication", "HTTP 403", "check user, password or token"),
        ("request", "HTTP 415", "`encoding`"),
        ("request", "HTTP 503", "holds everything"),
    ] {
        let link = test();
        let last = link["steps"].as_array().unwrap().last().unwrap().clone();
        assert!(last["ok"] == false && last["step"] == step, "{last}");
        assert!(last["error"].as_str().unwrap().contains(error), "{last}");
        assert!(last["hint"].as_str().unwrap().contains(hint), "{last}");
    }
    assert!(peer.lines().is_empty());
}

#[test]
fn a_link_moves_to_another_url_when_the_first_server_is_gone_and_back_when_it_answers() {
    let directory = scratch();
    let second = sink(directory.path(), &[]);
    let first = free_port();
    let urls = format!("urls = [\"{}\", \"{}\"]\nprefer_after = \"200ms\"", url(first), url(second.port));
    let tables = uplink(&url(first), &urls).replacen(&format!("url = \"{}\"\n", url(first)), "", 1);
    let agent = Agent::start(directory.path(), &tables);
    agent.post("/a", "1");
    wait_for_value(&vec![json!(1)], || data(&second));
    let back = Peer::python("http_sink", &directory.path().join("back"), &["--port", &first.to_string()]);
    wait_until("the link is back at its first url", || {
        agent.post("/a", "2");
        !back.lines().is_empty()
    });
    agent.wait_until_delivered();
}
