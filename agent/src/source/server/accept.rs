//! Door of a server: accepts callers, counts them, and turns away those over the limit.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use holdfast_core::config::network::Remote;
use holdfast_core::config::server::Protocol;
use holdfast_core::source::access::AccessControl;
use rustix::net::sockopt;
use smol::Timer;
use smol::future::{or, yield_now};
use smol::io::AsyncWriteExt;
use smol::net::TcpStream;
use smol::net::unix::UnixStream;

use super::ServerState;
use super::connection;
use super::linger::Linger;
use super::memory::Share;
use crate::net::{Stream, words};

/// How long a caller that is turned away may take for its answer.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that takes nothing of what is written to it for so long is gone, or as good as gone (tcp(7)).
const USER_TIMEOUT_MS: u32 = 30_000;
/// A peer that says nothing for so long is asked by the kernel whether it is there: MQTT has clients without a keep-alive.
const KEEP_IDLE: Duration = Duration::from_secs(120);
const TOO_MANY: &str =
    r#"{"error":"too many connections are open: limits.connections of this server bounds them"}"#;
const USED_UP: &str = r#"{"error":"no descriptors are left for callers"}"#;
const TOO_MANY_OF_ONE: &str = r#"{"error":"too many connections of this address are open: limits.connections_per_ip of this server bounds them"}"#;

const NO_MEMORY: &str = r#"{"error":"no memory is left for another connection: limits.memory bounds it"}"#;
/// Memory of a connection that sends nothing: the head of a request, buffers, its tasks.
const CONNECTION_BYTES: usize = 16 * 1024;
/// The same with TLS, which holds a record each way.
const TLS_BYTES: usize = 48 * 1024;

/// Someone who has connected.
pub enum Accepted {
    /// Over TCP.
    Tcp(TcpStream, SocketAddr),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Counted places, free again when the token is dropped.
#[derive(Debug)]
pub struct Places {
    taken: Rc<()>,
    most: usize,
}

impl Places {
    /// With this many places.
    pub fn new(most: usize) -> Places {
        Places { taken: Rc::new(()), most }
    }

    /// A place, if one is free.
    pub fn take(&self) -> Option<Rc<()>> {
        (Rc::strong_count(&self.taken) <= self.most).then(|| self.taken.clone())
    }
}

/// Place of a connection, free again when it is dropped.
struct ConnectionPermit {
    site: Rc<ServerState>,
    of_remote: Option<RemotePlace>,
    of_all: Option<Rc<()>>,
}

/// Place of a connection of one address, free again when it is dropped.
pub struct RemotePlace {
    gate: Rc<RefCell<AccessControl>>,
    remote: Remote,
}

impl RemotePlace {
    /// None if the address has as many as it may.
    pub fn take(gate: &Rc<RefCell<AccessControl>>, remote: Remote) -> Option<RemotePlace> {
        let is_in = gate.borrow_mut().connected(remote);
        is_in.then(|| RemotePlace { gate: gate.clone(), remote })
    }
}

impl Drop for RemotePlace {
    fn drop(&mut self) {
        self.gate.borrow_mut().left(self.remote);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        (self.of_remote, self.of_all) = (None, None);
        self.site.room.left();
    }
}

/// Lets callers in for ever. While there are no descriptors for them, they wait in the queue of the kernel.
pub async fn admit(site: &Rc<ServerState>, next: impl AsyncFn() -> io::Result<Accepted>) {
    let mut told = false;
    let mut tell = |cause: &str| {
        let level = if told { log::Level::Debug } else { log::Level::Warn };
        log::log!(level, "cannot accept a connection source={}: {cause}", site.source);
        told = true;
    };
    loop {
        match next().await {
            Ok(caller) if site.room.keeps(&caller, site.api_only) => {
                tell("no descriptors are left for callers (limits.connections, LimitNOFILE= of the unit)");
                turn_away(site, caller, USED_UP, &site.room.turned_away);
                site.room.wait().await;
            }
            Ok(caller) => receive(site, caller),
            Err(error) if is_of_the_caller(&error) => {}
            Err(error) => {
                tell(&words(&error));
                site.room.wait().await;
            }
        }
        yield_now().await;
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Accepted::Tcp(stream, _) => stream.as_fd(),
            Accepted::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Accepted {
    /// Its own address; none over a Unix socket.
    pub fn peer(&self) -> Option<IpAddr> {
        match self {
            Accepted::Tcp(_, peer) => Some(peer.ip().to_canonical()),
            Accepted::Unix(_) => None,
        }
    }

    /// The address of this machine that it has called; none over a Unix socket.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Accepted::Tcp(stream, peer) => {
                Some(stream.local_addr().map_or(peer.ip(), |own| own.ip()).to_canonical())
            }
            Accepted::Unix(_) => None,
        }
    }

    /// The machine that it is on.
    pub fn remote(&self) -> Remote {
        match self {
            Accepted::Tcp(_, peer) => Remote::of(peer.ip()),
            Accepted::Unix(_) => Remote::Here,
        }
    }

    /// The first byte that comes, which stays to be read; none over a Unix socket, or if nothing comes.
    pub async fn first(&self) -> io::Result<Vec<u8>> {
        let mut first = [0];
        let length = match self {
            Accepted::Tcp(stream, _) => stream.peek(&mut first).await?,
            Accepted::Unix(_) => 0,
        };
        Ok(first[..length].to_vec())
    }

    /// The bare connection.
    pub fn into_stream(self) -> io::Result<Stream> {
        match self {
            Accepted::Tcp(stream, _) => {
                stream.set_nodelay(true)?;
                sockopt::set_tcp_user_timeout(&stream, USER_TIMEOUT_MS)?;
                sockopt::set_socket_keepalive(&stream, true)?;
                sockopt::set_tcp_keepidle(&stream, KEEP_IDLE)?;
                Ok(Box::new(stream))
            }
            Accepted::Unix(stream) => Ok(Box::new(stream)),
        }
    }
}

/// The caller has gone before it was accepted (accept(2)).
fn is_of_the_caller(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

fn receive(site: &Rc<ServerState>, caller: Accepted) {
    if let Accepted::Tcp(_, peer) = &caller
        && !site.gate.borrow_mut().lets_in(peer.ip())
    {
        log::debug!("network denied source={} from={}", site.source, peer.ip().to_canonical());
        return;
    }
    match place(site, &caller) {
        Ok((place, share)) => {
            let connection = connection::run(site.clone(), caller, share);
            let task = async move {
                connection.await;
                drop(place);
            };
            site.executor.spawn(task).detach();
        }
        Err(too_many) => turn_away(site, caller, too_many, &site.turned_away),
    }
}

/// Counts a caller, and answers it if one of `places` is free.
fn turn_away(site: &Rc<ServerState>, caller: Accepted, why: &'static str, places: &Places) {
    site.gate.borrow_mut().counts.denied_connections += 1;
    log::debug!("too many connections source={} from={}", site.source, caller.remote());
    // Behind TLS an answer would cost a handshake, and MQTT has none before CONNECT.
    if site.certificate.is_none()
        && site.protocol == Protocol::Http
        && let Some(place) = places.take()
    {
        let task = async move {
            or(answer(caller, why), late()).await;
            drop(place);
        };
        site.executor.spawn(task).detach();
    }
}

/// A place for one more, or what is said if there is none. A trusted proxy connects for many: what each of them has is counted by request.
fn place(site: &Rc<ServerState>, caller: &Accepted) -> Result<(ConnectionPermit, Rc<Share>), &'static str> {
    let remote = caller.remote();
    let of_all = site.connections.take().ok_or(TOO_MANY)?;
    let bytes = if site.certificate.is_some() { TLS_BYTES } else { CONNECTION_BYTES };
    let share = site.memory.open(remote, bytes).ok_or(NO_MEMORY)?;
    let is_proxy = site.gate.borrow().trusts(caller.peer());
    let of_remote = if is_proxy { None } else { RemotePlace::take(&site.gate, remote) };
    if of_remote.is_none() && !is_proxy {
        return Err(TOO_MANY_OF_ONE);
    }
    Ok((ConnectionPermit { site: site.clone(), of_remote, of_all: Some(of_all) }, share))
}

async fn late() {
    Timer::after(TURN_AWAY_TIMEOUT).await;
}

/// Answers so that the caller sees it.
async fn answer(caller: Accepted, too_many: &str) {
    let Ok(stream) = caller.into_stream() else { return };
    let mut stream = Linger::new(stream);
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{too_many}",
        too_many.len()
    );
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        let _ = stream.close().await;
    }
}
