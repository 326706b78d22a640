//! Checks urls, and hides what is secret in them.

use percent_encoding::percent_decode_str;

use super::link_kind::SCHEMES;
use super::plain::sounds_secret;
use super::render::string;

const HIDDEN: &str = "***";

/// The parts of a sound url.
#[derive(Clone, Copy)]
pub struct Url<'a> {
    /// In lower case.
    pub scheme: &'static str,
    /// User and password as they stand, percent-encoded.
    pub user: Option<(&'a str, Option<&'a str>)>,
    /// Host and port, as they stand.
    pub authority: &'a str,
    /// From the first `/` or `?` on.
    pub tail: &'a str,
}

/// Words in front of which, in a path, a secret stands: `/token/TOKEN/…`.
const LABELS: [&str; 15] = [
    "access_token",
    "accesskey",
    "api-key",
    "api_key",
    "apikey",
    "apitoken",
    "hooks",
    "key",
    "pass",
    "passwd",
    "password",
    "secret",
    "token",
    "tokens",
    "webhooks",
];
/// A word of so many letters that mixes digits with them is no word of a language.
const WORD_MAX: usize = 12;
/// The same of one that mixes small and capital letters with digits.
const MIXED_MAX: usize = 8;
/// A part of a path that is so long is shown to nobody.
const PART_MAX: usize = 32;

/// A url without the secrets that may stand in it, password, what looks like a token in the path, and values of the query:
/// `wss://gw:***@host/path/***?token=***`.
pub fn shown(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    format!("{}{}", without_password(url), query.map(without_values).unwrap_or_default())
}

/// Whether a secret stands in a url, in so far as that shows.
pub(super) fn holds_secret(url: &str) -> bool {
    let (bare, query) = url.split_once('?').unwrap_or((url, ""));
    let names = query.split('&').filter_map(|pair| pair.split_once('='));
    without_password(bare) != bare || names.into_iter().any(|(name, _)| sounds_secret(name))
}

/// What a whole url says of a link.
pub struct LinkUrl {
    /// Without user and password.
    pub url: String,
    /// Who logs in, if it says so.
    pub login: Option<Login>,
}

/// User and password of a url.
pub struct Login {
    /// `basic`, or `url` where they stood in the path as `/auth/USER/PASSWORD`: the key of `auth`.
    pub way: &'static str,
    /// Its name.
    pub username: String,
    /// Empty where there is none.
    pub password: String,
}

impl Login {
    /// The value of `auth`, in which the password is this value of TOML.
    pub fn auth(&self, password: &str) -> String {
        format!("{{ {} = {{ username = {}, password = {password} }} }}", self.way, string(&self.username))
    }
}

/// Takes a whole url apart. The error never quotes it.
pub fn link(url: &str) -> Result<LinkUrl, String> {
    let Url { scheme, user, authority, tail } = Url::parse(url, SCHEMES)?;
    let in_path = user.is_none().then(|| credentials_in(tail)).flatten();
    let rest = in_path.map_or(tail, |(.., rest)| rest);
    let basic = user.map(|(name, password)| ("basic", name, password.unwrap_or_default()));
    let login = basic.or(in_path.map(|(name, password, _)| ("url", name, password)));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Ok(LinkUrl {
        url: format!("{scheme}://{authority}{rest}"),
        login: login.map(|(way, name, password)| Login {
            way,
            username: decoded(name),
            password: decoded(password),
        }),
    })
}

/// User, password and the rest of a path `/auth/USER/PASSWORD…`.
fn credentials_in(tail: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = tail.strip_prefix("/auth/")?.split_once('/')?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (password, rest) = rest.split_at(end);
    Some((name, password, rest)).filter(|(name, password, _)| !name.is_empty() && !password.is_empty())
}

/// Where a url leads, and nothing of it that may be secret: scheme, host and port.
pub fn place(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, host)| host);
    format!("{scheme}://{host}")
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return without_tokens(url) };
    let end = rest.find(['/', '#']).unwrap_or(rest.len());
    let path = without_tokens(&rest[end..]);
    let Some((user, host)) = rest[..end].rsplit_once('@') else {
        return format!("{scheme}://{}{path}", &rest[..end]);
    };
    let name = user.split(':').next().unwrap_or_default();
    let name = if is_token(name) { HIDDEN } else { name };
    let password = if user.contains(':') { ":***" } else { "" };
    format!("{scheme}://{name}{password}@{host}{path}")
}

fn without_values(query: &str) -> String {
    let shown = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None if is_token(pair) => HIDDEN.to_owned(),
        None => pair.to_owned(),
    };
    format!("?{}", query.split('&').map(shown).collect::<Vec<_>>().join("&"))
}

/// A path without what is a secret in it: the password of `/auth/USER/PASSWORD`, what stands behind a word such as `token`, the
/// value of `key=value`, and whatever looks as if it were drawn by lot.
fn without_tokens(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let shown = parts.iter().enumerate().map(|(index, text)| {
        let before = index.checked_sub(1).map_or("", part);
        let is_user = before == "auth" && !part(index + 1).is_empty();
        let is_password = index.checked_sub(2).is_some_and(|place| part(place) == "auth");
        let is_labelled = LABELS.iter().any(|label| before.eq_ignore_ascii_case(label));
        match text.split_once('=') {
            _ if text.is_empty() => String::new(),
            _ if is_password || is_labelled || (before == "auth" && !is_user) => HIDDEN.to_owned(),
            Some((name, _)) if !is_token(name) => format!("{name}={HIDDEN}"),
            _ if is_token(text) => HIDDEN.to_owned(),
            _ => (*text).to_owned(),
        }
    });
    shown.collect::<Vec<_>>().join("/")
}

/// Whether a text looks like a secret rather than like a name.
fn is_token(text: &str) -> bool {
    let text = percent_decode_str(text).decode_utf8_lossy();
    let lower = text.to_lowercase();
    let named = ["secret", "token", "passw", "apikey", "api-key", "api_key"];
    let is_named = named.iter().any(|name| lower.contains(name)) && !LABELS.contains(&lower.as_str());
    is_named
        || text.chars().count() >= PART_MAX
        || text.split(|letter: char| !letter.is_alphanumeric()).any(is_drawn)
}

/// Whether a word looks as if it were drawn by lot.
fn is_drawn(word: &str) -> bool {
    let has = |kind: fn(char) -> bool| word.contains(kind);
    let mixed = has(char::is_numeric) && has(char::is_alphabetic);
    let length = word.chars().count();
    (mixed && length >= WORD_MAX)
        || (mixed && length >= MIXED_MAX && has(char::is_uppercase) && has(char::is_lowercase))
}

impl<'a> Url<'a> {
    /// Reads a url with one of these schemes, in upper or lower case (RFC 3986 §3.1). The error never quotes it, for it may hold
    /// a password.
    pub fn parse<const N: usize>(text: &'a str, schemes: [&'static str; N]) -> Result<Url<'a>, String> {
        let shape = || {
            let starts: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
            let (last, others) = starts
                .split_last()
                .map_or((String::new(), String::new()), |(last, others)| (last.clone(), others.join(", ")));
            format!("must be a url that starts with {others} or {last}")
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(shape)?;
        let scheme =
            schemes.into_iter().find(|known| known.eq_ignore_ascii_case(scheme)).ok_or_else(shape)?;
        if text.contains(|letter: char| !is_taken(letter)) {
            return Err("holds a character that must be percent-encoded".to_owned());
        }
        if text.contains('#') {
            return Err("must not have a fragment (`#…`)".to_owned());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (user, authority) = match rest[..end].rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, &rest[..end]),
        };
        // A port may be empty (RFC 3986 §3.2.3).
        let authority = authority.strip_suffix(':').unwrap_or(authority);
        let (host, port) = split_port(authority);
        if !is_host(host) && zoned(host).is_none() {
            return Err("has no sound host".to_owned());
        }
        check_port(port, 1)?;
        Ok(Url { scheme, user: user.map(credentials), authority, tail: &rest[end..] })
    }

    /// The same url as one text: the scheme in lower case, an empty port left out.
    pub fn text(&self) -> String {
        let user = match self.user {
            None => String::new(),
            Some((name, None)) => format!("{name}@"),
            Some((name, Some(password))) => format!("{name}:{password}@"),
        };
        format!("{}://{user}{}{}", self.scheme, self.authority, self.tail)
    }

    /// Name or address, an IPv6 address without brackets and with its zone, if there is one: `fe80::1%eth0`.
    pub fn host(&self) -> String {
        let host = split_port(self.authority).0;
        let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
        zoned(host).map_or_else(|| bare(host), |(address, zone)| format!("{address}%{zone}"))
    }

    /// The port, if it names one.
    pub fn port(&self) -> Option<u16> {
        split_port(self.authority).1?.parse().ok()
    }

    /// The path, `/` at least, and the query without its mark.
    pub fn path_and_query(&self) -> (&'a str, &'a str) {
        let (path, query) = self.tail.split_once('?').unwrap_or((self.tail, ""));
        (if path.is_empty() { "/" } else { path }, query)
    }
}

/// Whether a character may stand in a url as it is.
fn is_taken(letter: char) -> bool {
    letter.is_ascii_graphic() && !"\"<>\\^`{|}".contains(letter)
}

/// Checks `HOST` or `HOST:PORT` with a port from `port_min` on; true if there is a port.
pub(super) fn check_authority(authority: &str, port_min: u16) -> Result<bool, String> {
    let (host, port) = split_port(authority);
    if !is_host(host) {
        return Err("has no sound host".to_owned());
    }
    check_port(port, port_min)
}

fn check_port(port: Option<&str>, port_min: u16) -> Result<bool, String> {
    let Some(port) = port else { return Ok(false) };
    let number = Some(port).filter(|port| !port.starts_with('+')).and_then(|port| port.parse::<u16>().ok());
    match number {
        Some(number) if number >= port_min => Ok(true),
        _ => Err("has no sound port".to_owned()),
    }
}

/// Address and zone of `[fe80::1%25eth0]` (RFC 6874), of `[fe80::1%eth0]`, which curl and `ip` take, and of both without
/// brackets: the network interface that leads there.
pub(super) fn zoned(host: &str) -> Option<(&str, String)> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let (address, zone) = bare.split_once('%')?;
    let zone = zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone);
    let zone = percent_decode_str(zone).decode_utf8().ok()?;
    let letter = |letter: char| letter.is_ascii_graphic() && !"/%[]".contains(letter);
    let is_sound = !zone.is_empty() && zone.chars().all(letter);
    (is_sound && address.parse::<std::net::Ipv6Addr>().is_ok()).then(|| (address, zone.into_owned()))
}

/// True for a host name, an IPv4 address or an IPv6 address in brackets.
pub(super) fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(letter);
    let name = host.strip_suffix('.').unwrap_or(host);
    name.len() <= 253 && name.split('.').all(label)
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn credentials(user: &str) -> (&str, Option<&str>) {
    match user.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (user, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_or_a_token_in_a_url_is_never_shown() {
        let cases = [
            ("wss://gw:pw@host/a?b=c", "wss://gw:***@host/a?b=***"),
            ("wss://gw:p:w@x@host", "wss://gw:***@host"),
            ("wss://gw@host", "wss://gw@host"),
            ("wss://host/a@b:c", "wss://host/a@b:c"),
            ("wss://host?x=a:b@c&y", "wss://host?x=***&y"),
            ("nothing", "nothing"),
            ("wss://eyJhbGciOiJIUzI1NiJ9@host/", "wss://***@host/"),
            ("wss://host/auth/gw/pw/in?a", "wss://host/auth/gw/***/in?a"),
            ("wss://host/auth/pw", "wss://host/auth/***"),
            ("/auth/gw/pw", "/auth/gw/***"),
            ("wss://host/in/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x/a", "wss://host/in/***/a"),
            ("wss://host/550e8400-e29b-41d4-a716-446655440000", "wss://host/***"),
            ("https://host/bot123456:AAExampleKey0/send", "https://host/***/send"),
            ("https://host/services/T0000/B0000/a1B2c3D4e5F6", "https://host/services/T0000/B0000/***"),
            ("wss://host/token/abc/lines/3", "wss://host/token/***/lines/3"),
            ("wss://host/s3cret-token-1/in", "wss://host/***/in"),
            ("wss://host/key=abc/in?s3cretpassword", "wss://host/key=***/in?***"),
            ("wss://host/a%2Fb1c2d3e4f5g6h7", "wss://host/***"),
        ];
        for (url, expected) in cases {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn a_path_of_names_is_shown() {
        for path in
            ["/ingest", "/v1/plants/kiel-2/lines/17/ws", "/ocpp1.6/CP-0042", "/api/v2/telemetry_data", "/"]
        {
            assert_eq!(shown(&format!("wss://host{path}")), format!("wss://host{path}"));
        }
    }

    #[test]
    fn the_place_of_a_url_holds_neither_user_nor_path_nor_query() {
        for url in ["wss://gw:p@w@host:1/auth/u/p?t=1", "wss://host:1?t=1", "wss://host:1"] {
            assert_eq!(place(url), "wss://host:1");
        }
    }

    #[test]
    fn credentials_of_a_whole_url_become_keys_of_their_own() {
        let cases = [
            ("wss://h:1/in?a=b", "url = \"wss://h:1/in?a=b\""),
            (
                "ws://gw:p%40@h/",
                "url = \"ws://h/\" auth = { basic = { username = \"gw\", password = \"p@\" } }",
            ),
            (
                "ws://h/auth/gw/p%2F1/in?a=b",
                "url = \"ws://h/in?a=b\" auth = { url = { username = \"gw\", password = \"p/1\" } }",
            ),
            ("ws://h/auth/gw", "url = \"ws://h/auth/gw\""),
            ("ws://h/auth//p", "url = \"ws://h/auth//p\""),
        ];
        for (url, expected) in cases {
            let found = link(url).unwrap();
            let auth = found.login.map(|login| format!(" auth = {}", login.auth(&string(&login.password))));
            let pairs = format!("url = {}{}", string(&found.url), auth.unwrap_or_default());
            assert_eq!(pairs, expected, "{url}");
        }
    }

    #[test]
    fn legal_forms_of_one_url_become_the_same_text() {
        let cases = [
            ("WS://Host:", "ws://Host", "Host", None),
            ("Wss://gw:pw@host:/a?b", "wss://gw:pw@host/a?b", "host", None),
            ("ws://[::1]:/", "ws://[::1]/", "::1", None),
            ("ws://[fe80::1%25eth0]:80", "ws://[fe80::1%25eth0]:80", "fe80::1%eth0", Some(80)),
            ("ws://[fe80::1%eth0]", "ws://[fe80::1%eth0]", "fe80::1%eth0", None),
            ("ws://[fe80::1%25wlan%2D0]", "ws://[fe80::1%25wlan%2D0]", "fe80::1%wlan-0", None),
            ("ws://[fe80::1%25]", "ws://[fe80::1%25]", "fe80::1%25", None),
        ];
        for (given, text, host, port) in cases {
            let url = Url::parse(given, ["ws", "wss"]).unwrap_or_else(|error| panic!("{given}: {error}"));
            assert_eq!((url.text().as_str(), url.host().as_str(), url.port()), (text, host, port), "{given}");
        }
    }

    #[test]
    fn only_sound_urls_are_taken() {
        let cases = [
            ("ws://host", Ok(())),
            ("wss://host.example.:443/a?b", Ok(())),
            ("ws://[::1]:80", Ok(())),
            ("ws://gw:pw@10.0.0.1:1", Ok(())),
            ("http://host", Err("must be a url that starts with ws:// or wss://")),
            ("host", Err("must be a url that starts with ws:// or wss://")),
            ("ws://", Err("has no sound host")),
            ("ws:///path", Err("has no sound host")),
            ("ws://gw:pw@", Err("has no sound host")),
            ("ws://::1", Err("has no sound host")),
            ("ws://[::g]:1", Err("has no sound host")),
            ("ws://a..b", Err("has no sound host")),
            ("ws://host:0", Err("has no sound port")),
            ("ws://host:65536", Err("has no sound port")),
            ("ws://host:+1", Err("has no sound port")),
            ("ws://gw:pa/ss@host", Err("has no sound port")),
            ("ws://host::", Err("has no sound port")),
            ("ws://:", Err("has no sound host")),
            ("ws://[fe80::1%25]", Ok(())),
            ("ws://[fe80::1%]", Err("has no sound host")),
            ("ws://[fe80::1%25a/b]", Err("has no sound host")),
            ("ws://10.0.0.1%25eth0", Err("has no sound host")),
            ("ftp://host", Err("must be a url that starts with ws:// or wss://")),
            ("ws://host/a b", Err("holds a character that must be percent-encoded")),
            ("ws://host/é", Err("holds a character that must be percent-encoded")),
            ("ws://host/a#b", Err("must not have a fragment (`#…`)")),
        ];
        for (url, expected) in cases {
            let found = Url::parse(url, ["ws", "wss"]).map(drop);
            assert_eq!(found, expected.map_err(str::to_owned), "{url}");
        }
    }
}
