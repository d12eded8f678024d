//! Hooks of another registry are brought in: what is newer wins, nothing goes, and whoever is at work is left alone.

use bugfender_hooks::domain::{AppId, EventKind, HookId, HookRecord, HookStatus, RowId, Subscription, TargetUrl};
use bugfender_hooks::store::{Action, Change, Registry, Reservation, Restored, Store, SubscriptionIntent};

use crate::support::inbox::at;

const TARGET: &str = "https://hooks.example.com/bf";

fn to(app: i64, target: &str) -> Subscription {
    Subscription {
        origin: "https://here.example".parse().unwrap(),
        app_id: AppId::new(app).unwrap(),
        event: EventKind::NewCrash,
        target_url: TargetUrl::from_stored(target.to_owned()),
    }
}

/// A hook of another registry, which was recorded and last changed at these seconds.
fn hook(id: i64, app: i64, status: HookStatus, created: i64, updated: i64) -> HookRecord {
    HookRecord {
        row: RowId(0),
        hook_id: Some(HookId::new(id).unwrap()),
        subscription: to(app, TARGET),
        status,
        label: None,
        managed_by: None,
        replaces: None,
        reason: None,
        created_at: at(created),
        updated_at: at(updated),
    }
}

fn active(id: i64, app: i64, created: i64, updated: i64) -> HookRecord {
    hook(id, app, HookStatus::Active, created, updated)
}

/// A subscription that may have become a hook.
fn unknown(app: i64, created: i64) -> HookRecord {
    HookRecord { hook_id: None, ..hook(1, app, HookStatus::Unknown, created, created) }
}

fn labelled(hook: HookRecord, label: &str) -> HookRecord {
    HookRecord { label: Some(label.parse().unwrap()), ..hook }
}

fn restore(registry: &dyn Registry, hooks: &[HookRecord]) -> Vec<Restored> {
    let expected = registry.try_restore(hooks, at(100)).unwrap();
    let restored = registry.restore(hooks, at(100)).unwrap();
    assert_eq!(restored, expected, "what was foretold");
    restored
}

/// The rows, in the order of the registry, without the numbers of the rows.
fn rows(registry: &dyn Registry) -> Vec<HookRecord> {
    let mut rows = Vec::new();
    registry.hooks(None, &mut |row| rows.push(HookRecord { row: RowId(0), ..row })).unwrap();
    rows
}

fn actions(registry: &dyn Registry) -> Vec<Action> {
    let mut found = Vec::new();
    registry.history(None, None, None, &mut |change: Change| found.push(change.action)).unwrap();
    found
}

use Restored::{Added, Changed, Conflict, InProgress, Unchanged};

pub(super) fn what_is_brought_in_is_there_once(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let full = HookRecord {
        managed_by: Some("mobile".parse().unwrap()),
        replaces: HookId::new(3),
        reason: Some("no answer".to_owned()),
        ..labelled(hook(2, 2, HookStatus::Removing, 2, 5), "live")
    };
    let file = [active(1, 1, 1, 1), full, hook(3, 3, HookStatus::Removed, 1, 9), unknown(4, 4)];
    assert_eq!(registry.try_restore(&file, at(100)).unwrap(), [Added; 4]);
    assert!(rows(&*registry).is_empty() && actions(&*registry).is_empty());
    assert_eq!(restore(&*registry, &file), [Added; 4]);
    assert_eq!(rows(&*registry), file);
    assert_eq!(actions(&*registry), [Action::Imported; 4]);
    assert_eq!(restore(&*registry, &file), [Unchanged; 4]);
    assert_eq!((rows(&*registry).len(), actions(&*registry).len()), (4, 4));
    assert_eq!(restore(&*registry, &[]), []);
    registry.check().unwrap();
}

pub(super) fn what_is_newer_wins(store: &dyn Store) {
    let registry = store.registry().unwrap();
    restore(&*registry, &[active(1, 1, 1, 5), hook(2, 2, HookStatus::Gone, 1, 5)]);
    assert_eq!(restore(&*registry, &[labelled(active(1, 1, 1, 4), "old"), active(2, 2, 1, 4)]), [Unchanged; 2]);
    // Of the same second: changed by hand. What has ended does not come back so.
    assert_eq!(restore(&*registry, &[labelled(active(1, 1, 1, 5), "new"), active(2, 2, 1, 5)]), [Changed, Unchanged]);
    assert_eq!(restore(&*registry, &[hook(1, 1, HookStatus::Removed, 1, 6), active(2, 2, 1, 6)]), [Changed; 2]);
    let statuses: Vec<_> = rows(&*registry).into_iter().map(|row| row.status).collect();
    assert_eq!(statuses, [HookStatus::Removed, HookStatus::Active]);
}

pub(super) fn a_whole_url_is_not_replaced_by_a_redacted_one(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let with = |target: &str, updated| HookRecord { subscription: to(1, target), ..active(1, 1, 1, updated) };
    let (whole, hidden) = ("https://ci:s3cret@h.example.com/", "https://ci:****@h.example.com/");
    let known = || rows(&*registry)[0].subscription.target_url.expose().to_owned();
    assert_eq!(restore(&*registry, &[with(hidden, 1)]), [Added]);
    assert_eq!(restore(&*registry, &[with(whole, 1)]), [Changed]);
    assert_eq!(known(), whole);
    assert_eq!(restore(&*registry, &[with(hidden, 1)]), [Unchanged]);
    assert_eq!(restore(&*registry, &[labelled(with(hidden, 2), "x")]), [Changed]);
    assert_eq!(known(), whole);
    // Another password is another endpoint.
    assert_eq!(restore(&*registry, &[with("https://ci:0ther@h.example.com/", 3)]), [Conflict]);
}

pub(super) fn who_is_at_work_is_left_alone(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let intent = SubscriptionIntent::of(to(1, TARGET));
    let Reservation::Reserved(row) = registry.begin_subscribe(&intent, at(1)).unwrap() else { panic!() };
    restore(&*registry, &[active(2, 2, 1, 1)]);
    let mut second = RowId(0);
    registry.hooks(None, &mut |hook| second = hook.row).unwrap();
    registry.record_removals(&[], &[second], at(2)).unwrap();
    let other = store.registry().unwrap();
    let file = [active(1, 1, 1, 9), labelled(active(2, 2, 1, 9), "x"), active(3, 3, 1, 1)];
    assert_eq!(restore(&*other, &file), [InProgress, InProgress, Added]);
    assert_eq!(restore(&*other, &[HookRecord { updated_at: at(9), ..unknown(1, 1) }]), [InProgress]);
    assert_eq!(registry.activate(row, HookId::new(1).unwrap(), at(3)).unwrap().record.status, HookStatus::Active);
    assert_eq!(rows(&*registry)[1].status, HookStatus::Removing);
}

pub(super) fn what_was_in_doubt_becomes_the_hook(store: &dyn Store) {
    let registry = store.registry().unwrap();
    restore(&*registry, &[unknown(1, 1)]);
    assert_eq!(restore(&*registry, &[active(7, 1, 2, 2)]), [Changed]);
    assert_eq!(rows(&*registry), [active(7, 1, 2, 2)]);
    // The file of somebody who does not know that yet.
    assert_eq!(restore(&*registry, &[unknown(1, 1)]), [Unchanged]);
    assert_eq!(rows(&*registry).len(), 1);
    // The file of somebody who knows that, and has asked for another one.
    let both = [active(7, 1, 2, 2), unknown(1, 3)];
    assert_eq!(restore(&*registry, &both), [Unchanged, Added]);
    assert_eq!(restore(&*registry, &both), [Unchanged; 2]);
    assert_eq!(rows(&*registry), both);
}

pub(super) fn what_is_older_is_not_what_was_in_doubt(store: &dyn Store) {
    let registry = store.registry().unwrap();
    // The hook was there before somebody here asked for another one.
    restore(&*registry, &[unknown(1, 20)]);
    assert_eq!(restore(&*registry, &[active(5, 1, 10, 90)]), [Added]);
    assert_eq!(rows(&*registry), [unknown(1, 20), active(5, 1, 10, 90)]);
    // Of several the one that was recorded at the same time, or else the newest of those that are older.
    restore(&*registry, &[unknown(2, 20), unknown(2, 10), unknown(2, 30)]);
    assert_eq!(restore(&*registry, &[active(6, 2, 10, 10)]), [Changed]);
    assert_eq!(restore(&*registry, &[active(7, 2, 25, 25)]), [Changed]);
    assert_eq!(rows(&*registry)[2..], [active(7, 2, 25, 25), active(6, 2, 10, 10), unknown(2, 30)]);
    // The other way round: a hook from before is not what became of the request that the file has in doubt.
    restore(&*registry, &[active(8, 3, 10, 90)]);
    assert_eq!(restore(&*registry, &[unknown(3, 20)]), [Added]);
    assert_eq!(restore(&*registry, &[unknown(3, 5)]), [Unchanged]);
    assert_eq!(rows(&*registry).len(), 7);
}

pub(super) fn two_requests_in_doubt_are_two(store: &dyn Store) {
    let registry = store.registry().unwrap();
    restore(&*registry, &[unknown(1, 20)]);
    assert_eq!(restore(&*registry, &[unknown(1, 10)]), [Added]);
    assert_eq!(restore(&*registry, &[labelled(unknown(1, 30), "x")]), [Added]);
    // Of one second: each stays what it is.
    let file = [labelled(unknown(2, 5), "a"), labelled(unknown(2, 5), "b")];
    assert_eq!(restore(&*registry, &file), [Added; 2]);
    for _ in 0..2 {
        assert_eq!(restore(&*registry, &file), [Unchanged; 2]);
    }
    assert_eq!(rows(&*registry).len(), 5);
}

pub(super) fn several_rows_of_one_hook_stay_apart(store: &dyn Store) {
    let registry = store.registry().unwrap();
    // The server gave the number of a hook that had ended anew: for the same, and for another one.
    let file = [
        hook(7, 1, HookStatus::Removed, 1, 2),
        hook(7, 1, HookStatus::Gone, 3, 8),
        active(7, 2, 5, 5),
        unknown(3, 1),
        unknown(3, 2),
    ];
    assert_eq!(restore(&*registry, &file), [Added; 5]);
    assert_eq!(rows(&*registry), file);
    assert_eq!(restore(&*registry, &file), [Unchanged; 5]);
    assert_eq!(rows(&*registry), file);
}

pub(super) fn a_number_is_of_one_living_hook(store: &dyn Store) {
    let registry = store.registry().unwrap();
    restore(&*registry, &[active(7, 2, 1, 1)]);
    assert_eq!(restore(&*registry, &[active(7, 1, 2, 2), active(8, 3, 2, 2)]), [Conflict, Added]);
    // The one that held it has ended, which the same file says; the order does not matter.
    let file = [active(7, 1, 2, 2), hook(7, 2, HookStatus::Gone, 1, 2)];
    assert_eq!(restore(&*registry, &file), [Added, Changed]);
    // What was newer there does not bring back what has lost its number here.
    assert_eq!(restore(&*registry, &[active(7, 2, 1, 3)]), [Conflict]);
    assert_eq!(rows(&*registry).len(), 3);
}
