//! The agent's files are removed or renamed while it runs.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Agent, numbered, scratch, uplink, wait_until};

const BEFORE: usize = 200;
const AFTER: usize = 50;

/// Does something to the data directory of an agent that stores all the time. Nothing that was stored may be missing after a
/// kill.
fn lose_nothing(change: impl Fn(&Path)) {
    let directory = scratch();
    let tables = uplink("ws://127.0.0.1:9/", "") + "[buffer]\ncommit_after = \"10ms\"\n";
    let mut agent = Agent::start(directory.path(), &tables);
    agent.post_lines("/a", &(0..BEFORE).map(|number| number.to_string()).collect::<Vec<_>>());
    change(&agent.data());
    agent.post_all("/a", &numbered(AFTER));
    wait_until("the control socket is there again", || agent.is_asked());
    let told = agent.fact("/repairs");
    assert!(told.as_array().is_some_and(|told| !told.is_empty()), "nobody is told: {told}");
    agent.kill();
    agent.start_again();
    assert_eq!(agent.fact("/buffer/messages"), BEFORE + AFTER);
    assert_eq!(agent.fact("/session"), 2, "the numbers go on");
}

#[test]
fn nothing_that_was_stored_is_missing_when_the_data_directory_is_removed() {
    lose_nothing(|data| {
        // Files that the agent makes again meanwhile may stay.
        let _ = Command::new("rm").arg("-rf").arg(data).status().expect("there is rm");
    });
}

#[test]
fn nothing_that_was_stored_is_missing_when_the_data_directory_is_renamed() {
    lose_nothing(|data| fs::rename(data, data.with_extension("away")).expect("it is ours"));
}

#[test]
fn nothing_that_was_stored_is_missing_when_an_empty_directory_takes_the_place_of_the_store() {
    lose_nothing(|data| {
        fs::rename(data.join("store"), data.with_extension("away")).expect("it is ours");
        fs::create_dir(data.join("store")).expect("it is ours");
        fs::remove_file(data.join("control.sock")).expect("it is ours");
    });
}

#[test]
fn a_control_socket_that_is_removed_is_there_again() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), "");
    wait_until("the control socket is there", || agent.is_asked());
    for _ in 0..3 {
        fs::remove_file(agent.data().join("control.sock")).expect("it is there");
        wait_until("the control socket is there again", || agent.is_asked());
    }
}
