//! `[mqtt]`: the broker that is told how the agent and its devices are.

use std::time::Duration;

use super::Secret;
use super::client::Reconnect;
use super::render::{self, Lines};
use super::table::{Reading, Table};
use super::tls::ClientTls;
use super::tree::Node;
use super::url::{self, Url};
use super::value;

pub(super) const VERSIONS: [(&str, MqttVersion); 3] =
    [("auto", MqttVersion::Auto), ("5", MqttVersion::Five), ("3.1.1", MqttVersion::ThreeOneOne)];

/// `[mqtt]`: the broker that is told how the agent and its devices are. Without this table there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// `mqtt://` or `mqtts://`, host and port (1883 and 8883 by default). A user in the text becomes `username` and
    /// `password` and does not stay here.
    pub url: String,
    /// Client identifier, another one for each agent of a broker.
    pub client_id: String,
    /// User, if the broker asks for one.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// TLS settings for `mqtts://`; keys `ca`, `cert`, `key`, `server_name`, `pin` stand directly in `[mqtt]`.
    pub tls: ClientTls,
    /// Start of every topic. `{agent}` in the text has become the id of the agent.
    pub prefix: String,
    /// Version of MQTT: "5"; "3.1.1"; or "auto", which tries 5 first and takes 3.1.1 with a broker that refuses it. Only in 5 a broker
    /// says what it does not take, and why.
    pub version: MqttVersion,
    /// Quality of service of all that is published. With 0 nothing is acknowledged: what is lost on the way is lost.
    pub qos: u8,
    /// Whether the broker keeps the last status, and the last news of each device, for those who come later; `false` for brokers
    /// that refuse retained messages.
    pub retain: bool,
    /// Whether the broker says `offline` when the connection is lost (Last Will); `false` for brokers that refuse it.
    pub will: bool,
    /// Longest time between two status messages.
    pub status_interval: Duration,
    /// MQTT keep-alive.
    pub keep_alive: Duration,
    /// Back-off; keys as in `client.reconnect`.
    pub reconnect: Reconnect,
}

/// Which version of MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MqttVersion {
    /// 5, or 3.1.1 where the broker does not speak it.
    #[default]
    Auto,
    /// MQTT 5.
    Five,
    /// MQTT 3.1.1.
    ThreeOneOne,
}

impl Mqtt {
    /// The settings for a broker of which nothing but the url is said.
    pub fn of_url(url: &str, agent: &str) -> Mqtt {
        Mqtt {
            url: url.to_owned(),
            client_id: format!("holdfast-{agent}"),
            username: None,
            password: None,
            tls: ClientTls::default(),
            prefix: format!("holdfast/{agent}"),
            version: MqttVersion::Auto,
            qos: 1,
            retain: true,
            will: true,
            status_interval: Duration::from_secs(30),
            keep_alive: Duration::from_secs(20),
            reconnect: Reconnect::default(),
        }
    }

    pub(super) fn read(table: &mut Table, agent: &str) -> Option<Mqtt> {
        let default = Mqtt::of_url("", agent);
        let url = table.required("url", broker_url);
        let mut mqtt = Mqtt {
            client_id: table.value("client_id", default.client_id, |node, _| named(node, agent)),
            username: table.optional("username", value::line),
            password: table.optional("password", value::secret),
            tls: ClientTls::read(table),
            prefix: table.value("prefix", default.prefix, |node, _| prefix(node, agent)),
            version: table.value("version", default.version, value::word(VERSIONS)),
            qos: table.value("qos", default.qos, value::number(0..=1)),
            retain: table.value("retain", default.retain, value::boolean),
            will: table.value("will", default.will, value::boolean),
            status_interval: table.value(
                "status_interval",
                default.status_interval,
                value::duration(100..=value::DAY),
            ),
            keep_alive: table.value("keep_alive", default.keep_alive, value::duration(1000..=64_800_000)),
            reconnect: table.within("reconnect", Reconnect::read),
            url: url?,
        };
        mqtt.check(table);
        mqtt.take_user(table);
        Some(mqtt)
    }

    pub(super) fn lines(&self) -> Lines {
        let mut lines = vec![
            ("url", Some(render::string(&url::shown(&self.url)))),
            ("client_id", Some(render::string(&self.client_id))),
            ("username", self.username.as_deref().map(render::string)),
            ("password", self.password.as_ref().map(render::secret)),
        ];
        lines.extend(self.tls.pairs());
        lines.extend([
            ("prefix", Some(render::string(&self.prefix))),
            ("version", Some(render::word(VERSIONS, self.version))),
            ("qos", Some(self.qos.to_string())),
            ("retain", Some(self.retain.to_string())),
            ("will", Some(self.will.to_string())),
            ("status_interval", Some(render::string(&render::duration(self.status_interval)))),
            ("keep_alive", Some(render::string(&render::duration(self.keep_alive)))),
            ("reconnect", Some(self.reconnect.rendered())),
        ]);
        lines
    }

    fn check(&self, table: &Table) {
        if self.url.starts_with("mqtt:") {
            for key in ["ca", "cert", "key", "server_name", "pin"] {
                if table.has(key) {
                    table.fail(key, "needs an mqtts:// url");
                }
            }
        }
        // MQTT 3.1.1 §3.1.2.9: no password without a user.
        if table.has("password") && !table.has("username") {
            table.fail("password", "needs `username` too");
        }
    }

    fn take_user(&mut self, table: &Table) {
        let Some((bare, name, password)) = split_user(&self.url) else { return };
        self.url = bare;
        if table.has("username") {
            table.fail("username", "must not be given twice; the url has a user");
        }
        match (decoded(&name), password.map(|password| decoded(&password))) {
            (Ok(name), None) => self.username = Some(name),
            (Ok(name), Some(Ok(password))) => {
                self.username = Some(name);
                self.password = Some(Secret::Plain(password));
            }
            (Err(what), _) | (_, Some(Err(what))) => table.fail("url", what),
        }
    }
}

/// The url without its user, the user and the password.
pub(super) fn split_user(text: &str) -> Option<(String, String, Option<String>)> {
    let url = Url::parse(text, ["mqtt", "mqtts"]).ok()?;
    let (name, password) = url.user?;
    let bare = format!("{}://{}{}", url.scheme, url.authority, url.tail);
    Some((bare, name.to_owned(), password.map(str::to_owned)))
}

pub(super) fn decoded(text: &str) -> Result<String, String> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8();
    text.map(|text| text.into_owned()).map_err(|_| "its user or password is not UTF-8".to_owned())
}

pub(super) fn broker_url(node: &Node, _: &Reading) -> Result<String, String> {
    let url = Url::parse(value::text(node)?, ["mqtt", "mqtts"])?;
    match url.tail {
        "" | "/" => Ok(url.text()),
        _ => Err("must end after the host and port".to_owned()),
    }
}

pub(super) fn named(node: &Node, agent: &str) -> Result<String, String> {
    let text = value::text(node)?.replace("{agent}", agent);
    if text.is_empty() || text.contains(|letter: char| letter.is_control() || "{}".contains(letter)) {
        return Err("must not be empty, hold a control character or a name other than {agent}".to_owned());
    }
    Ok(text)
}

fn prefix(node: &Node, agent: &str) -> Result<String, String> {
    let text = named(node, agent)?;
    if text.contains(['+', '#']) {
        return Err("must not hold a wildcard (`+`, `#`)".to_owned());
    }
    if text.starts_with('/') || text.ends_with('/') {
        return Err("must not start or end with `/`".to_owned());
    }
    Ok(text)
}
