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
    let mut commands = vec![Vec::new()];
    let mut seen = 0;
    while let Some(command) = commands.pop() {
        let mut help = Terminal::start(Agent::command().args(&command).arg("--help"), 80, 24);
        assert!(help.exit().success());
        let page = help.shows(&["Usage: holdfast"]);
        assert!(page.contains("Examples:"), "{command:?} has no example:\n{page}");
        seen += 1;
        let list = page.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
        let names = list.into_iter().flat_map(str::lines).filter_map(|line| line.strip_prefix("  "));
        let names = names
            .filter_map(|line| line.split(' ').next())
            .filter(|name| !name.is_empty() && *name != "help");
        commands.extend(names.map(|name| [&command[..], &[name.to_owned()]].concat()));
    }
    assert!(seen > 35, "only {seen} commands were found");
}

/// What a command says on a bad day, in a terminal of 80x24.
fn says(directory: &Path, command: &str, words: &[&str]) -> String {
    let arguments: Vec<&str> = command.split(' ').collect();
    let mut terminal = Terminal::start(&mut asking(directory, &arguments), 80, 24);
    terminal.exit();
    terminal.tells(words)
}

#[test]
fn what_a_link_that_is_down_is_told_of_fits_and_helps() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink(&format!("ws://127.0.0.1:{}/", free_port()), ""));
    agent.post("/kitchen/temperature", "1");
    agent.wait_until_down("refused");
    let listens = "nobody listens there: check the port in `url`, and that the server runs";
    says(directory.path(), "test", &["tcp failed", "connection refused", listens]);
    says(directory.path(), "doctor", &["fault link cloud", "1 message held", listens]);
    says(directory.path(), "status", &["! link cloud is down", "connection refused", "next try in"]);
    says(directory.path(), "client list", &["cloud down 1", "connection refused"]);
    says(directory.path(), "buffer info", &["HELD 1 message for cloud"]);
    says(directory.path(), "reload", &["unchanged: what the files say is in force already"]);
    says(
        directory.path(),
        "client disconnect cloud",
        &["stays away", "until `holdfast client connect cloud`"],
    );
    says(directory.path(), "client connect cloud", &["client cloud is dialled now"]);
    says(directory.path(), "send a/b 1", &["cannot read 1, which must be a file", "holdfast send TOPIC"]);
    says(directory.path(), "client disable cloud", &["disabled client cloud"]);
    says(directory.path(), "client connect cloud", &["`holdfast client enable cloud` makes it so"]);
    says(directory.path(), "test", &["nothing to test", "holdfast client add"]);
}

#[test]
fn what_is_said_without_an_agent_fits_and_helps() {
    let directory = scratch();
    drop(Agent::start(directory.path(), &uplink("ws://127.0.0.1:9/", "")));
    says(
        directory.path(),
        "status",
        &["no agent is running there", "holdfast doctor", "`holdfast run` starts"],
    );
    says(directory.path(), "doctor", &["warning agent", "no agent is running", "start it"]);
    for command in ["reload", "tap", "client connect cloud", "send a/b /dev/null"] {
        says(directory.path(), command, &["no agent is running there"]);
    }
    says(directory.path(), "buffer info", &["no agent is running", "HELD nothing"]);
    says(directory.path(), "client disable cloud", &["no agent is running; the next start takes it"]);
    says(directory.path(), "client list", &["cloud inactive"]);
}

#[test]
fn what_is_said_with_a_wrong_configuration_fits_and_names_the_place() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:9/", ""));
    agent.post("/a", "1");
    let file = directory.path().join("holdfast.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text.lines().count() + 1;
    let place = format!("holdfast.toml:{line}:");
    std::fs::write(&file, format!("{text}name = \"no end\n")).unwrap();
    for command in [
        "check",
        "test",
        "client list",
        "client enable cloud",
        "client add ws://h/",
        "server list",
        "run",
        "reload",
    ] {
        says(directory.path(), command, &[&place]);
    }
    says(
        directory.path(),
        "doctor",
        &["fault configuration", &place, "fault agent: it goes on with an older configuration"],
    );
    says(directory.path(), "status", &["! the configuration is wrong", &place, "LINK STATE"]);
    says(directory.path(), "send a/b /dev/null", &["stored 2"]);
    says(directory.path(), "buffer info", &["HELD 2 messages for cloud"]);
    drop(agent);
    says(directory.path(), "buffer info", &["HELD 2 messages for cloud", "no agent is running"]);
    says(directory.path(), "status", &["the configuration is wrong", "no agent is running there"]);
}

#[test]
fn the_settings_of_a_link_that_is_up_although_the_file_has_it_inactive_are_explained() {
    let directory = scratch();
    let peer = crate::harness::Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    agent.wait_until_up();
    agent.configure(&uplink(&peer.url(), "active = false"));
    let shown = asking(directory.path(), &["client", "show", "cloud"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let words = "# the running agent has it active, by an option of its start such as --uplink or by files that have changed since";
    assert!(
        shown.contains("active = false") && shown.contains("# state: up") && shown.contains(words),
        "{shown}"
    );
    assert!(agent.ask(&["reload"]).status.success());
    agent.wait_for_fact("/links/cloud/state", "inactive");
    let shown = asking(directory.path(), &["client", "show", "cloud"]).output().unwrap();
    assert!(!String::from_utf8(shown.stdout).unwrap().contains("the running agent has it"));
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
