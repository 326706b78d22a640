//! Input that must not harm a server: handshakes, frames and requests that are wrong in every way that the seeded generator knows,
//! while honest sensors are served beside them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fastrand::Rng;

use super::Scale;
use super::scene::{Agent, Scene, scratch};
use super::sensor::Sensors;

const ATTEMPTS: u64 = 100_000;
const ATTEMPTS_QUICK: u64 = 5_000;
/// Offenders at a time.
const OFFENDERS: u64 = 8;
/// Rounds; the honest must have been served in each.
const ROUNDS: u64 = 10;
/// An answer, or the end, must come within this.
const PATIENCE: Duration = Duration::from_secs(20);
/// Growth of the memory after the first round, which fills what stays filled.
const GROWTH_MAX: u64 = 3_000_000;
/// A server with a route of every kind.
const ROUTES: &str = "limits = { connections = 64, message_bytes = 4096, handshake_timeout = \"2s\", idle_timeout = \"2s\" }\n\
    [[server.route]]\npath = \"/json/{line}/{device}\"\nformat = \"json\"\n\
    [[server.route]]\npath = \"/typed\"\ntopic = \"typed\"\nquery = [ { name = \"n\", type = \"number\", required = true } ]\n";

/// Proves it.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let directory = scratch()?;
    let scene = Scene::new(directory.path(), "", "[buffer]\nmax_bytes = \"64MB\"")?;
    scene.serve_with(ROUTES)?;
    let agent = scene.start()?;
    let each = scale.count(ATTEMPTS, ATTEMPTS_QUICK) / ROUNDS;
    let before = at_rest(&scene, &agent)?;
    let sensors = Sensors::start(&scene.address, Duration::from_millis(5), 0);
    let mut after_first = 0;
    for round in 0..ROUNDS {
        offend(&scene.address, scale.seed.wrapping_add(round), each, &sensors)?;
        if round == 0 {
            after_first = agent.resident_bytes()?;
        }
    }
    let grown = agent.resident_bytes()?.saturating_sub(after_first);
    let (honest, _) = sensors.end();
    let after = at_rest(&scene, &agent)?;
    let panics = scene.log_with(&["panicked"]);
    let figures = format!(
        "{} attempts: no panic, {before} descriptors before and {after} after, {:.1} MB grown after the first {each}, {} honest readings \
         stored meanwhile",
        each * ROUNDS,
        grown as f64 / 1e6,
        honest.len()
    );
    if !panics.is_empty() || after > before || grown > GROWTH_MAX {
        bail!("{figures}; {}", panics.join(" | "));
    }
    if scene.fact("/buffer/accepted") < honest.len() as u64 {
        bail!("{figures}; fewer were accepted than were told to be stored");
    }
    Ok(figures)
}

/// The descriptors of an agent that nobody is connected to but who asks for its status.
fn at_rest(scene: &Scene, agent: &Agent) -> anyhow::Result<u64> {
    let mut least = u64::MAX;
    let mut looks = 0;
    scene.wait_until("the connections of offenders are gone", || {
        least = least.min(agent.descriptors().unwrap_or(u64::MAX));
        looks += 1;
        looks > 500
    })?;
    Ok(least)
}

/// Has many offenders make so many attempts, and more until an honest sensor has been served beside them.
fn offend(address: &str, seed: u64, attempts: u64, sensors: &Sensors) -> anyhow::Result<()> {
    let next = AtomicU64::new(0);
    let (started, served) = (Instant::now(), sensors.count());
    let goes_on = || next.fetch_add(1, Ordering::Relaxed) < attempts || sensors.count() == served;
    std::thread::scope(|scope| {
        let offender = || {
            while goes_on() {
                if started.elapsed() > PATIENCE.max(Duration::from_millis(attempts * 20)) {
                    bail!("no honest sensor is served");
                }
                let number = next.load(Ordering::Relaxed);
                let mut chance = Rng::with_seed(seed << 32 | number);
                attempt(address, &mut chance).with_context(|| format!("attempt {number} of seed {seed}"))?;
            }
            anyhow::Ok(())
        };
        let offenders: Vec<_> = (0..OFFENDERS).map(|_| scope.spawn(offender)).collect();
        for offender in offenders {
            offender.join().map_err(|_| anyhow::anyhow!("an offender broke"))??;
        }
        Ok(())
    })
}

/// Connects, says something wrong and hears out what comes. A server that neither answers nor closes is an error.
fn attempt(address: &str, chance: &mut Rng) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).context("the agent does not listen")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let bytes = match chance.u8(..4) {
        0 => handshake(chance),
        1 => frames(chance),
        2 => request(chance),
        _ => noise(chance),
    };
    // The agent may have closed before it has heard all.
    let _ = stream.write_all(&bytes);
    if chance.u8(..50) == 0 {
        return Ok(());
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                bail!(
                    "neither an answer nor an end within {PATIENCE:?} of {:?}",
                    String::from_utf8_lossy(&bytes)
                )
            }
            Err(_) => return Ok(()),
        }
    }
}

fn noise(chance: &mut Rng) -> Vec<u8> {
    let length = chance.usize(..2000);
    let mut bytes: Vec<u8> = (0..length).map(|_| chance.u8(..)).collect();
    if chance.bool() {
        let known: [&[u8]; 4] = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET ",
            b"\x10\x0c\x00\x04MQTT",
        ];
        bytes.splice(0..0, known[chance.usize(..known.len())].iter().copied());
    }
    bytes
}

fn pick<'a>(chance: &mut Rng, words: &[&'a str]) -> &'a str {
    words[chance.usize(..words.len())]
}

fn long(chance: &mut Rng) -> String {
    let letter = chance.alphanumeric();
    std::iter::repeat_n(letter, chance.usize(1..20_000)).collect()
}

fn path(chance: &mut Rng) -> String {
    match chance.u8(..8) {
        0 => format!("/{}", long(chance)),
        1 => pick(
            chance,
            &[
                "/%",
                "/%zz",
                "/%00",
                "/%ff%fe",
                "/..%2f..%2fetc/passwd",
                "//",
                "/a//b",
                "*",
                "",
                "http://[::1",
            ],
        )
        .to_owned(),
        2 => format!("/typed?n={}", pick(chance, &["", "x", "1&n=2", "%", "1e999", "NaN"])),
        3 => format!("/a?{}", (0..chance.usize(..200)).map(|n| format!("k{n}=v&")).collect::<String>()),
        4 => "/json/a/b".to_owned(),
        5 => pick(chance, &["/api/status", "/metrics", "/healthz", "/api/send?topic=", "/api"]).to_owned(),
        6 => format!("/a/{}/#+", chance.char(' '..)),
        _ => "/press/reading?confirm=1".to_owned(),
    }
}

/// A handshake that is spoiled once or several times, or is not.
fn handshake(chance: &mut Rng) -> Vec<u8> {
    let mut lines = vec![
        format!(
            "{} {} HTTP/{}",
            pick(chance, &["GET", "GET", "GET", "POST", "get", "G\0T"]),
            path(chance),
            pick(chance, &["1.1", "1.1", "1.0", "9.9"])
        ),
        "Host: proof".to_owned(),
        format!("Connection: {}", pick(chance, &["Upgrade", "upgrade, keep-alive", "close", ""])),
        format!("Upgrade: {}", pick(chance, &["websocket", "WebSocket", "h2c", "websocket, x"])),
        format!("Sec-WebSocket-Version: {}", pick(chance, &["13", "13", "8", "-1", "13, 8"])),
        format!(
            "Sec-WebSocket-Key: {}",
            pick(chance, &["dGhlIHNhbXBsZSBub25jZQ==", "", "x", "====", "dGhlIHNhbXBsZSBub25jZQ==, x"])
        ),
    ];
    for _ in 0..chance.usize(..4) {
        let at = chance.usize(..lines.len());
        match chance.u8(..6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => lines[at].push_str(&long(chance)),
            3 => lines[at] = lines[at].replace(": ", pick(chance, &[":", " : ", "\0", "\n", ""])),
            4 => lines.extend((0..chance.usize(..300)).map(|number| format!("X-{number}: y"))),
            _ => lines
                .push(format!("Origin: {}", pick(chance, &["null", "http://evil.example", "\u{e9}", ""]))),
        }
        if lines.is_empty() {
            lines.push(String::new());
        }
    }
    let end = pick(chance, &["\r\n", "\r\n", "\n", "\r"]);
    let mut bytes = lines.join(end).into_bytes();
    bytes.extend(pick(chance, &["\r\n\r\n", "\r\n\r\n", "\n\n", ""]).bytes());
    bytes
}

/// Frames behind a sound handshake (RFC 6455 §5.2), most of them wrong.
fn frames(chance: &mut Rng) -> Vec<u8> {
    let mut bytes = b"GET /press/reading?confirm=1 HTTP/1.1\r\nHost: proof\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    for _ in 0..chance.usize(1..6) {
        let sound = [0x81, 0x82, 0x88, 0x89, 0x8a, 0x01, 0x00, 0x80];
        bytes.push(if chance.bool() { chance.u8(..) } else { sound[chance.usize(..sound.len())] });
        let mask = if chance.u8(..8) > 0 { 0x80 } else { 0 };
        let length = chance.usize(..300);
        match chance.u8(..6) {
            0 => bytes.push(mask | 126),
            1 => bytes.extend([mask | 126, 0xff, 0xff]),
            2 => bytes.extend([mask | 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            3 => bytes.extend([mask | 127, 0, 0, 0, 0, 0, 0, 0, 5]),
            _ if length < 126 => bytes.push(mask | u8::try_from(length).unwrap_or(0)),
            _ => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
            }
        }
        bytes.extend((0..length + 4).map(|_| chance.u8(..)));
    }
    bytes
}

/// A request whose body is not what its head says, or is nothing that could be a message.
fn request(chance: &mut Rng) -> Vec<u8> {
    let bodies = ["{", "{\"a\":1}\n{", "[[[[[[[[", "\u{0}", "", "{\"a\":1}", "null\nnull\n"];
    let mut body = pick(chance, &bodies).as_bytes().to_vec();
    match chance.u8(..4) {
        0 => body = "[".repeat(chance.usize(..4000)).into_bytes(),
        1 => body.extend((0..chance.usize(..6000)).map(|_| chance.u8(..))),
        _ => {}
    }
    let length = match chance.u8(..6) {
        0 => "Content-Length: -1".to_owned(),
        1 => "Content-Length: 99999999999999999999".to_owned(),
        2 => format!("Content-Length: {}\r\nContent-Length: 3", body.len()),
        3 => {
            let size = pick(chance, &["5", "zz", "ffffffffffffffff", "-1", "5;x=\"", "0"]);
            body.splice(0..0, format!("{size}\r\n").into_bytes());
            "Transfer-Encoding: chunked".to_owned()
        }
        4 => format!("Content-Length: {}", body.len() + chance.usize(1..9000)),
        _ => format!("Content-Length: {}", body.len()),
    };
    let kinds = [
        "application/json",
        "application/x-ndjson",
        "text/plain; charset=x",
        "",
        "a/b; \0",
        "multipart/form-data",
    ];
    let method =
        pick(chance, &["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "CONNECT", "HEAD"]);
    let expect = pick(chance, &["", "", "Expect: 100-continue\r\n", "Expect: x\r\n"]);
    let head = format!(
        "{method} {} HTTP/1.1\r\nHost: proof\r\n{expect}Content-Type: {}\r\n{length}\r\n\r\n",
        path(chance),
        pick(chance, &kinds)
    );
    [head.into_bytes(), body].concat()
}
