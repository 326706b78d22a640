//! The far end of a link, and those who send to the agent: Python programs on the `websockets` package, and our own
//! reference receiver.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Agent, Running, free_port, lines_of};

/// A server that the agent connects to.
pub struct Peer {
    /// Its process.
    pub process: Running,
    /// Its port on loopback.
    pub port: u16,
    /// The file in which it keeps what it gets.
    pub file: PathBuf,
}

impl Peer {
    /// Runs `peers/SCRIPT.py`. The file outlives it, and another may go on with it.
    pub fn python(script: &str, file: &Path, arguments: &[&str]) -> Peer {
        let mut command = python(script);
        if !arguments.contains(&"--port") {
            command.arg("--port").arg(free_port().to_string());
        }
        command.args(arguments).arg("--file").arg(file);
        let process = Running::start(script, &mut command);
        let port = process.read("the peer tells its port", |line| line.parse().ok());
        Peer { process, port, file: file.to_owned() }
    }

    /// Runs `holdfast receive`.
    pub fn receiver(file: &Path, arguments: &[&str]) -> Peer {
        Peer::receiver_at(free_port(), file, arguments)
    }

    /// The same on this port.
    pub fn receiver_at(port: u16, file: &Path, arguments: &[&str]) -> Peer {
        let mut command = Agent::command();
        command
            .args(["receive", "--listen", &format!("127.0.0.1:{port}"), "--store"])
            .arg(file)
            .args(arguments);
        let process = Running::start("receive", &mut command);
        let port = process.read("the receiver listens", |line| {
            line.contains("listening on").then(|| line.rsplit(':').next()?.trim().parse().ok())?
        });
        Peer { process, port, file: file.to_owned() }
    }

    /// Where the agent finds it.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ingest", self.port)
    }

    /// Lines that it has got.
    pub fn lines(&self) -> Vec<String> {
        lines_of(&self.file)
    }
}

/// A sensor on a WebSocket that asks for a confirmation of each message, and connects again whenever it must.
pub struct WebSocketSender {
    process: Running,
    target: PathBuf,
    stored: PathBuf,
}

impl WebSocketSender {
    /// Starts it. It sends `PREFIX0`, `PREFIX1`, … as fast as `in_flight` unconfirmed messages allow.
    pub fn start(directory: &Path, prefix: &str, in_flight: usize) -> WebSocketSender {
        let (target, stored) = (directory.join("target"), directory.join("stored-by-websocket"));
        let mut command = python("sender");
        command.args(["--prefix", prefix, "--in-flight", &in_flight.to_string(), "--target"]).arg(&target);
        command.arg("--stored").arg(&stored);
        WebSocketSender { process: Running::start("sender", &mut command), target, stored }
    }

    /// Tells it where the agent listens.
    pub fn aim(&self, url: &str) {
        let fresh = self.target.with_extension("new");
        let written = std::fs::File::create(&fresh).and_then(|mut file| file.write_all(url.as_bytes()));
        written.and_then(|()| std::fs::rename(&fresh, &self.target)).expect("the directory is ours");
    }

    /// Waits for a line of its output with all of these words.
    pub fn said(&self, words: &[&str]) -> String {
        self.process.said(words)
    }

    /// Ends it and gives the payloads that were confirmed as stored.
    pub fn end(mut self) -> Vec<String> {
        self.process.terminate();
        lines_of(&self.stored)
    }
}

/// A Python program beside the tests, in the environment that `tests/all` makes.
pub fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/all once", python.display());
    let mut command = Command::new(python);
    command.arg("-u").arg(root.join(format!("e2e/peers/{script}.py")));
    command
}
