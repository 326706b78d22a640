//! News of the machine and of the agent for those who watch over many of them.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Agent, Broker, Peer, curl, numbered, python, scratch, uplink, wait_until};

#[test]
fn a_gateway_without_sensors_delivers_the_facts_of_its_machine() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let tables = uplink(&peer.url(), "") + "[host]\ninterval = \"1s\"\n";
    let agent = Agent::start(directory.path(), &tables);
    wait_until("two messages have come", || peer.lines().len() >= 2);
    let facts: Value = serde_json::from_str(&peer.lines()[1]).unwrap();
    for name in ["memory_used_bytes", "memory_total_bytes", "disk_free_bytes", "load_1m", "uptime_s"] {
        assert!(facts[name].as_f64().is_some_and(|value| value >= 0.0), "{name} of {facts}");
    }
    assert!((0.0..=100.0).contains(&facts["cpu_percent"].as_f64().unwrap()), "{facts}");
    assert_eq!(agent.status()["devices"], serde_json::json!({}), "the host is no device");
}

#[test]
fn the_status_on_the_broker_has_the_facts_of_the_machine() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let _agent = Agent::start(directory.path(), &format!("[mqtt]\nurl = \"{}\"\n", broker.url()));
    wait_until("the facts are there", || {
        let status = broker.retained("holdfast/gw/status", &[]);
        status.is_some_and(|status| {
            status["host"]["memory_total_bytes"].as_u64().is_some_and(|bytes| bytes > 0)
        })
    });
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.post_all("/pump/pressure", &numbered(7));
    agent.wait_until_delivered();
    let (status, metrics) = curl(&[&format!("http://{}/metrics", agent.address)]);
    assert_eq!(status, 200);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checking = promtool.spawn().expect("promtool is installed");
    checking.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = checking.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_can_read_the_metrics() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.post_all("/pump/pressure", &numbered(7));
    agent.wait_until_delivered();
    let url = format!("http://{}/metrics", agent.address);
    for format in [&[][..], &["--text"]] {
        let scraped = python("scrape").args(["--url", &url]).args(format).output().unwrap();
        assert!(scraped.status.success(), "{}", String::from_utf8_lossy(&scraped.stderr));
        let samples: Vec<Value> = String::from_utf8_lossy(&scraped.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let value = |name: &str| samples.iter().find(|sample| sample["name"] == name)?["value"].as_f64();
        assert_eq!(value("holdfast_accepted_messages_total"), Some(7.0));
        assert_eq!(value("holdfast_link_confirmed_messages_total"), Some(7.0));
        assert_eq!(value("holdfast_link_dropped_messages_total"), Some(0.0));
        assert_eq!(value("holdfast_link_up"), Some(1.0));
        assert!(value("holdfast_link_last_confirmed_timestamp_seconds") > Some(1.6e9));
    }
}
