//! The official test suite (json-schema-org/JSON-Schema-Test-Suite), which `tests/setup` brings, and what a sender is told.

use std::path::Path;

use serde_json::json;

use super::*;

fn compile(schema: &Value) -> Result<Schema, String> {
    Schema::compile("/s/main.json", &mut |path| match path {
        "/s/main.json" => Ok(schema.clone()),
        "/s/unit.json" => Ok(json!({ "enum": ["C", "F"], "$defs": { "t": { "type": "number" } } })),
        _ => Err(format!("cannot read {path}")),
    })
}

/// Cases that need a metaschema or a vocabulary of one's own, or a file of the suite's server.
fn is_out_of_reach(error: &str) -> bool {
    error.contains("and nothing is fetched")
        || error.contains("cannot read /s/")
        || error.contains("is neither that of draft 2020-12")
}

/// Runs all cases of a draft. Returns how many there are, those that fail, and the schemas that are out of reach.
fn run(draft: &str, schema: &str) -> (usize, Vec<String>, Vec<String>) {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/.venv/json-schema/tests").join(draft);
    let entries = std::fs::read_dir(&folder).expect("tests/setup brings the suite");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut count, mut failed, mut skipped) = (0, Vec::new(), Vec::new());
    for file in files.iter().filter(|file| file.is_file()) {
        let groups: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for group in groups {
            let name = format!("{}: {}", file.file_stem().unwrap().to_str().unwrap(), group["description"]);
            let mut root = group["schema"].clone();
            if let Value::Object(members) = &mut root {
                members.entry("$schema").or_insert_with(|| schema.into());
            }
            let compiled = match compile(&root) {
                Ok(compiled) => compiled,
                Err(error) if is_out_of_reach(&error) => {
                    skipped.push(name);
                    continue;
                }
                Err(error) => {
                    failed.push(format!("{name}: {error}"));
                    continue;
                }
            };
            for test in group["tests"].as_array().unwrap() {
                count += 1;
                let found = compiled.check(&test["data"]);
                if found.is_ok() != test["valid"].as_bool().unwrap() {
                    failed.push(format!("{name}: {}: {found:?}", test["description"]));
                }
            }
        }
    }
    (count, failed, skipped)
}

#[test]
fn the_cases_of_the_official_suite_for_draft_2020_12_hold() {
    let (count, failed, skipped) = run("draft2020-12", "https://json-schema.org/draft/2020-12/schema");
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
    assert!(count > 1100 && skipped.len() < 40, "{count}, without\n{}", skipped.join("\n"));
}

#[test]
fn the_cases_of_the_official_suite_for_draft_7_hold() {
    let (count, failed, skipped) = run("draft7", "http://json-schema.org/draft-07/schema#");
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
    assert!(count > 800 && skipped.len() < 30, "{count}, without\n{}", skipped.join("\n"));
}

#[test]
fn a_violation_names_the_place_in_the_value() {
    let schema = json!({
        "type": "object", "required": ["values"],
        "properties": { "values": { "items": { "type": "number" } }, "a/b": { "const": 1 } },
        "additionalProperties": false,
    });
    let schema = compile(&schema).unwrap();
    let cases = [
        (json!({ "values": [1, 2, 3, "x"] }), "/values/3", "must be of the type number"),
        (json!({ "values": [], "a/b": 2 }), "/a~1b", "is none of the values that are allowed"),
        (json!({ "values": [], "c": 2 }), "/c", "is not allowed"),
        (json!({}), "", "lacks the member \"values\""),
        (json!(1), "", "must be of the type object"),
    ];
    for (value, pointer, error) in cases {
        let found = schema.check(&value).unwrap_err();
        assert_eq!((found.pointer.as_str(), found.error.as_str()), (pointer, error), "{value}");
    }
}

#[test]
fn a_wrong_schema_is_named_with_file_and_pointer() {
    let cases = [
        (
            json!({ "properties": { "t": { "type": "float" } } }),
            "/properties/t/type: must be a type or a list of types",
        ),
        (json!({ "minLength": -1 }), "/minLength: must be a whole number of at least 0"),
        (json!({ "allOf": [1] }), "/allOf/0: a schema must be an object, true or false"),
        (json!({ "$ref": "#/$defs/x" }), "/$ref: there is no #/$defs/x"),
        (json!({ "$ref": "http://h/x" }), "/$ref: http://h/x is not in this file, and nothing is fetched"),
        (json!({ "$ref": "none.json" }), "/$ref: cannot read /s/none.json"),
        (
            json!({ "$schema": "http://json-schema.org/draft-04/schema#" }),
            "/$schema: is neither that of draft 2020-12 nor that of draft 7",
        ),
        (json!({ "required": "t" }), "/required: must be a list of names"),
        (json!(1), ": a schema must be an object, true or false"),
    ];
    for (schema, expected) in cases {
        assert_eq!(compile(&schema).unwrap_err(), format!("/s/main.json#{expected}"), "{schema}");
    }
    assert!(compile(&json!({ "pattern": "(?=a)" })).unwrap_err().contains("#/pattern: "));
}

#[test]
fn a_reference_leads_to_a_file_beside_it_also_when_the_schema_has_a_name_in_the_web() {
    for id in ["https://example.com/main.json", "/s/other.json"] {
        let properties = json!({ "unit": { "$ref": "unit.json" }, "t": { "$ref": "unit.json#/$defs/t" } });
        let schema = compile(&json!({ "$id": id, "properties": properties })).unwrap();
        assert!(schema.check(&json!({ "unit": "C", "t": 1 })).is_ok());
        assert_eq!(schema.check(&json!({ "unit": "K" })).unwrap_err().pointer, "/unit");
    }
}

#[test]
fn a_schema_that_refers_to_itself_without_end_is_a_violation_and_no_crash() {
    let schema = compile(&json!({ "$ref": "#" })).unwrap();
    assert!(schema.check(&json!(1)).unwrap_err().error.contains("without end"));
}
