//! `healthcheck`: what it says of real receivers, and of what is none.

use std::fs;
use std::net::TcpListener;
use std::time::Instant;

use serde_json::{Value, json};

use crate::listen::Receiver;
use crate::listen::store::on_a_small_disk;
use crate::support::postgres::{Server, ServerSettings};
use crate::support::{Exchange, Home, Run, Scripted, answer, free_address, wait_until};

/// What a receiver says that is, or is not, ready.
fn readiness(ready: bool) -> String {
    let said = json!({"ready": ready, "store_writable": ready, "backlog": 3, "dead_letters": 1,
        "oldest_undelivered_seconds": 7, "last_event_at": "2026-01-02T03:04:05Z"});
    said.to_string()
}

#[test]
fn a_receiver_that_is_ready() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let admin = receiver.address.clone();
    for args in [
        &[&*receiver.url()][..],
        &["--admin", &admin],
        &["--ready-file", "ready.json"],
        &[&*format!("{}/readyz", receiver.url())],
    ] {
        let said = home.json(&[&["healthcheck"], args].concat());
        let expected = json!({"url": receiver.url(), "ready": true, "store_writable": true, "backlog": 0, "dead_letters": 0,
            "oldest_undelivered_seconds": null, "last_event_at": null, "warnings": [], "self_check": null});
        assert_eq!(said, expected, "{args:?}");
    }
    let table = home.run(["healthcheck", "--admin", &admin]);
    assert_eq!((table.code, table.stderr.as_str()), (0, ""), "{table}");
    assert!(table.stdout.contains("READY") && table.stdout.contains("writable"), "{table}");
    assert_eq!(home.run(["healthcheck", "--admin", &admin, "-q"]).stdout, format!("{}\n", receiver.url()));
    assert_eq!(receiver.end().0, 0);
    let gone = home.run(["healthcheck", "--ready-file", "ready.json"]);
    assert_eq!(gone.code, 7, "{gone}");
    assert!(gone.stderr.contains("there is no ready.json: the receiver does not serve"), "{gone}");
}

/// It is asked where it serves, be that on all addresses or on a port of its own.
#[test]
fn a_port_for_operators() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--admin-listen", "0.0.0.0:0"]);
    let everywhere = receiver.ready["admin_url"].as_str().unwrap().to_owned();
    let here = everywhere.replace("0.0.0.0", "127.0.0.1");
    let said = home.json(&["healthcheck", "--ready-file", "ready.json"]);
    assert_eq!((&said["url"], &said["ready"]), (&Value::from(here), &true.into()));
    let address = everywhere.strip_prefix("http://").unwrap();
    assert_eq!(home.run(["healthcheck", "--admin", address]).code, 0);
    // It is not with the deliveries, and who asks there is told.
    let wrong = home.run(["healthcheck", "--admin", &receiver.address, "--wait"]);
    assert_eq!(wrong.code, 6, "{wrong}");
    assert!(wrong.stderr.contains("HTTP 404") && wrong.stderr.contains("give that address as --admin"), "{wrong}");
}

#[test]
fn a_full_disk_is_not_ready_until_there_is_room() {
    let home = Home::new();
    let Some((receiver, disk)) = on_a_small_disk(&home, &["--max-body", "600kB", "--reserve", "0"]) else { return };
    let ask = |args: &[&str]| home.run([&["healthcheck", "--admin", &receiver.address], args].concat());
    assert_eq!(ask(&[]).code, 0);
    let ballast = disk.join("ballast");
    let _ = fs::write(&ballast, vec![0; 8 * 1024 * 1024]);
    wait_until("it is not ready", || ask(&[]).code == 7);
    let run = ask(&["--output", "json"]);
    let (said, error) = (run.json(), run.error());
    assert_eq!((&said["ready"], &said["store_writable"]), (&false.into(), &false.into()), "{run}");
    assert_eq!((&error["code"], &error["http_status"]), (&7.into(), &503.into()), "{run}");
    assert!(
        error["message"].as_str().unwrap().ends_with("the receiver is not ready: events cannot be stored"),
        "{run}"
    );
    assert_eq!(ask(&["-q"]).stdout, "");
    let waiting = home.spawn(&["healthcheck", "--admin", &receiver.address, "--wait", "-v"]);
    fs::remove_file(&ballast).unwrap();
    let waited = Run::of(waiting.wait_with_output().unwrap());
    assert_eq!(waited.code, 0, "{waited}");
}

#[test]
fn a_server_of_the_store_that_is_gone() {
    let Some(server) = Server::start(ServerSettings::default()) else { return };
    let home = Home::new().set("BUGFENDER_HOOKS_STORE", &server.url(&server.new_database()));
    let receiver = Receiver::start(&home, &[]);
    let ask = |args: &[&str]| home.run([&["healthcheck", "--admin", &receiver.address], args].concat());
    assert_eq!(ask(&[]).code, 0);
    server.stop_immediately();
    wait_until("it is not ready", || ask(&[]).code == 7);
    assert!(ask(&[]).stderr.contains("events cannot be stored"), "{}", ask(&[]));
    server.resurrect();
    let run = ask(&["--wait"]);
    assert_eq!(run.code, 0, "{run}");
}

#[test]
fn waiting_ends_when_it_is_ready() {
    let home = Home::new();
    let server = Scripted::start(|before, exchange: &mut Exchange| {
        exchange.send(match before {
            // As a proxy in front of it does, and then the receiver itself.
            0 => answer("502 Bad Gateway", &[], "<html>"),
            1 => answer("503 Service Unavailable", &["retry-after: 5"], &readiness(false)),
            _ => answer("200 OK", &[], &readiness(true)),
        });
    });
    let once = home.run(["healthcheck", &server.url]);
    assert_eq!((once.code, server.seen().len()), (7, 1), "{once}");
    let run = home.run(["healthcheck", &server.url, "--wait=20s", "--output", "json"]);
    assert_eq!((run.code, run.json()["backlog"].as_i64()), (0, Some(3)), "{run}");
    assert_eq!(server.seen(), vec!["GET /readyz"; 3]);
}

/// A script may start both at once.
#[test]
fn waiting_for_one_that_does_not_run_yet() {
    let home = Home::new();
    let waiting = home.spawn(&["healthcheck", "--ready-file", "ready.json", "--wait"]);
    let receiver = Receiver::start(&home, &[]);
    let run = Run::of(waiting.wait_with_output().unwrap());
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn waiting_ends_in_time() {
    let home = Home::new();
    let nothing = free_address().to_string();
    let before = Instant::now();
    let run = home.run(["healthcheck", "--admin", &nothing, "--wait=700ms", "--output", "json"]);
    assert!(before.elapsed().as_millis() < 10_000, "{:?}", before.elapsed());
    assert_eq!((run.code, run.stdout.as_str()), (7, ""), "{run}");
    assert!(run.error()["message"].as_str().unwrap().contains("could not connect"), "{run}");
    let server = Scripted::always(answer("503 Service Unavailable", &[], &readiness(false)));
    let run = home.run(["healthcheck", &server.url, "--wait=1s"]);
    assert!(run.code == 7 && server.seen().len() > 1, "{}: {run}", server.seen().len());
    assert_eq!(home.run(["healthcheck", "--admin", &nothing]).code, 7);
}

#[test]
fn a_server_that_never_answers() {
    let home = Home::new();
    // Connections are made, as far as the queue goes, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for args in [&["--timeout", "0.4"][..], &["--wait=400ms"]] {
        let run = home.run([&["healthcheck", "--admin", &address], args].concat());
        assert!(run.code == 7 && run.stderr.contains("timed out waiting for a response"), "{args:?}: {run}");
    }
}

/// 200 alone says nothing: anything may listen there.
#[test]
fn what_is_no_receiver_is_not_ready() {
    let home = Home::new();
    let not_ready = readiness(false);
    for (status, body, code) in [
        ("200 OK", "ok\n", 1),
        ("200 OK", r#"{"ready": true}"#, 1),
        ("200 OK", not_ready.as_str(), 1),
        ("302 Found", "", 1),
        ("403 Forbidden", "", 5),
        ("421 Misdirected Request", "", 2),
        ("500 Internal Server Error", "", 7),
    ] {
        let server = Scripted::always(answer(status, &["location: /elsewhere"], body));
        let run = home.run(["healthcheck", &server.url]);
        assert_eq!((run.code, server.seen().len()), (code, 1), "{status}: {run}");
        assert_eq!(run.stdout, "", "{status}: {run}");
    }
    for wrong in [&["127.0.0.1:4000"][..], &["--ready-file", "."], &["--admin", "x"], &["--wait=0s"]] {
        assert_eq!(home.run([&["healthcheck"], wrong].concat()).code, 2, "{wrong:?}");
    }
    fs::write(home.path().join("other.json"), "{}").unwrap();
    assert_eq!(home.run(["healthcheck", "--ready-file", "other.json", "--wait"]).code, 2);
}
