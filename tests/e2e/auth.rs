//! Logins at a server, and what it costs to fail.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::harness::{Agent, Broker, Peer, curl, python, scratch, uplink, wait_for_value};

/// Hash that `holdfast hash-password` makes of a line.
fn hashed(password: &str) -> String {
    let mut command = Agent::command();
    let mut child = command
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    writeln!(child.stdin.take().expect("it is piped"), "{password}").expect("it reads");
    let output = child.wait_with_output().expect("it is our child");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("a hash is text").trim().to_owned()
}

fn user(name: &str, password: &str) -> String {
    format!("{{ name = \"{name}\", password_hash = \"{}\" }}", hashed(password))
}

fn asking(auth: &str, users: &[String]) -> String {
    format!("auth = \"{auth}\"\nusers = [{}]\n", users.join(", "))
}

/// Words of the agent about its server, over the control socket.
pub fn turned_away(agent: &Agent, reason: &str) -> u64 {
    let asked = agent.ask(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&asked.stdout).unwrap_or_else(|_| panic!("{asked:?}"));
    status["servers"]["sensors"][reason].as_u64().unwrap_or_else(|| panic!("no {reason} in {status}"))
}

/// Sends three messages over a WebSocket and gives what comes of it.
fn speak(url: &str) -> String {
    let output = python("speaker").args(["--url", url, "--count", "3"]).output().expect("python runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_basic_login_opens_the_door_to_requests_and_to_web_sockets() {
    let directory = scratch();
    let server = asking("basic", &[user("pump", "s3cret"), user("é", "ü:§")]);
    let agent = Agent::start_with(directory.path(), "", &server);
    let url = format!("http://{}/kitchen/temperature", agent.address);
    assert_eq!(curl(&["-d", "1", "-u", "pump:s3cret", &url]).0, 200);
    assert_eq!(curl(&["-d", "2", "-u", "é:ü:§", &url]).0, 200);
    let (status, answer) = curl(&["-i", "-d", "3", &url]);
    let challenge = "www-authenticate: Basic realm=\"holdfast\", charset=\"UTF-8\"";
    assert!(status == 401 && answer.contains(challenge), "{answer}");
    assert_eq!(turned_away(&agent, "failed_logins"), 0, "who brings nothing has not failed");
    assert_eq!(curl(&["-d", "4", "-u", "pump:other", &url]).0, 401);
    assert_eq!(curl(&["-d", "5", "-u", "nobody:s3cret", &url]).0, 401);
    assert_eq!(turned_away(&agent, "failed_logins"), 2);
    let address = &agent.address;
    assert_eq!(speak(&format!("ws://pump:s3cret@{address}/pump?confirm=1")), "stored 3");
    assert_eq!(speak(&format!("ws://{address}/pump?confirm=1")), "refused 401");
    assert_eq!(speak(&format!("ws://pump:no@{address}/pump?confirm=1")), "refused 401");
    let status = agent.ask(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).expect("the status is JSON");
    assert_eq!(status["buffer"]["messages"], 5, "{status}");
}

#[test]
fn a_hash_that_is_exchanged_counts_at_once_also_on_a_connection_that_is_open() {
    let directory = scratch();
    let file = directory.path().join("pump.hash");
    std::fs::write(&file, hashed("old")).expect("it can be written");
    let users = [format!("{{ name = \"pump\", password_hash = {{ file = {file:?} }} }}")];
    let agent = Agent::start_with(directory.path(), "", &asking("basic", &users));
    let login = |password: &str| format!("Basic {}", STANDARD.encode(format!("pump:{password}")));
    let (old, new) = (login("old"), login("new"));
    let mut open = agent.http();
    let mut post = |login: &str| open.post("/a", &[("Authorization", login)], b"1").expect("it answers").0;
    assert_eq!((post(&old), post(&new)), (200, 401));
    std::fs::write(&file, hashed("new")).expect("it can be written");
    assert_eq!((post(&old), post(&new)), (401, 200));
}

#[test]
fn a_login_is_needed_for_everything_but_the_health() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", &asking("basic", &[user("pump", "s3cret")]));
    let status = |path: &str| curl(&[&format!("http://{}{path}", agent.address)]).0;
    assert_eq!(["/healthz", "/", "/metrics", "/api/status"].map(status), [200, 401, 401, 401]);
    assert_eq!(curl(&["-d", "1", &format!("http://{}/healthz", agent.address)]).0, 401, "that is a message");
    assert_eq!(speak(&format!("ws://{}/healthz?confirm=1", agent.address)), "refused 401");
    let status = |path: &str| curl(&["-u", "pump:s3cret", &format!("http://{}{path}", agent.address)]).0;
    assert_eq!(["/healthz", "/", "/metrics", "/api/status"].map(status), [200; 4]);
}

#[test]
fn a_login_in_the_path_is_gone_before_the_path_becomes_a_topic() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let tables = uplink(&peer.url(), "framing = \"envelope\"");
    let agent = Agent::start_with(directory.path(), &tables, &asking("url", &[user("pump", "s3/cret")]));
    let address = &agent.address;
    assert_eq!(curl(&["-d", "1", &format!("http://{address}/auth/pump/s3%2Fcret/kitchen/t?unit=C")]).0, 200);
    assert_eq!(speak(&format!("ws://{address}/auth/pump/s3%2Fcret/kitchen/t?confirm=1")), "stored 3");
    let (status, answer) = curl(&["-i", "-d", "1", &format!("http://{address}/kitchen/t")]);
    assert!(status == 401 && answer.contains("/auth/NAME/PASSWORD/"), "{answer}");
    assert_eq!(curl(&["-d", "1", &format!("http://{address}/auth/pump/s3cret/kitchen/t")]).0, 401);
    assert_eq!(
        curl(&["-u", "pump:s3/cret", &format!("http://{address}/")]).0,
        401,
        "a header is not asked for"
    );
    let sent = || peer.lines().join("\n").matches("\"topic\":\"kitchen/t\"").count();
    wait_for_value(&4, sent);
    let said = agent.process.lines().join("\n") + &peer.lines().join("\n");
    assert!(!said.contains("cret") && !said.contains("/auth/"), "{said}");
}

#[test]
fn failed_logins_are_answered_later_and_later_and_then_not_looked_at() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", &asking("basic", &[user("pump", "s3cret")]));
    let url = format!("http://{}/a", agent.address);
    let answers: Vec<u16> = (0..8).map(|_| curl(&["-d", "1", "-u", "pump:no", &url]).0).collect();
    assert_eq!(answers, [401, 401, 401, 401, 401, 401, 429, 429]);
    let (status, answer) = curl(&["-i", "-d", "1", "-u", "pump:s3cret", &url]);
    assert!(
        status == 429 && answer.contains("retry-after: "),
        "who guesses must not learn that this one is right: {answer}"
    );
    agent
        .process
        .said(&["WARN", "login failed source=server:sensors from=127.0.0.1 user=pump failures=6 wait_s=10"]);
    assert_eq!(turned_away(&agent, "failed_logins"), 6);
}

#[test]
fn a_wrong_name_is_not_told() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", &asking("basic", &[user("pump", "s3cret")]));
    let url = format!("http://{}/a", agent.address);
    let logins = ["pump:no", "pump:no", "pump:s3cret", "S3cret-as-name:x"];
    assert_eq!(logins.map(|login| curl(&["-d", "1", "-u", login, &url]).0), [401, 401, 200, 401]);
    agent.process.said(&["WARN", "user=pump failures=2"]);
    agent.process.said(&["WARN", "user=(unknown) failures=3"]);
    assert!(!agent.process.lines().join("\n").contains("S3cret"));
}

#[test]
fn a_right_login_forgives_nothing_and_the_guesses_of_others_do_not_shut_it_out() {
    let directory = scratch();
    let users = [user("pump", "s3cret"), user("mine", "known")];
    let agent = Agent::start_with(directory.path(), "", &asking("basic", &users));
    let url = format!("http://{}/a", agent.address);
    let post = |login: &str| curl(&["-d", "1", "-u", login, &url]).0;
    assert_eq!(post("pump:s3cret"), 200);
    for _ in 0..3 {
        // A login of one's own between two guesses buys no third one.
        assert_eq!([post("other:no"), post("other:no"), post("mine:known")], [401, 401, 200]);
    }
    assert_eq!(post("other:no"), 429);
    assert_eq!(post("pump:s3cret"), 200, "from the same address, where it was right before");
}

#[test]
fn the_status_over_mqtt_tells_of_failed_logins() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let mqtt = format!("[mqtt]\nurl = \"{}\"\nstatus_interval = \"1s\"\n", broker.url());
    let users = asking("basic", &["{ name = \"pump\", password = \"s3cret\" }".to_owned()]);
    let agent = Agent::start_with(directory.path(), &mqtt, &users);
    let told = || {
        broker.retained("holdfast/gw/status", &[]).unwrap_or_default()["servers"]["sensors"]["failed_logins"]
            .clone()
    };
    wait_for_value(&Value::from(0), told);
    assert_eq!(curl(&["-d", "1", "-u", "pump:no", &format!("http://{}/a", agent.address)]).0, 401);
    wait_for_value(&Value::from(1), told);
}

#[test]
fn many_who_log_in_at_once_are_all_let_in() {
    let directory = scratch();
    let users: Vec<String> = (0..3).map(|number| user(&format!("pump{number}"), "s3cret")).collect();
    let agent = Agent::start_with(directory.path(), "", &asking("basic", &users));
    let url = format!("http://{}/a", agent.address);
    let asked: Vec<_> = (0..24)
        .map(|number| {
            let login = format!("pump{}:s3cret", number % 3);
            let mut command = Command::new("curl");
            command.args([
                "--silent",
                "--max-time",
                "60",
                "--retry",
                "20",
                "--fail",
                "-d",
                "1",
                "-u",
                &login,
                &url,
            ]);
            command.stdout(Stdio::piped()).spawn().expect("curl is installed")
        })
        .collect();
    let ended: Vec<Output> =
        asked.into_iter().map(|child| child.wait_with_output().expect("it is our child")).collect();
    assert!(ended.iter().all(|output| output.status.success()), "{ended:?}");
    assert_eq!(turned_away(&agent, "failed_logins"), 0);
}

#[test]
fn a_plain_password_works_and_is_warned_of_and_one_in_a_file_is_read_again() {
    let directory = scratch();
    let file = directory.path().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let users = [
        "{ name = \"plain\", password = \"s3cret\" }".to_owned(),
        format!("{{ name = \"filed\", password = {{ file = {file:?} }} }}"),
    ];
    let agent = Agent::start_with(directory.path(), "", &asking("basic", &users));
    agent.process.said(&["WARN", "the password of plain stands in the configuration"]);
    let url = format!("http://{}/a", agent.address);
    assert_eq!(curl(&["-d", "1", "-u", "plain:s3cret", &url]).0, 200);
    assert_eq!(curl(&["-d", "1", "-u", "filed:first", &url]).0, 200);
    std::fs::write(&file, "second\n").unwrap();
    assert_eq!(curl(&["-d", "1", "-u", "filed:second", &url]).0, 200);
    let config = directory.path().join("holdfast.toml");
    let check = Agent::command().arg("check").arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
    let warning =
        "warning: server sensors: users.password of plain stands here for everybody who reads this file";
    assert!(
        said.contains(warning) && said.contains("password = \"***\"") && !said.contains("s3cret"),
        "{said}"
    );
}

/// Words of `id` about the user that runs the tests.
fn own(what: &str) -> String {
    let output = Command::new("id").arg(what).output().expect("id is there");
    String::from_utf8(output.stdout).expect("a name is text").trim().to_owned()
}

/// A stack of PAM in a folder, in which the password of every account is `s3cret`.
fn pam_stack(directory: &Path) -> String {
    let (script, folder) = (directory.join("verify"), directory.join("pam.d"));
    let text = "#!/bin/sh\npassword=$(tr -d '\\000')\n[ -n \"$PAM_USER\" ] && [ \"$password\" = s3cret ]\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let modules = format!(
        "auth required pam_exec.so quiet expose_authtok {}\naccount required pam_permit.so\n",
        script.display()
    );
    std::fs::write(folder.join("sensors"), modules).unwrap();
    format!("service = \"sensors\", confdir = {folder:?}")
}

#[test]
fn system_accounts_of_a_group_log_in_through_pam_and_others_do_not() {
    let directory = scratch();
    let (name, group) = (own("-un"), own("-gn"));
    let stack = pam_stack(directory.path());
    let users = "users = [{ name = \"pump\", password = \"own\" }]";
    let server = format!("auth = \"basic\"\n{users}\npam = {{ groups = [\"{group}\"], {stack} }}\n");
    let agent = Agent::start_with(directory.path(), "", &server);
    let url = format!("http://{}/a", agent.address);
    let post = |name: &str, password: &str| curl(&["-d", "1", "-u", &format!("{name}:{password}"), &url]).0;
    assert_eq!([post(&name, "s3cret"), post(&name, "no"), post("pump", "own")], [200, 401, 200]);
    assert_eq!(post("pump", "s3cret"), 401, "who is in the list is verified by the list");
    assert_eq!(post("nobody", "s3cret"), 401, "the account is in no such group");
    assert_eq!(post(&name, "s3cret"), 200);
    assert_eq!(speak(&format!("ws://{name}:s3cret@{}/pump?confirm=1", agent.address)), "stored 3");
}

#[test]
fn a_stack_of_pam_that_is_broken_is_told_in_the_log_and_lets_nobody_in() {
    let directory = scratch();
    let stack = pam_stack(directory.path());
    std::fs::write(directory.path().join("pam.d/sensors"), "auth required pam_of_nobody.so\n").unwrap();
    let server = format!("auth = \"url\"\npam = {{ groups = [\"{}\"], {stack} }}\n", own("-gn"));
    let agent = Agent::start_with(directory.path(), "", &server);
    let url = format!("http://{}/auth/{}/s3cret/a", agent.address, own("-un"));
    let (status, body) = curl(&["-d", "1", &url]);
    assert!(status == 401 && !body.contains("PAM"), "{body}");
    agent.process.said(&["WARN", "cannot verify a login source=server:sensors: PAM says: "]);
}

#[test]
fn a_machine_without_libpam_is_told_at_the_start() {
    let directory = scratch();
    let (data, libraries) = (directory.path().join("data"), directory.path().join("lib"));
    std::fs::create_dir(&libraries).unwrap();
    // Found before the system's own.
    std::fs::write(libraries.join("libpam.so.0"), "no library").unwrap();
    let text = format!(
        "[agent]\ndata_dir = {data:?}\n[[server]]\nid = \"sensors\"\nbind = [\"127.0.0.1:0\"]\nauth = \"basic\"\n\
         pam = {{ groups = [\"sensors\"] }}\n"
    );
    let file = directory.path().join("holdfast.toml");
    std::fs::write(&file, text).unwrap();
    let run = |command: &str| {
        let mut process = Agent::command();
        process.arg(command).arg("--config").arg(&file).env("LD_LIBRARY_PATH", &libraries);
        process.output().expect("the binary runs")
    };
    let started = run("run");
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    let words = "cannot load libpam.so.0, which system accounts need";
    assert!(!started.status.success() && said.contains(words) && said.contains("(server sensors)"), "{said}");
    let checked = String::from_utf8_lossy(&run("check").stderr).into_owned();
    assert!(checked.contains("warning: server sensors: pam: cannot load libpam.so.0"), "{checked}");
}
