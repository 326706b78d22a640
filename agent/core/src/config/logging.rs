//! `[log]`

use super::render::{self, Lines};
use super::table::Table;
use super::value;

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const LEVELS: [(&str, LogLevel); 4] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
];

/// `[log]`: what the agent writes to standard error, which is the journal under systemd. The environment variable `RUST_LOG` goes
/// before `level`, and `--log-format` before `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Events of less weight are not written.
    pub level: LogLevel,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// A sentence with the facts in it.
    #[default]
    Text,
    /// A JSON object with `time`, `level` and `message`, and the facts of the event as further members.
    Json,
}

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Failures to do what was asked for.
    Error,
    /// Events that need a person, too: a lost link, a refused message, a full buffer.
    Warn,
    /// Each change of a state, too.
    #[default]
    Info,
    /// Events that a peer can repeat at will, too.
    Debug,
}

impl LogFormat {
    /// By its name in the configuration.
    pub fn named(name: &str) -> Option<LogFormat> {
        FORMATS.iter().find(|(word, _)| *word == name).map(|(_, format)| *format)
    }
}

impl LogLevel {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        LEVELS.iter().find(|(_, level)| *level == self).map_or("info", |(word, _)| word)
    }
}

impl Log {
    pub(super) fn read(table: &mut Table) -> Log {
        let default = Log::default();
        Log {
            format: table.value("format", default.format, value::word(FORMATS)),
            level: table.value("level", default.level, value::word(LEVELS)),
        }
    }

    pub(super) fn lines(&self) -> Lines {
        vec![
            ("format", Some(render::word(FORMATS, self.format))),
            ("level", Some(render::word(LEVELS, self.level))),
        ]
    }
}
