//! `holdfast doctor`: what is wrong with this gateway, and what to do about it.

mod facts;

use std::path::PathBuf;
use std::process::ExitCode;

use holdfast_core::observe::doctor::{self, AgentFacts, Configuration, Finding, Grade};
use serde_json::{Value, json};

use super::check::unbindable;
use super::options::{Found, Options};
use super::table::screen_width;
use super::test::{Wanted, probe_all};
use super::{clean, colours, hanging, print_page, status};

/// Columns in front of a finding.
const INDENT: usize = 9;

/// Looks at configuration, clock, disk, card, permissions, limits, names, certificates and links, and says what to do
#[derive(clap::Args, Debug)]
#[command(
    after_help = "It works with an agent that runs and without one, and with a configuration that is wrong; it changes nothing and sends no\n\
    message. Of the running agent it sees most as root or as the agent's user.\n\n\
    Exit code: 0 when all is well, 1 when there is a warning or a fault.\n\n\
    Examples:\n  holdfast doctor\n  holdfast doctor --json | jq '.findings[] | select(.grade != \"ok\")'"
)]
pub struct Args {
    /// Print the findings in JSON
    #[arg(long)]
    json: bool,
    /// Control socket of the agent; it follows from the configuration by default
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Looks at everything and prints each finding as it is made.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let found = args.options.find()?;
    let mut seen = Vec::new();
    let mut tell = |finding: Finding| {
        if !args.json {
            // Nobody reads it any more, and the exit code is worth something still.
            let _ = print_page(&line(&finding, colours(), screen_width()));
        }
        seen.push(finding);
    };
    let socket = args.options.socket_of(args.socket.as_deref(), &found.config);
    smol::block_on(examine(&found, &socket, &mut tell));
    let worst = seen.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Ok);
    if args.json {
        let _ = print_page(&format!("{:#}\n", json!({ "grade": worst, "findings": seen })));
    }
    Ok(if worst == Grade::Ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Looks at everything, one after the other, and tells each finding.
pub(super) async fn examine(found: &Found, socket: &anyhow::Result<PathBuf>, tell: &mut dyn FnMut(Finding)) {
    let Found { config, files, faults } = found;
    let is_sound = faults.is_empty();
    let mut warnings = if is_sound { facts::warnings(config, files) } else { Vec::new() };
    if is_sound {
        warnings.extend(unbindable(config).await);
    }
    let configuration = Configuration {
        file: files.first().map(|file| file.path.display().to_string()).unwrap_or_default(),
        exists: files.first().is_some_and(|file| file.path.exists()),
        faults: faults.clone(),
        warnings,
        links: config.clients.iter().filter(|client| client.active).count(),
        inactive: config
            .clients
            .iter()
            .find(|client| !client.active && !client.endpoints().is_empty())
            .map(|client| client.id.clone()),
    };
    configuration.findings().into_iter().for_each(&mut *tell);

    let asked = status_of(socket).await;
    let agent = asked.as_ref().ok().map(AgentFacts::read);
    match (&agent, asked) {
        (Some(agent), _) => agent.findings().into_iter().for_each(&mut *tell),
        (None, Err(error)) => tell(doctor::no_agent(&error)),
        (None, Ok(_)) => {}
    }
    let running = socket.as_ref().ok().and_then(|socket| facts::peer(socket));
    facts::clock(config).findings().into_iter().for_each(&mut *tell);
    facts::disk(config).findings().into_iter().for_each(&mut *tell);
    facts::card(config, agent.as_ref()).findings().into_iter().for_each(&mut *tell);
    facts::permissions(config, files, running).findings().into_iter().for_each(&mut *tell);
    facts::limits(config, running).findings().into_iter().for_each(&mut *tell);
    facts::certificates(config).iter().map(doctor::Certificate::finding).for_each(&mut *tell);
    if is_sound {
        let probes = probe_all(config, Wanted::Active, None).await;
        let tests: Vec<_> = probes.iter().map(|probe| facts::link_test(config, probe)).collect();
        doctor::names(&tests, facts::name_servers()).into_iter().for_each(&mut *tell);
        facts::peer_certificates(&probes).iter().map(doctor::Certificate::finding).for_each(&mut *tell);
        doctor::links(&tests, agent.as_ref()).into_iter().for_each(&mut *tell);
    }
}

/// A finding as a line, with the remedy below, as wide as a terminal is.
pub(super) fn line(finding: &Finding, colour: bool, width: Option<usize>) -> String {
    let Finding { grade, about, found, remedy } = finding;
    let (name, code) = match grade {
        Grade::Ok => ("ok", 32),
        Grade::Warning => ("warning", 33),
        Grade::Fault => ("fault", 31),
    };
    let gap = " ".repeat(INDENT - name.len());
    let name = if colour { format!("\x1b[{code}m{name}\x1b[0m") } else { name.to_owned() };
    let first = format!("{}: {}", clean(about), clean(found));
    let first = hanging(&format!("{name}{gap}"), INDENT, &first, width);
    match remedy.as_str() {
        "" => first,
        remedy => {
            let arrow = format!("{}-> ", " ".repeat(INDENT));
            first + &hanging(&arrow, INDENT + 3, &clean(remedy), width)
        }
    }
}

/// The status of the running agent for a report, or why there is none.
pub(super) async fn status_of(socket: &anyhow::Result<PathBuf>) -> Result<Value, String> {
    match socket {
        Ok(socket) => status::ask(socket, None).await.map_err(|error| format!("{error:#}")),
        Err(error) => Err(format!("{error:#}")),
    }
}
