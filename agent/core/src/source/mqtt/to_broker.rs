//! Packets that a client sends become bytes. What answers a message is in [`write`](super::write).

use super::packet::{QoS, Version};
use super::properties::id;
use super::write::variable;

/// CONNECT of a client.
#[derive(Clone, Copy)]
pub struct Hello<'a> {
    /// Spoken from here on.
    pub version: Version,
    /// Not empty.
    pub client_id: &'a str,
    /// Whether what the broker holds of the session is thrown away.
    pub clean: bool,
    /// In seconds; 0 is none.
    pub keep_alive_s: u16,
    /// Name, if there is one.
    pub username: Option<&'a str>,
    /// Password, if there is one. 3.1.1 has none without a name.
    pub password: Option<&'a str>,
    /// How long the session outlives the connection, in seconds (5.0).
    pub expiry_s: u32,
    /// How many messages of the broker may be in flight (5.0).
    pub receive_max: u16,
}

/// What a broker does with retained messages when a client subscribes (5.0 §3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// It sends them.
    Send = 0,
    /// It sends them if the subscription is new.
    SendIfNew = 1,
    /// It does not.
    Skip = 2,
}

/// Adds CONNECT. The error says what does not fit into it.
pub fn connect(out: &mut Vec<u8>, hello: &Hello) -> Result<(), String> {
    let is_v5 = hello.version == Version::V5;
    let mut body = Vec::new();
    text(&mut body, "MQTT", "the name of the protocol")?;
    body.push(if is_v5 { 5 } else { 4 });
    let flag = |is_set: bool, bit: u8| u8::from(is_set) << bit;
    body.push(flag(hello.clean, 1) | flag(hello.password.is_some(), 6) | flag(hello.username.is_some(), 7));
    body.extend(hello.keep_alive_s.to_be_bytes());
    if is_v5 {
        let mut properties = vec![id::SESSION_EXPIRY];
        properties.extend(hello.expiry_s.to_be_bytes());
        properties.push(id::RECEIVE_MAX);
        properties.extend(hello.receive_max.max(1).to_be_bytes());
        variable(&mut body, properties.len());
        body.extend(properties);
    }
    text(&mut body, hello.client_id, "the client identifier")?;
    for (part, name) in [(hello.username, "the user name"), (hello.password, "the password")] {
        part.map_or(Ok(()), |part| text(&mut body, part, name))?;
    }
    framed(out, 0x10, &body);
    Ok(())
}

/// Adds SUBSCRIBE for these filters, at least one. `number` is a packet identifier, not 0.
pub fn subscribe(
    out: &mut Vec<u8>,
    version: Version,
    number: u16,
    filters: &[(&str, QoS, RetainHandling)],
) -> Result<(), String> {
    let mut body = start(version, number);
    for (filter, qos, handling) in filters {
        text(&mut body, filter, "a topic filter")?;
        let handling = if version == Version::V5 { (*handling as u8) << 4 } else { 0 };
        body.push(*qos as u8 | handling);
    }
    framed(out, 0x82, &body);
    Ok(())
}

/// Adds UNSUBSCRIBE for these filters, at least one.
pub fn unsubscribe(out: &mut Vec<u8>, version: Version, number: u16, filters: &[&str]) -> Result<(), String> {
    let mut body = start(version, number);
    filters.iter().try_for_each(|filter| text(&mut body, filter, "a topic filter"))?;
    framed(out, 0xa2, &body);
    Ok(())
}

/// Adds PINGREQ.
pub fn ping(out: &mut Vec<u8>) {
    out.extend([0xc0, 0]);
}

/// Adds DISCONNECT: an orderly end, after which the session stays as CONNECT has said.
pub fn disconnect(out: &mut Vec<u8>) {
    out.extend([0xe0, 0]);
}

fn start(version: Version, number: u16) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body
}

fn text(out: &mut Vec<u8>, text: &str, what: &str) -> Result<(), String> {
    let length = u16::try_from(text.len()).map_err(|_| format!("{what} is longer than 65535 bytes"))?;
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

fn framed(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    variable(out, body.len());
    out.extend(body);
}

#[cfg(test)]
mod tests {
    use super::super::packet::Packet;
    use super::super::read;
    use super::*;

    fn read_back(bytes: &[u8], version: Option<Version>) -> Packet {
        let (packet, length) = read::packet(bytes, version, 10_000).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        packet
    }

    #[test]
    fn a_connect_says_to_a_server_what_it_was_told() {
        for version in [Version::V311, Version::V5] {
            let hello = Hello {
                version,
                client_id: "gw",
                clean: false,
                keep_alive_s: 60,
                username: Some("u"),
                password: Some("p"),
                expiry_s: 7,
                receive_max: 9,
            };
            let mut out = Vec::new();
            connect(&mut out, &hello).unwrap();
            let Packet::Connect(read) = read_back(&out, None) else { panic!("{out:?}") };
            assert_eq!((read.version, read.client_id.as_str(), read.clean), (version, "gw", false));
            assert_eq!((read.username.as_deref(), read.password.as_deref()), (Some("u"), Some(&b"p"[..])));
            let expected = if version == Version::V5 { (7, 9) } else { (0, u16::MAX) };
            assert_eq!((read.keep_alive_s, (read.expiry_s, read.receive_max)), (60, expected));
        }
        let long = "x".repeat(70_000);
        let hello = Hello {
            version: Version::V5,
            client_id: &long,
            clean: true,
            keep_alive_s: 0,
            username: None,
            password: None,
            expiry_s: 0,
            receive_max: 1,
        };
        assert!(connect(&mut Vec::new(), &hello).unwrap_err().contains("client identifier"));
    }

    #[test]
    fn subscriptions_say_what_becomes_of_retained_messages_in_5_only() {
        for version in [Version::V311, Version::V5] {
            let mut out = Vec::new();
            let filters = [
                ("a/+", QoS::AtLeastOnce, RetainHandling::SendIfNew),
                ("b/#", QoS::ExactlyOnce, RetainHandling::Skip),
            ];
            subscribe(&mut out, version, 3, &filters).unwrap();
            let Packet::Subscribe(read) = read_back(&out, Some(version)) else { panic!("{out:?}") };
            let expected = [("a/+".to_owned(), QoS::AtLeastOnce), ("b/#".to_owned(), QoS::ExactlyOnce)];
            assert_eq!((read.id, &read.filters[..]), (3, &expected[..]));
            let expected = if version == Version::V5 { 0x22 } else { 0x02 };
            assert_eq!(out.last(), Some(&expected));
            out.clear();
            unsubscribe(&mut out, version, 4, &["a/+"]).unwrap();
            let expected = Packet::Unsubscribe { id: 4, filters: vec!["a/+".to_owned()] };
            assert_eq!(read_back(&out, Some(version)), expected);
        }
    }
}
