//! What peers and people do as they please.

use std::time::Duration;

use holdfast::logic::agent::{Event, LinkSetup};
use holdfast::logic::lane;
use holdfast::logic::port::{Heard, LinkReport, Refusal, RefusalKind};

use super::{MS, Pending, World};

impl World {
    pub(super) fn refusal(&mut self) -> Refusal {
        let retry_after = (self.seed.below(2) == 0).then(|| Duration::from_secs(self.seed.below(10)));
        let kind = match self.seed.below(3) {
            0 => RefusalKind::Retry,
            1 => RefusalKind::Unauthorized,
            _ => RefusalKind::Busy { retry_after },
        };
        Refusal { kind, error: "refused".to_owned() }
    }

    pub(super) fn close_code(&mut self) -> Option<u16> {
        [None, Some(1001), Some(1012), Some(1013)][usize::try_from(self.seed.below(4)).expect("small")]
    }

    pub(super) fn purge(&mut self) -> Result<(), String> {
        if self.agent.is_none() || self.disk.outlets() == 0 {
            return Ok(());
        }
        let outlet = usize::try_from(self.seed.below(self.disk.outlets() as u64)).expect("small");
        let (report, facts) = self.disk.purge(outlet);
        self.feed(Event::Disk(report, facts))
    }

    /// The peer closes, and hears nothing more on this connection.
    pub(super) fn hang_up(&mut self, link: usize, conn: u64) -> Result<(), String> {
        self.tally.choked += 1;
        let code = [1007, 1008, 1009][usize::try_from(self.seed.below(3)).expect("small")];
        let Some(at) = &mut self.conns[link] else { return Ok(()) };
        at.up = false;
        at.down_at = at.down_at.max(self.now + 1);
        let (arrives_at, error) = (at.down_at, "the message is too big".to_owned());
        let report = LinkReport::Closed { code: Some(code), error };
        self.at(arrives_at, Pending::ToAgent { link, conn, report });
        Ok(())
    }

    /// A peer that is connected sends something of its own, which goes to every other link and never back.
    pub(super) fn speak(&mut self) -> Result<(), String> {
        let link = usize::try_from(self.seed.below(self.links.len() as u64)).expect("small");
        let Some(at) = self.conns[link].as_ref().filter(|at| at.up && !at.half_open) else { return Ok(()) };
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

    /// Another configuration comes into force: links come and go, others get other settings.
    pub(super) fn reconfigure(&mut self) -> Result<(), String> {
        if self.agent.is_none() || self.healed {
            return Ok(());
        }
        let before: Vec<String> = self.setup.links.iter().map(|link| link.id.clone()).collect();
        if self.seed.below(2) == 0 {
            self.shuffle();
        }
        self.setup.buffer.commit_after = Duration::from_millis(10 + self.seed.below(1000));
        self.setup.priorities =
            if self.seed.below(4) == 0 { vec![0, 7] } else { self.setup.priorities.clone() };
        let mut changed = Vec::new();
        for link in &mut self.setup.links {
            if before.contains(&link.id) && self.seed.below(2) == 0 {
                // Growing only, so that the bound on what comes twice holds for the new one.
                link.window += usize::try_from(self.seed.below(10)).expect("small");
                link.rule.ping.interval = Duration::from_secs(1 + self.seed.below(20));
                changed.push(lane::of_client(&link.id));
                let known = self.links.iter_mut().find(|known| known.id == link.id);
                known.expect("it is one of them").clone_from(link);
            }
        }
        if self.setup.mqtt.is_some() && self.seed.below(2) == 0 {
            changed.push(lane::MQTT.to_owned());
        }
        let now: Vec<&LinkSetup> = self.setup.links.iter().collect();
        self.tally.came += now.iter().filter(|link| !before.contains(&link.id)).count() as u64;
        self.tally.went += before.iter().filter(|id| now.iter().all(|link| link.id != **id)).count() as u64;
        self.tally.reconfigured += 1;
        self.setup.births = self.births();
        self.feed(Event::Reconfigure { setup: Box::new(self.setup.clone()), changed })
    }
}

/// What the payloads of a peer begin with.
fn word_of(link: usize) -> String {
    format!("from {link}: ")
}
