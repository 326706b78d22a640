//! `holdfast server`: the listeners for sensors. Each subcommand has a file of its own.

mod add;
mod list;
mod show;

use std::process::ExitCode;

use holdfast_core::config::edit::Kind;

use super::change::{Target, Toggle};

/// Lists, shows, adds and removes the listeners for sensors
#[derive(clap::Args, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "Those that change something write the configuration file, its comments left as they are, and have a \
    running agent take it over; a change that would make the file wrong is refused.\n\n\
    Examples:\n  holdfast server list\n  holdfast server add 0.0.0.0:9998 --id sensors\n  \
    holdfast server remove sensors\n\n\
    Every one has examples of its own: holdfast server <COMMAND> --help"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Add(add::Args),
    #[command(after_help = "Examples:\n  holdfast server remove sensors")]
    /// Removes a server with its routes from the file
    Remove(Target),
    #[command(after_help = "Examples:\n  holdfast server enable sensors")]
    /// Sets active = true
    Enable(Target),
    #[command(after_help = "Examples:\n  holdfast server disable sensors")]
    /// Sets active = false: the server binds nothing
    Disable(Target),
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Add(args) => add::run(args),
        Command::Remove(target) => target.remove(Kind::Server),
        Command::Enable(target) => target.toggle(Kind::Server, Toggle::Enable),
        Command::Disable(target) => target.toggle(Kind::Server, Toggle::Disable),
    }
}
