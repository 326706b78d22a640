//! Many sensors at once: each has a WebSocket of its own and waits for `stored`. The figures are what people feel.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;
use smol::{LocalExecutor, Timer};

use super::Scale;
use super::load::{frame, reading};
use super::memory::receiver;
use super::scene::{Scene, scratch};

const SENSORS: u64 = 256;
/// Messages a second of all of them together.
const RATE: u64 = 20_000;
const SECONDS: u64 = 30;
const SECONDS_QUICK: u64 = 5;
/// RFC 6455 §4.1; the key of §1.3.
const HANDSHAKE: &[u8] =
    b"GET /press/reading?confirm=1 HTTP/1.1\r\nHost: proof\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Proves it: with the link up, and with the link down.
pub fn prove(scale: Scale) -> anyhow::Result<String> {
    let seconds = scale.count(SECONDS, SECONDS_QUICK);
    let up = measure(seconds, true)?;
    let down = measure(seconds, false)?;
    Ok(format!("{SENSORS} sensors, {RATE}/s in all for {seconds} s; link up: {up}; link down: {down}"))
}

fn measure(seconds: u64, with_peer: bool) -> anyhow::Result<String> {
    let directory = scratch()?;
    let scene = Scene::new(directory.path(), "", "[buffer]\nmax_bytes = \"1GB\"")?;
    scene.serve_with(&format!("limits = {{ connections = {}, connections_per_ip = 0 }}", SENSORS + 16))?;
    let agent = scene.start()?;
    let _receiver = with_peer.then(|| receiver(scene.peer)).transpose()?;
    if with_peer {
        scene.wait_until("the link is up", || scene.is_drained())?;
    }
    let each = RATE * seconds / SENSORS;
    let started = Instant::now();
    let mut waits = crowd(&scene.address, each)?;
    let took = started.elapsed();
    let all = each * SENSORS;
    let stored = scene.fact("/buffer/accepted");
    if waits.len() as u64 != all || stored < all {
        bail!("of {all} messages {} were answered and {stored} accepted", waits.len());
    }
    waits.sort_unstable();
    let at = |share: f64| {
        let index = (waits.len() as f64 * share) as usize;
        f64::from(waits[index.min(waits.len() - 1)]) / 1000.0
    };
    Ok(format!(
        "{:.0}/s, stored after {:.1} ms (p50), {:.1} ms (p99), {:.1} ms (p99.9), {:.1} MB resident at most",
        all as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
        agent.peak_bytes()? as f64 / 1e6
    ))
}

/// Has every sensor send so many. Returns how long each message waited for `stored`, in microseconds.
fn crowd(address: &str, each: u64) -> anyhow::Result<Vec<u32>> {
    let waits = Rc::new(RefCell::new(Vec::new()));
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.run(async {
        let begin = Instant::now() + Duration::from_secs(1);
        let sensors = (0..SENSORS).map(|number| {
            executor.spawn(sensor(address.to_owned(), number, each, begin, executor.clone(), waits.clone()))
        });
        for sensor in sensors.collect::<Vec<_>>() {
            sensor.await?;
        }
        anyhow::Ok(())
    }))?;
    Ok(waits.take())
}

async fn sensor(
    address: String,
    number: u64,
    each: u64,
    begin: Instant,
    executor: Rc<LocalExecutor<'static>>,
    waits: Rc<RefCell<Vec<u32>>>,
) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address.as_str()).await.context("cannot reach the agent")?;
    stream.set_nodelay(true)?;
    stream.write_all(HANDSHAKE).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.context("the agent refuses a sensor")?;
        head.extend(byte);
    }
    let (sent_at, sent) = smol::channel::unbounded();
    let mut answers = stream.clone();
    let hearing = executor.spawn(async move {
        let mut noted = Vec::new();
        for _ in 0..each {
            answered(&mut answers).await?;
            let at: Instant = sent.recv().await?;
            noted.push(u32::try_from(at.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        anyhow::Ok(noted)
    });
    let pause_ns = SENSORS * 1_000_000_000 / RATE;
    for message in 0..each {
        let due = Duration::from_nanos(message * pause_ns + number * pause_ns / SENSORS);
        Timer::at(begin + due).await;
        let mut bytes = Vec::new();
        frame(&mut bytes, reading(message * SENSORS + number).as_bytes());
        sent_at.send(Instant::now()).await?;
        stream.write_all(&bytes).await?;
    }
    let noted = hearing.await?;
    waits.borrow_mut().extend(noted);
    Ok(())
}

/// One short unmasked text frame: two bytes of head, then the answer.
async fn answered(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let mut text = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut text).await?;
    if head[0] != 0x81 || !text.starts_with(b"{\"stored\":") {
        bail!("the agent answers {}", String::from_utf8_lossy(&text));
    }
    Ok(())
}
