//! A copy that is refused changes nothing.

use std::process::Child;

use super::{copy, filled, new_database, run_on, sqlite_url};
use crate::support::postgres::server;
use crate::support::{Home, wait_until};

/// A receiver, until it is dropped.
struct Listening(Child);

impl Listening {
    fn start(home: &Home, store: &str) -> Self {
        let file = home.path().join("ready.json");
        let _ = std::fs::remove_file(&file);
        let args = ["--store", store, "listen", "--listen", "127.0.0.1:0", "--ready-file", "ready.json"];
        let child = home.spawn(&args);
        wait_until("the receiver serves", || file.exists());
        Self(child)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn assert_refused(home: &Home, from: &str, to: &str, code: i32, says: &str) {
    let run = run_on(home, from, &["store", "copy", "--to", to]);
    assert!(run.code == code && run.stderr.contains(says), "{says}: {run}");
}

#[test]
fn while_somebody_receives() {
    let (home, from) = filled(10);
    let to = sqlite_url(&home, "copy.db");
    let receiver = Listening::start(&home, &from);
    assert_refused(&home, &from, &to, 9, "receives into it");
    drop(receiver);
    assert!(!home.path().join("copy.db").exists());
    copy(&home, &from, &to);
    let receiver = Listening::start(&home, &to);
    assert_refused(&home, &from, &to, 9, "receives into it");
    drop(receiver);
    let Some(server) = server() else { return };
    let (database, there) = new_database(server);
    copy(&home, &from, &there);
    let receiver = Listening::start(&home, &there);
    assert_refused(&home, &there, &sqlite_url(&home, "back.db"), 9, "receives into it");
    assert_refused(&home, &from, &there, 9, "receives into it");
    drop(receiver);
    // It was killed, and counts as there for a while.
    server.psql(&database, "UPDATE bugfender_hooks.roles SET until = now()");
    copy(&home, &there, &sqlite_url(&home, "back.db"));
}

#[test]
fn into_a_store_that_holds_something() {
    let (home, from) = filled(10);
    let (other, to) = filled(1);
    assert_refused(&home, &from, &to, 9, "something else than a copy of that store");
    assert_eq!(run_on(&other, &to, &["events", "export"]).stdout.lines().count(), 11);
    assert_refused(&home, &from, &from, 2, "onto itself");
    let none = sqlite_url(&home, "none.db");
    assert_refused(&home, &none, &sqlite_url(&home, "copy.db"), 9, "there is no store to copy");
    assert!(!home.path().join("copy.db").exists());
    let Some(server) = server() else { return };
    let (database, there) = new_database(server);
    assert_refused(&home, &there, &none, 9, "there is no store to copy");
    assert_eq!(run_on(&home, &there, &["store", "migrate"]).code, 0);
    server.psql(&database, "INSERT INTO bugfender_hooks.receiver_keys (key) VALUES ('0123456789abcdef')");
    assert_refused(&home, &from, &there, 9, "something else than a copy of that store");
}

#[test]
fn a_copy_that_differs_is_found() {
    let (home, from) = filled(10);
    let to = sqlite_url(&home, "copy.db");
    copy(&home, &from, &to);
    let change = |sql: &str| {
        let inbox = rusqlite::Connection::open(home.path().join("copy.inbox.db")).unwrap();
        inbox.execute_batch(sql).unwrap();
    };
    change("UPDATE deliveries SET body = CAST(body || x'20' AS BLOB) WHERE id = 3");
    assert_refused(&home, &from, &to, 9, "they differ in deliveries (");
    change("DELETE FROM events WHERE id = 5; UPDATE copied SET done = 0");
    assert_refused(&home, &from, &to, 9, "events (20 rows, 19 of them in the copy)");
    let Some(server) = server() else { return };
    let (database, there) = new_database(server);
    copy(&home, &from, &there);
    server.psql(&database, "UPDATE bugfender_hooks.hooks SET label = 'other' WHERE hook_id = 1");
    assert_refused(&home, &from, &there, 9, "they differ in hooks (5 rows, 5 of them in the copy)");
    server.psql(&database, "UPDATE bugfender_hooks.hooks SET label = NULL");
    copy(&home, &from, &there);
}

#[test]
fn a_password_on_the_command_line() {
    let (home, from) = filled(1);
    let run = run_on(&home, &from, &["store", "copy", "--to", "postgres://u:s3cret@db.example/hooks"]);
    assert!(run.code == 2 && run.stderr.contains("holds a password") && !run.stderr.contains("s3cret"), "{run}");
    assert!(run.stderr.contains("as @FILE"), "{run}");
    std::fs::write(home.path().join("to"), format!("{}\n", sqlite_url(&home, "copy.db"))).unwrap();
    copy(&home, &from, "@to");
}
