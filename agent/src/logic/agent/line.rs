//! A link with everything that belongs to it, and the outlets that are its lanes.

use super::trial::Trial;
use super::{LinkSetup, MqttSetup, Setup};
use crate::config::replay::Replay;
use crate::logic::buffer::Seat;
use crate::logic::caution::Caution;
use crate::logic::inbox::Inbox;
use crate::logic::lane::{self, Routes};
use crate::logic::link::Link;
use crate::logic::pace::Pace;
use crate::logic::time::{Now, Time};

/// A link and what belongs to its connection.
#[derive(Debug)]
pub struct Line {
    /// Its id, `mqtt` for the broker's.
    pub id: String,
    /// Its life.
    pub link: Link,
    /// When something was confirmed last, UTC ns.
    pub last_confirmed_ns: Option<u64>,
    /// Days until the peer's certificate ends, on TLS.
    pub certificate_days_left: Option<i64>,
    /// Messages of the peer's own.
    pub received: u64,
    /// Those of them that the buffer has not taken yet.
    pub inbox: Inbox,
    /// Where they go: to every other client link, so that no echo goes round for ever.
    pub others: Routes,
    /// Numbers confirmed since the start, gaps included.
    pub confirmed: u64,
    /// Its outlets and their priorities, rising, the first of priority 0.
    pub lanes: Vec<(u8, usize)>,
    /// Messages in flight at most.
    pub window: usize,
    /// Whether it introduces itself.
    pub hello: bool,
    /// How a backlog is sent.
    pub replay: Replay,
    /// How much of it may be sent at this moment.
    pub pace: Pace,
    /// How carefully it sends.
    pub caution: Caution,
    /// Number of its connection.
    pub conn: u64,
    /// How many entries were sent on this connection.
    pub sent: u64,
    /// Settings that have yet to prove themselves.
    pub trial: Option<Trial>,
    /// Why older settings than those of the configuration are in force.
    pub went_back: Option<String>,
    /// The words of the failed dials since it was up last.
    pub refused_as: Vec<String>,
}

impl Line {
    /// A client link.
    pub fn of_client(own: &LinkSetup, now: Now) -> Line {
        let pace = Pace::new(own.replay, now.mono);
        let link = Link::new(own.rule.clone(), now.mono);
        Line { hello: own.hello, replay: own.replay, ..Line::new(&own.id, link, own.window, pace) }
    }

    /// The link to the broker.
    pub fn of_broker(own: &MqttSetup, now: Now) -> Line {
        let pace = Pace::new(Replay::default(), now.mono);
        Line::new("mqtt", Link::new(own.rule.clone(), now.mono), own.window, pace)
    }

    /// When it has something to do that no event announces.
    pub fn deadline(&self) -> Option<Time> {
        self.link.deadline().into_iter().chain(self.inbox.deadline()).min()
    }

    fn new(id: &str, link: Link, window: usize, pace: Pace) -> Line {
        Line {
            id: id.to_owned(),
            link,
            last_confirmed_ns: None,
            certificate_days_left: None,
            received: 0,
            inbox: Inbox::default(),
            others: Routes::default(),
            confirmed: 0,
            lanes: Vec::new(),
            window,
            hello: false,
            replay: Replay::default(),
            pace,
            caution: Caution::default(),
            conn: 0,
            sent: 0,
            trial: None,
            went_back: None,
            refused_as: Vec::new(),
        }
    }
}

/// Gives each outlet of the store to its link, which gets its lanes by it.
pub fn seat(links: &mut [Line], setup: &Setup, outlets: &[String]) -> Vec<Seat> {
    let owners: Vec<String> = (0..links.len()).map(|link| setup.outlet_of(link)).collect();
    let mut seats = Vec::new();
    for (outlet, name) in outlets.iter().enumerate() {
        let (owner, priority) = lane::parse(name);
        let link = owners.iter().position(|own| own == owner).expect("the store opens no others");
        links[link].lanes.push((priority, outlet));
        seats.push(Seat { link, priority, bounds: setup.bounds_of(link) });
    }
    links.iter_mut().for_each(|line| line.lanes.sort_unstable());
    let lanes: Vec<_> = links.iter().take(setup.links.len()).map(|line| line.lanes.clone()).collect();
    for (own, line) in links.iter_mut().enumerate() {
        let others = lanes.iter().enumerate().filter(|(link, _)| *link != own);
        line.others = Routes::over(&others.map(|(_, lanes)| lanes.clone()).collect::<Vec<_>>());
    }
    seats
}
