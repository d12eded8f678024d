//! When webhooks last brought events, how far apps were polled, and the routes on record.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::{SqliteInbox, stored, time};
use crate::domain::{ApiOrigin, AppId, IssueList};
use crate::store::polling::{read_types, stored_route};
use crate::store::sqlite::commit;
use crate::store::sqlite::fault::{Problem, StoreFault};
use crate::store::{Arrival, MissedEvents, Polling, Route, StoreError, TargetId};

/// How many events are looked at in one commit, and how many may be left to whoever asks.
pub(super) const SEEN_AT_ONCE: i64 = 5000;

/// When webhooks last brought events, by app and type.
type Newest = BTreeMap<(i64, String), i64>;

/// Adds what a statement finds: app, type and time.
fn add(newest: &mut Newest, connection: &Connection, sql: &str, range: &[i64]) -> Result<(), StoreFault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(range))?;
    while let Some(row) = rows.next()? {
        let (app_id, event_type, at) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let last = newest.entry((app_id, event_type)).or_insert(at);
        *last = at.max(*last);
    }
    Ok(())
}

const OF_EVENTS: &str = "SELECT e.app_id, lower(e.type), max(d.received_at)
    FROM events e CROSS JOIN deliveries d ON d.id = e.delivery
    WHERE e.id > ? AND e.id <= ? AND d.via = 0 AND e.app_id IS NOT NULL AND e.type IS NOT NULL GROUP BY 1, 2";

const CAME_LATER: &str = "SELECT app_id, lower(type), max(came_at) FROM events INDEXED BY events_that_came_later
    WHERE came_at IS NOT NULL AND app_id IS NOT NULL AND type IS NOT NULL GROUP BY 1, 2";

/// The first event behind one, and the last. Some may have been purged.
const FIRST_AND_LAST: &str =
    "SELECT coalesce((SELECT min(id) FROM events WHERE id > ?1), ?1 + 1), coalesce(max(id), 0) FROM events";

fn arrivals(connection: &Connection) -> Result<Vec<Arrival>, StoreFault> {
    let mut newest = Newest::new();
    add(&mut newest, connection, "SELECT app_id, type, last_at FROM arrivals", &[])?;
    add(&mut newest, connection, OF_EVENTS, &[seen(connection)?, i64::MAX])?;
    add(&mut newest, connection, CAME_LATER, &[])?;
    let arrival = |((app_id, event_type), at)| Arrival { app_id, event_type, last_at: time(at) };
    Ok(newest.into_iter().map(arrival).collect())
}

/// Up to which event the arrivals on record go.
pub(super) fn seen(connection: &Connection) -> Result<i64, StoreFault> {
    let sql = "SELECT last_event FROM arrivals_seen WHERE id = 1";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Puts the arrivals of some more events on record, before these are purged. Returns up to which event they go now, and
/// whether there may be more.
pub(super) fn note_arrivals(connection: &Connection) -> Result<(i64, bool), StoreFault> {
    let from = seen(connection)?;
    let mut statement = connection.prepare_cached(FIRST_AND_LAST)?;
    let (first, last): (i64, i64) = statement.query_row([from], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let until = last.min(first - 1 + SEEN_AT_ONCE);
    if until <= from {
        return Ok((from, false));
    }
    // Read before the lock is taken: what is stored does not change.
    let mut newest = Newest::new();
    add(&mut newest, connection, OF_EVENTS, &[from, until])?;
    commit(connection, |connection| {
        // Somebody else may have done it by now.
        if seen(connection)? != from {
            return Ok(());
        }
        let upsert = "INSERT INTO arrivals (app_id, type, last_at) VALUES (?, ?, ?)
                      ON CONFLICT (app_id, type) DO UPDATE SET last_at = max(last_at, excluded.last_at)";
        let mut statement = connection.prepare_cached(upsert)?;
        for ((app_id, event_type), at) in &newest {
            statement.execute(params![app_id, event_type, at])?;
        }
        let sql = "INSERT INTO arrivals_seen (id, last_event) VALUES (1, ?)
                   ON CONFLICT (id) DO UPDATE SET last_event = excluded.last_event";
        connection.prepare_cached(sql)?.execute([until])?;
        Ok(())
    })?;
    Ok((until, until < last))
}

fn polled_until(
    connection: &Connection,
    origin: &ApiOrigin,
    app: AppId,
    list: IssueList,
) -> Result<Option<Timestamp>, StoreFault> {
    let sql = "SELECT polled_until FROM polls WHERE api_url = ? AND app_id = ? AND list = ?";
    let values = params![origin.to_string(), app.get(), list.as_str()];
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?.map(time))
}

fn missed_events(connection: &Connection, origin: &ApiOrigin) -> Result<Vec<MissedEvents>, StoreFault> {
    let sql = "SELECT app_id, type, events, last_at, found_at FROM missed WHERE api_url = ? ORDER BY app_id, type";
    let mut statement = connection.prepare_cached(sql)?;
    let missed = |row: &Row<'_>| -> Result<MissedEvents, StoreFault> {
        Ok(MissedEvents {
            app_id: AppId::new(row.get(0)?).ok_or(StoreFault::Problem(Problem::Damaged))?,
            event_type: row.get(1)?,
            events: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
            last_at: time(row.get(3)?),
            found_at: time(row.get(4)?),
        })
    };
    let mut rows = statement.query([origin.to_string()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(missed(row)?);
    }
    Ok(found)
}

fn note_missed(connection: &Connection, origin: &ApiOrigin, missed: &[MissedEvents]) -> Result<(), StoreFault> {
    let upsert = "INSERT INTO missed (api_url, app_id, type, events, last_at, found_at) VALUES (?, ?, ?, ?, ?, ?)
                  ON CONFLICT (api_url, app_id, type) DO UPDATE SET events = excluded.events,
                      last_at = max(last_at, excluded.last_at), found_at = max(found_at, excluded.found_at)";
    let mut statement = connection.prepare_cached(upsert)?;
    for MissedEvents { app_id, event_type, events, last_at, found_at } in missed {
        let events = i64::try_from(*events).unwrap_or(i64::MAX);
        let event_type = event_type.to_ascii_lowercase();
        let values = params![origin.to_string(), app_id.get(), event_type, events, stored(*last_at), stored(*found_at)];
        statement.execute(values)?;
    }
    Ok(())
}

fn routes(connection: &Connection) -> Result<Vec<Route>, StoreFault> {
    let sql = "SELECT id, types, together FROM targets WHERE together IS NOT NULL ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let route = |row: &Row<'_>| {
        Ok(Route {
            target: TargetId(row.get(0)?),
            types: read_types(row.get(1)?),
            together: row.get::<_, i64>(2)? != 0,
        })
    };
    Ok(statement.query_map([], route)?.collect::<Result<Vec<_>, _>>()?)
}

fn set_routes(connection: &Connection, routes: &[Route]) -> Result<(), StoreFault> {
    connection.execute("UPDATE targets SET types = NULL, together = NULL WHERE together IS NOT NULL", [])?;
    let mut statement = connection.prepare_cached("UPDATE targets SET types = ?, together = ? WHERE id = ?")?;
    for route in routes {
        let (types, together) = stored_route(route);
        statement.execute(params![types, together, route.target.0])?;
    }
    Ok(())
}

impl Polling for SqliteInbox {
    fn arrivals(&self) -> Result<Vec<Arrival>, StoreError> {
        self.read_at_once(arrivals)
    }

    fn polled_until(&self, origin: &ApiOrigin, app: AppId, list: IssueList) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| polled_until(connection, origin, app, list))
    }

    fn note_polled(
        &mut self,
        origin: &ApiOrigin,
        app: AppId,
        list: IssueList,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(|connection| {
            let upsert = "INSERT INTO polls (api_url, app_id, list, polled_until) VALUES (?, ?, ?, ?)
                          ON CONFLICT (api_url, app_id, list)
                          DO UPDATE SET polled_until = max(polled_until, excluded.polled_until)";
            connection.execute(upsert, params![origin.to_string(), app.get(), list.as_str(), stored(until)])?;
            Ok(())
        })
    }

    fn missed_events(&self, origin: &ApiOrigin) -> Result<Vec<MissedEvents>, StoreError> {
        self.read(|connection| missed_events(connection, origin))
    }

    fn note_missed(&mut self, origin: &ApiOrigin, missed: &[MissedEvents]) -> Result<(), StoreError> {
        self.write(|connection| note_missed(connection, origin, missed))
    }

    fn routes(&self) -> Result<Vec<Route>, StoreError> {
        self.read(routes)
    }

    fn set_routes(&mut self, routes: &[Route]) -> Result<(), StoreError> {
        self.write(|connection| set_routes(connection, routes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [&str; 6] = [
        include_str!("../../../../migrations/sqlite/0001_inbox.sql"),
        include_str!("../../../../migrations/sqlite/0002_inbox.sql"),
        include_str!("../../../../migrations/sqlite/0003_inbox.sql"),
        include_str!("../../../../migrations/sqlite/0004_inbox.sql"),
        include_str!("../../../../migrations/sqlite/0005_inbox.sql"),
        include_str!("../../../../migrations/sqlite/0006_inbox.sql"),
    ];

    /// How SQLite goes about a statement.
    fn plan(connection: &Connection, sql: &str) -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![7; statement.parameter_count()];
        let steps = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        steps.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
    }

    #[test]
    fn arrivals_are_found_without_a_look_at_events_on_record() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&STEPS.concat()).unwrap();
        for (sql, step) in [
            (OF_EVENTS, "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            (CAME_LATER, "USING COVERING INDEX events_that_came_later"),
            (FIRST_AND_LAST, "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"),
        ] {
            let plan = plan(&connection, sql);
            assert!(plan.contains(step) && !plan.contains("SCAN") && !plan.contains("AUTOMATIC"), "{plan}");
        }
    }
}
