//! Queries of events and the backlog.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::body::{Bodies, place};
use super::fates::{DEAD, DELIVERED, Fate, Fates, PENDING};
use super::known::known_by;
use super::{stored, time};
use crate::domain::EventSearch;
use crate::domain::event::Sender;
use crate::store::codec::{read_via, stored_via};
use crate::store::counting::EventCounts;
use crate::store::events::keys_of;
use crate::store::sqlite::dedup;
use crate::store::sqlite::fault::{Problem, StoreFault};
use crate::store::{Backlog, EventCount, EventPage, EventRecord, EventSelection, EventSeq, EventState, Quarantined};

/// How many forwards are too many to look events up from.
const MANY: i64 = 10_000;

/// A condition on events `e` and their deliveries `d`.
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
    /// Those with a forward in one of these states, which is for whoever reads the events to see.
    states: Option<&'static [i64]>,
    /// Those in this state, which is for them to see too.
    state: Option<EventState>,
    /// The target that the state is about.
    target: Option<String>,
    search: Option<EventSearch>,
}

/// The columns by which [`Condition::finds`] searches an event.
pub(super) const SEARCHED: &str = "e.event_id, e.type, e.title, e.delivery, e.start, e.length";

impl Condition {
    /// What a selection means; `None` when it means no event.
    pub(super) fn of(connection: &Connection, selection: &EventSelection) -> Result<Option<Self>, StoreFault> {
        let state = selection.state;
        let (theirs, search) = (selection.target.clone(), selection.search.clone());
        let mut condition =
            Self { sql: "1".to_owned(), values: Vec::new(), states: None, state, target: theirs, search };
        let EventSelection { ids, since, until, app_ids, types, sender, via, .. } = selection;
        let EventSelection { target, after, before, up_to, .. } = selection;
        if let Some(ids) = ids {
            let found = dedup::look_up(connection, ids.iter().flat_map(|id| keys_of(id, *sender)))?;
            if found.is_empty() {
                return Ok(None);
            }
            // As one value: there is no limit to how many may be named.
            let list = found.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
            condition.add("e.id IN (SELECT value FROM json_each(?))", format!("[{list}]").into());
        }
        if let Some(since) = since {
            condition.add("d.received_at >= ?", stored(*since).into());
            // Where to begin: times may go back, so it is not all that is meant.
            let first = "e.id >= (SELECT min(first_event) FROM deliveries WHERE received_at >= ?)";
            condition.add(first, stored(*since).into());
        }
        if let Some(until) = until {
            condition.add("d.received_at < ?", stored(*until).into());
        }
        if !app_ids.is_empty() {
            condition.is_one_of("e.app_id", app_ids.iter().copied().map(Value::from).collect());
        }
        if !types.is_empty() {
            condition.is_one_of("e.type COLLATE NOCASE", types.iter().cloned().map(Value::from).collect());
        }
        if let Some(sender) = sender {
            condition.add("d.sender = ?", sender.as_str().to_owned().into());
        }
        if let Some(via) = via {
            condition.add("d.via = ?", stored_via(*via).into());
        }
        if let Some(EventSeq(after)) = after {
            condition.add("e.id > ?", (*after).into());
        }
        if let Some(EventSeq(before)) = before {
            condition.add("e.id < ?", (*before).into());
        }
        if let Some(EventSeq(up_to)) = up_to {
            condition.add("e.id <= ?", (*up_to).into());
        }
        // What has a forward to a target is not just stored.
        if target.is_some() && selection.state == Some(EventState::Stored) {
            return Ok(None);
        }
        condition.is_on_its_way(connection, selection)?;
        Ok(Some(condition))
    }

    /// Those whose forwards are as a selection says, as far as the forwards lead to them.
    fn is_on_its_way(&mut self, connection: &Connection, selection: &EventSelection) -> Result<(), StoreFault> {
        let EventSelection { target, undelivered, dead, state, after, before, .. } = selection;
        let states: Option<&'static [i64]> = match (dead, undelivered, state) {
            (true, ..) => Some(&[DEAD]),
            (_, true, _) => Some(&[PENDING, DEAD]),
            (_, _, Some(EventState::Pending)) => Some(&[PENDING]),
            (_, _, Some(EventState::Dead)) => Some(&[DEAD]),
            _ => None,
        };
        match (target, states) {
            (Some(target), states) => {
                self.is_for(target, states.unwrap_or(&[PENDING, DELIVERED, DEAD]), (*after, *before));
                Ok(())
            }
            (None, Some(states)) => self.has_forwards(connection, states),
            (None, None) => Ok(()),
        }
    }

    fn add(&mut self, sql: &str, value: Value) {
        self.sql += " AND ";
        self.sql += sql;
        self.values.push(value);
    }

    /// Those with a forward in one of these states: looked up from such forwards if there are few, and otherwise seen at
    /// each event, as all of them would have to be gathered before the first event could be told.
    fn has_forwards(&mut self, connection: &Connection, states: &'static [i64]) -> Result<(), StoreFault> {
        for state in states {
            let some = format!("SELECT count(*) FROM (SELECT 1 FROM forwards WHERE state = {state} LIMIT {MANY})");
            if connection.prepare_cached(&some)?.query_row([], |row| row.get::<_, i64>(0))? >= MANY {
                self.states = Some(states);
                return Ok(());
            }
        }
        self.is_of_forwards(states, "");
        Ok(())
    }

    /// Those with a forward to this target in one of these states: gathered first, as looking at each event would take all
    /// forwards of its delivery each time.
    fn is_for(&mut self, target: &str, states: &[i64], (after, before): (Option<EventSeq>, Option<EventSeq>)) {
        // A page begins where the one before ended, and not at the first forward.
        let delivery = |order: &str, event: i64| {
            format!(
                "AND x.delivery {order}= (SELECT delivery FROM events WHERE id {order} {event} ORDER BY id {} LIMIT 1)",
                if order == ">" { "ASC" } else { "DESC" }
            )
        };
        let after = after.map(|EventSeq(event)| delivery(">", event)).unwrap_or_default();
        let before = before.map(|EventSeq(event)| delivery("<", event)).unwrap_or_default();
        let theirs = format!("AND x.target IN (SELECT id FROM targets WHERE shown = ?) {after} {before}");
        self.is_of_forwards(states, &theirs);
        self.values.extend(states.iter().map(|_| Value::from(target.to_owned())));
    }

    /// Those of forwards `x` in one of these states that meet a condition, which has its values once for each state.
    fn is_of_forwards(&mut self, states: &[i64], condition: &str) {
        // The plus keeps SQLite from making an index over all events for it.
        let theirs = |state: &i64| {
            format!(
                "SELECT y.id FROM forwards x
                 CROSS JOIN events y ON y.id BETWEEN x.first_event AND x.last_event AND +y.delivery = x.delivery
                 WHERE x.state = {state} {condition}"
            )
        };
        let theirs = states.iter().map(theirs).collect::<Vec<_>>().join(" UNION ALL ");
        self.sql.extend([" AND e.id IN (", &theirs, ")"]);
    }

    /// What becomes of events at the target that the selection names, or at all, for [`Self::is_met`].
    pub(super) fn fates<'c>(&self, connection: &'c Connection) -> Result<Fates<'c>, StoreFault> {
        Fates::of(connection, self.target.as_deref())
    }

    /// Whether an event that the SQL selects is one of those that are meant, by its fate of [`Self::fates`].
    pub(super) fn is_met(&self, fate: &Fate) -> bool {
        let has_one_of =
            |states: &[i64]| states.contains(&PENDING) && fate.pending > 0 || states.contains(&DEAD) && fate.dead > 0;
        self.states.is_none_or(has_one_of) && self.state.is_none_or(|state| fate.state() == state)
    }

    /// Whether the search, if there is one, finds the event of a row in which [`SEARCHED`] begins at this column.
    pub(super) fn finds(
        &self,
        connection: &Connection,
        bodies: &mut Bodies,
        row: &Row<'_>,
        first: usize,
    ) -> Result<bool, StoreFault> {
        let Some(search) = &self.search else { return Ok(true) };
        let facts: [Option<String>; 3] = [row.get(first)?, row.get(first + 1)?, row.get(first + 2)?];
        let facts: Vec<&str> = facts.iter().flatten().map(String::as_str).collect();
        let place = place(row.get(first + 4)?, row.get(first + 5)?);
        Ok(search.matches(&facts, &bodies.part(connection, row.get(first + 3)?, place)?))
    }

    fn is_one_of(&mut self, column: &str, values: Vec<Value>) {
        let places = vec!["?"; values.len()].join(", ");
        self.sql.extend([" AND ", column, " IN (", &places, ")"]);
        self.values.extend(values);
    }
}

/// The events' JSON and what became of them are looked up one by one: SQLite would gather all that it sorts or groups.
pub(super) fn events(
    connection: &Connection,
    selection: &EventSelection,
    page: EventPage,
    each: &mut dyn FnMut(EventRecord) -> bool,
) -> Result<Option<EventSeq>, StoreFault> {
    let Some(condition) = Condition::of(connection, selection)? else { return Ok(None) };
    let order = if page.newest_first { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT e.id, d.sender, e.event_id, e.type, e.app_id, e.title, d.received_at, e.duplicates, e.key, e.delivery,
                e.start, e.length, e.previous, d.via, {SEARCHED}
         FROM events e CROSS JOIN deliveries d ON d.id = e.delivery WHERE {} ORDER BY e.id {order}",
        condition.sql
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut fates = Fates::of(connection, None)?;
    let of_target = condition.state.and(condition.target.as_ref());
    let mut theirs = of_target.map(|_| condition.fates(connection)).transpose()?;
    let mut bodies = Bodies::default();
    let (mut left, mut looks, mut last) = (page.limit.unwrap_or(u64::MAX), 0, None);
    // While these rows are open, all that is read is of one moment.
    let mut rows = statement.query(params_from_iter(&condition.values))?;
    while left > 0
        && let Some(row) = rows.next()?
    {
        if Some(looks) == page.scan_limit {
            return Ok(last);
        }
        (looks, last) = (looks + 1, Some(EventSeq(row.get(0)?)));
        let fate = fates.of_event(row.get(9)?, row.get(0)?)?;
        let is_met = match &mut theirs {
            Some(theirs) => condition.is_met(theirs.of_event(row.get(9)?, row.get(0)?)?),
            None => condition.is_met(fate),
        };
        if !is_met || !condition.finds(connection, &mut bodies, row, 14)? {
            continue;
        }
        let mut event = record(row, fate)?;
        if page.with_json {
            event.json = Some(bodies.part(connection, row.get(9)?, place(row.get(10)?, row.get(11)?))?);
        }
        left -= 1;
        if !each(event) {
            break;
        }
    }
    Ok(None)
}

fn record(row: &Row<'_>, fate: &Fate) -> Result<EventRecord, StoreFault> {
    Ok(EventRecord {
        seq: EventSeq(row.get(0)?),
        key: known_by(row.get(8)?, row.get(12)?),
        sender: sender(&row.get::<_, String>(1)?)?,
        id: row.get(2)?,
        event_type: row.get(3)?,
        app_id: row.get(4)?,
        title: row.get(5)?,
        received_at: time(row.get(6)?),
        via: read_via(row.get(13)?),
        duplicates: row.get(7)?,
        state: fate.state(),
        forwarded_at: fate.forwarded_at.map(time),
        attempts: fate.attempts,
        error: fate.error.as_deref().map(str::to_owned),
        json: None,
    })
}

pub(super) fn count(connection: &Connection, selection: &EventSelection) -> Result<Vec<EventCount>, StoreFault> {
    let Some(condition) = Condition::of(connection, selection)? else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT e.id, e.delivery, d.sender, e.type, e.app_id, e.duplicates, d.received_at, {SEARCHED}
         FROM events e CROSS JOIN deliveries d ON d.id = e.delivery WHERE {} ORDER BY e.id",
        condition.sql
    );
    let mut statement = connection.prepare(&sql)?;
    let (mut fates, mut bodies) = (condition.fates(connection)?, Bodies::default());
    let mut rows = statement.query(params_from_iter(&condition.values))?;
    let mut counts = EventCounts::default();
    while let Some(row) = rows.next()? {
        let fate = fates.of_event(row.get(1)?, row.get(0)?)?;
        if !condition.is_met(fate) || !condition.finds(connection, &mut bodies, row, 7)? {
            continue;
        }
        let kind = (sender(&row.get::<_, String>(2)?)?, row.get(3)?, row.get(4)?);
        let duplicates = u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0);
        counts.add(kind, time(row.get(6)?), duplicates, fate.state());
    }
    Ok(counts.into_list())
}

/// The newest event that was ever stored: numbers are given in the order of the commits, and never again.
pub(super) fn watermark(connection: &Connection) -> Result<EventSeq, StoreFault> {
    let sql = "SELECT max(coalesce((SELECT max(id) FROM events), 0), coalesce((SELECT last_event FROM purged), 0))";
    Ok(EventSeq(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?))
}

pub(super) fn backlog(connection: &Connection) -> Result<Backlog, StoreFault> {
    let count = |sql: &str| -> Result<u64, StoreFault> {
        let count: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    };
    let pending = count("SELECT count(*) FROM forwards INDEXED BY forwards_pending WHERE state = 0")?;
    let dead = count("SELECT count(*) FROM forwards INDEXED BY forwards_dead WHERE state = 2")?;
    let oldest = "SELECT min((SELECT min(queued_at) FROM forwards INDEXED BY forwards_by_age
                              WHERE state = 0 AND target = t.id)) FROM targets t";
    let oldest: Option<i64> = connection.prepare_cached(oldest)?.query_row([], |row| row.get(0))?;
    let newest = "SELECT received_at FROM deliveries ORDER BY id DESC LIMIT 1";
    let newest: Option<i64> = connection.prepare_cached(newest)?.query_row([], |row| row.get(0)).optional()?;
    Ok(Backlog { pending, dead, oldest_pending: oldest.map(time), last_event: newest.map(time) })
}

/// How many deliveries are in quarantine.
pub(super) fn quarantine_size(connection: &Connection) -> Result<u64, StoreFault> {
    let count: i64 = connection.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

pub(super) fn quarantined(
    connection: &Connection,
    number: Option<i64>,
    limit: Option<u64>,
) -> Result<Vec<Quarantined>, StoreFault> {
    let sql =
        "SELECT id, sender, received_at, content_type, reason, length(body), CASE WHEN ?1 IS NOT NULL THEN body END
               FROM quarantine
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
            size: u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
            body: row.get::<_, Option<Vec<u8>>>(6)?.unwrap_or_default(),
        });
    }
    Ok(found)
}

/// A sender that was stored.
pub(super) fn sender(text: &str) -> Result<Sender, StoreFault> {
    Sender::ALL.into_iter().find(|sender| sender.as_str() == text).ok_or(StoreFault::Problem(Problem::Damaged))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How SQLite goes about finding events.
    fn plan(connection: &Connection, selection: &EventSelection) -> String {
        let Condition { sql, values, .. } = Condition::of(connection, selection).unwrap().unwrap();
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT e.id FROM events e CROSS JOIN deliveries d ON d.id = e.delivery WHERE {sql}
             ORDER BY e.id DESC"
        );
        let mut statement = connection.prepare(&sql).unwrap();
        let steps = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        steps.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
    }

    #[test]
    fn few_of_many_events_are_found_without_a_look_at_all() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../../../migrations/sqlite/0001_inbox.sql")).unwrap();
        let none = EventSelection::default;
        for selection in [
            EventSelection { since: Some(time(7)), ..none() },
            EventSelection { dead: true, ..none() },
            EventSelection { undelivered: true, ..none() },
        ] {
            let plan = plan(&connection, &selection);
            let whole = ["SCAN e", "SCAN d", "SCAN y", "AUTOMATIC", "TEMP B-TREE"];
            assert!(!whole.iter().any(|step| plan.contains(step)), "{plan}");
        }
        let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                    INSERT INTO forwards (target, delivery, first_event, last_event, queued_at) SELECT 1, i, i, i, 0 FROM n";
        connection.execute_batch(many).unwrap();
        let plan = plan(&connection, &EventSelection { undelivered: true, ..none() });
        assert!(!plan.contains("LIST SUBQUERY"), "{plan}");
    }
}
