//! Trials, reloads and commands by hand.

use super::*;
use crate::config::buffer::BufferLimits;
use crate::config::replay::Order;
use crate::ids::{ConnectionId, LinkId, RequestId};
use crate::reload::{ReloadError, Reloaded, Takeover};

/// Half a minute is given to prove it.
fn tried(own: &LinkSetup, window: usize) -> LinkSetup {
    LinkSetup { trial: SECOND * 30, window, ..own.clone() }
}

fn with_place(own: LinkSetup, max_messages: u64) -> LinkSetup {
    LinkSetup { place: BufferLimits { max_messages: Some(max_messages), ..BufferLimits::default() }, ..own }
}

/// A link whose settings have changed, with half a minute to prove the new ones; it has closed the old connection.
fn on_trial() -> (Sim, LinkSetup) {
    on_trial_as(|own| own)
}

fn on_trial_as(change: impl Fn(LinkSetup) -> LinkSetup) -> (Sim, LinkSetup) {
    let old = client("cloud", Confirm::Pong, false);
    let mut sim = Sim::online(old.clone());
    sim.reconfigure(setup(vec![change(tried(&old, 7))], false));
    let actions = sim.closed(LinkId(0));
    assert_eq!(actions, [Action::Dial { link: LinkId(0), conn: ConnectionId(2), endpoint: EndpointId(0) }]);
    assert!(sim.agent.is_on_trial(LinkId(0)));
    (sim, old)
}

impl Sim {
    fn closed(&mut self, link: LinkId) -> Vec<Action> {
        self.link(link, LinkReport::Closed { closing: Closing::Plain, error: "closed".into() })
    }

    fn refused(&mut self, link: LinkId) -> Vec<Action> {
        let refusal = Refusal::new(DialError::Refused, "connection refused");
        self.link(link, LinkReport::DialFailed(refusal))
    }

    /// It comes up, and a pong comes back.
    fn prove(&mut self, link: LinkId) {
        let actions = self.link(link, LinkReport::Up(Peer::default()));
        let ping = orders(&actions, link).into_iter().find_map(|order| match order {
            LinkOrder::Ping(number) => Some(*number),
            _ => None,
        });
        self.link(link, LinkReport::Pong(ping.expect("a trial does not wait for the next ping")));
    }

    fn command(&mut self, client: &str, command: LinkCommand) -> (Vec<Action>, Result<(), CommandError>) {
        let mut actions = self.step(Event::Command { request: RequestId(9), client: client.into(), command });
        let replies =
            |action: &Action| matches!(action, Action::ReplyToCommand { request: RequestId(9), .. });
        let reply = actions.iter().position(replies).expect("each command is answered");
        let Action::ReplyToCommand { outcome, .. } = actions.remove(reply) else { unreachable!() };
        assert!(!actions.iter().any(replies), "once");
        (actions, outcome)
    }

    fn in_force(&self, link: LinkId) -> &LinkSetup {
        self.agent.settings(link).unwrap()
    }

    fn rejected(&self, id: &str) -> String {
        self.shown(&format!("/links/{id}/settings_rejected")).as_str().unwrap_or_default().to_owned()
    }
}

fn rolled_back(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Note(LogEvent::RolledBack { .. }))).count()
}

#[test]
fn new_settings_that_are_not_confirmed_in_time_give_way_to_the_old_ones_and_that_is_told() {
    let (mut sim, old) = on_trial();
    assert_eq!(sim.shown("/links/cloud/on_trial"), true);
    sim.refused(LinkId(0));
    let dial = |conn| Action::Dial { link: LinkId(0), conn, endpoint: EndpointId(0) };
    assert_eq!(sim.wait(SECOND * 30 - SECOND / 10), [dial(ConnectionId(3))]);
    let actions = sim.wait(SECOND / 10);
    assert_eq!(
        (rolled_back(&actions), &actions[1..]),
        (1, &[Action::HangUp { link: LinkId(0) }, dial(ConnectionId(5))][..])
    );
    assert_eq!(
        sim.rejected("cloud"),
        "new settings got no confirmation within 30 s (connection refused), the old ones are in force"
    );
    assert_eq!((sim.agent.is_on_trial(LinkId(0)), sim.in_force(LinkId(0))), (false, &old));
    assert_eq!(sim.agent.links[LinkId(0)].window, 100);
}

#[test]
fn with_nothing_to_send_a_pong_proves_new_settings() {
    let (mut sim, old) = on_trial();
    sim.prove(LinkId(0));
    assert!(!sim.agent.is_on_trial(LinkId(0)));
    assert_eq!(rolled_back(&sim.wait(SECOND * 40)), 0);
    assert_eq!(sim.in_force(LinkId(0)), &tried(&old, 7));
}

#[test]
fn a_pong_proves_nothing_while_a_message_waits_for_its_acknowledgement() {
    let old = client("cloud", Confirm::Ack, true);
    let mut sim = Sim::online(old.clone());
    sim.offer(RequestId(1), 1);
    sim.reconfigure(setup(vec![tried(&old, 7)], false));
    sim.closed(LinkId(0));
    sim.link(LinkId(0), LinkReport::Up(Peer::default()));
    for ping in 0..3 {
        sim.link(LinkId(0), LinkReport::Pong(ping));
    }
    assert!(sim.agent.is_on_trial(LinkId(0)));
    sim.link(LinkId(0), LinkReport::Ack { lane: 0, seq: 1 });
    assert!(!sim.agent.is_on_trial(LinkId(0)));
}

#[test]
fn links_whose_trials_fail_together_go_back_each_to_its_own_settings_and_nothing_they_held_is_given_up() {
    let old = [client("a", Confirm::Pong, false), client("b", Confirm::Ack, true)];
    let mut sim = Sim::new(old.to_vec(), false);
    let new = old.iter().map(|own| with_place(tried(own, 7), 3)).collect();
    sim.reconfigure(setup(new, false));
    let mut actions = sim.offer(RequestId(1), 10);
    actions.extend(sim.wait(SECOND * 29));
    actions.extend(sim.wait(SECOND));
    assert_eq!(rolled_back(&actions), 2);
    assert_eq!((sim.in_force(LinkId(0)), sim.in_force(LinkId(1))), (&old[0], &old[1]));
    let drops = |action: &Action| matches!(action, Action::Disk(StoreOrder::DropOldest { .. }));
    assert!(!actions.iter().any(drops), "{actions:?}");
    assert_eq!((sim.shown("/links/a/unconfirmed"), sim.shown("/buffer/dropped")), (10.into(), 0.into()));
}

#[test]
fn while_settings_are_on_trial_the_laxer_bound_is_in_force_and_then_their_own() {
    let bound = |sim: &Sim| sim.shown("/links/cloud/max_messages");
    let (mut sim, _) = on_trial_as(|own| with_place(own, 3));
    assert_eq!(bound(&sim), 0);
    sim.prove(LinkId(0));
    assert_eq!(bound(&sim), 3);
    let (lax, strict) = (
        BufferLimits { max_messages: Some(9), ttl: Some(SECOND * 9), when_full: None },
        BufferLimits { max_messages: Some(3), ttl: Some(SECOND * 3), when_full: Some(WhenFull::Reject) },
    );
    let rule = setup(Vec::new(), false).buffer;
    for (old, new) in [(lax, strict), (strict, lax)] {
        let old = LinkSetup { place: old, ..client("cloud", Confirm::Pong, false) };
        let mut sim = Sim::online(old.clone());
        sim.reconfigure(setup(vec![LinkSetup { place: new, ..tried(&old, 7) }], false));
        let expected =
            crate::config::buffer::Bounds { when_full: rule.bounds(old.place).when_full, ..rule.bounds(lax) };
        assert_eq!(
            sim.agent.buffer.owners().next().unwrap().1.bounds,
            expected,
            "what gives way is as it was"
        );
    }
}

#[test]
fn the_tables_that_all_links_share_are_not_on_trial() {
    let old = client("cloud", Confirm::Pong, false);
    let mut sim = Sim::online(old.clone());
    let mut next = setup(vec![with_place(tried(&old, 7), 3)], false);
    next.buffer.max_messages = 50;
    sim.reconfigure(next);
    assert_eq!(sim.shown("/links/cloud/max_messages"), 50);
    sim.wait(SECOND * 30);
    assert_eq!(sim.in_force(LinkId(0)), &old);
    assert_eq!(sim.shown("/links/cloud/max_messages"), 50);
}

#[test]
fn settings_that_change_while_they_are_on_trial_go_back_to_the_last_ones_that_proved_themselves() {
    let (mut sim, old) = on_trial();
    sim.wait(SECOND * 20);
    sim.reconfigure(setup(vec![tried(&old, 8)], false));
    assert_eq!(rolled_back(&sim.wait(SECOND * 29)), 0, "they have all of their time");
    assert_eq!(rolled_back(&sim.wait(SECOND)), 1);
    assert_eq!(sim.in_force(LinkId(0)), &old);
}

#[test]
fn a_reload_that_does_not_change_them_leaves_settings_on_trial_with_the_time_they_have() {
    let (mut sim, old) = on_trial();
    sim.wait(SECOND * 20);
    let mut next = setup(vec![tried(&old, 7)], false);
    next.buffer.max_messages = 50;
    sim.reconfigure(next);
    assert_eq!(rolled_back(&sim.wait(SECOND * 10)), 1);
}

#[test]
fn who_takes_back_what_is_on_trial_has_nothing_to_try() {
    let (mut sim, old) = on_trial();
    sim.reconfigure(setup(vec![old.clone()], false));
    assert_eq!((sim.agent.is_on_trial(LinkId(0)), sim.in_force(LinkId(0))), (false, &old));
    assert_eq!(rolled_back(&sim.wait(SECOND * 60)), 0);
}

#[test]
fn settings_without_a_trial_end_the_one_that_goes_on() {
    let (mut sim, old) = on_trial();
    let new = LinkSetup { window: 8, ..old };
    sim.reconfigure(setup(vec![with_place(new.clone(), 3)], false));
    assert!(!sim.agent.is_on_trial(LinkId(0)));
    assert_eq!(sim.shown("/links/cloud/max_messages"), 3);
}

#[test]
fn a_link_that_is_removed_while_on_trial_or_was_just_added_has_nothing_to_go_back_to() {
    let (mut sim, old) = on_trial();
    sim.reconfigure(setup(Vec::new(), false));
    sim.wait(SECOND * 60);
    sim.reconfigure(setup(vec![tried(&old, 7), tried(&client("b", Confirm::Pong, false), 7)], false));
    assert!(!sim.agent.is_on_trial(LinkId(0)) && !sim.agent.is_on_trial(LinkId(1)));
    sim.reconfigure(setup(vec![tried(&old, 7), tried(&client("b", Confirm::Pong, false), 8)], false));
    assert!(!sim.agent.is_on_trial(LinkId(1)), "it has no place yet");
}

#[test]
fn a_link_that_was_told_to_stay_away_is_not_judged_until_it_may_dial_again() {
    let (mut sim, old) = on_trial();
    let (actions, told) = sim.command("Cloud", LinkCommand::Disconnect);
    assert_eq!((actions, told), (vec![Action::HangUp { link: LinkId(0) }], Ok(())));
    assert_eq!(rolled_back(&sim.wait(SECOND * 600)), 0);
    assert_eq!(sim.shown("/links/cloud/state"), "disconnected");
    assert_eq!(sim.command("cloud", LinkCommand::Connect).1, Ok(()));
    assert_eq!(rolled_back(&sim.wait(SECOND * 29)), 0, "it has all of its time");
    assert_eq!(rolled_back(&sim.wait(SECOND)), 1);
    assert_eq!(sim.in_force(LinkId(0)), &old);
}

#[test]
fn settings_that_are_inactive_prove_nothing() {
    let (mut sim, old) = on_trial();
    let mut idle = tried(&old, 7);
    idle.rule.active = false;
    sim.reconfigure(setup(vec![idle], false));
    assert_eq!(rolled_back(&sim.wait(SECOND * 600)), 0);
    assert_eq!(sim.shown("/links/cloud/state"), "inactive");
    sim.reconfigure(setup(vec![tried(&old, 7)], false));
    assert_eq!(rolled_back(&sim.wait(SECOND * 30)), 1);
    assert_eq!(sim.in_force(LinkId(0)), &old, "neither those that failed nor those that were inactive");
}

#[test]
fn a_reload_that_was_read_before_a_rollback_is_compared_with_what_is_in_force_after_it() {
    let (mut sim, old) = on_trial();
    sim.wait(SECOND * 29);
    sim.step(Event::Reload { request: RequestId(5) });
    assert_eq!(rolled_back(&sim.wait(SECOND)), 1);
    let outcome = Ok(proposal(setup(vec![tried(&old, 7)], false)));
    let actions = sim.step(Event::Prepared { request: RequestId(5), outcome });
    let changed = vec!["client.ws_client_1".to_owned(), "host".to_owned()];
    let outcome = Ok(Reloaded { how: Takeover::Applied, changed });
    assert!(actions.contains(&Action::ReplyToReload { request: RequestId(5), outcome }), "{actions:?}");
    assert!(sim.agent.is_on_trial(LinkId(0)), "what was rejected is tried again");
    assert_eq!(rolled_back(&sim.wait(SECOND * 30)), 1);
    assert_eq!(sim.in_force(LinkId(0)), &old);
}

#[test]
fn that_settings_were_rejected_is_told_until_others_prove_themselves_or_the_file_agrees() {
    let (mut sim, old) = on_trial();
    sim.wait(SECOND * 30);
    sim.reconfigure(setup(vec![tried(&old, 7)], false));
    assert!(sim.rejected("cloud").ends_with(" 30 s, others are on trial"), "{}", sim.rejected("cloud"));
    sim.wait(SECOND * 30);
    assert!(sim.rejected("cloud").ends_with("the old ones are in force"));
    let unchanged =
        Box::new(Proposal { setup: setup(vec![old.clone()], false), changes: Changes::default() });
    sim.step(Event::Reload { request: RequestId(1) });
    let actions = sim.step(Event::Prepared { request: RequestId(1), outcome: Ok(unchanged) });
    let outcome = Ok(Reloaded { how: Takeover::Unchanged, changed: Vec::new() });
    assert!(actions.contains(&Action::ReplyToReload { request: RequestId(1), outcome }), "{actions:?}");
    assert_eq!(sim.rejected("cloud"), "");
    sim.reconfigure(setup(vec![tried(&old, 7)], false));
    sim.wait(SECOND * 30);
    sim.reconfigure(setup(vec![tried(&old, 8)], false));
    sim.wait(SECOND * 2);
    sim.prove(LinkId(0));
    assert_eq!(sim.rejected("cloud"), "");
}

#[test]
fn nobody_is_judged_during_a_stop() {
    let (mut sim, old) = on_trial();
    sim.step(Event::Stop);
    assert_eq!(rolled_back(&sim.wait(SECOND * 30)), 0);
    assert_eq!(sim.agent.proven().collect::<Vec<_>>(), [&old]);
}

#[test]
fn settings_of_another_life_are_tried_against_those_that_proved_themselves_in_the_one_before() {
    let old = client("cloud", Confirm::Pong, false);
    let proven = vec![old.clone(), client("gone", Confirm::Pong, false)];
    let mut sim = Sim::of(Setup { proven, ..setup(vec![with_place(tried(&old, 7), 3)], false) });
    assert!(sim.agent.is_on_trial(LinkId(0)));
    sim.offer(RequestId(1), 10);
    assert_eq!(sim.shown("/links/cloud/max_messages"), 0);
    assert_eq!(rolled_back(&sim.wait(SECOND * 30)), 1);
    assert_eq!((sim.in_force(LinkId(0)), sim.shown("/buffer/dropped")), (&old, 0.into()));
    let same = Sim::of(Setup { proven: vec![tried(&old, 7)], ..setup(vec![tried(&old, 7)], false) });
    assert!(!same.agent.is_on_trial(LinkId(0)));
}

#[test]
fn a_peer_that_hangs_up_on_settings_that_are_on_trial_says_nothing_about_a_message() {
    let (mut sim, _) = on_trial();
    sim.offer(RequestId(1), 1);
    for _ in 0..5 {
        sim.link(LinkId(0), LinkReport::Up(Peer::default()));
        let actions = sim
            .link(LinkId(0), LinkReport::Closed { closing: Closing::Message, error: "who are you?".into() });
        assert!(!actions.iter().any(|action| matches!(action, Action::Disk(StoreOrder::SetAside { .. }))));
        sim.wait(SECOND * 4);
    }
    assert!(sim.agent.is_on_trial(LinkId(0)));
}

#[test]
fn a_number_from_a_connection_that_is_left_does_not_confirm_what_it_stands_for_under_other_settings() {
    let newest_first = Replay { order: Order::NewestFirst, ..Replay::default() };
    let old = LinkSetup { replay: newest_first, ..client("cloud", Confirm::Pong, true) };
    let mut sim = Sim::online(old.clone());
    sim.offer(RequestId(1), 5);
    sim.reconfigure(setup(vec![LinkSetup { replay: Replay::default(), ..old }], false));
    sim.link(LinkId(0), LinkReport::Resume { lane: 0, from: 4 });
    assert_eq!(sim.shown("/links/cloud/unconfirmed"), 5);
}

#[test]
fn one_reload_goes_on_at_a_time_and_a_stop_answers_it() {
    let mut sim = Sim::online(client("cloud", Confirm::Pong, false));
    let refused = |request, error| Action::ReplyToReload { request, outcome: Err(error) };
    assert_eq!(
        sim.step(Event::Reload { request: RequestId(1) }),
        [Action::Prepare { request: RequestId(1) }]
    );
    let told = |error: ReloadError| Action::Note(LogEvent::ReloadFailed(error.to_string()));
    let under_way = [told(ReloadError::UnderWay), refused(RequestId(2), ReloadError::UnderWay)];
    assert_eq!(sim.step(Event::Reload { request: RequestId(2) }), under_way);
    let stopped = sim.step(Event::Stop);
    let is_told = stopped
        .windows(2)
        .any(|both| both == [told(ReloadError::Stopping), refused(RequestId(1), ReloadError::Stopping)]);
    assert!(is_told, "{stopped:?}");
    let actions =
        sim.step(Event::Prepared { request: RequestId(1), outcome: Ok(proposal(setup(Vec::new(), false))) });
    assert_eq!(actions, [], "it was answered, and the agent stops");
    let stopping = [told(ReloadError::Stopping), refused(RequestId(3), ReloadError::Stopping)];
    assert_eq!(sim.step(Event::Reload { request: RequestId(3) }), stopping);
}

#[test]
fn a_wrong_configuration_is_told_until_one_is_taken_over() {
    let mut sim = Sim::online(client("cloud", Confirm::Pong, false));
    sim.step(Event::Reload { request: RequestId(1) });
    let actions = sim.step(Event::Prepared { request: RequestId(1), outcome: Err("line 3".into()) });
    let outcome = Err(ReloadError::Invalid("line 3".into()));
    assert!(actions.contains(&Action::ReplyToReload { request: RequestId(1), outcome }), "{actions:?}");
    assert_eq!(sim.shown("/configuration_rejected"), "line 3");
    sim.reconfigure(setup(vec![client("cloud", Confirm::Pong, false)], false));
    assert_eq!(sim.shown("/configuration_rejected"), serde_json::Value::Null);
}

#[test]
fn a_stop_ends_also_an_agent_that_is_about_to_start_anew() {
    let mut sim = Sim::online(client("cloud", Confirm::Pong, false));
    sim.step(Event::Reload { request: RequestId(1) });
    let mut renamed = proposal(setup(vec![client("b", Confirm::Pong, false)], false));
    renamed.changes.restart = true;
    let actions = sim.step(Event::Prepared { request: RequestId(1), outcome: Ok(renamed) });
    let changed = ["agent", "client.ws_client_1", "client.ws_client_1", "host"].map(str::to_owned).to_vec();
    let outcome = Ok(Reloaded { how: Takeover::Restarting, changed });
    assert!(
        actions.contains(&Action::Succeed { request: RequestId(1) })
            && actions.contains(&Action::CloseSources)
    );
    assert!(actions.contains(&Action::ReplyToReload { request: RequestId(1), outcome }), "{actions:?}");
    assert!(sim.step(Event::Stop).contains(&Action::DropSuccessor));
    assert!(!sim.step(Event::Stop).contains(&Action::DropSuccessor));
}

#[test]
fn a_command_that_cannot_be_obeyed_is_answered_with_the_reason() {
    let mut idle = client("idle", Confirm::Pong, false);
    idle.rule.active = false;
    let mut sim = Sim::new(vec![client("cloud", Confirm::Pong, false), idle], true);
    for id in ["lab", "mqtt"] {
        assert_eq!(sim.command(id, LinkCommand::Connect).1, Err(CommandError::NoClient(id.into())));
    }
    assert_eq!(sim.command("IDLE", LinkCommand::Connect).1, Err(CommandError::Inactive("idle".into())));
    sim.step(Event::Stop);
    assert_eq!(sim.command("cloud", LinkCommand::Disconnect).1, Err(CommandError::Stopping));
}
