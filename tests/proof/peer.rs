//! The far end of the link: a WebSocket server that notes which readings came, how often, and how far the agent's recording
//! was at that moment.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_tungstenite::accept_async;
use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt;
use serde_json::Value;
use smol::channel::{Receiver, Sender, bounded};
use smol::future::or;
use smol::{Async, LocalExecutor, Timer};

/// Readings that have come, over all lives of a peer.
#[derive(Clone, Default)]
pub struct Received(Arc<Mutex<Arrivals>>);

#[derive(Default)]
struct Arrivals {
    /// Number of a reading, and the length of the recording when it came first.
    first: BTreeMap<u64, u64>,
    count: u64,
    recording: Option<PathBuf>,
    /// Where envelopes come: numbers of the outlet that came or that a gap has announced, as ranges.
    accounted: Vec<(u64, u64)>,
    connections: usize,
}

impl Received {
    /// Notes the length of this file with each reading from here on.
    pub fn beside(&self, recording: &Path) {
        self.arrivals().recording = Some(recording.to_owned());
    }

    /// Whether this reading came.
    pub fn has(&self, number: u64) -> bool {
        self.arrivals().first.contains_key(&number)
    }

    /// All readings with the length of the recording when each came first.
    pub fn all(&self) -> BTreeMap<u64, u64> {
        self.arrivals().first.clone()
    }

    /// Those of these readings that have not come.
    pub fn missing<'a>(&self, numbers: impl IntoIterator<Item = &'a u64>) -> Vec<u64> {
        let arrivals = self.arrivals();
        numbers.into_iter().filter(|number| !arrivals.first.contains_key(number)).copied().collect()
    }

    /// The error names those of the stored readings that have not come.
    pub fn require<T>(&self, stored: &[(u64, T)]) -> anyhow::Result<()> {
        let lost = self.missing(stored.iter().map(|(number, _)| number));
        ensure!(lost.is_empty(), "{} of {} stored readings are lost: {lost:?}", lost.len(), stored.len());
        Ok(())
    }

    /// How many different ones came.
    pub fn distinct(&self) -> u64 {
        self.arrivals().first.len() as u64
    }

    /// How many came that had come before.
    pub fn twice(&self) -> u64 {
        let arrivals = self.arrivals();
        arrivals.count - arrivals.first.len() as u64
    }

    /// Whether an agent is connected, or was and not all that it sent is read.
    pub fn is_hearing(&self) -> bool {
        self.arrivals().connections > 0
    }

    /// Whether each of these numbers of the outlet came in an envelope or was announced as a gap.
    pub fn accounts_for(&self, (first, last): (u64, u64)) -> bool {
        let arrivals = self.arrivals();
        let covers =
            |number: u64| arrivals.accounted.iter().any(|(from, to)| (*from..=*to).contains(&number));
        (first..=last).all(covers)
    }

    /// Takes a frame: a reading, or an envelope.
    fn take(&self, text: &str) {
        match serde_json::from_str::<Value>(text) {
            Ok(envelope) if envelope.get("messages").is_some() || envelope.get("gap").is_some() => {
                self.open(&envelope);
            }
            _ => self.note(text),
        }
    }

    fn open(&self, envelope: &Value) {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        for message in envelope["messages"].as_array().into_iter().flatten() {
            self.note(&message["data"].to_string());
            self.arrivals().accounted.push((number(&message["seq"]), number(&message["seq"])));
        }
        if let Some(gap) = envelope.get("gap") {
            self.arrivals().accounted.push((number(&gap["from"]), number(&gap["to"])));
        }
    }

    fn note(&self, text: &str) {
        let Some(number) = number_of(text) else { return };
        let mut arrivals = self.arrivals();
        let position = arrivals.recording.as_ref().map_or(0, |file| length_of(file));
        arrivals.count += 1;
        arrivals.first.entry(number).or_insert(position);
    }

    fn arrivals(&self) -> std::sync::MutexGuard<'_, Arrivals> {
        self.0.lock().expect("nobody panics with it")
    }
}

/// The number inside of a reading.
pub fn number_of(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("\"seq\":")?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Bytes of a file, 0 while there is none.
pub fn length_of(file: &Path) -> u64 {
    file.metadata().map_or(0, |facts| facts.len())
}

/// A listening server. Dropping it closes all that it has.
pub struct Peer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Listens on this port of loopback.
    pub fn listen(port: u16, received: &Received) -> anyhow::Result<Peer> {
        Peer::listen_slowly(port, received, Duration::ZERO)
    }

    /// The same, but rests after each reading.
    pub fn listen_slowly(port: u16, received: &Received, rest: Duration) -> anyhow::Result<Peer> {
        let listener = TcpListener::bind(("127.0.0.1", port)).context("cannot listen as the peer")?;
        let listener = Async::new(listener)?;
        let (stop, stopped) = bounded(1);
        let received = received.clone();
        let thread = std::thread::spawn(move || serve(&listener, &stopped, &received, rest));
        Ok(Peer { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &Async<TcpListener>, stopped: &Receiver<()>, received: &Received, rest: Duration) {
    let executor = LocalExecutor::new();
    let accepting = async {
        while let Ok((stream, _)) = listener.accept().await {
            executor.spawn(hear(stream, received.clone(), rest)).detach();
        }
    };
    let stopping = async {
        let _ = stopped.recv().await;
    };
    smol::block_on(executor.run(or(stopping, accepting)));
}

async fn hear(stream: Async<TcpStream>, received: Received, rest: Duration) {
    received.arrivals().connections += 1;
    read(stream, &received, rest).await;
    received.arrivals().connections -= 1;
}

async fn read(stream: Async<TcpStream>, received: &Received, rest: Duration) {
    let _ = stream.get_ref().set_nodelay(true);
    let Ok(mut frames) = accept_async(stream).await else { return };
    while let Some(Ok(frame)) = frames.next().await {
        if let Message::Text(text) = frame {
            received.take(&text);
            if !rest.is_zero() {
                Timer::after(rest).await;
            }
        }
    }
}
