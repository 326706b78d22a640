//! Links that publish their messages at mosquitto.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    Agent, Authority, Broker, Running, WebSocketSender, numbered, scratch, uplink, wait_for_value, wait_until,
};

/// A subscriber that prints what it gets as lines `TOPIC RETAINED PAYLOAD`.
fn subscriber(broker: &Broker, topic: &str) -> Running {
    // Into a pipe it would write by the block.
    let mut command = Command::new("stdbuf");
    command.args([
        "-oL",
        "mosquitto_sub",
        "-h",
        "127.0.0.1",
        "-p",
        &broker.port.to_string(),
        "-q",
        "1",
        "-d",
        "-t",
        topic,
    ]);
    let process = Running::start("mosquitto_sub", command.args(["-F", "> %t %r %p"]));
    process.said(&["received SUBACK"]);
    process
}

fn got(subscriber: &Running) -> Vec<String> {
    let lines = subscriber.lines();
    lines.iter().filter_map(|line| line.strip_prefix("> ").map(str::to_owned)).collect()
}

fn quoted(payloads: &[String]) -> Vec<String> {
    payloads.iter().map(|payload| format!("\"{payload}\"")).collect()
}

#[test]
fn messages_are_published_in_order_under_the_topics_that_the_client_says() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let subscriber = subscriber(&broker, "plant/#");
    let more = "topic = \"plant/{agent}/{client}/{topic}/{device}\"";
    let agent = Agent::start(directory.path(), &uplink(&broker.url(), more));
    agent.post_lines("/pump/pressure", &quoted(&numbered(3_000)));
    agent.wait_until_delivered();
    let expected: Vec<String> = quoted(&numbered(3_000))
        .iter()
        .map(|payload| format!("plant/gw/cloud/pump/pressure/pump 0 {payload}"))
        .collect();
    wait_for_value(&expected, || got(&subscriber));
    let link = agent.fact("/links/cloud");
    assert!(link["state"] == "up" && link["reconnects"] == 0, "{link}");
}

#[test]
fn a_retained_message_stays_at_the_broker() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let agent = Agent::start(directory.path(), &uplink(&broker.url(), "retain = true\nqos = 0"));
    agent.post("/a", "{\"t\":1}");
    agent.wait_until_delivered();
    broker.wait_for("a", &json!({ "t": 1 }));
}

#[test]
fn a_message_that_mqtt_cannot_carry_goes_to_the_dead_letters_and_the_rest_flows_on() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let subscriber = subscriber(&broker, "#");
    // Without a device nothing is left of the topic.
    let routes = "[[server.route]]\npath = \"/none\"\ntopic = \"none\"\n\
                  [[server.route]]\npath = \"/{device}\"\ntopic = \"{device}\"\ndevice = \"{device}\"\n";
    let own = uplink(&broker.url(), "topic = \"{device}\"");
    let agent = Agent::start(directory.path(), &format!("{routes}{own}"));
    agent.post("/a", "1");
    agent.post("/none", "2");
    agent.post("/d", "3");
    agent.wait_until_delivered();
    wait_for_value(&vec!["a 0 1".to_owned(), "d 0 3".to_owned()], || got(&subscriber));
    agent.wait_for_fact("/buffer/dead", 1);
    agent.process.said(&["peer refused a message", "MQTT does not allow the topic"]);
}

#[test]
fn what_came_while_the_broker_was_gone_is_published_when_it_is_back() {
    let directory = scratch();
    let mut broker = Broker::start(directory.path());
    let agent = Agent::start(directory.path(), &uplink(&broker.url(), ""));
    agent.wait_until_up();
    broker.kill();
    agent.wait_until_down("");
    agent.post_lines("/a", &quoted(&numbered(300)));
    broker.forget_everything();
    let subscriber = subscriber(&broker, "a");
    agent.post("/a", "\"last\"");
    agent.wait_until_delivered();
    wait_until("the last one has come", || {
        got(&subscriber).last().is_some_and(|line| line == "a 0 \"last\"")
    });
}

#[test]
fn nothing_stored_is_lost_when_an_agent_that_publishes_is_killed() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let subscriber = subscriber(&broker, "#");
    let tables = uplink(&broker.url(), "window = 100\nping = { interval = \"200ms\", timeout = \"400ms\" }");
    let mut agent = Agent::start(directory.path(), &tables);
    let sender = WebSocketSender::start(directory.path(), "m-", 30);
    for round in 0..20 {
        sender.aim(&format!("ws://{}/a?confirm=1", agent.address));
        let before = got(&subscriber).len();
        wait_until("some more have come", || got(&subscriber).len() > before + 20 + round);
        agent.kill();
        agent.start_again();
    }
    sender.aim(&format!("ws://{}/a?confirm=1", agent.address));
    let stored = sender.end();
    agent.wait_until_delivered();
    let payloads = || -> Vec<String> {
        got(&subscriber).iter().filter_map(|line| line.rsplit(' ').next().map(str::to_owned)).collect()
    };
    wait_until("all that was stored has come", || {
        let here: BTreeSet<String> = payloads().into_iter().collect();
        stored.iter().all(|payload| here.contains(payload))
    });
    let mut seen = BTreeSet::new();
    let firsts: Vec<u64> = payloads()
        .into_iter()
        .filter(|payload| stored.contains(payload) && seen.insert(payload.clone()))
        .filter_map(|payload| payload.strip_prefix("m-")?.parse().ok())
        .collect();
    // mosquitto lets 20 be in flight, and who is killed does not answer for them.
    assert!(stored.len() > 150, "{} stored", stored.len());
    assert!(firsts.is_sorted(), "{firsts:?}");
}

#[test]
fn a_broker_with_tls_and_one_with_a_login_are_reached_and_tested_like_any_peer() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let secure = Broker::with_tls(directory.path(), &authority.issue("localhost"));
    let file = directory.path().join("test.toml");
    let test = |tables: &str| {
        std::fs::write(&file, tables).unwrap();
        let tested = Agent::command().args(["test", "--json", "--config"]).arg(&file).output();
        let document: Value = serde_json::from_slice(&tested.unwrap().stdout).unwrap();
        document["links"][0].clone()
    };
    let tables = uplink(
        &format!("mqtts://localhost:{}", secure.port),
        &format!("tls = {{ ca = {:?} }}", authority.ca),
    );
    let link = test(&tables);
    let steps: Vec<&str> =
        link["steps"].as_array().unwrap().iter().filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(
        steps,
        ["settings", "name", "tcp", "tls", "connack", "authentication", "ping", "publish"],
        "{link}"
    );
    let agent = Agent::start(directory.path(), &tables);
    agent.post("/a", "1");
    agent.wait_until_delivered();
    drop(agent);
    let other = scratch();
    let closed = Broker::with_password(other.path(), "gw", "s3cret");
    let with = |login: &str| uplink(&closed.url().replace("//", &format!("//{login}@")), "");
    assert_eq!(test(&with("gw:s3cret"))["ok"], true);
    let link = test(&with("gw:wrong"));
    let last = link["steps"].as_array().unwrap().last().unwrap().clone();
    assert!(last["step"] == "authentication" && last["ok"] == false, "{last}");
    let agent = Agent::start(other.path(), &with("gw:wrong"));
    agent.wait_until_down("not authorized");
    assert!(!agent.process.lines().join("\n").contains("wrong@"));
}
