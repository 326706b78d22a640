//! What people give up: the store does it and reports it, and the buffer counts it like what gives way at a bound.

use super::{Buffer, BufferEffect};
use crate::ids::OutletId;
use crate::observe::log_event::LogEvent;

impl Buffer {
    /// Everything that was stored for an outlet is given up. What is on its way to the disk was not, and goes on; so nobody
    /// waits for an answer about what is gone.
    pub(super) fn purged(
        &mut self,
        outlet: OutletId,
        messages: u64,
        gap: Option<(u64, u64)>,
        out: &mut Vec<BufferEffect>,
    ) {
        self.dropped += messages;
        self.outlets[outlet].queue.given_up.dropped += messages;
        self.outlets[outlet].queue.reread();
        if let Some((from, to)) = gap {
            let outlet = self.outlets[outlet].queue.name.clone();
            out.push(BufferEffect::Note(LogEvent::Purged { outlet, messages, from, to }));
        }
    }
}
