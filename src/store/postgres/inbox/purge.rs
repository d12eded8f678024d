//! Removing what is old, a little at a time.
//!
//! A server's files do not shrink by what is removed; their space is used again. So an inbox is as large as what is in it:
//! that is added up once for each round of steps.

use tokio_postgres::Row;

use super::super::fault::PostgresFault;
use super::super::session::{Link, ServerSession, values};
use super::polling::keep_arrivals;
use super::stored;
use crate::store::{PurgeRule, Purged};

/// How many rows a step removes, about, and how many bytes of bodies.
const ROWS: i64 = 2000;
const BYTES: i64 = 16 * 1024 * 1024;

/// How many deliveries a step looks at: those that are pending are kept, however many there are.
const LOOKS: i64 = 2000;

/// What a delivery and an event take up beside the body, in bytes, with their indexes and one forward.
const OF_DELIVERY: i64 = 200;
const OF_EVENT: i64 = 400;

/// What there is, in bytes.
const SIZES: &str = "SELECT coalesce((SELECT sum(octet_length(body) + $1 + events * $2) FROM @deliveries), 0)::bigint
          + coalesce((SELECT sum(octet_length(body) + $1) FROM @quarantine), 0)::bigint";

/// How far a round of steps has come: what was looked at is not looked at again.
#[derive(Debug, Clone, Copy)]
pub(super) struct PurgeRound {
    delivery: (i64, i64),
    quarantined: (i64, i64),
    /// What there is, as far as it was added up.
    bytes: Option<i64>,
}

impl Default for PurgeRound {
    fn default() -> Self {
        let none = (i64::MIN, i64::MIN);
        Self { delivery: none, quarantined: none, bytes: None }
    }
}

/// A delivery, read or not, that is looked at.
#[derive(Debug, Clone, Copy)]
struct PurgeItem {
    is_delivery: bool,
    id: i64,
    received_at: i64,
    bytes: i64,
    events: i64,
    may_go: bool,
}

impl PurgeItem {
    /// What it takes up.
    fn size(&self) -> i64 {
        self.bytes + OF_DELIVERY + self.events * OF_EVENT
    }
}

/// Removes some of what a rule means.
pub(super) fn step(
    session: &ServerSession,
    rule: &PurgeRule,
    reached: &mut PurgeRound,
) -> Result<Purged, PostgresFault> {
    let before = rule.before.map(stored);
    let max_bytes = rule.max_bytes.map(|max| i64::try_from(max).unwrap_or(i64::MAX));
    if max_bytes.is_some() && reached.bytes.is_none() {
        reached.bytes = Some(
            session.try_run(async |link| link.number(SIZES, values![OF_DELIVERY => INT8, OF_EVENT => INT8]).await)?,
        );
    }
    // What is too much is removed whatever its age.
    let is_too_large = |bytes: Option<i64>| bytes.zip(max_bytes).is_some_and(|(bytes, max)| bytes > max);
    let limit = if is_too_large(reached.bytes) { Some(i64::MAX) } else { before };
    let Some(limit) = limit else { return Ok(Purged::default()) };
    let (looked, more) = session.try_run(async |link| candidates(link, limit, rule.even_pending, reached).await)?;
    let (mut chosen, mut bytes, mut is_cut_short, mut is_done) = (Chosen::default(), reached.bytes, false, false);
    for next in &looked {
        if next.may_go {
            // What comes behind is younger.
            if before.is_none_or(|before| next.received_at >= before) && !is_too_large(bytes) {
                is_done = true;
                break;
            }
            if !chosen.has_room(next) {
                is_cut_short = true;
                break;
            }
            let removed = chosen.add(next);
            bytes = bytes.map(|bytes| bytes - removed);
            if chosen.partial.is_some() {
                is_cut_short = true;
                break;
            }
        }
        reached.look(next);
    }
    let (events, quarantined) = session.try_commit(async |link| remove(link, &chosen).await)?;
    reached.bytes = bytes;
    let more = !is_done && (is_cut_short || more);
    let too_large = !more && is_too_large(bytes) && has_deliveries(session)?;
    Ok(Purged { events, quarantined, more, too_large })
}

/// What a step removes.
#[derive(Default)]
struct Chosen {
    deliveries: Vec<i64>,
    quarantined: Vec<i64>,
    rows: i64,
    bytes: i64,
    /// A delivery with more events than a step may remove.
    partial: Option<i64>,
}

impl Chosen {
    fn has_room(&self, next: &PurgeItem) -> bool {
        let is_first = self.deliveries.is_empty() && self.quarantined.is_empty();
        is_first || self.partial.is_none() && self.rows + next.events < ROWS && self.bytes + next.bytes < BYTES
    }

    /// Adds it; returns how many bytes go with it.
    fn add(&mut self, next: &PurgeItem) -> i64 {
        self.rows += next.events + 1;
        self.bytes += next.bytes;
        match next {
            PurgeItem { is_delivery: false, id, .. } => self.quarantined.push(*id),
            PurgeItem { id, events, .. } if *events > ROWS => {
                self.partial = Some(*id);
                return ROWS * OF_EVENT;
            }
            PurgeItem { id, .. } => self.deliveries.push(*id),
        }
        next.size()
    }
}

impl PurgeRound {
    fn look(&mut self, next: &PurgeItem) {
        let place = (next.received_at, next.id);
        if next.is_delivery {
            self.delivery = place;
        } else {
            self.quarantined = place;
        }
    }
}

/// Removes what was chosen; returns how many events and how many quarantined deliveries.
async fn remove(link: &Link, chosen: &Chosen) -> Result<(u64, u64), PostgresFault> {
    let mut events = 0;
    if let Some(delivery) = chosen.partial {
        events += remove_some(link, delivery).await?;
    }
    if !chosen.deliveries.is_empty() {
        let arrived = keep_arrivals("events e JOIN gone d ON d.id = e.delivery");
        let gone = format!(
            "WITH gone AS (
                DELETE FROM @deliveries WHERE id = ANY ($1) RETURNING id, first_event, last_event, via, received_at),
            forwards AS (
                DELETE FROM @forwards WHERE id IN (SELECT f.id FROM gone g CROSS JOIN LATERAL (
                    SELECT f.id FROM @forwards f WHERE f.last_event BETWEEN g.first_event AND g.last_event
                        AND f.delivery = g.id OFFSET 0) f) RETURNING id),
            attempts AS (DELETE FROM @attempts a USING forwards f WHERE a.forward = f.id),
            events AS (
                DELETE FROM @events WHERE id IN (SELECT e.id FROM gone g CROSS JOIN LATERAL (
                    SELECT e.id FROM @events e WHERE e.id BETWEEN g.first_event AND g.last_event
                        AND e.delivery = g.id OFFSET 0) e) RETURNING delivery, app_id, type, came_at),
            arrived AS ({arrived})
            SELECT count(*) FROM events"
        );
        events += count(link.number(&gone, values![chosen.deliveries => INT8_ARRAY]).await?);
    }
    let mut quarantined = 0;
    if !chosen.quarantined.is_empty() {
        let gone = "DELETE FROM @quarantine WHERE id = ANY ($1)";
        quarantined = link.execute(gone, values![chosen.quarantined => INT8_ARRAY]).await?;
    }
    Ok((events, quarantined))
}

/// Removes some events of a very large delivery, with their forwards.
async fn remove_some(link: &Link, delivery: i64) -> Result<u64, PostgresFault> {
    let arrived = keep_arrivals("events e CROSS JOIN d");
    let sql = format!(
        "WITH d AS (SELECT id, first_event, last_event, via, received_at FROM @deliveries WHERE id = $1),
        first_ones AS MATERIALIZED (
            SELECT e.id FROM @events e JOIN d ON e.id BETWEEN d.first_event AND d.last_event AND e.delivery = d.id
            ORDER BY e.id LIMIT $2),
        forwards AS (
            DELETE FROM @forwards f USING d
            WHERE f.last_event BETWEEN d.first_event AND (SELECT max(id) FROM first_ones) AND f.delivery = d.id RETURNING f.id),
        attempts AS (DELETE FROM @attempts a USING forwards f WHERE a.forward = f.id),
        events AS (DELETE FROM @events WHERE id IN (SELECT id FROM first_ones) RETURNING app_id, type, came_at),
        arrived AS ({arrived}),
        rest AS (
            UPDATE @deliveries u SET first_event = (SELECT max(id) FROM first_ones) + 1 FROM d WHERE u.id = d.id)
        SELECT count(*) FROM events"
    );
    Ok(count(link.number(&sql, values![delivery => INT8, ROWS => INT8]).await?))
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// What is oldest behind what was reached and came before this time, read or not, and whether there is more.
async fn candidates(
    link: &Link,
    limit: i64,
    even_pending: bool,
    reached: &PurgeRound,
) -> Result<(Vec<PurgeItem>, bool), PostgresFault> {
    let sql = "SELECT * FROM (
            (SELECT true, d.id, d.received_at AS at, octet_length(d.body)::bigint, 
                 least(d.events, d.last_event - d.first_event + 1), $1 OR NOT EXISTS
                 (SELECT 1 FROM @forwards f WHERE f.state = 0 AND f.delivery = d.id
                      AND f.last_event BETWEEN d.first_event AND d.last_event)
             FROM @deliveries d WHERE d.received_at < $2 AND (d.received_at, d.id) > ($3, $4)
             ORDER BY d.received_at, d.id LIMIT $7)
            UNION ALL
            (SELECT false, q.id, q.received_at, octet_length(q.body)::bigint, 0::bigint, true
             FROM @quarantine q WHERE q.received_at < $2 AND (q.received_at, q.id) > ($5, $6)
             ORDER BY q.received_at, q.id LIMIT $7)) AS both_kinds ORDER BY at, 2 LIMIT $7";
    let ((time, id), (quarantined_at, quarantined)) = (reached.delivery, reached.quarantined);
    let values = values![even_pending => BOOL, limit => INT8, time => INT8, id => INT8, quarantined_at => INT8,
        quarantined => INT8, LOOKS => INT8];
    let rows = link.rows(sql, values).await?;
    let candidate = |row: &Row| {
        Ok::<_, PostgresFault>(PurgeItem {
            is_delivery: row.try_get(0)?,
            id: row.try_get(1)?,
            received_at: row.try_get(2)?,
            bytes: row.try_get(3)?,
            events: row.try_get(4)?,
            may_go: row.try_get(5)?,
        })
    };
    let found = rows.iter().map(candidate).collect::<Result<Vec<_>, _>>()?;
    let more = found.len() == usize::try_from(LOOKS).unwrap_or(usize::MAX);
    Ok((found, more))
}

fn has_deliveries(session: &ServerSession) -> Result<bool, PostgresFault> {
    let sql = "SELECT EXISTS (SELECT 1 FROM @deliveries)::integer::bigint";
    Ok(session.try_run(async |link| link.number(sql, values![]).await)? > 0)
}
