//! Events that are deleted by their ids leave nothing behind.

use bugfender_hooks::store::{ClaimRequest, EventPage, EventSelection, Route, Store};

use super::{all, all_to, claim_some, commit, events, ids, ids_of, is_new, receiver, seq, target};
use crate::support::inbox::{bugfender, noise, of_ids};

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
