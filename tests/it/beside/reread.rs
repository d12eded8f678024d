//! Deliveries in quarantine are read again.

use super::*;
use crate::support::Signal;
use rustix::process::{Pid, kill_process};

/// Two that can be read now, of which one has an event that is known; one that cannot, and one that has no body.
fn in_quarantine(world: &World) {
    let readable = unreadable(1, r#"[{"id":"a","type":"crash"},{"id":"b","type":"issue"}]"#);
    let half_known = unreadable(2, r#"[{"id":"c"},{"id":"known"}]"#);
    world.commit(&[readable, half_known, unreadable(3, "[{"), unreadable(4, ""), of_ids(5, &["known"])]);
}

fn reread(world: &World, args: &[&str]) -> Run {
    world.home.run([&["events", "reread", "--output", "json"], args].concat())
}

fn check_reread(world: &World, run: &Run) {
    assert_eq!(run.code, 1, "{run}");
    let facts: Vec<_> = run
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["id"].clone(), row["new"].clone(), row["known"].clone()))
        .collect();
    let facts: Vec<_> =
        facts.iter().map(|(id, new, known)| [id, new, known].map(|one| one.as_u64().unwrap())).collect();
    assert_eq!(facts, [[1, 2, 0], [2, 1, 1], [3, 0, 0], [4, 0, 0]]);
    let rows = run.json();
    assert!(rows[0]["error"].is_null() && rows[1]["error"].is_null(), "{run}");
    assert!(rows[2]["error"].as_str().unwrap().contains("not a JSON array"), "{run}");
    assert_eq!(rows[3]["error"], "it was kept without its body");
    assert!(run.stderr.contains("delivery 3 still cannot be read"), "{run}");
    assert_eq!(world.quarantined(), [4, 3]);
    let events = world.events();
    let facts: Vec<_> = events.iter().map(|event| (event.id.as_str(), event.received_at, event.duplicates)).collect();
    assert_eq!(facts, [("known", at(5), 1), ("a", at(1), 0), ("b", at(1), 0), ("c", at(2), 0)]);
}

#[test]
fn what_can_be_read_now_is_stored_and_forwarded_by_the_receiver_that_runs() {
    World::each(|world| {
        in_quarantine(world);
        let sink = Sink::always("200 OK");
        let receiver = world.receiver(&[&sink], &[]);
        check_reread(world, &reread(world, &["--all"]));
        // They are as old as that, and are forwarded all the same.
        wait_until("they are forwarded", || {
            arrived(&sink) == ["a", "b", "c"] && world.inbox().backlog().unwrap().pending == 0
        });
        let again = reread(world, &["1", "3"]);
        assert_eq!((again.code, again.json().as_array().unwrap().len()), (6, 1), "{again}");
        assert!(again.stderr.contains("there is no quarantined delivery with the number 1"), "{again}");
        assert_eq!(receiver.end().0, 0);
        assert_eq!(world.events().len(), 4);
    });
}

#[test]
fn without_a_receiver_it_is_stored_for_the_next() {
    World::each(|world| {
        let sink = Sink::always("200 OK");
        assert_eq!(world.receiver(&[&sink], &[]).end().0, 0);
        in_quarantine(world);
        check_reread(world, &reread(world, &["1", "2", "3", "4"]));
        assert_eq!(arrived(&sink), Vec::<String>::new());
        let receiver = world.receiver(&[&sink], &[]);
        wait_until("they are forwarded", || arrived(&sink) == ["a", "b", "c"]);
        assert_eq!(receiver.end().0, 0);
    });
}

#[test]
fn what_is_wrong_with_the_command_line_or_the_inbox_is_said() {
    let world = World::on_sqlite();
    let run = reread(&world, &["7"]);
    assert!(run.code == 6 && run.stderr.contains("there is no inbox yet"), "{run}");
    assert_eq!(reread(&world, &[]).code, 2);
    assert_eq!(reread(&world, &["7", "--all"]).code, 2);
    world.commit(&[]);
    let run = reread(&world, &["--all"]);
    assert!(run.code == 0 && run.stderr.contains("the quarantine is empty"), "{run}");
}

#[test]
fn two_at_once_store_everything_once() {
    World::each(|world| {
        let ids: Vec<String> = (0..40).map(|id| format!("e{id:02}")).collect();
        let deliveries = ids.iter().map(|id| unreadable(1, &format!(r#"[{{"id":"{id}"}}]"#)));
        world.commit(&deliveries.collect::<Vec<_>>());
        let both = [(); 2].map(|()| world.home.spawn(&["events", "reread", "--all", "--output", "json"]));
        let mut new = 0;
        for child in both {
            let run = Run::of(child.wait_with_output().unwrap());
            assert_eq!(run.code, 0, "{run}");
            new += run.json().as_array().unwrap().iter().map(|row| row["new"].as_u64().unwrap()).sum::<u64>();
        }
        let mut stored: Vec<String> = world.events().into_iter().map(|event| event.id).collect();
        stored.sort();
        assert_eq!((new, stored, world.quarantined()), (40, ids, Vec::new()));
    });
}

fn signalled(receiver: &Receiver, signal: Signal) {
    let pid = i32::try_from(receiver.ready["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn killed_after_it_has_handed_over_it_is_stored_once() {
    let world = World::on_sqlite();
    world.commit(&[unreadable(1, r#"[{"id":"a"}]"#)]);
    let sink = Sink::always("200 OK");
    let receiver = world.receiver(&[&sink], &[]);
    signalled(&receiver, Signal::STOP);
    let inbox = rusqlite::Connection::open(world.home.data().join("registry.inbox.db")).unwrap();
    let waiting = || -> i64 { inbox.query_row("SELECT count(*) FROM handed_over", [], |row| row.get(0)).unwrap() };
    // Twice: who runs it again does not know.
    for times in 1..=2 {
        let mut child = world.home.spawn(&["events", "reread", "--all"]);
        wait_until("it is handed over", || waiting() == times);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(world.quarantined(), [1]);
    signalled(&receiver, Signal::CONT);
    let left = || -> i64 {
        inbox.query_row("SELECT count(*) FROM handed_over WHERE stored IS NULL", [], |row| row.get(0)).unwrap()
    };
    wait_until("it is stored", || left() == 0 && !sink.calls().is_empty());
    let run = reread(&world, &["--all"]);
    assert_eq!((run.code, run.json()), (0, json!([])), "{run}");
    assert_eq!(receiver.end().0, 0);
    let events = world.events();
    assert!(events.len() == 1 && events[0].duplicates == 0 && world.quarantined().is_empty(), "{events:?}");
    assert_eq!(arrived(&sink), ["a"]);
}

#[test]
fn killed_before_it_is_stored_it_is_in_quarantine() {
    let world = World::on_sqlite();
    world.commit(&[unreadable(1, r#"[{"id":"a"}]"#)]);
    let inbox = rusqlite::Connection::open(world.home.data().join("registry.inbox.db")).unwrap();
    inbox.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut child = world.home.spawn(&["events", "reread", "--all"]);
    // It has the receiver's lock then, and waits for the other.
    let is_receiving = || world.store().receiver_inbox().is_err();
    wait_until("it is about to store", is_receiving);
    child.kill().unwrap();
    child.wait().unwrap();
    inbox.execute_batch("ROLLBACK").unwrap();
    assert!(world.events().is_empty() && world.quarantined() == [1]);
    assert_eq!(reread(&world, &["--all"]).json()[0]["new"], 1);
    assert!(world.events().len() == 1 && world.quarantined().is_empty());
}

#[test]
fn killed_between_storing_and_removing_it_is_known() {
    let Some(world) = World::on_postgres() else { return };
    let sink = Sink::always("200 OK");
    assert_eq!(world.receiver(&[&sink], &[]).end().0, 0);
    world.commit(&[unreadable(1, r#"[{"id":"a"}]"#)]);
    let (server, database) = world.database.as_ref().unwrap();
    let stuck = |condition: &str| format!("FROM pg_stat_activity WHERE datname = '{database}' AND {condition}");
    let (sleeps, waits) = (stuck("wait_event = 'PgSleep'"), stuck("wait_event_type = 'Lock'"));
    let end = |those: &str| server.psql("postgres", &format!("SELECT pg_terminate_backend(pid) {those}"));
    std::thread::scope(|scope| {
        let hold = "BEGIN; SELECT id FROM bugfender_hooks.quarantine FOR KEY SHARE; SELECT pg_sleep(600)";
        let holder = scope.spawn(|| server.psql(database, hold));
        wait_until("the row is held", || server.psql("postgres", &format!("SELECT count(*) {sleeps}")) == "1");
        let mut child = world.home.spawn(&["events", "reread", "--all"]);
        wait_until("it cannot be removed", || server.psql("postgres", &format!("SELECT count(*) {waits}")) == "1");
        child.kill().unwrap();
        child.wait().unwrap();
        end(&waits);
        end(&sleeps);
        // It fails, as it is stopped.
        let _ = holder.join();
    });
    assert_eq!((world.events().len(), world.quarantined()), (1, vec![1]));
    let run = reread(&world, &["--all"]);
    assert_eq!((run.code, &run.json()[0]["new"], &run.json()[0]["known"]), (0, &json!(0), &json!(1)), "{run}");
    assert!(world.events().len() == 1 && world.quarantined().is_empty());
    let receiver = world.receiver(&[&sink], &[]);
    wait_until("it is forwarded", || world.inbox().backlog().unwrap().pending == 0);
    assert_eq!(receiver.end().0, 0);
    assert_eq!(arrived(&sink), ["a"]);
}
