//! The sensor of the demo: a WebSocket client that sends readings and remembers which of them it was told are stored.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use async_tungstenite::client_async;
use async_tungstenite::tungstenite::Message;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use smol::Timer;
use smol::future::or;
use smol::net::TcpStream;

/// Readings go out in small bundles, so that a second has 200 of them.
const BUNDLE: u64 = 4;
const PAUSE: Duration = Duration::from_millis(20);
/// An agent that is away is tried again after this.
const RETRY: Duration = Duration::from_millis(50);

/// Knowledge of the sensor.
#[derive(Debug, Default)]
pub struct Sensor {
    sent: Cell<u64>,
    stored: RefCell<Vec<u64>>,
    over: Cell<bool>,
}

impl Sensor {
    /// Readings that were sent.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Number of readings that it was told are stored.
    pub fn stored(&self) -> usize {
        self.stored.borrow().len()
    }

    /// Their numbers.
    pub fn promised(&self) -> Vec<u64> {
        self.stored.borrow().clone()
    }

    /// Sends nothing more.
    pub fn end(&self) {
        self.over.set(true);
    }

    /// Sends readings to the agent at this address, through all of its lives. What was not answered when it went is not sent
    /// again: it was never promised.
    pub async fn run(&self, address: &str) {
        while !self.over.get() {
            // A connection that breaks is part of the story.
            let _ = self.connection(address).await;
            Timer::after(RETRY).await;
        }
    }

    async fn connection(&self, address: &str) -> anyhow::Result<()> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{address}/kitchen/temperature?confirm=1");
        let (mut out, mut back) = client_async(url, stream).await?.0.split();
        let unanswered = RefCell::new(VecDeque::new());
        let sending = async {
            while !self.over.get() || !unanswered.borrow().is_empty() {
                for _ in 0..if self.over.get() { 0 } else { BUNDLE } {
                    let number = self.sent.get() + 1;
                    unanswered.borrow_mut().push_back(number);
                    out.feed(Message::text(reading(number))).await?;
                    self.sent.set(number);
                }
                out.flush().await?;
                Timer::after(PAUSE).await;
            }
            anyhow::Ok(())
        };
        let hearing = async {
            while let Some(Ok(Message::Text(answer))) = back.next().await {
                let answer: Value = serde_json::from_str(&answer)?;
                let number = unanswered.borrow_mut().pop_front();
                if let Some(number) = number.filter(|_| answer["stored"].is_u64()) {
                    self.stored.borrow_mut().push(number);
                }
            }
            anyhow::Ok(())
        };
        or(sending, hearing).await
    }
}

fn reading(number: u64) -> String {
    let degrees = 21.0 + (number as f64 / 40.0).sin() * 1.5;
    format!("{{\"n\":{number},\"t\":{degrees:.2}}}")
}
