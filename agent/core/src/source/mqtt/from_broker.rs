//! Bytes of a broker become packets, for a client: strictly, as those of clients do.

use super::packet::{Publish, QoS, Version};
use super::properties::{Place, Properties};
use super::read::{self, Reader};
use super::reason::{self, Closing, Reason};
use crate::link::dial_error::DialError;
use crate::link::protocol::{Refusal, RefusalKind};

/// Packet of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromBroker {
    /// To CONNECT.
    ConnAck(ConnAck),
    /// A message.
    Publish(Publish),
    /// To a message of ours with QoS 1.
    PubAck(Answered),
    /// To a message of ours with QoS 2.
    PubRec(Answered),
    /// To PUBREL.
    PubComp(Answered),
    /// A message of QoS 2 is released.
    PubRel(u16),
    /// To SUBSCRIBE, with a code for each filter.
    SubAck(u16, Vec<u8>),
    /// To UNSUBSCRIBE.
    UnsubAck(u16),
    /// To PINGREQ.
    PingResp,
    /// The end, in 5.0.
    Disconnect {
        /// Its reason code.
        code: u8,
        /// Its words for people; may be empty.
        words: String,
    },
}

/// An answer to one packet identifier of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The packet identifier.
    pub id: u16,
    /// Its reason code; from 0x80 on it is refused.
    pub code: u8,
    /// Its words for people; may be empty.
    pub words: String,
}

/// CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// The broker has kept the session.
    pub session_present: bool,
    /// Return code of 3.1.1, reason code of 5.0; 0 accepts.
    pub code: u8,
    /// Its words for people; may be empty.
    pub words: String,
    /// What the broker tells of itself.
    pub terms: BrokerTerms,
}

/// What a broker of 5.0 tells a client of itself, and what holds for one of 3.1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerTerms {
    /// Messages of ours in flight at most.
    pub receive_max: u16,
    /// Largest packet that it takes.
    pub packet_max: u32,
    /// Topic aliases that we may use.
    pub topic_alias_max: u16,
    /// Highest QoS that it takes.
    pub qos_max: QoS,
    /// Whether it keeps retained messages.
    pub retains: bool,
    /// Session expiry in seconds, if it is another one than asked for.
    pub expiry_s: Option<u32>,
    /// Keep-alive in seconds, if it is another one than asked for.
    pub keep_alive_s: Option<u16>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A packet.
    Packet(FromBroker),
    /// A message that is larger than what is read, without its payload.
    TooLarge(Publish),
}

/// The first packet of these bytes with its length, none while it is not complete. Of a message that is larger than `most` only the head has to
/// be there: its length may be more than these bytes.
pub fn packet(bytes: &[u8], version: Version, most: usize) -> Result<Option<(Found, usize)>, Closing> {
    let Some(first) = bytes.first() else { return Ok(None) };
    check_first(*first, version)?;
    let Some((length, header)) = read::remaining_length(&bytes[1..])? else { return Ok(None) };
    let (header, whole) = (header + 1, header + 1 + length);
    if whole > most {
        if first >> 4 == 3 {
            let head = head(*first, &bytes[header..whole.min(bytes.len())], bytes.len() >= whole)?;
            return Ok(head.map(|publish| (Found::TooLarge(publish), whole)));
        }
        let words = format!("a packet has {whole} bytes, and {most} at most are read");
        return Err(Closing::new(Reason::TooLarge, words));
    }
    let Some(body) = bytes.get(header..whole) else { return Ok(None) };
    let packet = of_type(*first, Reader::new(body), version)?;
    Ok(Some((Found::Packet(packet), whole)))
}

/// Topic, QoS and identifier of a message whose payload is not read; none while they are not there.
fn head(first: u8, bytes: &[u8], is_whole: bool) -> Result<Option<Publish>, Closing> {
    let topic_length = bytes.get(..2).map_or(0, |two| usize::from(u16::from_be_bytes([two[0], two[1]])));
    // Two lengths of two bytes each, and the topic between them.
    if bytes.len() < topic_length + 4 && !is_whole {
        return Ok(None);
    }
    read::publish_head(first, &mut Reader::new(bytes)).map(Some)
}

/// Checks the first byte of a packet: the type is one of a broker's, with the flags that it must have (3.1.1 §2.2.2).
fn check_first(first: u8, version: Version) -> Result<(), Closing> {
    let (kind, flags) = (first >> 4, first & 0x0f);
    match (kind, version) {
        (3, _) => Ok(()),
        (6, _) if flags == 0b0010 => Ok(()),
        (2 | 4 | 5 | 7 | 9 | 11 | 13, _) if flags == 0 => Ok(()),
        (14, Version::V5) if flags == 0 => Ok(()),
        (15, Version::V5) => Err(Closing::protocol("AUTH came, and no authentication method was agreed")),
        (1 | 8 | 10 | 12 | 14, _) => Err(Closing::protocol("a packet came that only clients send")),
        (_, _) => Err(Closing::malformed("the type or the flags of a packet are not known")),
    }
}

fn of_type(first: u8, mut reader: Reader<'_>, version: Version) -> Result<FromBroker, Closing> {
    let is_v5 = version == Version::V5;
    let packet = match first >> 4 {
        2 => FromBroker::ConnAck(connack(&mut reader, is_v5)?),
        3 => return read::publish(first, reader, version, Place::Delivery).map(FromBroker::Publish),
        4 => FromBroker::PubAck(answered(&mut reader, is_v5)?),
        5 => FromBroker::PubRec(answered(&mut reader, is_v5)?),
        6 => FromBroker::PubRel(answered(&mut reader, is_v5)?.id),
        7 => FromBroker::PubComp(answered(&mut reader, is_v5)?),
        9 => {
            let id = of_filters(&mut reader, is_v5)?;
            FromBroker::SubAck(id, reader.rest().to_vec())
        }
        11 => {
            let id = of_filters(&mut reader, is_v5)?;
            reader.rest();
            FromBroker::UnsubAck(id)
        }
        13 => FromBroker::PingResp,
        _ => disconnect(&mut reader)?,
    };
    reader.end()?;
    Ok(packet)
}

fn connack(reader: &mut Reader<'_>, is_v5: bool) -> Result<ConnAck, Closing> {
    let flags = reader.byte()?;
    if flags > 1 {
        return Err(Closing::malformed("the flags of CONNACK are wrong"));
    }
    let code = reader.byte()?;
    // A broker that knows no 5.0 answers as 3.1.1 has it, without properties.
    let has_properties = is_v5 && !reader.is_empty();
    let found =
        if has_properties { Properties::read(reader, Place::ConnAck)? } else { Properties::default() };
    let terms = BrokerTerms {
        receive_max: found.receive_max.unwrap_or(u16::MAX),
        packet_max: found.packet_max.unwrap_or(u32::MAX),
        topic_alias_max: found.topic_alias_max,
        qos_max: found.qos_max.unwrap_or(QoS::ExactlyOnce),
        retains: found.retains.unwrap_or(true),
        expiry_s: found.session_expiry_s,
        keep_alive_s: found.server_keep_alive_s,
    };
    Ok(ConnAck { session_present: flags == 1, code, words: found.words, terms })
}

/// Reason and properties may be missing in 5.0 (§3.4.2.1).
fn answered(reader: &mut Reader<'_>, is_v5: bool) -> Result<Answered, Closing> {
    let mut answered = Answered { id: reader.id()?, code: 0, words: String::new() };
    if is_v5 && !reader.is_empty() {
        answered.code = reader.byte()?;
        if !reader.is_empty() {
            answered.words = Properties::read(reader, Place::Acknowledgement)?.words;
        }
    }
    Ok(answered)
}

fn of_filters(reader: &mut Reader<'_>, is_v5: bool) -> Result<u16, Closing> {
    let id = reader.id()?;
    if is_v5 {
        Properties::read(reader, Place::Acknowledgement)?;
    }
    Ok(id)
}

fn disconnect(reader: &mut Reader<'_>) -> Result<FromBroker, Closing> {
    let (mut code, mut words) = (0, String::new());
    if !reader.is_empty() {
        code = reader.byte()?;
        if !reader.is_empty() {
            words = Properties::read(reader, Place::Goodbye)?.words;
        }
    }
    Ok(FromBroker::Disconnect { code, words })
}

impl ConnAck {
    /// Why the connection is refused, none when it is accepted (3.1.1 §3.2.2.3, 5.0 §3.2.2.2). The words have no address.
    pub fn refusal(&self, version: Version) -> Option<Refusal> {
        let retry = |words: &str| Some((RefusalKind::Retry, words.to_owned()));
        let unauthorized = |words: &str| Some((RefusalKind::Unauthorized, words.to_owned()));
        let busy = |words: &str| Some((RefusalKind::Busy { retry_after: None }, words.to_owned()));
        let is_v5 = version == Version::V5;
        let (asks, error) = match self.code {
            0 => None,
            // A broker of 3.1.1 says so to a client of 5.0, too.
            1 => retry(if is_v5 { NO_V5 } else { "the broker does not speak MQTT 3.1.1" }),
            0x84 => retry(if is_v5 { NO_V5 } else { "the broker does not speak MQTT 3.1.1" }),
            2 if !is_v5 => retry("the broker refuses the client id"),
            3 if !is_v5 => retry("the broker is unavailable"),
            4 if !is_v5 => unauthorized("the broker refuses user name or password"),
            5 if !is_v5 => unauthorized("the broker says that this client is not authorized"),
            0x85 => retry("the broker refuses the client id"),
            0x86 => unauthorized("the broker refuses user name or password"),
            0x87 => unauthorized("the broker says that this client is not authorized"),
            0x8a => unauthorized("the broker says that this client is banned"),
            0x88 | 0x89 | 0x9f => busy(reason::words_of(self.code)),
            code => Some((
                RefusalKind::Retry,
                format!("the broker refuses the connection: {}{}", reason::words_of(code), remedy(code)),
            )),
        }?;
        let words = if self.words.is_empty() { String::new() } else { format!(" ({})", self.words) };
        Some(Refusal::new(DialError::Mqtt(asks), format!("{error}{words}")))
    }
}

/// Key of the configuration that helps.
fn remedy(code: u8) -> &'static str {
    match code {
        0x90 | 0x95 | 0x99 => "; if it does not take the Last Will, set `will = false`",
        0x9a => "; set `retain = false`",
        0x9b => "; set `qos = 0`",
        0x9c | 0x9d => "; put the address of the other one into `url`",
        _ => "",
    }
}

/// What is said of a broker that knows 3.1.1 only.
const NO_V5: &str = "the broker does not speak MQTT 5 (version = \"3.1.1\" may help)";

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8], version: Version) -> Result<Option<(Found, usize)>, Closing> {
        packet(bytes, version, 100)
    }

    fn read(bytes: &[u8], version: Version) -> FromBroker {
        match found(bytes, version) {
            Ok(Some((Found::Packet(packet), length))) if length == bytes.len() => packet,
            other => panic!("{bytes:02x?} became {other:?}"),
        }
    }

    #[test]
    fn a_connack_tells_what_the_broker_takes() {
        // receive maximum 20, maximum QoS 1, no retained messages, session expiry 60, server keep-alive 30, aliases 10
        let bytes = [0x20, 21, 1, 0, 18, 33, 0, 20, 36, 1, 37, 0, 17, 0, 0, 0, 60, 19, 0, 30, 34, 0, 10];
        let FromBroker::ConnAck(ack) = read(&bytes, Version::V5) else { panic!() };
        let expected = BrokerTerms {
            receive_max: 20,
            packet_max: u32::MAX,
            topic_alias_max: 10,
            qos_max: QoS::AtLeastOnce,
            retains: false,
            expiry_s: Some(60),
            keep_alive_s: Some(30),
        };
        assert_eq!((ack.session_present, ack.refusal(Version::V5), ack.terms), (true, None, expected));
        let FromBroker::ConnAck(ack) = read(&[0x20, 2, 0, 0], Version::V311) else { panic!() };
        assert_eq!((ack.session_present, ack.code, ack.terms.qos_max), (false, 0, QoS::ExactlyOnce));
    }

    #[test]
    fn a_refused_login_is_told_apart_from_a_broker_that_is_busy_and_one_of_another_version() {
        let refusal = |version, code| {
            let ack = ConnAck { code, words: "why".to_owned(), ..accepted() };
            ack.refusal(version).unwrap()
        };
        for (version, code) in
            [(Version::V311, 4), (Version::V311, 5), (Version::V5, 0x86), (Version::V5, 0x87)]
        {
            assert_eq!(refusal(version, code).cause.kind(), RefusalKind::Unauthorized, "{version:?} {code}");
        }
        assert_eq!(refusal(Version::V5, 0x89).cause.kind(), RefusalKind::Busy { retry_after: None });
        assert_eq!(refusal(Version::V5, 0x89).error, "the broker is busy (why)");
        for code in [1, 0x84] {
            assert!(refusal(Version::V5, code).error.contains("version = \"3.1.1\""));
        }
        assert_eq!(refusal(Version::V5, 0x95).cause.kind(), RefusalKind::Retry);
    }

    fn accepted() -> ConnAck {
        let FromBroker::ConnAck(ack) = read(&[0x20, 3, 0, 0, 0], Version::V5) else { panic!() };
        ack
    }

    #[test]
    fn a_delivery_may_come_of_several_subscriptions() {
        let bytes = [0x33, 12, 0, 1, b'a', 0, 7, 4, 11, 1, 11, 2, b'x', b'y'];
        let FromBroker::Publish(publish) = read(&bytes, Version::V5) else { panic!() };
        assert_eq!((publish.topic.as_str(), publish.qos, publish.id), ("a", QoS::AtLeastOnce, 7));
        assert_eq!((publish.retain, publish.payload), (true, b"xy".to_vec()));
    }

    #[test]
    fn answers_say_what_they_refuse() {
        let answered = |code, words: &str| Answered { id: 7, code, words: words.to_owned() };
        assert_eq!(read(&[0x40, 2, 0, 7], Version::V5), FromBroker::PubAck(answered(0, "")));
        let bytes = [0x40, 9, 0, 7, 0x97, 5, 31, 0, 2, b'n', b'o'];
        assert_eq!(read(&bytes, Version::V5), FromBroker::PubAck(answered(0x97, "no")));
        assert_eq!(read(&[0x90, 4, 0, 7, 1, 0x80], Version::V311), FromBroker::SubAck(7, vec![1, 0x80]));
        assert_eq!(read(&[0x90, 4, 0, 7, 0, 0x87], Version::V5), FromBroker::SubAck(7, vec![0x87]));
        assert_eq!(read(&[0xb0, 2, 0, 7], Version::V311), FromBroker::UnsubAck(7));
        let end = FromBroker::Disconnect { code: 0x8e, words: String::new() };
        assert_eq!(read(&[0xe0, 1, 0x8e], Version::V5), end);
    }

    #[test]
    fn a_message_that_is_too_large_is_known_by_its_head() {
        let mut bytes = vec![0x32, 0xc8, 0x01, 0, 1, b'a', 0, 7];
        for length in 0..bytes.len() {
            assert_eq!(found(&bytes[..length], Version::V311), Ok(None), "{length}");
        }
        bytes.push(0);
        let Ok(Some((Found::TooLarge(publish), 203))) = found(&bytes, Version::V311) else { panic!() };
        assert_eq!((publish.topic.as_str(), publish.id, publish.payload.len()), ("a", 7, 0));
    }

    #[test]
    fn what_only_clients_send_and_what_is_no_packet_is_refused() {
        for first in [0x10, 0x82, 0xa2, 0xc0, 0x41, 0x60, 0x00] {
            assert!(found(&[first, 0], Version::V5).is_err(), "{first:02x}");
        }
        assert!(found(&[0xe0, 0], Version::V311).is_err(), "3.1.1 has no DISCONNECT of a broker");
        assert!(found(&[0xf0, 0], Version::V5).is_err());
    }
}
