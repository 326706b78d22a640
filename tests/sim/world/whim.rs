//! What peers and people do as they please.

use std::time::Duration;

use holdfast_core::agent::Event;
use holdfast_core::ids::{ConnectionId, OutletId};
use holdfast_core::link::closing::Closing;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::protocol::{Heard, LinkReport, Refusal, RefusalKind};

use super::network::Unwilling;
use super::{MS, Pending, World};
use crate::disk::Mood;

impl World {
    pub(super) fn refusal(&mut self) -> Refusal {
        let retry_after = (self.seed.below(2) == 0).then(|| Duration::from_secs(self.seed.below(10)));
        let asks = match self.seed.below(3) {
            0 => RefusalKind::Retry,
            1 => RefusalKind::Unauthorized,
            _ => RefusalKind::Busy { retry_after },
        };
        Refusal::new(DialError::Http { status: 500, asks }, "refused")
    }

    /// A connection may end with any code, whatever was sent on it.
    pub(super) fn close_code(&mut self) -> Option<u16> {
        let code = self.one_of(&[0, 1001, 1012, 1013, 1003, 1007, 1008, 1009, 4401]);
        (code > 0).then_some(code)
    }

    pub(super) fn unwilling(&mut self) -> Option<Unwilling> {
        match self.seed.below(12) {
            0 => Some(Unwilling::Deaf(self.one_of(&[1003, 1007, 1008, 1009, 4403]))),
            1 => Some(Unwilling::Refuses(self.one_of(&[1008, 3000, 4001, 4401, 4403]))),
            _ => None,
        }
    }

    pub(super) fn one_of(&mut self, codes: &[u16]) -> u16 {
        codes[usize::try_from(self.seed.below(codes.len() as u64)).expect("small")]
    }

    pub(super) fn purge(&mut self) -> Result<(), String> {
        if self.agent.is_none() || self.disk.outlets() == 0 || self.disk.mood != Mood::Well {
            return Ok(());
        }
        let outlet = usize::try_from(self.seed.below(self.disk.outlets() as u64)).expect("small");
        let (report, facts) = self.disk.purge(OutletId(outlet));
        self.feed(Event::Disk(report, facts))
    }

    /// The peer closes, and hears nothing more on this connection.
    pub(super) fn hang_up(&mut self, link: usize, conn: ConnectionId, code: u16) -> Result<(), String> {
        let Some(at) = &mut self.conns[link] else { return Ok(()) };
        at.up = false;
        at.down_at = at.down_at.max(self.now + 1);
        let (arrives_at, error) = (at.down_at, "the message is too big".to_owned());
        let report = LinkReport::Closed { closing: Closing::of(Some(code), ""), error };
        self.at(arrives_at, Pending::ToAgent { link, conn, report });
        Ok(())
    }

    /// A peer that is connected sends something of its own, which goes to every other link and never back.
    pub(super) fn speak(&mut self) -> Result<(), String> {
        let link = usize::try_from(self.seed.below(self.links.len() as u64)).expect("small");
        let Some(at) = self.conns[link].as_ref().filter(|at| at.up && !at.is_half_open()) else {
            return Ok(());
        };
        let conn = at.conn;
        let mut draft = self.draft();
        draft.payload = format!("{}{}", word_of(link), self.offered).into_bytes();
        draft.source = format!("client:{link}").into();
        self.tally.heard += 1;
        let report = LinkReport::Inbound(Heard::Message(draft));
        self.after(40 * MS, Pending::ToAgent { link, conn, report });
        Ok(())
    }

    /// No peer got back what it had sent.
    pub(super) fn judge_echoes(&self) -> Result<(), String> {
        for (link, peer) in self.peers.iter().take(self.links.len()).enumerate() {
            if peer.has_one_that_begins_with(word_of(link).as_bytes()) {
                return Err(format!("link {link} got back what it had sent"));
            }
        }
        Ok(())
    }
}

/// What the payloads of a peer begin with.
fn word_of(link: usize) -> String {
    format!("from {link}: ")
}
