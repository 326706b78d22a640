//! Routes: what they take, and what they answer.

use serde_json::Value;

use crate::harness::{Agent, Peer, Running, curl, python, scratch, uplink, wait_for};

const ROUTES: &str = r#"
unmatched = "refuse"
[[server.route]]
path = "/lines/{line}/{device}"
topic = "lines/{line}"
query = [ { name = "unit", required = true }, { name = "tag", repeating = true }, { name = "n", type = "number" } ]
header = [ { name = "X-Batch", type = "number" }, { name = "x-on", type = "boolean" } ]
[[server.route]]
path = "/ask/{line}"
mode = "connection"
reply = { last = "lines/{line}" }
[[server.route]]
path = "/hello/{device}"
mode = "connection"
reply = { text = '{"hello":true}' }
"#;

fn start(directory: &std::path::Path, more: &str) -> Agent {
    Agent::start_of(directory, "id = \"gw\"\n", &format!("{ROUTES}{more}"))
}

/// Lines that a WebSocket client of Python is told.
fn reader(agent: &Agent, path: &str, arguments: &[&str]) -> Running {
    let url = format!("ws://{}{path}", agent.address);
    Running::start("reader", python("reader").args(["--url", &url]).args(arguments))
}

#[test]
fn a_wrong_parameter_is_answered_with_400_and_its_name_also_before_a_web_socket() {
    let directory = scratch();
    let agent = start(directory.path(), "");
    let url = |path: &str| format!("http://{}{path}", agent.address);
    let cases: [(&str, &[&str], &str); 5] = [
        ("/lines/3/pump", &[], "unit"),
        ("/lines/3/pump?unit=C&unit=F", &[], "unit"),
        ("/lines/3/pump?unit=C&n=12x", &[], "n"),
        ("/lines/3/pump?unit=C", &["-H", "x-batch: seven"], "x-batch"),
        ("/lines/3/pump?unit=C", &["-H", "X-ON: maybe"], "x-on"),
    ];
    for (path, fields, name) in cases {
        let (status, body) = curl(&[&["-d", "1", &url(path)], fields].concat());
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, body["parameter"].as_str()), (400, Some(name)), "{path}: {body}");
        assert!(body["error"].as_str().unwrap().contains(name), "{body}");
    }
    reader(&agent, "/lines/3/pump", &[]).said(&["refused 400", "the query parameter unit is missing"]);
    let odd = ["--header", "x-batch=x"];
    reader(&agent, "/lines/3/pump?unit=C", &odd).said(&["refused 400", "the header x-batch is not a number"]);
    assert_eq!(
        curl(&["-d", "1", &url("/elsewhere")]),
        (404, r#"{"error":"no route matches /elsewhere"}"#.to_owned())
    );
    reader(&agent, "/elsewhere", &[]).said(&["refused 404", "no route matches /elsewhere"]);
    agent.wait_for_fact("/buffer/accepted", 0);
}

#[test]
fn all_parameters_reach_the_peer_as_attributes() {
    let directory = scratch();
    let peer = Peer::receiver(&directory.path().join("got"), &[]);
    let link = uplink(&peer.url(), "framing = \"envelope\"\nconfirm = \"ack\"");
    let agent = start(directory.path(), &link);
    let url = format!("http://{}/lines/3/pump?unit=C&tag=a&tag=b&n=1.5&other=x", agent.address);
    assert_eq!(curl(&["-d", "21", "-H", "X-Batch: 7", "-H", "x-on: 1", "-H", "x-other: y", &url]).0, 200);
    let line =
        wait_for("the message arrives", || peer.lines().into_iter().find(|line| line.contains("lines/3")));
    let message: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(message["device"], "pump");
    let attributes = r#"{"device":"pump","line":"3","n":"1.5","other":"x","tag":["a","b"],"unit":"C","x-batch":"7","x-on":"true"}"#;
    assert_eq!(message["attributes"].to_string(), attributes);
}

#[test]
fn a_connection_that_is_the_message_gets_one_reply_and_closes() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let agent = start(directory.path(), &uplink(&peer.url(), ""));
    let url = |path: &str| format!("http://{}{path}", agent.address);
    let hello = r#"{"hello":true}"#;
    assert_eq!(curl(&[&url("/hello/pump?x=1")]), (200, hello.to_owned()));
    let mut socket = reader(&agent, "/hello/valve?x=2", &[]);
    socket.said(&["closed 1000"]);
    assert_eq!(socket.lines()[..2], ["open".to_owned(), hello.to_owned()]);
    assert!(socket.exit().success());
    let expected = [r#"{"device":"pump","x":"1"}"#, r#"{"device":"valve","x":"2"}"#];
    wait_for("both are delivered", || (peer.lines() == expected).then_some(()));
    assert_eq!(curl(&["-d", "body", &url("/hello/pump")]).0, 400, "it takes no body");

    let (status, body) = curl(&[&url("/ask/3")]);
    assert_eq!((status, body.contains("nothing was heard of lines/3")), (404, true), "{body}");
    agent.post("/lines/3/pump?unit=C", "{\"set\":21}");
    assert_eq!(curl(&[&url("/ask/3")]), (200, "{\"set\":21}".to_owned()));
    reader(&agent, "/ask/3", &[]).said(&["{\"set\":21}"]);
    reader(&agent, "/ask/4", &[]).said(&["nothing was heard of lines/4"]);
}

#[test]
fn a_message_that_breaks_the_schema_is_refused_with_the_place_and_counted() {
    let directory = scratch();
    let schema = r#"{ "$schema": "http://json-schema.org/draft-07/schema#", "items": [{ "type": "integer" }], "additionalItems": false }"#;
    std::fs::write(directory.path().join("pair.schema.json"), schema).unwrap();
    let route = "[[server.route]]\npath = \"/pairs\"\nschema = \"pair.schema.json\"\n";
    let agent = Agent::start_of(directory.path(), "id = \"gw\"\n", route);
    let url = format!("http://{}/pairs", agent.address);
    assert_eq!(curl(&["-d", "[1]", &url]).0, 200);
    let (status, body) = curl(&["-d", "[1, 2]", &url]);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["pointer"], &body["error"]), (400, &"/1".into(), &"/1 is not allowed".into()));
    let socket = reader(&agent, "/pairs?confirm=1", &["--send", "[\"x\"]"]);
    socket.said(&["\"pointer\":\"/0\"", "\"refused\":1"]);
    agent.wait_for_fact("/violations/0/count", 2);
    let (_, metrics) = curl(&[&format!("http://{}/metrics", agent.address)]);
    let line = "holdfast_schema_violations_total{server=\"sensors\",route=\"/pairs\"} 2";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    agent.wait_for_fact("/buffer/accepted", 1);
}

#[test]
fn a_reload_takes_over_a_schema_that_was_edited_and_no_broken_one() {
    let directory = scratch();
    let file = directory.path().join("s.json");
    std::fs::write(&file, r#"{ "type": "number" }"#).unwrap();
    let route = "[[server.route]]\npath = \"/t\"\nschema = \"s.json\"\n";
    let agent = Agent::start_of(directory.path(), "id = \"gw\"\n", route);
    let post = || curl(&["-d", "\"warm\"", &format!("http://{}/t", agent.address)]).0;
    assert_eq!(post(), 400);
    std::fs::write(&file, r#"{ "type": "text" }"#).unwrap();
    let refused = agent.ask(&["reload"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("s.json#/type: must be a type"), "{words}");
    assert_eq!(post(), 400, "the one in force stays");
    std::fs::write(&file, r#"{ "type": "string" }"#).unwrap();
    assert!(agent.ask(&["reload"]).status.success());
    wait_for("the new schema is in force", || (post() == 200).then_some(()));
}
