//! The life of one connection to an MQTT broker, of a link or for the status: dial, TLS, CONNECT, then orders become publications and PUBACKs become
//! reports, until it is over. The same contract as an uplink's; dropping the future closes the socket.
//!
//! Each connection is a clean session: what was not acknowledged is held in front of us and sent again. Version 5 is tried first, since
//! only there a broker says what it does not take.

use std::rc::Rc;

use holdfast_core::config::client::{Auth, Client};
use holdfast_core::config::mqtt::Mqtt;
use holdfast_core::config::{Secret, Url};
use holdfast_core::ids::EndpointId;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Publication, Refusal};
use holdfast_core::source::mqtt::packet::Version;
use percent_encoding::percent_decode_str;
use smol::channel::{Receiver, Sender};

use super::request::unusable;
use super::uplink::Uplink;
use crate::net::{DialTrace, Gauge};

mod connect;
mod encode;
pub mod packet_stream;
mod publishing;
mod session;
mod trial;

use connect::{Connected, Way, dial};
use publishing::{Publishes, Template};
use session::End;
pub use trial::{probe_link, test, test_link};

/// What a connection needs to know.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Its table of the configuration.
    pub mqtt: Mqtt,
    /// What the broker publishes when the connection is lost.
    pub will: Option<Publication>,
    /// Version that it understood last.
    pub spoken: Option<Version>,
}

/// Makes one connection and lives as long as it does.
///
/// The last report is `DialFailed` or `Closed`, exactly once. When all senders of `orders` are gone it says goodbye.
/// The gauge counts its bytes.
pub async fn run(broker: Rc<Broker>, orders: Receiver<LinkOrder>, reports: Sender<LinkReport>, gauge: Gauge) {
    let Broker { mqtt, will, spoken } = &*broker;
    let dialed = dial(mqtt, will.as_ref(), 0, &Way::straight(*spoken), &DialTrace::new(), &gauge).await;
    live(dialed, (Publishes::news(mqtt), &mqtt.client_id), &orders, &reports, &gauge).await;
}

/// The same for a link, whose messages it publishes.
pub async fn run_link(
    uplink: Rc<Uplink>,
    endpoint: EndpointId,
    orders: Receiver<LinkOrder>,
    reports: Sender<LinkReport>,
    gauge: Gauge,
) {
    let client = &uplink.client;
    let dialed = match (table(client, endpoint, &uplink.agent), Way::of(client, uplink.spoken)) {
        (Ok(mqtt), Ok(way)) => dial(&mqtt, None, client.publish.qos, &way, &DialTrace::new(), &gauge).await,
        (Err(cause), _) | (_, Err(cause)) => Err(unusable(client, cause)),
    };
    let (publishes, id) = (Publishes::Messages(Template::of(&uplink)), client.mqtt_client_id(&uplink.agent));
    live(dialed, (publishes, &id), &orders, &reports, &gauge).await;
}

async fn live(
    dialed: Result<Connected, Refusal>,
    (publishes, client_id): (Publishes, &str),
    orders: &Receiver<LinkOrder>,
    reports: &Sender<LinkReport>,
    gauge: &Gauge,
) {
    let last = match dialed {
        Err(refusal) => LinkReport::DialFailed(refusal),
        Ok(Connected { stream, peer, terms }) => {
            // A report that nobody takes any more is not worth an error: whoever listened is hanging up.
            let _ = reports.send(LinkReport::Up(peer)).await;
            let End { closing, error } =
                session::run(stream, terms, (publishes, client_id), orders, reports, gauge).await;
            LinkReport::Closed { closing, error }
        }
    };
    let _ = reports.send(last).await;
}

/// Settings of a client for its broker, as `[mqtt]` would have them.
fn table(client: &Client, endpoint: EndpointId, agent: &str) -> Result<Mqtt, String> {
    let text = client.endpoints().into_iter().nth(endpoint.0).ok_or("it has no url")?;
    let url = Url::parse(&text, connect::SCHEMES).map_err(|error| format!("its url {error}"))?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (username, password) = match (&client.auth, url.user) {
        (Auth::Basic { username, password }, _) => (Some(username.clone()), Some(password.clone())),
        (_, Some((name, password))) => {
            (Some(decoded(name)), password.map(|password| Secret::Plain(decoded(password))))
        }
        (_, None) => (None, None),
    };
    Ok(Mqtt {
        client_id: client.mqtt_client_id(agent),
        username,
        password,
        tls: client.tls.clone(),
        keep_alive: client.ping.interval,
        version: client.publish.version,
        qos: client.publish.qos,
        retain: client.publish.retain,
        ..Mqtt::of_url(&format!("{}://{}", url.scheme, url.authority), agent)
    })
}

#[cfg(test)]
mod tests;
