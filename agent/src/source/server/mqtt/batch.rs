//! The messages of a connection that are there together: they become one offer.

use holdfast_core::message::Format;
use holdfast_core::source::intake::Draft;
use holdfast_core::source::mqtt::packet::Publish;
use holdfast_core::source::mqtt::reason::{Closing, Reason};
use holdfast_core::source::mqtt::session::Delivery;
use holdfast_core::source::payload;

use super::super::ServerState;
use super::super::request::validator;

/// Most messages of a batch.
const MESSAGES: usize = 64;
/// Weight at which a batch is full.
const WEIGHT: usize = 256 * 1024;
/// Work of the checks by a schema after which a batch is full: the loop has its turn in between.
const WORK: u64 = 2_000_000;

/// Messages in the order in which they came.
#[derive(Debug, Default)]
pub struct Batch {
    deliveries: Vec<Delivery>,
    /// Gone once they are offered.
    drafts: Vec<Draft>,
    weight: usize,
    /// Cost of the checks by a schema.
    work: u64,
    /// Its part of the memory for callers.
    pub held: usize,
    /// Fault of the message behind the last one, if it has one. It is answered in its place.
    pub unfit: Option<(Delivery, Closing)>,
}

impl Batch {
    /// Number of messages.
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether there is nothing to answer.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.unfit.is_none()
    }

    /// Whether it takes nothing more.
    pub fn is_full(&self) -> bool {
        let is_large = self.deliveries.len() >= MESSAGES || self.weight >= WEIGHT;
        self.unfit.is_some() || is_large || self.work >= WORK
    }

    /// Approximate cost in memory.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// How each message wants to be answered.
    pub fn deliveries(&self) -> impl Iterator<Item = Delivery> {
        self.deliveries.iter().copied()
    }

    /// The messages, to be offered.
    pub fn take_drafts(&mut self) -> Vec<Draft> {
        std::mem::take(&mut self.drafts)
    }

    /// Takes a message, if it is as it has to be.
    pub fn push(&mut self, site: &ServerState, publish: Publish) {
        let delivery = Delivery::of(&publish);
        match self.draft(site, publish) {
            Ok((draft, weight)) => {
                self.weight += weight;
                self.drafts.push(draft);
                self.deliveries.push(delivery);
            }
            Err(why) => self.unfit = Some((delivery, why)),
        }
    }

    /// Offer made of a message, and its weight.
    fn draft(&mut self, site: &ServerState, publish: Publish) -> Result<(Draft, usize), Closing> {
        let most = site.limits.message_bytes;
        if publish.payload.len() > most {
            let words = format!("a message may have {most} bytes at most (limits.message_bytes)");
            return Err(Closing::new(Reason::Quota, words));
        }
        let mut target = site.topics.target(&publish.topic, publish.user_properties, publish.retain)?;
        target.ttl_s = target.ttl_s.into_iter().chain(publish.expiry_s).min();
        let unfit = |words: String| Closing::new(Reason::PayloadFormat, words);
        let format = target.format.unwrap_or_else(|| payload::sniff(&publish.payload));
        // Check only claims: a format that was found by looking fits.
        let claims = [target.format, publish.is_text.then_some(Format::Text)];
        for claim in claims.into_iter().flatten() {
            payload::check(claim, &publish.payload)
                .map_err(|error| unfit(format!("the message is {error}")))?;
        }
        if let Some(judge) = &target.judge {
            let checked = judge.check(&publish.payload);
            self.work += checked.work;
            if let Err(violation) = checked.result {
                site.violated(judge);
                return Err(unfit(validator::words(&violation)));
            }
        }
        let weight = publish.payload.len() + target.weight();
        Ok((site.draft(&target, format, publish.payload), weight))
    }
}
