//! `mqtt` of `[[source]]`: the topics of a broker.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Secret;
use super::client::{Client, Reconnect};
use super::link_kind::LinkKind;
use super::mqtt::{self, Mqtt};
use super::proxy::Proxy;
use super::render::{self, Lines};
use super::table::{Reading, Table};
use super::tls::ClientTls;
use super::topic_template::TopicTemplate;
use super::tree::Node;
use super::url::{self, Url};
use super::value;

/// Topic filters of one source.
const TOPICS_MAX: usize = 100;
/// Start of a shared subscription (MQTT 5.0 §4.8.2).
const SHARED: &str = "$share/";
const VERSIONS: [(&str, MqttVersion); 2] = [("5", MqttVersion::V5), ("3.1.1", MqttVersion::V311)];
const RETAINED: [(&str, Retained); 3] =
    [("new", Retained::New), ("all", Retained::All), ("none", Retained::None)];

/// Topics of a broker, which become messages. The broker holds them in a session while the agent is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttSource {
    /// `mqtt://` or `mqtts://`, host and port (1883 and 8883 by default). Without it the broker of `[mqtt]`, with its login and its TLS settings
    /// unless others are given here, and over a connection of its own. A user in the text becomes `username` and `password`.
    pub url: Option<String>,
    /// Topic filters of MQTT, in which a level may have a name in the place of `+`: `zigbee2mqtt/+`, `tele/{device}/SENSOR`; a last `#` takes all that
    /// follows, a last `{name...}` takes it under a name. The values of names become attributes. `$share/GROUP/FILTER` shares the messages with others.
    pub topics: Vec<String>,
    /// 1: the broker sends a message until it is acknowledged, which it is once it is stored (the default). 2: the same; a message comes twice only if
    /// the agent was killed at the wrong moment. 0: the broker holds nothing back, and what is on its way can be lost.
    pub qos: u8,
    /// Version of MQTT: "5" by default, or "3.1.1" for a broker that knows no other.
    pub version: MqttVersion,
    /// Client identifier, under which the broker keeps the session; `holdfast-AGENT-source-ID` by default. `{agent}` in it is the id of the agent. Under
    /// another one than before nothing comes of what the broker held.
    pub client_id: String,
    /// User, if the broker asks for one.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// TLS settings for `mqtts://`.
    pub tls: ClientTls,
    /// The way to the broker leads through a proxy; none by default.
    pub proxy: Option<Proxy>,
    /// MQTT keep-alive.
    pub keep_alive: Duration,
    /// How long the broker holds messages while the agent is away, by whole seconds. It may have a bound of its own, and with 3.1.1 only that one counts.
    pub session_expiry: Duration,
    /// What becomes of retained messages, which have the attribute `retained = "true"`.
    pub retained: Retained,
    /// Back-off; keys as in `client.reconnect`.
    pub reconnect: Reconnect,
    /// DNS, TCP, TLS, CONNACK and SUBACK together must end within this.
    pub connect_timeout: Duration,
}

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MqttVersion {
    /// 5.0.
    #[default]
    V5,
    /// 3.1.1.
    V311,
}

/// What becomes of retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retained {
    /// They are taken when the broker has no session yet. It does not repeat them at each connect; with 3.1.1 it does, and one that is the same as before
    /// is passed over.
    #[default]
    New,
    /// They are taken at each connect, repeated as they are.
    All,
    /// They are not taken, only what is published from then on.
    None,
}

/// Client identifiers that are taken, by broker, with the place of each.
pub(super) type Known = BTreeMap<(String, String), String>;

impl Default for MqttSource {
    fn default() -> MqttSource {
        MqttSource {
            url: None,
            topics: Vec::new(),
            qos: 1,
            version: MqttVersion::default(),
            client_id: String::new(),
            username: None,
            password: None,
            tls: ClientTls::default(),
            proxy: None,
            keep_alive: Duration::from_secs(20),
            session_expiry: Duration::from_secs(7 * 24 * 3600),
            retained: Retained::default(),
            reconnect: Reconnect::default(),
            connect_timeout: Duration::from_secs(15),
        }
    }
}

impl MqttSource {
    pub(super) fn read(
        table: &mut Table,
        id: &str,
        agent: &str,
        broker: Option<&Mqtt>,
        known: &mut Known,
    ) -> MqttSource {
        let default = MqttSource::default();
        let client_id = format!("holdfast-{agent}-source-{id}");
        let mut source = MqttSource {
            url: table.optional("url", mqtt::broker_url),
            topics: table.required("topics", topics).unwrap_or_default(),
            qos: table.value("qos", default.qos, value::number(0..=2)),
            version: table.value("version", default.version, value::word(VERSIONS)),
            client_id: table.value("client_id", client_id, |node, _| mqtt::named(node, agent)),
            username: table.optional("username", value::line),
            password: table.optional("password", value::secret),
            tls: if table.holds("tls") { table.within("tls", ClientTls::read) } else { ClientTls::default() },
            proxy: Proxy::read(table),
            keep_alive: table.value("keep_alive", default.keep_alive, value::duration(1000..=64_800_000)),
            session_expiry: table.value(
                "session_expiry",
                default.session_expiry,
                value::duration(1000..=3650 * value::DAY),
            ),
            retained: table.value("retained", default.retained, value::word(RETAINED)),
            reconnect: table.within("reconnect", Reconnect::read),
            connect_timeout: table.value("connect_timeout", default.connect_timeout, value::timeout()),
        };
        source.check(table, broker);
        source.take_user(table);
        source.check_client_id(table, broker, known);
        source
    }

    /// The broker that is meant, with its login: its own, or that of `[mqtt]`.
    pub fn broker(&self, common: Option<&Mqtt>) -> MqttSource {
        let Some(common) = common.filter(|_| self.url.is_none()) else { return self.clone() };
        let mut own = MqttSource { url: Some(common.url.clone()), ..self.clone() };
        if own.username.is_none() {
            (own.username, own.password) = (common.username.clone(), common.password.clone());
        }
        if own.tls == ClientTls::default() {
            own.tls = common.tls.clone();
        }
        own
    }

    /// Names that each of its topics has.
    pub(super) fn names(&self) -> Vec<String> {
        let of = |text: &String| -> Vec<String> {
            parse(text)
                .map_or_else(|_| Vec::new(), |(_, template)| template.names().map(str::to_owned).collect())
        };
        let Some((first, others)) = self.topics.split_first() else { return Vec::new() };
        let mut names = of(first);
        for other in others {
            let its = of(other);
            names.retain(|name| its.contains(name));
        }
        names
    }

    pub(super) fn lines(&self, is_whole: bool) -> Lines {
        vec![
            ("url", self.url.as_deref().map(|url| render::string(&url::shown(url)))),
            ("topics", is_whole.then(|| render::strings(&self.topics))),
            ("qos", Some(self.qos.to_string())),
            ("version", Some(render::word(VERSIONS, self.version))),
            ("client_id", Some(render::string(&self.client_id))),
            ("username", self.username.as_deref().map(render::string)),
            ("password", self.password.as_ref().map(render::secret)),
            ("tls", Some(render::inline(&self.tls.pairs()))),
            ("proxy", self.proxy.as_ref().map(Proxy::rendered)),
            ("keep_alive", Some(render::string(&render::duration(self.keep_alive)))),
            (
                "session_expiry",
                (self.version == MqttVersion::V5)
                    .then(|| render::string(&render::duration(self.session_expiry))),
            ),
            ("retained", Some(render::word(RETAINED, self.retained))),
            ("reconnect", Some(self.reconnect.rendered())),
            ("connect_timeout", Some(render::string(&render::duration(self.connect_timeout)))),
        ]
    }

    fn check(&self, table: &Table, broker: Option<&Mqtt>) {
        if self.url.is_none() && !table.has("url") && broker.is_none() {
            table.fail("url", "is missing, and there is no [mqtt] whose broker could be meant");
        }
        let is_plain = |url: &str| url.starts_with("mqtt:");
        if self.url.as_deref().is_some_and(is_plain) && table.has("tls") {
            table.fail("tls", "needs an mqtts:// url");
        }
        if table.has("password") && !table.has("username") {
            table.fail("password", "needs `username` too");
        }
        if self.version == MqttVersion::V311 && table.has("session_expiry") {
            table.fail("session_expiry", "needs version = \"5\": in 3.1.1 the broker alone decides");
        }
    }

    fn take_user(&mut self, table: &Table) {
        let Some((bare, name, password)) = self.url.as_deref().and_then(mqtt::split_user) else { return };
        self.url = Some(bare);
        if table.has("username") {
            table.fail("username", "must not be given twice; the url has a user");
        }
        match (mqtt::decoded(&name), password.map(|password| mqtt::decoded(&password)).transpose()) {
            (Ok(name), Ok(password)) => {
                (self.username, self.password) = (Some(name), password.map(Secret::Plain));
            }
            (Err(what), _) | (_, Err(what)) => table.fail("url", what),
        }
    }

    /// A broker ends the connection before when another one comes with its client identifier, so that two of them push each other off for ever.
    fn check_client_id(&self, table: &Table, broker: Option<&Mqtt>, known: &mut Known) {
        let Some(url) = self.url.as_deref().or(broker.map(|broker| broker.url.as_str())) else { return };
        let key = (address(url), self.client_id.clone());
        let own = table.place("client_id");
        if let Some(place) = known.get(&key) {
            let what = format!(
                "`{}` is the client id of {place} at the same broker, which would end one connection for the other",
                self.client_id
            );
            return table.fail("client_id", what);
        }
        known.insert(key, format!("the source in {own}"));
    }
}

/// Client identifiers of the links to brokers.
pub(super) fn known(agent: &str, clients: &[Client], broker: Option<&Mqtt>) -> Known {
    let mut known = Known::new();
    if let Some(mqtt) = broker {
        known.insert((address(&mqtt.url), mqtt.client_id.clone()), "[mqtt]".to_owned());
    }
    for client in clients.iter().filter(|client| client.kind() == LinkKind::Mqtt) {
        let own = client.publish.client_id.clone();
        let own = own.unwrap_or_else(|| format!("holdfast-{agent}-{}", client.id));
        for url in client.endpoints() {
            known.insert((address(&url), own.clone()), format!("client {}", client.id));
        }
    }
    known
}

/// Host and port of a broker's url; the names of this machine are one.
fn address(url: &str) -> String {
    let Ok(url) = Url::parse(url, ["mqtt", "mqtts"]) else { return String::new() };
    let host = url.host().to_ascii_lowercase();
    let is_local =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical().is_loopback());
    let port = url.port().unwrap_or(if url.scheme == "mqtts" { 8883 } else { 1883 });
    format!("{}:{port}", if is_local { "localhost" } else { &host })
}

/// What a topic of the configuration means: the filter for the broker, and the template for the topics that come.
pub fn parse(text: &str) -> Result<(String, TopicTemplate), String> {
    let shared = text.strip_prefix(SHARED).map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    let Some((group, rest)) = shared else {
        let template = TopicTemplate::parse(text)?;
        return Ok((template.filter(), template));
    };
    if group.is_empty() || group.contains(['+', '#', '{']) || rest.is_empty() {
        return Err("must be $share/GROUP/FILTER".to_owned());
    }
    let template = TopicTemplate::parse(rest)?;
    Ok((format!("{SHARED}{group}/{}", template.filter()), template))
}

fn topics(node: &Node, reading: &Reading) -> Result<Vec<String>, String> {
    let topics = value::strings(node, reading)?;
    if topics.is_empty() || topics.len() > TOPICS_MAX {
        return Err(format!(
            "must name a topic filter, such as [\"zigbee2mqtt/+\"], and {TOPICS_MAX} at most"
        ));
    }
    let mut filters = Vec::new();
    for topic in &topics {
        let (filter, _) = parse(topic).map_err(|what| format!("`{topic}` {what}"))?;
        if filters.contains(&filter) {
            return Err(format!("has the topic filter `{filter}` twice"));
        }
        filters.push(filter);
    }
    Ok(topics)
}
