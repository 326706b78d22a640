//! The tools: what is held is seen, taken out, given up, put in again and repaired, with an agent and without one.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Agent, Peer, free_port, numbered, scratch, uplink};

const ENVELOPE: &str = "confirm = \"ack\"\nframing = \"envelope\"";
/// First bytes of a group's value in the log of the store.
const GROUP: &[u8] = b"HFG\x02";
/// Bytes from there on that tell one group from all others: with its outlet and its numbers.
const GROUP_HEADER: usize = 24;

/// `holdfast buffer …` with the configuration of this directory, whether its agent runs or not.
fn buffer(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Agent::command();
    command.arg("buffer").args(arguments).arg("--config").arg(directory.join("holdfast.toml"));
    command.output().expect("the binary runs")
}

/// Output of a command that must succeed.
fn printed(directory: &Path, arguments: &[&str]) -> String {
    let output = buffer(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

fn json_of(directory: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(directory, arguments)).expect("it prints JSON")
}

/// Why it fails.
fn complaint(directory: &Path, arguments: &[&str]) -> String {
    let output = buffer(directory, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).expect("it complains in text")
}

/// Texts as JSON, to be handed over as lines.
fn quoted(count: usize) -> Vec<String> {
    numbered(count).iter().map(|text| format!("{text:?}")).collect()
}

fn records(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
}

#[test]
fn what_is_held_is_seen_exported_purged_imported_again_and_delivered() {
    let directory = scratch();
    let here = directory.path();
    let port = free_port();
    let agent = Agent::start(here, &uplink(&format!("ws://127.0.0.1:{port}/"), ENVELOPE));
    agent.post_lines("/pump/pressure", &quoted(300));
    agent.http().take("/pump/raw", &[("content-type", "application/octet-stream")], &[0, 255, 10]);

    let list = json_of(here, &["list", "--json"]);
    assert_eq!((&list[0]["outlet"], &list[0]["messages"]), (&json!("client:cloud"), &json!(301)), "{list}");
    let info = json_of(here, &["info", "--json"]);
    assert_eq!((&info["running"], &info["messages"]), (&json!(true), &json!(301)), "{info}");
    let peek = printed(here, &["peek", "cloud", "--from", "100", "--count", "2"]);
    assert!(peek.lines().count() == 2 && peek.contains("pump/pressure  (pump)  \"m-99\""), "{peek}");
    assert!(printed(here, &["verify"]).starts_with("all sound: "));

    let lines = printed(here, &["export"]);
    let exported = records(&lines);
    assert_eq!(exported.len(), 301);
    assert_eq!((&exported[0]["seq"], &exported[0]["payload"]), (&json!(1), &json!("\"m-0\"")));
    assert_eq!(exported[300]["base64"], "AP8K");
    let file = here.join("held.cbor");
    printed(here, &["export", "cloud", "--format", "cbor", "--output", file.to_str().unwrap()]);

    assert!(complaint(here, &["purge", "cloud"]).contains("--yes"));
    assert_eq!(agent.fact("/buffer/messages"), 301);
    assert_eq!(printed(here, &["purge", "cloud", "--yes"]), "gave up 301 messages of client:cloud\n");
    assert_eq!((agent.fact("/buffer/messages"), agent.fact("/buffer/dropped")), (json!(0), json!(301)));
    assert_eq!(printed(here, &["export"]), "");

    assert_eq!(printed(here, &["import", file.to_str().unwrap()]), "stored 301 messages\n");
    let peer = Peer::python("ack_server", &here.join("got"), &["--port", &port.to_string()]);
    agent.wait_until_delivered();
    let got: Vec<Value> = peer.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let gap = ["from", "to", "reason"].map(|key| got[0]["gap"][key].clone());
    assert_eq!(gap, [json!(1), json!(301), json!("purged")]);
    assert_eq!(got.len(), 302);
    for (came, was) in got[1..].iter().zip(&exported) {
        assert_eq!((&came["topic"], &came["device"]), (&was["topic"], &was["device"]));
        assert_eq!((&came["time"], &came["replayed"]), (&was["time"], &json!(true)));
    }
    let texts = got[1..301].iter().map(|came| came["data"].as_str().unwrap_or_default().to_owned());
    assert_eq!(texts.collect::<Vec<_>>(), numbered(300));
}

#[test]
fn the_directory_of_a_stopped_agent_shows_the_same_and_takes_a_purge_but_no_messages() {
    let directory = scratch();
    let here = directory.path();
    let port = free_port();
    let mut agent = Agent::start(here, &uplink(&format!("ws://127.0.0.1:{port}/"), ENVELOPE));
    agent.post_lines("/a", &quoted(50));
    let lines = printed(here, &["export"]);
    let list = json_of(here, &["list", "--json"]);
    agent.kill();
    assert_eq!(printed(here, &["export"]), lines);
    assert_eq!(json_of(here, &["list", "--json"]), list);
    assert_eq!(json_of(here, &["info", "--json"])["running"], false);
    let file = here.join("held.ndjson");
    std::fs::write(&file, &lines).unwrap();
    let words = complaint(here, &["import", file.to_str().unwrap()]);
    assert!(
        words.contains("no agent is running") && words.contains("only it can take messages in"),
        "{words}"
    );

    assert_eq!(printed(here, &["purge", "--all", "--yes"]), "gave up 50 messages of client:cloud\n");
    agent.start_again();
    assert_eq!(printed(here, &["import", file.to_str().unwrap()]), "stored 50 messages\n");
    let peer = Peer::python("ack_server", &here.join("got"), &["--port", &port.to_string()]);
    agent.wait_until_delivered();
    let got: Vec<Value> = peer.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(got.iter().filter(|line| line["gap"]["reason"] == "purged").count(), 1, "{got:?}");
    assert_eq!(got.iter().filter(|line| line.get("data").is_some()).count(), 50);
}

#[test]
fn a_damaged_group_is_found_by_verify_and_mended_by_repair() {
    let directory = scratch();
    let here = directory.path();
    let mut agent = Agent::start(here, "");
    let lines: Vec<String> =
        (0..3_000).map(|number| format!("\"{number} {:x}\"", fastrand::u128(..))).collect();
    agent.post_lines("/a", &lines);
    assert!(complaint(here, &["repair"]).contains("the agent is running"));
    agent.kill();
    assert!(printed(here, &["verify"]).starts_with("all sound: "));
    assert_eq!(printed(here, &["repair"]), "nothing had to be repaired\n");

    let path = agent.data().join("store/db");
    let mut bytes = std::fs::read(&path).unwrap();
    damage_a_group(&mut bytes);
    std::fs::write(&path, &bytes).unwrap();
    let found = buffer(here, &["verify", "--json"]);
    let verdict: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!((found.status.code(), &verdict["ok"]), (Some(1), &json!(false)), "{found:?}");
    assert!(complaint(here, &["export"]).contains("holdfast buffer repair"));
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "looking changes nothing");

    let repaired = printed(here, &["repair"]);
    assert!(repaired.starts_with("repaired: the store was damaged"), "{repaired}");
    assert!(printed(here, &["verify"]).starts_with("all sound: "));
    assert_eq!(json_of(here, &["info", "--json"])["set_aside"].as_array().map(Vec::len), Some(1));
    agent.start_again();
    assert_eq!(agent.fact("/repairs"), Value::Null);
    assert!(agent.fact("/buffer/messages").as_u64().is_some_and(|held| held > 2_000 && held < 3_000));
}

/// Flips bits in every copy of one group that the log has.
fn damage_a_group(log: &mut [u8]) {
    let first = log.windows(GROUP.len()).position(|window| window == GROUP).expect("there is a group");
    let header = log[first..first + GROUP_HEADER].to_vec();
    let copies = (0..log.len()).filter(|at| log[*at..].starts_with(&header)).collect::<Vec<_>>();
    copies.into_iter().for_each(|at| log[at + 200..at + 232].iter_mut().for_each(|byte| *byte ^= 0x55));
}

#[test]
fn a_refused_message_is_listed_shown_requeued_and_delivered_and_another_is_dropped() {
    let directory = scratch();
    let here = directory.path();
    let peer = Peer::python("ack_server", &here.join("got"), &["--nack", "2", "--nack", "3"]);
    let agent = Agent::start(here, &uplink(&peer.url(), ENVELOPE));
    agent.post_all("/a/b", &numbered(4));
    agent.wait_for_fact("/buffer/dead", 2);
    agent.wait_until_delivered();

    let letters = json_of(here, &["dead", "list", "--json"]);
    assert_eq!((&letters[0]["payload"], &letters[0]["reason"]), (&json!("m-1"), &json!("asked for")));
    let number = letters[0]["number"].to_string();
    let shown = printed(here, &["dead", "show", &number]);
    assert!(shown.contains("payload:   m-1") && shown.contains("seq:       2"), "{shown}");
    assert!(complaint(here, &["dead", "requeue", &number, "77"]).contains("there is no dead letter 77"));
    assert_eq!(json_of(here, &["dead", "list", "--json"]).as_array().map(Vec::len), Some(2));

    assert_eq!(printed(here, &["dead", "requeue", &number]), format!("requeued {number} for client:cloud\n"));
    agent.wait_until_delivered();
    let last: Value = serde_json::from_str(peer.lines().last().unwrap()).unwrap();
    assert_eq!((&last["data"], &last["replayed"]), (&json!("m-1"), &json!(true)));
    assert_eq!(last["time"], letters[0]["time"]);
    printed(here, &["dead", "drop", "--all"]);
    assert_eq!(printed(here, &["dead", "list"]), "no dead letters\n");
    agent.wait_for_fact("/buffer/dead", 0);
}
