//! Deliveries are committed, and what comes again is known.

use bugfender_hooks::domain::delivery::{Delivery, Via};
use bugfender_hooks::domain::event::Sender;
use bugfender_hooks::store::{
    ClaimRequest, EncodedDelivery, EventPage, EventSelection, EventSeq, EventState, Receipt, ReceiverInbox, Store,
};
use jiff::{SignedDuration, Timestamp};

use super::{all, all_to, claim_some, commit, events, ids, is_new, receiver, seq, target, with_ids};
use crate::support::inbox::{at, bugfender, instabug, of_ids, unreadable};

pub(super) fn reports_without_ids_are_the_same_for_a_time(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    let body = r#"{"title":"slow","metric":"m","trigger":"t"}"#;
    let mut at_hour = |hour: i64| commit(&mut *inbox, &[instabug(hour * 3600, body)], &[all_to(to)])[0].stored();
    assert_eq!([0, 1, 24, 25, 26, 49, 50].map(&mut at_hour), [1, 0, 0, 1, 0, 0, 1]);
    inbox.dedupe_within(SignedDuration::from_mins(1));
    assert_eq!(commit(&mut *inbox, &[instabug(51 * 3600, body), instabug(51 * 3600, body)], &[])[0].stored(), 1);
    drop(inbox);
    let mut inbox = receiver(store);
    assert_eq!(is_new(&mut *inbox, instabug(52 * 3600, body)), [false]);
    let found = all(&*inbox);
    assert_eq!(found.iter().map(|event| event.duplicates).collect::<Vec<_>>(), [2, 2, 0, 2]);
    // All of them are found by their id, and each has a key of its own for targets.
    assert_eq!(ids(&*inbox, &with_ids(&[&found[0].id])).len(), 4);
    let claimed = claim_some(&mut *inbox, to, 60 * 3600, ClaimRequest::up_to(9));
    let keys: std::collections::HashSet<_> = claimed.iter().map(|leased| leased.forward.events[0].key).collect();
    assert_eq!((claimed.len(), keys.len()), (3, 3));
    assert!(keys.contains(&found[0].key) && keys.contains(&found[1].key));
}

pub(super) fn what_is_read_again_leaves_quarantine(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    let body = r#"[{"id":"a"},{"id":"b"}]"#;
    commit(&mut *inbox, &[unreadable(1, body), unreadable(2, "[]"), of_ids(3, &["b"])], &[]);
    let numbers = |inbox: &dyn ReceiverInbox| -> Vec<i64> {
        inbox.quarantined(None, None).unwrap().iter().map(|found| found.number).collect()
    };
    let [second, first] = numbers(&*inbox)[..] else { panic!("{:?}", numbers(&*inbox)) };
    let reread = |number: i64, second: i64, body: &str| {
        let delivery = Delivery::reread(Sender::Bugfender, at(second), None, body.as_bytes().to_vec()).unwrap();
        EncodedDelivery::encode(delivery).out_of_quarantine(number, at(1000))
    };
    // What has nothing in it leaves, too.
    assert_eq!(inbox.commit(&[reread(second, 2, "[]")], &[all_to(to)]).unwrap()[0].stored(), 0);
    assert_eq!(numbers(&*inbox), [first]);
    let receipt = inbox.commit(&[reread(first, 1, body)], &[all_to(to)]).unwrap().remove(0);
    assert_eq!(receipt.events.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    assert!(numbers(&*inbox).is_empty());
    let found = all(&*inbox);
    let facts: Vec<_> = found.iter().map(|event| (event.id.as_str(), event.received_at, event.via)).collect();
    assert_eq!(facts, [("b", at(3), Via::Webhook), ("a", at(1), Via::Webhook)]);
    // It waits since it was read again.
    let claimed = claim_some(&mut *inbox, to, 1001, ClaimRequest::up_to(9));
    assert_eq!(claimed.iter().map(|leased| leased.forward.queued_at).collect::<Vec<_>>(), [at(1000)]);
    // Once more, as by somebody who was as quick.
    assert_eq!(inbox.commit(&[reread(first, 1, body)], &[all_to(to)]).unwrap()[0].stored(), 0);
    assert_eq!(all(&*inbox).len(), 2);
}

pub(super) fn tests_of_targets_are_no_arrivals(store: &dyn Store) {
    let mut inbox = receiver(store);
    let sample = r#"[{"id":"test-1","app":{"id":7},"type":"issue"}]"#;
    let test = Delivery::test(at(1), sample.as_bytes().to_vec()).unwrap();
    commit(&mut *inbox, &[test], &[]);
    while inbox.maintain().unwrap() {}
    assert_eq!(inbox.arrivals().unwrap(), []);
    let found = all(&*inbox);
    assert_eq!((found[0].via, found[0].duplicates), (Via::Test, 0));
    let of_tests = EventSelection { via: Some(Via::Test), ..EventSelection::default() };
    assert_eq!(ids(&*inbox, &of_tests), ["test-1"]);
}

pub(super) fn one_id_of_two_apps_is_two_events(store: &dyn Store) {
    let mut inbox = receiver(store);
    let of = |app: &str| bugfender(1, &format!(r#"[{{"id":"7","app":{app}}}]"#));
    let apps = [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"key":"a"}"#, r#"{"key":"b"}"#];
    for app in apps {
        assert_eq!(is_new(&mut *inbox, of(app)), [true], "{app}");
    }
    drop(inbox);
    let mut inbox = receiver(store);
    for app in apps {
        assert_eq!(is_new(&mut *inbox, of(app)), [false], "{app}");
    }
    assert_eq!(ids(&*inbox, &with_ids(&["7"])).len(), 4);
    assert!(all(&*inbox).iter().all(|event| event.duplicates == 1));
    // In one delivery, too, however many there are.
    let many: Vec<String> = (0..10_000).map(|app| format!(r#"{{"id":"8","app":{{"id":{app}}}}}"#)).collect();
    let many = bugfender(2, &format!("[{},{}]", many.join(","), many[0]));
    assert_eq!(commit(&mut *inbox, std::slice::from_ref(&many), &[])[0].duplicates(), 1);
    assert_eq!(commit(&mut *inbox, &[many], &[])[0].stored(), 0);
}

pub(super) fn what_is_committed_is_there(store: &dyn Store) {
    assert!(store.existing_inbox().unwrap().is_none());
    let mut inbox = receiver(store);
    let body =
        "[ {\"id\":\"a\", \"title\":\"T\u{e9}\",\"type\":\"crash\",\"app\":{\"id\":7},\"n\":1.0e400} ,{\"id\":2}]";
    let report = " {\"Exception\":\"boom\"} ";
    let receipts = commit(&mut *inbox, &[bugfender(1, body), instabug(2, report), bugfender(3, "[]")], &[]);
    assert_eq!(receipts.iter().map(Receipt::stored).collect::<Vec<_>>(), [2, 1, 0]);
    let places: Vec<_> = receipts.iter().flat_map(|receipt| receipt.events.iter().flatten()).collect();
    assert!(places.is_sorted() && places.len() == 3);
    drop(inbox);

    let inbox = store.existing_inbox().unwrap().unwrap();
    let page = EventPage { with_json: true, ..EventPage::default() };
    let found = events(&*inbox, &EventSelection::default(), page);
    assert_eq!(found.iter().map(|event| &event.seq).collect::<Vec<_>>(), places);
    let json: Vec<_> = found.iter().map(|event| str::from_utf8(event.json.as_deref().unwrap()).unwrap()).collect();
    let first = "{\"id\":\"a\", \"title\":\"T\u{e9}\",\"type\":\"crash\",\"app\":{\"id\":7},\"n\":1.0e400}";
    assert_eq!(json, [first, "{\"id\":2}", report.trim()]);
    let event = &found[0];
    assert_eq!((event.id.as_str(), event.sender, event.app_id), ("a", Sender::Bugfender, Some(7)));
    assert_eq!((event.event_type.as_deref(), event.title.as_deref()), (Some("crash"), Some("T\u{e9}")));
    assert_eq!((event.received_at, event.state, event.attempts), (at(1), EventState::Stored, 0));
    assert_eq!((event.forwarded_at, event.duplicates, event.error.as_deref()), (None, 0, None));
    assert_eq!((found[1].id.as_str(), found[1].app_id, found[1].title.as_deref()), ("2", None, None));
    assert_eq!(
        (found[2].sender, found[2].event_type.as_deref(), found[2].id.len()),
        (Sender::Instabug, Some("crash"), 64)
    );
    assert_ne!(found[0].key.message_id(), found[1].key.message_id());
    assert!(all(&*inbox).iter().all(|event| event.json.is_none()));
    assert_eq!(inbox.backlog().unwrap().last_event, Some(at(2)));
}

pub(super) fn duplicates_are_counted_and_dropped(store: &dyn Store) {
    let mut inbox = receiver(store);
    // In the same delivery, and in another one of the same group.
    let receipts = commit(&mut *inbox, &[of_ids(1, &["a", "b", "a"]), of_ids(2, &["b", "c"])], &[]);
    assert_eq!((receipts[0].stored(), receipts[0].duplicates()), (2, 1));
    assert!(receipts[0].events[2].is_none() && receipts[1].events[0].is_none());
    // Later, and by id alone.
    assert_eq!(is_new(&mut *inbox, bugfender(3, r#"[{"id":"a","title":"other"},{"id":"d"}]"#)), [false, true]);
    assert_eq!(is_new(&mut *inbox, bugfender(3, r#"[{"uid":"d"}]"#)), [false]);
    drop(inbox);
    // By another process.
    let mut inbox = receiver(store);
    assert_eq!(is_new(&mut *inbox, of_ids(4, &["c", "e", "a"])), [false, true, false]);
    let counted: Vec<_> = all(&*inbox).into_iter().map(|event| (event.id, event.duplicates)).collect();
    let expected = [("a", 3), ("b", 1), ("c", 1), ("d", 1), ("e", 0)];
    assert_eq!(counted, expected.map(|(id, count)| (id.to_owned(), count)));
    // Nothing of a delivery that has nothing new is to be handed on.
    let to = target(&mut *inbox, "x");
    commit(&mut *inbox, &[of_ids(5, &["a", "b"])], &[all_to(to)]);
    assert_eq!(inbox.backlog().unwrap().pending, 0);
}

pub(super) fn numbers_and_texts_are_two_ids(store: &dyn Store) {
    let mut inbox = receiver(store);
    assert_eq!(
        is_new(&mut *inbox, bugfender(1, r#"[{"id":7},{"id":"7"},{"id":7},{"id":"7"}]"#)),
        [true, true, false, false]
    );
    drop(inbox);
    let mut inbox = receiver(store);
    assert_eq!(is_new(&mut *inbox, bugfender(2, r#"[{"id":"7"},{"id":7}]"#)), [false, false]);
    assert_eq!(ids(&*inbox, &with_ids(&["7"])), ["7", "7"]);
    let report = r#"{"Title":"t","Reported At":"now"}"#;
    assert_eq!(is_new(&mut *inbox, instabug(3, report)), [true]);
    assert_eq!(is_new(&mut *inbox, instabug(4, report)), [false]);
    assert_eq!(is_new(&mut *inbox, instabug(5, &format!("{report} "))), [true]);
}

/// How many events: more than any backend keeps in memory.
const MANY: usize = 140_000;

fn many(from: usize, to: usize) -> bugfender_hooks::domain::delivery::Delivery {
    let ids: Vec<String> = (from..to).map(|number| format!("{{\"id\":\"event-{number}\"}}")).collect();
    bugfender(1, &format!("[{}]", ids.join(",")))
}

pub(super) fn duplicates_are_known_among_very_many(store: &dyn Store) {
    let mut inbox = receiver(store);
    for start in (0..MANY).step_by(5000) {
        let group: Vec<_> = (start..start + 5000).step_by(1000).map(|from| many(from, from + 1000)).collect();
        let receipts = commit(&mut *inbox, &group, &[]);
        assert!(receipts.iter().all(|receipt| receipt.stored() == 1000));
        inbox.maintain().unwrap();
    }
    let again = |inbox: &mut dyn ReceiverInbox| {
        for from in [0, 65_000, 66_000, 131_000, MANY - 1000] {
            assert_eq!(commit(inbox, &[many(from, from + 1000)], &[])[0].stored(), 0, "{from}");
        }
    };
    again(&mut *inbox);
    assert_eq!(commit(&mut *inbox, &[many(MANY - 3, MANY + 2)], &[])[0].stored(), 2);
    drop(inbox);
    let mut inbox = receiver(store);
    inbox.maintain().unwrap();
    again(&mut *inbox);
    assert_eq!(commit(&mut *inbox, &[many(MANY, MANY + 1000)], &[])[0].stored(), 998);
    // Who only looks finds them too, old and new, and what is not there.
    let looker = store.existing_inbox().unwrap().unwrap();
    let names = ["event-0", "event-70000", "event-140999", "event-x"];
    assert_eq!(ids(&*looker, &with_ids(&names)), names[..3]);
    let duplicates: Vec<_> = all(&*looker).iter().take(2).map(|event| event.duplicates).collect();
    assert_eq!(duplicates, [2, 2]);
    looker.check().unwrap();
}

pub(super) fn what_cannot_be_read_is_kept_apart(store: &dyn Store) {
    let mut inbox = receiver(store);
    let receipts =
        commit(&mut *inbox, &[bugfender(1, "[{\"id\":1},"), of_ids(2, &["a"]), instabug(3, "[\u{1b}]")], &[]);
    assert_eq!(receipts.iter().map(|receipt| receipt.events.len()).collect::<Vec<_>>(), [0, 1, 0]);
    let mut found = inbox.quarantined(None, None).unwrap();
    // A list of them has any number of bodies, and is without.
    assert_eq!(found.iter().map(|one| (one.size, one.body.len())).collect::<Vec<_>>(), [(3, 0), (10, 0)]);
    for one in &mut found {
        *one = inbox.quarantined(Some(one.number), None).unwrap().remove(0);
    }
    let senders: Vec<_> = found.iter().map(|one| (one.sender, one.received_at, one.body.as_slice())).collect();
    let expected: [(_, Timestamp, &[u8]); 2] =
        [(Sender::Instabug, at(3), b"[\x1b]"), (Sender::Bugfender, at(1), b"[{\"id\":1},")];
    assert_eq!(senders, expected);
    assert_eq!(found[0].content_type.as_deref(), Some("application/json"));
    assert!(found[1].reason.contains("array"), "{}", found[1].reason);
    assert_eq!(inbox.quarantined(None, Some(1)).unwrap()[0].number, found[0].number);
    assert!(inbox.quarantined(Some(99), None).unwrap().is_empty());
    // It may be read another time: it is not known as anything.
    assert_eq!(is_new(&mut *inbox, bugfender(4, "[{\"id\":1}]")), [true]);
}

pub(super) fn any_number_look_beside_a_receiver(store: &dyn Store) {
    let mut inbox = receiver(store);
    let other = store.inbox().unwrap();
    assert_eq!(other.watermark().unwrap(), EventSeq(0));
    commit(&mut *inbox, &[of_ids(1, &["a"])], &[]);
    assert_eq!(ids(&*other, &EventSelection::default()), ["a"]);
    assert!(inbox.probe(at(0), 1000).unwrap());
    other.check().unwrap();
    drop(inbox);
    assert_eq!(is_new(&mut *receiver(store), of_ids(2, &["a", "b"])), [false, true]);
    // All that is up to the watermark is there, and what comes is behind it.
    assert_eq!(other.watermark().unwrap(), seq(&*other, "b"));
}
