//! Unsubscribing: by id, by filter, all; what is there, what is not, what is somebody else's.

use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::assert_shown;
use crate::support::{Home, Run, SandboxServer, Scripted, Signal, Terminal, answer, read, signal, wait_until};

const URL: &str = "https://hooks.example.com/bf";

fn three(sandbox: &SandboxServer) -> Home {
    let home = Home::of(sandbox);
    home.json(&["subscribe", "--app-id", "1001", "--event", "all", "--target-url", URL, "--label", "ci"]);
    home
}

#[test]
fn by_id() {
    let sandbox = SandboxServer::start();
    let home = three(&sandbox);
    assert_shown!("by_id", home.run(["unsubscribe", "2", "--output", "json"]));
    assert_eq!(sandbox.requests("DELETE")[0]["path"], "/api/hook/2/");
    assert_eq!(home.statuses(), ["active", "removed", "active"]);
    // What ended is still known, and still asked for.
    assert_shown!("by_id_again", home.run(["unsubscribe", "2"]));
    assert_eq!(home.statuses(), ["active", "removed", "active"]);
}

#[test]
fn an_id_from_elsewhere_is_deleted_all_the_same() {
    let sandbox = SandboxServer::start();
    three(&sandbox);
    let home = Home::of(&sandbox);
    assert_shown!("elsewhere", home.run(["unsubscribe", "3", "--output", "json"]));
    assert_eq!(sandbox.hooks().len(), 2);
    assert!(home.statuses().is_empty());
}

#[test]
fn a_hook_that_is_not_there_is_gone() {
    let sandbox = SandboxServer::start();
    let home = three(&sandbox);
    Home::of(&sandbox).run(["unsubscribe", "1", "2"]);
    let run = home.run(["unsubscribe", "1", "--output", "json"]);
    assert_eq!((run.code, &run.json()[0]["status"]), (6, &json!("gone")), "{run}");
    let run = home.run(["unsubscribe", "1", "2", "77", "--ignore-missing", "-q"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "1\n2\n77\n"), "{run}");
    assert_eq!(home.statuses(), ["gone", "gone", "active"]);
}

#[test]
fn filters_and_all_need_yes_off_a_terminal() {
    let sandbox = SandboxServer::start();
    let home = three(&sandbox);
    assert_shown!("needs_yes", home.run(["unsubscribe", "--label", "ci"]));
    assert_eq!(home.run(["unsubscribe", "--all"]).code, 2);
    assert_eq!(home.run(["unsubscribe"]).code, 2);
    assert_eq!(sandbox.hooks().len(), 3);
    let run = home.run(["unsubscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL, "--yes", "-q"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "1\n"), "{run}");
    let run = home.run(["unsubscribe", "--all", "-y", "-q"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "2\n3\n"), "{run}");
    assert_shown!("nothing_left", home.run(["unsubscribe", "--all"]));
}

#[test]
fn a_terminal_is_asked() {
    let sandbox = SandboxServer::start();
    let home = three(&sandbox);
    let mut terminal = Terminal::run(&home, &["unsubscribe", "--all"]);
    terminal.wait_for("[y/N]").type_line("n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert_eq!(sandbox.hooks().len(), 3);

    let mut terminal = Terminal::run(&home, &["unsubscribe", "--all"]);
    terminal.wait_for("[y/N]").interrupt();
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
    assert!(shown.contains("interrupted while asking; nothing was changed"), "{shown}");

    let mut terminal = Terminal::run(&home, &["unsubscribe", "--all"]);
    terminal.wait_for("Remove 3 hooks of").wait_for("[y/N]").type_line("y");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("3/3"), "the progress bar: {shown}");
    assert!(sandbox.hooks().is_empty());
}

#[test]
fn what_will_go_is_listed_before_the_question() {
    let sandbox = SandboxServer::start();
    let home = Home::holding(&sandbox.url, 13);
    let secret = "https://user:s3cret@h.example/x";
    home.run_with_input(&["import", "50", "--app-id", "1", "--event", "new_crash", "--target-url", "-"], secret);
    let mut terminal = Terminal::run(&home, &["unsubscribe", "--all"]);
    terminal.wait_for("[y/N]").type_line("n");
    let (code, screen) = terminal.end();
    assert_eq!(code, 1, "{screen}");
    assert!(screen.contains("  hook 10: new_crash of app 1 to https://h.example/10"), "{screen}");
    assert!(screen.contains("  and 4 more") && screen.contains("Remove 14 hooks of"), "{screen}");
    let mut terminal = Terminal::run(&home, &["forget", "--target-url", "https://h.example/x", "--yes"]);
    terminal.wait_for("50");
    let (code, screen) = terminal.end();
    assert!(code == 0 && !screen.contains("s3cret") && !screen.contains("[y/N]"), "{screen}");
}

#[test]
fn a_hook_that_is_not_on_record_is_asked_about_on_a_terminal() {
    let sandbox = SandboxServer::start();
    three(&sandbox);
    let home = Home::of(&sandbox);
    let mut terminal = Terminal::run(&home, &["unsubscribe", "2"]);
    terminal.wait_for("[y/N]").type_line("");
    let (code, screen) = terminal.end();
    assert_eq!(code, 1, "{screen}");
    assert!(screen.contains("hook 2, which this registry does not hold"), "{screen}");
    assert!(screen.contains("Delete 1 hook at"), "{screen}");
    assert_eq!(sandbox.requests("DELETE").len(), 0);
    let (code, screen) = Terminal::run(&home, &["unsubscribe", "2", "--yes"]).end();
    assert!(code == 0 && !screen.contains("[y/N]"), "{screen}");
    // What is on record is removed without a question, as it was named.
    home.subscribe("1001", "new_crash", URL);
    let (code, screen) = Terminal::run(&home, &["unsubscribe", "4"]).end();
    assert!(code == 0 && !screen.contains("[y/N]"), "{screen}");
    assert_eq!(sandbox.requests("DELETE").len(), 2);
}

#[test]
fn a_dry_run_shows_the_requests() {
    let sandbox = SandboxServer::start();
    let home = three(&sandbox);
    assert_shown!("dry_run", home.run(["unsubscribe", "--all", "--dry-run", "--jq", ".[] | .method + \" \" + .url"]));
    assert_eq!(home.run(["unsubscribe", "9", "--dry-run"]).code, 0);
    assert_eq!(sandbox.hooks().len(), 3);
    assert_eq!(home.statuses(), ["active"; 3]);
}

#[test]
fn a_hook_of_another_installation_is_never_deleted_here() {
    let (one, two) = (SandboxServer::start(), SandboxServer::start());
    let home = three(&one);
    let home = home.set("BUGFENDER_API_URL", &two.url).set("BUGFENDER_API_TOKEN", &two.token);
    let run = home.run(["unsubscribe", "1"]);
    assert_shown!("other_installation", run);
    assert_eq!(home.run(["unsubscribe", "--all", "--yes"]).code, 0);
    assert!(two.requests("DELETE").is_empty());
    assert!(one.requests("DELETE").is_empty());
    assert!(home.statuses().is_empty());
    assert_shown!("list_elsewhere", home.run(["list"]));
}

#[test]
fn several_are_all_tried_and_shown_in_order() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=403x1"]);
    let home = three(&sandbox);
    let run = home.run(["unsubscribe", "3", "1", "2", "--output", "json"]);
    assert_eq!(run.code, 5, "{run}");
    let rows = run.json();
    let ids: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["hook_id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [3, 1, 2]);
    let failed = rows.as_array().unwrap().iter().filter(|row| row["result"] == "failed" && row["status"] == "active");
    assert_eq!(failed.count(), 1);
    assert_eq!(sandbox.hooks().len(), 1);
}

#[test]
fn a_delete_is_repeated_and_404_then_means_done() {
    // The first DELETE is carried out and its answer lost; the second finds nothing.
    let sandbox = SandboxServer::with_faults(&["unsubscribe=dropx1"]);
    let home = three(&sandbox);
    let run = home.run(["unsubscribe", "1", "--output", "json"]);
    assert_eq!((run.code, &run.json()[0]["result"]), (0, &json!("removed")), "{run}");
    assert_eq!(sandbox.requests("DELETE").len(), 2);
}

#[test]
fn every_answer_has_its_meaning() {
    let cases: &[(&str, String, i32, &str, &str)] = &[
        ("200", answer("200 OK", &[], ""), 0, "removed", "removed"),
        ("204", answer("204 No Content", &[], ""), 0, "removed", "removed"),
        ("401", answer("401 Unauthorized", &[], ""), 4, "failed", "active"),
        ("403", answer("403 Forbidden", &[], ""), 5, "failed", "active"),
        ("404", answer("404 Not Found", &[], ""), 6, "missing", "gone"),
        ("302", answer("302 Found", &["location: https://elsewhere.example/"], ""), 1, "failed", "active"),
        ("page", answer("200 OK", &["content-type: text/html"], "<html>"), 1, "unknown", "removing"),
        ("cut", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned(), 0, "removed", "removed"),
    ];
    for (name, response, code, result, status) in cases {
        let server = Scripted::always(response.clone());
        let home = Home::at(&server.url, "t");
        home.json(&["import", "5", "--app-id", "1", "--event", "new_crash", "--target-url", URL]);
        let run = home.run(["unsubscribe", "5", "--output", "json"]);
        let row = &run.json()[0];
        assert_eq!(
            (run.code, &row["result"], &row["status"]),
            (*code, &json!(result), &json!(status)),
            "{name}: {run}"
        );
        assert_eq!(server.seen(), ["DELETE /api/hook/5/"], "{name}");
    }
}

#[test]
fn a_removal_in_doubt_is_finished_by_running_it_again() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=500x4"]);
    let home = three(&sandbox);
    let run = home.run(["unsubscribe", "1"]);
    assert_shown!("in_doubt", run);
    assert_eq!(home.statuses(), ["removing", "active", "active"]);
    // Meanwhile nobody subscribes the same again without knowing.
    let again = ["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL];
    assert_shown!("subscribe_while_removing", home.run(again));
    assert_shown!("resumed", home.run(["unsubscribe", "1"]));
    assert_eq!(home.run(again).code, 0);
    assert_eq!(home.statuses(), ["removed", "active", "active", "active"]);
}

#[test]
fn a_row_without_an_id_is_not_passed_over_in_silence() {
    let sandbox = SandboxServer::with_faults(&["subscribe=dropx1"]);
    let home = three_with_unknown(&sandbox);
    let run = home.run(["unsubscribe", "--all", "--yes", "--output", "json"]);
    assert_eq!(run.code, 8, "{run}");
    let results: Vec<_> = run.json().as_array().unwrap().iter().map(|row| row["result"].clone()).collect();
    assert_eq!(results, ["unknown", "removed", "removed"]);
}

fn three_with_unknown(sandbox: &SandboxServer) -> Home {
    let home = Home::of(sandbox);
    let run = home.run(["subscribe", "--app-id", "1001", "--event", "all", "--target-url", URL]);
    assert_eq!(run.code, 8, "{run}");
    home
}

#[test]
fn a_refusal_does_not_undo_what_an_earlier_attempt_may_have_done() {
    // Within one run: the first DELETE is carried out and its answer lost, the second is refused.
    let sandbox = SandboxServer::with_faults(&["unsubscribe=dropx1", "unsubscribe=403x1"]);
    let home = three(&sandbox);
    assert_eq!(home.run(["unsubscribe", "1"]).code, 5);
    assert_eq!(home.statuses()[0], "removing");
    // Across runs, and with a token that is refused.
    let bad = home.set("BUGFENDER_API_TOKEN", "bad");
    let run = bad.run(["unsubscribe", "1", "--output", "json"]);
    assert_eq!((run.code, &run.json()[0]["status"]), (5, &json!("removing")), "{run}");
    // Finished at last: it is not there, because it was removed.
    let run = bad.set("BUGFENDER_API_TOKEN", &sandbox.token).run(["unsubscribe", "1", "--output", "json"]);
    assert_eq!((run.code, &run.json()[0]["result"]), (0, &json!("removed")), "{run}");
    assert_eq!(run.json()[0]["status"], "removed");
}

#[test]
fn an_id_of_another_installation_does_not_stop_the_rest() {
    let (one, two) = (SandboxServer::start(), SandboxServer::start());
    let home = three(&one).set("BUGFENDER_API_URL", &two.url).set("BUGFENDER_API_TOKEN", &two.token);
    home.json(&["import", "8", "--app-id", "1", "--event", "new_crash", "--target-url", URL]);
    let run = home.run(["unsubscribe", "1", "8", "--output", "json"]);
    assert_eq!(
        (run.code, &run.json()[0]["result"], &run.json()[1]["result"]),
        (6, &json!("failed"), &json!("missing"))
    );
    assert_eq!(two.requests("DELETE").len(), 1);
}

#[test]
fn what_another_process_is_subscribing_is_waited_for() {
    let sandbox = SandboxServer::slow(300);
    let home = Home::of(&sandbox);
    let child = home.spawn(&["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL]);
    wait_until("the request is there", || !sandbox.requests("POST").is_empty());
    let run = home.run(["unsubscribe", "--all", "--yes", "-q"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "1\n"), "{run}");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert!(sandbox.hooks().is_empty());
}

#[test]
fn a_server_that_limits_the_rate_is_kept_to() {
    // Twenty a second, and not a word of when to come back.
    let (mut second, mut taken) = (std::time::Instant::now(), 0);
    let server = Scripted::start(move |_, exchange| {
        if second.elapsed().as_secs() >= 1 {
            (second, taken) = (std::time::Instant::now(), 0);
        }
        taken += 1;
        exchange.send(if taken <= 20 { answer("200 OK", &[], "") } else { answer("429 Too Many Requests", &[], "") });
    });
    let home = Home::holding(&server.url, 120);
    let run = home.run(["unsubscribe", "--all", "--yes", "-q"]);
    assert_eq!((run.code, run.stdout.lines().count()), (0, 120), "{}", run.stderr);
}

#[test]
fn a_server_that_takes_nothing_ends_it() {
    let server = Scripted::always(answer("429 Too Many Requests", &["retry-after: 0"], ""));
    let home = Home::holding(&server.url, 200);
    let run = home.run(["unsubscribe", "--all", "--yes", "--output", "json"]);
    assert_eq!(run.code, 7, "{run}");
    let rows = run.json();
    assert_eq!(rows.as_array().unwrap().len(), 200);
    assert!(rows.as_array().unwrap().iter().all(|row| row["result"] == "failed" && row["status"] == "active"));
}

/// A home with this many hooks, which the server does not have, and a process that has begun to remove them.
fn begun(sandbox: &SandboxServer, hooks: i64, format: &[&str]) -> (Home, Child) {
    let home = Home::holding(&sandbox.url, hooks).set("BUGFENDER_API_TOKEN", &sandbox.token);
    let child = home.spawn(&[&["unsubscribe", "--all", "--yes", "--ignore-missing"], format].concat());
    wait_until("it has begun", || !sandbox.requests("DELETE").is_empty());
    (home, child)
}

/// 70 hooks of a server that takes 50 requests and answers none, and a process that removes them, once these have come.
fn fifty_under_way(sandbox: &SandboxServer) -> (Home, Child) {
    let begun = begun(sandbox, 70, &[]);
    wait_until("all are in flight", || sandbox.requests("DELETE").len() == 50);
    begun
}

fn count(home: &Home, status: &str) -> usize {
    home.statuses().iter().filter(|each| *each == status).count()
}

#[test]
fn an_interruption_takes_back_what_was_not_sent() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=hang"]);
    let (home, child) = fifty_under_way(&sandbox);
    signal(&child, Signal::INT);
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.code, 130, "{run}");
    assert!(run.stderr.contains("50 in flight are left as `removing`"), "{run}");
    assert_eq!((count(&home, "removing"), count(&home, "active")), (50, 20));
}

#[test]
fn an_interruption_does_not_wait_for_a_registry_that_is_locked() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=hang"]);
    let (home, child) = fifty_under_way(&sandbox);
    let registry = home.lock();
    signal(&child, Signal::INT);
    // It ends while the lock is held.
    let run = Run::of(child.wait_with_output().unwrap());
    drop(registry);
    assert_eq!(run.code, 130, "{run}");
    for said in
        ["50 in flight are left as `removing`", "8 that were not sent are left as `removing`", "locked for too long"]
    {
        assert!(run.stderr.contains(said), "{said}: {run}");
    }
    assert_eq!((count(&home, "removing"), count(&home, "active")), (58, 12));
}

#[test]
fn an_interruption_is_heard_while_the_registry_is_waited_for() {
    let sandbox = SandboxServer::slow(100);
    let (home, child) = begun(&sandbox, 200, &[]);
    let registry = home.lock();
    // What was recorded ahead is sent meanwhile, and then there is nothing to do but wait.
    let begun = "SELECT count(*) FROM hooks WHERE status <> 'active'";
    let begun: i64 = registry.query_row(begun, (), |row| row.get(0)).unwrap();
    let begun = usize::try_from(begun).unwrap();
    wait_until("all that is on record is sent", || sandbox.requests("DELETE").len() == begun);
    signal(&child, Signal::INT);
    // It ends while the lock is held.
    let run = Run::of(child.wait_with_output().unwrap());
    drop(registry);
    assert_eq!(run.code, 130, "{run}");
    assert_eq!(home.run(["unsubscribe", "--all", "--yes", "--ignore-missing"]).code, 0);
    assert_eq!(count(&home, "removing") + count(&home, "active"), 0);
}

#[test]
fn a_registry_that_is_locked_for_a_while_is_waited_for() {
    let sandbox = SandboxServer::slow(20);
    let (home, child) = begun(&sandbox, 120, &["-q"]);
    let registry = home.lock();
    // Longer than one attempt waits.
    std::thread::sleep(std::time::Duration::from_millis(700));
    drop(registry);
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.stdout.lines().count()), (0, 120), "{run}");
}

#[test]
fn an_interruption_before_there_is_a_connection_takes_everything_back() {
    // It accepts, and never shakes hands.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::holding(&format!("https://{}", server.local_addr().unwrap()), 70);
    let child = home.spawn(&["unsubscribe", "--all", "--yes"]);
    let _connection = server.accept().unwrap();
    signal(&child, Signal::INT);
    let run = Run::of(child.wait_with_output().unwrap());
    assert!(run.code == 130 && !run.stderr.contains("removing`"), "{run}");
    assert_eq!(count(&home, "active"), 70);
}

/// A server that takes one request at a time, and says of every other that it is one too many, and to come again after
/// longer than anybody waits. It counts them.
fn one_at_a_time() -> (String, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (open, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&seen);
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Some(mut exchange), open) = (stream.ok().and_then(read), Arc::clone(&open)) else { continue };
            let others = open.fetch_add(1, Ordering::SeqCst);
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                // What it takes a server to answer.
                std::thread::sleep(std::time::Duration::from_millis(20));
                open.fetch_sub(1, Ordering::SeqCst);
                let refusal = answer("429 Too Many Requests", &["retry-after: 100"], "");
                exchange.send(if others == 0 { answer("200 OK", &[], "") } else { refusal });
            });
        }
    });
    (url, seen)
}

#[test]
fn a_server_that_takes_one_at_a_time_is_not_given_up() {
    let (url, seen) = one_at_a_time();
    let home = Home::holding(&url, 60);
    let run = home.run(["unsubscribe", "--all", "--yes", "-q"]);
    assert_eq!((run.code, run.stdout.lines().count()), (0, 60), "{}", run.stderr);
    // Nor is it asked without end.
    let seen = seen.load(Ordering::SeqCst);
    assert!(seen < 300, "{seen} requests");
}

#[test]
fn killed_with_intents_recorded_ahead_it_can_be_run_again() {
    let sandbox = SandboxServer::with_faults(&["unsubscribe=hangx50"]);
    let (home, mut child) = fifty_under_way(&sandbox);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((count(&home, "removing"), count(&home, "active")), (58, 12));
    let run = home.run(["unsubscribe", "--all", "--yes", "--ignore-missing"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!((count(&home, "removed"), count(&home, "gone")), (58, 12));
}

#[test]
fn rows_are_shown_as_they_are_when_the_registry_fails_midway() {
    let sandbox = SandboxServer::slow(500);
    let (home, child) = begun(&sandbox, 120, &["--output", "json"]);
    let registry = rusqlite::Connection::open(home.registry()).unwrap();
    registry
        .execute_batch("CREATE TRIGGER full BEFORE UPDATE ON hooks BEGIN SELECT RAISE(ABORT, 'no more'); END")
        .unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.json().as_array().unwrap().len()), (9, 120), "{run}");
    let rows = run.json().as_array().unwrap().clone();
    assert!(rows.iter().any(|row| row["result"] == "failed"), "{run}");
    let listed = home.json(&["list", "--all"]);
    for row in rows {
        let on_record = listed.as_array().unwrap().iter().find(|each| each["hook_id"] == row["hook_id"]).unwrap();
        assert_eq!(row["status"], on_record["status"], "{row}");
    }
    registry.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(home.run(["unsubscribe", "--all", "--yes", "--ignore-missing"]).code, 0);
    assert!(home.statuses().iter().all(|status| ["removed", "gone"].contains(&status.as_str())));
}

#[test]
fn a_record_forgotten_meanwhile_does_not_stop_the_rest() {
    let sandbox = SandboxServer::slow(100);
    let (home, child) = begun(&sandbox, 150, &["--output", "json"]);
    // The last ones in the order of the list, whose turn has not come.
    assert_eq!(home.run(["forget", "98", "99"]).code, 0);
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.json().as_array().unwrap().len()), (0, 150), "{}", run.stderr);
    assert_eq!(home.statuses().len(), 148);
}

#[test]
fn two_that_remove_everything_are_both_content() {
    let sandbox = SandboxServer::slow(50);
    let home = Home::of(&sandbox);
    for app in 1..=30 {
        home.json(&["subscribe", "--app-id", &app.to_string(), "--event", "all", "--target-url", URL]);
    }
    let children: Vec<_> = (0..3).map(|_| home.spawn(&["unsubscribe", "--all", "--yes"])).collect();
    for child in children {
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{run}");
    }
    assert_eq!(sandbox.requests("DELETE").len(), 90);
    assert_eq!(home.statuses(), vec!["removed"; 90]);
}
