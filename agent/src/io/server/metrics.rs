//! The status in the text format of Prometheus (OpenMetrics 1.0). What the status does not tell is left out.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use serde_json::Value;

/// Media type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const DAY_S: f64 = 86_400.0;

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter>;

/// The metrics of a status. The error says that they cannot be written, which no status causes.
pub fn text(status: &Value) -> Result<String, std::fmt::Error> {
    let mut page = Page(Registry::with_prefix("holdfast"));
    let version = status["version"].as_str().unwrap_or_default().to_owned();
    page.0.register("build", "Version of the agent", Info::new(vec![("version", version)]));
    page.agent(status);
    page.links(status);
    page.buffer(&status["buffer"]);
    page.consumers(&status["consumers"]);
    page.violations(&status["violations"]);
    page.host(&status["host"]);
    page.servers(&status["servers"]);
    let mut text = String::new();
    encode(&mut text, &page.0)?;
    Ok(text)
}

struct Page(Registry);

impl Page {
    fn agent(&mut self, status: &Value) {
        self.gauge("uptime", "Time since the agent started", Some(Unit::Seconds), &status["uptime_s"]);
        let synced = f64::from(status["clock"] == "synced");
        self.gauges("clock_synced", "Whether the wall clock is synchronized", None, [(vec![], Some(synced))]);
        let days = status["certificate_days_left"].as_f64().map(|days| days * DAY_S);
        let help = "Time until the first certificate of a peer ends";
        self.gauges("certificate_remaining", help, Some(Unit::Seconds), [(vec![], days)]);
        let devices = ["online", "offline"]
            .map(|state| (vec![("status", state.to_owned())], status["devices_total"][state].as_f64()));
        self.gauges("devices", "Known devices", None, devices);
    }

    fn links(&mut self, status: &Value) {
        let clients = status["links"].as_object().into_iter().flatten();
        let clients =
            clients.map(|(id, link)| (vec![("kind", "websocket".to_owned()), ("link", id.clone())], link));
        let mqtt = status.get("mqtt");
        let mqtt = mqtt.map(|link| (vec![("kind", "mqtt".to_owned()), ("link", "mqtt".to_owned())], link));
        let links: Vec<(Labels, &Value)> = clients.chain(mqtt).collect();
        let all = |read: &dyn Fn(&Value) -> Option<f64>| -> Vec<(Labels, Option<f64>)> {
            links.iter().map(|(labels, link)| (labels.clone(), read(link))).collect()
        };
        let up = all(&|link| Some(f64::from(link["state"] == "up")));
        self.gauges("link_up", "Whether the link is up", None, up);
        let rtt = all(&|link| link["rtt_ms"].as_f64().map(|ms| ms / 1000.0));
        self.gauges("link_rtt", "Round trip of the last ping", Some(Unit::Seconds), rtt);
        let unconfirmed = all(&|link| link["unconfirmed"].as_f64());
        self.gauges("link_unconfirmed_messages", "Messages held for the link", None, unconfirmed);
        for (name, help, key) in [
            ("link_reconnects", "How often the link came up again", "reconnects"),
            ("link_confirmed_messages", "Messages confirmed by the peer", "confirmed"),
            ("link_received_messages", "Messages that the peer sent", "received"),
            ("link_received_dropped_messages", "Messages of the peer that were given up", "received_dropped"),
        ] {
            let counts = links.iter().map(|(labels, link)| (labels.clone(), &link[key]));
            self.counters(name, help, None, counts);
        }
    }

    fn buffer(&mut self, buffer: &Value) {
        for (name, help, unit, key) in [
            ("accepted_messages", "Messages taken", None, "accepted"),
            ("accepted_payload", "Bytes of their payloads", Some(Unit::Bytes), "accepted_bytes"),
            ("refused_messages", "Messages refused because they could not be held", None, "refused"),
            ("dropped_messages", "Messages given up at a bound", None, "dropped"),
            ("expired_messages", "Messages given up because they were too old", None, "expired"),
            ("disk_written", "Bytes written to the disk", Some(Unit::Bytes), "disk_bytes_written"),
            ("disk_syncs", "Syncs of the disk", None, "syncs"),
            ("card_written", "Bytes ever written", Some(Unit::Bytes), "disk_bytes_written_total"),
            ("card_syncs", "Syncs ever made", None, "syncs_total"),
        ] {
            self.counters(name, help, unit, [(vec![], &buffer[key])]);
        }
        for (name, help, unit, key) in [
            ("buffer_messages", "Messages held for all links", None, "messages"),
            ("buffer_stored", "Bytes of the messages on the disk", Some(Unit::Bytes), "bytes"),
            ("buffer_oldest_age", "Age of the oldest message held", Some(Unit::Seconds), "oldest_age_s"),
            ("buffer_dead_letters", "Messages set aside because a peer refused them", None, "dead"),
            ("buffer_damaged_groups", "Groups of messages found damaged", None, "damaged"),
            ("buffer_disk", "Bytes of all files of the store", Some(Unit::Bytes), "disk_bytes"),
            ("card_written_today", "Bytes written today", Some(Unit::Bytes), "disk_bytes_written_today"),
            ("card_syncs_today", "Syncs made today", None, "syncs_today"),
            ("buffer_commit_after", "Time between two commits", Some(Unit::Seconds), "commit_after_s"),
            ("buffer_disk_max", "Bound of these bytes", Some(Unit::Bytes), "disk_bytes_max_in_force"),
        ] {
            self.gauge(name, help, unit, &buffer[key]);
        }
        let state = |state: &str| Some(f64::from(buffer["state"] == state));
        self.gauges("buffer_full", "Whether the bound is reached", None, [(vec![], state("full"))]);
        self.gauges("buffer_failing", "Whether the disk takes nothing", None, [(vec![], state("failing"))]);
    }

    fn consumers(&mut self, consumers: &Value) {
        self.gauge("subscribers", "Those who read at /subscribe", None, &consumers["subscribers"]);
        let help = "Messages that a subscriber had no room for";
        self.counters("subscriber_dropped_messages", help, None, [(vec![], &consumers["dropped"])]);
    }

    fn violations(&mut self, violations: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = violations.as_array().into_iter().flatten();
        let counts = all.map(|own| {
            (vec![("server", text(&own["server"])), ("route", text(&own["route"]))], &own["count"])
        });
        self.counters("schema_violations", "Messages that broke the schema of their route", None, counts);
    }

    fn host(&mut self, host: &Value) {
        let busy = host["cpu_percent"].as_f64().map(|percent| (percent * 10.0).round() / 1000.0);
        self.gauges(
            "host_cpu",
            "Share of time the processors were busy",
            Some(Unit::Other("ratio".to_owned())),
            [(vec![], busy)],
        );
        for (name, help, unit, key) in [
            ("host_memory_used", "Memory in use", Some(Unit::Bytes), "memory_used_bytes"),
            ("host_memory_total", "Memory of the machine", Some(Unit::Bytes), "memory_total_bytes"),
            ("host_disk_free", "Free on the store's file system", Some(Unit::Bytes), "disk_free_bytes"),
            ("host_temperature", "Temperature of the processor", Some(Unit::Celsius), "temperature_c"),
            ("host_load1", "Load average over a minute", None, "load_1m"),
            ("host_uptime", "Time since the machine started", Some(Unit::Seconds), "uptime_s"),
        ] {
            self.gauge(name, help, unit, &host[key]);
        }
        for (name, help, key) in [
            ("host_network_received", "Bytes received by all but loopback", "network_received_bytes"),
            ("host_network_sent", "Bytes sent by all but loopback", "network_sent_bytes"),
        ] {
            self.counters(name, help, Some(Unit::Bytes), [(vec![], &host[key])]);
        }
    }

    fn servers(&mut self, servers: &Value) {
        let servers = || servers.as_object().into_iter().flatten();
        let reasons = servers().flat_map(|(id, server)| {
            let counts =
                server.as_object().into_iter().flatten().filter(|(name, _)| !name.starts_with("certificate"));
            counts
                .map(move |(reason, count)| (vec![("server", id.clone()), ("reason", reason.clone())], count))
        });
        self.counters("server_turned_away", "What a server has turned away", None, reasons);
        let days = servers().map(|(id, server)| {
            let days = server["certificate_days_left"].as_f64().map(|days| days * DAY_S);
            (vec![("server", id.clone())], days)
        });
        let help = "Time until the certificate of a server ends";
        self.gauges("server_certificate_remaining", help, Some(Unit::Seconds), days);
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: &Value) {
        self.gauges(name, help, unit, [(vec![], value.as_f64())]);
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

    fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (Labels, &'v Value)>,
    ) {
        let family = Counters::default();
        for (labels, value) in values {
            if let Some(value) = value.as_u64() {
                family.get_or_create(&labels).inc_by(value);
            }
        }
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, family),
            None => self.0.register(name, help, family),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_becomes_metrics_with_base_units_and_labels() {
        let status = json!({
            "version": "1.2.3", "uptime_s": 60, "clock": "synced",
            "links": { "cloud": { "state": "up", "rtt_ms": 31.5, "reconnects": 2, "confirmed": 7, "unconfirmed": 3 } },
            "mqtt": { "state": "down", "rtt_ms": null, "reconnects": 0 },
            "buffer": { "state": "holding", "accepted": 10, "disk_bytes_written": 4096 },
            "devices": { "pump": { "status": "online" } }, "devices_total": { "online": 101, "offline": 0 },
            "host": { "cpu_percent": 50.0, "temperature_c": null },
            "servers": { "sensors": { "failed_logins": 3, "certificate_days_left": 2, "certificate_error": null } },
        });
        let text = text(&status).unwrap();
        for line in [
            "holdfast_build_info{version=\"1.2.3\"} 1",
            "holdfast_uptime_seconds{} 60.0",
            "holdfast_link_up{kind=\"websocket\",link=\"cloud\"} 1.0",
            "holdfast_link_up{kind=\"mqtt\",link=\"mqtt\"} 0.0",
            "holdfast_link_rtt_seconds{kind=\"websocket\",link=\"cloud\"} 0.0315",
            "holdfast_link_confirmed_messages_total{kind=\"websocket\",link=\"cloud\"} 7",
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
}
