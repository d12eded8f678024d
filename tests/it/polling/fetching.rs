//! What is fetched, from when on, and what is said.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{APP, came, fetch, fetched, home, inbox, numbers, on_postgresql, on_sqlite, subscribe};
use crate::listen::Receiver;
use crate::listen::sink::Sink;
use crate::support::issue_api::{IssueApi, IssueFault, Listing};
use crate::support::{Home, wait_until};

/// A hook of a receiver that has had two crashes and is gone, and its home.
fn after_two_crashes(api: &IssueApi) -> Home {
    let home = home(api);
    let receiver = Receiver::start(&home, &[]);
    subscribe(&home, &receiver, "new_crash");
    api.emit(APP, "crash", 2);
    assert_eq!(receiver.end().0, 0);
    home
}

#[test]
fn pages_in_either_order_are_read_to_their_end_while_the_list_grows() {
    for newest_first in [true, false] {
        let api = IssueApi::start();
        let home = after_two_crashes(&api);
        let missed = api.emit(APP, "crash", 345);
        api.set(Listing { newest_first, grows: true, ..Listing::default() });
        fetched(&home, &[]);
        let found = inbox(&home);
        assert!(missed.iter().all(|id| found.contains_key(id)), "{newest_first}");
        assert_eq!(came(&home, "webhook"), 2);
    }
}

#[test]
fn the_second_round_begins_where_the_first_ended() {
    let api = IssueApi::start();
    let home = after_two_crashes(&api);
    assert_eq!(numbers(&fetched(&home, &["--dry-run"])), [2, 2, 0, 0]);
    api.emit(APP, "crash", 3);
    assert_eq!(numbers(&fetched(&home, &["--dry-run"])), [5, 2, 0, 3]);
    assert_eq!(came(&home, "poll"), 0);
    assert_eq!(numbers(&fetched(&home, &[])), [5, 2, 0, 3]);
    let second = Timestamp::now() + SignedDuration::from_secs(1);
    wait_until("a second is over", || Timestamp::now() > second);
    fetched(&home, &[]);
    let row = fetched(&home, &["--look-back", "0"]);
    assert!(row["from"].as_str() > fetched(&home, &[])["from"].as_str(), "{row}");
    // A start that leaves something out does not count: what came before it is found by the next round.
    let made = api.emit_at(APP, "crash", 1, Timestamp::now());
    let later = (Timestamp::now() + SignedDuration::from_secs(1)).to_string();
    assert_eq!(numbers(&fetched(&home, &["--since", &later]))[3], 0);
    assert_eq!(numbers(&fetched(&home, &["--look-back", "1m"]))[3], 1);
    assert_eq!(inbox(&home)[&made[0]], "poll");
}

#[test]
fn nothing_is_fetched_from_before_the_hook_unless_it_is_asked_for() {
    let api = IssueApi::start();
    let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    let old = api.emit_at(APP, "crash", 2, hour_ago);
    let home = after_two_crashes(&api);
    api.emit(APP, "issue", 1);
    // Of the types of its hooks, as nothing else is asked for.
    assert_eq!(numbers(&fetched(&home, &[])), [3, 2, 1, 0]);
    assert_eq!(numbers(&fetched(&home, &["--app-id", "1001"])), [3, 2, 0, 1]);
    assert_eq!(numbers(&fetched(&home, &["--since", "2h", "--type", "issue"])), [5, 1, 4, 0]);
    assert_eq!(numbers(&fetched(&home, &["--since", "2h"]))[3], 2);
    assert!(old.iter().all(|id| inbox(&home)[id] == "poll"));
    let none = fetch(&home, &["--app-id", "7"]);
    assert_eq!(none.code, 2, "{none}");
    assert!(none.stderr.contains("--since 24h"), "{none}");
}

#[test]
fn without_hooks_nothing_says_what_to_read() {
    let api = IssueApi::start();
    let run = fetch(&home(&api), &[]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("--app-id"), "{run}");
}

#[test]
fn what_the_api_does_not_list_is_said_and_groups_are_asked_for() {
    let api = IssueApi::start();
    let home = after_two_crashes(&api);
    // The hook brings nothing any more.
    api.deactivate_all();
    for status in [404, 403] {
        api.set(Listing { status, ..Listing::default() });
        let run = fetch(&home, &[]);
        assert_eq!(run.code, 0, "{run}");
        assert_eq!((&run.json()[0]["lists_events"], numbers(&run.json()[0])[3]), (&json!(false), 0));
        assert!(run.stderr.contains("the API does not list its events"), "{run}");
    }
    api.set(Listing { status: 403, groups_status: 403, ..Listing::default() });
    assert_eq!(fetch(&home, &[]).code, 5);
    api.set(Listing { status: 404, groups_status: 404, ..Listing::default() });
    assert_eq!(fetch(&home, &[]).code, 6);
}

#[test]
fn what_has_fallen_out_of_retention_is_counted() {
    for (says, counted) in [(json!(true), 1), (json!(12), 12), (json!(false), 0)] {
        let api = IssueApi::start();
        let home = after_two_crashes(&api);
        api.set(Listing { out_of_retention: says, ..Listing::default() });
        let run = fetch(&home, &[]);
        assert_eq!(run.json()[0]["out_of_retention"], counted, "{run}");
        assert_eq!(run.stderr.contains("retention"), counted > 0, "{run}");
    }
}

#[test]
fn rows_in_odd_forms_are_stored_as_what_they_are() {
    let api = IssueApi::start();
    let home = after_two_crashes(&api);
    let now = Timestamp::now().to_string();
    api.list(APP, json!({"id": "bare", "created_at": now}));
    api.list(APP, json!({"id": "numbered-type", "type": 1, "created_at": now}));
    api.list(APP, json!({"title": "without an id", "created_at": now}));
    api.list(APP, json!({"id": "closed-one", "type": "crash", "status": "closed", "created_at": now, "text": "x".repeat(3_000_000)}));
    let run = fetch(&home, &[]);
    assert_eq!((run.code, numbers(&run.json()[0])[3], &run.json()[0]["unreadable"]), (0, 3, &json!(1)), "{run}");
    assert!(run.stderr.contains("1 row without an id left out"), "{run}");
    let shown = |id: &str| home.json(&["events", "show", id]);
    assert_eq!((&shown("bare")["app_id"], &shown("bare")["type"]), (&json!(APP), &json!(null)));
    assert_eq!(shown("numbered-type")["type"], "crash");
    assert_eq!(shown("closed-one")["via"], "poll");
}

#[test]
fn pages_that_are_too_large_are_read_in_smaller_ones() {
    let api = IssueApi::start();
    let home = after_two_crashes(&api);
    let now = Timestamp::now().to_string();
    for number in 0..20 {
        api.list(
            APP,
            json!({"id": format!("large-{number}"), "type": "crash", "created_at": now, "text": "x".repeat(900_000)}),
        );
    }
    fetched(&home, &[]);
    assert_eq!(came(&home, "poll"), 20);
}

#[test]
fn the_server_says_how_fast() {
    let api = IssueApi::start();
    let home = after_two_crashes(&api);
    api.emit(APP, "crash", 3);
    api.asked();
    api.fail_next([IssueFault::Status(429, Some("1")), IssueFault::Status(503, None), IssueFault::Cut]);
    assert_eq!(numbers(&fetched(&home, &[]))[3], 3);
    let asked = api.asked();
    assert!(asked[1].0 - asked[0].0 >= Duration::from_secs(1), "{asked:?}");
    assert_eq!(asked.len(), 5, "{asked:?}");
    api.fail_next(vec![IssueFault::Status(503, Some("0")); 6]);
    assert_eq!(fetch(&home, &[]).code, 7);
    assert_eq!(fetch(&home, &["--since", "1h"]).code, 0);
    let signed_out = home.command(["events", "fetch"]).env("BUGFENDER_API_TOKEN", "wrong").output().unwrap();
    assert_eq!(signed_out.status.code(), Some(4));
}

/// Beside a receiver: its own process stores, or the one that has the inbox for itself.
fn beside_a_receiver(api: &IssueApi, home: &Home) {
    let sink = Sink::always("200 OK");
    let receiver = Receiver::start(home, &["--forward-to", &sink.url]);
    subscribe(home, &receiver, "new_crash");
    api.emit(APP, "crash", 2);
    wait_until("they are forwarded", || sink.calls().len() == 1);
    api.deactivate_all();
    api.emit(APP, "crash", 3);
    assert_eq!(numbers(&fetched(home, &[])), [5, 2, 0, 3]);
    let mut missed = api.emit(APP, "crash", 120);
    assert_eq!(numbers(&fetched(home, &["--forward"])), [125, 5, 0, 120]);
    assert_eq!(numbers(&fetched(home, &["--forward"])), [125, 125, 0, 0]);
    missed.sort();
    let forwarded = || -> Vec<String> {
        let mut ids: Vec<String> = sink.arrivals().into_iter().skip(2).collect();
        ids.sort();
        ids
    };
    wait_until("the second are forwarded, and not the first", || forwarded() == missed);
    assert_eq!((came(home, "webhook"), came(home, "poll")), (2, 123));
    assert_eq!(receiver.end().0, 0);
    assert_eq!(forwarded(), missed);
}

#[test]
fn it_works_beside_a_receiver_on_sqlite() {
    on_sqlite(beside_a_receiver);
}

#[test]
fn it_works_beside_a_receiver_on_postgresql() {
    on_postgresql(beside_a_receiver);
}

#[test]
fn what_is_to_be_redacted_is_not_stored() {
    let api = IssueApi::start();
    let home = after_two_crashes(&api);
    let [id] = &api.emit(APP, "crash", 1)[..] else { panic!("there is one") };
    fetched(&home, &["--redact", "text,device"]);
    let shown = home.run(["events", "show", "--raw", id]).stdout;
    assert!(shown.contains("Boom") && !shown.contains("broke") && !shown.contains("Pixel"), "{shown}");
}
