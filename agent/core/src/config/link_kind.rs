//! Protocol of a client: its url says it. Keys that mean nothing on such a link are faults.

use super::client::{Auth, BodyEncoding, Client};
use super::handshake;
use super::table::Table;
use super::url::Url;

/// Schemes of each kind, without TLS and with it.
const KINDS: [(LinkKind, [&str; 2]); 3] = [
    (LinkKind::WebSocket, ["ws", "wss"]),
    (LinkKind::Http, ["http", "https"]),
    (LinkKind::Mqtt, ["mqtt", "mqtts"]),
];
/// All schemes of clients.
pub const SCHEMES: [&str; 6] = ["ws", "wss", "http", "https", "mqtt", "mqtts"];

/// Keys that only some kinds of links know, and what is used in their place on an HTTP link.
const OF_WEB_SOCKETS: [(&str, &str); 8] = [
    ("confirm", "each 2xx answer confirms its batch"),
    ("framing", "`encoding`, `elements` and `batch` say what is sent"),
    ("frame_bytes", "`batch.bytes` bounds a request"),
    ("ping", "nothing is pinged; `confirm_timeout` bounds the wait for an answer"),
    ("subprotocols", "they belong to WebSocket"),
    ("origin", "set it in `headers`"),
    ("message", "the first request is a batch; a login belongs into `auth` or `headers`"),
    ("inbound", "a server sends nothing of its own"),
];
const OF_HTTP: [&str; 3] = ["batch", "compression", "elements"];
const OF_MQTT: [&str; 5] = ["topic", "qos", "retain", "client_id", "version"];
/// Keys that mean nothing to a broker, and what is used in their place.
const NOT_OF_MQTT: [(&str, &str); 10] = [
    ("confirm", "each PUBACK confirms its message, unless qos = 0"),
    ("framing", "each message is a publication of its own"),
    ("encoding", "each message is a publication of its own"),
    ("frame_bytes", "each message is a publication of its own"),
    ("params", "a broker has no path"),
    ("headers", "a login belongs into `auth`"),
    ("subprotocols", "they belong to WebSocket"),
    ("origin", "it belongs to WebSocket"),
    ("message", "each message is a publication of its own"),
    ("inbound", "nothing is subscribed to"),
];

/// Protocol of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkKind {
    /// `ws://` and `wss://`: frames, pings, a peer that may speak.
    #[default]
    WebSocket,
    /// `http://` and `https://`: a POST for each batch, and its status.
    Http,
    /// `mqtt://` and `mqtts://`: a publication for each message, and its PUBACK.
    Mqtt,
}

impl LinkKind {
    /// That of a url.
    pub fn of(url: &str) -> Option<LinkKind> {
        let (scheme, _) = url.split_once("://")?;
        let has = |schemes: &[&str; 2]| schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme));
        KINDS.iter().find(|(_, schemes)| has(schemes)).map(|(kind, _)| *kind)
    }

    /// Its schemes, without TLS and with it.
    pub fn schemes(self) -> [&'static str; 2] {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or(["ws", "wss"], |(_, schemes)| *schemes)
    }
}

impl Client {
    /// Its protocol: the kind of its first url.
    pub fn kind(&self) -> LinkKind {
        let endpoints = self.endpoints();
        endpoints.first().and_then(|url| LinkKind::of(url)).unwrap_or_default()
    }

    /// Faults of keys that the kind of the link does not know.
    pub(super) fn check_kind(&self, table: &Table) {
        let endpoints = self.endpoints();
        let Some(kind) = endpoints.first().and_then(|url| LinkKind::of(url)) else { return };
        let is_other = |url: &String| LinkKind::of(url) != Some(kind);
        if let Some(other) = endpoints.iter().find(|url| is_other(url)) {
            let scheme = other.split_once("://").map_or("", |(scheme, _)| scheme);
            let [plain, secure] = kind.schemes();
            table.fail(
                "urls",
                format!("must all be {plain}:// or {secure}://, as the first is; one is {scheme}://"),
            );
        }
        for key in OF_HTTP.into_iter().filter(|key| table.has(key) && kind != LinkKind::Http) {
            table.fail(key, "needs an http:// or https:// url");
        }
        for key in OF_MQTT.into_iter().filter(|key| table.has(key) && kind != LinkKind::Mqtt) {
            table.fail(key, "needs an mqtt:// or mqtts:// url");
        }
        match kind {
            LinkKind::Mqtt => self.check_mqtt(table),
            LinkKind::WebSocket => {
                if self.encoding == BodyEncoding::Ndjson {
                    table.fail(
                        "encoding",
                        "\"ndjson\" needs an http:// or https:// url; use \"json\" or \"cbor\"",
                    );
                }
            }
            LinkKind::Http => {
                for (key, instead) in OF_WEB_SOCKETS.into_iter().filter(|(key, _)| table.has(key)) {
                    table.fail(key, format!("means nothing with an http:// or https:// url: {instead}"));
                }
                if handshake::has(&self.headers, "content-encoding") {
                    table.fail("headers", "must not hold content-encoding: `compression` sets it");
                }
            }
        }
    }

    fn check_mqtt(&self, table: &Table) {
        for (key, instead) in NOT_OF_MQTT.into_iter().filter(|(key, _)| table.has(key)) {
            table.fail(key, format!("means nothing with an mqtt:// or mqtts:// url: {instead}"));
        }
        if matches!(self.auth, Auth::Bearer(_) | Auth::Url { .. }) {
            table.fail("auth", "must be { basic = … } with an mqtt:// or mqtts:// url");
        }
        let has_tail = |url: &String| Url::parse(url, SCHEMES).is_ok_and(|url| !matches!(url.tail, "" | "/"));
        if self.endpoints().iter().any(has_tail) {
            table.fail("url", "must end behind host and port; `topic` says where messages go");
        }
    }
}
