//! Requeuing forwards that are dead-lettered or wait for a retry.

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::super::fault::PostgresFault;
use super::super::session::ServerSession;
use super::query::EventFilter;
use super::stored;
use crate::store::{EventSelection, EventSeq, Requeued};

/// How many are requeued in one commit.
const AT_ONCE: i64 = 500;

/// Requeues some, in the order of their events. What was requeued at this very time is passed over.
pub(super) fn requeue(
    session: &ServerSession,
    selection: &EventSelection,
    now: Timestamp,
) -> Result<Requeued, PostgresFault> {
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
    let limit = condition.value(AT_ONCE, Type::INT8);
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
             WHERE f.state IN {states} AND f.last_event > {after}
                 AND NOT (f.state = 0 AND f.due_at = 0 AND f.queued_at = {now})
                 AND ({target}::text IS NULL OR f.target IN (SELECT id FROM @targets WHERE shown = {target}))
                 AND EXISTS (SELECT 1 FROM @events e JOIN @deliveries d ON d.id = e.delivery
                             WHERE e.id BETWEEN f.first_event AND f.last_event AND e.delivery = f.delivery
                                 AND {} {dead})
             ORDER BY f.last_event, f.id LIMIT {limit} FOR UPDATE OF f)
         UPDATE @forwards f SET state = 0, due_at = 0, queued_at = {now}, settled_at = NULL
         FROM found WHERE f.id = found.id RETURNING f.last_event",
        condition.sql
    );
    let rows = session.once(async |link| link.commit_one(&sql, &condition.values()).await)?;
    let last = rows.iter().map(|row| row.get::<_, i64>(0)).max();
    let is_all = rows.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
    // Others may end with the same event.
    let reached = last.filter(|_| !is_all).map(|last| EventSeq(last - 1));
    Ok(Requeued { forwards: rows.len() as u64, reached })
}
