//! Importing hooks that were made elsewhere.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::super::fault::StoreFault;
use super::SqliteRegistry;
use super::changes::{insert, set_label};
use crate::domain::{HookId, HookRecord, HookStatus, Label, RowId, Subscription};
use crate::store::registry_rules::{Ending, FoundRow, Reimport, unresolved_row};

impl SqliteRegistry {
    /// Imports a hook that no row holds.
    pub(super) fn import_anew(
        &self,
        connection: &Connection,
        hook: HookId,
        subscription: &Subscription,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<HookRecord, StoreFault> {
        let row = self.row_for_import(connection, subscription, now)?;
        let mut reader = self.reader(connection);
        let change = "hook_id = ?2, label = coalesce(?3, label)";
        reader.set(change, params![row.0, hook.get(), label.map(Label::as_str)])?;
        self.settle(&mut reader, row, Ending::IMPORTED, now)
    }

    /// Imports a hook that a row holds already: the same one again, or one that was taken for ended.
    pub(super) fn import_again(
        &self,
        connection: &Connection,
        holder: FoundRow,
        subscription: &Subscription,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<(HookRecord, bool), StoreFault> {
        let row = holder.record.row;
        match holder.import_again(subscription, label)? {
            Reimport::Unchanged => Ok((holder.record, false)),
            Reimport::Settled(ending) => {
                let mut reader = self.reader(connection);
                set_label(&reader, row, label)?;
                Ok((self.settle(&mut reader, row, ending, now)?, true))
            }
        }
    }

    /// The unresolved row that an import settles, or a fresh one.
    fn row_for_import(
        &self,
        connection: &Connection,
        subscription: &Subscription,
        now: Timestamp,
    ) -> Result<RowId, StoreFault> {
        let condition = "WHERE api_url = ?1 AND app_id = ?2 AND event = ?3 AND hook_id IS NULL ORDER BY id";
        let key = (subscription.origin.as_str(), subscription.app_id.get(), subscription.event.as_str());
        let unresolved = self.reader(connection).all(condition, key)?;
        match unresolved_row(unresolved, &subscription.target_url)? {
            Some(row) => Ok(row),
            None => insert(connection, subscription, HookStatus::Unknown, now),
        }
    }
}
