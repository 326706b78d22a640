//! What a source makes of the packets of a broker. A message is acknowledged once it is stored and not before, in the order in which messages came, and no
//! more are taken than may wait. It outlives the connections of its source.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::config::mqtt_source::{MqttSource, MqttVersion, Retained};
use crate::source::intake::Draft;
use crate::source::mqtt::from_broker::{Found, FromBroker};
use crate::source::mqtt::packet::{Packet, Publish, QoS, Reply, Version};
use crate::source::mqtt::reason::{self, Closing, Reason};
use crate::source::mqtt::session::{Delivery, Session, Step};
use crate::source::mqtt::to_broker::RetainHandling;

/// Topics whose retained message is known, so that a repeat is passed over.
const RETAINED_MAX: usize = 10_000;

/// What is known of the session at the broker.
#[derive(Debug)]
pub struct Subscriber {
    session: Session,
    retained: Retained,
    is_v5: bool,
    /// What the broker was asked for since the start.
    asked: BTreeSet<String>,
    /// Checksum of the last retained message of each topic (3.1.1).
    repeats: BTreeMap<String, u64>,
}

/// Reaction to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Nothing.
    Nothing,
    /// A message: to be put into a [`Batch`].
    Message(Publish, Pending),
    /// One that is not to be stored, to be put there in its place.
    Passed(Pending, Why),
    /// Answer.
    Reply(Reply),
    /// Codes of the answer to SUBSCRIBE.
    Subscribed(Vec<u8>),
    /// A ping was answered.
    Pong,
}

/// A message that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    delivery: Delivery,
    /// Topic and checksum of a retained one, which is known once it is stored.
    retained: Option<(String, u64)>,
}

/// Why a message is acknowledged and not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is not as it has to be.
    Unfit(Closing),
    /// A retained message that is not wanted, or came before.
    Retained,
    /// No topic of the configuration means it.
    Unmatched,
}

/// Messages that are offered together, with the answer that each gets once they are stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    answers: Vec<(Pending, Option<Why>)>,
    drafts: Vec<Draft>,
    weight: usize,
    /// Cost of the checks by a schema.
    pub work: u64,
}

/// Counts of what became of messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Took {
    /// Messages stored.
    pub stored: u64,
    /// Messages that are not as they have to be.
    pub refused: u64,
    /// Retained messages that are not wanted, or came before.
    pub passed_over: u64,
    /// Messages that no topic of the configuration means: the broker has subscriptions of an earlier one.
    pub unmatched: u64,
    /// Reason of the last one that was refused.
    pub last_refused: Option<String>,
}

impl Took {
    /// Adds other counts to these.
    pub fn add(&mut self, other: Took) {
        self.stored += other.stored;
        self.refused += other.refused;
        self.passed_over += other.passed_over;
        self.unmatched += other.unmatched;
        self.last_refused = other.last_refused.or(self.last_refused.take());
    }
}

impl Batch {
    /// Most messages of a batch.
    const MESSAGES: usize = 64;
    /// Weight at which a batch is full.
    const WEIGHT: usize = 256 * 1024;
    /// Work of the checks by a schema after which a batch is full: the loop has its turn in between.
    const WORK: u64 = 2_000_000;

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Whether it takes nothing more.
    pub fn is_full(&self) -> bool {
        self.answers.len() >= Batch::MESSAGES || self.weight >= Batch::WEIGHT || self.work >= Batch::WORK
    }

    /// Approximate cost of its messages in memory.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Number of messages, stored or not.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Adds a message to be stored.
    pub fn store(&mut self, pending: Pending, draft: Draft) {
        self.weight += draft.weight();
        self.drafts.push(draft);
        self.answers.push((pending, None));
    }

    /// Adds one that is acknowledged and not stored.
    pub fn pass(&mut self, pending: Pending, why: Why) {
        self.answers.push((pending, Some(why)));
    }

    /// The messages, to be offered.
    pub fn take_drafts(&mut self) -> Vec<Draft> {
        std::mem::take(&mut self.drafts)
    }
}

impl Subscriber {
    /// Nothing is known.
    pub fn new(source: &MqttSource, inflight: u16) -> Subscriber {
        let version = version(source);
        Subscriber {
            session: Session::with_broker(version, inflight),
            retained: source.retained,
            is_v5: version == Version::V5,
            asked: BTreeSet::new(),
            repeats: BTreeMap::new(),
        }
    }

    /// Another connection was accepted. A broker that has no session any more knows of no message that was released.
    pub fn connected(&mut self, source: &MqttSource, inflight: u16, session_present: bool) {
        let version = version(source);
        (self.retained, self.is_v5) = (source.retained, version == Version::V5);
        if session_present {
            self.session.resume(version, inflight);
        } else {
            self.session = Session::with_broker(version, inflight);
        }
    }

    /// Filters that the broker was asked for before and that are not wanted any more. `wanted` are asked for from here on.
    pub fn unwanted(&mut self, wanted: &[String]) -> Vec<String> {
        let unwanted: Vec<String> =
            self.asked.iter().filter(|filter| !wanted.contains(filter)).cloned().collect();
        self.asked = wanted.iter().cloned().collect();
        unwanted
    }

    /// How the broker is to handle retained messages.
    pub fn retain_handling(&self) -> RetainHandling {
        match self.retained {
            Retained::New => RetainHandling::SendIfNew,
            Retained::All => RetainHandling::Send,
            Retained::None => RetainHandling::Skip,
        }
    }

    /// Whether another message may be read.
    pub fn has_room(&self) -> bool {
        self.session.has_room()
    }

    /// Takes in what came. The error ends the connection.
    pub fn take(&mut self, found: Found) -> Result<Taken, Closing> {
        let packet = match found {
            Found::Packet(packet) => packet,
            Found::TooLarge(publish) => {
                let taken = self.published(publish)?;
                let Taken::Message(publish, pending) = taken else { return Ok(taken) };
                let words = format!("a message to {} is larger than limits.message_bytes", publish.topic);
                return Ok(Taken::Passed(pending, Why::Unfit(Closing::new(Reason::TooLarge, words))));
            }
        };
        match packet {
            FromBroker::Publish(publish) => self.published(publish),
            FromBroker::PubRel(id) => self.session.take(Packet::PubRel(id)).map(of_step),
            FromBroker::SubAck(_, codes) => Ok(Taken::Subscribed(codes)),
            FromBroker::UnsubAck(_) => Ok(Taken::Nothing),
            FromBroker::PingResp => Ok(Taken::Pong),
            FromBroker::Disconnect { code, words } => {
                let words = if words.is_empty() { String::new() } else { format!(" ({words})") };
                let words = format!("the broker ended the connection: {}{words}", reason::words_of(code));
                Err(Closing::new(Reason::Unspecified, words))
            }
            FromBroker::ConnAck(_) => Err(broken("a second CONNACK came")),
            FromBroker::PubAck(_) | FromBroker::PubRec(_) | FromBroker::PubComp(_) => {
                Err(broken("it answers a message that was not sent"))
            }
        }
    }

    fn published(&mut self, publish: Publish) -> Result<Taken, Closing> {
        let publish = match self.session.take(Packet::Publish(publish))? {
            Step::Offer(publish) => publish,
            other @ (Step::Nothing
            | Step::Reply(_)
            | Step::Subscribe(_)
            | Step::Unsubscribe(_, _)
            | Step::Acknowledged(_)
            | Step::Leave { .. }) => return Ok(of_step(other)),
        };
        // In 5.0 the broker itself knows what is new.
        let is_noted = publish.retain && self.retained == Retained::New && !self.is_v5;
        let pending = Pending {
            delivery: Delivery::of(&publish),
            retained: is_noted.then(|| (publish.topic.clone(), checksum(&publish.payload))),
        };
        let is_known = |(topic, sum): &(String, u64)| self.repeats.get(topic) == Some(sum);
        let is_unwanted = publish.retain && self.retained == Retained::None;
        if is_unwanted || pending.retained.as_ref().is_some_and(is_known) {
            return Ok(Taken::Passed(pending, Why::Retained));
        }
        Ok(Taken::Message(publish, pending))
    }

    fn note_retained(&mut self, topic: String, sum: u64) {
        if self.repeats.len() < RETAINED_MAX || self.repeats.contains_key(&topic) {
            self.repeats.insert(topic, sum);
        }
    }

    /// A batch is stored. Returns the answers, in the order of its messages, and what to count.
    pub fn stored(&mut self, batch: Batch) -> (Vec<Reply>, Took) {
        let (mut replies, mut took) = (Vec::new(), Took::default());
        for (Pending { delivery, retained }, why) in batch.answers {
            if let Some((topic, sum)) = retained {
                self.note_retained(topic, sum);
            }
            match &why {
                None => took.stored += 1,
                Some(Why::Retained) => took.passed_over += 1,
                Some(Why::Unmatched) => took.unmatched += 1,
                Some(Why::Unfit(closing)) => {
                    took.refused += 1;
                    took.last_refused = Some(closing.to_string());
                }
            }
            replies.extend(match why {
                // 5.0 says that it was not taken. 3.1.1 cannot, and a broker would send it again for ever.
                Some(Why::Unfit(closing)) if self.is_v5 && delivery.is_answered() => {
                    self.session.unfit(delivery, closing).ok()
                }
                None | Some(Why::Unfit(_) | Why::Retained | Why::Unmatched) => self.session.stored(delivery),
            });
        }
        (replies, took)
    }

    /// A batch is not stored, and gets no answers: the broker sends its messages again over the next connection.
    pub fn failed(&mut self, batch: &Batch) {
        batch.answers.iter().for_each(|(pending, _)| self.session.failed(pending.delivery));
    }
}

/// Faults of subscriptions, a sentence each, as the codes of SUBACK tell. `filters` are those that were asked for.
pub fn faults(filters: &[String], qos: QoS, codes: &[u8]) -> Vec<String> {
    let fault = |(filter, code): (&String, &u8)| match *code {
        code if code >= 0x80 => {
            Some(format!("the broker refuses the subscription to {filter}: {}", reason::words_of(code)))
        }
        code if code < qos as u8 => {
            let lost = if code == 0 { ", which it does not hold back and may lose" } else { "" };
            Some(format!("the broker sends {filter} with QoS {code} only{lost}"))
        }
        _ => None,
    };
    filters.iter().zip(codes).filter_map(fault).collect()
}

/// Whether none of the subscriptions was granted.
pub fn is_refused(codes: &[u8]) -> bool {
    codes.iter().all(|code| *code >= 0x80)
}

/// QoS of the configuration.
pub fn qos(source: &MqttSource) -> QoS {
    match source.qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

/// Version of the configuration.
pub fn version(source: &MqttSource) -> Version {
    match source.version {
        MqttVersion::V5 => Version::V5,
        MqttVersion::V311 => Version::V311,
    }
}

fn of_step(step: Step) -> Taken {
    match step {
        Step::Reply(reply) => Taken::Reply(reply),
        Step::Offer(_)
        | Step::Nothing
        | Step::Subscribe(_)
        | Step::Unsubscribe(_, _)
        | Step::Acknowledged(_)
        | Step::Leave { .. } => Taken::Nothing,
    }
}

fn checksum(payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    hasher.finish()
}

fn broken(words: &str) -> Closing {
    Closing::new(Reason::Protocol, words)
}

#[cfg(test)]
mod tests;
