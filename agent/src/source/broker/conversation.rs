//! What is said to a broker that has accepted the connection: topics are subscribed to, messages become offers, and each is acknowledged once it is stored.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Peer, Refusal, RefusalKind};
use holdfast_core::source::bucket::Bucket;
use holdfast_core::source::coalesce::{self, Coalesce};
use holdfast_core::source::intake::{Answer, Draft, Refused};
use holdfast_core::source::mqtt::from_broker::Found;
use holdfast_core::source::mqtt::to_broker;
use holdfast_core::source::subscriber::{self, Batch, Taken, Why};
use holdfast_core::time::Time;
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::{or, pending, yield_now};

use super::packet_stream::PacketStream;
use super::{BrokerSource, settings};
use crate::net::Gauge;
use crate::os::clock;
use crate::source::intake::Intake;

/// Weight of the messages that may wait for their answers; nothing more is read meanwhile.
const IN_FLIGHT_BYTES: usize = 1 << 20;
/// Packets of all kinds after which other tasks have their turn.
const PACKETS: usize = 256;
/// Pause before a batch that found the loop busy is offered again.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// The same of one that was refused, doubled each time up to the second.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long the messages that are offered may take to be stored when this side ends the connection, and then the last packet.
const FAREWELL: Duration = Duration::from_secs(1);
/// Packet identifiers of SUBSCRIBE and UNSUBSCRIBE.
const SUBSCRIBE_ID: u16 = 1;
const UNSUBSCRIBE_ID: u16 = 2;

/// A connection that the broker has accepted.
pub struct Conversation<'a> {
    feed: &'a BrokerSource,
    stream: PacketStream,
    /// Told of once the topics are subscribed to.
    peer: Option<Peer>,
    reports: &'a Sender<LinkReport>,
    gauge: &'a Gauge,
    filters: Vec<String>,
    /// Numbers of the pings that wait for their PINGRESP.
    pings: VecDeque<u64>,
    /// PINGRESPs that answer pings of which a report was made already.
    told_pings: usize,
    /// Batches that were offered, and those of them that are answered.
    offered: u64,
    answered: Rc<Cell<u64>>,
    /// Batches that were not taken, and are offered again.
    waiting: Rc<Cell<u32>>,
    in_flight: usize,
    gather: Coalesce,
    /// Runs while the connection is left alone.
    pause: Option<Timer>,
    /// There may be packets among the bytes that were read.
    has_packets: bool,
    pace: Option<Pace>,
    /// The agent is stopping: nothing more is taken.
    is_closed: bool,
    told_unmatched: bool,
}

/// `limits.rate`
struct Pace {
    bucket: Bucket,
    filled_at: Time,
}

enum Event {
    Order(Option<LinkOrder>),
    Answered(Batch, Answer),
    Packets,
    Read(Result<(), Refusal>),
    Paced,
    Stopping,
}

impl<'a> Conversation<'a> {
    /// Nothing was said since CONNACK.
    pub fn new(
        feed: &'a BrokerSource,
        stream: PacketStream,
        peer: Peer,
        reports: &'a Sender<LinkReport>,
        gauge: &'a Gauge,
    ) -> Conversation<'a> {
        let now = clock::now().mono;
        let pace = feed.source.limits.rate.map(|rate| Pace {
            bucket: Bucket::new(rate.amount, rate.per.seconds(), rate.burst),
            filled_at: now,
        });
        Conversation {
            feed,
            stream,
            peer: Some(peer),
            reports,
            gauge,
            filters: feed.filters(),
            pings: VecDeque::new(),
            told_pings: 0,
            offered: 0,
            answered: Rc::default(),
            waiting: Rc::default(),
            in_flight: 0,
            gather: Coalesce::new(now),
            pause: None,
            has_packets: true,
            pace,
            is_closed: false,
            told_unmatched: false,
        }
    }

    /// Goes on until the connection is over. Returns why it is, and whether the topics had been subscribed to.
    pub async fn run(mut self, orders: &Receiver<LinkOrder>) -> (Refusal, bool) {
        let end = match self.converse(orders).await {
            Ok(()) => Refusal::new(DialError::Broken, "closed by this side"),
            Err(end) => end,
        };
        (end, self.peer.is_none())
    }

    /// Ends well when an order or the end of all orders closes the connection.
    async fn converse(&mut self, orders: &Receiver<LinkOrder>) -> Result<(), Refusal> {
        let intake = self.feed.intake.clone();
        let mut stopping = pin!(intake.stopping());
        let mut offers = FuturesOrdered::new();
        self.subscribe().map_err(settings)?;
        loop {
            self.stream.flush().await?;
            match self.next_event(orders, stopping.as_mut(), &mut offers).await {
                Event::Order(Some(LinkOrder::Ping(number))) => {
                    self.pings.push_back(number);
                    self.stream.queue_with(to_broker::ping);
                }
                Event::Order(None | Some(LinkOrder::Close(_))) => {
                    self.say_goodbye(&mut offers).await;
                    return Ok(());
                }
                // Nothing is sent to a broker that messages come from.
                Event::Order(Some(
                    LinkOrder::Hello { .. }
                    | LinkOrder::Send { .. }
                    | LinkOrder::FrameBytes(_)
                    | LinkOrder::Probe(_)
                    | LinkOrder::Publish(_),
                ))
                | Event::Paced => {}
                Event::Stopping => self.is_closed = true,
                Event::Answered(batch, answer) => self.conclude(batch, answer).await,
                Event::Read(read) => {
                    read?;
                    self.has_packets = true;
                }
                Event::Packets => {
                    let batch = self.take().await?;
                    if !batch.is_empty() {
                        offers.push_back(self.offer(batch));
                    }
                    yield_now().await;
                }
            }
        }
    }

    fn subscribe(&mut self) -> Result<(), String> {
        let mqtt = self.feed.mqtt();
        let (version, qos) = (subscriber::version(mqtt), subscriber::qos(mqtt));
        let (unwanted, handling) = {
            let mut subscriber = self.feed.subscriber.borrow_mut();
            (subscriber.unwanted(&self.filters), subscriber.retain_handling())
        };
        if !unwanted.is_empty() {
            let filters: Vec<&str> = unwanted.iter().map(String::as_str).collect();
            self.stream.queue_with(|out| to_broker::unsubscribe(out, version, UNSUBSCRIBE_ID, &filters))?;
        }
        let filters: Vec<_> = self.filters.iter().map(|filter| (filter.as_str(), qos, handling)).collect();
        self.stream.queue_with(|out| to_broker::subscribe(out, version, SUBSCRIBE_ID, &filters))
    }

    async fn next_event(
        &mut self,
        orders: &Receiver<LinkOrder>,
        stopping: impl Future<Output = ()>,
        offers: &mut FuturesOrdered<impl Future<Output = (Batch, Answer)>>,
    ) -> Event {
        let wait = self.pace.as_mut().and_then(Pace::wait);
        let has_room = self.in_flight < IN_FLIGHT_BYTES && self.feed.subscriber.borrow().has_room();
        let reading = !self.is_closed && has_room && self.waiting.get() == 0 && wait.is_none();
        if !reading {
            self.tell_pings().await;
        }
        let is_closed = self.is_closed;
        let stop = async {
            if is_closed {
                return pending().await;
            }
            stopping.await;
            Event::Stopping
        };
        let answer = async {
            match offers.next().await {
                Some((batch, answer)) => Event::Answered(batch, answer),
                None => pending().await,
            }
        };
        let order = async { Event::Order(orders.recv().await.ok()) };
        let read = async {
            match wait.filter(|_| has_room) {
                Some(wait) => {
                    Timer::after(wait).await;
                    return Event::Paced;
                }
                None if !reading => return pending().await,
                None => {}
            }
            if let Some(pause) = &mut self.pause {
                pause.await;
            }
            self.pause = None;
            if self.has_packets {
                return Event::Packets;
            }
            Event::Read(self.stream.fill().await)
        };
        or(or(stop, answer), or(order, read)).await
    }

    /// While nothing is read, a PINGRESP would not be, and the broker is not to blame for that: the connection counts as alive as long as it takes our pings.
    async fn tell_pings(&mut self) {
        while let Some(number) = self.pings.pop_front() {
            self.told_pings += 1;
            let _ = self.reports.send(LinkReport::Pong(number)).await;
        }
    }

    async fn ponged(&mut self) {
        if self.told_pings > 0 {
            self.told_pings -= 1;
        } else if let Some(number) = self.pings.pop_front() {
            let _ = self.reports.send(LinkReport::Pong(number)).await;
        }
    }

    /// The packets that were read, up to a bound.
    async fn take(&mut self) -> Result<Batch, Refusal> {
        let mut batch = Batch::default();
        let mut packets = 0;
        while packets < PACKETS && !batch.is_full() && self.feed.subscriber.borrow().has_room() {
            let Some(found) = self.stream.found()? else {
                self.has_packets = false;
                break;
            };
            packets += 1;
            self.gauge.frame();
            self.take_in(found, &mut batch).await?;
        }
        let now = clock::now().mono;
        let dense = self.gather.read(now, batch.len());
        self.pause = dense.then(|| Timer::after(coalesce::PAUSE));
        if let Some(pace) = &mut self.pace {
            pace.bucket.spend(batch.len() as i128);
        }
        self.in_flight += batch.weight();
        Ok(batch)
    }

    async fn take_in(&mut self, found: Found, batch: &mut Batch) -> Result<(), Refusal> {
        let taken = self.feed.subscriber.borrow_mut().take(found);
        match taken.map_err(|why| Refusal::new(DialError::Broken, why.words))? {
            Taken::Nothing => {}
            Taken::Reply(reply) => self.stream.queue(&reply),
            Taken::Pong => self.ponged().await,
            Taken::Subscribed(codes) => self.subscribed(&codes).await?,
            Taken::Passed(pending, why) => batch.pass(pending, why),
            Taken::Message(publish, pending) => {
                let router = self.feed.router.borrow().clone();
                let topic = publish.topic.clone();
                let (draft, work) = router.draft(publish);
                batch.work += work;
                match draft {
                    Ok(draft) => batch.store(pending, draft),
                    Err(why) => {
                        self.tell_passed(&topic, &why);
                        batch.pass(pending, why);
                    }
                }
            }
        }
        Ok(())
    }

    fn tell_passed(&mut self, topic: &str, why: &Why) {
        let id = &self.feed.source.id;
        match why {
            Why::Unfit(closing) => log::debug!("message refused source=source:{id}: {closing}"),
            Why::Retained => {}
            // The broker can repeat it at will.
            Why::Unmatched if std::mem::replace(&mut self.told_unmatched, true) => {}
            Why::Unmatched => log::warn!(
                event = "unmatched", source = id.as_str(), topic;
                "source:{id} gets {topic:?}, which mqtt.topics does not mean, and does not store it: the session at the broker has subscriptions of an earlier \
                 configuration; another client_id begins another session"
            ),
        }
    }

    async fn subscribed(&mut self, codes: &[u8]) -> Result<(), Refusal> {
        let Some(peer) = self.peer.clone() else { return Ok(()) };
        let faults = subscriber::faults(&self.filters, subscriber::qos(self.feed.mqtt()), codes);
        if subscriber::is_refused(codes) {
            let cause = DialError::Mqtt(RefusalKind::Unauthorized);
            return Err(Refusal::new(cause, faults.join("; ")));
        }
        self.peer = None;
        for fault in &faults {
            let id = &self.feed.source.id;
            log::warn!(event = "subscription_refused", source = id.as_str(), error = fault.as_str(); "source:{id} does not get its topics as asked: {fault}");
        }
        let _ = self.reports.send(LinkReport::Up(peer)).await;
        let _ = self.reports.send(LinkReport::Subscribed(faults)).await;
        Ok(())
    }

    /// Offers a batch until it is taken. One that is not is offered again when those before it are answered, so that none passes another.
    fn offer(&mut self, mut batch: Batch) -> impl Future<Output = (Batch, Answer)> + use<> {
        let (intake, reports) = (self.feed.intake.clone(), self.reports.clone());
        let (waiting, answered, own) = (self.waiting.clone(), self.answered.clone(), self.offered);
        self.offered += 1;
        let drafts = batch.take_drafts();
        async move {
            if drafts.is_empty() {
                return (batch, Answer::Stored { first: 1, last: 0 });
            }
            let mut outcome = intake.offer_or_take_back(drafts.clone(), None).await;
            if is_final(&outcome) {
                return (batch, outcome.unwrap_or(Answer::Refused(Refused::Busy)));
            }
            waiting.set(waiting.get() + 1);
            while answered.get() < own {
                Timer::after(BUSY_PAUSE).await;
            }
            let answer = insist(&intake, &reports, &drafts, &mut outcome).await;
            waiting.set(waiting.get() - 1);
            (batch, answer)
        }
    }

    /// Ends the way of one batch: stored and acknowledged, or given back to the broker.
    async fn conclude(&mut self, batch: Batch, answer: Answer) {
        self.answered.set(self.answered.get() + 1);
        self.in_flight -= batch.weight();
        match answer {
            Answer::Stored { .. } => {
                let (replies, took) = self.feed.subscriber.borrow_mut().stored(batch);
                replies.iter().for_each(|reply| self.stream.queue(reply));
                let _ = self.reports.send(LinkReport::Took(took)).await;
            }
            // Nothing but the end of the agent is final.
            Answer::Refused(_) => {
                self.feed.subscriber.borrow_mut().failed(&batch);
                self.is_closed = true;
            }
        }
    }

    /// What is offered is acknowledged if it is stored soon, then the connection ends in order, and the broker keeps the session.
    async fn say_goodbye(&mut self, offers: &mut FuturesOrdered<impl Future<Output = (Batch, Answer)>>) {
        let settle = async {
            while let Some((batch, answer)) = offers.next().await {
                self.conclude(batch, answer).await;
            }
        };
        or(settle, late()).await;
        let last = async {
            self.stream.queue_with(to_broker::disconnect);
            if self.stream.flush().await.is_ok() {
                self.stream.close().await;
            }
        };
        or(last, late()).await;
    }
}

impl Pace {
    /// How long until another message may be read; none when one may.
    fn wait(&mut self) -> Option<Duration> {
        let now = clock::now().mono;
        self.bucket.fill(i128::try_from(now.since(self.filled_at).as_nanos()).unwrap_or(i128::MAX));
        self.filled_at = now;
        let wait = u64::try_from(self.bucket.wait_ns()).unwrap_or(u64::MAX);
        (wait > 0).then(|| Duration::from_nanos(wait))
    }
}

/// Whether a batch need not be offered again.
fn is_final(outcome: &Result<Answer, Vec<Draft>>) -> bool {
    matches!(outcome, Ok(Answer::Stored { .. } | Answer::Refused(Refused::Stopping)))
}

/// Offers messages again until they are stored or the agent stops, and tells why they wait. The broker holds what comes meanwhile.
async fn insist(
    intake: &Intake,
    reports: &Sender<LinkReport>,
    drafts: &[Draft],
    outcome: &mut Result<Answer, Vec<Draft>>,
) -> Answer {
    let (mut pause, mut is_told) = (REFUSED_PAUSE, false);
    loop {
        match outcome {
            Ok(answer @ (Answer::Stored { .. } | Answer::Refused(Refused::Stopping))) => {
                if is_told {
                    let _ = reports.send(LinkReport::Holds(None)).await;
                }
                return answer.clone();
            }
            Ok(Answer::Refused(refused)) if *refused != Refused::Busy => {
                if !std::mem::replace(&mut is_told, true) {
                    let _ = reports.send(LinkReport::Holds(Some(refused.to_string()))).await;
                }
                Timer::after(pause).await;
                pause = (pause * 2).min(REFUSED_PAUSE_MAX);
            }
            Ok(Answer::Refused(_)) | Err(_) => {
                Timer::after(BUSY_PAUSE).await;
            }
        }
        *outcome = intake.offer_or_take_back(drafts.to_vec(), None).await;
    }
}

async fn late() {
    Timer::after(FAREWELL).await;
}
