//! How large an envelope with several messages may be. A peer that closes with 1009 has a limit that is smaller than what it was
//! sent: it is looked for by halves, and kept for the link. Pure.

/// Envelopes are not made smaller than this: what is refused then is refused for one message's sake.
const LEAST: usize = 1024;
/// What an envelope adds to a message, about.
const OVERHEAD: usize = 128;

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
