//! Why a packet is answered as it is, and why a connection ends: the reason codes of MQTT 5.0, and what 3.1.1 has in their place.

use super::packet::Version;

/// A reason code (MQTT 5.0 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// It was done.
    Success = 0x00,
    /// It was done, and there was nothing to do.
    NoSubscription = 0x11,
    /// Something is wrong that no other code tells.
    Unspecified = 0x80,
    /// The bytes are no packet.
    Malformed = 0x81,
    /// The packet may not come here.
    Protocol = 0x82,
    /// This server does not do it.
    Implementation = 0x83,
    /// Another version of MQTT.
    Version = 0x84,
    /// The client identifier is not accepted.
    ClientId = 0x85,
    /// Wrong name or password.
    BadLogin = 0x86,
    /// Not allowed.
    NotAuthorized = 0x87,
    /// The server cannot serve.
    Unavailable = 0x88,
    /// Too much is going on; later again.
    Busy = 0x89,
    /// The server stops.
    ShuttingDown = 0x8B,
    /// The authentication method is not known.
    AuthMethod = 0x8C,
    /// Nothing came within the keep-alive.
    KeepAlive = 0x8D,
    /// Another connection has the client identifier.
    TakenOver = 0x8E,
    /// No topic filter.
    TopicFilter = 0x8F,
    /// No topic name that is taken here.
    TopicName = 0x90,
    /// There is no such packet identifier.
    NoPacketId = 0x92,
    /// More in flight than the receive maximum.
    ReceiveMaximum = 0x93,
    /// A topic alias that cannot be.
    TopicAlias = 0x94,
    /// The packet is larger than the server takes.
    TooLarge = 0x95,
    /// A bound of the configuration is reached.
    Quota = 0x97,
    /// The payload is not in the format that it has to be in.
    PayloadFormat = 0x99,
    /// No shared subscriptions here.
    SharedSubscription = 0x9E,
}

impl Reason {
    /// Its code in MQTT 5.0.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The return code of a CONNACK of 3.1.1 (§3.2.2.3), or the code of 5.0.
    pub fn of_connack(self, version: Version) -> u8 {
        match (version, self) {
            (Version::V5, _) => self.code(),
            (Version::V311, Reason::Success | Reason::NoSubscription) => 0,
            (Version::V311, Reason::Version) => 1,
            (Version::V311, Reason::ClientId) => 2,
            (Version::V311, Reason::BadLogin) => 4,
            (Version::V311, Reason::NotAuthorized | Reason::AuthMethod | Reason::TopicName) => 5,
            (
                Version::V311,
                Reason::Unspecified
                | Reason::Malformed
                | Reason::Protocol
                | Reason::Implementation
                | Reason::Unavailable
                | Reason::Busy
                | Reason::ShuttingDown
                | Reason::KeepAlive
                | Reason::TakenOver
                | Reason::TopicFilter
                | Reason::NoPacketId
                | Reason::ReceiveMaximum
                | Reason::TopicAlias
                | Reason::TooLarge
                | Reason::Quota
                | Reason::PayloadFormat
                | Reason::SharedSubscription,
            ) => 3,
        }
    }

    /// Whether it says that something failed.
    pub fn is_failure(self) -> bool {
        self.code() >= 0x80
    }
}

/// Meaning of a reason code of a broker (5.0 §2.4), for people.
pub fn words_of(code: u8) -> &'static str {
    match code {
        0x00 => "no reason was given",
        0x10 => "nobody is subscribed",
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "an error of its implementation",
        0x84 => "unsupported protocol version",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "the broker is unavailable",
        0x89 => "the broker is busy",
        0x8a => "banned",
        0x8b => "the broker stops",
        0x8d => "keep-alive timeout",
        0x8e => "another connection came with the same client id",
        0x8f => "topic filter not valid",
        0x90 => "topic name not valid",
        0x91 => "packet identifier in use",
        0x92 => "packet identifier not known",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias not valid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "an administrator ended it",
        0x99 => "payload format not valid",
        0x9a => "retained messages are not supported",
        0x9b => "this QoS is not supported",
        0x9c | 0x9d => "the broker sends us to another server",
        0x9e => "shared subscriptions are not supported",
        0x9f => "too many connections in too short a time",
        0xa0 => "maximum connect time",
        0xa1 => "subscription identifiers are not supported",
        0xa2 => "wildcards are not supported",
        _ => "a reason that is not known",
    }
}

/// Why the server ends a connection, or refuses one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// For the client.
    pub reason: Reason,
    /// For people.
    pub words: String,
}

impl Closing {
    /// With words for people.
    pub fn new(reason: Reason, words: impl Into<String>) -> Closing {
        Closing { reason, words: words.into() }
    }

    /// The bytes are no packet.
    pub(super) fn malformed(words: &str) -> Closing {
        Closing::new(Reason::Malformed, words)
    }

    /// The packet may not come.
    pub(super) fn protocol(words: &str) -> Closing {
        Closing::new(Reason::Protocol, words)
    }
}

impl std::fmt::Display for Closing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}
