//! Bringing in hooks of another registry.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::super::fault::StoreFault;
use super::SqliteRegistry;
use super::changes::insert;
use crate::domain::{HookId, HookRecord, HookStatus, Label, ManifestName};
use crate::store::restoration::{Restoration, Restoring, restored_target};
use crate::store::{Action, Restored};

impl SqliteRegistry {
    pub(super) fn restore_all(
        &self,
        connection: &Connection,
        hooks: &[HookRecord],
        now: Timestamp,
    ) -> Result<Vec<Restored>, StoreFault> {
        let mut restoring = Restoring::new(hooks);
        let mut restored = vec![Restored::Unchanged; hooks.len()];
        for index in restoring.order() {
            restored[index] = self.restore_one(connection, &mut restoring, &hooks[index], now)?;
        }
        Ok(restored)
    }

    /// What restoring them gives, of which nothing stays.
    pub(super) fn restore_and_undo(
        &self,
        connection: &Connection,
        hooks: &[HookRecord],
        now: Timestamp,
    ) -> Result<Vec<Restored>, StoreFault> {
        connection.execute_batch("SAVEPOINT trial")?;
        let restored = self.restore_all(connection, hooks, now)?;
        connection.execute_batch("ROLLBACK TO trial; RELEASE trial")?;
        Ok(restored)
    }

    fn restore_one(
        &self,
        connection: &Connection,
        restoring: &mut Restoring<'_>,
        hook: &HookRecord,
        now: Timestamp,
    ) -> Result<Restored, StoreFault> {
        let wanted = &hook.subscription;
        let holders = match hook.hook_id {
            Some(id) => {
                let condition = "WHERE api_url = ?1 AND hook_id = ?2 ORDER BY id";
                self.reader(connection).all(condition, (wanted.origin.as_str(), id.get()))?
            }
            None => Vec::new(),
        };
        let (row, target, outcome) = match restoring.decide(holders, self.rows_of_endpoint(connection, wanted)?, hook) {
            Restoration::Keep(outcome) => return Ok(outcome),
            Restoration::Add => {
                let row = insert(connection, wanted, HookStatus::Unknown, hook.created_at)?;
                restoring.take(row);
                (row, wanted.target_url.clone(), Restored::Added)
            }
            Restoration::Change(found) => {
                (found.record.row, restored_target(&found.record, hook).clone(), Restored::Changed)
            }
        };
        let values = params![
            row.0,
            hook.hook_id.map(HookId::get),
            target.expose(),
            hook.status.as_str(),
            hook.label.as_ref().map(Label::as_str),
            hook.managed_by.as_ref().map(ManifestName::as_str),
            hook.replaces.map(HookId::get),
            hook.reason,
            hook.created_at.as_second(),
            hook.updated_at.as_second(),
        ];
        let changes = "hook_id = ?2, target_url = ?3, status = ?4, label = ?5, managed_by = ?6, replaces = ?7, \
                       reason = ?8, created_at = ?9, updated_at = ?10, owner = NULL";
        self.reader(connection).set(changes, values)?;
        self.record(connection, row, Action::Imported, now)?;
        Ok(outcome)
    }
}
