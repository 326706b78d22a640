//! `holdfast buffer export`: all messages that are held, for other programs and for another agent.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use holdfast_core::message::Body;

use super::place::{StoreAccess, StorePath, named, outlets_meant};
use super::progress::Progress;
use super::record::{Record, many};
use crate::cli::{is_closed_pipe, output, tell};
use crate::os::private;

/// Writes all messages that are held, and takes nothing away
#[derive(clap::Args, Debug)]
#[command(
    after_help = "A line of NDJSON has outlet, epoch, seq and all of the message, its payload as text in `payload` or else \
    in `base64`; CBOR is a sequence of the same maps, with the payload as bytes and the time in nanoseconds. \
    The agent goes on meanwhile: what is confirmed before it was read is not in the export.\n\n\
    Examples:\n  holdfast buffer export > held.ndjson\n  \
    holdfast buffer export cloud --format cbor --output held.cbor\n  \
    holdfast buffer export mqtt | jq -r '[.time, .topic, .payload] | @tsv'"
)]
pub struct Args {
    /// Outlet, such as client:cloud; all of them without it
    outlet: Option<String>,
    /// How to write them
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// Where to write them; standard output without it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    whereabouts: StorePath,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// A line of JSON each (NDJSON)
    Ndjson,
    /// A CBOR sequence (RFC 8742)
    Cbor,
}

/// Writes the messages; how many they are goes to stderr. The error says what could not be read or written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut place = args.whereabouts.read()?;
    let path = args.output.as_deref();
    let out: Box<dyn Write> = match path {
        Some(path) => {
            Box::new(private::overwrite(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => output(),
    };
    let mut output = BufWriter::new(out);
    let written = write_all(&mut place, args, &mut output).and_then(|count| {
        output.flush()?;
        Ok(count)
    });
    match written {
        Ok(count) => tell(&format!("{}\n", many(count, "message"))),
        // Whoever closes the pipe early has seen enough.
        Err(error) if is_closed_pipe(&error) && path.is_none() => {}
        Err(error) => {
            return Err(error.context(format!(
                "cannot export to {}",
                path.map_or("standard output".to_owned(), |_| named(path))
            )));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_all(place: &mut StoreAccess, args: &Args, output: &mut impl Write) -> anyhow::Result<u64> {
    let survey = place.survey()?;
    let outlets = outlets_meant(&survey, args.whereabouts.meant(args.outlet.as_deref()).as_deref())?;
    let held = survey.outlets.iter().zip(&survey.facts.held);
    let meant = held.filter(|(outlet, _)| outlets.contains(&outlet.name));
    let total = meant.map(|(_, held)| held.messages).sum();
    let mut progress = Progress::new("exporting", total, "messages");
    let mut count = 0;
    for outlet in outlets {
        let known = survey.outlets.iter().find(|known| known.name == outlet);
        let epoch = known.map_or("", |known| known.epoch.as_str());
        place.entries(&outlet, 0, |entry| {
            if let Body::Message(message) = &entry.body {
                let (outlet, epoch, message) = (outlet.clone(), epoch.to_owned(), (**message).clone());
                write(output, args.format, &Record { outlet, epoch, seq: entry.seq, message })?;
                count += 1;
                progress.at(count);
            }
            Ok(true)
        })?;
    }
    Ok(count)
}

fn write(output: &mut impl Write, format: Format, record: &Record) -> anyhow::Result<()> {
    match format {
        Format::Ndjson => writeln!(output, "{}", record.json()?)?,
        Format::Cbor => output.write_all(&serde_cbor::to_vec(record)?)?,
    }
    Ok(())
}
