//! Killed at any time: no event is lost, none is there twice, and the next run goes on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{APP, fetched, home, home_on_postgres, inbox, numbers, subscribe};
use crate::listen::Receiver;
use crate::support::Home;
use crate::support::issue_api::{IssueApi, Listing};

const KILLS: usize = 40;

/// How far the open issues were read, as the store says, in microseconds.
type ReadCursor<'a> = &'a dyn Fn() -> Option<i64>;

fn killed_again_and_again(api: &IssueApi, home: &Home, cursor: ReadCursor<'_>, newest_first: bool) {
    let receiver = Receiver::start(home, &[]);
    subscribe(home, &receiver, "new_crash");
    let mut all: BTreeSet<String> = api.emit(APP, "crash", 2).into_iter().collect();
    assert_eq!(receiver.end().0, 0);
    api.set(Listing { newest_first, latency: Duration::from_millis(2), ..Listing::default() });
    let args = ["events", "fetch", "--look-back", "0"];
    let (mut interrupted, mut whole) = (0, Duration::from_millis(150));
    for kill in 0..KILLS {
        // Some hundred each time: several pages.
        all.extend((0..250).flat_map(|_| api.emit(APP, "crash", 1)));
        let mut child = home.spawn(&args);
        // Not a wait for something: the moment of death is what varies.
        std::thread::sleep(whole * u32::try_from(kill * 7 % 40).unwrap() / 40);
        interrupted += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        // What was made before the cursor is stored.
        if let Some(cursor) = cursor() {
            let stored = inbox(home);
            let ahead = api.made_before(APP, cursor).into_iter().find(|id| !stored.contains_key(id));
            assert_eq!(ahead, None, "the cursor is ahead of the store");
        }
        if kill % 8 == 7 {
            let started = Instant::now();
            fetched(home, &["--look-back", "0"]);
            whole = whole.max(started.elapsed());
            assert_eq!(inbox(home).into_keys().collect::<BTreeSet<_>>(), all, "after {kill} kills");
        }
    }
    let row = fetched(home, &[]);
    assert_eq!(inbox(home).into_keys().collect::<BTreeSet<_>>(), all, "{row}");
    assert_eq!(numbers(&fetched(home, &[]))[3], 0);
    assert!(interrupted > KILLS / 4, "only {interrupted} were at work when they were killed");
}

#[test]
fn fetching_is_killed_on_sqlite() {
    let api = IssueApi::start();
    let home = home(&api);
    let path = home.data().join("registry.inbox.db");
    let cursor = || {
        let inbox = rusqlite::Connection::open(&path).unwrap();
        let sql = "SELECT polled_until FROM polls WHERE list = 'open'";
        inbox.query_row(sql, [], |row| row.get(0)).ok()
    };
    killed_again_and_again(&api, &home, &cursor, true);
}

#[test]
fn fetching_is_killed_on_postgresql() {
    let api = IssueApi::start();
    let Some((home, server, database)) = home_on_postgres(&api) else { return };
    let cursor = || {
        let sql = "SELECT polled_until FROM bugfender_hooks.polls WHERE list = 'open'";
        server.psql(&database, sql).trim().parse().ok()
    };
    killed_again_and_again(&api, &home, &cursor, false);
}

#[test]
fn a_receiver_that_catches_up_is_killed() {
    let api = IssueApi::start();
    let home = home(&api);
    let sink = crate::listen::sink::Sink::always("200 OK");
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url]);
    subscribe(&home, &receiver, "new_crash");
    let address = receiver.address.clone();
    let mut all: BTreeSet<String> = api.emit(APP, "crash", 2).into_iter().collect();
    assert_eq!(receiver.end().0, 0);
    api.set(Listing { latency: Duration::from_millis(2), ..Listing::default() });
    let args = ["--forward-to", sink.url.as_str(), "--catch-up", "1s"];
    for kill in 0..20_u64 {
        all.extend((0..150).flat_map(|_| api.emit(APP, "crash", 1)));
        let receiver = Receiver::start_at(&home, &address, &args);
        std::thread::sleep(Duration::from_millis(kill * 13 % 160));
        drop(receiver);
    }
    let receiver = Receiver::start_at(&home, &address, &args);
    crate::support::wait_until("all are forwarded", || sink.arrivals().into_iter().collect::<BTreeSet<_>>() == all);
    assert_eq!(receiver.end().0, 0);
    assert_eq!(inbox(&home).into_keys().collect::<BTreeSet<_>>(), all);
}
