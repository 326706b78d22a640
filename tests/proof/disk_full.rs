//! A small file system is filled to the last byte and emptied again, again and again, while sensors send.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;

use super::Scale;
use super::mounted::{Image, Mounted};
use super::peer::{Peer, Received};
use super::scene::{Scene, scratch};
use super::sensor::Sensors;

const ROUNDS: u64 = 25;
const ROUNDS_QUICK: u64 = 2;
const SIZE: u64 = 112 << 20;

/// Deed while the disk is full.
#[derive(Clone, Copy)]
enum Meanwhile {
    Nothing,
    Drain,
    Restart,
}

/// Proves it.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let directory = scratch()?;
    let rounds = scale.count(ROUNDS, ROUNDS_QUICK);
    let tmpfs = Mounted::tmpfs(&directory.path().join("tmpfs"), SIZE)?;
    let mut figures = vec![format!("tmpfs: {}", fill_again_and_again(&tmpfs, rounds, scale.seed)?)];
    drop(tmpfs);
    let ext4 = Image::ext4(directory.path(), SIZE);
    match ext4.and_then(|image| image.mount(&directory.path().join("ext4"), "rw")) {
        Ok(ext4) => figures.push(format!("ext4: {}", fill_again_and_again(&ext4, rounds, scale.seed)?)),
        Err(error) => figures.push(format!("no ext4 here ({error:#})")),
    }
    Ok(figures.join("; "))
}

fn fill_again_and_again(small: &Mounted, rounds: u64, seed: u64) -> anyhow::Result<String> {
    // Whoever fills the disk lowers the bound in force; with `drop-oldest` what is held would give way to what is new.
    let buffer = "[buffer]\ncommit_after = \"30ms\"\nwhen_full = \"reject\"";
    let scene = Scene::new(&small.at, "window = 100", buffer)?;
    let mut chance = fastrand::Rng::with_seed(seed);
    let received = Received::default();
    let mut agent = scene.start()?;
    let sensors = Sensors::start(&scene.address, Duration::from_millis(1), 0);
    let (mut restarts, mut refused) = (0, 0);
    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(chance.u64(50..500)));
        let filler = Filler::fill(&small.at.join("filler"))?;
        scene.wait_until("the status says that the disk is full", || says_failing(&scene))?;
        match [Meanwhile::Nothing, Meanwhile::Drain, Meanwhile::Restart][(round % 3) as usize] {
            Meanwhile::Nothing => std::thread::sleep(Duration::from_millis(chance.u64(0..3_000))),
            Meanwhile::Drain => {
                let _peer = Peer::listen(scene.peer, &received)?;
                std::thread::sleep(Duration::from_millis(chance.u64(0..3_000)));
            }
            Meanwhile::Restart => {
                drop(agent);
                restarts += 1;
                // The filler may have taken the reserve, too. Then the agent ends, and is started again.
                agent = scene.start().or_else(|_| {
                    refused += 1;
                    std::fs::remove_file(&filler.0)?;
                    scene.start()
                })?;
            }
        }
        drop(filler);
        let before = sensors.stored().len();
        scene.wait_until("it stores again without a restart", || sensors.stored().len() > before + 10)?;
        if let Some(status) = agent.ended()? {
            bail!("the agent ended: {status}");
        }
    }
    let (stored, _) = sensors.end();
    let _peer = Peer::listen(scene.peer, &received)?;
    scene.wait_until("all is drained", || scene.is_drained())?;
    received.require(&stored)?;
    let panics = scene.log_with(&["panicked"]).len();
    if panics > 0 {
        bail!("{panics} panics: {:?}", scene.log_with(&["panicked"]).first());
    }
    Ok(format!(
        "{rounds} times full to the last byte, {restarts} restarts on a full disk ({refused} ended until there was space), 0 panics, 0 of {} stored readings lost, \
         stores again by itself each time",
        stored.len()
    ))
}

/// The status names the disk as the reason.
fn says_failing(scene: &Scene) -> bool {
    let status = scene.status().unwrap_or_default();
    status["buffer"]["state"] == "failing" && status["buffer"]["error"].is_string()
}

/// A file that takes all space there is. Dropping it gives the space back.
struct Filler(PathBuf);

impl Filler {
    fn fill(path: &Path) -> anyhow::Result<Filler> {
        let mut file = File::create(path)?;
        for size in [1 << 20, 4096, 1] {
            let bytes = vec![7; size];
            while file.write(&bytes).is_ok() {}
        }
        // Where space is only promised until it is written back, this takes it.
        let _ = file.sync_all();
        Ok(Filler(path.to_owned()))
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
