//! Servers that end and come back under an open page, and several people who look.

use super::{PageServer, TITLES, deliver, on_each_store, wait_for_titles, wait_until_live};
use crate::listen::Receiver;
use crate::support::Home;

#[test]
fn two_browsers_see_the_same_and_a_receiver_comes_back() {
    on_each_store(|home| {
        let receiver = Receiver::start(home, &[]);
        let page = PageServer::start(home, &[]);
        let (Some(one), Some(other)) = (page.browser(), page.browser()) else { return };
        for browser in [&one, &other] {
            wait_until_live(browser);
        }
        deliver(&receiver, "crash", "before");
        for browser in [&one, &other] {
            wait_for_titles(browser, &["before"]);
        }
        let address = receiver.address.clone();
        drop(receiver);
        let receiver = Receiver::start_at(home, &address, &[]);
        deliver(&receiver, "crash", "after");
        for browser in [&one, &other] {
            wait_for_titles(browser, &["after", "before"]);
        }
        // What one deletes the other finds gone.
        one.click(TITLES);
        one.wait_for("#json");
        one.click(".bulk summary");
        one.click(".bulk .danger");
        one.wait_for_text(".notice.good", "deleted");
        other.click(TITLES);
        other.wait_for_text("h1", "Not found");
    });
}

#[test]
fn a_page_that_comes_back_wants_a_new_signing_in() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let page = PageServer::start(&home, &[]);
    let Some(browser) = page.browser() else { return };
    deliver(&receiver, "crash", "before");
    wait_for_titles(&browser, &["before"]);
    let (old, address) = (page.url.clone(), page.address().to_owned());
    page.end();
    browser.wait_for_text("#live", "Reconnecting");
    deliver(&receiver, "crash", "meanwhile");
    let page = PageServer::start_at(&home, &address, &[]);
    browser.wait_for_text("#live", "Signed out");
    assert_eq!(browser.texts(TITLES), ["before"]);
    // Neither the cookie nor the token of before is good.
    browser.open(&old);
    browser.wait_for_text("h1", "Sign in");
    browser.open(&page.url);
    wait_for_titles(&browser, &["meanwhile", "before"]);
    wait_until_live(&browser);
    deliver(&receiver, "crash", "after");
    wait_for_titles(&browser, &["after", "meanwhile", "before"]);
}

#[test]
fn a_break_of_the_network_misses_nothing() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let page = PageServer::start(&home, &[]);
    let Some(browser) = page.browser() else { return };
    wait_until_live(&browser);
    deliver(&receiver, "crash", "before");
    wait_for_titles(&browser, &["before"]);
    browser.set_offline(true);
    // A stream that is open is not cut by the browser: it is told that it is off line, and asks again.
    deliver(&receiver, "crash", "meanwhile");
    browser.set_offline(false);
    deliver(&receiver, "crash", "after");
    wait_for_titles(&browser, &["after", "meanwhile", "before"]);
}
