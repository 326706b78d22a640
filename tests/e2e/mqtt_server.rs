//! Sensors that speak MQTT: mosquitto's programs and paho, in both versions and all qualities, in front of an agent that is killed.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::harness::{
    Agent, Authority, Files, Peer, Running, free_port, lines_of, python, scratch, uplink, wait_for_value,
    wait_until,
};

/// A server that speaks MQTT on this port, with more lines.
fn plugs(port: u16, more: &str) -> String {
    format!("[[server]]\nid = \"plugs\"\nprotocol = \"mqtt\"\nbind = [\"127.0.0.1:{port}\"]\n{more}\n")
}

fn publish(port: u16, arguments: &[&str]) -> Output {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    command.output().expect("mosquitto_pub is installed")
}

fn is_taken(output: &Output) -> bool {
    output.status.success() && output.stderr.is_empty()
}

#[test]
fn what_mosquitto_pub_sends_in_each_version_and_quality_arrives_once_and_in_order() {
    let (directory, port) = (scratch(), free_port());
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &format!("{}{}", uplink(&peer.url(), ""), plugs(port, "")));
    let mut expected = Vec::new();
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let payload = format!("{version} {qos}");
            let sent = publish(port, &["-V", version, "-q", qos, "-t", "kitchen/t", "-m", &payload]);
            assert!(is_taken(&sent), "{sent:?}");
            expected.push(payload);
            wait_for_value(&expected, || peer.lines());
        }
    }
    assert_eq!(agent.fact("/devices/kitchen/status"), "online");
    let refused = publish(port, &["-V", "mqttv31", "-t", "a", "-m", "1"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("unacceptable protocol version"));
}

#[test]
fn routes_give_topic_device_and_format_and_5_is_told_what_is_wrong() {
    let (directory, port) = (scratch(), free_port());
    let route =
        "[[server.route]]\npath = \"tele/{device}/SENSOR\"\ntopic = \"plugs/{device}\"\nformat = \"json\"\n";
    let agent = Agent::start(directory.path(), &plugs(port, route));
    assert!(is_taken(&publish(port, &["-q", "1", "-t", "tele/p1/SENSOR", "-m", "{\"w\":3}"])));
    let (status, last) = agent.http().request("GET", "/api/topics/plugs/p1/last", &[], b"").unwrap();
    let last: serde_json::Value = serde_json::from_slice(&last).unwrap();
    assert_eq!((status, &last["data"], &last["device"]), (200, &json!({ "w": 3 }), &json!("p1")));
    let refused = publish(port, &["-V", "mqttv5", "-q", "1", "-t", "tele/p1/SENSOR", "-m", "no"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("Payload format invalid") && words.contains("not valid JSON"), "{words}");
    assert!(!publish(port, &["-q", "1", "-t", "tele/p1/SENSOR", "-m", "no"]).status.success());
}

/// A sensor that reads, on mosquitto's program. It ends once it has `count` messages.
fn reader(port: u16, arguments: &[&str]) -> Command {
    // Into a pipe it would write by the block.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", &port.to_string()]);
    command.args(["-F", "%t %q %r %p", "-d"]).args(arguments);
    command
}

#[test]
fn a_sensor_reads_what_the_peer_sends_and_nothing_that_is_not_for_it() {
    let (directory, port) = (scratch(), free_port());
    let got = directory.path().join("got");
    let peer = Peer::python("talker", &got, &["--echo"]);
    let tables = uplink(&peer.url(), "inbound = { topic = \"cmnd/pump/POWER\" }");
    let users = "auth = \"basic\"\nusers = [{ name = \"pump\", password = \"a\" }, { name = \"valve\", password = \"b\" }]\n";
    let agent = Agent::start(directory.path(), &format!("{tables}{}", plugs(port, users)));
    agent.wait_until_up();
    let pump = ["-u", "pump", "-P", "a", "-q", "1"];
    // With the name of another client, but not its user.
    let stranger = ["-u", "valve", "-P", "b", "-i", "pump", "-t", "cmnd/pump/#", "-t", "#", "-E"];
    for version in ["mqttv311", "mqttv5"] {
        let refused =
            reader(port, &stranger).args(["-V", version]).output().expect("mosquitto_sub is installed");
        let words =
            String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
        assert!(words.contains("denied") || words.contains("rejected"), "{words}");
        let more = [&pump[..], &["-V", version, "-t", "cmnd/pump/+", "-C", "1"]].concat();
        let mut sensor = Running::start("mosquitto_sub", &mut reader(port, &more));
        sensor.said(&["Subscribed"]);
        agent.post("/hall/t", "on");
        sensor.said(&["cmnd/pump/POWER 1 0 on"]);
        assert!(sensor.exit().success());
    }
    // What comes while it is away waits for it.
    let session = [&pump[..], &["-i", "p", "-c", "-t", "cmnd/pump/#"]].concat();
    let first = reader(port, &[&session[..], &["-E"]].concat()).output().expect("mosquitto_sub is installed");
    assert!(first.status.success(), "{first:?}");
    agent.post("/hall/t", "later");
    agent.wait_for_fact("/links/cloud/received", 3);
    let second =
        reader(port, &[&session[..], &["-C", "1"]].concat()).output().expect("mosquitto_sub is installed");
    assert!(String::from_utf8_lossy(&second.stdout).contains("cmnd/pump/POWER 1 0 later"), "{second:?}");
}

fn tls_of(files: &Files, authority: &Authority) -> String {
    let (cert, key, ca) = (&files.cert, &files.key, &authority.ca);
    format!("tls = {{ cert = {cert:?}, key = {key:?}, client_ca = {ca:?} }}\n")
}

#[test]
fn certificates_of_both_sides_and_a_login_are_asked_for() {
    let (directory, port) = (scratch(), free_port());
    let authority = Authority::new(directory.path(), "ours");
    let (server, client) = (authority.issue("localhost"), authority.issue("pump"));
    let login = "auth = \"basic\"\nusers = [{ name = \"pump\", password = \"s3cret\" }]\n";
    let tls = tls_of(&server, &authority);
    let _agent = Agent::start(directory.path(), &plugs(port, &format!("{tls}{login}")));
    let path = |file: &Path| file.to_str().unwrap().to_owned();
    let (ca, cert, key) = (path(&authority.ca), path(&client.cert), path(&client.key));
    let send = |more: &[&str]| {
        let mut command = Command::new("mosquitto_pub");
        command.args([
            "-h",
            "localhost",
            "-p",
            &port.to_string(),
            "-q",
            "1",
            "-t",
            "a",
            "-m",
            "1",
            "--cafile",
            &ca,
        ]);
        command.args(more).output().expect("mosquitto_pub is installed")
    };
    let certified = ["--cert", &cert, "--key", &key];
    assert!(is_taken(&send(&[&certified[..], &["-u", "pump", "-P", "s3cret"]].concat())));
    let wrong = send(&[&certified[..], &["-u", "pump", "-P", "wrong"]].concat());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("bad user name or password"), "{wrong:?}");
    assert!(!send(&["-u", "pump", "-P", "s3cret"]).status.success(), "no certificate");
}

#[test]
fn a_sensor_that_is_gone_leaves_its_will_and_its_device_is_offline_by_it() {
    let (directory, port) = (scratch(), free_port());
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &format!("{}{}", uplink(&peer.url(), ""), plugs(port, "")));
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", "plug/t", "-l"]);
    command.args(["--will-topic", "plug/LWT", "--will-payload", "Offline", "--will-retain"]);
    let mut sensor = command.stdin(Stdio::piped()).spawn().expect("mosquitto_pub is installed");
    let mut lines = sensor.stdin.take().unwrap();
    lines.write_all(b"1\n").unwrap();
    agent.wait_for_fact("/devices/plug/status", "online");
    sensor.kill().unwrap();
    sensor.wait().unwrap();
    agent.wait_for_fact("/devices/plug/status", "offline");
    assert_eq!(agent.fact("/devices/plug/reason"), "will");
    wait_for_value(&vec!["1".to_owned(), "Offline".to_owned()], || peer.lines());
}

/// A sensor on paho.
struct Sensor {
    process: Running,
    stored: std::path::PathBuf,
}

impl Sensor {
    fn start(directory: &Path, port: u16, prefix: &str, more: &[&str]) -> Sensor {
        let stored = directory.join(format!("stored-{prefix}"));
        let mut command = python("mqtt_sensor");
        command.args(["--port", &port.to_string(), "--prefix", prefix, "--stored"]).arg(&stored).args(more);
        Sensor { process: Running::start("mqtt_sensor", &mut command), stored }
    }

    fn stored(&self) -> Vec<String> {
        lines_of(&self.stored)
    }

    /// Has it end, and gives what was acknowledged.
    fn end(mut self) -> Vec<String> {
        self.process.end_of_input();
        self.process.said(&["done"]);
        self.stored()
    }
}

#[test]
fn nothing_that_paho_was_acknowledged_is_lost_when_the_agent_is_killed() {
    const KILLS: usize = 6;
    let (directory, port) = (scratch(), free_port());
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let tables = format!("{}{}", uplink(&peer.url(), "window = 50"), plugs(port, ""));
    let mut agent = Agent::start(directory.path(), &tables);
    let kinds = [
        ("a-", "1", "4", "tcp"),
        ("b-", "2", "4", "tcp"),
        ("c-", "1", "5", "tcp"),
        ("d-", "2", "5", "tcp"),
        ("e-", "1", "5", "websockets"),
    ];
    let sensors = kinds.map(|(prefix, qos, version, transport)| {
        Sensor::start(
            directory.path(),
            port,
            prefix,
            &["--qos", qos, "--version", version, "--transport", transport],
        )
    });
    for _ in 0..KILLS {
        let before: Vec<usize> = sensors.iter().map(|sensor| sensor.stored().len()).collect();
        wait_until("each sensor gets on", || {
            sensors.iter().zip(&before).all(|(sensor, before)| sensor.stored().len() > before + 20)
        });
        agent.kill();
        agent.start_again();
    }
    let stored: Vec<String> = sensors.into_iter().flat_map(Sensor::end).collect();
    agent.wait_until_delivered();
    let received: BTreeSet<String> = peer.lines().into_iter().collect();
    let lost: Vec<&String> = stored.iter().filter(|payload| !received.contains(*payload)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), stored.len());
    println!("{KILLS} kills: {} acknowledged, {} received, 0 lost", stored.len(), peer.lines().len());
}
