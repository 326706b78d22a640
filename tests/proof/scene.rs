//! An agent with its configuration, its directory and the port of its peer.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::load;
use super::process::{self, number};

/// Whatever an agent is waited for must have happened within this.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where an agent lives. Its processes come and go.
pub struct Scene {
    /// Its directory.
    pub directory: PathBuf,
    /// Where its server listens.
    pub address: String,
    /// Where it looks for its peer.
    pub peer: u16,
}

/// A running agent; dropping it kills it.
pub struct Agent(Child);

impl Scene {
    /// Writes the configuration. `tables` are more of it.
    pub fn new(directory: &Path, link: &str, tables: &str) -> anyhow::Result<Scene> {
        Scene::towards(directory, "127.0.0.1", link, tables)
    }

    /// The same with its peer on another host.
    pub fn towards(directory: &Path, host: &str, link: &str, tables: &str) -> anyhow::Result<Scene> {
        let (port, peer) = (free_port()?, free_port()?);
        let scene = Scene { directory: directory.to_owned(), address: format!("127.0.0.1:{port}"), peer };
        std::fs::create_dir_all(scene.data())?;
        let text = format!(
            "[agent]\nid = \"proof\"\ndata_dir = {data:?}\n[[server]]\nbind = [\"{address}\"]\n[[client]]\nid = \"cloud\"\n\
             url = \"ws://{host}:{peer}/\"\nreconnect = {{ min = \"20ms\", max = \"60ms\" }}\n{link}\n{tables}\n",
            data = scene.data(),
            address = scene.address,
        );
        std::fs::write(directory.join("holdfast.toml"), text)?;
        Ok(scene)
    }

    /// Adds lines to its server, before it is started.
    pub fn serve_with(&self, lines: &str) -> anyhow::Result<()> {
        let file = self.directory.join("holdfast.toml");
        let text = std::fs::read_to_string(&file)?;
        Ok(std::fs::write(&file, text.replacen("\n[[client]]", &format!("\n{lines}\n[[client]]"), 1))?)
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Starts it without waiting for anything.
    pub fn launch(&self, environment: &[(&str, &Path)]) -> anyhow::Result<Agent> {
        self.launch_by(&mut binary(), environment)
    }

    fn launch_by(&self, command: &mut Command, environment: &[(&str, &Path)]) -> anyhow::Result<Agent> {
        let said = File::options().create(true).append(true).open(self.directory.join("said"))?;
        command.arg("run").arg("--config").arg(self.directory.join("holdfast.toml"));
        command.envs(environment.iter().copied()).env("RUST_LOG", "info");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        Ok(Agent(command.spawn().context("cannot start the agent")?))
    }

    /// Starts it and waits until it answers.
    pub fn start(&self) -> anyhow::Result<Agent> {
        self.start_with(&[])
    }

    /// The same with this in its environment.
    pub fn start_with(&self, environment: &[(&str, &Path)]) -> anyhow::Result<Agent> {
        self.wait_for_start(self.launch(environment)?)
    }

    /// The same by a command that ends in the binary, such as one that limits what it may have.
    pub fn start_through(&self, command: &mut Command) -> anyhow::Result<Agent> {
        self.wait_for_start(self.launch_by(command, &[])?)
    }

    fn wait_for_start(&self, mut agent: Agent) -> anyhow::Result<Agent> {
        let started = Instant::now();
        while self.status().is_err() {
            if let Some(status) = agent.ended()? {
                bail!("the agent ended ({status}): {}", self.last_words());
            }
            if started.elapsed() > PATIENCE {
                bail!("the agent does not start within {PATIENCE:?}: {}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(agent)
    }

    /// Its own status.
    pub fn status(&self) -> anyhow::Result<Value> {
        match load::get(&self.address, "/api/status")? {
            (200, body) => Ok(serde_json::from_str(&body)?),
            (status, body) => bail!("the agent answers {status} {body}"),
        }
    }

    /// A number of its status, 0 while there is none.
    pub fn fact(&self, pointer: &str) -> u64 {
        let status = self.status().unwrap_or_default();
        status.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    /// Whether all that it took is confirmed.
    pub fn is_drained(&self) -> bool {
        let status = self.status().unwrap_or_default();
        status["links"]["cloud"]["state"] == "up" && status["links"]["cloud"]["unconfirmed"] == 0
    }

    /// Lines of its log with one of these words.
    pub fn log_with(&self, words: &[&str]) -> Vec<String> {
        let log = std::fs::read(self.directory.join("said")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let with = log.lines().filter(|line| words.iter().any(|word| line.contains(word)));
        with.map(str::to_owned).collect()
    }

    /// Waits for something.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        while !condition() {
            if started.elapsed() > PATIENCE {
                let status = self.status().unwrap_or_default();
                bail!("waited in vain: {what}; the agent says {status} and said {}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let said = std::fs::read_to_string(self.directory.join("said")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(8)..].join(" | ")
    }
}

impl Agent {
    /// The most memory that was ever resident, in bytes.
    pub fn peak_bytes(&self) -> anyhow::Result<u64> {
        self.told("status", "VmHWM:").map(|kb| kb * 1024)
    }

    /// Memory that is resident, in bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.told("status", "VmRSS:").map(|kb| kb * 1024)
    }

    /// Number of open file descriptors.
    pub fn descriptors(&self) -> anyhow::Result<u64> {
        let entries = std::fs::read_dir(Path::new("/proc").join(self.0.id().to_string()).join("fd"))?;
        Ok(entries.count() as u64)
    }

    /// Bytes that it caused to be written to the disk.
    pub fn written_bytes(&self) -> anyhow::Result<u64> {
        self.told("io", "write_bytes:")
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Number of threads.
    pub fn threads(&self) -> anyhow::Result<u64> {
        self.told("status", "Threads:")
    }

    /// Bytes of its address space.
    pub fn address_space(&self) -> anyhow::Result<u64> {
        self.told("status", "VmSize:").map(|kb| kb * 1024)
    }

    /// Time that all of its threads have spent on a processor.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        process::cpu_of(self.0.id())
    }

    fn told(&self, file: &str, key: &str) -> anyhow::Result<u64> {
        let file = Path::new("/proc").join(self.0.id().to_string()).join(file);
        number(&file, key).with_context(|| format!("cannot read {}", file.display()))
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary that is proven: the one that `tests/proof/run` has built, else the one beside this program.
pub fn binary() -> Command {
    let built = std::env::var_os("PROOF_BINARY");
    Command::new(built.unwrap_or_else(|| env!("CARGO_BIN_EXE_holdfast").into()))
}

/// A directory on a real disk, where a directory for temporary files may be memory. It vanishes with its proof.
pub fn scratch() -> anyhow::Result<tempfile::TempDir> {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).context("cannot make a directory")
}

/// A port where nobody listens, outside of what the kernel gives to outgoing connections.
pub fn free_port() -> anyhow::Result<u16> {
    let mut ports = (0..1000).map(|_| fastrand::u16(10_000..32_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).context("no port is free")
}

/// Bytes that all files below a directory take of the disk.
pub fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(facts) if facts.is_dir() => bytes_below(&entry.path()),
        Ok(facts) => facts.blocks() * 512,
        // It may vanish between the listing and the look.
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Copies a directory with all that is in it, sockets left out.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
