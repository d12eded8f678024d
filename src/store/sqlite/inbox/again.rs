//! Forwarding events once more, whatever became of them before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::stored;
use crate::store::sqlite::fault::StoreFault;
use crate::store::{EventSeq, TargetId};

/// How many forwards are made in one commit.
pub(super) const AT_ONCE: usize = 500;

/// The first and the last events of forwards that are pending, by delivery.
type PendingRanges = HashMap<i64, Vec<(i64, i64)>>;

/// Makes a forward of each of these events to a target that has none pending. Returns how many were made.
pub(super) fn forward_again(
    connection: &Connection,
    events: &[EventSeq],
    target: TargetId,
    now: Timestamp,
) -> Result<u64, StoreFault> {
    let is_known = "SELECT EXISTS (SELECT 1 FROM targets WHERE id = ?)";
    if !connection.prepare_cached(is_known)?.query_row([target.0], |row| row.get(0))? {
        return Ok(0);
    }
    let mut home = connection.prepare_cached("SELECT delivery FROM events WHERE id = ?")?;
    // It is numbered behind all that are there.
    let insert = "INSERT INTO forwards (target, delivery, first_event, last_event, queued_at) VALUES (?, ?, ?, ?, ?)";
    let mut insert = connection.prepare_cached(insert)?;
    let (mut pending, mut made) = (PendingRanges::new(), 0);
    for EventSeq(event) in events {
        let Some(delivery) = home.query_row([event], |row| row.get(0)).optional()? else { continue };
        let ranges = match pending.entry(delivery) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(pending_ranges(connection, delivery, target)?),
        };
        if ranges.iter().all(|(first, last)| !(first..=last).contains(&event)) {
            insert.execute(params![target.0, delivery, event, event, stored(now)])?;
            ranges.push((*event, *event));
            made += 1;
        }
    }
    Ok(made)
}

fn pending_ranges(connection: &Connection, delivery: i64, target: TargetId) -> Result<Vec<(i64, i64)>, StoreFault> {
    let sql = "SELECT first_event, last_event FROM forwards INDEXED BY forwards_by_delivery
               WHERE delivery = ? AND target = ? AND state = 0";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([delivery, target.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
