//! The messages of a connection that are there together: they become one offer.

use holdfast_core::message::Format;
use holdfast_core::source::intake::Draft;
use holdfast_core::source::mqtt::packet::Publish;
use holdfast_core::source::mqtt::reason::{Closing, Reason};
use holdfast_core::source::mqtt::session::Delivery;
use holdfast_core::source::payload;

use super::super::ServerState;
use super::super::request::path::Target;
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
    messages: Vec<Item>,
    weight: usize,
    /// What the checks by a schema have cost.
    work: u64,
    /// What it takes of the memory for callers.
    pub held: usize,
    /// What is wrong with the message behind the last one, if something is. It is answered in its place.
    pub unfit: Option<(Delivery, Closing)>,
}

#[derive(Debug)]
struct Item {
    delivery: Delivery,
    target: Target,
    format: Format,
    payload: Vec<u8>,
}

impl Batch {
    /// Number of messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is nothing to answer.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.unfit.is_none()
    }

    /// Whether it takes nothing more.
    pub fn is_full(&self) -> bool {
        let is_large = self.messages.len() >= MESSAGES || self.weight >= WEIGHT;
        self.unfit.is_some() || is_large || self.work >= WORK
    }

    /// Approximate cost in memory.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// How each message wants to be answered.
    pub fn deliveries(&self) -> impl Iterator<Item = Delivery> {
        self.messages.iter().map(|message| message.delivery)
    }

    /// The messages as they are offered.
    pub fn drafts(&self, site: &ServerState) -> Vec<Draft> {
        let draft = |item: &Item| site.draft(&item.target, item.format, item.payload.clone());
        self.messages.iter().map(draft).collect()
    }

    /// Takes a message, if it is as it has to be.
    pub fn push(&mut self, site: &ServerState, publish: Publish) {
        let delivery = Delivery::of(&publish);
        match self.item(site, publish) {
            Ok(item) => {
                self.weight += item.payload.len() + item.target.weight();
                self.messages.push(item);
            }
            Err(why) => self.unfit = Some((delivery, why)),
        }
    }

    fn item(&mut self, site: &ServerState, publish: Publish) -> Result<Item, Closing> {
        let delivery = Delivery::of(&publish);
        let most = site.limits.message_bytes;
        if publish.payload.len() > most {
            let words = format!("a message may have {most} bytes at most (limits.message_bytes)");
            return Err(Closing::new(Reason::Quota, words));
        }
        let target = site.topics.target(&publish.topic, publish.user_properties, publish.retain)?;
        let unfit = |words: String| Closing::new(Reason::PayloadFormat, words);
        let format = target.format.unwrap_or_else(|| payload::sniff(&publish.payload));
        // What was looked at is as it was found.
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
        Ok(Item { delivery, target, format, payload: publish.payload })
    }
}
