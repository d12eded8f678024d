//! `trigger`, against endpoints that look at every byte.

use std::fs;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::assert_shown;
use crate::support::{Home, Scripted, answer};

/// What arrived: the body, the content type, the signature.
type Arrived = Arc<Mutex<Vec<(String, String, Option<String>)>>>;

fn endpoint(status: &'static str) -> (Scripted, Arrived) {
    let arrived = Arrived::default();
    let log = Arc::clone(&arrived);
    let server = Scripted::start(move |_, exchange| {
        let header = |name| exchange.header(name).map(str::to_owned);
        let entry = (
            exchange.body.clone(),
            header("content-type").unwrap_or_default(),
            header("x-lcq-signature-256").or(header("x-ibg-signature-256")),
        );
        log.lock().unwrap().push(entry);
        exchange.send(answer(status, &[], ""));
    });
    (server, arrived)
}

fn bodies(arrived: &Arrived) -> Vec<Value> {
    arrived.lock().unwrap().iter().map(|(body, ..)| serde_json::from_str(body).unwrap()).collect()
}

#[test]
fn bugfenders_events_come_as_arrays() {
    let (server, arrived) = endpoint("200 OK");
    let home = Home::new();
    let to = format!("{}/hook", server.url);
    let rows = home.json(&["trigger", "new_crash", "--to", &to, "--count", "2", "--app-id", "7"]);
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!((&rows[0]["status"], &rows[1]["call"]), (&json!(200), &json!(2)));
    let got = bodies(&arrived);
    assert_eq!((&got[0][0]["type"], &got[0][0]["app"]["id"]), (&json!("crash"), &json!(7)));
    assert_ne!(got[0][0]["id"], got[1][0]["id"]);
    assert_eq!(arrived.lock().unwrap()[0].1, "application/json");

    home.json(&["trigger", "new_user_feedback", "--to", &to, "--count", "3", "--batch", "--duplicate", "--older"]);
    let got = bodies(&arrived);
    assert_eq!((got.len(), got[2].as_array().unwrap().len()), (4, 3));
    assert_eq!(got[2], got[3]);
    assert!(got[2][0]["id"].is_i64() && got[2][0]["status"] == 0, "{}", got[2]);
}

#[test]
fn fields_are_set_and_files_are_sent_as_they_are() {
    let (server, arrived) = endpoint("204 No Content");
    let home = Home::new();
    let set = [
        "--set",
        "device.name=Pixel",
        "--set",
        "app.id=9",
        "--set",
        "device.user_data.vip=true",
        "--set",
        "new.deep=[1]",
    ];
    home.json(&[&["trigger", "new_crash", "--to", &server.url][..], &set].concat());
    let event = &bodies(&arrived)[0][0];
    assert_eq!((&event["device"]["name"], &event["app"]["id"]), (&json!("Pixel"), &json!(9)));
    assert_eq!((&event["device"]["user_data"]["vip"], &event["new"]["deep"]), (&json!(true), &json!([1])));

    let bytes = "[ {\"id\" : 1.0,\n \"title\":\"ünï\"} ]\n";
    fs::write(home.path().join("event.json"), bytes).unwrap();
    home.json(&["trigger", "new_crash", "--to", &server.url, "--data", "event.json"]);
    assert_eq!(arrived.lock().unwrap()[1].0, bytes);
    home.json(&["trigger", "new_crash", "--to", &server.url, "--data", "event.json", "--set", "0=x"]);
    assert_eq!(bodies(&arrived)[2][0]["0"], "x");
    let large = format!("\u{feff}no JSON at all {}", "x".repeat(300_000));
    fs::write(home.path().join("event.json"), &large).unwrap();
    home.json(&["trigger", "new_crash", "--to", &server.url, "--data", "event.json"]);
    assert!(arrived.lock().unwrap()[3].0 == large);
}

#[test]
fn instabugs_reports_are_objects_and_signed() {
    let (server, arrived) = endpoint("200 OK");
    let home = Home::new();
    fs::write(home.path().join("secret"), "s3cretOfInstabug16\n").unwrap();
    for (kind, key) in [("crash", "Exception"), ("bug", "Title"), ("apm", "metric")] {
        home.json(&["trigger", kind, "--instabug", "--secret-file", "secret", "--to", &server.url]);
        let (body, _, signature) = arrived.lock().unwrap().last().unwrap().clone();
        assert!(serde_json::from_str::<Value>(&body).unwrap()[key].is_string(), "{body}");
        let header = format!("x-lcq-signature-256: {}", signature.unwrap());
        let run = home.run_with_input(&["verify", "--secret-file", "secret", "-H", &header], &body);
        assert_eq!(run.code, 0, "{run}");
    }
    let former = ["--signature-header", "x-ibg-signature-256"];
    home.json(&[&["trigger", "bug", "--luciq", "--secret-file", "secret", "--to", &server.url][..], &former].concat());
    let (body, _, signature) = arrived.lock().unwrap().last().unwrap().clone();
    assert!(body.contains("Luciq Log") && !body.contains("Instabug"), "{body}");
    let header = format!("x-ibg-signature-256: {}", signature.unwrap());
    assert_eq!(home.run_with_input(&["verify", "--secret-file", "secret", "-H", &header], &body).code, 0);
    home.json(&["trigger", "bug", "--instabug", "--to", &server.url]);
    assert_eq!(arrived.lock().unwrap().last().unwrap().2, None);
}

#[test]
fn what_the_endpoint_does_not_take_is_said_and_not_sent_again() {
    let (server, arrived) = endpoint("503 Busy");
    let home = Home::new();
    let run = home.run(["trigger", "new_crash", "--to", &server.url, "--count", "2", "--output", "json"]);
    assert_eq!((run.code, run.error()["http_status"].as_i64()), (1, Some(503)), "{run}");
    assert_eq!(arrived.lock().unwrap().len(), 2);
    let run = home.run(["trigger", "new_crash", "--to", "http://user:s3cret@127.0.0.1:9/x"]);
    assert_eq!(run.code, 7, "{run}");
    assert!(!run.to_string().contains("s3cret"), "{run}");
    // Nobody answers: it is not tried for ever.
    let run = home.run(["trigger", "new_crash", "--to", "http://127.0.0.1:9/x", "--count", "50", "--output", "json"]);
    assert_eq!((run.code, run.json().as_array().unwrap().len()), (7, 10), "{run}");
    assert!(run.error()["message"].as_str().unwrap().contains("40 requests were not sent"), "{run}");
    // What the endpoint has to say against it is shown.
    let server = Scripted::always(answer("400 Bad", &[], "no\u{1b}[2J array"));
    let run = home.run(["trigger", "new_crash", "--to", &server.url, "--output", "json"]);
    let said = run.json()[0]["error"].as_str().unwrap().to_owned();
    assert!(said.starts_with("the endpoint responded with HTTP 400: no") && said.ends_with(" array"), "{run}");
    // But not its secrets, if it repeats them.
    let echo = Scripted::start(|_, exchange| {
        let authorization = exchange.header("authorization").unwrap_or_default().to_owned();
        let said = format!("{} {authorization} s3cret", exchange.line);
        exchange.send(answer("400 Bad", &[], &said));
    });
    let host = echo.url.strip_prefix("http://").unwrap();
    std::fs::write(home.path().join("url"), format!("http://user:s3cret@{host}/hook/K3y-of-the-path")).unwrap();
    let run = home.run(["trigger", "new_crash", "--to", "@url", "--output", "json"]);
    assert!(run.stderr.contains("HTTP 400: POST /hook/**** Basic **** ****"), "{run}");
    assert!(["s3cret", "K3y-of", "dXNlcjpz"].iter().all(|secret| !run.to_string().contains(secret)), "{run}");
    let (server, _) = endpoint("302 Found");
    let run = home.run(["trigger", "new_crash", "--to", &server.url, "--output", "json"]);
    assert_eq!((run.code, run.json()[0]["status"].as_i64()), (1, Some(302)), "{run}");
}

#[test]
fn mistakes_are_named() {
    let home = Home::new();
    let to = ["--to", "http://user:s3cret@127.0.0.1:9/x"];
    for (args, said) in [
        (&["crash"][..], "add --luciq"),
        (&["new_crash", "--instabug"], "crash, bug and apm"),
        (&["nope"], "invalid value"),
        (&["new_crash", "--set", "title"], "PATH=VALUE"),
        (&["new_crash", "--set", "title.x=1"], "there is no place for x"),
        (&["new_crash", "--data", "none.json"], "none.json: "),
        (&["new_crash", "--count", "0"], "--count"),
        (&["new_crash", "--secret-file", "x"], "--luciq"),
    ] {
        let run = home.run(["trigger"].iter().chain(args).chain(&to));
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains(said) && !run.stderr.contains("s3cret"), "{run}");
    }
    let args =
        ["trigger", "new_crash", "--set", "id=1", "--set", "created_at=\"now\"", "--set", "self=x", "--set", "uid=1"];
    let run = home.run(args.iter().chain(&to).chain(&["--dry-run"]));
    assert_shown!("dry_run", run);
    fs::write(home.path().join("no.json"), "no JSON").unwrap();
    let run = home.run(["trigger", "new_crash", "--data", "no.json", "--dry-run"].iter().chain(&to));
    assert!(run.stdout.ends_with("\n\nno JSON\n"), "{run}");
}

#[test]
fn the_ids_of_what_was_sent_are_shown() {
    let (server, _) = endpoint("200 OK");
    let home = Home::new();
    let rows = home.json(&["trigger", "new_crash", "--to", &server.url, "--count", "3", "--batch"]);
    let ids: Vec<&str> = rows[0]["event_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| id.starts_with("crash-")), "{rows}");
    let run = home.run(["trigger", "new_crash", "--to", &server.url, "--set", "id=my-id"]);
    assert!(run.stdout.contains("my-id"), "{run}");
    let run = home.run(["trigger", "new_crash", "--to", &server.url, "--set", "id=my-id", "--duplicate", "-q"]);
    assert_eq!(run.stdout, "my-id\nmy-id\n", "{run}");
}
