//! From the configuration to what the agent and its connections need to know.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::agent::{Agent, LinkSetup, MqttSetup, Setup, SourceSetup};
use holdfast_core::config::client::{Client, Confirm, Framing, Ping};
use holdfast_core::config::link_kind::LinkKind;
use holdfast_core::config::mqtt::Mqtt;
use holdfast_core::config::source::{Source, SourceKind};
use holdfast_core::config::{self, Config};
use holdfast_core::ids::LinkId;
use holdfast_core::link::LinkRule;
use holdfast_core::link::endpoint::EndpointRule;
use holdfast_core::outlet::lane::PRIORITIES;

use super::{ORDERS, Peer};
use crate::os::clock;
use crate::outlet::mqtt::Broker;
use crate::outlet::uplink::{Inbound, Lane, Uplink};

/// Publications in flight to the broker.
pub const MQTT_WINDOW: usize = 100;
const MQTT_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const MQTT_CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// What the agent is told.
pub fn setup(config: &Config) -> Setup {
    // One for each that there could be, since the store may know more of them than the configuration.
    let outlets = config.clients.len() * PRIORITIES + usize::from(config.mqtt.is_some());
    Setup {
        agent: config.agent.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        links: config.clients.iter().map(|client| link(client, &config.agent.id)).collect(),
        proven: Vec::new(),
        priorities: config.priorities(),
        mqtt: config.mqtt.as_ref().map(mqtt),
        sources: config.sources.iter().map(|own| source(own, config.mqtt.as_ref())).collect(),
        buffer: config.buffer,
        presence: config.presence.clone(),
        host: config.host,
        new_epochs: (0..outlets).map(|_| epoch()).collect(),
        run: fastrand::u64(1..),
        seed: fastrand::u64(..),
    }
}

/// What a link connects to; none if it is not configured any more.
pub fn peer(agent_id: &str, agent: &Agent, link: LinkId) -> Option<Peer> {
    let lanes = agent.lanes(link).map(|(priority, epoch)| Lane { priority, epoch: epoch.to_owned() });
    if let Some(LinkSetup { table, .. }) = agent.settings(link) {
        let uplink = Uplink {
            client: (**table).clone(),
            agent: agent_id.to_owned(),
            inbound: Inbound::of(table, agent_id),
            lanes: lanes.collect(),
            ttl: agent.ttl(link),
            spoken: agent.spoken_version(link),
        };
        return Some(Peer::Client { uplink: Rc::new(uplink), orders: table.window + ORDERS });
    }
    let (mqtt, will) = ((**agent.broker(link)?).clone(), agent.will());
    Some(Peer::Mqtt(Rc::new(Broker { mqtt, will, spoken: agent.spoken_version(link) })))
}

fn link(client: &Client, agent: &str) -> LinkSetup {
    let endpoints = client.endpoints();
    let kind = client.kind();
    let (confirm, ping, patience) = match kind {
        LinkKind::WebSocket => (client.confirm, client.ping, Duration::ZERO),
        LinkKind::Mqtt => (Confirm::Ack, client.ping, Duration::ZERO),
        // Nothing is pinged. Half of the time that a pong would have is what a request should take.
        LinkKind::Http => {
            let timeout = client.ping.timeout + client.batch.after.saturating_mul(2);
            (Confirm::Ack, Ping { interval: Duration::ZERO, timeout }, client.batch.after)
        }
    };
    let rule = LinkRule {
        kind,
        active: client.active && !endpoints.is_empty(),
        confirm,
        ping,
        reconnect: client.reconnect,
        endpoints: EndpointRule {
            count: endpoints.len(),
            balance: client.balance,
            prefer_after: client.prefer_after,
        },
        connect_timeout: client.connect_timeout,
        confirm_timeout: client.confirm_timeout + patience,
        client_id: (kind == LinkKind::Mqtt).then(|| client.mqtt_client_id(agent)),
    };
    let hello = client.framing == Framing::Envelope;
    LinkSetup {
        id: client.id.to_lowercase(),
        rule,
        window: client.window,
        hello,
        frame_bytes: client.frame_bytes,
        place: client.buffer,
        replay: client.replay,
        trial: client.trial,
        places: endpoints.iter().map(|url| config::place(url)).collect(),
        application: client.application.clone(),
        table: Arc::new(client.clone()),
    }
}

fn mqtt(mqtt: &Mqtt) -> MqttSetup {
    let rule = LinkRule {
        kind: LinkKind::Mqtt,
        active: true,
        confirm: Confirm::Ack,
        ping: Ping { interval: mqtt.keep_alive, timeout: mqtt.keep_alive / 2 },
        reconnect: mqtt.reconnect,
        endpoints: EndpointRule::single(),
        connect_timeout: MQTT_CONNECT_TIMEOUT,
        confirm_timeout: MQTT_CONFIRM_TIMEOUT,
        client_id: Some(mqtt.client_id.clone()),
    };
    let (prefix, status_interval) = (mqtt.prefix.clone(), mqtt.status_interval);
    MqttSetup { rule, window: MQTT_WINDOW, prefix, status_interval, table: Arc::new(mqtt.clone()) }
}

fn source(source: &Source, common: Option<&Mqtt>) -> SourceSetup {
    let mqtt = source.mqtt().broker(common);
    let rule = LinkRule {
        kind: LinkKind::Mqtt,
        active: source.active,
        confirm: Confirm::Ack,
        ping: Ping { interval: mqtt.keep_alive, timeout: mqtt.keep_alive / 2 },
        reconnect: mqtt.reconnect,
        endpoints: EndpointRule::single(),
        connect_timeout: mqtt.connect_timeout,
        confirm_timeout: MQTT_CONFIRM_TIMEOUT,
        client_id: Some(mqtt.client_id.clone()),
    };
    let place = mqtt.url.as_deref().map(config::place).unwrap_or_default();
    let table = Source { kind: SourceKind::Mqtt(Box::new(mqtt)), ..source.clone() };
    SourceSetup { id: source.id.to_lowercase(), rule, place, table: Arc::new(table) }
}

/// A name for the life of an outlet's numbers: a ULID, so that two of them sort by their birth.
fn epoch() -> String {
    let chance = u128::from(fastrand::u64(..)) << 64 | u128::from(fastrand::u64(..));
    ulid::Ulid::from_parts(clock::now().wall_ns / 1_000_000, chance).to_string()
}
