//! HTTP: one request in, one answer out. Every error is JSON with the member `error`.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use holdfast_core::config::server::{Audience, HttpPage, Protocol};
use holdfast_core::observe::exposition::Exposition;
use holdfast_core::observe::health::Health;
use holdfast_core::observe::status::Status;
use holdfast_core::source::intake::{Answer, Refused};
use holdfast_schema::Violation;
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use smol::Timer;
use smol::future::or;

use super::ServerState;
use super::access::host;
use super::access::login;
use super::access::origin;
use super::access::peer::Peer;
use super::mqtt;
use super::request::body;
use super::request::length;
use super::request::one_shot;
use super::request::path::RouteError;
use super::session;
use super::web::api;
use super::web::files;
use super::web::metrics;
use super::web::subscribe;

/// A batch must be stored within this, else the sender is told to try again. A commit waits for a minute at most.
const STORE_TIMEOUT: Duration = Duration::from_secs(90);
/// The loop must say how it is within this.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);
/// What every answer is.
pub type HttpReply = Response<Either<Full<Bytes>, Lines>>;

/// A body that goes on until there are no more lines.
pub type Lines = StreamBody<Pin<Box<Chunks>>>;

/// What is written one after the other.
pub type Chunks = dyn Stream<Item = Result<Frame<Bytes>, Infallible>>;

/// Why a request is refused.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    error: String,
    /// What exactly is wrong, as a further member of the answer.
    what: Option<(&'static str, String)>,
    header: Option<Box<(header::HeaderName, HeaderValue)>>,
}

/// Where an upgraded connection leaves what it becomes.
pub type Slot = Rc<Cell<Option<session::Pending>>>;

/// Answers one request. A WebSocket handshake that is accepted also fills the slot.
pub async fn answer(site: &ServerState, peer: &Peer, request: Request<Incoming>, slot: &Slot) -> HttpReply {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let asked = host::check(site, peer, &request);
    let welcome = asked.and_then(|asked| origin::check(site, peer, asked.as_ref(), request.headers()));
    if let Err(problem) = welcome {
        return problem.into();
    }
    if site.protocol == Protocol::Mqtt {
        return mqtt::upgrade(request, slot).unwrap_or_else(HttpReply::from);
    }
    let is_unbounded = length::is_missing(request.method(), request.headers());
    let mut page = if origin::is_preflight(&request) {
        origin::options(request.headers())
    } else {
        let admitted = async { dispatch(site, peer, login::admit(site, peer, request).await?, slot).await };
        admitted.await.unwrap_or_else(HttpReply::from)
    };
    if is_unbounded {
        // Whatever follows may be a body: it must not be taken for the next request.
        page.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    match origin {
        Some(origin) => origin::shown(page, origin),
        None => page,
    }
}

async fn dispatch(
    site: &ServerState,
    peer: &Peer,
    request: Request<Incoming>,
    slot: &Slot,
) -> Result<HttpReply, ApiError> {
    if let Some(problem) = session::lost_upgrade(request.headers()) {
        return Err(problem);
    }
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return api::answer(site, peer, request).await;
    }
    match path {
        "/healthz" if asks_for_health(&request) => return Ok(health_page(site).await),
        "/metrics" if reads(&request) && site.tells() => return metrics_page(site, &request).await,
        _ => {}
    }
    if path == subscribe::PATH && request.method() == Method::GET && site.subscribe != Audience::None {
        return subscribe::upgrade(site, peer, request, slot).await;
    }
    if site.api_only {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}")));
    }
    if request.method() == Method::GET && session::is_upgrade(request.headers()) {
        return session::upgrade(site, request, slot);
    }
    if site.router.methods(path).iter().any(|method| method.name() == request.method().as_str()) {
        return enter(site, peer, request).await;
    }
    let root = path == "/";
    match *request.method() {
        Method::GET | Method::HEAD if root => front_page(site, &request).await,
        Method::GET | Method::HEAD if let HttpPage::Files { folder, index } = &site.page => {
            files::answer(&site.room, folder, index, &request).await
        }
        Method::OPTIONS => Ok(origin::options(request.headers())),
        _ => {
            let problem = not_taken(site, &request);
            Err(body::turn_away(request, problem).await)
        }
    }
}

/// Takes what comes in on a path.
async fn enter(site: &ServerState, peer: &Peer, request: Request<Incoming>) -> Result<HttpReply, ApiError> {
    let is_get = request.method() == Method::GET;
    let target = match if is_get { site.called(&request) } else { site.target(&request) } {
        Ok(target) => target,
        Err(miss) => return Err(body::turn_away(request, miss.into()).await),
    };
    match &target.call {
        Some(call) => one_shot::answer(site, peer, request, &target, call).await,
        None => body::take(site, peer, request, target, false).await,
    }
}

/// Says which methods the path of a request takes.
fn not_taken(site: &ServerState, request: &Request<Incoming>) -> ApiError {
    let path = request.uri().path();
    let mut names = if path == "/" { vec!["GET", "HEAD"] } else { Vec::new() };
    for name in site.router.methods(path).iter().map(|method| method.name()).chain(["OPTIONS"]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let (method, names) = (request.method(), names.join(", "));
    let error = format!(
        "{method} is not allowed here, only {names}; `methods` of a [[server.route]] says what its path takes"
    );
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, error).allows(&names)
}

/// Whether it wants to know how the agent is, which anyone may.
pub fn asks_for_health(request: &Request<Incoming>) -> bool {
    request.uri().path() == "/healthz" && reads(request)
}

fn reads(request: &Request<Incoming>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && !session::is_upgrade(request.headers())
}

/// The status as a page.
pub async fn status_page(site: &ServerState) -> Result<HttpReply, ApiError> {
    let broken =
        |error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the status: {error}"));
    Ok(json(StatusCode::OK, serde_json::to_string(&status(site).await?).map_err(broken)?))
}

/// 200 while the agent makes progress, else 503 with the reasons. A loop that does not even answer is told as such.
async fn health_page(site: &ServerState) -> HttpReply {
    let late = async {
        Timer::after(HEALTH_TIMEOUT).await;
        let silence = format!("the loop has not answered for {} s", HEALTH_TIMEOUT.as_secs());
        Some(Health { stuck: vec![silence], failing: None })
    };
    let stopping = || Health { stuck: Vec::new(), failing: Some(Refused::Stopping.to_string()) };
    let health = or(site.intake.health(), late).await.unwrap_or_else(stopping);
    if health.is_good() {
        return json(StatusCode::OK, serde_json::json!({ "status": "ok" }).to_string());
    }
    let reasons: Vec<&String> = health.reasons().collect();
    let text = serde_json::json!({ "status": "failing", "reasons": reasons }).to_string();
    json(StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn metrics_page(site: &ServerState, request: &Request<Incoming>) -> Result<HttpReply, ApiError> {
    let broken =
        |error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write metrics: {error}"));
    let lists = request.headers().get_all(header::ACCEPT).iter();
    let format = Exposition::accepted(lists.filter_map(|list| list.to_str().ok()));
    let mut page = Response::new(whole(metrics::text(&status(site).await?, format).map_err(broken)?));
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    page.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(page)
}

async fn status(site: &ServerState) -> Result<Status, ApiError> {
    let stopping = || ApiError::of_refusal(&Refused::Stopping);
    let late = async {
        Timer::after(STORE_TIMEOUT).await;
        None
    };
    or(site.intake.status(), late).await.ok_or_else(stopping)
}

impl ApiError {
    /// A refusal with this status and this text.
    pub fn new(status: StatusCode, error: impl Into<String>) -> ApiError {
        ApiError { status, error: error.into(), what: None, header: None }
    }

    /// 400.
    pub fn bad(error: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, error)
    }

    /// 405, with the methods that are allowed.
    pub fn not_allowed(methods: &'static str) -> ApiError {
        let error = format!("this method is not allowed here, only {methods}");
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, error).allows(methods)
    }

    fn allows(self, methods: &str) -> ApiError {
        self.with(header::ALLOW, HeaderValue::from_str(methods).expect("names of methods are header values"))
    }

    /// The same with a header.
    pub fn with(mut self, name: header::HeaderName, value: HeaderValue) -> ApiError {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// A message that breaks the schema of its route.
    pub fn violation(error: String, violation: &Violation) -> ApiError {
        ApiError { what: Some(("pointer", violation.pointer.clone())), ..ApiError::bad(error) }
    }

    /// Fault, in words.
    pub fn words(&self) -> &str {
        &self.error
    }

    /// As JSON.
    pub fn text(&self) -> String {
        let mut text = serde_json::json!({ "error": self.error });
        if let Some((name, value)) = &self.what {
            text[*name] = value.clone().into();
        }
        text.to_string()
    }

    /// What it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether it may go well later.
    pub fn passes(&self) -> bool {
        matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    }

    /// What the loop says.
    pub fn of_refusal(refused: &Refused) -> ApiError {
        let (status, retry_after_s) = match refused {
            Refused::Busy => (StatusCode::TOO_MANY_REQUESTS, "1"),
            Refused::TooFast(wait) => return login::later("too many messages", *wait),
            Refused::Full | Refused::Failing(_) => (StatusCode::SERVICE_UNAVAILABLE, "10"),
            Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "5"),
            Refused::NoOutlet(_) => return ApiError::new(StatusCode::NOT_FOUND, refused.to_string()),
        };
        ApiError::new(status, refused.to_string())
            .with(header::RETRY_AFTER, HeaderValue::from_static(retry_after_s))
    }
}

impl From<RouteError> for ApiError {
    fn from(miss: RouteError) -> ApiError {
        let error = miss.to_string();
        match miss {
            RouteError::NoRoute(_) => ApiError::new(StatusCode::NOT_FOUND, error),
            RouteError::Parameter { name, .. } => {
                ApiError { what: Some(("parameter", name)), ..ApiError::bad(error) }
            }
            RouteError::Violation(violation) => ApiError::violation(error, &violation),
            RouteError::Wrong(_) => ApiError::bad(error),
        }
    }
}

impl From<ApiError> for HttpReply {
    fn from(problem: ApiError) -> HttpReply {
        let mut page = json(problem.status, problem.text());
        if let Some((name, value)) = problem.header.map(|header| *header) {
            page.headers_mut().insert(name, value);
        }
        page
    }
}

async fn front_page(site: &ServerState, request: &Request<Incoming>) -> Result<HttpReply, ApiError> {
    match &site.page {
        HttpPage::Status => status_page(site).await,
        HttpPage::Empty => Ok(empty()),
        HttpPage::Page(file) => files::page(&site.room, file, request).await,
        HttpPage::Files { folder, index } => files::answer(&site.room, folder, index, request).await,
    }
}

/// The answer to a batch that is stored.
pub fn stored(ids: String) -> HttpReply {
    json(StatusCode::OK, format!("{{\"stored\":{ids}}}"))
}

/// A line of JSON for each that comes, until there are no more.
pub fn ndjson(lines: smol::channel::Receiver<String>) -> HttpReply {
    let frames = lines.map(|line| Ok(Frame::data(Bytes::from(line + "\n"))));
    let mut page = Response::new(Either::Right(StreamBody::new(Box::pin(frames) as Pin<Box<Chunks>>)));
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    page
}

fn whole(text: impl Into<Bytes>) -> Either<Full<Bytes>, Lines> {
    Either::Left(Full::new(text.into()))
}

/// A JSON text.
pub fn json(status: StatusCode, text: String) -> HttpReply {
    let mut page = Response::new(whole(text));
    *page.status_mut() = status;
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page
}

/// Any bytes.
pub fn bytes(kind: &'static str, bytes: Vec<u8>) -> HttpReply {
    let mut page = Response::new(whole(bytes));
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}

/// 204 without content.
pub fn empty() -> HttpReply {
    let mut page = Response::new(whole(""));
    *page.status_mut() = StatusCode::NO_CONTENT;
    page
}

/// The ids of a batch once it is stored.
pub async fn stored_in_time(answer: impl Future<Output = Answer>) -> Result<(u64, u64), ApiError> {
    let late = async {
        Timer::after(STORE_TIMEOUT).await;
        let cause = format!("nothing was stored within {} s", STORE_TIMEOUT.as_secs());
        Answer::Refused(Refused::Failing(cause))
    };
    match or(answer, late).await {
        Answer::Stored { first, last } => Ok((first, last)),
        Answer::Refused(refused) => Err(ApiError::of_refusal(&refused)),
    }
}
