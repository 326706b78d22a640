//! `holdfast test`: are the links and the broker reachable, and if not, at which step and why.

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::bail;
use futures_util::future::join_all;
use holdfast_core::config::source::{Source, SourceKind};
use holdfast_core::config::{Config, shown_url};
use holdfast_core::ids::EndpointId;
use holdfast_core::link::probe::{Failed, FinishedStep};
use serde_json::{Value, json};

use super::options::Options;
use super::table::screen_width;
use super::{clean, colours, hanging, interval, print_page};
use crate::net::{DialTrace, StepWatch};
use crate::outlet::probe::{self, Probe};
use crate::source::broker;

/// Start of the id of a source among those of clients.
const SOURCE: &str = "source:";
const NOTHING: &str = "nothing to test: there is neither an active client with a url, nor a broker, nor an active source in the configuration; \
                       `holdfast client add wss://HOST/PATH` makes a client";
/// Columns in front of what a step found.
const INDENT: usize = 35;

/// Tests each link and the broker step by step: name, TCP, TLS, upgrade, credentials, ping
#[derive(clap::Args, Debug)]
#[command(
    after_help = "It goes the same way as the agent, which may run meanwhile: it sends no message and takes no place of the agent's. A broker \
    gets a publication of 4 KB from it, which should come back.\n\n\
    Exit code: 0 when every step of every test is ok, 1 when one failed.\n\n\
    Examples:\n  holdfast test\n  holdfast test cloud --watch\n  holdfast test --uplink wss://hub.example/ingest\n  \
    holdfast test --json | jq '.links[] | select(.ok | not)'"
)]
pub struct Args {
    /// Id of a client, mqtt, or source:ID; all that are active by default
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

/// Tests the broker of a source step by step: name, TCP, TLS, CONNACK, credentials, subscriptions, the broker itself, ping
#[derive(clap::Args, Debug)]
#[command(
    after_help = "It goes the same way as the agent, which may run meanwhile: it has a session of its own and takes no message away.\n\n\
    Exit code: 0 when every step of every test is ok, 1 when one failed.\n\n\
    Examples:\n  holdfast source test\n  holdfast source test zigbee --json"
)]
pub struct SourceArgs {
    /// Id of a source; all that are active by default
    id: Option<String>,
    /// Print the results in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: Options,
}

/// Which connections are tested.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// All that are active.
    Active,
    /// The one with this id.
    Named(&'a str),
    /// Those of active sources.
    Sources,
}

impl Wanted<'_> {
    fn means(self, id: &str, active: bool) -> bool {
        match self {
            Wanted::Active => active,
            Wanted::Named(name) => name.eq_ignore_ascii_case(id),
            Wanted::Sources => active && id.starts_with(SOURCE),
        }
    }
}

/// Tests sources and prints what was found. The error says that the configuration is wrong, or has no source of this id.
pub fn run_source(args: &SourceArgs) -> anyhow::Result<ExitCode> {
    let config = args.options.load()?;
    if config.sources.is_empty() {
        bail!("there is no [[source]] in the configuration");
    }
    let name = args.id.as_ref().map(|id| format!("{SOURCE}{id}"));
    if let Some(name) = &name {
        known(&config, name)?;
    }
    carry_out(&config, name.as_deref().map_or(Wanted::Sources, Wanted::Named), args.json, None)
}

/// Tests and prints what was found. The error says that the configuration is wrong, or has nothing of this name.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.options.load()?;
    if let Some(name) = &args.name {
        known(&config, name)?;
    }
    let wanted = args.name.as_deref().map_or(Wanted::Active, Wanted::Named);
    carry_out(&config, wanted, args.json, args.watch)
}

fn carry_out(
    config: &Config,
    wanted: Wanted<'_>,
    json: bool,
    watch: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    smol::block_on(async {
        loop {
            let live = (!json).then(Live::default).map(RefCell::new).map(Rc::new);
            let probes = probe_all(config, wanted, live.clone()).await;
            let read = match &live {
                Some(_) if probes.is_empty() => print_page(&hanging("", 0, NOTHING, screen_width())),
                Some(live) => live.borrow().read(),
                None => print_page(&document(&probes, watch.is_some())),
            };
            let Some(interval) = watch.filter(|_| read.is_ok()) else {
                let good = probes.iter().all(|probe| probe.failed.is_none());
                return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            };
            smol::Timer::after(interval).await;
        }
    })
}

fn known(config: &Config, name: &str) -> anyhow::Result<()> {
    let clients =
        config.clients.iter().filter(|client| !client.endpoints().is_empty()).map(|client| client.id.clone());
    let sources = config.sources.iter().map(|source| format!("{SOURCE}{}", source.id));
    let names: Vec<String> =
        clients.chain(config.mqtt.iter().map(|_| "mqtt".to_owned())).chain(sources).collect();
    match names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        true => Ok(()),
        false if names.is_empty() => {
            bail!("there is neither a client with a url, nor a broker, nor a source in the configuration")
        }
        false => bail!("there is no {name} in the configuration, only {}", names.join(", ")),
    }
}

/// All at the same time, each url of a client by itself. What is inactive is tested only by its name.
pub(super) async fn probe_all(
    config: &Config,
    wanted: Wanted<'_>,
    live: Option<Rc<RefCell<Live>>>,
) -> Vec<Probe> {
    let is_meant = |id: &str, active: bool| wanted.means(id, active);
    let clients = config.clients.iter().filter(|client| is_meant(&client.id, client.active));
    let urls = clients.flat_map(|client| (0..client.endpoints().len()).map(move |url| (client, url)));
    let links = urls.enumerate().map(|(place, (client, url))| {
        let live = live.clone();
        async move {
            let shown = client.endpoints().get(url).map(|url| shown_url(url)).unwrap_or_default();
            let probe = probe::link(client, EndpointId(url), watch(&live, place, &client.id, &shown)).await;
            conclude(&live, place, &probe);
            probe
        }
    });
    let mut probes = join_all(links).await;
    if let Some(mqtt) = config.mqtt.as_ref().filter(|_| is_meant("mqtt", true)) {
        let place = probes.len();
        let probe = probe::broker(mqtt, watch(&live, place, "mqtt", &shown_url(&mqtt.url))).await;
        conclude(&live, place, &probe);
        probes.push(probe);
    }
    for source in &config.sources {
        let id = format!("{SOURCE}{}", source.id);
        if is_meant(&id, source.active) {
            let place = probes.len();
            let probe = source_probe(source, config, &live, place, id).await;
            conclude(&live, place, &probe);
            probes.push(probe);
        }
    }
    probes
}

async fn source_probe(
    source: &Source,
    config: &Config,
    live: &Option<Rc<RefCell<Live>>>,
    place: usize,
    id: String,
) -> Probe {
    let mqtt = source.mqtt().broker(config.mqtt.as_ref());
    let url = mqtt.url.as_deref().map(shown_url).unwrap_or_default();
    let source = Source { kind: SourceKind::Mqtt(Box::new(mqtt)), ..source.clone() };
    let stage = DialTrace::watched(watch(live, place, &id, &url));
    let outcome = broker::test(&source, &stage).await;
    probe::conclude(id, url, stage, outcome)
}

/// Shows the steps of a test that begins.
fn watch(live: &Option<Rc<RefCell<Live>>>, place: usize, id: &str, url: &str) -> StepWatch {
    let Some(live) = live.clone() else { return Box::new(|_| {}) };
    live.borrow_mut().say(place, &hanging(&format!("{id}  "), 2, &clean(url), screen_width()));
    Box::new(move |done| live.borrow_mut().say(place, &step_line(done, screen_width())))
}

fn conclude(live: &Option<Rc<RefCell<Live>>>, place: usize, probe: &Probe) {
    if let Some(live) = live {
        live.borrow_mut().say(
            place,
            &probe.failed.as_ref().map(|failed| failure(failed, screen_width())).unwrap_or_default(),
        );
        live.borrow_mut().end(place);
    }
}

/// The page of tests that run at the same time: that of the first one is printed as it happens, the others follow in their order.
#[derive(Default)]
pub(super) struct Live {
    printed: usize,
    /// Text of each test that is not printed yet, and whether the test is over.
    tests: Vec<(String, bool)>,
    closed: bool,
}

impl Live {
    fn say(&mut self, place: usize, text: &str) {
        self.at(place).0.push_str(text);
        self.print();
    }

    fn end(&mut self, place: usize) {
        self.at(place).1 = true;
        self.print();
    }

    fn at(&mut self, place: usize) -> &mut (String, bool) {
        let count = self.tests.len().max(place + 1);
        self.tests.resize(count, (String::new(), false));
        &mut self.tests[place]
    }

    fn print(&mut self) {
        while let Some((text, is_over)) = self.tests.get_mut(self.printed) {
            let text = std::mem::take(text);
            self.closed = self.closed || !text.is_empty() && print_page(&text).is_err();
            if !*is_over {
                return;
            }
            self.printed += 1;
        }
    }

    /// The error says that nobody reads it any more.
    fn read(&self) -> std::io::Result<()> {
        if self.closed { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

fn paint(text: &str, colour: u8) -> String {
    if colours() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

fn step_line(done: &FinishedStep, width: Option<usize>) -> String {
    let (name, took) = (done.step.name(), milliseconds(done.took));
    let prefix = format!("  {name:<15} {}     {took:>8}  ", paint("ok", 32));
    match done.found.as_str() {
        "" => format!("{}\n", prefix.trim_end()),
        found => hanging(&prefix, INDENT, &clean(found), width),
    }
}

fn failure(failed: &Failed, width: Option<usize>) -> String {
    let (name, took) = (failed.step.name(), milliseconds(failed.took));
    let (error, hint) = (clean(&failed.error), clean(failed.hint));
    let failed = paint("failed", 31);
    let arrow = format!("{}-> ", " ".repeat(INDENT));
    hanging(&format!("  {name:<15} {failed} {took:>8}  "), INDENT, &error, width)
        + &hanging(&arrow, INDENT + 3, &hint, width)
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
    use holdfast_core::link::dial_error::DialError;
    use holdfast_core::link::probe::DialStep;
    use holdfast_core::link::protocol::Refusal;

    fn probe() -> Probe {
        let took = Duration::from_micros(1234);
        let error = "cannot connect to 127.0.0.1:1: connection refused";
        let refusal = Refusal::new(DialError::Refused, error);
        Probe {
            id: "cloud".to_owned(),
            url: "ws://localhost:1/".to_owned(),
            done: vec![FinishedStep { step: DialStep::Name, took, found: "127.0.0.1".to_owned() }],
            failed: Some(Failed::new(DialStep::Tcp, refusal, took, false)),
            certificate_days_left: None,
        }
    }

    #[test]
    fn each_step_is_a_line_and_the_failed_one_has_its_advice_below() {
        let expected = "cloud  ws://localhost:1/
  name            ok       1.2 ms  127.0.0.1
  tcp             failed   1.2 ms  cannot connect to 127.0.0.1:1: connection refused
                                   -> nobody listens there: check the port in `url`, and that the server runs
";
        let Probe { done, failed, .. } = probe();
        let head = "cloud  ws://localhost:1/\n".to_owned();
        let failed = failed.unwrap();
        assert_eq!(head + &step_line(&done[0], None) + &failure(&failed, None), expected);
        assert!(
            failure(&failed, Some(80)).lines().all(|line| line.len() <= 80),
            "{}",
            failure(&failed, Some(80))
        );
    }

    #[test]
    fn the_document_tells_the_same_to_programs() {
        let document: Value = serde_json::from_str(&document(&[probe()], true)).unwrap();
        assert_eq!((&document["ok"], &document["links"][0]["ok"]), (&json!(false), &json!(false)));
        assert_eq!(document["links"][0]["steps"][0]["ms"], 1.234);
        assert_eq!(document["links"][0]["steps"][1]["step"], "tcp");
    }
}
