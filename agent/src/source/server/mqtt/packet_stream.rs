//! Packets over a connection, as they come and go.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use holdfast_core::source::mqtt::packet::{Packet, Reply, Version};
use holdfast_core::source::mqtt::read;
use holdfast_core::source::mqtt::reason::Closing;
use holdfast_core::source::mqtt::write::{self, Style};
use smol::Timer;
use smol::future::or;
use smol::io::{AsyncRead, AsyncWriteExt};

use super::super::memory::Accounted;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 8 * 1024;
/// Memory that is kept between packets.
const KEPT_BYTES: usize = 64 * 1024;
/// A client must take what is written within this.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the client may take for its part of the closing.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection of which CONNECT may not have come yet.
pub struct PacketStream {
    stream: Box<dyn Accounted>,
    received: Vec<u8>,
    /// Bytes of `received` that were taken.
    taken: usize,
    /// Largest packet.
    most: usize,
    /// Known with CONNECT.
    style: Option<Style>,
    queued: Vec<u8>,
    is_gone: bool,
}

impl PacketStream {
    /// Over this connection.
    pub fn new(stream: Box<dyn Accounted>, most: usize) -> PacketStream {
        let (received, queued) = (Vec::new(), Vec::new());
        PacketStream { stream, received, taken: 0, most, style: None, queued, is_gone: false }
    }

    /// From here on the client is answered so.
    pub fn speak(&mut self, style: Style) {
        self.style = Some(style);
    }

    /// The next packet of what was read, none when it is not complete.
    pub fn packet(&mut self) -> Result<Option<Packet>, Closing> {
        let version = self.style.map(|style| style.version);
        let found = read::packet(&self.received[self.taken..], version, self.most)?;
        Ok(found.map(|(packet, length)| {
            self.taken += length;
            packet
        }))
    }

    /// Lets the bytes that were taken wait from here on to be stored, with `more` of the memory for callers. Returns
    /// the bytes to give back with `Share::stored`.
    pub fn complete(&self, more: usize) -> usize {
        self.stream.complete(self.received.len() - self.taken, more)
    }

    /// Waits for more bytes; none are the end. It may be dropped at any moment.
    pub async fn fill(&mut self) -> io::Result<usize> {
        self.received.drain(..self.taken);
        self.taken = 0;
        if self.received.is_empty() && self.received.capacity() > KEPT_BYTES {
            self.received = Vec::new();
        }
        let read = poll_fn(|context| {
            let mut chunk = [0; CHUNK_BYTES];
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk));
            self.received.extend_from_slice(&chunk[..*read.as_ref().unwrap_or(&0)]);
            Poll::Ready(read)
        });
        read.await
    }

    /// The client takes nothing any more.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Adds a reply to what is written next.
    pub fn queue(&mut self, reply: &Reply) {
        // Without a CONNECT that can be read nobody knows what the client understands: 3.1.1 is the least.
        let style =
            self.style.unwrap_or(Style { version: Version::V311, wants_words: false, packet_max: u32::MAX });
        if !self.is_gone {
            write::reply(&mut self.queued, reply, style);
        }
    }

    /// Bytes that are written next.
    pub fn queued(&self) -> usize {
        self.queued.len()
    }

    /// Writes what is queued. A client that does not take it is gone.
    pub async fn flush(&mut self) {
        if self.queued.is_empty() || self.is_gone {
            return;
        }
        let write = async {
            self.stream.write_all(&self.queued).await?;
            self.stream.flush().await
        };
        let late = async {
            Timer::after(WRITE_TIMEOUT).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        self.is_gone = or(write, late).await.is_err();
        self.queued.clear();
    }

    /// Writes what is queued, ends our direction and reads until the client has hung up, so that it sees the last packet instead of a reset.
    pub async fn close(mut self) {
        self.flush().await;
        let goodbye = async {
            let _ = self.stream.close().await;
            let _ = smol::io::copy(&mut self.stream, smol::io::sink()).await;
        };
        let late = async {
            Timer::after(LINGER_TIMEOUT).await;
        };
        or(goodbye, late).await;
    }
}
