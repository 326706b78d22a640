//! Findings of `holdfast doctor`: facts of the machine, of the running agent and of its links become sentences, each with a grade
//! and, where something is wrong, with a remedy. The facts come from the program; the thresholds stand here.

mod agent;
mod link;
mod machine;

use serde::Serialize;

pub use self::agent::{AgentFacts, Configuration, LinkFacts, no_agent};
pub use self::link::{LinkTest, links, names};
pub use self::machine::{Card, Certificate, ClockFacts, Disk, LifeTime, Limits, Owner, Permissions, Usage};

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Nothing is wrong.
    Ok,
    /// Something will go wrong, or is not as it should be.
    Warning,
    /// Something does not work.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub grade: Grade,
    /// Its subject: `clock`, `link cloud`.
    pub about: String,
    /// Its state, in a sentence.
    pub found: String,
    /// The remedy; empty when nothing is wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Grade {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Grade::Ok => "ok",
            Grade::Warning => "warning",
            Grade::Fault => "fault",
        }
    }
}

impl Finding {
    fn ok(about: &str, found: impl Into<String>) -> Finding {
        Finding { grade: Grade::Ok, about: about.to_owned(), found: found.into(), remedy: String::new() }
    }

    fn warning(about: &str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { remedy: remedy.into(), grade: Grade::Warning, ..Finding::ok(about, found) }
    }

    fn fault(about: &str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { remedy: remedy.into(), grade: Grade::Fault, ..Finding::ok(about, found) }
    }
}

/// Bytes in words, as `12.3 MB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
