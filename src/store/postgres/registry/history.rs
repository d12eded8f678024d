//! Writing and reading the history, in which every change of a row is recorded by the transaction that makes it.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::fault::PostgresFault;
use super::super::session::{Link, values};
use super::changes::Changes;
use super::rows::{damaged, parsed, second, time};
use crate::domain::{ApiOrigin, AppId, HookId, RowId, Subscription, TargetUrl};
use crate::store::error::Rule;
use crate::store::{Action, Actor, Change, KEPT_CHANGES};

/// Copies from the row what the history says of it.
const RECORD: &str =
    "INSERT INTO @history (at, actor, action, row_id, api_url, hook_id, app_id, event, target_url, reason)
    SELECT $2, $3, $4, id, api_url, coalesce(hook_id, $5), app_id, event, target_url, $6 FROM @hooks WHERE id = $1
    RETURNING number";

/// Of these rows, or of all: those of an installation, and those that hold or held a hook.
const SELECT: &str = "SELECT number, at, actor, action, row_id, api_url, hook_id, app_id, event, target_url, reason
    FROM @history WHERE ($1::text IS NULL OR api_url = $1) AND ($2::bigint IS NULL OR row_id IN
        (SELECT row_id FROM @history WHERE hook_id = $2 AND ($1 IS NULL OR api_url = $1)))
    ORDER BY number DESC LIMIT $3";

/// How many changes more than are kept may be there: they are not counted for each.
const TRIMMED_AT_ONCE: i64 = 100;

impl Changes<'_> {
    /// Records what was done to a row, which must be there: after it was changed, or before it is deleted.
    pub(super) async fn record(&self, row: RowId, action: Action, now: Timestamp) -> Result<(), PostgresFault> {
        self.record_of(row, action, None, None, now).await
    }

    /// The same, with the hook if the row does not hold it, and why its end is not known.
    pub(super) async fn record_of(
        &self,
        row: RowId,
        action: Action,
        hook: Option<HookId>,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<(), PostgresFault> {
        let values = values![row.0 => INT8, time(now) => INT8, self.actor.as_str() => TEXT, action.as_str() => TEXT,
            hook.map(HookId::get) => INT8, reason => TEXT];
        let number = self.link.row(RECORD, values).await?.ok_or(Rule::Lost(row.0))?.try_get(0)?;
        self.trim(number).await
    }

    /// Now and then removes the oldest changes, when the one of this number was recorded.
    pub(super) async fn trim(&self, number: i64) -> Result<(), PostgresFault> {
        if number % TRIMMED_AT_ONCE == 0 {
            let old = number - KEPT_CHANGES;
            self.link.execute("DELETE FROM @history WHERE number <= $1", values![old => INT8]).await?;
        }
        Ok(())
    }
}

/// Calls `give` with the changes, newest first.
pub(super) async fn read(
    link: &Link,
    origin: Option<&ApiOrigin>,
    hook: Option<HookId>,
    limit: Option<u64>,
    give: impl Fn(Change),
) -> Result<(), PostgresFault> {
    let limit = limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let values = values![origin.map(ApiOrigin::as_str) => TEXT, hook.map(HookId::get) => INT8, limit => INT8];
    for row in &link.rows(SELECT, values).await? {
        give(change_of(row)?);
    }
    Ok(())
}

fn change_of(row: &Row) -> Result<Change, PostgresFault> {
    Ok(Change {
        number: row.try_get(0)?,
        at: second(row.try_get(1)?)?,
        actor: Actor::new(row.try_get::<_, String>(2)?),
        action: parsed(row.try_get(3)?)?,
        row: RowId(row.try_get(4)?),
        hook_id: row.try_get::<_, Option<i64>>(6)?.and_then(HookId::new),
        subscription: Subscription {
            origin: parsed(row.try_get(5)?)?,
            app_id: AppId::new(row.try_get(7)?).ok_or_else(|| damaged("an app id"))?,
            event: parsed(row.try_get(8)?)?,
            target_url: TargetUrl::from_stored(row.try_get(9)?),
        },
        reason: row.try_get(10)?,
    })
}
