//! However long the lists are, little memory is used.

use std::fs;

use super::*;
use crate::support::issue_server::Reply;

/// How many rows are listed, and how many of them are new.
const ROWS: usize = 100_000;
const NEW: usize = 100;

/// The most memory that the debug build may use, in KiB.
const MOST_MEMORY: u64 = 100 * 1024;

fn row(number: usize) -> Value {
    let text = "What happened, in some words, line by line. ".repeat(8);
    json!({
        "id": format!("crash-{number:06}"), "type": "crash", "title": format!("Crash {number}"), "text": text,
        "app": {"id": APP, "name": "An app"},
        "created_at": (ago(HOUR * 2) + SignedDuration::from_millis(i64::try_from(number).unwrap())).to_string(),
    })
}

#[test]
fn a_long_list_needs_little_memory() {
    let world = World::on_sqlite();
    let receiver = world.receiver(&[]);
    world.hooks(&receiver, &["new_crash"]);
    world.age_hooks(HOUR * 9);
    let is_new = |number: usize| number % (ROWS / NEW) == 7;
    for start in (0..ROWS).step_by(2000) {
        let events: Vec<Value> = (start..start + 2000).filter(|number| !is_new(*number)).map(row).collect();
        assert_eq!(receiver.post(json!(events).to_string()).status, 200);
    }
    world.end(receiver);
    world.api.script(|ask, _| {
        let page: usize = ask.line.rsplit_once("&page=")?.1.parse().ok()?;
        if !ask.is_for_issues() {
            return None;
        }
        let all = if ask.line.contains("issue_status=1&") { ROWS } else { 0 };
        let rows: Vec<Value> = ((page - 1) * 100..(page * 100).min(all)).map(|number| row(ROWS - 1 - number)).collect();
        Some(Reply::Object(json!({"issues": rows, "total_pages": all / 100, "item_count": all, "page_index": page})))
    });
    let mut child = world.home.spawn(&["events", "fetch", "--output", "json"]);
    let (status, mut peak) = (format!("/proc/{}/status", child.id()), 0);
    let start = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let most = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(most.unwrap_or(0_u64));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    eprintln!("{ROWS} rows: {peak} KiB at most, {:?}", start.elapsed());
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.code, &run.json()[0]["new"], &run.json()[0]["found"]), (0, &json!(NEW), &json!(ROWS)), "{run}");
    assert!(peak > 0 && peak < MOST_MEMORY, "{peak} KiB");
}
