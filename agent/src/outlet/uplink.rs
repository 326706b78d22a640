//! The life of one WebSocket connection to the outside: dial, TLS, upgrade, then orders become frames and frames become
//! reports, until it is over. When to dial again is decided elsewhere; dropping the future closes the socket.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Error, Message};
use futures_util::StreamExt;
use holdfast_core::config::client::{Auth, Client, Confirm, Framing};
use holdfast_core::ids::EndpointId;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::probe::{DialStep, NO_ECHO, PingAnswer};
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Peer, Refusal, RefusalKind};
use holdfast_core::link::redirect::REDIRECTS_MAX;
use holdfast_core::source::mqtt::packet::Version;
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::or;

use super::request::Request;
use crate::net::{self, DialTrace, Gauge, Stream};

mod codec;
mod filter;
mod inbound;
mod session;
mod upgrade;

use filter::Seen;
pub use inbound::Inbound;
use upgrade::Outcome;

/// Largest answer of a peer that is read.
const ANSWER_MAX: usize = 64 << 10;
/// Largest payload of a control frame (RFC 6455 §5.5).
const CONTROL_MAX: usize = 125;
const READ_BUFFER: usize = 16 << 10;
const WRITE_BUFFER: usize = 64 << 10;
/// Beyond [`WRITE_BUFFER`] never more than one frame waits: the next one is taken after a flush.
const WRITE_BUFFER_MAX: usize = 64 << 20;
const TEST_PING: &[u8] = b"holdfast test";
/// How long a test waits for the peer's part of the closing.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a connection needs to know.
#[derive(Debug, Clone)]
pub struct Uplink {
    /// Its table of the configuration.
    pub client: Client,
    /// Id of this agent, for the hello.
    pub agent: String,
    /// How messages are made of what the peer sends of its own, if they are.
    pub inbound: Option<Inbound>,
    /// Its lanes in rising priority, the first of priority 0.
    pub lanes: Vec<Lane>,
    /// How long its messages live, if not for ever.
    pub ttl: Option<Duration>,
    /// Version of MQTT that its broker understood last.
    pub spoken: Option<Version>,
}

/// One priority's place on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// From 0 to 9.
    pub priority: u8,
    /// Life of its numbers.
    pub epoch: String,
}

/// A WebSocket, and what is known of the messages that come out of it.
struct Socket {
    stream: WebSocketStream<Stream>,
    seen: Seen,
}

/// Makes one connection and lives as long as it does.
///
/// `endpoint` is one of the client's. The last report is `DialFailed` or `Closed`, exactly once. When all senders of `orders` are
/// gone it says goodbye. The gauge counts its bytes.
pub async fn run(
    uplink: Rc<Uplink>,
    endpoint: EndpointId,
    orders: Receiver<LinkOrder>,
    reports: Sender<LinkReport>,
    gauge: Gauge,
) {
    let last = match dial(&uplink.client, endpoint, &DialTrace::new(), &gauge).await {
        Err(refusal) => LinkReport::DialFailed(refusal),
        Ok((socket, peer, first)) => {
            // A report that nobody takes any more is not worth an error: whoever listened is hanging up.
            let _ = reports.send(LinkReport::Up(peer)).await;
            return session::run(socket, &uplink, first, &orders, &reports, &gauge).await;
        }
    };
    let _ = reports.send(last).await;
}

/// Whether an endpoint of a client works: it takes the connection, and answers a ping if the client counts on its pongs. The
/// error says why not.
pub async fn probe(client: &Client, endpoint: EndpointId) -> Result<(), String> {
    let (mut socket, ..) = dial(client, endpoint, &DialTrace::new(), &Gauge::default())
        .await
        .map_err(|refusal| refusal.to_string())?;
    if client.confirm != Confirm::None {
        let answer = ping(client, &mut socket).await?;
        if client.confirm == Confirm::Pong && answer != PingAnswer::Echo {
            return Err(NO_ECHO.to_owned());
        }
    }
    say_goodbye(&mut socket).await;
    Ok(())
}

/// Makes one connection as the agent does, has a ping answered, and says goodbye. The stage tells how far it came.
pub async fn test(client: &Client, endpoint: EndpointId, stage: &DialTrace) -> Result<(), Refusal> {
    let (mut socket, ..) = dial(client, endpoint, stage, &Gauge::default()).await?;
    stage.enter(DialStep::Authentication);
    stage.found(if client.auth == Auth::None { "none asked for" } else { "accepted" });
    stage.enter(DialStep::Ping);
    let answer = ping(client, &mut socket).await;
    match answer.map_err(|error| Refusal::new(DialError::NoPong, error))? {
        PingAnswer::Echo => {}
        PingAnswer::Other if client.confirm == Confirm::Pong => {
            return Err(Refusal::new(DialError::NoEcho, NO_ECHO));
        }
        PingAnswer::Other => stage.found("answered without an echo"),
    }
    say_goodbye(&mut socket).await;
    Ok(())
}

/// The answer to a ping. A pong that echoes nothing may be one of the peer's own, so that the echo is waited for.
async fn ping(client: &Client, socket: &mut Socket) -> Result<PingAnswer, String> {
    let other_came = Cell::new(false);
    let late = async {
        Timer::after(client.ping.timeout).await;
        match other_came.get() {
            true => Ok(PingAnswer::Other),
            false => Err(format!("no pong within {} s", client.ping.timeout.as_secs_f32())),
        }
    };
    or(echo_of_ping(socket, &other_came), late).await
}

/// How the peer takes it changes nothing.
async fn say_goodbye(socket: &mut Socket) {
    let going = async {
        let _ = socket.stream.close(None).await;
    };
    or(going, async {
        Timer::after(GOODBYE).await;
    })
    .await;
}

async fn echo_of_ping(socket: &mut Socket, other_came: &Cell<bool>) -> Result<PingAnswer, String> {
    let broken = |error: Error| format!("the connection broke: {error}");
    socket.stream.send(Message::Ping(TEST_PING.into())).await.map_err(broken)?;
    loop {
        let next = socket.stream.next().await;
        if let Some(close) = socket.seen.close() {
            return Err(session::words_of_close(&close));
        }
        match next {
            Some(Ok(Message::Pong(payload))) if payload == TEST_PING => return Ok(PingAnswer::Echo),
            Some(Ok(message)) => other_came.set(other_came.get() || message.is_pong()),
            Some(Err(error)) => return Err(broken(error)),
            None => return Err("the server closed the connection".to_owned()),
        }
    }
}

/// Returns what is to be sent first as well.
async fn dial(
    client: &Client,
    endpoint: EndpointId,
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<(Socket, Peer, Vec<String>), Refusal> {
    let request = Request::of(client, endpoint)?;
    let label = request.label.clone();
    let dialed = stage.within(client.connect_timeout, connect(client, request, stage, gauge)).await;
    dialed.map_err(|refusal| refusal.dialing(label))
}

/// Goes where redirects lead.
async fn connect(
    client: &Client,
    mut request: Request,
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<(Socket, Peer, Vec<String>), Refusal> {
    for redirects in 0..=REDIRECTS_MAX {
        let tried = try_once(client, &request, stage, gauge).await;
        let (stream, peer, outcome) = match redirects {
            0 => tried?,
            _ => tried.map_err(|refusal| behind_redirect(&request, refusal))?,
        };
        match outcome {
            Outcome::Switched(tail) => {
                let keep_max = keep_max(client);
                let (stream, seen) = filter::filtered(stream, &tail, keep_max);
                let stream: Stream = Box::new(stream);
                let stream =
                    WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits(keep_max))).await;
                return Ok((Socket { stream, seen }, peer, request.first));
            }
            Outcome::Moved { status, location } => {
                let next = request.redirected(client, &location);
                request = next.map_err(|why| {
                    Refusal::new(DialError::Redirect, format!("the server answers {status} to {why}"))
                })?;
                log::debug!("redirected client={} status={status:?} to={}", client.id, request.label);
                stage.found(format!("{status}, leads to {}", request.label));
            }
        }
    }
    Err(request.redirected_too_often())
}

async fn try_once(
    client: &Client,
    request: &Request,
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<(Stream, Peer, Outcome), Refusal> {
    let tunnel = request.tunnel.as_ref();
    let (mut stream, peer) =
        net::open(&request.target, tunnel, &request.tls, user_timeout(client), stage, gauge).await?;
    stage.enter(DialStep::Upgrade);
    let outcome = upgrade::upgrade(&mut stream, request, stage).await?;
    Ok((stream, peer, outcome))
}

fn behind_redirect(request: &Request, refusal: Refusal) -> Refusal {
    let asks_for_login = matches!(refusal.cause, DialError::Http { asks: RefusalKind::Unauthorized, .. });
    let (cause, without) = match asks_for_login && request.is_abroad {
        true => (DialError::LoginElsewhere, " (credentials are not sent to another host)"),
        false => (refusal.cause, ""),
    };
    let error = format!("after a redirect to {}: {}{without}", request.label, refusal.error);
    Refusal::new(cause, error)
}

/// The kernel's deadline stands behind ours: it ends what no ping watches.
fn user_timeout(client: &Client) -> Duration {
    client.confirm_timeout.max(client.ping.interval.saturating_add(client.ping.timeout))
}

/// Bytes of the largest message that anybody wants of the peer.
fn keep_max(client: &Client) -> usize {
    let answers = if client.framing == Framing::Envelope { ANSWER_MAX } else { 0 };
    client.inbound.as_ref().map_or(answers, |inbound| inbound.message_bytes.max(answers))
}

/// What is larger than this breaks the frame layer, or the filter would have cut it.
fn limits(keep_max: usize) -> WebSocketConfig {
    let bytes_max = Some(keep_max.max(CONTROL_MAX));
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER_MAX)
        .max_message_size(bytes_max)
        .max_frame_size(bytes_max)
}

#[cfg(test)]
pub(super) mod tests;
