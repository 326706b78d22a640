//! The sessions of all clients of a server: each has one connection at most, and may outlive it for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::downlink::Downlink;
use super::packet::Version;
use super::session::Session;
use crate::message::Message;
use crate::time::Time;

/// Owner of a session: the user, if there is a login, and the client identifier. So nobody takes over the session of
/// another user.
pub type Owner = (Option<String>, String);

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    known: BTreeMap<Owner, Client>,
    /// Most sessions without a connection.
    parked_max: usize,
    connections: u64,
}

/// One client: what goes to it, and where the rest of its session is.
#[derive(Debug)]
struct Client {
    place: Place,
    downlink: Downlink,
}

#[derive(Debug)]
enum Place {
    /// With the connection of this number.
    Connected(u64),
    Parked {
        session: Session,
        since: Time,
        until: Time,
    },
}

/// Outcome for a client that connects.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    /// It has the session from here on, over the connection of this number.
    Open {
        /// For [`Sessions::close`].
        number: u64,
        /// Session that was kept of it.
        kept: Option<Session>,
    },
    /// The connection of this number has it, and must end first (3.1.1 §3.1.4).
    Taken(u64),
}

impl Sessions {
    /// None yet, and so many without a connection at most.
    pub fn new(parked_max: usize) -> Sessions {
        Sessions { known: BTreeMap::new(), parked_max, connections: 0 }
    }

    /// A client connects; with `clean` it starts without what was kept.
    pub fn open(&mut self, now: Time, owner: &Owner, clean: bool) -> Opening {
        if let Some(Client { place: Place::Connected(number), .. }) = self.known.get(owner) {
            return Opening::Taken(*number);
        }
        self.connections += 1;
        let number = self.connections;
        let (kept, downlink) = match self.known.remove(owner) {
            Some(Client { place: Place::Parked { session, until, .. }, downlink })
                if !clean && now < until =>
            {
                (Some(session), downlink)
            }
            Some(_) | None => (None, Downlink::new(Version::V311)),
        };
        self.known.insert(owner.clone(), Client { place: Place::Connected(number), downlink });
        Opening::Open { number, kept }
    }

    /// What goes to a client, for the connection of this number.
    pub fn downlink(&mut self, owner: &Owner, number: u64) -> Option<&mut Downlink> {
        let client = self.known.get_mut(owner)?;
        matches!(client.place, Place::Connected(known) if known == number).then_some(&mut client.downlink)
    }

    /// Hands a message to every client that has subscribed to it. Returns the connections that have something to send by it.
    pub fn route(&mut self, now: Time, message: &Arc<Message>) -> Vec<u64> {
        let mut woken = Vec::new();
        for client in self.known.values_mut() {
            let number = match client.place {
                Place::Connected(number) => Some(number),
                Place::Parked { until, .. } if now < until => None,
                Place::Parked { .. } => continue,
            };
            if client.downlink.offer(now, message, number.is_some()) {
                woken.extend(number);
            }
        }
        woken
    }

    /// Messages for clients that were given up since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        self.known.values_mut().map(|client| client.downlink.take_lost()).sum()
    }

    /// Bytes that all of it takes, about: what goes to clients, and the sessions without a connection.
    pub fn weight(&self) -> usize {
        let weight = |(owner, client): (&Owner, &Client)| match &client.place {
            Place::Connected(_) => client.downlink.weight(),
            Place::Parked { session, .. } => {
                let names = owner.0.as_ref().map_or(0, String::len) + owner.1.len();
                client.downlink.weight() + session.weight() + names
            }
        };
        self.known.iter().map(weight).sum()
    }

    /// Gives something up since there is no room: sessions that are over, then the oldest message of the client for which most waits, then
    /// the session that has been without a connection for the longest time. Returns whether there was anything.
    pub fn give_way(&mut self, now: Time) -> bool {
        self.forget_over(now)
            || self
                .known
                .values_mut()
                .max_by_key(|client| client.downlink.waiting_bytes())
                .is_some_and(|client| client.downlink.drop_oldest())
            || self.forget_oldest()
    }

    /// The connection of this number has ended; what is left of its session is kept for so long.
    pub fn close(
        &mut self,
        now: Time,
        owner: &Owner,
        number: u64,
        session: Option<Session>,
        expiry: Duration,
    ) {
        if self.downlink(owner, number).is_none() {
            return;
        }
        let Some(Client { mut downlink, .. }) = self.known.remove(owner) else { return };
        let Some(session) = session.filter(|_| !expiry.is_zero()) else { return };
        self.make_room(now);
        downlink.disconnected();
        let place = Place::Parked { session, since: now, until: now + expiry };
        self.known.insert(owner.clone(), Client { place, downlink });
    }

    /// Whether a client is connected.
    pub fn is_connected(&self, owner: &Owner) -> bool {
        self.known.get(owner).is_some_and(|client| matches!(client.place, Place::Connected(_)))
    }

    /// Gives up what is over, and then what has been without a connection for the longest time.
    fn make_room(&mut self, now: Time) {
        self.forget_over(now);
        let parked =
            self.known.values().filter(|client| matches!(client.place, Place::Parked { .. })).count();
        if parked >= self.parked_max {
            self.forget_oldest();
        }
    }

    fn forget_over(&mut self, now: Time) -> bool {
        let before = self.known.len();
        self.known.retain(|_, client| match client.place {
            Place::Connected(_) => true,
            Place::Parked { until, .. } => now < until,
        });
        self.known.len() < before
    }

    fn forget_oldest(&mut self) -> bool {
        let parked = self.known.iter().filter_map(|(owner, client)| match client.place {
            Place::Connected(_) => None,
            Place::Parked { since, .. } => Some((since, owner)),
        });
        let oldest = parked.min().map(|(_, owner)| owner.clone());
        oldest.is_some_and(|owner| self.known.remove(&owner).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::grant::Grant;
    use super::super::packet::{QoS, Subscribe};
    use super::*;
    use crate::message::{Boot, Clock, Format};

    fn at(s: u64) -> Time {
        Time::default() + Duration::from_secs(s)
    }

    fn owner(id: &str) -> Owner {
        (None, id.to_owned())
    }

    fn session() -> Session {
        Session::new(Version::V311, 10)
    }

    fn opened(sessions: &mut Sessions, s: u64, id: &str, clean: bool) -> (u64, Option<Session>) {
        match sessions.open(at(s), &owner(id), clean) {
            Opening::Open { number, kept } => (number, kept),
            Opening::Taken(number) => panic!("{number} has it"),
        }
    }

    #[test]
    fn a_session_is_kept_for_its_time_and_a_clean_start_forgets_it() {
        let mut sessions = Sessions::new(10);
        for (back, clean, expected) in [(9, false, true), (10, false, false), (9, true, false)] {
            let (number, kept) = opened(&mut sessions, 0, "a", true);
            assert_eq!(kept, None);
            sessions.close(at(0), &owner("a"), number, Some(session()), Duration::from_secs(10));
            let (number, kept) = opened(&mut sessions, back, "a", clean);
            assert_eq!(kept.is_some(), expected, "{back} {clean}");
            sessions.close(at(back), &owner("a"), number, Some(session()), Duration::ZERO);
            assert!(sessions.known.is_empty());
        }
    }

    #[test]
    fn a_client_has_one_connection_and_the_one_that_was_replaced_closes_nothing() {
        let mut sessions = Sessions::new(10);
        let (first, _) = opened(&mut sessions, 0, "a", true);
        assert_eq!(sessions.open(at(0), &owner("a"), true), Opening::Taken(first));
        sessions.close(at(0), &owner("a"), first, Some(session()), Duration::ZERO);
        let (second, _) = opened(&mut sessions, 0, "a", true);
        sessions.close(at(0), &owner("a"), first, Some(session()), Duration::ZERO);
        assert!(sessions.is_connected(&owner("a")), "{second} is there");
        let other = (Some("pump".to_owned()), "a".to_owned());
        assert!(matches!(sessions.open(at(0), &other, true), Opening::Open { .. }), "another user");
    }

    #[test]
    fn there_is_a_bound_and_the_one_that_was_away_for_the_longest_time_gives_way() {
        let mut sessions = Sessions::new(2);
        for (s, id) in [(1, "b"), (2, "a"), (3, "c")] {
            let (number, _) = opened(&mut sessions, s, id, true);
            sessions.close(at(s), &owner(id), number, Some(session()), Duration::from_secs(100));
        }
        let kept = ["a", "b", "c"].map(|id| opened(&mut sessions, 4, id, false).1.is_some());
        assert_eq!(kept, [true, false, true]);
    }

    fn reading(sessions: &mut Sessions, s: u64, id: &str) -> u64 {
        let (number, _) = opened(sessions, s, id, false);
        let grant = Grant::of(&["#".to_owned()], id, None);
        let filters = vec![("t".to_owned(), QoS::AtLeastOnce)];
        let downlink = sessions.downlink(&owner(id), number).unwrap();
        assert_eq!(downlink.subscribe(&grant, &Subscribe { id: 1, filters, number: None }), [1]);
        number
    }

    fn message() -> Arc<Message> {
        Arc::new(Message {
            id: 1,
            time_ns: 0,
            clock: Clock::Synced,
            boot: Boot(0),
            up_ns: 0,
            topic: "t".to_owned(),
            device: None,
            source: "client:cloud".into(),
            format: Format::Text,
            payload: vec![0; 1000],
            attributes: Vec::new(),
            ttl_s: None,
        })
    }

    #[test]
    fn what_comes_while_a_client_is_away_waits_for_it_with_its_session() {
        let mut sessions = Sessions::new(10);
        let number = reading(&mut sessions, 0, "a");
        assert_eq!(sessions.route(at(0), &message()), [number]);
        sessions.close(at(1), &owner("a"), number, Some(session()), Duration::from_secs(10));
        assert_eq!(sessions.route(at(2), &message()), [0; 0]);
        let (number, kept) = opened(&mut sessions, 3, "a", false);
        assert!(kept.is_some());
        let downlink = sessions.downlink(&owner("a"), number).unwrap();
        assert_eq!(std::iter::from_fn(|| downlink.next(at(3))).count(), 2);
        assert!(sessions.downlink(&owner("a"), number - 1).is_none(), "that connection has ended");
        sessions.close(at(4), &owner("a"), number, Some(session()), Duration::from_secs(10));
        let (number, _) = opened(&mut sessions, 5, "a", true);
        assert_eq!(sessions.route(at(5), &message()), [0; 0], "a clean start has no subscription: {number}");
    }

    #[test]
    fn without_room_messages_give_way_first_and_then_sessions_until_nothing_is_left() {
        let mut sessions = Sessions::new(10);
        for (s, id, expiry) in [(1, "b", 100), (2, "a", 100), (3, "over", 1)] {
            let number = reading(&mut sessions, s, id);
            sessions.close(at(s), &owner(id), number, Some(session()), Duration::from_secs(expiry));
        }
        sessions.route(at(5), &message());
        let mut weights = vec![sessions.weight()];
        while sessions.give_way(at(10)) {
            weights.push(sessions.weight());
        }
        assert_eq!(
            (weights.len(), sessions.take_lost()),
            (6, 0),
            "over, two messages, two sessions: {weights:?}"
        );
        assert!(weights.is_sorted_by(|before, after| before > after) && weights.last() == Some(&0));
        assert!(sessions.known.is_empty());
    }
}
