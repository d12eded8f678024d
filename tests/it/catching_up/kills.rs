//! Killed at any moment: no event twice, none lost, and no cursor ahead of what is stored.

use std::time::Duration;

use super::*;

/// How often each of the two is killed, on each store.
const KILLS: u64 = 25;

/// Everything that the cursor says was read is stored, and nothing is there twice.
fn assert_whole(world: &World) {
    let stored = sorted(world.events().into_iter().map(|event| event.id).collect());
    let mut once = stored.clone();
    once.dedup();
    assert_eq!(stored, once);
    for (list, status) in [(IssueList::Open, 1), (IssueList::Closed, 4)] {
        let Some(cursor) = world.cursor(APP, list) else { continue };
        let account = world.api.account();
        let read = account.issues.iter().filter(|issue| issue.status == status && issue.created_at < cursor);
        for issue in read {
            let id = issue.event["id"].as_str().unwrap().to_owned();
            assert!(stored.binary_search(&id).is_ok(), "{id} of {} was read up to {cursor}", issue.created_at);
        }
    }
}

fn all(world: &World) -> Vec<String> {
    let account = world.api.account();
    sorted(account.issues.iter().map(|issue| issue.event["id"].as_str().unwrap().to_owned()).collect())
}

/// Some more events that no webhook brings, a part of them closed by now.
fn more(world: &World, kill: u64) {
    // They are dated back, a millisecond for each: none shall be of before what a run has read already.
    let begun = Timestamp::now();
    wait_until("all can be later", || Timestamp::now() > begun + SignedDuration::from_millis(100));
    world.api.emit(APP, "crash", 90);
    world.api.emit(APP, "issue", 80);
    let mut account = world.api.account();
    account.newest_first = kill.is_multiple_of(2);
    for (number, issue) in account.issues.iter_mut().enumerate() {
        issue.status = if number % 3 == 0 { 4 } else { 1 };
    }
}

/// A moment within the time that a run takes.
fn moment() -> Duration {
    Duration::from_micros(fastrand::u64(5_000..250_000))
}

#[test]
fn fetching_is_killed() {
    World::each(|world| {
        let sink = Sink::always("200 OK");
        let receiver = world.receiver(&["--forward-to", &sink.url]);
        world.hooks(&receiver, &["new_crash", "new_issue_separate"]);
        world.end(receiver);
        let mut killed = 0;
        for kill in 0..KILLS {
            more(world, kill);
            let mut fetch = world.home.spawn(&["events", "fetch", "--forward"]);
            std::thread::sleep(moment());
            killed += u64::from(fetch.try_wait().unwrap().is_none());
            fetch.kill().unwrap();
            fetch.wait().unwrap();
            assert_whole(world);
        }
        assert!(killed > KILLS / 4, "{killed}");
        world.fetched(&["--forward"]);
        assert_whole(world);
        let all = all(world);
        assert_eq!(world.ids(Via::Poll), all);
        let receiver = world.receiver(&["--forward-to", &sink.url]);
        wait_until("all are forwarded", || world.pending() == 0);
        assert_eq!(arrived(&sink), all);
        world.end(receiver);
    });
}

#[test]
fn a_receiver_that_catches_up_is_killed() {
    World::each(|world| {
        let sink = Sink::always("200 OK");
        let args = ["--catch-up", "1s", "--forward-to", &sink.url];
        let receiver = world.receiver(&args);
        world.hooks(&receiver, &["new_crash", "new_issue_separate"]);
        world.end(receiver);
        for kill in 0..KILLS {
            more(world, kill);
            let receiver = world.receiver(&args);
            (0..5).for_each(|_| drop(world.api.emit(APP, "crash", 1)));
            std::thread::sleep(moment());
            drop(receiver);
            world.api.account().routed_to = None;
            if world.database.is_some() {
                // Nobody knows that it is gone, and one polls for all.
                world.sql("", "DELETE FROM roles");
            }
            assert_whole(world);
        }
        if world.database.is_some() {
            // What they were forwarding is theirs for a time.
            world.sql("", "UPDATE forwards SET leased_until = 0 WHERE leased_until IS NOT NULL");
        }
        let receiver = world.receiver(&args);
        let all = all(world);
        wait_until("all are there", || world.events().len() >= all.len() && world.pending() == 0);
        assert_whole(world);
        assert_eq!(sorted(world.events().into_iter().map(|event| event.id).collect()), all);
        // One whose receiver was killed in between may have arrived twice.
        let mut arrived = arrived(&sink);
        arrived.dedup();
        assert_eq!(arrived, all);
        world.end(receiver);
    });
}
