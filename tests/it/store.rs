//! A registry that is damaged, full, read-only, foreign or newer: a clear error, and the file as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use crate::assert_shown;
use crate::support::{Home, SandboxServer, have};

const URL: &str = "https://hooks.example.com/bf";
const SUBSCRIBE: [&str; 7] = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL];

fn filled() -> (SandboxServer, Home) {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.subscribe("1001", "new_user_feedback", URL);
    (sandbox, home)
}

/// Every command that opens the registry fails with 9, and the file is untouched.
fn expect_refusal(name: &str, sandbox: &SandboxServer, home: &Home) {
    let before = fs::read(home.registry()).unwrap();
    assert_shown!(name, home.run(SUBSCRIBE.iter().chain(&["--output", "json"])));
    for args in
        [&["list"][..], &["unsubscribe", "1"], &["forget", "1"], &["doctor"], &["unsubscribe", "1", "--dry-run"]]
    {
        let run = home.run(args);
        assert_eq!(run.code, 9, "{args:?}: {run}");
    }
    assert_eq!(fs::read(home.registry()).unwrap(), before);
    assert_eq!(sandbox.requests("POST").len(), 1);
    assert_eq!(sandbox.requests("DELETE").len(), 0);
}

#[test]
fn a_newer_registry() {
    let (sandbox, home) = filled();
    Connection::open(home.registry()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    expect_refusal("newer", &sandbox, &home);
}

#[test]
fn a_database_of_another_program() {
    let (sandbox, home) = filled();
    fs::remove_file(home.registry()).unwrap();
    Connection::open(home.registry())
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    expect_refusal("foreign", &sandbox, &home);
}

#[test]
fn no_database_at_all() {
    let (sandbox, home) = filled();
    fs::write(home.registry(), "hook ids: 1, 2, 3\n".repeat(400)).unwrap();
    expect_refusal("text", &sandbox, &home);
}

#[test]
fn a_database_that_cannot_be_opened() {
    let home = Home::at("https://bf.example", "t").set("BUGFENDER_HOOKS_STORE", "sqlite:/proc/nope/registry.db");
    let run = home.run(SUBSCRIBE);
    assert_eq!(run.code, 9, "{run}");
    let home = home.set("BUGFENDER_HOOKS_STORE", "postgres://u:s3cret@127.0.0.1:1/hooks");
    let run = home.run(SUBSCRIBE);
    assert_eq!(run.code, 9, "{run}");
    assert!(!run.stderr.contains("s3cret"), "{run}");
}

#[test]
fn a_read_only_registry() {
    let (sandbox, home) = filled();
    if !have("setpriv") {
        return;
    }
    let run = run_read_only(&home, &SUBSCRIBE, &home.registry());
    assert_eq!(run.code, 9, "{run}");
    assert!(run.stderr.contains("writable"), "{run}");
    assert_eq!(sandbox.requests("POST").len(), 1);
    assert_eq!(home.statuses(), ["active"]);
}

/// Runs a command as somebody who may only read the store, of which this file is.
pub fn run_read_only(home: &Home, args: &[&str], file: &std::path::Path) -> crate::support::Run {
    // The tests may run as root, whom no permission stops: the command runs as somebody else, who may only read.
    for path in [home.path().to_owned(), home.data()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for dir in [".local", ".local/share"] {
        fs::set_permissions(home.path().join(dir), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let root = fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0).unwrap();
    let inner = home.command(args);
    let program = home.path().join("bugfender-hooks");
    // By another process: a file that this one has open to write, or a child that it is starting, cannot be run.
    let copied = std::process::Command::new("cp").arg(inner.get_program()).arg(&program).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o444)).unwrap();
    let mut command = if root {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command
    } else {
        std::process::Command::new(&program)
    };
    let store = format!("sqlite:{}", home.registry().display());
    command.args(inner.get_args()).env_clear().current_dir("/").env("HOME", "/");
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("BUGFENDER_HOOKS_STORE", store);
    let settings = inner.get_envs().filter(|(name, _)| name.to_string_lossy().starts_with("BUGFENDER_API"));
    command.envs(settings.filter_map(|(name, value)| Some((name, value?))));
    let run = crate::support::Run::of(command.output().unwrap());
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o755)).unwrap();
    run
}

#[test]
fn a_full_disk() {
    let (sandbox, home) = filled();
    let before = fs::read(home.registry()).unwrap();
    // A limit on the size of files stands in for the full disk; without the signal, writes fail as there.
    let inner = home.command(SUBSCRIBE);
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    command
        .env_clear()
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(home.path());
    let run = crate::support::Run::of(command.output().unwrap());
    assert_eq!(run.code, 9, "{run}");
    assert_eq!(sandbox.requests("POST").len(), 1);
    assert_eq!(fs::read(home.registry()).unwrap(), before);
    // With room again, all is well.
    assert_eq!(home.run(SUBSCRIBE).code, 0);
}

fn has(page: &[u8], text: &[u8]) -> bool {
    page.windows(text.len()).any(|window| window == text)
}

#[test]
fn what_could_be_read_before_the_damage_is_shown_in_every_format() {
    let home = Home::holding("https://bugfender.example", 500);
    let mut bytes = fs::read(home.registry()).unwrap();
    // A leaf of a B-tree, and of the table itself: an index has no status.
    let leaf = bytes.chunks_mut(4096).find(|page| page[0] == 10 && has(page, b"/300") && has(page, b"active"));
    leaf.unwrap()[..512].fill(0);
    fs::write(home.registry(), bytes).unwrap();
    let lines: Vec<usize> = [&["-q"][..], &["--output", "ndjson"], &["--output", "csv"], &["--output", "json"]]
        .into_iter()
        .map(|format| {
            let run = home.run(["list"].iter().chain(format));
            assert!(run.code == 9 && run.stderr.contains("damaged"), "{format:?}: {run}");
            run.stdout.lines().count()
        })
        .collect();
    // The header of CSV, and the bracket before JSON that no other follows.
    assert!(lines[0] > 0 && lines[..] == [lines[0], lines[0], lines[0] + 1, lines[0] + 1], "{lines:?}");
}

#[test]
fn the_registry_is_for_its_owner_alone() {
    let (_sandbox, home) = filled();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&home.registry()), mode(&home.data())), (0o600, 0o700));
    let custom = home.set("BUGFENDER_HOOKS_STORE", "sqlite:ci/hooks.db");
    custom.subscribe("1001", "new_crash", URL);
    assert_eq!(mode(&custom.path().join("ci/hooks.db")), 0o600);
}

#[test]
fn an_empty_file_becomes_a_registry() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    fs::write(home.path().join("new.db"), "").unwrap();
    let home = home.set("BUGFENDER_HOOKS_STORE", "sqlite:new.db");
    assert!(home.statuses().is_empty());
    home.subscribe("1001", "new_crash", URL);
    assert_eq!(fs::metadata(home.path().join("new.db")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_reset_server_that_numbers_anew_is_followed() {
    let (sandbox, home) = filled();
    crate::support::http_post(&format!("{}/sandbox/reset", sandbox.url), "");
    let args = ["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL, "--output", "json"];
    let run = home.run(args);
    assert!(run.code == 0 && run.stderr.contains("hook 1 was on record as new_user_feedback"), "{run}");
    assert_eq!(run.json()[0]["hook_id"], 1);
    let states = |args: &[&str]| {
        let rows = home.json(args);
        let text = |row: &serde_json::Value| format!("{} {} {}", row["hook_id"], row["event"], row["status"]);
        rows.as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(", ").replace('"', "")
    };
    // Nothing is dropped from the record, and the number means the hook that is there.
    assert_eq!(states(&["list", "--all"]), "1 new_crash active, 1 new_user_feedback gone");
    assert_eq!(states(&["list"]), "1 new_crash active");
    assert_eq!(states(&["unsubscribe", "1"]), "1 new_crash removed");
    assert!(sandbox.hooks().is_empty());
}

#[test]
fn a_registry_open_to_everybody_is_tightened() {
    let (_sandbox, home) = filled();
    fs::set_permissions(home.registry(), fs::Permissions::from_mode(0o664)).unwrap();
    let run = home.run(["list"]);
    assert!(run.stderr.contains("was open to everybody"), "{run}");
    assert_eq!(fs::metadata(home.registry()).unwrap().permissions().mode() & 0o777, 0o660);
}
