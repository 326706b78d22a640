//! What the agent is made of, as the configuration says.

use std::time::Duration;

use super::link::LinkRule;
use crate::config;

/// What the agent is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// Its id.
    pub agent: String,
    /// Its version.
    pub version: String,
    /// The client links; link and outlet numbers are their positions.
    pub links: Vec<LinkSetup>,
    /// The MQTT link, which comes after them.
    pub mqtt: Option<MqttSetup>,
    /// `[buffer]`
    pub buffer: config::buffer::Buffer,
    /// `[presence]`
    pub presence: config::agent::Presence,
    /// `[host]`
    pub host: config::host::Host,
    /// An epoch for each outlet that has none yet.
    pub births: Vec<String>,
    /// Where chance starts.
    pub seed: u64,
}

impl Setup {
    /// Names of the outlets in the store, in the order of their numbers.
    pub fn outlets(&self) -> Vec<String> {
        let clients = self.links.iter().map(|link| format!("client:{}", link.id));
        clients.chain(self.mqtt.iter().map(|_| "mqtt".to_owned())).collect()
    }

    /// How old a message may be for an outlet; none holds it for ever.
    pub fn ttl(&self, outlet: usize) -> Option<Duration> {
        let bounds = self.links.get(outlet).map(|link| link.bounds);
        bounds.unwrap_or_else(|| self.buffer.bounds(config::buffer::Place::default())).ttl
    }
}

/// One client link.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkSetup {
    /// Its id.
    pub id: String,
    /// How it lives.
    pub rule: LinkRule,
    /// Messages in flight at most.
    pub window: usize,
    /// Whether it introduces itself (envelope framing).
    pub hello: bool,
    /// What bounds its place in the buffer.
    pub bounds: config::buffer::Bounds,
}

/// The MQTT link.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttSetup {
    /// How it lives.
    pub rule: LinkRule,
    /// Messages in flight at most.
    pub window: usize,
    /// Start of every topic.
    pub prefix: String,
    /// Longest time between two status messages.
    pub status_interval: Duration,
}
