//! Which pages of browsers may talk to a server (the Fetch standard's CORS protocol, and RFC 6455 §10.2 for WebSockets).

use holdfast_core::config::reply::Mode;
use holdfast_core::config::toml_string;
use holdfast_core::source::browser::{self, Asked, Asker, Change};
use holdfast_core::source::hostname::Authority;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::host;
use super::peer::Peer;
use crate::source::server::ServerState;
use crate::source::server::http::{ApiError, HttpReply, empty};
use crate::source::server::request::one_shot::OneShot;

const METHODS: &str = "GET, HEAD, POST, PUT, OPTIONS";
/// How long a browser may remember the answer to a preflight.
const MAX_AGE_S: &str = "600";

/// Refuses a request from a page that may not talk to the server. `asked`: where the request is addressed to.
pub fn check(
    site: &ServerState,
    peer: &Peer,
    asked: Option<&Authority>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    for origin in headers.get_all(header::ORIGIN) {
        let text = std::str::from_utf8(origin.as_bytes());
        let by_itself = |origin| is_welcome(site, peer, asked, origin, asker(headers));
        if !is_listed(site, origin.as_bytes()) && !text.is_ok_and(by_itself) {
            return Err(refused(site, &String::from_utf8_lossy(origin.as_bytes())));
        }
    }
    Ok(())
}

fn is_listed(site: &ServerState, origin: &[u8]) -> bool {
    site.origins.iter().any(|known| known == "*" || known.as_bytes().eq_ignore_ascii_case(origin))
}

fn is_welcome(site: &ServerState, peer: &Peer, host: Option<&Authority>, origin: &str, asker: Asker) -> bool {
    let asked = Asked { host, address: peer.address, secure: peer.is_secure(site) };
    browser::is_welcome(origin, asker, &asked, &site.names.all())
}

/// Refuses a request to a route whose request is the message, where any page may have made a browser send it. Who sets something
/// must say who it is, or use POST; who brings a reading must only be no browser.
pub fn check_change<B>(
    site: &ServerState,
    peer: &Peer,
    request: &Request<B>,
    call: &OneShot,
) -> Result<(), ApiError> {
    let (method, headers) = (request.method(), request.headers());
    let host = host::check(site, peer, request)?;
    let asker = asker(headers);
    let page = browser::page_of(|name| field(headers, name));
    let change = Change {
        is_post: *method == Method::POST || *method == Method::PUT,
        takes_unknown: call.mode == Mode::Data,
        is_listed: is_listed(site, page.unwrap_or_default().as_bytes()),
        is_own: page.is_some_and(|page| is_welcome(site, peer, host.as_ref(), page, Asker::Browser)),
    };
    if browser::may_change(change, asker, |name| field(headers, name)) {
        return Ok(());
    }
    let (server, route) = (site.id(), toml_string(&call.route));
    let lets_in = page.map_or_else(
        || "`origins` lists the pages that may".to_owned(),
        |page| format!("origins = [{}] lets its page in", toml_string(page)),
    );
    let named = if asker == Asker::Unknown { ", or say in `User-Agent` which program asks" } else { "" };
    let post = if call.takes_post { "" } else { ", which `methods` of the route must name" };
    let mut gate = site.gate.borrow_mut();
    gate.counts.denied_origins += 1;
    let level = if gate.is_news(page.unwrap_or(&call.route)) { log::Level::Warn } else { log::Level::Debug };
    log::log!(
        level,
        "page denied server={server} route={route}: a browser asked for it, and {lets_in} ([[server]] {server})"
    );
    let error = format!(
        "this {method} brings a message to the route path = {route}, and any page could have made a browser ask for it: \
         {lets_in} ([[server]] {server}); else use POST{post}, or send the header {}: 1{named}",
        browser::BY_SCRIPT
    );
    Err(ApiError::new(StatusCode::FORBIDDEN, error))
}

fn refused(site: &ServerState, origin: &str) -> ApiError {
    let mut gate = site.gate.borrow_mut();
    gate.counts.denied_origins += 1;
    let level = if gate.is_news(origin) { log::Level::Warn } else { log::Level::Debug };
    let server = site.id();
    let remedy = |listed: &[String]| {
        let all: Vec<String> = listed.iter().map(String::as_str).chain([origin]).map(toml_string).collect();
        format!("origins = [{}] in [[server]] {server} lets it in", all.join(", "))
    };
    let known = &site.origins;
    log::log!(level, "origin denied server={server} origin={}: {}", toml_string(origin), remedy(known));
    let shown: String = origin.escape_debug().collect();
    let error = format!("the origin {shown} is not in `origins` of this server: {}", remedy(&[]));
    ApiError::new(StatusCode::FORBIDDEN, error)
}

fn asker(headers: &HeaderMap) -> Asker {
    Asker::of(|name| field(headers, name))
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get(name).map(HeaderValue::as_bytes)
}

/// Whether a browser asks if it may ask.
pub fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answer to `OPTIONS`: to the preflight of an origin that is welcome, and to others.
pub fn options(headers: &HeaderMap) -> HttpReply {
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
pub fn shown(mut page: HttpReply, origin: HeaderValue) -> HttpReply {
    let headers = page.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    page
}
