//! A source at a broker: one connection with a session that the broker keeps, from the name to the last PUBACK. The same contract as an uplink's: orders come in,
//! reports go out, and dropping the future closes the socket. What is made of each packet is decided in [`holdfast_core::source::subscriber`].

mod conversation;
mod packet_stream;
mod probe;
mod router;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use holdfast_core::config::mqtt_source::{MqttSource, parse};
use holdfast_core::config::source::Source;
use holdfast_core::config::{Url, shown_url};
use holdfast_core::link::closing::Closing;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::probe::DialStep;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Peer, Refusal};
use holdfast_core::source::mqtt::from_broker::{ConnAck, Found, FromBroker};
use holdfast_core::source::mqtt::to_broker::{self, Hello};
use holdfast_core::source::subscriber::{self, Subscriber};
use smol::channel::{Receiver, Sender};

use self::conversation::Conversation;
use self::packet_stream::PacketStream;
pub use self::probe::test;
pub use self::router::SourceRouter;
use crate::net::{self, DialTrace, Gauge, Target, Tunnel};
use crate::os::secret;
use crate::source::intake::Intake;

const PLAIN: (&str, u16) = ("mqtt", 1883);
const SECURE: (&str, u16) = ("mqtts", 8883);
/// The broker's patience in units of ours: pings are sent by whoever gives the orders, and may come late.
const KEEP_ALIVE_FACTOR: u32 = 3;
/// Room of a packet for what is not payload: topic and properties.
const REST_BYTES: usize = 128 * 1024;

/// What a connection needs to know.
pub struct BrokerSource {
    /// Its table, with the broker that is meant.
    pub source: Arc<Source>,
    /// Its topics; another one takes its place with a reload.
    pub router: Rc<RefCell<Rc<SourceRouter>>>,
    /// What outlives the connection.
    pub subscriber: Rc<RefCell<Subscriber>>,
    /// The way to the loop.
    pub intake: Intake,
}

impl BrokerSource {
    fn mqtt(&self) -> &MqttSource {
        self.source.mqtt()
    }

    /// Filters for the broker.
    fn filters(&self) -> Vec<String> {
        filters(self.mqtt())
    }
}

/// Makes one connection and lives as long as it does. The last report is `DialFailed` or `Closed`, exactly once. When all senders of `orders` are gone it
/// says goodbye. The gauge counts its bytes.
pub async fn run(
    feed: Rc<BrokerSource>,
    orders: Receiver<LinkOrder>,
    reports: Sender<LinkReport>,
    gauge: Gauge,
) {
    let mqtt = feed.mqtt();
    let hello = Greeting { client_id: &mqtt.client_id, clean: false, inflight: feed.source.limits.inflight };
    let dialed = dial(mqtt, &hello, packet_max(&feed.source), &DialTrace::new(), &gauge).await;
    let last = match dialed {
        Err(refusal) => LinkReport::DialFailed(refusal),
        Ok((stream, peer, answer)) => {
            feed.subscriber.borrow_mut().connected(mqtt, hello.inflight, answer.session_present);
            let conversation = Conversation::new(&feed, stream, peer, &reports, &gauge);
            let (end, was_up) = conversation.run(&orders).await;
            if was_up {
                LinkReport::Closed { closing: Closing::Plain, error: end.error }
            } else {
                LinkReport::DialFailed(named(mqtt, end))
            }
        }
    };
    // A report that nobody takes any more is not worth an error: whoever listened is hanging up.
    let _ = reports.send(last).await;
}

/// Faults of the schema of a source that can be found without a message, and what of it should be another way.
pub fn schema_faults(source: &Source) -> Vec<String> {
    let is_there = source.schema.as_deref().is_some_and(Path::is_file);
    let faults = match SourceRouter::new(source, "") {
        _ if !is_there => Vec::new(),
        Ok(router) => router.warnings(),
        Err(fault) => vec![fault],
    };
    faults.into_iter().map(|fault| format!("source {}: {fault}", source.id)).collect()
}

/// How a connection introduces itself.
struct Greeting<'a> {
    client_id: &'a str,
    clean: bool,
    inflight: u16,
}

async fn dial(
    mqtt: &MqttSource,
    greeting: &Greeting<'_>,
    packet_max: usize,
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<(PacketStream, Peer, ConnAck), Refusal> {
    let dialed = stage.within(mqtt.connect_timeout, connect(mqtt, greeting, packet_max, stage, gauge)).await;
    dialed.map_err(|refusal| named(mqtt, refusal))
}

/// With the broker's name.
fn named(mqtt: &MqttSource, refusal: Refusal) -> Refusal {
    let place = mqtt.url.as_deref().map(shown_url).unwrap_or_default();
    refusal.dialing(place.trim_end_matches('/'))
}

async fn connect(
    mqtt: &MqttSource,
    greeting: &Greeting<'_>,
    packet_max: usize,
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<(PacketStream, Peer, ConnAck), Refusal> {
    let url = mqtt.url.as_deref().unwrap_or_default();
    let url = Url::parse(url, [PLAIN.0, SECURE.0]).map_err(|error| settings(format!("its url {error}")))?;
    let target = Target::of(&url, PLAIN, SECURE);
    let tunnel = mqtt.proxy.as_ref().map(Tunnel::new).transpose().map_err(settings)?;
    let version = subscriber::version(mqtt);
    let mut hello = Vec::new();
    write_hello(&mut hello, mqtt, greeting).map_err(settings)?;
    let user_timeout = mqtt.keep_alive.saturating_mul(2);
    let (stream, peer) = net::open(&target, tunnel.as_ref(), &mqtt.tls, user_timeout, stage, gauge).await?;
    stage.enter(DialStep::Connack);
    let mut stream = PacketStream::new(stream, version, packet_max);
    stream.queue_with(|out| out.append(&mut hello));
    stream.flush().await?;
    match first_answer(&mut stream).await? {
        Found::Packet(FromBroker::ConnAck(answer)) => match answer.refusal(version) {
            Some(refusal) => Err(refusal),
            None => Ok((stream, peer, answer)),
        },
        Found::Packet(_) | Found::TooLarge(_) => {
            Err(Refusal::new(DialError::NotMqtt, "the answer to CONNECT is not a CONNACK"))
        }
    }
}

fn write_hello(out: &mut Vec<u8>, mqtt: &MqttSource, greeting: &Greeting) -> Result<(), String> {
    let keep_alive = mqtt.keep_alive.saturating_mul(KEEP_ALIVE_FACTOR).as_secs();
    let password = match &mqtt.username {
        Some(_) => mqtt.password.as_ref().map(secret::read).transpose()?,
        None => None,
    };
    let expiry_s = u32::try_from(mqtt.session_expiry.as_secs().max(1)).unwrap_or(u32::MAX);
    let hello = Hello {
        version: subscriber::version(mqtt),
        client_id: greeting.client_id,
        clean: greeting.clean,
        keep_alive_s: u16::try_from(keep_alive).unwrap_or(u16::MAX),
        username: mqtt.username.as_deref(),
        password: password.as_deref(),
        expiry_s: if greeting.clean { 0 } else { expiry_s },
        receive_max: greeting.inflight,
    };
    to_broker::connect(out, &hello)
}

async fn first_answer(stream: &mut PacketStream) -> Result<Found, Refusal> {
    loop {
        if let Some(found) = stream.found()? {
            return Ok(found);
        }
        let filled = stream.fill().await;
        filled.map_err(|refusal| Refusal {
            error: format!("{} before it answered", refusal.error),
            ..refusal
        })?;
    }
}

fn filters(mqtt: &MqttSource) -> Vec<String> {
    mqtt.topics.iter().filter_map(|topic| parse(topic).ok()).map(|(filter, _)| filter).collect()
}

/// Largest packet for the messages of a source; a larger message is passed over.
fn packet_max(source: &Source) -> usize {
    source.limits.message_bytes + REST_BYTES
}

fn settings(error: String) -> Refusal {
    Refusal::new(DialError::Settings, error)
}
