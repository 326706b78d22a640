//! JSON Schema, drafts 2020-12 and 7: a schema is compiled once, then asked of each payload. It reads no file and no network
//! itself: who compiles says what lies beside the schema. `format` and `content…` are annotations, which say nothing here.

mod check;
mod compile;
mod number;
mod pattern;
mod uri;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Number, Value};

use self::check::Scope;
use self::compile::Compiler;
pub use self::number::canonical;
use self::pattern::Pattern;
use self::work::Work;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    nodes: Vec<Node>,
    root: usize,
    /// Nodes of `$dynamicAnchor`, by resource and name.
    anchors: BTreeMap<(usize, String), usize>,
    /// Whether it matters what of a value was looked at.
    tracks: bool,
    warnings: Vec<String>,
}

/// Result of a check.
#[derive(Debug)]
pub struct Checked {
    /// The error is the first thing that is wrong.
    pub result: Result<(), Violation>,
    /// Its cost: a unit is five nanoseconds of a desktop's processor at most.
    pub work: u64,
}

/// Fault of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// Words about it that go behind the place.
    pub error: String,
}

/// Reads the JSON at a path. The error says why it cannot.
pub type Load<'l> = dyn FnMut(&str) -> Result<Value, String> + 'l;

impl Schema {
    /// Compiles the schema at an absolute path, and with it all to which it refers. The error names file and JSON pointer.
    pub fn compile(path: &str, load: &mut Load) -> Result<Schema, String> {
        Compiler::new(load).compile(path)
    }

    /// Things that are allowed but should be another way, with file and JSON pointer.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Checks a value, within a bounded amount of work.
    pub fn check(&self, value: &Value) -> Checked {
        let work = Work::default();
        let result = self.look(self.root, value, &Scope::default(), &work).map(drop);
        Checked { result: work.verdict(result), work: work.spent() }
    }
}

#[derive(Debug)]
enum Node {
    /// `true` and `false`.
    Always(bool),
    Rules {
        /// The resource that it belongs to.
        resource: usize,
        rules: Vec<Rule>,
    },
}

/// One keyword, or several that only make sense together. Schemas are the numbers of their nodes.
#[derive(Debug)]
enum Rule {
    Types(Vec<Type>),
    /// Values in their canonical form.
    OneOf(BTreeSet<String>),
    MultipleOf(Number),
    Bound(Bound, Number),
    Count {
        of: Countable,
        min: u64,
        max: u64,
    },
    Pattern(Pattern),
    Unique,
    Items {
        first: Vec<usize>,
        rest: Option<usize>,
    },
    Contains {
        node: usize,
        min: u64,
        max: u64,
        /// Whether what matches counts as looked at.
        marks: bool,
    },
    Properties {
        named: BTreeMap<String, usize>,
        patterns: Vec<(Pattern, usize)>,
        rest: Option<usize>,
    },
    Names(usize),
    Required(Vec<String>),
    /// Names that must be there if this one is.
    Needs(BTreeMap<String, Vec<String>>),
    /// Schemas that must hold if a name is there.
    Implies(BTreeMap<String, usize>),
    All(Vec<usize>),
    Any(Vec<usize>),
    ExactlyOne(Vec<usize>),
    Not(usize),
    If {
        condition: usize,
        then: Option<usize>,
        otherwise: Option<usize>,
    },
    Dynamic {
        name: String,
        node: usize,
    },
    OtherItems(usize),
    OtherProperties(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    AtLeast,
    AtMost,
    Above,
    Below,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Countable {
    Characters,
    Items,
    Properties,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

const TYPES: [(&str, Type); 7] = [
    ("null", Type::Null),
    ("boolean", Type::Boolean),
    ("integer", Type::Integer),
    ("number", Type::Number),
    ("string", Type::String),
    ("array", Type::Array),
    ("object", Type::Object),
];

impl Type {
    fn word(self) -> &'static str {
        TYPES.iter().find(|(_, own)| *own == self).map_or("", |(word, _)| word)
    }
}

#[cfg(test)]
mod tests;
