//! The sockets that a server listens on: TCP, or Unix at a path.

use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use smol::net::TcpListener;
use smol::net::unix::{UnixListener, UnixStream};

use super::accept::Caller;
use crate::config::server::UNIX;
use crate::io::net::words;

/// Longest path of a Unix socket (unix(7): `sun_path` has 108 bytes with its NUL).
const SOCKET_PATH_BYTES: usize = 107;
/// Owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// A socket that is bound.
#[derive(Clone)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// Unix, with its file.
    Unix(UnixListener, Rc<SocketFile>),
}

/// The file of a Unix socket; it goes with the last one that has it.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Binds what `bind` names. The error is the cause alone.
    pub async fn bind(name: &str) -> Result<Socket, String> {
        match name.strip_prefix(UNIX) {
            Some(path) => Socket::bind_unix(Path::new(path)).await,
            None => TcpListener::bind(name).await.map(Socket::Tcp).map_err(|error| words(&error)),
        }
    }

    /// Binds a Unix socket. A stale one in its place is replaced.
    pub async fn bind_unix(path: &Path) -> Result<Socket, String> {
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
        let file = Rc::new(SocketFile(path.to_owned()));
        let mode = std::fs::Permissions::from_mode(SOCKET_MODE);
        std::fs::set_permissions(path, mode).map_err(|error| words(&error))?;
        Ok(Socket::Unix(listener, file))
    }

    /// Waits for the next caller.
    pub async fn accept(&self) -> io::Result<Caller> {
        match self {
            Socket::Tcp(listener) => listener.accept().await.map(|(stream, peer)| Caller::Tcp(stream, peer)),
            Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Caller::Unix(stream)),
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
    pub fn url(&self, secure: bool) -> String {
        let scheme = if secure { "https" } else { "http" };
        match self {
            Socket::Tcp(listener) => {
                listener.local_addr().map_or(String::new(), |address| format!("{scheme}://{address}"))
            }
            Socket::Unix(_, file) => format!("{UNIX}{}", file.0.display()),
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}
