//! The text of a manifest in each format.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{DraftEntry, ManifestDraft, SCHEMA_FILE};

/// What a manifest without hooks says in their place.
const TOML_STARTER: &str = r#"
# [apps]                                # names for apps
# shop = 1001
#
# [defaults]                            # what the hooks below have if they do not say otherwise
# target_url = "https://hooks.example.com/bugfender/${BUGFENDER_KEY}"
#
# [[hook]]
# app = "shop"                          # or a list; or app_id = 1001
# events = ["new_crash"]                # or "all"
# label = "production"
"#;

const YAML_STARTER: &str = r#"
# apps:                                 # names for apps
#   shop: 1001
#
# defaults:                             # what the hooks below have if they do not say otherwise
#   target_url: "https://hooks.example.com/bugfender/${BUGFENDER_KEY}"
#
# hook:
#   - app: shop                         # or a list; or app_id: 1001
#     events: [new_crash]               # or all
#     label: production
"#;

impl ManifestDraft {
    pub(super) fn toml(&self) -> String {
        let mut text = format!("#:schema {SCHEMA_FILE}\nname = {}\n", toml(self.name.as_str()));
        if self.entries.is_empty() {
            text.push_str(TOML_STARTER);
        }
        for entry in &self.entries {
            text.push_str("\n[[hook]]\n");
            self.comment(entry, &mut text, "");
            let events = if entry.has_all_events() {
                toml("all")
            } else {
                list(entry.events.iter().map(|event| toml(event.as_str())))
            };
            let app_id = one_or_list(entry.app_ids.iter().map(ToString::to_string).collect());
            // Writing to a string cannot fail.
            let _ = write!(text, "app_id = {app_id}\nevents = {events}\ntarget_url = {}\n", toml(&entry.target));
            if let Some(label) = &entry.label {
                let _ = writeln!(text, "label = {}", toml(label.as_str()));
            }
        }
        text
    }

    pub(super) fn yaml(&self) -> String {
        let name = quoted(self.name.as_str());
        let mut text = format!("# yaml-language-server: $schema={SCHEMA_FILE}\nname: {name}\n");
        text.push_str(if self.entries.is_empty() { YAML_STARTER } else { "\nhook:\n" });
        for entry in &self.entries {
            self.comment(entry, &mut text, "  ");
            let events = if entry.has_all_events() {
                "all".to_owned()
            } else {
                list(entry.events.iter().map(ToString::to_string))
            };
            let app_id = one_or_list(entry.app_ids.iter().map(ToString::to_string).collect());
            let target = quoted(&entry.target);
            // Writing to a string cannot fail.
            let _ = write!(text, "  - app_id: {app_id}\n    events: {events}\n    target_url: {target}\n");
            if let Some(label) = &entry.label {
                let _ = writeln!(text, "    label: {}", quoted(label.as_str()));
            }
        }
        text
    }

    pub(super) fn json(&self) -> String {
        let hook = |entry: &DraftEntry| {
            let ids: Vec<i64> = entry.app_ids.iter().map(|id| id.get()).collect();
            let mut hook = Map::new();
            hook.insert("app_id".to_owned(), if let [id] = ids[..] { json!(id) } else { json!(ids) });
            hook.insert("events".to_owned(), if entry.has_all_events() { json!("all") } else { json!(entry.events) });
            hook.insert("target_url".to_owned(), json!(entry.target));
            hook.extend(entry.label.as_ref().map(|label| ("label".to_owned(), json!(label))));
            Value::Object(hook)
        };
        let hooks: Vec<Value> = self.entries.iter().map(hook).collect();
        let file = json!({ "$schema": SCHEMA_FILE, "name": self.name, "hook": hooks });
        format!("{file:#}\n")
    }

    /// What a variable in an entry has to be set to.
    fn comment(&self, entry: &DraftEntry, text: &mut String, indent: &str) {
        let is_target =
            |name: &str| entry.target.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) == Some(name);
        if let Some(variable) = self.variables.iter().find(|variable| is_target(&variable.name)) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{indent}# {}: {} with its password", variable.name, variable.shown);
        }
    }
}

fn toml(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// A string as JSON has it, which YAML reads too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn one_or_list(mut items: Vec<String>) -> String {
    match items.pop() {
        Some(one) if items.is_empty() => one,
        last => list(items.into_iter().chain(last)),
    }
}
