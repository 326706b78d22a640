//! `[variables]` and `[environment.<name>]`: where `${NAME}` in the text finds its value.
//!
//! The environment is chosen by `agent.environment` or by the command line. The process environment comes last, and is
//! the only one that the variables themselves and the choice can name.

use super::fault::{Faults, Span};
use super::render;
use super::tree::{self, Entry, Kind, Names, Node};

/// Takes the tables of variables and the choice out of the text, and expands every string of the rest.
pub(super) fn expand(entries: &mut Vec<Entry>, chosen: Option<&str>, env: &Names, faults: &Faults) {
    let mut variables = match take(entries, "variables") {
        Some(entry) => read(entry.node, "variables", env, faults),
        None => Vec::new(),
    };
    let environments = take(entries, "environment");
    if let Some((name, place)) = choice(entries, chosen, env, faults) {
        // Those of the environment come first, so they win.
        variables.splice(0..0, environment(environments, &name, place, env, faults));
    } else if let Some(Entry { node: Node { place, kind: Kind::String(_) }, .. }) = environments {
        faults.add(place, "environment", "must be a table; `environment` in [agent] chooses one");
    }
    let names = |name: &str| {
        let found = variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        found.or_else(|| env(name))
    };
    tree::expand(entries, "", &names, faults);
}

fn take(entries: &mut Vec<Entry>, key: &str) -> Option<Entry> {
    let index = entries.iter().position(|entry| entry.key == key)?;
    Some(entries.swap_remove(index))
}

/// The name of the chosen environment and where it is chosen.
fn choice(
    entries: &mut [Entry],
    chosen: Option<&str>,
    env: &Names,
    faults: &Faults,
) -> Option<(String, Span)> {
    let agent = entries.iter_mut().find(|entry| entry.key == "agent").map(|entry| &mut entry.node.kind);
    let entry = match agent {
        Some(Kind::Table(keys)) => take(keys, "environment"),
        _ => None,
    };
    if let Some(name) = chosen {
        return Some((name.to_owned(), Span::Option("--environment")));
    }
    let node = entry?.node;
    let name = node
        .kind
        .string()
        .ok_or_else(|| "must be a string".to_owned())
        .and_then(|text| tree::expanded(text, env));
    name.map_err(|what| faults.add(node.place, "agent.environment", what)).ok().map(|name| (name, node.place))
}

/// The variables of the environment with this name.
fn environment(
    environments: Option<Entry>,
    name: &str,
    place: Span,
    env: &Names,
    faults: &Faults,
) -> Vec<(String, String)> {
    let found = match environments.map(|entry| entry.node.kind) {
        Some(Kind::Table(mut tables)) => take(&mut tables, name),
        _ => None,
    };
    let path = format!("environment.{}", render::key(name));
    match found {
        Some(entry) => read(entry.node, &path, env, faults),
        None => {
            faults.add(place, "agent.environment", format!("there is no table [{path}]"));
            Vec::new()
        }
    }
}

fn read(node: Node, path: &str, env: &Names, faults: &Faults) -> Vec<(String, String)> {
    let Kind::Table(entries) = node.kind else {
        faults.add(node.place, path, "must be a table");
        return Vec::new();
    };
    let mut variables = Vec::new();
    for entry in entries {
        let value = match entry.node.kind {
            Kind::String(text) => tree::expanded(&text, env),
            Kind::Integer(number) => Ok(number.to_string()),
            Kind::Boolean(value) => Ok(value.to_string()),
            Kind::Float(_) | Kind::Array(_) | Kind::Table(_) | Kind::Other => {
                Err("must be a string".to_owned())
            }
        };
        match value {
            Ok(value) => variables.push((entry.key, value)),
            Err(what) => faults.add(entry.node.place, &format!("{path}.{}", render::key(&entry.key)), what),
        }
    }
    variables
}
