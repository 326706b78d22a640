//! MQTT 3.1.1 packets over any stream, by rumqttc's codec.

use bytes::BytesMut;
use rumqttc::mqttbytes::Error;
use rumqttc::mqttbytes::v4::Packet;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::net;
use crate::net::tls;

/// Largest packet that is sent.
pub const PACKET_MAX: usize = 16 << 20;
/// Largest packet that a broker may send.
const INBOUND_MAX: usize = 1 << 20;
/// Bytes that may wait before they are written.
const WRITE_BUFFER: usize = 64 << 10;
const READ_CHUNK: usize = 2048;

/// A stream with the packets that are on their way in and out.
pub struct PacketStream<S> {
    stream: S,
    received: BytesMut,
    queued: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> PacketStream<S> {
    /// Nothing has been said yet.
    pub fn new(stream: S) -> PacketStream<S> {
        PacketStream { stream, received: BytesMut::new(), queued: BytesMut::new() }
    }

    /// Appends a packet to what the next flush writes.
    pub fn queue(&mut self, packet: &Packet) -> Result<(), String> {
        let queued = packet.write(&mut self.queued, PACKET_MAX);
        queued.map(|_| ()).map_err(|error| format!("cannot encode a packet: {error}"))
    }

    /// Whether so much waits that it should be flushed before more is queued.
    pub fn is_full(&self) -> bool {
        self.queued.len() >= WRITE_BUFFER
    }

    /// Writes all that is queued. Not to be dropped half way, unless the connection goes with it.
    pub async fn flush(&mut self) -> Result<(), String> {
        if self.queued.is_empty() {
            return Ok(());
        }
        let written = async {
            self.stream.write_all(&self.queued).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| words(&error))?;
        self.queued.clear();
        Ok(())
    }

    /// Waits for more bytes. It may be dropped at any moment.
    pub async fn read(&mut self) -> Result<(), String> {
        let mut chunk = [0; READ_CHUNK];
        match self.stream.read(&mut chunk).await {
            Ok(0) => Err("the broker closed the connection".to_owned()),
            Ok(length) => {
                self.received.extend_from_slice(&chunk[..length]);
                Ok(())
            }
            Err(error) => Err(words(&error)),
        }
    }

    /// The next packet among the bytes that were read, none when it is not complete.
    pub fn packet(&mut self) -> Result<Option<Packet>, String> {
        match Packet::read(&mut self.received, INBOUND_MAX) {
            Ok(packet) => Ok(Some(packet)),
            Err(Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(format!("the broker breaks the MQTT protocol: {error}")),
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

/// In TLS 1.3 a refused client certificate shows only at the first read.
fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::InvalidData => tls::words(error),
        std::io::ErrorKind::UnexpectedEof => "the broker cut the connection".to_owned(),
        _ => format!("the connection broke: {}", net::words(error)),
    }
}
