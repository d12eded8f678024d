//! `subscribe --replace`: a new hook first, then the old one goes.

mod kills;
mod refusals;

use serde_json::{Value, json};

use crate::assert_shown;
use crate::support::bugfender::{Bugfender, Trouble};
use crate::support::{Home, Run, SandboxServer, Scripted, answer};

const URL: &str = "https://hooks.example.com/bf";
const CRASHES: [&str; 7] = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL];

/// Replaces the hook for new crashes.
fn replace(home: &Home, arguments: &[&str]) -> Run {
    home.run([&CRASHES[..], &["--replace"], arguments].concat())
}

/// What is on record: hook and status.
fn on_record(home: &Home) -> Vec<(Option<i64>, String)> {
    let rows = home.json(&["list", "--all"]);
    let row = |row: &Value| (row["hook_id"].as_i64(), row["status"].as_str().unwrap().to_owned());
    rows.as_array().unwrap().iter().map(row).collect()
}

fn rows<const N: usize>(rows: [(i64, &str); N]) -> Vec<(Option<i64>, String)> {
    rows.into_iter().map(|(hook, status)| (Some(hook), status.to_owned())).collect()
}

fn started() -> (Bugfender, Home) {
    let bugfender = Bugfender::start(Trouble::default());
    let home = Home::at(&bugfender.url, "t");
    (bugfender, home)
}

#[test]
fn a_hook_is_made_anew_and_the_old_one_goes() {
    let (bugfender, home) = started();
    home.json(&[&CRASHES[..], &["--label", "ci"]].concat());
    assert_shown!("replaced", replace(&home, &[]));
    assert_eq!(bugfender.hooks().into_keys().collect::<Vec<_>>(), [2]);
    assert_eq!(on_record(&home), rows([(1, "removed"), (2, "active")]));
    // A replacement that is finished is no reason not to replace again.
    let again = replace(&home, &["--output", "json", "--label", "new"]);
    assert_shown!("replaced_again", again);
    assert_eq!((bugfender.requests(), bugfender.gaps()), (5, vec![]));
    assert_eq!(replace(&home, &["-q"]).stdout, "4\n");
    let plain = home.json(&CRASHES);
    assert_eq!(
        (&plain[0]["hook_id"], &plain[0]["created"], &plain[0]["replaced"]),
        (&json!(4), &json!(false), &json!(null))
    );
}

#[test]
fn a_hook_that_was_deleted_elsewhere_is_there_again() {
    let (bugfender, home) = started();
    home.json(&CRASHES);
    bugfender.delete(1);
    assert_shown!("deleted_elsewhere", replace(&home, &[]));
    assert_eq!(bugfender.hooks().into_keys().collect::<Vec<_>>(), [2]);
    assert_eq!(on_record(&home), rows([(1, "gone"), (2, "active")]));
}

#[test]
fn what_is_not_on_record_is_subscribed() {
    let (bugfender, home) = started();
    home.json(&CRASHES);
    let all = ["subscribe", "--replace", "--app-id", "1", "--event", "all", "--target-url", URL];
    let rows = home.json(&all);
    let replaced: Vec<&Value> = rows.as_array().unwrap().iter().map(|row| &row["replaced"]).collect();
    assert_eq!(replaced, [&json!(1), &json!(null), &json!(null)]);
    assert_eq!((bugfender.requests(), bugfender.hooks().len()), (5, 3));
}

#[test]
fn all_new_hooks_are_made_before_the_old_ones_go() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let all = ["subscribe", "--app-id", "1001", "--event", "all", "--target-url", URL];
    home.json(&all);
    let dry = home.run([&all[..], &["--replace", "--dry-run", "--jq", ".[] | .method"]].concat());
    assert_eq!(dry.stdout, "POST\nPOST\nPOST\nDELETE\nDELETE\nDELETE\n", "{dry}");
    home.json(&[&all[..], &["--replace"]].concat());
    let methods: Vec<String> =
        sandbox.requests("").iter().map(|request| request["method"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(methods[3..], ["POST", "POST", "POST", "DELETE", "DELETE", "DELETE"]);
    assert_eq!(sandbox.hooks().len(), 3);
}

#[test]
fn a_dry_run_shows_both_requests() {
    let (bugfender, home) = started();
    home.json(&CRASHES);
    assert_shown!("dry_run", replace(&home, &["--dry-run"]));
    assert_eq!((bugfender.requests(), on_record(&home)), (1, rows([(1, "active")])));
}

/// What becomes of the old hook, by what the server says to its removal: the exit code, and the status of its row.
#[test]
fn an_old_hook_that_stays_is_removed_by_the_next_run() {
    for (fault, code, status) in [("403x1", 5, "active"), ("500x4", 7, "removing"), ("dropx4", 7, "removing")] {
        let sandbox = SandboxServer::with_faults(&[&format!("unsubscribe={fault}")]);
        let home = Home::of(&sandbox);
        home.json(&CRASHES);
        let run = replace(&home, &["--output", "json"]);
        assert_eq!(run.code, code, "{run}");
        let row = &run.json()[0];
        assert_eq!(
            (&row["hook_id"], &row["created"], &row["replaced"]),
            (&json!(2), &json!(true), &json!(null)),
            "{run}"
        );
        assert!(run.stderr.contains("hook 2 is there, and hook 1, whose place it takes, was not removed"), "{run}");
        assert!(run.stderr.contains("bugfender-hooks unsubscribe 1"), "{run}");
        assert_eq!(on_record(&home), rows([(1, status), (2, "active")]));
        let dry = replace(&home, &["--dry-run", "--jq", ".[] | .method"]);
        assert_eq!(
            (dry.stdout.as_str(), dry.stderr.as_str()),
            ("DELETE\n", "hook 2 has taken the place of hook 1 already\n")
        );
        let run = replace(&home, &["--output", "json"]);
        assert_eq!((run.code, sandbox.requests("POST").len()), (0, 2), "{run}");
        assert!(run.stderr.starts_with("hook 2 has taken the place of hook 1 already: no other is made"), "{run}");
        let row = &run.json()[0];
        assert_eq!(
            (&row["hook_id"], &row["created"], &row["replaced"]),
            (&json!(2), &json!(false), &json!(1)),
            "{run}"
        );
        assert_eq!(sandbox.hooks().len(), 1);
    }
}

#[test]
fn a_registry_that_cannot_be_told_of_the_removal_is_an_error() {
    for delete_first in [false, true] {
        let (bugfender, home) = started();
        home.json(&CRASHES);
        let registry = rusqlite::Connection::open(home.registry()).unwrap();
        let refusing = "CREATE TRIGGER refusing BEFORE UPDATE ON hooks WHEN NEW.status IN ('removed', 'gone') \
                        BEGIN SELECT RAISE(ABORT, 'no more'); END";
        registry.execute_batch(refusing).unwrap();
        if delete_first {
            bugfender.delete(1);
        }
        let run = replace(&home, &["--output", "json"]);
        assert_eq!(run.code, 9, "{run}");
        assert!(run.stderr.contains("no more"), "{run}");
        // What is true of the hooks is said nonetheless.
        assert_eq!(run.json()[0]["replaced"], 1, "{run}");
        assert_eq!(bugfender.hooks().into_keys().collect::<Vec<_>>(), [2]);
        assert_eq!(on_record(&home), rows([(1, "removing"), (2, "active")]));
        registry.execute_batch("DROP TRIGGER refusing").unwrap();
        assert_eq!(replace(&home, &[]).code, 0);
        assert_eq!(on_record(&home), rows([(1, "removed"), (2, "active")]));
    }
}

#[test]
fn a_hook_of_a_manifest_stays_its_own() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=403x1"]);
    let home = Home::of(&sandbox);
    let manifest = format!(
        "name = \"mobile\"\n\n[[hook]]\napp_id = 1\nevents = \"new_crash\"\ntarget_url = \"{URL}\"\nlabel = \"ci\"\n"
    );
    std::fs::write(home.path().join("hooks.toml"), manifest).unwrap();
    assert_eq!(home.run(["apply", "-f", "hooks.toml", "--yes", "--initial"]).code, 0);
    let run = replace(&home, &["--output", "json"]);
    assert_eq!(run.code, 5, "{run}");
    let row = &run.json()[0];
    assert_eq!((&row["managed_by"], &row["label"]), (&json!("mobile"), &json!("ci")), "{run}");
    // The manifest finishes what was cut short: the old hook goes, not the new one.
    let run = home.run(["apply", "-f", "hooks.toml", "--yes", "--output", "json"]);
    assert_eq!((run.code, &run.json()["counts"]["removed"]), (0, &json!(1)), "{run}");
    assert_eq!(on_record(&home), rows([(1, "removed"), (2, "active")]));
    assert_eq!(replace(&home, &[]).code, 0);
    assert_eq!(home.run(["plan", "-f", "hooks.toml", "--detailed-exitcode"]).code, 0);
}

#[test]
fn a_move_of_a_manifest_that_was_cut_short_is_finished() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=403x1"]);
    let home = Home::of(&sandbox);
    let write = |target: &str| {
        let hook = format!("[[hook]]\napp_id = 1\nevents = \"new_crash\"\ntarget_url = \"{target}\"\n");
        std::fs::write(home.path().join("hooks.toml"), format!("name = \"mobile\"\n\n{hook}")).unwrap();
        home.run(["apply", "-f", "hooks.toml", "--yes", "--initial"]).code
    };
    assert_eq!((write("https://hooks.example.com/old"), write(URL)), (0, 5));
    let row = &home.json(&[&CRASHES[..], &["--replace"]].concat())[0];
    assert_eq!((&row["hook_id"], &row["created"], &row["replaced"]), (&json!(2), &json!(false), &json!(1)));
    assert_eq!((sandbox.requests("POST").len(), sandbox.hooks().len()), (2, 1));
    assert_eq!(home.run(["plan", "-f", "hooks.toml", "--detailed-exitcode"]).code, 0);
}

#[test]
fn passwords_are_sent_and_never_shown() {
    let (bugfender, home) = started();
    std::fs::write(home.path().join("url"), "https://ci:s3cret@hooks.example.com/bf").unwrap();
    let args = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "@url"];
    home.json(&args);
    for arguments in [&["--replace", "--dry-run"][..], &["--replace"], &["--replace", "-o", "json"]] {
        let run = home.run([&args[..], arguments].concat());
        assert!(run.code == 0 && run.stdout.contains("ci:****@") && !run.to_string().contains("s3cret"), "{run}");
    }
    let run = home.run(["subscribe", "--replace", "--id", "3"]);
    assert!(run.code == 0 && !run.to_string().contains("s3cret"), "{run}");
    assert_eq!(bugfender.hooks()[&4].2, "https://ci:s3cret@hooks.example.com/bf");
}

#[test]
fn hooks_are_named_by_their_ids() {
    let (bugfender, home) = started();
    home.json(&["subscribe", "--app-id", "1,2", "--event", "new_crash", "--target-url", URL, "--label", "ci"]);
    home.json(&[&CRASHES[..], &["--force"]].concat());
    let rows = home.json(&["subscribe", "--replace", "--id", "1, 2"]);
    let new: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| (&row["hook_id"], &row["app_id"], &row["label"])).collect();
    assert_eq!(new, [(&json!(4), &json!(1), &json!("ci")), (&json!(5), &json!(2), &json!("ci"))]);
    assert_eq!(bugfender.hooks().into_keys().collect::<Vec<_>>(), [3, 4, 5]);
    // Two for the same, each replaced by one of its own.
    home.json(&["subscribe", "--replace", "--id", "3", "--id", "4"]);
    assert_eq!(bugfender.hooks().into_keys().collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!(bugfender.gaps(), []);
}

#[test]
fn a_server_that_gives_the_same_number_again_has_nothing_to_remove() {
    let server = Scripted::always(answer("201 Created", &["content-type: application/json"], r#"{"id":7}"#));
    let home = Home::at(&server.url, "t");
    home.json(&CRASHES);
    let run = replace(&home, &["--output", "json"]);
    assert_eq!((run.code, server.seen()), (0, vec!["POST /api/hook/subscribe".to_owned(); 2]), "{run}");
    assert!(run.stderr.contains("the server gives the new hook the number of hook 7"), "{run}");
    assert_eq!(run.json()[0]["replaced"], json!(null));
    assert_eq!(on_record(&home), rows([(7, "active")]));
    // Nor is it taken for a replacement that was cut short.
    assert_eq!(replace(&home, &["--dry-run", "--jq", "length"]).stdout, "2\n");
}
