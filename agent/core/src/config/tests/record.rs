//! What the reader of the configuration asks for while it reads: its tables, their keys, and what each key takes, in the
//! reader's own words. So the manual page cannot say anything else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::config::fault::Span;
use crate::config::tree::{Kind, Node};

/// Everything that was asked for. Paths have no indices: `client.ping`.
#[derive(Debug, Default, Clone)]
pub struct Record {
    /// Tables in the order of their first end, with the type that each becomes.
    pub types: BTreeMap<String, String>,
    /// The keys of each table, in the order in which they are asked for.
    pub keys: BTreeMap<String, Vec<&'static str>>,
    /// What each key takes, by its path.
    pub shapes: BTreeMap<String, String>,
    /// Paths of keys that must be there.
    pub required: BTreeSet<String>,
    /// Paths of lists of tables.
    pub lists: BTreeSet<String>,
}

thread_local! {
    static RECORD: RefCell<Record> = RefCell::default();
}

/// What was asked for on this thread.
pub fn taken() -> Record {
    RECORD.take()
}

/// A table was read, and became a `T`.
pub fn table<T>(path: &str, asked: Vec<&'static str>) {
    RECORD.with_borrow_mut(|record| {
        let name = std::any::type_name::<T>().replace("core::option::Option<", "").replace('>', "");
        record.types.insert(path.to_owned(), name.rsplit("::").next().unwrap_or_default().to_owned());
        let keys = record.keys.entry(path.to_owned()).or_default();
        for key in asked {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    });
}

/// A key is read, and refuses what is wrong with these words.
pub fn key(path: &str, key: &str, refuse: impl Fn(&Node) -> Option<String>) {
    RECORD.with_borrow_mut(|record| record.shapes.insert(joined(path, key), shape(refuse)));
}

/// A key must be there.
pub fn required(path: &str, key: &str) {
    RECORD.with_borrow_mut(|record| record.required.insert(joined(path, key)));
}

/// A list of tables is read.
pub fn list(path: &str) {
    RECORD.with_borrow_mut(|record| record.lists.insert(path.to_owned()));
}

/// The path of a key in a table.
pub fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What a key takes, as its refusals of wrong values tell.
fn shape(refuse: impl Fn(&Node) -> Option<String>) -> String {
    let refuse = |kind| refuse(&Node { place: Span::START, kind });
    let words = refuse(Kind::Other).expect("no key takes every type");
    let words = words.strip_prefix("must be ").unwrap_or(&words);
    let span = |low: Kind, high: Kind| {
        let low = refuse(low).and_then(|words| bound(&words, " is below "));
        let high = refuse(high).and_then(|words| bound(&words, " is above "));
        low.into_iter().chain(high).collect::<Vec<_>>().join(" to ")
    };
    if words.starts_with("a duration") {
        let text = |text: &str| Kind::String(text.to_owned());
        let zero = refuse(text("1ns")).is_some() && refuse(text("0s")).is_none();
        let span = span(text("1ns"), text("1000years"));
        let span = if span.contains(" to ") { span } else { format!("0s to {span}") };
        return format!("a duration, {span}{}", if zero { ", or 0s" } else { "" });
    }
    if words.starts_with("a size") {
        return format!("a size, {}", span(Kind::Integer(0), Kind::Integer(i64::MAX)));
    }
    words.to_owned()
}

fn bound(words: &str, between: &str) -> Option<String> {
    Some(words.split_once(between)?.1.to_owned())
}
