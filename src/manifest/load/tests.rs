//! What manifests mean, and what is wrong with them, in all formats.

use std::fs;

use super::*;

/// Files in a directory of their own, read together.
fn read_files(files: &[(&str, &str)]) -> Result<LoadedManifest, Vec<Error>> {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = files.iter().map(|(name, _)| dir.path().join(name)).collect();
    for ((_, text), path) in files.iter().zip(&paths) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let manifests: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_none_or(|extension| extension != "txt")).collect();
    let prefix = format!("{}/", dir.path().display());
    let rename = |error: Error| {
        let place = error.place().map(|place| TextPlace { file: place.file.replace(&prefix, ""), ..place.clone() });
        let renamed = Error::usage(error.message().replace(&prefix, ""));
        let renamed = error.hints().iter().fold(renamed, |renamed, hint| renamed.hint(hint.as_str()));
        match place {
            Some(place) => renamed.at(place),
            None => renamed,
        }
    };
    load(&manifests, &variable)
        .map(|loaded| LoadedManifest { warnings: loaded.warnings.into_iter().map(rename).collect(), ..loaded })
        .map_err(|errors| errors.into_iter().map(rename).collect())
}

fn variable(name: &str) -> Option<String> {
    match name {
        "KEY" => Some("s3cret".to_owned()),
        "BASE" => Some("https://base.example".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn shown(errors: &[Error]) -> String {
    let line = |error: &Error| {
        let hints: String = error.hints().iter().map(|hint| format!("\n    {hint}")).collect();
        format!("{error}{hints}\n")
    };
    errors.iter().map(line).collect()
}

/// The errors of files that are wrong; none of them has the value of a variable in it.
fn errors(files: &[(&str, &str)]) -> String {
    let errors = shown(&read_files(files).expect_err("it must be wrong"));
    assert!(!errors.contains("s3cret"), "{errors}");
    errors
}

fn rows(loaded: &LoadedManifest) -> Vec<String> {
    let row = |hook: &WantedHook| {
        let place = &hook.place;
        format!(
            "{} {} {} {} {} {} {}:{}",
            hook.app_id,
            hook.app.as_deref().unwrap_or("-"),
            hook.event,
            hook.target_url.expose(),
            hook.shown_target,
            hook.label.as_ref().map_or("-", Label::as_str),
            place.line,
            place.column
        )
    };
    loaded.manifest.hooks.iter().map(row).collect()
}

const TOML: &str = r#"
name = "mobile"

[apps]
shop = 1001
shop-ios = "https://dashboard.bugfender.com/app/1002"

[defaults]
events = ["new_crash"]
target_url = "https://hooks.example.com/${KEY}"
label = "production"

[[hook]]
app = ["shop", "shop-ios"]

[[hook]]
app_id = 1003
events = "all"
target_url = "@url.txt"
label = "feedback"

[[hook]]
app_id = [1001, "1004"]
events = "new_user_feedback"
target_url = "https://hooks.example.com/a$$b"
"#;

const YAML: &str = r#"
name: mobile

apps:
  shop: 1001
  shop-ios: "https://dashboard.bugfender.com/app/1002"

defaults:
  events: [new_crash]
  target_url: https://hooks.example.com/${KEY}
  label: production

hook:
  - app: [shop, shop-ios]
  - app_id: 1003
    events: all
    target_url: "@url.txt"
    label: feedback
  - app_id:
      - 1001
      - "1004"
    events: new_user_feedback
    target_url: https://hooks.example.com/a$$b
"#;

const JSON: &str = r#"{
  "name": "mobile",
  "apps": { "shop": 1001, "shop-ios": "https://dashboard.bugfender.com/app/1002" },
  "defaults": {
    "events": ["new_crash"], "target_url": "https://hooks.example.com/${KEY}", "label": "production"
  },
  "hook": [
    { "app": ["shop", "shop-ios"] },
    { "app_id": 1003, "events": "all", "target_url": "@url.txt", "label": "feedback" },
    { "app_id": [1001, "1004"], "events": "new_user_feedback", "target_url": "https://hooks.example.com/a$$b" }
  ]
}
"#;

#[test]
fn the_formats_say_the_same() {
    let url = ("url.txt", "https://ci:pw@hooks.example.com/all\n");
    let toml = read_files(&[("hooks.toml", TOML), url]).unwrap();
    insta::assert_snapshot!(rows(&toml).join("\n"));
    assert!(toml.warnings.is_empty() && toml.manifest.has_secrets());
    let without_place = |rows: Vec<String>| -> Vec<String> {
        rows.into_iter().map(|row| row.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    for (name, text) in [("hooks.yaml", YAML), ("hooks.json", JSON), ("hooks.yml", JSON)] {
        let other = read_files(&[(name, text), url]).unwrap_or_else(|errors| panic!("{name}: {}", shown(&errors)));
        assert_eq!(without_place(rows(&other)), without_place(rows(&toml)), "{name}");
    }
    for (name, text) in [("hooks.toml", TOML), ("hooks.yaml", YAML), ("hooks.json", JSON)] {
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let (unix, windows) =
            (read_files(&[(name, text), url]).unwrap(), read_files(&[(name, &windows), url]).unwrap());
        assert_eq!(rows(&windows), rows(&unix), "{name}");
    }
}
