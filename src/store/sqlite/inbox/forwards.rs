//! Handing on: what is due, what became of it.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use rusqlite::{Connection, params, params_from_iter};

use super::body::{Bodies, place};
use super::query::{self, Condition};
use super::{StoreFault, stored, time};
use crate::domain::event::{EventFacts, EventKey};
use crate::store::{AttemptOutcome, ClaimRequest, EventSelection, Forward, ForwardId, Settlement, TargetId};

/// The states of a forward, as they are stored.
pub(super) const PENDING: i64 = 0;
pub(super) const DELIVERED: i64 = 1;
pub(super) const DEAD: i64 = 2;

/// How many wait, by target.
pub(super) fn waiting(connection: &Connection) -> Result<Vec<(TargetId, String, u64)>, StoreFault> {
    let sql =
        "SELECT t.id, t.shown, count(*) FROM forwards f INDEXED BY forwards_pending JOIN targets t ON t.id = f.target
               WHERE f.state = 0 GROUP BY f.target ORDER BY f.target";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok((TargetId(row.get(0)?), row.get(1)?, u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0)))
    })?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}

/// How many bytes of events end a claim, whatever is left of it.
const CLAIMED_BYTES: usize = 16 * 1024 * 1024;

/// How many are put in line again in one commit.
pub(super) const REQUEUED_AT_ONCE: usize = 500;

/// How many dead letters are made in one commit.
const EXPIRED_AT_ONCE: i64 = 1000;

/// The forwards that are due and nobody has claimed, and the ids of such whose events are not there.
///
/// Half of them may be such that failed before, so that neither holds the other up for long.
pub(super) fn claim(
    connection: &Connection,
    claimed: &HashSet<ForwardId>,
    target: TargetId,
    now: Timestamp,
    ClaimRequest { limit, retries, newest }: ClaimRequest,
) -> Result<(Vec<Forward>, Vec<i64>), StoreFault> {
    let mut again = due(connection, claimed, target, (1, stored(now)), limit.min(retries), false)?;
    let mut fresh = due(connection, claimed, target, (0, 0), limit, newest)?;
    // Half of an odd number is rounded now up, now down: mostly there is room for one, as one has just ended.
    let half = limit / 2 + usize::from(limit % 2 == 1 && fastrand::bool());
    let half = if newest { 0 } else { half };
    again.truncate(half.max(limit.saturating_sub(fresh.len())));
    fresh.truncate(limit.saturating_sub(again.len()));
    // Large ones of the one kind leave room for the other.
    let room = if again.is_empty() { CLAIMED_BYTES } else { CLAIMED_BYTES / 2 };
    let (mut claims, mut orphans, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (ids, room) in [(fresh, room), (again, CLAIMED_BYTES)] {
        for id in ids {
            let Some(forward) = read(connection, id)? else {
                orphans.push(id);
                continue;
            };
            bytes += forward.body.len();
            claims.push(forward);
            if bytes >= room {
                break;
            }
        }
    }
    Ok((claims, orphans))
}

/// Removes forwards that have no events: they would be due for ever.
pub(super) fn drop_orphans(connection: &Connection, ids: &[i64]) -> Result<(), StoreFault> {
    let mut statement = connection.prepare_cached("DELETE FROM forwards WHERE id = ?")?;
    ids.iter().try_for_each(|id| statement.execute([id]).map(drop))?;
    Ok(())
}

/// The ids of forwards that are due in this span of time.
fn due(
    connection: &Connection,
    claimed: &HashSet<ForwardId>,
    target: TargetId,
    (from, to): (i64, i64),
    limit: usize,
    newest: bool,
) -> Result<Vec<i64>, StoreFault> {
    let oldest_first =
        "SELECT id FROM forwards WHERE state = 0 AND target = ? AND due_at BETWEEN ? AND ? ORDER BY due_at, id";
    let newest_first = "SELECT id FROM forwards WHERE state = 0 AND target = ? AND due_at BETWEEN ? AND ? ORDER BY due_at DESC, id DESC";
    let mut statement = connection.prepare_cached(if newest { newest_first } else { oldest_first })?;
    let mut rows = statement.query([target.0, from, to])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if ids.len() == limit {
            break;
        }
        if !claimed.contains(&ForwardId(id)) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// A forward with its events; `None` when there are none: it was purged, or they were lost.
fn read(connection: &Connection, id: i64) -> Result<Option<Forward>, StoreFault> {
    let sql = "SELECT f.delivery, f.first_event, f.last_event, f.attempts, f.queued_at,
                      d.sender, d.content_type, d.received_at, d.events
               FROM forwards f JOIN deliveries d ON d.id = f.delivery WHERE f.id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let delivery: i64 = row.get(0)?;
    let mut events = events(connection, delivery, row.get(1)?, row.get(2)?)?;
    if events.is_empty() {
        return Ok(None);
    }
    let whole = row.get::<_, i64>(8)? == i64::try_from(events.len()).unwrap_or(0);
    let body =
        if whole { Bodies::of(connection).whole(delivery)? } else { part_with(connection, delivery, &mut events)? };
    Ok(Some(Forward {
        id: ForwardId(id),
        sender: query::sender(&row.get::<_, String>(5)?)?,
        content_type: row.get(6)?,
        received_at: time(row.get(7)?),
        queued_at: time(row.get(4)?),
        attempts: row.get(3)?,
        whole,
        events,
        body,
    }))
}

/// The part of a body that these events are in, and no more of it: it may be very large. They are placed in that part.
fn part_with(connection: &Connection, delivery: i64, events: &mut [EventFacts]) -> Result<Vec<u8>, StoreFault> {
    let end = events.iter().map(|event| event.span.end).max().unwrap_or(0);
    let start = events.iter().map(|event| event.span.start).min().unwrap_or(0);
    let part = Bodies::of(connection).part(delivery, start..end)?;
    for event in events {
        event.span = event.span.start - start..event.span.end - start;
    }
    Ok(part)
}

fn events(connection: &Connection, delivery: i64, first: i64, last: i64) -> Result<Vec<EventFacts>, StoreFault> {
    let sql = "SELECT start, length, key, event_id, type, app_id, title FROM events
               WHERE id BETWEEN ? AND ? AND delivery = ? ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let facts = statement.query_map([first, last, delivery], |row| {
        Ok(EventFacts {
            id: row.get(3)?,
            key: EventKey::from_bytes(row.get(2)?),
            event_type: row.get(4)?,
            app_id: row.get(5)?,
            title: row.get(6)?,
            span: place(row.get(0)?, row.get(1)?),
        })
    })?;
    Ok(facts.collect::<Result<Vec<_>, _>>()?)
}

pub(super) fn next_due(
    connection: &Connection,
    claimed: &HashSet<ForwardId>,
    target: TargetId,
) -> Result<Option<Timestamp>, StoreFault> {
    let sql = "SELECT id, due_at FROM forwards WHERE state = 0 AND target = ? ORDER BY due_at, id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([target.0])?;
    while let Some(row) = rows.next()? {
        if !claimed.contains(&ForwardId(row.get(0)?)) {
            return Ok(Some(time(row.get(1)?)));
        }
    }
    Ok(None)
}

pub(super) fn settle(connection: &Connection, settlements: &[Settlement]) -> Result<(), StoreFault> {
    let sql =
        "UPDATE forwards SET state = ?, attempts = attempts + 1, due_at = ?, settled_at = ?, error = ? WHERE id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    for Settlement { forward, at, outcome } in settlements {
        let at = stored(*at);
        match outcome {
            AttemptOutcome::Delivered => statement.execute(params![DELIVERED, 0, at, None::<&str>, forward.0])?,
            AttemptOutcome::Again { at: due, error } => {
                // 0 is what was never tried.
                statement.execute(params![PENDING, stored(*due).max(1), None::<i64>, error, forward.0])?
            }
            AttemptOutcome::Dead { error } => statement.execute(params![DEAD, 0, at, error, forward.0])?,
        };
    }
    Ok(())
}

pub(super) fn expire(
    connection: &Connection,
    claimed: &HashSet<ForwardId>,
    queued_before: Timestamp,
) -> Result<Vec<(String, u64)>, StoreFault> {
    let old = "SELECT f.id, t.shown FROM forwards f INDEXED BY forwards_by_age JOIN targets t ON t.id = f.target
               WHERE f.state = 0 AND f.queued_at < ? LIMIT ?";
    let mut statement = connection.prepare_cached(old)?;
    let limit = EXPIRED_AT_ONCE + i64::try_from(claimed.len()).unwrap_or(0);
    let old = statement.query_map([stored(queued_before), limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let old: Vec<(i64, String)> = old.collect::<Result<_, _>>()?;
    let sql = "UPDATE forwards SET state = 2, error = coalesce(error, 'it waited for too long') WHERE id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut expired = BTreeMap::new();
    for (id, target) in old.into_iter().filter(|(id, _)| !claimed.contains(&ForwardId(*id))) {
        statement.execute([id])?;
        *expired.entry(target).or_default() += 1;
    }
    Ok(expired.into_iter().collect())
}

/// The forwards among these events that were given up or wait.
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

/// Puts these in line again, unless they were delivered meanwhile.
pub(super) fn requeue(connection: &Connection, ids: &[i64], now: Timestamp) -> Result<u64, StoreFault> {
    let sql = "UPDATE forwards SET state = 0, due_at = 0, queued_at = ?, settled_at = NULL
               WHERE state IN (0, 2) AND id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut requeued = 0;
    for id in ids {
        requeued += statement.execute([stored(now), *id])? as u64;
    }
    Ok(requeued)
}

/// When the oldest unsettled forward was put in line, and how many there are of them and of dead ones.
pub(super) fn backlog(connection: &Connection) -> Result<(u64, u64, Option<Timestamp>), StoreFault> {
    let pending = "SELECT count(*) FROM forwards INDEXED BY forwards_pending WHERE state = 0";
    let dead = "SELECT count(*) FROM forwards INDEXED BY forwards_dead WHERE state = 2";
    let count = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
    let oldest = "SELECT min(queued_at) FROM forwards INDEXED BY forwards_by_age WHERE state = 0";
    let oldest: Option<i64> = connection.prepare_cached(oldest)?.query_row([], |row| row.get(0))?;
    let unsigned = |count: i64| u64::try_from(count).unwrap_or(0);
    Ok((unsigned(count(pending)?), unsigned(count(dead)?), oldest.map(time)))
}
