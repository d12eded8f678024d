//! What is worked out for people who look: how many came when.

use bugfender_hooks::store::{EventBucket, Events, Store};
use jiff::SignedDuration;

use super::{commit, receiver};
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
        [row(5, "", 1, 0), row(5, "crash", 2, 2), row(5, "issue", 1, 0), row(15, "crash", 1, 0), row(95, "crash", 1, 1)]
    );
    assert_eq!(histogram(&*inbox, 0, 5, step), [row(0, "", 1, 0)]);
    let whole = [row(0, "", 3, 0), row(0, "crash", 4, 3), row(0, "issue", 1, 0)];
    assert_eq!(histogram(&*inbox, 0, 200, SignedDuration::MAX), whole);
    // Nothing, and not without end.
    assert_eq!(histogram(&*inbox, 200, 0, step), []);
    assert_eq!(histogram(&*inbox, 5, 6, SignedDuration::ZERO).len(), 2);
    assert_eq!(histogram(&*inbox, 5, 6, -step).len(), 2);
}
