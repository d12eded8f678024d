//! A registry as a file: exported, imported, merged.

mod git;
mod histories;
mod merging;
mod rows;

use std::fs;

use serde_json::{Value, json};

use crate::assert_shown;
use crate::support::postgres::server;
use crate::support::{Home, Run, SandboxServer};

const URL: &str = "https://hooks.example.com/bf";

fn file(home: &Home) -> String {
    fs::read_to_string(home.path().join("registry.json")).unwrap()
}

fn export(home: &Home) -> String {
    let run = home.run(["registry", "export", "registry.json"]);
    assert_eq!(run.code, 0, "{run}");
    file(home)
}

fn import(home: &Home, text: &str) -> Run {
    fs::write(home.path().join("registry.json"), text).unwrap();
    home.run(["registry", "import", "registry.json"])
}

/// A registry with a hook in each state that a file has.
fn filled(home: &Home) {
    let password = "https://ci:s3cret@hooks.example.com/other";
    fs::write(home.path().join("url"), password).unwrap();
    home.subscribe("1", "new_crash", URL);
    home.subscribe("2", "new_crash", URL);
    home.json(&["unsubscribe", "2"]);
    home.json(&["import", "9", "--app-id", "3", "--event", "new_crash", "--target-url", "@url", "--label", "x"]);
}

/// A home whose registry is in a file, or in a database of its own.
fn home(sandbox: &SandboxServer, in_postgres: bool) -> Option<Home> {
    if !in_postgres {
        return Some(Home::of(sandbox));
    }
    let server = server()?;
    Some(Home::of(sandbox).set("BUGFENDER_HOOKS_STORE", &server.url(&server.new_database())))
}

#[test]
fn what_was_exported_and_imported_is_exported_the_same() {
    for (from, to) in [(false, false), (true, true), (false, true), (true, false)] {
        let sandbox = SandboxServer::start();
        let (Some(home), Some(other)) = (home(&sandbox, from), home(&sandbox, to)) else { continue };
        home.json(&["import", "5", "--app-id", "5", "--event", "new_crash", "--target-url", URL, "--label", "é \"x\""]);
        home.json(&["import", "4", "--app-id", "4", "--event", "new_crash", "--target-url", URL]);
        home.json(&["forget", "4", "--yes"]);
        home.subscribe("6", "new_crash", URL);
        home.json(&["unsubscribe", "1"]);
        fs::write(home.path().join("hooks.toml"), manifest(7)).unwrap();
        assert_eq!(home.run(["apply", "-f", "hooks.toml", "--yes", "--initial"]).code, 0);
        let text = export(&home);
        assert_eq!(text, export(&home));
        let hooks: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(hooks["hooks"].as_array().unwrap().len(), 3, "{text}");
        let run = import(&other, &text);
        assert!(run.code == 0 && run.stderr.contains("3 hooks added, 0 hooks changed, 0 hooks as before"), "{run}");
        assert_eq!(export(&other), text);
        let run = import(&other, &text);
        assert!(run.code == 0 && run.stderr.contains("0 hooks added, 0 hooks changed, 3 hooks as before"), "{run}");
        // The manifest finds its hooks there, and nothing is made a second time.
        fs::write(other.path().join("hooks.toml"), manifest(7)).unwrap();
        let plan = other.run(["plan", "-f", "hooks.toml", "--detailed-exitcode"]);
        assert_eq!(plan.code, 0, "{plan}");
    }
}

#[test]
fn a_request_in_doubt_is_exported_beside_a_hook_for_the_same() {
    let sandbox = SandboxServer::with_faults(&["subscribe=dropx1"]);
    let home = Home::of(&sandbox);
    let subscribe = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL];
    assert_eq!(home.run(subscribe).code, 8);
    home.json(&[&subscribe[..], &["--force"]].concat());
    let text = export(&home);
    let other = Home::of(&sandbox);
    assert_eq!(import(&other, &text).code, 0);
    assert_eq!(export(&other), text);
    assert!(text.contains("\"unknown\"") && text.contains("\"active\""), "{text}");
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    filled(&home);
    let text = export(&home);
    let other = Home::of(&sandbox);
    fs::write(other.path().join("registry.json"), &text).unwrap();
    let dry_run = ["registry", "import", "registry.json", "--dry-run"];
    assert_shown!("dry_run", other.run(dry_run));
    assert!(!other.registry().exists());
    fs::write(home.path().join("registry.json"), text.replace("\"x\"", "\"y\"")).unwrap();
    let run = home.run(dry_run);
    assert!(run.code == 0 && run.stderr.contains("0 hooks added, 1 hook changed, 2 hooks as before"), "{run}");
    assert_eq!(home.run(["registry", "export"]).stdout, text);
}

fn manifest(app: i64) -> String {
    format!("name = \"mobile\"\n[[hook]]\napp_id = {app}\nevents = \"new_crash\"\ntarget_url = \"{URL}\"\n")
}

#[test]
fn a_file_has_no_passwords_unless_it_is_to() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    filled(&home);
    let run = home.run(["registry", "export"]);
    assert_shown!("exported", run);
    assert!(home.run(["registry", "export", "--show-secrets"]).stdout.contains("s3cret"));
    // Imported beside a registry that has it, the password stays; and a manifest brings it back where it is missing.
    let text = export(&home);
    assert_eq!(import(&home, &text).code, 0);
    assert!(home.json(&["list", "--show-secrets"]).to_string().contains("s3cret"));
    let other = Home::of(&sandbox).set("SECRET", "s3cret");
    assert_eq!(import(&other, &text).code, 0);
    let manifest = "name = \"mobile\"\n[[hook]]\napp_id = 3\nevents = \"new_crash\"\nlabel = \"x\"\n\
                    target_url = \"https://ci:${SECRET}@hooks.example.com/other\"\n";
    fs::write(other.path().join("hooks.toml"), manifest).unwrap();
    let run = other.run(["apply", "-f", "hooks.toml", "--yes", "--adopt"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(other.json(&["list", "--show-secrets"]).to_string().contains("s3cret"));
    assert_eq!(sandbox.requests("POST /api/hook").len(), 2);
}

#[test]
fn what_is_newer_wins_and_nothing_goes() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    filled(&home);
    let text = export(&home);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut file: Value = serde_json::from_str(&text).unwrap();
        change(&mut file["hooks"][0]);
        file.to_string()
    };
    let label = || home.json(&["list"])[0]["label"].clone();
    let older = with(&|hook| {
        hook["label"] = json!("old");
        hook["updated_at"] = json!("2001-01-01T00:00:00Z");
    });
    assert_eq!(import(&home, &older).code, 0);
    assert_eq!(label(), Value::Null);
    let newer = with(&|hook| {
        hook["label"] = json!("new");
        hook["updated_at"] = json!("2101-01-01T00:00:00Z");
    });
    assert_shown!("newer", import(&home, &newer));
    assert_eq!(label(), "new");
    // Registries have whole seconds.
    let by_hand = with(&|hook| hook["updated_at"] = json!("2102-01-01T00:00:00.5Z"));
    assert!(import(&home, &by_hand).stderr.contains("1 hook changed"));
    assert!(import(&home, &by_hand).stderr.contains("0 hooks changed"));
    let none = "{\"version\": 1, \"hooks\": []}";
    assert_eq!(import(&home, none).code, 0);
    assert_eq!(home.statuses().len(), 3);
    // The number of a hook that is on record as another.
    let other = with(&|hook| hook["app_id"] = json!(77));
    let run = import(&home, &other);
    assert_eq!(run.code, 9, "{run}");
    assert!(run.stderr.contains("its number is on record for another subscription"), "{run}");
}

#[test]
fn wrong_files_are_told() {
    let home = Home::new();
    let hook = "\"api_url\":\"https://h.example\",\"app_id\":1,\"event\":\"new_crash\",\"target_url\":\"https://h.example/\",\
                \"created_at\":\"2026-01-01T00:00:00Z\",\"updated_at\":\"2026-01-01T00:00:00Z\"";
    for (name, text) in [
        ("no_json", "name = \"x\"\n".to_owned()),
        ("conflict_markers", "{\n<<<<<<< ours\n}\n".to_owned()),
        ("newer_version", "{\"version\": 9, \"hooks\": []}".to_owned()),
        ("unknown_key", "{\"version\": 1, \"hooks\": [], \"hoks\": []}".to_owned()),
        ("open_conflicts", "{\"version\": 1, \"conflicts\": [\"hook 1\"], \"hooks\": []}".to_owned()),
        ("no_hook_id", format!("{{\"version\": 1, \"hooks\": [{{{hook},\"status\":\"active\"}}]}}")),
        ("wrong_status", format!("{{\"version\": 1, \"hooks\": [{{{hook},\"status\":\"activ\",\"hook_id\":1}}]}}")),
        (
            "twice",
            format!(
                "{{\"version\": 1, \"hooks\": [{{{hook},\"status\":\"active\",\"hook_id\":1}},\
                 {{{hook},\"status\":\"active\",\"hook_id\":1}}]}}"
            ),
        ),
    ] {
        assert_shown!(name, import(&home, &text));
        assert!(!home.registry().exists(), "{name}");
    }
    assert_eq!(home.run(["registry", "import", "missing.json"]).code, 2);
    // URLs at the wrong places, or that are none, may have passwords.
    for (good, wrong) in [
        ("\"app_id\":1", "\"app_id\":\"https://ci:s3cret@h.example\""),
        ("\"target_url\":\"https://h.example/\"", "\"target_url\":\"ttps://ci:s3cret@h.example/\""),
        ("\"api_url\":\"https://h.example\"", "\"api_url\":\"https://ci:s3cret@h.example\""),
    ] {
        let text = format!("{{\"version\": 1, \"hooks\": [{{{},\"status\":\"unknown\"}}]}}", hook.replace(good, wrong));
        let run = import(&home, &text);
        assert!(run.code == 2 && !run.stderr.contains("s3cret"), "{run}");
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_written_into_and_not_replaced() {
    use std::os::unix::fs::FileTypeExt;
    use std::process::Command;

    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    filled(&home);
    let text = export(&home);
    let pipe = home.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let merge = ["registry", "merge", "registry.json", "registry.json", "registry.json", "--out", "pipe"];
    for args in [&["registry", "export", "pipe"][..], &merge[..]] {
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        let run = home.run(args);
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(reader.join().unwrap(), text);
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    }
    let run = home.run(["registry", "export", "/dev/stdout"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, text.as_str()), "{run}");
    // A device of its own that takes nothing, where one can be made.
    let full = home.path().join("full");
    if Command::new("mknod").arg(&full).args(["c", "1", "7"]).output().is_ok_and(|made| made.status.success()) {
        let run = home.run(["registry", "export", "full"]);
        assert!(run.code == 2 && run.stderr.contains("FILE full: "), "{run}");
        assert!(fs::metadata(&full).unwrap().file_type().is_char_device());
    }
}
