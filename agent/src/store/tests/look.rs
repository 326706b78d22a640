//! People at the store: what they see, in a running store and in a directory that was left, and what they give up.

use std::fs;

use holdfast_core::outlet::inspect::{Change, Checked, StoreAnswer, StoreQuery, Survey};

use super::super::stopped::Stopped;
use super::*;

fn outlets() -> Vec<String> {
    vec!["cloud".to_owned(), "mqtt".to_owned()]
}

/// Everything of an outlet, page by page; tells also how many pages they were.
fn entries(mut look: impl FnMut(StoreQuery) -> StoreAnswer, outlet: &str, from: u64) -> (Vec<Entry>, usize) {
    let (mut all, mut pages, mut next) = (Vec::new(), 0, Some(from));
    while let Some(from) = next {
        let StoreAnswer::Entries { entries, next: following } =
            look(StoreQuery::Entries { outlet: outlet.into(), from })
        else {
            panic!("no entries");
        };
        assert!(entries.iter().map(Entry::weight).sum::<usize>() < 3 * (64 << 10));
        all.extend(entries);
        pages += 1;
        next = following;
    }
    (all, pages)
}

fn check(mut look: impl FnMut(StoreQuery) -> StoreAnswer, outlet: &str) -> Checked {
    let (mut sum, mut next) = (Checked::default(), Some(0));
    while let Some(from) = next {
        let StoreAnswer::Checked(page) = look(StoreQuery::Groups { outlet: outlet.into(), from }) else {
            panic!("no check")
        };
        sum.count += page.count;
        sum.messages += page.messages;
        sum.damage.extend(page.damage);
        next = page.next;
    }
    sum
}

fn survey(seen: StoreAnswer) -> Survey {
    let StoreAnswer::Survey(survey) = seen else { panic!("no survey but {seen:?}") };
    survey
}

impl Bench {
    fn look(&self, look: StoreQuery) -> Result<StoreAnswer, String> {
        let (reply, answer) = smol::channel::bounded(1);
        self.store.as_ref().unwrap().look(look, reply);
        answer.recv_blocking().unwrap()
    }

    fn change(&self, change: Change) -> Result<u64, String> {
        let (reply, answer) = smol::channel::bounded(1);
        self.store.as_ref().unwrap().change(change, reply);
        answer.recv_blocking().unwrap()
    }
}

#[test]
fn pages_show_what_a_running_store_holds_from_any_number_on_and_leave_it_there() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    let held =
        [noise(1..=700, 300), vec![gap((701, 750), GapReason::Restart)], noise(751..=760, 10)].concat();
    held.chunks(50).for_each(|some| drop(bench.append(OutletId(0), some.to_vec())));
    let look = |look| bench.look(look).unwrap();
    let (seen, pages) = entries(look, "cloud", 0);
    assert_eq!(seen, held);
    assert!(pages > 3, "{pages}");
    assert_eq!(entries(look, "cloud", 640).0, held[639..]);
    assert_eq!(entries(look, "cloud", 720).0, held[700..]);
    assert_eq!(entries(look, "mqtt", 0), (Vec::new(), 1));
    assert_eq!(bench.all(OutletId(0)), held);
    let error = bench.look(StoreQuery::Entries { outlet: "hub".into(), from: 0 }).unwrap_err();
    assert_eq!(error, "there is no outlet hub, only cloud, mqtt");
}

#[test]
fn a_purge_leaves_a_gap_for_everything_that_was_stored_and_is_reported_to_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), [noise(3..=90, 300), vec![gap((91, 95), GapReason::Restart)]].concat());
    bench.append(OutletId(1), noise(1..=2, 10));
    assert_eq!(bench.change(Change::Purge { outlet: "cloud".into() }), Ok(88));
    let (report, facts) = bench.reports.recv_timeout(DEADLINE).unwrap();
    assert_eq!(report, StoreReport::Purged { outlet: OutletId(0), messages: 88, gap: Some((3, 95)) });
    assert_eq!((facts.held[0].messages, facts.held[1].messages), (0, 2));
    bench.append(OutletId(0), vec![message(96, vec![1])]);
    bench.close();
    let bench = Bench::open(dir.path());
    assert_eq!(bench.all(OutletId(0)), [gap((3, 95), GapReason::Purged), message(96, vec![1])]);
    assert_eq!(bench.change(Change::Purge { outlet: "mqtt".into() }), Ok(2));
    assert!(bench.change(Change::Purge { outlet: "hub".into() }).unwrap_err().contains("no outlet hub"));
}

#[test]
fn dead_letters_are_seen_with_their_numbers_and_dropped_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(1..=9, 50));
    for seq in [4, 7] {
        let order =
            StoreOrder::SetAside { outlet: OutletId(0), seq, reason: format!("no {seq}"), message: None };
        assert_eq!(bench.ask(order).0, StoreReport::SetAside { outlet: OutletId(0), seq, found: true });
    }
    let letters = |bench: &Bench| {
        let StoreAnswer::Letters { letters, next: None } =
            bench.look(StoreQuery::Letters { from: 0 }).unwrap()
        else {
            panic!("no letters");
        };
        letters
            .into_iter()
            .map(|(number, letter)| (number, letter.map(|letter| letter.reason)))
            .collect::<Vec<_>>()
    };
    assert_eq!(letters(&bench), [(1, Some("no 4".to_owned())), (2, Some("no 7".to_owned()))]);
    assert_eq!(bench.change(Change::DropLetter { number: 1 }), Ok(1));
    assert_eq!(bench.reports.recv_timeout(DEADLINE).unwrap().1.dead, 1);
    assert_eq!(bench.change(Change::DropLetter { number: 1 }), Ok(0));
    let file = fs::read_dir(dir.path().join("dead")).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, "what").unwrap();
    assert_eq!(letters(&bench), [(2, None)]);
    let StoreAnswer::Checked(files) = bench.look(StoreQuery::Files).unwrap() else { panic!("no check") };
    assert_eq!((files.count, files.damage.len(), files.damage[0].place.as_str()), (3, 1, "dead letter 2"));
}

#[test]
fn a_directory_that_was_left_shows_the_same_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    let held = noise(1..=100, 300);
    bench.append(OutletId(0), held.clone());
    let running = survey(bench.look(StoreQuery::Survey).unwrap());
    let taken = Stopped::lock(dir.path(), &outlets()).err().unwrap().to_string();
    assert!(taken.contains("another agent uses this directory"), "{taken}");
    bench.close();

    let reading = Stopped::lock(dir.path(), &outlets()).unwrap().read().unwrap();
    let look = |look| reading.look(&look).unwrap();
    assert_eq!(reading.damage(), []);
    assert_eq!(entries(look, "cloud", 0).0, held);
    let checked = check(look, "cloud");
    assert_eq!((checked.messages, checked.damage.len()), (100, 0));
    assert_eq!(survey(look(StoreQuery::Survey)).facts.held, running.facts.held);
    drop(reading);
    let empty = tempfile::tempdir().unwrap();
    let error = Stopped::lock(empty.path(), &outlets()).err().unwrap().to_string();
    assert!(error.starts_with("there is no store in "), "{error}");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn damage_is_told_and_left_until_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(1..=2_000, 300));
    bench.close();
    let path = dir.path().join("store/db");
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.len() / 3;
    bytes[place..place + 64].fill(0xa5);
    fs::write(&path, &bytes).unwrap();

    let reading = Stopped::lock(dir.path(), &outlets()).unwrap().read().unwrap();
    assert_eq!((reading.damage().len(), reading.is_readable()), (1, false), "{:?}", reading.damage());
    let error = reading.look(&StoreQuery::Entries { outlet: "cloud".into(), from: 0 }).unwrap_err();
    assert!(error.contains("is damaged at byte") && error.contains("holdfast buffer repair"), "{error}");
    assert_eq!(reading.look(&StoreQuery::Survey).map(survey).unwrap().outlets.len(), 2);
    drop(reading);
    assert_eq!(fs::read(&path).unwrap(), bytes);

    let mended = Stopped::lock(dir.path(), &outlets()).unwrap().mend().unwrap();
    assert_eq!(mended.repairs().len(), 1, "{:?}", mended.repairs());
    drop(mended);
    let reading = Stopped::lock(dir.path(), &outlets()).unwrap().read().unwrap();
    let checked = check(|look| reading.look(&look).unwrap(), "cloud");
    assert_eq!((reading.damage(), checked.damage.as_slice()), ([].as_slice(), [].as_slice()));
    assert!(checked.messages > 1_900, "{}", checked.messages);
    assert_eq!(survey(reading.look(&StoreQuery::Survey).unwrap()).set_aside.len(), 1);
}

#[test]
fn too_many_at_once_are_told_to_come_again_and_the_others_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(1..=2_000, 300));
    let store = bench.store.as_ref().unwrap();
    let asked: Vec<_> = (0..200)
        .map(|_| {
            let (reply, answer) = smol::channel::bounded(1);
            store.look(StoreQuery::Groups { outlet: "cloud".into(), from: 0 }, reply);
            answer
        })
        .collect();
    let answers: Vec<_> = asked.iter().map(|answer| answer.recv_blocking().unwrap()).collect();
    let refused = answers.iter().filter(|answer| matches!(answer, Err(cause) if cause.contains("try again")));
    assert!(refused.count() > 0);
    assert!(answers.iter().filter(|answer| answer.is_ok()).count() >= VISITORS);
    assert!(bench.look(StoreQuery::Survey).is_ok());
}
