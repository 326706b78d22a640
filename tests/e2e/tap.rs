//! Listening in on a running agent.

use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Agent, Peer, Running, numbered, scratch, uplink, wait_until};

fn tap(agent: &Agent, arguments: &[&str]) -> Running {
    let mut command: Command = Agent::command();
    command.arg("tap").arg("--socket").arg(agent.data().join("control.sock")).args(arguments);
    Running::start("tap", &mut command)
}

#[test]
fn a_message_is_seen_coming_stored_sent_and_confirmed() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let mut agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.wait_until_up();
    let mut all = tap(&agent, &["--json"]);
    let some = tap(&agent, &["kitchen/+"]);
    // Those who listen are there once they have heard of something.
    let mut number = 0;
    wait_until("both listen", || {
        number += 1;
        agent.post("/kitchen/temperature", &number.to_string());
        all.count(&["\"topic\""]) > 0 && some.count(&["message", "kitchen/temperature"]) > 0
    });
    agent.post("/cellar/pump", "secret of the cellar");
    agent.post("/kitchen/light", "on");
    all.said(&["\"topic\":\"cellar/pump\"", "\"text\":\"secret of the cellar\""]);
    all.said(&["\"stored\""]);
    all.said(&["\"link\":\"cloud\"", "\"sent\""]);
    all.said(&["\"link\":\"cloud\"", "\"confirmed\""]);
    some.said(&["message", "kitchen/light", "on"]);
    assert_eq!(some.count(&["message", "cellar"]), 0);
    assert!(agent.terminate().success());
    assert!(all.exit().success());
}

#[test]
fn who_listens_and_does_not_read_holds_nobody_up() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    let lazy = tap(&agent, &["--json"]);
    wait_until("it listens", || {
        agent.post("/a", "\"x\"");
        lazy.count(&["\"topic\""]) > 0
    });
    lazy.signal(Signal::STOP);
    let payload = "x".repeat(2000);
    let lines: Vec<String> = numbered(4000).iter().map(|name| format!("\"{name} {payload}\"")).collect();
    for part in lines.chunks(400) {
        agent.post_lines("/a", part);
    }
    agent.wait_until_delivered();
    lazy.signal(Signal::CONT);
    // It is told with the next line for which there is room.
    wait_until("it is told what it missed", || {
        agent.post("/a", "\"another\"");
        lazy.count(&["\"missed\""]) > 0
    });
}

#[test]
fn a_filter_that_is_none_is_refused_with_its_reason() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), "");
    let asked = agent.ask(&["tap", "a/#/b"]);
    let words = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(!asked.status.success() && words.contains("is no topic filter"), "{words}");
}
