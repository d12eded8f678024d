//! Subscribing: the request, the record, and what is never done twice.

use std::net::TcpListener;
use std::sync::mpsc::channel;

use serde_json::json;

use crate::assert_shown;
use crate::support::{Home, Run, SandboxServer, Scripted, Signal, answer, signal, wait_for_line};

const URL: &str = "https://hooks.example.com/bf";

#[test]
fn a_hook_is_made_and_recorded() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let args = ["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL, "--label", "ci"];
    assert_shown!("made", home.run(args));
    assert_shown!("existed", home.run(args.iter().chain(&["--output", "json"])));
    let requests = sandbox.requests("POST /api/hook/subscribe");
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0]["body"], json!({"target_url": URL, "event": "new_crash", "app_id": 1001}));
    assert_eq!(requests[0]["user_agent"], format!("bugfender-hooks/{}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn one_endpoint_is_one_hook_however_its_url_is_written() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.subscribe("1001", "new_crash", "https://hooks.example.com/x%C3%A9/~me");
    for same in ["https://HOOKS.example.com:443/x%c3%a9/~me", "https://hooks.example.com./%78é/%7Eme"] {
        let args = ["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", same];
        assert_eq!(home.json(&args)[0]["created"], false, "{same}");
        assert_eq!(home.json(&["list", "--target-url", same]).as_array().unwrap().len(), 1, "{same}");
    }
    assert_eq!(sandbox.hooks().len(), 1);
    // What is sent stays as it was written.
    let hook = home.subscribe("1001", "new_crash", "https://hooks.example.com/%7eother");
    assert_eq!(hook["target_url"], "https://hooks.example.com/%7eother");
    let run = home.run(["unsubscribe", "--target-url", "https://hooks.example.com/~other", "--yes"]);
    assert_eq!((run.code, sandbox.hooks().len()), (0, 1), "{run}");
}

#[test]
fn the_address_of_an_app_names_the_app_and_never_the_team() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let subscribe = |app: &str| {
        home.run(["subscribe", "--event", "new_crash", "--target-url", URL, "--output", "json", "--app-id", app])
    };
    for app in
        ["https://dashboard.bugfender.com/3/app/1001/logs/5", "https://d.example/3/app/Sandbox1001/logs", "Sandbox1001"]
    {
        assert_eq!(subscribe(app).json()[0]["app_id"], 1001, "{app}");
    }
    assert_eq!(sandbox.requests("POST /api/hook/subscribe").len(), 1);
    for app in ["https://dashboard.bugfender.com/3/app/DXtETPbMAq/logs", "https://dashboard.bugfender.com/3"] {
        let run = subscribe(app);
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains("bugfender-hooks apps"), "{run}");
    }
    // A command that sends nothing does not look it up.
    let run = home.run(["list", "--app-id", "https://d.example/3/app/Sandbox1001"]);
    assert!(run.code == 2 && run.stderr.contains("bugfender-hooks apps"), "{run}");
    assert_eq!(sandbox.hooks().len(), 1);
}

#[test]
fn several_apps_and_events_make_a_hook_each() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let args = ["subscribe", "--app-id", "1001, 1002", "--app-id", "1003", "--event", "new_crash, new_user_feedback"];
    let made = home.json(&[&args[..], &["--target-url", URL]].concat());
    assert_eq!((made.as_array().unwrap().len(), sandbox.hooks().len()), (6, 6));
    assert_eq!(home.json(&["list", "--app-id", "1001,1002"]).as_array().unwrap().len(), 4);
}

#[test]
fn events_repeat_take_commas_and_all() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let run = |events: &[&str]| {
        let args = [&["subscribe", "--app-id", "1001", "--target-url", URL, "-q"], events].concat();
        home.run(args).stdout
    };
    assert_eq!(run(&["--event", "new_crash,new_crash"]), "1\n");
    assert_eq!(run(&["--event", "new_user_feedback", "--event", "new_crash"]), "1\n2\n");
    assert_eq!(run(&["--event", "all"]), "1\n3\n2\n");
    assert_eq!(sandbox.hooks().len(), 3);
}

#[test]
fn the_app_may_be_its_dashboard_url() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let record = home.subscribe("https://dashboard.bugfender.com/team/9/app/4711", "new_crash", URL);
    assert_eq!(record["app_id"], 4711);
}

#[test]
fn force_sends_all_the_same() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.subscribe("1001", "new_crash", URL);
    let again = home.json(&["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL, "--force"]);
    assert_eq!((&again[0]["hook_id"], &again[0]["created"]), (&json!(2), &json!(true)));
    assert_eq!(sandbox.hooks().len(), 2);
}

#[test]
fn an_existing_hook_needs_no_token() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.subscribe("1001", "new_crash", URL);
    let home = home.unset("BUGFENDER_API_TOKEN");
    home.subscribe("1001", "new_crash", URL);
    let run = home.run(["subscribe", "--app-id", "1001", "--event", "new_user_feedback", "--target-url", URL]);
    assert_shown!("no_token", run);
    assert_eq!(home.statuses(), ["active"]);
}

#[test]
fn passwords_are_sent_and_stored_whole_and_shown_redacted() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let url = "https://ci:s3cret@hooks.example.com/bf";
    let run = home.run_with_input(
        &["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", "-", "--output", "json"],
        url,
    );
    assert_eq!(run.code, 0, "{run}");
    assert!(!run.to_string().contains("s3cret"), "{run}");
    assert_eq!(run.json()[0]["target_url"], "https://ci:****@hooks.example.com/bf");
    assert_eq!(home.json(&["list", "--show-secrets"])[0]["target_url"], url);

    // A file works too; the command line works with a warning.
    std::fs::write(home.path().join("url"), url).unwrap();
    assert_eq!(home.subscribe("1001", "new_crash", "@url")["created"], false);
    let run = home.run(["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", url]);
    assert_shown!("password_on_the_command_line", run);
    // Picking needs no password.
    assert_eq!(home.json(&["list", "--target-url", "https://ci:****@hooks.example.com/bf"])[0]["hook_id"], 1);
    assert_eq!(home.json(&["list", "--target-url", URL])[0]["hook_id"], 1);
}

#[test]
fn a_target_out_of_reach_draws_a_warning() {
    let home = Home::at("https://bf.invalid", "t");
    let run = |url: &str| {
        home.run(["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", url, "--dry-run"]).stderr
    };
    assert!(run("http://localhost:4000/x").contains("is on this machine: Bugfender can't reach it"));
    assert!(run("http://192.168.1.4/x").contains("is on a private network: Bugfender can't reach it"));
    assert_eq!(run(URL), "");
}

#[test]
fn a_dry_run_shows_the_requests_and_does_nothing() {
    let home = Home::at("https://bf.example/api", "s3cret-token");
    let args =
        ["subscribe", "--app-id", "7", "--event", "all", "--target-url", "https://u:s3cret@h.example/x", "--dry-run"];
    let run = home.run(args.iter().chain(&["--output", "json"]));
    assert_shown!("dry_run_json", run);
    assert_shown!("dry_run_table", home.run(args));
    assert!(!home.registry().exists());
}

#[test]
fn a_dry_run_knows_what_exists() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.subscribe("1001", "new_crash", URL);
    let run = home.run([
        "subscribe",
        "--app-id",
        "1001",
        "--event",
        "all",
        "--target-url",
        URL,
        "--dry-run",
        "--jq",
        "length",
    ]);
    assert_eq!(run.stdout, "2\n");
    assert_eq!(run.stderr, "hook 1 already exists: nothing would be sent for it\n");
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let home = Home::at("https://bf.example", "t");
    let base = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL];
    let with = |index: usize, value: &'static str| {
        let mut args = base;
        args[index] = value;
        home.run(args)
    };
    assert_shown!("mistake_app", with(2, "zero"));
    assert_shown!("mistake_event", with(4, "crash"));
    assert_shown!("mistake_url", with(6, "hooks.example.com"));
    assert_shown!("mistake_missing", home.run(["subscribe", "--app-id", "1"]));
    assert_shown!("mistake_label", home.run(base.iter().chain(&["--label", "a\u{1b}[31m"])));
    assert!(!home.registry().exists());
}

/// What every kind of answer to the POST comes to: exit code, and what is left in the registry.
#[test]
fn every_answer_has_its_meaning() {
    let json = "content-type: application/json";
    let cases: &[(&str, String, i32, &[&str])] = &[
        ("created", answer("201 Created", &[json], r#"{"id":5}"#), 0, &["active"]),
        ("ok", answer("200 OK", &[json], r#"{"id":5,"app_id":"1"}"#), 0, &["active"]),
        ("text id", answer("201 Created", &[json], r#"{"id":"5"}"#), 0, &["active"]),
        ("400", answer("400 Bad Request", &[json], r#"{"message":"no"}"#), 3, &[]),
        ("422", answer("422 Unprocessable", &[], "no"), 3, &[]),
        ("401", answer("401 Unauthorized", &[], ""), 4, &[]),
        ("403", answer("403 Forbidden", &[], ""), 5, &[]),
        ("404", answer("404 Not Found", &[], ""), 6, &[]),
        ("405", answer("405 Method Not Allowed", &[], ""), 1, &[]),
        ("302", answer("302 Found", &["location: /login"], ""), 1, &[]),
        ("303", answer("303 See Other", &["location: /hooks/5"], ""), 8, &["unknown"]),
        ("500", answer("500 Internal Server Error", &[], ""), 8, &["unknown"]),
        ("502", answer("502 Bad Gateway", &["content-type: text/html"], "<h1>bad</h1>"), 8, &["unknown"]),
        ("504", answer("504 Gateway Timeout", &[], ""), 8, &["unknown"]),
        ("no id", answer("201 Created", &[json], r#"{"event":"new_crash"}"#), 8, &["unknown"]),
        ("id 0", answer("201 Created", &[json], r#"{"id":0}"#), 8, &["unknown"]),
        ("not json", answer("201 Created", &[], "created!"), 8, &["unknown"]),
        ("empty", answer("204 No Content", &[], ""), 8, &["unknown"]),
        ("cut", "HTTP/1.1 201 Created\r\ncontent-length: 50\r\n\r\n{\"id\":5".to_owned(), 8, &["unknown"]),
        ("garbage", "SSH-2.0-nope\r\n".to_owned(), 8, &["unknown"]),
        ("nothing", String::new(), 8, &["unknown"]),
        (
            "huge",
            answer("201 Created", &[json], &format!("{{\"id\":5,\"x\":\"{}\"}}", "x".repeat(2 << 20))),
            8,
            &["unknown"],
        ),
    ];
    for (name, response, code, left) in cases {
        let server = Scripted::always(response.clone());
        let home = Home::at(&server.url, "t");
        let run =
            home.run(["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL, "--output", "json"]);
        assert_eq!(run.code, *code, "{name}: {run}");
        assert_eq!(home.statuses(), *left, "{name}");
        if *code != 0 {
            assert_eq!(run.error()["code"], *code, "{name}");
        }
        // Whatever it was: a POST that got an answer of its own, or may have been carried out, is not repeated.
        assert_eq!(server.seen(), ["POST /api/hook/subscribe"], "{name}");
    }
}

#[test]
fn what_people_read_when_the_server_refuses() {
    for (name, status, headers, body) in [
        (
            "refused_400",
            "400 Bad Request",
            "content-type: application/json",
            r#"{"message":"event \u001b[31mwrong\u001b[0m"}"#,
        ),
        ("refused_401", "401 Unauthorized", "x: y", ""),
        ("refused_403", "403 Forbidden", "content-type: text/html", "<html><b>Forbidden</b></html>"),
        ("refused_404", "404 Not Found", "x: y", "not found"),
        ("unknown_500", "500 Internal Server Error", "x: y", "boom"),
    ] {
        let server = Scripted::always(answer(status, &[headers], body));
        let home = Home::at(&server.url, "t");
        let run =
            home.run(["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL, "--output", "json"]);
        assert_shown!(name, run);
    }
}

#[test]
fn an_unknown_outcome_is_not_repeated_blindly() {
    let sandbox = SandboxServer::with_faults(&["subscribe=dropx1"]);
    let home = Home::of(&sandbox);
    let args = ["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL];
    assert_eq!(home.run(args).code, 8);
    let run = home.run(args);
    assert_shown!("unresolved", run);
    assert_eq!(sandbox.requests("POST").len(), 1);

    // The ways out: the hook is there, so import it …
    let imported = home.json(&["import", "1", "--app-id", "1001", "--event", "new_crash", "--target-url", URL]);
    assert_eq!(imported[0]["status"], "active");
    assert_eq!(home.subscribe("1001", "new_crash", URL)["created"], false);
    assert_eq!(home.statuses(), ["active"]);
}

#[test]
fn an_unknown_outcome_can_be_forgotten_or_overruled() {
    let sandbox = SandboxServer::with_faults(&["subscribe=500x1", "subscribe=hangx1"]);
    let home = Home::of(&sandbox);
    let args = ["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL];
    assert_eq!(home.run(args).code, 8);
    let forget =
        ["forget", "--status", "unknown", "--app-id", "1001", "--event", "new_crash", "--target-url", URL, "--yes"];
    assert_eq!(home.run(forget).code, 0);
    assert!(home.statuses().is_empty());
    // Nothing answers: the time is up after sending.
    let run = home.run(args.iter().chain(&["--timeout", "0.5"]));
    assert_eq!(run.code, 8, "{run}");
    assert_eq!(home.run(args.iter().chain(&["--force"])).code, 0);
    assert_eq!(home.statuses(), ["unknown", "active"]);
    // What is active counts, not what is in doubt.
    assert_eq!(home.run(args).code, 0);
}

#[test]
fn several_events_are_all_tried() {
    let sandbox = SandboxServer::with_faults(&["subscribe=403x1"]);
    let home = Home::of(&sandbox);
    let run = home.run(["subscribe", "--app-id", "1001", "--event", "all", "--target-url", URL, "--output", "json"]);
    assert_eq!(run.code, 5, "{run}");
    assert_eq!(run.json().as_array().unwrap().len(), 2);
    assert_eq!(run.error()["http_status"], 403);
}

#[test]
fn what_is_the_same_for_all_events_is_said_once() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox).unset("BUGFENDER_API_TOKEN");
    let run = home.run(["subscribe", "--app-id", "1001", "--event", "all", "--target-url", URL]);
    assert_eq!((run.code, run.stderr.matches("not signed in").count()), (4, 1), "{run}");
}

#[test]
fn an_interrupt_leaves_the_outcome_unknown() {
    let sandbox = SandboxServer::with_faults(&["subscribe=hang"]);
    let home = Home::of(&sandbox);
    let child = home.spawn(&["subscribe", "--app-id", "1001", "--event", "all", "--target-url", URL]);
    crate::support::wait_until("the request is there", || !sandbox.requests("POST").is_empty());
    signal(&child, Signal::INT);
    let run = Run::of(child.wait_with_output().unwrap());
    assert_shown!("interrupted", run);
    assert_eq!(home.statuses(), ["unknown"]);
}

#[test]
fn an_interrupt_before_there_is_a_connection_changes_nothing() {
    // It accepts, and never shakes hands.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::at(&format!("https://{}", server.local_addr().unwrap()), "t");
    let child = home.spawn(&["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL]);
    let _connection = server.accept().unwrap();
    signal(&child, Signal::INT);
    let run = Run::of(child.wait_with_output().unwrap());
    assert!(run.code == 130 && run.stderr.contains("nothing was changed"), "{run}");
    assert!(home.statuses().is_empty());
}

#[test]
fn an_interrupt_between_two_requests_is_not_lost() {
    let ((arrive, arrived), (go, may_go)) = (channel(), channel::<()>());
    let server = Scripted::start(move |_, exchange| {
        arrive.send(()).unwrap();
        // Nobody lets a second one go: there is to be none.
        let _ = may_go.recv();
        exchange.send(answer("201 Created", &["content-type: application/json"], r#"{"id":7}"#));
    });
    let home = Home::at(&server.url, "t");
    let mut child = home.spawn(&["subscribe", "--app-id", "1001", "--event", "all", "--target-url", URL, "-vv"]);
    arrived.recv().unwrap();
    // The hook cannot be recorded before this is let go.
    let registry = home.lock();
    go.send(()).unwrap();
    drop(go);
    wait_for_line(&mut child, "status=201");
    signal(&child, Signal::INT);
    drop(registry);
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.code, 130, "{run}");
    assert!(run.stderr.contains("interrupted before new_issue_separate of app 1001"), "{run}");
    assert_eq!((server.seen().len(), home.statuses()), (1, vec!["active".to_owned()]));
}

#[test]
fn a_dry_run_knows_what_is_in_doubt() {
    let sandbox = SandboxServer::with_faults(&["subscribe=drop"]);
    let home = Home::of(&sandbox);
    let args = ["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL];
    assert_eq!(home.run(args).code, 8);
    let run = home.run(args.iter().chain(&["--dry-run", "--output", "json"]));
    assert_eq!((run.code, run.stdout.as_str()), (8, "[]\n"), "{run}");
}

#[test]
fn a_dry_run_leaves_an_empty_file_alone() {
    let home = Home::at("https://bf.example", "t").set("BUGFENDER_HOOKS_STORE", "sqlite:empty.db");
    std::fs::write(home.path().join("empty.db"), "").unwrap();
    let args = ["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL, "--dry-run"];
    assert_eq!(home.run(args).code, 0);
    assert_eq!(home.run(["list"]).code, 0);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    assert_eq!(std::fs::metadata(home.path().join("empty.db")).unwrap().len(), 0);
}

#[test]
fn a_hidden_password_is_no_password() {
    let home = Home::at("https://bf.example", "t");
    let args = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "https://u:****@h.example/x"];
    assert_shown!("hidden_password", home.run(args));
}

#[test]
fn hints_are_safe_to_paste() {
    let sandbox = SandboxServer::with_faults(&["subscribe=drop"]);
    let args = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "https://h.example/'a'"];
    let run = Home::of(&sandbox).run(args);
    assert!(run.stderr.contains(r"--target-url 'https://h.example/'\''a'\'''"), "{run}");
}

#[test]
fn all_that_is_missing_is_named_at_once() {
    let home = Home::at("https://bf.example", "t");
    let run = home.run(["subscribe", "-o", "json"]);
    let error = run.error();
    assert_eq!(
        (run.code, error["message"].as_str()),
        (2, Some("--app-id, --event and --target-url are missing")),
        "{run}"
    );
    let hints = error["hints"].as_array().unwrap();
    assert_eq!(hints[0], "give --app-id ID --event EVENT --target-url URL");
    assert!(hints[1].as_str().unwrap().contains("config set app_id ID; "), "{run}");
    assert!(error["hint"].as_str().unwrap().starts_with("give --app-id"), "{run}");
    let run = home.run(["import", "7", "--app-id", "1"]);
    assert!(run.code == 2 && run.stderr.contains("--event and --target-url are missing"), "{run}");
    let run = home.run(["subscribe", "--app-id", "1", "--target-url", "https://h.example/x"]);
    assert!(run.code == 2 && run.stderr.starts_with("error: --event is missing\n"), "{run}");
}

#[test]
fn an_error_names_the_file_that_it_is_about() {
    let home = Home::at("https://bf.example", "t");
    std::fs::write(home.path().join("url.txt"), "nonsense").unwrap();
    let run = home.run(["subscribe", "--app-id", "1", "--event", "all", "--target-url", "@url.txt"]);
    assert!(run.code == 2 && run.stderr.starts_with("error: url.txt: the target URL"), "{run}");
    std::fs::write(home.path().join("secret.txt"), " \n").unwrap();
    let run = home.run(["auth", "login", "--client-id", "x", "--client-secret-file", "secret.txt"]);
    assert!(run.code == 2 && run.stderr.starts_with("error: secret.txt: the client secret is empty"), "{run}");
}
