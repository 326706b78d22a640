//! The JSON Schema of the configuration, with which editors complete and check it. Nothing of it is written twice: it is made of
//! what the manual page is made of.

use serde_json::{Map, Value, json};

use super::manual::{Default, Key, everything, file};

const TITLE: &str = "The configuration of Holdfast: /etc/holdfast/holdfast.toml and conf.d/*.toml beside it";
/// A `${NAME}` may stand in every string.
const VARIABLE: &str = r"\$\{";
const DURATION: &str = r"^([0-9]+ *[A-Za-z]+ *)+$|\$\{";
const SIZE: &str = r"^[0-9]+(\.[0-9]+)? *([KMG]i?B|B)?$|\$\{";

#[test]
fn the_schema_of_the_configuration_is_current() {
    let text = serde_json::to_string_pretty(&schema()).unwrap();
    file::assert_current("agent/doc/holdfast.schema.json", &format!("{text}\n"));
}

#[test]
fn keys_take_in_the_schema_what_they_take_in_the_reference() {
    let schema = schema();
    let client = &schema["properties"]["client"]["items"];
    assert_eq!(client["additionalProperties"], false);
    assert_eq!(client["properties"]["window"]["type"], "integer");
    assert_eq!(client["properties"]["window"]["default"], 1000);
    assert_eq!(client["properties"]["ping"]["properties"]["interval"]["pattern"], DURATION);
    let auth = client["properties"]["auth"]["anyOf"].as_array().unwrap();
    assert!(
        auth.iter().any(|shape| shape["properties"]["basic"]["properties"]["password"].is_object()),
        "{auth:?}"
    );
    let route = &schema["properties"]["server"]["items"]["properties"]["route"]["items"];
    assert_eq!(route["required"], json!(["path"]));
    assert_eq!(route["properties"]["query"]["items"]["properties"]["type"]["anyOf"][0]["enum"][1], "number");
    assert_eq!(schema["properties"]["mqtt"]["required"], json!(["url"]));
}

fn schema() -> Value {
    let mut root = Map::new();
    for section in everything() {
        let path = section.heading.trim_matches(['[', ']']);
        let table = described(&section.words, table(&section.keys, ""));
        let is_list = section.heading.starts_with("[[");
        let value = if is_list { json!({ "type": "array", "items": table }) } else { table };
        let (above, name) = path.rsplit_once('.').map_or(("", path), |(above, name)| (above, name));
        properties_at(&mut root, above).insert(name.to_owned(), value);
    }
    let variables =
        json!({ "type": "object", "additionalProperties": { "type": ["string", "integer", "boolean"] } });
    let environments = json!({ "type": "object", "additionalProperties": variables });
    root.insert("variables".to_owned(), described("What `${NAME}` stands for in every string.", variables));
    let words =
        "Variables that win over those of `[variables]` when `environment` in `[agent]` names their table.";
    root.insert("environment".to_owned(), described(words, environments));
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "title": TITLE, "type": "object",
        "additionalProperties": false, "properties": root,
    })
}

/// The properties of the table at this path, through the lists on the way.
fn properties_at<'v>(root: &'v mut Map<String, Value>, path: &str) -> &'v mut Map<String, Value> {
    path.split('.').filter(|name| !name.is_empty()).fold(root, |properties, name| {
        let inner = properties.get_mut(name).and_then(|list| list["items"]["properties"].as_object_mut());
        inner.unwrap_or_else(|| panic!("a section stands before those inside of it: {path}"))
    })
}

/// A table with those of the keys that stand in it: their names begin with `prefix`.
fn table(keys: &[Key], prefix: &str) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys {
        let Some(name) = key.name.strip_prefix(prefix).filter(|name| !name.contains('.')) else { continue };
        let inside = format!("{}.", key.name);
        let has_own = keys.iter().any(|key| key.name.starts_with(&inside));
        let own = if has_own { table(keys, &inside) } else { json!({ "type": "object" }) };
        properties.insert(name.to_owned(), value(key, own));
        if matches!(key.default, Default::Required) {
            required.push(name.to_owned());
        }
    }
    let mut table = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

/// Schema of the value of a key, with its words. `own` is the table that it may be.
fn value(key: &Key, own: Value) -> Value {
    let meanings = key.variants.iter().map(|(word, words)| format!("\n- {word}: {words}"));
    let mut value =
        described(&format!("{}{}", key.words, meanings.collect::<String>()), shape(&key.shape, own));
    if let Default::Value(text) = &key.default
        && let Ok(table) = format!("it = {text}").parse::<toml::Table>()
    {
        value["default"] = serde_json::to_value(&table["it"]).unwrap();
    }
    value
}

fn described(words: &str, mut value: Value) -> Value {
    value["description"] = json!(words);
    value
}

/// Shape of a key by the words of the reference, for a machine. A new shape has to be added here.
fn shape(words: &str, own: Value) -> Value {
    let string = json!({ "type": "string" });
    let listed = |one: &Value| json!({ "anyOf": [one, { "type": "array", "items": one }] });
    match words {
        "a string" => string,
        "true or false" => json!({ "type": "boolean" }),
        "a secret" => secret(),
        "true, false or a table" => json!({ "anyOf": [{ "type": "boolean" }, own] }),
        _ if words.starts_with("a table") || words.starts_with("exactly one of {") => own,
        _ if words.starts_with("a list of strings") || words == "a list of urls" => {
            json!({ "type": "array", "items": string })
        }
        _ if words.ends_with(", or a list of such") => listed(&string),
        _ if words.starts_with("a message (") => listed(&secret()),
        _ if words.starts_with("a duration") => json!({ "type": "string", "pattern": DURATION }),
        _ if words.starts_with("a size") => {
            json!({ "anyOf": [{ "type": "string", "pattern": SIZE }, { "type": "integer", "minimum": 0 }] })
        }
        _ if words.starts_with("a rate") || words.starts_with("a label") => string,
        _ if words.starts_with("a number from ") => bounded("number", words),
        _ if words.starts_with("a whole number from ") => bounded("integer", words),
        _ if words.starts_with('"') => one_of(words, own),
        _ => panic!("tests/schema.rs does not know how a machine is told: {words}"),
    }
}

fn bounded(kind: &str, words: &str) -> Value {
    let mut numbers = words.split(' ').filter_map(|word| word.parse::<f64>().ok());
    let (low, high) = (numbers.next(), numbers.next());
    let bound = |value: Option<f64>| {
        let value = value.expect("two numbers bound it");
        if kind == "integer" { json!(value as u64) } else { json!(value) }
    };
    json!({ "type": kind, "minimum": bound(low), "maximum": bound(high) })
}

/// A word of several, or a table.
fn one_of(words: &str, own: Value) -> Value {
    let known: Vec<&str> = words.split('"').skip(1).step_by(2).collect();
    let mut shapes = vec![json!({ "enum": known }), json!({ "type": "string", "pattern": VARIABLE })];
    if words.contains('{') {
        shapes.push(own);
    }
    json!({ "anyOf": shapes })
}

fn secret() -> Value {
    let place = |name: &str| json!({ "type": "object", "additionalProperties": false, "required": [name], "properties": { name: { "type": "string" } } });
    json!({ "anyOf": [{ "type": "string" }, place("file"), place("credential"), place("env")] })
}
