//! `holdfast client`: the WebSocket links to the outside. Each subcommand has a file of its own.

mod add;
mod command;
mod list;
mod show;

use std::process::ExitCode;

use holdfast_core::agent::LinkCommand;
use holdfast_core::config::edit::Kind;

use super::change::{Target, Toggle};

/// Lists, shows, connects, adds and changes the links to the outside
#[derive(clap::Args, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "Those that change something write the configuration file, its comments left as they are, and have a \
    running agent take it over; a change that would make the file wrong is refused. connect and disconnect \
    change nothing in the file and are forgotten when the agent or the link's table is.\n\n\
    Examples:\n  holdfast client list\n  holdfast client add wss://gw-17:secret@hub.example/ingest --id cloud\n  \
    holdfast client disconnect cloud\n  holdfast client disable cloud\n\n\
    Every one has examples of its own: holdfast client <COMMAND> --help"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    List(list::Args),
    Show(show::Args),
    #[command(
        after_help = "Examples:\n  holdfast client connect cloud\n  holdfast client connect cloud --data-dir ./data"
    )]
    /// Has the running agent dial a client now, whatever its back-off says
    Connect(command::Args),
    #[command(
        after_help = "The agent's next start forgets it; `holdfast client disable` is for good.\n\nExamples:\n  holdfast client disconnect cloud"
    )]
    /// Has the running agent close the connection of a client and stay away, holding its messages
    Disconnect(command::Args),
    Add(add::Args),
    #[command(
        after_help = "What is held for it goes to a client with outlet = \"ID\".\n\nExamples:\n  holdfast client remove lab"
    )]
    /// Removes a client from the file; what the store holds for it stays there under its id
    Remove(Target),
    #[command(after_help = "Examples:\n  holdfast client enable lab")]
    /// Sets active = true
    Enable(Target),
    #[command(after_help = "Examples:\n  holdfast client disable lab")]
    /// Sets active = false: the client holds its messages and never connects
    Disable(Target),
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Connect(args) => command::run(args, LinkCommand::Connect),
        Command::Disconnect(args) => command::run(args, LinkCommand::Disconnect),
        Command::Add(args) => add::run(args),
        Command::Remove(target) => target.remove(Kind::Client),
        Command::Enable(target) => target.toggle(Kind::Client, Toggle::Enable),
        Command::Disable(target) => target.toggle(Kind::Client, Toggle::Disable),
    }
}
