//! Load of sensors: readings of about 200 bytes that differ from one to the next as real ones do, over each way in.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Lines of one request of NDJSON.
const LINES: u64 = 500;

/// The way in.
#[derive(Clone, Copy)]
pub enum Way {
    /// One WebSocket, each frame a message, each answered.
    WebSocket,
    /// One connection, a POST a message.
    Http,
    /// One connection, [`LINES`] messages a POST.
    Ndjson,
}

/// Sends so many readings, all at once or so many a second. Ends when the agent has answered for every one.
pub fn send(way: Way, address: &str, count: u64, rate: Option<u64>) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address).context("cannot reach the agent")?;
    stream.set_nodelay(true)?;
    let pace = Pace { started: Instant::now(), rate };
    match way {
        Way::WebSocket => web_socket(stream, count, &pace),
        Way::Http => http(stream, count, &pace),
        Way::Ndjson => ndjson(stream, count),
    }
}

/// One reading: about 200 bytes of JSON.
pub fn reading(number: u64) -> String {
    let wave = |slow: f64, height: f64| (number as f64 / slow).sin() * height;
    let noise = (number.wrapping_mul(2_654_435_761) % 1000) as f64 / 1000.0;
    format!(
        "{{\"device\":\"press-{:02}\",\"line\":\"north\",\"seq\":{number},\"time\":\"2026-11-24T04:{:02}:{:02}.{:03}Z\",\
         \"temperature_c\":{:.2},\"pressure_bar\":{:.3},\"vibration_mm_s\":{:.4},\"rpm\":{},\"status\":\"ok\"}}",
        number % 12,
        number / 60_000 % 60,
        number / 1000 % 60,
        number % 1000,
        61.0 + wave(700.0, 4.0) + noise,
        5.8 + wave(90.0, 0.4) + noise / 10.0,
        1.2 + noise,
        1480 + number % 37,
    )
}

struct Pace {
    started: Instant,
    rate: Option<u64>,
}

impl Pace {
    fn wait_for(&self, number: u64) {
        let Some(rate) = self.rate else { return };
        let due = Duration::from_nanos(number * 1_000_000_000 / rate);
        if let Some(pause) = due.checked_sub(self.started.elapsed()) {
            std::thread::sleep(pause);
        }
    }
}

fn web_socket(stream: TcpStream, count: u64, pace: &Pace) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    // RFC 6455 §4.1; the key of §1.3.
    out.write_all(
        b"GET /press/reading?confirm=1 HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            bail!("the agent refused the WebSocket");
        }
    }
    let hearing = std::thread::spawn(move || answers(&mut reader, count));
    let mut frames = Vec::new();
    for number in 0..count {
        if pace.rate.is_some() || frames.len() > 60_000 {
            out.write_all(&frames)?;
            frames.clear();
        }
        pace.wait_for(number);
        frame(&mut frames, reading(number).as_bytes());
    }
    out.write_all(&frames)?;
    hearing.join().map_err(|_| anyhow::anyhow!("the reader of the answers broke"))?
}

/// A masked text frame of 126 to 65,535 bytes (RFC 6455 §5.2) with a key of zeroes, which changes nothing.
pub fn frame(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(&[0x81, 0x80 | 126]);
    out.extend_from_slice(&u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Short unmasked frames: two bytes of head, then the answer.
fn answers(reader: &mut impl Read, count: u64) -> anyhow::Result<()> {
    let mut head = [0; 2];
    let mut text = [0; 125];
    for _ in 0..count {
        reader.read_exact(&mut head)?;
        let text = &mut text[..usize::from(head[1])];
        reader.read_exact(text)?;
        if head[0] != 0x81 || !text.starts_with(b"{\"stored\":") {
            bail!("the agent answers {}", String::from_utf8_lossy(text));
        }
    }
    Ok(())
}

fn http(stream: TcpStream, count: u64, pace: &Pace) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    for number in 0..count {
        pace.wait_for(number);
        post(&mut out, &mut reader, "application/json", reading(number).as_bytes())?;
    }
    Ok(())
}

fn ndjson(stream: TcpStream, count: u64) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    for first in (0..count).step_by(usize::try_from(LINES)?) {
        let lines: Vec<String> = (first..count.min(first + LINES)).map(reading).collect();
        post(&mut out, &mut reader, "application/x-ndjson", lines.join("\n").as_bytes())?;
    }
    Ok(())
}

fn post(out: &mut TcpStream, reader: &mut impl BufRead, kind: &str, body: &[u8]) -> anyhow::Result<()> {
    let mut request = format!(
        "POST /press/reading HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    loop {
        out.write_all(&request)?;
        match answer(reader)? {
            (200, _) => return Ok(()),
            // Too much waits for the disk: that is what the answer is for.
            (429, _) => std::thread::sleep(Duration::from_millis(20)),
            (status, body) => bail!("the agent answers {status} {body}"),
        }
    }
}

/// Asks for a page. Returns its status and body.
pub fn get(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    answer(&mut BufReader::new(stream))
}

/// Reads an answer: its status and body.
pub fn answer(reader: &mut impl BufRead) -> anyhow::Result<(u16, String)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP answer")?;
    let mut length = 0;
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            bail!("the answer breaks off");
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
