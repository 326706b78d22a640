//! The sessions of all clients of a server: each has one connection at most, and may outlive it for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use super::session::Session;
use crate::time::Time;

/// Owner of a session: the user, if there is a login, and the client identifier. So nobody takes over the session of
/// another user.
pub type Owner = (Option<String>, String);

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    known: BTreeMap<Owner, State>,
    /// Most sessions without a connection.
    parked_max: usize,
    connections: u64,
}

#[derive(Debug)]
enum State {
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
        if let Some(State::Connected(number)) = self.known.get(owner) {
            return Opening::Taken(*number);
        }
        self.connections += 1;
        let number = self.connections;
        let before = self.known.insert(owner.clone(), State::Connected(number));
        let kept = match before {
            Some(State::Parked { session, until, .. }) if !clean && now < until => Some(session),
            Some(State::Parked { .. } | State::Connected(_)) | None => None,
        };
        Opening::Open { number, kept }
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
        if !matches!(self.known.get(owner), Some(State::Connected(known)) if *known == number) {
            return;
        }
        self.known.remove(owner);
        let Some(session) = session.filter(|_| !expiry.is_zero()) else { return };
        self.make_room(now);
        self.known.insert(owner.clone(), State::Parked { session, since: now, until: now + expiry });
    }

    /// Whether a client is connected.
    pub fn is_connected(&self, owner: &Owner) -> bool {
        matches!(self.known.get(owner), Some(State::Connected(_)))
    }

    /// Gives up what is over, and then what has been without a connection for the longest time.
    fn make_room(&mut self, now: Time) {
        let parked = |state: &State| match state {
            State::Connected(_) => None,
            State::Parked { since, until, .. } => Some((*since, *until)),
        };
        self.known.retain(|_, state| parked(state).is_none_or(|(_, until)| now < until));
        let all: Vec<(Time, Owner)> = self
            .known
            .iter()
            .filter_map(|(owner, state)| parked(state).map(|(since, _)| (since, owner.clone())))
            .collect();
        if all.len() >= self.parked_max
            && let Some((_, oldest)) = all.into_iter().min()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::Version;
    use super::*;

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
}
