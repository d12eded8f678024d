//! Nothing is missed: what came while nothing listened is there after one round, once, and is forwarded once.

use super::*;
use crate::assert_shown;

#[test]
fn what_came_while_nothing_listened_is_caught_up_with() {
    World::each(|world| {
        let receiver = world.receiver(&[]);
        world.hooks(&receiver, &["new_crash", "new_issue_separate"]);
        let by_webhook = sorted(world.api.emit(APP, "crash", 3));
        world.end(receiver);
        let mut missed = world.api.emit(APP, "crash", 300);
        missed.extend(world.api.emit(APP, "issue", 200));
        let missed = sorted(missed);
        let sink = Sink::always("200 OK");
        let receiver = world.receiver(&["--catch-up", "1h", "--forward-to", &sink.url]);
        wait_until("all are forwarded", || sink.ids().len() >= missed.len());
        assert_eq!(world.ids(Via::Webhook), by_webhook);
        assert_eq!(world.ids(Via::Poll), missed);
        wait_until("all are settled", || world.pending() == 0);
        assert_eq!(arrived(&sink), missed);
        let log = world.end(receiver);
        assert!(log.contains("caught up with 500 events since"), "{log}");
        assert!(world.cursor(APP, IssueList::Open).is_some() && world.cursor(APP, IssueList::Closed).is_some());
        // Nothing is left for the next.
        assert_eq!(world.fetched(&[]), 0);
        assert_eq!(world.events().len(), 503);
    });
}

#[test]
fn what_webhooks_and_rounds_bring_at_once_is_there_once() {
    World::each(|world| {
        let sink = Sink::always("200 OK");
        let receiver = world.receiver(&["--catch-up", "1s", "--forward-to", &sink.url]);
        world.hooks(&receiver, &["new_crash"]);
        world.api.account().newest_first = true;
        let mut all = Vec::new();
        for round in 0..12 {
            // Every third time the webhook is lost.
            world.api.account().routed_to = (round % 3 != 0).then(|| receiver.address.clone());
            all.extend(world.api.emit(APP, "crash", 40));
            if round % 4 == 0 {
                wait_for_a_round(world);
            }
        }
        let all = sorted(all);
        wait_until("all are forwarded", || sink.ids().len() >= all.len() && world.pending() == 0);
        assert_eq!(sorted(world.events().into_iter().map(|event| event.id).collect()), all);
        assert_eq!(arrived(&sink), all);
        world.end(receiver);
    });
}

#[test]
fn people_see_what_was_fetched() {
    let world = World::on_sqlite();
    let receiver = world.receiver(&[]);
    world.hooks(&receiver, &["new_crash"]);
    world.api.emit(APP, "crash", 2);
    world.end(receiver);
    world.api.emit(APP, "crash", 250);
    world.api.emit(APP, "feedback", 3);
    assert_shown!("dry_run", world.fetch(&["--dry-run"]));
    let run = world.fetch(&[]);
    assert_shown!("fetched", run);
    assert_shown!("fetched_again", world.fetch(&[]));
    let row = &world.home.json(&["events", "fetch"])[0];
    let names: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "app_id",
            "from",
            "until",
            "found",
            "known",
            "left_out",
            "new",
            "unreadable",
            "lists_events",
            "silent_groups",
            "out_of_retention"
        ]
    );
    assert_eq!((&row["found"], &row["known"], &row["left_out"]), (&json!(255), &json!(252), &json!(3)));
}

#[test]
fn the_log_says_what_was_caught_up_with_and_what_fails_once() {
    let world = World::on_sqlite();
    world.without_receiver();
    world.api.emit(APP, "crash", 2);
    let receiver = world.receiver(&["--catch-up", "1s"]);
    wait_until("it catches up", || receiver.log().contains("caught up"));
    world.api.script(|ask, _| {
        let status = if ask.is_for_issues() { "400 Bad Request" } else { "200 OK" };
        Some(super::faults::status(status))
    });
    wait_until("it fails", || receiver.log().contains("failed"));
    wait_until("it tries again", || world.api.requests("/issues?").len() > 4);
    let before = world.api.requests("/issues?").len();
    world.api.unscript();
    // A round that failed is made again after the interval, as it is short.
    wait_until("it works again", || receiver.log().contains("works again"));
    assert!(world.api.requests("/issues?").len() > before);
    let log = world.end(receiver);
    let said: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once("catching_up: ")?.1)).collect();
    assert_eq!(said.len(), 3, "{log}");
    assert_shown!("log", said.join("\n"));
}
