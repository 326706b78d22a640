//! Power cuts. The agent's changes of files and its syncs are recorded; from the recording the directory is rebuilt as a cut
//! at any moment could have left it, and the agent is started there. One of these images is where the next life begins.

mod disk;
mod recording;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use self::disk::{Disk, FATES};
use self::recording::Step;
use super::Scale;
use super::peer::{Peer, Received, length_of};
use super::scene::{Scene, copy, scratch};
use super::sensor::Sensors;

const CUTS: u64 = 1_000;
const CUTS_QUICK: u64 = 60;
const CUTS_PER_LIFE: u64 = 40;
/// Openings in a row that an image was cut off in before, at most.
const CUT_OFF_MAX: u8 = 50;
const LIVES_PER_CHAIN: u64 = 5;
/// Between two requests of a sensor.
const PAUSE: Duration = Duration::from_millis(2);
/// Tells how many openings in a row have ended the process.
const MARKER: &str = "store.opening";
/// The recorder does not see how the ballast gets its bytes, a lock means nothing after a cut, and a socket is no file.
const APART: [&str; 3] = ["ballast", "lock", "control.sock"];

/// Sum of all cuts.
#[derive(Default)]
struct Sums {
    cuts: u64,
    lives: u64,
    steps: usize,
    stored: usize,
    /// Readings that were stored and not delivered when the power was cut, over all cuts.
    at_stake: usize,
    /// Starts that had to repair something.
    repaired: u64,
}

/// One life up to its end, and what it has from the lives before.
struct Life {
    /// The files as they were at its beginning.
    disk: Disk,
    /// Each step with the length of the recording behind it.
    steps: Vec<(u64, Step)>,
    /// Each stored reading with the length of the recording when its sensor was told.
    stored: Vec<(u64, u64)>,
    /// Each reading that the peer got with the length of the recording then.
    received: BTreeMap<u64, u64>,
    /// First number that no reading has.
    next: u64,
    /// The length of the recording when the agent had opened its store.
    opened: u64,
}

/// Proves it.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let directory = scratch()?;
    let root = directory.path().canonicalize()?;
    let mut run = Run {
        library: recording::compile(&root)?,
        after: Scene::new(&root.join("after"), "", "")?,
        cuts: scale.count(CUTS, CUTS_QUICK),
        chance: fastrand::Rng::with_seed(scale.seed),
        sums: Sums::default(),
        root,
    };
    while run.sums.cuts < run.cuts {
        run.chain()?;
    }
    let Sums { cuts, lives, steps, stored, at_stake, repaired } = run.sums;
    Ok(format!(
        "{cuts} cuts in {lives} lives with {steps} changes and syncs and {stored} stored readings: 0 of {at_stake} readings \
         at stake lost, {cuts} starts, {repaired} of them with a repair"
    ))
}

struct Run {
    root: PathBuf,
    library: PathBuf,
    /// Where images are started.
    after: Scene,
    cuts: u64,
    chance: fastrand::Rng,
    sums: Sums,
}

impl Run {
    /// Some lives, each of which begins where a cut has left the one before.
    fn chain(&mut self) -> anyhow::Result<()> {
        let (home, image) = (self.root.join("home"), self.root.join("image"));
        let (mut owed, mut next) = (BTreeSet::new(), 0);
        for life in 0..LIVES_PER_CHAIN {
            if self.sums.cuts >= self.cuts {
                break;
            }
            let _ = std::fs::remove_dir_all(&home);
            let pace = self.chance.u64(10..250);
            let scene = Scene::new(&home, "window = 100", &format!("[buffer]\ncommit_after = \"{pace}ms\""))?;
            if life > 0 {
                copy(&image, &scene.data())?;
            }
            let life = self.live(&scene, &owed, next)?;
            next = life.next;
            owed = self.cut_everywhere(life, &image)?;
        }
        Ok(())
    }

    /// Runs an agent under the recorder, with sensors, and a link that comes and goes. It has `owed` from lives before.
    fn live(&mut self, scene: &Scene, owed: &BTreeSet<u64>, next: u64) -> anyhow::Result<Life> {
        let (data, record) = (scene.data(), self.root.join("recording"));
        let _ = std::fs::remove_file(&record);
        let disk = Disk::of(&data)?;
        let received = Received::default();
        received.beside(&record);
        let environment = [("LD_PRELOAD", &*self.library), ("PROOF_ROOT", &*data), ("PROOF_LOG", &*record)];
        let agent = scene.start_with(&environment)?;
        let opened = length_of(&record);
        let sensors = Sensors::start(&scene.address, PAUSE, next);
        sensors.beside(&record);
        for _ in 0..self.chance.u64(1..7) {
            std::thread::sleep(Duration::from_millis(self.chance.u64(20..1_500)));
            let _peer = Peer::listen(scene.peer, &received)?;
            std::thread::sleep(Duration::from_millis(self.chance.u64(20..400)));
        }
        let (stored, next) = sensors.end();
        settle(&record);
        drop(agent);
        let steps = recording::read(&record)?;
        let mut whole = disk.clone();
        for (_, step) in &steps {
            whole.take(step)?;
        }
        whole.compare(&data, &APART)?;
        self.sums.lives += 1;
        self.sums.steps += steps.len();
        self.sums.stored += stored.len();
        let stored = owed.iter().map(|number| (*number, 0)).chain(stored).collect();
        Ok(Life { disk, steps, stored, received: received.all(), next, opened })
    }

    /// Cuts the power at many moments of a life. One of the images is kept; gives the readings that are owed there.
    fn cut_everywhere(&mut self, life: Life, kept: &Path) -> anyhow::Result<BTreeSet<u64>> {
        let moments = self.moments(&life);
        let chosen = self.chance.usize(..moments.len());
        let (mut disk, mut steps) = (life.disk.clone(), life.steps.iter());
        let (mut done, mut owed) = (0, BTreeSet::new());
        for (place, moment) in moments.into_iter().enumerate() {
            while done < moment
                && let Some((position, step)) = steps.next()
            {
                disk.take(step)?;
                done = *position;
            }
            let at_stake = life.at_stake(moment);
            let fate = FATES[self.chance.usize(..FATES.len())];
            let data = self.after.data();
            std::fs::remove_dir_all(&data)?;
            disk.cut(&data, fate, &mut self.chance)?;
            if place == chosen {
                let _ = std::fs::remove_dir_all(kept);
                copy(&data, kept)?;
                owed.clone_from(&at_stake);
            }
            // A supply that flickers ends openings; the agent then trusts ever less of what sled has left.
            if self.chance.u8(..4) == 0 {
                std::fs::write(data.join(MARKER), self.chance.u8(1..=CUT_OFF_MAX).to_string())?;
            }
            let checked = self.check(&at_stake);
            checked.with_context(|| format!("cut {} at {moment}, {fate:?}", self.sums.cuts))?;
        }
        Ok(owed)
    }

    /// Moments to cut at, in order: half of them just when a sensor has been told, a quarter while the store is opened, the
    /// rest anywhere.
    fn moments(&mut self, life: &Life) -> Vec<u64> {
        let count = CUTS_PER_LIFE.min(self.cuts - self.sums.cuts);
        let mut moments = Vec::new();
        let opening = life.steps.iter().take_while(|(position, _)| *position <= life.opened).count();
        for number in 0..count {
            moments.push(match number % 4 {
                0 => life.steps[self.chance.usize(..opening.max(1))].0,
                1 => life.steps[self.chance.usize(..life.steps.len())].0,
                _ if life.stored.is_empty() => life.steps[self.chance.usize(..life.steps.len())].0,
                _ => life.stored[self.chance.usize(..life.stored.len())].1,
            });
        }
        moments.sort_unstable();
        moments
    }

    /// Starts the agent on what the cut has left. All that is at stake must come.
    fn check(&mut self, at_stake: &BTreeSet<u64>) -> anyhow::Result<()> {
        let received = Received::default();
        let _peer = Peer::listen(self.after.peer, &received)?;
        let _agent = self.after.start()?;
        let repairs = self.after.status()?["repairs"].as_array().map_or(0, Vec::len);
        let all_came = || received.missing(at_stake).is_empty();
        self.after.wait_until("all is drained", || all_came() || self.after.is_drained())?;
        let lost = received.missing(at_stake);
        if !lost.is_empty() {
            bail!("{} of {} stored readings are lost: {lost:?}", lost.len(), at_stake.len());
        }
        self.sums.cuts += 1;
        self.sums.at_stake += at_stake.len();
        self.sums.repaired += u64::from(repairs > 0);
        Ok(())
    }
}

impl Life {
    /// Readings that were stored and not delivered at this moment.
    fn at_stake(&self, moment: u64) -> BTreeSet<u64> {
        let stored = self.stored.iter().filter(|(_, told)| *told <= moment).map(|(number, _)| *number);
        stored.filter(|number| self.received.get(number).is_none_or(|came| *came > moment)).collect()
    }
}

/// Waits until the agent changes nothing more.
fn settle(record: &Path) {
    let mut before = 0;
    while before != length_of(record) {
        before = length_of(record);
        std::thread::sleep(Duration::from_millis(1_200));
    }
}
