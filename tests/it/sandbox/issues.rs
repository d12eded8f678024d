//! The events of an app as the sandbox lists them.

use std::time::Duration;

use bugfender_hooks::sandbox::{IssuesOrder, SandboxOptions};
use serde_json::{Value, json};

use crate::support::{Home, SandboxServer};

/// A page of the issues of app 1001.
fn page(sandbox: &SandboxServer, query: &str) -> Value {
    let (status, _, body) = sandbox.api(&format!("/api/app/1001/issues?version=-1&{query}"));
    assert_eq!(status, 200, "{body}");
    body
}

/// The ids of all pages.
fn all(sandbox: &SandboxServer, query: &str, size: usize) -> Vec<Value> {
    let mut ids = Vec::new();
    for number in 1.. {
        let page = page(sandbox, &format!("{query}&page_size={size}&page={number}"));
        assert_eq!(page["page_index"], number, "{page}");
        let rows = page["issues"].as_array().unwrap();
        ids.extend(rows.iter().map(|row| row["id"].clone()));
        if number >= page["total_pages"].as_u64().unwrap() {
            assert_eq!(page["item_count"], ids.len(), "{page}");
            break;
        }
        assert_eq!(rows.len(), size, "{page}");
    }
    ids
}

fn ids(emitted: &Value) -> Vec<Value> {
    emitted["events"].as_array().unwrap().iter().map(|event| event["id"].clone()).collect()
}

#[test]
fn events_are_listed_as_they_were_delivered_newest_first() {
    let sandbox = SandboxServer::start();
    let emitted = sandbox.emit(&json!({"count": 25, "interval": 60, "set": {"text": "\u{2026}"}}));
    let mut expected = ids(&emitted);
    expected.reverse();
    for size in [1, 7, 25, 100] {
        assert_eq!(all(&sandbox, "", size), expected, "{size}");
    }
    let rows = page(&sandbox, "page_size=3&page=2");
    let events = emitted["events"].as_array().unwrap();
    assert_eq!(rows["issues"], json!([events[21], events[20], events[19]]));
    assert_eq!((&rows["total_pages"], &rows["item_count"]), (&json!(9), &json!(25)));
    let beyond = page(&sandbox, "page_size=3&page=10");
    assert_eq!((&beyond["issues"], &beyond["item_count"]), (&json!([]), &json!(25)));
    // Both names of the app, and no other app.
    for (app, count) in [("1001", 25), ("Sandbox1001", 25), ("1002", 0), ("77", 0)] {
        assert_eq!(sandbox.api(&format!("/api/app/{app}/issues")).2["item_count"], count, "{app}");
    }
}

#[test]
fn late_events_have_their_place_in_either_order() {
    for order in [IssuesOrder::Newest, IssuesOrder::Oldest] {
        let sandbox = SandboxServer::with(SandboxOptions { issues_order: order, ..Default::default() });
        let at = |created_at: &str| ids(&sandbox.emit(&json!({"count": 2, "set": {"created_at": created_at}})));
        let last = at("2026-11-28T12:00:00Z");
        let first = at("2026-11-28T10:00:00Z");
        // Of one time, whatever its offset.
        let middle = [at("2026-11-28T12:00:00+01:00"), at("2026-11-28T11:00:00Z")].concat();
        let mut expected = [first, middle.clone(), last.clone()].concat();
        let mut since_the_middle = [middle, last].concat();
        if order == IssuesOrder::Newest {
            expected.reverse();
            since_the_middle.reverse();
        }
        assert_eq!(all(&sandbox, "", 3), expected, "{order:?}");
        assert_eq!(all(&sandbox, "date_range_start=2026-11-28T11:00:00Z", 4), since_the_middle, "{order:?}");
        assert_eq!(page(&sandbox, "date_range_start=2026-11-28T12:00:01Z")["issues"], json!([]), "{order:?}");
    }
}

#[test]
fn what_is_open_and_what_is_closed_is_all() {
    let sandbox = SandboxServer::start();
    let open = ids(&sandbox.emit(&json!({})));
    let closed = ids(&sandbox.emit(&json!({"event": "new_issue_separate", "set": {"status": "closed"}})));
    let older = sandbox.emit(&json!({"shape": "older", "event": "new_user_feedback"}));
    assert_eq!(all(&sandbox, "issue_status=1", 9), [ids(&older), open].concat());
    assert_eq!(all(&sandbox, "issue_status=4", 9), closed);
    assert_eq!(all(&sandbox, "", 9).len(), 3);
    // As rows have a time, one of the older shape gets one.
    let row = &page(&sandbox, "issue_status=1")["issues"][0];
    let mut delivered = older["events"][0].clone();
    assert!(delivered["created_at"].is_null() && row["created_at"].as_str().unwrap().ends_with('Z'), "{row}");
    delivered["created_at"] = row["created_at"].clone();
    assert_eq!(*row, delivered);
}

#[test]
fn mistakes_are_told_as_the_api_tells_them() {
    let sandbox = SandboxServer::start();
    for (path, expected) in [
        ("/api/app/1001/issues?issue_status=2", 400),
        ("/api/app/1001/issues?page=first", 400),
        ("/api/app/1001/issues?date_range_start=yesterday", 400),
        ("/api/app/Sandbox/issues", 404),
        ("/api/app/0/issues", 404),
        ("/api/nothing", 404),
        ("/api/hook/subscribe", 405),
    ] {
        let (status, _, body) = sandbox.api(path);
        assert_eq!((status, &body["code"]), (expected, &json!(expected)), "{path}");
        assert!(body["message"].is_string(), "{path}: {body}");
    }
    let stranger = crate::support::http_request("GET", &format!("{}/api/app/x/issues", sandbox.url), &[], "");
    assert!(stranger.contains(" 401 ") && stranger.contains(r#""code":401"#), "{stranger}");
}

#[test]
fn events_fall_out_of_the_retention() {
    let retention = Some(Duration::from_secs(3600));
    let sandbox = SandboxServer::with(SandboxOptions { retention, ..Default::default() });
    let kept = ids(&sandbox.emit(&json!({"count": 3, "interval": 60})));
    sandbox.emit(&json!({"count": 4, "set": {"created_at": "2026-01-01T00:00:00Z"}}));
    let kept: Vec<Value> = kept.into_iter().rev().collect();
    for query in ["", "issue_status=1", "date_range_start=2025-01-01T00:00:00Z"] {
        assert_eq!(all(&sandbox, query, 2), kept, "{query}");
    }
}

#[test]
fn foreign_ids_are_stable_and_no_ids_of_deliveries() {
    let sandbox = SandboxServer::with(SandboxOptions { foreign_ids: true, ..Default::default() });
    let delivered =
        [ids(&sandbox.emit(&json!({"count": 20}))), ids(&sandbox.emit(&json!({"shape": "older"})))].concat();
    let listed = all(&sandbox, "", 6);
    assert_eq!(listed.len(), 21);
    assert!(listed.iter().all(|id| !delivered.contains(id)), "{listed:?}");
    assert_eq!(all(&sandbox, "", 21), listed);
    let distinct: std::collections::BTreeSet<String> = listed.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 21);
    let rows = page(&sandbox, "")["issues"].clone();
    assert!(rows[0]["id"].is_u64() && rows[0].get("uid").is_none(), "{rows}");
    for row in &rows.as_array().unwrap()[1..] {
        let id = row["id"].as_str().unwrap();
        assert!(row["uid"] == id && row["self"].as_str().unwrap().ends_with(id), "{row}");
        assert!(delivered.iter().all(|id| !row.to_string().contains(id.to_string().trim_matches('"'))), "{row}");
    }
}

#[test]
fn too_many_requests_and_other_faults_are_those_of_the_operation() {
    let sandbox = SandboxServer::with_faults(&["issues=429@1x1", "summary=429@7x1", "summary=404"]);
    let issues = || sandbox.api("/api/app/1001/issues");
    let (status, head, body) = issues();
    assert_eq!((status, &body), (429, &json!({"code": 429, "message": "injected fault"})));
    assert!(head.contains("\r\nretry-after: 1\r\n"), "{head}");
    assert_eq!(issues().0, 200);
    let (status, head, _) = sandbox.api("/api/app/1001/issues-aggregation/summary");
    assert!(status == 429 && head.contains("\r\nretry-after: 7\r\n"), "{head}");
    for below in ["", "/", "/hash", "/hash/devices"] {
        let (status, head, body) = sandbox.api(&format!("/api/app/1001/issues-aggregation/summary{below}"));
        assert_eq!((status, &body["message"]), (404, &json!("injected fault")), "{below}: {head}");
    }
    assert_eq!(issues().0, 200);
}

#[test]
fn flags_say_what_is_listed() {
    let home = Home::new().set("PATH", "/usr/bin:/bin");
    if !crate::support::have("curl") {
        return;
    }
    let script = r#"
        post() { curl -sf -o /dev/null -d "$1" "$BUGFENDER_API_URL/sandbox/emit"; }
        post '{"set": {"id": "old", "created_at": "2026-01-01T00:00:00Z"}}'
        post '{"count": 2, "interval": 1, "set": {"id": "new"}}'
        curl -sf -H "Authorization: Bearer $BUGFENDER_API_TOKEN" "$BUGFENDER_API_URL/api/app/1001/issues""#;
    let run = |flags: &[&str]| {
        let run = home.run([&["sandbox"], flags, &["run", "--", "sh", "-c", script]].concat());
        assert_eq!(run.code, 0, "{run}");
        let page: Value = serde_json::from_str(&run.stdout).unwrap();
        page["issues"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(run(&[]), ["new", "new", "old"]);
    assert_eq!(run(&["--issues-order", "oldest"]), ["old", "new", "new"]);
    assert_eq!(run(&["--retention", "1h"]), ["new", "new"]);
    let foreign = run(&["--foreign-ids"]);
    assert!(foreign.len() == 3 && foreign[0] == foreign[1] && foreign[1] != foreign[2], "{foreign:?}");
    assert!(!foreign.iter().any(|id| id == "new" || id == "old"), "{foreign:?}");
    for wrong in [["--retention", "long"], ["--retention", "0s"], ["--issues-order", "random"]] {
        assert_eq!(home.run([&["sandbox"], &wrong[..]].concat()).code, 2, "{wrong:?}");
    }
}

#[test]
fn many_events_are_listed_page_by_page() {
    let sandbox = SandboxServer::start();
    for _ in 0..10 {
        // Ten runs that are of the same times.
        let set = json!({"text": "short", "created_at": "2026-11-28T12:00:00Z"});
        sandbox.emit(&json!({"app_id": 1002, "count": 2_000, "interval": 1, "set": set}));
    }
    sandbox.emit(&json!({}));
    let page = |number: u64| sandbox.api(&format!("/api/app/1002/issues?page_size=100&page={number}&issue_status=1")).2;
    let newest = page(1);
    assert_eq!((&newest["item_count"], &newest["total_pages"]), (&json!(20_000), &json!(200)));
    let times = |page: &Value| page["issues"].as_array().unwrap().iter().map(|row| row["created_at"].clone()).collect();
    let (first, last): (Vec<Value>, Vec<Value>) = (times(&newest), times(&page(200)));
    assert_eq!(first.iter().filter(|time| *time == "2026-11-28T12:00:00Z").count(), 10);
    assert_eq!(last.len(), 100);
    assert_eq!(last.iter().filter(|time| **time == last[99]).count(), 10);
    let groups = sandbox.api("/api/app/1002/issues-aggregation/summary").2;
    assert_eq!((&groups["data"][0]["count"], &groups["pagination"]["total_items"]), (&json!(20_000), &json!(1)));
}
