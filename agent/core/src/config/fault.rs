//! What is wrong with a configuration, and where.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;

use super::foreign;

/// One fault, shown as `FILE:LINE:COLUMN: key.path: what is wrong`.
///
/// An element of a list is named by its index from 0 (`client[1].reconnect.max`), and without one if it is the only one
/// (`client.reconnect.max`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands: `FILE:LINE:COLUMN`, or the option of the command line that brought it.
    pub place: String,
    /// Path of the key; empty when the text is not TOML.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

/// All faults of a configuration, in the order of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(pub Vec<Fault>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.place, self.what),
            key => write!(f, "{}: {key}: {}", self.place, self.what),
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Where a value comes from. Options of the command line sort before the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Span {
    /// An option of the command line.
    Option(&'static str),
    /// Byte offset in the text.
    Text(usize),
}

/// Collects faults while the configuration is read.
#[derive(Default)]
pub(super) struct Faults(RefCell<Vec<(Span, String, String)>>);

impl Faults {
    pub(super) fn add(&self, place: Span, key: &str, what: impl Into<String>) {
        self.0.borrow_mut().push((place, key.to_owned(), what.into()));
    }

    /// One fault in place of all where there are some because the text is in another language.
    pub(super) fn or_foreign(self, text: &str) -> Faults {
        match foreign::fault(text).filter(|_| !self.0.borrow().is_empty()) {
            Some(what) => Faults(RefCell::new(vec![(Span::Text(0), String::new(), what)])),
            None => self,
        }
    }

    /// Fails with everything that was collected, if there is anything.
    pub(super) fn check(self, text: &str, file: &Path) -> Result<(), Errors> {
        let mut found = self.0.into_inner();
        if found.is_empty() {
            return Ok(());
        }
        found.sort_by_key(|(place, _, _)| *place);
        // What follows the first fault of a value is mostly its consequence.
        found.dedup_by(|(place, key, _), (before, key_before, _)| place == before && key == key_before);
        let shown =
            found.into_iter().map(|(place, key, what)| Fault { place: shown(place, text, file), key, what });
        Err(Errors(shown.collect()))
    }
}

fn shown(place: Span, text: &str, file: &Path) -> String {
    match place {
        Span::Option(name) => name.to_owned(),
        Span::Text(offset) => {
            let before = text.get(..offset).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |start| start.chars().count()) + 1;
            format!("{}:{line}:{column}", file.display())
        }
    }
}
