//! Words for callers whose request cannot be read. hyper answers those by itself, with a status and nothing else: that answer is held
//! back, and one with words takes its place.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pub use holdfast_core::source::malformed::is_plain;
use holdfast_core::source::malformed::plain_to_tls as words_for_plain;
use holdfast_core::source::malformed::{Fault, explain, is_tls};
use hyper::StatusCode;
use smol::Timer;
use smol::future::or;
use smol::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::ServerState;
use super::connection::HEAD_BYTES;
use super::http::ApiError;
use super::linger::Linger;

/// How long a caller may take for its answer, and for its part of the end.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A connection on which the bare answers of hyper are held back.
pub struct Worded {
    stream: Linger,
    /// All that was to be written is written.
    is_flushed: bool,
    /// An answer was held back; it was the last one.
    is_held_back: bool,
}

impl Worded {
    /// The same connection.
    pub fn new(stream: Linger) -> Worded {
        Worded { stream, is_flushed: true, is_held_back: false }
    }

    /// The bare connection.
    pub fn into_inner(self) -> Linger {
        self.stream
    }
}

/// Whether this is an answer that hyper makes of itself: a refusal without words, which no part of this server gives.
fn is_bare(bytes: &[u8]) -> bool {
    let refuses = ["400", "414", "431"].iter().any(|status| bytes[9..].starts_with(status.as_bytes()));
    refuses && bytes.ends_with(b"\r\n\r\n") && bytes.windows(19).any(|line| line == b"content-length: 0\r\n")
}

impl AsyncRead for Worded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Worded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // A head always begins a write here: hyper reads the next request only once the answer before is flushed.
        let is_head = self.is_flushed && bytes.starts_with(b"HTTP/1.1 ");
        self.is_held_back |= is_head && is_bare(bytes);
        if self.is_held_back {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.is_flushed = false;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.is_held_back {
            true => Poll::Ready(Ok(())),
            false => Pin::new(&mut self.stream).poll_close(cx),
        }
    }
}

/// Tells a caller why its connection ends, if no answer that it was owed was begun. `head` is what is left of what came.
pub async fn answer(site: &ServerState, mut stream: Worded, error: &hyper::Error, head: &[u8]) {
    let words = error.to_string();
    let fault = match error {
        _ if error.is_parse_version_h2() => Fault::Http2,
        _ if error.is_timeout() => Fault::Late(site.limits.handshake_timeout),
        _ if error.is_incomplete_message() => Fault::Ended,
        _ if error.is_parse_too_large() => Fault::TooLarge(HEAD_BYTES),
        _ => Fault::Grammar(&words),
    };
    let is_silent = stream.is_flushed && !matches!(fault, Fault::Grammar(_)) && !head.is_empty();
    if !(stream.is_held_back || is_silent) {
        return;
    }
    if is_tls(head) && site.gate.borrow_mut().is_news("TLS") {
        log::warn!(
            "a caller speaks TLS source={}: this port speaks plain HTTP, as [[server]] has no tls",
            site.source
        );
    }
    let (status, error) = explain(fault, head, site.id());
    write(&mut stream.stream, status, error).await;
}

/// Tells a caller who speaks plain HTTP that TLS is spoken here.
pub async fn plain_to_tls(site: &ServerState, mut stream: Linger) {
    write(&mut stream, 400, words_for_plain(site.id())).await;
}

async fn write(stream: &mut Linger, status: u16, error: String) {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let text = ApiError::new(status, error).text();
    let answer = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    let written = async {
        if stream.write_all(answer.as_bytes()).await.is_ok() {
            let _ = stream.close().await;
        }
    };
    let late = async {
        Timer::after(TIMEOUT).await;
    };
    or(written, late).await;
}
