//! Messages of peers: to every other link, never back, and bounded.

use serde_json::{Value, json};

use crate::harness::{Agent, Peer, Running, scratch, uplink, wait_for_value, wait_until};

/// A second client beside the one of [`uplink`].
fn other(url: &str, more: &str) -> String {
    uplink(url, more).replace("\"cloud\"", "\"plant\"")
}

#[test]
fn what_a_peer_sends_reaches_the_other_link_as_a_message_and_never_its_own() {
    let directory = scratch();
    let say = ["--say", "{\"t\":1}", "--say", "on", "--say", "base64:AP8=", "--echo"];
    let cloud = Peer::python("talker", &directory.path().join("cloud"), &say);
    let plant = Peer::receiver(&directory.path().join("plant"), &["--sync"]);
    let inbound = "inbound = { topic = \"from/{client}/{agent}\", device = \"{client}\" }";
    let envelope = "confirm = \"ack\"\nframing = \"envelope\"";
    let tables = uplink(&cloud.url(), inbound) + &other(&plant.url(), envelope);
    let agent = Agent::start(directory.path(), &tables);
    agent.wait_for_fact("/links/cloud/received", 3);
    let said = || -> Vec<Value> {
        plant.lines().iter().map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
    };
    wait_until("the other peer has all three", || said().len() == 3);
    for message in said() {
        assert_eq!((&message["topic"], &message["device"]), (&json!("from/cloud/gw"), &json!("cloud")));
    }
    let data: Vec<Value> = said().iter().map(|message| message["data"].clone()).collect();
    assert_eq!(data[..2], [json!({ "t": 1 }), json!("on")]);
    // An echo of the peer is a message of its own too, and goes the same way.
    agent.post("/a", "from a sensor");
    wait_until("the other peer has it twice", || said().len() == 5);
    wait_for_value(&vec!["from a sensor".to_owned()], || cloud.lines());
    agent.wait_for_fact("/links/cloud/unconfirmed", 0);
    assert_eq!(agent.fact("/links/cloud/received_dropped"), 0);
    assert_eq!(agent.fact("/devices/cloud/status"), "online");
}

#[test]
fn an_echo_on_the_only_link_is_taken_shown_and_not_sent_again() {
    let directory = scratch();
    let peer = Peer::python("talker", &directory.path().join("got"), &["--echo"]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), "inbound = { topic = \"echo\" }"));
    let mut command = Agent::command();
    command.arg("tap").arg("--socket").arg(agent.data().join("control.sock")).arg("echo");
    let tap = Running::start("tap", &mut command);
    let mut number = 0;
    wait_until("the tap has heard an echo", || {
        number += 1;
        agent.post("/a", &format!("m-{number}"));
        tap.count(&["echo", "m-"]) > 0
    });
    agent.wait_for_fact("/links/cloud/received", number);
    agent.wait_until_delivered();
    assert_eq!(peer.lines().len(), number);
    assert_eq!(agent.fact("/links/cloud/received_dropped"), 0);
    assert_eq!(agent.fact("/buffer/accepted"), 2 * number);
}

#[test]
fn binary_frames_that_are_text_are_decoded_and_others_are_given_up_and_counted() {
    let directory = scratch();
    // "21 °C" in windows-1252 and in ASCII, and a message of 20 bytes.
    let say = ["--say", "base64:MjEgsEM=", "--say", "base64:eyJ0IjoxfQ==", "--say", "12345678901234567890"];
    let cloud = Peer::python("talker", &directory.path().join("cloud"), &say);
    let plant = Peer::python("echo_store", &directory.path().join("plant"), &[]);
    let inbound = "inbound = { topic = \"t\", encoding = \"latin1\", message_bytes = 10 }";
    let agent = Agent::start(directory.path(), &(uplink(&cloud.url(), inbound) + &other(&plant.url(), "")));
    wait_for_value(&vec!["21 °C".to_owned(), "{\"t\":1}".to_owned()], || plant.lines());
    agent.wait_for_fact("/links/cloud/received", 3);
    assert_eq!(agent.fact("/links/cloud/received_dropped"), 1);
    assert_eq!(agent.fact("/links/cloud/state"), "up");
}

#[test]
fn a_peer_that_floods_a_full_buffer_is_read_on_and_its_link_confirms_all_the_same() {
    let directory = scratch();
    let flood = ["--say", "x", "--repeat", "5000"];
    let cloud = Peer::python("talker", &directory.path().join("cloud"), &flood);
    // Nobody is there to take it, so the other link's place is full after ten.
    let url = format!("ws://127.0.0.1:{}/", crate::harness::free_port());
    let full = "buffer = { max_messages = 10, when_full = \"reject\" }";
    let tables = uplink(&cloud.url(), "inbound = { topic = \"t\" }") + &other(&url, full);
    let agent = Agent::start(directory.path(), &tables);
    agent.wait_for_fact("/links/cloud/received", 5000);
    wait_until("what was not held is counted", || {
        let held = agent.fact("/links/plant/unconfirmed").as_u64().unwrap_or_default();
        let dropped = agent.fact("/links/cloud/received_dropped").as_u64().unwrap_or_default();
        held + dropped == 5000 && dropped > 0
    });
    assert_eq!(agent.fact("/links/cloud/state"), "up");
    assert_eq!(agent.fact("/links/cloud/reconnects"), 0);
}
