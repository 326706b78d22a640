//! HTTP servers: they answer late, twice or never, have no time, and refuse what they cannot take.

use std::time::Duration;

use holdfast_core::config::batch::Batch;
use holdfast_core::config::client::{BodyEncoding, Elements};
use holdfast_core::config::link_kind::LinkKind;
use holdfast_core::ids::ConnectionId;
use holdfast_core::link::closing::Closing;
use holdfast_core::link::http_status::Meaning;
use holdfast_core::link::post_queue::{PostQueue, PostRule};
use holdfast_core::link::protocol::{LinkOrder, LinkReport};
use holdfast_core::message::{Body, Entry};

use super::network::Unwilling;
use super::{MS, Pending, World};

/// Event on the way of a request.
pub(super) enum HttpStep {
    /// It reaches its server.
    Arrives { entries: Vec<(usize, Entry)>, bytes: usize },
    /// The answer arrives.
    Answered(Meaning),
    /// A batch has waited for others.
    Due,
}

impl World {
    pub(super) fn over_http(
        &mut self,
        link: usize,
        conn: ConnectionId,
        step: HttpStep,
    ) -> Result<(), String> {
        match step {
            HttpStep::Arrives { entries, bytes } => self.reach_server(link, conn, entries, bytes),
            HttpStep::Answered(meaning) => self.answer_arrives(link, conn, meaning),
            HttpStep::Due => {
                self.post(link, conn);
                Ok(())
            }
        }
    }

    /// A connection was begun; if it is an HTTP link's, batches are posted on it.
    pub(super) fn begin_to_post(&mut self, link: usize) {
        if self.links.get(link).is_none_or(|own| own.rule.kind != LinkKind::Http) {
            return;
        }
        let after = Duration::from_millis([0, 0, 300][usize::try_from(self.seed.below(3)).expect("small")]);
        let batch = Batch { messages: 20, bytes: 4000, after };
        let (epochs, encoding) = (self.peers[link].epochs.clone(), BodyEncoding::Ndjson);
        let rule = PostRule { epochs, batch, encoding, elements: Elements::Messages };
        if let Some(at) = &mut self.conns[link] {
            at.posts = Some(PostQueue::new(rule));
        }
    }

    /// Does what the task of an HTTP link does with an order. Returns one of another link.
    pub(super) fn told_to_post(&mut self, link: usize, order: LinkOrder) -> Option<LinkOrder> {
        let now = self.clock().mono;
        let Some(at) = &mut self.conns[link] else { return Some(order) };
        let (conn, Some(posts)) = (at.conn, &mut at.posts) else { return Some(order) };
        match order {
            LinkOrder::Send { lane, through, entries } => {
                assert!(posts.push(now, lane, through, entries).is_none(), "gaps are told");
                self.post(link, conn);
            }
            LinkOrder::Close(_) => {
                let error = "closed by this side".to_owned();
                let report = LinkReport::Closed { closing: Closing::Plain, error };
                self.after(5 * MS, Pending::ToAgent { link, conn, report });
            }
            LinkOrder::Ping(_) => panic!("nothing is pinged over HTTP"),
            LinkOrder::Probe(_) => return Some(order),
            LinkOrder::Hello { .. } | LinkOrder::FrameBytes(_) | LinkOrder::Publish(_) => {}
        }
        None
    }

    /// Sends the next request, or waits until there is one.
    fn post(&mut self, link: usize, conn: ConnectionId) {
        let now = self.clock().mono;
        let Some(at) = self.conns[link].as_mut().filter(|at| at.conn == conn) else { return };
        let Some(posts) = &mut at.posts else { return };
        let Some(post) = posts.next(now) else {
            if let Some(due) = posts.deadline() {
                let wait = due.since(now).as_nanos();
                let due = self.now + 1 + u64::try_from(wait).expect("short");
                self.at(due, Pending::Http { link, conn, step: HttpStep::Due });
            }
            return;
        };
        let entries = posts.under_way().into_iter().map(|(lane, entry)| (lane, entry.clone())).collect();
        let bytes = post.body.len();
        let arrives_at = self.goes_out(link, bytes as u64);
        self.at(arrives_at, Pending::Http { link, conn, step: HttpStep::Arrives { entries, bytes } });
    }

    fn reach_server(
        &mut self,
        link: usize,
        conn: ConnectionId,
        entries: Vec<(usize, Entry)>,
        bytes: usize,
    ) -> Result<(), String> {
        let passes = self.conns[link].as_ref().filter(|at| at.conn == conn && at.up && !at.is_half_open());
        let Some(unwilling) = passes.map(|at| at.unwilling) else { return Ok(()) };
        let is_poison = |entry: &Entry| match &entry.body {
            Body::Message(message) => self.peers[link].chokes_on(&message.payload),
            Body::Gap { .. } => false,
        };
        let poison = entries.iter().any(|(_, entry)| is_poison(entry));
        let limit = self.peers[link].frame_max;
        let meaning = match unwilling {
            Some(Unwilling::Deaf(_)) => Meaning::Failed(self.trouble()),
            Some(Unwilling::Refuses(_)) => Meaning::Refused,
            None if limit > 0 && bytes > limit && entries.len() > 1 => Meaning::TooLarge,
            None if poison => Meaning::Refused,
            None if !self.healed && self.seed.below(12) == 0 => Meaning::Failed(self.trouble()),
            None => Meaning::Taken,
        };
        match meaning {
            Meaning::Taken => {
                let taken = self.peers[link].take_batch(entries, &mut self.seed);
                taken.map_err(|error| format!("link {link}: {error}"))?;
                self.check_twice(link)?;
            }
            Meaning::Failed(_) => self.tally.busy += 1,
            Meaning::Refused | Meaning::TooLarge => {
                self.tally.posts_refused += 1;
                self.tally.choked += u64::from(poison);
                if unwilling.is_none() && meaning == Meaning::Refused {
                    self.peers[link].refuse_batch(&entries);
                }
            }
        }
        if !self.healed && self.seed.below(20) == 0 {
            self.tally.unanswered += 1;
            return Ok(());
        }
        let latency = 1 + self.seed.below(40 * MS) + self.peers[link].late;
        self.at(self.now + latency, Pending::Http { link, conn, step: HttpStep::Answered(meaning) });
        Ok(())
    }

    fn answer_arrives(&mut self, link: usize, conn: ConnectionId, meaning: Meaning) -> Result<(), String> {
        let passes = self.conns[link].as_mut().filter(|at| at.conn == conn && !at.is_half_open());
        let Some(posts) = passes.and_then(|at| at.posts.as_mut()) else { return Ok(()) };
        for report in posts.answered(meaning, "HTTP") {
            self.reach_agent(link, conn, report)?;
        }
        self.post(link, conn);
        Ok(())
    }

    fn trouble(&mut self) -> Closing {
        let retry_after = (self.seed.below(2) == 0).then(|| Duration::from_secs(self.seed.below(10)));
        match self.seed.below(3) {
            0 => Closing::Plain,
            1 => Closing::Unauthorized,
            _ => Closing::Busy { retry_after },
        }
    }
}
