//! The structure of a manifest's file as a JSON schema, for editors.

// These types are only described; the validator, which knows places, reads the file.
#![allow(dead_code)]

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// The schema, as `contrib/manifest/hooks.schema.json` has it.
pub fn schema() -> String {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    let schema = settings.into_generator().into_root_schema_for::<ManifestFileSchema>();
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// A key that is not needed is left out, and never null.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [kind] = &types[..] {
            let kind = kind.clone();
            schema.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = &choices[..] {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.insert(key, value);
            }
        }
    }
}

/// Webhook subscriptions of Bugfender, which `bugfender-hooks apply` makes; several files can be one manifest
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Hooks of bugfender-hooks")]
struct ManifestFileSchema {
    /// The schema of this file, for editors
    #[schemars(rename = "$schema")]
    schema: Option<String>,
    /// The owner of the hooks; at least one file of a manifest has it
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    name: Option<String>,
    /// Names for apps, which all files of a manifest share
    apps: Option<BTreeMap<String, AppIdSchema>>,
    /// What hooks of this file have if they do not say otherwise
    defaults: Option<DefaultsSchema>,
    /// The hooks
    hook: Option<Vec<HookSchema>>,
}

/// What hooks of this file have if they do not say otherwise
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Defaults")]
struct DefaultsSchema {
    events: Option<EventsSchema>,
    target_url: Option<TargetUrlSchema>,
    label: Option<LabelSchema>,
}

/// A hook for each of the events of each of the apps
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Hook", extend("oneOf" = [{"required": ["app"]}, {"required": ["app_id"]}]))]
struct HookSchema {
    /// The apps, by their names in `apps`
    app: Option<OneOrMore<AppNameSchema>>,
    /// The apps, by their numbers
    app_id: Option<OneOrMore<AppIdSchema>>,
    events: Option<EventsSchema>,
    target_url: Option<TargetUrlSchema>,
    label: Option<LabelSchema>,
}

/// One, or a list of them
#[derive(JsonSchema)]
#[schemars(untagged, rename = "{T}List")]
enum OneOrMore<T> {
    One(T),
    List(#[schemars(length(min = 1))] Vec<T>),
}

/// The name of an app in `apps`
#[derive(JsonSchema)]
#[schemars(transparent, rename = "AppName")]
struct AppNameSchema(#[schemars(length(min = 1, max = 100))] String);

/// The number of an app, or its address in the dashboard
#[derive(JsonSchema)]
#[schemars(untagged, rename = "AppId")]
enum AppIdSchema {
    Number(#[schemars(range(min = 1))] i64),
    Address(#[schemars(length(min = 1))] String),
}

/// The events: one, a list, or "all"
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Events")]
enum EventsSchema {
    All(AllEventsSchema),
    One(EventSchema),
    List(#[schemars(length(min = 1), extend("uniqueItems" = true))] Vec<EventSchema>),
}

/// All events
#[derive(JsonSchema)]
#[schemars(rename = "AllEvents", rename_all = "snake_case")]
enum AllEventsSchema {
    All,
}

/// An event
// The names are those of the API.
#[allow(clippy::enum_variant_names)]
#[derive(JsonSchema)]
#[schemars(rename = "Event", rename_all = "snake_case")]
enum EventSchema {
    /// A crash was seen for the first time
    NewCrash,
    /// An issue was reported from code
    NewIssueSeparate,
    /// A user sent feedback
    NewUserFeedback,
}

/// The endpoint: a URL, in which ${NAME} stands for an environment variable and $$ for a dollar sign, or @FILE with the URL in a file, relative to this one
#[derive(JsonSchema)]
#[schemars(transparent, rename = "TargetUrl")]
struct TargetUrlSchema(
    #[schemars(regex(pattern = r"^\s*(https?://|@.|\$\{)"))]
    String,
);

/// A text to find hooks by, which is never sent to Bugfender
#[derive(JsonSchema)]
#[schemars(transparent, rename = "Label")]
struct LabelSchema(#[schemars(length(min = 1, max = 200))] String);

#[cfg(test)]
mod tests {
    use super::super::header::{DEFAULT_KEYS, FILE_KEYS};
    use super::super::hooks::HOOK_KEYS;
    use super::*;
    use crate::domain::EventKind;

    #[test]
    fn the_schema_has_the_keys_and_events_of_the_validator() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let keys =
            |table: &Value| -> Vec<String> { table["properties"].as_object().unwrap().keys().cloned().collect() };
        assert_eq!(keys(&schema), FILE_KEYS);
        assert_eq!(keys(&schema["$defs"]["Defaults"]), DEFAULT_KEYS);
        assert_eq!(keys(&schema["$defs"]["Hook"]), HOOK_KEYS);
        let events = schema["$defs"]["Event"]["oneOf"].as_array().unwrap();
        let events: Vec<&str> = events.iter().map(|event| event["const"].as_str().unwrap()).collect();
        assert_eq!(events, EventKind::ALL.map(EventKind::as_str));
        assert!(!schema.to_string().contains("null"), "{schema:#}");
    }
}
