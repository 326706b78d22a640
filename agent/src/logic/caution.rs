//! A message that makes the peer close the link: found by sending one at a time, then set aside, so that the rest flows on.
//! Pure.

/// Close codes that a message can bring about: not consistent with its type, against the policy, too big (RFC 6455 §7.4.1).
const BLAMING: [u16; 3] = [1007, 1008, 1009];
/// So often a message must make the peer close the link before it is set aside.
const STRIKES: u32 = 3;

/// A message of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspect {
    /// The outlet that it belongs to.
    pub outlet: usize,
    /// Its number there.
    pub seq: u64,
}

/// How carefully a link sends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caution {
    /// So many more messages are sent one at a time.
    careful: usize,
    suspect: Option<(Suspect, u32)>,
}

impl Caution {
    /// How many more messages may be in flight beside so many.
    pub fn room(&self, in_flight: usize) -> usize {
        if self.careful > 0 { 1_usize.saturating_sub(in_flight) } else { usize::MAX }
    }

    /// A message was confirmed.
    pub fn confirmed(&mut self, messages: u64) {
        self.careful = self.careful.saturating_sub(usize::try_from(messages).unwrap_or(usize::MAX));
    }

    /// The link was lost with this close code of the peer, with so many messages in flight of which this was sent first.
    /// Returns the one that is to be set aside.
    pub fn lost(&mut self, code: Option<u16>, in_flight: usize, first: Option<Suspect>) -> Option<Suspect> {
        if !code.is_some_and(|code| BLAMING.contains(&code)) {
            // A peer that confirms only after more than one message would wait for ever.
            self.careful = 0;
            return None;
        }
        let first = first?;
        self.careful = self.careful.max(in_flight);
        if in_flight > 1 {
            return None;
        }
        let strikes = self.suspect.filter(|(known, _)| *known == first).map_or(1, |(_, strikes)| strikes + 1);
        self.suspect = Some((first, strikes));
        if strikes < STRIKES {
            return None;
        }
        *self = Caution::default();
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Suspect = Suspect { outlet: 0, seq: 7 };

    #[test]
    fn the_third_close_with_only_that_message_in_flight_sets_it_aside() {
        let mut caution = Caution::default();
        assert_eq!(caution.lost(Some(1009), 40, Some(Suspect { outlet: 0, seq: 3 })), None);
        assert_eq!((caution.room(0), caution.room(1)), (1, 0), "it is looked for one at a time");
        caution.confirmed(4);
        assert_eq!(caution.lost(Some(1009), 1, Some(BAD)), None);
        assert_eq!(caution.lost(Some(1007), 1, Some(BAD)), None);
        assert_eq!(caution.lost(Some(1009), 1, Some(BAD)), Some(BAD));
        assert_eq!(caution.room(50), usize::MAX);
    }

    #[test]
    fn another_message_starts_the_count_anew() {
        let mut caution = Caution::default();
        for seq in [7, 8, 7, 8, 7] {
            assert_eq!(caution.lost(Some(1008), 1, Some(Suspect { outlet: 0, seq })), None);
        }
    }

    #[test]
    fn a_link_that_is_lost_for_another_reason_blames_nobody() {
        let mut caution = Caution::default();
        for code in [None, Some(1001), Some(1006), Some(1012), None] {
            assert_eq!(caution.lost(code, 1, Some(BAD)), None);
        }
        assert_eq!(caution.room(50), usize::MAX);
    }

    #[test]
    fn the_usual_window_comes_back_once_all_that_was_in_flight_has_passed() {
        let mut caution = Caution::default();
        caution.lost(Some(1008), 5, Some(BAD));
        caution.confirmed(4);
        assert_eq!(caution.room(0), 1);
        caution.confirmed(1);
        assert_eq!(caution.room(50), usize::MAX);
    }

    #[test]
    fn a_peer_that_confirms_nothing_one_at_a_time_gets_its_window_back() {
        let mut caution = Caution::default();
        caution.lost(Some(1008), 5, Some(BAD));
        caution.lost(None, 1, Some(BAD));
        assert_eq!(caution.room(50), usize::MAX);
    }
}
