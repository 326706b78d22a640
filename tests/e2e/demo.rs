//! `holdfast demo` tells its story with real processes, and leaves nothing behind.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Agent, Running, scratch, wait_for, wait_until};

fn demo(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Agent::command();
    command.arg("demo").args(arguments).env("TMPDIR", directory);
    command
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn every_reading_that_was_told_to_be_stored_arrives_through_a_cut_and_a_kill() {
    let directory = scratch();
    let played = demo(directory.path(), &["--seconds", "4", "--json"]).output().unwrap();
    let counts: Value = serde_json::from_slice(&played.stdout).unwrap_or_else(|_| panic!("{played:?}"));
    assert!(played.status.success(), "{played:?}");
    assert!(
        counts["stored"].as_u64().unwrap() > 100 && counts["lost"] == 0 && counts["out_of_order"] == 0,
        "{counts}"
    );
    assert!(counts["received"].as_u64() >= counts["stored"].as_u64(), "{counts}");
    assert!(
        counts["disk_bytes_written"].as_u64().unwrap() > 0 && counts["syncs"].as_u64().unwrap() > 0,
        "{counts}"
    );
    assert!(is_empty(directory.path()));
}

#[test]
fn without_a_terminal_each_scene_is_told_in_plain_lines() {
    let directory = scratch();
    let played = demo(directory.path(), &["--seconds", "3"]).output().unwrap();
    let text = String::from_utf8_lossy(&played.stdout).into_owned();
    assert!(played.status.success() && !text.contains('\x1b'), "{text}");
    let scenes =
        ["The link is up", "The receiver is killed", "the agent is killed", "The receiver is back", "lost 0"];
    let places: Vec<usize> =
        scenes.iter().map(|scene| text.find(scene).unwrap_or_else(|| panic!("{text}"))).collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn an_interrupted_demo_takes_its_processes_and_files_with_it() {
    let directory = scratch();
    let mut played = Running::start("demo", &mut demo(directory.path(), &["--seconds", "600"]));
    played.said(&["link up"]);
    let stage = wait_for("its directory is there", || {
        std::fs::read_dir(directory.path()).unwrap().next()?.ok().map(|entry| entry.path())
    });
    let config = std::fs::read_to_string(stage.join("holdfast.toml")).unwrap();
    let address = config.split("bind = [\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok());
    played.signal(Signal::INT);
    assert!(!played.exit().success());
    assert!(is_empty(directory.path()));
    wait_until("the agent is gone", || TcpStream::connect(&address).is_err());
}
