use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::message::{Boot, Clock, Format, GapReason, Message};

const OK: Meaning = Meaning::Taken;
const NO: Meaning = Meaning::Refused;

fn message(seq: u64, payload: &str) -> Entry {
    let message = Message {
        id: seq,
        time_ns: 0,
        clock: Clock::Synced,
        boot: Boot(0),
        up_ns: 0,
        topic: "t".to_owned(),
        device: None,
        source: "s".into(),
        format: Format::Text,
        payload: payload.as_bytes().to_vec(),
        attributes: Vec::new(),
        ttl_s: None,
    };
    Entry { seq, body: Body::Message(Arc::new(message)), replayed: false }
}

fn gap(seq: u64, to: u64) -> Entry {
    Entry { seq, body: Body::Gap { to, reason: GapReason::Expired }, replayed: false }
}

fn queue(elements: Elements, batch: Batch) -> PostQueue {
    PostQueue::new(PostRule { epochs: vec!["E".to_owned()], batch, encoding: BodyEncoding::Ndjson, elements })
}

/// Holds messages from 1 to this number.
fn holding(count: u64) -> PostQueue {
    let mut queue = queue(Elements::Payloads, Batch::default());
    let entries = (1..=count).map(|seq| message(seq, &seq.to_string())).collect();
    assert_eq!(queue.push(at(0), 0, count, entries), None);
    queue
}

/// A message in front of a gap in which four expired ones became one, as the agent hands them over.
#[test]
fn nothing_is_confirmed_with_an_entry_that_was_handed_over_behind_it() {
    let mut queue = queue(Elements::Messages, Batch::default());
    let gap = |seq, to| Entry { seq, body: Body::Gap { to, reason: GapReason::Expired }, replayed: false };
    let entries = vec![message(9, "9"), gap(1, 1), message(10, "10"), gap(2, 5)];
    assert_eq!(queue.push(at(0), 0, 7, entries), None);
    // True places are 1, 2, 3 and 7.
    let places: Vec<u64> = queue.waiting.iter().map(|own| own.ordinal).collect();
    assert_eq!(places, [1, 2, 3, 7]);
    assert_eq!(queue.push(at(0), 0, 8, vec![message(11, "11")]), None);
    assert_eq!(queue.waiting.back().map(|own| own.ordinal), Some(8));
}

fn at(ms: u64) -> Time {
    Time::default() + Duration::from_millis(ms)
}

/// The numbers in the next request.
fn sent(queue: &mut PostQueue) -> Vec<u64> {
    let Some(post) = queue.next(at(0)) else { return Vec::new() };
    let text = String::from_utf8(post.body).unwrap();
    text.lines().map(|line| line.trim_matches('"').parse().unwrap()).collect()
}

/// A server that refuses these numbers. Returns what is reported until nothing waits or the connection ends, and how many requests
/// that took.
fn run(queue: &mut PostQueue, refuses: &[u64]) -> (Vec<LinkReport>, usize) {
    let (mut reports, mut requests) = (Vec::new(), 0);
    loop {
        let sent = sent(queue);
        if sent.is_empty() {
            return (reports, requests);
        }
        requests += 1;
        assert!(requests < 1000, "no end");
        let refused = sent.iter().any(|seq| refuses.contains(seq));
        reports.extend(queue.answered(if refused { NO } else { OK }, "HTTP 422"));
        if matches!(reports.last(), Some(LinkReport::Closed { .. })) {
            return (reports, requests);
        }
    }
}

fn nacked(reports: &[LinkReport]) -> Vec<u64> {
    let nacked =
        |report: &LinkReport| if let LinkReport::Nack { seq, .. } = report { Some(*seq) } else { None };
    reports.iter().filter_map(nacked).collect()
}

#[test]
fn one_request_is_under_way_and_what_comes_meanwhile_goes_together() {
    let mut queue = holding(1);
    assert_eq!(sent(&mut queue), [1]);
    assert_eq!(queue.push(at(0), 0, 3, vec![message(2, "2"), message(3, "3")]), None);
    assert_eq!(sent(&mut queue), [0; 0]);
    assert_eq!(queue.answered(OK, ""), [LinkReport::Confirmed(1)]);
    assert_eq!(sent(&mut queue), [2, 3]);
    assert_eq!(queue.answered(OK, ""), [LinkReport::Confirmed(3)]);
}

#[test]
fn a_batch_goes_when_it_is_full_or_when_its_first_message_has_waited() {
    let batch = Batch { messages: 3, bytes: 10_000, after: Duration::from_millis(50) };
    let mut queue = queue(Elements::Payloads, batch);
    queue.push(at(0), 0, 1, vec![message(1, "1")]);
    queue.push(at(40), 0, 2, vec![message(2, "2")]);
    assert_eq!((queue.next(at(49)), queue.deadline()), (None, Some(at(50))));
    assert_eq!(queue.next(at(50)).unwrap().entries, 2);
    assert_eq!(queue.deadline(), None, "the answer comes first");
    queue.answered(OK, "");
    queue.push(at(60), 0, 7, (3..=7).map(|seq| message(seq, "x")).collect());
    assert_eq!(queue.next(at(60)).unwrap().entries, 3);
    queue.answered(OK, "");
    assert_eq!(queue.next(at(60)), None);
    assert_eq!(queue.next(at(110)).unwrap().entries, 2);
}

#[test]
fn bytes_bound_a_request() {
    let batch = Batch { messages: 100, bytes: 1000, after: Duration::ZERO };
    let mut queue = queue(Elements::Messages, batch);
    queue.push(at(0), 0, 20, (1..=20).map(|seq| message(seq, "reading")).collect());
    let post = queue.next(at(0)).unwrap();
    assert!(post.body.len() <= 1000 && post.entries > 5, "{} in {}", post.entries, post.body.len());
    assert_eq!(queue.answered(OK, ""), [LinkReport::Confirmed(post.entries as u64)]);
}

#[test]
fn the_refused_message_is_found_by_halves_and_set_aside_once_another_was_taken() {
    for bad in [1, 2, 50, 51, 99, 100] {
        let mut queue = holding(100);
        let (reports, requests) = run(&mut queue, &[bad]);
        assert_eq!(nacked(&reports), [bad]);
        assert_eq!(reports.last(), Some(&LinkReport::Confirmed(100)));
        assert!(requests < 30, "{bad}: {requests}");
    }
}

#[test]
fn several_refused_messages_are_found_each() {
    for bad in [vec![1, 2, 3], vec![7, 8, 70], vec![98, 99, 100], vec![5, 6, 7, 8, 9, 10, 11, 12]] {
        let (reports, _) = run(&mut holding(100), &bad);
        assert_eq!(nacked(&reports), bad);
        assert_eq!(reports.last(), Some(&LinkReport::Confirmed(100)));
    }
}

#[test]
fn confirmations_rise_and_none_goes_past_a_message_that_was_not_answered_for() {
    let (reports, _) = run(&mut holding(100), &[40, 41, 90]);
    let mut through = 0;
    for report in &reports {
        match report {
            LinkReport::Confirmed(to) => {
                assert!(*to > through, "{reports:?}");
                through = *to;
            }
            LinkReport::Nack { seq, .. } => assert_eq!(*seq, through + 1, "{reports:?}"),
            _ => panic!("{report:?}"),
        }
    }
}

#[test]
fn a_server_that_refuses_everything_blames_nobody() {
    for held in [1, 2, 5, 100] {
        let all: Vec<u64> = (1..=held).collect();
        let (reports, _) = run(&mut holding(held), &all);
        assert_eq!(nacked(&reports), [0; 0]);
        let error = "HTTP 422, and takes no other message either".to_owned();
        assert_eq!(reports, [LinkReport::Closed { closing: Closing::Plain, error }]);
    }
}

#[test]
fn a_server_that_begins_to_refuse_everything_blames_nobody() {
    let mut queue = holding(1);
    assert_eq!(sent(&mut queue), [1]);
    queue.answered(OK, "");
    queue.push(at(0), 0, 20, (2..=20).map(|seq| message(seq, &seq.to_string())).collect());
    let all: Vec<u64> = (1..=20).collect();
    let (reports, _) = run(&mut queue, &all);
    assert_eq!(nacked(&reports), [0; 0]);
    assert!(matches!(reports[..], [LinkReport::Closed { closing: Closing::Plain, .. }]), "{reports:?}");
}

#[test]
fn a_message_that_is_refused_once_and_then_taken_is_not_set_aside() {
    let mut queue = holding(1);
    assert_eq!(sent(&mut queue), [1]);
    queue.answered(OK, "");
    queue.push(at(0), 0, 2, vec![message(2, "2")]);
    assert_eq!(sent(&mut queue), [2]);
    assert_eq!(queue.answered(NO, "HTTP 400"), []);
    assert_eq!(sent(&mut queue), [1], "the control is what it took last");
    assert_eq!(queue.answered(OK, ""), []);
    assert_eq!(sent(&mut queue), [2]);
    assert_eq!(queue.answered(OK, ""), [LinkReport::Confirmed(2)]);
}

#[test]
fn a_server_that_does_not_take_a_message_twice_is_shown_another_one() {
    let mut queue = holding(1);
    assert_eq!(sent(&mut queue), [1]);
    queue.answered(OK, "");
    queue.push(at(0), 0, 3, vec![message(2, "2"), message(3, "3")]);
    let (reports, _) = run(&mut queue, &[1, 2]);
    assert_eq!(nacked(&reports), [2]);
    assert_eq!(reports.last(), Some(&LinkReport::Confirmed(3)));
}

#[test]
fn a_batch_that_is_too_large_is_made_smaller_and_no_message_is_to_blame() {
    let batch = Batch { messages: 100, bytes: 100_000, after: Duration::ZERO };
    let mut queue = queue(Elements::Payloads, batch);
    queue.push(at(0), 0, 40, (1..=40).map(|seq| message(seq, &"x".repeat(990))).collect());
    let (mut reports, mut requests) = (Vec::new(), 0);
    while let Some(post) = queue.next(at(0)) {
        requests += 1;
        let meaning = if post.body.len() > 6000 { Meaning::TooLarge } else { OK };
        reports.extend(queue.answered(meaning, "HTTP 413"));
    }
    assert_eq!((nacked(&reports), reports.last()), (vec![], Some(&LinkReport::Confirmed(40))));
    assert!(requests <= 16, "the limit is kept: {requests}");
}

#[test]
fn a_message_that_is_too_large_alone_is_set_aside() {
    let mut queue = queue(Elements::Payloads, Batch::default());
    let entries = vec![message(1, "a"), message(2, &"x".repeat(9000)), message(3, "b")];
    queue.push(at(0), 0, 3, entries);
    let mut reports = Vec::new();
    while let Some(post) = queue.next(at(0)) {
        let meaning = if post.body.len() > 6000 { Meaning::TooLarge } else { OK };
        reports.extend(queue.answered(meaning, "HTTP 413"));
    }
    assert_eq!((nacked(&reports), reports.last()), (vec![2], Some(&LinkReport::Confirmed(3))));
}

#[test]
fn gaps_are_told_among_messages_and_pass_in_silence_among_payloads() {
    let mut told = queue(Elements::Messages, Batch::default());
    assert_eq!(told.push(at(0), 0, 1, vec![gap(1, 9)]), None);
    assert!(String::from_utf8(told.next(at(0)).unwrap().body).unwrap().contains("\"gap\""));
    let mut silent = queue(Elements::Payloads, Batch::default());
    assert_eq!(silent.push(at(0), 0, 1, vec![gap(1, 9)]), Some(LinkReport::Confirmed(1)));
    silent.push(at(0), 0, 4, vec![message(10, "10"), gap(11, 12), gap(13, 13)]);
    assert_eq!(sent(&mut silent), [10]);
    assert_eq!(silent.answered(OK, ""), [LinkReport::Confirmed(4)], "the gaps behind it go with it");
}

#[test]
fn a_gap_that_the_server_cannot_take_holds_nothing_up() {
    let mut queue = queue(Elements::Messages, Batch::default());
    queue.push(at(0), 0, 3, vec![message(1, "1"), gap(2, 5), message(6, "6")]);
    let mut reports = Vec::new();
    while let Some(post) = queue.next(at(0)) {
        let refused = String::from_utf8(post.body).unwrap().contains("\"gap\"");
        reports.extend(queue.answered(if refused { NO } else { OK }, "HTTP 400"));
    }
    assert_eq!((nacked(&reports), reports.last()), (vec![], Some(&LinkReport::Confirmed(3))));
}

#[test]
fn what_is_no_fault_of_the_batch_ends_the_connection() {
    let mut queue = holding(3);
    sent(&mut queue);
    let busy = Closing::Busy { retry_after: Some(Duration::from_secs(7)) };
    let error = "HTTP 503".to_owned();
    let closed = LinkReport::Closed { closing: busy, error };
    assert_eq!(queue.answered(Meaning::Failed(busy), "HTTP 503"), [closed]);
}
