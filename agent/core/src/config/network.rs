//! Networks that may or may not come in, and what counts as one remote machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::table::Reading;
use super::tree::Node;
use super::value;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// What counts as one remote machine: an IPv4 address, the first half of an IPv6 address (a customer has as many of the
/// others as there are), this machine over a Unix socket, or one behind a proxy that nothing is known of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remote {
    /// Over a Unix socket.
    Here,
    /// Over TCP.
    At(IpAddr),
    /// Somewhere behind a proxy: all of these are one.
    Unknown,
}

impl Network {
    /// Whether the address is in it. An IPv4 address that came as an IPv6 one counts as IPv4.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether all addresses of the other one are in it.
    pub fn covers(&self, other: &Network) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether every address is in it.
    pub fn is_everything(&self) -> bool {
        self.0.prefix_len() == 0
    }

    /// Whether an address of loopback is in it.
    pub fn has_loopback(&self) -> bool {
        self.0.addr().is_loopback()
            || self.0.contains(&IpAddr::from(Ipv4Addr::LOCALHOST))
            || self.0.contains(&IpAddr::from(Ipv6Addr::LOCALHOST))
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl Remote {
    /// The machine with this address.
    pub fn of(address: IpAddr) -> Remote {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Remote::At(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address @ IpAddr::V4(_) => Remote::At(address),
        }
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Remote::Here => f.write_str("unix"),
            Remote::Unknown => f.write_str("unknown"),
            Remote::At(address @ IpAddr::V4(_)) => address.fmt(f),
            Remote::At(address @ IpAddr::V6(_)) => write!(f, "{address}/64"),
        }
    }
}

/// A list of networks or single addresses.
pub(super) fn networks(node: &Node, reading: &Reading) -> Result<Vec<Network>, String> {
    value::strings(node, reading)?.iter().map(|text| network(text)).collect()
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    let single = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical())).ok();
    let network = single.or_else(|| text.parse::<IpNet>().ok());
    let network =
        network.ok_or_else(|| format!("`{text}` must be a network, such as 192.168.1.0/24 or fd00::/8"))?;
    if network.trunc() != network {
        return Err(format!("`{text}` must have zeros behind its prefix: did you mean {}?", network.trunc()));
    }
    Ok(Network(network))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_counts_as_ipv4() {
        let lan = network("192.168.1.0/24").unwrap();
        assert!(lan.holds(address("192.168.1.7")) && lan.holds(address("::ffff:192.168.1.7")));
        assert!(!lan.holds(address("192.168.2.7")) && !lan.holds(address("::1")));
        assert_eq!(Remote::of(address("::ffff:10.0.0.1")), Remote::of(address("10.0.0.1")));
    }

    #[test]
    fn all_addresses_of_one_ipv6_prefix_of_64_bits_are_one_machine() {
        let one = Remote::of(address("2001:db8:1:2:aaaa::1"));
        assert_eq!(one, Remote::of(address("2001:db8:1:2:bbbb::2")));
        assert_ne!(one, Remote::of(address("2001:db8:1:3:aaaa::1")));
        assert_eq!(one.to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_single_address_is_a_network_and_what_is_none_is_told_with_a_hint() {
        assert_eq!(network("10.0.0.7").unwrap().to_string(), "10.0.0.7");
        assert_eq!(network("fd00::/8").unwrap().to_string(), "fd00::/8");
        let hint = "`10.0.0.7/8` must have zeros behind its prefix: did you mean 10.0.0.0/8?";
        assert_eq!(network("10.0.0.7/8").unwrap_err(), hint);
        assert!(network("lan").is_err() && network("10.0.0.0/33").is_err());
    }
}
