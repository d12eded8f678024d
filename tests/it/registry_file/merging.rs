//! What a merge keeps.

use bugfender_hooks::domain::EventKind;
use bugfender_hooks::store::exchange::{Duplicate, HookEntry, Merged, RegistryFile, merge};

pub(super) fn entry(id: i64) -> HookEntry {
    HookEntry {
        api_url: "https://bf.example".to_owned(),
        hook_id: Some(id),
        app_id: id,
        event: EventKind::NewCrash,
        target_url: "https://hooks.example.com/bf".to_owned(),
        status: "active".to_owned(),
        label: None,
        managed_by: None,
        replaces: None,
        reason: None,
        created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        updated_at: "2026-01-01T00:00:00Z".parse().unwrap(),
    }
}

pub(super) fn labelled(id: i64, label: &str) -> HookEntry {
    HookEntry { label: Some(label.to_owned()), ..entry(id) }
}

pub(super) fn with_status(id: i64, status: &str) -> HookEntry {
    HookEntry { status: status.to_owned(), ..entry(id) }
}

/// A subscription in doubt, which was recorded at this second.
pub(super) fn unknown(app: i64, second: i64) -> HookEntry {
    let created_at = jiff::Timestamp::from_second(second).unwrap();
    HookEntry { hook_id: None, created_at, ..with_status(app, "unknown") }
}

pub(super) fn file(hooks: &[HookEntry]) -> RegistryFile {
    RegistryFile::new(hooks.to_vec())
}

pub(super) fn merged(base: &[HookEntry], ours: &[HookEntry], theirs: &[HookEntry]) -> Merged {
    merge(&file(base), &file(ours), &file(theirs))
}

#[test]
fn changes_of_one_side_and_new_hooks_of_both_are_kept() {
    let base = [entry(1), entry(2)];
    let all = merged(&base, &[labelled(1, "x"), entry(2), entry(3)], &[entry(1), with_status(2, "removed"), entry(4)]);
    assert_eq!(all.file, file(&[labelled(1, "x"), with_status(2, "removed"), entry(3), entry(4)]));
    assert!(all.duplicates.is_empty());
    // One changed the label, the other the owner.
    let owned = HookEntry { managed_by: Some("mobile".parse().unwrap()), ..entry(1) };
    let both = merged(&[entry(1)], &[labelled(1, "x")], &[owned]);
    assert!(both.file.conflicts.is_empty(), "{both:?}");
    let hook = &both.file.hooks[0];
    assert_eq!((hook.label.as_deref(), hook.managed_by.as_ref().unwrap().as_str()), (Some("x"), "mobile"));
}

#[test]
fn what_has_ended_does_not_come_back() {
    let newer = HookEntry { updated_at: "2027-01-01T00:00:00Z".parse().unwrap(), ..labelled(1, "x") };
    let ended = merged(&[entry(1)], &[newer], &[with_status(1, "gone")]);
    assert_eq!((ended.file.hooks[0].status.as_str(), ended.file.hooks[0].label.as_deref()), ("gone", Some("x")));
    assert!(ended.file.conflicts.is_empty());
}

#[test]
fn what_both_changed_differently_is_a_conflict_that_is_named() {
    let both = merged(&[entry(1)], &[labelled(1, "a")], &[labelled(1, "b")]);
    let said = ["hook 1 of https://bf.example: `label` is \"a\" in ours and \"b\" in theirs"];
    assert_eq!(both.file.conflicts, said);
    assert_eq!(both.file.hooks[0].label.as_deref(), Some("a"));
    // Dropped by one, changed by the other: kept, and named.
    let dropped = merged(&[entry(1)], &[], &[labelled(1, "b")]);
    assert_eq!(dropped.file.hooks.len(), 1);
    assert_eq!(dropped.file.conflicts.len(), 1);
    // Dropped by one, and left as it was by the other: that was `forget`.
    assert!(merged(&[entry(1)], &[], &[entry(1)]).file.hooks.is_empty());
}

#[test]
fn hooks_that_both_sides_made_are_both_kept_and_named() {
    let other = HookEntry { app_id: 1, ..entry(2) };
    let twice = merged(&[], &[entry(1)], &[other]);
    assert_eq!(twice.file.hooks.len(), 2);
    let duplicate = Duplicate {
        subscription: "new_crash of app 1 to https://hooks.example.com/bf at https://bf.example".to_owned(),
        hook_ids: vec![1, 2],
        with_unknown: false,
    };
    assert_eq!(twice.duplicates, std::slice::from_ref(&duplicate));
    // It is said once: a merge after that knows both.
    let base = twice.file.hooks;
    assert!(merged(&base, &base, &[]).duplicates.is_empty());
    // One does not know whether it has made one.
    let doubtful = merged(&[], &[entry(1)], &[unknown(1, 5)]);
    assert_eq!(doubtful.file.hooks.len(), 2);
    assert_eq!(doubtful.duplicates, [Duplicate { hook_ids: vec![1], with_unknown: true, ..duplicate }]);
}

#[test]
fn a_number_that_is_known_now_is_better_than_none() {
    let base = [unknown(1, 0)];
    let changed = [HookEntry { reason: Some("no answer".to_owned()), ..unknown(1, 0) }];
    for side in [&base[..], &changed[..]] {
        for merged in [merged(&base, side, &[entry(1)]), merged(&base, &[entry(1)], side)] {
            assert_eq!(merged.file, file(&[entry(1)]));
        }
    }
    // Each of several requests in doubt is kept.
    let twice = [unknown(1, 0), unknown(1, 7)];
    assert_eq!(merged(&base, &twice, &base).file, file(&twice));
    assert_eq!(merged(&twice, &twice, &[unknown(1, 0), entry(1)]).file, file(&[unknown(1, 0), entry(1)]));
}

#[test]
fn a_number_that_was_given_anew_is_of_two_hooks() {
    let second = |status: &str| HookEntry { app_id: 2, status: status.to_owned(), ..entry(1) };
    let anew = [with_status(1, "gone"), second("active")];
    let both = merged(&[entry(1)], &anew, &[labelled(1, "x")]);
    let first = HookEntry { label: Some("x".to_owned()), ..with_status(1, "gone") };
    assert_eq!(both.file, file(&[first, second("active")]));
    // Nobody knows who is right, if both sides say that theirs is the one.
    let (ours, theirs) = (HookEntry { app_id: 2, ..entry(1) }, HookEntry { app_id: 3, ..entry(1) });
    let both = merged(&[entry(1)], &[ours], &[theirs]);
    assert_eq!(both.file.hooks.len(), 2);
    let target = "https://hooks.example.com/bf";
    let said = format!(
        "hook 1 of https://bf.example: it is for new_crash of app 2 to {target} and for new_crash of app 3 to {target}; \
         one of them has ended"
    );
    assert_eq!(both.file.conflicts, [said]);
}

#[test]
fn a_password_is_not_lost_and_not_shown() {
    let whole = HookEntry { target_url: "https://ci:s3cret@h.example.com/".to_owned(), ..entry(1) };
    let hidden = HookEntry { target_url: "https://ci:****@h.example.com/".to_owned(), ..labelled(1, "x") };
    let both = merged(&[], &[hidden], std::slice::from_ref(&whole));
    assert_eq!(both.file.hooks[0].target_url, whole.target_url);
    let moved = HookEntry { target_url: "https://ci:0ther@h.example.com/".to_owned(), ..entry(1) };
    let said = format!("{:?}", merged(&[entry(1)], &[whole], &[moved]).file.conflicts);
    assert!(said.contains("target_url") && !said.contains("s3cret") && !said.contains("0ther"), "{said}");
}
