//! A connection that the broker has accepted.

use std::collections::VecDeque;
use std::time::Duration;

use holdfast_core::link::protocol::{LinkOrder, LinkReport, Publication};
use holdfast_core::message::{Body, Entry, Message};
use rumqttc::mqttbytes::v4::{Packet, Publish};
use rumqttc::{MqttState, QoS, Request};
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::{or, pending};

use super::flight::Flights;
use super::packet_stream::{PACKET_MAX, PacketStream};
use crate::net::{Gauge, Stream};

/// Publications in flight, unacknowledged.
const INFLIGHT_MAX: u16 = 100;
/// How long outstanding PUBACKs, and then the last packet, may take.
const FAREWELL: Duration = Duration::from_secs(1);
const PACKET_ID_BYTES: usize = 2;
const TOPIC_MAX: usize = 65_535;

/// Carries out orders and reports what arrives, until the connection is over. Returns what ended it.
pub async fn run(
    stream: PacketStream<Stream>,
    orders: &Receiver<LinkOrder>,
    reports: &Sender<LinkReport>,
    gauge: &Gauge,
) -> String {
    let mut session = Session {
        stream,
        state: MqttState::new(INFLIGHT_MAX, false),
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
    /// Taken from an order and not yet sent; new orders wait until it is empty.
    waiting: VecDeque<Outgoing>,
    flights: Flights,
    /// Numbers of the pings that wait for their PINGRESP.
    pings: VecDeque<u64>,
    reports: &'a Sender<LinkReport>,
    gauge: &'a Gauge,
}

enum Outgoing {
    Entry(Entry),
    State(Publication),
}

enum Wake {
    Read(Result<(), String>),
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
            LinkOrder::Send { entries, .. } => self.waiting.extend(entries.into_iter().map(Outgoing::Entry)),
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
        self.stream.flush().await
    }

    fn may_publish(&self) -> bool {
        self.state.inflight() < INFLIGHT_MAX && self.state.collision.is_none()
    }

    fn send(&mut self, outgoing: Outgoing) -> Result<(), String> {
        let (through, publish) = match outgoing {
            Outgoing::Entry(entry) => (Some(entry.last()), of_entry(&entry)),
            Outgoing::State(state) => (None, publish(&state.topic, state.payload, true)),
        };
        let Some(publish) = publish else {
            self.flights.skipped(through);
            return Ok(());
        };
        let packet = self.state.handle_outgoing_packet(Request::Publish(publish)).map_err(broken)?;
        self.state.events.clear();
        match packet {
            Some(Packet::Publish(publish)) => {
                self.flights.sent(publish.pkid, through);
                self.stream.queue(&Packet::Publish(publish))
            }
            // Its id still belongs to a packet that the broker passed over; the state sends it when that one is done.
            _ => {
                let stashed = self.state.collision.as_ref().map_or(0, |publish| publish.pkid);
                self.flights.sent(stashed, through);
                Ok(())
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
        answer.map_or(Ok(()), |answer| self.stream.queue(&answer))
    }

    async fn report_settled(&mut self) {
        if let Some(through) = self.flights.settle() {
            let _ = self.reports.send(LinkReport::Ack { lane: 0, seq: through }).await;
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

/// The publication of an entry; none for a gap, and for a message that MQTT cannot carry.
fn of_entry(entry: &Entry) -> Option<Publish> {
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
