//! The store's story: the same for every backend, told in terms of the store alone. A story opens the store's parts
//! again and again, as processes that come and go do.

mod forwarding;
mod looking;
mod purging;
mod receiving;
mod registry;
mod sqlite;

use bugfender_hooks::domain::delivery::Delivery;
use bugfender_hooks::store::{
    AttemptOutcome, EventPage, EventRecord, EventSelection, EventSeq, Forward, Inbox, Receipt, Route, Settlement,
    Store, TargetId, TargetName,
};

use crate::support::inbox::at;

/// An inbox that receives.
fn receiver(store: &dyn Store) -> Box<dyn Inbox> {
    let mut inbox = store.inbox().unwrap();
    inbox.begin_receiving().unwrap();
    inbox
}

fn commit(inbox: &mut dyn Inbox, deliveries: &[Delivery], routes: &[Route]) -> Vec<Receipt> {
    inbox.commit_deliveries(deliveries, routes).unwrap()
}

/// Commits one delivery and says which of its events are new.
fn is_new(inbox: &mut dyn Inbox, delivery: Delivery) -> Vec<bool> {
    let receipts = commit(inbox, &[delivery], &[]);
    receipts[0].events.iter().map(Option::is_some).collect()
}

fn target(inbox: &mut dyn Inbox, name: &str) -> TargetId {
    inbox.targets(&[TargetName { key: name.to_owned(), shown: format!("https://{name}") }]).unwrap()[0]
}

/// Everything to this target, the events of a delivery together.
fn all_to(target: TargetId) -> Route {
    Route { target, types: Vec::new(), together: true }
}

fn events(inbox: &dyn Inbox, selection: &EventSelection, page: EventPage) -> Vec<EventRecord> {
    let mut found = Vec::new();
    inbox
        .events(selection, page, &mut |event| {
            found.push(event);
            true
        })
        .unwrap();
    found
}

/// The ids of the events that are meant, oldest first.
fn ids(inbox: &dyn Inbox, selection: &EventSelection) -> Vec<String> {
    events(inbox, selection, EventPage::default()).into_iter().map(|event| event.id).collect()
}

fn all(inbox: &dyn Inbox) -> Vec<EventRecord> {
    events(inbox, &EventSelection::default(), EventPage::default())
}

fn with_ids(ids: &[&str]) -> EventSelection {
    EventSelection { ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()), ..EventSelection::default() }
}

fn seq(inbox: &dyn Inbox, id: &str) -> EventSeq {
    events(inbox, &with_ids(&[id]), EventPage::default())[0].seq
}

fn ids_of(forward: &Forward) -> Vec<&str> {
    forward.events.iter().map(|event| event.id.as_str()).collect()
}

fn settle(inbox: &mut dyn Inbox, forward: &Forward, second: i64, outcome: AttemptOutcome) {
    inbox.settle_forwards(&[Settlement { forward: forward.id, at: at(second), outcome }]).unwrap();
}
