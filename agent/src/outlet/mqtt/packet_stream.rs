//! Packets over any stream: rumqttc's codec writes them, and ours reads what the broker says, since rumqttc's calls many of its codes
//! a fault.

use std::{fmt, io};

use bytes::{Buf, BytesMut};
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::protocol::Refusal;
use holdfast_core::source::mqtt::from_broker::{self, Found, FromBroker};
use holdfast_core::source::mqtt::packet::Version;
use holdfast_core::source::mqtt::reason::Closing;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::net;
use crate::net::tls;

/// Largest packet that is sent.
pub const PACKET_MAX: usize = 16 << 20;
/// Largest packet that a broker may send.
pub const INBOUND_MAX: usize = 1 << 20;
/// Bytes that may wait before they are written.
const WRITE_BUFFER: usize = 64 << 10;
const READ_CHUNK: usize = 2048;

/// A stream with the packets that are on their way in and out.
pub struct PacketStream<S> {
    stream: S,
    version: Version,
    received: BytesMut,
    queued: BytesMut,
}

/// Why nothing more comes or goes.
#[derive(Debug)]
pub enum PacketError {
    /// Our own packet is none.
    Encoding(String),
    /// The broker closed the connection.
    Closed,
    /// The connection broke.
    Io(io::Error),
    /// The broker sends what is no packet, or none that may come.
    Protocol(String),
}

impl PacketError {
    /// The same as a refusal of the connection.
    pub fn refusal(&self) -> Refusal {
        let by_tls = match self {
            PacketError::Io(error) => tls::refusal_by_tls(error),
            PacketError::Encoding(_) | PacketError::Closed | PacketError::Protocol(_) => None,
        };
        let cause = match self {
            PacketError::Encoding(_) => DialError::Settings,
            PacketError::Closed | PacketError::Io(_) => DialError::Broken,
            PacketError::Protocol(_) => DialError::NotMqtt,
        };
        by_tls.unwrap_or_else(|| Refusal::new(cause, self.to_string()))
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PacketError::Encoding(error) => write!(f, "cannot encode a packet: {error}"),
            PacketError::Closed => f.write_str("the broker closed the connection"),
            // In TLS 1.3 a refused client certificate shows only at the first read.
            PacketError::Io(error) => match tls::refusal_by_tls(error) {
                Some(refusal) => f.write_str(&refusal.error),
                None if error.kind() == io::ErrorKind::UnexpectedEof => {
                    f.write_str("the broker cut the connection")
                }
                None => write!(f, "the connection broke: {}", net::words(error)),
            },
            PacketError::Protocol(error) => write!(f, "the broker breaks the MQTT protocol: {error}"),
        }
    }
}

impl From<Closing> for PacketError {
    fn from(fault: Closing) -> PacketError {
        PacketError::Protocol(fault.words)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> PacketStream<S> {
    /// Nothing has been said yet.
    pub fn new(stream: S, version: Version) -> PacketStream<S> {
        PacketStream { stream, version, received: BytesMut::new(), queued: BytesMut::new() }
    }

    /// Bytes that the next flush writes, to be added to.
    pub fn queued(&mut self) -> &mut BytesMut {
        &mut self.queued
    }

    /// Whether so much waits that it should be flushed before more is queued.
    pub fn is_full(&self) -> bool {
        self.queued.len() >= WRITE_BUFFER
    }

    /// Writes all that is queued. Not to be dropped half way, unless the connection goes with it.
    pub async fn flush(&mut self) -> Result<(), PacketError> {
        if self.queued.is_empty() {
            return Ok(());
        }
        let written = async {
            self.stream.write_all(&self.queued).await?;
            self.stream.flush().await
        };
        written.await.map_err(PacketError::Io)?;
        self.queued.clear();
        Ok(())
    }

    /// Waits for more bytes. It may be dropped at any moment.
    pub async fn read(&mut self) -> Result<(), PacketError> {
        let mut chunk = [0; READ_CHUNK];
        match self.stream.read(&mut chunk).await {
            Ok(0) => Err(PacketError::Closed),
            Ok(length) => {
                self.received.extend_from_slice(&chunk[..length]);
                Ok(())
            }
            Err(error) => Err(PacketError::Io(error)),
        }
    }

    /// The next packet among the bytes that were read, none when it is not complete.
    pub fn packet(&mut self) -> Result<Option<FromBroker>, PacketError> {
        match from_broker::packet(&self.received, self.version, INBOUND_MAX)? {
            None => Ok(None),
            Some((Found::Packet(packet), length)) => {
                self.received.advance(length);
                Ok(Some(packet))
            }
            // Nothing of that size was asked for.
            Some((Found::TooLarge(_), length)) => {
                Err(PacketError::Protocol(format!("a message of {length} bytes came")))
            }
        }
    }

    /// The next packet, whatever comes.
    pub async fn next(&mut self) -> Result<FromBroker, PacketError> {
        loop {
            if let Some(packet) = self.packet()? {
                return Ok(packet);
            }
            self.read().await?;
        }
    }

    /// Ends our direction and reads on until the broker ends its own: closing with bytes unread would reset the
    /// connection, and our last packet with it.
    pub async fn close(&mut self) {
        let _ = self.stream.close().await;
        while self.read().await.is_ok() {
            self.received.clear();
        }
    }
}
