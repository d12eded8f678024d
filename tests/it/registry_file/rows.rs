//! Which rows of two sides are the same, and what becomes of a row that is in doubt.

use bugfender_hooks::store::exchange::{HookEntry, Merged, RegistryFile, merge};
use jiff::Timestamp;

use super::merging::{entry, file, labelled, merged, unknown, with_status};

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A hook of app 1 that was recorded at this second.
fn hook(id: i64, recorded: i64) -> HookEntry {
    HookEntry { app_id: 1, created_at: second(recorded), ..entry(id) }
}

fn ended(id: i64, recorded: i64) -> HookEntry {
    HookEntry { status: "removed".to_owned(), ..hook(id, recorded) }
}

/// A subscription of app 1 in doubt.
fn doubt(recorded: i64) -> HookEntry {
    unknown(1, recorded)
}

fn with_label(entry: HookEntry, label: &str) -> HookEntry {
    HookEntry { label: Some(label.to_owned()), ..entry }
}

/// What whoever merges whom gives, without a conflict.
#[track_caller]
fn assert_merged(base: &[HookEntry], ours: &[HookEntry], theirs: &[HookEntry], result: &[HookEntry]) {
    for merged in [merged(base, ours, theirs), merged(base, theirs, ours)] {
        assert_eq!(merged.file.text(), file(result).text());
    }
}

/// The same with one conflict, which says this.
#[track_caller]
fn assert_conflict(base: &[HookEntry], ours: &[HookEntry], theirs: &[HookEntry], hooks: &[HookEntry], said: &str) {
    for merged in [merged(base, ours, theirs), merged(base, theirs, ours)] {
        let Merged { file: found, .. } = merged;
        assert_eq!(found.conflicts.len(), 1, "{:?}", found.conflicts);
        assert!(found.conflicts[0].contains(said), "{:?}", found.conflicts);
        let without = |hooks: &[HookEntry]| file(hooks).text();
        assert_eq!(without(&found.hooks), without(hooks));
    }
}

#[test]
fn two_requests_in_doubt_are_two() {
    assert_merged(&[], &[doubt(10)], &[doubt(20)], &[doubt(10), doubt(20)]);
    // Of one second, too, unless they say the same.
    let (one, other) = (with_label(doubt(10), "a"), with_label(doubt(10), "b"));
    assert_merged(&[], std::slice::from_ref(&one), std::slice::from_ref(&other), &[one.clone(), other.clone()]);
    assert_merged(&[], std::slice::from_ref(&one), std::slice::from_ref(&one), std::slice::from_ref(&one));
}

#[test]
fn each_request_in_doubt_has_its_own_fate() {
    let (first, second) = (doubt(10), doubt(20));
    let base = [first.clone(), second.clone()];
    let labelled = with_label(first.clone(), "x");
    // One forgets the first; the other gives it a label.
    let (forgot, changed) = ([second.clone()], [labelled.clone(), second.clone()]);
    assert_conflict(&base, &forgot, &changed, &changed, "dropped it: it is kept");
    // One learns its number.
    let known = [hook(5, 10), second.clone()];
    assert_merged(&base, &known, &changed, &[with_label(hook(5, 10), "x"), second.clone()]);
    // Each learns another number, or forgets another one.
    assert_merged(&base, &known, &[first.clone(), hook(7, 20)], &[hook(5, 10), hook(7, 20)]);
    assert_merged(&base, &known, &[hook(7, 10), second.clone()], &[hook(5, 10), hook(7, 10), second.clone()]);
    assert_merged(&base, &base[1..], &base[..1], &[]);
    // One forgets it, and is in doubt anew; what the other learned is there.
    assert_merged(&base[..1], &base[1..], &[hook(5, 10)], &[hook(5, 10), second]);
    assert_merged(&base[..1], &[], &[hook(5, 10)], &[hook(5, 10)]);
}

#[test]
fn of_requests_that_say_the_same_none_is_lost() {
    let base = [doubt(10), doubt(10)];
    let one = with_label(doubt(10), "x");
    assert_merged(&base, &base, &[doubt(10)], &[doubt(10)]);
    assert_merged(&base, &[doubt(10)], &[doubt(10), hook(5, 10)], &[doubt(10), hook(5, 10)]);
    // One of them got a label; the other side forgot one, and touched or settled the other.
    let changed = [one.clone(), doubt(10)];
    let touched = HookEntry { reason: Some("no answer".to_owned()), ..doubt(10) };
    let said = "dropped it: it is kept";
    assert_conflict(&base, &changed, &[doubt(10)], &changed, said);
    assert_conflict(&base, &changed, std::slice::from_ref(&touched), &[one.clone(), touched.clone()], said);
    assert_conflict(&base, &changed, &[hook(5, 10)], &[one, hook(5, 10)], said);
}

#[test]
fn what_is_said_of_a_request_in_doubt_is_not_lost_with_its_number() {
    let owned = HookEntry { managed_by: Some("mobile".parse().unwrap()), ..with_label(doubt(10), "x") };
    let known = HookEntry { managed_by: owned.managed_by.clone(), ..with_label(hook(5, 10), "x") };
    assert_merged(&[doubt(10)], std::slice::from_ref(&owned), &[hook(5, 10)], &[known]);
    // The other has recorded the hook by itself: nobody knows whether that is it.
    let both = [owned.clone(), hook(5, 30)];
    assert_conflict(&[doubt(10)], std::slice::from_ref(&owned), &[hook(5, 30)], &both, "dropped it: it is kept");
    // One that was there before is not what became of it.
    let changed = HookEntry { reason: Some("no answer".to_owned()), ..doubt(10) };
    let both = [changed.clone(), hook(5, 1)];
    assert_conflict(&[doubt(10)], std::slice::from_ref(&changed), &[hook(5, 1)], &both, "dropped it: it is kept");
    assert_merged(&[doubt(10)], &[changed], &[hook(5, 30)], &[hook(5, 30)]);
}

#[test]
fn a_living_hook_is_not_lost_as_its_number_was_another_ones() {
    assert_merged(&[], &[hook(5, 50)], &[ended(5, 1)], &[ended(5, 1), hook(5, 50)]);
    assert_merged(
        &[hook(5, 1)],
        &[ended(5, 1), hook(5, 50)],
        &[with_label(hook(5, 1), "x")],
        &[with_label(ended(5, 1), "x"), hook(5, 50)],
    );
    assert_merged(&[ended(5, 1)], &[hook(5, 50)], &[ended(5, 1)], &[hook(5, 50)]);
    // Of two that live one is not there, or is the same.
    let said = "it was recorded at 1970-01-01T00:00:01Z and at 1970-01-01T00:00:50Z";
    assert_conflict(&[], &[hook(5, 1)], &[hook(5, 50)], &[hook(5, 1), hook(5, 50)], said);
    assert!(merged(&[], &[hook(5, 1)], &[hook(5, 50)]).duplicates.is_empty());
}

#[test]
fn the_same_hooks_are_the_same_bytes() {
    let (one, other) = (with_label(doubt(10), "a"), with_label(doubt(10), "b"));
    let (here, there) = ([one.clone(), other.clone()], [other.clone(), one.clone()]);
    assert_eq!(file(&here).text(), file(&there).text());
    // In another order they are still the same.
    let changed = with_label(one, "c");
    assert_merged(&here, &there, &[changed.clone(), other.clone()], &[changed, other.clone()]);
    assert_merged(&here, std::slice::from_ref(&other), &here, std::slice::from_ref(&other));
    // URLs are compared as a registry has them.
    let by_hand = |api_url: &str, target_url: &str| {
        let found = HookEntry { api_url: api_url.to_owned(), target_url: target_url.to_owned(), ..entry(1) };
        RegistryFile::parse(&format!("\u{feff}{}", file(&[found]).text()), "x").unwrap()
    };
    let found = by_hand("https://BF.example:443/api/", "https://HOOKS.example.com:443/bf");
    assert_eq!(found.text(), file(&[entry(1)]).text());
    let [one, other] = ["https://hooks.example.com/~bf", "https://hooks.example.com/%7Ebf"]
        .map(|url| by_hand("https://bf.example", url));
    let nothing = RegistryFile::default();
    assert_eq!(merge(&nothing, &one, &other).file, merge(&nothing, &other, &one).file);
    assert_eq!(merge(&nothing, &one, &other).file.hooks.len(), 1);
}

#[test]
fn whoever_merges_whom_the_reason_is_the_same() {
    let with_reason = |reason: &str| HookEntry { reason: Some(reason.to_owned()), ..with_status(1, "removing") };
    let [one, other] = [vec![with_reason("a")], vec![with_reason("b")]];
    assert_merged(&[entry(1)], &one, &other, &other);
}

#[test]
fn passwords_that_differ_are_told_apart() {
    let with = |password: &str| [HookEntry { target_url: format!("https://ci:{password}@h.example.com/"), ..entry(1) }];
    let both = merged(&[], &with("s3cret"), &with("0ther"));
    let said = ["hook 1 of https://bf.example: `target_url` has another password in ours than in theirs"];
    assert_eq!(both.file.conflicts, said);
    // Two requests in doubt are two; one whose password is hidden is the other.
    let with = |password: &str| HookEntry { hook_id: None, status: "unknown".to_owned(), ..with(password)[0].clone() };
    let [one, other, hidden] = ["s3cret", "0ther", "****"].map(with);
    assert_merged(&[], std::slice::from_ref(&one), std::slice::from_ref(&other), &[one.clone(), other.clone()]);
    assert_merged(&[], std::slice::from_ref(&one), &[hidden], std::slice::from_ref(&one));
}

/// Branches that were merged into each other have a base with conflicts: a merge that nobody has looked at.
#[test]
fn what_two_branches_decided_differently_is_a_conflict() {
    let [ours, theirs] = ["a", "b"].map(|label| [labelled(1, label)]);
    let open = merged(&[entry(1)], &ours, &theirs).file;
    assert_eq!(open.conflicts.len(), 1);
    // Each has kept its own; one of them is what the base has.
    for (ours, theirs) in [(&ours, &theirs), (&theirs, &ours)] {
        let both = merge(&open, &file(ours), &file(theirs)).file;
        assert_eq!((both.conflicts.len(), &both.hooks[..]), (1, &ours[..]), "{both:?}");
        // The same decision is one.
        assert_eq!(merge(&open, &file(ours), &file(ours)).file, file(ours));
        // The other has not decided yet.
        assert_eq!(merge(&open, &file(ours), &open).file, file(ours));
        assert_eq!(merge(&open, &open, &file(ours)).file, file(ours));
    }
    // Nobody has: it is open once.
    assert_eq!(merge(&open, &open, &open).file, open);
    // Another field is not concerned.
    let owned = HookEntry { managed_by: Some("mobile".parse().unwrap()), ..labelled(1, "a") };
    assert_eq!(merge(&open, &file(&ours), &file(std::slice::from_ref(&owned))).file, file(&[owned]));
    // One drops it.
    let both = merge(&open, &file(&ours), &file(&[])).file;
    assert!(both.conflicts[0].contains("ours kept it, theirs dropped it: it is kept"), "{:?}", both.conflicts);
}

#[test]
fn a_number_that_each_branch_took_from_another_hook_is_a_conflict() {
    let (first, second) = (HookEntry { app_id: 2, ..entry(1) }, HookEntry { app_id: 3, ..entry(1) });
    let open = merged(&[], std::slice::from_ref(&first), std::slice::from_ref(&second)).file;
    assert_eq!(open.conflicts.len(), 1);
    let gone = |hook: &HookEntry| HookEntry { status: "gone".to_owned(), ..hook.clone() };
    let (ours, theirs) = (file(&[gone(&first), second.clone()]), file(&[first.clone(), gone(&second)]));
    let both = merge(&open, &ours, &theirs).file;
    assert_eq!((both.conflicts.len(), &both.hooks), (2, &ours.hooks), "{:?}", both.conflicts);
    assert!(both.conflicts.iter().all(|text| text.contains("`status` is ")), "{:?}", both.conflicts);
    assert_eq!(merge(&open, &ours, &open).file, ours);
}
