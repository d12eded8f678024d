//! The page without JavaScript.

use std::fs;

use super::{PageServer, TITLES, deliver, deliver_many};
use crate::listen::Receiver;
use crate::listen::sink::Sink;
use crate::support::Home;

#[test]
fn it_is_read_and_events_are_retried() {
    let home = Home::new();
    let sink = Sink::start(|before, _| (if before == 0 { "503 Service Unavailable" } else { "200 OK" }, Vec::new()));
    let target = format!("[[target]]\nname = 'crm'\nurl = '{}'\nevents = ['issue']\n", sink.url);
    fs::write(home.path().join("targets.toml"), target).unwrap();
    let receiver = Receiver::start(&home, &["--config", "targets.toml", "--retry-wait", "3600"]);
    deliver(&receiver, "issue", "Needs a second attempt");
    deliver_many(&receiver, 150, 50);
    let page = PageServer::start(&home, &[]);
    let Some(browser) = page.browser() else { return };
    browser.set_scripts(false);
    page.open(&browser, "/");
    assert!(browser.eval("document.querySelector('[data-keys]').hidden").as_bool().unwrap());
    let titles = browser.texts(TITLES);
    assert_eq!((titles.len(), titles[0].as_str()), (100, "Crash 149"));
    browser.click(".pager [rel=next]");
    browser.wait_for_text(TITLES, "Crash 49");
    assert_eq!(browser.texts(TITLES).len(), 51);
    browser.click(".pager a");
    browser.wait_for_text(TITLES, "Crash 149");
    browser.fill("[name=q]", "second");
    browser.click(".filters button");
    browser.wait_for_text(TITLES, "Needs a second attempt");
    assert_eq!(browser.texts(TITLES).len(), 1);
    browser.click(TITLES);
    browser.wait_for_text(".timeline strong", "503");
    browser.wait_for_text("#json", "Needs a second attempt");
    browser.click(".way form button");
    browser.wait_for_text(".notice.good", "It is queued");
    sink.wait_for(2);
    for (path, shown) in [("/overview", "Events over time"), ("/targets", "crm"), ("/quarantine", "Nothing")] {
        page.open(&browser, path);
        browser.wait_for_text("main", shown);
    }
    browser.click(".aside form button");
    browser.wait_for_text("h1", "Sign in");
    page.open(&browser, "/");
    browser.wait_for_text("h1", "Sign in");
}
