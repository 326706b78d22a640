//! How a client publishes at a broker: the topic of each message is a template.

use super::client::Client;
use super::mqtt::{MqttVersion, VERSIONS};
use super::render::{self, Lines};
use super::route::names_in;
use super::table::{Reading, Table};
use super::tree::Node;
use super::value;

/// Names that a topic may hold.
const NAMES: [&str; 4] = ["topic", "device", "client", "agent"];

/// How a client publishes at a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Topic of each message at a broker (MQTT): a template of `{topic}`, `{device}`, `{client}` and `{agent}`; `{topic}` by default.
    pub topic: String,
    /// 1: the broker acknowledges each message (MQTT; the default). 0: a message is forgotten when it is written to the socket.
    pub qos: u8,
    /// Whether the broker keeps the last message of each topic (MQTT); false by default.
    pub retain: bool,
    /// Client identifier (MQTT), another one for each client of a broker; `holdfast-AGENT-ID` by default.
    pub client_id: Option<String>,
    /// Version of MQTT: "5"; "3.1.1"; or "auto" (the default), which tries 5 first. Only in 5 a broker says why it does not take a
    /// message, and a message has its number with it.
    pub version: MqttVersion,
}

impl Default for Publish {
    fn default() -> Publish {
        Publish {
            topic: "{topic}".to_owned(),
            qos: 1,
            retain: false,
            client_id: None,
            version: MqttVersion::Auto,
        }
    }
}

impl Client {
    /// Its client identifier at a broker.
    pub fn mqtt_client_id(&self, agent: &str) -> String {
        self.publish.client_id.clone().unwrap_or_else(|| format!("holdfast-{agent}-{}", self.id))
    }
}

impl Publish {
    pub(super) fn read(table: &mut Table) -> Publish {
        let default = Publish::default();
        Publish {
            topic: table.value("topic", default.topic, topic),
            qos: table.value("qos", default.qos, value::number(0..=1)),
            retain: table.value("retain", default.retain, value::boolean),
            client_id: table.optional("client_id", value::line),
            version: table.value("version", default.version, value::word(VERSIONS)),
        }
    }

    pub(super) fn lines(&self, shown: bool) -> Lines {
        let lines = vec![
            ("topic", Some(render::string(&self.topic))),
            ("qos", Some(self.qos.to_string())),
            ("retain", Some(self.retain.to_string())),
            ("client_id", self.client_id.as_deref().map(render::string)),
            ("version", Some(render::word(VERSIONS, self.version))),
        ];
        lines.into_iter().map(|(key, value)| (key, value.filter(|_| shown))).collect()
    }
}

fn topic(node: &Node, _: &Reading) -> Result<String, String> {
    let text = value::text(node)?;
    if text.is_empty() || text.contains(['+', '#', '\0']) {
        return Err("must be a topic without a wildcard (`+`, `#`)".to_owned());
    }
    match names_in(text)?.into_iter().find(|name| !NAMES.contains(name)) {
        Some(name) => Err(format!("has no value for `{name}`, only for {}", NAMES.join(", "))),
        None => Ok(text.to_owned()),
    }
}
