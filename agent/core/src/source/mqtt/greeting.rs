//! Outcome of a CONNECT: whether it can be accepted, and under which terms.

use std::time::Duration;

use super::packet::{ConnAck, Connect, Terms, Version};
use super::reason::{Closing, Reason};
use crate::time::Time;

/// Longest client identifier in bytes; it is kept with the session.
const CLIENT_ID_BYTES: usize = 256;
/// Longest life of a session without a connection: it lies in memory.
pub const EXPIRY_MAX: Duration = Duration::from_secs(24 * 3600);
/// Room of a packet for what is not payload: topic and properties.
const REST_BYTES: usize = 8 * 1024;

/// Largest packet for messages of so many bytes.
pub fn packet_max(message_bytes: usize) -> usize {
    message_bytes + REST_BYTES
}

/// Fault of a CONNECT, independent of its sender.
pub fn check(connect: &Connect) -> Result<(), Closing> {
    let id = &connect.client_id;
    if connect.auth_method.is_some() {
        return Err(Closing::new(Reason::AuthMethod, "only name and password are asked for here"));
    }
    if id.len() > CLIENT_ID_BYTES || id.contains(char::is_control) {
        let words =
            format!("a client identifier may have {CLIENT_ID_BYTES} bytes at most, and no control character");
        return Err(Closing::new(Reason::ClientId, words));
    }
    // 3.1.1 §3.1.3.1.
    if id.is_empty() && !connect.clean && connect.version == Version::V311 {
        return Err(Closing::new(
            Reason::ClientId,
            "without a client identifier the session must be a clean one",
        ));
    }
    Ok(())
}

/// How long the session outlives its connection, as CONNECT asks for and as it is granted.
pub fn expiry(connect: &Connect) -> Duration {
    match (connect.version, connect.clean) {
        (Version::V311, true) => Duration::ZERO,
        (Version::V311, false) => EXPIRY_MAX,
        (Version::V5, _) => granted(connect.expiry_s),
    }
}

/// Session expiry of 5.0 that is granted.
pub fn granted(expiry_s: u32) -> Duration {
    Duration::from_secs(u64::from(expiry_s)).min(EXPIRY_MAX)
}

/// How long after the end of its connection the will of a client is published: with the end of the session at the latest.
pub fn will_delay(delay_s: u32, expiry: Duration) -> Duration {
    Duration::from_secs(u64::from(delay_s)).min(expiry)
}

/// The keep-alive in force: a client of 5.0 without one gets that of the server, one of 3.1.1 cannot be told.
pub fn keep_alive_s(connect: &Connect, idle_timeout: Duration) -> u16 {
    match (connect.version, connect.keep_alive_s) {
        (Version::V5, 0) => u16::try_from(idle_timeout.as_secs().max(1)).unwrap_or(u16::MAX),
        (Version::V311 | Version::V5, seconds) => seconds,
    }
}

/// The answer to a CONNECT that is accepted. `given`: the client identifier that the server made.
pub fn accepted(
    connect: &Connect,
    session_present: bool,
    given: Option<&str>,
    inflight: u16,
    packet_max: usize,
    idle_timeout: Duration,
) -> ConnAck {
    let granted = u32::try_from(expiry(connect).as_secs()).unwrap_or(u32::MAX);
    let keep_alive_s = keep_alive_s(connect, idle_timeout);
    let terms = Terms {
        expiry_s: Some(granted).filter(|granted| *granted != connect.expiry_s),
        receive_max: inflight,
        packet_max: u32::try_from(packet_max).unwrap_or(u32::MAX),
        client_id: given.map(str::to_owned),
        keep_alive_s: Some(keep_alive_s).filter(|seconds| *seconds != connect.keep_alive_s),
    };
    ConnAck { session_present, reason: Reason::Success, words: String::new(), terms: Some(terms) }
}

/// The answer to one that is not.
pub fn refused(closing: &Closing) -> ConnAck {
    ConnAck { session_present: false, reason: closing.reason, words: closing.words.clone(), terms: None }
}

/// Watches the keep-alive of a connection (3.1.1 §3.1.2.10): one and a half of it, and the client is gone.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    patience: Option<Duration>,
    heard_at: Time,
}

impl KeepAlive {
    /// From here on; 0 seconds are for ever.
    pub fn new(seconds: u16, now: Time) -> KeepAlive {
        let patience = Duration::from_secs(u64::from(seconds)) * 3 / 2;
        KeepAlive { patience: Some(patience).filter(|patience| !patience.is_zero()), heard_at: now }
    }

    /// A packet came.
    pub fn heard(&mut self, now: Time) {
        self.heard_at = now;
    }

    /// When the client is gone if nothing comes.
    pub fn deadline(&self) -> Option<Time> {
        self.patience.map(|patience| self.heard_at + patience)
    }
}
