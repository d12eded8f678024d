//! The receivers of one store: each says from time to time that it is there.

use super::super::fault::PostgresFault;
use super::super::session::{ServerSession, values};
use crate::store::Attendance;

/// For how long a receiver counts after it has said so. By the clock of the server.
const ATTENDS: &str = "now() + interval '45 seconds'";

/// A name that no other receiver has.
pub(super) fn new_name() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(16).collect()
}

/// Says that this receiver is there. The one that is first does what one does for all, until it has not said so for long.
pub(super) fn attend(session: &ServerSession, receiver: &str) -> Result<Attendance, PostgresFault> {
    let sql = format!(
        "WITH me AS (
             INSERT INTO @roles AS r (name, owner, until) VALUES ('receiver', $1, {ATTENDS})
             ON CONFLICT (name, owner) DO UPDATE SET until = excluded.until,
                 since = CASE WHEN r.until > now() THEN r.since ELSE excluded.since END
             RETURNING owner, since),
         gone AS (DELETE FROM @roles WHERE until < now() - interval '1 hour')
         SELECT count(o.owner), count(o.owner) FILTER (WHERE (o.since, o.owner) < (me.since, me.owner))
         FROM me LEFT JOIN @roles o ON o.name = 'receiver' AND o.until > now() AND o.owner <> me.owner"
    );
    let row = session.try_run(async |link| link.row(&sql, values![receiver => TEXT]).await)?;
    let Some(row) = row else { return Ok(Attendance::default()) };
    let (others, before): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Attendance { receivers: u32::try_from(others).unwrap_or(0).saturating_add(1), is_first: before == 0 })
}

/// Says that this receiver is gone.
pub(super) fn leave(session: &ServerSession, receiver: &str) -> Result<(), PostgresFault> {
    let sql = "DELETE FROM @roles WHERE name = 'receiver' AND owner = $1";
    session.once(async |link| link.execute(sql, values![receiver => TEXT]).await).map(drop)
}
