//! `holdfast server show`: one server's table and its routes, with every default.

use std::process::ExitCode;

use holdfast_core::config::edit::Kind;

use crate::cli::change::{AgentArgs, show};

/// Shows every parameter of a server and of its routes
#[derive(clap::Args, Debug)]
#[command(after_help = "What differs from its default is marked with `# set`; secrets are shown as ***.\n\n\
    Examples:\n  holdfast server show sensors\n  holdfast server show sensors --json | jq .configuration.limits")]
pub struct Args {
    /// Id of the server
    id: String,
    /// Print JSON: {"configuration":…,"file":…,"status":…}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: AgentArgs,
}

/// Prints the table. The error says that there is no such server.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    show(&args.place, Kind::Server, &args.id, args.json)
}
