//! How messages leave: `uplink` is the WebSocket connection of a link, `http` posts the batches of one, `mqtt` publishes at a
//! broker: the messages of a link, or how the agent is.

mod answer;
pub mod http;
pub mod mqtt;
pub mod probe;
mod request;
pub mod uplink;

use std::rc::Rc;

use holdfast_core::config::client::Client;
use holdfast_core::config::link_kind::LinkKind;
use holdfast_core::ids::EndpointId;
use holdfast_core::link::protocol::{LinkOrder, LinkReport};
use smol::channel::{Receiver, Sender};

use self::uplink::Uplink;
use crate::net::Gauge;

/// Makes one connection of a client's link and lives as long as it does, as the module of its kind says.
pub async fn run(
    uplink: Rc<Uplink>,
    endpoint: EndpointId,
    orders: Receiver<LinkOrder>,
    reports: Sender<LinkReport>,
    gauge: Gauge,
) {
    match uplink.client.kind() {
        LinkKind::WebSocket => uplink::run(uplink, endpoint, orders, reports, gauge).await,
        // Of another size than the future of a WebSocket, which should not grow by it.
        LinkKind::Http => Box::pin(http::run(uplink, endpoint, orders, reports, gauge)).await,
        LinkKind::Mqtt => Box::pin(mqtt::run_link(uplink, endpoint, orders, reports, gauge)).await,
    }
}

/// Whether an endpoint of a client works. The error says why not.
pub async fn probe(client: &Client, endpoint: EndpointId) -> Result<(), String> {
    match client.kind() {
        LinkKind::WebSocket => uplink::probe(client, endpoint).await,
        LinkKind::Http => http::probe(client, endpoint).await,
        LinkKind::Mqtt => mqtt::probe_link(client, endpoint).await.map_err(|refusal| refusal.error),
    }
}
