//! Files that are removed, renamed or replaced while the agent runs.

use super::*;

fn numbers(next: u64) -> Sequences {
    Sequences { session: 4, ids: SequenceRange { next, end: next + 100 }, ..Sequences::default() }
}

/// A store that holds something, and one message that is on its way.
fn holding(dir: &Path) -> Bench {
    let bench = Bench::open(dir);
    bench.append(OutletId(0), noise(1..=40, 200));
    bench.append(OutletId(1), noise(7..=9, 20_000));
    bench.forget(OutletId(0), 5);
    assert_eq!(bench.ask(StoreOrder::SaveNumbers(numbers(1))).0, StoreReport::NumbersSaved);
    bench
}

/// The report of an order, and what was repaired for it.
fn ask(bench: &Bench, order: StoreOrder) -> (StoreReport, Vec<String>) {
    let mut told = Vec::new();
    let mut report = bench.ask(order).0;
    while let StoreReport::Repaired { repairs } = report {
        told.extend(repairs);
        report = bench.reports.recv_timeout(DEADLINE).unwrap().0;
    }
    (report, told)
}

fn append(bench: &Bench) -> (StoreReport, Vec<String>) {
    ask(bench, StoreOrder::Append { parts: vec![(OutletId(0), noise(41..=41, 10))] })
}

/// What would be there after a kill at this moment.
fn assert_all_is_there(dir: &Path) {
    let copy = tempfile::tempdir().unwrap();
    copy_all(dir, copy.path());
    let bench = Bench::open(copy.path());
    assert_eq!(bench.opened.numbers, Some(numbers(1)));
    let held = bench.all(OutletId(0));
    let (first, last) = (held.first().map(|entry| entry.seq), held.last().map(|entry| entry.seq));
    assert!(first.is_some_and(|first| first <= 6) && last == Some(41), "{first:?} to {last:?}");
    assert_eq!(held.len() as u64, 42 - first.unwrap_or_default());
    assert_eq!(bench.all(OutletId(1)), noise(7..=9, 20_000));
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let (file, to) = (file.unwrap(), |file: &fs::DirEntry| to.join(file.file_name()));
        match file.file_type().unwrap().is_dir() {
            true => copy_all(&file.path(), &to(&file)),
            false => drop(fs::copy(file.path(), to(&file)).unwrap()),
        }
    }
}

#[test]
fn what_is_removed_or_renamed_is_made_anew_with_all_that_was_held_before_anything_is_safe() {
    type Change = fn(&Path);
    let changes: [Change; 5] = [
        |data| fs::remove_dir_all(data).unwrap(),
        |data| fs::rename(data, data.with_extension("away")).unwrap(),
        |data| fs::remove_dir_all(data.join("store")).unwrap(),
        |data| fs::remove_file(data.join("store/db")).unwrap(),
        |data| {
            fs::rename(data, data.with_extension("away")).unwrap();
            fs::create_dir(data).unwrap();
        },
    ];
    for change in changes {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let bench = holding(&data);
        change(&data);
        let (report, told) = append(&bench);
        assert_eq!((report, told.len()), (StoreReport::Appended, 1), "{told:?}");
        assert_all_is_there(&data);
        assert_eq!(append(&bench), (StoreReport::Appended, vec![]), "it is told once");
        assert_eq!(bench.all(OutletId(1)), noise(7..=9, 20_000));
    }
}

#[test]
fn a_numbers_file_that_is_removed_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let bench = holding(dir.path());
    fs::remove_file(dir.path().join("numbers")).unwrap();
    assert_eq!(append(&bench).0, StoreReport::Appended);
    assert_all_is_there(dir.path());
}

#[test]
fn a_lock_that_is_removed_is_made_again_and_keeps_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let bench = holding(dir.path());
    fs::remove_file(dir.path().join("lock")).unwrap();
    assert_eq!(append(&bench).0, StoreReport::Appended);
    let settings = Settings { dir: dir.path().to_owned(), outlets: Vec::new() };
    let other = open(settings, |_| {}, |_, _| {});
    assert!(matches!(other, Err(OpenError::Locked(_))), "{other:?}");
}

#[test]
fn a_directory_that_was_replaced_by_one_with_a_store_is_left_alone_and_what_is_held_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let other = dir.path().join("other");
    Bench::open(&other).append(OutletId(0), noise(1..=3, 10));
    let bench = holding(&data);
    fs::rename(&data, dir.path().join("away")).unwrap();
    fs::rename(&other, &data).unwrap();
    let (report, _) = append(&bench);
    assert!(
        matches!(&report, StoreReport::Failed { order: StoreOrderKind::Append, error, .. } if error.contains("another store")),
        "{report:?}"
    );
    assert_eq!(bench.all(OutletId(1)), noise(7..=9, 20_000));
    drop(bench);
    assert_eq!(Bench::open(&data).all(OutletId(0)), noise(1..=3, 10));
}
