//! `[[server.route.query]]` and `[[server.route.header]]`: what a request to a route may or must say beside its path.

use super::render;
use super::table::{Reading, Table};
use super::tree::Node;
use super::value;

const TYPES: [(&str, ParameterType); 3] = [
    ("string", ParameterType::String),
    ("number", ParameterType::Number),
    ("boolean", ParameterType::Boolean),
];

/// `[[server.route.query]]` and `[[server.route.header]]`: a parameter that requests to the route may or must have, written
/// as a list of tables or as `[ { name = "unit", required = true } ]`. A request that has it wrong is refused with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name. That of a header counts without case, and is an attribute in lower case.
    pub name: String,
    /// The key `type`.
    pub kind: ParameterType,
    /// Whether a request without it is refused.
    pub required: bool,
    /// Whether it may come more than once. Then the message has an attribute for each, in their order.
    pub repeating: bool,
}

/// What the values of a parameter must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParameterType {
    /// Any text.
    #[default]
    String,
    /// A number as in JSON: `-1.5e3`.
    Number,
    /// `true` or `1`, `false` or `0`; the attribute is `true` or `false`.
    Boolean,
}

impl Parameter {
    /// Reads the list under one key. `name` reads their names.
    pub(super) fn list(
        table: &mut Table,
        key: &'static str,
        name: impl Fn(&Node, &Reading) -> Result<String, String> + Copy,
    ) -> Vec<Parameter> {
        let all = table.each(key, |_, table| Parameter::read(table, name));
        let all: Vec<Parameter> = all.into_iter().flatten().collect();
        for (index, parameter) in all.iter().enumerate() {
            if all[..index].iter().any(|other| other.name == parameter.name) {
                table.fail(key, format!("`{}` is named twice", parameter.name));
            }
        }
        all
    }

    pub(super) fn rendered(all: &[Parameter]) -> String {
        let all: Vec<String> = all.iter().map(Parameter::inline).collect();
        format!("[{}]", all.join(", "))
    }

    fn read(
        table: &mut Table,
        name: impl Fn(&Node, &Reading) -> Result<String, String>,
    ) -> Option<Parameter> {
        let name = table.required("name", name);
        let kind = table.value("type", ParameterType::default(), value::word(TYPES));
        let required = table.value("required", false, value::boolean);
        let repeating = table.value("repeating", false, value::boolean);
        Some(Parameter { name: name?, kind, required, repeating })
    }

    fn inline(&self) -> String {
        render::inline(&[
            ("name", Some(render::string(&self.name))),
            ("type", Some(render::word(TYPES, self.kind))),
            ("required", Some(self.required.to_string())),
            ("repeating", Some(self.repeating.to_string())),
        ])
    }
}

/// The name of a query parameter.
pub(super) fn query_name(node: &Node, reading: &Reading) -> Result<String, String> {
    value::line(node, reading)
}

/// The name of a header, in lower case (RFC 9110 §5.1: a token).
pub(super) fn header_name(node: &Node, _: &Reading) -> Result<String, String> {
    let name = value::text(node)?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("`{name}` must be the name of a header, such as x-batch"));
    }
    Ok(name.to_ascii_lowercase())
}
