//! The threads of an agent, whatever happens outside.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Agent, Http, NameServer, Peer, Running, scratch, wait_for, wait_until};

const LINKS: usize = 20;
/// Threads by the beginnings of their names, and how many there may be. The main thread bears the name of the program.
const THREADS: [(&str, usize); 8] = [
    ("holdfast", 1),
    ("async-io", 1),
    ("store", 1),
    ("sync", 1),
    ("sled-io-", 7),
    ("resolver", 2),
    ("login", 1),
    ("files", 1),
];

/// Names of all threads. One that has just begun bears its parent's name until it takes its own, which is waited for.
fn threads_of(id: u32) -> Vec<String> {
    wait_for("every thread has a name of its own", || {
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).expect("the agent runs");
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        let names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
        (names.iter().filter(|name| *name == "holdfast").count() == 1).then_some(names)
    })
}

fn check_threads(id: u32) {
    let threads = threads_of(id);
    let known: usize = THREADS
        .iter()
        .map(|(start, most)| {
            let count = threads.iter().filter(|thread| thread.starts_with(start)).count();
            assert!(count <= *most, "{threads:?}");
            count
        })
        .sum();
    assert_eq!(known, threads.len(), "{threads:?}");
}

fn configuration(here: &Path, port: u16) -> String {
    let mut text = format!(
        "[agent]\nid = \"gw\"\ndata_dir = {:?}\n[buffer]\ncommit_after = \"10ms\"\n\
         [[server]]\nid = \"sensors\"\nbind = [\"127.0.0.1:0\"]\nhttp = {{ files = {:?} }}\n\
         [[server]]\nid = \"locked\"\nbind = [\"127.0.0.1:0\"]\nauth = \"basic\"\n\
         users = [ {{ name = \"pump\", password_hash = \"{HASH}\" }} ]\n",
        here.join("data"),
        here.join("site"),
    );
    for number in 0..LINKS {
        text += &format!(
            "[[client]]\nid = \"link{number}\"\nurl = \"ws://hub{number}.plant.example:{port}/\"\nconnect_timeout = \"300ms\"\n\
             reconnect = {{ min = \"20ms\", max = \"200ms\" }}\n"
        );
    }
    text
}

/// Made by the reference implementation: `printf password | argon2 somesalt -id -t 2 -k 256 -p 1 -e`.
const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn address(agent: &Running, server: &str) -> String {
    agent.read("the agent listens", |line| {
        let (_, url) = line.split_once(&format!("listening server={server} url="))?;
        Some(url.trim().split_once("://")?.1.to_owned())
    })
}

#[test]
fn a_name_server_that_is_silent_costs_two_threads_and_nobody_waits_for_them() {
    let directory = scratch();
    let here = directory.path();
    let peer = Peer::python("echo_store", &here.join("got"), &[]);
    std::fs::create_dir(here.join("site")).expect("the directory is ours");
    std::fs::write(here.join("site/page.html"), "x".repeat(300_000)).expect("the directory is ours");
    std::fs::write(here.join("holdfast.toml"), configuration(here, peer.port))
        .expect("the directory is ours");
    let mut command: Command = Agent::command();
    command.arg("run").arg("--config").arg(here.join("holdfast.toml"));
    let world = NameServer::silent().and_then(|server| Some((server.world_of(here, &command)?, server)));
    let Some((mut world, name_server)) = world else {
        eprintln!("skipped: neither port 53 nor a mount namespace may be had here");
        return;
    };
    let agent = Running::start("agent", &mut world);
    let (open, locked) = (address(&agent, "sensors"), address(&agent, "locked"));
    let state = |http: &mut Http| {
        let (code, body) = http.request("GET", "/api/status", &[], b"").expect("the agent answers");
        assert_eq!(code, 200);
        serde_json::from_slice::<serde_json::Value>(&body).expect("the status is JSON")["links"].clone()
    };
    let mut resolving = 0;
    wait_until("every link has waited in vain for the resolver", || {
        let mut http = Http::connect(&open).expect("the agent listens");
        http.store("/kitchen/t", "1");
        let (code, page) = http.request("GET", "/page.html", &[], b"").expect("the agent answers");
        assert_eq!((code, page.len()), (200, 300_000));
        let wrong = [("authorization", "Basic cHVtcDp3cm9uZw==")];
        let mut guest = Http::connect(&locked).expect("the agent listens");
        let (code, _) = guest.request("POST", "/a/b", &wrong, b"1").expect("the agent answers");
        assert!(code == 401 || code == 429, "{code}");
        check_threads(agent.id());
        let resolvers = threads_of(agent.id()).iter().filter(|name| *name == "resolver").count();
        resolving = resolving.max(resolvers);
        let links = state(&mut http);
        let in_vain = |link: &serde_json::Value| {
            link["last_error"].as_str().is_some_and(|error| error.contains("the resolver does not answer"))
        };
        links.as_object().expect("there are links").values().all(in_vain)
    });
    assert_eq!(resolving, 2);
    name_server.speak();
    wait_until("every link is up", || {
        check_threads(agent.id());
        let links = state(&mut Http::connect(&open).expect("the agent listens"));
        links.as_object().expect("there are links").values().all(|link| link["state"] == json!("up"))
    });
    wait_until("no name is left to resolve", || !threads_of(agent.id()).contains(&"resolver".to_owned()));
}
