//! A value against a compiled schema.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Display;

use serde_json::Value;

use super::number::{canonical, compare, is_multiple, whole};
use super::pattern::Pattern;
use super::work::{Work, size};
use super::{Bound, Countable, Node, Rule, Schema, Type, Violation};

/// Schemas inside of schemas; a payload has 128 levels at most.
const DEPTH_MAX: u32 = 600;
const ENDLESS: &str = "needs a schema that refers to itself without end";
/// Work to look at a value with one schema, beside that of its rules.
const LOOK: u64 = 24;

/// The resources on the way to a node, the innermost first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'s> {
    resource: Option<usize>,
    outer: Option<&'s Scope<'s>>,
}

/// Parts of a value that were looked at.
#[derive(Debug, Default)]
pub struct Seen<'v> {
    names: BTreeSet<&'v str>,
    items: BTreeSet<usize>,
}

impl<'v> Seen<'v> {
    fn add(&mut self, other: Seen<'v>) {
        self.names.extend(other.names);
        self.items.extend(other.items);
    }
}

type Looked<'v> = Result<Seen<'v>, Violation>;

fn wrong<T>(error: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { pointer: String::new(), error: error.into() })
}

impl Violation {
    /// The same, seen from one level up.
    fn below(self, token: &str) -> Violation {
        let token = token.replace('~', "~0").replace('/', "~1");
        Violation { pointer: format!("/{token}{}", self.pointer), ..self }
    }
}

impl Schema {
    /// Looks at a value from one node on.
    pub fn look<'v>(&self, node: usize, value: &'v Value, scope: &Scope, work: &Work) -> Looked<'v> {
        self.look_deep(node, value, scope, work, 0)
    }

    fn look_deep<'v>(
        &self,
        node: usize,
        value: &'v Value,
        scope: &Scope,
        work: &Work,
        depth: u32,
    ) -> Looked<'v> {
        if depth > DEPTH_MAX {
            return work.fail(ENDLESS.to_owned());
        }
        work.spend(LOOK)?;
        let (resource, rules) = match &self.nodes[node] {
            Node::Always(true) => return Ok(Seen::default()),
            Node::Always(false) => return wrong("is not allowed"),
            Node::Rules { resource, rules } => (*resource, rules),
        };
        let entered = Scope { resource: Some(resource), outer: Some(scope) };
        let scope = if scope.resource == Some(resource) { scope } else { &entered };
        let look = Look { schema: self, scope, work, depth: depth + 1 };
        let mut seen = Seen::default();
        for rule in rules {
            work.spend(rule.upkeep())?;
            look.rule(rule, value, &mut seen)?;
        }
        Ok(seen)
    }
}

/// How a rule looks further.
struct Look<'s> {
    schema: &'s Schema,
    scope: &'s Scope<'s>,
    work: &'s Work,
    depth: u32,
}

impl Look<'_> {
    fn at<'v>(&self, node: usize, value: &'v Value) -> Looked<'v> {
        self.schema.look_deep(node, value, self.scope, self.work, self.depth)
    }

    /// The same for what is below a value.
    fn below<'v>(&self, node: usize, value: &'v Value, token: impl Display) -> Looked<'v> {
        self.at(node, value).map_err(|violation| {
            let token = token.to_string();
            // Once nothing is left, the way back from the fault is short, and its place is worth it.
            let _ = self.work.spend((violation.pointer.len() + token.len()) as u64 / 8);
            violation.below(&token)
        })
    }

    /// Counts parts that another schema has looked at as looked at by this one.
    fn mark<'v>(&self, seen: &mut Seen<'v>, other: Seen<'v>) -> Result<(), Violation> {
        self.work.spend(8 * (other.names.len() + other.items.len()) as u64)?;
        seen.add(other);
        Ok(())
    }

    fn finds(&self, pattern: &Pattern, text: &str) -> Result<bool, Violation> {
        self.work.spend_or(pattern.cost(text), || {
            let (text, most) = (pattern.text(), pattern.characters_max());
            format!(
                "is too long to be matched with {text}: {most} characters in all strings of a message are the bound"
            )
        })?;
        Ok(pattern.is_in(text))
    }

    fn holds(&self, node: usize, value: &Value) -> bool {
        self.at(node, value).is_ok()
    }

    fn rule<'v>(&self, rule: &Rule, value: &'v Value, seen: &mut Seen<'v>) -> Result<(), Violation> {
        match rule {
            Rule::Types(types) if types.iter().any(|kind| is_of(*kind, value)) => Ok(()),
            Rule::Types(types) => {
                let words: Vec<&str> = types.iter().map(|kind| kind.word()).collect();
                wrong(format!("must be of the type {}", words.join(" or ")))
            }
            Rule::OneOf(values) => {
                self.work.spend(size(value))?;
                match values.contains(&canonical(value)) {
                    true => Ok(()),
                    false => wrong("is none of the values that are allowed"),
                }
            }
            Rule::MultipleOf(_) | Rule::Bound(..) => number_rule(rule, value),
            Rule::Count { of, min, max } => {
                self.work.spend(value.as_str().map_or(0, str::len) as u64 / 8)?;
                count_rule(*of, *min, *max, value)
            }
            Rule::Pattern(pattern) => match value.as_str() {
                Some(text) if !self.finds(pattern, text)? => {
                    wrong(format!("does not match {}", pattern.text()))
                }
                _ => Ok(()),
            },
            Rule::Unique => {
                self.work.spend(2 * size(value))?;
                unique(value)
            }
            Rule::Items { .. } | Rule::Contains { .. } | Rule::OtherItems(_) => {
                self.item_rule(rule, value, seen)
            }
            Rule::Properties { .. }
            | Rule::Names(_)
            | Rule::Required(_)
            | Rule::Needs(_)
            | Rule::Implies(_)
            | Rule::OtherProperties(_) => self.property_rule(rule, value, seen),
            Rule::All(_)
            | Rule::Any(_)
            | Rule::ExactlyOne(_)
            | Rule::Not(_)
            | Rule::If { .. }
            | Rule::Dynamic { .. } => self.logic_rule(rule, value, seen),
        }
    }

    fn item_rule<'v>(&self, rule: &Rule, value: &'v Value, seen: &mut Seen<'v>) -> Result<(), Violation> {
        let Value::Array(items) = value else { return Ok(()) };
        let tracks = self.schema.tracks;
        match rule {
            Rule::Items { first, rest } => {
                for (index, item) in items.iter().enumerate() {
                    let Some(node) = first.get(index).or(rest.as_ref()) else { break };
                    self.below(*node, item, index)?;
                    seen.items.extend(tracks.then_some(index));
                }
                Ok(())
            }
            Rule::Contains { node, min, max, marks } => {
                let found: Vec<usize> =
                    (0..items.len()).filter(|index| self.holds(*node, &items[*index])).collect();
                let count = found.len() as u64;
                seen.items.extend(found.into_iter().filter(|_| tracks && *marks));
                match (count < *min, count > *max) {
                    (true, _) => wrong(format!("has {count} of the items of which it must contain {min}")),
                    (_, true) => wrong(format!("has {count} of the items of which it may contain {max}")),
                    (false, false) => Ok(()),
                }
            }
            Rule::OtherItems(node) => {
                for (index, item) in items.iter().enumerate().filter(|(index, _)| !seen.items.contains(index))
                {
                    self.below(*node, item, index)?;
                }
                seen.items.extend(0..items.len());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn property_rule<'v>(&self, rule: &Rule, value: &'v Value, seen: &mut Seen<'v>) -> Result<(), Violation> {
        let Value::Object(members) = value else { return Ok(()) };
        let absent = |name: &&String| !members.contains_key(*name);
        match rule {
            Rule::Properties { named, patterns, rest } => {
                for (name, member) in members {
                    let mut nodes: Vec<usize> = named.get(name).copied().into_iter().collect();
                    for (pattern, node) in patterns {
                        nodes.extend(self.finds(pattern, name)?.then_some(*node));
                    }
                    if nodes.is_empty() {
                        nodes.extend(rest);
                    }
                    for node in nodes {
                        self.below(node, member, name)?;
                        seen.names.extend(self.schema.tracks.then_some(name.as_str()));
                    }
                }
                Ok(())
            }
            Rule::Names(node) => members.keys().try_for_each(|name| {
                self.work.spend(4 + name.len() as u64 / 8)?;
                match self.holds(*node, &Value::from(name.as_str())) {
                    true => Ok(()),
                    false => wrong(format!("has the member {name:?}, which may not have this name")),
                }
            }),
            Rule::Required(names) => {
                names.iter().find(absent).map_or(Ok(()), |name| wrong(format!("lacks the member {name:?}")))
            }
            Rule::Needs(needs) => {
                for (name, needed) in needs.iter().filter(|(name, _)| members.contains_key(*name)) {
                    if let Some(missing) = needed.iter().find(absent) {
                        return wrong(format!("has the member {name:?} but lacks {missing:?}"));
                    }
                }
                Ok(())
            }
            Rule::Implies(implied) => {
                for (_, node) in implied.iter().filter(|(name, _)| members.contains_key(*name)) {
                    self.mark(seen, self.at(*node, value)?)?;
                }
                Ok(())
            }
            Rule::OtherProperties(node) => {
                for (name, member) in members.iter().filter(|(name, _)| !seen.names.contains(name.as_str())) {
                    self.below(*node, member, name)?;
                }
                seen.names.extend(members.keys().map(String::as_str));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn logic_rule<'v>(&self, rule: &Rule, value: &'v Value, seen: &mut Seen<'v>) -> Result<(), Violation> {
        match rule {
            Rule::All(nodes) => nodes.iter().try_for_each(|node| {
                self.mark(seen, self.at(*node, value)?)?;
                Ok(())
            }),
            Rule::Any(nodes) => {
                let mut any = false;
                for found in nodes.iter().filter_map(|node| self.at(*node, value).ok()) {
                    self.mark(seen, found)?;
                    any = true;
                    if !self.schema.tracks {
                        break;
                    }
                }
                if any { Ok(()) } else { wrong("matches none of the schemas of which it must match one") }
            }
            Rule::ExactlyOne(nodes) => {
                let mut found: Vec<_> =
                    nodes.iter().filter_map(|node| self.at(*node, value).ok()).take(2).collect();
                match (found.pop(), found.is_empty()) {
                    (Some(only), true) => self.mark(seen, only),
                    (None, _) => wrong("matches none of the schemas of which it must match one"),
                    (Some(_), false) => wrong("matches several of the schemas of which it must match one"),
                }
            }
            Rule::Not(node) if self.holds(*node, value) => wrong("matches what it must not"),
            Rule::Not(_) => Ok(()),
            Rule::If { condition, then, otherwise } => {
                let next = match self.at(*condition, value) {
                    Ok(found) => {
                        self.mark(seen, found)?;
                        then
                    }
                    Err(_) => otherwise,
                };
                if let Some(node) = next {
                    self.mark(seen, self.at(*node, value)?)?;
                }
                Ok(())
            }
            Rule::Dynamic { name, node } => {
                self.work.spend(10 * u64::from(self.depth))?;
                self.mark(seen, self.at(self.outermost(name).unwrap_or(*node), value)?)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The node of a dynamic anchor in the outermost resource that has one (2020-12 core §8.2.3.2).
    fn outermost(&self, name: &str) -> Option<usize> {
        let mut found = None;
        let mut scope = Some(self.scope);
        while let Some(at) = scope {
            let own = at.resource.and_then(|resource| self.schema.anchors.get(&(resource, name.to_owned())));
            found = own.copied().or(found);
            scope = at.outer;
        }
        found
    }
}

impl Rule {
    /// Work of the rule itself at any value, without what it looks at below and what it reads of a string.
    fn upkeep(&self) -> u64 {
        let count = match self {
            Rule::MultipleOf(_) => 20,
            Rule::Required(names) => names.len(),
            Rule::Needs(needs) => needs.values().map(|needed| 1 + needed.len()).sum(),
            Rule::Implies(implied) => implied.len(),
            Rule::Types(types) => types.len(),
            _ => 0,
        };
        1 + 4 * count as u64
    }
}

fn is_of(kind: Type, value: &Value) -> bool {
    match (kind, value) {
        (Type::Integer, Value::Number(number)) => {
            whole(number).is_some() || number.as_f64().is_some_and(|value| value.fract() == 0.0)
        }
        (Type::Null, Value::Null)
        | (Type::Boolean, Value::Bool(_))
        | (Type::Number, Value::Number(_))
        | (Type::String, Value::String(_))
        | (Type::Array, Value::Array(_))
        | (Type::Object, Value::Object(_)) => true,
        _ => false,
    }
}

fn number_rule(rule: &Rule, value: &Value) -> Result<(), Violation> {
    let Value::Number(number) = value else { return Ok(()) };
    match rule {
        Rule::MultipleOf(of) if !is_multiple(number, of) => wrong(format!("is no multiple of {of}")),
        Rule::Bound(bound, limit) => {
            let (words, holds): (_, fn(Ordering) -> bool) = match bound {
                Bound::AtLeast => ("at least", Ordering::is_ge),
                Bound::AtMost => ("at most", Ordering::is_le),
                Bound::Above => ("above", Ordering::is_gt),
                Bound::Below => ("below", Ordering::is_lt),
            };
            if holds(compare(number, limit)) { Ok(()) } else { wrong(format!("must be {words} {limit}")) }
        }
        _ => Ok(()),
    }
}

fn count_rule(of: Countable, min: u64, max: u64, value: &Value) -> Result<(), Violation> {
    let (count, words) = match (of, value) {
        (Countable::Characters, Value::String(text)) => (text.chars().count(), "characters"),
        (Countable::Items, Value::Array(items)) => (items.len(), "items"),
        (Countable::Properties, Value::Object(members)) => (members.len(), "members"),
        _ => return Ok(()),
    };
    let count = count as u64;
    match (count < min, count > max) {
        (true, _) => wrong(format!("must have at least {min} {words}")),
        (_, true) => wrong(format!("must have at most {max} {words}")),
        (false, false) => Ok(()),
    }
}

fn unique(value: &Value) -> Result<(), Violation> {
    let Value::Array(items) = value else { return Ok(()) };
    let mut known = BTreeSet::new();
    match items.iter().all(|item| known.insert(canonical(item))) {
        true => Ok(()),
        false => wrong("has an item twice"),
    }
}
