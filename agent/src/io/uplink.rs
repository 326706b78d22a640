//! The life of one WebSocket connection to the outside: dial, TLS, upgrade, then orders become frames and frames become
//! reports, until it is over. When to dial again is decided elsewhere; dropping the future closes the socket.

use std::rc::Rc;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::or;

use super::net::{self, Stage, Stream};
use crate::config::client::Client;
use crate::logic::port::{LinkOrder, LinkReport, Peer, Refusal, RefusalKind};

mod codec;
mod request;
mod session;
mod upgrade;

use request::Request;

/// Largest message and frame that a peer may send.
const INBOUND_MAX: usize = 1 << 20;
const READ_BUFFER: usize = 16 << 10;
const WRITE_BUFFER: usize = 64 << 10;
/// Beyond [`WRITE_BUFFER`] never more than one frame waits: the next one is taken after a flush.
const WRITE_BUFFER_MAX: usize = 64 << 20;

/// What a connection needs to know.
#[derive(Debug, Clone)]
pub struct Uplink {
    /// Its table of the configuration.
    pub client: Client,
    /// Id of this agent, for the hello.
    pub agent: String,
    /// Life of the outlet's numbers.
    pub epoch: String,
}

/// Makes one connection and lives as long as it does.
///
/// The last report is `DialFailed` or `Closed`, exactly once. When all senders of `orders` are gone it says goodbye.
pub async fn run(uplink: Rc<Uplink>, orders: Receiver<LinkOrder>, reports: Sender<LinkReport>) {
    let last = match dial(&uplink.client).await {
        Err(refusal) => LinkReport::DialFailed(refusal),
        Ok((socket, peer)) => {
            // A report that nobody takes any more is not worth an error: whoever listened is hanging up.
            let _ = reports.send(LinkReport::Up(peer)).await;
            let end = session::run(socket, &uplink, &orders, &reports).await;
            LinkReport::Closed { code: end.code, error: end.error }
        }
    };
    let _ = reports.send(last).await;
}

async fn dial(client: &Client) -> Result<(WebSocketStream<Stream>, Peer), Refusal> {
    let retry = |error| Refusal { kind: RefusalKind::Retry, error };
    let request =
        Request::new(client).map_err(|cause| retry(format!("cannot dial client {}: {cause}", client.id)))?;
    let stage = Stage::new();
    let deadline = async {
        Timer::after(client.connect_timeout).await;
        let after_s = client.connect_timeout.as_secs_f32();
        Err(retry(format!("timed out after {after_s} s {}", stage.name())))
    };
    let dialed = or(connect(client, &request, &stage), deadline).await;
    dialed.map_err(|refusal| Refusal {
        error: format!("cannot dial {}: {}", request.label, refusal.error),
        ..refusal
    })
}

async fn connect(
    client: &Client,
    request: &Request,
    stage: &Stage,
) -> Result<(WebSocketStream<Stream>, Peer), Refusal> {
    let (mut stream, peer) = net::open(&request.target, &client.tls, user_timeout(client), stage)
        .await
        .map_err(|error| Refusal { kind: RefusalKind::Retry, error })?;
    stage.enter("while waiting for the answer to the upgrade");
    let tail = upgrade::upgrade(&mut stream, request).await?;
    let socket = WebSocketStream::from_partially_read(stream, tail, Role::Client, Some(limits())).await;
    Ok((socket, peer))
}

/// The kernel's deadline stands behind ours: it ends what no ping watches.
fn user_timeout(client: &Client) -> Duration {
    client.confirm_timeout.max(client.ping.interval.saturating_add(client.ping.timeout))
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER_MAX)
        .max_message_size(Some(INBOUND_MAX))
        .max_frame_size(Some(INBOUND_MAX))
}

#[cfg(test)]
mod tests;
