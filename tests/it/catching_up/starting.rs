//! From when on is read, which apps and types, and what counts for the next time.

use super::*;

#[test]
fn nothing_is_fetched_from_before_the_hook_unless_it_is_asked_for() {
    World::each(|world| {
        let receiver = world.receiver(&[]);
        world.subscribe(APP, "new_crash", &receiver);
        world.age_hooks(HOUR);
        world.subscribe(APP, "new_issue_separate", &receiver);
        world.end(receiver);
        for (kind, minutes) in [("crash", 90), ("crash", 30), ("issue", 30), ("issue", 0)] {
            world.api.make(APP, kind, 1, ago(MINUTE * minutes));
        }
        assert_eq!(world.fetched(&[]), 2);
        assert_eq!(world.ids(Via::Poll).len(), 2);
        assert_eq!(world.fetched(&["--since", "2h"]), 2);
        assert_eq!(world.events().len(), 4);
    });
}

#[test]
fn types_are_those_of_the_hooks_or_those_that_are_named() {
    World::each(|world| {
        world.without_receiver();
        for kind in ["crash", "issue", "feedback"] {
            world.api.make(APP, kind, 2, ago(MINUTE * 30));
        }
        let types = || {
            let mut types: Vec<String> = world.events().into_iter().filter_map(|event| event.event_type).collect();
            types.dedup();
            types
        };
        assert_eq!(world.fetched(&["--type", "new_issue_separate"]), 2);
        assert_eq!(types(), ["issue"]);
        // What was left out is not taken for read: even without an overlap it is found.
        assert_eq!(world.cursor(APP, IssueList::Open), None);
        assert_eq!(world.fetched(&["--look-back", "0"]), 2);
        assert_eq!(types(), ["issue", "crash"]);
        assert!(world.cursor(APP, IssueList::Open).is_some());
        assert_eq!(world.fetched(&["--type", "feedback,crash", "--since", "1h"]), 2);
        assert_eq!(types(), ["issue", "crash", "feedback"]);
    });
}

#[test]
fn apps_are_those_on_record_or_those_that_are_named() {
    World::each(|world| {
        let run = world.fetch(&[]);
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains("no hooks on record"), "{run}");
        world.without_receiver();
        let other = APP + 1;
        world.api.make(APP, "crash", 1, ago(MINUTE));
        world.api.make(other, "crash", 2, ago(MINUTE));
        assert_eq!(world.fetched(&[]), 1);
        assert!(world.api.requests(&format!("/app/{other}/")).is_empty());
        let named = ["--app-id", &other.to_string()];
        let run = world.fetch(&named);
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains("--since"), "{run}");
        assert_eq!(world.fetched(&[&named[..], &["--since", "1h"]].concat()), 2);
        // From there it goes on by itself.
        world.api.make(other, "feedback", 1, Timestamp::now());
        assert_eq!(world.fetched(&named), 1);
        // A hook that has ended is none.
        assert_eq!(world.home.run(["unsubscribe", "--all", "--yes"]).code, 0);
        assert_eq!(world.fetch(&[]).code, 2);
    });
}

#[test]
fn a_dry_run_changes_nothing() {
    World::each(|world| {
        world.home.json(&[
            "import",
            "7",
            "--app-id",
            "30525",
            "--event",
            "new_crash",
            "--target-url",
            "https://x.example",
        ]);
        world.age_hooks(HOUR);
        world.api.make(APP, "crash", 3, ago(MINUTE));
        let run = world.fetch(&["--dry-run", "--output", "json"]);
        assert_eq!((run.code, &run.json()[0]["new"]), (0, &json!(3)), "{run}");
        // Not even an inbox is made.
        assert!(world.database.is_some() || !world.home.data().join("registry.inbox.db").exists());
        assert_eq!((world.events().len(), world.cursor(APP, IssueList::Open)), (0, None));
        assert_eq!(world.fetched(&[]), 3);
        let cursor = world.cursor(APP, IssueList::Open);
        world.api.make(APP, "crash", 1, ago(MINUTE));
        assert_eq!(world.fetched(&["--dry-run"]), 1);
        assert_eq!((world.events().len(), world.cursor(APP, IssueList::Open)), (3, cursor));
        assert_eq!(world.drifts(&[]), ["missed"]);
    });
}

#[test]
fn a_start_that_leaves_something_out_does_not_count() {
    World::each(|world| {
        world.without_receiver();
        let none = ["--look-back", "0"];
        world.api.make(APP, "crash", 1, ago(MINUTE * 30));
        world.api.make(APP, "crash", 1, ago(MINUTE * 5));
        // Before anything was read, too.
        assert_eq!(world.fetched(&[&none[..], &["--since", "10m"]].concat()), 1);
        assert_eq!(world.cursor(APP, IssueList::Open), None);
        assert_eq!(world.fetched(&none), 1);
        let cursor = world.cursor(APP, IssueList::Open).unwrap();
        world.sql("registry.inbox.db", &format!("UPDATE polls SET polled_until = polled_until - {}", 1_800_000_000));
        world.api.make(APP, "crash", 1, ago(MINUTE * 15));
        assert_eq!(world.fetched(&[&none[..], &["--since", "10m"]].concat()), 0);
        assert_eq!(world.cursor(APP, IssueList::Open), Some(cursor - MINUTE * 30));
        assert_eq!(world.fetched(&none), 1);
        assert!(world.cursor(APP, IssueList::Open).unwrap() > cursor);
        assert_eq!(world.events().len(), 3);
    });
}

#[test]
fn an_event_that_is_listed_late_is_found_by_the_overlap() {
    World::each(|world| {
        world.without_receiver();
        world.api.make(APP, "crash", 1, Timestamp::now());
        assert_eq!(world.fetched(&[]), 1);
        world.api.make(APP, "crash", 1, ago(MINUTE * 50));
        assert_eq!(world.fetched(&["--look-back", "30m"]), 0);
        assert_eq!(world.fetched(&[]), 1);
    });
}
