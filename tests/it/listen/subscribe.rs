//! `listen --subscribe`: hooks come with the start and, if so asked, go with the end.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;

use super::client::{connect, read_reply};

use super::{Receiver, call, events, refused, request};
use crate::support::{Home, Run, SandboxServer, Signal, free_address, signal, wait_until};

#[test]
fn ephemeral_hooks_live_as_long_as_the_receiver() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let address = free_address().to_string();
    let target = home.run(["listen", "--show-url", "--listen", &address]).stdout.trim_end().to_owned();
    let public = format!("http://{address}");
    // One that somebody else has, and one that is of use already.
    home.subscribe("1001", "new_crash", "https://hooks.example.com/other");
    home.subscribe("1001", "new_issue_separate", &target);

    let args = ["--subscribe", "--app-id", "1001", "--public-url", &public, "--ephemeral", "--label", "short"];
    let mut command = home.command(["listen", "--listen", &address, "--ready-file", "ready.json"].iter().chain(&args));
    command.current_dir(home.path());
    let receiver = Receiver::of(&home, command);
    assert!(target.ends_with(&receiver.path));
    wait_until("it is subscribed", || receiver.log().matches("subscribed").count() == 3);
    let added: Vec<_> = sandbox.hooks().into_iter().filter(|hook| hook["target_url"] == target.as_str()).collect();
    assert_eq!(added.len(), 3);
    sandbox.emit(&json!({"event": "new_crash"}));
    wait_until("an event arrives", || !events(&home).is_empty());
    assert_eq!(events(&home)[0].event_type.as_deref(), Some("crash"));
    let (code, log) = receiver.end();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("subscribed") && log.contains("was already subscribed"), "{log}");
    let left: Vec<_> = sandbox.hooks().iter().map(|hook| hook["event"].clone()).collect();
    assert_eq!(left, ["new_crash", "new_issue_separate"]);
    assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 2);
}

#[test]
fn hooks_stay_unless_they_are_ephemeral() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let public = "https://hooks.example.com/base/";
    let args = [
        "--subscribe",
        "--app-id",
        "https://d.example/3/app/Sandbox1001/logs",
        "--public-url",
        public,
        "--event",
        "new_crash",
    ];
    let receiver = Receiver::start(&home, &args);
    wait_until("it is subscribed", || receiver.log().contains(" subscribed\n"));
    let url = receiver.ready["bugfender_url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://hooks.example.com/base/bugfender/"), "{url}");
    assert_eq!(receiver.ready["instabug_url"], "https://hooks.example.com/base/instabug");
    assert_eq!(receiver.ready["luciq_url"], "https://hooks.example.com/base/luciq");
    assert_eq!(sandbox.hooks()[0]["app_id"], 1001);
    assert_eq!(sandbox.hooks()[0]["target_url"], url.as_str());
    let (code, log) = receiver.end();
    assert_eq!((code, sandbox.hooks().len()), (0, 1), "{log}");
    // The second time nothing is sent.
    let receiver = Receiver::start(&home, &args);
    wait_until("it says so", || receiver.log().contains("was already subscribed"));
    let (code, _) = receiver.end();
    assert_eq!((code, sandbox.requests("POST /api/hook").len()), (0, 1));
}

#[test]
fn one_wish_to_end_may_come_as_two_signals() {
    let sandbox = SandboxServer::slow(30);
    let home = Home::of(&sandbox);
    let args = ["--subscribe", "--app-id", "1001", "--public-url", "https://hooks.example.com", "--ephemeral"];
    let receiver = Receiver::start(&home, &args);
    assert_eq!(sandbox.hooks().len(), 3);
    receiver.signal(Signal::TERM);
    // As `timeout` and a terminal send both.
    std::thread::sleep(std::time::Duration::from_millis(5));
    let (code, log) = receiver.end();
    assert_eq!((code, sandbox.hooks().len()), (0, 0), "{log}");
}

#[test]
fn a_new_key_is_subscribed_too() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let args = ["--subscribe", "--app-id", "1001", "--public-url", "https://hooks.example.com", "--ephemeral"];
    let receiver = Receiver::start(&home, &[&args[..], &["--event", "new_crash"]].concat());
    let run = home.run(["listen", "--rotate-key", "--public-url", "https://hooks.example.com"]);
    receiver.signal(Signal::HUP);
    wait_until("it is subscribed", || receiver.log().contains("hook 2 subscribed"));
    assert_eq!(sandbox.hooks()[1]["target_url"], run.stdout.trim_end());
    let (code, log) = receiver.end();
    assert_eq!((code, sandbox.hooks().len()), (0, 0), "{log}");
    assert!(!home.path().join("ready.json").exists());
}

#[test]
fn a_new_key_that_could_not_be_subscribed_is_tried_again() {
    let sandbox = SandboxServer::with_faults(&["subscribe=403x2"]);
    let home = Home::of(&sandbox);
    let public = ["--public-url", "https://hooks.example.com"];
    let args = ["--subscribe", "--app-id", "1001", "--event", "new_crash"];
    let key = |run: Run| run.stdout.trim_end().rsplit_once('/').unwrap().1.to_owned();
    let first = key(home.run(["listen", "--show-url"].iter().chain(&public)));
    let run = refused(&home, &[&args[..], &public].concat());
    assert!(run.code == 5 && run.stderr.contains("403") && !run.stderr.contains(&first), "{run}");
    let target = format!("https://hooks.example.com/bugfender/{first}");
    let imported = ["import", "77", "--app-id", "1001", "--event", "new_crash", "--target-url", &target];
    assert_eq!(home.run(imported).code, 0);
    let receiver = Receiver::start(&home, &[&args[..], &public].concat());
    let second = key(home.run(["listen", "--rotate-key"].iter().chain(&public)));
    receiver.signal(Signal::HUP);
    wait_until("it is told", || receiver.log().contains("the new URL is not subscribed yet"));
    receiver.signal(Signal::HUP);
    wait_until("it is subscribed", || receiver.log().contains("hook 1 subscribed"));
    let (code, log) = receiver.end();
    assert!(code == 0 && !log.contains(&first) && !log.contains(&second), "{log}");
}

#[test]
fn what_cannot_be_subscribed_ends_it() {
    let sandbox = SandboxServer::with_faults(&["subscribe=403x9"]);
    let home = Home::of(&sandbox);
    let args = ["--subscribe", "--public-url", "https://hooks.example.com"];
    let run = refused(&home, &[&args[..], &["--app-id", "1001", "--ephemeral"]].concat());
    assert!(run.code != 0 && run.stderr.contains("403"), "{run}");
    assert!(sandbox.hooks().is_empty());
    // Without an app there is nothing to subscribe.
    let run = refused(&home, &args);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("--app-id"), "{run}");
    assert_eq!(refused(&home, &["--subscribe", "--app-id", "1"]).code, 2);
    assert_eq!(refused(&home, &["--ephemeral"]).code, 2);
    // The inbox is free for the next one.
    drop(Receiver::start(&home, &[]));
}

#[test]
fn what_was_subscribed_before_a_failure_is_taken_back() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let first = home.run(["listen", "--show-url", "--public-url", "https://hooks.example.com"]).stdout;
    // A row whose end is not known stands in the way of one event.
    let hook = home.subscribe("1001", "new_issue_separate", first.trim());
    let registry = rusqlite::Connection::open(home.registry()).unwrap();
    registry
        .execute("UPDATE hooks SET status = 'unknown', hook_id = NULL WHERE hook_id = ?", [hook["hook_id"].as_i64()])
        .unwrap();
    drop(registry);
    let run = refused(
        &home,
        &["--subscribe", "--public-url", "https://hooks.example.com", "--app-id", "1001", "--ephemeral"],
    );
    assert_eq!(run.code, 8, "{run}");
    let left: Vec<_> = sandbox.hooks().iter().map(|hook| hook["event"].clone()).collect();
    assert_eq!(left, ["new_issue_separate"]);
}

/// One signal while it subscribes is one: what is under way is finished.
#[test]
fn a_signal_while_subscribing_ends_it_well() {
    let sandbox = SandboxServer::with_faults(&["subscribe=hang"]);
    let home = Home::of(&sandbox);
    let args = ["--subscribe", "--app-id", "1001", "--public-url", "https://hooks.example.com", "--event", "new_crash"];
    // It says where it listens no sooner than it is subscribed.
    let address = free_address().to_string();
    let url = home.run(["listen", "--show-url"]).stdout;
    let path = url::Url::parse(url.trim()).unwrap().path().to_owned();
    let child = home.spawn(&[&["listen", "--listen", &address], &args[..]].concat());
    wait_until("the request is there", || !sandbox.requests("POST /api/hook").is_empty());
    let mut stream = connect(&address);
    let (first, second) = (r#"[{"id":"la"#, r#"te"}]"#);
    let length = first.len() + second.len();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{first}").unwrap();
    wait_until("the call is there", || {
        let metrics = call(&address, &request("GET /metrics", &[], b"")).unwrap().body;
        metrics.contains("bugfender_hooks_open_connections 2")
    });
    signal(&child, Signal::TERM);
    wait_until("it accepts nobody", || TcpStream::connect(&address).is_err());
    stream.write_all(second.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).unwrap().status, 200);
    let run = Run::of(child.wait_with_output().unwrap());
    // It is not known whether the hook was made.
    assert!(run.code != 0 && !run.stderr.contains("before all that was under way"), "{run}");
    assert_eq!((events(&home).len(), home.statuses()), (1, vec!["unknown".to_owned()]));
}
