use super::*;
use crate::config::replay::{Order, Rate, Replay, Share};
use crate::message::{Boot, Clock, Format};
use crate::outlet::replay_limiter::ReplayLimiter;

const ROOM: Limit = Limit { window: 100, bytes: 1 << 20 };

/// What may be in flight.
#[derive(Clone, Copy)]
struct Limit {
    window: usize,
    bytes: usize,
}

const NONE: [u64; 0] = [];

/// An outbox and a store that does what it is told, when it is told to.
struct Sim {
    outbox: OutletQueue,
    store: Vec<Entry>,
    pace: ReplayLimiter,
    sent: u64,
}

impl Sim {
    fn new() -> Self {
        let block = SequenceRange { next: 1, end: 1000 };
        Sim {
            outbox: OutletQueue::new("client:a".into(), "E1".into(), block, Held::default(), None),
            store: Vec::new(),
            pace: ReplayLimiter::new(Replay::default(), Time::default()),
            sent: 0,
        }
    }

    /// With this many messages that were pushed.
    fn with(messages: u64) -> Self {
        let mut sim = Sim::new();
        for _ in 0..messages {
            sim.push();
        }
        sim
    }

    /// With this many messages in the store.
    fn holding(messages: u64) -> Self {
        let mut sim = Sim::with(messages);
        sim.commit();
        sim
    }

    fn push(&mut self) -> u64 {
        let id = self.outbox.block().next + 100;
        self.outbox.push(Time::default(), message(id))
    }

    fn commit(&mut self) -> Vec<u64> {
        let entries = self.outbox.begin_commit(usize::MAX);
        self.store.extend(entries);
        self.learn();
        let mut safe = Vec::new();
        self.outbox.commit_done(&mut safe);
        safe
    }

    fn learn(&mut self) {
        let messages = self.store.iter().filter(|entry| matches!(entry.body, Body::Message(_))).count();
        let ends = self.store.first().zip(self.store.last());
        let range = ends.map(|(first, last)| (first.seq, last.last()));
        self.outbox.learn(Held { range, messages: messages as u64, ..Held::default() });
    }

    fn want(&mut self) -> Option<Want> {
        self.outbox.want(256 * 1024)
    }

    /// Carries out the reads that are wanted.
    fn read(&mut self) {
        let wants: Vec<Want> = std::iter::from_fn(|| self.want()).collect();
        for want in wants {
            let replayed = |entry: &Entry| Entry { replayed: true, ..entry.clone() };
            let entries = match want.falling {
                false => self.store.iter().filter(|entry| entry.last() >= want.from).map(replayed).collect(),
                true => {
                    self.store.iter().rev().filter(|entry| entry.seq <= want.from).map(replayed).collect()
                }
            };
            self.outbox.read(want.token, entries);
        }
    }

    /// Carries out the removal that is wanted; a group is one entry.
    fn forget(&mut self) {
        let Some(ranges) = self.outbox.forget() else { return };
        let within =
            |entry: &Entry| ranges.iter().any(|(from, to)| *from <= entry.seq && entry.last() <= *to);
        self.store.retain(|entry| !within(entry));
        self.learn();
        self.outbox.forget_ended(true);
    }

    fn take(&mut self, limit: Limit) -> Vec<u64> {
        self.entries(limit).iter().map(|entry| entry.seq).collect()
    }

    fn entries(&mut self, limit: Limit) -> Vec<Entry> {
        let (messages, bytes) = self.outbox.load();
        let mut room = Room {
            messages: limit.window.saturating_sub(messages),
            bytes: limit.bytes.saturating_sub(bytes),
            idle: bytes == 0,
        };
        self.outbox.take(&mut room, &mut self.pace, &mut self.sent)
    }

    fn confirm(&mut self, seq: u64) -> Vec<u64> {
        let mut safe = Vec::new();
        self.outbox.confirm(seq, &mut safe);
        safe
    }

    /// The link comes up again, with a pace of its own.
    fn connect(&mut self, replay: Replay) {
        self.pace = ReplayLimiter::new(replay, Time::default());
        self.sent = 0;
        self.outbox.connected(&replay);
    }

    /// The first so many of what was sent on this connection are confirmed.
    fn confirm_sent(&mut self, count: u64) -> Vec<u64> {
        let mut safe = Vec::new();
        self.outbox.confirm_sent(count, &mut safe);
        safe
    }
}

fn message(id: u64) -> Arc<Message> {
    Arc::new(Message {
        id,
        time_ns: 0,
        clock: Clock::Synced,
        boot: Boot(1),
        up_ns: 0,
        topic: "t".into(),
        device: None,
        source: "server:s".into(),
        format: Format::Text,
        payload: vec![b'x'; 100],
        attributes: Vec::new(),
        ttl_s: None,
    })
}

fn gap(seq: u64, to: u64, reason: GapReason) -> Entry {
    Entry { seq, body: Body::Gap { to, reason }, replayed: false }
}

#[test]
fn numbers_rise_without_holes_and_what_is_in_the_store_goes_before_what_is_in_memory() {
    let mut sim = Sim::holding(2);
    assert_eq!((sim.push(), sim.push()), (3, 4));
    assert_eq!(sim.take(ROOM), NONE, "the store has to be read first");
    sim.read();
    assert_eq!(sim.take(ROOM), [1, 2, 3, 4]);
}

#[test]
fn only_what_is_sent_later_than_it_came_is_marked_as_replayed() {
    let mut sim = Sim::holding(1);
    sim.push();
    sim.read();
    let replayed = |entries: Vec<Entry>| entries.iter().map(|entry| entry.replayed).collect::<Vec<_>>();
    assert_eq!(replayed(sim.entries(ROOM)), [true, false]);
    sim.push();
    sim.outbox.disconnected();
    sim.read();
    assert_eq!(replayed(sim.entries(ROOM)), [true, true, false]);
}

#[test]
fn a_message_leaves_memory_when_it_is_confirmed_and_names_who_is_told() {
    let mut sim = Sim::with(3);
    sim.take(ROOM);
    assert_eq!(sim.confirm(2), [101, 102]);
    assert_eq!(sim.confirm(2), NONE, "a confirmation counts once");
    assert_eq!((sim.outbox.memory_messages(), sim.outbox.in_flight()), (1, true));
    assert_eq!(sim.confirm(3), [103]);
    assert!(sim.outbox.is_drained() && !sim.outbox.in_flight());
    assert_eq!(sim.outbox.memory_bytes(), 0);
}

#[test]
fn a_message_leaves_memory_when_it_is_committed_and_stays_in_flight() {
    let mut sim = Sim::with(2);
    sim.take(ROOM);
    assert_eq!(sim.commit(), [101, 102]);
    assert_eq!((sim.outbox.memory_messages(), sim.outbox.in_flight()), (0, true));
    assert_eq!(sim.want(), None, "both were sent");
    assert_eq!(sim.confirm(2), NONE, "they were safe already");
}

#[test]
fn no_more_is_in_flight_than_the_window_and_the_bytes_allow() {
    let mut sim = Sim::with(10);
    assert_eq!(sim.take(Limit { window: 3, ..ROOM }), [1, 2, 3]);
    assert_eq!(sim.take(Limit { window: 3, ..ROOM }), NONE);
    sim.confirm(2);
    assert_eq!(sim.take(Limit { window: 3, ..ROOM }), [4, 5]);
    sim.confirm(5);
    assert_eq!(sim.take(Limit { bytes: 200, ..ROOM }), [6, 7], "each weighs 165");
    sim.confirm(7);
    assert_eq!(sim.take(Limit { bytes: 0, ..ROOM }), [8], "one may always be in flight");
}

#[test]
fn a_disk_that_is_slow_to_remove_does_not_hold_up_the_link() {
    let mut sim = Sim::holding(9);
    sim.read();
    let room = Limit { window: 3, ..ROOM };
    assert_eq!(sim.take(room), [1, 2, 3]);
    sim.confirm(2);
    assert_eq!(sim.outbox.forget(), Some(vec![(0, 2)]));
    assert_eq!(sim.take(room), [4, 5], "only what is in flight counts");
    sim.confirm(5);
    assert_eq!(sim.outbox.forget(), None, "one removal at a time");
    assert_eq!(sim.take(room), [6, 7, 8]);
    sim.outbox.forget_ended(true);
    assert_eq!(
        sim.outbox.forget(),
        Some(vec![(0, 5)]),
        "all that was confirmed meanwhile shares the next one"
    );
}

#[test]
fn a_disk_that_cannot_remove_does_not_hold_up_the_link_and_is_asked_again() {
    let mut sim = Sim::holding(6);
    sim.read();
    let room = Limit { window: 3, ..ROOM };
    sim.take(room);
    sim.confirm(3);
    assert_eq!(sim.outbox.forget(), Some(vec![(0, 3)]));
    assert_eq!(sim.outbox.forget(), None, "one at a time");
    sim.outbox.forget_ended(false);
    assert_eq!(sim.take(room), [4, 5, 6]);
    assert_eq!(sim.outbox.forget(), Some(vec![(0, 3)]));
}

#[test]
fn a_removal_is_ordered_again_only_when_more_is_confirmed() {
    let mut sim = Sim::holding(6);
    sim.read();
    sim.take(ROOM);
    sim.confirm(3);
    assert_eq!(sim.outbox.forget(), Some(vec![(0, 3)]));
    sim.outbox.forget_ended(true);
    assert_eq!(sim.outbox.forget(), None, "the group goes on behind 3");
    sim.confirm(4);
    assert_eq!(sim.outbox.forget(), Some(vec![(0, 4)]));
}

#[test]
fn confirmed_messages_without_the_disk_do_not_count_into_the_window() {
    let mut sim = Sim::with(6);
    let room = Limit { window: 3, ..ROOM };
    sim.take(room);
    sim.confirm(3);
    assert_eq!(sim.take(room), [4, 5, 6]);
}

#[test]
fn what_is_confirmed_while_it_is_written_is_released_once_and_removed_later() {
    let mut sim = Sim::with(3);
    sim.take(ROOM);
    let entries = sim.outbox.begin_commit(usize::MAX);
    assert_eq!(entries.len(), 3);
    assert_eq!(sim.confirm(2), [101, 102]);
    let fourth = sim.push();
    sim.store = entries;
    sim.learn();
    let mut safe = Vec::new();
    sim.outbox.commit_done(&mut safe);
    assert_eq!(safe, [103]);
    assert_eq!(sim.outbox.first_unsafe(), fourth, "the fourth was not in the commit");
    assert_eq!(sim.outbox.forget(), Some(vec![(0, 2)]));
}

#[test]
fn a_commit_that_fails_keeps_its_entries_in_memory() {
    let mut sim = Sim::with(2);
    sim.outbox.begin_commit(usize::MAX);
    sim.outbox.commit_failed();
    assert_eq!(sim.outbox.memory_messages(), 2);
    assert_eq!(sim.take(ROOM), [1, 2]);
}

#[test]
fn what_a_failed_commit_has_left_on_the_disk_is_not_sent_from_memory_as_well() {
    let mut sim = Sim::with(4);
    sim.store = sim.outbox.begin_commit(usize::MAX);
    sim.store.truncate(2);
    sim.learn();
    sim.outbox.commit_failed();
    sim.read();
    assert_eq!(sim.take(ROOM), [1, 2, 3, 4]);
}

#[test]
fn a_commit_takes_the_oldest_that_fit_and_one_at_least() {
    let mut sim = Sim::with(5);
    let numbers = |entries: Vec<Entry>| entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    assert_eq!(numbers(sim.outbox.begin_commit(200)), [1, 2]);
    sim.outbox.commit_failed();
    assert_eq!(numbers(sim.outbox.begin_commit(0)), [1]);
}

#[test]
fn after_a_drop_of_the_link_everything_unconfirmed_comes_again_from_where_it_is() {
    let mut sim = Sim::holding(3);
    sim.read();
    sim.push();
    sim.push();
    assert_eq!(sim.take(ROOM), [1, 2, 3, 4, 5]);
    sim.confirm(1);
    sim.outbox.disconnected();
    assert!(!sim.outbox.in_flight());
    assert_eq!(sim.take(ROOM), NONE, "2 and 3 are on the disk");
    sim.read();
    assert_eq!(sim.take(ROOM), [2, 3, 4, 5]);
}

#[test]
fn an_answer_to_a_read_of_the_connection_before_is_ignored() {
    let mut sim = Sim::holding(3);
    let stale = sim.want().expect("the store holds three");
    sim.outbox.disconnected();
    sim.outbox.read(stale.token, vec![gap(1, 3, GapReason::Damaged)]);
    assert_eq!(sim.take(ROOM), NONE);
    let fresh = sim.want().expect("nothing was read");
    assert_ne!(fresh.token, stale.token);
    assert_eq!(sim.want(), None, "one at a time");
}

#[test]
fn a_read_that_failed_is_wanted_again() {
    let mut sim = Sim::holding(3);
    assert!(sim.want().is_some());
    sim.outbox.read_failed();
    assert!(sim.want().is_some());
}

#[test]
fn a_store_that_has_less_than_it_believes_does_not_hold_up_what_follows() {
    let mut sim = Sim::holding(3);
    sim.push();
    let want = sim.want().expect("the store holds three");
    sim.outbox.read(want.token, Vec::new());
    assert_eq!(sim.take(ROOM), [4]);
}

#[test]
fn a_peer_that_resumes_behind_what_this_connection_sent_is_believed() {
    let mut sim = Sim::holding(4);
    for _ in 0..4 {
        sim.push();
    }
    sim.read();
    sim.take(ROOM);
    sim.outbox.disconnected();
    assert_eq!(sim.confirm(6), [105, 106]);
    assert_eq!((sim.outbox.sent(), sim.outbox.confirmed()), (6, 6));
    assert_eq!(sim.want(), None, "what the store has is confirmed");
    assert_eq!(sim.take(ROOM), [7, 8]);
}

#[test]
fn a_confirmation_cannot_reach_numbers_that_were_never_given() {
    let mut sim = Sim::with(2);
    assert_eq!(sim.confirm(u64::MAX), [101, 102]);
    assert_eq!(sim.outbox.confirmed(), 2);
    sim.push();
    assert_eq!(sim.take(ROOM), [3]);
}

#[test]
fn what_was_ever_sent_outlives_the_connection_and_covers_the_runs_before() {
    let mut sim = Sim::with(3);
    assert_eq!(sim.outbox.ever_sent(), 0);
    sim.take(Limit { window: 2, ..ROOM });
    sim.outbox.disconnected();
    assert_eq!((sim.outbox.sent(), sim.outbox.ever_sent()), (0, 2));
    let later =
        OutletQueue::new("a".into(), "E".into(), SequenceRange { next: 8, end: 9 }, Held::default(), None);
    assert_eq!(later.ever_sent(), 7);
}

#[test]
fn dropped_newest_messages_become_one_gap_until_it_is_sent_or_written() {
    let mut sim = Sim::with(1);
    (0..3).for_each(|_| sim.outbox.push_dropped(Time::default()));
    let entries = sim.entries(ROOM);
    assert_eq!(entries[1], gap(2, 4, GapReason::DroppedNewest));
    sim.outbox.push_dropped(Time::default());
    assert_eq!(sim.entries(ROOM), [gap(5, 5, GapReason::DroppedNewest)], "the first one was sent");
    let written = sim.outbox.begin_commit(usize::MAX).len();
    sim.outbox.push_dropped(Time::default());
    assert_eq!(written, 3);
    assert_eq!(sim.entries(ROOM), [gap(6, 6, GapReason::DroppedNewest)]);
}

#[test]
fn a_gap_is_confirmed_as_a_whole_and_nobody_is_told_of_it() {
    let mut sim = Sim::new();
    (0..3).for_each(|_| sim.outbox.push_dropped(Time::default()));
    sim.take(ROOM);
    sim.confirm(2);
    assert!(sim.outbox.in_flight() && !sim.outbox.is_drained());
    assert_eq!(sim.confirm(3), NONE);
    assert!(sim.outbox.is_drained());
}

#[test]
fn a_gap_in_the_place_of_groups_is_announced_only_behind_what_the_peer_has() {
    let mut sim = Sim::holding(6);
    sim.read();
    sim.take(Limit { window: 3, ..ROOM });
    sim.store.splice(0..5, [gap(1, 5, GapReason::DroppedOldest)]);
    sim.learn();
    sim.outbox.reread();
    sim.read();
    let entries = sim.entries(ROOM);
    assert_eq!((entries[0].seq, entries[0].last(), entries[1].seq), (4, 5, 6));
}

#[test]
fn the_numbers_that_a_crash_left_open_are_announced_behind_what_the_store_holds() {
    let held = Held { range: Some((5, 9)), messages: 5, ..Held::default() };
    let block = SequenceRange { next: 100, end: 200 };
    let mut outbox = OutletQueue::new("a".into(), "E".into(), block, held, Some((10, 99)));
    assert_eq!(outbox.horizon(), (5, 100));
    assert_eq!(outbox.push(Time::default(), message(1)), 100);
    assert_eq!(outbox.begin_commit(0), [gap(10, 99, GapReason::Restart)]);
    let outbox = OutletQueue::new("a".into(), "E".into(), block, Held::default(), Some((10, 99)));
    assert_eq!(outbox.horizon(), (10, 100));
}

#[test]
fn a_message_in_memory_is_found_by_its_number_and_a_gap_is_none() {
    let mut sim = Sim::with(2);
    sim.outbox.push_dropped(Time::default());
    assert_eq!(sim.outbox.in_memory(2).map(|message| message.id), Some(102));
    assert_eq!((sim.outbox.in_memory(3), sim.outbox.in_memory(4)), (None, None));
}

#[test]
fn numbers_are_counted_down_and_granted_never_taken_back() {
    let mut sim = Sim::with(3);
    assert_eq!(sim.outbox.numbers_left(), 996);
    sim.outbox.grant(500);
    assert_eq!(sim.outbox.numbers_left(), 996);
    sim.outbox.grant(1004);
    assert_eq!(sim.outbox.numbers_left(), 1000);
}

const ASIDE: Replay =
    Replay { max_rate: Rate { messages: 0, bytes: 0 }, live_share: Share(500), order: Order::Fifo };
const NEWEST: Replay = Replay { live_share: Share(0), order: Order::NewestFirst, ..ASIDE };

#[test]
fn fresh_messages_share_the_link_with_the_backlog() {
    let mut sim = Sim::holding(4);
    sim.connect(ASIDE);
    sim.push();
    sim.push();
    sim.read();
    assert_eq!(sim.take(ROOM), [5, 1, 6, 2, 3, 4]);
    assert_eq!(sim.push(), 7);
    assert_eq!(sim.take(ROOM), [7]);
}

#[test]
fn what_is_confirmed_ahead_of_the_backlog_is_safe_and_not_sent_again() {
    let mut sim = Sim::holding(4);
    sim.connect(ASIDE);
    sim.push();
    sim.push();
    sim.read();
    assert_eq!(sim.take(Limit { window: 3, ..ROOM }), [5, 1, 6]);
    assert_eq!(sim.confirm_sent(3), [105, 106]);
    assert_eq!((sim.outbox.confirmed(), sim.outbox.accounted()), (1, 3));
    sim.outbox.disconnected();
    sim.push();
    sim.connect(ASIDE);
    sim.read();
    assert_eq!(sim.take(ROOM), [7, 2, 3, 4]);
    sim.confirm_sent(4);
    assert_eq!((sim.outbox.confirmed(), sim.outbox.accounted()), (7, 7));
    sim.forget();
    assert!(sim.outbox.is_drained());
}

#[test]
fn what_comes_while_the_link_is_down_belongs_to_the_next_backlog() {
    let mut sim = Sim::holding(2);
    sim.connect(ASIDE);
    sim.push();
    sim.read();
    assert_eq!(sim.take(Limit { window: 1, ..ROOM }), [3]);
    sim.confirm_sent(1);
    sim.outbox.disconnected();
    sim.push();
    sim.commit();
    sim.connect(ASIDE);
    sim.push();
    sim.read();
    assert_eq!(sim.take(ROOM), [5, 1, 2, 4], "3 is there already");
}

#[test]
fn newest_first_sends_the_backlog_downwards_and_what_is_fresh_upwards() {
    let mut sim = Sim::holding(4);
    sim.connect(NEWEST);
    sim.push();
    sim.read();
    assert_eq!(sim.take(ROOM), [4, 3, 2, 1, 5]);
    sim.confirm_sent(2);
    assert_eq!(sim.outbox.confirmed(), 0);
    sim.forget();
    assert_eq!(sim.store.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2]);
    sim.confirm_sent(5);
    assert_eq!(sim.outbox.confirmed(), 5);
    sim.forget();
    assert!(sim.outbox.is_drained() && sim.store.is_empty());
}

#[test]
fn newest_first_goes_on_below_what_was_confirmed_before_the_link_was_lost() {
    let mut sim = Sim::holding(4);
    sim.connect(NEWEST);
    sim.read();
    assert_eq!(sim.take(Limit { window: 2, ..ROOM }), [4, 3]);
    sim.confirm_sent(2);
    sim.forget();
    sim.outbox.disconnected();
    sim.push();
    sim.commit();
    sim.connect(NEWEST);
    sim.read();
    assert_eq!(sim.take(ROOM), [5, 2, 1]);
    sim.confirm_sent(3);
    assert_eq!(sim.outbox.confirmed(), 5);
}

#[test]
fn numbers_that_the_store_does_not_have_do_not_keep_a_backlog_from_its_end() {
    for replay in [ASIDE, NEWEST] {
        let mut sim = Sim::holding(5);
        sim.store.retain(|entry| entry.seq == 3);
        sim.connect(replay);
        sim.read();
        assert_eq!(sim.take(ROOM), [3]);
        sim.read();
        assert_eq!(sim.take(ROOM), NONE);
        sim.confirm_sent(1);
        assert_eq!(sim.outbox.confirmed(), 5, "{replay:?}");
    }
}

#[test]
fn the_pace_bounds_what_is_read_back_and_not_what_is_fresh() {
    let mut sim = Sim::holding(30);
    let max_rate = Rate { messages: 100, bytes: 0 };
    sim.connect(Replay { max_rate, ..ASIDE });
    for _ in 0..3 {
        sim.push();
    }
    sim.read();
    assert_eq!(sim.take(ROOM).len(), 10 + 3, "a tenth of a second's, and what is fresh");
    assert_eq!(sim.take(ROOM), NONE);
    sim.pace.advance(Time::default() + std::time::Duration::from_millis(50));
    assert_eq!(sim.take(ROOM).len(), 5);
}

#[test]
fn only_a_gap_is_sent_for_what_the_peer_refused() {
    let mut sim = Sim::with(3);
    sim.take(ROOM);
    sim.outbox.refuse(2);
    sim.outbox.left(2);
    sim.outbox.disconnected();
    sim.connect(Replay::default());
    let entries = sim.entries(ROOM);
    assert_eq!(entries[1], Entry { replayed: true, ..gap(2, 2, GapReason::Refused) });
    assert_eq!(sim.confirm_sent(3), [101, 102, 103]);
    assert!(sim.outbox.refused.is_empty());
}

/// Three messages in the store, of which the peer refused the first and took the others.
fn with_one_leaving() -> Sim {
    let mut sim = Sim::holding(3);
    sim.read();
    sim.take(ROOM);
    sim.outbox.refuse(1);
    sim.confirm(3);
    sim
}

#[test]
fn what_was_refused_stays_in_the_store_until_it_is_among_the_dead_letters() {
    let mut sim = with_one_leaving();
    assert!(!sim.outbox.has_confirmed(1) && sim.outbox.has_confirmed(2));
    assert!(!sim.outbox.in_flight(), "the peer has nothing more to say");
    sim.forget();
    assert_eq!(sim.store.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1]);
    sim.outbox.left(1);
    sim.outbox.settle(&mut Vec::new());
    assert_eq!(sim.outbox.confirmed(), 3);
    sim.forget();
    assert!(sim.store.is_empty());
}

#[test]
fn a_peer_that_took_what_is_behind_a_refused_message_hears_no_more_of_either() {
    let mut sim = with_one_leaving();
    sim.outbox.disconnected();
    assert_eq!(sim.outbox.horizon(), (4, 4));
    sim.connect(Replay::default());
    sim.read();
    assert_eq!(sim.take(ROOM), NONE);
    sim.push();
    assert_eq!(sim.take(ROOM), [4]);
    let mut sim = Sim::with(2);
    sim.take(ROOM);
    sim.outbox.refuse(1);
    assert_eq!(sim.outbox.horizon(), (1, 3), "it may not have got that far");
}

#[test]
fn what_was_refused_while_it_was_in_a_backlog_that_is_not_sent_yet_is_told_as_a_gap() {
    let mut sim = Sim::holding(3);
    sim.read();
    sim.take(ROOM);
    sim.outbox.disconnected();
    sim.connect(Replay { live_share: Share(500), ..Replay::default() });
    assert!(!sim.outbox.was_sent(1), "what is fresh goes on behind it");
    sim.outbox.refuse(1);
    sim.outbox.left(1);
    sim.outbox.settle(&mut Vec::new());
    assert_eq!(sim.outbox.confirmed(), 0);
    sim.read();
    let entries = sim.entries(ROOM);
    assert_eq!(entries[0], Entry { replayed: true, ..gap(1, 1, GapReason::Refused) });
    assert!(sim.outbox.was_sent(3));
    sim.confirm_sent(3);
    assert_eq!(sim.outbox.confirmed(), 3);
}

#[test]
fn a_gap_that_took_the_place_of_a_refused_message_and_of_others_keeps_its_reason() {
    let mut sim = Sim::holding(3);
    sim.read();
    sim.take(ROOM);
    sim.outbox.refuse(2);
    sim.outbox.disconnected();
    sim.store = vec![gap(2, 3, GapReason::Purged)];
    sim.learn();
    sim.connect(Replay::default());
    sim.read();
    assert_eq!(sim.entries(ROOM), [Entry { replayed: true, ..gap(2, 3, GapReason::Purged) }]);
}
