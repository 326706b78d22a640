//! Messages that come in again: from an export, or from the dead letters.

use std::sync::Arc;

use super::memory::{Holder, cost};
use super::{Buffer, BufferEffect, count};
use crate::ids::{OutletId, RequestId};
use crate::message::Message;
use crate::source::intake::Refused;
use crate::time::Now;

/// Name of their holder while they wait in memory.
const AGAIN: &str = "again";

impl Buffer {
    /// Takes messages for one outlet, or refuses all of them; answered now or later. They keep everything but their ids.
    pub fn take_again(
        &mut self,
        now: Now,
        request: RequestId,
        messages: Vec<Message>,
        outlet: OutletId,
        out: &mut Vec<BufferEffect>,
    ) {
        let holder = Holder::Source(AGAIN.into());
        let bytes = messages.iter().map(|message| cost(message.weight(), 1)).sum();
        let closed = self.admit(now, &holder, (messages.len(), bytes), &[outlet]);
        if let Some(refused) =
            closed.map_or_else(Some, |closed| (!closed.is_empty()).then_some(Refused::Full))
        {
            return self.refuse(Some(request), messages.len(), refused, out);
        }
        let first = self.ids.next;
        for message in messages {
            self.accepted.bytes += count(message.payload.len());
            let message = Arc::new(Message { id: self.ids.next, ..message });
            self.ids.next += 1;
            self.memory.add(message.id, &holder, message.weight(), 1);
            self.outlets[outlet].queue.push_again(now.mono, message);
        }
        self.accepted.messages += self.ids.next - first;
        self.accepts.add(now.mono, request, (first, self.ids.next - 1), self.ids.next - first);
    }
}
