//! Changing rows, and what the history says of it.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::super::fault::StoreFault;
use super::SqliteRegistry;
use super::history::ChangeDetails;
use super::rows::Reader;
use crate::domain::{HookId, HookRecord, HookStatus, Label, ManifestName, RowId, Subscription};
use crate::store::error::Rule;
use crate::store::registry_rules::Ending;
use crate::store::{Action, Activated};

/// What changes when a subscription has become a hook.
const ACTIVATE: &str = "hook_id = ?2, status = 'active', reason = NULL, owner = NULL, updated_at = ?3";

impl SqliteRegistry {
    /// Makes the row hold the hook that its request made.
    pub(super) fn hold(
        &self,
        connection: &Connection,
        row: RowId,
        hook: HookId,
        now: Timestamp,
    ) -> Result<HookRecord, StoreFault> {
        let changed = self.reader(connection).change(row, ACTIVATE, params![row.0, hook.get(), now.as_second()])?;
        let record = changed.ok_or_else(|| lost(row))?;
        self.record(connection, row, Action::Subscribed, now)?;
        Ok(record)
    }

    /// The server gave a new hook a number that is on record.
    pub(super) fn take_over(
        &self,
        connection: &Connection,
        pending: RowId,
        hook: HookId,
        now: Timestamp,
    ) -> Result<Activated, StoreFault> {
        let wanted = self.reader(connection).row(pending)?.ok_or_else(|| lost(pending))?.record;
        let origin = &wanted.subscription.origin;
        let holder = self.reader(connection).hook(origin, hook)?.ok_or_else(|| lost(pending))?.record;
        if holder.subscription.is_same_as(&wanted.subscription) {
            let merged = ChangeDetails { action: Action::Merged, hook: Some(hook), reason: None };
            self.delete(connection, pending, merged, now)?;
            let mut reader = self.reader(connection);
            set_label(&reader, holder.row, wanted.label.as_ref())?;
            set_owner(&reader, holder.row, wanted.managed_by.as_ref(), wanted.replaces)?;
            return Ok(self.settle(&mut reader, holder.row, Ending::SUBSCRIBED, now)?.into());
        }
        let displaced = Some(self.settle(&mut self.reader(connection), holder.row, Ending::DISPLACED, now)?);
        Ok(Activated { record: self.hold(connection, pending, hook, now)?, displaced })
    }

    /// Sets status and reason, and gives the row back.
    pub(super) fn settle(
        &self,
        reader: &mut Reader<'_>,
        row: RowId,
        ending: Ending<'_>,
        now: Timestamp,
    ) -> Result<HookRecord, StoreFault> {
        let Ending { status, action, reason } = ending;
        let change = "status = ?2, reason = ?3, owner = NULL, updated_at = ?4";
        let changed = reader.change(row, change, params![row.0, status.as_str(), reason, now.as_second()])?;
        let record = changed.ok_or_else(|| lost(row))?;
        self.record(reader.connection, row, ChangeDetails { action, hook: None, reason }, now)?;
        Ok(record)
    }

    /// Deletes a row that is there.
    pub(super) fn delete<'a>(
        &self,
        connection: &Connection,
        row: RowId,
        details: impl Into<ChangeDetails<'a>>,
        now: Timestamp,
    ) -> Result<(), StoreFault> {
        self.record(connection, row, details, now)?;
        connection.execute("DELETE FROM hooks WHERE id = ?1", [row.0])?;
        Ok(())
    }
}

/// Adds a row that holds no hook yet.
pub(super) fn insert(
    connection: &Connection,
    wanted: &Subscription,
    status: HookStatus,
    now: Timestamp,
) -> Result<RowId, StoreFault> {
    // Never one that was given before, though its row be gone: somebody may still mean that one.
    let at_least = now.as_millisecond();
    let next = "SELECT max(coalesce(max(id), 0) + 1, ?1) FROM hooks";
    let id: i64 = connection.prepare_cached(next)?.query_row([at_least], |row| row.get(0))?;
    let sql = "INSERT INTO hooks (id, api_url, app_id, event, target_url, status, created_at, updated_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)";
    let values = params![
        id,
        wanted.origin.as_str(),
        wanted.app_id.get(),
        wanted.event.as_str(),
        wanted.target_url.expose(),
        status.as_str(),
        now.as_second(),
    ];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(RowId(id))
}

/// Gives the row a label, if there is one.
pub(super) fn set_label(reader: &Reader<'_>, row: RowId, label: Option<&Label>) -> Result<(), StoreFault> {
    reader.set("label = coalesce(?2, label)", params![row.0, label.map(Label::as_str)])
}

/// Gives the row an owner and what it replaces, if there are any.
pub(super) fn set_owner(
    reader: &Reader<'_>,
    row: RowId,
    managed_by: Option<&ManifestName>,
    replaces: Option<HookId>,
) -> Result<(), StoreFault> {
    let values = params![row.0, managed_by.map(ManifestName::as_str), replaces.map(HookId::get)];
    reader.set("managed_by = coalesce(?2, managed_by), replaces = coalesce(?3, replaces)", values)
}

/// The row, which was there, is not there any more.
pub(super) fn lost(row: RowId) -> StoreFault {
    Rule::Lost(row.0).into()
}
