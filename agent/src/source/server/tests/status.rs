//! The status of an agent that is not there.

use std::collections::BTreeMap;

use holdfast_core::device::presence::Reason;
use holdfast_core::link::LinkState;
use holdfast_core::message::Clock;
use holdfast_core::observe::host::{HostFacts, HostStatus};
use holdfast_core::observe::status::{
    BufferStatus, CertificateStatus, DeviceCounts, DeviceStatus, Devices, LinkStatus, Online, ServerStatus,
    SourceStatus, Status, Timestamp,
};
use holdfast_core::outlet::buffer::{BufferState, StoreState};
use holdfast_core::source::access::Counts;

/// One link that is up and a broker that is not, 101 devices and a server.
pub fn status() -> Status {
    let pump = DeviceStatus { status: Online::Online, since: Timestamp(0), reason: Reason::Heard };
    let certificate = CertificateStatus { certificate_days_left: Some(2), certificate_error: None };
    let server = ServerStatus {
        counts: Counts { failed_logins: 3, ..Counts::default() },
        listening: vec!["http://127.0.0.1:9998".to_owned()],
        application: String::new(),
        certificate: Some(certificate),
    };
    Status {
        state: Online::Online,
        agent: "gw".to_owned(),
        version: "1.2.3".to_owned(),
        session: 1,
        since: Timestamp(0),
        uptime_s: 60,
        clock: Clock::Synced,
        clock_since: None,
        links: BTreeMap::from([("cloud".to_owned(), link(LinkState::Up, Some(31.5)))]),
        mqtt: Some(link(LinkState::Down, None)),
        buffer: buffer(),
        host: HostStatus {
            facts: HostFacts { cpu_percent: Some(50.0), ..HostFacts::default() },
            disk_free_bytes: None,
        },
        certificate_days_left: None,
        fetching: BTreeMap::from([("zigbee".to_owned(), source())]),
        servers: BTreeMap::from([("sensors".to_owned(), server)]),
        configuration_rejected: None,
        left_behind: Vec::new(),
        repairs: Vec::new(),
        devices: Some(Devices {
            devices: BTreeMap::from([("pump".to_owned(), pump)]),
            devices_total: DeviceCounts { online: 101, offline: 0 },
            devices_ignored: 0,
        }),
        sources: None,
    }
}

fn link(state: LinkState, rtt_ms: Option<f64>) -> LinkStatus {
    LinkStatus {
        state,
        since: Timestamp(0),
        rtt_ms,
        reconnects: 2,
        last_confirmed: Some(Timestamp(1_500_000_000)),
        last_error: None,
        retry_in_s: None,
        confirmed: 7,
        unconfirmed: 3,
        received: 0,
        received_dropped: 0,
        dropped: 4,
        expired: 5,
        settings_rejected: None,
        held_back: None,
        retry_because: None,
        frame_bytes: None,
        blocked_by: None,
        protocol: None,
        status_refused: None,
        taken_over: None,
        client: None,
        unconfirmed_by_priority: BTreeMap::new(),
    }
}

fn source() -> SourceStatus {
    SourceStatus {
        state: LinkState::Up,
        since: Timestamp(0),
        url: "mqtt://broker".to_owned(),
        rtt_ms: None,
        reconnects: 1,
        last_error: None,
        retry_in_s: None,
        retry_because: None,
        received: 8,
        last_received: Some(Timestamp(2_500_000_000)),
        refused: 1,
        last_refused: None,
        passed_over: 0,
        unmatched: 0,
        subscription_faults: Vec::new(),
        held_back: None,
    }
}

fn buffer() -> BufferStatus {
    BufferStatus {
        state: BufferState::Holding,
        store: StoreState::Ok,
        messages: 3,
        bytes: 0,
        oldest_age_s: 0,
        accepted: 10,
        accepted_bytes: 0,
        dropped: 0,
        expired: 0,
        refused: 0,
        dead: 0,
        damaged: 0,
        disk_bytes: 0,
        disk_bytes_free: None,
        disk_bytes_max: 0,
        disk_bytes_max_in_force: 0,
        disk_bytes_written: 4096,
        disk_bytes_written_today: 0,
        disk_bytes_written_total: 0,
        syncs: 0,
        syncs_today: 0,
        syncs_total: 0,
        commit_after_s: 0.25,
        error: None,
    }
}
