//! Listing: filters, order, what has ended.

use crate::assert_shown;
use crate::support::{Home, SandboxServer};

fn filled(sandbox: &SandboxServer) -> Home {
    let home = Home::of(sandbox);
    home.subscribe("1002", "new_crash", "https://b.example/x");
    home.json(&[
        "subscribe",
        "--app-id",
        "1001",
        "--event",
        "all",
        "--target-url",
        "https://a.example/x",
        "--label",
        "ci",
    ]);
    home.json(&["unsubscribe", "3"]);
    home
}

#[test]
fn lists_are_sorted_and_leave_out_what_ended() {
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    assert_shown!("table", home.run(["list"]));
    assert_shown!("all_json", home.run(["list", "--all", "--output", "json"]));
    assert_shown!("all_csv", home.run(["list", "--all", "--output", "csv"]));
    assert_shown!("all_ndjson", home.run(["list", "--all", "--output", "ndjson"]));
}

#[test]
fn filters_narrow() {
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    let ids = |args: &[&str]| home.run([&["list", "-q"], args].concat()).stdout.replace('\n', " ");
    assert_eq!(ids(&[]), "2 4 1 ");
    assert_eq!(ids(&["--app-id", "1001"]), "2 4 ");
    assert_eq!(ids(&["--app-id", "1001", "--app-id", "1002"]), "2 4 1 ");
    assert_eq!(ids(&["--event", "new_crash"]), "2 1 ");
    assert_eq!(ids(&["--event", "all", "--label", "ci"]), "2 4 ");
    assert_eq!(ids(&["--target-url", "https://b.example/x"]), "1 ");
    assert_eq!(ids(&["--status", "removed"]), "3 ");
    assert_eq!(ids(&["--status", "removed,active"]), "2 3 4 1 ");
    assert_eq!(ids(&["--all"]), "2 3 4 1 ");
    assert_eq!(ids(&["--label", "nope"]), "");
    // Each filter takes several, with spaces around the commas.
    assert_eq!(ids(&["--app-id", " 1001 , 1002 "]), "2 4 1 ");
    assert_eq!(ids(&["--event", "new_crash , new_user_feedback"]), "2 4 1 ");
    assert_eq!(ids(&["--status", "removed , active"]), "2 3 4 1 ");
    assert_eq!(ids(&["--label", "nope", "--label", "ci"]), "2 4 ");
    assert_eq!(ids(&["--target-url", "https://b.example/x", "--target-url", "https://a.example/x"]), "2 4 1 ");
}

#[test]
fn the_hooks_of_a_manifest_are_listed() {
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    let registry = rusqlite::Connection::open(home.registry()).unwrap();
    registry.execute("UPDATE hooks SET managed_by = 'mobile' WHERE hook_id IN (1, 3)", []).unwrap();
    registry.execute("UPDATE hooks SET managed_by = 'web' WHERE hook_id = 4", []).unwrap();
    let ids = |args: &[&str]| home.run([&["list", "-q"], args].concat()).stdout.replace('\n', " ");
    assert_eq!(ids(&["--managed-by", "mobile"]), "1 ");
    assert_eq!(ids(&["--managed-by", "mobile", "--all"]), "3 1 ");
    assert_eq!(ids(&["--managed-by", "mobile", "--managed-by", "web"]), "4 1 ");
    assert_eq!(ids(&["--managed-by", "web", "--label", "ci"]), "4 ");
    assert_eq!(ids(&["--managed-by", "nobody"]), "");
    let owners = home.run(["list", "--jq", ".[].managed_by"]).stdout;
    assert_eq!(owners, "null\nweb\nmobile\n");
    let wrong = home.run(["list", "--managed-by", "no name"]);
    assert!(wrong.code == 2 && wrong.stdout.is_empty(), "{wrong}");
}

#[test]
fn ids_come_separated_by_spaces_or_commas() {
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    assert_eq!(home.run(["unsubscribe", "1, 2", "-q"]).stdout, "1\n2\n");
    assert_eq!(home.run(["forget", "1,2", "4", "-q"]).stdout.lines().count(), 3);
    assert_eq!(home.run(["forget", "1,x"]).code, 2);
}

#[test]
fn an_empty_list_is_no_error_and_makes_no_registry() {
    let home = Home::at("https://bf.example", "t");
    assert_shown!("empty_table", home.run(["list"]));
    assert_shown!("empty_json", home.run(["list", "--output", "json"]));
    assert_shown!("empty_csv", home.run(["list", "--output", "csv"]));
    assert_eq!(home.run(["list", "--output", "ndjson"]).stdout, "");
    assert!(!home.registry().exists());
}
