//! Who changed the registry: every command that does, from a terminal and from CI.

use serde_json::{Value, json};

use crate::assert_shown;
use crate::support::{Home, Run, SandboxServer};

const URL: &str = "https://hooks.example.com/bf";

fn host() -> String {
    rustix::system::uname().nodename().to_str().unwrap().to_owned()
}

/// What was shown, with a name for this host.
fn on_any_host(mut run: Run) -> Run {
    run.stdout = run.stdout.replace(&format!("@{}", host()), "@[HOST]");
    run
}

/// A table with narrow columns: how wide they are depends on the name of this host.
fn narrow(run: Run) -> Run {
    let mut run = on_any_host(run);
    let cells =
        |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("  ");
    run.stdout = run.stdout.lines().map(|line| cells(line) + "\n").collect();
    run
}

/// The values of a key, newest change first.
fn values(changes: &Value, key: &str) -> Vec<Value> {
    changes.as_array().unwrap().iter().map(|change| change[key].clone()).collect()
}

fn actions(home: &Home, args: &[&str]) -> Vec<Value> {
    values(&home.json(&[&["history"], args].concat()), "action")
}

#[test]
fn every_command_that_changes_the_registry_is_in_it() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox).set("USER", "ada");
    home.subscribe("1001", "new_crash", URL);
    let home = home.set("USER", "grace");
    home.json(&["import", "7", "--app-id", "1002", "--event", "new_user_feedback", "--target-url", URL]);
    home.json(&["forget", "7"]);
    let home = home.set("CI_JOB_URL", "https://bot:s3cret@gitlab.com/acme/app/-/jobs/9");
    home.json(&["unsubscribe", "1"]);
    assert_shown!("all", narrow(home.run(["history"])));
    assert_shown!("one_hook", narrow(home.run(["history", "7"])));
    assert_shown!("one_hook_json", on_any_host(home.run(["history", "1", "--output", "json"])));
    assert_shown!("one_hook_csv", on_any_host(home.run(["history", "1", "--output", "csv"])));
    assert_eq!(home.run(["history", "-q"]).stdout, "1\n1\n7\n7\n1\n");
    let jq = [".[].actor", "--limit", "1"];
    assert_eq!(home.run([&["history", "--jq"], &jq[..]].concat()).stdout, "https://gitlab.com/acme/app/-/jobs/9\n");
    // What changes nothing adds nothing.
    home.run(["unsubscribe", "1"]);
    home.run(["list", "--all"]);
    assert_eq!(actions(&home, &[]).len(), 6);
}

#[test]
fn what_went_wrong_says_why() {
    let sandbox = SandboxServer::with_faults(&["subscribe=drop"]);
    let home = Home::of(&sandbox);
    let args = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL];
    assert_eq!(home.run(args).code, 8);
    let changes = home.json(&["history"]);
    assert_eq!(values(&changes, "action"), ["left_in_doubt", "began_subscribe"]);
    assert!(changes[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{changes}");
    assert_eq!((&changes[1]["reason"], &changes[1]["hook_id"]), (&json!(null), &json!(null)));
    assert_eq!(changes[0]["actor"], format!("unknown@{}", host()));
    // The subscription that became a hook is part of the hook's history.
    home.json(&["import", "1", "--app-id", "1", "--event", "new_crash", "--target-url", URL]);
    assert_eq!(actions(&home, &["1"]), ["imported", "left_in_doubt", "began_subscribe"]);
    let sandbox = SandboxServer::with_faults(&["subscribe=403"]);
    let home = Home::of(&sandbox);
    assert_eq!(home.run(args).code, 5);
    assert_eq!(actions(&home, &[]), ["abandoned", "began_subscribe"]);
}

#[test]
fn the_newest_are_listed() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.subscribe("1001", "new_crash", URL);
    home.json(&["unsubscribe", "1"]);
    let run = home.run(["history", "--limit", "2"]);
    assert!(run.stdout.lines().count() == 3 && run.stderr == "the newest 2 changes; --limit 0 for all\n", "{run}");
    assert_eq!(actions(&home, &["--limit", "2"]), ["removed", "began_removal"]);
    for limit in ["0", "4", "5", "18446744073709551615"] {
        let run = home.run(["history", "--limit", limit]);
        assert!(run.stdout.lines().count() == 5 && run.stderr.is_empty(), "{limit}: {run}");
    }
    assert_eq!(home.run(["history", "--limit", "-1"]).code, 2);
}

#[test]
fn passwords_are_hidden_unless_asked_for() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let url = "https://u:s3cret@hooks.example.com/bf";
    home.run_with_input(&["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "-"], url);
    for format in ["table", "json", "ndjson", "csv"] {
        let run = home.run(["history", "--output", format]);
        assert!(run.stdout.contains("https://u:****@hooks.example.com/bf") && !run.stdout.contains("s3cret"), "{run}");
        let run = home.run(["history", "--show-secrets", "--output", format]);
        assert_eq!(run.stdout.matches(url).count(), 2, "{run}");
    }
}

#[test]
fn an_empty_history_is_no_error_and_makes_no_registry() {
    let home = Home::at("https://bf.example", "t");
    assert_shown!("empty", home.run(["history"]));
    assert_shown!("empty_json", home.run(["history", "7", "--output", "json"]));
    assert!(!home.registry().exists());
    let home = home.set("BUGFENDER_HOOKS_STORE", "sqlite:none.db");
    let run = home.run(["history"]);
    assert!(run.code == 0 && run.stderr.contains("none.db does not exist (BUGFENDER_HOOKS_STORE)"), "{run}");
    assert_eq!(home.run(["history", "0"]).code, 2);
}

#[test]
fn installations_have_histories_of_their_own() {
    let home = Home::at("https://bf.example", "t");
    home.json(&["import", "7", "--app-id", "1", "--event", "new_crash", "--target-url", URL]);
    let home = home.set("BUGFENDER_API_URL", "https://other.example");
    assert_shown!("other_installation", home.run(["history", "7"]));
    assert_eq!(home.json(&["history"]), json!([]));
}
