//! `holdfast run`: the agent itself.

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use holdfast_core::config::logging::LogFormat;

use super::options::Options;
use crate::os::logger;
use crate::runtime;
use crate::runtime::config_file;
use crate::store::OpenError;

/// EX_CONFIG of sysexits.h, which the unit names in `RestartPreventExitStatus=`: another start would end in the same way.
const NEVER_AGAIN: u8 = 78;
const REJECTED_BYTES_MAX: u64 = 4096;

/// Runs the agent until it is told to stop
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Stops within 5 seconds on SIGTERM or SIGINT; nothing that was stored is lost by any other end.\n\
    Exit code: 0 after such a stop, 78 where a newer Holdfast has written the data directory, 1 for all else.\n\n\
    Examples:\n  holdfast run\n  holdfast run --uplink wss://hub.example/ingest --mqtt mqtt://127.0.0.1\n  \
    RUST_LOG=debug holdfast run --config ./holdfast.toml --data-dir ./data\n  holdfast run --log-format json 2>&1 | jq -r .message"
)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// File that says why a newer configuration was rejected before this start, if it is there: the status tells it
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
    /// How a line of the log looks, in place of `format` in [log]: text, or json for an object a line
    #[arg(long, value_name = "FORMAT", value_parser = log_format)]
    pub log_format: Option<LogFormat>,
}

fn log_format(name: &str) -> Result<LogFormat, String> {
    LogFormat::named(name).ok_or_else(|| "must be text or json".to_owned())
}

/// Runs the agent. The error says why it cannot start.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = args.options.clone();
    let rejected = args.rejected.as_deref().map(read_rejected).transpose()?.flatten();
    let is_first = Cell::new(true);
    let load = move || {
        let files = options.read()?;
        let config = options.parse(&files)?;
        // One that is read later may be refused.
        if is_first.take() {
            logger::configure(config.log);
        }
        for warning in config_file::exposed(&config, &files) {
            log::warn!("{warning}");
        }
        Ok(config)
    };
    match runtime::run(load, rejected) {
        Err(error) if matches!(error.downcast_ref(), Some(OpenError::Newer(_))) => {
            logger::tell_end(&format!("{error:#}"));
            Ok(ExitCode::from(NEVER_AGAIN))
        }
        ended => ended.map(|()| ExitCode::SUCCESS),
    }
}

fn read_rejected(path: &Path) -> anyhow::Result<Option<String>> {
    let mut words = Vec::new();
    let read = File::open(path).and_then(|file| file.take(REJECTED_BYTES_MAX).read_to_end(&mut words));
    match read {
        Ok(_) => {
            Ok(Some(String::from_utf8_lossy(&words).trim().to_owned()).filter(|words| !words.is_empty()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
