//! What is said to a broker becomes bytes, by rumqttc's codec for each version.

use bytes::{Bytes, BytesMut};
use holdfast_core::source::mqtt::packet::{QoS, Version};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::packet_stream::{INBOUND_MAX, PacketError};

/// PINGREQ.
pub const PING: [u8; 2] = [0xc0, 0];
/// DISCONNECT without a reason, which is the good one.
pub const GOODBYE: [u8; 2] = [0xe0, 0];
/// Bytes of a packet identifier.
const ID_BYTES: usize = 2;

/// CONNECT: a clean session.
#[derive(Debug, Default)]
pub struct Greeting {
    /// Client identifier.
    pub client_id: String,
    /// Longest silence, in seconds.
    pub keep_alive_s: u16,
    /// User and password.
    pub login: Option<(String, String)>,
    /// The last will.
    pub will: Option<Publish>,
}

/// Content of a PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Topic name.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// 0 or 1.
    pub qos: QoS,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// How long the broker holds it, in seconds (5.0 only).
    pub expiry_s: Option<u32>,
    /// In this order (5.0 only).
    pub user_properties: Vec<(String, String)>,
}

/// A PUBLISH in the form of its version.
pub enum Packet {
    /// 3.1.1.
    V4(v4::Publish),
    /// 5.0.
    V5(v5::Publish),
}

impl Greeting {
    /// Adds its bytes. They must be the first.
    pub fn write(self, version: Version, out: &mut BytesMut) -> Result<(), PacketError> {
        let written = match version {
            Version::V311 => {
                let mut connect = v4::Connect::new(self.client_id);
                connect.clean_session = true;
                connect.keep_alive = self.keep_alive_s;
                connect.login = self.login.map(|(name, password)| v4::Login::new(name, password));
                connect.last_will = self
                    .will
                    .map(|will| v4::LastWill::new(will.topic, will.payload, v4_qos(will.qos), will.retain));
                connect.write(out).map_err(|error| error.to_string())
            }
            Version::V5 => {
                let connect = v5::Connect {
                    keep_alive: self.keep_alive_s,
                    client_id: self.client_id,
                    clean_start: true,
                    properties: Some(v5::ConnectProperties {
                        max_packet_size: u32::try_from(INBOUND_MAX).ok(),
                        ..v5::ConnectProperties::new()
                    }),
                };
                let will = self.will.map(|will| {
                    v5::LastWill::new(will.topic, will.payload, v5_qos(will.qos), will.retain, None)
                });
                let login = self.login.map(|(name, password)| v5::Login::new(name, password));
                connect.write(&will, &login, out).map_err(|error| error.to_string())
            }
        };
        written.map(drop).map_err(PacketError::Encoding)
    }
}

impl Publish {
    /// The packet of a version.
    pub fn packet(self, version: Version) -> Packet {
        match version {
            Version::V311 => {
                let mut publish = v4::Publish::new(self.topic, v4_qos(self.qos), self.payload);
                publish.retain = self.retain;
                Packet::V4(publish)
            }
            Version::V5 => {
                let properties = v5::PublishProperties {
                    message_expiry_interval: self.expiry_s,
                    user_properties: self.user_properties,
                    ..v5::PublishProperties::default()
                };
                Packet::V5(v5::Publish {
                    qos: v5_qos(self.qos),
                    retain: self.retain,
                    topic: self.topic.into(),
                    payload: Bytes::from(self.payload),
                    properties: Some(properties),
                    ..v5::Publish::default()
                })
            }
        }
    }
}

impl Packet {
    /// Its bytes, with a packet identifier.
    pub fn size(&self) -> usize {
        ID_BYTES
            + match self {
                Packet::V4(publish) => publish.size(),
                Packet::V5(publish) => publish.size(),
            }
    }

    /// Adds its bytes with this packet identifier, which means nothing with QoS 0.
    pub fn write(self, id: u16, out: &mut BytesMut) -> Result<(), PacketError> {
        let written = match self {
            Packet::V4(mut publish) => {
                publish.pkid = id;
                publish.write(out).map_err(|error| error.to_string())
            }
            Packet::V5(mut publish) => {
                publish.pkid = id;
                publish.write(out).map_err(|error| error.to_string())
            }
        };
        written.map(drop).map_err(PacketError::Encoding)
    }
}

/// Adds a SUBSCRIBE for one filter.
pub fn subscribe(topic: &str, id: u16, version: Version, out: &mut BytesMut) -> Result<(), PacketError> {
    let written = match version {
        Version::V311 => {
            let mut subscribe = v4::Subscribe::new(topic, v4_qos(QoS::AtMostOnce));
            subscribe.pkid = id;
            subscribe.write(out).map_err(|error| error.to_string())
        }
        Version::V5 => {
            let filter = v5::Filter::new(topic, v5_qos(QoS::AtMostOnce));
            let mut subscribe = v5::Subscribe::new(filter, None);
            subscribe.pkid = id;
            subscribe.write(out).map_err(|error| error.to_string())
        }
    };
    written.map(drop).map_err(PacketError::Encoding)
}

fn v4_qos(qos: QoS) -> rumqttc::mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce | QoS::ExactlyOnce => rumqttc::mqttbytes::QoS::AtLeastOnce,
    }
}

fn v5_qos(qos: QoS) -> rumqttc::v5::mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::v5::mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce | QoS::ExactlyOnce => rumqttc::v5::mqttbytes::QoS::AtLeastOnce,
    }
}
