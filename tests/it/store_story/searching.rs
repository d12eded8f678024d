//! Events are found by what their JSON says.

use bugfender_hooks::domain::EventSearch;
use bugfender_hooks::store::{
    AttemptOutcome, ClaimRequest, EventPage, EventSelection, EventSeq, EventState, ReceiverInbox, Route, Store,
};

use super::{all_to, claim_some, commit, events, ids, receiver, settle, target};
use crate::support::inbox::{at, bugfender, instabug, requeue};

fn looking_for(text: &str) -> EventSelection {
    EventSelection { search: EventSearch::parse(text), ..EventSelection::default() }
}

/// Events 0 to 449 of three deliveries, each with its number in words; every third is of a Pixel. All are dead for x and
/// pending for y, and a report of Instabug's is the newest.
fn filled(store: &dyn Store) -> Box<dyn ReceiverInbox> {
    let mut inbox = receiver(store);
    let (x, y) = (target(&mut *inbox, "x"), target(&mut *inbox, "y"));
    for start in [0, 150, 300] {
        let event = |number: i32| {
            let device = if number % 3 == 0 { r"Pix\u0065l" } else { "Galaxy" };
            format!(
                r#"{{"id":"{number}","type":"crash","title":"Nº {number}!","device":{{"name":"{device}","free":{number}.5}}}}"#
            )
        };
        let body = format!("[{}]", (start..start + 150).map(event).collect::<Vec<_>>().join(",\n"));
        let routes = [Route { together: false, ..all_to(x) }, all_to(y)];
        commit(&mut *inbox, &[bugfender(10, &body)], &routes);
    }
    commit(&mut *inbox, &[instabug(20, r#"{"Exception":"BOOM","device":{"name":"pixel"}}"#)], &[]);
    for leased in claim_some(&mut *inbox, x, 11, ClaimRequest::up_to(1000)) {
        settle(&mut *inbox, &leased, 12, AttemptOutcome::DeadLettered { error: "gone".to_owned() });
    }
    inbox
}

pub(super) fn events_are_found_by_what_they_say(store: &dyn Store) {
    let inbox = filled(store);
    let found = |text: &str| ids(&*inbox, &looking_for(text));
    assert_eq!(found("\"nº 7!\""), ["7"]);
    assert_eq!(found("device.free=449.5 galaxy"), ["449"]);
    assert_eq!((found("pixel").len(), found("galaxy").len(), found("device").len()), (151, 300, 0));
    assert_eq!(found("boom").len(), 1);
    // With other conditions, and in every way to read.
    let pixels = EventSelection { types: vec!["crash".to_owned()], until: Some(at(15)), ..looking_for("device:pixel") };
    let counts = inbox.count_events(&pixels).unwrap();
    assert_eq!(
        counts.iter().map(|count| (count.events, count.pending, count.dead)).collect::<Vec<_>>(),
        [(150, 150, 0)]
    );
    let of_x = EventSelection { target: Some("https://x".to_owned()), ..pixels.clone() };
    assert_eq!(inbox.count_events(&of_x).unwrap()[0].dead, 150);
    let page = EventPage { newest_first: true, limit: Some(2), with_json: true, ..EventPage::default() };
    let newest = events(&*inbox, &pixels, page);
    assert_eq!(newest.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["447", "444"]);
    assert!(String::from_utf8(newest[0].json.clone().unwrap()).unwrap().contains(r"Pix\u0065l"));
    assert!(events(&*inbox, &pixels, EventPage::default()).iter().all(|event| event.json.is_none()));
    let none = EventPage { limit: Some(0), ..EventPage::default() };
    assert!(events(&*inbox, &pixels, none).is_empty());
}

pub(super) fn a_search_ends_where_it_must(store: &dyn Store) {
    let inbox = filled(store);
    let look = |selection: &EventSelection, page: EventPage| {
        let mut found = Vec::new();
        let reached = inbox.events(selection, page, &mut |event| {
            found.push(event.id);
            true
        });
        (found, reached.unwrap())
    };
    // Page by page, some with nothing on them.
    let mut selection = looking_for("id=7 id:7");
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let (some, reached) =
            look(&selection, EventPage { scan_limit: Some(50), newest_first: true, ..EventPage::default() });
        found.extend(some);
        pages += 1;
        let Some(reached) = reached else { break };
        assert!(selection.before.is_none_or(|before| reached < before));
        selection.before = Some(reached);
    }
    assert_eq!((found, pages), (vec!["7".to_owned()], 10));
    // A limit that is met before says nothing of it.
    let page = EventPage { limit: Some(3), scan_limit: Some(450), ..EventPage::default() };
    assert_eq!(look(&looking_for("pixel"), page), (["0", "3", "6"].map(str::to_owned).to_vec(), None));
    let page = EventPage { scan_limit: Some(4), ..EventPage::default() };
    let (found, reached) = look(&EventSelection::default(), page);
    assert_eq!((found.len(), reached.is_some()), (4, true));
    let state = EventSelection { state: Some(EventState::Stored), ..EventSelection::default() };
    assert_eq!(look(&state, EventPage { scan_limit: Some(1000), ..EventPage::default() }).1, None::<EventSeq>);
}

pub(super) fn what_is_found_is_requeued(store: &dyn Store) {
    let mut inbox = filled(store);
    let pixels = looking_for("device.name=pixel");
    let of_x = EventSelection { target: Some("https://x".to_owned()), ..pixels.clone() };
    assert_eq!(requeue(&mut *inbox, &of_x, at(30)), 150);
    let pending = EventSelection { undelivered: true, dead: false, ..of_x };
    let counts = inbox.count_events(&pending).unwrap();
    assert_eq!((counts[0].pending, counts[0].dead), (150, 0));
    // Three forwards to y are of many events each.
    assert_eq!(requeue(&mut *inbox, &pixels, at(31)), 153);
    assert_eq!(requeue(&mut *inbox, &looking_for("iphone"), at(32)), 0);
    assert_eq!(requeue(&mut *inbox, &EventSelection { dead: true, ..looking_for("galaxy crash") }, at(33)), 303);
}
