//! How the agent says that it is: the status as JSON, for MQTT and for the control interface.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::agent::{Agent, Line};
use crate::device::presence::{Device, Presence};
use crate::link::LinkState;
use crate::link::probe::UNECHOED;
use crate::message::{Clock, Format};
use crate::outlet::buffer::{BufferState, StoreState};
use crate::outlet::outbox::Outbox;
use crate::source::intake::Draft;
use crate::time::{Now, Time};

/// A status that changes faster than this is published once for several changes.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// Devices that the status lists; the others are counted. Each has a topic of its own at the broker.
const DEVICES_LISTED: usize = 100;

/// The source of the agent's news of its devices.
pub const NEWS: &str = "agent";

/// When the status was published and what it said.
#[derive(Debug, Default)]
pub struct StatusPace {
    last: Option<Published>,
    hurry: bool,
}

#[derive(Debug)]
struct Published {
    at: Time,
    digest: u64,
    next_at: Time,
}

impl StatusPace {
    /// Makes the next one due at once: a new connection to the broker.
    pub fn hurry(&mut self) {
        self.hurry = true;
    }

    /// Whether it is to be published.
    pub fn is_due(&mut self, now: Time, digest: u64) -> bool {
        if let Some(last) = &mut self.last
            && !self.hurry
        {
            if last.digest != digest {
                last.next_at = last.next_at.min(last.at + LEAST_INTERVAL);
            }
            return last.next_at <= now;
        }
        true
    }

    /// It was published.
    pub fn published(&mut self, now: Time, digest: u64, interval: Duration) {
        self.hurry = false;
        self.last = Some(Published { at: now, digest, next_at: now + interval });
    }

    /// When it is due if nothing changes.
    pub fn deadline(&self) -> Option<Time> {
        self.last.as_ref().map(|last| last.next_at)
    }
}

/// What makes a status worth publishing at once: the states of the links, whether they hold back, the state of the buffer, and whether a configuration was
/// rejected, folded into a number.
pub fn digest(agent: &Agent) -> u64 {
    let links = agent.links.iter().filter(|line| !line.is_gone());
    let links = links.map(|line| {
        let facts = [line.link.is_up(), line.rollback.is_some(), line.link.proves_nothing()];
        facts.iter().fold(1, |all, fact| all * 2 + u64::from(*fact))
    });
    let buffer = agent.buffer.state() as u64 * 3 + agent.buffer.store() as u64;
    let first = buffer * 2 + u64::from(agent.rejected.is_some());
    links.fold(first, |digest, state| digest.wrapping_mul(17).wrapping_add(state))
}

/// How the agent is, in a line: `1 of 2 links up, 12 messages held, 3 devices`.
pub fn headline(agent: &Agent) -> String {
    let active = || agent.links.iter().filter(|line| line.link.state() != LinkState::Inactive);
    let (up, all) = (active().filter(|line| line.link.is_up()).count(), active().count());
    let held: u64 = agent.buffer.live().map(Outbox::unconfirmed).sum();
    let devices = agent.presence.devices().len();
    let line = format!("{up} of {all} links up, {held} messages held, {devices} devices");
    match agent.buffer.failure() {
        Some(error) if agent.buffer.store() == StoreState::ReadOnly => {
            format!("{line}, the store is read-only: {error}")
        }
        Some(error) => format!("{line}, the store is failing: {error}"),
        None => line,
    }
}

/// The status with the first of the devices, for the control interface.
pub fn whole(agent: &Agent, now: Now) -> Value {
    let mut status = base(agent, now);
    let devices = agent.presence.devices().iter().take(DEVICES_LISTED);
    let devices = devices.map(|(id, device)| (id.clone(), device_status(device)));
    status["devices"] = Value::Object(devices.collect());
    let (online, offline) = agent.presence.counts();
    status["devices_total"] = json!({ "online": online, "offline": offline });
    status["devices_ignored"] = agent.presence.ignored().into();
    status
}

/// The status message for the broker; each device has a topic of its own.
pub fn message(agent: &Agent, now: Now) -> Vec<u8> {
    base(agent, now).to_string().into_bytes()
}

/// The status of what belongs to an application, for the broker.
pub fn of_application(agent: &Agent, application: &str, now: Now) -> Vec<u8> {
    let its = |line: &Line| line.own().is_some_and(|own| own.application == application);
    let lines = || agent.links.iter().enumerate().filter(|(_, line)| its(line));
    let links: Map<_, _> =
        lines().map(|(link, line)| (line.id.clone(), link_status(agent, link, line, now))).collect();
    let status = json!({
        "state": "online",
        "agent": agent.setup.agent,
        "application": application,
        "session": agent.buffer.session(),
        "links_up": lines().filter(|(_, line)| line.link.is_up()).count(),
        "unconfirmed": lines().map(|(link, _)| agent.unconfirmed(link)).sum::<u64>(),
        "links": links,
    });
    status.to_string().into_bytes()
}

/// The status of an agent that is gone: `lost` as the last will, `stopped` as goodbye.
pub fn last_words(agent: &Agent, reason: &str) -> Vec<u8> {
    let words = json!({
        "state": "offline",
        "reason": reason,
        "agent": agent.setup.agent,
        "version": agent.setup.version,
        "session": agent.buffer.session(),
    });
    words.to_string().into_bytes()
}

/// The news of a device as a message for the broker.
pub fn device_news(prefix: &str, id: &str, presence: &Presence) -> Option<Draft> {
    let device = presence.devices().get(id)?;
    Some(Draft {
        topic: format!("{prefix}/devices/{id}/status"),
        device: Some(id.to_owned()),
        source: NEWS.into(),
        format: Format::Json,
        payload: device_status(device).to_string().into_bytes(),
        attributes: Vec::new(),
        priority: 0,
    })
}

fn base(agent: &Agent, now: Now) -> Value {
    let lines = agent.links.iter().enumerate().filter(|(_, line)| line.is_client());
    let links: Map<_, _> =
        lines.map(|(link, line)| (line.id.clone(), link_status(agent, link, line, now))).collect();
    let days = agent.links.iter().filter_map(|line| line.certificate_days_left).min();
    let mut status = json!({
        "state": "online",
        "agent": agent.setup.agent,
        "version": agent.setup.version,
        "session": agent.buffer.session(),
        "since": rfc3339(agent.started.wall_ns),
        "uptime_s": now.mono.since(agent.started.mono).as_secs(),
        "clock": if now.clock == Clock::Synced { "synced" } else { "unsynced" },
        "clock_since": agent.clocks.since_ns().map(rfc3339),
        "links": links,
        "buffer": buffer_status(agent, now),
        "host": agent.host.shown(agent.buffer.facts().free_bytes),
    });
    if let Some(link) = agent.mqtt_line() {
        status["mqtt"] = link_status(agent, link, &agent.links[link], now);
    }
    if let Some(days) = days {
        status["certificate_days_left"] = days.into();
    }
    if !agent.servers.is_null() {
        status["servers"] = agent.servers.clone();
    }
    if let Some(why) = &agent.rejected {
        status["configuration_rejected"] = why.clone().into();
    }
    if !agent.repairs.is_empty() {
        status["repairs"] = agent.repairs.clone().into();
    }
    status
}

fn link_status(agent: &Agent, link: usize, line: &Line, now: Now) -> Value {
    let mut status = link_facts(agent, link, line, now);
    if let Some(rollback) = &line.rollback {
        let rest = if line.trial.is_none() { "the old ones are in force" } else { "others are on trial" };
        status["settings_rejected"] = format!("{rollback}, {rest}").into();
    }
    if line.link.proves_nothing() {
        status["held_back"] = UNECHOED.into();
    }
    if let Some(bytes) = line.frames.learned() {
        status["frame_bytes"] = bytes.into();
    }
    if let Some(message) = line.caution.blocked_by() {
        status["blocked_by"] = message.seq.into();
    }
    if let Some(own) = line.own() {
        status["on_trial"] = line.trial.is_some().into();
        status["max_messages"] = line.bounds(&agent.setup).max_messages.into();
        status["url"] = own.places.get(line.link.endpoint()).cloned().into();
        if own.places.len() > 1 {
            status["url_number"] = (line.link.endpoint() + 1).into();
        }
        if !own.application.is_empty() {
            status["application"] = own.application.clone().into();
        }
    }
    if line.lanes.len() > 1 {
        let lanes = line.lanes.iter().map(|(priority, outlet)| {
            (priority.to_string(), Value::from(agent.buffer.outbox(*outlet).unconfirmed()))
        });
        status["unconfirmed_by_priority"] = Value::Object(lanes.collect());
    }
    status
}

fn link_facts(agent: &Agent, link: usize, line: &Line, now: Now) -> Value {
    let since = now.wall_ns.saturating_sub(nanos(now.mono.since(line.link.since())));
    json!({
        "state": state_of_link(&line.link),
        "since": rfc3339(since),
        "rtt_ms": line.link.rtt().map(|rtt| rtt.as_secs_f64() * 1000.0),
        "reconnects": line.link.reconnects(),
        "last_confirmed": line.last_confirmed_ns.map(rfc3339),
        "last_error": line.link.last_error(),
        "retry_in_s": line.link.retry_at().map(|at| at.since(now.mono).as_secs_f64()),
        "confirmed": line.confirmed,
        "unconfirmed": agent.unconfirmed(link),
        "received": line.received,
        "received_dropped": line.inbox.dropped(),
    })
}

fn buffer_status(agent: &Agent, now: Now) -> Value {
    let outboxes = || agent.buffer.live();
    let facts = agent.buffer.facts();
    json!({
        "state": state_of_buffer(agent.buffer.state()),
        "store": state_of_store(agent.buffer.store()),
        "messages": outboxes().map(|outbox| outbox.unconfirmed()).sum::<u64>(),
        "bytes": outboxes().map(|outbox| outbox.held().bytes).sum::<u64>(),
        "oldest_age_s": outboxes().filter_map(|outbox| oldest_age(agent, outbox, now)).max().map_or(0, |age| age.as_secs()),
        "accepted": agent.buffer.accepted().messages,
        "accepted_bytes": agent.buffer.accepted().bytes,
        "dropped": agent.buffer.dropped(),
        "expired": agent.buffer.expired(),
        "refused": agent.buffer.refused(),
        "dead": facts.dead,
        "damaged": facts.damaged,
        "disk_bytes": facts.disk_bytes,
        "disk_bytes_free": facts.free_bytes,
        "disk_bytes_max": agent.setup.buffer.max_bytes,
        "disk_bytes_max_in_force": agent.buffer.max_bytes(),
        "disk_bytes_written": facts.written_bytes,
        "disk_bytes_written_today": facts.today.bytes,
        "disk_bytes_written_total": facts.total.bytes,
        "syncs": facts.syncs,
        "syncs_today": facts.today.syncs,
        "syncs_total": facts.total.syncs,
        "commit_after_s": agent.buffer.commit_after().as_secs_f64(),
        "error": agent.buffer.failure(),
    })
}

/// Age of the oldest message of an outlet, at the least: the wall clock may be wrong.
fn oldest_age(agent: &Agent, outbox: &Outbox, now: Now) -> Option<Duration> {
    let held = outbox.held();
    let in_store = held.oldest_group.map(|newest| {
        let span = Duration::from_nanos(newest.time_ns.saturating_sub(held.oldest_ns));
        agent.clocks.age(&now, &newest) + span
    });
    let in_memory = outbox.oldest_in_memory().filter(|_| outbox.memory_messages() > 0);
    in_store.max(in_memory.map(|at| now.mono.since(at)))
}

fn device_status(device: &Device) -> Value {
    json!({
        "status": if device.online { "online" } else { "offline" },
        "since": rfc3339(device.since_ns),
        "reason": device.reason,
    })
}

fn state_of_link(link: &crate::link::Link) -> &'static str {
    match link.state() {
        LinkState::Inactive => "inactive",
        LinkState::Disconnected => "disconnected",
        // Whether a try is under way at this moment is not worth a status message each time.
        LinkState::Down | LinkState::Connecting => "down",
        LinkState::Up => "up",
    }
}

fn state_of_store(state: StoreState) -> &'static str {
    match state {
        StoreState::Ok => "ok",
        StoreState::ReadOnly => "read-only",
        StoreState::Failing => "failing",
    }
}

fn state_of_buffer(state: BufferState) -> &'static str {
    match state {
        BufferState::Empty => "empty",
        BufferState::Holding => "holding",
        BufferState::Full => "full",
        BufferState::Failing => "failing",
    }
}

/// A wall time in words, UTC, to the millisecond.
pub fn rfc3339(wall_ns: u64) -> String {
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_nanos(wall_ns)).to_string()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn at(ms: u64) -> Time {
        Time::default() + Duration::from_millis(ms)
    }

    fn pace() -> StatusPace {
        let mut pace = StatusPace::default();
        assert!(publishes(&mut pace, at(0), 1), "the first one is due at once");
        pace
    }

    fn publishes(pace: &mut StatusPace, now: Time, digest: u64) -> bool {
        let due = pace.is_due(now, digest);
        if due {
            pace.published(now, digest, INTERVAL);
        }
        due
    }

    #[test]
    fn a_change_is_due_at_once_unless_one_went_out_less_than_a_second_ago() {
        let mut pace = pace();
        assert!(!publishes(&mut pace, at(400), 2));
        assert_eq!(pace.deadline(), Some(at(1000)));
        assert!(publishes(&mut pace, at(1000), 2));
        assert!(publishes(&mut pace, at(5000), 3));
    }

    #[test]
    fn without_a_change_it_is_due_each_interval() {
        let mut pace = pace();
        assert!(!publishes(&mut pace, at(29_999), 1));
        assert_eq!(pace.deadline(), Some(at(30_000)));
        assert!(publishes(&mut pace, at(30_000), 1));
        assert!(!publishes(&mut pace, at(30_001), 1));
    }

    #[test]
    fn a_new_connection_to_the_broker_makes_it_due_once() {
        let mut pace = pace();
        pace.hurry();
        assert!(publishes(&mut pace, at(1), 1));
        assert!(!publishes(&mut pace, at(2), 1));
    }
}
