//! Values that must not be seen: kept in the file, or fetched from elsewhere at each use.

use std::path::PathBuf;

/// A secret, or where it is read from. It has no `Display`, and its `Debug` shows only where it comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Written in the configuration itself.
    Plain(String),
    /// First line of a file, `{ file = "…" }`.
    File(PathBuf),
    /// A systemd credential, `{ credential = "…" }`: the file of that name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// An environment variable, `{ env = "…" }`.
    Env(String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secret::Plain(_) => f.write_str("***"),
            Secret::File(path) => write!(f, "{{ file = {path:?} }}"),
            Secret::Credential(name) => write!(f, "{{ credential = {name:?} }}"),
            Secret::Env(name) => write!(f, "{{ env = {name:?} }}"),
        }
    }
}
