//! The queue of forwards: claims and settlements.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::body::{Bodies, place};
use super::fates::{DEAD, DELIVERED, PENDING};
use super::known::known_by;
use super::leases::{ForwardIdentity, Leases};
use super::query;
use super::targets;
use super::{stored, time};
use crate::domain::event::{AppHash, EventFacts};
use crate::store::sqlite::fault::StoreFault;
use crate::store::{AttemptOutcome, ClaimRequest, Forward, ForwardId, Settlement, TargetId};

/// How many bytes of events end a claim, whatever is left of it.
const CLAIMED_BYTES: usize = 16 * 1024 * 1024;

/// How many dead letters are made in one commit.
const EXPIRED_AT_ONCE: i64 = 1000;

/// No wait is longer than an hour: what is due later than this from now was noted by a clock that was wrong, and is due.
const FARTHEST: SignedDuration = SignedDuration::from_hours(2);

/// A forward, and what its lease is of.
pub(super) type ClaimedForward = (Forward, ForwardIdentity);

/// The forwards that are due and nobody has claimed, and the ids of such whose events are not there.
///
/// Half of them may be such that failed before, so that neither holds the other up for long.
pub(super) fn claim(
    connection: &Connection,
    bodies: &mut Bodies,
    leases: &Leases,
    target: TargetId,
    now: Timestamp,
    ClaimRequest { limit, retries, newest }: ClaimRequest,
) -> Result<(Vec<ClaimedForward>, Vec<i64>), StoreFault> {
    if targets::is_paused(connection, target)? {
        return Ok((Vec::new(), Vec::new()));
    }
    let retries = limit.min(retries);
    let mut again = due(connection, leases, target, (1, stored(now)), now, retries, false)?;
    if again.len() < retries {
        let far = stored(now.checked_add(FARTHEST).unwrap_or(Timestamp::MAX));
        again.extend(due(connection, leases, target, (far, i64::MAX), now, retries - again.len(), false)?);
    }
    let mut fresh = due(connection, leases, target, (0, 0), now, limit, newest)?;
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
            let Some((forward, identity)) = read(connection, bodies, id)? else {
                orphans.push(id);
                continue;
            };
            bytes += forward.body.len();
            claims.push((forward, identity));
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

/// The ids of forwards that are due between these times.
fn due(
    connection: &Connection,
    leases: &Leases,
    target: TargetId,
    (from, to): (i64, i64),
    now: Timestamp,
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
        if !leases.is_leased(id, now) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// A forward with its events; `None` when there are none: it was purged, or they were lost.
fn read(connection: &Connection, bodies: &mut Bodies, id: i64) -> Result<Option<ClaimedForward>, StoreFault> {
    let sql = "SELECT f.delivery, f.first_event, f.last_event, f.attempts, max(f.queued_at, coalesce(t.resumed_at, 0)),
                      d.sender, d.content_type, d.received_at, d.events, f.target
               FROM forwards f JOIN deliveries d ON d.id = f.delivery JOIN targets t ON t.id = f.target WHERE f.id = ?";
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
        if whole { bodies.whole(connection, delivery)? } else { part_with(connection, bodies, delivery, &mut events)? };
    let identity = ForwardIdentity { target: TargetId(row.get(9)?), delivery, first_event: row.get(1)? };
    let forward = Forward {
        id: ForwardId(id),
        sender: query::sender(&row.get::<_, String>(5)?)?,
        content_type: row.get(6)?,
        received_at: time(row.get(7)?),
        queued_at: time(row.get(4)?),
        attempts: row.get(3)?,
        whole,
        events,
        body,
    };
    Ok(Some((forward, identity)))
}

/// The part of a body that these events are in, and no more of it: it may be very large. They are placed in that part.
fn part_with(
    connection: &Connection,
    bodies: &mut Bodies,
    delivery: i64,
    events: &mut [EventFacts],
) -> Result<Vec<u8>, StoreFault> {
    let end = events.iter().map(|event| event.span.end).max().unwrap_or(0);
    let start = events.iter().map(|event| event.span.start).min().unwrap_or(0);
    let part = bodies.part(connection, delivery, start..end)?;
    for event in events {
        event.span = event.span.start - start..event.span.end - start;
    }
    Ok(part)
}

fn events(connection: &Connection, delivery: i64, first: i64, last: i64) -> Result<Vec<EventFacts>, StoreFault> {
    let sql = "SELECT start, length, key, event_id, type, app_id, title, app, previous FROM events
               WHERE id BETWEEN ? AND ? AND delivery = ? ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let facts = statement.query_map([first, last, delivery], |row| {
        Ok(EventFacts {
            id: row.get(3)?,
            key: known_by(row.get(2)?, row.get(8)?),
            event_type: row.get(4)?,
            app_id: row.get(5)?,
            app: row.get::<_, Option<i64>>(7)?.map(AppHash),
            title: row.get(6)?,
            is_without_id: false,
            span: place(row.get(0)?, row.get(1)?),
        })
    })?;
    Ok(facts.collect::<Result<Vec<_>, _>>()?)
}

pub(super) fn next_due(
    connection: &Connection,
    leases: &Leases,
    target: TargetId,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreFault> {
    if targets::is_paused(connection, target)? {
        return Ok(None);
    }
    let sql = "SELECT id, due_at FROM forwards WHERE state = 0 AND target = ? ORDER BY due_at, id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([target.0])?;
    while let Some(row) = rows.next()? {
        if !leases.is_leased(row.get(0)?, now) {
            return Ok(Some(time(row.get(1)?)));
        }
    }
    Ok(None)
}

/// Records an attempt and how it ended. Returns whether the forward is still there.
pub(super) fn settle(
    connection: &Connection,
    settlement: &Settlement,
    ForwardIdentity { target, delivery, first_event }: ForwardIdentity,
) -> Result<bool, StoreFault> {
    // What is dead already was dropped by hand during the attempt: only a delivery counts.
    let sql = "UPDATE forwards SET state = CASE WHEN state = 2 AND ?1 = 0 THEN 2 ELSE ?1 END, attempts = attempts + 1,
                   due_at = CASE WHEN state = 2 AND ?1 = 0 THEN due_at ELSE ?2 END, settled_at = coalesce(?3, settled_at),
                   error = CASE WHEN state = 2 AND ?1 = 0 THEN error ELSE ?4 END
               WHERE id = ?5 AND target = ?6 AND delivery = ?7 AND first_event = ?8 RETURNING attempts, state";
    let at = stored(settlement.at);
    let forward = settlement.lease.forward.0;
    let (state, due, settled_at, error) = match &settlement.outcome {
        AttemptOutcome::Delivered => (DELIVERED, 0, Some(at), None),
        AttemptOutcome::Skipped => {
            let sql = "DELETE FROM forwards WHERE id = ? AND target = ? AND delivery = ? AND first_event = ?";
            return Ok(connection.prepare_cached(sql)?.execute([forward, target.0, delivery, first_event])? > 0);
        }
        // 0 is what was never tried.
        AttemptOutcome::Retry { at: due, error } => (PENDING, stored(*due).max(1), None, Some(error)),
        AttemptOutcome::DeadLettered { error } => (DEAD, 0, Some(at), Some(error)),
    };
    let values = params![state, due, settled_at, error, forward, target.0, delivery, first_event];
    let settled =
        connection.prepare_cached(sql)?.query_row(values, |row| Ok((row.get(0)?, row.get::<_, i64>(1)?))).optional()?;
    if let Some((number, state)) = settled {
        targets::record(connection, settlement, number, state == PENDING)?;
    }
    Ok(settled.is_some())
}

pub(super) fn expire(
    connection: &Connection,
    leases: &Leases,
    queued_before: impl Fn(TargetId) -> Timestamp,
    now: Timestamp,
) -> Result<Vec<(String, u64)>, StoreFault> {
    let old =
        "SELECT id FROM forwards INDEXED BY forwards_by_age WHERE state = 0 AND target = ? AND queued_at < ? LIMIT ?";
    let mut old = connection.prepare_cached(old)?;
    let sql = "UPDATE forwards SET state = 2, error = coalesce(error, 'it was queued for too long') WHERE id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let skipped = i64::try_from(leases.len()).unwrap_or(0);
    let (mut expired, mut left) = (BTreeMap::new(), EXPIRED_AT_ONCE);
    for (target, name, resumed_at) in targets::unpaused(connection)? {
        let before = stored(queued_before(TargetId(target)));
        if left == 0 || resumed_at >= before {
            continue;
        }
        let ids = old.query_map([target, before, left + skipped], |row| row.get(0))?;
        let ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
        for id in ids.into_iter().filter(|id| !leases.is_leased(*id, now)) {
            statement.execute([id])?;
            left = (left - 1).max(0);
            *expired.entry(name.clone()).or_default() += 1;
        }
    }
    Ok(expired.into_iter().collect())
}
