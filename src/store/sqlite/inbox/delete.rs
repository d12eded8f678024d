//! Deleting events, which may be a person's data: nothing of them is left in the inbox.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::body::{Bodies, place};
use super::purge::note_last_event;
use crate::store::EventSeq;
use crate::store::codec::StoredBody;
use crate::store::deletion::{ForwardRemains, LeftEvent, blanked};
use crate::store::sqlite::fault::StoreFault;

/// For how long a commit holds the lock before it ends, and how many events of a delivery are deleted in one piece.
const LOCK_TIME: Duration = Duration::from_millis(20);
const AT_ONCE: usize = 500;

/// How many deliveries with duplicates are looked for at once.
const FOUND_AT_ONCE: i64 = 200;

/// Deletes the first of these events with their forwards and their JSON, as many as a commit may. Returns how many of them
/// are done with, and how many were there.
pub(super) fn delete_some(connection: &Connection, events: &[EventSeq]) -> Result<(usize, u64), StoreFault> {
    let until = Instant::now() + LOCK_TIME;
    let mut home = connection.prepare_cached("SELECT delivery FROM events WHERE id = ?")?;
    let mut home = |EventSeq(event): EventSeq| home.query_row([event], |row| row.get::<_, i64>(0)).optional();
    note_last_event(connection)?;
    let (mut done, mut deleted) = (0, 0);
    while let Some(first) = events.get(done)
        && (done == 0 || Instant::now() < until)
    {
        done += 1;
        let Some(delivery) = home(*first)? else { continue };
        let mut theirs = vec![first.0];
        // Those of one delivery mostly stand together: its body is written once for all of them.
        while let Some(next) = events.get(done)
            && theirs.len() < AT_ONCE
            && home(*next)? == Some(delivery)
        {
            theirs.push(next.0);
            done += 1;
        }
        theirs.sort_unstable();
        theirs.dedup();
        deleted += theirs.len() as u64;
        delete_of(connection, delivery, &theirs)?;
    }
    Ok((done, deleted))
}

/// Deletes these events of a delivery.
fn delete_of(connection: &Connection, delivery: i64, events: &[i64]) -> Result<(), StoreFault> {
    let mut delete = connection.prepare_cached("DELETE FROM events WHERE id = ?")?;
    for event in events {
        delete.execute([event])?;
    }
    let left = left_of(connection, delivery)?;
    if !left.is_empty() {
        trim_forwards(connection, delivery, events, &left)?;
    }
    blank_but(connection, delivery, &left)
}

/// What is left of a delivery, in its order.
fn left_of(connection: &Connection, delivery: i64) -> Result<Vec<LeftEvent>, StoreFault> {
    let sql = "SELECT e.id, e.start, e.length FROM deliveries d
               JOIN events e ON e.id BETWEEN d.first_event AND d.last_event AND +e.delivery = d.id
               WHERE d.id = ? ORDER BY e.id";
    let mut statement = connection.prepare_cached(sql)?;
    let left = statement
        .query_map([delivery], |row| Ok(LeftEvent { number: row.get(0)?, place: place(row.get(1)?, row.get(2)?) }))?;
    Ok(left.collect::<Result<_, _>>()?)
}

/// Removes the forwards that are left with no event, and what may repeat one that is deleted.
fn trim_forwards(
    connection: &Connection,
    delivery: i64,
    deleted: &[i64],
    left: &[LeftEvent],
) -> Result<(), StoreFault> {
    let sql = "SELECT id, first_event, last_event FROM forwards INDEXED BY forwards_by_delivery WHERE delivery = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let forwards = statement.query_map([delivery], |row| Ok((row.get::<_, i64>(0)?, (row.get(1)?, row.get(2)?))))?;
    // What is read is not changed meanwhile.
    let forwards = forwards.collect::<Result<Vec<_>, _>>()?;
    let mut answers = connection
        .prepare_cached("UPDATE attempts SET answer = NULL, error = NULL WHERE id BETWEEN ?1 * 16 AND ?1 * 16 + 15")?;
    let mut error = connection.prepare_cached("UPDATE forwards SET error = NULL WHERE id = ? AND error IS NOT NULL")?;
    let mut remove = connection.prepare_cached("DELETE FROM forwards WHERE id = ?")?;
    for (forward, range) in forwards {
        match ForwardRemains::of(range, deleted, left) {
            ForwardRemains::All => {}
            ForwardRemains::Some => {
                answers.execute([forward])?;
                error.execute([forward])?;
            }
            ForwardRemains::Nothing => {
                remove.execute([forward])?;
            }
        }
    }
    Ok(())
}

/// Some deliveries behind `after` whose bodies hold more than the events that are stored, as duplicates came in them: of all,
/// or of those with an event behind `events_after`. None when there are no more.
pub(super) fn with_duplicates(
    connection: &Connection,
    after: i64,
    events_after: Option<EventSeq>,
) -> Result<Vec<i64>, StoreFault> {
    let which = match events_after {
        None => "id > ?1 AND ?2 IS NULL",
        Some(_) => "id IN (SELECT delivery FROM events WHERE id > ?2) AND id > ?1",
    };
    // In a store that was copied from PostgreSQL, events of other deliveries may be among those of one.
    let sql = format!(
        "SELECT id FROM deliveries d WHERE {which} AND events > 1 AND (events > last_event - first_event + 1
             OR events > (SELECT count(*) FROM events e
                          WHERE e.id BETWEEN d.first_event AND d.last_event AND +e.delivery = d.id))
         ORDER BY id LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let events_after = events_after.map(|EventSeq(event)| event);
    let found = statement.query_map(params![after, events_after, FOUND_AT_ONCE], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Blanks out what is in the bodies of the first of these deliveries beside the events that are stored, as many as a commit
/// may. Returns how many.
pub(super) fn blank_some(connection: &Connection, deliveries: &[i64]) -> Result<usize, StoreFault> {
    let until = Instant::now() + LOCK_TIME;
    let mut done = 0;
    while let Some(delivery) = deliveries.get(done)
        && (done == 0 || Instant::now() < until)
    {
        blank_but(connection, *delivery, &left_of(connection, *delivery)?)?;
        done += 1;
    }
    Ok(done)
}

/// Blanks out what is in a body beside these events, which are all that is stored; without any, the delivery goes.
fn blank_but(connection: &Connection, delivery: i64, left: &[LeftEvent]) -> Result<(), StoreFault> {
    if left.is_empty() {
        connection.prepare_cached("DELETE FROM forwards WHERE delivery = ?")?.execute([delivery])?;
        connection.prepare_cached("DELETE FROM deliveries WHERE id = ?")?.execute([delivery])?;
        return Ok(());
    }
    let body = Bodies::default().whole(connection, delivery)?;
    let Some(blanked) = blanked(&body, left) else { return Ok(()) };
    let stored = StoredBody::packed(blanked);
    let length = stored.packed_from().map(|length| i64::try_from(length).unwrap_or(i64::MAX));
    let update = "UPDATE deliveries SET length = ?, body = ? WHERE id = ?";
    connection.prepare_cached(update)?.execute(params![length, stored.bytes(), delivery])?;
    Ok(())
}
