//! Reading rows.

use std::str::FromStr;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::fault::PostgresFault;
use super::super::session::{Link, Values, values};
use crate::domain::{
    ApiOrigin, AppId, HookId, HookRecord, HookStatus, Label, ManifestName, RowId, Subscription, TargetUrl,
};
use crate::store::registry_rules::FoundRow;

/// The columns that [`found_row`] reads, in its order.
pub(super) const COLUMNS: &str = "id, api_url, hook_id, app_id, event, target_url, status, label, reason, created_at, updated_at, \
                       coalesce(owned_until > now(), false), managed_by, replaces";

/// How many rows are fetched at once.
const FETCHED: usize = 1000;

/// Calls `give` with the rows that a condition and its order select, which may be many. Within a transaction.
pub(super) async fn each(
    link: &Link,
    condition: &str,
    values: &Values<'_>,
    give: impl Fn(FoundRow),
) -> Result<(), PostgresFault> {
    let sql = format!("DECLARE rows NO SCROLL CURSOR FOR SELECT {COLUMNS} FROM @hooks {condition}");
    link.execute(&sql, values).await?;
    loop {
        let rows = link.rows(&format!("FETCH {FETCHED} FROM rows"), values![]).await?;
        let is_last = rows.len() < FETCHED;
        for row in &rows {
            give(found_row(row)?);
        }
        if is_last {
            return Ok(());
        }
    }
}

/// The rows that a condition and its order select.
pub(super) async fn found(link: &Link, condition: &str, values: &Values<'_>) -> Result<Vec<FoundRow>, PostgresFault> {
    let sql = format!("SELECT {COLUMNS} FROM @hooks {condition}");
    link.rows(&sql, values).await?.iter().map(found_row).collect()
}

/// The row of that number, if it is still there. Nobody else changes it until this transaction ends.
pub(super) async fn row(link: &Link, row: RowId) -> Result<Option<FoundRow>, PostgresFault> {
    Ok(found(link, "WHERE id = $1 FOR UPDATE", values![row.0 => INT8]).await?.pop())
}

/// The row that holds this hook: of several the one that has not ended, or else the newest.
pub(super) async fn hook(link: &Link, origin: &ApiOrigin, hook: HookId) -> Result<Option<FoundRow>, PostgresFault> {
    let holders = "WHERE api_url = $1 AND hook_id = $2 ORDER BY status NOT IN ('removed', 'gone'), id FOR UPDATE";
    Ok(found(link, holders, values![origin.as_str() => TEXT, hook.get() => INT8]).await?.pop())
}

/// Changes the row whose number is the first value, if it is there.
pub(super) async fn change(link: &Link, changes: &str, values: &Values<'_>) -> Result<(), PostgresFault> {
    link.execute(&format!("UPDATE @hooks SET {changes} WHERE id = $1"), values).await?;
    Ok(())
}

pub(super) fn found_row(row: &Row) -> Result<FoundRow, PostgresFault> {
    let in_progress: bool = row.try_get(11)?;
    let mut record = HookRecord {
        row: RowId(row.try_get(0)?),
        hook_id: row.try_get::<_, Option<i64>>(2)?.and_then(HookId::new),
        subscription: Subscription {
            origin: parsed(row.try_get(1)?)?,
            app_id: AppId::new(row.try_get(3)?).ok_or_else(|| damaged("an app id"))?,
            event: parsed(row.try_get(4)?)?,
            target_url: TargetUrl::from_stored(row.try_get(5)?),
        },
        status: parsed(row.try_get(6)?)?,
        label: row.try_get::<_, Option<String>>(7)?.map(Label::from_stored),
        managed_by: row.try_get::<_, Option<String>>(12)?.map(ManifestName::from_stored),
        replaces: row.try_get::<_, Option<i64>>(13)?.and_then(HookId::new),
        reason: None,
        created_at: second(row.try_get(9)?)?,
        updated_at: second(row.try_get(10)?)?,
    };
    if matches!(record.status, HookStatus::Unknown | HookStatus::Removing) {
        record.reason = row.try_get(8)?;
    }
    Ok(FoundRow::new(record, in_progress))
}

pub(super) fn parsed<T: FromStr>(text: &str) -> Result<T, PostgresFault> {
    text.parse().map_err(|_| damaged(text))
}

pub(super) fn damaged(what: &str) -> PostgresFault {
    PostgresFault::Damaged(what.to_owned())
}

/// A time as it is stored: rows say the second.
pub(super) fn time(time: Timestamp) -> i64 {
    time.as_second() * 1_000_000
}

pub(super) fn second(microseconds: i64) -> Result<Timestamp, PostgresFault> {
    Timestamp::from_microsecond(microseconds).map_err(|_| damaged("a time"))
}
