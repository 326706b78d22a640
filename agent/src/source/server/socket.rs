//! The sockets that a server listens on: TCP, or Unix at a path.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use holdfast_core::config::server::UNIX;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use smol::future::or;
use smol::net::TcpListener;
use smol::net::unix::{UnixListener, UnixStream};
use smol::{Async, Timer};

use super::accept::Accepted;
use crate::net::{resolve, words};
use crate::os::private;

/// Longest path of a Unix socket (unix(7): `sun_path` has 108 bytes with its NUL).
const SOCKET_PATH_BYTES: usize = 107;
/// A name that is bound must have become addresses within this.
const NAME_TIMEOUT: Duration = Duration::from_secs(15);
/// A socket for sensors: owner and group may connect.
const FOR_GROUP: u32 = 0o660;
/// A socket that may do everything: nobody but the owner, and root.
const FOR_OWNER: u32 = 0o600;
/// Callers that may wait to be accepted, as the standard library has it.
const BACKLOG: i32 = 128;

/// How often the file of a socket is looked for when nothing tells that it may be gone.
const LOOK_EACH: Duration = Duration::from_secs(30);

/// The mode of the control socket at this path. In the runtime directory that systemd gave a service (its RUNTIME_DIRECTORY) the group
/// is the service's own, and its members are let in: the administrator has put them there. Elsewhere a group may be anybody.
pub fn control_mode(path: &Path, given: Option<&str>) -> u32 {
    let given = given.and_then(|directories| directories.split(':').find(|first| !first.is_empty()));
    if given.is_some_and(|given| path.parent() == Some(Path::new(given))) { FOR_GROUP } else { FOR_OWNER }
}

/// A socket that is bound.
#[derive(Clone)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// Unix, with its file.
    Unix(UnixListener, Rc<SocketFile>),
}

/// The file of a Unix socket; it goes with the last one that has it.
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: Option<(u64, u64)>,
}

impl SocketFile {
    fn of(path: &Path) -> SocketFile {
        SocketFile { path: path.to_owned(), id: id(path) }
    }

    /// Whether the socket is still reached by its path.
    fn is_there(&self) -> bool {
        id(&self.path) == self.id
    }

    /// Waits for a change in the directory of the file, but not for ever: a file system that is mounted over it is no change.
    async fn may_have_changed(&self) {
        let events =
            WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let watch = || -> io::Result<Async<OwnedFd>> {
            let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            inotify::add_watch(&watch, directory, events)?;
            Async::new(watch)
        };
        let change = async {
            match watch() {
                // It may have been removed before it was watched.
                Ok(watch) if self.is_there() => watch.readable().await.unwrap_or_default(),
                Ok(_) => {}
                Err(_) => smol::future::pending().await,
            }
        };
        or(change, async {
            Timer::after(LOOK_EACH).await;
        })
        .await;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Socket {
    /// Binds what `bind` names, also where one of the sockets that are about to be closed is in the way. The error is the cause
    /// alone.
    pub async fn bind(name: &str, leaving: &[&Socket]) -> Result<Socket, String> {
        match name.strip_prefix(UNIX) {
            Some(path) => Socket::bind_unix(Path::new(path), FOR_GROUP).await,
            None => or(Socket::bind_tcp(name, leaving), late()).await.map_err(|error| words(&error)),
        }
    }

    /// The first address that a name stands for and that can be bound.
    async fn bind_tcp(name: &str, leaving: &[&Socket]) -> io::Result<Socket> {
        let mut cause = None;
        for address in addresses(name).await? {
            let bound = match TcpListener::bind(address).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    beside(address, leaving).unwrap_or(Err(error))
                }
                bound => bound,
            };
            match bound {
                Ok(listener) => return Ok(Socket::Tcp(listener)),
                Err(error) => cause = cause.or(Some(error)),
            }
        }
        Err(cause.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }

    /// Binds a Unix socket whose file has this mode. A stale one in its place is replaced.
    pub async fn bind_unix(path: &Path, mode: u32) -> Result<Socket, String> {
        let length = path.as_os_str().as_bytes().len();
        if length > SOCKET_PATH_BYTES {
            return Err(format!("the path has {length} bytes, a socket's may have {SOCKET_PATH_BYTES}"));
        }
        match UnixStream::connect(path).await {
            Ok(_) => return Err("another agent is running there".to_owned()),
            // connect(2) says the same of a file that is no socket, and that one is not ours to remove.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
                std::fs::remove_file(path).map_err(|error| words(&error))?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(|error| words(&error))?;
        let file = Rc::new(SocketFile::of(path));
        private::set_mode(path, mode).map_err(|error| words(&error))?;
        Ok(Socket::Unix(listener, file))
    }

    /// Waits for the next caller.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Socket::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer))
            }
            Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }

    /// Waits until it is not reached any more by its path, which happens to Unix sockets only.
    pub async fn unreachable(&self) {
        let Socket::Unix(_, file) = self else { return smol::future::pending().await };
        while file.is_there() {
            file.may_have_changed().await;
        }
    }

    /// The address with the port that port 0 became; none of a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// Where it is reached: `http://127.0.0.1:9998`, or `unix:/run/x.sock`.
    pub fn url(&self, scheme: &str) -> String {
        match self {
            Socket::Tcp(listener) => {
                listener.local_addr().map_or(String::new(), |address| format!("{scheme}://{address}"))
            }
            Socket::Unix(_, file) => format!("{UNIX}{}", file.path.display()),
        }
    }
}

/// Binds an address on the port of sockets that are about to be closed: `0.0.0.0:9998` beside `127.0.0.1:9998`, which still takes what
/// comes there. None if none of them has that port. While it is bound both have SO_REUSEPORT (socket(7)), and not before or after,
/// so that no other program gets it.
fn beside(address: SocketAddr, leaving: &[&Socket]) -> Option<io::Result<TcpListener>> {
    let tcp = leaving.iter().filter_map(|socket| match socket {
        Socket::Tcp(listener) => Some(listener),
        Socket::Unix(..) => None,
    });
    let has_port =
        |listener: &&TcpListener| listener.local_addr().is_ok_and(|own| own.port() == address.port());
    let others: Vec<&TcpListener> = tcp.filter(has_port).collect();
    let share = |shared| others.iter().try_for_each(|other| sockopt::set_socket_reuseport(other, shared));
    let bind = || -> io::Result<TcpListener> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        share(true)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        net::bind(&socket, &address)?;
        net::listen(&socket, BACKLOG)?;
        sockopt::set_socket_reuseport(&socket, false)?;
        Async::new(std::net::TcpListener::from(socket)).map(TcpListener::from)
    };
    (!others.is_empty()).then(|| {
        let bound = bind();
        share(false)?;
        bound
    })
}

/// What `HOST:PORT` stands for.
async fn addresses(name: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let port = name.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = port.ok_or_else(|| io::Error::other("it is not ADDRESS:PORT"))?;
    resolve(host, port).await
}

async fn late() -> io::Result<Socket> {
    Timer::after(NAME_TIMEOUT).await;
    Err(io::Error::new(io::ErrorKind::TimedOut, "the resolver does not answer"))
}

fn id(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|facts| (facts.dev(), facts.ino()))
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_service_may_use_its_control_socket_and_no_other_group_may() {
        let mode = |path, given| control_mode(Path::new(path), given);
        assert_eq!(mode("/run/holdfast/control.sock", Some("/run/holdfast")), 0o660);
        assert_eq!(mode("/run/holdfast/control.sock", Some("/run/holdfast:/run/more")), 0o660);
        assert_eq!(mode("/run/holdfast/control.sock", None), 0o600);
        assert_eq!(mode("/home/me/data/control.sock", Some("/run/holdfast")), 0o600);
        assert_eq!(mode("/home/me/data/control.sock", Some("")), 0o600);
    }
}
