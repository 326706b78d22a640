mod look;
mod names;
mod read_only;
mod recovery;

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use holdfast_core::clocks::Clocks;
use holdfast_core::ids::OutletId;
use holdfast_core::message::{Body, Boot, Clock, Entry, Format, GapReason, Message};
use holdfast_core::outlet::age::Limit;
use holdfast_core::outlet::store_protocol::{
    Held, SequenceRange, Sequences, StoreFacts, StoreOrder, StoreOrderKind, StoreReport,
};
use holdfast_core::time::{Now, Time};

use super::progress::silent;
use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

/// An open store and what it answers.
struct Bench {
    store: Option<Store>,
    reports: Receiver<(StoreReport, StoreFacts)>,
    opened: Opened,
}

impl Bench {
    fn open(dir: &Path) -> Bench {
        Bench::open_for(dir, &["cloud", "mqtt"])
    }

    fn open_for(dir: &Path, outlets: &[&str]) -> Bench {
        let outlets = outlets.iter().map(|name| (*name).to_owned()).collect();
        let (sender, reports) = channel();
        let settings = Settings { dir: dir.to_owned(), outlets };
        let report = move |report, facts| drop(sender.send((report, facts)));
        let (store, opened) = open(settings, |_| {}, report).unwrap();
        Bench { store: Some(store), reports, opened }
    }

    fn ask(&self, order: StoreOrder) -> (StoreReport, StoreFacts) {
        self.store.as_ref().unwrap().order(order);
        self.reports.recv_timeout(DEADLINE).unwrap()
    }

    fn append(&self, outlet: OutletId, entries: Vec<Entry>) -> StoreFacts {
        let (report, facts) = self.ask(StoreOrder::Append { parts: vec![(outlet, entries)] });
        assert_eq!(report, StoreReport::Appended);
        facts
    }

    fn forget(&self, outlet: OutletId, through: u64) -> StoreFacts {
        let (report, facts) = self.ask(StoreOrder::Forget { parts: vec![(outlet, vec![(0, through)])] });
        assert_eq!(report, StoreReport::Forgot);
        facts
    }

    fn read(&self, outlet: OutletId, from: u64, max_bytes: usize) -> Vec<Entry> {
        match self.ask(StoreOrder::Read { outlet, from, falling: false, max_bytes, token: 7 }).0 {
            StoreReport::Read { outlet: of, token: 7, entries } if of == outlet => entries,
            other => panic!("{other:?}"),
        }
    }

    fn all(&self, outlet: OutletId) -> Vec<Entry> {
        self.read(outlet, 0, usize::MAX)
    }

    fn drop_oldest(&self, outlet: OutletId, bytes: u64) -> (u64, Option<(u64, u64)>) {
        match self.ask(StoreOrder::DropOldest { outlet, bytes }).0 {
            StoreReport::Dropped { outlet: of, messages, gap } if of == outlet => (messages, gap),
            other => panic!("{other:?}"),
        }
    }

    fn close(mut self) {
        assert_eq!(self.ask(StoreOrder::Close).0, StoreReport::Closed);
        self.store = None;
    }
}

fn message(seq: u64, payload: Vec<u8>) -> Entry {
    let message = Message {
        id: seq + 1000,
        time_ns: seq * 1_000_000,
        clock: Clock::Synced,
        boot: Boot(7),
        up_ns: seq * 1_000_000,
        topic: "lines/3/pump".to_owned(),
        device: Some("pump".to_owned()),
        source: Arc::from("server:sensors"),
        format: Format::Binary,
        payload,
        attributes: vec![("unit".to_owned(), "bar".to_owned())],
        ttl_s: None,
    };
    Entry { seq, body: Body::Message(Arc::new(message)), replayed: true }
}

/// Messages that hardly shrink, so that few of them fill a group.
fn noise(range: std::ops::RangeInclusive<u64>, bytes: usize) -> Vec<Entry> {
    let payload = |seq| {
        let mut payload = vec![0; bytes];
        fastrand::Rng::with_seed(seq).fill(&mut payload);
        payload
    };
    range.map(|seq| message(seq, payload(seq))).collect()
}

fn gap(range: (u64, u64), reason: GapReason) -> Entry {
    Entry { seq: range.0, body: Body::Gap { to: range.1, reason }, replayed: true }
}

#[test]
fn what_was_appended_is_there_after_a_restart_with_its_sums() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    assert_eq!(bench.opened.repairs, Vec::<String>::new());
    let (few, large) = (noise(5..=40, 200), noise(1..=2, 50_000));
    let parts = vec![(OutletId(0), few.clone()), (OutletId(1), large.clone())];
    assert_eq!(bench.ask(StoreOrder::Append { parts }).0, StoreReport::Appended);
    bench.append(OutletId(0), vec![gap((41, 60), GapReason::Restart)]);
    let facts = bench.append(OutletId(0), noise(70..=71, 10));
    assert_eq!(facts.held[0].range, Some((5, 71)));
    assert_eq!(
        (facts.held[0].messages, facts.held[0].oldest_ns, facts.held[0].last_id),
        (38, 5_000_000, 1071)
    );
    assert!(facts.syncs >= 3 && facts.disk_bytes > 100_000, "{facts:?}");
    bench.close();

    let bench = Bench::open(dir.path());
    assert_eq!(bench.opened.facts.held, facts.held);
    assert_eq!(bench.opened.repairs, Vec::<String>::new());
    let expected = [few, vec![gap((41, 60), GapReason::Restart)], noise(70..=71, 10)].concat();
    assert_eq!(bench.all(OutletId(0)), expected);
    assert_eq!(bench.all(OutletId(1)), large);
}

#[test]
fn groups_that_are_too_old_become_one_gap_and_younger_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(1..=9, 300));
    bench.append(OutletId(0), vec![gap((10, 19), GapReason::DroppedNewest)]);
    bench.append(OutletId(0), noise(20..=29, 300));
    bench.append(OutletId(0), vec![gap((30, 2999), GapReason::Restart)]);
    let facts = bench.append(OutletId(0), noise(3000..=3009, 300));
    let newest = |facts: &StoreFacts| facts.held[0].oldest_group.unwrap().up_ns / 1_000_000;
    assert_eq!(newest(&facts), 1001, "the newest came 8 ms after the first, which counts as a second");
    let expire = |up_ms: u64| {
        let up_ns = up_ms * 1_000_000;
        let (boot, clocks) = (Boot(7), Clocks::new(None, Time::default()));
        let now = Now { mono: Time::default(), wall_ns: 0, clock: Clock::Unsynced, boot, up_ns };
        let limit = Limit { ttl: Duration::from_secs(60), clocks, now };
        bench.ask(StoreOrder::Expire { outlet: OutletId(0), limit })
    };
    assert_eq!(expire(61_000).0, StoreReport::Expired { outlet: OutletId(0), messages: 0, gap: None });
    let (report, facts) = expire(61_020);
    assert_eq!(report, StoreReport::Expired { outlet: OutletId(0), messages: 19, gap: Some((1, 29)) });
    assert_eq!((facts.held[0].messages, newest(&facts)), (10, 4000));
    bench.close();

    let bench = Bench::open(dir.path());
    let left = [
        vec![gap((1, 29), GapReason::Expired), gap((30, 2999), GapReason::Restart)],
        noise(3000..=3009, 300),
    ];
    assert_eq!(bench.all(OutletId(0)), left.concat());
}

#[test]
fn what_is_written_is_counted_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    let first = bench.append(OutletId(0), noise(1..=20, 300));
    assert_eq!((first.total, first.today.syncs), (first.today, first.syncs));
    bench.close();

    let bench = Bench::open(dir.path());
    let second = bench.append(OutletId(0), noise(21..=40, 300));
    assert!(second.total.syncs >= first.total.syncs + second.syncs, "{first:?} {second:?}");
    assert!(second.total.bytes >= first.total.bytes + second.written_bytes, "{first:?} {second:?}");
    bench.close();
    std::fs::write(dir.path().join("meter"), "damaged").unwrap();
    let bench = Bench::open(dir.path());
    assert!(bench.opened.repairs[0].contains("meter"), "{:?}", bench.opened.repairs);
}

#[test]
fn reading_starts_at_the_number_asked_for_and_stops_at_the_bytes_but_never_at_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(1..=50, 300));
    bench.append(OutletId(0), vec![gap((51, 59), GapReason::DroppedNewest), message(60, vec![1])]);
    let seqs = |entries: Vec<Entry>| entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    assert_eq!(seqs(bench.read(OutletId(0), 17, 1)), [17]);
    assert_eq!(seqs(bench.read(OutletId(0), 48, 100_000)), [48, 49, 50, 51, 60]);
    assert_eq!(seqs(bench.read(OutletId(0), 55, 100_000)), [51, 60]);
    assert_eq!(bench.read(OutletId(0), 1, 5 * noise(1..=1, 300)[0].weight()).len(), 5);
    assert_eq!(bench.read(OutletId(0), 61, 100_000), []);
    assert_eq!(bench.read(OutletId(1), 1, 100_000), []);
}

#[test]
fn only_groups_that_end_at_or_before_the_number_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    for start in [1, 11, 21] {
        bench.append(OutletId(0), noise(start..=start + 9, 50));
    }
    assert_eq!(bench.forget(OutletId(0), 19).held[0].range, Some((11, 30)));
    assert_eq!(bench.all(OutletId(0)), noise(11..=30, 50));
    assert_eq!(bench.forget(OutletId(0), 30).held[0], Held::default());
    assert_eq!(bench.all(OutletId(0)), []);
    bench.close();
    assert_eq!(Bench::open(dir.path()).opened.facts.held[0], Held::default());
}

#[test]
fn dropping_the_oldest_leaves_one_gap_that_covers_exactly_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    for start in [3, 20, 30, 40] {
        bench.append(OutletId(0), noise(start..=start + 4, 100));
    }
    assert_eq!(bench.drop_oldest(OutletId(1), 1000), (0, None));
    assert_eq!(bench.drop_oldest(OutletId(0), 1), (5, Some((3, 7))));
    assert_eq!(bench.drop_oldest(OutletId(0), 1_000), (10, Some((3, 34))));
    let left = [vec![gap((3, 34), GapReason::DroppedOldest)], noise(40..=44, 100)].concat();
    assert_eq!(bench.all(OutletId(0)), left);
    bench.close();
    let bench = Bench::open(dir.path());
    assert_eq!(bench.all(OutletId(0)), left);
    assert_eq!(bench.drop_oldest(OutletId(0), 1 << 40), (5, Some((3, 44))));
    assert_eq!(bench.all(OutletId(0)), [gap((3, 44), GapReason::DroppedOldest)]);
    assert_eq!(bench.drop_oldest(OutletId(0), 1), (0, None));
}

#[test]
fn an_append_that_is_given_again_is_not_held_twice() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(1..=5, 50));
    bench.append(OutletId(0), noise(1..=8, 50));
    bench.append(OutletId(0), vec![gap((6, 12), GapReason::DroppedNewest)]);
    let expected = [noise(1..=8, 50), vec![gap((9, 12), GapReason::DroppedNewest)]].concat();
    assert_eq!(bench.all(OutletId(0)), expected);
}

#[test]
fn messages_that_come_one_by_one_share_groups_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    let alike: Vec<Entry> = (1..=400).map(|seq| message(seq, vec![7; 150])).collect();
    let mut facts = StoreFacts::default();
    for entry in &alike {
        facts = bench.append(OutletId(0), vec![entry.clone()]);
    }
    let held =
        Held { range: Some((1, 400)), messages: 400, oldest_ns: 1_000_000, last_id: 1400, ..facts.held[0] };
    assert_eq!(facts.held[0], held);
    assert!(held.bytes < 400 * 60, "{} bytes", held.bytes);
    assert!(bench.all(OutletId(0)) == alike);
    bench.forget(OutletId(0), 395);
    bench.close();
    let bench = Bench::open(dir.path());
    assert_eq!(bench.opened.repairs, Vec::<String>::new());
    assert!(alike.ends_with(&bench.all(OutletId(0))) && !bench.all(OutletId(0)).is_empty());
}

#[test]
fn a_merge_that_was_cut_short_shows_no_message_twice() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    (1..=5).for_each(|seq| drop(bench.append(OutletId(0), noise(seq..=seq, 50))));
    bench.close();
    let merged = group::Packer::default().pack(group::tag("cloud"), Some(1), &noise(1..=6, 50)).unwrap();
    for removed in 0..=5 {
        let copy = tempfile::tempdir().unwrap();
        copy_store(dir.path(), copy.path());
        let database = database(copy.path());
        database.put(OutletId(0), [(group::key(1, 6, 0), merged[0].values[0].as_slice())]).unwrap();
        (1..=removed).for_each(|seq| database.remove(OutletId(0), &group::key(seq, seq, 0)).unwrap());
        database.flush().unwrap();
        drop(database);
        let bench = Bench::open(copy.path());
        assert_eq!(bench.all(OutletId(0)), noise(1..=if removed == 0 { 5 } else { 6 }, 50));
        assert_eq!(bench.opened.repairs, Vec::<String>::new());
    }
}

#[test]
fn full_groups_make_no_file_that_sled_does_not_sync() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    for seq in 0..120 {
        bench.append(OutletId(0), noise(seq * 10..=seq * 10 + 9, 7_400));
        if seq % 20 == 19 {
            bench.drop_oldest(OutletId(0), 700_000);
            bench.forget(OutletId(0), seq * 10 - 30);
        }
    }
    assert_eq!(fs::read_dir(dir.path().join("store/blobs")).unwrap().count(), 0);
}

#[test]
fn what_is_held_is_read_downwards_and_forgotten_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    for group in 0..5 {
        bench.append(OutletId(0), noise(group * 10 + 1..=group * 10 + 10, 700));
    }
    let order = StoreOrder::Read { outlet: OutletId(0), from: 34, falling: true, max_bytes: 8_000, token: 1 };
    let StoreReport::Read { entries, .. } = bench.ask(order).0 else { panic!("not read") };
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(numbers[0], 34);
    assert!(numbers.is_sorted_by(|a, b| *a == b + 1) && numbers.len() > 8, "{numbers:?}");
    let (_, facts) = bench.ask(StoreOrder::Forget { parts: vec![(OutletId(0), vec![(0, 5), (21, 40)])] });
    assert_eq!((facts.held[0].range, facts.held[0].messages), (Some((6, 50)), 25), "a group has five");
    bench.close();
    let bench = Bench::open(dir.path());
    assert_eq!(bench.opened.facts.held[0].messages, 25);
    let order =
        StoreOrder::Read { outlet: OutletId(0), from: 50, falling: true, max_bytes: 1 << 20, token: 1 };
    let StoreReport::Read { entries, .. } = bench.ask(order).0 else { panic!("not read") };
    let numbers: Vec<u64> = entries.iter().rev().map(|entry| entry.seq).collect();
    assert_eq!(numbers, (6..=20).chain(41..=50).collect::<Vec<_>>());
}

#[test]
fn a_lane_that_is_not_configured_any_more_is_opened_with_its_link() {
    let dir = tempfile::tempdir().unwrap();
    let open = |names: &[&str]| {
        let outlets = names.iter().map(|name| (*name).to_owned()).collect();
        let settings = Settings { dir: dir.path().to_owned(), outlets };
        let (told, reports) = channel();
        let (store, opened) =
            super::open(settings, |_| {}, move |report, _| drop(told.send(report))).unwrap();
        (store, opened, reports)
    };
    let (store, _, reports) = open(&["client:a", "client:a/7"]);
    let names = ["client:a", "client:a/7", "client:b/7"].map(|name| (name.to_owned(), Default::default()));
    store.order(StoreOrder::SaveNumbers(Sequences { outlets: names.into(), ..Sequences::default() }));
    store.order(StoreOrder::Append { parts: vec![(OutletId(1), noise(1..=3, 50))] });
    assert_eq!(
        (reports.recv().unwrap(), reports.recv().unwrap()),
        (StoreReport::NumbersSaved, StoreReport::Appended)
    );
    drop(store);
    let (_store, opened, _) = open(&["client:a"]);
    assert_eq!(opened.outlets, ["client:a", "client:a/7"]);
    assert_eq!(opened.facts.held[1].messages, 3);
}

/// An order for these places.
fn widen(outlets: &[&str]) -> StoreOrder {
    StoreOrder::Widen { outlets: outlets.iter().map(|name| (*name).to_owned()).collect() }
}

#[test]
fn an_outlet_that_comes_while_the_store_is_open_finds_what_it_left_and_the_others_keep_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open_for(dir.path(), &["client:a", "client:b"]);
    bench.append(OutletId(1), noise(1..=3, 50));
    bench.close();
    let bench = Bench::open_for(dir.path(), &["client:a"]);
    bench.append(OutletId(0), noise(1..=2, 50));
    let (report, facts) = bench.ask(widen(&["client:b", "client:c"]));
    assert_eq!(report, StoreReport::Widened);
    assert_eq!(facts.held.iter().map(|held| held.messages).collect::<Vec<_>>(), [2, 3, 0]);
    assert_eq!((bench.all(OutletId(0)), bench.all(OutletId(1))), (noise(1..=2, 50), noise(1..=3, 50)));
    bench.append(OutletId(2), noise(7..=8, 50));
    assert_eq!(bench.all(OutletId(2)), noise(7..=8, 50));
}

#[test]
fn a_store_that_cannot_be_opened_wider_goes_on_as_it_was_once_it_can_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open_for(dir.path(), &["client:a"]);
    bench.append(OutletId(0), noise(1..=2, 50));
    let in_the_way = dir.path().join("store.opening");
    fs::create_dir(&in_the_way).unwrap();
    let (report, facts) = bench.ask(widen(&["client:b"]));
    let StoreReport::Failed { order: StoreOrderKind::Widen, outlet: None, error } = report else {
        panic!("{report:?}")
    };
    assert!(error.contains("cannot mark the opening"), "{error}");
    assert_eq!(facts.held.len(), 1);
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(bench.all(OutletId(0)), noise(1..=2, 50));
    assert_eq!(bench.ask(widen(&["client:b"])).0, StoreReport::Widened);
    bench.append(OutletId(1), noise(1..=2, 50));
}

#[test]
fn a_refused_message_is_set_aside_from_memory_or_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(1..=9, 50));
    let order =
        |seq, message| StoreOrder::SetAside { outlet: OutletId(0), seq, reason: "no".to_owned(), message };
    let Body::Message(given) = message(70, vec![1; 30_000]).body else { unreachable!() };
    assert_eq!(
        bench.ask(order(70, Some(given))).0,
        StoreReport::SetAside { outlet: OutletId(0), seq: 70, found: true }
    );
    assert_eq!(
        bench.ask(order(4, None)).0,
        StoreReport::SetAside { outlet: OutletId(0), seq: 4, found: true }
    );
    let (report, facts) = bench.ask(order(12, None));
    assert_eq!(
        (report, facts.dead),
        (StoreReport::SetAside { outlet: OutletId(0), seq: 12, found: false }, 2)
    );
    bench.close();
    assert_eq!(Bench::open(dir.path()).opened.facts.dead, 2);
}

#[test]
fn an_empty_store_gives_its_space_back_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    let before = bench.append(OutletId(0), noise(1..=800, 7_000)).disk_bytes;
    let after = bench.forget(OutletId(0), 800).disk_bytes;
    assert!(before > 4 << 20 && after < 2 << 20, "{before} {after}");
    bench.append(OutletId(0), noise(801..=803, 50));
    bench.close();
    assert_eq!(Bench::open(dir.path()).all(OutletId(0)), noise(801..=803, 50));
}

#[test]
fn the_ballast_that_was_given_up_is_there_again_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    assert!(space::drop_ballast(dir.path()), "a machine that runs tests has some room");
    bench.append(OutletId(0), noise(1..=3, 100));
    assert!(dir.path().join("ballast").exists());
}

#[test]
fn a_renewal_that_was_cut_short_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(1..=3, 50));
    bench.close();
    let (store, old) = (dir.path().join("store"), dir.path().join("store.old"));
    fs::rename(&store, &old).unwrap();
    let bench = Bench::open(dir.path());
    assert_eq!(bench.all(OutletId(0)), noise(1..=3, 50));
    bench.close();
    fs::create_dir(&old).unwrap();
    assert_eq!(Bench::open(dir.path()).all(OutletId(0)), noise(1..=3, 50));
    assert!(!old.exists());
}

#[test]
fn a_second_agent_is_refused_and_told_the_pid() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    let settings = Settings { dir: dir.path().to_owned(), outlets: Vec::new() };
    let error = open(settings, |_| {}, |_, _| {}).unwrap_err();
    let text = format!(
        "cannot lock {}/lock: another agent uses this directory (pid {})",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(error, OpenError::Locked(text));
    drop(bench);
    Bench::open(dir.path());
}

#[test]
fn the_numbers_and_the_presence_survive_and_are_put_aside_when_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    assert_eq!((bench.opened.numbers.clone(), bench.opened.presence.clone()), (None, None));
    let numbers = Sequences { session: 3, ids: SequenceRange { next: 5, end: 1000 }, ..Sequences::default() };
    assert_eq!(bench.ask(StoreOrder::SaveNumbers(numbers.clone())).0, StoreReport::NumbersSaved);
    assert_eq!(bench.ask(StoreOrder::SavePresence(vec![9; 9])).0, StoreReport::PresenceSaved);
    bench.close();
    let bench = Bench::open(dir.path());
    assert_eq!(
        (bench.opened.numbers.clone(), bench.opened.presence.clone()),
        (Some(numbers), Some(vec![9; 9]))
    );
    bench.close();
    let path = dir.path().join("numbers");
    let mut bytes = fs::read(&path).unwrap();
    bytes[12] ^= 4;
    fs::write(&path, bytes).unwrap();
    let bench = Bench::open(dir.path());
    assert_eq!(bench.opened.numbers, None);
    assert_eq!(bench.opened.repairs.len(), 1);
    assert!(bench.opened.repairs[0].contains("numbers.damaged-"), "{:?}", bench.opened.repairs);
    assert_eq!(bench.opened.presence, Some(vec![9; 9]));
}

#[test]
fn a_refused_message_that_cannot_be_set_aside_is_told_with_its_outlet_so_that_it_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    let order = StoreOrder::SetAside { outlet: OutletId(5), seq: 1, reason: "no".to_owned(), message: None };
    let error = "there is no outlet 5".to_owned();
    let failed = StoreReport::Failed { order: StoreOrderKind::SetAside, outlet: Some(OutletId(5)), error };
    assert_eq!(bench.ask(order).0, failed);
}

#[test]
fn an_order_that_cannot_be_carried_out_is_answered_and_the_next_one_is_carried_out() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    let (report, _) = bench.ask(StoreOrder::Forget { parts: vec![(OutletId(5), vec![(0, 1)])] });
    let error = "there is no outlet 5".to_owned();
    assert_eq!(report, StoreReport::Failed { order: StoreOrderKind::Forget, outlet: None, error });
    bench.append(OutletId(0), noise(1..=2, 10));
}

/// A store in the midst of its life: two outlets, forgotten groups, a dropped head, one message of many parts.
fn lived_in(dir: &Path) -> [Vec<Entry>; 2] {
    let bench = Bench::open(dir);
    for block in 0..60 {
        bench.append(OutletId(0), noise(block * 10 + 1..=block * 10 + 10, 700));
        bench.append(OutletId(1), noise(block * 3 + 1..=block * 3 + 3, 400));
        bench.forget(OutletId(0), (block * 10).saturating_sub(250));
    }
    bench.drop_oldest(OutletId(1), 20_000);
    bench.append(OutletId(0), noise(601..=601, 30_000));
    bench.append(OutletId(1), noise(181..=190, 100));
    let all = [bench.all(OutletId(0)), bench.all(OutletId(1))];
    bench.close();
    all
}

fn copy_store(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("store/blobs")).unwrap();
    for file in fs::read_dir(from.join("store")).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), to.join("store").join(file.file_name())).unwrap();
        }
    }
}

/// How many expected entries are missing; anything unexpected that is no gap fails the test.
fn missing(expected: &[Entry], found: &[Entry]) -> usize {
    assert!(found.windows(2).all(|pair| pair[0].last() < pair[1].seq));
    let damaged = |entry: &Entry| matches!(entry.body, Body::Gap { reason: GapReason::Damaged, .. });
    assert!(found.iter().all(|entry| expected.contains(entry) || damaged(entry)));
    expected.iter().filter(|entry| !found.contains(entry)).count()
}

fn flip_and_open(source: &Path, expected: &[Vec<Entry>; 2], seeds: std::ops::Range<u64>) {
    let mut repaired = 0;
    for seed in seeds {
        let dir = tempfile::tempdir().unwrap();
        copy_store(source, dir.path());
        let path = dir.path().join("store/db");
        let mut bytes = fs::read(&path).unwrap();
        let mut rng = fastrand::Rng::with_seed(seed);
        let place = rng.usize(..bytes.len());
        bytes[place] ^= 1 << rng.u32(..8);
        fs::write(&path, bytes).unwrap();
        let bench = Bench::open(dir.path());
        let missing =
            missing(&expected[0], &bench.all(OutletId(0))) + missing(&expected[1], &bench.all(OutletId(1)));
        assert!(missing <= 10, "seed {seed} byte {place}: {missing} missing, {:?}", bench.opened.repairs);
        assert!(missing == 0 || !bench.opened.repairs.is_empty(), "seed {seed}");
        repaired += u32::from(!bench.opened.repairs.is_empty());
    }
    assert!(repaired > 0);
}

#[test]
fn a_flipped_bit_in_a_log_without_a_snapshot_costs_at_most_the_group_that_it_hits() {
    let source = tempfile::tempdir().unwrap();
    let expected = lived_in(source.path());
    flip_and_open(source.path(), &expected, 0..30);
}

#[test]
fn a_flipped_bit_in_a_log_with_a_snapshot_costs_at_most_the_group_that_it_hits() {
    let source = tempfile::tempdir().unwrap();
    let expected = lived_in(source.path());
    Bench::open(source.path()).close();
    flip_and_open(source.path(), &expected, 100..130);
}

#[test]
fn a_sound_log_has_no_tear_whatever_was_done_to_it_and_wherever_it_is_cut() {
    let source = tempfile::tempdir().unwrap();
    let expected = lived_in(source.path());
    let path = source.path().join("store/db");
    assert_eq!(log_check::look(&path, &silent()).unwrap(), log_check::Log::Sound(None));
    let bytes = fs::read(&path).unwrap();
    for cut in [1, 10, 100, 1000, 5000] {
        let dir = tempfile::tempdir().unwrap();
        copy_store(source.path(), dir.path());
        fs::write(dir.path().join("store/db"), &bytes[..bytes.len() - cut]).unwrap();
        let bench = Bench::open(dir.path());
        assert_eq!(bench.opened.repairs, Vec::<String>::new(), "cut by {cut}");
        assert!(bench.all(OutletId(0)).len() >= expected[0].len() - 1, "cut by {cut}");
    }
}

/// Wipes 4 KB of the log at a time.
#[test]
fn a_wiped_page_is_found_wherever_it_lies() {
    const PAGE: usize = 4096;
    let source = tempfile::tempdir().unwrap();
    let expected = lived_in(source.path());
    let bytes = fs::read(source.path().join("store/db")).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let segments = (0..used).step_by(backend::SEGMENT);
    let pages = segments.flat_map(|start| [start, start + 200_000, start + backend::SEGMENT - PAGE]);
    for start in pages.filter(|start| start + 2 * PAGE < used) {
        let dir = tempfile::tempdir().unwrap();
        copy_store(source.path(), dir.path());
        let mut bytes = bytes.clone();
        bytes[start..start + PAGE].fill(0);
        fs::write(dir.path().join("store/db"), bytes).unwrap();
        let bench = Bench::open(dir.path());
        let missing =
            missing(&expected[0], &bench.all(OutletId(0))) + missing(&expected[1], &bench.all(OutletId(1)));
        assert!(
            missing == 0 || !bench.opened.repairs.is_empty(),
            "at {start}: {missing} lost without a word"
        );
    }
}

#[test]
fn a_group_that_is_gone_without_a_trace_becomes_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let expected = lived_in(dir.path());
    let path = dir.path().join("store/db");
    let mut bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        if let Ok(head) = group::Head::check_at(&bytes[at..])
            && head.outlet == group::tag("cloud")
            && (head.first..=head.last).contains(&555)
        {
            bytes[at..at + head.value_len()].fill(0x55);
        }
    }
    fs::write(&path, bytes).unwrap();
    let found = Bench::open(dir.path()).all(OutletId(0));
    assert!(missing(&expected[0], &found) > 0);
    assert!(found.windows(2).all(|pair| pair[0].last() + 1 == pair[1].seq), "a hole is left");
}

#[test]
fn a_snapshot_that_is_cut_or_empty_costs_nothing() {
    let source = tempfile::tempdir().unwrap();
    let expected = lived_in(source.path());
    Bench::open(source.path()).close();
    for keep in [0, 20] {
        let dir = tempfile::tempdir().unwrap();
        copy_store(source.path(), dir.path());
        for file in fs::read_dir(dir.path().join("store")).unwrap().map(Result::unwrap) {
            if file.file_name().to_string_lossy().starts_with("snap.") {
                OpenOptions::new().write(true).open(file.path()).unwrap().set_len(keep).unwrap();
            }
        }
        let bench = Bench::open(dir.path());
        assert_eq!([bench.all(OutletId(0)), bench.all(OutletId(1))], expected);
        assert_eq!(bench.opened.repairs, Vec::<String>::new());
    }
}

/// The groups of an outlet with a whole copy of a value of one part in these bytes, by their ranges.
fn whole_groups(bytes: &[u8], outlet: &str) -> Vec<(u64, u64)> {
    let heads = (0..bytes.len()).filter_map(|at| group::Head::check_at(&bytes[at..]).ok());
    let heads = heads.filter(|head| head.outlet == group::tag(outlet) && head.parts == 1);
    heads.map(|head| (head.first, head.last)).collect()
}

#[test]
fn a_log_that_is_cut_behind_a_snapshot_gives_every_group_that_is_left_in_it() {
    let source = tempfile::tempdir().unwrap();
    let bench = Bench::open(source.path());
    for block in 0..400 {
        bench.append(OutletId(0), noise(block * 10 + 1..=block * 10 + 10, 700));
        bench.forget(OutletId(0), (block * 10).saturating_sub(250));
    }
    let expected = bench.all(OutletId(0));
    bench.close();
    // This leaves a snapshot behind.
    Bench::open(source.path()).close();
    let bytes = fs::read(source.path().join("store/db")).unwrap();
    let mut left = 0;
    for cut in (1..24).map(|step| step * bytes.len() / 24 - 11) {
        let dir = tempfile::tempdir().unwrap();
        copy_store(source.path(), dir.path());
        fs::write(dir.path().join("store/db"), &bytes[..cut]).unwrap();
        let found = Bench::open(dir.path()).all(OutletId(0));
        let whole = whole_groups(&bytes[..cut], "cloud");
        let is_whole =
            |entry: &Entry| whole.iter().any(|(first, last)| (*first..=*last).contains(&entry.seq));
        let due: Vec<&Entry> = expected.iter().filter(|entry| is_whole(entry)).collect();
        assert_eq!(due.iter().filter(|entry| !found.contains(entry)).count(), 0, "cut at {cut}");
        left += due.len();
    }
    assert!(left > 0, "nothing was left in any");
}

/// The first segment of the file is the newest one, and the snapshot ends in one that the cut takes away: sled wipes all that is left.
#[test]
fn a_log_that_is_cut_in_a_segment_that_is_used_again_gives_every_group_that_is_left_in_it() {
    let mut left = 0;
    for blocks in 130..150 {
        let source = tempfile::tempdir().unwrap();
        let fill = |blocks: std::ops::Range<u64>| {
            let bench = Bench::open(source.path());
            for block in blocks {
                bench.append(OutletId(0), noise(block * 10 + 1..=block * 10 + 10, 700));
                bench.forget(OutletId(0), (block * 10).saturating_sub(50));
            }
            bench.close();
        };
        fill(0..blocks);
        fill(blocks..blocks);
        fill(blocks..blocks + 2);
        let path = source.path().join("store/db");
        let bytes = fs::read(&path).unwrap();
        let Some(used) = bytes[..backend::SEGMENT].iter().rposition(|byte| *byte != 0) else { continue };
        let cut = used.saturating_sub(500);
        let whole = whole_groups(&bytes[..cut], "cloud");
        let untouched = tempfile::tempdir().unwrap();
        copy_store(source.path(), untouched.path());
        let held = Bench::open(untouched.path()).all(OutletId(0));
        fs::write(&path, &bytes[..cut]).unwrap();
        let found = Bench::open(source.path()).all(OutletId(0));
        let is_whole =
            |entry: &&Entry| whole.iter().any(|(first, last)| (*first..=*last).contains(&entry.seq));
        let due: Vec<&Entry> = held.iter().filter(is_whole).collect();
        let lost = due.iter().filter(|entry| !found.contains(entry)).count();
        assert_eq!(lost, 0, "{blocks} blocks");
        left += due.len();
    }
    assert!(left > 0, "nothing was left in any");
}

#[test]
fn openings_that_were_interrupted_before_there_was_a_store_do_not_keep_it_from_opening() {
    for interrupted in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("store.opening"), interrupted.to_string()).unwrap();
        let bench = Bench::open(dir.path());
        bench.append(OutletId(0), noise(1..=3, 50));
        assert_eq!(bench.all(OutletId(0)).len(), 3);
    }
}

#[test]
fn garbage_in_the_store_ends_in_a_running_store() {
    for garbage in ["store/db", "store/conf", "store/snap.00000000000000FF", "store"] {
        let dir = tempfile::tempdir().unwrap();
        if garbage != "store" {
            let bench = Bench::open(dir.path());
            bench.append(OutletId(0), noise(1..=3, 50));
            bench.close();
        }
        fs::write(dir.path().join(garbage), [0xA5; 3000]).unwrap();
        let bench = Bench::open(dir.path());
        // The log has all that a snapshot has.
        let costs_nothing = garbage.contains("snap");
        assert_eq!(bench.opened.repairs.is_empty(), costs_nothing, "{garbage}");
        assert!(!costs_nothing || bench.all(OutletId(0)) == noise(1..=3, 50));
        bench.append(OutletId(0), noise(10..=12, 50));
        bench.close();
        let bench = Bench::open(dir.path());
        assert_eq!(bench.opened.repairs, Vec::<String>::new(), "{garbage}");
        assert!(bench.all(OutletId(0)).ends_with(&noise(10..=12, 50)), "{garbage}");
    }
}

fn database(dir: &Path) -> backend::Database {
    let outlets = ["cloud".to_owned(), "mqtt".to_owned()];
    backend::Database::open(&dir.join("store"), &outlets, &[], &|_, _| Ok(None)).unwrap()
}

#[test]
fn values_that_are_not_what_was_written_are_kept_to_be_looked_at_and_become_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    bench.append(OutletId(0), noise(1..=4, 50));
    bench.append(OutletId(0), noise(20..=24, 50));
    bench.close();
    let database = database(dir.path());
    database.put(OutletId(0), [(group::key(3, 9, 0), b"rubbish".as_slice())]).unwrap();
    database.put(OutletId(0), [([0xFF; group::KEY_LEN], b"more rubbish".as_slice())]).unwrap();
    database.flush().unwrap();
    drop(database);
    let expected = [noise(1..=4, 50), vec![gap((5, 9), GapReason::Damaged)], noise(20..=24, 50)].concat();
    let bench = Bench::open(dir.path());
    assert_eq!((bench.opened.repairs.len(), bench.opened.facts.damaged), (1, 2));
    assert_eq!(bench.all(OutletId(0)), expected);
    bench.close();
    let bench = Bench::open(dir.path());
    assert_eq!((bench.opened.repairs.len(), bench.opened.facts.damaged), (0, 2));
    assert_eq!(bench.all(OutletId(0)), expected);
}

#[test]
fn a_drop_that_was_cut_short_is_ended_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    for start in [3, 20, 30] {
        bench.append(OutletId(0), noise(start..=start + 4, 50));
    }
    bench.close();
    let outlets = ["cloud".to_owned(), "mqtt".to_owned()];
    let mut hold = open_store::OpenStore::new(database(dir.path()), &outlets);
    hold.put_gap(OutletId(0), (3, 24), GapReason::DroppedOldest).unwrap();
    hold.commit().unwrap();
    drop(hold);
    let bench = Bench::open(dir.path());
    assert_eq!(
        bench.all(OutletId(0)),
        [vec![gap((3, 24), GapReason::DroppedOldest)], noise(30..=34, 50)].concat()
    );
    assert_eq!(bench.opened.repairs, Vec::<String>::new());
}

#[test]
fn a_group_of_which_every_copy_is_damaged_becomes_a_gap_and_the_others_stay_however_often_it_is_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    for start in (1..=200).step_by(10) {
        bench.append(OutletId(0), noise(start..=start + 9, 200));
    }
    bench.close();
    let path = dir.path().join("store/db");
    let mut bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        if group::Head::check_at(&bytes[at..]).is_ok_and(|head| head.first == 51) {
            bytes[at + 100] ^= 1;
        }
    }
    fs::write(&path, bytes).unwrap();
    let bench = Bench::open(dir.path());
    let expected =
        [noise(1..=50, 200), vec![gap((51, 60), GapReason::Damaged)], noise(61..=200, 200)].concat();
    assert_eq!(bench.all(OutletId(0)), expected);
    assert!(
        bench.opened.repairs[0].contains("lost are numbers 51 to 60 of cloud;"),
        "{:?}",
        bench.opened.repairs
    );
    bench.close();
    // The log that the salvage has written may have to be salvaged itself.
    fs::write(dir.path().join("store.opening"), "3").unwrap();
    assert_eq!(Bench::open(dir.path()).all(OutletId(0)), expected);
}

#[test]
fn as_many_orders_as_are_given_at_once_find_room_while_the_thread_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { dir: dir.path().to_owned(), outlets: vec!["cloud".to_owned()] };
    let (sender, reports) = channel();
    let (release, wait) = channel::<()>();
    let report = move |report, _| {
        let _ = wait.recv();
        drop(sender.send(report));
    };
    let (store, _) = open(settings, |_| {}, report).unwrap();
    (0..AT_ONCE).for_each(|_| store.order(StoreOrder::Measure));
    drop(release);
    (0..AT_ONCE).for_each(|_| assert_eq!(reports.recv_timeout(DEADLINE).unwrap(), StoreReport::Measured));
}

fn is_message(entry: &&Entry) -> bool {
    matches!(entry.body, Body::Message(_))
}

/// One random change; `held` is what reading gives before and after.
fn change(bench: &Bench, rng: &mut fastrand::Rng, held: &mut Vec<Entry>, next: &mut u64) {
    match rng.u32(..20) {
        0 => {
            let before = std::mem::take(held);
            let (lost, gap_range) = bench.drop_oldest(OutletId(0), rng.u64(..2_000));
            *held = bench.all(OutletId(0));
            let Some((first, last)) = gap_range else { return assert!(*held == before) };
            let (gone, left): (Vec<Entry>, Vec<Entry>) =
                before.into_iter().partition(|entry| entry.seq <= last);
            assert_eq!((first, last), (gone[0].seq, gone[gone.len() - 1].last()));
            assert_eq!(lost, gone.iter().filter(is_message).count() as u64);
            assert!(*held == [vec![gap((first, last), GapReason::DroppedOldest)], left].concat());
        }
        1 => {
            let through = held.first().map_or(0, |entry| entry.seq + rng.u64(..50));
            bench.forget(OutletId(0), through);
            let left = bench.all(OutletId(0));
            let must_stay = held.iter().filter(|entry| entry.last() > through).count();
            assert!(held.ends_with(&left) && left.len() >= must_stay);
            *held = left;
        }
        _ => {
            let mut entries = Vec::new();
            for _ in 0..rng.u64(1..4) {
                let (byte, len) = (rng.u8(..), rng.usize(..400));
                let large = if rng.u32(..40) == 0 { noise(*next..=*next, 20_000).pop() } else { None };
                let small = message(*next, vec![byte; len]);
                let range = (*next, *next + rng.u64(..5));
                let other = large.unwrap_or(small);
                entries.push(if rng.u32(..10) == 0 { gap(range, GapReason::Restart) } else { other });
                *next = entries[entries.len() - 1].last() + 1 + u64::from(rng.u32(..8) == 0);
            }
            bench.append(OutletId(0), entries.clone());
            held.extend(entries);
            assert!(bench.all(OutletId(0)) == *held);
        }
    }
}

#[test]
fn whatever_is_done_in_whatever_order_reading_gives_what_was_written() {
    for seed in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut held, mut next) = (Vec::new(), 1);
        for _ in 0..4 {
            let bench = Bench::open(dir.path());
            assert!(bench.opened.repairs.is_empty() && bench.all(OutletId(0)) == held, "seed {seed}");
            (0..50).for_each(|_| change(&bench, &mut rng, &mut held, &mut next));
            let messages = held.iter().filter(is_message).count() as u64;
            let facts = bench.forget(OutletId(0), 0).held[0];
            assert_eq!((facts.messages, facts.range.is_some()), (messages, !held.is_empty()), "seed {seed}");
            bench.close();
        }
    }
}
