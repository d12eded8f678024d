//! Deliveries as a receiver makes them, to fill an inbox with.

use bugfender_hooks::domain::delivery::{Delivery, DeliveryKeys, Verified};
use bugfender_hooks::domain::signature::sign_instabug;
use bugfender_hooks::domain::{AppId, Secret};
use bugfender_hooks::store::{EncodedDelivery, EventSelection, Maintenance};
use jiff::Timestamp;

/// Makes an inbox in a file one of the version that did not poll.
pub const INBOX_BEFORE_POLLING: &str = "PRAGMA user_version = 1651048452;
    DROP TRIGGER events_removed; DROP INDEX events_that_came_later;
    ALTER TABLE deliveries DROP COLUMN via; ALTER TABLE events DROP COLUMN came_at;
    ALTER TABLE targets DROP COLUMN types; ALTER TABLE targets DROP COLUMN together;
    ALTER TABLE targets DROP COLUMN held_until;
    DROP TABLE arrivals; DROP TABLE arrivals_seen; DROP TABLE polls; DROP TABLE missed; DROP TABLE handed_over;";

/// The same for a schema in PostgreSQL.
pub const SCHEMA_BEFORE_POLLING: &str = "SET search_path = bugfender_hooks; DELETE FROM migrations WHERE version > 2;
    ALTER TABLE deliveries DROP COLUMN via; ALTER TABLE events DROP COLUMN came_at;
    ALTER TABLE targets DROP COLUMN types, DROP COLUMN together;
    DROP TABLE arrivals, arrivals_seen, polls, missed;";

const KEY: &str = "key-of-the-tests";

/// A time, so many seconds after one that is the same in every test.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// What Bugfender delivers.
pub fn bugfender(second: i64, body: &str) -> Delivery {
    deliver(&of_bugfender(), second, body.as_bytes())
}

/// A delivery of Bugfender's that was not read: it goes into quarantine, whatever is in it.
pub fn unreadable(second: i64, body: &str) -> Delivery {
    let body = body.as_bytes().to_vec();
    Delivery::unreadable(
        &of_bugfender(),
        at(second),
        Some("application/json".to_owned()),
        body,
        "it was not understood",
    )
}

/// A delivery of Bugfender's with events that have these ids.
pub fn of_ids(second: i64, ids: &[&str]) -> Delivery {
    let events: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    bugfender(second, &format!("[{}]", events.join(",")))
}

/// What is read through Bugfender's API, of an app.
pub fn polled(app: i64, second: i64, body: &str) -> Delivery {
    Delivery::polled(AppId::new(app).unwrap(), at(second), body.as_bytes().to_vec(), None).unwrap()
}

/// What Instabug delivers.
pub fn instabug(second: i64, body: &str) -> Delivery {
    let secret = || Secret::parse("the secret", "s3cretOfInstabug16").unwrap();
    let signature = sign_instabug(&secret(), body.as_bytes());
    let delivery_keys = DeliveryKeys::new(&Secret::parse("the key", KEY).unwrap(), vec![secret()]).unwrap();
    deliver(&delivery_keys.verify_instabug_signatures(&[&signature], body.as_bytes()).unwrap(), second, body.as_bytes())
}

/// These deliveries, ready to be stored.
pub fn encoded(deliveries: &[Delivery]) -> Vec<EncodedDelivery> {
    deliveries.iter().cloned().map(EncodedDelivery::encode).collect()
}

/// Requeues all that is selected, step by step; returns how many forwards.
pub fn requeue(inbox: &mut (impl Maintenance + ?Sized), selection: &EventSelection, now: Timestamp) -> u64 {
    let (mut selection, mut forwards) = (selection.clone(), 0);
    loop {
        let requeued = inbox.requeue(&selection, now).unwrap();
        forwards += requeued.forwards;
        if requeued.reached.is_none() {
            return forwards;
        }
        selection.after = requeued.reached;
    }
}

/// So many characters that cannot be stored in much less space.
pub fn noise(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(length).collect()
}

fn of_bugfender() -> Verified {
    let delivery_keys = DeliveryKeys::new(&Secret::parse("the key", KEY).unwrap(), Vec::new()).unwrap();
    delivery_keys.verify_bugfender(KEY).unwrap()
}

fn deliver(verified: &Verified, second: i64, body: &[u8]) -> Delivery {
    Delivery::read(verified, at(second), Some("application/json".to_owned()), body.to_vec(), None)
}
