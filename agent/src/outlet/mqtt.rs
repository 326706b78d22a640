//! The life of one connection to the MQTT broker: dial, TLS, CONNECT, then orders become publications and PUBACKs become
//! reports, until it is over. The same contract as an uplink's; dropping the future closes the socket.
//!
//! Each connection is a clean session: what was not acknowledged is held in front of us and sent again.

use std::rc::Rc;
use std::time::Duration;

use holdfast_core::config::Url;
use holdfast_core::config::mqtt::Mqtt;
use holdfast_core::link::closing::Closing;
use holdfast_core::link::probe::DialStep;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Peer, Publication, Refusal, RefusalKind};
use rumqttc::QoS;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, LastWill, Login, Packet};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::or;

use crate::net::{self, DialTrace, Gauge, Stream, Target};
use crate::os::secret;

mod flight;
pub mod packet_stream;
mod session;

use packet_stream::PacketStream;

const PLAIN: (&str, u16) = ("mqtt", 1883);
const SECURE: (&str, u16) = ("mqtts", 8883);
/// DNS, TCP, TLS and CONNACK together must end within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The broker's patience in units of ours: pings are sent by whoever gives the orders, and may come late.
const KEEP_ALIVE_FACTOR: u32 = 3;
/// How long a test waits until its goodbye is sent.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a connection needs to know.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Its table of the configuration.
    pub mqtt: Mqtt,
    /// What the broker publishes, retained and with QoS 1, when the connection is lost.
    pub will: Publication,
}

/// Makes one connection and lives as long as it does.
///
/// The last report is `DialFailed` or `Closed`, exactly once. When all senders of `orders` are gone it says goodbye.
/// The gauge counts its bytes.
pub async fn run(broker: Rc<Broker>, orders: Receiver<LinkOrder>, reports: Sender<LinkReport>, gauge: Gauge) {
    let last = match dial(&broker.mqtt, Some(&broker.will), &DialTrace::new(), &gauge).await {
        Err(refusal) => LinkReport::DialFailed(refusal),
        Ok((stream, peer)) => {
            // A report that nobody takes any more is not worth an error: whoever listened is hanging up.
            let _ = reports.send(LinkReport::Up(peer)).await;
            let error = session::run(stream, &orders, &reports, &gauge).await;
            LinkReport::Closed { closing: Closing::Plain, error }
        }
    };
    let _ = reports.send(last).await;
}

/// Makes one connection as the agent does, has a ping answered, and says goodbye. It has an id of its own, so that it does
/// not push the agent off, and no will. The stage tells how far it came.
pub async fn test(mqtt: &Mqtt, stage: &DialTrace) -> Result<(), Refusal> {
    let mqtt = Mqtt { client_id: format!("{}-test", mqtt.client_id), ..mqtt.clone() };
    let (mut stream, _) = dial(&mqtt, None, stage, &Gauge::default()).await?;
    stage.enter(DialStep::Authentication);
    stage.found(if mqtt.username.is_some() { "accepted" } else { "none asked for" });
    stage.enter(DialStep::Ping);
    let late = async {
        Timer::after(mqtt.keep_alive).await;
        Err(format!("no PINGRESP within {} s", mqtt.keep_alive.as_secs_f32()))
    };
    or(answer_to_ping(&mut stream), late).await.map_err(retry)?;
    if stream.queue(&Packet::Disconnect).is_ok() {
        // The test has its result; how the broker takes the goodbye changes nothing.
        let _ = or(stream.flush(), async {
            Timer::after(GOODBYE).await;
            Ok(())
        })
        .await;
    }
    Ok(())
}

async fn answer_to_ping(stream: &mut PacketStream<Stream>) -> Result<(), String> {
    stream.queue(&Packet::PingReq)?;
    stream.flush().await?;
    while !matches!(first_answer(stream).await?, Packet::PingResp) {}
    Ok(())
}

async fn dial(
    mqtt: &Mqtt,
    will: Option<&Publication>,
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<(PacketStream<Stream>, Peer), Refusal> {
    let target = target(mqtt).map_err(|cause| retry(format!("cannot dial the broker: {cause}")))?;
    let deadline = async {
        Timer::after(CONNECT_TIMEOUT).await;
        let after_s = CONNECT_TIMEOUT.as_secs_f32();
        Err(retry(format!("timed out after {after_s} s {}", stage.place())))
    };
    let dialed = or(connect(mqtt, will, &target, stage, gauge), deadline).await;
    let (scheme, default_port) = if target.secure { SECURE } else { PLAIN };
    dialed.map_err(|refusal| {
        let authority = target.authority(default_port);
        Refusal { error: format!("cannot dial {scheme}://{authority}: {}", refusal.error), ..refusal }
    })
}

async fn connect(
    mqtt: &Mqtt,
    will: Option<&Publication>,
    target: &Target,
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<(PacketStream<Stream>, Peer), Refusal> {
    let request = request(mqtt, will).map_err(retry)?;
    let user_timeout = mqtt.keep_alive.saturating_mul(2);
    let (stream, peer) = net::open(target, None, &mqtt.tls, user_timeout, stage, gauge).await?;
    stage.enter(DialStep::Connack);
    let mut stream = PacketStream::new(stream);
    stream.queue(&Packet::Connect(request)).map_err(retry)?;
    stream.flush().await.map_err(retry)?;
    match first_answer(&mut stream).await.map_err(retry)? {
        Packet::ConnAck(answer) => judge(answer.code).map(|()| (stream, peer)),
        _ => Err(retry("the answer to CONNECT is not a CONNACK")),
    }
}

async fn first_answer(stream: &mut PacketStream<Stream>) -> Result<Packet, String> {
    loop {
        if let Some(packet) = stream.packet()? {
            return Ok(packet);
        }
        stream.read().await.map_err(|error| format!("{error} before it answered"))?;
    }
}

/// MQTT 3.1.1 §3.2.2.3.
fn judge(code: ConnectReturnCode) -> Result<(), Refusal> {
    let unauthorized = |error: &str| Refusal { kind: RefusalKind::Unauthorized, error: error.to_owned() };
    match code {
        ConnectReturnCode::Success => Ok(()),
        ConnectReturnCode::RefusedProtocolVersion => Err(retry("the broker does not speak MQTT 3.1.1")),
        ConnectReturnCode::BadClientId => Err(retry("the broker refuses the client id")),
        ConnectReturnCode::ServiceUnavailable => Err(retry("the broker is unavailable")),
        ConnectReturnCode::BadUserNamePassword => {
            Err(unauthorized("the broker refuses user name or password"))
        }
        ConnectReturnCode::NotAuthorized => {
            Err(unauthorized("the broker says that this client is not authorized"))
        }
    }
}

fn target(mqtt: &Mqtt) -> Result<Target, String> {
    let url = Url::parse(&mqtt.url, [PLAIN.0, SECURE.0]).map_err(|error| format!("its url {error}"))?;
    Ok(Target::of(&url, PLAIN, SECURE))
}

fn request(mqtt: &Mqtt, will: Option<&Publication>) -> Result<Connect, String> {
    let mut request = Connect::new(mqtt.client_id.as_str());
    request.clean_session = true;
    request.keep_alive =
        u16::try_from(mqtt.keep_alive.saturating_mul(KEEP_ALIVE_FACTOR).as_secs()).unwrap_or(u16::MAX);
    request.last_will =
        will.map(|will| LastWill::new(will.topic.as_str(), will.payload.clone(), QoS::AtLeastOnce, true));
    if let Some(username) = &mqtt.username {
        let password = mqtt.password.as_ref().map(secret::read).transpose()?;
        request.login = Some(Login::new(username.as_str(), password.unwrap_or_default()));
    }
    Ok(request)
}

fn retry(error: impl Into<String>) -> Refusal {
    Refusal { kind: RefusalKind::Retry, error: error.into() }
}

#[cfg(test)]
mod tests;
