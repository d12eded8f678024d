//! Several who change the same hooks at once.

use std::sync::Barrier;
use std::thread;

use bugfender_hooks::domain::{HookStatus, RowId};
use bugfender_hooks::store::{
    Action, OwnershipChange, Registry, Reservation, Store, SubscriptionEnd, SubscriptionIntent,
};

use super::ownership::{begin, changes, end, hook, intent, make, name, ownership, row_statuses, rows, wanted};
use crate::support::inbox::at;

pub(super) fn batches_with_the_same_make_one_of_each(store: &dyn Store) {
    // More than a few, which some libraries treat in another way.
    const APPS: i64 = 40;
    const ROUNDS: i64 = 3;
    store.registry().unwrap();
    let together = Barrier::new(2);
    let apply = |thread: i64| {
        let registry = store.registry().unwrap();
        let mut made = 0;
        for round in 0..ROUNDS {
            let mut apps: Vec<i64> = (1..=APPS).map(|app| round * APPS + app).collect();
            if thread == 1 {
                apps.reverse();
            }
            let intents: Vec<_> = apps.iter().map(|app| intent(wanted(*app))).collect();
            together.wait();
            let answers = begin(&*registry, &intents);
            let ends: Vec<_> = apps
                .iter()
                .zip(&answers)
                .filter_map(|(app, answer)| match answer {
                    Reservation::Reserved(row) => Some((*row, SubscriptionEnd::Made(hook(1000 + app * 2 + thread)))),
                    Reservation::Conflict(_) => None,
                })
                .collect();
            made += end(&*registry, &ends, 2).iter().flatten().count();
        }
        made
    };
    let made: usize = thread::scope(|scope| {
        let threads = [0, 1].map(|thread| scope.spawn(move || apply(thread)));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let expected = usize::try_from(APPS * ROUNDS).unwrap();
    let registry = store.registry().unwrap();
    assert_eq!((made, row_statuses(&*registry)), (expected, vec![HookStatus::Active; expected]));
}

/// Makes hooks that nobody owns, and gives their rows.
fn make_free(registry: &dyn Registry, number: i64) -> Vec<RowId> {
    let intents: Vec<_> = (1..=number).map(|app| SubscriptionIntent::of(wanted(app))).collect();
    let ends: Vec<_> = begin(registry, &intents)
        .iter()
        .zip(1..)
        .map(|(answer, id)| match answer {
            Reservation::Reserved(row) => (*row, SubscriptionEnd::Made(hook(id))),
            Reservation::Conflict(conflict) => panic!("it is blocked: {conflict:?}"),
        })
        .collect();
    end(registry, &ends, 1);
    ends.into_iter().map(|(row, _)| row).collect()
}

pub(super) fn two_manifests_share_what_nobody_owns(store: &dyn Store) {
    const HOOKS: i64 = 60;
    let free = make_free(&*store.registry().unwrap(), HOOKS);
    let together = Barrier::new(2);
    let adopt = |manifest: &str, free: Vec<RowId>| {
        let registry = store.registry().unwrap();
        let changes: Vec<_> =
            free.into_iter().map(|row| OwnershipChange { managed_by: name(manifest), ..ownership(row) }).collect();
        together.wait();
        let managed = registry.manage(&changes, at(2)).unwrap();
        for (change, record) in changes.iter().zip(&managed) {
            let owned = record.as_ref().map(|record| (record.row, record.managed_by.as_ref()));
            assert!(owned.is_none_or(|owned| owned == (change.row, Some(&change.managed_by))), "{record:?}");
        }
        managed.iter().flatten().count()
    };
    let reversed = free.iter().rev().copied().collect();
    let adopted: usize = thread::scope(|scope| {
        let threads = [scope.spawn(|| adopt("mobile", free)), scope.spawn(|| adopt("web", reversed))];
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let expected = usize::try_from(HOOKS).unwrap();
    let registry = store.registry().unwrap();
    let told = changes(&*registry).into_iter().filter(|(_, action)| *action == Action::Adopted).count();
    assert_eq!((adopted, told), (expected, expected));
    assert!(rows(&*registry).iter().all(|row| row.managed_by.is_some()));
}

pub(super) fn of_two_owners_in_a_batch_the_first_gets_it(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let free = make(&*registry, SubscriptionIntent::of(wanted(1)), 1).row;
    let change = |manifest: &str| OwnershipChange { managed_by: name(manifest), ..ownership(free) };
    let managed = registry.manage(&[change("web"), change("mobile"), change("web")], at(2)).unwrap();
    let owners: Vec<_> = managed.into_iter().map(|record| record.and_then(|record| record.managed_by)).collect();
    assert_eq!(owners, [Some(name("web")), None, Some(name("web"))]);
    assert_eq!(changes(&*registry).last(), Some(&(1, Action::Adopted)));
}
