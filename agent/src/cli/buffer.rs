//! `holdfast buffer`: what is held. Each subcommand has a file of its own, of the same shape as the other commands.

mod dead;
mod export;
mod import;
mod info;
mod list;
mod peek;
mod place;
mod progress;
mod purge;
mod record;
mod repair;
mod verify;

use std::process::ExitCode;

/// Looks into the messages that are held, takes them out and puts them in, checks and repairs the store
#[derive(clap::Args, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "All of these ask the running agent if its control socket answers, and work on the data directory of a \
    stopped one otherwise; looking never changes anything there. An outlet is client:ID, ID in short, or \
    mqtt.\n\n\
    Examples:\n  holdfast buffer list\n  holdfast buffer peek cloud --count 3\n  \
    holdfast buffer export --output held.ndjson\n  holdfast buffer verify --data-dir ./data\n  \
    holdfast buffer dead requeue --all\n\n\
    Every one has examples of its own: holdfast buffer <COMMAND> --help"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Info(info::Args),
    List(list::Args),
    Peek(peek::Args),
    Verify(verify::Args),
    Export(export::Args),
    Import(import::Args),
    Repair(repair::Args),
    Purge(purge::Args),
    Dead(dead::Args),
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Info(args) => info::run(args),
        Command::List(args) => list::run(args),
        Command::Peek(args) => peek::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Export(args) => export::run(args),
        Command::Import(args) => import::run(args),
        Command::Repair(args) => repair::run(args),
        Command::Purge(args) => purge::run(args),
        Command::Dead(args) => dead::run(args),
    }
}
