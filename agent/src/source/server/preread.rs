//! A connection whose first byte was read already, to see what is spoken, and comes again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use smol::io::{AsyncRead, AsyncReadExt};

use crate::net::{Stream, writes_pass};

/// The connection.
pub struct Preread {
    stream: Stream,
    first: Option<u8>,
}

impl Preread {
    /// Waits for the first byte, and gives it with the connection as it was.
    pub async fn new(mut stream: Stream) -> io::Result<(u8, Preread)> {
        let mut first = [0];
        stream.read_exact(&mut first).await?;
        Ok((first[0], Preread { stream, first: Some(first[0]) }))
    }
}

impl AsyncRead for Preread {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match (buffer.first_mut(), self.first) {
            (Some(place), Some(first)) => {
                *place = first;
                self.first = None;
                Poll::Ready(Ok(1))
            }
            (_, _) => Pin::new(&mut self.stream).poll_read(context, buffer),
        }
    }
}

writes_pass!(Preread);
