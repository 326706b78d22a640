//! Where an upgrade or a POST goes on that a server answers with a redirect (RFC 6455 §4.1 leaves it to the client, RFC 9110 §15.4 says
//! how). A redirect leads to the same host, or to another one that shows its certificate; nothing that proves our identity goes
//! along to another host. Pure.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::config::link_kind::{LinkKind, SCHEMES};
use crate::config::{Url, place, shown_url};

/// Redirects of one upgrade that are followed.
pub const REDIRECTS_MAX: usize = 3;

/// Characters that browsers encode in a `Location`, beside all that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Request that a server was asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Asked {
    /// The url with the whole path and query, without a user.
    pub url: String,
    /// Parts of path and query that are for this host only.
    pub private: Vec<String>,
    /// A message of the configuration is sent first, and it may hold a secret.
    pub speaks_first: bool,
}

/// Where to ask next.
#[derive(Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The whole url, without a user.
    pub url: String,
    /// It is another host: credentials stay here.
    pub leaves: bool,
}

/// Whether an answer with this status names another address to ask at.
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

impl Asked {
    /// Where the value of the field `Location` leads. The error is the address without what is secret, and why it is not followed.
    pub fn follow(&self, location: &str) -> Result<Redirect, String> {
        let from = Url::parse(&self.url, SCHEMES)?;
        let location = location.trim().split('#').next().unwrap_or_default();
        let location = utf8_percent_encode(location, ENCODED).to_string();
        let text = resolve(&from, &location).unwrap_or_default();
        let is_private = self.private.iter().any(|part| text.contains(part));
        let fail = |why: &str| {
            let shown = if is_private { place(&text) } else { shown_url(&location) };
            Err(format!("{}, which is not followed: {why}", shown.escape_debug()))
        };
        let Ok(to) = Url::parse(&text, SCHEMES) else { return fail("it is no url of a server") };
        let leaves = !to.host().eq_ignore_ascii_case(&from.host());
        match (from.scheme, to.scheme) {
            ("wss" | "https", "ws" | "http") => return fail("it leads from TLS to plain text"),
            (_, "ws" | "http") if leaves => return fail("it leads to another host without TLS"),
            _ if leaves && is_private => {
                return fail("it would carry the login or `params` of this client to another host");
            }
            _ if leaves && self.speaks_first => {
                return fail("it leads to another host, which `message` of this client is not meant for");
            }
            _ => {}
        }
        Ok(Redirect { url: Url { user: None, ..to }.text(), leaves })
    }
}

/// RFC 3986 §5.2, with the schemes of HTTP and WebSocket taken for each other: the link stays what it is.
fn resolve(from: &Url, location: &str) -> Option<String> {
    let base = format!("{}://{}", from.scheme, from.authority);
    let before_path = &location[..location.find(['/', '?']).unwrap_or(location.len())];
    if let Some((scheme, _)) = before_path.split_once(':') {
        let rest = location[scheme.len() + 1..].strip_prefix("//")?;
        let [plain, secure] = LinkKind::of(&base)?.schemes();
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => plain,
            "wss" | "https" => secure,
            _ => return None,
        };
        return Some(format!("{scheme}://{rest}"));
    }
    if let Some(rest) = location.strip_prefix("//") {
        return Some(format!("{}://{rest}", from.scheme));
    }
    let (path, query) = from.path_and_query();
    let (new_path, new_query) = location.split_once('?').map_or((location, None), |(p, q)| (p, Some(q)));
    let target = match new_path {
        "" => path.to_owned(),
        _ if new_path.starts_with('/') => without_dots(new_path),
        _ => without_dots(&format!("{}/{new_path}", path.rsplit_once('/').map_or("", |(folder, _)| folder))),
    };
    let query = new_query.or((location.is_empty() && !query.is_empty()).then_some(query));
    Some(format!("{base}{target}{}", query.map(|query| format!("?{query}")).unwrap_or_default()))
}

/// RFC 3986 §5.2.4 for a path that starts with `/`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(url: &str) -> Asked {
        Asked { url: url.to_owned(), private: Vec::new(), speaks_first: false }
    }

    fn follow(from: &str, location: &str) -> Result<(String, bool), String> {
        asked(from).follow(location).map(|redirect| (redirect.url, redirect.leaves))
    }

    #[test]
    fn every_form_of_a_location_on_the_same_host_is_followed_with_what_proves_our_identity() {
        let cases = [
            ("https://hub/in", "wss://hub/in"),
            ("HTTP://HUB:81/in", "ws://HUB:81/in"),
            ("wss://hub", "wss://hub"),
            ("ws://gw:pw@hub/x#y", "ws://hub/x"),
            ("//hub:81/x", "ws://hub:81/x"),
            ("/x?y=1", "ws://hub/x?y=1"),
            ("x", "ws://hub/a/x"),
            ("./x/", "ws://hub/a/x/"),
            ("../x/./y/..", "ws://hub/x/"),
            ("../../../x", "ws://hub/x"),
            ("?z", "ws://hub/a/b?z"),
            ("", "ws://hub/a/b?q=1"),
            (" /ä b ", "ws://hub/%C3%A4%20b"),
            ("/x?to=http://elsewhere/", "ws://hub/x?to=http://elsewhere/"),
        ];
        for (location, expected) in cases {
            let found = follow("ws://hub/a/b?q=1", location);
            assert_eq!(found, Ok((expected.to_owned(), false)), "{location}");
        }
    }

    #[test]
    fn another_host_is_followed_only_with_tls_and_told_as_another() {
        assert_eq!(follow("ws://hub/", "https://node7/in"), Ok(("wss://node7/in".to_owned(), true)));
        assert_eq!(follow("wss://hub/", "//node7/in"), Ok(("wss://node7/in".to_owned(), true)));
        let cases = [
            (
                "ws://hub/",
                "http://node7/in?token=s3cret",
                "http://node7/in?token=***",
                "to another host without TLS",
            ),
            ("wss://hub/", "http://hub/", "http://hub/", "from TLS to plain text"),
            ("wss://hub/", "ws://node7/", "ws://node7/", "from TLS to plain text"),
            ("wss://hub/", "ftp://hub/", "ftp://hub/", "no url of a server"),
            ("wss://hub/", "mailto:a@b", "mailto:a@b", "no url of a server"),
            ("wss://hub/", "https://", "https://", "no url of a server"),
        ];
        for (from, location, shown, why) in cases {
            let error = follow(from, location).unwrap_err();
            assert!(error.starts_with(&format!("{shown}, which is not followed: it ")), "{error}");
            assert!(error.ends_with(why), "{error}");
        }
    }

    #[test]
    fn a_location_that_repeats_what_is_secret_is_followed_on_the_same_host_only() {
        let private = vec!["token=s3cret".to_owned(), "/auth/gw/pw/".to_owned()];
        let asked = Asked { private, ..asked("wss://hub/auth/gw/pw/in?token=s3cret") };
        for location in ["https://node7/in?token=s3cret", "https://node7/auth/gw/pw/in"] {
            let error = asked.follow(location).err().unwrap();
            assert!(error.starts_with("wss://node7, which is not followed"), "{error}");
        }
        assert!(asked.follow("https://hub:8443/in?token=s3cret").is_ok_and(|redirect| !redirect.leaves));
        assert!(asked.follow("https://node7/in").is_ok_and(|redirect| redirect.leaves));
    }

    #[test]
    fn a_first_message_is_said_to_the_host_that_it_is_meant_for() {
        let asked = Asked { speaks_first: true, ..asked("wss://hub/") };
        assert!(asked.follow("https://hub:8443/").is_ok());
        assert!(asked.follow("https://node7/").is_err_and(|error| error.contains("`message`")));
    }
}
