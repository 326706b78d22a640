//! A link whose server can be reached: orders fill the queue while a request is under way, and each answer is reported.

use std::pin::pin;
use std::time::Duration;

use holdfast_core::link::closing::Closing;
use holdfast_core::link::http_status::Meaning;
use holdfast_core::link::post_queue::PostQueue;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Refusal, RefusalKind};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::{or, pending};

use super::poster::{Answer, Poster};
use crate::os::clock;

/// How long the answer to a last request may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Carries out orders and reports what is answered, until the link is over.
pub async fn run(
    poster: Poster,
    queue: PostQueue,
    orders: &Receiver<LinkOrder>,
    reports: &Sender<LinkReport>,
) {
    let mut session = Session { poster, queue, orders, reports, is_ending: false };
    let last = session.run().await;
    let _ = reports.send(last).await;
}

struct Session<'a> {
    poster: Poster,
    queue: PostQueue,
    orders: &'a Receiver<LinkOrder>,
    reports: &'a Sender<LinkReport>,
    /// Whether goodbye was said.
    is_ending: bool,
}

enum Wake {
    Order(Option<LinkOrder>),
    Answer(Result<Answer, Refusal>),
    Due,
}

impl Session<'_> {
    /// Returns the last report.
    async fn run(&mut self) -> LinkReport {
        while !self.is_ending {
            // All that is there goes into one request.
            while let Ok(order) = self.orders.try_recv() {
                self.take(Some(order)).await;
            }
            if self.is_ending {
                break;
            }
            let reports = match self.queue.next(clock::now().mono) {
                Some(post) => self.post(post.body).await,
                None => {
                    let order = self.wait().await;
                    if let Wake::Order(order) = order {
                        self.take(order).await;
                    }
                    Vec::new()
                }
            };
            for report in reports {
                if matches!(report, LinkReport::Closed { .. }) {
                    return report;
                }
                let _ = self.reports.send(report).await;
            }
        }
        LinkReport::Closed { closing: Closing::Plain, error: "closed by this side".to_owned() }
    }

    async fn take(&mut self, order: Option<LinkOrder>) {
        match order {
            Some(LinkOrder::Send { lane, through, entries }) => {
                if let Some(report) = self.queue.push(clock::now().mono, lane, through, entries) {
                    let _ = self.reports.send(report).await;
                }
            }
            Some(LinkOrder::Close(_)) | None => self.is_ending = true,
            Some(
                LinkOrder::Hello { .. }
                | LinkOrder::FrameBytes(_)
                | LinkOrder::Ping(_)
                | LinkOrder::Probe(_)
                | LinkOrder::Publish(_),
            ) => {}
        }
    }

    /// Waits for something to do, with an eye on the connection that is kept.
    async fn wait(&mut self) -> Wake {
        let deadline = self.queue.deadline();
        let due = async {
            match deadline {
                Some(at) => Timer::after(at.since(clock::now().mono)).await,
                None => pending().await,
            };
            Wake::Due
        };
        let order = async { Wake::Order(self.orders.recv().await.ok()) };
        let closed = async {
            self.poster.closed().await;
            Wake::Due
        };
        or(order, or(due, closed)).await
    }

    /// Posts a body and takes orders meanwhile. Returns what is to be reported.
    async fn post(&mut self, body: Vec<u8>) -> Vec<LinkReport> {
        let Session { poster, queue, orders, reports, is_ending } = self;
        let mut posting = pin!(poster.post(body));
        let answered = loop {
            let answer = async { Wake::Answer(posting.as_mut().await) };
            let wake = match is_ending {
                false => or(answer, async { Wake::Order(orders.recv().await.ok()) }).await,
                true => {
                    let late = async {
                        Timer::after(FAREWELL).await;
                        Wake::Due
                    };
                    or(answer, late).await
                }
            };
            match wake {
                Wake::Answer(answer) => break answer,
                Wake::Order(Some(LinkOrder::Send { lane, through, entries })) => {
                    let report = queue.push(clock::now().mono, lane, through, entries);
                    // While a request is under way there is always one in front that it can go with.
                    if let Some(report) = report {
                        let _ = reports.send(report).await;
                    }
                }
                Wake::Order(Some(LinkOrder::Close(_)) | None) => *is_ending = true,
                Wake::Order(Some(_)) => {}
                Wake::Due => return Vec::new(),
            }
        };
        match answered {
            Ok(answer) => queue.answered(Meaning::of(answer.status, answer.retry_after), &answer.words),
            Err(refusal) => {
                let closing = closing(refusal.cause.kind());
                vec![LinkReport::Closed { closing, error: refusal.to_string() }]
            }
        }
    }
}

fn closing(kind: RefusalKind) -> Closing {
    match kind {
        RefusalKind::Retry => Closing::Plain,
        RefusalKind::Unauthorized => Closing::Unauthorized,
        RefusalKind::Busy { retry_after } => Closing::Busy { retry_after },
    }
}
