//! HTTP: one request in, one answer out. Every error is JSON with the member `error`.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use holdfast_core::config::server::{Audience, HttpPage};
use holdfast_core::message::Format;
use holdfast_core::observe::health::Health;
use holdfast_core::source::intake::{Answer, Draft, Refused};
use holdfast_schema::Violation;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use smol::Timer;
use smol::future::or;

use super::guest::Guest;
use super::path::{Miss, Target};
use super::{Site, api, call, files, judge, length, login, metrics, origin, payload, session, subscribe};

/// A body must have arrived within this, or within the server's `idle_timeout` if that is shorter.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A batch must be stored within this, else the sender is told to try again. A commit waits for a minute at most.
const STORE_TIMEOUT: Duration = Duration::from_secs(90);
/// The loop must say how it is within this.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the rest of a refused body is read, so that the sender sees the answer instead of a reset.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes of one body of lines.
const LINES_BYTES: usize = 8 << 20;
/// How many times the limit of one message a body of lines may hold.
const LINES_FACTOR: usize = 16;
/// Most lines of one body, and most messages of a batch.
pub const LINES: usize = 10_000;

/// What every answer is.
pub type Page = Response<Either<Full<Bytes>, Lines>>;

/// A body that goes on until there are no more lines.
pub type Lines = StreamBody<Pin<Box<Chunks>>>;

/// What is written one after the other.
pub type Chunks = dyn Stream<Item = Result<Frame<Bytes>, Infallible>>;

/// Why a request is refused.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    error: String,
    /// What exactly is wrong, as a further member of the answer.
    what: Option<(&'static str, String)>,
    header: Option<Box<(header::HeaderName, HeaderValue)>>,
}

/// Where an upgraded connection leaves what it becomes.
pub type Slot = Rc<Cell<Option<session::Pending>>>;

/// Answers one request. A WebSocket handshake that is accepted also fills the slot.
pub async fn answer(site: &Site, guest: &Guest, request: Request<Incoming>, slot: &Slot) -> Page {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if let Some(origin) = &origin
        && !origin::is_welcome(site, request.headers(), origin)
    {
        site.gate.borrow_mut().counts.denied_origins += 1;
        let origin = String::from_utf8_lossy(origin.as_bytes());
        let error = format!("the origin {origin} is not in `origins` of this server");
        return Problem::new(StatusCode::FORBIDDEN, error).into();
    }
    let is_unbounded = length::is_missing(request.method(), request.headers());
    let mut page = if origin::is_preflight(&request) {
        origin::options(request.headers())
    } else {
        let admitted = async { dispatch(site, guest, login::admit(site, guest, request).await?, slot).await };
        admitted.await.unwrap_or_else(Page::from)
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
    site: &Site,
    guest: &Guest,
    request: Request<Incoming>,
    slot: &Slot,
) -> Result<Page, Problem> {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return api::answer(site, guest, request).await;
    }
    match path {
        "/healthz" if asks_for_health(&request) => return Ok(health_page(site).await),
        "/metrics" if reads(&request) && site.tells() => return metrics_page(site).await,
        _ => {}
    }
    if path == subscribe::PATH && request.method() == Method::GET && site.subscribe != Audience::None {
        return subscribe::upgrade(site, guest.local, request, slot).await;
    }
    if site.api_only {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}")));
    }
    let root = path == "/";
    match *request.method() {
        Method::POST | Method::PUT => {
            let target = site.target(&request)?;
            if let Some(call) = &target.call {
                return call::answer(site, request, &target, call).await;
            }
            let lines = is_ndjson(request.headers()).then_some(Some(Format::Json));
            take(site, guest, request, target, lines).await
        }
        Method::GET if session::is_upgrade(request.headers()) => session::upgrade(site, request, slot),
        Method::GET if site.router.is_called(path) => {
            let target = site.target(&request)?;
            let call = target.call.as_ref().ok_or_else(|| Problem::not_allowed("POST, PUT, OPTIONS"))?;
            call::answer(site, request, &target, call).await
        }
        Method::GET | Method::HEAD if root => front_page(site, &request).await,
        Method::GET | Method::HEAD if let HttpPage::Files { folder, index } = &site.page => {
            files::answer(&site.room, folder, index, &request).await
        }
        Method::OPTIONS => Ok(origin::options(request.headers())),
        _ if root => Err(Problem::not_allowed("GET, HEAD, POST, PUT, OPTIONS")),
        _ => Err(Problem::not_allowed("POST, PUT, OPTIONS")),
    }
}

/// Whether it wants to know how the agent is, which anyone may.
pub fn asks_for_health(request: &Request<Incoming>) -> bool {
    request.uri().path() == "/healthz" && reads(request)
}

fn reads(request: &Request<Incoming>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && !session::is_upgrade(request.headers())
}

/// Takes the messages of a request. `lines`: every line is a message, in this format if one is given.
pub async fn take(
    site: &Site,
    guest: &Guest,
    request: Request<Incoming>,
    mut target: Target,
    lines: Option<Option<Format>>,
) -> Result<Page, Problem> {
    let declared = declared_format(request.headers());
    let limit = site.limits.message_bytes;
    match lines {
        None => {
            target.format = target.format.or(declared);
            let mut body = read_body(site, request, limit).await?;
            let format = format_of(target.format, &body.bytes).map_err(Problem::bad)?;
            judge_it(site, &target, &body.bytes, "")?;
            let draft = site.draft(&target, format, std::mem::take(&mut body.bytes));
            Ok(stored(offer(site, vec![draft]).await?.0.to_string()))
        }
        Some(format) => {
            target.format = target.format.or(format);
            let bound = limit.saturating_mul(LINES_FACTOR).min(LINES_BYTES).max(limit);
            let body = read_body(site, request, bound).await?;
            let drafts = split(site, &target, &body.bytes)?;
            guest.spend(site, drafts.len() - 1);
            let (first, last) = offer(site, drafts).await?;
            Ok(stored(format!("[{first},{last}]")))
        }
    }
}

/// The status as a page.
pub async fn status_page(site: &Site) -> Result<Page, Problem> {
    Ok(json(StatusCode::OK, status(site).await?.to_string()))
}

/// 200 while the agent makes progress, else 503 with the reasons. A loop that does not even answer is told as such.
async fn health_page(site: &Site) -> Page {
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

async fn metrics_page(site: &Site) -> Result<Page, Problem> {
    let broken =
        |error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write metrics: {error}"));
    let mut page = Response::new(whole(metrics::text(&status(site).await?).map_err(broken)?));
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    Ok(page)
}

async fn status(site: &Site) -> Result<serde_json::Value, Problem> {
    let stopping = || Problem::of_refusal(&Refused::Stopping);
    let late = async {
        Timer::after(STORE_TIMEOUT).await;
        None
    };
    or(site.intake.status(), late).await.ok_or_else(stopping)
}

/// Whether the content is said to be a JSON text a line.
pub fn is_ndjson(headers: &HeaderMap) -> bool {
    matches!(
        content_type(headers).as_str(),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl"
    )
}

impl Problem {
    /// A refusal with this status and this text.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Problem {
        Problem { status, error: error.into(), what: None, header: None }
    }

    /// 400.
    pub fn bad(error: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, error)
    }

    /// 405, with the methods that are allowed.
    pub fn not_allowed(methods: &'static str) -> Problem {
        let error = format!("this method is not allowed here, only {methods}");
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, error)
            .with(header::ALLOW, HeaderValue::from_static(methods))
    }

    /// The same with a header.
    pub fn with(mut self, name: header::HeaderName, value: HeaderValue) -> Problem {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// A message that breaks the schema of its route.
    pub fn violation(error: String, violation: &Violation) -> Problem {
        Problem { what: Some(("pointer", violation.pointer.clone())), ..Problem::bad(error) }
    }

    /// As JSON.
    pub fn text(&self) -> String {
        let mut text = serde_json::json!({ "error": self.error });
        if let Some((name, value)) = &self.what {
            text[*name] = value.clone().into();
        }
        text.to_string()
    }

    /// Whether it may go well later.
    pub fn passes(&self) -> bool {
        matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    }

    /// What the loop says.
    pub fn of_refusal(refused: &Refused) -> Problem {
        let (status, retry_after_s) = match refused {
            Refused::Busy => (StatusCode::TOO_MANY_REQUESTS, "1"),
            Refused::TooFast(wait) => return login::later("too many messages", *wait),
            Refused::Full | Refused::Failing(_) => (StatusCode::SERVICE_UNAVAILABLE, "10"),
            Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "5"),
            Refused::NoOutlet(_) => return Problem::new(StatusCode::NOT_FOUND, refused.to_string()),
        };
        Problem::new(status, refused.to_string())
            .with(header::RETRY_AFTER, HeaderValue::from_static(retry_after_s))
    }
}

impl From<Miss> for Problem {
    fn from(miss: Miss) -> Problem {
        let error = miss.to_string();
        match miss {
            Miss::NoRoute(_) => Problem::new(StatusCode::NOT_FOUND, error),
            Miss::Parameter { name, .. } => {
                Problem { what: Some(("parameter", name)), ..Problem::bad(error) }
            }
            Miss::Violation(violation) => Problem::violation(error, &violation),
            Miss::Wrong(_) => Problem::bad(error),
        }
    }
}

impl From<Problem> for Page {
    fn from(problem: Problem) -> Page {
        let mut page = json(problem.status, problem.text());
        if let Some((name, value)) = problem.header.map(|header| *header) {
            page.headers_mut().insert(name, value);
        }
        page
    }
}

async fn front_page(site: &Site, request: &Request<Incoming>) -> Result<Page, Problem> {
    match &site.page {
        HttpPage::Status => status_page(site).await,
        HttpPage::Empty => Ok(empty()),
        HttpPage::Page(file) => files::page(&site.room, file, request).await,
        HttpPage::Files { folder, index } => files::answer(&site.room, folder, index, request).await,
    }
}

/// The answer to a batch that is stored.
pub fn stored(ids: String) -> Page {
    json(StatusCode::OK, format!("{{\"stored\":{ids}}}"))
}

/// A line of JSON for each that comes, until there are no more.
pub fn ndjson(lines: smol::channel::Receiver<String>) -> Page {
    let frames = lines.map(|line| Ok(Frame::data(Bytes::from(line + "\n"))));
    let mut page = Response::new(Either::Right(StreamBody::new(Box::pin(frames) as Pin<Box<Chunks>>)));
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    page
}

fn whole(text: impl Into<Bytes>) -> Either<Full<Bytes>, Lines> {
    Either::Left(Full::new(text.into()))
}

/// A JSON text.
pub fn json(status: StatusCode, text: String) -> Page {
    let mut page = Response::new(whole(text));
    *page.status_mut() = status;
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page
}

/// Any bytes.
pub fn bytes(kind: &'static str, bytes: Vec<u8>) -> Page {
    let mut page = Response::new(whole(bytes));
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}

/// 204 without content.
pub fn empty() -> Page {
    let mut page = Response::new(whole(""));
    *page.status_mut() = StatusCode::NO_CONTENT;
    page
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What the content type says; none where it says nothing, as with `curl -d`.
fn declared_format(headers: &HeaderMap) -> Option<Format> {
    match content_type(headers).as_str() {
        "" | "application/x-www-form-urlencoded" => None,
        "application/json" => Some(Format::Json),
        kind if kind.ends_with("+json") => Some(Format::Json),
        kind if kind.starts_with("text/") => Some(Format::Text),
        _ => Some(Format::Binary),
    }
}

fn format_of(required: Option<Format>, bytes: &[u8]) -> Result<Format, String> {
    match required {
        Some(format) => payload::check(format, bytes).map(|()| format),
        None => Ok(payload::sniff(bytes)),
    }
}

/// Checks a payload by the schema of its route, if there is one. `place` begins the error.
fn judge_it(site: &Site, target: &Target, payload: &[u8], place: &str) -> Result<(), Problem> {
    let Some(judge) = &target.judge else { return Ok(()) };
    judge.check(payload).map_err(|violation| {
        site.violated(judge);
        Problem::violation(format!("{place}{}", judge::words(&violation)), &violation)
    })
}

fn split(site: &Site, target: &Target, body: &[u8]) -> Result<Vec<Draft>, Problem> {
    let mut drafts = Vec::new();
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            continue;
        }
        if line.len() > site.limits.message_bytes {
            return Err(too_large(&format!("line {number}"), site.limits.message_bytes));
        }
        if drafts.len() == LINES {
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {LINES} lines")));
        }
        let format = format_of(target.format, line)
            .map_err(|error| Problem::bad(format!("line {number} of the body is {error}")))?;
        judge_it(site, target, line, &format!("line {number} of the body: "))?;
        drafts.push(site.draft(target, format, line.to_vec()));
    }
    if drafts.is_empty() {
        return Err(Problem::bad("no message: every line is empty"));
    }
    Ok(drafts)
}

async fn offer(site: &Site, drafts: Vec<Draft>) -> Result<(u64, u64), Problem> {
    stored_in_time(site.intake.offer(drafts)).await
}

/// The ids of a batch once it is stored.
pub async fn stored_in_time(answer: impl Future<Output = Answer>) -> Result<(u64, u64), Problem> {
    let late = async {
        Timer::after(STORE_TIMEOUT).await;
        let cause = format!("nothing was stored within {} s", STORE_TIMEOUT.as_secs());
        Answer::Refused(Refused::Failing(cause))
    };
    match or(answer, late).await {
        Answer::Stored { first, last } => Ok((first, last)),
        Answer::Refused(refused) => Err(Problem::of_refusal(&refused)),
    }
}

/// A body, and its place in the server's budget until it is stored.
pub struct Held<'site> {
    /// All of it.
    pub bytes: Vec<u8>,
    taken: usize,
    budget: &'site Cell<usize>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.set(self.budget.get() + self.taken);
    }
}

/// Reads a whole body, within its time and a number of bytes.
pub async fn read_body(site: &Site, request: Request<Incoming>, limit: usize) -> Result<Held<'_>, Problem> {
    length::check(request.method(), request.headers())?;
    let waits_for_consent = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    let timeout = BODY_TIMEOUT.min(site.limits.idle_timeout);
    let late = async {
        Timer::after(timeout).await;
        let error = format!("the body did not arrive within {} s", timeout.as_secs_f32());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, error))
    };
    let result = or(gather(site, &mut body, limit), late).await;
    let too_large = matches!(&result, Err(problem) if problem.status == StatusCode::PAYLOAD_TOO_LARGE);
    if too_large && !waits_for_consent {
        drain(body).await;
    }
    result
}

async fn gather<'site>(site: &'site Site, body: &mut Incoming, limit: usize) -> Result<Held<'site>, Problem> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large("the body", limit));
    }
    let mut held = Held { bytes: Vec::new(), taken: 0, budget: &site.budget };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::bad(format!("cannot read the body: {error}")))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if held.bytes.len() + chunk.len() > limit {
            return Err(too_large("the body", limit));
        }
        let Some(left) = held.budget.get().checked_sub(chunk.len()) else {
            return Err(Problem::of_refusal(&Refused::Busy));
        };
        held.budget.set(left);
        held.taken += chunk.len();
        held.bytes.extend_from_slice(&chunk);
    }
    Ok(held)
}

fn too_large(what: &str, limit: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("{what} is larger than {limit} bytes"))
}

async fn drain(mut body: Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    or(rest, async {
        Timer::after(DRAIN_TIMEOUT).await;
    })
    .await;
}
