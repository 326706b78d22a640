//! Many links at once: none starves another, and none is mistaken for a failing disk.

use std::path::Path;

use crate::harness::{Agent, Peer, WebSocketSender, free_port, lines_of, scratch, wait_until};

const LINKS: usize = 100;
const HELD: usize = 300;

fn links(port: u16) -> String {
    let link = |number| {
        format!(
            "[[client]]\nid = \"c{number}\"\nurl = \"ws://127.0.0.1:{port}/c{number}\"\n\
             reconnect = {{ min = \"200ms\", max = \"1s\" }}\n"
        )
    };
    (0..LINKS).map(link).collect()
}

/// Lines that one link has delivered, which are written when its connection ends.
fn got(directory: &Path, link: usize) -> Vec<String> {
    lines_of(&directory.join(format!("c{link}")))
}

#[test]
fn a_hundred_links_drain_what_was_held_in_order_while_a_sensor_is_served() {
    let directory = scratch();
    let port = free_port();
    let mut agent = Agent::start(directory.path(), &links(port));
    let held: Vec<String> = (0..HELD).map(|number| number.to_string()).collect();
    agent.post_lines("/telemetry", &held);
    let sender = WebSocketSender::start(directory.path(), "live-", 5);
    sender.aim(&format!("ws://{}/live?confirm=1", agent.address));
    let files = directory.path().join("got");
    let mut peer = Peer::python("crowd_server", &files, &["--port", &port.to_string()]);
    wait_until("every link has drained", || {
        let links = agent.fact("/links");
        let confirmed =
            |link: &serde_json::Value| link["confirmed"].as_u64().is_some_and(|n| n >= HELD as u64);
        links.as_object().is_some_and(|links| links.len() == LINKS && links.values().all(confirmed))
    });
    let stored = sender.end();
    assert!(!stored.is_empty(), "the sensor was starved");
    let warned = agent.process.count(&["WARN"]);
    assert_eq!(warned, agent.process.count(&["WARN", "link down"]), "the store was called failing");
    assert_eq!(agent.fact("/buffer/refused"), 0);
    agent.terminate();
    peer.process.terminate();
    for link in 0..LINKS {
        let got = got(&files, link);
        assert_eq!(got[..HELD], held, "link {link}");
        let live: Vec<String> = (0..got.len() - HELD).map(|number| format!("live-{number}")).collect();
        assert_eq!(got[HELD..], live, "link {link}");
    }
}
