//! Those who send: they keep a number for each reading and note which of them were told to be stored.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::load::{answer, reading};
use super::peer::length_of;

/// One in so many readings is too large for one value of the store.
const LARGE_EACH: u64 = 60;
/// Readings of one request of NDJSON.
const LINES: u64 = 20;

/// How many there are.
const SENSORS: usize = 2;

/// Sensors of one agent. Each reading is sent once, whatever becomes of it.
pub struct Sensors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    next: AtomicU64,
    ending: AtomicBool,
    /// Pause between two requests, in microseconds.
    pause_us: AtomicU64,
    ledger: Mutex<Ledger>,
    /// Requests of each that were told to be stored.
    served: [AtomicU64; SENSORS],
}

#[derive(Default)]
struct Ledger {
    /// Number of a reading, and the length of the recording when it was told to be stored.
    stored: Vec<(u64, u64)>,
    recording: Option<PathBuf>,
}

impl Sensors {
    /// Starts two: one posts one reading after the other, one posts lines of many. Numbers go up from `first`.
    pub fn start(address: &str, pause: Duration, first: u64) -> Sensors {
        let shared = Arc::new(Shared { next: first.into(), ..Shared::default() });
        shared.pause_us.store(u64::try_from(pause.as_micros()).unwrap_or(0), Ordering::Relaxed);
        let threads = [1, LINES].into_iter().enumerate().map(|(index, lines)| {
            let (shared, address) = (Arc::clone(&shared), address.to_owned());
            std::thread::spawn(move || shared.run(&address, index, lines))
        });
        Sensors { threads: threads.collect(), shared }
    }

    /// Notes the length of this file with each answer from here on.
    pub fn beside(&self, recording: &Path) {
        self.shared.ledger().recording = Some(recording.to_owned());
    }

    /// Ends them. Gives what [`Sensors::stored`] gives, and the first number that no reading has.
    pub fn end(mut self) -> (Vec<(u64, u64)>, u64) {
        self.join();
        (self.stored(), self.shared.next.load(Ordering::Relaxed))
    }

    /// How many readings were told to be stored.
    pub fn count(&self) -> usize {
        self.shared.ledger().stored.len()
    }

    /// How many requests of each were told to be stored.
    pub fn served(&self) -> [u64; SENSORS] {
        self.shared.served.each_ref().map(|served| served.load(Ordering::Relaxed))
    }

    /// The readings that were told to be stored, each with the length of the recording at that moment.
    pub fn stored(&self) -> Vec<(u64, u64)> {
        self.shared.ledger().stored.clone()
    }
}

impl Drop for Sensors {
    fn drop(&mut self) {
        self.join();
    }
}

impl Sensors {
    fn join(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, address: &str, index: usize, lines: u64) {
        while !self.ending.load(Ordering::Relaxed) {
            match TcpStream::connect(address) {
                Ok(stream) => drop(self.post(&stream, index, lines)),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Posts until the connection breaks.
    fn post(&self, stream: &TcpStream, index: usize, lines: u64) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut answers = BufReader::new(stream);
        while !self.ending.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_micros(self.pause_us.load(Ordering::Relaxed)));
            let first = self.next.fetch_add(lines, Ordering::Relaxed);
            let body: Vec<String> = (first..first + lines).map(payload).collect();
            request(stream, body.join("\n").as_bytes())?;
            let (status, _) = answer(&mut answers)?;
            if status == 200 {
                self.note(first..first + lines);
                self.served[index].fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn note(&self, numbers: std::ops::Range<u64>) {
        let mut ledger = self.ledger();
        let position = ledger.recording.as_ref().map_or(0, |file| length_of(file));
        ledger.stored.extend(numbers.map(|number| (number, position)));
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics with it")
    }
}

/// Asks for readings to be stored, one a line.
pub fn request(mut stream: &TcpStream, body: &[u8]) -> std::io::Result<()> {
    let head = "POST /press/reading HTTP/1.1\r\nHost: proof\r\nContent-Type: application/x-ndjson\r\nContent-Length: ";
    let mut request = format!("{head}{}\r\n\r\n", body.len()).into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request)
}

/// The reading of this number: about 200 bytes, now and then 12 kB that do not shrink.
pub fn payload(number: u64) -> String {
    let small = reading(number);
    if number % LARGE_EACH != LARGE_EACH - 1 {
        return small;
    }
    let mut chance = fastrand::Rng::with_seed(number);
    let noise: String = (0..12_000).map(|_| chance.alphanumeric()).collect();
    format!("{},\"noise\":\"{noise}\"}}", small.trim_end_matches('}'))
}
