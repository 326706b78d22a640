//! Routes in connection mode: the request is the message, and one reply ends the connection.

use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use async_tungstenite::tungstenite;
use holdfast_core::config::reply::{Mode, Reply};
use holdfast_core::config::server::Server;
use holdfast_core::message::Format;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};

use super::body;
use super::length;
use super::path::Target;
use crate::net::words;
use crate::source::server::ServerState;
use crate::source::server::access::origin;
use crate::source::server::access::peer::Peer;
use crate::source::server::http::{ApiError, HttpReply, bytes, stored_in_time};
use crate::source::server::payload;
use crate::source::server::web::consumer;
use crate::source::server::web::files;
use crate::source::server::web::media;

/// Most bytes of a file that is a reply.
const FILE_BYTES: u64 = 1 << 20;

/// What a request to such a route is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneShot {
    /// Path of the route.
    pub route: Rc<str>,
    /// What the route is for.
    pub mode: Mode,
    /// Whether the route takes POST, too.
    pub takes_post: bool,
    /// The parameters as a JSON object.
    pub payload: String,
    /// What is said; the id of the message if there is nothing else. Its topic is expanded.
    pub reply: Option<Reply>,
}

/// What is said at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyBody {
    kind: &'static str,
    bytes: Vec<u8>,
    format: Format,
}

/// Looks at the files that are replies. The error names the one that cannot be read.
pub fn check(server: &Server) -> Result<(), String> {
    for route in &server.routes {
        if let Some(Reply::File(file)) = &route.reply {
            read(file).map_err(|error| format!("{error} (the reply of the route {})", route.path))?;
        }
    }
    Ok(())
}

/// Answers a GET or POST.
pub async fn answer(
    site: &ServerState,
    peer: &Peer,
    request: Request<Incoming>,
    target: &Target,
    call: &OneShot,
) -> Result<HttpReply, ApiError> {
    // An image on any page in the web makes a browser send a GET, without an origin.
    origin::check_change(site, peer, &request, call)?;
    let headers = request.headers();
    let is_hidden =
        length::is_missing(request.method(), headers) && headers.contains_key(header::CONTENT_TYPE);
    if is_hidden || !request.body().is_end_stream() {
        let error =
            "this request has a body, but its path, query and headers are the message: send it without one";
        return Err(ApiError::bad(error));
    }
    let said = speak(site, peer, target, call).await?;
    let mut page = bytes(said.kind, said.bytes);
    page.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    page.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(page)
}

/// Stores the message, then finds the reply.
pub async fn speak(
    site: &ServerState,
    peer: &Peer,
    target: &Target,
    call: &OneShot,
) -> Result<ReplyBody, ApiError> {
    let limit = site.limits.message_bytes;
    if call.payload.len() > limit {
        return Err(body::too_large("the message", limit));
    }
    let draft = site.draft(target, Format::Json, call.payload.clone().into_bytes());
    let (id, _) = stored_in_time(site.intake.offer(vec![draft], Some(peer.remote))).await?;
    match &call.reply {
        None => Ok(ReplyBody::of_text(format!("{{\"stored\":{id}}}"))),
        Some(Reply::Text(text)) => Ok(ReplyBody::of_text(text.clone())),
        Some(Reply::Last(topic)) => {
            let found =
                site.intake.last(topic.clone()).await.map_err(|refused| ApiError::of_refusal(&refused))?;
            let message = found.ok_or_else(|| consumer::silent(topic))?;
            Ok(ReplyBody::new(None, message.format, message.payload.clone()))
        }
        Some(Reply::File(file)) => {
            let (path, name) = (file.clone(), media::of(file));
            let found = files::aside(move || Ok(read(&path))).await;
            let found = found.map_err(|error| format!("cannot read {}: {}", file.display(), words(&error)));
            let found = found.flatten();
            let found = found.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
            Ok(ReplyBody::new(Some(name), payload::sniff(&found), found))
        }
    }
}

impl ReplyBody {
    fn new(kind: Option<&'static str>, format: Format, bytes: Vec<u8>) -> ReplyBody {
        let kind = kind.unwrap_or(match format {
            Format::Json => "application/json",
            Format::Text => "text/plain; charset=utf-8",
            Format::Binary => "application/octet-stream",
        });
        ReplyBody { kind, bytes, format }
    }

    fn of_text(text: String) -> ReplyBody {
        ReplyBody::new(None, payload::sniff_text(&text), text.into_bytes())
    }

    /// As a frame: of text unless it is binary.
    pub fn frame(self) -> tungstenite::Message {
        match (self.format, String::from_utf8(self.bytes)) {
            (Format::Text | Format::Json, Ok(text)) => tungstenite::Message::text(text),
            (_, Ok(text)) => tungstenite::Message::binary(text.into_bytes()),
            (_, Err(error)) => tungstenite::Message::binary(error.into_bytes()),
        }
    }
}

/// What is in a file of a bounded size. The error names it.
pub fn read(file: &Path) -> Result<Vec<u8>, String> {
    let cannot = |cause: &str| format!("cannot read {}: {cause}", file.display());
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).and_then(|file| match file.metadata()?.is_file() {
        true => file.take(FILE_BYTES + 1).read_to_end(&mut bytes),
        false => Err(io::Error::other("it is not a file")),
    });
    let length = opened.map_err(|error| cannot(&words(&error)))?;
    match u64::try_from(length) {
        Ok(length) if length <= FILE_BYTES => Ok(bytes),
        _ => Err(cannot(&format!("it is larger than {FILE_BYTES} bytes"))),
    }
}
