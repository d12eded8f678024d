//! How the pages look, and whom they shut out: nobody.

use std::fs;

use serde_json::json;

use super::{PageServer, deliver_many, wait_until_live};
use crate::listen::Receiver;
use crate::listen::sink::Sink;
use crate::support::browser::Browser;
use crate::support::{Home, SandboxServer};

const LONG: &str =
    "java.lang.IllegalStateException: Fragment CheckoutSummaryFragment{9c1b2} not attached to an activity";

/// The elements that make the page wider than the window.
const WIDE: &str = "Array.from(document.documentElement.scrollWidth > innerWidth ? document.querySelectorAll('*') : [])
    .filter(found => found.getBoundingClientRect().right > innerWidth && !found.closest('.scroll, pre'))
    .map(found => `${found.localName}.${found.className}`)";

/// All that pages may show: events of every kind, targets that are well and that are not, quarantine, hooks.
fn lived_in(sandbox: &SandboxServer) -> (Home, Receiver, Sink, Sink) {
    let home = Home::of(sandbox);
    let (good, bad) = (Sink::always("200 OK"), Sink::always("404 Not Found"));
    let target = |name, url, rest| format!("[[target]]\nname = '{name}'\nurl = '{url}'\n{rest}\n");
    let targets = target("crm", &good.url, "") + &target("chat-of-the-mobile-team", &bad.url, "events = ['issue']");
    fs::write(home.path().join("targets.toml"), targets).unwrap();
    let receiver = Receiver::start(&home, &["--config", "targets.toml", "--retry-wait", "3600"]);
    deliver_many(&receiver, 130, 50);
    let text = "# Heading\n\nA paragraph with **bold** and a [link](https://example.com/).\n\n- a\n- b\n\n\
                | a | b |\n|---|---|\n| 1 | 2 |\n\n```\nlet x = 1;\n```";
    for (id, event_type, title) in
        [("a", "feedback", "I like it"), ("b", "issue", LONG), ("c", "apm", "Slow start"), ("d", "bug", "A button")]
    {
        let event = json!([{ "id": id, "type": event_type, "title": title, "text": text, "app": { "id": 7, "name": "Shop" },
            "session": { "key": "0123456789abcdef0123456789abcdef0123456789abcdef" }, "n": 1.50,
            "device": { "name": "Pixel 9", "os": { "name": "Android", "version": "16" } } }]);
        for _ in 0..2 {
            assert_eq!(receiver.post(event.to_string()).status, 200);
        }
    }
    assert_eq!(receiver.post("{\"broken\": ").status, 400);
    home.subscribe("1001", "new_crash", &format!("https://hooks.example.com{}", receiver.path));
    (home, receiver, good, bad)
}

/// Checks a page in light and dark, on a telephone and on a desk, and keeps pictures of it.
fn look(browser: &Browser, name: &str) {
    for scheme in ["light", "dark"] {
        browser.emulate(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]);
        for width in [360, 1280] {
            browser.set_size(width, 900);
            let violations = browser.accessibility_violations();
            assert!(violations.is_empty(), "{name}, {scheme}, {width}: {violations:#?}");
            browser.screenshot(&format!("ui-{name}-{scheme}-{width}"));
            let wide = browser.eval(WIDE);
            assert_eq!(wide, json!([]), "{name} is too wide on {width}");
        }
    }
}

#[test]
fn every_page_is_for_everybody() {
    let sandbox = SandboxServer::start();
    let (home, _receiver, good, bad) = lived_in(&sandbox);
    let page = PageServer::start(&home, &["--allow-target", "127.0.0.1"]);
    let Some(browser) = page.browser() else { return };
    good.wait_for(1);
    bad.wait_for(1);
    browser.wait_for_text("#rows", LONG);
    wait_until_live(&browser);
    look(&browser, "events");
    browser.click("#rows a");
    browser.wait_for("#json");
    look(&browser, "event");
    page.open(&browser, "/?type=issue");
    browser.click("#rows a");
    browser.wait_for(".timeline li");
    look(&browser, "event-rejected");
    for (path, name) in [
        ("/overview", "overview"),
        ("/overview?range=1h", "overview-hour"),
        ("/targets", "targets"),
        ("/quarantine", "quarantine"),
        ("/quarantine/1", "quarantined"),
        ("/hooks", "hooks"),
        ("/hooks/1", "history"),
        ("/?q=nothing+has+this", "events-none"),
        ("/?since=tomorrow", "events-mistake"),
        ("/sign-in", "sign-in"),
        ("/nowhere", "error"),
    ] {
        page.open(&browser, path);
        look(&browser, name);
    }
    page.open(&browser, "/targets");
    browser.click(".way form[action$=test] button");
    browser.wait_for_text(".notice", "sample event");
    look(&browser, "tested");
    page.open(&browser, "/quarantine");
    browser.click(".bulk summary");
    look(&browser, "quarantine-bulk");
    browser.click(".bulk button");
    browser.wait_for_text("#job-state", "done");
    look(&browser, "quarantine-job");
    page.open(&browser, "/");
    browser.press("?");
    look(&browser, "keys");
    browser.press("Escape");
    browser.click(".bulk summary");
    browser.execute("document.querySelector('.bulk').scrollIntoView()", &json!([]));
    look(&browser, "bulk");
    browser.click(".bulk .danger");
    browser.wait_for_text("#job-state", "done");
    look(&browser, "job");
}

#[test]
fn pages_of_beginners_are_for_everybody() {
    let home = Home::new();
    fs::write(home.path().join("password"), "correct horse battery").unwrap();
    let page = PageServer::start(&home, &["--password-file", "password"]);
    let Some(browser) = Browser::start() else { return };
    page.open(&browser, "/");
    browser.wait_for("[type=password]");
    look(&browser, "password");
    browser.fill("[type=password]", "wrong");
    browser.press("Enter");
    browser.wait_for_text("[role=alert]", "The password is wrong");
    look(&browser, "password-wrong");
    browser.fill("[type=password]", "correct horse battery");
    browser.press("Enter");
    browser.wait_for_text("#empty", "No event has come yet");
    look(&browser, "first-events");
    for (path, name) in
        [("/overview", "overview"), ("/targets", "targets"), ("/quarantine", "quarantine"), ("/hooks", "hooks")]
    {
        page.open(&browser, path);
        look(&browser, &format!("first-{name}"));
    }
}
