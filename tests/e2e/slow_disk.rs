//! A disk whose syncs take long: what waits for a sync waits, and nothing else does.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Agent, Peer, WebSocketSender, free_port, scratch, uplink, wait_until};

const HELD: usize = 20_000;

/// Builds what is preloaded.
fn library(directory: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/harness/slow_sync.c");
    let library = directory.join("slow_sync.so");
    let mut command = Command::new("cc");
    command.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    assert!(command.status().expect("there is a C compiler").success());
    library
}

#[test]
fn a_backlog_drains_while_a_sync_takes_for_ever_and_what_is_new_is_answered_after_it() {
    let directory = scratch();
    let (port, hold) = (free_port(), directory.path().join("hold"));
    let tables = uplink(&format!("ws://127.0.0.1:{port}/"), "window = 100");
    let library = library(directory.path());
    let agent =
        Agent::start_under(directory.path(), &tables, &[("LD_PRELOAD", &library), ("SLOW_SYNC_HOLD", &hold)]);
    let held: Vec<String> = (0..HELD).map(|number| number.to_string()).collect();
    held.chunks(5_000).for_each(|lines| agent.post_lines("/a", lines));

    std::fs::write(&hold, "").unwrap();
    let sender = WebSocketSender::start(directory.path(), "live-", 1);
    sender.aim(&format!("ws://{}/live?confirm=1", agent.address));
    wait_until("a message waits for its sync", || agent.fact("/buffer/messages") == HELD as u64 + 1);
    let peer = Peer::python("echo_store", &directory.path().join("got"), &["--port", &port.to_string()]);
    wait_until("all that was held has come", || peer.lines().len() >= HELD);

    std::fs::remove_file(&hold).unwrap();
    wait_until("more comes", || peer.lines().len() > HELD + 10);
    assert_eq!(peer.lines()[..HELD], held);
    assert!(!sender.end().is_empty());
}
