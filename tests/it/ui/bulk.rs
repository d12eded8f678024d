//! Changes of all events that match.

use std::fs;

use super::{PageServer, TITLES, deliver, deliver_many, on_each_store};
use crate::listen::Receiver;
use crate::listen::sink::Sink;
use crate::support::Home;
use crate::support::browser::Browser;

const EVENTS: usize = 3000;

/// A receiver whose only target is given nothing but feedback, beside 3,000 crashes and an issue.
fn filled(home: &Home, sink: &Sink) -> Receiver {
    let target = format!("[[target]]\nname = 'crm'\nurl = '{}'\nevents = ['feedback']\n", sink.url);
    fs::write(home.path().join("targets.toml"), target).unwrap();
    let receiver = Receiver::start(home, &["--config", "targets.toml"]);
    deliver(&receiver, "issue", "left alone");
    deliver_many(&receiver, EVENTS, 50);
    receiver
}

/// Begins to change all crashes.
fn begin(page: &PageServer, browser: &Browser, action: &str) {
    page.open(browser, "/?type=crash");
    browser.click(".bulk summary");
    browser.click(&format!(".bulk [value={action}]"));
    browser.click(".bulk .danger");
    browser.wait_for("#job");
}

/// Waits until all is done, as long as it gets on.
fn wait_for_job(browser: &Browser) {
    let mut shown = String::new();
    while browser.text("#job-state") != "done" {
        browser.wait_until(&format!("document.querySelector('#job').innerText !== {shown:?}"));
        shown = browser.text("#job");
    }
}

#[test]
fn all_that_match_are_forwarded_and_deleted() {
    on_each_store(|home| {
        let sink = Sink::always("200 OK");
        let _receiver = filled(home, &sink);
        // What is forwarded waits, so that all of it can be counted.
        let run = home.run(["targets", "pause", "crm"]);
        assert_eq!(run.code, 0, "{run}");
        let page = PageServer::start(home, &[]);
        let Some(browser) = page.browser() else { return };
        begin(&page, &browser, "forward");
        wait_for_job(&browser);
        assert_eq!(browser.text("#job-text"), "3000 of 3000 events, 3000 changed");
        assert_eq!(browser.eval("document.querySelector('#job-bar').value"), EVENTS);
        page.open(&browser, "/targets");
        assert_eq!(browser.text(".way dd a"), "3000");
        assert!(sink.calls().is_empty());
        begin(&page, &browser, "delete");
        wait_for_job(&browser);
        assert_eq!(browser.text("#job-text"), "3000 of 3000 events, 3000 changed");
        page.open(&browser, "/");
        assert_eq!(browser.texts(TITLES), ["left alone"]);
        for what in ["began job 1: Forwarding to crm: ?type=crash", "began job 2: Deleting: ?type=crash"] {
            assert!(page.log().contains(what), "{}", page.log());
        }
        assert_eq!(browser.console_errors(), [""; 0]);
    });
}

#[test]
fn what_was_begun_can_be_cancelled() {
    let home = Home::new();
    let sink = Sink::always("200 OK");
    drop(filled(&home, &sink));
    let page = PageServer::start(&home, &[]);
    let Some(browser) = page.browser() else { return };
    // While somebody else writes, it does not get on.
    let inbox = rusqlite::Connection::open(home.data().join("registry.inbox.db")).unwrap();
    inbox.execute_batch("BEGIN IMMEDIATE").unwrap();
    begin(&page, &browser, "delete");
    assert_eq!(browser.text("#job-text"), "0 of 3000 events, 0 changed");
    browser.click("#job-cancel button");
    browser.wait_for_text("#job-state", "running");
    inbox.execute_batch("ROLLBACK").unwrap();
    browser.wait_for_text("#job-state", "cancelled");
    // The step that was under way is done.
    assert_eq!(browser.text("#job-text"), "500 of 3000 events, 500 changed");
    assert!(browser.texts("#job-cancel").is_empty());
    page.open(&browser, "/?type=crash");
    browser.wait_for_text(TITLES, "Crash 2999");
}
