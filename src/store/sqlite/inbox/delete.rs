//! Deleting events, which may be a person's data: nothing of them is left in the inbox.

use rusqlite::{Connection, OptionalExtension, params};

use super::body::{Bodies, place};
use super::purge::note_last_event;
use crate::store::codec::StoredBody;
use crate::store::sqlite::fault::StoreFault;

/// Deletes an event with its forwards and its JSON. Returns whether it was there.
pub(super) fn delete(connection: &Connection, event: i64) -> Result<bool, StoreFault> {
    let delivery = "SELECT delivery FROM events WHERE id = ?";
    let delivery: Option<i64> = connection.prepare_cached(delivery)?.query_row([event], |row| row.get(0)).optional()?;
    let Some(delivery) = delivery else { return Ok(false) };
    note_last_event(connection)?;
    connection.prepare_cached("DELETE FROM events WHERE id = ?")?.execute([event])?;
    // What a target answered may repeat the event.
    let answers = "UPDATE attempts SET answer = NULL, error = NULL WHERE id IN
                   (SELECT a.id FROM forwards f CROSS JOIN attempts a ON a.id BETWEEN f.id * 16 AND f.id * 16 + 15
                    WHERE f.delivery = ?1 AND ?2 BETWEEN f.first_event AND f.last_event)";
    connection.prepare_cached(answers)?.execute(params![delivery, event])?;
    let errors = "UPDATE forwards SET error = NULL WHERE delivery = ?1 AND ?2 BETWEEN first_event AND last_event";
    connection.prepare_cached(errors)?.execute(params![delivery, event])?;
    // Those that are left with no event.
    let forwards = "DELETE FROM forwards WHERE delivery = ?1 AND ?2 BETWEEN first_event AND last_event AND NOT EXISTS
                    (SELECT 1 FROM events e WHERE e.id BETWEEN first_event AND last_event AND +e.delivery = ?1)";
    connection.prepare_cached(forwards)?.execute(params![delivery, event])?;
    blank(connection, delivery)?;
    Ok(true)
}

/// The deliveries behind `after` whose bodies hold more than the events that are stored: duplicates came in them.
pub(super) fn with_duplicates(connection: &Connection, after: i64) -> Result<Option<i64>, StoreFault> {
    // In a store that was copied from PostgreSQL, events of other deliveries may be among those of one.
    let sql = "SELECT id FROM deliveries d WHERE id > ? AND events > 1 AND (events > last_event - first_event + 1
                   OR events > (SELECT count(*) FROM events e
                                WHERE e.id BETWEEN d.first_event AND d.last_event AND +e.delivery = d.id))
               ORDER BY id LIMIT 1";
    Ok(connection.prepare_cached(sql)?.query_row([after], |row| row.get(0)).optional()?)
}

/// Blanks out what is in a body beside the events that are stored; without any, the delivery goes.
pub(super) fn blank(connection: &Connection, delivery: i64) -> Result<(), StoreFault> {
    let sql = "SELECT e.start, e.length FROM deliveries d JOIN events e ON e.id BETWEEN d.first_event AND d.last_event
                   AND +e.delivery = d.id
               WHERE d.id = ? ORDER BY e.id";
    let mut statement = connection.prepare_cached(sql)?;
    let spans = statement.query_map([delivery], |row| Ok(place(row.get(0)?, row.get(1)?)))?;
    let spans = spans.collect::<Result<Vec<_>, _>>()?;
    if spans.is_empty() {
        connection.prepare_cached("DELETE FROM forwards WHERE delivery = ?")?.execute([delivery])?;
        connection.prepare_cached("DELETE FROM deliveries WHERE id = ?")?.execute([delivery])?;
        return Ok(());
    }
    let body = Bodies::default().whole(connection, delivery)?;
    let mut blanked = vec![b' '; body.len()];
    for span in spans {
        if let (Some(from), Some(to)) = (body.get(span.clone()), blanked.get_mut(span)) {
            to.copy_from_slice(from);
        }
    }
    if blanked == body {
        return Ok(());
    }
    let stored = StoredBody::packed(blanked);
    let length = stored.packed_from().map(|length| i64::try_from(length).unwrap_or(i64::MAX));
    let update = "UPDATE deliveries SET length = ?, body = ? WHERE id = ?";
    connection.prepare_cached(update)?.execute(params![length, stored.bytes(), delivery])?;
    Ok(())
}
