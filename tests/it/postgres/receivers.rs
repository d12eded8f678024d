//! Several receivers on one store: each event is stored once, each forward is one receiver's at a time.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use bugfender_hooks::domain::Secret;
use bugfender_hooks::store::postgres::PostgresStore;
use bugfender_hooks::store::{
    AttemptOutcome, AttemptReport, Attendance, ClaimRequest, EventSeq, Leased, PurgeRule, Receipt, ReceiverInbox,
    Route, Settled, Settlement, Store, TargetId, TargetName,
};
use jiff::Timestamp;

use crate::support::inbox::{at, bugfender, encoded, noise, of_ids, polled};
use crate::support::postgres::{Server, connect_options, server};

const LEASE: Duration = Duration::from_secs(90);

/// A store in a database of its own, and the name of that.
pub(super) fn store(server: &Server) -> (PostgresStore, String) {
    let database = server.new_database();
    (PostgresStore::new(connect_options(&server.url(&database), &[]).unwrap()), database)
}

fn everything_to(inbox: &mut dyn ReceiverInbox) -> (TargetId, Vec<Route>) {
    let target = inbox.targets(&[TargetName { key: "x".to_owned(), shown: "https://x".to_owned() }]).unwrap()[0];
    (target, vec![Route { target, types: Vec::new(), together: false }])
}

fn settlement(leased: &Leased, second: i64) -> Settlement {
    let outcome = AttemptOutcome::Delivered;
    Settlement { lease: leased.lease(), at: at(second), outcome, report: AttemptReport::default() }
}

#[test]
fn events_that_come_to_several_receivers_at_once_are_stored_once() {
    const ROUNDS: usize = 30;
    let Some(server) = server() else { return };
    let (store, database) = store(server);
    store.inbox().unwrap();
    let (receivers, together) = (4, Barrier::new(4));
    let stored: usize = thread::scope(|scope| {
        let receive = |number: usize| {
            let mut inbox = store.receiver_inbox().unwrap();
            let (_, routes) = everything_to(&mut *inbox);
            let mut stored = 0;
            for round in 0..ROUNDS {
                // The same events in another order for each, some of them twice, and one of its own.
                let mut ids: Vec<String> = (0..50).map(|event| format!("{round}-{event}")).collect();
                ids.rotate_left(number * 13);
                ids.push(format!("{round}-{number}"));
                ids.push(format!("own-{number}-{round}"));
                let deliveries: Vec<_> =
                    ids.chunks(10).map(|ids| of_ids(1, &ids.iter().map(String::as_str).collect::<Vec<_>>())).collect();
                together.wait();
                stored +=
                    inbox.commit(&encoded(&deliveries), &routes).unwrap().iter().map(Receipt::stored).sum::<usize>();
            }
            stored
        };
        let threads: Vec<_> = (0..receivers).map(|number| scope.spawn(move || receive(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let events = ROUNDS * (50 + receivers);
    let counts = "SELECT count(*), count(DISTINCT key), sum(duplicates) FROM bugfender_hooks.events";
    let duplicates = ROUNDS * (receivers * 52 - 50 - receivers);
    assert_eq!(server.psql(&database, counts), format!("{events}|{events}|{duplicates}"));
    assert_eq!(stored, events);
    // A forward for each of them, and no more.
    let forwards = "SELECT count(*), count(DISTINCT first_event) FROM bugfender_hooks.forwards";
    assert_eq!(server.psql(&database, forwards), format!("{events}|{events}"));
    let orphans = "SELECT count(*) FROM bugfender_hooks.events e WHERE NOT EXISTS
                   (SELECT 1 FROM bugfender_hooks.deliveries d WHERE d.id = e.delivery)";
    assert_eq!(server.psql(&database, orphans), "0");
}

#[test]
fn a_claim_is_one_receivers_until_its_lease_is_over() {
    let Some(server) = server() else { return };
    let (store, _) = store(server);
    let (mut one, mut other) = (store.receiver_inbox().unwrap(), store.receiver_inbox().unwrap());
    let (target, routes) = everything_to(&mut *one);
    one.commit(&encoded(&[of_ids(1, &["a", "b", "c"])]), &routes).unwrap();
    let first = one.claim(target, ClaimRequest::up_to(2), at(10), LEASE).unwrap();
    let second = other.claim(target, ClaimRequest::up_to(9), at(10), LEASE).unwrap();
    assert_eq!((first.len(), second.len()), (2, 1));
    // A receiver that dies gives nothing back: its claims wait for the end of their leases.
    std::mem::forget(one);
    assert!(other.claim(target, ClaimRequest::up_to(9), at(99), LEASE).unwrap().is_empty());
    let again = other.claim(target, ClaimRequest::up_to(9), at(101), LEASE).unwrap();
    assert_eq!(again.len(), 3);
    // What comes of the old claims is not recorded, even by a process that was only slow.
    let mut slow = store.receiver_inbox().unwrap();
    assert_eq!(slow.settle(&[settlement(&first[0], 102)]).unwrap(), [Settled::LeaseLost]);
    assert_eq!(slow.renew(&[first[1].lease()], at(102), LEASE).unwrap(), [first[1].lease()]);
    let ends: Vec<_> = again.iter().map(|leased| settlement(leased, 103)).collect();
    assert_eq!(other.settle(&ends).unwrap(), [Settled::Recorded; 3]);
    // One that ends gives its claims back.
    slow.commit(&encoded(&[of_ids(1, &["d"])]), &routes).unwrap();
    assert_eq!(slow.claim(target, ClaimRequest::up_to(9), at(110), LEASE).unwrap().len(), 1);
    drop(slow);
    assert_eq!(other.claim(target, ClaimRequest::up_to(9), at(110), LEASE).unwrap().len(), 1);
}

#[test]
fn receivers_know_how_many_they_are_and_which_was_first() {
    let Some(server) = server() else { return };
    let (store, database) = store(server);
    let [mut one, mut two, mut three] = [(); 3].map(|()| store.receiver_inbox().unwrap());
    let is = |receivers, is_first| Attendance { receivers, is_first };
    assert_eq!(one.attend().unwrap(), is(1, true));
    assert_eq!((two.attend().unwrap(), three.attend().unwrap()), (is(2, false), is(3, false)));
    assert_eq!((one.attend().unwrap(), two.attend().unwrap()), (is(3, true), is(3, false)));
    drop(one);
    assert_eq!((two.attend().unwrap(), three.attend().unwrap()), (is(2, true), is(2, false)));
    // One that has said nothing for long does not count, and is no longer the first when it is back.
    server.psql(
        &database,
        "UPDATE bugfender_hooks.roles SET until = now() WHERE since = (SELECT min(since) FROM bugfender_hooks.roles)",
    );
    assert_eq!(three.attend().unwrap(), is(1, true));
    assert_eq!((two.attend().unwrap(), three.attend().unwrap()), (is(2, false), is(2, true)));
}

#[test]
fn a_failing_target_is_left_alone_by_all() {
    let Some(server) = server() else { return };
    let (store, _) = store(server);
    let (mut one, mut other) = (store.receiver_inbox().unwrap(), store.receiver_inbox().unwrap());
    let (target, routes) = everything_to(&mut *one);
    one.commit(&encoded(&[of_ids(1, &["a"])]), &routes).unwrap();
    one.hold(target, Some(at(50))).unwrap();
    assert!(other.claim(target, ClaimRequest::up_to(9), at(49), LEASE).unwrap().is_empty());
    assert_eq!(other.next_due(target, at(49)).unwrap(), None);
    assert_eq!(other.claim(target, ClaimRequest::up_to(9), at(50), LEASE).unwrap().len(), 1);
    one.hold(target, Some(at(500))).unwrap();
    one.hold(target, None).unwrap();
    assert_eq!(other.claim(target, ClaimRequest::up_to(9), at(141), LEASE).unwrap().len(), 1);
}

#[test]
fn who_follows_events_waits_for_those_that_are_being_stored() {
    let Some(server) = server() else { return };
    let (store, database) = store(server);
    let (mut inbox, follower) = (store.receiver_inbox().unwrap(), store.inbox().unwrap());
    inbox.commit(&encoded(&[of_ids(1, &["a"])]), &[]).unwrap();
    let before = follower.watermark().unwrap();
    // Another receiver has numbered an event, and takes a while to commit it.
    let open = "BEGIN; SELECT pg_advisory_xact_lock_shared(hashtextextended(
                    'bugfender-hooks intake of \"bugfender_hooks\"', 0));
                SELECT nextval('bugfender_hooks.event_ids'); SELECT pg_sleep(1.5); COMMIT";
    thread::scope(|scope| {
        let slow = scope.spawn(|| server.psql(&database, open));
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
                       (SELECT oid FROM pg_database WHERE datname = current_database())";
        while server.psql(&database, waiting) == "0" {}
        let receipt = inbox.commit(&encoded(&[of_ids(1, &["c"])]), &[]).unwrap().remove(0);
        let last = receipt.events[0].unwrap();
        // The one in between may still come.
        let seen = follower.watermark().unwrap();
        assert!(slow.is_finished() || seen < last, "{before:?} {seen:?} {last:?}");
        slow.join().unwrap();
        assert_eq!(follower.watermark().unwrap(), last);
        assert_eq!(last, EventSeq(before.0 + 2));
    });
}

/// The apps and types of which events arrived, and when.
fn arrivals(store: &PostgresStore) -> Vec<(i64, String, Timestamp)> {
    let arrivals = store.inbox().unwrap().arrivals().unwrap().into_iter();
    arrivals.map(|arrival| (arrival.app_id, arrival.event_type, arrival.last_at)).collect()
}

#[test]
fn arrivals_are_put_on_record_behind_those_that_are_being_stored() {
    let Some(server) = server() else { return };
    let (store, database) = store(server);
    let mut inbox = store.receiver_inbox().unwrap();
    let of = |event_type: &str| {
        bugfender(9, &format!(r#"[{{"id":"{event_type}","app":{{"id":5}},"type":"{event_type}"}}]"#))
    };
    inbox.commit(&encoded(&[of("first")]), &[]).unwrap();
    // Another receiver stores an event, and takes a while to commit it.
    let open = "BEGIN; SELECT pg_advisory_xact_lock_shared(hashtextextended(
                    'bugfender-hooks intake of \"bugfender_hooks\"', 0));
                SET search_path = bugfender_hooks;
                WITH n AS (SELECT nextval('event_ids') AS event, nextval('delivery_ids') AS delivery),
                    d AS (INSERT INTO deliveries (id, sender, received_at, events, first_event, last_event, body)
                        SELECT delivery, 'bugfender', 1700000007000000, 1, event, event, '[{}]' FROM n)
                INSERT INTO events (id, delivery, start, length, key, ordinal, event_id, type, app_id)
                SELECT event, delivery, 1, 2, decode(md5('slow'), 'hex'), 0, 'slow', 'Slow', 5 FROM n;
                SELECT pg_sleep(600)";
    let sleeps = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    thread::scope(|scope| {
        let slow = scope.spawn(|| server.psql(&database, &format!("{open}; COMMIT")));
        while server.psql(&database, &format!("SELECT count(*) {sleeps}")) == "0" {}
        inbox.commit(&encoded(&[of("last")]), &[]).unwrap();
        // Nobody waits for it, nor goes past it.
        for _ in 0..2 {
            let mut other = store.receiver_inbox().unwrap();
            while other.maintain().unwrap() {}
        }
        while inbox.maintain().unwrap() {}
        let names = ["first", "last"].map(|name| (5, name.to_owned(), at(9)));
        assert_eq!(arrivals(&store), names);
        server.psql(&database, &format!("SELECT pg_cancel_backend(pid) {sleeps}"));
        let _ = slow.join();
    });
    // It failed, and the next one does not.
    thread::scope(|scope| {
        let slow = scope.spawn(|| server.psql(&database, &format!("{}; COMMIT", open.replace("600", "1"))));
        while server.psql(&database, &format!("SELECT count(*) {sleeps}")) == "0" {}
        inbox.commit(&encoded(&[of("later")]), &[]).unwrap();
        let mut other = store.receiver_inbox().unwrap();
        while other.maintain().unwrap() {}
        slow.join().unwrap();
    });
    let names = [("first", 9), ("last", 9), ("later", 9), ("slow", 7)].map(|(name, s)| (5, name.to_owned(), at(s)));
    assert_eq!(arrivals(&store), names);
    let mut other = store.receiver_inbox().unwrap();
    while other.maintain().unwrap() {}
    assert_eq!(arrivals(&store), names);
    let on_record = "SELECT count(*), max(last_event) FROM bugfender_hooks.arrivals, bugfender_hooks.arrivals_seen";
    let last = inbox.watermark().unwrap().0;
    assert_eq!(server.psql(&database, on_record), format!("4|{last}"));
}

#[test]
fn no_arrival_is_lost_while_several_store_and_one_purges() {
    const ROUNDS: i64 = 60;
    let Some(server) = server() else { return };
    let (store, _) = store(server);
    let mut keeper = store.receiver_inbox().unwrap();
    let storing = std::sync::atomic::AtomicUsize::new(3);
    thread::scope(|scope| {
        for app in 0..3 {
            let (store, storing) = (&store, &storing);
            scope.spawn(move || {
                let mut inbox = store.receiver_inbox().unwrap();
                for round in 0..ROUNDS {
                    // Each type comes once; some of it was polled before.
                    let body = format!(r#"[{{"id":"{app}-{round}","app":{{"id":{app}}},"type":"t{round:02}"}}]"#);
                    let first = [polled(8, 1, &body), bugfender(round, &body)];
                    let group = if round % 2 == 0 { &first[1..] } else { &first[..1] };
                    inbox.commit(&encoded(group), &[]).unwrap();
                    inbox.commit(&encoded(&first[1..]), &[]).unwrap();
                }
                storing.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        while storing.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            let mut other = store.receiver_inbox().unwrap();
            while other.maintain().unwrap() {}
            // Not what may still be brought by a webhook.
            let rule = PurgeRule { before: Some(at(0)), ..PurgeRule::default() };
            while keeper.purge(&rule).unwrap().more {}
        }
    });
    let rule = PurgeRule { before: Some(at(1000)), ..PurgeRule::default() };
    while keeper.purge(&rule).unwrap().more {}
    let expected: Vec<_> =
        (0..3).flat_map(|app| (0..ROUNDS).map(move |round| (app, format!("t{round:02}"), at(round)))).collect();
    assert_eq!(arrivals(&store), expected);
}

#[test]
fn all_receivers_have_the_same_keys() {
    let Some(server) = server() else { return };
    let (store, _) = store(server);
    let load = |_| store.receiver_keys().load().unwrap().current;
    let keys: Vec<Secret> = thread::scope(|scope| {
        let threads: Vec<_> = (0..5).map(|number| scope.spawn(move || load(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
    let (one, other) = (store.receiver_keys(), store.receiver_keys());
    assert!(one.are_shared());
    let now = jiff::Timestamp::now();
    let later = now + jiff::SignedDuration::from_hours(1);
    let rotated = one.rotate(later, now).unwrap();
    let seen = other.reload().unwrap();
    assert!(seen.current == rotated.current && seen.current != keys[0]);
    assert!(seen.former.len() == 1 && seen.former[0].0 == keys[0]);
    assert!(other.rotate(now, now).unwrap().former.is_empty());
}

#[test]
fn a_large_delivery_is_stored_and_claimed_in_no_time() {
    let Some(server) = server() else { return };
    let (store, _) = store(server);
    let mut inbox = store.receiver_inbox().unwrap();
    let (target, routes) = everything_to(&mut *inbox);
    let events: Vec<String> = (0..20_000).map(|id| format!(r#"{{"id":{id},"title":"t{id}"}}"#)).collect();
    let body = format!("[{}]", events.join(","));
    // A receiver gives the server five seconds.
    assert_eq!(inbox.commit(&encoded(&[bugfender(1, &body)]), &routes).unwrap()[0].stored(), 20_000);
    assert_eq!(inbox.commit(&encoded(&[bugfender(1, &body)]), &routes).unwrap()[0].duplicates(), 20_000);
    assert_eq!(inbox.claim(target, ClaimRequest::up_to(1000), at(2), LEASE).unwrap().len(), 1000);
    let texts: Vec<String> = (0..5).map(|id| format!(r#"[{{"id":"n{id}","title":"{}"}}]"#, noise(3_000_000))).collect();
    let deliveries: Vec<_> = texts.iter().map(|body| bugfender(1, body)).collect();
    assert_eq!(inbox.commit(&encoded(&deliveries), &routes).unwrap().len(), 5);
}

#[test]
fn a_server_that_does_not_sync_is_warned_of() {
    let Some(server) = server() else { return };
    let (store, database) = store(server);
    let warnings = store.inbox().unwrap().warnings().unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("fsync is off"), "{warnings:?}");
    assert_eq!(server.psql(&database, "SHOW fsync"), "off");
}
