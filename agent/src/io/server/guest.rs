//! Who is at the other end of a connection, and how much may still come from there.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use holdfast_core::config::network::Remote;
use holdfast_core::source::gate::Sender;
use holdfast_core::source::throttle::Throttle;
use hyper::HeaderMap;

use super::Site;
use super::accept::Caller;
use super::memory::Share;
use crate::io::clock;
use crate::io::password::Sealed;

/// What a proxy adds to a request that it passes on.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// One connection's peer.
pub struct Guest {
    /// Whether its connection comes from this machine.
    local: bool,
    /// Where it is.
    pub remote: Remote,
    /// The address of this machine that it has called; none over a Unix socket.
    pub address: Option<IpAddr>,
    /// What it takes of the memory for callers.
    pub share: Rc<Share>,
    /// With what it has logged in.
    pub login: Cell<Option<Sealed>>,
    user: RefCell<Option<Rc<str>>>,
    throttle: RefCell<Throttle>,
}

impl Guest {
    /// Nobody knows yet who it is.
    pub fn new(site: &Site, caller: &Caller, share: Rc<Share>) -> Guest {
        let throttle = Throttle::new(site.limits.rate_per_client, clock::now().mono);
        let throttle = RefCell::new(throttle);
        Guest {
            local: caller.is_local(),
            remote: caller.remote(),
            address: caller.address(),
            share,
            login: Cell::new(None),
            user: RefCell::new(None),
            throttle,
        }
    }

    /// Whether this request comes from this machine, and not from another one through a proxy here, which says so in a header
    /// (RFC 7239, or the field's older ones).
    pub fn is_local(&self, headers: &HeaderMap) -> bool {
        self.local && !FORWARDED.iter().any(|name| headers.contains_key(*name))
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
    pub fn pass(&self, site: &Site, messages: usize) -> Result<usize, Duration> {
        let passing =
            self.as_sender(|sender| site.gate.borrow_mut().pass(clock::now().mono, sender, messages as u64))?;
        Ok(usize::try_from(passing).unwrap_or(messages))
    }

    /// So many messages came in with one that was let in before.
    pub fn spend(&self, site: &Site, messages: usize) {
        self.as_sender(|sender| site.gate.borrow_mut().spend(clock::now().mono, sender, messages as u64));
    }

    fn as_sender<T>(&self, then: impl FnOnce(&mut Sender<'_>) -> T) -> T {
        let (mut throttle, user) = (self.throttle.borrow_mut(), self.user.borrow());
        then(&mut Sender { throttle: &mut throttle, remote: self.remote, user: user.as_ref() })
    }
}
