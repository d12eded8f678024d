//! Runs are merged piece by piece, and every key is found meanwhile.

use std::collections::HashMap;

use super::*;
use crate::domain::event::{EventKey, Sender};

fn key(number: usize) -> EventKey {
    EventKey::candidates(Sender::Bugfender, &format!("event {number}")).next().unwrap()
}

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(include_str!("../../../../../migrations/sqlite/0001_inbox.sql")).unwrap();
    connection.execute_batch(include_str!("../../../../../migrations/sqlite/0002_inbox.sql")).unwrap();
    connection
}

fn step(index: &mut DedupIndex, connection: &Connection) -> bool {
    let Some(step) = index.next_step() else { return false };
    let written = index.write(step, connection).unwrap();
    index.apply(written);
    true
}

/// As a purge does when this is the oldest event that is left.
fn drop_runs_before(connection: &Connection, event: i64) {
    let insert =
        "INSERT INTO events (id, delivery, start, length, key, event_id) VALUES (?, 0, 0, 0, zeroblob(16), '')";
    connection.execute(insert, [event]).unwrap();
    while let Some(run) = super::super::run_of_purged(connection).unwrap() {
        let chunks = super::super::remove_run(connection, run).unwrap();
        while !remove_chunks(connection, &chunks).unwrap() {}
    }
}

/// As many runs as are merged into one.
fn filled() -> (Connection, DedupIndex) {
    let connection = database();
    let mut index = DedupIndex::load(&connection).unwrap();
    for start in (0..RUN * FANOUT).step_by(RUN) {
        index.add((start..start + RUN).map(|number| (key(number), i64::try_from(number).unwrap() + 1)));
        step(&mut index, &connection);
    }
    (connection, index)
}

#[test]
fn runs_are_merged_and_every_key_is_found_at_each_step() {
    let connection = database();
    let mut index = DedupIndex::load(&connection).unwrap();
    let mut written = 0;
    while written < RUN * (FANOUT + 2) {
        index.add((written..written + RUN).map(|number| (key(number), i64::try_from(number).unwrap() + 1)));
        written += RUN;
        while step(&mut index, &connection) {
            for number in (0..written).step_by(RUN / 16 + 1) {
                let found = index.find(&connection, key(number)).unwrap();
                assert_eq!(found, Some(i64::try_from(number).unwrap() + 1));
            }
            assert_eq!(index.find(&connection, key(written)).unwrap(), None);
        }
    }
    assert_eq!(index.runs.len(), 3);
    // Nothing is left of what was merged, and a new start finds the same.
    let chunks: i64 = connection.query_row("SELECT count(*) FROM run_chunks", [], |row| row.get(0)).unwrap();
    assert_eq!(chunks, index.runs.iter().map(|run| number(run.fences.len())).sum::<i64>());
    let again = DedupIndex::load(&connection).unwrap();
    assert!(again.next_step().is_none() && again.runs.len() == 3);
    assert_eq!(again.find(&connection, key(70_000)).unwrap(), Some(70_001));
}

#[test]
fn runs_from_before_merges_are_found() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(include_str!("../../../../../migrations/sqlite/0001_inbox.sql")).unwrap();
    for id in [3, 4] {
        let mut entries: Vec<Entry> = (0..1000).map(|event| (key(event * id), number(event * id))).collect();
        entries.sort_unstable();
        let fences = run::write_chunks(&connection, number(id) * 65_536, &entries).unwrap();
        let fences: Vec<u8> = fences.iter().flat_map(|fence| fence.to_le_bytes()).collect();
        let mut filter = BloomFilter::with_room_for(entries.len());
        for (key, _) in &entries {
            filter.insert(*key);
        }
        let sql = "INSERT INTO runs (id, last_event, fences, filter) VALUES (?, ?, ?, ?)";
        connection.execute(sql, (number(id), number(id) * 1000, fences, filter.to_bytes())).unwrap();
    }
    connection.execute_batch(include_str!("../../../../../migrations/sqlite/0002_inbox.sql")).unwrap();
    // As one that a receiver of the version before writes afterwards.
    connection.execute("UPDATE runs SET first_chunk = 0 WHERE id = 4", []).unwrap();
    let index = DedupIndex::load(&connection).unwrap();
    assert!(index.garbage.is_empty() && index.next_step().is_none());
    for wanted in [3, 2997, 1000, 3996] {
        assert_eq!(index.find(&connection, key(wanted)).unwrap().is_some(), wanted % 3 == 0 || wanted % 4 == 0);
    }
    assert_eq!(index.find(&connection, key(1)).unwrap(), None);
    drop_runs_before(&connection, 5000);
    let left: i64 = connection.query_row("SELECT count(*) FROM run_chunks", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn what_a_merge_that_was_cut_short_left_is_removed() {
    let (connection, mut index) = filled();
    step(&mut index, &connection);
    step(&mut index, &connection);
    assert!(index.merge.is_some());
    let count = || connection.query_row("SELECT count(*) FROM run_chunks", [], |row| row.get::<_, i64>(0)).unwrap();
    let runs = |index: &DedupIndex| index.runs.iter().map(|run| number(run.fences.len())).sum::<i64>();
    assert_eq!(count(), runs(&index) + 2 * number(PIECE));
    // As after a crash.
    let mut index = DedupIndex::load(&connection).unwrap();
    assert_eq!((index.runs.len(), index.garbage.len()), (FANOUT, 1));
    while step(&mut index, &connection) {}
    assert_eq!((index.runs.len(), count()), (1, runs(&index)));
    let wanted: HashMap<_, _> = (0..RUN * FANOUT).step_by(997).map(|number| (key(number), number)).collect();
    for (key, number) in wanted {
        assert_eq!(index.find(&connection, key).unwrap(), Some(i64::try_from(number).unwrap() + 1));
    }
}

#[test]
fn a_merge_ends_with_a_run_that_was_purged() {
    let (connection, mut index) = filled();
    step(&mut index, &connection);
    drop_runs_before(&connection, number(RUN) + 1);
    index.forget_purged(&connection).unwrap();
    assert!(index.merge.is_none() && index.runs.len() == FANOUT - 1);
    while step(&mut index, &connection) {}
    assert_eq!(index.runs.len(), FANOUT - 1);
    assert_eq!(index.find(&connection, key(RUN + 5)).unwrap(), Some(number(RUN) + 6));
    assert_eq!(index.find(&connection, key(5)).unwrap(), None);
}
