//! Events that are polled, when webhooks last brought some, and how far polling has come.

use bugfender_hooks::domain::delivery::Via;
use bugfender_hooks::domain::{ApiOrigin, AppId, IssueList};
use bugfender_hooks::store::{
    ClaimRequest, EventPage, EventSelection, EventSeq, Inbox, MissedEvents, Polling, PurgeRule, Receipt, ReceiverInbox,
    Route, Store, TargetId,
};
use jiff::Timestamp;

use super::purging::purge;
use super::{all, all_to, claim_some, commit, events, ids, ids_of, is_new, receiver, target};
use crate::support::inbox::{at, bugfender, of_ids, polled};

/// An event with this id, of this app and type.
pub(super) fn event(id: &str, app: i64, event_type: &str) -> String {
    format!(r#"{{"id":"{id}","app":{{"id":{app}}},"type":"{event_type}"}}"#)
}

/// When webhooks last brought events, as app, type and second.
pub(super) fn arrivals(inbox: &(impl Polling + ?Sized)) -> Vec<(i64, String, i64)> {
    let second = |time: Timestamp| time.as_second() - at(0).as_second();
    let arrivals = inbox.arrivals().unwrap().into_iter();
    arrivals.map(|arrival| (arrival.app_id, arrival.event_type, second(arrival.last_at))).collect()
}

#[track_caller]
fn assert_arrivals(inbox: &(impl Polling + ?Sized), expected: &[(i64, &str, i64)]) {
    let found = arrivals(inbox);
    assert_eq!(found.iter().map(|(app, name, at)| (*app, name.as_str(), *at)).collect::<Vec<_>>(), expected);
}

/// The id of each event, how it came, and how often it came again.
fn ways(inbox: &dyn Inbox) -> Vec<(String, Via, i64)> {
    all(inbox).into_iter().map(|event| (event.id, event.via, i64::from(event.duplicates))).collect()
}

fn way(id: &str, via: Via, duplicates: i64) -> (String, Via, i64) {
    (id.to_owned(), via, duplicates)
}

pub(super) fn what_is_polled_says_so(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    let body = r#"[ {"id":"a","title":"T","type":1,"n":1.0e400} ,{"id":"b","app":{"id":8},"type":"7"}]"#;
    commit(&mut *inbox, &[polled(7, 1, body)], &[all_to(to)]);
    commit(&mut *inbox, &[of_ids(2, &["c"]), polled(7, 3, r#"[{"id":"d"}]"#)], &[]);
    drop(inbox);
    let mut inbox = receiver(store);
    let page = EventPage { with_json: true, ..EventPage::default() };
    let found = events(&*inbox, &EventSelection::default(), page);
    // What the rows do not say of their app is known from the request; types that have a name are stored under it.
    let facts: Vec<_> =
        found.iter().map(|event| (event.via, event.app_id, event.event_type.as_deref(), event.received_at)).collect();
    let expected = [
        (Via::Poll, Some(7), Some("crash"), at(1)),
        (Via::Poll, Some(8), Some("7"), at(1)),
        (Via::Webhook, None, None, at(2)),
        (Via::Poll, Some(7), None, at(3)),
    ];
    assert_eq!(facts, expected);
    assert_eq!(found[0].json.as_deref(), Some(&br#"{"id":"a","title":"T","type":1,"n":1.0e400}"#[..]));
    let of = |via: Via| EventSelection { via: Some(via), ..EventSelection::default() };
    assert_eq!(ids(&*inbox, &of(Via::Poll)), ["a", "b", "d"]);
    assert_eq!(ids(&*inbox, &of(Via::Webhook)), ["c"]);
    let counted = |via| inbox.count_events(&of(via)).unwrap().iter().map(|count| count.events).sum::<u64>();
    assert_eq!((counted(Via::Poll), counted(Via::Webhook)), (3, 1));
    // It is forwarded as anything else.
    let claimed = claim_some(&mut *inbox, to, 5, ClaimRequest::up_to(9));
    assert_eq!(claimed.iter().map(ids_of).collect::<Vec<_>>(), [["a", "b"]]);
    inbox.check().unwrap();
}

pub(super) fn what_is_polled_is_known_to_webhooks_and_back(store: &dyn Store) {
    let mut inbox = receiver(store);
    let of = |id: &str, app: i64| format!("[{}]", event(id, app, "crash"));
    assert_eq!(is_new(&mut *inbox, polled(1, 1, &of("a", 1))), [true]);
    assert_eq!(is_new(&mut *inbox, bugfender(2, &of("b", 1))), [true]);
    for _ in 0..2 {
        assert_eq!(is_new(&mut *inbox, bugfender(3, &of("a", 1))), [false]);
        assert_eq!(is_new(&mut *inbox, polled(1, 3, &of("b", 1))), [false]);
        assert_eq!(is_new(&mut *inbox, polled(1, 3, r#"[{"id":"a"},{"id":"b"}]"#)), [false, false]);
        drop(inbox);
        inbox = receiver(store);
    }
    // The same ids of another app are others.
    assert_eq!(is_new(&mut *inbox, polled(2, 4, r#"[{"id":"a"}]"#)), [true]);
    assert_eq!(is_new(&mut *inbox, bugfender(4, &of("a", 2))), [false]);
    assert_eq!(is_new(&mut *inbox, bugfender(4, &of("b", 2))), [true]);
    assert_eq!(is_new(&mut *inbox, polled(2, 4, r#"[{"id":"b"}]"#)), [false]);
    assert_eq!(ids(&*inbox, &EventSelection::default()), ["a", "b", "a", "b"]);
}

/// A webhook may say more of an app than a row of a list, or less.
pub(super) fn one_id_of_two_apps_is_told_apart_by_its_number(store: &dyn Store) {
    let mut inbox = receiver(store);
    let webhook = |app: i64| bugfender(1, &format!(r#"[{{"id":"w","app":{{"id":{app},"key":"key-{app}"}}}}]"#));
    let row = |id: &str, app: i64| polled(app, 2, &format!(r#"[{{"id":"{id}","app":{{"id":{app},"key":""}}}}]"#));
    for app in 1..=3 {
        assert_eq!(is_new(&mut *inbox, webhook(app)), [true], "{app}");
        assert_eq!(is_new(&mut *inbox, row("p", app)), [true], "{app}");
    }
    drop(inbox);
    let mut inbox = receiver(store);
    for app in 1..=3 {
        assert_eq!(is_new(&mut *inbox, row("w", app)), [false], "{app}");
        assert_eq!(is_new(&mut *inbox, polled(app, 3, r#"[{"id":"w"},{"id":"p"}]"#)), [false, false], "{app}");
        let both = format!(r#"[{{"id":"p","app":{{"id":{app},"key":"key-{app}"}}}}]"#);
        assert_eq!(is_new(&mut *inbox, bugfender(3, &both)), [false], "{app}");
    }
    assert_eq!(is_new(&mut *inbox, row("w", 4)), [true]);
    // In one group, too.
    let group = [1, 2, 3].map(|app| row("q", app));
    let webhooks = [3, 2, 1].map(|app| bugfender(4, &format!(r#"[{{"id":"q","app":{{"id":{app},"key":"k"}}}}]"#)));
    let again = [2, 1, 3].map(|app| polled(app, 5, r#"[{"id":"q"}]"#));
    let receipts = commit(&mut *inbox, &[group, webhooks, again].concat(), &[]);
    assert_eq!(receipts.iter().map(Receipt::stored).collect::<Vec<_>>(), [1, 1, 1, 0, 0, 0, 0, 0, 0]);
    let webhooks = [4, 5, 6].map(|app| bugfender(6, &format!(r#"[{{"id":"r","app":{{"id":{app},"key":"k"}}}}]"#)));
    let rows = [4, 6, 5].map(|app| row("r", app));
    let receipts = commit(&mut *inbox, &[webhooks, rows].concat(), &[]);
    assert_eq!(receipts.iter().map(Receipt::stored).collect::<Vec<_>>(), [1, 1, 1, 0, 0, 0]);
}

pub(super) fn what_polling_finds_again_is_no_duplicate(store: &dyn Store) {
    let mut inbox = receiver(store);
    let of = |id: &str| format!("[{}]", event(id, 1, "crash"));
    commit(&mut *inbox, &[polled(1, 1, &of("p")), bugfender(2, &of("w"))], &[]);
    for second in 3..6 {
        commit(&mut *inbox, &[polled(1, second, &of("p")), polled(1, second, &of("w"))], &[]);
        commit(&mut *inbox, &[polled(1, second, &format!("[{0},{0}]", event("p", 1, "crash")))], &[]);
    }
    assert_eq!(ways(&*inbox), [way("p", Via::Poll, 0), way("w", Via::Webhook, 0)]);
    assert_arrivals(&*inbox, &[(1, "crash", 2)]);
    // What a webhook brings is one, and its arrival.
    commit(&mut *inbox, &[bugfender(9, &of("p"))], &[]);
    assert_eq!(ways(&*inbox), [way("p", Via::Poll, 1), way("w", Via::Webhook, 0)]);
    assert_arrivals(&*inbox, &[(1, "crash", 9)]);
    commit(&mut *inbox, &[polled(1, 10, &of("p"))], &[]);
    assert_eq!(ways(&*inbox)[0], way("p", Via::Poll, 1));
    // An older one that comes late does not take it back.
    commit(&mut *inbox, &[bugfender(8, &of("p"))], &[]);
    assert_eq!(ways(&*inbox)[0], way("p", Via::Poll, 2));
    drop(inbox);
    assert_arrivals(&*store.existing_inbox().unwrap().unwrap(), &[(1, "crash", 9)]);
}

pub(super) fn groups_may_have_both(store: &dyn Store) {
    let mut inbox = receiver(store);
    let of = |id: &str, event_type: &str| format!("[{}]", event(id, 1, event_type));
    // The first says how it came, and each webhook beside it is a duplicate.
    let group = [
        polled(1, 1, &of("p", "crash")),
        bugfender(2, &of("p", "crash")),
        bugfender(3, &of("p", "crash")),
        bugfender(4, &of("w", "issue")),
        polled(1, 5, &of("w", "issue")),
        polled(1, 6, &of("twice", "feedback")),
        polled(1, 7, &of("twice", "feedback")),
    ];
    let receipts = commit(&mut *inbox, &group, &[]);
    assert_eq!(receipts.iter().map(Receipt::stored).collect::<Vec<_>>(), [1, 0, 0, 1, 0, 1, 0]);
    assert_eq!(ways(&*inbox), [way("p", Via::Poll, 2), way("w", Via::Webhook, 0), way("twice", Via::Poll, 0)]);
    assert_arrivals(&*inbox, &[(1, "crash", 3), (1, "issue", 4)]);
    // What is stored already comes both ways at once, in either order.
    let group = [
        polled(1, 11, &of("p", "crash")),
        bugfender(12, &of("p", "crash")),
        bugfender(13, &of("twice", "feedback")),
        polled(1, 14, &of("twice", "feedback")),
        polled(1, 15, &of("w", "issue")),
    ];
    let receipts = commit(&mut *inbox, &group, &[]);
    assert!(receipts.iter().all(|receipt| receipt.stored() == 0), "{receipts:?}");
    assert_eq!(ways(&*inbox), [way("p", Via::Poll, 3), way("w", Via::Webhook, 0), way("twice", Via::Poll, 1)]);
    assert_arrivals(&*inbox, &[(1, "crash", 12), (1, "feedback", 13), (1, "issue", 4)]);
}

pub(super) fn arrivals_are_those_of_webhooks(store: &dyn Store) {
    let mut inbox = receiver(store);
    assert_arrivals(&*inbox, &[]);
    let of = |id: &str, app: i64, event_type: &str| format!("[{}]", event(id, app, event_type));
    let group = [
        bugfender(5, &of("a", 1, "crash")),
        bugfender(9, &of("b", 1, "Crash")),
        bugfender(7, &of("c", 1, "CRASH")),
        bugfender(3, &of("d", 1, "issue")),
        bugfender(4, &of("e", 2, "crash")),
        polled(1, 50, &of("f", 1, "crash")),
        polled(3, 50, &of("g", 3, "crash")),
        // Nothing is known of their app, or of their type.
        bugfender(60, r#"[{"id":"h","type":"crash"},{"id":"i","app":{"id":1}},{"id":"j","app":{"key":"k"}}]"#),
        bugfender(61, "no JSON"),
    ];
    commit(&mut *inbox, &group, &[]);
    let expected = [(1, "crash", 9), (1, "issue", 3), (2, "crash", 4)];
    assert_arrivals(&*inbox, &expected);
    while inbox.maintain().unwrap() {}
    assert_arrivals(&*inbox, &expected);
    commit(&mut *inbox, &[bugfender(20, &of("k", 2, "cRash")), bugfender(2, &of("l", 1, "issue"))], &[]);
    let expected = [(1, "crash", 9), (1, "issue", 3), (2, "crash", 20)];
    assert_arrivals(&*inbox, &expected);
    drop(inbox);
    assert_arrivals(&*store.existing_inbox().unwrap().unwrap(), &expected);
}

/// How many events, of which each piece of maintenance looks at some.
const MANY: i64 = 12_000;

pub(super) fn arrivals_are_put_on_record_in_pieces(store: &dyn Store) {
    let mut inbox = receiver(store);
    for from in (0..MANY).step_by(1000) {
        // Each type is in one place only: what is left out is missing.
        let of = |number: i64| event(&number.to_string(), 1, &format!("type-{:05}", number / 100));
        let deliveries = (from..from + 1000).step_by(100).map(|first| {
            let events: Vec<_> = (first..first + 100).map(of).collect();
            bugfender(first / 100, &format!("[{}]", events.join(",")))
        });
        commit(&mut *inbox, &deliveries.collect::<Vec<_>>(), &[]);
    }
    let expected: Vec<_> = (0..MANY / 100).map(|number| (1, format!("type-{number:05}"), number)).collect();
    assert_eq!(arrivals(&*inbox), expected);
    let mut pieces = 1;
    while inbox.maintain().unwrap() {
        pieces += 1;
        assert_eq!(arrivals(&*inbox), expected, "after {pieces} pieces");
    }
    assert_eq!(pieces, 3);
    assert_eq!(arrivals(&*inbox), expected);
    // There is nothing more to do, for this process or another.
    assert!(!inbox.maintain().unwrap());
    drop(inbox);
    let mut inbox = receiver(store);
    assert!(!inbox.maintain().unwrap());
    assert_eq!(arrivals(&*inbox), expected);
    assert_eq!(purge(&mut *inbox, &PurgeRule { before: Some(at(1000)), ..PurgeRule::default() }).events, 12_000);
    assert_eq!(arrivals(&*inbox), expected);
}

pub(super) fn arrivals_outlive_their_events(store: &dyn Store) {
    let mut inbox = receiver(store);
    let of = |id: &str, app: i64, event_type: &str| format!("[{}]", event(id, app, event_type));
    commit(
        &mut *inbox,
        &[
            bugfender(1, &of("purged", 1, "crash")),
            polled(1, 1, &of("polled", 1, "Issue")),
            polled(1, 1, &of("missed", 1, "feedback")),
            bugfender(30, &of("deleted", 2, "crash")),
            polled(2, 30, &of("deleted too", 2, "issue")),
            polled(2, 30, &of("deleted, missed", 2, "feedback")),
        ],
        &[],
    );
    // What is on record by now may still be brought by a webhook.
    while inbox.maintain().unwrap() {}
    commit(&mut *inbox, &[bugfender(8, &of("polled", 1, "Issue")), bugfender(40, &of("deleted too", 2, "issue"))], &[]);
    let expected = [(1, "crash", 1), (1, "issue", 8), (2, "crash", 30), (2, "issue", 40)];
    assert_arrivals(&*inbox, &expected);
    assert_eq!(purge(&mut *inbox, &PurgeRule { before: Some(at(10)), ..PurgeRule::default() }).events, 3);
    assert_arrivals(&*inbox, &expected);
    let rest: Vec<EventSeq> = all(&*inbox).iter().map(|event| event.seq).collect();
    assert_eq!((inbox.delete(&rest).unwrap(), all(&*inbox).len()), (3, 0));
    assert_arrivals(&*inbox, &expected);
    drop(inbox);
    let mut inbox = receiver(store);
    assert_arrivals(&*inbox, &expected);
    // What comes then is newer, or not.
    commit(&mut *inbox, &[bugfender(50, &of("x", 1, "crash")), bugfender(35, &of("y", 2, "issue"))], &[]);
    let expected = [(1, "crash", 50), (1, "issue", 8), (2, "crash", 30), (2, "issue", 40)];
    assert_arrivals(&*inbox, &expected);
}

/// A purge puts on record what it takes with it, though nobody did before.
pub(super) fn what_was_purged_arrived(store: &dyn Store) {
    let mut inbox = receiver(store);
    let of = |id: usize, event_type: &str| event(&id.to_string(), 1, event_type);
    let singles: Vec<_> = (0..6000).map(|id| bugfender(1, &format!("[{}]", of(id, "crash")))).collect();
    commit(&mut *inbox, &singles, &[]);
    // A delivery that is removed in parts, and one that a webhook brought again.
    let many: Vec<_> = (10_000..15_000).map(|id| of(id, if id == 14_999 { "bug" } else { "issue" })).collect();
    let many = format!("[{}]", many.join(","));
    commit(&mut *inbox, &[bugfender(2, &many), polled(1, 2, &format!("[{}]", of(9, "feedback")))], &[]);
    let late: Vec<_> = (20_000..23_000).map(|id| of(id, "late")).collect();
    commit(&mut *inbox, &[polled(1, 3, &format!("[{}]", late.join(",")))], &[]);
    commit(&mut *inbox, &[bugfender(7, &format!("[{}]", of(22_999, "late")))], &[]);
    let expected = [(1, "bug", 2), (1, "crash", 1), (1, "issue", 2), (1, "late", 7)];
    assert_arrivals(&*inbox, &expected);
    // By a process that does not receive.
    let mut other = store.existing_inbox().unwrap().unwrap();
    let rule = PurgeRule { before: Some(at(100)), ..PurgeRule::default() };
    let mut gone = 0;
    loop {
        let purged = other.purge(&rule).unwrap();
        gone += purged.events;
        assert_arrivals(&*other, &expected);
        if !purged.more {
            break;
        }
    }
    assert_eq!((gone, all(&*inbox).len()), (14_000, 0));
    assert_arrivals(&*inbox, &expected);
}

fn app(number: i64) -> AppId {
    AppId::new(number).unwrap()
}

fn origins() -> [ApiOrigin; 2] {
    ["https://one.example", "https://two.example:8443"].map(|origin| origin.parse().unwrap())
}

pub(super) fn cursors_do_not_go_back(store: &dyn Store) {
    let [one, two] = origins();
    let mut inbox = store.inbox().unwrap();
    assert_eq!(inbox.polled_until(&one, app(1), IssueList::Open).unwrap(), None);
    let precise = at(7) + jiff::SignedDuration::from_micros(123_456);
    for until in [at(5), precise, at(6), at(-9)] {
        inbox.note_polled(&one, app(1), IssueList::Open, until).unwrap();
    }
    assert_eq!(inbox.polled_until(&one, app(1), IssueList::Open).unwrap(), Some(precise));
    for (origin, number, list) in [(&two, 1, IssueList::Open), (&one, 2, IssueList::Open), (&one, 1, IssueList::Closed)]
    {
        assert_eq!(inbox.polled_until(origin, app(number), list).unwrap(), None);
    }
    inbox.note_polled(&one, app(1), IssueList::Closed, at(2)).unwrap();
    inbox.note_polled(&two, app(1), IssueList::Open, at(3)).unwrap();
    inbox.note_polled(&one, app(2), IssueList::Open, at(4)).unwrap();
    drop(inbox);
    // Beside a receiver, too.
    let receiver = receiver(store);
    let inbox = store.existing_inbox().unwrap().unwrap();
    let until = |inbox: &dyn Inbox, origin: &ApiOrigin, number, list| inbox.polled_until(origin, app(number), list);
    for inbox in [&*receiver as &dyn Inbox, &*inbox] {
        assert_eq!(until(inbox, &one, 1, IssueList::Open).unwrap(), Some(precise));
        assert_eq!(until(inbox, &one, 1, IssueList::Closed).unwrap(), Some(at(2)));
        assert_eq!(until(inbox, &two, 1, IssueList::Open).unwrap(), Some(at(3)));
        assert_eq!(until(inbox, &one, 2, IssueList::Open).unwrap(), Some(at(4)));
    }
}

pub(super) fn missed_events_are_numbers_and_later_times(store: &dyn Store) {
    let [one, two] = origins();
    let mut inbox = store.inbox().unwrap();
    assert_eq!(inbox.missed_events(&one).unwrap(), []);
    let missed = |number: i64, event_type: &str, events: u64, last: i64, found: i64| MissedEvents {
        app_id: app(number),
        event_type: event_type.to_owned(),
        events,
        last_at: at(last),
        found_at: at(found),
    };
    inbox.note_missed(&one, &[missed(2, "crash", 1, 1, 2), missed(1, "Issue", 7, 10, 11)]).unwrap();
    inbox.note_missed(&two, &[missed(1, "issue", 90, 91, 92)]).unwrap();
    inbox.note_missed(&one, &[]).unwrap();
    assert_eq!(inbox.missed_events(&one).unwrap(), [missed(1, "issue", 7, 10, 11), missed(2, "crash", 1, 1, 2)]);
    // A number takes the place of the one before; a time only of an earlier one.
    inbox.note_missed(&one, &[missed(1, "ISSUE", 3, 9, 20), missed(2, "crash", u64::MAX, 5, 1)]).unwrap();
    drop(inbox);
    let mut inbox = receiver(store);
    let most = u64::try_from(i64::MAX).unwrap();
    assert_eq!(inbox.missed_events(&one).unwrap(), [missed(1, "issue", 3, 10, 20), missed(2, "crash", most, 5, 2)]);
    assert_eq!(inbox.missed_events(&two).unwrap(), [missed(1, "issue", 90, 91, 92)]);
    inbox.note_missed(&one, &[missed(1, "issue", 0, 10, 20)]).unwrap();
    assert_eq!(inbox.missed_events(&one).unwrap()[0].events, 0);
}

fn route(target: TargetId, types: &[&str], together: bool) -> Route {
    Route { target, types: types.iter().map(|name| (*name).to_owned()).collect(), together }
}

pub(super) fn routes_are_those_of_the_last_receiver(store: &dyn Store) {
    let mut inbox = receiver(store);
    assert_eq!(inbox.routes().unwrap(), []);
    let [x, y, z] = ["x", "y", "z"].map(|name| target(&mut *inbox, name));
    // Targets of which no receiver has said what goes there.
    assert_eq!(inbox.routes().unwrap(), []);
    let first = [route(x, &["crash", "Feedback", "of one's own"], true), route(y, &[], false)];
    inbox.set_routes(&first).unwrap();
    assert_eq!(inbox.routes().unwrap(), first);
    // Whoever else opens the inbox sees them, and they outlive the receiver.
    assert_eq!(store.existing_inbox().unwrap().unwrap().routes().unwrap(), first);
    drop(inbox);
    let mut inbox = receiver(store);
    assert_eq!(inbox.routes().unwrap(), first);
    // The names of targets are made sure of by the next one, and its routes take the place of those.
    assert_eq!(target(&mut *inbox, "x"), x);
    assert_eq!(inbox.routes().unwrap(), first);
    let second = [route(x, &["issue"], false), route(z, &[], true)];
    inbox.set_routes(&[second[1].clone(), second[0].clone()]).unwrap();
    assert_eq!(inbox.routes().unwrap(), second);
    inbox.set_routes(&second).unwrap();
    assert_eq!(inbox.routes().unwrap(), second);
    // By any process; what is stored by them goes where they say.
    drop(inbox);
    let mut inbox: Box<dyn ReceiverInbox> = receiver(store);
    let routes = inbox.routes().unwrap();
    commit(&mut *inbox, &[polled(1, 1, r#"[{"id":"a","type":0},{"id":"b","type":"crash"}]"#)], &routes);
    let mut claimed = |to| {
        let leased = claim_some(&mut *inbox, to, 5, ClaimRequest::up_to(9));
        leased.iter().map(|leased| ids_of(leased).join(" ")).collect::<Vec<_>>()
    };
    assert_eq!((claimed(x), claimed(y), claimed(z)), (vec!["a".to_owned()], vec![], vec!["a b".to_owned()]));
    inbox.set_routes(&[]).unwrap();
    assert_eq!(inbox.routes().unwrap(), []);
}
