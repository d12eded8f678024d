//! What is in doubt, or not clear, is named, and nothing is sent for it.

use super::{CRASHES, URL, on_record, replace, rows, started};
use crate::assert_shown;
use crate::support::bugfender::Trouble;
use crate::support::{Home, SandboxServer};

#[test]
fn a_new_hook_in_doubt_keeps_the_old_one() {
    let (bugfender, home) = started();
    home.json(&CRASHES);
    bugfender.set(Trouble { cut_short: 100, ..Trouble::default() });
    let run = replace(&home, &[]);
    assert_shown!("in_doubt", run);
    bugfender.set(Trouble::default());
    let before = bugfender.requests();
    assert_shown!("unresolved", replace(&home, &[]));
    assert_eq!(replace(&home, &["--dry-run"]).code, 8);
    assert_eq!((bugfender.requests(), bugfender.hooks().len()), (before, 2));
    // It is there: once it is on record, the replacement is finished.
    home.json(&["import", "2", "--app-id", "1", "--event", "new_crash", "--target-url", URL]);
    assert_eq!(home.json(&[&CRASHES[..], &["--replace"]].concat())[0]["replaced"], 1);
    assert_eq!(bugfender.hooks().into_keys().collect::<Vec<_>>(), [2]);
    assert_eq!((on_record(&home), bugfender.gaps()), (rows([(1, "removed"), (2, "active")]), vec![]));
}

#[test]
fn a_removal_in_doubt_is_finished_first() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=500x4"]);
    let home = Home::of(&sandbox);
    home.json(&CRASHES);
    assert_eq!(home.run(["unsubscribe", "1"]).code, 7);
    for arguments in [&CRASHES[1..], &["--id", "1"]] {
        let run = home.run([&["subscribe", "--replace"], arguments].concat());
        assert!(run.code == 8 && run.stderr.contains("finish the removal: bugfender-hooks unsubscribe 1"), "{run}");
        assert!(!run.stderr.contains("--force"), "{run}");
    }
    assert_eq!(sandbox.requests("POST").len(), 1);
}

#[test]
fn one_of_several_must_be_named() {
    let (bugfender, home) = started();
    home.json(&CRASHES);
    home.json(&[&CRASHES[..], &["--force"]].concat());
    assert_shown!("several", replace(&home, &[]));
    assert_eq!(bugfender.requests(), 2);
    assert_eq!(home.json(&["subscribe", "--replace", "--id", "2"])[0]["replaced"], 2);
    assert_eq!(on_record(&home), rows([(1, "active"), (2, "removed"), (3, "active")]));
}

#[test]
fn a_hook_that_is_not_on_record_has_no_successor() {
    let (bugfender, home) = started();
    assert_shown!("no_registry", home.run(["subscribe", "--replace", "--id", "7"]));
    assert!(!home.registry().exists());
    home.json(&CRASHES);
    home.json(&["unsubscribe", "1"]);
    let before = bugfender.requests();
    // One that has no successor keeps all from being sent.
    for arguments in [&["--id", "1"][..], &["--id", "1", "--dry-run"]] {
        assert_shown!("ended", home.run([&["subscribe", "--replace"], arguments].concat()));
    }
    home.json(&CRASHES);
    assert_eq!(home.run(["subscribe", "--replace", "--id", "2,7"]).code, 6);
    assert_eq!((bugfender.requests(), bugfender.hooks().len()), (before + 1, 1));
    let elsewhere = home.set("BUGFENDER_API_URL", "http://127.0.0.1:9");
    let run = elsewhere.run(["subscribe", "--replace", "--id", "2"]);
    assert!(run.code == 6 && run.stderr.contains(&format!("--api-url {}", bugfender.url)), "{run}");
}

#[test]
fn a_hidden_password_cannot_be_sent() {
    let (bugfender, home) = started();
    home.json(&CRASHES);
    let database = rusqlite::Connection::open(home.registry()).unwrap();
    database.execute("UPDATE hooks SET target_url = 'https://ci:****@hooks.example.com/bf'", []).unwrap();
    let run = home.run(["subscribe", "--replace", "--id", "1"]);
    assert!(run.code == 2 && run.stderr.contains("is hidden (****)"), "{run}");
    // With the whole URL it is the same endpoint, whose password is known from now on.
    std::fs::write(home.path().join("url"), "https://ci:s3cret@hooks.example.com/bf").unwrap();
    let args = ["subscribe", "--replace", "--app-id", "1", "--event", "new_crash", "--target-url", "@url"];
    assert_eq!(home.json(&args)[0]["replaced"], 1);
    assert_eq!(bugfender.hooks()[&2].2, "https://ci:s3cret@hooks.example.com/bf");
}

#[test]
fn flags_that_contradict_one_another_are_refused() {
    let home = Home::at("http://127.0.0.1:9", "t");
    for arguments in [&["--replace", "--force"][..], &["--id", "1"], &["--replace", "--id", "1", "--app-id", "1"]] {
        let run = home.run([&["subscribe"], arguments].concat());
        assert_eq!(run.code, 2, "{run}");
    }
    assert!(!home.registry().exists());
}

#[test]
fn without_a_sign_in_nothing_is_recorded() {
    let (bugfender, home) = started();
    home.json(&CRASHES);
    let home = home.unset("BUGFENDER_API_TOKEN");
    assert_eq!(replace(&home, &[]).code, 4);
    assert_eq!((on_record(&home), bugfender.requests()), (rows([(1, "active")]), 1));
}
