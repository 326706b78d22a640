//! MQTT: one connection of a sensor, from its CONNECT to its will. What is answered is decided in [`holdfast_core::source::mqtt`].

mod batch;
mod clients;
mod conversation;
pub mod downlink;
mod packet_stream;
mod route;
mod web_socket;
mod welcome;
mod will;

use std::rc::Rc;

pub use clients::Clients;
use conversation::{Conversation, End};
use holdfast_core::source::mqtt::greeting::{self, KeepAlive};
use holdfast_core::source::mqtt::packet::Reply;
use packet_stream::PacketStream;
pub use route::TopicRouter;
pub use web_socket::{Frames, upgrade};
use welcome::Welcome;

use super::ServerState;
use super::access::peer::Peer;
use super::memory::{Accounted, Metered};
use crate::net::Stream;
use crate::os::clock;

/// Serves a sensor over a connection of its own.
pub async fn run(site: Rc<ServerState>, stream: Stream, peer: Rc<Peer>) {
    let metered = Metered::new(stream, peer.share.clone());
    converse(site, Box::new(metered), peer).await;
}

/// Serves a sensor until it goes, is silent for too long, or the agent stops.
pub async fn converse(site: Rc<ServerState>, stream: Box<dyn Accounted>, peer: Rc<Peer>) {
    let most = greeting::packet_max(site.limits.message_bytes);
    let mut stream = PacketStream::new(stream, most);
    let Welcome { client, mut held, session, will, outbound } =
        match welcome::receive(&site, &peer, &mut stream).await {
            Ok(welcome) => welcome,
            Err(why) => {
                log::debug!("connection refused source={} from={}: {why}", site.source, peer.remote);
                return stream.close().await;
            }
        };
    let devices = will::devices(will.as_ref(), &client.id);
    for device in &devices {
        site.intake.connected(device).await;
    }
    let watch = KeepAlive::new(client.keep_alive_s, clock::now().mono);
    let mut conversation =
        Conversation::new(site.clone(), peer.clone(), stream, session, watch, client.expiry_s, outbound);
    let end = Box::pin(conversation.run(&held.evicted)).await;
    log::debug!("session ended source={} from={}: {end:?}", site.source, peer.remote);
    let (mut stream, session) = conversation.into_parts();
    if let End::Leaving { expiry_s: Some(seconds), .. } = &end {
        held.expiry = greeting::granted(*seconds);
    }
    let expiry = held.expiry;
    let owner = held.close(session);
    for device in &devices {
        site.intake.disconnected(device).await;
    }
    if let End::Closing(why) = &end {
        stream.queue(&Reply::Disconnect { reason: why.reason, words: why.words.clone() });
    }
    stream.close().await;
    if let Some(will) = will.filter(|_| end.publishes_will()) {
        will::publish(&site, &peer, will, &owner, expiry).await;
    }
}
