//! A receiver that was down, and what it catches up with.

use std::collections::BTreeSet;

use super::{APP, came, home, home_on_postgres, inbox, on_postgresql, on_sqlite, subscribe};
use crate::listen::Receiver;
use crate::listen::sink::Sink;
use crate::support::issue_api::IssueApi;
use crate::support::{Home, wait_until};

/// It receives, is stopped while events come, and is started again.
fn catches_up(api: &IssueApi, home: &Home) {
    let sink = Sink::always("200 OK");
    let receiver = Receiver::start(home, &["--forward-to", &sink.url]);
    subscribe(home, &receiver, "new_crash");
    let mut all: BTreeSet<String> = api.emit(APP, "crash", 3).into_iter().collect();
    wait_until("they are forwarded", || sink.arrivals().len() == 3);
    let address = receiver.address.clone();
    assert_eq!(receiver.end().0, 0);
    all.extend((0..500).flat_map(|_| api.emit(APP, "crash", 1)));
    let receiver = Receiver::start_at(home, &address, &["--forward-to", &sink.url, "--catch-up", "1h"]);
    wait_until("all are forwarded", || sink.arrivals().len() >= 503);
    assert_eq!(inbox(home).keys().cloned().collect::<BTreeSet<_>>(), all);
    assert_eq!((came(home, "webhook"), came(home, "poll")), (3, 500));
    assert!(receiver.log().contains("caught up with 500 events"), "{}", receiver.log());
    assert_eq!(receiver.metric("bugfender_hooks_polled_events_total"), 500);
    // What a webhook brings, nobody fetches.
    all.extend(api.emit(APP, "crash", 2));
    wait_until("the last are forwarded", || sink.arrivals().len() >= 505);
    assert_eq!(receiver.end().0, 0);
    let found = sink.arrivals();
    assert_eq!((found.len(), found.into_iter().collect::<BTreeSet<_>>()), (505, all));
}

#[test]
fn a_receiver_catches_up_on_sqlite() {
    on_sqlite(catches_up);
}

#[test]
fn a_receiver_catches_up_on_postgresql() {
    on_postgresql(catches_up);
}

#[test]
fn of_several_receivers_one_polls() {
    let api = IssueApi::start();
    let Some((home, ..)) = home_on_postgres(&api) else { return };
    let first = Receiver::start(&home, &["--catch-up", "1s"]);
    subscribe(&home, &first, "new_crash");
    let second = Receiver::start(&home, &["--catch-up", "1s"]);
    api.asked();
    wait_until("some rounds are over", || api.asked().len() + api.groups_asked() > 0 && api.groups_asked() >= 4);
    let polled = [&first, &second].map(|receiver| receiver.get("/metrics").body.contains("last_poll_timestamp"));
    assert_eq!(polled, [true, false]);
    assert_eq!((first.end().0, second.end().0), (0, 0));
}

#[test]
fn what_fails_and_works_again_is_said_once() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &[]);
    subscribe(&home, &receiver, "new_crash");
    let address = receiver.address.clone();
    assert_eq!(receiver.end().0, 0);
    let mut listing = crate::support::issue_api::Listing { status: 403, groups_status: 403, ..Default::default() };
    api.set(listing.clone());
    let receiver = Receiver::start_at(&home, &address, &["--catch-up", "1s"]);
    wait_until("three rounds have failed", || api.groups_asked() >= 3);
    assert_eq!(receiver.log().matches("catching up failed").count(), 1, "{}", receiver.log());
    (listing.status, listing.groups_status) = (200, 200);
    api.set(listing);
    wait_until("it works again", || receiver.log().contains("catching up works again"));
    assert_eq!(receiver.end().0, 0);
}
