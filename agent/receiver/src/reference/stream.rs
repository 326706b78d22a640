//! The bytes of one connection, plain or TLS, and the two faults that can only be made here: pongs that never leave and
//! reading slowly.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::state::Conduct;
use smol::Timer;
use smol::io::{AsyncRead, AsyncWrite};

/// A connection under a WebSocket.
pub struct Stream {
    inner: Box<dyn Duplex>,
    slow: Option<Allowance>,
    pongs: Option<PongFilter>,
}

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Stream {
    /// Behaves well at first.
    pub fn new(inner: impl Duplex + 'static) -> Stream {
        Stream { inner: Box::new(inner), slow: None, pongs: None }
    }

    /// Shows the faults of this conduct from here on. To be called after the upgrade, when only frames are written.
    pub fn misbehave(&mut self, conduct: &Conduct) {
        self.slow = conduct.bytes_per_second.map(Allowance::new);
        self.pongs = conduct.no_pong.then(PongFilter::default);
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(slow) = &mut this.slow else { return Pin::new(&mut this.inner).poll_read(cx, buf) };
        let allowed = ready!(slow.poll(cx)).min(buf.len());
        let count = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buf[..allowed]))?;
        slow.left -= count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(pongs) = &mut this.pongs else { return Pin::new(&mut this.inner).poll_write(cx, buf) };
        match pongs.next(buf) {
            Piece::Swallow(count) => Poll::Ready(Ok(count)),
            Piece::Pass(count) => {
                let written = ready!(Pin::new(&mut this.inner).poll_write(cx, &buf[..count]))?;
                pongs.passed(written);
                Poll::Ready(Ok(written))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

const TICK: Duration = Duration::from_millis(100);
const TICKS_PER_SECOND: usize = 10;

/// How much may still be read in this tick.
struct Allowance {
    each_tick: usize,
    left: usize,
    timer: Timer,
}

impl Allowance {
    fn new(bytes_per_second: u32) -> Allowance {
        let each_tick = (bytes_per_second as usize / TICKS_PER_SECOND).max(1);
        Allowance { each_tick, left: each_tick, timer: Timer::after(TICK) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.left == 0 {
            ready!(Pin::new(&mut self.timer).poll(cx));
            self.timer.set_after(TICK);
            self.left = self.each_tick;
        }
        Poll::Ready(self.left)
    }
}

/// Opcode of a pong with its FIN bit (RFC 6455 §5.2).
const FINAL_PONG: u8 = 0x8a;

/// Follows the frames of a server, which are never masked. The WebSocket layer buffers whole frames, so what follows a
/// frame's end starts with the whole head of the next.
#[derive(Default)]
struct PongFilter {
    /// Bytes of a frame that is passing which are not written yet.
    passing: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Pass(usize),
    Swallow(usize),
}

impl PongFilter {
    fn next(&mut self, buf: &[u8]) -> Piece {
        if self.passing == 0 {
            let length = frame_length(buf);
            if buf.first() == Some(&FINAL_PONG) {
                return Piece::Swallow(length.min(buf.len()));
            }
            self.passing = length;
        }
        Piece::Pass(self.passing.min(buf.len()))
    }

    fn passed(&mut self, count: usize) {
        self.passing -= count;
    }
}

fn frame_length(head: &[u8]) -> usize {
    match *head {
        [_, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
        [_, 127, a, b, c, d, e, f, g, h, ..] => {
            let length = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            usize::try_from(length).unwrap_or(usize::MAX).saturating_add(10)
        }
        [_, length, ..] => 2 + usize::from(length),
        [] | [_] => head.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_is_swallowed_and_the_frames_around_it_pass_in_any_pieces() {
        let frames = [&[0x81, 2, b'h', b'i'][..], &[0x8a, 1, b'x'], &[0x82, 126, 0, 1, 7]].concat();
        let mut filter = PongFilter::default();
        let (mut rest, mut passed) = (&frames[..], Vec::new());
        while !rest.is_empty() {
            match filter.next(rest) {
                Piece::Swallow(count) => rest = &rest[count..],
                Piece::Pass(_) => {
                    passed.push(rest[0]);
                    filter.passed(1);
                    rest = &rest[1..];
                }
            }
        }
        assert_eq!(passed, [0x81, 2, b'h', b'i', 0x82, 126, 0, 1, 7]);
    }

    #[test]
    fn every_form_of_length_is_understood() {
        assert_eq!(frame_length(&[0x81, 125]), 127);
        assert_eq!(frame_length(&[0x81, 126, 1, 0]), 260);
        assert_eq!(frame_length(&[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]), 65_546);
    }
}
