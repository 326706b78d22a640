//! The clients of a server: their sessions, and the connection that each has. A client that connects again ends the connection before.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::config::server::Server;
use holdfast_core::message::Message;
use holdfast_core::source::mqtt::downlink::Downlink;
use holdfast_core::source::mqtt::grant::{Grant, Grants};
use holdfast_core::source::mqtt::packet::{Connect, Outgoing, Subscribe};
use holdfast_core::source::mqtt::session::Session;
use holdfast_core::source::mqtt::sessions::{Opening, Owner, Sessions};
use smol::channel::{Receiver, Sender, bounded};

use super::super::memory::Pool;
use crate::os::clock;

/// All clients of a server.
#[derive(Debug)]
pub struct Clients {
    sessions: RefCell<Sessions>,
    connected: RefCell<BTreeMap<u64, Connected>>,
    grants: Grants,
    memory: Rc<Pool>,
    /// Bytes of that memory which the sessions take.
    kept: Cell<usize>,
}

/// How a connection is told to end, and how it is seen to have ended.
#[derive(Debug)]
struct Connected {
    evict: Option<Sender<Infallible>>,
    ended: Receiver<Infallible>,
    wake: Sender<()>,
}

/// The session of a client, as long as its connection has it.
pub struct Held {
    clients: Rc<Clients>,
    owner: Owner,
    number: u64,
    /// Closed when another connection of the client waits for the session.
    pub evicted: Receiver<Infallible>,
    /// How long the session is kept from its end on.
    pub expiry: Duration,
    _ended: Sender<Infallible>,
    woken: Receiver<()>,
}

/// What goes to a client, as its connection takes it.
pub struct Outbound {
    clients: Rc<Clients>,
    owner: Owner,
    number: u64,
    grant: Grant,
    woken: Receiver<()>,
}

impl Clients {
    /// None yet, and so many sessions without a connection at most, whose memory is a part of this one.
    pub fn new(parked_max: usize, grants: Grants, memory: Rc<Pool>) -> Rc<Clients> {
        let sessions = RefCell::new(Sessions::new(parked_max));
        Rc::new(Clients { sessions, connected: RefCell::default(), grants, memory, kept: Cell::default() })
    }

    /// Those of a server.
    pub fn of(server: &Server, memory: Rc<Pool>) -> Rc<Clients> {
        Clients::new(server.limits.connections, Grants::of(server), memory)
    }

    /// Hands a message to those that have subscribed to it.
    pub fn route(&self, message: &Arc<Message>) {
        let woken = self.sessions.borrow_mut().route(clock::now().mono, message);
        self.account();
        let connected = self.connected.borrow();
        for number in woken {
            // A connection that was woken already has one in its queue.
            let _ = connected.get(&number).map(|connected| connected.wake.try_send(()));
        }
    }

    /// Takes as much of the memory as the sessions need, for which the least valuable gives way.
    fn account(&self) {
        let mut sessions = self.sessions.borrow_mut();
        loop {
            let weight = sessions.weight();
            if self.memory.keep(self.kept.get(), weight) {
                self.kept.set(weight);
                break;
            }
            if !sessions.give_way(clock::now().mono) {
                break;
            }
        }
        let lost = sessions.take_lost();
        if lost > 0 {
            log::debug!(
                "messages for sensors were given up: they waited too long, or too many did count={lost}"
            );
        }
    }

    /// Waits until a client has its session, for which the connection that has it must end, and gives what was kept of it.
    pub async fn open(
        self: &Rc<Clients>,
        owner: &Owner,
        clean: bool,
        expiry: Duration,
    ) -> (Held, Option<Session>) {
        loop {
            let opening = self.sessions.borrow_mut().open(clock::now().mono, owner, clean);
            let number = match opening {
                Opening::Open { number, kept } => return (self.hold(owner, number, expiry), kept),
                Opening::Taken(number) => number,
            };
            let ended = self.connected.borrow_mut().get_mut(&number).map(|connected| {
                connected.evict = None;
                connected.ended.clone()
            });
            if let Some(ended) = ended {
                // Nothing is ever sent: the sender goes.
                let _ = ended.recv().await;
            }
        }
    }

    /// Whether a client is connected.
    pub fn is_connected(&self, owner: &Owner) -> bool {
        self.sessions.borrow().is_connected(owner)
    }

    fn hold(self: &Rc<Clients>, owner: &Owner, number: u64, expiry: Duration) -> Held {
        let ((evict, evicted), (_ended, ended), (wake, woken)) = (bounded(1), bounded(1), bounded(1));
        self.connected.borrow_mut().insert(number, Connected { evict: Some(evict), ended, wake });
        self.account();
        Held { clients: self.clone(), owner: owner.clone(), number, evicted, expiry, _ended, woken }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.memory.keep(self.kept.get(), 0);
    }
}

impl Held {
    /// What goes to the client from here on, on the terms of its CONNECT. What it has not acknowledged comes again.
    pub fn outbound(&self, connect: &Connect) -> Outbound {
        let (user, id) = &self.owner;
        let outbound = Outbound {
            clients: self.clients.clone(),
            owner: self.owner.clone(),
            number: self.number,
            grant: self.clients.grants.to(id, user.as_deref()),
            woken: self.woken.clone(),
        };
        outbound.with(|downlink| downlink.resume(connect.version, connect.receive_max, connect.packet_max));
        outbound
    }

    /// The connection has ended, and left the session so. Returns whose it was.
    pub fn close(self, session: Session) -> Owner {
        let now = clock::now().mono;
        self.clients.sessions.borrow_mut().close(now, &self.owner, self.number, Some(session), self.expiry);
        self.clients.account();
        self.owner.clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A connection that was cut off within leaves nothing behind.
        let now = clock::now().mono;
        self.clients.sessions.borrow_mut().close(now, &self.owner, self.number, None, Duration::ZERO);
        self.clients.account();
        self.clients.connected.borrow_mut().remove(&self.number);
    }
}

impl Outbound {
    /// Waits until there may be something to send.
    pub async fn woken(&self) {
        if self.woken.recv().await.is_err() {
            smol::future::pending().await
        }
    }

    /// The next message.
    pub fn next(&self) -> Option<Outgoing> {
        self.with(|downlink| downlink.next(clock::now().mono)).flatten()
    }

    /// Nothing is sent for now: what was sent and acknowledged takes no memory any more.
    pub fn rest(&self) {
        self.clients.account();
    }

    /// The client wants messages. Returns the code for each filter.
    pub fn subscribe(&self, subscribe: &Subscribe) -> Vec<u8> {
        let codes = self.with(|downlink| downlink.subscribe(&self.grant, subscribe)).unwrap_or_default();
        self.clients.account();
        codes
    }

    /// The client wants them no more. Returns the code for each filter.
    pub fn unsubscribe(&self, filters: &[String]) -> Vec<u8> {
        let codes = self.with(|downlink| downlink.unsubscribe(filters)).unwrap_or_default();
        self.clients.account();
        codes
    }

    /// The client has a message.
    pub fn acknowledged(&self, id: u16) {
        self.with(|downlink| downlink.acknowledged(id));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Downlink) -> T) -> Option<T> {
        self.clients.sessions.borrow_mut().downlink(&self.owner, self.number).map(act)
    }
}
