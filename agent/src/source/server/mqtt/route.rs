//! Meaning of a topic: where its message goes, and how it has to look.

use holdfast_core::config::route::expand;
use holdfast_core::config::server::{Route, Unmatched};
use holdfast_core::config::topic_template::TopicTemplate;
use holdfast_core::message::Format;
use holdfast_core::source::mqtt::reason::{Closing, Reason};

use super::super::request::path::{self, Target};
use super::super::request::validator::{FileRead, SchemaValidator};

/// Attribute of a message that a broker would keep.
const RETAIN: &str = "retain";

/// The routes of an MQTT server, ready to be asked.
#[derive(Debug, Default)]
pub struct TopicRouter {
    entries: Vec<Entry>,
    unmatched: Unmatched,
}

#[derive(Debug)]
struct Entry {
    template: TopicTemplate,
    format: Option<Format>,
    topic: Option<String>,
    device: Option<String>,
    priority: u8,
    ttl_s: Option<u32>,
    judge: Option<SchemaValidator>,
}

impl TopicRouter {
    /// Reads the routes. The error names the path that is wrong.
    pub fn new(routes: &[Route], unmatched: Unmatched) -> Result<TopicRouter, String> {
        let entries = routes.iter().map(Entry::new).collect::<Result<_, _>>()?;
        Ok(TopicRouter { entries, unmatched })
    }

    /// Files of the schemas of the routes.
    pub fn files(&self) -> impl Iterator<Item = &FileRead> {
        self.entries.iter().filter_map(|entry| entry.judge.as_ref()).flat_map(SchemaValidator::files)
    }

    /// Where a message goes: by the first route that matches, else to the topic itself, whose first level is the device when there are no routes.
    pub fn target(
        &self,
        topic: &str,
        mut properties: Vec<(String, String)>,
        retain: bool,
    ) -> Result<Target, Closing> {
        if retain {
            properties.push((RETAIN.to_owned(), "true".to_owned()));
        }
        let matched = self.entries.iter().find_map(|entry| Some((entry, entry.template.matches(topic)?)));
        let target = match (matched, self.unmatched) {
            (Some((entry, values)), _) => entry.target(topic, values, properties),
            (None, Unmatched::Topic) if topic.starts_with('$') => {
                return Err(wrong(
                    "topics that begin with $ are the server's own, unless a route names them".to_owned(),
                ));
            }
            (None, Unmatched::Topic) => {
                let topic = own(topic);
                let first = topic.split('/').next().filter(|_| self.entries.is_empty()).map(str::to_owned);
                Target { device: first, topic, attributes: properties, ..Target::default() }
            }
            (None, Unmatched::Refuse) => return Err(wrong(format!("no route matches {topic}"))),
        };
        path::check(target).map_err(wrong)
    }
}

impl Entry {
    fn new(route: &Route) -> Result<Entry, String> {
        let template = TopicTemplate::parse(&route.path)
            .map_err(|error| format!("cannot use the route {}: it {error}", route.path))?;
        let named = template.names().any(|name| name == "device").then(|| "{device}".to_owned());
        let judge =
            route.schema.as_deref().map(|file| SchemaValidator::new(&route.path, file)).transpose()?;
        Ok(Entry {
            template,
            format: route.format.or(judge.is_some().then_some(Format::Json)),
            topic: route.topic.clone(),
            device: route.device.clone().or(named),
            priority: route.priority,
            ttl_s: route.ttl_s(),
            judge,
        })
    }

    fn target(
        &self,
        topic: &str,
        values: Vec<(String, String)>,
        properties: Vec<(String, String)>,
    ) -> Target {
        Target {
            topic: self.topic.as_ref().map_or_else(|| own(topic), |template| expand(template, &values)),
            device: self.device.as_ref().map(|template| expand(template, &values)),
            format: self.format,
            priority: self.priority,
            ttl_s: self.ttl_s,
            judge: self.judge.clone(),
            attributes: values.into_iter().chain(properties).collect(),
            ..Target::default()
        }
    }
}

/// The topic of the message when nothing else is said about it: without slashes at its ends.
fn own(topic: &str) -> String {
    topic.trim_matches('/').to_owned()
}

fn wrong(words: String) -> Closing {
    Closing::new(Reason::TopicName, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(
        routes: &[(&str, Option<&str>, Option<&str>)],
        unmatched: Unmatched,
        topic: &str,
    ) -> Result<String, String> {
        let owned = |text: &Option<&str>| text.map(str::to_owned);
        let routes: Vec<Route> = routes
            .iter()
            .map(|(path, topic, device)| Route {
                topic: owned(topic),
                device: owned(device),
                ..Route::of_path(path)
            })
            .collect();
        let router = TopicRouter::new(&routes, unmatched).unwrap();
        let target = router.target(topic, vec![("unit".to_owned(), "C".to_owned())], topic.ends_with("LWT"));
        let target = target.map_err(|why| why.words)?;
        let attributes: Vec<_> =
            target.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(format!("{} {} {}", target.topic, target.device.unwrap_or_default(), attributes.join(" ")))
    }

    #[test]
    fn without_routes_the_topic_is_taken_as_it_is_and_its_first_level_is_the_device() {
        let own = |topic| target(&[], Unmatched::Topic, topic);
        assert_eq!(own("kitchen/t"), Ok("kitchen/t kitchen unit=C".to_owned()));
        assert_eq!(own("/kitchen/t/"), Ok("kitchen/t kitchen unit=C".to_owned()));
        assert_eq!(own("plug/LWT"), Ok("plug/LWT plug unit=C retain=true".to_owned()));
        for wrong in ["$SYS/x", "/", &"t".repeat(600)] {
            assert!(own(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_route_that_matches_gives_topic_device_and_attributes() {
        let routes = [
            ("tele/{device}/SENSOR", Some("plugs/{device}"), None),
            ("tele/{other}/#", None, Some("x-{other}")),
        ];
        let is = |topic| target(&routes, Unmatched::Topic, topic);
        assert_eq!(is("tele/p/SENSOR"), Ok("plugs/p p device=p unit=C".to_owned()));
        assert_eq!(is("tele/p/STATE"), Ok("tele/p/STATE x-p other=p unit=C".to_owned()));
        assert_eq!(is("stat/p"), Ok("stat/p  unit=C".to_owned()));
        let refused = target(&routes, Unmatched::Refuse, "stat/p");
        assert_eq!(refused, Err("no route matches stat/p".to_owned()));
    }
}
