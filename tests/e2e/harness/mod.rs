//! Parts of the tests: processes that end with their test, conditions that are waited for, and the peers.

mod agent;
mod broker;
mod certificate;
mod http;
mod name_server;
mod peer;
mod process;
mod proxy;
mod terminal;

use std::fmt::Debug;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use agent::{Agent, uplink};
pub use broker::Broker;
pub use certificate::{Authority, Files};
pub use http::{Http, curl};
pub use name_server::NameServer;
pub use peer::{Peer, WebSocketSender, python};
pub use process::Running;
pub use proxy::Proxy;
pub use terminal::Terminal;

const PAUSE: Duration = Duration::from_millis(10);
/// Far above what anything takes, so that a slow machine is not a failure.
const PAUSES: usize = 3_000;

/// Waits until there is something, and gives it. Fails with `what` when there is nothing within 30 s.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PAUSES {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("waited in vain: {what}");
}

/// Waits until the condition holds. Fails with `what` when it does not within 30 s.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `look` gives exactly this. Fails with what it gave last.
pub fn wait_for_value<T: PartialEq + Debug>(expected: &T, mut look: impl FnMut() -> T) {
    let mut seen = look();
    for _ in 0..PAUSES {
        if seen == *expected {
            return;
        }
        std::thread::sleep(PAUSE);
        seen = look();
    }
    assert_eq!(seen, *expected, "waited in vain");
}

/// A directory that vanishes with its test.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

/// A port where nobody listens, that no other test gets, and that the kernel gives to no outgoing connection, so that it is
/// still free when its peer comes back.
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ports = (0..COUNT).map(|_| {
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        u16::try_from(FIRST + number % COUNT).expect("it is below 65536")
    });
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("some port is free")
}

/// The lines of a file; none while it does not exist.
pub fn lines_of(path: &Path) -> Vec<String> {
    let text = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

/// `m-0`, `m-1`, … `m-(count - 1)`
pub fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m-{number}")).collect()
}
