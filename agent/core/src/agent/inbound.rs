//! What peers send of their own: it goes to every other client link, and never back to the one that it came from.

use super::stop::Stop;
use super::{Action, Agent, LinkContext, act};
use crate::ids::LinkId;
use crate::link::protocol::Heard;
use crate::observe::log_event::LogEvent;
use crate::source::intake::Refused;
use crate::source::subscriber::Took;
use crate::time::Now;

impl Agent {
    /// A peer sent something of its own.
    pub(crate) fn heard(&mut self, link: LinkId, heard: Heard, out: &mut Vec<Action>) {
        let line = &mut self.links[link];
        line.received += 1;
        let why = match heard {
            Heard::Counted => return,
            Heard::Message(_) if self.stop != Stop::Running => return line.inbox.give_up(1),
            Heard::Message(draft) => {
                if line.inbox.push(draft) {
                    return;
                }
                "too much of it waits for the buffer".to_owned()
            }
            Heard::Refused(why) => {
                line.inbox.give_up(1);
                why
            }
        };
        out.push(given_up(&line.id, &why));
    }

    /// A source has made something of messages.
    pub(crate) fn took(&mut self, now: Now, link: LinkId, took: Took) {
        let fetched = &mut self.links[link].fetched;
        if took.stored > 0 {
            fetched.last_ns = Some(now.wall_ns);
        }
        fetched.took.add(took);
    }

    /// Whether a source has nowhere to put what it would fetch: the store is not open yet.
    pub(crate) fn waits_for_store(&self, line: &LinkContext) -> bool {
        line.source().is_some() && !self.may_listen()
    }

    /// Hands to the buffer what peers have sent. What a busy buffer or a failing store refuses waits; what a full buffer
    /// refuses by its rule is given up.
    pub(crate) fn take_in(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.stop != Stop::Running {
            return;
        }
        for link in self.links.ids() {
            let Some(drafts) = self.links[link].inbox.take(now.mono) else { continue };
            let mut effects = Vec::new();
            let routes = &self.links[link].others;
            let refused = self.buffer.offer(now, None, drafts.clone(), None, routes, &mut effects);
            act(effects, out);
            let line = &mut self.links[link];
            match refused {
                None => {
                    let devices = drafts.into_iter().filter_map(|draft| draft.device);
                    devices.for_each(|device| self.heard_device(now, &device, out));
                }
                Some(Refused::Busy | Refused::Failing(_)) => line.inbox.put_back(now.mono, drafts),
                Some(
                    refused
                    @ (Refused::Full | Refused::Stopping | Refused::NoOutlet(_) | Refused::TooFast(_)),
                ) => {
                    line.inbox.give_up(drafts.len());
                    out.push(given_up(&line.id, &refused.to_string()));
                }
            }
        }
    }

    /// The agent stops: what the buffer has not taken by now is given up.
    pub(crate) fn close_inboxes(&mut self, out: &mut Vec<Action>) {
        for link in self.links.ids() {
            self.close_inbox(link, &Refused::Stopping.to_string(), out);
        }
    }

    /// What waits of one peer is given up.
    pub(crate) fn close_inbox(&mut self, link: LinkId, why: &str, out: &mut Vec<Action>) {
        let line = &mut self.links[link];
        if line.inbox.close() > 0 {
            out.push(given_up(&line.id, why));
        }
    }

    fn heard_device(&mut self, now: Now, device: &str, out: &mut Vec<Action>) {
        if self.presence.heard(now, device, None) {
            self.notify(now, device, out);
        }
    }
}

fn given_up(link: &str, why: &str) -> Action {
    let what = format!("sent what is given up: {why}");
    Action::Note(LogEvent::PeerOdd { link: link.to_owned(), what })
}
