//! The local servers: listeners for sensors that speak WebSocket and HTTP, or MQTT, and the control socket. This file binds and serves; the
//! modules below take one connection each from the accept to its end.

mod accept;
mod access;
mod certificate;
mod connection;
mod http;
mod linger;
mod malformed;
mod memory;
mod mqtt;
mod offering;
mod preread;
pub mod request;
mod room;
mod session;
mod socket;
#[cfg(test)]
mod tests;
mod web;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use accept::{Places, admit};
use access::host::HostNames;
use access::login::Login;
use certificate::Certificate;
use holdfast_core::config::access::Access;
use holdfast_core::config::server::{Audience, HttpPage, Limits, Protocol, Server};
use holdfast_core::message::Format;
use holdfast_core::observe::status::{CertificateStatus, ServerStatus};
use holdfast_core::source::access::AccessControl;
use holdfast_core::source::intake::Draft;
use holdfast_core::source::mqtt::grant::Grants;
use holdfast_core::source::payload;
use memory::Pool;
use mqtt::{Clients, TopicRouter};
pub use request::validator::{FileRead, SchemaValidator, has_changed, words as violation_words};
use request::{one_shot, path, validator};
pub use room::Room;
use smol::LocalExecutor;
use smol::future::or;
use socket::Socket;
use web::files;

use crate::os::clock;
use crate::os::descriptors::TURNED_AWAY;
use crate::source::intake::Intake;

/// Memory of the callers of the control socket, whom those of the servers take nothing: the largest message may come again
/// there in its envelope.
const CONTROL_MEMORY: usize = 64 << 20;
/// Whoever may open the control socket is trusted, but not with all memory.
const CONTROL_LIMITS: Limits = Limits {
    connections: 32,
    message_bytes: 65536,
    handshake_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(120),
    connections_per_ip: 0,
    rate_per_client: None,
    rate_per_user: None,
    rate_per_ip: None,
    inflight: 1,
};

/// How often a control socket that cannot be bound is tried.
const BIND_EACH: Duration = Duration::from_secs(5);

/// A socket that stays open from one life of a server to the next.
#[derive(Clone)]
pub struct KeptSocket {
    server: String,
    /// As `bind` names it.
    name: String,
    socket: Socket,
    /// Whether nothing needs it any more.
    leaves: bool,
}

impl KeptSocket {
    /// The same among these servers: whether one of them goes on with it.
    pub fn among(mut self, servers: &[Server]) -> KeptSocket {
        let needs =
            |server: &Server| server.active && server.bind.iter().any(|name| self.serves(&server.id, name));
        self.leaves = !servers.iter().any(needs);
        self
    }

    /// Whether it is what a server means by this name. Port 0 is another one for each server.
    fn serves(&self, server: &str, name: &str) -> bool {
        self.name == name && (self.server == server || !name.ends_with(":0"))
    }
}

/// How a server is, as JSON.
pub type Facts = Rc<dyn Fn() -> ServerStatus>;

/// The bound listeners of one `[[server]]`.
pub struct Listeners {
    server: String,
    /// As `bind` names them.
    names: Vec<String>,
    sockets: Vec<Socket>,
    certificate: Option<Rc<Certificate>>,
    protocol: Protocol,
    router: path::Router,
    topics: TopicRouter,
    gate: Rc<RefCell<AccessControl>>,
    login: Login,
}

impl Listeners {
    /// The bound addresses of TCP, in the order of `bind`, with the port that port 0 became.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(Socket::address).collect()
    }

    /// What the schemas of the routes are made of.
    pub fn files(&self) -> impl Iterator<Item = FileRead> {
        self.router.files().chain(self.topics.files()).cloned()
    }

    /// Where each is reached.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        let scheme = match (self.protocol, self.certificate.is_some()) {
            (Protocol::Http, false) => "http",
            (Protocol::Http, true) => "https",
            (Protocol::Mqtt, false) => "mqtt",
            (Protocol::Mqtt, true) => "mqtts",
        };
        self.sockets.iter().map(move |socket| socket.url(scheme))
    }

    /// The sockets, to be kept open for the next life of the server.
    pub fn kept(&self) -> impl Iterator<Item = KeptSocket> {
        let named = self.names.iter().cloned().zip(self.sockets.iter().cloned());
        named.map(|(name, socket)| KeptSocket { server: self.server.clone(), name, socket, leaves: false })
    }

    /// How the server is, at any time: what it has turned away, and its certificate.
    pub fn facts(&self, application: &str) -> Facts {
        let (gate, certificate) = (self.gate.clone(), self.certificate.clone());
        let (application, listening) = (application.to_owned(), self.urls().collect::<Vec<_>>());
        Rc::new(move || {
            let certificate = certificate.as_ref().map(|certificate| CertificateStatus {
                certificate_days_left: certificate.days_left(),
                certificate_error: certificate.fault(),
            });
            ServerStatus {
                counts: gate.borrow().counts,
                listening: listening.clone(),
                application: application.clone(),
                certificate,
            }
        })
    }
}

/// What is wrong with the schemas of a server's routes, and what of them costs too much; one that is missing is not told, here.
pub fn schema_faults(server: &Server) -> Vec<String> {
    let there = server.routes.iter().filter_map(|route| Some((route, route.schema.as_deref()?)));
    let there = there.filter(|(_, file)| file.is_file());
    let faults = there.flat_map(|(route, file)| match validator::SchemaValidator::new(&route.path, file) {
        Ok(judge) => judge.warnings().collect(),
        Err(fault) => vec![fault],
    });
    faults.map(|fault| format!("server {}: {fault}", server.id)).collect()
}

/// Binds every address of a server, but those that are among the kept ones, and reads its certificate. The error names the
/// server and the address or file.
pub async fn bind(server: &Server, kept: &[KeptSocket]) -> Result<Listeners, String> {
    let of = |error| format!("{error} (server {})", server.id);
    let certificate = server.tls.as_ref().map(|tls| Certificate::load(&server.id, tls));
    let certificate = certificate.transpose().map_err(of)?.map(Rc::new);
    let (of_paths, of_topics) = match server.protocol {
        Protocol::Http => (server.routes.as_slice(), &[][..]),
        Protocol::Mqtt => (&[][..], server.routes.as_slice()),
    };
    let router = path::Router::new(of_paths, server.unmatched).map_err(of)?;
    let topics = TopicRouter::new(of_topics, server.unmatched).map_err(of)?;
    one_shot::check(server).map_err(of)?;
    files::check(server).map_err(of)?;
    let login = Login::new(&server.access).map_err(|error| of(format!("{error:#}")))?;
    let gate = Rc::new(RefCell::new(AccessControl::new(&server.access, &server.limits, clock::now().mono)));
    let leaving: Vec<&Socket> = kept.iter().filter(|kept| kept.leaves).map(|kept| &kept.socket).collect();
    let mut sockets = Vec::new();
    for name in &server.bind {
        let cannot = |cause| format!("cannot bind {name} (server.bind of {}): {cause}", server.id);
        sockets.push(match kept.iter().find(|kept| kept.serves(&server.id, name)) {
            Some(kept) => kept.socket.clone(),
            None => Socket::bind(name, &leaving).await.map_err(cannot)?,
        });
    }
    let (id, names, protocol) = (server.id.clone(), server.bind.clone(), server.protocol);
    Ok(Listeners { server: id, names, sockets, certificate, protocol, router, topics, gate, login })
}

/// Serves until the intake stops. What is open then ends by itself within a few seconds.
pub async fn serve(
    listeners: Listeners,
    server: Rc<Server>,
    intake: Intake,
    executor: Rc<LocalExecutor<'static>>,
    room: Rc<Room>,
) {
    let source = format!("server:{}", server.id);
    let (gate, login) = (listeners.gate, listeners.login);
    let site = Rc::new(ServerState {
        protocol: listeners.protocol,
        router: listeners.router,
        topics: listeners.topics,
        page: server.http.clone(),
        subscribe: server.subscribe,
        origins: server.access.origins.clone(),
        names: HostNames::new(&server),
        certificate: listeners.certificate,
        memory: room.memory.clone(),
        clients: Clients::of(&server, room.memory.clone()),
        room,
        ..ServerState::new(&source, server.limits, gate, login, intake.clone(), executor.clone())
    });
    let tasks = listeners.sockets.into_iter().map(|socket| {
        let site = site.clone();
        executor.spawn(async move { admit(&site, || socket.accept()).await })
    });
    let mut tasks: Vec<_> = tasks.collect();
    if site.protocol == Protocol::Mqtt {
        tasks.push(executor.spawn(mqtt::downlink::run(site.clients.clone(), intake.clone())));
    }
    intake.stopping().await;
    drop(tasks);
}

/// Serves `/api` on a Unix socket until the intake stops. A socket that cannot be bound is tried again, and one whose file was
/// removed is bound anew.
pub async fn keep_control(
    path: PathBuf,
    intake: Intake,
    executor: Rc<LocalExecutor<'static>>,
    room: Rc<Room>,
) {
    let serving = async {
        let mut told = String::new();
        loop {
            match serve_control(path.clone(), intake.clone(), executor.clone(), room.clone()).await {
                Ok(()) => log::warn!("the control socket {} was removed and is bound anew", path.display()),
                Err(error) => {
                    if error != told {
                        log::warn!("{error}: `holdfast status` and `holdfast send` will not work");
                    }
                    told = error;
                    smol::Timer::after(BIND_EACH).await;
                }
            }
        }
    };
    or(intake.stopping(), serving).await;
}

/// Serves `/api` on a Unix socket until the intake stops, then removes it, or until it is not reached any more. A stale socket in
/// its place is replaced.
pub async fn serve_control(
    path: PathBuf,
    intake: Intake,
    executor: Rc<LocalExecutor<'static>>,
    room: Rc<Room>,
) -> Result<(), String> {
    let cannot = |cause: String| format!("cannot bind the control socket {}: {cause}", path.display());
    let mode = socket::control_mode(&path, std::env::var("RUNTIME_DIRECTORY").ok().as_deref());
    let socket = Socket::bind_unix(&path, mode).await.map_err(cannot)?;
    let memory = Pool::new(CONTROL_MEMORY);
    let everybody = Access::default();
    let gate = Rc::new(RefCell::new(AccessControl::new(&everybody, &CONTROL_LIMITS, clock::now().mono)));
    let login = Login::new(&everybody).map_err(|error| cannot(format!("{error:#}")))?;
    let site = ServerState::new("control", CONTROL_LIMITS, gate, login, intake.clone(), executor);
    let site = Rc::new(ServerState { api_only: true, memory, room, ..site });
    let accepting = admit(&site, || socket.accept());
    or(accepting, or(intake.stopping(), socket.unreachable())).await;
    Ok(())
}

/// What all connections of one server share.
struct ServerState {
    protocol: Protocol,
    router: path::Router,
    topics: TopicRouter,
    /// Those that speak MQTT.
    clients: Rc<Clients>,
    /// Wills that wait for their time.
    delayed: Places,
    limits: Limits,
    page: HttpPage,
    subscribe: Audience,
    origins: Vec<String>,
    names: HostNames,
    certificate: Option<Rc<Certificate>>,
    gate: Rc<RefCell<AccessControl>>,
    login: Login,
    source: Arc<str>,
    /// Nothing but `/api` is there.
    api_only: bool,
    intake: Intake,
    executor: Rc<LocalExecutor<'static>>,
    connections: Places,
    turned_away: Places,
    room: Rc<Room>,
    memory: Rc<Pool>,
}

impl ServerState {
    fn new(
        source: &str,
        limits: Limits,
        gate: Rc<RefCell<AccessControl>>,
        login: Login,
        intake: Intake,
        executor: Rc<LocalExecutor<'static>>,
    ) -> ServerState {
        ServerState {
            protocol: Protocol::Http,
            router: path::Router::default(),
            topics: TopicRouter::default(),
            clients: Clients::new(limits.connections, Grants::default(), Pool::new(0)),
            delayed: Places::new(limits.connections),
            limits,
            page: HttpPage::Empty,
            subscribe: Audience::None,
            origins: Vec::new(),
            names: HostNames::default(),
            certificate: None,
            gate,
            login,
            source: source.into(),
            api_only: false,
            intake,
            executor,
            connections: Places::new(limits.connections),
            turned_away: Places::new(TURNED_AWAY),
            room: Rc::default(),
            memory: Pool::new(0),
        }
    }

    /// Whether it shows how the agent is to whoever asks.
    fn tells(&self) -> bool {
        self.api_only || self.page == HttpPage::Status
    }

    /// Where the messages of a request go.
    fn target<B>(&self, request: &hyper::Request<B>) -> Result<path::Target, path::RouteError> {
        self.judged(self.router.target(request.uri().path(), request.uri().query(), request.headers())?)
    }

    /// The same where the query is the message.
    fn called<B>(&self, request: &hyper::Request<B>) -> Result<path::Target, path::RouteError> {
        self.judged(self.router.called(request.uri().path(), request.uri().query(), request.headers())?)
    }

    fn judged(&self, target: path::Target) -> Result<path::Target, path::RouteError> {
        if let (Some(judge), Some(call)) = (&target.judge, &target.call)
            && let Err(violation) = judge.check(call.payload.as_bytes()).result
        {
            self.violated(judge);
            return Err(path::RouteError::Violation(violation));
        }
        Ok(target)
    }

    /// Counts a message that broke the schema of its route.
    fn violated(&self, judge: &validator::SchemaValidator) {
        self.intake.tally().add(self.id(), judge.route());
    }

    /// The `id` of the server.
    fn id(&self) -> &str {
        self.source.strip_prefix("server:").unwrap_or(&self.source)
    }

    fn draft(&self, target: &path::Target, format: Format, payload: Vec<u8>) -> Draft {
        Draft {
            topic: target.topic.clone(),
            device: target.device.clone(),
            source: self.source.clone(),
            format,
            payload,
            attributes: target.attributes.clone(),
            priority: target.priority,
            ttl_s: target.ttl_s,
        }
    }
}
