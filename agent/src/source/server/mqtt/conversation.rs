//! Conversation between CONNACK and the end: messages become offers, and each is answered once it is stored.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;

use futures_util::stream::FuturesOrdered;
use holdfast_core::source::coalesce::{self, Coalesce};
use holdfast_core::source::intake::{Answer, Refused};
use holdfast_core::source::mqtt::greeting::KeepAlive;
use holdfast_core::source::mqtt::packet::Reply;
use holdfast_core::source::mqtt::reason::{Closing, Reason};
use holdfast_core::source::mqtt::session::{self, Session, Step};
use smol::Timer;
use smol::channel::Receiver;
use smol::future::{or, pending, yield_now};

use super::super::ServerState;
use super::super::access::peer::Peer;
use super::super::offering::{self, IN_FLIGHT_BYTES, Offering};
use super::batch::Batch;
use super::clients::Outbound;
use super::packet_stream::PacketStream;
use crate::os::clock;
use crate::source::intake::Outcome;

/// Packets of all kinds after which other tasks have their turn.
const PACKETS: usize = 256;
/// Bytes of messages for the client that are written at once.
const DELIVERY_BYTES: usize = 64 * 1024;

/// How a conversation ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server ends it.
    Closing(Closing),
    /// The client said goodbye.
    Leaving {
        /// Its will is published all the same.
        with_will: bool,
        /// Another session expiry in seconds.
        expiry_s: Option<u32>,
    },
    /// The client is gone without a word.
    Gone,
}

impl End {
    /// Whether the will of the client is published. When this server stops, it is not the client that is gone.
    pub fn publishes_will(&self) -> bool {
        match self {
            End::Closing(why) => why.reason != Reason::ShuttingDown,
            End::Leaving { with_will, .. } => *with_will,
            End::Gone => true,
        }
    }
}

/// A connection that was accepted.
pub struct Conversation {
    site: Rc<ServerState>,
    peer: Rc<Peer>,
    stream: PacketStream,
    session: Session,
    watch: KeepAlive,
    /// The session expiry of CONNECT.
    expiry_s: u32,
    offering: Offering,
    gather: Coalesce,
    /// Runs while the connection is left alone.
    pause: Option<Timer>,
    /// There may be packets among the bytes that were read.
    has_packets: bool,
    in_flight: usize,
    outbound: Rc<Outbound>,
    /// There may be messages for the client.
    has_news: bool,
}

/// Reason for a conversation to wake up.
enum Event {
    Stopping,
    Evicted,
    Answered(Batch, Outcome),
    Packets,
    Read(io::Result<usize>),
    Silent,
    News,
}

impl Conversation {
    /// With what is known of the client.
    pub fn new(
        site: Rc<ServerState>,
        peer: Rc<Peer>,
        stream: PacketStream,
        session: Session,
        watch: KeepAlive,
        expiry_s: u32,
        outbound: Outbound,
    ) -> Conversation {
        let gather = Coalesce::new(clock::now().mono);
        let offering = Offering::new(site.intake.clone(), peer.remote);
        let (pause, has_packets) = (None, true);
        Conversation {
            site,
            peer,
            stream,
            session,
            watch,
            expiry_s,
            offering,
            gather,
            pause,
            has_packets,
            in_flight: 0,
            outbound: Rc::new(outbound),
            has_news: true,
        }
    }

    /// Parts that outlive it.
    pub fn into_parts(self) -> (PacketStream, Session) {
        (self.stream, self.session)
    }

    /// Returns once nothing more comes and everything that came is stored or refused, or at once when the agent stops.
    pub async fn run(&mut self, evicted: &Receiver<Infallible>) -> End {
        let intake = self.site.intake.clone();
        let mut stopping = pin!(intake.stopping());
        let mut offers = FuturesOrdered::new();
        let mut ended = None;
        loop {
            if ended.is_none() {
                self.deliver();
            }
            self.stream.flush().await;
            if self.stream.is_gone() && ended.is_none() {
                ended = Some(End::Gone);
            }
            if let Some(end) = ended.take_if(|_| offers.is_empty()) {
                return end;
            }
            let event = self.next_event(stopping.as_mut(), evicted, &mut offers, ended.is_none()).await;
            let end = match event {
                Event::Stopping => return End::Closing(session::closing(&Refused::Stopping)),
                Event::Evicted => {
                    Err(closed(Reason::TakenOver, "another connection came with this client identifier"))
                }
                Event::Silent => {
                    Err(closed(Reason::KeepAlive, "nothing came for one and a half of the keep-alive"))
                }
                Event::Answered(batch, outcome) => self.conclude(batch, outcome).await.map_err(End::Closing),
                Event::Read(Ok(0)) => Err(End::Gone),
                Event::Read(Err(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                    Err(closed(Reason::Quota, error.to_string()))
                }
                Event::Read(Err(_)) => Err(End::Gone),
                Event::Read(Ok(_)) => {
                    self.has_packets = true;
                    Ok(())
                }
                Event::News => {
                    self.has_news = true;
                    Ok(())
                }
                Event::Packets => {
                    let (batch, end) = self.take();
                    if !batch.is_empty() {
                        offers.push_back(self.offer(batch));
                    }
                    yield_now().await;
                    end
                }
            };
            ended = ended.or(end.err());
        }
    }

    async fn next_event(
        &mut self,
        stopping: impl Future<Output = ()>,
        evicted: &Receiver<Infallible>,
        offers: &mut FuturesOrdered<impl Future<Output = (Batch, Outcome)>>,
        is_open: bool,
    ) -> Event {
        let has_room = self.in_flight < IN_FLIGHT_BYTES && self.session.has_room();
        let reading = is_open && has_room && self.offering.busy().get() == 0;
        let stop = async {
            stopping.await;
            Event::Stopping
        };
        let evict = async {
            if !is_open {
                return pending().await;
            }
            // Nothing is ever sent: the sender goes.
            let _ = evicted.recv().await;
            Event::Evicted
        };
        let answer = async {
            let (batch, outcome) = offering::next(offers).await;
            Event::Answered(batch, outcome)
        };
        let (outbound, has_news) = (self.outbound.clone(), self.has_news);
        let news = async {
            match (is_open, has_news) {
                (false, _) => pending().await,
                (true, true) => {}
                (true, false) => outbound.woken().await,
            }
            Event::News
        };
        let read = async {
            if !reading {
                return pending().await;
            }
            if let Some(pause) = &mut self.pause {
                pause.await;
            }
            self.pause = None;
            while let Err(wait) = self.peer.pass(&self.site, 0) {
                Timer::after(wait).await;
                // A client that is held back is not silent.
                self.watch.heard(clock::now().mono);
            }
            if self.has_packets {
                return Event::Packets;
            }
            or(async { Event::Read(self.stream.fill().await) }, silence(&mut self.watch)).await
        };
        or(or(stop, answer), or(evict, or(read, news))).await
    }

    /// Queues messages for the client, up to a bound; more of them follow when these are written.
    fn deliver(&mut self) {
        if !std::mem::take(&mut self.has_news) {
            return;
        }
        while self.stream.queued() < DELIVERY_BYTES {
            let Some(outgoing) = self.outbound.next() else { return self.outbound.rest() };
            self.stream.queue(&Reply::Publish(outgoing));
        }
        self.has_news = true;
    }

    /// The packets that were read, up to a bound. The error ends the conversation, behind what is in the batch.
    fn take(&mut self) -> (Batch, Result<(), End>) {
        let mut batch = Batch::default();
        let end = self.take_into(&mut batch);
        let count = batch.len();
        let dense = self.gather.read(clock::now().mono, count);
        self.pause = dense.then(|| Timer::after(coalesce::PAUSE));
        batch.held = self.stream.complete(batch.weight());
        if batch.is_empty() {
            self.peer.share.stored(batch.held);
        }
        self.in_flight += batch.weight();
        // Excess messages are owed: nothing more is read until they are paid.
        let passing = if count == 0 { 0 } else { self.peer.pass(&self.site, count).unwrap_or(0) };
        self.peer.spend(&self.site, count - passing);
        (batch, end)
    }

    fn take_into(&mut self, batch: &mut Batch) -> Result<(), End> {
        let mut packets = 0;
        while packets < PACKETS && !batch.is_full() && self.session.has_room() {
            let Some(packet) = self.stream.packet().map_err(End::Closing)? else {
                self.has_packets = false;
                break;
            };
            packets += 1;
            match self.session.take(packet).map_err(End::Closing)? {
                Step::Nothing => {}
                Step::Offer(publish) => batch.push(&self.site, publish),
                Step::Reply(reply) => self.stream.queue(&reply),
                Step::Subscribe(subscribe) => {
                    let codes = self.outbound.subscribe(&subscribe);
                    self.stream.queue(&Reply::SubAck(subscribe.id, codes));
                }
                Step::Unsubscribe(id, filters) => {
                    let codes = self.outbound.unsubscribe(&filters);
                    self.stream.queue(&Reply::UnsubAck(id, codes));
                }
                Step::Acknowledged(id) => {
                    self.outbound.acknowledged(id);
                    self.has_news = true;
                }
                Step::Leave { with_will, expiry_s } => {
                    // 5.0 §3.14.2.2.2.
                    if self.expiry_s == 0 && expiry_s.is_some_and(|seconds| seconds > 0) {
                        return Err(closed(
                            Reason::Protocol,
                            "DISCONNECT makes a session last that CONNECT did not",
                        ));
                    }
                    return Err(End::Leaving { with_will, expiry_s });
                }
            }
        }
        if packets > 0 {
            self.watch.heard(clock::now().mono);
        }
        Ok(())
    }

    fn offer(&self, mut batch: Batch) -> impl Future<Output = (Batch, Outcome)> + use<> {
        let drafts = batch.take_drafts();
        self.offering.offer(batch, Ok(drafts))
    }

    /// Ends the way of one batch: stored and acknowledged, offered again while the loop is busy, or refused.
    async fn conclude(&mut self, mut batch: Batch, outcome: Outcome) -> Result<(), Closing> {
        let answer = self.offering.settle(outcome).await;
        self.in_flight -= batch.weight();
        self.peer.share.stored(batch.held);
        let unfit = batch.unfit.take();
        match answer {
            Answer::Stored { .. } => {
                for delivery in batch.deliveries() {
                    if let Some(reply) = self.session.stored(delivery) {
                        self.stream.queue(&reply);
                    }
                }
            }
            Answer::Refused(refused) => {
                batch.deliveries().for_each(|delivery| self.session.failed(delivery));
                if let Some((delivery, _)) = unfit {
                    self.session.failed(delivery);
                }
                return Err(session::closing(&refused));
            }
        }
        if let Some((delivery, why)) = unfit {
            log::debug!("message refused source={} from={}: {why}", self.site.source, self.peer.remote);
            let reply = self.session.unfit(delivery, why)?;
            self.stream.queue(&reply);
        }
        // Silence counts from where it may speak again.
        self.watch.heard(clock::now().mono);
        Ok(())
    }
}

/// Returns when the client has been silent for too long.
async fn silence(watch: &mut KeepAlive) -> Event {
    let Some(deadline) = watch.deadline() else { return pending().await };
    Timer::after(deadline.since(clock::now().mono)).await;
    Event::Silent
}

fn closed(reason: Reason, words: impl Into<String>) -> End {
    End::Closing(Closing::new(reason, words))
}
