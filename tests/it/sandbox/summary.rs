//! The groups of an app's events.

use std::time::Duration;

use bugfender_hooks::sandbox::SandboxOptions;
use serde_json::{Value, json};

use crate::support::SandboxServer;

const SUMMARY: &str = "/api/app/1001/issues-aggregation/summary";

/// A page of groups.
fn page(sandbox: &SandboxServer, query: &str) -> Value {
    let (status, _, body) = sandbox.api(&format!("{SUMMARY}?{query}"));
    assert_eq!(status, 200, "{body}");
    body
}

/// The title and the number of events of each group.
fn groups(page: &Value) -> Vec<(&str, u64)> {
    let group = |group: &'_ Value| group["count"].as_u64().unwrap();
    page["data"].as_array().unwrap().iter().map(|one| (one["title"].as_str().unwrap(), group(one))).collect()
}

#[test]
fn events_of_one_title_and_type_are_a_group() {
    let sandbox = SandboxServer::start();
    let emit = |event: &str, title: &str, hour: u8, count: u8, status: &str| {
        let set = json!({"title": title, "status": status, "created_at": format!("2026-11-28T{hour:02}:00:00Z")});
        sandbox.emit(&json!({"event": event, "count": count, "set": set}));
    };
    emit("new_crash", "A", 10, 2, "open");
    emit("new_issue_separate", "A", 11, 1, "open");
    emit("new_crash", "A", 12, 3, "closed");
    emit("new_user_feedback", "B", 9, 1, "open");

    let all = page(&sandbox, "");
    assert_eq!(groups(&all), [("A", 5), ("A", 1), ("B", 1)]);
    let crash = all["data"][0].clone();
    let hash = crash["hash"].as_str().unwrap();
    assert_eq!(
        crash,
        json!({
            "hash": hash, "title": "A", "type": 1, "status": 4, "count": 5, "open_count": 2, "closed_count": 3,
            "first_seen": "2026-11-28T10:00:00Z", "last_seen": "2026-11-28T12:00:00Z",
        })
    );
    assert_eq!(all["out_of_retention_period"], false);
    for (query, expected) in [
        ("issue_type=0", vec![("A", 1)]),
        ("issue_type=1", vec![("A", 5)]),
        ("issue_type=2", vec![("B", 1)]),
        ("status=1", vec![("A", 1), ("A", 2), ("B", 1)]),
        ("status=4", vec![("A", 3)]),
        ("status=1,4&issue_type=1", vec![("A", 5)]),
        ("status=2", vec![]),
        ("date_range_start=2026-11-28T11:00:00Z", vec![("A", 3), ("A", 1)]),
        ("date_range_end=2026-11-28T10:00:00.5Z", vec![("A", 2), ("B", 1)]),
        ("date_range_start=2026-11-28T10:00:00Z&date_range_end=2026-11-28T10:00:00Z", vec![("A", 2)]),
    ] {
        assert_eq!(groups(&page(&sandbox, query)), expected, "{query}");
    }

    let (status, _, one) = sandbox.api(&format!("{SUMMARY}/{hash}"));
    assert_eq!((status, &one["data"]), (200, &crash));
    let (status, _, devices) = sandbox.api(&format!("/api/app/Sandbox1001/issues-aggregation/summary/{hash}/devices"));
    assert_eq!((status, devices["data"].as_array().unwrap().len()), (200, 1));
    let device = &devices["data"][0];
    assert_eq!((&device["name"], &device["count"]), (&json!("Pixel 9"), &json!(5)));
    assert_eq!((&device["last_seen"], &devices["pagination"]["total_items"]), (&crash["last_seen"], &json!(1)));
    for unknown in ["nope", "nope/devices"] {
        let (status, _, body) = sandbox.api(&format!("{SUMMARY}/{unknown}"));
        assert_eq!((status, &body), (404, &json!({"code": 404, "message": "group not found"})));
    }
}

#[test]
fn groups_come_in_pages() {
    let sandbox = SandboxServer::start();
    for number in 0..5 {
        sandbox.emit(
            &json!({"set": {"title": format!("{number}"), "created_at": format!("2026-11-28T1{number}:00:00Z")}}),
        );
    }
    let mut titles = Vec::new();
    for number in 1..=3 {
        let page = page(&sandbox, &format!("page_size=2&page={number}"));
        assert_eq!(
            page["pagination"],
            json!({
                "current_page": number, "page_size": 2, "total_items": 5, "total_pages": 3,
                "has_next_page": number < 3, "has_prev_page": number > 1,
            })
        );
        titles.extend(groups(&page).into_iter().map(|(title, _)| title.to_owned()));
    }
    assert_eq!(titles, ["4", "3", "2", "1", "0"]);
    assert_eq!(groups(&page(&sandbox, "page_size=2&page=4")), []);
    assert_eq!(page(&sandbox, "")["pagination"]["page_size"], 200);
    for wrong in ["page_size=201", "page_size=0", "page=0", "issue_type=3", "status=7", "status=open", "page_size=x"] {
        let (status, _, body) = sandbox.api(&format!("{SUMMARY}?{wrong}"));
        assert_eq!((status, &body["code"]), (400, &json!(400)), "{wrong}: {body}");
    }
    assert_eq!(page(&sandbox, "page_size=200")["pagination"]["total_pages"], 1);
}

#[test]
fn what_is_out_of_the_retention_is_said() {
    let retention = Some(Duration::from_secs(3600));
    let sandbox = SandboxServer::with(SandboxOptions { retention, ..Default::default() });
    sandbox.emit(&json!({"set": {"title": "new"}}));
    sandbox.emit(&json!({"set": {"title": "old", "created_at": "2026-01-01T00:00:00Z"}}));
    let all = page(&sandbox, "");
    assert_eq!((groups(&all), &all["out_of_retention_period"]), (vec![("new", 1)], &json!(false)));
    let past = page(&sandbox, "date_range_start=2026-01-01T00:00:00Z");
    assert_eq!((groups(&past), &past["out_of_retention_period"]), (vec![("new", 1)], &json!(true)));
    let within = page(&sandbox, "date_range_start=2099-01-01T00:00:00Z");
    assert_eq!((groups(&within), &within["out_of_retention_period"]), (vec![], &json!(false)));
}
