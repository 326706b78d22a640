//! `methods` of a `[[server.route]]`: by which requests messages come in.

use super::render;
use super::reply::Mode;
use super::table::Reading;
use super::tree::Node;
use super::value;

/// A method of HTTP that brings a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The query is the message: a JSON object of its parameters.
    Get,
    /// The body is the message.
    Post,
    /// The same.
    Put,
}

const ALL: [Method; 3] = [Method::Get, Method::Post, Method::Put];

impl Method {
    /// Those of a path without a route.
    pub const DEFAULT: [Method; 2] = [Method::Post, Method::Put];

    /// Its name in a request.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }

    /// Those of a route that names none.
    pub(super) fn of_mode(mode: Mode) -> Vec<Method> {
        match mode {
            Mode::Data => Method::DEFAULT.to_vec(),
            Mode::Connection => ALL.to_vec(),
        }
    }

    pub(super) fn rendered(methods: &[Method]) -> String {
        let names: Vec<String> = methods.iter().map(|method| method.name().to_owned()).collect();
        render::strings(&names)
    }

    pub(super) fn list(node: &Node, reading: &Reading) -> Result<Vec<Method>, String> {
        let names = value::strings(node, reading)?;
        let mut methods = Vec::new();
        for name in &names {
            let method = ALL.into_iter().find(|method| method.name() == name);
            let method = method.ok_or_else(|| format!("`{name}` must be \"GET\" or \"POST\" or \"PUT\""))?;
            if methods.contains(&method) {
                return Err(format!("`{name}` is named twice"));
            }
            methods.push(method);
        }
        if methods.is_empty() {
            return Err("must name at least one of \"GET\", \"POST\" and \"PUT\"".to_owned());
        }
        Ok(methods)
    }
}
