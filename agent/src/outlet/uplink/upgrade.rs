//! The answer to the handshake request: 101 and all that RFC 6455 §4.1 asks of it, or a refusal with its meaning.
//!
//! tungstenite would refuse a server that picks none of the offered subprotocols, and says nothing of `Retry-After`.

use std::time::Duration;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::protocol::{Refusal, RefusalKind};
use holdfast_core::link::redirect::is_redirect;
use smol::io::AsyncWriteExt;

use crate::net::head::{HEAD_MAX, Head, HeadError};
use crate::net::tls;
use crate::net::{self, DialTrace, Stream};
use crate::outlet::answer::{retry_after, status_words};
use crate::outlet::request::Request;

const PIECE: usize = 2048;
/// First byte of a TLS alert record (RFC 8446 §5.1).
const TLS_ALERT: u8 = 0x15;

/// What a server makes of the request.
pub enum Outcome {
    /// It speaks WebSocket from here on, and has sent this already.
    Switched(Vec<u8>),
    /// It names another address.
    Moved {
        /// The answer: `HTTP 302 Found`.
        status: String,
        /// The address as it stands.
        location: String,
    },
}

/// Sends the request and reads the answer.
pub async fn upgrade(stream: &mut Stream, request: &Request, stage: &DialTrace) -> Result<Outcome, Refusal> {
    send(stream, &request.head).await?;
    let (head, tail) = Head::read(stream, PIECE).await.map_err(|error| unread(&error))?;
    let answer = Answer(head);
    if let (true, Some(location)) = (is_redirect(answer.0.status), answer.0.field("Location")) {
        return Ok(Outcome::Moved { status: answer.status(), location: location.to_owned() });
    }
    answer.judge(request)?;
    let chosen = answer.0.field("Sec-WebSocket-Protocol");
    stage.found(match chosen {
        Some(chosen) => format!("HTTP 101, subprotocol {chosen}"),
        None if request.offered.is_empty() => "HTTP 101".to_owned(),
        None => format!("HTTP 101, but the server chose no subprotocol of {}", request.offered.join(", ")),
    });
    Ok(Outcome::Switched(tail))
}

/// An answer that leads nowhere else.
struct Answer(Head);

impl Answer {
    fn judge(&self, request: &Request) -> Result<(), Refusal> {
        if self.0.status != 101 {
            return Err(self.refusal());
        }
        if !self.0.has_token("Upgrade", "websocket") || !self.0.has_token("Connection", "Upgrade") {
            return Err(odd("the server answers 101 without an upgrade to websocket"));
        }
        if self.0.field("Sec-WebSocket-Accept") != Some(&derive_accept_key(request.key.as_bytes())) {
            return Err(odd("the server answers with a wrong Sec-WebSocket-Accept"));
        }
        if self.0.field("Sec-WebSocket-Extensions").is_some_and(|list| !list.is_empty()) {
            return Err(odd("the server chose an extension that was not offered"));
        }
        match self.0.field("Sec-WebSocket-Protocol") {
            Some(chosen) if !request.offered.iter().any(|offered| offered == chosen) => {
                Err(odd("the server chose a subprotocol that was not offered"))
            }
            _ => Ok(()),
        }
    }

    fn refusal(&self) -> Refusal {
        let asks = match self.0.status {
            401 | 403 => RefusalKind::Unauthorized,
            429 | 503 => RefusalKind::Busy { retry_after: self.retry_after() },
            _ => RefusalKind::Retry,
        };
        let without = if is_redirect(self.0.status) { " without a Location" } else { "" };
        let cause = DialError::Http { status: self.0.status, asks };
        Refusal::new(cause, format!("the server answers {}{without}", self.status()))
    }

    fn status(&self) -> String {
        status_words(self.0.status)
    }

    fn retry_after(&self) -> Option<Duration> {
        retry_after(|name| self.0.field(name))
    }
}

async fn send(stream: &mut Stream, head: &[u8]) -> Result<(), Refusal> {
    let sent = async {
        stream.write_all(head).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| net::broken(&error))
}

fn unread(error: &HeadError) -> Refusal {
    let (cause, words) = match error {
        HeadError::Closed => {
            (DialError::Broken, "the server closed the connection instead of an answer".to_owned())
        }
        // A refused client certificate shows only here: in TLS 1.3 the server's alert comes after the handshake.
        HeadError::Io(error) => {
            let refusal = tls::refusal_by_tls(error);
            return refusal.unwrap_or_else(|| Refusal::new(DialError::Broken, net::words(error)));
        }
        HeadError::NotHttp(TLS_ALERT) => {
            (DialError::NeedsTls, "the server speaks TLS on this port: use wss://".to_owned())
        }
        HeadError::NotHttp(_) => (DialError::NotHttp, "the answer is not HTTP/1.1".to_owned()),
        HeadError::Malformed(error) => (DialError::NotHttp, format!("the answer is not HTTP/1.1: {error}")),
        HeadError::TooLarge => {
            (DialError::NotHttp, format!("the head of the answer is over {HEAD_MAX} bytes"))
        }
        HeadError::NoAnswer => {
            (DialError::NotHttp, "the server sends informational answers (HTTP 1xx) and no other".to_owned())
        }
    };
    Refusal::new(cause, words)
}

/// An answer that RFC 6455 §4.1 does not allow.
fn odd(error: &str) -> Refusal {
    Refusal::new(DialError::NotWebSocket, error)
}

#[cfg(test)]
mod tests {
    use super::super::tests::client;
    use super::*;
    use holdfast_core::ids::EndpointId;

    fn answer(text: &str) -> Answer {
        Answer(smol::block_on(Head::read(&mut text.as_bytes(), PIECE)).unwrap().0)
    }

    fn refusal(text: &str) -> Refusal {
        let request = Request::new(&client("ws://hub.example/"), EndpointId(0)).ok().unwrap();
        answer(text).judge(&request).unwrap_err()
    }

    fn retry_after(fields: &str) -> Option<Duration> {
        answer(&format!("HTTP/1.1 503 x\r\n{fields}\r\n")).retry_after()
    }

    #[test]
    fn refused_credentials_are_told_apart_from_a_server_that_is_busy() {
        assert_eq!(refusal("HTTP/1.1 401 x\r\n\r\n").cause.kind(), RefusalKind::Unauthorized);
        assert_eq!(refusal("HTTP/1.0 403 x\r\n\r\n").cause.kind(), RefusalKind::Unauthorized);
        assert_eq!(refusal("HTTP/1.1 429 x\r\n\r\n").cause.kind(), RefusalKind::Busy { retry_after: None });
        let busy = refusal("HTTP/1.1 503 x\r\nRetry-After: 7\r\n\r\n");
        assert_eq!(busy.cause.kind(), RefusalKind::Busy { retry_after: Some(Duration::from_secs(7)) });
        assert_eq!(busy.error, "the server answers HTTP 503 Service Unavailable");
        assert_eq!(refusal("HTTP/1.1 404 x\r\n\r\n").cause.kind(), RefusalKind::Retry);
    }

    #[test]
    fn a_redirect_that_leads_nowhere_is_told() {
        let refusal = refusal("HTTP/1.1 302 Found\r\n\r\n");
        assert_eq!(refusal.cause.kind(), RefusalKind::Retry);
        assert_eq!(refusal.error, "the server answers HTTP 302 Found without a Location");
    }

    #[test]
    fn a_retry_date_is_measured_against_the_clock_of_the_server() {
        let date = "Retry-After: Fri, 01 Jan 1999 00:02:00 GMT\r\n";
        let with_server_clock = format!("{date}Date: Fri, 01 Jan 1999 00:00:00 GMT\r\n");
        assert_eq!(retry_after(&with_server_clock), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(date), Some(Duration::ZERO));
        assert_eq!(retry_after("Retry-After: soon\r\n"), None);
        assert_eq!(retry_after("Retry-After: -1\r\n"), None);
        let for_ever = Some(Duration::from_secs(u64::MAX));
        assert_eq!(retry_after("Retry-After: 99999999999999999999999\r\n"), for_ever);
        assert_eq!(retry_after(""), None);
    }

    #[test]
    fn an_answer_that_proves_nothing_is_refused() {
        let bare = "HTTP/1.1 101 x\r\n\r\n";
        assert_eq!(refusal(bare).error, "the server answers 101 without an upgrade to websocket");
        let no_proof = "HTTP/1.1 101 x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\r\n";
        assert_eq!(refusal(no_proof).error, "the server answers with a wrong Sec-WebSocket-Accept");
    }

    #[test]
    fn a_subprotocol_may_be_left_unchosen_but_not_be_made_up() {
        let mut request = Request::new(&client("ws://hub.example/"), EndpointId(0)).ok().unwrap();
        request.offered = vec!["holdfast.v1".to_owned()];
        let accept = derive_accept_key(request.key.as_bytes());
        let judge = |field: &str| {
            let text =
                "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
            answer(&format!("{text}{accept}\r\n{field}\r\n")).judge(&request)
        };
        assert_eq!(judge(""), Ok(()));
        assert_eq!(judge("Sec-WebSocket-Protocol: holdfast.v1\r\n"), Ok(()));
        assert!(judge("Sec-WebSocket-Protocol: other\r\n").is_err());
        assert!(judge("Sec-WebSocket-Extensions: permessage-deflate\r\n").is_err());
    }
}
