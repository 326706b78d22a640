//! Where a client connects: one url, several urls, or a host with its port and path.

use super::client::Client;
use super::link_kind::{LinkKind, SCHEMES};
use super::table::{Reading, Table};
use super::tls::ClientTls;
use super::tree::{Kind, Node};
use super::url::{self, Url};
use super::value;

/// Urls that one client may have.
const URLS_MAX: usize = 16;

/// Which of several urls is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// The first that works; the first ones are tried again beside a link that had to leave them.
    #[default]
    Failover,
    /// The next one at each connect, from any of them on.
    RoundRobin,
}

pub(super) const BALANCE: [(&str, Balance); 2] =
    [("failover", Balance::Failover), ("round-robin", Balance::RoundRobin)];

impl Client {
    /// The urls that it may connect to, in the order of the configuration; none without an address.
    pub fn endpoints(&self) -> Vec<String> {
        match &self.host {
            Some(host) => vec![self.url_of_host(host)],
            None if self.urls.is_empty() => self.url.iter().cloned().collect(),
            None => self.urls.clone(),
        }
    }

    fn url_of_host(&self, host: &str) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        let host = match host.contains(':') {
            // The mark of a zone is percent-encoded (RFC 6874 §2).
            true => format!("[{}]", host.replace('%', "%25")),
            false => host.to_owned(),
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let tail = self.path.as_deref().unwrap_or_default();
        format!("{scheme}://{host}{port}{tail}")
    }

    /// Faults of the address, and of TLS where the address leads to none.
    pub(super) fn check_address(&self, tls: Option<bool>, table: &Table) {
        let given: Vec<&str> = ["url", "urls", "host"].into_iter().filter(|key| table.has(key)).collect();
        if self.active && given.is_empty() {
            table.fail("url", "is missing; an active client needs one");
        }
        if let [_, second, ..] = given[..] {
            table.fail(second, "only one of url, urls and host may be given");
        }
        for key in ["port", "path"] {
            if table.has(key) && !table.has("host") {
                table.fail(key, "needs `host`; a url holds it already");
            }
        }
        if self.host.is_some() && Url::parse(&self.url_of_host("h"), SCHEMES).is_err() {
            table.fail("path", "holds what cannot stand in a url; percent-encode it");
        }
        if self.host.is_some() || given.is_empty() {
            return;
        }
        let endpoints = self.endpoints();
        let is_secure = endpoints
            .iter()
            .any(|url| ["wss:", "https:", "mqtts:"].iter().any(|start| url.starts_with(start)));
        let secure = match self.kind() {
            LinkKind::WebSocket => "a wss://",
            LinkKind::Http => "an https://",
            LinkKind::Mqtt => "an mqtts://",
        };
        let wants = tls == Some(true) || self.tls != ClientTls::default();
        if wants && !is_secure && !endpoints.is_empty() {
            table.fail("tls", format!("needs {secure} url"));
        }
        if tls == Some(false) && is_secure {
            table.fail("tls", format!("is false, but {secure} url speaks TLS"));
        }
    }

    /// Whether one of its urls names a user.
    pub(super) fn has_user(&self) -> bool {
        let has_user = |url: &String| Url::parse(url, SCHEMES).is_ok_and(|url| url.user.is_some());
        self.endpoints().iter().any(has_user)
    }
}

pub(super) fn client_url(node: &Node, _: &Reading) -> Result<String, String> {
    Url::parse(value::text(node)?, SCHEMES).map(|url| url.text())
}

pub(super) fn client_urls(node: &Node, _: &Reading) -> Result<Vec<String>, String> {
    let Kind::Array(nodes) = &node.kind else { return Err("must be a list of urls".to_owned()) };
    if nodes.is_empty() || nodes.len() > URLS_MAX {
        return Err(format!("must hold 1 to {URLS_MAX} urls"));
    }
    let mut urls: Vec<String> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        // An error never quotes a url, for it may hold a password.
        let url = Url::parse(value::text(node)?, SCHEMES);
        let text = url.map_err(|error| format!("number {} {error}", index + 1))?.text();
        if urls.contains(&text) {
            return Err(format!("number {} is there twice", index + 1));
        }
        urls.push(text);
    }
    Ok(urls)
}

/// A host name or an address; an IPv6 address with brackets or without, and perhaps with a zone.
pub(super) fn host(node: &Node, _: &Reading) -> Result<String, String> {
    let text = value::text(node)?;
    if let Some((address, zone)) = url::zoned(text) {
        return Ok(format!("{address}%{zone}"));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<std::net::Ipv6Addr>().is_ok() || (bare == text && url::is_host(text)) {
        return Ok(bare.to_owned());
    }
    Err("must be the name or the address of a host".to_owned())
}

/// Path and query.
pub(super) fn path(node: &Node, _: &Reading) -> Result<String, String> {
    match value::text(node)? {
        text if text.starts_with(['/', '?']) => Ok(text.to_owned()),
        _ => Err("must be a path, a query or both: \"/ingest?line=3\"".to_owned()),
    }
}
