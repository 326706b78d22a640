//! `holdfast buffer list`: what each outlet holds.

use std::process::ExitCode;

use holdfast_core::outlet::inspect::{Outlet, Survey};
use holdfast_core::outlet::store_protocol::Held;
use serde_json::{Value, json};

use super::place::StorePath;
use super::record::time;
use crate::cli::status::size;
use crate::cli::table::{screen_width, table};
use crate::cli::{clean, print};

/// Lists the outlets with what the store holds for each
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Messages that came within the last moment may be still on their way to the disk.\n\n\
    Examples:\n  holdfast buffer list\n  holdfast buffer list --json | jq '.[] | select(.messages > 0)'"
)]
pub struct Args {
    /// Print it in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Prints the list. The error says why the store cannot be seen.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let survey = args.whereabouts.read()?.survey()?;
    let text = if args.json { format!("{:#}\n", document(&survey)) } else { page(&survey, screen_width()) };
    // Whoever closes the pipe early has seen enough.
    let _ = print(&text);
    Ok(ExitCode::SUCCESS)
}

fn outlets(survey: &Survey) -> impl Iterator<Item = (&Outlet, &Held)> {
    survey.outlets.iter().zip(&survey.facts.held)
}

/// The outlets as JSON.
pub fn document(survey: &Survey) -> Value {
    let document = |(outlet, held): (&Outlet, &Held)| {
        let (first, last) = held.range.unzip();
        let oldest = (held.oldest_ns > 0).then(|| time(held.oldest_ns));
        json!({
            "outlet": outlet.name, "epoch": outlet.epoch, "first": first, "last": last,
            "messages": held.messages, "bytes": held.bytes, "oldest": oldest,
        })
    };
    outlets(survey).map(document).collect()
}

/// The outlets as a table.
pub fn page(survey: &Survey, width: Option<usize>) -> String {
    let line = |(outlet, held): (&Outlet, &Held)| {
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let (first, last) = held.range.unzip();
        let oldest = if held.oldest_ns > 0 { time(held.oldest_ns) } else { "-".to_owned() };
        let (messages, bytes) = (held.messages.to_string(), size(held.bytes));
        vec![clean(&outlet.name), messages, bytes, number(first), number(last), oldest, clean(&outlet.epoch)]
    };
    let lines: Vec<Vec<String>> = outlets(survey).map(line).collect();
    match lines.is_empty() {
        true => "there is no outlet: no client and no broker is configured\n".to_owned(),
        false => table("OUTLET,MESSAGES,BYTES,FIRST,LAST,OLDEST?,EPOCH?", &lines, width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::outlet::store_protocol::StoreFacts;

    #[test]
    fn an_outlet_is_a_line_and_numbers_that_are_not_there_are_none() {
        let outlet = |name: &str| Outlet { name: name.to_owned(), epoch: "01J".to_owned() };
        let full = Held {
            range: Some((4, 9)),
            messages: 5,
            bytes: 512,
            oldest_ns: 1_000_000_000,
            ..Held::default()
        };
        let facts = StoreFacts { held: vec![full, Held::default()], ..StoreFacts::default() };
        let outlets = vec![outlet("client:cloud"), outlet("mqtt")];
        let survey = Survey { outlets, facts, ..Survey::default() };
        let expected = "\
OUTLET        MESSAGES  BYTES  FIRST  LAST  OLDEST                          EPOCH
client:cloud  5         512 B  4      9     1970-01-01T00:00:01.000000000Z  01J
mqtt          0         0 B    -      -     -                               01J
";
        assert_eq!(page(&survey, None), expected);
        assert_eq!((&document(&survey)[0]["last"], &document(&survey)[1]["last"]), (&json!(9), &Value::Null));
        assert!(page(&Survey::default(), None).contains("no outlet"));
    }
}
