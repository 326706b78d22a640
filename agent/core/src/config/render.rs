//! Writes a configuration as TOML, each value that is not the default with a mark.

use std::path::Path;
use std::time::Duration;

use super::Secret;
use super::tree;
use crate::terminal;

const UNITS: [(u64, &str); 6] = [
    (1_000_000_000, "GB"),
    (1 << 30, "GiB"),
    (1_000_000, "MB"),
    (1 << 20, "MiB"),
    (1_000, "KB"),
    (1 << 10, "KiB"),
];

/// The lines of one table: key and value, none for a key without a value.
pub(super) type Lines = Vec<(&'static str, Option<String>)>;

/// Writes a table; lines that differ from those of the default are marked.
pub(super) fn table(out: &mut String, header: &str, lines: &Lines, defaults: &Lines) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(header);
    out.push('\n');
    for (line @ (key, value), default) in lines.iter().zip(defaults) {
        let mark = if line == default { "" } else { "  # set" };
        match value {
            Some(value) => out.push_str(&format!("{key} = {value}{mark}\n")),
            None => out.push_str(&format!("# {key} is not set{mark}\n")),
        }
    }
}

/// An inline table of the keys that have a value.
pub(super) fn inline(pairs: &[(&str, Option<String>)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .filter_map(|(name, value)| Some(format!("{} = {}", key(name), value.as_ref()?)))
        .collect();
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}

/// A key, in quotes if it needs them.
pub(super) fn key(name: &str) -> String {
    let bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A string of TOML that the configuration gives back as it is.
pub fn string(text: &str) -> String {
    quoted(&tree::escaped(text))
}

pub(super) fn strings(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| string(text)).collect();
    format!("[{}]", texts.join(", "))
}

pub(super) fn path(path: &Path) -> String {
    string(&path.to_string_lossy())
}

pub(super) fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A size with the largest unit that gives a whole number.
pub(super) fn bytes(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes}B"), |(size, unit)| format!("{}{unit}", bytes / size))
}

/// Three stars, or where the secret comes from.
pub(super) fn secret(secret: &Secret) -> String {
    match secret {
        Secret::Plain(_) => string("***"),
        Secret::File(file) => inline(&[("file", Some(path(file)))]),
        Secret::Credential(name) => inline(&[("credential", Some(string(name)))]),
        Secret::Env(name) => inline(&[("env", Some(string(name)))]),
    }
}

/// The word of a value.
pub(super) fn word<T: PartialEq, const N: usize>(words: [(&'static str, T); N], value: T) -> String {
    words.iter().find(|(_, known)| *known == value).map_or_else(String::new, |(word, _)| string(word))
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if terminal::is_unsafe(letter) => match u32::from(letter) {
                number @ 0x1_0000.. => out.push_str(&format!("\\U{number:08X}")),
                number => out.push_str(&format!("\\u{number:04X}")),
            },
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}
