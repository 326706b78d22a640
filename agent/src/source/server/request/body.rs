//! The body of a request: read within its bounds, and made messages of.

use std::rc::Rc;
use std::time::Duration;

use holdfast_core::message::Format;
use holdfast_core::source::content::{self, Coding, Content};
use holdfast_core::source::intake::Draft;
use holdfast_core::source::parts::{By, Parts};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use smol::Timer;
use smol::future::{or, yield_now};

use super::coding::Inflater;
use super::length;
use super::parameter;
use super::path::Target;
use super::validator;
use crate::source::server::ServerState;
use crate::source::server::access::peer::Peer;
use crate::source::server::http::{ApiError, HttpReply, stored, stored_in_time};
use crate::source::server::memory::{self, NoRoom, Share};
use crate::source::server::payload;

/// A body must have arrived within this, or within the server's `idle_timeout` if that is shorter.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many times a body is in memory: as it grows, and as its messages.
const COPIES: usize = 2;
/// How long the rest of a refused body is read, so that the sender sees the answer instead of a reset.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// What can be taken off a body.
const CODINGS: &str = "gzip, deflate, identity";
/// Most bytes of one body of several messages.
const LINES_BYTES: usize = 8 << 20;
/// How many times the limit of one message it may hold.
const LINES_FACTOR: usize = 16;
/// Most messages of one body, and of a batch.
pub const LINES: usize = 10_000;

/// Takes the messages of a request. `by_line`: each line is one, of any format.
pub async fn take(
    site: &ServerState,
    peer: &Peer,
    request: Request<Incoming>,
    mut target: Target,
    by_line: bool,
) -> Result<HttpReply, ApiError> {
    let content = match Content::read(request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes))
    {
        Ok(content) => content,
        Err(error) => return Err(turn_away(request, unsupported(error)).await),
    };
    target.format = target.format.or(content.format().filter(|_| !by_line));
    let by = if by_line { Some(By::Line) } else { content.parts(target.batch) };
    let one = site.limits.message_bytes;
    let limit = by.map_or(one, |_| one.saturating_mul(LINES_FACTOR).min(LINES_BYTES).max(one));
    let mut held = read_body(site, peer, request, limit).await?;
    let body = content.text(target.format, std::mem::take(&mut held.bytes));
    held.become_text(body.map_err(|error| ApiError::bad(format!("the body is {error}")))?, limit).await?;
    if content.is_form()
        && target.format == Some(Format::Json)
        && let Some(object) = parameter::of_form(&target.query, &held.bytes)?
    {
        held.become_text(object.into_bytes(), limit).await?;
    }
    if let Some(count) = by.and_then(|by| Parts::of(by, &held.bytes)).map(|parts| parts.take(LINES).count()) {
        held.reserve_messages(&target, count).await?;
    }
    if let Some(parts) = by.and_then(|by| Parts::of(by, &held.bytes)) {
        let drafts = split(site, &target, parts).await?;
        held.finish();
        peer.spend(site, drafts.len() - 1);
        let (first, last) = offer(site, peer, drafts).await?;
        return Ok(stored(format!("[{first},{last}]")));
    }
    if held.bytes.len() > one {
        return Err(too_large("the body", one));
    }
    let format = format_of(target.format, &held.bytes).map_err(ApiError::bad)?;
    judge_it(site, &target, &held.bytes, "")?;
    held.reserve_messages(&target, 1).await?;
    let draft = site.draft(&target, format, std::mem::take(&mut held.bytes));
    held.finish();
    Ok(stored(offer(site, peer, vec![draft]).await?.0.to_string()))
}

/// Refuses a request. Its body is read for a while, so that the sender sees the answer instead of a reset.
pub async fn turn_away(request: Request<Incoming>, problem: ApiError) -> ApiError {
    if !request.headers().contains_key(header::EXPECT) {
        drain(request.into_body()).await;
    }
    problem
}

/// A body, and its room in the memory for callers until it is stored.
pub struct Held {
    /// All of it.
    pub bytes: Vec<u8>,
    taken: usize,
    is_finished: bool,
    share: Rc<Share>,
}

impl Drop for Held {
    fn drop(&mut self) {
        match self.is_finished {
            true => self.share.stored(self.taken),
            false => self.share.give_up(self.taken),
        }
    }
}

impl Held {
    fn empty(peer: &Peer) -> Held {
        Held { bytes: Vec::new(), taken: 0, is_finished: false, share: peer.share.clone() }
    }

    async fn push(&mut self, more: &[u8]) -> Result<(), ApiError> {
        self.reserve(more.len() * COPIES).await?;
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// The same in another charset or form.
    async fn become_text(&mut self, text: Vec<u8>, limit: usize) -> Result<(), ApiError> {
        if text.len() > limit {
            return Err(too_large("the body in UTF-8", limit));
        }
        self.reserve((text.len() * COPIES).saturating_sub(self.taken)).await?;
        self.bytes = text;
        Ok(())
    }

    /// Waits for room for so much more that is made of it.
    async fn reserve(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.share.take(bytes).await.map_err(no_room)?;
        self.taken += bytes;
        Ok(())
    }

    /// Waits for room for the messages that are made of it, each with the topic and the parameters of its request.
    async fn reserve_messages(&mut self, target: &Target, count: usize) -> Result<(), ApiError> {
        self.reserve(count.min(LINES) * target.weight()).await
    }

    /// Nothing more is waited for but the store.
    fn finish(&mut self) {
        self.is_finished = true;
        self.share.finish(self.taken);
    }
}

fn no_room(why: NoRoom) -> ApiError {
    match why {
        NoRoom::Ended => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, memory::USED_UP)
            .with(header::RETRY_AFTER, HeaderValue::from_static("10")),
        NoRoom::Never => {
            let error = "the body and its messages need more memory than there is for callers (limits.memory): send less at once";
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error)
        }
    }
}

/// Reads a whole body and undoes its content codings, within its time and a number of bytes.
pub async fn read_body(
    site: &ServerState,
    peer: &Peer,
    request: Request<Incoming>,
    limit: usize,
) -> Result<Held, ApiError> {
    length::check(request.method(), request.headers())?;
    let fields = request.headers().get_all(header::CONTENT_ENCODING);
    let codings = match content::codings(fields.iter().map(HeaderValue::as_bytes)) {
        Ok(codings) => codings,
        Err(error) => {
            let problem = unsupported(error).with(header::ACCEPT_ENCODING, HeaderValue::from_static(CODINGS));
            return Err(turn_away(request, problem).await);
        }
    };
    // What cannot be made smaller is made a little larger.
    let coded_limit = if codings.is_empty() { limit } else { limit + limit / 256 + 1024 };
    let waits_for_consent = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    let timeout = BODY_TIMEOUT.min(site.limits.idle_timeout);
    let late = async {
        Timer::after(timeout).await;
        if peer.share.is_waiting() {
            return Err(no_room(NoRoom::Ended));
        }
        let error = format!("the body did not arrive within {} s", timeout.as_secs_f32());
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, error))
    };
    let ending = async {
        peer.share.ending().await;
        Err(no_room(NoRoom::Ended))
    };
    let result = or(gather(peer, &mut body, coded_limit), or(ending, late)).await;
    let is_cut_off = matches!(
        result.as_ref().map_err(ApiError::status),
        Err(StatusCode::PAYLOAD_TOO_LARGE | StatusCode::SERVICE_UNAVAILABLE)
    );
    if is_cut_off && !waits_for_consent {
        drain(body).await;
    }
    let mut held = result?;
    for (left, coding) in (0..codings.len()).rev().zip(codings) {
        held = decoded(peer, coding, &held.bytes, if left == 0 { limit } else { coded_limit }).await?;
    }
    Ok(held)
}

async fn gather(peer: &Peer, body: &mut Incoming, limit: usize) -> Result<Held, ApiError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large("the body", limit));
    }
    let mut held = Held::empty(peer);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad(format!("cannot read the body: {error}")))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if held.bytes.len() + chunk.len() > limit {
            return Err(too_large("the body", limit));
        }
        held.push(&chunk).await?;
    }
    Ok(held)
}

/// Undoes one content coding. A few bytes may become a great many, so others have their turn between the pieces.
async fn decoded(peer: &Peer, coding: Coding, body: &[u8], limit: usize) -> Result<Held, ApiError> {
    let mut inflater = Inflater::new(coding, body);
    let mut held = Held::empty(peer);
    let wrong = |cause| ApiError::bad(format!("the body is not valid {}: {cause}", coding.name()));
    while let Some(piece) = inflater.piece().map_err(wrong)? {
        if held.bytes.len() + piece.len() > limit {
            return Err(too_large("the decoded body", limit));
        }
        held.push(&piece).await?;
        yield_now().await;
    }
    Ok(held)
}

fn unsupported(error: String) -> ApiError {
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error)
}

/// 413.
pub fn too_large(what: &str, limit: usize) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("{what} is larger than {limit} bytes"))
}

async fn drain(mut body: Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    or(rest, async {
        Timer::after(DRAIN_TIMEOUT).await;
    })
    .await;
}

fn format_of(required: Option<Format>, bytes: &[u8]) -> Result<Format, String> {
    match required {
        Some(format) => payload::check(format, bytes).map(|()| format),
        None => Ok(payload::sniff(bytes)),
    }
}

/// Checks a payload by the schema of its route, if there is one. `place` begins the error.
fn judge_it(site: &ServerState, target: &Target, payload: &[u8], place: &str) -> Result<(), ApiError> {
    let Some(judge) = &target.judge else { return Ok(()) };
    judge.check(payload).result.map_err(|violation| {
        site.violated(judge);
        ApiError::violation(format!("{place}{}", validator::words(&violation)), &violation)
    })
}

/// Makes a message of each part. Others have their turn in between: a body has ten thousand of them.
async fn split(site: &ServerState, target: &Target, parts: Parts<'_>) -> Result<Vec<Draft>, ApiError> {
    let name = parts.name();
    let (limit, mut drafts) = (site.limits.message_bytes, Vec::new());
    for (number, part) in parts {
        let wrong = |error: &str| ApiError::bad(format!("{name} {number} of the body is {error}"));
        let part = part.map_err(wrong)?;
        if part.len() > limit {
            return Err(too_large(&format!("{name} {number}"), limit));
        }
        if drafts.len() == LINES {
            let error = format!("more than {LINES} {name}s");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
        let format = format_of(target.format, part).map_err(|error| wrong(&error))?;
        judge_it(site, target, part, &format!("{name} {number} of the body: "))?;
        drafts.push(site.draft(target, format, part.to_vec()));
        yield_now().await;
    }
    if drafts.is_empty() {
        return Err(ApiError::bad(format!("no message: the body has no {name} that is one")));
    }
    Ok(drafts)
}

async fn offer(site: &ServerState, peer: &Peer, drafts: Vec<Draft>) -> Result<(u64, u64), ApiError> {
    stored_in_time(site.intake.offer(drafts, Some(peer.remote))).await
}
