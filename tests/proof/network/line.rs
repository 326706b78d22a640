//! A bad line to a network namespace of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

/// A line between this machine and a network namespace. It goes with everything on it when it is dropped.
pub struct Line {
    /// Where the far end is.
    pub far: String,
    near: String,
    device: String,
    space: String,
    wire: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Line {
    /// Lays a line that is as good as can be; each number has addresses of its own (RFC 2544, appendix C.2.2).
    pub fn lay(number: usize) -> anyhow::Result<Line> {
        let (process, block) = (std::process::id(), 1 + number * 4);
        let space = format!("holdfast-{process}-{number}");
        let devices =
            [format!("hf{number}n{}", process % 10_000), format!("hf{number}f{}", process % 10_000)];
        let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proof/network/wire.py");
        let mut command = Command::new("python3");
        command.arg(wire).args(&devices).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut wire = command.spawn().context("cannot start the wire")?;
        let (commands, answers) = (wire.stdin.take(), wire.stdout.take());
        let mut line = Line {
            far: format!("198.18.77.{}", block + 1),
            near: format!("198.18.77.{block}"),
            device: devices[0].clone(),
            space,
            wire,
            commands: commands.context("the wire has no input")?,
            answers: BufReader::new(answers.context("the wire has no output")?),
        };
        if line.answer()? != "ready" {
            bail!("the wire does not get its devices");
        }
        let Line { near, far, space, .. } = &line;
        ip(&["netns", "add", space])?;
        ip(&["link", "set", &devices[1], "netns", space])?;
        ip(&["-n", space, "addr", "add", far, "peer", &format!("{near}/32"), "dev", &devices[1]])?;
        ip(&["-n", space, "link", "set", &devices[1], "mtu", "1400", "up"])?;
        // Another address of this end finds its way back.
        ip(&["-n", space, "route", "add", "default", "dev", &devices[1]])?;
        ip(&["addr", "add", near, "peer", &format!("{far}/32"), "dev", &devices[0]])?;
        ip(&["link", "set", &devices[0], "mtu", "1400", "up"])?;
        Ok(line)
    }

    /// Changes how it is from here on.
    pub fn is(&mut self, change: &Value) -> anyhow::Result<()> {
        writeln!(self.commands, "{change}").context("the wire is gone")
    }

    /// As good as can be.
    pub fn heal(&mut self) -> anyhow::Result<()> {
        self.is(&json!({ "delay": 0.0, "loss": 0.0, "rate": 0, "max_packet": 0, "down": false }))
    }

    /// This end has another address from here on; nobody is told.
    pub fn readdress(&mut self) -> anyhow::Result<()> {
        let (last, other) = (self.near.clone(), self.near.replace("198.18.77.", "198.18.78."));
        let peer = format!("{}/32", self.far);
        // In this order: an address that is added beside another of the same line goes with that one.
        ip(&["addr", "del", &last, "peer", &peer, "dev", &self.device])?;
        ip(&["addr", "add", &other, "peer", &peer, "dev", &self.device])?;
        self.near = other;
        Ok(())
    }

    /// Bytes that this end has sent, whatever became of them.
    pub fn bytes_sent(&mut self) -> anyhow::Result<u64> {
        self.is(&json!({ "report": 1 }))?;
        let counts: Vec<u64> = serde_json::from_str(&self.answer()?)?;
        counts.first().copied().context("the wire does not tell")
    }

    /// Lets the calling thread live at the far end.
    pub fn enter(space: &Path) -> anyhow::Result<()> {
        let space = File::open(space).with_context(|| format!("cannot open {}", space.display()))?;
        Ok(move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// The far end, for [`Line::enter`].
    pub fn space(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.space)
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A rest of it goes with the process or the machine.
        let _ = self.wire.kill();
        let _ = self.wire.wait();
        let _ = ip(&["netns", "del", &self.space]);
    }
}

/// Why there can be no line here; none if there can.
pub fn lacking() -> Option<String> {
    match Line::lay(60) {
        Ok(_) => None,
        Err(error) => Some(format!("{error:#}")),
    }
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("ip").env("PATH", path).args(words).output().context("cannot run ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
