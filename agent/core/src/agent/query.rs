//! What the agent is asked. A question changes nothing; the answer says how things are at this moment.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Agent, LinkSetup, SourceSetup};
use crate::config::mqtt::Mqtt;
use crate::ids::LinkId;
use crate::link::protocol::Publication;
use crate::message::Message;
use crate::observe::health::Health;
use crate::observe::status::{self, Farewell, Status};
use crate::outlet::given::Given;
use crate::outlet::lane;
use crate::outlet::queue::OutletQueue;
use crate::source::mqtt::packet::Version;
use crate::time::Now;
use crate::topic_filter::TopicFilter;

/// A question of people or programs.
#[derive(Debug, Clone)]
pub enum Query {
    /// How the agent and everything around it is.
    Status,
    /// Whether it makes progress.
    Health,
    /// Which topics that this filter means were heard of lately.
    Topics(TopicFilter),
    /// The last message of a topic.
    Last(String),
}

/// What is answered to a [`Query`] of the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// With the devices.
    Status(Box<Status>),
    /// What keeps it from making progress, if anything does.
    Health(Health),
    /// The topics, and how many had to give way.
    Topics(Value),
    /// None where nothing is known of it.
    Last(Option<Arc<Message>>),
}

impl Agent {
    /// Answers a question.
    pub fn answer(&self, now: Now, query: &Query) -> Reply {
        match query {
            Query::Status => Reply::Status(Box::new(self.status(now))),
            Query::Health => Reply::Health(self.health(now)),
            Query::Topics(filter) => Reply::Topics(self.buffer.last().shown(filter)),
            Query::Last(topic) => Reply::Last(self.buffer.last().of(topic).cloned()),
        }
    }

    /// Whether messages can be taken, or the sources should be told why they can't.
    pub fn may_listen(&self) -> bool {
        !self.buffer.is_starting() || self.buffer.failure().is_some()
    }

    /// What was given of the numbers until now. It must be safe from the agent's end before any of its actions is carried out.
    pub fn given(&self) -> Given {
        self.buffer.given()
    }

    /// Whether no number may be given yet.
    pub fn is_starting(&self) -> bool {
        self.buffer.is_starting()
    }

    /// How often the agent has started.
    pub fn session(&self) -> u64 {
        self.buffer.session()
    }

    /// The lanes of a link in rising priority, the first of priority 0: priority and epoch of each.
    pub fn lanes(&self, link: LinkId) -> impl Iterator<Item = (u8, &str)> {
        let lanes = self.links[link].lanes.iter();
        lanes.map(|(priority, outlet)| (*priority, self.buffer.queue(*outlet).epoch.as_str()))
    }

    /// The settings of a client's link that are in force.
    pub fn settings(&self, link: LinkId) -> Option<&LinkSetup> {
        self.links.find(link)?.own()
    }

    /// The settings of a source's link.
    pub fn source(&self, link: LinkId) -> Option<&SourceSetup> {
        self.links.find(link)?.source()
    }

    /// The table of the broker, if this is its link.
    pub fn broker(&self, link: LinkId) -> Option<&Arc<Mqtt>> {
        let mqtt = self.setup.mqtt.as_ref()?;
        (self.mqtt_line() == Some(link)).then_some(&mqtt.table)
    }

    /// The version of MQTT in which the last connection of a link was made.
    pub fn spoken_version(&self, link: LinkId) -> Option<Version> {
        self.links.find(link)?.terms.map(|terms| terms.version)
    }

    /// How long messages of a link live, if not for ever.
    pub fn ttl(&self, link: LinkId) -> Option<Duration> {
        self.links.find(link)?.bounds(&self.setup).ttl
    }

    /// What the broker publishes when the agent is gone without a word.
    pub fn will(&self) -> Option<Publication> {
        let payload = status::last_words(self, Farewell::Lost);
        let setup = self.setup.mqtt.as_ref().filter(|setup| setup.table.will)?;
        Some(Publication { topic: format!("{}/status", setup.prefix), payload })
    }

    /// How the agent and everything around it is, with the devices.
    pub fn status(&self, now: Now) -> Status {
        status::whole(self, now)
    }

    /// The id of a link, `mqtt` for the broker's.
    pub fn name(&self, link: LinkId) -> &str {
        &self.links[link].id
    }

    /// The name of a link's outlet in the store; none for a number that no link has.
    pub fn outlet(&self, link: LinkId) -> Option<&str> {
        self.links.find(link).map(|line| line.outlet.as_str())
    }

    /// Last confirmed number of each lane of each link, with its priority.
    pub fn confirmed(&self) -> Vec<(LinkId, u8, u64)> {
        let lanes = self.links.pairs().flat_map(|(link, line)| {
            line.lanes.iter().map(move |(priority, outlet)| (link, *priority, *outlet))
        });
        lanes
            .map(|(link, priority, outlet)| (link, priority, self.buffer.queue(outlet).confirmed()))
            .collect()
    }

    /// Whether a number of an outlet, named as in the store, is confirmed.
    pub fn has_confirmed(&self, outlet: &str, seq: u64) -> bool {
        let own = self.buffer.queues().find(|own| own.name == outlet);
        own.is_some_and(|own| own.has_confirmed(seq))
    }

    pub(crate) fn queues(&self, link: LinkId) -> impl Iterator<Item = &OutletQueue> {
        self.links[link].lanes.iter().map(|(_, outlet)| self.buffer.queue(*outlet))
    }

    /// How it is, in a line.
    pub fn headline(&self) -> String {
        status::headline(self)
    }

    /// Whether the agent makes progress.
    pub fn health(&self, now: Now) -> Health {
        Health::of(self, now.mono)
    }

    /// Whether a status should not be shown before the machine was looked at again.
    pub fn wants_host(&self, now: Now) -> bool {
        self.host.is_stale(now.mono)
    }

    pub(crate) fn mqtt_line(&self) -> Option<LinkId> {
        self.link_of(lane::MQTT)
    }

    pub(crate) fn mqtt_is_up(&self) -> bool {
        self.mqtt_line().is_some_and(|line| self.links[line].link.is_up())
    }
}
