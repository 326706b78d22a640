//! `trusted_proxies` of a `[[server]]`: reverse proxies that are believed when they tell from whom a request comes.

use std::net::IpAddr;

use super::network::{Network, network};
use super::server::{Server, UNIX};
use super::table::Reading;
use super::tree::Node;
use super::value;

const UNIX_WORD: &str = "unix";

/// Where a proxy connects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// A Unix socket of this machine.
    Unix,
    /// One of these addresses.
    Within(Network),
}

impl TrustedProxy {
    /// Whether a peer is meant; one without an address is at a Unix socket.
    pub fn holds(&self, peer: Option<IpAddr>) -> bool {
        match (self, peer) {
            (TrustedProxy::Unix, peer) => peer.is_none(),
            (TrustedProxy::Within(network), peer) => peer.is_some_and(|peer| network.holds(peer)),
        }
    }

    fn covers(&self, other: &TrustedProxy) -> bool {
        match (self, other) {
            (TrustedProxy::Unix, TrustedProxy::Unix) => true,
            (TrustedProxy::Within(network), TrustedProxy::Within(other)) => network.covers(other),
            (TrustedProxy::Unix, TrustedProxy::Within(_)) | (TrustedProxy::Within(_), TrustedProxy::Unix) => {
                false
            }
        }
    }
}

impl std::fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TrustedProxy::Unix => f.write_str(UNIX_WORD),
            TrustedProxy::Within(network) => network.fmt(f),
        }
    }
}

/// A list of them.
pub(super) fn trusted_proxies(node: &Node, reading: &Reading) -> Result<Vec<TrustedProxy>, String> {
    let proxy = |text: &String| match text.as_str() {
        UNIX_WORD => Ok(TrustedProxy::Unix),
        text => network(text).map(TrustedProxy::Within).map_err(|error| format!("{error}, or {UNIX_WORD}")),
    };
    value::strings(node, reading)?.iter().map(proxy).collect()
}

/// Entries that trust too many or change nothing, with the reason.
pub fn warnings(server: &Server) -> Vec<String> {
    let proxies = &server.access.trusted_proxies;
    let told = proxies.iter().enumerate().filter_map(|(index, proxy)| {
        let why = if matches!(proxy, TrustedProxy::Within(network) if network.is_everything()) {
            "trusts everybody: whoever connects may name any address as its own; name the address of the proxy"
                .to_owned()
        } else if let Some(known) = proxies[..index].iter().find(|known| known.covers(proxy)) {
            if known == proxy { "is there twice".to_owned() } else { format!("is already in {known}") }
        } else {
            useless(server, proxy)?
        };
        Some(format!("trusted_proxies: {proxy} {why}"))
    });
    told.collect()
}

fn useless(server: &Server, proxy: &TrustedProxy) -> Option<String> {
    let is_unix = |name: &&String| name.starts_with(UNIX);
    let bind = &server.bind;
    let network = match proxy {
        TrustedProxy::Unix if bind.iter().any(|name| is_unix(&name)) => return None,
        TrustedProxy::Unix => {
            return Some("is of no use: no `bind` of this server is a Unix socket".to_owned());
        }
        TrustedProxy::Within(network) => network,
    };
    if server.access.deny.iter().any(|denied| denied.covers(network)) {
        return Some("is of no use: it is in `deny`".to_owned());
    }
    let is_loopback = |name: &String| {
        let host = name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host).trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical().is_loopback())
    };
    let is_here = network.has_loopback();
    bind.iter().all(|name| is_unix(&name) || is_loopback(name) && !is_here).then(|| {
        format!("is of no use: `bind` has nothing that is reached from there, only {}", bind.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Environment, Overrides};

    fn server(lines: &str) -> Server {
        let environment = Environment { host_name: "gw", data_dir: Path::new("/d"), env: &|_| None };
        let text = format!("[[server]]\n{lines}");
        let config = Config::parse(&text, Path::new("/t"), &Overrides::default(), &environment).unwrap();
        config.servers[0].clone()
    }

    fn warnings_of(lines: &str) -> Vec<String> {
        warnings(&server(lines))
    }

    #[test]
    fn a_proxy_is_known_by_its_address_or_by_the_socket() {
        let proxies =
            server("trusted_proxies = ['127.0.0.1', '10.0.0.0/8', 'unix', '::1']").access.trusted_proxies;
        let trusts = |peer: Option<&str>| {
            let peer = peer.map(|peer| peer.parse().unwrap());
            proxies.iter().any(|proxy| proxy.holds(peer))
        };
        for peer in [Some("127.0.0.1"), Some("::ffff:127.0.0.1"), Some("10.1.2.3"), Some("::1"), None] {
            assert!(trusts(peer), "{peer:?}");
        }
        assert!(!trusts(Some("127.0.0.2")) && !trusts(Some("192.168.1.1")));
        assert!(!TrustedProxy::Within(network("0.0.0.0/0").unwrap()).holds(None));
    }

    #[test]
    fn an_entry_that_is_of_no_use_is_warned_of_with_the_reason() {
        let cases = [
            ("trusted_proxies = ['127.0.0.1', '127.0.0.1']", "trusted_proxies: 127.0.0.1 is there twice"),
            (
                "trusted_proxies = ['127.0.0.0/8', '127.0.0.1']",
                "trusted_proxies: 127.0.0.1 is already in 127.0.0.0/8",
            ),
            (
                "trusted_proxies = ['unix']",
                "trusted_proxies: unix is of no use: no `bind` of this server is a Unix socket",
            ),
            (
                "trusted_proxies = ['10.0.0.7']",
                "trusted_proxies: 10.0.0.7 is of no use: `bind` has nothing that is reached from there, only 127.0.0.1:9998",
            ),
            (
                "trusted_proxies = ['127.0.0.1']\nbind = ['unix:/run/a.sock']",
                "trusted_proxies: 127.0.0.1 is of no use: `bind` has nothing that is reached from there, only unix:/run/a.sock",
            ),
            (
                "trusted_proxies = ['127.0.0.1']\ndeny = ['127.0.0.0/8']",
                "trusted_proxies: 127.0.0.1 is of no use: it is in `deny`",
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(warnings_of(lines), [expected], "{lines}");
        }
        for everybody in ["0.0.0.0/0", "::/0"] {
            let warnings = warnings_of(&format!("trusted_proxies = ['{everybody}']"));
            assert!(warnings.len() == 1 && warnings[0].contains("trusts everybody"), "{warnings:?}");
        }
        let sound = "bind = ['0.0.0.0:9998', 'unix:/run/a.sock']\n\
                     trusted_proxies = ['127.0.0.1', '::1', '10.0.0.0/8', 'unix']";
        assert_eq!(warnings_of(sound), Vec::<String>::new());
        assert_eq!(warnings_of("trusted_proxies = ['127.0.0.2', '::1']"), Vec::<String>::new());
    }
}
