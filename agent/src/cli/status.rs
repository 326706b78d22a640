//! `holdfast status`: how the running agent is.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_core::time::Time;
use hyper::Method;
use serde_json::{Map, Value};

use super::options::Options;
use super::{clean, colours, interval, print_page};
use crate::net::control;
use crate::os::clock;

/// Shows links, buffer and devices of the running agent
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit code: 0 when the agent answers, 1 when none is running. With --watch an agent that is away is waited for,\n\
    and the rates are those since the answer before.\n\n\
    Examples:\n  holdfast status\n  holdfast status --watch\n  holdfast status --json | jq .buffer.messages\n  \
    holdfast status --json --watch 10s | jq -c '[.uptime_s, .buffer.messages]'"
)]
pub struct Args {
    /// Print the status as the agent gives it, in JSON
    #[arg(long)]
    json: bool,
    /// Show it again each INTERVAL until interrupted, 1s by default; with --json a line each time
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "1s", value_parser = interval)]
    watch: Option<Duration>,
    /// Show only the links and servers that belong to this application
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Control socket of the agent; it follows from the configuration by default
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Asks the agent and prints its answer. The error says that none is running, or what it said instead.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let socket = args.options.control_socket(args.socket.as_deref())?;
    let application = args.application.as_deref();
    if let Some(interval) = args.watch {
        return smol::block_on(watch(&socket, application, interval, args.json));
    }
    let status = smol::block_on(ask(&socket, application))?;
    let text = if args.json { format!("{status:#}\n") } else { render(&status, colours()) };
    // Whoever closes the pipe early has seen enough.
    let _ = print_page(&text);
    Ok(ExitCode::SUCCESS)
}

/// The status of the running agent, in JSON, of one application or of all. The error says that none is running.
pub(super) async fn ask(socket: &Path, application: Option<&str>) -> anyhow::Result<Value> {
    let asked = control::request(socket, Method::GET, "/api/status", None, Vec::new());
    let (code, body) = asked.await.map_err(anyhow::Error::msg)?;
    let text = String::from_utf8_lossy(&body);
    if code != 200 {
        bail!("cannot show the status: the agent answered {code}: {}", text.trim());
    }
    let mut status = serde_json::from_str(&text).context("cannot read the agent's answer")?;
    application.map_or(Ok(()), |application| leave(application, &mut status))?;
    Ok(status)
}

/// Leaves only the links and servers of an application. The error says that there are none, and of which there are some.
fn leave(application: &str, status: &mut Value) -> anyhow::Result<()> {
    let tables = ["links", "servers"];
    let all = tables.iter().filter_map(|kind| status[*kind].as_object()).flat_map(Map::values);
    let names = all.filter_map(|table| table["application"].as_str());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    if !names.iter().any(|name| name == application) {
        names.sort();
        names.dedup();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        bail!("no link and no server belongs to an application {application:?}; there is {known}");
    }
    for kind in tables {
        if let Some(tables) = status[kind].as_object_mut() {
            tables.retain(|_, table| table["application"] == application);
        }
    }
    Ok(())
}

/// Shows the status again and again, in place on a terminal, until somebody interrupts it or nobody reads it any more.
async fn watch(
    socket: &Path,
    application: Option<&str>,
    interval: Duration,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut before: Option<(Time, Value)> = None;
    loop {
        let asked = ask(socket, application).await;
        let now = clock::now().mono;
        let text = match &asked {
            Ok(status) if json => format!("{status}\n"),
            Ok(status) => {
                let since = before.as_ref();
                let rates = since.map(|(then, before)| rates(before, status, now.since(*then).as_secs_f64()));
                render(status, colours()) + &rates.unwrap_or_default()
            }
            Err(error) if json => format!("{}\n", serde_json::json!({ "error": format!("{error:#}") })),
            Err(error) => format!("{error:#}\n"),
        };
        // ED and CUP of ECMA-48: what was there is gone only once there is something new.
        let place = if !json && std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        if print_page(&format!("{place}{text}")).is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        before = asked.ok().map(|status| (now, status));
        smol::Timer::after(interval).await;
    }
}

/// What went on between two answers, by the second. Nothing when the agent was started anew in between.
fn rates(before: &Value, after: &Value, seconds: f64) -> String {
    let number = |status: &Value, pointer: &str| status.pointer(pointer).and_then(Value::as_f64);
    if seconds <= 0.0 || before["session"] != after["session"] {
        return String::new();
    }
    let rate = |pointer: &str| {
        let (after, before) = number(after, pointer).zip(number(before, pointer))?;
        Some((after - before) / seconds)
    };
    let mut line = format!("\nRATES   in {:.0}/s", rate("/buffer/accepted").unwrap_or_default());
    for id in after["links"].as_object().into_iter().flatten().map(|(id, _)| id) {
        let confirmed = rate(&format!("/links/{id}/confirmed")).unwrap_or_default();
        let _ = write!(line, "  {} confirmed {confirmed:.0}/s", clean(id));
    }
    let written = rate("/buffer/disk_bytes_written").unwrap_or_default();
    let _ = write!(line, "  disk {}/s", size(written as u64));
    line + "\n"
}

/// The status as a page for a terminal. What the agent does not tell is left out.
fn render(status: &Value, colour: bool) -> String {
    let paint = Paint(colour);
    let mut page = head(status, &paint);
    page.push_str(&table(&links(status), 1, &paint));
    page.push_str(&buffer(&status["buffer"], &paint));
    page.push_str(&host(&status["host"]));
    page.push_str(&table(&devices(status), 1, &paint));
    page.push_str(&more_devices(status));
    if let Some(why) = status["configuration_rejected"].as_str() {
        let _ = writeln!(page, "a newer configuration was rejected: {}", clean(&why.replace('\n', "; ")));
    }
    for (id, link) in status["links"].as_object().into_iter().flatten() {
        for why in ["settings_rejected", "held_back"].iter().filter_map(|key| link[*key].as_str()) {
            let _ = writeln!(page, "{}: {}", clean(id), clean(why));
        }
    }
    page.push_str(&servers(&status["servers"]));
    for repair in status["repairs"].as_array().into_iter().flatten() {
        let _ = writeln!(page, "repair: {}", text(repair));
    }
    page
}

fn head(status: &Value, paint: &Paint) -> String {
    let mut line = format!(
        "{} {}  {}",
        text(&status["agent"]),
        text(&status["version"]),
        paint.state(&text(&status["state"]))
    );
    if let Some(uptime_s) = status["uptime_s"].as_f64() {
        let _ = write!(line, "  up {}", span(uptime_s));
    }
    for (name, value) in [("clock", &status["clock"]), ("since", &status["since"])] {
        if !value.is_null() {
            let _ = write!(line, "  {name} {}", text(value));
        }
    }
    if let Some(days) = status["certificate_days_left"].as_i64() {
        let _ = write!(line, "  certificate ends in {days} days");
    }
    line + "\n"
}

fn links(status: &Value) -> Vec<Vec<String>> {
    let links = status["links"].as_object().into_iter().flatten();
    let mqtt = status.get("mqtt").map(|mqtt| ("mqtt".to_owned(), mqtt));
    let lines = links.map(|(id, link)| (id.clone(), link)).chain(mqtt).map(|(id, link)| {
        vec![
            clean(&id),
            text(&link["state"]),
            // Which of several.
            link["url_number"].as_u64().map_or("-".to_owned(), |_| text(&link["url"])),
            text(&link["since"]),
            link["rtt_ms"].as_f64().map_or("-".to_owned(), |rtt_ms| format!("{rtt_ms:.0} ms")),
            text(&link["reconnects"]),
            text(&link["unconfirmed"]),
            text(&link["last_confirmed"]),
            link["retry_in_s"]
                .as_f64()
                .map_or("-".to_owned(), |retry_in_s| format!("in {}", span(retry_in_s))),
            text(&link["last_error"]),
        ]
    });
    let head = "LINK,STATE,URL,SINCE,RTT,RECONNECTS,UNCONFIRMED,LAST CONFIRMED,NEXT TRY,LAST ERROR";
    with_head(head, lines.collect())
}

fn devices(status: &Value) -> Vec<Vec<String>> {
    let devices = status["devices"].as_object().into_iter().flatten();
    let lines = devices.map(|(id, device)| {
        vec![clean(id), text(&device["status"]), text(&device["since"]), text(&device["reason"])]
    });
    with_head("DEVICE,STATUS,SINCE,REASON", lines.collect())
}

/// A line about the devices that are not listed.
fn more_devices(status: &Value) -> String {
    let total: u64 =
        ["online", "offline"].iter().filter_map(|state| status["devices_total"][state].as_u64()).sum();
    let listed = status["devices"].as_object().map_or(0, |devices| devices.len() as u64);
    match total.saturating_sub(listed) {
        0 => String::new(),
        more => format!("and {more} more; each has its topic at the broker\n"),
    }
}

/// A line for each server that has turned something away, or whose certificate could not be renewed.
fn servers(servers: &Value) -> String {
    let mut lines = String::new();
    for (id, server) in servers.as_object().into_iter().flatten() {
        let counts =
            server.as_object().into_iter().flatten().filter(|(name, _)| !name.starts_with("certificate"));
        let counts =
            counts.filter_map(|(name, count)| Some((name, count.as_u64().filter(|count| *count > 0)?)));
        let counts: Vec<String> =
            counts.map(|(name, count)| format!("{count} {}", clean(&name.replace('_', " ")))).collect();
        if !counts.is_empty() {
            let _ = writeln!(lines, "server {}: {}", clean(id), counts.join(", "));
        }
        if let Some(error) = server["certificate_error"].as_str() {
            let _ =
                writeln!(lines, "server {}: the certificate cannot be renewed: {}", clean(id), clean(error));
        }
    }
    lines
}

fn with_head(head: &str, lines: Vec<Vec<String>>) -> Vec<Vec<String>> {
    if lines.is_empty() {
        return lines;
    }
    let head = head.split(',').map(str::to_owned).collect();
    std::iter::once(head).chain(lines).collect()
}

fn buffer(buffer: &Value, paint: &Paint) -> String {
    if buffer.is_null() {
        return String::new();
    }
    let mut page = format!("\nBUFFER  {}", paint.state(&text(&buffer["state"])));
    let _ = write!(page, "  {} messages", text(&buffer["messages"]));
    if let Some(bytes) = buffer["bytes"].as_u64() {
        let _ = write!(page, "  {}", size(bytes));
    }
    if let Some(age_s) = buffer["oldest_age_s"].as_f64().filter(|age_s| *age_s > 0.0) {
        let _ = write!(page, "  oldest {}", span(age_s));
    }
    for name in ["dropped", "expired", "refused", "dead", "damaged", "syncs"] {
        if let Some(count) = buffer[name].as_u64() {
            let _ = write!(page, "  {name} {count}");
        }
    }
    let most = buffer["disk_bytes_max"].as_u64().or(buffer["max_bytes"].as_u64());
    if let (Some(disk_bytes), Some(most)) = (buffer["disk_bytes"].as_u64(), most) {
        let in_force = buffer["disk_bytes_max_in_force"].as_u64().unwrap_or(most);
        let _ = write!(page, "\n        disk {} of {}", size(disk_bytes), size(in_force));
        if in_force < most {
            let _ = write!(page, " (the file system gives no more of {})", size(most));
        }
    }
    if let Some(written) = buffer["disk_bytes_written"].as_u64() {
        let _ = write!(page, "  written {}", size(written));
    }
    for (key, when) in [("disk_bytes_written_today", "today"), ("disk_bytes_written_total", "in all")] {
        if let Some(written) = buffer[key].as_u64() {
            let _ = write!(page, ", {} {when}", size(written));
        }
    }
    if let Some(error) = buffer["error"].as_str() {
        let _ = write!(page, "\n        {}", clean(error));
    }
    page + "\n"
}

fn host(host: &Value) -> String {
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
    if facts.is_empty() { String::new() } else { format!("\nHOST    {}\n", facts.join("  ")) }
}

/// Columns of equal width; the one numbered `state` is painted. Columns in which nothing stands are left out.
fn table(lines: &[Vec<String>], state: usize, paint: &Paint) -> String {
    let Some((head, body)) = lines.split_first() else { return String::new() };
    let used = |column: &usize| body.iter().any(|line| line[*column] != "-");
    let columns: Vec<usize> = (0..head.len()).filter(used).collect();
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let mut page = "\n".to_owned();
    for (number, line) in lines.iter().enumerate() {
        let mut row = String::new();
        for &column in &columns {
            let cell = &line[column];
            let shown = if column == state && number > 0 { paint.state(cell) } else { cell.clone() };
            let gap = width(column) - cell.chars().count() + 2;
            row.push_str(&shown);
            row.extend(std::iter::repeat_n(' ', gap));
        }
        page.push_str(row.trim_end());
        page.push('\n');
    }
    page
}

/// A table without colours; nothing without lines.
pub(super) fn plain_table(head: &str, lines: Vec<Vec<String>>) -> String {
    table(&with_head(head, lines), usize::MAX, &Paint(false)).trim_start().to_owned()
}

/// Whether states are coloured.
struct Paint(bool);

impl Paint {
    fn state(&self, state: &str) -> String {
        let colour = match state {
            _ if !self.0 => return state.to_owned(),
            "up" | "online" | "empty" => 32,
            "holding" | "inactive" | "disconnected" => 33,
            _ => 31,
        };
        format!("\x1b[{colour}m{state}\x1b[0m")
    }
}

/// A value for people: `-` where there is none.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => clean(text),
        other => other.to_string(),
    }
}

/// How long something lasts or is ago, for people.
pub(super) fn span(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    humantime::format_duration(Duration::from_secs(whole)).to_string()
}

/// Bytes, for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({
            "state": "online", "agent": "gw-17", "version": "0.1.0", "uptime_s": 3723, "clock": "synced",
            "links": {
                "cloud": { "state": "up", "since": "2026-01-01T00:00:00.000Z", "rtt_ms": 31.4, "reconnects": 2,
                    "unconfirmed": 0, "last_error": null, "retry_in_s": null },
                "lab": { "state": "down", "since": "2026-01-01T00:00:01.000Z", "rtt_ms": null, "reconnects": 0,
                    "unconfirmed": 12, "last_error": "cannot dial\u{1b}[2J", "retry_in_s": 61.5 },
            },
            "buffer": { "state": "holding", "messages": 12, "bytes": 1234, "oldest_age_s": 60, "dropped": 0,
                "disk_bytes": 1_500_000, "max_bytes": 256_000_000 },
            "host": { "cpu_percent": 3.5, "memory_used_bytes": 100_000_000, "memory_total_bytes": 512_000_000,
                "temperature_c": 48.1, "load_1m": 0.12, "disk_free_bytes": null, "uptime_s": 86_400 },
            "devices": { "pump": { "status": "online", "since": "2026-01-01T00:00:00.000Z", "reason": null } },
            "devices_total": { "online": 102, "offline": 1 },
            "configuration_rejected": "holdfast.toml:3: no\nholdfast.toml:4: nor this",
            "repairs": ["the store was born again"],
            "servers": { "sensors": { "failed_logins": 3, "throttled": 0, "denied_users": 1, "certificate_days_left": 9,
                "certificate_error": "a.key: no" }, "quiet": { "failed_logins": 0 } },
        })
    }

    #[test]
    fn a_status_is_a_page_of_tables_without_the_columns_that_are_empty() {
        let expected = "\
gw-17 0.1.0  online  up 1h 2m 3s  clock synced

LINK   STATE  SINCE                     RTT    RECONNECTS  UNCONFIRMED  NEXT TRY  LAST ERROR
cloud  up     2026-01-01T00:00:00.000Z  31 ms  2           0            -         -
lab    down   2026-01-01T00:00:01.000Z  -      0           12           in 1m 1s  cannot dial\\u001b[2J

BUFFER  holding  12 messages  1.2 kB  oldest 1m  dropped 0
        disk 1.5 MB of 256.0 MB

HOST    cpu 3.5 %  load 0.12  memory 100.0 MB of 512.0 MB  48.1 °C  up 1day

DEVICE  STATUS  SINCE
pump    online  2026-01-01T00:00:00.000Z
and 102 more; each has its topic at the broker
a newer configuration was rejected: holdfast.toml:3: no; holdfast.toml:4: nor this
server sensors: 1 denied users, 3 failed logins
server sensors: the certificate cannot be renewed: a.key: no
repair: the store was born again
";
        assert_eq!(render(&status(), false), expected);
    }

    #[test]
    fn an_agent_that_tells_nothing_is_shown_all_the_same() {
        assert_eq!(render(&json!({}), false), "- -  -\n");
    }

    #[test]
    fn rates_are_what_went_on_since_the_answer_before() {
        let at = |accepted: u64, session: u64| {
            json!({ "session": session, "links": { "cloud": { "confirmed": accepted / 2 } },
                "buffer": { "accepted": accepted, "disk_bytes_written": 80 * accepted } })
        };
        let told = "\nRATES   in 50/s  cloud confirmed 25/s  disk 4.0 kB/s\n";
        assert_eq!(rates(&at(0, 1), &at(100, 1), 2.0), told);
        assert_eq!(rates(&at(0, 1), &at(100, 2), 2.0), "", "another life has other counters");
        assert_eq!(rates(&at(0, 1), &at(100, 1), 0.0), "");
    }

    #[test]
    fn colours_do_not_move_the_columns() {
        let painted = render(&status(), true);
        assert!(painted.contains("\x1b[31mdown\x1b[0m   2026"), "{painted}");
        let bare = painted
            .replace("\x1b[31m", "")
            .replace("\x1b[32m", "")
            .replace("\x1b[33m", "")
            .replace("\x1b[0m", "");
        assert_eq!(bare, render(&status(), false));
    }
}
