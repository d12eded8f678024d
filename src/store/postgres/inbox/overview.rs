//! What is not forwarded yet, and what could not be read.

use tokio_postgres::Row;

use super::super::fault::PostgresFault;
use super::super::session::{ServerSession, values};
use super::{query, time, unsigned};
use crate::store::{Backlog, Quarantined};

pub(super) fn backlog(session: &ServerSession) -> Result<Backlog, PostgresFault> {
    let sql =
        "SELECT (SELECT count(*) FROM @forwards WHERE state = 0), (SELECT count(*) FROM @forwards WHERE state = 2),
                   (SELECT min(f.queued_at) FROM @targets t CROSS JOIN LATERAL
                       (SELECT min(queued_at) AS queued_at FROM @forwards WHERE state = 0 AND target = t.id) f),
                   (SELECT received_at FROM @deliveries ORDER BY id DESC LIMIT 1)";
    let row = session.try_run(async |link| link.row(sql, values![]).await)?;
    let row = row.ok_or_else(|| PostgresFault::Damaged("a row is missing".to_owned()))?;
    Ok(Backlog {
        pending: unsigned(row.try_get(0)?),
        dead: unsigned(row.try_get(1)?),
        oldest_pending: row.try_get::<_, Option<i64>>(2)?.map(time),
        last_event: row.try_get::<_, Option<i64>>(3)?.map(time),
    })
}

pub(super) fn quarantined(
    session: &ServerSession,
    number: Option<i64>,
    limit: Option<u64>,
) -> Result<Vec<Quarantined>, PostgresFault> {
    let sql = "SELECT id, sender, received_at, content_type, reason, octet_length(body)::bigint,
                      CASE WHEN $1::bigint IS NOT NULL THEN body END
               FROM @quarantine WHERE $1 IS NULL OR id = $1 ORDER BY id DESC LIMIT $2";
    let limit = limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = session.try_run(async |link| link.rows(sql, values![number => INT8, limit => INT8]).await)?;
    let of_row = |row: &Row| {
        Ok(Quarantined {
            number: row.try_get(0)?,
            sender: query::sender(row.try_get(1)?)?,
            received_at: time(row.try_get(2)?),
            content_type: row.try_get(3)?,
            reason: row.try_get(4)?,
            size: unsigned(row.try_get(5)?),
            body: row.try_get::<_, Option<Vec<u8>>>(6)?.unwrap_or_default(),
        })
    };
    rows.iter().map(of_row).collect()
}
