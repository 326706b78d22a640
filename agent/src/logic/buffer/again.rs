//! Messages that come in again: from an export, or from the dead letters.

use std::sync::Arc;

use super::{Buffer, BufferEffect, count};
use crate::logic::intake::{Answer, Refused};
use crate::logic::time::Now;
use crate::message::Message;

impl Buffer {
    /// Takes messages for one outlet, or refuses all of them; answered now or later. They keep everything but their ids.
    pub fn take_again(
        &mut self,
        now: Now,
        ticket: u64,
        messages: Vec<Message>,
        outlet: usize,
        out: &mut Vec<BufferEffect>,
    ) {
        if let Err(refused) = self.admit(now, messages.len(), &[outlet]) {
            if refused == Refused::Full {
                self.became_full(out);
            }
            self.refused += count(messages.len());
            return out.push(BufferEffect::Answer(ticket, Answer::Refused(refused)));
        }
        let first = self.ids.next;
        for message in messages {
            self.accepted.bytes += count(message.payload.len());
            let message = Arc::new(Message { id: self.ids.next, ..message });
            self.ids.next += 1;
            self.outboxes[outlet].push_again(now.mono, message);
        }
        self.accepted.messages += self.ids.next - first;
        self.accepts.add(ticket, first, self.ids.next - 1, 1);
    }
}
