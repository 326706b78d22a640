//! How large an envelope with several messages may be. A peer that closes with 1009 has a limit that is smaller than what it was
//! sent: it is looked for by halves, and kept for the link, over restarts as well. Pure.

use serde::{Deserialize, Serialize};

/// Envelopes are not made smaller than this: what is refused then is refused for one message's sake.
const LEAST: usize = 1024;
/// What an envelope adds to a message, about.
const OVERHEAD: usize = 128;

/// Starts of the agent after which a kept limit is looked for anew: the peer may have been given a larger one.
const STARTS: u64 = 16;

/// A limit that a peer has shown, as the numbers file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLimit {
    /// Where the link may connect to, without secrets: elsewhere it says nothing.
    pub places: Vec<String>,
    /// The limit.
    pub bytes: u64,
    /// The start of the agent in which it was learnt.
    pub session: u64,
}

impl KeptLimit {
    /// Whether it still says something in this start of the agent.
    pub fn holds(&self, session: u64) -> bool {
        session.saturating_sub(self.session) < STARTS
    }
}

/// The limit of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimit {
    configured: usize,
    bytes: usize,
    /// Bytes of the largest message that the peer took: it takes frames of at least so many.
    taken: usize,
}

impl FrameLimit {
    /// That of the configuration.
    pub fn new(configured: usize) -> FrameLimit {
        FrameLimit { configured, bytes: configured, taken: 0 }
    }

    /// The same, unless an earlier run has kept a smaller one that holds here.
    pub fn resumed(
        configured: usize,
        kept: Option<&KeptLimit>,
        places: &[String],
        session: u64,
    ) -> FrameLimit {
        let kept = kept.filter(|kept| kept.places == places && kept.holds(session));
        let kept =
            kept.map_or(configured, |kept| usize::try_from(kept.bytes).unwrap_or(usize::MAX).max(LEAST));
        FrameLimit { bytes: configured.min(kept), ..FrameLimit::new(configured) }
    }

    /// The limit in force.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// The limit in force, if the peer's closing has shown it.
    pub fn learned(self) -> Option<usize> {
        (self.bytes < self.configured).then_some(self.bytes)
    }

    /// The peer took a message of so many bytes.
    pub fn took(&mut self, bytes: usize) {
        self.taken = self.taken.max(bytes);
    }

    /// The peer closed because something was too large, with this number of messages in flight, this many bytes together, and
    /// `largest` the largest of them. Returns whether a smaller limit is in force from here on. If not, one message alone may be
    /// too large, and is to be found.
    pub fn refused(&mut self, messages: usize, bytes: usize, largest: usize) -> bool {
        let bytes = bytes.saturating_add(messages.saturating_mul(OVERHEAD));
        let smaller = (self.bytes.min(bytes) / 2).max(self.taken).max(LEAST);
        let is_smaller = smaller < self.bytes;
        if messages < 2 || largest > smaller || !is_smaller {
            // What it took once it may not take any longer.
            self.taken = if is_smaller { self.taken } else { 0 };
            return false;
        }
        self.bytes = smaller;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KB: usize = 1024;

    #[test]
    fn each_close_halves_the_limit_and_what_is_taken_keeps_it_up() {
        let mut limit = FrameLimit::new(64 * KB);
        assert_eq!(limit.learned(), None);
        assert!(limit.refused(1000, 200 * KB, 200));
        assert!(limit.refused(1000, 200 * KB, 200));
        assert!(limit.refused(1000, 200 * KB, 200));
        assert_eq!((limit.bytes(), limit.learned()), (8 * KB, Some(8 * KB)));
        limit.took(7 * KB);
        assert!(limit.refused(3, 12 * KB, 200));
        assert_eq!(limit.bytes(), 7 * KB);
    }

    #[test]
    fn a_batch_smaller_than_the_limit_says_more_than_the_limit() {
        let mut limit = FrameLimit::new(64 * KB);
        assert!(limit.refused(40, 7 * KB, 170));
        assert_eq!(limit.bytes(), 6 * KB);
    }

    #[test]
    fn a_message_that_is_too_large_alone_teaches_nothing() {
        let mut limit = FrameLimit::new(64 * KB);
        assert!(!limit.refused(1, 60 * KB, 60 * KB));
        assert!(!limit.refused(20, 64 * KB, 60 * KB), "it may be the large one among them");
        assert_eq!(limit.learned(), None);
        limit.took(60 * KB);
        assert!(limit.refused(20, 80 * KB, 60 * KB), "the large one was taken before");
        assert_eq!(limit.bytes(), 60 * KB);
    }

    #[test]
    fn what_was_kept_holds_for_the_same_places_and_some_starts() {
        let places = ["ws://a/".to_owned()];
        let kept = KeptLimit { places: places.to_vec(), bytes: 8 * KB as u64, session: 3 };
        let resumed = |configured, places: &[String], session| {
            FrameLimit::resumed(configured, Some(&kept), places, session).bytes()
        };
        assert_eq!(resumed(64 * KB, &places, 4), 8 * KB);
        assert_eq!(FrameLimit::resumed(64 * KB, Some(&kept), &places, 18).learned(), Some(8 * KB));
        assert_eq!(resumed(64 * KB, &places, 19), 64 * KB, "it is looked for anew");
        assert_eq!(resumed(64 * KB, &["ws://b/".to_owned()], 4), 64 * KB);
        assert_eq!(resumed(4 * KB, &places, 4), 4 * KB, "the configuration wants less");
        let nonsense = KeptLimit { bytes: 0, ..kept };
        assert_eq!(FrameLimit::resumed(64 * KB, Some(&nonsense), &places, 4).bytes(), LEAST);
    }

    #[test]
    fn there_is_an_end_to_it_and_a_peer_that_takes_less_than_before_is_believed() {
        let mut limit = FrameLimit::new(8 * KB);
        while limit.refused(9, 64 * KB, 100) {}
        assert_eq!(limit.bytes(), LEAST);
        let mut limit = FrameLimit::new(8 * KB);
        limit.took(8 * KB);
        assert!(!limit.refused(9, 64 * KB, 100));
        assert!(limit.refused(9, 64 * KB, 100));
    }
}
