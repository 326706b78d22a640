//! `[[client]]`: a WebSocket link to the outside.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use super::buffer::Place;
use super::inbound::Inbound;
use super::render::{self, Lines};
use super::replay::Replay;
use super::table::{Reading, Table};
use super::tree::{Kind, Node};
use super::url::Url;
use super::{url, value};

const CONFIRM: [(&str, Confirm); 3] =
    [("pong", Confirm::Pong), ("ack", Confirm::Ack), ("none", Confirm::None)];
const FRAMING: [(&str, Framing); 2] = [("raw", Framing::Raw), ("envelope", Framing::Envelope)];
const ENCODING: [(&str, Encoding); 2] = [("json", Encoding::Json), ("cbor", Encoding::Cbor)];

/// Header fields that belong to the handshake itself (RFC 6455 §4.1) or to the framing of HTTP.
pub const RESERVED: [&str; 7] = [
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "content-length",
    "transfer-encoding",
];

/// `[[client]]`: a WebSocket link to the outside, with a place of its own in the buffer. Without any there is one that
/// holds its messages and never connects.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    /// Letter or `_`, then letters, digits, `_`; compared without case; `ws_client_N` by default.
    pub id: String,
    /// For people; nothing depends on it.
    pub name: String,
    /// For people; nothing depends on it.
    pub description: String,
    /// An inactive client holds its messages and never connects.
    pub active: bool,
    /// `ws://` or `wss://`. Only an inactive client can be without.
    pub url: Option<String>,
    /// Query parameters, added to those of the url, percent-encoded by us.
    pub params: BTreeMap<String, Secret>,
    /// Header fields of the handshake request.
    pub headers: BTreeMap<String, Secret>,
    /// How the handshake request authenticates.
    pub auth: Auth,
    /// TLS settings for `wss://`.
    pub tls: ClientTls,
    /// Sent first on every connection, as a text frame.
    pub message: Option<String>,
    /// What the peer sends of its own becomes messages; without this it is only counted.
    pub inbound: Option<Inbound>,
    /// Keep-alive.
    pub ping: Ping,
    /// Back-off.
    pub reconnect: Reconnect,
    /// What lets a message be forgotten.
    pub confirm: Confirm,
    /// What a frame holds.
    pub framing: Framing,
    /// Encoding of envelopes.
    pub encoding: Encoding,
    /// Messages in flight, unconfirmed.
    pub window: usize,
    /// The link's own place in the buffer.
    pub buffer: Place,
    /// How what was held is sent once the link is back.
    pub replay: Replay,
    /// DNS, TCP, TLS and upgrade together must end within this.
    pub connect_timeout: Duration,
    /// Something is in flight and nothing was confirmed for so long: the link is dead.
    pub confirm_timeout: Duration,
    /// When these settings change while the agent runs, and nothing is confirmed under the new ones for so long, the old ones
    /// come back and the status tells it; `0s` keeps the new ones whatever comes. With nothing to send, a pong confirms.
    pub trial: Duration,
}

impl Client {
    /// The client with this index (from 0) when nothing is said about it.
    pub fn of_index(index: usize) -> Client {
        Client {
            id: format!("ws_client_{}", index + 1),
            name: String::new(),
            description: String::new(),
            active: true,
            url: None,
            params: BTreeMap::new(),
            headers: BTreeMap::new(),
            auth: Auth::None,
            tls: ClientTls::default(),
            message: None,
            inbound: None,
            ping: Ping::default(),
            reconnect: Reconnect::default(),
            confirm: Confirm::default(),
            framing: Framing::default(),
            encoding: Encoding::default(),
            window: 1000,
            buffer: Place::default(),
            replay: Replay::default(),
            connect_timeout: Duration::from_secs(15),
            confirm_timeout: Duration::from_secs(30),
            trial: Duration::ZERO,
        }
    }

    /// The url without its secrets.
    pub fn shown_url(&self) -> Option<String> {
        self.url.as_deref().map(url::shown)
    }

    pub(super) fn read(index: usize, table: &mut Table) -> Client {
        let default = Client::of_index(index);
        table.planned(&["urls", "balance"]);
        let url = table.optional("url", client_url);
        let client = Client {
            id: table.value("id", default.id, value::id),
            name: table.value("name", default.name, value::string),
            description: table.value("description", default.description, value::string),
            active: table.value("active", default.active, value::boolean),
            params: table.map("params", parameter),
            headers: table.map("headers", header),
            auth: Auth::read(table),
            tls: table.within("tls", ClientTls::read),
            message: table.optional("message", value::string),
            inbound: Inbound::read(table),
            ping: table.within("ping", Ping::read),
            reconnect: table.within("reconnect", Reconnect::read),
            confirm: table.value("confirm", default.confirm, value::word(CONFIRM)),
            framing: table.value("framing", default.framing, value::word(FRAMING)),
            encoding: table.value("encoding", default.encoding, value::word(ENCODING)),
            window: table.value("window", default.window, value::number(1..=100_000)),
            buffer: table.within("buffer", Place::read),
            replay: table.within("replay", Replay::read),
            connect_timeout: table.value("connect_timeout", default.connect_timeout, value::timeout()),
            confirm_timeout: table.value("confirm_timeout", default.confirm_timeout, value::timeout()),
            trial: table.value("trial", default.trial, value::duration_or_zero(100..=value::DAY)),
            url,
        };
        client.check(table);
        client
    }

    pub(super) fn lines(&self) -> Lines {
        vec![
            ("id", Some(render::string(&self.id))),
            ("name", Some(render::string(&self.name))),
            ("description", Some(render::string(&self.description))),
            ("active", Some(self.active.to_string())),
            ("url", self.url.as_ref().map(|url| render::string(&url::shown(url)))),
            ("params", Some(render::secrets(&self.params))),
            ("headers", Some(render::secrets(&self.headers))),
            ("auth", Some(self.auth.rendered())),
            ("tls", Some(render::inline(&self.tls.pairs()))),
            ("message", self.message.as_ref().map(|message| render::string(message))),
            ("inbound", self.inbound.as_ref().map(Inbound::rendered)),
            ("ping", Some(self.ping.rendered())),
            ("reconnect", Some(self.reconnect.rendered())),
            ("confirm", Some(render::word(CONFIRM, self.confirm))),
            ("framing", Some(render::word(FRAMING, self.framing))),
            ("encoding", Some(render::word(ENCODING, self.encoding))),
            ("window", Some(self.window.to_string())),
            ("buffer", Some(self.buffer.rendered())),
            ("replay", Some(self.replay.rendered())),
            ("connect_timeout", Some(render::string(&render::duration(self.connect_timeout)))),
            ("confirm_timeout", Some(render::string(&render::duration(self.confirm_timeout)))),
            ("trial", Some(render::string(&render::duration(self.trial)))),
        ]
    }

    fn check(&self, table: &Table) {
        let url = self.url.as_deref().and_then(|url| Url::parse(url, ["ws", "wss"]).ok());
        if self.active && !table.has("url") {
            table.fail("url", "is missing; an active client needs one");
        }
        if self.confirm == Confirm::Ack && self.framing == Framing::Raw {
            table.fail("confirm", "\"ack\" needs framing = \"envelope\"");
        }
        if self.confirm == Confirm::Ack && !self.replay.keeps_order() {
            table.fail(
                "replay",
                "sends out of order, but with confirm = \"ack\" a number stands for all before it; use live_share = 0.0 and \
                 order = \"fifo\", or confirm = \"pong\"",
            );
        }
        if url.as_ref().is_some_and(|url| url.scheme == "ws") && self.tls != ClientTls::default() {
            table.fail("tls", "needs a wss:// url");
        }
        let authorizations = [
            url.is_some_and(|url| url.user.is_some()),
            self.auth != Auth::None,
            self.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")),
        ];
        if authorizations.into_iter().filter(|given| *given).count() > 1 {
            table
                .fail("auth", "only one of auth, a user in the url and an authorization header may be given");
        }
        check_header_names(&self.headers, table);
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.lines()).finish()
    }
}

/// How the handshake request authenticates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// User and password (RFC 7617).
    Basic {
        /// User of basic authentication.
        username: String,
        /// Password of that user, a secret.
        password: Secret,
    },
    /// A token (RFC 6750), a secret.
    Bearer(Secret),
}

/// TLS settings of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// PEM file with the only roots to trust; the system's roots by default.
    pub ca: Option<PathBuf>,
    /// PEM file with our certificate chain, for a server that asks for one.
    pub cert: Option<PathBuf>,
    /// PEM file with its key.
    pub key: Option<PathBuf>,
    /// Name to verify instead of the url's host.
    pub server_name: Option<String>,
}

/// Keep-alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// Silence after which a ping is sent; zero sends none for keep-alive.
    pub interval: Duration,
    /// A ping unanswered for so long ends the connection.
    pub timeout: Duration,
}

/// Back-off between tries. Always with full jitter, also before the first retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// Upper end of the first wait. When a stable connection was lost it is 8 times as much, since a whole fleet may have lost
    /// it.
    pub min: Duration,
    /// Upper end of the longest wait.
    pub max: Duration,
    /// A connection must have been up for so long before the back-off starts from `min` again.
    pub stable_after: Duration,
}

/// What lets a message be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confirm {
    /// The peer acknowledges it by number.
    Ack,
    /// The Pong of a Ping sent after it comes back.
    #[default]
    Pong,
    /// It is written to the socket.
    None,
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// One message, the payload as it came.
    #[default]
    Raw,
    /// A batch of messages with their numbers.
    Envelope,
}

/// Encoding of envelopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Text frames.
    #[default]
    Json,
    /// Binary frames.
    Cbor,
}

impl Auth {
    fn read(table: &mut Table) -> Auth {
        if table.holds_table("auth") {
            return table.within("auth", Auth::read_table);
        }
        table.value("auth", Auth::None, |node, _| match &node.kind {
            Kind::String(text) if text == "none" => Ok(Auth::None),
            _ => Err("must be \"none\", { basic = … } or { bearer = … }".to_owned()),
        })
    }

    fn read_table(table: &mut Table) -> Auth {
        if table.len() != 1 {
            table.fail_whole("must have exactly one of basic, bearer");
        }
        let bearer = table.optional("bearer", value::secret);
        let basic = table.holds("basic").then(|| table.within("basic", Auth::read_basic));
        bearer.map(Auth::Bearer).or(basic.flatten()).unwrap_or_default()
    }

    fn read_basic(table: &mut Table) -> Option<Auth> {
        let username = table.required("username", user_name);
        let password = table.required("password", value::secret);
        Some(Auth::Basic { username: username?, password: password? })
    }

    fn rendered(&self) -> String {
        match self {
            Auth::None => render::string("none"),
            Auth::Basic { username, password } => {
                let basic = [
                    ("username", Some(render::string(username))),
                    ("password", Some(render::secret(password))),
                ];
                render::inline(&[("basic", Some(render::inline(&basic)))])
            }
            Auth::Bearer(token) => render::inline(&[("bearer", Some(render::secret(token)))]),
        }
    }
}

impl ClientTls {
    pub(super) fn read(table: &mut Table) -> ClientTls {
        let tls = ClientTls {
            ca: table.optional("ca", value::path),
            cert: table.optional("cert", value::path),
            key: table.optional("key", value::path),
            server_name: table.optional("server_name", server_name),
        };
        if table.has("cert") && !table.has("key") {
            table.fail("cert", "needs `key` too");
        }
        if table.has("key") && !table.has("cert") {
            table.fail("key", "needs `cert` too");
        }
        tls
    }

    pub(super) fn pairs(&self) -> Lines {
        vec![
            ("ca", self.ca.as_deref().map(render::path)),
            ("cert", self.cert.as_deref().map(render::path)),
            ("key", self.key.as_deref().map(render::path)),
            ("server_name", self.server_name.as_deref().map(render::string)),
        ]
    }
}

impl Default for Ping {
    fn default() -> Ping {
        Ping { interval: Duration::from_secs(20), timeout: Duration::from_secs(10) }
    }
}

impl Ping {
    fn read(table: &mut Table) -> Ping {
        let default = Ping::default();
        Ping {
            interval: table.value("interval", default.interval, value::duration_or_zero(10..=value::DAY)),
            timeout: table.value("timeout", default.timeout, value::timeout()),
        }
    }

    fn rendered(&self) -> String {
        render::inline(&[
            ("interval", Some(render::string(&render::duration(self.interval)))),
            ("timeout", Some(render::string(&render::duration(self.timeout)))),
        ])
    }
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect {
            min: Duration::from_secs(1),
            max: Duration::from_secs(300),
            stable_after: Duration::from_secs(60),
        }
    }
}

impl Reconnect {
    pub(super) fn read(table: &mut Table) -> Reconnect {
        let default = Reconnect::default();
        table.optional("jitter", value::word([("full", ())]));
        let reconnect = Reconnect {
            min: table.value("min", default.min, value::timeout()),
            max: table.value("max", default.max, value::timeout()),
            stable_after: table.value("stable_after", default.stable_after, value::duration(0..=value::DAY)),
        };
        if reconnect.max < reconnect.min {
            let key = if table.has("max") { "max" } else { "min" };
            let (min, max) = (render::duration(reconnect.min), render::duration(reconnect.max));
            let what = if key == "max" {
                format!("{max} is below min ({min})")
            } else {
                format!("{min} is above max ({max})")
            };
            table.fail(key, what);
        }
        reconnect
    }

    pub(super) fn rendered(&self) -> String {
        render::inline(&[
            ("min", Some(render::string(&render::duration(self.min)))),
            ("max", Some(render::string(&render::duration(self.max)))),
            ("jitter", Some(render::string("full"))),
            ("stable_after", Some(render::string(&render::duration(self.stable_after)))),
        ])
    }
}

fn client_url(node: &Node, _: &Reading) -> Result<String, String> {
    let text = value::text(node)?;
    Url::parse(text, ["ws", "wss"]).map(|_| text.to_owned())
}

fn parameter(name: &str, node: &Node, reading: &Reading) -> Result<Secret, String> {
    if name.is_empty() { Err("must have a name".to_owned()) } else { value::secret(node, reading) }
}

fn header(name: &str, node: &Node, reading: &Reading) -> Result<Secret, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("is no name of a header field".to_owned());
    }
    if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        return Err("belongs to the handshake and cannot be set".to_owned());
    }
    match value::secret(node, reading)? {
        Secret::Plain(text) if text.contains(char::is_control) => {
            Err("must not hold a control character".to_owned())
        }
        secret => Ok(secret),
    }
}

fn check_header_names(headers: &BTreeMap<String, Secret>, table: &Table) {
    let mut seen = std::collections::BTreeSet::new();
    for name in headers.keys() {
        if !seen.insert(name.to_ascii_lowercase()) {
            table.fail("headers", format!("has `{name}` twice; case does not count"));
        }
    }
}

fn user_name(node: &Node, reading: &Reading) -> Result<String, String> {
    let name = value::line(node, reading)?;
    // RFC 7617 §2: the first colon ends the user.
    if name.contains(':') { Err("must not hold a `:`".to_owned()) } else { Ok(name) }
}

fn server_name(node: &Node, _: &Reading) -> Result<String, String> {
    let name = value::text(node)?;
    if url::is_host(name) { Ok(name.to_owned()) } else { Err("must be the name of a host".to_owned()) }
}
