//! Packets as values: those that clients send, and those that the server answers with.

use std::sync::Arc;

use super::reason::Reason;
use crate::message::Message;

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 3.1.1, protocol level 4.
    V311,
    /// 5.0.
    V5,
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum QoS {
    /// 0: nothing is acknowledged.
    AtMostOnce = 0,
    /// 1: acknowledged by PUBACK.
    AtLeastOnce = 1,
    /// 2: acknowledged by PUBREC, released by PUBREL.
    ExactlyOnce = 2,
}

impl QoS {
    /// As packets have it.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The first one.
    Connect(Box<Connect>),
    /// A message.
    Publish(Publish),
    /// A message of ours is acknowledged.
    PubAck(u16),
    /// A message of QoS 2 is released.
    PubRel(u16),
    /// Wants messages.
    Subscribe(Subscribe),
    /// Wants them no more.
    Unsubscribe {
        /// Packet identifier.
        id: u16,
        /// At least one.
        filters: Vec<String>,
    },
    /// Is there.
    PingReq,
    /// Goes, with order.
    Disconnect {
        /// Whether its will is to be published all the same (MQTT 5.0 §3.14.2.1).
        with_will: bool,
        /// Another session expiry than CONNECT has named, in seconds.
        expiry_s: Option<u32>,
    },
}

/// CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Spoken from here on.
    pub version: Version,
    /// May be empty.
    pub client_id: String,
    /// Clean session of 3.1.1, clean start of 5.0.
    pub clean: bool,
    /// In seconds; 0 is none.
    pub keep_alive_s: u16,
    /// Published when it goes without order.
    pub will: Option<Will>,
    /// Name, if there is one.
    pub username: Option<String>,
    /// Password, if there is one.
    pub password: Option<Vec<u8>>,
    /// How long the session outlives the connection, in seconds; only in 5.0.
    pub expiry_s: u32,
    /// How many messages of ours may be in flight.
    pub receive_max: u16,
    /// Largest packet that it takes.
    pub packet_max: u32,
    /// Whether it wants words beside reason codes in all packets.
    pub wants_words: bool,
    /// It wants another authentication than name and password.
    pub auth_method: Option<String>,
}

/// The last will of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Message that is published.
    pub publish: Publish,
    /// How long after the end of the connection, in seconds.
    pub delay_s: u32,
}

/// PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Topic name, without wildcards.
    pub topic: String,
    /// How it is to be acknowledged.
    pub qos: QoS,
    /// Packet identifier; 0 with QoS 0.
    pub id: u16,
    /// It may have been sent before.
    pub dup: bool,
    /// A broker would keep it.
    pub retain: bool,
    /// The bytes as they came.
    pub payload: Vec<u8>,
    /// It says that its payload is UTF-8.
    pub is_text: bool,
    /// After so many seconds it is of no use any more.
    pub expiry_s: Option<u32>,
    /// In the order in which they came.
    pub user_properties: Vec<(String, String)>,
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Packet identifier.
    pub id: u16,
    /// Each filter with the QoS at most; at least one.
    pub filters: Vec<(String, QoS)>,
    /// Subscription identifier that each message that comes of it shall have.
    pub number: Option<u32>,
}

/// Packet of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To CONNECT.
    ConnAck(ConnAck),
    /// To PUBLISH with QoS 1.
    PubAck(Acknowledgement),
    /// To PUBLISH with QoS 2.
    PubRec(Acknowledgement),
    /// To PUBREL.
    PubComp(Acknowledgement),
    /// A message.
    Publish(Outgoing),
    /// To SUBSCRIBE, with a code for each filter.
    SubAck(u16, Vec<u8>),
    /// To UNSUBSCRIBE, with a code for each filter in 5.0.
    UnsubAck(u16, Vec<u8>),
    /// To PINGREQ.
    PingResp,
    /// The end, in 5.0.
    Disconnect {
        /// Why.
        reason: Reason,
        /// For people.
        words: String,
    },
}

/// A message for a client. It is never one that was retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Topic, payload and attributes.
    pub message: Arc<Message>,
    /// How it is to be acknowledged.
    pub qos: QoS,
    /// Packet identifier; 0 with QoS 0.
    pub id: u16,
    /// It may have been sent before.
    pub dup: bool,
    /// Identifiers of the subscriptions that it comes of.
    pub numbers: Vec<u32>,
    /// Seconds after which it is of no use any more.
    pub expiry_s: Option<u32>,
}

/// An answer to one packet identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The packet identifier.
    pub id: u16,
    /// Outcome; 3.1.1 knows only success.
    pub reason: Reason,
    /// For people.
    pub words: String,
}

impl Acknowledgement {
    /// It is done.
    pub fn of(id: u16) -> Acknowledgement {
        Acknowledgement { id, reason: Reason::Success, words: String::new() }
    }
}

/// CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// The session goes on.
    pub session_present: bool,
    /// Success, or why not.
    pub reason: Reason,
    /// For people.
    pub words: String,
    /// Terms of an accepted connection, for 5.0.
    pub terms: Option<Terms>,
}

/// Facts that a server tells a client of 5.0 about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Session expiry in seconds, if it is another one than asked for.
    pub expiry_s: Option<u32>,
    /// Messages in flight.
    pub receive_max: u16,
    /// Largest packet.
    pub packet_max: u32,
    /// The client identifier that the server gave.
    pub client_id: Option<String>,
    /// Keep-alive in seconds, if it is another one than asked for.
    pub keep_alive_s: Option<u16>,
}
