//! Ids are not trusted: whether those of the API are those of deliveries is found out.

use jiff::Timestamp;
use serde_json::json;

use super::{APP, came, fetch, fetched, home, numbers, subscribe};
use crate::assert_shown;
use crate::listen::Receiver;
use crate::support::issue_api::{IssueApi, Listing};
use crate::support::wait_until;

#[test]
fn ids_that_no_webhook_had_are_refused() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &[]);
    subscribe(&home, &receiver, "new_crash");
    api.emit(APP, "crash", 2);
    assert_eq!(receiver.end().0, 0);
    api.emit(APP, "crash", 250);
    api.set(Listing { foreign_ids: true, ..Listing::default() });
    let run = fetch(&home, &[]);
    assert_eq!(run.code, 3, "{run}");
    assert!(run.stderr.contains("webhooks brought 2 events since"), "{run}");
    assert!(run.stderr.contains("none of the 252 that the API lists"), "{run}");
    assert!(run.stderr.contains("an id of the API is row-of-crash-"), "{run}");
    assert!(run.stderr.contains("--trust-ids"), "{run}");
    assert_eq!(came(&home, "poll"), 0);
    // Nor is anything stored by the next one.
    assert_eq!(fetch(&home, &[]).code, 3);
    assert_eq!(fetch(&home, &["--dry-run"]).code, 3);
    assert_eq!(numbers(&fetched(&home, &["--trust-ids"]))[3], 252);
    assert_eq!(came(&home, "poll"), 252);
}

#[test]
fn without_webhooks_there_is_nothing_to_compare_with() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &[]);
    subscribe(&home, &receiver, "new_crash");
    assert_eq!(receiver.end().0, 0);
    api.emit(APP, "crash", 3);
    api.set(Listing { foreign_ids: true, ..Listing::default() });
    assert_eq!(numbers(&fetched(&home, &[]))[3], 3);
}

#[test]
fn one_id_that_is_the_same_is_enough_however_late_it_comes() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &[]);
    subscribe(&home, &receiver, "new_crash");
    // The first pages hold more than is held back, and nothing that a webhook brought.
    let at = Timestamp::now().to_string();
    for number in 0..120 {
        api.list(
            APP,
            json!({"id": format!("early-{number}"), "type": "crash", "created_at": at, "text": "x".repeat(59_000)}),
        );
    }
    api.emit(APP, "crash", 1);
    assert_eq!(receiver.end().0, 0);
    api.set(Listing { newest_first: false, ..Listing::default() });
    let row = fetched(&home, &[]);
    assert_eq!((numbers(&row)[3], came(&home, "poll")), (120, 120), "{row}");
}

#[test]
fn a_number_and_a_text_are_one_id() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &[]);
    subscribe(&home, &receiver, "new_crash");
    let at = Timestamp::now().to_string();
    let event = |id: serde_json::Value| json!({"id": id, "type": "crash", "app": {"id": APP}, "created_at": at});
    assert_eq!(receiver.post(json!([event(json!("7"))]).to_string()).status, 200);
    api.list(APP, event(json!(7)));
    api.list(APP, event(json!(8)));
    assert_eq!(numbers(&fetched(&home, &[])), [2, 1, 0, 1]);
    // The webhook of the other comes late.
    let late = receiver.post(json!([event(json!("8"))]).to_string());
    assert_eq!(late.json()["duplicates"], 1, "{late:?}");
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn a_later_round_finds_out_too() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &["--catch-up", "1s"]);
    subscribe(&home, &receiver, "new_crash");
    api.emit(APP, "crash", 2);
    wait_until("a round is over", || receiver.get("/metrics").body.contains("last_poll_timestamp"));
    api.set(Listing { foreign_ids: true, ..Listing::default() });
    api.deactivate_all();
    api.emit(APP, "crash", 2);
    wait_until("it is refused", || receiver.log().contains("none of the 4 that the API lists"));
    api.asked();
    let mut rounds = 0;
    wait_until("further rounds are over", || {
        rounds += api.asked().len();
        rounds >= 4
    });
    assert_eq!(came(&home, "poll"), 0);
    assert_eq!(receiver.log().matches("none of the").count(), 1, "{}", receiver.log());
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn the_refusal_as_people_see_it() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &[]);
    subscribe(&home, &receiver, "new_crash");
    api.emit(APP, "crash", 1);
    assert_eq!(receiver.end().0, 0);
    api.set(Listing { foreign_ids: true, ..Listing::default() });
    let run = home.run(["events", "fetch"]);
    let since = run.stderr.split("since ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert_shown!("refused", format!("{run}").replace(&since, "2026-11-28T10:00:00Z"));
}
