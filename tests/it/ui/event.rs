//! One event, and what can be done with it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{PageServer, TITLES, deliver, on_each_store, wait_for_titles};
use crate::listen::Receiver;
use crate::listen::sink::Sink;
use crate::support::browser::{Browser, Site};
use crate::support::{Home, answer, wait_until};

const BOOM: &str = r##"[{"id":"boom-1","type":"crash","title":"Boom","app":{"id":7,"name":"Shop"},
    "text":"# What happened\n\n**Bold**, `code` and a [link](https://example.com/more)\n\n- first\n- second",
    "n":12345678901234567890.10,"device":{"name":"Pixel 9","user_data":{"plan":"gold"}}}]"##;

/// A target that refuses, and says why, until it is told to accept.
fn moody() -> (Site, Arc<AtomicBool>) {
    let accepts = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&accepts);
    let site = Site::start(move |mut exchange| {
        let accepts = told.load(Ordering::Relaxed);
        let status = if accepts { "200 OK" } else { "503 Service Unavailable" };
        exchange.send(answer(status, &[], if accepts { "thanks" } else { "the disk <b>is full" }));
    });
    (site, accepts)
}

/// A receiver with these targets, which tries again after an hour.
fn forwarding(home: &Home, targets: &[(&str, &str)]) -> Receiver {
    let target = |(name, url): &(&str, &str)| format!("[[target]]\nname = '{name}'\nurl = '{url}'\n");
    fs::write(home.path().join("targets.toml"), targets.iter().map(target).collect::<String>()).unwrap();
    Receiver::start(home, &["--config", "targets.toml", "--retry-wait", "3600"])
}

/// Opens the event again until the way to a target, whose place is given, is in this state.
fn wait_for_way(browser: &Browser, url: &str, target: &str, state: &str) {
    wait_until(&format!("{target} is {state}"), || {
        browser.open(url);
        browser.texts(".way h3").contains(&format!("{target} {state}"))
    });
}

#[test]
fn an_event_is_shown_and_sent_again() {
    on_each_store(|home| {
        let (sink, (site, accepts)) = (Sink::always("200 OK"), moody());
        let receiver = forwarding(home, &[("crm", &sink.url), ("moody", &site.url)]);
        assert_eq!(receiver.post(BOOM).status, 200);
        let allowed = sink.url.trim_start_matches("http://").trim_end_matches("/in");
        let page = PageServer::start(home, &["--allow-target", allowed]);
        let Some(browser) = page.browser() else { return };
        sink.wait_for(1);
        browser.press("j");
        browser.press("Enter");
        browser.wait_for("#json");
        let url = browser.url();
        what_it_says(&browser);

        // Where it went.
        wait_for_way(&browser, &url, "crm", "forwarded");
        wait_for_way(&browser, &url, "moody", "pending");
        browser.wait_for_text(".timeline strong", "503");
        assert_eq!(browser.texts(".timeline pre"), ["the disk <b>is full"]);
        accepts.store(true, Ordering::Relaxed);
        browser.click(".way form button");
        browser.wait_for_text(".notice.good", "It is queued");
        wait_for_way(&browser, &url, "moody", "forwarded");
        assert!(browser.texts(".timeline pre").contains(&"thanks".to_owned()));

        // Where it goes again.
        browser.press("r");
        assert_eq!(browser.eval("document.activeElement.name"), "target");
        browser.click("#replay form:first-of-type button");
        browser.wait_for_text(".notice.good", "queued for crm");
        sink.wait_for(2);
        let elsewhere = "http://127.0.0.1:9/in?a=b";
        browser.fill("input[name=url]", elsewhere);
        browser.press("Enter");
        browser.wait_for_text("[role=alert]", "127.0.0.1 is not allowed");
        assert_eq!(browser.eval("document.querySelector('input[name=url]').value"), elsewhere);
        browser.fill("input[name=url]", &sink.url);
        browser.press("Enter");
        browser.wait_for_text(".notice.good", "answered with 200");
        assert_eq!(sink.wait_for(3)[2].header("bugfender-hooks-replay"), "true");
        for (number, what) in [(1, "requeued event"), (2, "to crm again"), (3, "replayed event")] {
            assert!(page.log().contains(what), "{number}: {}", page.log());
        }

        // And that it goes for good.
        deliver(&receiver, "crash", "another");
        browser.click(".bulk summary");
        browser.click(".bulk .danger");
        browser.wait_for_text(".notice.good", "The event is deleted");
        assert_eq!(browser.texts(TITLES), ["another"]);
        browser.open(&url);
        assert!(browser.text("h1").contains("Not found"));
        // The answer with 404 itself, and the replay that was refused.
        let errors = browser.console_errors();
        assert!(errors.iter().all(|error| error.contains("status of 4")), "{errors:?}");
    });
}

fn what_it_says(browser: &Browser) {
    assert_eq!(browser.title(), "Boom · bugfender-hooks");
    assert_eq!(browser.texts(".markdown h1"), ["What happened"]);
    assert_eq!(browser.texts(".markdown strong, .markdown code, .markdown li"), ["Bold", "code", "first", "second"]);
    assert_eq!(browser.eval("document.querySelector('.markdown a').href"), "https://example.com/more");
    let json = browser.text("#json");
    assert!(json.contains("\"n\": 12345678901234567890.10,\n"), "{json}");
    browser.wait_for_text(".fields", "gold");
    let raw = browser.eval("fetch(document.querySelector('.tools a').href).then(answer => answer.text())");
    assert_eq!(raw, BOOM);
    browser.click("[data-copy-text]");
    browser.wait_for_text("[data-copy-text]", "Cop");
}

#[test]
fn keys_and_targets() {
    let home = Home::new();
    let sink = Sink::always("200 OK");
    let receiver = forwarding(&home, &[("crm", &sink.url)]);
    deliver(&receiver, "crash", "one");
    sink.wait_for(1);
    let page = PageServer::start(&home, &[]);
    let Some(browser) = page.browser() else { return };
    assert_eq!(browser.eval("document.querySelector('#keys').open"), false);
    browser.press("?");
    assert_eq!(browser.eval("document.querySelector('#keys').open"), true);
    // Those of the page are silent meanwhile.
    browser.press("j");
    assert!(browser.texts("#rows [aria-selected=true]").is_empty());
    browser.press("Escape");
    assert_eq!(browser.eval("document.querySelector('#keys').open"), false);

    // A target is paused, keeps what comes, and goes on.
    page.open(&browser, "/targets");
    assert_eq!(browser.texts(".way h2"), ["crm active"]);
    browser.click(".way button");
    browser.wait_for_text(".notice.good", "crm is paused");
    assert_eq!(browser.texts(".way h2"), ["crm paused"]);
    deliver(&receiver, "crash", "two");
    page.open(&browser, "/targets");
    browser.click(".way dd a");
    wait_for_titles(&browser, &["two"]);
    page.open(&browser, "/targets");
    browser.click(".way button");
    browser.wait_for_text(".notice.good", "crm is resumed");
    sink.wait_for(2);

    // In the list the state of what was forwarded changes by itself.
    page.open(&browser, "/");
    deliver(&receiver, "crash", "three");
    browser.wait_for_text("#rows tr:first-child .title", "three");
    browser.wait_for_text("#rows tr:first-child .state", "forwarded");
    // Of an event that came again the list says so too.
    receiver.post(json!([{ "id": "three", "type": "crash", "title": "three", "app": { "id": 7 } }]).to_string());
    page.open(&browser, "/");
    browser.wait_for_text("#rows tr:first-child .dup", "×2");
    assert_eq!(browser.console_errors(), [""; 0]);
}

#[test]
fn nothing_is_changed_where_it_is_read_only() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    deliver(&receiver, "crash", "one");
    let page = PageServer::start(&home, &["--read-only"]);
    let Some(browser) = page.browser() else { return };
    assert!(browser.text(".aside .tag").contains("read-only"));
    browser.press("j");
    browser.press("Enter");
    browser.wait_for("#json");
    assert!(browser.texts("form[action*=delete], form[action*=replay], .bulk").is_empty());
    let ask = "fetch(location.pathname + '/delete', { method: 'POST' }).then(answer => answer.status)";
    assert_eq!(browser.eval(ask), 403);
}
