//! The life of one HTTP link: dial, TLS, then entries become POST requests and statuses become reports, until the server says that it
//! wants a pause, or cannot be reached. A connection that a server closes between two requests is made again without a word.
//!
//! [`PostQueue`] decides what a request holds, and what a status means.

use std::rc::Rc;

use holdfast_core::config::client::{Auth, Client};
use holdfast_core::ids::EndpointId;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::http_status::Meaning;
use holdfast_core::link::post_queue::{PostQueue, PostRule};
use holdfast_core::link::probe::DialStep;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Refusal};
use holdfast_core::wire::RequestBody;
use smol::channel::{Receiver, Sender};

use super::uplink::Uplink;
use crate::net::{DialTrace, Gauge};

mod poster;
mod session;

use poster::Poster;

/// Makes connections to one endpoint of the client's until one fails.
///
/// The last report is `DialFailed` or `Closed`, exactly once. When all senders of `orders` are gone it ends. The gauge counts the bytes
/// of the last connection.
pub async fn run(
    uplink: Rc<Uplink>,
    endpoint: EndpointId,
    orders: Receiver<LinkOrder>,
    reports: Sender<LinkReport>,
    gauge: Gauge,
) {
    let client = &uplink.client;
    let dialed = match Poster::new(client, endpoint, gauge) {
        Err(refusal) => Err(refusal),
        Ok(mut poster) => poster.dial(&DialTrace::new()).await.map(|peer| (poster, peer)),
    };
    let (poster, peer) = match dialed {
        Ok(dialed) => dialed,
        Err(refusal) => {
            // A report that nobody takes any more is not worth an error: whoever listened is hanging up.
            let _ = reports.send(LinkReport::DialFailed(refusal)).await;
            return;
        }
    };
    let _ = reports.send(LinkReport::Up(peer)).await;
    let queue = PostQueue::new(PostRule {
        epochs: uplink.lanes.iter().map(|lane| lane.epoch.clone()).collect(),
        batch: client.batch,
        encoding: client.encoding,
        elements: client.elements,
    });
    session::run(poster, queue, &orders, &reports).await;
}

/// Whether an endpoint of a client can be connected to. The error says why not.
pub async fn probe(client: &Client, endpoint: EndpointId) -> Result<(), String> {
    let dialed = async {
        let mut poster = Poster::new(client, endpoint, Gauge::default())?;
        poster.dial(&DialTrace::new()).await
    };
    dialed.await.map(|_| ()).map_err(|refusal: Refusal| refusal.to_string())
}

/// Makes one connection as the agent does, and posts a batch without messages. The stage tells how far it came.
pub async fn test(client: &Client, endpoint: EndpointId, stage: &DialTrace) -> Result<(), Refusal> {
    let mut poster = Poster::new(client, endpoint, Gauge::default())?;
    poster.dial(stage).await?;
    stage.enter(DialStep::Request);
    let body = RequestBody::new(client.encoding, client.elements).finish();
    let answer = poster.post_once(body).await?;
    let meaning = Meaning::of(answer.status, answer.retry_after);
    if let Some(asks) = meaning.refusal() {
        return Err(Refusal::new(DialError::Http { status: answer.status, asks }, answer.words));
    }
    stage.found(match meaning {
        Meaning::Taken => format!("an empty batch, {}", answer.status_words()),
        Meaning::Refused | Meaning::TooLarge | Meaning::Failed(_) => {
            format!("{}, as an empty batch may be answered", answer.status_words())
        }
    });
    stage.enter(DialStep::Authentication);
    stage.found(if client.auth == Auth::None { "none asked for" } else { "accepted" });
    Ok(())
}
