//! A connection that the broker has accepted.

use std::collections::VecDeque;
use std::time::Duration;

use holdfast_core::link::closing::Closing;
use holdfast_core::link::mqtt as meaning;
use holdfast_core::link::mqtt::flights::{Answered, Flights};
use holdfast_core::link::mqtt::outcome::Outcome;
use holdfast_core::link::mqtt::terms::Terms;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Publication, ordinals};
use holdfast_core::message::{Body, Entry};
use holdfast_core::source::mqtt::from_broker::FromBroker;
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::{or, pending};

use super::encode::{GOODBYE, PING, Packet};
use super::packet_stream::{PacketError, PacketStream};
use super::publishing::Publishes;
use crate::net::{Gauge, Stream};

/// How long outstanding PUBACKs, and then the last packet, may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The end of a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// What it means for the next one.
    pub closing: Closing,
    /// In words.
    pub error: String,
}

impl From<PacketError> for End {
    fn from(error: PacketError) -> End {
        let closing = match error {
            PacketError::Closed => Closing::Unexplained,
            PacketError::Encoding(_) | PacketError::Io(_) | PacketError::Protocol(_) => Closing::Plain,
        };
        End { closing, error: error.to_string() }
    }
}

/// Carries out orders and reports what arrives, until the connection is over. Returns what ended it.
pub async fn run(
    stream: PacketStream<Stream>,
    terms: Terms,
    (publishes, client_id): (Publishes, &str),
    orders: &Receiver<LinkOrder>,
    reports: &Sender<LinkReport>,
    gauge: &Gauge,
) -> End {
    let mut session = Session {
        stream,
        terms,
        publishes,
        client_id,
        told: Vec::new(),
        waiting: VecDeque::new(),
        handed_over: 0,
        flights: Flights::default(),
        refused_topic: None,
        pings: VecDeque::new(),
        reports,
        gauge,
    };
    let ended = session.run(orders).await;
    match ended {
        Err(end) => {
            // What it has confirmed it has, whatever ended it.
            session.report_settled().await;
            end
        }
        Ok(()) => {
            session.say_goodbye().await;
            End { closing: Closing::Plain, error: "closed by this side".to_owned() }
        }
    }
}

struct Session<'a> {
    stream: PacketStream<Stream>,
    terms: Terms,
    publishes: Publishes,
    client_id: &'a str,
    /// Reports that come before those of what is settled.
    told: Vec<LinkReport>,
    /// Taken from an order and not yet sent; new orders wait until it is empty.
    waiting: VecDeque<Outgoing>,
    /// Entries that were handed over on this connection.
    handed_over: u64,
    flights: Flights<InFlight>,
    /// Topic of the last state that the broker refused.
    refused_topic: Option<String>,
    /// Numbers of the pings that wait for their PINGRESP.
    pings: VecDeque<u64>,
    reports: &'a Sender<LinkReport>,
    gauge: &'a Gauge,
}

enum Outgoing {
    /// A lane and an entry of it, with the mark that is reported once the broker has it.
    Entry(usize, Entry, u64),
    State(Publication),
}

/// What was published and waits for its PUBACK.
#[derive(Clone)]
enum InFlight {
    /// A message of a link: its lane and its entry.
    Message(usize, Entry),
    /// Something that the next one of its kind replaces, by its topic.
    State(String),
}

enum Wake {
    Read(Result<(), PacketError>),
    Order(Option<LinkOrder>),
}

impl Session<'_> {
    /// Ends well when an order or the end of all orders closes the connection.
    async fn run(&mut self, orders: &Receiver<LinkOrder>) -> Result<(), End> {
        loop {
            // Also before the first wait: packets may have come in one segment with the CONNACK.
            self.take_packets().await?;
            self.send_waiting().await?;
            self.report_settled().await;
            match self.wake(orders).await {
                Wake::Read(read) => read?,
                Wake::Order(None | Some(LinkOrder::Close(_))) => return Ok(()),
                Wake::Order(Some(order)) => self.take_order(order),
            }
        }
    }

    async fn wake(&mut self, orders: &Receiver<LinkOrder>) -> Wake {
        let is_idle = self.waiting.is_empty();
        let order = async {
            if !is_idle {
                pending::<()>().await;
            }
            Wake::Order(orders.recv().await.ok())
        };
        or(async { Wake::Read(self.stream.read().await) }, order).await
    }

    fn take_order(&mut self, order: LinkOrder) {
        match order {
            LinkOrder::Send { lane, through, entries } => {
                let places = ordinals(self.handed_over, through, entries.len());
                self.handed_over = through;
                for (ordinal, entry) in places.zip(entries) {
                    let mark = match self.publishes {
                        Publishes::News { .. } => entry.last(),
                        Publishes::Messages(_) => ordinal,
                    };
                    self.waiting.push_back(Outgoing::Entry(lane, entry, mark));
                }
            }
            LinkOrder::Publish(publication) => self.waiting.push_back(Outgoing::State(publication)),
            LinkOrder::Ping(number) => {
                self.pings.push_back(number);
                self.stream.queued().extend_from_slice(&PING);
            }
            LinkOrder::Hello { .. }
            | LinkOrder::FrameBytes(_)
            | LinkOrder::Probe(_)
            | LinkOrder::Close(_) => {}
        }
    }

    async fn send_waiting(&mut self) -> Result<(), PacketError> {
        while self.flights.awaited() < usize::from(self.publishes.in_flight_max(&self.terms))
            && let Some(next) = self.waiting.pop_front()
        {
            self.send(next)?;
            if self.stream.is_full() {
                self.stream.flush().await?;
            }
        }
        self.stream.flush().await
    }

    fn send(&mut self, outgoing: Outgoing) -> Result<(), PacketError> {
        let (what, through, packet) = match outgoing {
            Outgoing::State(state) => {
                let packet = self.publishes.state(&state, &self.terms);
                (InFlight::State(state.topic), None, packet)
            }
            Outgoing::Entry(lane, entry, mark) => {
                let Body::Message(message) = &entry.body else {
                    // Nobody is told of a gap.
                    self.flights.skipped(Some(mark));
                    return Ok(());
                };
                let packet = self.publishes.of_message(lane, &entry, message, &self.terms);
                let what = match self.publishes {
                    Publishes::News { .. } => InFlight::State(message.topic.clone()),
                    Publishes::Messages(_) => InFlight::Message(lane, entry),
                };
                (what, Some(mark), packet)
            }
        };
        match packet {
            Ok(packet) => self.put(what, through, packet),
            Err(reason) => {
                self.refuse(what, reason);
                self.flights.skipped(through);
                Ok(())
            }
        }
    }

    fn put(&mut self, what: InFlight, through: Option<u64>, packet: Packet) -> Result<(), PacketError> {
        let id = if self.publishes.is_acknowledged(&self.terms) {
            self.flights.sent(what, through)
        } else {
            self.flights.skipped(through);
            0
        };
        packet.write(id, self.stream.queued())
    }

    /// Something is not published, or not taken.
    fn refuse(&mut self, what: InFlight, reason: String) {
        self.told.push(match what {
            InFlight::Message(lane, entry) => LinkReport::Nack { lane, seq: entry.seq, reason },
            InFlight::State(topic) => {
                let words = format!("{topic}: {reason}");
                self.refused_topic = Some(topic);
                LinkReport::StateRefused(Some(words))
            }
        });
    }

    async fn take_packets(&mut self) -> Result<(), End> {
        while let Some(packet) = self.stream.packet()? {
            self.gauge.frame();
            match packet {
                FromBroker::PingResp => {
                    // What came ahead of it is reported ahead of it.
                    self.report_settled().await;
                    if let Some(number) = self.pings.pop_front() {
                        let _ = self.reports.send(LinkReport::Pong(number)).await;
                    }
                }
                FromBroker::PubAck(answer) => {
                    self.acknowledged(answer.id, &Outcome::told(answer.code, &answer.words))?;
                }
                FromBroker::Disconnect { code, words } => {
                    let (closing, error) = meaning::closing(&Outcome::told(code, &words), self.client_id);
                    return Err(End { closing, error });
                }
                // Nothing was asked for that is answered so.
                _ => {}
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, id: u16, outcome: &Outcome) -> Result<(), End> {
        let is_numbered = |what: &InFlight| matches!(what, InFlight::Message(..));
        match self.flights.answered(id, outcome, is_numbered) {
            Answered::Taken(InFlight::State(topic)) => {
                if self.refused_topic.take_if(|refused| *refused == topic).is_some() {
                    self.told.push(LinkReport::StateRefused(None));
                }
                Ok(())
            }
            Answered::Taken(InFlight::Message(..)) => Ok(()),
            Answered::Again(what, id) => Ok(self.again(&what, id)?),
            Answered::Refused(what) => {
                self.refuse(what, format!("the broker refuses it: {outcome}"));
                Ok(())
            }
            Answered::Ends(what, closing) => {
                let error = format!("the broker refuses {}: {outcome}", self.name_of(&what));
                Err(End { closing, error })
            }
            Answered::Unknown => {
                Err(PacketError::Protocol(format!("a PUBACK for {id}, which is not in flight")).into())
            }
        }
    }

    /// Publishes it once more with this packet identifier.
    fn again(&mut self, what: &InFlight, id: u16) -> Result<(), PacketError> {
        if let InFlight::Message(lane, entry) = what
            && let Body::Message(message) = &entry.body
        {
            let packet = self.publishes.of_message(*lane, entry, message, &self.terms);
            let packet = packet.map_err(PacketError::Encoding)?;
            packet.write(id, self.stream.queued())?;
        }
        Ok(())
    }

    fn name_of(&self, what: &InFlight) -> String {
        match what {
            InFlight::State(topic) => format!("what is published on {topic:?}"),
            InFlight::Message(_, entry) => match &entry.body {
                Body::Message(message) => {
                    format!("message {} on {:?}", entry.seq, self.publishes.topic(message))
                }
                Body::Gap { .. } => "a gap".to_owned(),
            },
        }
    }

    async fn report_settled(&mut self) {
        for report in std::mem::take(&mut self.told) {
            let _ = self.reports.send(report).await;
        }
        if let Some(through) = self.flights.settle() {
            let report = match self.publishes {
                Publishes::News { .. } => LinkReport::Ack { lane: 0, seq: through },
                Publishes::Messages(_) => LinkReport::Confirmed(through),
            };
            let _ = self.reports.send(report).await;
        }
    }

    /// Waits for the PUBACKs that are due, then ends the connection so that the broker forgets the will (MQTT 3.1.1
    /// §3.14.4).
    async fn say_goodbye(&mut self) {
        within(FAREWELL, self.wait_until_settled()).await;
        let last = async {
            self.stream.queued().extend_from_slice(&GOODBYE);
            self.stream.flush().await?;
            self.stream.close().await;
            Ok(())
        };
        within(FAREWELL, last).await;
    }

    async fn wait_until_settled(&mut self) -> Result<(), End> {
        while !self.flights.is_empty() {
            self.stream.read().await?;
            let taken = self.take_packets().await;
            self.stream.flush().await?;
            self.report_settled().await;
            taken?;
        }
        Ok(())
    }
}

/// A farewell that fails or comes late changes nothing: the connection ends all the same.
async fn within(limit: Duration, work: impl Future<Output = Result<(), End>>) {
    let deadline = async {
        Timer::after(limit).await;
        Ok(())
    };
    let _ = or(work, deadline).await;
}
