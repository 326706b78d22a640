//! Proves what the store promises: with the release binary, real files, and everything that can go wrong with them.
//!
//! Each proof prints one line: its figures and whether the promise was kept. `tests/PROOF.md` says how each is done, what it
//! shows and what it does not.

#![allow(clippy::disallowed_methods, reason = "a proof measures time")]

mod bytes;
mod corruption;
mod crowd;
mod cut;
mod disk_full;
mod flood;
mod kill;
mod limits;
#[path = "../bench/load.rs"]
#[allow(dead_code, reason = "the benchmark uses all of it")]
mod load;
mod malformed;
mod memory;
mod mounted;
mod network;
mod opening;
mod peer;
#[path = "../bench/process.rs"]
#[allow(dead_code, reason = "the benchmark uses all of it")]
mod process;
mod read_only;
mod scene;
mod sensor;
mod values;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;

/// How much is done, and with which chances.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// A small count of everything.
    pub quick: bool,
    /// Where chance begins.
    pub seed: u64,
}

/// Gives the figures, or says which promise was broken.
type Proof = fn(Scale) -> anyhow::Result<String>;

const PROOFS: [(&str, Proof); 12] = [
    ("power-cut", cut::prove),
    ("kill", kill::prove),
    ("disk-full", disk_full::prove),
    ("read-only", read_only::prove),
    ("corruption", corruption::prove),
    ("memory", memory::prove),
    ("bytes", bytes::prove),
    ("malformed", malformed::prove),
    ("crowd", crowd::prove),
    ("flood", flood::prove),
    ("limits", limits::prove),
    ("network", network::prove),
];

impl Scale {
    /// Number of something.
    pub fn count(self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let (names, scale) = arguments()?;
    let chosen = |name: &str| names.is_empty() || names.iter().any(|chosen| chosen == name);
    let mut kept = true;
    for (name, prove) in PROOFS.iter().filter(|(name, _)| chosen(name)) {
        let started = Instant::now();
        let proof = prove(scale);
        let seconds = started.elapsed().as_secs();
        match proof {
            Ok(figures) => println!("{name}: kept: {figures} ({seconds} s)"),
            Err(error) => {
                kept = false;
                println!("{name}: BROKEN: {error:#} (seed {}, {seconds} s)", scale.seed);
            }
        }
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn arguments() -> anyhow::Result<(Vec<String>, Scale)> {
    let mut scale = Scale { quick: false, seed: fastrand::u64(..1 << 32) };
    let mut names = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bench" => {}
            "--quick" => scale.quick = true,
            "--seed" => match words.next().and_then(|seed| seed.parse().ok()) {
                Some(seed) => scale.seed = seed,
                None => bail!("--seed needs a number"),
            },
            name if PROOFS.iter().any(|(known, _)| *known == name) => names.push(word),
            _ => bail!("there is no proof {word}"),
        }
    }
    Ok((names, scale))
}
