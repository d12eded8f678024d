//! Targets on record: attempts are kept, and targets are paused, resumed and dropped.

use std::time::Duration;

use bugfender_hooks::store::{
    AttemptOutcome, AttemptReport, ClaimRequest, EventPage, EventState, Events, KEPT_OF_ANSWER, PurgeRule, Settled,
    Settlement, Store,
};

use super::{all_to, claim_some, commit, events, ids_of, receiver, seq, settle, target, with_ids};
use crate::support::inbox::{at, of_ids};

pub(super) fn attempts_are_kept_and_go_with_their_event(store: &dyn Store) {
    let mut inbox = receiver(store);
    let (x, y) = (target(&mut *inbox, "x"), target(&mut *inbox, "y"));
    commit(&mut *inbox, &[of_ids(1, &["a", "b"])], &[all_to(x), all_to(y)]);
    for second in 2..22 {
        let leased = claim_some(&mut *inbox, x, second, ClaimRequest::up_to(1)).remove(0);
        let outcome = AttemptOutcome::Retry { at: at(second + 1), error: format!("failed at {second}") };
        let report = AttemptReport { took: Duration::from_micros(1500), status: Some(503), answer: vec![b'x'; 9000] };
        inbox.settle(&[Settlement { lease: leased.lease(), at: at(second), outcome, report }]).unwrap();
    }
    let forwards = inbox.forwards_of(seq(&*inbox, "b")).unwrap();
    assert_eq!(forwards.len(), 2);
    assert_eq!(
        (forwards[0].target.as_str(), forwards[0].state, forwards[0].attempts),
        ("https://x", EventState::Pending, 20)
    );
    assert_eq!(
        (forwards[1].target.as_str(), forwards[1].attempts, forwards[1].newest_attempts.len()),
        ("https://y", 0, 0)
    );
    // The newest of them, oldest first.
    let kept = &forwards[0].newest_attempts;
    assert_eq!(kept.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), (5..=20).collect::<Vec<_>>());
    let last = &kept[15];
    assert_eq!((last.at, last.next_at, last.error.as_deref()), (at(21), Some(at(22)), Some("failed at 21")));
    assert_eq!((last.report.took, last.report.status), (Duration::from_micros(1500), Some(503)));
    assert_eq!(last.report.answer, vec![b'x'; KEPT_OF_ANSWER]);
    // They go with what they belong to, and are not taken for those of another.
    let rule = PurgeRule { before: Some(at(5)), even_pending: true, ..PurgeRule::default() };
    while inbox.purge(&rule).unwrap().more {}
    drop(inbox);
    let mut inbox = receiver(store);
    commit(&mut *inbox, &[of_ids(30, &["c"])], &[all_to(x)]);
    assert!(inbox.forwards_of(seq(&*inbox, "c")).unwrap()[0].newest_attempts.is_empty());
}

pub(super) fn a_paused_target_is_left_alone(store: &dyn Store) {
    let mut inbox = receiver(store);
    let (x, y) = (target(&mut *inbox, "x"), target(&mut *inbox, "y"));
    commit(&mut *inbox, &[of_ids(1, &["a"])], &[all_to(x), all_to(y)]);
    let mut other = store.existing_inbox().unwrap().unwrap();
    assert!(other.pause_target(x, at(2)).unwrap() && !other.pause_target(x, at(3)).unwrap());
    let records = |inbox: &dyn bugfender_hooks::store::Inbox| {
        let records = inbox.target_records().unwrap().into_iter();
        records.map(|target| (target.name, target.paused_at, target.pending, target.dead)).collect::<Vec<_>>()
    };
    let (x_name, y_name) = ("https://x".to_owned(), "https://y".to_owned());
    assert_eq!(records(&*other), [(x_name.clone(), Some(at(2)), 1, 0), (y_name.clone(), None, 1, 0)]);
    assert!(claim_some(&mut *inbox, x, 9, ClaimRequest::up_to(9)).is_empty());
    assert_eq!(inbox.next_due(x, at(9)).unwrap(), None);
    // It is still paused when the receiver has come back.
    drop(inbox);
    let mut inbox = receiver(store);
    assert_eq!(target(&mut *inbox, "x"), x);
    assert!(claim_some(&mut *inbox, x, 9, ClaimRequest::up_to(9)).is_empty());
    assert_eq!(inbox.expire(at(100), at(100)).unwrap(), [(y_name.clone(), 1)]);
    assert!(other.resume_target(x, at(200)).unwrap() && !other.resume_target(x, at(201)).unwrap());
    // What was pending then has its full time from there on.
    assert_eq!(inbox.expire(at(150), at(300)).unwrap(), []);
    let claimed = claim_some(&mut *inbox, x, 300, ClaimRequest::up_to(9)).remove(0);
    assert_eq!((ids_of(&claimed), claimed.forward.queued_at), (vec!["a"], at(200)));
    inbox.release(&[claimed.lease()]).unwrap();
    assert_eq!(inbox.expire(at(201), at(300)).unwrap(), [(x_name.clone(), 1)]);
    assert_eq!(records(&*other), [(x_name, None, 0, 1), (y_name, None, 0, 1)]);
}

pub(super) fn a_failing_target_is_on_record(store: &dyn Store) {
    let mut inbox = receiver(store);
    let (x, _) = (target(&mut *inbox, "x"), target(&mut *inbox, "y"));
    let other = store.existing_inbox().unwrap().unwrap();
    let suspended = || {
        let records = other.target_records().unwrap().into_iter();
        records.map(|target| target.suspended_until).collect::<Vec<_>>()
    };
    assert_eq!(suspended(), [None, None]);
    for until in [Some(at(50)), Some(at(90)), None, None] {
        inbox.hold(x, until).unwrap();
        assert_eq!(suspended(), [until, None]);
    }
}

pub(super) fn what_is_skipped_was_never_on_its_way(store: &dyn Store) {
    let mut inbox = receiver(store);
    let x = target(&mut *inbox, "x");
    commit(&mut *inbox, &[of_ids(1, &["a"])], &[all_to(x)]);
    let claimed = claim_some(&mut *inbox, x, 2, ClaimRequest::up_to(1)).remove(0);
    assert_eq!(settle(&mut *inbox, &claimed, 3, AttemptOutcome::Skipped), Settled::Recorded);
    assert_eq!(settle(&mut *inbox, &claimed, 3, AttemptOutcome::Skipped), Settled::LeaseLost);
    assert!(inbox.forwards_of(seq(&*inbox, "a")).unwrap().is_empty());
    assert_eq!(events(&*inbox, &with_ids(&["a"]), EventPage::default())[0].state, EventState::Stored);
}

pub(super) fn targets_may_have_an_age_of_their_own(store: &dyn Store) {
    let mut inbox = receiver(store);
    let (x, y) = (target(&mut *inbox, "x"), target(&mut *inbox, "y"));
    commit(&mut *inbox, &[of_ids(1, &["a"])], &[all_to(x), all_to(y)]);
    inbox.set_max_ages(vec![(x, jiff::SignedDuration::from_secs(50)), (y, jiff::SignedDuration::from_secs(500))]);
    assert_eq!(inbox.expire(at(100), at(51)).unwrap(), []);
    assert_eq!(inbox.expire(at(0), at(52)).unwrap(), [("https://x".to_owned(), 1)]);
    assert_eq!(inbox.expire(at(400), at(501)).unwrap(), []);
    inbox.set_max_ages(Vec::new());
    assert_eq!(inbox.expire(at(400), at(501)).unwrap(), [("https://y".to_owned(), 1)]);
}

pub(super) fn what_is_dropped_stays_dropped(store: &dyn Store) {
    let mut inbox = receiver(store);
    let (x, y) = (target(&mut *inbox, "x"), target(&mut *inbox, "y"));
    commit(&mut *inbox, &[of_ids(1, &["a"]), of_ids(1, &["b"]), of_ids(9, &["late"])], &[all_to(x), all_to(y)]);
    let claimed = claim_some(&mut *inbox, x, 10, ClaimRequest::up_to(2));
    let mut other = store.existing_inbox().unwrap().unwrap();
    assert_eq!((other.drop_pending(x, at(5)).unwrap(), other.drop_pending(x, at(5)).unwrap()), (2, 0));
    // Attempts that were in flight: one fails, which brings nothing back, and one is delivered.
    settle(&mut *inbox, &claimed[0], 11, AttemptOutcome::Retry { at: at(12), error: "HTTP 500".to_owned() });
    settle(&mut *inbox, &claimed[1], 11, AttemptOutcome::Delivered);
    let left = claim_some(&mut *inbox, x, 20, ClaimRequest::up_to(9));
    assert_eq!(left.iter().map(ids_of).collect::<Vec<_>>(), [["late"]]);
    let states = |inbox: &dyn Events, id: &str| events(inbox, &with_ids(&[id]), EventPage::default())[0].seq;
    let of = |inbox: &dyn bugfender_hooks::store::Inbox, id: &str| {
        let forwards = inbox.forwards_of(states(inbox, id)).unwrap();
        (forwards[0].state, forwards[1].state)
    };
    assert_eq!(of(&*other, "a"), (EventState::Dead, EventState::Pending));
    assert_eq!(of(&*other, "b"), (EventState::Forwarded, EventState::Pending));
    let dead = bugfender_hooks::store::EventSelection {
        target: Some("https://x".to_owned()),
        dead: true,
        ..Default::default()
    };
    assert_eq!(super::ids(&*other, &dead), ["a"]);
    // What is counted for a target is what became of its own forwards.
    let of_x = bugfender_hooks::store::EventSelection { dead: false, ..dead.clone() };
    let counts = other.count_events(&of_x).unwrap();
    assert_eq!((counts[0].events, counts[0].pending, counts[0].dead), (3, 1, 1));
    assert_eq!(other.requeue(&dead, at(30)).unwrap().forwards, 1);
}
