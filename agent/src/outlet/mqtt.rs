//! The life of one connection to an MQTT broker, of a link or for the status: dial, TLS, CONNECT, then orders become publications and PUBACKs become
//! reports, until it is over. The same contract as an uplink's; dropping the future closes the socket.
//!
//! Each connection is a clean session: what was not acknowledged is held in front of us and sent again.

use std::rc::Rc;
use std::time::Duration;

use holdfast_core::config::client::{Auth, Client};
use holdfast_core::config::mqtt::Mqtt;
use holdfast_core::config::{Secret, Url};
use holdfast_core::ids::EndpointId;
use holdfast_core::link::closing::Closing;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::probe::DialStep;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Peer, Publication, Refusal, RefusalKind};
use percent_encoding::percent_decode_str;
use rumqttc::QoS;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, LastWill, Login, Packet};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::or;

use super::request::unusable;
use super::uplink::Uplink;
use crate::net::{self, DialTrace, Gauge, Stream, Target, Tunnel};
use crate::os::secret;

mod flight;
pub mod packet_stream;
mod session;

use packet_stream::{PacketError, PacketStream};
use session::{Publishes, Template};

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
    let dialed = dial(&broker.mqtt, Some(&broker.will), &Way::default(), &DialTrace::new(), &gauge).await;
    live(dialed, Publishes::News, &orders, &reports, &gauge).await;
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
    let dialed = match (table(client, endpoint, &uplink.agent), Way::of(client)) {
        (Ok(mqtt), Ok(way)) => dial(&mqtt, None, &way, &DialTrace::new(), &gauge).await,
        (Err(cause), _) | (_, Err(cause)) => Err(unusable(client, cause)),
    };
    let publishes = Publishes::Messages(Template::of(client, &uplink.agent));
    live(dialed, publishes, &orders, &reports, &gauge).await;
}

async fn live(
    dialed: Result<(PacketStream<Stream>, Peer), Refusal>,
    publishes: Publishes,
    orders: &Receiver<LinkOrder>,
    reports: &Sender<LinkReport>,
    gauge: &Gauge,
) {
    let last = match dialed {
        Err(refusal) => LinkReport::DialFailed(refusal),
        Ok((stream, peer)) => {
            // A report that nobody takes any more is not worth an error: whoever listened is hanging up.
            let _ = reports.send(LinkReport::Up(peer)).await;
            let error = session::run(stream, publishes, orders, reports, gauge).await;
            LinkReport::Closed { closing: Closing::Plain, error }
        }
    };
    let _ = reports.send(last).await;
}

/// How a broker is reached.
struct Way {
    /// DNS, TCP, TLS and CONNACK together must end within this.
    timeout: Duration,
    tunnel: Option<Tunnel>,
}

impl Default for Way {
    fn default() -> Way {
        Way { timeout: CONNECT_TIMEOUT, tunnel: None }
    }
}

impl Way {
    fn of(client: &Client) -> Result<Way, String> {
        let tunnel = client.proxy.as_ref().map(Tunnel::new).transpose()?;
        Ok(Way { timeout: client.connect_timeout, tunnel })
    }
}

/// Settings of a client for its broker, as `[mqtt]` would have them.
fn table(client: &Client, endpoint: EndpointId, agent: &str) -> Result<Mqtt, String> {
    let text = client.endpoints().into_iter().nth(endpoint.0).ok_or("it has no url")?;
    let url = Url::parse(&text, [PLAIN.0, SECURE.0]).map_err(|error| format!("its url {error}"))?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (username, password) = match (&client.auth, url.user) {
        (Auth::Basic { username, password }, _) => (Some(username.clone()), Some(password.clone())),
        (_, Some((name, password))) => {
            (Some(decoded(name)), password.map(|password| Secret::Plain(decoded(password))))
        }
        (_, None) => (None, None),
    };
    let client_id = client.publish.client_id.clone();
    Ok(Mqtt {
        client_id: client_id.unwrap_or_else(|| format!("holdfast-{agent}-{}", client.id)),
        username,
        password,
        tls: client.tls.clone(),
        keep_alive: client.ping.interval,
        ..Mqtt::of_url(&format!("{}://{}", url.scheme, url.authority), agent)
    })
}

/// The same as [`test`] for a link.
pub async fn test_link(client: &Client, endpoint: EndpointId, stage: &DialTrace) -> Result<(), Refusal> {
    let cannot = |cause| unusable(client, cause);
    let mqtt = table(client, endpoint, &fastrand::u32(..).to_string()).map_err(cannot)?;
    test_by(&mqtt, &Way::of(client).map_err(cannot)?, client.ping.timeout, stage).await
}

/// Makes one connection as the agent does, has a ping answered, and says goodbye. It has an id of its own, so that it does
/// not push the agent off, and no will. The stage tells how far it came.
pub async fn test(mqtt: &Mqtt, stage: &DialTrace) -> Result<(), Refusal> {
    test_by(mqtt, &Way::default(), mqtt.keep_alive, stage).await
}

async fn test_by(mqtt: &Mqtt, way: &Way, pong: Duration, stage: &DialTrace) -> Result<(), Refusal> {
    let mqtt = Mqtt { client_id: format!("{}-test", mqtt.client_id), ..mqtt.clone() };
    let (mut stream, _) = dial(&mqtt, None, way, stage, &Gauge::default()).await?;
    stage.enter(DialStep::Authentication);
    stage.found(if mqtt.username.is_some() { "accepted" } else { "none asked for" });
    stage.enter(DialStep::Ping);
    let late = async {
        Timer::after(pong).await;
        Err(Refusal::new(DialError::NoPong, format!("no PINGRESP within {} s", pong.as_secs_f32())))
    };
    let answered = or(answer_to_ping(&mut stream), late).await;
    answered.map_err(|refusal| Refusal { cause: DialError::NoPong, ..refusal })?;
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

async fn answer_to_ping(stream: &mut PacketStream<Stream>) -> Result<(), Refusal> {
    stream.queue(&Packet::PingReq).map_err(refusal)?;
    stream.flush().await.map_err(refusal)?;
    while !matches!(first_answer(stream).await?, Packet::PingResp) {}
    Ok(())
}

async fn dial(
    mqtt: &Mqtt,
    will: Option<&Publication>,
    way: &Way,
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<(PacketStream<Stream>, Peer), Refusal> {
    let target =
        target(mqtt).map_err(|cause| Refusal::new(DialError::Settings, cause).dialing("the broker"))?;
    let dialed = connect(mqtt, will, (&target, way.tunnel.as_ref()), stage, gauge);
    let (scheme, default_port) = if target.secure { SECURE } else { PLAIN };
    let dialed = stage.within(way.timeout, dialed).await;
    dialed.map_err(|refusal| refusal.dialing(format!("{scheme}://{}", target.authority(default_port))))
}

async fn connect(
    mqtt: &Mqtt,
    will: Option<&Publication>,
    (target, tunnel): (&Target, Option<&Tunnel>),
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<(PacketStream<Stream>, Peer), Refusal> {
    let request = request(mqtt, will).map_err(|cause| Refusal::new(DialError::Settings, cause))?;
    let user_timeout = mqtt.keep_alive.saturating_mul(2);
    let (stream, peer) = net::open(target, tunnel, &mqtt.tls, user_timeout, stage, gauge).await?;
    stage.enter(DialStep::Connack);
    let mut stream = PacketStream::new(stream);
    stream.queue(&Packet::Connect(request)).map_err(refusal)?;
    stream.flush().await.map_err(refusal)?;
    match first_answer(&mut stream).await? {
        Packet::ConnAck(answer) => judge(answer.code).map(|()| (stream, peer)),
        _ => Err(Refusal::new(DialError::NotMqtt, "the answer to CONNECT is not a CONNACK")),
    }
}

async fn first_answer(stream: &mut PacketStream<Stream>) -> Result<Packet, Refusal> {
    loop {
        if let Some(packet) = stream.packet().map_err(refusal)? {
            return Ok(packet);
        }
        stream.read().await.map_err(|error| {
            let Refusal { cause, error, .. } = error.refusal();
            Refusal::new(cause, format!("{error} before it answered"))
        })?;
    }
}

/// MQTT 3.1.1 §3.2.2.3.
fn judge(code: ConnectReturnCode) -> Result<(), Refusal> {
    let (asks, error) = match code {
        ConnectReturnCode::Success => return Ok(()),
        ConnectReturnCode::RefusedProtocolVersion => {
            (RefusalKind::Retry, "the broker does not speak MQTT 3.1.1")
        }
        ConnectReturnCode::BadClientId => (RefusalKind::Retry, "the broker refuses the client id"),
        ConnectReturnCode::ServiceUnavailable => (RefusalKind::Retry, "the broker is unavailable"),
        ConnectReturnCode::BadUserNamePassword => {
            (RefusalKind::Unauthorized, "the broker refuses user name or password")
        }
        ConnectReturnCode::NotAuthorized => {
            (RefusalKind::Unauthorized, "the broker says that this client is not authorized")
        }
    };
    Err(Refusal::new(DialError::Mqtt(asks), error))
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

fn refusal(error: PacketError) -> Refusal {
    error.refusal()
}

#[cfg(test)]
mod tests;
