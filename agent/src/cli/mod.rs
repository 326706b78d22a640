//! One file per subcommand, all of the same shape: `Args` and `run(Args) -> anyhow::Result<ExitCode>`.

pub mod check;
pub mod options;
pub mod receive;
pub mod reload;
pub mod run;
pub mod send;
pub mod status;

use std::io::Write;
use std::time::{Duration, SystemTime};

use crate::io::clock;

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
