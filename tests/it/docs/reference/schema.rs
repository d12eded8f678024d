//! The keys of a file, from its JSON schema.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::markdown::{cell, table};

/// A table of keys for the file and for each kind of table in it.
pub fn keys(schema: &str) -> String {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let definitions = schema["$defs"].as_object().unwrap();
    let mut text = of_object(&schema, definitions);
    for (name, definition) in definitions {
        if definition["properties"].is_object() {
            writeln!(text, "\n### {name}\n\n{}", of_object(definition, definitions)).unwrap();
        }
    }
    text
}

fn of_object(object: &Value, definitions: &Map<String, Value>) -> String {
    let description = object["description"].as_str().map_or(String::new(), |text| format!("{}\n\n", cell(text)));
    let required =
        |key: &String| object["required"].as_array().is_some_and(|keys| keys.iter().any(|known| known == key));
    let rows = object["properties"].as_object().unwrap().iter().map(|(key, value)| {
        let needed = if required(key) { "; required" } else { "" };
        let meaning = value["description"].as_str().or_else(|| resolve(value, definitions)["description"].as_str());
        vec![format!("`{key}`"), format!("{}{needed}", kind(value, definitions)), cell(meaning.unwrap_or_default())]
    });
    format!("{description}{}", table(&["key", "value", "meaning"], rows))
}

/// What a reference stands for, or the value itself.
fn resolve<'a>(value: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    let name = value["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
    name.map_or(value, |name| &definitions[name])
}

/// What a value may be, in words.
fn kind(value: &Value, definitions: &Map<String, Value>) -> String {
    if let Some(name) = value["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        let there = &definitions[name];
        let is_table = there["properties"].is_object();
        return if is_table { format!("[{name}](#{})", name.to_lowercase()) } else { kind(there, definitions) };
    }
    let joined = |choices: &Value| -> Option<String> {
        let mut kinds: Vec<String> = choices.as_array()?.iter().map(|choice| kind(choice, definitions)).collect();
        kinds.dedup();
        Some(kinds.join(" or "))
    };
    if let Some(kinds) = joined(&value["anyOf"]).or_else(|| joined(&value["oneOf"])) {
        return kinds;
    }
    if let Some(constant) = value["const"].as_str() {
        return format!("`{constant}`");
    }
    if let Some(names) = value["enum"].as_array() {
        return names.iter().map(|name| format!("`{}`", name.as_str().unwrap())).collect::<Vec<_>>().join(", ");
    }
    match value["type"].as_str().unwrap_or("any") {
        "array" => format!("list of {}", kind(&value["items"], definitions)),
        "object" if value["additionalProperties"].is_object() => {
            format!("table of {}", kind(&value["additionalProperties"], definitions))
        }
        "object" => {
            let keys: Vec<String> =
                value["properties"].as_object().unwrap().keys().map(|key| format!("`{key}`")).collect();
            format!("table with {}", keys.join(", "))
        }
        other => other.to_owned(),
    }
}
