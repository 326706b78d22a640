//! Changes one table of a configuration's text and leaves every other byte of it as it is, comments included. Whether the
//! result is sound is for [`super::Config::parse`] to say.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

use super::ConfigFile;

/// A list of tables whose members have an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[[client]]`
    Client,
    /// `[[server]]`
    Server,
    /// `[[source]]`
    Source,
}

impl Kind {
    /// Its key in the text.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Client => "client",
            Kind::Server => "server",
            Kind::Source => "source",
        }
    }

    fn default_id(self, index: usize) -> String {
        match self {
            Kind::Client | Kind::Server => format!("ws_{}_{}", self.key(), index + 1),
            Kind::Source => format!("source_{}", index + 1),
        }
    }
}

/// The ids of the tables of a text, in their order.
pub fn ids(text: &str, kind: Kind) -> Result<Vec<String>, String> {
    let document = read(text)?;
    let written = document.get(kind.key());
    let given: Vec<Option<&str>> = match written {
        Some(Item::ArrayOfTables(tables)) => {
            tables.iter().map(|table| table.get("id").and_then(Item::as_str)).collect()
        }
        Some(Item::Value(Value::Array(values))) => {
            let tables = values.iter().map(Value::as_inline_table);
            tables.map(|table| table?.get("id")?.as_str()).collect()
        }
        Some(Item::None | Item::Value(_) | Item::Table(_)) | None => Vec::new(),
    };
    let ids = given.into_iter().enumerate();
    Ok(ids.map(|(index, given)| given.map_or_else(|| kind.default_id(index), str::to_owned)).collect())
}

/// The id of the last table of a text; empty if there is none.
pub fn last_id(text: &str, kind: Kind) -> String {
    ids(text, kind).unwrap_or_default().pop().unwrap_or_default()
}

/// The file that has the table with this id. The error says which tables there are.
pub fn find_file(files: &[ConfigFile], kind: Kind, id: &str) -> Result<usize, String> {
    let mut known = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let ids = ids(&file.text, kind).map_err(|error| format!("{}: {error}", file.path.display()))?;
        if ids.iter().any(|known| known.eq_ignore_ascii_case(id)) {
            return Ok(index);
        }
        known.extend(ids);
    }
    let key = kind.key();
    let paths: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    Err(match known.is_empty() {
        true => format!("there is no [[{key}]] in {}", paths.join(", ")),
        false => format!("there is no {key} {id} in {}, only {}", paths.join(", "), known.join(", ")),
    })
}

/// Whether a text has a value or a table with this key at its top.
pub fn has(text: &str, key: &str) -> bool {
    read(text).is_ok_and(|document| document.contains_key(key))
}

/// The id of a table that is added at the end and names none.
pub fn next_id(text: &str, kind: Kind) -> Result<String, String> {
    let document = read(text)?;
    let tables = document.get(kind.key()).and_then(Item::as_array_of_tables);
    Ok(kind.default_id(tables.map_or(0, ArrayOfTables::len)))
}

/// Adds a table with these keys at the end; each value is TOML.
pub fn add(text: &str, kind: Kind, pairs: &[(String, String)]) -> Result<String, String> {
    let document = read(text)?;
    if document.get(kind.key()).is_some_and(|item| !item.is_array_of_tables()) {
        return Err(not_tables(kind));
    }
    let mut out = text.to_owned();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&format!("[[{}]]\n", kind.key()));
    for (key, value) in pairs {
        value
            .parse::<Value>()
            .map_err(|error| format!("{key}: {value} is no TOML value: {}", first(&error)))?;
        out.push_str(&format!("{key} = {value}\n"));
    }
    Ok(out)
}

/// Removes the table with this id, with the comment that stands right above it.
pub fn remove(text: &str, kind: Kind, id: &str) -> Result<String, String> {
    let mut document = read(text)?;
    let tables = tables(&mut document, kind)?;
    let index = find(tables, kind, id)?;
    let removed = tables.get(index).cloned().unwrap_or_default();
    tables.remove(index);
    if tables.is_empty() {
        document.remove(kind.key());
    }
    let above = removed.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    keep_above(&mut document, &removed, &above[..own_comment(above)]);
    Ok(document.to_string())
}

/// Sets a key of the table with this id; the value is TOML.
pub fn set(text: &str, kind: Kind, id: &str, key: &str, value: &str) -> Result<String, String> {
    let mut document = read(text)?;
    let tables = tables(&mut document, kind)?;
    let index = find(tables, kind, id)?;
    let table = tables.get_mut(index).ok_or("it is gone")?;
    let mut fresh: Value =
        value.parse().map_err(|error| format!("{value} is no TOML value: {}", first(&error)))?;
    match table.get_mut(key) {
        Some(Item::Value(known)) => {
            *fresh.decor_mut() = known.decor().clone();
            *known = fresh;
        }
        Some(_) => return Err(format!("`{key}` has a table of its own there; change it by hand")),
        None => drop(table.insert(key, Item::Value(fresh))),
    }
    Ok(document.to_string())
}

fn read(text: &str) -> Result<DocumentMut, String> {
    text.parse().map_err(|error: toml_edit::TomlError| first(&error))
}

/// What is wrong, without the picture of the place.
fn first(error: &toml_edit::TomlError) -> String {
    error.message().to_owned()
}

fn not_tables(kind: Kind) -> String {
    format!("`{0}` is not written as [[{0}]] tables; change it by hand", kind.key())
}

fn tables(document: &mut DocumentMut, kind: Kind) -> Result<&mut ArrayOfTables, String> {
    match document.get_mut(kind.key()) {
        Some(Item::ArrayOfTables(tables)) => Ok(tables),
        Some(_) => Err(not_tables(kind)),
        None => Err(format!("there is no [[{}]] in the file", kind.key())),
    }
}

fn find(tables: &ArrayOfTables, kind: Kind, id: &str) -> Result<usize, String> {
    let ids: Vec<String> =
        tables.iter().enumerate().map(|(index, table)| id_of(table, kind, index)).collect();
    let found = ids.iter().position(|known| known.eq_ignore_ascii_case(id));
    found.ok_or_else(|| format!("there is no {} {id} in the file, only {}", kind.key(), ids.join(", ")))
}

fn id_of(table: &Table, kind: Kind, index: usize) -> String {
    let given = table.get("id").and_then(Item::as_str).map(str::to_owned);
    given.unwrap_or_else(|| kind.default_id(index))
}

/// Where the comment that belongs to a table begins in what stands above it: behind the last empty line.
fn own_comment(above: &str) -> usize {
    above.rfind("\n\n").map_or(if above.starts_with('\n') { 1 } else { 0 }, |at| at + 2)
}

/// Gives what stood above a table that is gone to whatever follows it.
fn keep_above(document: &mut DocumentMut, gone: &Table, above: &str) {
    if above.trim().is_empty() {
        return;
    }
    let behind = gone.position().unwrap_or(isize::MAX);
    let mut next: Option<(isize, &mut Table)> = None;
    for (_, item) in document.iter_mut() {
        following(item, behind, &mut next);
    }
    match next {
        Some((_, table)) => {
            let own = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
            let prefix = format!("{above}{}", own.trim_start_matches('\n'));
            table.decor_mut().set_prefix(prefix);
        }
        None => {
            let trailing = format!("{above}{}", document.trailing().as_str().unwrap_or_default());
            document.set_trailing(trailing);
        }
    }
}

/// The first table of an item that is written behind a place, if it comes before the one that is known.
fn following<'t>(item: &'t mut Item, behind: isize, next: &mut Option<(isize, &'t mut Table)>) {
    let tables: Vec<&mut Table> = match item {
        Item::Table(table) => vec![table],
        Item::ArrayOfTables(tables) => tables.iter_mut().collect(),
        Item::None | Item::Value(_) => Vec::new(),
    };
    for table in tables {
        let place = table.position().filter(|place| *place > behind);
        if let Some(place) = place
            && next.as_ref().is_none_or(|(known, _)| place < *known)
        {
            *next = Some((place, table));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# The plant.\n\n[agent]\nid = \"gw\" # ours\n\n# Uplinks.\n\n# The cloud.\n[[client]]\nid = \"Cloud\"\n\
                        url = \"ws://a/\"  # for now\ntls = { ca = \"x\" }\n[client.buffer]\nttl = \"1h\"\n\n# The lab.\n[[client]]\n\
                        url = \"ws://b/\"\nactive = false # broken\n\n# Broker.\n[mqtt]\nurl = \"mqtt://m/\"\n# The end.\n";

    #[test]
    fn a_table_is_added_behind_everything() {
        let pairs = [("id".to_owned(), "\"new\"".to_owned()), ("window".to_owned(), "7".to_owned())];
        let added = add(TEXT, Kind::Client, &pairs).unwrap();
        assert_eq!(added, format!("{TEXT}\n[[client]]\nid = \"new\"\nwindow = 7\n"));
        assert_eq!(add("", Kind::Server, &pairs).unwrap(), "[[server]]\nid = \"new\"\nwindow = 7\n");
        assert_eq!(add("a = 1", Kind::Server, &[]).unwrap(), "a = 1\n\n[[server]]\n");
    }

    #[test]
    fn a_value_that_is_no_toml_is_refused() {
        let pairs = [("window".to_owned(), "7 8".to_owned())];
        assert!(add("", Kind::Client, &pairs).unwrap_err().starts_with("window: 7 8 is no TOML value: "));
        assert!(set(TEXT, Kind::Client, "cloud", "window", "").is_err());
    }

    #[test]
    fn a_table_goes_with_its_own_comment_and_with_nothing_else() {
        let cloud = TEXT.find("# The cloud.").unwrap();
        let lab = TEXT.find("# The lab.").unwrap();
        let expected = format!("{}{}", &TEXT[..cloud], &TEXT[lab..]);
        assert_eq!(remove(TEXT, Kind::Client, "cloud").unwrap(), expected);
        let broker = TEXT.find("\n# Broker.").unwrap();
        let expected = format!("{}{}", &TEXT[..lab - 1], &TEXT[broker..]);
        assert_eq!(remove(TEXT, Kind::Client, "ws_client_2").unwrap(), expected);
    }

    #[test]
    fn the_last_table_of_a_kind_leaves_no_trace() {
        let text = "# Servers.\n\n[[server]]\nid = \"s\"\n";
        assert_eq!(remove(text, Kind::Server, "S").unwrap(), "# Servers.\n\n");
    }

    #[test]
    fn a_key_is_set_in_its_place_or_behind_the_others() {
        let expected = TEXT.replace("active = false # broken", "active = true # broken");
        assert_eq!(set(TEXT, Kind::Client, "ws_client_2", "active", "true").unwrap(), expected);
        let expected = TEXT.replace("tls = { ca = \"x\" }\n", "tls = { ca = \"x\" }\nactive = false\n");
        assert_eq!(set(TEXT, Kind::Client, "cloud", "active", "false").unwrap(), expected);
    }

    #[test]
    fn a_table_is_found_in_the_file_that_has_it_whichever_way_it_is_written() {
        let file = |path: &str, text: &str| ConfigFile { path: path.into(), text: text.to_owned() };
        let inline = "client = [ { id = \"x\" }, { } ]\n";
        let files = [file("/a.toml", TEXT), file("/b.toml", ""), file("/c.toml", inline)];
        let found = |id| find_file(&files, Kind::Client, id);
        assert_eq!([found("cloud"), found("WS_client_2"), found("X")], [Ok(0), Ok(0), Ok(2)]);
        let none =
            "there is no client y in /a.toml, /b.toml, /c.toml, only Cloud, ws_client_2, x, ws_client_2";
        assert_eq!(found("y"), Err(none.to_owned()));
        let none = "there is no [[server]] in /b.toml";
        assert_eq!(find_file(&files[1..2], Kind::Server, "y"), Err(none.to_owned()));
        assert!(has(TEXT, "mqtt") && !has(TEXT, "buffer"));
    }

    #[test]
    fn what_cannot_be_found_or_changed_is_named() {
        let none = remove(TEXT, Kind::Client, "x").unwrap_err();
        assert_eq!(none, "there is no client x in the file, only Cloud, ws_client_2");
        assert_eq!(remove(TEXT, Kind::Server, "x").unwrap_err(), "there is no [[server]] in the file");
        let inline = "client = [ { id = \"a\" } ]\n";
        let expected = "`client` is not written as [[client]] tables; change it by hand";
        assert_eq!(add(inline, Kind::Client, &[]).unwrap_err(), expected);
        assert_eq!(remove(inline, Kind::Client, "a").unwrap_err(), expected);
    }
}
