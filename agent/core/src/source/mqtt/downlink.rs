//! The way to a client: what it has subscribed to, what waits for it, and what it has not acknowledged. It lies in memory only, outlives
//! the connection as the session does, and has bounds: the oldest that waits gives way, and whatever has waited too long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::grant::Grant;
use super::packet::{Outgoing, QoS, Subscribe, Version};
use super::reason::Reason;
use crate::message::Message;
use crate::time::Time;
use crate::topic_filter::TopicFilter;

/// Subscriptions of one client.
const SUBSCRIPTIONS_MAX: usize = 64;
/// Messages that may wait for one client, and their weight unless there is only one.
const MESSAGES_MAX: usize = 200;
const BYTES_MAX: usize = 256 * 1024;
/// Messages that a client may leave without PUBACK, if it does not want fewer.
const IN_FLIGHT_MAX: u16 = 20;
/// How long a message waits at most: an order that is a day late does harm.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Bytes of a subscription beside its filter, of a message that waits beside its weight, and of a packet beside topic and payload.
const PLACE_BYTES: usize = 64;
/// Topic filters that name a group of clients (5.0 §4.8.2).
const SHARED: &str = "$share/";

/// What goes to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downlink {
    version: Version,
    in_flight_max: u16,
    packet_max: usize,
    subscriptions: Vec<Subscription>,
    waiting: VecDeque<Waiting>,
    /// Sent with QoS 1 and not acknowledged, in the order of sending.
    in_flight: VecDeque<InFlight>,
    /// How many of them were sent over this connection.
    sent: usize,
    last_id: u16,
    weight: usize,
    lost: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Subscription {
    text: String,
    filter: TopicFilter,
    qos: QoS,
    number: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    message: Arc<Message>,
    qos: QoS,
    numbers: Vec<u32>,
    until: Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct InFlight {
    id: u16,
    delivery: Waiting,
}

impl Downlink {
    /// Without any subscription.
    pub fn new(version: Version) -> Downlink {
        Downlink {
            version,
            in_flight_max: IN_FLIGHT_MAX,
            packet_max: usize::MAX,
            subscriptions: Vec::new(),
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            sent: 0,
            last_id: 0,
            weight: 0,
            lost: 0,
        }
    }

    /// Goes on over another connection, whose client takes so many messages without acknowledgement, and packets of so many bytes. What was
    /// not acknowledged is sent again (3.1.1 §4.4).
    pub fn resume(&mut self, version: Version, receive_max: u16, packet_max: u32) {
        (self.version, self.sent) = (version, 0);
        self.in_flight_max = receive_max.min(IN_FLIGHT_MAX);
        self.packet_max = usize::try_from(packet_max).unwrap_or(usize::MAX);
    }

    /// The connection has ended: only what is acknowledged by the client is kept for the next one.
    pub fn disconnected(&mut self) {
        let (kept, gone): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.qos > QoS::AtMostOnce);
        self.waiting = kept;
        gone.iter().for_each(|waiting| self.weight -= weight(waiting));
    }

    /// Bytes that it takes, about.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Bytes of what waits and may be given up.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(weight).sum()
    }

    /// Messages that were given up since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Takes in what a client wants, and returns the code for each filter: the QoS that it gets, or why it gets nothing.
    pub fn subscribe(&mut self, grant: &Grant, subscribe: &Subscribe) -> Vec<u8> {
        let Subscribe { filters, number, .. } = subscribe;
        filters
            .iter()
            .map(|(text, qos)| match self.add(grant, text, *qos, *number) {
                Ok(qos) => qos.code(),
                Err(reason) if self.version == Version::V5 => reason.code(),
                Err(_) => Reason::Unspecified.code(),
            })
            .collect()
    }

    fn add(&mut self, grant: &Grant, text: &str, qos: QoS, number: Option<u32>) -> Result<QoS, Reason> {
        if text.starts_with(SHARED) {
            return Err(Reason::SharedSubscription);
        }
        let filter = TopicFilter::mqtt(text).map_err(|_| Reason::TopicFilter)?;
        if !grant.covers(&filter) {
            return Err(Reason::NotAuthorized);
        }
        let qos = qos.min(QoS::AtLeastOnce);
        let fresh = Subscription { text: text.to_owned(), filter, qos, number };
        if let Some(known) = self.subscriptions.iter_mut().find(|known| known.text == text) {
            *known = fresh;
            return Ok(qos);
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(Reason::Quota);
        }
        self.weight += text.len() + PLACE_BYTES;
        self.subscriptions.push(fresh);
        Ok(qos)
    }

    /// Takes out what a client wants no more, and returns the code for each filter. What waits already still comes.
    pub fn unsubscribe(&mut self, filters: &[String]) -> Vec<u8> {
        let mut codes = Vec::new();
        for text in filters {
            let found = self.subscriptions.iter().position(|known| known.text == *text);
            if let Some(at) = found {
                self.subscriptions.remove(at);
                self.weight -= text.len() + PLACE_BYTES;
            }
            codes.push(found.map_or(Reason::NoSubscription, |_| Reason::Success).code());
        }
        codes
    }

    /// Takes in a message, if a subscription matches it. Without a connection only one that is acknowledged waits. Returns whether it does.
    pub fn offer(&mut self, now: Time, message: &Arc<Message>, is_connected: bool) -> bool {
        let matching = || self.subscriptions.iter().filter(|own| own.filter.matches(&message.topic));
        let Some(qos) = matching().map(|own| own.qos).max() else { return false };
        if !is_connected && qos == QoS::AtMostOnce {
            return false;
        }
        let numbers = matching().filter_map(|own| own.number).collect();
        let ttl = message.ttl_s.map_or(WAIT_MAX, |seconds| Duration::from_secs(seconds.into()));
        let waiting = Waiting { message: message.clone(), qos, numbers, until: now + ttl.min(WAIT_MAX) };
        self.weight += weight(&waiting);
        self.waiting.push_back(waiting);
        while self.waiting.len() > MESSAGES_MAX
            || (self.waiting.len() > 1 && self.waiting_bytes() > BYTES_MAX)
        {
            self.drop_oldest();
        }
        true
    }

    /// Gives up the message that waits for longest. Returns whether there was one.
    pub fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.waiting.pop_front() else { return false };
        self.weight -= weight(&oldest);
        self.lost += 1;
        true
    }

    /// The next packet for the client; none while it has enough in flight, or nothing waits.
    pub fn next(&mut self, now: Time) -> Option<Outgoing> {
        if let Some(again) = self.in_flight.get(self.sent) {
            self.sent += 1;
            return Some(outgoing(now, &again.delivery, again.id, true));
        }
        loop {
            let first = self.waiting.front()?;
            if first.until <= now || packet_bytes(&first.message) > self.packet_max {
                self.drop_oldest();
                continue;
            }
            let is_held = first.qos > QoS::AtMostOnce;
            if is_held && self.in_flight.len() >= usize::from(self.in_flight_max) {
                return None;
            }
            let delivery = self.waiting.pop_front()?;
            if !is_held {
                self.weight -= weight(&delivery);
                return Some(outgoing(now, &delivery, 0, false));
            }
            let id = self.free_id();
            let packet = outgoing(now, &delivery, id, false);
            self.in_flight.push_back(InFlight { id, delivery });
            self.sent += 1;
            return Some(packet);
        }
    }

    /// The client has a message. Whatever it acknowledges beside is let be.
    pub fn acknowledged(&mut self, id: u16) {
        let sent = self.in_flight.iter().take(self.sent).position(|own| own.id == id);
        if let Some(own) = sent.and_then(|at| self.in_flight.remove(at)) {
            self.weight -= weight(&own.delivery);
            self.sent -= 1;
        }
    }

    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.in_flight.iter().all(|own| own.id != self.last_id) {
                return self.last_id;
            }
        }
    }
}

fn weight(waiting: &Waiting) -> usize {
    waiting.message.weight() + PLACE_BYTES
}

/// Largest packet that a message can become.
fn packet_bytes(message: &Message) -> usize {
    let names: usize = message.attributes.iter().map(|(name, value)| name.len() + value.len() + 5).sum();
    message.payload.len() + message.topic.len() + names + PLACE_BYTES + 5 * SUBSCRIPTIONS_MAX
}

fn outgoing(now: Time, waiting: &Waiting, id: u16, is_again: bool) -> Outgoing {
    let Waiting { message, qos, numbers, until } = waiting;
    let left = || u32::try_from(until.since(now).as_secs().max(1)).unwrap_or(u32::MAX);
    Outgoing {
        message: message.clone(),
        qos: *qos,
        id,
        dup: is_again,
        numbers: numbers.clone(),
        expiry_s: message.ttl_s.map(|_| left()),
    }
}

#[cfg(test)]
mod tests;
