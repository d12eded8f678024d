//! Changes: none from a page that is read-only, and each with who made it.

use super::{CHANGES, OWN, PAGES, received};
use crate::support::{Home, wait_until};
use crate::ui::PageServer;

#[test]
fn a_page_that_is_read_only_changes_nothing() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let page = PageServer::start(&home, &["--read-only", "--allow-target", "127.0.0.1"]);
    let cookie = page.sign_in();
    let targets = home.json(&["targets", "list"]);
    for (path, form) in CHANGES {
        let answer = page.post(path, &[&cookie, OWN], form);
        assert!(answer.status == 403 && answer.body.contains("read-only"), "{path}: {answer:?}");
    }
    assert_eq!(home.json(&["events", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(home.json(&["targets", "list"])[0]["paused_at"], targets[0]["paused_at"]);
    assert_eq!(home.json(&["targets", "list"])[0]["pending"], 1);
    for path in PAGES {
        let body = page.ask(path, &[&cookie]).body;
        let forms = body.match_indices("method=\"post\" action=\"").map(|(at, text)| &body[at + text.len()..]);
        for form in forms {
            assert!(form.starts_with("/sign-out\""), "{path}: {form}");
        }
    }
    assert!(!page.log().contains(" at 127.0.0.1 "), "{}", page.log());
    assert_eq!(page.post("/sign-out", &[&cookie, OWN], "").status, 200);
}

#[test]
fn each_change_is_logged_with_who_made_it() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let page = PageServer::start(&home, &["--user-header", "x-user"]);
    let target = home.json(&["targets", "list"])[0]["name"].as_str().unwrap().to_owned();
    let typed: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
    let headers = ["x-user: alice", OWN];
    for (path, form, said) in [
        ("/targets/1/pause", String::new(), "alice changed a target: "),
        ("/targets/1/resume", String::new(), "is resumed"),
        ("/events/1/retry", String::new(), "alice requeued event 1"),
        ("/targets/1/drop", String::new(), "has 1 forwards fewer"),
        ("/events/1/replay", format!("target={typed}"), "alice forwarded event 1 to "),
        ("/jobs?type=crash", "action=retry".to_owned(), "alice began job 1: Retrying: ?type=crash"),
        ("/jobs/1/cancel", String::new(), "alice cancelled job 1"),
        ("/targets/1/test", String::new(), "alice sent a test to "),
        ("/quarantine/reread", String::new(), "alice began job 2: Reading again: the quarantine"),
        ("/events/1/delete", String::new(), "alice deleted event 1"),
    ] {
        let answer = page.post(path, &headers, &form);
        assert_eq!(answer.status, 303, "{path}: {answer:?}");
        wait_until(&format!("{path} is logged"), || page.log().contains(said));
    }
    // What did not happen is not logged.
    let before = page.log();
    assert_eq!(page.post("/events/1/delete", &headers, "").status, 303);
    assert_eq!(page.post("/targets/1/resume", &headers, "").status, 303);
    assert_eq!(page.post("/quarantine/1/reread", &headers, "").status, 303);
    assert_eq!(page.post("/events/1/retry", &headers, "").status, 303);
    assert_eq!(page.post("/targets/1/pause", &headers, "").status, 303);
    wait_until("what happened is logged", || page.log().len() > before.len());
    let log = page.log();
    assert_eq!(log[before.len()..].lines().count(), 1, "{log}");
    assert!(!log.contains("secret-"), "{log}");
}
