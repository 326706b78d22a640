//! For whom a request comes: its peer, or somebody behind a proxy. A proxy sends the requests of many over one connection, so this is
//! asked at each of them.

use std::net::IpAddr;
use std::rc::Rc;

use holdfast_core::config::network::Remote;
use holdfast_core::source::forwarded::{Head, Proxied, Sign, Untold, Way, is_here};
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Request, StatusCode, Version};

use super::peer::Peer;
use crate::source::server::ServerState;
use crate::source::server::accept::RemotePlace;
use crate::source::server::http::ApiError;

/// The guest of a request that came over the connection of this one.
pub fn peer<B>(site: &ServerState, connected: &Rc<Peer>, request: &Request<B>) -> Result<Rc<Peer>, ApiError> {
    let fields = |name: &str| {
        let fields = request.headers().get_all(name);
        fields.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>()
    };
    let head = Head { fields: &fields, is_http_1_1: request.version() >= Version::HTTP_11 };
    let peer = connected.peer;
    let way = site.gate.borrow().way(peer, &head);
    connected.passed_on.set(None);
    match way {
        Way::Proxied(proxied) => return behind(site, connected, proxied),
        Way::PassedOn(sign) => {
            connected.passed_on.set(Some(sign));
            tell_passed_on(site, peer, sign);
        }
        Way::Direct => {}
    }
    if peer.is_some() && !is_let_in(site, connected.peer) {
        return Err(denied(site, connected.remote));
    }
    connected.share.belongs_to(connected.remote);
    Ok(connected.clone())
}

fn behind(site: &ServerState, connected: &Peer, proxied: Proxied) -> Result<Rc<Peer>, ApiError> {
    if let Err(untold) = proxied.caller {
        tell_untold(site, connected.peer, untold);
    }
    let caller = proxied.caller.ok();
    let remote = caller.map_or(Remote::Unknown, Remote::of);
    if !site.gate.borrow_mut().lets_in_caller(caller) {
        return Err(denied(site, remote));
    }
    let Some(place) = RemotePlace::take(&site.gate, remote) else {
        site.gate.borrow_mut().counts.denied_connections += 1;
        let error = format!(
            "too many requests and connections of {remote} are open: limits.connections_per_ip of this server bounds them"
        );
        let problem = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error);
        return Err(problem.with(RETRY_AFTER, HeaderValue::from_static("10")));
    };
    connected.share.belongs_to(remote);
    Ok(Rc::new(connected.behind(remote, proxied, place)))
}

/// A trusted proxy may connect in any case, so its own requests are looked at here.
fn is_let_in(site: &ServerState, peer: Option<IpAddr>) -> bool {
    let mut gate = site.gate.borrow_mut();
    !gate.trusts(peer) || gate.lets_in_caller(peer)
}

fn denied(site: &ServerState, remote: Remote) -> ApiError {
    log::debug!("network denied source={} from={remote}", site.source);
    let error = format!("{remote} may not come in here: `allow` and `deny` of this server say who may");
    ApiError::new(StatusCode::FORBIDDEN, error)
}

/// The line of the configuration that trusts a proxy.
pub fn remedy(site: &ServerState, peer: Option<IpAddr>) -> String {
    format!("trusted_proxies = [\"{}\"] in [[server]] {}", name(peer), site.id())
}

fn name(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string())
}

/// A header of a proxy from another machine may be anybody's, who would be trusted by this advice.
fn tell_passed_on(site: &ServerState, peer: Option<IpAddr>, sign: Sign) {
    if is_here(peer) && matches!(sign, Sign::Field(_)) && !site.api_only {
        tell(
            site,
            peer,
            &format!("callers behind it count as one: {}", remedy(site, peer)),
            &sign.to_string(),
        );
    }
}

fn tell_untold(site: &ServerState, peer: Option<IpAddr>, untold: Untold) {
    tell(site, peer, "the caller behind it is unknown", &untold.to_string());
}

/// Once for each proxy and each matter, or anybody could fill the log.
fn tell(site: &ServerState, peer: Option<IpAddr>, what: &str, why: &str) {
    let name = name(peer);
    let is_news = site.gate.borrow_mut().is_news(&format!("{what} {name}"));
    let level = if is_news { log::Level::Warn } else { log::Level::Debug };
    log::log!(level, "proxy server={} from={name}: {what} ({why})", site.id());
}
