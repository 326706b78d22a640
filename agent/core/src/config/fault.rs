//! What is wrong with a configuration, and where.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

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

/// A file of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its name in faults; relative paths in its text start at its folder.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
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
    /// A place in the text of a file.
    Text {
        /// Number of the file; the main one is the first.
        file: usize,
        /// Byte offset in it.
        offset: usize,
    },
}

impl Span {
    /// The beginning of the main file.
    pub(super) const START: Span = Span::Text { file: 0, offset: 0 };

    /// `FILE:LINE:COLUMN`, or the option.
    pub(super) fn shown(self, files: &[ConfigFile]) -> String {
        match self {
            Span::Option(name) => name.to_owned(),
            Span::Text { file, offset } => {
                files.get(file).map_or_else(String::new, |file| file.place(offset))
            }
        }
    }
}

impl ConfigFile {
    /// The folder that relative paths in it start at.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |start| start.chars().count()) + 1;
        format!("{}:{line}:{column}", self.path.display())
    }
}

/// Collects faults while the configuration is read.
#[derive(Default)]
pub(super) struct Faults {
    found: RefCell<Vec<Found>>,
    deprecated: RefCell<Vec<Found>>,
}

/// Place, key, words.
type Found = (Span, String, String);

impl Faults {
    pub(super) fn add(&self, place: Span, key: &str, what: impl Into<String>) {
        self.found.borrow_mut().push((place, key.to_owned(), what.into()));
    }

    /// Adds a key that is read although it has another name.
    pub(super) fn deprecate(&self, place: Span, key: &str, what: String) {
        self.deprecated.borrow_mut().push((place, key.to_owned(), what));
    }

    /// One fault in place of all of a file where there are some because it is in another language.
    pub(super) fn or_foreign(self, files: &[ConfigFile]) -> Faults {
        let mut found = self.found.borrow_mut();
        for (number, file) in files.iter().enumerate() {
            let is_here = |found: &Found| matches!(found.0, Span::Text { file, .. } if file == number);
            let foreign = foreign::fault(&file.text).filter(|_| found.iter().any(is_here));
            if let Some(what) = foreign {
                found.retain(|found| !is_here(found));
                found.push((Span::Text { file: number, offset: 0 }, String::new(), what));
            }
        }
        drop(found);
        self
    }

    /// Fails with every fault that was collected; without any it gives the keys that stand under an old name.
    pub(super) fn check(self, files: &[ConfigFile]) -> Result<Vec<Fault>, Errors> {
        let mut found = self.found.into_inner();
        let shown = |(place, key, what): Found| Fault { place: place.shown(files), key, what };
        if found.is_empty() {
            return Ok(self.deprecated.into_inner().into_iter().map(shown).collect());
        }
        found.sort_by_key(|(place, _, _)| *place);
        // What follows the first fault of a value is mostly its consequence.
        found.dedup_by(|(place, key, _), (before, key_before, _)| place == before && key == key_before);
        Err(Errors(found.into_iter().map(shown).collect()))
    }
}
