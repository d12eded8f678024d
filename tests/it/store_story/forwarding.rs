//! Events are handed on: to whom, in which order, and again after a failure.

use bugfender_hooks::domain::event::Sender;
use bugfender_hooks::store::{
    AttemptOutcome, Backlog, ClaimRequest, EventSelection, EventState, Events, Leased, ReceiverInbox, Route, Settled,
    Store, TargetId,
};

use super::{LEASE, all, all_to, claim_some, commit, events, ids_of, is_new, receiver, settle, target, with_ids};
use crate::support::inbox::{at, bugfender, instabug, of_ids, requeue};

fn claim(inbox: &mut dyn ReceiverInbox, target: TargetId, second: i64) -> Vec<Leased> {
    claim_some(inbox, target, second, ClaimRequest::up_to(100))
}

fn claimed_ids(inbox: &mut dyn ReceiverInbox, target: TargetId, second: i64) -> Vec<Vec<String>> {
    let forwards = claim(inbox, target, second);
    forwards.iter().map(|forward| ids_of(forward).into_iter().map(str::to_owned).collect()).collect()
}

pub(super) fn routes_pick_events(store: &dyn Store) {
    let mut inbox = receiver(store);
    let names: Vec<TargetId> = ["all", "crashes", "each"].map(|name| target(&mut *inbox, name)).to_vec();
    assert_eq!(target(&mut *inbox, "all"), names[0]);
    let routes = [
        all_to(names[0]),
        Route { target: names[1], types: vec!["Crash".to_owned()], together: true },
        Route { target: names[2], types: Vec::new(), together: false },
    ];
    let body = r#"[{"id":"a","type":"crash"},{"id":"b","type":"crash"},{"id":"c","type":"issue"},{"id":"d","type":"crash"},{"id":"e"}]"#;
    commit(&mut *inbox, &[of_ids(1, &["old"])], &[]);
    commit(&mut *inbox, &[bugfender(2, body), instabug(3, r#"{"Exception":"x"}"#)], &routes);
    let together = claim(&mut *inbox, names[0], 9);
    assert_eq!(ids_of(&together[0]), ["a", "b", "c", "d", "e"]);
    assert!(together[0].forward.whole && together[0].forward.json_array() == body.as_bytes());
    assert_eq!(
        (together[0].forward.sender, together[0].forward.received_at, together[0].forward.attempts),
        (Sender::Bugfender, at(2), 0)
    );
    assert_eq!(together[0].forward.content_type.as_deref(), Some("application/json"));
    assert_eq!(together[0].forward.queued_at, at(2));
    assert_eq!(
        (together[1].forward.sender, together[1].forward.json_array().as_slice()),
        (Sender::Instabug, &br#"[{"Exception":"x"}]"#[..])
    );
    let crashes = claim(&mut *inbox, names[1], 9);
    assert_eq!(crashes.iter().map(ids_of).take(2).collect::<Vec<_>>(), [vec!["a", "b"], vec!["d"]]);
    assert_eq!(crashes.len(), 3);
    assert!(!crashes[0].forward.whole);
    assert_eq!(crashes[0].forward.json_array(), br#"[{"id":"a","type":"crash"},{"id":"b","type":"crash"}]"#);
    let each = claim(&mut *inbox, names[2], 9);
    assert_eq!(each.len(), 6);
    assert_eq!(each[4].forward.event_json(&each[4].forward.events[0]), br#"{"id":"e"}"#);
    // What was there already is left out.
    commit(&mut *inbox, &[of_ids(4, &["old", "new"])], &routes[..1]);
    let rest = claim(&mut *inbox, names[0], 9);
    assert!(ids_of(&rest[0]) == ["new"] && !rest[0].forward.whole);
    assert_eq!(rest[0].forward.json_array(), br#"[{"id":"new"}]"#);
}

pub(super) fn claims_come_in_order_and_once(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    let other = target(&mut *inbox, "y");
    for (second, id) in [(9, "a"), (1, "b"), (5, "c")] {
        commit(&mut *inbox, &[of_ids(second, &[id])], &[all_to(to)]);
    }
    assert!(claim_some(&mut *inbox, to, 20, ClaimRequest::up_to(0)).is_empty());
    assert!(claim_some(&mut *inbox, other, 20, ClaimRequest::up_to(9)).is_empty());
    assert_eq!(inbox.next_due(other, at(20)).unwrap(), None);
    assert!(inbox.next_due(to, at(20)).unwrap().is_some_and(|due| due <= at(0)));
    // In the order in which they came, whatever their times say.
    let first = claim_some(&mut *inbox, to, 20, ClaimRequest::up_to(2));
    assert_eq!(first.iter().map(ids_of).collect::<Vec<_>>(), [["a"], ["b"]]);
    assert_eq!(claimed_ids(&mut *inbox, to, 20), [["c"]]);
    assert!(claim(&mut *inbox, to, 20).is_empty());
    assert_eq!(inbox.next_due(to, at(20)).unwrap(), None);
    inbox.release(&[first[1].lease()]).unwrap();
    assert!(inbox.next_due(to, at(20)).unwrap().is_some());
    let again = claim(&mut *inbox, to, 20);
    assert_eq!((ids_of(&again[0]), again[0].forward.attempts), (vec!["b"], 0));
    settle(&mut *inbox, &first[0], 21, AttemptOutcome::Delivered);
    drop(inbox);
    // What the process had claimed that is gone now comes back.
    let mut inbox = receiver(store);
    assert_eq!(claimed_ids(&mut *inbox, to, 20), [["b"], ["c"]]);
}

pub(super) fn settlements_say_what_became_of_events(store: &dyn Store) {
    let mut inbox = receiver(store);
    let (x, y) = (target(&mut *inbox, "x"), target(&mut *inbox, "y"));
    commit(&mut *inbox, &[of_ids(1, &["a"])], &[all_to(x), all_to(y)]);
    let state = |inbox: &dyn Events| {
        let event = events(inbox, &with_ids(&["a"]), bugfender_hooks::store::EventPage::default()).remove(0);
        (event.state, event.forwarded_at, event.attempts, event.error)
    };
    assert_eq!(state(&*inbox), (EventState::Pending, None, 0, None));
    let of_x = claim(&mut *inbox, x, 2).remove(0);
    let error = || Some("HTTP 500".to_owned());
    settle(&mut *inbox, &of_x, 10, AttemptOutcome::Retry { at: at(60), error: "HTTP 500".to_owned() });
    assert_eq!(state(&*inbox), (EventState::Pending, None, 1, error()));
    assert!(claim(&mut *inbox, x, 59).is_empty());
    assert_eq!(inbox.next_due(x, at(20)).unwrap(), Some(at(60)));
    let of_x = claim(&mut *inbox, x, 60).remove(0);
    assert_eq!((of_x.forward.attempts, of_x.forward.queued_at), (1, at(1)));
    settle(&mut *inbox, &of_x, 61, AttemptOutcome::Delivered);
    assert_eq!(state(&*inbox), (EventState::Pending, Some(at(61)), 2, None));
    let of_y = claim(&mut *inbox, y, 62).remove(0);
    settle(&mut *inbox, &of_y, 63, AttemptOutcome::DeadLettered { error: "HTTP 410".to_owned() });
    assert_eq!(state(&*inbox), (EventState::Dead, Some(at(61)), 3, Some("HTTP 410".to_owned())));
    assert!(claim(&mut *inbox, y, 1000).is_empty() && claim(&mut *inbox, x, 1000).is_empty());
    let backlog = Backlog { pending: 0, dead: 1, oldest_pending: None, last_event: Some(at(1)) };
    assert_eq!(inbox.backlog().unwrap(), backlog);
    assert_eq!(requeue(&mut *inbox, &with_ids(&["a"]), at(70)), 1);
    assert_eq!(state(&*inbox).0, EventState::Pending);
    let of_y = claim(&mut *inbox, y, 70).remove(0);
    assert_eq!(of_y.forward.queued_at, at(70));
    settle(&mut *inbox, &of_y, 71, AttemptOutcome::Delivered);
    assert_eq!(state(&*inbox), (EventState::Forwarded, Some(at(71)), 4, None));
    assert_eq!(requeue(&mut *inbox, &EventSelection::default(), at(80)), 0);
}

pub(super) fn failed_ones_do_not_hold_up_new_ones(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    let ids: Vec<String> = (0..10).map(|number| format!("failed-{number}")).collect();
    for id in &ids {
        commit(&mut *inbox, &[of_ids(1, &[id])], &[all_to(to)]);
    }
    for (index, forward) in (0..).zip(claim(&mut *inbox, to, 2)) {
        // The last is due first.
        settle(&mut *inbox, &forward, 3, AttemptOutcome::Retry { at: at(30 - index), error: "x".to_owned() });
    }
    for number in 0..10 {
        commit(&mut *inbox, &[of_ids(4, &[&format!("new-{number}")])], &[all_to(to)]);
    }
    let claimed = claim_some(&mut *inbox, to, 100, ClaimRequest::up_to(4));
    assert_eq!(
        claimed.iter().map(|forward| ids_of(forward)[0]).collect::<Vec<_>>(),
        ["new-0", "new-1", "failed-9", "failed-8"]
    );
    // Both kinds move on, however few are claimed at once.
    let mut kinds = Vec::new();
    while let Some(forward) = claim_some(&mut *inbox, to, 100, ClaimRequest::up_to(1)).pop() {
        kinds.push(ids_of(&forward)[0].split('-').next().unwrap().to_owned());
    }
    assert_eq!(kinds.len(), 16);
}

pub(super) fn what_waits_too_long_is_given_up(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    for (second, id) in [(1, "a"), (2, "b"), (50, "c")] {
        commit(&mut *inbox, &[of_ids(second, &[id])], &[all_to(to)]);
    }
    let claimed = claim_some(&mut *inbox, to, 60, ClaimRequest::up_to(1));
    let backlog = Backlog { pending: 3, dead: 0, oldest_pending: Some(at(1)), last_event: Some(at(50)) };
    assert_eq!(inbox.backlog().unwrap(), backlog);
    assert_eq!(inbox.expire(at(50), at(50)).unwrap(), [("https://x".to_owned(), 1)]);
    let states: Vec<_> = all(&*inbox).into_iter().map(|event| (event.id, event.state)).collect();
    let expected = [("a", EventState::Pending), ("b", EventState::Dead), ("c", EventState::Pending)];
    assert_eq!(states, expected.map(|(id, state)| (id.to_owned(), state)));
    assert!(all(&*inbox)[1].error.as_deref().is_some_and(|error| error.contains("too long")));
    settle(&mut *inbox, &claimed[0], 61, AttemptOutcome::Retry { at: at(500), error: "x".to_owned() });
    // Put in line again, by a process that does not receive: the dead one, and the one that waits, at once.
    let mut other = store.existing_inbox().unwrap().unwrap();
    let undelivered = EventSelection { undelivered: true, until: Some(at(50)), ..EventSelection::default() };
    assert_eq!(requeue(&mut *other, &undelivered, at(70)), 2);
    assert_eq!(claimed_ids(&mut *inbox, to, 70), [["a"], ["b"], ["c"]]);
    assert_eq!(inbox.expire(at(70), at(70)).unwrap(), []);
}

pub(super) fn a_purged_claim_is_not_taken_for_another(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    commit(&mut *inbox, &[of_ids(1, &["a"])], &[all_to(to)]);
    let claimed = claim(&mut *inbox, to, 2).remove(0);
    let mut other = store.existing_inbox().unwrap().unwrap();
    let rule = bugfender_hooks::store::PurgeRule { before: Some(at(5)), even_pending: true, ..Default::default() };
    assert_eq!(other.purge(&rule).unwrap().events, 1);
    assert_eq!(is_new(&mut *inbox, of_ids(6, &["b"])), [true]);
    commit(&mut *inbox, &[of_ids(6, &["c"])], &[all_to(to)]);
    settle(&mut *inbox, &claimed, 7, AttemptOutcome::Delivered);
    assert_eq!(claimed_ids(&mut *inbox, to, 8), [["c"]]);
    assert_eq!(inbox.backlog().unwrap().pending, 1);
}

pub(super) fn claims_are_bounded_in_bytes(store: &dyn Store) {
    let mut inbox = receiver(store);
    let (whole, each) = (target(&mut *inbox, "whole"), target(&mut *inbox, "each"));
    let filler = "x".repeat(5_000_000);
    for id in 0..5 {
        let body = format!(r#"[{{"id":"small-{id}"}}, {{"id":"large-{id}","text":"{filler}"}}, {{"id":"end-{id}"}}]"#);
        commit(&mut *inbox, &[bugfender(1, &body)], &[all_to(whole), Route { together: false, ..all_to(each) }]);
    }
    assert_eq!((claim(&mut *inbox, whole, 2).len(), claim(&mut *inbox, whole, 2).len()), (4, 1));
    // Of a large body no more is read than goes.
    let one = claim_some(&mut *inbox, each, 2, ClaimRequest::up_to(3));
    assert_eq!(one.iter().map(|leased| leased.forward.body.len()).filter(|length| *length < 100).count(), 2);
    let json =
        |Leased { forward, .. }: &Leased| String::from_utf8(forward.event_json(&forward.events[0]).to_vec()).unwrap();
    assert_eq!((json(&one[0]), json(&one[2])), (r#"{"id":"small-0"}"#.to_owned(), r#"{"id":"end-0"}"#.to_owned()));
    assert_eq!(one[1].forward.json_array(), format!(r#"[{{"id":"large-0","text":"{filler}"}}]"#).into_bytes());
}

pub(super) fn leases_end_unless_they_are_renewed(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    commit(&mut *inbox, &[of_ids(1, &["a"]), of_ids(1, &["b"])], &[all_to(to)]);
    let claimed = claim(&mut *inbox, to, 10);
    let end = 10 + i64::try_from(LEASE.as_secs()).unwrap();
    assert!(claim(&mut *inbox, to, end - 1).is_empty());
    assert_eq!(inbox.renew(&[claimed[0].lease()], at(end - 1), LEASE).unwrap(), []);
    let again = claim(&mut *inbox, to, end);
    assert_eq!(again.iter().map(ids_of).collect::<Vec<_>>(), [["b"]]);
    // The first lease of it is lost, and cannot be renewed.
    assert_eq!(inbox.renew(&[claimed[1].lease()], at(end), LEASE).unwrap(), [claimed[1].lease()]);
    assert_eq!(inbox.expire(at(5), at(end)).unwrap(), []);
    inbox.release(&[claimed[1].lease()]).unwrap();
    assert!(claim(&mut *inbox, to, end).is_empty());
    inbox.release(&[again[0].lease(), claimed[0].lease()]).unwrap();
    assert_eq!(claim(&mut *inbox, to, end).len(), 2);
}

pub(super) fn a_lost_lease_records_nothing(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    commit(&mut *inbox, &[of_ids(1, &["a"])], &[all_to(to)]);
    let first = claim(&mut *inbox, to, 10).remove(0);
    let late = 10_000;
    let second = claim(&mut *inbox, to, late).remove(0);
    let failed = AttemptOutcome::DeadLettered { error: "x".to_owned() };
    assert_eq!(settle(&mut *inbox, &first, late, failed.clone()), Settled::LeaseLost);
    assert_eq!(inbox.backlog().unwrap().dead, 0);
    assert_eq!(settle(&mut *inbox, &second, late, AttemptOutcome::Delivered), Settled::Recorded);
    // What is settled is settled.
    assert_eq!(settle(&mut *inbox, &second, late, failed), Settled::LeaseLost);
    assert_eq!((inbox.backlog().unwrap().pending, inbox.backlog().unwrap().dead), (0, 0));
    // A lease that ended without anybody else claiming the forward is still good.
    commit(&mut *inbox, &[of_ids(1, &["b"])], &[all_to(to)]);
    let third = claim(&mut *inbox, to, 10).remove(0);
    assert_eq!(settle(&mut *inbox, &third, late, AttemptOutcome::Delivered), Settled::Recorded);
}
