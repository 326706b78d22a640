//! `holdfast test`: are the links and the broker reachable, and if not, at which step and why.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use futures_util::future::join_all;
use holdfast_core::config::Config;
use serde_json::{Value, json};

use super::options::Options;
use super::{clean, colours, interval, print_page};
use crate::outlet::probe::{self, Probe};

/// Tests each link and the broker step by step: name, TCP, TLS, upgrade, credentials, ping
#[derive(clap::Args, Debug)]
#[command(
    after_help = "It goes the same way as the agent, which may run meanwhile: it sends no message and takes no place of the agent's.\n\n\
    Exit code: 0 when every step of every test is ok, 1 when one failed.\n\n\
    Examples:\n  holdfast test\n  holdfast test cloud --watch\n  holdfast test --uplink wss://hub.example/ingest\n  \
    holdfast test --json | jq '.links[] | select(.ok | not)'"
)]
pub struct Args {
    /// Id of a client, or mqtt; all that are active by default
    name: Option<String>,
    /// Print the results in JSON
    #[arg(long)]
    json: bool,
    /// Test again each INTERVAL until interrupted, 5s by default; with --json a line each time
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "5s", value_parser = interval)]
    watch: Option<Duration>,
    #[command(flatten)]
    options: Options,
}

/// Tests and prints what was found. The error says that the configuration is wrong, or has nothing of this name.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.options.load()?;
    if let Some(name) = &args.name {
        known(&config, name)?;
    }
    smol::block_on(async {
        loop {
            let probes = probe_all(&config, args.name.as_deref()).await;
            let text = if args.json { document(&probes, args.watch.is_some()) } else { page(&probes) };
            let read = print_page(&text);
            let Some(interval) = args.watch.filter(|_| read.is_ok()) else {
                let good = probes.iter().all(|probe| probe.failed.is_none());
                return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            };
            smol::Timer::after(interval).await;
        }
    })
}

fn known(config: &Config, name: &str) -> anyhow::Result<()> {
    let clients = config
        .clients
        .iter()
        .filter(|client| !client.endpoints().is_empty())
        .map(|client| client.id.as_str());
    let names: Vec<&str> = clients.chain(config.mqtt.iter().map(|_| "mqtt")).collect();
    match names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        true => Ok(()),
        false if names.is_empty() => {
            bail!("there is neither a client with a url nor a broker in the configuration")
        }
        false => bail!("there is no {name} in the configuration, only {}", names.join(", ")),
    }
}

/// All at the same time, each url of a client by itself. An inactive client is tested only by its name.
async fn probe_all(config: &Config, name: Option<&str>) -> Vec<Probe> {
    let is_meant = |id: &str, active: bool| name.map_or(active, |name| name.eq_ignore_ascii_case(id));
    let clients = config.clients.iter().filter(|client| is_meant(&client.id, client.active));
    let urls =
        clients.flat_map(|client| (0..client.endpoints().len()).map(move |url| probe::link(client, url)));
    let mut probes = join_all(urls).await;
    if let Some(mqtt) = config.mqtt.as_ref().filter(|_| is_meant("mqtt", true)) {
        probes.push(probe::broker(mqtt).await);
    }
    probes
}

fn page(probes: &[Probe]) -> String {
    let paint = |text: &str, colour: u8| match colours() {
        true => format!("\x1b[{colour}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let mut page = String::new();
    for probe in probes {
        let _ = writeln!(page, "{}  {}", probe.id, clean(&probe.url));
        for done in &probe.done {
            let (name, took) = (done.step.name(), milliseconds(done.took));
            let line = format!("  {name:<15} {}     {took:>8}  {}", paint("ok", 32), clean(&done.found));
            let _ = writeln!(page, "{}", line.trim_end());
        }
        if let Some(failed) = &probe.failed {
            let (name, took) = (failed.step.name(), milliseconds(failed.took));
            let _ =
                writeln!(page, "  {name:<15} {} {took:>8}  {}", paint("failed", 31), clean(&failed.error));
            let _ = writeln!(page, "  {:<15} {:<6} {:>8}  -> {}", "", "", "", clean(failed.hint));
        }
    }
    if probes.is_empty() {
        page.push_str("nothing to test: there is neither an active client with a url nor a broker in the configuration\n");
    }
    page
}

fn document(probes: &[Probe], one_line: bool) -> String {
    let document = json!({
        "ok": probes.iter().all(|probe| probe.failed.is_none()),
        "links": probes.iter().map(told).collect::<Vec<_>>(),
    });
    if one_line { format!("{document}\n") } else { format!("{document:#}\n") }
}

fn told(probe: &Probe) -> Value {
    let ms = |took: Duration| (took.as_secs_f64() * 1e6).round() / 1e3;
    let done = probe.done.iter().map(
        |done| json!({ "step": done.step.name(), "ok": true, "ms": ms(done.took), "found": done.found }),
    );
    let failed = probe.failed.iter().map(|failed| {
        let (step, ms) = (failed.step.name(), ms(failed.took));
        json!({ "step": step, "ok": false, "ms": ms, "error": failed.error, "hint": failed.hint })
    });
    let steps: Vec<Value> = done.chain(failed).collect();
    json!({ "id": probe.id, "url": probe.url, "ok": probe.failed.is_none(), "steps": steps })
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::link::probe::{DialStep, Failed, FinishedStep};
    use holdfast_core::link::protocol::RefusalKind;

    fn probe() -> Probe {
        let took = Duration::from_micros(1234);
        let error = "cannot connect to 127.0.0.1:1: connection refused".to_owned();
        Probe {
            id: "cloud".to_owned(),
            url: "ws://localhost:1/".to_owned(),
            done: vec![FinishedStep { step: DialStep::Name, took, found: "127.0.0.1".to_owned() }],
            failed: Some(Failed::new(DialStep::Tcp, RefusalKind::Retry, error, took, false)),
        }
    }

    #[test]
    fn each_step_is_a_line_and_the_failed_one_has_its_advice_below() {
        let expected = "\
cloud  ws://localhost:1/
  name            ok       1.2 ms  127.0.0.1
  tcp             failed   1.2 ms  cannot connect to 127.0.0.1:1: connection refused
                                   -> nobody listens there: check the port in `url`, and that the server runs
";
        assert_eq!(page(&[probe()]), expected);
    }

    #[test]
    fn the_document_tells_the_same_to_programs() {
        let document: Value = serde_json::from_str(&document(&[probe()], true)).unwrap();
        assert_eq!((&document["ok"], &document["links"][0]["ok"]), (&json!(false), &json!(false)));
        assert_eq!(document["links"][0]["steps"][0]["ms"], 1.234);
        assert_eq!(document["links"][0]["steps"][1]["step"], "tcp");
    }
}
