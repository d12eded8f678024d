//! Events are found by what is known of them, and counted.

use bugfender_hooks::domain::event::Sender;
use bugfender_hooks::store::{
    AttemptOutcome, ClaimRequest, EventCount, EventPage, EventSelection, EventState, ReceiverInbox, Route, Store,
};

use super::{all, all_to, claim_some, commit, events, ids, receiver, seq, settle, target, with_ids};
use crate::support::inbox::{at, bugfender, instabug, noise, of_ids, requeue};

/// Crash a of app 7 is dead, issue b of app 7 pending, crash c of app 8 forwarded; d has no type and no target; an
/// Instabug report is the newest.
fn filled(store: &dyn Store) -> Box<dyn ReceiverInbox> {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    for (second, body) in [
        (10, r#"[{"id":"a","type":"crash","app":{"id":7}}]"#),
        (20, r#"[{"id":"b","type":"issue","app":{"id":7}}]"#),
        (30, r#"[{"id":"c","type":"crash","app":{"id":8}}]"#),
    ] {
        commit(&mut *inbox, &[bugfender(second, body)], &[all_to(to)]);
    }
    let claimed = claim_some(&mut *inbox, to, 31, ClaimRequest::up_to(9));
    settle(&mut *inbox, &claimed[0], 32, AttemptOutcome::DeadLettered { error: "gone".to_owned() });
    settle(&mut *inbox, &claimed[2], 33, AttemptOutcome::Delivered);
    inbox.release(&[claimed[1].lease()]).unwrap();
    commit(&mut *inbox, &[bugfender(40, r#"[{"id":"d"},{"id":"a"}]"#), instabug(50, r#"{"Exception":"e"}"#)], &[]);
    inbox
}

pub(super) fn selections_meet_every_condition(store: &dyn Store) {
    let inbox = filled(store);
    let report = all(&*inbox)[4].id.clone();
    let report = report.as_str();
    let found = |selection: EventSelection| ids(&*inbox, &selection);
    let none = EventSelection::default;
    assert_eq!(found(none()), ["a", "b", "c", "d", report]);
    assert_eq!(found(with_ids(&["c", "a", "nope"])), ["a", "c"]);
    assert!(found(with_ids(&["nope"])).is_empty() && found(with_ids(&[])).is_empty());
    assert_eq!(found(EventSelection { since: Some(at(30)), ..none() }), ["c", "d", report]);
    assert_eq!(found(EventSelection { until: Some(at(30)), ..none() }), ["a", "b"]);
    assert_eq!(found(EventSelection { app_ids: vec![7], ..none() }), ["a", "b"]);
    assert_eq!(found(EventSelection { app_ids: vec![8, 7], ..none() }), ["a", "b", "c"]);
    assert_eq!(found(EventSelection { types: vec!["crash".to_owned()], ..none() }), ["a", "c", report]);
    assert_eq!(found(EventSelection { types: vec!["CRASH".to_owned()], ..none() }), ["a", "c", report]);
    let types = vec!["issue".to_owned(), "nope".to_owned()];
    assert_eq!(found(EventSelection { types, ..none() }), ["b"]);
    assert_eq!(found(EventSelection { sender: Some(Sender::Instabug), ..none() }), [report]);
    assert_eq!(found(EventSelection { undelivered: true, ..none() }), ["a", "b"]);
    assert_eq!(found(EventSelection { dead: true, ..none() }), ["a"]);
    assert_eq!(found(EventSelection { dead: true, undelivered: true, ..none() }), ["a"]);
    assert_eq!(found(EventSelection { after: Some(seq(&*inbox, "c")), ..none() }), ["d", report]);
    assert_eq!(found(EventSelection { before: Some(seq(&*inbox, "c")), ..none() }), ["a", "b"]);
    let crashes =
        EventSelection { types: vec!["crash".to_owned()], app_ids: vec![7, 8], since: Some(at(11)), ..none() };
    assert_eq!(found(crashes), ["c"]);
    assert!(found(EventSelection { sender: Some(Sender::Instabug), ..with_ids(&["a"]) }).is_empty());
}

/// An event for each target that has it pending (p), dead (d) or forwarded (f), in the order of the targets.
pub(super) fn a_state_is_that_of_all_targets_or_of_one(store: &dyn Store) {
    let mut inbox = receiver(store);
    let targets = ["x", "y"].map(|name| target(&mut *inbox, name));
    let routes = targets.map(all_to);
    let ends = ["pp", "pd", "pf", "dp", "dd", "df", "fp", "fd", "ff"];
    for id in ends {
        commit(&mut *inbox, &[of_ids(1, &[id])], &routes);
    }
    commit(&mut *inbox, &[of_ids(1, &["none"])], &[]);
    for (place, to) in targets.into_iter().enumerate() {
        let claimed = claim_some(&mut *inbox, to, 2, ClaimRequest::up_to(9));
        assert_eq!(claimed.len(), 9);
        for leased in claimed {
            let outcome = match leased.forward.events[0].id.as_bytes()[place] {
                b'p' => AttemptOutcome::Retry { at: at(100), error: "busy".to_owned() },
                b'd' => AttemptOutcome::DeadLettered { error: "gone".to_owned() },
                _ => AttemptOutcome::Delivered,
            };
            settle(&mut *inbox, &leased, 3, outcome);
        }
    }
    let name = || Some("https://y".to_owned());
    for state in EventState::ALL {
        let selection = EventSelection { state: Some(state), ..EventSelection::default() };
        let expected: Vec<_> = all(&*inbox).into_iter().filter(|event| event.state == state).collect();
        let expected: Vec<_> = expected.into_iter().map(|event| event.id).collect();
        assert!(!expected.is_empty() && ids(&*inbox, &selection) == expected, "{state:?}");
        let newest = EventPage { newest_first: true, limit: Some(1), ..EventPage::default() };
        assert_eq!(events(&*inbox, &selection, newest)[0].id, expected[expected.len() - 1]);
        let counted: u64 = inbox.count_events(&selection).unwrap().iter().map(|count| count.events).sum();
        assert_eq!(counted, expected.len() as u64, "{state:?}");
        let of_y = EventSelection { target: name(), ..selection };
        let theirs = |id: &str| ends.contains(&id) && id.ends_with(&state.as_str()[..1]);
        let expected: Vec<&str> = ends.into_iter().filter(|id| theirs(id)).collect();
        assert!(ids(&*inbox, &of_y) == expected, "{state:?}");
        let counted: u64 = inbox.count_events(&of_y).unwrap().iter().map(|count| count.events).sum();
        assert_eq!(counted, expected.len() as u64, "{state:?}");
    }
    // Together with what the other conditions say of forwards.
    let dead_and_pending = EventSelection { state: Some(EventState::Pending), dead: true, ..EventSelection::default() };
    assert_eq!(ids(&*inbox, &dead_and_pending), ["pd", "dp"]);
    let dead = EventSelection { state: Some(EventState::Dead), ..EventSelection::default() };
    assert_eq!(requeue(&mut *inbox, &dead, at(10)), 4);
    let of_y = EventSelection { target: name(), ..dead };
    assert_eq!(requeue(&mut *inbox, &of_y, at(11)), 1);
    assert_eq!(ids(&*inbox, &EventSelection { dead: true, ..EventSelection::default() }), ["dp"]);
}

pub(super) fn bodies_are_read_as_they_came(store: &dyn Store) {
    let mut inbox = receiver(store);
    let (whole, each) = (target(&mut *inbox, "whole"), target(&mut *inbox, "each"));
    let routes = [all_to(whole), Route { together: false, ..all_to(each) }];
    let with_json = EventPage { with_json: true, ..EventPage::default() };
    let text = |length: usize| format!("{}{}", "at com.example.Shop ".repeat(length / 40), noise(length / 2));
    for (index, length) in [1, 100, 1000, 30_000, 65_000, 66_000, 300_000].into_iter().enumerate() {
        let event = |id: &str| format!(r#"{{"id":"{id}-{index}","text":"é{}"}}"#, text(length / 2));
        let (first, second) = (event("a"), event("b"));
        let body = format!(" [{first},\n {second}]");
        commit(&mut *inbox, &[bugfender(1, &body)], &routes);
        let stored = events(&*inbox, &EventSelection::default(), with_json);
        let json: Vec<_> = stored[2 * index..].iter().map(|event| event.json.as_deref().unwrap()).collect();
        assert!(json == [first.as_bytes(), second.as_bytes()], "{length}");
        let mut claim = |to| claim_some(&mut *inbox, to, 2, ClaimRequest::up_to(2));
        assert_eq!(claim(whole)[0].forward.body, body.as_bytes(), "{length}");
        let arrays: Vec<_> = claim(each).iter().map(|leased| leased.forward.json_array()).collect();
        assert!(arrays == [format!("[{first}]").into_bytes(), format!("[{second}]").into_bytes()], "{length}");
    }
}

pub(super) fn pages_have_an_order_and_an_end(store: &dyn Store) {
    let inbox = filled(store);
    let page = |newest_first, limit| {
        let found = events(
            &*inbox,
            &EventSelection::default(),
            EventPage { newest_first, limit, with_json: true, ..EventPage::default() },
        );
        found.into_iter().map(|event| (event.app_id, event.json.unwrap().len())).collect::<Vec<_>>()
    };
    assert_eq!(page(false, Some(2)), page(false, None)[..2]);
    let mut reversed = page(true, None);
    assert_eq!(page(true, Some(3)), reversed[..3]);
    reversed.reverse();
    assert_eq!(reversed, page(false, None));
    assert!(page(false, Some(0)).is_empty());
    let dead = EventSelection { undelivered: true, ..EventSelection::default() };
    let newest = EventPage { newest_first: true, limit: Some(1), ..EventPage::default() };
    assert_eq!(events(&*inbox, &dead, newest)[0].id, "b");
    let mut seen = 0;
    let stop = &mut |_| {
        seen += 1;
        seen < 2
    };
    inbox.events(&EventSelection::default(), EventPage::default(), stop).unwrap();
    assert_eq!(seen, 2);
    // Many ids are no more than a few.
    let names: Vec<String> = (0..40_000).map(|number| number.to_string()).chain(["c".to_owned()]).collect();
    assert_eq!(ids(&*inbox, &EventSelection { ids: Some(names), ..EventSelection::default() }), ["c"]);
}

pub(super) fn events_are_counted_by_kind(store: &dyn Store) {
    let inbox = filled(store);
    let mut counts = inbox.count_events(&EventSelection::default()).unwrap();
    counts.sort_by_key(|count| (count.sender, count.event_type.clone(), count.app_id));
    let count = |sender, event_type: Option<&str>, app_id, duplicates, pending, dead, second| EventCount {
        sender,
        event_type: event_type.map(str::to_owned),
        app_id,
        events: 1,
        duplicates,
        pending,
        dead,
        first_at: at(second),
        last_at: at(second),
    };
    assert_eq!(
        counts,
        [
            count(Sender::Bugfender, None, None, 0, 0, 0, 40),
            count(Sender::Bugfender, Some("crash"), Some(7), 1, 0, 1, 10),
            count(Sender::Bugfender, Some("crash"), Some(8), 0, 0, 0, 30),
            count(Sender::Bugfender, Some("issue"), Some(7), 0, 1, 0, 20),
            count(Sender::Instabug, Some("crash"), None, 0, 0, 0, 50),
        ]
    );
    let crashes = EventSelection { types: vec!["crash".to_owned()], until: Some(at(35)), ..EventSelection::default() };
    assert_eq!(inbox.count_events(&crashes).unwrap().len(), 2);
    assert!(inbox.count_events(&with_ids(&["nope"])).unwrap().is_empty());
}
