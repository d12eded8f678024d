//! Hooks are recorded before they are made, and until they surely are no more.

use bugfender_hooks::domain::{HookId, HookRecord, HookStatus, Subscription};
use bugfender_hooks::store::{Conflict, Registry, Removal, RemovalReservation, Reservation, Store};

use crate::support::inbox::at;

fn subscription(app: i64, origin: &str) -> Subscription {
    Subscription {
        origin: origin.parse().unwrap(),
        app_id: bugfender_hooks::domain::AppId::new(app).unwrap(),
        event: bugfender_hooks::domain::EventKind::NewCrash,
        target_url: "https://hooks.example.com/bf".parse().unwrap(),
    }
}

const HERE: &str = "https://here.example";

fn rows(registry: &dyn Registry) -> Vec<HookRecord> {
    let mut rows = Vec::new();
    registry.hooks(None, &mut |row| rows.push(row)).unwrap();
    rows
}

fn statuses(registry: &dyn Registry) -> Vec<HookStatus> {
    rows(registry).into_iter().map(|row| row.status).collect()
}

fn begin(registry: &dyn Registry, wanted: &Subscription) -> bugfender_hooks::domain::RowId {
    let Reservation::Reserved(row) = registry.begin_subscribe(wanted, None, false, at(1)).unwrap() else {
        panic!("it is blocked")
    };
    row
}

pub(super) fn subscriptions_are_made_once(store: &dyn Store) {
    assert!(store.existing_registry(None).unwrap().is_none());
    let wanted = subscription(1, HERE);
    let registry = store.registry().unwrap();
    let row = begin(&*registry, &wanted);
    assert_eq!(statuses(&*registry), [HookStatus::Pending]);
    let other = store.existing_registry(None).unwrap().unwrap();
    assert!(matches!(other.find_conflict(&wanted).unwrap(), Some(Conflict::InProgress)));
    let hook = registry.activate(row, HookId::new(7).unwrap(), at(1)).unwrap().record;
    assert_eq!((hook.hook_id, hook.status), (HookId::new(7), HookStatus::Active));
    assert!(
        matches!(other.find_conflict(&wanted).unwrap(), Some(Conflict::Exists(found)) if found.hook_id == HookId::new(7))
    );
    assert!(matches!(
        registry.begin_subscribe(&wanted, None, false, at(1)).unwrap(),
        Reservation::Conflict(Conflict::Exists(_))
    ));
    // The same elsewhere, or of another app, is another one.
    for (app, origin) in [(2, HERE), (1, "https://there.example")] {
        let row = begin(&*registry, &subscription(app, origin));
        registry.abandon(row).unwrap();
    }
    assert_eq!(statuses(&*registry).len(), 1);
    registry.check().unwrap();
}

pub(super) fn what_is_in_doubt_stands_in_the_way(store: &dyn Store) {
    let wanted = subscription(1, HERE);
    let registry = store.registry().unwrap();
    let row = begin(&*registry, &wanted);
    assert_eq!(registry.leave_in_doubt(row, "no answer", at(1)).unwrap().status, HookStatus::Unknown);
    assert!(matches!(registry.find_conflict(&wanted).unwrap(), Some(Conflict::Unresolved(_))));
    // One that a dead process was at work on is in doubt too.
    begin(&*registry, &subscription(2, HERE));
    drop(registry);
    let registry = store.registry().unwrap();
    assert_eq!(statuses(&*registry), [HookStatus::Unknown; 2]);
    let (hook, changed) = registry.import(HookId::new(9).unwrap(), &wanted, None, at(1)).unwrap();
    assert!(changed && hook.row == row && hook.status == HookStatus::Active);
    assert!(!registry.import(HookId::new(9).unwrap(), &wanted, None, at(1)).unwrap().1);
    registry.forget(rows(&*registry)[1].row).unwrap();
    assert_eq!(statuses(&*registry), [HookStatus::Active]);
}

pub(super) fn removals_end_one_way_or_another(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let made = |app: i64| {
        let row = begin(&*registry, &subscription(app, HERE));
        registry.activate(row, HookId::new(app).unwrap(), at(1)).unwrap().record.row
    };
    let all: Vec<_> = (1..=4).map(made).collect();
    let (_, intents) = registry.record_removals(&[], &all, at(1)).unwrap();
    assert!(intents.iter().all(|intent| matches!(intent, RemovalReservation::Reserved { resumed: false })));
    let ends = [Removal::Removed, Removal::Gone, Removal::Refused, Removal::InDoubt("no answer".to_owned())];
    let ends: Vec<_> = all.iter().copied().zip(ends).collect();
    registry.record_removals(&ends, &[], at(1)).unwrap();
    let ended = [HookStatus::Removed, HookStatus::Gone, HookStatus::Active, HookStatus::Removing];
    assert_eq!(statuses(&*registry), ended);
    let (_, intents) = registry.record_removals(&[], &[all[0], all[3]], at(1)).unwrap();
    assert!(matches!(intents[0], RemovalReservation::Ended(_)));
    assert!(matches!(intents[1], RemovalReservation::Reserved { resumed: true }));
}
