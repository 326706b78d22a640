//! Under which name a server is asked. One that is not this gateway's may be a page's that lets its own name point here.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use holdfast_core::config::server::Server;
use holdfast_core::source::hostname::{Authority, Host, Machine, Names};
use holdfast_core::time::Time;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode, Version};

use super::peer::Peer;
use crate::os::clock;
use crate::source::server::ServerState;
use crate::source::server::http::ApiError;

const HOSTS: &str = "/etc/hosts";
const RESOLVER: &str = "/etc/resolv.conf";
/// Bytes that are read of a file.
const FILE_BYTES: u64 = 64 << 10;
/// The machine may get its name after the agent has started: it is asked again for a name that is not known, but not more often than this.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The names of one server.
#[derive(Default)]
pub struct HostNames {
    hostnames: Vec<String>,
    bind: Vec<String>,
    names: RefCell<Names>,
    looked_at: Cell<Time>,
}

impl HostNames {
    /// Looks at the machine.
    pub fn new(server: &Server) -> HostNames {
        let names = HostNames {
            hostnames: server.access.hostnames.clone(),
            bind: server.bind.clone(),
            ..HostNames::default()
        };
        names.look();
        names
    }

    fn look(&self) {
        self.looked_at.set(clock::now().mono);
        let machine = rustix::system::uname();
        let machine = Machine {
            host_name: &machine.nodename().to_string_lossy(),
            hosts: &text(HOSTS),
            resolver: &text(RESOLVER),
        };
        self.names.replace(Names::new(&self.hostnames, &self.bind, &machine));
    }

    /// Whether a request may be for this one.
    fn take(&self, asked: &Authority) -> bool {
        if self.names.borrow().take(asked) {
            return true;
        }
        if clock::now().mono.since(self.looked_at.get()) < LOOK_INTERVAL {
            return false;
        }
        self.look();
        self.names.borrow().take(asked)
    }

    /// All of them.
    pub fn all(&self) -> std::cell::Ref<'_, Names> {
        self.names.borrow()
    }
}

/// Where a request is addressed to, if it says so. The error says that it is no name of this server.
///
/// No browser reaches a Unix socket but through a proxy, so there every name is taken. What a trusted proxy says of the name counts beside
/// the one that it asks under itself.
pub fn check<B>(
    site: &ServerState,
    peer: &Peer,
    request: &Request<B>,
) -> Result<Option<Authority>, ApiError> {
    let fields = request.headers().get_all(header::HOST);
    let named: Vec<String> = fields.iter().map(text_of).collect();
    // RFC 9112 §3.2.2: a url in the place of the path overrides the header.
    let target = request.uri().authority().map(|authority| text_of_target(authority.as_str()));
    let is_passed_on = peer.proxied.is_some() || peer.passed_on.get().is_some();
    if peer.address.is_none() && !is_passed_on {
        return Ok(named.first().and_then(|name| Authority::parse(name)));
    }
    if named.len() > 1 {
        return Err(ApiError::bad("the header Host is there twice"));
    }
    if named.is_empty() && target.is_none() && request.version() >= Version::HTTP_11 {
        let error =
            "the header Host is missing: HTTP/1.1 needs it, such as `Host: gateway.local` (RFC 9112 §3.2)";
        return Err(ApiError::bad(error));
    }
    let mut asked = None;
    let forwarded = peer.proxied.iter().flat_map(|proxied| proxied.hosts.iter().rev());
    let named = named.iter().chain(&target).map(|name| ("Host", name));
    let forwarded = forwarded.map(|name| ("X-Forwarded-Host or Forwarded", name));
    for (header, name) in named.chain(forwarded).filter(|(_, name)| !name.is_empty()) {
        let authority = Authority::parse(name);
        let authority = authority.ok_or_else(|| {
            ApiError::bad(format!("the header {header} is no host: {}", name.escape_debug()))
        })?;
        if !is_ours(site, &authority) {
            return Err(misdirected(site, &authority.host));
        }
        asked = Some(authority);
    }
    Ok(asked)
}

fn is_ours(site: &ServerState, asked: &Authority) -> bool {
    let is_certified = |name: &str| site.certificate.as_ref().is_some_and(|own| own.is_for(name));
    site.names.take(asked) || matches!(&asked.host, Host::Name(name) if is_certified(name))
}

fn misdirected(site: &ServerState, host: &Host) -> ApiError {
    let name = match host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    };
    let mut gate = site.gate.borrow_mut();
    gate.counts.denied_hosts += 1;
    let level = if gate.is_news(&name) { log::Level::Warn } else { log::Level::Debug };
    let server = site.id();
    let remedy = format!("hostnames = [\"{name}\"] in [[server]] {server} lets it in");
    log::log!(level, "name denied server={server} host={name}: it is no name of this gateway; {remedy}");
    let error = format!("{name} is no name of this gateway: {remedy}, or ask for its host name or address");
    ApiError::new(StatusCode::MISDIRECTED_REQUEST, error)
}

fn text_of(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).trim().to_owned()
}

/// Without the user that may stand before the host.
fn text_of_target(authority: &str) -> String {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
}

fn text(file: &str) -> String {
    let mut bytes = Vec::new();
    // A file that is not there names nothing.
    let _ = File::open(file).and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
