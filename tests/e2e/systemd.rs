//! The agent as a service: what it tells systemd, what the journal gets, and the unit.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Agent, Running, scratch, wait_until};

/// systemd's end of sd_notify(3).
struct Supervisor {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Supervisor {
    fn hears(&mut self, line: &str) {
        let mut letters = [0; 4096];
        while !self.heard.iter().any(|heard| heard.starts_with(line)) {
            let length = self.socket.recv(&mut letters).unwrap_or_else(|error| {
                panic!("{line} did not come ({error}), only {:?}", self.heard);
            });
            let text = String::from_utf8_lossy(&letters[..length]).into_owned();
            self.heard.extend(text.lines().map(str::to_owned));
        }
    }
}

#[test]
fn a_supervisor_hears_when_the_agent_is_ready_alive_and_stopping() {
    let directory = scratch();
    let path = directory.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut supervisor = Supervisor { socket, heard: Vec::new() };
    let mut command = Agent::command();
    command.args(["run", "--uplink", "ws://127.0.0.1:1/", "--data-dir"]).arg(directory.path().join("data"));
    std::fs::write(directory.path().join("holdfast.toml"), "[[server]]\nbind = [\"127.0.0.1:0\"]\n").unwrap();
    command.arg("--config").arg(directory.path().join("holdfast.toml"));
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000").env_remove("WATCHDOG_PID");
    let mut process = Running::start("agent", &mut command);
    supervisor.hears("READY=1");
    assert!(
        supervisor.heard[0].starts_with("EXTEND_TIMEOUT_USEC="),
        "the opening asks for time: {:?}",
        supervisor.heard
    );
    supervisor.hears("STATUS=0 of 1 link up, holding nothing, 0 devices");
    for _ in 0..3 {
        supervisor.heard.clear();
        supervisor.hears("WATCHDOG=1");
    }
    process.signal(Signal::TERM);
    supervisor.hears("STOPPING=1");
    assert!(process.exit().success());
}

#[test]
fn the_journal_gets_levels_instead_of_time_stamps() {
    let directory = scratch();
    let path = directory.path().join("journal");
    let journal = File::create(&path).unwrap();
    let facts = journal.metadata().unwrap();
    std::fs::write(directory.path().join("holdfast.toml"), "[[server]]\nbind = [\"127.0.0.1:0\"]\n").unwrap();
    let mut command = Agent::command();
    command.args(["run", "--data-dir"]).arg(directory.path().join("data"));
    command.arg("--config").arg(directory.path().join("holdfast.toml"));
    command.env("JOURNAL_STREAM", format!("{}:{}", facts.dev(), facts.ino())).stderr(journal);
    let mut agent = command.spawn().unwrap();
    let said = || std::fs::read_to_string(&path).unwrap();
    wait_until("it listens", || said().contains("listening"));
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(said().lines().all(|line| line.starts_with("<6>")), "{}", said());
    assert!(said().starts_with("<6>holdfast "), "{}", said());
}

/// systemd-analyze on the unit, with a program that is there in the place of the installed one.
fn analyze(arguments: &[&str]) -> Output {
    let directory = scratch();
    let unit = include_str!("../../systemd/holdfast.service");
    let path = directory.path().join("holdfast.service");
    let here = unit.replace("/usr/bin/holdfast", env!("CARGO_BIN_EXE_holdfast"));
    assert_ne!(here, unit);
    std::fs::write(&path, here).unwrap();
    Command::new("systemd-analyze").args(arguments).arg(&path).output().expect("systemd is installed")
}

#[test]
fn systemd_finds_nothing_to_say_about_the_unit() {
    let verified = analyze(&["verify", "--man=no"]);
    let said = [verified.stdout, verified.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(verified.status.success() && said.iter().all(String::is_empty), "{said:?}");
}

#[test]
fn the_service_is_exposed_at_most_by_one_of_ten_and_each_exception_is_explained() {
    let judged = analyze(&["security", "--offline=true", "--threshold=10", "--no-pager", "--json=short"]);
    assert!(judged.status.success(), "{judged:?}");
    let rows: Vec<Value> = serde_json::from_slice(&judged.stdout).unwrap();
    let unit = include_str!("../../systemd/holdfast.service");
    let (_, exceptions) = unit.split_once("still complains about, and why:").unwrap();
    let exposed =
        rows.iter().filter(|row| row["exposure"].as_str().is_some_and(|exposure| exposure != "0.0"));
    let names: Vec<&str> = exposed.filter_map(|row| row["name"].as_str()).collect();
    assert!(!names.is_empty());
    for name in names {
        let word = name.split(['=', '/', '~']).next().unwrap();
        assert!(exceptions.contains(word), "{name} is not explained in the unit");
    }
}
