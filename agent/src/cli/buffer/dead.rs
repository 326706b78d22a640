//! `holdfast buffer dead`: the messages that peers refused.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use holdfast_core::message::Message;
use holdfast_core::outlet::inspect::{Change, DeadLetter};
use serde_json::{Value, json};

use super::place::{StoreAccess, StorePath};
use super::record::{message_json, payload_words, time};
use crate::cli::table::{screen_width, table};
use crate::cli::{clean, print};

/// Lists, shows, hands in again or drops the messages that peers refused
#[derive(clap::Args, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  holdfast buffer dead list\n  holdfast buffer dead show 3\n  \
    holdfast buffer dead requeue 3 4\n  \
    holdfast buffer dead drop --all"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    List(List),
    Show(Show),
    Requeue(Requeue),
    Drop(Drop),
}

/// Lists the dead letters
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  holdfast buffer dead list\n  \
    holdfast buffer dead list --json | jq -r '.[].reason' | sort | uniq -c")]
struct List {
    /// Print them in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Shows a dead letter with all that the message has
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  holdfast buffer dead show 3\n  holdfast buffer dead show 3 --json | jq -r .payload"
)]
struct Show {
    /// Its number in the list
    number: u64,
    /// Print it in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Hands dead letters in again, each for the outlet whose peer refused it, and drops them once they are stored
#[derive(clap::Args, Debug)]
#[command(
    after_help = "They keep their time, get a new id and number, and say that they are replayed. It needs the running \
    agent, whose numbers they get.\n\n\
    Examples:\n  holdfast buffer dead requeue 3 4\n  holdfast buffer dead requeue --all"
)]
struct Requeue {
    #[command(flatten)]
    which: Which,
    /// How long to try while the agent is busy
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Drops dead letters for good
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  holdfast buffer dead drop 3\n  holdfast buffer dead drop --all")]
struct Drop {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Which letters.
#[derive(clap::Args, Debug)]
struct Which {
    /// Their numbers in the list
    #[arg(required_unless_present = "all")]
    numbers: Vec<u64>,
    /// All of them
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
}

/// A letter with its number; none for one that cannot be read.
type Numbered = (u64, Option<DeadLetter>);

/// Runs the subcommand. The error says which letter could not be found, read, stored or dropped.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List(args) => list(args),
        Command::Show(args) => show(args),
        Command::Requeue(args) => requeue(args),
        Command::Drop(args) => drop(args),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn list(args: &List) -> anyhow::Result<()> {
    let letters = args.whereabouts.read()?.letters()?;
    let text =
        if args.json { format!("{:#}\n", documents(&letters)?) } else { page(&letters, screen_width()) };
    // Whoever closes the pipe early has seen enough.
    let _ = print(&text);
    Ok(())
}

fn show(args: &Show) -> anyhow::Result<()> {
    let letters = args.whereabouts.read()?.letters()?;
    let letter = chosen(&letters, &[args.number])?.into_iter().next().context("no letter is meant")?;
    let document = document(letter)?;
    let text = if args.json { format!("{document:#}\n") } else { lines(&document) };
    // Whoever closes the pipe early has seen enough.
    let _ = print(&text);
    Ok(())
}

fn requeue(args: &Requeue) -> anyhow::Result<()> {
    let agent = args.whereabouts.needed_agent("take messages in")?;
    let mut place = StoreAccess::Running(agent.clone());
    let letters = place.letters()?;
    for (number, letter) in args.which.among(&letters)? {
        let cannot = || format!("cannot requeue letter {number}");
        let letter = letter.as_ref().context("it is damaged").with_context(cannot)?;
        let message = Message::clone(&letter.message);
        agent.again(&letter.outlet, vec![message], args.timeout).with_context(cannot)?;
        place.change(&Change::DropLetter { number: *number }).with_context(|| {
            format!("letter {number} is stored for {}, but it cannot be dropped", letter.outlet)
        })?;
        // It is done, whether anyone reads of it or not.
        let _ = print(&format!("requeued {number} for {}\n", clean(&letter.outlet)));
    }
    Ok(())
}

fn drop(args: &Drop) -> anyhow::Result<()> {
    let mut place = args.whereabouts.change()?;
    let letters = place.letters()?;
    for (number, _) in args.which.among(&letters)? {
        place
            .change(&Change::DropLetter { number: *number })
            .with_context(|| format!("cannot drop letter {number}"))?;
        // It is done, whether anyone reads of it or not.
        let _ = print(&format!("dropped {number}\n"));
    }
    Ok(())
}

impl Which {
    fn among<'a>(&self, letters: &'a [Numbered]) -> anyhow::Result<Vec<&'a Numbered>> {
        if self.all { Ok(letters.iter().collect()) } else { chosen(letters, &self.numbers) }
    }
}

/// The letters with these numbers; all of them must be there before anything is done.
fn chosen<'a>(letters: &'a [Numbered], numbers: &[u64]) -> anyhow::Result<Vec<&'a Numbered>> {
    let find = |number: &u64| {
        let found = letters.iter().find(|(other, _)| other == number);
        found.with_context(|| format!("there is no dead letter {number}"))
    };
    numbers.iter().map(find).collect()
}

fn page(letters: &[Numbered], width: Option<usize>) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let line = |(number, letter): &Numbered| {
        let Some(letter) = letter else {
            return vec![
                number.to_string(),
                "damaged".into(),
                "-".into(),
                "-".into(),
                "-".into(),
                "-".into(),
                "-".into(),
            ];
        };
        vec![
            number.to_string(),
            clean(&letter.outlet),
            letter.seq.to_string(),
            time(letter.set_aside_ns),
            clean(&letter.reason),
            clean(&letter.message.topic),
            payload_words(&letter.message),
        ]
    };
    table(
        "NUMBER,OUTLET,SEQ?,SET ASIDE?,REASON~,TOPIC~,PAYLOAD~",
        &letters.iter().map(line).collect::<Vec<_>>(),
        width,
    )
}

fn documents(letters: &[Numbered]) -> anyhow::Result<Value> {
    letters.iter().map(document).collect::<anyhow::Result<Value>>()
}

fn document((number, letter): &Numbered) -> anyhow::Result<Value> {
    let Some(letter) = letter else { return Ok(json!({ "number": number, "damaged": true })) };
    let mut document = json!({
        "number": number, "outlet": letter.outlet, "seq": letter.seq, "reason": letter.reason,
        "set_aside": time(letter.set_aside_ns),
    });
    if let Value::Object(map) = &mut document {
        map.extend(message_json(&letter.message)?);
    }
    Ok(document)
}

/// A line for each thing that is known of a letter.
fn lines(document: &Value) -> String {
    let known = document.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let line = |(key, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{:<11}{}\n", format!("{key}:"), clean(&value))
    };
    known.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::record::sample;
    use super::*;
    use holdfast_core::message::Format;

    fn letter(number: u64) -> Numbered {
        let message = Message { device: None, ..sample(Format::Text, b"hot") };
        let (outlet, reason) = ("client:cloud".to_owned(), "no \x1b schema".to_owned());
        (
            number,
            Some(DeadLetter { outlet, seq: 9, reason, set_aside_ns: 2_000_000_000, message: message.into() }),
        )
    }

    #[test]
    fn a_letter_is_a_line_of_the_list_and_one_that_cannot_be_read_says_so() {
        let expected = "\
NUMBER  OUTLET        SEQ  SET ASIDE                       REASON            TOPIC                PAYLOAD
3       client:cloud  9    1970-01-01T00:00:02.000000000Z  no \\u001b schema  kitchen/temperature  hot
4       damaged       -    -                               -                 -                    -
";
        assert_eq!(page(&[letter(3), (4, None)], None), expected);
        assert_eq!(page(&[], None), "no dead letters\n");
    }

    #[test]
    fn a_letter_is_shown_with_all_that_its_message_has() {
        let shown = lines(&document(&letter(3)).unwrap());
        for line in [
            "number:    3\n",
            "reason:    no \\u001b schema\n",
            "payload:   hot\n",
            "source:    server:sensors\n",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
        assert!(!shown.contains("device"), "{shown}");
    }

    #[test]
    fn a_number_that_is_not_there_stops_everything_before_it_begins() {
        let letters = [letter(3), letter(5)];
        assert_eq!(chosen(&letters, &[5, 3]).unwrap().len(), 2);
        assert_eq!(chosen(&letters, &[3, 4]).unwrap_err().to_string(), "there is no dead letter 4");
    }
}
