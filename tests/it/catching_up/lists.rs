//! Lists in every form, and accounts for which they are not there.

use super::faults::status;
use super::*;
use crate::assert_shown;
use crate::support::issue_server::Reply;

#[test]
fn where_events_are_not_listed_groups_tell_that_some_came() {
    for answer in ["404 Not Found", "403 Forbidden"] {
        World::each(|world| {
            let receiver = world.receiver(&[]);
            world.hooks(&receiver, &["new_crash", "new_issue_separate"]);
            world.api.emit(APP, "crash", 1);
            world.end(receiver);
            // A webhook brought one 40 minutes ago, and nothing is newer than that.
            world.age_arrivals(MINUTE * 40);
            world.api.list_as(|issue| issue.created_at -= MINUTE * 40);
            world.api.script(move |ask, _| ask.is_for_issues().then(|| status(answer)));
            let run = world.fetch(&["--output", "json"]);
            assert_eq!(run.code, 0, "{run}");
            assert_eq!((&run.json()[0]["lists_events"], &run.json()[0]["silent_groups"]), (&json!(false), &json!({})));
            assert!(world.drifts(&[]).is_empty());
            world.api.make(APP, "crash", 2, ago(MINUTE * 20));
            let run = world.fetch(&["--dry-run"]);
            assert!(run.stderr.contains("2 groups of issues of type crash"), "{run}");
            assert!(world.drifts(&[]).is_empty());
            let run = world.fetch(&[]);
            assert_eq!(run.code, 0, "{run}");
            if answer.starts_with("404") && world.database.is_none() {
                assert_shown!("not_listed", run);
            }
            assert_eq!(world.drifts(&[]), ["missed"]);
            assert_eq!((world.events().len(), world.cursor(APP, IssueList::Open)), (1, None));
            // A webhook that comes is a sign of life.
            let receiver = world.receiver(&[]);
            world.api.emit(APP, "crash", 1);
            assert!(world.drifts(&[]).is_empty());
            world.end(receiver);
        });
    }
}

#[test]
fn where_nothing_is_there_it_is_an_error() {
    for (answer, code) in [("404 Not Found", 6), ("403 Forbidden", 5)] {
        let world = World::on_sqlite();
        world.without_receiver();
        world.api.script(move |_, _| Some(status(answer)));
        let run = world.fetch(&[]);
        assert_eq!(run.code, code, "{run}");
        assert_shown!(format!("not_there_{code}"), run);
    }
}

#[test]
fn one_app_that_fails_does_not_keep_others_back() {
    let world = World::on_sqlite();
    world.without_receiver();
    let receiver = world.receiver(&[]);
    world.subscribe(APP + 1, "new_crash", &receiver);
    world.end(receiver);
    world.age_hooks(HOUR);
    world.api.make(APP, "crash", 1, ago(MINUTE));
    world.api.make(APP + 1, "crash", 1, ago(MINUTE));
    world.api.script(|ask, _| ask.line.contains(&format!("/{APP}/")).then(|| status("400 Bad Request")));
    let run = world.fetch(&["--output", "json"]);
    assert_ne!(run.code, 0, "{run}");
    assert_eq!((run.json().as_array().unwrap().len(), world.events().len()), (1, 1), "{run}");
}

#[test]
fn what_has_fallen_out_of_retention_is_said() {
    let world = World::on_sqlite();
    world.without_receiver();
    for (said, shown) in [(json!(true), "1 or more rows have fallen"), (json!(7), ": 7 rows have fallen")] {
        world.api.account().out_of_retention = said;
        let run = world.fetch(&[]);
        assert_eq!(run.code, 0, "{run}");
        assert!(run.stderr.contains(shown), "{run}");
    }
    world.api.account().out_of_retention = json!(false);
    assert!(!world.fetch(&[]).stderr.contains("retention"));
}

#[test]
fn rows_are_read_in_whatever_form() {
    World::each(|world| {
        world.without_receiver();
        world.api.make(APP, "crash", 9, ago(MINUTE));
        let mut number = 0;
        world.api.list_as(|issue| {
            number += 1;
            let (row, at) = (issue.row.as_object_mut().unwrap(), issue.created_at);
            match number {
                1 => {
                    row.remove("id");
                    row.remove("uid");
                }
                2 => drop(row.remove("app")),
                3 => drop(row.remove("type")),
                4 => row["type"] = 1.into(),
                5 => row["type"] = "CRASH".into(),
                6 => row["created_at"] = at.to_string().trim_end_matches('Z').replace('T', " ").into(),
                7 => row["created_at"] = at.as_second().into(),
                8 => drop(row.remove("created_at")),
                _ => row["id"] = Value::Null,
            }
        });
        let run = world.fetch(&["--output", "json"]);
        let row = run.json()[0].clone();
        assert_eq!((run.code, &row["new"], &row["unreadable"]), (0, &json!(8), &json!(1)), "{run}");
        assert!(run.stderr.contains("1 row without an id left out"), "{run}");
        let events = world.events();
        assert!(events.iter().all(|event| event.app_id == Some(APP)), "{events:?}");
        let crashes = events
            .iter()
            .filter(|event| event.event_type.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("crash")));
        assert_eq!(crashes.count(), 7);
        assert_eq!(world.fetched(&[]), 0);
    });
}

#[test]
fn of_large_rows_fewer_are_asked_for_at_once() {
    let world = World::on_sqlite();
    world.without_receiver();
    world.api.make(APP, "crash", 120, ago(MINUTE));
    world.api.list_as(|issue| issue.row["text"] = "x".repeat(150_000).into());
    assert_eq!(world.fetched(&[]), 120);
    assert!(!world.api.requests("page_size=25&").is_empty());
    assert_eq!(world.fetched(&[]), 0);
}

#[test]
fn totals_may_be_missing_and_pages_empty() {
    for newest_first in [false, true] {
        let world = World::on_sqlite();
        world.without_receiver();
        let mut account = world.api.account();
        (account.newest_first, account.hides_totals) = (newest_first, true);
        drop(account);
        assert_eq!(world.fetched(&[]), 0);
        let made = world.api.make(APP, "crash", 300, ago(MINUTE));
        assert_eq!(world.fetched(&[]), 300);
        assert_eq!(world.ids(Via::Poll).len(), made.len());
        // An answer that is none is not taken for an empty page.
        world.api.script(|ask, _| ask.is_for_issues().then(|| Reply::Object(json!({"rows": []}))));
        let run = world.fetch(&[]);
        assert_eq!(run.code, 1, "{run}");
        assert!(run.stderr.contains("unexpected form"), "{run}");
    }
}

#[test]
fn no_row_is_skipped_while_rows_come_and_go() {
    for newest_first in [false, true] {
        let world = World::on_sqlite();
        world.without_receiver();
        let stays: Vec<String> = world
            .api
            .make(APP, "crash", 450, ago(MINUTE))
            .iter()
            .map(|issue| issue.event["id"].as_str().unwrap().to_owned())
            .collect();
        world.api.account().newest_first = newest_first;
        let mut count = 0;
        world.api.script(move |ask, account| {
            if ask.is_for_issues() && ask.line.contains("issue_status=1&") {
                count += 1;
                if newest_first && count < 40 {
                    // New ones come while the list is read.
                    let mut issue = account.issues[0].clone();
                    issue.created_at = Timestamp::now();
                    issue.row["id"] = format!("new-{count}").into();
                    issue.row["uid"] = Value::Null;
                    issue.row["created_at"] = issue.created_at.to_string().into();
                    account.issues.push(issue);
                } else if !newest_first && count < 4 {
                    // One of the oldest is deleted, after it was read.
                    account.issues.retain(|issue| issue.row["id"] != format!("crash-{}", count + 2).as_str());
                }
            }
            None
        });
        world.fetched(&[]);
        let stored = world.ids(Via::Poll);
        let lost: Vec<&String> = stays.iter().filter(|id| stored.binary_search(id).is_err()).collect();
        assert!(lost.len() <= if newest_first { 0 } else { 3 }, "{lost:?}");
        world.api.unscript();
        world.fetched(&[]);
        let all = world.api.account().issues.len();
        assert!(world.events().len() >= all);
    }
}
