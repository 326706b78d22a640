//! The clients of a server: their sessions, and the connection that each has. A client that connects again ends the connection before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use holdfast_core::source::mqtt::session::Session;
use holdfast_core::source::mqtt::sessions::{Opening, Owner, Sessions};
use smol::channel::{Receiver, Sender, bounded};

use crate::os::clock;

/// All clients of a server.
#[derive(Debug)]
pub struct Clients {
    sessions: RefCell<Sessions>,
    connected: RefCell<BTreeMap<u64, Connected>>,
}

/// How a connection is told to end, and how it is seen to have ended.
#[derive(Debug)]
struct Connected {
    evict: Option<Sender<Infallible>>,
    ended: Receiver<Infallible>,
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
}

impl Clients {
    /// None yet, and so many sessions without a connection at most.
    pub fn new(parked_max: usize) -> Rc<Clients> {
        let sessions = RefCell::new(Sessions::new(parked_max));
        Rc::new(Clients { sessions, connected: RefCell::default() })
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
        let ((evict, evicted), (_ended, ended)) = (bounded(1), bounded(1));
        self.connected.borrow_mut().insert(number, Connected { evict: Some(evict), ended });
        Held { clients: self.clone(), owner: owner.clone(), number, evicted, expiry, _ended }
    }
}

impl Held {
    /// The connection has ended, and left the session so. Returns whose it was.
    pub fn close(self, session: Session) -> Owner {
        let now = clock::now().mono;
        self.clients.sessions.borrow_mut().close(now, &self.owner, self.number, Some(session), self.expiry);
        self.owner.clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A connection that was cut off within leaves nothing behind.
        let now = clock::now().mono;
        self.clients.sessions.borrow_mut().close(now, &self.owner, self.number, None, Duration::ZERO);
        self.clients.connected.borrow_mut().remove(&self.number);
    }
}
