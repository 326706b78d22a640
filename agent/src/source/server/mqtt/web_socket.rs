//! MQTT over a WebSocket: packets are the bytes of binary frames, wherever these begin and end (MQTT 3.1.1 §6).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::error::Error;
use async_tungstenite::tungstenite::{Bytes, Message};
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use smol::io::{AsyncRead, AsyncWrite};

use super::super::http::{ApiError, HttpReply, Slot};
use super::super::memory::{Accounted, Metered, Share};
use super::super::session::{self, Purpose};

/// Subprotocol that a client offers (MQTT 3.1.1 §6).
const SUBPROTOCOL: &str = "mqtt";
/// Frames without bytes for MQTT after which other tasks have their turn.
const FRAMES: usize = 64;

/// Accepts a handshake, or says what is wrong with the request. Name and password come in CONNECT.
pub fn upgrade(request: Request<Incoming>, slot: &Slot) -> Result<HttpReply, ApiError> {
    if let Some(problem) = session::lost_upgrade(request.headers()) {
        return Err(problem);
    }
    if !session::is_upgrade(request.headers()) {
        let error = "this port speaks MQTT, by itself or over a WebSocket with the subprotocol `mqtt`, and no other HTTP";
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, error)
            .with(header::UPGRADE, HeaderValue::from_static("websocket")));
    }
    let accept = session::accept_key(&request)?;
    let wanted = [SUBPROTOCOL.to_owned()];
    if session::subprotocol(request.headers(), Some(&wanted)).is_none() {
        return Err(ApiError::bad(
            "this port speaks MQTT: offer the subprotocol `mqtt` (Sec-WebSocket-Protocol: mqtt)",
        ));
    }
    Ok(session::switch(request, accept, Some(&wanted), Purpose::Mqtt, slot))
}

/// The bytes in the frames of a WebSocket.
pub struct Frames {
    socket: WebSocketStream<Metered>,
    share: Rc<Share>,
    /// Of the last frame.
    rest: Bytes,
}

impl Frames {
    /// Of this WebSocket, which has this share of the memory.
    pub fn new(socket: WebSocketStream<Metered>, share: Rc<Share>) -> Frames {
        Frames { socket, share, rest: Bytes::new() }
    }

    fn written(result: Result<(), Error>) -> io::Result<()> {
        result.map_err(io::Error::other)
    }
}

impl Accounted for Frames {
    fn complete(&self, rest: usize, more: usize) -> usize {
        self.share.complete_frames_but(self.rest.len() + rest, more)
    }
}

impl AsyncRead for Frames {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        for _ in 0..FRAMES {
            if !this.rest.is_empty() {
                let part = this.rest.split_to(this.rest.len().min(buffer.len()));
                buffer[..part.len()].copy_from_slice(&part);
                return Poll::Ready(Ok(part.len()));
            }
            match ready!(this.socket.poll_next_unpin(context)) {
                Some(Ok(Message::Binary(bytes))) => {
                    this.share.frame(bytes.len(), true);
                    this.rest = bytes;
                }
                Some(Ok(Message::Text(_))) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, "MQTT comes in binary frames");
                    return Poll::Ready(Err(error));
                }
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(0)),
                Some(Ok(frame)) => this.share.frame(frame.len(), false),
                Some(Err(Error::Io(error))) => return Poll::Ready(Err(error)),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for Frames {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Frames::written(ready!(self.socket.poll_ready_unpin(context)))?;
        Frames::written(self.socket.start_send_unpin(Message::binary(bytes.to_vec())))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush_unpin(context).map(Frames::written)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_close_unpin(context).map(Frames::written)
    }
}
