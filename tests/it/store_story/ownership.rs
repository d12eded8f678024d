//! Hooks that manifests own: many are begun and settled in a commit, owners and labels change, and one applies at a time.

use bugfender_hooks::domain::{
    ApiOrigin, AppId, EventKind, HookId, HookRecord, HookStatus, Label, ManifestName, RowId, Subscription, TargetUrl,
};
use bugfender_hooks::store::{
    Action, Activated, Change, Conflict, ManifestLock, OwnershipChange, Registry, Removal, Reservation, Store,
    SubscriptionEnd, SubscriptionIntent,
};

use super::ACTOR;
use crate::support::inbox::at;

const HERE: &str = "https://here.example";

fn origin(text: &str) -> ApiOrigin {
    text.parse().unwrap()
}

pub(super) fn name(text: &str) -> ManifestName {
    text.parse().unwrap()
}

pub(super) fn hook(id: i64) -> HookId {
    HookId::new(id).unwrap()
}

/// A target as it is stored, which may be redacted.
fn to(app: i64, target: &str) -> Subscription {
    Subscription {
        origin: origin(HERE),
        app_id: AppId::new(app).unwrap(),
        event: EventKind::NewCrash,
        target_url: TargetUrl::from_stored(target.to_owned()),
    }
}

pub(super) fn wanted(app: i64) -> Subscription {
    to(app, "https://hooks.example.com/bf")
}

pub(super) fn intent(wanted: Subscription) -> SubscriptionIntent {
    SubscriptionIntent {
        label: Some("live".parse().unwrap()),
        managed_by: Some(name("mobile")),
        replaces: HookId::new(99),
        ..SubscriptionIntent::of(wanted)
    }
}

pub(super) fn rows(registry: &dyn Registry) -> Vec<HookRecord> {
    let mut rows = Vec::new();
    registry.hooks(None, &mut |row| rows.push(row)).unwrap();
    rows
}

fn row(registry: &dyn Registry, app: i64) -> HookRecord {
    rows(registry).into_iter().find(|row| row.subscription.app_id.get() == app).unwrap()
}

/// What the history says, oldest first.
pub(super) fn changes(registry: &dyn Registry) -> Vec<(i64, Action)> {
    let mut found = Vec::new();
    let mut each = |change: Change| found.push((change.subscription.app_id.get(), change.action));
    registry.history(None, None, None, &mut each).unwrap();
    found.reverse();
    found
}

/// Begins all of them in one commit.
pub(super) fn begin(registry: &dyn Registry, intents: &[SubscriptionIntent]) -> Vec<Reservation> {
    registry.record_subscriptions(&[], intents, at(1)).unwrap().1
}

fn reserved(reservations: &[Reservation]) -> Vec<RowId> {
    let row = |reservation: &Reservation| match reservation {
        Reservation::Reserved(row) => *row,
        Reservation::Conflict(conflict) => panic!("it is blocked: {conflict:?}"),
    };
    reservations.iter().map(row).collect()
}

pub(super) fn end(registry: &dyn Registry, ends: &[(RowId, SubscriptionEnd)], second: i64) -> Vec<Option<Activated>> {
    registry.record_subscriptions(ends, &[], at(second)).unwrap().0
}

/// Makes a hook, and gives its row.
pub(super) fn make(registry: &dyn Registry, intent: SubscriptionIntent, id: i64) -> HookRecord {
    let row = reserved(&begin(registry, &[intent]))[0];
    end(registry, &[(row, SubscriptionEnd::Made(hook(id)))], 1).remove(0).unwrap().record
}

pub(super) fn ownership(row: RowId) -> OwnershipChange {
    OwnershipChange { row, managed_by: name("mobile"), label: Some("live".parse().unwrap()), target_url: None }
}

pub(super) fn a_batch_ends_some_and_begins_others(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let begun = reserved(&begin(&*registry, &[1, 2, 3].map(|app| intent(wanted(app)))));
    let pending = rows(&*registry);
    assert_eq!(pending.iter().map(|row| row.row).collect::<Vec<_>>(), begun);
    for row in pending {
        let said = (row.status, row.label.as_ref().map(Label::as_str), row.managed_by, row.replaces);
        assert_eq!(said, (HookStatus::Pending, Some("live"), Some(name("mobile")), HookId::new(99)));
    }
    let nothing = RowId(begun.iter().map(|row| row.0).sum());
    let ends = [
        (begun[1], SubscriptionEnd::InDoubt("no answer".to_owned())),
        (begun[0], SubscriptionEnd::Made(hook(7))),
        (begun[2], SubscriptionEnd::Abandoned),
        (nothing, SubscriptionEnd::Made(hook(8))),
        (nothing, SubscriptionEnd::InDoubt("no answer".to_owned())),
        (nothing, SubscriptionEnd::Abandoned),
    ];
    // What has ended is not in the way of what begins in the same commit, unless a hook was made, or may have been.
    let intents = [3, 1, 2, 4].map(|app| SubscriptionIntent::of(wanted(app)));
    let (ended, answers) = registry.record_subscriptions(&ends, &intents, at(2)).unwrap();
    let said = |ended: &Activated| {
        assert_eq!(ended.displaced, None);
        (ended.record.row, ended.record.hook_id, ended.record.status, ended.record.managed_by.clone())
    };
    let owner = Some(name("mobile"));
    let doubtful = (begun[1], None, HookStatus::Unknown, owner.clone());
    let made = (begun[0], HookId::new(7), HookStatus::Active, owner);
    let ended: Vec<_> = ended.iter().map(|ended| ended.as_ref().map(said)).collect();
    assert_eq!(ended, [Some(doubtful), Some(made), None, None, None, None]);
    let [Reservation::Reserved(third), Reservation::Conflict(first), Reservation::Conflict(second), last] =
        &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert!(matches!(first, Conflict::Exists(found) if found.hook_id == HookId::new(7)));
    assert!(matches!(second, Conflict::Unresolved(found) if found.row == begun[1]));
    assert!(matches!(last, Reservation::Reserved(_)));
    let third = (*third, HookStatus::Pending, None);
    let now = row(&*registry, 3);
    assert_eq!((now.row, now.status, now.managed_by), third);
    let statuses: Vec<_> = rows(&*registry).into_iter().map(|row| row.status).collect();
    assert_eq!(statuses, [HookStatus::Active, HookStatus::Unknown, HookStatus::Pending, HookStatus::Pending]);
    let first_three = [1, 2, 3].map(|app| (app, Action::BeganSubscribe));
    let ended = [
        (2, Action::LeftInDoubt),
        (1, Action::Subscribed),
        (3, Action::Abandoned),
        (3, Action::BeganSubscribe),
        (4, Action::BeganSubscribe),
    ];
    let mut told = changes(&*registry);
    assert_eq!(told.drain(..3).collect::<Vec<_>>(), first_three);
    // Those of one commit in any order.
    for change in ended {
        let place = told.iter().position(|told| *told == change);
        told.remove(place.unwrap_or_else(|| panic!("{change:?} is not in {told:?}")));
    }
    assert_eq!(told, []);
    // A process that ends leaves what it was at work on in doubt, as it was asked for.
    drop(registry);
    let registry = store.registry().unwrap();
    assert_eq!(row(&*registry, 3).status, HookStatus::Unknown);
}

pub(super) fn a_batch_asks_for_each_but_once(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let there = Subscription { origin: origin("https://there.example"), ..wanted(1) };
    let intents = [
        wanted(1),
        wanted(1),
        there,
        // What differs by its password is another endpoint, unless it is redacted.
        to(2, "https://u:one@h.example/"),
        to(2, "https://u:two@h.example/"),
        to(2, "https://u:****@h.example/"),
        to(2, "https://u:two@h.example/"),
    ];
    let answers = begin(&*registry, &intents.map(intent));
    let is_reserved: Vec<_> = answers.iter().map(|answer| matches!(answer, Reservation::Reserved(_))).collect();
    assert_eq!(is_reserved, [true, false, true, true, true, false, false]);
    assert_eq!(rows(&*registry).len(), 4);
    // The same as in calls of their own.
    let again = registry.begin_subscribe(&intent(to(2, "https://u:three@h.example/")), at(2)).unwrap();
    assert!(matches!(again, Reservation::Reserved(_)));
    let force = SubscriptionIntent { force: true, ..intent(wanted(1)) };
    assert!(matches!(begin(&*registry, &[force])[0], Reservation::Reserved(_)));
}

pub(super) fn a_redacted_password_is_any(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let (hidden, whole) = ("https://u:****@h.example/x", "https://u:secret@h.example/x");
    make(&*registry, intent(to(1, hidden)), 1);
    make(&*registry, intent(to(2, whole)), 2);
    for (app, target) in [(1, whole), (2, hidden)] {
        let wanted = to(app, target);
        assert!(matches!(registry.find_conflict(&wanted).unwrap(), Some(Conflict::Exists(_))), "{target}");
        let single = registry.begin_subscribe(&SubscriptionIntent::of(wanted.clone()), at(2)).unwrap();
        assert!(matches!(single, Reservation::Conflict(Conflict::Exists(_))), "{target}");
        let batch = begin(&*registry, &[SubscriptionIntent::of(wanted)]);
        assert!(matches!(batch[0], Reservation::Conflict(Conflict::Exists(_))), "{target}");
    }
    for other in ["https://u:secret@h.example/y", "https://v:secret@h.example/x", "https://h.example/x"] {
        assert!(registry.find_conflict(&to(1, other)).unwrap().is_none(), "{other}");
    }
}

pub(super) fn a_number_given_anew_keeps_the_owner(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let first = make(&*registry, SubscriptionIntent::of(wanted(1)), 7);
    assert_eq!((first.managed_by, first.replaces), (None, None));
    // The same subscription: the row that was there becomes the one that was asked for.
    let again = SubscriptionIntent { force: true, ..intent(wanted(1)) };
    let again = make(&*registry, again, 7);
    assert_eq!((again.row, again.managed_by, again.replaces), (first.row, Some(name("mobile")), HookId::new(99)));
    // If it asks for nothing, they stay.
    let plain = SubscriptionIntent { force: true, ..SubscriptionIntent::of(wanted(1)) };
    let plain = make(&*registry, plain, 7);
    assert_eq!((plain.row, plain.managed_by, plain.replaces), (first.row, Some(name("mobile")), HookId::new(99)));
    assert_eq!(plain.label.unwrap().as_str(), "live");
    // Another subscription.
    let row = reserved(&begin(&*registry, &[intent(wanted(2))]))[0];
    let activated = end(&*registry, &[(row, SubscriptionEnd::Made(hook(7)))], 2).remove(0).unwrap();
    assert_eq!(activated.displaced.map(|row| (row.row, row.status)), Some((first.row, HookStatus::Gone)));
    assert_eq!(activated.record.row, row);
    // Two of a batch.
    let two = reserved(&begin(&*registry, &[3, 4].map(|app| intent(wanted(app)))));
    let ends = two.iter().map(|row| (*row, SubscriptionEnd::Made(hook(7)))).collect::<Vec<_>>();
    let ended = end(&*registry, &ends, 3);
    let displaced = |place: usize| ended[place].as_ref().unwrap().displaced.as_ref().map(|row| row.row);
    assert_eq!((displaced(0), displaced(1)), (Some(row), Some(two[0])));
    assert_eq!(row_statuses(&*registry), [HookStatus::Gone, HookStatus::Gone, HookStatus::Gone, HookStatus::Active]);
}

pub(super) fn row_statuses(registry: &dyn Registry) -> Vec<HookStatus> {
    rows(registry).into_iter().map(|row| row.status).collect()
}

pub(super) fn an_import_keeps_the_owner(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let begun = reserved(&begin(&*registry, &[intent(wanted(1))]))[0];
    end(&*registry, &[(begun, SubscriptionEnd::InDoubt("no answer".to_owned()))], 1);
    let expected = (begun, HookStatus::Active, Some(name("mobile")), HookId::new(99));
    for label in [None, Some("other".parse().unwrap())] {
        let (imported, changed) = registry.import(hook(7), &wanted(1), label.as_ref(), at(2)).unwrap();
        assert!(changed);
        assert_eq!((imported.row, imported.status, imported.managed_by, imported.replaces), expected);
    }
    // What was removed and is there nevertheless.
    registry.record_removals(&[], &[begun], at(3)).unwrap();
    registry.record_removals(&[(begun, Removal::Gone)], &[], at(3)).unwrap();
    let (imported, _) = registry.import(hook(7), &wanted(1), None, at(4)).unwrap();
    assert_eq!((imported.row, imported.status, imported.managed_by, imported.replaces), expected);
    registry.forget(begun).unwrap();
    assert_eq!(registry.import(hook(7), &wanted(1), None, at(5)).unwrap().0.managed_by, None);
}

pub(super) fn a_manifest_takes_what_nobody_owns(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let hidden = "https://u:****@h.example/x";
    let free = make(&*registry, SubscriptionIntent::of(wanted(1)), 1);
    let own = make(&*registry, intent(to(2, hidden)), 2);
    let others = make(&*registry, SubscriptionIntent { managed_by: Some(name("web")), ..intent(wanted(3)) }, 3);
    let pending = reserved(&begin(&*registry, &[SubscriptionIntent::of(wanted(4))]))[0];
    let told = changes(&*registry);
    let before = rows(&*registry);
    // Not there, not a hook yet, another's; and one that is as it should be.
    let all = [RowId(free.row.0 + pending.0), pending, others.row, own.row].map(ownership);
    let managed = registry.manage(&all, at(5)).unwrap();
    assert_eq!(managed, [None, None, None, Some(own.clone())]);
    assert_eq!((rows(&*registry), changes(&*registry)), (before, told.clone()));
    // Nobody's, the label of its own, both in one commit with one that is refused.
    let label = OwnershipChange { label: None, ..ownership(own.row) };
    let managed = registry.manage(&[ownership(free.row), ownership(others.row), label], at(6)).unwrap();
    let said = |record: &Option<HookRecord>| {
        record.as_ref().map(|record| {
            let label = record.label.as_ref().map(|label| label.as_str().to_owned());
            (record.row, record.managed_by.clone(), label, record.replaces, record.updated_at)
        })
    };
    let adopted = (free.row, Some(name("mobile")), Some("live".to_owned()), None, at(6));
    let relabeled = (own.row, Some(name("mobile")), None, HookId::new(99), at(6));
    assert_eq!(managed.iter().map(said).collect::<Vec<_>>(), [Some(adopted), None, Some(relabeled)]);
    assert_eq!(changes(&*registry)[told.len()..], [(1, Action::Adopted), (2, Action::Relabeled)]);
    assert_eq!(managed[0].as_ref().unwrap(), &row(&*registry, 1));
}

pub(super) fn a_redacted_password_is_restored(store: &dyn Store) {
    let registry = store.registry().unwrap();
    let own = make(&*registry, intent(to(1, "https://u:****@h.example/x")), 1);
    let give = |target: &str, second: i64| {
        let target_url = Some(TargetUrl::from_stored(target.to_owned()));
        registry.manage(&[OwnershipChange { target_url, ..ownership(own.row) }], at(second)).unwrap();
        row(&*registry, 1).subscription.target_url.expose().to_owned()
    };
    assert_eq!(give("https://u:secret@h.example/y", 2), "https://u:****@h.example/x");
    assert_eq!(give("https://h.example/x", 2), "https://u:****@h.example/x");
    assert_eq!(row(&*registry, 1).updated_at, at(1));
    assert_eq!(give("https://u:secret@h.example/x", 3), "https://u:secret@h.example/x");
    assert_eq!(row(&*registry, 1).updated_at, at(3));
    // One that is known stays, and is not hidden again.
    assert_eq!(give("https://u:other@h.example/x", 4), "https://u:secret@h.example/x");
    assert_eq!(give("https://u:****@h.example/x", 4), "https://u:secret@h.example/x");
    assert_eq!(row(&*registry, 1).updated_at, at(3));
}

pub(super) fn a_manifest_is_applied_by_one_at_a_time(store: &dyn Store) {
    let (here, there) = (origin(HERE), origin("https://there.example"));
    let (mobile, web) = (name("mobile"), name("web"));
    let (first, second) = (store.registry().unwrap(), store.registry().unwrap());
    let lock = |registry: &dyn Registry, origin: &ApiOrigin, name: &ManifestName, second| {
        let lock = registry.lock_manifest(origin, name, at(second)).unwrap();
        match lock {
            ManifestLock::Granted => None,
            ManifestLock::HeldBy { actor, since, .. } => Some((actor.as_str().to_owned(), since)),
        }
    };
    assert!(!first.renew_manifest_lock(&here, &mobile).unwrap());
    assert_eq!(lock(&*first, &here, &mobile, 1), None);
    assert_eq!(lock(&*first, &here, &mobile, 2), None);
    assert_eq!(lock(&*second, &here, &mobile, 3), Some((ACTOR.to_owned(), at(2))));
    // Another manifest, another installation.
    assert_eq!((lock(&*second, &here, &web, 3), lock(&*second, &there, &mobile, 3)), (None, None));
    assert!(lock(&*first, &here, &web, 4).is_some() && lock(&*first, &there, &mobile, 4).is_some());
    // Nobody but the holder renews it or gives it back.
    let renews = |registry: &dyn Registry| registry.renew_manifest_lock(&here, &mobile).unwrap();
    assert!(renews(&*first) && !renews(&*second));
    second.unlock_manifest(&here, &mobile).unwrap();
    assert_eq!(lock(&*second, &here, &mobile, 5), Some((ACTOR.to_owned(), at(2))));
    first.unlock_manifest(&here, &mobile).unwrap();
    assert!(!renews(&*first));
    assert_eq!(lock(&*second, &here, &mobile, 6), None);
    assert!(renews(&*second) && !renews(&*first));
    assert_eq!(lock(&*first, &here, &mobile, 7), Some((ACTOR.to_owned(), at(6))));
    // Whoever ends gives all of them back.
    drop(second);
    assert_eq!((lock(&*first, &here, &mobile, 8), lock(&*first, &here, &web, 8)), (None, None));
    assert_eq!(rows(&*first), []);
}
