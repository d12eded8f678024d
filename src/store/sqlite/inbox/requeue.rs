//! Requeuing forwards that are dead-lettered or wait for a retry.

use jiff::Timestamp;
use rusqlite::{Connection, params, params_from_iter};

use super::query::Condition;
use super::stored;
use crate::store::EventSelection;
use crate::store::sqlite::fault::StoreFault;

/// How many are requeued in one commit.
pub(super) const AT_ONCE: usize = 500;

/// The forwards of these events that are dead-lettered or pending.
pub(super) fn undelivered(connection: &Connection, selection: &EventSelection) -> Result<Vec<i64>, StoreFault> {
    let Some(Condition { sql, values }) = Condition::of(connection, selection)? else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT f.id FROM events e JOIN deliveries d ON d.id = e.delivery
         JOIN forwards f ON f.delivery = e.delivery AND e.id BETWEEN f.first_event AND f.last_event
         WHERE f.state IN (0, 2) AND {sql}"
    );
    let mut statement = connection.prepare(&sql)?;
    let ids = statement.query_map(params_from_iter(values), |row| row.get(0))?;
    let mut ids = ids.collect::<Result<Vec<i64>, _>>()?;
    // One of several events is found once for each of them.
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Requeues these, unless they were delivered meanwhile or are for another target than this.
pub(super) fn requeue(
    connection: &Connection,
    ids: &[i64],
    now: Timestamp,
    target: Option<&str>,
) -> Result<u64, StoreFault> {
    let sql = "UPDATE forwards SET state = 0, due_at = 0, queued_at = ?1, settled_at = NULL
               WHERE state IN (0, 2) AND id = ?2
               AND (?3 IS NULL OR target IN (SELECT id FROM targets WHERE shown = ?3))";
    let mut statement = connection.prepare_cached(sql)?;
    let mut requeued = 0;
    for id in ids {
        requeued += statement.execute(params![stored(now), id, target])? as u64;
    }
    Ok(requeued)
}
