//! What a path with its query says: topic, device, format and attributes. Pure.

use std::rc::Rc;

use holdfast_core::config::method::Method;
use holdfast_core::config::parameter::Parameter;
use holdfast_core::config::reply::{Mode, Reply};
use holdfast_core::config::route::{Template, expand};
use holdfast_core::config::server::{Route, Unmatched};
use holdfast_core::message::Format;
use holdfast_schema::Violation;
use hyper::header::HeaderMap;

use super::one_shot::OneShot;
use super::parameter::{self, Pairs};
use super::validator::{self, FileRead, SchemaValidator};

/// Longest topic in bytes.
const TOPIC_BYTES: usize = 512;
/// Longest device id in bytes.
const DEVICE_BYTES: usize = 128;
/// Most attributes of a message; each of them is kept with every message.
const ATTRIBUTES: usize = 32;
/// Most bytes of all attributes together.
const ATTRIBUTES_BYTES: usize = 2048;

/// What a message takes beside its texts and its payload, and an attribute beside its.
const MESSAGE_WEIGHT: usize = 256;
const ATTRIBUTE_WEIGHT: usize = 64;

/// Where the messages of a request or a connection go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Topic, valid.
    pub topic: String,
    /// Device, valid.
    pub device: Option<String>,
    /// What the payloads must be, if the route says so.
    pub format: Option<Format>,
    /// Whether a JSON array is a message for each of its elements.
    pub batch: bool,
    /// The declared query parameters, which give the fields of a form their types.
    pub query: Rc<[Parameter]>,
    /// Path parameters, then query parameters, then the declared headers.
    pub attributes: Vec<(String, String)>,
    /// From 0 to 9.
    pub priority: u8,
    /// How many seconds its messages may live.
    pub ttl_s: Option<u32>,
    /// What the request itself says, if it is the message.
    pub call: Option<OneShot>,
    /// What checks the payloads, if the route has a schema.
    pub judge: Option<SchemaValidator>,
}

impl Target {
    /// What each of its messages takes beside its payload, about.
    pub fn weight(&self) -> usize {
        let attributes =
            self.attributes.iter().map(|(name, value)| name.len() + value.len() + ATTRIBUTE_WEIGHT);
        let texts = self.topic.len() + self.device.as_ref().map_or(0, String::len);
        MESSAGE_WEIGHT + texts + attributes.sum::<usize>()
    }
}

/// Why a request has no target. Meant for the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteError {
    /// No route matches, and the server takes nothing else.
    NoRoute(String),
    /// A declared parameter is missing or wrong.
    Parameter {
        /// Its name.
        name: String,
        /// What is wrong.
        error: String,
    },
    /// The parameters break the schema.
    Violation(Violation),
    /// Something else is wrong.
    Wrong(String),
}

impl std::fmt::Display for RouteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RouteError::NoRoute(path) => write!(f, "no route matches {path}"),
            RouteError::Violation(violation) => f.write_str(&validator::words(violation)),
            RouteError::Parameter { error, .. } | RouteError::Wrong(error) => f.write_str(error),
        }
    }
}

impl From<String> for RouteError {
    fn from(error: String) -> RouteError {
        RouteError::Wrong(error)
    }
}

/// The routes of a server, ready to be asked.
#[derive(Debug, Default)]
pub struct Router {
    entries: Vec<Entry>,
    unmatched: Unmatched,
}

impl Router {
    /// Reads the routes. The error names the path that is wrong.
    pub fn new(routes: &[Route], unmatched: Unmatched) -> Result<Router, String> {
        let entries = routes.iter().map(Entry::new).collect::<Result<_, _>>()?;
        Ok(Router { entries, unmatched })
    }

    /// The target of this path: of the first route that matches, else of the path itself.
    ///
    /// Without a match the topic is the path and the device comes from `?device=`. When there are no routes at all,
    /// the first segment of the path is the device unless `?device=` names one (the rule of zero configuration).
    pub fn target(&self, path: &str, query: Option<&str>, headers: &HeaderMap) -> Result<Target, RouteError> {
        match (self.find(path), self.unmatched) {
            (Some((entry, values)), _) => {
                entry.target(path, parameter::of_query(query), headers, values, false)
            }
            (None, Unmatched::Topic) => Ok(self.unrouted(path, Query::of(parameter::of_query(query)))?),
            (None, Unmatched::Refuse) => Err(RouteError::NoRoute(path.to_owned())),
        }
    }

    /// The target of a GET to a route that takes one: the query is the message.
    pub fn called(&self, path: &str, query: Option<&str>, headers: &HeaderMap) -> Result<Target, RouteError> {
        let (entry, values) = self.find(path).ok_or_else(|| RouteError::NoRoute(path.to_owned()))?;
        entry.target(path, parameter::of_query(query), headers, values, true)
    }

    /// The methods by which messages come in at this path.
    pub fn methods(&self, path: &str) -> &[Method] {
        self.find(path).map_or(&Method::DEFAULT, |(entry, _)| &entry.methods)
    }

    fn find(&self, path: &str) -> Option<(&Entry, Pairs)> {
        self.entries.iter().find_map(|entry| Some((entry, entry.template.matches(path)?)))
    }

    /// What the schemas of the routes are made of.
    pub fn files(&self) -> impl Iterator<Item = &FileRead> {
        self.entries.iter().filter_map(|entry| entry.judge.as_ref()).flat_map(SchemaValidator::files)
    }

    /// The subprotocols of the route of this path, if it has a list.
    pub fn subprotocols(&self, path: &str) -> Option<&[String]> {
        let matched = self.entries.iter().find(|entry| entry.template.matches(path).is_some());
        matched?.subprotocols.as_deref()
    }

    fn unrouted(&self, path: &str, query: Query) -> Result<Target, String> {
        let Some(topic) = topic_of(path)? else {
            return query.target();
        };
        let first = topic.split('/').next().filter(|_| self.entries.is_empty()).map(str::to_owned);
        let device = query.device.clone().or(first);
        check(Target { topic, device, attributes: query.attributes(false), ..Target::default() })
    }
}

/// The target that the query alone names: `?topic=T&device=D`.
pub fn named_by_query(query: Option<&str>) -> Result<Target, String> {
    Query::of(parameter::of_query(query)).target()
}

/// Whether the query has this parameter with `1` or `true`.
pub fn is_set(query: Option<&str>, name: &str) -> bool {
    let query = query.unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .any(|(key, value)| key == name && (value == "1" || value == "true"))
}

#[derive(Debug)]
struct Entry {
    template: Template,
    path: Rc<str>,
    format: Option<Format>,
    topic: Option<String>,
    device: Option<String>,
    priority: u8,
    ttl_s: Option<u32>,
    mode: Mode,
    methods: Vec<Method>,
    batch: bool,
    reply: Option<Reply>,
    judge: Option<SchemaValidator>,
    query: Rc<[Parameter]>,
    header: Vec<Parameter>,
    subprotocols: Option<Vec<String>>,
}

impl Entry {
    fn new(route: &Route) -> Result<Entry, String> {
        let template = Template::parse(&route.path)
            .map_err(|error| format!("cannot use the route {}: it {error}", route.path))?;
        let named = template.names().any(|name| name == "device").then(|| "{device}".to_owned());
        let device = route.device.clone().or(named);
        let (format, topic, priority) = (route.format, route.topic.clone(), route.priority);
        let (query, header) = (route.query.as_slice().into(), route.header.clone());
        let (mode, reply) = (route.mode, route.reply.clone());
        let (methods, batch) = (route.methods(), route.batch);
        let judge =
            route.schema.as_deref().map(|file| SchemaValidator::new(&route.path, file)).transpose()?;
        let format = format.or((judge.is_some() || batch).then_some(Format::Json));
        let subprotocols = route.subprotocols.clone();
        Ok(Entry {
            template,
            path: route.path.as_str().into(),
            format,
            topic,
            device,
            priority,
            ttl_s: route.ttl_s(),
            mode,
            methods,
            batch,
            reply,
            judge,
            query,
            header,
            subprotocols,
        })
    }

    fn call(&self, payload: String, reply: Option<Reply>) -> OneShot {
        let takes_post = self.methods.contains(&Method::Post);
        OneShot { route: self.path.clone(), mode: self.mode, takes_post, payload, reply }
    }

    fn target(
        &self,
        path: &str,
        mut query: Pairs,
        headers: &HeaderMap,
        mut values: Pairs,
        is_message: bool,
    ) -> Result<Target, RouteError> {
        parameter::check("query parameter", &self.query, &mut query)?;
        let message = (is_message && self.mode == Mode::Data)
            .then(|| self.call(parameter::object(&[(&self.query, &query)]), None));
        let mut headers = parameter::of_headers(&self.header, headers)?;
        parameter::check("header", &self.header, &mut headers)?;
        let query = Query::of(query);
        let topic = match &self.topic {
            Some(template) => Some(expand(template, &values)),
            None => topic_of(path)?,
        };
        let Some(topic) = topic.or_else(|| query.topic.clone()) else {
            return Err(NO_TOPIC.to_owned().into());
        };
        let device = self.device.as_ref().map(|template| expand(template, &values));
        let device = device.or_else(|| query.device.clone());
        let query = if message.is_some() { Pairs::new() } else { query.attributes(path == "/") };
        let call = match self.mode {
            Mode::Data => message,
            Mode::Connection => {
                let all = [(&[][..], &values), (&self.query, &query), (&self.header, &headers)];
                let reply = self.reply.clone().map(|reply| match reply {
                    Reply::Last(topic) => Reply::Last(expand(&topic, &values)),
                    Reply::Text(_) | Reply::File(_) => reply,
                });
                Some(self.call(parameter::object(&all), reply))
            }
        };
        values.extend(query);
        values.extend(headers);
        let (format, priority) = (self.format, self.priority);
        Ok(check(Target {
            topic,
            device,
            format,
            attributes: values,
            batch: self.batch,
            query: self.query.clone(),
            priority,
            ttl_s: self.ttl_s,
            call,
            judge: self.judge.clone(),
        })?)
    }
}

const NO_TOPIC: &str = "no topic: post to a path such as /kitchen/temperature";

#[derive(Default)]
struct Query {
    topic: Option<String>,
    device: Option<String>,
    others: Pairs,
}

impl Query {
    fn of(pairs: Pairs) -> Query {
        let mut query = Query::default();
        for (name, value) in pairs {
            match &*name {
                "topic" => query.topic = Some(value),
                "device" => query.device = Some(value),
                "confirm" => {}
                _ => query.others.push((name, value)),
            }
        }
        query
    }

    fn target(mut self) -> Result<Target, String> {
        let topic = self.topic.take().ok_or(NO_TOPIC)?;
        let device = self.device.take();
        let attributes = self.others.into_iter().filter(|(name, _)| name != "lines").collect();
        check(Target { topic, device, attributes, ..Target::default() })
    }

    /// All but `confirm` and `device`, and `topic` if it has become the topic.
    fn attributes(self, topic_taken: bool) -> Pairs {
        let topic = self.topic.filter(|_| !topic_taken).map(|topic| ("topic".to_owned(), topic));
        topic.into_iter().chain(self.others).collect()
    }
}

/// The path without the slashes at its ends, decoded; none if nothing is left.
fn topic_of(path: &str) -> Result<Option<String>, String> {
    let raw = path.trim_matches('/');
    let decoded = percent_encoding::percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| "the path is not valid UTF-8".to_owned())?;
    Ok(Some(decoded.into_owned()).filter(|topic| !topic.is_empty()))
}

/// What no target may be: without a topic, with one that no broker takes, too large. The error is meant for the sender.
pub fn check(target: Target) -> Result<Target, String> {
    check_topic(&target.topic)?;
    target.device.as_deref().map_or(Ok(()), check_device)?;
    let bytes: usize = target.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if target.attributes.len() > ATTRIBUTES || bytes > ATTRIBUTES_BYTES {
        return Err(format!("more than {ATTRIBUTES} parameters or {ATTRIBUTES_BYTES} bytes of them"));
    }
    Ok(target)
}

fn check_topic(topic: &str) -> Result<(), String> {
    if topic.trim_matches('/').is_empty() {
        return Err(NO_TOPIC.to_owned());
    }
    if topic.len() > TOPIC_BYTES {
        return Err(format!("the topic is longer than {TOPIC_BYTES} bytes"));
    }
    if topic.starts_with('/') {
        return Err("the topic starts with a slash".to_owned());
    }
    match topic.chars().find(|letter| matches!(letter, '+' | '#') || letter.is_control()) {
        Some(letter) => Err(format!("the topic has the character {letter:?}, which no topic may have")),
        None => Ok(()),
    }
}

/// Whether a device may have this id.
pub fn is_device(id: &str) -> bool {
    check_device(id).is_ok()
}

fn check_device(device: &str) -> Result<(), String> {
    if device.is_empty() {
        return Err("the device id is empty".to_owned());
    }
    if device.len() > DEVICE_BYTES {
        return Err(format!("the device id is longer than {DEVICE_BYTES} bytes"));
    }
    match device.chars().find(|letter| matches!(letter, '/' | '+' | '#') || letter.is_control()) {
        Some(letter) => {
            Err(format!("the device id has the character {letter:?}, which no device id may have"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::config::parameter::ParameterType;

    fn route(path: &str, topic: Option<&str>, device: Option<&str>) -> Route {
        let (topic, device) = (topic.map(str::to_owned), device.map(str::to_owned));
        Route { format: Some(Format::Json), topic, device, ..Route::of_path(path) }
    }

    fn target(routes: &[Route], path: &str, query: &str) -> Result<(String, Option<String>, String), String> {
        let router = Router::new(routes, Unmatched::Topic).unwrap();
        let target = router.target(path, Some(query), &HeaderMap::new()).map_err(|miss| miss.to_string())?;
        let attributes: Vec<_> =
            target.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok((target.topic, target.device, attributes.join(" ")))
    }

    fn is(
        topic: &str,
        device: Option<&str>,
        attributes: &str,
    ) -> Result<(String, Option<String>, String), String> {
        Ok((topic.to_owned(), device.map(str::to_owned), attributes.to_owned()))
    }

    #[test]
    fn without_routes_the_first_segment_is_the_device_unless_the_query_names_one() {
        assert_eq!(target(&[], "/kitchen/temperature", ""), is("kitchen/temperature", Some("kitchen"), ""));
        assert_eq!(target(&[], "/kitchen", "device=pump"), is("kitchen", Some("pump"), ""));
        assert_eq!(target(&[], "/a%20b/%C3%A9/", ""), is("a b/é", Some("a b"), ""));
        assert_eq!(target(&[], "/", "topic=x/y&device=d&unit=C"), is("x/y", Some("d"), "unit=C"));
        assert_eq!(target(&[], "/", "topic=x/y"), is("x/y", None, ""));
    }

    #[test]
    fn a_path_that_no_route_matches_has_no_device_but_the_one_of_the_query() {
        let routes = [route("/lines/{line}", None, None)];
        assert_eq!(target(&routes, "/kitchen/t", ""), is("kitchen/t", None, ""));
        assert_eq!(target(&routes, "/kitchen/t", "device=d"), is("kitchen/t", Some("d"), ""));
    }

    #[test]
    fn the_first_route_that_matches_gives_topic_device_and_attributes() {
        let routes = [
            route("/lines/{line}/{device}", Some("l/{line}/{device}/x"), None),
            route("/lines/{line}/{other}", None, Some("dev-{other}")),
            route("/old/{name...}", None, None),
        ];
        let cases = [
            (
                "/lines/3/pump",
                "unit=C&confirm=1&topic=t",
                is("l/3/pump/x", Some("pump"), "line=3 device=pump topic=t unit=C"),
            ),
            ("/lines/3/%70ump", "device=ignored", is("l/3/pump/x", Some("pump"), "line=3 device=pump")),
            ("/old/a/b", "device=d", is("old/a/b", Some("d"), "name=a/b")),
        ];
        for (path, query, expected) in cases {
            assert_eq!(target(&routes, path, query), expected, "{path}?{query}");
        }
        assert_eq!(
            target(&routes[1..], "/lines/3/pump", ""),
            is("lines/3/pump", Some("dev-pump"), "line=3 other=pump")
        );
    }

    #[test]
    fn a_topic_that_mqtt_could_not_carry_is_refused() {
        for path in ["/a/+/b", "/a/%23", "/a%00b", "/a%0Ab", "/%FF"] {
            assert!(target(&[], path, "").is_err(), "{path}");
        }
        assert!(target(&[], &format!("/{}", "a/".repeat(300)), "").is_err());
        assert_eq!(target(&[], "/", ""), Err(NO_TOPIC.to_owned()));
        assert_eq!(target(&[], "///", ""), Err(NO_TOPIC.to_owned()));
        assert!(target(&[], "/", "topic=").is_err());
        assert!(target(&[], "/", "topic=/a").is_err());
    }

    #[test]
    fn a_device_id_that_could_break_a_topic_is_refused() {
        for device in ["", "a/b", "a%2Bb", "%23", "a%0Ab"] {
            assert!(target(&[], "/t", &format!("device={device}")).is_err(), "{device}");
        }
        assert!(target(&[], "/t", &format!("device={}", "d".repeat(129))).is_err());
        assert!(target(&[], "/t", &format!("device={}", "d".repeat(128))).is_ok());
    }

    #[test]
    fn a_route_checks_what_it_declares_and_takes_the_rest_as_it_comes() {
        let parameter = |name: &str, required| Parameter {
            name: name.to_owned(),
            kind: ParameterType::Number,
            required,
            repeating: false,
        };
        let (query, header) = (vec![parameter("batch", true)], vec![parameter("x-batch", false)]);
        let routes = [Route { query, header, ..Route::of_path("/{device}") }];
        let router = Router::new(&routes, Unmatched::Topic).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-batch", "8".parse().unwrap());
        let target = router.target("/pump", Some("unit=C&batch=7&unit=F"), &headers).unwrap();
        let pairs: Vec<_> = target.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pairs, ["device=pump", "unit=C", "batch=7", "unit=F", "x-batch=8"]);
        headers.insert("x-batch", "eight".parse().unwrap());
        let miss = |query, headers: &HeaderMap| match router.target("/pump", query, headers) {
            Err(RouteError::Parameter { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(miss(Some("batch=7"), &headers), "x-batch");
        assert_eq!(miss(None, &HeaderMap::new()), "batch");
        assert!(router.target("/a/b", None, &headers).is_ok(), "the route is not asked");
    }

    #[test]
    fn a_server_that_takes_only_its_routes_names_the_path_that_is_none() {
        let router = Router::new(&[route("/a", None, None)], Unmatched::Refuse).unwrap();
        assert_eq!(router.target("/b", None, &HeaderMap::new()), Err(RouteError::NoRoute("/b".to_owned())));
        assert!(router.target("/a", None, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn more_attributes_than_fit_are_refused() {
        let many: String = (0..33).map(|number| format!("a{number}=1&")).collect();
        assert!(target(&[], "/t", &many).is_err());
        assert!(target(&[], "/t", &format!("a={}", "x".repeat(2048))).is_err());
    }
}
