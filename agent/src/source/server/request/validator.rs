//! The schema of a route: read at the start, asked of each message.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use holdfast_schema::{Checked, Schema, Violation};
use serde_json::Value;

use super::one_shot;

/// A file that was read, and the checksum of what was in it.
pub type FileRead = (PathBuf, u32);

/// The schema of one route. Two are the same only if they are one.
#[derive(Debug, Clone)]
pub struct SchemaValidator(Rc<Own>);

#[derive(Debug)]
struct Own {
    route: String,
    /// Name for people: `the route /x`.
    owner: String,
    schema: Schema,
    files: Vec<FileRead>,
}

impl PartialEq for SchemaValidator {
    fn eq(&self, other: &SchemaValidator) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SchemaValidator {}

impl SchemaValidator {
    /// Compiles the schema of a route. The error names the file and the place in it.
    pub fn new(route: &str, file: &Path) -> Result<SchemaValidator, String> {
        SchemaValidator::compile(route, &format!("the route {route}"), file)
    }

    /// The same of a source.
    pub fn of_source(id: &str, file: &Path) -> Result<SchemaValidator, String> {
        SchemaValidator::compile(id, &format!("the source {id}"), file)
    }

    fn compile(route: &str, owner: &str, file: &Path) -> Result<SchemaValidator, String> {
        let mut files = Vec::new();
        let mut load = |path: &str| {
            let bytes = one_shot::read(path.as_ref())?;
            files.push((PathBuf::from(path), crc32fast::hash(&bytes)));
            serde_json::from_slice(&bytes).map_err(|error| format!("cannot read {path} as JSON: {error}"))
        };
        let cannot = |error: String| format!("cannot use the schema of {owner}: {error}");
        let file = std::path::absolute(file).map_err(|error| cannot(error.to_string()))?;
        let schema = Schema::compile(&file.to_string_lossy(), &mut load).map_err(cannot)?;
        Ok(SchemaValidator(Rc::new(Own { route: route.to_owned(), owner: owner.to_owned(), schema, files })))
    }

    /// The path of its route.
    pub fn route(&self) -> &str {
        &self.0.route
    }

    /// What the schema is made of.
    pub fn files(&self) -> &[FileRead] {
        &self.0.files
    }

    /// What of the schema should be another way, with the place.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let owner = &self.0.owner;
        self.0.schema.warnings().iter().map(move |warning| format!("the schema of {owner}: {warning}"))
    }

    /// Checks a payload that is JSON, and says what that cost.
    pub fn check(&self, payload: &[u8]) -> Checked {
        match serde_json::from_slice::<Value>(payload) {
            Ok(value) => self.0.schema.check(&value),
            Err(error) => {
                let error = format!("is not valid JSON: {error}");
                Checked { result: Err(Violation { pointer: String::new(), error }), work: 0 }
            }
        }
    }
}

/// Whether one of these files is not what it was.
pub fn has_changed(files: &[FileRead]) -> bool {
    files.iter().any(|(path, sum)| one_shot::read(path).map(|bytes| crc32fast::hash(&bytes)) != Ok(*sum))
}

/// A violation in a sentence.
pub fn words(violation: &Violation) -> String {
    match violation.pointer.as_str() {
        "" => format!("the message {}", violation.error),
        pointer => format!("{pointer} {}", violation.error),
    }
}
