//! `holdfast buffer repair`: what the agent does when it starts, without starting it.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use super::place::StorePath;
use crate::cli::{clean, print};

/// Repairs the store of a stopped agent as its next start would, and says what was done
#[derive(clap::Args, Debug)]
#[command(
    after_help = "First without the snapshot of the database, then with what can be read from its log; a damaged store is \
    set aside, and gaps that are told to the peer stand for all that is lost.\n\n\
    Exit code: 0 when the store is sound or repaired, 1 when it cannot be opened or an agent is running.\n\n\
    Examples:\n  holdfast buffer verify || holdfast buffer repair"
)]
pub struct Args {
    /// Print what was done in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Repairs and prints what was done. The error says why the store cannot be opened.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.whereabouts.agent()?.is_some() {
        bail!(
            "the agent is running: it repairs its store by itself; stop it to have all of it looked through"
        );
    }
    let mended = args.whereabouts.mend()?;
    let repairs = mended.repairs();
    let text = match args.json {
        true => format!("{:#}\n", json!({ "repairs": repairs })),
        false if repairs.is_empty() => "nothing had to be repaired\n".to_owned(),
        false => repairs.iter().map(|repair| format!("repaired: {}\n", clean(repair))).collect(),
    };
    // It is repaired, whether anyone reads of it or not.
    let _ = print(&text);
    Ok(ExitCode::SUCCESS)
}
