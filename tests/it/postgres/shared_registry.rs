//! One registry for several machines.

use std::sync::Barrier;
use std::thread;

use bugfender_hooks::domain::{AppId, EventKind, HookId, HookRecord, HookStatus, RowId, Subscription};
use bugfender_hooks::store::{
    Conflict, ManifestLock, OwnershipChange, Registry, Removal, RemovalReservation, Reservation, Restored, Store,
    SubscriptionIntent,
};

use super::receivers::store;
use crate::support::inbox::{at, noise};
use crate::support::postgres::{Server, ServerSettings, server};
use crate::support::wait_until;

fn wanted(app: i64) -> Subscription {
    Subscription {
        origin: "https://here.example".parse().unwrap(),
        app_id: AppId::new(app).unwrap(),
        event: EventKind::NewCrash,
        target_url: "https://hooks.example.com/bf".parse().unwrap(),
    }
}

fn begin(registry: &dyn Registry, app: i64) -> Reservation {
    registry.begin_subscribe(&SubscriptionIntent::of(wanted(app)), at(1)).unwrap()
}

/// How many subscriptions are wanted.
const APPS: i64 = 10;

#[test]
fn of_those_who_want_the_same_one_gets_it() {
    let Some(server) = server() else { return };
    let (store, _) = store(server);
    store.registry().unwrap();
    let together = Barrier::new(8);
    let reserved: Vec<Vec<bool>> = thread::scope(|scope| {
        let subscribe = || {
            let registry = store.registry().unwrap();
            let begin = |app| {
                together.wait();
                matches!(begin(&*registry, app), Reservation::Reserved(_))
            };
            let reserved = (1..=APPS).map(begin).collect();
            together.wait();
            reserved
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(subscribe)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for app in 0..usize::try_from(APPS).unwrap() {
        assert_eq!(reserved.iter().filter(|one| one[app]).count(), 1, "{app}");
    }
}

#[test]
fn what_a_dead_process_began_is_in_doubt_when_its_time_is_over() {
    let Some(server) = server() else { return };
    let (store, database) = store(server);
    let dead = store.registry().unwrap();
    let Reservation::Reserved(row) = begin(&*dead, 1) else { panic!("nobody else is there") };
    let Reservation::Reserved(removed) = begin(&*dead, 2) else { panic!("nobody else is there") };
    dead.activate(removed, HookId::new(5).unwrap(), at(1)).unwrap();
    dead.record_removals(&[], &[removed], at(1)).unwrap();
    // Killed: it says nothing.
    std::mem::forget(dead);
    let registry = store.registry().unwrap();
    assert!(matches!(begin(&*registry, 1), Reservation::Conflict(Conflict::InProgress)));
    let (_, intents) = registry.record_removals(&[], &[removed], at(2)).unwrap();
    assert!(matches!(intents[0], RemovalReservation::InProgress));
    // The server's clock decides.
    let left = "SELECT bool_and(owned_until BETWEEN now() + interval '60 s' AND now() + interval '120 s')
                FROM bugfender_hooks.hooks";
    assert_eq!(server.psql(&database, left), "t");
    server.psql(&database, "UPDATE bugfender_hooks.hooks SET owned_until = now()");
    let mut found = Vec::new();
    registry.hooks(None, &mut |hook| found.push((hook.row, hook.status))).unwrap();
    assert_eq!(found, [(row, HookStatus::Unknown), (removed, HookStatus::Removing)]);
    assert!(matches!(begin(&*registry, 1), Reservation::Conflict(Conflict::Unresolved(_))));
    let (_, intents) = registry.record_removals(&[], &[removed], at(2)).unwrap();
    assert!(matches!(intents[0], RemovalReservation::Reserved { resumed: true }));
    registry.record_removals(&[(removed, Removal::Removed)], &[], at(3)).unwrap();
    registry.forget(row).unwrap();
}

#[test]
fn the_lock_of_a_dead_process_is_free_when_its_time_is_over() {
    let Some(server) = server() else { return };
    let (store, database) = store(server);
    let (origin, name) = ("https://here.example".parse().unwrap(), "mobile".parse().unwrap());
    let (dead, other) = (store.registry().unwrap(), store.registry().unwrap());
    let lock = |registry: &dyn Registry| {
        matches!(registry.lock_manifest(&origin, &name, at(1)).unwrap(), ManifestLock::Granted)
    };
    let move_on = |seconds: u32| {
        let sql = "UPDATE bugfender_hooks.manifest_locks SET owned_until = owned_until - interval";
        server.psql(&database, &format!("{sql} '{seconds} s'"));
    };
    assert!(lock(&*dead) && !lock(&*other));
    // Renewed, it is its holder's for as long as at first.
    move_on(25);
    assert!(dead.renew_manifest_lock(&origin, &name).unwrap() && !other.renew_manifest_lock(&origin, &name).unwrap());
    let left = "SELECT owned_until BETWEEN now() + interval '20 s' AND now() + interval '30 s'
                FROM bugfender_hooks.manifest_locks";
    assert_eq!(server.psql(&database, left), "t");
    move_on(5);
    assert!(!lock(&*other));
    // Nobody has taken it yet: whoever was late has it still.
    move_on(60);
    assert!(dead.renew_manifest_lock(&origin, &name).unwrap() && !lock(&*other));
    let Reservation::Reserved(row) = begin(&*dead, 1) else { panic!("nobody else is there") };
    assert!(matches!(begin(&*other, 1), Reservation::Conflict(Conflict::InProgress)));
    // Killed: it says nothing. What it was at work on is in doubt, and that of others is not.
    let third = store.registry().unwrap();
    assert!(matches!(begin(&*third, 2), Reservation::Reserved(_)));
    move_on(60);
    assert!(lock(&*other));
    assert!(matches!(begin(&*other, 1), Reservation::Conflict(Conflict::Unresolved(_))));
    assert!(matches!(begin(&*other, 2), Reservation::Conflict(Conflict::InProgress)));
    // It was only slow: its answer counts.
    assert_eq!(dead.activate(row, HookId::new(5).unwrap(), at(2)).unwrap().record.status, HookStatus::Active);
    assert!(!dead.renew_manifest_lock(&origin, &name).unwrap() && !lock(&*dead));
    dead.unlock_manifest(&origin, &name).unwrap();
    drop(dead);
    assert!(other.renew_manifest_lock(&origin, &name).unwrap());
    drop(other);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM bugfender_hooks.manifest_locks"), "0");
}

#[test]
fn texts_that_the_server_does_not_take_are_stored_nonetheless() {
    let Some(server) = server() else { return };
    let (store, _) = store(server);
    let registry = store.registry().unwrap();
    let Reservation::Reserved(row) = begin(&*registry, 1) else { panic!("nobody else is there") };
    let left = registry.leave_in_doubt(row, "no\0answer", at(1)).unwrap();
    assert_eq!(left.reason.as_deref(), Some("no\u{fffd}answer"));
    // As long as a URL may be.
    let long = format!("https://hooks.example.com/{}", noise(2000));
    let long = Subscription { target_url: long.parse().unwrap(), ..wanted(3) };
    let reserved = registry.begin_subscribe(&SubscriptionIntent::of(long.clone()), at(1)).unwrap();
    assert!(matches!(reserved, Reservation::Reserved(_)));
    assert!(matches!(registry.find_conflict(&long).unwrap(), Some(Conflict::InProgress)));
}

/// How often the server found transactions that waited for one another.
fn deadlocks(server: &Server, database: &str) -> String {
    // Sessions that have ended have said what they counted.
    let sessions = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND backend_type = 'client backend'"
    );
    wait_until("the sessions have ended", || server.psql("postgres", &sessions) == "0");
    server.psql("postgres", &format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{database}'"))
}

#[test]
fn batches_do_not_wait_for_one_another_in_a_circle() {
    let Some(server) = server() else { return };
    let (store, database) = store(server);
    store.registry().unwrap();
    let together = Barrier::new(2);
    let work = |is_reversed: bool| {
        let registry = store.registry().unwrap();
        // Nobody panics while the other waits.
        let mut outcomes = Vec::new();
        for round in 0..5 {
            let mut apps: Vec<i64> = (1..=60).map(|app| round * 60 + app).collect();
            if is_reversed {
                apps.reverse();
            }
            let intents: Vec<_> = apps.iter().map(|app| SubscriptionIntent::of(wanted(*app))).collect();
            together.wait();
            outcomes.push(registry.record_subscriptions(&[], &intents, at(1)).map(drop));
            together.wait();
            let mut rows = Vec::new();
            outcomes.push(registry.hooks(None, &mut |record| rows.push(record)));
            if is_reversed {
                rows.reverse();
            }
            let change = |record: &HookRecord| OwnershipChange {
                row: record.row,
                managed_by: "mobile".parse().unwrap(),
                label: None,
                target_url: None,
            };
            let changes: Vec<_> = rows.iter().map(change).collect();
            together.wait();
            outcomes.push(registry.manage(&changes, at(2)).map(drop));
        }
        outcomes.into_iter().collect::<Result<(), _>>().unwrap();
    };
    thread::scope(|scope| {
        for is_reversed in [false, true] {
            let work = &work;
            scope.spawn(move || work(is_reversed));
        }
    });
    assert_eq!(server.psql(&database, "SELECT count(*) FROM bugfender_hooks.hooks"), "300");
    assert_eq!(deadlocks(server, &database), "0");
}

/// A hook as another registry holds it.
fn record(app: i64) -> HookRecord {
    HookRecord {
        row: RowId(app),
        hook_id: HookId::new(app),
        subscription: wanted(app),
        status: HookStatus::Active,
        label: None,
        managed_by: None,
        replaces: None,
        reason: None,
        created_at: at(1),
        updated_at: at(1),
    }
}

#[test]
fn more_hooks_are_brought_in_than_a_small_server_has_room_for_locks() {
    let lines = &["max_connections = 10", "max_locks_per_transaction = 10"][..];
    let Some(server) = Server::start(ServerSettings { lines, ..ServerSettings::default() }) else { return };
    let (store, _) = store(&server);
    let registry = store.registry().unwrap();
    let hooks: Vec<_> = (1..=1500).map(record).collect();
    let restored = registry.restore(&hooks, at(2)).unwrap();
    assert!(restored.iter().all(|restored| *restored == Restored::Added));
}

#[test]
fn what_is_brought_in_is_not_subscribed_to_beside() {
    let Some(server) = server() else { return };
    let (store, _) = store(server);
    store.registry().unwrap();
    let together = Barrier::new(2);
    let restore = |app: i64| {
        let registry = store.registry().unwrap();
        together.wait();
        registry.restore(&[record(app)], at(2)).unwrap()[0]
    };
    let subscribe = |app: i64| {
        let registry = store.registry().unwrap();
        together.wait();
        begin(&*registry, app)
    };
    for app in 1..=20 {
        let (restored, begun) = thread::scope(|scope| {
            let (restored, begun) = (scope.spawn(|| restore(app)), scope.spawn(|| subscribe(app)));
            (restored.join().unwrap(), begun.join().unwrap())
        });
        let is_either = match restored {
            Restored::Added => matches!(begun, Reservation::Conflict(Conflict::Exists(_))),
            // It was begun, and its registry may have ended since.
            Restored::InProgress | Restored::Changed => matches!(begun, Reservation::Reserved(_)),
            _ => false,
        };
        assert!(is_either, "{restored:?}, {begun:?}");
    }
}
