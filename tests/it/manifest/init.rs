//! `manifest init`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::write;
use crate::assert_shown;
use crate::support::{Home, Run, SandboxServer};

const FORMATS: [&str; 3] = ["hooks.toml", "hooks.yaml", "hooks.json"];

fn subscribe(home: &Home, apps: &str, event: &str, url: &str, more: &[&str]) {
    let args = ["subscribe", "--app-id", apps, "--event", event, "--target-url", "-", "-q"];
    let run = home.run_with_input(&[&args, more].concat(), url);
    assert_eq!(run.code, 0, "{run}");
}

/// A home with hooks to two endpoints, one of which has a password.
fn filled(sandbox: &SandboxServer) -> Home {
    let home = Home::of(sandbox);
    subscribe(&home, "1001,1002", "all", "https://hooks.example.com/bf", &["--label", "production"]);
    subscribe(&home, "1003", "new_crash", "https://ci:s3cret@hooks.example.com/bf", &[]);
    subscribe(&home, "1004", "new_crash", "https://hooks.example.com/bf", &[]);
    assert_eq!(home.run(["unsubscribe", "8"]).code, 0);
    home
}

fn init(home: &Home, args: &[&str]) -> Run {
    let run = home.run([&["manifest", "init"], args].concat());
    assert!(!run.to_string().contains("s3cret"), "{run}");
    run
}

/// App, event and label of all hooks that a command lists, sorted.
fn hooks(home: &Home, args: &[&str]) -> Vec<String> {
    let rows = home.json(args);
    let row = |row: &serde_json::Value| format!("{} {} {}", row["app_id"], row["event"], row["label"]);
    let mut found: Vec<String> = rows.as_array().unwrap().iter().map(row).collect();
    found.sort();
    found
}

#[test]
fn the_hooks_on_record_become_a_manifest() {
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    assert_shown!("init", init(&home, &["--name", "mobile"]));
    assert_shown!("file", fs::read_to_string(home.path().join("hooks.toml")).unwrap());
    let home = home.set("BUGFENDER_TARGET_URL_1", "https://ci:s3cret@hooks.example.com/bf");
    for file in FORMATS {
        assert_eq!(init(&home, &[file, "--name", "mobile", "--force"]).code, 0);
        let path = home.path().join(file);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(&path).unwrap().contains("s3cret"));
        let args = ["manifest", "validate", "--strict", "-f", file];
        assert_eq!(hooks(&home, &args), hooks(&home, &["list"]), "{file}");
        // The plan finds every hook on record as wanted.
        let counts = |more: &[&str]| home.json(&[&["plan", "-f", file], more].concat())["counts"].clone();
        let (plain, adopting) = (counts(&[]), counts(&["--adopt"]));
        assert_eq!((&plain["unowned"], &plain["create"]), (&7.into(), &0.into()), "{plain}");
        assert_eq!((&adopting["adopt"], &adopting["create"]), (&7.into(), &0.into()), "{adopting}");
    }
    let shown = init(&home, &["-", "--app-id", "1002", "--event", "new_crash", "--name", "x"]);
    assert_shown!("stdout", shown);
}

#[test]
fn a_file_is_not_replaced_unless_that_is_wanted() {
    let home = Home::at("https://bf.example", "t");
    write(&home, "hooks.toml", "mine");
    assert_shown!("exists", init(&home, &[]));
    assert_eq!(fs::read_to_string(home.path().join("hooks.toml")).unwrap(), "mine");
    std::os::unix::fs::symlink("nowhere", home.path().join("link.toml")).unwrap();
    assert_eq!(init(&home, &["link.toml"]).code, 2);
    assert_shown!("format", init(&home, &["hooks.xml"]));
    let run = init(&home, &["hooks.toml/x.toml"]);
    assert!(run.code == 2 && run.stderr.contains("hooks.toml/x.toml: "), "{run}");
    assert_eq!(init(&home, &["--force", "--name", "a b"]).code, 2);
    assert_eq!(init(&home, &["--force"]).code, 0);
}

#[test]
fn the_examples_of_its_help_run_in_a_new_directory() {
    let home = Home::at("https://bf.example", "t");
    let help = init(&home, &["--help"]).stdout;
    let examples: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  bugfender-hooks ")).collect();
    assert_eq!(examples.len(), 2, "{help}");
    for example in examples {
        let run = home.run(example.split(' '));
        assert_eq!(run.code, 0, "{example}: {run}");
    }
    assert_eq!(fs::metadata(home.path().join("hooks")).unwrap().permissions().mode() & 0o777, 0o700);
    for file in ["hooks", "hooks.toml"] {
        assert!(hooks(&home, &["manifest", "validate", "-f", file, "--strict"]).is_empty());
    }
}

#[test]
fn without_hooks_there_is_a_manifest_to_begin_with() {
    let home = Home::at("https://bf.example", "t");
    for file in FORMATS {
        let run = init(&home, &[file, "--name", "web"]);
        if file == "hooks.toml" {
            assert_shown!("starter", run);
        }
        assert!(hooks(&home, &["manifest", "validate", "--strict", "-f", file]).is_empty());
    }
    assert!(!home.registry().exists());
    // The directory gives the name.
    fs::create_dir(home.path().join("My Shop!")).unwrap();
    let mut command = home.command(["manifest", "init", "-"]);
    let run = Run::of(command.current_dir(home.path().join("My Shop!")).output().unwrap());
    assert!(run.stdout.contains("name = \"My-Shop\""), "{run}");
}
