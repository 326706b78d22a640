//! One session: what is answered to each packet, and when. A message is acknowledged once it is stored and not before; one of QoS 2 that comes
//! again before its release is not offered again. What the client gets is in [`downlink`](super::downlink).

use std::collections::BTreeMap;

use super::packet::{Acknowledgement, Packet, Publish, QoS, Reply, Subscribe, Version};
use super::reason::{Closing, Reason};
use crate::source::intake::Refused;

/// Messages of QoS 2 that a client of 3.1.1, which is told no number, may leave without PUBREL. Each takes about 10 bytes.
const UNRELEASED_MAX: usize = 10_000;

/// Bytes of a session, and of a packet identifier in it.
const SESSION_BYTES: usize = 256;
const RECEIVED_BYTES: usize = 16;

/// State that lives as long as the session of a client, over all its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    version: Version,
    inflight_max: u16,
    is_with_broker: bool,
    /// Messages of QoS 1 that are not answered yet.
    unanswered: usize,
    /// Messages of QoS 2 that are not released yet, by packet identifier.
    received: BTreeMap<u16, Received>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    /// It is not safe yet.
    Offered,
    /// PUBREC was sent.
    Stored,
}

/// Reaction to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Hand the message over, and tell [`Session::stored`], [`Session::unfit`] or [`Session::failed`].
    Offer(Publish),
    /// Answer.
    Reply(Reply),
    /// It wants messages.
    Subscribe(Subscribe),
    /// It wants them no more.
    Unsubscribe(u16, Vec<String>),
    /// It has a message of ours.
    Acknowledged(u16),
    /// It goes.
    Leave {
        /// Whether its will is published.
        with_will: bool,
        /// Another session expiry in seconds.
        expiry_s: Option<u32>,
    },
}

/// How a message wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    qos: QoS,
    id: u16,
}

impl Delivery {
    /// Whether its sender waits for an answer.
    pub fn is_answered(self) -> bool {
        self.qos > QoS::AtMostOnce
    }

    /// Of this message.
    pub fn of(publish: &Publish) -> Delivery {
        Delivery { qos: publish.qos, id: publish.id }
    }
}

impl Session {
    /// A new one. `inflight_max` is the receive maximum that the client is told.
    pub fn new(version: Version, inflight_max: u16) -> Session {
        Session { version, inflight_max, is_with_broker: false, unanswered: 0, received: BTreeMap::new() }
    }

    /// A new one with a broker. Some, such as mosquitto 2.0, send more messages of QoS 2 than the receive maximum lets them, and are not cut
    /// off for it.
    pub fn with_broker(version: Version, inflight_max: u16) -> Session {
        Session { is_with_broker: true, ..Session::new(version, inflight_max) }
    }

    /// Goes on over another connection. What was not answered over the one before comes again.
    pub fn resume(&mut self, version: Version, inflight_max: u16) {
        (self.version, self.inflight_max, self.unanswered) = (version, inflight_max, 0);
        self.received.retain(|_, received| *received == Received::Stored);
    }

    /// Whether another message may be read: a client that sends more than it may has to wait, as one of 3.1.1 that was not told how many that
    /// is. What waits for its PUBREL does not count, since that must be read.
    pub fn has_room(&self) -> bool {
        let offered = self.received.values().filter(|received| **received == Received::Offered).count();
        self.unanswered + offered < usize::from(self.inflight_max)
    }

    /// Bytes that it takes, about.
    pub fn weight(&self) -> usize {
        SESSION_BYTES + self.received.len() * RECEIVED_BYTES
    }

    /// Takes in what came. The error ends the connection.
    pub fn take(&mut self, packet: Packet) -> Result<Step, Closing> {
        match packet {
            Packet::Connect(_) => Err(Closing::protocol("a second CONNECT came")),
            Packet::Publish(publish) => self.published(publish),
            Packet::PubAck(id) => Ok(Step::Acknowledged(id)),
            Packet::PubRel(id) => self.released(id),
            Packet::Subscribe(subscribe) => Ok(Step::Subscribe(subscribe)),
            Packet::Unsubscribe { id, filters } => Ok(Step::Unsubscribe(id, filters)),
            Packet::PingReq => Ok(Step::Reply(Reply::PingResp)),
            Packet::Disconnect { with_will, expiry_s } => Ok(Step::Leave { with_will, expiry_s }),
        }
    }

    fn published(&mut self, publish: Publish) -> Result<Step, Closing> {
        let known = self.received.get(&publish.id).copied().filter(|_| publish.qos == QoS::ExactlyOnce);
        match known {
            // It is answered once it is safe.
            Some(Received::Offered) => return Ok(Step::Nothing),
            Some(Received::Stored) => {
                return Ok(Step::Reply(Reply::PubRec(Acknowledgement::of(publish.id))));
            }
            None => {}
        }
        let unreleased_max = match self.version {
            Version::V5 if !self.is_with_broker => usize::from(self.inflight_max),
            Version::V5 | Version::V311 => UNRELEASED_MAX,
        };
        if publish.qos == QoS::ExactlyOnce && self.received.len() >= unreleased_max {
            let words = format!("more than {unreleased_max} messages wait for PUBREL");
            return Err(Closing::new(Reason::ReceiveMaximum, words));
        }
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.unanswered += 1,
            QoS::ExactlyOnce => drop(self.received.insert(publish.id, Received::Offered)),
        }
        Ok(Step::Offer(publish))
    }

    fn released(&mut self, id: u16) -> Result<Step, Closing> {
        let mut answer = Acknowledgement::of(id);
        match self.received.get(&id) {
            Some(Received::Offered) => {
                return Err(Closing::protocol("PUBREL came for a message that has no PUBREC yet"));
            }
            Some(Received::Stored) => drop(self.received.remove(&id)),
            // The session that knew it is gone, and the client must get on (3.1.1 §4.3.3).
            None => answer.reason = Reason::NoPacketId,
        }
        Ok(Step::Reply(Reply::PubComp(answer)))
    }

    /// A message is stored. Returns the answer to it.
    pub fn stored(&mut self, delivery: Delivery) -> Option<Reply> {
        let answer = Acknowledgement::of(delivery.id);
        match delivery.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => {
                self.unanswered = self.unanswered.saturating_sub(1);
                Some(Reply::PubAck(answer))
            }
            QoS::ExactlyOnce => {
                self.received.insert(delivery.id, Received::Stored);
                Some(Reply::PubRec(answer))
            }
        }
    }

    /// A message is not as it has to be, and will never be stored. The error ends the connection: 3.1.1 has no other way to say it (§3.3.5).
    pub fn unfit(&mut self, delivery: Delivery, why: Closing) -> Result<Reply, Closing> {
        self.failed(delivery);
        let answer = Acknowledgement { id: delivery.id, reason: why.reason, words: why.words.clone() };
        match (self.version, delivery.qos) {
            (Version::V311, _) | (_, QoS::AtMostOnce) => Err(why),
            (Version::V5, QoS::AtLeastOnce) => Ok(Reply::PubAck(answer)),
            (Version::V5, QoS::ExactlyOnce) => Ok(Reply::PubRec(answer)),
        }
    }

    /// A message is not stored, and gets no answer: the client has to send it again.
    pub fn failed(&mut self, delivery: Delivery) {
        match delivery.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.unanswered = self.unanswered.saturating_sub(1),
            QoS::ExactlyOnce => drop(self.received.remove(&delivery.id)),
        }
    }
}

/// The end of a connection whose message was refused. Nothing is acknowledged, so the client sends it again.
pub fn closing(refused: &Refused) -> Closing {
    let reason = match refused {
        Refused::Busy | Refused::TooFast(_) => Reason::Busy,
        Refused::Full => Reason::Quota,
        Refused::Failing(_) | Refused::NoOutlet(_) => Reason::Unavailable,
        Refused::Stopping => Reason::ShuttingDown,
    };
    Closing::new(reason, refused.to_string())
}

#[cfg(test)]
mod tests;
