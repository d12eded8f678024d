//! `events`, over an inbox that was filled as a receiver fills it.

mod large;
mod replay;
mod tail;

use std::time::Duration;

use bugfender_hooks::store::sqlite::SqliteStore;
use bugfender_hooks::store::{AttemptOutcome, AttemptReport, ClaimRequest, Route, Settlement, Store, TargetName};
use serde_json::{Value, json};

use crate::assert_shown;
use crate::support::inbox::{at, bugfender, encoded, instabug};
use crate::support::{Home, Terminal, have};

/// A crash as nobody would write it by hand: every byte of it must come back.
const CRASH: &str = "{ \"id\":\"crash-1\",\n  \"type\":\"crash\", \"title\":\"Out of \\u001b[31mmemory\",\"app\":{\"id\":7},\"big\":1.0e400,\
                     \"b\":[1,  {}],\"a\":\"x \u{202e}y \\\" z\",\"n\":12345678901234567890123}";

/// The same on one line, with what acts on a terminal escaped.
const CRASH_LINE: &str = r#"{"id":"crash-1","type":"crash","title":"Out of \u001b[31mmemory","app":{"id":7},"big":1.0e400,"b":[1,{}],"a":"x \u202ey \" z","n":12345678901234567890123}"#;

fn store(home: &Home) -> SqliteStore {
    SqliteStore::at(&home.registry())
}

/// crash-1 of app 7 is dead, issue-2 of app 8 forwarded, feedback-3 of app 8 pending; event 4 has neither type nor
/// target; an Instabug report is the newest; crash-1 came twice, and one delivery could not be read.
fn filled() -> Home {
    let home = Home::new();
    let mut inbox = store(&home).receiver_inbox().unwrap();
    let name = TargetName { key: "x".to_owned(), shown: "https://x.example".to_owned() };
    let target = inbox.targets(&[name]).unwrap()[0];
    let routes = [Route { target, types: Vec::new(), together: false }];
    let body = format!(
        "[{CRASH}, {},{}]",
        r#"{"id":"issue-2","type":"issue","title":"Slow","app":{"id":8}}"#,
        r#"{"id":"feedback-3","type":"feedback","title":"Nice","app":{"id":8}}"#,
    );
    inbox.commit(&encoded(&[bugfender(10, &body)]), &routes).unwrap();
    let claimed = inbox.claim(target, ClaimRequest::up_to(9), at(11), Duration::from_secs(90)).unwrap();
    let outcomes = [
        AttemptOutcome::DeadLettered { error: "HTTP 410 \u{1b}[2J".to_owned() },
        AttemptOutcome::Delivered,
        AttemptOutcome::Retry { at: at(9000), error: "no connection".to_owned() },
    ];
    let settled = claimed.iter().zip(outcomes);
    let answer = b"busy \x1b[31m\xff".to_vec();
    let report = AttemptReport { took: Duration::from_millis(12), status: Some(503), answer };
    let settlements: Vec<_> = settled
        .map(|(leased, outcome)| Settlement { lease: leased.lease(), at: at(12), outcome, report: report.clone() })
        .collect();
    inbox.settle(&settlements).unwrap();
    let rest = [
        bugfender(20, &format!(r#"[{{"id":4}},{CRASH}]"#)),
        instabug(30, r#"{"Exception":"boom"}"#),
        bugfender(40, "[{\"id\":9},\u{1b}"),
    ];
    inbox.commit(&encoded(&rest), &[]).unwrap();
    home
}

fn ids(home: &Home, args: &[&str]) -> String {
    let run = home.run([&["events"], args, &["-q"]].concat());
    assert_eq!(run.code, 0, "{run}");
    run.stdout.replace('\n', " ").replace(REPORT, "report")
}

/// The id of the Instabug report: the SHA-256 of its body.
const REPORT: &str = "5e914e96e9b0317ff37e106b449e9c224595087c69d1cc31d0d8b9ff5c3147c4";

#[test]
fn a_list_that_is_not_the_whole_says_so() {
    let home = filled();
    let run = home.run(["events", "list", "--limit", "2"]);
    assert_eq!((run.stdout.lines().count(), run.stderr.as_str()), (3, "2 of 5 events; --limit 0 for all\n"), "{run}");
    let run = home.run(["events", "list", "--source", "bugfender", "--limit", "3"]);
    assert!(run.stderr.starts_with("3 of 4 events;"), "{run}");
    for args in
        [&["--limit", "0"][..], &["--limit", "5"], &["--limit", "2", "--output", "json"], &["--limit", "2", "-q"]]
    {
        let run = home.run([&["events", "list"], args].concat());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run}");
    }
    assert_eq!(home.run(["events", "list", "--limit", "0", "-q"]).stdout.lines().count(), 5);
    let (code, screen) = Terminal::of_width(&home, 80, &["events", "list", "--color", "never"]).end();
    assert!(code == 0 && screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
}

#[test]
fn filters_take_several() {
    let home = filled();
    let listed = |args: &[&str]| {
        let run = home.run([&["events", "list", "-q"], args].concat());
        assert_eq!(run.code, 0, "{run}");
        run.stdout.lines().count()
    };
    assert_eq!(listed(&[]), 5);
    assert_eq!(listed(&["--app-id", "7 , 8"]), 3);
    assert_eq!(listed(&["--type", "crash , issue", "--app-id", "7", "--app-id", "8"]), 2);
    assert_eq!(listed(&["--source", "luciq"]), 1);
    assert_eq!(listed(&["--source", "bugfender , luciq"]), 5);
    assert_eq!(listed(&["--source", "bugfender", "--source", "bugfender"]), 4);
    let run = home.run(["events", "retry", "crash-1 , feedback-3", "--output", "json"]);
    assert_eq!((run.code, &run.json()["forwards"]), (0, &json!(2)), "{run}");
}

#[test]
fn lists_are_newest_first() {
    let home = filled();
    assert_shown!("list", home.run(["events", "list"]));
    assert_shown!("list_json", home.run(["events", "list", "--output", "json"]));
    assert_shown!("list_csv", home.run(["events", "list", "--output", "csv", "--limit", "3"]));
    assert_eq!(ids(&home, &["list", "--limit", "2"]), "report 4 ");
    assert_eq!(ids(&home, &["list", "--limit", "0"]), "report 4 feedback-3 issue-2 crash-1 ");
    let jq = home.run(["events", "list", "--output", "ndjson", "--jq", ".status"]);
    assert_eq!(jq.stdout, "stored\nstored\npending\nforwarded\ndead\n");
    assert_shown!("quarantined", home.run(["events", "list", "--quarantined"]));
    let record = home.json(&["events", "list", "--quarantined"])[0].clone();
    let keys: Vec<_> = record.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["id", "source", "received_at", "content_type", "size", "reason"]);
}

#[test]
fn filters_narrow() {
    let home = filled();
    for (args, expected) in [
        (&["--type", "crash"][..], "report crash-1 "),
        (&["--type", "new_crash,nope"], "report crash-1 "),
        (&["--type", "issue", "--type", "new_user_feedback"], "feedback-3 issue-2 "),
        (&["--app-id", "8"], "feedback-3 issue-2 "),
        (&["--app-id", "8", "--app-id", "7", "--type", "crash"], "crash-1 "),
        (&["--source", "instabug"], "report "),
        (&["--source", "luciq"], "report "),
        (&["--dead"], "crash-1 "),
        (&["--undelivered"], "feedback-3 crash-1 "),
        (&["--status", "stored"], "report 4 "),
        (&["--search", "nice feedback"], "feedback-3 "),
        (&["--search", "app.id=8", "--type", "issue"], "issue-2 "),
        (&["--search", "\"of \u{1b}[31mmem\" n:345"], "crash-1 "),
        (&["--search", "boom"], "report "),
        (&["--search", "app"], ""),
        (&["--status", "pending"], "feedback-3 "),
        (&["--status", "forwarded"], "issue-2 "),
        (&["--status", "dead", "--target", "https://x.example"], "crash-1 "),
        (&["--status", "stored", "--target", "https://x.example"], ""),
        (&["--since", "2023-11-14T22:13:40Z"], "report 4 "),
        (&["--until", "2023-11-14T22:13:40Z"], "feedback-3 issue-2 crash-1 "),
        (&["--since", "2h"], ""),
        (&["--until", "1w", "--since", "2023-11-14", "--source", "bugfender", "--type", "crash"], "crash-1 "),
    ] {
        assert_eq!(ids(&home, &[&["list"], args].concat()), expected, "{args:?}");
    }
    for args in [
        &["--since", "yesterday"][..],
        &["--source", "sentry"],
        &["--limit", "x"],
        &["--quarantined", "--dead"],
        &["--status", "lost"],
        &["--search", " "],
        &["--status", "dead", "--dead"],
        &["--quarantined", "--status", "dead"],
    ] {
        assert_eq!(home.run([&["events", "list"], args].concat()).code, 2, "{args:?}");
    }
}

#[test]
fn an_event_is_shown_with_all_that_is_known() {
    let home = filled();
    assert_shown!("show", home.run(["events", "show", "crash-1"]));
    let run = home.run(["events", "show", "crash-1", "--output", "json"]);
    assert!(run.stdout.contains(CRASH_LINE), "{run}");
    assert_shown!("show_json", run);
    let raw = home.run(["events", "show", "crash-1", "--raw"]);
    assert_eq!((raw.code, raw.stdout.as_str()), (0, CRASH));
    assert_eq!(home.run(["events", "show", "4", "-q"]).stdout, "4\n");
    let csv = home.run(["events", "show", "crash-1", "--output", "csv"]);
    assert!(csv.stdout.contains("12345678901234567890123") && csv.stdout.contains("1.0e400"), "{csv}");

    assert_shown!("show_quarantined", home.run(["events", "show", "--quarantined", "1"]));
    assert_eq!(home.run(["events", "show", "--quarantined", "1", "--raw"]).stdout, "[{\"id\":9},\u{1b}");
    assert_eq!(home.json(&["events", "show", "--quarantined", "1"])["body"], "[{\"id\":9},\u{1b}");

    // The number and the text are two events.
    let mut inbox = store(&home).receiver_inbox().unwrap();
    inbox.commit(&encoded(&[bugfender(50, r#"[{"id":"4"}]"#)]), &[]).unwrap();
    drop(inbox);
    assert_eq!(home.json(&["events", "show", "4"]).as_array().unwrap().len(), 2);
    let run = home.run(["events", "show", "4", "--raw"]);
    assert_eq!(run.code, 2, "{run}");
    let run = home.run(["events", "show", "crash-1", "--source", "instabug"]);
    assert_eq!(run.code, 6, "{run}");
    assert_shown!("show_unknown", home.run(["events", "show", "nope\u{1b}[2J"]));
    assert_eq!(home.run(["events", "show", "--quarantined", "7"]).code, 6);
    assert_eq!(home.run(["events", "show"]).code, 2);
}

#[test]
fn without_an_inbox_there_is_nothing_and_nothing_is_made() {
    let home = Home::new();
    assert_shown!("none", home.run(["events", "list"]));
    for (command, empty) in [("list", "[]\n"), ("stats", "[]\n"), ("export", "[]\n")] {
        let run = home.run(["events", command, "--output", "json"]);
        assert_eq!((run.code, run.stdout.as_str()), (0, empty), "{run}");
        assert!(run.stderr.contains("`bugfender-hooks listen` receives events"), "{run}");
    }
    assert_eq!(home.run(["events", "list", "-q"]).stderr, "");
    let run = home.run(["events", "show", "x"]);
    assert!(run.code == 6 && run.stderr.contains("listen"), "{run}");
    assert_eq!(home.run(["events", "retry", "x"]).code, 6);
    assert_eq!(home.run(["events", "retry", "--all"]).code, 0);
    assert_eq!(home.run(["events", "purge", "--older-than", "1d"]).code, 0);
    assert!(!home.data().exists());
}

#[test]
fn counts_are_by_kind() {
    let home = filled();
    assert_shown!("stats", home.run(["events", "stats"]));
    let rows = home.json(&["events", "stats", "--type", "crash", "--app-id", "7"]);
    let row = json!({"source": "bugfender", "type": "crash", "app_id": 7, "events": 1, "duplicates": 1, "pending": 0,
        "dead": 1, "first_at": "2023-11-14T22:13:30Z", "last_at": "2023-11-14T22:13:30Z"});
    assert_eq!(rows, json!([row]));
    let keys: Vec<_> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["source", "type", "app_id", "events", "duplicates", "pending", "dead", "first_at", "last_at"]);
}

#[test]
fn one_damaged_event_does_not_keep_the_others_from_being_exported() {
    let home = filled();
    let inbox = rusqlite::Connection::open(store(&home).inbox_path()).unwrap();
    assert_eq!(inbox.execute("UPDATE events SET length = length - 1 WHERE event_id = 'issue-2'", []).unwrap(), 1);
    for (format, lines) in [("ndjson", 4), ("json", 6), ("csv", 5)] {
        let run = home.run(["events", "export", "--output", format]);
        assert_eq!((run.code, run.stdout.lines().count()), (9, lines), "{run}");
        assert!(run.stderr.contains("event issue-2 is damaged") && !run.stdout.contains("issue-2"), "{run}");
    }
    assert_eq!(home.run(["events", "show", "issue-2"]).code, 9);
    assert!(home.run(["events", "show", "--raw", "issue-2"]).stdout.starts_with(r#"{"id":"issue-2""#));
}

#[test]
fn exports_are_the_events_as_they_came() {
    let home = filled();
    let export = |args: &[&str]| {
        let run = home.run([&["events", "export"], args].concat());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run}");
        run.stdout
    };
    let lines = export(&[]);
    assert_eq!(lines.lines().next(), Some(CRASH_LINE));
    assert_eq!(lines.lines().count(), 5);
    assert_eq!(lines.lines().last(), Some(r#"{"Exception":"boom"}"#));
    assert_eq!(export(&["--output", "ndjson"]), lines);
    let array = export(&["--output", "json"]);
    assert!(array.starts_with(&format!("[\n  {CRASH_LINE},\n")) && array.ends_with("\n]\n"), "{array}");
    assert_eq!(export(&["--limit", "1", "--type", "issue"]).lines().count(), 1);
    assert_eq!(export(&["--search", "type=crash memory"]), format!("{CRASH_LINE}\n"));
    assert_eq!(export(&["--jq", ".id // .Exception", "--limit", "3"]), "crash-1\nissue-2\nfeedback-3\n");
    assert_eq!(export(&["--output", "json", "--jq", ".n?"]).lines().next(), Some("12345678901234567890123"));
    assert_shown!("export_csv", export(&["--output", "csv"]));
    assert_eq!(ids(&home, &["export"]), "crash-1 issue-2 feedback-3 4 report ");
}

#[test]
fn long_exports_come_in_pages() {
    let home = Home::new();
    let mut inbox = store(&home).receiver_inbox().unwrap();
    for start in 0..6 {
        let filler = "x".repeat(9000);
        let events = (0..300).map(|number| format!(r#"{{"id":{},"f":"{filler}"}}"#, start * 300 + number));
        let body = format!("[{}]", events.collect::<Vec<_>>().join(","));
        inbox.commit(&encoded(&[bugfender(start, &body)]), &[]).unwrap();
    }
    drop(inbox);
    let numbers = |count: usize| (0..count).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
    assert_eq!(home.run(["events", "export", "--jq", ".id"]).stdout, numbers(1800));
    assert_eq!(home.run(["events", "export", "--jq", ".id", "--limit", "1300"]).stdout, numbers(1300));
}

#[test]
fn what_was_given_up_is_put_in_line_again() {
    let home = filled();
    assert_shown!("retry", home.run(["events", "retry", "crash-1"]));
    assert_eq!(ids(&home, &["list", "--undelivered"]), "feedback-3 crash-1 ");
    assert_eq!(ids(&home, &["list", "--dead"]), "");
    assert_eq!(home.json(&["events", "retry", "--all"]), json!({"forwards": 2}));
    assert_shown!("retry_nothing", home.run(["events", "retry", "issue-2", "4"]));
    let run = home.run(["events", "retry", "nope", "feedback-3", "--output", "json"]);
    assert_eq!((run.code, run.json()), (6, json!({"forwards": 1})), "{run}");
    assert_eq!(run.error()["category"], "not_found");
    assert_eq!(home.json(&["events", "retry", "--type", "crash"]), json!({"forwards": 1}));
    assert_eq!(home.run(["events", "retry"]).code, 2);
}

#[test]
fn a_purge_removes_what_is_old() {
    let home = filled();
    assert_shown!("purge_needs_yes", home.run(["events", "purge", "--older-than", "30d"]));
    assert_shown!("purge_dry_run", home.run(["events", "purge", "--older-than", "30d", "--dry-run"]));
    assert_eq!(ids(&home, &["list"]), "report 4 feedback-3 issue-2 crash-1 ");
    assert_eq!(
        home.json(&["events", "purge", "--older-than", "5000w", "--yes"]),
        json!({"events": 0, "quarantined": 0})
    );
    assert_shown!("purge", home.run(["events", "purge", "--older-than", "30d", "--yes"]));
    // One that waits keeps its delivery.
    assert_eq!(ids(&home, &["list"]), "feedback-3 issue-2 crash-1 ");
    assert_shown!("purge_too_large", home.run(["events", "purge", "--max-size", "0", "--yes"]));
    let all = ["events", "purge", "--max-size", "0", "--include-undelivered", "--yes"];
    assert_eq!(home.json(&all), json!({"events": 3, "quarantined": 0}));
    for args in [&[][..], &["--older-than", "1 month"], &["--max-size", "much"], &["--max-size", "1MB", "--dry-run"]] {
        assert_eq!(home.run([&["events", "purge", "--yes"], args].concat()).code, 2, "{args:?}");
    }
}

#[test]
fn an_inbox_that_cannot_be_used_is_told() {
    let home = filled();
    let path = home.data().join("registry.inbox.db");
    std::fs::write(&path, "no database\n".repeat(500)).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_shown!("foreign", home.run(["events", "list", "--output", "json"]));
    for args in [&["show", "x"][..], &["tail"], &["stats"], &["export"], &["retry", "--all"]] {
        assert_eq!(home.run([&["events"], args].concat()).code, 9, "{args:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn an_inbox_that_may_only_be_read_is_left_alone() {
    let home = filled();
    if !have("setpriv") {
        return;
    }
    let path = home.data().join("registry.inbox.db");
    let before = std::fs::read(&path).unwrap();
    for args in [&["events", "retry", "--all"][..], &["events", "purge", "--older-than", "1d", "--yes"]] {
        let run = crate::store::run_read_only(&home, args, &path);
        assert_eq!(run.code, 9, "{run}");
        assert!(run.stderr.contains("the inbox /") && run.stderr.contains("writable"), "{run}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn nothing_acts_on_a_terminal() {
    if !have("script") {
        return;
    }
    let home = filled();
    for args in [
        &["show", "--quarantined", "1", "--raw"][..],
        &["show", "--quarantined", "1"],
        &["show", "crash-1", "--raw"],
        &["export"],
        &["export", "--output", "csv"],
        &["export", "--jq", ".title?, .a?"],
    ] {
        let (code, shown) = Terminal::run(&home, &[&["events", "--color", "never"], args].concat()).end();
        assert_eq!(code, 0, "{shown}");
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{args:?}: {shown:?}");
    }
    let mut terminal = Terminal::run(&home, &["events", "purge", "--older-than", "30d"]);
    terminal.wait_for("[y/N]").type_line("n");
    assert_eq!(terminal.end().0, 1);
    assert_eq!(ids(&home, &["list"]), "report 4 feedback-3 issue-2 crash-1 ");
}

#[test]
fn the_page_has_the_keys() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/guide/events.md")).unwrap();
    let table = page.split_once("| key |").unwrap().1;
    let documented: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let home = filled();
    let keys = |record: &Value| record.as_object().unwrap().keys().cloned().collect::<Vec<String>>();
    assert_eq!(keys(&home.json(&["events", "show", "issue-2"])), documented);
    assert_eq!(keys(&home.json(&["events", "list"])[0]), documented[..10]);
}
