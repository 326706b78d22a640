//! Reads one table key by key: each fault with its place, no key left unread.

use std::collections::BTreeMap;
use std::path::Path;

use super::fault::{ConfigFile, Faults, Span};
#[cfg(test)]
use super::tests::record;
use super::tree::{Entry, Kind, Node, indexed};

/// What every table needs to be read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub faults: &'a Faults,
    /// Where it stands.
    pub files: &'a [ConfigFile],
}

impl Reading<'_> {
    /// Folder that a relative path at this place is relative to; empty for one of the command line.
    pub(super) fn folder(&self, place: Span) -> &Path {
        match place {
            Span::Option(_) => Path::new(""),
            Span::Text { file, .. } => self.files.get(file).map_or(Path::new(""), ConfigFile::folder),
        }
    }
}

/// A table that is being read. Keys that nobody asked for are faults at its end.
pub(super) struct Table<'a> {
    reading: Reading<'a>,
    path: String,
    place: Span,
    entries: Vec<Entry>,
    asked: Vec<(&'static str, Option<Span>)>,
    planned: &'static [&'static str],
}

impl<'a> Table<'a> {
    /// Reads these entries with `read`, then reports the keys that it did not ask for.
    pub(super) fn read<T>(
        reading: Reading<'a>,
        path: String,
        place: Span,
        entries: Vec<Entry>,
        read: impl FnOnce(&mut Table<'a>) -> T,
    ) -> T {
        let mut table = Table { reading, path, place, entries, asked: Vec::new(), planned: &[] };
        let value = read(&mut table);
        #[cfg(test)]
        record::table::<T>(&unindexed(&table.path), table.asked.iter().map(|(key, _)| *key).collect());
        table.close();
        value
    }

    /// Sets keys of a table inside of this one from the command line.
    pub(super) fn overlay_within<const N: usize>(
        &mut self,
        key: &str,
        option: &'static str,
        keys: [(&str, Kind); N],
    ) {
        let empty = Kind::Table(Vec::new());
        if let Kind::Table(entries) = &mut entry(&mut self.entries, key, option, empty).node.kind {
            overlay(entries, option, keys);
        }
    }

    /// Sets keys of the first table of a list of tables from the command line, in place of `others` too.
    pub(super) fn overlay_first<const N: usize>(
        &mut self,
        key: &str,
        option: &'static str,
        keys: [(&str, Kind); N],
        others: &[&str],
    ) {
        let first = Node { place: Span::Option(option), kind: Kind::Table(Vec::new()) };
        let Kind::Array(nodes) =
            &mut entry(&mut self.entries, key, option, Kind::Array(Vec::new())).node.kind
        else {
            return;
        };
        if nodes.is_empty() {
            nodes.push(first);
        }
        if let Some(Node { kind: Kind::Table(entries), .. }) = nodes.first_mut() {
            entries.retain(|entry| !others.contains(&entry.key.as_str()));
            overlay(entries, option, keys);
        }
    }

    /// Names keys that are designed but not built, so that they are refused in these words.
    pub(super) fn planned(&mut self, keys: &'static [&'static str]) {
        self.planned = keys;
    }

    /// Has a key that stands under its old name read under its new one.
    pub(super) fn renamed(&mut self, old: &'static str, new: &'static str) {
        let Some(at) = self.entries.iter().position(|entry| entry.key == old) else { return };
        let path = self.key_path(old);
        if self.holds(new) {
            let entry = self.entries.swap_remove(at);
            let what = format!("is the old name of `{new}`, which is there as well: remove it");
            return self.reading.faults.add(entry.place, &path, what);
        }
        let entry = &mut self.entries[at];
        entry.key = new.to_owned();
        self.reading.faults.deprecate(
            entry.place,
            &path,
            format!("is called `{new}`; the old name is still read"),
        );
    }

    /// Names a key that was read before this table was, so that it is among the known ones.
    pub(super) fn known(&mut self, key: &'static str) {
        self.asked.push((key, None));
    }

    /// The value of a key, none if it is not there or wrong.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Node, &Reading) -> Result<T, String>,
    ) -> Option<T> {
        #[cfg(test)]
        record::key(&unindexed(&self.path), key, |node| read(node, &self.reading).err());
        let node = self.take(key)?;
        match read(&node, &self.reading) {
            Ok(value) => Some(value),
            Err(what) => {
                self.fail(key, what);
                None
            }
        }
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Node, &Reading) -> Result<T, String>,
    ) -> Option<T> {
        #[cfg(test)]
        record::required(&unindexed(&self.path), key);
        let value = self.optional(key, read);
        if !self.has(key) {
            self.fail(key, "is missing");
        }
        value
    }

    /// The value of a key, `default` if it is not there or wrong.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl Fn(&Node, &Reading) -> Result<T, String>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// A table inside of this one; an empty one if it is not there.
    pub(super) fn within<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Table<'a>) -> T) -> T {
        let place = self.place;
        let node = self.take(key).unwrap_or(Node { place, kind: Kind::Table(Vec::new()) });
        let entries = match node.kind {
            Kind::Table(entries) => entries,
            Kind::String(_)
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::Boolean(_)
            | Kind::Array(_)
            | Kind::Other => {
                self.fail(key, "must be a table");
                Vec::new()
            }
        };
        Table::read(self.reading, self.key_path(key), node.place, entries, read)
    }

    /// The tables of a list of tables, with their index.
    pub(super) fn each<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(usize, &mut Table<'a>) -> T,
    ) -> Vec<T> {
        let path = self.key_path(key);
        #[cfg(test)]
        record::list(&unindexed(&path));
        let Some(Node { kind: Kind::Array(nodes), .. }) = self.take(key) else {
            if self.has(key) {
                self.fail(key, format!("must be a list of tables: write `[[{}]]`", unindexed(&path)));
            }
            return Vec::new();
        };
        let many = nodes.len() > 1;
        let mut values = Vec::new();
        for (index, node) in nodes.into_iter().enumerate() {
            let path = indexed(&path, index, many);
            match node.kind {
                Kind::Table(entries) => {
                    values.push(Table::read(self.reading, path, node.place, entries, |table| {
                        read(index, table)
                    }))
                }
                Kind::String(_)
                | Kind::Integer(_)
                | Kind::Float(_)
                | Kind::Boolean(_)
                | Kind::Array(_)
                | Kind::Other => {
                    self.reading.faults.add(node.place, &path, "must be a table");
                }
            }
        }
        values
    }

    /// A table whose keys are free; each key and value is read by `read`.
    pub(super) fn map<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str, &Node, &Reading) -> Result<T, String>,
    ) -> BTreeMap<String, T> {
        let path = self.key_path(key);
        let reading = self.reading;
        self.within(key, |table| {
            let mut values = BTreeMap::new();
            for entry in table.entries.drain(..) {
                match read(&entry.key, &entry.node, &reading) {
                    Ok(value) => drop(values.insert(entry.key, value)),
                    Err(what) => {
                        let path = format!("{path}.{}", super::render::key(&entry.key));
                        reading.faults.add(entry.node.place, &path, what);
                    }
                }
            }
            values
        })
    }

    /// True if the key was read and is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.asked.iter().any(|(asked, place)| *asked == key && place.is_some())
    }

    /// True if the key is there and was not read yet.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// True if the key is there as a table and was not read yet.
    pub(super) fn holds_table(&self, key: &str) -> bool {
        let table = |entry: &Entry| entry.key == key && matches!(entry.node.kind, Kind::Table(_));
        self.entries.iter().any(table)
    }

    /// Adds a fault at the value of a key, or at the table if the key is not there.
    pub(super) fn fail(&self, key: &str, what: impl Into<String>) {
        self.reading.faults.add(self.place_of(key), &self.key_path(key), what);
    }

    /// Where the value of a key stands, or the table if the key is not there: `FILE:LINE:COLUMN`.
    pub(super) fn place(&self, key: &str) -> String {
        self.place_of(key).shown(self.reading.files)
    }

    /// Whether it stands in a file beside the main one.
    pub(super) fn is_beside(&self) -> bool {
        matches!(self.place, Span::Text { file: 1.., .. })
    }

    fn place_of(&self, key: &str) -> Span {
        let asked = self.asked.iter().find(|(asked, _)| *asked == key);
        asked.and_then(|(_, place)| *place).unwrap_or(self.place)
    }

    /// Adds a fault of the table as a whole.
    pub(super) fn fail_whole(&self, what: impl Into<String>) {
        self.reading.faults.add(self.place, &self.path, what);
    }

    /// The number of keys that were not read yet.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        let found = self.entries.iter().position(|entry| entry.key == key);
        let node = found.map(|index| self.entries.swap_remove(index).node);
        self.asked.push((key, node.as_ref().map(|node| node.place)));
        node
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn close(self) {
        for entry in &self.entries {
            let path = self.key_path(&super::render::key(&entry.key));
            self.reading.faults.add(entry.place, &path, self.unknown(&entry.key));
        }
    }

    fn unknown(&self, key: &str) -> String {
        if self.planned.contains(&key) {
            return "not supported by this version".to_owned();
        }
        let distance = |known: &str| strsim::damerau_levenshtein(known, &key.to_lowercase());
        let nearest = self.asked.iter().map(|(known, _)| *known).min_by_key(|known| distance(known));
        match nearest.filter(|known| distance(known) <= known.len().max(key.len()) / 3 + 1) {
            Some(known) => format!("unknown key; did you mean `{known}`?"),
            None => "unknown key".to_owned(),
        }
    }
}

fn unindexed(path: &str) -> String {
    path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect::<Vec<_>>().join(".")
}

/// The entry of this key, which is made if it is not there.
fn entry<'e>(entries: &'e mut Vec<Entry>, key: &str, option: &'static str, kind: Kind) -> &'e mut Entry {
    let index = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
        let place = Span::Option(option);
        entries.push(Entry { key: key.to_owned(), place, node: Node { place, kind } });
        entries.len() - 1
    });
    &mut entries[index]
}

fn overlay<const N: usize>(entries: &mut Vec<Entry>, option: &'static str, keys: [(&str, Kind); N]) {
    for (key, kind) in keys {
        let place = Span::Option(option);
        entries.retain(|entry| entry.key != key);
        entries.push(Entry { key: key.to_owned(), place, node: Node { place, kind } });
    }
}
