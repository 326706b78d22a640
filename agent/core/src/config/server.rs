//! `[[server]]` and `[[server.route]]`: a listener for sensors that speaks WebSocket and HTTP, or MQTT.

use std::path::PathBuf;
use std::time::Duration;

use super::access::{Access, LoginBy};
use super::client::{application, subprotocols};
use super::method::Method;
use super::parameter::{Parameter, header_name, query_name};
use super::render::{self, Lines};
use super::reply::{MODES, Mode, Reply};
use super::route::{Template, names_in};
use super::table::{Reading, Table};
use super::throttle::{Throttle, throttle};
use super::topic_template::TopicTemplate;
use super::tree::Node;
use super::{http_page, may_subscribe, url, value};
use crate::message::Format;

const PROTOCOLS: [(&str, Protocol); 2] = [("http", Protocol::Http), ("mqtt", Protocol::Mqtt)];
const AUDIENCE: [(&str, Audience); 3] =
    [("local", Audience::Local), ("all", Audience::All), ("none", Audience::None)];
const UNMATCHED: [(&str, Unmatched); 2] = [("topic", Unmatched::Topic), ("refuse", Unmatched::Refuse)];
/// The subprotocol of links whose peer acknowledges each message.
const ACKNOWLEDGED: &str = "holdfast.v1";
/// Fault of keys that MQTT has no use for.
const OF_HTTP: &str = "is of no use with protocol = \"mqtt\"";
/// Keys of a route that say how requests look.
const OF_REQUESTS: [&str; 7] = ["mode", "methods", "reply", "batch", "query", "header", "subprotocols"];
/// What the name of a Unix socket in `bind` begins with.
pub const UNIX: &str = "unix:";
/// `string` is another word for `text`.
pub(super) const FORMAT: [(&str, Format); 4] =
    [("text", Format::Text), ("json", Format::Json), ("binary", Format::Binary), ("string", Format::Text)];

/// `[[server]]`: a listener for sensors. Without any there is one with all defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Same form as a client's; `ws_server_N` by default, `mqtt_server_N` with `protocol = "mqtt"`.
    pub id: String,
    /// Protocol: WebSocket and HTTP, or MQTT 3.1.1 and 5.0, for sensors without a broker. There a message is
    /// acknowledged (PUBACK, PUBREC) once it is stored; WebSockets with the subprotocol `mqtt` speak it on the same
    /// port. It is no broker: a client gets what peers send, as far as `may_subscribe` lets it, and nothing of other clients.
    pub protocol: Protocol,
    /// For people; nothing depends on it.
    pub name: String,
    /// For people; nothing depends on it.
    pub description: String,
    /// Name of what it belongs to, a plant say, for `holdfast status --application NAME`; `{application}` in the topics and
    /// devices of its routes.
    pub application: String,
    /// An inactive server binds nothing.
    pub active: bool,
    /// `ADDRESS:PORT` each, IPv6 as `[::1]:9998`; port 0 takes a free one. Or `unix:/run/holdfast/sensors.sock`, a Unix socket for
    /// its owner and group. `127.0.0.1:1883` by default with `protocol = "mqtt"`.
    pub bind: Vec<String>,
    /// TLS, if any.
    pub tls: Option<ServerTls>,
    /// What `GET /` answers. `{ page = … }` is one file; `{ files = …, index = "index.html" }` are the files of a folder at all paths
    /// that are nothing else, without those whose name begins with a dot. `/metrics` is there with `"status"` only.
    pub http: HttpPage,
    /// Who may use it.
    pub access: Access,
    /// Bounds of the server.
    pub limits: Limits,
    /// Who may read all messages at `/subscribe?topic=FILTER`, a WebSocket.
    pub subscribe: Audience,
    /// With MQTT: the topic filters that a client may subscribe to, with all that is within them. `{client}` is its identifier, `{user}` the name
    /// that it has logged in with. Without a login they are `["{client}/#", "+/{client}/#"]` by default, with one the same of `{user}`; a list of
    /// `users` counts in place of this one. A client gets what comes from peers by `inbound`, from `[[source]]` and from `holdfast send`, never
    /// what clients have sent.
    pub may_subscribe: Option<Vec<String>>,
    /// What becomes of a path that no route matches.
    pub unmatched: Unmatched,
    /// `[[server.route]]`, tried in order.
    pub routes: Vec<Route>,
}

/// Protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// WebSocket and HTTP.
    #[default]
    Http,
    /// MQTT 3.1.1 and 5.0.
    Mqtt,
}

/// TLS of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM file with the certificate chain.
    pub cert: PathBuf,
    /// PEM file with its key.
    pub key: PathBuf,
    /// PEM file with the roots that a client certificate must come from, or with client certificates themselves; without it none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// What `GET /` answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HttpPage {
    /// The status as JSON.
    #[default]
    Status,
    /// 204 without content.
    Empty,
    /// This file.
    Page(PathBuf),
    /// The files of a folder, each below its path, and for a folder the one of this name in it.
    Files {
        /// Where they are.
        folder: PathBuf,
        /// Name of a folder's own page.
        index: String,
    },
}

/// Who may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// Whoever calls from this machine.
    #[default]
    Local,
    /// Whoever may connect to the server.
    All,
    /// Nobody: the path is one like others.
    None,
}

/// What becomes of a path that no route matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unmatched {
    /// It is a topic.
    #[default]
    Topic,
    /// It is answered with 404.
    Refuse,
}

/// Bounds of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Bytes of one message.
    pub message_bytes: usize,
    /// TLS handshake and request head must end within this; with MQTT, CONNECT and what has to be done for it.
    pub handshake_timeout: Duration,
    /// A connection from which nothing came for so long is pinged, and closed when it stays silent as long again. With MQTT it is the keep-alive of
    /// clients of 5.0 that name none.
    pub idle_timeout: Duration,
    /// Open connections of one address (an IPv6 client counts by its first 64 bits), so that no single one takes all places: half of
    /// `connections` by default; 0 is no bound of their own. Behind a reverse proxy all callers have its address, unless `trusted_proxies`
    /// names it: then the requests under way and the WebSockets of one caller count.
    pub connections_per_ip: usize,
    /// Messages of one connection: "200/s", with a burst "200/s burst 400" (without one it is what a second allows), "30/min",
    /// "100/h"; "" is no bound. Over it a request is answered with 429 and `Retry-After`; on a WebSocket what is too much is
    /// refused with a frame `{"error":…,"refused":N}`, and whoever goes on is closed with 1008. Requests count as messages. Those that a
    /// trusted proxy passes on count by the address of their caller, since they share connections. With MQTT nothing is refused: who sends too
    /// fast is read more slowly.
    pub rate_per_client: Option<Throttle>,
    /// The same for all connections of one user.
    pub rate_per_user: Option<Throttle>,
    /// The same for all connections of one address.
    pub rate_per_ip: Option<Throttle>,
    /// With MQTT: messages of one connection that may wait for their acknowledgement, which is the receive maximum of 5.0.
    pub inflight: u16,
}

/// `[[server.route]]`: a pattern of paths, and what comes in on them. Routes are tried in order; without any every path is
/// a topic, whose first segment is the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Path template: `/lines/{line}/sensors/{device}`; a last `{name...}` takes the rest of the path. With `protocol = "mqtt"` a topic filter with
    /// names: `tele/{device}/SENSOR`, `tele/{device}/+`, `stat/#`.
    pub path: String,
    /// What a connection is for.
    pub mode: Mode,
    /// What messages come by, beside WebSockets. A GET has its query as the message: a JSON object of its parameters, each in the `type` that
    /// `query` gives it, else a string. It is for devices that can send nothing else. A browser is refused unless the page that has it ask is
    /// of this server or in `origins`, or it sends `X-Requested-With: 1`: any page can have an image loaded from here.
    /// By default POST and PUT, and GET too with `mode = "connection"`.
    pub methods: Option<Vec<Method>>,
    /// The one reply of `mode = "connection"`; `{"stored":ID}` by default. A file may have 1 MB.
    pub reply: Option<Reply>,
    /// What payloads must be; by default text frames are text or JSON as they come and binary frames binary.
    pub format: Option<Format>,
    /// Whether a body that is a JSON array holds a message in each of its elements. It implies `format = "json"`.
    pub batch: bool,
    /// Topic template; the path without its leading slash by default.
    pub topic: Option<String>,
    /// Device template; `{device}` by default if the path names one.
    pub device: Option<String>,
    /// Messages of a higher priority go before those of a lower one on every link: alarms before telemetry.
    pub priority: u8,
    /// How long its messages are worth sending: one that is older when its turn comes is given up, counted and announced as a gap. The smallest
    /// counts of this, `buffer.ttl`, the `ttl` of a link, and with MQTT 5.0 what the message itself says.
    pub ttl: Option<Duration>,
    /// JSON Schema that messages must hold to, of draft 2020-12 or, if its `$schema` says so, draft 7. It may refer to files beside it; nothing
    /// is fetched. What breaks it is answered with 400 and the JSON pointer, or with an error frame, and counted. A reload reads it again. It implies
    /// `format = "json"`.
    pub schema: Option<PathBuf>,
    /// Query parameters. Those that are not declared are attributes as they come.
    pub query: Vec<Parameter>,
    /// Headers that become attributes.
    pub header: Vec<Parameter>,
    /// Subprotocols of its WebSockets: the first of them that a client offers is selected. By default it is the first one that the client
    /// offers; with `[]`, or when it offers none of these, none is.
    pub subprotocols: Option<Vec<String>>,
}

impl Server {
    /// The server with this index (from 0) when nothing is said about it.
    pub fn of_index(index: usize) -> Server {
        Server::of(index, Protocol::Http)
    }

    /// The same with another protocol.
    pub fn of(index: usize, protocol: Protocol) -> Server {
        let (name, bind) = match protocol {
            Protocol::Http => ("ws", "127.0.0.1:9998"),
            Protocol::Mqtt => ("mqtt", "127.0.0.1:1883"),
        };
        Server {
            id: format!("{name}_server_{}", index + 1),
            protocol,
            name: String::new(),
            description: String::new(),
            application: String::new(),
            active: true,
            bind: vec![bind.to_owned()],
            tls: None,
            http: HttpPage::default(),
            access: Access::default(),
            limits: Limits::default(),
            subscribe: Audience::default(),
            may_subscribe: None,
            unmatched: Unmatched::default(),
            routes: Vec::new(),
        }
    }

    pub(super) fn read(index: usize, table: &mut Table) -> Server {
        let id = table.optional("id", value::id);
        let protocol = table.value("protocol", Protocol::default(), value::word(PROTOCOLS));
        let default = Server::of(index, protocol);
        let mut server = Server {
            id: id.unwrap_or(default.id),
            protocol,
            name: table.value("name", default.name, value::string),
            description: table.value("description", default.description, value::string),
            application: table.value("application", default.application, application),
            active: table.value("active", default.active, value::boolean),
            bind: table.value("bind", default.bind, bind),
            tls: if table.holds("tls") { table.within("tls", ServerTls::read) } else { None },
            http: table.value("http", default.http, http_page::read),
            access: Access::read(table),
            limits: table.within("limits", Limits::read),
            subscribe: table.value("subscribe", default.subscribe, value::word(AUDIENCE)),
            may_subscribe: table.optional("may_subscribe", may_subscribe::filters),
            unmatched: table.value("unmatched", default.unmatched, value::word(UNMATCHED)),
            routes: table
                .each("route", |_, table| Route::read(table, protocol))
                .into_iter()
                .flatten()
                .collect(),
        };
        may_subscribe::check(&server, table);
        if protocol == Protocol::Mqtt {
            server.check_mqtt(table);
        }
        let application = &server.application;
        if server.routes.iter_mut().any(|route| !route.name_application(application)) {
            table.fail("application", "is missing, but a route has `{application}`");
        }
        server
    }

    fn check_mqtt(&self, table: &Table) {
        for key in ["http", "subscribe"] {
            if table.has(key) {
                table.fail(key, OF_HTTP);
            }
        }
        if self.access.auth == LoginBy::Url {
            table.fail(
                "auth",
                "must be \"anonymous\" or \"basic\" with protocol = \"mqtt\": CONNECT has name and password",
            );
        }
    }

    pub(super) fn lines(&self) -> Lines {
        let mut lines = vec![
            ("id", Some(render::string(&self.id))),
            ("protocol", Some(render::word(PROTOCOLS, self.protocol))),
            ("name", Some(render::string(&self.name))),
            ("description", Some(render::string(&self.description))),
            ("application", Some(render::string(&self.application))),
            ("active", Some(self.active.to_string())),
            ("bind", Some(render::strings(&self.bind))),
            ("tls", self.tls.as_ref().map(ServerTls::rendered)),
            ("http", Some(self.http.rendered())),
        ];
        lines.extend(self.access.lines());
        lines.push(("limits", Some(self.limits.rendered())));
        lines.push(("subscribe", Some(render::word(AUDIENCE, self.subscribe))));
        lines.push(("may_subscribe", self.may_subscribe.as_deref().map(render::strings)));
        lines.push(("unmatched", Some(render::word(UNMATCHED, self.unmatched))));
        lines
    }
}

impl ServerTls {
    fn read(table: &mut Table) -> Option<ServerTls> {
        let cert = table.required("cert", value::path);
        let key = table.required("key", value::path);
        let client_ca = table.optional("client_ca", value::path);
        Some(ServerTls { cert: cert?, key: key?, client_ca })
    }

    fn rendered(&self) -> String {
        render::inline(&[
            ("cert", Some(render::path(&self.cert))),
            ("key", Some(render::path(&self.key))),
            ("client_ca", self.client_ca.as_deref().map(render::path)),
        ])
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            message_bytes: 65_536,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            connections_per_ip: half_of(256),
            rate_per_client: None,
            rate_per_user: None,
            rate_per_ip: None,
            inflight: 100,
        }
    }
}

impl Limits {
    fn read(table: &mut Table) -> Limits {
        let default = Limits::default();
        let message_bytes = table.optional("message_bytes", value::bytes(1..=16 << 20));
        let connections = table.value("connections", default.connections, value::number(1..=100_000));
        Limits {
            connections,
            message_bytes: message_bytes
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(default.message_bytes),
            handshake_timeout: table.value("handshake_timeout", default.handshake_timeout, value::timeout()),
            idle_timeout: table.value("idle_timeout", default.idle_timeout, value::timeout()),
            connections_per_ip: table.value(
                "connections_per_ip",
                half_of(connections),
                value::number(0..=100_000),
            ),
            rate_per_client: table.value("rate_per_client", None, throttle),
            rate_per_user: table.value("rate_per_user", None, throttle),
            rate_per_ip: table.value("rate_per_ip", None, throttle),
            inflight: table.value("inflight", default.inflight, value::number(1..=65_535)),
        }
    }

    fn rendered(&self) -> String {
        let rate = |rate: Option<Throttle>| {
            Some(render::string(&rate.map_or(String::new(), |rate| rate.to_string())))
        };
        render::inline(&[
            ("connections", Some(self.connections.to_string())),
            ("message_bytes", Some(self.message_bytes.to_string())),
            ("handshake_timeout", Some(render::string(&render::duration(self.handshake_timeout)))),
            ("idle_timeout", Some(render::string(&render::duration(self.idle_timeout)))),
            ("connections_per_ip", Some(self.connections_per_ip.to_string())),
            ("rate_per_client", rate(self.rate_per_client)),
            ("rate_per_user", rate(self.rate_per_user)),
            ("rate_per_ip", rate(self.rate_per_ip)),
            ("inflight", Some(self.inflight.to_string())),
        ])
    }
}

impl Route {
    /// The route of this path when nothing else is said about it.
    pub fn of_path(path: &str) -> Route {
        Route {
            path: path.to_owned(),
            mode: Mode::default(),
            methods: None,
            reply: None,
            format: None,
            batch: false,
            topic: None,
            device: None,
            priority: 0,
            ttl: None,
            schema: None,
            query: Vec::new(),
            header: Vec::new(),
            subprotocols: None,
        }
    }

    fn read(table: &mut Table, protocol: Protocol) -> Option<Route> {
        let path = table.required(
            "path",
            match protocol {
                Protocol::Http => path,
                Protocol::Mqtt => topic_path,
            },
        );
        let names = path.as_ref().map(|(_, names)| names.as_slice());
        let mode = table.value("mode", Mode::default(), value::word(MODES));
        let methods = table.optional("methods", Method::list);
        let reply =
            table.optional("reply", |node, reading| Reply::read(node, reading, |node| topic(node, names)));
        let format = table.optional("format", value::word(FORMAT));
        match mode {
            Mode::Data if reply.is_some() => table.fail("reply", "needs mode = \"connection\""),
            Mode::Connection if format.is_some() => {
                table.fail("format", "is of no use with mode = \"connection\", whose messages are JSON");
            }
            Mode::Data | Mode::Connection => {}
        }
        let is_other = format.is_some_and(|format| format != Format::Json);
        if is_other && methods.as_ref().is_some_and(|methods| methods.contains(&Method::Get)) {
            table.fail("methods", "has \"GET\", which needs format = \"json\"");
        }
        let batch = table.value("batch", false, value::boolean);
        if batch && is_other {
            table.fail("batch", "needs format = \"json\"");
        }
        if batch && mode == Mode::Connection {
            table.fail("batch", "needs mode = \"data\"");
        }
        let topic = table.optional("topic", |node, _| topic(node, names));
        let device = table.optional("device", |node, _| template(node, names));
        let priority = table.value("priority", 0, value::number(0..=9));
        let ttl = table.optional("ttl", value::duration(1_000..=366 * value::DAY));
        let schema = table.optional("schema", value::path);
        if schema.is_some() && is_other {
            table.fail("schema", "needs format = \"json\"");
        }
        let query = Parameter::list(table, "query", query_name);
        let header = Parameter::list(table, "header", header_name);
        let subprotocols = table.optional("subprotocols", spoken);
        if protocol == Protocol::Mqtt {
            OF_REQUESTS.iter().filter(|key| table.has(key)).for_each(|key| table.fail(key, OF_HTTP));
        }
        Some(Route {
            path: path?.0,
            mode,
            methods,
            reply,
            format,
            batch,
            topic,
            device,
            priority,
            ttl,
            schema,
            query,
            header,
            subprotocols,
        })
    }

    /// The time to live in seconds.
    pub fn ttl_s(&self) -> Option<u32> {
        self.ttl.map(|ttl| u32::try_from(ttl.as_secs().max(1)).unwrap_or(u32::MAX))
    }

    /// The methods in force.
    pub fn methods(&self) -> Vec<Method> {
        self.methods.clone().unwrap_or_else(|| Method::of_mode(self.mode))
    }

    /// Puts the server's application into the templates, unless the path itself has that name. False without one.
    fn name_application(&mut self, application: &str) -> bool {
        const NAME: &str = "{application}";
        if self.path.contains(NAME) {
            return true;
        }
        let mut known = true;
        for template in [&mut self.topic, &mut self.device].into_iter().flatten() {
            known &= !template.contains(NAME) || !application.is_empty();
            *template = template.replace(NAME, application);
        }
        known
    }

    pub(super) fn lines(&self) -> Lines {
        vec![
            ("path", Some(render::string(&self.path))),
            ("mode", Some(render::word(MODES, self.mode))),
            ("methods", self.methods.as_deref().map(Method::rendered)),
            ("reply", self.reply.as_ref().map(Reply::rendered)),
            ("format", self.format.map(|format| render::word(FORMAT, format))),
            ("batch", Some(self.batch.to_string())),
            ("topic", self.topic.as_deref().map(render::string)),
            ("device", self.device.as_deref().map(render::string)),
            ("priority", Some(self.priority.to_string())),
            ("ttl", self.ttl.as_ref().map(|ttl| render::string(&render::duration(*ttl)))),
            ("schema", self.schema.as_deref().map(render::path)),
            ("query", Some(Parameter::rendered(&self.query))),
            ("header", Some(Parameter::rendered(&self.header))),
            ("subprotocols", self.subprotocols.as_deref().map(render::strings)),
        ]
    }
}

/// The places that one address may have of all: one at least.
fn half_of(connections: usize) -> usize {
    (connections / 2).max(1)
}

fn bind(node: &Node, reading: &Reading) -> Result<Vec<String>, String> {
    let addresses = value::strings(node, reading)?;
    if addresses.is_empty() {
        return Err("must name at least one address".to_owned());
    }
    for (index, address) in addresses.iter().enumerate() {
        let is_path = address.strip_prefix(UNIX).is_some_and(|path| path.starts_with('/'));
        if !is_path && url::check_authority(address, 0) != Ok(true) {
            return Err(format!(
                "`{address}` must be ADDRESS:PORT, such as 127.0.0.1:9998 or [::1]:9998, or unix:/PATH"
            ));
        }
        if addresses[..index].contains(address) && !address.ends_with(":0") {
            return Err(format!("`{address}` is named twice"));
        }
    }
    Ok(addresses)
}

fn spoken(node: &Node, reading: &Reading) -> Result<Vec<String>, String> {
    let names = subprotocols(node, reading)?;
    match names.iter().any(|name| name == ACKNOWLEDGED) {
        true => Err(format!("`{ACKNOWLEDGED}` promises acknowledgements, which no server gives")),
        false => Ok(names),
    }
}

fn path(node: &Node, _: &Reading) -> Result<(String, Vec<String>), String> {
    let text = value::text(node)?;
    let template = Template::parse(text)?;
    let names = template.names().chain(["application"]).map(str::to_owned).collect();
    Ok((text.to_owned(), names))
}

fn topic_path(node: &Node, _: &Reading) -> Result<(String, Vec<String>), String> {
    let text = value::text(node)?;
    let template = TopicTemplate::parse(text)?;
    let names = template.names().chain(["application"]).map(str::to_owned).collect();
    Ok((text.to_owned(), names))
}

pub(super) fn topic(node: &Node, names: Option<&[String]>) -> Result<String, String> {
    let topic = template(node, names)?;
    if topic.starts_with('/') || topic.ends_with('/') || topic.contains("//") || topic.contains(['+', '#']) {
        return Err("must have no empty level and no wildcard (`+`, `#`)".to_owned());
    }
    Ok(topic)
}

/// A text with names of the path in it; any names when the path is not known.
pub(super) fn template(node: &Node, names: Option<&[String]>) -> Result<String, String> {
    let text = value::text(node)?;
    if text.is_empty() || text.contains(char::is_control) {
        return Err("must not be empty or hold a control character".to_owned());
    }
    for name in names_in(text)? {
        if names.is_some_and(|names| names.iter().all(|known| known != name)) {
            return Err(format!("the path has no name `{name}`"));
        }
    }
    Ok(text.to_owned())
}
