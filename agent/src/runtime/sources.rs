//! The sources that fetch messages: what each has beside its link, through all its connections.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use holdfast_core::config::Config;
use holdfast_core::setup::SourceSetup;
use holdfast_core::source::subscriber::Subscriber;

use crate::source::broker::{BrokerSource, SourceRouter};
use crate::source::intake::Intake;
use crate::source::server::has_changed;

/// Meaning of the topics of each active source, by its id in lower case.
pub type SourceRouters = BTreeMap<String, Rc<SourceRouter>>;

/// All sources.
pub struct Sources {
    /// Gone when no more messages are let in.
    intake: Option<Intake>,
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    router: Rc<RefCell<Rc<SourceRouter>>>,
    /// Made with the first connection.
    known: Option<Known>,
}

/// What is known of a session at a broker.
struct Known {
    url: Option<String>,
    client_id: String,
    subscriber: Rc<RefCell<Subscriber>>,
}

/// Reads what the sources of a configuration need. The error names the file that cannot be used.
pub fn routers(config: &Config) -> anyhow::Result<SourceRouters> {
    let active = config.sources.iter().filter(|source| source.active);
    let routers = active.map(|source| {
        let router = SourceRouter::new(source, &config.agent.id)?;
        Ok((source.id.to_lowercase(), Rc::new(router)))
    });
    routers.collect::<Result<_, String>>().map_err(anyhow::Error::msg)
}

impl Sources {
    /// Sources without a connection.
    pub fn new(routers: SourceRouters, intake: Intake) -> Sources {
        let mut sources = Sources { intake: Some(intake), entries: BTreeMap::new() };
        sources.replace(routers);
        sources
    }

    /// Takes these in the place of those that were there. What is known of a session stays, and connections go on.
    pub fn replace(&mut self, routers: SourceRouters) {
        self.entries.retain(|id, _| routers.contains_key(id));
        for (id, router) in routers {
            match self.entries.get(&id) {
                Some(entry) => drop(entry.router.replace(router)),
                None => {
                    let entry = Entry { router: Rc::new(RefCell::new(router)), known: None };
                    self.entries.insert(id, entry);
                }
            }
        }
    }

    /// Ids of those whose schemas are not what they have read.
    pub fn stale(&self) -> Vec<String> {
        let stale = self.entries.iter().filter(|(_, entry)| has_changed(entry.router.borrow().files()));
        stale.map(|(id, _)| id.clone()).collect()
    }

    /// What a connection of a source needs, none when no messages are let in any more.
    pub fn feed(&mut self, own: &SourceSetup) -> Option<BrokerSource> {
        let intake = self.intake.clone()?;
        let entry = self.entries.get_mut(&own.id)?;
        let mqtt = own.table.mqtt();
        let is_same = |known: &Known| known.url == mqtt.url && known.client_id == mqtt.client_id;
        let subscriber = match entry.known.take().filter(is_same) {
            Some(known) => known.subscriber,
            None => Rc::new(RefCell::new(Subscriber::new(mqtt, own.table.limits.inflight))),
        };
        let (url, client_id) = (mqtt.url.clone(), mqtt.client_id.clone());
        entry.known = Some(Known { url, client_id, subscriber: subscriber.clone() });
        Some(BrokerSource { source: own.table.clone(), router: entry.router.clone(), subscriber, intake })
    }

    /// Lets no more messages in. Connections are told by the agent's end of the intake.
    pub fn close(&mut self) {
        self.intake = None;
    }
}
