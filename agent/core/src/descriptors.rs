//! How many descriptors the callers of servers may have, so that links, the store and the control socket always find one.
//!
//! The kernel gives the lowest number that is free (POSIX open(2)). So nothing has to be counted: a caller whose socket got a
//! number in the reserve is turned away, and the numbers in the reserve are only ever taken by those for whom it is kept.

/// The agent itself: standard streams, the loop's own, signals, the store with its lock and its log.
const OWN: u64 = 24;
/// The store that is opened anew, the small files beside it, secrets and certificates that are read again.
const STORE: u64 = 12;
/// Two look-ups of names with their sockets and files.
const RESOLVER: u64 = 8;
/// Callers of the control socket.
const CONTROL: u64 = 4;
/// Callers that are being turned away because only the reserve is left.
pub const TURNED_AWAY: usize = 2;
/// A link and the address or endpoint that is tried beside it.
const LINK: u64 = 2;

/// Needs of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Links, the one to the broker among them.
    pub links: u64,
    /// Sockets that are listened on.
    pub listeners: u64,
    /// Descriptors of the callers of all servers together, with the files that they read.
    pub callers: u64,
}

/// Numbers of descriptors from which on a caller may have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    servers: u64,
    control: u64,
}

impl Needs {
    /// How many descriptors serve everybody at the same time.
    pub fn total(self) -> u64 {
        OWN + self.listeners + self.callers + self.reserve()
    }

    fn reserve(self) -> u64 {
        let turned_away = u64::try_from(TURNED_AWAY).unwrap_or(u64::MAX);
        STORE + RESOLVER + CONTROL + turned_away + LINK.saturating_mul(self.links)
    }

    /// The limit to ask for, where the one in force is `soft` and may be raised to `hard`.
    pub fn limit(self, soft: u64, hard: u64) -> u64 {
        soft.max(self.total()).min(hard.max(soft))
    }

    /// Words about a `limit` that is too low.
    pub fn warning(self, limit: u64) -> Option<String> {
        let needed = self.total();
        (needed > limit).then(|| {
            format!(
                "limits.connections of all servers and {} links may need {needed} descriptors, and there are {limit} \
                 (LimitNOFILE= of the unit, or ulimit -Hn): callers have to wait when they are used up",
                self.links
            )
        })
    }

    /// Where callers end with this limit. Half of all is theirs, even where the links alone would need more.
    pub fn ceilings(self, limit: u64) -> Ceilings {
        let servers = limit - self.reserve().min(limit / 2);
        Ceilings { servers, control: servers.saturating_add(CONTROL) }
    }
}

impl Ceilings {
    /// Whether this number is kept from a caller of a server, or from one of the control socket.
    pub fn keep(self, number: u64, is_control: bool) -> bool {
        number >= if is_control { self.control } else { self.servers }
    }
}

impl Default for Ceilings {
    /// Nothing is kept.
    fn default() -> Ceilings {
        Ceilings { servers: u64::MAX, control: u64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_LINK: Needs = Needs { links: 1, listeners: 2, callers: 256 };

    #[test]
    fn callers_end_where_the_reserve_begins_and_those_of_the_control_socket_a_little_later() {
        let ceilings = ONE_LINK.ceilings(64);
        let kept = STORE + RESOLVER + CONTROL + 2 + LINK;
        assert!(!ceilings.keep(63 - kept, false) && ceilings.keep(64 - kept, false));
        assert!(!ceilings.keep(64 - kept + CONTROL - 1, true) && ceilings.keep(64 - kept + CONTROL, true));
    }

    #[test]
    fn every_link_adds_to_the_reserve_but_half_is_left_to_callers() {
        let of = |links| Needs { links, ..ONE_LINK }.ceilings(1024);
        assert_eq!(of(1).servers - of(11).servers, 10 * LINK);
        assert_eq!(of(10_000).servers, 512);
        assert_eq!(Needs::default().ceilings(0), Ceilings { servers: 0, control: CONTROL });
    }

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_permitted_and_never_lowered() {
        let needed = ONE_LINK.total();
        assert_eq!(ONE_LINK.limit(64, 4096), needed);
        assert_eq!(ONE_LINK.limit(64, 100), 100);
        assert_eq!(ONE_LINK.limit(1024, 524_288), 1024);
        assert_eq!(ONE_LINK.limit(1024, 64), 1024);
    }

    #[test]
    fn a_limit_that_is_too_low_is_told_with_what_would_be_needed() {
        assert_eq!(ONE_LINK.warning(ONE_LINK.total()), None);
        let warning = ONE_LINK.warning(64).unwrap();
        assert!(
            warning.contains(&ONE_LINK.total().to_string()) && warning.contains("there are 64"),
            "{warning}"
        );
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        assert!(!Ceilings::default().keep(u64::MAX - 1, false));
    }
}
