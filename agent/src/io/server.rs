//! The local server: a WebSocket and HTTP listener for sensors, and the control socket. This file binds and serves; the
//! modules below take one connection each from the accept to its end.

mod accept;
mod api;
mod batch;
mod buffer;
mod connection;
mod http;
mod metrics;
mod parameter;
pub mod path;
mod session;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::TlsAcceptor;
use smol::LocalExecutor;
use smol::future::or;
use smol::net::TcpListener;
use smol::net::unix::{UnixListener, UnixStream};

use super::intake::Intake;
use super::net::words;
use super::tls;
use crate::config::server::{HttpPage, Limits, Server};
use crate::logic::intake::Draft;
use crate::logic::payload;
use crate::message::Format;

use accept::{Caller, Places, admit};

/// Bytes of HTTP bodies that one server holds at a time.
const BODY_BUDGET: usize = 16 << 20;
/// The same for the control socket, where the largest message may come again in its envelope.
const CONTROL_BODY_BUDGET: usize = 17 << 20;
/// Longest path of a Unix socket (unix(7): `sun_path` has 108 bytes with its NUL).
const SOCKET_PATH_BYTES: usize = 107;
/// Owner and group may connect.
const SOCKET_MODE: u32 = 0o660;
/// Whoever may open the control socket is trusted, but not with all memory.
const CONTROL_LIMITS: Limits = Limits {
    connections: 32,
    message_bytes: 65536,
    handshake_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(120),
};

/// A socket that stays open from one life of a server to the next.
#[derive(Debug, Clone)]
pub struct Kept {
    server: String,
    /// As `bind` names it.
    name: String,
    listener: TcpListener,
}

impl Kept {
    /// Whether it is what a server means by this name. Port 0 is another one for each server.
    fn serves(&self, server: &str, name: &str) -> bool {
        self.name == name && (self.server == server || !name.ends_with(":0"))
    }
}

/// The bound listeners of one `[[server]]`.
pub struct Listeners {
    server: String,
    /// As `bind` names them.
    names: Vec<String>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    acceptor: Option<TlsAcceptor>,
    router: path::Router,
}

impl Listeners {
    /// The bound addresses, in the order of `bind`, with the port that port 0 became.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The sockets, to be kept open for the next life of the server.
    pub fn kept(&self) -> impl Iterator<Item = Kept> {
        let named = self.names.iter().cloned().zip(self.listeners.iter().cloned());
        named.map(|(name, listener)| Kept { server: self.server.clone(), name, listener })
    }
}

/// Binds every address of a server, but those that are among the kept ones, and reads its certificate. The error names the
/// server and the address or file.
pub async fn bind(server: &Server, kept: &[Kept]) -> Result<Listeners, String> {
    let of = |error| format!("{error} (server {})", server.id);
    let acceptor =
        server.tls.as_ref().map(|tls| tls::acceptor(&tls.cert, &tls.key, tls.client_ca.as_deref()));
    let acceptor = acceptor.transpose().map_err(of)?;
    let router = path::Router::new(&server.routes, server.unmatched).map_err(of)?;
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for address in &server.bind {
        let cannot = |error: io::Error| {
            format!("cannot bind {address} (server.bind of {}): {}", server.id, words(&error))
        };
        let listener = match kept.iter().find(|kept| kept.serves(&server.id, address)) {
            Some(kept) => kept.listener.clone(),
            None => TcpListener::bind(address.as_str()).await.map_err(cannot)?,
        };
        addresses.push(listener.local_addr().map_err(cannot)?);
        listeners.push(listener);
    }
    let (server, names) = (server.id.clone(), server.bind.clone());
    Ok(Listeners { server, names, listeners, addresses, acceptor, router })
}

/// Serves until the intake stops. What is open then ends by itself within a few seconds.
pub async fn serve(
    listeners: Listeners,
    server: Rc<Server>,
    intake: Intake,
    executor: Rc<LocalExecutor<'static>>,
) {
    let source = format!("server:{}", server.id);
    let site = Rc::new(Site {
        router: listeners.router,
        page: server.http,
        origins: server.origins.clone(),
        acceptor: listeners.acceptor,
        ..Site::new(&source, server.limits, intake.clone(), executor.clone())
    });
    let tasks = listeners.listeners.into_iter().map(|listener| {
        let site = site.clone();
        executor.spawn(async move {
            admit(&site, async || {
                let (stream, peer) = listener.accept().await?;
                Ok(Caller::Tcp(stream, peer))
            })
            .await;
        })
    });
    let tasks: Vec<_> = tasks.collect();
    intake.stopping().await;
    drop(tasks);
}

/// Serves `/api` on a Unix socket until the intake stops, then removes it. A stale socket in its place is replaced.
pub async fn serve_control(
    path: PathBuf,
    intake: Intake,
    executor: Rc<LocalExecutor<'static>>,
) -> Result<(), String> {
    let listener = bind_control(&path).await?;
    let budget = Cell::new(CONTROL_BODY_BUDGET);
    let site = Site::new("control", CONTROL_LIMITS, intake.clone(), executor);
    let site = Rc::new(Site { api_only: true, budget, ..site });
    let accepting = admit(&site, async || {
        let (stream, _) = listener.accept().await?;
        Ok(Caller::Unix(stream))
    });
    or(accepting, intake.stopping()).await;
    let _ = std::fs::remove_file(&path);
    Ok(())
}

/// What all connections of one server share.
struct Site {
    router: path::Router,
    limits: Limits,
    page: HttpPage,
    origins: Vec<String>,
    acceptor: Option<TlsAcceptor>,
    source: Arc<str>,
    /// Nothing but `/api` is there.
    api_only: bool,
    intake: Intake,
    executor: Rc<LocalExecutor<'static>>,
    connections: Places,
    turned_away: Places,
    /// Bytes that bodies may still take.
    budget: Cell<usize>,
}

impl Site {
    fn new(source: &str, limits: Limits, intake: Intake, executor: Rc<LocalExecutor<'static>>) -> Site {
        Site {
            router: path::Router::default(),
            limits,
            page: HttpPage::Empty,
            origins: Vec::new(),
            acceptor: None,
            source: source.into(),
            api_only: false,
            intake,
            executor,
            connections: Places::new(limits.connections),
            turned_away: Places::new(accept::TURNED_AWAY),
            budget: Cell::new(BODY_BUDGET),
        }
    }

    /// Whether it shows how the agent is to whoever asks.
    fn tells(&self) -> bool {
        self.api_only || self.page == HttpPage::Status
    }

    /// Whether a page of this origin may talk to the server.
    fn lets_in(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|known| known == "*" || known.as_bytes().eq_ignore_ascii_case(origin))
    }

    /// Where the messages of a request go.
    fn target<B>(&self, request: &hyper::Request<B>) -> Result<path::Target, path::Miss> {
        self.router.target(request.uri().path(), request.uri().query(), request.headers())
    }

    fn draft(&self, target: &path::Target, format: Format, payload: Vec<u8>) -> Draft {
        Draft {
            topic: target.topic.clone(),
            device: target.device.clone(),
            source: self.source.clone(),
            format,
            payload,
            attributes: target.attributes.clone(),
            priority: target.priority,
        }
    }
}

async fn bind_control(path: &Path) -> Result<UnixListener, String> {
    let cannot = |cause: String| format!("cannot bind the control socket {}: {cause}", path.display());
    let length = path.as_os_str().as_bytes().len();
    if length > SOCKET_PATH_BYTES {
        return Err(cannot(format!("the path has {length} bytes, a socket's may have {SOCKET_PATH_BYTES}")));
    }
    match UnixStream::connect(path).await {
        Ok(_) => return Err(cannot("another agent is running there".to_owned())),
        // connect(2) says the same of a file that is no socket, and that one is not ours to remove.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
            std::fs::remove_file(path).map_err(|error| cannot(words(&error)))?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(|error| cannot(words(&error)))?;
    let mode = std::fs::Permissions::from_mode(SOCKET_MODE);
    std::fs::set_permissions(path, mode).map_err(|error| cannot(words(&error)))?;
    Ok(listener)
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}
