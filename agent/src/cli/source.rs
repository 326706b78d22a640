//! `holdfast source`: where messages are fetched. Each subcommand has a file of its own.

mod list;
mod show;

use std::process::ExitCode;

use holdfast_core::config::edit::Kind;

use super::change::{Target, Toggle};
use super::test;

/// Lists, shows, tests and changes the sources that fetch messages: the topics of a broker
#[derive(clap::Args, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "Those that change something write the configuration file, its comments left as they are, and have a \
    running agent take it over; a change that would make the file wrong is refused.\n\n\
    Examples:\n  holdfast source list\n  holdfast source test zigbee\n  holdfast source disable zigbee\n\n\
    Every one has examples of its own: holdfast source <COMMAND> --help"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Test(test::SourceArgs),
    #[command(after_help = "Examples:\n  holdfast source remove zigbee")]
    /// Removes a source from the file; what its broker holds for it stays there
    Remove(Target),
    #[command(after_help = "Examples:\n  holdfast source enable zigbee")]
    /// Sets active = true
    Enable(Target),
    #[command(after_help = "Examples:\n  holdfast source disable zigbee")]
    /// Sets active = false: nothing is fetched
    Disable(Target),
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Test(args) => test::run_source(args),
        Command::Remove(target) => target.remove(Kind::Source),
        Command::Enable(target) => target.toggle(Kind::Source, Toggle::Enable),
        Command::Disable(target) => target.toggle(Kind::Source, Toggle::Disable),
    }
}
