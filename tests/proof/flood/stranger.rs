//! Those who flood: each connection says something first, then the same again and again.

use std::cell::Cell;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};
use smol::future::{or, pending, yield_now};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor, Timer};

/// The first of where they are.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const ADDRESSES: u32 = 3;
/// One for nearly each connection.
const ADDRESSES_MANY: u32 = 250;
/// A flood of many addresses goes on for so many times as long as others.
const TIMES_MANY: u64 = 12;
/// Before one that was sent away comes again.
const PAUSE: Duration = Duration::from_millis(5);
/// How often is looked whether a flood may end.
const LOOKS: u32 = 4_000;

/// What strangers do.
pub struct Flood {
    /// Its name.
    pub name: &'static str,
    /// Whether it is for the port with TLS.
    pub is_tls: bool,
    /// How many times as long as others it goes on.
    pub times: u64,
    connections: u64,
    addresses: u32,
    /// What a connection with this number says first.
    open: Box<dyn Fn(u64) -> Vec<u8>>,
    /// What it says then.
    again: Vec<u8>,
    pause: Duration,
    /// Whether it reads what it is told.
    reads: bool,
}

/// All that are known.
pub fn floods() -> anyhow::Result<Vec<Flood>> {
    let socket = |name, rest: Vec<u8>, again: Vec<u8>| Flood {
        open: Box::new(move |number| {
            [handshake(&format!("/flood{number}?confirm=1")), rest.clone()].concat()
        }),
        again,
        ..Flood::of(name)
    };
    let post = |name, query: &str, fields: &str, body: Vec<u8>| {
        let head = format!(
            "POST /flood{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n{fields}\r\n"
        );
        let request = [head.into_bytes(), body].concat();
        Flood { again: request, ..Flood::of(name) }
    };
    let length = |body: &[u8]| format!("Content-Length: {}\r\n", body.len());
    let query = format!("?a={}", "x".repeat(1900));
    let (lines, large) = (b"1\n".repeat(9_000), large_lines());
    let bomb = gzip(&b"1\n".repeat(4 << 20))?;
    let slow = Duration::from_millis(100);
    let opened = |name, open: Vec<u8>, again: &[u8], connections| Flood {
        open: Box::new(move |_| open.clone()),
        again: again.to_vec(),
        pause: slow,
        connections,
        ..Flood::of(name)
    };
    let chunked = b"POST /flood HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = [&b"3e80\r\n"[..], &b"1234567\n".repeat(2_000), b"\r\n"].concat();
    let announced = [&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[7; 40_000]].concat();
    // Those that take most stand first.
    Ok(vec![
        post("bombs", "", &format!("Content-Encoding: gzip\r\n{}", length(&bomb)), bomb),
        Flood {
            addresses: ADDRESSES_MANY,
            times: TIMES_MANY,
            ..socket("frames of many", Vec::new(), frame(0x82, &noise(65_000)))
        },
        socket("tiny frames", Vec::new(), frame(0x81, b"1").repeat(500)),
        Flood { pause: Duration::ZERO, ..opened("chunks", chunked.to_vec(), &chunk, 256) },
        socket(
            "fragments",
            frame(0x02, &noise(30_000)),
            [frame(0x00, &[7; 100]), frame(0x89, &[7; 100])].concat(),
        ),
        socket("frames", Vec::new(), frame(0x82, &noise(65_000))),
        post("bodies", "", &length(&large), large),
        Flood { pause: slow, ..socket("half frames", announced, vec![7]) },
        post("lines", &query, &length(&lines), lines),
        Flood { reads: false, ..socket("pings", Vec::new(), frame(0x89, &[7; 125]).repeat(100)) },
        opened("heads", [&b"GET / HTTP/1.1\r\na: "[..], &[b'x'; 15_000]].concat(), b"x", 1_000),
        Flood { open: Box::new(ghost), ..Flood::of("handshakes") },
        Flood { is_tls: true, ..opened("TLS", hello()?, b"", 512) },
    ])
}

impl Flood {
    fn of(name: &'static str) -> Flood {
        let (open, again) = (Box::new(|_| Vec::new()), Vec::new());
        let (connections, addresses, pause) = (256, ADDRESSES, Duration::ZERO);
        Flood { name, is_tls: false, times: 1, connections, addresses, open, again, pause, reads: true }
    }
}

/// Floods this port of loopback for so long, and on until the condition holds, but not for ever.
pub fn run(flood: &Flood, port: u16, lasting: Duration, until: impl Fn() -> bool) -> anyhow::Result<()> {
    let executor = LocalExecutor::new();
    let next = Rc::new(Cell::new(0));
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    smol::block_on(executor.run(async {
        let addresses = (0..flood.addresses).map(|offset| Ipv4Addr::from_bits(FIRST.to_bits() + offset));
        for from in (0..flood.connections).zip(addresses.cycle()).map(|(_, from)| from) {
            executor.spawn(persist(flood, from, to, next.clone())).detach();
        }
        Timer::after(lasting).await;
        let mut looks = 0;
        while !until() && looks < LOOKS {
            Timer::after(PAUSE).await;
            looks += 1;
        }
    }));
    (next.get() > flood.connections / 8).then_some(()).context("no stranger comes in")
}

async fn persist(flood: &Flood, from: Ipv4Addr, to: SocketAddrV4, next: Rc<Cell<u64>>) {
    loop {
        if let Ok(stream) = connect(from, to).await {
            // It is sent away sooner or later.
            let _ = talk(flood, &stream, next.replace(next.get() + 1)).await;
        }
        Timer::after(PAUSE).await;
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddrV4) -> anyhow::Result<Async<TcpStream>> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let bare = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&bare, &SocketAddrV4::new(from, 0))?;
    let stream = Async::new(TcpStream::from(bare))?;
    match connect(&stream, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    stream.writable().await?;
    Ok(stream)
}

async fn talk(flood: &Flood, mut stream: &Async<TcpStream>, number: u64) -> std::io::Result<()> {
    let mut answers = stream;
    let hearing = async {
        if !flood.reads {
            return pending().await;
        }
        let mut piece = [0; 4096];
        while answers.read(&mut piece).await? > 0 {}
        Ok(())
    };
    let speaking = async {
        stream.write_all(&(flood.open)(number)).await?;
        loop {
            stream.write_all(&flood.again).await?;
            match flood.again.is_empty() {
                true => pending().await,
                false if flood.pause.is_zero() => yield_now().await,
                false => drop(Timer::after(flood.pause).await),
            }
        }
    };
    or(hearing, speaking).await
}

fn handshake(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A device that is there and gone, another one each time.
fn ghost(number: u64) -> Vec<u8> {
    [handshake(&format!("/ghost{number}")), frame(0x88, &[])].concat()
}

/// A masked frame with a key of zeroes, which changes nothing.
fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut frame = match length {
        0..126 => vec![head, 0x80 | length.to_be_bytes()[1]],
        _ => [&[head, 0x80 | 126][..], &length.to_be_bytes()].concat(),
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// What does not shrink fills the store as it fills memory.
fn noise(length: usize) -> Vec<u8> {
    let mut chance = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| chance.u8(..)).collect()
}

fn large_lines() -> Vec<u8> {
    let mut chance = fastrand::Rng::with_seed(1);
    let mut line = || format!("\"{}\"\n", (0..900).map(|_| chance.alphanumeric()).collect::<String>());
    (0..1_100).map(|_| line()).collect::<String>().into_bytes()
}

fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// How a handshake of TLS begins.
fn hello() -> anyhow::Result<Vec<u8>> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes)?;
    Ok(bytes)
}
