//! The pure core in a simulated world: one seed gives the network, the disk, the clock, the crashes.
//!
//! `HOLDFAST_SEEDS=100000 cargo test --test sim` runs more, `HOLDFAST_SEED=42` one with every step printed.

mod disk;
#[cfg(test)]
mod fleet;
mod peer;
mod setup;
mod tally;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tally::Tally;
use world::World;

const SEEDS: u64 = 10_000;

fn run(seed: u64) -> Result<Tally, String> {
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed);
        world.trace = number("HOLDFAST_SEED").is_some();
        world.run().map(|()| world.tally)
    }));
    ran.unwrap_or_else(|_| Err("panicked".to_owned())).map_err(|error| format!("seed {seed}: {error}"))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seed_keeps_the_promises() {
    if let Some(seed) = number("HOLDFAST_SEED") {
        println!("{:?}", run(seed).unwrap_or_else(|error| panic!("{error}")));
        return;
    }
    let seeds = number("HOLDFAST_SEEDS").unwrap_or(SEEDS);
    let workers = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let tallies: Vec<Result<Tally, Vec<String>>> = std::thread::scope(|scope| {
        let work = |worker| scope.spawn(move || batch((worker..seeds).step_by(workers as usize)));
        let running: Vec<_> = (0..workers).map(work).collect();
        running.into_iter().map(|thread| thread.join().expect("a batch catches its panics")).collect()
    });
    let mut total = Tally::default();
    let mut failures = Vec::new();
    for tally in tallies {
        match tally {
            Ok(tally) => total += tally,
            Err(errors) => failures.extend(errors),
        }
    }
    println!("{seeds} seeds: {total:?}");
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.iter().map(|f| f.get(..600).unwrap_or(f)).collect::<Vec<_>>().join("\n")
    );
    assert!(
        total.passed > seeds / 20 && total.rolled_back > seeds / 20,
        "trials hardly ever ended: {total:?}"
    );
    assert!(
        total.commands > seeds && total.reloads > seeds / 2,
        "people hardly ever did anything: {total:?}"
    );
    assert!(total.reloads_of_several > seeds / 10, "reloads hardly ever changed several tables: {total:?}");
    assert!(total.shown > seeds, "subscribers hardly ever heard anything: {total:?}");
    assert!(total.moves > seeds / 10, "links hardly ever moved: {total:?}");
    assert!(total.sick > seeds / 10, "disks were hardly ever sick: {total:?}");
    assert!(total.choked > seeds / 10, "messages hardly ever were poison: {total:?}");
    assert!(total.crowds >= seeds / 1000, "many links hardly ever shared the disk: {total:?}");
    assert!(total.slow > seeds, "lines were hardly ever slow: {total:?}");
    assert!(total.unwilling > seeds / 2, "peers hardly ever closed for reasons of their own: {total:?}");
    assert!(total.oversized > seeds / 50, "envelopes hardly ever were too large: {total:?}");
    assert!(total.unechoed > seeds / 50, "peers hardly ever failed to echo: {total:?}");
    assert!(
        total.busy > seeds / 20 && total.posts_refused > seeds / 20 && total.unanswered > seeds / 50,
        "HTTP servers were too kind: {total:?}"
    );
    assert!(total.heard > seeds, "peers hardly ever spoke: {total:?}");
    assert!(total.came > seeds / 20 && total.went > seeds / 20, "links hardly ever came or went: {total:?}");
    assert!(
        total.crashes > seeds && total.stored > seeds && total.dropped > 0 && total.expired > 0,
        "the world was too kind: {total:?}"
    );
}

fn batch(seeds: impl Iterator<Item = u64>) -> Result<Tally, Vec<String>> {
    let mut total = Tally::default();
    let mut failures = Vec::new();
    for seed in seeds {
        match run(seed) {
            Ok(tally) => total += tally,
            Err(error) => failures.push(error),
        }
        if failures.len() >= 5 {
            break;
        }
    }
    if failures.is_empty() { Ok(total) } else { Err(failures) }
}
