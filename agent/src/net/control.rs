//! The client side of the control socket: one request to the running agent.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use smol::Timer;
use smol::future::or;
use smol::net::unix::UnixStream;
use smol_hyper::rt::FuturesIo;

use crate::net::words;

/// The agent must have answered within this.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer that is taken.
const ANSWER_BYTES: usize = 17 << 20;

/// Whether an agent answers at this path. The error says why that cannot be told.
pub async fn is_running(socket: &Path) -> Result<bool, String> {
    let connect = async {
        match UnixStream::connect(socket).await {
            Ok(_) => Ok(true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(format!("cannot reach the agent at {}: {}", socket.display(), words(&error))),
        }
    };
    let late = async {
        Timer::after(TIMEOUT).await;
        Err(format!(
            "cannot reach the agent at {}: no answer within {} s",
            socket.display(),
            TIMEOUT.as_secs()
        ))
    };
    or(connect, late).await
}

/// Asks the agent whose control socket is at this path. Returns the status and the body of its answer; the error says
/// that no agent runs there, or what broke.
pub async fn request(
    socket: &Path,
    method: Method,
    path_and_query: &str,
    content_type: Option<&str>,
    body: Vec<u8>,
) -> Result<(u16, Vec<u8>), String> {
    let cannot = |cause: String| format!("cannot reach the agent at {}: {cause}", socket.display());
    // hyper says nothing of the length of a body that is empty.
    let length = (method != Method::GET).then_some(body.len());
    let mut request = Request::builder().method(method).uri(path_and_query).header(header::HOST, "localhost");
    if let Some(length) = length {
        request = request.header(header::CONTENT_LENGTH, length);
    }
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let request = request.body(Full::from(body)).map_err(|error| cannot(error.to_string()))?;
    let ask = async {
        let stream = UnixStream::connect(socket).await.map_err(|error| absence(&error))?;
        ask(stream, request).await
    };
    let late = async {
        Timer::after(TIMEOUT).await;
        Err(format!("no answer within {} s", TIMEOUT.as_secs()))
    };
    or(ask, late).await.map_err(cannot)
}

/// Asks the agent whose control socket is at this path for lines that go on, and hands over each until `take` wants no more
/// or the agent ends them. The error says that no agent runs there, what it said instead, or what broke.
pub async fn lines(
    socket: &Path,
    path_and_query: &str,
    mut take: impl FnMut(&str) -> bool,
) -> Result<(), String> {
    let cannot = |cause: String| format!("cannot reach the agent at {}: {cause}", socket.display());
    let request = Request::builder().uri(path_and_query).header(header::HOST, "localhost");
    let request = request.body(Full::<Bytes>::default()).map_err(|error| cannot(error.to_string()))?;
    let stream = UnixStream::connect(socket).await.map_err(|error| cannot(absence(&error)))?;
    let (mut sender, connection) =
        http1::handshake(FuturesIo::new(stream)).await.map_err(|error| cannot(error.to_string()))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            rest.extend_from_slice(&frame.into_data().unwrap_or_default());
            if rest.len() > ANSWER_BYTES {
                return Err(format!("a line of the answer has more than {ANSWER_BYTES} bytes"));
            }
            if !status.is_success() {
                continue;
            }
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if !take(String::from_utf8_lossy(&line).trim_end()) {
                    return Ok(());
                }
            }
        }
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("it answers {status}: {}", String::from_utf8_lossy(&rest)))
        }
    };
    let drive = async {
        // An error of the connection reaches the exchange too, with better words.
        let _ = connection.await;
        smol::future::pending().await
    };
    or(exchange, drive).await.map_err(cannot)
}

fn absence(error: &io::Error) -> String {
    match is_absence(error) {
        true => format!("no agent is running there ({})", words(error)),
        false => words(error),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn ask(stream: UnixStream, request: Request<Full<Bytes>>) -> Result<(u16, Vec<u8>), String> {
    let (mut sender, connection) =
        http1::handshake(FuturesIo::new(stream)).await.map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
            if bytes.len() > ANSWER_BYTES {
                return Err(format!("the answer has more than {ANSWER_BYTES} bytes"));
            }
        }
        Ok((status, bytes))
    };
    let drive = async {
        // An error of the connection reaches the exchange too, with better words.
        let _ = connection.await;
        smol::future::pending().await
    };
    or(exchange, drive).await
}
