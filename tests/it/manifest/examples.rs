//! The examples and the schema in `contrib/manifest`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Home, have};

fn contrib() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/manifest")
}

#[test]
fn the_examples_say_the_same() {
    let home = Home::new().set("BUGFENDER_KEY", "k");
    let hooks = |file: &str| {
        let rows = home.json(&["manifest", "validate", "-f", contrib().join(file).to_str().unwrap()]);
        let mut rows: Vec<Value> = rows.as_array().unwrap().clone();
        for row in &mut rows {
            row.as_object_mut().unwrap().retain(|key, _| key != "file" && key != "line");
        }
        rows
    };
    let toml = hooks("hooks.toml");
    assert_eq!(toml.len(), 6);
    assert_eq!((hooks("hooks.yaml"), hooks("hooks.json")), (toml.clone(), toml));
}

#[test]
fn the_schema_is_up_to_date() {
    let path = contrib().join("hooks.schema.json");
    let schema = Home::new().run(["manifest", "schema"]).stdout;
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, schema, "write it anew: UPDATE_SCHEMA=1 cargo test --test it the_schema_is_up_to_date");
}

/// Whether the schema allows what the examples say, and not what is wrong.
const VALIDATE: &str = r#"
import json, jsonschema, pathlib, sys, tomllib
dir = pathlib.Path(sys.argv[1])
schema = json.loads((dir / "hooks.schema.json").read_text())
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
good = tomllib.loads((dir / "hooks.toml").read_text())
validator.validate(good)
validator.validate(json.loads((dir / "hooks.json").read_text()))
validator.validate({})
for change in [{"nam": "x"}, {"name": "a b"}, {"name": None}, {"apps": {"shop": 0}}, {"apps": []}, {"hook": {}}, {"defaults": {"app": "x"}}]:
    assert not validator.is_valid(good | change), change
hook = {"app_id": 1, "events": ["new_crash"], "target_url": "https://h.example/${KEY}", "label": "x"}
validator.validate({"hook": [hook]})
for change in [{"app": "x"}, {"events": []}, {"events": "new_crsh"}, {"events": ["all"]}, {"events": ["new_crash", "new_crash"]}, {"label": ""}, {"target_url": "ftp://x"}, {"target_url": "@"}, {"app_id": []}, {"lable": "x"}]:
    assert not validator.is_valid({"hook": [hook | change]}), change
for change in [{"events": "all"}, {"app_id": [1, "https://dashboard.bugfender.com/app/2"]}, {"target_url": "${ALL}"}, {"target_url": "@a/b"}]:
    validator.validate({"hook": [hook | change]})
"#;

#[test]
fn the_schema_allows_what_is_right() {
    let has_validator =
        || Command::new("python3").args(["-c", "import jsonschema"]).output().is_ok_and(|out| out.status.success());
    if have("python3") && has_validator() {
        let output = Command::new("python3").args(["-c", VALIDATE]).arg(contrib()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
