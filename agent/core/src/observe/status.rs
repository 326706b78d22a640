//! How the agent says that it is, for MQTT, for the control interface and for Prometheus: one type, which becomes JSON where it is
//! printed.

mod pace;
mod report;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

pub use self::pace::StatusPace;
pub use self::report::{NEWS, device_news, digest, headline, last_words, message, of_application, whole};
use crate::device::presence::Reason;
use crate::link::LinkState;
use crate::link::backoff::WaitReason;
use crate::message::Clock;
use crate::observe::host::HostStatus;
use crate::outlet::buffer::{BufferState, StoreState};
use crate::source::access::Counts;

/// How the agent and everything around it is. What is not known is null; what does not exist is left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Whether it is there.
    pub state: Online,
    /// Its id.
    pub agent: String,
    /// Its version.
    pub version: String,
    /// How often it was started with this data directory.
    pub session: u64,
    /// When it was started.
    pub since: Timestamp,
    /// Seconds since then, by a clock that nobody sets.
    pub uptime_s: u64,
    /// Whether the wall clock can be trusted.
    pub clock: Clock,
    /// Since when it can.
    pub clock_since: Option<Timestamp>,
    /// Links to the outside, by the id of their client.
    pub links: BTreeMap<String, LinkStatus>,
    /// The link to the broker, where one is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<LinkStatus>,
    /// What is held.
    pub buffer: BufferStatus,
    /// The machine.
    pub host: HostStatus,
    /// Days until the first certificate of a peer ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_days_left: Option<i64>,
    /// Sources that fetch messages, by their id.
    #[serde(rename = "sources", skip_serializing_if = "BTreeMap::is_empty")]
    pub fetching: BTreeMap<String, SourceStatus>,
    /// Servers, by their id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<String, ServerStatus>,
    /// Why the file of the configuration is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration_rejected: Option<String>,
    /// What was found damaged in the store and mended, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<String>,
    /// Names of places in the buffer that hold messages and belong to no client.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<String>,
    /// The first of the devices, for the control interface.
    #[serde(flatten)]
    pub devices: Option<Devices>,
    /// What the sources count, for the control interface.
    #[serde(flatten)]
    pub sources: Option<SourceCounts>,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Online {
    /// It is.
    Online,
    /// It is not.
    Offline,
}

/// Why the agent is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Farewell {
    /// It said goodbye.
    Stopped,
    /// The broker has lost it: its last will.
    Lost,
}

/// How a link is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkStatus {
    /// Of its life.
    pub state: LinkState,
    /// Since when it is in it.
    pub since: Timestamp,
    /// Round trip of the last ping, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// How often it came up again.
    pub reconnects: u64,
    /// When the peer confirmed something for the last time.
    pub last_confirmed: Option<Timestamp>,
    /// Why it was lost, or could not be made, for the last time.
    pub last_error: Option<String>,
    /// Seconds until the next try.
    pub retry_in_s: Option<f64>,
    /// Why it does not try earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_because: Option<WaitReason>,
    /// Messages that the peer confirmed since the start.
    pub confirmed: u64,
    /// Messages that are held for it.
    pub unconfirmed: u64,
    /// Messages that the peer sent.
    pub received: u64,
    /// Those of them that were given up.
    pub received_dropped: u64,
    /// Messages held for it that were given up at a bound or by people.
    pub dropped: u64,
    /// Messages held for it that were given up for their age.
    pub expired: u64,
    /// Why settings that were on trial are not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings_rejected: Option<String>,
    /// Why nothing is sent although it is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<&'static str>,
    /// Bytes of the largest frame that the peer takes, where its closing has shown it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_bytes: Option<usize>,
    /// Number of the message that the peer closes at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<u64>,
    /// How MQTT is spoken, and what the broker takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Why the broker does not take the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_refused: Option<String>,
    /// Sessions that another client of the same id took over, or may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_over: Option<TakenOverStatus>,
    /// What a client's table says of it.
    #[serde(flatten)]
    pub client: Option<ClientStatus>,
    /// Messages held by their priority, where it has more than one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unconfirmed_by_priority: BTreeMap<u8, u64>,
}

/// Sessions at a broker that another client of the same id took over, or may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenOverStatus {
    /// How many since the start.
    pub times: u64,
    /// When the last one was.
    pub last: Timestamp,
    /// What that means.
    pub hint: String,
}

/// How a source is that fetches messages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceStatus {
    /// Of the life of its link.
    pub state: LinkState,
    /// Since when it is in it.
    pub since: Timestamp,
    /// Where it connects to, without secrets.
    pub url: String,
    /// Round trip of the last ping, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// How often it came up again.
    pub reconnects: u64,
    /// Why it was lost, or could not be made, for the last time.
    pub last_error: Option<String>,
    /// Seconds until the next try.
    pub retry_in_s: Option<f64>,
    /// Why it does not try earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_because: Option<WaitReason>,
    /// Messages fetched and stored since the start.
    pub received: u64,
    /// When the last one was stored.
    pub last_received: Option<Timestamp>,
    /// Messages refused since they are not as they have to be.
    pub refused: u64,
    /// Why the last one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refused: Option<String>,
    /// Retained messages that were passed over.
    pub passed_over: u64,
    /// Messages that no topic of the configuration means.
    pub unmatched: u64,
    /// What its subscriptions lack, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscription_faults: Vec<String>,
    /// Why it waits with what it has fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
}

/// What the table of a client adds to the status of its link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientStatus {
    /// Whether its settings have to prove themselves.
    pub on_trial: bool,
    /// Bound of the messages held for it, 0 for none.
    pub max_messages: u64,
    /// Where it connects to, without secrets.
    pub url: Option<String>,
    /// Which of its urls that is, where it has several; the first is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_number: Option<usize>,
    /// The application that it belongs to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub application: String,
}

/// What is held, and what was done with it since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BufferStatus {
    /// In a word.
    pub state: BufferState,
    /// Whether the store takes what it is given.
    pub store: StoreState,
    /// Messages held for all links.
    pub messages: u64,
    /// Bytes of those on the disk.
    pub bytes: u64,
    /// Seconds that the oldest of them waits, at the least.
    pub oldest_age_s: u64,
    /// Messages taken.
    pub accepted: u64,
    /// Bytes of their payloads.
    pub accepted_bytes: u64,
    /// Messages given up at a bound.
    pub dropped: u64,
    /// Messages given up for their age.
    pub expired: u64,
    /// Messages that could not be held and were refused.
    pub refused: u64,
    /// Messages that a peer refused, among the dead letters.
    pub dead: u64,
    /// Groups of messages found damaged.
    pub damaged: u64,
    /// Bytes of all files of the store.
    pub disk_bytes: u64,
    /// Bytes that its file system has left.
    pub disk_bytes_free: Option<u64>,
    /// Bound of these files by the configuration, in bytes.
    pub disk_bytes_max: u64,
    /// The bound in force: no more than the file system can give.
    pub disk_bytes_max_in_force: u64,
    /// Bytes written.
    pub disk_bytes_written: u64,
    /// Bytes written today.
    pub disk_bytes_written_today: u64,
    /// Bytes ever written.
    pub disk_bytes_written_total: u64,
    /// Syncs made.
    pub syncs: u64,
    /// Syncs made today.
    pub syncs_today: u64,
    /// Syncs ever made.
    pub syncs_total: u64,
    /// Seconds between two commits.
    pub commit_after_s: f64,
    /// Why the store takes nothing.
    pub error: Option<String>,
}

/// The first of the devices, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Devices {
    /// By their id.
    pub devices: BTreeMap<String, DeviceStatus>,
    /// All of them.
    pub devices_total: DeviceCounts,
    /// Ids that came when there was no place for another device.
    pub devices_ignored: u64,
}

/// Known devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeviceCounts {
    /// Those that are online.
    pub online: usize,
    /// Those that are not.
    pub offline: usize,
}

/// How a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceStatus {
    /// Whether it is there.
    pub status: Online,
    /// Since when.
    pub since: Timestamp,
    /// Why that is believed.
    pub reason: Reason,
}

/// How a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerStatus {
    /// What it has turned away.
    #[serde(flatten)]
    pub counts: Counts,
    /// Where it is reached, as urls.
    pub listening: Vec<String>,
    /// The application that it belongs to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub application: String,
    /// Its certificate, where it has one.
    #[serde(flatten)]
    pub certificate: Option<CertificateStatus>,
}

/// How the certificate of a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// Days until it ends.
    pub certificate_days_left: Option<i64>,
    /// What is wrong with the files that were to renew it.
    pub certificate_error: Option<String>,
}

/// What the sources count by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceCounts {
    /// Messages that broke the schema of their route.
    pub violations: Vec<Violations>,
    /// Those who listen.
    pub consumers: Consumers,
}

/// Messages that broke the schema of one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violations {
    /// Id of the server.
    pub server: String,
    /// Path of the route.
    pub route: String,
    /// How many.
    pub count: u64,
}

/// Those who read at `/subscribe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Consumers {
    /// How many there are.
    pub subscribers: usize,
    /// Messages that one of them had no room for.
    pub dropped: u64,
}

/// A wall time, UTC, in ns since 1970. It is written as RFC 3339 has it, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub u64);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

impl From<bool> for Online {
    fn from(is_online: bool) -> Online {
        if is_online { Online::Online } else { Online::Offline }
    }
}

/// A wall time in words, UTC, to the millisecond.
pub fn rfc3339(wall_ns: u64) -> String {
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_nanos(wall_ns)).to_string()
}
