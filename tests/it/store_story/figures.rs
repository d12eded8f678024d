//! What is worked out for people who look: how many came when, and how long it took to forward them.

use std::time::Duration;

use bugfender_hooks::store::{AttemptOutcome, ClaimRequest, EventBucket, EventSeq, Events, Store};
use jiff::SignedDuration;

use super::{all_to, claim_some, commit, receiver, seq, settle, target};
use crate::support::inbox::{at, bugfender, instabug, of_ids};

/// The second of each step that holds something, with its type, events and duplicates.
fn histogram(inbox: &dyn Events, since: i64, until: i64, step: SignedDuration) -> Vec<(i64, String, u64, u64)> {
    let found = inbox.histogram(at(since), at(until), step).unwrap();
    let shown = |bucket: EventBucket| {
        let start = bucket.start.as_second() - at(0).as_second();
        (start, bucket.event_type.unwrap_or_default(), bucket.events, bucket.duplicates)
    };
    found.into_iter().map(shown).collect()
}

pub(super) fn events_are_counted_by_steps_of_time(store: &dyn Store) {
    let mut inbox = receiver(store);
    let step = SignedDuration::from_secs(10);
    assert_eq!(histogram(&*inbox, 0, 100, step), []);
    let two = r#"[{"id":"a","type":"issue"},{"id":"b","type":"crash"},{"id":"c","type":"crash"}]"#;
    commit(&mut *inbox, &[bugfender(5, two), of_ids(14, &["d"]), instabug(15, r#"{"Exception":"e"}"#)], &[]);
    // A clock that was set back, and duplicates that came later.
    let again = r#"[{"id":"b","type":"crash"},{"id":"f","type":"crash"}]"#;
    commit(&mut *inbox, &[of_ids(4, &["g"]), bugfender(95, again), bugfender(96, again), of_ids(105, &["h"])], &[]);
    let row = |start: i64, event_type: &str, events, duplicates| (start, event_type.to_owned(), events, duplicates);
    assert_eq!(
        histogram(&*inbox, 5, 105, step),
        [
            row(5, "", 1, 0),
            row(5, "crash", 2, 2),
            row(5, "issue", 1, 0),
            row(15, "crash", 1, 0),
            row(95, "crash", 1, 1)
        ]
    );
    assert_eq!(histogram(&*inbox, 0, 5, step), [row(0, "", 1, 0)]);
    let whole = [row(0, "", 3, 0), row(0, "crash", 4, 3), row(0, "issue", 1, 0)];
    assert_eq!(histogram(&*inbox, 0, 200, SignedDuration::MAX), whole);
    // Nothing, and not without end.
    assert_eq!(histogram(&*inbox, 200, 0, step), []);
    assert_eq!(histogram(&*inbox, 5, 6, SignedDuration::ZERO).len(), 2);
    assert_eq!(histogram(&*inbox, 5, 6, -step).len(), 2);
}

pub(super) fn what_was_accepted_says_how_long_it_took(store: &dyn Store) {
    let mut inbox = receiver(store);
    let latency = |inbox: &dyn Events, since: i64| {
        let latency = inbox.forward_latency(at(since)).unwrap();
        latency.map(|latency| (latency.p50, latency.p99, latency.forwards))
    };
    let seconds = Duration::from_secs;
    let to = target(&mut *inbox, "x");
    for id in 0..5 {
        commit(&mut *inbox, &[of_ids(10, &[&id.to_string()])], &[all_to(to)]);
    }
    assert_eq!(latency(&*inbox, 0), None);
    let claimed = claim_some(&mut *inbox, to, 11, ClaimRequest::up_to(9));
    settle(&mut *inbox, &claimed[0], 12, AttemptOutcome::Delivered);
    settle(&mut *inbox, &claimed[1], 40, AttemptOutcome::Delivered);
    settle(&mut *inbox, &claimed[2], 14, AttemptOutcome::Delivered);
    settle(&mut *inbox, &claimed[3], 999, AttemptOutcome::DeadLettered { error: "gone".to_owned() });
    settle(&mut *inbox, &claimed[4], 15, AttemptOutcome::Retry { at: at(100), error: "busy".to_owned() });
    assert_eq!(latency(&*inbox, 0), Some((seconds(4), seconds(30), 3)));
    assert_eq!(latency(&*inbox, 14), Some((seconds(4), seconds(30), 2)));
    assert_eq!(latency(&*inbox, 41), None);
    // A clock that was set back.
    let late = claim_some(&mut *inbox, to, 100, ClaimRequest::up_to(1)).remove(0);
    settle(&mut *inbox, &late, 9, AttemptOutcome::Delivered);
    assert_eq!(latency(&*inbox, 0).unwrap(), (seconds(2), seconds(30), 4));
}

pub(super) fn an_event_has_its_delivery(store: &dyn Store) {
    let mut inbox = receiver(store);
    // One that is compressed, one that is too large for that, and one that is short.
    for (second, length) in [(1, 3000), (2, 90_000), (3, 0)] {
        let filler = "at com.example.Shop ".repeat(length / 20);
        let body = format!(" [{{\"id\":\"a{second}\"}},\n {{\"id\":\"b{second}\",\"text\":\"{filler}\"}}]");
        commit(&mut *inbox, &[of_ids(second, &[&format!("a{second}")]), bugfender(second + 10, &body)], &[]);
        let delivery = inbox.delivery_of(seq(&*inbox, &format!("b{second}"))).unwrap().unwrap();
        assert!(delivery.body == body.as_bytes(), "{length}");
        assert_eq!((delivery.received_at, delivery.events), (at(second + 10), 2));
        assert_eq!(delivery.content_type.as_deref(), Some("application/json"));
    }
    assert_eq!(inbox.delivery_of(EventSeq(1_000_000)).unwrap(), None);
    // What was deleted is not in it anymore.
    let (a, b) = (seq(&*inbox, "a1"), seq(&*inbox, "b3"));
    assert_eq!(inbox.delete(&[a]).unwrap(), 1);
    assert_eq!(inbox.delivery_of(a).unwrap(), None);
    assert_eq!(inbox.delete(&[seq(&*inbox, "a3")]).unwrap(), 1);
    let left = inbox.delivery_of(b).unwrap().unwrap().body;
    assert_eq!(String::from_utf8(left).unwrap().trim(), r#"{"id":"b3","text":""}"#);
}
