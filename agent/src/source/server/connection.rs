//! One connection: TLS if there is any, then HTTP, then perhaps a WebSocket.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use holdfast_core::config::server::Protocol;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::Timer;
use smol::future::or;
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::ServerState;
use super::accept::Accepted;
use super::access::forwarded;
use super::access::peer::Peer;
use super::http::{HttpReply, Slot, answer};
use super::linger::Linger;
use super::malformed::{self, Worded};
use super::memory::Share;
use super::preread::Preread;
use super::session::Pending;
use super::{mqtt, session};
use crate::net::{Stream, words};

/// How long requests in flight may take once the agent stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Size of hyper's buffer, and with it of a request's head.
pub const HEAD_BYTES: usize = 16 * 1024;

/// The WebSocket that a connection becomes, and whose it is.
type Upgraded = Rc<Cell<Option<(Pending, Rc<Peer>)>>>;

/// Serves a caller until it goes, is silent for too long, or the agent stops.
pub async fn run(site: Rc<ServerState>, caller: Accepted, share: Rc<Share>) {
    let peer = Rc::new(Peer::new(&site, &caller, share));
    let stream = match open(&site, caller).await {
        Ok(stream) => stream,
        Err(error) => {
            log::debug!("cannot open a connection source={}: {}", site.source, words(&error));
            return;
        }
    };
    let upgraded = Upgraded::default();
    let stream = match site.protocol {
        Protocol::Http => stream,
        Protocol::Mqtt => match first(&site, stream).await {
            // No packet of MQTT begins so.
            Some((b'G', stream)) => stream,
            Some((_, stream)) => return Box::pin(mqtt::run(site, stream, peer)).await,
            None => return,
        },
    };
    // Boxed, so that a session does not carry the memory of the HTTP part along.
    Box::pin(converse(&site, stream, peer, &upgraded)).await;
    if let Some((pending, peer)) = upgraded.take() {
        peer.has_connection(&site);
        session::run(site, pending, peer).await;
    }
}

async fn open(site: &ServerState, caller: Accepted) -> io::Result<Stream> {
    let Some(certificate) = &site.certificate else { return caller.into_stream() };
    let handshake = async {
        let is_plain = malformed::is_plain(&caller.first().await?);
        let stream = caller.into_stream()?;
        if is_plain {
            malformed::plain_to_tls(site, Linger::new(stream)).await;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it speaks plain HTTP where TLS is spoken",
            ));
        }
        Ok(Box::new(certificate.acceptor().accept(stream).await?) as Stream)
    };
    let late = async {
        Timer::after(site.limits.handshake_timeout).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))
    };
    or(handshake, late).await
}

/// The first byte that comes, none if it is late, and the connection as it was.
async fn first(site: &ServerState, stream: Stream) -> Option<(u8, Stream)> {
    let late = async {
        Timer::after(site.limits.handshake_timeout).await;
        None
    };
    let (first, stream) = or(async { Preread::new(stream).await.ok() }, late).await?;
    Some((first, Box::new(stream)))
}

async fn converse(site: &Rc<ServerState>, stream: Stream, connected: Rc<Peer>, upgraded: &Upgraded) {
    let service = service_fn(|request| {
        let (site, connected, upgraded) = (site.clone(), connected.clone(), upgraded.clone());
        async move { Ok::<_, Infallible>(serve(&site, &connected, request, &upgraded).await) }
    });
    let mut connection = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(site.limits.handshake_timeout)
        .half_close(true)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(FuturesIo::new(Worded::new(Linger::new(stream))), service)
        .with_upgrades();
    let stopped = async {
        site.intake.stopping().await;
        None
    };
    let mut ended = or(async { Some(Pin::new(&mut connection).await) }, stopped).await;
    if ended.is_none() {
        Pin::new(&mut connection).graceful_shutdown();
        let late = async {
            Timer::after(STOP_TIMEOUT).await;
            None
        };
        ended = or(async { Some(Pin::new(&mut connection).await) }, late).await;
    }
    let Some(Err(error)) = ended else { return };
    log::debug!("a connection broke source={}: {error}", site.source);
    if let Some(parts) = connection.into_parts() {
        malformed::answer(site, parts.io.into_inner(), &error, &parts.read_buf).await;
    }
}

async fn serve(
    site: &ServerState,
    connected: &Rc<Peer>,
    request: Request<Incoming>,
    upgraded: &Upgraded,
) -> HttpReply {
    let peer = match forwarded::peer(site, connected, &request) {
        Ok(peer) => peer,
        Err(problem) => return problem.into(),
    };
    let slot = Slot::default();
    let page = answer(site, &peer, request, &slot).await;
    if let Some(pending) = slot.take() {
        upgraded.set(Some((pending, peer)));
    }
    page
}
