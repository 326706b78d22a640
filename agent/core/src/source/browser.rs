//! Signs that tell a browser from a device. A page can have its visitors' browsers ask whatever is in their network, and nobody sees
//! it: so it must be told from the devices and programs that are meant to ask, by what no page can add, change or leave out.

use std::net::IpAddr;

use super::hostname::{Authority, Host, Names};

/// Header fields of browsers that programs have no use for. Pages cannot remove them (Fetch standard, forbidden request headers).
const MARKS: [&str; 5] =
    ["referer", "sec-ch-ua", "sec-fetch-dest", "sec-fetch-site", "upgrade-insecure-requests"];
/// How every browser begins to say who it is, and old ones of television sets.
const BROWSERS: [&str; 2] = ["mozilla/", "opera/"];
/// Header by which scripts say that they are no link and no image; a page of another site must ask before (Fetch standard,
/// preflight).
pub const BY_SCRIPT: &str = "x-requested-with";

/// Kind of a caller, as far as its header fields tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// It may be a browser.
    Browser,
    /// It names itself, and is none.
    Program,
    /// It says nothing of itself.
    Unknown,
}

impl Asker {
    /// Looks at the header fields; `field` gives the value of one.
    pub fn of<'a>(field: impl Fn(&str) -> Option<&'a [u8]>) -> Asker {
        let agent = field("user-agent").unwrap_or_default().trim_ascii().to_ascii_lowercase();
        let names_browser = BROWSERS.iter().any(|name| agent.starts_with(name.as_bytes()));
        // `*` is what Node.js sends.
        let reads = field("accept-language").is_some_and(|languages| languages != b"*");
        if names_browser || reads || MARKS.iter().any(|name| field(name).is_some()) {
            Asker::Browser
        } else if agent.is_empty() {
            Asker::Unknown
        } else {
            Asker::Program
        }
    }
}

/// Where a request goes to.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Value of the header `Host`; over TCP it was found to be a name or an address of this gateway.
    pub host: Option<&'a Authority>,
    /// The address of this machine at which it arrived; none over a Unix socket.
    pub address: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub secure: bool,
}

/// Whether an origin that is not configured is let in: that of a page of this gateway itself, and the value that a device sends where
/// a browser would name a page.
pub fn is_welcome(origin: &str, asker: Asker, asked: &Asked<'_>, names: &Names) -> bool {
    let is_browser = asker == Asker::Browser;
    is_same_host(origin, is_browser, asked, names) || (!is_browser && !is_of_a_page(origin))
}

/// Whether a browser could have sent it for a page of the web (RFC 6454 §6.2): it has a scheme and a host, and no path.
fn is_of_a_page(origin: &str) -> bool {
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    origin.eq_ignore_ascii_case("null") || !(host.is_empty() || host.contains(['/', '?', '#']))
}

/// Whether it is this gateway under one of its names, at the port that is asked. Whatever else listens on the machine has a port of
/// its own; behind a name of `hostnames` a proxy may have the one of the scheme.
fn is_same_host(origin: &str, is_browser: bool, asked: &Asked<'_>, names: &Names) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let (port, is_secure) = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => (80, false),
        "https" | "wss" => (443, true),
        _ => return false,
    };
    // A page that came unencrypted may be anybody's who sits on the way.
    if asked.secure && !is_secure && is_browser {
        return false;
    }
    let Some(own) = Authority::parse(authority) else { return false };
    let is_asked = asked.host.is_some_and(|asked| asked.host == own.host);
    let arrived = asked.address.map(Host::Address);
    let is_here = arrived.as_ref().is_some_and(Host::is_loopback);
    let is_ours = if own.host.is_loopback() {
        is_asked || is_here
    } else if own.host.is_address() {
        is_asked || arrived.as_ref() == Some(&own.host)
    } else {
        names.has(&own.host) || (is_asked && arrived.is_some())
    };
    let at_port = asked.host.is_some_and(|asked| asked.port.unwrap_or(port) == own.port.unwrap_or(port));
    is_ours && (at_port || own.port.is_none() && names.is_configured(&own.host))
}

/// A request that changes something, beside what its header fields tell.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// Its method is one that no link and no image has.
    pub is_post: bool,
    /// It may come from who says nothing of itself, as the smallest devices do and no browser does.
    pub takes_unknown: bool,
    /// The page that it names ([`page_of`]) is configured, or every page is.
    pub is_listed: bool,
    /// The page that it names is one of this gateway.
    pub is_own: bool,
}

/// Whether a request that may come from any page may change something: by a method that no link and no image has (an origin
/// that is not welcome is refused before), for a page that is let in, or with something that no browser sends to another site by
/// itself.
pub fn may_change<'a>(change: Change, asker: Asker, field: impl Fn(&str) -> Option<&'a [u8]>) -> bool {
    if change.is_listed || field("origin").is_some() || is_sent_by_script(field(BY_SCRIPT)) {
        return true;
    }
    match field("sec-fetch-site") {
        // It knows of redirects over another site, which `Referer` does not.
        Some(site) => site.eq_ignore_ascii_case(b"same-origin"),
        None => {
            let is_device = asker == Asker::Unknown && change.takes_unknown;
            change.is_post || change.is_own || is_device || asker == Asker::Program
        }
    }
}

/// The origin of the page that had a browser ask, if the request names it: no page can put another one there.
pub fn page_of<'a>(field: impl Fn(&str) -> Option<&'a [u8]>) -> Option<&'a str> {
    let text = |name| field(name).and_then(|value| std::str::from_utf8(value).ok());
    text("origin").or_else(|| {
        let url = text("referer")?;
        let host = url.find("://")? + "://".len();
        let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
        Some(&url[..end])
    })
}

/// Android's browsers within apps put the app's name there, which has a dot, and into every request.
fn is_sent_by_script(value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| !value.trim_ascii().is_empty() && !value.contains(&b'.'))
}

#[cfg(test)]
mod tests {
    use super::super::hostname::Machine;
    use super::*;

    /// Chromium's to a server of the LAN, where it sends no `Sec-Fetch-…`; of an image and of a WebSocket.
    const CHROMIUM: [(&str, &str); 3] = [
        ("user-agent", "Mozilla/5.0 (X11; Linux aarch64) AppleWebKit/537.36 Chrome/148.0.0.0 Safari/537.36"),
        ("accept-encoding", "gzip, deflate"),
        ("accept-language", "de-DE,de;q=0.9"),
    ];
    const ARDUINO: [(&str, &str); 1] = [("user-agent", "arduino-WebSocket-Client")];

    fn field<'a>(fields: &[(&str, &'a str)], name: &str) -> Option<&'a [u8]> {
        fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes())
    }

    fn asker(fields: &[(&str, &str)]) -> Asker {
        Asker::of(|name| field(fields, name))
    }

    #[test]
    fn a_browser_is_known_by_what_no_page_can_take_away() {
        assert_eq!(asker(&CHROMIUM), Asker::Browser);
        assert_eq!(asker(&[("user-agent", "mozilla/5.0")]), Asker::Browser);
        assert_eq!(asker(&[("user-agent", "MyApp/1.0"), ("accept-language", "de")]), Asker::Browser);
        assert_eq!(asker(&[("sec-fetch-site", "cross-site")]), Asker::Browser);
        assert_eq!(asker(&ARDUINO), Asker::Program);
        assert_eq!(asker(&[("user-agent", "node"), ("accept-language", "*")]), Asker::Program);
        assert_eq!(asker(&[]), Asker::Unknown);
    }

    struct Way {
        host: &'static str,
        address: &'static str,
        secure: bool,
    }

    const LAN: Way = Way { host: "gw.local:9998", address: "192.168.1.5", secure: false };

    fn lets_in(way: &Way, asker: Asker, origin: &str) -> bool {
        let machine = Machine { host_name: "gw", hosts: "", resolver: "search plant.example" };
        let names = Names::new(&["panel.example".to_owned()], &[], &machine);
        let host = Authority::parse(way.host);
        let address = way.address.parse().ok();
        is_welcome(origin, asker, &Asked { host: host.as_ref(), address, secure: way.secure }, &names)
    }

    #[test]
    fn a_page_of_the_gateway_is_welcome_under_each_of_its_names_at_its_own_port() {
        for own in [
            "http://gw.local:9998",
            "http://GW:9998",
            "http://gw.plant.example:9998",
            "http://192.168.1.5:9998",
            "https://gw.local:9998",
            "ws://gw.local:9998",
            "http://panel.example:9998",
            "https://panel.example",
        ] {
            assert!(lets_in(&LAN, Asker::Browser, own), "{own}");
        }
        for other in [
            "http://gw.local",
            "http://gw.local:3000",
            "http://192.168.1.6:9998",
            "http://evil.example:9998",
            "http://gw.evil.example:9998",
            "http://localhost:9998",
            "http://127.0.0.1:9998",
            "http://panel.example:8080",
            "file://",
            "null",
            "chrome-extension://gw.local",
            "http://gw.local:9998@evil.example",
            "",
        ] {
            assert!(!lets_in(&LAN, Asker::Browser, other), "{other}");
        }
    }

    #[test]
    fn a_page_on_this_machine_is_welcome_to_this_machine() {
        let here = Way { host: "127.0.0.1:9998", address: "127.0.0.1", secure: false };
        assert!(lets_in(&here, Asker::Browser, "http://localhost:9998"));
        assert!(lets_in(&here, Asker::Browser, "http://[::1]:9998"));
        assert!(!lets_in(&here, Asker::Browser, "http://127.0.0.1:8000"));
        let forwarded = Way { host: "203.0.113.9", address: "172.17.0.2", secure: false };
        assert!(lets_in(&forwarded, Asker::Browser, "http://203.0.113.9"));
        assert!(lets_in(&forwarded, Asker::Browser, "https://203.0.113.9"));
    }

    #[test]
    fn a_name_without_a_dot_is_the_same_host_only_where_it_is_asked_for() {
        let container = Way { host: "holdfast:9998", ..LAN };
        assert!(lets_in(&container, Asker::Browser, "http://holdfast:9998"));
        assert!(!lets_in(&container, Asker::Browser, "http://grafana:9998"));
        assert!(!lets_in(&LAN, Asker::Browser, "http://holdfast:9998"));
        let unix = Way { address: "", ..container };
        assert!(!lets_in(&unix, Asker::Browser, "http://holdfast:9998"), "there nobody looked at it");
    }

    #[test]
    fn an_unencrypted_page_may_not_ask_an_encrypted_server_but_an_old_program_may() {
        let tls = Way { secure: true, ..LAN };
        assert!(lets_in(&tls, Asker::Browser, "https://gw.local:9998"));
        assert!(!lets_in(&tls, Asker::Browser, "http://gw.local:9998"));
        assert!(lets_in(&tls, Asker::Program, "http://gw.local:9998"));
    }

    #[test]
    fn the_constant_of_a_device_is_welcome_and_the_same_from_a_browser_is_not() {
        for constant in [
            "file://",
            "https://github.com/gilmaimon/TinyWebsockets",
            "http://localhost/",
            "esp32",
            "file:///app",
        ] {
            assert!(lets_in(&LAN, asker(&ARDUINO), constant), "{constant}");
            assert!(lets_in(&LAN, Asker::Unknown, constant), "{constant}");
            assert!(!lets_in(&LAN, Asker::Browser, constant), "{constant}");
        }
        for page in ["https://evil.example", "null", "NULL", "http://evil.example:9998", "app://gw"] {
            assert!(!lets_in(&LAN, asker(&ARDUINO), page), "{page}");
        }
    }

    const LINK: Change = Change { is_post: false, takes_unknown: false, is_listed: false, is_own: false };
    const POST: Change = Change { is_post: true, ..LINK };
    const MESSAGE: Change = Change { takes_unknown: true, ..LINK };

    fn may(change: Change, fields: &[(&str, &str)]) -> bool {
        may_change(change, asker(fields), |name| field(fields, name))
    }

    #[test]
    fn nothing_changes_by_what_a_page_makes_a_browser_send_without_asking() {
        let with = |more: &[(&'static str, &'static str)]| [&CHROMIUM[..], more].concat();
        for link in [LINK, MESSAGE] {
            assert!(!may(link, &CHROMIUM), "an image, without Sec-Fetch-Site");
            assert!(!may(link, &with(&[("sec-fetch-site", "none")])), "a link in a mail");
            assert!(!may(link, &with(&[("sec-fetch-site", "same-site")])), "another port");
            assert!(!may(link, &with(&[("x-requested-with", "com.example.app")])), "a page within an app");
            assert!(may(link, &with(&[("sec-fetch-site", "same-origin")])));
            assert!(may(link, &with(&[("x-requested-with", "fetch")])));
            assert!(may(
                link,
                &with(&[("origin", "https://panel.example"), ("sec-fetch-site", "cross-site")])
            ));
            assert!(may(link, &[("user-agent", "curl/8.5.0")]), "no page can name another program");
        }
        assert!(!may(POST, &with(&[("sec-fetch-site", "cross-site")])), "a form without an origin");
        assert!(!may(LINK, &[]), "nothing is no permission");
        assert!(may(POST, &CHROMIUM) && may(POST, &[]));
    }

    #[test]
    fn who_says_nothing_of_itself_may_bring_a_message() {
        let esp: [(&str, &str); 2] = [("host", "192.168.1.5"), ("connection", "close")];
        for device in [&[][..], &esp, &[("user-agent", "")]] {
            assert!(may(MESSAGE, device) && !may(LINK, device));
        }
        for mark in MARKS {
            assert!(!may(MESSAGE, &[(mark, "1")]), "{mark}");
        }
        assert!(!may(MESSAGE, &[("accept-language", "de")]));
    }

    #[test]
    fn a_page_that_is_let_in_may_have_a_browser_ask() {
        let image = [("referer", "http://gw.local:9998/panel.html"), CHROMIUM[0]];
        let own = Change { is_own: true, ..LINK };
        assert!(may(own, &image) && !may(LINK, &image));
        let redirected = [image[0], image[1], ("sec-fetch-site", "cross-site")];
        assert!(!may(own, &redirected), "over another site");
        assert!(may(Change { is_listed: true, ..LINK }, &redirected));
    }

    #[test]
    fn a_page_is_named_by_its_origin_else_by_the_referer() {
        let page = |fields: &[(&str, &'static str)]| page_of(|name| field(fields, name));
        assert_eq!(page(&[("origin", "https://a"), ("referer", "https://b/")]), Some("https://a"));
        for (url, origin) in [
            ("http://gw.local:9998/a/b?c=http://d/#e", Some("http://gw.local:9998")),
            ("http://gw.local", Some("http://gw.local")),
            ("http://evil.example?http://gw.local/", Some("http://evil.example")),
            ("http://gw.local@evil.example/", Some("http://gw.local@evil.example")),
            ("about:blank", None),
            ("", None),
        ] {
            assert_eq!(page(&[("referer", url)]), origin, "{url}");
        }
        assert_eq!(page(&CHROMIUM), None);
    }
}
