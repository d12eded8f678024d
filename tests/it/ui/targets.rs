//! Targets that are tried, and targets that fail.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::PageServer;
use crate::beside::World;
use crate::listen::sink::Sink;
use crate::support::browser::Site;
use crate::support::{answer, free_address, wait_until};

const NAME: &str = ".way h2";

#[test]
fn a_target_is_tried_with_a_sample() {
    World::each(|world| {
        let accepts = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&accepts);
        let site = Site::start(move |mut exchange| {
            let status = if told.load(Ordering::Relaxed) { "202 Accepted" } else { "404 Not Found" };
            exchange.send(answer(status, &[], "as <b>you like"));
        });
        let receiver = world.receiver(&[], &["--forward-to", &site.url, "--retry-wait", "3600"]);
        let page = PageServer::start(&world.home, &[]);
        let Some(browser) = page.browser() else { return };
        page.open(&browser, "/targets");
        let name = browser.text(NAME).replace(" active", "");
        let button = ".way form[action$=test] button";
        browser.click(button);
        browser.wait_for_text(".notice.good", &format!("{name} accepted a sample event in "));
        assert_eq!(browser.texts(".notice pre"), ["as <b>you like"]);
        // It is an event like any other, with its way.
        assert_eq!(browser.text("h1"), "issue [test] A sample event");
        assert_eq!(browser.texts(".way h3"), [format!("{name} forwarded")]);
        accepts.store(false, Ordering::Relaxed);
        page.open(&browser, "/targets");
        browser.set_scripts(false);
        browser.click(button);
        browser.wait_for_text(".notice.bad", "has not accepted the sample event: HTTP 404");
        browser.set_scripts(true);
        assert_eq!(world.events().len(), 2);
        assert_eq!(page.log().matches(&format!(" sent a test to {name}")).count(), 2, "{}", page.log());

        // One that is paused, or that nobody forwards to, is not tried.
        page.open(&browser, "/targets");
        browser.click(".way form[action$=pause] button");
        browser.wait_for_text(".notice.good", "is paused");
        assert!(browser.texts(button).is_empty());
        browser.click(".way form[action$=resume] button");
        browser.wait_for_text(".notice.good", "is resumed");
        let open_before = browser.window();
        browser.new_window();
        page.open(&browser, "/targets");
        browser.click(".way form[action$=pause] button");
        browser.wait_for_text(".notice.good", "is paused");
        browser.switch(&open_before);
        browser.click(button);
        browser.wait_for_text(".notice.bad", "is paused: resume it");
        assert_eq!(receiver.end().0, 0);
        let other = Sink::always("200 OK");
        let receiver = world.receiver(&[&other], &[]);
        page.open(&browser, "/targets");
        assert_eq!(browser.texts(button).len(), 1);
        assert_eq!(receiver.end().0, 0);
        // While nobody receives it waits, and the page says so.
        browser.click(button);
        browser.wait_for_text(".notice.bad", "no attempt was made yet");
        assert_eq!((world.events().len(), other.calls().len()), (3, 0));
    });
}

#[test]
fn a_failing_target_is_shown_as_such() {
    World::each(|world| {
        let address = free_address();
        let to = format!("http://{address}/in");
        let receiver = world.receiver(&[], &["--forward-to", &to, "--retry-wait", "0.02"]);
        let page = PageServer::start(&world.home, &[]);
        let Some(browser) = page.browser() else { return };
        for id in 0..10 {
            assert_eq!(receiver.post(format!(r#"[{{"id":"{id}"}}]"#)).status, 200);
        }
        // Now and then it is tried.
        wait_until("it is failing", || {
            page.open(&browser, "/targets");
            browser.text(NAME).ends_with(" failing") && browser.text(".way dl").contains("suspended until")
        });
        wait_until("the overview says so", || {
            page.open(&browser, "/overview");
            browser.texts("td .state") == ["failing"]
        });
        let sink = Sink::on(TcpListener::bind(address).unwrap(), |_, _| ("200 OK", vec![]));
        wait_until("all are forwarded", || sink.ids().len() == 10);
        wait_until("it is active", || {
            page.open(&browser, "/targets");
            browser.text(NAME).ends_with(" active") && !browser.text(".way dl").contains("suspended until")
        });
        assert_eq!(receiver.end().0, 0);
    });
}

/// What the overview says of the self-check.
const SELF_CHECK: &str = "Array.from(document.querySelectorAll('.facts div')).find(fact => fact.innerText.startsWith('Self-check')).innerText";

#[test]
fn the_self_check_is_told_by_who_knows_it() {
    let world = World::on_sqlite();
    let closed = free_address();
    let ui = ["--ui", "--admin-listen", "127.0.0.1:0"];
    let public_url = format!("http://{closed}");
    let checked = [&ui[..], &["--public-url", &public_url, "--self-check", "10s"]].concat();
    let receiver = world.receiver(&[], &checked);
    let page = PageServer::start(&world.home, &[]);
    let Some(browser) = page.browser() else { return };
    let says = || browser.eval(SELF_CHECK).as_str().unwrap().to_owned();
    page.open(&browser, "/overview");
    assert!(says().contains("known to the receiver only"), "{}", says());
    let url = receiver.ready["ui_url"].as_str().unwrap();
    browser.open(url);
    let overview = format!("{}/overview", url.split("/?").next().unwrap());
    browser.open(&overview);
    assert!(says().contains("not made yet") || says().contains("failing"), "{}", says());
    wait_until("it fails", || {
        browser.open(&overview);
        says().contains("failing since ") && says().contains("could not connect")
    });
    assert_eq!(receiver.end().0, 0);
    let receiver = world.receiver(&[], &ui);
    let url = receiver.ready["ui_url"].as_str().unwrap();
    browser.open(url);
    browser.open(&format!("{}/overview", url.split("/?").next().unwrap()));
    assert!(says().contains("off: listen --self-check"), "{}", says());
    assert_eq!(receiver.end().0, 0);
}
