//! The answer to the handshake request: 101 and all that RFC 6455 §4.1 asks of it, or a refusal with its meaning.
//!
//! tungstenite would refuse a server that picks none of the offered subprotocols, and says nothing of `Retry-After`.

use std::time::{Duration, SystemTime};

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::http::StatusCode;
use holdfast_core::link::port::{Refusal, RefusalKind};
use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::request::Request;
use crate::io::net::{self, Stage, Stream};
use crate::io::{clock, tls};

const HEAD_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 64;
/// First byte of a TLS alert record (RFC 8446 §5.1).
const TLS_ALERT: u8 = 0x15;

/// Sends the request and reads the answer. Returns what the server sent behind it.
pub async fn upgrade(stream: &mut Stream, request: &Request, stage: &Stage) -> Result<Vec<u8>, Refusal> {
    send(stream, &request.head).await?;
    let (answer, tail) = receive(stream).await?;
    answer.judge(request)?;
    let chosen = answer.field("Sec-WebSocket-Protocol");
    stage.found(match chosen {
        Some(chosen) => format!("HTTP 101, subprotocol {chosen}"),
        None if request.offered.is_empty() => "HTTP 101".to_owned(),
        None => format!("HTTP 101, but the server chose no subprotocol of {}", request.offered.join(", ")),
    });
    Ok(tail)
}

/// The head of an HTTP answer.
#[derive(Debug, Default)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
}

impl Answer {
    /// The head and its length, none while it is incomplete.
    fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, httparse::Error> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
        let fields = response.headers.iter();
        let fields =
            fields.map(|field| (field.name.to_owned(), String::from_utf8_lossy(field.value).into_owned()));
        Ok(Some((Answer { status: response.code.unwrap_or_default(), fields: fields.collect() }, length)))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    fn judge(&self, request: &Request) -> Result<(), Refusal> {
        if self.status != 101 {
            return Err(self.refusal());
        }
        if !self.has_token("Upgrade", "websocket") || !self.has_token("Connection", "Upgrade") {
            return Err(retry("the server answers 101 without an upgrade to websocket"));
        }
        if self.field("Sec-WebSocket-Accept") != Some(&derive_accept_key(request.key.as_bytes())) {
            return Err(retry("the server answers with a wrong Sec-WebSocket-Accept"));
        }
        if self.field("Sec-WebSocket-Extensions").is_some_and(|list| !list.is_empty()) {
            return Err(retry("the server chose an extension that was not offered"));
        }
        match self.field("Sec-WebSocket-Protocol") {
            Some(chosen) if !request.offered.iter().any(|offered| offered == chosen) => {
                Err(retry("the server chose a subprotocol that was not offered"))
            }
            _ => Ok(()),
        }
    }

    fn refusal(&self) -> Refusal {
        let kind = match self.status {
            401 | 403 => RefusalKind::Unauthorized,
            429 | 503 => RefusalKind::Busy { retry_after: self.retry_after() },
            _ => RefusalKind::Retry,
        };
        let status =
            StatusCode::from_u16(self.status).map_or_else(|_| self.status.to_string(), |s| s.to_string());
        let location = match self.field("Location") {
            Some(location) if (300..400).contains(&self.status) => {
                format!(" to {}, which is not followed", location.escape_debug())
            }
            _ => String::new(),
        };
        Refusal { kind, error: format!("the server answers HTTP {status}{location}") }
    }

    /// Seconds, or a date (RFC 9110 §10.2.3). A date is measured against the server's own clock if it tells it, since
    /// ours may not be set yet.
    fn retry_after(&self) -> Option<Duration> {
        let value = self.field("Retry-After")?;
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = httpdate::parse_http_date(value).ok()?;
        let server_now = self.field("Date").and_then(|date| httpdate::parse_http_date(date).ok());
        let now =
            server_now.unwrap_or_else(|| SystemTime::UNIX_EPOCH + Duration::from_nanos(clock::now().wall_ns));
        Some(date.duration_since(now).unwrap_or_default())
    }
}

async fn send(stream: &mut Stream, head: &[u8]) -> Result<(), Refusal> {
    let sent = async {
        stream.write_all(head).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| retry(format!("the connection broke: {}", tls_or_net(&error))))
}

async fn receive(stream: &mut Stream) -> Result<(Answer, Vec<u8>), Refusal> {
    let mut received = Vec::new();
    let mut chunk = [0; 2048];
    while received.len() < HEAD_MAX {
        let length = match stream.read(&mut chunk).await {
            Ok(0) => return Err(retry("the server closed the connection instead of an answer")),
            Ok(length) => length,
            Err(error) => return Err(retry(tls_or_net(&error))),
        };
        received.extend_from_slice(&chunk[..length]);
        match Answer::parse(&received) {
            Ok(None) => {}
            Ok(Some((answer, length))) => return Ok((answer, received.split_off(length))),
            Err(_) if received[0] == TLS_ALERT => {
                return Err(retry("the server speaks TLS on this port: use wss://"));
            }
            Err(error) => return Err(retry(format!("the answer is not HTTP: {error}"))),
        }
    }
    Err(retry(format!("the head of the answer is over {HEAD_MAX} bytes")))
}

/// A refused client certificate shows only here: in TLS 1.3 the server's alert comes after the handshake.
fn tls_or_net(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::InvalidData { tls::words(error) } else { net::words(error) }
}

fn retry(error: impl Into<String>) -> Refusal {
    Refusal { kind: RefusalKind::Retry, error: error.into() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::client;
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer::parse(text.as_bytes()).unwrap().unwrap().0
    }

    fn refusal(text: &str) -> Refusal {
        let request = Request::new(&client("ws://hub.example/"), 0).ok().unwrap();
        answer(text).judge(&request).unwrap_err()
    }

    fn retry_after(fields: &str) -> Option<Duration> {
        answer(&format!("HTTP/1.1 503 x\r\n{fields}\r\n")).retry_after()
    }

    #[test]
    fn refused_credentials_are_told_apart_from_a_server_that_is_busy() {
        assert_eq!(refusal("HTTP/1.1 401 x\r\n\r\n").kind, RefusalKind::Unauthorized);
        assert_eq!(refusal("HTTP/1.0 403 x\r\n\r\n").kind, RefusalKind::Unauthorized);
        assert_eq!(refusal("HTTP/1.1 429 x\r\n\r\n").kind, RefusalKind::Busy { retry_after: None });
        let busy = refusal("HTTP/1.1 503 x\r\nRetry-After: 7\r\n\r\n");
        assert_eq!(busy.kind, RefusalKind::Busy { retry_after: Some(Duration::from_secs(7)) });
        assert_eq!(busy.error, "the server answers HTTP 503 Service Unavailable");
        assert_eq!(refusal("HTTP/1.1 404 x\r\n\r\n").kind, RefusalKind::Retry);
    }

    #[test]
    fn a_redirect_is_named_and_not_followed() {
        let refusal = refusal("HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\n\r\n");
        assert_eq!(refusal.kind, RefusalKind::Retry);
        let expected = "the server answers HTTP 302 Found to https://login.example/, which is not followed";
        assert_eq!(refusal.error, expected);
    }

    #[test]
    fn a_retry_date_is_measured_against_the_clock_of_the_server() {
        let date = "Retry-After: Fri, 01 Jan 1999 00:02:00 GMT\r\n";
        let with_server_clock = format!("{date}Date: Fri, 01 Jan 1999 00:00:00 GMT\r\n");
        assert_eq!(retry_after(&with_server_clock), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(date), Some(Duration::ZERO));
        assert_eq!(retry_after("Retry-After: soon\r\n"), None);
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
        let mut request = Request::new(&client("ws://hub.example/"), 0).ok().unwrap();
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
