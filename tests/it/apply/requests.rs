//! What is sent, how much at once, and what a failure does to the rest.

use std::time::Duration;

use serde_json::json;

use super::{Manifest, URL, apply, apply_first, counts, for_apps, hooks_on_record, plan};
use crate::assert_shown;
use crate::support::bugfender::{Bugfender, Trouble};
use crate::support::{Home, SandboxServer};

#[test]
fn a_session() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox).set("BUGFENDER_KEY", "f1rst-k3y");
    let manifest = |label: &str, second: &str| {
        format!(
            "name = \"mobile\"\n[apps]\nshop = 1001\nadmin = 1002\n[defaults]\n\
             target_url = \"https://hooks.example.com/bugfender/${{BUGFENDER_KEY}}\"\nlabel = \"{label}\"\n\
             [[hook]]\napp = [\"shop\", \"admin\"]\nevents = [\"new_crash\"]\n{second}"
        )
    };
    let write = |text: String| std::fs::write(home.path().join("hooks.toml"), text).unwrap();
    let second = "[[hook]]\napp = \"shop\"\nevents = \"new_user_feedback\"\ntarget_url = \"https://f.example.com/\"\n";
    write(manifest("production", second));
    assert_shown!("first_plan", plan(&home, &["--detailed-exitcode"]));
    assert_shown!("first_apply_without_initial", apply(&home, &["--yes"]));
    assert_shown!("first_apply", apply(&home, &["--yes", "--initial"]));
    assert_shown!("second_apply", apply(&home, &["--yes"]));
    assert_shown!("nothing_to_do", plan(&home, &["--detailed-exitcode"]));
    write(manifest("live", ""));
    let rotated = home.set("BUGFENDER_KEY", "s3cond-k3y");
    assert_shown!("replaced_and_left", plan(&rotated, &[]));
    assert_shown!("replaced_and_removed", apply(&rotated, &["--yes", "--prune"]));
    assert_eq!(sandbox.hooks().len(), 2);
    let all = rotated.json(&["plan", "-f", "hooks.toml"]);
    assert_eq!(all["counts"]["keep"], 2, "{all}");
}

#[test]
fn what_the_manifest_keeps_secret_is_not_shown() {
    let sandbox = SandboxServer::with_faults(&["subscribe=400x1", "subscribe=drop"]);
    let home = Home::of(&sandbox).set("KEY", "s3cr3t-k3y-0f-the-team");
    let text = "name = \"mobile\"\n[[hook]]\napp_id = [1, 2]\nevents = \"new_crash\"\n\
                target_url = \"https://ci:pa55word@h.example.com/${KEY}?token=${KEY}\"\n";
    std::fs::write(home.path().join("hooks.toml"), text).unwrap();
    let mut said = plan(&home, &["-vvv"]).to_string();
    for format in ["table", "json", "csv"] {
        said += &apply(&home, &["--yes", "--initial", "-vvv", "--output", format]).to_string();
        said += &plan(&home, &["--output", format]).to_string();
    }
    let home = home.set("KEY", "an0ther-k3y-0f-the-team");
    said += &plan(&home, &["-vvv", "--out", "plan.json"]).to_string();
    said += &std::fs::read_to_string(home.path().join("plan.json")).unwrap();
    for secret in ["s3cr3t", "an0ther", "pa55word"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    assert!(said.contains("h.example.com/${KEY}"), "{said}");
}

#[test]
fn a_hook_that_failed_or_is_unknown_has_the_name_that_the_manifest_gives_it() {
    let sandbox = SandboxServer::with_faults(&["subscribe=400x1", "subscribe=dropx1"]);
    let home = Home::of(&sandbox).set("KEY", "s3cr3t'k3y");
    let text = "name = \"mobile\"\n[[hook]]\napp_id = 1\nevents = \"new_crash\"\ntarget_url = \"@url.txt\"\n\
                [[hook]]\napp_id = 2\nevents = \"new_crash\"\ntarget_url = \"https://ci:${KEY}@h.example.com/${KEY}/bugfender\"\n";
    std::fs::write(home.path().join("hooks.toml"), text).unwrap();
    std::fs::write(home.path().join("url.txt"), "https://h.example.com/s3cr3t/k3y\n").unwrap();
    let shown = "https://ci:${KEY}@h.example.com/${KEY}/bugfender";
    let run = apply(&home, &["--yes", "--initial", "--concurrency", "1"]);
    assert!(run.stderr.contains("error: could not subscribe to new_crash of app 1 to @url.txt: "), "{run}");
    assert!(run.stderr.contains(&format!("error: could not subscribe to new_crash of app 2 to {shown}: ")), "{run}");
    // What is to be run has an endpoint that it takes.
    let hint = "bugfender-hooks import HOOK_ID --app-id 2 --event new_crash --target-url @FILE\n";
    assert!(run.stderr.contains(hint), "{run}");
    let planned = plan(&home, &[]);
    assert!(planned.stdout.contains(&format!("could not subscribe to new_crash of app 2 to {shown}: ")), "{planned}");
    let again = apply(&home, &["--yes"]);
    assert!(again.stderr.contains(&format!("error: new_crash of app 2 to {shown} was not sent: ")), "{again}");
    for said in [run, planned, again] {
        assert!(!said.to_string().contains("s3cr3t") && !said.to_string().contains("k3y"), "{said}");
    }
}

#[test]
fn a_failure_does_not_stop_the_rest() {
    let sandbox = SandboxServer::with_faults(&["subscribe=403x1", "subscribe=400x1"]);
    let home = Home::of(&sandbox);
    for_apps(1..=5).write(&home);
    let run = apply(&home, &["--yes", "--initial", "--concurrency", "1", "--output", "json"]);
    assert_eq!(run.code, 5, "{run}");
    let counts = counts(&run);
    assert_eq!((counts["created"].as_i64(), counts["failed"].as_i64()), (Some(3), Some(2)), "{run}");
    assert_eq!(run.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 2, "{run}");
    assert_shown!("after_failures", apply(&home, &["--yes"]));
    assert_eq!(sandbox.hooks().len(), 5);
}

#[test]
fn what_is_unknown_is_named_and_the_rest_is_done() {
    let sandbox = SandboxServer::with_faults(&["subscribe=dropx1"]);
    let home = Home::of(&sandbox);
    for_apps(1..=3).write(&home);
    let run = apply(&home, &["--yes", "--initial", "--concurrency", "1"]);
    assert_eq!(run.code, 8, "{run}");
    assert_eq!(sandbox.hooks().len(), 3);
    // It stays unknown, nothing is sent for it, and a plan says so.
    assert_shown!("unknown_in_a_plan", plan(&home, &["--detailed-exitcode"]));
    assert_shown!("unknown_in_apply", apply(&home, &["--yes"]));
    assert_eq!(sandbox.requests("POST /api/hook").len(), 3);
    let import = ["import", "1", "--app-id", "1", "--event", "new_crash", "--target-url", URL];
    assert_eq!(home.run(import).code, 0);
    assert_eq!(plan(&home, &["--detailed-exitcode"]).code, 0);
    assert_eq!(hooks_on_record(&home)[0]["managed_by"], "mobile");
}

#[test]
fn a_new_hook_is_there_before_the_old_one_goes() {
    let bugfender = Bugfender::start(Trouble::default());
    let home = Home::at(&bugfender.url, "t");
    for_apps(1..=20).write(&home);
    apply_first(&home);
    let moved = Manifest { name: "mobile", hooks: vec![((1..=20).collect(), "new_crash", format!("{URL}/2"))] };
    moved.write(&home);
    // Its removal fails: the old hook stays until the next run, which removes it without --prune.
    bugfender.set(Trouble { refused: 50, ..Trouble::default() });
    let mut run = apply(&home, &["--yes", "--output", "json"]);
    assert_ne!(run.code, 0, "{run}");
    bugfender.set(Trouble::default());
    run = apply(&home, &["--yes", "--output", "json"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(bugfender.gaps(), []);
    let left: Vec<String> = bugfender.hooks().into_values().map(|hook| hook.2).collect();
    assert_eq!(left, vec![format!("{URL}/2"); 20]);
    assert_eq!(plan(&home, &["--detailed-exitcode"]).code, 0);
}

#[test]
fn a_server_that_asks_for_less_gets_less() {
    let bugfender =
        Bugfender::start(Trouble { most_at_once: Some(3), latency: Duration::from_millis(5), ..Trouble::default() });
    let home = Home::at(&bugfender.url, "t");
    for_apps(1..=60).write(&home);
    let run = apply(&home, &["--yes", "--initial", "--concurrency", "40", "--output", "json"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!((counts(&run)["created"].as_i64(), bugfender.hooks().len()), (Some(60), 60));
}

#[test]
fn without_a_sign_in_nothing_is_recorded() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox).unset("BUGFENDER_API_TOKEN");
    for_apps(1..=3).write(&home);
    let run = apply(&home, &["--yes", "--initial"]);
    assert_eq!(run.code, 4, "{run}");
    assert_eq!(run.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{run}");
    assert!(hooks_on_record(&home).is_empty());
    assert!(sandbox.requests("POST").is_empty());
}

#[test]
fn a_removal_that_began_is_finished() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=500x4"]);
    let home = Home::of(&sandbox);
    for_apps(1..=2).write(&home);
    apply_first(&home);
    for_apps(1..=1).write(&home);
    assert_eq!(apply(&home, &["--yes", "--prune"]).code, 7);
    assert_eq!(home.statuses(), ["active", "removing"]);
    // Without --prune, too: it was asked for.
    let run = apply(&home, &["--yes", "--output", "json"]);
    assert_eq!((run.code, &counts(&run)["removed"]), (0, &json!(1)), "{run}");
    assert_eq!(home.statuses(), ["active", "removed"]);
    // What is wanted again while its removal has no known end is made anew.
    let sandbox = SandboxServer::with_faults(&["unsubscribe=500x4"]);
    let home = Home::of(&sandbox);
    for_apps(1..=1).write(&home);
    apply_first(&home);
    assert_eq!(home.run(["unsubscribe", "1"]).code, 7);
    let run = apply(&home, &["--yes", "--output", "json"]);
    assert_eq!((run.code, &counts(&run)["replaced"]), (0, &json!(1)), "{run}");
    assert_eq!(sandbox.hooks().len(), 1);
    assert_eq!(sandbox.hooks()[0]["id"], 2);
}
