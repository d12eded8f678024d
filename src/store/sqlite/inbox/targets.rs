//! The targets on record, and the attempts to forward to them.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteInbox, stored, time};
use crate::store::sqlite::fault::StoreFault;
use crate::store::{
    AttemptOutcome, AttemptRecord, AttemptReport, EventSeq, EventState, ForwardRecord, KEPT_OF_ANSWER, Settlement,
    StoreError, TargetId, TargetRecord, Targets,
};

/// How many attempts of a forward are kept. The migrations say so too.
const KEPT_ATTEMPTS: i64 = 16;

/// How many forwards are dropped in one commit.
const DROPPED_AT_ONCE: i64 = 500;

/// Puts an attempt on record, the one with this number of its forward.
pub(super) fn record(
    connection: &Connection,
    settlement: &Settlement,
    number: i64,
    is_pending: bool,
) -> Result<(), StoreFault> {
    let sql = "INSERT OR REPLACE INTO attempts (id, number, at, took, status, answer, error, next_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let id = settlement.lease.forward.0 * KEPT_ATTEMPTS + number % KEPT_ATTEMPTS;
    let AttemptReport { took, status, answer } = &settlement.report;
    let took = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
    let answer = answer.get(..KEPT_OF_ANSWER).unwrap_or(answer);
    let answer = (!answer.is_empty()).then_some(answer);
    let (error, next) = match &settlement.outcome {
        AttemptOutcome::Delivered | AttemptOutcome::Skipped => (None, None),
        AttemptOutcome::Retry { at, error } => (Some(error), Some(stored(*at)).filter(|_| is_pending)),
        AttemptOutcome::DeadLettered { error } => (Some(error), None),
    };
    let values = params![id, number, stored(settlement.at), took, status, answer, error, next];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Whether a target is paused.
pub(super) fn is_paused(connection: &Connection, target: TargetId) -> Result<bool, StoreFault> {
    let sql = "SELECT paused_at IS NOT NULL FROM targets WHERE id = ?";
    let paused = connection.prepare_cached(sql)?.query_row([target.0], |row| row.get(0)).optional()?;
    Ok(paused.unwrap_or(false))
}

/// Puts on record until when a failing target is left alone.
pub(super) fn hold(connection: &Connection, target: TargetId, until: Option<Timestamp>) -> Result<(), StoreFault> {
    let sql = "UPDATE targets SET held_until = ?1 WHERE id = ?2 AND held_until IS NOT ?1";
    connection.prepare_cached(sql)?.execute(params![until.map(stored), target.0])?;
    Ok(())
}

/// Each target that is not paused, with its name, and since when at the earliest its forwards count as queued.
pub(super) fn unpaused(connection: &Connection) -> Result<Vec<(i64, String, i64)>, StoreFault> {
    let sql = "SELECT id, shown, coalesce(resumed_at, 0) FROM targets WHERE paused_at IS NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn records(connection: &Connection) -> Result<Vec<TargetRecord>, StoreFault> {
    let sql =
        "SELECT t.id, t.shown, t.paused_at, coalesce(p.count, 0), coalesce(d.count, 0), t.held_until FROM targets t
               LEFT JOIN (SELECT target, count(*) AS count FROM forwards INDEXED BY forwards_pending
                          WHERE state = 0 GROUP BY target) p ON p.target = t.id
               LEFT JOIN (SELECT target, count(*) AS count FROM forwards INDEXED BY forwards_dead
                          WHERE state = 2 GROUP BY target) d ON d.target = t.id
               ORDER BY t.shown, t.id";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let count = |index: usize| row.get::<_, i64>(index).map(|count| u64::try_from(count).unwrap_or(0));
        Ok(TargetRecord {
            id: TargetId(row.get(0)?),
            name: row.get(1)?,
            paused_at: row.get::<_, Option<i64>>(2)?.map(time),
            suspended_until: row.get::<_, Option<i64>>(5)?.map(time),
            pending: count(3)?,
            dead: count(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn forwards_of(connection: &Connection, EventSeq(event): EventSeq) -> Result<Vec<ForwardRecord>, StoreFault> {
    let sql = "SELECT f.id, t.shown, f.state, f.attempts FROM events e
               JOIN forwards f ON f.delivery = e.delivery AND e.id BETWEEN f.first_event AND f.last_event
               JOIN targets t ON t.id = f.target WHERE e.id = ? ORDER BY t.shown, f.id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([event])?;
    let mut forwards = Vec::new();
    while let Some(row) = rows.next()? {
        let state = match row.get::<_, i64>(2)? {
            0 => EventState::Pending,
            1 => EventState::Forwarded,
            _ => EventState::Dead,
        };
        let (target, attempts) = (row.get(1)?, row.get(3)?);
        forwards.push(ForwardRecord {
            target,
            state,
            attempts,
            newest_attempts: attempts_of(connection, row.get(0)?)?,
        });
    }
    Ok(forwards)
}

/// The attempts of a forward that are on record, oldest first.
fn attempts_of(connection: &Connection, forward: i64) -> Result<Vec<AttemptRecord>, StoreFault> {
    let sql = "SELECT number, at, took, status, answer, error, next_at FROM attempts
               WHERE id BETWEEN ?1 AND ?2 ORDER BY number";
    let mut statement = connection.prepare_cached(sql)?;
    let first = forward * KEPT_ATTEMPTS;
    let rows = statement.query_map([first, first + KEPT_ATTEMPTS - 1], |row| {
        let took = Duration::from_micros(u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0));
        let answer = row.get::<_, Option<Vec<u8>>>(4)?.unwrap_or_default();
        Ok(AttemptRecord {
            number: row.get(0)?,
            at: time(row.get(1)?),
            report: AttemptReport { took, status: row.get(3)?, answer },
            error: row.get(5)?,
            next_at: row.get::<_, Option<i64>>(6)?.map(time),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Targets for SqliteInbox {
    fn target_records(&self) -> Result<Vec<TargetRecord>, StoreError> {
        self.read(records)
    }

    fn forwards_of(&self, event: EventSeq) -> Result<Vec<ForwardRecord>, StoreError> {
        self.read_at_once(|connection| forwards_of(connection, event))
    }

    fn pause_target(&mut self, target: TargetId, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE targets SET paused_at = ? WHERE id = ? AND paused_at IS NULL";
        self.write(|connection| Ok(connection.execute(sql, [stored(now), target.0])? > 0))
    }

    fn resume_target(&mut self, target: TargetId, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE targets SET paused_at = NULL, resumed_at = ? WHERE id = ? AND paused_at IS NOT NULL";
        self.write(|connection| Ok(connection.execute(sql, [stored(now), target.0])? > 0))
    }

    fn drop_pending(&mut self, target: TargetId, now: Timestamp) -> Result<u64, StoreError> {
        let sql = "UPDATE forwards SET state = 2, error = 'it was dropped by hand' WHERE id IN
                   (SELECT id FROM forwards INDEXED BY forwards_by_age
                    WHERE state = 0 AND target = ? AND queued_at < ? LIMIT ?)";
        self.write(|connection| Ok(connection.execute(sql, [target.0, stored(now), DROPPED_AT_ONCE])? as u64))
    }
}
