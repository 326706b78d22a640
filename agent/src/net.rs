//! Outgoing connections: a name becomes addresses, the addresses become one socket whose silence has an end.

pub mod control;
mod gauge;
pub mod head;
mod resolver;
pub mod tls;
mod tunnel;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use holdfast_core::config::Url;
use holdfast_core::config::tls::ClientTls;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::probe::{DialStep, FinishedStep};
use holdfast_core::link::protocol::{Peer, Refusal};
use holdfast_core::time::Time;
use rustix::net::sockopt;
use smol::Timer;
use smol::future::{or, pending};
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;

pub use self::gauge::Gauge;
pub use self::tunnel::Tunnel;
use crate::os::clock;

/// Head start of one address before the next one is tried as well (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection in both directions, with TLS or without.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Makes a wrapper that has only its own way to read an `AsyncWrite`: what is written goes to its `stream` as it is.
macro_rules! writes_pass {
    ($wrapper:ty) => {
        impl smol::io::AsyncWrite for $wrapper {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                std::pin::Pin::new(&mut self.stream).poll_write(context, bytes)
            }

            fn poll_flush(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.stream).poll_flush(context)
            }

            fn poll_close(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::pin::Pin::new(&mut self.stream).poll_close(context)
            }
        }
    };
}

pub(crate) use writes_pass;

/// Any connection.
pub type Stream = Box<dyn Duplex>;

/// Where an outgoing connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether TLS is spoken.
    pub secure: bool,
    /// Name or address, an IPv6 address without brackets and perhaps with a zone.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Sees each step of a dial once it is done.
pub type StepWatch = Box<dyn Fn(&FinishedStep)>;

/// How far a dial has come, and what was found on the way.
pub struct DialTrace {
    watch: Option<StepWatch>,
    certificate_days_left: Cell<Option<i64>>,
    step: Cell<DialStep>,
    since: Cell<Time>,
    found: RefCell<String>,
    done: RefCell<Vec<FinishedStep>>,
}

impl Target {
    /// Takes scheme, host and port of a url. `plain` and `secure` are a scheme and its default port each.
    pub fn of(url: &Url, plain: (&str, u16), secure: (&str, u16)) -> Target {
        let is_secure = url.scheme == secure.0;
        let default_port = if is_secure { secure.1 } else { plain.1 };
        Target { secure: is_secure, host: url.host(), port: url.port().unwrap_or(default_port) }
    }

    /// The host as others know it: a zone means something on this machine only (RFC 6874 §3).
    pub fn name(&self) -> &str {
        self.host.split('%').next().unwrap_or_default()
    }

    /// Host and port as a peer is told of them, the port left out when it is `default_port`.
    pub fn authority(&self, default_port: u16) -> String {
        let name = self.name();
        let host = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        if self.port == default_port { host } else { format!("{host}:{}", self.port) }
    }
}

impl DialTrace {
    /// Nothing has been done.
    pub fn new() -> DialTrace {
        let since = Cell::new(clock::now().mono);
        DialTrace {
            watch: None,
            certificate_days_left: Cell::default(),
            step: Cell::new(DialStep::Settings),
            since,
            found: RefCell::default(),
            done: RefCell::default(),
        }
    }

    /// The same, and each step is shown once it is done.
    pub fn watched(watch: StepWatch) -> DialTrace {
        DialTrace { watch: Some(watch), ..DialTrace::new() }
    }

    /// Days until the certificate of the peer ends, once it was seen.
    pub fn certificate_days_left(&self) -> Option<i64> {
        self.certificate_days_left.get()
    }

    /// The step before is done, and this one begins.
    pub fn enter(&self, step: DialStep) {
        let ended = self.ended();
        self.done.borrow_mut().push(ended);
        self.step.set(step);
    }

    /// What this step has found.
    pub fn found(&self, found: impl Into<String>) {
        *self.found.borrow_mut() = found.into();
    }

    /// Where a deadline that passes finds it.
    fn place(&self) -> &'static str {
        self.step.get().place()
    }

    /// What comes of a dial that may take so long.
    pub async fn within<T>(
        &self,
        timeout: Duration,
        dial: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let deadline = async {
            Timer::after(timeout).await;
            let error = format!("timed out after {} s {}", timeout.as_secs_f32(), self.place());
            Err(Refusal::new(DialError::TimedOut, error))
        };
        or(dial, deadline).await
    }

    /// The step that goes on.
    pub fn step(&self) -> DialStep {
        self.step.get()
    }

    /// How long it has been going on.
    pub fn took(&self) -> Duration {
        clock::now().mono.since(self.since.get())
    }

    /// All steps that are done; the one that goes on is among them if it `succeeded`.
    pub fn done(self, succeeded: bool) -> Vec<FinishedStep> {
        let last = succeeded.then(|| self.ended());
        self.done.into_inner().into_iter().chain(last).collect()
    }

    fn ended(&self) -> FinishedStep {
        let took = self.took();
        self.since.set(clock::now().mono);
        let ended = FinishedStep { step: self.step.get(), took, found: self.found.take() };
        if let Some(watch) = &self.watch {
            watch(&ended);
        }
        ended
    }
}

impl Default for DialTrace {
    fn default() -> Self {
        DialTrace::new()
    }
}

/// Connects, through a proxy if there is one and with TLS where the target says so, and tells what the peer shows of itself.
/// Its bytes are counted. The caller sets the deadline.
pub async fn open(
    target: &Target,
    tunnel: Option<&Tunnel>,
    tls: &ClientTls,
    user_timeout: Duration,
    stage: &DialTrace,
    gauge: &Gauge,
) -> Result<(Stream, Peer), Refusal> {
    let next = tunnel.map_or(target, |tunnel| &tunnel.proxy);
    let dialed = dial(&next.host, next.port, user_timeout, stage).await;
    let mut tcp = dialed.map_err(|refusal| match tunnel {
        Some(_) => {
            Refusal::new(refusal.cause.of_proxy(), format!("cannot reach the proxy: {}", refusal.error))
        }
        None => refusal,
    })?;
    let mut address = tcp.peer_addr().map_err(|error| lost(&error))?.to_string();
    if let Some(tunnel) = tunnel {
        stage.enter(DialStep::Proxy);
        tunnel.open(&mut tcp, target).await?;
        stage.found(format!("leads to {}", target.authority(0)));
        address = format!("{} through the proxy {address}", target.authority(0));
    }
    let tcp = gauge.watch(tcp);
    if !target.secure {
        return Ok((Box::new(tcp), Peer { address, ..Peer::default() }));
    }
    stage.enter(DialStep::Tls);
    let (stream, certificate_days_left) = tls::connect(tcp, tls, target.name()).await?;
    stage.found(tls::shown(&stream, certificate_days_left));
    stage.certificate_days_left.set(certificate_days_left);
    Ok((Box::new(stream), Peer { address, certificate_days_left, terms: None }))
}

/// Connects to the first address of `host` that answers: families in turn, each with a short head start (RFC 8305).
///
/// What was sent and is not acknowledged for `user_timeout` ends the connection, and so does a peer that is gone while
/// nothing is sent; zero leaves both to the kernel. The caller sets the deadline of the whole.
async fn dial(
    host: &str,
    port: u16,
    user_timeout: Duration,
    stage: &DialTrace,
) -> Result<TcpStream, Refusal> {
    stage.enter(DialStep::Name);
    let addresses = resolve(host, port).await.map_err(|error| {
        let is_zone = zone_of(host).is_some();
        let cause = if is_zone { DialError::NoInterface } else { DialError::Dns };
        Refusal::new(cause, error.to_string())
    })?;
    stage.found(addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", "));
    stage.enter(DialStep::Tcp);
    let stream = first_to_answer(interleaved(addresses)).await?;
    let prepared = stream.peer_addr().and_then(|address| {
        stage.found(address.to_string());
        stream.set_nodelay(true)?;
        limit_silence(&stream, user_timeout)
    });
    prepared.map_err(|error| lost(&error))?;
    Ok(stream)
}

/// A socket that ended as soon as it was there.
fn lost(error: &io::Error) -> Refusal {
    Refusal::new(DialError::Broken, words(error))
}

/// A connection that broke before it could be used, by TLS or below it.
pub fn broken(error: &io::Error) -> Refusal {
    let refusal = tls::refusal_by_tls(error);
    let Refusal { cause, error, .. } =
        refusal.unwrap_or_else(|| Refusal::new(DialError::Broken, words(error)));
    Refusal::new(cause, format!("the connection broke: {error}"))
}

/// Address and zone of `fe80::1%eth0`.
fn zone_of(host: &str) -> Option<(&str, &str)> {
    host.split_once('%')
}

/// An I/O error in plain words: `connection refused`.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !letters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// Looks up a name. The error names it.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = resolver::resolve(host).await;
    let mut found = found.map_err(|error| {
        let text = words(&error);
        let cause = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
        let error_of = |words| io::Error::new(error.kind(), words);
        match zone_of(host) {
            // An address needs no name server, so it is the zone that is not known.
            Some((address, zone)) => error_of(format!(
                "cannot resolve {host}: this machine has no network interface {zone} that leads to {address}"
            )),
            None => error_of(format!("cannot resolve {host}: {}", cause.to_lowercase())),
        }
    })?;
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("cannot resolve {host}: it has no address"),
        ));
    }
    found.iter_mut().for_each(|address| address.set_port(port));
    Ok(found)
}

/// The order of the resolver, but with the families in turn (RFC 8305 §4).
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut ordered = VecDeque::new();
    for address in first {
        ordered.push_back(address);
        ordered.extend(second.next());
    }
    ordered.extend(second);
    ordered
}

enum Turn {
    Ended(io::Result<TcpStream>),
    NoneLeft,
    NextAddress,
}

async fn first_to_answer(mut waiting: VecDeque<SocketAddr>) -> Result<TcpStream, Refusal> {
    let mut tries = FuturesUnordered::new();
    let mut failures: Vec<io::Error> = Vec::new();
    loop {
        if let Some(address) = waiting.pop_front() {
            tries.push(connect(address));
        }
        let more_wait = !waiting.is_empty();
        let ended = async { tries.next().await.map_or(Turn::NoneLeft, Turn::Ended) };
        let head_start = async {
            if !more_wait {
                pending::<()>().await;
            }
            Timer::after(HEAD_START).await;
            Turn::NextAddress
        };
        match or(ended, head_start).await {
            Turn::Ended(Ok(stream)) => return Ok(stream),
            Turn::Ended(Err(error)) => failures.push(error),
            Turn::NextAddress => {}
            Turn::NoneLeft => return Err(joined(&failures)),
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot connect to {address}: {}", words(&error)))
    })
}

fn joined(failures: &[io::Error]) -> Refusal {
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let cause = if failures.iter().any(is_refused) { DialError::Refused } else { DialError::Unreachable };
    let texts: Vec<String> = failures.iter().map(io::Error::to_string).collect();
    Refusal::new(cause, texts.join("; "))
}

/// Bounds how long unacknowledged bytes (RFC 5482) and an idle connection outlive the peer.
fn limit_silence(stream: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    const PROBES: u32 = 3;
    // tcp(7) takes whole seconds up to this.
    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(32_767);
    if user_timeout.is_zero() {
        return Ok(());
    }
    let user_timeout = user_timeout.clamp(LEAST, MOST);
    let user_timeout_ms = u32::try_from(user_timeout.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, user_timeout_ms)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, user_timeout)?;
    sockopt::set_tcp_keepintvl(stream, (user_timeout / PROBES).max(LEAST))?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use smol::net::TcpListener;

    use super::*;

    const USER_TIMEOUT: Duration = Duration::from_secs(30);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    async fn refused_address() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        listener.local_addr().unwrap()
    }

    #[test]
    fn the_families_take_turns_and_the_first_one_of_the_resolver_stays_first() {
        let found = ["[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"];
        let ordered = interleaved(found.into_iter().map(address).collect());
        let expected = ["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "192.0.2.2:1", "192.0.2.3:1"];
        assert_eq!(ordered, expected.into_iter().map(address).collect::<VecDeque<_>>());
    }

    #[test]
    fn an_address_that_refuses_gives_way_to_the_next() {
        smol::block_on(async {
            let refused = refused_address().await;
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let open = listener.local_addr().unwrap();
            let stream = first_to_answer(VecDeque::from([refused, open])).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), open);
        });
    }

    #[test]
    fn the_error_of_a_dial_names_every_address_and_its_cause() {
        smol::block_on(async {
            let (a, b) = (refused_address().await, refused_address().await);
            let error = first_to_answer(VecDeque::from([a, b])).await.unwrap_err();
            let expected = format!(
                "cannot connect to {a}: connection refused; cannot connect to {b}: connection refused"
            );
            assert_eq!(error, Refusal::new(DialError::Refused, expected));
        });
    }

    #[test]
    fn a_zone_names_the_interface_and_stays_on_this_machine() {
        let url = Url::parse("ws://[fe80::1%25lo]:8080/", ["ws", "wss"]);
        let target = Target::of(&url.unwrap_or_else(|error| panic!("{error}")), ("ws", 80), ("wss", 443));
        assert_eq!((target.name(), target.authority(80).as_str()), ("fe80::1", "[fe80::1]:8080"));
        let found = smol::block_on(resolve(&target.host, target.port)).unwrap();
        let [SocketAddr::V6(found)] = found[..] else { panic!("{found:?}") };
        assert!(found.port() == 8080 && found.scope_id() > 0, "{found:?}");
        let error = smol::block_on(resolve("fe80::1%nowhere0", 80)).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot resolve fe80::1%nowhere0: this machine has no network interface nowhere0 that leads to fe80::1"
        );
    }

    #[test]
    fn a_name_that_does_not_exist_is_named() {
        let dialed = smol::block_on(dial("no-such-host.invalid", 80, USER_TIMEOUT, &DialTrace::new()));
        let refusal = dialed.unwrap_err();
        assert!(refusal.error.starts_with("cannot resolve no-such-host.invalid: "), "{refusal}");
        assert_eq!(refusal.cause, DialError::Dns);
        let zone = smol::block_on(dial("fe80::1%nowhere0", 80, USER_TIMEOUT, &DialTrace::new()));
        assert_eq!(zone.unwrap_err().cause, DialError::NoInterface);
    }

    #[test]
    fn a_dialed_socket_does_not_wait_with_small_writes_and_gives_up_on_a_silent_peer() {
        smol::block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let stream = dial("127.0.0.1", port, USER_TIMEOUT, &DialTrace::new()).await.unwrap();
            assert!(stream.nodelay().unwrap());
            assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 30_000);
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), USER_TIMEOUT);
        });
    }

    #[test]
    fn patience_without_end_is_no_reason_to_fail() {
        smol::block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            for user_timeout in [Duration::ZERO, Duration::MAX] {
                dial("127.0.0.1", port, user_timeout, &DialTrace::new()).await.unwrap();
            }
        });
    }

    #[test]
    fn a_target_takes_the_default_port_of_its_scheme_and_loses_brackets_and_userinfo() {
        let url = |text| Url::parse(text, ["ws", "wss"]).unwrap_or_else(|error| panic!("{error}"));
        let target = |text| Target::of(&url(text), ("ws", 80), ("wss", 443));
        assert_eq!(
            target("ws://hub.example/x"),
            Target { secure: false, host: "hub.example".into(), port: 80 }
        );
        assert_eq!(target("wss://a:b@[::1]:8443"), Target { secure: true, host: "::1".into(), port: 8443 });
        assert_eq!(target("wss://a:b@[::1]:8443").authority(443), "[::1]:8443");
        assert_eq!(target("wss://hub.example").authority(443), "hub.example");
    }

    #[test]
    fn an_error_loses_its_number_and_its_capital() {
        assert_eq!(words(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(words(&io::Error::other("TLS is odd")), "TLS is odd");
    }
}
