//! Other end of a connection, and how much may still come from there.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use holdfast_core::config::network::Remote;
use holdfast_core::source::access::Sender;
use holdfast_core::source::forwarded::{Proxied, Sign, is_here};
use holdfast_core::source::throttle::Throttle;
use hyper::StatusCode;

use super::forwarded;
use crate::os::clock;
use crate::os::password::Sealed;
use crate::source::server::ServerState;
use crate::source::server::accept::{Accepted, RemotePlace};
use crate::source::server::http::ApiError;
use crate::source::server::memory::Share;

/// The peer of a connection, or the one whose request a trusted proxy has passed on.
pub struct Peer {
    /// Address of the connection's peer; none over a Unix socket.
    pub peer: Option<IpAddr>,
    /// Where it is.
    pub remote: Remote,
    /// The address of this machine that was called; none over a Unix socket.
    pub address: Option<IpAddr>,
    /// Its share of the memory for callers.
    pub share: Rc<Share>,
    /// With what it has logged in.
    pub login: Cell<Option<Sealed>>,
    /// Words of a trusted proxy about it.
    pub proxied: Option<Proxied>,
    /// How its request shows that it was passed on by a proxy that is not trusted.
    pub passed_on: Cell<Option<Sign>>,
    user: RefCell<Option<Rc<str>>>,
    /// None while its connection has requests of others, too.
    throttle: RefCell<Option<Throttle>>,
    _place: Option<RemotePlace>,
}

impl Peer {
    /// Nobody knows yet who it is.
    pub fn new(site: &ServerState, caller: &Accepted, share: Rc<Share>) -> Peer {
        let peer = Peer {
            peer: caller.peer(),
            remote: caller.remote(),
            address: caller.address(),
            share,
            login: Cell::default(),
            proxied: None,
            passed_on: Cell::default(),
            user: RefCell::default(),
            throttle: RefCell::default(),
            _place: None,
        };
        peer.has_connection(site);
        peer
    }

    /// The one for whom a request came over this connection.
    pub fn behind(&self, remote: Remote, proxied: Proxied, place: RemotePlace) -> Peer {
        Peer {
            peer: self.peer,
            remote,
            address: self.address,
            share: self.share.clone(),
            login: Cell::default(),
            proxied: Some(proxied),
            passed_on: Cell::default(),
            user: RefCell::default(),
            throttle: RefCell::default(),
            _place: Some(place),
        }
    }

    /// Nothing of others comes over its connection.
    pub fn has_connection(&self, site: &ServerState) {
        let throttle = || Throttle::new(site.limits.rate_per_client, clock::now().mono);
        self.throttle.borrow_mut().get_or_insert_with(throttle);
    }

    /// Whether its request comes from this machine, and not from another one through a proxy here.
    pub fn is_local(&self) -> bool {
        is_here(self.peer) && self.proxied.is_none() && self.passed_on.get().is_none()
    }

    /// Refusal of a caller that is not from this machine and asks for what only this machine may have.
    pub fn not_local(&self, site: &ServerState, what: &str) -> ApiError {
        let error = format!("{what} is open to this machine only");
        let direct = "ask the server itself, without the proxy";
        let error = match self.passed_on.get() {
            Some(sign) if is_here(self.peer) && !site.api_only => format!(
                "{error}, and {sign} shows that a proxy has passed this on: {direct}; {} counts the callers behind it by their own \
                 addresses",
                forwarded::remedy(site, self.peer)
            ),
            None if is_here(self.peer) && self.proxied.is_some() => {
                format!("{error}, and a proxy has passed this on: {direct}")
            }
            Some(_) | None => error,
        };
        ApiError::new(StatusCode::FORBIDDEN, error)
    }

    /// Whether its browser has a page that came encrypted.
    pub fn is_secure(&self, site: &ServerState) -> bool {
        site.certificate.is_some() || self.proxied.as_ref().is_some_and(|proxied| proxied.is_secure)
    }

    /// It is this user.
    pub fn is_user(&self, user: &str) {
        let is_known = self.user.borrow().as_deref() == Some(user);
        if !is_known {
            self.user.replace(Some(user.into()));
        }
    }

    /// It is nobody, as far as this request is concerned.
    pub fn is_nobody(&self) {
        self.user.replace(None);
    }

    /// How many of so many messages may come in; they are counted. The error says how long until one may.
    pub fn pass(&self, site: &ServerState, messages: usize) -> Result<usize, Duration> {
        let passing =
            self.as_sender(|sender| site.gate.borrow_mut().pass(clock::now().mono, sender, messages as u64))?;
        Ok(usize::try_from(passing).unwrap_or(messages))
    }

    /// Takes note of messages that came in with one that was let in before.
    pub fn spend(&self, site: &ServerState, messages: usize) {
        self.as_sender(|sender| site.gate.borrow_mut().spend(clock::now().mono, sender, messages as u64));
    }

    fn as_sender<T>(&self, then: impl FnOnce(&mut Sender<'_>) -> T) -> T {
        let (mut throttle, user) = (self.throttle.borrow_mut(), self.user.borrow());
        then(&mut Sender { throttle: throttle.as_mut(), remote: self.remote, user: user.as_ref() })
    }
}
