//! Bringing in hooks of another registry.

use jiff::Timestamp;

use super::super::fault::PostgresFault;
use super::super::inbox::sendable;
use super::super::session::{Link, values};
use super::rows::{change, found, time};
use super::{PostgresRegistry, alike, lock_all};
use crate::domain::{HookId, HookRecord, HookStatus, Label, ManifestName};
use crate::store::restoration::{Restoration, Restoring, restored_target};
use crate::store::{Action, Restored};

impl PostgresRegistry {
    pub(super) async fn restore_all(
        &self,
        link: &Link,
        hooks: &[HookRecord],
        now: Timestamp,
    ) -> Result<Vec<Restored>, PostgresFault> {
        lock_all(link).await?;
        let mut restoring = Restoring::new(hooks);
        let mut restored = vec![Restored::Unchanged; hooks.len()];
        for index in restoring.order() {
            restored[index] = self.restore_one(link, &mut restoring, &hooks[index], now).await?;
        }
        Ok(restored)
    }

    /// What restoring them gives, of which nothing stays.
    pub(super) async fn restore_and_undo(
        &self,
        link: &Link,
        hooks: &[HookRecord],
        now: Timestamp,
    ) -> Result<Vec<Restored>, PostgresFault> {
        link.batch("SAVEPOINT trial").await?;
        let restored = self.restore_all(link, hooks, now).await?;
        link.batch("ROLLBACK TO SAVEPOINT trial; RELEASE SAVEPOINT trial").await?;
        Ok(restored)
    }

    async fn restore_one(
        &self,
        link: &Link,
        restoring: &mut Restoring<'_>,
        hook: &HookRecord,
        now: Timestamp,
    ) -> Result<Restored, PostgresFault> {
        let wanted = &hook.subscription;
        let holders = match hook.hook_id {
            Some(id) => {
                let condition = "WHERE api_url = $1 AND hook_id = $2 ORDER BY id FOR UPDATE";
                found(link, condition, values![wanted.origin.as_str() => TEXT, id.get() => INT8]).await?
            }
            None => Vec::new(),
        };
        let changes = self.changes(link);
        let (row, target, outcome) = match restoring.decide(holders, alike(link, wanted).await?, hook) {
            Restoration::Keep(outcome) => return Ok(outcome),
            Restoration::Add => {
                let row = changes.insert(wanted, HookStatus::Unknown, hook.created_at).await?;
                restoring.take(row);
                (row, wanted.target_url.clone(), Restored::Added)
            }
            Restoration::Change(found) => {
                (found.record.row, restored_target(&found.record, hook).clone(), Restored::Changed)
            }
        };
        let settings = "hook_id = $2, target_url = $3, status = $4, label = $5, managed_by = $6, replaces = $7,
                        reason = $8, created_at = $9, updated_at = $10, owner = NULL, owned_until = NULL";
        let reason = hook.reason.as_deref().map(sendable);
        let values = values![
            row.0 => INT8,
            hook.hook_id.map(HookId::get) => INT8,
            target.expose() => TEXT,
            hook.status.as_str() => TEXT,
            hook.label.as_ref().map(Label::as_str) => TEXT,
            hook.managed_by.as_ref().map(ManifestName::as_str) => TEXT,
            hook.replaces.map(HookId::get) => INT8,
            reason => TEXT,
            time(hook.created_at) => INT8,
            time(hook.updated_at) => INT8,
        ];
        change(link, settings, values).await?;
        changes.record(row, Action::Imported, now).await?;
        Ok(outcome)
    }
}
