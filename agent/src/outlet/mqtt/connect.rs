//! The way to a broker: DNS, TCP, TLS, CONNECT and CONNACK, in the version that it speaks.

use std::time::Duration;

use holdfast_core::config::Url;
use holdfast_core::config::client::Client;
use holdfast_core::config::mqtt::Mqtt;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::mqtt as meaning;
use holdfast_core::link::mqtt::terms::Terms;
use holdfast_core::link::probe::DialStep;
use holdfast_core::link::protocol::{Peer, Publication, Refusal};
use holdfast_core::source::mqtt::from_broker::FromBroker;
use holdfast_core::source::mqtt::packet::{QoS, Version};
use smol::Timer;
use smol::future::or;

use super::encode::{Greeting, Publish};
use super::packet_stream::{PacketError, PacketStream};
use crate::net::{self, DialTrace, Gauge, Stream, Target, Tunnel};
use crate::os::secret;

const PLAIN: (&str, u16) = ("mqtt", 1883);
const SECURE: (&str, u16) = ("mqtts", 8883);
/// Schemes of its urls, without TLS and with it.
pub const SCHEMES: [&str; 2] = [PLAIN.0, SECURE.0];
/// DNS, TCP, TLS and CONNACK together must end within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The broker's patience in units of ours: pings are sent by whoever gives the orders, and may come late.
const KEEP_ALIVE_FACTOR: u32 = 3;
/// A broker that does not understand a version may be silent. It has this part of the time before another one is tried.
const SILENCE_SHARE: u32 = 3;

/// How a broker is reached.
pub struct Way {
    /// DNS, TCP, TLS and CONNACK together must end within this.
    timeout: Duration,
    tunnel: Option<Tunnel>,
    /// Version that it understood last.
    spoken: Option<Version>,
}

/// A connection that a broker has accepted.
pub struct Connected {
    /// CONNACK was read from it.
    pub stream: PacketStream<Stream>,
    /// What the broker showed of itself.
    pub peer: Peer,
    /// What it takes.
    pub terms: Terms,
}

/// Why there is none.
struct Failure {
    refusal: Refusal,
    /// Whether the broker may speak another version.
    is_declined: bool,
}

impl Way {
    /// That of `[mqtt]`.
    pub fn straight(spoken: Option<Version>) -> Way {
        Way { timeout: CONNECT_TIMEOUT, tunnel: None, spoken }
    }

    /// That of a client.
    pub fn of(client: &Client, spoken: Option<Version>) -> Result<Way, String> {
        let tunnel = client.proxy.as_ref().map(Tunnel::new).transpose()?;
        Ok(Way { timeout: client.connect_timeout, tunnel, spoken })
    }
}

/// Connects within the time that the way has. `confirms` is the quality of service without which nothing is to be sent.
pub async fn dial(
    mqtt: &Mqtt,
    will: Option<&Publication>,
    confirms: u8,
    way: &Way,
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<Connected, Refusal> {
    let target =
        target(mqtt).map_err(|cause| Refusal::new(DialError::Settings, cause).dialing("the broker"))?;
    let connecting = async {
        let connected = connect(mqtt, will, (&target, way), stage, gauge).await?;
        meaning::check(&connected.terms, confirms)?;
        stage.found(connected.terms.to_string());
        Ok(connected)
    };
    let (scheme, default_port) = if target.secure { SECURE } else { PLAIN };
    let dialed = stage.within(way.timeout, connecting).await;
    dialed.map_err(|refusal| refusal.dialing(format!("{scheme}://{}", target.authority(default_port))))
}

/// One connection after the other, until the broker understands one.
async fn connect(
    mqtt: &Mqtt,
    will: Option<&Publication>,
    (target, way): (&Target, &Way),
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<Connected, Refusal> {
    let versions = meaning::versions(mqtt.version, way.spoken);
    let mut refusal = Refusal::new(DialError::Settings, "no version of MQTT is tried");
    for (at, version) in versions.iter().enumerate() {
        let is_last = at + 1 == versions.len();
        let user_timeout = mqtt.keep_alive.saturating_mul(2);
        let greeting = greeting(mqtt, will).map_err(|cause| Refusal::new(DialError::Settings, cause))?;
        let (stream, peer) =
            net::open(target, way.tunnel.as_ref(), &mqtt.tls, user_timeout, stage, gauge).await?;
        stage.enter(DialStep::Connack);
        let patience = Some(way.timeout / SILENCE_SHARE).filter(|_| !is_last);
        match greet(stream, greeting, *version, patience).await {
            Ok((stream, terms)) => {
                return Ok(Connected { stream, peer: Peer { terms: Some(terms), ..peer }, terms });
            }
            Err(failure) if failure.is_declined && !is_last => {
                stage.found(format!("no {version}: {}", failure.refusal.error));
            }
            Err(failure) => {
                refusal = failure.refusal;
                break;
            }
        }
    }
    Err(refusal)
}

async fn greet(
    stream: Stream,
    greeting: Greeting,
    version: Version,
    patience: Option<Duration>,
) -> Result<(PacketStream<Stream>, Terms), Failure> {
    let mut stream = PacketStream::new(stream, version);
    let answer = async {
        greeting.write(version, stream.queued())?;
        stream.flush().await?;
        stream.next().await
    };
    let answer = async {
        answer.await.map_err(|error: PacketError| {
            let Refusal { cause, error, .. } = error.refusal();
            Refusal::new(cause, format!("{error} before it answered"))
        })
    };
    let silence = async {
        match patience {
            Some(patience) => Timer::after(patience).await,
            None => smol::future::pending().await,
        };
        Err(Refusal::new(DialError::TimedOut, "the broker does not answer"))
    };
    let declined = |refusal| Failure { refusal, is_declined: true };
    match or(answer, silence).await.map_err(declined)? {
        FromBroker::ConnAck(answer) => match answer.refusal(version) {
            None => Ok((stream, Terms::told(version, &answer.terms))),
            Some(refusal) => Err(Failure { refusal, is_declined: meaning::may_speak_another(&answer) }),
        },
        _ => Err(declined(Refusal::new(DialError::NotMqtt, "the answer to CONNECT is not a CONNACK"))),
    }
}

fn target(mqtt: &Mqtt) -> Result<Target, String> {
    let url = Url::parse(&mqtt.url, SCHEMES).map_err(|error| format!("its url {error}"))?;
    Ok(Target::of(&url, PLAIN, SECURE))
}

fn greeting(mqtt: &Mqtt, will: Option<&Publication>) -> Result<Greeting, String> {
    let keep_alive_s =
        u16::try_from(mqtt.keep_alive.saturating_mul(KEEP_ALIVE_FACTOR).as_secs()).unwrap_or(u16::MAX);
    let will = will.map(|will| Publish {
        topic: will.topic.clone(),
        payload: will.payload.clone(),
        qos: if mqtt.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce },
        retain: mqtt.retain,
        expiry_s: None,
        user_properties: Vec::new(),
    });
    let login = match &mqtt.username {
        Some(name) => {
            let password = mqtt.password.as_ref().map(secret::read).transpose()?;
            Some((name.clone(), password.unwrap_or_default()))
        }
        None => None,
    };
    Ok(Greeting { client_id: mqtt.client_id.clone(), keep_alive_s, login, will })
}
