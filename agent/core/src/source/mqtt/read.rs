//! Bytes become packets: strictly as MQTT 3.1.1 and 5.0 have it, so that whatever is accepted means one thing only.

use super::packet::{Connect, Packet, Publish, QoS, Subscribe, Version, Will};
use super::properties::{Place, Properties};
use super::reason::{Closing, Reason};

/// Longest fixed header: the type, and four bytes of length.
const HEADER_BYTES: usize = 5;
/// Name of the protocol in CONNECT (3.1.1 §3.1.2).
const NAME: &str = "MQTT";
const LEVELS: [(u8, Version); 2] = [(4, Version::V311), (5, Version::V5)];

/// The first packet of these bytes with its length, none while it is not complete. `version` is what CONNECT has said, none before it. `most`
/// is the largest length of a packet.
pub fn packet(
    bytes: &[u8],
    version: Option<Version>,
    most: usize,
) -> Result<Option<(Packet, usize)>, Closing> {
    let Some(first) = bytes.first() else { return Ok(None) };
    check_first(*first, version)?;
    let Some((length, header)) = remaining_length(&bytes[1..])? else { return Ok(None) };
    let header = header + 1;
    if header + length > most {
        let words = format!("the packet has {} bytes, and may have {most}", header + length);
        return Err(Closing::new(Reason::TooLarge, words));
    }
    let Some(body) = bytes.get(header..header + length) else { return Ok(None) };
    let packet = match version {
        None => Packet::Connect(Box::new(connect(Reader(body))?)),
        Some(version) => of_type(*first, Reader(body), version)?,
    };
    Ok(Some((packet, header + length)))
}

/// Checks the first byte of a packet: the type is one of a client's, in its place, with the flags that it must have
/// (3.1.1 §2.2.2).
fn check_first(first: u8, version: Option<Version>) -> Result<(), Closing> {
    let (kind, flags) = (first >> 4, first & 0x0f);
    match (kind, version) {
        (1, None) if flags == 0 => Ok(()),
        (_, None) => Err(Closing::protocol("the first packet is no CONNECT")),
        (1, Some(_)) => Err(Closing::protocol("a second CONNECT came")),
        (15, Some(Version::V5)) => {
            Err(Closing::protocol("AUTH came, and no authentication method was agreed"))
        }
        (2 | 9 | 11 | 13, Some(_)) => Err(Closing::protocol("a packet came that only servers send")),
        (5 | 7, Some(_)) => Err(Closing::protocol("it answers a message of QoS 2, and none was sent")),
        (3, Some(_)) => Ok(()),
        (6 | 8 | 10, Some(_)) if flags == 0b0010 => Ok(()),
        (4 | 12 | 14, Some(_)) if flags == 0 => Ok(()),
        (_, Some(_)) => Err(Closing::malformed("the type or the flags of a packet are not known")),
    }
}

/// The remaining length and how many bytes it takes, none while it is not complete (3.1.1 §2.2.3).
pub(super) fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Closing> {
    let mut length = 0;
    for (at, byte) in bytes.iter().take(HEADER_BYTES - 1).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((length, at + 1)));
        }
    }
    match bytes.len() {
        0..4 => Ok(None),
        _ => Err(Closing::malformed("the length of a packet does not end")),
    }
}

fn of_type(first: u8, mut reader: Reader<'_>, version: Version) -> Result<Packet, Closing> {
    let is_v5 = version == Version::V5;
    let packet = match first >> 4 {
        3 => return publish(first, reader, version, Place::Publish).map(Packet::Publish),
        4 => Packet::PubAck(acknowledged(&mut reader, is_v5)?),
        6 => Packet::PubRel(acknowledged(&mut reader, is_v5)?),
        8 => Packet::Subscribe(subscribe(&mut reader, is_v5)?),
        10 => unsubscribe(&mut reader, is_v5)?,
        12 => Packet::PingReq,
        _ => disconnect(&mut reader, is_v5)?,
    };
    reader.end()?;
    Ok(packet)
}

fn connect(mut reader: Reader<'_>) -> Result<Connect, Closing> {
    let name = reader.string()?;
    let level = reader.byte()?;
    let version = LEVELS.iter().find(|(known, _)| *known == level).filter(|_| name == NAME);
    let Some((_, version)) = version.copied() else {
        let words = "MQTT 3.1.1 and 5.0 are spoken here";
        return Err(Closing::new(Reason::Version, words));
    };
    let flags = reader.byte()?;
    let has = |bit: u8| flags & (1 << bit) != 0;
    let (has_will, has_password, has_name) = (has(2), has(6), has(7));
    if has(0) || (!has_will && flags & 0b0011_1000 != 0) {
        return Err(Closing::malformed("the flags of CONNECT are wrong"));
    }
    if version == Version::V311 && has_password && !has_name {
        return Err(Closing::malformed("CONNECT has a password and no name"));
    }
    let will_qos = qos(flags >> 3 & 0b11)?;
    let keep_alive_s = reader.two()?;
    let properties = properties(&mut reader, version, Place::Connect)?;
    let client_id = reader.string()?;
    let will = has_will.then(|| will(&mut reader, version, will_qos, has(5))).transpose()?;
    let username = has_name.then(|| reader.string()).transpose()?;
    let password = has_password.then(|| reader.binary()).transpose()?.map(<[u8]>::to_vec);
    reader.end()?;
    Ok(Connect {
        version,
        client_id,
        clean: has(1),
        keep_alive_s,
        will,
        username,
        password,
        expiry_s: properties.session_expiry_s.unwrap_or(0),
        receive_max: properties.receive_max.unwrap_or(u16::MAX),
        packet_max: properties.packet_max.unwrap_or(u32::MAX),
        wants_words: properties.wants_words.unwrap_or(true),
        auth_method: properties.auth_method,
    })
}

fn will(reader: &mut Reader<'_>, version: Version, qos: QoS, retain: bool) -> Result<Will, Closing> {
    let properties = properties(reader, version, Place::Will)?;
    let topic = topic(reader.string()?)?;
    let payload = reader.binary()?.to_vec();
    let (is_text, expiry_s) = (properties.is_text, properties.message_expiry_s);
    let user_properties = properties.user;
    let publish =
        Publish { topic, qos, id: 0, dup: false, retain, payload, is_text, expiry_s, user_properties };
    Ok(Will { publish, delay_s: properties.will_delay_s.unwrap_or(0) })
}

/// A message; `place` says who sends it.
pub(super) fn publish(
    first: u8,
    mut reader: Reader<'_>,
    version: Version,
    place: Place,
) -> Result<Publish, Closing> {
    let mut publish = publish_start(first, &mut reader)?;
    let properties = properties(&mut reader, version, place)?;
    if properties.has_topic_alias {
        return Err(Closing::new(
            Reason::TopicAlias,
            "topic aliases are not taken here, and CONNACK said so",
        ));
    }
    publish.topic = topic(publish.topic)?;
    publish.payload = reader.rest().to_vec();
    (publish.is_text, publish.expiry_s) = (properties.is_text, properties.message_expiry_s);
    publish.user_properties = properties.user;
    Ok(publish)
}

/// The same without properties and payload.
pub(super) fn publish_head(first: u8, reader: &mut Reader<'_>) -> Result<Publish, Closing> {
    let publish = publish_start(first, reader)?;
    Ok(Publish { topic: topic(publish.topic)?, ..publish })
}

fn publish_start(first: u8, reader: &mut Reader<'_>) -> Result<Publish, Closing> {
    let (retain, dup) = (first & 1 != 0, first & 0b1000 != 0);
    let qos = qos(first >> 1 & 0b11)?;
    if dup && qos == QoS::AtMostOnce {
        return Err(Closing::malformed("a PUBLISH of QoS 0 says that it came before"));
    }
    let topic = reader.string()?;
    let id = if qos == QoS::AtMostOnce { 0 } else { reader.id()? };
    let (payload, user_properties) = (Vec::new(), Vec::new());
    Ok(Publish { topic, qos, id, dup, retain, payload, is_text: false, expiry_s: None, user_properties })
}

/// The packet identifier of PUBACK and PUBREL. Reason and properties may be missing in 5.0 (§3.4.2.1).
fn acknowledged(reader: &mut Reader<'_>, is_v5: bool) -> Result<u16, Closing> {
    let id = reader.id()?;
    if is_v5 && !reader.is_empty() {
        reader.byte()?;
        if !reader.is_empty() {
            Properties::read(reader, Place::Acknowledgement)?;
        }
    }
    Ok(id)
}

fn subscribe(reader: &mut Reader<'_>, is_v5: bool) -> Result<Subscribe, Closing> {
    let id = reader.id()?;
    let number = if is_v5 { Properties::read(reader, Place::Subscribe)?.subscription_id } else { None };
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let (filter, options) = (filter(reader)?, reader.byte()?);
        // 3.1.1 has nothing but the QoS there; 5.0 has two bits left, and three ways to handle what is retained.
        let reserved = if is_v5 { 0b1100_0000 } else { 0b1111_1100 };
        if options & reserved != 0 || options >> 4 & 0b11 == 3 {
            return Err(Closing::malformed("the options of a subscription are wrong"));
        }
        filters.push((filter, qos(options & 0b11)?));
    }
    if filters.is_empty() {
        return Err(Closing::protocol("SUBSCRIBE has no filter"));
    }
    Ok(Subscribe { id, filters, number })
}

fn unsubscribe(reader: &mut Reader<'_>, is_v5: bool) -> Result<Packet, Closing> {
    let id = reader.id()?;
    if is_v5 {
        Properties::read(reader, Place::Unsubscribe)?;
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        filters.push(filter(reader)?);
    }
    if filters.is_empty() {
        return Err(Closing::protocol("UNSUBSCRIBE has no filter"));
    }
    Ok(Packet::Unsubscribe { id, filters })
}

fn disconnect(reader: &mut Reader<'_>, is_v5: bool) -> Result<Packet, Closing> {
    let (mut with_will, mut expiry_s) = (false, None);
    if is_v5 && !reader.is_empty() {
        // Reasons other than "normal" are no orderly end (§3.14.2.1).
        with_will = reader.byte()? != 0;
        if !reader.is_empty() {
            expiry_s = Properties::read(reader, Place::Disconnect)?.session_expiry_s;
        }
    }
    Ok(Packet::Disconnect { with_will, expiry_s })
}

fn properties(reader: &mut Reader<'_>, version: Version, place: Place) -> Result<Properties, Closing> {
    match version {
        Version::V311 => Ok(Properties::default()),
        Version::V5 => Properties::read(reader, place),
    }
}

fn qos(bits: u8) -> Result<QoS, Closing> {
    match bits {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        _ => Err(Closing::malformed("there is no QoS 3")),
    }
}

/// A topic name (3.1.1 §4.7).
fn topic(name: String) -> Result<String, Closing> {
    match name.as_str() {
        "" => Err(Closing::malformed("the topic is empty")),
        text if text.contains(['+', '#']) => {
            Err(Closing::new(Reason::TopicName, "a message is published to a topic with a wildcard"))
        }
        _ => Ok(name),
    }
}

fn filter(reader: &mut Reader<'_>) -> Result<String, Closing> {
    let filter = reader.string()?;
    if filter.is_empty() {
        return Err(Closing::malformed("a topic filter is empty"));
    }
    Ok(filter)
}

/// Rest of the bytes of a packet.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn end(&self) -> Result<(), Closing> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Closing::malformed("a packet is longer than what is in it"))
        }
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Closing> {
        let cut = self.0.split_at_checked(length);
        let (taken, rest) =
            cut.ok_or_else(|| Closing::malformed("a packet is shorter than what is in it"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn part(&mut self, length: usize) -> Result<Reader<'a>, Closing> {
        self.take(length).map(Reader)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Closing> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn flag(&mut self) -> Result<bool, Closing> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Closing::protocol("a property is neither 0 nor 1")),
        }
    }

    pub(super) fn two(&mut self) -> Result<u16, Closing> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn four(&mut self) -> Result<u32, Closing> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn variable(&mut self) -> Result<usize, Closing> {
        let read = remaining_length(self.0)?;
        let (value, length) =
            read.ok_or_else(|| Closing::malformed("a packet is shorter than what is in it"))?;
        self.take(length)?;
        Ok(value)
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], Closing> {
        let length = self.two()?;
        self.take(usize::from(length))
    }

    /// UTF-8 without NUL (3.1.1 §1.5.3).
    pub(super) fn string(&mut self) -> Result<String, Closing> {
        let text = std::str::from_utf8(self.binary()?).ok().filter(|text| !text.contains('\0'));
        text.map(str::to_owned).ok_or_else(|| Closing::malformed("a text is not valid UTF-8, or has a NUL"))
    }

    /// A packet identifier (3.1.1 §2.3.1).
    pub(super) fn id(&mut self) -> Result<u16, Closing> {
        match self.two()? {
            0 => Err(Closing::protocol("the packet identifier is 0")),
            id => Ok(id),
        }
    }
}
