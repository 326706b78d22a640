//! The manual page holdfast.toml(5). Nothing of it is written twice: the keys and what they take are what the reader asks
//! for, the words are the comments of the types that it fills, and the defaults are what an empty configuration renders.

use super::record::{Record, joined, taken};
use super::source::{Item, Part, item};
use super::*;

#[path = "../../../../../tests/pages/file.rs"]
pub(super) mod file;
#[path = "../../../../../tests/pages/roff.rs"]
mod roff;

use roff::{ascii, plain};

/// Keys that become no field: their paths, what they take, and what they do.
const WITHOUT_FIELD: [(&str, &str, &str); 6] = [
    (
        "agent.environment",
        "a string",
        "Chooses a table `[environment.NAME]`, whose variables win over those of `[variables]`.",
    ),
    ("server.route.query.type", TYPE.0, TYPE.1),
    ("server.route.header.type", TYPE.0, TYPE.1),
    ("client.reconnect.jitter", JITTER.0, JITTER.1),
    ("mqtt.reconnect.jitter", JITTER.0, JITTER.1),
    ("source.mqtt.reconnect.jitter", JITTER.0, JITTER.1),
];

/// How the reader begins to say what a secret may be.
const SECRET: &str = "a string or exactly one of { file";

const TYPE: (&str, &str) = (
    "\"string\" or \"number\" or \"boolean\"",
    "What a value must be: any text (the default); a number as in JSON; or `true` or `1`, `false` or `0`, which become `true` and \
     `false`.",
);

const JITTER: (&str, &str) =
    ("\"full\"", "Each wait is random, from nothing to its upper end; there is no other jitter.");

/// With every list and optional table that there is.
const LEAST: &str = "[[client]]\nurl = 'ws://h'\n[[server]]\n[[server.route]]\npath = '/a'\n[mqtt]\nurl = 'mqtt://h'\n\
                     [[source]]\nmqtt = { topics = ['a'] }\n";

#[test]
fn the_manual_page_of_the_configuration_is_current() {
    let tables: String = everything().iter().map(in_roff).collect();
    let page = include_str!("../../../../man/holdfast.toml.5.in")
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@TABLES@\n", &tables);
    file::assert_current("agent/man/holdfast.toml.5", &ascii(&page));
}

#[test]
fn the_reference_of_the_configuration_is_current_also_among_the_pages() {
    let tables: String = everything().iter().map(in_markdown).collect();
    file::assert_current("agent/man/reference.md", &tables);
    file::assert_current_part("agent/doc/parameters.md", "reference", &tables);
}

#[test]
fn the_sample_configuration_names_every_key() {
    let sample = include_str!("../../../../../systemd/holdfast.toml");
    let names = |key: &str| {
        sample.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == key)
    };
    let record = everything_asked_for();
    let missing: Vec<String> = (record.keys.iter())
        .flat_map(|(path, keys)| keys.iter().map(move |key| (path, *key)))
        .filter(|(_, key)| !names(key))
        .map(|(path, key)| joined(path, key))
        .collect();
    assert!(missing.is_empty(), "systemd/holdfast.toml does not name {missing:?}");
}

/// What the reader asks for in texts that have every table.
fn everything_asked_for() -> Record {
    drop(taken());
    parse(RICH);
    parse(LEAST);
    taken()
}

/// The rendered defaults, without what has none.
fn defaults() -> toml::Table {
    let env = |_: &str| None;
    let environment = Environment { host_name: HOST, data_dir: Path::new("/var/lib/holdfast"), env: &env };
    let config = Config::parse(LEAST, Path::new(FILE), &Overrides::default(), &environment).unwrap();
    let rendered = config.render(&environment);
    let lines: Vec<&str> = rendered.lines().filter(|line| !line.ends_with("# set")).collect();
    lines.join("\n").parse().unwrap()
}

/// Stands for what is told of the host.
const HOST: &str = "THE_HOST";

/// Tables with a heading of their own, in the order in which they are asked for.
fn sections(record: &Record) -> Vec<String> {
    let mut paths = Vec::new();
    for key in &record.keys[""] {
        if !record.types.contains_key(*key) {
            continue;
        }
        paths.push((*key).to_owned());
        let below = |list: &&String| list.starts_with(&format!("{key}."));
        paths.extend(record.lists.iter().filter(below).cloned());
    }
    paths
}

/// Everything about a table with a heading of its own.
pub(super) struct Section {
    pub heading: String,
    pub words: String,
    pub keys: Vec<Key>,
}

/// Everything about a key.
pub(super) struct Key {
    /// Its path in the section.
    pub name: String,
    /// What it takes.
    pub shape: String,
    pub words: String,
    /// Each word that it takes, and what that means.
    pub variants: Vec<(String, String)>,
    pub default: Default,
}

pub(super) enum Default {
    Required,
    Value(String),
    None,
}

pub(super) fn everything() -> Vec<Section> {
    let record = everything_asked_for();
    let defaults = defaults();
    sections(&record).iter().map(|path| section(path, &record, &defaults)).collect()
}

fn in_roff(section: &Section) -> String {
    let mut text = format!(".SS {}\n{}\n", plain(&section.heading), plain(&section.words));
    for key in &section.keys {
        text.push_str(&format!(
            ".TP\n\\fB{}\\fR = {}\n{}\n",
            plain(&key.name),
            plain(&key.shape),
            plain(&key.words)
        ));
        for (word, words) in &key.variants {
            text.push_str(&format!(".br\n\\fI{}\\fR: {}\n", plain(word), plain(words)));
        }
        match &key.default {
            Default::Required => text.push_str(".br\nRequired.\n"),
            Default::Value(value) => text.push_str(&format!(".br\nDefault: {}\n", plain(value))),
            Default::None => {}
        }
    }
    text
}

fn in_markdown(section: &Section) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
    let mut text = format!(
        "#### `{}`\n\n{}\n\n| parameter | default | meaning |\n|---|---|---|\n",
        section.heading,
        cell(&section.words)
    );
    for key in &section.keys {
        let default = match &key.default {
            Default::Required => "required".to_owned(),
            Default::Value(value) => format!("`{}`", value.replace('|', "\\|")),
            Default::None => String::new(),
        };
        let variants = key.variants.iter().map(|(word, words)| format!(" *{word}*: {}", cell(words)));
        text.push_str(&format!(
            "| `{}` | {default} | {}{} Takes {}. |\n",
            key.name,
            cell(&key.words),
            variants.collect::<String>(),
            cell(&key.shape)
        ));
    }
    text + "\n"
}

fn section(path: &str, record: &Record, defaults: &toml::Table) -> Section {
    let heading = if record.lists.contains(path) { format!("[[{path}]]") } else { format!("[{path}]") };
    let words = item(&record.types[path]).unwrap_or_else(|| panic!("no type for {heading}")).words;
    let (_, words) = words.split_once("`: ").unwrap_or_else(|| {
        panic!("the comment of {} must say what {heading} is: `{heading}`: …", record.types[path])
    });
    let mut first = words.chars();
    let words = first.next().map(|letter| letter.to_uppercase().chain(first).collect::<String>());
    let mut found = Vec::new();
    keys(path, path, record, defaults, &mut found);
    Section { heading, words: words.unwrap_or_default(), keys: found }
}

/// The keys of a table, and behind each table inside of it that one's keys.
fn keys(section: &str, path: &str, record: &Record, defaults: &toml::Table, found: &mut Vec<Key>) {
    let own = item(&record.types[path]);
    let mut keys: Vec<(usize, &str)> =
        record.keys[path].iter().map(|key| (place(own.as_ref(), key), *key)).collect();
    keys.sort_by_key(|(place, _)| *place);
    for (_, key) in keys {
        let full = joined(path, key);
        if record.lists.contains(&full) {
            continue;
        }
        found.push(entry(section, path, key, own.as_ref(), record, defaults));
        if record.types.contains_key(&full) {
            self::keys(section, &full, record, defaults, found);
        }
    }
}

fn entry(
    section: &str,
    path: &str,
    key: &str,
    own: Option<&Item>,
    record: &Record,
    defaults: &toml::Table,
) -> Key {
    let full = joined(path, key);
    let part = own.and_then(|own| part(own, key).map(|(_, part)| part));
    let known =
        WITHOUT_FIELD.iter().find(|(known, ..)| full == *known || full.ends_with(&format!(".{known}")));
    let (shape, words) = match (&part, known) {
        (_, Some((_, shape, words))) => ((*shape).to_owned(), (*words).to_owned()),
        (Some(part), None) => {
            let shape = record.shapes.get(&full).map_or("a table", String::as_str);
            let shape = if shape.starts_with(SECRET) { "a secret".to_owned() } else { shape.to_owned() };
            (shape, part.words.clone())
        }
        (None, None) => panic!(
            "the reader asks for {full}, but {} has no field of that name whose comment could explain it, \
             and WITHOUT_FIELD does not know it either",
            record.types[path]
        ),
    };
    assert!(!words.is_empty(), "the field of {full} needs a comment that explains it");
    let name = full.strip_prefix(&format!("{section}.")).unwrap_or(&full).to_owned();
    let default = match default(defaults, &full) {
        _ if record.required.contains(&full) => Default::Required,
        Some(value) => Default::Value(value),
        None => Default::None,
    };
    Key { variants: variants(part.as_ref(), &shape), name, shape, words, default }
}

/// The field or variant of a key with its place; or that of a field whose own fields stand in the same table.
fn part(own: &Item, key: &str) -> Option<(usize, Part)> {
    let named = |part: &&Part| part.name.eq_ignore_ascii_case(key);
    if let Some(part) = own.parts.iter().find(named) {
        return Some((own.parts.iter().position(|other| other.name == part.name)?, part.clone()));
    }
    own.parts.iter().enumerate().find_map(|(place, outer)| {
        let inner = item(&outer.kind)?.parts.iter().find(named)?.clone();
        Some((place, inner))
    })
}

fn place(own: Option<&Item>, key: &str) -> usize {
    own.and_then(|own| part(own, key)).map_or(usize::MAX, |(place, _)| place)
}

/// What each word means that a key takes.
fn variants(part: Option<&Part>, shape: &str) -> Vec<(String, String)> {
    let idents =
        part.map(|part| part.kind.split(|letter: char| !letter.is_alphanumeric())).into_iter().flatten();
    let Some(kind) = idents.filter_map(item).next_back() else { return Vec::new() };
    let words = kind.parts.iter().map(|variant| (kebab(&variant.name), variant.words.clone()));
    words.filter(|(word, _)| shape.contains(&format!("\"{word}\""))).collect()
}

/// `DropOldest` as a word of the configuration.
fn kebab(name: &str) -> String {
    let mut word = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

/// The default of a key; none for a table, which has those of its keys.
fn default(defaults: &toml::Table, path: &str) -> Option<String> {
    let mut names = path.split('.');
    let mut value = defaults.get(names.next()?)?;
    for name in names {
        let table = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        value = table.get(name)?;
    }
    if value.is_table() {
        return None;
    }
    let text = value.to_string();
    Some(if path == "agent.id" { "the host name".to_owned() } else { text.replace(HOST, "{agent}") })
}
