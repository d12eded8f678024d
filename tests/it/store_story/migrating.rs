//! An inbox of the version that did not poll: nothing of it is lost, and what came then has arrived.

use bugfender_hooks::domain::delivery::Via;
use bugfender_hooks::store::postgres::PostgresStore;
use bugfender_hooks::store::{
    AttemptOutcome, ClaimRequest, EventPage, EventSelection, Inbox, PurgeRule, Receipt, ReceiverInbox, Store,
};
use rusqlite::Connection;

use super::polling::{arrivals, event};
use super::purging::purge;
use super::sqlite_files::scratch;
use super::{all_to, claim_some, commit, events, receiver, settle, target};
use crate::support::inbox::{INBOX_BEFORE_POLLING, SCHEMA_BEFORE_POLLING, at, bugfender, encoded, polled};
use crate::support::postgres::{connect_options, server};

/// How many events there were: maintenance looks at them in pieces.
const MANY: i64 = 20_000;

fn old(number: i64) -> String {
    event(&format!("old-{number}"), number % 7, ["crash", "Issue"][usize::try_from(number % 2).unwrap()])
}

fn fill(inbox: &mut dyn ReceiverInbox) {
    let to = target(inbox, "x");
    for second in 0..20 {
        let numbers = second * MANY / 20..(second + 1) * MANY / 20;
        let body = format!("[{}]", numbers.map(old).collect::<Vec<_>>().join(","));
        commit(inbox, &[bugfender(second, &body)], &[all_to(to)]);
    }
    let again = format!("[{}]", old(9));
    commit(inbox, &[bugfender(30, &again)], &[]);
    let claimed = claim_some(inbox, to, 40, ClaimRequest::up_to(3));
    settle(inbox, &claimed[0], 41, AttemptOutcome::Delivered);
    settle(inbox, &claimed[1], 41, AttemptOutcome::DeadLettered { error: "410 Gone".to_owned() });
    inbox.pause_target(to, at(42)).unwrap();
}

/// All that an inbox says of its events, of some of their forwards, and of targets.
fn said(inbox: &dyn Inbox) -> Vec<String> {
    let page = EventPage { with_json: true, ..EventPage::default() };
    let found = events(inbox, &EventSelection { via: Some(Via::Webhook), ..EventSelection::default() }, page);
    let mut said: Vec<_> = found.iter().map(|event| format!("{event:?}")).collect();
    said.extend(found.iter().step_by(500).map(|event| format!("{:?}", inbox.forwards_of(event.seq).unwrap())));
    said.push(format!("{:?} {:?}", inbox.target_records().unwrap(), inbox.watermark().unwrap()));
    said
}

/// Makes the inbox one of the version before with `older`, and lets this version open it.
fn assert_nothing_is_lost(store: &dyn Store, older: impl Fn()) {
    let mut inbox = receiver(store);
    fill(&mut *inbox);
    let before = said(&*inbox);
    drop(inbox);
    older();
    // Whoever only looks brings the schema up to date, too.
    let inbox = store.existing_inbox().unwrap().unwrap();
    assert!(said(&*inbox) == before && before.len() == 20_000 + 40 + 1, "{}", before.len());
    let arrived = arrivals(&*inbox);
    let expected: Vec<_> =
        (0..7).flat_map(|app| [(app, "crash".to_owned(), 19), (app, "issue".to_owned(), 19)]).collect();
    assert_eq!(arrived, expected);
    // Which routes there were, nobody has said.
    assert_eq!(inbox.routes().unwrap(), []);
    drop(inbox);
    let mut inbox = receiver(store);
    let mut pieces = 1;
    while inbox.maintain().unwrap() {
        pieces += 1;
        assert_eq!(arrivals(&*inbox), expected);
    }
    assert_eq!(pieces, 4);
    assert_eq!(arrivals(&*inbox), expected);
    // What polling finds is known, and what was given up can be requeued.
    let rows = format!("[{},{}]", old(7), old(19_999 / 7 * 7));
    let receipts = inbox.commit(&encoded(&[polled(7, 50, &rows)]), &[]).unwrap();
    assert_eq!(receipts.iter().map(Receipt::stored).sum::<usize>(), 0);
    assert!(said(&*inbox) == before);
    let rule = PurgeRule { before: Some(at(100)), even_pending: true, ..PurgeRule::default() };
    assert_eq!(purge(&mut *inbox, &rule).events, 20_000);
    assert_eq!(arrivals(&*inbox), expected);
}

#[test]
fn a_file_of_before_polling() {
    let (_dir, store) = scratch();
    assert_nothing_is_lost(&store, || {
        Connection::open(store.inbox_path()).unwrap().execute_batch(INBOX_BEFORE_POLLING).unwrap();
    });
}

#[test]
fn a_schema_of_before_polling() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let store = PostgresStore::new(connect_options(&server.url(&database), &[]).unwrap());
    assert_nothing_is_lost(&store, || {
        server.psql(&database, SCHEMA_BEFORE_POLLING);
    });
}

/// It goes on with the schema that another process has brought up to date.
#[test]
fn a_receiver_of_before_polling_stores_beside_this_one() {
    let (_dir, store) = scratch();
    fill(&mut *receiver(&store));
    let connection = Connection::open(store.inbox_path()).unwrap();
    // What it says of a delivery and an event is less.
    let insert = "INSERT INTO deliveries (id, sender, received_at, events, first_event, last_event, body)
                  SELECT max(id) + 1, 'bugfender', max(received_at) + 5000000, 1, 20001, 20001, x'5b7b7d5d' FROM deliveries;
                  INSERT INTO events (id, delivery, start, length, key, event_id, type, app_id)
                  SELECT 20001, max(id), 1, 2, randomblob(16), 'x', 'crash', 99 FROM deliveries";
    connection.execute_batch(insert).unwrap();
    let inbox = store.existing_inbox().unwrap().unwrap();
    assert_eq!(arrivals(&*inbox).last(), Some(&(99, "crash".to_owned(), 24)));
}
