//! `store copy`: between SQLite and PostgreSQL, both ways, with real servers.

mod interrupted;
mod refused;
mod round_trip;

use std::path::Path;

use bugfender_hooks::domain::delivery::{Delivery, Via};
use bugfender_hooks::domain::{ApiOrigin, AppId, EventKind, HookId, HookRecord, IssueList, Subscription};
use bugfender_hooks::store::postgres::PostgresStore;
use bugfender_hooks::store::sqlite::SqliteStore;
use bugfender_hooks::store::{
    AttemptOutcome, AttemptReport, ClaimRequest, EventPage, EventRecord, EventSelection, MissedEvents, PurgeRule,
    ReceiverInbox, Registry, Reservation, Route, Settlement, Store, SubscriptionIntent, TargetName,
};
use jiff::{SignedDuration, Timestamp};

use crate::support::inbox::{at, bugfender, encoded, instabug, of_ids, polled};
use crate::support::postgres::{Server, connect_options};
use crate::support::{Home, Run};

const LEASE: std::time::Duration = std::time::Duration::from_secs(1000);

/// The location of a store in a file of a home.
fn sqlite_url(home: &Home, name: &str) -> String {
    format!("sqlite:{}", home.path().join(name).display())
}

fn sqlite(path: &Path) -> SqliteStore {
    SqliteStore::at(path)
}

fn postgres(url: &str) -> PostgresStore {
    PostgresStore::new(connect_options(url, &[]).unwrap())
}

fn run_on(home: &Home, store: &str, args: &[&str]) -> Run {
    home.run(["--store", store].iter().chain(args))
}

/// Copies a store, which must succeed: the parts, with their checksums.
fn copy(home: &Home, from: &str, to: &str) -> serde_json::Value {
    let run = run_on(home, from, &["store", "copy", "--to", to, "--output", "json"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("and compared the two"), "{run}");
    run.json()
}

fn rows_of(parts: &serde_json::Value, name: &str) -> u64 {
    let parts = parts.as_array().unwrap();
    parts.iter().find(|part| part["part"] == name).unwrap()["rows"].as_u64().unwrap()
}

/// What all commands say that read a store, each with what it was asked.
fn said_of(home: &Home, store: &str) -> Vec<(String, String)> {
    let asked: [&[&str]; 9] = [
        &["list", "--all", "--output", "json"],
        &["history", "--output", "json"],
        &["events", "list", "--output", "json"],
        &["events", "list", "--quarantined", "--output", "json"],
        &["events", "stats", "--output", "json"],
        &["events", "export"],
        &["events", "show", "shared", "--output", "json"],
        &["events", "show", "tried", "--output", "json"],
        &["targets", "list", "--output", "json"],
    ];
    let ask = |args: &[&str]| {
        let run = run_on(home, store, args);
        (args.join(" "), format!("{} {}", run.code, run.stdout))
    };
    asked.into_iter().map(ask).collect()
}

/// A home whose store, in files, has something of everything in it; and its location.
fn filled(events: usize) -> (Home, String) {
    let home = Home::holding("https://bugfender.example", 5);
    home.run(["forget", "3", "--yes"]);
    let store = sqlite(&home.registry());
    let keys = store.receiver_keys();
    keys.load().unwrap();
    keys.rotate(Timestamp::now() + SignedDuration::from_hours(1), Timestamp::now()).unwrap();
    let mut inbox = store.receiver_inbox().unwrap();
    fill(&mut *inbox, events);
    drop(inbox);
    own_hooks(&*store.registry().unwrap());
    let url = format!("sqlite:{}", home.registry().display());
    (home, url)
}

/// A hook that a manifest owns, in place of another.
fn own_hooks(registry: &dyn Registry) {
    let intent = SubscriptionIntent {
        managed_by: Some("mobile".parse().unwrap()),
        replaces: HookId::new(4),
        ..SubscriptionIntent::of(Subscription {
            origin: "https://bugfender.example".parse().unwrap(),
            app_id: AppId::new(77).unwrap(),
            event: EventKind::NewCrash,
            target_url: "https://u:secret@hooks.example.com/bf".parse().unwrap(),
        })
    };
    let Reservation::Reserved(row) = registry.begin_subscribe(&intent, at(1)).unwrap() else { panic!("it is blocked") };
    registry.activate(row, HookId::new(77).unwrap(), at(1)).unwrap();
}

fn hooks(store: &dyn Store) -> Vec<HookRecord> {
    let mut found = Vec::new();
    store.registry().unwrap().hooks(None, &mut |hook| found.push(hook)).unwrap();
    found
}

fn fill(inbox: &mut dyn ReceiverInbox, events: usize) {
    let names = ["x", "y", "z"].map(|name| TargetName { key: name.to_owned(), shown: format!("https://{name}") });
    let targets = inbox.targets(&names).unwrap();
    let to = |place: usize, types: &[&str], together| Route {
        target: targets[place],
        types: types.iter().map(|name| (*name).to_owned()).collect(),
        together,
    };
    let routes = [to(0, &["crash"], true), to(1, &["crash"], false), to(2, &["crash"], true)];
    let commit = |inbox: &mut dyn ReceiverInbox, deliveries: &[Delivery]| {
        inbox.commit(&encoded(deliveries), &routes).unwrap();
    };
    // One id of several apps, and one without ids that comes again after long: chains.
    let shared = |second, app: i64| {
        bugfender(second, &format!(r#"[{{"id":"shared","app":{{"id":{app}}},"type":"crash","title":"In \u00fc"}}]"#))
    };
    commit(inbox, &[shared(1, 1), shared(2, 2), shared(3, 3), shared(4, 2)]);
    commit(inbox, &[instabug(5, r#"{"Title":"again","Reported At":1}"#)]);
    commit(inbox, &[instabug(50_000_000, r#"{"Title":"again","Reported At":1}"#)]);
    commit(inbox, &[bugfender(6, r#"[{"id":"tried","type":"crash"},{"id":"second","type":"crash"},{"id":"tried"}]"#)]);
    commit(
        inbox,
        &[bugfender(7, &format!(r#"[{{"id":"large","text":"{}"}}]"#, crate::support::inbox::noise(900_000)))],
    );
    commit(inbox, &[bugfender(8, "no JSON"), bugfender(9, "[1]")]);
    commit(inbox, &[polled(4, 10, r#"[{"id":"polled","type":"issue"},{"id":"missed","type":2}]"#)]);
    commit(inbox, &[bugfender(11, r#"[{"id":"polled","type":"issue"}]"#)]);
    let ids: Vec<String> = (0..events).map(|number| format!("event-{number}")).collect();
    for ids in ids.chunks(20_000) {
        let deliveries = ids.chunks(100).map(|ids| of_ids(20, &ids.iter().map(String::as_str).collect::<Vec<_>>()));
        commit(inbox, &deliveries.collect::<Vec<_>>());
        while inbox.maintain().unwrap() {}
    }
    note_polling(inbox, &routes);
    try_forwards(inbox, targets[0]);
    inbox.pause_target(targets[1], at(30)).unwrap();
    inbox.pause_target(targets[2], at(30)).unwrap();
    inbox.resume_target(targets[2], at(31)).unwrap();
    // Leased by a receiver that is not there any more.
    assert!(!inbox.claim(targets[2], ClaimRequest::up_to(2), at(40), LEASE).unwrap().is_empty());
}

/// How far polling has come, what it found, and an arrival that its event does not tell any more.
fn note_polling(inbox: &mut dyn ReceiverInbox, routes: &[Route]) {
    let gone = bugfender(12, r#"[{"id":"gone","app":{"id":9},"type":"Crash"}]"#);
    let receipts = inbox.commit(&encoded(&[gone]), &[]).unwrap();
    inbox.delete(&[receipts[0].events[0].unwrap()]).unwrap();
    let rule = PurgeRule { before: Some(at(0)), ..PurgeRule::default() };
    while inbox.purge(&rule).unwrap().more {}
    for (app, list, second) in [(4, IssueList::Open, 40), (4, IssueList::Closed, 41), (5, IssueList::Open, 42)] {
        inbox.note_polled(&installation(), AppId::new(app).unwrap(), list, at(second)).unwrap();
    }
    inbox.note_missed(&installation(), &[missed(4, 1), missed(5, 77)]).unwrap();
    inbox
        .set_routes(&[routes[0].clone(), Route { types: vec!["a".to_owned(), "B c".to_owned()], ..routes[1].clone() }])
        .unwrap();
}

fn installation() -> ApiOrigin {
    "https://bugfender.example".parse().unwrap()
}

fn missed(app: i64, events: u64) -> MissedEvents {
    let app_id = AppId::new(app).unwrap();
    MissedEvents { app_id, event_type: "feedback".to_owned(), events, last_at: at(10), found_at: at(43) }
}

/// All that a store says of polling.
fn polling_of(store: &dyn Store) -> String {
    let inbox = store.inbox().unwrap();
    let until = [(4, IssueList::Open), (4, IssueList::Closed), (5, IssueList::Open), (5, IssueList::Closed)]
        .map(|(app, list)| inbox.polled_until(&installation(), AppId::new(app).unwrap(), list).unwrap());
    let (arrivals, missed) = (inbox.arrivals().unwrap(), inbox.missed_events(&installation()).unwrap());
    let mut polled = Vec::new();
    let of_polling = EventSelection { via: Some(Via::Poll), ..EventSelection::default() };
    let each = &mut |event: EventRecord| {
        polled.push((event.id, event.duplicates));
        true
    };
    inbox.events(&of_polling, EventPage::default(), each).unwrap();
    format!("{arrivals:?} {until:?} {missed:?} {:?} {polled:?}", inbox.routes().unwrap())
}

/// Forwards that were delivered, failed many times, and were given up.
fn try_forwards(inbox: &mut dyn ReceiverInbox, target: bugfender_hooks::store::TargetId) {
    for second in 100..120 {
        let leased = inbox.claim(target, ClaimRequest::up_to(1), at(second), LEASE).unwrap();
        let Some(leased) = leased.first() else { return };
        let outcome = match second {
            100 => AttemptOutcome::Delivered,
            101 => AttemptOutcome::DeadLettered { error: "410 Gone".to_owned() },
            _ => AttemptOutcome::Retry { at: at(second + 1), error: format!("503 at {second}") },
        };
        let report = AttemptReport { status: Some(503), answer: b"not \xff now".to_vec(), ..AttemptReport::default() };
        inbox.settle(&[Settlement { lease: leased.lease(), at: at(second), outcome, report }]).unwrap();
    }
}

/// A new database, and its location.
fn new_database(server: &Server) -> (String, String) {
    let database = server.new_database();
    let url = server.url(&database);
    (database, url)
}
