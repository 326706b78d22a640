//! What another version has left: an older one's is delivered, a newer one's is not touched.
//!
//! `data/0.1.0.tar.gz` is a data directory that the first format left at its stop: messages of two links with two priorities each,
//! news of devices for a broker, presence, clocks, the meter and two dead letters. It is never made anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Agent, Broker, Peer, Running, scratch, wait_for, wait_until};

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/data/0.1.0.tar.gz");
/// Of either link, what was held: twelve readings, three alarms, and three of other sizes and formats.
const HELD: usize = 15;

fn unpack(directory: &Path) {
    let done = Command::new("tar").arg("-xzf").arg(KEPT).arg("-C").arg(directory).status();
    assert!(done.expect("tar is installed").success());
}

fn tables(cloud: &str, plant: &str, broker: &str) -> String {
    let soon = "reconnect = { min = \"20ms\", max = \"200ms\" }";
    format!(
        "[[client]]\nid = \"cloud\"\nurl = \"{cloud}\"\nconfirm = \"ack\"\nframing = \"envelope\"\n{soon}\n\
         [[client]]\nid = \"plant\"\nurl = \"{plant}\"\n{soon}\n[mqtt]\nurl = \"{broker}\"\n{soon}\n"
    )
}

#[test]
fn all_that_the_first_version_has_left_comes_out() {
    let directory = scratch();
    unpack(directory.path());
    let broker = Broker::start(directory.path());
    let cloud = Peer::receiver(&directory.path().join("cloud"), &[]);
    let plant = Peer::python("echo_store", &directory.path().join("plant"), &[]);
    let agent = Agent::start(directory.path(), &tables(&cloud.url(), &plant.url(), &broker.url()));
    assert_eq!((agent.fact("/session"), agent.fact("/buffer/dead")), (json!(2), json!(2)));
    assert_eq!(agent.fact("/repairs"), Value::Null);
    agent.wait_until_delivered();
    agent.wait_for_fact("/links/plant/unconfirmed", 0);
    agent.wait_for_fact("/mqtt/unconfirmed", 0);
    assert_eq!((agent.fact("/buffer/damaged"), agent.fact("/buffer/dropped")), (json!(0), json!(0)));

    let alarms = ["alarm-1", "alarm-2", "alarm-3"];
    wait_until("all are written", || cloud.lines().len() == HELD + alarms.len());
    let told: Vec<Value> = cloud.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let data: Vec<&Value> = told.iter().map(|line| &line["data"]).collect();
    assert!(data[..3].iter().copied().eq(&alarms), "{data:?}: they have the higher priority");
    let held: Vec<String> = (1..=12).map(|number| format!("held-{number}")).collect();
    assert!(data[3..15].iter().copied().eq(&held), "{data:?}");
    assert_eq!((data[15], told[15]["device"].as_str()), (&json!({ "t": 21.5 }), Some("fan")));
    let numbers: Vec<u64> = told[3..].iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (5..20).collect::<Vec<_>>());
    assert!(plant.lines().iter().filter(|line| held.contains(line)).eq(held.iter()));
    broker.wait_for("holdfast/gw/devices/pump/status", &json!({ "since": "2026-11-28T09:55:20.700Z" }));
    assert_eq!(agent.fact("/devices_total"), json!({ "online": 2, "offline": 0 }));

    let letters = wait_for("the letters are listed", || {
        let mut command = Agent::command();
        let configuration = directory.path().join("holdfast.toml");
        let listed =
            command.args(["buffer", "dead", "list", "--json", "--config"]).arg(configuration).output();
        serde_json::from_slice::<Value>(&listed.expect("the binary runs").stdout).ok()
    });
    let payloads: Vec<&Value> = letters.as_array().unwrap().iter().map(|letter| &letter["payload"]).collect();
    assert_eq!(payloads, ["early-2", "early-3"]);
}

/// Every file below a directory, with its bytes.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

/// Raises the version behind the first magic of this name in a file.
fn raise(path: &Path, magic: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(magic.len()).position(|window| window == magic).expect("there is one");
    bytes[at + magic.len()] += 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_a_newer_version_has_written_stops_the_start_and_keeps_every_byte() {
    for (name, magic) in
        [("numbers", "HFN"), ("presence", "HFP"), ("clocks", "HFC"), ("meter", "HFM"), ("store/db", "HFG")]
    {
        let directory = scratch();
        unpack(directory.path());
        let data = directory.path().join("data");
        raise(&data.join(name), magic.as_bytes());
        let before = files(&data);
        let text =
            format!("[agent]\nid = \"gw\"\ndata_dir = {data:?}\n[[server]]\nbind = [\"127.0.0.1:0\"]\n");
        let configuration = directory.path().join("holdfast.toml");
        std::fs::write(
            &configuration,
            text + &tables("ws://127.0.0.1:1/", "ws://127.0.0.1:1/", "mqtt://127.0.0.1:1"),
        )
        .unwrap();
        let mut command = Agent::command();
        command.arg("run").arg("--config").arg(&configuration);
        let mut agent = Running::start("agent", &mut command);
        let words = agent.last_words().join("\n");
        let place = data.join(name).display().to_string();
        assert!(words.contains(&format!("{place} was written by a newer Holdfast")), "{name}: {words}");
        assert_eq!(agent.exit().code(), Some(78), "{name}");
        let mut repair = Agent::command();
        let repair = repair.args(["buffer", "repair", "--config"]).arg(&configuration).output().unwrap();
        assert!(String::from_utf8_lossy(&repair.stderr).contains("newer Holdfast"), "{name}: {repair:?}");
        assert!(files(&data) == before, "{name}: something was changed");
    }
}
