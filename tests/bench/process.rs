//! A process that is measured: what the kernel says of it in /proc.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Whatever is waited for must have happened within this.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running program; dropping it kills it.
pub struct Process(Child);

impl Process {
    /// Starts it with its outputs thrown away.
    pub fn start(command: &mut Command) -> anyhow::Result<Process> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Process(quiet.spawn().with_context(|| format!("cannot start {quiet:?}"))?))
    }

    /// Time that all of its threads have spent on a processor.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(self.0.id())
    }

    /// Number of threads.
    pub fn threads(&self) -> anyhow::Result<usize> {
        Ok(tasks(self.0.id())?.len())
    }

    /// How often its threads went to sleep by themselves.
    pub fn switches(&self) -> anyhow::Result<u64> {
        let of = |task: &std::path::PathBuf| number(&task.join("status"), "voluntary_ctxt_switches:");
        Ok(tasks(self.0.id())?.iter().filter_map(of).sum())
    }

    /// Its share of memory, in bytes.
    pub fn pss_bytes(&self) -> anyhow::Result<u64> {
        number(&self.path("smaps_rollup"), "Pss:").map(|kb| kb * 1024).context("cannot read smaps_rollup")
    }

    /// The most memory that was ever resident, in bytes.
    pub fn peak_bytes(&self) -> anyhow::Result<u64> {
        number(&self.path("status"), "VmHWM:").map(|kb| kb * 1024).context("cannot read status")
    }

    /// Bytes that it caused to be written to the disk.
    pub fn written_bytes(&self) -> anyhow::Result<u64> {
        number(&self.path("io"), "write_bytes:").context("cannot read io")
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new("/proc").join(self.0.id().to_string()).join(name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Time that the threads of a process have spent on a processor.
pub fn cpu_of(id: u32) -> anyhow::Result<Duration> {
    let ran_ns = |task: &std::path::PathBuf| {
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Ok(Duration::from_nanos(tasks(id)?.iter().filter_map(ran_ns).sum()))
}

fn tasks(id: u32) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let entries =
        fs::read_dir(Path::new("/proc").join(id.to_string()).join("task")).context("the process is gone")?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
}

/// Waits for a condition. Returns how long it took.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<Duration> {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > PATIENCE {
            bail!("waited in vain: {what}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(started.elapsed())
}

/// The first number behind a key in a file of /proc.
pub fn number(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
