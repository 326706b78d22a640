//! The story itself: who is started, cut and killed when, and what is asked of them meanwhile.

use std::fs::File;
use std::io::IsTerminal;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_signal::{Signal, Signals};
use holdfast_core::time::Time;
use hyper::Method;
use serde_json::Value;
use smol::future::or;
use smol::stream::StreamExt;
use smol::{LocalExecutor, Timer};

use super::ENDS_WITH_PARENT;
use super::picture::{Moment, Outcome};
use super::sensor::Sensor;
use crate::cli::print_page;
use crate::net::control;
use crate::os::clock;

/// How often the picture is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(1);
/// Everything must have arrived within this after the last reading.
const PATIENCE: Duration = Duration::from_secs(30);

/// A part of the story. Their lengths are shares of the whole.
struct Scene {
    share: u32,
    cue: Cue,
    /// What happens, and how a user would do it.
    told: &'static str,
}

#[derive(Clone, Copy)]
enum Cue {
    Flow,
    CutLink,
    KillAgent,
    RestoreLink,
}

const SCENES: [Scene; 4] = [
    Scene {
        share: 5,
        cue: Cue::Flow,
        told: "A sensor sends 200 readings a second. The link is up and each is confirmed\n\
               at once, so none is kept on the disk: what is written is the agent's start.\n\
               $ holdfast run --uplink ws://127.0.0.1:9000",
    },
    Scene {
        share: 7,
        cue: Cue::CutLink,
        told: "The receiver is killed (kill -9). The sensor notices nothing: its readings\n\
               go to the disk in groups, synced before it is told `stored`.\n\
               $ holdfast status --watch",
    },
    Scene {
        share: 5,
        cue: Cue::KillAgent,
        told: "Now the agent is killed, too (kill -9), and started again half a second\n\
               later. What it told to be stored is still there.\n\
               $ kill -9 AGENT; holdfast run --uplink ws://127.0.0.1:9000",
    },
    Scene {
        share: 7,
        cue: Cue::RestoreLink,
        told: "The receiver is back. The agent finds it by itself and delivers what it\n\
               held, in order, with the new readings behind.\n\
               $ holdfast receive --listen 127.0.0.1:9000",
    },
];

const SHARES: u32 = 5 + 7 + 5 + 7;

/// Plays all of it. Returns whether every promise was kept.
pub fn play(length: Duration, json: bool) -> anyhow::Result<bool> {
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.clone().run(async {
        let mut signals = Signals::new([Signal::Int, Signal::Term]).context("cannot watch for signals")?;
        let mut stage = Stage::set(json)?;
        let address = stage.address.clone();
        let sensor = stage.sensor.clone();
        let sensing = executor.spawn(async move { sensor.run(&address).await });
        let story = async {
            for scene in &SCENES {
                stage.enter(scene).await?;
                stage.watch(length * scene.share / SHARES).await;
            }
            stage.sensor.end();
            stage.finish().await
        };
        let interrupted = async {
            signals.next().await;
            bail!("interrupted")
        };
        let outcome = or(interrupted, story).await;
        drop(sensing);
        outcome
    }))
}

/// Everything that takes part. Dropping it ends all processes and removes the directory.
struct Stage {
    started: Time,
    sensor: Rc<Sensor>,
    address: String,
    receiver_port: u16,
    agent: Option<Player>,
    receiver: Option<Player>,
    told: &'static str,
    now: Moment,
    /// What earlier lives of the agent have written.
    before: (u64, u64),
    lines_at: Duration,
    look: Look,
    directory: Directory,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Terminal,
    Lines,
    Silent,
}

impl Stage {
    fn set(json: bool) -> anyhow::Result<Stage> {
        let (agent_port, receiver_port) = free_ports().context("cannot find free ports")?;
        let directory = Directory::new()?;
        let config = format!(
            "[agent]\nid = \"demo\"\ndata_dir = \"data\"\n\n[[client]]\nid = \"cloud\"\nurl = \"ws://127.0.0.1:{receiver_port}/\"\n\
             reconnect = {{ min = \"200ms\", max = \"500ms\" }}\n\n[[server]]\nbind = [\"127.0.0.1:{agent_port}\"]\n"
        );
        std::fs::write(directory.file("holdfast.toml"), config).context("cannot write the configuration")?;
        let look = match (json, std::io::stdout().is_terminal()) {
            (true, _) => Look::Silent,
            (false, true) => Look::Terminal,
            (false, false) => Look::Lines,
        };
        Ok(Stage {
            started: clock::now().mono,
            sensor: Rc::default(),
            address: format!("127.0.0.1:{agent_port}"),
            receiver_port,
            agent: None,
            receiver: None,
            told: "",
            now: Moment::default(),
            before: (0, 0),
            lines_at: Duration::ZERO,
            look,
            directory,
        })
    }

    async fn enter(&mut self, scene: &Scene) -> anyhow::Result<()> {
        match scene.cue {
            Cue::Flow => {
                self.receiver = Some(self.start_receiver()?);
                self.agent = Some(self.start_agent()?);
            }
            Cue::CutLink => self.receiver = None,
            Cue::KillAgent => {
                self.look_around().await;
                self.before = (self.now.written, self.now.syncs);
                self.agent = None;
            }
            Cue::RestoreLink => self.receiver = Some(self.start_receiver()?),
        }
        self.told = scene.told;
        if self.look == Look::Lines {
            self.show(&format!("\n{}\n", scene.told));
        }
        if matches!(scene.cue, Cue::KillAgent) {
            self.watch(Duration::from_millis(500)).await;
            self.agent = Some(self.start_agent()?);
        }
        Ok(())
    }

    /// Lets the story go on for a while.
    async fn watch(&mut self, length: Duration) {
        let until = clock::now().mono + length;
        while clock::now().mono < until {
            self.look_around().await;
            self.draw();
            Timer::after(FRAME).await;
        }
    }

    /// Waits until everything has arrived, and compares.
    async fn finish(&mut self) -> anyhow::Result<bool> {
        let until = clock::now().mono + PATIENCE;
        while clock::now().mono < until {
            self.watch(FRAME).await;
            if self.now.held == 0 && self.now.link == "up" && self.came()?.len() as u64 >= self.now.stored {
                break;
            }
        }
        self.now.elapsed = clock::now().mono.since(self.started);
        self.draw();
        let outcome = Outcome::of(&self.sensor.promised(), &self.came()?, &self.now);
        match self.look {
            Look::Silent => self.show_always(&format!("{}\n", outcome.document())),
            Look::Terminal | Look::Lines => self.show_always(&outcome.page()),
        }
        if !outcome.is_good() {
            bail!("a promise was broken; the agent said at last:\n{}", self.last_words());
        }
        Ok(true)
    }

    /// Measures. An agent that does not answer is one that has been killed, or is just starting.
    async fn look_around(&mut self) {
        self.now.elapsed = clock::now().mono.since(self.started);
        self.now.sent = self.sensor.sent();
        self.now.stored = u64::try_from(self.sensor.stored()).unwrap_or(u64::MAX);
        self.now.received = self.came().map_or(self.now.received, |came| came.len() as u64);
        let asked = match self.agent {
            Some(_) => self.status().await,
            None => None,
        };
        let Some(status) = asked else {
            self.now.link = if self.agent.is_some() { "starting".into() } else { "agent killed".into() };
            return;
        };
        let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        self.now.held = number("/links/cloud/unconfirmed");
        self.now.link =
            status.pointer("/links/cloud/state").and_then(Value::as_str).unwrap_or("-").to_owned();
        self.now.kept = number("/buffer/bytes");
        self.now.written = self.before.0 + number("/buffer/disk_bytes_written");
        self.now.syncs = self.before.1 + number("/buffer/syncs");
    }

    async fn status(&self) -> Option<Value> {
        let socket = self.directory.file("data/control.sock");
        let (_, body) = control::request(&socket, Method::GET, "/api/status", None, Vec::new()).await.ok()?;
        serde_json::from_slice(&body).ok()
    }

    /// The numbers of the readings in the receiver's file, in the order of their coming.
    fn came(&self) -> anyhow::Result<Vec<u64>> {
        let file = self.directory.file("received");
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        // A receiver that was killed may have left half a line.
        let readings =
            text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["n"].as_u64());
        Ok(readings.collect())
    }

    fn draw(&mut self) {
        match self.look {
            Look::Silent => {}
            Look::Lines if self.now.elapsed < self.lines_at => {}
            Look::Lines => {
                self.lines_at = self.now.elapsed + LINE;
                self.show(&self.now.line());
            }
            // ED and CUP of ECMA-48.
            Look::Terminal => self.show(&format!("\x1b[H\x1b[2J\n{}\n\n{}", self.told, self.now.picture())),
        }
    }

    fn show(&self, text: &str) {
        if self.look != Look::Silent {
            self.show_always(text);
        }
    }

    /// Whoever reads no more gets the exit code all the same.
    fn show_always(&self, text: &str) {
        let _ = print_page(text);
    }

    fn start_agent(&self) -> anyhow::Result<Player> {
        let config = self.directory.file("holdfast.toml");
        Player::start(&self.directory, "agent.log", &[Path::new("run"), Path::new("--config"), &config])
    }

    fn start_receiver(&self) -> anyhow::Result<Player> {
        let listen = format!("--listen=127.0.0.1:{}", self.receiver_port);
        let (store, file) = (Path::new("--store"), self.directory.file("received"));
        Player::start(
            &self.directory,
            "receiver.log",
            &[Path::new("receive"), Path::new(&listen), Path::new("--format=payload"), store, &file],
        )
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.directory.file("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

/// A process of this program. Dropping it is a kill -9.
struct Player(Child);

impl Player {
    fn start(directory: &Directory, log: &str, arguments: &[&Path]) -> anyhow::Result<Player> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.file(log))
            .context("cannot open a log")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        for name in ["NOTIFY_SOCKET", "JOURNAL_STREAM", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "RUST_LOG"] {
            command.env_remove(name);
        }
        command.env(ENDS_WITH_PARENT, "1");
        Ok(Player(command.spawn().context("cannot start this program once more")?))
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory of the demo's own.
struct Directory(PathBuf);

impl Directory {
    fn new() -> anyhow::Result<Directory> {
        let path = std::env::temp_dir().join(format!("holdfast-demo-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        File::create(path.join("received"))
            .with_context(|| format!("cannot write into {}", path.display()))?;
        Ok(Directory(path))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is in a directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Two ports that stay free while nobody listens: the kernel gives none of these to outgoing connections.
fn free_ports() -> Option<(u16, u16)> {
    let mut ports = (0..100).map(|_| fastrand::u16(20_000..32_000));
    let mut free = || ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let (one, other) = (free()?, free()?);
    (one != other).then_some((one, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenes_fit_a_terminal_and_fill_the_time() {
        assert!(SCENES.iter().flat_map(|scene| scene.told.lines()).all(|line| line.len() < 80));
        assert_eq!(SCENES.iter().map(|scene| scene.share).sum::<u32>(), SHARES);
    }
}
