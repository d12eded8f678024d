//! The targets on record, and the attempts to forward to them.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::fault::PostgresFault;
use super::super::session::{ServerSession, values};
use super::states::{DELIVERED, PENDING};
use super::{stored, time};
use crate::store::{AttemptRecord, AttemptReport, EventSeq, EventState, ForwardRecord, TargetId, TargetRecord};

/// How many forwards are dropped in one commit.
const DROPPED_AT_ONCE: i64 = 500;

pub(super) fn records(session: &ServerSession) -> Result<Vec<TargetRecord>, PostgresFault> {
    let sql = "SELECT t.id, t.shown, t.paused_at,
                   (SELECT count(*) FROM @forwards f WHERE f.target = t.id AND f.state = 0),
                   (SELECT count(*) FROM @forwards f WHERE f.target = t.id AND f.state = 2), t.held_until
               FROM @targets t ORDER BY t.shown COLLATE \"C\", t.id";
    let rows = session.try_run(async |link| link.rows(sql, values![]).await)?;
    let record = |row: &Row| {
        let count = |column: usize| row.try_get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
        Ok(TargetRecord {
            id: TargetId(row.try_get(0)?),
            name: row.try_get(1)?,
            paused_at: row.try_get::<_, Option<i64>>(2)?.map(time),
            suspended_until: row.try_get::<_, Option<i64>>(5)?.map(time),
            pending: count(3)?,
            dead: count(4)?,
        })
    };
    rows.iter().map(record).collect()
}

pub(super) fn forwards_of(
    session: &ServerSession,
    EventSeq(event): EventSeq,
) -> Result<Vec<ForwardRecord>, PostgresFault> {
    let sql =
        "SELECT f.id, t.shown, f.state, f.attempts, a.number, a.at, a.took, a.status, a.answer, a.error, a.next_at
               FROM @events e JOIN @deliveries d ON d.id = e.delivery
               JOIN @forwards f ON f.last_event BETWEEN e.id AND d.last_event AND f.first_event <= e.id
                   AND f.delivery = e.delivery
               JOIN @targets t ON t.id = f.target LEFT JOIN @attempts a ON a.forward = f.id
               WHERE e.id = $1 ORDER BY t.shown COLLATE \"C\", f.id, a.number";
    let rows = session.try_run(async |link| link.rows(sql, values![event => INT8]).await)?;
    let (mut forwards, mut last) = (Vec::<ForwardRecord>::new(), None);
    for row in &rows {
        let id: i64 = row.try_get(0)?;
        if last.replace(id) != Some(id) {
            forwards.push(forward(row)?);
        }
        if let (Some(forward), Some(attempt)) = (forwards.last_mut(), attempt(row)?) {
            forward.newest_attempts.push(attempt);
        }
    }
    Ok(forwards)
}

fn forward(row: &Row) -> Result<ForwardRecord, PostgresFault> {
    let state = match row.try_get(2)? {
        PENDING => EventState::Pending,
        DELIVERED => EventState::Forwarded,
        _ => EventState::Dead,
    };
    let attempts = u32::try_from(row.try_get::<_, i32>(3)?).unwrap_or(0);
    Ok(ForwardRecord { target: row.try_get(1)?, state, attempts, newest_attempts: Vec::new() })
}

fn attempt(row: &Row) -> Result<Option<AttemptRecord>, PostgresFault> {
    let Some(number) = row.try_get::<_, Option<i32>>(4)? else { return Ok(None) };
    let took = Duration::from_micros(u64::try_from(row.try_get::<_, i64>(6)?).unwrap_or(0));
    let status = row.try_get::<_, Option<i32>>(7)?.and_then(|status| u16::try_from(status).ok());
    let answer = row.try_get::<_, Option<Vec<u8>>>(8)?.unwrap_or_default();
    Ok(Some(AttemptRecord {
        number: u32::try_from(number).unwrap_or(0),
        at: time(row.try_get(5)?),
        report: AttemptReport { took, status, answer },
        error: row.try_get(9)?,
        next_at: row.try_get::<_, Option<i64>>(10)?.map(time),
    }))
}

pub(super) fn pause(session: &ServerSession, target: TargetId, now: Timestamp) -> Result<bool, PostgresFault> {
    let sql = "UPDATE @targets SET paused_at = $2 WHERE id = $1 AND paused_at IS NULL RETURNING id";
    change(session, sql, target, now)
}

pub(super) fn resume(session: &ServerSession, target: TargetId, now: Timestamp) -> Result<bool, PostgresFault> {
    let sql = "UPDATE @targets SET paused_at = NULL, resumed_at = $2
               WHERE id = $1 AND paused_at IS NOT NULL RETURNING id";
    change(session, sql, target, now)
}

fn change(session: &ServerSession, sql: &str, target: TargetId, now: Timestamp) -> Result<bool, PostgresFault> {
    let rows = session.once(async |link| link.commit_one(sql, values![target.0 => INT8, stored(now) => INT8]).await)?;
    Ok(!rows.is_empty())
}

pub(super) fn drop_pending(session: &ServerSession, target: TargetId, now: Timestamp) -> Result<u64, PostgresFault> {
    let sql = "UPDATE @forwards SET state = 2, error = 'it was dropped by hand' WHERE id IN
               (SELECT id FROM @forwards WHERE state = 0 AND target = $1 AND queued_at < $2 ORDER BY id LIMIT $3
                FOR UPDATE) RETURNING id";
    let rows = session.once(async |link| {
        link.commit_one(sql, values![target.0 => INT8, stored(now) => INT8, DROPPED_AT_ONCE => INT8]).await
    })?;
    Ok(rows.len() as u64)
}

/// Keeps all receivers from claiming for a target until then.
pub(super) fn hold(session: &ServerSession, target: TargetId, until: Option<Timestamp>) -> Result<(), PostgresFault> {
    let sql = "UPDATE @targets SET held_until = $2 WHERE id = $1 AND held_until IS DISTINCT FROM $2";
    let until = until.map(stored);
    session.try_run(async |link| link.execute(sql, values![target.0 => INT8, until => INT8]).await)?;
    Ok(())
}
