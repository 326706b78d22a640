//! Requests to one endpoint, over a connection that is kept from one to the next and made again where the server has closed it.

use std::io::Write;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use holdfast_core::config::client::{Client, Compression};
use holdfast_core::ids::EndpointId;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::protocol::{Peer, Refusal};
use holdfast_core::link::redirect::{REDIRECTS_MAX, is_redirect};
use holdfast_core::wire::RequestBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Response};
use smol::Timer;
use smol::future::{or, pending};
use smol_hyper::rt::FuturesIo;

use crate::net::{self, DialTrace, Gauge};
use crate::outlet::answer::{retry_after, status_words};
use crate::outlet::request::{Request, unusable};

/// Bytes of an answer's body that are read; a connection whose answers are longer is not kept.
const ANSWER_MAX: usize = 64 << 10;
/// Characters of an answer's body that are shown.
const SHOWN_MAX: usize = 200;
/// RFC 9110 §15.4.4: the answer to this POST is to be fetched elsewhere, so that it does not go elsewhere itself.
const SEE_OTHER: u16 = 303;

/// One endpoint of a client.
pub struct Poster {
    client: Client,
    request: Request,
    gauge: Gauge,
    connection: Option<Connection>,
}

/// Answer of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
    /// All of it, for people.
    pub words: String,
}

impl Answer {
    /// `HTTP 204 No Content`.
    pub fn status_words(&self) -> String {
        status_words(self.status)
    }
}

struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Moves the bytes; ends with the connection.
    driver: Pin<Box<dyn Future<Output = ()>>>,
}

/// Why there is no answer.
enum Broken {
    /// The connection was closed before anything of an answer came: it may have been so before the request.
    Closed(Refusal),
    Other(Refusal),
}

impl Poster {
    /// Reads all secrets.
    pub fn new(client: &Client, endpoint: EndpointId, gauge: Gauge) -> Result<Poster, Refusal> {
        let request = Request::of(client, endpoint)?;
        Ok(Poster { client: client.clone(), request, gauge, connection: None })
    }

    /// Makes a connection. Ends within `connect_timeout`.
    pub async fn dial(&mut self, stage: &DialTrace) -> Result<Peer, Refusal> {
        let dialed = stage.within(self.client.connect_timeout, self.connect(stage)).await;
        let (connection, peer) = dialed.map_err(|refusal| refusal.dialing(&self.request.label))?;
        self.connection = Some(connection);
        Ok(peer)
    }

    /// Posts a body and goes where redirects lead. Whatever status the answer has in the end, it is an answer.
    pub async fn post(&mut self, body: Vec<u8>) -> Result<Answer, Refusal> {
        let body = Bytes::from(self.compressed(body));
        for _ in 0..=REDIRECTS_MAX {
            let (answer, location) = self.exchange(&body).await?;
            let location = location.filter(|_| is_redirect(answer.status) && answer.status != SEE_OTHER);
            let Some(location) = location else { return Ok(answer) };
            let next = self.request.redirected(&self.client, &location);
            let next = next.map_err(|why| {
                let error = format!("the server answers {} to {why}", answer.status_words());
                Refusal::new(DialError::Redirect, error)
            })?;
            log::debug!("redirected client={} status={} to={}", self.client.id, answer.status, next.label);
            self.request = next;
            self.connection = None;
        }
        Err(self.request.redirected_too_often())
    }

    /// The same, for a test: an answer has to come within `confirm_timeout`.
    pub async fn post_once(&mut self, body: Vec<u8>) -> Result<Answer, Refusal> {
        let within = self.client.confirm_timeout;
        let late = async {
            Timer::after(within).await;
            let error = format!("no answer within {} s", within.as_secs_f32());
            Err(Refusal::new(DialError::TimedOut, error))
        };
        or(self.post(body), late).await
    }

    /// Returns when the server closes the connection that is kept; never if there is none.
    pub async fn closed(&mut self) {
        match &mut self.connection {
            Some(connection) => connection.driver.as_mut().await,
            None => pending().await,
        }
        self.connection = None;
    }

    async fn connect(&self, stage: &DialTrace) -> Result<(Connection, Peer), Refusal> {
        let request = &self.request;
        let timeout = self.client.confirm_timeout;
        let opened =
            net::open(&request.target, request.tunnel.as_ref(), &request.tls, timeout, stage, &self.gauge);
        let (stream, peer) = opened.await?;
        let mut settings = http1::Builder::new();
        settings.title_case_headers(true);
        let (sender, driver) =
            settings.handshake(FuturesIo::new(stream)).await.map_err(|error| refusal(&error))?;
        let driver = Box::pin(driver.map(|_| ()));
        Ok((Connection { sender, driver }, peer))
    }

    async fn exchange(&mut self, body: &Bytes) -> Result<(Answer, Option<String>), Refusal> {
        let was_kept = self.connection.is_some();
        match self.try_once(body).await {
            // A server may close a kept connection at any time, also while a request is on its way to it (RFC 9112 §9.3.1).
            Err(Broken::Closed(_)) if was_kept => self.try_once(body).await,
            tried => tried,
        }
        .map_err(|broken| match broken {
            Broken::Closed(refusal) | Broken::Other(refusal) => refusal,
        })
    }

    async fn try_once(&mut self, body: &Bytes) -> Result<(Answer, Option<String>), Broken> {
        if self.connection.is_none() {
            self.dial(&DialTrace::new()).await.map_err(Broken::Other)?;
        }
        let request = self.request(body.clone()).map_err(Broken::Other)?;
        let Some(Connection { mut sender, mut driver }) = self.connection.take() else {
            return Err(Broken::Other(Refusal::new(DialError::Broken, "there is no connection")));
        };
        let asking = async {
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            self.gauge.frame();
            read(response).await
        };
        let driving = async {
            driver.as_mut().await;
            pending().await
        };
        let (answer, location, is_whole) = or(asking, driving).await?;
        if is_whole && !sender.is_closed() {
            self.connection = Some(Connection { sender, driver });
        }
        Ok((answer, location))
    }

    fn request(&self, body: Bytes) -> Result<hyper::Request<Full<Bytes>>, Refusal> {
        // All of it was checked when the request was put together.
        let cannot = |error: &dyn std::fmt::Display| unusable(&self.client, error.to_string());
        let length = body.len();
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.request.path.parse().map_err(|error| cannot(&error))?;
        let fields = request.headers_mut();
        let media_type = RequestBody::media_type(self.client.encoding);
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        for (name, value) in self.request.fields() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| cannot(&error))?;
            fields.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|error| cannot(&error))?);
        }
        if self.client.compression == Compression::Gzip {
            fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        // hyper says nothing of the length of a body that is empty.
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Ok(request)
    }

    fn compressed(&self, body: Vec<u8>) -> Vec<u8> {
        match self.client.compression {
            Compression::None => body,
            Compression::Gzip => {
                let mut gzip =
                    GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
                gzip.write_all(&body).and_then(|()| gzip.finish()).expect("a Vec takes every write")
            }
        }
    }
}

/// Reads an answer. It tells as well where a redirect leads, and whether all of it was read.
async fn read(response: Response<Incoming>) -> Result<(Answer, Option<String>, bool), Broken> {
    let (head, mut body) = response.into_parts();
    let status = head.status.as_u16();
    let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let mut text = Vec::new();
    let mut is_whole = true;
    while let Some(frame) = body.frame().await {
        // The status is what counts: a body that breaks costs the connection.
        let Ok(frame) = frame else {
            is_whole = false;
            break;
        };
        text.extend_from_slice(&frame.into_data().unwrap_or_default());
        if text.len() > ANSWER_MAX {
            is_whole = false;
            break;
        }
    }
    let (retry_after, location) = (retry_after(field), field("Location").map(str::to_owned));
    let words = format!("the server answers {}{}", status_words(status), shown(&text));
    Ok((Answer { status, retry_after, words }, location, is_whole))
}

/// The begin of a text in an answer; nothing of a page.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() || line.starts_with('<') {
        return String::new();
    }
    let more = if line.chars().count() > SHOWN_MAX { "…" } else { "" };
    let start: String = line.chars().filter(|letter| !letter.is_control()).take(SHOWN_MAX).collect();
    format!(": {start}{more}")
}

fn broken(error: &hyper::Error) -> Broken {
    let refusal = refusal(error);
    // Not for a body that could not be written to its end: the server may have begun to say why.
    let is_closed = error.is_closed() || error.is_canceled() || error.is_incomplete_message() || is_io(error);
    if is_closed { Broken::Closed(refusal) } else { Broken::Other(refusal) }
}

fn io_of(error: &hyper::Error) -> Option<&std::io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn is_io(error: &hyper::Error) -> bool {
    io_of(error).is_some()
}

fn refusal(error: &hyper::Error) -> Refusal {
    match io_of(error) {
        Some(error) => net::broken(error),
        None if error.is_parse() => {
            let words = "the answer is not HTTP/1.1; a server that speaks TLS on this port needs https://";
            Refusal::new(DialError::NotHttp, words)
        }
        None => Refusal::new(DialError::Broken, "the server closed the connection instead of an answer"),
    }
}
