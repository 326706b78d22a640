//! `[[client]]`: a link to the outside.

use std::time::Duration;

use super::Secret;
use super::address::{self, BALANCE, Balance};
use super::batch::Batch;
use super::buffer::BufferLimits;
use super::handshake::{self, Fields, is_token};
use super::inbound::Inbound;
use super::link_kind::LinkKind;
use super::proxy::Proxy;
use super::publish::Publish;
pub use super::reconnect::Reconnect;
use super::render::{self, Lines};
use super::replay::Replay;
use super::table::{Reading, Table};
use super::tls::ClientTls;
use super::tree::{Kind, Node};
use super::{url, value};

/// Bytes up to which consecutive messages share an envelope frame by default; a larger message has one of its own.
pub const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
const CONFIRM: [(&str, Confirm); 3] =
    [("pong", Confirm::Pong), ("ack", Confirm::Ack), ("none", Confirm::None)];
const FRAMING: [(&str, Framing); 2] = [("raw", Framing::Raw), ("envelope", Framing::Envelope)];
const ENCODING: [(&str, BodyEncoding); 3] =
    [("json", BodyEncoding::Json), ("cbor", BodyEncoding::Cbor), ("ndjson", BodyEncoding::Ndjson)];
const COMPRESSION: [(&str, Compression); 2] = [("none", Compression::None), ("gzip", Compression::Gzip)];
const ELEMENTS: [(&str, Elements); 2] = [("messages", Elements::Messages), ("payloads", Elements::Payloads)];

/// `[[client]]`: a link to the outside, over WebSocket, HTTP or MQTT as its url says, with a place of its own in the buffer. Without any
/// there is one that holds its messages and never connects.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    /// Letter or `_`, then letters, digits, `_`; compared without case; `ws_client_N` by default.
    pub id: String,
    /// For people; nothing depends on it.
    pub name: String,
    /// For people; nothing depends on it.
    pub description: String,
    /// Name of what it belongs to, a plant say: `holdfast status --application NAME` shows only that, topics may hold it, and
    /// the retained topic `{prefix}/applications/NAME/status` tells how its links are. At most 31 names.
    pub application: String,
    /// An inactive client holds its messages and never connects.
    pub active: bool,
    /// Name of its place in the buffer; its id by default. A client that gets another id keeps what is held for it, and its numbers, with
    /// the old one here; one that replaces another takes over what that one has left.
    pub outlet: Option<String>,
    /// `ws://` or `wss://` for a WebSocket, `http://` or `https://` for POST requests, `mqtt://` or `mqtts://` for a broker; `ws://[fe80::1%25eth0]` also names the network interface that leads there. Only an inactive client can
    /// be without `url`, `urls` and `host`. Redirects of the server are followed, three at most: on the same host, or to another one
    /// with TLS, which gets no credentials, `headers` or client certificate; never from TLS to plain text.
    pub url: Option<String>,
    /// Several such urls, in place of `url`. They must lead to one receiver: what one of them confirmed is forgotten.
    pub urls: Vec<String>,
    /// Which of `urls` is used. One that is dead is left at once, and has a back-off of its own.
    pub balance: Balance,
    /// A link that `failover` has led away from the first url tries it again after so long, and up to half as long more; it
    /// moves there when a ping is answered, once nothing is in flight. `0s`: only when it is lost.
    pub prefer_after: Duration,
    /// Name or address of a host, in place of `url`.
    pub host: Option<String>,
    /// Port of `host`; 80 by default, with TLS 443.
    pub port: Option<u16>,
    /// Path and query behind `host`: `/ingest?line=3`.
    pub path: Option<String>,
    /// Query parameters, added to those of the url, percent-encoded by us. A value may also stand as `{ value = …,
    /// description = "…" }`.
    pub params: Fields,
    /// Header fields of the handshake request, or of each POST, of the same form.
    pub headers: Fields,
    /// How the handshake request, or each POST, authenticates.
    pub auth: Auth,
    /// Subprotocols that are offered, the most wanted first; with `confirm = "ack"` ours comes before them. A server that picks
    /// none is taken all the same.
    pub subprotocols: Vec<String>,
    /// `Origin` of the handshake request, for servers that let in browsers only.
    pub origin: Option<String>,
    /// TLS settings for `wss://`, `https://` and `mqtts://`; `true` has `host` speak TLS, and so has any setting.
    pub tls: ClientTls,
    /// Whether `host` speaks TLS.
    pub secure: bool,
    /// The way to the host leads through a proxy.
    pub proxy: Option<Proxy>,
    /// Sent first on every connection, as text frames: one message or a list. One may be a secret from a file, a credential
    /// or the environment. None of them is shown, for many hold a login.
    pub message: Vec<Secret>,
    /// What the peer sends of its own becomes messages; without this it is only counted. They go to every other client and
    /// never back; where there is no other, only `holdfast tap` shows them. Two such peers that send back what they get would
    /// keep each other busy for ever.
    pub inbound: Option<Inbound>,
    /// Keep-alive.
    pub ping: Ping,
    /// Back-off.
    pub reconnect: Reconnect,
    /// What lets a message be forgotten.
    pub confirm: Confirm,
    /// What a frame holds.
    pub framing: Framing,
    /// Encoding of envelopes, and of the body of a POST, where `ndjson` is the default.
    pub encoding: BodyEncoding,
    /// Bytes of an envelope with several messages, at most: below the limit of a peer that has one, 8 KB say or 32 KB. A peer that
    /// closes with 1009 has it lowered by halves, which is kept for its url over sixteen starts of the agent. A larger message goes alone.
    pub frame_bytes: usize,
    /// How much a POST holds (HTTP).
    pub batch: Batch,
    /// How the body of a POST is compressed (HTTP); `none` by default.
    pub compression: Compression,
    /// Form of a message in the body of a POST (HTTP); `messages` by default.
    pub elements: Elements,
    /// How it publishes; keys `topic`, `qos`, `retain`, `client_id`, `version` stand directly in `[[client]]`.
    pub publish: Publish,
    /// Messages in flight, unconfirmed.
    pub window: usize,
    /// The link's own place in the buffer.
    pub buffer: BufferLimits,
    /// How what was held is sent once the link is back.
    pub replay: Replay,
    /// DNS, TCP, TLS and upgrade together must end within this.
    pub connect_timeout: Duration,
    /// Something is in flight, and for so long nothing was confirmed and no byte has arrived on either side: the link is dead. A
    /// peer that was late while it was alive has more time from then on, at most eight times as much.
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
            application: String::new(),
            active: true,
            outlet: None,
            url: None,
            urls: Vec::new(),
            balance: Balance::default(),
            prefer_after: Duration::from_secs(300),
            host: None,
            port: None,
            path: None,
            params: Fields::new(),
            headers: Fields::new(),
            auth: Auth::None,
            subprotocols: Vec::new(),
            origin: None,
            tls: ClientTls::default(),
            secure: false,
            proxy: None,
            message: Vec::new(),
            inbound: None,
            ping: Ping::default(),
            reconnect: Reconnect::default(),
            confirm: Confirm::default(),
            framing: Framing::default(),
            encoding: BodyEncoding::default(),
            batch: Batch::default(),
            compression: Compression::default(),
            elements: Elements::default(),
            publish: Publish::default(),
            frame_bytes: ENVELOPE_BYTES_MAX,
            window: 1000,
            buffer: BufferLimits::default(),
            replay: Replay::default(),
            connect_timeout: Duration::from_secs(15),
            confirm_timeout: Duration::from_secs(30),
            trial: Duration::ZERO,
        }
    }

    /// Where it may connect to, without secrets.
    pub fn shown_urls(&self) -> Vec<String> {
        self.endpoints().iter().map(|url| url::shown(url)).collect()
    }

    /// Name of its place in the buffer.
    pub fn outlet_name(&self) -> &str {
        self.outlet.as_deref().unwrap_or(&self.id)
    }

    pub(super) fn read(index: usize, table: &mut Table) -> Client {
        let default = Client::of_index(index);
        table.renamed("parameters", "path");
        let url = table.optional("url", address::client_url);
        let host = table.optional("host", address::host);
        let (tls, speaks_tls) = ClientTls::read_or_flag(table);
        let application = table.value("application", String::new(), application);
        let mut client = Client {
            id: table.value("id", default.id, value::id),
            name: table.value("name", default.name, value::string),
            description: table.value("description", default.description, value::string),
            active: table.value("active", default.active, value::boolean),
            outlet: table.optional("outlet", value::id),
            urls: table.value("urls", default.urls, address::client_urls),
            balance: table.value("balance", default.balance, value::word(BALANCE)),
            prefer_after: table.value(
                "prefer_after",
                default.prefer_after,
                value::duration_or_zero(10..=value::DAY),
            ),
            port: table.optional("port", value::number(1..=65_535)),
            path: table.optional("path", address::path),
            params: table.map("params", handshake::parameter),
            headers: table.map("headers", handshake::header),
            auth: Auth::read(table),
            subprotocols: table.value("subprotocols", default.subprotocols, subprotocols),
            origin: table.optional("origin", value::line),
            secure: host.is_some() && (speaks_tls == Some(true) || tls != ClientTls::default()),
            proxy: Proxy::read(table),
            message: table.value("message", default.message, messages),
            inbound: Inbound::read(&application, table),
            ping: table.within("ping", Ping::read),
            reconnect: table.within("reconnect", Reconnect::read),
            confirm: table.value("confirm", default.confirm, value::word(CONFIRM)),
            framing: table.value("framing", default.framing, value::word(FRAMING)),
            encoding: table.value("encoding", default.encoding, value::word(ENCODING)),
            batch: table.within("batch", Batch::read),
            compression: table.value("compression", default.compression, value::word(COMPRESSION)),
            elements: table.value("elements", default.elements, value::word(ELEMENTS)),
            publish: Publish::read(table),
            frame_bytes: table.value("frame_bytes", default.frame_bytes, frame_bytes),
            window: table.value("window", default.window, value::number(1..=100_000)),
            buffer: table.within("buffer", BufferLimits::read),
            replay: table.within("replay", Replay::read),
            connect_timeout: table.value("connect_timeout", default.connect_timeout, value::timeout()),
            confirm_timeout: table.value("confirm_timeout", default.confirm_timeout, value::timeout()),
            trial: table.value("trial", default.trial, value::duration_or_zero(100..=value::DAY)),
            application,
            url,
            host,
            tls,
        };
        if client.kind() == LinkKind::Http && !table.has("encoding") {
            client.encoding = BodyEncoding::Ndjson;
        }
        client.check_address(speaks_tls, table);
        client.check_kind(table);
        client.check(table);
        client
    }

    pub(super) fn lines(&self) -> Lines {
        let web_socket = self.kind() == LinkKind::WebSocket;
        let http = self.kind() == LinkKind::Http;
        let mqtt = self.kind() == LinkKind::Mqtt;
        let mut lines = vec![
            ("id", Some(render::string(&self.id))),
            ("name", Some(render::string(&self.name))),
            ("description", Some(render::string(&self.description))),
            ("application", Some(render::string(&self.application))),
            ("active", Some(self.active.to_string())),
            ("outlet", self.outlet.as_deref().map(render::string)),
            ("url", self.url.as_ref().map(|url| render::string(&url::shown(url)))),
            ("urls", (!self.urls.is_empty()).then(|| shown_list(&self.urls))),
            ("balance", Some(render::word(BALANCE, self.balance))),
            ("prefer_after", Some(render::string(&render::duration(self.prefer_after)))),
            ("host", self.host.as_deref().map(render::string)),
            ("port", self.port.map(|port| port.to_string())),
            ("path", self.path.as_deref().map(|tail| render::string(&url::shown(tail)))),
            ("params", (web_socket || http).then(|| handshake::rendered(&self.params))),
            ("headers", (web_socket || http).then(|| handshake::rendered(&self.headers))),
            ("auth", Some(self.auth.rendered())),
            ("subprotocols", web_socket.then(|| render::strings(&self.subprotocols))),
            ("origin", self.origin.as_deref().map(render::string)),
            ("tls", Some(self.tls_rendered())),
            ("proxy", self.proxy.as_ref().map(Proxy::rendered)),
            ("message", web_socket.then(|| messages_rendered(&self.message))),
            ("inbound", self.inbound.as_ref().map(Inbound::rendered)),
            ("ping", (web_socket || mqtt).then(|| self.ping.rendered())),
            ("reconnect", Some(self.reconnect.rendered())),
            ("confirm", web_socket.then(|| render::word(CONFIRM, self.confirm))),
            ("framing", web_socket.then(|| render::word(FRAMING, self.framing))),
            ("encoding", (web_socket || http).then(|| render::word(ENCODING, self.encoding))),
            ("frame_bytes", web_socket.then(|| render::string(&render::bytes(self.frame_bytes as u64)))),
            ("batch", http.then(|| self.batch.rendered())),
            ("compression", http.then(|| render::word(COMPRESSION, self.compression))),
            ("elements", http.then(|| render::word(ELEMENTS, self.elements))),
            ("window", Some(self.window.to_string())),
            ("buffer", Some(self.buffer.rendered())),
            ("replay", Some(self.replay.rendered())),
            ("connect_timeout", Some(render::string(&render::duration(self.connect_timeout)))),
            ("confirm_timeout", Some(render::string(&render::duration(self.confirm_timeout)))),
            ("trial", Some(render::string(&render::duration(self.trial)))),
        ];
        lines.extend(self.publish.lines(mqtt));
        lines
    }

    /// Encoding of its envelopes.
    pub fn envelope_encoding(&self) -> Encoding {
        match self.encoding {
            BodyEncoding::Json | BodyEncoding::Ndjson => Encoding::Json,
            BodyEncoding::Cbor => Encoding::Cbor,
        }
    }

    fn check(&self, table: &Table) {
        if self.confirm == Confirm::Ack && self.framing == Framing::Raw {
            table.fail("confirm", "\"ack\" needs framing = \"envelope\"");
        }
        if self.framing == Framing::Raw && self.frame_bytes != ENVELOPE_BYTES_MAX {
            table.fail(
                "frame_bytes",
                "needs framing = \"envelope\": with \"raw\" each message is a frame of its own",
            );
        }
        if self.confirm == Confirm::Ack && !self.replay.keeps_order() {
            table.fail(
                "replay",
                "sends out of order, but with confirm = \"ack\" a number stands for all before it; use live_share = 0.0 and \
                 order = \"fifo\", or confirm = \"pong\"",
            );
        }
        let authorizations = [
            self.has_user(),
            matches!(self.auth, Auth::Basic { .. } | Auth::Bearer(_)),
            handshake::has(&self.headers, "authorization"),
        ];
        if authorizations.into_iter().filter(|given| *given).count() > 1 {
            table
                .fail("auth", "only one of auth, a user in the url and an authorization header may be given");
        }
        if !self.subprotocols.is_empty() && handshake::has(&self.headers, "sec-websocket-protocol") {
            table.fail("subprotocols", "are in `headers` already");
        }
        if self.origin.is_some() && handshake::has(&self.headers, "origin") {
            table.fail("origin", "is in `headers` already");
        }
        handshake::check_names(&self.headers, table);
    }

    fn tls_rendered(&self) -> String {
        match self.secure && self.tls == ClientTls::default() {
            true => "true".to_owned(),
            false => render::inline(&self.tls.pairs()),
        }
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
        /// Its name.
        username: String,
        /// Password of that user, a secret.
        password: Secret,
    },
    /// A token (RFC 6750), a secret.
    Bearer(Secret),
    /// User and password in front of the path: `/auth/USER/PASSWORD/…`, percent-encoded.
    Url {
        /// Its name.
        username: String,
        /// Password of that user, a secret.
        password: Secret,
    },
}

/// Keep-alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// Silence after which a ping is sent; zero sends none for keep-alive.
    pub interval: Duration,
    /// A ping is unanswered, and for so long no byte has arrived on either side: the connection is ended. A peer that was late
    /// while it was alive has more time from then on, at most eight times as much.
    pub timeout: Duration,
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

/// How messages are written, on the wire of any link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyEncoding {
    /// Text frames; the body of a POST is an array.
    #[default]
    Json,
    /// Binary frames; the body of a POST is an array.
    Cbor,
    /// A message a line (HTTP only).
    Ndjson,
}

/// How the body of a request is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// `Content-Encoding: gzip`.
    Gzip,
}

/// Form of a message in the body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Elements {
    /// An object with epoch, number, time, topic, device and data, so that the receiver can leave out what comes twice; a gap is
    /// an element of its own.
    #[default]
    Messages,
    /// The payload alone: JSON as it came, text as a string, binary as a string in base64. Gaps are not told.
    Payloads,
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
        table.value("auth", Auth::None, |node, _| match node.kind.string() {
            Some("none") => Ok(Auth::None),
            Some(_) | None => {
                Err("must be \"none\", { basic = … }, { bearer = … } or { url = … }".to_owned())
            }
        })
    }

    fn read_table(table: &mut Table) -> Auth {
        if table.len() != 1 {
            table.fail_whole("must have exactly one of basic, bearer, url");
        }
        let bearer = table.optional("bearer", value::secret);
        let basic = table.holds("basic").then(|| table.within("basic", Auth::read_basic));
        let url = table.holds("url").then(|| table.within("url", Auth::read_url));
        bearer.map(Auth::Bearer).or(basic.flatten()).or(url.flatten()).unwrap_or_default()
    }

    fn read_basic(table: &mut Table) -> Option<Auth> {
        let username = table.required("username", user_name);
        let password = table.required("password", value::secret);
        Some(Auth::Basic { username: username?, password: password? })
    }

    fn read_url(table: &mut Table) -> Option<Auth> {
        let username = table.required("username", value::line);
        let password = table.required("password", value::secret);
        Some(Auth::Url { username: username?, password: password? })
    }

    fn rendered(&self) -> String {
        let user = |username: &str, password: &Secret| {
            let (username, password) = (render::string(username), render::secret(password));
            render::inline(&[("username", Some(username)), ("password", Some(password))])
        };
        match self {
            Auth::None => render::string("none"),
            Auth::Basic { username, password } => {
                render::inline(&[("basic", Some(user(username, password)))])
            }
            Auth::Bearer(token) => render::inline(&[("bearer", Some(render::secret(token)))]),
            Auth::Url { username, password } => render::inline(&[("url", Some(user(username, password)))]),
        }
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

/// The name of an application; it may become a level of a topic.
pub(super) fn application(node: &Node, _: &Reading) -> Result<String, String> {
    let name = value::text(node)?;
    if name.contains(|letter: char| letter.is_control() || "/+#".contains(letter)) {
        return Err("must not hold `/`, `+`, `#` or a control character".to_owned());
    }
    Ok(name.to_owned())
}

fn frame_bytes(node: &Node, reading: &Reading) -> Result<usize, String> {
    value::bytes(1024..=1 << 20)(node, reading)
        .map(|bytes| usize::try_from(bytes).unwrap_or(ENVELOPE_BYTES_MAX))
}

pub(super) fn subprotocols(node: &Node, reading: &Reading) -> Result<Vec<String>, String> {
    let names = value::strings(node, reading)?;
    for (index, name) in names.iter().enumerate() {
        if !is_token(name) {
            return Err(format!("`{}` is no name of a subprotocol", name.escape_debug()));
        }
        if names[..index].contains(name) {
            return Err(format!("`{name}` is named twice"));
        }
    }
    Ok(names)
}

/// One message or a list of them.
fn messages(node: &Node, reading: &Reading) -> Result<Vec<Secret>, String> {
    let one = |node: &Node| {
        let shape = |_| "must be a message (a string, or { file = … }, { credential = … }, { env = … }) or a list of them";
        value::secret(node, reading).map_err(shape)
    };
    let messages: Result<Vec<Secret>, _> = if let Kind::Array(nodes) = &node.kind {
        nodes.iter().map(one).collect()
    } else {
        one(node).map(|message| vec![message])
    };
    messages.map_err(str::to_owned)
}

fn messages_rendered(messages: &[Secret]) -> String {
    match messages {
        [one] => render::secret(one),
        many => format!("[{}]", many.iter().map(render::secret).collect::<Vec<_>>().join(", ")),
    }
}

fn shown_list(urls: &[String]) -> String {
    render::strings(&urls.iter().map(|url| url::shown(url)).collect::<Vec<_>>())
}

fn user_name(node: &Node, reading: &Reading) -> Result<String, String> {
    let name = value::line(node, reading)?;
    // RFC 7617 §2: the first colon ends the user.
    if name.contains(':') { Err("must not hold a `:`".to_owned()) } else { Ok(name) }
}
