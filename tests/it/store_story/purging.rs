//! What is old, or too much, is removed, and nothing else is.

use bugfender_hooks::store::{AttemptOutcome, ClaimRequest, EventSelection, PurgeRule, Purged, ReceiverInbox, Store};

use super::{all, all_to, claim_some, commit, ids, is_new, receiver, seq, settle, target, with_ids};
use crate::support::inbox::{at, bugfender, noise, of_ids};

pub(super) fn purge(inbox: &mut dyn ReceiverInbox, rule: &PurgeRule) -> Purged {
    let mut sum = Purged::default();
    loop {
        let purged = inbox.purge(rule).unwrap();
        let (events, quarantined) = (sum.events + purged.events, sum.quarantined + purged.quarantined);
        sum = Purged { events, quarantined, ..purged };
        if !sum.more {
            return sum;
        }
    }
}

pub(super) fn what_is_old_goes_but_for_what_waits(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    for (second, id) in [(1, "a"), (2, "b"), (3, "c")] {
        commit(&mut *inbox, &[of_ids(second, &[id, &format!("{id}2")])], &[all_to(to)]);
    }
    commit(&mut *inbox, &[of_ids(4, &["d"]), bugfender(4, "no JSON"), bugfender(20, "nor this")], &[]);
    commit(&mut *inbox, &[of_ids(10, &["e"])], &[]);
    let claimed = claim_some(&mut *inbox, to, 5, ClaimRequest::up_to(9));
    settle(&mut *inbox, &claimed[0], 6, AttemptOutcome::Delivered);
    settle(&mut *inbox, &claimed[1], 6, AttemptOutcome::DeadLettered { error: "x".to_owned() });
    let old = PurgeRule { before: Some(at(10)), ..PurgeRule::default() };
    assert_eq!(purge(&mut *inbox, &old), Purged { events: 5, quarantined: 1, ..Purged::default() });
    assert_eq!(ids(&*inbox, &EventSelection::default()), ["c", "c2", "e"]);
    assert_eq!(inbox.quarantined(None, None).unwrap().len(), 1);
    assert_eq!((inbox.backlog().unwrap().pending, inbox.backlog().unwrap().dead), (1, 0));
    assert_eq!(purge(&mut *inbox, &old), Purged::default());
    let even = PurgeRule { even_pending: true, ..old };
    assert_eq!(purge(&mut *inbox, &even).events, 2);
    assert_eq!(ids(&*inbox, &EventSelection::default()), ["e"]);
    assert_eq!(inbox.backlog().unwrap().pending, 0);
    assert!(ids(&*inbox, &with_ids(&["a", "c"])).is_empty());
    // What came of the claim that was purged is of no matter.
    settle(&mut *inbox, &claimed[2], 7, AttemptOutcome::Delivered);
    inbox.check().unwrap();
}

fn large(second: i64, id: usize) -> bugfender_hooks::domain::delivery::Delivery {
    bugfender(second, &format!(r#"[{{"id":"large-{id}","text":"{}"}}]"#, noise(20_000)))
}

pub(super) fn the_oldest_go_until_it_is_small(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    commit(&mut *inbox, &[of_ids(1, &["waits"])], &[all_to(to)]);
    for start in (0..600).step_by(100) {
        let group: Vec<_> = (start..start + 100).map(|id| large(2, id)).collect();
        commit(&mut *inbox, &group, &[]);
    }
    let rule = PurgeRule { max_bytes: Some(4_000_000), ..PurgeRule::default() };
    let purged = purge(&mut *inbox, &rule);
    assert!((300..=500).contains(&purged.events), "{purged:?}");
    let left = all(&*inbox);
    assert_eq!(left.len() as u64, 601 - purged.events);
    assert_eq!((left[0].id.as_str(), left[left.len() - 1].id.as_str()), ("waits", "large-599"));
    assert_eq!(left[1].id, format!("large-{}", purged.events));
    assert_eq!(purge(&mut *inbox, &rule), Purged::default());
    // Less than what waits takes up: all else goes, and it ends.
    let nothing = PurgeRule { max_bytes: Some(0), ..PurgeRule::default() };
    let rest = Purged { events: 600 - purged.events, too_large: true, ..Purged::default() };
    assert_eq!(purge(&mut *inbox, &nothing), rest);
    assert_eq!(ids(&*inbox, &EventSelection::default()), ["waits"]);
    purge(&mut *inbox, &PurgeRule { even_pending: true, ..nothing });
    assert!(all(&*inbox).is_empty());
    assert_eq!(is_new(&mut *inbox, of_ids(3, &["after"])), [true]);
}

pub(super) fn no_more_goes_than_must(store: &dyn Store) {
    let mut inbox = receiver(store);
    commit(&mut *inbox, &[bugfender(1, &format!(r#"[{{"id":"huge","text":"{}"}}]"#, noise(900_000)))], &[]);
    commit(&mut *inbox, &(0..50).map(|id| large(2, id)).collect::<Vec<_>>(), &[]);
    // All but the first have some 1 MB.
    let rule = PurgeRule { max_bytes: Some(1_400_000), ..PurgeRule::default() };
    assert_eq!(purge(&mut *inbox, &rule).events, 1);
    assert_eq!(all(&*inbox)[0].id, "large-0");
}

pub(super) fn purged_events_leave_their_places_empty(store: &dyn Store) {
    let mut inbox = receiver(store);
    commit(&mut *inbox, &[of_ids(1, &["a", "b"])], &[]);
    let last = seq(&*inbox, "b");
    assert_eq!(purge(&mut *inbox, &PurgeRule { before: Some(at(5)), ..PurgeRule::default() }).events, 2);
    // What comes again is stored, by the process that received it and by another.
    assert_eq!(is_new(&mut *inbox, of_ids(6, &["a"])), [true]);
    drop(inbox);
    let mut inbox = receiver(store);
    assert_eq!(is_new(&mut *inbox, of_ids(7, &["a", "b", "c"])), [false, true, true]);
    // The order of arrival goes on, for who follows it.
    let behind = EventSelection { after: Some(last), ..EventSelection::default() };
    assert_eq!(ids(&*inbox, &behind), ["a", "b", "c"]);
    assert_eq!(is_new(&mut *inbox, of_ids(8, &["c"])), [false]);
}

pub(super) fn runs_of_purged_events_go_with_them(store: &dyn Store) {
    let mut inbox = receiver(store);
    let many = |second: i64, from: usize| {
        let ids: Vec<String> = (from..from + 1000).map(|number| format!("{{\"id\":{number}}}")).collect();
        bugfender(second, &format!("[{}]", ids.join(",")))
    };
    for from in (0..70_000).step_by(10_000) {
        let group: Vec<_> = (from..from + 10_000).step_by(1000).map(|from| many(1, from)).collect();
        commit(&mut *inbox, &group, &[]);
        inbox.maintain().unwrap();
    }
    commit(&mut *inbox, &[many(10, 70_000)], &[]);
    assert_eq!(purge(&mut *inbox, &PurgeRule { before: Some(at(10)), ..PurgeRule::default() }).events, 70_000);
    assert_eq!(commit(&mut *inbox, &[many(11, 70_000)], &[])[0].stored(), 0);
    drop(inbox);
    let mut inbox = receiver(store);
    assert_eq!(commit(&mut *inbox, &[many(12, 70_000)], &[])[0].stored(), 0);
    assert_eq!(commit(&mut *inbox, &[many(12, 0)], &[])[0].events.len(), 1000);
    assert_eq!(commit(&mut *inbox, &[many(13, 0)], &[])[0].stored(), 0);
}

pub(super) fn what_waits_is_looked_at_once(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    let waits: Vec<_> = (0..5000).map(|number| of_ids(1, &[&format!("waits-{number}")])).collect();
    commit(&mut *inbox, &waits, &[all_to(to)]);
    commit(&mut *inbox, &[of_ids(1, &["a"]), of_ids(2, &["b"]), of_ids(9, &["new"])], &[]);
    for rule in [
        PurgeRule { before: Some(at(5)), ..PurgeRule::default() },
        PurgeRule { max_bytes: Some(0), ..PurgeRule::default() },
    ] {
        let step = |inbox: &mut dyn ReceiverInbox| {
            let Purged { events, more, .. } = inbox.purge(&rule).unwrap();
            (events, more)
        };
        assert_eq!((step(&mut *inbox), step(&mut *inbox)), ((0, true), (0, true)));
        while step(&mut *inbox).0 == 0 {}
        let rest = Purged { too_large: rule.max_bytes.is_some(), ..Purged::default() };
        assert_eq!(purge(&mut *inbox, &rule), rest);
        // A round begins at the start: what waited may have been handed on.
    }
    assert_eq!(all(&*inbox).len(), 5000);
    let claimed = claim_some(&mut *inbox, to, 5, ClaimRequest::up_to(1));
    settle(&mut *inbox, &claimed[0], 6, AttemptOutcome::Delivered);
    assert_eq!(purge(&mut *inbox, &PurgeRule { before: Some(at(5)), ..PurgeRule::default() }).events, 1);
}

pub(super) fn the_oldest_go_first_read_or_not(store: &dyn Store) {
    let mut inbox = receiver(store);
    let junk = |second: i64| bugfender(second, &format!("no JSON {}", noise(20_000)));
    for second in (0..100).step_by(2) {
        commit(&mut *inbox, &[large(second, usize::try_from(second).unwrap()), junk(second + 1)], &[]);
    }
    // Each takes five pages and a little.
    let rule = PurgeRule { max_bytes: Some(1_400_000), ..PurgeRule::default() };
    let purged = purge(&mut *inbox, &rule);
    assert!((10..25).contains(&purged.events) && (10..25).contains(&purged.quarantined), "{purged:?}");
    assert!(purged.events.abs_diff(purged.quarantined) <= 1, "{purged:?}");
    assert_eq!(all(&*inbox)[0].id, format!("large-{}", purged.events * 2));
    assert_eq!(inbox.quarantined(None, None).unwrap().len() as u64, 50 - purged.quarantined);
}

pub(super) fn a_step_removes_few_rows(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    let ids: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    let very_many = of_ids(1, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    commit(&mut *inbox, &[very_many], &[bugfender_hooks::store::Route { together: false, ..all_to(to) }]);
    let rule = PurgeRule { before: Some(at(5)), even_pending: true, ..PurgeRule::default() };
    let mut events = 0;
    loop {
        let purged = inbox.purge(&rule).unwrap();
        events += purged.events;
        assert!(purged.events <= 2000, "{purged:?}");
        // A half is no whole: it goes on where it was.
        assert_eq!(all(&*inbox).len() as u64, 20_000 - events);
        if !purged.more {
            break;
        }
    }
    assert_eq!((events, inbox.backlog().unwrap().pending), (20_000, 0));
}
