//! Access to a server: who may come in, and how much.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::auth::turned_away;
use crate::harness::{Agent, Peer, Running, curl, free_port, python, scratch, wait_for, wait_until};

const USERS: &str = "auth = \"basic\"\nusers = [{ name = \"pump\", password = \"a\" }, { name = \"guest\", password = \"b\" }]\n";

/// Outcome of a flood of messages.
fn flood(url: &str, count: usize) -> Value {
    let output =
        python("flood").args(["--url", url, "--count", &count.to_string()]).output().expect("python runs");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn count(totals: &Value, name: &str) -> u64 {
    totals[name].as_u64().unwrap_or_else(|| panic!("no {name} in {totals}"))
}

/// The number of messages that the agent has taken.
fn accepted(agent: &Agent) -> Value {
    let asked = agent.ask(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&asked.stdout).unwrap_or_else(|_| panic!("{asked:?}"));
    status["buffer"]["accepted"].clone()
}

/// Whether a connection gets nothing but its end.
fn is_hung_up_on(address: &str) -> bool {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // Both fail if the end came first.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer.is_empty()
}

#[test]
fn a_network_that_may_not_come_in_is_hung_up_on_and_counted() {
    let directory = scratch();
    let other = "[[server]]\nid = \"other\"\nbind = [\"[::1]:0\", \"127.0.0.1:0\"]\nallow = [\"::1\"]\n";
    let agent =
        Agent::start_with(directory.path(), other, "deny = [\"127.0.0.0/8\"]\nallow = [\"127.0.0.1\"]\n");
    assert!(is_hung_up_on(&agent.address));
    assert_eq!(turned_away(&agent, "denied_networks"), 1);
    let urls = || -> Vec<String> {
        let lines = agent.process.lines();
        lines
            .iter()
            .filter_map(|line| Some(line.split_once("server=other url=http://")?.1.to_owned()))
            .collect()
    };
    wait_until("both addresses are served", || urls().len() == 2);
    let [six, four] = &urls()[..] else { panic!("{:?}", urls()) };
    assert_eq!(curl(&["-g", "-d", "1", &format!("http://{six}/a")]).0, 200);
    assert!(is_hung_up_on(four));
}

#[test]
fn an_account_that_may_not_come_in_gets_403() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", &format!("{USERS}deny_users = [\"guest\"]\n"));
    let url = format!("http://{}/a", agent.address);
    assert_eq!(curl(&["-d", "1", "-u", "pump:a", &url]).0, 200);
    assert_eq!(curl(&["-d", "1", "-u", "guest:b", &url]).0, 403);
    assert_eq!(curl(&["-d", "1", "-u", "guest:a", &url]).0, 401, "only who has logged in learns it");
    assert_eq!(turned_away(&agent, "denied_users"), 1);
}

#[test]
fn requests_over_the_rate_of_an_address_get_429_and_nothing_of_them_is_taken() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "limits = { rate_per_ip = \"1/h burst 4\" }\n");
    let url = format!("http://{}/a", agent.address);
    let answers: Vec<u16> = (0..6).map(|_| curl(&["-d", "1", &url]).0).collect();
    assert_eq!(answers, [200, 200, 200, 200, 429, 429]);
    let (_, answer) = curl(&["-i", "-d", "1", &url]);
    let retry =
        answer.lines().find_map(|line| line.strip_prefix("retry-after: ")?.trim().parse::<u64>().ok());
    assert!(retry.is_some_and(|retry| retry <= 3600), "{answer}");
    assert_eq!((accepted(&agent), turned_away(&agent, "throttled")), (json!(4), 3));
    assert_eq!(
        curl(&[&format!("http://{}/healthz", agent.address)]).0,
        200,
        "whoever watches it is not throttled"
    );
}

#[test]
fn a_batch_counts_by_its_lines() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "limits = { rate_per_ip = \"1/h burst 4\" }\n");
    let lines = ["-H", "content-type: application/x-ndjson", "--data-binary", "1\n2\n3\n4\n"];
    let url = format!("http://{}/a", agent.address);
    let post = || curl(&[&lines[..], &[&url]].concat()).0;
    assert_eq!([post(), post()], [200, 429]);
    assert_eq!(accepted(&agent), json!(4));
}

#[test]
fn each_user_has_a_rate_over_all_connections() {
    let directory = scratch();
    let server = format!("{USERS}limits = {{ rate_per_user = \"1/h burst 2\" }}\n");
    let agent = Agent::start_with(directory.path(), "", &server);
    let url = format!("http://{}/a", agent.address);
    let answers = ["pump:a", "pump:a", "pump:a", "guest:b", "guest:b", "guest:b"];
    assert_eq!(answers.map(|login| curl(&["-d", "1", "-u", login, &url]).0), [200, 200, 429, 200, 200, 429]);
}

#[test]
fn a_web_socket_over_its_rate_is_told_what_was_refused_and_then_closed_with_1008() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "limits = { rate_per_client = \"5/s burst 20\" }\n");
    let url = |query: &str| format!("ws://{}/pump{query}", agent.address);
    let totals = flood(&url("?confirm=1"), 1_000_000);
    assert_eq!(totals["code"], 1008, "{totals}");
    assert!(totals["reason"].as_str().unwrap().contains("too many messages"), "{totals}");
    assert!(count(&totals, "warnings") >= 10 && count(&totals, "refused") > 0, "{totals}");
    // One of the burst was the handshake.
    assert!(count(&totals, "stored") >= 19, "{totals}");
    let taken = accepted(&agent).as_u64().unwrap();
    assert!(taken >= count(&totals, "stored") && taken < count(&totals, "sent"), "{taken} of {totals}");
    let silent = flood(&url(""), 1_000_000);
    assert!(silent["code"] == 1008 && count(&silent, "warnings") >= 10, "{silent}");
    assert!(turned_away(&agent, "throttled") >= count(&totals, "refused"));
}

#[test]
fn a_web_socket_that_was_too_fast_once_is_answered_for_each_message_and_stays() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "limits = { rate_per_client = \"1/s burst 11\" }\n");
    let totals = flood(&format!("ws://{}/pump?confirm=1", agent.address), 40);
    assert_eq!(
        (count(&totals, "stored") + count(&totals, "refused"), &totals["code"]),
        (40, &Value::Null),
        "{totals}"
    );
    assert!(count(&totals, "refused") > 0 && count(&totals, "stored") >= 10, "{totals}");
    assert_eq!(accepted(&agent), totals["stored"]);
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "limits = { connections_per_ip = 2 }\n");
    let held = [(); 2].map(|()| TcpStream::connect(&agent.address).unwrap());
    let url = format!("http://{}/a", agent.address);
    let (status, body) = curl(&["-d", "1", &url]);
    assert!(status == 503 && body.contains("of this address"), "{body}");
    drop(held);
    wait_until("there is room again", || curl(&["-d", "1", &url]).0 == 200);
    assert!(turned_away(&agent, "denied_connections") >= 1);
}

#[test]
fn one_address_takes_half_of_the_places_and_another_one_still_comes_in() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "limits = { connections = 8 }\n");
    let _held = [(); 8].map(|()| TcpStream::connect(&agent.address).unwrap());
    let url = format!("http://{}/a", agent.address);
    let (status, body) = curl(&["-d", "1", &url]);
    assert!(status == 503 && body.contains("limits.connections_per_ip"), "{body}");
    let (status, body) = curl(&["--interface", "127.0.0.2", "-d", "1", &url]);
    assert!(status == 200 && body.contains("stored"), "{body}");
}

#[test]
fn a_unix_socket_takes_messages_and_is_gone_with_the_agent() {
    let directory = scratch();
    let socket = directory.path().join("sensors.sock");
    let other = format!(
        "[[server]]\nid = \"other\"\nbind = [\"unix:{}\"]\nallow = [\"10.0.0.0/8\"]\n",
        socket.display()
    );
    let mut agent = Agent::start(directory.path(), &other);
    agent.process.said(&[&format!("listening server=other url=unix:{}", socket.display())]);
    let post = || curl(&["--unix-socket", socket.to_str().unwrap(), "-d", "1", "http://x/a"]).0;
    assert_eq!(post(), 200);
    agent.kill();
    assert!(socket.exists(), "nobody could remove it");
    agent.start_again();
    agent.process.said(&["listening server=other"]);
    assert_eq!(post(), 200, "a stale socket is replaced");
    agent.configure(&format!("{other}origins = [\"https://panel.example\"]\n"));
    let reloaded = agent.ask(&["reload"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    wait_until("the next life serves", || agent.process.count(&["listening server=other"]) == 2);
    assert_eq!(post(), 200, "the socket outlives a reload");
    agent.configure("");
    assert!(agent.ask(&["reload"]).status.success());
    wait_until("it is removed with its table", || !socket.exists());
    agent.configure(&other);
    assert!(agent.ask(&["reload"]).status.success());
    wait_until("it is there again", || socket.exists());
    agent.terminate();
    assert!(!socket.exists());
}

const PANEL: &str = "http://panel.example";

#[test]
fn a_page_of_another_origin_is_refused_and_that_of_a_known_one_is_let_in() {
    let directory = scratch();
    let server = format!("{USERS}origins = [\"{PANEL}\"]\n");
    let agent = Agent::start_with(directory.path(), "", &server);
    let url = format!("http://{}/a", agent.address);
    let post =
        |origin: &str| curl(&["-i", "-d", "1", "-u", "pump:a", "-H", &format!("origin: {origin}"), &url]);
    let (status, answer) = post(PANEL);
    assert!(status == 200 && answer.contains(&format!("access-control-allow-origin: {PANEL}")), "{answer}");
    assert_eq!(post("http://evil.example").0, 403);
    assert_eq!(post("null").0, 403);
    assert_eq!(post(&format!("http://{}", agent.address)).0, 200, "a page of its own");
    let speak = |origin: &str| {
        let url = format!("ws://pump:a@{}/pump?confirm=1", agent.address);
        let output =
            python("speaker").args(["--url", &url, "--count", "1", "--origin", origin]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(speak(PANEL), "stored 1");
    assert_eq!(speak("http://evil.example"), "refused 403");
    assert_eq!(turned_away(&agent, "denied_origins"), 3);
}

#[test]
fn a_preflight_is_answered_without_a_login_for_a_known_origin_only() {
    let directory = scratch();
    let server = format!("{USERS}origins = [\"{PANEL}\"]\n");
    let agent = Agent::start_with(directory.path(), "", &server);
    let url = format!("http://{}/a", agent.address);
    let ask = |origin: &str| {
        let headers =
            ["access-control-request-method: POST", "access-control-request-headers: authorization, x-unit"];
        let origin = format!("origin: {origin}");
        let fields = headers.into_iter().chain([origin.as_str()]).flat_map(|field| ["-H", field]);
        curl(&["-i", "-X", "OPTIONS"].into_iter().chain(fields).chain([url.as_str()]).collect::<Vec<_>>())
    };
    let (status, answer) = ask(PANEL);
    assert_eq!(status, 204, "{answer}");
    for header in [
        "access-control-allow-origin: http://panel.example",
        "access-control-allow-methods: GET, HEAD, POST, PUT, OPTIONS",
        "access-control-allow-headers: authorization, x-unit",
        "vary: origin",
    ] {
        assert!(answer.contains(header), "no {header} in {answer}");
    }
    assert_eq!(ask("http://evil.example").0, 403);
    assert_eq!(curl(&["-X", "OPTIONS", &url]).0, 401, "who is no browser's preflight needs a login");
}

/// Report of the script of a page of this server from a browser.
fn browse(directory: &Path, panel: &Peer) -> Value {
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ]);
    command.arg(format!("--user-data-dir={}", directory.join(format!("profile-{}", panel.port)).display()));
    command.arg("--remote-debugging-port=0").arg(format!("http://127.0.0.1:{}/", panel.port));
    let _browser = Running::start("chromium", &mut command);
    let report = wait_for("the page reports", || panel.lines().into_iter().next());
    serde_json::from_str(&report).expect("a report is JSON")
}

#[test]
fn a_page_in_a_browser_comes_in_from_a_known_origin_and_from_no_other() {
    let directory = scratch();
    let known = free_port();
    let server = format!("{USERS}origins = [\"http://127.0.0.1:{known}\"]\n");
    let agent = Agent::start_with(directory.path(), "", &server);
    let panel = |port: u16, name: &str| {
        let arguments = ["--port", &port.to_string(), "--agent", &agent.address];
        Peer::python("panel", &directory.path().join(name), &arguments)
    };
    let report = browse(directory.path(), &panel(known, "known"));
    assert_eq!(report, json!({ "post": "200 stored", "websocket": "stored" }));
    let report = browse(directory.path(), &panel(free_port(), "other"));
    assert_eq!(report, json!({ "post": "TypeError", "websocket": "closed 1006" }));
    assert_eq!(accepted(&agent), json!(2));
}
