//! Removing what is old, a little at a time: nobody waits long for the lock.

use rusqlite::{Connection, Row, Rows, params};

use super::stored;
use crate::store::sqlite::dedup;
use crate::store::sqlite::fault::StoreFault;
use crate::store::{PurgeRule, Purged};

/// How many deliveries go in one commit.
const STEP: i64 = 500;

/// How many pages are given back to the disk at once.
const PAGES: i64 = 2000;

/// How many deliveries are looked at in one commit: those that wait are kept, however many there are.
const LOOKS: usize = 2000;

/// How far a round of steps has come: what was looked at is not looked at again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    by_time: (i64, i64),
    by_id: i64,
}

impl Default for Reached {
    fn default() -> Self {
        Self { by_time: (i64::MIN, i64::MIN), by_id: i64::MIN }
    }
}

/// Removes some of what a rule means.
pub(super) fn step(connection: &Connection, rule: &PurgeRule, reached: &mut Reached) -> Result<Purged, StoreFault> {
    let mut purged = Purged::default();
    if let Some(before) = rule.before {
        let (ids, more) = old(connection, stored(before), rule.even_pending, reached)?;
        let quarantine = "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE received_at < ? LIMIT ?)";
        purged.quarantined = connection.prepare_cached(quarantine)?.execute([stored(before), STEP])? as u64;
        purged.more = more || purged.quarantined == STEP.unsigned_abs();
        purged.events = remove(connection, &ids)?;
    }
    if let Some(max_bytes) = rule.max_bytes
        && !purged.more
        && bytes_in_use(connection)? > max_bytes
    {
        let (ids, more) = oldest(connection, rule.even_pending, reached)?;
        let mut gone = 0;
        for id in &ids {
            // Looked at before each: one delivery may have some MB.
            if bytes_in_use(connection)? <= max_bytes {
                break;
            }
            gone += remove(connection, &[*id])?;
        }
        purged.events += gone;
        if ids.is_empty() && !more {
            let quarantine = "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine ORDER BY id LIMIT ?)";
            purged.quarantined += connection.prepare_cached(quarantine)?.execute([STEP])? as u64;
        }
        let progress = more || gone > 0 || purged.quarantined > 0;
        let too_large = bytes_in_use(connection)? > max_bytes;
        purged.more = progress && too_large;
        purged.too_large = too_large && !progress && has_deliveries(connection)?;
    }
    if purged.events > 0 {
        let first: Option<i64> = connection.query_row("SELECT min(id) FROM events", [], |row| row.get(0))?;
        dedup::drop_runs_before(connection, first.unwrap_or(i64::MAX))?;
    }
    Ok(purged)
}

/// Some deliveries that came before a time and may go, and whether there may be more.
fn old(
    connection: &Connection,
    before: i64,
    even_pending: bool,
    reached: &mut Reached,
) -> Result<(Vec<i64>, bool), StoreFault> {
    let sql = "SELECT id, ?1 OR NOT EXISTS (SELECT 1 FROM forwards f WHERE f.delivery = d.id AND f.state = 0),
                      received_at
               FROM deliveries d WHERE received_at < ?2 AND (received_at, id) > (?3, ?4) ORDER BY received_at, id";
    let mut statement = connection.prepare_cached(sql)?;
    let (time, id) = reached.by_time;
    pick(statement.query(params![even_pending, before, time, id])?, |id, row| {
        reached.by_time = (row.get(2)?, id);
        Ok(())
    })
}

/// Some of the oldest deliveries that may go, and whether there may be more.
fn oldest(connection: &Connection, even_pending: bool, reached: &mut Reached) -> Result<(Vec<i64>, bool), StoreFault> {
    let sql = "SELECT id, ?1 OR NOT EXISTS (SELECT 1 FROM forwards f WHERE f.delivery = d.id AND f.state = 0)
               FROM deliveries d WHERE id > ?2 ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    pick(statement.query(params![even_pending, reached.by_id])?, |id, _| {
        reached.by_id = id;
        Ok(())
    })
}

/// Goes through deliveries, and whether each may go, until there are enough; tells of each that was looked at.
fn pick(
    mut rows: Rows<'_>,
    mut looked_at: impl FnMut(i64, &Row<'_>) -> Result<(), rusqlite::Error>,
) -> Result<(Vec<i64>, bool), StoreFault> {
    let (mut ids, mut looks) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if row.get(1)? {
            ids.push(id);
        }
        looked_at(id, row)?;
        looks += 1;
        if looks == LOOKS || ids.len() as u64 == STEP.unsigned_abs() {
            return Ok((ids, true));
        }
    }
    Ok((ids, false))
}

/// Removes deliveries with all that belongs to them; returns how many events.
fn remove(connection: &Connection, deliveries: &[i64]) -> Result<u64, StoreFault> {
    if !deliveries.is_empty() {
        let note = "INSERT INTO purged (id, last_event) SELECT 1, max(id) FROM events WHERE true HAVING max(id) > 0
                    ON CONFLICT DO UPDATE SET last_event = max(last_event, excluded.last_event)";
        connection.prepare_cached(note)?.execute([])?;
    }
    let mut events = 0;
    for id in deliveries {
        connection.prepare_cached("DELETE FROM forwards WHERE delivery = ?")?.execute([id])?;
        let theirs = "DELETE FROM events WHERE id BETWEEN (SELECT first_event FROM deliveries WHERE id = ?1)
                      AND (SELECT last_event FROM deliveries WHERE id = ?1)";
        events += connection.prepare_cached(theirs)?.execute([id])? as u64;
        connection.prepare_cached("DELETE FROM deliveries WHERE id = ?")?.execute([id])?;
    }
    Ok(events)
}

/// Gives some of the free pages back to the disk. Returns whether there are more.
pub(super) fn give_back(connection: &Connection) -> Result<bool, StoreFault> {
    let before = free_pages(connection)?;
    let mut statement = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = statement.query([])?;
    // A row for each page.
    while rows.next()?.is_some() {}
    drop(rows);
    // A file that gives nothing back must not be tried for ever.
    Ok((1..before).contains(&free_pages(connection)?))
}

fn free_pages(connection: &Connection) -> Result<u64, StoreFault> {
    number(connection, "freelist_count")
}

fn has_deliveries(connection: &Connection) -> Result<bool, StoreFault> {
    Ok(connection.query_row("SELECT EXISTS (SELECT 1 FROM deliveries)", [], |row| row.get(0))?)
}

/// What the inbox takes up, without pages that are free.
fn bytes_in_use(connection: &Connection) -> Result<u64, StoreFault> {
    Ok((number(connection, "page_count")? - free_pages(connection)?) * number(connection, "page_size")?)
}

/// A number that SQLite knows of a file.
fn number(connection: &Connection, pragma: &str) -> Result<u64, StoreFault> {
    let number: i64 = connection.prepare_cached(&format!("PRAGMA {pragma}"))?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(number).unwrap_or(0))
}
