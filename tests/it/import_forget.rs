//! Recording hooks made elsewhere, and dropping records.

use serde_json::json;

use crate::assert_shown;
use crate::support::{Home, SandboxServer};

const URL: &str = "https://hooks.example.com/bf";
const IMPORT: [&str; 8] = ["import", "7", "--app-id", "1001", "--event", "new_crash", "--target-url", URL];

#[test]
fn import_records_and_sends_nothing() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    assert_shown!("import", home.run(IMPORT.iter().chain(&["--label", "old", "--output", "json"])));
    assert_shown!("import_again", home.run(IMPORT));
    assert_eq!(home.subscribe("1001", "new_crash", URL)["hook_id"], 7);
    assert!(sandbox.requests("").is_empty());
}

#[test]
fn import_does_not_overwrite_another_record() {
    let home = Home::at("https://bf.example", "t");
    home.json(&IMPORT);
    let mut other = IMPORT;
    other[5] = "new_user_feedback";
    assert_shown!("import_conflict", home.run(other));
    other[5] = "all";
    assert_shown!("import_several", home.run(other));
    assert_eq!(home.json(&["list"])[0]["event"], "new_crash");
}

#[test]
fn import_revives_what_was_taken_for_gone() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.json(&IMPORT);
    assert_eq!(home.run(["unsubscribe", "7"]).code, 6);
    assert_eq!(home.statuses(), ["gone"]);
    assert_eq!(home.json(&IMPORT)[0]["status"], "active");
    assert_eq!(home.statuses(), ["active"]);
}

#[test]
fn import_settles_an_unknown_outcome_by_its_redacted_url() {
    let sandbox = SandboxServer::with_faults(&["subscribe=drop"]);
    let home = Home::of(&sandbox);
    let url = "https://u:s3cret@hooks.example.com/bf";
    let run = home.run_with_input(&["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "-"], url);
    assert_eq!(run.code, 8, "{run}");
    let shown = "https://u:****@hooks.example.com/bf";
    home.json(&["import", "1", "--app-id", "1", "--event", "new_crash", "--target-url", shown]);
    let rows = home.json(&["list", "--all", "--show-secrets"]);
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!((&rows[0]["status"], &rows[0]["target_url"]), (&json!("active"), &json!(url)));
}

#[test]
fn forget_drops_the_record_only() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.json(&["subscribe", "--app-id", "1001", "--event", "all", "--target-url", URL]);
    assert_shown!("forget_dry_run", home.run(["forget", "1", "--dry-run"]));
    assert_eq!(home.run(["forget", "1", "-q"]).stdout, "1\n");
    assert_eq!(home.statuses(), ["active", "active"]);
    assert_shown!("forget_missing", home.run(["forget", "1"]));
    assert_eq!(home.run(["forget", "--event", "all"]).code, 2);
    assert_eq!(home.run(["forget", "--event", "all", "--yes"]).code, 0);
    assert_eq!(sandbox.hooks().len(), 3);
    assert_eq!(sandbox.requests("DELETE").len(), 0);
    assert_eq!(home.run(["forget"]).code, 2);
}

#[test]
fn an_import_can_be_tried_first() {
    let home = Home::at("https://bf.example", "t");
    assert_shown!("import_dry_run", home.run(IMPORT.iter().chain(&["--dry-run"])));
    assert!(!home.registry().exists());
}

#[test]
fn a_hidden_password_is_not_recorded() {
    let sandbox = SandboxServer::with_faults(&["subscribe=drop"]);
    let home = Home::of(&sandbox);
    let shown = ["import", "9", "--app-id", "1", "--event", "new_crash", "--target-url", "https://u:****@h.example/x"];
    assert_shown!("import_hidden_password", home.run(shown));
    for url in ["https://u:one@h.example/x", "https://u:two@h.example/x"] {
        home.run_with_input(&["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "-"], url);
    }
    assert_shown!("import_ambiguous", home.run(shown));
    assert_eq!(home.statuses(), ["unknown", "unknown"]);
}
