//! `holdfast demo`: the whole story in one terminal: a sensor, the agent, a receiver, a link that is cut, an agent that is killed.
//!
//! Agent and receiver are this program in processes of their own. Every number on the screen is measured: what the sensor
//! was told, what the agent says of itself, and what lies in the receiver's file.

mod picture;
mod play;
mod sensor;

use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Shows in half a minute what happens when a link is cut and the agent is killed
#[derive(clap::Args, Debug)]
#[command(
    after_help = "It needs nothing but this program, uses free ports of this machine and a directory that it removes again.\n\n\
    Exit code: 0 when every message that was told to be stored has arrived, in order; else 1.\n\n\
    Examples:\n  holdfast demo\n  holdfast demo --seconds 10 | cat\n  holdfast demo --json"
)]
pub struct Args {
    /// How long the story takes
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(3..=600))]
    seconds: u32,
    /// Print nothing but the counts at the end, in JSON
    #[arg(long)]
    json: bool,
}

/// Set for the processes of a demo, which end with it.
const ENDS_WITH_PARENT: &str = "HOLDFAST_ENDS_WITH_PARENT";

/// Plays the story. The error says which part of it could not be played.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let told = play::play(Duration::from_secs(args.seconds.into()), args.json)?;
    Ok(if told { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has this process end with the one that started it, if that one asks for it.
pub fn end_with_parent() {
    if std::env::var_os(ENDS_WITH_PARENT).is_some() {
        // Where the kernel does not know it, the demo's own cleaning up has to do.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
    }
}
