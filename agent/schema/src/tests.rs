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
                let found = compiled.check(&test["data"]).result;
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
        let found = schema.check(&value).result.unwrap_err();
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
        assert!(schema.check(&json!({ "unit": "C", "t": 1 })).result.is_ok());
        assert_eq!(schema.check(&json!({ "unit": "K" })).result.unwrap_err().pointer, "/unit");
    }
}

#[test]
fn a_schema_that_refers_to_itself_without_end_is_a_violation_and_no_crash() {
    let schema = compile(&json!({ "$ref": "#" })).unwrap();
    assert!(schema.check(&json!(1)).result.unwrap_err().error.contains("without end"));
}

fn error_of(schema: &Value, value: &Value) -> String {
    let checked = compile(schema).unwrap().check(value);
    assert!(checked.work <= work::WORK_MAX);
    checked.result.unwrap_err().error
}

#[test]
fn a_schema_that_refers_to_itself_without_end_is_not_hidden_by_what_turns_a_violation_around() {
    for schema in [json!({ "not": { "$ref": "#" } }), json!({ "anyOf": [{ "$ref": "#" }, true] })] {
        assert!(error_of(&schema, &json!(1)).contains("without end"), "{schema}");
    }
}

#[test]
fn what_costs_too_much_is_a_violation_whatever_hides_it() {
    let long = json!("a".repeat(60_000));
    let costly = json!({ "pattern": "(a|aa){1,200}b" });
    for schema in [
        costly.clone(),
        json!({ "not": costly }),
        json!({ "anyOf": [costly, true] }),
        json!({ "if": costly, "else": true }),
        json!({ "oneOf": [costly, true] }),
    ] {
        assert!(error_of(&schema, &long).starts_with("is too long to be matched with (a|aa){1,200}b: "));
    }
    let names = json!({ "patternProperties": { "(a|aa){1,200}b": true } });
    assert!(error_of(&names, &json!({ "a".repeat(60_000): 1 })).starts_with("is too long to be matched"));
}

#[test]
fn a_short_string_is_matched_with_a_costly_pattern_and_a_long_one_is_refused_by_its_length_first() {
    let schema = json!({ "pattern": "^(a|aa){1,200}b$", "maxLength": 100 });
    let schema = compile(&schema).unwrap();
    assert!(schema.check(&json!(format!("{}b", "a".repeat(99)))).result.is_ok());
    let error = schema.check(&json!("a".repeat(60_000))).result.unwrap_err().error;
    assert_eq!(error, "must have at most 100 characters");
    assert!(schema.warnings().is_empty());
}

#[test]
fn a_costly_pattern_is_warned_of_with_its_place_and_what_helps() {
    let schema =
        json!({ "properties": { "a": { "pattern": "(a|aa){1,200}b" }, "b": { "pattern": "^[a-z]+$" } } });
    let schema = compile(&schema).unwrap();
    let [warning] = schema.warnings() else { panic!("{:?}", schema.warnings()) };
    assert!(
        warning.starts_with("/s/main.json#/properties/a/pattern: \"(a|aa){1,200}b\" is a costly pattern")
    );
    assert!(warning.contains("`maxLength`"));
}

#[test]
fn a_schema_that_tries_every_path_is_cut_off() {
    let tree = json!({ "$ref": "#/$defs/n", "$defs": { "n": { "oneOf": [
        { "items": { "$ref": "#/$defs/n" } }, { "items": { "$ref": "#/$defs/n" } } ] } } });
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    assert!(error_of(&tree, &deep).contains("takes too much work"));
    let unique = json!({ "uniqueItems": true, "items": { "$ref": "#" } });
    let mut wide = Value::from((0..20_000).collect::<Vec<i32>>());
    for _ in 0..100 {
        wide = json!([wide]);
    }
    assert!(error_of(&unique, &wide).contains("takes too much work"));
}

#[test]
fn ordinary_messages_of_64_kb_are_far_below_the_bound() {
    let reading = json!({
        "type": "object", "required": ["time", "t", "unit"], "additionalProperties": false,
        "properties": {
            "time": { "type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$" },
            "t": { "type": "number", "minimum": -50, "maximum": 150 },
            "unit": { "enum": ["C", "F"] },
        },
    });
    let reading = compile(&json!({ "type": "array", "items": reading, "uniqueItems": true })).unwrap();
    let readings: Vec<Value> = (0..1200)
        .map(|number| json!({ "time": format!("2026-11-28T02:{:02}:00.{number:04}Z", number % 60), "t": 21.5, "unit": "C" }))
        .collect();
    let readings = Value::from(readings);
    assert!(readings.to_string().len() > 60_000);
    let checked = reading.check(&readings);
    assert!(checked.result.is_ok() && checked.work < work::WORK_MAX / 4 * 3, "{checked:?}");
    let numbers = Value::from((0..20_000).map(f64::from).collect::<Vec<f64>>());
    let any =
        json!({ "items": { "anyOf": [{ "type": "string" }, { "type": "null" }, { "type": "number" }] } });
    let checked = compile(&any).unwrap().check(&numbers);
    assert!(checked.result.is_ok() && checked.work < work::WORK_MAX / 4 * 3, "{checked:?}");
}

#[test]
fn the_address_of_a_mail_is_matched_up_to_thousands_of_characters() {
    let schema = compile(&json!({ "pattern": r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$" })).unwrap();
    assert!(schema.check(&json!(format!("{}@b.example", "a".repeat(6000)))).result.is_ok());
    let many =
        compile(&json!({ "items": { "pattern": r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$" } }))
            .unwrap();
    assert!(many.check(&Value::from(vec!["anna.b@example.org"; 3000])).result.is_ok());
    assert!(schema.warnings().is_empty());
}
