//! Secrets that change under a live link: it stays up, and the next connect brings the new one.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Agent, Authority, Peer, scratch, uplink, wait_for, wait_for_value, wait_until};

/// Callers that came in, each by what it showed.
fn came_in(peer: &Peer, pointer: &str) -> Vec<Value> {
    let lines = peer.lines();
    let values = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("it is JSON"));
    values.filter_map(|value| value.pointer(pointer).cloned()).collect()
}

/// Changes a secret while the link is up, then has the connection closed: the old one does not come in any more.
fn rotates(more: &str, write: impl Fn(&Path, &str), expect: impl Fn(&str) -> String) {
    let directory = scratch();
    let right = directory.path().join("right");
    let set = |word: &str| {
        std::fs::write(&right, expect(word)).unwrap();
        write(&directory.path().join("secret"), word);
    };
    set("first");
    let peer = Peer::python("gate", &directory.path().join("got"), &["--expect", right.to_str().unwrap()]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), more));
    agent.post("/a", "one");
    agent.wait_until_delivered();
    set("second");
    agent.post("/a", "two");
    agent.wait_until_delivered();
    assert_eq!(
        (agent.fact("/links/cloud/state"), agent.fact("/links/cloud/reconnects")),
        ("up".into(), 0.into())
    );
    peer.process.signal(Signal::USR1);
    agent.wait_for_fact("/links/cloud/reconnects", 1);
    agent.post("/a", "three");
    agent.wait_until_delivered();
    wait_until("all three have come", || came_in(&peer, "/frame").len() == 3);
    assert_eq!(came_in(&peer, "/path").len(), 2);
    let log = agent.process.lines().join("\n");
    assert!(!log.contains("second"), "{log}");
}

fn line(path: &Path, word: &str) {
    std::fs::write(path, format!("{word}\n")).unwrap();
}

#[test]
fn a_password_that_is_rotated_is_brought_by_the_next_connect() {
    use base64::Engine as _;
    let basic = |word: &str| {
        let login = base64::engine::general_purpose::STANDARD.encode(format!("gw:{word}"));
        format!("Basic {login}\n")
    };
    let auth = "auth = { basic = { username = \"gw\", password = { file = \"secret\" } } }";
    rotates(auth, line, basic);
}

#[test]
fn a_token_that_is_rotated_is_brought_by_the_next_connect() {
    rotates("auth = { bearer = { file = \"secret\" } }", line, |word| format!("Bearer {word}\n"));
}

#[test]
fn a_password_in_the_path_that_is_rotated_is_brought_by_the_next_connect() {
    let auth = "auth = { url = { username = \"gw\", password = { file = \"secret\" } } }";
    rotates(auth, line, |word| format!("/auth/gw/{word}/ingest\n"));
}

#[test]
fn a_token_that_was_wrong_is_read_again_until_it_is_right() {
    let directory = scratch();
    let right = directory.path().join("right");
    std::fs::write(&right, "Bearer good\n").unwrap();
    line(&directory.path().join("secret"), "bad");
    let peer = Peer::python("gate", &directory.path().join("got"), &["--expect", right.to_str().unwrap()]);
    let agent =
        Agent::start(directory.path(), &uplink(&peer.url(), "auth = { bearer = { file = \"secret\" } }"));
    agent.wait_until_down("HTTP 401");
    line(&directory.path().join("secret"), "good");
    agent.wait_until_up();
}

#[test]
fn a_client_certificate_that_is_renewed_is_shown_at_the_next_connect() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let server = authority.issue("localhost");
    let renew = |name: &str| {
        let files = authority.issue(name);
        std::fs::rename(files.key, directory.path().join("client.key")).unwrap();
        std::fs::rename(files.cert, directory.path().join("client.pem")).unwrap();
    };
    renew("gw-1.example");
    let (cert, key) = (server.cert.to_str().unwrap(), server.key.to_str().unwrap());
    let ca = authority.ca.to_str().unwrap();
    let arguments = ["--tls-cert", cert, "--tls-key", key, "--client-ca", ca];
    let peer = Peer::python("gate", &directory.path().join("got"), &arguments);
    let tls = format!("tls = {{ ca = {ca:?}, cert = \"client.pem\", key = \"client.key\" }}");
    let url = format!("wss://localhost:{}/ingest", peer.port);
    let agent = Agent::start(directory.path(), &uplink(&url, &tls));
    agent.wait_until_up();
    renew("gw-2.example");
    agent.post("/a", "one");
    agent.wait_until_delivered();
    assert_eq!(agent.fact("/links/cloud/reconnects"), 0);
    peer.process.signal(Signal::USR1);
    agent.wait_for_fact("/links/cloud/reconnects", 1);
    let names = vec![serde_json::json!(["gw-1.example"]), serde_json::json!(["gw-2.example"])];
    wait_for_value(&names, || came_in(&peer, "/certificate"));
}

#[test]
fn a_password_from_the_environment_and_one_from_a_credential_are_brought() {
    let directory = scratch();
    let credentials = scratch();
    let right = directory.path().join("right");
    std::fs::write(&right, "Bearer from-systemd\n").unwrap();
    line(&credentials.path().join("cloud"), "from-systemd");
    let peer = Peer::python("gate", &directory.path().join("got"), &["--expect", right.to_str().unwrap()]);
    let config = directory.path().join("test.toml");
    let comes_in = |secret: &str| {
        let table = uplink(&peer.url(), &format!("auth = {{ bearer = {secret} }}"));
        std::fs::write(&config, table).unwrap();
        let mut command = Agent::command();
        command.env("CREDENTIALS_DIRECTORY", credentials.path()).env("CLOUD_TOKEN", "from-environment");
        command.args(["test", "--config"]).arg(&config).output().unwrap().status.success()
    };
    assert!(comes_in("{ credential = \"cloud\" }"));
    assert!(!comes_in("{ env = \"CLOUD_TOKEN\" }"));
    std::fs::write(&right, "Bearer from-environment\n").unwrap();
    assert!(comes_in("{ env = \"CLOUD_TOKEN\" }"));
    line(&credentials.path().join("cloud"), "from-environment");
    assert!(comes_in("{ credential = \"cloud\" }"), "a credential is read again at each connect");
    assert!(wait_for("they came in", || Some(came_in(&peer, "/path").len())) >= 3);
}
