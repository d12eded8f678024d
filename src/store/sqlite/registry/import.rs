//! Importing hooks that were made elsewhere.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::super::fault::StoreFault;
use super::SqliteRegistry;
use super::changes::{Ending, insert, set_label};
use super::rows::FoundRow;
use crate::domain::{HookId, HookRecord, HookStatus, Label, RowId, Subscription};
use crate::store::error::Rule;

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
        let record = holder.record;
        let known = &record.subscription;
        let same = (known.app_id, known.event) == (subscription.app_id, subscription.event)
            && subscription.target_url.selects(&known.target_url);
        let Some(hook) = record.hook_id.filter(|_| !same) else {
            if record.status == HookStatus::Active && (label.is_none() || record.label.as_ref() == label) {
                return Ok((record, false));
            }
            if holder.in_progress {
                return Err(Rule::InUse.into());
            }
            let mut reader = self.reader(connection);
            set_label(&reader, record.row, label)?;
            let active = record.status == HookStatus::Active;
            let ending = if active { Ending::RELABELED } else { Ending::IMPORTED };
            return Ok((self.settle(&mut reader, record.row, ending, now)?, true));
        };
        Err(Rule::Conflict { hook, recorded: known.to_string() }.into())
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
        let mut unresolved = self.reader(connection).all(condition, key)?;
        let target = &subscription.target_url;
        unresolved.retain(|found| !found.in_progress && target.selects(&found.record.subscription.target_url));
        let mut targets: Vec<_> = unresolved.iter().map(|found| &found.record.subscription.target_url).collect();
        targets.dedup();
        match (unresolved.first(), targets.len()) {
            (Some(found), 1) => Ok(found.record.row),
            (Some(_), _) => Err(Rule::Ambiguous.into()),
            (None, _) if target.is_redacted() => Err(Rule::HiddenPassword.into()),
            (None, _) => insert(connection, subscription, HookStatus::Unknown, None, None, now),
        }
    }
}
