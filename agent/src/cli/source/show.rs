//! `holdfast source show`: one source's table with every default, and how its link is.

use std::process::ExitCode;

use holdfast_core::config::edit::Kind;

use crate::cli::change::{AgentArgs, show};

/// Shows every parameter of a source, and the state of its link
#[derive(clap::Args, Debug)]
#[command(after_help = "What differs from its default is marked with `# set`; secrets are shown as ***.\n\n\
    Examples:\n  holdfast source show zigbee\n  holdfast source show zigbee --json | jq .configuration.mqtt.topics")]
pub struct Args {
    /// Id of the source
    id: String,
    /// Print JSON: {"configuration":…,"file":…,"status":…}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: AgentArgs,
}

/// Prints the table. The error says that there is no such source.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    show(&args.place, Kind::Source, &args.id, args.json)
}
