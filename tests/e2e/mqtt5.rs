//! What mosquitto says in MQTT 5, and keeps to itself in 3.1.1: access rules, limits, and a second client with the same id.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Agent, Broker, Running, scratch, uplink, wait_until};

/// A broker with access rules that let everybody read everything, and write where `topics` say.
fn with_rules(directory: &Path, topics: &[&str], more: &str) -> Broker {
    let file = directory.join("rules");
    let rules: String = topics.iter().map(|topic| format!("topic write {topic}\n")).collect();
    std::fs::write(&file, format!("topic read #\n{rules}")).unwrap();
    Broker::start_with(directory, &format!("allow_anonymous true\nacl_file {}\n{more}", file.display()))
}

fn mqtt(broker: &Broker, more: &str) -> String {
    format!("[mqtt]\nurl = \"{}\"\n{more}\n", broker.url())
}

/// The last step of `holdfast test` with these tables.
fn last_step(directory: &Path, tables: &str) -> Value {
    let file = directory.join("test.toml");
    std::fs::write(&file, format!("[agent]\nid = \"gw\"\n{tables}")).unwrap();
    let tested = Agent::command().args(["test", "--json", "--config"]).arg(&file).output().unwrap();
    let document: Value = serde_json::from_slice(&tested.stdout).unwrap_or_else(|_| panic!("{tested:?}"));
    document["links"][0]["steps"].as_array().unwrap().last().unwrap().clone()
}

fn fails_with(step: &Value, words: &str) {
    let is_it = step["step"] == "publish" && step["ok"] == false;
    assert!(is_it && step["error"].as_str().unwrap().contains(words), "{step}");
}

#[test]
fn a_status_that_the_access_rules_forbid_is_told_in_the_log_in_the_status_and_by_a_test() {
    let directory = scratch();
    let broker = with_rules(directory.path(), &["plant/#"], "");
    let agent = Agent::start(directory.path(), &mqtt(&broker, ""));
    wait_until("it is told", || {
        agent.fact("/mqtt/status_refused").as_str().is_some_and(|why| why.contains("not authorized (0x87)"))
    });
    assert_eq!(agent.fact("/mqtt/state"), "up");
    agent.process.said(&["WARN", "broker refuses a status mqtt", "not authorized (0x87)"]);
    fails_with(&last_step(directory.path(), &mqtt(&broker, "")), "not authorized (0x87)");
    let old = mqtt(&broker, "version = \"3.1.1\"\nkeep_alive = \"1s\"");
    fails_with(&last_step(directory.path(), &old), "was acknowledged, and did not come back");
    let allowed = mqtt(&broker, "prefix = \"plant/gw\"\nversion = \"3.1.1\"");
    let step = last_step(directory.path(), &allowed);
    assert!(step["ok"] == true && step["found"].as_str().unwrap().contains("came back"), "{step}");
}

#[test]
fn a_link_whose_messages_the_access_rules_forbid_holds_them() {
    let directory = scratch();
    let broker = with_rules(directory.path(), &["plant/#"], "");
    let agent = Agent::start(directory.path(), &uplink(&broker.url(), ""));
    agent.wait_until_up();
    agent.post("/a", "1");
    agent.wait_until_down("the broker refuses message 1 on \"a\": not authorized (0x87)");
    assert_eq!(agent.fact("/links/cloud/retry_because"), "login");
    assert_eq!((agent.fact("/links/cloud/unconfirmed"), agent.fact("/buffer/dead")), (1.into(), 0.into()));
}

#[test]
fn a_limit_of_the_broker_is_told_and_kept_and_one_that_it_hides_is_found() {
    let directory = scratch();
    let broker = with_rules(directory.path(), &["#"], "max_packet_size 2000\n");
    let agent = Agent::start(directory.path(), &uplink(&broker.url(), ""));
    agent.wait_until_up();
    let protocol = agent.fact("/links/cloud/protocol");
    assert!(protocol.as_str().unwrap().starts_with("MQTT 5, packets of 2000 bytes at most"), "{protocol}");
    agent.post("/a", &format!("\"{}\"", "x".repeat(3000)));
    agent.post("/a", "\"small\"");
    agent.wait_until_delivered();
    agent.wait_for_fact("/buffer/dead", 1);
    agent.process.said(&["peer refused a message", "the broker takes 2000 at most"]);
    let other = scratch();
    let hidden = with_rules(other.path(), &["#"], "message_size_limit 1000\n");
    let tables =
        uplink(&hidden.url(), "version = \"3.1.1\"\nping = { interval = \"20s\", timeout = \"500ms\" }");
    fails_with(&last_step(other.path(), &tables), "is dropped without a word, and a small one is not");
    let tables = uplink(&hidden.url(), "");
    fails_with(&last_step(other.path(), &tables), "packet too large (0x95)");
    // In 5 the broker refuses the message itself, while it takes others.
    let agent = Agent::start(other.path(), &tables);
    agent.post("/a", &format!("\"{}\"", "x".repeat(3000)));
    agent.post("/a", "\"small\"");
    agent.wait_until_delivered();
    agent.wait_for_fact("/buffer/dead", 1);
}

#[test]
fn a_message_is_published_with_what_tells_it_from_one_that_came_before() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let port = broker.port.to_string();
    let mut command = Command::new("stdbuf");
    command.args([
        "-oL",
        "mosquitto_sub",
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-q",
        "1",
        "-V",
        "5",
        "-d",
        "-t",
        "a",
    ]);
    let subscriber = Running::start("mosquitto_sub", command.args(["-F", "> %p %E %P"]));
    subscriber.said(&["received SUBACK"]);
    let agent = Agent::start(directory.path(), &uplink(&broker.url(), "buffer = { ttl = \"1h\" }"));
    agent.post("/a", "1");
    agent.post("/a", "2");
    agent.wait_until_delivered();
    let told = |seq: &str| {
        let lines = subscriber.lines();
        lines.into_iter().find(|line| line.starts_with(&format!("> {seq} ")))
    };
    wait_until("both have come", || told("2").is_some());
    let (first, second) = (told("1").unwrap(), told("2").unwrap());
    let expiry: u32 = first.split(' ').nth(2).unwrap().parse().unwrap();
    assert!((3000..=3600).contains(&expiry), "{first}");
    assert!(first.contains("epoch:01") && first.contains(" seq:1 time:20"), "{first}");
    assert!(second.contains(" seq:2 time:20"), "{second}");
}

/// mosquitto ends the older connection without a word, in both versions.
#[test]
fn a_clone_is_suspected_when_the_broker_closes_again_and_again() {
    for version in ["5", "3.1.1"] {
        let directory = scratch();
        let broker = Broker::start(directory.path());
        let soon = "client_id = \"raspberrypi\"\nreconnect = { min = \"10ms\", max = \"20ms\" }";
        let agent =
            Agent::start(directory.path(), &mqtt(&broker, &format!("version = \"{version}\"\n{soon}")));
        agent.wait_for_fact("/mqtt/state", "up");
        let port = broker.port.to_string();
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-i", "raspberrypi", "-t", "none"]);
        let _clone = Running::start("clone", &mut command);
        agent.process.said(&["perhaps another client uses the id raspberrypi (is this card a clone?)"]);
        wait_until("it is counted", || {
            agent.fact("/mqtt/taken_over/times").as_u64().is_some_and(|times| times > 0)
        });
        let shown = agent.ask(&["status"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned().replace("\n  ", " ");
        assert!(shown.contains("perhaps another client uses the id raspberrypi"), "{shown}");
    }
}

#[test]
fn a_broker_that_keeps_nothing_and_takes_no_will_is_served_without_them() {
    let directory = scratch();
    let broker = Broker::start_with(directory.path(), "allow_anonymous true\nretain_available false\n");
    let refused = Agent::start(directory.path(), &mqtt(&broker, ""));
    wait_until("the remedy is named", || {
        let error = refused.fact("/mqtt/last_error");
        error.as_str().is_some_and(|error| error.contains("set `retain = false`"))
    });
    drop(refused);
    let other = scratch();
    let agent = Agent::start(other.path(), &mqtt(&broker, "retain = false\nwill = false\nqos = 0"));
    agent.wait_for_fact("/mqtt/state", "up");
    assert!(agent.fact("/mqtt/protocol").as_str().unwrap().contains("no retained messages"));
    assert!(agent.fact("/mqtt/status_refused").is_null());
}
