//! The same job done by mosquitto as a bridge: MQTT in with QoS 1, a bridge to another broker, which may be away.

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::load::reading;
use super::process::{Process, wait_until};
use super::{Figures, free_port};

/// Whether it is installed.
pub fn is_there() -> bool {
    ["mosquitto_pub", "mosquitto_sub"].iter().all(|program| {
        let asked =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok()
    }) && mosquitto().is_some()
}

/// Measures it.
pub fn measure(figures: &mut Figures, directory: &Path, count: u64, held: u64) -> anyhow::Result<()> {
    let (near, far) = (free_port()?, free_port()?);
    let far_file =
        config(directory, "far", &format!("listener {far} 127.0.0.1\nallow_anonymous true\n{UNBOUNDED}"))?;
    let bridge = format!(
        "listener {near} 127.0.0.1\nallow_anonymous true\n{UNBOUNDED}persistence true\npersistence_location {}/\n\
         autosave_interval 1\nconnection far\naddress 127.0.0.1:{far}\ntopic # out 1\ncleansession false\n\
         restart_timeout 1\nbridge_protocol_version mqttv311\ntry_private false\n",
        directory.display()
    );
    let near_file = config(directory, "near", &bridge)?;

    let mut far_broker = Some(start(&far_file, far)?);
    let broker = start(&near_file, near)?;
    std::thread::sleep(Duration::from_secs(2));
    let before = broker.cpu()?;
    let heard = listen(far, count)?;
    publish(near, count, None)?;
    heard.finished("the far broker has all")?;
    figures.add(
        "mosquitto bridge",
        "CPU per message, MQTT in and out, flat out",
        "us",
        per(broker.cpu()? - before, count),
    );

    let (rate, slow) = (5000, count / 5);
    let before = broker.cpu()?;
    let heard = listen(far, slow)?;
    publish(near, slow, Some(rate))?;
    heard.finished("the far broker has all")?;
    figures.add(
        "mosquitto bridge",
        "CPU per message, MQTT in and out, 5000/s",
        "us",
        per(broker.cpu()? - before, slow),
    );
    figures.add("mosquitto bridge", "idle PSS", "MB", broker.pss_bytes()? as f64 / 1e6);

    far_broker.take();
    let written = broker.written_bytes()?;
    publish(near, held, None)?;
    std::thread::sleep(Duration::from_secs(3));
    let bytes: u64 = (0..held).map(|number| reading(number).len() as u64).sum();
    let ratio = (broker.written_bytes()? - written) as f64 / bytes as f64;
    figures.add("mosquitto bridge", "offline, disk bytes per payload byte", "", ratio);
    figures.add("mosquitto bridge", "offline, peak RSS", "MB", broker.peak_bytes()? as f64 / 1e6);
    let _far_broker = start(&far_file, far)?;
    let heard = listen(far, held)?;
    let drained = heard.finished("the far broker has what was held")?;
    let name = format!("drain of {held} messages, from the far end's start");
    figures.add("mosquitto bridge", &name, "s", drained.as_secs_f64());
    Ok(())
}

/// By default mosquitto drops what is beyond 1000 messages.
const UNBOUNDED: &str = "max_queued_messages 0\nmax_inflight_messages 1000\n";

fn mosquitto() -> Option<&'static str> {
    ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"]
        .into_iter()
        .find(|program| Path::new(program).exists())
}

fn config(directory: &Path, name: &str, text: &str) -> anyhow::Result<std::path::PathBuf> {
    let file = directory.join(format!("{name}.conf"));
    // As root it would become the user mosquitto, who may not write here.
    std::fs::write(&file, format!("user root\n{text}")).context("cannot write mosquitto's configuration")?;
    Ok(file)
}

fn start(file: &Path, port: u16) -> anyhow::Result<Process> {
    let broker = Process::start(Command::new(mosquitto().context("no mosquitto")?).arg("-c").arg(file))?;
    wait_until("mosquitto listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok(broker)
}

/// A subscriber of the far broker that ends when it has heard enough.
struct Listening {
    child: std::process::Child,
    since: Instant,
}

fn listen(port: u16, count: u64) -> anyhow::Result<Listening> {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-p", &port.to_string(), "-q", "1", "-t", "#", "-F", "x", "-C", &count.to_string()]);
    let child =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot start mosquitto_sub")?;
    let since = Instant::now();
    std::thread::sleep(Duration::from_millis(200));
    Ok(Listening { child, since })
}

impl Listening {
    fn finished(mut self, what: &str) -> anyhow::Result<Duration> {
        let ended = wait_until(what, || self.child.try_wait().is_ok_and(|status| status.is_some()));
        if let Err(error) = ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
            bail!(error);
        }
        Ok(self.since.elapsed())
    }
}

/// Packet identifiers end at 65,535 (MQTT 3.1.1 §2.3.1), and mosquitto_pub takes the first answer to the last one for the end.
const PUBLISHED_AT_ONCE: usize = 50_000;

fn publish(port: u16, count: u64, rate: Option<u64>) -> anyhow::Result<()> {
    let started = Instant::now();
    for first in (0..count).step_by(PUBLISHED_AT_ONCE) {
        publish_some(port, first..count.min(first + PUBLISHED_AT_ONCE as u64), rate, started)?;
    }
    Ok(())
}

fn publish_some(port: u16, numbers: Range<u64>, rate: Option<u64>, started: Instant) -> anyhow::Result<()> {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-p", &port.to_string(), "-q", "1", "-t", "press/reading", "-l"]).stdin(Stdio::piped());
    let mut child = command.spawn().context("cannot start mosquitto_pub")?;
    let mut lines = std::io::BufWriter::new(child.stdin.take().context("it has a standard input")?);
    for number in numbers {
        if let Some(rate) = rate {
            let due = Duration::from_nanos(number * 1_000_000_000 / rate);
            if let Some(pause) = due.checked_sub(started.elapsed()) {
                lines.flush()?;
                std::thread::sleep(pause);
            }
        }
        writeln!(lines, "{}", reading(number))?;
    }
    lines.flush()?;
    drop(lines);
    child.wait()?;
    Ok(())
}

fn per(cpu: Duration, count: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / count as f64
}
