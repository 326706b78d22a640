//! A directory that cannot be written. The tests may run as root, whom no permission stops: a directory in the place of the lock
//! does.

use holdfast_core::outlet::inspect::{StoreAnswer, StoreQuery};

use super::*;

fn close_for_writing(dir: &Path) {
    fs::remove_file(dir.join("lock")).unwrap();
    fs::create_dir(dir.join("lock")).unwrap();
}

fn open_for_writing(dir: &Path) {
    fs::remove_dir(dir.join("lock")).unwrap();
}

/// A store with groups of one and of many parts, some of them removed, in a directory that cannot be written any more.
fn closed() -> (tempfile::TempDir, Vec<Held>) {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(1..=60, 900));
    bench.append(OutletId(0), noise(61..=90, 10));
    bench.append(OutletId(1), noise(7..=9, 20_000));
    let held = bench.forget(OutletId(0), 20).held;
    bench.close();
    close_for_writing(dir.path());
    (dir, held)
}

#[test]
fn a_store_that_cannot_be_written_gives_out_what_it_has() {
    let (dir, held) = closed();
    let bench = Bench::open(dir.path());
    assert!(bench.opened.facts.read_only.is_some());
    assert_eq!(bench.opened.facts.held, held);
    let first = held[0].range.unwrap().0;
    let rest: Vec<Entry> = [noise(1..=60, 900), noise(61..=90, 10)].concat();
    let rest: Vec<Entry> = rest.into_iter().filter(|entry| entry.seq >= first).collect();
    assert_eq!(bench.all(OutletId(0)), rest);
    assert_eq!(bench.all(OutletId(1)), noise(7..=9, 20_000));
    let order = StoreOrder::Read { outlet: OutletId(0), from: 88, falling: true, max_bytes: 1, token: 1 };
    let StoreReport::Read { entries, .. } = bench.ask(order).0 else { panic!("no entries") };
    assert_eq!(entries.first().map(|entry| entry.seq), Some(88));
    let (reply, answer) = smol::channel::bounded(1);
    bench.store.as_ref().unwrap().look(StoreQuery::Entries { outlet: "cloud".into(), from: 0 }, reply);
    let seen = answer.recv_blocking().unwrap();
    assert!(matches!(seen, Ok(StoreAnswer::Entries { entries, .. }) if entries.first() == rest.first()));
}

#[test]
fn what_is_confirmed_is_remembered_and_removed_once_the_store_can_be_written() {
    let (dir, _) = closed();
    let bench = Bench::open(dir.path());
    let facts = bench.forget(OutletId(0), 75);
    assert!(facts.held[0].range.is_some_and(|(first, _)| first > 60), "{facts:?}");
    let failed = |report: &StoreReport| matches!(report, StoreReport::Failed { .. });
    assert!(failed(&bench.ask(StoreOrder::Append { parts: vec![(OutletId(0), noise(91..=91, 10))] }).0));
    assert!(failed(&bench.ask(StoreOrder::Reopen).0));
    open_for_writing(dir.path());
    let (report, still) = bench.ask(StoreOrder::Reopen);
    assert_eq!((report, &still.held), (StoreReport::Reopened, &facts.held));
    bench.close();
    let bench = Bench::open(dir.path());
    assert_eq!((bench.opened.facts.read_only.clone(), &bench.opened.facts.held), (None, &facts.held));
    assert_eq!(bench.all(OutletId(1)), noise(7..=9, 20_000));
    bench.append(OutletId(0), noise(91..=91, 10));
}

#[test]
fn a_message_that_is_set_aside_meanwhile_is_among_the_dead_letters_afterwards() {
    let (dir, _) = closed();
    fs::write(dir.path().join("dead"), "in the place of a directory").unwrap();
    let bench = Bench::open(dir.path());
    let order = StoreOrder::SetAside { outlet: OutletId(0), seq: 88, reason: "no".into(), message: None };
    assert_eq!(bench.ask(order).0, StoreReport::SetAside { outlet: OutletId(0), seq: 88, found: true });
    open_for_writing(dir.path());
    assert!(
        matches!(bench.ask(StoreOrder::Reopen).0, StoreReport::Failed { .. }),
        "it cannot be written yet"
    );
    fs::remove_file(dir.path().join("dead")).unwrap();
    assert_eq!(bench.ask(StoreOrder::Reopen).0, StoreReport::Reopened);
    bench.close();
    assert_eq!(Bench::open(dir.path()).opened.facts.dead, 1);
}

#[test]
fn a_directory_that_is_not_there_and_cannot_be_made_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let settings = Settings { dir: dir.path().join("file/data"), outlets: Vec::new() };
    let opened = open(settings, |_| {}, |_, _| {});
    assert!(matches!(opened, Err(OpenError::Disk(_))), "{opened:?}");
}

#[test]
fn two_agents_do_not_share_a_directory_that_cannot_be_written() {
    let (dir, _) = closed();
    let _bench = Bench::open(dir.path());
    let settings = Settings { dir: dir.path().to_owned(), outlets: Vec::new() };
    let other = open(settings, |_| {}, |_, _| {});
    assert!(matches!(other, Err(OpenError::Locked(_))), "{other:?}");
}
