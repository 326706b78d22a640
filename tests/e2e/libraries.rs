//! Sensors and peers written with libraries that are no part of this project, as people use them.

use serde_json::{Value, json};

use crate::harness::{Agent, Peer, numbered, python, scratch, uplink, wait_for_value};

const COUNT: usize = 20;

#[test]
fn sensors_of_stock_libraries_get_in_by_their_default_settings_and_are_answered() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    let port = agent.address.rsplit(':').next().unwrap();
    let mut expected = Vec::new();
    for (library, subprotocol) in
        [("websocket-client", None), ("websocket-client", Some("ocpp1.6")), ("aiohttp", Some("ocpp1.6"))]
    {
        let url = format!("ws://localhost:{port}/pump/pressure?confirm=1");
        let mut sensor = python("library_sensor");
        sensor.args(["--library", library, "--url", &url, "--count", &COUNT.to_string()]);
        sensor.args(subprotocol.map(|name| ["--subprotocol", name]).into_iter().flatten());
        let output = sensor.output().unwrap();
        assert!(output.status.success(), "{library}: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = said.lines();
        let selected = format!("subprotocol {}", subprotocol.unwrap_or("None"));
        assert_eq!(lines.next(), Some(selected.as_str()), "{library}");
        let answers: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        let posted = usize::from(library == "aiohttp");
        assert_eq!(answers.len(), COUNT + posted, "{library}");
        assert!(answers.iter().all(|answer| answer["stored"].is_u64()), "{library}: {said}");
        expected.extend(numbered(COUNT));
        expected.extend((0..posted).map(|_| "by POST".to_owned()));
    }
    agent.wait_until_delivered();
    wait_for_value(&expected, || peer.lines());
}

#[test]
fn a_server_of_aiohttp_gets_all_over_websocket_and_by_post_in_order() {
    for path in ["", "/in"] {
        let directory = scratch();
        let peer = Peer::python("library_server", &directory.path().join("got"), &[]);
        let url = match path {
            "" => peer.url(),
            path => format!("http://127.0.0.1:{}{path}", peer.port),
        };
        let agent = Agent::start(directory.path(), &uplink(&url, ""));
        agent.post_all("/pump/pressure", &numbered(200));
        agent.wait_until_delivered();
        let expected: Vec<Value> = numbered(200).into_iter().map(Value::from).collect();
        wait_for_value(&expected, || {
            let data = |line: &String| match serde_json::from_str::<Value>(line) {
                Ok(mut envelope) => envelope["data"].take(),
                Err(_) => json!(line),
            };
            peer.lines().iter().map(data).collect()
        });
    }
}
