//! `holdfast test` against peers of every kind: each fault is found at its step, with its reason.

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Agent, Authority, Broker, Peer, Proxy, free_port, scratch};

/// What it says of the one link of these tables, and whether its exit code agrees.
fn test(directory: &Path, tables: &str) -> Value {
    let file = directory.join("test.toml");
    std::fs::write(&file, tables).unwrap();
    let tested = Agent::command().args(["test", "--json", "--config"]).arg(&file).output().unwrap();
    let document: Value = serde_json::from_slice(&tested.stdout).unwrap_or_else(|_| panic!("{tested:?}"));
    assert_eq!(document["ok"] == true, tested.status.success(), "{document}");
    document["links"][0].clone()
}

fn client(url: &str, more: &str) -> String {
    format!(
        "[[client]]\nid = \"cloud\"\nurl = \"{url}\"\nping = {{ interval = \"20s\", timeout = \"500ms\" }}\n{more}\n"
    )
}

fn steps(link: &Value) -> Vec<&str> {
    link["steps"].as_array().unwrap().iter().filter_map(|step| step["step"].as_str()).collect()
}

/// The last step failed, is this one, and says these words.
fn fails_at(link: &Value, step: &str, words: &str, hint: &str) {
    let last = link["steps"].as_array().unwrap().last().unwrap();
    assert!(last["ok"] == false && last["step"] == step, "{link}");
    assert!(last["error"].as_str().unwrap().contains(words), "{link}");
    assert!(last["hint"].as_str().unwrap().contains(hint), "{link}");
}

#[test]
fn a_link_that_works_passes_every_step_and_the_peer_gets_no_message() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let proxy = Proxy::start(directory.path(), &authority.issue("localhost"), peer.port);
    let url = format!("wss://localhost:{}/ingest?key=s3cret", proxy.port);
    let link = test(directory.path(), &client(&url, &format!("tls = {{ ca = {:?} }}", authority.ca)));
    assert_eq!(steps(&link), ["settings", "name", "tcp", "tls", "upgrade", "authentication", "ping"]);
    assert!(link["ok"] == true && !link.to_string().contains("s3cret"), "{link}");
    let tls = link["steps"][3]["found"].as_str().unwrap();
    assert!(tls.starts_with("TLS 1.") && tls.contains("certificate good for "), "{link}");
    assert!(peer.lines().is_empty());
}

#[test]
fn a_name_that_does_not_exist_and_a_port_where_nobody_listens_are_told_apart() {
    let directory = scratch();
    let unknown = test(directory.path(), &client("ws://no-such-host.invalid/", ""));
    fails_at(&unknown, "name", "cannot resolve no-such-host.invalid", "name server");
    let refused = test(directory.path(), &client(&format!("ws://127.0.0.1:{}/", free_port()), ""));
    fails_at(&refused, "tcp", "connection refused", "nobody listens there: check the port in `url`");
    let proxy = format!("proxy = {{ url = \"http://127.0.0.1:{}\" }}", free_port());
    let behind = test(directory.path(), &client("ws://hub.invalid/", &proxy));
    fails_at(&behind, "tcp", "cannot reach the proxy", "nobody listens there: check the port in `proxy`");
}

#[test]
fn each_fault_of_a_certificate_is_told_apart() {
    let directory = scratch();
    let (ours, theirs) =
        (Authority::new(directory.path(), "ours"), Authority::new(directory.path(), "theirs"));
    let cases = [
        (&ours, "localhost", 2000, 2020, "has expired on 2020-01-01", "renewed"),
        (&ours, "localhost", 2090, 2100, "not valid yet, but from 2090-01-01 on", "clock"),
        (
            &ours,
            "elsewhere.example",
            2000,
            2100,
            "not for localhost but for elsewhere.example",
            "server_name",
        ),
        (&theirs, "localhost", 2000, 2100, "unknown issuer", "tls.ca"),
    ];
    for (authority, name, from, until, words, hint) in cases {
        let files = authority.issue_for(name, from, until);
        let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
        let peer = Peer::receiver(&directory.path().join("got"), &["--tls-cert", cert, "--tls-key", key]);
        let tables =
            client(&format!("wss://localhost:{}/", peer.port), &format!("tls = {{ ca = {:?} }}", ours.ca));
        fails_at(&test(directory.path(), &tables), "tls", words, hint);
    }
}

#[test]
fn a_port_without_tls_and_one_with_it_are_told_apart() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let plain = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let trusting = format!("tls = {{ ca = {:?} }}", authority.ca);
    let link = test(directory.path(), &client(&format!("wss://localhost:{}/", plain.port), &trusting));
    fails_at(&link, "tls", "TLS", "ws://");
    let files = authority.issue("localhost");
    let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
    let secure = Peer::receiver(&directory.path().join("got2"), &["--tls-cert", cert, "--tls-key", key]);
    let link = test(directory.path(), &client(&format!("ws://localhost:{}/", secure.port), ""));
    fails_at(&link, "upgrade", "speaks TLS on this port", "wss://");
}

#[test]
fn a_server_that_refuses_is_told_by_what_it_refuses() {
    let directory = scratch();
    for (status, step, hint) in [
        ("401", "authentication", "password"),
        ("404", "upgrade", "path"),
        ("503", "upgrade", "asks for time"),
    ] {
        let peer = Peer::receiver(&directory.path().join("got"), &["--refuse", status]);
        let link = test(directory.path(), &client(&peer.url(), ""));
        fails_at(&link, step, &format!("HTTP {status}"), hint);
    }
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up_in_the_upgrade() {
    let directory = scratch();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", silent.local_addr().unwrap());
    let link = test(directory.path(), &client(&url, "connect_timeout = \"300ms\""));
    fails_at(&link, "upgrade", "timed out after 0.3 s", "proxy");
}

#[test]
fn a_peer_that_answers_no_ping_is_told() {
    let directory = scratch();
    let peer = Peer::receiver(&directory.path().join("got"), &["--no-pong"]);
    fails_at(&test(directory.path(), &client(&peer.url(), "")), "ping", "no pong within 0.5 s", "\"ack\"");
}

#[test]
fn a_secret_that_cannot_be_read_is_named() {
    let directory = scratch();
    let more = "auth = { bearer = { file = \"no-such-token\" } }";
    let link = test(directory.path(), &client("ws://127.0.0.1:1/", more));
    fails_at(&link, "settings", "no-such-token", "configuration");
}

#[test]
fn a_broker_is_tested_without_pushing_the_agent_off() {
    let directory = scratch();
    let broker = Broker::with_password(directory.path(), "gw", "right");
    let tables = |password: &str| {
        format!("[mqtt]\nurl = \"{}\"\nusername = \"gw\"\npassword = \"{password}\"\n", broker.url())
    };
    let agent = Agent::start(directory.path(), &tables("right"));
    agent.wait_for_fact("/mqtt/state", "up");
    let link = test(directory.path(), &("[agent]\nid = \"gw\"\n".to_owned() + &tables("right")));
    assert_eq!(steps(&link), ["settings", "name", "tcp", "connack", "authentication", "ping", "publish"]);
    assert_eq!(link["ok"], true, "{link}");
    let link = test(directory.path(), &tables("wr0ng"));
    fails_at(&link, "authentication", "the broker", "password");
    assert!(!link.to_string().contains("wr0ng"));
    assert_eq!((agent.fact("/mqtt/state"), agent.fact("/mqtt/reconnects")), ("up".into(), 0.into()));
}

#[test]
fn a_name_that_is_not_configured_is_answered_with_those_that_are() {
    let directory = scratch();
    let file = directory.path().join("test.toml");
    std::fs::write(&file, client("ws://127.0.0.1:1/", "")).unwrap();
    let tested = Agent::command().args(["test", "clowd", "--config"]).arg(&file).output().unwrap();
    let words = String::from_utf8_lossy(&tested.stderr).into_owned();
    assert!(
        !tested.status.success() && words.contains("there is no clowd in the configuration, only cloud"),
        "{words}"
    );
}
