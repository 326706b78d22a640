//! The memory that the unit gives the agent: a cgroup with its `MemoryMax`, which the kernel ends it for, or where no cgroup is to be
//! had, a limit of its data.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::super::process::number;
use super::super::scene::binary;

/// Where systemd mounts them, of version 2 and 1, and under which names their limit, what is charged at most and the kills are told.
const KINDS: [(&str, [&str; 3]); 2] = [
    ("/sys/fs/cgroup", ["memory.max", "memory.peak", "memory.events"]),
    ("/sys/fs/cgroup/memory", ["memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"]),
];

/// What bounds an agent.
pub struct Bound {
    bytes: u64,
    cgroup: Option<Cgroup>,
}

struct Cgroup {
    directory: PathBuf,
    peak: &'static str,
    kills: &'static str,
}

impl Bound {
    /// That of the unit that is installed with it.
    pub fn of_the_unit() -> anyhow::Result<Bound> {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/holdfast.service");
        let unit = std::fs::read_to_string(unit)?;
        let line = unit.lines().find_map(|line| line.strip_prefix("MemoryMax=")?.strip_suffix('M'));
        let megabytes: u64 = line.context("the unit has no MemoryMax")?.parse()?;
        let bytes = megabytes << 20;
        Ok(Bound { bytes, cgroup: KINDS.into_iter().find_map(|kind| Cgroup::new(kind, bytes)) })
    }

    /// The binary within it.
    pub fn command(&self) -> Command {
        let program = binary();
        let mut command = match &self.cgroup {
            Some(cgroup) => {
                let mut command = Command::new("sh");
                let enter = "echo $$ > \"$0\" && exec \"$@\"";
                command.args(["-c", enter]).arg(cgroup.directory.join("cgroup.procs"));
                command
            }
            None => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--data={}", self.bytes));
                command
            }
        };
        command.arg(program.get_program());
        command
    }

    /// How often the kernel has ended a process since it was over the limit.
    pub fn kills(&self) -> anyhow::Result<u64> {
        let Some(cgroup) = &self.cgroup else { return Ok(0) };
        number(&cgroup.directory.join(cgroup.kills), "oom_kill ").context("no kills are told")
    }

    /// What was charged to it at most.
    pub fn told(&self) -> anyhow::Result<String> {
        let megabytes = self.bytes >> 20;
        let Some(cgroup) = &self.cgroup else {
            return Ok(format!("with {megabytes} MiB of data at most, as no cgroup is to be had here"));
        };
        let peak = std::fs::read_to_string(cgroup.directory.join(cgroup.peak))?;
        let peak: u64 = peak.trim().parse()?;
        let kills = self.kills()?;
        if kills > 0 {
            bail!("the kernel ended it {kills} times: more than {megabytes} MiB were charged to its cgroup");
        }
        Ok(format!(
            "{:.1} of {megabytes} MiB charged to its cgroup with the caches of the kernel",
            peak as f64 / f64::from(1 << 20)
        ))
    }
}

impl Cgroup {
    fn new((root, [limit, peak, kills]): (&str, [&'static str; 3]), bytes: u64) -> Option<Cgroup> {
        let directory =
            Path::new(root).join(format!("holdfast-proof-{}-{}", std::process::id(), fastrand::u32(..)));
        std::fs::create_dir(&directory).ok()?;
        let cgroup = Cgroup { directory, peak, kills };
        let is_whole =
            [limit, peak, kills, "cgroup.procs"].iter().all(|file| cgroup.directory.join(file).exists());
        let is_set = is_whole && std::fs::write(cgroup.directory.join(limit), bytes.to_string()).is_ok();
        is_set.then_some(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It goes only once it is empty, and the agent was waited for.
        let _ = std::fs::remove_dir(&self.directory);
    }
}
