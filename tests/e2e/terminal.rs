//! Screens that people see, in terminals of a given size.

use std::path::Path;
use std::process::Command;

use crate::harness::{Agent, Terminal, free_port, scratch, uplink, wait_until};

/// A command of the binary for the agent of this directory.
fn asking(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Agent::command();
    command.args(arguments).arg("--config").arg(directory.join("holdfast.toml"));
    command
}

/// An agent with a link that is down, one that is inactive, and as many devices.
fn crowd(directory: &Path, devices: usize) -> Agent {
    let links = uplink("ws://127.0.0.1:9/", "")
        + "[[client]]\nid = \"lab\"\nurl = \"ws://127.0.0.1:9/\"\nactive = false\n";
    let agent = Agent::start(directory, &links);
    let mut http = agent.http();
    for number in 1..=devices {
        http.store(&format!("/dev{number}/t"), "1");
    }
    agent.wait_for_fact("/devices_total/online", devices);
    agent.wait_for_fact("/links/lab/unconfirmed", devices);
    agent
}

#[test]
fn the_status_that_is_watched_fits_the_terminal() {
    let directory = scratch();
    let _agent = crowd(directory.path(), 40);
    for (width, height) in [(80, 24), (60, 26), (132, 50)] {
        let watch =
            Terminal::start(&mut asking(directory.path(), &["status", "--watch", "200ms"]), width, height);
        // The rates come with the second page, which is drawn in the place of the first.
        let page = watch.shows(&["gw 0.1.0", "LINK", "down", "RATES"]);
        watch.assert_not_scrolled();
        assert!(
            page.contains("holding 40 messages for 2") && page.contains("DEVICES 40 online"),
            "{width}: {page}"
        );
        let at = |name: &str| page.find(name).unwrap_or_else(|| panic!("no {name} in\n{page}"));
        assert!(at("dev1 ") < at("dev2 ") && at("dev2 ") < at("dev3 "), "{page}");
    }
}

#[test]
fn devices_are_listed_as_people_count_and_no_line_is_wider_than_the_terminal() {
    let directory = scratch();
    let _agent = crowd(directory.path(), 11);
    for width in [80, 60] {
        let mut status = Terminal::start(&mut asking(directory.path(), &["status"]), width, 24);
        let page = status.shows(&["dev11 "]);
        let names: Vec<&str> = page
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|word| word.starts_with("dev"))
            .collect();
        assert_eq!(names, (1..=11).map(|number| format!("dev{number}")).collect::<Vec<_>>());
        assert_eq!(status.exit().code(), Some(1), "a link is down");
    }
}

#[test]
fn the_help_of_every_command_fits_a_terminal_of_80_columns() {
    let commands = [
        "",
        "run",
        "check",
        "test",
        "status",
        "tap",
        "reload",
        "send",
        "client",
        "client add",
        "client remove",
        "server",
        "server add",
        "buffer",
        "buffer list",
        "buffer import",
        "buffer dead requeue",
        "config",
        "receive",
        "hash-password",
        "demo",
    ];
    for command in commands {
        let arguments: Vec<&str> =
            command.split(' ').filter(|word| !word.is_empty()).chain(["--help"]).collect();
        let mut help = Terminal::start(Agent::command().args(arguments), 80, 24);
        assert!(help.exit().success());
        help.shows(&["Usage: holdfast"]);
    }
}

#[test]
fn the_exit_code_of_the_status_tells_how_the_agent_is() {
    let directory = scratch();
    let port = free_port();
    let agent = Agent::start(directory.path(), &uplink(&format!("ws://127.0.0.1:{port}/"), ""));
    let code = || agent.ask(&["status"]).status.code();
    wait_until("the control socket answers", || code() == Some(1));
    assert_eq!(agent.ask(&["status", "--json"]).status.code(), Some(1));
    let receiver = ["receive", "--quiet", "--listen", &format!("127.0.0.1:{port}")].map(str::to_owned);
    let _receiver = crate::harness::Running::start("receiver", Agent::command().args(receiver));
    agent.wait_until_up();
    assert_eq!(code(), Some(0));
    drop(agent);
    let status = asking(directory.path(), &["status"]).output().expect("the binary runs");
    assert_eq!(status.status.code(), Some(2), "{status:?}");
}

#[test]
fn the_status_is_shown_although_the_configuration_is_wrong_and_says_so_on_its_first_line() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), "");
    let file = directory.path().join("holdfast.toml");
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, format!("{text}\n[mtqq]\n[serverr]\n")).expect("the directory is ours");
    let ask = |more: &[&str]| {
        let mut status = Agent::command();
        status.args(["status", "--config"]).arg(&file).args(more);
        status.output().expect("the binary runs")
    };
    let shown = ask(&[]);
    let page = String::from_utf8_lossy(&shown.stdout).into_owned();
    let first = page.lines().next().unwrap_or_default();
    assert!(first.starts_with("! the configuration is wrong: ") && first.contains("mtqq"), "{page}");
    assert!(first.contains("1 more fault") && page.contains("BUFFER"), "{page}");
    assert_eq!(shown.status.code(), Some(1));
    let shown = ask(&["--json"]);
    assert!(
        serde_json::from_slice::<serde_json::Value>(&shown.stdout)
            .is_ok_and(|json| json["state"] == "online")
    );
    assert!(String::from_utf8_lossy(&shown.stderr).contains("mtqq"), "{shown:?}");
    drop(agent);
    let shown = ask(&[]);
    let words = String::from_utf8_lossy(&shown.stderr);
    assert!(
        shown.status.code() == Some(2) && words.contains("mtqq") && words.contains("no agent"),
        "{words}"
    );
}
