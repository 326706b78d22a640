//! `holdfast buffer purge`: gives up what is held.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use holdfast_core::outlet::inspect::{Change, Survey};

use super::place::{StorePath, outlets_meant};
use super::record::many;
use crate::cli::{clean, print};

/// Gives up all messages that the store holds for an outlet; its peer is told of the gap
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Their numbers are announced to the peer as a gap with the reason `purged`, and they are counted as \
    dropped. What is on its way to the disk at this moment, for which nobody was told `stored` yet, stays.\n\n\
    Examples:\n  holdfast buffer export cloud > held.ndjson && holdfast buffer purge cloud\n  \
    holdfast buffer purge --all --yes"
)]
pub struct Args {
    /// Outlet, such as client:cloud
    #[arg(required_unless_present = "all")]
    outlet: Option<String>,
    /// Give up the messages of all outlets
    #[arg(long, conflicts_with = "outlet")]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Asks, gives up, and prints how many messages. The error says why not.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut place = args.whereabouts.change()?;
    let survey = place.survey()?;
    let outlets = outlets_meant(&survey, args.whereabouts.meant(args.outlet.as_deref()).as_deref())?;
    if !args.yes && !is_confirmed(&question(&survey, &outlets))? {
        bail!("nothing was given up");
    }
    for outlet in outlets {
        let given_up = place.change(&Change::Purge { outlet: outlet.clone() });
        let messages = given_up.with_context(|| format!("cannot purge {outlet}"))?;
        // They are gone, whether anyone reads of it or not.
        let _ = print(&format!("gave up {} of {outlet}\n", many(messages, "message")));
    }
    Ok(ExitCode::SUCCESS)
}

fn question(survey: &Survey, outlets: &[String]) -> String {
    let held = survey.outlets.iter().zip(&survey.facts.held);
    let meant = held.filter(|(outlet, _)| outlets.contains(&outlet.name));
    let messages: u64 = meant.map(|(_, held)| held.messages).sum();
    format!("Give up {} of {} for good?", many(messages, "message"), outlets.join(", "))
}

/// Asks on the terminal; without one nobody can answer, and `--yes` is needed.
fn is_confirmed(question: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        bail!("there is no terminal to ask on, so nothing was given up: --yes says that it is meant");
    }
    let mut out = std::io::stderr();
    write!(out, "{} [y/N] ", clean(question)).and_then(|()| out.flush()).context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::outlet::inspect::Outlet;
    use holdfast_core::outlet::store_protocol::{Held, StoreFacts};

    #[test]
    fn the_question_counts_only_what_is_meant_and_only_yes_means_it() {
        let outlet = |name: &str| Outlet { name: name.to_owned(), epoch: String::new() };
        let held = |messages| Held { messages, ..Held::default() };
        let facts = StoreFacts { held: vec![held(3), held(40)], ..StoreFacts::default() };
        let survey = Survey { outlets: vec![outlet("a"), outlet("b")], facts, ..Survey::default() };
        assert_eq!(question(&survey, &["b".to_owned()]), "Give up 40 messages of b for good?");
        assert!(is_yes("Y\n") && is_yes("yes") && !is_yes("\n") && !is_yes("no"));
    }
}
