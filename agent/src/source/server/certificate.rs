//! The certificate of a server, which is taken anew when its files have changed. A renewal that is broken changes nothing.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use futures_rustls::TlsAcceptor;
use holdfast_core::config::server::ServerTls;
use holdfast_core::time::Time;

use crate::net::tls::{self, Identity};
use crate::os::clock;

/// The files are looked at when someone comes, but not more often than this.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A server's certificate with its key.
pub struct Certificate {
    server: String,
    tls: ServerTls,
    state: RefCell<State>,
}

struct State {
    identity: Identity,
    /// Of the files that are in force, or were found broken.
    stamp: Stamp,
    looked_at: Time,
    /// Certificate and key are written one after the other: a fault counts when it is still there at the next look.
    fault: Option<(String, bool)>,
}

/// Facts that change with a file: device, inode, size and time. None if it is not there.
type Stamp = Vec<Option<(u64, u64, u64, i64, i64)>>;

impl Certificate {
    /// Reads the files. The error names the one that is at fault.
    pub fn load(server: &str, tls: &ServerTls) -> Result<Certificate, String> {
        let (stamp, looked_at) = (stamp(tls), clock::now().mono);
        let identity = tls::identity(tls)?;
        if let Some(warning) = identity.warning(clock::now()) {
            log::warn!("{warning} (server {server})");
        }
        let state = RefCell::new(State { identity, stamp, looked_at, fault: None });
        Ok(Certificate { server: server.to_owned(), tls: tls.clone(), state })
    }

    /// For the next handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut state = self.state.borrow_mut();
        let now = clock::now().mono;
        if now.since(state.looked_at) >= LOOK_INTERVAL {
            state.looked_at = now;
            self.look(&mut state);
        }
        state.identity.acceptor.clone()
    }

    /// Whether the one in force names this host.
    pub fn is_for(&self, name: &str) -> bool {
        self.state.borrow().identity.is_for(name)
    }

    /// Days until the one in force ends.
    pub fn days_left(&self) -> Option<i64> {
        self.state.borrow().identity.days_left(clock::now())
    }

    /// Fault of the files that were to renew it.
    pub fn fault(&self) -> Option<String> {
        self.state.borrow().fault.as_ref().filter(|(_, told)| *told).map(|(fault, _)| fault.clone())
    }

    fn look(&self, state: &mut State) {
        let found = stamp(&self.tls);
        let is_suspect = state.fault.as_ref().is_some_and(|(_, told)| !told);
        if found == state.stamp && !is_suspect {
            return;
        }
        state.stamp = found;
        match tls::identity(&self.tls) {
            Ok(identity) => {
                let days = identity
                    .days_left(clock::now())
                    .map_or(String::new(), |days| format!(" days_left={days}"));
                log::info!("certificate renewed server={}{days}", self.server);
                if let Some(warning) = identity.warning(clock::now()) {
                    log::warn!("{warning} (server {})", self.server);
                }
                (state.identity, state.fault) = (identity, None);
            }
            Err(fault) if is_suspect => {
                log::error!(
                    "cannot renew the certificate, the one in force stays: {fault} (server {})",
                    self.server
                );
                state.fault = Some((fault, true));
            }
            Err(fault) => state.fault = Some((fault, false)),
        }
    }
}

fn stamp(tls: &ServerTls) -> Stamp {
    let of = |path: &Path| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.dev(), facts.ino(), facts.size(), facts.mtime(), facts.mtime_nsec()))
    };
    [Some(&*tls.cert), Some(&*tls.key), tls.client_ca.as_deref()].into_iter().flatten().map(of).collect()
}
