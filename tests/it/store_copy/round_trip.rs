//! What is copied there and back is the same.

use bugfender_hooks::domain::{AppId, HookId, IssueList};
use bugfender_hooks::store::{EventPage, EventSelection, EventSeq, PurgeRule, Receipt, Store};

use super::{
    copy, filled, hooks, installation, missed, new_database, polling_of, postgres, rows_of, said_of, sqlite, sqlite_url,
};
use crate::support::inbox::{at, bugfender, encoded, instabug, of_ids};
use crate::support::postgres::server;

/// What was received comes again: all of it is known, and what is new has a number behind all others.
fn assert_known(store: &dyn Store, events: usize) {
    let mut inbox = store.receiver_inbox().unwrap();
    let last = inbox.watermark().unwrap();
    let shared = |app: i64| bugfender(900, &format!(r#"[{{"id":"shared","app":{{"id":{app}}}}}]"#));
    let some = [0, 1, 1999, 2000, events / 2, events - 1].map(|number| format!("event-{number}"));
    let again = [
        shared(1),
        shared(2),
        shared(3),
        instabug(50_000_100, r#"{"Title":"again","Reported At":1}"#),
        of_ids(900, &some.iter().map(String::as_str).collect::<Vec<_>>()),
        of_ids(900, &["tried", "second", "large"]),
    ];
    let receipts = inbox.commit(&encoded(&again), &[]).unwrap();
    assert!(receipts.iter().flat_map(|receipt| &receipt.events).all(Option::is_none), "{receipts:?}");
    let new = inbox.commit(&encoded(&[shared(4), of_ids(901, &["new"])]), &[]).unwrap();
    let places: Vec<EventSeq> = new.iter().flat_map(|receipt| receipt.events.clone()).flatten().collect();
    assert!(places.len() == 2 && places.iter().all(|place| *place > last), "{new:?} {last:?}");
}

/// The place of each event, and what targets know it by.
fn places(store: &dyn Store) -> Vec<String> {
    let mut found = Vec::new();
    let each = &mut |event: bugfender_hooks::store::EventRecord| {
        found.push(format!("{:?} {:?} {}", event.seq, event.key, event.id));
        true
    };
    store.inbox().unwrap().events(&EventSelection::default(), EventPage::default(), each).unwrap();
    found
}

#[test]
fn there_and_back() {
    let Some(server) = server() else { return };
    let (home, from) = filled(4500);
    let before = said_of(&home, &from);
    let (database, there) = new_database(server);
    let parts = copy(&home, &from, &there);
    let count = |name: &str| rows_of(&parts, name);
    assert!(count("events") == 4510 && count("hooks") == 5 && count("history") > 1 && count("targets") == 3, "{parts}");
    assert!(count("quarantine") == 2 && count("attempts") == 20 && count("receiver_keys") == 2, "{parts}");
    assert_eq!(said_of(&home, &there), before);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM bugfender_hooks.forwards WHERE token IS NOT NULL"), "0");
    let ordinals =
        "SELECT string_agg(ordinal::text, ',' ORDER BY id) FROM bugfender_hooks.events WHERE event_id = 'shared'";
    assert_eq!(server.psql(&database, ordinals), "0,1,2");
    // Within one kind of server too.
    let (_, beside) = new_database(server);
    assert_eq!(copy(&home, &there, &beside), parts);
    let back = sqlite_url(&home, "back/hooks.db");
    // The same rows have the same checksums, wherever they are.
    assert_eq!(copy(&home, &there, &back), parts);
    assert_eq!(said_of(&home, &back), before);
    let keys = |store: &dyn Store| format!("{:?}", store.receiver_keys().load().unwrap().former.len());
    let (origin, copied) = (sqlite(&home.registry()), sqlite(&home.path().join("back/hooks.db")));
    assert_eq!(keys(&origin), keys(&copied));
    assert_eq!(places(&copied), places(&origin));
    let polling = polling_of(&origin);
    for part in ["app_id: 9", "at: 2023-11-14T22:13:31Z", "events: 77", "\"B c\"", "(\"polled\", 1)", "(\"missed\", 0)"]
    {
        assert!(polling.contains(part), "{part}: {polling}");
    }
    for copy in [&postgres(&there) as &dyn Store, &postgres(&beside), &copied] {
        assert_eq!(polling_of(copy), polling);
    }
    let owned = hooks(&origin).into_iter().find(|hook| hook.managed_by.is_some()).unwrap();
    assert_eq!(owned.replaces.map(HookId::get), Some(4));
    assert_eq!((hooks(&postgres(&there)), hooks(&copied)), (hooks(&origin), hooks(&origin)));
    let (first, second) = (origin.receiver_keys().load().unwrap(), postgres(&there).receiver_keys().load().unwrap());
    assert!(first.current == second.current && first.current == copied.receiver_keys().load().unwrap().current);
    for copy in [&postgres(&there) as &dyn Store, &postgres(&beside), &copied] {
        assert_known(copy, 4500);
        assert_polling_goes_on(copy);
    }
}

/// What is noted of polling from now on is added to what was copied.
fn assert_polling_goes_on(store: &dyn Store) {
    let mut inbox = store.receiver_inbox().unwrap();
    let app = AppId::new(6).unwrap();
    inbox.note_polled(&installation(), app, IssueList::Open, at(50)).unwrap();
    inbox.note_missed(&installation(), &[missed(6, 1)]).unwrap();
    let new = bugfender(950, r#"[{"id":"arrived","app":{"id":6},"type":"crash"}]"#);
    let late = bugfender(951, r#"[{"id":"missed","app":{"id":4},"type":"feedback"}]"#);
    assert_eq!(inbox.commit(&encoded(&[new, late]), &[]).unwrap().iter().map(Receipt::stored).sum::<usize>(), 1);
    while inbox.maintain().unwrap() {}
    let rule = PurgeRule { before: Some(at(1000)), even_pending: true, ..PurgeRule::default() };
    while inbox.purge(&rule).unwrap().more {}
    let arrivals = inbox.arrivals().unwrap();
    let of = |app: i64, event_type: &str| {
        let of = arrivals.iter().find(|arrival| arrival.app_id == app && arrival.event_type == event_type);
        of.map(|arrival| arrival.last_at)
    };
    let found = [of(6, "crash"), of(4, "feedback"), of(4, "issue"), of(9, "crash"), of(1, "crash")];
    assert_eq!(found, [950, 951, 11, 12, 1].map(|second| Some(at(second))));
    assert_eq!(inbox.polled_until(&installation(), app, IssueList::Open).unwrap(), Some(at(50)));
    assert_eq!(inbox.missed_events(&installation()).unwrap(), [missed(4, 1), missed(5, 77), missed(6, 1)]);
}

#[test]
fn the_index_of_a_large_copy_is_written_in_runs() {
    let (home, from) = filled(140_000);
    let back = sqlite_url(&home, "copy.db");
    copy(&home, &from, &back);
    let inbox = rusqlite::Connection::open(home.path().join("copy.inbox.db")).unwrap();
    let runs: i64 = inbox.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap();
    assert_eq!(runs, 2);
    assert_known(&sqlite(&home.path().join("copy.db")), 140_000);
}

/// In PostgreSQL, the events of deliveries that come in at the same time are among one another.
#[test]
fn deliveries_among_one_another() {
    let Some(server) = server() else { return };
    let home = crate::support::Home::new();
    let (database, there) = new_database(server);
    let mut inbox = postgres(&there).receiver_inbox().unwrap();
    let bodies = [of_ids(1, &["a", "b"]), of_ids(2, &["c", "d", "c"])];
    inbox.commit(&encoded(&bodies), &[]).unwrap();
    drop(inbox);
    let mix = "UPDATE bugfender_hooks.events SET id = CASE event_id WHEN 'b' THEN 13 WHEN 'c' THEN 12 ELSE id END + 10;
               UPDATE bugfender_hooks.deliveries SET first_event = 11, last_event = 23 WHERE id = 1;
               UPDATE bugfender_hooks.deliveries SET first_event = 14, last_event = 22 WHERE id = 2;
               SELECT setval('bugfender_hooks.event_ids', 30)";
    server.psql(&database, mix);
    copy(&home, &there, &sqlite_url(&home, "mixed.db"));
    let store = sqlite(&home.path().join("mixed.db"));
    assert_eq!(store.inbox().unwrap().watermark().unwrap(), EventSeq(30));
    let mut inbox = store.inbox().unwrap();
    // Deleting one leaves the others, and nothing of it in their bodies.
    let a = places(&store)[0].clone();
    assert!(a.ends_with(" a"), "{a}");
    assert_eq!(inbox.delete(&[EventSeq(11)]).unwrap(), 1);
    assert_eq!(places(&store).len(), 3);
    let run = super::run_on(&home, &sqlite_url(&home, "mixed.db"), &["events", "export"]);
    assert_eq!(run.stdout.lines().count(), 3, "{run}");
    let rule = bugfender_hooks::store::PurgeRule {
        before: Some(crate::support::inbox::at(2)),
        ..bugfender_hooks::store::PurgeRule::default()
    };
    while inbox.purge(&rule).unwrap().more {}
    assert_eq!(places(&store).len(), 2);
}
