//! Peers that keep to RFC 6455 and are odd all the same: what they say beside the point, pongs that echo nothing, small frames.

use std::fs::File;

use serde_json::Value;

use crate::harness::{Agent, Peer, free_port, numbered, scratch, uplink, wait_for_value, wait_until};

#[test]
fn what_a_peer_says_beside_the_point_stops_nothing_and_is_counted() {
    let directory = scratch();
    let say = ["--say-bytes", "3000000", "--broken-text"];
    for (name, more, dropped) in [("unwanted", "", 0), ("wanted", "inbound = { topic = \"in\" }", 2)] {
        let here = directory.path().join(name);
        std::fs::create_dir(&here).unwrap();
        let peer = Peer::python("odd_server", &here.join("got"), &say);
        let agent = Agent::start(&here, &uplink(&peer.url(), more));
        agent.wait_for_fact("/links/cloud/received", 2);
        let payloads = numbered(20);
        agent.post_all("/a", &payloads);
        agent.wait_until_delivered();
        wait_for_value(&payloads, || peer.lines());
        assert_eq!(agent.fact("/links/cloud/reconnects"), 0, "{name}");
        assert_eq!(agent.fact("/links/cloud/received_dropped"), dropped, "{name}");
    }
}

#[test]
fn a_peer_whose_pongs_echo_nothing_is_told_and_gets_nothing_twice() {
    let directory = scratch();
    let echoes = directory.path().join("echoes");
    let until = echoes.to_str().unwrap();
    let peer = Peer::python("odd_server", &directory.path().join("got"), &["--no-echo", until]);
    let tables = uplink(
        &peer.url(),
        "ping = { interval = \"100ms\", timeout = \"300ms\" }\nconfirm_timeout = \"500ms\"",
    );
    let tested = directory.path().join("test.toml");
    std::fs::write(&tested, &tables).unwrap();
    let tested = Agent::command().args(["test", "--config"]).arg(&tested).output().unwrap();
    let words = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(!tested.status.success() && words.contains("-> this peer does not echo pings"), "{words}");

    let agent = Agent::start(directory.path(), &tables);
    agent.wait_until_up();
    agent.post("/a", "first");
    agent.process.said(&["WARN", "this peer does not echo pings", "use \"ack\""]);
    let held_back = agent.fact("/links/cloud/held_back");
    assert!(held_back.as_str().is_some_and(|why| why.contains("does not echo")), "{held_back}");
    agent.post("/a", "second");
    // Many pings later everything is as it was.
    let since = || agent.status()["links"]["cloud"]["since"].clone();
    let (came_up, began) = (since(), agent.fact("/uptime_s").as_u64().unwrap());
    wait_until("many pings have passed", || agent.fact("/uptime_s").as_u64().unwrap() > began + 2);
    assert_eq!((since(), peer.lines()), (came_up, vec!["first".to_owned()]));
    assert_eq!(agent.fact("/links/cloud/unconfirmed"), 2);
    File::create(&echoes).unwrap();
    agent.wait_until_delivered();
    assert_eq!(peer.lines(), ["first", "second"]);
    assert_eq!(
        (agent.fact("/links/cloud/held_back"), agent.fact("/links/cloud/reconnects")),
        (Value::Null, 0.into())
    );
    assert_eq!(agent.process.count(&["does not echo"]), 1);
}

#[test]
fn the_frame_limit_of_a_peer_is_learnt_from_its_closing_or_set() {
    let directory = scratch();
    let payloads: Vec<String> =
        (0..400).map(|n| format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(150))).collect();
    for (name, more) in [("learnt", ""), ("set", "frame_bytes = \"8000B\"")] {
        let here = directory.path().join(name);
        std::fs::create_dir(&here).unwrap();
        let port = free_port();
        let more = format!("framing = \"envelope\"\n{more}");
        let mut agent = Agent::start(&here, &uplink(&format!("ws://127.0.0.1:{port}/"), &more));
        agent.post_lines("/a", &payloads);
        let port = port.to_string();
        let peer = Peer::python("echo_store", &here.join("got"), &["--port", &port, "--max-size", "8192"]);
        agent.wait_until_delivered();
        let numbers: Vec<u64> = (peer.lines().iter())
            .map(|line| serde_json::from_str::<Value>(line).expect("it is JSON"))
            .flat_map(|envelope| envelope["messages"].as_array().cloned().unwrap_or_default())
            .filter_map(|message| message["data"]["n"].as_u64())
            .collect();
        assert!((0..400).all(|n| numbers.contains(&n)), "{name}");
        let closes = agent.fact("/links/cloud/reconnects").as_u64().unwrap();
        let learnt = agent.fact("/links/cloud/frame_bytes").as_u64();
        match name {
            "set" => assert_eq!((closes, learnt), (0, None)),
            _ => assert!(
                (1..=6).contains(&closes) && learnt.is_some_and(|bytes| bytes <= 8192),
                "{closes} {learnt:?}"
            ),
        }
        // It is kept over connections.
        drop(peer);
        agent.wait_for_fact("/links/cloud/state", "down");
        agent.post_lines("/a", &payloads);
        let _peer = Peer::python("echo_store", &here.join("more"), &["--port", &port, "--max-size", "8192"]);
        agent.wait_until_delivered();
        assert_eq!(agent.fact("/links/cloud/reconnects"), closes + 1, "{name}");
        // And over a crash.
        agent.kill();
        agent.start_again();
        assert_eq!(agent.fact("/links/cloud/frame_bytes").as_u64(), learnt, "{name}");
        agent.post_lines("/a", &payloads);
        agent.wait_until_delivered();
        assert_eq!((agent.fact("/links/cloud/reconnects"), agent.fact("/buffer/dead")), (0.into(), 0.into()));
    }
}
