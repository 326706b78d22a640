use std::sync::Arc;
use std::time::Duration;

use super::stop::STOP_STEP;
use super::*;
use crate::config::buffer::{Buffer as BufferRule, BufferLimits, WhenFull};
use crate::config::client::{Client, Confirm, Ping, Reconnect};
use crate::config::link_kind::LinkKind;
use crate::config::mqtt::Mqtt;
use crate::config::replay::Replay;
use crate::ids::{ConnectionId, EndpointId, OutletId};
use crate::link::LinkRule;
use crate::link::closing::Closing;
use crate::link::dial_error::DialError;
use crate::link::endpoint::EndpointRule;
use crate::link::protocol::{Heard, LinkOrder, LinkReport, Peer, Refusal, Traffic};
use crate::message::{Body, Boot, Clock, Entry, Format, GapReason, Message};
use crate::observe::host::HostFacts;
use crate::observe::log_event::LogEvent;
use crate::outlet::store_protocol::{Held, Sequences, StoreFacts, StoreOrderKind, StoreReport};
use crate::reload::{Changes, Proposal};
use crate::source::intake::{Answer, Draft, Refused};
use crate::wire::ENVELOPE_BYTES_MAX;

mod source;
mod trial;

const SECOND: Duration = Duration::from_secs(1);

/// An agent, its clock, and a disk that answers when the test says so, but for what nobody waits for.
struct Sim {
    agent: Agent,
    now: Now,
    facts: StoreFacts,
}

impl Sim {
    fn new(links: Vec<LinkSetup>, mqtt: bool) -> Self {
        Sim::of(setup(links, mqtt))
    }

    fn of(setup: Setup) -> Self {
        let facts =
            StoreFacts { held: vec![Held::default(); setup.outlets().len()], ..StoreFacts::default() };
        let now = Now {
            mono: Time::default(),
            wall_ns: 1_700_000_000_000_000_000,
            clock: Clock::Synced,
            boot: Boot(1),
            up_ns: 1_000_000_000,
        };
        let opened = Opened { outlets: setup.outlets(), facts: facts.clone(), ..Opened::default() };
        let mut sim = Sim { agent: Agent::new(setup, &opened, now), now, facts };
        sim.step(Event::Tick);
        sim.disk(StoreReport::NumbersSaved);
        sim
    }

    /// With one link that is up.
    fn online(link: LinkSetup) -> Self {
        let mut sim = Sim::new(vec![link], false);
        sim.link(LinkId(0), LinkReport::Up(Peer::default()));
        sim
    }

    /// With a broker that is up and a link that is not.
    fn with_broker() -> Self {
        let mut sim = Sim::new(vec![client("cloud", Confirm::Pong, false)], true);
        sim.link(LinkId(1), LinkReport::Up(Peer::default()));
        sim
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        let mut out = self.take(event);
        if out.contains(&Action::LookAtHost) {
            out.extend(self.take(Event::Host(HostFacts::default())));
        }
        // Nothing that was sent arrives.
        let cut_off = Traffic { written: 1000, unacknowledged: Some(10), ..Traffic::default() };
        let looks: Vec<_> = out
            .extract_if(.., |action| matches!(action, Action::Look { .. }))
            .filter_map(|action| match action {
                Action::Look { link, conn } => Some((link, conn)),
                _ => None,
            })
            .collect();
        for (link, conn) in looks {
            let report = LinkReport::Traffic(cut_off.clone());
            out.extend(self.take(Event::Link { link, conn, report }));
        }
        let done = |action: &Action| match action {
            Action::Disk(StoreOrder::Measure) => Some(StoreReport::Measured),
            Action::Disk(StoreOrder::SavePresence(_)) => Some(StoreReport::PresenceSaved),
            Action::Disk(StoreOrder::SaveClocks(_)) => Some(StoreReport::ClocksSaved),
            _ => None,
        };
        let mut looked_at = 0;
        while let Some(action) = out.get(looked_at) {
            if let Some(report) = done(action) {
                out.extend(self.take(Event::Disk(report, self.facts.clone())));
            }
            looked_at += 1;
        }
        let deadline = self.agent.deadline();
        assert!(deadline.is_none_or(|at| at > self.now.mono), "the loop would spin: {deadline:?}");
        out
    }

    fn take(&mut self, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        self.agent.step(self.now, event, &mut out);
        self.agent.advance(self.now, &mut out);
        out
    }

    fn wait(&mut self, by: Duration) -> Vec<Action> {
        self.now.mono = self.now.mono + by;
        self.now.wall_ns += u64::try_from(by.as_nanos()).unwrap();
        self.now.up_ns += u64::try_from(by.as_nanos()).unwrap();
        self.step(Event::Tick)
    }

    fn disk(&mut self, report: StoreReport) -> Vec<Action> {
        self.step(Event::Disk(report, self.facts.clone()))
    }

    fn link(&mut self, link: LinkId, report: LinkReport) -> Vec<Action> {
        let conn = self.agent.links[link].conn;
        self.step(Event::Link { link, conn, report })
    }

    /// A reload to another setup, with what is done besides it.
    fn reload(&mut self, setup: Setup) -> Vec<Action> {
        assert!(
            self.step(Event::Reload { request: RequestId(70) })
                .contains(&Action::Prepare { request: RequestId(70) })
        );
        self.step(Event::Prepared { request: RequestId(70), outcome: Ok(proposal(setup)) })
    }

    /// The same, of which only what the links and the store are told is shown.
    fn reconfigure(&mut self, setup: Setup) -> Vec<Action> {
        let mut actions = self.reload(setup);
        let told = |action: &Action| {
            matches!(
                action,
                Action::TakeOver { .. } | Action::ReplyToReload { .. } | Action::Note(LogEvent::Reloaded(_))
            )
        };
        actions.retain(|action| !told(action));
        actions
    }

    fn offer(&mut self, request: RequestId, messages: usize) -> Vec<Action> {
        self.step(Event::Offer { request, drafts: vec![draft(None); messages], from: None })
    }

    fn hear_of(&mut self, device: &str) -> Vec<Action> {
        self.step(Event::Offer { request: RequestId(0), drafts: vec![draft(Some(device))], from: None })
    }

    /// The status that goes to the broker.
    fn shown(&self, path: &str) -> serde_json::Value {
        serde_json::to_value(self.agent.status(self.now)).unwrap().pointer(path).cloned().unwrap_or_default()
    }
}

#[test]
fn a_changed_link_says_goodbye_and_dials_again_while_another_stays() {
    let mut sim = Sim::new(vec![client("a", Confirm::Pong, false), client("b", Confirm::Pong, false)], false);
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    sim.link(LinkId(1), LinkReport::Up(Peer::default()));
    let changed = client("a", Confirm::Ack, false);
    let actions = sim.reconfigure(setup(vec![changed, client("b", Confirm::Pong, false)], false));
    assert_eq!(actions, [Action::Tell { link: LinkId(0), order: LinkOrder::Close(1001) }]);
    let actions = sim.link(LinkId(0), LinkReport::Closed { closing: Closing::Plain, error: "closed".into() });
    assert_eq!(actions, [Action::Dial { link: LinkId(0), conn: ConnectionId(2), endpoint: EndpointId(0) }]);
    assert!(sim.agent.links[LinkId(1)].link.is_up());
}

#[test]
fn a_changed_link_that_does_not_close_is_dropped_after_two_seconds() {
    let mut sim = Sim::online(client("cloud", Confirm::Pong, false));
    sim.reconfigure(setup(vec![client("cloud", Confirm::Ack, false)], false));
    assert_eq!(sim.wait(SECOND * 2 - SECOND / 10), []);
    assert_eq!(
        sim.wait(SECOND / 10),
        [
            Action::HangUp { link: LinkId(0) },
            Action::Dial { link: LinkId(0), conn: ConnectionId(3), endpoint: EndpointId(0) }
        ]
    );
}

#[test]
fn a_link_that_becomes_inactive_hangs_up_and_holds() {
    let mut sim = Sim::online(client("cloud", Confirm::Pong, false));
    let mut idle = client("cloud", Confirm::Pong, false);
    idle.rule.active = false;
    sim.reconfigure(setup(vec![idle], false));
    sim.link(LinkId(0), LinkReport::Closed { closing: Closing::Plain, error: "closed".into() });
    assert_eq!(sim.shown("/links/cloud/state"), "inactive");
    sim.offer(RequestId(1), 1);
    assert_eq!(sim.shown("/links/cloud/unconfirmed"), 1);
}

/// An agent with a link `a` that is up, and a setup with `b` beside it, which has just come into force.
fn joined_by_b() -> (Sim, Vec<Action>) {
    let mut sim = Sim::new(vec![client("a", Confirm::Pong, false)], false);
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    let links = vec![client("b", Confirm::Pong, false), client("a", Confirm::Pong, false)];
    let actions = sim.reconfigure(setup(links, false));
    (sim, actions)
}

#[test]
fn a_link_that_comes_dials_once_it_has_a_place_and_numbers_while_the_others_stay_up() {
    let (mut sim, actions) = joined_by_b();
    let widen = StoreOrder::Widen { outlets: vec!["client:b".into()] };
    assert_eq!(actions, [Action::Disk(widen)]);
    assert_eq!(sim.shown("/links/b/state"), "inactive");
    sim.offer(RequestId(1), 2);
    sim.facts.held.push(Held::default());
    let actions = sim.disk(StoreReport::Widened);
    assert!(matches!(&actions[..], [Action::Disk(StoreOrder::SaveNumbers(_))]), "{actions:?}");
    sim.offer(RequestId(2), 3);
    let actions = sim.disk(StoreReport::NumbersSaved);
    assert_eq!(actions, [Action::Dial { link: LinkId(1), conn: ConnectionId(1), endpoint: EndpointId(0) }]);
    sim.offer(RequestId(3), 4);
    assert!(sim.agent.links[LinkId(0)].link.is_up());
    assert_eq!(sim.shown("/links/b/unconfirmed"), 4, "it gets what comes after it");
    assert_eq!(sim.shown("/links/a/unconfirmed"), 9);
}

#[test]
fn a_disk_that_cannot_make_a_place_is_asked_again_and_takes_messages_for_the_others() {
    let (mut sim, _) = joined_by_b();
    sim.disk(StoreReport::Failed { order: StoreOrderKind::Widen, outlet: None, error: "full".into() });
    sim.offer(RequestId(1), 1);
    assert_eq!(sim.shown("/links/a/unconfirmed"), 1);
    let actions = sim.wait(SECOND * 2);
    assert!(actions.contains(&Action::Disk(StoreOrder::Widen { outlets: vec!["client:b".into()] })));
    // A disk that failed is tried with the numbers as well.
    sim.disk(StoreReport::NumbersSaved);
    sim.facts.held.push(Held::default());
    sim.disk(StoreReport::Widened);
    sim.disk(StoreReport::Appended);
    let actions = sim.disk(StoreReport::NumbersSaved);
    assert!(
        actions.contains(&Action::Dial { link: LinkId(1), conn: ConnectionId(1), endpoint: EndpointId(0) }),
        "{actions:?}"
    );
}

#[test]
fn a_place_that_comes_during_a_stop_is_not_dialed_for() {
    let (mut sim, _) = joined_by_b();
    sim.facts.held.push(Held::default());
    sim.disk(StoreReport::Widened);
    sim.step(Event::Stop);
    let actions = sim.disk(StoreReport::NumbersSaved);
    assert!(!actions.iter().any(|action| matches!(action, Action::Dial { .. })), "{actions:?}");
}

#[test]
fn what_waits_of_a_peer_whose_client_goes_is_given_up_aloud() {
    let (a, b) = (client("a", Confirm::Pong, false), client("b", Confirm::Pong, false));
    let mut sim = Sim::new(vec![a.clone(), b], false);
    sim.link(LinkId(1), LinkReport::Up(Peer::default()));
    sim.offer(RequestId(1), 1);
    sim.disk(StoreReport::Failed { order: StoreOrderKind::Append, outlet: None, error: "full".into() });
    sim.link(LinkId(1), LinkReport::Inbound(Heard::Message(draft(None))));
    let actions = sim.reconfigure(setup(vec![a], false));
    let what = "sent what is given up: its client is not configured any more".to_owned();
    let told = Action::Note(LogEvent::PeerOdd { link: "b".into(), what });
    assert!(actions.contains(&told), "{actions:?}");
}

#[test]
fn a_link_that_goes_says_goodbye_gets_nothing_more_and_finds_what_was_held_when_it_comes_back() {
    let (a, b) = (client("a", Confirm::Pong, false), client("b", Confirm::Pong, false));
    let mut sim = Sim::new(vec![a.clone(), b.clone()], false);
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    sim.link(LinkId(1), LinkReport::Up(Peer::default()));
    sim.offer(RequestId(1), 2);
    let actions = sim.reconfigure(setup(vec![a.clone()], false));
    assert!(
        actions.contains(&Action::Tell { link: LinkId(1), order: LinkOrder::Close(1001) }),
        "{actions:?}"
    );
    sim.link(LinkId(1), LinkReport::Closed { closing: Closing::Plain, error: "closed".into() });
    assert_eq!(sim.shown("/links/b"), serde_json::Value::Null);
    sim.offer(RequestId(2), 3);
    assert_eq!(sim.shown("/buffer/messages"), 5, "what a link that is gone holds is not counted");
    let actions = sim.reconfigure(setup(vec![b, a], false));
    assert!(
        actions.contains(&Action::Dial { link: LinkId(1), conn: ConnectionId(2), endpoint: EndpointId(0) }),
        "{actions:?}"
    );
    assert_eq!(sim.shown("/links/b/unconfirmed"), 2);
    assert!(sim.agent.links[LinkId(0)].link.is_up());
}

#[test]
fn while_the_only_link_gives_way_to_another_one_sources_are_told_to_come_again() {
    let mut sim = Sim::online(client("a", Confirm::Pong, false));
    sim.reconfigure(setup(vec![client("b", Confirm::Pong, false)], false));
    let busy = |request| Action::GiveBack(request, vec![draft(None)]);
    assert!(sim.offer(RequestId(1), 1).contains(&busy(RequestId(1))));
    sim.facts.held.push(Held::default());
    sim.disk(StoreReport::Widened);
    sim.disk(StoreReport::NumbersSaved);
    assert!(
        sim.offer(RequestId(2), 1).contains(&busy(RequestId(2))),
        "it must not overtake what comes again"
    );
    sim.wait(SECOND);
    assert!(
        !sim.offer(RequestId(3), 1)
            .iter()
            .any(|action| matches!(action, Action::Answer(..) | Action::GiveBack(..)))
    );
    assert_eq!(sim.shown("/links/b/unconfirmed"), 1);
}

#[test]
fn what_a_peer_sent_and_a_failing_store_has_not_taken_is_given_up_at_a_stop() {
    let mut sim = Sim::new(vec![client("a", Confirm::Pong, false), client("b", Confirm::Pong, false)], false);
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    sim.offer(RequestId(1), 1);
    sim.disk(StoreReport::Failed { order: StoreOrderKind::Append, outlet: None, error: "full".into() });
    sim.link(LinkId(0), LinkReport::Inbound(Heard::Message(draft(None))));
    assert_eq!(sim.shown("/links/a/received_dropped"), 0);
    sim.step(Event::Stop);
    sim.link(LinkId(0), LinkReport::Inbound(Heard::Message(draft(None))));
    assert_eq!(sim.shown("/links/a/received_dropped"), 2);
    sim.wait(SECOND / 20);
}

#[test]
fn a_broker_that_comes_is_told_the_status_once_it_is_up() {
    let mut sim = Sim::online(client("cloud", Confirm::Pong, false));
    sim.reconfigure(setup(vec![client("cloud", Confirm::Pong, false)], true));
    sim.hear_of("pump");
    sim.facts.held.push(Held::default());
    sim.disk(StoreReport::Widened);
    let actions = sim.disk(StoreReport::NumbersSaved);
    assert_eq!(actions, [Action::Dial { link: LinkId(1), conn: ConnectionId(1), endpoint: EndpointId(0) }]);
    let actions = sim.link(LinkId(1), LinkReport::Up(Peer::default()));
    let [LinkOrder::Send { entries, .. }, LinkOrder::Publish(status)] = &orders(&actions, LinkId(1))[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((entries.len(), status.topic.as_str()), (1, "p/status"), "what came before is told, too");
}

#[test]
fn a_priority_that_nobody_had_gets_a_lane_for_which_each_link_connects_anew() {
    let mut sim = Sim::online(client("cloud", Confirm::Pong, false));
    let next = Setup { priorities: vec![0, 7], ..setup(vec![client("cloud", Confirm::Pong, false)], false) };
    sim.reconfigure(next);
    sim.facts.held.push(Held::default());
    sim.disk(StoreReport::Widened);
    assert!(sim.agent.links[LinkId(0)].link.is_up());
    let actions = sim.disk(StoreReport::NumbersSaved);
    assert_eq!(orders(&actions, LinkId(0)), [&LinkOrder::Close(1001)]);
    assert_eq!(sim.agent.lanes(LinkId(0)).map(|(priority, _)| priority).collect::<Vec<_>>(), [0, 7]);
}

#[test]
fn under_another_prefix_the_old_status_is_taken_back() {
    let mut sim = Sim::with_broker();
    let mut next = setup(vec![client("cloud", Confirm::Pong, false)], true);
    next.mqtt.as_mut().unwrap().prefix = "q".into();
    let actions = sim.reconfigure(next);
    let [LinkOrder::Publish(farewell), LinkOrder::Close(1001)] = &orders(&actions, LinkId(1))[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(farewell.topic, "p/status");
    assert!(String::from_utf8_lossy(&farewell.payload).contains("\"offline\""));
    assert_eq!(sim.agent.will().unwrap().topic, "q/status");
}

#[test]
fn a_shorter_commit_after_is_in_force_at_once() {
    let mut sim = Sim::online(client("cloud", Confirm::Pong, false));
    let mut next = setup(vec![client("cloud", Confirm::Pong, false)], false);
    next.buffer.commit_after = SECOND / 100;
    sim.reconfigure(next);
    sim.offer(RequestId(1), 1);
    assert!(appends(&sim.wait(SECOND / 100)));
}

#[test]
fn a_store_that_owes_an_answer_for_too_long_is_told_as_stuck() {
    let mut sim = Sim::new(vec![client("cloud", Confirm::Pong, false)], false);
    sim.offer(RequestId(1), 1);
    assert!(sim.agent.health(sim.now).is_good());
    sim.wait(SECOND * 44);
    assert_eq!(sim.agent.health(sim.now).stuck, Vec::<String>::new());
    assert!(sim.agent.health(sim.now).failing.is_some(), "nothing was committed for 30 s");
    sim.wait(SECOND);
    assert_eq!(sim.agent.health(sim.now).stuck, ["the store has not answered for 45 s"]);
    sim.step(Event::StoreMoves);
    assert_eq!(sim.agent.health(sim.now).stuck, Vec::<String>::new(), "it is being opened, and gets on");
    sim.wait(SECOND * 45);
    assert!(!sim.agent.health(sim.now).is_good(), "it does not get on");
    sim.disk(StoreReport::Appended);
    assert_eq!(sim.agent.health(sim.now).stuck, Vec::<String>::new());
}

#[test]
fn a_loop_that_does_not_get_to_what_is_due_is_told_as_stuck() {
    let sim = Sim::online(client("cloud", Confirm::Pong, false));
    let late = Now { mono: sim.now.mono + SECOND * 31, ..sim.now };
    assert_eq!(sim.agent.health(late).stuck, ["the loop is 11 s late"]);
}

#[test]
fn a_link_that_is_down_is_no_fault_of_the_agent() {
    let mut sim = Sim::online(client("cloud", Confirm::Pong, false));
    sim.link(LinkId(0), LinkReport::Closed { closing: Closing::Plain, error: "reset".into() });
    assert!(sim.agent.health(sim.now).is_good());
}

#[test]
fn the_facts_of_the_host_become_a_message_each_interval() {
    let mut setup = setup(vec![client("cloud", Confirm::Pong, false)], false);
    setup.host.interval = Some(SECOND * 10);
    let mut sim = Sim::of(setup);
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    sim.wait(SECOND * 9);
    assert_eq!(sim.agent.buffer.accepted().messages, 0);
    let actions = sim.wait(SECOND);
    let [LinkOrder::Send { entries, .. }, LinkOrder::Ping(_)] = &orders(&actions, LinkId(0))[..] else {
        panic!("{actions:?}")
    };
    let Body::Message(message) = &entries[0].body else { panic!("{entries:?}") };
    assert_eq!((message.topic.as_str(), &message.device, &*message.source), ("host/metrics", &None, "host"));
    assert_eq!(sim.agent.buffer.accepted().messages, 1);
}

fn setup(links: Vec<LinkSetup>, mqtt: bool) -> Setup {
    let broker = || MqttSetup {
        rule: rule(Confirm::Ack),
        window: 2,
        prefix: "p".into(),
        status_interval: Duration::from_secs(30),
        table: Arc::new(Mqtt::of_url("mqtt://hub", "gw")),
    };
    Setup {
        agent: "gw".into(),
        version: "1".into(),
        priorities: vec![0],
        new_epochs: vec!["E".into(); links.len() + 1],
        run: 1,
        links,
        proven: Vec::new(),
        sources: Vec::new(),
        mqtt: mqtt.then(broker),
        buffer: BufferRule {
            max_bytes: 1 << 30,
            max_messages: 0,
            ttl: Duration::ZERO,
            when_full: WhenFull::DropOldest,
            commit_after: Duration::from_millis(250),
            daily_budget: None,
            last_values: 10,
        },
        presence: crate::config::agent::Presence { max_devices: 10, ..Default::default() },
        host: crate::config::host::Host::default(),
        seed: 7,
    }
}

/// What a reload would take over; another table than a client's has changed, too.
fn proposal(setup: Setup) -> Box<Proposal> {
    let changes = Changes { tables: vec!["host".into()], ..Changes::default() };
    Box::new(Proposal { setup, changes })
}

fn client(id: &str, confirm: Confirm, hello: bool) -> LinkSetup {
    LinkSetup {
        id: id.into(),
        rule: rule(confirm),
        window: 100,
        hello,
        frame_bytes: ENVELOPE_BYTES_MAX,
        place: BufferLimits::default(),
        replay: Replay::default(),
        trial: Duration::ZERO,
        places: vec!["ws://hub".into()],
        application: String::new(),
        table: Arc::new(Client::of_index(0)),
    }
}

fn rule(confirm: Confirm) -> LinkRule {
    LinkRule {
        kind: LinkKind::WebSocket,
        active: true,
        confirm,
        ping: Ping { interval: Duration::from_secs(20), timeout: Duration::from_secs(10) },
        reconnect: Reconnect {
            min: SECOND,
            max: SECOND * 300,
            stable_after: SECOND * 60,
            ..Reconnect::default()
        },
        endpoints: EndpointRule::single(),
        connect_timeout: SECOND * 15,
        confirm_timeout: SECOND * 30,
        client_id: None,
    }
}

fn draft(device: Option<&str>) -> Draft {
    Draft {
        topic: "t".into(),
        device: device.map(str::to_owned),
        source: "server:s".into(),
        format: Format::Text,
        payload: b"x".to_vec(),
        attributes: Vec::new(),
        priority: 0,
        ttl_s: None,
    }
}

fn stored(request: RequestId, first: u64, last: u64) -> Action {
    Action::Answer(request, Answer::Stored { first, last })
}

fn answers(actions: &[Action]) -> Vec<&Action> {
    actions.iter().filter(|action| matches!(action, Action::Answer(..))).collect()
}

fn appends(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Disk(StoreOrder::Append { .. })))
}

/// What the link's task is told.
fn orders(actions: &[Action], to: LinkId) -> Vec<&LinkOrder> {
    let mut orders = Vec::new();
    for action in actions {
        if let Action::Tell { link, order } = action
            && *link == to
        {
            orders.push(order);
        }
    }
    orders
}

/// Topics of the messages that the link's task is told to send.
fn topics(actions: &[Action], to: LinkId) -> Vec<String> {
    let mut topics = Vec::new();
    for order in orders(actions, to) {
        let LinkOrder::Send { entries, .. } = order else { continue };
        for entry in entries {
            match &entry.body {
                Body::Message(message) => topics.push(message.topic.clone()),
                Body::Gap { .. } => topics.push("gap".to_owned()),
            }
        }
    }
    topics
}

fn published(actions: &[Action], to: LinkId) -> Option<String> {
    orders(actions, to).into_iter().find_map(|order| match order {
        LinkOrder::Publish(publication) => Some(String::from_utf8(publication.payload.clone()).unwrap()),
        _ => None,
    })
}

fn is_odd(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Note(LogEvent::PeerOdd { .. })))
}

#[test]
fn a_sender_is_answered_only_when_every_outlet_has_its_messages_safe() {
    let links = vec![client("a", Confirm::Ack, true), client("b", Confirm::Ack, true)];
    let mut sim = Sim::new(links, false);
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    sim.link(LinkId(1), LinkReport::Up(Peer::default()));
    assert_eq!(answers(&sim.offer(RequestId(9), 2)), Vec::<&Action>::new());
    assert_eq!(answers(&sim.link(LinkId(0), LinkReport::Ack { lane: 0, seq: 2 })), Vec::<&Action>::new());
    assert_eq!(answers(&sim.link(LinkId(1), LinkReport::Ack { lane: 0, seq: 1 })), Vec::<&Action>::new());
    assert_eq!(
        answers(&sim.link(LinkId(1), LinkReport::Ack { lane: 0, seq: 2 })),
        [&stored(RequestId(9), 1, 2)]
    );
}

#[test]
fn without_a_link_the_disk_makes_a_message_safe() {
    let mut sim = Sim::new(vec![client("a", Confirm::Ack, true)], false);
    assert!(appends(&sim.offer(RequestId(9), 2)));
    assert_eq!(answers(&sim.disk(StoreReport::Appended)), [&stored(RequestId(9), 1, 2)]);
}

#[test]
fn an_envelope_link_introduces_itself_before_it_sends() {
    let mut sim = Sim::new(vec![client("a", Confirm::Ack, true)], false);
    sim.offer(RequestId(1), 3);
    let orders: Vec<_> = orders(&sim.link(LinkId(0), LinkReport::Up(Peer::default())), LinkId(0))
        .into_iter()
        .cloned()
        .collect();
    assert_eq!(orders[0], LinkOrder::Hello { lane: 0, first: 1, next: 4 });
    assert!(matches!(&orders[1], LinkOrder::Send { entries, .. } if entries.len() == 3));
}

#[test]
fn a_raw_link_does_not_introduce_itself_and_pings_behind_what_it_sends() {
    let mut sim = Sim::online(client("a", Confirm::Pong, false));
    let told = sim.offer(RequestId(1), 1);
    assert!(matches!(orders(&told, LinkId(0))[..], [LinkOrder::Send { .. }, LinkOrder::Ping(1)]), "{told:?}");
    assert_eq!(answers(&sim.link(LinkId(0), LinkReport::Pong(1))), [&stored(RequestId(1), 1, 1)]);
}

#[test]
fn an_acknowledgement_beyond_what_was_sent_counts_up_to_there_and_is_noted() {
    let mut link = client("a", Confirm::Ack, true);
    link.window = 1;
    let mut sim = Sim::online(link);
    sim.offer(RequestId(1), 2);
    let actions = sim.link(LinkId(0), LinkReport::Ack { lane: 0, seq: 99 });
    assert!(is_odd(&actions));
    assert_eq!(sim.agent.buffer.queue(OutletId(0)).confirmed(), 1, "the second was not sent");
    assert!(!is_odd(&sim.link(LinkId(0), LinkReport::Ack { lane: 0, seq: 2 })));
}

#[test]
fn a_peer_resumes_behind_what_any_connection_sent_and_not_behind_what_none_did() {
    let mut link = client("a", Confirm::Ack, true);
    link.window = 2;
    let mut sim = Sim::online(link);
    sim.offer(RequestId(1), 3);
    sim.link(LinkId(0), LinkReport::Closed { closing: Closing::Plain, error: "cut".into() });
    sim.wait(SECOND);
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    assert!(!is_odd(&sim.link(LinkId(0), LinkReport::Resume { lane: 0, from: 2 })));
    assert_eq!(sim.agent.buffer.queue(OutletId(0)).confirmed(), 1);
    let sent = sim.agent.buffer.queue(OutletId(0)).ever_sent();
    assert!(is_odd(&sim.link(LinkId(0), LinkReport::Resume { lane: 0, from: sent + 2 })));
    assert_eq!(sim.agent.buffer.queue(OutletId(0)).confirmed(), sent);
}

#[test]
fn a_refused_message_goes_to_the_dead_letters_and_the_rest_flows_on() {
    let mut sim = Sim::online(client("a", Confirm::Ack, true));
    sim.offer(RequestId(1), 3);
    let actions = sim.link(LinkId(0), nack(2));
    let aside = |action: &Action| match action {
        Action::Disk(StoreOrder::SetAside {
            outlet: OutletId(0),
            seq: 2,
            reason,
            message: Some(message),
        }) => reason == "schema" && message.id == 2,
        _ => false,
    };
    assert!(actions.iter().any(aside), "{actions:?}");
    assert_eq!(sim.link(LinkId(0), nack(2)), [], "it counts once");
    assert_eq!(sim.agent.buffer.queue(OutletId(0)).confirmed(), 0, "the first is still under way");
    sim.link(LinkId(0), LinkReport::Ack { lane: 0, seq: 1 });
    assert_eq!(sim.agent.buffer.queue(OutletId(0)).confirmed(), 1, "it is not yet among the dead letters");
    sim.disk(StoreReport::SetAside { outlet: OutletId(0), seq: 2, found: true });
    assert_eq!(sim.agent.buffer.queue(OutletId(0)).confirmed(), 2);
    assert_eq!(
        answers(&sim.link(LinkId(0), LinkReport::Ack { lane: 0, seq: 3 })),
        [&stored(RequestId(1), 1, 3)]
    );
}

fn nack(seq: u64) -> LinkReport {
    LinkReport::Nack { lane: 0, seq, reason: "schema".into() }
}

fn asks_to_set_aside(actions: &[Action], number: u64) -> bool {
    let asks =
        |action: &Action| matches!(action, Action::Disk(StoreOrder::SetAside { seq, .. }) if *seq == number);
    actions.iter().any(asks)
}

#[test]
fn a_refused_message_that_the_disk_cannot_set_aside_is_kept_until_it_can() {
    let mut sim = Sim::online(client("a", Confirm::Ack, true));
    sim.offer(RequestId(1), 3);
    assert!(asks_to_set_aside(&sim.link(LinkId(0), nack(2)), 2));
    let error = "read-only file system".to_owned();
    sim.disk(StoreReport::Failed { order: StoreOrderKind::SetAside, outlet: Some(OutletId(0)), error });
    sim.link(LinkId(0), LinkReport::Ack { lane: 0, seq: 3 });
    assert_eq!(sim.agent.buffer.queue(OutletId(0)).confirmed(), 1);
    assert!(!asks_to_set_aside(&sim.wait(SECOND), 2), "the disk rests");
    sim.wait(SECOND * 2);
    sim.disk(StoreReport::NumbersSaved);
    let actions = sim.disk(StoreReport::Appended);
    assert!(asks_to_set_aside(&actions, 2), "{actions:?}");
    sim.disk(StoreReport::SetAside { outlet: OutletId(0), seq: 2, found: true });
    assert_eq!(sim.agent.buffer.queue(OutletId(0)).confirmed(), 3);
}

#[test]
fn a_refusal_counts_also_on_a_connection_that_is_being_left() {
    let mut sim = Sim::online(client("a", Confirm::Ack, true));
    sim.offer(RequestId(1), 3);
    let command = LinkCommand::Disconnect;
    sim.step(Event::Command { request: RequestId(1), client: "a".to_owned(), command });
    assert!(asks_to_set_aside(&sim.link(LinkId(0), nack(2)), 2));
    sim.link(LinkId(0), LinkReport::Ack { lane: 0, seq: 3 });
    assert_eq!(sim.agent.buffer.queue(OutletId(0)).confirmed(), 0, "a confirmation does not");
}

/// The link is lost with this close code and these words, comes back, and what was not confirmed is sent again. Returns the
/// numbers.
fn close_and_come_back(sim: &mut Sim, code: u16, reason: &str) -> Vec<u64> {
    close(sim, code, reason);
    sim.wait(SECOND * 300);
    let actions = sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    sent(&actions, LinkId(0))
}

fn close(sim: &mut Sim, code: u16, reason: &str) -> Vec<Action> {
    let closing = Closing::of(Some(code), reason);
    sim.link(LinkId(0), LinkReport::Closed { closing, error: format!("the peer closed with {code}") })
}

/// Numbers of the messages that go to the dead letters.
fn set_aside(actions: &[Action]) -> Vec<u64> {
    let aside = |action: &Action| match action {
        Action::Disk(StoreOrder::SetAside { seq, reason, .. }) => {
            assert!(reason.starts_with("the peer closed with 1"), "{reason}");
            Some(*seq)
        }
        _ => None,
    };
    actions.iter().filter_map(aside).collect()
}

fn pong(sim: &mut Sim) -> Vec<Action> {
    let number = sim.agent.links[LinkId(0)].link.pings();
    sim.link(LinkId(0), LinkReport::Pong(number))
}

/// What is written down after the reservation that was under way, on a disk that owes an answer for long.
fn skips(sim: &mut Sim) -> Option<Sequences> {
    sim.disk(StoreReport::NumbersSaved);
    let saved = sim.wait(SECOND * 3).into_iter().find_map(|action| match action {
        Action::Disk(StoreOrder::SaveNumbers(numbers)) => Some(numbers),
        _ => None,
    });
    saved.filter(|numbers| !numbers.outlets["client:a"].skipped.is_empty())
}

fn sent(actions: &[Action], link: LinkId) -> Vec<u64> {
    let entries = orders(actions, link).into_iter().filter_map(|order| match order {
        LinkOrder::Send { entries, .. } => Some(entries),
        _ => None,
    });
    entries.flatten().map(|entry| entry.seq).collect()
}

#[test]
fn a_message_that_makes_the_peer_close_three_times_while_another_passes_is_set_aside() {
    let mut sim = Sim::online(client("a", Confirm::Pong, false));
    assert_eq!(sent(&sim.offer(RequestId(1), 3), LinkId(0)), [1, 2, 3]);
    assert_eq!(close_and_come_back(&mut sim, 1009, ""), [1], "one at a time from here on");
    assert_eq!(sent(&pong(&mut sim), LinkId(0)), [2]);
    for _ in 0..2 {
        assert_eq!(close_and_come_back(&mut sim, 1009, ""), [1], "it has that one, and can take it again");
        assert_eq!(sent(&pong(&mut sim), LinkId(0)), [0; 0], "it may still have something to say of it");
        assert_eq!(sent(&sim.wait(SECOND), LinkId(0)), [2]);
    }
    let actions = close(&mut sim, 1009, "");
    assert_eq!(set_aside(&actions), [2]);
    let warned =
        |action: &Action| matches!(action, Action::Note(LogEvent::Refused { seq: 2, again: false, .. }));
    assert!(actions.iter().any(warned), "{actions:?}");
    sim.wait(SECOND * 300);
    let actions = sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    assert_eq!(sent(&actions, LinkId(0)), [0; 0], "it is not yet among the dead letters");
    let actions = sim.disk(StoreReport::SetAside { outlet: OutletId(0), seq: 2, found: true });
    let LinkOrder::Send { entries, .. } = &orders(&actions, LinkId(0))[0] else { panic!("{actions:?}") };
    assert_eq!(entries[0].body, Body::Gap { to: 2, reason: GapReason::Refused });
    assert_eq!(entries[1].seq, 3);
}

#[test]
fn a_peer_that_refuses_the_login_takes_every_message_once_the_login_is_good() {
    for (code, reason) in
        [(1008, ""), (4401, ""), (1007, "token expired"), (3000, ""), (1011, "no permission")]
    {
        let mut sim = Sim::online(client("a", Confirm::Pong, false));
        assert_eq!(sent(&sim.offer(RequestId(1), 3), LinkId(0)), [1, 2, 3]);
        for _ in 0..20 {
            assert_eq!(set_aside(&close(&mut sim, code, reason)), [0; 0]);
            sim.wait(SECOND * 300);
            assert_eq!(
                sent(&sim.link(LinkId(0), LinkReport::Up(Peer::default())), LinkId(0)),
                [1, 2, 3],
                "{code} {reason}"
            );
        }
    }
}

#[test]
fn a_peer_that_closes_before_it_reads_or_after_every_message_is_not_given_up_on() {
    let mut sim = Sim::online(client("a", Confirm::Pong, false));
    sim.offer(RequestId(1), 12);
    for reads in [false, true] {
        let mut noted = Vec::new();
        for _ in 0..100 {
            let actions = close(&mut sim, 1009, "");
            assert_eq!(set_aside(&actions), [0; 0]);
            noted.extend(actions);
            sim.wait(SECOND * 300);
            let mut went = sent(&sim.link(LinkId(0), LinkReport::Up(Peer::default())), LinkId(0));
            if reads && went.is_empty() {
                went = sent(&pong(&mut sim), LinkId(0));
            }
            assert!(went.len() <= 1, "{went:?}");
        }
        let blocked = noted.iter().filter(|action| matches!(action, Action::Note(LogEvent::Blocked { .. })));
        assert_eq!(blocked.count(), usize::from(reads), "it is told once");
        let status = sim.agent.status(sim.now);
        assert_eq!(status.links["a"].blocked_by, reads.then_some(1));
    }
}

#[test]
fn where_nothing_was_ever_taken_the_message_behind_tells_which_one_is_to_blame() {
    for hello in [false, true] {
        let mut sim = Sim::online(client("a", Confirm::Pong, hello));
        sim.offer(RequestId(1), 3);
        assert_eq!(close_and_come_back(&mut sim, 1007, ""), [1]);
        for _ in 0..2 {
            assert_eq!(close_and_come_back(&mut sim, 1007, ""), [0; 0], "the peer has to show that it reads");
            assert_eq!(sent(&pong(&mut sim), LinkId(0)), [1]);
        }
        close_and_come_back(&mut sim, 1007, "");
        let mut actions = pong(&mut sim);
        if hello {
            assert_eq!(sent(&actions, LinkId(0)), [0; 0], "the disk has to know of it first");
            assert!(skips(&mut sim).is_some());
            actions = sim.disk(StoreReport::NumbersSaved);
        }
        let expected: &[u64] = if hello { &[1, 2] } else { &[2] };
        assert_eq!(sent(&actions, LinkId(0)), expected);
        let actions = pong(&mut sim);
        assert_eq!(set_aside(&actions), [1]);
        assert!(
            matches!(orders(&actions, LinkId(0))[..], [LinkOrder::Close(_)]),
            "the rest goes in order: {actions:?}"
        );
        sim.disk(StoreReport::SetAside { outlet: OutletId(0), seq: 1, found: true });
        sim.link(LinkId(0), LinkReport::Closed { closing: Closing::Plain, error: "closed".into() });
        sim.wait(SECOND);
        assert_eq!(
            sent(&sim.link(LinkId(0), LinkReport::Up(Peer::default())), LinkId(0)),
            [1, 2, 3],
            "a gap, and the rest"
        );
    }
}

#[test]
fn a_limit_of_the_peer_is_learnt_from_its_closing_and_kept_over_connections() {
    let mut sim = Sim::online(client("a", Confirm::Pong, true));
    sim.offer(RequestId(1), 60);
    let noted = close(&mut sim, 1009, "too big");
    assert_eq!(set_aside(&noted), [0; 0]);
    let told = noted.iter().find_map(|action| match action {
        Action::Note(LogEvent::FrameLimit { bytes, .. }) => Some(*bytes),
        _ => None,
    });
    for _ in 0..2 {
        sim.wait(SECOND * 300);
        let actions = sim.link(LinkId(0), LinkReport::Up(Peer::default()));
        assert!(orders(&actions, LinkId(0)).contains(&&LinkOrder::FrameBytes(told.unwrap())), "{actions:?}");
        assert_eq!(sent(&actions, LinkId(0)).len(), 60, "not one at a time");
        assert_eq!(sim.agent.status(sim.now).links["a"].frame_bytes, told);
        close(&mut sim, 1001, "");
    }
}

/// What is written down of the limits of peers.
fn kept_limits(actions: Vec<Action>) -> Option<Sequences> {
    let mut saved = actions.into_iter().filter_map(|action| match action {
        Action::Disk(StoreOrder::SaveNumbers(numbers)) => Some(numbers),
        _ => None,
    });
    saved.find(|numbers| !numbers.frame_limits.is_empty())
}

#[test]
fn a_limit_of_the_peer_is_kept_over_a_crash_but_not_for_another_url() {
    let mut sim = Sim::online(client("a", Confirm::Pong, true));
    sim.offer(RequestId(1), 60);
    let mut actions = close(&mut sim, 1009, "too big");
    let learnt = sim.agent.status(sim.now).links["a"].frame_bytes;
    assert!(learnt.is_some());
    actions.extend(sim.disk(StoreReport::NumbersSaved));
    actions.extend(sim.wait(SECOND));
    let numbers = kept_limits(actions).expect("it is written down");
    let after = |places: &[&str]| {
        let mut own = client("a", Confirm::Pong, true);
        own.places = places.iter().map(|place| (*place).to_owned()).collect();
        let setup = setup(vec![own], false);
        let facts = StoreFacts { held: vec![Held::default()], ..StoreFacts::default() };
        let opened = Opened {
            outlets: setup.outlets(),
            numbers: Some(numbers.clone()),
            facts: facts.clone(),
            ..Opened::default()
        };
        let agent = Agent::new(setup, &opened, sim.now);
        agent.status(sim.now).links["a"].frame_bytes
    };
    let places = client("a", Confirm::Pong, true).places;
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    assert_eq!(after(&places), learnt);
    assert_eq!(after(&["ws://other/"]), None);
}

#[test]
fn what_was_skipped_before_a_crash_is_set_aside_when_the_peer_says_that_it_has_what_is_behind() {
    let mut sim = Sim::online(client("a", Confirm::Pong, true));
    sim.offer(RequestId(1), 3);
    close_and_come_back(&mut sim, 1007, "");
    for _ in 0..2 {
        close_and_come_back(&mut sim, 1007, "");
        pong(&mut sim);
    }
    close_and_come_back(&mut sim, 1007, "");
    pong(&mut sim);
    let numbers = skips(&mut sim).expect("it is written down");
    assert_eq!(numbers.outlets["client:a"].skipped, [(1, 2)]);
    let held = Held { range: Some((1, 3)), messages: 3, ..Held::default() };
    let facts = StoreFacts { held: vec![held], ..StoreFacts::default() };
    let setup = setup(vec![client("a", Confirm::Pong, true)], false);
    let opened = Opened {
        outlets: setup.outlets(),
        numbers: Some(numbers),
        facts: facts.clone(),
        ..Opened::default()
    };
    let mut sim = Sim { agent: Agent::new(setup, &opened, sim.now), now: sim.now, facts };
    sim.step(Event::Tick);
    sim.disk(StoreReport::Appended);
    sim.disk(StoreReport::NumbersSaved);
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    assert!(asks_to_set_aside(&sim.link(LinkId(0), LinkReport::Resume { lane: 0, from: 3 }), 1));
    let outbox = sim.agent.buffer.queue(OutletId(0));
    assert!(!outbox.has_confirmed(1) && outbox.has_confirmed(2));
}

#[test]
fn an_alarm_goes_before_the_telemetry_that_waits_and_confirms_on_its_own() {
    let mut link = client("a", Confirm::Ack, true);
    link.window = 2;
    let mut sim = Sim::of(Setup { priorities: vec![0, 7], ..setup(vec![link], false) });
    sim.offer(RequestId(1), 4);
    sim.step(Event::Offer {
        request: RequestId(2),
        drafts: vec![Draft { priority: 9, ..draft(None) }],
        from: None,
    });
    let actions = sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    let orders = orders(&actions, LinkId(0));
    assert_eq!(*orders[0], LinkOrder::Hello { lane: 0, first: 1, next: 5 });
    assert_eq!(*orders[1], LinkOrder::Hello { lane: 1, first: 1, next: 2 });
    let lanes = |order: &LinkOrder| match order {
        LinkOrder::Send { lane, through, entries } => (*lane, *through, entries.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!((lanes(orders[2]), lanes(orders[3])), ((1, 1, 1), (0, 2, 1)));
    let actions = sim.link(LinkId(0), LinkReport::Ack { lane: 1, seq: 1 });
    assert_eq!(answers(&actions), [&stored(RequestId(2), 5, 5)]);
    assert_eq!(sent(&actions, LinkId(0)), [2], "it leaves room for one more");
}

#[test]
fn a_backlog_that_is_held_back_by_its_rate_has_a_deadline() {
    let mut link = client("a", Confirm::Pong, false);
    link.replay.max_rate.messages = 10;
    let mut sim = Sim::new(vec![link], false);
    let held = Held { range: Some((1, 50)), messages: 50, bytes: 5000, ..Held::default() };
    sim.facts.held[0] = held;
    sim.disk(StoreReport::Measured);
    let actions = sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    let token = actions.iter().find_map(|action| match action {
        Action::Disk(StoreOrder::Read { token, .. }) => Some(*token),
        _ => None,
    });
    let message = |id| Message {
        id,
        time_ns: 0,
        clock: Clock::Synced,
        boot: Boot(1),
        up_ns: 0,
        topic: "t".into(),
        device: None,
        source: "server:s".into(),
        format: Format::Text,
        payload: b"x".to_vec(),
        attributes: Vec::new(),
        ttl_s: None,
    };
    let entry = |seq| Entry { seq, body: Body::Message(message(seq).into()), replayed: true };
    let entries = (1..=50).map(entry).collect();
    let actions = sim.disk(StoreReport::Read { outlet: OutletId(0), token: token.unwrap(), entries });
    assert_eq!(sent(&actions, LinkId(0)), [1]);
    let wait = sim.agent.deadline().unwrap().since(sim.now.mono);
    assert!(wait <= SECOND / 10, "{wait:?}");
    assert_eq!(sent(&sim.wait(SECOND / 10), LinkId(0)), [2]);
}

#[test]
fn a_refusal_of_what_was_not_sent_is_ignored() {
    let mut sim = Sim::online(client("a", Confirm::Ack, true));
    sim.offer(RequestId(1), 1);
    assert_eq!(sim.link(LinkId(0), LinkReport::Nack { lane: 0, seq: 2, reason: String::new() }), []);
    assert_eq!(sim.link(LinkId(0), LinkReport::Nack { lane: 0, seq: 0, reason: String::new() }), []);
}

#[test]
fn reports_of_a_connection_that_is_gone_are_ignored() {
    let mut sim = Sim::online(client("a", Confirm::Ack, true));
    sim.offer(RequestId(1), 1);
    let conn = sim.agent.links[LinkId(0)].conn;
    sim.link(LinkId(0), LinkReport::Closed { closing: Closing::Plain, error: "cut".into() });
    sim.wait(SECOND);
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    let stale = sim.step(Event::Link { link: LinkId(0), conn, report: LinkReport::Ack { lane: 0, seq: 1 } });
    assert_eq!(stale, []);
    assert_eq!(sim.agent.buffer.queue(OutletId(0)).confirmed(), 0);
}

#[test]
fn the_same_refusal_again_is_said_more_quietly() {
    let mut sim = Sim::new(vec![client("a", Confirm::Ack, true)], false);
    let mut refuse = |error: &str| {
        let refusal = Refusal::new(DialError::Refused, error);
        let actions = sim.link(LinkId(0), LinkReport::DialFailed(refusal));
        sim.wait(SECOND * 300);
        actions.iter().any(|action| matches!(action, Action::Note(LogEvent::LinkRefused { again: true, .. })))
    };
    assert_eq!((refuse("no route"), refuse("no route"), refuse("timed out")), (false, true, false));
}

#[test]
fn a_stop_flushes_says_goodbye_saves_and_closes_in_this_order() {
    let mut sim = Sim::with_broker();
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    sim.offer(RequestId(1), 1);
    let first = sim.step(Event::Stop);
    assert!(first.contains(&Action::CloseSources) && appends(&first), "{first:?}");
    let refused = Action::Answer(RequestId(2), Answer::Refused(Refused::Stopping));
    assert_eq!(sim.offer(RequestId(2), 1), [refused]);
    let second = sim.disk(StoreReport::Appended);
    assert_eq!(answers(&second), [&stored(RequestId(1), 1, 1)]);
    assert_eq!(orders(&second, LinkId(0)), [&LinkOrder::Close(1001)]);
    let last = published(&second, LinkId(1)).expect("the broker is told");
    assert!(last.contains(r#""reason":"stopped""#) && last.contains(r#""state":"offline""#), "{last}");
    assert_eq!(orders(&second, LinkId(1)).last(), Some(&&LinkOrder::Close(1001)));
    let gone = || LinkReport::Closed { closing: Closing::of(Some(1001), ""), error: "closed".into() };
    assert_eq!(sim.link(LinkId(0), gone()), []);
    let third = sim.link(LinkId(1), gone());
    let [Action::Disk(StoreOrder::SaveNumbers(numbers)), Action::Disk(StoreOrder::SavePresence(_))] =
        &third[..]
    else {
        panic!("{third:?}")
    };
    assert!(numbers.clean);
    assert_eq!(sim.disk(StoreReport::NumbersSaved), [Action::Disk(StoreOrder::Close)]);
    assert_eq!(sim.disk(StoreReport::Closed), [Action::Exit]);
    assert_eq!(sim.agent.deadline(), None);
}

#[test]
fn a_stop_ends_although_nothing_answers_and_does_not_claim_to_be_clean() {
    let mut sim = Sim::online(client("a", Confirm::Ack, true));
    sim.offer(RequestId(1), 1);
    sim.step(Event::Stop);
    assert_eq!(orders(&sim.wait(STOP_STEP - SECOND / 10), LinkId(0)), [&LinkOrder::Ping(1)]);
    assert_eq!(orders(&sim.wait(SECOND / 10), LinkId(0)), [&LinkOrder::Close(1001)]);
    let saved = sim.wait(STOP_STEP);
    assert_eq!(saved[0], Action::HangUp { link: LinkId(0) });
    assert!(!saved.iter().any(|action| matches!(action, Action::Disk(StoreOrder::SaveNumbers(_)))));
    assert!(!saved.contains(&Action::Disk(StoreOrder::Close)), "the disk has not done the rest");
    assert_eq!(sim.wait(STOP_STEP), [Action::Exit]);
}

#[test]
fn a_second_stop_changes_nothing() {
    let mut sim = Sim::new(vec![client("a", Confirm::Ack, true)], false);
    sim.offer(RequestId(1), 1);
    sim.step(Event::Stop);
    let deadline = sim.agent.deadline();
    assert_eq!(sim.step(Event::Stop), []);
    assert_eq!(sim.agent.deadline(), deadline);
}

#[test]
fn the_status_goes_out_at_once_when_a_link_changes_and_at_most_once_a_second() {
    let mut sim = Sim::with_broker();
    let gone = || LinkReport::Closed { closing: Closing::Plain, error: "cut".into() };
    sim.wait(SECOND * 5);
    assert!(published(&sim.link(LinkId(0), LinkReport::Up(Peer::default())), LinkId(1)).is_some());
    assert_eq!(published(&sim.link(LinkId(0), gone()), LinkId(1)), None, "a second has not passed");
    sim.wait(SECOND / 2);
    let told = published(&sim.wait(SECOND / 2), LinkId(1)).expect("a second has passed");
    assert!(told.contains(r#""state":"down""#), "{told}");
}

#[test]
fn a_session_that_was_taken_over_is_told_also_when_it_is_up_again() {
    let mut sim = Sim::with_broker();
    let error = crate::link::closing::taken_over("holdfast-gw");
    sim.link(LinkId(1), LinkReport::Closed { closing: Closing::TakenOver, error });
    assert_eq!(sim.shown("/mqtt/retry_because"), "same-id");
    sim.wait(SECOND * 300);
    sim.link(LinkId(1), LinkReport::Up(Peer::default()));
    sim.wait(SECOND * 120);
    assert_eq!(sim.shown("/mqtt/taken_over/times"), 1);
    assert!(sim.shown("/mqtt/taken_over/hint").as_str().unwrap().contains("is this card a clone?"));
    assert!(sim.shown("/mqtt/retry_because").is_null());
}

#[test]
fn a_status_that_the_broker_refuses_is_a_warning_once_and_stands_in_the_status_until_it_is_taken() {
    let mut sim = Sim::with_broker();
    let mut refuse = |why: Option<&str>| {
        let actions = sim.link(LinkId(1), LinkReport::StateRefused(why.map(str::to_owned)));
        let told: Vec<bool> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Note(LogEvent::StateRefused { again, .. }) => Some(*again),
                _ => None,
            })
            .collect();
        (told, sim.shown("/mqtt/status_refused"))
    };
    assert_eq!(refuse(Some("a: no")), (vec![false], "a: no".into()));
    assert_eq!(refuse(Some("a: no")), (vec![], "a: no".into()));
    assert_eq!(refuse(None), (vec![], serde_json::Value::Null));
    assert_eq!(refuse(Some("a: no")), (vec![true], "a: no".into()));
}

#[test]
fn how_mqtt_is_spoken_is_shown_and_remembered_until_a_dial_fails() {
    use crate::link::mqtt::terms::Terms;
    use crate::source::mqtt::packet::Version;

    let mut sim = Sim::with_broker();
    let gone = || LinkReport::Closed { closing: Closing::Plain, error: "cut".into() };
    sim.link(LinkId(1), gone());
    sim.wait(SECOND * 300);
    sim.link(LinkId(1), LinkReport::Up(Peer { terms: Some(Terms::of(Version::V311)), ..Peer::default() }));
    assert_eq!(
        (sim.shown("/mqtt/protocol"), sim.agent.spoken_version(LinkId(1))),
        ("MQTT 3.1.1".into(), Some(Version::V311))
    );
    sim.link(LinkId(1), gone());
    assert_eq!(sim.agent.spoken_version(LinkId(1)), Some(Version::V311));
    sim.wait(SECOND * 300);
    let refusal = Refusal::new(DialError::Refused, "refused");
    sim.link(LinkId(1), LinkReport::DialFailed(refusal));
    assert_eq!(sim.agent.spoken_version(LinkId(1)), None);
}

#[test]
fn the_status_goes_out_each_interval_and_on_every_connection_to_the_broker() {
    let mut sim = Sim::new(vec![], true);
    assert!(published(&sim.link(LinkId(0), LinkReport::Up(Peer::default())), LinkId(0)).is_some());
    assert_eq!(published(&sim.wait(SECOND * 29), LinkId(0)), None);
    assert!(published(&sim.wait(SECOND), LinkId(0)).is_some());
    sim.link(LinkId(0), LinkReport::Closed { closing: Closing::Plain, error: "cut".into() });
    sim.wait(SECOND);
    assert!(published(&sim.link(LinkId(0), LinkReport::Up(Peer::default())), LinkId(0)).is_some());
}

#[test]
fn a_new_connection_to_the_broker_is_told_of_every_device_a_window_at_a_time() {
    let mut sim = Sim::with_broker();
    for device in ["a", "b", "c"] {
        sim.hear_of(device);
        let sent = sim.agent.buffer.queue(OutletId(1)).sent();
        sim.link(LinkId(1), LinkReport::Ack { lane: 0, seq: sent });
    }
    sim.disk(StoreReport::Appended);
    sim.link(LinkId(1), LinkReport::Closed { closing: Closing::Plain, error: "cut".into() });
    sim.wait(SECOND);
    let first = sim.link(LinkId(1), LinkReport::Up(Peer::default()));
    assert_eq!(topics(&first, LinkId(1)), ["p/devices/a/status", "p/devices/b/status"]);
    let sent = sim.agent.buffer.queue(OutletId(1)).sent();
    assert_eq!(
        topics(&sim.link(LinkId(1), LinkReport::Ack { lane: 0, seq: sent }), LinkId(1)),
        ["p/devices/c/status"]
    );
    assert_eq!(
        topics(&sim.link(LinkId(1), LinkReport::Ack { lane: 0, seq: sent + 1 }), LinkId(1)),
        Vec::<String>::new()
    );
}

#[test]
fn news_of_a_device_that_could_not_be_queued_is_told_later() {
    let mut sim = Sim::with_broker();
    assert!(answers(&sim.offer(RequestId(1), 20_000)).is_empty(), "all numbers are given");
    assert_eq!(topics(&sim.hear_of("a"), LinkId(1)), Vec::<String>::new(), "busy as well");
    assert_eq!(sim.shown("/buffer/refused"), 1, "the news is not a sender's");
    sim.disk(StoreReport::NumbersSaved);
    let told = sim.wait(SECOND);
    assert_eq!(topics(&told, LinkId(1)), ["p/devices/a/status"]);
}

#[test]
fn news_of_a_device_that_became_too_old_on_a_slow_line_is_told_anew() {
    let mut setup = setup(vec![client("cloud", Confirm::Pong, false)], true);
    setup.buffer.ttl = SECOND * 5;
    let mut sim = Sim::of(setup);
    sim.link(LinkId(1), LinkReport::Up(Peer::default()));
    for device in ["a", "b", "c"] {
        sim.hear_of(device);
    }
    sim.wait(SECOND * 6);
    assert_eq!(topics(&sim.link(LinkId(1), LinkReport::Ack { lane: 0, seq: 1 }), LinkId(1)), ["gap"]);
    let mut told = topics(&sim.link(LinkId(1), LinkReport::Ack { lane: 0, seq: 3 }), LinkId(1));
    let sent = sim.agent.buffer.queue(OutletId(1)).sent();
    told.extend(topics(&sim.link(LinkId(1), LinkReport::Ack { lane: 0, seq: sent }), LinkId(1)));
    assert_eq!(told, ["a", "b", "c"].map(|device| format!("p/devices/{device}/status")));
}

#[test]
fn the_will_says_lost_and_carries_the_session() {
    let sim = Sim::with_broker();
    let will = sim.agent.will().expect("there is a broker");
    let said: serde_json::Value = serde_json::from_slice(&will.payload).unwrap();
    assert_eq!(will.topic, "p/status");
    assert_eq!((said["reason"].as_str(), said["session"].as_u64()), (Some("lost"), Some(1)));
}

#[test]
fn the_status_shows_the_links_and_what_they_hold() {
    let mut sim = Sim::new(vec![client("mqtt", Confirm::Ack, true), client("b", Confirm::Ack, true)], true);
    sim.link(LinkId(1), LinkReport::Up(Peer { certificate_days_left: Some(12), ..Peer::default() }));
    sim.wait(SECOND * 3);
    sim.offer(RequestId(1), 2);
    sim.wait(SECOND * 5);
    sim.link(LinkId(1), LinkReport::Ack { lane: 0, seq: 2 });
    assert_eq!(sim.shown("/links/b/state"), "up");
    assert_eq!(sim.shown("/links/b/since"), "2023-11-14T22:13:20.000Z");
    assert_eq!(sim.shown("/links/b/last_confirmed"), "2023-11-14T22:13:28.000Z");
    assert_eq!(sim.shown("/links/b/unconfirmed"), 0);
    assert_eq!(sim.shown("/links/mqtt/state"), "down");
    assert_eq!(sim.shown("/links/mqtt/unconfirmed"), 2);
    assert_eq!(sim.shown("/mqtt/unconfirmed"), 0, "a client of this name has another place");
    assert_eq!(sim.shown("/certificate_days_left"), 12);
    assert_eq!((sim.shown("/buffer/messages"), sim.shown("/buffer/oldest_age_s")), (2.into(), 5.into()));
    assert_eq!((sim.shown("/uptime_s"), sim.shown("/session")), (8.into(), 1.into()));
}

#[test]
fn the_status_shows_devices_and_why_they_are_as_they_are() {
    let mut sim = Sim::with_broker();
    sim.hear_of("pump");
    assert_eq!(sim.shown("/devices/pump/status"), "online");
    assert_eq!(sim.shown("/devices/pump/reason"), "heard");
    sim.wait(SECOND * 300);
    assert_eq!(sim.shown("/devices/pump/status"), "offline");
    assert_eq!(sim.shown("/devices/pump/since"), "2023-11-14T22:18:20.000Z");
}

#[test]
fn what_the_store_reads_back_is_sent_when_the_link_comes_up() {
    let mut sim = Sim::new(vec![client("a", Confirm::Ack, true)], false);
    sim.facts.held[0] = Held { range: Some((1, 1)), messages: 1, bytes: 9, ..Held::default() };
    sim.disk(StoreReport::PresenceSaved);
    let wanted = sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    let Some(Action::Disk(StoreOrder::Read { token, .. })) = wanted.last() else { panic!("{wanted:?}") };
    let gap = Body::Gap { to: 1, reason: crate::message::GapReason::Damaged };
    let entries = vec![Entry { seq: 1, body: gap, replayed: true }];
    let sent = sim.disk(StoreReport::Read { outlet: OutletId(0), token: *token, entries });
    assert_eq!(topics(&sent, LinkId(0)), ["gap"]);
}

#[test]
fn what_comes_again_for_an_outlet_that_is_not_there_or_at_a_stop_is_refused() {
    let mut sim = Sim::new(vec![client("cloud", Confirm::Pong, false)], true);
    let again =
        |outlet: &str, request| Event::Reimport { request, outlet: outlet.to_owned(), messages: Vec::new() };
    let refused = |request, refused| Action::Answer(request, Answer::Refused(refused));
    assert!(
        sim.step(again("client:hub", RequestId(1)))
            .contains(&refused(RequestId(1), Refused::NoOutlet("client:hub".into())))
    );
    sim.step(Event::Stop);
    assert!(
        sim.step(again("client:cloud", RequestId(2))).contains(&refused(RequestId(2), Refused::Stopping))
    );
}
