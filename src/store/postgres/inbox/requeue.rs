//! Requeuing forwards that are dead-lettered or wait for a retry.

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::super::fault::PostgresFault;
use super::super::session::ServerSession;
use super::query::{self, EventFilter};
use super::stored;
use crate::store::{EventPage, EventSelection, EventSeq, Requeued};

/// How many are requeued in one commit.
const AT_ONCE: i64 = 500;

/// How many events that a search finds have their forwards requeued in one commit, and how many are looked at for it.
const FOUND_AT_ONCE: u64 = 200;
const LOOKS: u64 = 10_000;

/// Requeues some, in the order of their events. What was requeued at this very time is passed over.
pub(super) fn requeue(
    session: &ServerSession,
    selection: &EventSelection,
    now: Timestamp,
) -> Result<Requeued, PostgresFault> {
    if selection.search.is_some() {
        return requeue_found(session, selection, now);
    }
    let last_events = requeue_some(session, selection, None, now, AT_ONCE)?;
    let is_all = last_events.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
    // Others may end with the same event.
    let reached = last_events.iter().max().filter(|_| !is_all).map(|last| EventSeq(last - 1));
    Ok(Requeued { forwards: last_events.len() as u64, reached })
}

/// Requeues the forwards of some events that a search finds.
fn requeue_found(
    session: &ServerSession,
    selection: &EventSelection,
    now: Timestamp,
) -> Result<Requeued, PostgresFault> {
    let undelivered = EventSelection { undelivered: true, ..selection.clone() };
    let page = EventPage { limit: Some(FOUND_AT_ONCE), scan_limit: Some(LOOKS), ..EventPage::default() };
    let mut found = Vec::new();
    let stopped_at = query::events(session, &undelivered, page, &mut |event| {
        found.push(event.seq.0);
        true
    })?;
    let is_full = found.len() as u64 == FOUND_AT_ONCE;
    let reached = stopped_at.or(found.last().copied().filter(|_| is_full).map(EventSeq));
    let forwards =
        if found.is_empty() { 0 } else { requeue_some(session, selection, Some(found), now, i64::MAX)?.len() };
    Ok(Requeued { forwards: forwards as u64, reached })
}

/// Requeues up to so many forwards of the selected events, or of these among them. Returns the last event of each.
fn requeue_some(
    session: &ServerSession,
    selection: &EventSelection,
    among: Option<Vec<i64>>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<i64>, PostgresFault> {
    // Which forwards are meant is said here, of which events below.
    let of_events = EventSelection { target: None, undelivered: false, dead: false, state: None, ..selection.clone() };
    let mut condition = EventFilter::of(&of_events);
    let now = condition.value(stored(now), Type::INT8);
    if let Some(state) = selection.state {
        // What was requeued by the steps before was dead, or waited.
        let requeued = format!("x.due_at = 0 AND x.queued_at = {now}");
        condition.is_in(state, selection.target.as_deref(), Some(&requeued));
    }
    let target = condition.value(selection.target.clone(), Type::TEXT);
    let after = condition.value(selection.after.map_or(0, |EventSeq(after)| after), Type::INT8);
    let limit = condition.value(limit, Type::INT8);
    // From the events that are named to their forwards, and not through all forwards.
    let among = among.map(|events| {
        let (first, last) = (events.iter().min().copied(), events.iter().max().copied());
        let first = condition.value(first, Type::INT8);
        let last = condition.value(last, Type::INT8);
        let events = condition.value(events, Type::INT8_ARRAY);
        (format!("AND f.last_event >= {first} AND f.first_event <= {last}"), format!("AND e.id = ANY ({events})"))
    });
    let (near, among) = among.unwrap_or_default();
    // An event that is dead for one target may be pending for another: both are tried again.
    let states = "(0, 2)";
    let dead = if selection.dead {
        "AND EXISTS (SELECT 1 FROM @forwards x WHERE x.state = 2 AND x.last_event BETWEEN e.id AND d.last_event
                         AND x.first_event <= e.id AND x.delivery = e.delivery
                         AND ($T::text IS NULL OR x.target = f.target))"
            .replace("$T", &target)
    } else {
        String::new()
    };
    let sql = format!(
        "WITH found AS MATERIALIZED (
             SELECT f.id FROM @forwards f
             WHERE f.state IN {states} AND f.last_event > {after} {near}
                 AND NOT (f.state = 0 AND f.due_at = 0 AND f.queued_at = {now})
                 AND ({target}::text IS NULL OR f.target IN (SELECT id FROM @targets WHERE shown = {target}))
                 AND EXISTS (SELECT 1 FROM @events e JOIN @deliveries d ON d.id = e.delivery
                             WHERE e.id BETWEEN f.first_event AND f.last_event AND e.delivery = f.delivery
                                 AND {} {among} {dead})
             ORDER BY f.last_event, f.id LIMIT {limit} FOR UPDATE OF f)
         UPDATE @forwards f SET state = 0, due_at = 0, queued_at = {now}, settled_at = NULL
         FROM found WHERE f.id = found.id RETURNING f.last_event",
        condition.sql
    );
    let rows = session.once(async |link| link.commit_one(&sql, &condition.values()).await)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
