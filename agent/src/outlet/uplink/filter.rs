//! The stream below a WebSocket, with what nobody wants cut out of what comes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use holdfast_core::wire::{Arrived, CloseFrame, FrameFilter};
use smol::io::{self, AsyncRead};

use crate::net::{Stream, writes_pass};

/// Bytes that are thrown away before others have their turn.
const DROPPED_AT_ONCE: usize = 256 << 10;

/// Knowledge of the filter about the stream.
#[derive(Debug, Clone)]
pub struct Seen(Arc<Mutex<FrameFilter>>);

/// A stream whose incoming frames are filtered.
pub struct Filtered {
    stream: Stream,
    seen: Seen,
    /// Bytes that passed and were not asked for yet.
    passed: Vec<u8>,
    given: usize,
}

impl Seen {
    /// The message that the WebSocket has handed out, one call for each.
    pub fn arrived(&self) -> Option<Arrived> {
        self.filter().next_arrived()
    }

    /// The peer's close frame, once it has come.
    pub fn close(&self) -> Option<CloseFrame> {
        self.filter().close().cloned()
    }

    fn filter(&self) -> MutexGuard<'_, FrameFilter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Filters a stream of which this part was read already: messages of at most `keep_max` bytes pass.
pub fn filtered(stream: Stream, part: &[u8], keep_max: usize) -> (Filtered, Seen) {
    let seen = Seen(Arc::new(Mutex::new(FrameFilter::new(keep_max))));
    let mut passed = Vec::new();
    seen.filter().take(part, &mut passed);
    (Filtered { stream, seen: seen.clone(), passed, given: 0 }, seen)
}

impl AsyncRead for Filtered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let own = &mut *self;
        let mut dropped = 0;
        while own.given == own.passed.len() {
            if dropped > DROPPED_AT_ONCE {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let length = ready!(Pin::new(&mut own.stream).poll_read(cx, bytes))?;
            if length == 0 {
                return Poll::Ready(Ok(0));
            }
            dropped += length;
            own.passed.clear();
            own.given = 0;
            own.seen.filter().take(&bytes[..length], &mut own.passed);
        }
        let rest = &own.passed[own.given..];
        let length = rest.len().min(bytes.len());
        bytes[..length].copy_from_slice(&rest[..length]);
        own.given += length;
        Poll::Ready(Ok(length))
    }
}

writes_pass!(Filtered);
