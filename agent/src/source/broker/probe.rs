//! A test of a source's broker, step by step, beside the agent: with a session of its own that ends with it.

use std::time::Duration;

use holdfast_core::config::mqtt_source::MqttSource;
use holdfast_core::config::source::Source;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::probe::DialStep;
use holdfast_core::link::protocol::{Refusal, RefusalKind};
use holdfast_core::source::broker_advice;
use holdfast_core::source::mqtt::from_broker::{Found, FromBroker};
use holdfast_core::source::mqtt::packet::{Publish, QoS};
use holdfast_core::source::mqtt::to_broker::{self, RetainHandling};
use holdfast_core::source::subscriber;
use smol::Timer;
use smol::future::or;

use super::packet_stream::PacketStream;
use super::{Greeting, dial, filters, named, packet_max, settings};
use crate::net::{DialTrace, Gauge};

/// How long the broker may take to tell of itself, and a test until its goodbye is sent.
const LITTLE: Duration = Duration::from_secs(1);
/// Start of what is not subscribed to by a test: it would take messages from others.
const SHARED: &str = "$share/";

/// Makes one connection as the agent does, subscribes to the topics, asks the broker about itself, has a ping answered, and says goodbye. It has a session
/// of its own, and takes no message away. The stage tells how far it came.
pub async fn test(source: &Source, stage: &DialTrace) -> Result<(), Refusal> {
    let mqtt = source.mqtt();
    let client_id = format!("{}-test", mqtt.client_id);
    let greeting = Greeting { client_id: &client_id, clean: true, inflight: source.limits.inflight };
    let (mut stream, _, _) = dial(mqtt, &greeting, packet_max(source), stage, &Gauge::default()).await?;
    stage.enter(DialStep::Authentication);
    stage.found(if mqtt.username.is_some() { "accepted" } else { "none asked for" });
    let asked = stage.within(mqtt.connect_timeout, ask(&mut stream, mqtt, stage)).await;
    asked.map_err(|refusal| named(mqtt, refusal))?;
    stream.queue_with(to_broker::disconnect);
    // The test has its result; how the broker takes the goodbye changes nothing.
    let _ = or(stream.flush(), async {
        Timer::after(LITTLE).await;
        Ok(())
    })
    .await;
    Ok(())
}

async fn ask(stream: &mut PacketStream, mqtt: &MqttSource, stage: &DialTrace) -> Result<(), Refusal> {
    stage.enter(DialStep::Subscribe);
    stage.found(subscribe(stream, mqtt).await?);
    stage.enter(DialStep::Broker);
    stage.found(look(stream, mqtt).await?);
    stage.enter(DialStep::Ping);
    stream.queue_with(to_broker::ping);
    stream.flush().await?;
    while next(stream).await? != FromBroker::PingResp {}
    Ok(())
}

async fn subscribe(stream: &mut PacketStream, mqtt: &MqttSource) -> Result<String, Refusal> {
    let filters: Vec<String> = filters(mqtt).into_iter().filter(|own| !own.starts_with(SHARED)).collect();
    if filters.is_empty() {
        return Ok("shared subscriptions are not tried, since that would take messages".to_owned());
    }
    let qos = subscriber::qos(mqtt);
    let asked: Vec<_> = filters.iter().map(|own| (own.as_str(), qos, RetainHandling::Skip)).collect();
    let version = subscriber::version(mqtt);
    stream.queue_with(|out| to_broker::subscribe(out, version, 1, &asked)).map_err(settings)?;
    let codes = granted(stream).await?;
    let faults = subscriber::faults(&filters, qos, &codes);
    if codes.iter().any(|code| *code >= 0x80) {
        return Err(Refusal::new(DialError::Mqtt(RefusalKind::Retry), faults.join("; ")));
    }
    Ok(match faults.is_empty() {
        true => format!("{} granted with QoS {}", filters.join(" "), mqtt.qos),
        false => faults.join("; "),
    })
}

async fn granted(stream: &mut PacketStream) -> Result<Vec<u8>, Refusal> {
    stream.flush().await?;
    loop {
        if let FromBroker::SubAck(_, codes) = next(stream).await? {
            return Ok(codes);
        }
    }
}

/// What the broker tells of itself under `$SYS`, and what that means for messages that it holds.
async fn look(stream: &mut PacketStream, mqtt: &MqttSource) -> Result<String, Refusal> {
    let topics = broker_advice::TOPICS.map(|topic| (topic, QoS::AtMostOnce, RetainHandling::Send));
    let version = subscriber::version(mqtt);
    stream.queue_with(|out| to_broker::subscribe(out, version, 2, &topics)).map_err(settings)?;
    granted(stream).await?;
    let mut told = Vec::new();
    let mut deadline = Timer::after(LITTLE);
    while told.len() < topics.len() {
        let late = async {
            (&mut deadline).await;
            Ok(None)
        };
        match or(async { next(stream).await.map(Some) }, late).await? {
            Some(FromBroker::Publish(Publish { topic, payload, .. })) if topic.starts_with("$SYS/") => {
                told.push((topic, String::from_utf8_lossy(&payload).into_owned()));
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok(broker_advice::advice(&told))
}

async fn next(stream: &mut PacketStream) -> Result<FromBroker, Refusal> {
    loop {
        match stream.found()? {
            Some(Found::Packet(packet)) => return Ok(packet),
            Some(Found::TooLarge(_)) => {}
            None => stream.fill().await?,
        }
    }
}
