//! `holdfast status`: how the running agent is.

mod page;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_core::observe::problem::{Condition, condition, sorted};
use holdfast_core::terminal;
use holdfast_core::time::Time;
use hyper::Method;
use serde_json::{Map, Value};

use self::page::Look;
use super::options::Options;
use super::{clean, colours, interval, print, print_page, table, tell};
use crate::net::control;
use crate::os::clock;

/// Exit code where something does not work.
const DEGRADED: u8 = 1;
/// Exit code where no agent answers.
const NO_AGENT: u8 = 2;

/// Shows links, buffer, servers and devices of the running agent
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit code: 0 when all is well, 1 when something does not work (a link or the broker is down, the store \
    fails, a certificate has expired, the configuration is wrong or was rejected), 2 when no agent answers. Lines \
    with ! say what does not work, lines with - what wants attention. With --watch an agent that is away is \
    waited for, the page fits the terminal, and the rates are those since the answer before. --alive is for \
    supervisors of containers, which would start an agent anew for a link that is down.\n\n\
    Examples:\n  holdfast status\n  holdfast status --watch\n  \
    holdfast status > /dev/null || echo 'look after the gateway'\n  holdfast status --json | jq .buffer.messages\n  \
    holdfast status --json --watch 10s | jq -c '[.uptime_s, .buffer.messages]'"
)]
pub struct Args {
    /// Print the status as the agent gives it, in JSON
    #[arg(long)]
    json: bool,
    /// Show it again each INTERVAL until interrupted, 1s by default; with --json a line each time
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "1s", value_parser = interval)]
    watch: Option<Duration>,
    /// Only tell whether the agent answers: exit code 0 if it does, whatever does not work, else 2
    #[arg(long, conflicts_with_all = ["json", "watch", "application"])]
    alive: bool,
    /// Show only the links and servers that belong to this application
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Control socket of the agent; it follows from the configuration by default
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Asks the agent and prints its answer. The error says what is wrong with the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (socket, fault) = find(args)?;
    let socket = match socket {
        Ok(socket) => socket,
        Err(error) => return Ok(no_agent(&error, fault.as_deref())),
    };
    if args.alive {
        return Ok(alive(&socket));
    }
    let application = args.application.as_deref();
    if let (Some(fault), true) = (&fault, args.json) {
        tell(&format!("holdfast: {}\n", terminal::escaped_lines(fault)));
    }
    if let Some(interval) = args.watch {
        return smol::block_on(watch(&socket, application, interval, args.json, fault.as_deref()));
    }
    let status = match smol::block_on(ask(&socket, application)) {
        Ok(status) => status,
        Err(error) => return Ok(no_agent(&error, fault.as_deref())),
    };
    let text = if args.json {
        format!("{status:#}\n")
    } else {
        paged(look(false).page(&status, fault.as_deref(), &[]))
    };
    // Whoever closes the pipe early has seen enough.
    let _ = print_page(&text);
    Ok(if fault.is_some() { ExitCode::from(DEGRADED) } else { exit_code(&status) })
}

/// Tells whether the agent answers, and nothing of how it is.
fn alive(socket: &Path) -> ExitCode {
    match smol::block_on(ask(socket, None)) {
        Ok(status) => {
            let _ = print(&format!("{} {} answers\n", text(&status["agent"]), text(&status["version"])));
            ExitCode::SUCCESS
        }
        Err(error) => no_agent(&error, None),
    }
}

/// The control socket, or why none can be told, and what is wrong with the configuration that it follows from.
fn find(args: &Args) -> anyhow::Result<(anyhow::Result<PathBuf>, Option<String>)> {
    if let Some(socket) = &args.socket {
        return Ok((Ok(socket.clone()), None));
    }
    let found = args.options.find()?;
    let fault = found.faults.first().map(|first| {
        let more = match found.faults.len() {
            1 => String::new(),
            2 => ", and 1 more fault".to_owned(),
            count => format!(", and {} more faults", count - 1),
        };
        format!("the configuration is wrong: {first}{more}; `holdfast check` shows all of it")
    });
    Ok((args.options.socket_of(None, &found.config), fault))
}

fn exit_code(status: &Value) -> ExitCode {
    match condition(status) {
        Condition::Well => ExitCode::SUCCESS,
        Condition::Degraded => ExitCode::from(DEGRADED),
    }
}

fn no_agent(error: &anyhow::Error, fault: Option<&str>) -> ExitCode {
    if let Some(fault) = fault {
        tell(&format!("holdfast: {}\n", terminal::escaped_lines(fault)));
    }
    let remedy =
        "`holdfast doctor` says what is wrong; `systemctl start holdfast` or `holdfast run` starts an agent";
    tell(&format!("holdfast: {}\n{remedy}\n", terminal::escaped_lines(&format!("{error:#}"))));
    ExitCode::from(NO_AGENT)
}

/// How the page is to look on standard output. A page that is drawn again and again has to fit.
fn look(is_watched: bool) -> Look {
    let screen = table::screen();
    Look {
        width: screen.map(|(width, _)| width),
        height: screen.map(|(_, height)| height).filter(|_| is_watched),
        colour: colours(),
        now_ns: clock::now().wall_ns,
    }
}

fn paged(lines: Vec<String>) -> String {
    lines.into_iter().fold(String::new(), |page, line| page + &line + "\n")
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
    fault: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let mut before: Option<(Time, Value)> = None;
    loop {
        let asked = ask(socket, application).await;
        let now = clock::now().mono;
        let look = look(true);
        let text = match &asked {
            Ok(status) if json => format!("{status}\n"),
            Err(error) if json => format!("{}\n", serde_json::json!({ "error": format!("{error:#}") })),
            Ok(status) => {
                let since = before.as_ref();
                let rates = since.map(|(then, before)| rates(before, status, now.since(*then).as_secs_f64()));
                in_place(look, look.page(status, fault, &rates.unwrap_or_default()))
            }
            Err(error) => in_place(look, look.clipped(look.wrapped(&clean(&format!("{error:#}")), 2))),
        };
        if print_page(&text).is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        before = asked.ok().map(|status| (now, status));
        smol::Timer::after(interval).await;
    }
}

/// A page that takes the place of the one before on a terminal: CUP, EL and ED of ECMA-48. What was there goes line by line, and no
/// line feed behind the last line moves the page up.
fn in_place(look: Look, lines: Vec<String>) -> String {
    match look.height {
        Some(_) => format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n")),
        None => paged(lines),
    }
}

/// Activity between two answers, by the second. Nothing when the agent was started again in between.
fn rates(before: &Value, after: &Value, seconds: f64) -> Vec<String> {
    let number = |status: &Value, pointer: &str| status.pointer(pointer).and_then(Value::as_f64);
    if seconds <= 0.0 || before["session"] != after["session"] {
        return Vec::new();
    }
    let rate = |pointer: &str| {
        let (after, before) = number(after, pointer).zip(number(before, pointer))?;
        Some((after - before) / seconds)
    };
    let mut rates = vec![format!("in {:.0}/s", rate("/buffer/accepted").unwrap_or_default())];
    for (id, _) in sorted(&after["links"]).into_iter().filter(|(_, link)| link["state"] != "inactive") {
        let confirmed = rate(&format!("/links/{id}/confirmed")).unwrap_or_default();
        rates.push(format!("{} confirmed {confirmed:.0}/s", clean(id)));
    }
    let written = rate("/buffer/disk_bytes_written").unwrap_or_default();
    rates.push(format!("disk {}/s", size(written as u64)));
    rates
}

/// A value for people: `-` where there is none.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => clean(text),
        other => other.to_string(),
    }
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

    #[test]
    fn rates_are_what_went_on_since_the_answer_before() {
        let at = |accepted: u64, session: u64| {
            json!({ "session": session, "links": { "cloud": { "confirmed": accepted / 2 }, "off": { "state": "inactive" } },
                "buffer": { "accepted": accepted, "disk_bytes_written": 80 * accepted } })
        };
        let told = ["in 50/s", "cloud confirmed 25/s", "disk 4.0 kB/s"];
        assert_eq!(rates(&at(0, 1), &at(100, 1), 2.0), told);
        assert_eq!(rates(&at(0, 1), &at(100, 2), 2.0), [""; 0], "another life has other counters");
        assert_eq!(rates(&at(0, 1), &at(100, 1), 0.0), [""; 0]);
    }
}
