//! What a peer has sent of its own and the buffer has not taken yet. A peer cannot be told to come again, and its pongs stand
//! behind its messages, so they are read on and wait here; what finds no room is given up, and counted. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::source::intake::Draft;
use crate::time::Time;

/// Messages that may wait.
const MESSAGES_MAX: usize = 1024;
/// Bytes of their payloads.
const BYTES_MAX: usize = 1 << 20;
/// Pause before a buffer that was busy is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// Messages of one peer that wait for the buffer.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: VecDeque<Draft>,
    bytes: usize,
    again_at: Option<Time>,
    dropped: u64,
}

impl Inbox {
    /// Adds a message behind the others; false when it was given up.
    pub fn push(&mut self, draft: Draft) -> bool {
        let fits = self.waiting.len() < MESSAGES_MAX && self.bytes + draft.payload.len() <= BYTES_MAX;
        if !fits {
            self.give_up(1);
            return false;
        }
        self.bytes += draft.payload.len();
        self.waiting.push_back(draft);
        true
    }

    /// Takes out what may be offered to the buffer; none when there is nothing, or the buffer has its pause.
    pub fn take(&mut self, now: Time) -> Option<Vec<Draft>> {
        if self.waiting.is_empty() || self.again_at.is_some_and(|at| at > now) {
            return None;
        }
        (self.bytes, self.again_at) = (0, None);
        Some(self.waiting.drain(..).collect())
    }

    /// Puts back what the buffer did not take, for later.
    pub fn put_back(&mut self, now: Time, drafts: Vec<Draft>) {
        self.again_at = Some(now + PAUSE);
        self.bytes = drafts.iter().map(|draft| draft.payload.len()).sum();
        self.waiting = drafts.into();
    }

    /// Gives up what waits, for good. Tells how many messages.
    pub fn close(&mut self) -> usize {
        let left = std::mem::take(&mut self.waiting).len();
        (self.bytes, self.again_at) = (0, None);
        self.give_up(left);
        left
    }

    /// Notes that messages were given up.
    pub fn give_up(&mut self, messages: usize) {
        self.dropped = self.dropped.saturating_add(u64::try_from(messages).unwrap_or(u64::MAX));
    }

    /// How many messages were given up.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// When the buffer is to be asked again.
    pub fn deadline(&self) -> Option<Time> {
        self.again_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Format;

    fn draft(bytes: usize) -> Draft {
        Draft {
            topic: "t".into(),
            device: None,
            source: "client:a".into(),
            format: Format::Binary,
            payload: vec![0; bytes],
            attributes: Vec::new(),
            priority: 0,
            ttl_s: None,
        }
    }

    #[test]
    fn what_was_put_back_comes_first_and_after_a_pause() {
        let mut inbox = Inbox::default();
        let now = Time::default();
        assert!(inbox.push(draft(1)));
        let taken = inbox.take(now).unwrap();
        inbox.put_back(now, taken);
        assert!(inbox.push(draft(2)));
        assert_eq!(inbox.take(now), None);
        assert_eq!(inbox.deadline(), Some(now + PAUSE));
        assert_eq!(inbox.take(now + PAUSE), Some(vec![draft(1), draft(2)]));
        assert_eq!((inbox.take(now + PAUSE), inbox.deadline(), inbox.dropped()), (None, None, 0));
    }

    #[test]
    fn it_holds_so_many_messages_and_so_many_bytes_and_counts_what_it_gives_up() {
        let mut inbox = Inbox::default();
        assert_eq!((0..MESSAGES_MAX + 3).filter(|_| inbox.push(draft(0))).count(), MESSAGES_MAX);
        assert_eq!(inbox.dropped(), 3);
        let mut inbox = Inbox::default();
        assert!(inbox.push(draft(BYTES_MAX)));
        assert!(!inbox.push(draft(1)));
        assert_eq!(inbox.take(Time::default()).map(|taken| taken.len()), Some(1));
        assert!(inbox.push(draft(1)), "what was taken makes room");
    }
}
