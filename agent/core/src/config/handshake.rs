//! `params` and `headers` of `[[client]]`, which the handshake request brings: names with a value, which may be a secret, and a
//! word about it for people.

use std::collections::BTreeMap;

use super::render;
use super::table::{Reading, Table};
use super::tree::{Entry, Node};
use super::{Secret, value};

/// Header fields that belong to the handshake itself (RFC 6455 §4.1) or to the framing of HTTP.
pub const RESERVED: [&str; 7] = [
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "content-length",
    "transfer-encoding",
];

/// A query parameter or a header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// What is sent.
    pub value: Secret,
    /// For people; nothing depends on it.
    pub description: String,
}

/// Fields by their names.
pub type Fields = BTreeMap<String, Field>;

impl From<Secret> for Field {
    fn from(value: Secret) -> Field {
        Field { value, description: String::new() }
    }
}

/// Reads a query parameter.
pub(super) fn parameter(name: &str, node: &Node, reading: &Reading) -> Result<Field, String> {
    if name.is_empty() { Err("must have a name".to_owned()) } else { described(node, reading) }
}

/// Reads a header field.
pub(super) fn header(name: &str, node: &Node, reading: &Reading) -> Result<Field, String> {
    if !is_token(name) {
        return Err("is no name of a header field".to_owned());
    }
    if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        return Err("belongs to the handshake and cannot be set".to_owned());
    }
    let parameter = described(node, reading)?;
    if let Secret::Plain(text) = &parameter.value
        && text.contains(char::is_control)
    {
        return Err("must not hold a control character".to_owned());
    }
    Ok(parameter)
}

/// Faults of header fields that differ in case only.
pub(super) fn check_names(headers: &Fields, table: &Table) {
    let mut seen = std::collections::BTreeSet::new();
    for name in headers.keys() {
        if !seen.insert(name.to_ascii_lowercase()) {
            table.fail("headers", format!("has `{name}` twice; case does not count"));
        }
    }
}

/// Whether a header field of this name is set.
pub(super) fn has(headers: &Fields, name: &str) -> bool {
    headers.keys().any(|known| known.eq_ignore_ascii_case(name))
}

/// A token of RFC 9110 §5.6.2: names of header fields, names of subprotocols.
pub fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(letter)
}

pub(super) fn rendered(parameters: &Fields) -> String {
    let shown = |parameter: &Field| {
        let value = render::secret(&parameter.value);
        if parameter.description.is_empty() {
            return value;
        }
        let description = render::string(&parameter.description);
        render::inline(&[("value", Some(value)), ("description", Some(description))])
    };
    let pairs: Vec<_> =
        parameters.iter().map(|(name, parameter)| (name.as_str(), Some(shown(parameter)))).collect();
    render::inline(&pairs)
}

/// A value, or `{ value = …, description = … }`.
fn described(node: &Node, reading: &Reading) -> Result<Field, String> {
    const SHAPE: &str = "must be a value, or { value = …, description = \"…\" }";
    let has_value = |entries: &&[Entry]| entries.iter().any(|entry| entry.key == "value");
    let Some(entries) = node.kind.table().filter(has_value) else {
        return value::secret(node, reading).map(Field::from);
    };
    let mut parameter = Field::from(Secret::Plain(String::new()));
    for Entry { key, node, .. } in entries {
        match key.as_str() {
            "value" => parameter.value = value::secret(node, reading)?,
            "description" => parameter.description = value::string(node, reading)?,
            _ => return Err(SHAPE.to_owned()),
        }
    }
    Ok(parameter)
}
