//! What manifests mean, and what is wrong with them, in all formats.

mod properties;
mod sources;

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
        let parts: Vec<String> = [error.to_string()].into_iter().chain(error.hints().iter().cloned()).collect();
        parts.join("\n    ") + "\n"
    };
    errors.iter().map(line).collect::<Vec<_>>().concat()
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
    assert!(toml.warnings.is_empty() && toml.manifest.hooks.iter().any(|hook| hook.is_secret));
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

const WRONG_TOML: &str = r#"#:schema hooks.schema.json
name = "two words"
nam = "https://ci:s3cret@x"
"s3cret key" = 1

[apps]
shop = 0
web = "dashboard"
press = true
" " = 3
fine = 7

[defaults]
event = ["new_crash"]
label = ""
target_url = "https://hooks.example.com/${UNSET}/${EMPTY}"

[[hook]]
app = "fin"
app_id = 3

[[hook]]
label = 3

[[hook]]
app = ["fine", "fine", "shp", "s3cret app", 7]
events = []
target_url = "ftp://ci:s3cret@h/"

[[hook]]
app = 7
events = "new_crsh"
target_url = "https://ci:****@hooks.example.com/"

[[hook]]
app_id = [0, "DXtETPbMAq", 1.5, [1]]
events = ["all", "new_crash", "new_crash", "s3cret event", 2026-01-02]
target_url = "https://hooks.example.com/$KEY"

[[hook]]
app_id = []
events = { new_crash = true }
target_url = ["https://hooks.example.com/"]

[[hook]]
app_id = 3
events = "all"
target_url = "@missing.txt"

[[hook]]
app_id = 4
events = "all"
target_url = "https://h.example/${s3cret-}"
labels = "x"

[[hook]]
app_id = 5
events = "all"
label = "a"
target_url = "@empty.txt"

[[hook]]
app_id = 6
events = ["new_crash"]
label = "a"
target_url = "https://ci:s3cret@h.example/a/../%7Ex"

[[hook]]
app_id = 6
events = "all"
label = "a"
target_url = "https://ci:s3cret@H.example/~x"

[[hook]]
app_id = 7
events = "all"
label = "a"
target_url = "@"

[[hook]]
app_id = 99999999999999999999
events = "all"
label = "a"
target_url = "https://h.example/${BUGFENDER_API_TOKEN}"
"#;

const WRONG_YAML: &str = r#"
name: [mobile]
apps: [1, 2]
defaults: yes
hook:
  - app: shop
    app_id: 3
  - 17
  - {app_id: true, events: null, target_url: 3.5}
  - &a
    app_id: 0x10
    events: [new_crash, ~]
    target_url: https://hooks.example.com/é/${UNSET}
    lable: x
  - app_id: 9
    events: all
    label: ok
    target_url: ${BASE}
  - {app_id: 9, events: new_crash, label: ok, target_url: "https://BASE.example"}
hooks: []
"#;

const WRONG_JSON: &str = r#"{
  "$schema": "hooks.schema.json", "names": "mobile",
  "apps": null, "defaults": { "events": 1, "é": 2, "labell": 3 },
  "hook": { "app_id": 3 }
}"#;

#[test]
fn all_that_is_wrong_is_said_at_once_with_its_place() {
    let empty = ("empty.txt", "\n");
    insta::assert_snapshot!("wrong_toml", errors(&[("hooks.toml", WRONG_TOML), empty]));
    insta::assert_snapshot!("wrong_yaml", errors(&[("hooks.yaml", WRONG_YAML)]));
    insta::assert_snapshot!("wrong_json", errors(&[("hooks.json", WRONG_JSON)]));
}

#[test]
fn a_file_that_does_not_parse_is_one_error_with_its_place() {
    let mut said = String::new();
    for (name, text) in [
        ("a.toml", "name = \"s3cret\n"),
        ("a.toml", "name = \"a\"\nname = \"s3cret\"\n"),
        ("a.toml", "[[hook]]\n[hook]\n"),
        ("a.toml", "é = s3cret\n"),
        ("a.toml", "a = 1 é s3cret"),
        ("a.yaml", "name: mobile\n target: s3cret\n"),
        ("a.yaml", "name: mobile\nname: s3cret\n"),
        ("a.yaml", "hook:\n  - target_url: @s3cret\n"),
        ("a.yaml", "a: &x [s3cret]\nb: *x\n"),
        ("a.yaml", "a: *s3cret\n"),
        ("a.yaml", "name: !!str s3cret\n"),
        ("a.yaml", "name: mobile\n---\nname: s3cret\n"),
        ("a.yaml", "name: \"s3cret\n"),
        ("a.yaml", "[a, b]: s3cret\n"),
        ("a.yaml", "name: mobile\n\tx: s3cret\n"),
        ("a.yaml", "- s3cret\n"),
        ("a.json", ""),
        ("a.json", "[]"),
        ("a.json", "{\"name\": \"s3cret\",}"),
        ("a.json", "{\"name\": \"s3cret\" // why\n}"),
        ("a.json", "{\"name\": 's3cret'}"),
        ("a.json", "{\"é\": 1, \"name\": \"a\", \"name\": \"s3cret\"}"),
        ("a.json", "{\"name\": s3cret}"),
        ("a.json", "{name: \"s3cret\"}"),
        ("a.json", "{} {}"),
        ("a.json", "{\"name\": \"s3cret"),
        ("a.txt.xml", "<name/>"),
    ] {
        let errors = errors(&[(name, text)]);
        said.extend([format!("{text:?}\n"), errors]);
    }
    insta::assert_snapshot!(said);
    for (name, open, close) in [("a.json", "[", "]"), ("a.yaml", "[", "]"), ("a.toml", "[", "]"), ("a.yaml", "- ", "")]
    {
        let start = if name == "a.toml" { "a = " } else { "" };
        for depth in [100, 5000] {
            let deep = format!("{start}{}{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(read_files(&[(name, &deep)]).unwrap_err().len(), 1, "{name}");
        }
    }
}

#[test]
fn several_files_are_one_manifest() {
    let apps = ("a.toml", "name = 'mobile'\n[apps]\nshop = 1\n");
    let hooks = "[[hook]]\napp = 'shop'\nevents = 'new_crash'\ntarget_url = 'https://h.example/'\n";
    let both = read_files(&[apps, ("b.toml", hooks)]).unwrap();
    assert_eq!(rows(&both), ["1 shop new_crash https://h.example/ https://h.example/ - 1:1"]);
    let other = "name = 'web'\n[apps]\nshop = 2\n[defaults]\nlabel = 'x'\n";
    let json = r#"{"hook": [{"app_id": 1, "events": "all", "target_url": "https://h.example"}]}"#;
    insta::assert_snapshot!(errors(&[apps, ("b.toml", other), ("c.toml", hooks), ("d.json", json)]));
    // What is only in a file that does not parse is not said to be missing.
    assert_eq!(errors(&[("a.toml", "name ="), ("b.toml", hooks)]).lines().count(), 1);
    assert_eq!(errors(&[("a.toml", "x = 1\n"), ("b.toml", hooks)]).lines().count(), 6);
}

#[test]
fn passwords_in_a_manifest_are_warned_of_and_never_shown() {
    let hook = |url: &str| format!("[[hook]]\napp_id = 1\nevents = 'new_crash'\ntarget_url = '{url}'\n");
    let text =
        ["name = 'a'\n", &hook("https://ci:s3cret@h.example/1"), &hook("https://ci:s3cret@h.example/${KEY}")].concat();
    let loaded = read_files(&[("a.toml", &text)]).unwrap();
    insta::assert_snapshot!(shown(&loaded.warnings));
    let shown: Vec<&str> = loaded.manifest.hooks.iter().map(|hook| hook.shown_target.as_str()).collect();
    assert_eq!(shown, ["https://ci:****@h.example/1", "https://ci:****@h.example/${KEY}"]);
    assert!(!format!("{:?}", loaded.manifest).contains("s3cret"));
}

#[test]
fn another_error_of_a_hook_does_not_hide_that_it_is_asked_for_twice() {
    let first = "name = 'mobile'\n[[hook]]\napp_id = 1\nevents = 'new_crash'\ntarget_url = 'https://h.example/${UNSET}'\n";
    for second in [
        "app_id = 1\nevents = ['new_crash', 'new_crash']\n",
        "app_id = 1\nevents = ['new_crash', 'new_crush']\n",
        "app_id = [1, 1]\nevents = 'new_crash'\n",
        "app_id = [1, -1]\nevents = 'new_crash'\n",
        "app_id = 1\nevents = 'new_crash'\nlabel = 7\n",
        "app_id = 1\nevents = 'new_crash'\nlabbel = 'x'\n",
    ] {
        let text = format!("{first}[[hook]]\n{second}target_url = 'https://h.example/${{UNSET}}'\n");
        let said = errors(&[("hooks.toml", &text)]);
        let of_hook = said.matches("hooks.toml:").count();
        assert!(said.contains("`new_crash` of app 1 is asked for at hooks.toml:2:1 already"), "{said}");
        assert!(said.contains("the variable UNSET is not set") && of_hook >= 4, "{said}");
    }
}
