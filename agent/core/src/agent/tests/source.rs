//! Links of sources.

use super::*;
use crate::config::mqtt_source::MqttSource;
use crate::config::source::{Source, SourceKind};
use crate::ids::{ConnectionId, EndpointId, LinkId};
use crate::observe::status::SourceStatus;
use crate::source::subscriber::Took;

fn source(id: &str, topics: &[&str]) -> SourceSetup {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let mqtt = MqttSource { topics, ..MqttSource::default() };
    let table = Source { kind: SourceKind::Mqtt(Box::new(mqtt)), ..Source::of_index(0) };
    SourceSetup {
        id: id.to_owned(),
        rule: LinkRule { kind: LinkKind::Mqtt, ..rule(Confirm::Ack) },
        place: "mqtt://broker".to_owned(),
        table: Arc::new(table),
    }
}

fn with_sources(sources: Vec<SourceSetup>) -> Setup {
    Setup { sources, ..setup(vec![client("cloud", Confirm::Pong, false)], true) }
}

fn status(sim: &Sim, id: &str) -> SourceStatus {
    sim.agent.status(sim.now).fetching.remove(id).unwrap()
}

#[test]
fn a_source_dials_once_there_is_somewhere_to_put_its_messages() {
    let setup = with_sources(vec![source("z", &["a"])]);
    let facts = StoreFacts { held: vec![Held::default(); setup.outlets().len()], ..StoreFacts::default() };
    let now = Sim::new(Vec::new(), false).now;
    let opened = Opened { outlets: setup.outlets(), facts: facts.clone(), ..Opened::default() };
    let mut sim = Sim { agent: Agent::new(setup, &opened, now), now, facts };
    let dials = |actions: &[Action]| {
        actions.iter().any(|action| matches!(action, Action::Dial { link: LinkId(2), .. }))
    };
    assert!(!dials(&sim.step(Event::Tick)));
    assert!(dials(&sim.disk(StoreReport::NumbersSaved)));
}

#[test]
fn what_a_source_has_fetched_is_told_and_its_messages_go_to_every_client_and_no_other_way() {
    let mut sim = Sim::of(with_sources(vec![source("z", &["a"])]));
    let up = sim.link(LinkId(2), LinkReport::Up(Peer::default()));
    let is_line =
        |action: &Action| matches!(action, Action::Note(LogEvent::LinkUp { link, .. }) if link == "source:z");
    assert!(up.iter().any(is_line), "{up:?}");
    let took = Took { stored: 3, refused: 1, last_refused: Some("no".into()), ..Took::default() };
    sim.link(LinkId(2), LinkReport::Took(took.clone()));
    sim.link(LinkId(2), LinkReport::Took(Took { stored: 2, ..Took::default() }));
    sim.link(LinkId(2), LinkReport::Holds(Some("the buffer is full".into())));
    let told = status(&sim, "z");
    assert_eq!((told.received, told.refused, told.last_refused.as_deref()), (5, 1, Some("no")));
    assert!(told.last_received.is_some());
    assert_eq!(told.held_back.as_deref(), Some("the buffer is full"));
    assert!(sim.agent.headline().contains("0 of 2 links up, 1 of 1 source up"), "{}", sim.agent.headline());
    sim.link(LinkId(2), LinkReport::Closed { closing: Closing::Plain, error: "gone".into() });
    let told = status(&sim, "z");
    assert_eq!((told.held_back, told.last_error.as_deref()), (None, Some("gone")));
}

#[test]
fn a_source_that_is_silent_is_given_up_like_every_link() {
    let mut sim = Sim::of(with_sources(vec![source("z", &["a"])]));
    sim.link(LinkId(2), LinkReport::Up(Peer::default()));
    let interval = rule(Confirm::Ack).ping.interval;
    let pinged = sim.wait(interval);
    assert!(matches!(orders(&pinged, LinkId(2))[..], [LinkOrder::Ping(_)]), "{pinged:?}");
    let mut hung_up = false;
    for _ in 0..600 {
        hung_up |= sim.wait(SECOND).contains(&Action::HangUp { link: LinkId(2) });
    }
    assert!(hung_up);
}

#[test]
fn sources_come_change_and_go_without_the_others() {
    let (first, second) = (source("z", &["a"]), source("y", &["b"]));
    let mut sim = Sim::of(with_sources(vec![first.clone()]));
    sim.link(LinkId(2), LinkReport::Up(Peer::default()));
    let dial = |link, conn| Action::Dial {
        link: LinkId(link),
        conn: ConnectionId(conn),
        endpoint: EndpointId::FIRST,
    };
    let actions = sim.reconfigure(with_sources(vec![first, second.clone()]));
    assert_eq!(actions, [dial(3, 1)]);
    let close = Action::Tell { link: LinkId(2), order: LinkOrder::Close(1001) };
    let actions = sim.reconfigure(with_sources(vec![source("z", &["c"]), second.clone()]));
    assert_eq!(actions, std::slice::from_ref(&close));
    let closed = LinkReport::Closed { closing: Closing::Plain, error: "closed".into() };
    assert!(sim.link(LinkId(2), closed).contains(&dial(2, 2)));
    sim.link(LinkId(2), LinkReport::Up(Peer::default()));
    assert_eq!(sim.reconfigure(with_sources(vec![second])), [close]);
    assert!(sim.agent.status(sim.now).fetching.keys().eq(["y"]));
}
