//! Sensors that take every descriptor they can get.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{Agent, Http, Peer, Running, free_port, scratch, uplink, wait_until};

const LIMIT: usize = 64;
/// Fewer than may wait in the queue of the kernel.
const SENSORS: usize = 120;
/// A sensor that is let in is answered long before.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_link_the_store_and_the_control_socket_find_descriptors_when_sensors_want_all() {
    let directory = scratch();
    let here = directory.path();
    let (server, peer) = (free_port(), free_port());
    let text = format!(
        "[agent]\nid = \"gw\"\ndata_dir = {:?}\n[buffer]\ncommit_after = \"10ms\"\n[[server]]\nid = \"sensors\"\nbind = [\"127.0.0.1:{server}\"]\n{}",
        here.join("data"),
        uplink(&format!("ws://127.0.0.1:{peer}/"), ""),
    );
    std::fs::write(here.join("holdfast.toml"), text).expect("the directory is ours");
    let agent = Agent::command();
    let mut limited = std::process::Command::new("prlimit");
    limited.arg(format!("--nofile={LIMIT}:{LIMIT}")).arg(agent.get_program()).arg("run").arg("--config");
    limited.arg(here.join("holdfast.toml")).env("RUST_LOG", "info");
    let mut agent = Running::start("agent", &mut limited);
    agent.said(&["limits.connections of all servers and 1 links may need", "there are 64"]);
    agent.said(&["listening server=sensors"]);
    let address = format!("127.0.0.1:{server}");
    Http::connect(&address).expect("the agent listens").store("/a", "\"first\"");

    let crowd: Vec<TcpStream> = (0..SENSORS).map(|_| ask(&address)).collect();
    agent.said(&["no descriptors are left for callers"]);
    let told = Agent::command()
        .args(["status", "--json", "--socket"])
        .arg(here.join("data/control.sock"))
        .output()
        .expect("the binary runs");
    // Its link is down, hence it is degraded.
    assert_eq!(told.status.code(), Some(1), "{}", String::from_utf8_lossy(&told.stderr));
    // Those who were let in hold what they got, and are stored; the link finds its own.
    let stored = crowd.iter().take(4).map(code).collect::<Vec<_>>();
    assert_eq!(stored, [200; 4]);
    let peer = Peer::receiver_at(peer, &here.join("got"), &[]);
    wait_until("what is held arrives although every sensor keeps its connection", || {
        peer.lines().iter().any(|line| line.contains("first"))
    });
    assert_eq!(agent.count(&["no descriptors are left for callers"]), 1, "it is told once");

    drop(crowd);
    wait_until("there is room again", || {
        Http::connect(&address)
            .and_then(|mut http| http.post("/last", &[], b"1"))
            .is_ok_and(|(code, _)| code == 200)
    });
    assert!(agent.terminate().success());
}

/// A sensor that sends one reading and keeps its connection.
fn ask(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the kernel takes it");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    stream.write_all(b"POST /crowd HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n1").expect("it fits");
    stream
}

/// The status of its answer.
fn code(stream: &TcpStream) -> u16 {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("it is answered");
    line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("it is HTTP")
}
