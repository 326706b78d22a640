//! Tests of a broker: a connection as the agent makes it, a ping, and a publication that comes back.

use std::time::Duration;

use holdfast_core::config::client::Client;
use holdfast_core::config::mqtt::Mqtt;
use holdfast_core::ids::EndpointId;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::mqtt::outcome::Outcome;
use holdfast_core::link::mqtt::read_back::{self, ReadBack};
use holdfast_core::link::probe::DialStep;
use holdfast_core::link::protocol::Refusal;
use holdfast_core::source::mqtt::from_broker::FromBroker;
use holdfast_core::source::mqtt::packet::QoS;
use smol::Timer;
use smol::future::or;

use super::connect::{Connected, Way, dial};
use super::encode::{self, GOODBYE, PING, Publish};
use super::packet_stream::PacketError;
use super::publishing::{Template, qos};
use super::table;
use crate::net::{DialTrace, Gauge};
use crate::outlet::request::unusable;

/// How long a test waits until its goodbye is sent.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);
/// What is published comes back within this, however patient the keep-alive is.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// Packet identifiers of a test.
const SUBSCRIPTION: u16 = 1;
const PUBLICATION: u16 = 2;

/// What is tested.
struct Trial<'a> {
    mqtt: Mqtt,
    /// Quality of service without which nothing would be sent.
    confirms: u8,
    way: Way,
    pong: Duration,
    stage: &'a DialTrace,
}

/// Whether an endpoint of a client works: a connection, and a ping. Nothing is published.
pub async fn probe_link(client: &Client, endpoint: EndpointId) -> Result<(), Refusal> {
    let stage = DialTrace::new();
    let (mut connected, _) = of_link(client, endpoint, &stage)?.connect().await?;
    say_goodbye(&mut connected).await;
    Ok(())
}

/// The same as [`test`] for a link.
pub async fn test_link(client: &Client, endpoint: EndpointId, stage: &DialTrace) -> Result<(), Refusal> {
    let agent = fastrand::u32(..).to_string();
    let topic = Template::bare(client, &agent).test_topic();
    of_link(client, endpoint, stage)?.run(&topic).await
}

/// Makes one connection as the agent does, has a ping answered, publishes something that should come back, and says goodbye. It has
/// an id of its own, so that it does not push the agent off, and no will. The stage tells how far it came.
pub async fn test(mqtt: &Mqtt, stage: &DialTrace) -> Result<(), Refusal> {
    let topic = format!("{}/test", mqtt.prefix);
    let (way, pong) = (Way::straight(None), mqtt.keep_alive);
    Trial { mqtt: of_its_own(mqtt.clone()), confirms: 0, way, pong, stage }.run(&topic).await
}

fn of_link<'a>(client: &Client, endpoint: EndpointId, stage: &'a DialTrace) -> Result<Trial<'a>, Refusal> {
    let cannot = |cause| unusable(client, cause);
    let mqtt = table(client, endpoint, &fastrand::u32(..).to_string()).map_err(cannot)?;
    let way = Way::of(client, None).map_err(cannot)?;
    let (confirms, pong) = (client.publish.qos, client.ping.timeout);
    Ok(Trial { mqtt: of_its_own(mqtt), confirms, way, pong, stage })
}

fn of_its_own(mqtt: Mqtt) -> Mqtt {
    Mqtt { client_id: format!("{}-test", mqtt.client_id), ..mqtt }
}

impl Trial<'_> {
    async fn run(&self, topic: &str) -> Result<(), Refusal> {
        let (mut connected, stage) = self.connect().await?;
        stage.enter(DialStep::Publish);
        let found = self.publish(&mut connected, topic).await?;
        stage.found(found);
        say_goodbye(&mut connected).await;
        Ok(())
    }

    async fn connect(&self) -> Result<(Connected, &DialTrace), Refusal> {
        let Trial { mqtt, stage, .. } = self;
        let mut connected = dial(mqtt, None, self.confirms, &self.way, stage, &Gauge::default()).await?;
        stage.enter(DialStep::Authentication);
        stage.found(if mqtt.username.is_some() { "accepted" } else { "none asked for" });
        stage.enter(DialStep::Ping);
        let pong = async {
            connected.stream.queued().extend_from_slice(&PING);
            connected.stream.flush().await?;
            until(&mut connected, |answer| (*answer == FromBroker::PingResp).then_some(())).await
        };
        let answered = async {
            pong.await.map_err(|error: PacketError| Refusal::new(DialError::NoPong, error.to_string()))
        };
        let late = async {
            Timer::after(self.pong).await;
            Err(Refusal::new(DialError::NoPong, format!("no PINGRESP within {} s", self.pong.as_secs_f32())))
        };
        or(answered, late).await?;
        Ok((connected, stage))
    }

    async fn publish(&self, connected: &mut Connected, topic: &str) -> Result<String, Refusal> {
        let bytes = read_back::payload_bytes(connected.terms.packet_bytes);
        let subscribed = subscribe(connected, topic).await?;
        let seen = self.once(connected, topic, bytes, subscribed.clone()).await?;
        let smaller_came_back = if seen.wants_a_smaller_one() {
            self.once(connected, topic, 1, subscribed).await.is_ok_and(|seen| seen.came_back)
        } else {
            false
        };
        seen.result(smaller_came_back)
    }

    /// Publishes so many bytes, and waits for what comes of it.
    async fn once(
        &self,
        connected: &mut Connected,
        topic: &str,
        bytes: usize,
        subscribed: Outcome,
    ) -> Result<ReadBack, Refusal> {
        let terms = connected.terms;
        let qos = qos(self.mqtt.qos, &terms);
        let mut payload = format!("holdfast test {:016x} ", fastrand::u64(..)).into_bytes();
        payload.resize(bytes.max(payload.len()), b'.');
        let mut seen = ReadBack {
            version: terms.version,
            topic: topic.to_owned(),
            bytes: payload.len(),
            subscribed,
            acknowledged: None,
            is_acknowledged: qos != QoS::AtMostOnce,
            came_back: false,
        };
        let publish = Publish {
            topic: topic.to_owned(),
            payload: payload.clone(),
            qos,
            retain: false,
            expiry_s: None,
            user_properties: Vec::new(),
        };
        let packet = publish.packet(terms.version);
        packet.write(PUBLICATION, connected.stream.queued()).map_err(|error| error.refusal())?;
        connected.stream.flush().await.map_err(|error| error.refusal())?;
        let watch = async {
            until(connected, |answer| {
                match answer {
                    FromBroker::PubAck(answer) if answer.id == PUBLICATION => {
                        seen.acknowledged = Some(Outcome::told(answer.code, &answer.words));
                    }
                    FromBroker::Disconnect { code, words } => {
                        seen.acknowledged = Some(Outcome::told(*code, words));
                    }
                    FromBroker::Publish(publish) => seen.came_back |= publish.payload == payload,
                    _ => {}
                }
                let is_answered = seen.acknowledged.is_some() || !seen.is_acknowledged;
                let is_over = seen.acknowledged.as_ref().is_some_and(Outcome::is_failure);
                let is_back = seen.came_back || seen.subscribed.is_failure();
                (is_over || is_answered && is_back).then_some(())
            })
            .await
        };
        let late = async {
            Timer::after(self.pong.min(BACK_WITHIN)).await;
            Ok(())
        };
        match or(watch, late).await {
            Ok(()) => Ok(seen),
            Err(error) => {
                let Refusal { cause, error, .. } = error.refusal();
                Err(Refusal::new(
                    cause,
                    format!("{error} after a message of {} bytes on {topic:?}", seen.bytes),
                ))
            }
        }
    }
}

async fn subscribe(connected: &mut Connected, topic: &str) -> Result<Outcome, Refusal> {
    let answered = async {
        encode::subscribe(topic, SUBSCRIPTION, connected.terms.version, connected.stream.queued())?;
        connected.stream.flush().await?;
        until(connected, |answer| match answer {
            FromBroker::SubAck(SUBSCRIPTION, codes) => {
                Some(Outcome::of(codes.first().copied().unwrap_or_default()))
            }
            _ => None,
        })
        .await
    };
    let answered = async { answered.await.map_err(|error: PacketError| error.refusal()) };
    let late = async {
        Timer::after(BACK_WITHIN).await;
        Err(Refusal::new(DialError::TimedOut, "the broker does not answer a subscription"))
    };
    or(answered, late).await
}

/// Reads until a packet says what is looked for.
async fn until<T>(
    connected: &mut Connected,
    mut look: impl FnMut(&FromBroker) -> Option<T>,
) -> Result<T, PacketError> {
    loop {
        let answer = connected.stream.next().await?;
        if let Some(found) = look(&answer) {
            return Ok(found);
        }
        if let FromBroker::Disconnect { code, words } = answer {
            let outcome = Outcome::told(code, &words);
            return Err(PacketError::Protocol(format!("it ends the connection: {outcome}")));
        }
    }
}

/// The test has its result; how the broker takes the goodbye changes nothing.
async fn say_goodbye(connected: &mut Connected) {
    connected.stream.queued().extend_from_slice(&GOODBYE);
    let _ = or(connected.stream.flush(), async {
        Timer::after(GOODBYE_WITHIN).await;
        Ok(())
    })
    .await;
}
