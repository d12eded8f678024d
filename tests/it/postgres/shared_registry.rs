//! One registry for several machines.

use std::sync::Barrier;
use std::thread;

use bugfender_hooks::domain::{AppId, EventKind, HookId, HookStatus, Subscription};
use bugfender_hooks::store::{
    Conflict, ManifestLock, Registry, Removal, RemovalReservation, Reservation, Store, SubscriptionIntent,
};

use super::receivers::store;
use crate::support::inbox::{at, noise};
use crate::support::postgres::server;

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
    // Killed: it says nothing.
    move_on(60);
    assert!(lock(&*other));
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
