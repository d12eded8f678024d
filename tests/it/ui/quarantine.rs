//! What could not be read is read again.

use super::{PageServer, TITLES};
use crate::beside::World;
use crate::listen::sink::Sink;
use crate::support::browser::Browser;
use crate::support::inbox::{of_ids, unreadable};
use crate::support::wait_until;

/// Two that can be read now, of which one has an event that is known; one that cannot, and one that has no body.
fn in_quarantine(world: &World) {
    let readable = unreadable(1, r#"[{"id":"a","title":"A"},{"id":"b","title":"B"}]"#);
    let half_known = unreadable(2, r#"[{"id":"c","title":"C"},{"id":"known"}]"#);
    world.commit(&[readable, half_known, unreadable(3, "[{"), unreadable(4, ""), of_ids(5, &["known"])]);
}

fn wait_for_job(browser: &Browser) {
    browser.wait_for_text("#job-state", "done");
}

#[test]
fn one_is_read_again_and_all_are() {
    World::each(|world| {
        in_quarantine(world);
        let sink = Sink::always("200 OK");
        let _receiver = world.receiver(&[&sink], &[]);
        let page = PageServer::start(&world.home, &[]);
        let Some(browser) = page.browser() else { return };
        // Without a body there is nothing to read.
        page.open(&browser, "/quarantine/4");
        assert!(browser.texts("main form button").is_empty());
        page.open(&browser, "/quarantine/3");
        browser.click("main form button");
        browser.wait_for_text(".notice.bad", "Delivery 3 still cannot be read: not a JSON array");
        page.open(&browser, "/quarantine/2");
        browser.click("main form button");
        browser.wait_for_text(".notice.good", "Of its events 1 are new, and 1 were known");
        assert_eq!(browser.texts("td:first-child"), ["4", "3", "1"]);
        sink.wait_for(1);
        page.open(&browser, "/quarantine/2");
        assert!(browser.text("h1").contains("Not found"));

        page.open(&browser, "/quarantine");
        browser.click(".bulk summary");
        browser.click(".bulk button");
        browser.wait_for("#job");
        wait_for_job(&browser);
        assert_eq!(browser.text("#job-text"), "3 of 3 deliveries, 1 read");
        assert!(browser.text("main").contains("stay in quarantine"));
        browser.click(".crumbs a");
        browser.wait_for_text("h1", "Quarantine");
        assert_eq!(browser.texts("td:first-child"), ["4", "3"]);
        wait_until("it is forwarded", || sink.calls().len() == 2);
        page.open(&browser, "/");
        let mut titles = browser.texts(TITLES);
        titles.sort();
        assert_eq!(titles, ["(no title)", "A", "B", "C"]);
        for said in ["read the quarantined delivery 2 again", "began job 1: Reading again: the quarantine"] {
            assert!(page.log().contains(said), "{}", page.log());
        }
        assert!(!page.log().contains("delivery 3 again"), "{}", page.log());
    });
}

#[test]
fn those_that_match_are_read_again_without_scripts() {
    World::each(|world| {
        let luciq = |number: i64| unreadable(number, &format!(r#"[{{"id":"{number}"}}]"#));
        world.commit(&(1..=30).map(luciq).collect::<Vec<_>>());
        world.commit(&[unreadable(40, "nonsense")]);
        let page = PageServer::start(&world.home, &[]);
        let Some(browser) = page.browser() else { return };
        browser.set_scripts(false);
        page.open(&browser, "/quarantine?q=nothing+says+this");
        assert!(browser.text(".empty").contains("No delivery matches"));
        browser.fill("[name=q]", "Not UNDERSTOOD");
        browser.click(".filters button");
        browser.wait_for_text("main", "31");
        assert!(browser.url().ends_with("?q=Not+UNDERSTOOD"), "{}", browser.url());
        browser.click(".bulk summary");
        browser.click(".bulk button");
        browser.wait_for("#job");
        let address = browser.url();
        wait_until("all are read", || {
            browser.open(&address);
            browser.text("#job-state") == "done"
        });
        assert_eq!(browser.text("#job-text"), "31 of 31 deliveries, 30 read");
        assert_eq!((world.quarantined(), world.events().len()), (vec![31], 30));
        assert!(page.log().contains("Reading again: ?q=Not+UNDERSTOOD"), "{}", page.log());
    });
}

#[test]
fn a_receiver_with_a_page_reads_its_own() {
    World::each(|world| {
        in_quarantine(world);
        let receiver = world.receiver(&[], &["--ui", "--admin-listen", "127.0.0.1:0"]);
        let Some(browser) = Browser::start() else { return };
        let url = receiver.ready["ui_url"].as_str().unwrap();
        browser.open(url);
        browser.wait_for(".events");
        browser.open(&format!("{}/quarantine/1", url.split("/?").next().unwrap()));
        browser.click("main form button");
        browser.wait_for_text(".notice.good", "Of its events 2 are new, and 0 were known");
        assert_eq!(world.quarantined(), [4, 3, 2]);
        assert_eq!(receiver.end().0, 0);
    });
}
