//! Hooks that take the place of others: one for each, and what is related to it.

use bugfender_hooks::domain::{HookId, RowId, Subscription, TargetUrl};
use bugfender_hooks::store::{Conflict, Registry, Removal, Reservation, Store, SubscriptionIntent};

use super::ownership::{hook, rows, wanted};
use crate::support::inbox::at;

/// The intent to replace this hook of app 1.
fn replacing(hook: i64) -> SubscriptionIntent {
    SubscriptionIntent { replaces: HookId::new(hook), ..SubscriptionIntent::of(wanted(1)) }
}

fn reserved(registry: &dyn Registry, intent: &SubscriptionIntent) -> RowId {
    match registry.begin_subscribe(intent, at(1)).unwrap() {
        Reservation::Reserved(row) => row,
        Reservation::Conflict(conflict) => panic!("{conflict:?} is in the way"),
    }
}

/// The related rows of a subscription: hook, and whether somebody is at work on it.
fn related(registry: &dyn Registry, wanted: &Subscription) -> Vec<(Option<i64>, bool)> {
    let rows = registry.related(wanted).unwrap();
    rows.iter().map(|row| (row.record.hook_id.map(HookId::get), row.in_progress)).collect()
}

pub(super) fn a_hook_is_replaced_once(store: &dyn Store) {
    let (registry, other) = (store.registry().unwrap(), store.registry().unwrap());
    let conflict = |intent: &SubscriptionIntent| match other.begin_subscribe(intent, at(1)).unwrap() {
        Reservation::Conflict(conflict) => conflict,
        Reservation::Reserved(_) => panic!("nothing is in the way"),
    };
    registry.import(hook(1), &wanted(1), None, at(1)).unwrap();
    assert!(matches!(conflict(&SubscriptionIntent::of(wanted(1))), Conflict::Exists(_)));
    // Another hook than the one that is there.
    assert!(matches!(conflict(&replacing(9)), Conflict::Exists(_)));
    let row = reserved(&*registry, &replacing(1));
    assert_eq!(related(&*other, &wanted(1)), [(Some(1), false), (None, true)]);
    assert!(matches!(conflict(&replacing(1)), Conflict::InProgress));
    // In doubt, it stands in the way, though the old one is there.
    registry.leave_in_doubt(row, "no answer", at(2)).unwrap();
    assert!(matches!(conflict(&replacing(1)), Conflict::Unresolved(found) if found.row == row));
    registry.import(hook(2), &wanted(1), None, at(3)).unwrap();
    assert!(matches!(conflict(&replacing(1)), Conflict::Exists(found) if found.hook_id == HookId::new(2)));
    // Its own successor has nothing in the way but what is in doubt.
    let (_, begun) = registry.record_removals(&[], &[rows(&*registry)[0].row], at(4)).unwrap();
    assert_eq!(begun.len(), 1);
    assert!(matches!(conflict(&replacing(2)), Conflict::InProgress));
    let old = rows(&*registry)[0].row;
    registry.record_removals(&[(old, Removal::InDoubt("no answer".to_owned()))], &[], at(5)).unwrap();
    assert!(matches!(conflict(&replacing(2)), Conflict::Unresolved(found) if found.row == old));
    registry.record_removals(&[(old, Removal::Gone)], &[], at(6)).unwrap();
    let row = reserved(&*registry, &replacing(2));
    assert_eq!(registry.activate(row, hook(3), at(7)).unwrap().record.replaces, HookId::new(2));
    assert_eq!(related(&*other, &wanted(1)), [(Some(2), false), (Some(3), false)]);
}

pub(super) fn what_a_hook_replaces_elsewhere_is_related(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let moved: TargetUrl = "https://hooks.example.com/moved".parse().unwrap();
    let moved = Subscription { target_url: moved, ..wanted(1) };
    registry.import(hook(1), &wanted(1), None, at(1)).unwrap();
    registry.import(hook(5), &wanted(2), None, at(1)).unwrap();
    let intent =
        |replaces| SubscriptionIntent { replaces: HookId::new(replaces), ..SubscriptionIntent::of(moved.clone()) };
    let row = reserved(&*registry, &intent(1));
    registry.activate(row, hook(2), at(2)).unwrap();
    assert_eq!(related(&*registry, &moved), [(Some(2), false), (Some(1), false)]);
    assert_eq!(related(&*registry, &wanted(1)), [(Some(1), false)]);
    // Not one that has ended, nor one of another app.
    let old = row_of(&*registry, 1);
    registry.record_removals(&[(old, Removal::Removed)], &[], at(3)).unwrap();
    assert_eq!(related(&*registry, &moved), [(Some(2), false)]);
    let row = reserved(&*registry, &SubscriptionIntent { force: true, ..intent(5) });
    registry.activate(row, hook(3), at(4)).unwrap();
    assert_eq!(related(&*registry, &moved), [(Some(2), false), (Some(3), false)]);
}

fn row_of(registry: &dyn Registry, id: i64) -> RowId {
    rows(registry).into_iter().find(|row| row.hook_id == HookId::new(id)).unwrap().row
}
