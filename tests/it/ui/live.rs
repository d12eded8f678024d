//! The list while events come.

use std::collections::BTreeMap;

use serde_json::json;

use super::{PageServer, TITLES, deliver, deliver_many, on_each_store, wait_for_titles, wait_until_live};
use crate::listen::Receiver;
use crate::support::wait_until;

/// Counts how often each event is put into the list.
const COUNT: &str = "window.counted = {};
    const count = row => { counted[row.dataset.seq] = (counted[row.dataset.seq] ?? 0) + 1; };
    document.querySelectorAll('#rows tr').forEach(count);
    new MutationObserver(changes => {
        for (const { addedNodes } of changes) {
            addedNodes.forEach(node => { if (node.nodeName === 'TR') count(node); });
        }
    }).observe(document.querySelector('#rows'), { childList: true });";

#[test]
fn events_come_into_the_list() {
    on_each_store(|home| {
        let receiver = Receiver::start(home, &[]);
        for title in ["one", "two", "three"] {
            deliver(&receiver, "crash", title);
        }
        let page = PageServer::start(home, &[]);
        let Some(browser) = page.browser() else { return };
        // The token is in no address that somebody may copy, and in no script's reach.
        assert_eq!(browser.url(), format!("{}/", page.base));
        assert_eq!((browser.eval("document.cookie"), browser.cookies().len()), (json!(""), 1));
        assert_eq!(browser.texts(TITLES), ["three", "two", "one"]);
        wait_until_live(&browser);
        browser.execute("window.marker = 'still the same page'", &json!([]));
        deliver(&receiver, "issue", "four");
        wait_for_titles(&browser, &["four", "three", "two", "one"]);

        // A selection is not pushed away.
        browser.press("j");
        browser.press("j");
        assert_eq!(browser.texts("#rows [aria-selected=true] .title a"), ["three"]);
        browser.press("k");
        assert_eq!(browser.texts("#rows [aria-selected=true] .title a"), ["four"]);
        deliver(&receiver, "crash", "five");
        browser.wait_for_text("#new", "1 new event");
        deliver(&receiver, "crash", "six");
        browser.wait_for_text("#new", "2 new events");
        assert_eq!(browser.text(TITLES), "four");
        browser.click("#new");
        wait_for_titles(&browser, &["six", "five", "four", "three", "two", "one"]);
        assert_eq!(browser.text("#new"), "");

        // Nor is what somebody reads further down.
        browser.set_size(800, 300);
        browser.execute("window.scrollTo(0, 200)", &json!([]));
        browser.wait_until("window.scrollY > 80");
        deliver(&receiver, "crash", "seven");
        browser.wait_for_text("#new", "1 new event");
        assert_eq!(browser.texts(TITLES).len(), 6);
        browser.execute("window.scrollTo(0, 0)", &json!([]));
        wait_for_titles(&browser, &["seven", "six", "five", "four", "three", "two", "one"]);
        assert_eq!(browser.eval("window.marker"), "still the same page");
        assert_eq!(browser.console_errors(), [""; 0]);
    });
}

#[test]
fn filters_are_in_the_address() {
    on_each_store(|home| {
        let receiver = Receiver::start(home, &[]);
        deliver(&receiver, "crash", "Boom in the cellar");
        deliver(&receiver, "issue", "Boom upstairs");
        deliver(&receiver, "crash", "Quiet");
        let page = PageServer::start(home, &[]);
        let Some(browser) = page.browser() else { return };
        browser.press("/");
        assert_eq!(browser.eval("document.activeElement.name"), "q");
        browser.fill("input[name=q]", "boom");
        browser.press("Enter");
        browser.wait_until("location.search.includes('q=boom')");
        wait_for_titles(&browser, &["Boom upstairs", "Boom in the cellar"]);
        browser.fill("input[name=type]", "crash");
        browser.execute("document.querySelector('[name=status]').value = 'stored'", &json!([]));
        browser.click(".filters button");
        browser.wait_until("location.search.includes('type=crash')");
        wait_for_titles(&browser, &["Boom in the cellar"]);
        assert!(browser.url().contains("status=stored"), "{}", browser.url());

        // What comes passes the same filters.
        wait_until_live(&browser);
        deliver(&receiver, "crash", "Silence");
        deliver(&receiver, "crash", "Boom on the roof");
        wait_for_titles(&browser, &["Boom on the roof", "Boom in the cellar"]);
        let address = browser.url();
        browser.new_window();
        browser.open(&address);
        assert_eq!(browser.texts(TITLES), ["Boom on the roof", "Boom in the cellar"]);
        assert_eq!(browser.eval("document.querySelector('[name=q]').value"), "boom");

        // From an event the way leads back to them.
        browser.press("j");
        browser.press("Enter");
        browser.wait_for("#json");
        browser.press("j");
        browser.wait_for_text("h1", "Boom in the cellar");
        browser.press("k");
        browser.wait_for_text("h1", "Boom on the roof");
        browser.press("u");
        wait_for_titles(&browser, &["Boom on the roof", "Boom in the cellar"]);
        assert_eq!(browser.url(), address);

        // What was typed stays where it is.
        browser.fill("input[name=since]", "tomorrow");
        browser.press("Enter");
        browser.wait_for_text("[role=alert]", "tomorrow");
        assert_eq!(browser.eval("document.querySelector('[name=since]').value"), "tomorrow");
        assert_eq!(browser.eval("document.querySelector('[name=q]').value"), "boom");
        page.open(&browser, "/?target=nobody");
        assert!(browser.text("#empty").contains("No event matches"));
    });
}

#[test]
fn of_10_000_events_none_is_lost_or_doubled() {
    const EVENTS: usize = 10_000;
    on_each_store(|home| {
        let receiver = Receiver::start(home, &[]);
        let page = PageServer::start(home, &[]);
        let Some(browser) = page.browser() else { return };
        browser.watch_long_tasks();
        wait_until_live(&browser);
        browser.execute(COUNT, &json!([]));
        deliver_many(&receiver, EVENTS, 400);
        browser.wait_for_text("#rows", &format!("Crash {}", EVENTS - 1));
        wait_until("all are in the list", || browser.eval("Object.keys(counted).length") == EVENTS);
        let counted: BTreeMap<String, u32> = serde_json::from_value(browser.eval("window.counted")).unwrap();
        assert!(counted.values().all(|&times| times == 1), "{:?}", counted.iter().find(|(_, times)| **times != 1));
        assert_eq!(browser.text("#live"), "Live");
        // What is shown stays in the order in which it came, and the page does not grow without end.
        let titles = browser.texts(TITLES);
        let newest: Vec<String> = (0..titles.len()).map(|back| format!("Crash {}", EVENTS - 1 - back)).collect();
        assert_eq!(titles, newest);
        assert!((100..=500).contains(&titles.len()), "{}", titles.len());
        eprintln!("the longest task of the page: {} ms", browser.longest_task_ms());
        browser.click(".pager [rel=next]");
        browser.wait_for_text(TITLES, &format!("Crash {}", EVENTS - 1 - titles.len()));
        assert_eq!(browser.console_errors(), [""; 0]);
    });
}
