//! What entries and states become at a broker.

use std::time::Duration;

use holdfast_core::config::client::Client;
use holdfast_core::config::mqtt::Mqtt;
use holdfast_core::config::route::expand;
use holdfast_core::link::mqtt as meaning;
use holdfast_core::link::mqtt::terms::Terms;
use holdfast_core::link::protocol::Publication;
use holdfast_core::message::{Entry, Message};
use holdfast_core::source::mqtt::packet::{QoS, Version};

use super::encode::{Packet, Publish};
use super::packet_stream::PACKET_MAX;
use crate::os::clock;
use crate::outlet::uplink::Uplink;

/// Publications in flight, unacknowledged.
const INFLIGHT_MAX: u16 = 100;
/// The same of a link, whatever its window.
const LINK_INFLIGHT_MAX: u16 = 10_000;
const TOPIC_MAX: usize = 65_535;
/// What a test publishes speaks of this.
const TEST_TOPIC: &str = "holdfast/test";

/// Kind of publications that entries become, and of the reports about them.
pub enum Publishes {
    /// News of devices and states, retained under their own topics; the broker has all numbers up to one.
    News {
        /// Quality of service.
        qos: u8,
        /// Whether they are retained, unless they say otherwise.
        retain: bool,
    },
    /// Messages of a link; the broker has so many entries of this connection.
    Messages(Template),
}

/// How the messages of a link are published.
pub struct Template {
    topic: String,
    qos: u8,
    retain: bool,
    in_flight_max: u16,
    /// Names and values that are the same for all.
    values: Vec<(String, String)>,
    /// The epoch of each lane.
    epochs: Vec<String>,
    ttl: Option<Duration>,
}

impl Template {
    /// As the client says.
    pub fn of(uplink: &Uplink) -> Template {
        let epochs = uplink.lanes.iter().map(|lane| lane.epoch.clone()).collect();
        Template { epochs, ttl: uplink.ttl, ..Template::bare(&uplink.client, &uplink.agent) }
    }

    /// The same without what only messages have.
    pub fn bare(client: &Client, agent: &str) -> Template {
        let values = [("client", client.id.to_lowercase()), ("agent", agent.to_owned())];
        Template {
            topic: client.publish.topic.clone(),
            qos: client.publish.qos,
            retain: client.publish.retain,
            in_flight_max: u16::try_from(client.window).unwrap_or(u16::MAX).min(LINK_INFLIGHT_MAX),
            values: values.map(|(name, value)| (name.to_owned(), value)).into(),
            epochs: Vec::new(),
            ttl: None,
        }
    }

    /// Where a message goes.
    pub fn topic(&self, message: &Message) -> String {
        self.expand(&message.topic, message.device.as_deref().unwrap_or_default())
    }

    /// Where a test goes.
    pub fn test_topic(&self) -> String {
        self.expand(TEST_TOPIC, "holdfast-test")
    }

    fn expand(&self, topic: &str, device: &str) -> String {
        let own = [("topic", topic), ("device", device)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let values: Vec<(String, String)> = own.into_iter().chain(self.values.iter().cloned()).collect();
        expand(&self.topic, &values)
    }

    /// The publication of a message. The error says why it cannot be made.
    pub fn packet(&self, lane: usize, seq: u64, message: &Message, terms: &Terms) -> Result<Packet, String> {
        let is_v5 = terms.version == Version::V5;
        let epoch = self.epochs.get(lane).map_or("", String::as_str);
        let publish = Publish {
            topic: self.topic(message),
            payload: message.payload.clone(),
            qos: qos(self.qos, terms),
            retain: self.retain && terms.retains,
            expiry_s: meaning::expiry_s(self.ttl, message, &clock::now()),
            user_properties: if is_v5 { meaning::user_properties(epoch, seq, message) } else { Vec::new() },
        };
        checked(publish, terms)
    }
}

impl Publishes {
    /// What `[mqtt]` says.
    pub fn news(mqtt: &Mqtt) -> Publishes {
        Publishes::News { qos: mqtt.qos, retain: mqtt.retain }
    }

    /// Publications that may await their PUBACK.
    pub fn in_flight_max(&self, terms: &Terms) -> u16 {
        let own = match self {
            Publishes::News { .. } => INFLIGHT_MAX,
            Publishes::Messages(template) => template.in_flight_max,
        };
        own.min(terms.in_flight).max(1)
    }

    /// Whether publications are acknowledged.
    pub fn is_acknowledged(&self, terms: &Terms) -> bool {
        let own = match self {
            Publishes::News { qos, .. } => *qos,
            Publishes::Messages(template) => template.qos,
        };
        qos(own, terms) != QoS::AtMostOnce
    }

    /// The publication of a message. The error says why it cannot be made.
    pub fn of_message(
        &self,
        lane: usize,
        entry: &Entry,
        message: &Message,
        terms: &Terms,
    ) -> Result<Packet, String> {
        match self {
            Publishes::Messages(template) => template.packet(lane, entry.seq, message, terms),
            Publishes::News { .. } => {
                let retain =
                    !message.attributes.iter().any(|(name, value)| name == "retain" && value == "false");
                self.of_state(&message.topic, message.payload.clone(), retain, terms)
            }
        }
    }

    /// The publication of a state.
    pub fn state(&self, state: &Publication, terms: &Terms) -> Result<Packet, String> {
        self.of_state(&state.topic, state.payload.clone(), true, terms)
    }

    /// Where a message goes.
    pub fn topic(&self, message: &Message) -> String {
        match self {
            Publishes::Messages(template) => template.topic(message),
            Publishes::News { .. } => message.topic.clone(),
        }
    }

    fn of_state(&self, topic: &str, payload: Vec<u8>, retain: bool, terms: &Terms) -> Result<Packet, String> {
        let (own, may_retain) = match self {
            Publishes::News { qos, retain } => (*qos, *retain),
            Publishes::Messages(template) => (template.qos, template.retain),
        };
        let publish = Publish {
            topic: topic.to_owned(),
            payload,
            qos: qos(own, terms),
            retain: retain && may_retain && terms.retains,
            expiry_s: None,
            user_properties: Vec::new(),
        };
        checked(publish, terms)
    }
}

/// The quality of service that both sides have.
pub fn qos(own: u8, terms: &Terms) -> QoS {
    if own == 0 { QoS::AtMostOnce } else { terms.qos.min(QoS::AtLeastOnce) }
}

/// The packet, if MQTT can carry it and the broker takes it.
fn checked(publish: Publish, terms: &Terms) -> Result<Packet, String> {
    if !is_topic_name(&publish.topic) {
        return Err(format!("MQTT does not allow the topic {:?}", publish.topic));
    }
    let packet = publish.packet(terms.version);
    match packet.size() {
        size if size > PACKET_MAX => {
            Err(format!("{size} bytes are more than {PACKET_MAX}, the most that is published at once"))
        }
        size => terms.admits(size).map(|()| packet),
    }
}

/// MQTT 3.1.1 §4.7.1 and §4.7.3.
fn is_topic_name(topic: &str) -> bool {
    (1..=TOPIC_MAX).contains(&topic.len()) && !topic.contains(['+', '#', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWS: Publishes = Publishes::News { qos: 1, retain: true };

    #[test]
    fn a_topic_name_has_no_wildcards_no_nul_and_some_length() {
        for topic in ["a", "a/b", "/a//b", "$SYS/x", "ä/ö"] {
            assert!(is_topic_name(topic), "{topic:?}");
        }
        for topic in ["", "a/+/b", "a/#", "a\0b", &"x".repeat(65_536)] {
            assert!(!is_topic_name(topic), "{topic:?}");
        }
    }

    #[test]
    fn a_publication_that_no_packet_can_hold_or_the_broker_does_not_take_is_left_out() {
        for version in [Version::V311, Version::V5] {
            let state = |bytes, terms: &Terms| {
                NEWS.state(&Publication { topic: "a".to_owned(), payload: vec![0; bytes] }, terms).map(drop)
            };
            let free = Terms::of(version);
            assert!(state(PACKET_MAX, &free).unwrap_err().contains("the most that is published"));
            assert_eq!(state(PACKET_MAX - 16, &free), Ok(()));
            let bound = Terms { packet_bytes: Some(100), ..free };
            assert!(state(100, &bound).unwrap_err().contains("the broker takes 100 at most"));
            assert_eq!(state(80, &bound), Ok(()));
        }
    }

    #[test]
    fn what_the_broker_does_not_take_is_not_asked_of_it() {
        let bound = Terms { qos: QoS::AtMostOnce, retains: false, in_flight: 7, ..Terms::of(Version::V5) };
        assert!(!NEWS.is_acknowledged(&bound) && NEWS.is_acknowledged(&Terms::of(Version::V5)));
        assert_eq!((NEWS.in_flight_max(&bound), NEWS.in_flight_max(&Terms::of(Version::V311))), (7, 100));
        let state = Publication { topic: "a".to_owned(), payload: Vec::new() };
        let Ok(Packet::V5(publish)) = NEWS.state(&state, &bound) else { panic!("not of version 5") };
        assert_eq!((publish.retain, publish.qos), (false, rumqttc::v5::mqttbytes::QoS::AtMostOnce));
    }
}
