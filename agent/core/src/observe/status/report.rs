//! The status, made of the agent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{
    BufferStatus, ClientStatus, DeviceCounts, DeviceStatus, Devices, Farewell, LinkStatus, Online,
    SourceStatus, Status, TakenOverStatus, Timestamp,
};
use crate::agent::{Agent, Fetched, LinkContext};
use crate::device::presence::{Device, Presence};
use crate::ids::{LinkId, OutletId};
use crate::link::LinkState;
use crate::link::probe::UNECHOED;
use crate::message::Format;
use crate::observe::held::held_words;
use crate::outlet::buffer::StoreState;
use crate::outlet::queue::OutletQueue;
use crate::source::intake::Draft;
use crate::time::Now;

/// Devices that the status lists; the others are counted. Each has a topic of its own at the broker.
const DEVICES_LISTED: usize = 100;

/// The source of the agent's news of its devices.
pub const NEWS: &str = "agent";

/// The status of what belongs to an application.
#[derive(Serialize)]
struct ApplicationStatus<'a> {
    state: Online,
    agent: &'a str,
    application: &'a str,
    session: u64,
    links_up: usize,
    unconfirmed: u64,
    links: BTreeMap<&'a str, LinkStatus>,
}

/// The status of an agent that is gone.
#[derive(Serialize)]
struct LastWords<'a> {
    state: Online,
    reason: Farewell,
    agent: &'a str,
    version: &'a str,
    session: u64,
}

/// What makes a status worth publishing at once: the states of the links, whether they hold back, the state of the buffer, and whether a configuration was
/// rejected, folded into a number.
pub fn digest(agent: &Agent) -> u64 {
    let links = agent.links.iter().filter(|line| !line.is_gone());
    let links = links.map(|line| {
        let holds = line.fetched.holds.is_some();
        let facts = [line.link.is_up(), line.rollback.is_some(), line.link.proves_nothing() || holds];
        facts.iter().fold(1, |all, fact| all * 2 + u64::from(*fact))
    });
    let buffer = agent.buffer.state() as u64 * 3 + agent.buffer.store() as u64;
    let first = buffer * 2 + u64::from(agent.rejected.is_some());
    links.fold(first, |digest, state| digest.wrapping_mul(17).wrapping_add(state))
}

/// How the agent is, in a line: `1 of 2 links up, holding 12 messages for lab, 3 devices`.
pub fn headline(agent: &Agent) -> String {
    let is_active = |line: &&LinkContext| line.link.state() != LinkState::Inactive;
    let active = || agent.links.iter().filter(is_active).filter(|line| line.source().is_none());
    let (up, all) = (active().filter(|line| line.link.is_up()).count(), active().count());
    let sources = || agent.links.iter().filter(is_active).filter(|line| line.source().is_some());
    let fetching = sources().filter(|line| line.link.is_up()).count();
    let sources = match sources().count() {
        0 => String::new(),
        1 => format!(", {fetching} of 1 source up"),
        all => format!(", {fetching} of {all} sources up"),
    };
    let links = match all {
        0 => "no link is active".to_owned(),
        1 => format!("{up} of 1 link up"),
        _ => format!("{up} of {all} links up"),
    };
    let devices = match agent.presence.devices().len() {
        1 => "1 device".to_owned(),
        devices => format!("{devices} devices"),
    };
    let line = format!("{links}{sources}, holding {}, {devices}", held(agent));
    match agent.buffer.failure() {
        Some(error) if agent.buffer.store() == StoreState::ReadOnly => {
            format!("{line}, the store is read-only: {error}")
        }
        Some(error) => format!("{line}, the store is failing: {error}"),
        None => line,
    }
}

fn held(agent: &Agent) -> String {
    let lines = || agent.links.pairs().filter(|(_, line)| !line.is_gone());
    let links = lines().filter(|(_, line)| line.is_client());
    let links: Vec<(&str, u64)> =
        links.map(|(link, line)| (line.id.as_str(), agent.unconfirmed(link))).collect();
    let broker = lines().filter(|(_, line)| !line.is_client()).map(|(link, _)| agent.unconfirmed(link)).sum();
    held_words(&links, broker)
}

/// The status with the first of the devices, for the control interface.
pub fn whole(agent: &Agent, now: Now) -> Status {
    let devices = agent.presence.devices().iter().take(DEVICES_LISTED);
    let (online, offline) = agent.presence.counts();
    let devices = Devices {
        devices: devices.map(|(id, device)| (id.clone(), device_status(device))).collect(),
        devices_total: DeviceCounts { online, offline },
        devices_ignored: agent.presence.ignored(),
    };
    Status { devices: Some(devices), ..base(agent, now) }
}

/// The status message for the broker; each device has a topic of its own.
pub fn message(agent: &Agent, now: Now) -> Vec<u8> {
    json(&base(agent, now))
}

/// The status of what belongs to an application, for the broker.
pub fn of_application(agent: &Agent, application: &str, now: Now) -> Vec<u8> {
    let its = |line: &LinkContext| line.own().is_some_and(|own| own.application == application);
    let lines = || agent.links.pairs().filter(|(_, line)| its(line));
    json(&ApplicationStatus {
        state: Online::Online,
        agent: &agent.setup.agent,
        application,
        session: agent.buffer.session(),
        links_up: lines().filter(|(_, line)| line.link.is_up()).count(),
        unconfirmed: lines().map(|(link, _)| agent.unconfirmed(link)).sum(),
        links: lines().map(|(link, line)| (line.id.as_str(), link_status(agent, link, line, now))).collect(),
    })
}

/// The status of an agent that is gone.
pub fn last_words(agent: &Agent, reason: Farewell) -> Vec<u8> {
    json(&LastWords {
        state: Online::Offline,
        reason,
        agent: &agent.setup.agent,
        version: &agent.setup.version,
        session: agent.buffer.session(),
    })
}

/// The news of a device as a message for the broker.
pub fn device_news(prefix: &str, id: &str, presence: &Presence) -> Option<Draft> {
    let device = presence.devices().get(id)?;
    Some(Draft {
        topic: format!("{prefix}/devices/{id}/status"),
        device: Some(id.to_owned()),
        source: NEWS.into(),
        format: Format::Json,
        payload: json(&device_status(device)),
        attributes: Vec::new(),
        priority: 0,
        ttl_s: None,
    })
}

fn json(words: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(words).expect("a status has no key that is not a string")
}

fn base(agent: &Agent, now: Now) -> Status {
    let lines = agent.links.pairs().filter(|(_, line)| line.is_client());
    let status = |link: LinkId| link_status(agent, link, &agent.links[link], now);
    Status {
        state: Online::Online,
        agent: agent.setup.agent.clone(),
        version: agent.setup.version.clone(),
        session: agent.buffer.session(),
        since: Timestamp(agent.started.wall_ns),
        uptime_s: now.mono.since(agent.started.mono).as_secs(),
        clock: now.clock,
        clock_since: agent.clocks.since_ns().map(Timestamp),
        links: lines.map(|(link, line)| (line.id.clone(), status(link))).collect(),
        mqtt: agent.mqtt_line().map(status),
        buffer: buffer_status(agent, now),
        host: agent.host.status(agent.buffer.facts().free_bytes),
        certificate_days_left: agent.links.iter().filter_map(|line| line.certificate_days_left).min(),
        fetching: agent.links.iter().filter_map(|line| source_status(line, now)).collect(),
        servers: agent.servers.clone(),
        configuration_rejected: agent.rejected.clone(),
        repairs: agent.repairs.clone(),
        left_behind: agent.left_behind(),
        devices: None,
        sources: None,
    }
}

fn link_status(agent: &Agent, link: LinkId, line: &LinkContext, now: Now) -> LinkStatus {
    let unconfirmed = |outlet: OutletId| agent.buffer.queue(outlet).unconfirmed();
    let lanes = line.lanes.iter().filter(|_| line.lanes.len() > 1);
    let outlets = line.lanes.iter().map(|(_, outlet)| agent.buffer.queue(*outlet));
    let given_up: Vec<_> = outlets.map(|outlet| outlet.given_up).collect();
    LinkStatus {
        state: line.link.state(),
        since: Timestamp(now.wall_ns.saturating_sub(nanos(now.mono.since(line.link.since())))),
        rtt_ms: line.link.rtt().map(|rtt| rtt.as_secs_f64() * 1000.0),
        reconnects: line.link.reconnects(),
        last_confirmed: line.last_confirmed_ns.map(Timestamp),
        last_error: line.link.last_error().map(str::to_owned),
        retry_in_s: line.link.retry_at().map(|at| at.since(now.mono).as_secs_f64()),
        retry_because: line.link.waits_because(),
        confirmed: line.confirmed,
        unconfirmed: agent.unconfirmed(link),
        received: line.received,
        received_dropped: line.inbox.dropped(),
        dropped: given_up.iter().map(|own| own.dropped).sum(),
        expired: given_up.iter().map(|own| own.expired).sum(),
        settings_rejected: settings_rejected(line),
        held_back: line.link.proves_nothing().then_some(UNECHOED),
        frame_bytes: line.frames.learned(),
        blocked_by: line.caution.blocked_by().map(|message| message.seq),
        protocol: line.terms.map(|terms| terms.to_string()),
        status_refused: line.state_refused.clone(),
        taken_over: line.taken_over.as_ref().map(|taken_over| TakenOverStatus {
            times: taken_over.times,
            last: Timestamp(taken_over.last_ns),
            hint: taken_over.words.clone(),
        }),
        client: client_status(agent, line),
        unconfirmed_by_priority: lanes.map(|(priority, outlet)| (*priority, unconfirmed(*outlet))).collect(),
    }
}

/// Id and status of a source.
fn source_status(line: &LinkContext, now: Now) -> Option<(String, SourceStatus)> {
    let own = line.source()?;
    let Fetched { took, last_ns, faults, holds } = &line.fetched;
    let status = SourceStatus {
        state: line.link.state(),
        since: Timestamp(now.wall_ns.saturating_sub(nanos(now.mono.since(line.link.since())))),
        url: own.place.clone(),
        rtt_ms: line.link.rtt().map(|rtt| rtt.as_secs_f64() * 1000.0),
        reconnects: line.link.reconnects(),
        last_error: line.link.last_error().map(str::to_owned),
        retry_in_s: line.link.retry_at().map(|at| at.since(now.mono).as_secs_f64()),
        retry_because: line.link.waits_because(),
        received: took.stored,
        last_received: last_ns.map(Timestamp),
        refused: took.refused,
        last_refused: took.last_refused.clone(),
        passed_over: took.passed_over,
        unmatched: took.unmatched,
        subscription_faults: faults.clone(),
        held_back: holds.clone(),
    };
    Some((own.id.clone(), status))
}

fn settings_rejected(line: &LinkContext) -> Option<String> {
    let rollback = line.rollback.as_ref()?;
    let rest = if line.trial.is_none() { "the old ones are in force" } else { "others are on trial" };
    Some(format!("{rollback}, {rest}"))
}

fn client_status(agent: &Agent, line: &LinkContext) -> Option<ClientStatus> {
    let own = line.own()?;
    let endpoint = line.link.endpoint();
    Some(ClientStatus {
        on_trial: line.trial.is_some(),
        max_messages: line.bounds(&agent.setup).max_messages,
        url: own.places.get(endpoint.0).cloned(),
        url_number: (own.places.len() > 1).then_some(endpoint.0 + 1),
        application: own.application.clone(),
    })
}

fn buffer_status(agent: &Agent, now: Now) -> BufferStatus {
    let live = || agent.buffer.live().map(|outlet| &outlet.queue);
    let oldest = live().filter_map(|queue| oldest_age(agent, queue, now)).max();
    let (facts, accepted) = (agent.buffer.facts(), agent.buffer.accepted());
    BufferStatus {
        state: agent.buffer.state(),
        store: agent.buffer.store(),
        messages: live().map(OutletQueue::unconfirmed).sum(),
        bytes: live().map(|queue| queue.held().bytes).sum(),
        oldest_age_s: oldest.map_or(0, |age| age.as_secs()),
        accepted: accepted.messages,
        accepted_bytes: accepted.bytes,
        dropped: agent.buffer.dropped(),
        expired: agent.buffer.expired(),
        refused: agent.buffer.refused(),
        dead: facts.dead,
        damaged: facts.damaged,
        disk_bytes: facts.disk_bytes,
        disk_bytes_free: facts.free_bytes,
        disk_bytes_max: agent.setup.buffer.max_bytes,
        disk_bytes_max_in_force: agent.buffer.max_bytes(),
        disk_bytes_written: facts.written_bytes,
        disk_bytes_written_today: facts.today.bytes,
        disk_bytes_written_total: facts.total.bytes,
        syncs: facts.syncs,
        syncs_today: facts.today.syncs,
        syncs_total: facts.total.syncs,
        commit_after_s: agent.buffer.commit_after().as_secs_f64(),
        error: agent.buffer.failure().map(str::to_owned),
    }
}

/// Age of the oldest message of an outlet, at the least: the wall clock may be wrong.
fn oldest_age(agent: &Agent, queue: &OutletQueue, now: Now) -> Option<Duration> {
    let held = queue.held();
    let in_store = held.oldest_group.map(|newest| {
        let span = Duration::from_nanos(newest.time_ns.saturating_sub(held.oldest_ns));
        agent.clocks.age(&now, &newest) + span
    });
    let in_memory = queue.oldest_in_memory().filter(|_| queue.memory_messages() > 0);
    in_store.max(in_memory.map(|at| now.mono.since(at)))
}

fn device_status(device: &Device) -> DeviceStatus {
    DeviceStatus { status: device.online.into(), since: Timestamp(device.since_ns), reason: device.reason }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
