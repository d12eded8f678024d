//! When webhooks last brought events, how far apps were polled, and the routes on record.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::fault::PostgresFault;
use super::super::session::{Link, ServerSession, values};
use super::{PostgresInbox, stored, time};
use crate::domain::{ApiOrigin, AppId, IssueList};
use crate::store::polling::{read_types, stored_route};
use crate::store::{Arrival, HandOver, MissedEvents, Polling, Route, StoreError, TargetId};

/// How many events are looked at in one commit.
const SEEN_AT_ONCE: i64 = 5000;

/// What becomes of an arrival that is on record.
const LATER: &str = "ON CONFLICT (app_id, type) DO UPDATE SET last_at = greatest(@arrivals.last_at, excluded.last_at)";

const OF_EVENTS: &str = "SELECT e.app_id, lower(e.type COLLATE \"C\"), max(d.received_at)
    FROM @events e JOIN @deliveries d ON d.id = e.delivery
    WHERE e.id > $1 AND e.id <= $2 AND d.via = 0 AND e.app_id IS NOT NULL AND e.type IS NOT NULL GROUP BY 1, 2";

fn arrivals(session: &ServerSession) -> Result<Vec<Arrival>, PostgresFault> {
    let later = "SELECT app_id, lower(type COLLATE \"C\"), max(came_at) FROM @events
                 WHERE came_at IS NOT NULL AND app_id IS NOT NULL AND type IS NOT NULL GROUP BY 1, 2";
    let rows = session.read(async |link| {
        let mut rows = link.rows("SELECT app_id, type, last_at FROM @arrivals", values![]).await?;
        let from = seen(link).await?;
        rows.extend(link.rows(OF_EVENTS, values![from => INT8, i64::MAX => INT8]).await?);
        rows.extend(link.rows(later, values![]).await?);
        Ok(rows)
    })?;
    let mut newest = BTreeMap::<(i64, String), i64>::new();
    for row in &rows {
        let at: i64 = row.try_get(2)?;
        let last = newest.entry((row.try_get(0)?, row.try_get(1)?)).or_insert(at);
        *last = at.max(*last);
    }
    let arrival = |((app_id, event_type), at)| Arrival { app_id, event_type, last_at: time(at) };
    Ok(newest.into_iter().map(arrival).collect())
}

/// A part of a statement: puts what events `e` brought on record that are removed with their deliveries `d`.
pub(super) fn keep_arrivals(gone: &str) -> String {
    format!(
        "INSERT INTO @arrivals (app_id, type, last_at)
         SELECT e.app_id, lower(e.type COLLATE \"C\"), max(CASE d.via WHEN 0 THEN d.received_at ELSE e.came_at END)
         FROM {gone} WHERE (d.via = 0 OR e.came_at IS NOT NULL) AND e.app_id IS NOT NULL AND e.type IS NOT NULL
         GROUP BY 1, 2 ORDER BY 1, 2 {LATER}"
    )
}

/// Up to which event the arrivals on record go.
async fn seen(link: &Link) -> Result<i64, PostgresFault> {
    let row = link.row("SELECT last_event FROM @arrivals_seen WHERE id = 1", values![]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
}

/// Puts the arrivals of some more events on record: of those up to the watermark, as others may still become visible behind
/// it. Returns whether there may be more.
pub(super) fn note_arrivals(session: &ServerSession, watermark: i64) -> Result<bool, PostgresFault> {
    if session.try_run(seen)? >= watermark {
        return Ok(false);
    }
    session.try_commit(async |link| {
        let first = "INSERT INTO @arrivals_seen (id, last_event) VALUES (1, 0) ON CONFLICT (id) DO NOTHING";
        link.execute(first, values![]).await?;
        // One process does it at a time; another goes on from there.
        let row = link.row("SELECT last_event FROM @arrivals_seen WHERE id = 1 FOR UPDATE", values![]).await?;
        let from: i64 = row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
        // Numbers may be far apart: those of purged events are not given again.
        let next = "SELECT coalesce((SELECT min(id) FROM @events WHERE id > $1), $1 + 1)";
        let until = watermark.min(link.number(next, values![from => INT8]).await? - 1 + SEEN_AT_ONCE);
        if until <= from {
            return Ok(false);
        }
        let upsert = format!("INSERT INTO @arrivals (app_id, type, last_at) {OF_EVENTS} ORDER BY 1, 2 {LATER}");
        link.execute(&upsert, values![from => INT8, until => INT8]).await?;
        link.execute("UPDATE @arrivals_seen SET last_event = $1", values![until => INT8]).await?;
        Ok(until < watermark)
    })
}

fn polled_until(
    session: &ServerSession,
    origin: &ApiOrigin,
    app: AppId,
    list: IssueList,
) -> Result<Option<Timestamp>, PostgresFault> {
    let sql = "SELECT polled_until FROM @polls WHERE api_url = $1 AND app_id = $2 AND list = $3";
    let row = session.try_run(async |link| {
        link.row(sql, values![origin.to_string() => TEXT, app.get() => INT8, list.as_str() => TEXT]).await
    })?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.map(time))
}

fn note_polled(
    session: &ServerSession,
    origin: &ApiOrigin,
    app: AppId,
    list: IssueList,
    until: Timestamp,
) -> Result<(), PostgresFault> {
    let upsert = "INSERT INTO @polls AS p (api_url, app_id, list, polled_until) VALUES ($1, $2, $3, $4)
                  ON CONFLICT (api_url, app_id, list)
                  DO UPDATE SET polled_until = greatest(p.polled_until, excluded.polled_until) RETURNING id";
    session.try_commit(async |link| {
        let values =
            values![origin.to_string() => TEXT, app.get() => INT8, list.as_str() => TEXT, stored(until) => INT8];
        link.execute(upsert, values).await?;
        Ok(())
    })
}

fn missed_events(session: &ServerSession, origin: &ApiOrigin) -> Result<Vec<MissedEvents>, PostgresFault> {
    let sql = "SELECT app_id, type, events, last_at, found_at FROM @missed WHERE api_url = $1 ORDER BY app_id, type";
    let rows = session.try_run(async |link| link.rows(sql, values![origin.to_string() => TEXT]).await)?;
    let missed = |row: &tokio_postgres::Row| {
        let app_id = AppId::new(row.try_get(0)?);
        Ok(MissedEvents {
            app_id: app_id.ok_or_else(|| PostgresFault::Damaged("the number of an app".to_owned()))?,
            event_type: row.try_get(1)?,
            events: u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0),
            last_at: time(row.try_get(3)?),
            found_at: time(row.try_get(4)?),
        })
    };
    rows.iter().map(missed).collect()
}

fn note_missed(session: &ServerSession, origin: &ApiOrigin, missed: &[MissedEvents]) -> Result<(), PostgresFault> {
    let upsert = "INSERT INTO @missed AS m (api_url, app_id, type, events, last_at, found_at)
                  VALUES ($1, $2, $3, $4, $5, $6)
                  ON CONFLICT (api_url, app_id, type) DO UPDATE SET events = excluded.events,
                      last_at = greatest(m.last_at, excluded.last_at),
                      found_at = greatest(m.found_at, excluded.found_at)";
    session.try_commit(async |link| {
        for MissedEvents { app_id, event_type, events, last_at, found_at } in missed {
            let events = i64::try_from(*events).unwrap_or(i64::MAX);
            let values = values![origin.to_string() => TEXT, app_id.get() => INT8,
                event_type.to_ascii_lowercase() => TEXT, events => INT8, stored(*last_at) => INT8,
                stored(*found_at) => INT8];
            link.execute(upsert, values).await?;
        }
        Ok(())
    })
}

fn routes(session: &ServerSession) -> Result<Vec<Route>, PostgresFault> {
    let sql = "SELECT id, types, together FROM @targets WHERE together IS NOT NULL ORDER BY id";
    let rows = session.try_run(async |link| link.rows(sql, values![]).await)?;
    let route = |row: &tokio_postgres::Row| {
        let together = row.try_get::<_, i32>(2)? != 0;
        Ok(Route { target: TargetId(row.try_get(0)?), types: read_types(row.try_get(1)?), together })
    };
    rows.iter().map(route).collect()
}

fn set_routes(session: &ServerSession, routes: &[Route]) -> Result<(), PostgresFault> {
    let ids: Vec<i64> = routes.iter().map(|route| route.target.0).collect();
    let (types, together): (Vec<_>, Vec<_>) = routes.iter().map(stored_route).unzip();
    let together: Vec<i32> = together.into_iter().map(|together| i32::from(together != 0)).collect();
    let sql = "UPDATE @targets t SET types = r.types, together = r.together
               FROM (SELECT t.id, r.types, r.together FROM @targets t
                     LEFT JOIN unnest($1::bigint[], $2::text[], $3::integer[]) AS r (id, types, together) ON r.id = t.id
                     ORDER BY t.id FOR UPDATE OF t) r
               WHERE t.id = r.id AND (t.types, t.together) IS DISTINCT FROM (r.types, r.together)";
    session.try_commit(async |link| {
        link.execute(sql, values![ids => INT8_ARRAY, types => TEXT_ARRAY, together => INT4_ARRAY]).await?;
        Ok(())
    })
}

/// Any process stores events.
impl HandOver for PostgresInbox {}

impl Polling for PostgresInbox {
    fn arrivals(&self) -> Result<Vec<Arrival>, StoreError> {
        self.outcome(arrivals(&self.session))
    }

    fn polled_until(&self, origin: &ApiOrigin, app: AppId, list: IssueList) -> Result<Option<Timestamp>, StoreError> {
        self.outcome(polled_until(&self.session, origin, app, list))
    }

    fn note_polled(
        &mut self,
        origin: &ApiOrigin,
        app: AppId,
        list: IssueList,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.outcome(note_polled(&self.session, origin, app, list, until))
    }

    fn missed_events(&self, origin: &ApiOrigin) -> Result<Vec<MissedEvents>, StoreError> {
        self.outcome(missed_events(&self.session, origin))
    }

    fn note_missed(&mut self, origin: &ApiOrigin, missed: &[MissedEvents]) -> Result<(), StoreError> {
        self.outcome(note_missed(&self.session, origin, missed))
    }

    fn routes(&self) -> Result<Vec<Route>, StoreError> {
        self.outcome(routes(&self.session))
    }

    fn set_routes(&mut self, routes: &[Route]) -> Result<(), StoreError> {
        self.outcome(set_routes(&self.session, routes))
    }
}
