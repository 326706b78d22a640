//! Checks urls, and hides what is secret in them.

use percent_encoding::percent_decode_str;

use super::render::string;

/// The parts of a url that the configuration looks at.
pub(super) struct Url<'a> {
    pub scheme: &'a str,
    /// User and password as they stand, percent-encoded.
    pub user: Option<(&'a str, Option<&'a str>)>,
    /// Host and port.
    pub authority: &'a str,
    /// From the first `/` or `?` on.
    pub tail: &'a str,
}

/// A url without the secrets that may stand in it, password and values of the query: `wss://gw:***@host/path?token=***`.
pub fn shown(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    format!("{}{}", without_password(url), query.map(without_values).unwrap_or_default())
}

/// The keys of a `[[client]]` that say what a whole url says, each value as TOML. The error never quotes the url.
pub fn link(url: &str) -> Result<Vec<(String, String)>, String> {
    let Url { scheme, user, authority, tail } = Url::parse(url, ["ws", "wss"])?;
    let in_path = user.is_none().then(|| credentials_in(tail)).flatten();
    let rest = in_path.map_or(tail, |(.., rest)| rest);
    let mut pairs = vec![("url".to_owned(), string(&format!("{scheme}://{authority}{rest}")))];
    let basic = user.map(|(name, password)| ("basic", name, password.unwrap_or_default()));
    if let Some((way, name, password)) = basic.or(in_path.map(|(name, password, _)| ("url", name, password)))
    {
        let decoded = |text: &str| string(&percent_decode_str(text).decode_utf8_lossy());
        let login = format!("{{ username = {}, password = {} }}", decoded(name), decoded(password));
        pairs.push(("auth".to_owned(), format!("{{ {way} = {login} }}")));
    }
    Ok(pairs)
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
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '#']).unwrap_or(rest.len());
    let Some((user, host)) = rest[..end].rsplit_once('@') else { return url.to_owned() };
    let name = user.split(':').next().unwrap_or_default();
    let password = if user.contains(':') { ":***" } else { "" };
    format!("{scheme}://{name}{password}@{host}{}", &rest[end..])
}

fn without_values(query: &str) -> String {
    let shown = |pair: &str| pair.split_once('=').map_or(pair.to_owned(), |(name, _)| format!("{name}=***"));
    format!("?{}", query.split('&').map(shown).collect::<Vec<_>>().join("&"))
}

impl<'a> Url<'a> {
    /// Reads a url with one of these schemes. The error never quotes it, for it may hold a password.
    pub(super) fn parse(text: &'a str, schemes: [&str; 2]) -> Result<Url<'a>, String> {
        let [plain, secure] = schemes;
        let shape = || format!("must be a url that starts with {plain}:// or {secure}://");
        let (scheme, rest) = text.split_once("://").ok_or_else(shape)?;
        if !schemes.contains(&scheme) {
            return Err(shape());
        }
        if text.contains(|letter: char| !letter.is_ascii_graphic() || "\"<>\\^`{|}".contains(letter)) {
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
        check_authority(authority, 1)?;
        Ok(Url { scheme, user: user.map(credentials), authority, tail: &rest[end..] })
    }
}

/// Checks `HOST` or `HOST:PORT` with a port from `port_min` on; true if there is a port.
pub(super) fn check_authority(authority: &str, port_min: u16) -> Result<bool, String> {
    let (host, port) = split_port(authority);
    if !is_host(host) {
        return Err("has no sound host".to_owned());
    }
    let Some(port) = port else { return Ok(false) };
    let number = Some(port).filter(|port| !port.starts_with('+')).and_then(|port| port.parse::<u16>().ok());
    match number {
        Some(number) if number >= port_min => Ok(true),
        _ => Err("has no sound port".to_owned()),
    }
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
        ];
        for (url, expected) in cases {
            assert_eq!(shown(url), expected);
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
            let pairs: Vec<String> =
                link(url).unwrap().iter().map(|(key, value)| format!("{key} = {value}")).collect();
            assert_eq!(pairs.join(" "), expected, "{url}");
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
            ("ws://host:", Err("has no sound port")),
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
