//! TOML texts as one tree whose values know their place, with every `${NAME}` in it expanded.

use toml::de::{DeInteger, DeTable, DeValue};

use super::fault::{ConfigFile, Faults, Span};

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub place: Span,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Vec<Entry>),
    /// A type that no key takes.
    Other,
}

impl Kind {
    pub fn string(&self) -> Option<&str> {
        if let Kind::String(text) = self { Some(text) } else { None }
    }

    /// A whole number that is not negative.
    pub fn whole(&self) -> Option<u64> {
        if let Kind::Integer(value) = self { u64::try_from(*value).ok() } else { None }
    }

    pub fn boolean(&self) -> Option<bool> {
        if let Kind::Boolean(value) = self { Some(*value) } else { None }
    }

    pub fn table(&self) -> Option<&[Entry]> {
        if let Kind::Table(entries) = self { Some(entries) } else { None }
    }
}

/// A key of a table.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub place: Span,
    pub node: Node,
}

/// Reads the text of the file with this number. The faults of its syntax are added to `faults`, and what could be read is
/// returned.
pub(super) fn parse(file: usize, text: &str, faults: &Faults) -> Vec<Entry> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        faults.add(Span::Text { file, offset }, "", error.message());
    }
    entries(file, table.into_inner())
}

/// Joins what several files say: lists go on from file to file, everything else stands in one of them.
pub(super) fn join(parts: Vec<Vec<Entry>>, files: &[ConfigFile], faults: &Faults) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    for entry in parts.into_iter().flatten() {
        let key = entry.key.clone();
        let Some(known) = all.iter_mut().find(|known| known.key == key) else {
            all.push(entry);
            continue;
        };
        match (&mut known.node.kind, entry.node.kind) {
            (Kind::Array(nodes), Kind::Array(more)) => nodes.extend(more),
            (Kind::Array(_), Kind::Table(_)) => {
                faults.add(entry.place, &key, format!("must be a list of tables: write `[[{key}]]`"));
            }
            _ => {
                let first = known.place.shown(files);
                let words = "only lists of tables, such as [[client]], may stand in several files";
                faults.add(entry.place, &key, format!("stands in {first} as well; {words}"));
            }
        }
    }
    all
}

/// Where `${NAME}` finds its value.
pub(super) type Names<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Expands every string below these entries; unknown names are added to `faults`.
pub(super) fn expand(entries: &mut [Entry], path: &str, names: &Names, faults: &Faults) {
    for entry in entries {
        let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        expand_node(&mut entry.node, &path, names, faults);
    }
}

fn expand_node(node: &mut Node, path: &str, names: &Names, faults: &Faults) {
    match &mut node.kind {
        Kind::String(text) => match expanded(text, names) {
            Ok(value) => *text = value,
            Err(what) => faults.add(node.place, path, what),
        },
        Kind::Array(nodes) => {
            let many = nodes.len() > 1;
            for (index, node) in nodes.iter_mut().enumerate() {
                expand_node(node, &indexed(path, index, many), names, faults);
            }
        }
        Kind::Table(entries) => expand(entries, path, names, faults),
        Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_) | Kind::Other => {}
    }
}

/// The path of an element of a list: without an index if it is the only one.
pub(super) fn indexed(path: &str, index: usize, many: bool) -> String {
    if many { format!("{path}[{index}]") } else { path.to_owned() }
}

/// Expands `${NAME}` once, and `$${` to `${`.
pub(super) fn expanded(text: &str, names: &Names) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, tail) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = tail;
            continue;
        }
        let (name, after) = tail.split_once('}').ok_or("a `${` has no `}`; write `$${` for a plain `${`")?;
        out.push_str(before);
        out.push_str(&names(name).ok_or_else(|| {
            format!("`${{{name}}}` is in neither [environment.…], [variables] nor the process environment")
        })?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Writes text so that [`expanded`] gives it back.
pub(super) fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

fn entries(file: usize, table: DeTable<'_>) -> Vec<Entry> {
    let entry = |(key, value): (toml::Spanned<toml::de::DeString<'_>>, toml::Spanned<DeValue<'_>>)| Entry {
        place: Span::Text { file, offset: key.span().start },
        key: key.into_inner().into_owned(),
        node: node(file, value),
    };
    table.into_iter().map(entry).collect()
}

fn node(file: usize, value: toml::Spanned<DeValue<'_>>) -> Node {
    let place = Span::Text { file, offset: value.span().start };
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::String(text.into_owned()),
        DeValue::Integer(digits) => integer(&digits),
        DeValue::Boolean(value) => Kind::Boolean(value),
        DeValue::Array(values) => Kind::Array(values.into_iter().map(|value| node(file, value)).collect()),
        DeValue::Table(table) => Kind::Table(entries(file, table)),
        DeValue::Float(digits) => digits.as_str().parse().map_or(Kind::Other, Kind::Float),
        DeValue::Datetime(_) => Kind::Other,
    };
    Node { place, kind }
}

fn integer(digits: &DeInteger<'_>) -> Kind {
    i64::from_str_radix(digits.as_str(), digits.radix()).map_or(Kind::Other, Kind::Integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_expanded_once_and_two_dollars_escape() {
        let names = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "B" => Some("${A}".to_owned()),
            _ => None,
        };
        let cases = [
            ("${A}${A}-x", Ok("11-x")),
            ("${B}", Ok("${A}")),
            ("$${A}", Ok("${A}")),
            ("$$${A}", Ok("$${A}")),
            ("$A $ {A}", Ok("$A $ {A}")),
            ("${A", Err("a `${` has no `}`; write `$${` for a plain `${`")),
            ("${C}", Err("`${C}` is in neither [environment.…], [variables] nor the process environment")),
            ("${}", Err("`${}` is in neither [environment.…], [variables] nor the process environment")),
        ];
        for (text, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(expanded(text, &names), expected, "{text}");
        }
    }

    #[test]
    fn escaped_text_expands_to_itself() {
        for text in ["${A}", "$${A}", "$$${", "a$", "${", "{}$"] {
            assert_eq!(expanded(&escaped(text), &|_| None).as_deref(), Ok(text));
        }
    }
}
