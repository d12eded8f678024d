//! Removing what is old, a little at a time: nobody waits long for the lock.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Fault, seen, stored};
use crate::store::{PurgeRule, Purged};

/// How many deliveries go in one commit.
const STEP: i64 = 500;

/// How many pages are given back to the disk at once.
const PAGES: i64 = 2000;

/// Removes some of what a rule means.
pub(super) fn step(connection: &Connection, rule: &PurgeRule) -> Result<Purged, Fault> {
    let mut purged = Purged::default();
    if let Some(before) = rule.before {
        let old = "SELECT id FROM deliveries d WHERE received_at < ?1 AND (?2 OR NOT EXISTS
                   (SELECT 1 FROM forwards f WHERE f.delivery = d.id AND f.state = 0)) LIMIT ?3";
        let mut statement = connection.prepare_cached(old)?;
        let ids = statement.query_map(params![stored(before), rule.even_pending, STEP], |row| row.get(0))?;
        let ids = ids.collect::<Result<Vec<i64>, _>>()?;
        let quarantine = "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE received_at < ? LIMIT ?)";
        purged.quarantined = connection.prepare_cached(quarantine)?.execute([stored(before), STEP])? as u64;
        purged.more = ids.len() as u64 == STEP.unsigned_abs() || purged.quarantined == STEP.unsigned_abs();
        purged.events = remove(connection, &ids)?;
    }
    if let Some(max_bytes) = rule.max_bytes
        && !purged.more
        && bytes_in_use(connection)? > max_bytes
    {
        let oldest = "SELECT id FROM deliveries d WHERE ?1 OR NOT EXISTS
                      (SELECT 1 FROM forwards f WHERE f.delivery = d.id AND f.state = 0) ORDER BY id LIMIT ?2";
        let mut statement = connection.prepare_cached(oldest)?;
        let ids = statement.query_map(params![rule.even_pending, STEP], |row| row.get(0))?;
        let ids = ids.collect::<Result<Vec<i64>, _>>()?;
        let mut gone = 0;
        for (index, id) in ids.iter().enumerate() {
            // Looked at now and then: deliveries are from 1 KB to some MB.
            if index % 10 == 0 && bytes_in_use(connection)? <= max_bytes {
                break;
            }
            gone += remove(connection, &[*id])?;
        }
        purged.events += gone;
        if ids.is_empty() {
            let quarantine = "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine ORDER BY id LIMIT ?)";
            purged.quarantined += connection.prepare_cached(quarantine)?.execute([STEP])? as u64;
        }
        let progress = gone > 0 || purged.quarantined > 0;
        purged.more = progress && bytes_in_use(connection)? > max_bytes;
    }
    if purged.events > 0 {
        let first: Option<i64> =
            connection.query_row("SELECT min(id) FROM events", [], |row| row.get(0)).optional()?.flatten();
        seen::drop_runs_before(connection, first.unwrap_or(i64::MAX))?;
    }
    Ok(purged)
}

/// Removes deliveries with all that belongs to them; returns how many events.
fn remove(connection: &Connection, deliveries: &[i64]) -> Result<u64, Fault> {
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
pub(super) fn give_back(connection: &Connection) -> Result<bool, Fault> {
    let before = free_pages(connection)?;
    let mut statement = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = statement.query([])?;
    // A row for each page.
    while rows.next()?.is_some() {}
    drop(rows);
    // A file that gives nothing back must not be tried for ever.
    Ok((1..before).contains(&free_pages(connection)?))
}

fn free_pages(connection: &Connection) -> Result<i64, Fault> {
    Ok(connection.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?)
}

/// What the inbox takes up, without pages that are free.
fn bytes_in_use(connection: &Connection) -> Result<u64, Fault> {
    let read = |pragma: &str| -> Result<u64, Fault> {
        let count: i64 = connection.prepare_cached(&format!("PRAGMA {pragma}"))?.query_row([], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    };
    Ok((read("page_count")? - read("freelist_count")?) * read("page_size")?)
}
