//! The metrics of a receiver, from what it would show.

use std::collections::BTreeMap;

use bugfender_hooks::receiver::Metrics;

use super::markdown::{cell, table};

const PREFIX: &str = "bugfender_hooks_";

/// A table of all metrics: name, type, meaning, labels.
pub fn listed() -> String {
    let text = Metrics::example();
    let about = |what: &str| -> Vec<(String, String)> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(what)?.strip_prefix(PREFIX)?.split_once(' '));
        lines.map(|(name, rest)| (name.to_owned(), rest.trim_end_matches('.').to_owned())).collect()
    };
    let types: BTreeMap<String, String> = about("# TYPE ").into_iter().collect();
    let rows = about("# HELP ").into_iter().map(|(name, help)| {
        let kind = types[&name].clone();
        let shown = if kind == "counter" { format!("{name}_total") } else { name.clone() };
        vec![format!("`{shown}`"), kind, cell(&help), labels(&text, &name)]
    });
    table(&["metric", "type", "meaning", "label"], rows)
}

/// The label of a metric, with its values where they are known.
fn labels(text: &str, name: &str) -> String {
    let mut values: Vec<&str> = Vec::new();
    let mut label = "";
    for line in text.lines().filter_map(|line| line.strip_prefix(PREFIX)?.strip_prefix(name)) {
        let Some((_, rest)) = line.split_once('{') else { continue };
        if let Some((key, rest)) = rest.split_once("=\"").filter(|(key, _)| *key != "le") {
            label = key;
            let value = rest.split('"').next().unwrap_or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    values.sort_unstable();
    match label {
        "" => String::new(),
        "reason" | "source" => format!("`{label}`: `{}`", values.join("`, `")),
        _ => format!("`{label}`"),
    }
}
