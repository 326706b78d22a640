//! From whom a request comes that a proxy has passed on (RFC 7239, and the older fields of the same purpose). Whoever sends a request can
//! write these fields, so only the proxies that are trusted are believed, and only what they have added: the list is read from its end.
//! Whatever goes wrong, nobody becomes local by it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hostname::{Authority, Host};
use crate::config::handshake::is_token;
use crate::config::trusted_proxy::TrustedProxy;

/// RFC 7239 §4.
const FORWARDED: &str = "forwarded";
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_HOST: &str = "x-forwarded-host";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
/// Fields that are there only when a request was passed on: the standard's, and those of proxies and of networks that deliver content.
const MARKS: [&str; 15] = [
    FORWARDED,
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    "x-forwarded",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cdn-loop",
    "via",
];
/// Bytes of one field that are looked at: no proxy needs more.
const BYTES: usize = 4096;

/// The head of a request.
pub struct Head<'a> {
    /// The values of a header field, in their order.
    pub fields: &'a dyn Fn(&str) -> Vec<&'a [u8]>,
    /// Whether it is of HTTP/1.1 at least.
    pub is_http_1_1: bool,
}

/// The way of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Nothing speaks of a proxy: it comes from the peer.
    Direct,
    /// Something shows that it was passed on, but the peer is no trusted proxy: it counts as from the peer, and as from another machine.
    PassedOn(Sign),
    /// A trusted proxy has passed it on.
    Proxied(Proxied),
}

/// How it shows that a request was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// This field.
    Field(&'static str),
    /// HTTP/1.0, which nginx speaks unless it is told not to, and hardly anyone else.
    OldVersion,
    /// `Connection: upgrade` without an upgrade, which proxies send that are set up for WebSockets.
    LostUpgrade,
    /// It was sent to an address that is not the one of loopback at which it arrived.
    OtherAddress,
}

/// Words of a trusted proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    /// From where the request comes.
    pub caller: Result<IpAddr, Untold>,
    /// Where the caller has sent it to; the first one counts.
    pub hosts: Vec<String>,
    /// Whether the caller has used TLS.
    pub is_secure: bool,
}

/// Why nothing is known of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untold {
    /// There is neither `Forwarded` nor `X-Forwarded-For`.
    Missing,
    /// One of them cannot be read.
    Malformed,
    /// One of them is too long.
    TooLong,
    /// The proxy says that it does not say it (RFC 7239 §6.2, §6.3).
    Hidden,
    /// The two fields name different callers.
    Contradiction,
    /// It would be an address of loopback, on another machine than this one.
    OtherLoopback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    Hidden,
}

/// Element that one proxy has added to `Forwarded`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    node: Option<Node>,
    host: Option<String>,
    proto: Option<String>,
}

impl std::fmt::Display for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Sign::Field(name) => write!(f, "the header {name}"),
            Sign::OldVersion => f.write_str("HTTP/1.0"),
            Sign::LostUpgrade => f.write_str("`Connection: upgrade` without `Upgrade`"),
            Sign::OtherAddress => f.write_str("another address in `Host`"),
        }
    }
}

impl std::fmt::Display for Untold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Untold::Missing => "it sends neither Forwarded nor X-Forwarded-For",
            Untold::Malformed => "Forwarded or X-Forwarded-For is malformed",
            Untold::TooLong => "Forwarded or X-Forwarded-For is too long",
            Untold::Hidden => "it hides the address",
            Untold::Contradiction => {
                "Forwarded and X-Forwarded-For name different callers, so it must send one and drop the other"
            }
            Untold::OtherLoopback => "the address is one of loopback on another machine",
        })
    }
}

/// Whether a peer is on this machine; one without an address is at a Unix socket.
pub fn is_here(peer: Option<IpAddr>) -> bool {
    peer.is_none_or(|peer| peer.to_canonical().is_loopback())
}

/// Which way a request came that a peer has sent.
pub fn way(peer: Option<IpAddr>, head: &Head<'_>, trusted: &[TrustedProxy]) -> Way {
    match sign(peer, head) {
        None => Way::Direct,
        Some(sign) if !trusted.iter().any(|proxy| proxy.holds(peer)) => Way::PassedOn(sign),
        Some(_) => Way::Proxied(proxied(peer, head, trusted)),
    }
}

/// Looks for other signs of a proxy than the fields, only where it matters.
fn sign(peer: Option<IpAddr>, head: &Head<'_>) -> Option<Sign> {
    if let Some(name) = MARKS.iter().find(|name| !(head.fields)(name).is_empty()) {
        return Some(Sign::Field(name));
    }
    if !is_here(peer) {
        return None;
    }
    if !head.is_http_1_1 {
        return Some(Sign::OldVersion);
    }
    let is_upgrade = |value: &[u8]| {
        value.split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    if (head.fields)("connection").into_iter().any(is_upgrade) && (head.fields)("upgrade").is_empty() {
        return Some(Sign::LostUpgrade);
    }
    let is_elsewhere = |value: &[u8]| {
        let host = std::str::from_utf8(value).ok().and_then(|text| Authority::parse(text.trim()));
        matches!(host, Some(Authority { host: Host::Address(address), .. })
            if !address.is_loopback() && !address.is_unspecified())
    };
    (head.fields)("host").into_iter().any(is_elsewhere).then_some(Sign::OtherAddress)
}

fn proxied(peer: Option<IpAddr>, head: &Head<'_>, trusted: &[TrustedProxy]) -> Proxied {
    let forwarded = (head.fields)(FORWARDED);
    let standard = (!forwarded.is_empty()).then(|| by_standard(&forwarded, trusted));
    let listed = (head.fields)(FORWARDED_FOR);
    let listed = (!listed.is_empty()).then(|| by_list(&listed, trusted));
    let element = standard.as_ref().and_then(|found| found.as_ref().ok());
    let standard_caller = standard.as_ref().map(|found| match found {
        Ok(element) => told(element.node),
        Err(untold) => Err(*untold),
    });
    let last = |name| last_of(&(head.fields)(name)).map(str::to_owned);
    let protos = [element.and_then(|element| element.proto.clone()), last(FORWARDED_PROTO)];
    let is_tls = |proto: &String| proto.eq_ignore_ascii_case("https") || proto.eq_ignore_ascii_case("wss");
    let hosts = [element.and_then(|element| element.host.clone()), last(FORWARDED_HOST)];
    let caller = match (standard_caller, listed) {
        (None, None) => Err(Untold::Missing),
        (Some(caller), None) | (None, Some(caller)) => caller,
        (Some(Ok(one)), Some(Ok(other))) if one != other => Err(Untold::Contradiction),
        (Some(caller), Some(listed)) => caller.and(listed),
    };
    Proxied {
        caller: caller.and_then(|address| {
            if address.is_loopback() && !is_here(peer) { Err(Untold::OtherLoopback) } else { Ok(address) }
        }),
        hosts: hosts.into_iter().flatten().collect(),
        is_secure: protos.iter().flatten().any(is_tls),
    }
}

fn told(node: Option<Node>) -> Result<IpAddr, Untold> {
    match node {
        Some(Node::Address(address)) => Ok(address),
        Some(Node::Hidden) | None => Err(Untold::Hidden),
    }
}

fn is_trusted(node: Option<Node>, trusted: &[TrustedProxy]) -> bool {
    matches!(node, Some(Node::Address(address)) if trusted.iter().any(|proxy| proxy.holds(Some(address))))
}

/// The element of the caller. All fields together are one list; what stands before the caller is its own word, and is not read.
fn by_standard(fields: &[&[u8]], trusted: &[TrustedProxy]) -> Result<Element, Untold> {
    bounded(fields)?;
    let mut farthest = Err(Untold::Missing);
    for field in fields.iter().rev() {
        let text = std::str::from_utf8(field).map_err(|_| Untold::Malformed)?;
        for element in elements(text).ok_or(Untold::Malformed)?.into_iter().rev() {
            let is_proxy = is_trusted(element.node, trusted);
            farthest = Ok(element);
            if !is_proxy {
                return farthest;
            }
        }
    }
    farthest
}

fn by_list(fields: &[&[u8]], trusted: &[TrustedProxy]) -> Result<IpAddr, Untold> {
    bounded(fields)?;
    let mut farthest = Err(Untold::Missing);
    for text in fields.iter().rev().flat_map(|field| field.rsplit(|byte| *byte == b',')) {
        let text = std::str::from_utf8(text).map_err(|_| Untold::Malformed)?.trim();
        // RFC 9110 §5.6.1.2: empty elements of a list are none.
        if text.is_empty() {
            continue;
        }
        let node = node(text).ok_or(Untold::Malformed)?;
        farthest = told(Some(node));
        if !is_trusted(Some(node), trusted) {
            return farthest;
        }
    }
    farthest
}

fn bounded(fields: &[&[u8]]) -> Result<(), Untold> {
    let bytes: usize = fields.iter().map(|field| field.len()).sum();
    if bytes > BYTES { Err(Untold::TooLong) } else { Ok(()) }
}

/// Element that the nearest proxy has added to a list.
fn last_of<'a>(fields: &[&'a [u8]]) -> Option<&'a str> {
    let elements = fields.iter().rev().flat_map(|field| field.rsplit(|byte| *byte == b','));
    let mut texts = elements.filter_map(|text| std::str::from_utf8(text).ok()).map(str::trim);
    texts.find(|text| !text.is_empty() && text.len() <= BYTES)
}

/// RFC 7239 §4: `for=192.0.2.60;proto=http, for="[2001:db8::17]:4711"`. None if it is no such list.
fn elements(text: &str) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    let mut element = Element::default();
    let mut rest = text.trim_start();
    loop {
        if !rest.is_empty() && !rest.starts_with([',', ';']) {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value(after)?;
            element.take(name, value)?;
            rest = after.trim_start();
        }
        let is_end = rest.is_empty();
        if (is_end || rest.starts_with(',')) && element != Element::default() {
            elements.push(std::mem::take(&mut element));
        }
        if is_end {
            return Some(elements);
        }
        rest = rest.strip_prefix([',', ';'])?.trim_start();
    }
}

/// A token, or a quoted string without its quotes (RFC 9110 §5.6.4), and what follows. IPv6 addresses often stand there unquoted.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[index + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

impl Element {
    /// RFC 7239 §4: no parameter is there twice, and those that are not known are left alone.
    fn take(&mut self, name: &str, value: String) -> Option<()> {
        if !is_token(name) {
            return None;
        }
        match name.to_ascii_lowercase().as_str() {
            "for" => put(&mut self.node, node(&value)?),
            "host" => put(&mut self.host, value),
            "proto" => put(&mut self.proto, value),
            _ => Some(()),
        }
    }
}

fn put<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.is_none().then(|| *place = Some(value))
}

/// RFC 7239 §6, and what stands in `X-Forwarded-For`: an address, with a port or not, or a word in its place.
fn node(text: &str) -> Option<Node> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        return is_port_or_nothing(port).then(|| ipv6(address))?;
    }
    if let Some(node) = ipv6(text) {
        return Some(node);
    }
    let end = text.find(':').unwrap_or(text.len());
    let (name, port) = text.split_at(end);
    if !is_port_or_nothing(port) {
        return None;
    }
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Some(Node::Hidden);
    }
    name.parse::<Ipv4Addr>().ok().map(|address| Node::Address(address.into()))
}

/// Without its zone, if there is one.
fn ipv6(text: &str) -> Option<Node> {
    let address = text.split('%').next()?.parse::<Ipv6Addr>().ok()?;
    Some(Node::Address(IpAddr::from(address).to_canonical()))
}

fn is_obfuscated(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.len() > 1 && text.starts_with('_') && text.bytes().all(is_letter)
}

fn is_port_or_nothing(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    let is_number = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    is_number || is_obfuscated(port)
}

#[cfg(test)]
mod tests;
