//! `/healthz`, `/readyz`, `/metrics`: what is said is what was done.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Receiver, Sink, inbox};
use crate::support::{Home, have, wait_until};

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
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let head = "GET /metrics";
    let accept = ["accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"];
    let open = super::call(&receiver.address, &super::request(head, &accept, b"")).unwrap();
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"), "{open:?}");
    assert!(open.body.ends_with("# EOF\n"), "{open:?}");
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn every_series_is_there_at_zero_from_the_start() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--forward-to", "http://127.0.0.1:9/hook", "--exec", "true"]);
    let text = receiver.get("/metrics").body;
    let has = |start: &str| {
        text.lines().any(|line| {
            line.strip_prefix("bugfender_hooks_").is_some_and(|line| line.starts_with(start) && line.ends_with(" 0"))
        })
    };
    for reason in [
        "address",
        "path",
        "method",
        "signature",
        "too_large",
        "too_slow",
        "broken",
        "encoding",
        "malformed",
        "store",
        "overload",
    ] {
        assert!(has(&format!("rejected_calls_total{{reason=\"{reason}\"}}")), "{reason}: {text}");
    }
    for source in ["bugfender", "instabug"] {
        for name in ["received_deliveries_total", "duplicate_events_total", "committed_events_total"] {
            assert!(has(&format!("{name}{{source=\"{source}\"}}")), "{name}: {text}");
        }
    }
    for target in ["http://127.0.0.1:9", "exec: true"] {
        for name in ["forwarded_total", "failed_forwards_total", "dead_forwards_total", "target_backlog_forwards"] {
            assert!(has(&format!("{name}{{target=\"{target}")), "{name} {target}: {text}");
        }
    }
    for name in ["dropped_log_lines_total", "quarantined_deliveries"] {
        assert!(has(name), "{name}: {text}");
    }
    assert!(
        receiver.metric("bugfender_hooks_store_size_bytes") > 0
            && receiver.metric("bugfender_hooks_disk_free_bytes") > 0
    );
    assert_eq!(receiver.metric(&format!("bugfender_hooks_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1);
    if have("promtool") {
        fs::write(home.path().join("metrics"), &text).unwrap();
        let metrics = fs::File::open(home.path().join("metrics")).unwrap();
        let check = Command::new("promtool").args(["check", "metrics"]).stdin(metrics).output().unwrap();
        let said = String::from_utf8_lossy(&check.stderr).into_owned() + &String::from_utf8_lossy(&check.stdout);
        assert!(check.status.success() && said.trim().is_empty(), "{said}");
    }
}

#[test]
fn a_log_that_nothing_reads_stops_nothing() {
    let home = Home::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Receiver::command(&home, &["-v"]);
    command.stderr(writer).stdout(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut ready = Value::Null;
    wait_until("the receiver serves", || {
        let text = fs::read(home.path().join("ready.json")).ok();
        ready = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        !ready.is_null()
    });
    let address = ready["url"].as_str().unwrap().split_once("://").unwrap().1.to_owned();
    let post = |what: &str| super::call(&address, &super::request(what, &[], b"[]")).unwrap().status;
    // More than a pipe and the queue of lines hold.
    let dropped = || {
        let text = super::call(&address, &super::request("GET /metrics", &[], b"")).unwrap().body;
        let line = text.lines().find_map(|line| line.strip_prefix("bugfender_hooks_dropped_log_lines_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    while dropped() == 0 {
        for _ in 0..500 {
            assert_eq!(post("POST /nowhere"), 404);
        }
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    wait_until("it ends", || child.try_wait().unwrap().is_some());
    let mut log = String::new();
    std::io::Read::read_to_string(&mut reader, &mut log).unwrap();
    let line = log.lines().find(|line| line.contains("rejected a request")).unwrap();
    assert!(line.contains("reason=\"path\" peer=127.0.0.1"), "{line}");
    let time = line.split_once(' ').unwrap().0;
    assert!(time.len() == 24 && time.parse::<jiff::Timestamp>().is_ok(), "{line}");
}

#[test]
fn a_log_of_json_is_json_in_every_line() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--log-format", "json", "-v"]);
    receiver.post("nonsense");
    receiver.post_to("/nowhere", &[], "[]");
    let (_, log) = receiver.end();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| {
        let has = |line: &&Value| line["fields"]["message"].as_str().is_some_and(|text| text.contains(message));
        lines.iter().find(has).unwrap_or_else(|| panic!("{message}: {log}"))
    };
    assert_eq!(of("listening on http://")["level"], "INFO");
    assert_eq!(of("kept in quarantine")["level"], "WARN");
    assert_eq!(of("rejected a request")["fields"]["reason"], "path");
    assert!(lines.iter().all(|line| line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok()), "{log}");
    let refused =
        super::refused(&home, &["--log-format", "json", "--forward-to", "http://127.0.0.1:9/x", "--template", "none"]);
    let error: Value = serde_json::from_str(refused.stderr.trim()).unwrap();
    assert_eq!((error["level"].as_str(), refused.code), (Some("ERROR"), 2));
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
