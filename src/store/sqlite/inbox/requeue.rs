//! Requeuing forwards that are dead-lettered or wait for a retry.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, params, params_from_iter};

use super::body::Bodies;
use super::query::{Condition, SEARCHED};
use super::stored;
use crate::store::sqlite::fault::StoreFault;
use crate::store::{EventSelection, EventSeq};

/// How many are requeued in one commit.
const AT_ONCE: usize = 500;

/// How many events are looked at for it.
const LOOKS: usize = 20_000;

/// Some forwards of these events that are dead-lettered or pending, and the event that was reached if there may be more.
pub(super) fn undelivered(
    connection: &Connection,
    selection: &EventSelection,
) -> Result<(BTreeSet<i64>, Option<EventSeq>), StoreFault> {
    let mut found = BTreeSet::new();
    // Of a target's forwards, only those that can be requeued.
    let undelivered = selection.undelivered || selection.target.is_some();
    let selection = EventSelection { undelivered, ..selection.clone() };
    let Some(condition) = Condition::of(connection, &selection)? else { return Ok((found, None)) };
    let sql = format!(
        "SELECT e.id, e.delivery, {SEARCHED} FROM events e CROSS JOIN deliveries d ON d.id = e.delivery WHERE {} ORDER BY e.id",
        condition.sql
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(&condition.values))?;
    let (mut fates, mut bodies) = (condition.fates(connection)?, Bodies::default());
    let mut looks = 0;
    while let Some(row) = rows.next()? {
        let event = row.get(0)?;
        let fate = fates.of_event(row.get(1)?, event)?;
        if condition.is_met(fate) && condition.finds(connection, &mut bodies, row, 2)? {
            found.extend(&fate.undelivered);
        }
        looks += 1;
        if found.len() >= AT_ONCE || looks == LOOKS {
            return Ok((found, Some(EventSeq(event))));
        }
    }
    Ok((found, None))
}

/// Requeues these, unless they were delivered meanwhile, are for another target than this, or were requeued at this very
/// time: one of several events is found for each of them.
pub(super) fn requeue(
    connection: &Connection,
    ids: &BTreeSet<i64>,
    now: Timestamp,
    target: Option<&str>,
) -> Result<u64, StoreFault> {
    let sql = "UPDATE forwards SET state = 0, due_at = 0, queued_at = ?1, settled_at = NULL
               WHERE id = ?2 AND state IN (0, 2) AND NOT (state = 0 AND due_at = 0 AND queued_at = ?1)
               AND (?3 IS NULL OR target IN (SELECT id FROM targets WHERE shown = ?3))";
    let mut statement = connection.prepare_cached(sql)?;
    let mut requeued = 0;
    for id in ids {
        requeued += statement.execute(params![stored(now), id, target])? as u64;
    }
    Ok(requeued)
}
