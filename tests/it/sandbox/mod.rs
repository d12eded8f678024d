//! The sandbox as a command, and its deliveries.

mod issues;
mod silence;
mod summary;

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::assert_shown;
use crate::support::{Home, Run, SandboxServer, Scripted, Signal, answer, http_get, signal, wait_until};

/// An endpoint that keeps what it gets and answers with a status.
fn endpoint(status: &'static str) -> (Scripted, std::sync::mpsc::Receiver<Value>) {
    let (send, arrived) = channel();
    let server = Scripted::start(move |_, exchange| {
        assert!(exchange.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
        send.send(serde_json::from_str(&exchange.body).unwrap()).unwrap();
        exchange.send(answer(status, &[], ""));
    });
    (server, arrived)
}

#[test]
fn it_runs_a_command_and_passes_its_exit_code_on() {
    let home = Home::new().set("PATH", "/usr/bin:/bin");
    let program = env!("CARGO_BIN_EXE_bugfender-hooks");
    let script =
        format!("{program} subscribe --app-id 5 --event new_crash --target-url https://h.example/x -q; exit 37");
    let run = home.run(["sandbox", "run", "--", "sh", "-c", &script]);
    assert_eq!((run.code, run.stdout.as_str()), (37, "1\n"), "{run}");
    let run = home.run([
        "sandbox",
        "--fault",
        "subscribe=403",
        "run",
        "--",
        "sh",
        "-c",
        &format!("{program} subscribe --app-id 5 --event new_crash --target-url https://h.example/y"),
    ]);
    assert_eq!(run.code, 5, "{run}");
    let run = home.run(["sandbox", "run", "sh", "-c", "kill -9 $$"]);
    assert_eq!(run.code, 137, "{run}");
    assert_shown!("no_such_command", home.run(["sandbox", "run", "--", "/nope"]));
}

#[test]
fn a_command_gets_a_scratch_home_unless_told_otherwise() {
    let program = env!("CARGO_BIN_EXE_bugfender-hooks");
    let subscribe = format!("{program} subscribe --app-id 5 --event new_crash --target-url https://h.example/x -o csv");
    let script = format!("{subscribe}; {subscribe}");
    let home = Home::new().set("PATH", "/usr/bin:/bin").set("BUGFENDER_HOOKS_STORE", "sqlite:mine.db");
    let home = home.set("BUGFENDER_HOOKS_PROFILE", "mine").set("BUGFENDER_HOOKS_REQUIRE_STORE", "1");
    let run = home.run(["sandbox", "run", "--", "sh", "-c", &script]);
    assert_eq!(run.code, 0, "{run}");
    let created: Vec<_> = run.stdout.lines().filter_map(|line| line.strip_prefix("1,")?.rsplit(',').nth(1)).collect();
    assert_eq!(created, ["true", "false"], "{run}");
    let (_, scratch) = run.stderr.split_once("BUGFENDER_HOOKS_HOME=").unwrap();
    assert!(!std::path::Path::new(scratch.split(' ').next().unwrap()).exists(), "{run}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "{run}");
    let home = home.unset("BUGFENDER_HOOKS_PROFILE").unset("BUGFENDER_HOOKS_REQUIRE_STORE");
    let run = home.run(["sandbox", "run", "--keep-home", "--", "sh", "-c", &subscribe]);
    assert!(run.code == 0 && run.stderr.contains("it uses your configuration"), "{run}");
    assert!(home.path().join("mine.db").exists());
    assert_eq!(home.run(["sandbox", "run", "true"]).code, 0);
}

#[test]
fn it_says_how_to_reach_it_and_ends_on_a_signal() {
    let home = Home::new();
    let ready = home.path().join("ready.json");
    let mut child = home.spawn(&["sandbox", "--token", "T", "--ready-file", ready.to_str().unwrap()]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    let url = url.strip_prefix("export BUGFENDER_API_URL=").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "export BUGFENDER_API_TOKEN=T");
    let said: Value = serde_json::from_str(&std::fs::read_to_string(&ready).unwrap()).unwrap();
    assert_eq!(said, json!({"url": url, "token": "T", "pid": child.id()}));
    assert_eq!(http_get(&format!("{url}/sandbox/hooks")), "[]");
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn its_mistakes_are_clear() {
    let home = Home::new();
    assert_shown!("bad_fault", home.run(["sandbox", "--fault", "subscribe=sometimes"]));
    assert_shown!("bad_listen", home.run(["sandbox", "--listen", "nowhere"]));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let run = home.run(["sandbox", "--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(run.code, 7, "{run}");
    assert!(run.stderr.contains("cannot listen on"), "{run}");
    // Not when the first hook is to be kept.
    let run = home.run(["sandbox", "--state", "nowhere/state"]);
    assert!(run.code == 1 && run.stderr.contains("nowhere/state cannot be written"), "{run}");
    std::fs::write(home.path().join("state"), "nope").unwrap();
    assert_eq!(home.run(["sandbox", "--state", "state"]).code, 2);
}

#[test]
fn state_survives_a_restart() {
    let home = Home::new().set("PATH", "/usr/bin:/bin");
    let program = env!("CARGO_BIN_EXE_bugfender-hooks");
    let run = |command: &str| {
        // Each run has a port of its own, and so is another installation to the registry.
        let script = format!("{program} --store sqlite:$$.db {command}");
        home.run(["sandbox", "--state", "s.json", "run", "--", "sh", "-c", &script])
    };
    assert_eq!(run("subscribe --app-id 5 --event all --target-url https://h.example/x").code, 0);
    assert_eq!(run("unsubscribe 2").code, 0);
    assert_eq!(run("unsubscribe 2").code, 6);
    assert_eq!(run("subscribe --app-id 6 --event new_crash --target-url https://h.example/x -q").stdout, "4\n");
}

#[test]
fn deliveries_are_arrays_to_matching_hooks() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let (crashes, arrived) = endpoint("200 OK");
    let (feedback, other) = endpoint("200 OK");
    home.subscribe("1001", "new_crash", &format!("{}/crash", crashes.url));
    home.subscribe("1001", "new_user_feedback", &format!("{}/feedback", feedback.url));
    home.subscribe("1002", "new_crash", &format!("{}/crash", feedback.url));

    let emitted = sandbox.emit(&json!({"event": "new_crash", "app_id": 1001, "count": 2, "duplicate": 1}));
    assert_eq!(emitted["deliveries"].as_array().unwrap().len(), 2);
    let (first, second) = (arrived.try_recv().unwrap(), arrived.try_recv().unwrap());
    assert_eq!(first, second);
    assert_eq!(first, emitted["events"]);
    let event = &first[0];
    assert_eq!((&event["type"], &event["app"]["id"]), (&json!("crash"), &json!(1001)));
    assert_eq!(event["id"], event["uid"]);

    sandbox.emit(&json!({"event": "new_user_feedback", "app_id": 1001, "count": 3, "batch": false, "shape": "older"}));
    let each: Vec<Value> = other.try_iter().collect();
    assert_eq!(each.len(), 3);
    assert!(
        each.iter().all(|call| call.as_array().unwrap().len() == 1 && call[0]["id"].is_i64() && call[0]["status"] == 0)
    );
    assert!(arrived.try_recv().is_err());
}

#[test]
fn a_failed_call_is_not_repeated_and_many_deactivate_the_hook() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let (broken, arrived) = endpoint("500 Internal Server Error");
    home.subscribe("1001", "new_crash", &broken.url);
    for call in 1..=5 {
        let emitted = sandbox.emit(&json!({}));
        assert_eq!(emitted["deliveries"][0]["status"], 500);
        assert_eq!(arrived.try_iter().count(), 1, "call {call}");
    }
    assert_eq!(sandbox.hooks()[0]["active"], false);
    assert_eq!(sandbox.emit(&json!({}))["deliveries"], json!([]));
    assert_eq!(sandbox.deliveries().len(), 5);
}

#[test]
fn an_interrupt_is_the_commands_to_handle() {
    let home = Home::new().set("PATH", "/usr/bin:/bin");
    let script = "trap 'exit 9' INT; touch ready; while :; do sleep 0.05; done";
    let mut child = home.command(["sandbox", "run", "--", "sh", "-c", script]);
    let child = std::os::unix::process::CommandExt::process_group(&mut child, 0).spawn().unwrap();
    wait_until("the command runs", || home.path().join("ready").exists());
    // As a terminal does: to the whole group.
    let kill = Command::new("kill").args(["-INT", "--", &format!("-{}", child.id())]).status().unwrap();
    assert!(kill.success());
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.code, 9, "{run}");
}

#[test]
fn a_request_to_stop_is_passed_on() {
    let home = Home::new().set("PATH", "/usr/bin:/bin");
    let script = "trap 'exit 9' TERM; touch ready; while :; do sleep 0.05; done";
    let child = home.spawn(&["sandbox", "run", "--", "sh", "-c", script]);
    wait_until("the command runs", || home.path().join("ready").exists());
    signal(&child, Signal::TERM);
    assert_eq!(Run::of(child.wait_with_output().unwrap()).code, 9);
}

#[test]
fn wrong_paths_are_logged_and_wrong_orders_refused() {
    if !crate::support::have("curl") {
        return;
    }
    let sandbox = SandboxServer::start();
    let post = |path: &str, body: &str| {
        let url = format!("{}{path}", sandbox.url);
        let output =
            Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", body, &url]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(post("/api/hooks/subscribe", "{}"), "404");
    assert_eq!(sandbox.requests("POST /api/hooks/subscribe")[0]["status"], 404);
    assert_eq!(post("/sandbox/emit", r#"{"count":0}"#), "400");
    assert_eq!(post("/sandbox/emit", r#"{"events":1}"#), "400");
    assert_eq!(Home::new().run(["sandbox", "--token", "two words"]).code, 2);
}
