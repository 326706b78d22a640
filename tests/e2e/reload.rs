//! The agent takes over another configuration while it runs.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Agent, Http, Peer, numbered, scratch, uplink, wait_for_value, wait_until};

fn reload(agent: &Agent) -> Value {
    let asked = agent.ask(&["reload", "--json"]);
    assert!(asked.status.success(), "{asked:?}");
    serde_json::from_slice(&asked.stdout).unwrap()
}

fn told(how: &str, changed: &[&str]) -> Value {
    serde_json::json!({ "reload": how, "changed": changed })
}

fn lab(url: &str) -> String {
    uplink(url, "").replace("\"cloud\"", "\"lab\"")
}

#[test]
fn a_changed_link_connects_anew_while_another_keeps_its_connection() {
    let directory = scratch();
    let cloud_peer = Peer::python("echo_store", &directory.path().join("cloud"), &[]);
    let lab_peer = Peer::python("echo_store", &directory.path().join("lab"), &[]);
    let tables = |more: &str| uplink(&cloud_peer.url(), more) + &lab(&lab_peer.url());
    let agent = Agent::start(directory.path(), &tables(""));
    agent.wait_until_up();
    agent.wait_for_fact("/links/lab/state", "up");
    assert_eq!(reload(&agent), told("unchanged", &[]));
    agent.configure(&tables("window = 7"));
    assert_eq!(reload(&agent), told("applied", &["client.cloud"]));
    cloud_peer.process.said(&["closed 1001"]);
    agent.wait_for_fact("/links/cloud/reconnects", 1);
    agent.post_all("/a", &numbered(20));
    agent.wait_until_delivered();
    agent.wait_for_fact("/links/lab/unconfirmed", 0);
    assert_eq!(agent.fact("/links/lab/reconnects"), 0);
    wait_for_value(&(numbered(20), numbered(20)), || (cloud_peer.lines(), lab_peer.lines()));
}

#[test]
fn a_wrong_configuration_changes_nothing_and_is_told_with_its_place() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.wait_until_up();
    agent.configure(&uplink(&peer.url(), "windw = 7"));
    let socket = directory.path().join("data/control.sock");
    let asked = Agent::command().args(["reload", "--socket"]).arg(socket).output().unwrap();
    let words = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(!asked.status.success(), "{words}");
    assert!(
        words.contains("nothing has changed") && words.contains("holdfast.toml:13:1: client.windw"),
        "{words}"
    );
    agent.process.signal(Signal::HUP);
    agent.process.said(&["ERROR", "the configuration in force stays", "client.windw"]);
    agent.post("/a", "one");
    agent.wait_until_delivered();
    assert_eq!(agent.fact("/links/cloud/reconnects"), 0);
    let rejected = agent.fact("/configuration_rejected");
    assert!(rejected.as_str().is_some_and(|why| why.contains("client.windw")), "{rejected}");
    agent.configure(&uplink(&peer.url(), ""));
    reload(&agent);
    assert_eq!(agent.fact("/configuration_rejected"), Value::Null);
}

#[test]
fn a_client_that_is_added_gets_what_comes_while_another_keeps_its_connection_and_what_it_holds() {
    let directory = scratch();
    let cloud_peer = Peer::python("echo_store", &directory.path().join("cloud"), &[]);
    let cloud = uplink(&cloud_peer.url(), "");
    let agent = Agent::start(directory.path(), &cloud);
    agent.wait_until_up();
    let mut sensor = agent.http();
    sensor.store("/a", "before");
    let lab_peer = Peer::python("echo_store", &directory.path().join("lab"), &[]);
    agent.configure(&(lab(&lab_peer.url()) + &cloud));
    assert_eq!(reload(&agent), told("applied", &["client.lab"]));
    agent.wait_for_fact("/links/lab/state", "up");
    sensor.store("/a", "both");
    wait_until("all have come", || cloud_peer.lines() == ["before", "both"] && lab_peer.lines() == ["both"]);
    assert_eq!((agent.fact("/session"), agent.fact("/links/cloud/reconnects")), (1.into(), 0.into()));
}

#[test]
fn a_client_that_is_removed_finds_what_it_held_when_it_comes_back_also_after_a_kill() {
    let directory = scratch();
    let cloud_peer = Peer::python("echo_store", &directory.path().join("cloud"), &[]);
    let cloud = uplink(&cloud_peer.url(), "");
    let mut agent = Agent::start(directory.path(), &(cloud.clone() + &lab("ws://127.0.0.1:1/")));
    agent.wait_until_up();
    agent.post_all("/a", &numbered(20));
    agent.configure(&cloud);
    assert_eq!(reload(&agent), told("applied", &["client.lab"]));
    assert_eq!(agent.fact("/links/lab"), Value::Null);
    agent.post("/a", "meanwhile");
    agent.wait_until_delivered();
    wait_for_value(&Value::from(0), || agent.fact("/buffer/messages"));
    assert_eq!((agent.fact("/session"), agent.fact("/links/cloud/reconnects")), (1.into(), 0.into()));
    agent.kill();
    agent.start_again();
    agent.wait_until_up();
    let lab_peer = Peer::python("echo_store", &directory.path().join("lab"), &[]);
    agent.configure(&(cloud + &lab(&lab_peer.url())));
    assert_eq!(reload(&agent), told("applied", &["client.lab"]));
    wait_for_value(&numbered(20), || lab_peer.lines());
    assert_eq!((agent.fact("/session"), agent.fact("/links/cloud/reconnects")), (2.into(), 0.into()));
}

#[test]
fn a_route_with_a_priority_that_nobody_had_gets_its_lane_without_a_new_start() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.wait_until_up();
    let more = "[[server]]\nid = \"alarms\"\nbind = [\"127.0.0.1:0\"]\n[[server.route]]\npath = \"/{name}\"\npriority = 7\n";
    agent.configure(&(more.to_owned() + &uplink(&peer.url(), "")));
    assert_eq!(reload(&agent), told("applied", &["server.alarms"]));
    let words = agent.process.said(&["listening", "server=alarms"]);
    let address = words.rsplit_once("://").unwrap().1.trim().to_owned();
    wait_until("there is a lane", || agent.fact("/links/cloud/unconfirmed_by_priority/7") == 0);
    Http::connect(&address).unwrap().store("/fire", "alarm");
    wait_until("it has come", || peer.lines() == ["alarm"]);
    assert_eq!(agent.fact("/session"), 1);
}

#[test]
fn another_name_makes_the_agent_start_anew_in_its_process_and_nothing_held_is_lost() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:1/", ""));
    agent.post_all("/a", &numbered(50));
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    agent.configure_as("id = \"other\"\n", &uplink(&peer.url(), ""));
    assert_eq!(reload(&agent)["reload"], "restarting");
    wait_for_value(&numbered(50), || peer.lines());
    assert_eq!(agent.fact("/agent"), "other");
    assert_eq!(agent.fact("/session"), 2);
}

#[test]
fn new_settings_that_lead_nowhere_give_way_to_the_old_ones_and_nothing_is_lost() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.wait_until_up();
    agent.configure(&uplink("ws://127.0.0.1:1/", "trial = \"1s\""));
    assert_eq!(reload(&agent), told("applied", &["client.cloud"]));
    agent.post("/a", "on trial");
    agent.process.said(&["WARN", "client cloud: new settings got no confirmation within 1 s"]);
    agent.wait_until_up();
    agent.wait_until_delivered();
    assert_eq!(peer.lines(), ["on trial"]);
    let rejected = agent.fact("/links/cloud/settings_rejected");
    assert!(rejected.as_str().is_some_and(|why| why.contains("connection refused")), "{rejected}");
    agent.configure(&uplink(&peer.url(), "window = 7\ntrial = \"1h\""));
    reload(&agent);
    agent.wait_until_up();
    agent.post("/a", "proven");
    agent.wait_until_delivered();
    assert_eq!(agent.fact("/links/cloud/settings_rejected"), Value::Null);
}

#[test]
fn two_links_whose_new_settings_fail_together_go_back_to_the_old_ones_and_nothing_is_dropped() {
    let (directory, peers, agent) = cloud_and_lab();
    let dead = "ws://127.0.0.1:1/";
    agent.configure(&both([dead, dead], "trial = \"1s\"\nbuffer = { max_messages = 3 }"));
    assert_eq!(reload(&agent), told("applied", &["client.cloud", "client.lab"]));
    agent.wait_for_fact("/links/cloud/on_trial", true);
    agent.post_all("/a", &numbered(10));
    for id in ["cloud", "lab"] {
        agent.process.said(&["WARN", &format!("client {id}: new settings got no confirmation within 1 s")]);
    }
    wait_for_value(&(numbered(10), numbered(10)), || (peers[0].lines(), peers[1].lines()));
    // Messages that are held once they are back are not bounded either.
    ["cloud", "lab"].iter().for_each(|id| tell(directory.path(), "disconnect", id));
    agent.post_all("/a", &numbered(10));
    ["cloud", "lab"].iter().for_each(|id| tell(directory.path(), "connect", id));
    wait_until("all have come twice", || peers.iter().all(|peer| peer.lines().len() == 20));
    assert_eq!(agent.fact("/buffer/dropped"), 0);
    for (id, peer) in ["cloud", "lab"].iter().zip(&peers) {
        let fact = |name: &str| agent.fact(&format!("/links/{id}/{name}"));
        let url = format!("{}/ingest", fact("url").as_str().unwrap_or_default());
        assert_eq!((url, fact("max_messages"), fact("on_trial")), (peer.url(), 0.into(), false.into()));
    }
}

#[test]
fn a_link_that_is_told_to_stay_away_while_another_goes_back_stays_away_and_goes_back_later() {
    let (directory, peers, agent) = cloud_and_lab();
    let dead = "ws://127.0.0.1:1/";
    agent.configure(&both([dead, dead], "trial = \"1s\""));
    assert_eq!(reload(&agent), told("applied", &["client.cloud", "client.lab"]));
    tell(directory.path(), "disconnect", "cloud");
    agent.process.said(&["WARN", "client lab: new settings got no confirmation within 1 s"]);
    agent.wait_for_fact("/links/lab/state", "up");
    let fact = |name: &str| agent.fact(&format!("/links/cloud/{name}"));
    assert_eq!((fact("state"), fact("on_trial")), ("disconnected".into(), true.into()));
    agent.post_all("/a", &numbered(10));
    tell(directory.path(), "connect", "cloud");
    agent.process.said(&["WARN", "client cloud: new settings got no confirmation within 1 s"]);
    wait_for_value(&(numbered(10), numbered(10)), || (peers[0].lines(), peers[1].lines()));
}

#[test]
fn a_new_start_tries_new_settings_too() {
    let (_directory, peers, agent) = cloud_and_lab();
    let dead = "ws://127.0.0.1:1/";
    agent.configure_as("id = \"other\"\n", &both([dead, &peers[1].url()], "trial = \"1s\""));
    assert_eq!(reload(&agent)["reload"], "restarting");
    agent.process.said(&["WARN", "client cloud: new settings got no confirmation within 1 s"]);
    wait_until("the old url is back", || agent.fact("/links/cloud/state") == "up");
    assert_eq!((agent.fact("/agent"), agent.fact("/session")), ("other".into(), 2.into()));
    assert_eq!(agent.fact("/links/lab/on_trial"), false);
}

/// Two clients, both up.
fn cloud_and_lab() -> (tempfile::TempDir, [Peer; 2], Agent) {
    let directory = scratch();
    let peers = ["cloud", "lab"].map(|name| Peer::python("echo_store", &directory.path().join(name), &[]));
    let agent = Agent::start(directory.path(), &both([&peers[0].url(), &peers[1].url()], ""));
    agent.wait_until_up();
    agent.wait_for_fact("/links/lab/state", "up");
    (directory, peers, agent)
}

/// The tables of two clients with these urls.
fn both([cloud, lab]: [&str; 2], more: &str) -> String {
    uplink(cloud, more) + &uplink(lab, more).replace("\"cloud\"", "\"lab\"")
}

fn tell(directory: &Path, word: &str, id: &str) {
    let mut command = Agent::command();
    command.args(["client", word, id, "--config"]).arg(directory.join("holdfast.toml"));
    let told = command.output().expect("the binary runs");
    assert!(told.status.success(), "{told:?}");
}

#[test]
fn a_changed_server_is_replaced_while_others_and_the_links_keep_their_connections() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let second = |limits: &str| {
        format!(
            "[[server]]\nid = \"second\"\nbind = [\"127.0.0.1:0\"]\n{limits}\n{}",
            uplink(&peer.url(), "")
        )
    };
    let agent = Agent::start(directory.path(), &second(""));
    agent.wait_until_up();
    let address = |words: &str| words.rsplit_once("://").unwrap().1.trim().to_owned();
    let there = address(&agent.process.said(&["listening", "server=second"]));
    let mut first = agent.http();
    first.store("/a", "one");
    let mut other = Http::connect(&there).unwrap();
    other.store("/a", "two");
    agent.configure(&second("limits = { message_bytes = 4 }"));
    assert_eq!(reload(&agent), told("applied", &["server.second"]));
    first.store("/a", "three");
    wait_until("the old connection is closed", || other.post("/a", &[], b"four").is_err());
    let mut anew = Http::connect(&there).unwrap();
    assert_eq!(anew.post("/a", &[], b"12345").unwrap().0, 413);
    anew.store("/a", "1234");
    agent.wait_until_delivered();
    assert_eq!((agent.fact("/session"), agent.fact("/links/cloud/reconnects")), (1.into(), 0.into()));
}

#[test]
fn a_configuration_whose_address_is_taken_changes_nothing() {
    let directory = scratch();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let agent = Agent::start(directory.path(), "");
    let second = format!("[[server]]\nid = \"second\"\nbind = [\"{}\"]\n", taken.local_addr().unwrap());
    agent.configure(&second);
    let asked = agent.ask(&["reload"]);
    let words = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(!asked.status.success() && words.contains("address already in use"), "{words}");
    agent.post("/a", "still there");
    assert_eq!(agent.fact("/session"), 1);
}

#[test]
fn a_hangup_signal_takes_over_the_new_configuration_and_a_stop_ends_it_still() {
    let directory = scratch();
    let mut agent = Agent::start(directory.path(), "");
    agent.configure("[buffer]\nmax_messages = 3\nwhen_full = \"reject\"\n");
    agent.process.signal(Signal::HUP);
    agent.process.said(&["INFO", "reload applied changed=buffer"]);
    agent.post_all("/a", &numbered(3));
    assert_eq!(agent.http().post("/a", &[], b"one more").unwrap().0, 503);
    assert!(agent.terminate().success());
}
