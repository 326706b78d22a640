//! Cost of a message in processor time, memory and bytes written; the same job on what else is installed.
//!
//! Processor time is that of the agent's threads alone (/proc/PID/task/*/schedstat), divided by the number of messages that
//! were confirmed. Bytes written are those that the kernel charges to the process (/proc/PID/io); syncs are the agent's own
//! count. Memory is PSS at rest and the peak of RSS. Nothing is judged here: machines differ, and so do hours.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod bridge;
mod load;
mod process;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use load::{Way, reading};
use process::{Process, wait_until};

/// Messages that were held before they are drained, as the name of the figure says.
const BACKLOG: u64 = 200_000;

/// All figures, in the order in which they were taken.
#[derive(Default)]
pub struct Figures(Vec<(String, String, &'static str, f64)>);

impl Figures {
    /// Adds one.
    pub fn add(&mut self, program: &str, name: &str, unit: &'static str, value: f64) {
        eprintln!("{program}: {name}: {value:.2} {unit}");
        self.0.push((program.to_owned(), name.to_owned(), unit, value));
    }

    fn table(&self) -> String {
        let mut programs: Vec<&str> = Vec::new();
        let mut rows: Vec<(String, BTreeMap<&str, f64>)> = Vec::new();
        for (program, name, unit, value) in &self.0 {
            if !programs.contains(&program.as_str()) {
                programs.push(program);
            }
            let title = if unit.is_empty() { name.clone() } else { format!("{name} [{unit}]") };
            match rows.iter_mut().find(|(known, _)| *known == title) {
                Some((_, values)) => drop(values.insert(program, *value)),
                None => rows.push((title, BTreeMap::from([(program.as_str(), *value)]))),
            }
        }
        let mut table = format!("{:<52}", "");
        for program in &programs {
            let _ = write!(table, "{program:>18}");
        }
        for (title, values) in &rows {
            let _ = write!(table, "\n{title:<52}");
            for program in &programs {
                let value = values.get(program).map_or("-".to_owned(), |value| format!("{value:.2}"));
                let _ = write!(table, "{value:>18}");
            }
        }
        table
    }

    fn document(&self) -> Value {
        let rows = self.0.iter().map(|(program, name, unit, value)| {
            json!({ "program": program, "figure": name, "unit": unit, "value": value })
        });
        rows.collect()
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let value = |name: &str| {
        arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1))
    };
    let (file, only) = (value("--json"), value("--only"));
    let wanted = |scene: &str| only.is_none_or(|only| only == scene);
    let mut figures = Figures::default();
    let (count, held) = if quick { (2_000, 2_000) } else { (200_000, BACKLOG) };
    if wanted("online") {
        online(&mut figures, count)?;
    }
    if wanted("offline") {
        offline(&mut figures, held)?;
    }
    if wanted("idle") {
        idle(&mut figures, Duration::from_secs(if quick { 1 } else { 30 }))?;
    }
    if wanted("reconnect") {
        reconnect(&mut figures)?;
    }
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_holdfast"))?.len();
    figures.add("holdfast", "size, stripped", "MB", size as f64 / 1e6);
    if wanted("bridge") {
        beside(&mut figures, if quick { 500 } else { 100_000 }, if quick { 500 } else { BACKLOG })?;
    }
    println!("{}", figures.table());
    let document = format!("{:#}\n", figures.document());
    let file = file.map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench.json"), PathBuf::from);
    std::fs::write(&file, document).with_context(|| format!("cannot write {}", file.display()))?;
    println!("written to {}", file.display());
    Ok(())
}

/// Measures what else does the job on this machine.
fn beside(figures: &mut Figures, count: u64, held: u64) -> anyhow::Result<()> {
    if !bridge::is_there() {
        eprintln!("mosquitto bridge: not installed");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    bridge::measure(figures, directory.path(), count, held)
}

/// A link that is up, over each way in and with each proof of delivery.
fn online(figures: &mut Figures, count: u64) -> anyhow::Result<()> {
    let pong = "confirm = \"pong\"";
    let ack = "confirm = \"ack\"\nframing = \"envelope\"\nencoding = \"cbor\"";
    for (name, way, link, share, rate) in [
        ("WebSocket in, pong, flat out", Way::WebSocket, pong, 1, None),
        ("WebSocket in, pong, 5000/s", Way::WebSocket, pong, 5, Some(5000)),
        ("WebSocket in, ack (CBOR), flat out", Way::WebSocket, ack, 1, None),
        ("HTTP keep-alive in, pong, flat out", Way::Http, pong, 5, None),
        ("HTTP keep-alive in, pong, 5000/s", Way::Http, pong, 10, Some(5000)),
        ("HTTP NDJSON in, pong, flat out", Way::Ndjson, pong, 1, None),
    ] {
        let count = count / share;
        let scene = Scene::new(link)?;
        let _receiver = scene.receiver()?;
        let agent = scene.agent()?;
        // The cost of starting is not the messages' cost.
        load::send(way, &scene.address, 100, None)?;
        scene.wait_for("/links/cloud/confirmed", 100)?;
        let (cpu, written, syncs) = (agent.cpu()?, agent.written_bytes()?, scene.fact("/buffer/syncs"));
        load::send(way, &scene.address, count, rate)?;
        scene.wait_for("/links/cloud/confirmed", 100 + count)?;
        let cpu_us = (agent.cpu()? - cpu).as_secs_f64() * 1e6 / count as f64;
        figures.add("holdfast", &format!("CPU per message, {name}"), "us", cpu_us);
        if rate.is_none() && matches!(way, Way::WebSocket) {
            let written = (agent.written_bytes()? - written) as f64 / count as f64;
            figures.add("holdfast", &format!("disk bytes per message, {name}"), "", written);
            let syncs = (scene.fact("/buffer/syncs") - syncs) as f64 / count as f64;
            figures.add("holdfast", &format!("syncs per message, {name}"), "", syncs);
        }
    }
    Ok(())
}

/// A link that is down, then comes back.
fn offline(figures: &mut Figures, count: u64) -> anyhow::Result<()> {
    let scene = Scene::new("")?;
    let agent = scene.agent()?;
    let (cpu, written) = (agent.cpu()?, agent.written_bytes()?);
    load::send(Way::WebSocket, &scene.address, count, None)?;
    let bytes: u64 = (0..count).map(|number| reading(number).len() as u64).sum();
    let cpu_us = (agent.cpu()? - cpu).as_secs_f64() * 1e6 / count as f64;
    figures.add("holdfast", "CPU per message, offline, flat out", "us", cpu_us);
    let ratio = (agent.written_bytes()? - written) as f64 / bytes as f64;
    figures.add("holdfast", "offline, disk bytes per payload byte", "", ratio);
    figures.add(
        "holdfast",
        "offline, syncs per 1000 messages",
        "",
        scene.fact("/buffer/syncs") as f64 * 1000.0 / count as f64,
    );
    figures.add("holdfast", "offline, peak RSS", "MB", agent.peak_bytes()? as f64 / 1e6);
    let _receiver = scene.receiver()?;
    wait_until("the link is up", || scene.fact("/links/cloud/confirmed") > 0)?;
    let drained = wait_until("all is drained", || scene.fact("/links/cloud/confirmed") >= count)?;
    figures.add(
        "holdfast",
        &format!("drain of {count} messages, from the first confirmation"),
        "s",
        drained.as_secs_f64(),
    );
    figures.add("holdfast", "peak RSS after the drain", "MB", agent.peak_bytes()? as f64 / 1e6);
    Ok(())
}

/// Nothing to do, with a link that is up.
fn idle(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    let scene = Scene::new("")?;
    let _receiver = scene.receiver()?;
    let agent = scene.agent()?;
    load::send(Way::WebSocket, &scene.address, 100, None)?;
    scene.wait_for("/links/cloud/confirmed", 100)?;
    let (switches, cpu) = (agent.switches()?, agent.cpu()?);
    std::thread::sleep(length);
    let seconds = length.as_secs();
    figures.add(
        "holdfast",
        &format!("context switches in {seconds} s idle"),
        "",
        (agent.switches()? - switches) as f64,
    );
    figures.add(
        "holdfast",
        &format!("CPU in {seconds} s idle"),
        "ms",
        (agent.cpu()? - cpu).as_secs_f64() * 1e3,
    );
    figures.add("holdfast", "threads", "", agent.threads()? as f64);
    figures.add("holdfast", "idle PSS", "MB", agent.pss_bytes()? as f64 / 1e6);
    Ok(())
}

/// From a receiver that listens again to a link that is up, with reconnect.min = 200 ms.
fn reconnect(figures: &mut Figures) -> anyhow::Result<()> {
    let scene = Scene::new("")?;
    let receiver = scene.receiver()?;
    let _agent = scene.agent()?;
    wait_until("the link is up", || scene.is_up())?;
    drop(receiver);
    wait_until("the link is down", || !scene.is_up())?;
    std::thread::sleep(Duration::from_secs(1));
    let _receiver = scene.receiver()?;
    let took = wait_until("the link is up again", || scene.is_up())?;
    figures.add("holdfast", "reconnect, min 200 ms, max 400 ms", "s", took.as_secs_f64());
    Ok(())
}

/// An agent's configuration and the address of its peer.
struct Scene {
    directory: tempfile::TempDir,
    address: String,
    peer: String,
}

impl Scene {
    fn new(link: &str) -> anyhow::Result<Scene> {
        let directory = tempfile::tempdir()?;
        let (address, peer) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
        let text = format!(
            "[agent]\nid = \"bench\"\ndata_dir = \"data\"\n[[server]]\nbind = [\"{address}\"]\n[[client]]\nid = \"cloud\"\n\
             url = \"ws://{peer}/\"\nreconnect = {{ min = \"200ms\", max = \"400ms\" }}\n{link}\n"
        );
        std::fs::write(directory.path().join("holdfast.toml"), text)?;
        Ok(Scene { directory, address, peer })
    }

    fn agent(&self) -> anyhow::Result<Process> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.arg("run").arg("--config").arg(self.directory.path().join("holdfast.toml"));
        let agent = Process::start(&mut command)?;
        wait_until("the agent listens", || self.status().is_ok())?;
        Ok(agent)
    }

    fn receiver(&self) -> anyhow::Result<Process> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        let receiver = Process::start(command.args([
            "receive",
            "--quiet",
            "--ack-every",
            "100",
            "--listen",
            &self.peer,
        ]))?;
        wait_until("the receiver listens", || std::net::TcpStream::connect(&self.peer).is_ok())?;
        Ok(receiver)
    }

    fn status(&self) -> anyhow::Result<Value> {
        match load::get(&self.address, "/api/status")? {
            (200, body) => Ok(serde_json::from_str(&body)?),
            (status, body) => bail!("the agent answers {status} {body}"),
        }
    }

    fn is_up(&self) -> bool {
        self.status().is_ok_and(|status| status["links"]["cloud"]["state"] == "up")
    }

    fn fact(&self, pointer: &str) -> u64 {
        let status = self.status().unwrap_or_default();
        status.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    fn wait_for(&self, pointer: &str, number: u64) -> anyhow::Result<()> {
        wait_until(pointer, || self.fact(pointer) >= number).map(drop)
    }
}

/// Outside of what the kernel gives to outgoing connections, so that it is still free when a peer comes back.
pub fn free_port() -> anyhow::Result<u16> {
    let mut ports = (0..100).map(|_| fastrand::u16(20_000..32_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).context("no port is free")
}
