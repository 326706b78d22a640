//! Properties of MQTT 5.0 (§2.2.2): read with their types, and only where they may stand.

use super::packet::QoS;
use super::read::Reader;
use super::reason::{Closing, Reason};

/// Identifiers (§2.2.2.2).
pub(super) mod id {
    pub const PAYLOAD_FORMAT: u8 = 1;
    pub const MESSAGE_EXPIRY: u8 = 2;
    pub const CONTENT_TYPE: u8 = 3;
    pub const RESPONSE_TOPIC: u8 = 8;
    pub const CORRELATION_DATA: u8 = 9;
    pub const SUBSCRIPTION_ID: u8 = 11;
    pub const SESSION_EXPIRY: u8 = 17;
    pub const ASSIGNED_CLIENT_ID: u8 = 18;
    pub const SERVER_KEEP_ALIVE: u8 = 19;
    pub const AUTH_METHOD: u8 = 21;
    pub const AUTH_DATA: u8 = 22;
    pub const PROBLEM_INFORMATION: u8 = 23;
    pub const WILL_DELAY: u8 = 24;
    pub const RESPONSE_INFORMATION: u8 = 25;
    pub const RESPONSE_TEXT: u8 = 26;
    pub const SERVER_REFERENCE: u8 = 28;
    pub const REASON_STRING: u8 = 31;
    pub const RECEIVE_MAX: u8 = 33;
    pub const TOPIC_ALIAS_MAX: u8 = 34;
    pub const TOPIC_ALIAS: u8 = 35;
    pub const QOS_MAX: u8 = 36;
    pub const RETAIN_AVAILABLE: u8 = 37;
    pub const USER_PROPERTY: u8 = 38;
    pub const PACKET_MAX: u8 = 39;
    pub const WILDCARD_AVAILABLE: u8 = 40;
    pub const SUBSCRIPTION_ID_AVAILABLE: u8 = 41;
    pub const SHARED_AVAILABLE: u8 = 42;
}

/// Where properties stand, with those that may stand there.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Connect,
    Will,
    Publish,
    Acknowledgement,
    Subscribe,
    Unsubscribe,
    Disconnect,
    /// CONNACK of a broker.
    ConnAck,
    /// PUBLISH of a broker.
    Delivery,
    /// DISCONNECT of a broker.
    Goodbye,
}

impl Place {
    fn allows(self, property: u8) -> bool {
        let known: &[u8] = match self {
            Place::Connect => &[
                id::SESSION_EXPIRY,
                id::AUTH_METHOD,
                id::AUTH_DATA,
                id::PROBLEM_INFORMATION,
                id::RESPONSE_INFORMATION,
                id::RECEIVE_MAX,
                id::TOPIC_ALIAS_MAX,
                id::USER_PROPERTY,
                id::PACKET_MAX,
            ],
            Place::Will => &[
                id::PAYLOAD_FORMAT,
                id::MESSAGE_EXPIRY,
                id::CONTENT_TYPE,
                id::RESPONSE_TOPIC,
                id::CORRELATION_DATA,
                id::WILL_DELAY,
                id::USER_PROPERTY,
            ],
            // A client sends no subscription identifier in it (§3.3.4).
            Place::Publish => &[
                id::PAYLOAD_FORMAT,
                id::MESSAGE_EXPIRY,
                id::CONTENT_TYPE,
                id::RESPONSE_TOPIC,
                id::CORRELATION_DATA,
                id::TOPIC_ALIAS,
                id::USER_PROPERTY,
            ],
            Place::Acknowledgement => &[id::REASON_STRING, id::USER_PROPERTY],
            Place::Subscribe => &[id::SUBSCRIPTION_ID, id::USER_PROPERTY],
            Place::Unsubscribe => &[id::USER_PROPERTY],
            Place::Disconnect => &[id::SESSION_EXPIRY, id::REASON_STRING, id::USER_PROPERTY],
            Place::ConnAck => &[
                id::SESSION_EXPIRY,
                id::ASSIGNED_CLIENT_ID,
                id::SERVER_KEEP_ALIVE,
                id::AUTH_METHOD,
                id::AUTH_DATA,
                id::RESPONSE_TEXT,
                id::SERVER_REFERENCE,
                id::REASON_STRING,
                id::RECEIVE_MAX,
                id::TOPIC_ALIAS_MAX,
                id::QOS_MAX,
                id::RETAIN_AVAILABLE,
                id::USER_PROPERTY,
                id::PACKET_MAX,
                id::WILDCARD_AVAILABLE,
                id::SUBSCRIPTION_ID_AVAILABLE,
                id::SHARED_AVAILABLE,
            ],
            Place::Delivery => &[
                id::PAYLOAD_FORMAT,
                id::MESSAGE_EXPIRY,
                id::CONTENT_TYPE,
                id::RESPONSE_TOPIC,
                id::CORRELATION_DATA,
                id::SUBSCRIPTION_ID,
                id::TOPIC_ALIAS,
                id::USER_PROPERTY,
            ],
            Place::Goodbye => {
                &[id::SESSION_EXPIRY, id::REASON_STRING, id::SERVER_REFERENCE, id::USER_PROPERTY]
            }
        };
        known.contains(&property)
    }
}

/// The properties that mean something to a server or a client.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub session_expiry_s: Option<u32>,
    pub will_delay_s: Option<u32>,
    pub receive_max: Option<u16>,
    pub packet_max: Option<u32>,
    pub auth_method: Option<String>,
    pub wants_words: Option<bool>,
    pub is_text: bool,
    pub message_expiry_s: Option<u32>,
    pub has_topic_alias: bool,
    pub subscription_id: Option<u32>,
    /// For people.
    pub words: String,
    pub topic_alias_max: u16,
    pub server_keep_alive_s: Option<u16>,
    pub qos_max: Option<QoS>,
    pub retains: Option<bool>,
    pub user: Vec<(String, String)>,
}

impl Properties {
    /// Reads the length and what it covers.
    pub(super) fn read(reader: &mut Reader<'_>, place: Place) -> Result<Properties, Closing> {
        let length = reader.variable()?;
        let mut inner = reader.part(length)?;
        let (mut properties, mut seen) = (Properties::default(), 0_u64);
        while !inner.is_empty() {
            let property = inner.byte()?;
            if !place.allows(property) {
                return Err(Closing::malformed("a property stands where it may not"));
            }
            let bit = 1 << property;
            // A delivery has one for each of our subscriptions that it comes of (§3.3.2.3.8).
            let may_repeat = property == id::USER_PROPERTY
                || (property == id::SUBSCRIPTION_ID && matches!(place, Place::Delivery));
            if !may_repeat && seen & bit != 0 {
                return Err(Closing::protocol("a property is there twice"));
            }
            seen |= bit;
            properties.take(property, &mut inner)?;
        }
        if seen & (1 << id::AUTH_DATA) != 0 && properties.auth_method.is_none() {
            return Err(Closing::protocol("there is authentication data without a method"));
        }
        Ok(properties)
    }

    fn take(&mut self, property: u8, inner: &mut Reader<'_>) -> Result<(), Closing> {
        match property {
            id::PAYLOAD_FORMAT => self.is_text = inner.flag()?,
            // 0 is for whoever reads at that moment, and nobody does: the next best.
            id::MESSAGE_EXPIRY => self.message_expiry_s = Some(inner.four()?.max(1)),
            id::CONTENT_TYPE | id::ASSIGNED_CLIENT_ID | id::RESPONSE_TEXT | id::SERVER_REFERENCE => {
                drop(inner.string()?);
            }
            id::REASON_STRING => self.words = inner.string()?,
            id::SERVER_KEEP_ALIVE => self.server_keep_alive_s = Some(inner.two()?),
            id::QOS_MAX => {
                self.qos_max = Some(if inner.flag()? { QoS::AtLeastOnce } else { QoS::AtMostOnce });
            }
            id::RETAIN_AVAILABLE => self.retains = Some(inner.flag()?),
            id::WILDCARD_AVAILABLE | id::SUBSCRIPTION_ID_AVAILABLE | id::SHARED_AVAILABLE => {
                inner.flag()?;
            }
            id::RESPONSE_TOPIC => {
                if inner.string()?.contains(['+', '#']) {
                    return Err(Closing::protocol("the response topic has a wildcard"));
                }
            }
            id::CORRELATION_DATA | id::AUTH_DATA => drop(inner.binary()?),
            id::SUBSCRIPTION_ID => {
                let number = above_zero(inner.variable()?)?;
                self.subscription_id = u32::try_from(number).ok();
            }
            id::SESSION_EXPIRY => self.session_expiry_s = Some(inner.four()?),
            id::AUTH_METHOD => self.auth_method = Some(inner.string()?),
            id::PROBLEM_INFORMATION => self.wants_words = Some(inner.flag()?),
            id::RESPONSE_INFORMATION => drop(inner.flag()?),
            id::WILL_DELAY => self.will_delay_s = Some(inner.four()?),
            id::RECEIVE_MAX => self.receive_max = Some(above_zero(inner.two()?)?),
            id::TOPIC_ALIAS_MAX => self.topic_alias_max = inner.two()?,
            id::TOPIC_ALIAS => {
                if inner.two()? == 0 {
                    return Err(Closing::new(Reason::TopicAlias, "the topic alias is 0"));
                }
                self.has_topic_alias = true;
            }
            id::PACKET_MAX => self.packet_max = Some(above_zero(inner.four()?)?),
            id::USER_PROPERTY => self.user.push((inner.string()?, inner.string()?)),
            _ => return Err(Closing::malformed("a property is not known")),
        }
        Ok(())
    }
}

fn above_zero<T: Default + PartialEq>(value: T) -> Result<T, Closing> {
    if value == T::default() {
        return Err(Closing::protocol("a maximum is 0"));
    }
    Ok(value)
}
