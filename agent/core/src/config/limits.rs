//! `[limits]`

use super::render::{self, Lines};
use super::server::Server;
use super::table::Table;
use super::value;

/// Memory for callers at the least.
const MEMORY: u64 = 32 << 20;
/// A message, and the copies that are made of it on its way.
const PER_MESSAGE_BYTE: u64 = 4;
/// Memory of an open connection; as much again is left for what it sends.
const PER_CONNECTION: u64 = 32 << 10;

/// `[limits]`: what the callers of all servers may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerLimits {
    /// Memory for what callers of all servers send, until it is stored, and for their connections. Where it is used up, a connection is not
    /// read until there is room, or it is refused with 503, or ended with 1013 when its message stays incomplete and others wait for its room.
    /// One address has half of what is left for messages. Where `limits.connections` and `limits.message_bytes` of the servers ask for more,
    /// more is the default: 32 KB a connection, and four times the largest message.
    pub memory: u64,
}

impl Default for CallerLimits {
    fn default() -> CallerLimits {
        CallerLimits { memory: MEMORY }
    }
}

impl CallerLimits {
    pub(super) fn read(table: &mut Table, servers: &[Server]) -> CallerLimits {
        CallerLimits { memory: table.value("memory", of(servers), value::bytes(1 << 20..=16 << 30)) }
    }

    pub(super) fn lines(&self) -> Lines {
        vec![("memory", Some(render::string(&render::bytes(self.memory))))]
    }
}

/// The memory that these servers need together.
fn of(servers: &[Server]) -> u64 {
    let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let active = || servers.iter().filter(|server| server.active).map(|server| server.limits);
    let connections: u64 = active().map(|limits| number(limits.connections)).sum();
    let largest = active().map(|limits| number(limits.message_bytes)).max().unwrap_or(0);
    MEMORY.max(connections.saturating_mul(PER_CONNECTION)).max(largest.saturating_mul(PER_MESSAGE_BYTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(connections: usize, message_bytes: usize) -> Server {
        let mut server = Server::of_index(0);
        (server.limits.connections, server.limits.message_bytes) = (connections, message_bytes);
        server
    }

    #[test]
    fn servers_that_ask_for_more_get_more_by_default() {
        assert_eq!(of(&[]), MEMORY);
        assert_eq!(of(&[server(256, 65_536)]), MEMORY);
        assert_eq!(of(&[server(2048, 65_536), server(2048, 1)]), 4096 * (32 << 10));
        assert_eq!(of(&[server(1, 16 << 20), server(1, 1)]), 64 << 20);
        let asleep = Server { active: false, ..server(100_000, 1) };
        assert_eq!(of(&[asleep]), MEMORY);
    }
}
