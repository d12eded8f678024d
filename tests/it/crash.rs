//! Killed at every step, the registry still has a row for every hook that may exist.
//!
//! There are no fault points in the program: the test holds it up from outside, by a lock on the database where it
//! must commit next, or by a server that stops where the test says, and kills it there.

use std::collections::HashSet;
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};

use rusqlite::Connection;
use serde_json::json;

use crate::support::{Exchange, Home, PATIENCE, SandboxServer, Scripted, wait_until};

const URL: &str = "https://hooks.example.com/bf";
const SUBSCRIBE: [&str; 7] = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL];
const UNSUBSCRIBE: [&str; 2] = ["unsubscribe", "5"];

/// A server that says when a request is in, and answers in the pieces that the test lets through.
struct DeliveryKeys {
    server: Scripted,
    arrived: Receiver<()>,
    go: Sender<&'static str>,
    sent: Receiver<()>,
}

impl DeliveryKeys {
    fn open() -> Self {
        let ((arrive, arrived), (go, pieces), (done, sent)) = (channel(), channel::<&'static str>(), channel());
        let server = Scripted::start(move |_, exchange: &mut Exchange| {
            arrive.send(()).unwrap();
            while let Ok(piece) = pieces.recv_timeout(PATIENCE) {
                if piece == "end" {
                    break;
                }
                exchange.send(piece);
                done.send(()).unwrap();
            }
        });
        Self { server, arrived, go, sent }
    }

    fn wait(&self) {
        self.arrived.recv_timeout(PATIENCE).unwrap();
    }

    fn send(&self, piece: &'static str) {
        self.go.send(piece).unwrap();
        self.sent.recv_timeout(PATIENCE).unwrap();
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A home whose registry exists and is empty.
fn home(delivery_keys: &DeliveryKeys) -> Home {
    let home = Home::at(&delivery_keys.server.url, "t");
    home.json(&["import", "9", "--app-id", "9", "--event", "new_crash", "--target-url", URL]);
    home.json(&["forget", "9"]);
    home
}

fn home_with_hook(delivery_keys: &DeliveryKeys) -> Home {
    let home = Home::at(&delivery_keys.server.url, "t");
    home.json(&["import", "5", "--app-id", "1", "--event", "new_crash", "--target-url", URL]);
    home
}

/// Waits until the process has the registry open.
fn wait_for_open(child: &Child, home: &Home) {
    let fds = format!("/proc/{}/fd", child.id());
    wait_until("the registry is open", || {
        let links = std::fs::read_dir(&fds).into_iter().flatten().flatten();
        links.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|file| file == home.registry())
    });
}

const CREATED: &str = "HTTP/1.1 201 Created\r\ncontent-length: 8\r\n\r\n{\"id\":5}";
const CREATED_HALF: &str = "HTTP/1.1 201 Created\r\ncontent-length: 8\r\n\r\n{\"id";
const DELETED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// After a kill: the row is `unknown`, nothing is sent blindly, and the hook can be imported.
fn expect_unknown(home: &Home, delivery_keys: &DeliveryKeys) {
    assert_eq!(home.statuses(), ["unknown"]);
    let run = home.run(SUBSCRIBE);
    assert_eq!(run.code, 8, "{run}");
    assert!(run.stderr.contains("the process that was subscribing ended without an answer"), "{run}");
    assert_eq!(delivery_keys.server.seen().len(), 1);
    home.json(&["import", "5", "--app-id", "1", "--event", "new_crash", "--target-url", URL]);
    assert_eq!(home.statuses(), ["active"]);
}

#[test]
fn killed_before_the_intent_is_recorded_nothing_was_sent() {
    let delivery_keys = DeliveryKeys::open();
    let home = home(&delivery_keys);
    let held = home.lock();
    let child = home.spawn(&SUBSCRIBE);
    wait_for_open(&child, &home);
    kill(child);
    drop(held);
    assert!(delivery_keys.server.seen().is_empty());
    assert!(home.statuses().is_empty());
}

#[test]
fn killed_before_the_request_is_read() {
    // A listener that accepts nobody: the request is on its way and no further.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::at(&format!("http://{}", listener.local_addr().unwrap()), "t");
    let child = home.spawn(&SUBSCRIBE);
    let (stream, _) = listener.accept().unwrap();
    kill(child);
    drop(stream);
    assert_eq!(home.statuses(), ["unknown"]);
}

#[test]
fn killed_once_the_server_has_acted() {
    let delivery_keys = DeliveryKeys::open();
    let home = home(&delivery_keys);
    let child = home.spawn(&SUBSCRIBE);
    delivery_keys.wait();
    // While it lives, the row is at work, not in doubt.
    assert_eq!(home.statuses(), ["pending"]);
    kill(child);
    delivery_keys.go.send("end").unwrap();
    expect_unknown(&home, &delivery_keys);
}

#[test]
fn killed_in_the_middle_of_the_answer() {
    let delivery_keys = DeliveryKeys::open();
    let home = home(&delivery_keys);
    let child = home.spawn(&SUBSCRIBE);
    delivery_keys.wait();
    delivery_keys.send(CREATED_HALF);
    kill(child);
    delivery_keys.go.send("end").unwrap();
    expect_unknown(&home, &delivery_keys);
}

#[test]
fn killed_before_the_hook_is_recorded() {
    let delivery_keys = DeliveryKeys::open();
    let home = home(&delivery_keys);
    let child = home.spawn(&SUBSCRIBE);
    delivery_keys.wait();
    let held = home.lock();
    delivery_keys.send(CREATED);
    kill(child);
    drop(held);
    delivery_keys.go.send("end").unwrap();
    expect_unknown(&home, &delivery_keys);
}

#[test]
fn killed_before_a_removal_is_recorded_nothing_was_sent() {
    let delivery_keys = DeliveryKeys::open();
    let home = home_with_hook(&delivery_keys);
    let held = home.lock();
    let child = home.spawn(&UNSUBSCRIBE);
    wait_for_open(&child, &home);
    kill(child);
    drop(held);
    assert!(delivery_keys.server.seen().is_empty());
    assert_eq!(home.statuses(), ["active"]);
}

#[test]
fn killed_while_the_server_removes() {
    let delivery_keys = DeliveryKeys::open();
    let home = home_with_hook(&delivery_keys);
    let child = home.spawn(&UNSUBSCRIBE);
    delivery_keys.wait();
    kill(child);
    delivery_keys.go.send("end").unwrap();
    expect_removing(&home, &delivery_keys);
}

#[test]
fn killed_before_a_removal_is_recorded_as_done() {
    let delivery_keys = DeliveryKeys::open();
    let home = home_with_hook(&delivery_keys);
    let child = home.spawn(&UNSUBSCRIBE);
    delivery_keys.wait();
    let held = home.lock();
    delivery_keys.send(DELETED);
    kill(child);
    drop(held);
    delivery_keys.go.send("end").unwrap();
    expect_removing(&home, &delivery_keys);
}

/// After a kill: the row is `removing`, and the same command finishes it.
fn expect_removing(home: &Home, delivery_keys: &DeliveryKeys) {
    assert_eq!(home.statuses(), ["removing"]);
    assert_eq!(home.run(SUBSCRIBE).code, 8);
    assert_eq!(delivery_keys.server.seen().len(), 1);
    let child = home.spawn(&UNSUBSCRIBE);
    delivery_keys.wait();
    delivery_keys.send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    delivery_keys.go.send("end").unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(home.statuses(), ["removed"]);
}

/// Kills at times that nobody chose: 60 runs, each killed a little later than the one before.
#[test]
fn killed_at_any_time_no_hook_is_without_a_row() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let start = std::time::Instant::now();
    home.subscribe("1", "new_crash", URL);
    let whole = start.elapsed();
    for round in 0..60_u32 {
        let target = format!("{URL}/{round}");
        let child = home.spawn(&["subscribe", "--app-id", "2", "--event", "all", "--target-url", &target]);
        // Not a wait for something: the moment of death is what varies.
        std::thread::sleep(whole * 2 * round / 60);
        kill(child);
    }
    let rows = home.json(&["list", "--all"]);
    let rows = rows.as_array().unwrap();
    let active: HashSet<i64> = rows.iter().filter_map(|row| row["hook_id"].as_i64()).collect();
    let in_doubt: HashSet<_> = rows.iter().filter(|row| row["status"] == "unknown").map(triple).collect();
    let hooks = sandbox.hooks();
    assert!(!in_doubt.is_empty() || hooks.len() > 1, "no run got anywhere: nothing was tested");
    for hook in hooks {
        let known = active.contains(&hook["id"].as_i64().unwrap()) || in_doubt.contains(&triple(&hook));
        assert!(known, "no row for {hook}");
    }
    // What the killed left behind in lock files is gone with the next run that writes.
    home.subscribe("3", "new_crash", URL);
    let locks: Vec<_> = std::fs::read_dir(home.data().join("registry.db-locks")).unwrap().flatten().collect();
    let owners = locks.iter().filter(|entry| entry.path().extension().is_some_and(|extension| extension == "owner"));
    assert_eq!(owners.count(), 0);
}

fn triple(value: &serde_json::Value) -> String {
    json!([value["app_id"], value["event"], value["target_url"]]).to_string()
}

#[test]
fn a_registry_that_fails_after_the_answer_does_not_lose_the_id() {
    let delivery_keys = DeliveryKeys::open();
    let home = home(&delivery_keys);
    let child = home.spawn(&SUBSCRIBE);
    delivery_keys.wait();
    // Somebody else's hand in the registry: the row of the intent can't be found any more.
    Connection::open(home.registry()).unwrap().execute_batch("DROP TABLE hooks").unwrap();
    delivery_keys.send(CREATED);
    delivery_keys.go.send("end").unwrap();
    let run = crate::support::Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.code, 9, "{run}");
    assert!(run.stderr.contains("hook 5 was created for new_crash of app 1"), "{run}");
    assert!(run.stderr.contains("bugfender-hooks import 5 --app-id 1 --event new_crash"), "{run}");
}
