//! Which pages of browsers may talk to a server (the Fetch standard's CORS protocol, and RFC 6455 §10.2 for WebSockets).

use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};

use super::Site;
use super::http::{Page, empty};

const METHODS: &str = "GET, HEAD, POST, PUT, OPTIONS";
/// How long a browser may remember the answer to a preflight.
const MAX_AGE_S: &str = "600";

/// Whether a page of this origin may talk to the server, which is asked under the host in the headers.
pub fn is_welcome(site: &Site, headers: &HeaderMap, origin: &HeaderValue) -> bool {
    let listed = |known: &String| known == "*" || known.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
    site.origins.iter().any(listed) || is_own(site.certificate.is_some(), headers, origin)
}

/// Whether it is a page of this server itself. A name other than `localhost` proves nothing: whoever owns it can point it here.
fn is_own(secure: bool, headers: &HeaderMap, origin: &HeaderValue) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), headers.get(header::HOST).map(HeaderValue::to_str))
    else {
        return false;
    };
    let scheme = if secure { "https://" } else { "http://" };
    let same = origin.strip_prefix(scheme).is_some_and(|origin| origin.eq_ignore_ascii_case(host));
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    same && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok())
}

/// Whether a browser asks if it may ask.
pub fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What `OPTIONS` answers, to the preflight of an origin that is welcome and to whoever else asks.
pub fn options(headers: &HeaderMap) -> Page {
    let mut page = empty();
    let answer = page.headers_mut();
    let methods = HeaderValue::from_static(METHODS);
    answer.insert(header::ALLOW, methods.clone());
    if !headers.contains_key(header::ORIGIN) {
        return page;
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let names = asked.unwrap_or(HeaderValue::from_static("content-type"));
    answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
    if headers.contains_key("access-control-request-private-network") {
        let name = HeaderName::from_static("access-control-allow-private-network");
        answer.insert(name, HeaderValue::from_static("true"));
    }
    page
}

/// The same page with word to the browser that this origin may see it.
pub fn shown(mut page: Page, origin: HeaderValue) -> Page {
    let headers = page.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(secure: bool, host: &'static str, origin: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        is_own(secure, &headers, &HeaderValue::from_static(origin))
    }

    #[test]
    fn a_page_of_the_server_itself_is_welcome_under_an_address_but_not_under_a_name() {
        assert!(own(false, "192.168.1.5:9998", "http://192.168.1.5:9998"));
        assert!(own(false, "[::1]:9998", "http://[::1]:9998"));
        assert!(own(true, "localhost:9998", "https://localhost:9998"));
        assert!(
            !own(false, "gw.example:9998", "http://gw.example:9998"),
            "its owner may have pointed it here"
        );
        assert!(!own(false, "127.0.0.1:9998", "http://127.0.0.1:8000"));
        assert!(!own(true, "127.0.0.1:9998", "http://127.0.0.1:9998"));
        assert!(!own(false, "127.0.0.1:9998", "null"));
    }
}
