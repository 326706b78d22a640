//! Meaning of a topic at a broker: where its message goes, and how it has to look.

use std::sync::Arc;

use holdfast_core::config::mqtt_source::parse;
use holdfast_core::config::route::expand;
use holdfast_core::config::source::Source;
use holdfast_core::config::topic_template::TopicTemplate;
use holdfast_core::message::Format;
use holdfast_core::source::intake::Draft;
use holdfast_core::source::mqtt::packet::Publish;
use holdfast_core::source::mqtt::reason::{Closing, Reason};
use holdfast_core::source::payload;
use holdfast_core::source::subscriber::Why;

use super::super::server::request::path::{self, Target};
use super::super::server::{FileRead, SchemaValidator, violation_words};

/// Attribute of a message that the broker had kept, and that may be old.
const RETAINED: &str = "retained";

/// The topics of a source, ready to be asked.
pub struct SourceRouter {
    /// `source:ID`
    source: Arc<str>,
    templates: Vec<TopicTemplate>,
    topic: String,
    device: Option<String>,
    format: Option<Format>,
    priority: u8,
    ttl_s: Option<u32>,
    message_bytes: usize,
    judge: Option<SchemaValidator>,
    /// Names and values that are the same for all.
    values: Vec<(String, String)>,
}

impl SourceRouter {
    /// As the table says. The error names the schema that cannot be used.
    pub fn new(source: &Source, agent: &str) -> Result<SourceRouter, String> {
        let templates = source.mqtt().topics.iter().filter_map(|topic| parse(topic).ok());
        let judge = source.schema.as_deref().map(|file| SchemaValidator::of_source(&source.id, file));
        let judge = judge.transpose()?;
        let own = [("source", source.id.clone()), ("agent", agent.to_owned())];
        Ok(SourceRouter {
            source: format!("source:{}", source.id.to_lowercase()).into(),
            templates: templates.map(|(_, template)| template).collect(),
            topic: source.topic.clone(),
            device: source.device.clone(),
            format: source.format.or(judge.is_some().then_some(Format::Json)),
            priority: source.priority,
            ttl_s: source.ttl_s(),
            message_bytes: source.limits.message_bytes,
            judge,
            values: own.map(|(name, value)| (name.to_owned(), value)).into(),
        })
    }

    /// Files of the schema.
    pub fn files(&self) -> &[FileRead] {
        self.judge.as_ref().map_or(&[], SchemaValidator::files)
    }

    /// What of the schema should be another way, with the place.
    pub fn warnings(&self) -> Vec<String> {
        self.judge.iter().flat_map(SchemaValidator::warnings).collect()
    }

    /// Offer made of a message, with what its check by a schema cost; or why it is not stored.
    pub fn draft(&self, publish: Publish) -> (Result<Draft, Why>, u64) {
        let target = match self.target(&publish) {
            Ok(target) => target,
            Err(why) => return (Err(why), 0),
        };
        let format = self.format.unwrap_or_else(|| payload::sniff(&publish.payload));
        let topic = publish.topic.clone();
        let unfit =
            |words: String| Why::Unfit(Closing::new(Reason::PayloadFormat, format!("{topic}: {words}")));
        if publish.payload.len() > self.message_bytes {
            let most = self.message_bytes;
            let words = format!("a message may have {most} bytes at most (limits.message_bytes)");
            return (Err(Why::Unfit(Closing::new(Reason::TooLarge, format!("{topic}: {words}")))), 0);
        }
        if self.format.is_some()
            && let Err(error) = payload::check(format, &publish.payload)
        {
            return (Err(unfit(format!("the message is {error}"))), 0);
        }
        let checked = self.judge.as_ref().map(|judge| judge.check(&publish.payload));
        let work = checked.as_ref().map_or(0, |checked| checked.work);
        if let Some(Err(violation)) = checked.map(|checked| checked.result) {
            return (Err(unfit(violation_words(&violation))), work);
        }
        let draft = Draft {
            topic: target.topic,
            device: target.device,
            source: self.source.clone(),
            format,
            payload: publish.payload,
            attributes: target.attributes,
            priority: self.priority,
            ttl_s: self.ttl_s.into_iter().chain(publish.expiry_s).min(),
        };
        (Ok(draft), work)
    }

    /// By the first topic of the configuration that matches.
    fn target(&self, publish: &Publish) -> Result<Target, Why> {
        let matched = self.templates.iter().find_map(|template| template.matches(&publish.topic));
        // Filters of MQTT let a level be empty, names do not.
        let Some(mut attributes) = matched else { return Err(Why::Unmatched) };
        let has_device = attributes.iter().any(|(name, _)| name == "device");
        let trimmed = publish.topic.trim_matches('/').to_owned();
        let own = [("topic".to_owned(), trimmed)];
        let values: Vec<(String, String)> =
            attributes.iter().cloned().chain(own).chain(self.values.iter().cloned()).collect();
        let device = match &self.device {
            Some(template) => Some(expand(template, &values)),
            None => has_device.then(|| expand("{device}", &values)),
        };
        attributes.extend(publish.user_properties.iter().cloned());
        if publish.retain {
            attributes.push((RETAINED.to_owned(), "true".to_owned()));
        }
        let target = Target { topic: expand(&self.topic, &values), device, attributes, ..Target::default() };
        path::check(target).map_err(|words| {
            Why::Unfit(Closing::new(Reason::TopicName, format!("{}: {words}", publish.topic)))
        })
    }
}
