//! mosquitto, and what is retained in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::{Files, Running, free_port, wait_for};

/// Tries with another port, if someone was faster.
const TRIES: usize = 5;

/// A running broker.
pub struct Broker {
    process: Running,
    directory: PathBuf,
    /// Its port on loopback.
    pub port: u16,
    tables: String,
}

impl Broker {
    /// One that lets everybody in and keeps nothing over a restart.
    pub fn start(directory: &Path) -> Broker {
        Broker::start_with(directory, "allow_anonymous true\n")
    }

    /// One that lets only this user in.
    pub fn with_password(directory: &Path, user: &str, password: &str) -> Broker {
        let file = directory.join("passwords");
        let made =
            Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&file).args([user, password]).status();
        assert!(made.expect("mosquitto_passwd is installed").success());
        Broker::start_with(directory, &format!("allow_anonymous false\npassword_file {}\n", file.display()))
    }

    /// One that speaks TLS.
    pub fn with_tls(directory: &Path, files: &Files) -> Broker {
        let (cert, key) = (files.cert.display(), files.key.display());
        Broker::start_with(directory, &format!("allow_anonymous true\ncertfile {cert}\nkeyfile {key}\n"))
    }

    /// One that lets everybody in and keeps all sessions: on its disk what it had when it was told to save, the rest in memory.
    pub fn keeping(directory: &Path) -> Broker {
        let place = directory.join("broker");
        std::fs::create_dir_all(&place).expect("the directory is ours");
        let tables = format!(
            "allow_anonymous true\npersistence true\npersistence_location {}/\nautosave_interval 0\nmax_queued_messages 0\n",
            place.display()
        );
        Broker::start_with(directory, &tables)
    }

    /// Has it write what it holds.
    pub fn save(&self) {
        let file = self.directory.join("broker/mosquitto.db");
        // It is written anew beside the old one, and takes its place.
        let _ = std::fs::remove_file(&file);
        self.process.signal(Signal::USR1);
        wait_for("the broker has saved", || file.exists().then_some(()));
    }

    /// Another one on the same port, with what it had on its disk.
    pub fn start_again(&mut self) {
        self.forget_everything();
    }

    /// One with these lines in its configuration.
    pub fn start_with(directory: &Path, tables: &str) -> Broker {
        for _ in 0..TRIES {
            let port = free_port();
            if let Some(process) = run(directory, port, tables) {
                return Broker { process, directory: directory.to_owned(), port, tables: tables.to_owned() };
            }
        }
        panic!("mosquitto found no free port");
    }

    /// SIGKILL, and another one on the same port that knows nothing of it.
    pub fn forget_everything(&mut self) {
        self.process.kill();
        let again = || run(&self.directory, self.port, &self.tables);
        self.process = wait_for("the port is free again", again);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// `mqtt://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// What is retained under a topic.
    pub fn retained(&self, topic: &str, more: &[&str]) -> Option<Value> {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-t", topic, "-C", "1", "-W", "1"]);
        let output =
            command.args(["--retained-only"]).args(more).output().expect("mosquitto_sub is installed");
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until what is retained under a topic holds these members.
    pub fn wait_for(&self, topic: &str, members: &Value) -> Value {
        wait_for(&format!("{topic} says {members}"), || {
            let found = self.retained(topic, &[])?;
            let members = members.as_object().expect("members are an object");
            members.iter().all(|(name, value)| found[name] == *value).then_some(found)
        })
    }
}

fn run(directory: &Path, port: u16, tables: &str) -> Option<Running> {
    let conf = directory.join("mosquitto.conf");
    let keeps = if tables.contains("persistence") { "" } else { "persistence false\n" };
    let text = format!("listener {port} 127.0.0.1\n{keeps}user root\nlog_dest stderr\n{tables}");
    std::fs::write(&conf, text).expect("the directory is ours");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("mosquitto");
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg("-c").arg(&conf);
    let mut process = Running::start("mosquitto", &mut command);
    let listens = wait_for("mosquitto listens or ends", || {
        if process.ended().is_some() {
            return Some(false);
        }
        (process.count(&["running"]) > 0).then_some(true)
    });
    listens.then_some(process)
}
