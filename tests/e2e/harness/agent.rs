//! The binary that is tested.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use serde_json::{Value, json};

use super::{Http, Running, wait_for_value, wait_until};

/// Tables of a link that is fast to notice and fast to come back.
///
/// `more` are further lines of the table.
pub fn uplink(url: &str, more: &str) -> String {
    format!(
        "[[client]]\nid = \"cloud\"\nurl = \"{url}\"\n\
         reconnect = {{ min = \"20ms\", max = \"200ms\", stable_after = \"1s\" }}\n{more}\n"
    )
}

const IDENTITY: &str = "id = \"gw\"\n";

/// A running agent and the directory in which it lives.
pub struct Agent {
    directory: PathBuf,
    /// Its process.
    pub process: Running,
    /// Where its server listens, as `127.0.0.1:PORT`.
    pub address: String,
}

impl Agent {
    /// Starts one with a server on a free port of loopback. `tables` are the rest of its configuration.
    pub fn start(directory: &Path, tables: &str) -> Agent {
        Agent::start_with(directory, tables, "")
    }

    /// The same, with further lines of `[[server]]`.
    pub fn start_with(directory: &Path, tables: &str, server: &str) -> Agent {
        Agent::start_of(directory, IDENTITY, &format!("{server}\n{tables}"))
    }

    /// The same, with other lines of `[agent]`. `tables` begin with further lines of `[[server]]`.
    pub fn start_of(directory: &Path, agent: &str, tables: &str) -> Agent {
        configure(directory, agent, tables);
        let process = Agent::launch(directory);
        Agent { address: address(&process), directory: directory.to_owned(), process }
    }

    /// The same with files named in its environment.
    pub fn start_under(directory: &Path, tables: &str, environment: &[(&str, &Path)]) -> Agent {
        configure(directory, IDENTITY, &format!("\n{tables}"));
        let process = Running::start("agent", Agent::run(directory).envs(environment.iter().copied()));
        Agent { address: address(&process), directory: directory.to_owned(), process }
    }

    /// Starts one that may not come up.
    pub fn launch(directory: &Path) -> Running {
        Running::start("agent", &mut Agent::run(directory))
    }

    fn run(directory: &Path) -> Command {
        let mut command = Agent::command();
        command.arg("run").arg("--config").arg(directory.join("holdfast.toml"));
        command
    }

    /// The binary, free of what the environment would say to it.
    pub fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.env("RUST_LOG", "info");
        for name in [
            "CREDENTIALS_DIRECTORY",
            "RUNTIME_DIRECTORY",
            "STATE_DIRECTORY",
            "NOTIFY_SOCKET",
            "JOURNAL_STREAM",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// A command that talks to this agent over its control socket.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let (command, rest) = arguments.split_first().expect("there is a command");
        let mut asking = Agent::command();
        asking.arg(command).arg("--socket").arg(self.directory.join("data/control.sock")).args(rest);
        asking.output().expect("the binary runs")
    }

    /// Whether its control socket answers, however it is.
    pub fn is_asked(&self) -> bool {
        self.ask(&["status"]).status.code().is_some_and(|code| code < 2)
    }

    /// Writes another configuration, with the same server, for it to take over.
    pub fn configure(&self, tables: &str) {
        configure(&self.directory, IDENTITY, &format!("\n{tables}"));
    }

    /// The same, with other lines of `[agent]`.
    pub fn configure_as(&self, agent: &str, tables: &str) {
        configure(&self.directory, agent, &format!("\n{tables}"));
    }

    /// Starts it again in the same directory with the same configuration.
    pub fn start_again(&mut self) {
        self.process = Agent::launch(&self.directory);
        self.address = address(&self.process);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate()
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A connection to its server.
    pub fn http(&self) -> Http {
        Http::connect(&self.address).expect("the agent listens")
    }

    /// Hands over one message; it must be stored.
    pub fn post(&self, path: &str, payload: &str) -> u64 {
        self.http().store(path, payload)
    }

    /// Hands over many messages over one connection, one after the other.
    pub fn post_all<'a>(&self, path: &str, payloads: impl IntoIterator<Item = &'a String>) {
        let mut http = self.http();
        for payload in payloads {
            http.store(path, payload);
        }
    }

    /// Hands over many messages at once, as lines of JSON.
    pub fn post_lines(&self, path: &str, payloads: &[String]) {
        let fields = [("content-type", "application/x-ndjson")];
        self.http().take(path, &fields, payloads.join("\n").as_bytes());
    }

    /// Its own status.
    pub fn status(&self) -> Value {
        let (status, body) = self.http().request("GET", "/api/status", &[], b"").expect("the agent answers");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("the status is JSON")
    }

    /// One value of the status, named as in `/links/cloud/state`.
    pub fn fact(&self, pointer: &str) -> Value {
        self.status().pointer(pointer).cloned().unwrap_or(Value::Null)
    }

    /// Waits until the status says so.
    pub fn wait_for_fact(&self, pointer: &str, expected: impl Into<Value>) {
        wait_for_value(&expected.into(), || self.fact(pointer));
    }

    /// Waits until the link is up.
    pub fn wait_until_up(&self) {
        self.wait_for_fact("/links/cloud/state", "up");
    }

    /// Waits until the link is down and its last error has these words.
    pub fn wait_until_down(&self, words: &str) {
        wait_until(&format!("the link is down for {words:?}"), || {
            let link = self.fact("/links/cloud");
            link["state"] == "down" && link["last_error"].as_str().is_some_and(|error| error.contains(words))
        });
    }

    /// Waits until every message is confirmed.
    pub fn wait_until_delivered(&self) {
        self.wait_for_fact("/links/cloud/unconfirmed", json!(0));
    }
}

fn configure(directory: &Path, agent: &str, tables: &str) {
    let text = format!(
        "[agent]\n{agent}data_dir = {data:?}\n\n[[server]]\nid = \"sensors\"\nbind = [\"127.0.0.1:0\"]\n{tables}",
        data = directory.join("data"),
    );
    std::fs::write(directory.join("holdfast.toml"), text).expect("the directory is ours");
}

fn address(process: &Running) -> String {
    process.read("the agent listens", |line| {
        let (_, url) = line.split_once("listening server=sensors url=")?;
        Some(url.trim().split_once("://")?.1.to_owned())
    })
}
