//! `holdfast buffer import`: hands the messages of an export to the running agent.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use holdfast_core::message::Message;

use super::place::{StoreAccess, StorePath, named, outlet};
use super::progress::Progress;
use super::record::{Record, many, read_all};
use crate::cli::print;

/// Most messages of one request, and most bytes of all but the last of them.
const BATCH_MESSAGES: usize = 5_000;
const BATCH_BYTES: usize = 1 << 20;

/// Hands the messages of an export to the running agent and waits until they are stored
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Each goes to the outlet that it was exported from, or to the one of --to; it keeps its time, gets a new \
    id and number, and says that it is replayed. Whether it is NDJSON or CBOR is seen by itself. It needs \
    the running agent, whose numbers they get.\n\n\
    Exit code: 0 only if everything is stored.\n\n\
    Examples:\n  holdfast buffer import held.ndjson\n  \
    holdfast buffer export cloud | holdfast buffer import --to backup\n  \
    jq -c 'select(.topic | startswith(\"kitchen/\"))' held.ndjson | holdfast buffer import"
)]
pub struct Args {
    /// The export; standard input without it
    file: Option<PathBuf>,
    /// Outlet that takes all of them
    #[arg(long, value_name = "OUTLET")]
    to: Option<String>,
    /// How long to try while the agent is busy
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Hands over all messages. The error says how many were stored before it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let agent = args.whereabouts.needed_agent("take messages in")?;
    let to = args.whereabouts.meant(args.to.as_deref());
    let to = to.as_ref().map(|to| outlet(&StoreAccess::Running(agent.clone()).survey()?, to)).transpose()?;
    let (input, bytes): (Box<dyn Read>, u64) = match &args.file {
        Some(path) => {
            let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            let bytes = file.metadata().map_or(0, |facts| facts.len());
            (Box::new(file), bytes)
        }
        None => (Box::new(std::io::stdin()), 0),
    };
    let mut import = Import::new(|outlet, messages| agent.again(outlet, messages, args.timeout));
    let done = import.take_all(input, bytes, to.as_deref());
    let stored = many(import.stored as u64, "message");
    let from = named(args.file.as_deref());
    done.with_context(|| format!("cannot import {from} ({stored} stored)"))?;
    // They are stored, whether anyone reads of it or not.
    let _ = print(&format!("stored {stored}\n"));
    Ok(ExitCode::SUCCESS)
}

/// Messages on their way to the agent, in batches of one outlet.
struct Import<S> {
    outlet: String,
    batch: Vec<Message>,
    bytes: usize,
    stored: usize,
    send: S,
}

impl<S: FnMut(&str, Vec<Message>) -> anyhow::Result<()>> Import<S> {
    fn new(send: S) -> Import<S> {
        Import { outlet: String::new(), batch: Vec::new(), bytes: 0, stored: 0, send }
    }

    /// Takes all records; `to` names the outlet in place of the one that a record names.
    fn take_all(&mut self, input: impl Read, bytes: u64, to: Option<&str>) -> anyhow::Result<()> {
        let done = Cell::new(0);
        let mut progress = (bytes > 0).then(|| Progress::new("importing", bytes, "bytes"));
        read_all(&mut BufReader::new(Counted { input, done: &done }), |record| {
            progress.iter_mut().for_each(|progress| progress.at(done.get()));
            let Record { outlet, message, .. } = record;
            self.take(to.map_or(outlet, str::to_owned), message)
        })?;
        self.send()
    }

    fn take(&mut self, outlet: String, message: Message) -> anyhow::Result<()> {
        let weight = message.weight();
        let full = self.batch.len() >= BATCH_MESSAGES || self.bytes + weight > BATCH_BYTES;
        if full || outlet != self.outlet {
            self.send()?;
        }
        self.outlet = outlet;
        self.bytes += weight;
        self.batch.push(message);
        Ok(())
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if !batch.is_empty() {
            let count = batch.len();
            (self.send)(&self.outlet, batch)?;
            self.stored += count;
        }
        Ok(())
    }
}

/// Counts what is read.
struct Counted<'a, R> {
    input: R,
    done: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.done.set(self.done.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::sample;
    use super::*;
    use holdfast_core::message::Format;

    fn line(outlet: &str, payload: &str) -> String {
        let message = sample(Format::Text, payload.as_bytes());
        let record = Record { outlet: outlet.to_owned(), epoch: String::new(), seq: 1, message };
        format!("{}\n", record.json().unwrap())
    }

    /// Imports these lines into an agent that takes `most` batches; tells what it got and how many are stored.
    fn import(
        lines: &str,
        to: Option<&str>,
        most: usize,
    ) -> (anyhow::Result<()>, Vec<(String, usize)>, usize) {
        let mut batches = Vec::new();
        let mut import = Import::new(|outlet: &str, messages: Vec<Message>| {
            anyhow::ensure!(batches.len() < most, "the buffer is full");
            batches.push((outlet.to_owned(), messages.len()));
            Ok(())
        });
        let done = import.take_all(lines.as_bytes(), 0, to);
        let stored = import.stored;
        (done, batches, stored)
    }

    #[test]
    fn messages_go_in_bounded_batches_of_one_outlet_each() {
        let lines = line("a", "1").repeat(5_500) + &line("b", "2") + &line("a", "3");
        let (done, batches, stored) = import(&lines, None, 9);
        let expected =
            [("a", 5_000), ("a", 500), ("b", 1), ("a", 1)].map(|(name, count)| (name.to_owned(), count));
        assert!(done.is_ok());
        assert_eq!((batches, stored), (expected.to_vec(), 5_502));
        let large = line("a", &"x".repeat(600_000)).repeat(3);
        assert_eq!(import(&large, None, 9).1.len(), 3);
    }

    #[test]
    fn another_outlet_may_take_all_of_them() {
        let (_, batches, _) = import(&(line("a", "1") + &line("b", "2")), Some("c"), 9);
        assert_eq!(batches, [("c".to_owned(), 2)]);
    }

    #[test]
    fn what_was_stored_before_an_error_is_counted() {
        let (done, _, stored) = import(&line("a", "1").repeat(9_000), None, 1);
        assert_eq!((done.unwrap_err().to_string().as_str(), stored), ("the buffer is full", 5_000));
    }
}
