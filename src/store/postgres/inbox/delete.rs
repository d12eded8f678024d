//! Deleting events, which may be a person's data: nothing of them is left in the inbox.

use std::collections::BTreeMap;

use super::super::fault::PostgresFault;
use super::super::session::{Link, ServerSession, values};
use super::body;
use super::polling::keep_arrivals;
use crate::store::EventSeq;
use crate::store::codec::StoredBody;
use crate::store::deletion::{ForwardRemains, LeftEvent, blanked};

/// How many events are deleted in one commit, and how many bodies are blanked.
const AT_ONCE: usize = 200;
const BLANKED_AT_ONCE: usize = 50;

/// How many deliveries are looked at for duplicates at once, and how many events whose deliveries are.
const LOOKS: i64 = 20_000;
const NEWER_LOOKS: i64 = 500;

/// Deletes these events with their forwards and their JSON. Returns how many were there.
pub(super) fn delete(session: &ServerSession, events: &[EventSeq]) -> Result<u64, PostgresFault> {
    let mut deleted = 0;
    for some in events.chunks(AT_ONCE) {
        let events: Vec<i64> = some.iter().map(|event| event.0).collect();
        deleted += session.try_commit(async |link| delete_some(link, &events).await)?;
    }
    Ok(deleted)
}

/// What is left of deliveries, in its order.
type LeftOf = BTreeMap<i64, Vec<LeftEvent>>;

async fn delete_some(link: &Link, events: &[i64]) -> Result<u64, PostgresFault> {
    // In one order, for those who delete at the same time: each sees what the other has left of a delivery.
    let lock = "SELECT id FROM @deliveries WHERE id IN (SELECT delivery FROM @events WHERE id = ANY ($1))
                ORDER BY id FOR UPDATE";
    link.rows(lock, values![events => INT8_ARRAY]).await?;
    let arrived = keep_arrivals("events e JOIN @deliveries d ON d.id = e.delivery");
    let delete = format!(
        "WITH events AS (DELETE FROM @events WHERE id = ANY ($1) RETURNING id, delivery, app_id, type, came_at),
             arrived AS ({arrived})
         SELECT delivery, id FROM events ORDER BY id"
    );
    let (mut deleted, mut count) = (BTreeMap::<i64, Vec<i64>>::new(), 0);
    for row in &link.rows(&delete, values![events => INT8_ARRAY]).await? {
        deleted.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
        count += 1;
    }
    if count > 0 {
        let left = left_of(link, &deleted.keys().copied().collect::<Vec<_>>()).await?;
        trim_forwards(link, &deleted, &left).await?;
        blank_but(link, &left).await?;
    }
    Ok(count)
}

/// What is left of these deliveries. Those of which nothing is are in it too.
async fn left_of(link: &Link, deliveries: &[i64]) -> Result<LeftOf, PostgresFault> {
    let sql = "SELECT d.id, e.id, e.start, e.length FROM @deliveries d LEFT JOIN LATERAL (
                   SELECT e.id, e.start, e.length FROM @events e
                   WHERE e.id BETWEEN d.first_event AND d.last_event AND e.delivery = d.id OFFSET 0) e ON true
               WHERE d.id = ANY ($1) ORDER BY e.id";
    let mut left = LeftOf::new();
    for row in &link.rows(sql, values![deliveries => INT8_ARRAY]).await? {
        let of_delivery = left.entry(row.try_get(0)?).or_default();
        if let Some(number) = row.try_get(1)? {
            of_delivery.push(LeftEvent { number, place: body::place(row.try_get(2)?, row.try_get(3)?) });
        }
    }
    Ok(left)
}

/// Removes the forwards that are left with no event, and what may repeat one that is deleted.
async fn trim_forwards(link: &Link, deleted: &BTreeMap<i64, Vec<i64>>, left: &LeftOf) -> Result<(), PostgresFault> {
    let sql = "SELECT d.id, f.id, f.first_event, f.last_event FROM @deliveries d CROSS JOIN LATERAL (
                   SELECT f.id, f.first_event, f.last_event FROM @forwards f
                   WHERE f.last_event BETWEEN d.first_event AND d.last_event AND f.delivery = d.id OFFSET 0) f
               WHERE d.id = ANY ($1) ORDER BY f.id";
    let deliveries: Vec<i64> = deleted.keys().copied().collect();
    let (mut cleared, mut gone) = (Vec::<i64>::new(), Vec::<i64>::new());
    for row in &link.rows(sql, values![deliveries => INT8_ARRAY]).await? {
        let (delivery, range): (i64, _) = (row.try_get(0)?, (row.try_get(2)?, row.try_get(3)?));
        let deleted = deleted.get(&delivery).map_or(&[][..], Vec::as_slice);
        let left = left.get(&delivery).map_or(&[][..], Vec::as_slice);
        match ForwardRemains::of(range, deleted, left) {
            ForwardRemains::All => {}
            ForwardRemains::Some => cleared.push(row.try_get(1)?),
            ForwardRemains::Nothing => gone.push(row.try_get(1)?),
        }
    }
    if !cleared.is_empty() {
        let answers = "UPDATE @attempts SET answer = NULL, error = NULL WHERE forward = ANY ($1)";
        let errors = "UPDATE @forwards SET error = NULL WHERE id = ANY ($1) AND error IS NOT NULL";
        for sql in [answers, errors] {
            link.execute(sql, values![cleared => INT8_ARRAY]).await?;
        }
    }
    if !gone.is_empty() {
        for sql in ["DELETE FROM @forwards WHERE id = ANY ($1)", "DELETE FROM @attempts WHERE forward = ANY ($1)"] {
            link.execute(sql, values![gone => INT8_ARRAY]).await?;
        }
    }
    Ok(())
}

/// Blanks out the duplicates that deliveries hold beside the events that are stored: all deliveries, or those with an event
/// behind this one.
pub(super) fn blank_duplicates(session: &ServerSession, events_after: Option<i64>) -> Result<(), PostgresFault> {
    let next = if events_after.is_some() { of_newer } else { of_all };
    let mut reached = events_after.unwrap_or(0);
    while let Some((found, last)) = next(session, reached)? {
        blank(session, &found)?;
        reached = last;
    }
    Ok(())
}

/// Some deliveries whose bodies hold more than the events that are stored, as duplicates came in them, and how far all were
/// looked at.
type WithDuplicates = Option<(Vec<i64>, i64)>;

/// Those of the next deliveries behind this one.
fn of_all(session: &ServerSession, after: i64) -> Result<WithDuplicates, PostgresFault> {
    let sql = "WITH looked AS MATERIALIZED (
                   SELECT id, events, first_event, last_event FROM @deliveries
                   WHERE id > $1 AND events > 1 ORDER BY id LIMIT $2)
               SELECT max(d.id), array_agg(d.id ORDER BY d.id) FILTER (WHERE d.events > (SELECT count(*) FROM @events e
                   WHERE e.id BETWEEN d.first_event AND d.last_event AND e.delivery = d.id)) FROM looked d";
    found(session, sql, after, LOOKS)
}

/// Those of the next events behind this one: so few that the server takes its index, whatever it knows of the table.
fn of_newer(session: &ServerSession, after: i64) -> Result<WithDuplicates, PostgresFault> {
    let sql = "WITH newer AS MATERIALIZED (SELECT id, delivery FROM @events WHERE id > $1 ORDER BY id LIMIT $2),
                   looked AS MATERIALIZED (
                       SELECT d.id, d.events, d.first_event, d.last_event FROM (SELECT DISTINCT delivery FROM newer) n
                       CROSS JOIN LATERAL (SELECT * FROM @deliveries d WHERE d.id = n.delivery OFFSET 0) d
                       WHERE d.events > 1)
               SELECT (SELECT max(id) FROM newer),
                   array_agg(d.id ORDER BY d.id) FILTER (WHERE d.events > (SELECT count(*) FROM @events e
                       WHERE e.id BETWEEN d.first_event AND d.last_event AND e.delivery = d.id)) FROM looked d";
    found(session, sql, after, NEWER_LOOKS)
}

fn found(session: &ServerSession, sql: &str, after: i64, looks: i64) -> Result<WithDuplicates, PostgresFault> {
    // To compile it would take longer than to run it.
    let row = session.read(async |link| link.row(sql, values![after => INT8, looks => INT8]).await)?;
    let Some(reached) = row.as_ref().and_then(|row| row.get::<_, Option<i64>>(0)) else { return Ok(None) };
    let found = row.and_then(|row| row.get::<_, Option<Vec<i64>>>(1)).unwrap_or_default();
    Ok(Some((found, reached)))
}

/// Blanks out what is in these bodies beside the events that are stored.
fn blank(session: &ServerSession, deliveries: &[i64]) -> Result<(), PostgresFault> {
    for some in deliveries.chunks(BLANKED_AT_ONCE) {
        session.try_commit(async |link| {
            let lock = "SELECT id FROM @deliveries WHERE id = ANY ($1) ORDER BY id FOR UPDATE";
            link.rows(lock, values![some => INT8_ARRAY]).await?;
            blank_but(link, &left_of(link, some).await?).await
        })?;
    }
    Ok(())
}

/// Blanks out what is in bodies, which are locked, beside these events, which are all that is stored; without any, the
/// delivery goes.
async fn blank_but(link: &Link, left: &LeftOf) -> Result<(), PostgresFault> {
    let empty: Vec<i64> = left.iter().filter(|(_, left)| left.is_empty()).map(|(delivery, _)| *delivery).collect();
    if !empty.is_empty() {
        let sql = "WITH gone AS (DELETE FROM @deliveries WHERE id = ANY ($1) RETURNING id, first_event, last_event),
                       forwards AS (DELETE FROM @forwards WHERE id IN (SELECT f.id FROM gone g CROSS JOIN LATERAL (
                           SELECT f.id FROM @forwards f WHERE f.last_event BETWEEN g.first_event AND g.last_event
                               AND f.delivery = g.id OFFSET 0) f) RETURNING id)
                   DELETE FROM @attempts a USING forwards f WHERE a.forward = f.id";
        link.execute(sql, values![empty => INT8_ARRAY]).await?;
    }
    for (delivery, left) in left.iter().filter(|(_, left)| !left.is_empty()) {
        let sql = "SELECT length, body FROM @deliveries WHERE id = $1";
        let Some(row) = link.row(sql, values![delivery => INT8]).await? else { continue };
        let before = body::read(row.try_get(1)?, row.try_get(0)?)?;
        let Some(blanked) = blanked(&before, left) else { continue };
        let stored = StoredBody::packed(blanked);
        let length = stored.packed_from().map(|length| i32::try_from(length).unwrap_or(i32::MAX));
        let sql = "UPDATE @deliveries SET length = $2, body = $3 WHERE id = $1";
        link.execute(sql, values![delivery => INT8, length => INT4, stored.bytes() => BYTEA]).await?;
    }
    Ok(())
}
