//! Events are forwarded once more, whatever became of them.

use bugfender_hooks::store::{
    AttemptOutcome, ClaimRequest, EventPage, EventSelection, EventSeq, EventState, PurgeRule, Settled, Store, TargetId,
};

use super::{all, all_to, claim_some, commit, events, ids_of, receiver, seq, settle, target, with_ids};
use crate::support::inbox::{at, of_ids, requeue};

pub(super) fn events_are_forwarded_again_once_at_a_time(store: &dyn Store) {
    let mut inbox = receiver(store);
    let (x, y) = (target(&mut *inbox, "x"), target(&mut *inbox, "y"));
    commit(&mut *inbox, &[of_ids(1, &["a", "b", "c"])], &[all_to(x)]);
    commit(&mut *inbox, &[of_ids(2, &["new"])], &[]);
    let seqs: Vec<EventSeq> = all(&*inbox).iter().map(|event| event.seq).collect();
    // What is pending is left as it is.
    assert_eq!(inbox.forward_again(&seqs[..3], x, at(3)).unwrap(), 0);
    let together = claim_some(&mut *inbox, x, 3, ClaimRequest::up_to(9)).remove(0);
    settle(&mut *inbox, &together, 4, AttemptOutcome::Delivered);
    let mut other = store.existing_inbox().unwrap().unwrap();
    assert_eq!(other.forward_again(&[seqs[1], seqs[3], seqs[1], EventSeq(1_000_000)], x, at(5)).unwrap(), 2);
    assert_eq!(other.forward_again(&seqs, x, at(5)).unwrap(), 2);
    assert_eq!(other.forward_again(&seqs, TargetId(1_000_000), at(5)).unwrap(), 0);
    assert_eq!(other.forward_again(&[], x, at(5)).unwrap(), 0);
    let states = |inbox: &dyn bugfender_hooks::store::Events| -> Vec<_> {
        all(inbox).iter().map(|event| (event.state, event.attempts)).collect()
    };
    assert_eq!(
        states(&*other),
        [(EventState::Pending, 1), (EventState::Pending, 1), (EventState::Pending, 1), (EventState::Pending, 0)]
    );
    // Each goes by itself, as it came.
    let again = claim_some(&mut *inbox, x, 6, ClaimRequest::up_to(9));
    assert_eq!(again.iter().map(ids_of).collect::<Vec<_>>(), [["b"], ["new"], ["a"], ["c"]]);
    assert_eq!(again[0].forward.json_array(), br#"[{"id":"b"}]"#);
    assert_eq!((again[0].forward.queued_at, again[0].forward.events[0].key), (at(5), together.forward.events[1].key));
    settle(&mut *inbox, &again[0], 7, AttemptOutcome::DeadLettered { error: "gone".to_owned() });
    settle(&mut *inbox, &again[1], 8, AttemptOutcome::Delivered);
    settle(&mut *inbox, &again[2], 9, AttemptOutcome::Delivered);
    // Both ways are on record, and the last word is that of what is not accepted.
    let ways = inbox.forwards_of(seqs[1]).unwrap();
    assert_eq!(
        ways.iter().map(|way| (way.state, way.attempts)).collect::<Vec<_>>(),
        [(EventState::Forwarded, 1), (EventState::Dead, 1)]
    );
    let b = events(&*inbox, &with_ids(&["b"]), EventPage::default()).remove(0);
    assert_eq!(
        (b.state, b.forwarded_at, b.attempts, b.error.as_deref()),
        (EventState::Dead, Some(at(4)), 2, Some("gone"))
    );
    let of_x = EventSelection { target: Some("https://x".to_owned()), ..EventSelection::default() };
    let counts = inbox.count_events(&of_x).unwrap();
    assert_eq!((counts[0].events, counts[0].pending, counts[0].dead), (4, 1, 1));
    let dead = EventSelection { state: Some(EventState::Dead), ..of_x };
    assert_eq!(super::ids(&*inbox, &dead), ["b"]);
    assert_eq!(requeue(&mut *inbox, &dead, at(10)), 1);
    // To a target that it never was for.
    assert_eq!(other.forward_again(&[seqs[3]], y, at(11)).unwrap(), 1);
    assert_eq!(ids_of(&claim_some(&mut *inbox, y, 12, ClaimRequest::up_to(9))[0]), ["new"]);
    // What is gone is gone with all ways.
    assert_eq!(inbox.delete(&[seqs[1]]).unwrap(), 1);
    let rule = PurgeRule { before: Some(at(100)), even_pending: true, ..PurgeRule::default() };
    while inbox.purge(&rule).unwrap().more {}
    assert!(all(&*inbox).is_empty() && inbox.forwards_of(seqs[0]).unwrap().is_empty());
    assert_eq!((inbox.backlog().unwrap().pending, inbox.backlog().unwrap().dead), (0, 0));
}

/// The numbers of forwards are given by several processes, and by one that forgets none.
pub(super) fn a_receiver_goes_on_beside_it(store: &dyn Store) {
    let mut inbox = receiver(store);
    let (x, y) = (target(&mut *inbox, "x"), target(&mut *inbox, "y"));
    commit(&mut *inbox, &[of_ids(1, &["a"]), of_ids(1, &["keeps", "parts"])], &[all_to(x)]);
    let (a, keeps, parts) = (seq(&*inbox, "a"), seq(&*inbox, "keeps"), seq(&*inbox, "parts"));
    let first = claim_some(&mut *inbox, x, 2, ClaimRequest::up_to(9));
    let mut other = store.existing_inbox().unwrap().unwrap();
    assert_eq!(other.forward_again(&[a], y, at(3)).unwrap(), 1);
    commit(&mut *inbox, &[of_ids(4, &["b"])], &[all_to(y), all_to(x)]);
    let of_y = claim_some(&mut *inbox, y, 5, ClaimRequest::up_to(9));
    assert_eq!(of_y.iter().map(ids_of).collect::<Vec<_>>(), [["a"], ["b"]]);
    let of_x = claim_some(&mut *inbox, x, 5, ClaimRequest::up_to(9));
    assert_eq!(of_x.iter().map(ids_of).collect::<Vec<_>>(), [["b"]]);
    // The newest forwards are removed while they are leased, and others made in their place: their ends are not those of
    // the others.
    assert_eq!(other.delete(&[seq(&*inbox, "b")]).unwrap(), 1);
    assert_eq!(other.forward_again(&[keeps, parts], y, at(7)).unwrap(), 2);
    assert_eq!(settle(&mut *inbox, &of_y[1], 8, AttemptOutcome::Delivered), Settled::LeaseLost);
    assert_eq!(settle(&mut *inbox, &of_x[0], 8, AttemptOutcome::Skipped), Settled::LeaseLost);
    for leased in first.iter().chain(&of_y[..1]) {
        assert_eq!(settle(&mut *inbox, leased, 9, AttemptOutcome::Delivered), Settled::Recorded);
    }
    let again = claim_some(&mut *inbox, y, 10, ClaimRequest::up_to(9));
    assert_eq!(again.iter().map(ids_of).collect::<Vec<_>>(), [["keeps"], ["parts"]]);
    assert_eq!(settle(&mut *inbox, &again[1], 11, AttemptOutcome::Delivered), Settled::Recorded);
    assert_eq!((inbox.backlog().unwrap().pending, inbox.backlog().unwrap().dead), (1, 0));
}

pub(super) fn many_events_are_forwarded_again(store: &dyn Store) {
    let mut inbox = receiver(store);
    let x = target(&mut *inbox, "x");
    let ids: Vec<String> = (0..1201).map(|number| number.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    commit(&mut *inbox, &[of_ids(1, &ids)], &[]);
    let seqs: Vec<EventSeq> = all(&*inbox).iter().map(|event| event.seq).collect();
    assert_eq!(inbox.forward_again(&seqs, x, at(2)).unwrap(), 1201);
    assert_eq!(inbox.forward_again(&seqs, x, at(2)).unwrap(), 0);
    assert_eq!(inbox.backlog().unwrap().pending, 1201);
}
