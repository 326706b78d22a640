//! Input that must not get in, and configurations that must not run.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{Agent, Running, curl, python, scratch};

/// Last words of a process that cannot run.
fn failure(process: &mut Running) -> String {
    assert!(!process.exit().success(), "it ran");
    process.last_words().join("\n")
}

fn offend(agent: &Agent, arguments: &[&str]) -> String {
    let url = format!("ws://{}/pump?confirm=1", agent.address);
    let output = python("offender").args(["--url", &url]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn answer_of(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_message_over_the_limit_is_closed_with_1009() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "limits = { message_bytes = 1000 }");
    assert_eq!(offend(&agent, &["--text-bytes", "1001"]), "1009");
    assert_eq!(offend(&agent, &["--text-bytes", "1000"]), "answered");
    agent.wait_for_fact("/buffer/messages", 1);
}

#[test]
fn a_text_frame_that_is_not_utf_8_is_closed_with_1007() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), "");
    assert_eq!(offend(&agent, &["--invalid-text"]), "1007");
    agent.wait_for_fact("/buffer/messages", 0);
}

#[test]
fn a_body_over_the_limit_is_answered_with_413_and_bad_lines_with_400() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "limits = { message_bytes = 1000 }");
    let url = format!("http://{}/a", agent.address);
    assert_eq!(curl(&["-d", &"x".repeat(1001), &url]).0, 413);
    let lines = "{\"n\":1}\n{not json\n";
    let (status, body) = curl(&["-H", "content-type: application/x-ndjson", "--data-binary", lines, &url]);
    assert_eq!(status, 400, "{body}");
    agent.wait_for_fact("/buffer/messages", 0);
}

#[test]
fn a_handshake_that_is_not_finished_in_time_is_cut() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "limits = { handshake_timeout = \"200ms\" }");
    let mut stream = TcpStream::connect(&agent.address).unwrap();
    stream.write_all(b"GET /pump HTTP/1.1\r\nupgrade: webso").unwrap();
    let answer = answer_of(stream);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("limits.handshake_timeout"), "{answer}");
    agent.post("/a", "others come in");
}

#[test]
fn curl_is_told_what_is_wrong_with_a_request_that_cannot_be_read() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), "");
    let url = format!("http://{}/a", agent.address);
    let (status, error) = curl(&["-X", "PO ST", &url]);
    assert!(status == 400 && error.contains("in `PO ST /a HTTP/1.1`"), "{error}");
    let (status, error) = curl(&["-H", &format!("x: {}", "c".repeat(20_000)), &url]);
    assert!(status == 431 && error.contains("larger than 16384 bytes"), "{error}");
    let (status, error) = curl(&[&format!("{url}?{}", "q".repeat(20_000))]);
    assert!(status == 414 && error.contains("the body of a POST"), "{error}");
    let secure = url.replace("http:", "https:");
    assert_eq!(curl(&["-k", &secure]).0, 0, "TLS is not spoken there");
    agent.process.said(&["a caller speaks TLS", "[[server]] has no tls"]);
}

#[test]
fn one_connection_too_many_is_answered_with_503_until_another_one_goes() {
    let directory = scratch();
    let agent =
        Agent::start_with(directory.path(), "", "limits = { connections = 2, connections_per_ip = 0 }");
    let first = TcpStream::connect(&agent.address).unwrap();
    let second = TcpStream::connect(&agent.address).unwrap();
    let answer = answer_of(TcpStream::connect(&agent.address).unwrap());
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    drop((first, second));
    let url = format!("http://{}/a", agent.address);
    crate::harness::wait_until("there is room again", || curl(&["-d", "1", &url]).0 == 200);
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_column() {
    let directory = scratch();
    let file = directory.path().join("holdfast.toml");
    std::fs::write(&file, "[agent]\nid = \"gw\"\n\n[[client]]\n  ulr = \"ws://127.0.0.1/\"\n").unwrap();
    let words = failure(&mut Agent::launch(directory.path()));
    assert!(words.contains(&format!("{}:5:3: client.ulr: unknown key", file.display())), "{words}");
    let check = Agent::command().arg("check").arg("--config").arg(&file).output().unwrap();
    let words = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
    assert!(!check.status.success() && words.contains("holdfast.toml:5:3: client.ulr"), "{words}");
}

#[test]
fn a_check_shows_what_is_in_force_and_hides_what_is_secret() {
    let directory = scratch();
    let file = directory.path().join("holdfast.toml");
    let text = "[[client]]\nurl = \"wss://hub.example/\"\nauth = { bearer = \"s3cret\" }\n";
    std::fs::write(&file, text).unwrap();
    let check = Agent::command().arg("check").arg("--config").arg(&file).output().unwrap();
    let words = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success() && words.contains("wss://hub.example/"), "{check:?}");
    assert!(!words.contains("s3cret"), "{words}");
}

#[test]
fn a_data_directory_that_cannot_be_made_ends_the_start_with_its_name() {
    let directory = scratch();
    let data = directory.path().join("file/data");
    std::fs::write(directory.path().join("file"), "in the way").unwrap();
    let text = format!("[agent]\ndata_dir = {data:?}\n[[server]]\nbind = [\"127.0.0.1:0\"]\n");
    std::fs::write(directory.path().join("holdfast.toml"), text).unwrap();
    let words = failure(&mut Agent::launch(directory.path()));
    assert!(words.contains(data.to_str().unwrap()) && !words.contains("panicked"), "{words}");
}

#[test]
fn a_second_agent_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), "");
    let words = failure(&mut Agent::launch(directory.path()));
    assert!(words.contains("another agent"), "{words}");
    agent.post("/a", "still here");
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_its_name() {
    let (one, other) = (scratch(), scratch());
    let agent = Agent::start(one.path(), "");
    let text = format!(
        "[agent]\ndata_dir = {:?}\n[[server]]\nbind = [\"{}\"]\n",
        other.path().join("data"),
        agent.address
    );
    std::fs::write(other.path().join("holdfast.toml"), text).unwrap();
    let words = failure(&mut Agent::launch(other.path()));
    assert!(words.contains(&agent.address) && words.contains("in use"), "{words}");
}
