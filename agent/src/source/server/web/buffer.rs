//! `/api/buffer/…`: what `holdfast buffer` asks of the running agent, in CBOR both ways, so that messages go through as they
//! are. Whoever reads much asks page by page: nothing here outlives a request, and the reader's pace is the pace.

use std::time::Duration;

use holdfast_core::cbor;
use holdfast_core::message::Message;
use holdfast_core::outlet::inspect::Reimport;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use smol::Timer;
use smol::future::or;

use crate::source::server::ServerState;
use crate::source::server::access::peer::Peer;
use crate::source::server::http::{ApiError, HttpReply, bytes, stored, stored_in_time};
use crate::source::server::payload;
use crate::source::server::request::body::{LINES, read_body};
use crate::source::server::request::path::{self, Target};

/// Most bytes of a look or a change, and of messages that come in again.
const QUESTION_BYTES: usize = 4 << 10;
const MESSAGES_BYTES: usize = 17 << 20;
/// The store must have answered within this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);

/// Answers a request: `look` with what is seen, `change` with the number of messages given up, `again` with the ids.
pub async fn answer(
    site: &ServerState,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<HttpReply, ApiError> {
    match request.uri().path() {
        "/api/buffer/look" => {
            let look = body(site, peer, request, QUESTION_BYTES).await?;
            in_time(site.intake.look(look)).await
        }
        "/api/buffer/change" => {
            let change = body(site, peer, request, QUESTION_BYTES).await?;
            in_time(site.intake.change(change)).await
        }
        "/api/buffer/again" => {
            let Reimport { outlet, messages } = body(site, peer, request, MESSAGES_BYTES).await?;
            check(&messages)?;
            let (first, last) = stored_in_time(site.intake.again(outlet, messages)).await?;
            Ok(stored(format!("[{first},{last}]")))
        }
        path => Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))),
    }
}

/// Whoever may ask is trusted, but a file may be anything; and a payload that is not what it says breaks an envelope.
fn check(messages: &[Message]) -> Result<(), ApiError> {
    if messages.is_empty() || messages.len() > LINES {
        let error = format!("{} messages: there must be 1 to {LINES}", messages.len());
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    for (number, message) in (1..).zip(messages) {
        let target = Target {
            topic: message.topic.clone(),
            device: message.device.clone(),
            attributes: message.attributes.clone(),
            ..Target::default()
        };
        let sound =
            path::check(target).map(drop).and_then(|()| payload::check(message.format, &message.payload));
        sound.map_err(|error| ApiError::bad(format!("message {number} of the batch: {error}")))?;
    }
    Ok(())
}

async fn body<T: DeserializeOwned>(
    site: &ServerState,
    peer: &Peer,
    request: Request<Incoming>,
    limit: usize,
) -> Result<T, ApiError> {
    let body = read_body(site, peer, request, limit).await?;
    cbor::read(&body.bytes).map_err(|error| ApiError::bad(format!("cannot read the body: {error}")))
}

async fn in_time<T: Serialize>(
    asked: impl Future<Output = Result<T, String>>,
) -> Result<HttpReply, ApiError> {
    let late = async {
        Timer::after(ANSWER_TIMEOUT).await;
        Err(format!("the store did not answer within {} s", ANSWER_TIMEOUT.as_secs()))
    };
    let failed = |error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let seen = or(asked, late).await.map_err(failed)?;
    let seen = serde_cbor::to_vec(&seen);
    Ok(bytes("application/cbor", seen.map_err(|error| failed(format!("cannot write the answer: {error}")))?))
}
