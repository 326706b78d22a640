//! What an opening makes of interruptions, of damage, and of a world that does not let it.

use std::collections::BTreeMap;

use super::*;

/// What lies beside the store.
fn beside(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("store.")).collect();
    names.sort_unstable();
    names
}

fn interrupt(dir: &Path, count: u32) {
    fs::write(dir.join("store.opening"), count.to_string()).unwrap();
}

fn flip(dir: &Path, at: impl Fn(&group::Head) -> bool) {
    let path = dir.join("store/db");
    let mut bytes = fs::read(&path).unwrap();
    for place in 0..bytes.len() {
        if group::Head::check_at(&bytes[place..]).is_ok_and(|head| at(&head)) {
            bytes[place + 100] ^= 1;
        }
    }
    fs::write(path, bytes).unwrap();
}

/// Numbers of the outlet `cloud`, and of one that is not configured.
fn numbers(confirmed: u64, block: SequenceRange, clean: bool) -> Sequences {
    let own = |epoch: &str| holdfast_core::outlet::store_protocol::OutletSequence {
        epoch: epoch.to_owned(),
        block,
        confirmed: Some(confirmed),
        torn: false,
        skipped: Vec::new(),
    };
    let outlets = [("cloud".to_owned(), own("E1")), ("client:gone".to_owned(), own("E2"))];
    Sequences { outlets: outlets.into(), clean, ..Sequences::default() }
}

fn save(bench: &Bench, numbers: Sequences) {
    assert_eq!(bench.ask(StoreOrder::SaveNumbers(numbers)).0, StoreReport::NumbersSaved);
}

#[test]
fn a_healthy_store_opens_with_all_that_it_holds_however_many_openings_were_cut_off() {
    let source = tempfile::tempdir().unwrap();
    let expected = lived_in(source.path());
    for interrupted in 0..=60 {
        let dir = tempfile::tempdir().unwrap();
        copy_store(source.path(), dir.path());
        interrupt(dir.path(), interrupted);
        let bench = Bench::open(dir.path());
        assert_eq!(bench.opened.repairs, Vec::<String>::new(), "{interrupted}");
        assert_eq!(bench.opened.facts.damaged, 0);
        assert_eq!([bench.all(OutletId(0)), bench.all(OutletId(1))], expected, "{interrupted}");
        assert_eq!(beside(dir.path()), Vec::<String>::new(), "{interrupted}");
    }
}

#[test]
fn a_store_that_was_forgotten_in_the_middle_is_no_damaged_one() {
    let source = tempfile::tempdir().unwrap();
    let bench = Bench::open(source.path());
    for group in 0..5 {
        bench.append(OutletId(0), noise(group * 10 + 1..=group * 10 + 10, 700));
    }
    bench.ask(StoreOrder::Forget { parts: vec![(OutletId(0), vec![(0, 5), (21, 40)])] });
    let expected = bench.all(OutletId(0));
    bench.close();
    for interrupted in 0..=10 {
        let dir = tempfile::tempdir().unwrap();
        copy_store(source.path(), dir.path());
        interrupt(dir.path(), interrupted);
        let bench = Bench::open(dir.path());
        assert_eq!(bench.opened.repairs, Vec::<String>::new(), "{interrupted}");
        let found = bench.all(OutletId(0));
        assert!(expected.iter().all(|entry| found.contains(entry)), "{interrupted}");
        assert!(found.iter().all(|entry| is_message(&entry)), "{interrupted}: a gap is told");
        assert_eq!(beside(dir.path()), Vec::<String>::new());
    }
}

#[test]
fn a_damaged_store_is_salvaged_and_what_is_lost_is_told_however_many_openings_were_cut_off() {
    let source = tempfile::tempdir().unwrap();
    let bench = Bench::open(source.path());
    for start in (1..=200).step_by(10) {
        bench.append(OutletId(0), noise(start..=start + 9, 200));
    }
    bench.close();
    flip(source.path(), |head| head.first == 51);
    let expected =
        [noise(1..=50, 200), vec![gap((51, 60), GapReason::Damaged)], noise(61..=200, 200)].concat();
    for interrupted in 0..=60 {
        let dir = tempfile::tempdir().unwrap();
        copy_store(source.path(), dir.path());
        interrupt(dir.path(), interrupted);
        let bench = Bench::open(dir.path());
        assert_eq!(bench.all(OutletId(0)), expected, "{interrupted}");
        let [aside] = &beside(dir.path())[..] else { panic!("{:?}", beside(dir.path())) };
        assert_eq!(bench.opened.facts.damaged, 1);
        let [repair] = &bench.opened.repairs[..] else { panic!("{:?}", bench.opened.repairs) };
        assert!(
            repair.ends_with(&format!("lost are numbers 51 to 60 of cloud; it lies in {aside} now")),
            "{repair}"
        );
    }
}

/// sled drops a batch whose last record is missing, even if that is only the split of a leaf that the batch has caused.
#[test]
fn a_log_that_is_cut_in_a_batch_gives_every_group_that_lies_whole_before_the_cut() {
    let source = tempfile::tempdir().unwrap();
    let bench = Bench::open(source.path());
    for seq in 1..=12 {
        bench.append(OutletId(0), noise(seq..=seq, 20_000));
    }
    bench.close();
    let bytes = fs::read(source.path().join("store/db")).unwrap();
    // Leaves are written again and again: what counts is the first copy of each part.
    let mut ends = BTreeMap::new();
    for at in 0..bytes.len() {
        if let Ok(head) = group::Head::check_at(&bytes[at..]) {
            ends.entry((head.first, head.part)).or_insert(at + head.value_len());
        }
    }
    let mut tries = 0;
    for seq in 2..=12 {
        let end = ends.range((seq, 0)..(seq + 1, 0)).map(|(_, end)| *end).max().unwrap();
        for cut in (end..bytes.len()).step_by(400).take(6) {
            let dir = tempfile::tempdir().unwrap();
            copy_store(source.path(), dir.path());
            fs::write(dir.path().join("store/db"), &bytes[..cut]).unwrap();
            for life in 0..2 {
                let bench = Bench::open(dir.path());
                let found: Vec<u64> = bench.all(OutletId(0)).iter().map(|entry| entry.seq).collect();
                assert!(
                    found.contains(&seq),
                    "cut at {cut}, {} behind {seq}, life {life}: {found:?}",
                    cut - end
                );
                bench.close();
            }
            tries += 1;
        }
    }
    assert!(tries > 50);
}

#[test]
fn a_store_of_which_nothing_can_be_read_is_told_from_the_first_number_to_the_last() {
    let block = SequenceRange { next: 300, end: 500 };
    for (clean, through) in [(true, 299), (false, 499)] {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench::open(dir.path());
        bench.append(OutletId(0), noise(20..=299, 50));
        save(&bench, numbers(19, block, clean));
        bench.close();
        fs::write(dir.path().join("store/db"), [0xA5; 3000]).unwrap();
        let bench = Bench::open_for(dir.path(), &["cloud"]);
        assert_eq!(bench.all(OutletId(0)), [gap((20, through), GapReason::Damaged)]);
        assert!(bench.opened.repairs[0].contains(&format!("numbers 20 to {through} of cloud")));
        assert!(bench.opened.repairs[0].contains("store.damaged-"), "{:?}", bench.opened.repairs);
        assert_eq!(bench.opened.facts.damaged, 2, "one for each outlet");
        bench.ask(widen(&["client:gone"]));
        assert_eq!(bench.all(OutletId(1)), [gap((20, through), GapReason::Damaged)]);
        bench.close();
        let bench = Bench::open(dir.path());
        assert_eq!(bench.opened.repairs, Vec::<String>::new());
        assert_eq!(bench.all(OutletId(0)), [gap((20, through), GapReason::Damaged)]);
    }
}

#[test]
fn a_store_that_is_gone_while_its_numbers_are_there_is_told() {
    for (gone, told) in [("store", "the store is gone;"), ("store/db", "the store was damaged;")] {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench::open(dir.path());
        bench.append(OutletId(0), noise(20..=299, 50));
        save(&bench, numbers(19, SequenceRange { next: 300, end: 300 }, true));
        bench.close();
        leftovers::remove(&dir.path().join(gone)).unwrap();
        let bench = Bench::open(dir.path());
        assert_eq!(bench.all(OutletId(0)), [gap((20, 299), GapReason::Damaged)]);
        assert!(bench.opened.repairs[0].starts_with(told), "{:?}", bench.opened.repairs);
    }
}

#[test]
fn a_renewal_that_was_cut_off_before_there_was_a_log_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(20..=29, 50));
    bench.forget(OutletId(0), 29);
    save(&bench, numbers(19, SequenceRange { next: 30, end: 500 }, false));
    bench.close();
    fs::rename(dir.path().join("store"), dir.path().join("store.old")).unwrap();
    fs::create_dir(dir.path().join("store")).unwrap();
    let bench = Bench::open(dir.path());
    assert_eq!((bench.opened.repairs.clone(), bench.all(OutletId(0))), (Vec::new(), Vec::new()));
    assert_eq!(beside(dir.path()), Vec::<String>::new());
}

#[test]
fn the_first_and_the_last_groups_that_are_lost_are_told_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    for start in (1..=100).step_by(10) {
        bench.append(OutletId(0), noise(start..=start + 9, 200));
    }
    save(&bench, numbers(10, SequenceRange { next: 101, end: 900 }, false));
    bench.close();
    let path = dir.path().join("store/db");
    let mut bytes = fs::read(&path).unwrap();
    for place in 0..bytes.len() {
        if let Ok(head) = group::Head::check_at(&bytes[place..])
            && (head.first < 31 || head.last > 85)
        {
            bytes[place..place + head.value_len()].fill(0x55);
        }
    }
    fs::write(path, bytes).unwrap();
    let bench = Bench::open(dir.path());
    let found = bench.all(OutletId(0));
    let (Some(first), Some(last)) = (found.first(), found.last()) else { panic!("nothing is there") };
    assert_eq!((first.seq, last.last()), (11, 100), "{:?}", bench.opened.repairs);
    assert!(!is_message(&first) && !is_message(&last));
    assert!(found.windows(2).all(|pair| pair[0].last() + 1 == pair[1].seq), "a hole is left");
}

#[test]
fn outlets_that_are_not_configured_are_salvaged_with_the_rest() {
    for interrupted in [0, 3, 5] {
        for damaged in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let bench = Bench::open_for(dir.path(), &["cloud", "client:gone"]);
            bench.append(OutletId(0), noise(1..=30, 200));
            bench.append(OutletId(1), noise(1..=30, 200));
            save(&bench, numbers(0, SequenceRange { next: 31, end: 31 }, true));
            bench.close();
            if damaged {
                flip(dir.path(), |head| head.outlet == group::tag("cloud") && head.first == 1);
            }
            interrupt(dir.path(), interrupted);
            let bench = Bench::open_for(dir.path(), &["cloud"]);
            assert_eq!(bench.opened.repairs.is_empty(), !damaged, "{:?}", bench.opened.repairs);
            bench.ask(widen(&["client:gone"]));
            assert_eq!(bench.all(OutletId(1)), noise(1..=30, 200), "{interrupted} {damaged}");
        }
    }
}

#[test]
fn a_database_that_is_made_anew_goes_on_where_it_was_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let expected = lived_in(dir.path());
    let names = ["cloud".to_owned(), "mqtt".to_owned()];
    let (log, part) = (dir.path().join("store/db"), dir.path().join("store.rebuild"));
    let mut plan = salvage::Plan::whole(&log, &names, &silent()).unwrap();
    let all = plan.values();
    plan.write(&part, &silent()).unwrap();
    // As if it had come half of the way, and had a group that should not be there.
    let database = backend::Database::open(&part, &names, &[], &|_, _| Ok(None)).unwrap();
    let mut keys = Vec::new();
    database.each(OutletId(0), &mut |key, _| keys.push(key.to_vec())).unwrap();
    keys.iter().step_by(2).for_each(|key| database.remove(OutletId(0), key).unwrap());
    database.put(OutletId(0), [(group::key(1, 2, 0), b"of another time".as_slice())]).unwrap();
    database.flush().unwrap();
    drop(database);
    assert!(all > 60);
    interrupt(dir.path(), 5);
    let bench = Bench::open(dir.path());
    assert_eq!([bench.all(OutletId(0)), bench.all(OutletId(1))], expected);
    assert_eq!((bench.opened.repairs.len(), beside(dir.path()).len()), (0, 0));
}

#[test]
fn a_repair_that_was_cut_off_before_it_could_tell_is_told_by_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    lived_in(dir.path());
    fs::create_dir(dir.path().join("store.damaged-7")).unwrap();
    let marker = "1\nstore.damaged-7\tthe store was damaged\nstore.damaged-8\tthis did not happen\n";
    fs::write(dir.path().join("store.opening"), marker).unwrap();
    assert_eq!(Bench::open(dir.path()).opened.repairs, ["the store was damaged"]);
    assert_eq!(Bench::open(dir.path()).opened.repairs, Vec::<String>::new());
}

#[test]
fn what_was_set_aside_stays_unless_its_successor_has_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let damage_it = || {
        let bench = Bench::open(dir.path());
        bench.append(OutletId(0), noise(1..=30, 200));
        let repairs = bench.opened.repairs.clone();
        bench.close();
        repairs
    };
    damage_it();
    flip(dir.path(), |head| head.first == 1);
    assert_eq!(damage_it().len(), 1);
    let lossy = beside(dir.path());
    // sled's own note that nothing can be opened by: the log is whole.
    for _ in 0..3 {
        fs::write(dir.path().join("store/conf"), [0xA5; 3000]).unwrap();
        assert!(damage_it()[0].contains("nothing is lost"));
    }
    let kept = beside(dir.path());
    assert!(kept.contains(&lossy[0]) && kept.len() == 2, "{kept:?}");
}

#[test]
fn an_unfinished_copy_never_takes_the_place_of_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let expected = lived_in(dir.path());
    for name in ["store.copy", "store.new", "store.rebuild", "store.old"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("db"), "half of it").unwrap();
    }
    let bench = Bench::open(dir.path());
    assert_eq!([bench.all(OutletId(0)), bench.all(OutletId(1))], expected);
    assert_eq!((bench.opened.repairs.len(), beside(dir.path()).len()), (0, 0));
}

#[test]
fn damage_that_is_found_while_the_agent_runs_is_told_and_what_waits_in_memory_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(11..=20, 200));
    // As a commit that failed leaves it: a part of what comes next is there, behind a hole.
    let later = group::Packer::default().pack(group::tag("cloud"), Some(11), &noise(26..=30, 200)).unwrap();
    let path = dir.path().join("store/db");
    let mut log = fs::read(&path).unwrap();
    log.resize(log.len().next_multiple_of(backend::SEGMENT), 0);
    log.extend([0xA5; 100]);
    log.extend(later.iter().flat_map(|group| group.values.concat()));
    fs::write(&path, log).unwrap();
    let StoreReport::Repaired { repairs } = bench.ask(widen(&["more"])).0 else {
        panic!("nothing was repaired")
    };
    assert!(repairs[0].contains("store.damaged-"), "{repairs:?}");
    assert_eq!(bench.reports.recv_timeout(DEADLINE).unwrap().0, StoreReport::Widened);
    bench.append(OutletId(0), noise(21..=30, 200));
    assert_eq!(bench.all(OutletId(0)), noise(11..=30, 200));
}

#[test]
fn what_the_world_does_is_no_damage() {
    for code in [5, 11, 12, 13, 23, 24, 26, 28, 30, 122] {
        let error = std::io::Error::from_raw_os_error(code);
        let panic = format!("called `Result::unwrap()` on an `Err` value: {error:?}");
        let quoted = sled::Error::ReportableBug(format!("it failed: {error}"));
        for fault in [error.into(), backend::fault_of(&panic), quoted.into()] {
            assert!(matches!(fault, backend::Fault::World(_)), "{fault:?}");
        }
    }
    let bug = sled::Error::ReportableBug("it makes no sense".to_owned());
    assert!(matches!(backend::Fault::from(bug), backend::Fault::Damage(_)));
}

#[test]
fn without_the_numbers_what_is_held_is_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(20..=299, 50));
    save(&bench, numbers(19, SequenceRange { next: 300, end: 500 }, false));
    bench.close();
    fs::write(dir.path().join("numbers"), "nonsense").unwrap();
    let bench = Bench::open(dir.path());
    assert_eq!(bench.all(OutletId(0)), noise(20..=299, 50));
    assert_eq!(bench.opened.repairs.len(), 1);
}

/// sled cannot open what has no sound `conf`, which stands for a database that ends the process.
#[test]
fn after_enough_interruptions_the_log_alone_is_read_and_nothing_is_given_up() {
    let source = tempfile::tempdir().unwrap();
    let expected = lived_in(source.path());
    for (interrupted, needs_it) in [(2, true), (3, true), (4, true), (5, false), (7, false), (31, false)] {
        let dir = tempfile::tempdir().unwrap();
        copy_store(source.path(), dir.path());
        fs::write(dir.path().join("store/conf"), [0xA5; 3000]).unwrap();
        interrupt(dir.path(), interrupted);
        let bench = Bench::open(dir.path());
        assert_eq!([bench.all(OutletId(0)), bench.all(OutletId(1))], expected, "{interrupted}");
        assert_eq!(!bench.opened.repairs.is_empty(), needs_it, "{interrupted}: {:?}", bench.opened.repairs);
    }
}
