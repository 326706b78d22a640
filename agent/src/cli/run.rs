//! `holdfast run`: the agent itself.

use std::process::ExitCode;

use super::options::Options;
use crate::io::shell;

/// Runs the agent until it is told to stop
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Stops within 5 seconds on SIGTERM or SIGINT; nothing that was stored is lost by any other end.\n\n\
    Examples:\n  holdfast run\n  holdfast run --uplink wss://hub.example/ingest --mqtt mqtt://127.0.0.1\n  \
    RUST_LOG=debug holdfast run --config ./holdfast.toml --data-dir ./data"
)]
pub struct Args {
    #[command(flatten)]
    options: Options,
}

/// Runs the agent. The error says why it cannot start.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = args.options.clone();
    shell::run(move || options.load())?;
    Ok(ExitCode::SUCCESS)
}
