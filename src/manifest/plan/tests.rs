//! The plan in tables of cases, and its properties.

use std::collections::BTreeMap;
use std::slice::from_ref;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::{AppId, EventKind, Label, RowId, Subscription, TargetUrl};
use crate::error::TextPlace;

const ORIGIN: &str = "https://bf.example";

fn origin() -> ApiOrigin {
    ORIGIN.parse().unwrap()
}

fn name(text: &str) -> ManifestName {
    text.parse().unwrap()
}

fn target(path: &str) -> TargetUrl {
    format!("https://hooks.example.com/{path}").parse().unwrap()
}

fn label(text: &str) -> Option<Label> {
    (!text.is_empty()).then(|| text.parse().unwrap())
}

/// A wanted hook for new crashes of app 1 or another.
fn wanted(app: i64, path: &str, of: &str) -> WantedHook {
    WantedHook {
        app_id: AppId::new(app).unwrap(),
        app: None,
        event: EventKind::ALL[0],
        target_url: target(path),
        shown_target: path.to_owned(),
        is_secret: false,
        label: label(of),
        place: TextPlace { file: "hooks.toml".to_owned(), line: 1, column: 1 },
    }
}

fn record(id: i64, wanted: &WantedHook, owner: &str) -> HookRecord {
    HookRecord {
        row: RowId(id),
        hook_id: HookId::new(id),
        subscription: Subscription {
            origin: origin(),
            app_id: wanted.app_id,
            event: wanted.event,
            target_url: wanted.target_url.clone(),
        },
        status: HookStatus::Active,
        label: wanted.label.clone(),
        managed_by: (!owner.is_empty()).then(|| name(owner)),
        replaces: None,
        reason: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

fn plan(hooks: &[WantedHook], records: &[HookRecord], options: PlanOptions) -> Plan {
    let manifest = Manifest { name: name("mobile"), hooks: hooks.to_vec() };
    Plan::new(manifest, &origin(), options, records.to_vec())
}

const NOTHING: PlanOptions = PlanOptions { prune: false, adopt: false };
const PRUNE: PlanOptions = PlanOptions { prune: true, adopt: false };

/// The actions, each with the hook on record.
fn actions(plan: &Plan) -> Vec<(&'static str, Option<i64>)> {
    let hook = |hook: &PlannedHook| hook.record.as_ref().and_then(|record| record.hook_id).map(HookId::get);
    plan.hooks.iter().map(|planned| (planned.action.as_str(), hook(planned))).collect()
}

#[test]
fn what_is_not_there_is_created_and_what_is_there_is_kept() {
    let (a, b) = (wanted(1, "a", ""), wanted(2, "b", "x"));
    let records = [record(7, &a, "mobile")];
    assert_eq!(actions(&plan(&[b.clone(), a.clone()], &records, NOTHING)), [("keep", Some(7)), ("create", None)]);
    let relabelled = wanted(1, "a", "new");
    assert_eq!(actions(&plan(&[relabelled], &records, NOTHING)), [("relabel", Some(7))]);
}

#[test]
fn a_changed_target_replaces_the_hook_with_the_same_label() {
    let (prod, staging) = (wanted(1, "prod", "prod"), wanted(1, "staging", "staging"));
    let records = [record(1, &prod, "mobile"), record(2, &staging, "mobile")];
    let moved = wanted(1, "prod-2", "prod");
    assert_eq!(actions(&plan(&[moved, staging.clone()], &records, NOTHING)), [("replace", Some(1)), ("keep", Some(2))]);
    // With another label it is another hook: the one of production is not removed for one of development.
    let other = wanted(1, "dev", "dev");
    assert_eq!(
        actions(&plan(&[other.clone(), staging.clone()], &records, NOTHING)),
        [("create", None), ("extra", Some(1)), ("keep", Some(2))]
    );
    assert_eq!(
        actions(&plan(&[other, staging], &records, PRUNE)),
        [("create", None), ("remove", Some(1)), ("keep", Some(2))]
    );
}

#[test]
fn two_endpoints_made_one_leave_both_old_hooks_unless_pruned() {
    let records = [record(1, &wanted(1, "a", ""), "mobile"), record(2, &wanted(1, "b", ""), "mobile")];
    let merged = [wanted(1, "c", "")];
    let left = actions(&plan(&merged, &records, NOTHING));
    assert_eq!(left, [("extra", Some(1)), ("extra", Some(2)), ("create", None)]);
    assert_eq!(actions(&plan(&merged, &records, PRUNE)), [("remove", Some(2)), ("replace", Some(1))]);
}

#[test]
fn hooks_of_others_are_not_touched() {
    let a = wanted(1, "a", "x");
    let unowned = [HookRecord { label: None, ..record(1, &a, "") }];
    assert_eq!(actions(&plan(from_ref(&a), &unowned, NOTHING)), [("unowned", Some(1))]);
    assert_eq!(actions(&plan(from_ref(&a), &unowned, PlanOptions { adopt: true, prune: true })), [("adopt", Some(1))]);
    let foreign = [record(1, &a, "web")];
    assert_eq!(
        actions(&plan(from_ref(&a), &foreign, PlanOptions { adopt: true, prune: true })),
        [("foreign", Some(1))]
    );
    // A second hook for what a wanted one does is named.
    let own = record(2, &a, "mobile");
    assert_eq!(
        actions(&plan(from_ref(&a), &[own, unowned[0].clone()], PlanOptions { adopt: true, prune: true })),
        [("keep", Some(2)), ("unowned", Some(1))]
    );
    // What the manifest does not name and does not own is not in the plan.
    let other = wanted(1, "b", "x");
    assert_eq!(
        actions(&plan(&[other], &[unowned, foreign].concat(), PlanOptions { adopt: true, prune: true })),
        [("create", None)]
    );
}

#[test]
fn a_replacement_that_was_cut_short_is_finished() {
    let (old, new) = (wanted(1, "old", ""), wanted(1, "new", ""));
    let old_record = record(1, &old, "mobile");
    let new_record = HookRecord { replaces: HookId::new(1), ..record(2, &new, "mobile") };
    let both = [old_record.clone(), new_record.clone()];
    let finished = plan(from_ref(&new), &both, NOTHING);
    assert_eq!(actions(&finished), [("keep", Some(2)), ("remove", Some(1))]);
    assert_eq!(finished.hooks[1].removal, Some(RemovalReason::Superseded(HookId::new(2))));
    // Undone before it was finished.
    assert_eq!(actions(&plan(from_ref(&old), &both, NOTHING)), [("remove", Some(2)), ("keep", Some(1))]);
    // Not known whether the new one exists: the old one stays, even with --prune.
    let in_doubt = HookRecord { status: HookStatus::Unknown, hook_id: None, ..new_record };
    let both = [old_record, in_doubt];
    assert_eq!(actions(&plan(&[new], &both, PRUNE)), [("unknown", None), ("extra", Some(1))]);
    let removing = [HookRecord { status: HookStatus::Removing, ..both[0].clone() }, both[1].clone()];
    assert_eq!(actions(&plan(&[wanted(1, "new", "")], &removing, PRUNE)), [("unknown", None), ("extra", Some(1))]);
    // A removal that began is finished, and a hook that is wanted again is made first.
    let removing = [HookRecord { status: HookStatus::Removing, ..record(1, &old, "mobile") }];
    assert_eq!(actions(&plan(&[], &removing, NOTHING)), [("remove", Some(1))]);
    assert_eq!(actions(&plan(&[old], &removing, NOTHING)), [("replace", Some(1))]);
}

#[test]
fn of_two_hooks_for_the_same_the_successor_stays() {
    let hook = wanted(1, "a", "");
    let successor = |of: i64, owner| HookRecord { replaces: HookId::new(of), ..record(2, &hook, owner) };
    let both = [record(1, &hook, "mobile"), successor(1, "mobile")];
    let finished = plan(from_ref(&hook), &both, NOTHING);
    assert_eq!(actions(&finished), [("remove", Some(1)), ("keep", Some(2))]);
    // Whoever made it, a successor that nobody owns is the one to adopt.
    let free = [record(1, &hook, ""), successor(1, "")];
    let adopt = PlanOptions { adopt: true, prune: false };
    assert_eq!(actions(&plan(from_ref(&hook), &free, adopt)), [("adopt", Some(2)), ("unowned", Some(1))]);
    // A hook with the number of the one that it replaced is no other.
    let same = [HookRecord { replaces: HookId::new(1), ..record(1, &hook, "mobile") }];
    assert_eq!(actions(&plan(from_ref(&hook), &same, NOTHING)), [("keep", Some(1))]);
}

#[test]
fn large_removals_new_registries_and_empty_manifests_are_braked() {
    let all: Vec<WantedHook> = (1..=10).map(|app| wanted(app, "a", "")).collect();
    let records: Vec<HookRecord> = all.iter().zip(1..).map(|(hook, id)| record(id, hook, "mobile")).collect();
    assert_eq!(plan(&all[3..], &records, PRUNE).brakes(), []);
    assert_eq!(plan(&all[4..], &records, PRUNE).brakes(), [Brake::LargeRemoval { removed: 4, owned: 10 }]);
    assert_eq!(plan(&all[4..], &records, NOTHING).brakes(), []);
    // Few hooks are overlooked at one glance.
    assert_eq!(plan(&all[1..2], &records[..9], PRUNE).brakes(), []);
    assert_eq!(plan(&all, &[], NOTHING).brakes(), [Brake::Initial { created: 10 }]);
    let ended = [HookRecord { status: HookStatus::Removed, ..records[0].clone() }];
    assert_eq!(plan(&all, &ended, NOTHING).brakes(), []);
    let empty = plan(&[], &records, PRUNE);
    assert_eq!((empty.brakes(), empty.has_changes()), (vec![Brake::Empty], false));
}

#[test]
fn a_password_that_an_export_redacted_is_no_other_endpoint() {
    let mut hook = wanted(1, "a", "");
    hook.target_url = "https://ci:s3cret@hooks.example.com/a".parse().unwrap();
    let mut stored = record(1, &hook, "mobile");
    stored.subscription.target_url = hook.target_url.redacted().parse().unwrap();
    assert_eq!(actions(&plan(&[hook.clone()], &[stored], NOTHING)), [("keep", Some(1))]);
    assert!(!format!("{hook:?}").contains("s3cret"));
}

#[test]
fn the_checksum_is_of_what_is_planned() {
    let (a, b) = (wanted(1, "a", ""), wanted(2, "b", ""));
    let records = [record(1, &a, "mobile")];
    let sum = |hooks: &[WantedHook], records: &[HookRecord], options| plan(hooks, records, options).checksum();
    let first = sum(&[a.clone(), b.clone()], &records, NOTHING);
    assert_eq!(first, sum(&[b.clone(), a.clone()], &records, NOTHING));
    // Another copy of the registry, and a hook of somebody else in it.
    let copy = [HookRecord { row: RowId(99), ..records[0].clone() }, record(5, &wanted(9, "z", ""), "web")];
    assert_eq!(first, sum(&[a.clone(), b.clone()], &copy, NOTHING));
    assert_ne!(first, sum(&[a.clone(), b.clone()], &records, PRUNE));
    assert_ne!(first, sum(&[a.clone(), wanted(2, "c", "")], &records, NOTHING));
    assert_ne!(first, sum(&[a, b], &[HookRecord { hook_id: HookId::new(2), ..records[0].clone() }], NOTHING));
}

/// What carrying out a plan makes of the records, and whether each event of an app that had a hook had one all the time.
fn carried_out(plan: &Plan, mut records: Vec<HookRecord>) -> (Vec<HookRecord>, bool) {
    let mut next = records.iter().map(|record| record.row.0).max().unwrap_or(0) + 1;
    let covered = |records: &[HookRecord]| -> BTreeMap<(AppId, EventKind), usize> {
        let mut count = BTreeMap::new();
        for record in records.iter().filter(|record| record.status == HookStatus::Active) {
            *count.entry((record.subscription.app_id, record.subscription.event)).or_default() += 1;
        }
        count
    };
    let replaced: Vec<_> = plan.hooks.iter().filter(|hook| hook.action == PlanAction::Replace).collect();
    let before = covered(&records);
    for hook in &plan.hooks {
        let Some(wanted) = &hook.wanted else { continue };
        let of_record = |each: &&mut HookRecord| hook.record.as_ref().is_some_and(|record| record.row == each.row);
        match hook.action {
            PlanAction::Create | PlanAction::Replace => {
                let old = hook.record.as_ref().and_then(|record| record.hook_id);
                records.push(HookRecord { replaces: old, ..record(next, wanted, "mobile") });
                next += 1;
            }
            PlanAction::Relabel | PlanAction::Adopt => {
                for record in records.iter_mut().filter(of_record) {
                    (record.label, record.managed_by) = (wanted.label.clone(), Some(plan.name.clone()));
                }
            }
            _ => {}
        }
    }
    // Only when all new ones are there the old ones go.
    let between = covered(&records);
    let gone = |record: &HookRecord| {
        let removes = |hook: &&PlannedHook| matches!(hook.action, PlanAction::Replace | PlanAction::Remove);
        let mut ended = plan.hooks.iter().filter(removes).filter_map(|hook| hook.record.as_ref());
        ended.any(|ended| ended.row == record.row)
    };
    for record in records.iter_mut().filter(|record| gone(record)) {
        record.status = HookStatus::Removed;
    }
    let after = covered(&records);
    let always = replaced.iter().all(|hook| {
        let wanted = hook.wanted.as_ref().unwrap();
        let key = (wanted.app_id, wanted.event);
        let at_least_one = |counts: &BTreeMap<_, usize>| counts.get(&key).is_some_and(|count| *count > 0);
        (!at_least_one(&before) || at_least_one(&between)) && at_least_one(&after)
    });
    (records, always)
}

fn hooks() -> impl Strategy<Value = Vec<WantedHook>> {
    let hook = (1_i64..4, 0..3_usize, 0..4_u8, 0..3_u8).prop_map(|(app, event, path, of)| {
        let mut hook = wanted(app, &format!("p{path}"), ["", "x", "y"][usize::from(of)]);
        hook.event = EventKind::ALL[event];
        hook
    });
    prop::collection::vec(hook, 0..12).prop_map(|mut hooks| {
        let key = |hook: &WantedHook| (hook.app_id, hook.event, hook.target_url.clone());
        hooks.sort_by_key(key);
        hooks.dedup_by_key(|hook| key(hook));
        hooks
    })
}

fn registry() -> impl Strategy<Value = Vec<HookRecord>> {
    let state = (0..3_u8, 0..6_u8, prop::option::of(0..12_usize), any::<bool>());
    (hooks(), prop::collection::vec(state, 12)).prop_map(|(hooks, states)| {
        let mut records = Vec::new();
        for ((hook, (owner, status, replaces, is_anew)), id) in hooks.iter().zip(states).zip(1..) {
            let mut row = record(id, hook, ["mobile", "", "web"][usize::from(owner)]);
            row.status = match status {
                0 => HookStatus::Removing,
                1 => HookStatus::Unknown,
                2 => HookStatus::Removed,
                _ => HookStatus::Active,
            };
            row.hook_id = row.hook_id.filter(|_| row.status != HookStatus::Unknown);
            row.replaces = replaces.and_then(|of| HookId::new(i64::try_from(of).ok()?)).filter(|of| of.get() < id);
            // Made anew, with the old one still there.
            if is_anew && matches!(row.status, HookStatus::Active | HookStatus::Removing) {
                let anew = HookRecord { managed_by: row.managed_by.clone(), ..record(id + 100, hook, "") };
                records.push(HookRecord { replaces: row.hook_id, ..anew });
            }
            records.push(row);
        }
        records
    })
}

fn options() -> impl Strategy<Value = PlanOptions> {
    (any::<bool>(), any::<bool>()).prop_map(|(prune, adopt)| PlanOptions { prune, adopt })
}

proptest! {
    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_do(hooks in hooks(), records in registry(), options in options()) {
        let first = plan(&hooks, &records, options);
        let (after, always_there) = carried_out(&first, records);
        prop_assert!(always_there, "{first:?}");
        let second = plan(&hooks, &after, options);
        prop_assert!(!second.has_changes(), "{first:?}\n{second:?}");
        // Each wanted hook is there once, unless it is another's or in doubt.
        for hook in &second.hooks {
            let is_settled = matches!(hook.action, PlanAction::Keep | PlanAction::Unowned | PlanAction::Foreign
                | PlanAction::Unknown | PlanAction::Extra);
            prop_assert!(is_settled, "{hook:?}");
        }
    }

    #[test]
    fn order_never_matters(
        (hooks, shuffled) in hooks().prop_flat_map(|hooks| (Just(hooks.clone()), Just(hooks).prop_shuffle())),
        (records, moved) in registry().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        options in options(),
    ) {
        let (one, other) = (plan(&hooks, &records, options), plan(&shuffled, &moved, options));
        prop_assert_eq!(one.checksum(), other.checksum());
        prop_assert_eq!(actions(&one), actions(&other));
    }

    #[test]
    fn nothing_is_removed_that_the_manifest_does_not_own(hooks in hooks(), records in registry(), options in options()) {
        for planned in plan(&hooks, &records, options).hooks {
            let owner = planned.record.as_ref().map(|record| record.managed_by.as_ref().map(ManifestName::as_str));
            match planned.action {
                PlanAction::Remove | PlanAction::Replace | PlanAction::Relabel => {
                    prop_assert_eq!(owner, Some(Some("mobile")));
                }
                PlanAction::Adopt => prop_assert_eq!(owner, Some(None)),
                _ => {}
            }
            let pruned = planned.removal == Some(RemovalReason::Pruned);
            prop_assert!(!pruned || options.prune);
        }
    }
}
