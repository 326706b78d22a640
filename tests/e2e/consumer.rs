//! Local readers: last values and subscriptions.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Agent, Peer, Running, curl, numbered, python, scratch, uplink, wait_until};

fn reader(agent: &Agent, path: &str) -> Running {
    let url = format!("ws://{}{path}", agent.address);
    let reader = Running::start("reader", python("reader").args(["--url", &url, "--send", "ignored"]));
    reader.said(&["open"]);
    reader
}

fn json_of(answer: (u16, String)) -> Value {
    assert_eq!(answer.0, 200, "{}", answer.1);
    serde_json::from_str(&answer.1).unwrap()
}

#[test]
fn the_last_value_of_each_topic_is_told_with_its_count() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), "");
    let get = |path: &str| curl(&[&format!("http://{}{path}", agent.address)]);
    for value in ["20", "21", "22.5"] {
        agent.post("/kitchen/temperature", value);
    }
    agent.post("/cellar/pump", "on");
    let last = json_of(get("/api/topics/kitchen/temperature/last"));
    assert_eq!(
        (&last["data"], &last["format"], &last["device"]),
        (&json!(22.5), &json!("json"), &json!("kitchen"))
    );
    assert!(last["time"].as_str().unwrap().ends_with('Z') && last["clock"].is_string(), "{last}");
    assert_eq!(json_of(get("/api/topics/cellar%2Fpump/last"))["data"], "on");
    assert_eq!(get("/api/topics/attic/last").0, 404);
    let topics = json_of(get("/api/topics"));
    let counts: Vec<_> = (topics["topics"].as_array().unwrap().iter())
        .map(|topic| format!("{} {}", topic["topic"].as_str().unwrap(), topic["count"]))
        .collect();
    assert_eq!(counts, ["cellar/pump 1", "kitchen/temperature 3"]);
    assert_eq!(json_of(get("/api/topics?topic=kitchen/*"))["topics"].as_array().unwrap().len(), 1);
}

#[test]
fn a_subscriber_is_told_the_messages_of_its_topics_as_they_are_accepted() {
    let directory = scratch();
    let mut agent = Agent::start(directory.path(), "");
    let all = reader(&agent, "/subscribe");
    let some = reader(&agent, "/subscribe?topic=kitchen/%2B&topic=cellar/p*");
    agent.post("/attic/t", "1");
    let id = agent.post("/kitchen/t?unit=C", "{\"t\": 2}");
    agent.post("/cellar/pump", "on");
    some.said(&["\"topic\":\"cellar/pump\"", "\"data\":\"on\""]);
    let line = some.said(&["kitchen/t"]);
    let message: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&message["id"], &message["data"]), (&json!(id), &json!({ "t": 2 })), "{line}");
    assert_eq!(
        (&message["attributes"], &message["source"]),
        (&json!({ "unit": "C" }), &json!("server:sensors"))
    );
    all.said(&["attic/t"]);
    assert_eq!((some.count(&["attic"]), some.count(&["topic"]), all.count(&["ignored"])), (0, 2, 0));
    agent.wait_for_fact("/consumers/subscribers", 2);
    agent.wait_for_fact("/buffer/accepted", 3);
    assert!(agent.terminate().success());
    all.said(&["closed 1001 the agent is stopping"]);
}

#[test]
fn a_subscriber_that_does_not_read_holds_nobody_up_and_is_told_what_it_lost() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    let lazy = reader(&agent, "/subscribe");
    lazy.signal(Signal::STOP);
    let payload = "x".repeat(4000);
    let lines: Vec<String> = numbered(4000).iter().map(|name| format!("\"{name} {payload}\"")).collect();
    for part in lines.chunks(200) {
        agent.post_lines("/a", part);
    }
    agent.wait_until_delivered();
    let lost = agent.fact("/consumers/dropped").as_u64().unwrap();
    assert!(lost > 0, "all of it fitted");
    lazy.signal(Signal::CONT);
    let told = || -> u64 {
        let log_events = lazy.lines().into_iter().filter(|line| line.starts_with("{\"dropped\":"));
        log_events
            .map(|line| serde_json::from_str::<Value>(&line).unwrap()["dropped"].as_u64().unwrap())
            .sum()
    };
    wait_until("it is told all of its loss", || told() == lost);
    assert_eq!(lazy.count(&["\"topic\":\"a\""]) as u64, 4000 - lost);
}

#[test]
fn who_may_subscribe_is_configured() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "subscribe = \"none\"");
    let url = format!("ws://{}/subscribe", agent.address);
    let sensor = Running::start("reader", python("reader").args(["--url", &url, "--send", "a message"]));
    sensor.said(&["open"]);
    agent.wait_for_fact("/buffer/messages", 1);
    let refused = curl(&[&format!("http://{}/subscribe", agent.address)]);
    assert_eq!(refused.0, 405, "{}", refused.1);
}
