//! Queries of events: which are meant, and how they are read.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::fault::PostgresFault;
use super::super::session::{Link, ServerSession, values};
use super::fates::{self, EventFate, EventFates};
use super::states::{DEAD, DELIVERED, PENDING};
use super::{body, stored, time};
use crate::domain::EventSearch;
use crate::domain::event::{EventKey, Sender};
use crate::store::codec::{read_via, stored_via};
use crate::store::counting::EventCounts;
use crate::store::events::keys_of;
use crate::store::{EventCount, EventPage, EventRecord, EventSelection, EventSeq, EventState};

/// How many events are fetched at once, and with their JSON.
const FETCHED: u32 = 1000;
const FETCHED_WITH_JSON: u32 = 200;

/// A value of a statement that is put together.
type Value = (Box<dyn ToSql + Sync>, Type);

/// A condition on events `e` and their deliveries `d`.
pub(super) struct EventFilter {
    pub(super) sql: String,
    values: Vec<Value>,
}

impl EventFilter {
    /// What a selection means.
    pub(super) fn of(selection: &EventSelection) -> Self {
        let mut condition = Self { sql: "true".to_owned(), values: Vec::new() };
        let EventSelection { ids, since, until, app_ids, types, sender, via, .. } = selection;
        let EventSelection { target, undelivered, dead, after, before, up_to, .. } = selection;
        if let Some(ids) = ids {
            let keys: Vec<Vec<u8>> =
                ids.iter().flat_map(|id| keys_of(id, *sender)).map(|key| key.bytes().to_vec()).collect();
            condition.add("e.key = ANY (?)", keys, Type::BYTEA_ARRAY);
        }
        if let Some(since) = since {
            condition.add("d.received_at >= ?", stored(*since), Type::INT8);
            // Where to begin: times may go back, so it is not all that is meant.
            let first = "e.id >= (SELECT min(first_event) FROM @deliveries WHERE received_at >= ?)";
            condition.add(first, stored(*since), Type::INT8);
        }
        if let Some(until) = until {
            condition.add("d.received_at < ?", stored(*until), Type::INT8);
        }
        if !app_ids.is_empty() {
            condition.add("e.app_id = ANY (?)", app_ids.clone(), Type::INT8_ARRAY);
        }
        if !types.is_empty() {
            let types: Vec<String> = types.iter().map(|name| name.to_ascii_lowercase()).collect();
            condition.add("lower(e.type COLLATE \"C\") = ANY (?)", types, Type::TEXT_ARRAY);
        }
        if let Some(sender) = sender {
            condition.add("d.sender = ?", sender.as_str(), Type::TEXT);
        }
        if let Some(via) = via {
            condition.add("d.via = ?", stored_via(*via), Type::INT2);
        }
        let places = [("e.id > ?", after), ("e.id < ?", before), ("e.id <= ?", up_to)];
        for (sql, EventSeq(place)) in places.iter().filter_map(|(sql, place)| place.map(|place| (*sql, place))) {
            condition.add(sql, place, Type::INT8);
        }
        let states = match (dead, undelivered, selection.state) {
            (true, ..) => Some(vec![DEAD]),
            (_, true, _) => Some(vec![PENDING, DEAD]),
            (_, _, Some(EventState::Pending)) => Some(vec![PENDING]),
            (_, _, Some(EventState::Dead)) => Some(vec![DEAD]),
            _ => target.as_ref().map(|_| vec![PENDING, DELIVERED, DEAD]),
        };
        if let Some(states) = states {
            condition.has_forwards(states, target.as_deref(), *after);
        }
        if let Some(state) = selection.state {
            condition.is_in(state, target.as_deref(), None);
        }
        condition
    }

    /// Those in this state: looked up for each event, as nearly all forwards may be in it. Forwards that meet a condition
    /// on `x` are not counted as pending.
    pub(super) fn is_in(&mut self, state: EventState, target: Option<&str>, but: Option<&str>) {
        let theirs = target.map(|target| {
            let target = self.value(target.to_owned(), Type::TEXT);
            format!(" AND x.target IN (SELECT id FROM @targets WHERE shown = {target})")
        });
        let theirs = theirs.unwrap_or_default();
        // The offset keeps the server from gathering all forwards first.
        let has = |condition: &str| {
            format!(
                "EXISTS (SELECT 1 FROM @forwards x WHERE x.last_event BETWEEN e.id AND d.last_event
                     AND x.first_event <= e.id AND x.delivery = e.delivery AND {condition}{theirs} OFFSET 0)"
            )
        };
        let pending = but.map_or_else(|| "x.state = 0".to_owned(), |but| format!("x.state = 0 AND NOT ({but})"));
        let sql = match state {
            EventState::Stored => format!("NOT {}", has("true")),
            EventState::Pending => has("x.state = 0"),
            EventState::Dead => format!("{} AND NOT {}", has("x.state = 2"), has(&pending)),
            EventState::Forwarded => format!("{} AND NOT {}", has("x.state = 1"), has("x.state <> 1")),
        };
        self.sql.extend([" AND ", &sql]);
    }

    fn add(&mut self, sql: &str, value: impl ToSql + Sync + 'static, of: Type) {
        let place = self.value(value, of);
        self.sql += " AND ";
        self.sql += &sql.replace('?', &place);
    }

    /// Adds a value; returns its place in the statement.
    pub(super) fn value(&mut self, value: impl ToSql + Sync + 'static, of: Type) -> String {
        self.values.push((Box::new(value), of));
        format!("${}", self.values.len())
    }

    /// Those with a forward in one of these states, to this target if it is named.
    fn has_forwards(&mut self, states: Vec<i16>, target: Option<&str>, after: Option<EventSeq>) {
        let states = self.value(states, Type::INT2_ARRAY);
        let mut theirs = format!("x.state = ANY ({states})");
        if let Some(target) = target {
            let target = self.value(target.to_owned(), Type::TEXT);
            let _ = write!(theirs, " AND x.target IN (SELECT id FROM @targets WHERE shown = {target})");
        }
        if let Some(EventSeq(after)) = after {
            let after = self.value(after, Type::INT8);
            let _ = write!(theirs, " AND x.last_event > {after}");
        }
        let _ = write!(
            self.sql,
            " AND e.id IN (SELECT y.id FROM @forwards x CROSS JOIN LATERAL (
                 SELECT y.id FROM @events y WHERE y.id BETWEEN x.first_event AND x.last_event
                     AND y.delivery = x.delivery OFFSET 0) y WHERE {theirs})"
        );
    }

    /// The values, in the order of their places.
    pub(super) fn values(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values.iter().map(|(value, of)| (&**value, of.clone())).collect()
    }
}

/// Reads events, with what became of them at all.
pub(super) fn events(
    session: &ServerSession,
    selection: &EventSelection,
    page: EventPage,
    each: &mut dyn FnMut(EventRecord) -> bool,
) -> Result<Option<EventSeq>, PostgresFault> {
    read(session, selection, page, None, each)
}

/// Reads events through a cursor, with what became of them at the target with this name or at all. All that is read is of
/// one moment, and no more is in memory than was fetched.
fn read(
    session: &ServerSession,
    selection: &EventSelection,
    page: EventPage,
    target: Option<&str>,
    each: &mut dyn FnMut(EventRecord) -> bool,
) -> Result<Option<EventSeq>, PostgresFault> {
    let condition = EventFilter::of(selection);
    let order = if page.newest_first { "DESC" } else { "ASC" };
    let with_json = page.with_json || selection.search.is_some();
    // How many are found is known when they are read.
    let limit =
        if selection.search.is_some() { page.scan_limit } else { page.limit.into_iter().chain(page.scan_limit).min() };
    let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
    let sql = format!(
        "DECLARE found NO SCROLL CURSOR FOR
         SELECT e.id, d.sender, e.event_id, e.type, e.app_id, e.title, d.received_at, e.duplicates, e.key, e.delivery,
                e.start, e.length, e.previous, d.last_event, d.via
         FROM @events e JOIN @deliveries d ON d.id = e.delivery WHERE {} ORDER BY e.id {order}{limit}",
        condition.sql
    );
    let fetched = if with_json { FETCHED_WITH_JSON } else { FETCHED };
    let fetch = format!("FETCH {fetched} FROM found");
    let found = RefCell::new(FoundEvents { search: selection.search.as_ref(), page, shown: 0, looks: 0, each });
    session.read(async |link| {
        link.execute(&sql, &condition.values()).await?;
        loop {
            let rows = link.rows(&fetch, values![]).await?;
            let is_last = rows.len() < fetched as usize;
            for record in records(link, &rows, with_json, target).await? {
                if let ControlFlow::Break(reached) = found.borrow_mut().look(record) {
                    return Ok(reached);
                }
            }
            if is_last {
                return Ok(None);
            }
        }
    })
}

/// Whoever is shown the events that are found.
struct FoundEvents<'a> {
    search: Option<&'a EventSearch>,
    page: EventPage,
    shown: u64,
    looks: u64,
    each: &'a mut dyn FnMut(EventRecord) -> bool,
}

impl FoundEvents<'_> {
    /// Looks at an event. Breaks when it was the last, with its number if the scan limit ends it.
    fn look(&mut self, mut record: EventRecord) -> ControlFlow<Option<EventSeq>> {
        if self.page.limit == Some(self.shown) {
            return ControlFlow::Break(None);
        }
        self.looks += 1;
        let seq = record.seq;
        if self.search.is_none_or(|search| is_found_by(search, &record)) {
            if !self.page.with_json {
                record.json = None;
            }
            self.shown += 1;
            if !(self.each)(record) || self.page.limit == Some(self.shown) {
                return ControlFlow::Break(None);
            }
        }
        if Some(self.looks) == self.page.scan_limit { ControlFlow::Break(Some(seq)) } else { ControlFlow::Continue(()) }
    }
}

fn is_found_by(search: &EventSearch, record: &EventRecord) -> bool {
    let facts = [Some(record.id.as_str()), record.event_type.as_deref(), record.title.as_deref()];
    let facts: Vec<&str> = facts.into_iter().flatten().collect();
    search.matches(&facts, record.json.as_deref().unwrap_or_default())
}

async fn records(
    link: &Link,
    rows: &[Row],
    with_json: bool,
    target: Option<&str>,
) -> Result<Vec<EventRecord>, PostgresFault> {
    let fates = EventFates::of(link, &fates::places(rows, 0, 9, 13), target).await?;
    let json = if with_json {
        let part = |row: &Row| Ok((row.try_get(9)?, body::place(row.try_get(10)?, row.try_get(11)?)));
        let wanted = rows.iter().map(part).collect::<Result<Vec<_>, PostgresFault>>()?;
        body::parts(link, &wanted).await?.into_iter().map(Some).collect()
    } else {
        vec![None; rows.len()]
    };
    let none = EventFate::default();
    rows.iter().zip(json).map(|(row, json)| record(row, fates.of_event(row.get(0)).unwrap_or(&none), json)).collect()
}

fn record(row: &Row, fate: &EventFate, json: Option<Vec<u8>>) -> Result<EventRecord, PostgresFault> {
    Ok(EventRecord {
        seq: EventSeq(row.try_get(0)?),
        key: known_by(row.try_get(8)?, row.try_get(12)?)?,
        sender: sender(row.try_get(1)?)?,
        id: row.try_get(2)?,
        event_type: row.try_get(3)?,
        app_id: row.try_get(4)?,
        title: row.try_get(5)?,
        received_at: time(row.try_get(6)?),
        via: read_via(row.try_get(14)?),
        duplicates: u32::try_from(row.try_get::<_, i32>(7)?).unwrap_or(0),
        state: fate.state(),
        forwarded_at: fate.forwarded_at.map(time),
        attempts: fate.attempts,
        error: fate.error.as_deref().map(str::to_owned),
        json,
    })
}

/// Counts events by sender, type and app. What became of them is looked up from the forwards, all at once.
pub(super) fn count(session: &ServerSession, selection: &EventSelection) -> Result<Vec<EventCount>, PostgresFault> {
    if selection.search.is_some() {
        return count_found(session, selection);
    }
    let mut condition = EventFilter::of(selection);
    let theirs = selection.target.as_ref().map(|target| {
        let target = condition.value(target.clone(), Type::TEXT);
        format!("AND x.target IN (SELECT id FROM @targets WHERE shown = {target})")
    });
    let theirs = theirs.unwrap_or_default();
    let with_forwards = |state: i16| {
        format!(
            "SELECT DISTINCT y.id FROM @forwards x JOIN @events y
             ON y.id BETWEEN x.first_event AND x.last_event AND y.delivery = x.delivery WHERE x.state = {state} {theirs}"
        )
    };
    let sql = format!(
        "WITH pending AS ({}), dead AS ({})
         SELECT d.sender, e.type, e.app_id, count(*), sum(e.duplicates)::bigint, count(p.id),
                count(*) FILTER (WHERE p.id IS NULL AND k.id IS NOT NULL), min(d.received_at), max(d.received_at)
         FROM @events e JOIN @deliveries d ON d.id = e.delivery
         LEFT JOIN pending p ON p.id = e.id LEFT JOIN dead k ON k.id = e.id
         WHERE {} GROUP BY d.sender, e.type, e.app_id
         ORDER BY d.sender COLLATE \"C\", e.type COLLATE \"C\" NULLS FIRST, e.app_id NULLS FIRST",
        with_forwards(PENDING),
        with_forwards(DEAD),
        condition.sql
    );
    let rows = session.read(async |link| link.rows(&sql, &condition.values()).await)?;
    let count = |row: &Row, column: usize| -> Result<u64, PostgresFault> {
        Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0))
    };
    let of_row = |row: &Row| {
        Ok(EventCount {
            sender: sender(row.try_get(0)?)?,
            event_type: row.try_get(1)?,
            app_id: row.try_get(2)?,
            events: count(row, 3)?,
            duplicates: count(row, 4)?,
            pending: count(row, 5)?,
            dead: count(row, 6)?,
            first_at: time(row.try_get(7)?),
            last_at: time(row.try_get(8)?),
        })
    };
    rows.iter().map(of_row).collect()
}

/// Counts the events that a search finds, as they are read.
fn count_found(session: &ServerSession, selection: &EventSelection) -> Result<Vec<EventCount>, PostgresFault> {
    let mut counts = EventCounts::default();
    read(session, selection, EventPage::default(), selection.target.as_deref(), &mut |event| {
        let kind = (event.sender, event.event_type, event.app_id);
        counts.add(kind, event.received_at, event.duplicates.into(), event.state);
        true
    })?;
    Ok(counts.into_list())
}

/// A sender that was stored.
pub(super) fn sender(text: &str) -> Result<Sender, PostgresFault> {
    let found = Sender::ALL.into_iter().find(|sender| sender.as_str() == text);
    found.ok_or_else(|| PostgresFault::Damaged("a sender".to_owned()))
}

/// The key that targets know an event by: one of its own, if an earlier event has its key.
pub(super) fn known_by(key: &[u8], previous: Option<i64>) -> Result<EventKey, PostgresFault> {
    let key = key.try_into().map_err(|_| PostgresFault::Damaged("a key".to_owned()))?;
    let key = EventKey::from_bytes(key);
    Ok(previous.map_or(key, |previous| key.after(previous)))
}
