//! One file per subcommand, all of the same shape: `Args` and `run(&Args) -> anyhow::Result<ExitCode>`.

pub mod buffer;
mod change;
pub mod check;
pub mod client;
pub mod config;
pub mod demo;
pub mod hash_password;
pub mod options;
pub mod receive;
pub mod reload;
pub mod run;
pub mod send;
pub mod server;
pub mod status;
pub mod tap;
pub mod test;

use std::io::{IsTerminal, Write};
use std::time::{Duration, SystemTime};

use crate::io::clock;

/// Whether what is printed may be coloured: a terminal reads it, and `NO_COLOR` does not say otherwise.
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

/// Prints at once. An error says that nobody reads it any more, who has seen enough then.
fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The interval of something that is shown again and again.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_millis(100)..=Duration::from_secs(86_400);
    if bounds.contains(&interval) { Ok(interval) } else { Err("must be between 100ms and 1day".to_owned()) }
}

/// One line of the log for the journal: level as in sd-daemon(3), what happened. The journal knows the time.
pub fn journal_line(out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>) -> std::io::Result<()> {
    let priority = match record.level() {
        log::Level::Error => 3,
        log::Level::Warn => 4,
        log::Level::Info => 6,
        log::Level::Debug | log::Level::Trace => 7,
    };
    writeln!(out, "<{priority}>{}", record.args())
}

/// One line of the log on stderr: time in UTC, level, what happened.
pub fn log_line(out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>) -> std::io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(clock::now().wall_ns);
    let time = humantime::format_rfc3339_millis(time);
    writeln!(out, "{time} {:<5} {}", record.level(), record.args())
}
