//! Looking at what is there.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::forwards::{self, DEAD, DELIVERED, PENDING};
use super::{Fault, seen, stored, time};
use crate::domain::event::Sender;
use crate::store::error::Problem;
use crate::store::inbox::keys_of;
use crate::store::{Backlog, EventCount, EventPage, EventRecord, EventSelection, EventSeq, EventState, Quarantined};

/// A condition on events `e` and their deliveries `d`.
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Condition {
    /// What a selection means; `None` when it means no event.
    pub(super) fn of(connection: &Connection, selection: &EventSelection) -> Result<Option<Self>, Fault> {
        let mut condition = Self { sql: "1".to_owned(), values: Vec::new() };
        let EventSelection { ids, since, until, app_ids, types, sender, undelivered, dead, after } = selection;
        if let Some(ids) = ids {
            let mut found = Vec::new();
            for key in ids.iter().flat_map(|id| keys_of(id, *sender)) {
                found.extend(seen::look_up(connection, key)?.map(Value::from));
            }
            if found.is_empty() {
                return Ok(None);
            }
            condition.is_one_of("e.id", found);
        }
        if let Some(since) = since {
            condition.add("d.received_at >= ?", stored(*since).into());
        }
        if let Some(until) = until {
            condition.add("d.received_at < ?", stored(*until).into());
        }
        if !app_ids.is_empty() {
            condition.is_one_of("e.app_id", app_ids.iter().copied().map(Value::from).collect());
        }
        if !types.is_empty() {
            condition.is_one_of("e.type", types.iter().cloned().map(Value::from).collect());
        }
        if let Some(sender) = sender {
            condition.add("d.sender = ?", sender.as_str().to_owned().into());
        }
        if let Some(EventSeq(after)) = after {
            condition.add("e.id > ?", (*after).into());
        }
        let with = |states: &str| {
            format!(
                "e.delivery IN (SELECT delivery FROM forwards WHERE {states})
                 AND EXISTS (SELECT 1 FROM forwards x WHERE x.delivery = e.delivery
                             AND e.id BETWEEN x.first_event AND x.last_event AND x.{states})"
            )
        };
        if *dead {
            condition.sql.extend([" AND ", &with("state = 2")]);
        } else if *undelivered {
            condition.sql.extend([" AND (", &with("state = 0"), " OR ", &with("state = 2"), ")"]);
        }
        Ok(Some(condition))
    }

    fn add(&mut self, sql: &str, value: Value) {
        self.sql += " AND ";
        self.sql += sql;
        self.values.push(value);
    }

    fn is_one_of(&mut self, column: &str, values: Vec<Value>) {
        let places = vec!["?"; values.len()].join(", ");
        self.sql.extend([" AND ", column, " IN (", &places, ")"]);
        self.values.extend(values);
    }
}

/// What became of the forwards of an event: the number of pending, dead and delivered ones, and what else is shown.
const FATE: &str = "sum(f.state = 0), sum(f.state = 2), sum(f.state = 1), max(f.settled_at) FILTER (WHERE f.state = 1),
    coalesce(sum(f.attempts), 0), max(f.error) FILTER (WHERE f.state <> 1)";

const FORWARDS: &str =
    "LEFT JOIN forwards f ON f.delivery = e.delivery AND e.id BETWEEN f.first_event AND f.last_event";

pub(super) fn events(
    connection: &Connection,
    selection: &EventSelection,
    page: EventPage,
    each: &mut dyn FnMut(EventRecord) -> bool,
) -> Result<(), Fault> {
    let Some(Condition { sql: condition, mut values }) = Condition::of(connection, selection)? else { return Ok(()) };
    let json = if page.with_json { "substr(d.body, e.start + 1, e.length)" } else { "NULL" };
    let order = if page.newest_first { "DESC" } else { "ASC" };
    // The events that are meant are found first; what became of them is looked up for these alone.
    let sql = format!(
        "SELECT e.id, d.sender, e.event_id, e.type, e.app_id, e.title, d.received_at, e.duplicates, {json}, {FATE}
         FROM (SELECT e.* FROM events e CROSS JOIN deliveries d ON d.id = e.delivery
               WHERE {condition} ORDER BY e.id {order} LIMIT ?) e
         CROSS JOIN deliveries d ON d.id = e.delivery {FORWARDS}
         GROUP BY e.id ORDER BY e.id {order}"
    );
    values.push(Value::from(page.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(-1))));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        if !each(record(row)?) {
            break;
        }
    }
    Ok(())
}

fn record(row: &Row<'_>) -> Result<EventRecord, Fault> {
    let count = |index: usize| row.get::<_, Option<i64>>(index).map(Option::unwrap_or_default);
    let (pending, dead, delivered) = (count(9)?, count(10)?, count(11)?);
    Ok(EventRecord {
        seq: EventSeq(row.get(0)?),
        sender: sender(&row.get::<_, String>(1)?)?,
        id: row.get(2)?,
        event_type: row.get(3)?,
        app_id: row.get(4)?,
        title: row.get(5)?,
        received_at: time(row.get(6)?),
        duplicates: row.get(7)?,
        json: row.get(8)?,
        state: match (pending, dead, delivered) {
            (1.., _, _) => EventState::Pending,
            (_, 1.., _) => EventState::Dead,
            (_, _, 1..) => EventState::Forwarded,
            _ => EventState::Stored,
        },
        forwarded_at: row.get::<_, Option<i64>>(12)?.map(time),
        attempts: row.get(13)?,
        error: row.get(14)?,
    })
}

pub(super) fn count(connection: &Connection, selection: &EventSelection) -> Result<Vec<EventCount>, Fault> {
    let Some(Condition { sql: condition, values }) = Condition::of(connection, selection)? else {
        return Ok(Vec::new());
    };
    let has = |state: i64| {
        format!(
            "EXISTS (SELECT 1 FROM forwards f WHERE f.state = {state} AND f.delivery = e.delivery
                     AND e.id BETWEEN f.first_event AND f.last_event)"
        )
    };
    let (pending, dead) = (has(PENDING), has(DEAD));
    let sql = format!(
        "SELECT d.sender, e.type, e.app_id, count(*), sum(e.duplicates), sum({pending}),
                sum(NOT {pending} AND {dead}), min(d.received_at), max(d.received_at)
         FROM events e CROSS JOIN deliveries d ON d.id = e.delivery WHERE {condition}
         GROUP BY d.sender, e.type, e.app_id ORDER BY d.sender, e.type, e.app_id"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut counts = Vec::new();
    while let Some(row) = rows.next()? {
        let number = |index: usize| row.get::<_, i64>(index).map(|count| u64::try_from(count).unwrap_or(0));
        counts.push(EventCount {
            sender: sender(&row.get::<_, String>(0)?)?,
            event_type: row.get(1)?,
            app_id: row.get(2)?,
            events: number(3)?,
            duplicates: number(4)?,
            pending: number(5)?,
            dead: number(6)?,
            first_at: time(row.get(7)?),
            last_at: time(row.get(8)?),
        });
    }
    Ok(counts)
}

pub(super) fn backlog(connection: &Connection) -> Result<Backlog, Fault> {
    let (pending, dead, oldest_pending) = forwards::backlog(connection)?;
    let newest = "SELECT received_at FROM deliveries ORDER BY id DESC LIMIT 1";
    let last: Option<i64> = connection.prepare_cached(newest)?.query_row([], |row| row.get(0)).optional()?;
    Ok(Backlog { pending, dead, oldest_pending, last_event: last.map(time) })
}

pub(super) fn quarantined(
    connection: &Connection,
    number: Option<i64>,
    limit: Option<u64>,
) -> Result<Vec<Quarantined>, Fault> {
    let sql = "SELECT id, sender, received_at, content_type, reason, body FROM quarantine
               WHERE ?1 IS NULL OR id = ?1 ORDER BY id DESC LIMIT ?2";
    let limit = limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(-1));
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((number, limit))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Quarantined {
            number: row.get(0)?,
            sender: sender(&row.get::<_, String>(1)?)?,
            received_at: time(row.get(2)?),
            content_type: row.get(3)?,
            reason: row.get(4)?,
            body: row.get(5)?,
        });
    }
    Ok(found)
}

/// A sender that was stored.
pub(super) fn sender(text: &str) -> Result<Sender, Fault> {
    Sender::ALL.into_iter().find(|sender| sender.as_str() == text).ok_or(Fault::Rule(Problem::Damaged))
}

// The names of the states stand in the SQL above as numbers.
const _: () = assert!(PENDING == 0 && DELIVERED == 1 && DEAD == 2);
