//! What is worked out for people who look at the inbox.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::body::read;
use super::fates::DELIVERED;
use super::{stored, time};
use crate::store::figures::{LATENCY_FORWARDS, LATENCY_LOOKS};
use crate::store::sqlite::fault::StoreFault;
use crate::store::{EventBucket, EventSeq, ForwardLatency, StoredDelivery};

/// How many events of a type came within a step, and how many duplicates of them.
type OfType = (Option<Vec<u8>>, u64, u64);

/// Counted here: SQLite would sort all events for it.
pub(super) fn histogram(
    connection: &Connection,
    (since, until): (Timestamp, Timestamp),
    step: SignedDuration,
) -> Result<Vec<EventBucket>, StoreFault> {
    let sql = "SELECT d.received_at, e.type, e.duplicates FROM deliveries d INDEXED BY deliveries_by_time
               CROSS JOIN events e ON e.id BETWEEN d.first_event AND d.last_event AND +e.delivery = d.id
               WHERE d.received_at >= ? AND d.received_at < ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![stored(since), stored(until)])?;
    let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX).max(1);
    // Of few types each.
    let mut buckets: BTreeMap<i64, Vec<OfType>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let place = row.get::<_, i64>(0)?.saturating_sub(stored(since)) / step;
        let event_type = match row.get_ref(1)? {
            ValueRef::Text(text) => Some(text),
            _ => None,
        };
        let duplicates = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        let types = buckets.entry(place).or_default();
        match types.iter_mut().find(|(known, ..)| known.as_deref() == event_type) {
            Some((_, events, repeated)) => {
                *events += 1;
                *repeated += duplicates;
            }
            None => types.push((event_type.map(<[u8]>::to_vec), 1, duplicates)),
        }
    }
    let bucket = |place: i64, (event_type, events, duplicates): OfType| EventBucket {
        start: time(stored(since).saturating_add(place.saturating_mul(step))),
        event_type: event_type.map(|text| String::from_utf8_lossy(&text).into_owned()),
        events,
        duplicates,
    };
    let in_order = buckets.into_iter().flat_map(|(place, mut types)| {
        types.sort_unstable();
        types.into_iter().map(move |of_type| bucket(place, of_type))
    });
    Ok(in_order.collect())
}

pub(super) fn forward_latency(connection: &Connection, since: Timestamp) -> Result<Option<ForwardLatency>, StoreFault> {
    let sql = "SELECT state, settled_at, queued_at FROM forwards ORDER BY id DESC LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([LATENCY_LOOKS])?;
    let mut took = Vec::new();
    while took.len() < LATENCY_FORWARDS
        && let Some(row) = rows.next()?
    {
        let (state, settled_at): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        if let Some(settled_at) = settled_at.filter(|at| state == DELIVERED && *at >= stored(since)) {
            took.push(settled_at - row.get::<_, i64>(2)?);
        }
    }
    Ok(ForwardLatency::of(took))
}

pub(super) fn delivery_of(
    connection: &Connection,
    EventSeq(event): EventSeq,
) -> Result<Option<StoredDelivery>, StoreFault> {
    let sql = "SELECT d.length, d.body, d.received_at, d.content_type, d.events FROM events e
               JOIN deliveries d ON d.id = e.delivery WHERE e.id = ?";
    let row = |row: &Row<'_>| {
        let delivery = StoredDelivery {
            received_at: time(row.get(2)?),
            content_type: row.get(3)?,
            body: row.get(1)?,
            events: row.get(4)?,
        };
        Ok((row.get(0)?, delivery))
    };
    let found = connection.prepare_cached(sql)?.query_row([event], row).optional()?;
    let unpacked =
        |(length, delivery): (_, StoredDelivery)| Ok(StoredDelivery { body: read(delivery.body, length)?, ..delivery });
    found.map(unpacked).transpose()
}
