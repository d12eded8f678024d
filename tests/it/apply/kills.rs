//! Killed at any time, and run again: one hook for each that the manifest names, or those are named of which it is not known.

use std::collections::{BTreeMap, BTreeSet};

use super::{Manifest, apply, hooks_on_record};
use crate::support::bugfender::{Bugfender, HookFor, Trouble};
use crate::support::postgres::server;
use crate::support::{Home, Run};

/// How many runs are killed.
const KILLS: u32 = 200;

/// How many of them work on the same manifest.
const KILLS_OF_A_VERSION: u32 = 10;

/// Once a process is killed, nobody waits for the time that it had left.
type EndTime<'a> = &'a dyn Fn();

const TROUBLE: Trouble = Trouble {
    unavailable: 8,
    too_fast: 4,
    broken: 2,
    cut_short: 2,
    refused: 2,
    most_at_once: None,
    latency: std::time::Duration::from_millis(2),
};

#[test]
fn killed_two_hundred_times_on_sqlite() {
    let bugfender = Bugfender::start(TROUBLE);
    kill_again_and_again(&bugfender, &Home::at(&bugfender.url, "t"), &|| {});
}

#[test]
fn killed_two_hundred_times_on_postgresql() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let bugfender = Bugfender::start(TROUBLE);
    let home = Home::at(&bugfender.url, "t").set("BUGFENDER_HOOKS_STORE", &server.url(&database));
    kill_again_and_again(&bugfender, &home, &|| {
        let owners = "UPDATE bugfender_hooks.hooks SET owned_until = now() WHERE owned_until IS NOT NULL";
        server.psql(&database, &format!("{owners}; DELETE FROM bugfender_hooks.manifest_locks"));
    });
}

fn manifest(version: u32) -> Manifest {
    let target = format!("https://hooks.example.com/v{version}");
    let apps: Vec<i64> = (1..=8).collect();
    Manifest { name: "mobile", hooks: vec![(apps, "all", target)] }
}

fn kill_again_and_again(bugfender: &Bugfender, home: &Home, end_time: EndTime<'_>) {
    manifest(0).write(home);
    settle(bugfender, home, end_time, 0);
    bugfender.set(Trouble { latency: TROUBLE.latency, ..Trouble::default() });
    manifest(1).write(home);
    let started = std::time::Instant::now();
    settle(bugfender, home, end_time, 1);
    let whole = started.elapsed();
    bugfender.set(TROUBLE);
    let mut interrupted = 0;
    for kill in 0..KILLS {
        let version = kill / KILLS_OF_A_VERSION + 2;
        manifest(version).write(home);
        let mut child = home.spawn(&["apply", "-f", "hooks.toml", "--yes", "--initial", "--concurrency", "6"]);
        // Not a wait for something: the moment of death is what varies.
        std::thread::sleep(whole * (kill * 7 % 40) / 40);
        interrupted += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        end_time();
        none_is_an_orphan(bugfender, home);
        if kill % KILLS_OF_A_VERSION == KILLS_OF_A_VERSION - 1 {
            settle(bugfender, home, end_time, version);
        }
    }
    assert!(interrupted > KILLS / 4, "only {interrupted} were at work when they were killed");
    // At no moment an event of an app was without a hook.
    assert_eq!(bugfender.gaps(), []);
}

/// Every hook that there is has a row: with its number, or one that says that it may be.
fn none_is_an_orphan(bugfender: &Bugfender, home: &Home) {
    let rows = hooks_on_record(home);
    let known: BTreeSet<i64> = rows.iter().filter_map(|row| row["hook_id"].as_i64()).collect();
    let in_doubt: BTreeSet<HookFor> = rows.iter().filter(|row| row["hook_id"].is_null()).map(hook_for).collect();
    for (id, hook) in bugfender.hooks() {
        assert!(known.contains(&id) || in_doubt.contains(&hook), "no row for {id}: {hook:?}");
    }
}

fn hook_for(row: &serde_json::Value) -> HookFor {
    let text = |key: &str| row[key].as_str().unwrap().to_owned();
    (row["app_id"].as_i64().unwrap(), text("event"), text("target_url"))
}

/// Runs it until it is done, and does for what is unknown what the errors say.
fn settle(bugfender: &Bugfender, home: &Home, end_time: EndTime<'_>, version: u32) {
    let mut runs = Vec::new();
    loop {
        let run = apply(home, &["--yes", "--initial"]);
        end_time();
        none_is_an_orphan(bugfender, home);
        let code = run.code;
        runs.push(run);
        if code == 0 {
            break;
        }
        assert!(runs.len() < 40, "{}", runs.iter().map(Run::to_string).collect::<String>());
        if code == 8 {
            resolve(bugfender, home);
        }
    }
    let mut wanted: BTreeMap<HookFor, usize> = BTreeMap::new();
    for app in 1..=8 {
        for event in ["new_crash", "new_issue_separate", "new_user_feedback"] {
            wanted.insert((app, event.to_owned(), format!("https://hooks.example.com/v{version}")), 1);
        }
    }
    let mut found: BTreeMap<HookFor, usize> = BTreeMap::new();
    for hook in bugfender.hooks().into_values() {
        *found.entry(hook).or_default() += 1;
    }
    assert_eq!(found, wanted, "{}", runs.iter().map(Run::to_string).collect::<String>());
    let plan = home.run(["plan", "-f", "hooks.toml", "--detailed-exitcode"]);
    assert_eq!(plan.code, 0, "{plan}");
}

/// Looks for unknown hooks in the dashboard, and records what is found.
fn resolve(bugfender: &Bugfender, home: &Home) {
    let rows = hooks_on_record(home);
    let known: BTreeSet<i64> = rows.iter().filter_map(|row| row["hook_id"].as_i64()).collect();
    for row in rows.iter().filter(|row| row["status"] == "unknown") {
        let wanted = hook_for(row);
        let unknown = bugfender.hooks().into_iter().filter(|(id, hook)| *hook == wanted && !known.contains(id));
        let ids: Vec<String> = unknown.map(|(id, _)| id.to_string()).collect();
        let (app, event, target) = (wanted.0.to_string(), wanted.1, wanted.2);
        let selector = ["--app-id", &app, "--event", &event, "--target-url", &target];
        let run = match ids.first() {
            Some(id) => home.run([&["import", id.as_str()], &selector[..]].concat()),
            None => home.run([&["forget", "--yes", "--status", "unknown"], &selector[..]].concat()),
        };
        assert_eq!(run.code, 0, "{run}");
    }
}
