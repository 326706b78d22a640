//! The first hour of somebody who has no configuration yet, or one without a link or a server.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{
    Agent, Peer, Terminal, free_port, numbered, scratch, uplink, wait_for_value, wait_until,
};

fn file(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("holdfast.toml")).unwrap()
}

fn asking(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Agent::command();
    command.args(arguments).arg("--config").arg(directory.join("holdfast.toml"));
    command
}

fn done(directory: &Path, arguments: &[&str]) -> String {
    let asked = asking(directory, arguments).output().expect("the binary runs");
    assert!(asked.status.success(), "{asked:?}");
    String::from_utf8(asked.stdout).unwrap()
}

#[test]
fn what_is_held_before_there_is_a_link_goes_to_the_first_one_whatever_its_id() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let mut agent = Agent::start(directory.path(), "");
    agent.process.said(&["no link is active", "holdfast client add wss://HOST/PATH"]);
    agent.post_all("/a", &numbered(5));
    agent.wait_for_fact("/links/ws_client_1/unconfirmed", 5);
    let told = done(directory.path(), &["client", "add", &peer.url(), "--id", "cloud"]);
    assert!(told.contains("what was held while there was no client goes to it"), "{told}");
    assert!(file(directory.path()).contains("outlet = \"ws_client_1\"\n"));
    agent.wait_for_fact("/links/cloud/state", "up");
    agent.post_all("/a", &numbered(2));
    wait_for_value(&[numbered(5), numbered(2)].concat(), || peer.lines());
    assert_eq!(agent.fact("/links/ws_client_1"), serde_json::Value::Null);
    agent.terminate();
    agent.start_again();
    agent.post("/a", "last");
    wait_until("it is delivered", || peer.lines().len() == 8);
    assert!(agent.process.lines().iter().all(|line| !line.contains("messages are held for")));
}

#[test]
fn messages_of_a_client_that_was_renamed_by_hand_are_told_until_one_takes_them() {
    let directory = scratch();
    let mut agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:1/", ""));
    agent.post_all("/a", &numbered(3));
    let told = done(directory.path(), &["buffer", "peek", "cloud"]);
    assert_eq!(told.lines().count(), 3, "{told}");
    let renamed = uplink("ws://127.0.0.1:1/", "").replace("cloud", "hub");
    agent.configure(&renamed);
    assert!(agent.ask(&["reload"]).status.success());
    let sentence = "messages are held for cloud, which no client is: one with outlet = \"cloud\" sends them";
    agent.process.said(&["WARN", sentence]);
    assert_eq!(agent.fact("/left_behind"), serde_json::json!(["cloud"]));
    agent.terminate();
    agent.start_again();
    agent.process.said(&["WARN", sentence]);
    let page = String::from_utf8(agent.ask(&["status"]).stdout).unwrap();
    assert!(page.contains(&format!("- {sentence}")), "{page}");
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    agent.configure(&uplink(&peer.url(), "outlet = \"cloud\"").replace("id = \"cloud\"", "id = \"hub\""));
    assert!(agent.ask(&["reload"]).status.success());
    wait_until("all are delivered", || peer.lines() == numbered(3));
    assert_eq!(agent.fact("/left_behind"), serde_json::Value::Null);
    let told = done(directory.path(), &["buffer", "list"]);
    assert!(told.contains("client:cloud") && !told.contains("client:hub  1"), "{told}");
}

#[test]
fn a_removed_client_says_what_it_leaves() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:1/", ""));
    agent.post_all("/a", &numbered(2));
    let told = done(directory.path(), &["client", "remove", "cloud"]);
    let held = "2 messages that are held for it stay in the store, for a client with outlet = \"cloud\"";
    assert!(told.contains(held) && told.contains("it was the last client"), "{told}");
    let told = done(directory.path(), &["server", "add", "127.0.0.1:0", "--id", "more"]);
    assert!(!told.contains("there without any"), "it had a server: {told}");
}

#[test]
fn the_server_that_is_there_without_any_is_kept_beside_the_first_one() {
    let directory = scratch();
    let text = "[agent]\ndata_dir = \"data\"\n";
    let path = directory.path().join("holdfast.toml");
    let add = |arguments: &[&str]| {
        std::fs::write(&path, text).unwrap();
        let told = done(directory.path(), &[&["server", "add"], arguments].concat());
        (told, file(directory.path()))
    };
    let (told, after) = add(&["192.0.2.1:9999", "--id", "sensors"]);
    assert!(told.contains("stays as ws_server_1; `holdfast server remove ws_server_1` closes it"), "{told}");
    let tables = "\n[[server]]\nid = \"ws_server_1\"\nbind = [\"127.0.0.1:9998\"]\n\n[[server]]\nid = \"sensors\"\nbind = [\"192.0.2.1:9999\"]\n";
    assert_eq!(after, format!("{text}{tables}"));
    let (told, after) = add(&["0.0.0.0:9998", "--id", "sensors"]);
    assert!(told.contains("it takes the place of the server that is there without any"), "{told}");
    assert_eq!(after.matches("[[server]]").count(), 1, "{after}");
    let (_, after) = add(&["0.0.0.0:9998", "--set", "active=false"]);
    assert_eq!(after.matches("[[server]]").count(), 2, "{after}");
    done(directory.path(), &["server", "remove", "ws_server_2"]);
    let told = done(directory.path(), &["server", "remove", "ws_server_1"]);
    assert!(told.contains("without any, one listens on 127.0.0.1:9998"), "{told}");
}

#[test]
fn a_server_that_opens_to_all_addresses_takes_over_its_port_while_the_agent_runs() {
    let directory = scratch();
    let port = free_port();
    let server = |id: &str, ip: &str| {
        format!(
            "[agent]\nid = \"gw\"\ndata_dir = \"data\"\n[[server]]\nid = \"{id}\"\nbind = [\"{ip}:{port}\"]\n"
        )
    };
    let path = directory.path().join("holdfast.toml");
    std::fs::write(&path, server("own", "127.0.0.1")).unwrap();
    let agent = Agent::launch(directory.path());
    agent.said(&["listening", &format!("127.0.0.1:{port}")]);
    for (id, ip) in [("all", "0.0.0.0"), ("own", "127.0.0.1")] {
        std::fs::write(&path, server(id, ip)).unwrap();
        let told = done(directory.path(), &["reload"]);
        assert!(told.starts_with("applied: "), "{told}");
        let mut http = crate::harness::Http::connect(&format!("127.0.0.1:{port}")).unwrap();
        http.store("/a", "1");
        let status = done_or_degraded(&mut asking(directory.path(), &["status"]));
        assert!(status.contains(&format!("http://{ip}:{port}")), "{status}");
    }
    // One that stays is in the way, and nothing is shared with it.
    let both =
        server("own", "127.0.0.1") + &format!("[[server]]\nid = \"all\"\nbind = [\"0.0.0.0:{port}\"]\n");
    std::fs::write(&path, both).unwrap();
    let refused = asking(directory.path(), &["reload"]).output().unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    assert!(std::net::TcpListener::bind(("0.0.0.0", port)).is_err());
}

fn done_or_degraded(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.code() < Some(2), "{stderr:?}");
    String::from_utf8(stdout).unwrap()
}

#[test]
fn a_status_without_a_configuration_finds_the_agent_that_runs_and_asks_which_one_of_several() {
    let directory = scratch();
    let [one, two, state] = ["one", "two", "state"].map(|name| directory.path().join(name));
    [&one, &two, &state].into_iter().for_each(|path| std::fs::create_dir(path).unwrap());
    let (users, given) = (state.join("holdfast"), two.join("data"));
    let _agent = Agent::start_of(&one, "id = \"one\"\n", "");
    std::os::unix::fs::symlink(one.join("data"), &users).unwrap();
    // A socket that nobody listens on is no agent.
    std::fs::create_dir(&given).unwrap();
    drop(UnixListener::bind(given.join("control.sock")).unwrap());
    let unnamed = |arguments: &[&str]| {
        let mut command = Agent::command();
        command.args(arguments).env("XDG_STATE_HOME", &state).env("STATE_DIRECTORY", &given);
        command
    };
    let page = done_or_degraded(&mut unnamed(&["status"]));
    assert!(page.starts_with("one 0.1.0  online"), "{page}");
    let _other = Agent::start_of(&two, "id = \"two\"\n", "");
    for arguments in [
        &["status"][..],
        &["reload"],
        &["send", "a/b", "/dev/null"],
        &["buffer", "list"],
        &["client", "list"],
        &["tap"],
    ] {
        let mut command = unnamed(arguments);
        let asked = command.output().unwrap();
        let words = String::from_utf8(asked.stderr).unwrap();
        assert!(!asked.status.success() && asked.stdout.is_empty(), "{arguments:?}: {words}");
        for dir in [&users, &given] {
            assert!(words.contains(&format!("\n  --data-dir {}", dir.display())), "{arguments:?}: {words}");
        }
    }
    for (dir, name) in [(&users, "one"), (&given, "two")] {
        let page = done_or_degraded(unnamed(&["status"]).arg("--data-dir").arg(dir));
        assert!(page.starts_with(name), "{page}");
    }
}

#[test]
fn whether_an_agent_answers_is_another_question_than_how_it_is() {
    let directory = scratch();
    let mut agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:1/", ""));
    agent.wait_until_down("refused");
    assert_eq!(agent.ask(&["status"]).status.code(), Some(1));
    let alive = agent.ask(&["status", "--alive"]);
    assert_eq!((alive.status.code(), alive.stdout.as_slice()), (Some(0), &b"gw 0.1.0 answers\n"[..]));
    std::fs::write(directory.path().join("holdfast.toml"), "[agent]\ndata_dir = \"data\"\nnonsense = 1\n")
        .unwrap();
    assert_eq!(asking(directory.path(), &["status", "--alive"]).output().unwrap().status.code(), Some(0));
    agent.terminate();
    assert_eq!(asking(directory.path(), &["status", "--alive"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_link_that_is_only_switched_off_is_not_to_be_added_once_more() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:1/", "active = false"));
    let remedy = "`holdfast client enable cloud` makes cloud so";
    agent.process.said(&["no link is active", remedy]);
    let mut status = Terminal::start(&mut asking(directory.path(), &["status"]), 80, 24);
    status.tells(&["- no link is active", remedy]);
    assert_eq!(status.exit().code(), Some(0));
    let doctor = asking(directory.path(), &["doctor"]).output().unwrap();
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(
        doctor.contains("no link is active") && doctor.contains("holdfast client enable cloud"),
        "{doctor}"
    );
}

#[test]
fn the_first_screen_of_a_new_gateway_says_what_to_do_next_and_dials_nothing() {
    let directory = scratch();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/holdfast.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    for tables in [String::new(), "[[server]]\nid = \"more\"\nbind = [\"127.0.0.1:0\"]\n".to_owned(), shipped]
    {
        let agent = Agent::start(directory.path(), &tables);
        agent.wait_for_fact("/links/ws_client_1/state", "inactive");
        let mut status = Terminal::start(&mut asking(directory.path(), &["status"]), 80, 24);
        status.tells(&[
            "no link is active",
            "`holdfast client add wss://HOST/PATH` makes one",
            "http://127.0.0.1:",
        ]);
        assert_eq!(status.exit().code(), Some(0), "it is well");
        let doctor = asking(directory.path(), &["doctor"]).output().unwrap();
        let doctor = String::from_utf8(doctor.stdout).unwrap();
        assert!(
            doctor.contains("no link is configured") && doctor.contains("holdfast client add wss://"),
            "{doctor}"
        );
        assert!(agent.process.lines().iter().all(|line| !line.contains("link down")));
    }
}
