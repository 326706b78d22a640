use super::*;
use crate::link::dial_error::DialError;
use crate::link::protocol::{Refusal, RefusalKind, Traffic};

const CONNECT_TIMEOUT: Duration = secs(15);

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// An answer that asks for this before the next try.
fn refusal(asks: RefusalKind) -> Refusal {
    Refusal::new(DialError::Http { status: 500, asks }, "refused")
}

/// A link and the clock that it lives by.
struct Sim {
    link: Link,
    now: Time,
    seed: Seed,
    /// The traffic that each look finds; as it is at first, nothing that was sent arrives.
    traffic: Traffic,
    looks: u32,
}

impl Sim {
    fn new(confirm: Confirm) -> Self {
        Sim::with(LinkRule {
            kind: LinkKind::WebSocket,
            active: true,
            confirm,
            ping: Ping { interval: secs(20), timeout: secs(10) },
            reconnect: Reconnect { min: secs(1), max: secs(300), ..Reconnect::default() },
            endpoints: EndpointRule::single(),
            connect_timeout: CONNECT_TIMEOUT,
            confirm_timeout: secs(30),
            client_id: None,
        })
    }

    fn with(rule: LinkRule) -> Self {
        let traffic = Traffic { written: 1000, unacknowledged: Some(10), ..Traffic::default() };
        let link = Link::new(rule, Time::default());
        Sim { link, now: Time::default(), seed: Seed::new(7), traffic, looks: 0 }
    }

    fn online(confirm: Confirm) -> Self {
        let mut sim = Sim::new(confirm);
        sim.come_up();
        sim
    }

    /// Waits for the dial and lets it succeed.
    fn come_up(&mut self) {
        if let Some(at) = self.link.retry_at() {
            self.now = self.now.max(at);
        }
        // It may have dialed while time passed.
        if self.link.state() == LinkState::Down {
            assert_eq!(self.advance(secs(0)), [LinkEffect::Dial(EndpointId(0))]);
        }
        let up = self.hear(LinkReport::Up(Peer::default()));
        assert_eq!(up, [LinkEffect::Opened(Peer::default())]);
    }

    fn hear(&mut self, report: LinkReport) -> Vec<LinkEffect> {
        let mut out = Vec::new();
        self.link.handle(self.now, &report, &mut self.seed, &mut out);
        out
    }

    /// Lets time pass. Looks are answered, and not told.
    fn advance(&mut self, by: Duration) -> Vec<LinkEffect> {
        let (until, mut out) = (self.now + by, Vec::new());
        loop {
            let deadline = self.link.deadline().filter(|at| *at < until);
            self.now = deadline.unwrap_or(until).max(self.now);
            out.extend(self.step());
            if deadline.is_none() {
                return out;
            }
        }
    }

    fn step(&mut self) -> Vec<LinkEffect> {
        let mut out = Vec::new();
        self.link.advance(self.now, &mut self.seed, &mut out);
        if out.contains(&LinkEffect::Look) {
            out.retain(|effect| *effect != LinkEffect::Look);
            self.looks += 1;
            out.extend(self.hear(LinkReport::Traffic(self.traffic.clone())));
        }
        out
    }

    /// Goes to the link's own deadline at which it does more than look.
    fn advance_to_deadline(&mut self) -> Vec<LinkEffect> {
        loop {
            let deadline = self.link.deadline().expect("it waits for something");
            assert!(deadline >= self.now, "{deadline:?} has passed");
            let looks = self.looks;
            self.now = deadline;
            let effects = self.step();
            assert!(self.link.deadline().is_none_or(|at| at > self.now), "the deadline does not move");
            if looks == self.looks || !effects.is_empty() {
                return effects;
            }
        }
    }

    /// All that was sent arrives at the peer's kernel.
    fn arrive(&mut self) {
        self.traffic.unacknowledged = Some(0);
    }

    fn send(&mut self, seq: u64) -> Vec<LinkEffect> {
        self.send_bytes(seq, 100)
    }

    fn send_bytes(&mut self, seq: u64, bytes: usize) -> Vec<LinkEffect> {
        let mut out = Vec::new();
        self.link.sent(self.now, seq, bytes, &mut out);
        out
    }

    fn cut(&mut self, code: Option<u16>) -> Duration {
        retry_in(&self.hear(LinkReport::Closed { closing: Closing::of(code, ""), error: "cut".to_owned() }))
    }

    fn refuse(&mut self, kind: RefusalKind) -> Duration {
        let at = self.link.retry_at().expect("it is down");
        self.now = self.now.max(at);
        assert_eq!(self.advance(secs(0)), [LinkEffect::Dial(EndpointId(0))]);
        retry_in(&self.hear(LinkReport::DialFailed(refusal(kind))))
    }
}

fn ping(number: u64) -> LinkEffect {
    LinkEffect::Tell(LinkOrder::Ping(number))
}

fn retry_in(effects: &[LinkEffect]) -> Duration {
    match effects {
        [LinkEffect::Lost { retry_in, .. }] | [LinkEffect::HangUp, LinkEffect::Lost { retry_in, .. }] => {
            retry_in.expect("it tries again")
        }
        other => panic!("the link was not lost: {other:?}"),
    }
}

fn words(effects: &[LinkEffect]) -> &str {
    match effects {
        [LinkEffect::HangUp, LinkEffect::Lost { error, .. }] => error,
        [LinkEffect::Tell(LinkOrder::Ping(_)), rest @ ..] => words(rest),
        other => panic!("the link was not hung up: {other:?}"),
    }
}

#[test]
fn it_dials_at_its_first_step() {
    let mut sim = Sim::new(Confirm::Pong);
    assert_eq!(sim.link.state(), LinkState::Down);
    assert_eq!(sim.advance(secs(0)), [LinkEffect::Dial(EndpointId(0))]);
    assert_eq!(sim.link.state(), LinkState::Connecting);
    assert_eq!(sim.advance(secs(0)), [], "it dials once");
}

#[test]
fn an_inactive_link_never_dials() {
    let mut sim = Sim::new(Confirm::Pong);
    sim.link.rule.active = false;
    let mut sim = Sim::with(sim.link.rule);
    assert_eq!(sim.advance(secs(3600)), []);
    assert_eq!((sim.link.state(), sim.link.deadline()), (LinkState::Inactive, None));
}

#[test]
fn a_dial_without_a_result_is_given_up_and_tried_again_after_the_back_off() {
    let mut sim = Sim::new(Confirm::Pong);
    sim.advance(secs(0));
    assert_eq!(sim.advance(CONNECT_TIMEOUT), [], "the task itself gets the first word");
    let gone = sim.advance_to_deadline();
    assert_eq!(words(&gone), "cannot dial: no result after 15s");
    assert!(retry_in(&gone) <= secs(1));
    assert_eq!(sim.advance_to_deadline(), [LinkEffect::Dial(EndpointId(0))]);
}

#[test]
fn an_idle_link_is_pinged_each_interval() {
    let mut sim = Sim::online(Confirm::Pong);
    assert_eq!(sim.advance(secs(19)), []);
    assert_eq!(sim.advance_to_deadline(), [ping(1)]);
    sim.now = sim.now + Duration::from_millis(30);
    assert_eq!(sim.hear(LinkReport::Pong(1)), [], "nothing was sent, so nothing is confirmed");
    assert_eq!(sim.link.rtt(), Some(Duration::from_millis(30)));
    assert_eq!(sim.advance_to_deadline(), [ping(2)]);
}

#[test]
fn silence_past_the_pong_deadline_hangs_up_and_dials_again_after_the_back_off() {
    let mut sim = Sim::online(Confirm::Pong);
    assert_eq!(sim.advance(secs(20)), [ping(1)]);
    assert_eq!(sim.advance(Duration::from_millis(9_999)), []);
    let gone = sim.advance_to_deadline();
    assert_eq!(words(&gone), "no pong within 10 s");
    assert_eq!(sim.link.state(), LinkState::Down);
    assert_eq!(sim.link.last_error(), Some("no pong within 10 s"));
    assert_eq!(sim.advance_to_deadline(), [LinkEffect::Dial(EndpointId(0))]);
}

#[test]
fn a_pong_confirms_only_what_was_sent_before_its_ping() {
    let mut sim = Sim::online(Confirm::Pong);
    assert_eq!(sim.send(5), [ping(1)]);
    assert_eq!(sim.send(9), [], "one ping at a time");
    assert_eq!(sim.hear(LinkReport::Pong(1)), [LinkEffect::Confirmed(5), ping(2)]);
    assert_eq!(sim.hear(LinkReport::Pong(2)), [LinkEffect::Confirmed(9)]);
    assert_eq!(sim.send(10), [ping(3)]);
}

#[test]
fn a_pong_of_another_ping_is_ignored() {
    let mut sim = Sim::online(Confirm::Pong);
    sim.send(5);
    assert_eq!(sim.hear(LinkReport::Pong(0)), []);
    assert_eq!(sim.hear(LinkReport::Pong(2)), []);
    assert_eq!(sim.hear(LinkReport::Pong(1)), [LinkEffect::Confirmed(5)]);
    assert_eq!(sim.hear(LinkReport::Pong(1)), [], "it counts once");
}

#[test]
fn a_pong_of_the_connection_before_confirms_nothing() {
    let mut sim = Sim::online(Confirm::Pong);
    sim.send(5);
    sim.cut(None);
    sim.come_up();
    assert_eq!(sim.send(7), [ping(2)], "ping numbers go on");
    assert_eq!(sim.hear(LinkReport::Pong(1)), []);
}

#[test]
fn where_numbers_are_acknowledged_pongs_confirm_nothing() {
    let mut sim = Sim::online(Confirm::Ack);
    assert_eq!(sim.send(5), []);
    assert_eq!(sim.advance(secs(1)), [ping(1)]);
    assert_eq!(sim.hear(LinkReport::Pong(1)), []);
}

#[test]
fn what_is_written_is_confirmed_only_where_nothing_else_is_asked_for() {
    assert_eq!(Sim::online(Confirm::None).hear(LinkReport::Written(3)), [LinkEffect::Confirmed(3)]);
    assert_eq!(Sim::online(Confirm::Pong).hear(LinkReport::Written(3)), []);
    assert_eq!(Sim::online(Confirm::Ack).hear(LinkReport::Written(3)), []);
}

#[test]
fn a_peer_that_needs_not_answer_pings_lives_on_without_any_pong() {
    let mut sim = Sim::online(Confirm::None);
    for number in 1..=50 {
        assert_eq!(sim.advance(secs(20)), [ping(number)]);
    }
}

#[test]
fn a_peer_that_needs_not_answer_pings_must_go_on_once_it_has_answered_one() {
    let mut sim = Sim::online(Confirm::None);
    sim.advance(secs(20));
    sim.hear(LinkReport::Pong(1));
    assert_eq!(sim.advance(secs(20)), [ping(2)]);
    assert_eq!(words(&sim.advance(secs(10))), "no pong within 10 s");
}

#[test]
fn a_link_that_pings_for_nothing_but_confirmations_has_no_deadline_while_it_is_idle() {
    let mut rule = Sim::new(Confirm::Pong).link.rule;
    rule.ping.interval = Duration::ZERO;
    let mut sim = Sim::with(rule);
    sim.come_up();
    assert_eq!(sim.link.deadline(), None);
    assert_eq!(sim.send(1), [ping(1)]);
    assert_eq!(words(&sim.advance_to_deadline()), "no pong within 10 s");
}

#[test]
fn a_peer_that_answers_pings_and_confirms_nothing_is_hung_up() {
    let mut sim = Sim::online(Confirm::Ack);
    sim.send(5);
    for number in 1..30 {
        assert_eq!(sim.advance(secs(1)), [ping(number)]);
        sim.hear(LinkReport::Pong(number));
    }
    sim.send(9);
    assert_eq!(words(&sim.advance(secs(1))), "nothing confirmed for 30 s");
}

#[test]
fn every_confirmation_gives_the_rest_in_flight_its_full_time_again() {
    let mut sim = Sim::online(Confirm::Ack);
    sim.send(5);
    for number in 1..=100 {
        assert_eq!(sim.advance(secs(1)), [ping(number)]);
        sim.hear(LinkReport::Pong(number));
        if number % 20 == 0 {
            sim.link.progressed(sim.now, 1, 100);
        }
    }
    assert!(sim.link.is_up());
    sim.link.progressed(sim.now, 0, 0);
    assert_eq!(sim.advance(secs(20)), [ping(101)], "nothing is in flight");
    sim.hear(LinkReport::Pong(101));
    assert_eq!(sim.advance(secs(15)), []);
}

#[test]
fn failures_raise_the_ceiling_of_the_wait_up_to_its_maximum() {
    let mut sim = Sim::new(Confirm::Pong);
    let waits: Vec<_> = (0..60).map(|_| sim.refuse(RefusalKind::Retry)).collect();
    assert!(waits[0] <= secs(1) && waits[1] <= secs(2));
    assert!(waits.iter().all(|wait| *wait <= secs(300)));
    assert!(waits[20..].iter().any(|wait| *wait > secs(150)), "{waits:?}");
}

#[test]
fn a_connection_that_breaks_before_it_was_stable_does_not_reset_the_back_off() {
    let mut sim = Sim::new(Confirm::Pong);
    for _ in 0..9 {
        sim.refuse(RefusalKind::Retry);
    }
    let mut longest = secs(0);
    for _ in 0..8 {
        sim.come_up();
        sim.now = sim.now + secs(59);
        longest = longest.max(sim.cut(None));
    }
    assert!(longest > secs(30), "{longest:?}");
}

#[test]
fn a_connection_that_was_stable_starts_the_back_off_anew() {
    let mut sim = Sim::new(Confirm::Pong);
    for _ in 0..8 {
        for _ in 0..9 {
            sim.refuse(RefusalKind::Retry);
        }
        sim.come_up();
        sim.now = sim.now + secs(60);
        assert!(sim.cut(None) <= secs(8));
    }
}

#[test]
fn those_who_lose_a_stable_connection_together_come_back_over_eight_times_the_shortest_wait() {
    let waits = |up_for| {
        let wait = |seed| {
            let mut sim = Sim { seed: Seed::new(seed), ..Sim::online(Confirm::Pong) };
            sim.now = sim.now + up_for;
            sim.cut(None)
        };
        let mut waits: Vec<Duration> = (0..1000).map(wait).collect();
        waits.sort();
        waits
    };
    let stable = waits(secs(60));
    assert!(stable[500] > secs(3) && stable[500] < secs(5) && stable[999] > secs(7), "{:?}", stable[500]);
    assert!(waits(secs(59))[999] <= secs(1), "one that never proved itself is no affair of a fleet");
}

#[test]
fn the_last_error_is_shown_until_the_connection_was_stable() {
    let mut sim = Sim::online(Confirm::Pong);
    sim.cut(None);
    sim.come_up();
    assert_eq!(sim.link.last_error(), Some("cut"));
    for number in 1..=3 {
        assert_eq!(sim.advance(secs(20)), [ping(number)]);
        sim.hear(LinkReport::Pong(number));
    }
    assert_eq!(sim.link.last_error(), None);
}

#[test]
fn a_peer_that_is_busy_is_asked_again_when_it_says() {
    let mut sim = Sim::new(Confirm::Pong);
    let wait = sim.refuse(RefusalKind::Busy { retry_after: Some(secs(120)) });
    assert!((secs(120)..=secs(180)).contains(&wait), "{wait:?}");
}

#[test]
fn refused_credentials_wait_for_half_of_the_longest_wait_at_least() {
    let mut sim = Sim::new(Confirm::Pong);
    let wait = sim.refuse(RefusalKind::Unauthorized);
    assert!((secs(150)..=secs(300)).contains(&wait), "{wait:?}");
}

#[test]
fn a_peer_that_closes_for_the_login_is_treated_like_one_that_refuses_it_unless_it_was_good_for_long() {
    let mut sim = Sim::online(Confirm::Pong);
    let wait = sim.cut(Some(1008));
    assert!((secs(150)..=secs(300)).contains(&wait), "{wait:?}");
    assert_eq!(sim.link.last_error(), Some("cut (it refuses the login)"));
    sim.come_up();
    sim.now = sim.now + secs(60);
    assert!(sim.cut(Some(1008)) <= secs(8), "it has run out, and the next one may be good");
}

#[test]
fn a_peer_that_restarts_gets_five_seconds_at_least() {
    for code in [1012, 1013] {
        let wait = Sim::online(Confirm::Pong).cut(Some(code));
        assert!((secs(5)..=secs(30)).contains(&wait), "{wait:?}");
    }
    assert!(Sim::online(Confirm::Pong).cut(Some(1001)) <= secs(1));
}

#[test]
fn reconnects_and_the_time_of_the_state_are_those_of_connections_not_of_tries() {
    let mut sim = Sim::online(Confirm::Pong);
    assert_eq!(sim.link.reconnects(), 0);
    sim.now = sim.now + secs(5);
    let lost_at = sim.now;
    sim.cut(None);
    sim.refuse(RefusalKind::Retry);
    assert_eq!((sim.link.since(), sim.link.reconnects()), (lost_at, 0));
    sim.come_up();
    assert_eq!((sim.link.since(), sim.link.reconnects()), (sim.now, 1));
}

#[test]
fn goodbye_is_said_once_and_nothing_is_dialled_after_it() {
    let mut sim = Sim::online(Confirm::Pong);
    let mut out = Vec::new();
    sim.link.close(1001, &mut out);
    sim.link.close(1001, &mut out);
    assert_eq!(out, [LinkEffect::Tell(LinkOrder::Close(1001))]);
    assert!(!sim.link.is_up() && !sim.link.is_idle());
    assert_eq!(
        sim.hear(LinkReport::Closed { closing: Closing::of(Some(1001), ""), error: "closed".to_owned() }),
        []
    );
    assert!(sim.link.is_idle());
    assert_eq!((sim.advance(secs(3600)), sim.link.deadline()), (vec![], None));
}

#[test]
fn a_link_that_is_not_up_closes_without_a_word() {
    let mut sim = Sim::new(Confirm::Pong);
    let mut out = Vec::new();
    sim.advance(secs(0));
    sim.link.close(1001, &mut out);
    assert_eq!((out, sim.link.is_idle()), (vec![LinkEffect::HangUp], true));
    let mut out = Vec::new();
    let mut sim = Sim::new(Confirm::Pong);
    sim.link.close(1001, &mut out);
    assert_eq!((out, sim.link.is_idle()), (vec![], true));
}

#[test]
fn an_abandoned_link_drops_what_it_has_and_stays_away() {
    let mut sim = Sim::online(Confirm::Pong);
    let mut out = Vec::new();
    sim.link.close(1001, &mut out);
    sim.link.abandon(&mut out);
    sim.link.abandon(&mut out);
    assert_eq!(out, [LinkEffect::Tell(LinkOrder::Close(1001)), LinkEffect::HangUp]);
    assert_eq!(sim.advance(secs(3600)), []);
}

#[test]
fn nothing_may_be_in_flight_on_a_link_that_is_down() {
    let mut sim = Sim::online(Confirm::Pong);
    sim.cut(None);
    assert_eq!(sim.link.flight_bytes_max(), 0);
    assert_eq!(sim.send(3), []);
}

#[test]
fn what_may_be_in_flight_follows_the_line_over_all_of_its_connections() {
    let mut sim = Sim::online(Confirm::Pong);
    for round in 0..20 {
        let bytes = sim.link.flight_bytes_max();
        sim.send_bytes(round + 1, bytes);
        sim.now = sim.now + Duration::from_secs_f64(bytes as f64 / 4_000.0);
        sim.link.progressed(sim.now, 0, 0);
    }
    assert!((16_000..=20_000).contains(&sim.link.flight_bytes_max()), "{}", sim.link.flight_bytes_max());
    sim.cut(None);
    sim.come_up();
    assert!((16_000..=20_000).contains(&sim.link.flight_bytes_max()), "{}", sim.link.flight_bytes_max());
}

#[test]
fn a_slow_line_has_all_the_time_that_it_needs_as_long_as_it_carries_on() {
    for confirm in [Confirm::Pong, Confirm::Ack] {
        let mut sim = Sim::online(confirm);
        sim.traffic = Traffic { written: 60_000, unacknowledged: Some(60_000), ..Traffic::default() };
        sim.send_bytes(1, 60_000);
        for second in 0..600 {
            sim.traffic.unacknowledged = Some(60_000 - 100 * second);
            assert_eq!(
                sim.advance(secs(1)).iter().filter(|effect| **effect == LinkEffect::HangUp).count(),
                0
            );
        }
        assert!(sim.link.is_up(), "{confirm:?}");
        assert!(sim.looks < 300, "{} looks in 600 s", sim.looks);
        sim.advance(secs(25));
        assert!(!sim.link.is_up(), "nothing moves any more: {confirm:?}");
    }
}

#[test]
fn a_frame_of_the_peer_that_trickles_in_is_a_sign_of_life() {
    let mut sim = Sim::online(Confirm::Pong);
    sim.arrive();
    sim.send(1);
    for second in 0..300 {
        sim.traffic.heard = second * 1000;
        sim.advance(secs(1));
    }
    assert!(sim.link.is_up());
    sim.traffic.frames = 1;
    sim.traffic.heard += 1;
    assert_eq!(sim.advance(secs(23)).first(), Some(&LinkEffect::HangUp));
}

#[test]
fn a_quick_link_is_not_looked_at() {
    let mut sim = Sim::online(Confirm::Pong);
    for seq in 1..=100 {
        sim.send(seq);
        sim.advance(Duration::from_millis(50));
        sim.hear(LinkReport::Pong(seq));
        sim.link.progressed(sim.now, 0, 0);
    }
    assert_eq!(sim.looks, 0);
}

/// Connects again and again and answers each ping after this time. Returns how often it is hung up.
fn late_by(sim: &mut Sim, delay: Duration, pings: u32) -> u32 {
    let mut hung_up = 0;
    for seq in 1..=pings {
        if !sim.link.is_up() {
            sim.come_up();
        }
        sim.send(u64::from(seq));
        let number = sim.link.pings();
        hung_up += u32::from(sim.advance(delay).contains(&LinkEffect::HangUp));
        sim.hear(LinkReport::Pong(number));
        sim.link.progressed(sim.now, 0, 0);
    }
    hung_up
}

#[test]
fn a_peer_that_is_late_and_alive_is_given_more_time_on_the_next_connection() {
    for (delay, misses) in [(9, 0), (12, 1), (25, 2), (70, 3), (100, 20)] {
        let mut rule = Sim::new(Confirm::Pong).link.rule;
        rule.confirm_timeout = secs(1000);
        let mut sim = Sim::with(rule);
        sim.arrive();
        assert_eq!(late_by(&mut sim, secs(delay), 20), misses, "{delay} s");
    }
}

#[test]
fn a_line_that_carries_nothing_is_known_as_soon_as_ever_however_late_the_peer_was() {
    let mut sim = Sim::new(Confirm::Pong);
    sim.arrive();
    late_by(&mut sim, secs(25), 20);
    sim.traffic.unacknowledged = Some(10);
    sim.send(1000);
    assert_eq!(sim.advance(Duration::from_millis(9_999)), []);
    assert_eq!(words(&sim.advance_to_deadline()), "no pong within 10 s");
    for _ in 0..3 {
        sim.come_up();
        sim.send(1);
        assert_eq!(words(&sim.advance_to_deadline()), "no pong within 10 s");
    }
}

#[test]
fn a_peer_that_is_quick_again_has_the_usual_time_again_after_a_while() {
    let mut sim = Sim::new(Confirm::Pong);
    sim.arrive();
    assert_eq!(late_by(&mut sim, secs(12), 5), 1);
    late_by(&mut sim, Duration::from_millis(50), 16);
    assert_eq!(late_by(&mut sim, secs(12), 1), 1);
}

#[test]
fn a_half_open_link_is_known_by_its_acknowledgements_as_soon_as_by_its_pongs() {
    let mut sim = Sim::online(Confirm::Ack);
    sim.advance(secs(3));
    assert_eq!(sim.send(5), []);
    assert_eq!(sim.advance(secs(1)), [ping(1)], "it is asked at once");
    assert_eq!(words(&sim.advance_to_deadline()), "no pong within 10 s");
    let mut sim = Sim::online(Confirm::Ack);
    sim.send(1);
    sim.link.progressed(sim.now, 0, 0);
    assert_eq!(sim.advance(secs(19)), [], "nothing waits, nothing is asked");
}

#[test]
fn a_link_that_is_told_to_stay_away_says_goodbye_and_dials_only_when_it_is_told_to() {
    let mut sim = Sim::online(Confirm::Pong);
    let mut out = Vec::new();
    sim.link.disconnect(sim.now, 1001, &mut out);
    assert_eq!(out, [LinkEffect::Tell(LinkOrder::Close(1001))]);
    assert_eq!(
        sim.hear(LinkReport::Closed { closing: Closing::of(Some(1001), ""), error: "bye".to_owned() }),
        []
    );
    assert_eq!(sim.link.state(), LinkState::Disconnected);
    assert_eq!(sim.link.deadline(), None);
    assert_eq!(sim.advance(secs(3600)), []);
    sim.link.connect(sim.now);
    assert_eq!(sim.advance(secs(0)), [LinkEffect::Dial(EndpointId(0))]);
}

#[test]
fn a_peer_that_keeps_silent_about_a_goodbye_is_left_after_a_while() {
    let mut sim = Sim::online(Confirm::Pong);
    sim.link.disconnect(sim.now, 1001, &mut Vec::new());
    assert_eq!(sim.advance_to_deadline(), [LinkEffect::HangUp]);
    assert_eq!(sim.link.state(), LinkState::Disconnected);
}

#[test]
fn a_link_in_its_back_off_dials_at_once_when_it_is_told_to() {
    let mut sim = Sim::new(Confirm::Pong);
    sim.refuse(RefusalKind::Retry);
    sim.refuse(RefusalKind::Retry);
    sim.link.connect(sim.now);
    assert_eq!(sim.advance(secs(0)), [LinkEffect::Dial(EndpointId(0))]);
}

#[test]
fn another_configuration_forgets_that_a_link_was_told_to_stay_away() {
    let mut sim = Sim::online(Confirm::Pong);
    sim.link.disconnect(sim.now, 1001, &mut Vec::new());
    sim.hear(LinkReport::Closed { closing: Closing::Plain, error: "bye".to_owned() });
    let rule = sim.link.rule.clone();
    sim.link.reconfigure(sim.now, rule, 1001, &mut Vec::new());
    assert_eq!(sim.advance(secs(0)), [LinkEffect::Dial(EndpointId(0))]);
}

/// A link with several endpoints that tries the first ones again after 300 to 450 s.
fn several(count: usize, confirm: Confirm) -> Sim {
    let mut rule = Sim::new(confirm).link.rule;
    rule.endpoints.count = count;
    rule.endpoints.prefer_after = secs(300);
    Sim::with(rule)
}

/// Goes to the next dial, and fails it if `fails`.
fn dial(sim: &mut Sim, expected: usize, fails: bool) {
    let at = sim.link.retry_at().expect("it tries again");
    sim.now = sim.now.max(at);
    assert_eq!(sim.advance(secs(0)), [LinkEffect::Dial(EndpointId(expected))]);
    if fails {
        let error = "refused".to_owned();
        sim.hear(LinkReport::DialFailed(Refusal::new(DialError::Refused, error)));
    } else {
        sim.hear(LinkReport::Up(Peer::default()));
    }
}

/// Lives on, with all pings answered, until it does something else.
fn live_on(sim: &mut Sim) -> Vec<LinkEffect> {
    loop {
        let mut effects = sim.advance_to_deadline();
        let Some(LinkEffect::Tell(LinkOrder::Ping(number))) = effects.first() else { return effects };
        sim.hear(LinkReport::Pong(*number));
        effects.remove(0);
        if !effects.is_empty() {
            return effects;
        }
    }
}

#[test]
fn a_dead_endpoint_is_left_and_the_first_one_is_taken_again_once_it_answers_and_all_is_confirmed() {
    let mut sim = several(2, Confirm::Ack);
    dial(&mut sim, 0, true);
    dial(&mut sim, 1, false);
    let led_away = sim.now;
    assert_eq!(live_on(&mut sim), [LinkEffect::Tell(LinkOrder::Probe(EndpointId(0)))]);
    assert!((300..=450).contains(&sim.now.since(led_away).as_secs()));
    assert!(sim.link.may_send(), "it is used until the other one answers");
    sim.send(1);
    sim.hear(LinkReport::Probed(Ok(())));
    assert!(sim.link.is_up() && !sim.link.may_send());
    let pings = sim.advance(secs(1));
    assert!(matches!(pings[..], [LinkEffect::Tell(LinkOrder::Ping(_))]), "one message is not confirmed yet");
    sim.link.progressed(sim.now, 0, 0);
    let goodbye = LinkEffect::Tell(LinkOrder::Close(1000));
    assert_eq!(sim.advance(secs(0)), [LinkEffect::Left, goodbye]);
    sim.hear(LinkReport::Closed { closing: Closing::of(Some(1000), ""), error: "closed".to_owned() });
    dial(&mut sim, 0, false);
    assert_eq!((sim.link.endpoint(), sim.link.last_error()), (EndpointId(0), None));
}

#[test]
fn a_confirmation_that_does_not_come_holds_the_move_up_for_ten_seconds() {
    let mut sim = several(2, Confirm::Ack);
    dial(&mut sim, 0, true);
    dial(&mut sim, 1, false);
    live_on(&mut sim);
    sim.send(1);
    sim.hear(LinkReport::Probed(Ok(())));
    let since = sim.now;
    let left = live_on(&mut sim);
    assert_eq!((left.first(), sim.now.since(since)), (Some(&LinkEffect::Left), secs(10)));
}

#[test]
fn endpoints_that_do_not_answer_are_tried_one_after_the_other_and_later_again() {
    let mut sim = several(3, Confirm::Pong);
    for endpoint in 0..2 {
        dial(&mut sim, endpoint, true);
    }
    dial(&mut sim, 2, false);
    for round in 0..2 {
        for endpoint in 0..2 {
            assert_eq!(
                live_on(&mut sim),
                [LinkEffect::Tell(LinkOrder::Probe(EndpointId(endpoint)))],
                "round {round}"
            );
            sim.hear(LinkReport::Probed(Err("refused".to_owned())));
        }
    }
    assert_eq!((sim.link.endpoint(), sim.link.is_up(), sim.link.may_send()), (EndpointId(2), true, true));
    assert_eq!(live_on(&mut sim), [LinkEffect::Tell(LinkOrder::Probe(EndpointId(0)))]);
    // A try without an outcome is given up, too.
    assert_eq!(live_on(&mut sim), [] as [LinkEffect; 0]);
    assert_eq!(live_on(&mut sim), [LinkEffect::Tell(LinkOrder::Probe(EndpointId(1)))]);
}

#[test]
fn a_link_that_shall_not_reconnect_stays_down_until_its_rule_changes() {
    let mut rule = Sim::new(Confirm::Pong).link.rule;
    rule.reconnect.active = false;
    let mut sim = Sim::with(rule.clone());
    sim.come_up();
    let lost = sim.hear(LinkReport::Closed { closing: Closing::Plain, error: "cut".to_owned() });
    assert!(matches!(lost[..], [LinkEffect::Lost { retry_in: None, was_up: true, .. }]), "{lost:?}");
    assert_eq!((sim.link.state(), sim.link.deadline()), (LinkState::Down, None));
    assert_eq!(sim.advance(secs(86_400)), []);
    let mut out = Vec::new();
    sim.link.reconfigure(sim.now, rule, 1001, &mut out);
    assert_eq!(sim.advance(secs(0)), [LinkEffect::Dial(EndpointId(0))]);
}

#[test]
fn a_link_that_is_told_to_dial_forgets_the_back_offs_of_all_its_endpoints() {
    let mut sim = several(2, Confirm::Pong);
    for _ in 0..20 {
        let at = sim.link.retry_at().expect("it tries again");
        sim.now = sim.now.max(at);
        assert!(matches!(sim.advance(secs(0))[..], [LinkEffect::Dial(_)]));
        sim.hear(LinkReport::DialFailed(Refusal::new(DialError::Refused, "refused")));
    }
    sim.link.connect(sim.now);
    for endpoint in 0..2 {
        dial(&mut sim, endpoint, true);
    }
}

#[test]
fn a_peer_that_answers_without_an_echo_is_told_once_stays_up_and_is_sent_nothing_more() {
    let mut sim = Sim::online(Confirm::Pong);
    sim.arrive();
    sim.send(5);
    sim.hear(LinkReport::OtherPong);
    assert!(sim.link.may_send(), "it may be one of the peer's own");
    assert_eq!(sim.advance(secs(12)), [LinkEffect::Unechoed]);
    for _ in 0..100 {
        let effects = sim.advance_to_deadline();
        assert!(matches!(effects[..], [LinkEffect::Tell(LinkOrder::Ping(_))]), "{effects:?}");
        assert_eq!(sim.hear(LinkReport::OtherPong), []);
        assert!(sim.link.is_up() && !sim.link.may_send() && sim.link.proves_nothing());
    }
    // Without any pong it is as dead as others.
    sim.advance_to_deadline();
    assert!(sim.advance_to_deadline().contains(&LinkEffect::HangUp));
    assert_eq!(sim.advance_to_deadline(), [LinkEffect::Dial(EndpointId(0))]);
    let again = sim.hear(LinkReport::Up(Peer::default()));
    assert!(matches!(again[..], [LinkEffect::Opened(_), LinkEffect::Tell(LinkOrder::Ping(_))]), "{again:?}");
    assert!(!sim.link.may_send(), "an echo comes first");
    sim.hear(LinkReport::Pong(sim.link.pings()));
    assert!(sim.link.may_send() && !sim.link.proves_nothing());
}

#[test]
fn an_echo_that_comes_late_confirms_what_it_covers() {
    let mut sim = Sim::online(Confirm::Pong);
    sim.arrive();
    sim.send(5);
    let first = sim.link.pings();
    sim.hear(LinkReport::OtherPong);
    assert_eq!(sim.advance(secs(12)), [LinkEffect::Unechoed]);
    sim.advance_to_deadline();
    assert!(sim.link.pings() > first);
    assert_eq!(sim.hear(LinkReport::Pong(first)), [LinkEffect::Confirmed(5)]);
    assert!(sim.link.may_send());
}

#[test]
fn pongs_of_its_own_do_no_harm_to_a_peer_that_echoes() {
    for confirm in [Confirm::Pong, Confirm::Ack, Confirm::None] {
        let mut sim = Sim::online(confirm);
        sim.arrive();
        for round in 1..20 {
            sim.advance(secs(20));
            sim.hear(LinkReport::OtherPong);
            let effects = sim.hear(LinkReport::Pong(sim.link.pings()));
            assert!(sim.link.is_up() && sim.link.may_send(), "{confirm:?} {round} {effects:?}");
            sim.hear(LinkReport::OtherPong);
        }
    }
}

#[test]
fn a_peer_that_need_not_answer_pings_owes_nothing_for_a_pong_of_its_own() {
    let mut sim = Sim::online(Confirm::None);
    sim.advance(secs(20));
    sim.hear(LinkReport::OtherPong);
    sim.advance(secs(300));
    assert!(sim.link.is_up());
}

#[test]
fn acknowledgements_need_no_echo() {
    let mut sim = Sim::online(Confirm::Ack);
    sim.arrive();
    for _ in 0..20 {
        sim.advance(secs(20));
        sim.hear(LinkReport::OtherPong);
    }
    assert!(sim.link.is_up() && sim.link.may_send() && sim.link.rtt().is_some());
}

/// A broker that knows the link by an id.
fn broker() -> Sim {
    let rule = Sim::new(Confirm::Ack).link.rule;
    Sim::with(LinkRule { kind: LinkKind::Mqtt, client_id: Some("holdfast-pi".to_owned()), ..rule })
}

fn lost(effects: &[LinkEffect]) -> (Closing, &str, WaitReason) {
    match effects {
        [LinkEffect::Lost { closing, error, because, .. }] => (*closing, error, *because),
        other => panic!("not lost but {other:?}"),
    }
}

#[test]
fn a_broker_that_closes_again_and_again_without_a_word_is_perhaps_one_of_two_clients_with_one_id() {
    let mut sim = broker();
    let closed = || LinkReport::Closed { closing: Closing::Unexplained, error: "closed".to_owned() };
    for _ in 0..2 {
        sim.come_up();
        assert_eq!(lost(&sim.hear(closed())).0, Closing::Plain);
        assert_eq!(sim.link.last_error(), Some("closed"));
    }
    sim.come_up();
    let effects = sim.hear(closed());
    let (closing, error, because) = lost(&effects);
    assert_eq!((closing, because), (Closing::Unexplained, WaitReason::BackOff));
    assert!(error.contains("perhaps another client uses the id holdfast-pi"), "{error}");
    sim.come_up();
    sim.now = sim.now + secs(61);
    assert_eq!(lost(&sim.hear(closed())).0, Closing::Plain, "one that was stable begins the count again");
}

#[test]
fn a_session_that_another_client_took_over_waits_so_long_that_the_other_is_heard_of() {
    let mut sim = broker();
    sim.come_up();
    let error = closing::taken_over("holdfast-pi");
    let effects = sim.hear(LinkReport::Closed { closing: Closing::TakenOver, error: error.clone() });
    assert_eq!(lost(&effects), (Closing::TakenOver, error.as_str(), WaitReason::SameId));
    assert!(sim.link.retry_at().unwrap() >= sim.now + secs(150));
}

#[test]
fn a_broker_that_refuses_a_message_to_this_user_is_not_told_as_one_that_refuses_the_login() {
    let mut sim = broker();
    sim.come_up();
    let error = "the broker refuses message 1 on \"a\": not authorized (0x87)".to_owned();
    let effects = sim.hear(LinkReport::Closed { closing: Closing::Unauthorized, error: error.clone() });
    assert_eq!(lost(&effects), (Closing::Unauthorized, error.as_str(), WaitReason::Login));
}

#[test]
fn a_keep_alive_that_the_broker_sets_is_met_whatever_our_own_is() {
    use crate::link::mqtt::terms::Terms;
    use crate::source::mqtt::packet::Version;

    for interval in [secs(20), secs(0)] {
        let mut sim = broker();
        sim.link.rule.ping.interval = interval;
        sim.advance(secs(0));
        let terms = Terms { keep_alive: Some(secs(9)), ..Terms::of(Version::V5) };
        sim.hear(LinkReport::Up(Peer { terms: Some(terms), ..Peer::default() }));
        assert_eq!(sim.advance(secs(5)), []);
        assert_eq!(sim.advance(secs(2)), [LinkEffect::Tell(LinkOrder::Ping(1))]);
    }
}
