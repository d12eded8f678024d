//! Hooks are recorded before they are made, and until they surely are no more.

use bugfender_hooks::domain::{HookId, HookRecord, HookStatus, RowId, Subscription};
use bugfender_hooks::store::{
    Action, Change, Conflict, Registry, Removal, RemovalReservation, Reservation, Store, SubscriptionIntent,
};

use super::ACTOR;
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

fn begin(registry: &dyn Registry, wanted: &Subscription) -> RowId {
    let Reservation::Reserved(row) = registry.begin_subscribe(&SubscriptionIntent::of(wanted.clone()), at(1)).unwrap()
    else {
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
        registry.begin_subscribe(&SubscriptionIntent::of(wanted.clone()), at(1)).unwrap(),
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

fn history(registry: &dyn Registry, origin: Option<&str>, hook: Option<i64>, limit: Option<u64>) -> Vec<Change> {
    let mut found = Vec::new();
    let origin = origin.map(|origin| origin.parse().unwrap());
    registry.history(origin.as_ref(), hook.and_then(HookId::new), limit, &mut |change| found.push(change)).unwrap();
    found
}

fn actions(registry: &dyn Registry, hook: Option<i64>) -> Vec<Action> {
    history(registry, None, hook, None).into_iter().map(|change| change.action).collect()
}

/// Subscribes an app at this second, and gives the row.
fn subscribe(registry: &dyn Registry, app: i64, hook: i64, second: i64) -> RowId {
    let begun = registry
        .begin_subscribe(
            &SubscriptionIntent { force: true, ..SubscriptionIntent::of(subscription(app, HERE)) },
            at(second),
        )
        .unwrap();
    let Reservation::Reserved(row) = begun else { panic!("it is blocked") };
    registry.activate(row, HookId::new(hook).unwrap(), at(second)).unwrap().record.row
}

pub(super) fn every_change_is_in_the_history(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let removal = |row, end, second| {
        registry.record_removals(&[], &[row], at(second)).unwrap();
        registry.record_removals(&[(row, end)], &[], at(second)).unwrap();
    };
    let removed = subscribe(&*registry, 1, 7, 1);
    removal(removed, Removal::InDoubt("no answer".to_owned()), 2);
    removal(removed, Removal::Refused, 3);
    removal(removed, Removal::Removed, 4);
    let gone = subscribe(&*registry, 2, 8, 5);
    removal(gone, Removal::Gone, 6);
    let doubtful = subscription(3, HERE);
    let Reservation::Reserved(row) =
        registry.begin_subscribe(&SubscriptionIntent::of(doubtful.clone()), at(7)).unwrap()
    else {
        panic!()
    };
    registry.leave_in_doubt(row, "timed out", at(8)).unwrap();
    registry.import(HookId::new(9).unwrap(), &doubtful, None, at(9)).unwrap();
    registry.import(HookId::new(9).unwrap(), &doubtful, Some(&"ci".parse().unwrap()), at(10)).unwrap();
    registry.forget(row).unwrap();
    let Reservation::Reserved(row) =
        registry.begin_subscribe(&SubscriptionIntent::of(doubtful.clone()), at(11)).unwrap()
    else {
        panic!()
    };
    registry.abandon(row).unwrap();
    drop(registry);
    // Whoever opens it later finds the same.
    let registry = store.existing_registry(None).unwrap().unwrap();
    let changes = history(&*registry, Some(HERE), None, None);
    assert!(changes.is_sorted_by(|newer, older| newer.number > older.number));
    assert!(
        changes
            .iter()
            .all(|change| change.actor.as_str() == ACTOR && change.subscription.target_url == doubtful.target_url)
    );
    let told: Vec<_> = changes
        .iter()
        .rev()
        .map(|change| {
            let hook = change.hook_id.map_or(0, HookId::get);
            // The clock says when a row was deleted.
            let second = if change.at < at(100) { change.at.as_second() - at(0).as_second() } else { 100 };
            (
                second,
                change.action,
                change.subscription.app_id.get(),
                hook,
                change.reason.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    let expected = [
        (1, Action::BeganSubscribe, 1, 0, ""),
        (1, Action::Subscribed, 1, 7, ""),
        (2, Action::BeganRemoval, 1, 7, ""),
        (2, Action::RemovalInDoubt, 1, 7, "no answer"),
        (3, Action::BeganRemoval, 1, 7, ""),
        (3, Action::RemovalRefused, 1, 7, ""),
        (4, Action::BeganRemoval, 1, 7, ""),
        (4, Action::Removed, 1, 7, ""),
        (5, Action::BeganSubscribe, 2, 0, ""),
        (5, Action::Subscribed, 2, 8, ""),
        (6, Action::BeganRemoval, 2, 8, ""),
        (6, Action::Gone, 2, 8, ""),
        (7, Action::BeganSubscribe, 3, 0, ""),
        (8, Action::LeftInDoubt, 3, 0, "timed out"),
        (9, Action::Imported, 3, 9, ""),
        (10, Action::Relabeled, 3, 9, ""),
        (100, Action::Forgotten, 3, 9, ""),
        (11, Action::BeganSubscribe, 3, 0, ""),
        (100, Action::Abandoned, 3, 0, ""),
    ];
    assert_eq!(told, expected);
}

pub(super) fn a_hook_has_the_history_of_all_its_rows(store: &dyn Store) {
    use Action::{BeganSubscribe, Displaced, Forgotten, Imported, Merged, Subscribed};
    let registry = store.registry().unwrap();
    let first = subscribe(&*registry, 1, 7, 1);
    // The server gave the number anew, to another subscription; and again, to the same one.
    let second = subscribe(&*registry, 2, 7, 2);
    assert_eq!(subscribe(&*registry, 2, 7, 3), second);
    subscribe(&*registry, 3, 8, 4);
    let newest_first =
        [Subscribed, Merged, BeganSubscribe, Subscribed, Displaced, BeganSubscribe, Subscribed, BeganSubscribe];
    assert_eq!(actions(&*registry, Some(7)), newest_first);
    let changes = history(&*registry, Some(HERE), Some(7), None);
    let rows: Vec<_> = changes.iter().map(|change| change.row).collect();
    assert!(rows[0] == second && rows[1] == rows[2] && rows[1..3] != [second; 2]);
    assert_eq!(rows[3..], [second, first, second, first, first]);
    assert_eq!(changes[1].hook_id, HookId::new(7));
    // What is forgotten stays in it.
    registry.forget(second).unwrap();
    assert_eq!(actions(&*registry, Some(7))[..4], [Forgotten, Subscribed, Merged, BeganSubscribe]);
    assert_eq!(actions(&*registry, Some(8)), [Subscribed, BeganSubscribe]);
    assert_eq!(actions(&*registry, Some(9)), []);
    // A number means another hook at another installation.
    let there = "https://there.example";
    registry.import(HookId::new(7).unwrap(), &subscription(1, there), None, at(5)).unwrap();
    let at_both = |limit| {
        let actions = |origin| history(&*registry, origin, Some(7), limit).iter().map(|change| change.action).collect();
        (actions(Some(HERE)), actions(Some(there)), actions(None))
    };
    let (here, there, everywhere): (Vec<_>, Vec<_>, Vec<_>) = at_both(None);
    assert_eq!((here.len(), &there[..], everywhere.len()), (9, &[Imported][..], 10));
    assert_eq!(at_both(Some(2)), (vec![Forgotten, Subscribed], vec![Imported], vec![Imported, Forgotten]));
    assert_eq!(history(&*registry, Some("https://nowhere.example"), None, None), []);
}

pub(super) fn what_changes_nothing_is_not_in_the_history(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let (wanted, hook) = (subscription(1, HERE), HookId::new(7).unwrap());
    let row = subscribe(&*registry, 1, 7, 1);
    let other = begin(&*registry, &subscription(2, HERE));
    let before = history(&*registry, None, None, None);
    // It exists, is on record, or is no hook any more.
    assert!(matches!(
        registry.begin_subscribe(&SubscriptionIntent::of(wanted.clone()), at(2)).unwrap(),
        Reservation::Conflict(_)
    ));
    assert!(!registry.import(hook, &wanted, None, at(2)).unwrap().1);
    assert!(registry.import(hook, &subscription(3, HERE), None, at(2)).is_err());
    registry.abandon(row).unwrap();
    // Somebody is at work on it.
    assert!(registry.forget(other).is_err());
    let (_, intents) = registry.record_removals(&[], &[other], at(2)).unwrap();
    assert!(matches!(intents[..], [RemovalReservation::InProgress]));
    // It is not there.
    let nothing = RowId(row.0 + other.0);
    assert!(registry.activate(nothing, HookId::new(8).unwrap(), at(2)).is_err());
    assert!(registry.leave_in_doubt(nothing, "no answer", at(2)).is_err());
    registry.forget(nothing).unwrap();
    registry.abandon(nothing).unwrap();
    let (ended, intents) = registry.record_removals(&[(nothing, Removal::Removed)], &[nothing], at(2)).unwrap();
    assert!(ended == [None] && matches!(intents[..], [RemovalReservation::Forgotten]));
    assert_eq!(history(&*registry, None, None, None), before);
}
