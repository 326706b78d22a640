//! Arguments, logger, exit code; nothing else.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfast::cli;
use holdfast::os::{logger, private};
use holdfast_core::config::logging::LogFormat;

#[cfg(test)]
#[path = "../../tests/pages/mod.rs"]
mod pages;

/// A device agent that holds WebSocket links and messages fast
#[derive(Parser)]
#[command(
    version = cli::VERSION,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
    holdfast run                                take messages on 127.0.0.1:9998\n  \
    curl -d '{\"t\":21.5}' http://127.0.0.1:9998/kitchen/temperature\n  \
    holdfast receive                            be a far end on ws://127.0.0.1:9000\n  \
    holdfast run --uplink ws://127.0.0.1:9000   deliver to it\n  \
    holdfast status                             tell how it is\n\n\
    Every command has examples of its own: holdfast <COMMAND> --help"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(cli::run::Args),
    Check(cli::check::Args),
    Test(cli::test::Args),
    Doctor(cli::doctor::Args),
    Report(cli::report::Args),
    Status(cli::status::Args),
    Tap(cli::tap::Args),
    Reload(cli::reload::Args),
    Send(cli::send::Args),
    Client(cli::client::Args),
    Server(cli::server::Args),
    Source(cli::source::Args),
    Buffer(cli::buffer::Args),
    Config(cli::config::Args),
    Receive(cli::receive::Args),
    HashPassword(cli::hash_password::Args),
    Demo(cli::demo::Args),
}

impl Command {
    /// How its log is to look, whatever the configuration says.
    fn log_format(&self) -> Option<LogFormat> {
        match self {
            Command::Run(args) => args.log_format,
            _ => None,
        }
    }
}

fn main() -> ExitCode {
    private::hide_what_is_made();
    let arguments = Arguments::parse();
    cli::demo::end_with_parent();
    logger::start(arguments.command.log_format());
    let ended = match &arguments.command {
        Command::Demo(args) => cli::demo::run(args),
        Command::Run(args) => cli::run::run(args),
        Command::Status(args) => cli::status::run(args),
        Command::Send(args) => cli::send::run(args),
        Command::Client(args) => cli::client::run(args),
        Command::Server(args) => cli::server::run(args),
        Command::Source(args) => cli::source::run(args),
        Command::Config(args) => cli::config::run(args),
        Command::Buffer(args) => cli::buffer::run(args),
        Command::HashPassword(args) => cli::hash_password::run(args),
        Command::Receive(args) => cli::receive::run(args),
        Command::Check(args) => cli::check::run(args),
        Command::Reload(args) => cli::reload::run(args),
        Command::Test(args) => cli::test::run(args),
        Command::Tap(args) => cli::tap::run(args),
        Command::Doctor(args) => cli::doctor::run(args),
        Command::Report(args) => cli::report::run(args),
    };
    ended.unwrap_or_else(|error| {
        // A reader that closes the pipe has seen enough.
        if cli::is_closed_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        logger::tell_end(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}
