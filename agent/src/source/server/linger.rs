//! The end of a connection that the server closes. Whoever closes a socket with unread bytes resets it, and a reset takes
//! the last answer away from a sender that has not read it (RFC 9112 §9.6). So our half is closed first, and what still
//! comes is read for a moment.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use smol::Timer;
use smol::future::FutureExt as _;
use smol::io::{AsyncRead, AsyncWrite};

use crate::net::Stream;

/// How long a caller that is not served any more is listened to.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes that are read of it.
pub const BYTES: usize = 64 * 1024;
const PIECE: usize = 2 * 1024;

/// A connection whose close reads on for a moment.
pub struct Linger {
    stream: Stream,
    /// Set once our half is closed.
    until: Option<Timer>,
    left: usize,
}

impl Linger {
    /// The same connection.
    pub fn new(stream: Stream) -> Linger {
        Linger { stream, until: None, left: BYTES }
    }

    /// The bare connection.
    pub fn into_inner(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Linger {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Linger {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let until = match &mut this.until {
            Some(until) => until,
            None => {
                ready!(Pin::new(&mut this.stream).poll_close(cx))?;
                this.until.insert(Timer::after(TIMEOUT))
            }
        };
        let mut piece = [0; PIECE];
        while this.left > 0 && until.poll(cx).is_pending() {
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece)) {
                Ok(0) | Err(_) => break,
                Ok(length) => this.left = this.left.saturating_sub(length),
            }
        }
        Poll::Ready(Ok(()))
    }
}
