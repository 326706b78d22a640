//! `holdfast client show`: one client's table with every default, and how its link is.

use std::process::ExitCode;

use holdfast_core::config::edit::Kind;

use crate::cli::change::{AgentArgs, show};

/// Shows every parameter of a client, and the state of its link
#[derive(clap::Args, Debug)]
#[command(after_help = "What differs from its default is marked with `# set`; secrets are shown as ***.\n\n\
    Examples:\n  holdfast client show cloud\n  holdfast client show cloud --json | jq .configuration.window")]
pub struct Args {
    /// Id of the client
    id: String,
    /// Print JSON: {"configuration":…,"file":…,"status":…}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: AgentArgs,
}

/// Prints the table. The error says that there is no such client.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    show(&args.place, Kind::Client, &args.id, args.json)
}
