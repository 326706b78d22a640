//! `holdfast client` and `holdfast server`: links and listeners are looked at and changed while the agent runs.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::harness::{Agent, Peer, free_port, numbered, scratch, uplink, wait_for_value, wait_until};

fn file(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("holdfast.toml")).unwrap()
}

/// Asks with the configuration of this directory.
fn ask(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Agent::command();
    command.args(arguments).arg("--config").arg(directory.join("holdfast.toml"));
    command.output().expect("the binary runs")
}

fn done(directory: &Path, arguments: &[&str]) -> String {
    let asked = ask(directory, arguments);
    assert!(asked.status.success(), "{asked:?}");
    String::from_utf8(asked.stdout).unwrap()
}

fn refused(directory: &Path, arguments: &[&str]) -> String {
    let asked = ask(directory, arguments);
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
    String::from_utf8(asked.stderr).unwrap()
}

#[test]
fn a_client_that_is_disconnected_holds_until_it_is_connected() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.wait_until_up();
    done(directory.path(), &["client", "disconnect", "Cloud"]);
    peer.process.said(&["closed 1001"]);
    agent.wait_for_fact("/links/cloud/state", "disconnected");
    agent.post_all("/a", &numbered(20));
    assert_eq!(agent.fact("/links/cloud/unconfirmed"), 20);
    done(directory.path(), &["client", "connect", "cloud"]);
    agent.wait_until_delivered();
    // A pong comes from the peer's stack; what the program behind it does with the messages may take a moment more.
    wait_for_value(&numbered(20), || peer.lines());
    let words = refused(directory.path(), &["client", "connect", "lab"]);
    assert!(words.contains("cannot connect lab: there is no client lab"), "{words}");
}

#[test]
fn a_client_in_its_back_off_connects_at_once_when_it_is_told_to() {
    let directory = scratch();
    let port = free_port();
    let dead = format!(
        "[[client]]\nid = \"cloud\"\nurl = \"ws://127.0.0.1:{port}/\"\nreconnect = {{ min = \"1h\", max = \"2h\" }}\n"
    );
    let agent = Agent::start(directory.path(), &dead);
    agent.process.said(&["link down cloud", "retry_in="]);
    let _peer = Peer::receiver_at(port, &directory.path().join("got"), &[]);
    done(directory.path(), &["client", "connect", "cloud"]);
    agent.wait_for_fact("/links/cloud/state", "up");
}

#[test]
fn clients_are_added_disabled_and_removed_and_comments_stay() {
    let directory = scratch();
    let cloud = Peer::python("echo_store", &directory.path().join("cloud"), &[]);
    let lab = Peer::python("echo_store", &directory.path().join("lab"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&cloud.url(), "# Ours.\nwindow = 7 # few"));
    agent.wait_until_up();
    let before = file(directory.path());
    let url = lab.url().replace("ws://", "ws://gw:s3cret@");
    let told = done(directory.path(), &["client", "add", &url, "--id", "lab", "--set", "confirm=pong"]);
    assert!(told.contains("added client lab in ") && told.contains("client.lab"), "{told}");
    let after = file(directory.path());
    assert!(after.starts_with(&before), "{after}");
    let table = format!(
        "\n[[client]]\nid = \"lab\"\nurl = \"{}\"\nauth = {{ basic = {{ username = \"gw\", password = {{ file = \"lab.password\" }} }} }}\nconfirm = \"pong\"\n",
        lab.url()
    );
    assert!(after.ends_with(&table), "{after}");
    agent.wait_for_fact("/links/lab/state", "up");
    let list = done(directory.path(), &["client", "list"]);
    assert!(list.lines().any(|line| line.starts_with("lab ") && line.contains(" up ")), "{list}");
    let shown = done(directory.path(), &["client", "show", "lab"]);
    assert!(shown.contains("password = { file = ") && shown.contains("# state: up"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    done(directory.path(), &["client", "disable", "lab"]);
    agent.wait_for_fact("/links/lab/state", "inactive");
    let words = refused(directory.path(), &["client", "connect", "lab"]);
    assert!(words.contains("client lab is not active"), "{words}");
    done(directory.path(), &["client", "enable", "lab"]);
    agent.wait_for_fact("/links/lab/state", "up");
    agent.post_all("/a", &numbered(5));
    agent.wait_until_delivered();
    assert!(directory.path().join("lab.password").exists());
    let told = done(directory.path(), &["client", "remove", "lab"]);
    assert!(told.contains("removed its password in "), "{told}");
    assert!(!directory.path().join("lab.password").exists());
    wait_until("it is gone", || agent.fact("/links/lab") == Value::Null);
    assert_eq!(file(directory.path()).trim_end(), before.trim_end());
    agent.post_all("/a", &numbered(5));
    agent.wait_until_delivered();
    assert_eq!(cloud.lines().len(), 10);
    assert_eq!((agent.fact("/session"), agent.fact("/links/cloud/reconnects")), (1.into(), 0.into()));
}

#[test]
fn a_change_that_would_make_the_file_wrong_is_refused() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:1/", ""));
    let before = file(directory.path());
    let cases: [(&[&str], &str); 5] = [
        (&["client", "add", "ws://h/", "--set", "windw=7"], "client[1].windw: unknown key"),
        (&["client", "add", "ws://h/", "--id", "CLOUD"], "nothing has changed in "),
        (&["client", "add", "ftp://h/"], "the url must be a url that starts with ws://"),
        (&["client", "remove", "lab"], "holdfast.toml, only cloud"),
        (&["server", "add", "nonsense"], "must be ADDRESS:PORT"),
    ];
    for (arguments, expected) in cases {
        let words = refused(directory.path(), arguments);
        assert!(words.contains(expected), "{words}");
        assert_eq!(file(directory.path()), before);
    }
    assert_eq!(agent.fact("/links/cloud/state"), "down");
}

#[test]
fn a_server_is_added_and_removed_while_the_agent_runs() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.wait_until_up();
    done(directory.path(), &["server", "add", "127.0.0.1:0", "--id", "more"]);
    agent.process.said(&["listening", "server=more", "url=http://127.0.0.1:"]);
    let list = done(directory.path(), &["server", "list"]);
    assert!(list.lines().any(|line| line.starts_with("more ")), "{list}");
    let shown = done(directory.path(), &["server", "show", "more", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["configuration"]["bind"], serde_json::json!(["127.0.0.1:0"]));
    assert_eq!(shown["status"]["denied_networks"], 0, "{shown}");
    done(directory.path(), &["server", "disable", "more"]);
    agent.process.said(&["server more closes"]);
    assert_eq!(agent.fact("/servers/more"), Value::Null);
    let list = done(directory.path(), &["server", "list"]);
    assert!(list.lines().any(|line| line.starts_with("more     no ")), "{list}");
    done(directory.path(), &["server", "enable", "more"]);
    agent.process.said(&["listening", "server=more", "url=http://127.0.0.1:"]);
    done(directory.path(), &["server", "remove", "more"]);
    agent.process.said(&["server more closes"]);
    agent.post("/a", "one");
    agent.wait_until_delivered();
    assert_eq!((agent.fact("/session"), agent.fact("/links/cloud/reconnects")), (1.into(), 0.into()));
}
