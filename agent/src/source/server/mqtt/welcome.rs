//! The first packet of a connection: who it is, whether it may come in, and what is left of its session.

use std::rc::Rc;

use holdfast_core::config::access::LoginBy;
use holdfast_core::source::mqtt::greeting;
use holdfast_core::source::mqtt::packet::{ConnAck, Connect, Packet, Reply};
use holdfast_core::source::mqtt::reason::{Closing, Reason};
use holdfast_core::source::mqtt::session::Session;
use holdfast_core::source::mqtt::write::Style;
use hyper::StatusCode;
use smol::Timer;
use smol::future::or;

use super::super::ServerState;
use super::super::access::login;
use super::super::access::peer::Peer;
use super::super::http::ApiError;
use super::clients::{Held, Outbound};
use super::packet_stream::PacketStream;
use super::will::Will;

/// A client that has come in.
pub struct Welcome {
    /// Its identity.
    pub client: Client,
    /// Its session is its own as long as this is there.
    pub held: Held,
    /// Session that goes on, or begins.
    pub session: Session,
    /// Message that is published when it is gone.
    pub will: Option<Will>,
    /// What goes to it.
    pub outbound: Outbound,
}

/// Identity of a client, and its wishes.
pub struct Client {
    /// Its own identifier; empty if it has none, and was given one.
    pub id: String,
    /// In force.
    pub keep_alive_s: u16,
    /// As CONNECT has it.
    pub expiry_s: u32,
}

/// Waits for CONNECT and answers it. The error says why the client was not let in, which it was told.
pub async fn receive(
    site: &Rc<ServerState>,
    peer: &Peer,
    stream: &mut PacketStream,
) -> Result<Welcome, Closing> {
    let stop = async {
        site.intake.stopping().await;
        Err(Closing::new(Reason::ShuttingDown, "the agent is stopping"))
    };
    let connect = match or(stop, or(first(stream), late(site))).await {
        Ok(connect) => connect,
        Err(why) => {
            // Only of the version it is said (3.1.1 §3.1.2.2): who does not speak MQTT would not understand.
            if why.reason == Reason::Version {
                stream.queue(&Reply::ConnAck(greeting::refused(&why)));
            }
            return Err(why);
        }
    };
    stream.speak(Style {
        version: connect.version,
        wants_words: connect.wants_words,
        packet_max: connect.packet_max,
    });
    let held = stream.complete(0);
    peer.share.stored(held);
    let entered = or(stop_again(site), enter(site, peer, &connect)).await;
    match entered {
        Ok((welcome, answer)) => {
            stream.queue(&Reply::ConnAck(answer));
            Ok(welcome)
        }
        Err(why) => {
            stream.queue(&Reply::ConnAck(greeting::refused(&why)));
            Err(why)
        }
    }
}

async fn stop_again<T>(site: &ServerState) -> Result<T, Closing> {
    site.intake.stopping().await;
    Err(Closing::new(Reason::ShuttingDown, "the agent is stopping"))
}

async fn first(stream: &mut PacketStream) -> Result<Connect, Closing> {
    loop {
        match stream.packet()? {
            Some(Packet::Connect(connect)) => return Ok(*connect),
            Some(_) => return Err(Closing::new(Reason::Protocol, "the first packet is no CONNECT")),
            None => {}
        }
        let gone = |words: String| Closing::new(Reason::Unspecified, words);
        if stream.fill().await.map_err(|error| gone(error.to_string()))? == 0 {
            return Err(gone("it ended before CONNECT".to_owned()));
        }
    }
}

async fn late<T>(site: &ServerState) -> Result<T, Closing> {
    let within = site.limits.handshake_timeout;
    Timer::after(within).await;
    let words = format!("it took more than {} s (limits.handshake_timeout)", within.as_secs_f32());
    Err(Closing::new(Reason::Unavailable, words))
}

async fn enter(
    site: &Rc<ServerState>,
    peer: &Peer,
    connect: &Connect,
) -> Result<(Welcome, ConnAck), Closing> {
    greeting::check(connect)?;
    let user = log_in(site, peer, connect).await?;
    let will = connect.will.clone().map(|will| Will::new(site, peer, will)).transpose()?;
    let given = connect.client_id.is_empty().then(|| format!("holdfast-{:016x}", fastrand::u64(..)));
    let id = given.clone().unwrap_or_else(|| connect.client_id.clone());
    let owner = (user, id);
    let opening = async { Ok(site.clients.open(&owner, connect.clean, greeting::expiry(connect)).await) };
    let (held, kept) = or(opening, late(site)).await?;
    let inflight = site.limits.inflight;
    let is_kept = kept.is_some();
    let mut session = kept.unwrap_or_else(|| Session::new(connect.version, inflight));
    session.resume(connect.version, inflight);
    let most = greeting::packet_max(site.limits.message_bytes);
    let idle_timeout = site.limits.idle_timeout;
    let answer = greeting::accepted(connect, is_kept, given.as_deref(), inflight, most, idle_timeout);
    let keep_alive_s = greeting::keep_alive_s(connect, idle_timeout);
    let client = Client { id: connect.client_id.clone(), keep_alive_s, expiry_s: connect.expiry_s };
    let outbound = held.outbound(connect);
    Ok((Welcome { client, held, session, will, outbound }, answer))
}

/// The user, if there is a login.
async fn log_in(site: &ServerState, peer: &Peer, connect: &Connect) -> Result<Option<String>, Closing> {
    let name = connect.username.clone();
    let password = connect.password.clone().map(String::from_utf8).and_then(Result::ok);
    login::enter(site, peer, name.clone().zip(password)).await.map_err(|error| closing(&error))?;
    Ok(name.filter(|_| site.login.asks() != LoginBy::Anonymous))
}

fn closing(error: &ApiError) -> Closing {
    let reason = match error.status() {
        StatusCode::UNAUTHORIZED => Reason::BadLogin,
        StatusCode::FORBIDDEN => Reason::NotAuthorized,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Reason::Busy,
        _ => Reason::Unspecified,
    };
    Closing::new(reason, error.words())
}
