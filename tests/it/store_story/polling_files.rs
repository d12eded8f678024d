//! What only a file has of polling: where one process receives into it, others hand over to that what they have polled.

use bugfender_hooks::domain::delivery::Via;
use bugfender_hooks::domain::{AppId, IssueList};
use bugfender_hooks::store::sqlite::SqliteStore;
use bugfender_hooks::store::{HandedOver, MissedEvents, Receipt, ReceiverInbox, Recipients, Route, Store};
use rusqlite::Connection;

use super::sqlite_files::scratch;
use super::{Fixture, PostgresFixture, all, all_to, claim_some, commit, receiver, target};
use crate::support::inbox::{at, bugfender, polled};

fn handed(app: i64, second: i64, forward: bool, body: &str) -> HandedOver {
    let recipients = if forward { Recipients::Routed } else { Recipients::Nobody };
    HandedOver::of(polled(app, second, body), None, recipients)
}

/// Stores what comes next, as a receiver does, but for the note of it. Returns its number, and how many events were new.
fn store_next(inbox: &mut dyn ReceiverInbox) -> Option<(i64, u64)> {
    let handed = inbox.next_handed_over().unwrap()?;
    let number = handed.number;
    let receipts = inbox.commit(&[handed.encode(at(9)).unwrap()], &[]).unwrap();
    Some((number, receipts.iter().map(Receipt::stored).sum::<usize>() as u64))
}

#[test]
fn what_one_process_has_polled_another_stores() {
    let (_dir, store) = scratch();
    let mut inbox = receiver(&store);
    let mut other = store.existing_inbox().unwrap().unwrap();
    assert!(inbox.next_handed_over().unwrap().is_none());
    let first = other.hand_over(&handed(7, 1, true, r#"[{"id":"a"},{"id":"b"}]"#)).unwrap();
    let second = other.hand_over(&handed(8, 2, false, r#"[{"id":"b"},{"id":"c"}]"#)).unwrap();
    let third = other.hand_over(&handed(7, 3, false, r#"[{"id":"b"},{"id":"d"}]"#)).unwrap();
    assert!(first < second && second < third, "{first} {second} {third}");
    assert_eq!(other.take_receipt(first).unwrap(), None);
    // In order, each until it is noted.
    for _ in 0..2 {
        let next = inbox.next_handed_over().unwrap().unwrap();
        assert_eq!((next.number, next.app.map(AppId::get), next.received_at), (first, Some(7), at(1)));
        assert_eq!((next.via, next.quarantined, next.recipients), (Via::Poll, None, Recipients::Routed));
        assert_eq!(next.body, br#"[{"id":"a"},{"id":"b"}]"#);
    }
    let mut stored = Vec::new();
    while let Some((number, new)) = store_next(&mut *inbox) {
        inbox.note_taken(number, new).unwrap();
        stored.push((number, new));
    }
    assert_eq!(stored, [(first, 2), (second, 2), (third, 1)]);
    let found = all(&*inbox);
    assert!(found.len() == 5 && found.iter().all(|event| event.via == Via::Poll), "{found:?}");
    // Each receipt is there once, for whoever asks for its number, and nothing of the events is left with it.
    let kept: i64 = Connection::open(store.inbox_path())
        .unwrap()
        .query_row("SELECT sum(length(body)) FROM handed_over", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 0);
    for (number, receipt) in [(third, 1), (first, 2), (second, 2)] {
        assert_eq!(other.take_receipt(number).unwrap(), Some(receipt));
        assert_eq!(other.take_receipt(number).unwrap(), None);
    }
    // Numbers are not given again.
    assert!(other.hand_over(&handed(7, 4, false, r#"[{"id":"e"}]"#)).unwrap() > third);
}

#[test]
fn what_was_handed_over_waits_for_a_receiver() {
    let (_dir, store) = scratch();
    let mut other = store.inbox().unwrap();
    let number = other.hand_over(&handed(7, 1, true, r#"[{"id":"a"}]"#)).unwrap();
    drop(other);
    let mut inbox = receiver(&store);
    assert_eq!(store_next(&mut *inbox), Some((number, 1)));
    // Killed before it was noted: it comes again, and is known.
    drop(inbox);
    let mut inbox = receiver(&store);
    assert_eq!(store_next(&mut *inbox), Some((number, 0)));
    inbox.note_taken(number, 0).unwrap();
    assert!(inbox.next_handed_over().unwrap().is_none());
    drop(inbox);
    assert_eq!(all(&*receiver(&store)).iter().map(|event| event.duplicates).collect::<Vec<_>>(), [0]);
    assert_eq!(store.existing_inbox().unwrap().unwrap().take_receipt(number).unwrap(), Some(0));
}

#[test]
fn receipts_that_nobody_asks_for_are_forgotten() {
    let (_dir, store) = scratch();
    let mut inbox = receiver(&store);
    let mut other = store.existing_inbox().unwrap().unwrap();
    let mut numbers = Vec::new();
    for _ in 0..1010 {
        let number = other.hand_over(&handed(7, 1, false, r#"[{"id":"e"}]"#)).unwrap();
        let next = inbox.next_handed_over().unwrap().unwrap();
        assert_eq!(next.number, number);
        inbox.note_taken(number, 3).unwrap();
        numbers.push(number);
    }
    // What waits is kept, however old it is.
    let waits = other.hand_over(&handed(7, 1, false, r#"[{"id":"e"}]"#)).unwrap();
    let kept: i64 = Connection::open(store.inbox_path())
        .unwrap()
        .query_row("SELECT count(*) FROM handed_over", [], |row| row.get(0))
        .unwrap();
    assert!((1000..1010).contains(&kept), "{kept}");
    assert_eq!(other.take_receipt(numbers[0]).unwrap(), None);
    assert_eq!(other.take_receipt(numbers[1009]).unwrap(), Some(3));
    assert_eq!(inbox.next_handed_over().unwrap().unwrap().number, waits);
}

#[test]
fn several_may_hand_over_while_the_receiver_stores() {
    const EACH: usize = 30;
    let (_dir, store) = scratch();
    let mut inbox = receiver(&store);
    let to = target(&mut *inbox, "x");
    std::thread::scope(|scope| {
        for name in ["one", "two"] {
            let store = &store;
            scope.spawn(move || {
                let mut other = store.existing_inbox().unwrap().unwrap();
                for number in 0..EACH {
                    // Every event is handed over by both.
                    let body = format!(r#"[{{"id":"{number}"}},{{"id":"{name}-{number}"}}]"#);
                    other.hand_over(&handed(7, 1, true, &body)).unwrap();
                }
            });
        }
        let mut taken = 0;
        while taken < 2 * EACH {
            let Some(handed) = inbox.next_handed_over().unwrap() else { continue };
            let number = handed.number;
            let new = inbox.commit(&[handed.encode(at(9)).unwrap()], &[all_to(to)]).unwrap()[0].stored() as u64;
            inbox.note_taken(number, new).unwrap();
            taken += 1;
        }
    });
    let request = bugfender_hooks::store::ClaimRequest::up_to(1000);
    let forwarded: usize =
        claim_some(&mut *inbox, to, 5, request).iter().map(|leased| leased.forward.events.len()).sum();
    assert_eq!((all(&*inbox).len(), forwarded), (3 * EACH, 3 * EACH));
}

/// Any process stores into a schema: nothing is handed over there.
#[test]
fn nothing_is_handed_over_in_postgresql() {
    let Some(PostgresFixture { store }) = PostgresFixture::empty() else { return };
    let mut inbox = receiver(&store);
    assert!(inbox.next_handed_over().unwrap().is_none());
    assert_eq!(inbox.take_receipt(1).unwrap(), None);
}

#[test]
fn a_backup_keeps_what_is_known_of_polling() {
    let (dir, store) = scratch();
    let mut inbox = receiver(&store);
    let to = target(&mut *inbox, "x");
    let (origin, app) = ("https://one.example".parse().unwrap(), AppId::new(7).unwrap());
    let of = |id: &str| format!(r#"[{{"id":"{id}","app":{{"id":7}},"type":"crash"}}]"#);
    commit(&mut *inbox, &[polled(7, 1, &of("a")), bugfender(2, &of("a")), bugfender(3, &of("b"))], &[]);
    let b = all(&*inbox)[1].seq;
    inbox.delete(&[b]).unwrap();
    inbox.note_polled(&origin, app, IssueList::Closed, at(4)).unwrap();
    let missed =
        MissedEvents { app_id: app, event_type: "crash".to_owned(), events: 5, last_at: at(1), found_at: at(4) };
    inbox.note_missed(&origin, std::slice::from_ref(&missed)).unwrap();
    inbox.set_routes(&[Route { types: vec!["crash".to_owned()], ..all_to(to) }]).unwrap();
    let number = inbox.hand_over(&handed(7, 5, false, &of("c"))).unwrap();
    let backup = dir.path().join("backup");
    store.back_up(&backup).unwrap();
    let (routes, arrivals) = (inbox.routes().unwrap(), inbox.arrivals().unwrap());
    drop(inbox);
    let other = SqliteStore::at(&dir.path().join("other/hooks.db"));
    other.restore(&backup, false).unwrap();
    let mut inbox = receiver(&other);
    assert_eq!((inbox.routes().unwrap(), inbox.arrivals().unwrap()), (routes, arrivals));
    assert_eq!(inbox.arrivals().unwrap()[0].last_at, at(3));
    assert_eq!(inbox.polled_until(&origin, app, IssueList::Closed).unwrap(), Some(at(4)));
    assert_eq!(inbox.missed_events(&origin).unwrap(), [missed]);
    assert_eq!(all(&*inbox).iter().map(|event| (event.via, event.duplicates)).collect::<Vec<_>>(), [(Via::Poll, 1)]);
    // What was handed over and not stored yet is stored by whoever receives there.
    assert_eq!(store_next(&mut *inbox), Some((number, 1)));
}
