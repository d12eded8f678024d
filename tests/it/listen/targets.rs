//! Targets: what is shown of them, every attempt on record, and pausing, resuming and dropping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::{Receiver, Sink, events, inbox, pending};
use crate::support::{Home, Scripted, answer, wait_until};

const SECRET: &str = "s3cr3t-of-the-path";

/// The lines of `events show` and its record as JSON.
fn shown(home: &Home, id: &str) -> (String, Value) {
    (home.run(["events", "show", id]).to_string(), home.json(&["events", "show", id]))
}

#[test]
fn nothing_of_a_targets_path_is_logged_stored_or_shown() {
    let home = Home::new();
    let redirecting = Scripted::start(move |_, exchange| {
        let location = format!("location: /elsewhere/{SECRET}");
        exchange.send(answer("308 Permanent Redirect", &[&location], ""));
    });
    let echoing = Scripted::start(move |_, exchange| {
        let body = format!("no route for {} on this server, {}", exchange.line, "x".repeat(5000));
        exchange.send(answer("404 Not Found", &[], &body));
    });
    let untrusted = crate::tls::start("new");
    let target = |url: &str| format!("{url}/hooks/{SECRET}?token={SECRET}");
    let (redirecting, echoing) = (target(&redirecting.url), target(&echoing.url));
    let untrusted = untrusted.as_ref().map(|server| target(&server.url));
    let public = format!("http://hooks.example.invalid/{SECRET}");
    let mut args = vec!["-vvv", "--retry-wait", "0.05"];
    for url in [&redirecting, &echoing, &public].into_iter().chain(&untrusted) {
        args.extend(["--forward-to", url]);
    }
    let receiver = Receiver::start(&home, &args);
    receiver.event("e");
    let count = args.iter().filter(|arg| **arg == "--forward-to").count();
    wait_until("each was tried", || {
        let record = home.json(&["events", "show", "e"]);
        record["forwards"].as_array().unwrap().iter().filter(|forward| forward["attempts"] != 0).count() == count
    });
    let mut everything = receiver.get("/metrics").body + &receiver.get("/readyz").body;
    for command in ["events show e", "events show e --output json", "events list --output json", "targets list"] {
        everything += &home.run(command.split(' ').chain(["-vvv"])).to_string();
    }
    everything += &receiver.end().1;
    assert!(!everything.contains(SECRET), "{everything}");
    assert!(everything.contains("http://hooks.example.invalid is plain http"), "{everything}");
    assert!(everything.contains("/… (HTTP 308), which is not followed"), "{everything}");
    assert!(everything.contains("no route for POST ****?****"), "{everything}");
    let wal = super::files(home.path()).into_iter().filter(|file| file.to_string_lossy().contains("inbox"));
    for file in wal {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{}", file.display());
    }
}

#[test]
fn every_attempt_is_on_record() {
    let home = Home::new();
    let busy = Scripted::start(|before, exchange| {
        let (status, body) = if before < 2 { ("503 Busy", "come back \u{1b}[31mlater") } else { ("200 OK", "done") };
        exchange.send(answer(status, &[], body));
    });
    let other = Sink::always("204 No Content");
    let args = ["--forward-to", &busy.url, "--forward-to", &other.url, "--retry-wait", "0.05"];
    let receiver = Receiver::start(&home, &args);
    receiver.event("e");
    wait_until("everything is forwarded", || pending(&home) == 0);
    assert_eq!(receiver.end().0, 0);
    let (text, record) = shown(&home, "e");
    // What was there before is as it was.
    assert_eq!((record["status"].as_str(), record["attempts"].as_u64()), (Some("forwarded"), Some(4)));
    let forwards = record["forwards"].as_array().unwrap();
    let of = |url: &str| {
        forwards.iter().find(|one| url.starts_with(one["target"].as_str().unwrap().split("/#").next().unwrap()))
    };
    let log = of(&busy.url).unwrap()["attempts_log"].as_array().unwrap();
    let field = |name: &str| log.iter().map(|attempt| attempt[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("number"), [1, 2, 3]);
    assert_eq!(field("status"), [503, 503, 200]);
    assert_eq!(field("answer"), ["come back \u{1b}[31mlater", "come back \u{1b}[31mlater", "done"]);
    assert_eq!(field("error"), [Value::from("HTTP 503"), Value::from("HTTP 503"), Value::Null]);
    assert!(log[0]["next_attempt_at"].is_string() && log[2]["next_attempt_at"].is_null(), "{log:?}");
    assert!(
        log.iter().all(|attempt| attempt["ms"].as_u64().is_some_and(|ms| ms < 60_000) && attempt["at"].is_string())
    );
    let log = &of(&other.url).unwrap()["attempts_log"];
    assert_eq!((log[0]["status"].as_u64(), log[0]["answer"].as_str()), (Some(204), None));
    assert!(text.contains("  2. ") && text.contains("HTTP 503  come back") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn events_of_one_target_are_listed_and_retried() {
    let home = Home::new();
    let (up, down) = (Sink::always("200 OK"), Sink::always("500 Internal Server Error"));
    let args = ["--forward-to", &up.url, "--route", &format!("crash={}", down.url), "--max-age", "1s"];
    let receiver = Receiver::start(&home, &[&args[..], &["--retry-wait", "0.05"]].concat());
    receiver.event("e");
    receiver.post(r#"[{"id":"f","type":"issue"}]"#);
    wait_until("one is dead-lettered", || inbox(&home).backlog().unwrap().dead == 1 && pending(&home) == 0);
    assert_eq!(receiver.end().0, 0);
    let targets = home.json(&["targets", "list"]);
    let name = |url: &str| {
        let origin = url.trim_end_matches("/in");
        let names = targets.as_array().unwrap().iter().map(|target| target["name"].as_str().unwrap().to_owned());
        names.into_iter().find(|name| name.starts_with(origin)).unwrap()
    };
    let (up, down) = (name(&up.url), name(&down.url));
    let ids = |args: &[&str]| home.run([&["events", "list", "-q"], args].concat()).stdout.replace('\n', " ");
    assert_eq!(ids(&["--target", &up]), "f e ");
    assert_eq!(ids(&["--target", &down]), "e ");
    assert_eq!(
        (ids(&["--target", &down, "--dead"]), ids(&["--target", &up, "--dead"])),
        ("e ".to_owned(), String::new())
    );
    assert_eq!(ids(&["--target", "nobody"]), "");
    assert_eq!(home.json(&["events", "retry", "--target", &up])["forwards"], 0);
    assert_eq!(home.json(&["events", "retry", "--target", &down])["forwards"], 1);
    assert_eq!(pending(&home), 1);
}

#[test]
fn a_paused_target_keeps_what_is_pending_over_a_restart() {
    let home = Home::new();
    let sink = Sink::always("200 OK");
    let args = ["--forward-to", &sink.url, "--max-age", "1s"];
    let receiver = Receiver::start(&home, &args);
    let name = home.json(&["targets", "list"])[0]["name"].as_str().unwrap().to_owned();
    let paused = home.json(&["targets", "pause", &name]);
    assert_eq!((paused[0]["status"].as_str(), paused[0]["paused_at"].is_string()), (Some("paused"), true));
    let metric = format!("bugfender_hooks_target_paused{{target=\"{name}\"}}");
    wait_until("the metrics say so", || receiver.metric(&metric) == 1);
    receiver.event("a");
    receiver.event("b");
    assert_eq!(receiver.end().0, 0);
    let receiver = Receiver::start(&home, &args);
    receiver.event("c");
    assert!(receiver.log().contains("is paused"), "{}", receiver.log());
    // It is polled for once a second: what is forwarded elsewhere shows that it was passed over.
    let listed = home.json(&["targets", "list"])[0].clone();
    assert_eq!((sink.calls().len(), listed["pending"].as_u64(), listed["dead"].as_u64()), (0, Some(3), Some(0)));
    let again = home.run(["targets", "pause", &name]);
    assert!(again.code == 0 && again.stderr.contains("was already paused"), "{again}");
    assert_eq!(home.json(&["targets", "resume", &name])[0]["status"], "active");
    sink.wait_for(3);
    wait_until("everything is forwarded", || pending(&home) == 0);
    assert_eq!(receiver.end().0, 0);
    assert_eq!(events(&home).iter().filter(|event| event.state.as_str() == "forwarded").count(), 3);
    for command in [&["list"][..], &["retry", "--all"], &["stats"], &["export"]] {
        let unknown = home.run(["events"].iter().chain(command).chain(&["--target", "nobody"]));
        assert!(unknown.code == 6 && unknown.stderr.contains("no target with the name nobody"), "{unknown}");
    }
    let unknown = home.run(["targets", "pause", "nobody"]);
    assert_eq!(unknown.code, 6, "{unknown}");
}

#[test]
fn what_is_dropped_is_dead_lettered_and_can_be_retried() {
    let home = Home::new();
    let lets = Arc::new(AtomicBool::new(false));
    let opens = Arc::clone(&lets);
    let sink = Sink::start(move |_, _| {
        if opens.load(Ordering::SeqCst) { ("200 OK", vec![]) } else { ("503 Busy", vec!["retry-after: 3600"]) }
    });
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url]);
    for id in ["a", "b", "c"] {
        receiver.event(id);
    }
    sink.wait_for(1);
    let name = home.json(&["targets", "list"])[0]["name"].as_str().unwrap().to_owned();
    let refused = home.run(["targets", "drop", &name]);
    assert!(refused.code == 2 && refused.stderr.contains("--yes"), "{refused}");
    assert_eq!(inbox(&home).backlog().unwrap().dead, 0);
    assert_eq!(home.json(&["targets", "drop", &name, "--yes"])[0]["dead"], 3);
    // An attempt that was in flight meanwhile brings nothing back.
    assert_eq!(receiver.end().0, 0);
    let backlog = inbox(&home).backlog().unwrap();
    assert_eq!((backlog.pending, backlog.dead), (0, 3));
    lets.store(true, Ordering::SeqCst);
    assert_eq!(home.json(&["events", "retry", "--target", &name])["forwards"], 3);
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url]);
    wait_until("everything is forwarded", || pending(&home) == 0);
    assert_eq!(receiver.end().0, 0);
    assert_eq!(inbox(&home).backlog().unwrap().dead, 0);
}
