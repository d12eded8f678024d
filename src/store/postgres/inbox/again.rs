//! Forwarding events once more, whatever became of them before.

use jiff::Timestamp;

use super::super::fault::PostgresFault;
use super::super::session::{ServerSession, values};
use super::stored;
use crate::store::{EventSeq, TargetId};

/// How many forwards are made in one commit.
const AT_ONCE: usize = 500;

/// Makes a forward of each of these events to a target that has none pending. Returns how many were made.
pub(super) fn forward_again(
    session: &ServerSession,
    events: &[EventSeq],
    target: TargetId,
    now: Timestamp,
) -> Result<u64, PostgresFault> {
    // One process at a time for a target: each sees what the other made.
    let lock = "SELECT id FROM @targets WHERE id = $1 FOR NO KEY UPDATE";
    let insert = "INSERT INTO @forwards (id, target, delivery, first_event, last_event, queued_at)
                  SELECT nextval('@forward_ids'), $1, e.delivery, e.id, e.id, $2 FROM (
                      SELECT e.id, e.delivery FROM @events e JOIN @deliveries d ON d.id = e.delivery
                      WHERE e.id = ANY ($3) AND NOT EXISTS (
                          SELECT 1 FROM @forwards x WHERE x.last_event BETWEEN e.id AND d.last_event
                              AND x.first_event <= e.id AND x.delivery = e.delivery AND x.target = $1
                              AND x.state = 0 OFFSET 0)
                      ORDER BY e.id OFFSET 0) e";
    let mut made = 0;
    for some in events.chunks(AT_ONCE) {
        let ids: Vec<i64> = some.iter().map(|event| event.0).collect();
        made += session.try_commit(async |link| {
            if link.row(lock, values![target.0 => INT8]).await?.is_none() {
                return Ok(0);
            }
            link.execute(insert, values![target.0 => INT8, stored(now) => INT8, ids => INT8_ARRAY]).await
        })?;
    }
    Ok(made)
}
