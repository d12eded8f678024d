//! Beside a receiver that runs, and beside another one.

use std::time::Duration;

use super::*;
use crate::support::Signal;
use rustix::process::{Pid, kill_process};

/// A receiver with a target, and events that no webhook brought.
fn receiver_that_missed(world: &World, sink: &Sink, missed: usize) -> (Receiver, Vec<String>) {
    let receiver = world.receiver(&["--forward-to", &sink.url]);
    world.hooks(&receiver, &["new_crash"]);
    world.api.account().routed_to = None;
    let missed = world.api.emit(APP, "crash", missed);
    (receiver, sorted(missed))
}

#[test]
fn what_is_fetched_beside_a_receiver_is_stored_and_forwarded_if_it_is_asked_for() {
    World::each(|world| {
        let sink = Sink::always("200 OK");
        let (receiver, first) = receiver_that_missed(world, &sink, 230);
        assert_eq!(world.fetched(&[]), 230);
        assert_eq!(world.ids(Via::Poll), first);
        assert_eq!(world.pending(), 0);
        let second = sorted(world.api.emit(APP, "crash", 220));
        assert_eq!(world.fetched(&["--forward"]), 220);
        wait_until("they are forwarded", || sink.ids().len() >= 220 && world.pending() == 0);
        assert_eq!(arrived(&sink), second);
        assert_eq!(world.fetched(&["--forward"]), 0);
        world.end(receiver);
        assert_eq!(world.events().len(), 450);
    });
}

fn signalled(receiver: &Receiver, signal: Signal) {
    let pid = i32::try_from(receiver.ready["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn handed_over(world: &World) -> i64 {
    let inbox = rusqlite::Connection::open(world.home.data().join("registry.inbox.db")).unwrap();
    inbox.query_row("SELECT count(*) FROM handed_over WHERE stored IS NULL", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_receiver_that_is_killed_with_something_in_its_hands_loses_nothing() {
    let world = World::on_sqlite();
    let sink = Sink::always("200 OK");
    let (receiver, missed) = receiver_that_missed(&world, &sink, 250);
    signalled(&receiver, Signal::STOP);
    let fetch = world.home.spawn(&["events", "fetch", "--forward", "--output", "json"]);
    wait_until("something is handed over", || handed_over(&world) == 1);
    drop(receiver);
    // Nobody will store it: whoever handed it over does.
    let run = Run::of(fetch.wait_with_output().unwrap());
    assert_eq!((run.code, &run.json()[0]["new"]), (0, &json!(250)), "{run}");
    assert_eq!(handed_over(&world), 0);
    let receiver = world.receiver(&["--forward-to", &sink.url]);
    wait_until("all are forwarded", || sink.ids().len() >= 250 && world.pending() == 0);
    assert_eq!(arrived(&sink), missed);
    world.end(receiver);
    assert_eq!(world.ids(Via::Poll), missed);
}

#[test]
fn what_was_handed_over_is_stored_even_if_who_fetched_it_is_gone() {
    let world = World::on_sqlite();
    let sink = Sink::always("200 OK");
    let (receiver, missed) = receiver_that_missed(&world, &sink, 80);
    signalled(&receiver, Signal::STOP);
    let mut fetch = world.home.spawn(&["events", "fetch", "--forward"]);
    wait_until("something is handed over", || handed_over(&world) == 1);
    fetch.kill().unwrap();
    fetch.wait().unwrap();
    drop(receiver);
    let receiver = world.receiver(&["--forward-to", &sink.url]);
    wait_until("all are forwarded", || sink.ids().len() >= 80 && world.pending() == 0);
    assert_eq!(arrived(&sink), missed);
    // The cursor did not move, and what is read again is known.
    assert_eq!(world.cursor(APP, IssueList::Open), None);
    assert_eq!(world.fetched(&["--forward"]), 0);
    world.end(receiver);
    assert_eq!(world.ids(Via::Poll), missed);
}

#[test]
fn fetching_keeps_no_receiver_from_starting() {
    World::each(|world| {
        world.without_receiver();
        let missed = sorted(world.api.emit(APP, "crash", 650));
        world.api.account().latency = Duration::from_millis(200);
        let fetch = world.home.spawn(&["events", "fetch", "--output", "json"]);
        wait_until("something is stored", || !world.events().is_empty());
        let receiver = world.receiver(&[]);
        let run = Run::of(fetch.wait_with_output().unwrap());
        assert_eq!((run.code, &run.json()[0]["new"]), (0, &json!(650)), "{run}");
        world.end(receiver);
        assert_eq!(world.ids(Via::Poll), missed);
    });
}

#[test]
fn two_that_fetch_at_once_store_everything_once() {
    World::each(|world| {
        world.without_receiver();
        let missed = sorted(world.api.emit(APP, "crash", 450));
        let both = [(); 2].map(|()| world.home.spawn(&["events", "fetch", "--output", "json"]));
        let new: u64 = both
            .into_iter()
            .map(|child| {
                let run = Run::of(child.wait_with_output().unwrap());
                assert_eq!(run.code, 0, "{run}");
                run.json()[0]["new"].as_u64().unwrap()
            })
            .sum();
        assert_eq!(new, 450);
        assert_eq!(world.ids(Via::Poll), missed);
    });
}

#[test]
fn one_of_several_receivers_polls() {
    let Some(world) = World::on_postgres() else { return };
    let receiver = world.receiver(&[]);
    world.hooks(&receiver, &["new_crash"]);
    world.end(receiver);
    let (server, database) = world.database.as_ref().unwrap();
    let other = Home::at(&world.api.url, "token-of-the-other").set("BUGFENDER_HOOKS_STORE", &server.url(database));
    let authorized = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let seen = std::sync::Arc::clone(&authorized);
    world.api.script(move |ask, _| {
        if ask.is_for_issues() {
            seen.lock().unwrap().push(ask.authorization.to_owned());
        }
        None
    });
    let first = world.receiver(&["--catch-up", "1s"]);
    let second = Receiver::start(&other, &["--catch-up", "1s"]);
    let missed = sorted({
        world.api.account().routed_to = None;
        world.api.emit(APP, "crash", 120)
    });
    for _ in 0..4 {
        wait_for_a_round(&world);
    }
    wait_until("all are stored", || world.events().len() == 120);
    let mut by: Vec<String> = authorized.lock().unwrap().clone();
    assert!(by.len() >= 8);
    by.dedup();
    assert_eq!(by, ["Bearer token-of-the-tests"]);
    assert_eq!(world.ids(Via::Poll), missed);
    assert_eq!(second.end().0, 0);
    world.end(first);
}
