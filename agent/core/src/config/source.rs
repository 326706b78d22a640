//! `[[source]]`: where messages are fetched, beside the servers that they come to.

use std::path::PathBuf;
use std::time::Duration;

use super::mqtt::Mqtt;
use super::mqtt_source::{Known, MqttSource};
use super::render::{self, Lines};
use super::route::names_in;
use super::server::{FORMAT, template, topic};
use super::table::Table;
use super::throttle::{Throttle, throttle};
use super::value;
use crate::message::Format;

/// Kinds that are designed and not built, and their keys.
const PLANNED: [&str; 10] =
    ["exec", "http", "file", "tail", "stdin", "modbus", "every", "cron", "jitter", "overlap"];
/// Names that a template may hold beside those of the kind.
const NAMES: [&str; 3] = ["topic", "source", "agent"];

/// `[[source]]`: where messages are fetched, beside the servers that they come to: the topics of a broker. Each has exactly one kind, which is
/// the key `mqtt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A letter or `_`, then letters, digits and `_`; unique among the sources, in any case of its letters. Its messages come from `source:ID`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Words for people.
    pub description: String,
    /// False: nothing is fetched. What a broker holds for it stays there.
    pub active: bool,
    /// Topic template of `{topic}`, which is the topic at the broker, `{source}`, `{agent}` and the names in `mqtt.topics`.
    pub topic: String,
    /// Device template with the same names; `{device}` by default where `mqtt.topics` has that name.
    pub device: Option<String>,
    /// Required format of payloads; by default they are text, JSON or binary as they come. One that is not so is refused: it is counted, and the
    /// broker does not send it again.
    pub format: Option<Format>,
    /// As that of a route: messages of a higher priority go first.
    pub priority: u8,
    /// How long its messages are worth sending, as that of a route; with MQTT 5 a message may say less.
    pub ttl: Option<Duration>,
    /// JSON Schema that messages must hold to, as that of a route. One that breaks it is refused as one of another `format` is.
    pub schema: Option<PathBuf>,
    /// Bounds of the source.
    pub limits: SourceLimits,
    /// Its kind.
    pub kind: SourceKind,
}

/// Kind of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// Topics of a broker (MQTT). Each message is acknowledged once it is stored, and not before.
    Mqtt(Box<MqttSource>),
}

/// Bounds of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLimits {
    /// Bytes of one message; a larger one is refused.
    pub message_bytes: usize,
    /// Messages that it fetches: "200/s", with a burst "200/s burst 400", "30/min"; "" is no bound. What comes faster waits at the broker.
    pub rate: Option<Throttle>,
    /// Messages that may wait for their acknowledgement, which is the receive maximum of MQTT 5.
    pub inflight: u16,
}

impl Default for SourceLimits {
    fn default() -> SourceLimits {
        SourceLimits { message_bytes: 65_536, rate: None, inflight: 100 }
    }
}

impl Source {
    /// The source with this index (from 0) when nothing is said about it.
    pub fn of_index(index: usize) -> Source {
        Source {
            id: format!("source_{}", index + 1),
            name: String::new(),
            description: String::new(),
            active: true,
            topic: "{topic}".to_owned(),
            device: None,
            format: None,
            priority: 0,
            ttl: None,
            schema: None,
            limits: SourceLimits::default(),
            kind: SourceKind::Mqtt(Box::default()),
        }
    }

    /// The time to live of its messages in seconds.
    pub fn ttl_s(&self) -> Option<u32> {
        self.ttl.map(|ttl| u32::try_from(ttl.as_secs().max(1)).unwrap_or(u32::MAX))
    }

    /// What it fetches from a broker.
    pub fn mqtt(&self) -> &MqttSource {
        let SourceKind::Mqtt(mqtt) = &self.kind;
        mqtt
    }

    pub(super) fn read(
        index: usize,
        table: &mut Table,
        agent: &str,
        broker: Option<&Mqtt>,
        known: &mut Known,
    ) -> Source {
        table.planned(&PLANNED);
        let default = Source::of_index(index);
        let id = table.optional("id", value::id).unwrap_or(default.id);
        let mqtt = if table.holds("mqtt") {
            table.within("mqtt", |table| MqttSource::read(table, &id, agent, broker, known))
        } else {
            table.known("mqtt");
            table.fail_whole(
                "says nothing of where its messages are: it needs `mqtt = { url = \"…\", topics = [\"…\"] }`",
            );
            MqttSource::default()
        };
        let names = mqtt.names();
        let topic = table.value("topic", default.topic, |node, _| {
            topic(node, None).and_then(|text| of_names(text, &names))
        });
        let device =
            table.optional("device", |node, _| template(node, None).and_then(|text| of_names(text, &names)));
        let format = table.optional("format", value::word(FORMAT));
        let schema = table.optional("schema", value::path);
        if schema.is_some() && format.is_some_and(|format| format != Format::Json) {
            table.fail("schema", "needs format = \"json\"");
        }
        Source {
            id,
            name: table.value("name", default.name, value::string),
            description: table.value("description", default.description, value::string),
            active: table.value("active", default.active, value::boolean),
            topic,
            device,
            format,
            priority: table.value("priority", 0, value::number(0..=9)),
            ttl: table.optional("ttl", value::duration(1_000..=366 * value::DAY)),
            schema,
            limits: table.within("limits", SourceLimits::read),
            kind: SourceKind::Mqtt(Box::new(mqtt)),
        }
    }

    pub(super) fn lines(&self) -> Lines {
        vec![
            ("id", Some(render::string(&self.id))),
            ("name", Some(render::string(&self.name))),
            ("description", Some(render::string(&self.description))),
            ("active", Some(self.active.to_string())),
            ("topic", Some(render::string(&self.topic))),
            ("device", self.device.as_deref().map(render::string)),
            ("format", self.format.map(|format| render::word(FORMAT, format))),
            ("priority", Some(self.priority.to_string())),
            ("ttl", self.ttl.map(|ttl| render::string(&render::duration(ttl)))),
            ("schema", self.schema.as_deref().map(render::path)),
            ("limits", Some(self.limits.rendered())),
        ]
    }
}

impl SourceLimits {
    fn read(table: &mut Table) -> SourceLimits {
        let default = SourceLimits::default();
        let message_bytes = table.optional("message_bytes", value::bytes(1..=16 << 20));
        SourceLimits {
            message_bytes: message_bytes
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(default.message_bytes),
            rate: table.value("rate", None, throttle),
            inflight: table.value("inflight", default.inflight, value::number(1..=10_000)),
        }
    }

    fn rendered(&self) -> String {
        render::inline(&[
            ("message_bytes", Some(self.message_bytes.to_string())),
            ("rate", Some(render::string(&self.rate.map_or(String::new(), |rate| rate.to_string())))),
            ("inflight", Some(self.inflight.to_string())),
        ])
    }
}

/// A template with no other names than these and ours.
fn of_names(text: String, names: &[String]) -> Result<String, String> {
    let is_known = |name: &&str| NAMES.contains(name) || names.iter().any(|known| known == name);
    match names_in(&text)?.into_iter().find(|name| !is_known(name)) {
        None => Ok(text),
        Some(name) => {
            let known: Vec<&str> = NAMES.into_iter().chain(names.iter().map(String::as_str)).collect();
            Err(format!(
                "has no value for `{name}`, only for {}; names come of every one of `mqtt.topics`, as in \"tele/{{device}}/SENSOR\"",
                known.join(", ")
            ))
        }
    }
}
