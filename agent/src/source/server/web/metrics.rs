//! The status as metrics, in OpenMetrics 1.0 or the text format of Prometheus. What the status does not tell is left out.

use std::sync::atomic::AtomicU64;

use holdfast_core::link::LinkState;
use holdfast_core::message::Clock;
use holdfast_core::observe::exposition::Exposition;
use holdfast_core::observe::host::HostStatus;
use holdfast_core::observe::status::{
    BufferStatus, Consumers, DeviceCounts, LinkStatus, SourceCounts, SourceStatus, Status, Timestamp,
};
use holdfast_core::outlet::buffer::{BufferState, StoreState};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

const DAY_S: f64 = 86_400.0;

type Labels = Vec<(&'static str, String)>;
/// Name, help, and which count it is.
type LinkCount = (&'static str, &'static str, fn(&LinkStatus) -> u64);
/// The same of a source.
type SourceCount = (&'static str, &'static str, fn(&SourceStatus) -> u64);
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter>;

/// The metrics of a status in a format. The error says that they cannot be written, which no status causes.
pub fn text(status: &Status, format: Exposition) -> Result<String, std::fmt::Error> {
    let mut page = MetricsPage(Registry::with_prefix("holdfast"));
    let version = status.version.clone();
    page.0.register("build", "Version of the agent", Info::new(vec![("version", version)]));
    page.agent(status);
    page.links(status);
    page.buffer(&status.buffer);
    if let Some(sources) = &status.sources {
        page.sources(sources);
    }
    page.host(&status.host);
    page.fetching(status);
    page.servers(status);
    let mut text = String::new();
    encode(&mut text, &page.0)?;
    Ok(format.write(text))
}

struct MetricsPage(Registry);

impl MetricsPage {
    fn agent(&mut self, status: &Status) {
        let uptime_s = as_float(status.uptime_s);
        self.gauge("uptime", "Time since the agent started", Some(Unit::Seconds), Some(uptime_s));
        let synced = f64::from(status.clock == Clock::Synced);
        self.gauge("clock_synced", "Whether the wall clock is synchronized", None, Some(synced));
        let rejected = f64::from(status.configuration_rejected.is_some());
        let help = "Whether an older configuration is in force because the newer one was rejected";
        self.gauge("configuration_rejected", help, None, Some(rejected));
        let left_s = status.certificate_days_left.map(seconds_of_days);
        let help = "Time until the first certificate of a peer ends";
        self.gauge("certificate_remaining", help, Some(Unit::Seconds), left_s);
        let totals = status.devices.as_ref().map(|devices| devices.devices_total);
        let devices = totals.into_iter().flat_map(|DeviceCounts { online, offline }| {
            [("online", online), ("offline", offline)]
                .map(|(state, count)| (vec![("status", state.to_owned())], Some(as_float(count as u64))))
        });
        self.gauges("devices", "Known devices", None, devices);
    }

    fn links(&mut self, status: &Status) {
        let labels = |kind: &str, id: &str| vec![("kind", kind.to_owned()), ("link", id.to_owned())];
        let clients = status.links.iter().map(|(id, link)| (labels("websocket", id), link));
        let links: Vec<(Labels, &LinkStatus)> =
            clients.chain(status.mqtt.iter().map(|link| (labels("mqtt", "mqtt"), link))).collect();
        let all = |read: fn(&LinkStatus) -> Option<f64>| -> Vec<(Labels, Option<f64>)> {
            links.iter().map(|(labels, link)| (labels.clone(), read(link))).collect()
        };
        let up = all(|link| Some(f64::from(link.state == LinkState::Up)));
        self.gauges("link_up", "Whether the link is up", None, up);
        let rtt = all(|link| link.rtt_ms.map(|ms| ms / 1000.0));
        self.gauges("link_rtt", "Round trip of the last ping", Some(Unit::Seconds), rtt);
        let unconfirmed = all(|link| Some(as_float(link.unconfirmed)));
        self.gauges("link_unconfirmed_messages", "Messages held for the link", None, unconfirmed);
        let confirmed = all(|link| link.last_confirmed.map(|Timestamp(ns)| ns as f64 / 1e9));
        let help = "When the peer confirmed something for the last time, since 1970";
        self.gauges("link_last_confirmed_timestamp", help, Some(Unit::Seconds), confirmed);
        let counts: [LinkCount; 6] = [
            ("link_reconnects", "How often the link came up again", |link| link.reconnects),
            ("link_confirmed_messages", "Messages confirmed by the peer", |link| link.confirmed),
            ("link_dropped_messages", "Messages for the link given up at a bound", |link| link.dropped),
            ("link_expired_messages", "Messages for the link given up for their age", |link| link.expired),
            ("link_received_messages", "Messages that the peer sent", |link| link.received),
            ("link_received_dropped_messages", "Messages of the peer that were given up", |link| {
                link.received_dropped
            }),
        ];
        for (name, help, read) in counts {
            self.counters(name, help, None, links.iter().map(|(labels, link)| (labels.clone(), read(link))));
        }
    }

    fn buffer(&mut self, buffer: &BufferStatus) {
        for (name, help, unit, count) in [
            ("accepted_messages", "Messages taken", None, buffer.accepted),
            ("accepted_payload", "Bytes of their payloads", Some(Unit::Bytes), buffer.accepted_bytes),
            ("refused_messages", "Messages refused because they could not be held", None, buffer.refused),
            ("dropped_messages", "Messages given up at a bound", None, buffer.dropped),
            ("expired_messages", "Messages given up because they were too old", None, buffer.expired),
            ("disk_written", "Bytes written to the disk", Some(Unit::Bytes), buffer.disk_bytes_written),
            ("disk_syncs", "Syncs of the disk", None, buffer.syncs),
            ("card_written", "Bytes ever written", Some(Unit::Bytes), buffer.disk_bytes_written_total),
            ("card_syncs", "Syncs ever made", None, buffer.syncs_total),
        ] {
            self.counters(name, help, unit, [(vec![], count)]);
        }
        for (name, help, unit, value) in [
            ("buffer_messages", "Messages held for all links", None, buffer.messages),
            ("buffer_stored", "Bytes of the messages on the disk", Some(Unit::Bytes), buffer.bytes),
            ("buffer_oldest_age", "Age of the oldest message held", Some(Unit::Seconds), buffer.oldest_age_s),
            ("buffer_dead_letters", "Messages set aside because a peer refused them", None, buffer.dead),
            ("buffer_damaged_groups", "Groups of messages found damaged", None, buffer.damaged),
            ("buffer_disk", "Bytes of all files of the store", Some(Unit::Bytes), buffer.disk_bytes),
            ("card_written_today", "Bytes written today", Some(Unit::Bytes), buffer.disk_bytes_written_today),
            ("card_syncs_today", "Syncs made today", None, buffer.syncs_today),
            ("buffer_disk_max", "Bound of these bytes", Some(Unit::Bytes), buffer.disk_bytes_max_in_force),
        ] {
            self.gauge(name, help, unit, Some(as_float(value)));
        }
        let commit_after_s = Some(buffer.commit_after_s);
        self.gauge("buffer_commit_after", "Time between two commits", Some(Unit::Seconds), commit_after_s);
        let is = |state: BufferState| Some(f64::from(buffer.state == state));
        self.gauge("buffer_full", "Whether the bound is reached", None, is(BufferState::Full));
        self.gauge("buffer_failing", "Whether the disk takes nothing", None, is(BufferState::Failing));
        let is_read_only = f64::from(buffer.store == StoreState::ReadOnly);
        self.gauge("store_read_only", "Whether the store can only be read", None, Some(is_read_only));
    }

    fn sources(&mut self, sources: &SourceCounts) {
        let Consumers { subscribers, dropped } = sources.consumers;
        let subscribers = Some(as_float(subscribers as u64));
        self.gauge("subscribers", "Those who read at /subscribe", None, subscribers);
        let help = "Messages that a subscriber had no room for";
        self.counters("subscriber_dropped_messages", help, None, [(vec![], dropped)]);
        let counts = sources
            .violations
            .iter()
            .map(|own| (vec![("server", own.server.clone()), ("route", own.route.clone())], own.count));
        self.counters("schema_violations", "Messages that broke the schema of their route", None, counts);
    }

    fn fetching(&mut self, status: &Status) {
        let sources = || status.fetching.iter().map(|(id, source)| (vec![("source", id.clone())], source));
        let up = sources().map(|(labels, own)| (labels, Some(f64::from(own.state == LinkState::Up))));
        self.gauges("source_up", "Whether the source is connected", None, up);
        let last =
            sources().map(|(labels, own)| (labels, own.last_received.map(|Timestamp(ns)| ns as f64 / 1e9)));
        let help = "When a message of the source was stored for the last time, since 1970";
        self.gauges("source_last_received_timestamp", help, Some(Unit::Seconds), last);
        let counts: [SourceCount; 5] = [
            ("source_received_messages", "Messages fetched and stored", |own| own.received),
            ("source_refused_messages", "Messages that are not as they have to be", |own| own.refused),
            ("source_passed_over_messages", "Retained messages that were passed over", |own| own.passed_over),
            ("source_unmatched_messages", "Messages that no topic of the configuration means", |own| {
                own.unmatched
            }),
            ("source_reconnects", "How often the source connected again", |own| own.reconnects),
        ];
        for (name, help, read) in counts {
            self.counters(name, help, None, sources().map(|(labels, own)| (labels, read(own))));
        }
    }

    fn host(&mut self, host: &HostStatus) {
        let facts = &host.facts;
        let busy = facts.cpu_percent.map(|percent| (percent * 10.0).round() / 1000.0);
        let ratio = Some(Unit::Other("ratio".to_owned()));
        self.gauge("host_cpu", "Share of time the processors were busy", ratio, busy);
        let whole = |value: Option<u64>| value.map(as_float);
        for (name, help, unit, value) in [
            ("host_memory_used", "Memory in use", Some(Unit::Bytes), whole(facts.memory_used_bytes)),
            (
                "host_memory_total",
                "Memory of the machine",
                Some(Unit::Bytes),
                whole(facts.memory_total_bytes),
            ),
            (
                "host_disk_free",
                "Free on the store's file system",
                Some(Unit::Bytes),
                whole(host.disk_free_bytes),
            ),
            ("host_temperature", "Temperature of the processor", Some(Unit::Celsius), facts.temperature_c),
            ("host_load1", "Load average over a minute", None, facts.load_1m),
            ("host_uptime", "Time since the machine started", Some(Unit::Seconds), whole(facts.uptime_s)),
        ] {
            self.gauge(name, help, unit, value);
        }
        for (name, help, count) in [
            ("host_network_received", "Bytes received by all but loopback", facts.network_received_bytes),
            ("host_network_sent", "Bytes sent by all but loopback", facts.network_sent_bytes),
        ] {
            self.counters(name, help, Some(Unit::Bytes), count.map(|count| (vec![], count)));
        }
    }

    fn servers(&mut self, status: &Status) {
        let reasons = status.servers.iter().flat_map(|(id, server)| {
            let labels = |reason: &str| vec![("server", id.clone()), ("reason", reason.to_owned())];
            server.counts.named().map(|(reason, count)| (labels(reason), count))
        });
        self.counters("server_turned_away", "What a server has turned away", None, reasons);
        let days = status.servers.iter().map(|(id, server)| {
            let days = server.certificate.as_ref().and_then(|own| own.certificate_days_left);
            (vec![("server", id.clone())], days.map(seconds_of_days))
        });
        let help = "Time until the certificate of a server ends";
        self.gauges("server_certificate_remaining", help, Some(Unit::Seconds), days);
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: Option<f64>) {
        self.gauges(name, help, unit, [(vec![], value)]);
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (Labels, Option<f64>)>,
    ) {
        let family = Gauges::default();
        for (labels, value) in values {
            if let Some(value) = value {
                family.get_or_create(&labels).set(value);
            }
        }
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, family),
            None => self.0.register(name, help, family),
        }
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let family = Counters::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, family),
            None => self.0.register(name, help, family),
        }
    }
}

fn seconds_of_days(days: i64) -> f64 {
    days as f64 * DAY_S
}

/// Above 2^53 the last digits are lost, which no graph shows.
fn as_float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdfast_core::observe::host::HostFacts;

    use super::*;
    use crate::source::server::tests::status::status;

    #[test]
    fn a_status_becomes_metrics_with_base_units_and_labels() {
        let status = status();
        let text = text(&status, Exposition::OpenMetrics).unwrap();
        for line in [
            "holdfast_build_info{version=\"1.2.3\"} 1",
            "holdfast_uptime_seconds{} 60.0",
            "holdfast_link_up{kind=\"websocket\",link=\"cloud\"} 1.0",
            "holdfast_link_up{kind=\"mqtt\",link=\"mqtt\"} 0.0",
            "holdfast_link_rtt_seconds{kind=\"websocket\",link=\"cloud\"} 0.0315",
            "holdfast_link_confirmed_messages_total{kind=\"websocket\",link=\"cloud\"} 7",
            "holdfast_link_dropped_messages_total{kind=\"websocket\",link=\"cloud\"} 4",
            "holdfast_link_expired_messages_total{kind=\"websocket\",link=\"cloud\"} 5",
            "holdfast_link_last_confirmed_timestamp_seconds{kind=\"websocket\",link=\"cloud\"} 1.5",
            "holdfast_store_read_only{} 0.0",
            "holdfast_configuration_rejected{} 0.0",
            "holdfast_accepted_messages_total{} 10",
            "holdfast_disk_written_bytes_total{} 4096",
            "holdfast_devices{status=\"online\"} 101.0",
            "holdfast_host_cpu_ratio{} 0.5",
            "holdfast_server_turned_away_total{server=\"sensors\",reason=\"failed_logins\"} 3",
            "holdfast_server_certificate_remaining_seconds{server=\"sensors\"} 172800.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        assert!(
            !text.contains("holdfast_host_temperature_celsius{"),
            "what is not known is not told\n{text}"
        );
        assert!(!text.contains("pump"), "devices are not labels\n{text}");
    }

    /// The names of metrics in a text.
    fn names_in(text: &str) -> BTreeSet<String> {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let names = text.match_indices("holdfast_").map(|(at, _)| &text[at..]);
        names.map(|rest| rest.chars().take_while(|letter| is_part(*letter)).collect()).collect()
    }

    #[test]
    fn the_dashboard_and_the_alerts_name_metrics_that_there_are_and_those_that_matter() {
        let bytes = Some(1);
        let facts = HostFacts {
            memory_used_bytes: bytes,
            memory_total_bytes: bytes,
            temperature_c: Some(50.0),
            ..status().host.facts
        };
        let host = HostStatus { facts, disk_free_bytes: bytes };
        let text = text(&Status { certificate_days_left: Some(9), host, ..status() }, Exposition::Prometheus);
        let text = text.unwrap();
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let metrics: BTreeSet<String> =
            kinds.filter_map(|kind| kind.split(' ').next()).map(str::to_owned).collect();
        let alerts = names_in(include_str!("../../../../../systemd/monitoring/holdfast.rules.yml"));
        let dashboard = names_in(include_str!("../../../../../systemd/monitoring/grafana.json"));
        let unknown: Vec<_> = alerts.union(&dashboard).filter(|name| !metrics.contains(*name)).collect();
        assert!(unknown.is_empty(), "there are no metrics {unknown:?}");
        for (kind, names) in [("alerts", &alerts), ("dashboard", &dashboard)] {
            for word in
                ["_up", "_dropped_", "_expired_", "_last_confirmed_", "certificate", "read_only", "failing"]
            {
                assert!(names.iter().any(|name| name.contains(word)), "{word} is missing in the {kind}");
            }
        }
        let unseen: Vec<_> =
            metrics.iter().filter(|name| !alerts.contains(*name) && !dashboard.contains(*name)).collect();
        let few = [
            "received",
            "subscriber",
            "schema_violations",
            "syncs_today",
            "written_today",
            "commit_after",
            "host_",
            "payload",
            "card_syncs",
            "disk_written",
            "_messages_total",
        ];
        let missing: Vec<_> =
            unseen.iter().filter(|name| !few.iter().any(|part| name.contains(part))).collect();
        assert!(missing.is_empty(), "neither a panel nor an alert shows {missing:?}");
    }
}
