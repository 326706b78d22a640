//! The names of this gateway, and the one that a request asks for (RFC 9110 §7.2). A page can let its own name point at this machine
//! (DNS rebinding), but it cannot make a browser ask under another name than its own.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Names below these belong to nobody on the internet (RFC 6762, RFC 8375, ICANN's `internal`, and what routers use).
const PRIVATE: [&str; 6] = ["local", "lan", "home", "home.arpa", "internal", "localdomain"];
const LOCALHOST: &str = "localhost";
/// Longest name (RFC 1035 §2.3.4).
const NAME_BYTES: usize = 253;

/// A host as a request or an origin names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address, without the zone of an IPv6 one.
    Address(IpAddr),
    /// A name in lower case, without the dot at its end.
    Name(String),
}

/// `HOST` or `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, unless it is left to the scheme.
    pub port: Option<u16>,
    /// Whether the name ends with a dot, so that it is one of the internet as it is.
    pub is_absolute: bool,
}

impl Authority {
    /// Reads it, in the spelling of browsers, curl and small devices. None if no host can be seen in it.
    pub fn parse(text: &str) -> Option<Authority> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (text, ""),
        };
        let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
        Some(Authority { host: Host::parse(host)?, port, is_absolute: host.ends_with('.') })
    }
}

impl Host {
    fn parse(text: &str) -> Option<Host> {
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let address = address.split('%').next().unwrap_or_default();
            return Some(Host::Address(IpAddr::V6(address.parse().ok()?).to_canonical()));
        }
        if let Ok(address) = text.parse() {
            return Some(Host::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_letter);
        let is_name = name.len() <= NAME_BYTES && name.split('.').all(is_label);
        is_name.then(|| Host::Name(name.to_ascii_lowercase()))
    }

    /// Whether nobody can let it point elsewhere: an address, also in one of its odd spellings (`127.1`, `0x7f000001`). The names of
    /// the internet never end in a number.
    pub fn is_address(&self) -> bool {
        let Host::Name(name) = self else { return true };
        let last = name.rsplit('.').next().unwrap_or_default();
        let (digits, radix) = last.strip_prefix("0x").map_or((last, 10), |digits| (digits, 16));
        digits.chars().all(|digit| digit.is_digit(radix))
    }

    /// Whether it is the machine on which it is said.
    pub fn is_loopback(&self) -> bool {
        match self {
            Host::Address(address) => address.to_canonical().is_loopback(),
            Host::Name(name) => name == LOCALHOST || is_below(name, LOCALHOST),
        }
    }
}

/// Names of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// Its host name.
    pub host_name: &'a str,
    /// Text of hosts(5).
    pub hosts: &'a str,
    /// Text of resolv.conf(5).
    pub resolver: &'a str,
}

/// The names of one server, beside all addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// `hostnames`, in lower case; `*.example` stands for all names below it.
    configured: Vec<String>,
    own: BTreeSet<String>,
}

impl Names {
    /// `hostnames` and `bind` as they are configured.
    pub fn new(hostnames: &[String], bind: &[String], machine: &Machine<'_>) -> Names {
        let configured = hostnames.iter().map(|name| lower(name)).collect();
        let mut own = of_machine(machine);
        own.extend(bind.iter().filter_map(|name| match Authority::parse(name)?.host {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        }));
        Names { configured, own }
    }

    /// Whether a server may be asked so: under its own names, and under one without a dot. Nobody on the internet has such a name; a hosts
    /// file, a search domain or the network of containers gives it.
    pub fn take(&self, asked: &Authority) -> bool {
        let is_single = matches!(&asked.host, Host::Name(name) if !name.contains('.'));
        is_single && !asked.is_absolute || self.has(&asked.host)
    }

    /// Whether it is a name of this gateway, or an address.
    pub fn has(&self, host: &Host) -> bool {
        let Host::Name(name) = host else { return true };
        host.is_address() || host.is_loopback() || self.own.contains(name) || self.is_configured(host)
    }

    /// Whether it is one of `hostnames`.
    pub fn is_configured(&self, host: &Host) -> bool {
        let Host::Name(name) = host else { return false };
        self.configured.iter().any(|known| match known.strip_prefix("*.") {
            Some(domain) => is_below(name, domain),
            None => known == name,
        })
    }
}

fn lower(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// The host name itself, and below every domain that is searched for it or belongs to nobody.
fn of_machine(machine: &Machine<'_>) -> BTreeSet<String> {
    let whole = lower(machine.host_name);
    let Some(first) = whole.split('.').next().filter(|first| !first.is_empty()) else {
        return BTreeSet::new();
    };
    let domains = searched(machine.resolver).into_iter().chain(PRIVATE.map(str::to_owned));
    let mut names: BTreeSet<String> = domains.map(|domain| format!("{first}.{domain}")).collect();
    // Lists of names that are to lead nowhere stand there, too: only a line with the host name is about this machine.
    for line in machine.hosts.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let aliases: Vec<String> = line.split_whitespace().skip(1).map(lower).collect();
        if aliases.iter().any(|alias| *alias == whole || alias == first) {
            names.extend(aliases);
        }
    }
    names.extend([first.to_owned(), whole.clone()]);
    names
}

fn searched(resolver: &str) -> Vec<String> {
    let of_line = |line: &str| -> Vec<String> {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("search" | "domain") => words.map(lower).filter(|domain| !domain.is_empty()).collect(),
            _ => Vec::new(),
        }
    };
    resolver.lines().flat_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Authority::parse(text).unwrap_or_else(|| panic!("no host in {text}")).host
    }

    fn names(hostnames: &[&str]) -> Names {
        let hostnames: Vec<String> = hostnames.iter().map(|name| (*name).to_owned()).collect();
        let machine = Machine {
            host_name: "GW-17",
            hosts: "127.0.0.1 localhost\n127.0.1.1\tgw-17.plant.example gw-17 # ours\n0.0.0.0 ads.example\n",
            resolver: "# made by hand\nnameserver 10.0.0.1\nsearch fritz.box Corp.Example.\n",
        };
        Names::new(&hostnames, &["scada.plant.example:9998".to_owned(), "0.0.0.0:9999".to_owned()], &machine)
    }

    #[test]
    fn a_gateway_is_asked_under_its_addresses_and_under_its_own_names_and_under_no_other() {
        let names = names(&["panel.example", "*.Sites.Example"]);
        for own in [
            "127.0.0.1:9998",
            "192.168.1.5",
            "203.0.113.9:80",
            "[::1]:9998",
            "[fe80::1%25eth0]:9998",
            "[::ffff:10.0.0.1]",
            "127.1:9998",
            "0x7f000001",
            "2130706433",
            "localhost",
            "LocalHost.:9998",
            "app.localhost",
            "gw-17",
            "GW-17.local.",
            "gw-17.fritz.box:80",
            "gw-17.corp.example",
            "gw-17.home.arpa",
            "gw-17.plant.example:",
            "scada.plant.example",
            "Panel.Example",
            "a.b.sites.example",
        ] {
            assert!(names.has(&host(own)) && names.take(&Authority::parse(own).unwrap()), "{own}");
        }
        for other in [
            "evil.example",
            "gw-17.evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil-localhost.example",
            "ads.example",
            "other.local",
            "panel.example.evil.example",
            "sites.example",
            "evilsites.example",
            ".",
            "fritz.box",
            "ai.",
        ] {
            assert!(!Authority::parse(other).is_some_and(|asked| names.take(&asked)), "{other}");
        }
    }

    #[test]
    fn a_name_without_a_dot_may_be_asked_for_but_is_nobodys_proof() {
        let service = Authority::parse("holdfast:9998").unwrap();
        assert!(names(&[]).take(&service) && !names(&[]).has(&service.host));
    }

    #[test]
    fn what_is_no_host_is_none() {
        for wrong in ["", ":80", "a b", "a:b", "gw:99999", "[::1", "a@b", "a..b", "gw/x", "[gw]", "é"] {
            assert_eq!(Authority::parse(wrong), None, "{wrong}");
        }
        let zone = Authority { host: host("[fe80::1]"), port: Some(1), is_absolute: false };
        assert_eq!(Authority::parse("[fe80::1%eth0]:1"), Some(zone));
    }

    #[test]
    fn a_machine_without_a_name_has_none() {
        let names = Names::new(&[], &[], &Machine { host_name: "", hosts: "", resolver: "search a.example" });
        assert!(!names.has(&host("a.example")) && !names.has(&host("x")) && names.has(&host("localhost")));
    }
}
