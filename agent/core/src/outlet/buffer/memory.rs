//! How much waits in memory. A message counts once, however many outlets it waits in: they share it.

use std::collections::VecDeque;

/// What a message costs in each outlet where it waits, beside itself.
const PLACE_BYTES: usize = 64;

/// The messages that wait in any outlet's memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// In the order of their ids.
    messages: VecDeque<Shared>,
    bytes: usize,
}

#[derive(Debug)]
struct Shared {
    id: u64,
    weight: usize,
    /// In how many outlets it waits.
    places: usize,
}

impl Memory {
    /// Notes a message with the highest id so far, which waits in so many outlets.
    pub(super) fn add(&mut self, id: u64, weight: usize, places: usize) {
        if places > 0 {
            self.messages.push_back(Shared { id, weight, places });
            self.bytes += weight + places * PLACE_BYTES;
        }
    }

    /// Notes that a message has left one outlet's memory.
    pub(super) fn release(&mut self, id: u64) {
        let Ok(at) = self.messages.binary_search_by_key(&id, |shared| shared.id) else { return };
        let Some(shared) = self.messages.get_mut(at).filter(|shared| shared.places > 0) else { return };
        shared.places -= 1;
        self.bytes -= PLACE_BYTES;
        if shared.places == 0 {
            self.bytes -= shared.weight;
        }
        while self.messages.pop_front_if(|shared| shared.places == 0).is_some() {}
    }

    /// Bytes of all that waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_once_until_the_last_outlet_lets_go_of_it() {
        let mut memory = Memory::default();
        memory.add(7, 1000, 3);
        memory.add(9, 10, 1);
        assert_eq!(memory.bytes(), 1010 + 4 * PLACE_BYTES);
        memory.release(7);
        memory.release(9);
        memory.release(7);
        assert_eq!(memory.bytes(), 1000 + PLACE_BYTES);
        memory.release(7);
        assert_eq!(memory.bytes(), 0);
        assert!(memory.messages.is_empty());
    }

    #[test]
    fn what_is_not_there_releases_nothing() {
        let mut memory = Memory::default();
        memory.add(1, 5, 0);
        memory.add(2, 5, 1);
        memory.release(1);
        memory.release(3);
        assert_eq!(memory.bytes(), 5 + PLACE_BYTES);
    }
}
