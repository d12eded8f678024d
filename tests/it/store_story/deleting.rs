//! Events that are deleted by their ids leave nothing behind.

use bugfender_hooks::store::{
    AttemptOutcome, AttemptReport, ClaimRequest, EventPage, EventSelection, EventSeq, Events, Route, Settlement, Store,
};

use rusqlite::Connection;

use super::sqlite_files::scratch;
use super::{all, all_to, claim_some, commit, events, ids, ids_of, is_new, receiver, seq, target, with_ids};
use crate::support::inbox::{at, bugfender, noise, of_ids};

pub(super) fn what_is_deleted_is_gone_with_its_copies(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    let secret = noise(40);
    let person = format!(r#"{{"id":"b","title":"{secret}"}}"#);
    let routes = [all_to(to), Route { together: false, ..all_to(to) }];
    commit(&mut *inbox, &[bugfender(1, &format!(r#"[{{"id":"a"}}, {person},{{"id":"c"}},{person}]"#))], &routes);
    commit(&mut *inbox, &[bugfender(2, &format!(r#"[{person},{{"id":"d"}}]"#)), of_ids(3, &["alone"])], &routes);
    let deleted = [seq(&*inbox, "b"), seq(&*inbox, "alone")];
    assert_eq!((inbox.delete(&deleted).unwrap(), inbox.delete(&deleted).unwrap()), (2, 0));
    assert_eq!(ids(&*inbox, &EventSelection::default()), ["a", "c", "d"]);
    let page = EventPage { with_json: true, ..EventPage::default() };
    let json: Vec<_> =
        events(&*inbox, &EventSelection::default(), page).into_iter().map(|event| event.json.unwrap()).collect();
    assert_eq!(json, [&br#"{"id":"a"}"#[..], br#"{"id":"c"}"#, br#"{"id":"d"}"#]);
    // What is left is forwarded, and nothing else.
    let claimed = claim_some(&mut *inbox, to, 5, ClaimRequest::up_to(99));
    let mut forwarded: Vec<_> = claimed.iter().map(ids_of).collect();
    forwarded.sort_unstable();
    assert_eq!(forwarded, [vec!["a"], vec!["a", "c"], vec!["c"], vec!["d"], vec!["d"]]);
    for leased in &claimed {
        let array = leased.forward.json_array();
        assert!(serde_json::from_slice::<serde_json::Value>(&array).is_ok());
        assert!(!String::from_utf8(leased.forward.body.clone()).unwrap().contains(&secret));
    }
    assert_eq!(is_new(&mut *inbox, of_ids(9, &["a", "b", "c", "d"])), [false, true, false, false]);
    inbox.check().unwrap();
    assert_eq!(all(&*inbox).len(), 4);
}

/// The bodies of the deliveries of these events, as text.
fn bodies(inbox: &dyn Events, ids: &[&str]) -> Vec<String> {
    let body = |id: &&str| inbox.delivery_of(seq(inbox, id)).unwrap().unwrap().body;
    ids.iter().map(|id| String::from_utf8(body(id)).unwrap()).collect()
}

pub(super) fn copies_go_whenever_they_came(store: &dyn Store) {
    let mut inbox = receiver(store);
    let person = |id: &str| format!(r#"{{"id":"{id}","title":"person {id}"}}"#);
    let with_copy = |new: &str, copy: &str| bugfender(2, &format!(r#"[{{"id":"{new}"}},{}]"#, person(copy)));
    let persons: Vec<String> = ["a", "b", "c"].map(person).to_vec();
    commit(&mut *inbox, &[bugfender(1, &format!("[{}]", persons.join(",")))], &[]);
    commit(&mut *inbox, &[with_copy("first", "a"), with_copy("second", "b")], &[]);
    // By a process that goes on: what it has looked at it does not look at again.
    let mut other = store.existing_inbox().unwrap().unwrap();
    assert_eq!(other.delete(&[seq(&*inbox, "a")]).unwrap(), 1);
    let blanked = |id: &str| format!(r#" {{"id":"{id}"}}"#);
    let is_blank = |bodies: Vec<String>, ids: &[&str]| {
        let expected: Vec<String> = ids.iter().map(|id| blanked(id)).collect();
        assert_eq!(bodies.iter().map(|body| body.trim_end()).collect::<Vec<_>>(), expected);
    };
    is_blank(bodies(&*inbox, &["first", "second"]), &["first", "second"]);
    commit(&mut *inbox, &[with_copy("third", "b"), with_copy("fourth", "c")], &[]);
    assert!(bodies(&*inbox, &["third", "fourth"]).concat().contains("person c"));
    assert_eq!(other.delete(&[seq(&*inbox, "b")]).unwrap(), 1);
    is_blank(bodies(&*inbox, &["third", "fourth"]), &["third", "fourth"]);
    // The newest events are gone, and those that come in their places are others.
    let newest = ["third", "fourth"].map(|id| seq(&*inbox, id));
    assert_eq!(other.delete(&newest).unwrap(), 2);
    commit(&mut *inbox, &[with_copy("fifth", "c")], &[]);
    assert_eq!(other.delete(&[seq(&*inbox, "c")]).unwrap(), 1);
    is_blank(bodies(&*inbox, &["first", "second", "fifth"]), &["first", "second", "fifth"]);
    assert_eq!(is_new(&mut *inbox, of_ids(9, &["a", "fifth", "c"])), [true, false, true]);
    inbox.check().unwrap();
}

pub(super) fn many_are_deleted_from_few_and_from_many_deliveries(store: &dyn Store) {
    let mut inbox = receiver(store);
    let to = target(&mut *inbox, "x");
    let names: Vec<String> = (0..1202).map(|number| format!("large-{number}")).collect();
    let large = of_ids(1, &names.iter().map(String::as_str).collect::<Vec<_>>());
    // On its own each, and all together.
    commit(&mut *inbox, &[large], &[Route { together: false, ..all_to(to) }, all_to(to)]);
    let small: Vec<_> = (0..700).map(|number| of_ids(2, &[&format!("small-{number}")])).collect();
    commit(&mut *inbox, &small, &[all_to(to)]);
    let claimed = claim_some(&mut *inbox, to, 3, ClaimRequest::up_to(2000));
    let together = claimed.iter().find(|leased| leased.forward.events.len() == 1202).unwrap();
    let report = AttemptReport { answer: b"large-0 is a person".to_vec(), ..AttemptReport::default() };
    let outcome = AttemptOutcome::DeadLettered { error: "large-0 is a person".to_owned() };
    inbox.settle(&[Settlement { lease: together.lease(), at: at(4), outcome, report }]).unwrap();
    let every_second: Vec<EventSeq> = all(&*inbox).iter().step_by(2).map(|event| event.seq).collect();
    // In whatever order, some of them twice, and with one that there is not.
    let mut asked = every_second.clone();
    asked.reverse();
    asked.extend([every_second[7], EventSeq(1_000_000), every_second[900]]);
    assert_eq!((inbox.delete(&asked).unwrap(), inbox.delete(&asked).unwrap()), (951, 0));
    let left: Vec<String> = (0..1202)
        .map(|number| format!("large-{number}"))
        .chain((0..700).map(|number| format!("small-{number}")))
        .skip(1)
        .step_by(2)
        .collect();
    assert_eq!(ids(&*inbox, &EventSelection::default()), left);
    assert_eq!((inbox.backlog().unwrap().pending, inbox.backlog().unwrap().dead), (951, 1));
    let ways = inbox.forwards_of(seq(&*inbox, "large-1")).unwrap();
    assert_eq!(ways.len(), 2);
    let said: Vec<_> = ways.iter().flat_map(|way| &way.newest_attempts).collect();
    assert_eq!(said.len(), 1);
    assert!(said[0].error.is_none() && said[0].report.answer.is_empty(), "{said:?}");
    assert!(events(&*inbox, &with_ids(&["large-1"]), EventPage::default())[0].error.is_none());
    let body = &bodies(&*inbox, &["large-1"])[0];
    assert!(body.contains(r#"{"id":"large-1201"}"#) && !body.contains(r#""large-0""#) && !body.contains("large-1200"));
    // What is left goes too, and then nothing is left.
    let rest: Vec<EventSeq> = all(&*inbox).iter().map(|event| event.seq).collect();
    assert_eq!(inbox.delete(&rest).unwrap(), 951);
    assert!(all(&*inbox).is_empty());
    assert_eq!((inbox.backlog().unwrap().pending, inbox.backlog().unwrap().dead), (0, 0));
    inbox.check().unwrap();
}

#[test]
fn what_was_cut_short_is_finished_when_it_is_repeated() {
    let (_dir, store) = scratch();
    let mut inbox = receiver(&store);
    let person = r#"{"id":"a","title":"person a"}"#;
    commit(&mut *inbox, &[bugfender(1, &format!("[{person}]"))], &[]);
    commit(&mut *inbox, &[bugfender(2, &format!(r#"[{{"id":"b"}},{person}]"#))], &[]);
    let connection = Connection::open(store.inbox_path()).unwrap();
    let cut = "CREATE TRIGGER cut BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'cut short'); END";
    connection.execute_batch(cut).unwrap();
    let event = [seq(&*inbox, "a")];
    assert!(inbox.delete(&event).is_err());
    // Its copies are gone, and it is not: nobody takes it for deleted as long as something of it may be left.
    assert_eq!(bodies(&*inbox, &["b"])[0].trim_end(), r#" {"id":"b"}"#);
    assert_eq!(ids(&*inbox, &EventSelection::default()), ["a", "b"]);
    connection.execute_batch("DROP TRIGGER cut").unwrap();
    assert_eq!(inbox.delete(&event).unwrap(), 1);
    assert_eq!(ids(&*inbox, &EventSelection::default()), ["b"]);
}
