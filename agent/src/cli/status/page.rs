//! The status as a page for a terminal. What the agent does not tell is left out.

use std::time::Duration;

use holdfast_core::observe::held::held_words;
use holdfast_core::observe::problem::{notices, problems, sorted, span};
use holdfast_core::terminal::{columns, cut, wrapped};
use serde_json::Value;

use super::{size, text};
use crate::cli::clean;
use crate::cli::table;

/// Room for the name of a device that stands among others in a line.
const DEVICE_MAX: usize = 24;
/// Lines that the devices get before the machine and the servers do.
const DEVICE_LINES: usize = 6;
/// Indentation of what stands behind a heading as `BUFFER`.
const INDENT: usize = 8;

/// How a page is to look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns of the terminal; none where lines may have any length.
    pub width: Option<usize>,
    /// Lines of the terminal; none where there may be any number of them.
    pub height: Option<usize>,
    /// Whether states are coloured.
    pub colour: bool,
    /// The time by the wall clock, in ns since 1970.
    pub now_ns: u64,
}

impl Look {
    /// The lines of a status, with what is wrong with the configuration on the disk and what went on since the status before. A terminal that has too few lines for all of them gets no
    /// machine, then no servers, and its devices in fewer lines.
    pub fn page(&self, status: &Value, fault: Option<&str>, rates: &[String]) -> Vec<String> {
        // A configuration that was rejected is the same file, as it was then.
        let rejected = status["configuration_rejected"]
            .as_str()
            .map(|why| format!("a newer configuration was rejected: {}", why.replace('\n', "; ")));
        let fault = fault.map(str::to_owned).or(rejected);
        let mut lines = fault.map_or_else(Vec::new, |fault| self.wrapped(&format!("! {}", clean(&fault)), 2));
        lines.extend(self.head(status));
        lines.extend(section(self.links(status)));
        lines.extend(section(self.sources(status)));
        lines.extend(section(self.buffer(status)));
        if !rates.is_empty() {
            lines.extend(self.facts("RATES   ", rates.iter().cloned()));
        }
        let repairs = status["repairs"].as_array().into_iter().flatten();
        lines.extend(repairs.flat_map(|repair| self.wrapped(&format!("repair: {}", text(repair)), 2)));
        let height = self.height.unwrap_or(usize::MAX);
        let devices = section(self.devices(status)).len();
        for own in [section(self.servers(status)), section(self.host(&status["host"]))] {
            if lines.len() + own.len() + devices.min(DEVICE_LINES) <= height {
                lines.extend(own);
            }
        }
        if lines.len() + devices > height {
            lines.extend(section(self.devices_in(status, height.saturating_sub(lines.len() + 1))));
        } else {
            lines.extend(section(self.devices(status)));
        }
        self.clipped(lines)
    }

    /// No more lines than the terminal has; the last one says how many are missing.
    pub fn clipped(&self, mut lines: Vec<String>) -> Vec<String> {
        let most = self.height.unwrap_or(usize::MAX);
        if lines.len() > most {
            let missing = lines.len() - most.saturating_sub(1);
            lines.truncate(most.saturating_sub(1));
            lines.extend(
                self.wrapped(&format!("… and {missing} more lines: `holdfast status` has all"), 0)
                    .into_iter()
                    .take(1),
            );
        }
        lines
    }

    /// A text from outside in lines that fit.
    pub fn wrapped(&self, line: &str, indent: usize) -> Vec<String> {
        match self.width {
            Some(width) => wrapped(line, width, indent),
            None => vec![line.to_owned()],
        }
    }

    /// Facts one behind the other, in as many lines as they need.
    fn facts(&self, heading: &str, facts: impl IntoIterator<Item = String>) -> Vec<String> {
        let width = self.width.unwrap_or(usize::MAX);
        let mut lines = Vec::new();
        let mut line = heading.to_owned();
        let mut is_fresh = true;
        for fact in facts {
            if !is_fresh && columns(&line) + 2 + columns(&fact) > width {
                lines.push(std::mem::replace(&mut line, " ".repeat(INDENT)));
                is_fresh = true;
            }
            line.push_str(if is_fresh { "" } else { "  " });
            line.push_str(&fact);
            is_fresh = false;
        }
        lines.push(line);
        lines
            .into_iter()
            .flat_map(|line| if columns(&line) > width { self.wrapped(&line, INDENT) } else { vec![line] })
            .collect()
    }

    fn table(&self, heads: &str, rows: &[Vec<String>]) -> Vec<String> {
        let is_state = |head: &str| matches!(head, "STATE" | "STATUS");
        table::lines(
            heads,
            rows,
            self.width,
            |head, cell| if is_state(head) { self.state(cell) } else { cell.to_owned() },
        )
    }

    fn state(&self, state: &str) -> String {
        let colour = match state {
            _ if !self.colour => return state.to_owned(),
            "up" | "online" | "empty" => 32,
            "holding" | "inactive" | "disconnected" => 33,
            _ => 31,
        };
        format!("\x1b[{colour}m{state}\x1b[0m")
    }

    /// How long ago a time is that the agent tells.
    fn ago(&self, time: &Value) -> Option<String> {
        let at = humantime::parse_rfc3339(time.as_str()?).ok()?;
        let at = at.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
        Some(span(Duration::from_nanos(self.now_ns).saturating_sub(at).as_secs_f64()))
    }

    fn head(&self, status: &Value) -> Vec<String> {
        let state = text(&status["state"]);
        let mut facts = vec![state.clone()];
        facts.extend(status["uptime_s"].as_f64().map(|uptime_s| format!("up {}", span(uptime_s))));
        if !status["clock"].is_null() {
            facts.push(format!("clock {}", text(&status["clock"])));
        }
        let agent = format!("{} {}  ", text(&status["agent"]), text(&status["version"]));
        let mut lines = self.facts(&agent, facts);
        if let Some(first) = lines.first_mut() {
            *first = first.replacen(&format!("  {state}"), &format!("  {}", self.state(&state)), 1);
        }
        for (mark, words) in [("!", problems(status)), ("-", notices(status))] {
            lines.extend(words.iter().flat_map(|words| self.wrapped(&format!("{mark} {}", clean(words)), 2)));
        }
        lines
    }

    fn links(&self, status: &Value) -> Vec<String> {
        let mqtt = status.get("mqtt").map(|mqtt| ("mqtt", mqtt));
        let links: Vec<(&str, &Value)> = sorted(&status["links"]).into_iter().chain(mqtt).collect();
        let or_none = |words: Option<String>| words.unwrap_or_else(|| "-".to_owned());
        let rows: Vec<Vec<String>> = links
            .iter()
            .map(|(id, link)| {
                vec![
                    clean(id),
                    text(&link["state"]),
                    or_none(self.ago(&link["since"])),
                    text(&link["unconfirmed"]),
                    or_none(link["retry_in_s"].as_f64().map(|s| format!("in {}", span(s)))),
                    or_none(self.ago(&link["last_confirmed"]).map(|ago| format!("{ago} ago"))),
                    or_none(link["rtt_ms"].as_f64().map(|rtt_ms| format!("{rtt_ms:.0} ms"))),
                    text(&link["reconnects"]),
                ]
            })
            .collect();
        let mut lines = self.table("LINK,STATE,FOR,HELD,NEXT TRY?,CONFIRMED?,RTT?,RECONNECTS?", &rows);
        for (id, link) in links {
            // Which of several.
            if let Some(number) = link["url_number"].as_u64() {
                lines
                    .extend(self.wrapped(&format!("{}: url {number}, {}", clean(id), text(&link["url"])), 2));
            }
        }
        lines
    }

    fn sources(&self, status: &Value) -> Vec<String> {
        let or_none = |words: Option<String>| words.unwrap_or_else(|| "-".to_owned());
        let row = |(id, source): &(&str, &Value)| {
            vec![
                clean(id),
                text(&source["state"]),
                or_none(self.ago(&source["since"])),
                text(&source["received"]),
                or_none(self.ago(&source["last_received"]).map(|ago| format!("{ago} ago"))),
                or_none(source["retry_in_s"].as_f64().map(|s| format!("in {}", span(s)))),
                or_none(source["rtt_ms"].as_f64().map(|rtt_ms| format!("{rtt_ms:.0} ms"))),
                text(&source["reconnects"]),
            ]
        };
        let rows: Vec<Vec<String>> = sorted(&status["sources"]).iter().map(row).collect();
        if rows.is_empty() {
            return Vec::new();
        }
        self.table("SOURCE,STATE,FOR,RECEIVED,LAST?,NEXT TRY?,RTT?,RECONNECTS?", &rows)
    }

    fn buffer(&self, status: &Value) -> Vec<String> {
        let buffer = &status["buffer"];
        if buffer.is_null() {
            return Vec::new();
        }
        let bytes = |key: &str| buffer[key].as_u64().map(size);
        let state = text(&buffer["state"]);
        let mut words = vec![held(status, &state)];
        words.extend(
            bytes("bytes").filter(|_| buffer["bytes"] != 0).map(|bytes| format!("{bytes} of it on the disk")),
        );
        let age_s = buffer["oldest_age_s"].as_f64().filter(|age_s| *age_s > 0.0);
        words.extend(age_s.map(|age_s| format!("oldest {}", span(age_s))));
        let mut lines = self.facts("BUFFER  ", words);
        if let Some(first) = lines.first_mut() {
            *first = first.replacen(&state, &self.state(&state), 1);
        }
        let counts = ["dropped", "expired", "refused", "dead", "damaged"];
        let counts = counts.iter().filter_map(|name| Some(format!("{name} {}", buffer[*name].as_u64()?)));
        let counts: Vec<String> = counts.collect();
        if !counts.is_empty() {
            lines.extend(self.facts("        ", counts));
        }
        let disk = disk(buffer);
        if !disk.is_empty() {
            lines.extend(self.facts("        ", disk));
        }
        lines
    }

    fn servers(&self, status: &Value) -> Vec<String> {
        let servers = sorted(&status["servers"]);
        let rows: Vec<Vec<String>> = servers
            .iter()
            .map(|(id, server)| {
                let days = server["certificate_days_left"].as_i64();
                let bind: Vec<String> =
                    server["listening"].as_array().into_iter().flatten().map(text).collect();
                let turned_away = turned_away(server);
                vec![
                    clean(id),
                    if bind.is_empty() { "-".to_owned() } else { bind.join(" ") },
                    days.map_or("-".to_owned(), |days| format!("{days} days")),
                    if turned_away.is_empty() { "nothing".to_owned() } else { turned_away.join(", ") },
                ]
            })
            .collect();
        self.table("SERVER,LISTENING~,CERTIFICATE,TURNED AWAY~", &rows)
    }

    fn host(&self, host: &Value) -> Vec<String> {
        let number = |key: &str| host[key].as_f64();
        let bytes = |key: &str| host[key].as_u64().map(size);
        let memory = bytes("memory_used_bytes").zip(bytes("memory_total_bytes"));
        let facts = [
            number("cpu_percent").map(|percent| format!("cpu {percent} %")),
            number("load_1m").map(|load| format!("load {load}")),
            memory.map(|(used, total)| format!("memory {used} of {total}")),
            bytes("disk_free_bytes").map(|free| format!("disk {free} free")),
            number("temperature_c").map(|degrees| format!("{degrees} °C")),
            number("uptime_s").map(|seconds| format!("up {}", span(seconds))),
        ];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        if facts.is_empty() { Vec::new() } else { self.facts("HOST    ", facts) }
    }

    /// The devices, a line each.
    fn devices(&self, status: &Value) -> Vec<String> {
        let devices = sorted(&status["devices"]);
        if devices.is_empty() {
            return Vec::new();
        }
        let row = |(id, device): &(&str, &Value)| {
            let since = self.ago(&device["since"]).unwrap_or_else(|| "-".to_owned());
            vec![clean(id), text(&device["status"]), since, text(&device["reason"])]
        };
        let rows: Vec<Vec<String>> = devices.iter().map(row).collect();
        let mut lines = self.table("DEVICE,STATUS,FOR,REASON?", &rows);
        let not_listed = not_listed(status, devices.len());
        if not_listed > 0 {
            let at_broker =
                if status["mqtt"].is_object() { "; each has its topic at the broker" } else { "" };
            lines.extend(self.wrapped(&format!("and {not_listed} more{at_broker}"), 2));
        }
        lines
    }

    /// The devices in so many lines: several in each, those that are offline first.
    fn devices_in(&self, status: &Value, height: usize) -> Vec<String> {
        let width = self.width.unwrap_or(usize::MAX);
        let devices = sorted(&status["devices"]);
        let not_listed = not_listed(status, devices.len());
        let is_online = |device: &Value| device["status"] == "online";
        let count =
            |state: &str| status["devices_total"][state].as_u64().map(|count| format!("{count} {state}"));
        let counts: Vec<String> = ["online", "offline"].into_iter().filter_map(count).collect();
        let mut lines = vec![cut(&format!("DEVICES {}", counts.join(", ")), width).into_owned()];
        let mut order: Vec<&(&str, &Value)> = devices.iter().collect();
        order.sort_by_key(|(_, device)| is_online(device));
        let cells: Vec<(String, bool)> = order
            .iter()
            .map(|(id, device)| {
                let (id, online) = (clean(id), is_online(device));
                let words = if online { id } else { format!("{id} {}", text(&device["status"])) };
                (cut(&words, DEVICE_MAX.min(width)).into_owned(), online)
            })
            .collect();
        let widest = cells.iter().map(|(words, _)| columns(words)).max().unwrap_or(1);
        let in_a_line = ((width + 2) / (widest + 2)).max(1);
        let rest = height.saturating_sub(1);
        let fits = rest * in_a_line >= cells.len() && not_listed == 0;
        let shown = if fits { rest } else { rest.saturating_sub(1) };
        for some in cells.chunks(in_a_line).take(shown) {
            let mut line = String::new();
            for (words, online) in some {
                let painted =
                    if *online || !self.colour { words.clone() } else { format!("\x1b[31m{words}\x1b[0m") };
                line.push_str(&painted);
                line.extend(std::iter::repeat_n(' ', widest + 2 - columns(words)));
            }
            lines.push(line.trim_end().to_owned());
        }
        let missing = (cells.len().saturating_sub(shown * in_a_line)) as u64 + not_listed;
        if missing > 0 {
            lines.push(cut(&format!("and {missing} more"), width).into_owned());
        }
        lines.truncate(height);
        lines
    }
}

/// How many devices the agent has beside those that it lists.
fn not_listed(status: &Value, listed: usize) -> u64 {
    let count = |state: &str| status["devices_total"][state].as_u64().unwrap_or_default();
    (count("online") + count("offline")).saturating_sub(listed as u64)
}

/// An empty line in front of what is not empty.
fn section(lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() { lines } else { std::iter::once(String::new()).chain(lines).collect() }
}

/// `holding 40 messages for 2 links`
fn held(status: &Value, state: &str) -> String {
    let of = |link: &Value| link["unconfirmed"].as_u64().unwrap_or_default();
    let links: Vec<(String, u64)> =
        sorted(&status["links"]).into_iter().map(|(id, link)| (clean(id), of(link))).collect();
    let links: Vec<(&str, u64)> = links.iter().map(|(id, held)| (id.as_str(), *held)).collect();
    let words = held_words(&links, of(&status["mqtt"]));
    match (state, words.as_str()) {
        (_, "nothing") => state.to_owned(),
        ("empty", _) => format!("passing on {words}"),
        ("holding", _) => format!("holding {words}"),
        _ => format!("{state}, holding {words}"),
    }
}

fn disk(buffer: &Value) -> Vec<String> {
    let bytes = |key: &str| buffer[key].as_u64();
    let mut facts = Vec::new();
    if let (Some(disk_bytes), Some(most)) =
        (bytes("disk_bytes"), bytes("disk_bytes_max").or(bytes("max_bytes")))
    {
        let in_force = bytes("disk_bytes_max_in_force").unwrap_or(most);
        facts.push(format!("disk {} of {}", size(disk_bytes), size(in_force)));
        if in_force < most {
            facts.push(format!("(the file system gives no more of {})", size(most)));
        }
    }
    let written = [
        ("disk_bytes_written", "since the start"),
        ("disk_bytes_written_today", "today"),
        ("disk_bytes_written_total", "in all"),
    ];
    let written = written.iter().filter_map(|(key, when)| Some(format!("{} {when}", size(bytes(key)?))));
    facts.extend(
        written.enumerate().map(|(index, fact)| if index == 0 { format!("written {fact}") } else { fact }),
    );
    facts.extend(bytes("syncs").map(|syncs| format!("syncs {syncs}")));
    facts
}

/// Refusals of a server, by their kind.
fn turned_away(server: &Value) -> Vec<String> {
    let counts = sorted(server).into_iter().filter(|(name, _)| !name.starts_with("certificate"));
    let counts = counts.filter_map(|(name, count)| Some((name, count.as_u64().filter(|count| *count > 0)?)));
    counts.map(|(name, count)| format!("{count} {}", clean(&name.replace('_', " ")))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    /// 2026-01-01T00:01:00Z
    const NOW_NS: u64 = 1_767_225_660_000_000_000;
    const WIDE: Look = Look { width: None, height: None, colour: false, now_ns: NOW_NS };

    fn status() -> Value {
        json!({
            "state": "online", "agent": "gw-17", "version": "0.1.0", "uptime_s": 3723, "clock": "synced",
            "links": {
                "cloud": { "state": "up", "since": "2026-01-01T00:00:00.000Z", "rtt_ms": 31.4, "reconnects": 2,
                    "unconfirmed": 0, "last_error": null, "retry_in_s": null, "last_confirmed": "2026-01-01T00:00:57.000Z" },
                "lab": { "state": "down", "since": "2026-01-01T00:00:01.000Z", "rtt_ms": null, "reconnects": 0,
                    "unconfirmed": 12, "last_error": "cannot dial\u{1b}[2J", "retry_in_s": 61.5, "url_number": 2, "url": "ws://b" },
            },
            "mqtt": { "state": "up", "since": "2026-01-01T00:00:00.000Z", "unconfirmed": 3, "reconnects": 0 },
            "buffer": { "state": "holding", "store": "ok", "messages": 15, "bytes": 1234, "oldest_age_s": 60, "dropped": 0,
                "disk_bytes": 1_500_000, "max_bytes": 256_000_000, "disk_bytes_written": 9, "syncs": 4 },
            "host": { "cpu_percent": 3.5, "memory_used_bytes": 100_000_000, "memory_total_bytes": 512_000_000,
                "temperature_c": 48.1, "load_1m": 0.12, "disk_free_bytes": null, "uptime_s": 86_400 },
            "devices": { "pump10": { "status": "online", "since": "2026-01-01T00:00:00.000Z", "reason": "heard" },
                "pump9": { "status": "offline", "since": "2026-01-01T00:00:30.000Z", "reason": "silent" } },
            "devices_total": { "online": 102, "offline": 1 },
            "repairs": ["the store was born again"],
            "servers": { "sensors": { "failed_logins": 3, "throttled": 0, "denied_users": 1, "certificate_days_left": 9,
                "certificate_error": null, "listening": ["http://127.0.0.1:9998"] }, "quiet": { "failed_logins": 0 } },
        })
    }

    #[test]
    fn a_configuration_that_was_rejected_is_told_with_its_faults() {
        let mut status = status();
        status["configuration_rejected"] = json!("holdfast.toml:3: no\nholdfast.toml:4: nor this");
        let page = WIDE.page(&status, None, &[]);
        assert_eq!(
            page[0],
            "! a newer configuration was rejected: holdfast.toml:3: no; holdfast.toml:4: nor this"
        );
    }

    #[test]
    fn a_status_is_a_page_of_tables_without_the_columns_that_are_empty() {
        let expected = "\
gw-17 0.1.0  online  up 1h 2m  clock synced
! link lab is down: cannot dial\\u001b[2J; next try in 1m 1s
- the certificate of server sensors expires in 9 days

LINK   STATE  FOR  HELD  NEXT TRY  CONFIRMED  RTT    RECONNECTS
cloud  up     1m   0     -         3s ago     31 ms  2
lab    down   59s  12    in 1m 1s  -          -      0
mqtt   up     1m   3     -         -          -      0
lab: url 2, ws://b

BUFFER  holding 12 messages for lab and 3 for the broker  1.2 kB of it on the disk  oldest 1m
        dropped 0
        disk 1.5 MB of 256.0 MB  written 9 B since the start  syncs 4
repair: the store was born again

SERVER   LISTENING              CERTIFICATE  TURNED AWAY
quiet    -                      -            nothing
sensors  http://127.0.0.1:9998  9 days       1 denied users, 3 failed logins

HOST    cpu 3.5 %  load 0.12  memory 100.0 MB of 512.0 MB  48.1 °C  up 1day

DEVICE  STATUS   FOR  REASON
pump9   offline  30s  silent
pump10  online   1m   heard
and 101 more; each has its topic at the broker";
        assert_eq!(WIDE.page(&status(), None, &[]).join("\n"), expected);
    }

    #[test]
    fn an_agent_that_tells_nothing_is_shown_all_the_same() {
        assert_eq!(WIDE.page(&json!({}), None, &[]), ["- -  -"]);
    }

    fn crowd(devices: usize) -> Value {
        let mut status = status();
        let since = "2026-01-01T00:00:00.000Z";
        let device = |number: usize| {
            let state = if number == 33 { "offline" } else { "online" };
            (format!("device-{number}"), json!({ "status": state, "since": since, "reason": "heard" }))
        };
        status["devices"] = (1..=devices).map(device).collect::<Map<String, Value>>().into();
        status["devices_total"] = json!({ "online": devices - 1, "offline": 1 });
        status
    }

    #[test]
    fn a_page_that_is_watched_fits_every_terminal() {
        for (width, height) in [(80, 24), (60, 24), (60, 40), (40, 10), (132, 50), (20, 3), (8, 1)] {
            for devices in [3, 40, 100] {
                let look = Look { width: Some(width), height: Some(height), ..WIDE };
                let lines = look.page(
                    &crowd(devices),
                    None,
                    &["in 0/s".to_owned(), "a link with a long name confirmed 0/s".to_owned()],
                );
                assert!(lines.len() <= height, "{width}x{height}: {lines:#?}");
                assert!(lines.iter().all(|line| columns(line) <= width), "{width}x{height}: {lines:#?}");
            }
        }
    }

    #[test]
    fn devices_that_have_no_line_of_their_own_stand_together_those_that_are_offline_first() {
        let look = Look { width: Some(80), height: Some(32), ..WIDE };
        let lines = look.page(&crowd(40), None, &[]);
        let at =
            lines.iter().position(|line| line == "DEVICES 39 online, 1 offline").expect("they are counted");
        assert!(lines[at + 1].starts_with("device-33 offline  device-1           device-2 "), "{lines:#?}");
        assert!(lines.last().is_some_and(|last| last.starts_with("and ")), "{lines:#?}");
        let all = Look { height: Some(60), ..look }.page(&crowd(25), None, &[]).join("\n");
        assert!(all.contains("device-9   online") && !all.contains("more"), "{all}");
    }

    #[test]
    fn colours_do_not_move_the_columns() {
        let painted = Look { colour: true, ..WIDE }.page(&status(), None, &[]).join("\n");
        assert!(painted.contains("\x1b[31mdown\x1b[0m   59s"), "{painted}");
        let bare = ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"]
            .iter()
            .fold(painted, |page, code| page.replace(code, ""));
        assert_eq!(bare, WIDE.page(&status(), None, &[]).join("\n"));
    }
}
