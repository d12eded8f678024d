//! Writing and reading the history, in which every change of a row is recorded by the transaction that makes it.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::super::fault::StoreFault;
use super::SqliteRegistry;
use super::rows::{number, text, time};
use crate::domain::{ApiOrigin, AppId, EventKind, HookId, RowId, Subscription, TargetUrl};
use crate::store::error::Rule;
use crate::store::{Action, Actor, Change, KEPT_CHANGES};

/// Copies from the row what the history says of it.
const RECORD: &str = "INSERT INTO history \
                      (at, actor, action, row_id, api_url, hook_id, app_id, event, target_url, reason) \
                      SELECT ?2, ?3, ?4, id, api_url, coalesce(hook_id, ?5), app_id, event, target_url, ?6 \
                      FROM hooks WHERE id = ?1";

/// Numbers have no gaps: they say which rows are too many.
const TRIM: &str = "DELETE FROM history WHERE number <= ?1";

/// Of these rows, or of all: those of an installation, and those that hold or held a hook.
const SELECT: &str = "SELECT number, at, actor, action, row_id, api_url, hook_id, app_id, event, target_url, reason \
                      FROM history WHERE (?1 IS NULL OR api_url = ?1) AND (?2 IS NULL OR row_id IN \
                      (SELECT row_id FROM history WHERE hook_id = ?2 AND (?1 IS NULL OR api_url = ?1))) \
                      ORDER BY number DESC LIMIT ?3";

/// What the history says was done to a row.
pub(super) struct ChangeDetails<'a> {
    pub(super) action: Action,
    /// The hook, if the row does not hold it.
    pub(super) hook: Option<HookId>,
    pub(super) reason: Option<&'a str>,
}

impl From<Action> for ChangeDetails<'_> {
    fn from(action: Action) -> Self {
        Self { action, hook: None, reason: None }
    }
}

impl SqliteRegistry {
    /// Records what was done to a row, which must be there: after it was changed, or before it is deleted.
    pub(super) fn record<'a>(
        &self,
        connection: &Connection,
        row: RowId,
        details: impl Into<ChangeDetails<'a>>,
        now: Timestamp,
    ) -> Result<(), StoreFault> {
        let ChangeDetails { action, hook, reason } = details.into();
        let hook = hook.map(HookId::get);
        let values = params![row.0, now.as_second(), self.actor.as_str(), action.as_str(), hook, reason];
        if connection.prepare_cached(RECORD)?.execute(values)? == 0 {
            return Err(Rule::Lost(row.0).into());
        }
        let newest = connection.last_insert_rowid();
        connection.prepare_cached(TRIM)?.execute([newest - KEPT_CHANGES])?;
        Ok(())
    }

    /// Calls `each` with the changes, newest first.
    pub(super) fn read_history(
        &self,
        origin: Option<&ApiOrigin>,
        hook: Option<HookId>,
        limit: Option<u64>,
        each: &mut dyn FnMut(Change),
    ) -> Result<(), StoreFault> {
        // A negative limit is none.
        let limit = limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let mut statement = self.connection.prepare_cached(SELECT)?;
        let mut rows = statement.query(params![origin.map(ApiOrigin::as_str), hook.map(HookId::get), limit])?;
        let mut last = LastRead::default();
        while let Some(row) = rows.next()? {
            each(last.change(row)?);
        }
        Ok(())
    }
}

/// What the row before said, which most rows have in common.
#[derive(Default)]
struct LastRead {
    action: Option<(String, Action)>,
    origin: Option<(String, ApiOrigin)>,
    event: Option<(String, EventKind)>,
}

impl LastRead {
    fn change(&mut self, row: &Row<'_>) -> Result<Change, rusqlite::Error> {
        let hook_id: Option<i64> = row.get(6)?;
        Ok(Change {
            number: row.get(0)?,
            at: time(row, 1)?,
            actor: Actor::new(row.get::<_, String>(2)?),
            action: text(row, 3, &mut self.action)?,
            row: RowId(row.get(4)?),
            hook_id: hook_id.and_then(HookId::new),
            subscription: Subscription {
                origin: text(row, 5, &mut self.origin)?,
                app_id: number(row, 7, AppId::new)?,
                event: text(row, 8, &mut self.event)?,
                target_url: TargetUrl::from_stored(row.get(9)?),
            },
            reason: row.get(10)?,
        })
    }
}
