//! The corpus of the fuzz targets, and mutations of it, against the same functions, without libFuzzer.

mod targets;

use std::panic::catch_unwind;
use std::path::Path;

use fastrand::Rng;

/// Inputs that are made of each corpus.
const MUTATIONS: usize = 20_000;
const SEED: u64 = 0x484F_4C44;
/// Bytes up to which an input may grow.
const LENGTH_MAX: usize = 4096;
/// Numbers that lie beside a limit, and letters that mean something.
const TELLING: &[u8] = b"\x00\x01\x7f\x80\xff\x9f\xbf{}[]\",:\\${}/%+#=\n";

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("each target has a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
}

/// Tries every input of the corpus and what becomes of it, the same in each run.
fn replay(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    assert!(corpus.len() > 3, "the corpus of {name} is lost");
    corpus.iter().for_each(|input| check(target, input));
    let mut rng = Rng::with_seed(SEED);
    for _ in 0..MUTATIONS {
        check(target, &mutated(&corpus, &mut rng));
    }
}

fn check(target: fn(&[u8]), input: &[u8]) {
    if catch_unwind(|| target(input)).is_err() {
        panic!("this input breaks it: b\"{}\"", input.escape_ascii());
    }
}

fn mutated(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = any(corpus, rng).to_vec();
    for _ in 0..rng.usize(1..8) {
        let at = rng.usize(0..=input.len());
        let end = rng.usize(at..=input.len().min(at + 64));
        match rng.u8(0..6) {
            0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << rng.u8(0..8)),
            1 => input.insert(at, TELLING[rng.usize(0..TELLING.len())]),
            2 => input
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte = TELLING[rng.usize(0..TELLING.len())]),
            3 => drop(input.drain(at..end)),
            4 => {
                let copied = input[at..end].to_vec();
                let to = rng.usize(0..=input.len());
                drop(input.splice(to..to, copied));
            }
            _ => {
                let other = any(corpus, rng);
                input.truncate(at);
                input.extend_from_slice(&other[rng.usize(0..=other.len())..]);
            }
        }
        input.truncate(LENGTH_MAX);
    }
    input
}

fn any<'a>(corpus: &'a [Vec<u8>], rng: &mut Rng) -> &'a [u8] {
    &corpus[rng.usize(0..corpus.len())]
}

#[test]
fn stored_groups_bear_what_a_damaged_disk_gives_back() {
    replay("group", targets::group);
}

#[test]
fn frames_bear_what_a_peer_may_send() {
    replay("frame", targets::frame);
}

#[test]
fn a_configuration_that_is_accepted_is_shown_as_it_can_be_read_back() {
    replay("config", targets::config);
}

#[test]
fn paths_and_queries_give_valid_names_or_none() {
    replay("path", targets::path);
}

#[test]
fn packets_bear_what_a_broker_may_send() {
    replay("packet", targets::packet);
}

#[test]
fn packets_bear_what_a_sensor_may_send() {
    replay("sensor", targets::sensor);
}

#[test]
fn packets_bear_what_a_broker_may_send_to_one_that_reads() {
    replay("broker", targets::broker);
}
