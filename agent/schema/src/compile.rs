//! From the text of a schema to its nodes: what is wrong with it is found here, with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Number, Value};

use super::number::{canonical, whole};
use super::pattern::Pattern;
use super::{Bound, Countable, Load, Node, Rule, Schema, TYPES, Type, uri};

/// Keywords that hold a schema, a list of them, or a map of them. Schemas are found nowhere else.
const ONES: [&str; 12] = [
    "items",
    "additionalItems",
    "contains",
    "additionalProperties",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
const LISTS: [&str; 5] = ["items", "prefixItems", "allOf", "anyOf", "oneOf"];
const MAPS: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];
/// Values of `$schema`, without the fragment.
const DRAFTS: [(&str, Draft); 3] = [
    ("https://json-schema.org/draft/2020-12/schema", Draft::Latest),
    ("http://json-schema.org/draft-07/schema", Draft::Seven),
    ("https://json-schema.org/draft-07/schema", Draft::Seven),
];
/// Schemas of one whole, with all to which it refers.
const NODES_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draft {
    Seven,
    Latest,
}

/// Where a schema stands.
#[derive(Debug, Clone)]
struct SchemaLocation {
    document: usize,
    pointer: String,
    /// Base of references: the name of its resource.
    base: String,
    draft: Draft,
}

impl SchemaLocation {
    fn below(&self, token: &str) -> SchemaLocation {
        let token = token.replace('~', "~0").replace('/', "~1");
        SchemaLocation { pointer: format!("{}/{token}", self.pointer), ..self.clone() }
    }

    fn named(&self, key: &str, token: impl ToString) -> SchemaLocation {
        self.below(key).below(&token.to_string())
    }
}

struct Document {
    name: String,
    root: Rc<Value>,
}

/// A schema on its way.
pub struct Compiler<'l, 'f> {
    load: &'l mut Load<'f>,
    documents: Vec<Document>,
    resources: BTreeMap<String, SchemaLocation>,
    /// By resource and name, with whether it is a dynamic one.
    anchors: BTreeMap<(String, String), (SchemaLocation, bool)>,
    numbers: BTreeMap<String, usize>,
    nodes: Vec<Node>,
    known: BTreeMap<(usize, String), usize>,
    tracks: bool,
    warnings: Vec<String>,
}

type Compiled<T> = Result<T, String>;
type Members = Map<String, Value>;

impl<'l, 'f> Compiler<'l, 'f> {
    pub fn new(load: &'l mut Load<'f>) -> Self {
        Compiler {
            load,
            documents: Vec::new(),
            resources: BTreeMap::new(),
            anchors: BTreeMap::new(),
            numbers: BTreeMap::new(),
            nodes: Vec::new(),
            known: BTreeMap::new(),
            tracks: false,
            warnings: Vec::new(),
        }
    }

    pub fn compile(mut self, path: &str) -> Compiled<Schema> {
        let root = self.add(&format!("file://{path}"), path, Draft::Latest)?;
        let root = self.node(&root)?;
        let mut anchors = BTreeMap::new();
        let dynamic: Vec<_> = self.anchors.iter().filter(|(_, (_, dynamic))| *dynamic).collect();
        let dynamic: Vec<_> = dynamic
            .into_iter()
            .map(|((base, name), (place, _))| (base.clone(), name.clone(), place.clone()))
            .collect();
        for (base, name, place) in dynamic {
            let node = self.node(&place)?;
            anchors.insert((self.number(&base), name), node);
        }
        Ok(Schema { nodes: self.nodes, root, anchors, tracks: self.tracks, warnings: self.warnings })
    }

    /// Takes in the document at a path, under the name that others call it.
    fn add(&mut self, name: &str, path: &str, draft: Draft) -> Compiled<SchemaLocation> {
        let root = Rc::new((self.load)(path)?);
        let document = self.documents.len();
        self.documents.push(Document { name: path.to_owned(), root: Rc::clone(&root) });
        let place = SchemaLocation { document, pointer: String::new(), base: name.to_owned(), draft };
        self.resources.insert(name.to_owned(), place.clone());
        let entered = self.enter(&place, &root)?;
        self.resources.insert(name.to_owned(), entered);
        self.scan(&place, &root)?;
        Ok(place)
    }

    /// Finds the names of all schemas of a document.
    fn scan(&mut self, place: &SchemaLocation, schema: &Value) -> Compiled<()> {
        let Value::Object(members) = schema else { return Ok(()) };
        let place = &self.enter(place, schema)?;
        if members.get("$id").is_some() {
            self.resources.entry(place.base.clone()).or_insert_with(|| place.clone());
        }
        let text = |key: &str| members.get(key).and_then(Value::as_str);
        let names = match place.draft {
            Draft::Seven => [text("$id").and_then(|id| id.strip_prefix('#')), None],
            Draft::Latest => [text("$anchor"), text("$dynamicAnchor")],
        };
        for (name, dynamic) in names.into_iter().zip([false, true]) {
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                self.anchors.insert((place.base.clone(), name.to_owned()), (place.clone(), dynamic));
            }
        }
        for (key, value) in members {
            match value {
                Value::Array(list) if LISTS.contains(&key.as_str()) => {
                    for (index, item) in list.iter().enumerate() {
                        self.scan(&place.named(key, index), item)?;
                    }
                }
                Value::Object(map) if MAPS.contains(&key.as_str()) => {
                    for (name, item) in map {
                        self.scan(&place.named(key, name), item)?;
                    }
                }
                value if ONES.contains(&key.as_str()) => self.scan(&place.below(key), value)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The same place, in the resource that begins there if one does.
    fn enter(&self, place: &SchemaLocation, schema: &Value) -> Compiled<SchemaLocation> {
        let mut place = place.clone();
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        if let Some(name) = text("$schema") {
            let known = DRAFTS.iter().find(|(known, _)| *known == name.trim_end_matches('#'));
            let words = "is neither that of draft 2020-12 nor that of draft 7";
            place.draft = known.ok_or_else(|| self.fault(&place.below("$schema"), words))?.1;
        }
        let id = text("$id").filter(|id| !id.starts_with('#'));
        let is_ignored = place.draft == Draft::Seven && schema.get("$ref").is_some();
        if let Some(id) = id.filter(|_| !is_ignored) {
            place.base = uri::resolve(&place.base, uri::split(id).0);
        }
        Ok(place)
    }

    fn fault(&self, place: &SchemaLocation, what: &str) -> String {
        format!("{}#{}: {what}", self.documents[place.document].name, place.pointer)
    }

    fn number(&mut self, base: &str) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(base.to_owned()).or_insert(next)
    }

    /// The node of the schema at a place.
    fn node(&mut self, place: &SchemaLocation) -> Compiled<usize> {
        let root = Rc::clone(&self.documents[place.document].root);
        let schema = root.pointer(&place.pointer).ok_or_else(|| self.fault(place, "there is nothing"))?;
        let key = (place.document, place.pointer.clone());
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let index = self.nodes.len();
        if index == NODES_MAX {
            return Err(self.fault(place, "there are too many schemas"));
        }
        self.nodes.push(Node::Always(true));
        self.known.insert(key, index);
        self.nodes[index] = match schema {
            Value::Bool(value) => Node::Always(*value),
            Value::Object(members) => {
                let place = self.enter(place, schema)?;
                let rules = self.rules(&place, members)?;
                Node::Rules { resource: self.number(&place.base), rules }
            }
            _ => return Err(self.fault(place, "a schema must be an object, true or false")),
        };
        Ok(index)
    }

    /// The node to which a reference leads, and the anchor if it is a dynamic one.
    fn reference(
        &mut self,
        place: &SchemaLocation,
        key: &str,
        text: &str,
    ) -> Compiled<(usize, Option<String>)> {
        let (name, fragment) = uri::split(text);
        let at = place.below(key);
        let full = uri::resolve(&place.base, name);
        let resource = self.resource(&at, name, &full)?;
        let fragment = percent_decode_str(fragment).decode_utf8_lossy().into_owned();
        if fragment.is_empty() {
            return Ok((self.node(&resource)?, None));
        }
        if !fragment.starts_with('/') {
            let found = self.anchors.get(&(resource.base.clone(), fragment.clone())).cloned();
            let (found, dynamic) = found.ok_or_else(|| self.fault(&at, &format!("there is no {text}")))?;
            return Ok((self.node(&found)?, dynamic.then_some(fragment)));
        }
        let root = Rc::clone(&self.documents[resource.document].root);
        let mut found = resource;
        for token in fragment.split('/').skip(1) {
            if let Some(schema) = root.pointer(&found.pointer) {
                found = self.enter(&found, schema)?;
            }
            found.pointer = format!("{}/{token}", found.pointer);
        }
        if root.pointer(&found.pointer).is_none() {
            return Err(self.fault(&at, &format!("there is no {text}")));
        }
        Ok((self.node(&found)?, None))
    }

    /// The resource of this full name; one that is not known is a file, or beside the file that refers to it.
    fn resource(&mut self, at: &SchemaLocation, name: &str, full: &str) -> Compiled<SchemaLocation> {
        if let Some(known) = self.resources.get(full) {
            return Ok(known.clone());
        }
        let beside = format!("file://{}", self.documents[at.document].name);
        let file = match full.strip_prefix("file://") {
            Some(_) => full.to_owned(),
            None if uri::is_absolute(name) => {
                return Err(self.fault(at, &format!("{name} is not in this file, and nothing is fetched")));
            }
            None => uri::resolve(&beside, name),
        };
        let path = percent_decode_str(file.trim_start_matches("file://")).decode_utf8_lossy().into_owned();
        self.add(full, &path, at.draft).map_err(|error| self.fault(at, &error))
    }

    fn rules(&mut self, place: &SchemaLocation, members: &Members) -> Compiled<Vec<Rule>> {
        let mut rules = Vec::new();
        if let Some(text) = self.text(place, members, "$ref")? {
            let (node, _) = self.reference(place, "$ref", &text)?;
            rules.push(Rule::All(vec![node]));
            if place.draft == Draft::Seven {
                return Ok(rules);
            }
        }
        self.plain_rules(place, members, &mut rules)?;
        self.logic_rules(place, members, &mut rules)?;
        self.object_rules(place, members, &mut rules)?;
        self.array_rules(place, members, &mut rules)?;
        if place.draft == Draft::Latest {
            if let Some(text) = self.text(place, members, "$dynamicRef")? {
                rules.push(match self.reference(place, "$dynamicRef", &text)? {
                    (node, Some(name)) => Rule::Dynamic { name, node },
                    (node, None) => Rule::All(vec![node]),
                });
            }
            if let Some(node) = self.one(place, members, "unevaluatedItems")? {
                rules.push(Rule::OtherItems(node));
            }
            if let Some(node) = self.one(place, members, "unevaluatedProperties")? {
                rules.push(Rule::OtherProperties(node));
            }
            self.tracks |=
                members.contains_key("unevaluatedItems") || members.contains_key("unevaluatedProperties");
        }
        Ok(rules)
    }

    fn plain_rules(
        &mut self,
        place: &SchemaLocation,
        members: &Members,
        rules: &mut Vec<Rule>,
    ) -> Compiled<()> {
        if let Some(types) = members.get("type") {
            let words = "must be a type or a list of types";
            let one = |value: &Value| TYPES.iter().find(|(word, _)| value == word).map(|(_, kind)| *kind);
            let types: Option<Vec<Type>> = match types {
                Value::Array(list) => list.iter().map(one).collect(),
                word => one(word).map(|kind| vec![kind]),
            };
            rules.push(Rule::Types(types.ok_or_else(|| self.fault(&place.below("type"), words))?));
        }
        if let Some(value) = members.get("const") {
            rules.push(Rule::OneOf(BTreeSet::from([canonical(value)])));
        }
        match members.get("enum") {
            Some(Value::Array(values)) => rules.push(Rule::OneOf(values.iter().map(canonical).collect())),
            Some(_) => return Err(self.fault(&place.below("enum"), "must be a list of values")),
            None => {}
        }
        if let Some(of) = self.numeric(place, members, "multipleOf")? {
            if of.as_f64().is_none_or(|of| of <= 0.0) {
                return Err(self.fault(&place.below("multipleOf"), "must be above 0"));
            }
            rules.push(Rule::MultipleOf(of));
        }
        for (key, bound) in [
            ("minimum", Bound::AtLeast),
            ("maximum", Bound::AtMost),
            ("exclusiveMinimum", Bound::Above),
            ("exclusiveMaximum", Bound::Below),
        ] {
            rules.extend(self.numeric(place, members, key)?.map(|limit| Rule::Bound(bound, limit)));
        }
        for (of, least, most) in [
            (Countable::Characters, "minLength", "maxLength"),
            (Countable::Items, "minItems", "maxItems"),
            (Countable::Properties, "minProperties", "maxProperties"),
        ] {
            let (min, max) = (self.count(place, members, least)?, self.count(place, members, most)?);
            if min.or(max).is_some() {
                rules.push(Rule::Count { of, min: min.unwrap_or(0), max: max.unwrap_or(u64::MAX) });
            }
        }
        if let Some(pattern) = self.text(place, members, "pattern")? {
            let length = self.count(place, members, "maxLength")?;
            rules.push(Rule::Pattern(self.pattern(&place.below("pattern"), &pattern, length)?));
        }
        match members.get("uniqueItems") {
            Some(Value::Bool(true)) => rules.push(Rule::Unique),
            Some(Value::Bool(false)) | None => {}
            Some(_) => return Err(self.fault(&place.below("uniqueItems"), "must be true or false")),
        }
        Ok(())
    }

    fn logic_rules(
        &mut self,
        place: &SchemaLocation,
        members: &Members,
        rules: &mut Vec<Rule>,
    ) -> Compiled<()> {
        rules.extend(self.list(place, members, "allOf")?.map(Rule::All));
        rules.extend(self.list(place, members, "anyOf")?.map(Rule::Any));
        rules.extend(self.list(place, members, "oneOf")?.map(Rule::ExactlyOne));
        rules.extend(self.one(place, members, "not")?.map(Rule::Not));
        if let Some(condition) = self.one(place, members, "if")? {
            let (then, otherwise) = (self.one(place, members, "then")?, self.one(place, members, "else")?);
            rules.push(Rule::If { condition, then, otherwise });
        }
        Ok(())
    }

    fn object_rules(
        &mut self,
        place: &SchemaLocation,
        members: &Members,
        rules: &mut Vec<Rule>,
    ) -> Compiled<()> {
        let named = self.map(place, members, "properties")?;
        let mut patterns = Vec::new();
        for (pattern, node) in self.map(place, members, "patternProperties")?.into_iter().flatten() {
            let at = place.named("patternProperties", &pattern);
            patterns.push((self.pattern(&at, &pattern, None)?, node));
        }
        let rest = self.one(place, members, "additionalProperties")?;
        if named.is_some() || rest.is_some() || !patterns.is_empty() {
            rules.push(Rule::Properties { named: named.unwrap_or_default(), patterns, rest });
        }
        rules.extend(self.one(place, members, "propertyNames")?.map(Rule::Names));
        if let Some(names) = members.get("required") {
            rules.push(Rule::Required(self.names(&place.below("required"), names)?));
        }
        match place.draft {
            Draft::Latest => {
                rules.extend(self.map(place, members, "dependentSchemas")?.map(Rule::Implies));
                self.needs(place, members, "dependentRequired", rules)
            }
            Draft::Seven => self.needs(place, members, "dependencies", rules),
        }
    }

    /// Names that need others; in draft 7 they may also imply a schema.
    fn needs(
        &mut self,
        place: &SchemaLocation,
        members: &Members,
        key: &str,
        rules: &mut Vec<Rule>,
    ) -> Compiled<()> {
        let all = match members.get(key) {
            Some(Value::Object(all)) => all,
            Some(_) => return Err(self.fault(&place.below(key), "must be an object")),
            None => return Ok(()),
        };
        let (mut needs, mut implied) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in all {
            let at = place.named(key, name);
            if value.is_array() || place.draft == Draft::Latest {
                needs.insert(name.clone(), self.names(&at, value)?);
            } else {
                implied.insert(name.clone(), self.node(&at)?);
            }
        }
        rules.extend([Rule::Needs(needs), Rule::Implies(implied)]);
        Ok(())
    }

    fn array_rules(
        &mut self,
        place: &SchemaLocation,
        members: &Members,
        rules: &mut Vec<Rule>,
    ) -> Compiled<()> {
        let (first, rest) = match (place.draft, members.get("items")) {
            (Draft::Seven, Some(Value::Array(_))) => {
                (self.list(place, members, "items")?, self.one(place, members, "additionalItems")?)
            }
            (Draft::Seven, _) => (None, self.one(place, members, "items")?),
            (Draft::Latest, _) => {
                (self.list(place, members, "prefixItems")?, self.one(place, members, "items")?)
            }
        };
        if first.is_some() || rest.is_some() {
            rules.push(Rule::Items { first: first.unwrap_or_default(), rest });
        }
        if let Some(node) = self.one(place, members, "contains")? {
            let marks = place.draft == Draft::Latest;
            let (min, max) = match place.draft {
                Draft::Latest => {
                    (self.count(place, members, "minContains")?, self.count(place, members, "maxContains")?)
                }
                Draft::Seven => (None, None),
            };
            rules.push(Rule::Contains { node, min: min.unwrap_or(1), max: max.unwrap_or(u64::MAX), marks });
        }
        Ok(())
    }

    fn one(&mut self, place: &SchemaLocation, members: &Members, key: &str) -> Compiled<Option<usize>> {
        members.get(key).map(|_| self.node(&place.below(key))).transpose()
    }

    fn list(&mut self, place: &SchemaLocation, members: &Members, key: &str) -> Compiled<Option<Vec<usize>>> {
        match members.get(key) {
            Some(Value::Array(list)) if !list.is_empty() || key == "items" => {
                let nodes = (0..list.len()).map(|index| self.node(&place.named(key, index)));
                nodes.collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(self.fault(&place.below(key), "must be a list of schemas")),
            None => Ok(None),
        }
    }

    fn map(
        &mut self,
        place: &SchemaLocation,
        members: &Members,
        key: &str,
    ) -> Compiled<Option<BTreeMap<String, usize>>> {
        match members.get(key) {
            Some(Value::Object(map)) => {
                let nodes = map.keys().map(|name| Ok((name.clone(), self.node(&place.named(key, name))?)));
                nodes.collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(self.fault(&place.below(key), "must be an object of schemas")),
            None => Ok(None),
        }
    }

    fn names(&self, at: &SchemaLocation, value: &Value) -> Compiled<Vec<String>> {
        let names = value.as_array().into_iter().flatten().map(|name| name.as_str().map(str::to_owned));
        let names: Option<Vec<String>> = names.collect();
        names.filter(|_| value.is_array()).ok_or_else(|| self.fault(at, "must be a list of names"))
    }

    fn text(&self, place: &SchemaLocation, members: &Members, key: &str) -> Compiled<Option<String>> {
        match members.get(key) {
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.fault(&place.below(key), "must be a string")),
            None => Ok(None),
        }
    }

    fn numeric(&self, place: &SchemaLocation, members: &Members, key: &str) -> Compiled<Option<Number>> {
        match members.get(key) {
            Some(Value::Number(number)) => Ok(Some(number.clone())),
            Some(_) => Err(self.fault(&place.below(key), "must be a number")),
            None => Ok(None),
        }
    }

    fn count(&self, place: &SchemaLocation, members: &Members, key: &str) -> Compiled<Option<u64>> {
        let Some(number) = self.numeric(place, members, key)? else { return Ok(None) };
        let count = whole(&number).and_then(|number| u64::try_from(number).ok());
        count.map(Some).ok_or_else(|| self.fault(&place.below(key), "must be a whole number of at least 0"))
    }

    /// Compiles a pattern, and warns of one that costs too much for a string of `length` characters, or of any length.
    fn pattern(&mut self, at: &SchemaLocation, text: &str, length: Option<u64>) -> Compiled<Pattern> {
        let pattern = Pattern::new(text)
            .map_err(|error| self.fault(at, &format!("{text:?} cannot be used as a pattern: {error}")))?;
        let most = pattern.characters_max();
        if pattern.is_costly() && length.is_none_or(|length| length > most) {
            self.warnings.push(self.fault(
                at,
                &format!(
                    "{text:?} is a costly pattern: strings of more than {most} characters are refused; \
                     `maxLength` beside it says so, and shorter repetitions allow more"
                ),
            ));
        }
        Ok(pattern)
    }
}
