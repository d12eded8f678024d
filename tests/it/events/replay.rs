//! `events replay`, against endpoints that look at every byte.

use std::sync::{Arc, Mutex};

use bugfender_hooks::store::{EventPage, EventSelection, Store};
use serde_json::{Value, json};

use super::{CRASH, filled, ids, store};
use crate::assert_shown;
use crate::support::inbox::{encoded, of_ids};
use crate::support::{Home, Scripted, answer};

/// What arrived: the body, and the headers by which an endpoint knows it.
type Arrived = Arc<Mutex<Vec<(String, Vec<(String, String)>)>>>;

fn endpoint(status: impl Fn(usize) -> &'static str + Send + 'static) -> (Scripted, Arrived) {
    let arrived = Arrived::default();
    let log = Arc::clone(&arrived);
    let server = Scripted::start(move |before, exchange| {
        log.lock().unwrap().push((exchange.body.clone(), exchange.headers.clone()));
        exchange.send(answer(status(before), &[], ""));
    });
    (server, arrived)
}

fn header<'a>(arrived: &'a (String, Vec<(String, String)>), name: &str) -> Option<&'a str> {
    arrived.1.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn events_are_replayed_as_they_came() {
    let home = filled();
    let (server, arrived) = endpoint(|_| "200 OK");
    std::fs::write(home.path().join("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let to = format!("{}/hook", server.url);
    let rows = home.json(&["events", "replay", "--all", "--yes", "--to", &to, "--sign-with", "secret"]);
    let sent: Vec<_> = rows.as_array().unwrap().iter().map(|row| (&row["id"], &row["status"], &row["error"])).collect();
    assert_eq!(sent[0], (&json!("crash-1"), &json!(200), &Value::Null));
    assert_eq!(sent.len(), 5);
    {
        let arrived = arrived.lock().unwrap();
        assert_eq!(arrived[0].0, format!("[{CRASH}]"));
        assert_eq!(arrived[4].0, r#"[{"Exception":"boom"}]"#);
        assert_eq!(header(&arrived[0], "content-type"), Some("application/json"));
        assert_eq!(header(&arrived[0], "bugfender-hooks-replay"), Some("true"));
        let event = inbox_key(&home, "crash-1");
        assert_eq!(header(&arrived[0], "webhook-id"), Some(event.as_str()));
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers = headers.map(|name| format!("{name}: {}", header(&arrived[0], name).unwrap()));
        let args = [
            "verify",
            "--secret-file",
            "secret",
            "--tolerance",
            "60",
            "-H",
            &headers[0],
            "-H",
            &headers[1],
            "-H",
            &headers[2],
        ];
        let run = home.run_with_input(&args, &arrived[0].0);
        assert_eq!(run.code, 0, "{run}");
    }
    let rows = home.json(&["events", "replay", "issue-2", "--to", &to]);
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(header(&arrived.lock().unwrap()[5], "webhook-signature"), None);
    assert_eq!(ids(&home, &["replay", "--dead", "--yes", "--to", &to]), "crash-1 ");
    // Nothing has changed.
    assert_eq!(ids(&home, &["list", "--undelivered"]), "feedback-3 crash-1 ");
}

fn inbox_key(home: &Home, id: &str) -> String {
    let mut found = String::new();
    let selection = EventSelection { ids: Some(vec![id.to_owned()]), ..EventSelection::default() };
    let inbox = store(home).existing_inbox().unwrap().unwrap();
    inbox
        .events(&selection, EventPage::default(), &mut |event| {
            found = event.key.message_id();
            true
        })
        .unwrap();
    assert!(found.starts_with("evt_") && found.len() == 36, "{found}");
    found
}

#[test]
fn a_replay_says_what_the_endpoint_did_not_take() {
    let home = filled();
    let (server, arrived) = endpoint(|before| if before == 0 { "503 Busy" } else { "200 OK" });
    let rows = home.json(&["events", "replay", "crash-1", "--to", &server.url]);
    assert_eq!((&rows[0]["status"], arrived.lock().unwrap().len()), (&json!(200), 2));
    let (server, _) = endpoint(|before| if before == 1 { "410 Gone" } else { "200 OK" });
    let args = ["events", "replay", "--source", "bugfender", "--yes", "--to", &server.url];
    let run = home.run(args.iter().chain(&["--output", "json"]));
    assert_eq!((run.code, run.error()["http_status"].as_i64()), (1, Some(410)), "{run}");
    assert_eq!(run.json().as_array().unwrap().len(), 4);
    assert_eq!(run.json()[1]["error"], "the endpoint responded with HTTP 410");
    let (server, _) = endpoint(|before| if before == 1 { "410 Gone" } else { "200 OK" });
    let run = home.run(["events", "replay", "--source", "bugfender", "--yes", "-q", "--to", &server.url]);
    assert_eq!((run.code, run.stdout.as_str()), (1, "crash-1\nfeedback-3\n4\n"), "{run}");
    let run = home.run(["events", "replay", "nope", "issue-2", "--to", &server.url, "-q"]);
    assert_eq!((run.code, run.stdout.as_str()), (6, "issue-2\n"), "{run}");
    let (server, _) = endpoint(|_| "301 Moved");
    let run = home.run(["events", "replay", "issue-2", "--to", &server.url, "--output", "json"]);
    assert_eq!((run.code, run.json()[0]["status"].as_i64()), (1, Some(301)), "{run}");
}

#[test]
fn a_replay_to_an_endpoint_that_is_down_is_given_up() {
    let home = Home::new();
    let ids: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let delivery = of_ids(1, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    store(&home).receiver_inbox().unwrap().commit(&encoded(&[delivery]), &[]).unwrap();
    // The time is over before anything is tried again.
    let replay = ["events", "replay", "--all", "--yes", "--timeout", "0.1", "--output", "json", "--to"];
    let (down, _) = endpoint(|_| "503 Down");
    let run = home.run(replay.iter().chain(&[down.url.as_str()]));
    assert_eq!((run.code, run.json().as_array().unwrap().len()), (7, 10), "{run}");
    assert!(run.error()["message"].as_str().unwrap().contains("20 requests were not sent"), "{run}");
    // One that is well in between is not down.
    let (flaky, arrived) = endpoint(|before| if before % 9 == 0 { "200 OK" } else { "404 No" });
    let run = home.run(replay.iter().chain(&[flaky.url.as_str()]));
    assert_eq!((run.code, arrived.lock().unwrap().len()), (1, 30), "{run}");
}

#[test]
fn a_replay_is_asked_about_and_can_be_seen_before() {
    let home = filled();
    let to = ["--to", "http://user:s3cret@127.0.0.1:9/x"];
    assert_shown!("needs_yes", home.run(["events", "replay", "--all"].iter().chain(&to)));
    let run = home.run(["events", "replay", "issue-2", "--dry-run"].iter().chain(&to));
    let shown = without_time(&run.to_string());
    assert_shown!("dry_run", shown);
    assert_eq!(home.run(["events", "replay", "--type", "nope"].iter().chain(&to)).code, 0);
    assert_eq!(home.run(["events", "replay"].iter().chain(&to)).code, 2);
    std::fs::write(home.path().join("secret"), "no base64!\n").unwrap();
    let run = home.run(["events", "replay", "issue-2", "--sign-with", "secret"].iter().chain(&to));
    assert_eq!(run.code, 2, "{run}");
    assert!(!run.to_string().contains("s3cret"), "{run}");
}

/// The time of a call differs from run to run.
fn without_time(text: &str) -> String {
    let line = |line: &str| match line.split_once("webhook-timestamp: ") {
        Some((before, _)) => format!("{before}webhook-timestamp: [SECONDS]\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
