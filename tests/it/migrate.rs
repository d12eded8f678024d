//! `store migrate`: the schema is brought to the newest version, by one process at a time, all of it or nothing.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use rusqlite::Connection;

use crate::support::inbox::{INBOX_BEFORE_POLLING, SCHEMA_BEFORE_POLLING};
use crate::support::postgres::{Server, server};
use crate::support::{Home, Run, have, wait_until};

fn on(store: &str) -> Home {
    Home::new().set("BUGFENDER_HOOKS_STORE", store)
}

#[track_caller]
fn assert_run(home: &Home, args: &[&str], code: i32, says: &str) {
    let run = home.run(["store", "migrate"].iter().chain(args));
    assert!(run.code == code && run.stderr.contains(says), "{says}: {run}");
}

fn tables(server: &Server, database: &str) -> String {
    server.psql(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'bugfender_hooks'")
}

#[test]
fn a_store_in_postgresql() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let home = on(&server.url(&database));
    assert_run(&home, &["--check"], 9, "does not exist");
    assert_run(&home.set("BUGFENDER_HOOKS_REQUIRE_STORE", "1"), &[], 9, "--require-store forbids");
    let home = on(&server.url(&database));
    assert_eq!(tables(server, &database), "0");
    let script = home.run(["store", "migrate", "--print"]);
    assert!(script.code == 0 && script.stdout.starts_with("BEGIN;"), "{script}");
    assert_run(&home, &[], 0, "made a new store at postgres://");
    assert_run(&home, &[], 0, "is up to date (schema 3)");
    assert_run(&home, &["--check"], 0, "is up to date (schema 3)");
    assert_eq!(home.run(["store", "migrate", "--print"]).stdout, "");
    // What is printed makes the same.
    let by_hand = server.new_database();
    server.psql(&by_hand, &script.stdout);
    assert_run(&on(&server.url(&by_hand)), &["--check"], 0, "is up to date");
    assert_eq!(tables(server, &by_hand), tables(server, &database));
    server.psql(&database, "INSERT INTO bugfender_hooks.migrations VALUES (99)");
    for args in [&["--check"][..], &["--print"], &[]] {
        assert_run(&home, args, 9, "newer bugfender-hooks");
    }
}

#[test]
fn a_store_in_files() {
    let home = Home::new();
    assert_run(&home, &["--check"], 9, "registry.db does not exist");
    let script = home.run(["store", "migrate", "--print"]);
    assert!(script.code == 0 && script.stdout.matches("COMMIT;").count() == 2, "{script}");
    assert!(!home.data().exists());
    assert_run(&home, &[], 0, "made a new inbox at ");
    assert_run(&home, &["--check"], 0, "is up to date");
    if have("sqlite3") {
        let by_hand = Home::new();
        let script = by_hand.run(["store", "migrate", "--print"]).stdout;
        std::fs::create_dir_all(by_hand.data()).unwrap();
        let mut child =
            Command::new("sqlite3").arg("-bail").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{script}");
        assert_run(&by_hand, &["--check"], 0, "is up to date");
        assert_eq!(by_hand.run(["events", "export"]).code, 0);
    }
    Connection::open(home.registry()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for args in [&["--check"][..], &["--print"], &[]] {
        assert_run(&home, args, 9, "newer bugfender-hooks");
    }
}

#[test]
fn a_store_of_an_older_version() {
    let home = Home::new();
    std::fs::create_dir_all(home.data()).unwrap();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/store-0.1.0");
    std::fs::copy(fixtures.join("hooks.db"), home.registry()).unwrap();
    std::fs::copy(fixtures.join("hooks.inbox.db"), home.data().join("registry.inbox.db")).unwrap();
    assert_run(&home, &["--check"], 9, "has schema 1, and the newest is ");
    let print = home.run(["store", "migrate", "--print"]);
    assert!(print.stdout.contains("CREATE TABLE history") && !print.stdout.contains("CREATE TABLE hooks"), "{print}");
    assert_run(&home, &[], 0, "from schema 1 to ");
    assert_run(&home, &["--check"], 0, "is up to date");
}

/// What the list says of the only hook: who owns it, its label, its status.
fn only_hook(home: &Home) -> (serde_json::Value, String, String) {
    let hooks = home.run(["list", "--api-url", "https://here.example", "--output", "json"]).json();
    let [hook] = &hooks.as_array().unwrap()[..] else { panic!("{hooks}") };
    let text = |key: &str| hook[key].as_str().unwrap_or_default().to_owned();
    (hook["managed_by"].clone(), text("label"), text("status"))
}

const HOOK: &str =
    "INSERT INTO hooks (id, api_url, hook_id, app_id, event, target_url, status, label, created_at, updated_at)
    VALUES (5, 'https://here.example', 7, 1, 'new_crash', 'https://hooks.example.com/bf', 'active', 'ci', 1, 1);";

#[test]
fn a_registry_of_before_hooks_had_owners() {
    let home = Home::new();
    std::fs::create_dir_all(home.data()).unwrap();
    let registry = Connection::open(home.registry()).unwrap();
    let header = format!("PRAGMA application_id = {}; PRAGMA user_version = {};", 0x6266_686b, (0x6266 << 16) + 2);
    for step in [
        include_str!("../../migrations/sqlite/0001_registry.sql"),
        include_str!("../../migrations/sqlite/0002_registry.sql"),
        header.as_str(),
        HOOK,
    ] {
        registry.execute_batch(step).unwrap();
    }
    drop(registry);
    assert_run(&home, &["--check"], 9, "has schema 2, and the newest is 3");
    assert_run(&home, &[], 0, "from schema 2 to 3");
    assert_eq!(only_hook(&home), (serde_json::Value::Null, "ci".to_owned(), "active".to_owned()));
    assert_eq!(home.run(["store", "migrate", "--print"]).stdout, "");
}

#[test]
fn a_schema_of_before_hooks_had_owners() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let home = on(&server.url(&database));
    assert_run(&home, &[], 0, "made a new store");
    let older = "DROP TABLE manifest_locks; DELETE FROM migrations WHERE version > 1;
                 ALTER TABLE hooks DROP COLUMN managed_by, DROP COLUMN replaces;";
    server.psql(&database, &format!("{SCHEMA_BEFORE_POLLING} {older} {HOOK}"));
    assert_run(&home, &["--check"], 9, "has schema 1, and the newest is 3");
    assert_run(&home, &[], 0, "from schema 1 to 3");
    assert_eq!(only_hook(&home), (serde_json::Value::Null, "ci".to_owned(), "active".to_owned()));
    assert_eq!(server.psql(&database, "SELECT count(*) FROM bugfender_hooks.manifest_locks"), "0");
}

/// Ten processes at once, on a store that is not there: all of them end well.
fn start_at_once(home: &Home) {
    let children: Vec<_> = (0..10).map(|_| home.spawn(&["store", "migrate"])).collect();
    for child in children {
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{run}");
    }
    assert_run(home, &["--check"], 0, "is up to date");
}

#[test]
fn ten_first_starts_at_once() {
    start_at_once(&Home::new());
    let Some(server) = server() else { return };
    let database = server.new_database();
    start_at_once(&on(&server.url(&database)));
    assert_eq!(server.psql(&database, "SELECT count(*) FROM bugfender_hooks.migrations"), "3");
}

/// Runs `work` while a migration is held up near its end, where another transaction has made a table with the name of its
/// last one.
fn in_the_middle(server: &Server, database: &str, work: impl FnOnce()) {
    thread::scope(|scope| {
        server.psql(database, "CREATE SCHEMA bugfender_hooks");
        let hold = "BEGIN; CREATE TABLE bugfender_hooks.probe (id int); SELECT pg_sleep(600)";
        let holder = scope.spawn(|| server.psql(database, hold));
        let sleeps =
            format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event = 'PgSleep'");
        wait_until("the name is taken", || server.psql("postgres", &sleeps) == "1");
        work();
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = '{database}' AND wait_event = 'PgSleep'"
        );
        server.psql("postgres", &end);
        // It fails, as it is stopped.
        let _ = holder.join();
    });
}

/// Whether a migration waits for the name.
fn waits(server: &Server, database: &str) -> bool {
    let sql =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event = 'transactionid'");
    server.psql("postgres", &sql) == "1"
}

#[test]
fn killed_in_the_middle_it_leaves_nothing() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let home = on(&server.url(&database));
    let mut second = None;
    in_the_middle(server, &database, || {
        let mut child = home.spawn(&["store", "migrate"]);
        wait_until("the migration waits", || waits(server, &database));
        // This one waits for the first.
        second = Some(home.spawn(&["store", "migrate"]));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(tables(server, &database), "0");
    });
    let run = Run::of(second.unwrap().wait_with_output().unwrap());
    assert_eq!(run.code, 0, "{run}");
    assert_run(&home, &["--check"], 0, "is up to date");
}

#[test]
fn a_server_process_that_is_killed_in_the_middle_leaves_nothing() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let home = on(&server.url(&database));
    in_the_middle(server, &database, || {
        let child = home.spawn(&["store", "migrate"]);
        wait_until("the migration waits", || waits(server, &database));
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = '{database}' AND wait_event = 'transactionid'"
        );
        server.psql("postgres", &end);
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, 9, "{run}");
    });
    assert_eq!(tables(server, &database), "0");
    assert_run(&home, &[], 0, "made a new store");
}

#[test]
fn a_process_that_is_killed_before_it_wrote_to_a_file_leaves_nothing() {
    let home = Home::new();
    assert_run(&home, &[], 0, "made a new registry");
    // As it was before its last step.
    let inbox = Connection::open(home.data().join("registry.inbox.db")).unwrap();
    inbox.execute_batch(INBOX_BEFORE_POLLING).unwrap();
    assert_run(&home, &["--check"], 9, "has schema 4, and the newest is 6");
    inbox.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut child = home.spawn(&["store", "migrate"]);
    thread::sleep(std::time::Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    inbox.execute_batch("ROLLBACK").unwrap();
    assert_run(&home, &["--check"], 9, "has schema 4, and the newest is 6");
    assert_run(&home, &[], 0, "from schema 4 to 6");
}
