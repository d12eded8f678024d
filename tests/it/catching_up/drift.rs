//! Hooks that may not deliver any more, and what `list` says of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::assert_shown;
use crate::support::{Scripted, answer, free_address};

#[test]
fn a_deactivated_hook_is_known_by_what_it_missed() {
    World::each(|world| {
        let receiver = world.receiver(&["--catch-up", "1s"]);
        world.hooks(&receiver, &["new_crash"]);
        world.api.emit(APP, "crash", 2);
        wait_for_a_round(world);
        assert!(world.drifts(&[]).is_empty());
        let hooks = world.api.account().hooks.clone();
        world.api.deactivate();
        world.api.emit(APP, "crash", 3);
        wait_until("they are caught up with", || world.events().len() == 5);
        wait_until("it is on record", || world.drifts(&[]) == ["missed"]);
        let (rows, _) = world.drift(&[]);
        assert!(rows[0]["detail"].as_str().unwrap().starts_with("3 events that no webhook brought"), "{rows}");
        assert_eq!(world.home.run(["drift", "--exit-zero"]).code, 0);
        if world.database.is_none() {
            assert_shown!("missed", world.home.run(["drift"]));
        }
        // Later rounds do not count them again.
        wait_for_a_round(world);
        assert_eq!(world.drift(&[]).0[0]["detail"], rows[0]["detail"]);
        world.api.emit(APP, "crash", 2);
        wait_until("they are caught up with", || world.events().len() == 7);
        wait_until("they are counted", || {
            world.drift(&[]).0[0]["detail"].as_str().unwrap().starts_with("5 events that no webhook brought")
        });
        // A webhook that comes clears it, from the next second on, as times may have no fractions.
        let second = Timestamp::now().as_second();
        wait_until("a second is over", || Timestamp::now().as_second() > second);
        world.api.account().hooks = hooks;
        world.api.emit(APP, "crash", 1);
        assert!(world.drifts(&[]).is_empty());
        wait_for_a_round(world);
        assert!(world.drifts(&[]).is_empty());
        world.end(receiver);
        // And the count begins anew.
        world.api.emit(APP, "crash", 1);
        assert_eq!(world.fetched(&[]), 1);
        assert!(
            world.drift(&[]).0[0]["detail"].as_str().unwrap().starts_with("1 event that"),
            "{:?}",
            world.drift(&[])
        );
    });
}

#[test]
fn a_late_webhook_of_what_was_fetched_is_a_sign_of_life() {
    World::each(|world| {
        world.without_receiver();
        world.api.make(APP, "crash", 2, ago(MINUTE));
        assert_eq!(world.fetched(&[]), 2);
        assert_eq!(world.drifts(&[]), ["missed"]);
        let receiver = world.receiver(&[]);
        let events: Vec<Value> = world.api.account().issues.iter().map(|issue| issue.event.clone()).collect();
        assert_eq!(receiver.post(json!(events).to_string()).json()["duplicates"], 2);
        world.end(receiver);
        assert!(world.drifts(&[]).is_empty());
    });
}

/// Hooks in each state.
#[test]
fn what_is_gone_or_in_doubt_is_drift() {
    World::each(|world| {
        let receiver = world.receiver(&[]);
        world.hooks(&receiver, &["new_crash", "new_issue_separate", "new_user_feedback"]);
        world.end(receiver);
        let hooks: Vec<i64> = world.api.account().hooks.keys().copied().collect();
        world.api.account().hooks.remove(&hooks[0]);
        assert_eq!(world.home.run(["unsubscribe", &hooks[0].to_string()]).code, 6);
        world.sql("registry.db", &format!("UPDATE hooks SET status = 'unknown' WHERE hook_id = {}", hooks[1]));
        let (rows, code) = world.drift(&[]);
        let kinds: Vec<(i64, &str)> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["hook_id"].as_i64().unwrap(), row["drift"].as_str().unwrap()))
            .collect();
        assert_eq!((sorted_pairs(kinds), code), (vec![(hooks[0], "ended"), (hooks[1], "unknown")], 10), "{rows}");
        if world.database.is_none() {
            assert_shown!("ended_and_unknown", world.home.run(["drift"]));
        }
        // Filters choose.
        assert_eq!(world.drifts(&["--event", "new_crash"]), ["ended"]);
        assert!(world.drifts(&["--event", "new_user_feedback"]).is_empty());
        assert!(world.drifts(&["--app-id", "1"]).is_empty());
        // Another one took its place.
        let receiver = world.receiver(&[]);
        world.subscribe(APP, "new_crash", &receiver);
        world.end(receiver);
        assert_eq!(world.drifts(&[]), ["unknown"]);
    });
}

fn sorted_pairs(mut pairs: Vec<(i64, &str)>) -> Vec<(i64, &str)> {
    pairs.sort_unstable();
    pairs
}

#[test]
fn silence_is_drift_after_a_time() {
    World::each(|world| {
        let receiver = world.receiver(&[]);
        world.hooks(&receiver, &["new_crash", "new_issue_separate"]);
        world.age_hooks(HOUR * 24 * 8);
        world.api.emit(APP, "crash", 1);
        assert_eq!(world.drifts(&[]), ["silent"]);
        assert!(world.drifts(&["--silent-for", "9d"]).is_empty());
        world.age_arrivals(HOUR * 24 * 2);
        assert_eq!(world.drifts(&["--silent-for", "1d"]), ["silent", "silent"]);
        if world.database.is_none() {
            assert_shown!("silent", world.home.run(["drift"]));
        }
        world.end(receiver);
    });
}

#[test]
fn hooks_that_deliver_elsewhere_are_not_silent() {
    let world = World::on_sqlite();
    world.home.subscribe(&APP.to_string(), "new_crash", "https://chat.example.com/services/x");
    world.age_hooks(HOUR * 24 * 30);
    let run = world.home.run(["drift"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("there is no inbox"), "{run}");
    world.without_receiver();
    let run = world.home.run(["drift"]);
    assert_eq!(run.code, 0, "{run}");
    assert_shown!("elsewhere", run);
}

#[test]
fn hooks_for_the_same_events_are_said_to_share_them() {
    World::each(|world| {
        let receiver = world.receiver(&[]);
        world.hooks(&receiver, &["new_crash", "new_issue_separate"]);
        world.home.subscribe(&APP.to_string(), "new_crash", "https://chat.example.com/services/x");
        world.age_hooks(HOUR);
        world.api.emit(APP, "issue", 1);
        let events = world.api.make(APP, "crash", 1, Timestamp::now());
        assert_eq!(receiver.post(json!([events[0].event]).to_string()).status, 200);
        let rows = world.home.json(&["list"]);
        let signs = |event: &str| -> Vec<(bool, bool, bool)> {
            let rows = rows.as_array().unwrap().iter().filter(|row| row["event"] == event);
            let is = |row: &Value, key: &str| !row[key].is_null();
            rows.map(|row| (is(row, "last_event_at"), is(row, "verified_at"), row["shares_events"] == true)).collect()
        };
        assert_eq!(signs("new_crash"), [(true, false, true); 2], "{rows}");
        assert_eq!(signs("new_issue_separate"), [(true, true, false)], "{rows}");
        let names: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names[names.len() - 3..], ["last_event_at", "verified_at", "shares_events"]);
        let csv = world.home.run(["list", "--output", "csv"]).stdout;
        assert!(csv.lines().next().unwrap().ends_with(",last_event_at,verified_at,shares_events"), "{csv}");
        let table = world.home.run(["list"]).stdout;
        assert!(table.contains("LAST EVENT"), "{table}");
        world.end(receiver);
        world.api.emit(APP, "crash", 1);
        assert_eq!(world.fetched(&[]), 1);
        let (rows, _) = world.drift(&[]);
        assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
        assert!(
            rows[0]["detail"].as_str().unwrap().ends_with("which of the hooks for this app and event is not known")
        );
    });
}

#[test]
fn endpoints_are_probed_once_each() {
    let world = World::on_sqlite();
    let (asked, status) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(200)));
    let (count, code) = (Arc::clone(&asked), Arc::clone(&status));
    let endpoint = Scripted::start(move |_, exchange| {
        assert_eq!((exchange.line.as_str(), exchange.body.as_str()), ("POST /s3cret-path", "[]"));
        count.fetch_add(1, Ordering::SeqCst);
        exchange.send(answer(&format!("{} x", code.load(Ordering::SeqCst)), &[], ""));
    });
    let url = format!("{}/s3cret-path", endpoint.url);
    for event in ["new_crash", "new_issue_separate"] {
        world.home.subscribe(&APP.to_string(), event, &url);
    }
    let probe = ["--probe"];
    assert!(world.drifts(&[]).is_empty());
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    for fine in [200, 204, 400, 422] {
        status.store(fine, Ordering::SeqCst);
        assert!(world.drifts(&probe).is_empty(), "{fine}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    for bad in [404, 403, 500, 302] {
        status.store(bad, Ordering::SeqCst);
        assert_eq!(world.drifts(&probe), ["unreachable", "unreachable"], "{bad}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 8);
    let down = format!("http://{}/s3cret-down", free_address());
    world.home.subscribe(&(APP + 1).to_string(), "new_crash", &down);
    status.store(404, Ordering::SeqCst);
    let (rows, code) = world.drift(&probe);
    assert_eq!((rows.as_array().unwrap().len(), code), (3, 10), "{rows}");
    let run = world.home.run(["drift", "--probe", "--app-id", &APP.to_string()]);
    assert_shown!("unreachable", run);
    for row in rows.as_array().unwrap() {
        assert!(!row["detail"].as_str().unwrap().contains("s3cret"), "{row}");
    }
    // One that is removed is not asked.
    assert_eq!(world.home.run(["unsubscribe", "--all", "--yes"]).code, 0);
    let before = asked.load(Ordering::SeqCst);
    assert!(world.drifts(&probe).is_empty());
    assert_eq!(asked.load(Ordering::SeqCst), before);
}
