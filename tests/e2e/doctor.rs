//! `holdfast doctor`, `holdfast report` and `holdfast test` as people meet them: with an agent and without, with a wrong
//! configuration, into a pipe that closes.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Agent, Peer, scratch, uplink};

fn holdfast(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Agent::command();
    command.current_dir(directory).args(arguments).args(["--config", "holdfast.toml"]);
    command.output().expect("the binary runs")
}

/// The findings, and whether all is well by the exit code.
fn findings(directory: &Path) -> (Vec<Value>, bool) {
    let output = holdfast(directory, &["doctor", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let findings = document["findings"].as_array().cloned().expect("there is a list");
    assert!(findings.iter().all(|one| (one["grade"] == "ok") == one["remedy"].is_null()), "{document}");
    (findings, output.status.success())
}

fn find<'a>(findings: &'a [Value], about: &str) -> &'a Value {
    findings.iter().find(|one| one["about"] == about).unwrap_or_else(|| panic!("no {about} in {findings:?}"))
}

/// Lines of `[agent]` with a clock that something vouches for.
fn identity(directory: &Path) -> String {
    let synced = directory.join("synced");
    std::fs::write(&synced, "").expect("the directory is ours");
    format!("id = \"gw\"\nclock_file = {synced:?}\n")
}

#[test]
fn a_gateway_that_is_well_has_no_finding_but_ok_with_an_agent_and_without() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let mut agent = Agent::start_of(
        directory.path(),
        &identity(directory.path()),
        &format!("\n{}", uplink(&peer.url(), "")),
    );
    agent.wait_until_up();
    // The room on the disk of whoever runs this is not ours.
    let well = |found: &[Value]| found.iter().all(|one| one["grade"] == "ok" || one["about"] == "disk");
    let (running, _) = findings(directory.path());
    assert!(well(&running), "{running:?}");
    assert!(find(&running, "link cloud")["found"].as_str().unwrap().starts_with("up"), "{running:?}");
    assert_eq!(find(&running, "agent")["found"], format!("gw {} runs", env!("CARGO_PKG_VERSION")));
    agent.terminate();
    let (stopped, success) = findings(directory.path());
    assert_eq!(find(&stopped, "agent")["grade"], "warning");
    assert!(find(&stopped, "agent")["remedy"].as_str().unwrap().contains("holdfast run") && !success);
    assert!(find(&stopped, "link cloud")["grade"] == "ok" && find(&stopped, "dns")["grade"] == "ok");
    assert!(peer.lines().is_empty(), "nothing was sent");
}

#[test]
fn what_is_wrong_is_told_with_a_remedy_whatever_else_is_wrong() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink("ws://no-such-host.invalid/", ""));
    agent.post("/a", "1");
    agent.wait_until_down("cannot resolve");
    let (found, success) = findings(directory.path());
    assert!(!success);
    assert!(
        find(&found, "dns")["grade"] == "fault" && find(&found, "clock")["grade"] == "warning",
        "{found:?}"
    );
    assert!(find(&found, "link cloud")["found"].as_str().unwrap().contains("1 message held"), "{found:?}");
    std::fs::set_permissions(agent.data(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let file = directory.path().join("holdfast.toml");
    std::fs::write(&file, format!("[agent]\ndata_dir = {:?}\nno_key = 1\n", agent.data())).unwrap();
    let (found, _) = findings(directory.path());
    assert!(
        find(&found, "configuration")["found"].as_str().unwrap().contains(":3:1: agent.no_key"),
        "{found:?}"
    );
    assert!(find(&found, "agent")["grade"] == "ok", "it is found by the wrong file: {found:?}");
    assert!(find(&found, "permissions")["remedy"].as_str().unwrap().starts_with("chmod go-w"), "{found:?}");
}

#[test]
fn a_report_holds_everything_but_secrets_and_messages() {
    let directory = scratch();
    std::fs::write(directory.path().join("key"), "in-a-file-7\n").unwrap();
    let tables = "auth = \"basic\"\nusers = [ { name = \"pump\", password = \"of-a-user-7\" }, \
        { name = \"b\", password_hash = \"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaC03aGFzaC03aGFzaC03aGFzaC03\" } ]\n\
        [variables]\nPASS = \"of-a-variable-7\"\n\
        [[client]]\nid = \"cloud\"\nurl = \"ws://gw:${PASS}@127.0.0.1:1/in?key=of-a-query-7\"\n\
        headers = { x-api-key = \"of-a-header-7\", x-more = { file = \"key\" } }\nparams = { line = \"of-a-param-7\" }\n\
        message = \"of-a-hello-7\"\n\
        [[client]]\nid = \"lab\"\nurl = \"ws://127.0.0.1:1/\"\nauth = { bearer = \"of-a-bearer-7\" }\n\
        [mqtt]\nurl = \"mqtt://127.0.0.1:1\"\nusername = \"gw\"\npassword = { env = \"MQTT_PASSWORD_7\" }\n";
    let agent = Agent::start_of(directory.path(), "id = \"gw\"\n", &format!("{tables}\n"));
    std::fs::write(directory.path().join("message"), "of-a-message-7").unwrap();
    let sent = agent.ask(&["send", "a/b", directory.path().join("message").to_str().unwrap()]);
    assert!(sent.status.success(), "{sent:?}");
    let report = |name: &str| {
        let mut command = Agent::command();
        command.current_dir(directory.path()).env("MQTT_PASSWORD_7", "in-the-environment-7");
        let output =
            command.args(["report", "--output", name, "--config", "holdfast.toml"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let file = directory.path().join(name);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::read_to_string(file).unwrap()
    };
    let text = report("report.txt");
    for part in [
        env!("CARGO_PKG_VERSION"),
        "==== doctor",
        "fault    link cloud",
        "\"unconfirmed\": 1",
        "[[server]]",
        "store/db",
        "==== log",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let secrets = |text: &str| {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        words.filter(|word| word.ends_with("-7")).map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(secrets(&text), Vec::<String>::new(), "{text}");
    assert!(!text.contains("argon2id"), "{text}");
    let file = directory.path().join("holdfast.toml");
    let broken = std::fs::read_to_string(&file).unwrap() + "x = = \"of-a-fault-7\"\n";
    std::fs::write(&file, broken).unwrap();
    let text = report("broken.txt");
    assert!(text.contains("fault    configuration"), "{text}");
    assert_eq!(secrets(&text), Vec::<String>::new(), "{text}");
}

#[test]
fn a_test_prints_each_step_as_it_happens() {
    let directory = scratch();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", silent.local_addr().unwrap());
    let table = format!("[[client]]\nid = \"a\"\nurl = \"{url}\"\nconnect_timeout = \"1h\"\n");
    std::fs::write(directory.path().join("holdfast.toml"), table).unwrap();
    let mut command = Agent::command();
    command.current_dir(directory.path()).args(["test", "--config", "holdfast.toml"]).stdout(Stdio::piped());
    let mut testing = command.spawn().unwrap();
    let mut lines = BufReader::new(testing.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The peer never answers: these lines come while the test goes on.
    for expected in [&*format!("a  {url}"), "  settings ", "  name ", "  tcp "] {
        let line = lines.next().unwrap();
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(testing.try_wait().unwrap().is_none());
    testing.kill().unwrap();
    testing.wait().unwrap();
}

#[test]
fn every_command_ends_quietly_when_its_pipe_closes() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:1/", ""));
    agent.post("/a", "1");
    let socket = agent.data().join("control.sock").display().to_string();
    for command in [
        "check",
        "check --json",
        "config show",
        "client list",
        "client show cloud",
        "server list",
        "server show sensors",
        "test",
        "test --json",
        "test --watch 100ms",
        "doctor",
        "doctor --json",
        "report --output -",
        "status --socket SOCKET",
        "status --json --socket SOCKET",
        "status --watch 100ms --socket SOCKET",
        "buffer info",
        "buffer list",
        "buffer export",
        "buffer dead list",
        "buffer verify",
        "hash-password",
        "--help",
        "--version",
        "run --help",
    ] {
        let command = command.replace("SOCKET", &socket);
        let mut words: Vec<&str> = command.split(' ').collect();
        if !command.contains("--help") && !["--version", "hash-password"].contains(&&*command) {
            words.extend(["--config", "holdfast.toml"]);
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut ended = Agent::command();
        ended.current_dir(directory.path()).args(&words).stdin(Stdio::null()).stdout(writer);
        let ended = ended.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_ne!(ended.status.code(), Some(101), "{command}: {said}");
        assert!(ended.status.code().is_some(), "{command}: {ended:?}");
        assert!(
            !said.contains("panicked") && !said.to_lowercase().contains("broken pipe"),
            "{command}: {said}"
        );
    }
    // Nor does an error that nobody reads.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut failing = Agent::command();
    let status = failing.args(["check", "--config", "/nonexistent"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn the_version_names_the_commit_of_a_clone() {
    let output = Agent::command().arg("--version").output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let git = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "HEAD"]).output();
    let commit =
        git.ok().filter(|git| git.status.success()).map(|git| String::from_utf8(git.stdout).unwrap());
    let expected = match commit.as_deref().and_then(|commit| commit.get(..12)) {
        Some(commit) => format!("holdfast {} ({commit})\n", env!("CARGO_PKG_VERSION")),
        None => format!("holdfast {}\n", env!("CARGO_PKG_VERSION")),
    };
    assert_eq!(shown, expected);
}
