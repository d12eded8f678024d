//! What is worked out for people who look at the inbox.

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;

use super::super::fault::PostgresFault;
use super::super::session::{ServerSession, values};
use super::states::DELIVERED;
use super::{body, stored, time, unsigned};
use crate::store::figures::{LATENCY_FORWARDS, LATENCY_LOOKS};
use crate::store::{EventBucket, EventSeq, ForwardLatency, StoredDelivery};

pub(super) fn histogram(
    session: &ServerSession,
    (since, until): (Timestamp, Timestamp),
    step: SignedDuration,
) -> Result<Vec<EventBucket>, PostgresFault> {
    // The bounds keep the server from reading all events for an hour's.
    let sql = "WITH d AS MATERIALIZED (
                   SELECT id, (received_at - $1) / $3 AS place, first_event, last_event FROM @deliveries
                   WHERE received_at >= $1 AND received_at < $2)
               SELECT d.place, e.type, count(*), sum(e.duplicates)::bigint
               FROM @events e JOIN d ON e.delivery = d.id AND e.id BETWEEN d.first_event AND d.last_event
               WHERE e.id BETWEEN (SELECT min(first_event) FROM d) AND (SELECT max(last_event) FROM d)
               GROUP BY d.place, e.type ORDER BY d.place, e.type COLLATE \"C\" NULLS FIRST";
    let (since, until) = (stored(since), stored(until));
    let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX).max(1);
    let values = values![since => INT8, until => INT8, step => INT8];
    let rows = session.read(async |link| link.rows(sql, values).await)?;
    let bucket = |row: &Row| {
        Ok(EventBucket {
            start: time(since.saturating_add(row.try_get::<_, i64>(0)?.saturating_mul(step))),
            event_type: row.try_get(1)?,
            events: unsigned(row.try_get(2)?),
            duplicates: unsigned(row.try_get(3)?),
        })
    };
    rows.iter().map(bucket).collect()
}

pub(super) fn forward_latency(
    session: &ServerSession,
    since: Timestamp,
) -> Result<Option<ForwardLatency>, PostgresFault> {
    let sql = "SELECT settled_at - queued_at FROM (
                   SELECT id, state, settled_at, queued_at FROM @forwards ORDER BY id DESC LIMIT $4) f
               WHERE state = $1 AND settled_at >= $2 ORDER BY id DESC LIMIT $3";
    let limit = i64::try_from(LATENCY_FORWARDS).unwrap_or(i64::MAX);
    let values = values![DELIVERED => INT2, stored(since) => INT8, limit => INT8, LATENCY_LOOKS => INT8];
    let rows = session.try_run(async |link| link.rows(sql, values).await)?;
    let took = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_, PostgresFault>>()?;
    Ok(ForwardLatency::of(took))
}

pub(super) fn delivery_of(
    session: &ServerSession,
    EventSeq(event): EventSeq,
) -> Result<Option<StoredDelivery>, PostgresFault> {
    let sql = "SELECT d.length, d.body, d.received_at, d.content_type, d.events FROM @events e
               JOIN @deliveries d ON d.id = e.delivery WHERE e.id = $1";
    let row = session.try_run(async |link| link.row(sql, values![event => INT8]).await)?;
    let delivery = |row: Row| {
        Ok(StoredDelivery {
            received_at: time(row.try_get(2)?),
            content_type: row.try_get(3)?,
            body: body::read(row.try_get(1)?, row.try_get(0)?)?,
            events: u32::try_from(row.try_get::<_, i32>(4)?).unwrap_or(0),
        })
    };
    row.map(delivery).transpose()
}
