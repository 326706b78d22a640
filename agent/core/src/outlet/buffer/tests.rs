use super::admit::{BUSY_AT_LEAST, stamp};
use super::health::DISK_RETRY;
use super::*;
use crate::config::buffer::{BufferLimits, WhenFull};
use crate::config::network::Remote;
use crate::ids::LinkId;
use crate::message::{Body, Boot, Clock, Entry, Format, Message};
use crate::outlet::lane::Routes;
use crate::outlet::store_protocol::{Held, StoreOrderKind};
use crate::source::intake::{Draft, Refused};
use crate::time::Now;

const OUTLETS: [OutletId; 1] = [OutletId(0)];
const AFTER: Duration = ms(250);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A buffer, its clock, and a disk that answers when the test says so.
struct Sim {
    buffer: Buffer,
    now: Time,
    facts: StoreFacts,
    tickets: u64,
}

impl Sim {
    /// As it starts, before anything is written.
    fn born(rule: Rule, outlets: usize, opened: Opened) -> Self {
        let names: Vec<_> = (0..outlets).map(|n| format!("client:{n}")).collect();
        let new_epochs: Vec<_> = (0..outlets).map(|n| format!("E{n}")).collect();
        let mut facts = opened.facts.clone();
        facts.held.resize(outlets, Held::default());
        let opened = Opened { outlets: names, facts: facts.clone(), ..opened };
        let bounds = rule.bounds(BufferLimits::default());
        let owners = (0..outlets)
            .map(|link| OutletOwner { link: LinkId(link), priority: 0, bounds, gone: false })
            .collect();
        let buffer = Buffer::new(rule, owners, &new_epochs, &opened, 0, 0);
        Sim { buffer, now: Time::default() + Duration::from_secs(100), facts, tickets: 0 }
    }

    fn with(rule: Rule, outlets: usize) -> Self {
        let mut sim = Sim::born(rule, outlets, Opened::default());
        assert!(matches!(sim.advance()[..], [BufferEffect::Disk(StoreOrder::SaveNumbers(_))]));
        sim.hear(StoreReport::NumbersSaved);
        sim
    }

    fn new() -> Self {
        Sim::with(RULE, 1)
    }

    fn advance(&mut self) -> Vec<BufferEffect> {
        let mut out = Vec::new();
        self.buffer.advance(self.now, &mut out);
        let deadline = self.buffer.deadline();
        assert!(
            deadline.is_none_or(|at| at > self.now),
            "the loop would spin: {deadline:?} at {:?}",
            self.now
        );
        out
    }

    fn wait(&mut self, by: Duration) -> Vec<BufferEffect> {
        self.now = self.now + by;
        self.advance()
    }

    /// What the disk reports, and what follows at once.
    fn hear(&mut self, report: StoreReport) -> Vec<BufferEffect> {
        let mut out = Vec::new();
        self.buffer.handle(self.now, report, self.facts.clone(), &mut out);
        out.extend(self.advance());
        out
    }

    fn fail(&mut self, order: StoreOrderKind) -> Vec<BufferEffect> {
        self.hear(StoreReport::Failed { order, outlet: Some(OutletId(0)), error: format!("cannot {order}") })
    }

    fn clock(&self) -> Now {
        Now { mono: self.now, wall_ns: 5, clock: Clock::Synced, boot: Boot(1), up_ns: self.now.0 }
    }

    /// Offers so many messages, and does what is due.
    fn offer_to(&mut self, outlets: &[OutletId], messages: usize) -> Vec<BufferEffect> {
        let mut out = Vec::new();
        self.tickets += 1;
        let drafts = vec![draft(100); messages];
        let routes = Routes::to(outlets);
        self.buffer.offer(self.clock(), Some(RequestId(self.tickets)), drafts, None, &routes, &mut out);
        out.extend(self.advance());
        out
    }

    fn offer(&mut self, messages: usize) -> Vec<BufferEffect> {
        self.offer_to(&OUTLETS, messages)
    }

    fn refusal(&mut self, messages: usize) -> Refused {
        let effects = self.offer(messages);
        let refusal = effects.iter().find_map(|effect| match effect {
            BufferEffect::Answer(_, Answer::Refused(refused)) => Some(refused.clone()),
            BufferEffect::GiveBack(_, drafts) if drafts.len() == messages => Some(Refused::Busy),
            _ => None,
        });
        refusal.unwrap_or_else(|| panic!("it was not refused: {effects:?}"))
    }

    fn confirm(&mut self, outlet: OutletId, seq: u64) -> Vec<BufferEffect> {
        let mut out = Vec::new();
        self.buffer.confirm(outlet, seq, &mut out);
        out
    }

    /// The store holds so many messages of so many bytes in the first outlet.
    fn hold(&mut self, messages: u64, bytes: u64) {
        self.facts.held[0] = Held { range: Some((1, messages)), messages, bytes, ..Held::default() };
    }
}

fn answers(effects: &[BufferEffect]) -> Vec<(RequestId, Answer)> {
    let answers = effects.iter().filter_map(|effect| match effect {
        BufferEffect::Answer(request, answer) => Some((*request, answer.clone())),
        BufferEffect::Disk(_) | BufferEffect::GiveBack(..) | BufferEffect::Note(_) => None,
    });
    answers.collect()
}

const RULE: Rule = Rule {
    max_bytes: 1 << 30,
    max_messages: 0,
    ttl: Duration::ZERO,
    when_full: WhenFull::DropOldest,
    commit_after: AFTER,
    daily_budget: None,
    last_values: 10,
};

/// A thousand bytes of values fit below it.
const FULL: BufferEffect = BufferEffect::Note(LogEvent::BufferFull(true));
const SMALL: u64 = 5_002_500;

fn draft(bytes: usize) -> Draft {
    Draft {
        topic: "t".into(),
        device: None,
        source: "server:s".into(),
        format: Format::Text,
        payload: vec![b'x'; bytes],
        attributes: Vec::new(),
        priority: 0,
        ttl_s: None,
    }
}

fn stored(request: RequestId, first: u64, last: u64) -> BufferEffect {
    BufferEffect::Answer(request, Answer::Stored { first, last })
}

/// The numbers in an order to append, by outlet; none when there is no such order.
fn appended(effects: &[BufferEffect]) -> Option<Vec<(OutletId, Vec<u64>)>> {
    let numbers = |entries: &[Entry]| entries.iter().map(|entry| entry.seq).collect();
    effects.iter().find_map(|effect| match effect {
        BufferEffect::Disk(StoreOrder::Append { parts }) => {
            Some(parts.iter().map(|(outlet, entries)| (*outlet, numbers(entries))).collect())
        }
        _ => None,
    })
}

fn log_events(effects: &[BufferEffect]) -> Vec<&LogEvent> {
    let mut log_events = Vec::new();
    for effect in effects {
        if let BufferEffect::Note(log_event) = effect {
            log_events.push(log_event);
        }
    }
    log_events
}

#[test]
fn without_a_link_the_first_message_after_a_pause_is_committed_at_once() {
    let mut sim = Sim::new();
    assert_eq!(appended(&sim.offer(1)), Some(vec![(OutletId(0), vec![1])]));
    assert_eq!(sim.hear(StoreReport::Appended), [stored(RequestId(1), 1, 1)]);
}

#[test]
fn without_a_link_all_that_came_during_a_commit_goes_into_the_next_one_together() {
    let mut sim = Sim::new();
    sim.offer(1);
    assert_eq!(sim.offer(2), [], "the first commit is on its way");
    sim.wait(ms(10));
    assert_eq!(
        appended(&sim.hear(StoreReport::Appended)),
        Some(vec![(OutletId(0), vec![2, 3])]),
        "all wait since"
    );
    assert_eq!(sim.offer(1), []);
    assert_eq!(sim.hear(StoreReport::Appended), [stored(RequestId(2), 2, 3)]);
    assert_eq!(sim.wait(ms(3)), [], "there may be more");
    assert_eq!(appended(&sim.wait(ms(1))), Some(vec![(OutletId(0), vec![4])]));
}

#[test]
fn what_nobody_waits_for_is_committed_each_commit_after() {
    let mut sim = Sim::new();
    sim.offer(1);
    sim.hear(StoreReport::Appended);
    let mut out = Vec::new();
    sim.buffer.offer(sim.clock(), None, vec![draft(100)], None, &Routes::to(&OUTLETS), &mut out);
    assert_eq!(sim.wait(ms(249)), []);
    assert_eq!(appended(&sim.wait(ms(1))), Some(vec![(OutletId(0), vec![2])]));
}

#[test]
fn with_a_link_a_message_goes_to_the_disk_only_when_it_is_old_enough() {
    let mut sim = Sim::new();
    sim.buffer.came_up(OutletId(0), &Replay::default());
    assert_eq!(sim.offer(1), []);
    assert_eq!(sim.buffer.deadline(), Some(sim.now + AFTER));
    assert_eq!(sim.wait(ms(249)), []);
    assert_eq!(appended(&sim.wait(ms(1))), Some(vec![(OutletId(0), vec![1])]));
}

#[test]
fn what_is_confirmed_in_time_never_touches_the_disk() {
    let mut sim = Sim::new();
    sim.buffer.came_up(OutletId(0), &Replay::default());
    sim.offer(2);
    assert_eq!(sim.confirm(OutletId(0), 1), []);
    assert_eq!(sim.confirm(OutletId(0), 2), [stored(RequestId(1), 1, 2)]);
    assert_eq!(sim.wait(Duration::from_secs(60)), []);
    assert_eq!(sim.buffer.deadline(), None);
    assert!(sim.buffer.is_settled());
}

#[test]
fn outlets_are_committed_together_and_a_batch_is_answered_when_all_have_it() {
    let mut sim = Sim::with(RULE, 2);
    sim.buffer.came_up(OutletId(0), &Replay::default());
    sim.offer_to(&[OutletId(0)], 1);
    assert_eq!(
        appended(&sim.offer_to(&[OutletId(0), OutletId(1)], 1)),
        Some(vec![(OutletId(0), vec![1, 2]), (OutletId(1), vec![1])])
    );
    assert_eq!(
        sim.confirm(OutletId(0), 2),
        [stored(RequestId(1), 1, 1)],
        "the second outlet has nothing safe"
    );
    assert_eq!(sim.hear(StoreReport::Appended), [stored(RequestId(2), 2, 2)]);
}

#[test]
fn no_number_is_used_before_the_numbers_are_on_the_disk() {
    let mut sim = Sim::born(RULE, 1, Opened::default());
    assert_eq!(sim.refusal(1), Refused::Busy);
    assert!(sim.buffer.is_starting());
    sim.hear(StoreReport::NumbersSaved);
    sim.now = sim.now + ms(20);
    assert_eq!(appended(&sim.offer(1)), Some(vec![(OutletId(0), vec![1])]));
}

#[test]
fn after_a_crash_the_gap_is_on_the_disk_before_the_new_numbers_are() {
    let outlet = |next, end| crate::outlet::store_protocol::OutletSequence {
        epoch: "E".into(),
        block: SequenceRange { next, end },
        confirmed: None,
        torn: false,
        skipped: Vec::new(),
    };
    let saved = Sequences {
        session: 4,
        run: 7,
        ids: SequenceRange { next: 1, end: 50 },
        outlets: [("client:0".to_owned(), outlet(10, 30))].into(),
        ..Sequences::default()
    };
    let mut sim = Sim::born(RULE, 1, Opened { numbers: Some(saved), ..Opened::default() });
    assert_eq!(appended(&sim.advance()), Some(vec![(OutletId(0), vec![10])]));
    assert_eq!(sim.refusal(1), Refused::Busy);
    let next = sim.hear(StoreReport::Appended);
    let [BufferEffect::Disk(StoreOrder::SaveNumbers(numbers))] = &next[..] else { panic!("{next:?}") };
    assert_eq!((numbers.session, numbers.outlets["client:0"].block.next, numbers.ids.next), (5, 30, 50));
    sim.hear(StoreReport::NumbersSaved);
    sim.wait(AFTER);
    assert_eq!(appended(&sim.offer(1)), Some(vec![(OutletId(0), vec![30])]));
}

#[test]
fn a_crash_of_a_full_store_first_makes_room_for_its_gap() {
    let outlet = crate::outlet::store_protocol::OutletSequence {
        epoch: "E".into(),
        block: SequenceRange { next: 10, end: 30 },
        confirmed: None,
        torn: false,
        skipped: Vec::new(),
    };
    let saved = Sequences { outlets: [("client:0".to_owned(), outlet)].into(), ..Sequences::default() };
    let held = vec![Held { range: Some((1, 9)), messages: 9, bytes: 980, ..Held::default() }];
    let facts = StoreFacts { held, ..StoreFacts::default() };
    let opened = Opened { numbers: Some(saved), facts, ..Opened::default() };
    let mut sim = Sim::born(Rule { max_bytes: SMALL, ..RULE }, 1, opened);
    assert!(matches!(sim.advance()[..], [FULL, BufferEffect::Disk(StoreOrder::DropOldest { .. })]));
    assert_eq!(sim.wait(ms(1)), [], "one drop at a time");
    sim.hold(1, 60);
    let after = sim.hear(StoreReport::Dropped { outlet: OutletId(0), messages: 8, gap: Some((1, 8)) });
    assert_eq!(appended(&after), Some(vec![(OutletId(0), vec![10])]));
}

#[test]
fn numbers_are_reserved_while_half_a_block_is_left_and_refused_beyond_the_reserved() {
    let mut sim = Sim::new();
    sim.buffer.came_up(OutletId(0), &Replay::default());
    let reserves = |effects: &[BufferEffect]| {
        let is = |effect: &BufferEffect| matches!(effect, BufferEffect::Disk(StoreOrder::SaveNumbers(_)));
        effects.iter().any(is)
    };
    assert!(!reserves(&sim.offer(10_000)));
    sim.confirm(OutletId(0), 10_000);
    assert!(reserves(&sim.offer(1)));
    sim.confirm(OutletId(0), 10_001);
    assert!(!reserves(&sim.offer(9_000)), "one reservation at a time");
    sim.confirm(OutletId(0), 19_001);
    assert_eq!(sim.refusal(1000), Refused::Busy, "999 are left");
    sim.hear(StoreReport::NumbersSaved);
    sim.now = sim.now + ms(20);
    assert_eq!(sim.offer(1000), []);
}

#[test]
fn a_reservation_counts_what_only_memory_has_as_unused() {
    let mut sim = Sim::new();
    sim.buffer.came_up(OutletId(0), &Replay::default());
    sim.offer(3);
    sim.confirm(OutletId(0), 1);
    let effects = sim.offer(10_000);
    let [BufferEffect::Disk(StoreOrder::SaveNumbers(numbers))] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(numbers.outlets["client:0"].block, SequenceRange { next: 2, end: 10_004 + 20_000 });
}

#[test]
fn the_largest_batch_of_a_source_is_taken_whatever_was_used_before() {
    let mut sim = Sim::new();
    sim.buffer.came_up(OutletId(0), &Replay::default());
    sim.offer(9_999);
    sim.confirm(OutletId(0), 9_999);
    let reserves = sim.offer(10_000);
    assert!(matches!(reserves[..], [BufferEffect::Disk(StoreOrder::SaveNumbers(_))]), "{reserves:?}");
}

#[test]
fn a_failed_reservation_is_tried_again_with_the_same_size() {
    let mut sim = Sim::born(RULE, 1, Opened::default());
    let first = sim.advance();
    for _ in 0..5 {
        sim.fail(StoreOrderKind::SaveNumbers);
        assert_eq!(sim.wait(DISK_RETRY), first);
    }
}

#[test]
fn more_than_memory_may_hold_is_refused_as_busy_and_nobody_overtakes_what_was() {
    let mut sim = Sim::new();
    sim.buffer.came_up(OutletId(0), &Replay::default());
    let mut out = Vec::new();
    let here = Some(Remote::Here);
    sim.buffer.offer(sim.clock(), None, vec![draft(6 << 20)], None, &Routes::to(&OUTLETS), &mut out);
    assert_eq!(sim.refusal(1), Refused::Busy);
    let others = sim.buffer.offer(sim.clock(), None, vec![draft(9)], here, &Routes::to(&OUTLETS), &mut out);
    assert_eq!(others, None, "one that holds nothing finds room");
    sim.confirm(OutletId(0), 1);
    assert_eq!(sim.refusal(1), Refused::Busy, "what was refused comes first");
    sim.wait(BUSY_AT_LEAST);
    assert_eq!(sim.offer(1), []);
    assert_eq!(sim.buffer.refused(), 2);
}

#[test]
fn a_batch_is_taken_as_a_whole_or_not_at_all() {
    let mut sim = Sim::new();
    assert_eq!(sim.refusal(20_001), Refused::Busy);
    assert_eq!(sim.buffer.queue(OutletId(0)).memory_messages(), 0);
}

#[test]
fn at_the_bound_reject_refuses_and_uses_no_number() {
    let mut sim = Sim::with(Rule { max_messages: 2, when_full: WhenFull::Reject, ..RULE }, 1);
    sim.offer(2);
    assert_eq!(sim.refusal(1), Refused::Full);
    assert_eq!((sim.buffer.dropped(), sim.buffer.queue(OutletId(0)).block().next), (0, 3));
    assert_eq!(sim.buffer.state(), BufferState::Full);
}

#[test]
fn at_the_bound_drop_newest_refuses_counts_and_leaves_a_gap() {
    let mut sim = Sim::with(Rule { max_messages: 2, when_full: WhenFull::DropNewest, ..RULE }, 1);
    sim.offer(2);
    assert_eq!(sim.refusal(3), Refused::Full);
    assert_eq!((sim.buffer.dropped(), sim.buffer.queue(OutletId(0)).block().next), (3, 6));
    sim.hold(2, 200);
    assert_eq!(sim.hear(StoreReport::Appended), [stored(RequestId(1), 1, 2)]);
    assert_eq!(sim.wait(AFTER), [], "a gap alone is not worth a commit");
}

#[test]
fn at_the_bound_in_bytes_what_waits_in_memory_counts_as_well() {
    let rule = Rule { max_bytes: SMALL, when_full: WhenFull::Reject, ..RULE };
    let mut sim = Sim::with(rule, 1);
    sim.buffer.came_up(OutletId(0), &Replay::default());
    for _ in 0..7 {
        assert_eq!(sim.offer(1), [], "1000 bytes of values fit, and each message weighs 165");
    }
    assert_eq!(sim.refusal(1), Refused::Full);
}

#[test]
fn the_oldest_are_dropped_before_the_commit_that_would_not_fit() {
    let mut sim = Sim::with(Rule { max_bytes: SMALL, ..RULE }, 1);
    sim.hold(9, 990);
    sim.hear(StoreReport::NumbersSaved);
    let drop = BufferEffect::Disk(StoreOrder::DropOldest { outlet: OutletId(0), bytes: 155 + 990 / 8 });
    assert_eq!(sim.offer(1), [FULL, drop]);
    assert_eq!(sim.wait(Duration::from_secs(9)), [], "the commit waits for the drop");
    sim.hold(7, 770);
    let after = sim.hear(StoreReport::Dropped { outlet: OutletId(0), messages: 2, gap: Some((1, 2)) });
    assert_eq!((sim.buffer.dropped(), sim.buffer.queue(OutletId(0)).given_up.dropped), (2, 2));
    assert!(appended(&after).is_some());
    let told = LogEvent::DroppedOldest { outlet: "client:0".into(), messages: 2, from: 1, to: 2 };
    assert!(log_events(&after).contains(&&told));
}

#[test]
fn the_largest_outlet_gives_way_when_bytes_are_short() {
    let mut sim = Sim::with(Rule { max_bytes: SMALL, ..RULE }, 2);
    sim.hold(1, 300);
    sim.facts.held[1] = Held { range: Some((1, 6)), messages: 6, bytes: 700, ..Held::default() };
    sim.hear(StoreReport::NumbersSaved);
    assert!(matches!(
        sim.offer(1)[..],
        [FULL, BufferEffect::Disk(StoreOrder::DropOldest { outlet: OutletId(1), .. })]
    ));
}

#[test]
fn an_outlet_above_its_count_gives_way_itself() {
    let mut sim = Sim::with(Rule { max_messages: 10, ..RULE }, 1);
    sim.hold(10, 1000);
    sim.hear(StoreReport::NumbersSaved);
    let drop = BufferEffect::Disk(StoreOrder::DropOldest { outlet: OutletId(0), bytes: 200 + 1000 / 8 });
    assert_eq!(sim.offer(2), [FULL, drop]);
}

#[test]
fn fullness_is_told_once_and_its_end_when_a_quarter_is_free() {
    let mut sim = Sim::with(Rule { max_messages: 10, when_full: WhenFull::Reject, ..RULE }, 1);
    sim.hold(10, 1000);
    sim.hear(StoreReport::NumbersSaved);
    assert_eq!(sim.buffer.state(), BufferState::Holding);
    assert_eq!(log_events(&sim.offer(1)), [&LogEvent::BufferFull(true)]);
    assert_eq!(log_events(&sim.offer(1)), Vec::<&LogEvent>::new());
    sim.hold(8, 800);
    assert_eq!(sim.hear(StoreReport::PresenceSaved), []);
    sim.hold(7, 700);
    assert_eq!(log_events(&sim.hear(StoreReport::PresenceSaved)), [&LogEvent::BufferFull(false)]);
}

#[test]
fn files_that_come_close_to_their_bound_leave_less_room_for_values() {
    let rule = Rule { max_bytes: 100_000_000, when_full: WhenFull::Reject, ..RULE };
    let mut sim = Sim::with(rule, 1);
    sim.hold(9, 37_000_000);
    sim.facts.disk_bytes = 87_000_000;
    sim.hear(StoreReport::NumbersSaved);
    assert_eq!(log_events(&sim.offer(1)), Vec::<&LogEvent>::new());
    sim.facts.disk_bytes = 89_000_000;
    sim.hear(StoreReport::NumbersSaved);
    assert_eq!(sim.refusal(1), Refused::Full);
}

#[test]
fn a_disk_that_fails_is_left_alone_for_a_while_and_then_asked_again() {
    let mut sim = Sim::new();
    sim.offer(1);
    let told = LogEvent::StoreFailing { error: "cannot append".into() };
    assert_eq!(log_events(&sim.fail(StoreOrderKind::Append)), [&told]);
    assert_eq!((sim.buffer.state(), sim.buffer.failure()), (BufferState::Failing, Some("cannot append")));
    assert_eq!(sim.refusal(1), Refused::Failing("cannot append".into()));
    assert_eq!(sim.wait(DISK_RETRY - ms(1)), []);
    let again = sim.wait(ms(1));
    assert_eq!(appended(&again), Some(vec![(OutletId(0), vec![1])]));
    assert_eq!(sim.hear(StoreReport::NumbersSaved), []);
    let recovered = sim.hear(StoreReport::Appended);
    assert_eq!(recovered[..], [BufferEffect::Note(LogEvent::StoreRecovered), stored(RequestId(1), 1, 1)]);
    assert_eq!(sim.buffer.failure(), None);
}

#[test]
fn a_sender_is_refused_once_its_message_cannot_be_made_safe_in_time_and_is_not_answered_twice() {
    let mut sim = Sim::new();
    sim.offer(1);
    sim.fail(StoreOrderKind::Append);
    for _ in 0..4 {
        assert_eq!(answers(&sim.wait(DISK_RETRY)), [], "it may still become safe");
        sim.hear(StoreReport::NumbersSaved);
        sim.fail(StoreOrderKind::Append);
    }
    let told = sim.wait(DISK_RETRY);
    assert!(matches!(answers(&told)[..], [(RequestId(1), Answer::Refused(Refused::Failing(_)))]), "{told:?}");
    assert_eq!(appended(&told), Some(vec![(OutletId(0), vec![1])]), "it is still held");
    sim.hear(StoreReport::NumbersSaved);
    assert_eq!(answers(&sim.hear(StoreReport::Appended)), []);
    assert_eq!((sim.buffer.accepted().messages, sim.buffer.refused()), (1, 0), "it is counted once");
}

#[test]
fn a_disk_that_is_silent_about_anything_is_failing_and_senders_do_not_wait_for_it() {
    let mut sim = Sim::new();
    sim.buffer.came_up(OutletId(0), &Replay::default());
    sim.offer(1);
    assert!(appended(&sim.wait(AFTER)).is_some());
    let told = sim.wait(Duration::from_secs(30));
    assert!(matches!(log_events(&told)[..], [LogEvent::StoreFailing { .. }]), "{told:?}");
    assert!(matches!(answers(&told)[..], [(RequestId(1), Answer::Refused(Refused::Failing(_)))]), "{told:?}");
}

#[test]
fn one_order_that_fails_among_others_that_do_not_is_told_once() {
    let mut sim = Sim::new();
    sim.offer(1);
    sim.fail(StoreOrderKind::Append);
    for _ in 0..5 {
        sim.wait(DISK_RETRY);
        assert_eq!(sim.hear(StoreReport::NumbersSaved), []);
        assert_eq!(sim.fail(StoreOrderKind::Append), []);
    }
    assert_eq!(sim.buffer.state(), BufferState::Failing);
}

#[test]
fn a_link_that_confirms_at_once_is_fed_although_the_disk_fails() {
    let mut sim = Sim::new();
    sim.buffer.came_up(OutletId(0), &Replay::default());
    sim.hear(StoreReport::Failed {
        order: StoreOrderKind::Forget,
        outlet: Some(OutletId(0)),
        error: "no".into(),
    });
    assert_eq!(sim.offer(1), []);
    assert_eq!(sim.offer(1), []);
    sim.wait(health::CONFIRMS_WITHIN);
    assert_eq!(sim.refusal(1), Refused::Failing("no".into()), "it does not confirm at once any more");
    assert_eq!(sim.confirm(OutletId(0), 2), [stored(RequestId(1), 1, 1), stored(RequestId(2), 2, 2)]);
    assert_eq!(sim.offer(1), []);
}

#[test]
fn a_failed_drop_is_tried_again_before_the_commit() {
    let mut sim = Sim::with(Rule { max_bytes: SMALL, ..RULE }, 1);
    sim.hold(9, 990);
    sim.hear(StoreReport::NumbersSaved);
    sim.offer(1);
    sim.fail(StoreOrderKind::DropOldest);
    let again = sim.wait(DISK_RETRY);
    assert!(matches!(again.last(), Some(BufferEffect::Disk(StoreOrder::DropOldest { .. }))), "{again:?}");
}

#[test]
fn the_store_is_read_only_for_a_link_that_is_up() {
    let mut sim = Sim::new();
    sim.hold(3, 300);
    assert_eq!(sim.hear(StoreReport::NumbersSaved), []);
    assert_eq!(sim.buffer.state(), BufferState::Holding);
    sim.buffer.came_up(OutletId(0), &Replay::default());
    assert!(matches!(
        sim.advance()[..],
        [BufferEffect::Disk(StoreOrder::Read { outlet: OutletId(0), from: 1, .. })]
    ));
}

#[test]
fn what_was_read_before_a_drop_is_read_again() {
    let mut sim = Sim::new();
    sim.hold(3, 300);
    sim.buffer.came_up(OutletId(0), &Replay::default());
    sim.hear(StoreReport::PresenceSaved);
    let again = sim.hear(StoreReport::Dropped { outlet: OutletId(0), messages: 1, gap: Some((1, 1)) });
    let read = BufferEffect::Disk(StoreOrder::Read {
        outlet: OutletId(0),
        from: 1,
        falling: false,
        max_bytes: 256 * 1024,
        token: 2,
    });
    assert_eq!(again.last(), Some(&read));
}

#[test]
fn what_is_confirmed_is_removed_from_the_store() {
    let mut sim = Sim::new();
    sim.offer(3);
    sim.hold(3, 300);
    sim.hear(StoreReport::Appended);
    sim.confirm(OutletId(0), 3);
    assert_eq!(
        sim.advance(),
        [BufferEffect::Disk(StoreOrder::Forget { parts: vec![(OutletId(0), vec![(0, 3)])] })]
    );
    sim.facts.held[0] = Held::default();
    assert_eq!(sim.hear(StoreReport::Forgot), []);
    assert_eq!(sim.buffer.state(), BufferState::Empty);
}

#[test]
fn a_stop_commits_at_once_gaps_too() {
    let mut sim = Sim::with(Rule { max_messages: 1, when_full: WhenFull::DropNewest, ..RULE }, 1);
    sim.offer(1);
    sim.refusal(1);
    sim.hear(StoreReport::Appended);
    assert!(!sim.buffer.is_settled(), "the gap is not safe");
    sim.buffer.flush_now();
    assert_eq!(appended(&sim.advance()), Some(vec![(OutletId(0), vec![2])]));
    sim.hear(StoreReport::Appended);
    assert!(sim.buffer.is_settled());
    let last = sim.buffer.last_numbers();
    assert_eq!((last.clean, last.outlets["client:0"].block), (true, SequenceRange { next: 3, end: 3 }));
    assert_eq!(last.ids, SequenceRange { next: 2, end: 2 });
}

#[test]
fn a_file_system_that_is_nearly_full_is_spared_until_there_is_room_again() {
    let mut sim = Sim::new();
    sim.hold(9, 900);
    sim.facts.free_bytes = Some((1 << 20) - 1);
    let told = sim.hear(StoreReport::PresenceSaved);
    assert!(
        matches!(log_events(&told)[..], [LogEvent::StoreFailing { .. }, LogEvent::Bound { .. }]),
        "{told:?}"
    );
    assert_eq!(sim.buffer.state(), BufferState::Failing);
    assert!(matches!(sim.refusal(1), Refused::Failing(cause) if cause.contains("free on the disk")));
    assert_eq!(sim.wait(Duration::from_secs(5)), [BufferEffect::Disk(StoreOrder::Measure)]);
    assert_eq!(sim.hear(StoreReport::Measured), [], "it is told once, and nothing is dropped");
    sim.facts.free_bytes = Some(2 << 20);
    sim.wait(Duration::from_secs(5));
    assert_eq!(log_events(&sim.hear(StoreReport::Measured)), [&LogEvent::StoreRecovered]);
    assert_eq!(sim.buffer.failure(), None);
    assert!(appended(&sim.offer(1)).is_some());
}

/// A store of 20 MB whose file system has so much left for it and for others.
fn beside_others(when_full: WhenFull, free_bytes: u64) -> Sim {
    let mut sim = Sim::with(Rule { max_bytes: 256_000_000, when_full, ..RULE }, 1);
    sim.hold(600, 6_000_000);
    (sim.facts.disk_bytes, sim.facts.free_bytes) = (20_000_000, Some(free_bytes));
    sim
}

#[test]
fn the_bound_in_force_is_what_the_file_system_can_give_beside_a_reserve_and_follows_others() {
    let mut sim = beside_others(WhenFull::DropOldest, 20_000_000);
    let told = sim.hear(StoreReport::Measured);
    assert_eq!(sim.buffer.max_bytes(), 40_000_000 - (8 << 20));
    let bound = LogEvent::Bound { bytes: sim.buffer.max_bytes(), configured: 256_000_000 };
    assert_eq!(log_events(&told), [&bound]);
    sim.facts.free_bytes = Some(4_000_000);
    assert_eq!(sim.hear(StoreReport::Measured), [], "it is told once");
    assert_eq!(sim.buffer.max_bytes(), 20_000_000, "what it has it keeps");
    sim.facts.free_bytes = Some(1 << 40);
    assert!(matches!(
        log_events(&sim.hear(StoreReport::Measured))[..],
        [LogEvent::Bound { bytes: 256_000_000, .. }]
    ));
    sim.facts.free_bytes = None;
    sim.hear(StoreReport::Measured);
    assert_eq!(sim.buffer.max_bytes(), 256_000_000, "a file system that tells nothing bounds nothing");
}

#[test]
fn on_a_file_system_that_others_fill_the_oldest_give_way_or_senders_are_refused_as_configured() {
    let mut sim = beside_others(WhenFull::DropOldest, 2 << 20);
    sim.hear(StoreReport::Measured);
    let effects = sim.offer(1);
    let drops = |effect: &BufferEffect| matches!(effect, BufferEffect::Disk(StoreOrder::DropOldest { .. }));
    assert!(effects.iter().any(drops), "{effects:?}");
    let mut sim = beside_others(WhenFull::Reject, 2 << 20);
    sim.hear(StoreReport::Measured);
    assert_eq!(sim.refusal(1), Refused::Full);
}

#[test]
fn what_others_write_drives_out_no_more_than_what_comes_in() {
    let mut sim = beside_others(WhenFull::DropOldest, 2 << 20);
    sim.facts.disk_bytes = 10_000_000;
    sim.hear(StoreReport::Measured);
    let effects = sim.offer(1);
    let dropped = effects.iter().find_map(|effect| match effect {
        BufferEffect::Disk(StoreOrder::DropOldest { bytes, .. }) => Some(*bytes),
        _ => None,
    });
    assert!(dropped.is_some_and(|bytes| bytes < 100_000), "{dropped:?}");
}

#[test]
fn what_was_taken_before_others_filled_the_file_system_drives_out_nothing() {
    let mut sim = beside_others(WhenFull::DropOldest, 1 << 40);
    sim.hear(StoreReport::Measured);
    sim.buffer.came_up(OutletId(0), &Replay::default());
    assert!(appended(&sim.offer(1)).is_none(), "the peer may confirm it first");
    sim.facts.free_bytes = Some(1 << 19);
    sim.hear(StoreReport::Measured);
    let effects = sim.wait(RULE.commit_after);
    assert_eq!(appended(&effects).map(|parts| parts.len()), Some(1), "{effects:?}");
}

#[test]
fn a_file_system_that_gives_hardly_anything_gives_that() {
    let mut sim = Sim::with(Rule { max_bytes: 256_000_000, ..RULE }, 1);
    sim.facts.free_bytes = Some(5_000_000);
    sim.hear(StoreReport::Measured);
    assert!(appended(&sim.offer(1)).is_some());
}

#[test]
fn used_up_inodes_are_told_as_such() {
    let mut sim = Sim::new();
    sim.offer(1);
    sim.facts.free_files = Some(0);
    sim.fail(StoreOrderKind::Append);
    assert!(sim.buffer.failure().is_some_and(|error| error.contains("no inodes are left")));
}

/// Two links whose places are bounded differently.
fn with_bounds(places: [BufferLimits; 2]) -> Sim {
    let mut sim = Sim::with(RULE, 2);
    let bounds = places.map(|place| RULE.bounds(place));
    sim.buffer.reconfigure(sim.now, RULE);
    sim.buffer.rebind(|link| Some(bounds[link.0]));
    sim
}

fn two_at_most(when_full: WhenFull) -> BufferLimits {
    BufferLimits { max_messages: Some(2), when_full: Some(when_full), ..BufferLimits::default() }
}

#[test]
fn an_outlet_that_refuses_when_it_is_full_refuses_for_all() {
    let mut sim = with_bounds([BufferLimits::default(), two_at_most(WhenFull::Reject)]);
    sim.offer_to(&[OutletId(0), OutletId(1)], 2);
    let effects = sim.offer_to(&[OutletId(0), OutletId(1)], 1);
    assert!(
        effects.contains(&BufferEffect::Answer(RequestId(2), Answer::Refused(Refused::Full))),
        "{effects:?}"
    );
    assert_eq!(sim.buffer.queue(OutletId(0)).unconfirmed(), 2);
}

#[test]
fn an_outlet_that_drops_what_is_new_leaves_it_to_the_others_and_says_so_in_a_gap() {
    let mut sim = with_bounds([BufferLimits::default(), two_at_most(WhenFull::DropNewest)]);
    sim.offer_to(&[OutletId(0), OutletId(1)], 2);
    let effects = sim.offer_to(&[OutletId(0), OutletId(1)], 1);
    assert!(effects.contains(&FULL), "{effects:?}");
    assert_eq!((sim.buffer.dropped(), sim.buffer.refused()), (1, 0));
    assert_eq!([0, 1].map(|outlet| sim.buffer.queue(OutletId(outlet)).given_up.dropped), [0, 1]);
    assert_eq!([0, 1].map(|outlet| sim.buffer.queue(OutletId(outlet)).unconfirmed()), [3, 2]);
    assert_eq!(sim.buffer.queue(OutletId(1)).block().next, 4, "the third number is used up");
    assert_eq!(sim.confirm(OutletId(0), 3), [stored(RequestId(2), 3, 3)], "it is safe wherever it was taken");
}

#[test]
fn telemetry_gives_way_before_alarms_and_never_what_refuses() {
    let names = ["client:a", "client:a/7", "client:b"];
    let mut facts = StoreFacts { held: vec![Held::default(); 3], ..StoreFacts::default() };
    for (outlet, bytes) in [(0, 400), (1, 900), (2, 2_000)] {
        facts.held[outlet] = Held { range: Some((1, 8)), messages: 8, bytes, ..Held::default() };
    }
    let opened = Opened { outlets: names.map(str::to_owned).into(), facts, ..Opened::default() };
    let rule = Rule { max_bytes: SMALL, ..RULE };
    let keep = rule.bounds(BufferLimits { when_full: Some(WhenFull::Reject), ..BufferLimits::default() });
    let drop = rule.bounds(BufferLimits::default());
    let owners = vec![
        OutletOwner { link: LinkId(0), priority: 0, bounds: drop, gone: false },
        OutletOwner { link: LinkId(0), priority: 7, bounds: drop, gone: false },
        OutletOwner { link: LinkId(1), priority: 0, bounds: keep, gone: false },
    ];
    let new_epochs = vec!["E".to_owned(); 3];
    let mut buffer = Buffer::new(rule, owners, &new_epochs, &opened, 0, 0);
    let mut out = Vec::new();
    assert!(buffer.make_room(&mut out));
    assert!(
        matches!(out[..], [FULL, BufferEffect::Disk(StoreOrder::DropOldest { outlet: OutletId(0), .. })]),
        "{out:?}"
    );
}

fn past(id: u64) -> Message {
    Message { id, time_ns: 77, clock: Clock::Synced, ..stamp(Sim::new().clock(), 0, draft(10)) }
}

#[test]
fn what_comes_again_keeps_its_time_gets_a_new_id_goes_to_one_outlet_and_says_that_it_is_replayed() {
    let mut sim = Sim::with(RULE, 2);
    let mut out = Vec::new();
    sim.buffer.take_again(sim.clock(), RequestId(7), vec![past(900), past(901)], OutletId(1), &mut out);
    assert_eq!(out, []);
    let effects = sim.advance();
    let [BufferEffect::Disk(StoreOrder::Append { parts })] = &effects[..] else { panic!("{effects:?}") };
    let [(OutletId(1), entries)] = &parts[..] else { panic!("{parts:?}") };
    let came = |entry: &Entry| match &entry.body {
        Body::Message(message) => (entry.seq, message.id, message.time_ns, message.clock, entry.replayed),
        Body::Gap { .. } => panic!("{entry:?}"),
    };
    let expected = [(1, 1, 77, Clock::Synced, true), (2, 2, 77, Clock::Synced, true)];
    assert_eq!(entries.iter().map(came).collect::<Vec<_>>(), expected);
    let stored = BufferEffect::Answer(RequestId(7), Answer::Stored { first: 1, last: 2 });
    assert!(sim.hear(StoreReport::Appended).contains(&stored));
    assert_eq!(sim.buffer.accepted().messages, 2);
}

#[test]
fn what_comes_again_is_refused_like_anything_else_when_there_is_no_room() {
    let mut sim = Sim::with(Rule { max_messages: 1, when_full: WhenFull::Reject, ..RULE }, 1);
    sim.hold(1, 100);
    sim.hear(StoreReport::PresenceSaved);
    let mut out = Vec::new();
    sim.buffer.take_again(sim.clock(), RequestId(7), vec![past(900)], OutletId(0), &mut out);
    assert!(out.contains(&BufferEffect::Answer(RequestId(7), Answer::Refused(Refused::Full))), "{out:?}");
    assert_eq!(sim.buffer.refused(), 1);
}

#[test]
fn a_purge_is_counted_and_told_and_whoever_waits_is_answered_only_by_the_commit() {
    let mut sim = Sim::new();
    sim.hold(3, 300);
    sim.buffer.came_up(OutletId(0), &Replay::default());
    sim.hear(StoreReport::PresenceSaved);
    sim.offer(1);
    sim.wait(AFTER);
    sim.facts.held[0] = Held { range: Some((1, 3)), ..Held::default() };
    let effects = sim.hear(StoreReport::Purged { outlet: OutletId(0), messages: 3, gap: Some((1, 3)) });
    let told = LogEvent::Purged { outlet: "client:0".into(), messages: 3, from: 1, to: 3 };
    assert_eq!(sim.buffer.queue(OutletId(0)).given_up.dropped, 3);
    let read = BufferEffect::Disk(StoreOrder::Read {
        outlet: OutletId(0),
        from: 1,
        falling: false,
        max_bytes: 256 * 1024,
        token: 2,
    });
    assert_eq!(effects, [BufferEffect::Note(told), read]);
    assert_eq!((sim.buffer.dropped(), sim.buffer.queue(OutletId(0)).unconfirmed()), (3, 1));
    let stored = BufferEffect::Answer(RequestId(1), Answer::Stored { first: 1, last: 1 });
    assert!(sim.hear(StoreReport::Appended).contains(&stored));
}
