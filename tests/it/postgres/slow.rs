//! A server that is far away, or busy: nothing that it answers is late.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use super::proxy::CutProxy;
use crate::support::bugfender::{Bugfender, Trouble};
use crate::support::postgres::{Server, server};
use crate::support::{Home, Run, wait_until};

const CRASHES: [&str; 7] =
    ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "https://hooks.example.com/bf"];

/// Longer than one step of waiting for a lock.
const LATENCY: Duration = Duration::from_millis(150);

/// A registry with these many hooks, kept by a slow server.
fn far_away(server: &Server, database: &str, hooks: usize) -> (Bugfender, Home) {
    let bugfender = Bugfender::start(Trouble::default());
    let near = Home::at(&bugfender.url, "t").set("BUGFENDER_HOOKS_STORE", &server.url(database));
    for app in 1..=hooks {
        near.json(&["subscribe", "--app-id", &app.to_string(), "--event", "new_crash", "--target-url", CRASHES[6]]);
    }
    let proxy = CutProxy::slow(server, LATENCY);
    (bugfender, near.set("BUGFENDER_HOOKS_STORE", &proxy.url(database)))
}

#[test]
fn hooks_are_removed_and_replaced_by_way_of_a_slow_server() {
    let Some(server) = server() else { return };
    let (bugfender, home) = far_away(server, &server.new_database(), 3);
    let run = home.run(CRASHES.iter().chain(&["--replace", "-q"]));
    assert_eq!((run.code, &*run.stdout, bugfender.hooks().len()), (0, "4\n", 3), "{run}");
    let run = home.run(["unsubscribe", "--all", "--yes"]);
    assert_eq!((run.code, bugfender.hooks().len()), (0, 0), "{run}");
    assert_eq!(home.statuses(), vec!["removed"; 4]);
}

#[test]
fn a_row_that_is_locked_for_long_is_removed_when_it_is_free() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let (bugfender, home) = far_away(server, &database, 1);
    let holding = "SELECT id FROM bugfender_hooks.hooks FOR UPDATE; SELECT pg_sleep(600)";
    let mut holder =
        server.psql_command(&database, &format!("BEGIN; {holding}")).stderr(Stdio::null()).spawn().unwrap();
    let held = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    wait_until("the row is locked", || server.psql(&database, held) == "1");
    let child = home.spawn(&["unsubscribe", "1"]);
    // Each try to get the lock ends after a while, and is followed by another transaction.
    let waiting =
        "SELECT xact_start FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut tries = BTreeSet::new();
    wait_until("it has tried three times", || {
        tries.extend(Some(server.psql(&database, waiting)).filter(|start| !start.is_empty()));
        tries.len() == 3
    });
    assert_eq!(bugfender.hooks().len(), 1);
    let release = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event = 'PgSleep'";
    server.psql(&database, release);
    holder.wait().unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.code, bugfender.hooks().len()), (0, 0), "{run}");
}
