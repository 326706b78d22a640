//! `/subscribe?topic=GLOB`: a WebSocket that only reads. Every message that is accepted comes as a text frame of JSON, and a loss
//! as `{"dropped":N}`.

use std::pin::pin;
use std::rc::Rc;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt;
use holdfast_core::config::server::Audience;
use holdfast_core::topic_filter::TopicFilter;
use holdfast_core::wire;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use smol::Timer;
use smol::future::or;

use super::consumer;
use crate::source::intake::{Delivery, Subscription};
use crate::source::server::ServerState;
use crate::source::server::access::peer::Peer;
use crate::source::server::http::{ApiError, HttpReply, Slot};
use crate::source::server::memory::Metered;
use crate::source::server::request::batch::End;
use crate::source::server::session::{self, Purpose};

/// Where it is.
pub const PATH: &str = "/subscribe";
/// Messages that are written before the socket is flushed.
const BATCH: usize = 64;

/// Accepts a subscriber, or says why not.
pub async fn upgrade(
    site: &ServerState,
    peer: &Peer,
    request: Request<Incoming>,
    slot: &Slot,
) -> Result<HttpReply, ApiError> {
    if site.subscribe == Audience::Local && !peer.is_local() {
        return Err(peer.not_local(site, "/subscribe"));
    }
    if !session::is_upgrade(request.headers()) {
        let error = "/subscribe is for WebSockets: GET /api/topics tells the last messages";
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, error)
            .with(header::UPGRADE, HeaderValue::from_static("websocket")));
    }
    let accept = session::accept_key(&request)?;
    let mut filters = consumer::filters(request.uri().query())?;
    if filters.is_empty() {
        filters.push(TopicFilter::parse("#").map_err(ApiError::bad)?);
    }
    let feed = site.intake.subscribe(filters).await;
    let feed = feed.map_err(|error| {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error)
            .with(header::RETRY_AFTER, HeaderValue::from_static("10"))
    })?;
    Ok(session::switch(request, accept, None, Purpose::Read(feed), slot))
}

enum Event {
    Stopping,
    Delivery(Option<Delivery>),
    /// Something came, or nothing can come any more.
    Heard(bool),
    Tick,
}

/// Tells the news until one side ends it. What the subscriber sends is ignored.
pub async fn run(
    site: &Rc<ServerState>,
    peer: &Peer,
    socket: &mut WebSocketStream<Metered>,
    feed: &Subscription,
) -> End {
    let mut stopping = pin!(site.intake.stopping());
    let mut ticks = Timer::interval(site.limits.idle_timeout / session::TICKS);
    let mut silent = 0;
    loop {
        let stop = async {
            stopping.as_mut().await;
            Event::Stopping
        };
        let news = async { Event::Delivery(feed.next().await) };
        let heard =
            async { Event::Heard(matches!(socket.next().await, Some(Ok(frame)) if !frame.is_close())) };
        let tick = async {
            ticks.next().await;
            Event::Tick
        };
        let event = or(or(stop, heard), or(news, tick)).await;
        let told = match event {
            Event::Stopping | Event::Delivery(None) => return session::stopped(),
            Event::Heard(false) => return End::Gone,
            Event::Heard(true) => {
                peer.share.give_up(usize::MAX);
                silent = 0;
                Ok(())
            }
            Event::Delivery(Some(first)) => tell(socket, first, feed).await,
            Event::Tick => {
                silent += 1;
                session::look_at_silence(site, socket, silent).await
            }
        };
        if let Err(end) = told {
            return end;
        }
    }
}

/// Writes this and what waits behind it, up to a bound.
async fn tell(
    socket: &mut WebSocketStream<Metered>,
    first: Delivery,
    feed: &Subscription,
) -> Result<(), End> {
    let rest = std::iter::from_fn(|| feed.waiting()).take(BATCH - 1);
    let frames = std::iter::once(first).chain(rest).map(|news| match news {
        Delivery::Message(message) => Message::text(wire::message_line(&message)),
        Delivery::Dropped(count) => Message::text(format!("{{\"dropped\":{count}}}")),
    });
    session::write(socket, frames).await
}
