//! The far end of a line: a WebSocket server that notes the order in which readings come.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use async_tungstenite::accept_async;
use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt;
use serde_json::{Value, json};
use smol::channel::{Receiver, Sender, bounded};
use smol::future::or;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;
use smol::{Async, LocalExecutor, Timer};

use super::super::peer::number_of;
use super::line::Line;

/// Knowledge of the far end.
#[derive(Default)]
pub struct Seen {
    numbers: Mutex<Vec<u64>>,
    connections: AtomicUsize,
    bytes: AtomicU64,
    trickles: AtomicBool,
}

/// A server in the namespace of a line. Dropping it closes all that it has.
pub struct Far {
    /// Its knowledge.
    pub seen: Arc<Seen>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Seen {
    /// How many different readings came.
    pub fn distinct(&self) -> usize {
        self.numbers().iter().collect::<BTreeSet<_>>().len()
    }

    /// How many came that had come before.
    pub fn twice(&self) -> usize {
        self.numbers().len() - self.distinct()
    }

    /// Readings that came for the first time behind a later one.
    pub fn out_of_order(&self) -> usize {
        let (mut highest, mut late) = (None, 0);
        let mut known = BTreeSet::new();
        for number in self.numbers() {
            if known.insert(number) && highest.is_some_and(|highest| number < highest) {
                late += 1;
            }
            highest = highest.max(Some(number));
        }
        late
    }

    /// How many connections it has had.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Bytes that it has read on all of them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// It reads a byte a second, or as fast as it can.
    pub fn trickle(&self, trickles: bool) {
        self.trickles.store(trickles, Ordering::Relaxed);
    }

    fn numbers(&self) -> Vec<u64> {
        self.numbers.lock().expect("nobody panics with it").clone()
    }

    /// Takes a frame. Returns what is said to it.
    fn take(&self, text: &str) -> Option<Value> {
        let envelope = serde_json::from_str::<Value>(text).unwrap_or_default();
        let mut numbers = self.numbers.lock().expect("nobody panics with it");
        if let Some(messages) = envelope["messages"].as_array() {
            numbers.extend(messages.iter().filter_map(|message| number_of(&message["data"].to_string())));
            return Some(json!({ "ack": messages.last()?["seq"] }));
        }
        if let Some(gap) = envelope.get("gap") {
            return Some(json!({ "ack": gap["to"] }));
        }
        numbers.extend(number_of(text));
        None
    }
}

impl Far {
    /// Listens in the namespace of a line; after each frame it rests. Its kernel takes `room` bytes before they are read, or what
    /// it likes.
    pub fn listen(line: &Line, port: u16, rest: Duration, room: Option<usize>) -> anyhow::Result<Far> {
        let (seen, space) = (Arc::<Seen>::default(), line.space());
        let (stop, stopped) = bounded(1);
        let (told, listens) = mpsc::channel();
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || match bind(space, port, room) {
            Ok(listener) => {
                let _ = told.send(Ok(()));
                serve(&listener, &stopped, &shared, rest);
            }
            Err(error) => drop(told.send(Err(error))),
        });
        listens.recv().context("the far end is gone")??;
        Ok(Far { seen, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bind(space: PathBuf, port: u16, room: Option<usize>) -> anyhow::Result<Async<TcpListener>> {
    Line::enter(&space)?;
    let listener = TcpListener::bind(("0.0.0.0", port)).context("cannot listen at the far end")?;
    if let Some(bytes) = room {
        // Accepted sockets inherit it.
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, bytes)?;
    }
    Ok(Async::new(listener)?)
}

fn serve(listener: &Async<TcpListener>, stopped: &Receiver<()>, seen: &Arc<Seen>, rest: Duration) {
    let executor = LocalExecutor::new();
    let accepting = async {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(seen);
            executor.spawn(hear(stream.into(), seen, rest)).detach();
        }
    };
    let stopping = async {
        let _ = stopped.recv().await;
    };
    smol::block_on(executor.run(or(stopping, accepting)));
}

async fn hear(stream: TcpStream, seen: Arc<Seen>, rest: Duration) {
    let _ = stream.set_nodelay(true);
    let stream = Trickle { stream, seen: Arc::clone(&seen), pause: None };
    let Ok(mut frames) = accept_async(stream).await else { return };
    seen.connections.fetch_add(1, Ordering::Relaxed);
    while let Some(Ok(frame)) = frames.next().await {
        if let Message::Text(text) = frame {
            if let Some(answer) = seen.take(&text)
                && frames.send(Message::text(answer.to_string())).await.is_err()
            {
                return;
            }
            if !rest.is_zero() {
                Timer::after(rest).await;
            }
        }
    }
}

/// A stream that is read a byte a second for as long as that is wanted.
struct Trickle {
    stream: TcpStream,
    seen: Arc<Seen>,
    pause: Option<Timer>,
}

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        if !self.seen.trickles.load(Ordering::Relaxed) {
            let length = ready!(Pin::new(&mut self.stream).poll_read(cx, bytes))?;
            self.seen.bytes.fetch_add(length as u64, Ordering::Relaxed);
            return Poll::Ready(Ok(length));
        }
        let pause = self.pause.get_or_insert_with(|| Timer::after(Duration::from_secs(1)));
        if smol::future::FutureExt::poll(pause, cx).is_pending() {
            return Poll::Pending;
        }
        self.pause = None;
        let most = bytes.len().min(1);
        let length = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut bytes[..most]))?;
        self.seen.bytes.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
