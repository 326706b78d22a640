//! Any file of the store is damaged at random, then the agent is started on it.
//!
//! A group is undamaged as long as one whole copy of each of its values lies untouched in the log.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::Scale;
use super::peer::{Peer, Received};
use super::scene::{Scene, copy, scratch};
use super::sensor::Sensors;
use super::values::{self, Group};

const DAMAGES: u64 = 1_000;
const DAMAGES_QUICK: u64 = 60;
/// Each store is damaged so often, each time afresh.
const DAMAGES_PER_STORE: u64 = 50;
const PAGE: usize = 4096;

/// Sum of all damages.
#[derive(Default)]
struct Sums {
    damages: u64,
    /// Damages of the log itself.
    in_log: u64,
    /// Damages after which not all came, and the readings that did not.
    losing: u64,
    lost: usize,
    /// Lost groups that no gap covers, because all groups of their store are lost.
    unannounced: u64,
    /// Damages after which the peer was told what is missing, but the status says nothing.
    untold: u64,
    /// Readings that had to come, over all damages.
    undamaged: usize,
    /// Starts that had to repair something.
    repaired: u64,
    /// Of the undamaged readings, those in damaged logs.
    undamaged_in_log: usize,
}

/// A store with what is in it.
struct Sample {
    /// Its files.
    directory: PathBuf,
    /// Readings that were stored and not delivered.
    held: BTreeSet<u64>,
    /// The groups in its log.
    groups: Vec<Group>,
}

/// Bytes of one file that were damaged.
struct Damage {
    file: PathBuf,
    /// Bytes that are not what they were.
    touched: Vec<Range<usize>>,
    how: String,
}

/// Proves it.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let directory = scratch()?;
    let mut chance = fastrand::Rng::with_seed(scale.seed);
    let after = Scene::new(&directory.path().join("after"), "framing = \"envelope\"", "")?;
    let mut sums = Sums::default();
    let damages = scale.count(DAMAGES, DAMAGES_QUICK);
    while sums.damages < damages {
        let home = directory.path().join(format!("sample-{}", sums.damages));
        let sample = Sample::make(&home, &mut chance)?;
        for _ in 0..DAMAGES_PER_STORE.min(damages - sums.damages) {
            damage_once(&sample, &after, &mut sums, &mut chance)?;
        }
        std::fs::remove_dir_all(&home)?;
    }
    let Sums { damages, in_log, losing, lost, unannounced, untold, undamaged, undamaged_in_log, repaired } =
        sums;
    if undamaged_in_log == 0 {
        bail!("no group was found in any log, so nothing is proven");
    }
    Ok(format!(
        "{damages} damages ({in_log} of the log): {damages} starts, {repaired} with a repair; all {undamaged} readings of \
         undamaged groups came; {lost} of damaged groups in {losing} stores did not, {unannounced} groups without a gap as none was left, \
         {untold} times without a word in the status"
    ))
}

fn damage_once(
    sample: &Sample,
    after: &Scene,
    sums: &mut Sums,
    chance: &mut fastrand::Rng,
) -> anyhow::Result<()> {
    let data = after.data();
    std::fs::remove_dir_all(&data)?;
    copy(&sample.directory, &data)?;
    let damage = Damage::do_some(&data, chance)?;
    let is_log = damage.file.ends_with("store/db");
    let due = if is_log { sample.undamaged(&damage.touched) } else { sample.held.clone() };
    let received = Received::default();
    let checked = check(after, sample, &due, &received, sums);
    if checked.is_err() {
        // Chance and time have made it, so that no seed makes it again.
        let kept = scratch()?.keep();
        copy(&sample.directory, &kept.join("data"))?;
        copy(&data, &kept.join("after"))?;
        return checked.with_context(|| {
            let (number, file) = (sums.damages, damage.file.display());
            format!(
                "damage {number}: {file} {}; the store before and after lies in {}",
                damage.how,
                kept.display()
            )
        });
    }
    sums.damages += 1;
    sums.in_log += u64::from(is_log);
    sums.undamaged += due.len();
    sums.undamaged_in_log += if is_log { due.len() } else { 0 };
    Ok(())
}

/// Starts the agent on the damaged store: what is due must come, and what does not come must be told.
fn check(
    after: &Scene,
    sample: &Sample,
    due: &BTreeSet<u64>,
    received: &Received,
    sums: &mut Sums,
) -> anyhow::Result<()> {
    let _peer = Peer::listen(after.peer, received)?;
    let _agent = after.start()?;
    let all_came = || received.missing(&sample.held).is_empty();
    after.wait_until("all is drained", || all_came() || after.is_drained())?;
    let missing = received.missing(due);
    let status = after.status()?;
    if !missing.is_empty() {
        let repairs = &status["repairs"];
        bail!("{} readings of undamaged groups are lost: {missing:?}; repairs {repairs}", missing.len());
    }
    let lost = received.missing(&sample.held);
    for group in
        sample.groups.iter().filter(|group| lost.iter().any(|number| group.readings.contains(number)))
    {
        if received.distinct() == 0 {
            // Where nothing is held any more, the peer sees what is missing when the next number comes.
            sums.unannounced += 1;
            continue;
        }
        let (first, last) = group.range;
        let what = format!("{first} to {last} came or are announced");
        after.wait_until(&what, || received.accounts_for(group.range))?;
    }
    let repaired = status["repairs"].as_array().is_some_and(|repairs| !repairs.is_empty());
    sums.repaired += u64::from(repaired);
    sums.losing += u64::from(!lost.is_empty());
    sums.untold += u64::from(!lost.is_empty() && !repaired);
    sums.lost += lost.len();
    Ok(())
}

impl Sample {
    /// A store that was filled, drained in part, filled again and killed, once or twice.
    fn make(home: &Path, chance: &mut fastrand::Rng) -> anyhow::Result<Sample> {
        let scene = Scene::new(home, "window = 20", "[buffer]\ncommit_after = \"20ms\"")?;
        let received = Received::default();
        let mut agent = scene.start()?;
        let sensors = Sensors::start(&scene.address, Duration::from_millis(1), 0);
        for _ in 0..chance.u64(1..4) {
            std::thread::sleep(Duration::from_millis(chance.u64(100..600)));
            let peer = Peer::listen(scene.peer, &received)?;
            std::thread::sleep(Duration::from_millis(chance.u64(0..150)));
            drop(peer);
            if chance.bool() {
                drop(agent);
                agent = scene.start()?;
            }
        }
        std::thread::sleep(Duration::from_millis(chance.u64(100..600)));
        let (stored, _) = sensors.end();
        drop(agent);
        let log = std::fs::read(scene.data().join("store/db"))?;
        let held = stored.iter().map(|(number, _)| *number).filter(|number| !received.has(*number));
        Ok(Sample { directory: scene.data(), held: held.collect(), groups: values::groups(&log) })
    }

    /// The readings that are held and lie in an undamaged group.
    fn undamaged(&self, touched: &[Range<usize>]) -> BTreeSet<u64> {
        let groups = self.groups.iter().filter(|group| group.survives(touched));
        groups
            .flat_map(|group| &group.readings)
            .filter(|number| self.held.contains(number))
            .copied()
            .collect()
    }
}

impl Damage {
    /// Damages one file below a directory: half of the times the log, else any.
    fn do_some(data: &Path, chance: &mut fastrand::Rng) -> anyhow::Result<Damage> {
        let mut files = Vec::new();
        list(data, &mut files)?;
        let log = data.join("store/db");
        let file = if chance.bool() { log } else { files[chance.usize(..files.len())].clone() };
        let mut bytes = std::fs::read(&file)?;
        // Behind its end a log is all zeroes, where hardly anything could be damaged.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let used = if chance.u8(..8) == 0 { bytes.len() } else { used };
        if used == 0 {
            return Ok(Damage { file, touched: Vec::new(), how: "is empty".to_owned() });
        }
        let at = chance.usize(..used);
        let (touched, how) = match chance.u8(..5) {
            0 => {
                bytes[at] ^= 1 << chance.u8(..8);
                (one(at..at + 1), format!("has a bit flipped at {at}"))
            }
            1 => {
                let places: Vec<usize> = (0..chance.usize(2..64)).map(|_| chance.usize(..used)).collect();
                places.iter().for_each(|at| bytes[*at] ^= chance.u8(1..));
                (places.iter().map(|at| *at..at + 1).collect(), format!("has bytes flipped at {places:?}"))
            }
            2 => {
                let end = used.min(at + chance.usize(1..=2 * PAGE));
                bytes[at..end].iter_mut().for_each(|byte| *byte = chance.u8(..));
                (one(at..end), format!("has nonsense from {at} to {end}"))
            }
            3 => {
                let start = at / PAGE * PAGE;
                let end = used.min(start + PAGE);
                bytes[start..end].fill(0);
                (one(start..end), format!("has zeroes from {start} to {end}"))
            }
            _ => {
                bytes.truncate(at);
                (one(at..usize::MAX), format!("ends at {at}"))
            }
        };
        std::fs::write(&file, bytes)?;
        Ok(Damage { file, touched, how })
    }
}

fn one(bytes: Range<usize>) -> Vec<Range<usize>> {
    std::iter::once(bytes).collect()
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    files.sort();
    Ok(())
}
