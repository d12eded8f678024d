//! Handing on to endpoints: what they get, in which order, signed how.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Call, Receiver, Sink, events, files, have, inbox, mode};
use crate::support::{Home, free_address, wait_until};

fn wait_for_all(home: &Home) {
    wait_until("everything is handed on", || super::pending(home) == 0);
}

#[test]
fn targets_get_the_bytes_that_came() {
    let home = Home::new().set("BUGFENDER_HOOKS_INSTABUG_SECRET", "secretOfInstabug1");
    let (sink, other) = (Sink::always("204 No Content"), Sink::always("202 Accepted"));
    let args = ["--forward-to", &sink.url, "--forward-to", &other.url, "--forward-to", &sink.url];
    let receiver = Receiver::start(&home, &args);
    let body = " [ {\"id\":\"1\", \"n\":1.0e400,\"t\":\"\\u00fc ü\"} ,\n{\"id\":2}] ";
    let kind = "application/json; charset=utf-8; x=\"y\"";
    assert_eq!(receiver.post_to(&receiver.path, &[&format!("content-type: {kind}")], body).status, 200);
    let call = &sink.wait_for(1)[0];
    assert_eq!((call.line.as_str(), call.body.as_str()), ("POST /in", body));
    assert_eq!(call.header("content-type"), kind);
    assert!(call.header("user-agent").starts_with("bugfender-hooks/"));
    assert!(!call.headers.iter().any(|(name, _)| name == "webhook-signature"), "there is no secret");
    assert_eq!(other.wait_for(1)[0].body, body);
    // Without a content type, it is JSON all the same.
    assert_eq!(receiver.post_to(&receiver.path, &[], r#"[{"id":"3"}]"#).status, 200);
    assert_eq!(sink.wait_for(2)[1].header("content-type"), "application/json");
    // An Instabug report becomes an array; of a call with duplicates only the new ones are handed on.
    let report = r#"{"Exception":"boom", "Number":1}"#;
    let secret = bugfender_hooks::domain::Secret::parse("it", "secretOfInstabug1").unwrap();
    let signature = bugfender_hooks::domain::signature::sign_instabug(&secret, report.as_bytes());
    assert_eq!(receiver.post_to("/instabug", &[&format!("x-ibg-signature-256: {signature}")], report).status, 200);
    assert_eq!(sink.wait_for(3)[2].body, format!("[{report}]"));
    receiver.post(r#"[ {"id":"1"}, {"id":"4"} ,{"id":"5"},{"id":"3"}, {"id":"6"}]"#);
    wait_for_all(&home);
    let mut late: Vec<_> = sink.calls()[3..].iter().map(Call::json).collect();
    late.sort_by_key(|call| call[0]["id"].to_string());
    let forwarded: Vec<_> = late.iter().flat_map(|call| call.as_array().unwrap().clone()).collect();
    assert_eq!(forwarded, [json!({"id": "4"}), json!({"id": "5"}), json!({"id": "6"})]);
    assert_eq!(receiver.end().0, 0);
    for event in events(&home) {
        assert_eq!((event.state.as_str(), event.attempts, event.error), ("forwarded", 2, None));
    }
}

/// What a header cannot hold must not make a target look ill.
#[test]
fn a_strange_content_type_harms_nobody() {
    let home = Home::new();
    let sink = Sink::always("200 OK");
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url, "--retry-wait", "0.05"]);
    for (number, kind) in ["application/json; name=\"é\"", "a\tb", &"x".repeat(20_000), ""].iter().enumerate() {
        let body = format!(r#"[{{"id":"{number}"}}]"#);
        let reply = receiver.post_to(&receiver.path, &[&format!("content-type: {kind}")], body);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    wait_for_all(&home);
    assert_eq!(sink.ids().len(), 4);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn events_are_handed_on_in_order_of_arrival() {
    let home = Home::new();
    let sink = Sink::always("200 OK");
    let args = ["--forward-to", &sink.url, "--max-in-flight", "1"];
    let receiver = Receiver::start(&home, &args);
    let expected: Vec<String> = (0..60).map(|number| format!("e{number}")).collect();
    for id in &expected {
        receiver.event(id);
    }
    let calls = sink.wait_for(60);
    assert_eq!(calls.iter().map(Call::id).collect::<Vec<_>>(), expected);
    assert_eq!(receiver.end().0, 0);
    assert_eq!(sink.calls().len(), 60);
}

/// The signature of the Standard Webhooks specification, by programs that are not ours.
const VERIFY: &str = r#"
import base64, hashlib, hmac, json, sys
got = json.load(sys.stdin)
key = base64.b64decode(got["secret"].removeprefix("whsec_"))
content = b".".join([got["id"].encode(), got["timestamp"].encode(), got["body"].encode()])
print("v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode())
"#;

#[test]
fn forwards_are_signed_and_known_again() {
    if !have("python3") {
        return;
    }
    let home = Home::new();
    let sink = Sink::start(|before, _| if before < 2 { ("503 Busy", vec![]) } else { ("200 OK", vec![]) });
    let args = ["--forward-to", &sink.url, "--sign-with", "signing-key", "--retry-wait", "0.05"];
    let receiver = Receiver::start(&home, &args);
    let key_file = home.path().join("signing-key");
    let secret = fs::read_to_string(&key_file).unwrap().trim().to_owned();
    assert!(secret.starts_with("whsec_") && mode(&key_file) == 0o600, "{:o}", mode(&key_file));
    receiver.post("[{\"id\":\"1\",\"t\":\"ü\"}, {\"id\":\"2\"}]");
    let calls = sink.wait_for(3);
    let ids: HashSet<_> = calls.iter().map(|call| call.header("webhook-id")).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    receiver.event("3");
    let calls = sink.wait_for(4);
    assert_ne!(calls[3].header("webhook-id"), calls[0].header("webhook-id"));
    for call in &calls {
        let (id, timestamp) = (call.header("webhook-id"), call.header("webhook-timestamp"));
        let age = jiff::Timestamp::now().as_second() - timestamp.parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "{age}");
        let given = json!({"secret": secret, "id": id, "timestamp": timestamp, "body": call.body}).to_string();
        let expected = super::run_program("python3", &["-c", VERIFY], given.as_bytes());
        assert_eq!(call.header("webhook-signature"), String::from_utf8(expected).unwrap().trim());
    }
    let log = receiver.log();
    assert!(!log.contains(&secret["whsec_".len()..]), "{log}");
    assert_eq!(receiver.end().0, 0);
    // The same key the next time; one that is none is an error at the start.
    let receiver = Receiver::start(&home, &args);
    assert_eq!(fs::read_to_string(&key_file).unwrap().trim(), secret);
    assert_eq!(receiver.end().0, 0);
    // What holds no secret to sign with is some other file, which is left as it is.
    for wrong in ["whsec_***", "whsec_", "whsec_YWJj", "a text\nof two lines"] {
        fs::write(&key_file, wrong).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!((super::refused(&home, &args).code, super::mode(&key_file)), (2, 0o644), "{wrong}");
    }
}

#[test]
fn what_was_accepted_can_be_forwarded_again() {
    let home = Home::new();
    let (sink, other) = (Sink::always("200 OK"), Sink::always("200 OK"));
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url, "--forward-to", &other.url]);
    for id in ["1", "2"] {
        receiver.event(id);
    }
    wait_for_all(&home);
    let names = home.json(&["targets", "list"]);
    let names: Vec<&str> = names.as_array().unwrap().iter().map(|target| target["name"].as_str().unwrap()).collect();
    let origin = sink.url.rsplit_once('/').unwrap().0;
    let name = *names.iter().find(|name| name.starts_with(origin)).unwrap();
    let run = home.run(["events", "retry", "1", "--target", name, "--again", "--output", "json"]);
    assert_eq!((run.code, run.json()), (0, json!({"forwards": 1})), "{run}");
    let calls = sink.wait_for(3);
    let first = calls.iter().find(|call| call.id() == "1").unwrap();
    assert_eq!(
        (calls[2].body.as_str(), calls[2].header("webhook-id")),
        (first.body.as_str(), first.header("webhook-id"))
    );
    wait_for_all(&home);
    // Both ways are shown, each with its attempt.
    let shown = home.json(&["events", "show", "1"]);
    let ways: Vec<_> = shown["forwards"].as_array().unwrap().iter().filter(|way| way["target"] == name).collect();
    assert_eq!(ways.iter().map(|way| &way["status"]).collect::<Vec<_>>(), ["forwarded", "forwarded"]);
    assert_eq!((&shown["status"], &shown["attempts"]), (&json!("forwarded"), &json!(3)));
    // What filters pick is asked about.
    let all = ["events", "retry", "--all", "--target", name, "--again"];
    let run = home.run(all);
    assert!(run.code == 2 && run.stderr.contains("Forward 2 events to"), "{run}");
    assert_eq!(home.json(&[&all[..], &["--yes"]].concat()), json!({"forwards": 2}));
    assert_eq!(sink.wait_for(5).len(), 5);
    assert_eq!(home.run(["events", "retry", "1", "--again"]).code, 2);
    assert_eq!(home.run(["events", "retry", "1", "--yes"]).code, 2);
    receiver.event("3");
    sink.wait_for(6);
    wait_for_all(&home);
    assert_eq!(receiver.end().0, 0);
    assert_eq!(other.calls().len(), 3);
}

#[test]
fn routes_go_by_type() {
    let home = Home::new();
    let (crashes, others, all) = (Sink::always("200 OK"), Sink::always("200 OK"), Sink::always("200 OK"));
    let route = |event: &str, sink: &Sink| format!("{event}={}", sink.url);
    let (crash, other) = (route("new_crash", &crashes), route("Issue, own-type", &others));
    let args = ["--route", &crash, "--route", &other, "--forward-to", &all.url];
    let receiver = Receiver::start(&home, &args);
    let event = |id: u32, kind: &str| format!(r#"{{"id":"{id}","type":"{kind}"}}"#);
    let kinds = ["crash", "issue", "crash", "crash", "own-type", "feedback"];
    let batch: Vec<_> = (1..).zip(kinds).map(|(id, kind)| event(id, kind)).collect();
    receiver.post(format!("[{}, {{\"id\":\"7\"}}]", batch.join(",")));
    wait_for_all(&home);
    let ids = |sink: &Sink| {
        let mut ids: Vec<_> = sink.ids().into_iter().collect();
        ids.sort();
        ids.join(" ")
    };
    assert_eq!((ids(&crashes).as_str(), ids(&others).as_str(), ids(&all).as_str()), ("1 3 4", "2 5", "1 2 3 4 5 6 7"));
    let (code, log) = receiver.end();
    assert!(code == 0 && log.matches("is not a known event type").count() == 1 && log.contains("own-type"), "{log}");
    for wrong in
        ["crash", "crash=", "=http://u:pass-word@127.0.0.1/x", "http://127.0.0.1/?a=b", "crash:http://u:pass-word@h"]
    {
        let refused = super::refused(&home, &["--route", wrong]);
        assert_eq!(refused.code, 2, "{wrong}");
        assert!(!refused.stderr.contains("pass-word"), "{}", refused.stderr);
    }
}

#[test]
fn no_more_attempts_at_once_than_allowed() {
    let home = Home::new();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (here, peak) = (Arc::clone(&now), Arc::clone(&most));
    let sink = Sink::start(move |_, _| {
        peak.fetch_max(here.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(30));
        here.fetch_sub(1, Ordering::SeqCst);
        ("200 OK", vec![])
    });
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url, "--max-in-flight", "3"]);
    for number in 0..30 {
        receiver.event(number);
    }
    wait_for_all(&home);
    assert_eq!((most.load(Ordering::SeqCst), sink.calls().len()), (3, 30));
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn a_target_that_hangs_does_not_slow_receiving() {
    let home = Home::new();
    let release = Arc::new(Mutex::new(()));
    let held = release.lock().unwrap();
    let delivery_keys = Arc::clone(&release);
    let sink = Sink::start(move |_, _| {
        drop(delivery_keys.lock());
        ("200 OK", vec![])
    });
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url]);
    receiver.event("first");
    sink.wait_for(1);
    let start = Instant::now();
    for number in 0..200 {
        receiver.event(number);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!((events(&home).len(), inbox(&home).backlog().unwrap().pending), (201, 201));
    drop(held);
    wait_for_all(&home);
    assert_eq!(sink.ids().len(), 201);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn what_waits_goes_on_after_a_kill() {
    let home = Home::new();
    let address = free_address();
    let to = format!("http://{address}/in");
    let args = ["--forward-to", &to, "--retry-wait", "0.05"];
    let receiver = Receiver::start(&home, &args);
    for number in 0..20 {
        receiver.event(number);
    }
    wait_until("it was tried", || events(&home).iter().any(|event| event.attempts > 0));
    drop(receiver);
    // Without the target nothing is handed on, and nothing is forgotten.
    let receiver = Receiver::start(&home, &[]);
    assert_eq!(receiver.get("/readyz").json()["backlog"], 20);
    drop(receiver);
    let sink = Sink::on(TcpListener::bind(address).unwrap(), |_, _| ("200 OK", vec![]));
    let receiver = Receiver::start(&home, &args);
    wait_for_all(&home);
    assert_eq!(sink.ids().len(), 20);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn templates_make_messages() {
    let home = Home::new();
    let event = r#"[{"id":"1","type":"crash","title":"<!channel> \"boom\" *x*","text":"of it","app":{"id":7,"name":"Shop"},
        "self":"https://example.com/1"},{"id":"2","type":"issue"}]"#;
    fs::write(home.path().join("own.txt"), "{{ type }} {{ id }}: {{ title }} ({{ event.app.name }})").unwrap();
    let wanted = [
        ("slack", "/blocks/0/text/text", "💥 Crash: <!channel> \"boom\" *x*"),
        ("discord", "/embeds/0/title", "💥 Crash: \\<!channel\\> \"boom\" \\*x\\*"),
        ("teams", "/attachments/0/content/body/0/text", "💥 Crash: \\<!channel\\> \"boom\" \\*x\\*"),
        ("own.txt", "", "crash 1: <!channel> \"boom\" *x* (Shop)"),
    ];
    for (template, place, text) in wanted {
        let sink = Sink::always("200 OK");
        let inbox = format!("sqlite:{template}.db");
        let args = ["--forward-to", &sink.url, "--template", template, "--store", &inbox, "--max-in-flight", "1"];
        let receiver = Receiver::start(&home, &args);
        receiver.post(event);
        // A message for each event.
        let calls = sink.wait_for(2);
        let (kind, got) = match place {
            "" => ("text/plain; charset=utf-8", calls[0].body.clone()),
            place => ("application/json", calls[0].json().pointer(place).unwrap().as_str().unwrap().to_owned()),
        };
        assert_eq!((calls[0].header("content-type"), got.as_str()), (kind, text), "{}", calls[0].body);
        assert_ne!(calls[0].header("webhook-id"), calls[1].header("webhook-id"));
        assert_eq!(receiver.end().0, 0);
    }
    fs::write(home.path().join("bad.txt"), "{{ oops").unwrap();
    fs::write(home.path().join("undeclared.txt"), "{\"text\": \"{{ title }}\"}").unwrap();
    for template in ["bad.txt", "none", "undeclared.txt"] {
        let args = ["--forward-to", "http://127.0.0.1:9/x", "--template", template];
        assert_eq!(super::refused(&home, &args).code, 2, "{template}");
    }
    assert!(files(home.path()).iter().any(|file| file.ends_with("slack.inbox.db")));
}
