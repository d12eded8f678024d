//! Staying signed in: renewal in time and on refusal, one request however many ask, and nothing lost on the way.

use std::fs::{self, File};
use std::process::Child;

use serde_json::{Value, json};

use crate::support::{
    Home, OauthServer, Run, SandboxServer, Scripted, Signal, answer, signal, wait_for_line, wait_until,
};
use crate::web;

const SUBSCRIBE: [&str; 7] =
    ["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", "https://hooks.example.com/bf"];

/// The stored credential, changed by `change`.
fn edit(home: &Home, change: impl FnOnce(&mut Value)) {
    let path = home.credentials();
    let mut contents: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut contents["credential"]);
    fs::write(path, contents.to_string()).unwrap();
}

fn credential(home: &Home) -> Value {
    let contents: Value = serde_json::from_str(&fs::read_to_string(home.credentials()).unwrap()).unwrap();
    contents["credential"].clone()
}

/// Makes the stored token one that ended at this time.
fn expire(home: &Home, at: &str) {
    edit(home, |credential| {
        credential["obtained_at"] = "2020-01-01T00:00:00Z".into();
        credential["expires_at"] = at.into();
    });
}

/// A home that is signed in with a refresh token of the server.
fn signed_in(server: &OauthServer) -> Home {
    let home = Home::new().set("BUGFENDER_API_URL", &server.url);
    web::sign_in(&home);
    home
}

/// A home that is signed in with made-up tokens.
fn pasted(url: &str) -> Home {
    let home = Home::new().set("BUGFENDER_API_URL", url);
    let tokens = json!({"access_token": "access-0", "refresh_token": "refresh-0", "client_id": "app"});
    assert_eq!(home.run_with_input(&["auth", "login", "--with-token"], &tokens.to_string()).code, 0);
    home
}

/// Runs as many commands at once; each must end with this code.
fn all_at_once(home: &Home, commands: usize, code: i32) {
    let children: Vec<Child> = (0..commands).map(|_| home.spawn(&["whoami"])).collect();
    for child in children {
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, code, "{run}");
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_token_is_renewed_before_its_end_and_rotated() {
    let Some(server) = OauthServer::start() else { return };
    let home = signed_in(&server);
    let before = credential(&home);
    // With 61 seconds left it is used; with less than a minute it is not.
    let in_seconds = |seconds: i64| {
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        jiff::Timestamp::from_second(soon.as_second()).unwrap().to_string()
    };
    expire(&home, &in_seconds(70));
    home.json(&["whoami"]);
    assert!(server.grants("refresh_token").is_empty());
    expire(&home, &in_seconds(50));
    home.json(&["whoami"]);
    assert_eq!(server.grants("refresh_token"), [200]);
    let after = credential(&home);
    assert_ne!(before["refresh_token"], after["refresh_token"]);
    assert_ne!(before["access_token"], after["access_token"]);
    // The new one is good for another.
    expire(&home, "2020-01-01T00:00:00Z");
    home.json(&["whoami"]);
    assert_eq!(server.grants("refresh_token"), [200, 200]);
}

#[test]
fn a_token_that_is_refused_early_is_renewed_and_the_request_sent_once_more() {
    for (expired_is_403, status) in [(false, 401), (true, 403)] {
        let Some(server) = OauthServer::with(&json!({ "expired_is_403": expired_is_403 })) else { return };
        let home = signed_in(&server);
        // A token that is new and gets 403 lacks permission; this one is old.
        edit(&home, |credential| credential["obtained_at"] = "2020-01-01T00:00:00Z".into());
        server.revoke_access();
        let hook = &home.json(&SUBSCRIBE)[0];
        assert_eq!(hook["created"], true);
        let posts = server.requests("/api/hook/subscribe");
        let statuses: Vec<&Value> = posts.iter().map(|request| &request["status"]).collect();
        assert_eq!(statuses, [&json!(status), &json!(201)]);
        assert_eq!(server.grants("refresh_token"), [200]);
        assert_eq!(home.statuses(), ["active"]);
    }
}

#[test]
fn a_server_that_takes_no_token_is_not_asked_for_ever() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=401"]);
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let home = home.set("BUGFENDER_CLIENT_ID", "sandbox-client").set("BUGFENDER_CLIENT_SECRET", "sandbox-secret");
    let ids: Vec<String> = (1..=200).map(|id| id.to_string()).collect();
    let run = home.run(["unsubscribe"].into_iter().chain(ids.iter().map(String::as_str)));
    assert_eq!(run.code, 4, "{run}");
    // One at the start, and one more because of the first refusal.
    assert_eq!(sandbox.requests("POST /auth/token").len(), 2);
}

#[test]
fn a_permission_that_is_missing_is_not_asked_for_again() {
    let sandbox = SandboxServer::with_faults(&["subscribe=403"]);
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let home = home.set("BUGFENDER_CLIENT_ID", "sandbox-client").set("BUGFENDER_CLIENT_SECRET", "sandbox-secret");
    let run = home.run(SUBSCRIBE);
    assert_eq!(run.code, 5, "{run}");
    assert_eq!(sandbox.requests("POST /api/hook").len(), 1);
    assert_eq!(sandbox.requests("POST /auth/token").len(), 1);
}

#[test]
fn fifty_commands_with_an_expired_token_ask_once() {
    let Some(server) = OauthServer::with(&json!({ "token_delay_ms": 200 })) else { return };
    let home = signed_in(&server);
    expire(&home, "2020-01-01T00:00:00Z");
    all_at_once(&home, 50, 0);
    assert_eq!(server.grants("refresh_token"), [200]);
    // The sign-in has not been revoked, as it would be if a refresh token had been used twice.
    expire(&home, "2020-01-01T00:00:00Z");
    home.json(&["whoami"]);
}

#[test]
fn fifty_commands_whose_token_is_refused_ask_once() {
    let Some(server) = OauthServer::start() else { return };
    let home = signed_in(&server);
    server.revoke_access();
    all_at_once(&home, 50, 0);
    assert_eq!(server.grants("refresh_token"), [200]);
}

#[test]
fn fifty_commands_of_a_service_account_ask_once() {
    let Some(server) = OauthServer::with(&json!({ "token_delay_ms": 200 })) else { return };
    let home = Home::new().set("BUGFENDER_API_URL", &server.url);
    let home = home.set("BUGFENDER_CLIENT_ID", "service").set("BUGFENDER_CLIENT_SECRET", "service-secret");
    all_at_once(&home, 50, 0);
    assert_eq!(server.grants("client_credentials"), [200]);
}

#[test]
fn many_requests_of_one_command_renew_once() {
    let Some(server) = OauthServer::start() else { return };
    let home = signed_in(&server);
    for target in 0..20 {
        home.subscribe("1001", "new_crash", &format!("https://hooks.example.com/{target}"));
    }
    server.revoke_access();
    assert_eq!(home.run(["unsubscribe", "--all", "--yes"]).code, 0);
    assert_eq!(server.grants("refresh_token"), [200]);
    assert_eq!(home.statuses(), vec!["removed"; 20]);
}

#[test]
fn trouble_on_the_way_does_not_cost_the_sign_in() {
    let Some(server) = OauthServer::start() else { return };
    let home = signed_in(&server);
    for (fault, attempts) in [("503", 4), ("drop-before", 1), ("hang", 1)] {
        expire(&home, "2020-01-01T00:00:00Z");
        let before = credential(&home);
        let asked = server.grants("refresh_token").len();
        for _ in 0..attempts {
            server.fault(fault);
        }
        let child = home.spawn(&["whoami", "--timeout", "1"]);
        wait_until("the refresh was tried", || server.grants("refresh_token").len() == asked + attempts);
        server.release();
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, 7, "{fault}: {run}");
        assert_eq!(credential(&home), before, "{fault}");
        assert_eq!(home.run(["whoami"]).code, 0, "{fault}");
    }
    // Nobody listens there at all.
    let (before, nowhere) = (credential(&home), home.set("BUGFENDER_API_URL", "http://127.0.0.1:9"));
    assert_eq!(nowhere.run(["whoami", "--timeout", "1"]).code, 4);
    assert_eq!(credential(&nowhere), before);
}

#[test]
fn killed_while_renewing_the_sign_in_is_still_there() {
    let Some(server) = OauthServer::start() else { return };
    let home = signed_in(&server);
    expire(&home, "2020-01-01T00:00:00Z");
    let before = credential(&home);
    server.fault("hang");
    let child = home.spawn(&["whoami"]);
    wait_until("the refresh is under way", || server.grants("refresh_token").len() == 1);
    end(child);
    assert_eq!(credential(&home), before);
    server.release();
    // Its lock went with it, and the refresh token is still good.
    home.json(&["whoami"]);
    assert_ne!(credential(&home), before);
    let left: Vec<_> = fs::read_dir(home.data().join("credentials")).unwrap().flatten().collect();
    assert!(left.len() <= 3, "{left:?}");
}

#[test]
fn a_refresh_token_whose_successor_is_lost_with_the_process_asks_for_a_new_sign_in() {
    let (arrive, arrived) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let server = Scripted::start(move |number, exchange| {
        arrive.send(()).unwrap();
        if number == 0 {
            // The server has replaced the token; who asked for it is gone.
            let _ = may_go.recv_timeout(crate::support::PATIENCE);
            return;
        }
        exchange.send(answer("400 Bad Request", &["content-type: application/json"], r#"{"error":"invalid_grant"}"#));
    });
    let home = pasted(&server.url);
    expire(&home, "2020-01-01T00:00:00Z");
    let before = credential(&home);
    let child = home.spawn(&["whoami"]);
    arrived.recv_timeout(crate::support::PATIENCE).unwrap();
    end(child);
    go.send(()).unwrap();
    assert_eq!(credential(&home), before);
    let run = home.run(["whoami"]);
    assert_eq!(run.code, 4, "{run}");
    assert!(run.stderr.contains("sign in again"), "{run}");
    assert!(!home.credentials().exists());
}

#[test]
fn a_renewal_under_way_outlives_an_interruption() {
    let (arrive, arrived) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let server = Scripted::start(move |_, exchange| {
        arrive.send(()).unwrap();
        may_go.recv_timeout(crate::support::PATIENCE).unwrap();
        let body = r#"{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3600,"token_type":"bearer"}"#;
        exchange.send(answer("200 OK", &["content-type: application/json"], body));
    });
    let home = pasted(&server.url);
    expire(&home, "2020-01-01T00:00:00Z");
    let child = home.spawn(&["whoami"]);
    arrived.recv_timeout(crate::support::PATIENCE).unwrap();
    signal(&child, Signal::INT);
    // What the server gives now is the only refresh token that is good.
    go.send(()).unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.code, 130, "{run}");
    assert_eq!(credential(&home)["refresh_token"], "refresh-1");
}

#[test]
fn a_sign_in_that_is_over_is_cleared_and_said_so() {
    let Some(server) = OauthServer::start() else { return };
    let home = signed_in(&server);
    expire(&home, "2020-01-01T00:00:00Z");
    // The answer with the next refresh token is lost: nobody can do anything about that.
    server.fault("drop-after");
    assert_eq!(home.run(["whoami"]).code, 7);
    let run = home.run(["whoami", "--output", "json"]);
    assert_eq!(run.code, 4, "{run}");
    assert!(run.stderr.contains("the sign-in has expired or was revoked"), "{run}");
    assert!(!home.credentials().exists());
    // The next command does not ask the server.
    let before = server.grants("refresh_token").len();
    assert_eq!(home.run(["whoami"]).code, 4);
    assert_eq!(server.grants("refresh_token").len(), before);
}

#[test]
fn what_somebody_else_stored_meanwhile_is_not_cleared() {
    let file = std::sync::Arc::new(std::sync::Mutex::new(None::<std::path::PathBuf>));
    let stored = std::sync::Arc::clone(&file);
    let server = Scripted::start(move |_, exchange| {
        let kind = ["content-type: application/json"];
        if exchange.line.starts_with("GET") {
            let good = exchange.header("authorization") == Some("Bearer access-2");
            let status = if good { "200 OK" } else { "401 Unauthorized" };
            return exchange.send(answer(status, &kind, r#"{"id":1}"#));
        }
        if exchange.body.contains("refresh-0") {
            // Another machine, or a tool that takes no lock, has renewed it.
            let path = stored.lock().unwrap().clone().unwrap();
            let text = fs::read_to_string(&path).unwrap().replace("refresh-0", "refresh-1");
            fs::write(path, text).unwrap();
            return exchange.send(answer("400 Bad Request", &kind, r#"{"error":"invalid_grant"}"#));
        }
        assert!(exchange.body.contains("refresh-1"), "{}", exchange.body);
        exchange.send(answer("200 OK", &kind, r#"{"access_token":"access-2","refresh_token":"refresh-2"}"#));
    });
    let home = pasted(&server.url);
    *file.lock().unwrap() = Some(home.credentials());
    expire(&home, "2020-01-01T00:00:00Z");
    assert_eq!(home.run(["whoami"]).code, 0);
    assert_eq!(credential(&home)["refresh_token"], "refresh-2");
}

#[test]
fn without_the_lock_nothing_is_done() {
    let server = Scripted::always(answer("500 Oops", &[], ""));
    let home = pasted(&server.url);
    expire(&home, "2020-01-01T00:00:00Z");
    let lock = home.credentials().with_extension("lock");
    let held = File::options().write(true).open(&lock).unwrap();
    held.lock().unwrap();
    let run = home.run(["whoami", "--timeout", "1"]);
    assert_eq!(run.code, 7, "{run}");
    assert!(run.stderr.contains("the credential is not changed without the lock"), "{run}");
    drop(held);
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    assert_eq!(home.run(["whoami"]).code, 9);
    assert!(server.seen().is_empty());
}

#[test]
fn a_refresh_token_of_the_environment_is_the_first_of_its_line() {
    let Some(server) = OauthServer::start() else { return };
    let first = credential(&signed_in(&server));
    let home = Home::new().set("BUGFENDER_API_URL", &server.url).set("BUGFENDER_CLIENT_ID", "app");
    let home = home.set("BUGFENDER_REFRESH_TOKEN", first["refresh_token"].as_str().unwrap());
    home.json(&["whoami"]);
    assert_eq!(server.grants("refresh_token"), [200]);
    // The variable says the same as before; the server would revoke everything if it were used again.
    server.revoke_access();
    home.json(&["whoami"]);
    assert_eq!(server.grants("refresh_token"), [200, 200]);
    let status = home.json(&["auth", "status"]);
    assert_eq!(status["token_location"], "BUGFENDER_REFRESH_TOKEN");
}

#[test]
fn an_access_token_of_the_environment_is_used_until_it_is_refused() {
    let Some(server) = OauthServer::start() else { return };
    let first = credential(&signed_in(&server));
    let home = Home::new().set("BUGFENDER_API_URL", &server.url).set("BUGFENDER_CLIENT_ID", "app");
    let home = home.set("BUGFENDER_REFRESH_TOKEN", first["refresh_token"].as_str().unwrap());
    let home = home.set("BUGFENDER_API_TOKEN", first["access_token"].as_str().unwrap());
    home.json(&["whoami"]);
    assert!(server.grants("refresh_token").is_empty());
    server.revoke_access();
    home.json(&["whoami"]);
    home.json(&["whoami"]);
    assert_eq!(server.grants("refresh_token"), [200]);
}

#[test]
fn a_pasted_refresh_token_is_used() {
    let Some(server) = OauthServer::start() else { return };
    for lines in [true, false] {
        let first = credential(&signed_in(&server));
        let (access, refresh) = (first["access_token"].as_str().unwrap(), first["refresh_token"].as_str().unwrap());
        let input =
            if lines { format!("{access}\n{refresh}\n") } else { json!({"refresh_token": refresh}).to_string() };
        let home = Home::new().set("BUGFENDER_API_URL", &server.url);
        let run = home.run_with_input(&["auth", "login", "--with-token", "--client-id", "app"], &input);
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(home.json(&["auth", "status"])["kind"], "refresh_token");
        server.revoke_access();
        home.json(&["whoami"]);
    }
    assert_eq!(server.grants("refresh_token"), [200, 200]);
}

#[test]
fn the_client_that_comes_with_a_token_wins_over_one_that_is_set() {
    let Some(server) = OauthServer::start() else { return };
    let first = credential(&signed_in(&server));
    let tokens = json!({"refresh_token": first["refresh_token"], "client_id": "app"});
    let home = Home::new().set("BUGFENDER_API_URL", &server.url).set("BUGFENDER_CLIENT_ID", "service");
    assert_eq!(home.run_with_input(&["auth", "login", "--with-token"], &tokens.to_string()).code, 0);
    home.json(&["whoami"]);
}

#[test]
fn an_answer_with_the_least_there_can_be_is_understood() {
    let server = Scripted::start(|_, exchange| {
        let body = if exchange.line.starts_with("POST") {
            // Neither an expiry nor a new refresh token, no client id, and a number as text.
            assert!(!exchange.body.contains("client_id"), "{}", exchange.body);
            r#"{"access_token":"access-1","expires_in":"3600","extra":{}}"#
        } else {
            r#"{"id":1}"#
        };
        exchange.send(answer("200 OK", &["content-type: application/json"], body));
    });
    let home = Home::new().set("BUGFENDER_API_URL", &server.url);
    let args = ["auth", "login", "--with-token"];
    assert_eq!(home.run_with_input(&args, r#"{"refresh_token":"refresh-0"}"#).code, 0);
    assert_eq!(home.run(["auth", "token"]).stdout, "access-1\n");
    let credential = credential(&home);
    assert_eq!(credential["refresh_token"], "refresh-0");
    assert!(credential["expires_at"].is_string());
}

#[test]
fn answers_that_are_none_are_said_to_be_none() {
    for (status, headers, body, code) in [
        ("200 OK", "content-type: text/html", "<html>", 1),
        ("200 OK", "content-type: application/json", r#"{"token":"x"}"#, 1),
        ("200 OK", "content-type: application/json", r#"{"access_token":"x y"}"#, 1),
        ("200 OK", "content-type: application/json", r#"{"access_token":"x","token_type":"mac"}"#, 1),
        ("403 Forbidden", "content-type: text/plain", "no", 5),
        ("404 Not Found", "content-type: text/plain", "no", 6),
        ("400 Bad Request", "content-type: application/json", r#"{"error":"unsupported_grant_type"}"#, 3),
        ("400 Bad Request", "content-type: application/json", r#"{"error":"unauthorized_client"}"#, 5),
        ("302 Found", "location: https://elsewhere.example/", "", 1),
    ] {
        let server = Scripted::always(answer(status, &[headers], body));
        let home = pasted(&server.url);
        expire(&home, "2020-01-01T00:00:00Z");
        let before = credential(&home);
        let run = home.run(["whoami"]);
        assert_eq!(run.code, code, "{body}: {run}");
        assert!(run.stderr.contains("could not get a token from"), "{run}");
        assert_eq!(credential(&home), before);
    }
}

/// A server of one refresh token after the other, each good once; `script` says how the API and the endpoint answer.
struct Rotating {
    server: Scripted,
    arrived: std::sync::mpsc::Receiver<String>,
    go: std::sync::mpsc::Sender<()>,
}

impl Rotating {
    /// The API takes no token but those that the endpoint gave; every request for one waits for `go`.
    fn start() -> Self {
        let ((arrive, arrived), (go, may_go)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let mut given = 0;
        let server = Scripted::start(move |_, exchange| {
            let kind = ["content-type: application/json"];
            if exchange.line.contains("/auth/token") {
                arrive.send(exchange.body.clone()).unwrap();
                may_go.recv_timeout(crate::support::PATIENCE).unwrap();
                if !exchange.body.contains(&format!("refresh-{given}")) {
                    return exchange.send(answer("400 Bad Request", &kind, r#"{"error":"invalid_grant"}"#));
                }
                given += 1;
                let body =
                    json!({"access_token": format!("access-{given}"), "refresh_token": format!("refresh-{given}")});
                return exchange.send(answer("200 OK", &kind, &body.to_string()));
            }
            let good = given > 0 && exchange.header("authorization") == Some(&format!("Bearer access-{given}"));
            let status = if !good {
                "401 Unauthorized"
            } else if exchange.line.starts_with("POST") {
                "201 Created"
            } else {
                "200 OK"
            };
            exchange.send(answer(status, &kind, r#"{"id":7}"#));
        });
        Self { server, arrived, go }
    }

    fn wait(&self) {
        self.arrived.recv_timeout(crate::support::PATIENCE).unwrap();
    }

    fn requests(&self, start: &str) -> usize {
        self.server.seen().iter().filter(|line| line.starts_with(start)).count()
    }
}

#[test]
fn a_renewal_longer_than_the_time_of_a_request_leaves_time_for_the_request() {
    let rotating = Rotating::start();
    let home = pasted(&rotating.server.url);
    let child = home.spawn(&[&SUBSCRIBE[..], &["--timeout", "1"]].concat());
    rotating.wait();
    // Longer than the request may take in all.
    std::thread::sleep(std::time::Duration::from_millis(1200));
    rotating.go.send(()).unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.code, 0, "{run}");
    assert_eq!((rotating.requests("POST /api"), home.statuses()), (2, vec!["active".to_owned()]));
}

#[test]
fn an_interruption_waits_for_a_refresh_token_that_is_under_way() {
    for name in [Signal::INT, Signal::TERM, Signal::HUP] {
        let rotating = Rotating::start();
        let home = pasted(&rotating.server.url);
        let mut child = home.spawn(&["whoami"]);
        rotating.wait();
        signal(&child, name);
        if name != Signal::HUP {
            wait_for_line(&mut child, "waiting for the token renewal");
        }
        rotating.go.send(()).unwrap();
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, if name == Signal::HUP { 0 } else { 130 }, "{run}");
        assert_eq!(credential(&home)["refresh_token"], "refresh-1");
    }
}

#[test]
fn an_interruption_that_comes_twice_is_one() {
    let rotating = Rotating::start();
    let home = pasted(&rotating.server.url);
    let mut child = home.spawn(&["whoami"]);
    rotating.wait();
    signal(&child, Signal::INT);
    signal(&child, Signal::INT);
    wait_for_line(&mut child, "waiting for the token renewal");
    rotating.go.send(()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(credential(&home)["refresh_token"], "refresh-1");
}

#[test]
fn what_was_tried_while_somebody_waited_is_not_tried_again() {
    for renewed in [true, false] {
        let server = Scripted::start(|_, exchange| {
            let status = if exchange.line.starts_with("GET") { "200 OK" } else { "500 Oops" };
            exchange.send(answer(status, &["content-type: application/json"], r#"{"id":1}"#));
        });
        let home = pasted(&server.url);
        expire(&home, "2020-01-01T00:00:00Z");
        let lock = home.credentials().with_extension("lock");
        let held = File::options().write(true).open(&lock).unwrap();
        held.lock().unwrap();
        let mut child = home.spawn(&["whoami", "-vv"]);
        let pid = child.id();
        wait_until("it has the lock file open", || {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|file| file == lock)
        });
        // The process before it failed; perhaps another one after that did not.
        let note = json!({"at": jiff::Timestamp::now(), "message": "it failed for somebody else"});
        fs::write(&lock, note.to_string()).unwrap();
        if renewed {
            edit(&home, |credential| {
                credential["access_token"] = "access-1".into();
                credential["expires_at"] = "2999-01-01T00:00:00Z".into();
            });
        }
        drop(held);
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, if renewed { 0 } else { 7 }, "{run}");
        assert_eq!(run.stderr.contains("it failed for somebody else"), !renewed, "{run}");
        assert!(!server.seen().iter().any(|line| line.starts_with("POST")));
        // An old note says nothing to a later command.
        if !renewed {
            child = home.spawn(&["whoami"]);
            assert_eq!(child.wait().unwrap().code(), Some(7));
            assert!(server.seen().iter().any(|line| line.starts_with("POST")));
        }
    }
}

#[test]
fn a_renewal_that_fails_fails_for_all_requests_of_a_command() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=401", "token=503"]);
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let tokens = json!({"access_token": sandbox.token, "refresh_token": "refresh-0"});
    home.run_with_input(&["auth", "login", "--with-token"], &tokens.to_string());
    let ids: Vec<String> = (1..=60).map(|id| id.to_string()).collect();
    let run = home.run(["unsubscribe"].into_iter().chain(ids.iter().map(String::as_str)));
    assert_eq!(run.code, 7, "{run}");
    assert_eq!(sandbox.requests("POST /auth/token").len(), 4);
}

#[test]
fn what_was_stopped_before_there_was_a_connection_leaves_no_doubt() {
    let home = Home::at("http://127.0.0.1:9", "t");
    let mut child = home.spawn(&[&SUBSCRIBE[..], &["-v", "--timeout", "60"]].concat());
    wait_for_line(&mut child, "retrying");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(home.statuses().is_empty());
}

#[test]
fn a_second_interruption_is_obeyed() {
    let rotating = Rotating::start();
    let home = pasted(&rotating.server.url);
    let mut child = home.spawn(&["whoami"]);
    rotating.wait();
    signal(&child, Signal::INT);
    wait_for_line(&mut child, "Ctrl-C to abort it");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn what_was_stopped_before_it_was_sent_leaves_no_doubt() {
    // While the token is renewed after a refusal, which carried nothing out.
    let rotating = Rotating::start();
    let home = pasted(&rotating.server.url);
    let mut child = home.spawn(&SUBSCRIBE);
    rotating.wait();
    signal(&child, Signal::INT);
    wait_for_line(&mut child, "waiting for the token renewal");
    rotating.go.send(()).unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.code, 130, "{run}");
    assert!(run.stderr.contains("nothing was changed"), "{run}");
    assert!(home.statuses().is_empty());
    // The next one just works.
    home.json(&SUBSCRIBE);
}

#[test]
fn those_who_wait_learn_of_a_failure_together() {
    let Some(server) = OauthServer::with(&json!({ "token_delay_ms": 300 })) else { return };
    let home = signed_in(&server);
    expire(&home, "2020-01-01T00:00:00Z");
    for _ in 0..40 {
        server.fault("503");
    }
    all_at_once(&home, 20, 7);
    // The first tries as often as it may; those who began later may try once more.
    assert!(server.grants("refresh_token").len() <= 12, "{:?}", server.grants("refresh_token"));
}

#[test]
fn a_token_that_is_still_good_is_used_when_it_cannot_be_renewed() {
    let sandbox = SandboxServer::with_faults(&["token=503x4"]);
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let tokens = json!({"access_token": sandbox.token, "refresh_token": "refresh-0"});
    home.run_with_input(&["auth", "login", "--with-token"], &tokens.to_string());
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(40);
    expire(&home, &soon.to_string());
    let run = home.run(["whoami"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("the token is valid until"), "{run}");
}

#[test]
fn a_refusal_before_a_404_is_no_removal() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=503x1"]);
    let home = Home::of(&sandbox);
    let run = home.run(["unsubscribe", "77"]);
    assert_eq!(run.code, 6, "{run}");
}

#[test]
fn a_refresh_token_that_cannot_be_followed_is_not_spent() {
    let Some(server) = OauthServer::start() else { return };
    let first = credential(&signed_in(&server));
    let home = Home::new().set("BUGFENDER_API_URL", &server.url).set("BUGFENDER_CLIENT_ID", "app");
    let home = home.set("BUGFENDER_REFRESH_TOKEN", first["refresh_token"].as_str().unwrap());
    fs::create_dir_all(home.data()).unwrap();
    fs::write(home.data().join("tokens"), "").unwrap();
    let run = home.run(["whoami"]);
    assert_eq!(run.code, 9, "{run}");
    // The same where there is no home at all, but by the entry of a user that nobody knows.
    let mut command = home.command(["whoami"]);
    let run = Run::of(command.env("HOME", "").env("XDG_DATA_HOME", "relative").output().unwrap());
    assert_ne!(run.code, 4, "{run}");
    assert!(server.grants("refresh_token").len() <= 1);
}

#[test]
fn odd_fields_of_an_answer_do_not_cost_the_sign_in() {
    for refresh in [r#""""#, "null", "5", "{}"] {
        let body = format!(r#"{{"access_token":"a","refresh_token":{refresh},"token_type":7,"expires_in":0}}"#);
        let server = Scripted::start(move |_, exchange| {
            let body = if exchange.line.starts_with("POST") { &body } else { r#"{"id":1}"# };
            exchange.send(answer("200 OK", &["content-type: application/json"], body));
        });
        let home = pasted(&server.url);
        expire(&home, "2020-01-01T00:00:00Z");
        assert_eq!(home.run(["whoami"]).code, 0, "{refresh}");
        assert_eq!(credential(&home)["refresh_token"], "refresh-0");
        assert_eq!(server.seen().len(), 2, "{:?}", server.seen());
    }
}

#[test]
fn what_a_killed_renewal_left_behind_is_removed() {
    let rotating = Rotating::start();
    let home = pasted(&rotating.server.url);
    let dir = home.data().join("credentials");
    let leftovers = || {
        fs::read_dir(&dir)
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".new-"))
            .count()
    };
    let child = home.spawn(&["whoami"]);
    rotating.wait();
    assert_eq!(leftovers(), 1);
    end(child);
    rotating.go.send(()).unwrap();
    assert_eq!(leftovers(), 1);
    assert_eq!(home.run(["auth", "logout"]).code, 0);
    assert_eq!(leftovers(), 0);
}
