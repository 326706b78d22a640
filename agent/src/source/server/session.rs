//! A WebSocket: every frame is a message, and the frames that are there together become one offer.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Bytes, Message};
use futures_util::stream::FuturesOrdered;
use futures_util::{SinkExt, StreamExt};
use holdfast_core::config::handshake::is_token;
use holdfast_core::source::coalesce::{self, Coalesce};
use holdfast_core::source::intake::{Answer, Refused};
use holdfast_core::source::mqtt::greeting;
use holdfast_core::source::subprotocol;
use holdfast_core::source::throttle::{Patience, Reproof};
use holdfast_schema::Violation;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, StatusCode, Version};
use smol::channel::{Sender, bounded};
use smol::future::{or, pending, yield_now};
use smol::io::AsyncWriteExt;
use smol::{LocalExecutor, Timer};
use smol_hyper::rt::FuturesIo;

use super::ServerState;
use super::access::peer::Peer;
use super::http::{ApiError, HttpReply, Slot, empty};
use super::malformed::Worded;
use super::memory::Metered;
use super::mqtt;
use super::offering::{self, IN_FLIGHT_BYTES, Offering};
use super::request::batch::{Batch, End, Reading, read};
use super::request::one_shot::{self, OneShot};
use super::request::path::{self, Target};
use super::request::validator;
use super::web::subscribe;
use crate::os::clock;
use crate::source::intake::{Intake, Outcome, Subscription};

/// How long nothing is read from a peer that sends too fast.
const TOO_FAST_PAUSE: Duration = Duration::from_millis(100);
/// A peer must take what is written within this.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the peer may take for its part of the closing.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Silence is looked at so many times in `idle_timeout`.
pub const TICKS: u32 = 4;
/// Largest frame of packets, unless one alone may be larger.
const MQTT_FRAME_BYTES: usize = 256 * 1024;
const READ_BUFFER_BYTES: usize = 8 * 1024;
const WRITE_BUFFER_BYTES: usize = 4 * 1024;
const WRITE_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Longest reason of a close frame (RFC 6455 §5.5: 125 bytes with the code).
const REASON_BYTES: usize = 123;

/// A connection that becomes a WebSocket once its 101 is written.
pub struct Pending {
    upgrade: OnUpgrade,
    purpose: Purpose,
}

/// What a WebSocket is for.
pub enum Purpose {
    /// It brings messages.
    Write {
        /// Where they go.
        target: Target,
        /// Whether each is told `stored`.
        confirm: bool,
    },
    /// It is told what is accepted.
    Read(Subscription),
    /// MQTT is spoken in its frames.
    Mqtt,
}

/// Whether a request asks for a WebSocket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
}

/// What is said to a handshake that arrives without its `Upgrade`: proxies take it away unless they are told not to (RFC 9110 §7.8).
pub fn lost_upgrade(headers: &HeaderMap) -> Option<ApiError> {
    let is_handshake = [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION]
        .iter()
        .any(|name| headers.contains_key(name));
    (is_handshake && !is_upgrade(headers)).then(|| {
        ApiError::new(
            StatusCode::UPGRADE_REQUIRED,
            "this WebSocket handshake came without `Upgrade: websocket`: a proxy in front of this server took it away; have it \
             pass on `Upgrade` and `Connection` (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
             proxy_set_header Connection \"upgrade\"; proxy_set_header X-Forwarded-For $remote_addr;)",
        )
        .with(header::UPGRADE, HeaderValue::from_static("websocket"))
    })
}

/// Accepts a handshake (RFC 6455 §4.2.2), or says what is wrong with it.
pub fn upgrade(site: &ServerState, request: Request<Incoming>, slot: &Slot) -> Result<HttpReply, ApiError> {
    let accept = accept_key(&request)?;
    let target = site.target(&request)?;
    let confirm = path::is_set(request.uri().query(), "confirm");
    let wanted = site.router.subprotocols(request.uri().path());
    Ok(switch(request, accept, wanted, Purpose::Write { target, confirm }, slot))
}

/// The answer to the key of a handshake.
pub fn accept_key(request: &Request<Incoming>) -> Result<HeaderValue, ApiError> {
    let headers = request.headers();
    if !request.body().is_end_stream() {
        return Err(ApiError::bad("a WebSocket handshake has no body"));
    }
    if request.version() < Version::HTTP_11 {
        return Err(ApiError::new(
            StatusCode::UPGRADE_REQUIRED,
            "a WebSocket handshake needs HTTP/1.1, and this one came in HTTP/1.0: a proxy in front of this server speaks that unless it \
             is told otherwise (nginx: proxy_http_version 1.1;)",
        )
        .with(header::UPGRADE, HeaderValue::from_static("websocket")));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(ApiError::bad("the header `Connection` does not say `Upgrade`"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, "only WebSocket version 13 is spoken here")
            .with(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let key = key.ok_or_else(|| ApiError::bad("the header `Sec-WebSocket-Key` is missing or malformed"))?;
    Ok(HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("base64 is a header value"))
}

/// Makes a connection a WebSocket for this purpose. `wanted`: the subprotocols to select from, if not from all.
pub fn switch(
    request: Request<Incoming>,
    accept: HeaderValue,
    wanted: Option<&[String]>,
    purpose: Purpose,
    slot: &Slot,
) -> HttpReply {
    let spoken = subprotocol(request.headers(), wanted);
    slot.set(Some(Pending { upgrade: hyper::upgrade::on(request), purpose }));
    let mut page = empty();
    *page.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    page.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    page.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    page.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(spoken) = spoken {
        page.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, spoken);
    }
    page
}

/// The subprotocol that is selected. What is no token is no offer.
pub fn subprotocol(headers: &HeaderMap, wanted: Option<&[String]>) -> Option<HeaderValue> {
    let fields = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let fields = fields.filter_map(|field| field.to_str().ok());
    let offered: Vec<&str> =
        fields.flat_map(|field| field.split(',')).map(str::trim).filter(|name| is_token(name)).collect();
    HeaderValue::from_str(subprotocol::select(wanted, &offered)?).ok()
}

/// Does what a WebSocket is for until one side ends it.
pub async fn run(site: Rc<ServerState>, pending: Pending, peer: Rc<Peer>) {
    let Ok(upgraded) = pending.upgrade.await else { return };
    let Ok(parts) = upgraded.downcast::<FuturesIo<Worded>>() else { return };
    let limit = match &pending.purpose {
        Purpose::Write { .. } | Purpose::Read(_) => site.limits.message_bytes,
        // A frame may hold several packets.
        Purpose::Mqtt => MQTT_FRAME_BYTES.max(greeting::packet_max(site.limits.message_bytes)),
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(match &pending.purpose {
            Purpose::Write { target, .. } if target.call.is_none() => WRITE_BUFFER_BYTES_MAX,
            // What is written there is as large as a file or a message, one at a time.
            Purpose::Write { .. } | Purpose::Read(_) | Purpose::Mqtt => usize::MAX,
        })
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    let stream = parts.io.into_inner().into_inner().into_inner();
    let stream = Metered::of_frames(stream, peer.share.clone(), &parts.read_buf, limit);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    match pending.purpose {
        Purpose::Write { target, confirm } => take(site, peer, socket, target, confirm).await,
        Purpose::Read(feed) => {
            let end = subscribe::run(&site, &peer, &mut socket, &feed).await;
            log::debug!("subscription ended source={}: {end:?}", site.source);
            close(socket, end).await;
        }
        Purpose::Mqtt => {
            let frames = mqtt::Frames::new(socket, peer.share.clone());
            Box::pin(mqtt::converse(site, Box::new(frames), peer)).await;
        }
    }
}

/// Takes messages until one side ends it.
async fn take(
    site: Rc<ServerState>,
    peer: Rc<Peer>,
    socket: WebSocketStream<Metered>,
    target: Target,
    confirm: bool,
) {
    let presence = match &target.device {
        Some(device) if target.call.is_none() => {
            Some(announce(&site.intake, &site.executor, device.clone()).await)
        }
        Some(_) | None => None,
    };
    let offering = Offering::new(site.intake.clone(), peer.remote);
    let mut session = Session {
        site,
        peer,
        each: target.weight(),
        target,
        confirm,
        socket,
        offering,
        silent: 0,
        gather: Coalesce::new(clock::now().mono),
        pause: None,
        patience: Patience::default(),
        refused: 0,
    };
    let end = match session.target.call.take() {
        Some(call) => session.reply(&call).await,
        None => session.converse().await,
    };
    drop(presence);
    log::debug!("session ended source={} topic={}: {end:?}", session.site.source, session.target.topic);
    close(session.socket, end).await;
}

struct Session {
    site: Rc<ServerState>,
    peer: Rc<Peer>,
    target: Target,
    /// What each message takes beside its payload.
    each: usize,
    confirm: bool,
    socket: WebSocketStream<Metered>,
    offering: Offering,
    /// Ticks since something came.
    silent: u32,
    gather: Coalesce,
    /// Runs while it is left alone, so that its messages come together.
    pause: Option<Timer>,
    patience: Patience,
    /// Messages that were too many and of which the peer was not told.
    refused: usize,
}

/// What a session wakes up for.
enum Event {
    Stopping,
    Answered(Batch, Outcome),
    Read(Batch, Option<End>),
    Tick,
}

impl Session {
    /// Returns once nothing more comes and everything that came is answered for, or at once when the agent stops.
    async fn converse(&mut self) -> End {
        let intake = self.site.intake.clone();
        let mut stopping = pin!(intake.stopping());
        let mut ticks = Timer::interval(self.site.limits.idle_timeout / TICKS);
        let mut offers = FuturesOrdered::new();
        let mut in_flight = 0;
        let mut ended = None;
        loop {
            if let Some(end) = ended.take_if(|_| offers.is_empty()) {
                return end;
            }
            let reading = ended.is_none() && in_flight < IN_FLIGHT_BYTES;
            match self.next_event(stopping.as_mut(), &mut offers, &mut ticks, reading).await {
                Event::Stopping => return stopped(),
                Event::Answered(batch, outcome) => {
                    in_flight -= batch.weight();
                    let stop = async {
                        stopping.as_mut().await;
                        Err(stopped())
                    };
                    if let Err(end) = or(self.conclude(&batch, outcome, ended.is_some()), stop).await {
                        return end;
                    }
                    self.peer.share.stored(batch.held());
                }
                Event::Read(batch, end) => {
                    self.silent = 0;
                    let dense = self.gather.read(clock::now().mono, batch.len());
                    self.pause = dense.then(|| Timer::after(coalesce::PAUSE));
                    ended = end;
                    in_flight += batch.weight();
                    if let (Some(_), Some(judge)) = (batch.refused(), &self.target.judge) {
                        self.site.violated(judge);
                    }
                    for (batch, refused) in self.throttled(batch) {
                        offers.push_back(self.offer(batch, refused));
                    }
                    yield_now().await;
                }
                Event::Tick => ended = ended.or(self.look_at_silence(reading).await.err()),
            }
        }
    }

    /// The connection itself is the message.
    async fn reply(&mut self, call: &OneShot) -> End {
        let intake = self.site.intake.clone();
        let stop = async {
            intake.stopping().await;
            Err(ApiError::of_refusal(&Refused::Stopping))
        };
        let (frame, end) = match or(one_shot::speak(&self.site, &self.peer, &self.target, call), stop).await {
            Ok(said) => (said.frame(), End::Close(1000, String::new())),
            Err(problem) if problem.passes() => {
                (Message::text(problem.text()), End::Close(1013, String::new()))
            }
            Err(problem) => (Message::text(problem.text()), End::Close(1000, String::new())),
        };
        self.write([frame]).await.err().unwrap_or(end)
    }

    async fn next_event(
        &mut self,
        stopping: impl Future<Output = ()>,
        offers: &mut FuturesOrdered<impl Future<Output = (Batch, Outcome)>>,
        ticks: &mut Timer,
        reading: bool,
    ) -> Event {
        let stop = async {
            stopping.await;
            Event::Stopping
        };
        let answer = async {
            let (batch, outcome) = offering::next(offers).await;
            Event::Answered(batch, outcome)
        };
        let frames = async {
            if !reading {
                return pending().await;
            }
            if let Some(pause) = &mut self.pause {
                pause.await;
            }
            self.pause = None;
            let reading = Reading {
                target: &self.target,
                each: self.each,
                limits: &self.site.limits,
                share: &self.peer.share,
                busy: self.offering.busy(),
            };
            let (batch, end) = read(&mut self.socket, &reading).await;
            Event::Read(batch, end)
        };
        let tick = async {
            ticks.next().await;
            Event::Tick
        };
        or(or(stop, answer), or(frames, tick)).await
    }

    /// What may pass of a batch, then what is too much.
    fn throttled(&mut self, mut batch: Batch) -> impl Iterator<Item = (Batch, Option<Refused>)> + use<> {
        let passing = if batch.is_empty() { Ok(0) } else { self.peer.pass(&self.site, batch.len()) };
        let (passing, wait) = passing.map_or_else(|wait| (0, wait), |passing| (passing, Duration::ZERO));
        let rest = batch.split_off(passing);
        if !rest.is_empty() {
            self.pause = Some(Timer::after(TOO_FAST_PAUSE));
        }
        let parts = [(batch, None), (rest, Some(Refused::TooFast(wait)))];
        parts.into_iter().filter(|(part, _)| !part.is_empty() || part.refused().is_some())
    }

    /// Offers a batch, unless it is refused before.
    fn offer(
        &self,
        mut batch: Batch,
        refused: Option<Refused>,
    ) -> impl Future<Output = (Batch, Outcome)> + use<> {
        let drafts = match refused {
            Some(refused) => Err(refused),
            None => Ok(batch.take_drafts(&self.site, &self.target)),
        };
        self.offering.offer(batch, drafts)
    }

    /// Ends the way of one batch: stored and confirmed, offered again while the loop is busy, or refused.
    async fn conclude(&mut self, batch: &Batch, outcome: Outcome, ended: bool) -> Result<(), End> {
        let answer = self.offering.settle(outcome).await;
        match answer {
            Answer::Stored { first, last } if self.confirm && !ended => self.confirm(first..=last).await?,
            Answer::Stored { .. } => {}
            Answer::Refused(Refused::Stopping) => return Err(stopped()),
            Answer::Refused(refused @ Refused::TooFast(_)) if !ended => self.reprove(batch, &refused).await?,
            Answer::Refused(Refused::TooFast(_)) => {}
            Answer::Refused(refused) if self.confirm && !ended => {
                let error = serde_json::json!({ "error": refused.to_string(), "refused": batch.len() });
                self.write([Message::text(error.to_string())]).await?;
            }
            Answer::Refused(refused) => return Err(End::Close(1013, refused.to_string())),
        }
        match batch.refused() {
            Some(violation) => self.refuse(violation, ended).await,
            None => Ok(()),
        }
    }

    /// Tells of a message that breaks the schema. A sender that is told nothing is closed, as for one that is not JSON.
    async fn refuse(&mut self, violation: &Violation, ended: bool) -> Result<(), End> {
        let words = validator::words(violation);
        if !self.confirm {
            return Err(End::Close(1007, words));
        }
        if ended {
            return Ok(());
        }
        let error = serde_json::json!({ "error": words, "pointer": violation.pointer, "refused": 1 });
        self.write([Message::text(error.to_string())]).await
    }

    /// Tells a peer that it is too fast: for each batch if it counts the answers, else now and then.
    async fn reprove(&mut self, batch: &Batch, refused: &Refused) -> Result<(), End> {
        self.refused += batch.len();
        let reproof = self.patience.refused(clock::now().mono);
        if reproof == Reproof::Refuse && !self.confirm {
            return Ok(());
        }
        let error =
            serde_json::json!({ "error": refused.to_string(), "refused": std::mem::take(&mut self.refused) });
        self.write([Message::text(error.to_string())]).await?;
        match reproof {
            Reproof::Close => Err(End::Close(1008, refused.to_string())),
            Reproof::Warn | Reproof::Refuse => Ok(()),
        }
    }

    async fn confirm(&mut self, ids: RangeInclusive<u64>) -> Result<(), End> {
        self.write(ids.map(|id| Message::text(format!("{{\"stored\":{id}}}")))).await
    }

    async fn look_at_silence(&mut self, reading: bool) -> Result<(), End> {
        if !reading || self.offering.busy().get() > 0 || self.peer.share.is_waiting() {
            return Ok(());
        }
        self.silent += 1;
        look_at_silence(&self.site, &mut self.socket, self.silent).await
    }

    async fn write(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), End> {
        write(&mut self.socket, messages).await
    }
}

/// Pings a peer that has been silent for so many ticks, or gives it up.
pub async fn look_at_silence(
    site: &ServerState,
    socket: &mut WebSocketStream<Metered>,
    silent: u32,
) -> Result<(), End> {
    match silent {
        TICKS => write(socket, [Message::Ping(Bytes::new())]).await,
        silent if silent >= 2 * TICKS => {
            let silence = 2 * site.limits.idle_timeout;
            Err(End::Close(1001, format!("nothing came for {} s", silence.as_secs_f32())))
        }
        _ => Ok(()),
    }
}

/// Writes all of these within the time that a peer has to take them.
pub async fn write(
    socket: &mut WebSocketStream<Metered>,
    messages: impl IntoIterator<Item = Message>,
) -> Result<(), End> {
    let write = async {
        for message in messages {
            socket.feed(message).await.map_err(|_| End::Gone)?;
        }
        socket.flush().await.map_err(|_| End::Gone)
    };
    let late = async {
        Timer::after(WRITE_TIMEOUT).await;
        Err(End::Gone)
    };
    or(write, late).await
}

/// Says goodbye and reads until the peer has hung up, so that it sees the reason instead of a reset.
async fn close(mut socket: WebSocketStream<Metered>, end: End) {
    let goodbye = async {
        match end {
            End::Close(code, reason) => {
                let reason = reason[..reason.floor_char_boundary(REASON_BYTES)].into();
                let _ = socket.close(Some(CloseFrame { code: code.into(), reason })).await;
            }
            // Reading on writes the answer to the peer's close frame.
            End::Gone => while let Some(Ok(_)) = socket.next().await {},
        }
        let stream = socket.get_mut();
        let _ = stream.close().await;
        let _ = smol::io::copy(stream, smol::io::sink()).await;
    };
    let late = async {
        Timer::after(LINGER_TIMEOUT).await;
    };
    or(goodbye, late).await;
}

/// How it ends when the agent stops.
pub fn stopped() -> End {
    End::Close(1001, Refused::Stopping.to_string())
}

/// Tells that a device is connected, until what it returns is dropped. A task of its own tells the end, so that it is told
/// even if the session is cancelled.
async fn announce(intake: &Intake, executor: &LocalExecutor<'static>, device: String) -> Sender<Infallible> {
    intake.connected(&device).await;
    let (session, ended) = bounded(1);
    let intake = intake.clone();
    let task = async move {
        let _ = ended.recv().await;
        intake.disconnected(&device).await;
    };
    executor.spawn(task).detach();
    session
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}
