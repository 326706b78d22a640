//! Sources that fetch the topics of mosquitto, with agent and broker killed at any moment.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Agent, Broker, Peer, numbered, scratch, wait_for_value, wait_until};

/// Publishes lines with mosquitto_pub, which returns once the broker has acknowledged all.
fn publish(broker: &Broker, topic: &str, payloads: &[String], more: &[&str]) {
    let mut command = Command::new("mosquitto_pub");
    command
        .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1", "-t", topic, "-l"])
        .args(more);
    let mut sensor = command.stdin(Stdio::piped()).spawn().expect("mosquitto_pub is installed");
    let mut lines = sensor.stdin.take().expect("it reads");
    std::io::Write::write_all(&mut lines, format!("{}\n", payloads.join("\n")).as_bytes()).expect("it reads");
    drop(lines);
    assert!(sensor.wait().expect("it ends").success());
}

fn retained(broker: &Broker, topic: &str, payload: &str) {
    publish(broker, topic, &[payload.to_owned()], &["-r"]);
}

/// Tables of a source that is fast to come back, and of a link to a receiver.
fn tables(receiver: &Peer, mqtt: &str, more: &str) -> String {
    format!(
        "[[client]]\nid = \"cloud\"\nurl = \"{}\"\nframing = \"envelope\"\nconfirm = \"ack\"\n\
         reconnect = {{ min = \"20ms\", max = \"200ms\" }}\n\
         [[source]]\nid = \"house\"\n{more}\n[source.mqtt]\n{mqtt}\n\
         reconnect = {{ min = \"20ms\", max = \"200ms\", stable_after = \"0s\" }}\n",
        receiver.url()
    )
}

fn own(broker: &Broker, topics: &str, more: &str) -> String {
    format!("url = \"{}\"\ntopics = {topics}\n{more}", broker.url())
}

fn receiver(directory: &std::path::Path) -> Peer {
    Peer::receiver(&directory.join("received"), &[])
}

/// Messages that the receiver has, as JSON.
fn received(receiver: &Peer) -> Vec<Value> {
    receiver.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn payloads(receiver: &Peer) -> Vec<String> {
    received(receiver)
        .iter()
        .map(|message| message["data"].to_string().trim_matches('"').to_owned())
        .collect()
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn topics_of_a_broker_become_messages_with_device_and_attributes_in_each_version_and_quality() {
    for (version, qos) in [("5", 1), ("3.1.1", 1), ("5", 2), ("3.1.1", 2), ("5", 0)] {
        let directory = scratch();
        let broker = Broker::start(directory.path());
        let receiver = receiver(directory.path());
        let mqtt = own(
            &broker,
            "[\"tele/{device}/SENSOR\", \"stat/#\"]",
            &format!("version = \"{version}\"\nqos = {qos}"),
        );
        let agent =
            Agent::start(directory.path(), &tables(&receiver, &mqtt, "topic = \"{agent}/{source}/{topic}\""));
        agent.wait_for_fact("/sources/house/state", "up");
        publish(&broker, "tele/plug/SENSOR", &numbered(200), &["-q", "2"]);
        publish(&broker, "other", &numbered(1), &[]);
        publish(&broker, "stat/x/y", &["{\"t\":1}".to_owned()], &[]);
        wait_until("all has come", || received(&receiver).len() >= 201);
        let all = received(&receiver);
        assert_eq!(payloads(&receiver)[..200], numbered(200), "{version} {qos}");
        let first = &all[0];
        assert_eq!(first["topic"], "gw/house/tele/plug/SENSOR");
        assert_eq!(first["device"], "plug");
        assert_eq!(all[200]["data"], json!({ "t": 1 }));
        agent.wait_for_fact("/sources/house/received", 201);
        agent.wait_for_fact("/devices/plug/status", "online");
    }
}

#[test]
fn what_the_broker_held_while_the_agent_was_down_comes_in_order() {
    for version in ["5", "3.1.1"] {
        let directory = scratch();
        let broker = Broker::keeping(directory.path());
        let receiver = receiver(directory.path());
        let mqtt = own(&broker, "[\"a/+\"]", &format!("version = \"{version}\""));
        let mut agent = Agent::start(directory.path(), &tables(&receiver, &mqtt, ""));
        agent.wait_for_fact("/sources/house/state", "up");
        agent.terminate();
        publish(&broker, "a/b", &numbered(1_500), &[]);
        agent.start_again();
        wait_for_value(&1_500, || received(&receiver).len());
        assert_eq!(payloads(&receiver), numbered(1_500));
    }
}

#[test]
fn nothing_that_the_broker_has_on_its_disk_is_lost_when_agent_and_broker_are_killed() {
    let directory = scratch();
    let mut broker = Broker::keeping(directory.path());
    let receiver = receiver(directory.path());
    let mut agent = Agent::start(directory.path(), &tables(&receiver, &own(&broker, "[\"a\"]", ""), ""));
    agent.wait_for_fact("/sources/house/state", "up");
    let rounds: usize = std::env::var("HOLDFAST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let mut sent = BTreeSet::new();
    for round in 0..rounds {
        let batch: Vec<String> = (0..100).map(|number| format!("m-{round}-{number}")).collect();
        // The broker keeps what it gets, and has it on its disk, while the agent is away.
        agent.kill();
        publish(&broker, "a", &batch, &[]);
        broker.save();
        sent.extend(batch);
        let before = received(&receiver).len();
        agent.start_again();
        wait_until("some have come", || received(&receiver).len() > before + round % 40);
        match round % 3 {
            0 => agent.kill(),
            1 => broker.kill(),
            _ => {
                agent.kill();
                broker.kill();
            }
        }
        if round % 3 > 0 {
            broker.start_again();
        }
        if round % 3 != 1 {
            agent.start_again();
        }
        wait_until("all that the broker had has come", || {
            let here: BTreeSet<String> = payloads(&receiver).into_iter().collect();
            sent.is_subset(&here)
        });
    }
    let all = payloads(&receiver);
    println!("{} kills, {} messages, {} of them twice", rounds, sent.len(), all.len() - sent.len());
}

#[test]
fn retained_messages_say_so_and_are_not_repeated_at_each_connect() {
    for version in ["5", "3.1.1"] {
        let directory = scratch();
        let broker = Broker::keeping(directory.path());
        let receiver = receiver(directory.path());
        // As Zigbee2MQTT has it.
        retained(&broker, "zigbee2mqtt/bridge/state", "{\"state\":\"online\"}");
        retained(&broker, "zigbee2mqtt/lamp", "{\"on\":true}");
        let mqtt = own(&broker, "[\"zigbee2mqtt/#\"]", &format!("version = \"{version}\""));
        let agent = Agent::start(directory.path(), &tables(&receiver, &mqtt, ""));
        agent.wait_for_fact("/sources/house/received", 2);
        publish(&broker, "zigbee2mqtt/lamp", &["{\"on\":false}".to_owned()], &[]);
        wait_for_value(&3, || received(&receiver).len());
        let all = received(&receiver);
        let is_retained = |message: &Value| message["attributes"]["retained"] == "true";
        assert!(all[..2].iter().all(is_retained) && !is_retained(&all[2]), "{all:?}");
        // Another connection with the same session.
        agent.configure(&tables(&receiver, &format!("{mqtt}\nkeep_alive = \"30s\""), ""));
        assert!(agent.ask(&["reload"]).status.success());
        agent.wait_for_fact("/sources/house/reconnects", 1);
        publish(&broker, "zigbee2mqtt/last", &["1".to_owned()], &[]);
        wait_for_value(&4, || received(&receiver).len());
        assert_eq!(received(&receiver)[3]["topic"], "zigbee2mqtt/last", "{version}");
    }
}

#[test]
fn nothing_is_acknowledged_that_is_not_stored_and_no_more_is_read_than_may_wait() {
    let directory = scratch();
    let broker = Broker::keeping(directory.path());
    let receiver = receiver(directory.path());
    let full = "[buffer]\nmax_messages = 50\nwhen_full = \"reject\"\n";
    let away = format!(
        "[[client]]\nid = \"cloud\"\nactive = false\nurl = \"{}\"\nframing = \"envelope\"\nconfirm = \"ack\"\n",
        receiver.url()
    );
    let mqtt = own(&broker, "[\"a\"]", "keep_alive = \"1s\"");
    let source = format!("[[source]]\nid = \"house\"\nlimits = {{ inflight = 20 }}\n[source.mqtt]\n{mqtt}\n");
    let agent = Agent::start(directory.path(), &format!("{full}{away}{source}"));
    agent.wait_for_fact("/sources/house/state", "up");
    publish(&broker, "a", &numbered(300), &[]);
    wait_until("the source waits", || agent.fact("/sources/house/held_back") == "the buffer is full");
    let held = agent.fact("/buffer/messages").as_u64().expect("it is a number");
    // A batch is taken as a whole.
    assert!(held < 50 + 20, "{held}");
    assert!(words(&agent.ask(&["status"])).contains("source house: the buffer is full"));
    // Several keep-alives later it is the same connection.
    let pings = || agent.fact("/sources/house/rtt_ms").is_number();
    wait_until("a ping was answered", pings);
    assert_eq!(agent.fact("/sources/house/reconnects"), 0);
    agent.configure(&format!("{}{source}", away.replace("active = false", "active = true")));
    assert!(agent.ask(&["reload"]).status.success());
    wait_for_value(&300, || received(&receiver).len());
    assert_eq!(payloads(&receiver), numbered(300));
}

#[test]
fn what_is_not_as_it_has_to_be_is_refused_and_the_rest_flows_on() {
    for version in ["5", "3.1.1"] {
        let directory = scratch();
        let broker = Broker::start(directory.path());
        let receiver = receiver(directory.path());
        let mqtt = own(&broker, "[\"a\"]", &format!("version = \"{version}\""));
        let more = "format = \"json\"\nlimits = { message_bytes = 1000 }";
        let agent = Agent::start(directory.path(), &tables(&receiver, &mqtt, more));
        agent.wait_for_fact("/sources/house/state", "up");
        let large = format!("\"{}\"", "x".repeat(300_000));
        publish(&broker, "a", &["1".to_owned(), "no json".to_owned(), large, "2".to_owned()], &[]);
        wait_for_value(&vec!["1".to_owned(), "2".to_owned()], || payloads(&receiver));
        agent.wait_for_fact("/sources/house/refused", 2);
        let why = agent.fact("/sources/house/last_refused").to_string();
        assert!(why.contains("limits.message_bytes"), "{why}");
        assert_eq!(agent.fact("/sources/house/reconnects"), 0, "{version}");
    }
}

#[test]
fn a_source_without_a_url_shares_the_broker_of_mqtt_over_a_connection_of_its_own() {
    let directory = scratch();
    let broker = Broker::with_password(directory.path(), "gw", "s3cret");
    let receiver = receiver(directory.path());
    let common = format!("[mqtt]\nurl = \"mqtt://gw:s3cret@127.0.0.1:{}\"\n", broker.port);
    let tables = format!("{common}{}", tables(&receiver, "topics = [\"holdfast/gw/status\"]", ""));
    let agent = Agent::start(directory.path(), &tables);
    agent.wait_for_fact("/sources/house/state", "up");
    agent.wait_for_fact("/mqtt/state", "up");
    // The agent hears of itself.
    wait_until("the status has come", || !received(&receiver).is_empty());
    assert_eq!(agent.fact("/mqtt/reconnects"), 0);
    let status = words(&agent.ask(&["status"]));
    assert!(status.contains("SOURCE") && status.contains("house") && !status.contains("s3cret"), "{status}");
}

#[test]
fn a_refused_login_is_told_and_a_test_goes_step_by_step_beside_the_agent() {
    let directory = scratch();
    let broker = Broker::with_password(directory.path(), "gw", "s3cret");
    let receiver = receiver(directory.path());
    let login = |password: &str| {
        let mqtt = own(&broker, "[\"a/#\"]", &format!("username = \"gw\"\npassword = \"{password}\""));
        tables(&receiver, &mqtt, "")
    };
    let agent = Agent::start(directory.path(), &login("wrong"));
    wait_until("the refusal is told", || {
        agent.fact("/sources/house/last_error").to_string().contains("not authorized")
    });
    let config = directory.path().join("holdfast.toml");
    let test = |arguments: &[&str]| {
        let mut command = Agent::command();
        command.args(arguments).arg("--config").arg(&config).output().expect("the binary runs")
    };
    let failed = test(&["source", "test", "house"]);
    assert!(!failed.status.success() && words(&failed).contains("authentication"), "{}", words(&failed));
    agent.configure(&login("s3cret"));
    assert!(agent.ask(&["reload"]).status.success());
    agent.wait_for_fact("/sources/house/state", "up");
    let done = test(&["source", "test"]);
    let page = words(&done);
    assert!(done.status.success(), "{page}");
    for step in
        ["connack", "subscribe", "a/# granted with QoS 1", "mosquitto version", "max_queued_messages", "ping"]
    {
        assert!(page.contains(step), "{step}: {page}");
    }
    assert_eq!(agent.fact("/sources/house/reconnects"), 0, "the test has pushed the agent off");
    let shown = words(&test(&["source", "show", "house"]));
    assert!(shown.contains("password = \"***\"") && !shown.contains("s3cret"), "{shown}");
    let list = words(&test(&["source", "list"]));
    assert!(list.contains("house") && list.contains("a/#"), "{list}");
}

#[test]
fn sources_come_and_go_with_a_reload_and_the_others_stay_connected() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let receiver = receiver(directory.path());
    let first = tables(&receiver, &own(&broker, "[\"a\", \"b\"]", ""), "");
    let other =
        format!("[[source]]\nid = \"other\"\nmqtt = {{ url = \"{}\", topics = [\"c\"] }}\n", broker.url());
    let agent = Agent::start(directory.path(), &first);
    agent.wait_for_fact("/sources/house/state", "up");
    agent.configure(&format!("{first}{other}"));
    assert!(words(&agent.ask(&["reload"])).contains("source.other"));
    agent.wait_for_fact("/sources/other/state", "up");
    assert_eq!(agent.fact("/sources/house/reconnects"), 0);
    // A topic that is gone is given back to the broker.
    let less = first.replace("[\"a\", \"b\"]", "[\"a\"]");
    agent.configure(&less);
    assert!(agent.ask(&["reload"]).status.success());
    agent.wait_for_fact("/sources/house/reconnects", 1);
    wait_until("the other source is gone", || agent.fact("/sources/other").is_null());
    publish(&broker, "b", &numbered(1), &[]);
    publish(&broker, "c", &numbered(1), &[]);
    publish(&broker, "a", &["last".to_owned()], &[]);
    wait_for_value(&vec!["last".to_owned()], || payloads(&receiver));
    assert_eq!(agent.fact("/sources/house/unmatched"), 0);
}
