//! `/api/…`: what `holdfast status` and `holdfast send` talk to. For loopback peers and the control socket only.

use holdfast_core::agent::LinkCommand;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::buffer;
use super::consumer;
use crate::source::server::ServerState;
use crate::source::server::access::peer::Peer;
use crate::source::server::http::{ApiError, HttpReply, empty, json, ndjson, status_page};
use crate::source::server::request::body::take;
use crate::source::server::request::path;

/// Answers a request whose path begins with `/api`.
///
/// `GET /api/status` is the status. `POST /api/send?topic=T[&device=D]` takes one message; `application/x-ndjson` makes
/// every line a JSON message, `lines=1` makes every line a message of any kind. `GET /api/tap?topic=FILTER` is a line
/// of JSON for whatever happens, until the agent stops. `GET /api/topics` and `GET /api/topics/{topic}/last` are the last
/// messages. `POST /api/reload` takes over the
/// configuration as it is on the disk, and `POST /api/buffer/…` is what `holdfast buffer` asks; both for the control
/// socket only, like `POST /api/clients/{id}/connect` and `…/disconnect`.
pub async fn answer(
    site: &ServerState,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<HttpReply, ApiError> {
    if !peer.is_local() {
        return Err(peer.not_local(site, "/api"));
    }
    match (request.uri().path(), request.method()) {
        ("/api/status", &Method::GET | &Method::HEAD) => status_page(site).await,
        ("/api/status", _) => Err(ApiError::not_allowed("GET, HEAD")),
        ("/api/tap", &Method::GET) => tap(site, request.uri().query()).await,
        ("/api/tap", _) => Err(ApiError::not_allowed("GET")),
        ("/api/send", &Method::POST | &Method::PUT) => send(site, peer, request).await,
        ("/api/send", _) => Err(ApiError::not_allowed("POST, PUT")),
        ("/api/topics", &Method::GET | &Method::HEAD) => consumer::topics(site, request.uri().query()).await,
        ("/api/topics", _) => Err(ApiError::not_allowed("GET, HEAD")),
        (path, &Method::GET | &Method::HEAD) if path.starts_with("/api/topics/") => {
            consumer::last(site, path).await
        }
        ("/api/reload", &Method::POST) if site.api_only => reload(site).await,
        (path, &Method::POST) if site.api_only && path.starts_with("/api/buffer/") => {
            buffer::answer(site, peer, request).await
        }
        (path, &Method::POST) if site.api_only && path.starts_with("/api/clients/") => {
            command(site, path).await
        }
        (path, _) => Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))),
    }
}

async fn tap(site: &ServerState, query: Option<&str>) -> Result<HttpReply, ApiError> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let filter = pairs.filter(|(name, _)| name == "topic").map(|(_, filter)| filter.into_owned()).last();
    let lines = site.intake.tap(filter.as_deref().unwrap_or("#")).await.map_err(ApiError::bad)?;
    Ok(ndjson(lines))
}

async fn reload(site: &ServerState) -> Result<HttpReply, ApiError> {
    match site.intake.reload().await {
        Ok(done) => {
            let text =
                serde_json::json!({ "reload": done.how.to_string(), "changed": done.changed }).to_string();
            Ok(json(StatusCode::OK, text))
        }
        Err(error) => Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error)),
    }
}

async fn command(site: &ServerState, path: &str) -> Result<HttpReply, ApiError> {
    let nothing = || ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"));
    let told = path.strip_prefix("/api/clients/").and_then(|rest| rest.split_once('/'));
    let (client, command) = match told.ok_or_else(nothing)? {
        (client, "connect") => (client, LinkCommand::Connect),
        (client, "disconnect") => (client, LinkCommand::Disconnect),
        _ => return Err(nothing()),
    };
    let told = site.intake.command(client.to_owned(), command).await;
    told.map(|()| empty()).map_err(|error| ApiError::new(StatusCode::CONFLICT, error))
}

async fn send(site: &ServerState, peer: &Peer, request: Request<Incoming>) -> Result<HttpReply, ApiError> {
    let query = request.uri().query();
    let target = path::named_by_query(query).map_err(ApiError::bad)?;
    let by_line = path::is_set(query, "lines");
    take(site, peer, request, target, by_line).await
}
