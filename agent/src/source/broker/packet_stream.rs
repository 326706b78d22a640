//! Packets of a broker over a connection, as they come and go.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::protocol::Refusal;
use holdfast_core::source::mqtt::from_broker::{self, Found};
use holdfast_core::source::mqtt::packet::{Reply, Version};
use holdfast_core::source::mqtt::write::{self, Style};
use smol::io::{AsyncRead, AsyncWriteExt};

use crate::net::tls;
use crate::net::{self, Stream};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 8 * 1024;
/// Memory that is kept between packets.
const KEPT_BYTES: usize = 64 * 1024;

/// A connection to a broker.
pub struct PacketStream {
    stream: Stream,
    received: Vec<u8>,
    /// Bytes of `received` that were taken.
    taken: usize,
    /// Bytes to come that are passed over, of a packet that is too large.
    skipped: usize,
    version: Version,
    /// Largest packet that is read.
    most: usize,
    queued: Vec<u8>,
}

impl PacketStream {
    /// Over this connection.
    pub fn new(stream: Stream, version: Version, most: usize) -> PacketStream {
        let (received, queued) = (Vec::new(), Vec::new());
        PacketStream { stream, received, taken: 0, skipped: 0, version, most, queued }
    }

    /// The next packet of what was read, none when it is not complete.
    pub fn found(&mut self) -> Result<Option<Found>, Refusal> {
        let bytes = &self.received[self.taken..];
        let found = from_broker::packet(bytes, self.version, self.most).map_err(|error| {
            broken(DialError::NotMqtt, format!("the broker breaks the MQTT protocol: {error}"))
        })?;
        Ok(found.map(|(found, length)| {
            let there = length.min(bytes.len());
            (self.taken, self.skipped) = (self.taken + there, length - there);
            found
        }))
    }

    /// Waits for more bytes. It may be dropped at any moment.
    pub async fn fill(&mut self) -> Result<(), Refusal> {
        self.received.drain(..self.taken);
        self.taken = 0;
        if self.received.is_empty() && self.received.capacity() > KEPT_BYTES {
            self.received = Vec::new();
        }
        let read = poll_fn(|context| {
            let mut chunk = [0; CHUNK_BYTES];
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk));
            let bytes = &chunk[..*read.as_ref().unwrap_or(&0)];
            let skipped = self.skipped.min(bytes.len());
            self.skipped -= skipped;
            self.received.extend_from_slice(&bytes[skipped..]);
            Poll::Ready(read)
        });
        match read.await {
            Ok(0) => Err(broken(DialError::Broken, "the broker closed the connection".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// Adds bytes to what is written next.
    pub fn queue_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        write(&mut self.queued)
    }

    /// Adds an answer to what is written next.
    pub fn queue(&mut self, reply: &Reply) {
        let style = Style { version: self.version, wants_words: true, packet_max: u32::MAX };
        write::reply(&mut self.queued, reply, style);
    }

    /// Writes all that is queued. Not to be dropped half way, unless the connection goes with it.
    pub async fn flush(&mut self) -> Result<(), Refusal> {
        if self.queued.is_empty() {
            return Ok(());
        }
        let written = async {
            self.stream.write_all(&self.queued).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| refusal(&error))?;
        self.queued.clear();
        Ok(())
    }

    /// Ends our direction and reads on until the broker ends its own: closing with bytes unread would reset the connection, and our last packet with it.
    pub async fn close(&mut self) {
        let _ = self.stream.close().await;
        let _ = smol::io::copy(&mut self.stream, smol::io::sink()).await;
    }
}

/// In TLS 1.3 a refused client certificate shows only at the first read.
fn refusal(error: &std::io::Error) -> Refusal {
    tls::refusal_by_tls(error).unwrap_or_else(|| {
        let words = match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "the broker cut the connection".to_owned(),
            _ => format!("the connection broke: {}", net::words(error)),
        };
        broken(DialError::Broken, words)
    })
}

fn broken(cause: DialError, words: String) -> Refusal {
    Refusal::new(cause, words)
}
