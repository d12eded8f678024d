//! Deleting events, which may be a person's data: nothing of them is left in the inbox.

use super::super::fault::PostgresFault;
use super::super::session::{Link, ServerSession, values};
use super::body;
use super::polling::keep_arrivals;
use crate::store::codec::StoredBody;

/// Deletes an event with its forwards and its JSON. Returns whether it was there.
pub(super) fn delete(session: &ServerSession, event: i64) -> Result<bool, PostgresFault> {
    session.try_commit(async |link| {
        let arrived = keep_arrivals("events e JOIN @deliveries d ON d.id = e.delivery");
        let sql = format!(
            "WITH events AS (DELETE FROM @events WHERE id = $1 RETURNING delivery, app_id, type, came_at),
                 arrived AS ({arrived})
             SELECT delivery FROM events"
        );
        let Some(row) = link.row(&sql, values![event => INT8]).await? else { return Ok(false) };
        let delivery: i64 = row.try_get(0)?;
        // What a target answered may repeat the event.
        let theirs = "f.delivery = $1 AND f.first_event <= $2 AND f.last_event >= $2
                      AND f.last_event <= (SELECT last_event FROM @deliveries WHERE id = $1)";
        let answers = format!(
            "UPDATE @attempts a SET answer = NULL, error = NULL FROM @forwards f WHERE a.forward = f.id AND {theirs}"
        );
        let errors = format!("UPDATE @forwards f SET error = NULL WHERE {theirs}");
        // Those that are left with no event.
        let empty = format!(
            "WITH gone AS (DELETE FROM @forwards f WHERE {theirs} AND NOT EXISTS
                 (SELECT 1 FROM @events e WHERE e.id BETWEEN f.first_event AND f.last_event AND e.delivery = $1)
                 RETURNING f.id)
             DELETE FROM @attempts a USING gone WHERE a.forward = gone.id"
        );
        for sql in [answers, errors, empty] {
            link.execute(&sql, values![delivery => INT8, event => INT8]).await?;
        }
        blank(link, delivery).await?;
        Ok(true)
    })
}

/// How many deliveries are looked at for duplicates at once.
const LOOKS: i64 = 20_000;

/// Of the next deliveries behind `after` those whose bodies hold more than the events that are stored, as duplicates came
/// in them, and how far that was; `None` when there are no more.
pub(super) fn with_duplicates(session: &ServerSession, after: i64) -> Result<Option<(Vec<i64>, i64)>, PostgresFault> {
    let sql = "WITH looked AS MATERIALIZED (
                   SELECT id, events, first_event, last_event FROM @deliveries WHERE id > $1 ORDER BY id LIMIT $2)
               SELECT max(d.id), array_agg(d.id ORDER BY d.id) FILTER (WHERE d.events > (SELECT count(*) FROM @events e
                   WHERE e.id BETWEEN d.first_event AND d.last_event AND e.delivery = d.id)) FROM looked d";
    let row = session.try_run(async |link| link.row(sql, values![after => INT8, LOOKS => INT8]).await)?;
    let Some(reached) = row.as_ref().and_then(|row| row.get::<_, Option<i64>>(0)) else { return Ok(None) };
    let found = row.and_then(|row| row.get::<_, Option<Vec<i64>>>(1)).unwrap_or_default();
    Ok(Some((found, reached)))
}

/// Blanks a delivery in a transaction of its own.
pub(super) fn blank_one(session: &ServerSession, delivery: i64) -> Result<(), PostgresFault> {
    session.try_commit(async |link| blank(link, delivery).await)
}

/// Blanks out what is in a body beside the events that are stored; without any, the delivery goes.
async fn blank(link: &Link, delivery: i64) -> Result<(), PostgresFault> {
    let sql = "SELECT d.length, d.body FROM @deliveries d WHERE d.id = $1 FOR UPDATE";
    let Some(row) = link.row(sql, values![delivery => INT8]).await? else { return Ok(()) };
    let before = body::read(row.try_get(1)?, row.try_get(0)?)?;
    let sql = "SELECT e.start, e.length FROM @deliveries d
               JOIN @events e ON e.id BETWEEN d.first_event AND d.last_event AND e.delivery = d.id
               WHERE d.id = $1 ORDER BY e.id";
    let rows = link.rows(sql, values![delivery => INT8]).await?;
    if rows.is_empty() {
        let sql = "WITH gone AS (DELETE FROM @deliveries WHERE id = $1 RETURNING id, first_event, last_event),
                       forwards AS (DELETE FROM @forwards f USING gone WHERE f.delivery = gone.id
                           AND f.last_event BETWEEN gone.first_event AND gone.last_event RETURNING f.id)
                   DELETE FROM @attempts a USING forwards WHERE a.forward = forwards.id";
        link.execute(sql, values![delivery => INT8]).await?;
        return Ok(());
    }
    let mut blanked = vec![b' '; before.len()];
    for row in &rows {
        let span = body::place(row.try_get(0)?, row.try_get(1)?);
        if let (Some(from), Some(to)) = (before.get(span.clone()), blanked.get_mut(span)) {
            to.copy_from_slice(from);
        }
    }
    if blanked == before {
        return Ok(());
    }
    let stored = StoredBody::packed(blanked);
    let length = stored.packed_from().map(|length| i32::try_from(length).unwrap_or(i32::MAX));
    let sql = "UPDATE @deliveries SET length = $2, body = $3 WHERE id = $1";
    link.execute(sql, values![delivery => INT8, length => INT4, stored.bytes() => BYTEA]).await?;
    Ok(())
}
