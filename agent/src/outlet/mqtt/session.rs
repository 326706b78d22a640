//! A connection that the broker has accepted.

use std::collections::VecDeque;
use std::time::Duration;

use holdfast_core::config::client::Client;
use holdfast_core::config::route::expand;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Publication};
use holdfast_core::message::{Body, Entry, Message};
use rumqttc::mqttbytes::v4::{Packet, Publish};
use rumqttc::{MqttState, QoS, Request};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::{or, pending};

use super::flight::Flights;
use super::packet_stream::{PACKET_MAX, PacketError, PacketStream};
use crate::net::{Gauge, Stream};

/// Publications in flight, unacknowledged.
const INFLIGHT_MAX: u16 = 100;
/// The same of a link, whatever its window.
const LINK_INFLIGHT_MAX: u16 = 10_000;
/// How long outstanding PUBACKs, and then the last packet, may take.
const FAREWELL: Duration = Duration::from_secs(1);
const PACKET_ID_BYTES: usize = 2;
const TOPIC_MAX: usize = 65_535;

/// Carries out orders and reports what arrives, until the connection is over. Returns what ended it.
pub async fn run(
    stream: PacketStream<Stream>,
    publishes: Publishes,
    orders: &Receiver<LinkOrder>,
    reports: &Sender<LinkReport>,
    gauge: &Gauge,
) -> String {
    let mut session = Session {
        stream,
        state: MqttState::new(publishes.in_flight_max(), false),
        publishes,
        refused: Vec::new(),
        waiting: VecDeque::new(),
        flights: Flights::default(),
        pings: VecDeque::new(),
        reports,
        gauge,
    };
    match session.run(orders).await {
        Err(error) => error,
        Ok(()) => {
            session.say_goodbye().await;
            "closed by this side".to_owned()
        }
    }
}

struct Session<'a> {
    stream: PacketStream<Stream>,
    state: MqttState,
    publishes: Publishes,
    /// Messages that cannot be published, to be reported before what follows them.
    refused: Vec<LinkReport>,
    /// Taken from an order and not yet sent; new orders wait until it is empty.
    waiting: VecDeque<Outgoing>,
    flights: Flights,
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

/// Kind of publications that entries become, and of the reports about them.
pub enum Publishes {
    /// News of devices, retained under their own topics; the broker has all numbers up to one.
    News,
    /// Messages of a link; the broker has so many entries of this connection.
    Messages(Template),
}

/// How the messages of a link are published.
pub struct Template {
    topic: String,
    qos: QoS,
    retain: bool,
    in_flight_max: u16,
    /// Names and values that are the same for all.
    values: Vec<(String, String)>,
}

impl Template {
    /// As the client says.
    pub fn of(client: &Client, agent: &str) -> Template {
        let values = [("client", client.id.to_lowercase()), ("agent", agent.to_owned())];
        Template {
            topic: client.publish.topic.clone(),
            qos: if client.publish.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce },
            retain: client.publish.retain,
            in_flight_max: u16::try_from(client.window).unwrap_or(u16::MAX).min(LINK_INFLIGHT_MAX),
            values: values.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }

    /// The publication of a message. The error says why MQTT cannot carry it.
    fn publication(&self, message: &Message) -> Result<Publish, String> {
        let device = message.device.clone().unwrap_or_default();
        let own = [("topic", message.topic.clone()), ("device", device)];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let values: Vec<(String, String)> = own.into_iter().chain(self.values.iter().cloned()).collect();
        let topic = expand(&self.topic, &values);
        if !is_topic_name(&topic) {
            return Err(format!("MQTT does not allow the topic {topic:?}"));
        }
        let mut publish = Publish::new(topic, self.qos, message.payload.clone());
        publish.retain = self.retain;
        match publish.size() + PACKET_ID_BYTES {
            ..=PACKET_MAX => Ok(publish),
            size => {
                Err(format!("{size} bytes are more than {PACKET_MAX}, the most that is published at once"))
            }
        }
    }
}

impl Publishes {
    fn in_flight_max(&self) -> u16 {
        match self {
            Publishes::News => INFLIGHT_MAX,
            Publishes::Messages(template) => template.in_flight_max,
        }
    }
}

enum Wake {
    Read(Result<(), PacketError>),
    Order(Option<LinkOrder>),
}

impl Session<'_> {
    /// Ends well when an order or the end of all orders closes the connection.
    async fn run(&mut self, orders: &Receiver<LinkOrder>) -> Result<(), String> {
        loop {
            // Also before the first wait: packets may have come in one segment with the CONNACK.
            self.take_packets().await?;
            self.send_waiting().await?;
            self.report_settled().await;
            match self.wake(orders).await {
                Wake::Read(read) => read?,
                Wake::Order(None | Some(LinkOrder::Close(_))) => return Ok(()),
                Wake::Order(Some(order)) => self.take_order(order)?,
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

    fn take_order(&mut self, order: LinkOrder) -> Result<(), String> {
        match order {
            LinkOrder::Send { lane, through, entries } => {
                let first = through + 1 - entries.len() as u64;
                for (ordinal, entry) in (first..).zip(entries) {
                    let mark = match self.publishes {
                        Publishes::News => entry.last(),
                        Publishes::Messages(_) => ordinal,
                    };
                    self.waiting.push_back(Outgoing::Entry(lane, entry, mark));
                }
            }
            LinkOrder::Publish(publication) => self.waiting.push_back(Outgoing::State(publication)),
            // Not through MqttState, which calls a second ping before the answer to the first a dead connection: that
            // is for the giver of the orders to decide.
            LinkOrder::Ping(number) => {
                self.pings.push_back(number);
                self.stream.queue(&Packet::PingReq)?;
            }
            LinkOrder::Hello { .. }
            | LinkOrder::FrameBytes(_)
            | LinkOrder::Probe(_)
            | LinkOrder::Close(_) => {}
        }
        Ok(())
    }

    async fn send_waiting(&mut self) -> Result<(), String> {
        while self.may_publish()
            && let Some(next) = self.waiting.pop_front()
        {
            self.send(next)?;
            if self.stream.is_full() {
                self.stream.flush().await?;
            }
        }
        Ok(self.stream.flush().await?)
    }

    fn may_publish(&self) -> bool {
        self.state.inflight() < self.publishes.in_flight_max() && self.state.collision.is_none()
    }

    fn send(&mut self, outgoing: Outgoing) -> Result<(), String> {
        let (through, publish) = match outgoing {
            Outgoing::Entry(lane, entry, mark) => (Some(mark), self.of_entry(lane, &entry)),
            Outgoing::State(state) => (None, publish(&state.topic, state.payload, true)),
        };
        let Some(publish) = publish else {
            self.flights.skipped(through);
            return Ok(());
        };
        let packet = self.state.handle_outgoing_packet(Request::Publish(publish)).map_err(broken)?;
        self.state.events.clear();
        match packet {
            Some(Packet::Publish(publish)) if publish.qos == QoS::AtMostOnce => {
                self.flights.skipped(through);
                Ok(self.stream.queue(&Packet::Publish(publish))?)
            }
            Some(Packet::Publish(publish)) => {
                self.flights.sent(publish.pkid, through);
                Ok(self.stream.queue(&Packet::Publish(publish))?)
            }
            // Its id still belongs to a packet that the broker passed over; the state sends it when that one is done.
            _ => {
                let stashed = self.state.collision.as_ref().map_or(0, |publish| publish.pkid);
                self.flights.sent(stashed, through);
                Ok(())
            }
        }
    }

    /// The publication of an entry; none for a gap, and for a message that MQTT cannot carry.
    fn of_entry(&mut self, lane: usize, entry: &Entry) -> Option<Publish> {
        let Publishes::Messages(template) = &self.publishes else { return of_news(entry) };
        let Body::Message(message) = &entry.body else { return None };
        match template.publication(message) {
            Ok(publish) => Some(publish),
            Err(reason) => {
                self.refused.push(LinkReport::Nack { lane, seq: entry.seq, reason });
                None
            }
        }
    }

    async fn take_packets(&mut self) -> Result<(), String> {
        while let Some(packet) = self.stream.packet()? {
            self.gauge.frame();
            match packet {
                Packet::PingResp => {
                    // What came ahead of it is reported ahead of it.
                    self.report_settled().await;
                    if let Some(number) = self.pings.pop_front() {
                        let _ = self.reports.send(LinkReport::Pong(number)).await;
                    }
                }
                other => self.take_packet(other)?,
            }
        }
        Ok(())
    }

    fn take_packet(&mut self, packet: Packet) -> Result<(), String> {
        if let Packet::PubAck(ack) = &packet {
            self.flights.acknowledged(ack.pkid);
        }
        let answer = self.state.handle_incoming_packet(packet).map_err(broken)?;
        self.state.events.clear();
        if let Some(answer) = answer {
            self.stream.queue(&answer)?;
        }
        Ok(())
    }

    async fn report_settled(&mut self) {
        for report in std::mem::take(&mut self.refused) {
            let _ = self.reports.send(report).await;
        }
        if let Some(through) = self.flights.settle() {
            let report = match self.publishes {
                Publishes::News => LinkReport::Ack { lane: 0, seq: through },
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
            self.stream.queue(&Packet::Disconnect)?;
            self.stream.flush().await?;
            self.stream.close().await;
            Ok(())
        };
        within(FAREWELL, last).await;
    }

    async fn wait_until_settled(&mut self) -> Result<(), String> {
        while !self.flights.is_empty() {
            self.stream.read().await?;
            self.take_packets().await?;
            self.stream.flush().await?;
            self.report_settled().await;
        }
        Ok(())
    }
}

/// The publication of news; none for a gap, and for a message that MQTT cannot carry.
fn of_news(entry: &Entry) -> Option<Publish> {
    let Body::Message(message) = &entry.body else { return None };
    publish(&message.topic, message.payload.clone(), is_retained(message))
}

fn is_retained(message: &Message) -> bool {
    !message.attributes.iter().any(|(name, value)| name == "retain" && value == "false")
}

fn publish(topic: &str, payload: Vec<u8>, retain: bool) -> Option<Publish> {
    if !is_topic_name(topic) {
        log::debug!("cannot publish on {topic:?}: MQTT does not allow this topic");
        return None;
    }
    let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
    publish.retain = retain;
    let size = publish.size() + PACKET_ID_BYTES;
    if size > PACKET_MAX {
        log::warn!("cannot publish on {topic:?}: {size} bytes are more than {PACKET_MAX}");
        return None;
    }
    Some(publish)
}

/// MQTT 3.1.1 §4.7.1 and §4.7.3.
fn is_topic_name(topic: &str) -> bool {
    (1..=TOPIC_MAX).contains(&topic.len()) && !topic.contains(['+', '#', '\0'])
}

fn broken(error: rumqttc::StateError) -> String {
    format!("the broker breaks the MQTT protocol: {error}")
}

/// A farewell that fails or comes late changes nothing: the connection ends all the same.
async fn within(limit: Duration, work: impl Future<Output = Result<(), String>>) {
    let deadline = async {
        Timer::after(limit).await;
        Ok(())
    };
    let _ = or(work, deadline).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_name_has_no_wildcards_no_nul_and_some_length() {
        for topic in ["a", "a/b", "/a//b", "$SYS/x", "ä/ö"] {
            assert!(is_topic_name(topic), "{topic:?}");
        }
        for topic in ["", "a/+/b", "a/#", "a\0b", &"x".repeat(65_536)] {
            assert!(!is_topic_name(topic), "{topic:?}");
        }
    }

    #[test]
    fn a_publication_that_no_packet_can_hold_is_left_out() {
        assert!(publish("a", vec![0; PACKET_MAX], true).is_none());
        assert!(publish("a", vec![0; PACKET_MAX - 16], true).is_some());
    }
}
