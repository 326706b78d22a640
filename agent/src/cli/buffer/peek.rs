//! `holdfast buffer peek`: the messages that come next.

use std::process::ExitCode;

use holdfast_core::message::{Body, Entry};

use super::place::{StorePath, outlets_meant};
use super::record::{Record, line};
use crate::cli::print;

/// Shows messages that are held, the oldest first, and takes nothing away
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  holdfast buffer peek\n  holdfast buffer peek cloud --from 1200 --count 50\n  \
    holdfast buffer peek cloud --json | jq -r .payload"
)]
pub struct Args {
    /// Outlet, such as client:cloud; all of them without it
    outlet: Option<String>,
    /// First number to show
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// How many of each outlet to show
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    count: usize,
    /// Print lines of JSON, as an export has them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Prints the messages. The error says why they cannot be seen.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut place = args.whereabouts.read()?;
    let survey = place.survey()?;
    for outlet in outlets_meant(&survey, args.whereabouts.meant(args.outlet.as_deref()).as_deref())? {
        let known = survey.outlets.iter().find(|known| known.name == outlet);
        let epoch = known.map_or("", |known| known.epoch.as_str());
        let mut left = args.count;
        if left == 0 {
            break;
        }
        place.entries(&outlet, args.from, |entry| {
            let Some(text) = shown(&outlet, epoch, &entry, args.json)? else { return Ok(true) };
            left -= 1;
            // Whoever closes the pipe early has seen enough.
            Ok(print(&text).is_ok() && left > 0)
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The words for an entry; for programs there are none for a gap.
fn shown(outlet: &str, epoch: &str, entry: &Entry, json: bool) -> anyhow::Result<Option<String>> {
    if !json {
        return Ok(Some(line(outlet, entry)));
    }
    match &entry.body {
        Body::Gap { .. } => Ok(None),
        Body::Message(message) => {
            let (outlet, epoch, message) = (outlet.to_owned(), epoch.to_owned(), (**message).clone());
            let record = Record { outlet, epoch, seq: entry.seq, message };
            Ok(Some(format!("{}\n", record.json()?)))
        }
    }
}
