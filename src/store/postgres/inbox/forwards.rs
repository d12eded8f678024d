//! The queue of forwards: claims and settlements.
//!
//! A claim is a lease in the forward's row, fenced by a token that no other claim ever gets. No row stays locked, and no
//! connection is used, while an attempt is made.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;

use super::super::fault::PostgresFault;
use super::super::session::{BEGIN_LAX, ServerSession, values};
use super::states::{DEAD, DELIVERED, PENDING, SKIPPED};
use super::{body, query, sendable, stored, time};
use crate::domain::event::{AppHash, EventFacts};
use crate::store::{
    AttemptOutcome, AttemptReport, ClaimRequest, Forward, ForwardId, KEPT_OF_ANSWER, Lease, LeaseToken, Leased,
    Settled, Settlement, TargetId, TargetName,
};

const CLAIM: &str = include_str!("claim.sql");
const SETTLE: &str = include_str!("settle.sql");

/// How many bytes of events end a claim, whatever is left of it.
const CLAIMED_BYTES: i64 = 16 * 1024 * 1024;

/// How many dead letters are made in one commit.
const EXPIRED_AT_ONCE: i64 = 1000;

/// No wait is longer than an hour: what is due later than this from now was noted by a clock that was wrong, and is due.
const FARTHEST: SignedDuration = SignedDuration::from_hours(2);

pub(super) fn targets(session: &ServerSession, names: &[TargetName]) -> Result<Vec<TargetId>, PostgresFault> {
    session.try_commit(async |link| {
        let upsert = "INSERT INTO @targets (key, shown) VALUES ($1, $2)
                      ON CONFLICT (key) DO UPDATE SET shown = excluded.shown RETURNING id";
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            ids.push(TargetId(link.number(upsert, values![name.key => TEXT, sendable(&name.shown) => TEXT]).await?));
        }
        Ok(ids)
    })
}

pub(super) fn claim(
    session: &ServerSession,
    target: TargetId,
    ClaimRequest { limit, retries, newest }: ClaimRequest,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<Leased>, PostgresFault> {
    let retries = limit.min(retries);
    // Half of an odd number is rounded now up, now down: mostly there is room for one, as one has just ended.
    let half = limit / 2 + usize::from(limit % 2 == 1 && fastrand::bool());
    let half = if newest { 0 } else { half };
    let [limit, retries, half] = [limit, retries, half].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    let far = now.checked_add(FARTHEST).unwrap_or(Timestamp::MAX);
    let sql = CLAIM.replace("{order}", if newest { "DESC" } else { "ASC" });
    let rows = session.once(async |link| {
        let values = values![target.0 => INT8, stored(now) => INT8, stored(end_of(now, lease)) => INT8,
            limit => INT8, retries => INT8, stored(far) => INT8, half => INT8, CLAIMED_BYTES => INT8];
        // A claim that a crash undoes is made again, and its token is known no more.
        link.commit_after(BEGIN_LAX, &sql, values).await
    })?;
    rows.iter().map(leased).collect()
}

/// A forward that was claimed.
fn leased(row: &Row) -> Result<Leased, PostgresFault> {
    let (length, start): (Option<i32>, i32) = (row.try_get(8)?, row.try_get(9)?);
    let mut events = events(row)?;
    let whole = row.try_get::<_, i32>(7)? == i32::try_from(events.len()).unwrap_or(0);
    let stored_body = body::read(row.try_get(10)?, length)?;
    let body = if whole {
        stored_body
    } else {
        // The part that the events are in, and they are placed in it.
        let first = usize::try_from(start).unwrap_or(0);
        let end = events.iter().map(|event| event.span.end).max().unwrap_or(first);
        for event in &mut events {
            event.span = event.span.start.saturating_sub(first)..event.span.end.saturating_sub(first);
        }
        if length.is_some() { body::within(&stored_body, first..end).to_vec() } else { stored_body }
    };
    let forward = Forward {
        id: ForwardId(row.try_get(0)?),
        sender: query::sender(row.try_get(4)?)?,
        content_type: row.try_get(5)?,
        received_at: time(row.try_get(6)?),
        queued_at: time(row.try_get(3)?),
        attempts: u32::try_from(row.try_get::<_, i32>(2)?).unwrap_or(0),
        events,
        body,
        whole,
    };
    Ok(Leased { forward, token: LeaseToken(u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0)) })
}

fn events(row: &Row) -> Result<Vec<EventFacts>, PostgresFault> {
    let (starts, lengths): (Vec<i32>, Vec<i32>) = (row.try_get(11)?, row.try_get(12)?);
    let (keys, ids): (Vec<Vec<u8>>, Vec<String>) = (row.try_get(13)?, row.try_get(14)?);
    let (types, app_ids): (Vec<Option<String>>, Vec<Option<i64>>) = (row.try_get(15)?, row.try_get(16)?);
    let (titles, apps): (Vec<Option<String>>, Vec<Option<i64>>) = (row.try_get(17)?, row.try_get(18)?);
    let previous: Vec<Option<i64>> = row.try_get(19)?;
    let spans = starts.into_iter().zip(lengths).map(|(start, length)| body::place(start, length));
    let names = keys.into_iter().zip(ids).zip(previous);
    let rest = types.into_iter().zip(app_ids).zip(titles).zip(apps);
    let facts =
        spans.zip(names).zip(rest).map(|((span, ((key, id), previous)), (((event_type, app_id), title), app))| {
            let key = query::known_by(&key, previous)?;
            Ok(EventFacts { id, key, event_type, app_id, app: app.map(AppHash), title, is_without_id: false, span })
        });
    facts.collect()
}

/// The leases that are on record, renewed; the others were lost.
pub(super) fn renew(
    session: &ServerSession,
    leases: &[Lease],
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<Lease>, PostgresFault> {
    if leases.is_empty() {
        return Ok(Vec::new());
    }
    let (forwards, tokens) = columns(leases);
    let sql = "UPDATE @forwards f SET leased_until = $3 FROM unnest($1::bigint[], $2::bigint[]) AS l (forward, token)
               WHERE f.id = l.forward AND f.token = l.token RETURNING f.id";
    let until = stored(end_of(now, lease));
    let rows = session.try_run(async |link| {
        link.rows(sql, values![forwards => INT8_ARRAY, tokens => INT8_ARRAY, until => INT8]).await
    })?;
    let held: std::collections::HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    Ok(leases.iter().filter(|lease| !held.contains(&lease.forward.0)).copied().collect())
}

pub(super) fn release(session: &ServerSession, leases: &[Lease]) -> Result<(), PostgresFault> {
    let (forwards, tokens) = columns(leases);
    let sql = "UPDATE @forwards f SET token = NULL, leased_until = NULL
               FROM unnest($1::bigint[], $2::bigint[]) AS l (forward, token)
               WHERE f.id = l.forward AND f.token = l.token";
    session.try_run(async |link| link.execute(sql, values![forwards => INT8_ARRAY, tokens => INT8_ARRAY]).await)?;
    Ok(())
}

fn columns(leases: &[Lease]) -> (Vec<i64>, Vec<i64>) {
    leases.iter().map(|lease| (lease.forward.0, token(*lease))).unzip()
}

fn token(lease: Lease) -> i64 {
    i64::try_from(lease.token.0).unwrap_or(i64::MAX)
}

/// Records attempts and how they ended.
pub(super) fn settle(session: &ServerSession, settlements: &[Settlement]) -> Result<Vec<Settled>, PostgresFault> {
    let ends: Vec<End<'_>> = settlements.iter().map(End::of).collect();
    let column = |of: fn(&End<'_>) -> i64| ends.iter().map(of).collect::<Vec<_>>();
    let (forwards, tokens) = (column(|end| end.lease.forward.0), column(|end| token(end.lease)));
    let (due, at, took) = (column(|end| end.due), column(|end| end.at), column(|end| end.took));
    let states: Vec<i16> = ends.iter().map(|end| end.state).collect();
    let errors: Vec<Option<&str>> = ends.iter().map(|end| end.error.as_deref()).collect();
    let statuses: Vec<Option<i32>> = ends.iter().map(|end| end.status).collect();
    let answers: Vec<Option<&[u8]>> = ends.iter().map(|end| end.answer).collect();
    let values = values![forwards => INT8_ARRAY, tokens => INT8_ARRAY, states => INT2_ARRAY, due => INT8_ARRAY,
        at => INT8_ARRAY, errors => TEXT_ARRAY, took => INT8_ARRAY, statuses => INT4_ARRAY, answers => BYTEA_ARRAY];
    let rows = session.once(async |link| link.commit_one(SETTLE, values).await)?;
    let mut settled = vec![Settled::LeaseLost; settlements.len()];
    for row in &rows {
        let place = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0);
        if let Some(settled) = place.checked_sub(1).and_then(|place| settled.get_mut(place)) {
            *settled = Settled::Recorded;
        }
    }
    Ok(settled)
}

/// How an attempt ended, as it is stored.
struct End<'a> {
    lease: Lease,
    state: i16,
    due: i64,
    at: i64,
    took: i64,
    error: Option<std::borrow::Cow<'a, str>>,
    status: Option<i32>,
    answer: Option<&'a [u8]>,
}

impl<'a> End<'a> {
    fn of(settlement: &'a Settlement) -> Self {
        let AttemptReport { took, status, answer } = &settlement.report;
        let (state, due, error) = match &settlement.outcome {
            AttemptOutcome::Delivered => (DELIVERED, 0, None),
            AttemptOutcome::Skipped => (SKIPPED, 0, None),
            // 0 is what was never tried.
            AttemptOutcome::Retry { at, error } => (PENDING, stored(*at).max(1), Some(error)),
            AttemptOutcome::DeadLettered { error } => (DEAD, 0, Some(error)),
        };
        let answer = answer.get(..KEPT_OF_ANSWER).unwrap_or(answer);
        Self {
            lease: settlement.lease,
            state,
            due,
            at: stored(settlement.at),
            took: i64::try_from(took.as_micros()).unwrap_or(i64::MAX),
            error: error.map(|error| sendable(error)),
            status: status.map(i32::from),
            answer: Some(answer).filter(|answer| !answer.is_empty()),
        }
    }
}

pub(super) fn next_due(
    session: &ServerSession,
    target: TargetId,
    now: Timestamp,
) -> Result<Option<Timestamp>, PostgresFault> {
    let sql = "SELECT f.due_at FROM @forwards f JOIN @targets t ON t.id = f.target
               WHERE f.state = 0 AND f.target = $1 AND coalesce(f.leased_until, 0) <= $2
                   AND t.paused_at IS NULL AND coalesce(t.held_until, 0) <= $2
               ORDER BY f.due_at, f.id LIMIT 1";
    let row = session.try_run(async |link| link.row(sql, values![target.0 => INT8, stored(now) => INT8]).await)?;
    Ok(row.map(|row| time(row.get(0))))
}

/// Dead-letters what was queued before this time, or before that of its target.
pub(super) fn expire(
    session: &ServerSession,
    queued_before: Timestamp,
    of_targets: &[(TargetId, Timestamp)],
    now: Timestamp,
) -> Result<Vec<(String, u64)>, PostgresFault> {
    let sql = "WITH t AS (
            SELECT t.id, t.shown, coalesce(o.before, $1) AS before FROM @targets t
            LEFT JOIN unnest($2::bigint[], $3::bigint[]) AS o (target, before) ON o.target = t.id
            WHERE t.paused_at IS NULL AND coalesce(t.resumed_at, 0) < coalesce(o.before, $1)),
        old AS (
            SELECT t.shown, f.id FROM t CROSS JOIN LATERAL (
                SELECT f.id FROM @forwards f WHERE f.state = 0 AND f.target = t.id AND f.queued_at < t.before
                    AND coalesce(f.leased_until, 0) <= $4
                LIMIT $5 FOR UPDATE SKIP LOCKED) f
            LIMIT $5),
        dead AS (
            UPDATE @forwards f SET state = 2, error = coalesce(f.error, 'it was queued for too long')
            FROM old o WHERE f.id = o.id RETURNING o.shown)
        SELECT shown, count(*) FROM dead GROUP BY shown ORDER BY shown";
    let (ids, times): (Vec<i64>, Vec<i64>) = of_targets.iter().map(|(target, time)| (target.0, stored(*time))).unzip();
    let rows = session.once(async |link| {
        let values = values![stored(queued_before) => INT8, ids => INT8_ARRAY, times => INT8_ARRAY,
            stored(now) => INT8, EXPIRED_AT_ONCE => INT8];
        link.commit_one(sql, values).await
    })?;
    rows.iter().map(|row| Ok((row.try_get(0)?, u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0)))).collect()
}

fn end_of(now: Timestamp, lease: Duration) -> Timestamp {
    now.checked_add(lease).unwrap_or(Timestamp::MAX)
}
