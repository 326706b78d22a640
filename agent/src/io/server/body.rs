//! The body of a request: read within its bounds, and made messages of.

use std::rc::Rc;
use std::time::Duration;

use holdfast_core::message::Format;
use holdfast_core::source::intake::Draft;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use smol::Timer;
use smol::future::{or, yield_now};

use super::guest::Guest;
use super::http::{Page, Problem, stored, stored_in_time};
use super::memory::{self, NoRoom, Share};
use super::path::Target;
use super::{Site, judge, length, payload};

/// A body must have arrived within this, or within the server's `idle_timeout` if that is shorter.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many times a body is in memory: as it grows, and as its messages.
const COPIES: usize = 2;
/// How long the rest of a refused body is read, so that the sender sees the answer instead of a reset.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes of one body of lines.
const LINES_BYTES: usize = 8 << 20;
/// How many times the limit of one message a body of lines may hold.
const LINES_FACTOR: usize = 16;
/// Most lines of one body, and most messages of a batch.
pub const LINES: usize = 10_000;

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
            let mut body = read_body(site, guest, request, limit).await?;
            let format = format_of(target.format, &body.bytes).map_err(Problem::bad)?;
            judge_it(site, &target, &body.bytes, "")?;
            body.reserve_messages(&target, 1).await?;
            let draft = site.draft(&target, format, std::mem::take(&mut body.bytes));
            body.finish();
            Ok(stored(offer(site, guest, vec![draft]).await?.0.to_string()))
        }
        Some(format) => {
            target.format = target.format.or(format);
            let bound = limit.saturating_mul(LINES_FACTOR).min(LINES_BYTES).max(limit);
            let mut body = read_body(site, guest, request, bound).await?;
            let lines = body.bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            body.reserve_messages(&target, lines).await?;
            let drafts = split(site, &target, &body.bytes).await?;
            body.finish();
            guest.spend(site, drafts.len() - 1);
            let (first, last) = offer(site, guest, drafts).await?;
            Ok(stored(format!("[{first},{last}]")))
        }
    }
}

/// Whether the content is said to be a JSON text a line.
pub fn is_ndjson(headers: &HeaderMap) -> bool {
    matches!(
        content_type(headers).as_str(),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl"
    )
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
    fn empty(guest: &Guest) -> Held {
        Held { bytes: Vec::new(), taken: 0, is_finished: false, share: guest.share.clone() }
    }

    async fn push(&mut self, more: &[u8]) -> Result<(), Problem> {
        self.reserve(more.len() * COPIES).await?;
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// Waits for room for so much more that is made of it.
    async fn reserve(&mut self, bytes: usize) -> Result<(), Problem> {
        self.share.take(bytes).await.map_err(no_room)?;
        self.taken += bytes;
        Ok(())
    }

    /// Waits for room for the messages that are made of it, each with the topic and the parameters of its request.
    async fn reserve_messages(&mut self, target: &Target, count: usize) -> Result<(), Problem> {
        self.reserve(count.min(LINES) * target.weight()).await
    }

    /// Nothing more is waited for but the store.
    fn finish(&mut self) {
        self.is_finished = true;
        self.share.finish(self.taken);
    }
}

fn no_room(why: NoRoom) -> Problem {
    match why {
        NoRoom::Ended => Problem::new(StatusCode::SERVICE_UNAVAILABLE, memory::USED_UP)
            .with(header::RETRY_AFTER, HeaderValue::from_static("10")),
        NoRoom::Never => {
            let error = "the body and its messages need more memory than there is for callers (limits.memory): send less at once";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error)
        }
    }
}

/// Reads a whole body, within its time and a number of bytes.
pub async fn read_body(
    site: &Site,
    guest: &Guest,
    request: Request<Incoming>,
    limit: usize,
) -> Result<Held, Problem> {
    length::check(request.method(), request.headers())?;
    let waits_for_consent = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    let timeout = BODY_TIMEOUT.min(site.limits.idle_timeout);
    let late = async {
        Timer::after(timeout).await;
        if guest.share.is_waiting() {
            return Err(no_room(NoRoom::Ended));
        }
        let error = format!("the body did not arrive within {} s", timeout.as_secs_f32());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, error))
    };
    let ending = async {
        guest.share.ending().await;
        Err(no_room(NoRoom::Ended))
    };
    let result = or(gather(guest, &mut body, limit), or(ending, late)).await;
    let is_cut_off = matches!(
        result.as_ref().map_err(Problem::status),
        Err(StatusCode::PAYLOAD_TOO_LARGE | StatusCode::SERVICE_UNAVAILABLE)
    );
    if is_cut_off && !waits_for_consent {
        drain(body).await;
    }
    result
}

async fn gather(guest: &Guest, body: &mut Incoming, limit: usize) -> Result<Held, Problem> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large("the body", limit));
    }
    let mut held = Held::empty(guest);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::bad(format!("cannot read the body: {error}")))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if held.bytes.len() + chunk.len() > limit {
            return Err(too_large("the body", limit));
        }
        held.push(&chunk).await?;
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
    judge.check(payload).result.map_err(|violation| {
        site.violated(judge);
        Problem::violation(format!("{place}{}", judge::words(&violation)), &violation)
    })
}

/// Makes a message of each line. Others have their turn in between: a body has ten thousand lines.
async fn split(site: &Site, target: &Target, body: &[u8]) -> Result<Vec<Draft>, Problem> {
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
        yield_now().await;
    }
    if drafts.is_empty() {
        return Err(Problem::bad("no message: every line is empty"));
    }
    Ok(drafts)
}

async fn offer(site: &Site, guest: &Guest, drafts: Vec<Draft>) -> Result<(u64, u64), Problem> {
    stored_in_time(site.intake.offer(drafts, Some(guest.remote))).await
}
