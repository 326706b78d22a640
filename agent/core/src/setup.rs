//! What the agent is made of, as the configuration says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::config::buffer::BufferLimits;
use crate::config::client::Client;
use crate::config::mqtt::Mqtt;
use crate::config::replay::Replay;
use crate::config::source::Source;
use crate::link::LinkRule;
use crate::outlet::lane;

/// What the agent is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// Its id.
    pub agent: String,
    /// Its version.
    pub version: String,
    /// The client links.
    pub links: Vec<LinkSetup>,
    /// Settings that proved themselves in the life before this one: those of `links` that differ are on trial.
    pub proven: Vec<LinkSetup>,
    /// Priorities that routes give their messages, rising; the first is 0.
    pub priorities: Vec<u8>,
    /// The MQTT link.
    pub mqtt: Option<MqttSetup>,
    /// The sources that fetch messages.
    pub sources: Vec<SourceSetup>,
    /// `[buffer]`
    pub buffer: config::buffer::Buffer,
    /// `[presence]`
    pub presence: config::agent::Presence,
    /// `[host]`
    pub host: config::host::Host,
    /// An epoch for each outlet that has none yet.
    pub new_epochs: Vec<String>,
    /// Names this run of the agent, by chance.
    pub run: u64,
    /// Where chance starts.
    pub seed: u64,
}

impl Setup {
    /// Names of the outlets in the store: for each client link one for each priority, then that of the broker.
    pub fn outlets(&self) -> Vec<String> {
        let priorities = self.priorities_with(self.links.iter());
        let lanes = |link: &LinkSetup| -> Vec<String> {
            priorities.iter().map(|priority| lane::name(&link.outlet(), *priority)).collect()
        };
        let clients = self.links.iter().flat_map(lanes);
        clients.chain(self.mqtt.iter().map(|_| lane::MQTT.to_owned())).collect()
    }

    /// Priorities that have a lane on each client link, rising: those of routes, and those that the peers of these links give.
    pub fn priorities_with<'a>(&self, links: impl Iterator<Item = &'a LinkSetup>) -> Vec<u8> {
        let of_peers = links.filter_map(|own| own.table.inbound.as_ref()).map(|inbound| inbound.priority);
        let all: BTreeSet<u8> = self.priorities.iter().copied().chain(of_peers).collect();
        all.into_iter().collect()
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
    /// Bytes of an envelope with several messages at most, unless the peer takes less.
    pub frame_bytes: usize,
    /// What it says of its place in the buffer.
    pub place: BufferLimits,
    /// How a backlog is sent.
    pub replay: Replay,
    /// Changed settings are confirmed within this, or the old ones come back; zero tries nothing.
    pub trial: Duration,
    /// Where it may connect to, for the status, without secrets.
    pub places: Vec<String>,
    /// What it belongs to; may be empty.
    pub application: String,
    /// Its table of the configuration, for whoever makes its connection: it comes and goes with the rest of the settings.
    pub table: Arc<Client>,
}

impl LinkSetup {
    /// Name of its outlet in the store, without a priority.
    pub fn outlet(&self) -> String {
        lane::of_client(self.table.outlet.as_deref().unwrap_or(&self.id))
    }
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
    /// Its table of the configuration, for whoever makes its connection.
    pub table: Arc<Mqtt>,
}

/// One source that fetches messages.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSetup {
    /// Its id.
    pub id: String,
    /// How its link lives.
    pub rule: LinkRule,
    /// Where it connects to, for the status, without secrets.
    pub place: String,
    /// Its table of the configuration with the broker that is meant, for whoever makes its connection.
    pub table: Arc<Source>,
}
