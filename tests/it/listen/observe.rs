//! `/healthz`, `/readyz`, `/metrics`: what is said is what was done.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Receiver, Sink, inbox};
use crate::support::{Home, wait_until};

#[test]
fn readiness_says_what_waits() {
    let home = Home::new();
    // The first event is refused for good, the second is not.
    let sink =
        Sink::start(|_, call| if call.id() == "stuck" { ("400 Bad Request", vec![]) } else { ("200 OK", vec![]) });
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url, "--retry-wait", "600"]);
    let health = receiver.get("/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let empty = json!({"ready": true, "store_writable": true, "backlog": 0, "dead_letters": 0,
        "oldest_undelivered_seconds": null, "last_event_at": null});
    assert_eq!(receiver.get("/readyz").json(), empty);
    receiver.event("stuck");
    receiver.event("taken");
    wait_until("one is handed on", || receiver.get("/readyz").json()["backlog"] == 1);
    wait_until("the other one grows old", || receiver.get("/readyz").json()["oldest_undelivered_seconds"] == 1);
    let ready = receiver.get("/readyz").json();
    let last: jiff::Timestamp = ready["last_event_at"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(last).as_secs().abs() < 10, "{ready}");
    let head = super::call(&receiver.address, &super::request("HEAD /readyz", &[], b""));
    assert!(head.is_none_or(|reply| reply.status == 200));
    assert_eq!(receiver.end().0, 0);
    assert_eq!(inbox(&home).backlog().unwrap().pending, 1);
}

#[test]
fn metrics_count_what_happens() {
    let home = Home::new();
    let sink = Sink::start(|before, _| if before == 0 { ("400 Bad Request", vec![]) } else { ("200 OK", vec![]) });
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url, "--retry-wait", "0.05"]);
    let bugfender = r#"{source="bugfender"}"#;
    for (name, value) in [("received_deliveries", 0), ("duplicate_events", 0), ("committed_events", 0)] {
        assert_eq!(receiver.metric(&format!("bugfender_hooks_{name}_total{bugfender}")), value);
        assert!(receiver.get("/metrics").body.contains(&format!("bugfender_hooks_{name}_total{bugfender} 0")));
    }
    receiver.post(r#"[{"id":"1"},{"id":"2"},{"id":"2"}]"#);
    receiver.post("nonsense");
    receiver.post_to("/bugfender/wrong", &[], "[]");
    wait_until("it is handed on", || super::pending(&home) == 0);
    for (name, value) in [
        (format!("received_deliveries_total{bugfender}"), 2),
        (format!("committed_events_total{bugfender}"), 2),
        (format!("duplicate_events_total{bugfender}"), 1),
        (r#"rejected_calls_total{reason="malformed"}"#.to_owned(), 1),
        (r#"rejected_calls_total{reason="path"}"#.to_owned(), 1),
        ("backlog_forwards".to_owned(), 0),
        ("dead_letters".to_owned(), 0),
        ("backlog_oldest_seconds".to_owned(), 0),
        (r#"answer_seconds_count{status="200"}"#.to_owned(), 1),
        (r#"answer_seconds_count{status="400"}"#.to_owned(), 1),
    ] {
        assert_eq!(receiver.metric(&format!("bugfender_hooks_{name}")), value, "{name}");
    }
    for (name, value) in [("forwarded_total", 1), ("failed_forwards_total", 1), ("forward_seconds_count", 2)] {
        assert_eq!(receiver.metric_of(name, &sink.url), value, "{name}");
    }
    assert!(receiver.metric("bugfender_hooks_commit_seconds_count") >= 2);
    let reply = receiver.get("/metrics");
    assert!(reply.header("content-type").unwrap().contains("text") && reply.body.ends_with("# EOF\n"), "{reply:?}");
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn old_events_are_purged_when_they_were_handed_on() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    receiver.event("old");
    assert_eq!(receiver.end().0, 0);
    // Upkeep comes with the start; by then it is old.
    let age = Duration::from_millis(1200);
    wait_until("it is old", || {
        let now = jiff::Timestamp::now();
        now.duration_since(super::events(&home)[0].received_at) > jiff::SignedDuration::try_from(age).unwrap()
    });
    let receiver = Receiver::start(&home, &["--retention", "1s"]);
    wait_until("it is gone", || super::events(&home).is_empty());
    assert_eq!(receiver.get("/readyz").json()["backlog"], Value::from(0));
    assert_eq!(receiver.end().0, 0);
}
